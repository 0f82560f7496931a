// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/pfn, a driver as the series has it in mind: maps FRAMES frames that the kernel has no struct page for, and takes
 * them back with unmap_mapping_range(). Put into the kernels of 'make soak', race, devices and applications, never sent.
 * Page N of the file is a frame in a VM_PFNMAP VMA, page FRAMES + N the same frame in a VM_MIXEDMAP VMA. What is behind
 * them in a VM_MIXEDMAP VMA is one more frame, of no interest.
 * Its ioctl(REVOKE + first, count), for one caller at a time: nobody may reach these frames now, and who tries gets
 * SIGBUS; they hold POISON for HOLD us or more, and OWNED again before anyone may. Who reads POISON had a stale TLB
 * entry.
 * /dev/gate maps nothing. While it is shut nobody can unlink a VMA of it: munmap() waits there with what it has
 * unlinked before, long enough for that to be taken back.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/rwsem.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include <asm/tlb.h>

#include "pfn_device.h"

#define ADDRESS	0x38000000UL	/* of the frames: mem=896M, or 'memmap=1M$896M', leaves them to us */
#define HOLD	500
#define OWNED	0x600dUL

static DECLARE_RWSEM(revoke_lock);
static unsigned long revoked, revoked_end;	/* frames, under revoke_lock */
static unsigned long *frames;

static atomic_t held;	/* DROPPED | GATE | WATCHED */
static DECLARE_COMPLETION(gone);
static DECLARE_WAIT_QUEUE_HEAD(released);

/* Keeps what the caller has for @ms ms, or until RELEASE. */
static void hold(int what, unsigned long ms, bool awake)
{
	unsigned long end = jiffies + msecs_to_jiffies(ms);

	atomic_or(what, &held);
	if (awake) {
		while (atomic_read(&held) & what && time_before(jiffies, end))
			cpu_relax();
	} else {
		wait_event_timeout(released, !(atomic_read(&held) & what), msecs_to_jiffies(ms));
	}
	atomic_andnot(what, &held);
}

static unsigned long *frame(unsigned long i)
{
	return frames + i * PAGE_SIZE / sizeof(*frames);
}

static vm_fault_t pfn_fault(struct vm_fault *vmf)
{
	unsigned long i = vmf->pgoff % FRAMES;
	vm_fault_t ret = VM_FAULT_SIGBUS;

	if (vmf->pgoff >= 2 * FRAMES)
		i = FRAMES;
	down_read(&revoke_lock);
	if (i < revoked || i >= revoked_end)
		ret = vmf_insert_pfn(vmf->vma, vmf->address, (ADDRESS >> PAGE_SHIFT) + i);
	up_read(&revoke_lock);
	return ret;
}

static const struct vm_operations_struct pfn_vm_ops = { .fault = pfn_fault };

static int pfn_mmap(struct file *file, struct vm_area_struct *vma)
{
	bool pfnmap = vma->vm_pgoff < FRAMES;

	/* Copies of frames are for VM_MIXEDMAP. */
	if (pfnmap && !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	/* vm_flags_set(), which 6.1 lacks. */
	*(vm_flags_t *)&vma->vm_flags |= VM_DONTDUMP | (pfnmap ? VM_PFNMAP : VM_MIXEDMAP);
	vma->vm_ops = &pfn_vm_ops;
	return 0;
}

/* No fault that saw the old range maps anything after this. */
static void set_revoked(unsigned long first, unsigned long end)
{
	down_write(&revoke_lock);
	revoked = first;
	revoked_end = end;
	up_write(&revoke_lock);
}

static long revoke(struct file *file, unsigned long first, unsigned long count)
{
	unsigned long i, end = first + count;
	long written = 0;

	if (first >= FRAMES || end > FRAMES)
		return -EINVAL;
	set_revoked(first, end);
	for (i = 0; i < 2; i++)
		unmap_mapping_range(file->f_mapping, (i * FRAMES + first) << PAGE_SHIFT, count << PAGE_SHIFT, 1);
	for (i = first; i < end; i++)
		WRITE_ONCE(*frame(i), POISON);
	usleep_range(HOLD, 2 * HOLD);
	for (i = first; i < end; i++) {
		written += READ_ONCE(*frame(i)) != POISON;
		WRITE_ONCE(*frame(i), OWNED);
	}
	set_revoked(0, 0);
	return written;
}

static long await_unlinked(struct file *file, unsigned long ms)
{
	unsigned long end = jiffies + msecs_to_jiffies(ms);

	while (mapping_mapped(file->f_mapping)) {
		if (time_after(jiffies, end))
			return 0;
		cond_resched();
		cpu_relax();
	}
	return 1;
}

static int clear(pte_t *pte, unsigned long addr, void *tlb)
{
	ptep_get_and_clear(((struct mmu_gather *)tlb)->mm, addr, pte);
	tlb_remove_tlb_entry((struct mmu_gather *)tlb, pte, addr);
	return 0;
}

/* What madvise(MADV_DONTNEED) does where its flushes are batched: the lock goes before the gather is finished. */
static long drop(unsigned long addr)
{
	struct vm_area_struct *vma;
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, current->mm);
	mmap_read_lock(current->mm);
	vma = find_vma(current->mm, addr);
	if (vma && vma->vm_start <= addr) {
		tlb_start_vma(&tlb, vma);
		apply_to_page_range(current->mm, addr, PAGE_SIZE, clear, &tlb);
		tlb_end_vma(&tlb, vma);
	}
	mmap_read_unlock(current->mm);
	hold(DROPPED, HELD_MS, false);
	tlb_finish_mmu(&tlb);
	return 0;
}

