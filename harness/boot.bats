#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2154 # fixture.bash sets them
# Build, boot and verdict, with the real kunit.py and stand-ins for the compiler's work and for QEMU.

load fixture

setup() { setup_project; }

# qemu: a QEMU that prints standard input, with a KTAP header where kunit.py wants it
qemu() {
	{
		printf '%s\n' '#!/bin/sh' "echo \$\$ >'$BATS_TEST_TMPDIR/qemu.pid'" "echo \"\$*\" >'$BATS_TEST_TMPDIR/qemu.args'"
		cat
	} | stand_in qemu-system-x86_64
}

# ktap CASES [VERDICT]: what a guest says whose only suite has so many cases, those of standard input
ktap() {
	echo "cat <<'END'"
	printf '%s\n' 'KTAP version 1' 1..1 '    KTAP version 1' '    # Subtest: mmu_gather' "    1..$1"
	sed 's/^/    /'
	echo "${2-ok} 1 mmu_gather"
	echo END
}

@test "green: result, the command by hand, and the count as last line" {
	printf '%s\n' 'ok 1 one' 'ok 2 two' 'ok 3 three # SKIP why' | ktap 3 | qemu
	run -0 make
	has "[PASSED] two"
	has "kunit.py run --build_dir"
	[ "${lines[-1]}" = "2 passed, 0 failed, 1 skipped" ]
	grep -q -- '-smp 4' "$BATS_TEST_TMPDIR/qemu.args"
	grep -q -- '-accel tcg' "$BATS_TEST_TMPDIR/qemu.args"
	grep -q 'ok 2 two' build/6.12/logs/x86_64.console
}

@test "parameters of a skipped case are skipped, although 6.1 says that they passed" {
	ktap 3 <<-'EOF' | qemu
		    KTAP version 1
		    # Subtest: one
		    ok 1 first
		ok 1 one
		    KTAP version 1
		    # Subtest: two
		    ok 1 first
		    ok 2 second
		ok 2 two # SKIP why
		ok 3 three
	EOF
	run -0 make
	[ "${lines[-1]}" = "2 passed, 0 failed, 2 skipped" ]
}

@test "a console with blank lines stays as it is, and no case is lost" {
	printf '%s\n' 'ok 1 one' 'ok 2 two' | ktap 2 | sed '2,$ { /^END$/! s/$/\n/ }' | qemu
	run -0 make
	[ "${lines[-1]}" = "2 passed, 0 failed" ]
	grep -qx '' build/6.12/logs/x86_64.console
}

@test "TCG is used although kunit.py asks for KVM first; ACCEL=kvm is KVM alone" {
	ktap 1 <<<'ok 1 one' | qemu
	make lay
	sed -i "s/extra_qemu_params=\[/&'-accel', 'kvm', '-accel', 'tcg', /" "$tree/tools/testing/kunit/qemu_configs/x86_64.py"
	make
	[ "$(grep -o -- '-accel [a-z]*' "$BATS_TEST_TMPDIR/qemu.args")" = '-accel tcg' ]
	make ACCEL=kvm
	[ "$(grep -o -- '-accel [a-z]*' "$BATS_TEST_TMPDIR/qemu.args")" = '-accel kvm' ]
}

@test "a failed case fails make" {
	printf '%s\n' 'ok 1 one' 'not ok 2 two' | ktap 2 'not ok' | qemu
	run ! make
	has "[FAILED] two"
	has "1 passed, 1 failed"
}

@test "a case that is missing without a word fails make" {
	printf '%s\n' 'ok 1 one' 'ok 3 three' | ktap 2 | qemu
	run ! make
	has "2 passed, 1 failed"
}

@test "a warning of the kernel that fails no case fails make" {
	while read -r said; do
		qemu < <(
			echo "echo '$said'"
			ktap 1 <<<'ok 1 one'
		)
		run ! make
		has "$said"
		has "1 passed, 1 failed"
	done <<-'EOF'
		[    1.234567] WARNING: CPU: 3 PID: 47 at mm/memory.c:646 free_pgtables+0x3e/0x11d
		[    1.234567][   T47] BUG: KASAN: slab-use-after-free in free_pgtables+0x3e/0x11d
		rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
	EOF
}

@test "no test at all, or a guest that says nothing, fails make" {
	for said in 'echo KTAP version 1; echo 1..0' 'echo Booting'; do
		qemu <<<"$said"
		run ! make
		has "0 passed, 1 failed"
	done
}

