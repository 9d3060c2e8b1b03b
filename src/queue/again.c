/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A driver's requests for a device that comes after another one. What the first one completed stays as it is in the
 * ring, reaped or not; the others take the places behind it, which are exactly as many. Their order is that in which
 * they were submitted, as far as it is known: a request that was overtaken by a whole ring comes first.
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

static void write_all(struct vh_queue *q)
{
	uint32_t at = q->drv.turn;

	for (uint32_t id = 0; id < q->num; id++)
		if (q->slots[id].state == VHI_SLOT_IN_FLIGHT)
			q->layout->again(q, id);
	for (uint32_t i = 0; i < q->num; i++) {
		if (q->drv.order[at])
			q->layout->again(q, q->drv.order[at] - 1u);
		at = at + 1 < q->num ? at + 1 : 0;
	}
}

/* Lock and gate are held. */
static int again(struct vh_queue *q, uint32_t *base)
{
	const bool good = q->layout->settle(q);
	uint32_t left;

	if (good) {
		*base = q->layout->base(q, &left);
		if (q->flags & VHI_QF_IN_ORDER) {
			vhi_order_again(q);
		} else {
			thin_out(q);
			write_all(q);
		}
		q->notify_next = true;
	}
	for (uint32_t id = 0; id < q->num; id++)
		if (q->slots[id].state)
			vhi_slot_state(&q->slots[id], VHI_SLOT_IN_FLIGHT);
	return good ? 0 : -EPROTO;
}

int vhi_queue_again(struct vh_queue *q, uint32_t *base)
{
	bool ours = vhi_queue_begin(q);
	int rc = -EBUSY;

	if (ours && q->flags & VHI_QF_STARTED)
		rc = again(q, base);
	vhi_queue_abandon(q, ours);
	return rc;
}
