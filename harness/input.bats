#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2154 # fixture.bash sets them
# What the user gives us: bases, architectures, trees of their own, a machine that lacks something.

load fixture

setup() { setup_project; }

@test "a wrong BASE is named, with the right ones" {
	run ! make lay BASE=9.9
	has "no base '9.9'"
	has "6.12"
}

@test "a wrong ARCH is named, with the right ones" {
	run ! make ARCH=vax
	has "no architecture 'vax'"
	has "x86_64, arm64, um, alpha"
}

@test "a wrong ACCEL is named, with the right ones" {
	run ! make ACCEL=warp
	has "no accelerator 'warp'"
}

@test "a base without patches says so" {
	rm -r patches/6.12
	run ! make lay
	has "no patches in patches/6.12"
}

@test "make help lists every target, which is a script of that name, and every variable" {
	run make help
	while read -r target; do
		[ "$(grep -c "^  $target  " <<<"$output")" -eq 1 ]
		[ "$(find trees guests proofs machine -name "$target" -perm -1 | wc -l)" -eq 1 ]
	done < <(sed -n 's/^\([a-z-]*\): .*## .*/\1/p' Makefile)
	while read -r name; do
		[ "$(grep -c "^  $name " <<<"$output")" -eq 1 ]
	done < <(sed '/^#/d; s/ .*//' tables/variables)
}

@test "KDIR: not there" {
	run ! make lay KDIR="$BATS_TEST_TMPDIR/nowhere"
	has "KDIR=$BATS_TEST_TMPDIR/nowhere is not a directory"
}

@test "KDIR: not a kernel" {
	git init -q "$BATS_TEST_TMPDIR/k"
	run ! make lay KDIR="$BATS_TEST_TMPDIR/k"
	has "is not a kernel tree"
}

@test "KDIR: not git" {
	kernel "$BATS_TEST_TMPDIR/k"
	run ! make lay KDIR="$BATS_TEST_TMPDIR/k"
	has "is not a git tree"
}

@test "KDIR: not the top of its git tree" {
	git init -q "$BATS_TEST_TMPDIR"
	kernel "$BATS_TEST_TMPDIR/k"
	run ! make lay KDIR="$BATS_TEST_TMPDIR/k"
	has "is not the top of its git tree"
}

@test "KDIR: dirty" {
	repo "$BATS_TEST_TMPDIR/k"
	echo dirt >>"$BATS_TEST_TMPDIR/k/mm/memory.c"
	run ! make lay KDIR="$BATS_TEST_TMPDIR/k"
	has "changes that are not committed"
}

@test "KDIR: too old" {
	repo "$BATS_TEST_TMPDIR/k" 0
	run ! make lay KDIR="$BATS_TEST_TMPDIR/k"
	has "is 6.0: too old"
	has "6.12"
}

@test "KDIR: has the series already" {
	repo "$BATS_TEST_TMPDIR/k"
	git -C "$BATS_TEST_TMPDIR/k" am -q "$work"/patches/6.12/000[1-9]*
	run ! make lay KDIR="$BATS_TEST_TMPDIR/k"
	has "has the series already"
}

@test "KDIR: the tree is made beside it, and nothing in it is touched" {
	local k=$BATS_TEST_TMPDIR/k
	repo "$k"
	sleep 1
	touch "$k/mm/memory.c"
	before=$(find "$k" -printf '%p %T@ %s\n' | sort)
	make lay KDIR="$k"
	[ "$(find "$k" -printf '%p %T@ %s\n' | sort)" = "$before" ]
	grep -qx ten build/kdir/k-*/linux/mm/memory.c
}

@test "KDIR: a new HEAD there is taken over" {
	local k=$BATS_TEST_TMPDIR/k
	repo "$k"
	make lay KDIR="$k"
	echo more >>"$k/mm/memory.c"
	git -C "$k" commit -qam more
	make lay KDIR="$k"
	grep -qx more build/kdir/k-*/linux/mm/memory.c
	grep -qx ten build/kdir/k-*/linux/mm/memory.c
}

