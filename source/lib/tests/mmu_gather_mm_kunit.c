// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for the mmu_gather on a real mm. They hold the kernel to what
 * those who unmap and revoke memory rely on:
 *
 *  - what is unmapped gets flushed, when no page table walk finds it any more,
 *    and its page is held until then;
 *  - when unmap_mapping_range() returns, nobody reaches the pages of a
 *    VM_PFNMAP or VM_MIXEDMAP VMA ("PFN VMA"): not of one that is unlinked
 *    already, nor of one whose entries somebody else has cleared.
 *
 * A layout is what is unmapped, a letter for each VMA:
 *
 *  P  PFNMAP				D  MIXEDMAP, dirty pages with references
 *  Q  PFNMAP, of a second file		C  MIXEDMAP, private, and partly copied
 *  M  MIXEDMAP				B  as C, the copies fill all batches
 *  T  PFNMAP, beyond a page table	A  anonymous
 *  L  PFNMAP, a huge PMD and a page	F  of the first file, but no PFN VMA
 *  G  PFNMAP, a huge PUD		H  hugetlb, without memory
 *  -  far from the next one: they share no page table
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#ifdef PFN_T
#include <linux/pfn_t.h>
#endif
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include <asm/tlb.h>

#include "../../mm/internal.h"	/* unmap_vmas() and move_page_tables() */

#define VM_PFN		(VM_PFNMAP | VM_MIXEDMAP)
#define BASE		0x10000000UL	/* nothing special on any architecture */
#define MAX_VMAS	5
#define PAGES		3UL		/* of most VMAs */
#define NR_PAGES	(MAX_VMAS * PAGES)
#define COPIES		10100UL		/* fill all batches of a gather */

#ifndef VM_FLAGS_SET

static void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}
#endif

static unsigned int race_trials = 6;
module_param(race_trials, uint, 0444);
MODULE_PARM_DESC(race_trials, "Trials of mmu_gather_race with each layout");

/* An address, or a page table, and what has to be true when it is flushed. */
struct watch {
	unsigned long addr;
	bool table, flushed;
	struct address_space *mapping;	/* where its VMA is linked */
	struct page *page;		/* that the gather holds; we do, too */
};

enum { FIRST, SECOND, GATE, HUGE, NR_FILES };

struct world {
	struct mm_struct *mm;
	struct mmu_notifier mn;
#ifdef INVALIDATE_RANGE
	struct mmu_notifier sentinel;
	bool range_ends;
#endif
	bool observes;

	/* The device, and what its next mmap() does. */
	struct file *file[NR_FILES];
	void *memory;
	struct page *large;
	char kind;
	int mmap_error;

	/* What is mapped, what is seen. */
	const char *layout;
	unsigned int nr_vmas, nr_watches, flushes, most;
	struct {
		char kind;
		unsigned long start, end;
	} vma[MAX_VMAS];
	unsigned long start, end;
	struct watch watch[2 * MAX_VMAS * (PAGES + 1)];
	bool write_protects, no_gather;
	const char *wrong;

	/* A race. */
	const char *(*unmaps)(struct world *w);
	struct work_struct reader;
	struct completion ready;
	int result, unclear;
};

/* What a page table walk finds: no page table, no entry, or HUGE_ENTRY | WRITABLE | ENTRY. */
enum { NO_TABLE, NO_ENTRY, ENTRY, WRITABLE = 4, HUGE_ENTRY = 8 };

static int walk(struct mm_struct *mm, unsigned long addr, pte_t *entry)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d = pgd_none(*pgd) ? NULL : p4d_offset(pgd, addr);
	pud_t *pud = !p4d || p4d_none(*p4d) ? NULL : pud_offset(p4d, addr);
	pmd_t *pmd;
	pte_t *pte;

	if (!pud || pud_none(*pud))
		return NO_TABLE;
	if (pud_leaf(*pud))
		return HUGE_ENTRY | ENTRY | (pud_write(*pud) ? WRITABLE : 0);
	pmd = pmd_offset(pud, addr);
	if (pmd_leaf(*pmd))
		return HUGE_ENTRY | ENTRY | (pmd_write(*pmd) ? WRITABLE : 0);
	pte = pmd_none(*pmd) ? NULL : pte_offset_map(pmd, addr);
	if (!pte)
		return NO_TABLE;
	*entry = ptep_get(pte);
	pte_unmap(pte);
	return pte_present(*entry) ? ENTRY | (pte_write(*entry) ? WRITABLE : 0) : NO_ENTRY;
}

