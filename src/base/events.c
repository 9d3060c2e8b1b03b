/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vhi_events.h"

#include "vh/error.h"
#include "vhi_base.h"
#include "vhi_probe.h"

/* Kinds of a queue come first: their row is their place among the slots of each queue. */
#define QUEUE_KINDS 11u

static const struct {
	uint32_t kind;
	const char *name;
} kinds[] = {
	{VH_EVENT_STARTED, "started"},
	{VH_EVENT_STOPPED, "stopped"},
	{VH_EVENT_ENABLED, "enabled"},
	{VH_EVENT_DISABLED, "disabled"},
	{VH_EVENT_DRAINING, "draining"},
	{VH_EVENT_BROKEN, "broken"},
	{VH_EVENT_IOTLB_FAULT, "iotlb-fault"},
	{VH_EVENT_DEVICE_ERROR, "device-error"},
	{VH_EVENT_INFLIGHT_LOST, "inflight-lost"},
	{VH_EVENT_RESUBMITTED, "resubmitted"},
	{VH_EVENT_NEEDS_RESET, "needs-reset"},
	/* of the device */
	{VH_EVENT_CONNECTED, "connected"},
	{VH_EVENT_DISCONNECTED, "disconnected"},
	{VH_EVENT_REFUSED, "refused"},
	{VH_EVENT_MEMORY_CHANGED, "memory-changed"},
	{VH_EVENT_CONFIG_WRITTEN, "config-written"},
	{VH_EVENT_RESET, "reset"},
	{VH_EVENT_STATUS, "status"},
	{VH_EVENT_NEGOTIATED, "negotiated"},
	{VH_EVENT_PAUSED, "paused"},
	{VH_EVENT_DIRTY_LOST, "dirty-lost"},
	{VH_EVENT_IOTLB_TIMEOUT, "iotlb-timeout"},
	{VH_EVENT_RECONNECTING, "reconnecting"},
	{VH_EVENT_GAVE_UP, "gave-up"},
	{VH_EVENT_STATE, "state"},
	{VH_EVENT_CHANNEL_ENDED, "channel-ended"},
	{VH_EVENT_POSTCOPY, "postcopy"},
	{VH_EVENT_CONFIG_CHANGED, "config-changed"},
	{VH_EVENT_BACKEND_REQUEST, "backend-request"},
	{VH_EVENT_STATE_MOVED, "state-moved"},
	{VH_EVENT_SESSION_RUNNING, "session-running"},
	{VH_EVENT_SHMEM_RESET, "shmem-reset"},
};

/* The slots: the head, the kinds of the device, then those of each queue. */
#define KINDS	     VHI_ARRAY_SIZE(kinds)
#define FIRST_DEVICE 1u
#define FIRST_QUEUE  (FIRST_DEVICE + (uint32_t)KINDS - QUEUE_KINDS)

static uint32_t row_of(uint32_t kind)
{
	uint32_t row = 0;

	while (row < KINDS && kinds[row].kind != kind)
		row++;
	return row;
}

const char *vh_event_name(uint32_t kind)
{
	uint32_t row = row_of(kind);

	return row < KINDS ? kinds[row].name : NULL;
}

static uint32_t slot_of(uint32_t kind, uint32_t queue)
{
	uint32_t row = row_of(kind);

	return row < QUEUE_KINDS ? FIRST_QUEUE + queue * QUEUE_KINDS + row : FIRST_DEVICE + row - QUEUE_KINDS;
}

int vhi_events_init(struct vhi_events *e, uint32_t n_queues)
{
	const size_t n = FIRST_QUEUE + (size_t)n_queues * QUEUE_KINDS;

	e->slots = vhi_calloc(n, sizeof(*e->slots) + sizeof(*e->links));
	if (!e->slots)
		return -ENOMEM;
	e->links = (struct vhi_event_link *)(e->slots + n);
	return 0;
}

void vhi_events_fini(struct vhi_events *e)
{
	vhi_free(e->slots);
	e->slots = NULL;
}

static void unlink_slot(struct vhi_events *e, uint32_t at)
{
	e->links[e->links[at].prev].next = e->links[at].next;
	e->links[e->links[at].next].prev = e->links[at].prev;
}

static void append_slot(struct vhi_events *e, uint32_t at)
{
	struct vhi_event_link *head = &e->links[0];

	e->links[at] = (struct vhi_event_link){.prev = head->prev, .next = 0};
	e->links[head->prev].next = (uint16_t)at;
	head->prev = (uint16_t)at;
}

void vhi_events_raise(struct vhi_events *e, uint32_t kind, uint32_t queue, int32_t reason, uint64_t value)
{
	uint32_t at = slot_of(kind, queue);
	struct vhi_event_slot *slot = &e->slots[at];

	VHI_PROBE4(event, kind, queue, (int64_t)reason, value);
	if (slot->count)
		unlink_slot(e, at);
	append_slot(e, at);
	slot->reason = reason;
	slot->value = value;
	slot->count++;
}

static struct vh_event event_at(const struct vhi_event_slot *slot, uint32_t at)
{
	const bool of_queue = at >= FIRST_QUEUE;
	const uint32_t row = of_queue ? (at - FIRST_QUEUE) % QUEUE_KINDS : at - FIRST_DEVICE + QUEUE_KINDS;

	return (struct vh_event){.size = sizeof(struct vh_event),
				 .kind = kinds[row].kind,
				 .queue = of_queue ? (at - FIRST_QUEUE) / QUEUE_KINDS : VH_ERROR_NONE,
				 .reason = slot->reason,
				 .value = slot->value,
				 .count = slot->count};
}

vh_count vhi_events_next(struct vhi_events *e, struct vh_event *out, const char *who)
{
	const struct vh_event none = {0};
	struct vh_event event;
	uint32_t at = e->links[0].next;
	struct vhi_event_slot *slot = &e->slots[at];
	vh_rc rc;

	/* A bad @out is told also when there is nothing for it. */
	if (!at && out && out->size >= 2 * sizeof(uint32_t))
		return 0;
	event = at ? event_at(slot, at) : none;
	rc = vhi_out_fill(out, &event, sizeof(event), who);
	if (rc)
		return rc;
	unlink_slot(e, at);
	slot->count = 0;
	return 1;
}
