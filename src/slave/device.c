/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the device asks of its back-end. */
#include "vhi_slave.h"

static int config_changed(void *ctx)
{
	struct vh_slave *s = ctx;
	vh_rc rc = vhi_slave_enter(s, "vh_device_config_changed");

	if (rc)
		return rc;
	rc = vhi_back_config_changed(s);
	if (rc)
		rc = vhi_fail(rc, VH_ERROR_STATE, 0,
			      "vh_device_config_changed: %s: the front-end has to be connected, to have set up its "
			      "channel, and to answer",
			      vh_error_name(rc));
	return vhi_slave_leave(s, rc);
}

/* From any thread, and for each of thousands of requests a second: told by the next round. */
static void failed(void *ctx, uint32_t queue, int32_t rc)
{
	struct vh_slave *s = ctx;
	struct vhi_vring *r = &s->rings[queue];

	vhi_queue_count_failed(r->q);
	__atomic_store_n(&r->device_rc, rc, __ATOMIC_RELAXED);
	/* A round that is in progress on this thread looks before it ends. */
	if (!__atomic_exchange_n(&s->device_failed, 1, __ATOMIC_ACQ_REL) &&
	    !(vhi_gate_inside(&s->gate) && s->dispatching))
		vhi_slave_wake(s);
}

const struct vhi_carrier vhi_slave_carrier = {
	.wake = vhi_slave_wake,
	.config_changed = config_changed,
	.failed = failed,
};

void vhi_slave_tell_failures(struct vh_slave *s)
{
	if (!__atomic_exchange_n(&s->device_failed, 0, __ATOMIC_ACQ_REL))
		return;
	for (uint32_t i = 0; i < s->n_queues; i++) {
		struct vhi_vring *r = &s->rings[i];
		int32_t rc = __atomic_exchange_n(&r->device_rc, 0, __ATOMIC_RELAXED);
		uint64_t n = vhi_queue_failed(r->q);

		if (!rc)
			continue;
		vhi_events_raise(&s->events, VH_EVENT_DEVICE_ERROR, i, rc, n);
		vhi_log_line(&s->log, VH_LOG_ERROR,
			     "queue %u: the device failed: %s; requests that failed so far: %llu", i, vh_error_name(rc),
			     (unsigned long long)n);
	}
}
