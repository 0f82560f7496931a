// SPDX-License-Identifier: GPL-2.0
/*
 * hole TRIALS: the only program of a small guest of 4 CPUs with /dev/pfn and /dev/gate (pfn_device.c). In a trial one
 * thread reads a page of a VM_MIXEDMAP VMA, another drops it by one of the WAYS into a gather that outlives the lock of
 * the VMA, munmap() unlinks the VMA meanwhile, and as soon as nobody maps the device any more it takes its memory back.
 * If the reader still reads what nobody may reach now, the trial is stale.
 * munmap() comes to a VMA of the gate next, and waits there until the memory has been taken back. Nothing waits for a
 * timer, and nothing is left to luck: another CPU sees the page go, and wakes munmap() right then.
 * Prints a line for each way: 'way: NAME,TRIALS,DROPPED,STALE'; DROPPED is how often the kernel let it drop something.
 * Then, what the cure costs: 'flushes: OPERATION,VMAS,ALONE,MET', of an operation on VMAs with one page each, alone and
 * while another gather of the process is open. Last line: 'done'.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include "figures.h"
#include "pfn_device.h"

#define PAGE		4096UL
#define TABLE		(512 * PAGE)	/* what one page table maps */
#define ARENA		((char *)0x100000000000UL)
#define ELSEWHERE	((char *)0x200000000000UL)
#define NEXT		(ELSEWHERE + PAGE)	/* the other range of process_madvise() */
#define REVOKES		50		/* at most, until the reader has seen one */
#define RW		(PROT_READ | PROT_WRITE)

/*
 * ONE: madvise() of one VMA with two page tables. munmap() runs on the same CPU with a higher priority: it is woken
 * between these tables, while the VMA is locked, waits for the lock, and then goes first.
 * MANY: process_madvise() of two ranges, of which that page is the first; munmap() is woken between them.
 * EVENT: madvise() of several VMAs, the last of which has a userfaultfd whose events nobody reads for a while.
 * HELD_OPEN: the device does what madvise() would do, on any kernel.
 */
enum way { ONE, MANY, EVENT, HELD_OPEN, WAYS };
static const char * const ways[WAYS] = {
	"one madvise()", "process_madvise()", "userfaultfd_remove()", "a gather of the device",
};

static bool preempts(enum way way) { return way == ONE || way == MANY; }

static enum way way;
static int device, gate, uffd, self;
static volatile int dropped, reading, stale, stop;
static size_t length;		/* of the VMA */

enum { READER, KEEPER, DROPPER, REVOKER, THREADS };
static sem_t go[THREADS], done[THREADS];
static char *watched = ARENA, *dropped_page = ARENA;

/* Where the CPUs run by turns, it is that of another one now. */
static void relax(void) { __builtin_ia32_pause(); }

static __thread sigjmp_buf fault;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(fault, 1);
}

static void read_page(void)
{
	volatile unsigned long *word = (unsigned long *)watched;

	on_cpu(3);
	if (!sigsetjmp(fault, 0)) {
		while (!stop && !stale) {
			stale = *word == POISON;
			reading = 1;
			relax();
		}
	}
	reading = 0;
}

static void keep_gate(void)
{
	on_cpu(0);
	/* Where munmap() sleeps, the drop goes on. */
	if (ioctl(gate, preempts(way) ? SHUT_AWAKE : SHUT, HELD_MS))
		fail("/dev/gate");
}

static long drop_ranges(void)
{
	struct iovec ranges[] = { { ARENA, PAGE }, { NEXT, PAGE } };

	return syscall(SYS_process_madvise, self, ranges, 2, MADV_DONTNEED, 0);
}

static void drop(void)
{
	long ret;

	on_cpu(preempts(way) ? 1 : 0);
	switch (way) {
	case ONE:
		ret = madvise(ARENA, length, MADV_DONTNEED);
		break;
	case MANY:
		ret = drop_ranges();
		break;
	case EVENT:
		/* The userfaultfd is behind the gate. */
		ret = madvise(ARENA, length + 2 * PAGE, MADV_DONTNEED);
		break;
	default:
		ret = ioctl(device, DROP_OPEN, dropped_page);
	}
	dropped = ret >= 0 ? 1 : -errno;
}

