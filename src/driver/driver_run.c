/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A driver session runs and stops. */
#include "vhi_driver.h"

#include <poll.h>

/* How often a wait looks at what has no fd. */
#define LOOK_MS	 1
#define QUIET_MS 30000u /* for requests in flight */

/* A call is in progress on the queue, on another thread; such calls end soon. */
static void wait_call(struct vh_driver *d)
{
	struct pollfd p = {.fd = d->wake, .events = POLLIN};

	vhi_sys.poll(&p, 1, LOOK_MS);
	vhi_eventfd_drain(d->wake);
}

/* A control change that has to be in force before the next step. */
static int queue_ctl(struct vh_driver *d, struct vhi_driver_queue *dq, enum vhi_queue_ctl_kind kind)
{
	int rc = vhi_queue_ctl(dq->q, kind, NULL);

	if (rc != -EINPROGRESS)
		return rc;
	while (!vhi_queue_settled(dq->q))
		wait_call(d);
	return 0;
}

/* Requests that the device has not completed, of a queue that was started. */
static uint32_t uncompleted(struct vh_driver *d, struct vhi_driver_queue *dq, uint32_t *base)
{
	int n;

	while ((n = vhi_queue_progress(dq->q, base)) < 0)
		wait_call(d);
	return (uint32_t)n;
}

/* Begin from nothing: ring memory is zeroed, and what was in flight is lost. */
static int queue_begin(struct vh_driver *d, struct vhi_driver_queue *dq)
{
	struct vh_snapshot *now;
	int rc;

	if (dq->life)
		rc = queue_ctl(d, dq, VHI_CTL_ABORT);
	else
		rc = 0;
	if (rc)
		return rc;
	dq->spoilt = true; /* there is nothing to go on with, until it has begun */
	vhi_shm_zero((uint8_t VHI_SHM *)(uintptr_t)dq->rings, (size_t)dq->rings_len);
	dq->ring.base = vhi_ring_first_base(d->features);
	dq->ring.fresh = true;
	now = vhi_mem_snapshot(d->mem);
	rc = vhi_queue_start(dq->q, &dq->ring, now);
	vhi_snapshot_put(now);
	if (rc)
		return rc;
	dq->spoilt = dq->cut = dq->anew = false;
	__atomic_add_fetch(&dq->life, 1, __ATOMIC_RELEASE);
	return queue_ctl(d, dq, VHI_CTL_PAUSE);
}

/* Nothing that it had is lost; only what its device left can be such that nobody knows what that was. */
static int queue_rewind(struct vh_driver *d, struct vhi_driver_queue *dq)
{
	int rc;

	while ((rc = vhi_queue_rewind(dq->q, &dq->ring.base)) == -EBUSY)
		wait_call(d);
	dq->anew = rc;
	return rc == -EPROTO ? queue_begin(d, dq) : rc;
}

static int queue_prepare(struct vh_driver *d, struct vhi_driver_queue *dq)
{
	if (!dq->life || dq->spoilt || vh_queue_state(dq->q) == VH_QUEUE_BROKEN)
		return queue_begin(d, dq);
	return dq->anew ? queue_rewind(d, dq) : 0;
}

static int queues_prepare(struct vh_driver *d)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < d->n_queues; i++)
		if (d->queues[i].q)
			rc = queue_prepare(d, &d->queues[i]);
	return rc;
}

static bool forgets(const struct vh_driver *d)
{
	return d->b->ops->forgets && d->b->ops->forgets(d->b->ctx);
}

int vhi_driver_check_alone(struct vh_driver *d, const char *who)
{
	if (!forgets(d))
		return 0;
	return vhi_fail(-EOPNOTSUPP, VH_ERROR_DEVICE, 0,
			"%s: the device stops all of its rings at once, and begins them anew; stop the session instead",
			who);
}

/* A back-end without a switch has its rings enabled while they run. */
static int ring_enable(struct vh_driver *d, uint32_t index, bool on)
{
	struct vh_error before = vhi_driver_error_keep();
	int rc = d->b->ops->ring_enable(d->b->ctx, index, on);

	if (rc != -EOPNOTSUPP)
		return rc;
	vhi_driver_error_put(&before);
	return 0;
}

int vhi_driver_ring_enable(struct vh_driver *d, uint32_t index)
{
	return ring_enable(d, index, !d->queues[index].off);
}

struct vhi_ring_intent vhi_driver_intent(const struct vh_driver *d, uint32_t index)
{
	const struct vhi_driver_queue *dq = &d->queues[index];

