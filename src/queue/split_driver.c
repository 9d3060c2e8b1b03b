/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The driver side of a split ring (virtio 1.2 section 2.7). The descriptor table, the available ring and the indirect
 * tables are written and never read: what is free and what is in flight is kept here.
 */
#include "vhi_split.h"

static uint16_t desc_take(struct vh_queue *q)
{
	uint32_t at;

	q->drv.n_free--;
	if (!q->drv.free)
		return (uint16_t)q->drv.fresh++;
	at = q->drv.free - 1;
	q->drv.free = q->drv.link[at];
	return (uint16_t)at;
}

/* Links are numbers + 1, 0 ends a list: a chain goes back to the free list as it is. */
static void desc_give(struct vh_queue *q, uint16_t head, uint16_t last, uint32_t n)
{
	q->drv.link[last] = (uint16_t)q->drv.free;
	q->drv.free = head + 1u;
	q->drv.n_free += n;
}

static void desc_write(uint64_t VHI_SHM *d, uint64_t addr, uint64_t len, uint32_t flags, uint32_t next)
{
	vhi_shm_store64(d, addr);
	vhi_shm_store64(d + 1, len | (uint64_t)flags << 32 | (uint64_t)next << 48);
}

/* Where a segment of ours is in the guest. Most requests stay in one region, so the last one is tried first. */
static bool find_gpa(struct vh_queue *q, uint64_t addr, uint64_t len, uint64_t *gpa)
{
	const struct vhi_region *r = q->drv.hit;
	struct vhi_gpa found;
	uint64_t at;

	if (q->drv.hit_mem == q->snap->number) {
		at = addr - (uintptr_t)r->host;
		if (VHI_LIKELY(at < r->len && len <= r->len - at)) {
			*gpa = r->gpa.v + at;
			return true;
		}
	}
	if (!vhi_host_to_gpa(q->snap, (const void *)(uintptr_t)addr, len, &found))
		return false;
	*gpa = found.v;
	q->drv.hit = vhi_find(q->snap, found);
	q->drv.hit_mem = q->snap->number;
	return true;
}

/* Why a request is not taken. */
enum refusal {
	TAKEN,
	RING_FULL,
	BAD_RESERVED,
	BAD_COUNT,
	BAD_LEN,
	BAD_ADDR,
};

/* The last error is for a call that fails: one that took requests before the bad one has not. */
static int refused(const struct vh_queue *q, enum refusal why)
{
	static const struct {
		int code;
		const char *text;
	} refusals[] = {
		[BAD_RESERVED] = {-EINVAL, "vh_req.flags and reserved must be 0"},
		[BAD_COUNT] = {-EINVAL, "a request must have 1 to num segments"},
		[BAD_LEN] = {-EINVAL, "a segment must have 1 to 2^32 - 1 bytes; leave out or split it"},
		[BAD_ADDR] = {-EFAULT, "a segment is not inside guest memory; use vh_driver_alloc or vh_mem_alloc"},
	};

	if (why <= RING_FULL)
		return 0;
	return vhi_fail_at(refusals[why].code, VH_ERROR_ARGUMENT, 0, q->index, VH_ERROR_NONE,
			   "vh_queue_submit: queue %u: %s", q->index, refusals[why].text);
}

/* A segment as a descriptor at d. */
static enum refusal put_seg(struct vh_queue *q, uint64_t VHI_SHM *d, const struct vh_seg *seg, uint32_t flags,
			    uint32_t next)
{
	uint64_t gpa;

	if (!seg->len || seg->len > UINT32_MAX)
		return BAD_LEN;
	if (!find_gpa(q, seg->addr, seg->len, &gpa))
		return BAD_ADDR;
	desc_write(d, gpa, seg->len, flags, next);
	return TAKEN;
}

static inline uint32_t seg_flags(const struct vh_req *req, uint32_t i, uint32_t k)
{
	return (i >= req->n_rd ? VHI_DESC_WRITE : 0) | (i + 1 < k ? VHI_DESC_NEXT : 0);
}

static enum refusal put_direct(struct vh_queue *q, const struct vh_req *req, uint32_t k, uint16_t *head, uint16_t *last)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	uint64_t VHI_SHM *table = q->area[VHI_AREA_DESC];
	uint32_t at = *head = desc_take(q);
	enum refusal rc = TAKEN;

	for (uint32_t i = 0; i < k; i++) {
		uint32_t next = i + 1 < k ? desc_take(q) : 0;

		if (!rc)
			rc = put_seg(q, table + 2 * at, &segs[i], seg_flags(req, i, k), next);
		q->drv.link[at] = (uint16_t)(next + 1);
		*last = (uint16_t)at;
		at = next;
	}
	return rc;
}

