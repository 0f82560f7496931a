// SPDX-License-Identifier: GPL-2.0
/*
 * devices VMAS TRIALS: the only program of a small guest of 4 CPUs with drivers that people have, and QEMU's devices for
 * them. Of each it maps a page VMAS times, neighbours in address, while threads of the process run on all other CPUs:
 * 'device: DEVICE,FLUSHES,IPIS,FLUSHES,IPIS,FLUSHES,IPIS,KIND': of one munmap() of all, of one mprotect(), of the exit;
 * KIND is what the VMAs are.
 * 'skipped: DEVICE,REASON': this kernel has it not.
 * 'revoke: DEVICE,HOW,TRIALS,MET,STALE': TRIALS times the driver takes a mapping back, at any time before, during or after
 * a munmap() of it and FILLERS more, or while munmap() has unlinked it and waits to unlink what is behind it, a VMA of
 * /dev/gate (pfn_device.c); every second time, it is not the first that munmap() comes to. MET is how often both ran at
 * the same time. As soon as the driver says that it has it, its memory is overwritten; the trial is stale if a thread
 * that reads all the while reads that.
 * Last line: 'done'.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <libdrm/drm.h>
#include <linux/dma-heap.h>
#include <linux/if_packet.h>
#include <linux/pci_regs.h>
#include <linux/perf_event.h>
#include <linux/tcp.h>
#include <linux/udmabuf.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "figures.h"
#include "pfn_device.h"

#define PAGE		4096UL
#define HUGE		(512 * PAGE)
#define ARENA		((char *)0x100000000000UL)
#define CPUS		4
#define FILLERS		2000
#define PATIENCE	20000000000UL		/* ticks: some seconds */
#define OWNED		0UL			/* what the page holds, until it is taken back: POISON */
#define PCI		"0000:00:10.0"		/* the ivshmem device, where proofs/devices puts it */
#define BAR		2			/* its memory */
#define REGION(index)	((off_t)(index) << 40)	/* of a file of vfio-pci */
#define RW		(PROT_READ | PROT_WRITE)
#define LENGTH(array)	(sizeof(array) / sizeof(*(array)))

static int fd, memfd, peer, group = -1;		/* fd: the device at hand */
static off_t offset;				/* of what is mapped of it */
static char *buffer;				/* a page */
static const char *opening;			/* the device that may be missing */
static jmp_buf missing;

/* Returns @result, which is negative if @what has failed: that ends the guest, or leaves out the device. */
static long must(long result, const char *what)
{
	if (result >= 0)
		return result;
	if (opening) {
		printf("skipped: %s,%s: %s\n", opening, what, strerror(errno));
		longjmp(missing, 1);
	}
	fail(what);
	return 0;
}

static int must_open(const char *path)
{
	return must(open(path, O_RDWR | O_SYNC), path);
}

static void *map(void *at, size_t size, int protection, int flags, int file, off_t from)
{
	void *got = mmap(at, size, protection, flags, file, from);

	must(got == MAP_FAILED ? -1 : 0, "mmap");
	return got;
}

static void map_shared(char *at, size_t size)
{
	map(at, size, RW, MAP_SHARED | MAP_FIXED, fd, offset);
	*(volatile char *)at;
}

static void open_udmabuf(void)
{
	struct udmabuf_create create = { .memfd = memfd, .size = PAGE };

	fd = must(ioctl(must_open("/dev/udmabuf"), UDMABUF_CREATE, &create), "UDMABUF_CREATE");
}

static void open_heap(void)
{
	struct dma_heap_allocation_data data = { .len = PAGE, .fd_flags = O_RDWR | O_CLOEXEC };

	must(ioctl(must_open("/dev/dma_heap/system"), DMA_HEAP_IOCTL_ALLOC, &data), "DMA_HEAP_IOCTL_ALLOC");
	fd = data.fd;
}

static void open_tcp(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int one = 1, server = must(socket(AF_INET, SOCK_STREAM, 0), "TCP");

	peer = must(socket(AF_INET, SOCK_STREAM, 0), "TCP");
	raise_loopback();
	must(bind(server, (void *)&address, length) ?: listen(server, 1), "listen()");
	must(getsockname(server, (void *)&address, &length), "getsockname()");
	must(connect(peer, (void *)&address, length), "connect()");
	must(setsockopt(peer, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)), "SO_ZEROCOPY");
	fd = must(accept(server, NULL, NULL), "accept()");
}

