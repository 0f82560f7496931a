/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Is every stale TLB entry gone when unmap_mapping_range() returns?
 *
 * In one mm, a thread unmaps VMAs, two others zap VMAs that are mapped, as
 * madvise() does, and a driver takes the pages of a file back with
 * unmap_mapping_range().  Inlines and processes are named for the kernel
 * functions they stand for; code.md ties them to the code.
 *
 * Checked in every run:
 *  - no page and no table gets a new use while a CPU can reach it, through page
 *    tables or through what its TLB may hold,
 *  - nobody walks page tables that may be freed,
 *  - nobody waits for ever, and every run ends.
 *
 * Left out, and why nothing unsafe hides there:
 *  - CPUs.  What a TLB holds steers nobody, so it holds all that it may: what is
 *    present, and what was cleared and is not flushed yet.  One CPU is enough to
 *    go wrong, and a flush reaches that one in one step.
 *  - Ranges.  A flush reaches only entries that this gather has cleared, on the
 *    level where they were.  Any hardware does at least that.  What is taken as
 *    pending at the level of PTEs reaches larger entries, too, but for one_size.
 *  - Why a batch is full.  munmap() may flush after any entry, so whatever makes
 *    the kernel do so is among the runs, and so is the flush at the end of a VMA
 *    on architectures without MMU_GATHER_MERGE_VMAS.
 *  - Page table locks.  What is done in one hold of them is one step.
 *  - Faults.  An entry does not come back.  In any design a driver must refuse
 *    faults on what it is about to revoke.
 *
 * So the model can't show: weak memory ordering (a step is seen by all at once;
 * litmus/ is for that), lockless software walkers such as gup_fast(), what an
 * MMU caches above pointers to page tables, interrupts, fullmm (nobody runs in
 * that mm any more), or how many flushes there are.
 */

mtype = {
	/* VARIANT: what the gather does for PFN VMAs */
	today, none, plain, first_series, mainline, mainline_fix, second,
	late, once, flag_only, hook_only, whole_mm, huge_level, one_size,
	/* MADVISE: what is done before the lock on a VMA is dropped */
	finished, flushed, nothing,
	/* who, and what */
	unmapper, revoker, zapper_0, zapper_1, PFN, ordinary, revoked, freed, pte, huge
};

#ifndef VARIANT
#define VARIANT second
#endif
#ifndef MADVISE
#define MADVISE nothing
#endif
#ifndef ZAPPERS
#define ZAPPERS 1
#endif

#define FIRST		(VARIANT == first_series)
#define MAINLINE	(VARIANT == mainline || VARIANT == mainline_fix)
#define OURS		(VARIANT != today && VARIANT != none && !MAINLINE)
#define SECOND		(OURS && !FIRST && VARIANT != plain)

/*
 * VMA 0 has a PTE, in a page table of its own, and a huge entry.  VMA 1 has a
 * PTE, in a page table that stays.  Sets of entries and of VMAs are masks.
 */
#define VMAS		2
#define VMA(v)		(1 << (v))
#define PTE(v)		(1 << (3 * (v)))
#define HUGE(v)		(2 << (3 * (v)))
#define TABLE(v)	(4 << (3 * (v)))
#define LEAVES(v)	(PTE(v) | HUGE(v))
#define ALL_LEAVES	(LEAVES(0) | PTE(1))
#define ALL		(ALL_LEAVES | TABLE(0))

#define is_pfn(v)	((pfn_vmas & VMA(v)) != 0)
#define kind(v)		(is_pfn(v) -> PFN : ordinary)

byte present;			/* entries that are set */
byte stale;			/* cleared, and a TLB may hold them */
byte pfn_vmas;
byte linked;			/* in rmap, where unmap_mapping_range() looks */
byte detached;			/* munmap() has locked them for writing */
byte read_locked[2];		/* what each zapper keeps from being unmapped */
bool i_mmap_read_locked;
byte tlb_flush_pending;		/* gathers that are open in the mm */

typedef mmu_gather {
	byte pending;		/* entries that tlb_flush() is to reach */
	byte queue;		/* pages and tables to free after it */
	bit vma_pfn;
	bit in_pfn_vma
};

#define reachable(e)	((present | stale) & (e))

inline new_use(how, entries)
{
	i = 0;
	do
	:: i == VMAS -> break
	:: i < VMAS && reachable((entries) & LEAVES(i)) ->
		printf("@ CPU: BUG %e-page: uses the page of the %e entry of VMA %d\n", how,
		       (reachable((entries) & PTE(i)) -> pte : huge), i);
		assert(false);
		break
	:: i < VMAS && reachable((entries) & TABLE(i)) ->
		printf("@ CPU: BUG freed-table: walks the page table of VMA %d\n", i);
		assert(false);
		break
	:: else -> i++
	od;
	i = 0
}

#define mm_tlb_flush_nested()	(tlb_flush_pending > 1)

inline __tlb_reset_range()
{
	tlb.pending = 0;
	tlb.vma_pfn = (FIRST -> tlb.in_pfn_vma : (OURS -> 0 : tlb.vma_pfn))
}

