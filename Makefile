# SPDX-License-Identifier: GPL-2.0
# Everything is done by the scripts; they know the defaults too. Variables given to make reach them as they are.

MAKEFLAGS += --no-print-directory

kunit: tree  ## apply the series, build, boot and judge (the default); ARCH=x86_64|arm64|um|riscv|...
	@scripts/kunit

deps:  ## install what is missing (NO_DEPS=1: only say what is)
	@scripts/deps "$${ARCH:-x86_64}"

fetch: deps  ## download the base's source package and check its signature
	@scripts/fetch

tree: fetch  ## lay out build/BASE/linux: the source, and the series on top as branch 'series'
	@scripts/tree

update: deps  ## the same with the newest source package there is
	@UPDATE=1 scripts/fetch
	@scripts/tree

refresh:  ## write the commits of build/BASE/linux to patches/BASE
	@scripts/refresh

port:  ## carry the series, or what was edited in it, over to another base: FROM=6.12 TO=6.1
	@scripts/port

apply:  ## put the series on a new branch of your own kernel tree, KDIR=...
	@scripts/apply

race: tree  ## the race alone, TRIALS=100000 times
	@scripts/race

repeat: tree  ## the suites 50 times in one boot: nothing may be left behind
	@scripts/repeat

mutants: tree  ## put deliberate bugs into the series; the tests must catch each
	@scripts/mutants $(MUTANTS)

commits: tree  ## build and boot every commit of the series by itself
	@scripts/commits

bench:  ## flushes, IPIs and times before and after, for bench/results and README; QUICK=1: only the counts of a few
	@scripts/bench

selftests: tree  ## the kernel's own tests of what the series touches, before and after it: same verdicts
	@scripts/selftests

soak: tree  ## random calls on PFN mappings that are taken back, beside stress-ng; JOB=x86_64-kasan, DURATION=600 (s)
	@scripts/soak

alltests: tree  ## all KUnit suites of the base, before and after the series: same verdicts
	@scripts/alltests

matrix:  ## the suite on other architectures, compilers, configurations: all jobs, those of BASE, or JOB=riscv
	@scripts/matrix

matrix-list:  ## the jobs of 'make matrix' as JSON
	@scripts/matrix list

model:  ## search all states of the model of the race; a table of verdicts
	@scripts/deps test
	@sh model/run.sh

check:  ## what a maintainer runs before sending: style, warnings, documentation, each commit on x86_64 and arm64
	@scripts/check

cases:  ## write the table of cases in README from the last results
	@scripts/cases

send-dry-run: tree  ## what git send-email would send to whom; nothing is sent
	@scripts/send-dry-run

test:  ## everything: scripts, KUnit on every base and architecture, some mutants, the model
	@scripts/test

clean:  ## remove objects and logs
	@scripts/clean

distclean:  ## remove build/, the trees in it too
	@scripts/clean all

help:  ## this list
	@echo 'make [BASE=6.12|6.1|mainline] [ARCH=x86_64] [KDIR=your/linux] [FILTER=glob] [KCONFIG=CONFIG_X=y] [CC=gcc] [ACCEL=tcg] [TIMEOUT=300] [JOBS=n]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: kunit deps fetch tree update refresh port apply race repeat mutants commits bench selftests alltests soak matrix matrix-list model check cases send-dry-run test clean distclean help
