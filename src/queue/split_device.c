/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The device side of a split ring (virtio 1.2 section 2.7). A slot is the head of a chain. */
#include "vhi_chain.h"
#include "vhi_push.h"
#include "vhi_split.h"
#include "vhi_track.h"

/* One chain. */
static inline __attribute__((always_inline)) int take_one(struct vh_queue *q, struct vhi_batch *b, struct vhi_walk *w,
							  size_t head, uint32_t at, struct vh_req *req)
{
	const struct vhi_table ring = {q->area[VHI_AREA_DESC], q->num};
	struct vhi_slot *slot;
	struct vhi_table on;
	int rc;

	if (VHI_REFUSE(VHI_SITE_QUEUE_HEAD, head >= q->num))
		return VHI_SITE_QUEUE_HEAD;
	if (VHI_REFUSE(VHI_SITE_QUEUE_HEAD_BUSY, q->slots[head].state))
		return VHI_SITE_QUEUE_HEAD_BUSY;
	q->dev.order[at] = (uint16_t)head;
	slot = vhi_take_begin(q, b, head, w, req);
	rc = vhi_walk_linked(q, w, ring, head, false, &on, req);
	if (!rc && on.at) {
		const struct vhi_table table = on;

		rc = vhi_walk_linked(q, w, table, 0, true, &on, req);
	}
	if (VHI_UNLIKELY(rc))
		return rc;
	vhi_take_end(q, b, slot, w, req);
	return 0;
}

static inline __attribute__((always_inline)) int32_t take(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	const uint16_t VHI_SHM *ring = avail(q) + RING;
	const uint16_t idx = vhi_shm_load16_acquire(avail(q) + IDX);
	const uint32_t ready = (uint16_t)(idx - q->next_avail);
	struct vh_req *req = reqs, *end;
	uint32_t n;
	struct vhi_batch b;
	struct vhi_walk w;
	int rc = 0;

	if (VHI_REFUSE(VHI_SITE_QUEUE_AVAIL_JUMP, ready > q->num))
		return vhi_queue_broke(q, VHI_SITE_QUEUE_AVAIL_JUMP);
	max = VHI_MIN(max, ready);
	if (!max)
		return 0;
	b = vhi_batch_begin(q, &w);
	for (end = reqs + max; req != end; req++) {
		const uint32_t at = (vhi_first32(b.stamp) + q->dev.order_skew) & q->dev.order_mask;

		rc = take_one(q, &b, &w, vhi_shm_load16(ring + at), at, req);
		if (VHI_UNLIKELY(rc)) {
			rc = vhi_take_failed(q, rc, (uint32_t)(req - reqs));
			break;
		}
	}
	n = (uint32_t)(req - reqs);
	if (!n)
		return rc;
	q->next_avail = (uint16_t)(q->next_avail + n);
	vhi_took(q, &b, req, n);
	return (int32_t)n;
}

static int32_t split_take(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	return take(q, reqs, max);
}

static int32_t split_pop(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	return vhi_queue_leave_with(q, vhi_taken(q, take(q, reqs, max)));
}

int32_t vhi_split_take_again(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	struct vhi_track *t = q->track;
	const struct vhi_again *again = t->again + t->at_again;
	struct vhi_walk w;
	struct vhi_batch b = vhi_batch_begin(q, &w);
	int rc = 0;
	uint32_t n;

	max = VHI_MIN(max, t->n_again - t->at_again);
	for (n = 0; n < max; n++) {
		const uint32_t head = again[n].entry, at = (q->next_avail + n) & (q->num - 1);

		rc = take_one(q, &b, &w, head, at, &reqs[n]);
		if (rc) {
			rc = vhi_take_failed(q, rc, n);
			break;
		}
		t->place[head] = (uint16_t)(t->at_again + n + 1);
		reqs[n].flags = VH_REQ_RESUBMITTED;
	}
	if (!n)
		return rc;
	t->at_again += n;
	q->next_avail = (uint16_t)(q->next_avail + n);
	vhi_took(q, &b, reqs + n, n);
	return (int32_t)n;
}

/* After the index was published. The fence stands between that store and the load of the driver's wish. */
static inline __attribute__((always_inline)) void tell_driver(struct vh_queue *q, uint16_t old)
{
	bool wanted;

	vhi_full_fence();
	if (q->event_idx)
		wanted = vhi_event_passed(vhi_shm_load16(used_event(q)), q->next_used, old);
	else
		wanted = !(vhi_shm_load16(avail(q) + FLAGS) & 1);
	if (VHI_UNLIKELY(wanted || q->notify_next))
		vhi_queue_notify(q);
}

/*
 * Used elements for requests (1 at least), which end. No driver looks there before the index says so. The end, or, if they
 * were not claimed, the first one that is not in flight; @flags are those of the ones before it.
 */