@test "KDIR: a new HEAD there drops nothing that was mended in the tree beside it, and there is a way on" {
	local k=$BATS_TEST_TMPDIR/k
	repo "$k"
	make lay KDIR="$k"
	tree=$(echo build/kdir/k-*/linux)
	commit_in_tree mended
	echo more >>"$k/lib/more.c"
	git -C "$k" add -f .
	git -C "$k" commit -qm more
	echo dirt >>"$tree/mm/memory.c"
	run ! make lay KDIR="$k"
	has "changes that are not committed"
	[[ $output != *refresh* ]]
	git -C "$tree" checkout -q mm/memory.c
	run ! make lay KDIR="$k"
	has "k or patches/6.12 changed"
	[[ $output != *refresh* ]]
	while read -r command; do
		sh -c "${command/NAME/mine}"
	done < <(grep -oE "git -C $work/$tree [^']*" <<<"$output")
	make lay KDIR="$k"
	git -C "$tree" cherry-pick mine
	grep -qx mended "$tree/mm/memory.c"
	[ -e "$tree/lib/more.c" ]
}

@test "a series that no longer applies: patch and file are named, and the tree stays as it was" {
	local k=$BATS_TEST_TMPDIR/k
	repo "$k"
	sed -i 's/^20$/another/' "$k/include/asm-generic/tlb.h"
	git -C "$k" commit -qam another
	run ! make lay KDIR="$k"
	has "patches/6.12/0002-tlb-twenty.patch does not apply"
	has "include/asm-generic/tlb.h"
	[ -z "$(git -C build/kdir/k-*/linux status --porcelain)" ]
	[ ! -d "$(echo build/kdir/k-*/linux)/.git/rebase-apply" ]
}

@test "KDIR: a version between ours gets the nearest that applies, and the user is told" {
	local k=$BATS_TEST_TMPDIR/k
	repo "$k" 13
	sed -i 's/^22$/other context/' "$k/include/asm-generic/tlb.h"
	git -C "$k" commit -qam context
	run -0 make lay KDIR="$k"
	has "patches/6.12 applied with a three-way merge"
	grep -qx twenty build/kdir/k-*/linux/include/asm-generic/tlb.h
	grep -qx 'other context' build/kdir/k-*/linux/include/asm-generic/tlb.h
	run -0 make lay KDIR="$k"
}

@test "make apply: a new branch with the series" {
	local k=$BATS_TEST_TMPDIR/k
	repo "$k"
	make apply KDIR="$k"
	[ "$(git -C "$k" symbolic-ref --short HEAD)" = mmu-gather-pfn ]
	[ "$(git -C "$k" rev-list --count main..)" -eq 2 ]
	[ "$(git -C "$k" log -1 --format=%ce)" = t@example.org ]
	[ -z "$(git -C "$k" status --porcelain)" ]
	run ! make apply KDIR="$k"
	has "has the series already"
	git -C "$k" checkout -q main
	run ! make apply KDIR="$k"
	has "has a branch 'mmu-gather-pfn' already"
}

# everything KDIR: all that make apply must leave alone when it fails
everything() {
	git -C "$1" for-each-ref
	git -C "$1" symbolic-ref HEAD
	git -C "$1" status --porcelain
	find "$1" -path "$1/.git" -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
}

@test "make apply: all or nothing when a later patch fails" {
	local k=$BATS_TEST_TMPDIR/k
	repo "$k"
	sed -i 's/^20$/another/' "$k/include/asm-generic/tlb.h"
	git -C "$k" commit -qam another
	before=$(everything "$k")
	run ! make apply KDIR="$k"
	has "0002-tlb-twenty.patch does not apply"
	[ "$(everything "$k")" = "$before" ]
}

@test "make apply: all or nothing when a file is in the way" {
	local k=$BATS_TEST_TMPDIR/k
	repo "$k"
	echo mine >"$k/lib/new.c"
	before=$(everything "$k")
	run ! make apply KDIR="$k"
	has "lib/new.c"
	[ "$(everything "$k")" = "$before" ]
}

@test "a missing tool is named, with its package" {
	mkdir bin
	ln -s /usr/bin/* bin
	rm -f bin/bison bin/bison.yacc bin/qemu-system-x86_64
	PATH=$work/bin run ! make
	has "missing: bison qemu-system-x86_64"
}
