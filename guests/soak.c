// SPDX-License-Identifier: GPL-2.0
/*
 * soak SECONDS SEED [FIRST]: the only program of a small guest with /dev/pfn and /dev/gate (pfn_device.c). For SECONDS,
 * rounds of random calls: threads of one process map, protect, move, drop, unmap, read and write over each other while
 * others read what is there, and one reads the events of a userfaultfd, late. Meanwhile one process takes the frames
 * back over and over, one shuts the gate, and stress-ng or trinity, whichever the guest has, keeps the machine busy; the
 * latter does what it likes to mappings of /dev/pfn, too. What a round
 * calls follows from SEED and its number; the first is FIRST.
 * A round in which anybody reached a frame that was taken back is stale. It ends the run, and is shortened to what
 * still is stale within TRIES runs, as far as SHORTEN seconds reach. Leaks are looked for in a run without one.
 * Last lines: 'unwell: ' for a process that failed or a run that was too short, 'leak: ' for each figure that grew, and
 * 'stale: N, leaks: N'.
 */
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "figures.h"
#include "pfn_device.h"

#define PAGE		4096UL
#define ARENA		((char *)0x100000000000UL)
#define ELSEWHERE	((char *)0x200000000000UL)
#define PAGES		16UL	/* of the arena */
#define TAKEN		4	/* frames taken back at once, or all */
#define WORKERS		2
#define WATCHERS	2
#define READS		1000	/* of one page, before a watcher goes on: it shall be back at each while frames are away */
#define CALLS		96	/* of all workers, in a round */
#define TRIES		30
#define SHORTEN		600	/* s, at most */
#define PAUSE		1000	/* us between two revokes, and between two turns of the gate */
#define DELAY		5	/* ms that the gate is shut, and that nobody reads an event */
#define RANGES		256	/* of one process_madvise(), most of them elsewhere */
#define TABLE		(512 * PAGE)	/* what one page table maps */
#define SETTLED		20	/* rounds */
#define NOBODY		65534	/* whom trinity runs as */
#define NOISE		100	/* pages and objects that caches keep */

enum op { MAP_PFN, MAP_MIXED, MAP_COPY, MAP_PLAIN, MAP_WATCHED, MAP_GATE, PROTECT, MOVE, DROP,
	  DROP_RANGES, UNMAP, READ, WRITE, OPS };
static const char * const ops[OPS] = {
	"mmap shared PFNMAP", "mmap shared MIXEDMAP", "mmap private MIXEDMAP", "mmap plain", "mmap with userfaultfd",
	"mmap gate", "mprotect", "mremap", "madvise(DONTNEED)", "process_madvise(DONTNEED)", "munmap", "read", "write",
};

/* Worker @worker does @op to @pages pages of the arena from @page on; @arg is where to, or with which protection. */
struct call {
	int worker;
	enum op op;
	unsigned int page, pages, arg;
};

/*
 * What three rounds of four make variations of: one drops what another unlinks, and both are held up. Any call may be
 * another one, and is where there is none. The workers wait for each other before the first and before the fifth.
 */
static const struct call plan[] = {
	{ 0, MAP_MIXED, 0, 2 }, { 0, MAP_WATCHED, 2, 1 }, { 0, MAP_GATE, 3, 1 }, { 1, READ, 0, 2 },
	{ 0, DROP, 0, 3 }, { 1, UNMAP, 0, 4 }, { .pages = 0 }, { .pages = 0 },
};
#define PLAN	(sizeof(plan) / sizeof(*plan))
#define PLANNED	4	/* pages of it */

/* What the processes tell each other. */
static struct shared {
	volatile int stop;
	volatile long stale, calls, revokes;
} *shared;

static int device, gate, paced;
static int uffd, self;	/* of the process that does the calls */