static inline __attribute__((always_inline)) const struct vh_cpl *use(struct vh_queue *q, const struct vh_cpl *cpl,
								      const struct vh_cpl *end, bool claimed,
								      uint32_t *flags, uint64_t *bytes)
{
	const uint64_t first = q->dev.form.token, mask = q->num - 1;
	uint32_t VHI_SHM *const ring = (uint32_t VHI_SHM *)(used(q) + RING);
	struct vhi_slot *const slots = q->slots;
	uint64_t at = q->next_used;

	*flags = 0;
	*bytes = 0;
	do {
		/* Of another epoch it is no slot. */
		const uint64_t head = cpl->token - first;
		uint32_t VHI_SHM *elem;
		uint32_t len;

		if (!claimed && VHI_UNLIKELY(head > mask || slots[head].state != VHI_SLOT_IN_FLIGHT))
			break;
		len = VHI_MIN(cpl->written, slots[head].wr_len);
		*flags |= cpl->flags;
		*bytes += len;
		elem = ring + 2 * (at++ & mask);
		vhi_shm_store32(elem, (uint32_t)head);
		vhi_shm_store32(elem + 1, len);
		vhi_slot_state(&slots[head], VHI_SLOT_FREE);
	} while (++cpl != end);
	return cpl;
}

/* They can be seen. */
static inline __attribute__((always_inline)) int32_t publish(struct vh_queue *q, uint32_t n, uint64_t bytes)
{
	const uint16_t old = q->next_used;

	if (vhi_poisoned(q))
		return vhi_push_poisoned(q, n);
	/* What nobody else looks at can be counted while the driver finds it. */
	vhi_shm_store16_release(used(q) + IDX, (uint16_t)(old + n));
	q->next_used = (uint16_t)(old + n);
	vhi_ended(q, n);
	vhi_count(&q->stats.completed, n);
	vhi_count(&q->stats.bytes_out, bytes);
	tell_driver(q, old);
	return 0;
}

static int32_t split_publish(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	uint64_t bytes;
	uint32_t flags;

	use(q, cpls, cpls + n, true, &flags, &bytes);
	return publish(q, n, bytes);
}

/* n requests to @end, of which those before @odd were used: where it means nothing, and they are in flight as before. */
__attribute__((noinline, cold)) static int push_odd(struct vh_queue *q, const struct vh_cpl *odd,
						    const struct vh_cpl *end, uint32_t n)
{
	const struct vh_cpl *const cpls = end - n;

	while (odd-- != cpls)
		vhi_slot_state(&q->slots[(uint32_t)odd->token], VHI_SLOT_IN_FLIGHT);
	return vhi_queue_leave_with(q, vhi_push_odd(q, cpls, n, 0));
}

static int32_t split_push(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	const struct vh_cpl *const end = cpls + n, *odd;
	uint64_t bytes;
	uint32_t flags;

	odd = use(q, cpls, end, false, &flags, &bytes);
	if (VHI_UNLIKELY(odd != end || flags))
		return push_odd(q, odd, end, n);
	return vhi_queue_leave_with(q, publish(q, n, bytes));
}

static int32_t split_give_back(struct vh_queue *q, uint32_t n)
{
	if (!vhi_newest_in_flight(q, n))
		return -EINVAL;
	for (uint32_t i = 1; i <= n; i++) {
		struct vhi_slot *slot = &q->slots[*vhi_order(q, q->seq - i)];

		if (slot->block)
			vhi_chain_put_block(q, slot);
		vhi_slot_state(slot, VHI_SLOT_FREE);
	}
	q->next_avail = (uint16_t)(q->next_avail - n);
	q->seq -= n;
	vhi_in_flight(q, q->in_flight - n);
	return 0;
}

/* From what is there by now: a device may leave requests in the ring, and yet wants to hear of new ones. */
static void split_arm(struct vh_queue *q, bool on)
{
	if (q->event_idx)
		vhi_shm_store16(avail_event(q), on ? vhi_shm_load16(avail(q) + IDX) : (uint16_t)(q->next_avail - 1));
	else if (q->armed != on)
		vhi_shm_store16(used(q) + FLAGS, on ? 0 : 1);
	q->armed = on;
}

static bool split_more(struct vh_queue *q)
{
	return vhi_shm_load16_acquire(avail(q) + IDX) != q->next_avail;
}

static void split_log_used(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n, uint16_t old)
{
	const uint32_t at = old & (q->num - 1), run = VHI_MIN(n, q->num - at);

	(void)cpls;
	vhi_queue_log_used(q, 2 * RING + 8 * (uint64_t)at, 8 * (uint64_t)run);
	vhi_queue_log_used(q, 2 * RING, 8 * (uint64_t)(n - run));
	vhi_queue_log_used(q, 2 * IDX, 2);
}

static void split_log_event(struct vh_queue *q)
{
	vhi_queue_log_used(q, q->event_idx ? 2 * RING + 8 * (uint64_t)q->num : 2 * FLAGS, 2);
}

/*
 * Publishing goes on where the ring says that it stopped; taking goes on at the base. The two may differ: what lies
 * between them was in flight somewhere else, and is the front-end's to decide about.
 */
static void split_open(struct vh_queue *q, bool fresh)
{
	(void)fresh;
	q->next_avail = (uint16_t)q->ring.base;
	q->dev.order_skew = q->next_avail - q->seq;
	q->next_used = vhi_shm_load16(used(q) + IDX);
	q->armed = false;
	split_arm(q, true);
}

static uint32_t split_base(struct vh_queue *q, uint32_t *left)
{
	*left = q->in_flight;
	return (uint16_t)(q->next_avail - q->in_flight - q->dropped);
}

const struct vhi_layout vhi_split_device = {
	.pop = split_pop,
	.push = split_push,
	.take = split_take,
	.publish = split_publish,
	.give_back = split_give_back,
	.open = split_open,
	.base = split_base,
	.arm = split_arm,
	.more = split_more,
	.log_used = split_log_used,
	.log_event = split_log_event,
	.tracker = &vhi_split_tracker,
};
