/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A device's queue behind an IOMMU: its ring and its descriptors have I/O addresses, which an IOTLB knows or not. The
 * walk's short cut finds nothing in an empty memory and goes the long way, which is here; so a queue without an IOTLB
 * pays nothing.
 *
 * A ring that is not known (any more) is parked: nothing is taken from it, and nothing written to it but what is in
 * flight, to where it was. Who takes back what the IOTLB said waits for that. So a parked ring with nothing in flight is
 * never touched.
 */
#include "vhi_chain.h"
#include "vhi_packed.h"

static const struct vhi_span no_span;
const struct vh_snapshot vhi_no_memory = {.refs = 1, .spans = (struct vhi_span *)&no_span};

/* With the IOTLB's lock held: only signals. */
static void wake(void *ctx)
{
	struct vh_queue *q = ctx;

	vhi_queue_wake(q);
	if (q->hooks.wake)
		q->hooks.wake(q->hooks.ctx);
}

void vhi_behind_begin(struct vh_queue *q, struct vh_iotlb *iotlb)
{
	struct vhi_behind *b = &q->behind;

	*b = (struct vhi_behind){.iotlb = vhi_iotlb_get(iotlb), .user = {.wake = wake, .ctx = q}};
	q->lookup = iotlb ? &vhi_no_memory : q->snap;
	if (!iotlb)
		return;
	q->flags |= VHI_QF_BEHIND;
	/* Until it is found it stands where it begins. */
	q->next_avail = (uint16_t)q->ring.base;
	q->next_used = (uint16_t)(q->ring.base >> 16);
	if (vhi_is_packed(q))
		q->dev.foreign = packed_between(q->num, q->next_used, q->next_avail);
	b->parked = true;
	b->inflight = vhi_inflight_get(q->ring.inflight);
	b->table = vhi_iotlb_table(iotlb);
	vhi_iotlb_join(iotlb, &b->user);
}

void vhi_behind_end(struct vh_queue *q)
{
	struct vhi_behind *b = &q->behind;

	q->lookup = NULL;
	if (!b->iotlb)
		return;
	q->flags &= ~VHI_QF_BEHIND;
	vhi_iotlb_leave(b->iotlb, &b->user);
	vhi_tlb_put(b->table);
	vhi_inflight_put(b->inflight);
	vhi_iotlb_put(b->iotlb);
	b->inflight = NULL;
	b->iotlb = NULL;
	b->table = NULL;
	b->parked = b->missing = false;
}

static int missed(struct vh_queue *q, uint64_t iova, uint32_t perm)
{
	struct vhi_behind *b = &q->behind;

	int rc = vhi_iotlb_miss(b->iotlb, &b->user, b->table, iova, perm);

	if (rc < 0)
		return rc;
	/* Somebody has to ask for it. */
	if (rc) {
		vhi_count(&q->stats.iotlb_misses, 1);
		q->after |= VHI_AFTER_WAKE;
	}
	return VHI_MISS;
}

static void faulted(struct vh_queue *q, uint64_t iova, uint32_t perm)
{
	struct vhi_behind *b = &q->behind;

	b->fault_iova = iova;
	__atomic_store_n(&b->fault_perm, perm, __ATOMIC_RELEASE);
}

int vhi_behind_translate(struct vh_queue *q, uint64_t addr, uint64_t len, uint32_t perm, struct vh_seg *segs,
			 uint32_t max)
{
	uint64_t at = addr;
	int n = vhi_tlb_translate(q->behind.table, (struct vhi_iova){addr}, len, perm, segs, max, &at);

	if (n == VHI_MISS) {
		n = missed(q, at, perm);
		q->behind.missing = n == VHI_MISS;
	}
	if (n == VHI_FAULT)
		faulted(q, at, perm);
	return n;
}

/* What the device does with each part of a ring. */
static uint32_t area_perm(const struct vh_queue *q, uint32_t area)
{
	static const uint8_t perms[2][VHI_RING_AREAS] = {
		{VH_MEM_READ, VH_MEM_READ, VH_MEM_WRITE},
		{VH_MEM_READ | VH_MEM_WRITE, VH_MEM_READ, VH_MEM_WRITE},
	};

	return perms[vhi_is_packed(q)][area];
}

/* One part of the ring: 0, VHI_MISS, or a site. */
static int find_area(struct vh_queue *q, uint32_t i, const struct vhi_ring_area *want, void VHI_SHM **out)
{
	const struct vhi_gpa at[VHI_RING_AREAS] = {q->ring.desc, q->ring.driver, q->ring.device};
	const uint32_t perm = area_perm(q, i);
	uint64_t bad = at[i].v;
	int rc;

	*out = vhi_tlb_translate_one(q->behind.table, (struct vhi_iova){at[i].v}, want->len, perm, &rc, &bad);
	if (rc == VHI_MISS)
		rc = missed(q, bad, perm);
	if (rc == VHI_FAULT)
		faulted(q, bad, perm);
	if (rc == VHI_MISS)
		return rc;
	if (VHI_REFUSE(VHI_SITE_QUEUE_IOTLB_RING, rc == VHI_FAULT))
		return VHI_SITE_QUEUE_IOTLB_RING;
	if (VHI_REFUSE(VHI_SITE_QUEUE_IOTLB_PIECES, !*out))
		return VHI_SITE_QUEUE_IOTLB_PIECES;
	if (VHI_REFUSE(VHI_SITE_QUEUE_IOTLB_ALIGN, (uintptr_t)*out & (want->align - 1)))
		return VHI_SITE_QUEUE_IOTLB_ALIGN;
	return 0;
}

