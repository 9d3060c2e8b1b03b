/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The driver side of a split ring (virtio 1.2 section 2.7). The descriptor table, the available ring and the indirect
 * tables are written and never read: what is free and what is in flight is kept here.
 */
#include "vhi_in_order.h"
#include "vhi_split.h"
#include "vhi_submit.h"

/* The second word of a descriptor. */
static inline uint64_t word_of(uint64_t len, uint32_t flags, uint32_t next)
{
	return len | (uint64_t)flags << 32 | (uint64_t)next << 48;
}

static void split_release(struct vh_queue *q, uint32_t id)
{
	/* In order descriptors go round: the free list is a circle that never changes. */
	if (!(q->flags & VHI_QF_IN_ORDER))
		vhi_link_give(q, (uint16_t)id, q->slots[id].last);
	q->drv.n_free += q->slots[id].n_desc;
}

/* Descriptors that are being written: in the ring they follow the free list, in a table they lie one behind the other. */
struct writer {
	uint64_t VHI_SHM *table;
	const uint16_t *link;
	uint16_t at, last;
	uint64_t word; /* of the last */
};

/* The readable segments of a request, or the writable ones. */
static inline __attribute__((always_inline)) enum vhi_refusal put_part(struct vh_queue *q, struct writer *w,
								       const bool direct, const struct vh_seg *seg,
								       const struct vh_seg *end, uint32_t kind,
								       uint64_t *bytes)
{
	uint64_t sum = 0;

	for (; seg != end; seg++) {
		const uint16_t next = direct ? vhi_link(w->link, w->at) : (uint16_t)(w->at + 1);
		uint64_t VHI_SHM *d = w->table + 2 * (size_t)w->at;
		const uint64_t len = seg->len;
		enum vhi_refusal rc;
		uint64_t gpa;

		rc = vhi_seg_gpa(q, seg->addr, len, &gpa);
		if (VHI_UNLIKELY(rc))
			return rc;
		w->word = word_of(len, kind | VHI_DESC_NEXT, next);
		vhi_shm_store64(d, gpa);
		vhi_shm_store64(d + 1, w->word);
		sum += len;
		w->last = w->at;
		w->at = next;
	}
	*bytes = sum;
	return TAKEN;
}

static inline __attribute__((always_inline)) enum vhi_refusal
put_chain(struct vh_queue *q, struct writer *w, const bool direct, const struct vh_req *req, struct vhi_sent *sent)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs, *turn = segs + req->n_rd;
	enum vhi_refusal rc = put_part(q, w, direct, segs, turn, 0, &sent->rd_len);

	if (!rc)
		rc = put_part(q, w, direct, turn, turn + req->n_wr, VHI_DESC_WRITE, &sent->wr_len);
	if (!rc)
		vhi_shm_store64(w->table + 2 * (size_t)w->last + 1,
				(w->word & ~((uint64_t)VHI_DESC_NEXT << 32)) << 16 >> 16);
	return rc;
}

static inline __attribute__((always_inline)) enum vhi_refusal
submit_one(struct vh_queue *q, struct vhi_submit *b, const struct vh_req *req, uint16_t VHI_SHM *avail)
{
	const uint64_t k = (uint64_t)req->n_rd + req->n_wr;
	bool indirect;
	enum vhi_refusal rc = vhi_submit_check(b, req, k, &indirect);
	const uint16_t head = b->free;
	uint16_t next, last = head;
	struct vhi_sent sent;

	if (rc)
		return rc;
	if (indirect) {
		const uint64_t row = (uint64_t)head * q->ring.max_indirect * VHI_DESC_SIZE;
		uint64_t VHI_SHM *d = (uint64_t VHI_SHM *)q->area[VHI_AREA_DESC] + 2 * (size_t)head;
		struct writer w = {.table = (uint64_t VHI_SHM *)q->area[VHI_AREA_INDIRECT] + row / sizeof(*w.table)};

		rc = put_chain(q, &w, false, req, &sent);
		next = vhi_link(b->link, head);
		vhi_shm_store64(d, q->ring.indirect.v + q->ring.iova_shift + row);
		vhi_shm_store64(d + 1, word_of((uint64_t)w.at * VHI_DESC_SIZE, VHI_DESC_INDIRECT, 0));
	} else {
		struct writer w = {.table = q->area[VHI_AREA_DESC], .link = b->link, .at = head};

		rc = put_chain(q, &w, true, req, &sent);
		next = w.at;
		last = w.last;
	}
	/* Only now they are taken: one that is refused leaves no trace but what nobody looks at. */
	if (VHI_UNLIKELY(rc))
		return rc;
	vhi_submitted(b, req, &sent, head, indirect ? 1 : (uint32_t)k, next)->last = last;
	vhi_shm_store16(avail, head);
	return TAKEN;
}