	return (struct vhi_ring_intent){.num = dq->ring.num,
					.base = dq->ring.base,
					.desc = dq->ring.desc,
					.driver = dq->ring.driver,
					.device = dq->ring.device,
					.kick = dq->q ? vhi_queue_get_fd(dq->q, VHI_QUEUE_KICK) : dq->kick,
					.call = dq->q ? vhi_queue_get_fd(dq->q, VHI_QUEUE_CALL) : dq->call,
					.err = dq->err,
					.log = d->log,
					.iova_shift = d->iova_shift};
}

bool vhi_driver_ring_runs(const struct vh_driver *d, uint32_t index)
{
	const struct vhi_driver_queue *dq = &d->queues[index];

	if (dq->spoilt || !dq->ring.num)
		return false;
	return !dq->q || (dq->life && vh_queue_state(dq->q) != VH_QUEUE_BROKEN);
}

/* Only its user can help a ring of which nobody knows where it stands. */
int vhi_driver_ring_again(struct vh_driver *d, uint32_t index)
{
	struct vhi_driver_queue *dq = &d->queues[index];
	int rc;

	if (!dq->cut)
		return 0;
	if (dq->q)
		rc = dq->tracked ? VHI_MIN(vhi_queue_progress(dq->q, &dq->ring.base), 0)
				 : vhi_queue_again(dq->q, &dq->ring.base);
	else
		rc = vhi_driver_given_base(d, index, &dq->ring.base);
	if (rc == -EBUSY)
		return -EAGAIN;
	dq->cut = false;
	if (rc) {
		dq->spoilt = true;
		vhi_driver_event(d, VH_EVENT_NEEDS_RESET, index, rc, 0);
	}
	return 0;
}

int vhi_driver_ring_start(struct vh_driver *d, uint32_t index)
{
	struct vhi_driver_queue *dq = &d->queues[index];
	const struct vhi_ring_intent intent = vhi_driver_intent(d, index);
	int rc = d->b->ops->ring_start(d->b->ctx, index, &intent);

	dq->partly = rc == -EINTR;
	dq->begun = !rc || dq->partly;
	/* Some back-ends take it for started before it is told all, and go away in between. */
	dq->cut = rc == -EINPROGRESS || (!dq->begun && vhi_driver_has_ended(d));
	dq->tracked = (dq->begun || dq->cut) && d->inflight_fd >= 0;
	return rc;
}

static int ring_tell(struct vh_driver *d, uint32_t index)
{
	int rc;

	while ((rc = vhi_driver_ring_again(d, index)) == -EAGAIN)
		wait_call(d);
	return rc || !vhi_driver_ring_runs(d, index) ? rc : vhi_driver_ring_start(d, index);
}

/* From nothing told to enabled, in a call that waits. */
int vhi_driver_ring_begin(struct vh_driver *d, uint32_t index)
{
	int rc = ring_tell(d, index);

	return rc || !d->queues[index].begun ? rc : vhi_driver_ring_enable(d, index);
}

/* All are told before one is on, as in a replay: a device that starts as a whole knows which it has to wait for. */
static int rings_begin(struct vh_driver *d)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < d->n_queues; i++)
		rc = ring_tell(d, i);
	for (uint32_t i = 0; !rc && i < d->n_queues; i++)
		rc = d->queues[i].begun ? vhi_driver_ring_enable(d, i) : 0;
	return rc;
}

/* Nothing is in flight, so everything was taken: the driver knows where the ring must have stopped. */
static int check_base(struct vhi_driver_queue *dq, uint32_t index, uint32_t base)
{
	const bool halved = dq->ring.features & VHI_BIT(VH_F_RING_PACKED) && base <= UINT16_MAX;

	if (vh_queue_state(dq->q) == VH_QUEUE_BROKEN)
		return 0;
	/* Some back-ends tell only where taking goes on in a packed ring: 16 bits. */
	if (!VHI_REFUSE(VHI_SITE_DRIVER_BASE, base != (halved ? (uint16_t)dq->ring.base : dq->ring.base)))
		return 0;
	dq->spoilt = true;
	return vhi_fail_at(
		-EPROTO, VH_ERROR_PEER, VHI_SITE_DRIVER_BASE, index, VH_ERROR_NONE,
		"vh_driver_stop: queue %u stopped at %u, and the driver is at %u: the back-end lost count; the "
		"queue begins from nothing at the next start",
		index, base, dq->ring.base);
}

/* Where it stopped. @rc: what the back-end's answer was. */
static int ring_stopped(struct vh_driver *d, uint32_t index, uint32_t base, int rc)
{
	struct vhi_driver_queue *dq = &d->queues[index];

	const bool unknown = !rc && forgets(d);

	if (!dq->q) {
		dq->cut = rc || unknown;
		dq->ring.base = dq->cut ? dq->ring.base : base;
		return rc;
	}
	/* Where it stands is not known when the back-end does not say, or has not completed all of it. */
	dq->spoilt = (uncompleted(d, dq, &dq->ring.base) && !dq->receives) || rc;
	/* One that may not have been told where it begins says nothing by where it stopped. */
	if (dq->partly) {
		dq->partly = false;
		return rc;
	}
	dq->anew = unknown;
	return rc || dq->spoilt || unknown ? rc : check_base(dq, index, base);
}

