/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A split ring driven by hand: the test is the driver, writes descriptors as it likes, and the queue under test is the
 * device. It shares no code with the library's own driver side.
 */
#ifndef VHT_RING_H
#define VHT_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "vh/vh.h"

#define VHT_NEXT     1
#define VHT_WRITE    2
#define VHT_INDIRECT 4

#define VHT_EVENT_IDX (UINT64_C(1) << VH_F_RING_EVENT_IDX)
#define VHT_IND_DESC  (UINT64_C(1) << VH_F_RING_INDIRECT_DESC)

/* Guest addresses: rings at VHT_BASE, buffers from VHT_DATA on, both in one region of VHT_SIZE bytes. */
#define VHT_BASE UINT64_C(0x100000)
#define VHT_DATA UINT64_C(0x200000)
#define VHT_SIZE UINT64_C(0x400000)

struct vht_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct vht_ring {
	struct vh_mem *mem;
	struct vh_queue_opts opts;
	struct vh_queue *q;
	struct vht_desc *desc; /* addresses in this process */
	uint16_t *avail;
	uint16_t *used;
	uint16_t next; /* available index to publish next */
	int kick;      /* eventfds of the test, -1 = none */
	int call;
};

/* Memory with a ring at base 0 and a device-side queue on it, no fds. */
void vht_ring_init(struct vht_ring *r, uint32_t num, uint64_t features);
/* The same with non-blocking eventfds. */
void vht_ring_init_fds(struct vht_ring *r, uint32_t num, uint64_t features);
/* Only memory and opts: the test opens the queue. */
void vht_ring_prepare(struct vht_ring *r, uint32_t num, uint64_t features);
/* Open the queue with r->opts and look the areas up. */
vh_rc vht_ring_open(struct vht_ring *r);
void vht_ring_free(struct vht_ring *r);

/* Address in this process of a guest address. */
void *vht_host(struct vht_ring *r, uint64_t gpa);

void vht_desc_set(struct vht_desc *d, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next);
/* Descriptor i of the ring's table. */
void vht_put(struct vht_ring *r, uint32_t i, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next);
/* Make a head available. */
void vht_offer(struct vht_ring *r, uint32_t head);
/* A chain of n readable descriptors and then m writable ones from head on, 64 bytes each at VHT_DATA; offered. */
void vht_chain(struct vht_ring *r, uint32_t head, uint32_t n, uint32_t m);

uint16_t vht_used_idx(struct vht_ring *r);
uint32_t vht_used_id(struct vht_ring *r, uint32_t i);
uint32_t vht_used_len(struct vht_ring *r, uint32_t i);
uint16_t *vht_used_event(struct vht_ring *r);
uint16_t *vht_avail_event(struct vht_ring *r);
/* Read an eventfd: its count, 0 when there is none. */
uint64_t vht_drain(int fd);
bool vht_readable(int fd);

/* One request must be there; it is returned. */
struct vh_req vht_pop1(struct vht_ring *r);
void vht_push1(struct vht_ring *r, const struct vh_req *req, uint32_t written);
/* The next pop must break the queue at this site. */
void vht_expect_break(struct vht_ring *r, int32_t code, uint32_t site);
uint32_t vht_ring_site(void); /* site of the last error */

#endif
