/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The connection of a driver session: that it ended, when to try again, and that it came. Whatever thread dispatches the
 * session takes a turn at it, one at a time; a control call keeps the others out, and takes its turns itself.
 */
#include "vhi_driver.h"

#include <poll.h>

/* How often a wait looks at what has no fd. */
#define LOOK_MS	  1
#define NS_PER_MS UINT64_C(1000000)

static uint32_t state(struct vh_driver *d)
{
	return __atomic_load_n(&d->link.state, __ATOMIC_ACQUIRE);
}

static void become(struct vh_driver *d, enum vhi_link_state s)
{
	__atomic_store_n(&d->link.state, s, __ATOMIC_RELEASE);
}

bool vhi_driver_gone(struct vh_driver *d)
{
	return state(d) == VHI_LINK_GONE;
}

bool vhi_driver_has_ended(const struct vh_driver *d)
{
	return d->b->ops->ended && d->b->ops->ended(d->b->ctx) != __atomic_load_n(&d->ended, __ATOMIC_ACQUIRE);
}

void vhi_driver_knows(struct vh_driver *d)
{
	__atomic_store_n(&d->ended, d->b->ops->ended ? d->b->ops->ended(d->b->ctx) : 0, __ATOMIC_RELEASE);
}

static bool wanted(const struct vh_driver *d)
{
	return __atomic_load_n(&d->link.wanted, __ATOMIC_RELAXED);
}

int vhi_driver_lost(struct vh_driver *d)
{
	return vhi_fail(-ECONNRESET, VH_ERROR_PEER, 0, "the back-end is gone; %s",
			wanted(d) ? "it did not come back within the tries of vh_driver_set_reconnect()"
				  : "connect again and begin a new driver session, or use "
				    "vh_driver_set_reconnect()");
}

/* Nobody runs the rings from now on. */
static void cut(struct vh_driver *d)
{
	for (uint32_t i = 0; i < d->n_queues; i++) {
		struct vhi_driver_queue *dq = &d->queues[i];

		dq->cut |= dq->begun;
		dq->begun = dq->partly = false;
	}
}

static int end_for_good(struct vh_driver *d)
{
	become(d, VHI_LINK_GONE);
	vhi_driver_timer(d, UINT64_MAX);
	for (uint32_t i = 0; i < d->n_queues; i++)
		if (d->queues[i].q)
			vhi_queue_wake(d->queues[i].q);
	return vhi_driver_lost(d);
}

/* There is no connection. @failed: it ended before the session ran on it. */
static int ended(struct vh_driver *d, int reason, bool failed)
{
	uint64_t delay;

	cut(d);
	if (!wanted(d))
		return end_for_good(d);
	if (!vhi_backoff_next(&d->link.backoff, failed, &delay)) {
		vhi_driver_event(d, VH_EVENT_GAVE_UP, VH_ERROR_NONE, reason, d->link.backoff.failures);
		return end_for_good(d);
	}
	become(d, VHI_LINK_DOWN);
	d->link.due_ns = vhi_now_ns() + delay;
	vhi_driver_timer(d, d->link.due_ns);
	vhi_driver_event(d, VH_EVENT_RECONNECTING, VH_ERROR_NONE, reason, delay / NS_PER_MS);
	return 0;
}

static int came(struct vh_driver *d)
{
	vhi_driver_knows(d);
	d->link.step = d->link.index = 0;
	vhi_driver_timer(d, UINT64_MAX);
	become(d, VHI_LINK_REPLAY);
	vhi_driver_event(d, VH_EVENT_CONNECTED, VH_ERROR_NONE, 0, 0);
	return 1;
}

/* What the back-end's dispatch says; below 0 the connection has ended. */
static int look(struct vh_driver *d)
{
	int rc = d->b->ops->dispatch ? d->b->ops->dispatch(d->b->ctx) : 0;

	if (rc == -EBUSY)
		rc = 0;
	return rc < 0 ? rc : vhi_driver_has_ended(d) ? -ECONNRESET : rc;
}

static int turn_up(struct vh_driver *d)
{
	int rc = look(d);

	return rc < 0 ? ended(d, rc, false) : rc;
}

static int turn_down(struct vh_driver *d)
{
	const struct vhi_backend_ops *ops = d->b->ops;
	int rc;

	if (ops->connected && ops->connected(d->b->ctx))
		return came(d);
	if (vhi_now_ns() < d->link.due_ns)
		return 0;
	rc = ops->reopen ? ops->reopen(d->b->ctx) : -EOPNOTSUPP;
	if (rc == -EBUSY)
		return 1;
	if (rc < 0)
		return ended(d, rc, true);
	if (rc)
		return came(d);
	d->link.due_ns = UINT64_MAX;
	vhi_driver_timer(d, UINT64_MAX);
	return 0;
}

