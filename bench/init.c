// SPDX-License-Identifier: GPL-2.0
/*
 * The only program of a small guest with /dev/mixed (mixed_device.c). Threads of it keep all other CPUs busy while it
 * unmaps, maps over, protects, moves and drops mappings of raw page frames, and prints for each what the kernel counted
 * meanwhile (/proc/vmstat, with CONFIG_DEBUG_TLBFLUSH; arm64 and riscv count nothing), and the time in ticks of the
 * processor's own counter, as the kernel has no fine clock under qboot.
 * A line: operation,layout,VMAs,flushes,IPIs,pages invalidated one by one,ticks.
 * The guest ends when it has printed 'done', or an error.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "../guests/figures.h"

#define PAGE		4096UL
#define TABLE		(512 * PAGE)		/* what one page table maps */
#define AREA		((char *)0x100000000000UL)
#define ELSEWHERE	((char *)0x200000000000UL)

/*
 * DEVICE: physical memory that the kernel was told to leave alone, or the flash of riscv's board, 64 MiB. COUNTED:
 * whether it counts flushes.
 * An emulator that runs the CPUs by turns goes on to the next one at relax().
 */
#ifdef __x86_64__
#define DEVICE		0x10000000UL
#define COUNTED		1
static unsigned long ticks(void) { return __builtin_ia32_rdtsc(); }
static void relax(void) { __builtin_ia32_pause(); }
#elif defined(__riscv)
#define DEVICE		0x20000000UL
#define COUNTED		0
static unsigned long ticks(void)
{
	unsigned long now;

	asm volatile("rdinstret %0" : "=r" (now));
	return now;
}

static void relax(void) { }
#else
#define DEVICE		0x70000000UL
#define COUNTED		0
static unsigned long ticks(void)
{
	unsigned long now;

	asm volatile("isb; mrs %0, cntvct_el0" : "=r" (now));
	return now;
}

static void relax(void) { asm volatile("yield"); }
#endif

static int device, mixedmap_device, cpus;

static volatile unsigned long turns[64];

static void *spin(void *cpu)
{
	on_cpu((long)cpu);
	for (;;) {
		turns[(long)cpu]++;
		relax();
	}
	return NULL;
}

/* Every CPU but this one runs a thread of this process now. */
static void all_run(void)
{
	for (int i = 1; i < cpus; i++)
		for (unsigned long seen = turns[i]; turns[i] == seen;)
			;
}

enum count { FLUSHES, IPIS, PAGES, COUNTS };
static const char * const counters[COUNTS] = {
	"nr_tlb_remote_flush ", "nr_tlb_remote_flush_received ", "nr_tlb_local_flush_one ",
};

