# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154 # bats sets what run leaves
# A copy of the scripts, and a kernel of a few files that has the tree's real kunit.py, so that every bad
# thing can really be done to them in a second or two.

bats_require_minimum_version 1.5.0
project=$(cd "$BATS_TEST_DIRNAME/.." && pwd)

# What make runs in a test must not see who called us.
# shellcheck disable=SC2046 # a list of names
unset $(sed '/^#/d; s/  .*//; s/,//' "$project/tables/variables") MAKEFLAGS MAKELEVEL
export NO_DEPS=1
# A project of their own, made for each test.
work=$BATS_TEST_TMPDIR/project
tree=$work/build/6.12/linux
# A kernel tree of the user's, which a test may make.
k=$BATS_TEST_TMPDIR/k
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
export GIT_CONFIG_GLOBAL=/dev/null

# Where the kernel's own KUnit tool is: proofs/harness knows a tree that has one.
[ -f "${KUNIT-}/kunit.py" ] || { echo "no kunit.py: run 'make harness'" >&2; exit 1; }
KUNIT=$(cd "$KUNIT" && pwd)

# kernel DIR [PATCHLEVEL]: a kernel tree, not in git
kernel() {
	mkdir -p "$1/mm" "$1/lib" "$1/include/asm-generic" "$1/tools/testing"
	cp -r "$KUNIT" "$1/tools/testing/"
	seq 40 >"$1/mm/memory.c"
	seq 40 >"$1/include/asm-generic/tlb.h"
	touch "$1/Kbuild"
	cat >"$1/Makefile" <<-EOF
		VERSION = 6
		PATCHLEVEL = ${2:-12}
		SUBLEVEL = 9
		olddefconfig: ; @touch \$(O)/.config
		all: ; @[ ! -e ../slow ] || { touch ../slow.began; sleep 60; }; \\
			mkdir -p \$(O)/arch/x86/boot && touch \$(O)/arch/x86/boot/bzImage
		compile_commands.json:
	EOF
	find "$1" -exec touch -h -d @1700000000 {} +
}

# repo DIR [PATCHLEVEL]: the same, in git
repo() {
	kernel "$@"
	git -C "$1" init -q -b main
	git -C "$1" add -f .
	git -C "$1" commit -qm kernel
}

# patches DIR: a series of two for such a kernel, with a cover letter
patches() {
	local k=$BATS_FILE_TMPDIR/patched
	if [ ! -d "$k" ]; then
		repo "$k"
		git -C "$k" tag base
		sed -i 's/^10$/ten/' "$k/mm/memory.c"
		git -C "$k" commit -qam 'mm: ten'
		echo one >"$k/lib/new.c"
		sed -i 's/^20$/twenty/' "$k/include/asm-generic/tlb.h"
		git -C "$k" add -f .
		git -C "$k" commit -qm 'tlb: twenty'
	fi
	git -C "$k" format-patch -q --cover-letter -o "$1" base..
}

# deb DIR VERSION FILE: the source package FILE of the kernel DIR/linux-source-6.12
deb() {
	mkdir -p "$1/root/DEBIAN" "$1/root/usr/src" "${3%/*}"
	tar -C "$1" -cJf "$1/root/usr/src/linux-source-6.12.tar.xz" linux-source-6.12
	printf '%s\n' 'Package: linux-source-6.12' "Version: $2" 'Architecture: all' 'Maintainer: nobody <nobody@localhost>' \
		'Description: a kernel of a few files' >"$1/root/DEBIAN/control"
	dpkg-deb --build --root-owner-group -Znone "$1/root" "$3" >/dev/null
}

# The package that a mirror would have, and its one line in build/6.12/source.
package() {
	local d=$BATS_FILE_TMPDIR/package name=linux-source-6.12_6.12.9-1_all.deb
	if [ ! -d "$d" ]; then
		kernel "$d/linux-source-6.12"
		head -c 6M /dev/urandom >"$d/linux-source-6.12/ballast"
		deb "$d" 6.12.9-1 "$d/out/$name"
		(cd "$d/out" && sha256sum "$name" >source)
	fi
	mkdir -p "$1"
	cp "$d/out"/* "$1/"
}

PATH=$BATS_TEST_TMPDIR/bin:$PATH

# A project with patches, and the source package downloaded.
setup_project() {
	mkdir -p "$work"
	cp -r "$project"/{.gitattributes,Makefile,lib.sh,machine,trees,guests,proofs,tables} "$work"
	mkdir "$work/results"
	sed -i '/^#/!d' "$work/tables/ported"
	patches "$work/patches/6.12"
	package "$work/build/6.12"
	cd "$work" || return
}

# The last thing a failed command left to read.
has() {
	[[ $output == *"$1"* ]] || { echo "expected '$1' in:"; echo "$output"; return 1; }
}

# stand_in NAME: a program of that name, from standard input, first on PATH
stand_in() {
	mkdir -p "$BATS_TEST_TMPDIR/bin"
	cat >"$BATS_TEST_TMPDIR/bin/$1"
	chmod +x "$BATS_TEST_TMPDIR/bin/$1"
}

# Mount namespaces take root, and not every container lets it have them.
can_seal() { unshare -m mount --make-rprivate / 2>/dev/null; }

# sealed PLACE... -- COMMAND...: where nothing but PLACEs can be written; where that cannot be had, COMMAND as ever
sealed() {
	local places=()
	while [ "$1" != -- ]; do
		places+=("$1")
		shift
	done
	shift
	can_seal || { "$@"; return; }
	# shellcheck disable=SC2016 # another shell expands it
	places="${places[*]}" unshare -m sh -ec '
		mount --make-rprivate /
		for at in $(awk "{ print \$5 }" /proc/self/mountinfo | grep -vE "^/(proc|sys)"); do
			mount -o remount,bind,ro "$at"
		done
		for at in $places; do
			mount --bind "$at" "$at"
			mount -o remount,bind,rw "$at"
		done
		cd "$PWD"
		unset places
		exec "$@"' sh "$@"
}

# interrupted_at PATTERN COMMAND...: ^C, as a terminal sends it to all of COMMAND, once there is such a file.
# A job that runs in the background, as in many a CI, is started with SIGINT ignored, and so would COMMAND be.
interrupted_at() {
	local pattern=$1 group
	shift
	set -m
	env --default-signal=INT "$@" 3>&- &
	group=$!
	set +m
	until compgen -G "$pattern" >/dev/null; do
		kill -0 "$group" || return 0
		sleep 0.1
	done
	kill -INT -- "-$group"
	wait "$group"
}

# gone FILE: the process whose number is in it did run, and does not any more
gone() {
	local status
	status=/proc/$(cat "$BATS_TEST_TMPDIR/$1")/status
	for _ in $(seq 20); do
		[ -e "$status" ] && ! grep -q '^State:.*zombie' "$status" || return 0
		sleep 0.1
	done
	return 1
}

commit_in_tree() {
	echo "$1" >>"$tree/mm/memory.c"
	git -C "$tree" commit -qam "$1"
}

# qemu_says_ok: a QEMU whose only case passes
qemu_says_ok() {
	printf '%s\n' '#!/bin/sh' \
		"printf '%s\\n' 'KTAP version 1' 1..1 '    KTAP version 1' '    # Subtest: mmu_gather' '    1..1' \\" \
		"'    ok 1 one' 'ok 1 mmu_gather'" | stand_in qemu-system-x86_64
}