static bool gone(struct world *w, struct watch *watch)
{
	pte_t pte;
	int found = walk(w->mm, watch->addr, &pte);

	return watch->table ? found == NO_TABLE :
	       w->write_protects ? !(found & WRITABLE) : found <= NO_ENTRY;
}

/* Does a revoker find it, or does he wait for us? It is us who change i_mmap. */
static bool is_linked(struct mm_struct *mm, struct watch *watch)
{
	bool found = rwsem_is_locked(&watch->mapping->i_mmap_rwsem);
	struct vm_area_struct *vma;

#ifdef RMAP_TREE
	mapping_rmap_tree_foreach(vma, watch->mapping, 0, ULONG_MAX)
#else
	vma_interval_tree_foreach(vma, &watch->mapping->i_mmap, 0, ULONG_MAX)
#endif
		found |= vma->vm_mm == mm && vma->vm_start <= watch->addr &&
			 watch->addr < vma->vm_end;
	return found;
}

/* A flush of what is not gone settles nothing: it may be back in a TLB at once. */
static void observe_flush(struct mmu_notifier *mn, struct mm_struct *mm,
			  unsigned long start, unsigned long end)
{
	struct world *w = container_of(mn, struct world, mn);
	struct watch *watch;

#ifdef INVALIDATE_RANGE
	if (w->range_ends)
		return;
	/* An empty range stands for all of the mm. */
	if (start >= end) {
		start = 0;
		end = ULONG_MAX;
	}
#endif
	data_race(w->flushes++);
	for (watch = w->watch; watch < w->watch + w->nr_watches; watch++) {
		/* Any part of what a table maps will do for the table. */
		unsigned long size = watch->table ? PMD_SIZE : 1;

		if (watch->flushed || watch->addr + size <= start || watch->addr >= end ||
		    !gone(w, watch))
			continue;
		watch->flushed = true;
		if (watch->mapping && !is_linked(mm, watch))
			w->wrong = "flushed after the unlink";
		if (watch->page && page_count(watch->page) < 2)
			w->wrong = "page freed before the flush";
		if (!w->no_gather && !mm_tlb_flush_pending(mm))
			w->wrong = "flushed by a gather that is not counted";
	}
}

#ifdef INVALIDATE_RANGE
/*
 * The notifier hears of each end of an invalidated range, too, where nothing is
 * flushed. The sentinel is registered later, and so it hears first of the end.
 */
static void range_ends(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	container_of(mn, struct world, sentinel)->range_ends = true;
}

static void range_ended(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	container_of(mn, struct world, mn)->range_ends = false;
}

static const struct mmu_notifier_ops sentinel_ops = { .invalidate_range_end = range_ends };
static const struct mmu_notifier_ops observer_ops = {
	.invalidate_range = observe_flush,
	.invalidate_range_end = range_ended,
};
#else
static const struct mmu_notifier_ops observer_ops = {
	.arch_invalidate_secondary_tlbs = observe_flush,
};
#endif

static void watch_vma(struct world *w, unsigned long start, unsigned long end)
{
	unsigned long addrs[] = { start, start + PAGE_SIZE, end - PAGE_SIZE };
	struct vm_area_struct *vma = vma_lookup(w->mm, start);
	unsigned int i;
	pte_t pte;

	for (i = 0; vma && i < ARRAY_SIZE(addrs); i++) {
		struct watch *watch = &w->watch[w->nr_watches];
		int found = walk(w->mm, addrs[i], &pte);

		if (found <= NO_ENTRY || w->nr_watches + 1 >= ARRAY_SIZE(w->watch))
			continue;
		*watch = (struct watch){ .addr = addrs[i] };
		if (!(found & HUGE_ENTRY))
			watch->page = vm_normal_page(vma, addrs[i], pte);
		if (watch->page)
			get_page(watch->page);
		if ((vma->vm_flags & VM_PFN) && !(watch->page && PageAnon(watch->page)))
			watch->mapping = vma->vm_file->f_mapping;
		w->nr_watches++;
		if (!(found & HUGE_ENTRY) && IS_ALIGNED(addrs[i], PMD_SIZE))
			w->watch[w->nr_watches++] = (struct watch){ .addr = addrs[i], .table = true };
	}
}

static void unwatch(struct world *w)
{
	for (; w->nr_watches; w->nr_watches--)
		if (w->watch[w->nr_watches - 1].page)
			put_page(w->watch[w->nr_watches - 1].page);
}

