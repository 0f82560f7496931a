/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Is every stale TLB entry gone when unmap_mapping_range() returns?
 *
 * One thread unmaps a range of three VMAs.  Another takes the pages of a file
 * back with unmap_mapping_range().  A third zaps a VMA of that file which stays
 * mapped, as madvise() does.  Two CPUs fill their TLBs and use what they hold.
 * Inlines and processes are named for the kernel functions they stand for;
 * README.md ties them to the code.
 *
 * Checked in every run:
 *  - no CPU reaches a page that is revoked or freed,
 *  - nobody walks a page table that is freed,
 *  - nobody waits for ever, and every run ends.
 *
 * Left out, and why nothing unsafe hides there:
 *  - Why a batch is full.  The unmapper may flush after any PTE, so whatever
 *    makes the kernel do so is among the runs, and so is the flush at the end
 *    of a VMA on architectures without MMU_GATHER_MERGE_VMAS.
 *  - The page table lock.  What is done in one hold of it is one step; a flush
 *    inside a VMA ends the hold, as in zap_pte_range().
 *  - mmap_lock.  munmap() has detached its VMAs and downgraded the lock, so
 *    others zap in this mm at the same time, but only other VMAs.
 *  - Faults.  A PTE does not come back.  In any design a driver must refuse
 *    faults on what it is about to revoke.
 *  - Filling of single TLB entries.  A fill takes all that is present, every
 *    page was used before the start, and nothing is evicted.  What a TLB holds
 *    steers nobody, so holding more only adds ways to fail.
 *
 * So the model can't show: weak memory ordering (a step is seen by all at
 * once), lockless software walkers such as gup_fast(), what an MMU caches
 * beyond PTEs and pointers to page tables, huge pages, fullmm (nobody runs in
 * that mm any more), or how many flushes there are.
 */

#ifndef VARIANT
#define VARIANT series
#endif

mtype = { today, none, plain, series, mainline, late, first, no_nested };

#define HAS_HOOK	(VARIANT != today && VARIANT != none)
#define EXACT		(HAS_HOOK && VARIANT != plain && VARIANT != mainline)

/*
 * VMAs 0 to 2, in mm 0, are unmapped.  VMA 3 stays: in mm 0, or in mm 1 as the
 * mapping of a second process.  Each has two PTEs; VMAs 0 to 2 have a page table
 * each.  Sets of entries are masks: bits 0 to 7 for PTEs, 8 to 10 for pointers
 * to page tables.
 */
#define UNMAPPED	3
#define STAYS		3
#define PTES		8
#define ALL		2047
#define PTE(n)		(1 << (n))
#define VMA(v)		(1 << (v))
#define ptes_of(v)	(3 << (2 * (v)))
#define table_of(v)	(1 << (PTES + (v)))

#define is_pfn(v)	((pfn_vmas & VMA(v)) != 0)
#define if_pfn(v)	(is_pfn(v) -> ptes_of(v) : 0)
#define PFN_PTES	(if_pfn(0) | if_pfn(1) | if_pfn(2) | if_pfn(3))
#define kind(v)		(is_pfn(v) -> PFN : ordinary)

#define IN_MM1		(mm_of_stays == 1 -> ptes_of(STAYS) : 0)
#define in_mm(m)	((m) == 1 -> IN_MM1 : ALL & ~IN_MM1)

short present = ALL;		/* entries set in the page tables of both mms */
short gone;			/* entries whose page or table has a new use */
short cached[2] = ALL;		/* entries that the TLB of each CPU holds */
byte i_mmap;			/* VMAs in the rmap tree of the file */
bool i_mmap_read_locked;
byte tlb_flush_pending[2];	/* mm_struct::tlb_flush_pending of each mm */
bit mm_of_stays;

mtype = { unmapper, revoker, zapper, PFN, ordinary };

typedef mmu_gather {
	bit mm;
	byte start;
	byte end;
	bit freed_tables;
	bit vma_pfn;
	bit in_pfn_vma;
	short queue		/* pages and tables to free after a flush */
};

inline __tlb_reset_range()
{
	tlb.start = PTES;
	tlb.end = 0;
	tlb.freed_tables = 0;
	if
	:: VARIANT == plain -> tlb.vma_pfn = 0
	:: EXACT -> tlb.vma_pfn = tlb.in_pfn_vma
	:: else
	fi
}

inline __tlb_adjust_range(pte)
{
	tlb.start = (tlb.start < pte -> tlb.start : pte);
	tlb.end = (tlb.end > pte -> tlb.end : pte + 1)
}

#define leaves		((1 << tlb.end) - (1 << tlb.start))
#define if_leaf(v)	(leaves & PTE(2 * (v)) -> table_of(v) : 0)
#define tables		(tlb.freed_tables -> if_leaf(0) | if_leaf(1) | if_leaf(2) : 0)

