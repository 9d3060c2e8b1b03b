/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Rings and guest memory: where rings are, and how they rest while memory changes. */
#include "vhi_slave.h"

void vhi_vring_pause_all(struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++) {
		struct vhi_vring *r = &s->rings[i];
		uint32_t n;

		if (!vhi_vring_started(r))
			continue;
		r->paused = true;
		vhi_queue_ctl(r->q, VHI_CTL_PAUSE, NULL);
		n = vhi_queue_in_flight(r->q);
		if (n)
			vhi_events_raise(&s->events, VH_EVENT_DRAINING, i, 0, n);
	}
}

void vhi_vring_resume_all(struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++) {
		struct vhi_vring *r = &s->rings[i];

		if (!r->paused)
			continue;
		r->paused = false;
		vhi_queue_ctl(r->q, VHI_CTL_RESUME, NULL);
		vhi_vring_look(s, r);
	}
}

bool vhi_vring_settled(const struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		if (!vhi_queue_settled(s->rings[i].q))
			return false;
	return true;
}

bool vhi_vring_quiet(const struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		if (vhi_queue_in_flight(s->rings[i].q))
			return false;
	return vhi_vring_settled(s);
}

void vhi_vring_move_begin(struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		s->rings[i].moving = s->rings[i].state == VHI_VRING_RUNNING;
}

/* A user address that now means another guest address is not where the driver's ring is. */
static bool is_there(const struct vh_slave *s, const struct vhi_vring *r, const struct vh_snapshot *snap)
{
	struct vhi_gpa at[3];

	return vhi_vring_locate(s, snap, &r->addr, r->num, at) && at[0].v == r->desc.v && at[1].v == r->driver.v &&
	       at[2].v == r->device.v;
}

bool vhi_vring_move(struct vh_slave *s, struct vh_snapshot *snap)
{
	bool all = true;

	for (uint32_t i = 0; i < s->n_queues; i++) {
		struct vhi_vring *r = &s->rings[i];

		if (!r->moving)
			continue;
		r->moving = false;
		if (VHI_REFUSE(VHI_SITE_SLAVE_RING_GONE, !is_there(s, r, snap))) {
			vhi_queue_break(r->q, -EFAULT, VHI_SITE_SLAVE_RING_GONE,
					"the new memory table does not hold the ring");
			vhi_vring_event(s, i, VHI_VRING_BROKE);
		} else if (vhi_queue_ctl(r->q, VHI_CTL_SNAPSHOT, snap) == -EBUSY) {
			r->moving = true;
			all = false;
		}
	}
	return all;
}

void vhi_vring_configured_all(struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		vhi_vring_event(s, i, VHI_VRING_CONFIGURED);
}