static int turn_replay(struct vh_driver *d)
{
	int rc = look(d);

	if (rc < 0)
		return ended(d, rc, true);
	rc = vhi_driver_replay(d);
	if (rc == -EAGAIN || rc == -EBUSY)
		return 1;
	if (rc < 0) {
		if (!vhi_driver_has_ended(d) && d->b->ops->hang_up)
			d->b->ops->hang_up(d->b->ctx);
		return ended(d, rc, true);
	}
	if (rc) {
		become(d, VHI_LINK_UP);
		vhi_backoff_reset(&d->link.backoff);
		vhi_driver_event(d, VH_EVENT_SESSION_RUNNING, VH_ERROR_NONE, 0, 0);
	}
	return rc;
}

static int turn(struct vh_driver *d)
{
	static int (*const turns[])(struct vh_driver * d) = {
		[VHI_LINK_UP] = turn_up,
		[VHI_LINK_DOWN] = turn_down,
		[VHI_LINK_REPLAY] = turn_replay,
		[VHI_LINK_GONE] = vhi_driver_lost,
	};
	struct vh_error before = vhi_driver_error_keep();
	int rc = turns[state(d)](d);

	vhi_driver_broken(d);

	/* What failed on the way is an event, not the caller's failure. */
	if (rc >= 0)
		vhi_driver_error_put(&before);
	return rc;
}

int vhi_driver_dispatch(struct vh_driver *d)
{
	int rc = 0;

	if (vhi_driver_gone(d))
		return vhi_driver_lost(d);
	__atomic_add_fetch(&d->guests, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&d->control, __ATOMIC_SEQ_CST) &&
	    !__atomic_exchange_n(&d->link.turning, 1, __ATOMIC_ACQUIRE)) {
		rc = turn(d);
		__atomic_store_n(&d->link.turning, 0, __ATOMIC_RELEASE);
	}
	__atomic_sub_fetch(&d->guests, 1, __ATOMIC_SEQ_CST);
	vhi_driver_show(d, rc != 0);
	return rc;
}

int vhi_driver_look(struct vh_driver *d)
{
	const bool quiet = state(d) == VHI_LINK_UP && !vhi_driver_has_ended(d);

	return quiet ? 0 : vhi_driver_dispatch(d);
}

void vhi_driver_control(struct vh_driver *d, bool on)
{
	__atomic_store_n(&d->control, on, __ATOMIC_SEQ_CST);
	while (on && __atomic_load_n(&d->guests, __ATOMIC_SEQ_CST))
		vhi_sys.poll(NULL, 0, LOOK_MS);
	if (!on)
		vhi_driver_show(d, true);
}

int vhi_driver_link(struct vh_driver *d)
{
	struct pollfd p = {.fd = d->epoll, .events = POLLIN};
	int rc = 0;

	if (state(d) == VHI_LINK_UP && vhi_driver_has_ended(d))
		rc = ended(d, -ECONNRESET, false);
	/* A change now would be missing from what was replayed already. */
	while (rc >= 0 && state(d) == VHI_LINK_REPLAY) {
		rc = turn(d);
		if (!rc && state(d) == VHI_LINK_REPLAY && vhi_sys.poll(&p, 1, LOOK_MS) < 0 && errno == EINTR)
			return vhi_fail(-EINTR, VH_ERROR_SYSTEM, 0,
					"a signal came while the session was replayed; call it again");
	}
	if (rc < 0)
		return rc;
	return state(d) == VHI_LINK_GONE ? vhi_driver_lost(d) : state(d) == VHI_LINK_DOWN;
}

bool vhi_driver_let_go(struct vh_driver *d)
{
	if (state(d) != VHI_LINK_REPLAY)
		return false;
	if (!vhi_driver_has_ended(d) && d->b->ops->hang_up)
		d->b->ops->hang_up(d->b->ctx);
	cut(d);
	return true;
}

int vhi_driver_told(struct vh_driver *d, int rc)
{
	if (!rc || !wanted(d) || !vhi_driver_has_ended(d))
		return rc;
	return state(d) == VHI_LINK_UP ? ended(d, rc, false) : 0;
}

vh_rc vh_driver_set_reconnect(struct vh_driver *d, const struct vh_reconnect *policy)
{
	struct vhi_backoff backoff;
	int rc;

	if (!d)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_set_reconnect: NULL session");
	if (policy && !d->b->ops->connected)
		return vhi_fail(-EOPNOTSUPP, VH_ERROR_STATE, 0,
				"vh_driver_set_reconnect: a %s back-end does not come again", d->b->ops->kind);
	rc = vhi_backoff_begin(&backoff, policy, 0, "vh_driver_set_reconnect");
	if (rc)
		return rc;
	vhi_driver_control(d, true);
	d->link.backoff = backoff;
	__atomic_store_n(&d->link.wanted, policy != NULL, __ATOMIC_RELAXED);
	/* In the middle of something it counts from now on. */
	if (policy ? vhi_driver_gone(d) : state(d) == VHI_LINK_DOWN)
		ended(d, -ECONNRESET, false);
	vhi_driver_control(d, false);
	return 0;
}
