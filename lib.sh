# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# shellcheck disable=SC2034 # not every script needs all of it
# Sourced by every script: where things are, how to say things, how to run a long step.

# Here ends what the caller's environment says: all that goes on is in tables/variables, or is how this machine reaches
# the network and knows its user. Scripts that call others say more to them.
set -eu
umask 022
unset CDPATH
top=$(cd "$(dirname "$0")/.." && pwd -P)
if [ "${SERIES_TOP-}" != "$top" ]; then
	set -- "$0" "$@"
	for name in $(sed '/^#/d; s/  .*//; s/,//' "$top/tables/variables") \
		PATH HOME USER LOGNAME EMAIL TERM TZ APT_CONFIG SUDO_ASKPASS \
		http_proxy https_proxy no_proxy all_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY \
		GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL \
		GIT_CONFIG_GLOBAL GIT_CONFIG_SYSTEM GIT_CONFIG_NOSYSTEM XDG_CONFIG_HOME; do
		eval "[ -z \"\${$name+set}\" ] || set -- \"$name=\$$name\" \"\$@\""
	done
	exec env -i LC_ALL=C "SERIES_TOP=$top" "$@"
fi
# Not every shell expands the ~ of 'make KDIR=~/linux'.
for name in BUILD KDIR KEYRING CCACHE_DIR; do
	eval "case \${$name-} in '~/'*) $name=\$HOME/\${$name#??} ;; esac"
done

say() { printf '%s\n' "$*"; }

