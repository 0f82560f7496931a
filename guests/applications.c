// SPDX-License-Identifier: GPL-2.0
/*
 * The only program of a small guest: runs programs that people know and that map memory of drivers, from /tests, and
 * prints for each 'application: NAME;MS;FLUSHES;IPIS;VMAS': how long it took, the remote flushes meanwhile, and how many
 * PFN VMAs its processes had at once at most, or 'skipped: NAME;STATUS' if it failed. Last line: 'done'.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#include "figures.h"

#define LINKER		"/tests/ld-linux-x86-64.so.2", "--library-path", "/tests"
#define RECEIVER	"/tests/tcp_mmap", "-4", "-z"
#define LISTENS		":2253 00000000:0000 0A"	/* in /proc/net/tcp: that of tcp_mmap */
#define CLIENTS		16
#define PATIENCE	3000				/* times 20 ms */
#define LENGTH(array)	(sizeof(array) / sizeof(*(array)))

static const struct application {
	const char *name;
	int copies, seconds;		/* seconds: until it is interrupted, or 0 */
	char *command[16];
	char *server[8];		/* for all copies, if there is one */
} applications[] = {
	{ "perf record of all CPUs", 1, 5, { LINKER, "/tests/perf", "record", "-a", "-e", "cpu-clock", "-F", "100",
					      "-o", "/tmp/perf.data" } },
	{ "tcp_mmap, 1 connection", 1, 0, { RECEIVER, "-H", "127.0.0.1" }, { RECEIVER, "-s" } },
	{ "tcp_mmap, 4 connections", 4, 0, { RECEIVER, "-H", "127.0.0.1" }, { RECEIVER, "-s" } },
	{ "tcp_mmap, 16 connections", CLIENTS, 0, { RECEIVER, "-H", "127.0.0.1" }, { RECEIVER, "-s" } },
	{ "vgem_mmap of igt", 1, 0, { LINKER, "/tests/vgem_mmap" } },
};

static pid_t start(char * const *command)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork");
	if (!child) {
		dup2(STDOUT_FILENO, STDERR_FILENO);
		execv(command[0], command);
		_exit(127);
	}
	return child;
}

/* PFN VMAs of the process @pid now; 0 if it has gone. */
static int pfn_vmas(pid_t pid)
{
	char path[32], line[512];
	int count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		/* All have [vvar]. */
		if (strstr(line, "[vvar"))
			count--;
		if (!strncmp(line, "VmFlags:", 8))
			count += strstr(line, " pf") || strstr(line, " mm");
	}
	if (file)
		fclose(file);
	return count > 0 ? count : 0;
}

/* Waits for it; returns whether the server listens. */
static int listens(void)
{
	char line[512];

	for (int i = 0; i < PATIENCE; i++) {
		FILE *file = fopen("/proc/net/tcp", "r");

		while (file && fgets(line, sizeof(line), file)) {
			if (strstr(line, LISTENS)) {
				fclose(file);
				return 1;
			}
		}
		if (file)
			fclose(file);
		usleep(20000);
	}
	return 0;
}

static long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void run(const struct application *application)
{
	long began, flushes = number("/proc/vmstat", "nr_tlb_remote_flush");
	long ipis = number("/proc/vmstat", "nr_tlb_remote_flush_received");
	pid_t server = 0, child[CLIENTS];
	int running = application->copies, most = 0, failed = 0, status;

	if (application->server[0]) {
		server = start(application->server);
		failed = !listens();
	}
	began = milliseconds();
	for (int i = 0; i < running; i++)
		child[i] = start(application->command);
	while (running) {
		int now = server ? pfn_vmas(server) : 0;

		for (int i = 0; i < application->copies; i++) {
			if (!child[i])
				continue;
			now += pfn_vmas(child[i]);
			if (application->seconds && milliseconds() - began > application->seconds * 1000)
				kill(child[i], SIGINT);
			if (!waitpid(child[i], &status, WNOHANG))
				continue;
			failed = status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) ? status : failed;
			child[i] = 0;
			running--;
		}
		most = now > most ? now : most;
		usleep(20000);
	}
	/* It has what the last of them sent still to read. */
	for (int i = 0; server && i < PATIENCE && pfn_vmas(server); i++)
		usleep(20000);
	if (server) {
		/* It would go on for ever, with nothing mapped. */
		failed |= pfn_vmas(server) || waitpid(server, NULL, WNOHANG);
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	if (failed) {
		printf("skipped: %s;%#x\n", application->name, failed);
		return;
	}
	printf("application: %s;%ld;%ld;%ld;%d\n", application->name, milliseconds() - began,
	       number("/proc/vmstat", "nr_tlb_remote_flush") - flushes,
	       number("/proc/vmstat", "nr_tlb_remote_flush_received") - ipis, most);
	fflush(stdout);
}

int main(void)
{
	if (mount("proc", "/proc", "proc", 0, NULL) || mount("tmpfs", "/tmp", "tmpfs", 0, NULL) ||
	    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) || mount("sysfs", "/sys", "sysfs", 0, NULL))
		fail("mount");
	raise_loopback();
	for (size_t i = 0; i < LENGTH(applications); i++)
		run(&applications[i]);
	printf("done\n");
	end_guest();
	return 0;
}
