/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* One round of dispatch: what is ready, a bounded part of it, and what to wait for next. */
#include "vhi_slave.h"

#define EVENTS_PER_ROUND 32
#define ROUNDS_PER_POLL	 16
/* Waits that go to sleep at once before one looks again, after looking was in vain. */
#define SOON_AGAIN 128u

int vhi_slave_watch(struct vh_slave *s, int op, int fd, enum vhi_source source, uint32_t index, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = (uint64_t)source << 32 | index};

	return vhi_sys.epoll_ctl(s->epfd, op, fd, &ev) ? -errno : 0;
}

bool vhi_slave_ended(struct vh_slave *s)
{
	return __atomic_load_n(&s->stopping, __ATOMIC_ACQUIRE);
}

/* What epoll had to say, by source. */
struct ready {
	uint32_t sources; /* bits */
	uint32_t main;	  /* epoll events of the connection */
};

static bool has(const struct ready *r, enum vhi_source source)
{
	return r->sources & (1u << source);
}

/*
 * Who was answered just now says more, as a rule: to connect takes a dozen answers. On another processor that comes
 * sooner than this thread could go to sleep and be woken. On the same one it can't come, so it is not tried for long.
 */
static int look_for_more(struct vh_slave *s, struct epoll_event *evs)
{
	uint64_t end;
	int n;

	if (!s->soon_ns && ++s->sleeps % SOON_AGAIN)
		return 0;
	end = vhi_now_ns() + (s->soon_ns ? s->soon_ns : VHI_SOON_NS);
	do {
		vhi_relax();
		n = vhi_sys.epoll_wait(s->epfd, evs, EVENTS_PER_ROUND, 0);
	} while (!n && vhi_now_ns() < end);
	s->soon_ns = n ? VHI_SOON_NS : s->soon_ns > VHI_SOON_NS / 8 ? s->soon_ns / 2 : 0;
	return n;
}

static int poll_sources(struct vh_slave *s, int timeout_ms, struct ready *r)
{
	struct epoll_event evs[EVENTS_PER_ROUND];
	int n = s->answered && timeout_ms ? look_for_more(s, evs) : 0;

	if (!n)
		n = vhi_sys.epoll_wait(s->epfd, evs, EVENTS_PER_ROUND, timeout_ms);
	s->answered = false;
	if (n < 0)
		return errno == EINTR && !timeout_ms ? 0 : -errno;
	if (vhi_slave_ended(s))
		return -ESHUTDOWN;
	for (int i = 0; i < n; i++) {
		uint32_t source = (uint32_t)(evs[i].data.u64 >> 32);

		r->sources |= 1u << source;
		if (source == VHI_SOURCE_MAIN)
			r->main = evs[i].events;
		if (source == VHI_SOURCE_KICK)
			vhi_vring_event(s, (uint32_t)evs[i].data.u64, VHI_VRING_KICKED);
	}
	return 0;
}

static void do_device(struct vh_slave *s, const struct ready *r)
{
	int32_t rc = 0;

	if (has(r, VHI_SOURCE_WAKE)) {
		vhi_eventfd_drain(s->wake_fd);
		vhi_vring_woken(s);
		vhi_log_check(s);
	}
	if (has(r, VHI_SOURCE_DEVICE))
		rc = s->dev->ops.on_poll(s->dev->ctx);
	if (rc < 0)
		vhi_log_line(&s->log, VH_LOG_WARNING, "the device's on_poll: %s", vh_error_name(rc));
}

static bool do_messages(struct vh_slave *s, const struct ready *r)
{
	bool more = false;

	if (r->main & EPOLLOUT)
		vhi_conn_flush(s);
	/* A message that was begun may be overdue, so a timer looks too. */
	if (has(r, VHI_SOURCE_MAIN) || has(r, VHI_SOURCE_TIMER))
		more = vhi_conn_receive(s);
	if (r->main & (EPOLLHUP | EPOLLERR))
		vhi_conn_hung_up(s);
	if (has(r, VHI_SOURCE_BACK) || has(r, VHI_SOURCE_TIMER))
		vhi_back_receive(s);
	vhi_back_expire(s, has(r, VHI_SOURCE_TIMER) ? vhi_now_ns() : 0);
	return more;
}

static bool do_owed(struct vh_slave *s)
{
	bool more = false;

	if (!s->conn.jobs)
		return false;
	if (vhi_conn_step(s) && s->conn.held)
		more = vhi_conn_receive(s);
	vhi_conn_expire(s, vhi_now_ns());
	return more;
}

void vhi_slave_set_timer(struct vh_slave *s)
{
	uint64_t at = VHI_MIN(VHI_MIN(vhi_conn_deadline(s), vhi_back_deadline(s)), vhi_slave_iotlb_deadline(s));

	at = VHI_MIN(VHI_MIN(at, vhi_dial_deadline(s)), vhi_show_deadline(s->show));
	if (s->listen_retry_ns)
		at = VHI_MIN(at, s->listen_retry_ns);
	if (at == UINT64_MAX)
		at = 0;
	if (at == s->timer_ns)
		return;
	s->timer_ns = at;
	vhi_sys.timerfd_settime(s->timer_fd, at);
}

static void do_timer(struct vh_slave *s)
{
	vhi_eventfd_drain(s->timer_fd);
	s->timer_ns = 0;
	if (s->listen_retry_ns && vhi_now_ns() >= s->listen_retry_ns)
		vhi_listen_resume(s);
}

static void end_connection(struct vh_slave *s)
{
	if (!s->conn.ending)
		return;
	vhi_conn_end(s);
	vhi_listen_resume(s);
}

/* While rings are polled a system call in each round would be most of what it costs. */
static bool may_skip(struct vh_slave *s)
{
	return s->polling && ++s->rounds % ROUNDS_PER_POLL;
}

static int left(struct vh_slave *s, bool more)
{
	const bool due = vhi_vring_any_pending(s);

	s->polling = s->opts.poll_us && due && !more && vhi_vring_only_polls(s);
	return more || due;
}

int vhi_slave_round(struct vh_slave *s, int timeout_ms)
{
	struct ready r = {0};
	int rc = may_skip(s) ? (vhi_slave_ended(s) ? -ESHUTDOWN : 0) : poll_sources(s, timeout_ms, &r);
	const uint64_t now = s->show && !rc ? vhi_now_ns() : 0;
	bool more;

	if (rc)
		return rc;
	if (now)
		vhi_slave_show_inside(s, now);
	if (has(&r, VHI_SOURCE_TIMER))
		do_timer(s);
	do_device(s, &r);
	more = do_messages(s, &r);
	vhi_vring_run_all(s);
	more |= vhi_state_run(s);
	if (vhi_slave_ended(s))
		return -ESHUTDOWN;
	more |= do_owed(s);
	if (has(&r, VHI_SOURCE_TIMER))
		vhi_postcopy_expire(s, vhi_now_ns());
	vhi_conn_complete(s);
	if (vhi_slave_ended(s))
		return -ESHUTDOWN;
	end_connection(s);
	if (has(&r, VHI_SOURCE_LISTENER))
		vhi_listen_accept(s);
	vhi_dial_step(s);
	if (vhi_slave_ended(s))
		return -ESHUTDOWN;
	vhi_slave_iotlb_step(s);
	vhi_slave_tell_failures(s);
	vhi_inband_step(s);
	vhi_pause_step(s);
	vhi_conn_update(s);
	vhi_back_update(s);
	if (s->show)
		vhi_slave_show_round(s, now);
	vhi_slave_set_timer(s);
	return left(s, more);
}