/* After the index was published. The fence stands between that store and the load of the device's wish. */
static void tell_device(struct vh_queue *q, uint16_t old)
{
	bool wanted;

	vhi_full_fence();
	if (q->event_idx)
		wanted = vhi_event_passed(vhi_shm_load16(avail_event(q)), q->next_avail, old);
	else
		wanted = !(vhi_shm_load16(used(q) + FLAGS) & 1);
	if (VHI_UNLIKELY(wanted || q->notify_next))
		vhi_queue_notify(q);
}

static int32_t split_submit(struct vh_queue *q, const struct vh_req *reqs, uint32_t n)
{
	uint16_t VHI_SHM *const ring = avail(q) + RING;
	const uint16_t old = q->next_avail;
	struct vhi_submit b = vhi_submit_begin(q, n);
	const uint32_t mask = b.num - 1;
	enum vhi_refusal rc = TAKEN;
	uint32_t i;

	for (i = 0; i < n; i++) {
		rc = submit_one(q, &b, &reqs[i], ring + ((old + i) & mask));
		if (rc)
			break;
	}
	if (!i)
		return vhi_queue_leave_with(q, vhi_refused(q, rc));
	vhi_shm_store16_release(avail(q) + IDX, (uint16_t)(old + i));
	q->next_avail = (uint16_t)(old + i);
	vhi_submit_end(q, &b, i);
	tell_device(q, old);
	return vhi_queue_leave_with(q, (int32_t)i);
}

/* So many were completed, as the device says: 1 at least. 0 with *site: the next one can't be. */
static inline __attribute__((always_inline)) uint32_t collect(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max,
							      uint32_t ready, uint32_t *why)
{
	const uint32_t VHI_SHM *const ring = (const uint32_t VHI_SHM *)(used(q) + RING);
	const uint32_t num = q->num;
	struct vhi_slot *const slots = q->slots;
	struct vh_cpl *cpl = cpls, *end;
	uint32_t at = q->next_used, given = 0, site = 0;
	uint64_t bytes = 0;

	if (VHI_REFUSE(VHI_SITE_QUEUE_USED_JUMP, ready > q->in_flight)) {
		*why = VHI_SITE_QUEUE_USED_JUMP;
		return 0;
	}
	for (end = cpls + VHI_MIN(max, ready); cpl != end; cpl++, at++) {
		const uint32_t VHI_SHM *elem = ring + 2 * (size_t)(at & (num - 1));
		const uint32_t id = vhi_shm_load32(elem), len = vhi_shm_load32(elem + 1);

		site = vhi_reap_one(slots, num, id, len, cpl);
		if (VHI_UNLIKELY(site))
			break;
		vhi_link_give(q, (uint16_t)id, slots[id].last);
		given += slots[id].n_desc;
		bytes += len;
	}
	q->next_used = (uint16_t)at;
	q->drv.n_free += given;
	if (cpl != cpls)
		vhi_reaped(q, (uint32_t)(cpl - cpls), bytes);
	else
		*why = site;
	return (uint32_t)(cpl - cpls);
}