/* The back-end runs it, and is to let go of it. */
static int ring_halt(struct vh_driver *d, uint32_t index, uint32_t *base)
{
	int rc = d->b->ops->stops_enabled ? 0 : ring_enable(d, index, false);

	if (!rc)
		rc = d->b->ops->ring_stop(d->b->ctx, index, base);
	if (rc != -EINTR)
		d->queues[index].begun = false;
	return rc;
}

static int ring_end(struct vh_driver *d, uint32_t index)
{
	struct vhi_driver_queue *dq = &d->queues[index];
	uint32_t base = 0;
	int rc;

	/* What its device had in flight is known here, and nobody will complete it before the next start. */
	if (dq->cut && dq->q)
		dq->spoilt |= uncompleted(d, dq, &base) && !dq->receives;
	if (!dq->begun)
		return 0;
	rc = ring_halt(d, index, &base);
	return rc == -EINTR ? rc : ring_stopped(d, index, base, rc);
}

/* The device has completed everything; a broken queue has nothing that ever will be. */
static bool quiet(struct vh_driver *d)
{
	uint32_t base;

	for (uint32_t i = 0; i < d->n_queues; i++)
		if (d->queues[i].q && !d->queues[i].receives && vhi_driver_ring_runs(d, i) &&
		    uncompleted(d, &d->queues[i], &base))
			return false;
	return true;
}

static int wait_quiet(struct vh_driver *d, uint32_t timeout_ms)
{
	struct pollfd p = {.fd = d->epoll, .events = POLLIN};
	const uint64_t end = vhi_now_ns() + (timeout_ms ? timeout_ms : QUIET_MS) * UINT64_C(1000000);
	int rc;

	for (;;) {
		rc = vhi_driver_dispatch(d);
		if (rc < 0 || quiet(d))
			return VHI_MIN(rc, 0);
		if (vhi_now_ns() > end)
			return vhi_fail(-EBUSY, VH_ERROR_DEVICE, 0,
					"vh_driver_stop: requests in flight did not complete in time; the session "
					"runs on, wait or free it");
		if (vhi_sys.poll(&p, 1, LOOK_MS) < 0 && errno == EINTR)
			return vhi_fail(-EINTR, VH_ERROR_SYSTEM, 0, "vh_driver_stop: a signal came; call it again");
	}
}

static int queues_ctl(struct vh_driver *d, enum vhi_queue_ctl_kind kind)
{
	int rc = 0, first = 0;

	for (uint32_t i = 0; i < d->n_queues; i++) {
		if (d->queues[i].life)
			rc = queue_ctl(d, &d->queues[i], kind);
		if (!first)
			first = rc;
	}
	return first;
}

/* All rings, also past one that fails; the first failure counts. */
static int rings_end(struct vh_driver *d)
{
	struct vh_error why;
	int rc, first;

	/* With the connection go the rings; see ring_end(). */
	first = vhi_driver_link(d);
	if (first == -EINTR)
		return first;
	if (first < 0)
		why = vhi_driver_error_keep();
	first = VHI_MIN(first, 0);
	for (uint32_t i = 0; i < d->n_queues; i++) {
		rc = vhi_driver_told(d, ring_end(d, i));
		if (rc && !first) {
			first = rc;
			why = vhi_driver_error_keep();
		}
		if (rc == -EINTR)
			break;
	}
	if (first)
		vhi_driver_error_put(&why);
	return first;
}

static int session_begin(struct vh_driver *d)
{
	int rc = rings_end(d); /* what a signal may have left */

	vhi_driver_inflight_drop(d);
	if (!rc)
		rc = queues_prepare(d);
	if (!rc)
		rc = vhi_driver_share(d);
	if (!rc)
		rc = vhi_driver_link(d);
	if (!rc)
		rc = vhi_driver_inflight_get(d);
	if (!rc)
		rc = vhi_driver_inflight_set(d);
	/* Without a connection that is all: the next one starts the rings. */
	if (!rc)
		rc = rings_begin(d);
	if (!rc)
		rc = vhi_driver_status(d, VHI_DRIVER_S_RUNNING);
	rc = rc > 0 ? 0 : vhi_driver_told(d, rc);
	return rc ? rc : queues_ctl(d, VHI_CTL_RESUME);
}