static bool is(char kind, const char *kinds)
{
	return kind && strchr(kinds, kind);
}

static vm_fault_t insert_huge(struct world *w, struct vm_area_struct *vma)
{
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	struct vm_fault vmf = { .vma = vma, .address = vma->vm_start };
	p4d_t *p4d = p4d_alloc(vma->vm_mm, pgd_offset(vma->vm_mm, vmf.address), vmf.address);

	vmf.pud = p4d ? pud_alloc(vma->vm_mm, p4d, vmf.address) : NULL;
#ifdef CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD
	if (vmf.pud && w->kind == 'G')
#ifdef PFN_T
		return vmf_insert_pfn_pud(&vmf, __pfn_to_pfn_t(0, PFN_DEV), true);
#else
		return vmf_insert_pfn_pud(&vmf, 0, true);
#endif
#endif
	vmf.pmd = vmf.pud ? pmd_alloc(vma->vm_mm, vmf.pud, vmf.address) : NULL;
	if (vmf.pmd)
#ifdef PFN_T
		return vmf_insert_pfn_pmd(&vmf, page_to_pfn_t(w->large), true);
#else
		return vmf_insert_pfn_pmd(&vmf, page_to_pfn(w->large), true);
#endif
#endif
	return VM_FAULT_OOM;
}

static struct page *page_of(struct world *w, unsigned long nr)
{
	return virt_to_page(w->memory + nr % NR_PAGES * PAGE_SIZE);
}

static vm_fault_t dev_fault(struct vm_fault *vmf)
{
	vmf->page = page_of(vmf->vma->vm_file->private_data, vmf->pgoff);
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct dev_vm_ops = { .fault = dev_fault };

static int dev_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long addr = vma->vm_start, nr = vma->vm_pgoff, step = 1;
	struct world *w = file->private_data;
	int err = 0;

	if (w->kind == 'F')
		vma->vm_ops = &dev_vm_ops;
	if (is(w->kind, "MBC"))
		vm_flags_set(vma, VM_MIXEDMAP);
	if (is(w->kind, "LG")) {
		vm_flags_set(vma, VM_PFNMAP);
		if (insert_huge(w, vma) != VM_FAULT_NOPAGE)
			return -ENOMEM;
	}
	/* The first page and the last, or the last alone. */
	if (is(w->kind, "TL"))
		step = vma_pages(vma) - 1;
	if (w->kind == 'L')
		addr += step * PAGE_SIZE;
	for (; addr < vma->vm_end && !err; addr += step * PAGE_SIZE, nr += step) {
		struct page *page = page_of(w, nr);
		unsigned long pfn = page_to_pfn(page);

		if (is(w->kind, "PQTL"))
			err = remap_pfn_range(vma, addr, pfn, PAGE_SIZE, vma->vm_page_prot);
		if (w->kind == 'D')
			err = vm_insert_page(vma, addr, page);
		if (is(w->kind, "MBC") &&
#ifdef PFN_T
		    vmf_insert_mixed(vma, addr, __pfn_to_pfn_t(pfn, PFN_DEV)) != VM_FAULT_NOPAGE)
#else
		    vmf_insert_mixed(vma, addr, pfn) != VM_FAULT_NOPAGE)
#endif
			err = -ENOMEM;
	}
	return err ?: w->mmap_error;
}

static const struct file_operations dev_fops = { .owner = THIS_MODULE, .mmap = dev_mmap };

static bool mmap_at(struct world *w, int file, unsigned long addr, unsigned long size,
		    unsigned long flags, unsigned long pgoff)
{
	return vm_mmap(file < 0 ? NULL : w->file[file], addr, size, PROT_READ | PROT_WRITE,
		       flags | MAP_FIXED | MAP_NORESERVE, pgoff * PAGE_SIZE) == addr;
}

