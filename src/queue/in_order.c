/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * VIRTIO_F_IN_ORDER, device side: requests are completed in the order in which they became available. A handler may push
 * them in any order all the same: one that comes early is held until all older ones are there, and then they are published
 * like any others. Each gets a used element of its own, although one is enough for a run: the specification then has the
 * driver take all others for filled, and drivers in wide use read every element of a ring that they receive by.
 *
 * In flight means that it was popped and is not published, so that a queue with something held neither stops nor says that
 * it has nothing to do. What is held is never the oldest: somebody still has a request whose push will publish it.
 */
#include "vhi_in_order.h"
#include "vhi_chain.h"

uint32_t vhi_order_hold(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	const uint32_t oldest = q->seq - q->in_flight;
	uint32_t ready = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct vhi_slot *slot = &q->slots[(uint32_t)cpls[i].token];

		slot->wr_len = VHI_MIN(cpls[i].written, slot->wr_len);
		vhi_slot_state(slot, VHI_SLOT_DONE);
	}
	for (; ready < q->in_flight; ready++) {
		const uint32_t id = *vhi_order(q, oldest + ready);

		if (q->slots[id].state != VHI_SLOT_DONE)
			break;
		q->dev.run[ready] = (struct vh_cpl){.token = (uint64_t)q->epoch << 32 | id,
						    .written = q->slots[id].wr_len};
	}
	q->dev.held += n - ready;
	return ready;
}

uint32_t vhi_order_forget(struct vh_queue *q)
{
	const uint32_t n = q->dev.held;

	for (uint32_t i = 0; q->dev.held; i++) {
		if (q->slots[i].state != VHI_SLOT_DONE)
			continue;
		vhi_slot_state(&q->slots[i], VHI_SLOT_FREE);
		q->dev.held--;
	}
	return n;
}