vh_rc vh_driver_start(struct vh_driver *d)
{
	struct vh_error why;
	int rc;

	if (!d)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_start: NULL session");
	if (d->running)
		return vhi_fail(-EALREADY, VH_ERROR_STATE, 0, "vh_driver_start: the session runs already");
	if (vhi_driver_gone(d))
		return vhi_driver_lost(d);
	vhi_driver_control(d, true);
	rc = session_begin(d);
	if (rc) {
		why = vhi_driver_error_keep();
		queues_ctl(d, VHI_CTL_PAUSE);
		rings_end(d);
		vhi_driver_error_put(&why);
	} else {
		__atomic_store_n(&d->running, 1, __ATOMIC_RELEASE);
	}
	vhi_driver_control(d, false);
	return rc;
}

vh_rc vh_driver_stop(struct vh_driver *d, uint32_t flags, uint32_t timeout_ms)
{
	struct vh_error why;
	int rc, ended;

	if (!d)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_stop: NULL session");
	if (flags & ~VH_DRIVER_STOP_DROP)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_stop: unknown flags 0x%x", flags);
	if (!d->running)
		return vhi_fail(-EALREADY, VH_ERROR_STATE, 0, "vh_driver_stop: the session does not run");
	rc = queues_ctl(d, VHI_CTL_PAUSE);
	if (!rc && !d->stopping && !(flags & VH_DRIVER_STOP_DROP))
		rc = wait_quiet(d, timeout_ms);
	if (rc == -EBUSY || rc == -EINTR) {
		queues_ctl(d, VHI_CTL_RESUME);
		return rc;
	}
	d->stopping = true;
	why = vhi_driver_error_keep();
	vhi_driver_control(d, true);
	ended = rings_end(d);
	/* Before anybody replays it again. */
	if (ended != -EINTR)
		__atomic_store_n(&d->running, 0, __ATOMIC_RELEASE);
	vhi_driver_control(d, false);
	if (ended == -EINTR)
		return ended;
	d->stopping = false;
	for (uint32_t i = 0; i < d->n_queues; i++)
		if (d->queues[i].q)
			vhi_queue_wake(d->queues[i].q);
	if (!rc)
		return ended;
	vhi_driver_error_put(&why);
	return rc;
}

/* Where it stopped does not matter. */
static int ring_forget(struct vh_driver *d, uint32_t index)
{
	struct vhi_driver_queue *dq = &d->queues[index];
	uint32_t base;
	int rc = dq->begun ? ring_halt(d, index, &base) : 0;

	if (rc == -EINTR)
		return rc;
	dq->partly = dq->cut = false;
	return rc ? rc : vhi_driver_inflight_clear(d, index);
}

/* With a connection or without: then the next one starts the ring, from what is planned here. */
static int reset_queue(struct vh_driver *d, uint32_t index)
{
	struct vhi_driver_queue *dq = &d->queues[index];
	int rc = vhi_driver_link(d), down;

	if (rc < 0)
		return rc;
	rc = dq->q && dq->life ? queue_ctl(d, dq, VHI_CTL_PAUSE) : 0;
	if (!rc)
		rc = vhi_driver_told(d, ring_forget(d, index));
	if (rc)
		return rc;
	if (!dq->q) {
		dq->ring.num = 0;
		return 0;
	}
	rc = queue_begin(d, dq);
	down = rc ? 0 : vhi_driver_link(d);
	if (!rc && !down)
		rc = vhi_driver_told(d, vhi_driver_ring_begin(d, index));
	rc = down < 0 ? down : rc;
	return rc ? rc : queue_ctl(d, dq, VHI_CTL_RESUME);
}

vh_rc vh_driver_reset_queue(struct vh_driver *d, uint32_t index)
{
	struct vhi_driver_queue *dq;
	int rc;

	if (!d)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_reset_queue: NULL session");
	if (index >= d->n_queues)
		return vhi_fail(-ENOENT, VH_ERROR_ARGUMENT, 0, "vh_driver_reset_queue: queue %u of %u; count from 0",
				index, d->n_queues);
	dq = &d->queues[index];
	if (!d->running) {
		dq->spoilt |= dq->q && dq->life;
		return 0;
	}
	vhi_driver_control(d, true);
	rc = d->n_queues > 1 ? vhi_driver_check_alone(d, "vh_driver_reset_queue") : 0;
	if (rc) {
		vhi_driver_control(d, false);
		return rc;
	}
	rc = reset_queue(d, index);
	/* One that runs half is none that goes on. */
	if (rc && rc != -EINTR)
		dq->spoilt = true;
	vhi_driver_control(d, false);
	return rc;
}

void vhi_driver_halt(struct vh_driver *d)
{
	vhi_driver_control(d, true);
	queues_ctl(d, VHI_CTL_PAUSE);
	if (!vhi_driver_let_go(d))
		rings_end(d);
}