static void await_held(int file, int what)
{
	while (!(ioctl(file, HELD) & what))
		relax();
}

/* Until the page has gone into a gather that is still open, or the call has failed. */
static void await_drop(void)
{
	struct pollfd events = { .fd = uffd, .events = POLLIN };

	switch (way) {
	case ONE:
	case MANY:
		if (ioctl(device, AWAIT_GONE, HELD_MS))
			fail("AWAIT_GONE");
		break;
	case EVENT:
		if (poll(&events, 1, 10000) != 1)
			fail("no event");
		break;
	default:
		await_held(device, DROPPED);
	}
}

static void take_back(void)
{
	struct watch watch = { (unsigned long)ARENA, (unsigned long)(way == ONE ? ARENA + TABLE : NEXT) };

	on_cpu(2);
	if (preempts(way) && ioctl(device, WAKE_WHEN_GONE, &watch))
		fail("WAKE_WHEN_GONE");
	for (int i = 0; i < REVOKES && reading && !stale && ioctl(device, AWAIT_UNLINKED, HELD_MS) == 1; i++)
		if (ioctl(device, REVOKE, 1) < 0)
			fail("/dev/pfn");
	ioctl(gate, RELEASE);
}

static void (* const functions[THREADS])(void) = { read_page, keep_gate, drop, take_back };

static void *serve(void *arg)
{
	long number = (long)arg;

	for (;;) {
		sem_wait(&go[number]);
		functions[number]();
		sem_post(&done[number]);
	}
	return NULL;
}

static void map(void *at, size_t size, int flags, int fd, off_t page)
{
	if (mmap(at, size, RW, MAP_FIXED | flags, fd, page * PAGE) != at)
		fail("mmap");
}

static void set_priority(int policy, int priority)
{
	if (sched_setscheduler(0, policy, &(struct sched_param){ priority }))
		fail("sched_setscheduler");
}

