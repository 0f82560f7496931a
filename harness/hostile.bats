#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # each test is a process; fixture.bash sets them
# The machines that people have: their environment, their git, their apt, their paths.

load fixture

setup() { setup_project; }

# no_apt: as on Fedora or Arch
no_apt() {
	usr=$BATS_TEST_TMPDIR/usr
	mkdir "$usr"
	ln -s /usr/bin/* "$usr"
	rm -f "$usr"/{apt*,dpkg*}
	PATH=$BATS_TEST_TMPDIR/bin:$usr
}

# gitconfig NAME VALUE: a setting of the user's
gitconfig() {
	export GIT_CONFIG_GLOBAL=$BATS_TEST_TMPDIR/gitconfig
	git config -f "$GIT_CONFIG_GLOBAL" --add "$@"
}

@test "environment: a shell's settings for other builds reach neither scripts nor the kernel's make" {
	make lay
	sed -i 's,^all: ; @,&env >../env; ,' "$tree/Makefile"
	git -C "$tree" commit -qam env
	qemu_says_ok
	LLVM=1 KCFLAGS=-O7 KCONFIG_CONFIG=/x W=1 V=1 O=/x CROSS_COMPILE=x- CC=none CDPATH=.:/ GREP_OPTIONS=-v TAR_OPTIONS=-z \
		WORK=/x UNPATCHED=1 ALLTESTS=1 BUILD_ONLY=1 run -0 make
	[ "${lines[-1]}" = "1 passed, 0 failed" ]
	run ! grep -E '^(LLVM|KC|V=|CDPATH|GREP|TAR_|CC=|CROSS)' build/6.12/env
}

@test "environment: a hook's GIT_DIR does not make the kernel's commits ours" {
	git init -q
	git add -A
	git commit -qm project
	before=$(git for-each-ref && cat .git/config)
	GIT_DIR=$work/.git GIT_INDEX_FILE=$work/.git/index GIT_WORK_TREE=$work make lay refresh
	[ "$(git for-each-ref && cat .git/config)" = "$before" ]
	[ "$(git -C "$tree" rev-list --count base..series)" -eq 2 ]
}

@test "no home: the compiler's cache is in build/" {
	make lay
	sed -i 's,^all: ; @,&env >../env; ,' "$tree/Makefile"
	git -C "$tree" commit -qam env
	qemu_says_ok
	env -u HOME make
	grep -qx "CCACHE_DIR=$work/build/ccache" build/6.12/env
	CCACHE_DIR=/elsewhere make
	grep -qx CCACHE_DIR=/elsewhere build/6.12/env
}

@test "nothing outside of build/ is written, or only what the command is for" {
	can_seal || skip "no mount namespace can be had here"
	# What a first run writes there is not the cover letter as git has it.
	make -s lay refresh clean
	rm -rf build/6.12/linux
	repo "$k"
	qemu_says_ok
	for place in . "$k" patches ~ /tmp; do
		run ! sealed build -- touch "$place/written"
	done
	sealed build -- make
	sealed build -- make KDIR="$k"
	sealed build -- make refresh
	sealed build -- make help
	run ! sealed build -- make BASE=none
	run ! sealed build -- make apply KDIR="$k"
	sealed build "$k" -- make apply KDIR="$k"
	commit_in_tree third
	run ! sealed build -- make refresh
	sealed build patches -- make refresh
	[ -e patches/6.12/0003-third.patch ]
	sealed build -- make clean
	sealed build -- make distclean
	[ -z "$(ls -A build)" ]
}

@test "BUILD: a directory with other things in it is neither used nor removed" {
	mkdir "$BATS_TEST_TMPDIR/mine"
	touch "$BATS_TEST_TMPDIR/mine/thing"
	for target in distclean clean lay; do
		run ! make $target BUILD="$BATS_TEST_TMPDIR/mine"
		has "has other things in it"
	done
	[ "$(ls -A "$BATS_TEST_TMPDIR/mine")" = thing ]
}

@test "BUILD: a link or a disk of its own is emptied and stays; ~ of a shell that does not know it" {
	export HOME=$BATS_TEST_TMPDIR
	mv build ~/big
	ln -s ~/big build
	make lay
	make distclean
	[ -z "$(ls -A build/)" ]
	dash -c 'make clean BUILD=~/big'
	[ ! -e '~' ]
	[ "$(id -u)" -eq 0 ] || skip "mounting takes root"
	mount -t tmpfs tmpfs ~/big || skip "no tmpfs can be mounted here"
	package ~/big/6.12
	make lay
	run make distclean
	umount ~/big
	[ "$status" -eq 0 ]
}

@test "BUILD: what no kernel can be built in is refused, and why" {
	touch build/cachedir.tag
	run ! make lay
	has "takes capital letters for small ones"
	[ "$(id -u)" -eq 0 ] || skip "mounting takes root"
	mkdir w
	mount -t tmpfs -o noexec tmpfs w || skip "no tmpfs can be mounted here"
	run ! make lay BUILD=w
	noexec=$output
	mount -o remount,ro w
	run ! make lay BUILD=w
	umount w
	has "BUILD=... takes another place"
	[[ $noexec = *"mounted noexec?"* ]]
}

@test "paths: what a shell or make would misread is refused at once" {
	for name in "it's" 'back\slash' 'a b' 'a:b' 'a$b' 'a*'; do
		BUILD=$BATS_TEST_TMPDIR/$name run ! make lay
		has "these paths must have"
	done
	make clean
	mv build "$BATS_TEST_TMPDIR/grün"
	make lay BUILD="$BATS_TEST_TMPDIR/grün"
}

@test "KDIR with a blank, a colon and a quote in its name" {
	k="$BATS_TEST_TMPDIR/my kernel: it's"
	repo "$k"
	qemu_says_ok
	run -0 make KDIR="$k"
	run -0 make apply KDIR="$k"
	[ "$(git -C "$k" rev-list --count main..)" -eq 2 ]
}

@test "KDIR of another owner that the user calls safe" {
	[ "$(id -u)" -eq 0 ] || skip "chown takes root"
	repo "$k"
	chown -R 1234 "$k"
	run ! make lay KDIR="$k"
	has "dubious ownership"
	gitconfig safe.directory "$k"
	make lay KDIR="$k"
	make apply KDIR="$k"
}

@test "KDIR that is another tree at the same place" {
	repo "$k"
	make lay KDIR="$k"
	rm -rf "$k"
	GIT_COMMITTER_DATE=2020-01-01T00:00:00 repo "$k"
	run ! make lay KDIR="$k"
	has "no longer has what"
	rm -rf build/kdir/*/linux
	make lay KDIR="$k"
}

