# SPDX-License-Identifier: GPL-2.0
load top.'/common.gp'
set title 'Time before, divided by time with the series: 6.12, 4 CPUs; median, least and greatest of the pairs'
set xlabel 'N'
set ylabel 'times as fast'
operations = 'munmap mmap(MAP_FIXED) mprotect'
plot for [i=1:3] '6.12 '.word(operations, i) using 1:2:3:4 with yerrorlines lw 2 lc rgb colour(i) title word(operations, i)
