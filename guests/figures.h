/* SPDX-License-Identifier: GPL-2.0 */
/* For small guests whose only programs are ours: what is in use, to tell whether something is left behind, and more. */
#ifndef FIGURES_H

#define FIGURES_H

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

/* In pages and objects. */
static const char * const figures[] = {
	"pages", "threads", "filp", "mm_struct", "vm_area_struct", "task_struct", "inode_cache",
};
#define FIGURES	(sizeof(figures) / sizeof(figures[0]))

/* Ends the guest when all that was said is out. */
static inline void end_guest(void)
{
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	reboot(RB_AUTOBOOT);
}

/* Says what failed and why, and ends the guest. */
static inline void fail(const char *what)
{
	perror(what);
	end_guest();
}

/* Writes @what to the file @path. */
static inline void say(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, what, strlen(what)) < 0)
		fail(path);
	close(fd);
}

/* The calling thread runs on this CPU alone from now on. */
static inline void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
}

/* Brings up the loopback. */
static inline void raise_loopback(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		fail("lo");
	close(fd);
}

/* The number that follows @name in a file of such lines; ends the guest if there is none. */
static inline long number(const char *path, const char *name)
{
	size_t length = strlen(name);
	char line[512];
	FILE *file = fopen(path, "r");

	if (!file)
		fail(path);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, length) || line[length] != ' ')
			continue;
		fclose(file);
		return atol(line + length);
	}
	errno = ENOENT;
	fail(name);
	return 0;
}

/* Threads of the kernel, and this process; workers come and go as they like. */
static inline long threads(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char path[300], name[32];
	long count = 0;
	FILE *file;

	if (!proc)
		fail("/proc");
	while ((entry = readdir(proc))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		file = isdigit(entry->d_name[0]) ? fopen(path, "r") : NULL;
		if (!file)
			continue;
		count += fgets(name, sizeof(name), file) && strncmp(name, "kworker", 7);
		fclose(file);
	}
	closedir(proc);
	return count;
}

/* Pages that nobody has: what is free, and what each CPU keeps at hand. */
static inline long free_pages(void)
{
	FILE *file = fopen("/proc/zoneinfo", "r");
	char line[512];
	long count = 0, pages;

	if (!file)
		fail("/proc/zoneinfo");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " pages free %ld", &pages) == 1 || sscanf(line, " count: %ld", &pages) == 1)
			count += pages;
	fclose(file);
	return count;
}

/* CPUs keep slabs at hand, too, and count all of their objects as used. */
static inline void shrink_slabs(void)
{
	DIR *slabs = opendir("/sys/kernel/slab");
	struct dirent *entry;
	char path[300];

	if (!slabs)
		fail("/sys/kernel/slab");
	while ((entry = readdir(slabs))) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", entry->d_name);
		if (entry->d_name[0] != '.')
			say(path, "1");
	}
	closedir(slabs);
}

/* Fills @now with FIGURES figures. */
static inline void read_figures(long *now)
{
	static const long total = 1 << 18; /* of this guest, which has 1 GiB */

	/* Twice: RCU and work queues free what the first has let go. */
	for (int i = 0; i < 2; i++) {
		say("/proc/sys/vm/drop_caches", "3");
		usleep(300000);
		shrink_slabs();
	}
	say("/proc/sys/vm/stat_refresh", "1");
	now[0] = total - free_pages();
	now[1] = threads();
	for (size_t i = 2; i < FIGURES; i++)
		now[i] = number("/proc/slabinfo", figures[i]);
}

/* How many figures grew by @most or more from @before to @now; a line for each. */
static inline int leaks(const long *before, const long *now, long most)
{
	int count = 0;

	for (size_t i = 0; i < FIGURES; i++) {
		if (now[i] - before[i] < most)
			continue;
		printf("leak: %s grew by %ld\n", figures[i], now[i] - before[i]);
		count++;
	}
	return count;
}

#endif
