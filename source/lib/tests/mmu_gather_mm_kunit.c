// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for the mmu_gather on a real mm: what is cleared in a page table is flushed before
 * its page is freed, and before its VMA, if VM_PFNMAP or VM_MIXEDMAP (a "PFN VMA"), is unlinked.
 * After unmap_mapping_range() nobody reaches what it revoked. A layout is what is unmapped:
 *
 *  P  PFNMAP				D  MIXEDMAP, dirty pages with references
 *  Q  PFNMAP, of a second file		C  MIXEDMAP, private, copied but for a page
 *  M  MIXEDMAP				B  as C, and the copies fill all batches
 *  T  PFNMAP, beyond a page table	W  PFNMAP, private, copied but for a page
 *  L  PFNMAP, a huge PMD and a page	A  anonymous
 *  G  PFNMAP, a huge PUD		F  of the first file, one folio, but no PFN VMA
 *  U  PFNMAP, fills an upper table	H  hugetlb, no page of it
 *
 * p, m, d, l are only read; l is a huge PMD alone; E is D, a full table or 4 MiB; - skips one.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/moduleparam.h>
#ifdef PFN_T
#include <linux/pfn_t.h>
#endif
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#ifdef CONFIG_X86
#include <asm/hypervisor.h>		/* some have flushes of their own */
#endif
#include <asm/tlb.h>
#include "../../mm/internal.h"	/* unmap_vmas() and move_page_tables() */

#define VM_PFN		(VM_PFNMAP | VM_MIXEDMAP)
#define BASE		(IS_ENABLED(CONFIG_64BIT) ? SZ_4G - 4 * PMD_SIZE : SZ_256M) /* tables end */
#define MAX_VMAS	10	/* more than are unlinked at a time */
#define PAGES		3UL		/* of most VMAs */
#define COPIES		10100UL		/* fill all batches of a gather */
#define PGOFFS		(BIT(16) + 4)	/* from one VMA to the next */
#define MEMORY		min_t(unsigned long, PMD_SIZE, SZ_4M)

#ifdef INVALIDATE_RANGE
static bool range_is_ending;	/* heard as a flush; the sentinel, registered later, hears first */
#endif
static unsigned int race_trials = 6;
module_param(race_trials, uint, 0444);
MODULE_PARM_DESC(race_trials, "Races with each layout");

/* An address, or a page table, and what has to be true when it is flushed. */
struct watch {
	unsigned long addr;
	bool table, flushed;
	struct address_space *mapping;	/* where its VMA is linked */
	pgoff_t at;
	struct page *page;		/* that the gather holds, and the device if it is its */
};

enum { FIRST, SECOND, GATE, HUGE, NR_FILES };

struct world {
	struct mm_struct *mm;
#ifdef INVALIDATE_RANGE
	struct mmu_notifier mn, sentinel;
#else
	struct mmu_notifier mn;
#endif
	/* The device, and what its next mmap() does. */
	struct file *file[NR_FILES];
	void *memory;
	struct page *folio;
	char kind;
	bool reads, observes;
	/* What is done, maybe beside another gather, and maybe in a race. */
	const struct operation *operation;
	struct mmu_gather gather;
	struct work_struct reader;
	struct completion ready;
	int layouts, missing, unclear, result;
	/* The layout, what is mapped, seen, and how many flushes it may take. */
	const char *layout, *wrong;
	struct mapped { unsigned long start, end; char kind; } vma[MAX_VMAS];
	unsigned long start, end;
	struct watch watch[64];
	int nr_vmas, nr_watches, flushes, most, mmap_error, write_protects;
	struct mm_struct **lazy;	/* what a CPU that we have left has loaded */
};

struct operation {
	const char *name;
	enum { NONE, ONE, ALL } clears;		/* pages, in another gather */
	const char *(*prepare)(struct world *w);
	const char *(*unmap)(struct world *w);
	bool races;
};

/* What a page table walk finds: no table, no entry, or bits of an entry, and its lock. */
enum { NO_TABLE, NO_ENTRY, ENTRY, WRITABLE = 4, HUGE_ENTRY = 8 };

static int walk(struct mm_struct *mm, unsigned long addr, pte_t *entry, spinlock_t **lock)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d = pgd_none(*pgd) ? NULL : p4d_offset(pgd, addr);
	pud_t *pud = !p4d || p4d_none(*p4d) ? NULL : pud_offset(p4d, addr);
	pmd_t *pmd;
	pte_t *pte;

	*lock = &mm->page_table_lock;
	if (!pud || pud_none(*pud))
		return NO_TABLE;
	if (pud_leaf(*pud))
		return HUGE_ENTRY | ENTRY | (pud_write(*pud) ? WRITABLE : 0);
	pmd = pmd_offset(pud, addr);
	*lock = pmd_lockptr(mm, pmd);
	if (pmd_leaf(*pmd))
		return HUGE_ENTRY | ENTRY | (pmd_write(*pmd) ? WRITABLE : 0);
	pte = pmd_none(*pmd) ? NULL : pte_offset_map(pmd, addr);
	if (!pte)
		return NO_TABLE;
	*lock = pte_lockptr(mm, pmd);
	*entry = ptep_get(pte);
	pte_unmap(pte);
	return pte_present(*entry) ? ENTRY | (pte_write(*entry) ? WRITABLE : 0) : NO_ENTRY;
}

