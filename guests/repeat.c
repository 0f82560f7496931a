// SPDX-License-Identifier: GPL-2.0
/*
 * The only program of a small guest: runs the suites ROUNDS times, through the files that KUnit has in debugfs, and
 * prints what is in use after each round; then 'leaks: N', how many of the figures grew with the rounds, from SETTLED to
 * ROUNDS. Last line: 'done'.
 */
#define _GNU_SOURCE
#include <sys/mount.h>

#include "figures.h"

#define ROUNDS	50
#define SETTLED	5

static const char * const suites[] = { "mmu_gather_sequences", "mmu_gather_mm" };

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

	if (mount("proc", "/proc", "proc", 0, NULL) || mount("debugfs", "/debug", "debugfs", 0, NULL) ||
	    mount("sysfs", "/sys", "sysfs", 0, NULL))
		fail("mount");
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
	/* Something for most rounds. CPUs keep some for themselves, but not more and more. */
	printf("leaks: %d\ndone\n", leaks(before, now, (ROUNDS - SETTLED) * 3 / 4));
	end_guest();
	return 0;
}