/* A page sent by itself without a copy is copied to a page of its own in the loopback, which can be mapped. */
static void map_tcp(char *at, size_t size)
{
	struct tcp_zerocopy_receive receive = { .address = (unsigned long)at, .length = size };
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	socklen_t length = sizeof(receive);

	map(at, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	must(send(peer, buffer, size, MSG_ZEROCOPY), "send()");
	poll(&readable, 1, -1);
	must(getsockopt(fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &receive, &length), "TCP_ZEROCOPY_RECEIVE");
	must(receive.length == size ? 0 : -1, "TCP_ZEROCOPY_RECEIVE maps nothing");
}

static void open_packet(void)
{
	struct tpacket_req ring = {
		.tp_block_size = PAGE, .tp_block_nr = 1, .tp_frame_size = PAGE, .tp_frame_nr = 1,
	};

	fd = must(socket(AF_PACKET, SOCK_RAW, 0), "AF_PACKET");
	must(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)), "PACKET_RX_RING");
}

static void open_perf(void)
{
	struct perf_event_attr event = {
		.type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_DUMMY, .size = sizeof(event),
	};

	fd = must(syscall(SYS_perf_event_open, &event, -1, 0, -1, 0), "perf_event_open()");
}

/* vfio-pci has it disabled while nobody has the device open. */
static void enable_memory(void)
{
	int config = must_open("/sys/bus/pci/devices/" PCI "/config");
	unsigned short command = PCI_COMMAND_MEMORY;

	must(pwrite(config, &command, sizeof(command), PCI_COMMAND), "config");
	close(config);
}

/* What no driver has claimed while nobody uses it through vfio-pci. */
static void open_mem(void)
{
	FILE *file = fopen("/sys/bus/pci/devices/" PCI "/resource", "r");
	char line[128];

	must(file ? 0 : -1, PCI);
	for (int i = 0; i <= BAR && fgets(line, sizeof(line), file); i++)
		offset = strtoul(line, NULL, 16);
	fclose(file);
	enable_memory();
	fd = must_open("/dev/mem");
}

/* The driver lets go of the device with the last of these. */
static int vfio_device(void)
{
	return must(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, PCI), "VFIO_GROUP_GET_DEVICE_FD");
}

static void open_vfio(void)
{
	int container;

	if (group < 0) {
		container = must_open("/dev/vfio/vfio");
		group = must_open("/dev/vfio/noiommu-0");
		must(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "VFIO_GROUP_SET_CONTAINER");
		must(ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU), "VFIO_SET_IOMMU");
	}
	fd = vfio_device();
	offset = REGION(BAR);
}

/* A buffer of one page of the DRM driver @name */
static void open_drm(const char *name)
{
	struct drm_mode_create_dumb create = { .width = 64, .height = 16, .bpp = 32 };
	struct drm_mode_map_dumb place = { 0 };
	char found[32], path[32];

	for (int card = 0; ; card++) {
		struct drm_version version = { .name = found, .name_len = sizeof(found) };

		snprintf(path, sizeof(path), "/dev/dri/card%d", card);
		fd = must_open(path);
		must(ioctl(fd, DRM_IOCTL_VERSION, &version), "DRM_IOCTL_VERSION");
		if (!strncmp(found, name, version.name_len))
			break;
		close(fd);
	}
	must(ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &create), "DRM_IOCTL_MODE_CREATE_DUMB");
	place.handle = create.handle;
	must(ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &place), "DRM_IOCTL_MODE_MAP_DUMB");
	offset = place.offset;
}

static void open_bochs(void)
{
	open_drm("bochs-drm");
}

static void open_vgem(void)
{
	open_drm("vgem");
}

/* open() leaves fd and offset for map(). */
static const struct device {
	const char *name;
	void (*open)(void);
	void (*map)(char *at, size_t size);
	size_t size;
	int protection;		/* what mprotect() makes of it */
} devices[] = {
	{ "udmabuf", open_udmabuf, map_shared, PAGE },
	{ "dma-buf system heap", open_heap, map_shared, PAGE },
	{ "TCP zerocopy receive", open_tcp, map_tcp, PAGE },
	{ "AF_PACKET ring", open_packet, map_shared, PAGE },
	{ "perf ring buffer", open_perf, map_shared, 2 * PAGE },
	{ "/dev/mem of a PCI BAR", open_mem, map_shared, PAGE },
	{ "DRM buffer of bochs", open_bochs, map_shared, PAGE },
	{ "DRM buffer of vgem", open_vgem, map_shared, PAGE },
	{ "vfio-pci", open_vfio, map_shared, PAGE },
	{ "vfio-pci of 2 MiB each", open_vfio, map_shared, HUGE },
	{ "vfio-pci of 2 MiB each made read-only", open_vfio, map_shared, HUGE, PROT_READ },
};

static pthread_t spawn(void *(*function)(void *), long arg)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, function, (void *)arg);
	must(-errno, "pthread_create");
	return thread;
}

static volatile unsigned long turns[CPUS];

