/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Fewer calls than batches. Completions are published at once, as ever, and each push asks as ever whether the driver wants
 * a call; what is put off is the call itself, until enough were completed, nothing is in flight that could still complete,
 * or the thread that drives the queue goes to sleep. So nothing needs a timer: a device that has work goes on, and one that
 * has none arms.
 */
#include "vhi_vring.h"

void vhi_coalesce_flush(struct vh_queue *q)
{
	const bool owed = q->tell_due;

	q->tell_due = false;
	if (!owed)
		return;
	q->untold = 0;
	vhi_queue_signal(q);
}

void vhi_coalesced(struct vh_queue *q, uint32_t n)
{
	q->untold = VHI_MIN(q->untold + n, q->coalesce);
	if (q->untold == q->coalesce || !q->in_flight)
		vhi_coalesce_flush(q);
}

void vhi_queue_call(struct vh_queue *q)
{
	if (!q->tell_due || vhi_queue_enter(q))
		return;
	vhi_coalesce_flush(q);
	vhi_queue_leave(q);
}

vh_rc vh_queue_set_coalescing(struct vh_queue *q, uint32_t completions)
{
	if (!q || q->role != VH_QUEUE_DEVICE || completions > VH_QUEUE_MAX_SIZE)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_queue_set_coalescing: give a queue on the device side, and at most %u completions",
				VH_QUEUE_MAX_SIZE);
	if (vhi_queue_enter(q))
		return -EBUSY;
	vhi_coalesce_flush(q);
	q->untold = 0;
	q->coalesce = completions;
	q->flags = completions > 1 ? q->flags | VHI_QF_COALESCED : q->flags & ~VHI_QF_COALESCED;
	vhi_queue_leave(q);
	return 0;
}
