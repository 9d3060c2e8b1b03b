/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Everything at rest: first the messages, so that nothing is owed; then the rings, so that nothing is in flight. Both by
 * what stops them anyway, in the rounds of dispatch.
 */
#include "vhi_slave.h"

static bool silent(const struct vhi_chan *c)
{
	return !vhi_chan_open(c) || (!vhi_chan_inside(c) && !vhi_chan_wants_write(c));
}

static bool nothing_owed(const struct vh_slave *s)
{
	const struct vhi_conn *c = &s->conn;

	return !c->open || (!c->jobs && !c->held && !c->state && !c->postcopy && silent(&c->main) && silent(c->back) &&
			    !s->tickets.n_expected);
}

bool vhi_pause_quiet(const struct vh_slave *s)
{
	return s->paused && nothing_owed(s) && s->rings_held && vhi_vring_quiet(s);
}

void vhi_pause_step(struct vh_slave *s)
{
	if (!s->paused || s->quiet || !nothing_owed(s))
		return;
	if (!s->rings_held)
		vhi_vring_pause_all(s);
	s->rings_held = true;
	s->quiet = vhi_pause_quiet(s);
	if (s->quiet)
		vhi_events_raise(&s->events, VH_EVENT_PAUSED, VH_ERROR_NONE, 0, 0);
}

vh_rc vh_slave_pause(struct vh_slave *s)
{
	vh_rc rc = vhi_slave_enter(s, "vh_slave_pause");

	if (rc)
		return rc;
	if (!s->paused) {
		s->paused = s->conn.paused = true;
		vhi_listen_watch(s);
		vhi_conn_update(s);
	}
	vhi_pause_step(s);
	if (!vhi_pause_quiet(s))
		rc = vhi_fail(-EINPROGRESS, VH_ERROR_STATE, 0,
			      "vh_slave_pause: something is owed or in flight; dispatch, and call again");
	return vhi_slave_leave(s, rc);
}

vh_rc vh_slave_resume(struct vh_slave *s)
{
	vh_rc rc = vhi_slave_enter(s, "vh_slave_resume");

	if (rc)
		return rc;
	if (!s->paused)
		return vhi_slave_leave(
			s, vhi_fail(-EALREADY, VH_ERROR_STATE, 0, "vh_slave_resume: the slave is not paused"));
	s->paused = s->conn.paused = s->quiet = s->exported = false;
	if (s->rings_held)
		vhi_vring_resume_all(s);
	s->rings_held = false;
	vhi_listen_watch(s);
	vhi_conn_update(s);
	if (vhi_vring_any_started(s))
		vhi_back_ring_started(s);
	/* Rings are looked at by the next round. */
	vhi_slave_wake(s);
	return vhi_slave_leave(s, 0);
}
