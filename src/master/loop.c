/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The epoll fd and everything behind it: both channels, the listener, an eventfd for cancel and stop, a timerfd for
 * deadlines. A call that waits sleeps on the same epoll fd with the next deadline as its timeout; the timerfd is only
 * set when the thread leaves with something still expected, for callers who poll by themselves.
 */
#include "vhi_master.h"

#include <limits.h>
#include <sys/timerfd.h>
#include <time.h>

/* Messages of each channel in one turn: a flood on one must not shut the other out. */
#define TURN_MESSAGES 64

#define NEVER UINT64_MAX
/* How often a wait that has somebody to ask does. */
#define ASK_NS UINT64_C(250000000)

static const char *name_of(uint32_t request)
{
	return vh_msg_name(VH_MSG_CHANNEL_MAIN, request);
}

int vhi_loop_add(struct vh_master *m, enum vhi_master_source source, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = source};

	m->interest[source] = ev.events;
	if (fd < 0 || !vhi_sys.epoll_ctl(m->epoll, EPOLL_CTL_ADD, fd, &ev))
		return 0;
	return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "epoll: %s", vh_error_name(errno));
}

void vhi_loop_remove(struct vh_master *m, int fd)
{
	struct epoll_event unused = {0};

	if (fd >= 0)
		vhi_sys.epoll_ctl(m->epoll, EPOLL_CTL_DEL, fd, &unused);
}

int vhi_loop_open(struct vh_master *m)
{
	int rc;

	m->epoll = vhi_sys.epoll_create1(EPOLL_CLOEXEC);
	if (m->epoll >= 0)
		m->timer = vhi_sys.timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (m->epoll < 0 || m->timer < 0)
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "vh_master_new: no file descriptors: %s",
				vh_error_name(errno));
	rc = m->cancel = vhi_eventfd();
	if (rc < 0)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_master_new: no eventfd: %s", vh_error_name(rc));
	rc = vhi_loop_add(m, VHI_SRC_CANCEL, m->cancel);
	return rc ? rc : vhi_loop_add(m, VHI_SRC_TIMER, m->timer);
}

void vhi_loop_close(struct vh_master *m)
{
	vhi_fd_close(&m->cancel);
	vhi_fd_close(&m->timer);
	vhi_fd_close(&m->epoll);
}

static void watch(struct vh_master *m, enum vhi_master_source source, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u32 = source};

	if (fd < 0 || m->interest[source] == events)
		return;
	/* Can't fail: the fd is in the set, and MOD allocates nothing. */
	vhi_sys.epoll_ctl(m->epoll, EPOLL_CTL_MOD, fd, &ev);
	m->interest[source] = events;
}

static void watch_chan(struct vh_master *m, enum vhi_master_source source, const struct vhi_chan *c)
{
	if (vhi_chan_open(c))
		watch(m, source, vhi_chan_fd(c), EPOLLIN | (vhi_chan_wants_write(c) ? EPOLLOUT : 0u));
}

static void watch_all(struct vh_master *m)
{
	watch_chan(m, VHI_SRC_MAIN, &m->main);
	watch_chan(m, VHI_SRC_BACK, &m->back);
	/* A second back-end waits in the backlog for its turn. */
	watch(m, VHI_SRC_LISTENER, m->listener, m->state == VHI_MASTER_CONNECTED ? 0 : EPOLLIN);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return b && b < a ? b : a;
}

static uint64_t next_deadline(const struct vh_master *m)
{
	uint64_t t = NEVER;

	if (m->state != VHI_MASTER_CONNECTED)
		return t;
	if (m->tickets.expected.head)
		t = m->tickets.expected.head->deadline_ns;
	t = sooner(t, m->send_deadline_ns);
	t = sooner(t, m->main.in_deadline_ns);
	if (vhi_chan_open(&m->back))
		t = sooner(t, m->back.in_deadline_ns);
	return t;
}

void vhi_loop_settle(struct vh_master *m)
{
	uint64_t t = next_deadline(m);

	watch_all(m);
	if (t == NEVER)
		t = 0;
	if (t != m->timer_ns) {
		vhi_sys.timerfd_settime(m->timer, t);
		m->timer_ns = t;
	}
}

void vhi_loop_sent(struct vh_master *m)
{
	if (!vhi_chan_wants_write(&m->main))
		m->send_deadline_ns = 0;
	else if (!m->send_deadline_ns || m->main.out_bytes < m->send_left)
		m->send_deadline_ns = vhi_now_ns() + (uint64_t)m->opts.timeout_ms * 1000000u;
	m->send_left = m->main.out_bytes;
}