/* The lock to clear it under, or NULL if it is there. */
static spinlock_t *gone(struct world *w, struct watch *watch)
{
	spinlock_t *lock = NULL;
	pte_t pte;
	int found = walk(w->mm, watch->addr, &pte, &lock);

	return (watch->table ? found == NO_TABLE :
		w->write_protects ? !(found & WRITABLE) : found <= NO_ENTRY) ? lock : NULL;
}

/* A flush of what is not gone settles nothing: it may be back in a TLB at once. */
static void observe_flush(struct mmu_notifier *mn, struct mm_struct *mm,
			  unsigned long start, unsigned long end)
{
	struct world *w = container_of(mn, struct world, mn);
	struct watch *watch;

#ifdef INVALIDATE_RANGE
	if (range_is_ending)
		return;
	start = start < end ? start : 0;	/* all, if it is empty, at the end */
#endif
	w->flushes++;
	w->observes = true;
	for (watch = w->watch; watch < w->watch + w->nr_watches; watch++) {
		/* Any part of what a table maps will do for the table. */
		unsigned long size = watch->table ? PMD_SIZE : 1;
		spinlock_t *lock = gone(w, watch);
		bool free = lock && IS_ENABLED(CONFIG_SMP) && spin_trylock(lock);

		if (free)
			spin_unlock(lock);
		if (watch->flushed || watch->addr + size <= start || watch->addr >= end || !lock)
			continue;
		watch->flushed = true;
		/* Does a revoker find it, or does he wait for us? */
		if (watch->mapping && !rwsem_is_locked(&watch->mapping->i_mmap_rwsem) &&
#ifdef RMAP_TREE
		    !mapping_rmap_tree_iter_first(watch->mapping, watch->at, watch->at))
#else
		    !vma_interval_tree_iter_first(&watch->mapping->i_mmap, watch->at, watch->at))
#endif
			w->wrong = "flushed after the unlink";
		if (watch->page &&
		    page_count(watch->page) < 2 - (watch->table || PageAnon(watch->page)))
			w->wrong = "page freed before the flush";
#ifdef DELAY_RMAP
		/* Who cleans the page waits for our lock only if he finds us, and its table. */
		lock = gone(w, &(struct watch){ watch->addr, .table = true });
		if (IS_ENABLED(CONFIG_SMP) && !IS_ENABLED(CONFIG_MMU_GATHER_NO_GATHER) &&
		    watch->page && PageDirty(watch->page) && !w->write_protects &&
		    (!folio_mapped(page_folio(watch->page)) || (free && !lock)))
			w->wrong = "page left rmap before the flush";
#endif
		if (free && !mm_tlb_flush_pending(mm))
			w->wrong = "neither locked nor flushed by a gather that is counted";
#ifdef DO_VMI_MUNMAP
		/* munmap() and mmap(): others may map there as soon as the lock is free. */
		if (!w->operation->prepare && !w->operation->clears &&
		    !rwsem_is_locked(&mm->mmap_lock))
			w->wrong = "unlocked before the flush";
#endif
	}
}

#ifdef INVALIDATE_RANGE
static void range_ends(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	range_is_ending = !range_is_ending;
}

static const struct mmu_notifier_ops sentinel_ops = { .invalidate_range_end = range_ends };
#endif
static const struct mmu_notifier_ops observer_ops = {
#ifdef INVALIDATE_RANGE
	.invalidate_range = observe_flush,
	.invalidate_range_end = range_ends,
#else
	.arch_invalidate_secondary_tlbs = observe_flush,
#endif
};