@test "make apply: who the user is, wherever git finds that" {
	repo "$k"
	unset GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_CONFIG_GLOBAL
	export HOME=$BATS_TEST_TMPDIR XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/xdg EMAIL=x@example.org
	mkdir -p "$XDG_CONFIG_HOME/git"
	git config -f "$XDG_CONFIG_HOME/git/config" user.name x
	make apply KDIR="$k"
	run -0 git -C "$k" log -1 --format='%cn %ce'
	has 'x x@example.org'
}

@test "lint: nothing of the user's home" {
	git init -q
	git add -A
	export HOME=$BATS_TEST_TMPDIR
	touch ~/.checkpatch.conf
	mkdir -p "$tree/scripts"
	echo 'exit(-e "$ENV{HOME}/.checkpatch.conf");' >"$tree/scripts/checkpatch.pl"
	for tool in shellcheck codespell; do printf '#!/bin/sh\n' | stand_in $tool; done
	sealed build -- make lint
}

@test "make apply: all or nothing, whatever git is told" {
	printf '%s\n' '#!/bin/sh' 'echo hook' 'exit 1' | stand_in hook
	mkdir hooks
	for hook in pre-push post-checkout pre-applypatch applypatch-msg post-applypatch pre-commit commit-msg \
		reference-transaction pre-receive update post-update; do
		ln -s "$BATS_TEST_TMPDIR/bin/hook" "hooks/$hook"
	done
	repo "$BATS_TEST_TMPDIR/clean"
	for setting in hooks commit.gpgsign=true am.threeWay=true clone.rejectShallow=true clone.defaultRemoteName=other \
		core.autocrlf=true apply.whitespace=error core.hooksPath="$work/hooks" protocol.file.allow=never \
		submodule.recurse=true init.templateDir="$work" fetch.fsckObjects=true core.fsmonitor=/none gpg.program=/none; do
		echo "# $setting, of the user and of the tree"
		rm -rf "$k" "$k.main" "$BATS_TEST_TMPDIR/gitconfig"
		cp -r "$BATS_TEST_TMPDIR/clean" "$k.main"
		git -C "$k.main" worktree add -q -b mine "$k"
		if [ "$setting" = hooks ]; then
			cp -r hooks/* "$k.main/.git/hooks/"
		else
			gitconfig "${setting%%=*}" "${setting#*=}"
			git -C "$k" config "${setting%%=*}" "${setting#*=}"
		fi
		run -0 make apply KDIR="$k"
		has "applied as they are"
		[ "$(git -C "$k" symbolic-ref --short HEAD)" = mmu-gather-pfn ]
		[ "$(git -C "$k" rev-list --count mine..)" -eq 2 ]
		[ -z "$(git -C "$k" status --porcelain)" ]
	done
}

@test "make apply: a merge is called one, whatever am.threeWay says" {
	repo "$k"
	sed -i 's/^22$/other context/' "$k/include/asm-generic/tlb.h"
	git -C "$k" commit -qam context
	gitconfig am.threeWay true
	run -0 make apply KDIR="$k"
	has "with a three-way merge: read the result"
}

@test "a clone with core.autocrlf works, and its patches are as they were" {
	git init -q
	git add -A
	git commit -qm project
	git -c core.autocrlf=true clone -q "$work" "$BATS_TEST_TMPDIR/clone"
	run -0 diff -r "$work/patches" "$BATS_TEST_TMPDIR/clone/patches"
	run -0 diff "$work/lib.sh" "$BATS_TEST_TMPDIR/clone/lib.sh"
}

@test "no apt and no dpkg: a kernel tree of one's own is all it takes" {
	repo "$k"
	qemu_says_ok
	no_apt
	run -0 make KDIR="$k"
	[ "${lines[-1]}" = "1 passed, 0 failed" ]
	rm -rf build
	run ! make
	has "no apt to get the source of 6.12"
}

@test "no apt: what is missing is named, and its package elsewhere" {
	no_apt
	rm -f "$usr"/{bison,bison.yacc,qemu-system-x86_64}
	unset NO_DEPS
	run ! make
	has "missing: bison qemu-system-x86_64"
	has "apt-get install --no-install-recommends bison qemu-system-x86-64"
	has "dnf install /usr/bin/qemu-system-x86_64 bison"
	has "pacman -S bison qemu-full"
	has "zypper install bison qemu"
}

# only_apt_has_riscv TEXT: all but an emulator is there, which apt-get brings if there is a file 'give'; it fails with TEXT as
# long as there is a file 'locked'
only_apt_has_riscv() {
	no_apt
	rm -f "$usr"/{qemu-system-riscv64,riscv64-linux-gnu-gcc}
	ln -s /bin/true "$usr/riscv64-linux-gnu-gcc"
	sed -i '/opensbi/d' tables/packages
	unset NO_DEPS
	printf '%s\n' '#!/bin/sh' '[ "$1" != env ] || shift 2' 'exec "$@"' | stand_in sudo
	stand_in apt-get <<-EOF
		#!/bin/sh
		echo "\$*" >>$work/apt.args
		[ "\$1" != update ] || exit 100
		if [ -e $work/locked ]; then
			rm $work/locked
			echo '$1'
			exit 100
		fi
		[ ! -e $work/give ] || ln -s /bin/true $usr/qemu-system-riscv64
	EOF
	touch locked
}

@test "packages: that of the emulator is named for it, and is looked for again" {
	# The list is old, and another, of somebody else's, cannot be fetched.
	only_apt_has_riscv 'E: Unable to locate package'
	run ! make deps ARCH=riscv
	has "still missing: qemu-system-riscv64"
	grep -qx 'install -y --no-install-recommends qemu-system-riscv64' apt.args
	touch give
	run -0 make deps ARCH=riscv
}

@test "packages: a lock of another apt is waited for, and named" {
	only_apt_has_riscv 'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7'
	touch give
	run -0 make deps ARCH=riscv
	has "waiting, for ten minutes at most: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7"
}

@test "packages: a user who may not install them is told what to ask for" {
	only_apt_has_riscv 'none'
	printf '%s\n' '#!/bin/sh' 'echo "sudo: a password is required"; exit 1' | stand_in sudo
	printf '%s\n' '#!/bin/sh' 'echo 1000' | stand_in id
	run ! make deps ARCH=riscv
	has "sudo: a password is required"
	has "apt-get install --no-install-recommends qemu-system-riscv64"
	[ ! -e apt.args ]
}
