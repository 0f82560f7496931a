// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for the rules of the mmu_gather, on VMAs that were never mapped:
 *
 *  - a VM_PFNMAP or VM_MIXEDMAP VMA ("PFN VMA") is unlinked only when nothing
 *    of it is pending, in no gather of the mm;
 *  - nor is anything of it when unmap_mapping_range() returns;
 *  - nothing at all is pending when a gather is finished;
 *  - a flush covers each address and each level that it is for;
 *  - all PFN VMAs share one flush, and all page tables another.
 *
 * They are checked after each operation of all short sequences of
 *
 *  P M A  a VMA begins: PFNMAP, MIXEDMAP, anonymous	z  an entry of it is cleared
 *  p m a  such a VMA is unlinked			e  it ends
 *  T  a page table is freed				F  a batch is full
 *  S  the page size changes twice			R  a driver revokes
 *  B  another gather is opened				b  and finished
 *  X Y  it clears an entry of PFNMAP, of MIXEDMAP	.  the gather is finished
 *
 * Flushes are seen by an mmu notifier; on architectures that don't call it, by
 * what is left in the gather. mmu_gather_mm_kunit.c tests the same on a real mm.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/mm.h>

#include <asm/tlb.h>

#define MERGE_VMAS	IS_ENABLED(CONFIG_MMU_GATHER_MERGE_VMAS)
#define VM_PFN		(VM_PFNMAP | VM_MIXEDMAP)
#define BASE		0x10000000UL	/* nothing special on any architecture */
#define MAX_LENGTH	9

#ifndef VM_FLAGS_SET
static void vm_flags_init(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags = flags;
}

#endif
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

/* What an operation changes, so that another one can be tried instead. */
struct state {
	struct mmu_gather tlb, other;
	bool open, other_open, nested;
	int inside, counted;
	/* Bits of VMAs, and of what else can be pending. */
	unsigned int walked, unlinked, pending;
	unsigned int flushes, most;
	const char *wrong;
};

struct world {
	struct state now, before[MAX_LENGTH + 1];
	char ops[MAX_LENGTH + 8];
	unsigned long sequences;
	struct mm_struct *mm;
	struct mmu_notifier mn;
	bool registered, observes;
	struct mmu_gather *flushing;
	struct vm_area_struct vma[NR_VMAS];
	int level[NR_ITEMS];
};

static unsigned long addr_of(int item)
{
	return BASE + item * 2 * PMD_SIZE;
}

static void flushed(struct world *w, unsigned long start, unsigned long end)
{
	struct mmu_gather *tlb = w->flushing;
	unsigned int levels = tlb->cleared_ptes | tlb->cleared_pmds << 1 |
			      tlb->cleared_puds << 2 | tlb->cleared_p4ds << 3;
	int i;

	w->now.flushes++;
	for (i = 0; i < NR_ITEMS; i++)
		if ((start == 0 && end >= TASK_SIZE) ||
		    (start <= addr_of(i) && addr_of(i) < end && (levels & BIT(w->level[i])) &&
		     (i != TABLE || tlb->freed_tables)))
			w->now.pending &= ~BIT(i);
	if (!mm_tlb_flush_pending(w->mm))
		w->now.wrong = "flushed by a gather that is not counted";
}

static void observe(struct mmu_notifier *mn, struct mm_struct *mm,
		    unsigned long start, unsigned long end)
{
#ifdef INVALIDATE_RANGE
	/* An empty range stands for all of the mm. */
	if (start >= end) {
		start = 0;
		end = ULONG_MAX;
	}
#endif
	flushed(container_of(mn, struct world, mn), start, end);
}

static const struct mmu_notifier_ops observer_ops = {
#ifdef INVALIDATE_RANGE
	.invalidate_range = observe,
#else
	.arch_invalidate_secondary_tlbs = observe,
#endif
};

static void clear(struct world *w, struct mmu_gather *tlb, int item)
{
	static void (* const by_level[])(struct mmu_gather *tlb, unsigned long address,
					 unsigned long size) = {
		tlb_flush_pte_range, tlb_flush_pmd_range, tlb_flush_pud_range, tlb_flush_p4d_range,
	};

	by_level[w->level[item]](tlb, addr_of(item), PAGE_SIZE);
	w->now.pending |= BIT(item);
}

