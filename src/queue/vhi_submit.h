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

/*
 * The free list. A link is how far the next one is from the one behind, so that what was never touched, all zero, is the
 * list of everything in order. It needs no end: n_free says how many there are. A chain goes back as it is.
 */
static inline uint16_t vhi_link(const uint16_t *link, uint16_t at)
{
	return (uint16_t)(at + 1 + link[at]);
}

static inline void vhi_link_give(struct vh_queue *q, uint16_t head, uint16_t last)
{
	q->drv.link[last] = (uint16_t)(q->drv.free - last - 1);
	q->drv.free = head;
}

/* What all of a submit needs of the queue: loaded once, and put back at its end. */
struct vhi_submit {
	struct vhi_slot *slots;
	const uint16_t *link;
	uint16_t *order;
	uint64_t bytes; /* readable ones, of what was taken */
	uint32_t num;
	uint32_t n_free;
	uint32_t room;	  /* of these, for chains that stand in the ring though they could be in a table */
	uint32_t longest; /* drv.longest */
	uint32_t turn;
	uint32_t now;
	uint16_t free;
};

/* Of n requests. */
static inline __attribute__((always_inline)) struct vhi_submit vhi_submit_begin(struct vh_queue *q, uint32_t n)
{
	const uint32_t spare = VHI_MAX(q->num - q->num * 3 / 8, n);

	if (VHI_UNLIKELY(q->drv.near_mem != q->snap->number))
		q->drv.near.len = 0;
	return (struct vhi_submit){.slots = q->slots,
				   .link = q->drv.link,
				   .order = q->drv.order,
				   .num = q->num,
				   .n_free = q->drv.n_free,
				   .room = q->drv.n_free - VHI_MIN(q->drv.n_free, spare),
				   .longest = q->drv.longest,
				   .turn = q->drv.turn,
				   .now = n > 1 ? vhi_now(&q->now) : 0,
				   .free = q->drv.free};
}

/*
 * n requests were taken, and can be seen. One that went alone gets its time only now: the device is at work already, and who
 * has one request in flight waits for it.
 */
static inline void vhi_submit_end(struct vh_queue *q, const struct vhi_submit *b, uint32_t n)
{
	if (!b->now)
		__atomic_store_n(&b->slots[q->drv.free].since, vhi_now(&q->now), __ATOMIC_RELAXED);
	q->drv.n_free = b->n_free;
	q->drv.turn = b->turn;
	q->drv.free = b->free;
	vhi_in_flight(q, q->in_flight + n);
	vhi_count(&q->stats.requests, n);
	vhi_count(&q->stats.bytes_out, b->bytes);
}

/* Where a segment is in the guest. */
static inline __attribute__((always_inline)) enum vhi_refusal vhi_seg_gpa(struct vh_queue *q, uint64_t addr,
									  uint64_t len, uint64_t *gpa)
{
	uint64_t far;

	if (VHI_UNLIKELY(len - 1 >= UINT32_MAX))
		return BAD_LEN;
	if (VHI_LIKELY(vhi_span_holds(&q->drv.near, addr, len, gpa)))
		return TAKEN;
	if (!vhi_find_gpa(q, addr, len, &far))
		return BAD_ADDR;
	*gpa = far;
	return TAKEN;
}

/* Of segment i of k. */
static inline uint32_t vhi_seg_flags(const struct vh_req *req, uint32_t i, uint32_t k)
{
	return (i >= req->n_rd ? VHI_DESC_WRITE : 0) | (i + 1 < k ? VHI_DESC_NEXT : 0);
}

/*
 * Can a request of k segments be taken, and does it get a table? A device has less to load, and to check, of a chain that
 * stands in the ring. So tables are for when room becomes scarce: without one five eighths of the ring have to stay free, and
 * a descriptor for each other request of this call, so that it takes as many as if all of them had one.
 */
static inline enum vhi_refusal vhi_submit_check(const struct vhi_submit *b, const struct vh_req *req, uint64_t k,
						bool *indirect)
{
	*indirect = false;
	if (req->flags | req->reserved)
		return BAD_RESERVED;
	if (!req->segs)
		return BAD_COUNT;
	/* One that has none is more than any number when one is taken from it. */
	if (VHI_LIKELY(k - 1 < b->room))
		return TAKEN;
	*indirect = k > 1 && k <= b->longest;
	if (!*indirect && k - 1 >= b->num)
		return BAD_COUNT;
	return b->n_free < (*indirect ? 1 : k) ? RING_FULL : TAKEN;
}

/* Bytes of a request, as its segments were written. */
struct vhi_sent {
	uint64_t rd_len, wr_len;
};

/* The record of a request whose descriptors are written; @next is the free list from here on. */
static inline __attribute__((always_inline)) struct vhi_slot *vhi_submitted(struct vhi_submit *b,
									    const struct vh_req *req,
									    const struct vhi_sent *sent, uint16_t id,
									    uint32_t n_desc, uint16_t next)
{
	struct vhi_slot *slot = &b->slots[id];

	slot->n_desc = (uint16_t)n_desc;
	slot->wr_len = (uint32_t)VHI_MIN(sent->wr_len, (uint64_t)UINT32_MAX);
	slot->cookie = req->user;
	__atomic_store_n(&slot->since, b->now, __ATOMIC_RELAXED);
	vhi_slot_state(slot, VHI_SLOT_IN_FLIGHT);
	b->order[b->turn] = (uint16_t)(id + 1);
	if (VHI_UNLIKELY(++b->turn == b->num))
		b->turn = 0;
	b->free = next;
	b->n_free -= n_desc;
	b->room -= VHI_MIN(b->room, n_desc);
	b->bytes += sent->rd_len;
	return slot;
}

/* What the device says of a request, against our record: 0, and the slot is free, or the site that refused. */
static inline __attribute__((always_inline)) uint32_t vhi_reap_one(struct vhi_slot *slots, uint32_t num, uint32_t id,
								   uint32_t len, struct vh_cpl *cpl)
{
	struct vhi_slot *slot;

	if (VHI_REFUSE(VHI_SITE_QUEUE_USED_ID, id >= num))
		return VHI_SITE_QUEUE_USED_ID;
	slot = &slots[id];
	if (VHI_REFUSE(VHI_SITE_QUEUE_USED_FREE, !slot->state))
		return VHI_SITE_QUEUE_USED_FREE;
	if (VHI_REFUSE(VHI_SITE_QUEUE_USED_LEN, len > slot->wr_len))
		return VHI_SITE_QUEUE_USED_LEN;
	cpl->token = slot->cookie;
	cpl->written = len;
	cpl->flags = 0;
	vhi_slot_state(slot, VHI_SLOT_FREE);
	return 0;
}

/* What a reap ends with that finds nothing. */
int32_t vhi_reaped_none(struct vh_queue *q);

static inline void vhi_reaped(struct vh_queue *q, uint32_t n, uint64_t bytes)
{
	q->idle = false;
	vhi_in_flight(q, q->in_flight - n);
	vhi_count(&q->stats.completed, n);
	vhi_count(&q->stats.bytes_in, bytes);
}

#endif
