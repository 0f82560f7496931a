# SPDX-License-Identifier: GPL-2.0
load top.'/common.gp'
set title 'Flushes of munmap() of N neighbouring PFN VMAs, 4 CPUs'
set xlabel 'N'
set ylabel 'flushes'
set yrange [0.8:*]
plot for [i=1:words(bases)] word(bases, i).' flushes' using 1:2 with linespoints lw 2 dt 2 lc rgb colour(i) \
		title word(bases, i).' before', \
	for [i=1:words(bases)] word(bases, i).' flushes' using 1:3 with linespoints lw 2 lc rgb colour(i) \
		title word(bases, i).' with the series'
