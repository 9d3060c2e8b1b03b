/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A file behind a block device: requests on their way through the kernel. */
#ifndef VHI_BLK_FILE_H
#define VHI_BLK_FILE_H

#include "vhi_blk.h"
#include "vhi_uring.h"

#define VHI_FILE_ENTRIES   64	      /* operations told to the kernel at once */
#define VHI_FILE_IN_KERNEL 512	      /* operations that it works on */
#define VHI_FILE_RESULTS   1024	      /* room for these and for as many cancellations as are sent at once */
#define VHI_FILE_OP_BYTES  (1u << 24) /* most bytes of one operation: a cached one is done inside of the submit */
#define VHI_FILE_ZEROES	   65536

/* A request in flight. It holds what a later step needs, as its life can be longer than its queue's. */
struct vhi_file_slot {
	struct vhi_blk_io io;
	struct vh_snapshot *snap; /* keeps the guest memory mapped that the kernel reads or writes */
	uint32_t life;		  /* of its queue */
	uint32_t next;		  /* in a list: index + 1, 0 = last */
	uint8_t step;
	uint8_t tries; /* results without progress in a row */
	bool in_kernel;
};

/* Of slots, first in first out; as slot.next. */
struct vhi_file_list {
	uint32_t first, last;
};

/* Slots that the kernel does not have. */
enum vhi_file_wait {
	VHI_FILE_PENDING, /* to be begun, when the kernel has room */
	VHI_FILE_SYNCS,	  /* to be synced with the next sync that begins */
	VHI_FILE_RIDERS,  /* being synced with the one that the kernel has */
	VHI_FILE_WAITS
};

struct vhi_file {
	int fd;
	pid_t pid;  /* whose ring it is: a fork inherits its memory */
	bool async; /* through the ring */
	struct vhi_uring ring;
	char *zeroes; /* VHI_FILE_ZEROES of them */
	struct vhi_file_slot *slots;
	size_t slots_len;
	uint32_t n_slots, used_slots; /* slots from used_slots on were never touched */
	uint32_t free;		      /* list, as slot.next */
	struct vhi_file_list waits[VHI_FILE_WAITS];
	uint32_t in_kernel;
	/* Of these, whose queue is gone. A write among them may still come to pass; until it has, nothing newer is
	 * begun, so that it can't undo what a later connection wrote. */
	uint32_t orphans;
	/*
	 * Linux tells of lost data once: what the first sync that failed said is what all later ones say. Of two at the
	 * same time the other would say that all is well, so there is one at a time, for all who asked before it began.
	 */
	bool syncing;
	int32_t sync_rc;
};

enum vhi_blk_status vhi_file_start(struct vhi_blk *b, struct vhi_blk_io *io, struct vhi_blk_out *out);
void vhi_file_pump(struct vhi_blk *b, struct vhi_blk_out *out);
void vhi_file_queue_stopped(struct vhi_blk *b, uint32_t index);
/* Before the file goes: nothing is left in the kernel, or what it may still write to stays mapped for good. */
void vhi_file_settle(struct vhi_blk *b);

#endif
