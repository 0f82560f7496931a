#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Usage: sh model/check-code.sh [-w] KDIR
# Compare the table in model/README.md with KDIR, a kernel tree with the series: each function must make the calls that
# the table lists, in that order, and each step of the model must be in the table. -w writes the line numbers to the
# table. Last line: 'N passed, N failed'.

. "$(dirname "$0")/../lib.sh"

write=0
if [ "${1-}" = -w ]; then
	write=1
	shift
fi
[ $# -eq 1 ] || die "which kernel tree?" "sh model/check-code.sh [-w] KDIR"
[ -f "$1/mm/mmu_gather.c" ] || die "$1 is not a kernel tree"

table=$top/model/README.md
new=$(mktemp)
trap 'rm -f "$new"' EXIT

status=0
kdir=$1 new=$new awk '
# The code of a function, without comments; sets lines.
function code_of(file, name,    path, line, text, nr, first, from, to) {
	path = ENVIRON["kdir"] "/" file
	lines = ""
	while (lines == "" && (getline line < path) > 0) {
		nr++
		if (!first && line ~ "^([a-z].*[^A-Za-z0-9_])?" name "\\(") {
			first = nr
			text = ""
		}
		text = text line "\n"
		if (first && text !~ /\{/ && line ~ /;/)
			first = 0	# only declared
		else if (first && line == "}")
			lines = first "-" nr
	}
	close(path)
	while ((from = index(text, "/*")) > 0) {
		to = index(substr(text, from), "*/")
		text = substr(text, 1, from - 1) " " substr(text, from + to + 1)
	}
	return text
}

# The words that are in the text, as often and in the order as they are there.
function found_in(text, words, n,    at, i, size, found) {
	for (at = 1; at <= length(text); at++)
		for (i = 1; i <= n; i++) {
			size = length(words[i])
			if (substr(text, at, size) == words[i] &&
			    substr(" " text, at, 2) !~ /[A-Za-z0-9_][A-Za-z0-9_]/ &&
			    substr(text, at + size - 1, 2) !~ /[A-Za-z0-9_][A-Za-z0-9_]/) {
				found = found " " words[i]
				break
			}
		}
	return found
}

function result(ok, message) {
	if (ok)
		passed++
	else
		failed++
	print (ok ? "ok      " : "WRONG   ") message
}

NR == FNR {
	if ($1 == "inline" || $1 == "proctype") {
		sub(/\(.*/, "", $2)
		in_model[$2]
	}
	next
}

/^\| `/ && split($0, cell, "|") == 7 {
	for (i = 2; i <= 5; i++)
		gsub(/[` ]/, "", cell[i])
	step = cell[2]
	file = cell[3]
	name = cell[4]
	in_table[step]
	if (file == "") {	# no code of the kernel
		print > ENVIRON["new"]
		next
	}

	n = 0
	wanted = ""
	split("", seen)
	parts = split(cell[6], part, "`")
	for (i = 2; i < parts; i += 2) {
		wanted = wanted " " part[i]
		if (!(part[i] in seen))
			words[++n] = part[i]
		seen[part[i]]
	}

	text = code_of(file, name)
	found = found_in(text, words, n)
	where = file " " name "()"
	if (!(step in in_model))
		result(0, where ": the model has no step " step)
	else if (lines == "")
		result(0, where ": there is no such function")
	else if (found != wanted)
		result(0, where ", lines " lines "\n  the table:" wanted "\n  the code: " found)
	else
		result(1, where ", lines " lines)
	if (lines != "" && cell[5] != lines)
		moved++
	$0 = "| `" step "` | `" file "` | `" name "` | " lines " |" cell[6] "|"
}

{ print > ENVIRON["new"] }

END {
	for (step in in_model)
		if (!(step in in_table))
			result(0, "the table does not have the step " step " of the model")
	if (moved)
		print "the line numbers of " moved " functions differ from those in the table; -w writes them"
	printf "%d passed, %d failed\n", passed, failed
	exit failed || !passed
}' "$top/model/tlb.pml" "$table" || status=$?
[ $write -eq 0 ] || cat "$new" >"$table"
exit $status
