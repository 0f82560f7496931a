# SPDX-License-Identifier: GPL-2.0
# A target is the script of that name, in trees/, guests/, proofs/ or machine/. It gets the variables of tables/variables.

MAKEFLAGS += --no-print-directory

### Use the series
kunit: lay         ## apply, build, boot and judge (the default)
lay: deps          ## lay out build/BASE/linux: the source, and the series on top of it as branch 'series'
get: deps          ## download the base's source package and check its signature
deps:              ## install what is missing
apply:             ## put the series on a new branch of KDIR, or leave that as it is

### Change it
series:            ## put what source/ says into the series of each base, or of BASE
refresh:           ## write the commits of build/BASE/linux to patches/BASE
port:              ## carry the series, or what was edited in it, from one base to another: FROM=6.12 TO=6.1
lint:              ## style and spelling of all that is here
harness:           ## the tests of these scripts
clean:             ## remove objects and logs
distclean:         ## remove build/

### Prove it
test:              ## all that fits in an hour: scripts, KUnit on each base, some mutants, the model
race: lay          ## the race alone, TRIALS times
repeat: lay        ## the suites 50 times in one boot: nothing may be left behind
mutants: lay       ## put deliberate bugs into the series: the suites must catch each
commits: lay       ## build and boot every commit of the series by itself
matrix:            ## the suites on other architectures, compilers, configurations: all jobs, those of BASE, or JOB
selftests: lay     ## the kernel's own programs that test mm/, before and after the series: same verdicts
alltests: lay      ## the kernel's own KUnit suites, before and after the series: same verdicts
soak: lay          ## random calls on mappings that a driver takes back, beside stress-ng or trinity
devices: lay       ## flushes of mappings of real drivers, before and after; they take them back against munmap()
applications: lay  ## flushes and time of programs that people know, before and after
bench:             ## flushes, IPIs, times and instructions before and after the series
model:             ## search all states of the model of the race
audit:             ## the places in each base where a lock goes while a gather is open, against results/audit.md
cases:             ## write results/cases.md from the last results

### Send it
kernels:           ## apply each series to every version that Debian's suites offer of its base
check:             ## what a maintainer runs before sending: style, warnings, documentation, each commit
send-dry-run: lay  ## what git send-email would send to whom; nothing is sent

targets := $(shell sed -n 's/^\([a-z-]*\):.* \#\# .*/\1/p' Makefile)
.PHONY: $(targets) help

ifneq ($(origin CC),command line)
unexport CC
endif

$(targets):
	@$(wildcard trees/$@ guests/$@ proofs/$@ machine/$@) $(if $(filter mutants,$@),$(MUTANTS))

help:
	@sed -n -e 's/^### \(.*\)/\n\1:/p' -e 's/^\([a-z-]*\):.* ## \(.*\)/  \1\t\2/p' Makefile | expand -t 16
	@printf '\nmake TARGET NAME=VALUE...:\n'
	@sed '/^#/d; s/^/  /' tables/variables
