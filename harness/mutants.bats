#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2016,SC2154 # quoted is as it must be; fixture.bash sets them
# Deliberate bugs: what is a catch and what is none, with stand-ins for the compiler's work and for QEMU.

load fixture

# mutant NAME SED: mutants/NAME.patch does that to mm/mmu_gather.c
mutant() {
	sed -i "$2" "$tree/mm/mmu_gather.c"
	{ printf '%s\n' "$1" 'Class: safety' '' && git -C "$tree" diff; } >"mutants/$1.patch"
	git -C "$tree" checkout -q mm
}

# A series with a function that flushes, and a guest that does what standard input says if it is the first mutant.
setup() {
	setup_project
	mkdir mutants
	run ! proofs/mutants
	has "there is no $tree"
	make lay
	printf '%s\n' 'void hook(int vma)' '{' '	flush(vma);' '}' >"$tree/mm/mmu_gather.c"
	git -C "$tree" add -f mm
	git -C "$tree" commit -qm gather
	mutant no-flush '/flush/d'
}

guest() {
	{
		printf '%s\n' '#!/bin/sh' "echo >>'$BATS_TEST_TMPDIR/boots'" 'not=' 'case $* in *mutant=1*)'
		cat
		printf '%s\n' 'esac' \
			"printf '%s\\n' 'KTAP version 1' 1..1 '    KTAP version 1' '    # Subtest: mmu_gather' '    1..1' \\" \
			'"    ${not}ok 1 one" "${not}ok 1 mmu_gather"'
	} | stand_in qemu-system-x86_64
}

@test "^C while mutants are run leaves no guest behind, and the next make need not wait" {
	guest <<-EOF
		trap '' TERM INT
		echo \$\$ >'$BATS_TEST_TMPDIR/qemu.pid'
		sleep 1000 ;;
	EOF
	# What is left would keep a pipe open.
	interrupted_at "$BATS_TEST_TMPDIR/qemu.pid" proofs/mutants >"$BATS_TEST_TMPDIR/out" 2>&1 || [ $? -eq 130 ]
	flock -w 2 build/.lock true
	gone qemu.pid
}

@test "a mutant of ours that does not compile fails, and the others are run" {
	mutant syntax 's/flush/error/'
	cat >>"$tree/Makefile" <<-'EOF'
		all: hook
		hook: ; @! grep error mm/mmu_gather.c || { printf 'syntax: In function hook:\nsyntax:1: error: no\n' >&2; false; }
	EOF
	git -C "$tree" commit -qam make
	guest <<<"not='not ' ;;"
	run ! proofs/mutants
	[[ $output =~ 'syntax '\ *'broken '.*'does not compile' ]]
	[ "${lines[-1]}" = "1 passed, 1 failed" ]
}

@test "a guest that says nothing is not run, and no catch" {
	guest <<<"echo no such machine; exit 1 ;;"
	run ! proofs/mutants
	[[ $output =~ 'no-flush '\ *'not run '.*"no suite has begun" ]]
	[ "${lines[-1]}" = "0 passed, 0 failed" ]
}

@test "what has been run is not run again, unless what its verdict is made of has changed" {
	guest <<<"not='not ' ;;"
	proofs/mutants
	before=$(wc -l <"$BATS_TEST_TMPDIR/boots")
	run -0 proofs/mutants
	[ "${lines[-1]}" = "1 passed, 0 failed" ]
	[ "$(wc -l <"$BATS_TEST_TMPDIR/boots")" -eq "$before" ]
	rm -rf build/6.12/mutants
	proofs/mutants
	[ "$(wc -l <"$BATS_TEST_TMPDIR/boots")" -eq "$before" ]
	echo '# another' >>mutants/oracles
	guest <<<"exit 1 ;;"
	run ! proofs/mutants
	[ "${lines[-1]}" = "0 passed, 0 failed" ]
	[ "$(wc -l <"$BATS_TEST_TMPDIR/boots")" -gt "$before" ]
}
