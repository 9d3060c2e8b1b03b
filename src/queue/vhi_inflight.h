/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Records of the requests in flight, in a file that outlives this process ("Inflight I/O tracking"). The front-end keeps
 * it and gives it to the next back-end, which does again what was begun and not completed.
 *
 * Whoever wrote the file, and whoever else has it mapped, is a peer. It is read once, when a ring starts; from then on
 * everything that is needed is in private memory, and the file is only written. Each step is a single store of at most
 * 8 bytes, in an order that a crash between any two of them can be recovered from.
 */
#ifndef VHI_INFLIGHT_H
#define VHI_INFLIGHT_H

#include "vh/inflight.h"
#include "vhi_base.h"
#include "vhi_mem.h"

/* The file, for all rings. It never changes after it was made. */
struct vhi_inflight {
	uint32_t refs; /* atomic */
	uint32_t num_queues;
	uint32_t queue_size; /* entries that each ring has room for */
	struct vhi_region *region;
};

/* Bytes for one ring. Split and packed differ. */
uint64_t vhi_inflight_stride(uint32_t queue_size, uint64_t features);
/* A new file for @in's queues and size; fills the rest of it. 0 or -errno. */
int vhi_inflight_make(struct vh_inflight *in, uint64_t features, int *fd);
/* @fd is borrowed. 0, or -errno with the last error set. */
int vhi_inflight_open(const struct vh_inflight *in, int fd, bool require_seal, struct vhi_inflight **out);
struct vhi_inflight *vhi_inflight_get(struct vhi_inflight *f); /* NULL-safe, like put */
void vhi_inflight_put(struct vhi_inflight *f);

#endif
