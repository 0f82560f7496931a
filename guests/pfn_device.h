/* SPDX-License-Identifier: GPL-2.0 */
/* What /dev/pfn and /dev/gate (pfn_device.c) and those who call them agree on. */
#ifndef PFN_DEVICE_H
#define PFN_DEVICE_H

#define FRAMES	16UL		/* pages of the file: once for VM_PFNMAP, and once for VM_MIXEDMAP */
#define POISON	0xdeadUL	/* each word of a frame that nobody may reach now */

/* The ioctls; small numbers have a meaning for every file. Of /dev/pfn: */
#define REVOKE		0x5000U	/* + first frame, count: taken back; how many somebody wrote to meanwhile */
#define AWAIT_UNLINKED	0x5100U	/* ms: until nobody maps the file, as i_mmap has it; 1 if so, 0 if it took too long */
#define DROP_OPEN	0x5101U	/* address: drops its page, and its lock, and keeps the gather open; until RELEASE */
#define WAKE_WHEN_GONE	0x5106U	/* address of a struct watch: wakes who is in AWAIT_GONE */
#define AWAIT_GONE	0x5107U	/* ms, at most */

/* Until the page at 'page' has gone, nobody gets at the page table that maps 'next'; who does must wait for the wake-up. */
struct watch {
	unsigned long page, next;
};

/* of /dev/gate: nobody unlinks a VMA of it for that many ms, or until RELEASE */
#define SHUT		0x5102U
#define SHUT_AWAKE	0x5103U	/* the same without sleep: who waits for the lock spins, too */
/* of both: what has come so far of DROP_OPEN, SHUT or SHUT_AWAKE, WAKE_WHEN_GONE, and who waits: */
#define HELD		0x5104U
#define RELEASE		0x5105U
#define DROPPED		1
#define GATE		2
#define WATCHED		4
#define WAITED		8	/* of /dev/gate: munmap() sleeps there */
#define HELD_MS		2000	/* at most */

#endif
