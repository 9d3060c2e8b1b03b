/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * News of a handle, for both sides. One slot for each kind and queue, so that no peer can fill the list, and a later
 * event takes the slot to the end of it: of opposite kinds (connected, disconnected) the last one tells how things are.
 */
#ifndef VHI_EVENTS_H
#define VHI_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "vh/event.h"

/* Kind and queue are in its place. */
struct vhi_event_slot {
	uint64_t value;
	int32_t reason;
	uint32_t count; /* 0 = not pending */
};

struct vhi_event_link {
	uint16_t prev, next;
};

struct vhi_events {
	struct vhi_event_slot *slots;
	struct vhi_event_link *links; /* of the slots, behind them; 0 is the head of the list */
};

/* @n_queues 0: no event of a queue is ever raised. 0 or -ENOMEM. */
int vhi_events_init(struct vhi_events *e, uint32_t n_queues);
void vhi_events_fini(struct vhi_events *e);
/* @queue is VH_ERROR_NONE for a kind of the device, below n_queues for one of a queue. */
void vhi_events_raise(struct vhi_events *e, uint32_t kind, uint32_t queue, int32_t reason, uint64_t value);
/* Take the oldest: 1, 0 when there is none, -EINVAL (and nothing is taken) when @out is no out struct. */
vh_count vhi_events_next(struct vhi_events *e, struct vh_event *out, const char *who);

#endif