static void *spin(void *cpu)
{
	on_cpu((long)cpu);
	for (;;)
		turns[(long)cpu]++;
	return NULL;
}

/* What a process and its child have in common. */
static struct {
	long flushes, ipis;	/* remote ones, so far and then since then */
	const char *kind;
} *shared;

static long counter(const char *name)
{
	return number("/proc/vmstat", name);
}

static void take_counts(void)
{
	shared->flushes = counter("nr_tlb_remote_flush") - shared->flushes;
	shared->ipis = counter("nr_tlb_remote_flush_received") - shared->ipis;
}

/* Says what the VMA at ARENA is, by its flags. */
static void find_kind(void)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	char line[512];
	int here = 0;

	must(file ? 0 : -1, "/proc/self/smaps");
	while (fgets(line, sizeof(line), file)) {
		here |= strtoul(line, NULL, 16) == (unsigned long)ARENA;
		if (here && !strncmp(line, "VmFlags:", 8))
			break;
	}
	fclose(file);
	shared->kind = strstr(line, " pf") ? "VM_PFNMAP" : strstr(line, " mm") ? "VM_MIXEDMAP" : "neither";
}

enum operation { MUNMAP, MPROTECT, EXIT, OPERATIONS };

/* In a process of its own, whose other threads keep all other CPUs busy. */
static void operate(const struct device *device, enum operation operation, long vmas)
{
	/* Copies this process's pages while that takes no flush. */
	counter("nr_tlb_remote_flush");
	for (long cpu = 1; cpu < CPUS; cpu++)
		spawn(spin, cpu);
	for (long i = 0; i < vmas; i++)
		device->map(ARENA + i * device->size, device->size);
	find_kind();
	for (int i = 1; i < CPUS; i++)
		for (unsigned long seen = turns[i]; turns[i] == seen;)
			;
	take_counts();
	if (operation == MUNMAP)
		must(munmap(ARENA, vmas * device->size), "munmap");
	if (operation == MPROTECT)
		must(mprotect(ARENA, vmas * device->size, device->protection), "mprotect");
	if (operation != EXIT)
		take_counts();
	_exit(0);
}

static void count(const struct device *device, enum operation operation, long vmas)
{
	pid_t child;
	int status;

	shared->flushes = shared->ipis = 0;
	child = must(fork(), "fork");
	if (!child)
		operate(device, operation, vmas);
	must(waitpid(child, &status, 0), "waitpid");
	must(-status, device->name);
	if (operation == EXIT)
		take_counts();
	printf(",%ld,%ld", shared->flushes, shared->ipis);
}

/*
 * How a driver takes back what is mapped, and gives it again. Low power keeps only user space from the page.
 */
static void write_page(unsigned long word)
{
	must(pwrite(fd, &word, sizeof(word), REGION(BAR)), "pwrite");
}

static void low_power(unsigned int feature)
{
	struct vfio_device_feature enter = { .argsz = sizeof(enter), .flags = VFIO_DEVICE_FEATURE_SET | feature };

	must(ioctl(fd, VFIO_DEVICE_FEATURE, &enter), "VFIO_DEVICE_FEATURE");
}

static void take_low_power(void)
{
	low_power(VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
	write_page(POISON);
}

static void give_low_power(void)
{
	write_page(OWNED);
	low_power(VFIO_DEVICE_FEATURE_LOW_POWER_EXIT);
}

static const struct way {
	const char *device, *how;
	void (*open)(void);
	void (*take)(void);
	void (*give)(void);
	size_t size;
	int gated;		/* taken when it has been unlinked */
} ways[] = {
	{ "vfio-pci", "enters low power", open_vfio, take_low_power, give_low_power, PAGE },
	{ "vfio-pci", "enters low power once unlinked", open_vfio, take_low_power, give_low_power, PAGE, 1 },
	{ "vfio-pci of 2 MiB", "enters low power once unlinked", open_vfio, take_low_power, give_low_power, HUGE, 1 },
};

static const struct way *way;
static int gate;
static volatile int reading, stale, stop, unmapped;
static volatile int seen;			/* whether the reader has come to what was taken back */
static volatile unsigned long due, from, to;	/* ticks: when to take it back, and when that was */
static sigjmp_buf fault;

/* The processor's clock: the kernel has no fine one here. */
static unsigned long ticks(void) { return __builtin_ia32_rdtsc(); }

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(fault, 1);
}

static void *read_on(void *cpu)
{
	volatile unsigned long *word = (unsigned long *)ARENA;

	on_cpu((long)cpu);
	if (!sigsetjmp(fault, 0)) {
		while (!stop && !stale) {
			stale = *word != OWNED;
			reading = 1;
		}
	}
	reading = 0;
	return NULL;
}

