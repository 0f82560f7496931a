#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2154 # fixture.bash sets them
# Kernels that are none of ours: what of the series they take, what they are told, and who has something to gain.

load fixture

# A series of all parts: a fix, a patch that goes before the hook, the hook, what follows it, tests, page.
setup() {
	setup_project
	rm -r patches/6.12
	repo "$k"
	git clone -q "$k" "$BATS_TEST_TMPDIR/made"
	cd "$BATS_TEST_TMPDIR/made" || return
	change mm/memory.c 5 'five' 'mm: fix five' 'Fixes: 123456789abc ("mm: break it")'
	change include/asm-generic/tlb.h 10 'vma_pfn' 'tlb: ten'
	change mm/memory.c 20 'tlb_free_vma(tlb, vma);' 'mm: the hook'
	change mm/memory.c 30 'thirty' 'mm: what follows the hook'
	add lib/tests/mmu_gather_kunit.c 'tlb: tests'
	add Documentation/mm/mmu_gather.rst 'tlb: page'
	git format-patch -q -o "$work/patches/6.12" origin/main
	cd "$work" || return
	cat >trees/plant <<-'EOF'
		#!/bin/sh
		cd "$1"
		case $2 in
		rules) mkdir -p lib/tests && echo planted >lib/tests/mmu_gather_kunit.c ;;
		page) touch litter; echo 'plant: no place in Documentation/mm/index.rst'; exit 1 ;;
		esac
	EOF
	chmod +x trees/plant
	mkdir source
}

# change FILE LINE TEXT SUBJECT [WORDS]: a commit
change() {
	sed -i "s/^$2\$/$3/" "$1"
	git commit -qam "$4" -m "${5-words}"
}
add() {
	mkdir -p "${1%/*}"
	echo one >"$1"
	git add -f .
	git commit -qm "$2" -m "words of $2"
}

# otherwise FILE LINE: the tree is not the one that the patches were made for
otherwise() {
	sed -i "s/^$2\$/otherwise/" "$k/$1"
	git -C "$k" commit -qam "otherwise"
}
subjects() { git -C "$k" log --reverse --format=%s main..mmu-gather-pfn | paste -s -d ';'; }

@test "apply: the core as it is, the tests made for this tree; the page left out, and why" {
	run -0 make apply KDIR="$k"
	has "0001 mm: fix five: as it is"
	has "0005 tlb: tests: made for this tree"
	has "0006 tlb: page: left out, plant: no place in Documentation/mm/index.rst"
	has "patches/6.12 applied in part"
	[ "$(subjects)" = 'mm: fix five;tlb: ten;mm: the hook;mm: what follows the hook;tlb: tests' ]
	[ "$(cat "$k/lib/tests/mmu_gather_kunit.c")" = planted ]
	[ "$(git -C "$k" log -1 --format=%an,%b)" = "t,words of tlb: tests" ]
	[ ! -e "$k/litter" ]
	[ -z "$(git -C "$k" status --porcelain)" ]
}

@test "apply: what follows the hook may stay out, and is named" {
	otherwise mm/memory.c 30
	run -0 make apply KDIR="$k"
	has "0004 mm: what follows the hook: left out, does not apply: in mm/memory.c:"
	[ "$(subjects)" = 'mm: fix five;tlb: ten;mm: the hook;tlb: tests' ]
}

@test "apply: a merge is said to be one" {
	otherwise mm/memory.c 18
	run -0 make apply KDIR="$k"
	has "0003 mm: the hook: with a three-way merge: read the result"
	grep -q tlb_free_vma "$k/mm/memory.c"
}

@test "apply: without a place for the hook, fixes alone, and no tests" {
	otherwise mm/memory.c 20
	run -0 make apply KDIR="$k"
	has "0001 mm: fix five: as it is"
	has "0002 tlb: ten: left out"
	has "0005 tlb: tests: left out"
	has "patches/6.12/0003-mm-the-hook.patch does not apply: in mm/memory.c:"
	[ "$(subjects)" = 'mm: fix five' ]
}