static bool map_vma(struct world *w, char kind, unsigned long addr)
{
	unsigned long size = PAGES * PAGE_SIZE, align = PAGE_SIZE, step = PAGE_SIZE;
	int file = kind == 'A' ? -1 : kind == 'H' ? HUGE : kind == 'Q' ? SECOND : FIRST;
	unsigned int nr = w->nr_vmas++;

	if (kind == 'B')
		size = (COPIES + 1) * PAGE_SIZE;
	if (is(kind, "TLGH")) {
		align = kind == 'G' ? PUD_SIZE : kind == 'H' ?
			huge_page_size(hstate_file(w->file[HUGE])) : PMD_SIZE;
		size = align + (is(kind, "TL") ? PAGE_SIZE : 0);
	}
	addr = ALIGN(addr, align);
	w->kind = kind;
	if (!mmap_at(w, file, addr, size, is(kind, "ABC") ? MAP_PRIVATE : MAP_SHARED,
		     kind == 'H' ? 0 : nr * PAGES))
		return false;
	w->end = addr + size;
	w->start = nr ? w->start : addr;
	w->vma[nr].kind = kind;
	w->vma[nr].start = addr;
	w->vma[nr].end = w->end;

	/* Write every page that there is, but the last of B and the second of C. */
	if (is(kind, "TL"))
		step = align;
	if (kind == 'C')
		step = 2 * PAGE_SIZE;
	for (; !is(kind, "GH") && addr < w->end - (kind == 'B') * PAGE_SIZE; addr += step) {
		if (put_user(1, (int __user *)addr))
			return false;
		cond_resched();
	}
	return true;
}

/* NULL, or why it can't be. */
static const char *map_layout(struct world *w, const char *layout)
{
	unsigned long addr = BASE;
	unsigned int i;

	w->layout = layout;
	w->nr_vmas = 0;
	w->mmap_error = 0;
	w->write_protects = false;
	w->no_gather = false;
	w->wrong = NULL;
	/* One flush for all PFN VMAs, one for the page tables, and what kinds need. */
	w->most = 2;
	for (; *layout; layout++) {
		if (*layout == '-') {
			addr = ALIGN(addr, PMD_SIZE) + 2 * PMD_SIZE;
			continue;
		}
		if ((*layout == 'B' && si_mem_available() < 2 * COPIES) ||
		    (*layout == 'G' && !IS_ENABLED(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD)) ||
		    (is(*layout, "LG") && !w->large) || (*layout == 'H' && IS_ERR(w->file[HUGE])))
			return "not on this kernel or machine";
		if (!map_vma(w, *layout, addr))
			return "no memory";
		addr = w->end;
	}
	for (i = 0; i < w->nr_vmas; i++) {
		watch_vma(w, w->vma[i].start, w->vma[i].end);
		w->most += is(w->vma[i].kind, "DFBL") + !IS_ENABLED(CONFIG_MMU_GATHER_MERGE_VMAS);
		if (IS_ENABLED(CONFIG_MMU_GATHER_PAGE_SIZE) && is(w->vma[i].kind, "LGH"))
			w->most += 2;
	}
	return NULL;
}

static void world_exit(struct kunit *test)
{
	struct world *w = test->priv;
	int i;

	for (i = 0; w && i < NR_FILES; i++)
		if (!IS_ERR_OR_NULL(w->file[i]))
			fput(w->file[i]);
	flush_delayed_fput();
	if (w && w->memory)
		free_pages_exact(w->memory, NR_PAGES * PAGE_SIZE);
	if (w && w->large)
		__free_pages(w->large, PMD_SHIFT - PAGE_SHIFT);
}

static int world_init(struct kunit *test)
{
	struct world *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, w);
	test->priv = w;
	w->memory = alloc_pages_exact(NR_PAGES * PAGE_SIZE, GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, w->memory);
	if (has_transparent_hugepage())
		w->large = alloc_pages(GFP_KERNEL | __GFP_ZERO, PMD_SHIFT - PAGE_SHIFT);
	for (i = 0; i < HUGE; i++) {
#ifdef CREATE_GETFILE
		w->file[i] = anon_inode_create_getfile("[mmu_gather]", &dev_fops, w, O_RDWR, NULL);
#else
		w->file[i] = anon_inode_getfile_secure("[mmu_gather]", &dev_fops, w, O_RDWR, NULL);
#endif
		KUNIT_ASSERT_FALSE(test, IS_ERR(w->file[i]));
	}
#ifdef VMA_FLAGS
	w->file[HUGE] = hugetlb_file_setup("[mmu_gather]", PMD_SIZE,
					   mk_vma_flags(VMA_NORESERVE_BIT),
					   HUGETLB_ANONHUGE_INODE, 0);
#else
	w->file[HUGE] = hugetlb_file_setup("[mmu_gather]", PMD_SIZE, VM_NORESERVE,
					   HUGETLB_ANONHUGE_INODE, 0);
#endif
	return 0;
}