die() {
	printf '%s: %s\n' "${0##*/}" "$1" >&2
	shift
	[ $# -eq 0 ] || printf '  %s\n' "$@" >&2
	exit 1
}

# bases_alone: for what is about the kernels of the bases
bases_alone() {
	[ -z "${KDIR-}" ] || die "KDIR=$KDIR is for one tree; this takes the bases" "BASE is one of: $(names bases)"
}

# often DEFAULT: TRIALS, or DEFAULT
often() {
	say "${TRIALS:-$1}" | grep -x '[1-9][0-9]*' || die "TRIALS=$TRIALS is not a number of trials" "make ${0##*/} TRIALS=10000"
}

# own_guest NEED...: what a proof with guests of ours begins with, which are of x86_64
own_guest() {
	[ "$arch" = x86_64 ] || die "this guest is one of x86_64"
	"$top/machine/deps" "$@"
	lock
	plain_git
}

# The rows of a table, without its comments.
rows() { sed '/^#/d' "$top/tables/$1"; }

# The row of a table whose first word is the second argument.
row() { rows "$1" | awk -v key="$2" '$1 == key { $1 = ""; sub(/^ /, ""); print; exit }'; }

# jobs BASE: lines 'JOB ARCH WORD...', those of it in the table
jobs() { rows jobs | awk -v base="$1" 'index("," $2 ",", "," base ",") { sub(/ +[^ ]+/, ""); print }'; }

# The bases that have a series.
kept() { rows bases | while read -r any _; do [ ! -d "$top/patches/$any" ] || say "$any"; done; }

names() { rows "$1" | awk '{ printf "%s%s", sep, $1; sep = ", " }'; }

build=${BUILD:-$top/build}
case $build in
/*) ;;
*) build=$top/$build ;;
esac
[ -z "$(printf %s "$top$build" | tr -d 'A-Za-z0-9/._+@%=,~^\200-\377-')" ] ||
	die "no kernel can be built in '$build', called from '$top'" \
		"these paths must have no blanks, no colons, and nothing else that means something to a shell"

# Nothing outside of it is written.
export TMPDIR="$build/tmp" CCACHE_DIR="${CCACHE_DIR:-$build/ccache}"

base=${BASE:-6.12}
arch=${ARCH:-x86_64}
[ -n "$(row bases "$base")" ] || die "no base '$base'" "BASE is one of: $(names bases)"
[ -n "$(row archs "$arch")" ] || die "no architecture '$arch'" "ARCH is one of: $(names archs)"

# A kernel tree of the user's gets a place of its own, named for its path.
if [ -n "${KDIR-}" ]; then
	[ -d "$KDIR" ] || die "KDIR=$KDIR is not a directory"
	KDIR=$(cd "$KDIR" && pwd -P)
	usual=$build/kdir/$(basename "$KDIR" | tr -c 'A-Za-z0-9._\n-' _)-$(printf %s "$KDIR" | cksum | cut -d ' ' -f 1)
else
	usual=$build/$base
fi
work=${WORK:-$usual}
tree=$work/linux
logs=$work/logs

# A build directory is marked as one, which backups know, too: what is not is never removed.
mark='# Made by make in a clone of the mmu_gather series, and can be made again.'
ours() { grep -qsxF "$mark" "$build/CACHEDIR.TAG"; }

# One at a time in a build directory; scripts that call others hold the lock for them.
lock() {
	[ -z "${SERIES_LOCKED-}" ] || return 0
	# Who has waited may find that it has been removed meanwhile.
	# shellcheck disable=SC3013 # dash and bash have it
	until [ "$build/.lock" -ef /dev/fd/9 ]; do
		mkdir -p "$build" && [ -w "$build" ] || die "$build cannot be written" "BUILD=... takes another place"
		[ "$build" = "$top/build" ] || [ -z "$(ls -A "$build")" ] || ours ||
			die "BUILD=$build has other things in it" "take an empty or a new directory"
		ours || printf '%s\n' 'Signature: 8a477f597d28d172789f06886806bc55' "$mark" >"$build/CACHEDIR.TAG"
		mkdir -p "$TMPDIR"
		exec 9>"$build/.lock"
		flock -n 9 || { say "another make is at work in $build; waiting for it" && flock 9; }
	done
	fit
	export SERIES_LOCKED=1
}

# What a kernel needs of a file system: its files differ in case, and its build runs programs of its own.
fit() {
	printf '#!/bin/sh\n' >"$TMPDIR/program"
	chmod +x "$TMPDIR/program"
	"$TMPDIR/program" 2>/dev/null || die "no program runs in $build" "is it mounted noexec? BUILD=... takes another place"
	[ ! -e "$build/cachedir.tag" ] || die "$build takes capital letters for small ones" "BUILD=... takes another place"
}

# room: the MiB that are left for the build directory
room() { df -Pk "$build" | awk 'NR == 2 { print int($4 / 1024) }'; }

# A full disk shows up as any error at all, so say it whenever it may be the reason.
full() {
	left=$(room)
	[ "$left" -ge 20 ] ||
		say "the disk that holds $build is full ($left MiB left): make room and run the same command again" >&2
}

log_end() {
	say "the end of ${1#"$top"/}:" >&2
	tail -n "${2:-20}" "$1" | sed 's/^/  | /' >&2
}

# splats CONSOLE: the first lines of what a kernel complained of; fails if there are none
splats() { grep -aE '^(\[ *[0-9]+\.[0-9]+\](\[ *[TC][0-9]+\])? )?(rcu: )?(WARNING|BUG|INFO): ' "$1"; }

# ended CONSOLE: goes on if a guest of ours has said 'done', and its kernel complained of nothing
ended() {
	if ! grep -qx 'done' "$1" || splats "$1"; then
		log_end "$1"
		exit 1
	fi
}

# alone SECONDS COMMAND...: in a process group of its own, of which nothing outlives us: neither at the limit nor at ^C
alone() {
	timeout "$@" </dev/null 9>&- &
	group=$!
	trap 'kill -s KILL -- "-$group"; exit 130' INT TERM HUP
	status=0
	wait "$group" || status=$?
	trap - INT TERM HUP
	kill -s KILL -- "-$group" 2>/dev/null || :
	return "$status"
}

# libraries PROGRAM...: what they load, and the loader; nothing of one that is static
libraries() {
	for any; do ldd "$any" 2>/dev/null || :; done |
		awk '$2 == "=>" && $3 ~ "^/" { print $3; next } /ld-linux/ { print $1 }' | sort -u
}

# verdicts RESULT: what kunit.py parse said, a line a case: suite, group of parameters if there is one, case, verdict;
# tabs. Parameters of a group that was skipped were skipped, although 6.1's KUnit says that they passed.
verdicts() {
	sed 's/^\[[0-9:]*\] //' "$1" | awk '
		function tell(skipped,    i) {
			for (i = 1; i <= cases; i++)
				print name[i] "\t" (skipped ? "skipped" : verdict[i])
			cases = 0
		}
		/^=+ .* \([0-9]+ subtests?\) =+$/ { suite = $2; next }
		/^=+ .*  =+$/ { group = $2; next }
		/^=+ \[[A-Z]+\] / {
			tell($2 == "[SKIPPED]")
			if (group) group = ""; else suite = ""
			next
		}
		/^\[(PASSED|FAILED|SKIPPED|CRASHED)\] / {
			verdict[++cases] = tolower(substr($1, 2, length($1) - 2))
			sub(/^[^ ]* /, "")
			name[cases] = suite "\t" group "\t" $0
			if (!group) tell(0)
		}
		END { tell(0) }'
}

# step WHAT LOG COMMAND...: one line with the time it took, or the end of its log
step() (
	what=$1 log=$2
	shift 2
	mkdir -p "${log%/*}"
	began=$(date +%s)
	# A function ends at its first error, too; 'set -e' would be off in it if this were part of a condition.
	set +e
	(set -e && "$@") >"$log" 2>&1
	status=$?
	set -e
	printf '%-52s %4d s  %s\n' "$what" "$(($(date +%s) - began))" "${log#"$top"/}"
	[ "$status" -ne 0 ] || exit 0
	log_end "$log"
	full
	exit "$status"
)

# results NAME: a run of many parts begins. The last line of each part's output, 'N passed, N failed[, N skipped]',
# is its result; a part that fails stops nothing else. total says the sum.
results() {
	started=$(date +%s)
	results=$build/logs/$1.results
	mkdir -p "$build/logs"
	: >"$results"
}

# result NAME COMMAND...
result() {
	log=$build/logs/$(say "$1" | tr ' ' -).log
	part=$1 began=$(date +%s)
	shift
	# As in step.
	set +e
	(set -e && "$@") >"$log" 2>&1 </dev/null
	status=$?
	set -e
	counts=$(tail -n 1 "$log" | grep -xE '[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?') ||
		counts='0 passed, 1 failed'
	case $status,$counts in
	0,* | *', '[1-9]*' failed'*) ;;
	*) counts="$counts (and exit status $status: 1 failed)" ;;
	esac
	printf '%-28s %5d s  %-32s %s\n' "$part" "$(($(date +%s) - began))" "$counts" "${log#"$top"/}"
	say "$counts" >>"$results"
	[ "$status" -eq 0 ] || log_end "$log" 30
	full
}

total() {
	awk -v took="$(($(date +%s) - started))" '
	{ for (i = 2; i <= NF; i++) { sub(/[,)]$/, "", $i); sum[$i] += $(i - 1) } }
	END {
		printf "%d min %d s\n%d passed, %d failed", took / 60, took % 60, sum["passed"], sum["failed"]
		if (sum["skipped"]) printf ", %d skipped", sum["skipped"]
		print ""
		exit sum["failed"] || !sum["passed"]
	}' "$results"
}

# The patches of a base, in order.
series() { printf '%s\n' "$top/patches/$1"/[0-9]*.patch | grep -v /0000-; }

# narrow PATCH...: the clone we are in checks out only the files that the patches touch
narrow() { sed -n 's,^diff --git a/.* b/,/,p' "$@" | sort -u | sparse; }

# sparse: it checks out only what standard input says; older ones have no 'git sparse-checkout set --no-cone'
sparse() {
	git config core.sparseCheckout true
	mkdir -p .git/info
	cat >.git/info/sparse-checkout
}

# scratch REPO PLACE: a clone of it to work in, with no files yet; goes there
scratch() {
	rm -rf "$2"
	git clone -q --shared --no-checkout --no-tags "$1" "$2"
	cd "$2"
	git config gc.auto 0
}

# kind: what of the series it is that touches the files of standard input, in the words of trees/plant
kind() {
	case $(cat) in
	*mmu_gather_mm_kunit.c*) say mm ;;
	*mmu_gather_kunit.c*) say rules ;;
	*Documentation/mm/mmu_gather.rst*) say page ;;
	*) say core ;;
	esac
}

# lacks PATCH...: what these patches speak of and the tree we are in has not, by the table of needs
lacks() {
	rows needs | while read -r word file what; do
		! grep -qswF -- "$word" "$@" || grep -qswF -- "$word" "$file" || say "it lacks $what"
	done
}

# Git, and the kernel's own scripts, as ours mean them, whatever the user's home says: whose trees are safe has been
# said before.
plain_git() {
	printf '%s\n' '[safe]' 'directory = *' '[core]' 'hooksPath = /dev/null' >"$TMPDIR/.gitconfig"
	unset GIT_CONFIG_GLOBAL XDG_CONFIG_HOME
	export HOME="$TMPDIR" GIT_CONFIG_NOSYSTEM=1 GIT_ATTR_NOSYSTEM=1
	[ -n "${AS_USER-}" ] || export GIT_COMMITTER_NAME=series GIT_COMMITTER_EMAIL=series@localhost
}

# bring CLONE COMMIT REPO REF: this COMMIT of a clone becomes REF in REPO; no hook runs
bring() {
	git -C "$3" -c core.hooksPath=/dev/null -c protocol.file.allow=always fetch -q --no-tags --no-write-fetch-head \
		--no-auto-maintenance --no-recurse-submodules "$1" "+$2:$4"
}

# mutant NAME: its patch; mutants/BASE has those that are one of their own there, or mutants/FROM, from which BASE was ported
mutant() {
	[ -f "$top/mutants/$1.patch" ] ||
		die "no mutant '$1'" "there are: $(cd "$top/mutants" && printf '%s ' *.patch | sed 's/\.patch//g')"
	for any in "$base" $(rows ported | awk -v to="$base" '$1 == to { print $2 }') .; do
		[ ! -f "$top/mutants/$any/$1.patch" ] || { say "$top/mutants/$any/$1.patch" && return; }
	done
}

# detached PLACE COMMIT: a work tree of $tree in PLACE/linux, as COMMIT has it, for kernels that are not the series as it is
detached() {
	[ -d "$tree" ] || die "there is no $tree" "make lay"
	if git -C "$1/linux" rev-parse -q --verify HEAD >/dev/null 2>&1; then
		git -C "$1/linux" checkout -q --detach --force "$2"
		return
	fi
	rm -rf "$1"
	mkdir -p "$1"
	git -C "$tree" worktree prune
	step "$base: ${1##*/}: a tree" "$logs/${1##*/}.log" git -C "$tree" worktree add --detach "$1/linux" "$2"
}

