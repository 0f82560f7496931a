/* SPDX-License-Identifier: GPL-2.0 */
/* What /dev/pfn (pfn_device.c) and those who call it agree on. */
#ifndef PFN_DEVICE_H
#define PFN_DEVICE_H

#define FRAMES	16UL		/* pages of the file: once for VM_PFNMAP, and once for VM_MIXEDMAP */
#define REVOKE	0x5000U		/* the ioctl; small numbers have a meaning for every file */
#define POISON	0xdeadUL	/* each word of a frame that nobody may reach now */

#endif