static void watch_vma(struct world *w, unsigned long start, unsigned long end)
{
	unsigned long addrs[] = { start, start + PAGE_SIZE, end - PAGE_SIZE };
	struct vm_area_struct *vma = vma_lookup(w->mm, start);
	spinlock_t *lock = NULL;
	unsigned int i;
	pte_t pte;

	for (i = 0; vma && i < ARRAY_SIZE(addrs); i++) {
		struct watch *watch = &w->watch[w->nr_watches];
		int found = walk(w->mm, addrs[i], &pte, &lock);

		if (found <= NO_ENTRY)
			continue;
		*watch = (struct watch){ addrs[i], .at = linear_page_index(vma, addrs[i]) };
		if (!(found & HUGE_ENTRY))
			watch->page = vm_normal_page(vma, addrs[i], pte);
		if ((vma->vm_flags & VM_PFN) && !(watch->page && PageAnon(watch->page)))
			watch->mapping = vma->vm_file->f_mapping;
		w->nr_watches++;
		if (!(found & HUGE_ENTRY) && IS_ALIGNED(addrs[i], PMD_SIZE))
			w->watch[w->nr_watches++] = (struct watch){ addrs[i], .table = true,
				.page = pmd_page(*pmd_off(w->mm, addrs[i])) };
	}
}

static vm_fault_t insert_huge(struct world *w, struct vm_area_struct *vma)
{
	struct vm_fault vmf = { .vma = vma, .address = vma->vm_start };
	p4d_t *p4d = p4d_alloc(vma->vm_mm, pgd_offset(vma->vm_mm, vmf.address), vmf.address);
#ifdef PFN_T
	pfn_t pfn = w->kind == 'G' ? __pfn_to_pfn_t(0, PFN_DEV) :
				     page_to_pfn_t(virt_to_page(w->memory));
#else
	unsigned long pfn = w->kind == 'G' ? 0 : page_to_pfn(virt_to_page(w->memory));
#endif

	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && p4d)
		vmf.pud = pud_alloc(vma->vm_mm, p4d, vmf.address);
	if (IS_ENABLED(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD) && vmf.pud && w->kind == 'G')
		return vmf_insert_pfn_pud(&vmf, pfn, true);
	vmf.pmd = vmf.pud ? pmd_alloc(vma->vm_mm, vmf.pud, vmf.address) : NULL;
	if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && vmf.pmd)
		return vmf_insert_pfn_pmd(&vmf, pfn, !w->reads);
	return VM_FAULT_OOM;
}

static struct page *page_of(struct world *w, pgoff_t pgoff)
{
	return virt_to_page(w->memory + pgoff * PAGE_SIZE % MEMORY);
}

static vm_fault_t dev_fault(struct vm_fault *vmf)
{
	struct world *w = vmf->vma->vm_file->private_data;

	vmf->page = w->folio + vmf->pgoff % (PAGES + 1);
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct dev_vm_ops = { .fault = dev_fault };

static int dev_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct world *w = file->private_data;
	unsigned long step = strchr("UW", w->kind) ? vma->vm_end - vma->vm_start : PAGE_SIZE;
	unsigned long addr = vma->vm_start + (w->kind == 'L' ? PMD_SIZE : 0);
	int err = 0;

	if (strchr("FM", w->kind))
		vma->vm_ops = &dev_vm_ops;
	if (strchr("MBCLG", w->kind))
#ifdef VM_FLAGS_SET
		vm_flags_set(vma, strchr("LG", w->kind) ? VM_PFNMAP : VM_MIXEDMAP);
#else
		vma->vm_flags |= strchr("LG", w->kind) ? VM_PFNMAP : VM_MIXEDMAP;
#endif
	if (strchr("LG", w->kind) && insert_huge(w, vma) != VM_FAULT_NOPAGE)
		return -ENOMEM;
	for (; addr < vma->vm_end && !err && strchr("PQTLUWDEMBC", w->kind); addr += step) {
		struct page *page = page_of(w, linear_page_index(vma, addr));
		unsigned long pfn = page_to_pfn(page);

		ClearPageDirty(page);
		if (strchr("PQTLUW", w->kind))
			err = remap_pfn_range(vma, addr, pfn, min(step, PAGES * PAGE_SIZE),
					      vma->vm_page_prot);
		else if (strchr("DE", w->kind))
			err = vm_insert_page(vma, addr, page);
#ifdef PFN_T
		else if (vmf_insert_mixed(vma, addr, __pfn_to_pfn_t(pfn, PFN_DEV)) & VM_FAULT_ERROR)
#else
		else if (vmf_insert_mixed(vma, addr, pfn) & VM_FAULT_ERROR)
#endif
			err = -ENOMEM;
	}
	if (w->mmap_error) {
		w->watch[w->nr_watches++] = (struct watch){ vma->vm_start };
		w->watch[w->nr_watches++] = (struct watch){ vma->vm_start & PMD_MASK, true };
	}
	return err ?: w->mmap_error;
}

static const struct file_operations dev_fops = { .mmap = dev_mmap };

static bool mmap_at(struct world *w, char kind, int file, unsigned long addr,
		    unsigned long size, unsigned long flags, pgoff_t pgoff)
{
	w->kind = toupper(kind);
	w->reads = kind != w->kind;
	return vm_mmap(file < 0 ? NULL : w->file[file], addr, size, PROT_READ | PROT_WRITE,
		       flags | MAP_FIXED | MAP_NORESERVE, pgoff * PAGE_SIZE) == addr;
}