static uint64_t next(uint64_t *state)
{
	/* splitmix64, https://prng.di.unimi.it */
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static void make_call(struct call *call, uint64_t *state)
{
	call->worker = next(state) % WORKERS;
	call->op = next(state) % OPS;
	call->page = next(state) % PAGES;
	call->pages = 1 + next(state) % (PAGES - call->page);
	/* Short mappings, of which much goes at once. */
	if (call->op < PROTECT && call->pages > FRAMES / 4)
		call->pages = 1 + next(state) % (FRAMES / 4);
	call->arg = next(state) % (call->op < PROTECT ? FRAMES - call->pages + 1 : PAGES - call->pages + 1);
}

static void make(struct call *calls, uint64_t seed, uint64_t round)
{
	uint64_t state = seed ^ round << 32;
	unsigned int from = 0;

	paced = round % 4 != 0;
	for (int i = 0; i < CALLS; i++) {
		const struct call *planned = &plan[i % PLAN];

		make_call(&calls[i], &state);
		if (!(i % PLAN))
			from = next(&state) % (PAGES - PLANNED + 1);
		if (!paced || !planned->pages || !(next(&state) % PLAN))
			continue;
		calls[i] = *planned;
		calls[i].page += from;
	}
}

static __thread sigjmp_buf fault;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(fault, 1);
}

static void check(unsigned long word)
{
	if (word == POISON)
		__atomic_add_fetch(&shared->stale, 1, __ATOMIC_RELAXED);
}

/* Reads a word of each of @pages pages from @page on, or writes @value to it; pages that are not there are left out. */
static void touch(unsigned int page, unsigned int pages, unsigned long value)
{
	for (volatile unsigned int i = 0; i < pages; i++) {
		volatile unsigned long *word = (unsigned long *)(ARENA + (page + i) * PAGE);

		if (sigsetjmp(fault, 0))
			continue;
		if (value)
			*word = value;
		else
			check(*word);
	}
}

/* What is dropped from it sends an event, which whoever drops it waits for. Nothing faults because of that. */
static void watch_for_drops(char *at, size_t length)
{
	struct uffdio_register range = { .range = { (uintptr_t)at, length }, .mode = UFFDIO_REGISTER_MODE_WP };

	if (mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at)
		ioctl(uffd, UFFDIO_REGISTER, &range);
}

/* One call for all; those elsewhere take time, and drop nothing. Kernels before 6.13 refuse. */
static void drop_ranges(char *at, size_t length)
{
	struct iovec ranges[RANGES] = { { at, length } };

	for (int i = 1; i < RANGES; i++)
		ranges[i] = (struct iovec){ ELSEWHERE, TABLE - PAGE };
	syscall(SYS_process_madvise, self, ranges, RANGES, MADV_DONTNEED, 0);
}

