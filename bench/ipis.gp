# SPDX-License-Identifier: GPL-2.0
load top.'/common.gp'
set title 'IPIs received during munmap() of 1024 neighbouring PFN VMAs'
set xlabel 'CPUs that run a thread of the process'
set ylabel 'IPIs'
set xtics (2, 4, 8)
set xrange [1.8:9]
set key right center
plot for [i=1:words(bases)] word(bases, i).' ipis' using 1:2 with linespoints lw 2 dt 2 lc rgb colour(i) \
		title word(bases, i).' before', \
	for [i=1:words(bases)] word(bases, i).' ipis' using 1:3 with linespoints lw 2 lc rgb colour(i) \
		title word(bases, i).' with the series'