inline tlb_flush(cpu)
{
	cached[cpu] = cached[cpu] & ~((leaves | tables) & in_mm(tlb.mm));
	printf("@ %e: tlb_flush() of PTEs %d to %d of mm %d on CPU %d\n",
	       me, tlb.start, tlb.end - 1, tlb.mm, cpu)
}

/* Others may act between the flush of one CPU and of the next. */
inline tlb_flush_mmu_tlbonly()
{
	if
	:: tlb.end == 0
	:: else ->
		d_step { tlb_flush(0) };
		d_step { tlb_flush(1); __tlb_reset_range() }
	fi
}

inline tlb_flush_mmu()
{
	tlb_flush_mmu_tlbonly();
	if
	:: tlb.queue ->
		d_step {
			gone = gone | tlb.queue;
			tlb.queue = 0;
			printf("@ %e: tlb_flush_mmu() frees what was queued\n", me)
		}
	:: else
	fi
}

inline tlb_gather_mmu(m)
{
	d_step {
		tlb.mm = m;
		__tlb_reset_range();
		tlb_flush_pending[tlb.mm]++;
		printf("@ %e: tlb_gather_mmu() on mm %d\n", me, tlb.mm)
	}
}

inline tlb_finish_mmu()
{
	if
	:: d_step {
		VARIANT != no_nested && tlb_flush_pending[tlb.mm] > 1 ->
		__tlb_reset_range();
		tlb.start = 0;
		tlb.end = PTES;
		tlb.freed_tables = 1;
		printf("@ %e: mm_tlb_flush_nested() on mm %d, so flush all of it\n",
		       me, tlb.mm)
	   }
	:: else
	fi;
	tlb_flush_mmu();
	d_step {
		tlb_flush_pending[tlb.mm]--;
		printf("@ %e: tlb_finish_mmu() on mm %d is done\n", me, tlb.mm)
	}
}

inline tlb_start_vma(v)
{
	if
	:: HAS_HOOK -> tlb.vma_pfn = tlb.vma_pfn || is_pfn(v)
	:: else -> tlb.vma_pfn = is_pfn(v)
	fi;
	tlb.in_pfn_vma = is_pfn(v)
}

inline tlb_end_vma()
{
	tlb.in_pfn_vma = 0;
	if
	:: VARIANT == today && tlb.vma_pfn -> tlb_flush_mmu_tlbonly()
	:: EXACT && tlb.end == 0 -> tlb.vma_pfn = 0
	:: else
	fi
}

#define ONCE		(VARIANT == first || VARIANT == mainline)
#define calls_hook(v)	(HAS_HOOK && VARIANT != late && (!ONCE || (v) == 0))

inline tlb_free_vma(v)
{
	if
	:: calls_hook(v) ->
		printf("@ %e: tlb_free_vma() of VMA %d, vma_pfn is %d\n", me, v, tlb.vma_pfn);
		if
		:: tlb.vma_pfn && (is_pfn(v) || VARIANT == mainline) ->
			tlb_flush_mmu_tlbonly()
		:: else
		fi
	:: else
	fi
}

/*
 * Who walks a table may have read the PMD entry long before.  Only ordinary
 * pages are queued: the mm holds no reference to the others.
 */
inline zap_pte(v, pte)
{
	if
	:: gone & table_of(v) ->
		printf("@ %e: BUG freed-table: walks the page table of VMA %d\n", me, v);
		assert(false)
	:: else
	fi;
	if
	:: present & PTE(pte) ->
		present = present & ~PTE(pte);
		__tlb_adjust_range(pte);
		tlb.queue = tlb.queue | (is_pfn(v) -> 0 : PTE(pte));
		printf("@ %e: zap_pte_range() clears PTE %d of VMA %d\n", me, pte, v)
	:: else ->
		printf("@ %e: zap_pte_range() finds PTE %d of VMA %d clear\n", me, pte, v)
	fi
}

inline unmap_page_range(v)
{
	if
	:: d_step { tlb_start_vma(v); zap_pte(v, 2 * v); zap_pte(v, 2 * v + 1) }
	:: d_step { tlb_start_vma(v); zap_pte(v, 2 * v) };
	   tlb_flush_mmu();
	   d_step { zap_pte(v, 2 * v + 1) }
	fi;
	if
	:: tlb_flush_mmu()
	:: true
	fi;
	tlb_end_vma()
}

/* The write lock is held in this step only. */
inline unlink_file_vma_batch()
{
	atomic {
		!i_mmap_read_locked ->
		i_mmap = i_mmap & ~(VMA(v) - VMA(head));
		printf("@ %e: unlink_file_vma_batch_final() of VMAs %d to %d\n",
		       me, head, v - 1)
	}
}

