// SPDX-License-Identifier: GPL-2.0
/// Who calls what, and where; who has a gather handed in; who is called back by a page walk. 'make audit' (proofs/audit)
/// makes of it which locks may go while a gather is open.
// One line each, tabs: call FILE LINE FUNCTION CALLED | gather FILE FUNCTION | walk FILE FUNCTION

@call@
identifier g;
position p;
@@
g@p(...)

@script:python@
g << call.g;
p << call.p;
@@
print("call", p[0].file, p[0].line, p[0].current_element, g, sep="\t")

@gather@
identifier f, tlb;
position p;
@@
f@p(..., struct mmu_gather *tlb, ...) { ... }

@script:python@
f << gather.f;
p << gather.p;
@@
print("gather", p[0].file, f, sep="\t")

@walk@
identifier f, w;
position p;
@@
f@p(..., struct mm_walk *w, ...) { ... }

@script:python@
f << walk.f;
p << walk.p;
@@
print("walk", p[0].file, f, sep="\t")
