/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The back-end channel: requests of ours. Nothing that the front-end asked for waits for an answer here. Whatever goes
 * wrong on it ends the channel, not the connection.
 */
#include "vhi_slave.h"

#include <sys/un.h>

#define MAX_NEWS	  16u /* changes of configuration that nobody has acknowledged */
#define MAX_TICKETS	  256u
#define MAX_REPLIES	  (256u * 1024u)
#define REPLIES_PER_ROUND 64u

const struct vhi_ticket_kind vhi_slave_tickets = {
	.side = VHI_WIRE_BACK_END,
	.peer = "the front-end",
	.submit = "vh_slave_submit",
	.finish = "vh_slave_finish",
	.size = sizeof(struct vhi_ticket),
	.max = MAX_TICKETS,
	.max_room = MAX_REPLIES,
};

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return !vhi_sys.fstat(a, &sa) && !vhi_sys.fstat(b, &sb) && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/*
 * The other end of our own connection, which the front-end has: its peer has the name of our end, if that has one. (An
 * end of a socket pair has none, and looks like the end of any other pair.)
 */
static bool is_client_of_ours(const struct vh_slave *s, int fd)
{
	struct sockaddr_un own = {0}, peer = {0};
	socklen_t len = sizeof(sa_family_t);

	if (vhi_sys.getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &peer, &len))
		return false;
	len = sizeof(own);
	if (vhi_sys.getsockname(vhi_chan_fd(&s->conn.main), (struct sockaddr *)&own, &len) ||
	    len <= sizeof(sa_family_t))
		return false;
	/* The kernel refuses when the name is shorter than this. */
	return !vhi_sys.getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &peer, &len) && !memcmp(&own, &peer, len);
}

uint32_t vhi_back_set(struct vh_slave *s, int fd)
{
	struct vhi_conn *c = &s->conn;
	struct vhi_transport transport;
	bool listening = false;
	int own;

	if (VHI_REFUSE(VHI_SITE_SLAVE_CHANNEL_SELF, same_file(fd, vhi_chan_fd(&c->main)) || is_client_of_ours(s, fd)))
		return VHI_SITE_SLAVE_CHANNEL_SELF;
	own = vhi_sock_adopt(fd, &listening);
	if (VHI_REFUSE(VHI_SITE_SLAVE_CHANNEL_KIND, own < 0 || listening)) {
		vhi_fd_close(&own);
		return VHI_SITE_SLAVE_CHANNEL_KIND;
	}
	vhi_back_close(s);
	c->back = vhi_calloc(1, sizeof(*c->back));
	if (!c->back) {
		vhi_fd_close(&own);
		return 0;
	}
	vhi_sock_transport(own, &transport);
	vhi_chan_init(c->back, transport, VHI_WIRE_BACK_END, VHI_WIRE_BACK_END, &s->trace,
		      s->opts.message_timeout_ms * UINT64_C(1000000));
	c->back->dialect = s->opts.dialect;
	c->back_interest = EPOLLIN;
	if (vhi_slave_watch(s, EPOLL_CTL_ADD, own, VHI_SOURCE_BACK, 0, EPOLLIN))
		vhi_back_close(s);
	vhi_slave_iotlb_channel(s);
	return 0;
}

void vhi_back_close(struct vh_slave *s)
{
	struct vhi_chan *back = s->conn.back;

	if (!back)
		return;
	/* The front-end has the other end and may have kept this one too: closing would not take it out of the set. */
	vhi_slave_watch(s, EPOLL_CTL_DEL, vhi_chan_fd(back), VHI_SOURCE_BACK, 0, 0);
	vhi_stats_add_channel(&s->stats, back);
	vhi_chan_close(back);
	vhi_free(back);
	s->conn.back = NULL;
	vhi_tickets_fail(&s->tickets, -ECONNRESET);
	vhi_inband_unanswered(s);
}

/* What went wrong on it, 0 and 0 = the front-end closed it between two messages. */
static void channel_ended(struct vh_slave *s, int32_t reason, uint32_t site)
{
	const char *text = vhi_slave_any_site_text(site);

	if (!s->conn.back)
		return;
	if (site) {
		s->stats.rejected++;
		vhi_log_line(&s->log, VH_LOG_WARNING, "the back-end channel was closed: %s (check %u)",
			     text ? text : "", site);
	}
	if (reason)
		vhi_tickets_fail(&s->tickets, reason);
	vhi_back_close(s);
	vhi_events_raise(&s->events, VH_EVENT_CHANNEL_ENDED, VH_ERROR_NONE, reason, site);
}

