# SPDX-License-Identifier: GPL-2.0
# Makes tables from what proofs/bench wrote of one base, and the file @points, of which the plots are made: lines
# 'plot curve x y [least most]'.

# Of some numbers; sets least and most, too
function median(list,    n, v, i, j, t) {
	n = split(list, v, " ")
	for (i = 2; i <= n; i++) {
		t = v[i]
		for (j = i - 1; j > 0 && v[j] > t; j--)
			v[j + 1] = v[j]
		v[j + 1] = t
	}
	least = v[1]
	most = v[n]
	return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

function range(list) {
	median(list)
	return least == most ? least : least " to " most
}

# Time before, divided by time after, pair by pair of boots; sets least and most
function ratio(case_,    list, i) {
	list = ""
	for (i = 1; ("after", i, case_) in ticks; i++)
		list = list " " median(ticks["before", i, case_]) / median(ticks["after", i, case_])
	return median(list)
}

# A table of what one CPU of @arch executes in the guest @guest
function instructions(arch, guest,    i, was, is) {
	if (!counted[guest])
		return
	print "\n| " arch ", 1 CPU: operation, layout, VMAs | instructions | of before |\n|---|---|---|"
	for (i = 1; i <= counted[guest]; i++) {
		was = count["before", guest, icounts[guest, i]]
		is = count["after", guest, icounts[guest, i]]
		printf "| %s | %d → %d | %.4f |\n", icounts[guest, i], was, is, is / was
	}
	printf "| most that two boots of one kernel differ by | %d | %.4f |\n", apart[guest], 1 + part[guest]
	print "| bytes of `vmlinux` more (bloat-o-meter) | " bytes[arch] " | |"
}

BEGIN { FS = "," }
FNR == 1 { next }
$5 == "vmlinux" {
	bytes[$3] = $10
	next
}
{ case_ = $5 ", " $6 ", " $7 }
$3 ~ /icount/ {
	# The least is the run that no interrupt fell into.
	if ($5 == "exit")
		next
	if (!seen_icount[$3, case_]++)
		icounts[$3, ++counted[$3]] = case_
	if (!(($2, $3, case_) in count) || $11 < count[$2, $3, case_])
		count[$2, $3, case_] = $11
	if (!(($2, $3, case_, $4) in boot) || $11 < boot[$2, $3, case_, $4])
		boot[$2, $3, case_, $4] = $11
	next
}
{ ipis[$2, $3, case_] = ipis[$2, $3, case_] " " $9 }
$3 == 4 {
	if (!seen_case[case_]++) {
		cases[++n] = case_
		operation[n] = $5
		group[n] = $5 ", " $6
		vmas[n] = $7
	}
	if ($7 > largest[$5 ", " $6])
		largest[$5 ", " $6] = $7
	flushes[$2, case_] = $8
	ticks[$2, $4, case_] = ticks[$2, $4, case_] " " $11
}
END {
	for (any in boot) {
		split(any, key, SUBSEP)
		more = boot[any] - count[key[1], key[2], key[3]]
		if (more > apart[key[2]])
			apart[key[2]] = more
		if (more / boot[any] > part[key[2]])
			part[key[2]] = more / boot[any]
	}
	split("before after", kernel, " ")
	printf "" >points
	print "| 4 CPUs: operation, layout, VMAs | flushes | IPIs received | times as fast |\n|---|---|---|---|"
	for (i = 1; i <= n; i++) {
		r = ratio(cases[i])
		from = least
		to = most
		if (group[i] ~ /^(munmap|mprotect), adjacent/)
			print "speedup", operation[i], vmas[i], r, from, to >points
		if (group[i] == "munmap, adjacent")
			for (k = 1; k <= 2; k++)
				print "flushes", kernel[k], vmas[i], flushes[kernel[k], cases[i]] >points
		if (vmas[i] != 1 && vmas[i] != 1024 && vmas[i] != largest[group[i]])
			continue
		printf "| %s | %d → %d | %s → %s | %.2f (%.2f to %.2f) |\n", cases[i], flushes["before", cases[i]],
			flushes["after", cases[i]], range(ipis["before", 4, cases[i]]), range(ipis["after", 4, cases[i]]), r,
			from, to
	}
	for (cpus = 2; cpus <= 8; cpus *= 2)
		for (k = 1; k <= 2; k++)
			print "ipis", kernel[k], cpus, median(ipis[kernel[k], cpus, "munmap, adjacent, 1024"]) >points
	instructions("x86_64", "icount")
	instructions("arm64", "arm64-icount")
	instructions("riscv", "riscv-icount")
}
