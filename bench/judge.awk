# SPDX-License-Identifier: GPL-2.0
# Judges the counts of scripts/bench: each is the same in every boot; none is more than before the series; with it,
# none is more than the least that is safe. What has no PFN VMA executes at most 1.001 times the instructions of before,
# or 5 more, and the kernel is at most 256 bytes larger. Last line: 'N passed, N failed'.

function check(good, what) {
	if (good) {
		passed++
	} else {
		failed++
		print "not so: " what
	}
}

# The least that is safe for PFN VMAs on one address space with other CPUs: one flush before the first unlink, one after
# the tables are freed; tables are freed in batches, and so are pages.
function bound(operation, layout) {
	if (operation == "mprotect")
		return 1
	if (operation == "munmap" || operation == "mmap(MAP_FIXED)")
		return layout == "table kept" || layout == "PFN last" ? 1 : 2
	return -1
}

BEGIN { FS = "," }
FNR == 1 { next }
$5 == "vmlinux" {
	check($10 <= 256, $1 ": the kernel grows by " $10 " bytes")
	next
}
# The least of many runs is the one that no interrupt fell into.
$3 == "icount" && $6 == "no PFN" && $5 != "exit" {
	case_ = $1 ": " $5 ", " $7 " VMAs"
	if (!((case_, $2) in least_run) || $11 < least_run[case_, $2])
		least_run[case_, $2] = $11
	instructions[case_]
}
{
	place = $1 " " $2 ", " $3 " CPUs: " $5 ", " $6 ", " $7 " VMAs"
	if (!(place in flushes)) {
		order[++places] = place
		flushes[place] = $8
		before[place] = $1 " before" substr(place, length($1 " " $2) + 1)
		kernel[place] = $2; cpus[place] = $3; operation[place] = $5; layout[place] = $6; n[place] = $7
	} else if (flushes[place] != $8) {
		varies[place] = varies[place] " " $8
	}
}
END {
	for (i = 1; i <= places; i++) {
		p = order[i]
		check(!(p in varies), p ": " flushes[p] " flushes, and in other boots" varies[p])
		if (kernel[p] != "after")
			continue
		b = before[p]
		check(flushes[p] <= flushes[b], p ": " flushes[p] " flushes, before the series " flushes[b])
		least = bound(operation[p], layout[p])
		if (least < 0 || cpus[p] == 1 || cpus[p] == "icount" || layout[p] == "no PFN" || layout[p] == "batch fills")
			continue
		check(flushes[p] <= least, p ": " flushes[p] " flushes, " least " would do")
	}
	for (case_ in instructions) {
		was = least_run[case_, "before"]
		is = least_run[case_, "after"]
		check(is <= 1.001 * was || is <= was + 5, case_ " without PFN VMAs: " is " instructions, before the series " was)
	}
	print passed + 0 " passed, " failed + 0 " failed"
	exit failed || !passed
}
