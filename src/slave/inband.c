/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Notifications by message. A front-end that negotiated them may leave its fds out; then it is told over the back-end
 * channel. Of each ring one message is on its way: what happens before its answer is told by the next.
 */
#include "vhi_slave.h"

static int send_one(struct vh_slave *s, uint32_t i, uint32_t id)
{
	const struct vhi_wire_vring_state p = {.index = i};
	const struct vhi_ask ask = {.id = id, .payload = &p, .size = sizeof(p)};
	struct vhi_ticket *t;
	int rc = vhi_back_send(s, &ask, &t);

	if (!rc && t) {
		t->abandoned = true;
		s->rings[i].telling = t->id;
	}
	return rc;
}

static void tell(struct vh_slave *s, uint32_t i)
{
	struct vhi_vring *r = &s->rings[i];

	r->told |= vhi_queue_take_told(r->q);
	/* A device that is suspended keeps quiet. */
	if (!vhi_vring_any_started(s) || !s->conn.back)
		r->told = 0;
	if (r->told & VHI_TELL_ERR && !r->telling && !send_one(s, i, VHI_BE_VRING_ERR))
		r->told &= ~VHI_TELL_ERR;
	if (r->told & VHI_TELL_CALL && !r->telling && !send_one(s, i, VHI_BE_VRING_CALL))
		r->told &= ~VHI_TELL_CALL;
}

void vhi_inband_step(struct vh_slave *s)
{
	for (uint32_t i = 0; vhi_slave_acked(s, VH_PF_INBAND_NOTIFICATIONS) && i < s->n_queues; i++)
		tell(s, i);
}

void vhi_inband_answered(struct vh_slave *s, uint64_t ticket)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		if (s->rings[i].telling == ticket)
			s->rings[i].telling = 0;
}

void vhi_inband_unanswered(struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		s->rings[i].telling = 0;
}

void vhi_inband_reset(struct vh_slave *s, uint32_t i, bool on)
{
	struct vhi_vring *r = &s->rings[i];

	vhi_queue_by_message(r->q, on);
	r->told = 0;
	if (!on)
		r->telling = 0;
}
