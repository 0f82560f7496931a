// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for the rules of the mmu_gather, on VMAs that were never mapped: a VM_PFNMAP
 * or VM_MIXEDMAP VMA ("PFN VMA") is unlinked only when nothing of it is pending in any
 * gather of the mm; a finished gather leaves nothing pending; a flush covers each address
 * and level that it is for; PFN VMAs share one, page tables another. So it is after each
 * operation of all short sequences, after what another gather may have done:
 *
 *  P M A  a VMA begins: PFNMAP, MIXEDMAP, anonymous	z  an entry of it is cleared
 *  p m a  such a VMA is unlinked			e  it ends
 *  T  a page table is freed				F  a batch is full
 *  B  another gather is opened				b  and finished
 *  X Y  it clears an entry of PFNMAP, of MIXEDMAP	R  a driver revokes
 *  .  the gather is finished
 *
 * What a gather has flushed is what it had pending before it was reset, and everything if it
 * finishes beside another: real flushes are seen on a real mm, in mmu_gather_mm_kunit.c.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/sched/mm.h>

#include <asm/tlb.h>

#define BASE		0x10000000UL	/* nothing special on any architecture */
#define MAX_LENGTH	8

#ifndef HOOK
static void tlb_free_vma(struct mmu_gather *tlb, struct vm_area_struct *vma)
{
#ifdef HOOK_FOR_ALL
	tlb_free_vmas(tlb);
#endif
}

#endif
enum { PFN, MIXED, ANON, NR_VMAS, TABLE = NR_VMAS, NR_ITEMS };
#define PFN_VMAS	(BIT(PFN) | BIT(MIXED))
#define HUGE_ITEMS	(BIT(MIXED) | BIT(TABLE))	/* at least to be flushed as PMDs */
#define ADDR(item)	(BASE + (item) * 2 * PMD_SIZE)

/* What an operation changes, so that another one can be tried instead. */
struct state {
	struct mmu_gather tlb, other;
	bool other_open, nested;
	int inside, counted;
	unsigned int walked, unlinked, pending;		/* bits of VMAs, and of items */
	unsigned int flushes, most;
};

struct world {
	struct state now, before[MAX_LENGTH + 1];
	char ops[MAX_LENGTH + 8];
	unsigned long sequences;
	struct mm_struct *mm;
	struct vm_area_struct vma[NR_VMAS];
};

static void clear(struct world *w, struct mmu_gather *tlb, int item)
{
	if (BIT(item) & HUGE_ITEMS)
		tlb_flush_pmd_range(tlb, ADDR(item), PAGE_SIZE);
	else
		tlb_flush_pte_range(tlb, ADDR(item), PAGE_SIZE);
	w->now.pending |= BIT(item);
}

static void flushed(struct world *w, struct mmu_gather *tlb, bool all)
{
	int i;

	w->now.flushes += w->now.pending ? 1 : MAX_LENGTH;	/* never for nothing */
	for (i = 0; i < NR_ITEMS; i++)
		if (all || (tlb->start == 0 && tlb->end >= TASK_SIZE) ||
		    (tlb->start <= ADDR(i) && ADDR(i) < tlb->end &&
		     (tlb->cleared_ptes || (tlb->cleared_pmds && (BIT(i) & HUGE_ITEMS))) &&
		     (i != TABLE || tlb->freed_tables)))
			w->now.pending &= ~BIT(i);
}

static int vma_of(char op)
{
	return strchr("PpX", op) ? PFN : strchr("MmY", op) ? MIXED : ANON;
}

/* VMAs are walked one after the other, and then unlinked in any order. */
static bool possible(struct state *now, char op)
{
	bool inside = now->inside >= 0;

	if (strchr("PMA", op))
		return !inside && !now->unlinked && !(now->walked & BIT(vma_of(op)));
	if (strchr("pma", op))
		return !inside && (now->walked & ~now->unlinked & BIT(vma_of(op)));
	return strchr("ze", op) ? inside : op == '.' ? !inside : op != 'b' || now->other_open;
}

