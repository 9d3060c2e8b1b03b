/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Records of the requests in flight, by which a back-end that crashed is continued.
 *
 * They are in a file that the back-end makes and the front-end keeps. With
 * them every request that was popped and not pushed is popped again, once,
 * by whoever drives the ring next: marked with VH_REQ_RESUBMITTED, in the order
 * of the first pop, and before anything new.
 */
#ifndef VH_INFLIGHT_H
#define VH_INFLIGHT_H

#include "vh/types.h"

VH_BEGIN_DECLS

/** struct vh_inflight - a file of such records. Size-first out struct. */
struct vh_inflight {
	uint32_t size;
	uint32_t num_queues;  /* rings that it has room for */
	uint32_t queue_size;  /* entries of each, at most VH_QUEUE_MAX_SIZE */
	uint32_t reserved;    /* 0 */
	uint64_t mmap_size;   /* bytes */
	uint64_t mmap_offset; /* of the first one in the file */
};

/**
 * vh_inflight_make() - a new file, in which nothing is in flight
 * @num_queues: rings, 1 to 65535
 * @queue_size: entries of the largest ring
 * @features: RING_PACKED counts
 * @out: (out) what it is
 * @fd: (out) (owned) the file, a sealed memfd; close-on-exec
 *
 * For stand-alone queues: a vh_slave makes its own when the front-end asks.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EMFILE ENFILE ENOSPC
 */
VH_API vh_rc vh_inflight_make(uint32_t num_queues, uint32_t queue_size, uint64_t features, struct vh_inflight *out,
			      vh_fd *fd);

VH_END_DECLS
#endif