static int vma_of(char op)
{
	return strchr("PpX", op) ? PFN : strchr("MmY", op) ? MIXED : ANON;
}

/* VMAs are walked one after the other, and then unlinked in any order. */
static bool possible(struct state *now, char op)
{
	if (strchr("PMA", op))
		return now->inside < 0 && !now->unlinked && !(now->walked & BIT(vma_of(op)));
	if (strchr("pma", op))
		return now->inside < 0 && (now->walked & ~now->unlinked & BIT(vma_of(op)));
	if (strchr("ze", op))
		return now->inside >= 0;
	if (op == 'S')
		return IS_ENABLED(CONFIG_MMU_GATHER_PAGE_SIZE);
	return op == '.' ? now->inside < 0 : op != 'b' || now->other_open;
}

static void apply(struct world *w, char op)
{
	struct state *now = &w->now;
	struct mmu_gather revoker = {}, *tlb = op == 'R' ? &revoker : strchr("BXYb", op) ?
				       &now->other : &now->tlb;
	int vma = strchr("ze", op) ? now->inside : vma_of(op);
	bool finish = strchr("Rb.", op), pending = op != 'B' && tlb->end;

	w->flushing = tlb;
	switch (op) {
	case 'P': case 'M': case 'A':
		tlb_start_vma(tlb, &w->vma[vma]);
		now->inside = vma;
		break;
	case 'z':
		clear(w, tlb, vma);
		break;
	case 'e':
		tlb_end_vma(tlb, &w->vma[vma]);
		now->inside = -1;
		now->walked |= BIT(vma);
		now->most += !MERGE_VMAS;
		break;
	case 'p': case 'm': case 'a':
		tlb_free_vma(tlb, &w->vma[vma]);
		now->unlinked |= BIT(vma);
		break;
	case 'T':
		clear(w, tlb, TABLE);
		tlb->freed_tables = 1;
		break;
	case 'F':
		tlb_flush_mmu(tlb);
		now->most++;
		break;
	case 'S':
		tlb_change_page_size(tlb, PAGE_SIZE);
		tlb_change_page_size(tlb, PMD_SIZE);
		now->most += 2;
		break;
	case 'R': case 'B':
		tlb_gather_mmu(tlb, w->mm);
		now->nested = true;
		now->other_open |= op == 'B';
		break;
	case 'X': case 'Y':
		tlb_start_vma(tlb, &w->vma[vma]);
		clear(w, tlb, vma);
		pending = true;
		tlb_end_vma(tlb, &w->vma[vma]);
	}
	if (finish) {
		pending |= mm_tlb_flush_nested(w->mm);
		tlb_finish_mmu(tlb);
		now->open &= op != '.';
		now->other_open &= op != 'b';
	}
	if (!w->observes && pending && (finish || !tlb->end))
		flushed(w, 0, TASK_SIZE);
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
	if (!now->open && !now->other_open && mm_tlb_flush_pending(w->mm))
		return "no gather is open, one is counted";
	return now->wrong;
}

static void begin(struct world *w, const char *ops)
{
	memset(&w->now, 0, sizeof(w->now));
	/* A gather lives on the stack: nothing in it is zero by itself. */
	memset(&w->now.tlb, 0xff, sizeof(w->now.tlb));
	tlb_gather_mmu(&w->now.tlb, w->mm);
	w->now.open = true;
	w->now.inside = -1;
	w->now.most = 2;
	strscpy(w->ops, ops, sizeof(w->ops));
	while (*ops)
		apply(w, *ops++);
}