static bool map_vma(struct world *w, char letter, unsigned long addr)
{
	char kind = toupper(letter);
	int file = kind == 'A' ? -1 : kind == 'H' ? HUGE : kind == 'Q' ? SECOND : FIRST;
	unsigned long size = PAGES * PAGE_SIZE, align = PAGE_SIZE;
	unsigned int nr = w->nr_vmas++;
	char c = 1;

	if (strchr("BE", kind))
		size = kind == 'E' ? MEMORY : (COPIES + 1) * PAGE_SIZE;
	if (strchr("TLGUH", kind)) {
		align = strchr("GU", kind) ? PUD_SIZE : kind == 'H' ?
			huge_page_size(hstate_file(w->file[HUGE])) : PMD_SIZE;
		size = align + (strchr("TL", letter) ? PAGE_SIZE : 0);
	}
	addr = ALIGN(addr, align);
	if (!mmap_at(w, letter, file, addr, size, strchr("ABCW", kind) ? MAP_PRIVATE : MAP_SHARED,
		     kind == 'H' ? 0 : nr * PGOFFS))
		return false;
	w->start = nr ? w->start : addr;
	w->vma[nr] = (struct mapped){ addr, addr + size, kind };
	w->end = addr + size;

	/* Write every page that there is, but the last of B, C and W. */
	size -= strchr("GUH", kind) ? size : strchr("BCW", kind) ? PAGE_SIZE : 0;
	for (; size; size -= PAGE_SIZE, addr += PAGE_SIZE, cond_resched())
		if (w->reads ? get_user(c, (char __user *)addr) : put_user(c, (char __user *)addr))
			return false;
	watch_vma(w, w->vma[nr].start, w->end);
	/* What it takes beside a flush for all PFN VMAs, if any, and one for page tables. */
	w->most += !!strchr("BL", kind) + PAGES * !!strchr("DEF", letter) +
		   !IS_ENABLED(CONFIG_MMU_GATHER_MERGE_VMAS);
	w->most += 2 * (IS_ENABLED(CONFIG_MMU_GATHER_PAGE_SIZE) && strchr("LGH", kind));
	return true;
}

/* The CPU that we leave may go on walking page tables, until it is told that some went. */
static void change_cpu(struct world *w)
{
#if defined(CONFIG_X86) && CONFIG_PGTABLE_LEVELS > 2
	if (w->operation->races || w->layouts > 100 || num_online_cpus() < 2 ||
	    !hypervisor_is_type(X86_HYPER_NATIVE))
		return;
	w->lazy = raw_cpu_ptr(&cpu_tlbstate.loaded_mm);
	set_cpus_allowed_ptr(current, cpumask_of(cpumask_any_but(cpu_online_mask,
								 raw_smp_processor_id())));
#endif
}

static bool map_layout(struct world *w, const char *kind)
{
	unsigned long addr = BASE;

	memset_startat(w, 0, layout);
	w->layout = kind;
	w->most = 2 - (IS_ENABLED(CONFIG_MMU_GATHER_MERGE_VMAS) && !kind[strspn(kind, "-AFH")]);
	for (; *kind; kind++) {
		if (*kind == '-') {
			addr = ALIGN(addr, PMD_SIZE) + 2 * PMD_SIZE;
			continue;
		}
		if ((*kind == 'B' && si_mem_available() < 2 * COPIES) ||
		    (*kind == 'G' && !IS_ENABLED(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD)) ||
		    (*kind == 'U' && !IS_ENABLED(CONFIG_64BIT)) ||
		    (*kind == 'H' && IS_ERR(w->file[HUGE])) ||
		    (strchr("LlG", *kind) && (!has_transparent_hugepage() || MEMORY < PMD_SIZE)) ||
		    !map_vma(w, *kind, addr))
			return false;
		addr = w->end;
	}
	change_cpu(w);
	w->flushes = 0;
	return true;
}

/* [start, end) was unmapped, in not too many flushes. What is gone must be flushed. */
static const char *unmapped(struct world *w, unsigned long start, unsigned long end)
{
	struct watch *watch;

	for (watch = w->watch; watch < w->watch + w->nr_watches && !w->wrong; watch++) {
		if (gone(w, watch) && !watch->flushed && w->observes)
			w->wrong = watch->table ? "page table not flushed" : "not flushed";
		if (gone(w, watch) && watch->table && w->lazy && READ_ONCE(*w->lazy) == w->mm)
			w->wrong = "page table gone, and a lazy CPU not told";
		if (!gone(w, watch) && !watch->table && start <= watch->addr && watch->addr < end)
			w->wrong = "still mapped";
	}
	if (w->flushes > w->most && w->observes)
		w->wrong = w->wrong ?: "more flushes than it takes";
	w->flushes = 0;
	return w->wrong;
}

