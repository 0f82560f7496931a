#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a process; fixture.bash sets them
# A series is carried over from base to base.

load fixture

setup() {
	setup_project
	other=$work/build/6.1/linux
	# Another base: the same kernel, with its own words at some places.
	git clone -q "$BATS_FILE_TMPDIR/patched" "$other"
	git -C "$other" checkout -q -B series base
	sed -i 's/^PATCHLEVEL = .*/PATCHLEVEL = 1/' "$other/Makefile"
	sed -i 's/^15$/fifteen/' "$other/mm/memory.c"
	echo "x  linux-source-6.1_all.deb" >"$work/build/6.1/source"
	git -C "$other" commit -qam linux-source-6.1
	git -C "$other" tag -f base
	git -C "$other" update-ref refs/series/laid HEAD
	git init -q
	echo build >.gitignore
	git add -A
	git commit -qm project
}

# 6.1 has what 6.12 has, and that is committed.
carried() {
	make port FROM=6.12 TO=6.1
	make refresh BASE=6.1
	git add -A
	git commit -qm '6.1'
}

@test "port: a new base gets the series" {
	sealed build -- make port FROM=6.12 TO=6.1
	sealed build patches tables -- make refresh BASE=6.1
	[ "$(ls patches/6.1)" = "0001-mm-ten.patch"$'\n'"0002-tlb-twenty.patch" ]
	grep -qx ten "$other/mm/memory.c"
	grep -qx fifteen "$other/mm/memory.c"
}

@test "port: an edit is carried over, and nothing else" {
	make port FROM=6.12 TO=6.1
	make refresh BASE=6.1
	sed -i 's/^35$/of 6.1 alone/' "$other/mm/memory.c"
	git -C "$other" commit -q -a --fixup :/'mm: ten'
	GIT_SEQUENCE_EDITOR=: git -C "$other" rebase -q -i --autosquash base
	make refresh BASE=6.1
	git add -A
	git commit -qm '6.1'

	sed -i 's/^twenty$/TWENTY/' "$tree/include/asm-generic/tlb.h"
	git -C "$tree" commit -q -a --amend -m 'tlb: TWENTY'
	make refresh
	make port FROM=6.12 TO=6.1
	make refresh BASE=6.1
	[ "$(git -C "$other" log -1 --format=%s)" = 'tlb: TWENTY' ]
	grep -qx TWENTY "$other/include/asm-generic/tlb.h"
	grep -q 'of 6.1 alone' patches/6.1/0001-mm-ten.patch
	git add -A
	git commit -qm 'both'
	run -0 sealed build tables -- make port FROM=6.12 TO=6.1
	has "6.1 has all of 6.12 already"
}

@test "port: no edit is lost, whatever is committed in between" {
	carried
	sed -i 's/^twenty$/TWENTY/' "$tree/include/asm-generic/tlb.h"
	git -C "$tree" commit -q -a --amend --no-edit
	make refresh
	git commit -qam 'an edit of 6.12'
	sed -i 's/^35$/of 6.1 alone/' "$other/mm/memory.c"
	git -C "$other" commit -q -a --amend --no-edit
	make refresh BASE=6.1
	git commit -qam 'an edit of 6.1'
	FROM=6.12 TO=6.1 run ! trees/port --check
	has "an edit of 6.12 is not in patches/6.1"
	make port FROM=6.12 TO=6.1
	make refresh BASE=6.1
	grep -qx TWENTY "$other/include/asm-generic/tlb.h"
	grep -qx 'of 6.1 alone' "$other/mm/memory.c"
	FROM=6.12 TO=6.1 trees/port --check
	git add -A
	git commit -qm both
	sed -i 's/^+TWENTY$/+Twenty/' patches/6.12/0002-*
	sed -i 's/^+of 6.1 alone$/+of 6.1 only/' patches/6.1/*.patch
	make port FROM=6.12 TO=6.1
	grep -qx Twenty "$other/include/asm-generic/tlb.h"
	grep -qx 'of 6.1 only' "$other/mm/memory.c"
}

@test "port: what is in the other is asked, if nobody noted it" {
	make port FROM=6.12 TO=6.1
	make refresh BASE=6.1
	sed -i '/^#/!d' tables/ported
	run ! make port FROM=6.12 TO=6.1
	has "is not known"
}

@test "port: a conflict is for a human, whose resolution the next run takes" {
	sed -i 's/^10$/TEN/' "$other/mm/memory.c"
	git -C "$other" commit -q -a --amend -m linux-source-6.1
	git -C "$other" tag -f base
	git -C "$other" update-ref refs/series/laid HEAD
	before=$(git -C "$other" rev-parse HEAD)
	run ! make port FROM=6.12 TO=6.1
	has "patch 1 of 6.12, 'mm: ten', conflicts with 6.1 in: mm/memory.c"
	[ "$(git -C "$other" rev-parse HEAD)" = "$before" ]
	sed -i '/^<<<<<<<\|^=======\|^TEN$\|^>>>>>>>/d' build/6.1/port/mm/memory.c
	run -0 make port FROM=6.12 TO=6.1
	grep -qx ten "$other/mm/memory.c"
	[ "$(git -C "$other" rev-list --count base..series)" -eq 2 ]
}

@test "port: from where to where" {
	run ! make port
	has "from where to where?"
	run ! make port FROM=5.10 TO=6.1
	has "no base '5.10'"
	run ! make port FROM=6.12 TO=6.12
	has "are the same"
	echo dirt >>"$other/mm/memory.c"
	run ! make port FROM=6.12 TO=6.1
	has "changes that are not committed"
}

@test "port: another number of patches is for a human" {
	carried
	commit_in_tree third
	run ! make port FROM=6.12 TO=6.1
	has "which patch of 6.1 is which of 6.12? 6.12 has 3 and had 2, 6.1 has 2"
}