/* From here to close_mm() no assertion may fail: what is wrong is returned. */
static void open_mm(struct kunit *test, struct world *w)
{
	struct mmu_gather tlb;

	w->mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, w->mm);
	w->mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(w->mm, &current->signal->rlim[RLIMIT_STACK]);
	w->mn.ops = &observer_ops;
	if (mmu_notifier_register(&w->mn, w->mm)) {
		mmput(w->mm);
		kunit_skip(test, "no memory");
	}
#ifdef INVALIDATE_RANGE
	w->sentinel.ops = &sentinel_ops;
	if (mmu_notifier_register(&w->sentinel, w->mm)) {
		mmu_notifier_unregister(&w->mn, w->mm);
		mmput(w->mm);
		kunit_skip(test, "no memory");
	}
#endif
	kthread_use_mm(w->mm);
	/* Not every architecture calls the notifier when it flushes: find out. */
	w->flushes = 0;
	tlb_gather_mmu(&tlb, w->mm);
	tlb_flush_pte_range(&tlb, BASE, PAGE_SIZE);
	tlb_finish_mmu(&tlb);
	w->observes = w->flushes;
}

/* [start, end) was unmapped: what is gone must have been flushed. */
static const char *unmapped(struct world *w, unsigned long start, unsigned long end)
{
	struct watch *watch;

	for (watch = w->watch; watch < w->watch + w->nr_watches && !w->wrong; watch++) {
		if (!gone(w, watch)) {
			if (!watch->table && start <= watch->addr && watch->addr < end)
				return "still mapped";
		} else if (!watch->flushed && w->observes) {
			return watch->table ? "page table not flushed" : "not flushed";
		}
	}
	return w->wrong;
}

static bool is_mapped(struct world *w)
{
	return mapping_mapped(w->file[FIRST]->f_mapping) ||
	       mapping_mapped(w->file[SECOND]->f_mapping);
}

/* Nothing is mapped any more: what is left? */
static const char *left(struct world *w)
{
	unsigned int i;

	unwatch(w);
	for (i = 0; i < NR_PAGES; i++)
		if (page_count(page_of(w, i)) != 1 || folio_mapped(page_folio(page_of(w, i))))
			return "a page is still held";
	return is_mapped(w) ? "a VMA is still linked" :
	       mm_tlb_flush_pending(w->mm) ? "a gather is still counted" : NULL;
}

/* What is still mapped goes with the mm. */
static const char *close_mm(struct world *w)
{
	const char *why;

	unwatch(w);
	kthread_unuse_mm(w->mm);
	mmput(w->mm);
	why = left(w);
#ifdef INVALIDATE_RANGE
	mmu_notifier_unregister(&w->sentinel, w->mm);
#endif
	mmu_notifier_unregister(&w->mn, w->mm);
	return why;
}

/* After munmap() or mmap(MAP_FIXED) of all: done, and all is flushed, not too often? */
static const char *all_unmapped(struct world *w, bool done)
{
	if (!done)
		return "not unmapped";
	return unmapped(w, w->start, w->end) ?:
	       w->flushes > w->most ? "more flushes than it takes" : NULL;
}

static const char *unmap(struct world *w)
{
	w->flushes = 0;
	return all_unmapped(w, !vm_munmap(w->start, w->end - w->start));
}

static const char *map_over(struct world *w)
{
	w->flushes = 0;
	return all_unmapped(w, mmap_at(w, -1, w->start, w->end - w->start, MAP_PRIVATE, 0));
}

static void revoke(struct world *w)
{
	unmap_mapping_range(w->file[FIRST]->f_mapping, 0, 0, 1);
	unmap_mapping_range(w->file[SECOND]->f_mapping, 0, 0, 1);
}

/* Clears all entries of [start, end), and leaves the VMAs as they are. */
static void clear(struct world *w, struct mmu_gather *tlb, unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma;

	mmap_read_lock(w->mm);
	vma = vma_lookup(w->mm, start);
	if (vma) {
#ifdef UNMAP_DESC
		MA_STATE(mas, &w->mm->mm_mt, vma->vm_end, vma->vm_end);
		struct unmap_desc unmap = { .mas = &mas, .first = vma, .vma_start = start,
					    .vma_end = end, .tree_end = end };

		unmap_vmas(tlb, &unmap);
#elif defined(UNMAP_MAS)
		MA_STATE(mas, &w->mm->mm_mt, vma->vm_end, vma->vm_end);

		unmap_vmas(tlb, &mas, vma, start, end, end, false);
#else
		unmap_vmas(tlb, &w->mm->mm_mt, vma, start, end);
#endif
	}
	mmap_read_unlock(w->mm);
}