__attribute__((noinline)) static int32_t reap_some(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max,
						   uint32_t ready)
{
	uint32_t site = 0, n;

	if (vhi_poisoned(q))
		return vhi_queue_leave_with(q, vhi_queue_broke(q, VHI_SITE_QUEUE_POISONED));
	n = collect(q, cpls, max, ready, &site);
	return vhi_queue_leave_with(q, VHI_UNLIKELY(site) ? vhi_queue_broke(q, site) : (int32_t)n);
}

static inline uint32_t used_ready(const struct vh_queue *q)
{
	return (uint16_t)(vhi_shm_load16_acquire(used(q) + IDX) - q->next_used);
}

static uint32_t split_collect(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max, uint32_t *site)
{
	const uint32_t ready = used_ready(q);

	return ready ? collect(q, cpls, max, ready, site) : 0;
}

static int32_t split_reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max)
{
	const uint32_t ready = used_ready(q);

	return ready ? reap_some(q, cpls, max, ready) : vhi_reaped_none(q);
}

static void split_arm(struct vh_queue *q, bool on)
{
	if (q->event_idx)
		vhi_shm_store16(used_event(q), (uint16_t)(on ? q->next_used : q->next_used - 1));
	else if (q->armed != on)
		vhi_shm_store16(avail(q) + FLAGS, on ? 0 : 1);
	q->armed = on;
}

static bool split_more(struct vh_queue *q)
{
	return vhi_shm_load16_acquire(used(q) + IDX) != q->next_used;
}

/* What the device completed, up to *idx, is marked. */
static bool mark_used(struct vh_queue *q, uint16_t *idx)
{
	*idx = vhi_shm_load16_acquire(used(q) + IDX);
	if ((uint16_t)(*idx - q->next_used) > q->in_flight)
		return false;
	for (uint16_t at = q->next_used; at != *idx; at++) {
		const uint32_t VHI_SHM *elem = (const uint32_t VHI_SHM *)(used(q) + RING) + 2 * (at & (q->num - 1));
		const uint32_t id = vhi_shm_load32(elem);

		if (id >= q->num || q->slots[id].state != VHI_SLOT_IN_FLIGHT)
			return false;
		vhi_slot_state(&q->slots[id], VHI_SLOT_DONE);
	}
	return true;
}

/* A device that is gone may have left its wish for no kicks behind. */
static bool split_settle(struct vh_queue *q)
{
	uint16_t idx = 0;
	bool good;

	if (q->flags & VHI_QF_IN_ORDER)
		vhi_order_completed(q, true, &idx, &good);
	else
		good = mark_used(q, &idx);
	if (!good)
		return false;
	vhi_shm_store16(used(q) + FLAGS, 0);
	vhi_shm_store16(avail(q) + IDX, q->next_avail);
	q->drv.again = idx;
	return true;
}

static void split_again(struct vh_queue *q, uint32_t id)
{
	vhi_shm_store16(avail(q) + RING + (q->drv.again++ & (q->num - 1)), (uint16_t)id);
}

static void split_open(struct vh_queue *q, bool fresh)
{
	if (fresh) {
		q->next_avail = q->next_used = (uint16_t)q->ring.base;
		vhi_shm_store16(avail(q) + IDX, q->next_avail);
		vhi_shm_store16(used(q) + IDX, q->next_used);
	}
	q->drv.near_mem = 0;
	q->armed = false;
	split_arm(q, true);
}

/* What the device completed, reaped or not; a device that lies about it gets what was reaped. */
static uint32_t split_base(struct vh_queue *q, uint32_t *left)
{
	const uint16_t idx = vhi_shm_load16_acquire(used(q) + IDX);
	const uint16_t done = (uint16_t)(idx - q->next_used) > q->in_flight ? q->next_used : idx;

	*left = (uint16_t)(q->next_avail - done);
	return done;
}

const struct vhi_layout vhi_split_driver = {
	.submit = split_submit,
	.reap = split_reap,
	.open = split_open,
	.base = split_base,
	.arm = split_arm,
	.settle = split_settle,
	.again = split_again,
	.release = split_release,
	.collect = split_collect,
	.more = split_more,
};
