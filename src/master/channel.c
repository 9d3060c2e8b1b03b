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
		vhi_chan_init(&m->back, transport, VHI_WIRE_BACK_END, VHI_WIRE_FRONT_END, &m->trace,
			      (uint64_t)m->opts.timeout_ms * 1000000u);
		m->back.dialect = m->opts.dialect;
		m->interest[VHI_SRC_BACK] = EPOLLIN;
		rc = vhi_loop_add(m, VHI_SRC_BACK, vhi_chan_fd(&m->back));
		if (rc)
			vhi_chan_close(&m->back);
	}
	if (rc)
		vhi_fd_close(peer);
	return rc;
}

/* @reason and @site as in the event. */
static void give_up(struct vh_master *m, int32_t reason, uint32_t site)
{
	const char *why = site ? vhi_master_why(site) : reason ? vh_error_name(reason) : "the back-end closed it";

	vhi_log_line(&m->log, VH_LOG_WARNING, "the back-end's request channel is closed: %s", why);
	vhi_master_close_back(m);
	vhi_master_event(m, VH_EVENT_CHANNEL_ENDED, reason, site);
}

void vhi_master_send_answers(struct vh_master *m)
{
	uint32_t site;
	int rc = vhi_answers_send(m, &site);

	m->rejected += site != 0;
	if (rc)
		give_up(m, rc == -ECONNRESET || rc == -EPIPE ? 0 : rc, site);
}

/* An IOTLB message, and there is somebody who knows what to say to it. */
static bool is_iova(const struct vh_master *m, const struct vhi_msg *in)
{
	return in->header.request == VHI_BE_IOTLB_MSG && vhi_master_knows_iova(m);
}

/* The user's answer, -EINPROGRESS = later. */
static int32_t ask_user(struct vh_master *m, const struct vhi_msg *in, uint64_t token)
{
	const struct vh_msg_request req = {.size = sizeof(req),
					   .request = in->header.request,
					   .payload_size = in->header.size,
					   .n_fds = in->n_fds,
					   .payload = (uint64_t)(uintptr_t)in->payload,
					   .fds = (uint64_t)(uintptr_t)in->fds,
					   .token = token};

	return m->ops.backend_request(m->ctx, &req);
}

/* Is there anybody who can answer it? */
static uint32_t check_handler(struct vh_master *m, const struct vhi_msg *in)
{
	bool here = in->header.request == VHI_BE_CONFIG_CHANGE_MSG || vhi_typed_has(m, in->header.request);

	if (VHI_REFUSE(VHI_SITE_MASTER_NO_HANDLER, !here && !m->ops.backend_request))
		return VHI_SITE_MASTER_NO_HANDLER;
	return vhi_typed_check(m, in);
}

/* A request that passed every check. Its answer, or -EINPROGRESS when it is owed or was given meanwhile. */
static int32_t handle(struct vh_master *m, const struct vhi_msg *in, struct vhi_answer *owed)
{
	uint64_t token = owed ? owed->token : 0;
	int32_t rc;

	if (is_iova(m, in))
		return vhi_master_iotlb(m, in);
	if (in->header.request == VHI_BE_CONFIG_CHANGE_MSG) {
		vhi_master_event(m, VH_EVENT_CONFIG_CHANGED, 0, 0);
		return 0;
	}
	m->serving = m->gate.depth;
	rc = vhi_typed_has(m, in->header.request) ? vhi_typed_call(m, in, owed) : ask_user(m, in, token);
	m->serving = 0;
	if (!token)
		return rc == -EINPROGRESS ? 0 : rc;
	if (!vhi_answer_find(m, token))
		return -EINPROGRESS;
	/* A reply of its own is more than a callback's result. */
	return !rc && owed->form == VHI_ANSWER_OWN ? -EOPNOTSUPP : rc;
}

static void serve_one(struct vh_master *m, uint32_t bad)
{
	struct vhi_msg *in = &m->back.in;
	uint32_t id = in->header.request;
	const struct vhi_wire_msg *msg = vhi_wire_find(VHI_WIRE_BACK_END, id);
	/* Its own offer does not entitle the back-end to anything: what was acked does. */
	struct vhi_wire_features f = m->features;
	struct vhi_answer *owed = NULL;
	enum vhi_wire_answer form;
	uint32_t site;
	int32_t rc;

	f.offered = f.acked;
	form = vhi_wire_answer(msg, in->header.flags, &f);
	/* Of a message that the table does not know there is nothing to check. */
	if (!bad && (msg || !m->ops.backend_request))
		bad = vhi_wire_check_request(VHI_WIRE_BACK_END, &in->header, in->payload, in->n_fds, &f);
	site = bad || is_iova(m, in) ? bad : check_handler(m, in);
	/* One that the table does not know may have a reply of its own, which only its user knows. */
	if (form != VHI_ANSWER_NONE || (!msg && !site)) {
		owed = vhi_answer_open(m, msg, id, form);
		if (!owed)
			site = VHI_SITE_MASTER_UNANSWERED;
	}
	m->backend_requests++;
	vhi_chan_received(&m->back, site);
	if (site == VHI_SITE_MASTER_UNANSWERED) {
		m->rejected++;
		give_up(m, -EPROTO, site);
		return;
	}
	if (site) {
		m->rejected++;
		vhi_log_line(&m->log, VH_LOG_WARNING, "the back-end's request %s (%u) is refused: %s",
			     vh_msg_name(VH_MSG_CHANNEL_BACKEND, id), id, vhi_master_why(site));
	}
	rc = site ? -EPERM : handle(m, in, owed);
	if (rc != -EINPROGRESS && id != VHI_BE_CONFIG_CHANGE_MSG)
		vhi_master_event(m, VH_EVENT_BACKEND_REQUEST, rc ? 1 : 0, id);
	vhi_msg_close_fds(in);
	if (m->state != VHI_MASTER_CONNECTED)
		return;
	if (owed && rc != -EINPROGRESS)
		vhi_answer_status(m, owed, rc);
	vhi_master_send_answers(m);
	if (!owed && bad && msg)
		give_up(m, -EPROTO, bad); /* nothing can be said to a peer that does not know its messages */
}

int vhi_master_serve(struct vh_master *m)
{
	for (int i = 0; i < TURN_MESSAGES; i++) {
		bool clean = false;
		uint32_t site = 0;
		int rc = vhi_chan_recv(&m->back, &clean, &site);

		if (!rc)
			return 0;
		if (rc == -EPROTO)
			vhi_chan_received(&m->back, site);
		if (rc < 0) {
			m->rejected += site != 0;
			give_up(m, clean ? 0 : rc, site);
			return 0;
		}
		serve_one(m, site);
		vhi_master_finish_closing(m);
		if (!vhi_chan_open(&m->back))
			return 0;
	}
	return 1;
}