/*
 * madvise() may have let go of a VMA with its gather still open. What that has
 * cleared is not found by the munmap() of the VMA, but must be flushed before
 * the unlink like all else.
 */
static const char *unmap_beside_gather_of(struct world *w, unsigned long end)
{
	struct mmu_gather open;
	const char *why;

	tlb_gather_mmu(&open, w->mm);
	clear(w, &open, w->start, end);
	why = unmap(w);
	tlb_finish_mmu(&open);
	return why ?: unmapped(w, w->start, w->end);
}

/* From the second page of the first VMA to that of the last, if that can be. */
static const char *munmap_part(struct world *w)
{
	unsigned long first = w->start, last = w->end;

	w->start += w->vma[0].kind == 'H' ? 0 : PAGE_SIZE;
	if (w->vma[w->nr_vmas - 1].kind != 'H')
		w->end = w->vma[w->nr_vmas - 1].start + 2 * PAGE_SIZE;
	/* A huge entry is split, and flushed, before there is a gather. */
	w->no_gather = true;
	return unmap(w) ?: (w->start = first, w->end = last, unmap(w));
}

/* A mmap() over the start of them that maps its pages, and fails then. */
static const char *map_over_fails(struct world *w)
{
	w->kind = 'M';
	w->mmap_error = -ENODEV;
	if (mmap_at(w, SECOND, w->start, PAGES * PAGE_SIZE, MAP_SHARED, 0))
		return "mmap() did not fail";
	return unmapped(w, w->start, w->start + PAGES * PAGE_SIZE) ?: unmap(w);
}

/* What mremap() does: there is a second VMA, and all that is mapped moves there. */
static const char *mremap_moves(struct world *w)
{
	unsigned long to = ALIGN(w->end, PUD_SIZE) + PMD_SIZE;
	unsigned int i;

	w->no_gather = true;
	for (i = 0; i < w->nr_vmas && !w->wrong; i++) {
		unsigned long from = w->vma[i].start, size = w->vma[i].end - from, moved;
		struct vm_area_struct *old, *new;

		if (!is(w->vma[i].kind, "PQMTL"))
			continue;
		to = ALIGN(to, PMD_SIZE) + (from & ~PMD_MASK);
		w->kind = 0;
		if (!mmap_at(w, w->vma[i].kind == 'Q', to, size, MAP_SHARED, i * PAGES))
			return "mmap() failed";
		mmap_write_lock(w->mm);
		old = vma_lookup(w->mm, from);
		new = vma_lookup(w->mm, to);
		vm_flags_set(new, old->vm_flags & VM_PFN);
#ifdef MOVE_CONTROL
		PAGETABLE_MOVE(pmc, old, new, from, to, size);
		moved = move_page_tables(&pmc);
#elif defined(FOR_STACK)
		moved = move_page_tables(old, from, new, to, size, false, false);
#else
		moved = move_page_tables(old, from, new, to, size, false);
#endif
		mmap_write_unlock(w->mm);
		w->wrong = moved == size ? unmapped(w, from, from + size) : "not moved";
		watch_vma(w, to, to + size);
		to += size;
	}
	w->end = to;
	w->most *= 2;
	return w->wrong ?: unmap(w);
}

/* Nobody runs in an mm that exits: all that is to be seen is that all goes. */
static const char *mm_exits(struct world *w)
{
	return NULL;
}

/* Some kinds refuse it. */
static const char *madvise_dontneed(struct world *w)
{
	unsigned int i;

	for (i = 0; i < w->nr_vmas && IS_ENABLED(CONFIG_ADVISE_SYSCALLS); i++)
		do_madvise(w->mm, w->vma[i].start, w->vma[i].end - w->vma[i].start, MADV_DONTNEED);
	return unmapped(w, 0, 0) ?: unmap(w);
}

/* To PROT_READ, with one gather for all VMAs. */
static const char *mprotect_whole(struct world *w)
{
	struct vm_area_struct *vma;
	struct mmu_gather tlb;
	unsigned int i;

	w->flushes = 0;
	w->write_protects = true;
	mmap_write_lock(w->mm);
	tlb_gather_mmu(&tlb, w->mm);
	for (i = 0; i < w->nr_vmas; i++) {
		vma = vma_lookup(w->mm, w->vma[i].start);
		if (w->vma[i].kind == 'G')
			continue;
		vm_flags_clear(vma, VM_WRITE);
		vma_set_page_prot(vma);
#ifdef CHANGE_NEWPROT
		change_protection(&tlb, vma, vma->vm_start, vma->vm_end, vma->vm_page_prot, 0);
#else
		change_protection(&tlb, vma, vma->vm_start, vma->vm_end, 0);
#endif
	}
	tlb_finish_mmu(&tlb);
	mmap_write_unlock(w->mm);
	return unmapped(w, 0, 0) ?: w->flushes > w->most ? "more flushes than it takes" : NULL;
}

