/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A driver session in somebody's event loop: its fd, its dispatch, its news. */
#include "vhi_driver.h"

#include <sys/timerfd.h>
#include <time.h>

static int add(struct vh_driver *d, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};

	return fd < 0 || !vhi_sys.epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &ev) ? 0 : -errno;
}

/* The files by which the back-end says that rings broke. */
static int add_errors(struct vh_driver *d)
{
	int rc = 0;

	for (uint32_t i = 0; d->b->ops->says_broken && !rc && i < d->n_queues; i++) {
		d->queues[i].err = vhi_eventfd();
		rc = d->queues[i].err < 0 ? d->queues[i].err : add(d, d->queues[i].err);
	}
	return rc;
}

void vhi_driver_broken(struct vh_driver *d)
{
	for (uint32_t i = 0; i < d->n_queues; i++)
		if (d->queues[i].err >= 0 && vhi_eventfd_drain(d->queues[i].err))
			vhi_driver_event(d, VH_EVENT_BROKEN, i, -EIO, 0);
}

int vhi_driver_loop_open(struct vh_driver *d)
{
	int rc = vhi_events_init(&d->events, d->n_queues);

	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_driver_new: no memory for events");
	d->epoll = vhi_sys.epoll_create1(EPOLL_CLOEXEC);
	if (d->epoll >= 0)
		d->timer = vhi_sys.timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	rc = d->epoll < 0 || d->timer < 0 ? -errno : add(d, d->timer);
	if (!rc)
		rc = add(d, d->b->ops->fd ? d->b->ops->fd(d->b->ctx) : -1);
	rc = rc ? rc : add_errors(d);
	return rc ? vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_driver_new: no file descriptors: %s", vh_error_name(rc)) : 0;
}

void vhi_driver_loop_close(struct vh_driver *d)
{
	vhi_fd_close(&d->timer);
	vhi_fd_close(&d->epoll);
	vhi_events_fini(&d->events);
}

void vhi_driver_timer(struct vh_driver *d, uint64_t at_ns)
{
	vhi_eventfd_drain(d->timer);
	vhi_sys.timerfd_settime(d->timer, at_ns == UINT64_MAX ? 0 : at_ns);
}

void vhi_driver_event(struct vh_driver *d, uint32_t kind, uint32_t queue, int32_t reason, uint64_t value)
{
	pthread_mutex_lock(&d->lock);
	vhi_events_raise(&d->events, kind, queue, reason, value);
	pthread_mutex_unlock(&d->lock);
}

vh_fd vh_driver_fd(struct vh_driver *d)
{
	return d ? d->epoll : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_fd: NULL session");
}

vh_count vh_driver_dispatch(struct vh_driver *d)
{
	return d ? vhi_driver_dispatch(d) : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_dispatch: NULL session");
}

vh_count vh_driver_next_event(struct vh_driver *d, struct vh_event *out)
{
	vh_count rc;

	if (!d)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_next_event: NULL session");
	pthread_mutex_lock(&d->lock);
	rc = vhi_events_next(&d->events, out, "vh_driver_next_event");
	pthread_mutex_unlock(&d->lock);
	return rc;
}