/* A call may fail: the others have changed the arena meanwhile. */
static void do_call(const struct call *call)
{
	static const int protections[] = { PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE };
	char *at = ARENA + call->page * PAGE;
	size_t length = call->pages * PAGE;
	int rw = PROT_READ | PROT_WRITE;

	switch (call->op) {
	case MAP_PFN:
		mmap(at, length, rw, MAP_SHARED | MAP_FIXED, device, call->arg * PAGE);
		break;
	case MAP_MIXED:
		mmap(at, length, rw, MAP_SHARED | MAP_FIXED, device, (FRAMES + call->arg) * PAGE);
		break;
	case MAP_COPY:
		mmap(at, length, rw, MAP_PRIVATE | MAP_FIXED, device, (FRAMES + call->arg) * PAGE);
		break;
	case MAP_PLAIN:
		mmap(at, length, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case MAP_WATCHED:
		watch_for_drops(at, length);
		break;
	case MAP_GATE:
		mmap(at, length, rw, MAP_SHARED | MAP_FIXED, gate, 0);
		break;
	case PROTECT:
		mprotect(at, length, protections[call->arg % 3]);
		break;
	case MOVE:
		mremap(at, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, ARENA + call->arg * PAGE);
		break;
	case DROP:
		madvise(at, length, MADV_DONTNEED);
		break;
	case DROP_RANGES:
		drop_ranges(at, length);
		break;
	case UNMAP:
		munmap(at, length);
		break;
	case READ:
		touch(call->page, call->pages, 0);
		break;
	default:
		touch(call->page, call->pages, 1 + call->worker);
	}
}

struct worker {
	pthread_t thread;
	int number;
	const struct call *calls;
	int count;
};

static pthread_barrier_t start, pace;
static volatile int working;

static void *work(void *arg)
{
	struct worker *worker = arg;
	long done = 0;

	pthread_barrier_wait(&start);
	for (int i = 0; i < worker->count; i++) {
		if (paced && !(i % (PLAN / 2)))
			pthread_barrier_wait(&pace);
		if (worker->calls[i].worker != worker->number)
			continue;
		do_call(&worker->calls[i]);
		done++;
	}
	__atomic_add_fetch(&shared->calls, done, __ATOMIC_RELAXED);
	return NULL;
}

/*
 * Reads one page after the other, as long as it is there, so that it is in the TLB of this CPU when it goes. Those who
 * take frames back run on another: many a CPU forgets all when it switches to another process.
 */
static void *watch(void *arg)
{
	volatile uint64_t state = (uintptr_t)arg;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	on_cpu(cpus - 1 - (long)arg % (cpus > 1 ? cpus - 1 : 1));
	pthread_barrier_wait(&start);
	while (working) {
		uint64_t now = state;
		volatile unsigned long *word = (unsigned long *)(ARENA + next(&now) % PAGES * PAGE);

		state = now;
		if (sigsetjmp(fault, 0))
			continue;
		for (int i = 0; i < READS && working; i++)
			check(*word);
	}
	return NULL;
}

/* Reads events when they are DELAY ms old. */
static void *attend(void *arg)
{
	struct pollfd events = { .fd = uffd, .events = POLLIN };
	struct uffd_msg message;

	(void)arg;
	while (working) {
		if (poll(&events, 1, 1) == 1) {
			usleep(DELAY * 1000);
			while (read(uffd, &message, sizeof(message)) == sizeof(message))
				;
		}
	}
	return NULL;
}

static void spawn(pthread_t *thread, void *(*function)(void *), void *arg)
{
	if (pthread_create(thread, NULL, function, arg))
		fail("pthread_create");
}

/* A process of its own that does these calls, and exits with all that is still mapped then. */
static void play(const struct call *calls, int count)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE };
	struct worker workers[WORKERS];
	pthread_t watchers[WATCHERS], attendant;

	uffd = syscall(SYS_userfaultfd, O_NONBLOCK);
	self = syscall(SYS_pidfd_open, getpid(), 0);
	if (uffd < 0 || self < 0 || ioctl(uffd, UFFDIO_API, &api))
		fail("userfaultfd, pidfd");
	/* The table of what process_madvise() goes through stays. */
	if (mmap(ELSEWHERE, TABLE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != ELSEWHERE)
		fail("mmap");
	ELSEWHERE[TABLE - 1] = 0;
	pthread_barrier_init(&start, NULL, WORKERS + WATCHERS);
	pthread_barrier_init(&pace, NULL, WORKERS);
	working = 1;
	for (int i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .number = i, .calls = calls, .count = count };
		spawn(&workers[i].thread, work, &workers[i]);
	}
	spawn(&attendant, attend, NULL);
	for (long i = 0; i < WATCHERS; i++)
		spawn(&watchers[i], watch, (void *)i);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	working = 0;
	for (int i = 0; i < WATCHERS; i++)
		pthread_join(watchers[i], NULL);
	pthread_join(attendant, NULL);
	_exit(0);
}

static pid_t child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	return pid;
}

