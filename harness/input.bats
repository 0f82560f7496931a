#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2154 # fixture.bash sets them
# What the user gives us: bases, architectures, trees of their own, a machine that lacks something.

load fixture

setup() { setup_project; }

@test "a wrong BASE, ARCH or ACCEL is named, with the right ones" {
	run ! make lay BASE=9.9
	has "no base '9.9'"
	has "BASE is one of: 6.12, 6.1"
	run ! make ARCH=vax
	has "no architecture 'vax'"
	has "x86_64, arm64, um, alpha"
	run ! make ACCEL=warp
	has "no accelerator 'warp'"
	has "tcg or kvm"
	for proof in audit bench check harness kernels matrix test; do
		KDIR=$work run ! proofs/$proof
		has "KDIR=$work is for one tree"
	done
	for guest in 4 16:1 8:0:1 icount:1:; do
		GUESTS="4:1:1 $guest" run ! proofs/bench
		has "GUESTS: '$guest' is no guest"
	done
	cp -r "$project/model" .
	run ! proofs/model nope
	has "no case 'nope'"
	run ! make matrix BASE=7.2 JOB=arm64-clang
	has "no job 'arm64-clang' of 7.2"
	has "BASE is one of: 6.12,6.1,mainline"
	STRESS=crunch run ! proofs/soak
	has "STRESS is one of: stress-ng, trinity"
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

@test "KDIR: what is no clean kernel tree in git is refused, and why" {
	run ! make lay KDIR="$k"
	has "KDIR=$k is not a directory"
	git init -q "$k"
	run ! make lay KDIR="$k"
	has "is not a kernel tree"
	rm -r "$k"
	kernel "$k"
	run ! make lay KDIR="$k"
	has "is not a git tree"
	git init -q "$BATS_TEST_TMPDIR"
	run ! make lay KDIR="$k"
	has "is not the top of its git tree"
	repo "$k"
	echo dirt >>"$k/mm/memory.c"
	run ! make lay KDIR="$k"
	has "changes that are not committed"
}

@test "KDIR: too old" {
	repo "$k" 0
	run ! make lay KDIR="$k"
	has "is 6.0: too old"
	has "6.12"
}

@test "KDIR: has the series already" {
	repo "$k"
	git -C "$k" am -q "$work"/patches/6.12/000[1-9]*
	run ! make lay KDIR="$k"
	has "has the series already"
}

@test "KDIR: the tree is made beside it, and nothing in it is touched" {
	repo "$k"
	sleep 1
	touch "$k/mm/memory.c"
	before=$(find "$k" -printf '%p %T@ %s\n' | sort)
	make lay KDIR="$k"
	[ "$(find "$k" -printf '%p %T@ %s\n' | sort)" = "$before" ]
	grep -qx ten build/kdir/k-*/linux/mm/memory.c
}

@test "KDIR: a new HEAD there is taken over" {
	repo "$k"
	make lay KDIR="$k"
	echo more >>"$k/mm/memory.c"
	git -C "$k" commit -qam more
	make lay KDIR="$k"
	grep -qx more build/kdir/k-*/linux/mm/memory.c
	grep -qx ten build/kdir/k-*/linux/mm/memory.c
}

@test "KDIR: a new HEAD there drops nothing that was mended in the tree beside it, and there is a way on" {
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

@test "make apply: all or nothing when a later patch fails, or a file is in the way" {
	repo "$k"
	echo mine >"$k/lib/new.c"
	before=$(everything "$k")
	run ! make apply KDIR="$k"
	has "lib/new.c"
	[ "$(everything "$k")" = "$before" ]
	rm "$k/lib/new.c"
	sed -i 's/^20$/another/' "$k/include/asm-generic/tlb.h"
	git -C "$k" commit -qam another
	before=$(everything "$k")
	run ! make apply KDIR="$k"
	has "0002-tlb-twenty.patch does not apply"
	[ "$(everything "$k")" = "$before" ]
}

@test "lint: asks again what another version may judge otherwise, and no line is too long" {
	printf '#!/bin/sh\n' | stand_in codespell
	stand_in shellcheck <<-EOT
		#!/bin/sh
		case \$1 in --version) cat version ;; *) echo "\$1" >>"$BATS_TEST_TMPDIR/asked" ;; esac
	EOT
	git init -q
	echo build >.gitignore
	mkdir harness
	touch .shellcheckrc harness/fixture.bash version
	proofs/lint
	rm "$BATS_TEST_TMPDIR/asked"
	proofs/lint
	[ ! -e "$BATS_TEST_TMPDIR/asked" ]
	echo 2 >version
	proofs/lint
	[ -e "$BATS_TEST_TMPDIR/asked" ]
	printf '#%0132d\n' 0 >>lib.sh
	run ! proofs/lint
	has "lib.sh:$(wc -l <lib.sh): more than 132 columns"
}