@test "KDIR: without the tests there is nothing to run, and what was left out is named" {
	otherwise mm/memory.c 20
	run ! make KDIR="$k"
	has "patches/6.12 applied in part"
	has "has none of the tests, so there is nothing to run"
	[[ $output != *": build"* ]]
	run ! make KDIR="$k"
	has "0005 tlb: tests: left out, as all of the core does not fit"
	has "make apply KDIR=$k"
}

@test "apply: what is there already is not applied again" {
	git -C "$k" am -q "$work"/patches/6.12/0001-*
	run -0 make apply KDIR="$k"
	has "0001 mm: fix five: is there already"
	[ "$(subjects)" = 'tlb: ten;mm: the hook;mm: what follows the hook;tlb: tests' ]
}

@test "apply: nothing fits: the tree is told what it lacks, and since when others have it" {
	otherwise mm/memory.c 5
	otherwise include/asm-generic/tlb.h 10
	run ! make apply KDIR="$k"
	has "patches/6.12/0001-mm-fix-five.patch does not apply: in mm/memory.c"
	has "it lacks 'mmu_gather: Force tlb-flush VM_PFNMAP vmas', which came in 5.19"
	[ "$(git -C "$k" for-each-ref | wc -l)" -eq 1 ]
}

@test "apply: a tree that is too old is told why" {
	git -C "$k" rm -q --cached Makefile
	sed -i 's/^VERSION = 6/VERSION = 5/; s/^PATCHLEVEL = 12/PATCHLEVEL = 10/' "$k/Makefile"
	git -C "$k" add -f Makefile
	git -C "$k" commit -qm old
	mkdir patches/5.15
	mv patches/6.12/* patches/5.15/
	sed -i 's/^6.1 .*/5.15 5.15 none none/' tables/bases
	run ! make apply KDIR="$k"
	has "is 5.10: too old"
	has "nothing to gain"
}

@test "apply: a series for kernels that flush for a whole range is not for others" {
	sed -i 's/^7.2 .*/7.2  6.13  none  none/' tables/bases
	mkdir patches/7.2
	sed 's/^-10$/-static inline void tlb_free_vmas(struct/' patches/6.12/0002-* >patches/7.2/0001-whole.patch
	run -0 make apply KDIR="$k"
	has "patches/6.12 applied"
	git -C "$k" checkout -q main
	git -C "$k" branch -q -D mmu-gather-pfn
	sed -i 's/^10$/static inline void tlb_free_vmas(struct/' "$k/include/asm-generic/tlb.h"
	git -C "$k" commit -qam whole
	run -0 make apply KDIR="$k"
	has "patches/7.2 applied"
}

@test "apply: a tree with the hook has the series" {
	echo 'static inline void tlb_free_vma(struct mmu_gather *tlb' >>"$k/include/asm-generic/tlb.h"
	git -C "$k" commit -qam hook
	run ! make apply KDIR="$k"
	has "has the series already"
}

# offered VERSION [LINE]: a package that apt offers; line LINE of its mm/memory.c is another
offered() {
	local d=$BATS_TEST_TMPDIR/$1
	kernel "$d/linux-source-6.12"
	sed -i "s/^${2-none}\$/otherwise/" "$d/linux-source-6.12/mm/memory.c"
	deb "$d" "$1" "$BATS_TEST_TMPDIR/pool/linux-source-6.12=$1"
	echo "linux-source-6.12 | $1 | http://127.0.0.1/debian trixie/main amd64 Packages" >>"$BATS_TEST_TMPDIR/madison"
}

@test "kernels: every version that is offered is tried, and the one that refuses is named" {
	stand_in apt-cache <<-EOF
		#!/bin/sh
		cat $BATS_TEST_TMPDIR/madison
	EOF
	stand_in apt-get <<-EOF
		#!/bin/sh
		for package; do :; done
		echo "\$package" >>$BATS_TEST_TMPDIR/downloads
		cp "$BATS_TEST_TMPDIR/pool/\$package" .
		mv "\$package" package.deb
	EOF
	echo : >trees/get
	touch "$BATS_TEST_TMPDIR/downloads"
	offered 6.12.8-1
	offered 6.12.9-1
	run -0 sealed build "$BATS_TEST_TMPDIR/downloads" -- proofs/kernels
	has "2 passed, 0 failed"
	has "6.12.9-1"
	offered 6.12.7-1 20
	run ! proofs/kernels
	has "refuses 0003-mm-the-hook.patch in mm/memory.c:"
	has "2 passed, 1 failed"
	# What was fetched once is not fetched again.
	[ "$(sort "$BATS_TEST_TMPDIR/downloads" | uniq -d)" = "" ]
}