/* Says it if the process did not end well. */
static void wait_for(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid");
	if (WIFSIGNALED(status))
		printf("unwell: signal %d\n", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		printf("unwell: exit %d\n", WEXITSTATUS(status));
}

/* Whether a run of these calls was stale. */
static int stale(const struct call *calls, int count)
{
	pid_t pid;

	shared->stale = 0;
	pid = child();
	if (!pid)
		play(calls, count);
	wait_for(pid);
	return shared->stale != 0;
}

static int stale_within_tries(const struct call *calls, int count, time_t end, long *runs)
{
	for (int i = 0; i < TRIES && time(NULL) < end; i++) {
		++*runs;
		if (stale(calls, count))
			return 1;
	}
	return 0;
}

/* Takes out what it can: half of the calls, a quarter, ... one, until none can go. Returns how many are left. */
static int shorten(struct call *calls, int count, long *runs)
{
	time_t end = time(NULL) + SHORTEN;
	struct call fewer[CALLS];
	int was;

	for (int chunk = count / 2; chunk; chunk = chunk > 1 ? chunk / 2 : count < was) {
		was = count;
		for (int at = 0; at < count;) {
			int length = chunk < count - at ? chunk : count - at;

			memcpy(fewer, calls, at * sizeof(*calls));
			memcpy(fewer + at, calls + at + length, (count - at - length) * sizeof(*calls));
			if (stale_within_tries(fewer, count - length, end, runs)) {
				count -= length;
				memcpy(calls, fewer, count * sizeof(*calls));
			} else {
				at += length;
			}
		}
	}
	return count;
}

static void report(uint64_t seed, long round, struct call *calls)
{
	long runs = 0;
	int count;

	printf("stale: seed %lu, round %ld\n", seed, round);
	fflush(stdout);
	count = shorten(calls, CALLS, &runs);
	printf("%d calls, shortened to %d in %ld runs:\n", CALLS, count, runs);
	for (int i = 0; i < count; i++)
		printf("  worker %d: %s, pages %u to %u, argument %u\n", calls[i].worker, ops[calls[i].op], calls[i].page,
		       calls[i].page + calls[i].pages - 1, calls[i].arg);
}

/* Takes the frames back over and over. */
static void take_back(void)
{
	uint64_t state = 0;

	on_cpu(0);
	while (!shared->stop) {
		int count = next(&state) % 2 ? TAKEN : FRAMES;
		int written = ioctl(device, REVOKE + next(&state) % (FRAMES - count + 1), count);

		if (written < 0)
			fail("/dev/pfn: ioctl");
		__atomic_add_fetch(&shared->stale, written, __ATOMIC_RELAXED);
		shared->revokes++;
		usleep(PAUSE);
	}
	_exit(0);
}

/* Shuts the gate over and over. */
static void shut(void)
{
	on_cpu(0);
	while (!shared->stop) {
		if (ioctl(gate, SHUT, DELAY))
			fail("/dev/gate: ioctl");
		usleep(PAUSE);
	}
	_exit(0);
}

static const char *endless;	/* what keeps the machine busy, if it does so until it is interrupted */

/* Starts what keeps the machine busy, with the libraries that lie beside it, if it is there. */
static pid_t stress(char *seconds)
{
	char * const stress_ng[] = {
		"ld.so", "--library-path", "/tests", "/tests/stress-ng", "--quiet", "--timeout", seconds, "--temp-path", "/tmp",
		"--madvise", "1", "--mmap", "1", "--mmap-bytes", "32M", "--mprotect", "1", "--mremap", "1", "--mremap-bytes", "8M",
		"--munmap", "1", "--vm", "1", "--vm-bytes", "32M", "--tlb-shootdown", "1", "--mmapmany", "1", "--userfaultfd", "1",
		"--userfaultfd-bytes", "8M", "--dev", "1", NULL,
	};
	char * const trinity[] = {
		"ld.so", "--library-path", "/tests", "/tests/trinity", "-q", "-q", "-l", "off", "-C", "2", "-g", "vm", "-a", "64",
		"-V", "/dev/pfn", "--disable-fds=sockets", NULL,
	};
	char * const *command = access("/tests/trinity", X_OK) ? stress_ng : trinity;
	pid_t pid;

	if (access(command[3], X_OK))
		return 0;
	endless = command == trinity ? command[3] : NULL;
	pid = child();
	if (pid)
		return pid;
	say("/proc/self/oom_score_adj", "1000");
	nice(20);
	/* Root it refuses to be. */
	if (endless && (chdir("/tmp") || setgid(NOBODY) || setuid(NOBODY)))
		fail("setuid");
	execv("/tests/ld-linux-x86-64.so.2", command);
	fail(command[3]);
	return -1;
}

/* Waits for it; that which ends only if it is told to shall not have ended before. */
static void stressed(pid_t stressor)
{
	if (endless && waitpid(stressor, NULL, WNOHANG)) {
		printf("unwell: %s has ended\n", endless);
		return;
	}
	if (endless)
		kill(stressor, SIGINT);
	wait_for(stressor);
}

int main(int argc, char **argv)
{
	long seconds = argc > 1 ? atol(argv[1]) : 0, round = argc > 3 ? atol(argv[3]) : 0, first = round, found = 0;
	uint64_t seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	long before[FIGURES], now[FIGURES];
	struct call calls[CALLS];
	pid_t stressor = 0, revoker, keeper;
	int grown = 0;
	time_t end;

	umask(0);
	if (mount("proc", "/proc", "proc", 0, NULL) || mount("tmpfs", "/tmp", "tmpfs", 0, NULL) ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL) ||
	    mknod("/dev/pfn", S_IFCHR | 0666, makedev(10, 200)) ||
	    mknod("/dev/gate", S_IFCHR | 0600, makedev(10, 201)) ||
	    mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3)) ||
	    mknod("/dev/zero", S_IFCHR | 0666, makedev(1, 5)) ||
	    mknod("/dev/urandom", S_IFCHR | 0666, makedev(1, 9)))
		fail("mount, mknod");
	device = open("/dev/pfn", O_RDWR);
	gate = open("/dev/gate", O_RDWR);
	if (device < 0 || gate < 0)
		fail("/dev/pfn, /dev/gate");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		fail("mmap");
	/* Where memory runs out, stress-ng shall be killed; it gets the time that is left. */
	say("/proc/self/oom_score_adj", "-1000");
	nice(-20);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	revoker = child();
	if (!revoker)
		take_back();
	keeper = child();
	if (!keeper)
		shut();

	for (end = time(NULL) + seconds; time(NULL) < end && !found; round++) {
		if (round == first + SETTLED) {
			read_figures(before);
			stressor = stress(argv[1]);
		}
		make(calls, seed, round);
		found = stale(calls, CALLS);
		if (round % 1000 == 999) {
			printf("round %ld, %ld calls, %ld revokes\n", round + 1, shared->calls, shared->revokes);
			fflush(stdout);
		}
	}
	printf("seed %lu: %ld rounds, %ld calls, %ld revokes, %ld flushes\n", seed, round - first, shared->calls,
	       shared->revokes, number("/proc/vmstat", "nr_tlb_remote_flush"));
	if (found)
		report(seed, round - 1, calls);
	shared->stop = 1;
	wait_for(revoker);
	wait_for(keeper);
	if (!found && round > first + SETTLED) {
		if (stressor)
			stressed(stressor);
		/* What stress-ng leaves behind may have many mappings, and take long to end. */
		kill(-1, SIGKILL);
		while (wait(NULL) > 0)
			;
		read_figures(now);
		grown = leaks(before, now, NOISE + (round - first) / 4);
	} else if (!found) {
		printf("unwell: %d rounds or fewer, too few to look for leaks\n", SETTLED);
	}
	printf("stale: %ld, leaks: %d\n", found, grown);
	end_guest();
	return 0;
}