inline tlb_flush()
{
	if
	:: tlb.pending ->
		printf("@ %e: tlb_flush() reaches %x\n", me, tlb.pending);
		stale = stale & ~tlb.pending;
		__tlb_reset_range()
	:: else
	fi
}

inline tlb_flush_mmu_tlbonly()
{
	d_step {
		if
		:: tlb.pending
		:: else -> printf("@ %e: has nothing to flush\n", me)
		fi;
		tlb_flush()
	}
}

inline tlb_flush_mmu()
{
	d_step {
		tlb_flush();
		new_use(freed, tlb.queue);
		tlb.queue = 0
	}
}

inline tlb_gather_mmu()
{
	d_step {
		printf("@ %e: tlb_gather_mmu()\n", me);
		tlb_flush_pending++
	}
}

inline tlb_finish_mmu()
{
	if
	:: d_step {
		mm_tlb_flush_nested() ->
		printf("@ %e: tlb_finish_mmu() finds another gather open\n", me);
		tlb.pending = ALL
	   }
	:: else
	fi;
	tlb_flush_mmu();
	d_step {
		printf("@ %e: tlb_finish_mmu() is done\n", me);
		tlb.vma_pfn = 0;
		tlb_flush_pending--
	}
}

inline tlb_start_vma(v)
{
	tlb.vma_pfn = is_pfn(v) || (tlb.vma_pfn && VARIANT != today);
	tlb.in_pfn_vma = FIRST && is_pfn(v)
}

/* Another gather is looked for at the hook, not at the end of the VMA. */
#define late_nested	(VARIANT == flag_only || VARIANT == hook_only)

/* What is taken as pending if there is one. */
#define taken(v)	(VARIANT == whole_mm -> ALL_LEAVES : \
			 (VARIANT == huge_level -> HUGE(v) : \
			 (VARIANT == one_size -> PTE(v) : LEAVES(v))))

inline tlb_end_vma(v)
{
	if
	:: VARIANT == today && is_pfn(v) ->
		tlb_flush_mmu_tlbonly()
	:: d_step {
		FIRST ->
		tlb.in_pfn_vma = 0;
		tlb.vma_pfn = tlb.vma_pfn && tlb.pending
	   }
	:: d_step {
		(SECOND || VARIANT == mainline_fix) && is_pfn(v) ->
		if
		:: !late_nested && mm_tlb_flush_nested() ->
			printf("@ %e: tlb_end_vma() finds another gather open\n", me);
			tlb.pending = tlb.pending | taken(v)
		:: else
		fi;
		tlb.vma_pfn = tlb.pending || MAINLINE || (VARIANT == flag_only && mm_tlb_flush_nested())
	   }
	:: else
	fi
}

#define must_flush	(tlb.vma_pfn || (VARIANT == hook_only && mm_tlb_flush_nested()))

inline tlb_free_vma(v)
{
	if
	:: (is_pfn(v) || MAINLINE) && must_flush ->
		if
		:: d_step {
			late_nested && mm_tlb_flush_nested() ->
			printf("@ %e: tlb_free_vma() finds another gather open\n", me);
			tlb.pending = tlb.pending | ALL_LEAVES
		   }
		:: else
		fi;
		tlb_flush_mmu_tlbonly()
	:: else
	fi
}

/* Only ordinary pages are queued: the mm holds no reference to the others. */
inline clear(entry, to_free)
{
	present = present & ~(entry);
	stale = stale | (entry);
	tlb.pending = tlb.pending | (entry);
	tlb.queue = tlb.queue | (to_free -> (entry) : 0)
}

inline zap_pte_range(v)
{
	if
	:: !(linked & VMA(v)) ->
		printf("@ %e: BUG freed-table: walks VMA %d, which is unlinked\n", me, v);
		assert(false)
	:: else
	fi;
	if
	:: present & PTE(v) ->
		printf("@ %e: zap_pte_range() clears the pte of VMA %d\n", me, v);
		clear(PTE(v), !is_pfn(v))
	:: else
	fi
}

inline zap_huge_pmd(v)
{
	if
	:: present & HUGE(v) ->
		printf("@ %e: zap_huge_pmd() clears the huge entry of VMA %d\n", me, v);
		clear(HUGE(v), !is_pfn(v))
	:: else
	fi
}

inline zap_empty_pte_table(v)
{
	printf("@ %e: takes away the page table of VMA %d\n", me, v);
	clear(TABLE(v), true)
}

inline may_be_full()
{
	if
	:: tlb.pending -> tlb_flush_mmu()
	:: true
	fi
}

inline unmap_page_range(v)
{
	d_step { tlb_start_vma(v); zap_pte_range(v) };
	may_be_full();
	d_step { zap_huge_pmd(v) };
	may_be_full();
	tlb_end_vma(v)
}

/* The write lock is held in this step only. */
inline unlink_file_vma_batch()
{
	atomic {
		!i_mmap_read_locked ->
		printf("@ %e: unlink_file_vma_batch() of VMAs %d to %d\n", me, head, v - 1);
		linked = linked & ~(VMA(v) - VMA(head))
	}
}