/*
 * The last table may stay, for a VMA behind the range.  A batch of tables may
 * be full: that flushes.
 */
inline free_pgd_range()
{
	atomic {
		do
		:: head < v ->
			present = present & ~table_of(head);
			__tlb_adjust_range(2 * head);
			tlb.freed_tables = 1;
			tlb.queue = tlb.queue | table_of(head);
			printf("@ %e: free_pte_range() of the page table of VMA %d\n", me, head);
			head++
		:: head == UNMAPPED - 1 -> break
		:: head == v -> break
		od
	}
	if
	:: tlb_flush_mmu()
	:: true
	fi
}

inline free_pgtables()
{
	v = 0;
	do
	:: v < UNMAPPED ->
		head = v;
		tlb_free_vma(v);
		v++;
		do		/* gather nearby VMAs */
		:: v < UNMAPPED -> tlb_free_vma(v); v++
		:: break
		od;
		unlink_file_vma_batch();
		if
		:: VARIANT == late && tlb.vma_pfn && (pfn_vmas & (VMA(v) - VMA(head))) ->
			tlb_flush_mmu_tlbonly()
		:: else
		fi;
		free_pgd_range()
	:: else -> break
	od
}

/* A flush inside of it would only take TLB entries sooner. */
inline zap_page_range_single(m, v)
{
	tlb_gather_mmu(m);
	d_step { tlb_start_vma(v); zap_pte(v, 2 * v); zap_pte(v, 2 * v + 1) };
	tlb_end_vma();
	tlb_finish_mmu()
}

proctype munmap(byte pfn_vmas)
{
	mtype me = unmapper;
	mmu_gather tlb;
	byte v, head;

	tlb_gather_mmu(0);
	do			/* unmap_vmas() */
	:: v < UNMAPPED -> unmap_page_range(v); v++
	:: else -> break
	od;
	free_pgtables();
	tlb_finish_mmu()
}

proctype unmap_mapping_range(byte pfn_vmas)
{
	mtype me = revoker;
	mmu_gather tlb;
	byte v;

	d_step {
		i_mmap_read_locked = true;
		printf("@ %e: unmap_mapping_range() locks i_mmap\n", me)
	}
	do			/* unmap_mapping_range_tree() */
	:: v <= STAYS ->
		if
		:: i_mmap & VMA(v) ->
			zap_page_range_single(mm_of_stays * (v == STAYS), v)
		:: else
		fi;
		v++
	:: else -> break
	od;
	i_mmap_read_locked = false;
	d_step {
		gone = gone | PFN_PTES;
		printf("@ %e: unmap_mapping_range() has returned, the pages get a new use\n", me)
	}
}

proctype madvise(byte pfn_vmas)
{
	mtype me = zapper;
	mmu_gather tlb;

	zap_page_range_single(0, STAYS)
}

proctype cpu(bit id; byte pfn_vmas)
{
	byte e;

end:	do
	:: d_step {
		present & ~cached[id] ->
		cached[id] = cached[id] | present;
		printf("@ CPU %d: fills its TLB with all that is present\n", id)
	   }
	:: d_step {
		cached[id] & gone ->
		do
		:: cached[id] & gone & PTE(e) -> break
		:: else -> e++
		od;
		if
		:: e >= PTES ->
			printf("@ CPU %d: BUG freed-table: walks the page table of VMA %d\n", id, e - PTES)
		:: e < PTES && is_pfn(e / 2) ->
			printf("@ CPU %d: BUG revoked-page: uses PTE %d from its TLB\n", id, e)
		:: else ->
			printf("@ CPU %d: BUG freed-page: uses PTE %d from its TLB\n", id, e)
		fi;
		assert(false)
	   }
	od
}

/* Any mix of kinds, and a second mm; or PFN VMAs only, and a zapper in mm 0. */
init
{
	byte pfn_vmas;

	atomic {
		if
		:: select(pfn_vmas : VMA(STAYS) .. VMA(STAYS + 1) - 1);
		   mm_of_stays = 1
		:: pfn_vmas = VMA(STAYS + 1) - 1;
		   run madvise(pfn_vmas)
		fi;
		i_mmap = pfn_vmas;
		run cpu(0, pfn_vmas);
		run cpu(1, pfn_vmas);
		run munmap(pfn_vmas);
		run unmap_mapping_range(pfn_vmas);
		printf("@ start: VMA 0 is %e, VMA 1 %e, VMA 2 %e; VMA 3 stays, in mm %d; all is in the TLBs\n",
		       kind(0), kind(1), kind(2), mm_of_stays)
	}
}
