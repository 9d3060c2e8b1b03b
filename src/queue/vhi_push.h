/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What a push begins with, in all layouts of a ring. */
#ifndef VHI_PUSH_H
#define VHI_PUSH_H

#include "vhi_vring.h"

/* A push that can't be as most are: only @claimed of the tokens are, or something is wrong with one of them. */
int vhi_push_odd(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n, uint32_t claimed);

/*
 * n (1 at least) tokens are claimed, so that one that is named twice is found. False: only *claimed of them are, or flags
 * are set; nothing else was done then.
 */
static inline __attribute__((always_inline)) bool vhi_claim(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n,
							    uint32_t *claimed)
{
	const uint64_t first = q->dev.form.token, num = q->num;
	const struct vh_cpl *cpl = cpls, *const end = cpls + n;
	struct vhi_slot *const slots = q->slots;
	uint32_t flags = 0;

	do {
		/* Of another epoch it is no slot. */
		const uint64_t slot = cpl->token - first;

		if (VHI_UNLIKELY(slot >= num || slots[slot].state != VHI_SLOT_IN_FLIGHT))
			break;
		flags |= cpl->flags;
		vhi_slot_state(&slots[slot], VHI_SLOT_CLAIMED);
	} while (++cpl != end);
	*claimed = (uint32_t)(cpl - cpls);
	return VHI_LIKELY(cpl == end && !flags);
}

/* Memory is not whole, and nothing is published of n requests, which end all the same. */
int vhi_push_poisoned(struct vh_queue *q, uint32_t n);

/* So many are published. Whether somebody waits for the last one is asked by who may have to wake him. */
static inline void vhi_ended(struct vh_queue *q, uint32_t n)
{
	const uint32_t left = q->in_flight - n;

	__atomic_store_n(&q->in_flight, left, __ATOMIC_RELAXED);
	q->dev.late = 0;
	q->dev.lone = !left && q->dev.last == 1;
}

#endif
