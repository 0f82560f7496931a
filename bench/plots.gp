# SPDX-License-Identifier: GPL-2.0
# Draws bench/report's *.dat into the folder @results. Grey text, strong lines and no background: readable on light
# and on dark pages.
set terminal svg noenhanced size 720,360 dynamic font 'sans-serif,14'
grey = '#808080'
set border 3 lw 1.5 lc rgb grey
set tics nomirror textcolor rgb grey
set key textcolor rgb grey left top Left reverse samplen 3 spacing 1.3
set title textcolor rgb grey
set grid ytics lc rgb grey lw 0.3
set logscale xy
set tics scale 0.6, 0
colour(i) = i == 0 ? '#e8590c' : i == 1 ? '#1fa187' : '#4c7fe0'
curves = "using 1:2 with linespoints lw 4 pt 7 ps 0.8 lc rgb colour(i) title columnheader(1)"

set output results . 'flushes.svg'
set title 'TLB flushes of one munmap() of N PFN VMAs'
set xlabel 'N' textcolor rgb grey
set xtics 4
set yrange [1:20000]
plot for [i=0:*] 'flushes.dat' index i @curves

set output results . 'ipis.svg'
set title 'IPIs of one munmap() of 1024 PFN VMAs'
set xlabel 'CPUs that run a thread of the process'
set xtics (2, 4, 8)
set xrange [1.8:9]
set yrange [1:200000]
plot for [i=0:*] 'ipis.dat' index i @curves

set output results . 'speedup.svg'
set title 'How many times as fast with the series: 6.12, 4 CPUs, median and range'
set xlabel 'N'
set xtics (1, 4, 16, 64, 256, 1024, 4096)
set xrange [0.9:5000]
set yrange [0.5:20]
set ytics (0.5, 1, 2, 4, 8, 16)
set style fill transparent solid 0.25 noborder
plot 1 with lines lw 2 dt 2 lc rgb grey title 'before', \
	for [i=0:1] 'speedup.dat' index i using 1:3:4 with filledcurves lc rgb colour(i + 1) notitle, \
	for [i=0:1] 'speedup.dat' index i using 1:2 with linespoints lw 4 pt 7 ps 0.8 lc rgb colour(i + 1) title columnheader(1)
