#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2154,SC2016 # fixture.bash sets them; quoted is as it must be
# Every command that README shows, and every other target, does what it says and writes nothing else, on a kernel of a few
# files, with stand-ins for the compiler's work, for QEMU, and for the tools of others.

load fixture

eval "plain_$(declare -f kernel)"

# A kernel that has what 'make check' and 'make send-dry-run' call in it, and whose image is its mm/memory.c.
kernel() {
	plain_kernel "$@"
	mkdir -p "$1/scripts" "$1/include/linux" "$1/lib/kunit" "$1"/tools/testing/selftests/{mm,net} "$1/tools/memory-model"
	touch "$1/tools/memory-model/linux-kernel.cfg"
	touch "$1"/tools/testing/selftests/{mm/pfnmap.c,net/tcp_mmap.c}
	echo '$(OUTPUT)/%: ; install -m 755 /dev/null $@' | tee "$1"/tools/testing/selftests/{mm,net}/Makefile >/dev/null
	echo vm_flags_set >"$1/include/linux/mm.h"
	touch "$1/mm/Makefile"
	echo KUNIT_DEBUGFS_RUN >"$1/lib/kunit/debugfs.c"
	printf '#!/bin/sh\n' | tee "$1/scripts/checkpatch.pl" >"$1/scripts/kernel-doc"
	printf '%s\n' '#!/bin/sh' 'case $* in *--sections*) echo MMU GATHER AND TLB INVALIDATION ;; esac' \
		'echo linux-mm@kvack.org' >"$1/scripts/get_maintainer.pl"
	printf '%s\n' '#!/bin/sh' 'echo "add/remove: 0/0 grow/shrink: 0/0 up/down: 0/0 (0)"' >"$1/scripts/bloat-o-meter"
	chmod +x "$1"/scripts/*
	sed -i 's,touch \(.*bzImage\),cp $(CURDIR)/mm/memory.c \1 \&\& cp $(CURDIR)/tools/uml $(O)/linux,' "$1/Makefile"
	cat >>"$1/Makefile" <<-'EOT'
		headers: ;
		htmldocs: ; @mkdir -p $(O)/output && touch $(O)/output/mmu_gather.html
		mm/memory.o lib/new.o: ; @mkdir -p $(O)/mm $(O)/lib && touch $(O)/$@; \
			grep -n mutated $(CURDIR)/mm/memory.c | sed 's/^/mm\/memory.c:1: warning: /'
	EOT
	printf '%s\n' '#!/bin/sh' 'echo KTAP version 1; echo 1..1; echo ok 1 mmu_gather_sequences' >"$1/tools/uml"
	chmod +x "$1/tools/uml"
	find "$1" -exec touch -h -d @1700000000 {} +
}

# These are run, as sealed as here, in series.bats and port.bats.
elsewhere='make series
make port
make port FROM=6.12 TO=6.1'

commands() {
	{
		sed -n -E 's/^    ((make|git|\.\/)( .*)?)$/\1/p' "$project/README.md"
		grep -oE '`make[^`]*`' "$project/README.md" | tr -d '`'
		sed -n 's/^\([a-z-]*\):.* ## .*/make \1/p' Makefile | grep -vxE 'make (apply|race|soak|clean|distclean)'
	} | sed 's/ *#.*//; s/ARCH=$/ARCH=um/; s/^make race/& ARCH=arm64/' | sort -u
}

# may_write COMMAND: where it may, beside build/
may_write() {
	case $1 in
	'make apply'*) echo "$HOME/linux" ;;
	'git am'*) echo "$HOME/other" ;;
	'make applications' | 'make bench' | 'make cases' | 'make devices' | 'make matrix' | 'make selftests' | 'make mutants')
		echo "$work/results"
		;;
	'make refresh') echo "$work/patches" ;;
	esac
}

