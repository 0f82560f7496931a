// SPDX-License-Identifier: GPL-2.0
/*
 * The only program of a small guest: runs the suites ROUNDS times, through the files that KUnit has in debugfs, and
 * prints what is in use after each round. Last line: 'leaks: N', the number of figures that grew from round SETTLED to
 * round ROUNDS.
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

/* In use, in pages or objects; a leak of one each round is ROUNDS - SETTLED of them. */
static const struct {
	const char *name;
	/* More than this is a leak: what each CPU keeps for itself comes and goes. */
	long slack;
} figures[] = {
	{ "pages", 32 }, { "threads", 0 }, { "files", 0 },
	{ "mm_struct", 32 }, { "vm_area_struct", 32 }, { "task_struct", 32 }, { "inode_cache", 32 },
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

/* The number that follows @name in column @column of a file of lines, or -1. */
static long number(const char *path, const char *name, int column)
{
	char line[512], *word;
	long found = -1;
	FILE *file = fopen(path, "r");

	if (!file)
		fail(path);
	while (found < 0 && fgets(line, sizeof(line), file)) {
		word = strtok(line, " \t:\n");
		if (*name) {
			if (!word || strcmp(word, name))
				continue;
			word = strtok(NULL, " \t:\n");
		}
		for (int i = 1; word && i < column; i++)
			word = strtok(NULL, " \t:\n");
		if (word)
			found = atol(word);
	}
	fclose(file);
	return found;
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

static void read_figures(long *now)
{
	/* Twice: RCU and work queues free what the first has let go. */
	for (int i = 0; i < 2; i++) {
		say("/proc/sys/vm/drop_caches", "3");
		usleep(300000);
	}
	now[0] = -number("/proc/vmstat", "nr_free_pages", 1);
	now[1] = threads();
	now[2] = number("/proc/sys/fs/file-nr", "", 1);
	for (size_t i = 3; i < FIGURES; i++)
		now[i] = number("/proc/slabinfo", figures[i].name, 1);
}

int main(void)
{
	long before[FIGURES], now[FIGURES];
	char path[128];
	int leaks = 0;

	if (mount("proc", "/proc", "proc", 0, NULL) || mount("debugfs", "/debug", "debugfs", 0, NULL))
		fail("mount");
	/* The console is for figures; what the suites say can be had by 'make'. */
	say("/proc/sys/kernel/printk", "1");
	for (int round = 1; round <= ROUNDS; round++) {
		for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
			snprintf(path, sizeof(path), "/debug/kunit/%s/run", suites[i]);
			say(path, "run");
		}
		read_figures(now);
		if (round == SETTLED)
			memcpy(before, now, sizeof(now));
		printf("round %d:", round);
		for (size_t i = 0; i < FIGURES; i++)
			printf(" %s %ld", figures[i].name, now[i]);
		printf("\n");
		fflush(stdout);
	}
	for (size_t i = 0; i < FIGURES; i++) {
		if (now[i] - before[i] <= figures[i].slack)
			continue;
		printf("leak: %s grew by %ld\n", figures[i].name, now[i] - before[i]);
		leaks++;
	}
	printf("leaks: %d\n", leaks);
	fflush(stdout);
	reboot(RB_AUTOBOOT);
	return 0;
}