# vma RANGE FLAGS [NAME]: as smaps has it
vma() { printf '%s r--s 00000000 00:05 12 %s\nSize: 4 kB\nVmFlags: %s \n' "$1" "${3-}" "$2"; }

@test "pfn-vmas: who has such VMAs, how many, and what could be saved" {
	mkdir -p proc/7 proc/8 proc/9
	{
		vma 1000-2000 'rd sh pf io'
		vma 2000-3000 'rd sh mm'
		vma 4000-5000 'rd sh pf'
		vma 5000-6000 'rd sh'
		vma 7000-8000 'rd pf' '[vvar]'
	} >proc/7/smaps
	echo driver >proc/7/comm
	vma 7000-8000 'rd pf' '[vvar]' >proc/8/smaps
	run -0 env PROC=proc RELEASE=6.12.118 MACHINE=x86_64 "$project/tools/pfn-vmas"
	read -ra words <<<"${lines[2]}"
	[ "${words[*]}" = "7 driver 2 1 1 2" ]
	has "1 of 2 processes have such VMAs; 1 more are for root to read"
	has "today each of them costs one flush"
	run -0 env PROC=proc RELEASE=6.18.35 MACHINE=x86_64 "$project/tools/pfn-vmas" 7
	has "one flush covers them all already"
	run -0 env PROC=proc RELEASE=6.12.118 MACHINE=aarch64 "$project/tools/pfn-vmas" 7
	has "nothing is saved"
	run -0 env PROC=proc RELEASE=5.19.1 MACHINE=m68k "$project/tools/pfn-vmas" 7
	has "today each of them costs one flush"
	run -0 env PROC=proc RELEASE=6.12.118 MACHINE=s390x "$project/tools/pfn-vmas" 7
	has "little or nothing is saved"
}

@test "pfn-vmas: here, without root" {
	run -0 "$project/tools/pfn-vmas" $$
	has "of 1 processes have such VMAs"
}

# newer LINE: the source of 6.12 that is there becomes a newer one, in which somebody has changed that line of tlb.h
newer() {
	local d=$BATS_TEST_TMPDIR/newer new=linux-source-6.12_6.12.10-1_all.deb
	kernel "$d/linux-source-6.12"
	sed -i "s/^$1\$/theirs/" "$d/linux-source-6.12/include/asm-generic/tlb.h"
	rm build/6.12/*.deb
	deb "$d" 6.12.10-1 "$work/build/6.12/$new"
	(cd build/6.12 && sha256sum "$new" >source)
}

@test "a newer source that refuses: patch and hunk are named, others run on, and there is a way to both sides" {
	mkdir patches/6.1 build/6.1
	cp patches/6.12/* patches/6.1/
	cp build/6.12/*.deb build/6.12/source build/6.1/
	make lay
	newer 10
	run ! make lay
	has "patches/6.12 don't apply to linux-source-6.12_6.12.10-1"
	has "patches/6.12/0002-tlb-ten.patch does not apply: in include/asm-generic/tlb.h:"
	make lay BASE=6.1
	cd "$tree"
	run ! git am -q -3 "$work"/patches/6.12/000[1-9]*
	grep -q '^<<<<<<< HEAD' include/asm-generic/tlb.h
	grep -q '^>>>>>>> tlb: ten' include/asm-generic/tlb.h
	sed -i '/^<<<<<<<\|^=======\|^theirs$\|^>>>>>>>/d' include/asm-generic/tlb.h
	git add -f include/asm-generic/tlb.h
	git am -q --continue
	cd "$work"
	make refresh
	make lay
	[ "$(git -C "$tree" rev-list --count base..series)" -eq 6 ]
}
