/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What the driver sides of all layouts have in common. What they write into the ring is never read back: what is free and
 * what is in flight is kept here.
 */
#ifndef VHI_SUBMIT_H
#define VHI_SUBMIT_H

#include "vhi_vring.h"

/* Why a request is not taken. */
enum vhi_refusal {
	TAKEN,
	RING_FULL,
	BAD_RESERVED,
	BAD_COUNT,
	BAD_LEN,
	BAD_ADDR,
};

/* The last error is for a call that fails: one that took requests before the bad one has not. */
int vhi_refused(const struct vh_queue *q, enum vhi_refusal why);
/* Where a segment is in the guest, when it is not in the region of the last one. */
bool vhi_find_gpa(struct vh_queue *q, uint64_t addr, uint64_t len, uint64_t *gpa);

/* Links are numbers + 1, 0 ends a list: a chain goes back to the free list as it is. */
static inline uint16_t vhi_link_take(struct vh_queue *q)
{
	uint32_t at;

	if (!q->drv.free) {
		/* In order descriptors go round: none is ever in the list. */
		if (q->drv.fresh == q->num)
			q->drv.fresh = 0;
		return (uint16_t)q->drv.fresh++;
	}
	at = q->drv.free - 1;
	q->drv.free = q->drv.link[at];
	return (uint16_t)at;
}

static inline void vhi_link_give(struct vh_queue *q, uint16_t head, uint16_t last)
{
	q->drv.link[last] = (uint16_t)q->drv.free;
	q->drv.free = head + 1u;
}

static inline enum vhi_refusal vhi_seg_gpa(struct vh_queue *q, const struct vh_seg *seg, uint64_t *gpa)
{
	const struct vhi_region *r = q->drv.hit;
	uint64_t at;

	if (!seg->len || seg->len > UINT32_MAX)
		return BAD_LEN;
	if (q->drv.hit_mem == q->snap->number) {
		at = seg->addr - (uintptr_t)r->host;
		if (VHI_LIKELY(at < r->len && seg->len <= r->len - at)) {
			*gpa = r->gpa.v + at + q->ring.iova_shift;
			return TAKEN;
		}
	}
	return vhi_find_gpa(q, seg->addr, seg->len, gpa) ? TAKEN : BAD_ADDR;
}

/* Of segment i of k. */
static inline uint32_t vhi_seg_flags(const struct vh_req *req, uint32_t i, uint32_t k)
{
	return (i >= req->n_rd ? VHI_DESC_WRITE : 0) | (i + 1 < k ? VHI_DESC_NEXT : 0);
}

static inline bool vhi_goes_indirect(const struct vh_queue *q, const struct vh_req *req)
{
	const uint64_t k = (uint64_t)req->n_rd + req->n_wr;

	return k > 1 && k <= q->ring.max_indirect && q->ring.features & VHI_BIT(VH_F_RING_INDIRECT_DESC);
}

static inline enum vhi_refusal vhi_submit_check(const struct vh_queue *q, const struct vh_req *req, bool indirect)
{
	const uint64_t k = (uint64_t)req->n_rd + req->n_wr;

	if (req->flags || req->reserved)
		return BAD_RESERVED;
	if (!req->segs || !k || (!indirect && k > q->num))
		return BAD_COUNT;
	return q->drv.n_free < (indirect ? 1 : k) ? RING_FULL : TAKEN;
}

/* The record of a request whose descriptors are written. */
static inline void vhi_submitted(struct vh_queue *q, const struct vh_req *req, uint16_t id, uint32_t n_desc,
				 uint32_t now)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	struct vhi_slot *slot = &q->slots[id];
	uint64_t wr_len = 0, rd_len = 0;

	for (uint32_t i = 0; i < req->n_rd + req->n_wr; i++)
		*(i < req->n_rd ? &rd_len : &wr_len) += segs[i].len;
	slot->n_desc = (uint16_t)n_desc;
	slot->wr_len = (uint32_t)VHI_MIN(wr_len, (uint64_t)UINT32_MAX);
	__atomic_store_n(&slot->since_ms, now, __ATOMIC_RELAXED);
	vhi_slot_state(slot, VHI_SLOT_IN_FLIGHT);
	slot->cookie = req->user;
	q->drv.order[q->drv.turn] = (uint16_t)(id + 1);
	q->drv.turn = q->drv.turn + 1 < q->num ? q->drv.turn + 1 : 0;
	vhi_count(&q->stats.bytes_out, rd_len);
}

/* What the device says of a request, against our record: 0, and the slot is free, or the site that refused. */
static inline uint32_t vhi_reap_one(struct vh_queue *q, uint32_t id, uint32_t len, struct vh_cpl *cpl)
{
	struct vhi_slot *slot;

	if (VHI_REFUSE(VHI_SITE_QUEUE_USED_ID, id >= q->num))
		return VHI_SITE_QUEUE_USED_ID;
	slot = &q->slots[id];
	if (VHI_REFUSE(VHI_SITE_QUEUE_USED_FREE, !slot->state))
		return VHI_SITE_QUEUE_USED_FREE;
	if (VHI_REFUSE(VHI_SITE_QUEUE_USED_LEN, len > slot->wr_len))
		return VHI_SITE_QUEUE_USED_LEN;
	*cpl = (struct vh_cpl){.token = slot->cookie, .written = len};
	vhi_slot_state(slot, VHI_SLOT_FREE);
	return 0;
}

static inline void vhi_reaped(struct vh_queue *q, uint32_t n, uint64_t bytes)
{
	q->idle = false;
	vhi_in_flight(q, q->in_flight - n);
	vhi_count(&q->stats.completed, n);
	vhi_count(&q->stats.bytes_in, bytes);
}

#endif