/* "during GET_CONFIG (it did not offer CONFIG)" */
static void fail_closed(struct vh_master *m, bool clean, uint32_t site)
{
	const struct vhi_ticket *t = m->tickets.expected.head;
	const struct vhi_wire_msg *msg = vhi_wire_find(VHI_WIRE_FRONT_END, t ? t->request : m->last_request);
	const char *where = clean ? "" : ", in the middle of a message";
	uint64_t lacks = msg ? msg->pf & ~m->features.pf_offered : 0;
	const char *feature = lacks ? vh_feature_name(0, (uint32_t)__builtin_ctzll(lacks)) : NULL;

	if (feature)
		vhi_master_fail(m, -ECONNRESET, VH_ERROR_PEER, site,
				"the back-end closed the connection during %s%s (it did not offer %s)", msg->name,
				where, feature);
	else if (m->last_request == VH_ERROR_NONE)
		vhi_master_fail(m, -ECONNRESET, VH_ERROR_PEER, site,
				"the back-end closed the connection before the first request%s; is it serving another "
				"client?",
				where);
	else
		vhi_master_fail(m, -ECONNRESET, VH_ERROR_PEER, site, "the back-end closed the connection %s %s%s",
				t ? "during" : "after", name_of(t ? t->request : m->last_request), where);
}

static void receive_failed(struct vh_master *m, int rc, bool clean, uint32_t site)
{
	switch (rc) {
	case -ECONNRESET:
		fail_closed(m, clean, site);
		break;
	case -EPROTO:
		vhi_chan_received(&m->main, site);
		vhi_master_fail(m, rc, VH_ERROR_PEER, site, "the back-end sent something that is no reply: %s",
				vhi_master_why(site));
		break;
	case -ETIMEDOUT:
		vhi_master_fail(m, rc, VH_ERROR_PEER, site,
				"the back-end began a message and did not end it within %u ms", m->opts.timeout_ms);
		break;
	default:
		vhi_master_fail(m, rc, VH_ERROR_SYSTEM, 0, "receiving failed: %s", vh_error_name(rc));
		break;
	}
}

/* 1 = there may be more. */
static int receive(struct vh_master *m)
{
	for (int i = 0; i < TURN_MESSAGES; i++) {
		bool clean = false;
		uint32_t site = 0;
		int rc;

		if (m->state != VHI_MASTER_CONNECTED)
			return 0;
		rc = vhi_chan_recv(&m->main, &clean, &site);
		if (!rc)
			return 0;
		if (rc < 0)
			receive_failed(m, rc, clean, site);
		else
			vhi_master_reply(m, site);
	}
	return 1;
}

void vhi_loop_receive(struct vh_master *m)
{
	while (receive(m))
		;
}

static void flush(struct vh_master *m)
{
	int rc = vhi_chan_flush(&m->main);

	if (rc < 0) {
		/* What the back-end said before it closed tells more than the broken pipe. */
		vhi_loop_receive(m);
		vhi_master_fail(m, rc, VH_ERROR_PEER, 0, "sending failed: %s", vh_error_name(rc));
	}
	vhi_loop_sent(m);
}

static int turn_main(struct vh_master *m)
{
	if (m->state != VHI_MASTER_CONNECTED)
		return 0;
	if (vhi_chan_wants_write(&m->main))
		flush(m);
	return receive(m);
}

static int turn_back(struct vh_master *m)
{
	if (m->state != VHI_MASTER_CONNECTED || !vhi_chan_open(&m->back))
		return 0;
	if (vhi_chan_wants_write(&m->back) && vhi_chan_flush(&m->back) < 0) {
		vhi_log_line(&m->log, VH_LOG_WARNING, "the back-end closed its request channel");
		vhi_master_close_back(m);
		return 0;
	}
	return vhi_master_serve(m);
}

static int turn_listener(struct vh_master *m)
{
	int rc = vhi_master_take_client(m);

	return rc < 0 ? rc : 0;
}

static int turn_cancel(struct vh_master *m)
{
	/* A stop stays visible for whoever waits; see vhi_loop_check. */
	if (__atomic_load_n(&m->stopping, __ATOMIC_SEQ_CST))
		return 0;
	vhi_eventfd_drain(m->cancel);
	if (m->state != VHI_MASTER_CONNECTED)
		return vhi_fail(-ECANCELED, VH_ERROR_STATE, 0, "vh_master_cancel was called");
	vhi_master_fail(m, -ECANCELED, VH_ERROR_STATE, 0, "vh_master_cancel was called");
	return 0;
}

static int turn_timer(struct vh_master *m)
{
	vhi_eventfd_drain(m->timer);
	m->timer_ns = 0;
	return 0;
}

/* Who waits for it looks itself. */
static int turn_state(struct vh_master *m)
{
	(void)m;
	return 0;
}

static int (*const turns[VHI_SRC_COUNT])(struct vh_master *m) = {
	[VHI_SRC_MAIN] = turn_main,	[VHI_SRC_BACK] = turn_back,   [VHI_SRC_LISTENER] = turn_listener,
	[VHI_SRC_CANCEL] = turn_cancel, [VHI_SRC_TIMER] = turn_timer, [VHI_SRC_STATE] = turn_state,
};

