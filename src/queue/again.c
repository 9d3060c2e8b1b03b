/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A driver's requests for a device that comes after another one. What the first one completed stays as it is in the
 * ring, reaped or not; the others take the places behind it, which are exactly as many. Their order is that in which
 * they were submitted, as far as it is known: a request that was overtaken by a whole ring comes first. A ring that has
 * to begin at its beginning gives away what was completed before, to be reaped from private memory.
 */
#include "vhi_in_order.h"

/* Entries of the order that name a request which is in flight, and only the newest entry of each. */
static void thin_out(struct vh_queue *q)
{
	uint32_t at = q->drv.turn;

	for (uint32_t i = 0; i < q->num; i++) {
		struct vhi_slot *slot;

		at = (at ? at : q->num) - 1;
		if (!q->drv.order[at])
			continue;
		slot = &q->slots[q->drv.order[at] - 1];
		if (slot->state == VHI_SLOT_IN_FLIGHT)
			vhi_slot_state(slot, VHI_SLOT_CLAIMED);
		else
			q->drv.order[at] = 0;
	}
}

static void write_by_order(struct vh_queue *q)
{
	uint32_t at;

	thin_out(q);
	at = q->drv.turn;
	for (uint32_t id = 0; id < q->num; id++)
		if (q->slots[id].state == VHI_SLOT_IN_FLIGHT)
			q->layout->again(q, id);
	for (uint32_t i = 0; i < q->num; i++) {
		if (q->drv.order[at])
			q->layout->again(q, q->drv.order[at] - 1u);
		at = at + 1 < q->num ? at + 1 : 0;
	}
}

static void write_all(struct vh_queue *q)
{
	if (q->flags & VHI_QF_IN_ORDER)
		vhi_order_again(q);
	else
		write_by_order(q);
	q->notify_next = true;
}

/* Whatever a look at the ring has made of their states. */
static void all_in_flight(struct vh_queue *q)
{
	for (uint32_t id = 0; id < q->num; id++)
		if (q->slots[id].state)
			vhi_slot_state(&q->slots[id], VHI_SLOT_IN_FLIGHT);
}

/* Lock and gate are held. */
static int again(struct vh_queue *q, uint32_t *base)
{
	const bool good = q->layout->settle(q);
	uint32_t left;

	if (good) {
		*base = q->layout->base(q, &left);
		write_all(q);
	}
	all_in_flight(q);
	return good ? 0 : -EPROTO;
}

static int at_rest(struct vh_queue *q, uint32_t *base, int (*what)(struct vh_queue *q, uint32_t *base))
{
	bool ours = vhi_queue_begin(q);
	int rc = -EBUSY;

	if (ours && q->flags & VHI_QF_STARTED)
		rc = what(q, base);
	vhi_queue_abandon(q, ours);
	return rc;
}

int vhi_queue_again(struct vh_queue *q, uint32_t *base)
{
	return at_rest(q, base, again);
}

uint32_t vhi_queue_early(struct vh_queue *q)
{
	return __atomic_load_n(&q->drv.early, __ATOMIC_ACQUIRE);
}

static void put_early(struct vh_queue *q, uint32_t n)
{
	__atomic_store_n(&q->drv.early, n, __ATOMIC_RELEASE);
	q->flags = n ? q->flags | VHI_QF_EARLY : q->flags & ~VHI_QF_EARLY;
}

/* In place of what was left. */
static void keep_early(struct vh_queue *q, struct vh_cpl *first, uint32_t n)
{
	vhi_free(q->drv.first);
	q->drv.first = first;
	q->drv.first_at = 0;
	put_early(q, n);
}

void vhi_early_drop(struct vh_queue *q)
{
	keep_early(q, NULL, 0);
}

int32_t vhi_early_reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max)
{
	const uint32_t n = VHI_MIN(max, q->drv.early);

	if (n) /* else cpls may be NULL */
		memcpy(cpls, q->drv.first + q->drv.first_at, n * sizeof(*cpls));
	q->drv.first_at += n;
	put_early(q, q->drv.early - n);
	q->idle = false;
	return (int32_t)n;
}

/* What was completed leaves the ring; older ones that nobody has reaped yet come first. Lock and gate are held. */
static int collect_all(struct vh_queue *q)
{
	struct vh_cpl *all = vhi_calloc((size_t)q->drv.early + q->in_flight + 1, sizeof(*all));
	uint32_t n = q->drv.early, got = 1, site = 0;

	if (!all)
		return vhi_fail_at(-ENOMEM, VH_ERROR_SYSTEM, 0, q->index, VH_ERROR_NONE,
				   "queue %u: no memory for %u completions", q->index, n + q->in_flight);
	if (n)
		memcpy(all, q->drv.first + q->drv.first_at, n * sizeof(*all));
	while (q->in_flight && got) {
		got = (q->flags & VHI_QF_IN_ORDER ? vhi_order_collect : q->layout->collect)(q, all + n, q->in_flight,
											    &site);
		n += got;
	}
	keep_early(q, all, n);
	return site ? -EPROTO : 0;
}

static int rewind_ring(struct vh_queue *q, uint32_t *base)
{
	int rc = collect_all(q);

	if (rc || (vhi_is_packed(q) && !q->drv.kept))
		return rc ? rc : -EPROTO;
	*base = q->ring.base = vhi_ring_first_base(q->ring.features);
	q->layout->open(q, true);
	q->drv.again = q->next_avail;
	write_all(q);
	q->next_avail = q->drv.again;
	(void)q->layout->settle(q); /* nothing is used; what was written becomes available */
	all_in_flight(q);
	q->after |= VHI_AFTER_SELF;
	return 0;
}

int vhi_queue_rewind(struct vh_queue *q, uint32_t *base)
{
	return at_rest(q, base, rewind_ring);
}
