/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A ring with VIRTIO_F_IN_ORDER, either side: VHI_QF_IN_ORDER. The owner of the gate calls these. */
#ifndef VHI_IN_ORDER_H
#define VHI_IN_ORDER_H

#include "vhi_vring.h"

/* Places in dev.order and drv.order: a ring of num. */
static inline uint32_t vhi_order_on(uint32_t num, uint32_t at)
{
	return at + 1 < num ? at + 1 : 0;
}

static inline uint32_t vhi_order_back(uint32_t num, uint32_t at, uint32_t n)
{
	return at >= n ? at - n : at + num - n;
}

/* Device. These were claimed: hold them. How many of the oldest can be published now; they are at dev.run, in order. */
uint32_t vhi_order_hold(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n);
/* Nothing is published any more: what is held ends. How many these were; they are still counted as in flight. */
uint32_t vhi_order_forget(struct vh_queue *q);

/* Driver. reap; one used element may stand for a run of requests. */
int32_t vhi_order_reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max);
uint32_t vhi_order_collect(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max,
			   uint32_t *why);     /* as vhi_layout.collect */
bool vhi_order_more(const struct vh_queue *q); /* of a run that was found not all was reaped */
/*
 * How many the device completed that were not reaped, and in *pos where it stands; *good is false when what it left in the
 * ring can't be. With @settle they are marked as VHI_SLOT_DONE.
 */
uint32_t vhi_order_completed(struct vh_queue *q, bool settle, uint16_t *pos, bool *good);
/* For vhi_queue_again(), after settling. */
void vhi_order_again(struct vh_queue *q);

#endif
