// SPDX-License-Identifier: GPL-2.0
/*
 * The only program of a small guest: runs the programs of /tests that its file 'list' names, each for SECONDS at most, and
 * prints '== NAME' before and '== NAME: exit N' or '== NAME: signal N' after each.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "figures.h"

#define SECONDS		300
#define HUGE_PAGES	"64"
#define CANNOT_RUN	127	/* as the loader says it */

static void run(const char *name)
{
	char path[256];
	pid_t child;
	int status;

	snprintf(path, sizeof(path), "/tests/%s", name);
	printf("\n== %s\n", name);
	fflush(stdout);
	child = fork();
	if (child < 0)
		fail("fork");
	if (!child) {
		setpgid(0, 0);
		dup2(STDOUT_FILENO, STDERR_FILENO);
		/* Outlives exec. */
		alarm(SECONDS);
		execl(path, name, NULL);
		_exit(CANNOT_RUN);
	}
	if (waitpid(child, &status, 0) != child)
		fail("waitpid");
	kill(-child, SIGKILL);
	/* It was not there, or a library of it was not. */
	if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_RUN) {
		printf("exit %d: %s cannot be run here\n", CANNOT_RUN, name);
		end_guest();
	}
	if (WIFSIGNALED(status))
		printf("\n== %s: signal %d\n", name, WTERMSIG(status));
	else
		printf("\n== %s: exit %d\n", name, WEXITSTATUS(status));
	fflush(stdout);
}

int main(void)
{
	char name[200];
	FILE *list;

	if (mount("proc", "/proc", "proc", 0, NULL) || mount("tmpfs", "/tmp", "tmpfs", 0, NULL) ||
	    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL))
		fail("mount");
	/* Some tests ask for what a kernel may lack: they skip. */
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	/* Those that are not static find their loader and their libraries here. */
	if (mkdir("/lib64", 0755) || symlink("/tests/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2") ||
	    setenv("LD_LIBRARY_PATH", "/tests", 1) || chdir("/tmp"))
		fail("/tmp");
	/* No colours in what they print. */
	setenv("TERM", "dumb", 1);
	setenv("IGT_PLAIN_OUTPUT", "1", 1);
	say("/proc/sys/vm/nr_hugepages", HUGE_PAGES);
	raise_loopback();
	/* The names are more than a kernel takes as arguments. */
	list = fopen("/tests/list", "r");
	if (!list)
		fail("list");
	while (fscanf(list, "%199s", name) == 1)
		run(name);
	printf("done\n");
	end_guest();
	return 0;
}