/* Up to @left more operations and a last one; NULL, or what is wrong with w->ops. */
static const char *search(struct world *w, unsigned int at, unsigned int left)
{
	const char *op, *why = NULL;

	w->before[left] = w->now;
	w->before[left].counted = atomic_read(&w->mm->tlb_flush_pending);
	for (op = left ? "PMAzepmaTFSRb." : "."; *op && !why; op++) {
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

static const struct sequences {
	const char *name, *begin;
	unsigned int length;
	/* Of PFN and MIXED; what is 0 is as always. */
	int level[2];
	vm_flags_t flags[2], other_flags;
} sequences[] = {
	/* As long as is possible in some seconds on an emulator. */
	{ "one gather", "", MAX_LENGTH },
	{ "beside a gather of PFNMAP", "BX", 7 },
	{ "beside a gather of MIXEDMAP", "BY", 7 },
	{ "beside a gather of both", "BXY", 7 },
	{ "after a gather of both", "BXYb", 6 },
	{ "huge PMDs and PUDs", "", 7, { 1, 2 } },
	{ "huge PUDs and P4Ds", "", 7, { 2, 3 } },
	{ "huge entries beside a gather", "BXY", 6, { 2, 1 } },
	{ "as drivers map", "", 6, {}, { VM_PFNMAP | VM_IO | VM_SHARED, VM_PFN | VM_SHARED } },
	{ "private", "", 6, {}, { VM_PFNMAP | VM_MAYWRITE, VM_MIXEDMAP | VM_MAYWRITE } },
	{ "executable", "", 6, {}, { VM_PFNMAP | VM_EXEC, VM_MIXEDMAP | VM_EXEC }, VM_EXEC },
	{ "beside hugetlb", "", 6, {}, {}, VM_HUGETLB },
	{ "beside VM_IO alone", "BXY", 6, {}, {}, VM_IO | VM_SHARED },
};

static void sequences_desc(const struct sequences *from, char *desc)
{
	strscpy(desc, from->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(sequences, sequences, sequences_desc);

static void all_sequences(struct kunit *test)
{
	const struct sequences *from = test->param_value;
	struct world *w = test->priv;
	unsigned int length;
	const char *why;
	int i;

	w->level[PFN] = from->level[0];
	w->level[MIXED] = from->level[1];
	w->level[TABLE] = 1;
	for (i = 0; i < NR_VMAS; i++) {
		vm_flags_init(&w->vma[i], i == ANON ? from->other_flags :
			      from->flags[i] ?: i == PFN ? VM_PFNMAP : VM_MIXEDMAP);
		w->vma[i].vm_start = addr_of(i);
		w->vma[i].vm_end = addr_of(i + 1);
	}
	/* What is wrong is found in a short sequence first. */
	begin(w, from->begin);
	for (length = 2, why = NULL; !why && length <= from->length; length++)
		why = search(w, strlen(from->begin), length);
	if (why)
		KUNIT_FAIL(test, "%s: %s", w->ops, why);
	kunit_info(test, "%lu sequences", w->sequences);
	KUNIT_EXPECT_GT(test, w->sequences, 0);
	apply(w, '.');
	if (w->now.other_open)
		apply(w, 'b');
	if (!w->observes)
		kunit_info(test, "nobody hears of flushes on this architecture");
}

static void sequences_exit(struct kunit *test)
{
	struct world *w = test->priv;

	if (w && w->registered)
		mmu_notifier_unregister(&w->mn, w->mm);
	if (w && w->mm)
		mmput(w->mm);
}

static int sequences_init(struct kunit *test)
{
	struct world *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, w);
	test->priv = w;
	w->mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, w->mm);
	w->mn.ops = &observer_ops;
	KUNIT_ASSERT_EQ(test, mmu_notifier_register(&w->mn, w->mm), 0);
	w->registered = true;
	for (i = 0; i < NR_VMAS; i++)
		vma_init(&w->vma[i], w->mm);
	/* Not every architecture calls the notifier when it flushes: find out. */
	w->observes = true;
	begin(w, "T.");
	w->observes = w->now.flushes;
	return 0;
}

static struct kunit_case sequences_cases[] = {
	KUNIT_CASE_PARAM(all_sequences, sequences_gen_params),
	{}
};

static struct kunit_suite sequences_suite = {
	.name = "mmu_gather_sequences",
	.init = sequences_init,
	.exit = sequences_exit,
	.test_cases = sequences_cases,
};

kunit_test_suite(sequences_suite);

MODULE_DESCRIPTION("KUnit tests for the rules of the mmu_gather");
MODULE_LICENSE("GPL");