static void watch_events(char *at)
{
	struct uffdio_register range = { .range = { (unsigned long)at, PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING };

	map(at, PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ioctl(uffd, UFFDIO_REGISTER, &range))
		fail("UFFDIO_REGISTER");
}

static void map_all(void)
{
	length = way == ONE ? TABLE + PAGE : PAGE;
	map(ARENA, length, MAP_SHARED, device, FRAMES);
	map(ARENA + length, PAGE, MAP_SHARED, gate, 0);
	if (way == ONE)
		ARENA[TABLE] = 0;
}

static void start_reader(void)
{
	reading = 0;
	stale = 0;
	stop = 0;
	sem_post(&go[READER]);
	while (!reading)
		relax();
}

/* Returns whether it was stale. */
static int trial(void)
{
	struct uffd_msg message;

	dropped = 0;
	map_all();
	if (way == EVENT)
		watch_events(ARENA + length + PAGE);

	start_reader();
	sem_post(&go[KEEPER]);
	await_held(gate, GATE);
	sem_post(&go[REVOKER]);
	if (preempts(way)) {
		await_held(device, WATCHED);
		set_priority(SCHED_FIFO, 1);
	}
	sem_post(&go[DROPPER]);
	await_drop();
	if (munmap(ARENA, length + PAGE))
		fail("munmap");
	set_priority(SCHED_OTHER, 0);
	sem_wait(&done[REVOKER]);
	if (way == EVENT && read(uffd, &message, sizeof(message)) != sizeof(message))
		fail("userfaultfd: read");
	ioctl(device, RELEASE);
	stop = 1;
	for (int i = 0; i < REVOKER; i++)
		sem_wait(&done[i]);
	return stale;
}

static long flushes(void) { return number("/proc/vmstat", "nr_tlb_remote_flush"); }

enum { UNMAP, UNMAP_UNTOUCHED, UNMAP_PLAIN, PROTECT, MADVISE, OPERATIONS };
static const char * const operations[OPERATIONS] = {
	"munmap", "munmap of nothing mapped", "munmap of no PFN VMA", "mprotect", "madvise(DONTNEED)",
};

static long count(int operation, int vmas, bool met)
{
	size_t size = vmas * PAGE;
	long before;

	map(ELSEWHERE + TABLE, PAGE, MAP_SHARED, device, FRAMES);
	ELSEWHERE[TABLE] = 0;
	for (int i = 0; i < vmas; i++) {
		if (operation == UNMAP_PLAIN)
			map(ARENA + i * PAGE, PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		else
			map(ARENA + i * PAGE, PAGE, MAP_SHARED, device, 2 * FRAMES);
		if (operation != UNMAP_UNTOUCHED)
			ARENA[i * PAGE] = 0;
	}
	if (met) {
		sem_post(&go[DROPPER]);
		await_held(device, DROPPED);
	}
	before = flushes();
	if (operation == PROTECT)
		mprotect(ARENA, size, PROT_READ);
	else if (operation == MADVISE)
		madvise(ARENA, size, MADV_DONTNEED);
	else
		munmap(ARENA, size);
	before = flushes() - before;
	if (met) {
		ioctl(device, RELEASE);
		sem_wait(&done[DROPPER]);
	}
	munmap(ARENA, size);
	munmap(ELSEWHERE + TABLE, PAGE);
	return before;
}

/* The reader keeps another CPU in the process, and a page the table of the VMAs. */
static void count_all(void)
{
	static const int numbers[] = { 1, 16, 256 };

	way = HELD_OPEN;
	dropped_page = ELSEWHERE + TABLE;
	watched = ELSEWHERE + TABLE - PAGE;
	map(ARENA + TABLE - PAGE, PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ARENA[TABLE - PAGE] = 0;
	start_reader();
	for (int i = 0; i < OPERATIONS; i++)
		for (int j = 0; j < 3; j++)
			printf("flushes: %s,%d,%ld,%ld\n", operations[i], numbers[j], count(i, numbers[j], false),
			       count(i, numbers[j], true));
	stop = 1;
	sem_wait(&done[READER]);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE };
	long trials = argc > 1 ? atol(argv[1]) : 10;
	pthread_t thread;

	mount("proc", "/proc", "proc", 0, NULL);
	mknod("/dev/pfn", S_IFCHR | 0600, makedev(10, 200));
	mknod("/dev/gate", S_IFCHR | 0600, makedev(10, 201));
	device = open("/dev/pfn", O_RDWR);
	gate = open("/dev/gate", O_RDWR);
	if (device < 0 || gate < 0)
		fail("/dev/pfn, /dev/gate");
	uffd = syscall(SYS_userfaultfd, O_NONBLOCK);
	if (uffd >= 0 && ioctl(uffd, UFFDIO_API, &api))
		fail("userfaultfd");
	self = syscall(SYS_pidfd_open, getpid(), 0);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	/* The table of the other range stays. It is no huge page, which would begin before it. */
	map(NEXT, TABLE - PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ELSEWHERE[TABLE - 1] = 0;

	on_cpu(1);
	for (long i = 0; i < THREADS; i++) {
		sem_init(&go[i], 0, 0);
		sem_init(&done[i], 0, 0);
		if (pthread_create(&thread, NULL, serve, (void *)i))
			fail("pthread_create");
	}
	for (way = 0; way < WAYS; way++) {
		long drops = 0, stales = 0;

		for (long i = 0; i < trials && (way != EVENT || uffd >= 0); i++) {
			stales += trial();
			drops += dropped > 0;
		}
		printf("way: %s,%ld,%ld,%ld\n", ways[way], trials, drops, stales);
		fflush(stdout);
	}
	count_all();
	printf("done\n");
	end_guest();
	return 0;
}
