#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # each test is a process; fixture.bash sets them
# A test of one's own, from clone to patch on every base.

load fixture

# Two bases, the second with its own word in mm/memory.c; a series of one change and of what is planted.
setup() {
	setup_project
	rm -r build patches
	mkdir -p source/lib/tests
	echo 'NINE mm/memory.c ^nine$' >source/features
	printf '%s\n' 'config MMU_GATHER_KUNIT_TEST' '	bool' >source/Kconfig
	printf '%s\n' first '#ifdef NINE' 'of nine' '#endif' >source/lib/tests/mmu_gather_kunit.c
	for base in 6.12 6.1; do
		tree=$work/build/$base/linux
		repo "$tree"
		cd "$tree" || return
		git checkout -q -b series
		printf '%s\n' 'config USERCOPY_KUNIT_TEST' 'config FORTIFY_KUNIT_TEST' 'config TEST_UDELAY' \
			'endif # RUNTIME_TESTING_MENU' >lib/Kconfig.debug
		printf '%s\n' 'obj-$(CONFIG_MEMCPY_KUNIT_TEST) += x' 'obj-$(CONFIG_FORTIFY_KUNIT_TEST) += y' >lib/Makefile
		printf 'F:\tmm/mmu_gather.c\n' >MAINTAINERS
		# As Debian's source has it.
		echo '/*' >.gitignore
		[ "$base" = 6.12 ] || sed -i 's/^9$/nine/' mm/memory.c
		git add -A -f
		git commit -qm "$base"
		git tag base
		sed -i 's/^10$/ten/' mm/memory.c
		git commit -qam 'mm: ten'
		"$work/trees/plant" "$tree" rules
		git add -A -f
		git commit -qm 'mmu_gather: add KUnit tests'
		git update-ref refs/series/laid HEAD
		echo "x  $base" >../source
		cd "$work" || return
		make -s refresh BASE=$base
	done
	tree=$work/build/6.12/linux
	git init -q
	printf '%s\n' build w >.gitignore
	git add -A
	git commit -qm project
	qemu_says_ok
}

@test "from clone to patch on every base in four commands" {
	mkdir w
	git clone -q "$work" w/series && cd w/series || return
	mv "$work/build" .
	sed -i '1a second' source/lib/tests/mmu_gather_kunit.c
	sealed build patches -- make series
	make

	grep -qx '+second' patches/6.12/0002-mmu_gather-add-KUnit-tests.patch
	grep -qx '+second' patches/6.1/0002-mmu_gather-add-KUnit-tests.patch
	grep -qx '+of nine' patches/6.1/0002-mmu_gather-add-KUnit-tests.patch
	run ! grep 'nine' patches/6.12/0002-mmu_gather-add-KUnit-tests.patch
	run -0 git diff --stat
	has "4 files changed" || has "3 files changed"
}

@test "series: what cannot be planted stops it" {
	sed -i 's/CONFIG_MEMCPY_KUNIT_TEST/CONFIG_NONE/' trees/plant
	run ! make series
	has "no place in"
	[ -z "$(git status --porcelain patches)" ]
}

@test "series: what it says already changes no byte, and --check sees an edit that source/ has not" {
	run -0 make series
	[ -z "$(git status --porcelain)" ]
	trees/series --check
	sed -i '1a edited here' "$tree/lib/tests/mmu_gather_kunit.c"
	git -C "$tree" commit -q -a --amend --no-edit
	run ! trees/series
	has "is not what patches/6.12 say"
	make refresh
	run ! trees/series --check
	has "patches/ are not what source/ gives: 6.12"
}