/* The page table may stay, for a neighbour of the range. */
inline free_pgd_range()
{
	if
	:: d_step { head == 0 && (present & TABLE(0)) -> zap_empty_pte_table(0) }
	:: true
	fi;
	may_be_full()
}

/* mainline's tlb_free_vmas() is called once, before the loop. */
#define calls_hook(v)	(MAINLINE && (v) == 0 || \
			 OURS && VARIANT != late && (VARIANT != once || (v) == 0))

inline free_pgtables()
{
	v = 0;
	do
	:: v < end ->
		head = v;
		if
		:: calls_hook(v) -> tlb_free_vma(v)
		:: else
		fi;
		v++;
		if		/* gather nearby VMAs */
		:: v < end ->
			if
			:: calls_hook(v) -> tlb_free_vma(v)
			:: else
			fi;
			v++
		:: true
		fi;
		unlink_file_vma_batch();
		if
		:: VARIANT == late -> tlb_free_vma(head)
		:: else
		fi;
		free_pgd_range()
	:: else -> break
	od
}

proctype munmap()
{
	mtype me = unmapper;
	mmu_gather tlb;
	byte end, v, head, i;

	atomic {
		if
		:: end = 1
		:: end = 2
		fi;
		!((read_locked[0] | read_locked[1]) & (VMA(end) - 1)) ->
		printf("@ %e: has locked VMAs 0 to %d for writing\n", me, end - 1);
		detached = VMA(end) - 1
	}
	tlb_gather_mmu();
	do			/* unmap_vmas() */
	:: v < end -> unmap_page_range(v); v++
	:: else -> break
	od;
	free_pgtables();
	tlb_finish_mmu()
}

inline zap_page_range_single(v)
{
	d_step { tlb_start_vma(v); zap_pte_range(v); zap_huge_pmd(v) };
	tlb_end_vma(v)
}

proctype unmap_mapping_range()
{
	mtype me = revoker;
	mmu_gather tlb;
	byte v, i;

	d_step {
		printf("@ %e: unmap_mapping_range() locks i_mmap\n", me);
		i_mmap_read_locked = true
	}
	do			/* unmap_mapping_range_tree() */
	:: v < VMAS ->
		if
		:: linked & pfn_vmas & VMA(v) ->
			tlb_gather_mmu();
			zap_page_range_single(v);
			tlb_finish_mmu()
		:: else
		fi;
		v++
	:: else -> break
	od;
	i_mmap_read_locked = false;
	d_step {
		printf("@ %e: unmap_mapping_range() has returned, the pages get a new use\n", me);
		new_use(revoked, LEAVES(0) * is_pfn(0) | LEAVES(1) * is_pfn(1))
	}
}

/*
 * mmap_lock keeps all VMAs from being unmapped, the lock on a VMA keeps this one.
 * A range is any set of VMAs.  A flush inside of one would only take entries
 * from TLBs sooner.
 */
inline vma_start_read()
{
	if
	:: read_locked[id] = VMA(v)
	:: read_locked[id] = VMA(0) | VMA(1)
	fi;
	printf("@ %e: has locked VMA %d for reading\n", me, v)
}

inline vma_end_read()
{
	printf("@ %e: lets go of VMA %d\n", me, v);
	read_locked[id] = 0;
	v++
}

inline madvise_dontneed_single_vma(v)
{
	d_step { tlb_start_vma(v); zap_pte_range(v); zap_huge_pmd(v) };
	if
	:: d_step { present & TABLE(v) -> zap_empty_pte_table(v) }
	:: true
	fi;
	tlb_end_vma(v)
}

proctype madvise(bit id)
{
	mtype me = (id == 0 -> zapper_0 : zapper_1);
	mmu_gather tlb;
	byte v, i;

	atomic {
		if
		:: id + 1 < ZAPPERS -> run madvise(id + 1)
		:: else
		fi;
		if
		:: MADVISE != finished -> tlb_gather_mmu()
		:: else
		fi
	}
	do
	:: v == VMAS -> break
	:: v < VMAS -> v++
	:: atomic { v < VMAS && !(detached & VMA(v)) -> vma_start_read() };
	   atomic {
		if
		:: MADVISE == finished -> tlb_gather_mmu()
		:: else
		fi;
		madvise_dontneed_single_vma(v);
		if
		:: MADVISE == nothing -> vma_end_read()
		:: else
		fi
	   };
	   if
	   :: MADVISE == finished -> tlb_finish_mmu(); d_step { vma_end_read() }
	   :: MADVISE == flushed -> tlb_flush_mmu(); d_step { vma_end_read() }
	   :: else
	   fi
	od;
	if
	:: MADVISE != finished -> tlb_finish_mmu()
	:: else
	fi
}

init
{
	atomic {
		present = ALL;
		linked = VMA(0) | VMA(1);
		select(pfn_vmas : 1 .. 3);
		run madvise(0);
		run munmap();
		run unmap_mapping_range();
		printf("@ start: VMA 0 is %e, VMA 1 %e\n", kind(0), kind(1))
	}
}