static enum refusal put_indirect(struct vh_queue *q, const struct vh_req *req, uint32_t k, uint16_t *head,
				 uint16_t *last)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	uint64_t VHI_SHM *table = q->area[VHI_AREA_INDIRECT];
	uint64_t row;

	*head = *last = desc_take(q);
	row = (uint64_t)*head * q->ring.max_indirect * VHI_DESC_SIZE;
	table += row / sizeof(*table);
	for (uint32_t i = 0; i < k; i++) {
		enum refusal rc = put_seg(q, table + 2 * i, &segs[i], seg_flags(req, i, k), i + 1);

		if (rc)
			return rc;
	}
	desc_write((uint64_t VHI_SHM *)q->area[VHI_AREA_DESC] + 2 * *head, q->ring.indirect.v + row,
		   (uint64_t)k * VHI_DESC_SIZE, VHI_DESC_INDIRECT, 0);
	return TAKEN;
}

static enum refusal submit_one(struct vh_queue *q, const struct vh_req *req, uint32_t now)
{
	const uint64_t total = (uint64_t)req->n_rd + req->n_wr;
	const bool indirect = total > 1 && total <= q->ring.max_indirect &&
			      q->ring.features & VHI_BIT(VH_F_RING_INDIRECT_DESC);
	const uint32_t k = (uint32_t)total;
	struct vhi_slot *slot;
	uint16_t head = 0, last = 0;
	uint64_t wr_len = 0, rd_len = 0;
	enum refusal rc;

	if (req->flags || req->reserved)
		return BAD_RESERVED;
	if (!req->segs || !total || (!indirect && total > q->num))
		return BAD_COUNT;
	if (q->drv.n_free < (indirect ? 1 : k))
		return RING_FULL;
	rc = indirect ? put_indirect(q, req, k, &head, &last) : put_direct(q, req, k, &head, &last);
	if (rc) {
		desc_give(q, head, last, indirect ? 1 : k);
		return rc;
	}
	for (uint32_t i = 0; i < k; i++)
		*(i < req->n_rd ? &rd_len : &wr_len) += ((const struct vh_seg *)(uintptr_t)req->segs)[i].len;
	slot = &q->slots[head];
	slot->last = last;
	slot->n_desc = (uint16_t)(indirect ? 1 : k);
	slot->wr_len = (uint32_t)VHI_MIN(wr_len, (uint64_t)UINT32_MAX);
	__atomic_store_n(&slot->since_ms, now, __ATOMIC_RELAXED);
	vhi_slot_state(slot, VHI_SLOT_IN_FLIGHT);
	q->drv.cookies[head] = req->user;
	vhi_shm_store16(avail(q) + RING + (q->next_avail & (q->num - 1)), head);
	q->next_avail++;
	vhi_count(&q->stats.bytes_out, rd_len);
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
	enum refusal rc = TAKEN;
	uint32_t i;

	for (i = 0; i < n; i++) {
		rc = submit_one(q, &reqs[i], now);
		if (rc)
			break;
	}
	if (!i)
		return refused(q, rc);
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
	struct vhi_slot *slot;

	if (VHI_REFUSE(VHI_SITE_QUEUE_USED_ID, id >= q->num))
		return VHI_SITE_QUEUE_USED_ID;
	slot = &q->slots[id];
	if (VHI_REFUSE(VHI_SITE_QUEUE_USED_FREE, !slot->state))
		return VHI_SITE_QUEUE_USED_FREE;
	if (VHI_REFUSE(VHI_SITE_QUEUE_USED_LEN, len > slot->wr_len))
		return VHI_SITE_QUEUE_USED_LEN;
	cpl->token = q->drv.cookies[id];
	cpl->written = len;
	cpl->flags = 0;
	vhi_slot_state(slot, VHI_SLOT_FREE);
	desc_give(q, (uint16_t)id, slot->last, slot->n_desc);
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
	if (!n)
		return 0;
	q->idle = false;
	vhi_in_flight(q, q->in_flight - n);
	vhi_count(&q->stats.completed, n);
	vhi_count(&q->stats.bytes_in, bytes);
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
static uint32_t split_base(struct vh_queue *q)
{
	const uint16_t idx = vhi_shm_load16_acquire(used(q) + IDX);

	return (uint16_t)(idx - q->next_used) > q->in_flight ? q->next_used : idx;
}

const struct vhi_layout vhi_split_driver = {
	.submit = split_submit,
	.reap = split_reap,
	.open = split_open,
	.base = split_base,
	.arm = split_arm,
	.more = split_more,
};
