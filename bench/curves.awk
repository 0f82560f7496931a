# SPDX-License-Identifier: GPL-2.0
# From results/bench-BASE.dat, lines 'plot curve x y', the curves of @plot for gnuplot: those of before first; those that
# coincide but for a hundredth are one, named for all.
FNR == 1 {
	base = FILENAME
	gsub(/.*bench-|\.dat$/, "", base)
}
$1 == plot {
	if (!((base, $2) in rough))
		order[++n] = base SUBSEP $2
	rough[base, $2] = rough[base, $2] sprintf(" %.2g", $4)
	exact[base, $2] = exact[base, $2] $3 " " $4 "\n"
}
END {
	split("before after", kernel, " ")
	for (k = 1; k <= 2; k++)
		for (i = 1; i <= n; i++) {
			split(order[i], at, SUBSEP)
			if (at[2] != kernel[k])
				continue
			curve = rough[order[i]]
			if (!(curve in points)) {
				curves[++count] = curve
				points[curve] = exact[order[i]]
			}
			name[curve, k] = name[curve, k] (name[curve, k] ? ", " : "") at[1]
		}
	for (i = 1; i <= count; i++) {
		curve = curves[i]
		before = name[curve, 1] ? "before: " name[curve, 1] : ""
		after = name[curve, 2] ? "with the series: " name[curve, 2] : ""
		printf "\"%s%s%s\"\n%s\n\n", after, after && before ? "; " : "", before, points[curve]
	}
}