static void read_counts(long *counts)
{
	char text[16384], *at;
	int fd = open("/proc/vmstat", O_RDONLY), length = 0, got;

	while (fd >= 0 && (got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += got;
	close(fd);
	text[length] = 0;
	for (int i = 0; COUNTED && i < COUNTS; i++) {
		at = strstr(text, counters[i]);
		if (!at)
			fail(counters[i]);
		counts[i] = atol(at + strlen(counters[i]));
	}
}

static void map(char *at, size_t length, int flags, int fd, off_t offset)
{
	if (mmap(at, length, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, offset) != at)
		fail("mmap");
}

/* All PFN VMAs map the same frame: neighbours that are not contiguous in the file stay apart. */
static void map_pfn(char *at) { map(at, PAGE, MAP_SHARED, device, DEVICE); }

/* Neighbours of which one alone sets MAP_NORESERVE stay apart. */
static void map_plain(char *at, int flags)
{
	map(at, PAGE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	*at = 1;
}

/* How @n VMAs lie from AREA on. */
struct layout {
	const char *name;
	size_t (*make)(long n);			/* returns the length to operate on */
	long most;
};

static size_t adjacent(long n)
{
	for (long i = 0; i < n; i++)
		map_pfn(AREA + i * PAGE);
	return n * PAGE;
}

static size_t adjacent_kept(long n)
{
	/* One table for all, and a page that stays in it. */
	map_plain(AREA + n * PAGE, 0);
	return adjacent(n);
}

static size_t apart(long n)
{
	for (long i = 0; i < n; i++)
		map_pfn(AREA + i * TABLE);
	return n * TABLE;
}

/* Plain VMAs before, between and after them. */
static size_t mixed(long n)
{
	for (long i = 0; i < n; i++) {
		map_plain(AREA + 2 * i * PAGE, 0);
		map_pfn(AREA + (2 * i + 1) * PAGE);
	}
	map_plain(AREA + 2 * n * PAGE, 0);
	return (2 * n + 1) * PAGE;
}

static size_t pfn_last(long n)
{
	/* Plain VMAs with tables of their own, then PFN VMAs whose table a neighbour keeps. */
	for (long i = 0; i < 4; i++)
		map_plain(AREA + 2 * i * TABLE, 0);
	for (long i = 0; i < n; i++)
		map_pfn(AREA + 16 * TABLE + i * PAGE);
	map_plain(AREA + 16 * TABLE + n * PAGE, 0);
	return 16 * TABLE + n * PAGE;
}

static size_t no_pfn(long n)
{
	for (long i = 0; i < n; i++)
		map_plain(AREA + i * PAGE, i & 1 ? MAP_NORESERVE : 0);
	return n * PAGE;
}

/* Private: of 14,000 pages the first 12,000 become copies, which fill the batches of the gather. */
static size_t batch_fills(void)
{
	map(AREA, 14000 * PAGE, MAP_PRIVATE, device, DEVICE);
	for (long i = 0; i < 12000; i++)
		AREA[i * PAGE] = 1;
	return 14000 * PAGE;
}

static size_t mixedmap(long n)
{
	for (long i = 0; i < n; i++)
		map(AREA + i * PAGE, PAGE, MAP_SHARED, mixedmap_device, 0);
	return n * PAGE;
}

static const struct layout adjacent_layout = { "adjacent", adjacent, 4096 };
static const struct layout kept = { "table kept", adjacent_kept, 511 };
static const struct layout apart_layout = { "apart", apart, 4096 };
static const struct layout mixed_layout = { "mixed", mixed, 4096 };
static const struct layout last = { "PFN last", pfn_last, 511 };
static const struct layout mixedmap_layout = { "MIXEDMAP", mixedmap, 4096 };
static const struct layout plain = { "no PFN", no_pfn, 4096 };

static void do_munmap(size_t length)
{
	if (munmap(AREA, length))
		fail("munmap");
}

/* More than the guest has memory for, none of which is used. */
static void do_map_fixed(size_t length) { map(AREA, length, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); }

static void do_mprotect(size_t length)
{
	if (mprotect(AREA, length, PROT_READ))
		fail("mprotect");
}

static void do_madvise(size_t length)
{
	if (madvise(AREA, length, MADV_DONTNEED))
		fail("madvise");
}

/* Drops the pages, and faults them in again. */
static void do_fault(size_t length)
{
	do_madvise(length);
	for (size_t at = 0; at < length; at += PAGE)
		AREA[at] = 1;
}

/* Each VMA by itself: mremap() takes no more than one. */
static void do_mremap(size_t length)
{
	for (size_t at = 0; at < length; at += PAGE)
		if (mremap(AREA + at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ELSEWHERE + at) == MAP_FAILED)
			fail("mremap");
}

static const struct {
	const char *name;
	void (*run)(size_t length);
	const struct layout *layouts[8];
} operations[] = {
	{ "munmap", do_munmap, { &adjacent_layout, &kept, &apart_layout, &mixed_layout, &last, &plain } },
	{ "mmap(MAP_FIXED)", do_map_fixed, { &adjacent_layout, &apart_layout, &mixed_layout, &plain } },
	{ "mprotect", do_mprotect, { &adjacent_layout, &mixed_layout, &plain } },
	{ "madvise(DONTNEED)", do_madvise, { &mixedmap_layout, &plain } },
	{ "page fault", do_fault, { &plain } },
	{ "mremap", do_mremap, { &adjacent_layout } },
};

struct sample {
	long counts[COUNTS];
	unsigned long at;
};

static void take(struct sample *sample)
{
	read_counts(sample->counts);
	sample->at = ticks();
}

static void print(const char *name, const char *layout, long n, const struct sample *from)
{
	struct sample to;

	to.at = ticks();
	read_counts(to.counts);
	printf("%s,%s,%ld", name, layout, n);
	for (int i = 0; i < COUNTS; i++)
		if (COUNTED)
			printf(",%ld", to.counts[i] - from->counts[i]);
		else
			printf(",");
	printf(",%lu\n", to.at - from->at);
	fflush(stdout);
}

/* A time takes repetitions, and so does a count of instructions, which an interrupt adds to. */
static int repeats(long n)
{
	return n > 100 ? 5 : 31;
}

static void measure(const char *name, void (*run)(size_t), const struct layout *layout, long n)
{
	struct sample from;
	size_t length;

	for (int i = 0; i < repeats(n); i++) {
		length = layout->make(n);
		all_run();
		take(&from);
		run(length);
		print(name, layout->name, n, &from);
		munmap(AREA, 4096 * TABLE + TABLE);
		munmap(ELSEWHERE, 4096 * PAGE);
	}
}

static void start_threads(void)
{
	pthread_t thread;

	for (long cpu = 1; cpu < cpus; cpu++)
		if (pthread_create(&thread, NULL, spin, (void *)cpu))
			fail("pthread_create");
}

/* A child with threads of its own. This process has run on one CPU only, so its own flushes are not among the remote. */
static void measure_exit(const struct layout *layout, long n)
{
	struct sample from;
	int ready[2], go[2];
	char token = 0;
	pid_t child;

	for (int i = 0; i < repeats(n); i++) {
		if (pipe(ready) || pipe(go))
			fail("pipe");
		child = fork();
		if (child < 0)
			fail("fork");
		if (!child) {
			start_threads();
			layout->make(n);
			all_run();
			if (write(ready[1], &token, 1) != 1 || read(go[0], &token, 1) != 1)
				fail("pipe of the child");
			_exit(0);
		}
		if (read(ready[0], &token, 1) != 1)
			fail("pipe");
		take(&from);
		if (write(go[1], &token, 1) != 1 || waitpid(child, NULL, 0) != child)
			fail("wait");
		print("exit", layout->name, n, &from);
		close(ready[0]);
		close(ready[1]);
		close(go[0]);
		close(go[1]);
	}
}

/* Arguments: the numbers of VMAs. */
int main(int argc, char **argv)
{
	struct sample from;
	size_t length;

	if (mount("proc", "/proc", "proc", 0, NULL) || mknod("/dev/mem", S_IFCHR | 0600, makedev(1, 1)) ||
	    mknod("/dev/mixed", S_IFCHR | 0600, makedev(10, 200)))
		fail("mount, mknod");
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	device = open("/dev/mem", O_RDWR | O_SYNC);
	mixedmap_device = open("/dev/mixed", O_RDWR);
	if (device < 0 || mixedmap_device < 0)
		fail("/dev/mem, /dev/mixed");
	on_cpu(0);
	for (int n = 1; n < argc; n++) {
		measure_exit(&adjacent_layout, atol(argv[n]));
		measure_exit(&plain, atol(argv[n]));
	}
	/* Each copy would be a flush of its own with the threads running. */
	length = batch_fills();
	start_threads();
	all_run();
	take(&from);
	do_munmap(length);
	print("munmap", "batch fills", 1, &from);
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		for (const struct layout * const *l = operations[i].layouts; *l; l++)
			for (int n = 1; n < argc; n++)
				if (atol(argv[n]) <= (*l)->most)
					measure(operations[i].name, operations[i].run, *l, atol(argv[n]));
	printf("done\n");
	end_guest();
	return 0;
}
