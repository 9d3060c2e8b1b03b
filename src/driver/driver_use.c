/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What those have in common who drive the queues of a session: vh_blk and vh_net. */
#include "vhi_driver.h"

#include <poll.h>

/* How often a wait looks at what has no fd. */
#define LOOK_MS 50

/* Requests of somebody before would come back as those of who comes now. */
static bool in_use(struct vh_driver *d)
{
	bool used = d->taken;

	for (uint32_t i = 0; !used && i < d->n_queues; i++)
		used = d->queues[i].life && vhi_queue_in_flight(d->queues[i].q);
	return used;
}

int vhi_driver_take(struct vh_driver *d, const char *who)
{
	if (d->given)
		return vhi_fail(-EPERM, VH_ERROR_STATE, 0,
				"%s: the session is over memory of the caller's, who drives the rings too", who);
	if (in_use(d))
		return vhi_fail(-EBUSY, VH_ERROR_STATE, 0,
				"%s: the session has a block or network driver, or requests in flight; free the one, "
				"reap the others",
				who);
	d->taken = true;
	return 0;
}

/* Never for long: that another thread's call saw the connection end wakes nobody. */
static int sleep_until(struct vh_driver *d, const char *who, struct pollfd *p, uint64_t end)
{
	const uint64_t now = end == UINT64_MAX ? 0 : vhi_now_ns();
	int ms = LOOK_MS;

	if (end != UINT64_MAX)
		ms = now >= end ? 0 : (int)VHI_MIN((end - now + 999999) / 1000000, (uint64_t)LOOK_MS);
	if (vhi_sys.poll(p, 2, ms) < 0 && errno == EINTR)
		return vhi_fail(-EINTR, VH_ERROR_SYSTEM, 0, "%s: a signal came; call it again", who);
	return p[1].revents ? VHI_MIN(vhi_driver_dispatch(d), 0) : 0;
}

static int wait_ready(struct vh_driver *d, const struct vhi_driver_waiter *w, uint64_t end)
{
	struct pollfd p[2] = {{.events = POLLIN}, {.fd = d->epoll, .events = POLLIN}};
	int rc;

	p[0].fd = vh_queue_fd(d->queues[w->queue].q);
	if (p[0].fd < 0)
		return p[0].fd;
	for (bool last = false;; last = end != UINT64_MAX && vhi_now_ns() >= end) {
		rc = w->ready(w->ctx, w->queue);
		if (rc)
			return rc > 0 ? 0 : rc;
		rc = vhi_driver_look(d);
		if (rc < 0)
			return rc;
		if (!__atomic_load_n(&d->running, __ATOMIC_ACQUIRE))
			return vhi_fail(-EINVAL, VH_ERROR_STATE, 0,
					"%s: the session is stopped and nothing is left to take", w->who);
		if (last)
			return vhi_fail(-ETIMEDOUT, VH_ERROR_STATE, 0, "%s: nothing came in time", w->who);
		rc = sleep_until(d, w->who, p, end);
		if (rc)
			return rc;
	}
}

int vhi_driver_wait(struct vh_driver *d, const struct vhi_driver_waiter *w, int32_t timeout_ms)
{
	return wait_ready(d, w, timeout_ms < 0 ? UINT64_MAX : vhi_now_ns() + (uint64_t)timeout_ms * 1000000u);
}