@test "a guest that never ends is killed, with its children, and its last lines shown" {
	qemu <<-EOF
		trap '' TERM
		echo 'the last thing it said'
		sleep 1000 & echo \$! >'$BATS_TEST_TMPDIR/child.pid'
		while :; do sleep 1; done
	EOF
	run ! make TIMEOUT=8
	has "killed"
	has "the last thing it said"
	gone qemu.pid
	gone child.pid
}

@test "^C while the guest runs leaves no guest behind" {
	qemu <<-'EOF'
		trap '' TERM INT
		echo booting
		sleep 1000
	EOF
	make lay
	run ! interrupted_at "$BATS_TEST_TMPDIR/qemu.pid" make
	gone qemu.pid
}

@test "^C while a guest of ours runs leaves nothing of it behind" {
	qemu <<-EOF
		trap '' TERM INT
		sleep 20
		touch '$BATS_TEST_TMPDIR/went.on'
	EOF
	mkdir -p build/place/x86_64/usr
	ln -s /bin/true build/place/x86_64/usr/gen_init_cpio
	echo 'int main(void) { return 0; }' >init.c
	run ! interrupted_at "$BATS_TEST_TMPDIR/qemu.pid" guests/boot build/place init.c build/console 1
	gone qemu.pid
	[ ! -e "$BATS_TEST_TMPDIR/went.on" ]
}

@test "^C during the build, and then a run that goes on" {
	qemu_says_ok
	make lay
	touch build/6.12/slow
	run ! interrupted_at build/6.12/slow.began make
	rm build/6.12/slow
	run -0 make
	[ "${lines[-1]}" = "1 passed, 0 failed" ]
}

@test "matrix: what fails as before is tried again; a compiler that is not there fails its job alone" {
	printf '%s\n' 'vax 6.12 vax PREFIX=vax-linux-gnu-' 'x86_64 6.12 x86_64' >tables/jobs
	qemu <<<'exit 1'
	run ! make matrix
	has "missing: vax-linux-gnu-gcc"
	grep -q '^| 6.12 | x86_64 | x86_64 | none | as before; ' results/matrix.md
	ktap 1 <<<'ok 1 one' | qemu
	run ! make matrix
	grep -q '^| 6.12 | x86_64 | x86_64 | none | 1 passed; ' results/matrix.md
}

@test "matrix: what nothing boots is compiled with its tests, or has no MMU" {
	make lay
	cat >>"$tree/Makefile" <<-'EOF'
		allnoconfig: ; @grep -v '=n$$' $(KCONFIG_ALLCONFIG) >$(O)/.config
		mm/ lib/tests/mmu_gather_kunit.o lib/tests/mmu_gather_mm_kunit.o: FORCE ;
		FORCE:
	EOF
	commit_in_tree third
	printf '%s\n' 'vax 6.12 vax PREFIX=-' 'vax-nommu 6.12 vax PREFIX=- CONFIG_MMU=n' >tables/jobs
	make matrix
	grep -q '^| 6.12 | vax | vax PREFIX=- | none | compiles; ' results/matrix.md
	grep -q '^| 6.12 | vax-nommu | vax PREFIX=- CONFIG_MMU=n | none | mm/ compiles; ' results/matrix.md
	sed -i 's/=n\$\$/KUNIT_TEST/' "$tree/Makefile"
	commit_in_tree fourth
	run ! make matrix JOB=vax
	has "Not all Kconfig options: CONFIG_MMU_GATHER_KUNIT_TEST=y"
}

@test "cases: of all of them, and of the series as it is now" {
	printf '%s\n' 'ok 1 one' 'ok 2 two' | ktap 2 | qemu
	make
	ktap 1 <<<'ok 1 one' | qemu
	make FILTER=mmu_gather.one
	make cases
	grep -q '^| all | 2 passed |' results/cases.md
	commit_in_tree third
	run ! make cases
	has "no result of today's series"
	make
	make cases
	grep -q '^| all | passed |' results/cases.md
}

@test "a build that fails shows the end of its log" {
	make lay
	sed -i '/^all:/,/bzImage/d' "$tree/Makefile"
	echo 'all: ; @echo "mm.c:1: error: no such thing" >&2; false' >>"$tree/Makefile"
	run ! make
	has "no such thing"
	has "x86_64.build"
}