setup() {
	setup_project
	for base in 6.1 7.2 mainline; do
		cp -r patches/6.12 "patches/$base"
		cp -r build/6.12 "build/$base"
	done
	sed -i 's/\*\*\* .* HERE \*\*\*/ten and twenty/' patches/*/0000-*
	mkdir mutants model
	printf '%s\n' '--- a/mm/memory.c' '+++ b/mm/memory.c' '@@ -1,2 +1,3 @@' ' 1' '+mutated' ' 2' |
		tee mutants/{no-hook,end-says-nothing,start-of-another-clears,no-cure}.patch >mutants/free-then-flush.patch
	# The source is here, and the tools are stand-ins; that a missing one is named is another test.
	sed -i '/^#/!d' tables/packages
	sed -i '/^um \|^x86_64-kasan /!d' tables/jobs
	echo '#!/bin/sh' >trees/get
	printf '%s\n' '#!/bin/sh' 'echo 1 passed, 0 failed' | tee proofs/lint proofs/harness proofs/kernels >model/check-code.sh
	chmod +x model/check-code.sh
	printf '%s\n' '#!/bin/sh' 'echo 1..1; echo ok 1 all' | stand_in bats
	# A design that holds, and a base with one place to look at.
	printf '#!/bin/sh\n' >machine/herd7
	mkdir -p model/litmus build/herd
	touch model/tlb.pml model/litmus/two
	printf '%s\n' 'one 1,1,1 holds' 'two two Never' >model/cases
	printf '%s\n' '#!/bin/sh' 'echo Observation two Never 0 1' >build/herd/herd7
	chmod +x build/herd/herd7
	printf '%s\n' '#!/bin/sh' "echo '#include <stdio.h>' >pan.c" "echo 'int main(void) { puts(\"errors: 0\"); }' >>pan.c" |
		stand_in spin
	printf '%s\n' '#!/bin/sh' 'printf "call\tmm/memory.c\t%s\tzap\t%s\n" 1 tlb_gather_mmu 2 mmap_read_unlock 3 tlb_finish_mmu' |
		stand_in spatch
	printf '%s\n' '| function | lets go of | 6.12 | 6.1 | 7.2 | mainline |' \
		'| `zap()` | `mmap_read_unlock()` | safe | safe | safe | safe |' >results/audit.md
	for emulator in qemu-system-{x86_64,aarch64,riscv64}; do
		stand_in "$emulator" <<-'EOT'
			#!/bin/sh
			while [ "$1" != -kernel ]; do shift; done
			not=
			! grep -qs mutated "$2" || not='not '
			printf '%s\n' 'KTAP version 1' 1..1 '    KTAP version 1' '    # Subtest: mmu_gather' '    1..1' \
				"    ${not}ok 1 one" "${not}ok 1 mmu_gather"
		EOT
	done
	for tool in codespell perf {aarch64,riscv64}-linux-gnu-gcc stress-ng "git-send-email --nothing"; do
		printf '#!/bin/sh\ncat >/dev/null\n' | stand_in "${tool%% *}"
	done
	cp -r "$project/bench" .
	printf '#!/bin/sh\n' | stand_in gnuplot
	cat >guests/boot <<-'EOT'
		#!/bin/sh
		own=${0%/*}
		{
			seq -f 'round %g: 3 cases passed, 0 failed; in use:' 50
			printf '%s\n' 'leaks: 0' 'stale: 0, leaks: 0' munmap,adjacent,1024,2,6,0,1000
			printf '%s\n' '== pfnmap' 'ok 1 one' '== pfnmap: exit 0'
			sed -n 's/^\t{ "\([^"]*\)", open_.*/device: \1,2,6,1,3,2,3,neither/p' "$own/devices.c"
			printf 'revoke: vfio-pci,%s,9,9,0\n' one two three
			sed -n 's/^\t{ "\([^"]*\)", [A-Z0-9]*, .*/application: \1;1;2;3;4/p' "$own/applications.c"
			seq -f 'received %g MB (93.5 %% mmap)' 21
			echo done
		} | sed -f "$own/unsaid" >"$3"
	EOT
	touch guests/unsaid
	export HOME=$BATS_TEST_TMPDIR/home
	mkdir -p "$HOME"
	ln -s "$work" "$HOME/series"
	repo "$HOME/linux"
	cp -r "$HOME/linux" "$HOME/other"
}

@test "every command of README" {
	local command status
	cp "$project/README.md" .
	for base in 6.12 6.1 7.2 mainline; do
		BASE=$base make lay refresh
	done
	while read -r command; do
		! grep -qxF "$command" <<<"$elsewhere" || continue
		echo "# $command"
		case $command in
		'git am'*) cd "$HOME/other" ;;
		./tools/*) cd "$tree" ;;
		*) cd "$work" ;;
		esac
		# shellcheck disable=SC2046 # a list of words
		sealed "$work/build" $(may_write "$command") -- sh -c "$command"
		[ "$command" != 'make apply KDIR=~/linux' ] || git -C "$HOME/linux" checkout -q main
	done < <(commands)
	[ "$(commands | wc -l)" -gt 15 ]
	cd "$work"
	grep -q '^| mmu_gather: one | passed |' results/cases.md
	grep -q '^| 6.12 | um | um | none | 1 passed; ' results/matrix.md
}

@test "a guest that says too little, or whose kernel complains, passes no proof" {
	make lay
	while read -r proof edit; do
		echo "$edit" >guests/unsaid
		run ! "proofs/$proof"
		has "${edit##*# }"
	done <<-'EOT'
		repeat s/^round 7: 3/round 7: 0/ # 0 passed, 1 failed
		repeat s/^round 7: 3/WARNING: three\n&/ # WARNING: three
		devices /^device: udmabuf/d # neither before nor after the series: udmabuf
		applications /^application: vgem/d # neither before nor after: vgem_mmap of igt
	EOT
}

@test "README and CONTRIBUTING: short, and every file that they name is there" {
	[ "$(wc -l <"$project/README.md")" -le 150 ]
	[ "$(wc -l <"$project/CONTRIBUTING.md")" -le 60 ]
	for file in $(grep -ohE '\]\([^):]*\)' "$project"/{README,CONTRIBUTING}.md | tr -d '()]'); do
		[ -e "$project/$file" ]
	done
	for file in $(cd "$project/results" && grep -ohE '\]\([^):]*\)' ./*.md | tr -d '()]'); do
		[ -e "$project/results/$file" ]
	done
}

@test "the case that keeps each fault of harness/README.md from coming back is there" {
	[ "$(grep -c '^| [0-9]' "$project/harness/README.md")" -eq 20 ]
	while read -r name; do
		grep -qF "@test \"$name\" {" "$project"/harness/*.bats
	done < <(sed -n 's/^| [0-9].*| `\(.*\)` |$/\1/p' "$project/harness/README.md")
}
