/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A queue that is run for a device, whatever brought it here. */
#include "vhi_serve.h"

#include "vh/queue.h"
#include "vh/slave.h"
#include "vhi_probe.h"

void vhi_serve_begin(struct vhi_serve *sv, uint32_t poll_us)
{
	sv->armed = poll_us;
	sv->left = false;
	sv->poll_until = 0;
}

/* False when the queue may sleep: nothing came for as long as it is to be polled. */
static bool polls(struct vhi_serve *sv, bool took, uint64_t us)
{
	uint64_t now;

	if (sv->polled || us == VH_POLL_ALWAYS)
		return true;
	if (!us || !(took || sv->poll_until))
		return false;
	now = vhi_now_ns();
	if (took)
		sv->poll_until = now + us * 1000;
	if (now >= sv->poll_until)
		sv->poll_until = 0;
	return sv->poll_until;
}

/*
 * Look once more after asking. One that then, with the kick asked for, takes nothing of what is there leaves it on purpose
 * (receive buffers, until something comes): the next kick is for others.
 */
void vhi_serve_rest(struct vhi_serve *sv, struct vh_queue *q, bool took, uint32_t poll_us)
{
	const bool looked_again = sv->left && sv->armed;
	vh_count rc;

	if (polls(sv, took, poll_us)) {
		if (!took)
			vhi_queue_call(q);
		sv->pending = sv->polling = true;
		return;
	}
	rc = vh_queue_arm(q);
	sv->armed = rc >= 0;
	sv->left = rc == VH_QUEUE_MORE;
	sv->pending = (sv->left && (took || !looked_again)) || rc == -EBUSY;
}

void vhi_serve_open(struct vhi_serve *sv, struct vh_queue *q)
{
	sv->pending = sv->polling = false;
	if (sv->armed && !sv->left) {
		vh_queue_disarm(q);
		sv->armed = false;
	}
}

int32_t vhi_serve_batch(struct vhi_serve *sv, struct vh_queue *q, const struct vh_device *dev, uint32_t index,
			uint32_t budget, uint32_t poll_us)
{
	const uint32_t before = vhi_queue_taken(q);
	int32_t rc = 0;

	if (dev->ops.on_batch)
		rc = dev->ops.on_batch(dev->ctx, q, index, budget);
	VHI_PROBE3(batch, (uintptr_t)q, index, vhi_queue_taken(q) - before);
	if (!rc)
		vhi_serve_rest(sv, q, vhi_queue_taken(q) != before, poll_us);
	return rc;
}

void vhi_serve_failed(struct vhi_serve *sv, struct vh_queue *q, int32_t rc)
{
	vhi_queue_count_failed(q);
	__atomic_store_n(&sv->device_rc, rc, __ATOMIC_RELAXED);
}

void vhi_serve_tell(struct vhi_serve *sv, struct vh_queue *q, uint32_t index, struct vhi_events *events,
		    struct vhi_log *log)
{
	const int32_t rc = __atomic_exchange_n(&sv->device_rc, 0, __ATOMIC_RELAXED);
	const uint64_t n = vhi_queue_failed(q);

	if (!rc)
		return;
	vhi_events_raise(events, VH_EVENT_DEVICE_ERROR, index, rc, n);
	vhi_log_line(log, VH_LOG_ERROR, "queue %u: the device failed: %s; requests that failed so far: %llu", index,
		     vh_error_name(rc), (unsigned long long)n);
}
