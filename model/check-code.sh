#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Usage: [BASE=6.12] model/check-code.sh [-w] KDIR
# Compares the table in model/code.md with KDIR, a tree of BASE with the series: each function must make the calls that
# the table lists, in that order; each step of the model and each litmus test must be in the table, with every function
# that the test names. -w writes the line numbers to the table. Last line: 'N passed, N failed'.

. "$(dirname "$0")/../lib.sh"

write=0
if [ "${1-}" = -w ]; then
	write=1
	shift
fi
[ $# -eq 1 ] || die "which kernel tree?" "model/check-code.sh [-w] KDIR"
[ -f "$1/mm/mmu_gather.c" ] || die "$1 is not a kernel tree"

table=$top/model/code.md
mkdir -p "$TMPDIR"
new=$(mktemp)
trap 'rm -f "$new"' EXIT

status=0
kdir=$1 new=$new base=$base awk '
# The code of a function, without comments; sets lines.
function code_of(file, name,    path, line, text, nr, first, from, to) {
	path = ENVIRON["kdir"] "/" file
	lines = ""
	while (lines == "" && (getline line < path) > 0) {
		nr++
		if (!first && line ~ "^([a-z_].*[^A-Za-z0-9_])?" name "\\(") {
			first = nr
			text = ""
		}
		text = text line "\n"
		if (first && text !~ /\{/ && line ~ /;/)
			first = 0	# only declared
		else if (first && (line == "}" || line ~ /^[^ \t].*\}$/))
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

FILENAME ~ /\.pml$/ {
	if ($1 == "inline" || $1 == "proctype" || ($1 == "#define" && $2 == "mm_tlb_flush_nested()")) {
		sub(/\(.*/, "", $2)
		in_model[$2]
	}
	next
}

FILENAME ~ /\.litmus$/ {
	if ($1 == "C") {
		test = $2
		in_model[test]
	} else if (match($0, /\/\*.*\*\//)) {
		n = split(substr($0, RSTART + 3, RLENGTH - 6), called, ", ")
		for (i = 1; i <= n; i++) {
			sub(/\(\)$/, "", called[i])
			named[test " " called[i]]
		}
	}
	next
}

/^\| `/ && split($0, cell, "|") == 7 {
	steps = split(cell[2], step, "`")
	for (i = 2; i < steps; i += 2)
		in_table[step[i]]
	for (i = 3; i <= 4; i++)
		gsub(/[` ]/, "", cell[i])
	file = cell[3]
	name = cell[4]
	split(cell[5], of_base, "[ /]+")
	for (i = 2; i < steps; i += 2) {
		about[step[i], name]
		for (j = 2; j < steps; j += 2)
			about[step[i], step[j]]
	}
	column = ENVIRON["base"] == "6.12" ? 2 : ENVIRON["base"] == "6.1" ? 3 : 4
	if (file == "" || of_base[column] == "-") {
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
	if (lines == "")
		result(0, where ": there is no such function")
	else if (found != wanted)
		result(0, where ", lines " lines "\n  the table:" wanted "\n  the code: " found)
	else
		result(1, where ", lines " lines)
	if (lines != "" && of_base[column] != lines) {
		moved++
		of_base[column] = lines
	}
	$0 = "|" cell[2] "| `" file "` | `" name "` | " of_base[2] " / " of_base[3] " / " of_base[4] " |" cell[6] "|"
}

{ print > ENVIRON["new"] }

END {
	for (each in in_model)
		if (!(each in in_table))
			result(0, "the table does not have the step " each)
	for (each in in_table)
		if (!(each in in_model))
			result(0, "the models do not have the step " each " of the table")
	for (each in named) {
		split(each, pair, " ")
		if (!((pair[1], pair[2]) in about))
			result(0, "the table has no function " pair[2] "() for the step " pair[1])
	}
	if (moved)
		print "the line numbers of " moved " functions differ from those in the table; -w writes them"
	printf "%d passed, %d failed\n", passed, failed
	exit failed || !passed
}' "$top/model/tlb.pml" "$top"/model/litmus/*.litmus "$table" || status=$?
[ $write -eq 0 ] || cat "$new" >"$table"
exit $status
