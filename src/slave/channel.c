/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The back-end channel: requests of ours. Nothing that the front-end asked for waits for an answer here. Whatever goes
 * wrong on it ends the channel, not the connection.
 */
#include "vhi_slave.h"

#include <sys/un.h>

#define MAX_UNANSWERED	  16u
#define REPLIES_PER_ROUND 64u

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
	if (vhi_sock_transport(own, &transport))
		return 0;
	vhi_chan_init(&c->back, transport, VHI_WIRE_BACK_END, VHI_WIRE_BACK_END, &s->trace,
		      s->opts.message_timeout_ms * UINT64_C(1000000));
	c->back_unanswered = 0;
	c->back_interest = EPOLLIN;
	if (vhi_slave_watch(s, EPOLL_CTL_ADD, own, VHI_SOURCE_BACK, 0, EPOLLIN))
		vhi_back_close(s);
	return 0;
}

void vhi_back_close(struct vh_slave *s)
{
	struct vhi_chan *back = &s->conn.back;

	if (!vhi_chan_open(back))
		return;
	/* The front-end has the other end and may have kept this one too: closing would not take it out of the set. */
	vhi_slave_watch(s, EPOLL_CTL_DEL, vhi_chan_fd(back), VHI_SOURCE_BACK, 0, 0);
	vhi_stats_add_channel(&s->stats, back);
	vhi_chan_close(back);
}

static void failed(struct vh_slave *s, uint32_t site)
{
	const char *text = vhi_slave_any_site_text(site);

	if (site) {
		s->stats.rejected++;
		vhi_log_line(&s->log, VH_LOG_WARNING, "the back-end channel was closed: %s (check %u)",
			     text ? text : "", site);
	}
	vhi_back_close(s);
}

/* All requests that we send are of one kind, so a reply is matched by counting. */
static uint32_t check_reply(const struct vhi_conn *c)
{
	const struct vhi_msg *m = &c->back.in;
	const struct vhi_wire_msg *msg = vhi_wire_find(VHI_WIRE_BACK_END, VHI_BE_CONFIG_CHANGE_MSG);

	if (VHI_REFUSE(VHI_SITE_SLAVE_CHANNEL_REPLY, !c->back_unanswered))
		return VHI_SITE_SLAVE_CHANNEL_REPLY;
	return vhi_wire_check_reply(VHI_WIRE_BACK_END, msg, false, &m->header, m->payload, m->n_fds);
}

static void handle_reply(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;
	uint64_t status;

	memcpy(&status, c->back.in.payload, sizeof(status));
	if (c->back_unanswered)
		c->back_unanswered--;
	if (status)
		vhi_log_line(&s->log, VH_LOG_INFO, "the front-end did not take a change of configuration");
}

void vhi_back_receive(struct vh_slave *s)
{
	struct vhi_chan *back = &s->conn.back;

	for (uint32_t i = 0; i < REPLIES_PER_ROUND && vhi_chan_open(back); i++) {
		bool clean;
		uint32_t site;
		int rc = vhi_chan_recv(back, &clean, &site);

		if (!rc)
			return;
		if (rc > 0 && !site)
			site = check_reply(&s->conn);
		if (rc > 0 || site)
			vhi_chan_received(back, site);
		if (rc < 0 || site)
			failed(s, site);
		else
			handle_reply(s);
	}
}

void vhi_back_update(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;
	uint32_t want;

	if (vhi_chan_open(&c->back) && vhi_chan_wants_write(&c->back) && vhi_chan_flush(&c->back) < 0)
		vhi_back_close(s);
	if (!vhi_chan_open(&c->back))
		return;
	want = EPOLLIN | (vhi_chan_wants_write(&c->back) ? EPOLLOUT : 0u);
	if (want == c->back_interest)
		return;
	c->back_interest = want;
	vhi_slave_watch(s, EPOLL_CTL_MOD, vhi_chan_fd(&c->back), VHI_SOURCE_BACK, 0, want);
}

static int send_config_change(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;
	bool ack = vhi_slave_acked(s, VH_PF_REPLY_ACK);
	int rc;

	if (c->back_unanswered >= MAX_UNANSWERED)
		return -EAGAIN;
	rc = vhi_chan_send(&c->back, VHI_BE_CONFIG_CHANGE_MSG, VHI_WIRE_VERSION | (ack ? VHI_WIRE_NEED_REPLY : 0), NULL,
			   0, NULL, 0);
	if (rc == -ENOBUFS)
		return -EAGAIN;
	if (rc) {
		vhi_back_close(s);
		return -ENOTCONN;
	}
	c->back_unanswered += ack;
	vhi_back_update(s);
	return 0;
}

int vhi_back_config_changed(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;

	if (!vhi_chan_open(&c->back))
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
	if (vhi_chan_open(&c->back))
		send_config_change(s);
}
