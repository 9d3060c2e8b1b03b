/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A block device and a driver for it, on the two ends of queues in one guest memory; the test is the slave. */
#ifndef VHT_BLK_H
#define VHT_BLK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vh/blk.h"
#include "vhi_device.h"
#include "vhi_queue.h"
#include "vhi_virtio_blk.h"

#define VHT_BLK_QUEUES 4
#define VHT_BLK_MEM    (UINT64_C(64) << 20)

struct vht_blk {
	struct vh_device *dev;
	uint32_t failed;   /* what the device told of itself */
	int32_t failed_rc; /* the last one */
	struct vh_mem *mem;
	uint8_t *host; /* of the guest memory */
	uint64_t used; /* bytes of it handed out */
	uint32_t num;  /* ring size */
	struct vh_queue *driver[VHT_BLK_QUEUES];
	struct vh_queue *device[VHT_BLK_QUEUES];
};

/* A request as a chain of buffers, readable ones first. */
struct vht_blk_req {
	struct vh_seg segs[520];
	uint32_t n_rd, n_wr;
	struct vhi_blk_hdr *hdr;
	uint8_t *status;
};

/* Files of the tests lie in memory; while this is set (it is at first) the library takes them for files on a disk. */
extern bool vht_blk_on_disk;

void vht_blk_open(struct vht_blk *f, const struct vh_blkdev_opts *opts, int fd, uint32_t num, uint64_t features);
/* The same with any device, which it takes over. */
void vht_dev_open(struct vht_blk *f, struct vh_device *dev, uint32_t num, uint64_t features);
void vht_blk_close(struct vht_blk *f);
/* Fresh rings. */
void vht_blk_start(struct vht_blk *f, uint32_t index);
/* What the end of a connection does: requests in flight are forgotten. */
void vht_blk_abort(struct vht_blk *f, uint32_t index);
/* All requests done, queue stopped. */
void vht_blk_stop(struct vht_blk *f, uint32_t index);

void *vht_blk_alloc(struct vht_blk *f, uint64_t len);
/* Header of @type and @sector, and the status byte; buffers go between. */
void vht_blk_begin(struct vht_blk *f, struct vht_blk_req *r, uint32_t type, uint64_t sector);
void vht_blk_rd(struct vht_blk_req *r, const void *p, uint64_t len);
void vht_blk_wr(struct vht_blk_req *r, const void *p, uint64_t len);
void vht_blk_submit(struct vht_blk *f, uint32_t index, const struct vht_blk_req *r, uint64_t user);

/* Let the device work once; returns what on_batch returned. */
int vht_blk_batch(struct vht_blk *f, uint32_t index, uint32_t budget);
/* One round of what a slave does when the device's fd is readable; false when it is not within @ms. */
bool vht_blk_poll(struct vht_blk *f, int ms);
/* Work until the next completion, at most 20 s. */
struct vh_cpl vht_blk_wait(struct vht_blk *f, uint32_t index);
/* One request from start to end: its status; *written when not NULL. */
uint8_t vht_blk_do(struct vht_blk *f, uint32_t index, struct vht_blk_req *r, uint32_t *written);
/* The usual ones. @data lies in guest memory. */
uint8_t vht_blk_rw(struct vht_blk *f, uint32_t type, uint64_t sector, void *data, uint64_t len);
uint8_t vht_blk_range(struct vht_blk *f, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags);

#endif
