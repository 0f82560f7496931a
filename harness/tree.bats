#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2030,SC2031,SC2154 # each test is a process; fixture.bash sets them
# The tree and the patches: laid out, written back, and never lost.

load fixture

setup() {
	setup_project
}

@test "the tree: base is the source, series the patches, and both are the same each time" {
	make lay
	[ "$(git -C "$tree" rev-list --count base..series)" -eq 2 ]
	[ -z "$(git -C "$tree" status --porcelain)" ]
	first=$(git -C "$tree" rev-parse base series)
	rm -rf "$tree"
	make lay
	[ "$(git -C "$tree" rev-parse base series)" = "$first" ]
}

@test "the user's git settings change nothing" {
	make lay
	expect=$(git -C "$tree" rev-parse base series)
	rm -rf "$tree"
	git config -f "$BATS_TEST_TMPDIR/gitconfig" commit.gpgsign true
	git config -f "$BATS_TEST_TMPDIR/gitconfig" diff.noprefix true
	git config -f "$BATS_TEST_TMPDIR/gitconfig" format.subjectPrefix RFC
	git config -f "$BATS_TEST_TMPDIR/gitconfig" core.autocrlf true
	export GIT_CONFIG_GLOBAL=$BATS_TEST_TMPDIR/gitconfig HOME=$BATS_TEST_TMPDIR
	mkdir -p ~/.config/git
	echo '* text eol=crlf' >~/.config/git/attributes
	echo lib >~/.config/git/ignore
	make lay
	[ "$(git -C "$tree" rev-parse base series)" = "$expect" ]
	make refresh
	before=$(cat patches/6.12/*)
	make refresh
	[ "$(cat patches/6.12/*)" = "$before" ]
	grep -q '^Subject: \[PATCH 1/2\] mm: ten' patches/6.12/0001-*
}

@test "refresh: straight after the tree it changes no byte" {
	make lay
	make refresh
	before=$(sha256sum patches/6.12/*; stat -c '%n %y' patches/6.12/*)
	rm -rf "$tree"
	make lay
	run -0 make refresh
	[ -z "$output" ]
	make refresh
	[ "$(sha256sum patches/6.12/*; stat -c '%n %y' patches/6.12/*)" = "$before" ]
}

@test "refresh: commits become patches, the cover keeps its text and gets new figures" {
	make lay
	sed -i 's/\*\*\* SUBJECT HERE \*\*\*/a title/
		s/\*\*\* BLURB HERE \*\*\*/First words.\n\nCases (2):\n  one\n\nLast words./' patches/6.12/0000-*
	sed -i 's/^Subject: \[PATCH /Subject: [PATCH mm v2 /' patches/6.12/0000-*
	head=$(sed '/^Last words/q; s,0/2,0/3,' patches/6.12/0000-*)
	commit_in_tree third
	arguments=--check make refresh
	[ "$(sed '/^Last words/q' patches/6.12/0000-*)" = "$head" ]
	grep -qx 't (3):' patches/6.12/0000-*
	grep -qx '  third' patches/6.12/0000-*
	grep -q '^Subject: \[PATCH mm v2 3/3\] third' patches/6.12/0003-third.patch
	before=$(cat patches/6.12/*)
	make refresh
	make lay
	[ "$(cat patches/6.12/*)" = "$before" ]
}

@test "refresh: a commit less is a patch less" {
	make lay
	git -C "$tree" reset -q --hard HEAD^
	make refresh
	[ "$(ls patches/6.12)" = "0000-cover-letter.patch"$'\n'"0001-mm-ten.patch" ]
	grep -q '^Subject: \[PATCH 0/1\]' patches/6.12/0000-*
}

@test "refresh: patches that were edited are not written over by a tree without work, and kept if it has some" {
	make lay
	edited_patch
	run ! make refresh
	has "make lay"
	grep -qx +zehn patches/6.12/0001-*
	commit_in_tree third
	make refresh
	grep -qx +ten patches/6.12/0001-*
	grep -qx +zehn build/6.12/patches-before/0001-*
}

@test "refresh: no cover letter, none made" {
	rm patches/6.12/0000-*
	make lay
	make refresh
	[ "$(ls patches/6.12)" = "0001-mm-ten.patch"$'\n'"0002-tlb-twenty.patch" ]
}

@test "refresh: refuses when commits are missing, wrong or not all" {
	run ! make refresh
	has "there is no"
	make lay
	before=$(cat patches/6.12/*)
	echo dirt >>"$tree/mm/memory.c"
	run ! make refresh
	has "not committed"
	git -C "$tree" checkout -q -f base
	run ! make refresh
	has "not on its branch 'series'"
	git -C "$tree" checkout -q -B series base
	run ! make refresh
	has "no commits"
	[ "$(cat patches/6.12/*)" = "$before" ]
}

# edited_patch: as if an editor had changed a patch
edited_patch() { sed -i 's/^+ten$/+zehn/' patches/6.12/0001-*; }

@test "tree: edited patches are laid again, and only what differs is written" {
	make lay
	touch -d @1700000000 "$tree/include/asm-generic/tlb.h" "$tree/lib/new.c"
	edited_patch
	make lay
	grep -qx zehn "$tree/mm/memory.c"
	[ "$(stat -c %Y "$tree/include/asm-generic/tlb.h" "$tree/lib/new.c")" = $'1700000000\n1700000000' ]
}

@test "tree: work in it is built as it is while the patches stay" {
	make lay
	echo dirt >>"$tree/mm/memory.c"
	run -0 make lay
	has "built as it is"
	grep -qx dirt "$tree/mm/memory.c"
}

@test "tree: refuses to lose changes" {
	make lay
	edited_patch
	echo dirt >>"$tree/mm/memory.c"
	run ! make lay
	has "not committed"
	has "make refresh"
	grep -qx dirt "$tree/mm/memory.c"
}

@test "tree: refuses to lose commits, until they are patches" {
	make lay
	commit_in_tree third
	kept=$(git -C "$tree" rev-parse HEAD)
	edited_patch
	run ! make lay
	has "make refresh"
	[ "$(git -C "$tree" rev-parse HEAD)" = "$kept" ]
	make refresh
	make lay
	[ "$(git -C "$tree" rev-parse HEAD)" = "$kept" ]
	grep -qx ten "$tree/mm/memory.c"
}

@test "tree: refuses to overwrite a file that git does not know" {
	make lay
	echo mine >"$tree/lib/other.c"
	echo '*' >"$tree/.git/info/exclude"
	sed -i 's,lib/new.c,lib/other.c,g' patches/6.12/0002-*
	run ! make lay
	has "lib/other.c"
	[ "$(cat "$tree/lib/other.c")" = mine ]
}

@test "tree: a newer source takes the place of the old, unless there is work in the tree" {
	make lay
	old=$(git -C "$tree" rev-parse base)
	mv build/6.12/linux-source-6.12_6.12.9-1_all.deb build/6.12/linux-source-6.12_6.12.10-1_all.deb
	sed -i s/6.12.9/6.12.10/ build/6.12/source
	commit_in_tree third
	run ! make lay
	has "linux-source-6.12_6.12.10-1 is new"
	make refresh
	make lay
	[ "$(git -C "$tree" rev-parse base)" != "$old" ]
	[ "$(git -C "$tree" rev-list --count base..series)" -eq 3 ]
}

@test "tree: interrupted while it is unpacked, or while patches are applied, it is done again" {
	for what in 'tar -xJ' 'git add' 'git am'; do
		rm -rf "$tree"
		stand_in "${what% *}" <<-EOF
			#!/bin/sh
			case \$* in *${what#* }*) touch $BATS_TEST_TMPDIR/began; sleep 60 ;; esac
			exec /usr/bin/${what% *} "\$@"
		EOF
		run ! interrupted_at "$BATS_TEST_TMPDIR/began" make lay
		rm "$BATS_TEST_TMPDIR/bin/${what% *}" "$BATS_TEST_TMPDIR/began"
	done
	make lay
	[ "$(git -C "$tree" rev-list --count base..series)" -eq 2 ]
}

@test "tree: two at once do not collide" {
	make lay >"$BATS_TEST_TMPDIR/one" 2>&1 &
	make lay >"$BATS_TEST_TMPDIR/two" 2>&1
	wait $!
	grep -q 'waiting for it' "$BATS_TEST_TMPDIR/one" "$BATS_TEST_TMPDIR/two"
	[ "$(git -C "$tree" rev-list --count base..series)" -eq 2 ]
}

@test "tree: many at once wait for each other" {
	for _ in $(seq 20); do machine/clean & done
	for job in $(jobs -p); do wait "$job"; done
}

@test "tree: who waits for another is not lost when that removes build/" {
	make lay
	flock build/.lock sh -c "until grep -q waiting $BATS_TEST_TMPDIR/waits; do sleep 0.1; done; rm -rf build/.lock build/tmp" &
	touch "$BATS_TEST_TMPDIR/waits"
	sleep 0.5
	make lay >"$BATS_TEST_TMPDIR/waits"
	wait
	grep -q waiting "$BATS_TEST_TMPDIR/waits"
}

@test "a full disk is named, and with room made the same command goes on" {
	[ "$(id -u)" -eq 0 ] || skip "mounting a small tmpfs takes root"
	mv build full
	mkdir build
	mount -t tmpfs -o size=12m tmpfs build || skip "no tmpfs can be mounted here"
	cp -r full/* build/
	run ! make lay
	has "is full"
	mount -o remount,size=64m build
	run make lay
	laid=$(git -C "$tree" rev-list --count base..series)
	umount build
	[ "$status" -eq 0 ]
	[ "$laid" -eq 2 ]
}

@test "clean removes objects and logs, distclean everything" {
	make lay
	mkdir -p build/{6.12,6.12/devices-after,kdir/k-1,kdir/k-1/devices-after}/x86_64
	mkdir -p build/6.12/check/linux{,-x86_64} "$tree/arch/arm64"
	make clean
	[ -z "$(find build -name x86_64 -o -name linux-x86_64)" ]
	[ ! -e build/6.12/logs ]
	[ -d build/6.12/check/linux ]
	[ -d "$tree/arch/arm64" ]
	[ -d "$tree" ]
	make distclean
	[ ! -e build ]
}