static const char *revoke_whole(struct world *w)
{
	revoke(w);
	return unmapped(w, 0, 0) ?: unmap(w);
}

/*
 * The argument for all who keep their VMAs: a gather has cleared entries, and
 * may be open for long. Who revokes flushes them, since it is counted; another
 * gather that has come and gone does not change that.
 */
static const char *revoke_beside_gather(struct world *w)
{
	struct mmu_gather open, other;
	const char *why;

	tlb_gather_mmu(&open, w->mm);
	tlb_gather_mmu(&other, w->mm);
	tlb_finish_mmu(&other);
	clear(w, &open, w->start, w->end);
	revoke(w);
	why = unmapped(w, 0, 0) ?: unmap(w);
	tlb_finish_mmu(&open);
	return why;
}

static const char *munmap_beside_gather(struct world *w)
{
	return unmap_beside_gather_of(w, w->end);
}

/* What munmap() finds itself may make it flush early. */
static const char *munmap_beside_gather_of_first(struct world *w)
{
	return unmap_beside_gather_of(w, w->vma[0].end);
}

/*
 * A reader on another CPU has the pages in its TLB, and then is the driver that
 * revokes them. The window between the unlink and the last flush is held open as
 * long as it takes: behind the layout this task unmaps a page of another file,
 * the gate. To unlink that it needs a lock that the reader holds until it has
 * judged.
 */
static bool can_read(struct world *w)
{
	unsigned int i, nr = 0;
	int value;

	for (i = 0; i < w->nr_watches; i++)
		nr += w->watch[i].mapping &&
		      !copy_from_user_nofault(&value, (void __user *)w->watch[i].addr, sizeof(value));
	return nr;
}

/*
 * Result: 1 if a read went through a stale entry, 0 if not, -EAGAIN if there was
 * no unlink for seconds. It must not sleep between its reads, lest its CPU flush
 * when it comes back. It reads all the time: a flush of many pages may have
 * emptied the TLB.
 */
static void reader(struct work_struct *work)
{
	struct world *w = container_of(work, struct world, reader);
	struct rw_semaphore *gate = &w->file[GATE]->f_mapping->i_mmap_rwsem;
	int spins = 1000000;

	down_read_nested(gate, SINGLE_DEPTH_NESTING);
	kthread_use_mm(w->mm);
	can_read(w);
	complete(&w->ready);
	while (is_mapped(w) && spins--) {
		can_read(w);
		cond_resched();
	}
	if (!is_mapped(w)) {
		revoke(w);
		w->result = can_read(w);
	}
	kthread_unuse_mm(w->mm);
	up_read(gate);
}

static const char *race(struct world *w)
{
	unsigned int i, trials = is('B', w->layout) ? race_trials / 100 + 1 : race_trials;
	int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	const char *why = NULL;

	/* Nobody reads huge PUDs: they are not of memory. */
	for (i = 0; i < trials && !why && !is('G', w->layout); i++) {
		w->kind = 0;
		w->end += PAGE_SIZE + 2 * PMD_SIZE * (i & 1);
		if ((i && map_layout(w, w->layout)) ||
		    !mmap_at(w, GATE, w->end - PAGE_SIZE, PAGE_SIZE, MAP_SHARED, 0))
			return "not mapped";
		w->result = -EAGAIN;
		init_completion(&w->ready);
		INIT_WORK(&w->reader, reader);
		queue_work_on(cpu, system_long_wq, &w->reader);
		if (wait_for_completion_timeout(&w->ready, 60 * HZ))
			why = w->unmaps(w);
		flush_work(&w->reader);
		unwatch(w);
		why = unmap(w) ?: why;
		if (w->result == 1)
			why = "a read went through a stale entry";
		/* Too slow to tell: once more, but not for ever. */
		if (w->result < 0 && w->unclear++ < 10)
			i--;
	}
	return why;
}