static bool is_mapped(struct world *w)
{
	return mapping_mapped(w->file[FIRST]->f_mapping) ||
	       mapping_mapped(w->file[SECOND]->f_mapping);
}

static const char *left(struct world *w)
{
	unsigned long i = MEMORY / PAGE_SIZE + 1;
	struct page *page;

	for (page = w->folio; i--; page = page_of(w, i))
		if (page_count(page) != 1 || folio_mapped(page_folio(page)))
			return "a page is still held";
	return is_mapped(w) ? "a VMA is still linked" :
	       mm_tlb_flush_pending(w->mm) ? "a gather is still counted" : NULL;
}

#ifdef DO_VMI_MUNMAP
/* As munmap() does, which downgrades the lock. */
static const char *unmap(struct world *w)
{
	VMA_ITERATOR(vmi, w->mm, w->start);

	mmap_write_lock(w->mm);
	if (!do_vmi_munmap(&vmi, w->mm, w->start, w->end - w->start, NULL, true))
		return unmapped(w, w->start, w->end);
	mmap_write_unlock(w->mm);
	return "munmap() failed";
}
#else
static const char *unmap(struct world *w)
{
	return vm_munmap(w->start, w->end - w->start) ? "munmap() failed" :
	       unmapped(w, w->start, w->end);
}
#endif

static const char *map_over(struct world *w)
{
	return !mmap_at(w, ' ', -1, w->start, w->end - w->start, MAP_PRIVATE, 0) ? "mmap() failed" :
	       unmapped(w, w->start, w->end);
}

static const char *revoke_from(struct world *w, unsigned long offset)
{
	struct watch *watch = w->watch;

	kthread_unuse_mm(w->mm);	/* who revokes may be anybody */
	unmap_mapping_range(w->file[FIRST]->f_mapping, offset, 0, !offset);
	unmap_mapping_range(w->file[SECOND]->f_mapping, 0, 0, 1);
	kthread_use_mm(w->mm);
	w->flushes = 0;
	for (; watch < w->watch + w->nr_watches && !w->operation->races; watch++)
		if (watch->mapping && watch->addr >= w->start + offset && !gone(w, watch))
			return "not revoked";
	return w->operation->races || !is_mapped(w) ? NULL : unmapped(w, 0, 0);
}

/* First all but a page; not of a huge PUD, which can't be split. */
static const char *revoke(struct world *w)
{
	return (w->vma[0].kind == 'G' ? NULL : revoke_from(w, PAGE_SIZE)) ?: revoke_from(w, 0);
}

/* From the second page of the first VMA to that of the last; a huge entry is split before. */
static const char *only_part(struct world *w)
{
	if (!strchr("GH", w->vma[0].kind))
		w->start += PAGE_SIZE;
	if (!strchr("GH", w->vma[w->nr_vmas - 1].kind))
		w->end = w->vma[w->nr_vmas - 1].start + 2 * PAGE_SIZE;
	return NULL;
}

/* A mmap() over a part of one that maps pages, and fails then; a huge PUD can't be split. */
static const char *map_over_fails(struct world *w)
{
	struct mapped *vma = &w->vma[w->layouts % w->nr_vmas];

	if (strchr("GH", vma->kind))
		return NULL;
	w->mmap_error = -ENODEV;
	if (mmap_at(w, "MP"[w->layouts & 1], SECOND, vma->start, PAGES * PAGE_SIZE, MAP_SHARED, 0))
		return "mmap() did not fail";
	w->most += 3;
	return unmapped(w, vma->start, vma->start + PAGES * PAGE_SIZE);
}

