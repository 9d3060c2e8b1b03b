/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A place in the segments of a request. It does not care where the driver split its buffers, nor about empty ones. */
#ifndef VHI_CURSOR_H
#define VHI_CURSOR_H

#include "vh/mem.h"
#include "vhi_base.h"
#include "vhi_shm.h"

struct vhi_cursor {
	const struct vh_seg *seg; /* borrowed from the queue until push */
	uint32_t n;		  /* segments from seg on */
	uint64_t off;		  /* bytes of *seg that are behind the cursor */
};

/* The next contiguous piece of at most @max bytes; 0 at the end. The cursor moves behind it. */
uint64_t vhi_cursor_next(struct vhi_cursor *c, uint64_t max, uint8_t VHI_SHM **piece);
/* These say how many bytes there were, up to @n. */
uint64_t vhi_cursor_skip(struct vhi_cursor *c, uint64_t n);
uint64_t vhi_cursor_get(struct vhi_cursor *c, void *dst, uint64_t n);
uint64_t vhi_cursor_put(struct vhi_cursor *c, const void *src, uint64_t n);

/* The next up to @bytes as iovecs for the kernel. The cursor stays: what the kernel did is skipped afterwards. */
uint32_t vhi_cursor_iov(const struct vhi_cursor *c, uint64_t bytes, struct iovec *iov, uint32_t max);

/* The last byte of the segments, or NULL when there is none. */
uint8_t VHI_SHM *vhi_segs_last(const struct vh_seg *seg, uint32_t n);

#endif
