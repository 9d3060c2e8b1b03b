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

	vhi_serve_failed(&r->serve, r->q, rc);
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
	for (uint32_t i = 0; i < s->n_queues; i++)
		vhi_serve_tell(&s->rings[i].serve, s->rings[i].q, i, &s->events, &s->log);
}