/* For the first time. What was in flight elsewhere can only be told of with the ring in hand. */
static int open_ring(struct vh_queue *q)
{
	struct vh_error e = {.size = sizeof(e)};
	uint32_t base = q->ring.base;

	if (vhi_track_start(q, &q->ring, q->area, &base)) {
		vh_error_get(&e);
		q->behind.parked = true;
		return e.site ? (int)e.site : VHI_SITE_QUEUE_IOTLB_RING;
	}
	q->ring.base = base;
	q->behind.opened = true;
	vhi_queue_open_ring(q);
	/* Who started it was told of none. */
	if (q->resubmits)
		q->after |= VHI_AFTER_WAKE;
	return 0;
}

/* All of them are asked for at once. */
static int find_ring(struct vh_queue *q)
{
	struct vhi_ring_area want[VHI_RING_AREAS];
	void VHI_SHM *area[VHI_RING_AREAS];
	int rc = 0;

	vhi_ring_areas(q->ring.num, q->ring.features, want);
	for (uint32_t i = 0; i < VHI_RING_AREAS; i++) {
		int one = find_area(q, i, &want[i], &area[i]);

		if (one > 0)
			return one;
		rc = rc ? rc : one;
	}
	q->behind.parked = rc;
	if (rc)
		return 0;
	for (uint32_t i = 0; i < VHI_RING_AREAS; i++)
		q->area[i] = area[i];
	q->behind.cuts = q->behind.table->cuts;
	if (q->behind.opened)
		return 0;
	return open_ring(q);
}

/* The memory that the table is in becomes the queue's; false while requests in flight point to what it lacks. */
static bool take_memory(struct vh_queue *q, struct vhi_tlb *table)
{
	struct vh_snapshot *old = q->snap;

	if (table->snap == old)
		return true;
	if (q->in_flight && !vhi_snapshot_covers(table->snap, old))
		return false;
	q->snap = vhi_snapshot_get(table->snap);
	q->faults_seen = 0;
	vhi_snapshot_put(old);
	return true;
}

uint32_t vhi_behind_sync(struct vh_queue *q)
{
	struct vhi_behind *b = &q->behind;
	bool cut = b->parked;
	int site = 0;

	if (vhi_iotlb_newer(b->iotlb, b->table)) {
		struct vhi_tlb *table = vhi_iotlb_table(b->iotlb);

		if (take_memory(q, table)) {
			vhi_tlb_put(b->table);
			b->table = table;
			b->missing = false;
			cut |= b->cuts != table->cuts;
		} else {
			vhi_tlb_put(table);
			b->parked = true;
			cut = false;
		}
	}
	if (cut)
		site = find_ring(q);
	vhi_queue_refresh(q);
	return (uint32_t)site;
}

bool vhi_behind_sleeps(struct vh_queue *q)
{
	struct vhi_behind *b = &q->behind;

	return b->parked || (b->missing && vhi_iotlb_wait(b->iotlb, &b->user, b->table));
}

bool vhi_queue_iotlb_fault(struct vh_queue *q, uint64_t *iova, uint32_t *perm)
{
	*perm = __atomic_exchange_n(&q->behind.fault_perm, 0, __ATOMIC_ACQUIRE);
	*iova = q->behind.fault_iova;
	return *perm;
}

static bool overlaps(const struct vh_seg *a, const struct vh_seg *b)
{
	return a->addr - b->addr < b->len || b->addr - a->addr < a->len;
}

/* A device may have changed the segments that it was lent: then nobody knows where it writes. */
static bool request_uses(struct vh_queue *q, const struct vhi_slot *slot, const struct vhi_unmapped *u)
{
	const uint32_t n_rd = slot->n_rd;
	const struct vh_seg *end, *segs = vhi_chain_segs(q, slot, &end), *seg;
	uint64_t written = 0;

	if (u->all)
		return true;
	for (seg = segs; seg != end && (seg < segs + n_rd || written < slot->wr_len); seg++) {
		for (uint32_t i = 0; i < u->n; i++)
			if (overlaps(seg, &u->ranges[i]))
				return true;
		written += seg < segs + n_rd ? 0 : seg->len;
	}
	return written < slot->wr_len;
}

/* The gate is held. */
static bool uses(struct vh_queue *q, const struct vhi_unmapped *u)
{
	if (!(q->flags & VHI_QF_STARTED) || !q->behind.iotlb || !q->in_flight)
		return false;
	if (q->behind.parked)
		return true;
	for (uint32_t i = 0; i < q->num; i++) {
		const struct vhi_slot *slot = &q->slots[i];

		if (slot->state && slot->state != VHI_SLOT_DONE && (int32_t)(slot->seq - q->behind.mark) < 0 &&
		    request_uses(q, slot, u))
			return true;
	}
	return false;
}

int vhi_queue_unmapped(struct vh_queue *q, const struct vhi_unmapped *u)
{
	bool ours = vhi_queue_begin(q);
	int rc;

	if (!ours)
		return vhi_queue_finish(q, false);
	rc = uses(q, u);
	vhi_queue_abandon(q, true);
	return rc;
}
