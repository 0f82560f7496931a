// SPDX-License-Identifier: GPL-2.0
/*
 * The only program of a small guest: runs the suites ROUNDS times, through the files that KUnit has in debugfs, and
 * prints what is in use after each round. Last line: 'leaks: N', how many of the figures grew with the rounds, from
 * SETTLED to ROUNDS.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

#define ROUNDS	50
#define SETTLED	5

static const char * const suites[] = {
	"mmu_gather_state", "mmu_gather_sequences", "mmu_gather_mm", "mmu_gather_race",
};

/* What is in use, in pages and objects. */
static const char * const figures[] = {
	"pages", "threads", "filp", "mm_struct", "vm_area_struct", "task_struct", "inode_cache",
};
#define FIGURES	(sizeof(figures) / sizeof(figures[0]))

static void fail(const char *what)
{
	perror(what);
	fflush(stdout);
	reboot(RB_AUTOBOOT);
}

static void say(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, what, strlen(what)) < 0)
		fail(path);
	close(fd);
}

/* The number that follows @name in a file of such lines; ends the guest if there is none. */
static long number(const char *path, const char *name)
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
	fail(name);
	return 0;
}

/* Threads of the kernel, and this process; workers come and go as they like. */
static long threads(void)
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
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || !(file = fopen(path, "r")))
			continue;
		count += fgets(name, sizeof(name), file) && strncmp(name, "kworker", 7);
		fclose(file);
	}
	closedir(proc);
	return count;
}

/* Pages that nobody has: what is free, and what each CPU keeps at hand. */
static long free_pages(void)
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

static void read_figures(long *now)
{
	static const long total = 1 << 18; /* of this guest, which has 1 GiB */

	/* Twice: RCU and work queues free what the first has let go. */
	for (int i = 0; i < 2; i++) {
		say("/proc/sys/vm/drop_caches", "3");
		usleep(300000);
	}
	say("/proc/sys/vm/stat_refresh", "1");
	now[0] = total - free_pages();
	now[1] = threads();
	for (size_t i = 2; i < FIGURES; i++)
		now[i] = number("/proc/slabinfo", figures[i]);
}

/* Runs a suite and adds the verdicts of its cases to @cases: how many failed, and how many passed. */
static void run(const char *suite, int *cases)
{
	char path[128], line[512];
	FILE *file;

	snprintf(path, sizeof(path), "/debug/kunit/%s/run", suite);
	say(path, "run");
	snprintf(path, sizeof(path), "/debug/kunit/%s/results", suite);
	file = fopen(path, "r");
	if (!file)
		fail(path);
	while (fgets(line, sizeof(line), file)) {
		cases[0] += !strncmp(line, "    not ok ", 11);
		cases[1] += !strncmp(line, "    ok ", 7);
	}
	fclose(file);
}

int main(void)
{
	long before[FIGURES], now[FIGURES];
	int leaks = 0;

	if (mount("proc", "/proc", "proc", 0, NULL) || mount("debugfs", "/debug", "debugfs", 0, NULL))
		fail("mount");
	/* The console is for figures; what the suites say can be had by 'make'. */
	say("/proc/sys/kernel/printk", "1");
	for (int round = 1; round <= ROUNDS; round++) {
		int cases[2] = { 0, 0 };

		for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
			run(suites[i], cases);
		read_figures(now);
		if (round == SETTLED)
			memcpy(before, now, sizeof(now));
		printf("round %d: %d cases passed, %d failed; in use:", round, cases[1], cases[0]);
		for (size_t i = 0; i < FIGURES; i++)
			printf(" %s %ld", figures[i], now[i]);
		printf("\n");
		fflush(stdout);
	}
	for (size_t i = 0; i < FIGURES; i++) {
		/* Something for most rounds. CPUs keep some for themselves, but not more and more. */
		if (now[i] - before[i] < (ROUNDS - SETTLED) * 3 / 4)
			continue;
		printf("leak: %s grew by %ld\n", figures[i], now[i] - before[i]);
		leaks++;
	}
	printf("leaks: %d\n", leaks);
	fflush(stdout);
	reboot(RB_AUTOBOOT);
	return 0;
}
