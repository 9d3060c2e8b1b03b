/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The built-in block devices. blk_request.c turns a popped request into a struct vhi_blk_io in private memory and
 * completes it; a kind (null, ram, file) only moves bytes.
 */
#ifndef VHI_BLK_H
#define VHI_BLK_H

#include "vhi_cursor.h"
#include "vhi_device.h"
#include "vhi_device_sites.h"
#include "vhi_queue.h"
#include "vhi_virtio_blk.h"

#define VHI_BLK_BATCH	    32
#define VHI_BLK_CONFIG_SIZE 256
#define VHI_BLK_SEG_MAX	    126u
/* A driver may let all its descriptors point to the same memory, so a request could have terabytes. */
#define VHI_BLK_MAX_BYTES (UINT64_C(1) << 30)
/* A batch ends when so many bytes were moved at once: other queues and devices share the thread. */
#define VHI_BLK_BATCH_BYTES (UINT64_C(1) << 26)
/* In one request there is one range. A discard costs the file system little; zeroes may have to be written. */
#define VHI_BLK_MAX_RANGES	 1u
#define VHI_BLK_MAX_DISCARD	 (UINT32_C(1) << 21) /* sectors: 1 GiB */
#define VHI_BLK_MAX_WRITE_ZEROES (UINT32_C(1) << 17) /* sectors: 64 MiB */

enum vhi_op {
	VHI_OP_READ,
	VHI_OP_WRITE,
	VHI_OP_FLUSH,
	VHI_OP_DISCARD,
	VHI_OP_ZERO,  /* write-zeroes */
	VHI_OP_UNMAP, /* write-zeroes that may deallocate */
	VHI_OP_COUNT,
};

/* The first three are what the guest sees in the status byte. */
enum vhi_blk_status {
	VHI_BLK_OK = VHI_BLK_S_OK,
	VHI_BLK_IOERR = VHI_BLK_S_IOERR,
	VHI_BLK_UNSUPP = VHI_BLK_S_UNSUPP,
	VHI_BLK_PENDING, /* completed later */
	VHI_BLK_GONE,	 /* guest memory went away: no status can be written, and the queue is broken */
};

/* One request; nothing in it changes when the guest changes its memory. */
struct vhi_blk_io {
	uint64_t token;
	uint8_t VHI_SHM *status;
	struct vhi_cursor data; /* behind the header; before the status, because len says where it ends */
	uint64_t offset;	/* in the device, bytes */
	uint64_t len;		/* of the data or of the range, bytes */
	uint32_t written;	/* for the used ring */
	uint16_t queue;
	uint16_t op; /* enum vhi_op */
};

struct vhi_blk_queue {
	struct vh_queue *q; /* NULL while stopped */
	uint32_t life;	    /* counts starts and stops: a request of another life is nobody's any more */
	uint32_t in_kernel; /* requests of this life that the kernel has */
};

/* Completions of one queue, published together. */
struct vhi_blk_out {
	struct vh_queue *q;
	uint32_t n;
	int rc;		/* first failure of a push */
	uint64_t begun; /* bytes that the kernel was given meanwhile, see VHI_BLK_BATCH_BYTES */
	struct vh_cpl cpl[VHI_BLK_BATCH];
};

struct vhi_blk;

struct vhi_blk_kind {
	int (*open)(struct vhi_blk *b, int fd);
	void (*close)(struct vhi_blk *b); /* also after a failed open */
	enum vhi_blk_status (*run)(struct vhi_blk *b, struct vhi_blk_io *io, struct vhi_blk_out *out);
	/* Optional: hand what run() left pending to the kernel, and complete what is done. */
	void (*pump)(struct vhi_blk *b, struct vhi_blk_out *out);
	void (*queue_stopped)(struct vhi_blk *b, uint32_t index);
	int (*poll_fd)(struct vhi_blk *b);
};

extern const struct vhi_blk_kind vhi_blk_null, vhi_blk_ram, vhi_blk_file;

struct vhi_file;

struct vhi_blk {
	const struct vhi_blk_kind *kind;
	struct vh_device *dev;	    /* whose ctx this is */
	struct vh_blkdev_opts opts; /* defaults filled in */
	uint64_t sectors;
	bool write_through; /* the driver did not take FLUSH: a write is complete when the disk has it */
	uint8_t *ram;
	uint8_t *arriving; /* contents that come from another device like this one, NULL = none */
	struct vhi_file *file;
	struct vhi_blk_queue queues[]; /* opts.max_queues */
};

/* Pop, check, run and complete up to @budget requests; see vh_device_ops.on_batch. */
int vhi_blk_batch(struct vhi_blk *b, struct vh_queue *q, uint32_t budget);
/* Write the status and add the completion to @out, which is flushed when it is full or belongs to another queue. */
void vhi_blk_finish(struct vhi_blk_out *out, struct vh_queue *q, const struct vhi_blk_io *io,
		    enum vhi_blk_status status);
void vhi_blk_flush(struct vhi_blk_out *out);

/* blk_state.c: see vh_device_ops */
int32_t vhi_blk_save_state(void *ctx, uint64_t offset, void *buf, uint32_t cap, uint64_t later);
int32_t vhi_blk_load_state(void *ctx, uint64_t offset, const void *buf, uint32_t len, uint64_t later);
void vhi_blk_drop_state(struct vhi_blk *b); /* what has arrived is not wanted */

#endif