# before_after NAME: 'side' builds and runs in $place what the kernel before, and the one after the series have of tests of
# their own, and leaves a line for each verdict in $place/verdicts
before_after() {
	plain_git
	mkdir -p "$logs"
	for kernel in before after; do
		place=$work/$1-$kernel
		commit=$([ $kernel = before ] && say base || say series)
		detached "$place" "$commit"
		side
		sort -o "$place/verdicts" "$place/verdicts"
	done
}

# same NAME: a verdict that only the kernel before has is listed, and fails, and so does a bad one that only the other has;
# more of that are listed, and so is what is bad in both, which is skipped. Last line: 'N passed, N failed, N skipped'.
same() {
	comm "$work/$1-before/verdicts" "$work/$1-after/verdicts" --output-delimiter=@ | awk '
		{ bad = /: (# )?not ok |\t(failed|crashed)$|, [1-9][0-9]* failed|: signal |: exit / && !/: exit (0|4|77)$/ }
		!/^@/ { failed++; print "only before: " $0; next }
		/^@[^@]/ { if (bad) failed++; if (!/^@mmu_gather/) print "only after: " substr($0, 2); next }
		bad { print "in both: " substr($0, 3) }
		bad || /\tskipped$/ || / # SKIP|: exit (4|77)$/ { skipped++; next }
		{ passed++ }
		END {
			printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
			exit failed || !passed
		}'
}

# hooks_range: whether the base has a hook for the whole range, and so one flush for all PFN VMAs; else it flushes at the
# end of each
hooks_range() { git -C "$tree" grep -q tlb_free_vmas base -- include/asm-generic/tlb.h; }

# own PLACE COMMIT CONFIG DRIVER OPTION...: builds in PLACE a kernel of COMMIT for a guest of ours: with $MUTANT, if there is one,
# on top of the series, with this driver and its header, or '', and with guests/configs/CONFIG.options and these options.
own() {
	detached "$1" "$2"
	if [ "$2" != base ] && [ -n "${MUTANT-}" ]; then
		patch=$(mutant "$MUTANT")
		git -C "$1/linux" apply "$patch"
	fi
	if [ -n "$4" ]; then
		cp "$top/${4%.c}".[ch] "$1/linux/mm/"
		say "obj-y += $(basename "$4" .c).o" >>"$1/linux/mm/Makefile"
	fi
	place=$1 options=$(sed '/^#/d' "$top/guests/configs/$3.options")
	shift 4
	WORK=$place BUILD_ONLY=1 KCONFIG="$options $*" "$top/guests/kunit"
}

# The tree and patches/ say the same now: remember the commit, the base and the patches.
agree() {
	git update-ref refs/series/laid "$1"
	series_key >.git/series-key
}
# agreed: whether they still do
agreed() { [ "$(cat .git/series-key 2>/dev/null)" = "$(series_key)" ]; }
series_key() {
	git rev-parse base
	# On a tree of the user's some of it is made of source/.
	# shellcheck disable=SC2046 # any number of names without blanks
	{ cat $(series "$base") && { [ -z "${KDIR-}" ] || find "$top/source" -type f -exec sha256sum {} + | sort; }; } | sha256sum
}

# record NAME TITLE COMMAND...: what it says becomes results/NAME.md, with the date, the kernels (of $bases, else $base) and the
# machine; if it fails, nothing does
record() (
	page=results/$1.md
	{
		printf '# %s\n\n' "$2"
		printf '%s\n\n' "Written by \`make ${1%%-*}\` on $(date -u +%F): $(for any in ${bases:-$base}; do
			sed 's/.*  //; s/_all.deb//' "$build/$any/source" 2>/dev/null
		done | paste -s -d ' '); $(
			sed -n 's/^model name.*: //p;T;q' /proc/cpuinfo
		), $(nproc) CPUs, Linux $(uname -r | cut -d - -f 1)."
	} >"$build/page.md"
	shift 2
	# As in step.
	set +e
	(set -e && "$@") >>"$build/page.md"
	status=$?
	set -e
	[ "$status" -eq 0 ] || die "$page stays as it was: what it was to be made of is incomplete"
	mv "$build/page.md" "$top/$page"
)