static void *shut_gate(void *cpu)
{
	on_cpu((long)cpu);
	must(ioctl(gate, SHUT, HELD_MS), "SHUT");
	return NULL;
}

/* Whether munmap() sleeps at the gate. */
static int held_up(void)
{
	return (ioctl(gate, HELD) & (GATE | WAITED)) == (GATE | WAITED);
}

static void *take_back(void *cpu)
{
	on_cpu((long)cpu);
	while (way->gated ? !held_up() && !unmapped : ticks() < due)
		;
	from = ticks();
	way->take();
	to = ticks();
	/* It can only fault now, or read what it shall not. */
	while (reading && ticks() < to + PATIENCE)
		;
	seen = !reading && (!way->gated || held_up());
	ioctl(gate, RELEASE);
	way->give();
	return NULL;
}

/* What munmap() comes to next, at @at; returns where that ends. */
static char *map_neighbours(char *at, pthread_t *keeper)
{
	if (way->gated) {
		map(at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, gate, 0);
		*keeper = spawn(shut_gate, 1);
		while (!(ioctl(gate, HELD) & GATE))
			sched_yield();
		return at + PAGE;
	}
	/* Those that are not contiguous in the file stay apart. */
	for (long i = 0; i < FILLERS; i++)
		map(at + i * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, memfd, 0);
	return at + FILLERS * PAGE;
}

/*
 * Returns whether munmap() and the driver ran at the same time. @length: ticks that munmap() takes. @follows: whether it
 * comes to another VMA first.
 */
static int trial(unsigned long *length, int follows)
{
	char *start = ARENA - (follows ? PAGE : 0), *end;
	pthread_t reader, revoker, keeper = 0;
	unsigned long begun, ended;

	stop = 0;
	unmapped = 0;
	due = -1;
	map(ARENA - PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, memfd, 0);
	map_shared(ARENA, way->size);
	end = map_neighbours(ARENA + way->size, &keeper);
	revoker = spawn(take_back, 2);
	reader = spawn(read_on, 3);
	while (!reading)
		sched_yield();
	begun = ticks() + *length / 2;
	/* Half of them in the second half, where VMAs are unlinked. */
	due = ticks() + *length * (rand() % 2 ? rand() % 2048 : 1024 + rand() % 512) / 1024;
	while (ticks() < begun)
		;
	begun = ticks();
	must(munmap(start, end - start), "munmap");
	ended = ticks();
	unmapped = 1;
	pthread_join(revoker, NULL);
	stop = 1;
	pthread_join(reader, NULL);
	if (way->gated)
		pthread_join(keeper, NULL);
	*length = ended - begun;
	return seen && from < ended && to > begun;
}

static void run_trials(long trials)
{
	unsigned long length = 1 << 20;
	long met = 0, stales = 0;

	for (long i = 0; i < trials; i++) {
		stale = 0;
		met += trial(&length, i % 2);
		stales += stale;
	}
	printf("revoke: %s,%s,%ld,%ld,%ld\n", way->device, way->how, trials, met, stales);
}

/* Whether the device is there. What the kernel says of it is not to come into a line of ours. */
static int try_open(const char *name, void (*open_device)(void))
{
	tcdrain(STDOUT_FILENO);
	if (setjmp(missing)) {
		opening = NULL;
		return 0;
	}
	opening = name;
	offset = 0;
	open_device();
	opening = NULL;
	return 1;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	long vmas = argc > 1 ? atol(argv[1]) : 256, trials = argc > 2 ? atol(argv[2]) : 10;

	setlinebuf(stdout);
	must(mount("proc", "/proc", "proc", 0, NULL), "/proc");
	must(mount("sysfs", "/sys", "sysfs", 0, NULL), "/sys");
	must(mount("devtmpfs", "/dev", "devtmpfs", 0, NULL), "/dev");
	buffer = map(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = map(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memfd = must(memfd_create("page", MFD_ALLOW_SEALING), "memfd_create");
	must(ftruncate(memfd, PAGE), "ftruncate");
	must(fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK), "F_ADD_SEALS");
	gate = must_open("/dev/gate");
	on_cpu(0);
	for (size_t i = 0; i < LENGTH(devices); i++) {
		if (!try_open(devices[i].name, devices[i].open))
			continue;
		printf("device: %s", devices[i].name);
		for (int operation = 0; operation < OPERATIONS; operation++)
			count(&devices[i], operation, vmas);
		printf(",%s\n", shared->kind);
		close(fd);
	}
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	for (way = ways; way < ways + LENGTH(ways); way++) {
		if (!try_open(way->device, way->open))
			continue;
		run_trials(trials);
		close(fd);
	}
	printf("done\n");
	end_guest();
	return 0;
}