static bool passed(uint64_t deadline, uint64_t now)
{
	return deadline && now >= deadline;
}

static void check_deadlines(struct vh_master *m)
{
	uint64_t deadline = next_deadline(m);
	const struct vhi_ticket *t = m->tickets.expected.head;
	uint64_t now;

	if (deadline == NEVER)
		return;
	now = vhi_now_ns();
	if (now < deadline)
		return;
	/* The channels know by themselves that a message took too long. */
	if (passed(m->main.in_deadline_ns, now))
		receive(m);
	if (passed(m->back.in_deadline_ns, now))
		turn_back(m);
	if (m->state == VHI_MASTER_CONNECTED && passed(m->send_deadline_ns, now))
		vhi_master_fail(m, -ETIMEDOUT, VH_ERROR_PEER, 0, "the back-end has read nothing for %u ms",
				m->opts.timeout_ms);
	if (m->state == VHI_MASTER_CONNECTED && t && t == m->tickets.expected.head && passed(t->deadline_ns, now))
		vhi_master_fail(m, -ETIMEDOUT, VH_ERROR_PEER, 0,
				"the back-end did not answer %s within %llu ms; is it stuck, or is the deadline "
				"(timeout_ms) too short?",
				name_of(t->request), (unsigned long long)((t->deadline_ns - t->sent_ns) / 1000000u));
}

/* Is somebody to be asked whether this wait goes on? A turn until 0 is none. */
static bool asks(const struct vh_master *m, uint64_t until_ns)
{
	return until_ns && m->ops.waiting;
}

bool vhi_loop_goes_on(struct vh_master *m)
{
	int32_t rc;

	m->serving = m->gate.depth;
	rc = m->ops.waiting(m->ctx);
	m->serving = 0;
	vhi_master_finish_closing(m);
	return !rc;
}

static int timeout_ms(const struct vh_master *m, uint64_t until_ns)
{
	uint64_t now, at = VHI_MIN(until_ns, next_deadline(m));

	if (!at)
		return 0;
	if (at == NEVER && !asks(m, until_ns))
		return -1;
	now = vhi_now_ns();
	if (asks(m, until_ns))
		at = VHI_MIN(at, now + ASK_NS);
	/* Rounded up: waking before the deadline would spin. */
	return at <= now ? 0 : (int)VHI_MIN((at - now + 999999u) / 1000000u, (uint64_t)INT_MAX);
}

int vhi_loop_turn(struct vh_master *m, uint64_t until_ns)
{
	struct epoll_event evs[VHI_SRC_COUNT];
	bool interrupted = false;
	int n, rc, more = 0;

	watch_all(m);
	n = vhi_sys.epoll_wait(m->epoll, evs, VHI_SRC_COUNT, timeout_ms(m, until_ns));
	if (n < 0 && errno == EINTR) {
		/* The handler may have cancelled, and the reply may be here: that counts for more than the signal. */
		interrupted = true;
		n = vhi_sys.epoll_wait(m->epoll, evs, VHI_SRC_COUNT, 0);
	}
	if (n < 0)
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "waiting failed: %s", vh_error_name(errno));
	for (int i = 0; i < n; i++) {
		rc = turns[evs[i].data.u32](m);
		if (rc < 0)
			return rc;
		more |= rc;
	}
	/* A transport without an fd (tests) is looked at every time. */
	if (vhi_chan_open(&m->main) && vhi_chan_fd(&m->main) < 0)
		more |= turn_main(m);
	check_deadlines(m);
	if (asks(m, until_ns) && (interrupted || !n))
		interrupted = !vhi_loop_goes_on(m);
	if (interrupted)
		return vhi_fail(-EINTR, VH_ERROR_STATE, 0,
				"a signal came while waiting; vh_master_resume() goes on, the connection is whole");
	return more;
}

int vhi_loop_check(struct vh_master *m)
{
	if (__atomic_load_n(&m->stopping, __ATOMIC_SEQ_CST))
		return vhi_fail(-ESHUTDOWN, VH_ERROR_STATE, 0, "vh_master_stop was called");
	if (m->state == VHI_MASTER_CONNECTED)
		return 0;
	m->reported = true;
	return vhi_failure_raise(&m->failure);
}

vh_count vh_master_dispatch(struct vh_master *m)
{
	int rc = vhi_master_enter(m, "vh_master_dispatch", 0);

	if (rc)
		return rc;
	if (m->state == VHI_MASTER_FAILED && !m->reported)
		return vhi_master_leave(m, vhi_loop_check(m));
	if (m->state != VHI_MASTER_CONNECTED && m->listener < 0)
		return vhi_master_leave(m, vhi_master_not_connected(m, "vh_master_dispatch"));
	rc = vhi_loop_turn(m, 0);
	if (rc >= 0 && m->state == VHI_MASTER_FAILED && !m->reported)
		rc = vhi_loop_check(m);
	return vhi_master_leave(m, rc);
}
