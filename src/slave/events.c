/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* News of a handle: one slot for each kind and queue, so that no peer can fill the list. */
#include "vhi_slave.h"

/* Kinds 4 to 9 are of a queue, the others of the device. */
#define QUEUE_KIND_FIRST VH_EVENT_STARTED
#define QUEUE_KIND_LAST	 VH_EVENT_BROKEN
#define QUEUE_KINDS	 (QUEUE_KIND_LAST - QUEUE_KIND_FIRST + 1u)
#define DEVICE_SLOTS	 (VH_EVENT_NEGOTIATED + 1u) /* by kind; slot 0 is the list's head */

static bool is_queue_kind(uint32_t kind)
{
	return kind >= QUEUE_KIND_FIRST && kind <= QUEUE_KIND_LAST;
}

static uint32_t slot_of(uint32_t kind, uint32_t queue)
{
	return is_queue_kind(kind) ? DEVICE_SLOTS + queue * QUEUE_KINDS + (kind - QUEUE_KIND_FIRST) : kind;
}

int vhi_events_init(struct vhi_events *e, uint32_t n_queues)
{
	e->slots = vhi_calloc(DEVICE_SLOTS + (size_t)n_queues * QUEUE_KINDS, sizeof(*e->slots));
	e->n_queues = n_queues;
	return e->slots ? 0 : -ENOMEM;
}

void vhi_events_fini(struct vhi_events *e)
{
	vhi_free(e->slots);
	e->slots = NULL;
}

static void unlink_slot(struct vhi_events *e, uint32_t at)
{
	struct vhi_event_slot *slot = &e->slots[at];

	e->slots[slot->prev].next = slot->next;
	e->slots[slot->next].prev = slot->prev;
}

static void append_slot(struct vhi_events *e, uint32_t at)
{
	struct vhi_event_slot *head = &e->slots[0];

	e->slots[at].prev = head->prev;
	e->slots[at].next = 0;
	e->slots[head->prev].next = at;
	head->prev = at;
}

void vhi_events_raise(struct vhi_events *e, uint32_t kind, uint32_t queue, int32_t reason, uint64_t value)
{
	uint32_t at = slot_of(kind, queue);
	struct vhi_event_slot *slot = &e->slots[at];

	/* The newest of a kind tells the state, so it stands where the newest is. */
	if (slot->count)
		unlink_slot(e, at);
	append_slot(e, at);
	slot->count++;
	slot->reason = reason;
	slot->value = value;
}

bool vhi_events_take(struct vhi_events *e, struct vh_event *out)
{
	uint32_t at = e->slots[0].next;
	struct vhi_event_slot *slot = &e->slots[at];
	bool of_queue = at >= DEVICE_SLOTS;

	if (!at)
		return false;
	memset(out, 0, sizeof(*out));
	out->size = sizeof(*out);
	out->kind = of_queue ? QUEUE_KIND_FIRST + (at - DEVICE_SLOTS) % QUEUE_KINDS : at;
	out->queue = of_queue ? (at - DEVICE_SLOTS) / QUEUE_KINDS : VH_ERROR_NONE;
	out->reason = slot->reason;
	out->value = slot->value;
	out->count = slot->count;
	unlink_slot(e, at);
	slot->count = 0;
	return true;
}