/* What mremap() does: there is a second VMA, and all that is mapped moves there. */
static const char *move(struct world *w)
{
	unsigned long to = ALIGN(w->end, PUD_SIZE) + PMD_SIZE;
	const char *why = NULL;
	unsigned int i;

	w->most *= 2;
#ifdef INVALIDATE_RANGE
	w->nr_watches = 0;	/* flush_tlb_range() is not heard */
#endif
	for (i = 0; i < w->nr_vmas && !why; i++) {
		unsigned long from = w->vma[i].start, size = w->vma[i].end - from, moved;
		struct vm_area_struct *old, *new;

		if (!strchr("PQMTLU", w->vma[i].kind))
			continue;
		to = ALIGN(to, w->vma[i].kind == 'U' ? PUD_SIZE : PMD_SIZE) + (from & ~PMD_MASK);
		if (!mmap_at(w, ' ', w->vma[i].kind == 'Q', to, size, MAP_SHARED, i * PGOFFS))
			return "mmap() failed";
		mmap_write_lock(w->mm);
		old = vma_lookup(w->mm, from);
		new = vma_lookup(w->mm, to);
#ifdef VM_FLAGS_SET
		vm_flags_set(new, old->vm_flags & VM_PFN);
#else
		new->vm_flags |= old->vm_flags & VM_PFN;
#endif
#ifdef MOVE_CONTROL
		PAGETABLE_MOVE(pmc, old, new, from, to, size);
		moved = move_page_tables(&pmc);
#elif defined(FOR_STACK)
		moved = move_page_tables(old, from, new, to, size, false, false);
#else
		moved = move_page_tables(old, from, new, to, size, false);
#endif
		mmap_write_unlock(w->mm);
		why = moved == size ? unmapped(w, from, from + size) : "not moved";
		watch_vma(w, to, to + size);
		to += size;
	}
	w->end = to;
	return why;
}

/* Of PFNMAP as a driver does it, which madvise() leaves alone. */
static const char *dontneed(struct world *w)
{
	unsigned int i;

	for (i = 0; i < w->nr_vmas && IS_ENABLED(CONFIG_ADVISE_SYSCALLS); i++) {
		unsigned long start = w->vma[i].start, size = w->vma[i].end - start;

		if (!strchr("PQTLGUW", w->vma[i].kind))
			do_madvise(w->mm, start, size, MADV_DONTNEED);
		else
#ifdef ZAP_VMA_PTES
			zap_vma_ptes(vma_lookup(w->mm, start), start, size);
#else
			zap_special_vma_range(vma_lookup(w->mm, start), start, size);
#endif
	}
	w->flushes = 0;
	return unmapped(w, w->start, IS_ENABLED(CONFIG_ADVISE_SYSCALLS) ? w->end : 0);
}

/* What mprotect() does, with one gather for all VMAs. */
static const char *write_protect(struct world *w)
{
	struct vm_area_struct *vma;
	struct mmu_gather tlb;
	unsigned int i;

	w->write_protects = true;
	for (i = 0; i < w->nr_watches; i++)
		w->watch[i].flushed = gone(w, &w->watch[i]);
	mmap_write_lock(w->mm);
	tlb_gather_mmu(&tlb, w->mm);
	for (i = 0; i < w->nr_vmas && w->vma[i].kind != 'G'; i++) {
		vma = vma_lookup(w->mm, w->vma[i].start);
#ifdef VM_FLAGS_SET
		vm_flags_clear(vma, VM_WRITE);
#else
		vma->vm_flags &= ~VM_WRITE;
#endif
		vma_set_page_prot(vma);
#ifdef CHANGE_NEWPROT
		change_protection(&tlb, vma, vma->vm_start, vma->vm_end, vma->vm_page_prot, 0);
#else
		change_protection(&tlb, vma, vma->vm_start, vma->vm_end, 0);
#endif
	}
	tlb_finish_mmu(&tlb);
	mmap_write_unlock(w->mm);
	return unmapped(w, 0, 0);
}

/* As madvise(), in a gather that stays open, the second one, maybe of the first page alone. */
static void clear(struct world *w)
{
#if defined(UNMAP_DESC) || defined(UNMAP_MAS)
	MA_STATE(mas, &w->mm->mm_mt, 0, 0);
#endif
	unsigned long end = w->operation->clears == ALL ? w->end :
			    strchr("GH", w->vma[0].kind) ? w->vma[0].end : w->start + PAGE_SIZE;
	struct vm_area_struct *vma = vma_lookup(w->mm, w->start);
#ifdef UNMAP_DESC
	struct unmap_desc unmap = { .mas = &mas, .first = vma, .vma_start = w->start,
				    .vma_end = end, .tree_end = end };
#endif

	tlb_gather_mmu(&w->gather, w->mm);
	tlb_finish_mmu(&w->gather);
	tlb_gather_mmu(&w->gather, w->mm);
	mmap_read_lock(w->mm);
#if defined(UNMAP_DESC) || defined(UNMAP_MAS)
	mas_set(&mas, vma->vm_end);
#endif
#ifdef UNMAP_DESC
	unmap_vmas(&w->gather, &unmap);
#elif defined(UNMAP_MAS)
	unmap_vmas(&w->gather, &mas, vma, w->start, end, end, false);
#else
	unmap_vmas(&w->gather, &w->mm->mm_mt, vma, w->start, end);
#endif
	mmap_read_unlock(w->mm);
}

