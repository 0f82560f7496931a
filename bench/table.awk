# SPDX-License-Identifier: GPL-2.0
# Makes tables from what proofs/bench wrote, and in the folder @plots a file for each plot: curves, each with a name and
# lines 'x y [least most]'; those that coincide are one, named for all.

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
function ratio(base, case_,    list, i) {
	list = ""
	for (i = 1; (base, "after", i, case_) in ticks; i++)
		list = list " " median(ticks[base, "before", i, case_]) / median(ticks[base, "after", i, case_])
	return median(list)
}

function times(base, case_,    r) {
	r = ratio(base, case_)
	return sprintf("%.2f (%.2f to %.2f)", r, least, most)
}

function row(first, cells,    b) {
	printf "| %s |", first
	for (b = 1; b <= bases; b++)
		printf cells, base[b]
	print ""
}

# A table of what one CPU of @arch executes in the guest @guest
function instructions(arch, guest,    i, b, was, is) {
	if (!counted[guest])
		return
	print ""
	row(arch ", 1 CPU: operation, layout, VMAs", " %s: instructions | of before |")
	row("---", "---|---|")
	for (i = 1; i <= counted[guest]; i++) {
		printf "| %s |", icounts[guest, i]
		for (b = 1; b <= bases; b++) {
			if (!((base[b], "after", guest, icounts[guest, i]) in count)) {
				printf " - | - |"
				continue
			}
			was = count[base[b], "before", guest, icounts[guest, i]]
			is = count[base[b], "after", guest, icounts[guest, i]]
			printf " %d → %d | %.4f |", was, is, is / was
		}
		print ""
	}
	printf "| most that two boots of one kernel differ by |"
	for (b = 1; b <= bases; b++)
		printf " %d | %.4f |", apart[base[b], guest], 1 + part[base[b], guest]
	print ""
	printf "| bytes of `vmlinux` more (bloat-o-meter) |"
	for (b = 1; b <= bases; b++)
		printf " %s | |", (base[b], arch) in bytes ? bytes[base[b], arch] : "-"
	print ""
}

# What is on the y axis of a plot
function height(plot, base, kernel, x) {
	if (plot == "flushes")
		return flushes[base, kernel, "munmap, adjacent, " x]
	return median(ipis[base, kernel, x, "munmap, adjacent, 1024"])
}

# Writes the curves of a plot over the list @xs: one for all bases and kernels whose values are the same but for a hundredth.
function curves(plot, xs,    n, x, i, b, k, kernel, key, name, order, count, points) {
	n = split(xs, x, " ")
	for (k = split("after before", kernel, " "); k > 0; k--)
		for (b = 1; b <= bases; b++) {
			key = ""
			for (i = 1; i <= n; i++)
				key = key sprintf(" %.2g", height(plot, base[b], kernel[k], x[i]))
			if (!(key in points)) {
				order[++count] = key
				for (i = 1; i <= n; i++)
					points[key] = points[key] x[i] " " height(plot, base[b], kernel[k], x[i]) "\n"
			}
			name[key, k] = name[key, k] (name[key, k] ? ", " : "") base[b]
		}
	for (k = 1; k <= count; k++) {
		key = order[k]
		if (name[key, 1])
			name[key, 1] = "with the series: " name[key, 1] (name[key, 2] ? "; " : "")
		if (name[key, 2])
			name[key, 2] = "before: " name[key, 2]
		printf "\"%s%s\"\n%s\n\n", name[key, 1], name[key, 2], points[key] >(plots "/" plot ".dat")
	}
}

BEGIN { FS = "," }
FNR == 1 { next }
!seen_base[$1]++ { base[++bases] = $1 }
$5 == "vmlinux" {
	bytes[$1, $3] = $10
	next
}
{ case_ = $5 ", " $6 ", " $7 }
$3 ~ /icount/ {
	# The least is the run that no interrupt fell into.
	if ($5 == "exit")
		next
	if (!seen_icount[$3, case_]++)
		icounts[$3, ++counted[$3]] = case_
	if (!(($1, $2, $3, case_) in count) || $11 < count[$1, $2, $3, case_])
		count[$1, $2, $3, case_] = $11
	if (!(($1, $2, $3, case_, $4) in boot) || $11 < boot[$1, $2, $3, case_, $4])
		boot[$1, $2, $3, case_, $4] = $11
	next
}
{
	ipis[$1, $2, $3, case_] = ipis[$1, $2, $3, case_] " " $9
}
$3 == 4 {
	if (!seen_case[case_]++) {
		cases[++n] = case_
		group[n] = $5 ", " $6
		vmas[n] = $7
	}
	if ($7 > largest[$5 ", " $6])
		largest[$5 ", " $6] = $7
	flushes[$1, $2, case_] = $8
	ticks[$1, $2, $4, case_] = ticks[$1, $2, $4, case_] " " $11
}
END {
	for (any in boot) {
		split(any, key, SUBSEP)
		more = boot[any] - count[key[1], key[2], key[3], key[4]]
		if (more > apart[key[1], key[3]])
			apart[key[1], key[3]] = more
		if (more / boot[any] > part[key[1], key[3]])
			part[key[1], key[3]] = more / boot[any]
	}
	row("4 CPUs: operation, layout, VMAs", " %s: flushes | IPIs received | times as fast |")
	row("---", "---|---|---|")
	for (i = 1; i <= n; i++) {
		for (b = 1; b <= bases; b++) {
			if (base[b] == "6.12" && group[i] ~ /^(munmap|mprotect), adjacent/) {
				r = ratio(base[b], cases[i])
				operation = group[i]
				sub(/,.*/, "", operation)
				speedup[operation] = speedup[operation] vmas[i] " " r " " least " " most "\n"
			}
		}
		if (vmas[i] != 1 && vmas[i] != 1024 && vmas[i] != largest[group[i]])
			continue
		printf "| %s |", cases[i]
		for (b = 1; b <= bases; b++) {
			printf " %d → %d | %s → %s | %s |", flushes[base[b], "before", cases[i]],
				flushes[base[b], "after", cases[i]], range(ipis[base[b], "before", 4, cases[i]]),
				range(ipis[base[b], "after", 4, cases[i]]), times(base[b], cases[i])
		}
		print ""
	}
	instructions("x86_64", "icount")
	instructions("arm64", "arm64-icount")
	instructions("riscv", "riscv-icount")
	curves("flushes", "1 4 16 64 256 1024 4096")
	curves("ipis", "2 4 8")
	for (operation in speedup)
		printf "\"%s()\"\n%s\n\n", operation, speedup[operation] >(plots "/speedup.dat")
}
