# SPDX-License-Identifier: GPL-2.0
# Judges the counts of proofs/bench: each is the same in every boot; none is more than before the series; with it,
# none is more than the least that is safe. On one CPU of x86_64, what has PFN VMAs executes at most 1.02 times the
# instructions of before, what has none at most 1.001 times, or 5 more for each VMA; the kernel is at most 256 bytes larger.
# Where the kernel of before asks nothing at the end of a VMA (7.2, mainline), these are 8 and 1024. arm64 and riscv have no
# fewer flushes, and pay nothing: 1.0005 times the instructions at most, and no byte.
# Last line: 'N passed, N failed'.

function check(good, what) {
	if (good) {
		passed++
	} else {
		failed++
		print "not so: " what
	}
}

# The least that is safe for PFN VMAs on one address space with other CPUs: one flush before the first unlink, one after
# the tables are freed. Where tables are freed by RCU, each full batch of 509 is one more.
function bound(base, operation, layout, n) {
	if (operation == "mprotect")
		return 1
	if (operation == "munmap" || operation == "mmap(MAP_FIXED)") {
		if (layout == "table kept" || layout == "PFN last")
			return 1
		return 2 + (base !~ /^6\.12?$/ && layout == "apart" ? int((n + n / 512) / 509) : 0)
	}
	return -1
}

# Of some numbers the one that @part of them are less than
function run(list, part,    n, v, i, j, t) {
	n = split(list, v, " ")
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) {
			t = v[j]
			v[j] = v[j - 1]
			v[j - 1] = t
		}
	return v[1 + int((n - 1) * part)] + 0
}

function within(part) {
	return worst["after", part] <= limit[case_] * worst["before", part] ||
		worst["after", part] <= worst["before", part] + slack[case_]
}

BEGIN { FS = "," }
FNR == 1 { next }
$5 == "vmlinux" {
	check($10 <= ($3 != "x86_64" ? 0 : $1 ~ /^6/ ? 256 : 1024), $1 " " $3 ": the kernel grows by " $10 " bytes")
	next
}
{ measured = 1 }
# The least of many runs is the one that no interrupt fell into. Two boots of a kernel
# differ, by where they have put things: the worse counts. What allocates now and then comes upon more work of the
# allocator: where the least is too much, the median tells.
$3 ~ /icount/ && $5 != "exit" {
	case_ = $1 " " $3 ": " $5 ", " $6 ", " $7 " VMAs"
	limit[case_] = $3 != "icount" ? 1.0005 : $6 == "no PFN" ? 1.001 : 1.02
	slack[case_] = $3 != "icount" ? 0 : ($1 ~ /^6/ ? 5 : 8) * $7
	runs[case_, $2, $4] = runs[case_, $2, $4] " " $11
	boots[$4] = names[$2] = 1
}
$3 ~ /-icount/ { next }
{
	place = $1 " " $2 ", " $3 " CPUs: " $5 ", " $6 ", " $7 " VMAs"
	if (!(place in flushes)) {
		order[++places] = place
		flushes[place] = $8
		before[place] = $1 " before" substr(place, length($1 " " $2) + 1)
		base[place] = $1; kernel[place] = $2; cpus[place] = $3; operation[place] = $5; layout[place] = $6; n[place] = $7
	} else if (flushes[place] != $8 && $5 != "exit") {
		varies[place] = varies[place] " " $8
	}
	# The last thread of a process may have been alone on its CPU, and then has nobody to tell.
	if ($5 == "exit" && $8 > 1)
		varies[place] = varies[place] " " $8
}
END {
	if (!measured)
		check(0, "nothing was measured")
	for (i = 1; i <= places; i++) {
		p = order[i]
		check(!(p in varies), p ": " flushes[p] " flushes, and in other boots" varies[p])
		if (kernel[p] != "after")
			continue
		b = before[p]
		if (operation[p] == "exit")
			continue
		check(flushes[p] <= flushes[b], p ": " flushes[p] " flushes, before the series " flushes[b])
		least = bound(base[p], operation[p], layout[p], n[p])
		if (least < 0 || cpus[p] == 1 || cpus[p] == "icount" || layout[p] == "no PFN" || layout[p] == "batch fills")
			continue
		check(flushes[p] <= least, p ": " flushes[p] " flushes, " least " would do")
	}
	for (case_ in limit) {
		split("", worst)
		for (boot in boots)
			for (kernel_ in names)
				for (part = 0; part <= 0.5; part += 0.5) {
					one = run(runs[case_, kernel_, boot], part)
					if (one > worst[kernel_, part])
						worst[kernel_, part] = one
				}
		check(within(0) || within(0.5), case_ ": " worst["after", 0] " ticks, before the series " worst["before", 0])
	}
	print passed + 0 " passed, " failed + 0 " failed"
	exit failed || !passed
}