static const struct operation operations[] = {
	{ "munmap", NONE, NULL, unmap },
	{ "mmap over it", NONE, NULL, map_over },
	{ "munmap of a part", NONE, only_part, unmap },
	{ "mmap over it fails", NONE, map_over_fails, unmap },
	{ "mremap", NONE, move, unmap },
	{ "madvise", NONE, dontneed, unmap },
	{ "mprotect", NONE, write_protect, unmap },
	{ "revoke", NONE, revoke, unmap },
	{ "madvise beside a gather", ALL, dontneed, unmap },
	{ "revoke beside a gather", ALL, revoke, unmap },
	{ "munmap beside a gather", ALL, NULL, unmap },
	{ "munmap beside a gather of a page", ONE, NULL, unmap },
	{ "exit" },
	{ "race of munmap", NONE, NULL, unmap, true },
	{ "race of mmap over it", NONE, NULL, map_over, true },
	{ "race of munmap beside a gather", ALL, NULL, unmap, true },
};

static const char * const layouts[] = {
	"P", "M", "D", "C", "B", "T", "L", "G", "PQ", "P-T", "M-P-Q", "PMDC", "AP", "FP", "HP",
	"A-A-P", "A-P", "F-Q", "FPQ", "PA", "PF", "PH", "P-F", "PD", "PB", "AL", "LQ", "UQ", "PL-M",
	"TM", "H-T", "FG", "A-PAQ", "p", "ll", "W", "WA", "m", "d-d", "B-E", "A", "APPPPPPPPP",
};

static const char *operate(struct world *w)
{
	const char *why = NULL;

	if (w->operation->clears)
		clear(w);
	if (w->operation->prepare)
		why = w->operation->prepare(w);
	if (!why && w->operation->unmap)
		why = w->operation->unmap(w);
	if (w->operation->clears)
		tlb_finish_mmu(&w->gather);
	return why;
}

static bool can_read(struct world *w)
{
	unsigned int i, nr = 0;
	char c;

	for (i = 0; i < w->nr_watches; i++)
		nr += w->watch[i].mapping &&
		      !copy_from_user_nofault(&c, (void __user *)w->watch[i].addr, 1);
	return nr;
}

/*
 * On another CPU, has the pages in its TLB; then it is the driver that revokes, and sees
 * if a read goes through a stale entry. It doesn't sleep, lest its CPU flush, and reads on.
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
	for (; is_mapped(w) && spins--; cond_resched())
		can_read(w);
	if (!is_mapped(w)) {
		revoke(w);
		w->result = can_read(w);
	}
	kthread_unuse_mm(w->mm);
	up_read(gate);
}

/* To unlink what is behind the layout takes a lock, which the reader has until it judges. */
static const char *race(struct world *w)
{
	const char *why = NULL;

	w->end += PAGE_SIZE + 2 * PMD_SIZE * (w->layouts & 1);
	/* Nobody reads huge PUDs: they are not of memory. */
	if (strchr(w->layout, 'G') ||
	    !mmap_at(w, ' ', GATE, w->end - PAGE_SIZE, PAGE_SIZE, MAP_SHARED, 0))
		return NULL;
	w->result = -EAGAIN;
	init_completion(&w->ready);
	INIT_WORK(&w->reader, reader);
	queue_work_on(cpumask_any_but(cpu_online_mask, raw_smp_processor_id()),
		      system_long_wq, &w->reader);
	if (wait_for_completion_timeout(&w->ready, 60 * HZ))
		why = operate(w);
	flush_work(&w->reader);
	w->unclear += w->result < 0;
	w->nr_watches = 0;
	return w->result == 1 ? "a read went through a stale entry" : why ?: unmap(w);
}

static void open_mm(struct kunit *test)
{
	struct world *w = test->priv;

	w->mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, w->mm);
	w->mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(w->mm, &current->signal->rlim[RLIMIT_STACK]);
	w->mn.ops = &observer_ops;
#ifdef INVALIDATE_RANGE
	w->sentinel.ops = &sentinel_ops;
	KUNIT_ASSERT_EQ(test, mmu_notifier_register(&w->mn, w->mm) ?:
			      mmu_notifier_register(&w->sentinel, w->mm), 0);
#else
	KUNIT_ASSERT_EQ(test, mmu_notifier_register(&w->mn, w->mm), 0);
#endif
	/* From here to close_mm() there is no assertion. */
	kthread_use_mm(w->mm);
}

static void close_mm(struct kunit *test, const char *layout, const char *why)
{
	struct world *w = test->priv;

	w->nr_watches = 0;
	kthread_unuse_mm(w->mm);
	mmput(w->mm);
	why = why ?: left(w);
	if (!why && w->lazy && READ_ONCE(*w->lazy) == w->mm)
		why = "page tables gone, and a lazy CPU not told";
#ifdef INVALIDATE_RANGE
	mmu_notifier_unregister(&w->sentinel, w->mm);
#endif
	mmu_notifier_unregister(&w->mn, w->mm);
	KUNIT_EXPECT_NULL_MSG(test, why, "%s: %s", layout, why);
}

