// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/mixed: a VM_MIXEDMAP mapping, which no device of an ordinary kernel gives the guest. Each page of it is the same
 * page of memory, there at once. On riscv it also lets the guest count instructions. Put into the kernels of 'make bench',
 * before and after the series; never sent.
 */
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#ifdef CONFIG_RISCV
#include <asm/csr.h>
#endif

static struct page *page;

static int mixed_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long addr;
	int ret = 0;

	/* The first of these makes it VM_MIXEDMAP. */
	for (addr = vma->vm_start; addr < vma->vm_end && !ret; addr += PAGE_SIZE)
		ret = vm_insert_page(vma, addr, page);
	return ret;
}

static const struct file_operations mixed_fops = { .mmap = mixed_mmap };
static struct miscdevice mixed_device = { .minor = 200, .name = "mixed", .fops = &mixed_fops };

static int __init mixed_init(void)
{
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!page)
		return -ENOMEM;
#ifdef CONFIG_RISCV
	/* 7.3 keeps all counters but the time for itself. */
	csr_set(CSR_SCOUNTEREN, 7);
#endif
	return misc_register(&mixed_device);
}
device_initcall(mixed_init);