/* After a send: that the peer is gone is no failure, unless it left a message unfinished. */
static int32_t reason_of(const struct vhi_chan *back, int rc)
{
	return (rc == -ECONNRESET || rc == -EPIPE) && !vhi_chan_inside(back) ? 0 : rc;
}

static void handle_reply(struct vh_slave *s)
{
	struct vhi_ticket *t = vhi_ticket_take_reply(&s->tickets, &s->conn.back->in);
	struct vhi_failure f;

	if (!t)
		return;
	vhi_ticket_describe(&s->tickets, t, &f);
	if (f.code && t->request == VHI_BE_IOTLB_MSG) {
		uint64_t iova;

		memcpy(&iova, t->asked, sizeof(iova));
		vhi_slave_iotlb_refused(s, iova);
	}
	if (f.code && t->abandoned)
		vhi_log_line(&s->log, VH_LOG_INFO, "%s", f.text);
	vhi_inband_answered(s, t->id);
	vhi_ticket_done(&s->tickets, t);
}

void vhi_back_receive(struct vh_slave *s)
{
	for (uint32_t i = 0; i < REPLIES_PER_ROUND && s->conn.back; i++) {
		struct vhi_chan *back = s->conn.back;
		bool clean;
		uint32_t site;
		int rc = vhi_chan_recv(back, &clean, &site);

		if (!rc)
			return;
		if (rc > 0 && !site)
			site = vhi_ticket_check(&s->tickets, &back->in);
		if (rc > 0 || site)
			vhi_chan_received(back, site);
		if (rc < 0 || site)
			channel_ended(s, clean ? 0 : rc < 0 ? rc : -EPROTO, site);
		else
			handle_reply(s);
	}
}

void vhi_back_update(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;
	uint32_t want;
	int rc = 0;

	if (c->back && vhi_chan_wants_write(c->back))
		rc = vhi_chan_flush(c->back);
	if (rc < 0)
		channel_ended(s, reason_of(c->back, rc), 0);
	if (!c->back)
		return;
	want = EPOLLIN | (vhi_chan_wants_write(c->back) ? EPOLLOUT : 0u);
	if (want == c->back_interest)
		return;
	c->back_interest = want;
	vhi_slave_watch(s, EPOLL_CTL_MOD, vhi_chan_fd(c->back), VHI_SOURCE_BACK, 0, want);
}

int vhi_back_send(struct vh_slave *s, const struct vhi_ask *ask, struct vhi_ticket **out)
{
	struct vhi_chan *back = s->conn.back;
	struct vhi_ticket *t;
	uint32_t flags;
	int rc = vhi_ticket_begin(&s->tickets, ask, &s->conn.f, &flags, &t);

	if (rc)
		return rc;
	rc = vhi_chan_send(back, ask->id, flags, ask->payload, ask->size, ask->fds, ask->n_fds);
	if (rc) {
		vhi_ticket_release(&s->tickets, t);
		if (rc == -ENOBUFS)
			return rc;
		channel_ended(s, reason_of(back, rc), 0);
		return -ENOTCONN;
	}
	if (t)
		vhi_ticket_sent(&s->tickets, t, s->opts.drain_timeout_ms * UINT64_C(1000000));
	vhi_back_update(s);
	vhi_slave_set_timer(s);
	*out = t;
	return 0;
}

uint64_t vhi_back_deadline(const struct vh_slave *s)
{
	return s->tickets.expected.head ? s->tickets.expected.head->deadline_ns : UINT64_MAX;
}

void vhi_back_expire(struct vh_slave *s, uint64_t now)
{
	const struct vhi_ticket *t = s->tickets.expected.head;

	if (!t || !VHI_REFUSE(VHI_SITE_SLAVE_ASK_DEADLINE, now >= t->deadline_ns))
		return;
	vhi_log_line(&s->log, VH_LOG_WARNING, "%s is unanswered after %u ms",
		     vh_msg_name(VH_MSG_CHANNEL_BACKEND, t->request), s->opts.drain_timeout_ms);
	channel_ended(s, -ETIMEDOUT, VHI_SITE_SLAVE_ASK_DEADLINE);
}

