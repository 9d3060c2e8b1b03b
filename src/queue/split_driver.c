/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The driver side of a split ring (virtio 1.2 section 2.7). The descriptor table, the available ring and the indirect
 * tables are written and never read: what is free and what is in flight is kept here.
 */
#include "vhi_in_order.h"
#include "vhi_split.h"
#include "vhi_submit.h"

static void desc_write(uint64_t VHI_SHM *d, uint64_t addr, uint64_t len, uint32_t flags, uint32_t next)
{
	vhi_shm_store64(d, addr);
	vhi_shm_store64(d + 1, len | (uint64_t)flags << 32 | (uint64_t)next << 48);
}

/* A segment as a descriptor at d. */
static enum vhi_refusal put_seg(struct vh_queue *q, uint64_t VHI_SHM *d, const struct vh_seg *seg, uint32_t flags,
				uint32_t next)
{
	uint64_t gpa;
	enum vhi_refusal rc = vhi_seg_gpa(q, seg, &gpa);

	if (!rc)
		desc_write(d, gpa, seg->len, flags, next);
	return rc;
}

static uint16_t desc_take(struct vh_queue *q)
{
	q->drv.n_free--;
	return vhi_link_take(q);
}

static void desc_give(struct vh_queue *q, uint16_t head, uint16_t last, uint32_t n)
{
	if (!(q->flags & VHI_QF_IN_ORDER))
		vhi_link_give(q, head, last);
	q->drv.n_free += n;
}

static void split_release(struct vh_queue *q, uint32_t id)
{
	desc_give(q, (uint16_t)id, q->slots[id].last, q->slots[id].n_desc);
}

static enum vhi_refusal put_direct(struct vh_queue *q, const struct vh_req *req, uint32_t k, uint16_t *head,
				   uint16_t *last)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	uint64_t VHI_SHM *table = q->area[VHI_AREA_DESC];
	uint32_t at = *head = desc_take(q);
	enum vhi_refusal rc = TAKEN;

	for (uint32_t i = 0; i < k; i++) {
		uint32_t next = i + 1 < k ? desc_take(q) : 0;

		if (!rc)
			rc = put_seg(q, table + 2 * at, &segs[i], vhi_seg_flags(req, i, k), next);
		q->drv.link[at] = (uint16_t)(next + 1);
		*last = (uint16_t)at;
		at = next;
	}
	return rc;
}

static enum vhi_refusal put_indirect(struct vh_queue *q, const struct vh_req *req, uint32_t k, uint16_t *head,
				     uint16_t *last)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	uint64_t VHI_SHM *table = q->area[VHI_AREA_INDIRECT];
	uint64_t row;

	*head = *last = desc_take(q);
	row = (uint64_t)*head * q->ring.max_indirect * VHI_DESC_SIZE;
	table += row / sizeof(*table);
	for (uint32_t i = 0; i < k; i++) {
		enum vhi_refusal rc = put_seg(q, table + 2 * i, &segs[i], vhi_seg_flags(req, i, k), i + 1);

		if (rc)
			return rc;
	}
	desc_write((uint64_t VHI_SHM *)q->area[VHI_AREA_DESC] + 2 * *head,
		   q->ring.indirect.v + q->ring.iova_shift + row, (uint64_t)k * VHI_DESC_SIZE, VHI_DESC_INDIRECT, 0);
	return TAKEN;
}

static enum vhi_refusal submit_one(struct vh_queue *q, const struct vh_req *req, uint32_t now)
{
	const bool indirect = vhi_goes_indirect(q, req);
	const uint32_t k = req->n_rd + req->n_wr;
	enum vhi_refusal rc = vhi_submit_check(q, req, indirect);
	uint16_t head = 0, last = 0;

	if (rc)
		return rc;
	rc = indirect ? put_indirect(q, req, k, &head, &last) : put_direct(q, req, k, &head, &last);
	if (rc) {
		desc_give(q, head, last, indirect ? 1 : k);
		if (q->flags & VHI_QF_IN_ORDER)
			q->drv.fresh = head;
		return rc;
	}
	vhi_submitted(q, req, head, indirect ? 1 : k, now);
	q->slots[head].last = last;
	vhi_shm_store16(avail(q) + RING + (q->next_avail & (q->num - 1)), head);
	q->next_avail++;
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
	if (wanted || q->notify_next)
		vhi_queue_notify(q);
	q->notify_next = false;
}

static int32_t split_submit(struct vh_queue *q, const struct vh_req *reqs, uint32_t n)
{
	const uint16_t old = q->next_avail;
	const uint32_t now = vhi_coarse_ms();
	enum vhi_refusal rc = TAKEN;
	uint32_t i;

	for (i = 0; i < n; i++) {
		rc = submit_one(q, &reqs[i], now);
		if (rc)
			break;
	}
	if (!i)
		return vhi_refused(q, rc);
	vhi_shm_store16_release(avail(q) + IDX, q->next_avail);
	vhi_in_flight(q, q->in_flight + i);
	vhi_count(&q->stats.requests, i);
	tell_device(q, old);
	return (int32_t)i;
}

/* 0 or the site that refused. */
static uint32_t reap_one(struct vh_queue *q, struct vh_cpl *cpl)
{
	const uint32_t VHI_SHM *elem = (const uint32_t VHI_SHM *)(used(q) + RING) + 2 * (q->next_used & (q->num - 1));
	const uint32_t id = vhi_shm_load32(elem);
	const uint32_t len = vhi_shm_load32(elem + 1);
	const uint32_t site = vhi_reap_one(q, id, len, cpl);

	if (VHI_UNLIKELY(site))
		return site;
	split_release(q, id);
	q->next_used++;
	return 0;
}

static int32_t split_reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max)
{
	const uint16_t idx = vhi_shm_load16_acquire(used(q) + IDX);
	const uint32_t ready = (uint16_t)(idx - q->next_used);
	uint64_t bytes = 0;
	uint32_t n;

	if (VHI_REFUSE(VHI_SITE_QUEUE_USED_JUMP, ready > q->in_flight))
		return vhi_queue_broke(q, VHI_SITE_QUEUE_USED_JUMP);
	max = VHI_MIN(max, ready);
	for (n = 0; n < max; n++) {
		uint32_t site = reap_one(q, &cpls[n]);

		if (VHI_UNLIKELY(site)) {
			if (n)
				break;
			return vhi_queue_broke(q, site);
		}
		bytes += cpls[n].written;
	}
	if (n)
		vhi_reaped(q, n, bytes);
	return (int32_t)n;
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
	q->drv.hit_mem = 0;
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
	.more = split_more,
};