static const char *try(struct world *w, const char *layout)
{
	w->layouts++;
	if (map_layout(w, layout))
		return w->operation->races ? race(w) : operate(w);
	w->missing++;
	return NULL;
}

static void end(struct kunit *test)
{
	struct world *w = test->priv;

	kunit_info(test, "%d layouts, %d of them not possible here", w->layouts, w->missing);
	KUNIT_EXPECT_LT(test, w->missing, w->layouts);
	if (test->status == KUNIT_SUCCESS && w->unclear)
		kunit_skip(test, "%d trials too slow to tell", w->unclear);
	if (test->status == KUNIT_SUCCESS && !w->operation->races && !w->observes)
		kunit_skip(test, "nobody hears of flushes on this architecture");
}

#ifdef ARRAY_PARAM_DESC
KUNIT_ARRAY_PARAM_DESC(operations, operations, name);
#else
static void operation_desc(const struct operation *operation, char *desc)
{
	strscpy(desc, operation->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(operations, operations, operation_desc);
#endif

static void each_layout(struct kunit *test)
{
	struct world *w = test->priv;
	unsigned int i, round, rounds;

	w->operation = test->param_value;
	rounds = w->operation->races ? race_trials : 1;
	if (!rounds || (w->operation->races && num_online_cpus() < 2))
		kunit_skip(test, "needs 2 CPUs and some trials");
	for (i = 0; i < ARRAY_SIZE(layouts); i++) {
		const char *why = NULL;

		open_mm(test);
		/* It takes long to fill all batches. */
		for (round = 0; round < rounds && !why; round += strchr(layouts[i], 'B') ? 100 : 1)
			why = try(w, layouts[i]);
		close_mm(test, layouts[i], why);
	}
	end(test);
}

/* The digits of every 17th number are a layout of up to five VMAs. */
static void generated_layouts(struct kunit *test)
{
	char layout[MAX_VMAS + 1] = "";
	struct world *w = test->priv;
	const char *why = NULL;
	unsigned int nr, rest, i;

	open_mm(test);
	for (nr = 1; nr < 100000 && !why; nr += 17) {
		for (rest = nr, i = 0; rest; rest /= 10)
			layout[i++] = "-PQMDCAFHL"[rest % 10];
		w->operation = &operations[nr & 1];
		why = try(w, layout);
		vm_munmap(BASE, w->end - BASE);
		why = why ?: left(w);
	}
	close_mm(test, layout, why);
	end(test);
}

static void world_exit(struct kunit *test)
{
	struct world *w = test->priv;
	int i;

	for (i = 0; w && i < NR_FILES; i++)
		if (!IS_ERR_OR_NULL(w->file[i]))
			fput(w->file[i]);
	flush_delayed_fput();
	if (w && w->folio)
		put_page(w->folio);
	if (w && w->memory)
		free_pages_exact(w->memory, MEMORY);
}

static int world_init(struct kunit *test)
{
	struct world *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, w);
	test->priv = w;
	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	w->folio = alloc_pages(GFP_KERNEL | __GFP_COMP, get_order(PAGES * PAGE_SIZE));
	w->memory = alloc_pages_exact(MEMORY, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, w->folio && w->memory);
	for (i = 0; i < HUGE; i++) {
#ifdef CREATE_GETFILE
		w->file[i] = anon_inode_create_getfile("[mmu_gather]", &dev_fops, w, O_RDWR, NULL);
#else
		w->file[i] = anon_inode_getfile_secure("[mmu_gather]", &dev_fops, w, O_RDWR, NULL);
#endif
		KUNIT_ASSERT_FALSE(test, IS_ERR(w->file[i]));
	}
#ifdef VMA_FLAGS
	w->file[HUGE] = hugetlb_file_setup("h", PMD_SIZE, mk_vma_flags(VMA_NORESERVE_BIT),
					   HUGETLB_ANONHUGE_INODE, 0);
#else
	w->file[HUGE] = hugetlb_file_setup("h", PMD_SIZE, VM_NORESERVE, HUGETLB_ANONHUGE_INODE, 0);
#endif
	return 0;
}

static struct kunit_case mm_cases[] = {
	KUNIT_CASE_PARAM(each_layout, operations_gen_params),
#ifdef CASE_SLOW
	KUNIT_CASE_SLOW(generated_layouts),
#else
	KUNIT_CASE(generated_layouts),
#endif
	{}
};

static struct kunit_suite mm_suite = {
	.name = "mmu_gather_mm",
	.init = world_init,
	.exit = world_exit,
	.test_cases = mm_cases,
};

kunit_test_suite(mm_suite);