static void apply(struct world *w, char op)
{
	struct state *now = &w->now;
	struct mmu_gather before, revoker, *tlb = op == 'R' ? &revoker :
						  strchr("BXYb", op) ? &now->other : &now->tlb;
	int vma = strchr("ze", op) ? now->inside : op == 'T' ? TABLE : vma_of(op);
	bool all = false;

	if (strchr("BR", op)) {
		tlb_gather_mmu(tlb, w->mm);
		now->nested = true;
		now->other_open |= op == 'B';
	}
	if (strchr("PMAXY", op))
		tlb_start_vma(tlb, &w->vma[vma]);
	if (strchr("PMA", op))
		now->inside = vma;
	if (strchr("zXYT", op))
		clear(w, tlb, vma);
	tlb->freed_tables |= op == 'T';
	before = *tlb;
	if (strchr("eXY", op))
		tlb_end_vma(tlb, &w->vma[vma]);
	if (op == 'e') {
		now->inside = -1;
		now->walked |= BIT(vma);
		now->most += !IS_ENABLED(CONFIG_MMU_GATHER_MERGE_VMAS);
	}
	if (strchr("pma", op)) {
		tlb_free_vma(tlb, &w->vma[vma]);
		now->unlinked |= BIT(vma);
	}
	if (op == 'F') {
		tlb_flush_mmu(tlb);
		now->most++;
	}
	if (strchr("Rb.", op)) {
		all = mm_tlb_flush_nested(w->mm);
		tlb_finish_mmu(tlb);
		now->other_open &= op != 'b';
	}
	if (all || (before.end && (!tlb->end || strchr("Rb.", op))))
		flushed(w, &before, all);
}

/* What must not be, after that operation. */
static const char *wrong(struct world *w, char op)
{
	struct state *now = &w->now;

	if (now->pending && strchr(".b", op))
		return "gather finished, something is pending";
	if (now->pending & now->unlinked & PFN_VMAS)
		return "PFN VMA unlinked, something of it is pending";
	if ((now->pending & PFN_VMAS) && op == 'R')
		return "PFN VMA revoked, something of it is pending";
	if (now->flushes > now->most && !now->nested)
		return "more flushes than one for PFN VMAs and one for tables";
	if (mm_tlb_flush_pending(w->mm) != (op != '.' || now->other_open))
		return "not as many gathers are counted as are open";
	return NULL;
}

/* Up to @left more operations and a last one; NULL, or what is wrong with w->ops. */
static const char *search(struct world *w, unsigned int at, unsigned int left)
{
	const char *op, *why = NULL;

	w->before[left] = w->now;
	w->before[left].counted = atomic_read(&w->mm->tlb_flush_pending);
	for (op = left ? "PMAzepmaTFRb." : "."; *op && !why; op++) {
		if (!possible(&w->now, *op))
			continue;
		w->ops[at] = *op;
		w->ops[at + 1] = 0;
		apply(w, *op);
		w->sequences += *op == '.';
		why = wrong(w, *op) ?: *op == '.' ? NULL : search(w, at + 1, left - 1);
		w->now = w->before[left];
		atomic_set(&w->mm->tlb_flush_pending, w->now.counted);
	}
	cond_resched();
	return why;
}

static void all_sequences(struct kunit *test)
{
	/* What the other gather has done before. */
	static const char * const beginnings[] = { "", "BX", "BY", "BXY", "BXYb" };
	static const vm_flags_t flags[NR_VMAS] = { VM_PFNMAP, VM_MIXEDMAP, 0 };
	struct world *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);
	const char *why, *op;
	unsigned int i, nr;

	KUNIT_ASSERT_NOT_NULL(test, w);
	w->mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, w->mm);
	for (i = 0; i < NR_VMAS; i++) {
		vma_init(&w->vma[i], w->mm);
#ifdef VM_FLAGS_SET
		vm_flags_init(&w->vma[i], flags[i]);
#else
		w->vma[i].vm_flags = flags[i];
#endif
		w->vma[i].vm_start = ADDR(i);
		w->vma[i].vm_end = ADDR(i + 1);
	}
	for (nr = 0; nr < ARRAY_SIZE(beginnings); nr++) {
		w->now = (struct state){ .inside = -1, .most = 2 };
		atomic_set(&w->mm->tlb_flush_pending, 0);
		/* A gather lives on the stack: nothing in it is zero by itself. */
		memset(&w->now.tlb, 0xff, sizeof(w->now.tlb));
		tlb_gather_mmu(&w->now.tlb, w->mm);
		strscpy(w->ops, beginnings[nr], sizeof(w->ops));
		for (op = w->ops; *op; op++)
			apply(w, *op);
		/* What is wrong is found in a short sequence first. */
		for (i = 2, why = NULL; !why && i <= (nr ? MAX_LENGTH - 1 : MAX_LENGTH); i++)
			why = search(w, strlen(beginnings[nr]), i);
		KUNIT_EXPECT_NULL_MSG(test, why, "%s: %s", w->ops, why);
	}
	kunit_info(test, "%lu sequences", w->sequences);
	mmput(w->mm);
}

#ifdef CASE_SLOW
static struct kunit_case sequences_cases[] = { KUNIT_CASE_SLOW(all_sequences), {} };
#else
static struct kunit_case sequences_cases[] = { KUNIT_CASE(all_sequences), {} };
#endif

static struct kunit_suite sequences_suite = {
	.name = "mmu_gather_sequences",
	.test_cases = sequences_cases,
};

kunit_test_suite(sequences_suite);