static const char * const layouts[] = {
	"P", "M", "D", "C", "B", "T", "L", "G", "PQ", "P-P", "M-P-Q", "PMDC",
	"AP", "FP", "HP", "A-P", "F-Q", "FPQ", "PA", "PF", "PH", "P-F", "PD", "PB",
	"AL", "LQ", "PL-M", "TM", "FG", "A-PAQ",
};

static const struct operation {
	const char *name;
	const char *(*run)(struct world *w);
	const char *(*unmaps)(struct world *w);
} operations[] = {
	{ "munmap", unmap },
	{ "munmap of a part", munmap_part },
	{ "mmap over it", map_over },
	{ "mmap over it fails", map_over_fails },
	{ "mremap", mremap_moves },
	{ "exit", mm_exits },
	{ "madvise", madvise_dontneed },
	{ "mprotect", mprotect_whole },
	{ "revoke", revoke_whole },
	{ "revoke beside a gather", revoke_beside_gather },
	{ "munmap beside a gather", munmap_beside_gather },
	{ "munmap beside a gather of the first VMA", munmap_beside_gather_of_first },
}, races[] = {
	{ "munmap", race, unmap },
	{ "mmap over it", race, map_over },
	{ "munmap beside a gather", race, munmap_beside_gather },
};

static void operation_desc(const struct operation *operation, char *desc)
{
	strscpy(desc, operation->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(operations, operations, operation_desc);
KUNIT_ARRAY_PARAM(races, races, operation_desc);

static void each_layout(struct kunit *test)
{
	const struct operation *operation = test->param_value;
	struct world *w = test->priv;
	unsigned int i;

	w->unmaps = operation->unmaps;
	if (w->unmaps && num_online_cpus() < 2)
		kunit_skip(test, "needs 2 CPUs");
	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	for (i = 0; i < ARRAY_SIZE(layouts); i++) {
		const char *missing, *why, *left;

		open_mm(test, w);
		missing = map_layout(w, layouts[i]);
		why = missing ? NULL : operation->run(w);
		left = close_mm(w);
		if (missing)
			kunit_info(test, "%s skipped: %s", layouts[i], missing);
		if (why || left)
			KUNIT_FAIL(test, "%s: %s", layouts[i], why ?: left);
	}
	if (test->status != KUNIT_SUCCESS)
		return;
	if (w->unclear)
		kunit_skip(test, "%d trials too slow to tell", w->unclear);
	if (!w->unmaps && !w->observes)
		kunit_skip(test, "nobody hears of flushes on this architecture");
}

/* The digits of every 17th number are a layout of up to five VMAs. */
static void generated_layouts(struct kunit *test)
{
	struct world *w = test->priv;
	const char *why = NULL;
	unsigned int nr, rest, i, done = 0;
	char layout[MAX_VMAS + 1];

	open_mm(test, w);
	for (nr = 1; nr < 100000 && !why; nr += 17) {
		for (rest = nr, i = 0; rest; rest /= 10)
			layout[i++] = "-PQMDCAFHL"[rest % 10];
		layout[i] = 0;
		if (!map_layout(w, layout)) {
			why = nr & 1 ? unmap(w) : map_over(w);
			done++;
		}
		vm_munmap(w->start, w->end - w->start);
		why = why ?: left(w);
		cond_resched();
	}
	why = close_mm(w) ?: why;
	if (why)
		KUNIT_FAIL(test, "%s: %s", layout, why);
	kunit_info(test, "%u layouts unmapped", done);
	KUNIT_EXPECT_GT(test, done, 0);
	if (!w->observes && test->status == KUNIT_SUCCESS)
		kunit_skip(test, "nobody hears of flushes on this architecture");
}

static struct kunit_case mm_cases[] = {
	KUNIT_CASE_PARAM(each_layout, operations_gen_params),
	KUNIT_CASE(generated_layouts),
	{}
};

static struct kunit_suite mm_suite = {
	.name = "mmu_gather_mm",
	.init = world_init,
	.exit = world_exit,
	.test_cases = mm_cases,
};

static struct kunit_case race_cases[] = {
	KUNIT_CASE_PARAM(each_layout, races_gen_params),
	{}
};

static struct kunit_suite race_suite = {
	.name = "mmu_gather_race",
	.init = world_init,
	.exit = world_exit,
	.test_cases = race_cases,
};

kunit_test_suites(&mm_suite, &race_suite);

MODULE_DESCRIPTION("KUnit tests for the mmu_gather on a real mm");
MODULE_LICENSE("GPL");
