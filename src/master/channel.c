/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The back-end's own requests. They are served in every turn of the loop, so also while a reply on the main channel is
 * awaited: the back-end may hold that reply back until it has its answer here. What goes wrong here ends this channel,
 * not the connection.
 */
#include "vhi_master.h"

#define TURN_MESSAGES 64

int vhi_master_open_back(struct vh_master *m, int *peer)
{
	struct vhi_transport transport;
	int rc, fd = vhi_sock_pair(peer);

	if (fd < 0)
		return fd;
	rc = vhi_sock_transport(fd, &transport);
	if (!rc) {
		vhi_master_close_back(m);
		vhi_chan_init(&m->back, transport, VHI_WIRE_BACK_END, VHI_WIRE_FRONT_END, &m->tap,
			      (uint64_t)m->opts.timeout_ms * 1000000u);
		m->interest[VHI_SRC_BACK] = EPOLLIN;
		rc = vhi_loop_add(m, VHI_SRC_BACK, vhi_chan_fd(&m->back));
		if (rc)
			vhi_chan_close(&m->back);
	}
	if (rc)
		vhi_fd_close(peer);
	return rc;
}

static void give_up(struct vh_master *m, uint32_t site, const char *why)
{
	if (site)
		m->rejected++;
	vhi_log_line(&m->log, VH_LOG_WARNING, "the back-end's request channel is closed: %s", why);
	vhi_master_close_back(m);
}

/* The user's answer: 0 or a status. The channel may be closed after it. */
static uint64_t ask_user(struct vh_master *m, const struct vhi_msg *in)
{
	int32_t rc;

	m->serving = m->gate.depth;
	rc = m->ops.backend_request(m->ctx, in->header.request, in->payload, in->header.size, in->fds, in->n_fds);
	m->serving = 0;
	return rc ? 1 : 0;
}

static void answer(struct vh_master *m, uint32_t request, uint64_t status)
{
	int rc = vhi_chan_send(&m->back, request, VHI_WIRE_VERSION | VHI_WIRE_REPLY, &status, sizeof(status), NULL, 0);

	if (VHI_REFUSE(VHI_SITE_MASTER_REPLY_FLOOD, rc == -ENOBUFS))
		give_up(m, VHI_SITE_MASTER_REPLY_FLOOD, vhi_master_why(VHI_SITE_MASTER_REPLY_FLOOD));
	else if (rc < 0 && rc != -ENOBUFS)
		give_up(m, 0, "the back-end closed it");
}

/* Who can answer it? A reply with an fd of its own (SHARED_OBJECT_LOOKUP) is more than a callback's status. */
static uint32_t check_handler(const struct vh_master *m, const struct vhi_msg *in, enum vhi_wire_answer form)
{
	bool here = in->header.request == VHI_BE_CONFIG_CHANGE_MSG;
	bool user = m->ops.backend_request && form != VHI_ANSWER_OWN;

	if (VHI_REFUSE(VHI_SITE_MASTER_NO_HANDLER, !here && !user))
		return VHI_SITE_MASTER_NO_HANDLER;
	return 0;
}

static void serve_one(struct vh_master *m, uint32_t bad)
{
	struct vhi_msg *in = &m->back.in;
	uint32_t id = in->header.request;
	const struct vhi_wire_msg *msg = vhi_wire_find(VHI_WIRE_BACK_END, id);
	/* Its own offer does not entitle the back-end to anything: what was acked does. */
	struct vhi_wire_features f = m->features;
	enum vhi_wire_answer form;
	uint64_t status = 0;
	uint32_t site;

	f.offered = f.acked;
	form = vhi_wire_answer(msg, in->header.flags, &f);
	if (!bad)
		bad = vhi_wire_check_request(VHI_WIRE_BACK_END, &in->header, in->payload, in->n_fds, &f);
	site = bad ? bad : check_handler(m, in, form);
	m->backend_requests++;
	vhi_chan_received(&m->back, site);
	if (site) {
		m->rejected++;
		status = 1;
		vhi_log_line(&m->log, VH_LOG_WARNING, "the back-end's request %s (%u) is refused: %s",
			     vh_msg_name(VH_MSG_CHANNEL_BACKEND, id), id, vhi_master_why(site));
	} else if (id == VHI_BE_CONFIG_CHANGE_MSG) {
		vhi_master_event(m, VH_EVENT_CONFIG_CHANGED, 0, 0);
	} else if (m->ops.backend_request) {
		status = ask_user(m, in);
	}
	if (id != VHI_BE_CONFIG_CHANGE_MSG)
		vhi_master_event(m, VH_EVENT_BACKEND_REQUEST, (int32_t)status, id);
	vhi_msg_close_fds(in);
	if (m->state != VHI_MASTER_CONNECTED)
		return;
	if (form != VHI_ANSWER_NONE)
		answer(m, id, status);
	else if (bad && msg)
		give_up(m, 0, vhi_master_why(bad)); /* nothing can be said to a peer that does not know its messages */
}

int vhi_master_serve(struct vh_master *m)
{
	for (int i = 0; i < TURN_MESSAGES; i++) {
		bool clean = false;
		uint32_t site = 0;
		int rc = vhi_chan_recv(&m->back, &clean, &site);

		if (!rc)
			return 0;
		if (rc == -EPROTO) {
			vhi_chan_received(&m->back, site);
			give_up(m, site, vhi_master_why(site));
			return 0;
		}
		if (rc < 0) {
			give_up(m, site, rc == -ECONNRESET ? "the back-end closed it" : vh_error_name(rc));
			return 0;
		}
		serve_one(m, site);
		vhi_master_finish_closing(m);
		if (!vhi_chan_open(&m->back))
			return 0;
	}
	return 1;
}
