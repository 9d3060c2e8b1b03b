/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* One round of dispatch: what is ready, a bounded part of it, and what to wait for next. */
#include "vhi_vduse.h"

#define EVENTS_PER_ROUND 32

int vhi_vduse_watch(struct vh_vduse *v, int op, int fd, enum vhi_vduse_source source, uint32_t index, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = (uint64_t)source << 32 | index};

	return vhi_sys.epoll_ctl(v->epfd, op, fd, &ev) ? -errno : 0;
}

static bool ended(struct vh_vduse *v)
{
	return __atomic_load_n(&v->stopping, __ATOMIC_ACQUIRE);
}

/* Bits of sources; -errno. */
static int poll_sources(struct vh_vduse *v, int timeout_ms)
{
	struct epoll_event evs[EVENTS_PER_ROUND];
	int n = vhi_sys.epoll_wait(v->epfd, evs, EVENTS_PER_ROUND, timeout_ms), sources = 0;

	if (n < 0)
		return errno == EINTR && !timeout_ms ? 0 : -errno;
	for (int i = 0; i < n && !ended(v); i++) {
		const uint32_t source = (uint32_t)(evs[i].data.u64 >> 32);

		sources |= 1 << source;
		if (source == VHI_VDUSE_FROM_KICK)
			vhi_vduse_kicked(v, (uint32_t)evs[i].data.u64);
		/* The kernel gave it up, and nothing but that is said on it any more. */
		if (source == VHI_VDUSE_FROM_KERNEL && evs[i].events & (EPOLLERR | EPOLLHUP) &&
		    !(evs[i].events & EPOLLIN))
			v->dead = -EPERM;
	}
	return ended(v) ? -ESHUTDOWN : sources;
}

static bool has(int sources, enum vhi_vduse_source source)
{
	return sources & 1 << source;
}

static void do_device(struct vh_vduse *v, int sources)
{
	int32_t rc = 0;

	if (has(sources, VHI_VDUSE_FROM_WAKE))
		vhi_eventfd_drain(v->wake_fd);
	if (has(sources, VHI_VDUSE_FROM_WAKE) || v->woken) {
		v->woken = false;
		vhi_vduse_woken(v);
	}
	if (has(sources, VHI_VDUSE_FROM_DEVICE))
		rc = v->dev->ops.on_poll(v->dev->ctx);
	if (rc < 0)
		vhi_log_line(&v->log, VH_LOG_WARNING, "the device's on_poll: %s", vh_error_name(rc));
}

static void tell_failures(struct vh_vduse *v)
{
	if (!__atomic_exchange_n(&v->device_failed, 0, __ATOMIC_ACQ_REL))
		return;
	for (uint32_t i = 0; i < v->n_queues; i++)
		vhi_serve_tell(&v->rings[i].serve, v->rings[i].q, i, &v->events, &v->log);
}

/* No further message is read before the last one was answered. */
static void listen_to_kernel(struct vh_vduse *v)
{
	const bool wanted = !v->job.step;

	if (wanted != v->listening &&
	    !vhi_vduse_watch(v, EPOLL_CTL_MOD, v->fd, VHI_VDUSE_FROM_KERNEL, 0, wanted ? EPOLLIN : 0))
		v->listening = wanted;
}

static void set_timer(struct vh_vduse *v)
{
	uint64_t at = VHI_MIN(v->job.step ? v->job.deadline_ns : UINT64_MAX, vhi_show_deadline(v->show));

	at = at == UINT64_MAX ? 0 : at;
	if (at == v->timer_ns)
		return;
	v->timer_ns = at;
	vhi_sys.timerfd_settime(v->timer_fd, at);
}

static int round_of(struct vh_vduse *v, int sources)
{
	const uint64_t now = v->show ? vhi_now_ns() : 0;
	bool more = false;

	if (now)
		vhi_vduse_show_inside(v, now);
	if (has(sources, VHI_VDUSE_FROM_TIMER)) {
		vhi_eventfd_drain(v->timer_fd);
		v->timer_ns = 0;
	}
	do_device(v, sources);
	if (vhi_vduse_step_job(v) || has(sources, VHI_VDUSE_FROM_KERNEL))
		more = vhi_vduse_receive(v);
	if (ended(v))
		return -ESHUTDOWN;
	more |= vhi_vduse_run_all(v);
	if (ended(v))
		return -ESHUTDOWN;
	/* What was pushed just now may have been what it waited for. */
	more |= vhi_vduse_step_job(v);
	vhi_vduse_map_missed(v);
	vhi_vduse_interrupts(v);
	tell_failures(v);
	listen_to_kernel(v);
	if (v->show)
		vhi_vduse_show_round(v, now);
	set_timer(v);
	return more || v->woken;
}

int vhi_vduse_round(struct vh_vduse *v, int timeout_ms)
{
	int rc = poll_sources(v, timeout_ms);

	if (rc >= 0 && !v->dead)
		rc = round_of(v, rc);
	if (rc >= 0 && v->dead)
		rc = v->dead;
	return rc;
}
