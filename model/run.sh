#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Search each case of model/cases to the end, or those named, and compare the verdicts. Last line: 'N passed, N failed'.
# A case leaves the model as it was searched, logs, and the counterexample as a list of events, in build/model/CASE/.

. "$(dirname "$0")/../scripts/lib.sh"

for tool in spin gcc; do
	command -v $tool >/dev/null || die "there is no $tool" "it is in the Debian package $tool: apt-get install $tool"
done

# search LOG GCC_FLAGS [PAN_FLAGS]: fails if anything is wrong in any run
search() {
	# shellcheck disable=SC2086 # lists of flags
	(cd "$dir" && gcc -DMEMLIM=4000 $2 -o pan pan.c && ./pan -w22 ${3-}) >"$dir/$1" 2>&1 ||
		die "$name: the search broke off" "see $dir/$1"
	[ ! -e "$dir/tlb.pml.trail" ] || return 1
	if ! grep -q 'errors: 0$' "$dir/$1" || grep -Eq 'not completed|too small|MEMLIM bound' "$dir/$1"; then
		die "$name: the search was cut short" "see $dir/$1"
	fi
}

# First breadth first, so that a counterexample is a shortest one; deadlocks count. Then for cycles: the model marks no
# step as progress, so every cycle is an error.
verdict() {
	if search safety.log '-DBFS -DSAFETY' && search cycles.log '-O1 -DNP' '-l -m10000'; then
		say holds
		return
	fi
	(cd "$dir" && spin -T -DVARIANT="$variant" -t tlb.pml) >"$dir/replay.log" 2>&1
	sed -n 's/^<<<<<START OF CYCLE.*/@ BUG endless: from here it goes round/; s/^@ //p' "$dir/replay.log" |
		sed '/BUG/q' >"$dir/events"
	! grep -q 'invalid end state (at' "$dir/safety.log" || say 'BUG deadlock: nobody can go on' >>"$dir/events"
	sed -n 's/.*BUG \([a-z-]*\):.*/\1/p' "$dir/events"
}

build=$build/model
lock
start=$(date +%s)
passed=0 failed=0 shown=
format='%-10s %-13s %-13s %9s %5s %4s  %s\n'

say "searching all states of each case; the logs are in ${build#"$top"/}"
# shellcheck disable=SC2059
printf "$format" case expected verdict states MiB s ''

while read -r name variant expected script; do
	case $name in
	'' | '#'*) continue ;;
	esac
	case " ${*:-$name} " in
	*" $name "*) ;;
	*) continue ;;
	esac

	dir=$build/$name
	began=$(date +%s)
	rm -rf "$dir"
	mkdir -p "$dir"
	sed "$script" "$top/model/tlb.pml" >"$dir/tlb.pml"
	if [ -n "$script" ] && cmp -s "$top/model/tlb.pml" "$dir/tlb.pml"; then
		die "$name: its sed script in model/cases changes nothing"
	fi
	(cd "$dir" && spin -DVARIANT="$variant" -a tlb.pml) >"$dir/spin.log" 2>&1 ||
		die "$name: spin rejects the model" "see $dir/spin.log"

	found=$(verdict)
	if [ "$found" = "$expected" ]; then
		passed=$((passed + 1)) judged=ok
	else
		failed=$((failed + 1)) judged=WRONG
	fi
	# shellcheck disable=SC2046,SC2059 # two figures
	printf "$format" "$name" "$expected" "$found" $(cat "$dir"/*.log | awk '
		/ states, stored/ { states += $1 }
		/total actual memory/ && $1 > mem { mem = $1 }
		END { printf "%d %d", states, mem }') $(($(date +%s) - began)) $judged
	if [ -e "$dir/events" ] && { [ -z "$script" ] || [ $judged = WRONG ]; }; then
		shown="$shown $name"
	fi
done <"$top/model/cases"

[ $((passed + failed)) -gt 0 ] || die "model/cases has no case of that name: $*"

cd "$build"
for name in $shown; do
	say "$(wc -l <"$name/events") $name"
done | sort -n | while read -r count name; do
	printf '\n%s, %d events:\n' "$name" "$count"
	cat -n "$name/events"
done

printf '\n%d s; the counterexamples of the mutations are in %s/*/events\n' \
	$(($(date +%s) - start)) "${build#"$top"/}"
say "$passed passed, $failed failed"
[ $failed -eq 0 ]