/* The entry of the lowest table above @addr, or NULL. */
static pmd_t *find_pmd(unsigned long addr)
{
	pgd_t *pgd = pgd_offset(current->mm, addr);
	p4d_t *p4d = pgd_none(*pgd) ? NULL : p4d_offset(pgd, addr);
	pud_t *pud = !p4d || p4d_none(*p4d) ? NULL : pud_offset(p4d, addr);
	pmd_t *pmd = !pud || pud_none(*pud) ? NULL : pmd_offset(pud, addr);

	return !pmd || pmd_none(*pmd) ? NULL : pmd;
}

/* A table that madvise() has emptied may have gone, too. */
static bool mapped(unsigned long addr)
{
	pmd_t *pmd = find_pmd(addr);
	bool mapped = false;
	pte_t *pte;

	if (pmd) {
		pte = pte_offset_map(pmd, addr);
		mapped = pte && pte_present(*pte);
		if (pte)
			pte_unmap(pte);
	}
	return mapped;
}

static long wake_when_gone(const struct watch __user *user)
{
	unsigned long end = jiffies + msecs_to_jiffies(HELD_MS);
	struct watch watch;
	spinlock_t *lock;	/* of that table */
	pmd_t *pmd;
	pte_t *pte;

	if (copy_from_user(&watch, user, sizeof(watch)))
		return -EFAULT;
	pmd = find_pmd(watch.next);
	pte = pmd ? pte_offset_map_lock(current->mm, pmd, watch.next, &lock) : NULL;
	if (!pte)
		return -EINVAL;
	atomic_or(WATCHED, &held);
	while (mapped(watch.page) && time_before(jiffies, end))
		cpu_relax();
	/* Who spins for the lock is preempted as soon as he has it no more. */
	complete(&gone);
	pte_unmap_unlock(pte, lock);
	atomic_andnot(WATCHED, &held);
	return 0;
}

static long held_ioctl(unsigned int cmd)
{
	switch (cmd) {
	case HELD:
		return atomic_read(&held);
	case RELEASE:
		atomic_set(&held, 0);
		wake_up_all(&released);
		return 0;
	}
	return -EINVAL;
}

static long pfn_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case REVOKE ... REVOKE + FRAMES - 1:
		return revoke(file, cmd - REVOKE, arg);
	case AWAIT_UNLINKED:
		return await_unlinked(file, arg);
	case DROP_OPEN:
		return drop(arg);
	case WAKE_WHEN_GONE:
		return wake_when_gone((const struct watch __user *)arg);
	case AWAIT_GONE:
		return wait_for_completion_timeout(&gone, msecs_to_jiffies(arg)) ? 0 : -ETIME;
	}
	return held_ioctl(cmd);
}

static const struct file_operations pfn_fops = {
	.mmap		= pfn_mmap,
	.unlocked_ioctl	= pfn_ioctl,
};

static vm_fault_t gate_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static const struct vm_operations_struct gate_vm_ops = { .fault = gate_fault };

static int gate_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &gate_vm_ops;
	return 0;
}

static long gate_ioctl(struct file *file, unsigned int cmd, unsigned long ms)
{
	if (cmd == HELD && rwsem_is_contended(&file->f_mapping->i_mmap_rwsem))
		return atomic_read(&held) | WAITED;
	if (cmd != SHUT && cmd != SHUT_AWAKE)
		return held_ioctl(cmd);
	i_mmap_lock_write(file->f_mapping);
	hold(GATE, ms, cmd == SHUT_AWAKE);
	i_mmap_unlock_write(file->f_mapping);
	return 0;
}

static const struct file_operations gate_fops = {
	.mmap		= gate_mmap,
	.unlocked_ioctl	= gate_ioctl,
};

static struct miscdevice pfn_device = { .minor = 200, .name = "pfn", .fops = &pfn_fops };
static struct miscdevice gate_device = { .minor = 201, .name = "gate", .fops = &gate_fops };

static int __init pfn_init(void)
{
	frames = memremap(ADDRESS, FRAMES << PAGE_SHIFT, MEMREMAP_WB);
	if (!frames)
		return -ENOMEM;
	for (unsigned long i = 0; i < FRAMES; i++)
		*frame(i) = OWNED;
	return misc_register(&pfn_device) ?: misc_register(&gate_device);
}
device_initcall(pfn_init);