static int no_channel(const struct vh_slave *s, const char *who)
{
	bool refused = s->conn.open && !vhi_slave_acked(s, VH_PF_BACKEND_REQ);

	return vhi_fail(refused ? -EOPNOTSUPP : -ENOTCONN, VH_ERROR_STATE, 0,
			"%s: there is no channel for requests; the front-end makes it after it negotiated BACKEND_REQ",
			who);
}

/* May it be sent now? */
static int check_ask(const struct vh_slave *s, const char *who, const struct vhi_ask *ask)
{
	const struct vhi_wire_msg *msg = vhi_wire_find(VHI_WIRE_BACK_END, ask->id);
	uint32_t site = msg ? vhi_wire_check_send(msg, ask->size, ask->n_fds, &s->conn.f) : 0;
	bool argument = site == VHI_SITE_WIRE_SEND_SIZE || site == VHI_SITE_WIRE_SEND_FDS;

	if (!s->conn.back)
		return no_channel(s, who);
	if (site)
		return vhi_fail_at(argument ? -EINVAL : -EOPNOTSUPP, argument ? VH_ERROR_ARGUMENT : VH_ERROR_STATE, 0,
				   VH_ERROR_NONE, ask->id, "%s: %s: %s", who, msg->name, vhi_wire_site_text(site));
	if (!vhi_vring_any_started(s) || s->paused)
		return vhi_fail_at(-EAGAIN, VH_ERROR_STATE, 0, VH_ERROR_NONE, ask->id,
				   "%s: a back-end asks for nothing while no ring is started, or while it is paused",
				   who);
	return 0;
}

static int send_ask(struct vh_slave *s, const char *who, const struct vhi_ask *ask, uint64_t *ticket)
{
	struct vhi_ticket *t = NULL;
	int rc = vhi_back_send(s, ask, &t);

	if (rc == -ENOTCONN)
		return no_channel(s, who);
	/* Without a ticket of its own nothing was allocated for it: the socket is full. */
	if (rc == -ENOBUFS && vhi_chan_wants_write(s->conn.back))
		return vhi_fail_at(rc, VH_ERROR_PEER, 0, VH_ERROR_NONE, ask->id,
				   "%s: the front-end does not read; dispatch and try again", who);
	if (rc)
		return rc;
	if (t && !ticket)
		t->abandoned = true;
	if (ticket)
		*ticket = t ? t->id : 0;
	return 0;
}

vh_rc vhi_back_request(struct vh_slave *s, const char *who, const struct vhi_ask *ask, uint64_t *ticket)
{
	vh_rc rc = vhi_slave_enter(s, who);

	if (rc)
		return rc;
	rc = check_ask(s, who, ask);
	return vhi_slave_leave(s, rc ? rc : send_ask(s, who, ask, ticket));
}

static int send_config_change(struct vh_slave *s)
{
	const struct vhi_ask ask = {.id = VHI_BE_CONFIG_CHANGE_MSG};
	struct vhi_ticket *t;
	int rc = s->tickets.n_expected >= MAX_NEWS ? -ENOBUFS : vhi_back_send(s, &ask, &t);

	if (!rc && t)
		t->abandoned = true;
	return rc == -ENOBUFS ? -EAGAIN : rc;
}

int vhi_back_config_changed(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;

	if (!c->back)
		return c->open && !vhi_slave_acked(s, VH_PF_BACKEND_REQ) ? -EOPNOTSUPP : -ENOTCONN;
	if (vhi_wire_check_send(vhi_wire_find(VHI_WIRE_BACK_END, VHI_BE_CONFIG_CHANGE_MSG), 0, 0, &c->f))
		return -EOPNOTSUPP;
	/* A device that is suspended keeps quiet; the news is told when it wakes. So does one that is handed over. */
	if (!vhi_vring_any_started(s) || s->paused) {
		c->config_changed = true;
		return 0;
	}
	return send_config_change(s);
}

void vhi_back_ring_started(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;

	if (!c->config_changed)
		return;
	c->config_changed = false;
	if (c->back)
		send_config_change(s);
}
