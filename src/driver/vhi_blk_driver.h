/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The block driver: what it knows of the disk (blk_info.c) and how requests go (blk.c). */
#ifndef VHI_BLK_DRIVER_H
#define VHI_BLK_DRIVER_H

#include "vhi_driver.h"
#include "vhi_virtio_blk.h"

/* Data segments of a request: more than one only where the device limits their size. */
#define VHI_BLK_MAX_DATA 16
#define VHI_BLK_MAX_SEGS (VHI_BLK_MAX_DATA + 3)
/* Longest data of a request: well inside the 32 bits of a descriptor and of a used element. */
#define VHI_BLK_MAX_LEN (UINT64_C(1) << 30)

/* Memory of a ring slot that the device sees; a cache line. */
struct vhi_blk_slot {
	struct vhi_blk_hdr hdr;
	struct vhi_blk_range range;
	uint8_t status;
	uint8_t pad[31];
};

struct vhi_blk_flight {
	uint64_t user;
	uint32_t life; /* of the queue when it was submitted, 0 = free */
};

struct vhi_blk_queue {
	struct vhi_driver_queue *dq;
	uint32_t busy; /* atomic: a thread is inside */
	uint32_t num;
	uint32_t n_free;
	uint32_t life; /* of the queue, as last seen */
	uint32_t lost; /* first slot that was in flight when the queue began anew, num = none */
	uint16_t *free;
	struct vhi_blk_flight *flights;
	struct vh_seg (*segs)[VHI_BLK_MAX_SEGS];
	struct vh_req *reqs;
	struct vh_cpl *cpls;
};

struct vh_blk {
	struct vh_driver *d;
	struct vh_blk_info info;
	uint64_t seg_len; /* largest data segment */
	uint64_t max_len; /* longest data of a request */
	uint32_t n_queues;
	struct vhi_blk_queue queues[];
};

/* Read config space, as much of it as the features say is there, and check what it says. */
int vhi_blk_read_info(struct vh_blk *b);
/* Is this request right in itself? */
int vhi_blk_check(const struct vh_blk *b, const struct vh_blk_io *io);

#endif
