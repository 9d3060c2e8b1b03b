/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Waiting at a queue: look, spin for a while if the session is to, ask to be notified, look again, sleep. The sleep
 * is in an epoll set of the queue's own, which watches the call fd for edges: nobody has to read it, so that a request
 * that is slept for costs one system call here beside its kick.
 */
#include "vhi_driver.h"

/* How often a wait looks at what has no fd: for never long, that another thread's call saw the connection end wakes nobody. */
#define LOOK_MS 50
/* While it spins all the time. */
#define LOOK_NS UINT64_C(1000000)
/* Looks at the ring for each at the clock. */
#define LOOKS 16
#define NEVER UINT64_MAX

/* What the set says. */
enum { OF_CALL, OF_WAKE, OF_SESSION, SOURCES };

struct wait {
	struct vh_driver *d;
	struct vhi_driver_sleep *sleep;
	const struct vhi_driver_waiter *w;
	uint64_t poll_ns; /* the most to spin for, NEVER = without an end */
	uint64_t began;	  /* 0 where nobody spins */
	uint64_t end;	  /* NEVER = none */
};

static int set_make(struct vh_driver *d, struct vhi_driver_queue *dq, const char *who)
{
	static const uint64_t tags[2] = {OF_CALL, OF_WAKE};
	struct epoll_event session = {.events = EPOLLIN, .data.u64 = OF_SESSION};
	int set = vhi_sys.epoll_create1(EPOLL_CLOEXEC);
	int rc = set < 0 ? -errno : vhi_queue_watch(dq->q, set, tags);

	if (!rc && vhi_sys.epoll_ctl(set, EPOLL_CTL_ADD, d->epoll, &session))
		rc = -errno;
	if (rc) {
		vhi_fd_close(&set);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: can't make what it sleeps on: %s", who, vh_error_name(rc));
	}
	dq->sleep.set = set;
	return 0;
}

int vhi_driver_ask(struct vhi_driver_queue *dq, enum vhi_how how)
{
	const bool called = dq->sleep.called;

	if (how == VHI_PEEK)
		return vh_queue_look(dq->q);
	dq->sleep.called = false;
	if (how == VHI_ARM)
		return vh_queue_arm(dq->q);
	return vhi_queue_doze(dq->q, called);
}

static int ready(const struct wait *w, enum vhi_how how)
{
	return w->w->ready(w->w->ctx, w->w->queue, how);
}

/* At least one look. */
static int spin(const struct wait *w)
{
	uint64_t end;
	int rc = ready(w, VHI_PEEK);

	if (rc || !w->poll_ns)
		return rc;
	end = w->poll_ns == NEVER ? vhi_now_ns() + LOOK_NS : w->began + w->sleep->spin_ns;
	for (end = VHI_MIN(end, w->end); !rc && vhi_now_ns() < end;)
		for (uint32_t i = 0; !rc && i < LOOKS; i++) {
			vhi_relax();
			rc = ready(w, VHI_PEEK);
		}
	return rc;
}

static int sleep_in_set(const struct wait *w)
{
	const uint64_t now = w->end == NEVER ? 0 : vhi_now_ns();
	struct epoll_event evs[SOURCES];
	bool session = false;
	int n, ms = w->poll_ns == NEVER ? 0 : LOOK_MS;

	if (w->end != NEVER)
		ms = now >= w->end ? 0 : (int)VHI_MIN((w->end - now + 999999) / 1000000, (uint64_t)ms);
	n = vhi_sys.epoll_wait(w->sleep->set, evs, SOURCES, ms);
	if (n < 0 && errno == EINTR)
		return vhi_fail(-EINTR, VH_ERROR_SYSTEM, 0, "%s: a signal came; call it again", w->w->who);
	for (int i = 0; i < n; i++) {
		w->sleep->called |= evs[i].data.u64 == OF_CALL;
		session |= evs[i].data.u64 == OF_SESSION;
	}
	return session ? VHI_MIN(vhi_driver_dispatch(w->d), 0) : 0;
}

/* The last look, at the end of the time, leaves a queue whose fd says when there is more. */
static int wait_ready(const struct wait *w)
{
	int rc, served;
	bool last;

	for (;;) {
		rc = spin(w);
		if (rc)
			return rc;
		last = w->end != NEVER && vhi_now_ns() >= w->end;
		/* Who has no time serves the connection too: it may be all that goes on. */
		served = last ? vhi_driver_dispatch(w->d) : 0;
		rc = ready(w, last ? VHI_ARM : w->poll_ns == NEVER ? VHI_PEEK : VHI_DOZE);
		if (rc)
			return rc;
		rc = served < 0 ? served : vhi_driver_look(w->d);
		if (rc < 0)
			return rc;
		if (!__atomic_load_n(&w->d->running, __ATOMIC_ACQUIRE))
			return vhi_fail(-EINVAL, VH_ERROR_STATE, 0,
					"%s: the session is stopped and nothing is left to take", w->w->who);
		if (last)
			return vhi_fail(-ETIMEDOUT, VH_ERROR_STATE, 0, "%s: nothing came in time", w->w->who);
		vhi_driver_show(w->d, false);
		rc = sleep_in_set(w);
		if (rc)
			return rc;
	}
}

/* Spinning that would have been enough is done next time, and less of it where it was in vain. */
static void learn(const struct wait *w)
{
	const uint64_t took = vhi_now_ns() - w->began;

	if (took <= w->poll_ns)
		w->sleep->spin_ns = w->poll_ns;
	else
		w->sleep->spin_ns = w->sleep->spin_ns > w->poll_ns / 8 ? w->sleep->spin_ns / 2 : 0;
}

int vhi_driver_wait(struct vh_driver *d, const struct vhi_driver_waiter *who, int32_t timeout_ms)
{
	struct vhi_driver_queue *dq = &d->queues[who->queue];
	struct wait w = {.d = d, .sleep = &dq->sleep, .w = who, .end = NEVER};
	int rc = dq->sleep.set < 0 ? set_make(d, dq, who->who) : 0;

	w.poll_ns = d->poll_us == VH_POLL_ALWAYS ? NEVER : d->poll_us * UINT64_C(1000);
	if (w.poll_ns || timeout_ms >= 0)
		w.began = vhi_now_ns();
	if (timeout_ms >= 0)
		w.end = w.began + (uint64_t)timeout_ms * 1000000u;
	if (!rc)
		rc = wait_ready(&w);
	if ((rc > 0 || rc == -ETIMEDOUT) && w.poll_ns && w.poll_ns != NEVER)
		learn(&w);
	return VHI_MIN(rc, 0);
}
