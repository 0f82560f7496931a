# SPDX-License-Identifier: GPL-2.0
# Grey text and lines, and no background: readable on light and on dark pages.
set terminal svg noenhanced size 720,400 dynamic font 'sans-serif,13'
grey = '#808080'
set border lc rgb grey
set tics textcolor rgb grey
set key textcolor rgb grey left top
set xlabel textcolor rgb grey
set ylabel textcolor rgb grey
set title textcolor rgb grey
set grid lc rgb grey lt 0
colour(i) = i == 1 ? '#d95f02' : i == 2 ? '#1b9e77' : '#7570b3'
set logscale xy
