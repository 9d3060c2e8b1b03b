/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A request out, its reply in. Replies carry no number: the protocol answers in order, so the reply that comes belongs
 * to the oldest ticket, or the connection is broken.
 */
#include "vhi_master.h"

#include <fcntl.h>

/* GET_VRING_BASE waits for the requests in flight. */
#define DRAIN_FACTOR 10u

static const char *name_of(uint32_t request)
{
	return vh_msg_name(VH_MSG_CHANNEL_MAIN, request);
}

static void list_push(struct vhi_ticket_list *l, struct vhi_ticket *t)
{
	t->next = NULL;
	if (l->tail)
		l->tail->next = t;
	else
		l->head = t;
	l->tail = t;
}

static struct vhi_ticket *list_pop(struct vhi_ticket_list *l)
{
	struct vhi_ticket *t = l->head;

	l->head = t->next;
	if (!l->head)
		l->tail = NULL;
	return t;
}

static struct vhi_ticket *list_take(struct vhi_ticket_list *l, uint64_t id)
{
	struct vhi_ticket *before = NULL, *t = l->head;

	while (t && t->id != id) {
		before = t;
		t = t->next;
	}
	if (!t)
		return NULL;
	if (before)
		before->next = t->next;
	else
		l->head = t->next;
	if (l->tail == t)
		l->tail = before;
	return t;
}

void vhi_ticket_free(struct vh_master *m, struct vhi_ticket *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < t->n_fds; i++)
		vhi_fd_close(&t->fds[i]);
	vhi_snapshot_put(t->effect.snap);
	m->n_tickets--;
	m->reply_room -= t->room;
	vhi_free(t);
}

static int ticket_new(struct vh_master *m, const struct vhi_request *rq, const struct vhi_wire_msg *msg, bool own,
		      struct vhi_ticket **out)
{
	uint32_t room = !own ? 8 : msg ? msg->reply_max : VHI_WIRE_MAX_PAYLOAD;
	struct vhi_ticket *t;

	if (m->n_tickets >= VHI_MASTER_MAX_TICKETS || m->reply_room + room > VHI_MASTER_MAX_REPLIES)
		return vhi_fail_at(-ENOBUFS, VH_ERROR_STATE, 0, VH_ERROR_NONE, rq->id,
				   "%s: %u tickets are not finished yet; call vh_master_finish for them",
				   name_of(rq->id), m->n_tickets);
	t = vhi_calloc(1, sizeof(*t) + room);
	if (!t)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "%s: out of memory", name_of(rq->id));
	t->id = m->next_ticket++;
	t->msg = msg;
	t->request = rq->id;
	t->own = own;
	t->waiting = true;
	t->effect = rq->effect;
	if (t->effect.snap)
		vhi_snapshot_get(t->effect.snap);
	t->room = room;
	if (rq->size)
		memcpy(t->asked, rq->payload, VHI_MIN((size_t)rq->size, sizeof(t->asked)));
	m->n_tickets++;
	m->reply_room += room;
	*out = t;
	return 0;
}

/* Into the list of expected replies. A ticket can't be late before the one in front of it is. */
static void ticket_expect(struct vh_master *m, struct vhi_ticket *t)
{
	uint64_t wait = (uint64_t)m->opts.timeout_ms * 1000000u;

	if (t->request == VHI_FE_GET_VRING_BASE)
		wait *= DRAIN_FACTOR;
	t->sent_ns = vhi_now_ns();
	t->deadline_ns = t->sent_ns + wait;
	if (m->expected.tail && m->expected.tail->deadline_ns > t->deadline_ns)
		t->deadline_ns = m->expected.tail->deadline_ns;
	list_push(&m->expected, t);
	m->n_expected++;
}

static uint64_t get_u64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* What a reply says about its request: a failure, or one with the code 0. */
static void describe(const struct vhi_ticket *t, struct vhi_failure *f)
{
	uint64_t status = t->own ? 0 : get_u64(t->payload);
	int64_t err = (int64_t)status;

	f->code = 0;
	if (!status)
		return;
	vhi_failure_set(f, -EREMOTEIO, VH_ERROR_PEER, 0, "the back-end refused %s (status 0x%llx%s%s)",
			name_of(t->request), (unsigned long long)status, err < 0 && err > -4096 ? " " : "",
			err < 0 && err > -4096 ? vh_error_name((int32_t)err) : "");
	f->request = t->request;
}

/* For vh_master_resume(). */
static void note_result(struct vh_master *m, const struct vhi_ticket *t)
{
	if (t->id != m->interrupted)
		return;
	m->result_known = true;
	if (t->code)
		m->result = m->failure;
	else
		describe(t, &m->result);
}

void vhi_tickets_fail(struct vh_master *m, int32_t code)
{
	while (m->expected.head) {
		struct vhi_ticket *t = list_pop(&m->expected);

		t->waiting = false;
		t->code = code;
		note_result(m, t);
		if (t->abandoned)
			vhi_ticket_free(m, t);
		else
			list_push(&m->done, t);
	}
	m->n_expected = 0;
}

/* What the caller wants for a reply against what the message can have. */
static int plan_reply(struct vh_master *m, const struct vhi_request *rq, const struct vhi_wire_msg **msg,
		      enum vhi_wire_answer *answer)
{
	bool acks = m->features.pf_acked & VHI_BIT(VH_PF_REPLY_ACK);
	enum vhi_wire_answer natural = acks ? VHI_ANSWER_STATUS : VHI_ANSWER_NONE;

	if (*msg)
		natural = vhi_wire_answer(*msg, VHI_WIRE_VERSION | VHI_WIRE_NEED_REPLY, &m->features);
	switch (rq->reply) {
	case VH_REPLY_TABLE:
		/* Whether this one can be acknowledged is only known when it has been processed. */
		*answer = !*msg || rq->id == VHI_FE_SET_PROTOCOL_FEATURES ? VHI_ANSWER_NONE : natural;
		return 0;
	case VH_REPLY_OWN:
		*answer = VHI_ANSWER_OWN;
		if (natural != VHI_ANSWER_OWN)
			*msg = NULL; /* more than the table knows: any reply will do */
		return 0;
	default:
		break;
	}
	if (natural == VHI_ANSWER_OWN)
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, rq->id,
				   "%s always has a reply of its own; use VH_REPLY_TABLE", name_of(rq->id));
	if (rq->reply == VH_REPLY_ACK && !acks)
		return vhi_fail_at(-EOPNOTSUPP, VH_ERROR_STATE, 0, VH_ERROR_NONE, rq->id,
				   "%s: a status needs the protocol feature REPLY_ACK, which was not negotiated",
				   name_of(rq->id));
	*answer = rq->reply == VH_REPLY_ACK ? VHI_ANSWER_STATUS : VHI_ANSWER_NONE;
	return 0;
}

static int send_failed(struct vh_master *m, const struct vhi_request *rq, int rc)
{
	if (rc == -ENOBUFS)
		return vhi_fail_at(rc, VH_ERROR_PEER, 0, VH_ERROR_NONE, rq->id,
				   "%s: the back-end does not read; dispatch and try again", name_of(rq->id));
	/* What the back-end said before it closed tells more than the broken pipe. */
	vhi_loop_receive(m);
	vhi_master_fail(m, rc, VH_ERROR_PEER, 0, "sending %s failed: %s", name_of(rq->id), vh_error_name(rc));
	m->reported = true;
	return vhi_failure_raise(&m->failure);
}

/* Of the caller's: found now it costs one call, found by sendmsg it would cost the connection. */
static int check_fds(const struct vhi_request *rq)
{
	for (uint32_t i = 0; i < rq->n_fds; i++)
		if (vhi_sys.fcntl(rq->fds[i], F_GETFD, 0) < 0)
			return vhi_fail_at(-EBADF, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, rq->id,
					   "%s: fd %d is not open; nothing was sent", name_of(rq->id), rq->fds[i]);
	return 0;
}

int vhi_master_send(struct vh_master *m, const struct vhi_request *rq, struct vhi_ticket **ticket)
{
	const struct vhi_wire_msg *msg = vhi_wire_find(VHI_WIRE_FRONT_END, rq->id);
	enum vhi_wire_answer answer = VHI_ANSWER_NONE;
	struct vhi_ticket *t = NULL;
	uint32_t site = 0, flags = VHI_WIRE_VERSION;
	int rc;

	/* Something that nobody asked for may be here already; it must not become the reply to this. */
	if (!m->expected.head) {
		vhi_loop_receive(m);
		if (m->state != VHI_MASTER_CONNECTED) {
			m->reported = true;
			return vhi_failure_raise(&m->failure);
		}
	}
	if (msg)
		site = vhi_wire_check_send(msg, rq->size, rq->n_fds, &m->features);
	if (site)
		return vhi_master_send_refused(m, site, msg);
	rc = check_fds(rq);
	if (!rc)
		rc = plan_reply(m, rq, &msg, &answer);
	if (!rc && answer != VHI_ANSWER_NONE)
		rc = ticket_new(m, rq, msg, answer == VHI_ANSWER_OWN, &t);
	if (rc)
		return rc;
	if (answer == VHI_ANSWER_STATUS)
		flags |= VHI_WIRE_NEED_REPLY;
	rc = vhi_chan_send(&m->main, rq->id, flags, rq->payload, rq->size, rq->fds, rq->n_fds);
	if (rc < 0) {
		vhi_ticket_free(m, t);
		return send_failed(m, rq, rc);
	}
	vhi_loop_sent(m);
	vhi_master_sent(m, rq, t);
	if (t)
		ticket_expect(m, t);
	*ticket = t;
	return 0;
}

/* Beyond id, flags, size and fds, which the table knows: does the reply fit the request? Returns a site or 0. */
static uint32_t check_fields(const struct vh_master *m, const struct vhi_ticket *t, const struct vhi_msg *in)
{
	uint32_t said[2] = {0, 0};
	uint32_t size = in->header.size;
	bool split = !(m->features.acked & VHI_BIT(VH_F_RING_PACKED));

	memcpy(said, in->payload, VHI_MIN((size_t)size, sizeof(said)));
	switch (t->request) {
	case VHI_FE_GET_VRING_BASE:
	case VHI_FE_GET_VRING_BASE_SKIP_DRAIN:
		if (VHI_REFUSE(VHI_SITE_MASTER_BASE_INDEX, said[0] != t->asked[0]))
			return VHI_SITE_MASTER_BASE_INDEX;
		if (VHI_REFUSE(VHI_SITE_MASTER_BASE_RANGE, split && said[1] > 0xffff))
			return VHI_SITE_MASTER_BASE_RANGE;
		return 0;
	case VHI_FE_GET_CONFIG:
		/* No bytes is how a refusal looks: no payload, or (rust-vmm) a header that says 0. */
		if (!said[1])
			return 0;
		if (VHI_REFUSE(VHI_SITE_MASTER_CONFIG_FIELDS, said[0] != t->asked[0] || said[1] != t->asked[1]))
			return VHI_SITE_MASTER_CONFIG_FIELDS;
		return 0;
	case VHI_FE_SET_LOG_BASE:
		/* DPDK 0, libvhost-user 8, rust-vmm 16; the value says nothing. */
		if (VHI_REFUSE(VHI_SITE_MASTER_LOG_SIZE, size != 0 && size != 8 && size != 16))
			return VHI_SITE_MASTER_LOG_SIZE;
		return 0;
	default:
		return 0;
	}
}

static uint32_t check_reply(const struct vh_master *m, const struct vhi_ticket *t, const struct vhi_msg *in)
{
	const struct vhi_wire_header *h = &in->header;
	uint32_t site;

	if (VHI_REFUSE(VHI_SITE_MASTER_REPLY_FLAGS, h->flags & VHI_WIRE_NEED_REPLY))
		return VHI_SITE_MASTER_REPLY_FLAGS;
	if (!t->msg) {
		if (VHI_REFUSE(VHI_SITE_MASTER_RAW_REPLY,
			       h->request != t->request || (!t->own && h->size != sizeof(uint64_t))))
			return VHI_SITE_MASTER_RAW_REPLY;
		return 0;
	}
	site = vhi_wire_check_reply(VHI_WIRE_FRONT_END, t->msg, t->own, h, in->payload, in->n_fds);
	return site || !t->own ? site : check_fields(m, t, in);
}

void vhi_master_reply(struct vh_master *m, uint32_t site)
{
	struct vhi_msg *in = &m->main.in;
	struct vhi_ticket *t = m->expected.head;

	if (VHI_REFUSE(VHI_SITE_MASTER_UNSOLICITED, !t))
		site = VHI_SITE_MASTER_UNSOLICITED;
	else if (t && !site)
		site = check_reply(m, t, in);
	vhi_chan_received(&m->main, site);
	if (site) {
		vhi_master_fail(m, -EPROTO, VH_ERROR_PEER, site, "the back-end sent a bad reply (%s%s): %s",
				t ? "to " : "no request is open", t ? name_of(t->request) : "", vhi_master_why(site));
		return;
	}
	if (!t)
		return;
	list_pop(&m->expected);
	m->n_expected--;
	t->waiting = false;
	t->flags = in->header.flags;
	t->size = in->header.size;
	memcpy(t->payload, in->payload, t->size);
	t->n_fds = in->n_fds;
	memcpy(t->fds, in->fds, in->n_fds * sizeof(in->fds[0]));
	in->n_fds = 0;
	vhi_master_replied(m, t);
	note_result(m, t);
	if (t->abandoned)
		vhi_ticket_free(m, t);
	else
		list_push(&m->done, t);
}

/* How a finished ticket ended. */
static int ticket_result(struct vh_master *m, const struct vhi_ticket *t)
{
	struct vhi_failure f;

	if (t->code) {
		m->reported = true;
		if (m->failure.code == t->code)
			return vhi_failure_raise(&m->failure);
		return vhi_fail_at(t->code, VH_ERROR_STATE, 0, VH_ERROR_NONE, t->request,
				   "%s: its connection ended before the reply came", name_of(t->request));
	}
	describe(t, &f);
	return f.code ? vhi_failure_raise(&f) : 0;
}

/* A signal came before anything was sent: then there is no ticket whose result vh_master_resume() could tell. */
static int unsent(struct vh_master *m, const char *what, int rc)
{
	if (rc == -EINTR) {
		m->interrupted = 0;
		m->result_known = true;
		vhi_failure_set(&m->result, -EAGAIN, VH_ERROR_STATE, 0,
				"%s was not sent yet when the signal came; call it again", what);
	}
	return rc;
}

static int wait_for_interrupted(struct vh_master *m)
{
	const struct vhi_ticket *t = m->expected.head;
	int rc = 0;

	while (t && rc >= 0) {
		if (!t->interrupted) {
			t = t->next;
			continue;
		}
		rc = vhi_loop_check(m);
		if (!rc)
			rc = vhi_loop_turn(m, UINT64_MAX);
		t = m->expected.head;
	}
	return rc < 0 ? rc : 0;
}

int vhi_master_catch_up(struct vh_master *m, const char *who)
{
	int rc = wait_for_interrupted(m);

	if (!rc)
		rc = vhi_loop_check(m);
	return rc ? unsent(m, who, rc) : 0;
}

vh_rc vh_master_resume(struct vh_master *m)
{
	int rc = vhi_master_enter(m, "vh_master_resume", VHI_CALL_WAITS);

	if (rc)
		return rc;
	rc = wait_for_interrupted(m);
	if (rc != -EINTR && m->result_known) {
		m->result_known = false;
		m->reported |= m->result.code == m->failure.code;
		rc = m->result.code ? vhi_failure_raise(&m->result) : 0;
	} else if (!rc && m->state == VHI_MASTER_FAILED && !m->reported) {
		rc = vhi_loop_check(m);
	}
	return vhi_master_leave(m, rc);
}

int vhi_master_call(struct vh_master *m, const struct vhi_request *rq, struct vhi_ticket **ticket)
{
	struct vhi_ticket *t = NULL;
	int rc;

	if (ticket)
		*ticket = NULL;
	for (;;) {
		rc = vhi_loop_check(m);
		if (!rc)
			rc = vhi_master_send(m, rq, &t);
		/* The socket is full: the back-end has its deadline to read. */
		if (rc != -ENOBUFS || !vhi_chan_wants_write(&m->main))
			break;
		rc = vhi_loop_turn(m, UINT64_MAX);
		if (rc < 0)
			return unsent(m, name_of(rq->id), rc);
	}
	if (rc || !t)
		return rc;
	while (t->waiting) {
		rc = vhi_loop_check(m);
		if (!rc)
			rc = vhi_loop_turn(m, UINT64_MAX);
		if (rc < 0 && t->waiting) {
			t->abandoned = t->interrupted = true;
			m->interrupted = t->id;
			m->result_known = false;
			return rc;
		}
	}
	list_take(&m->done, t->id);
	rc = ticket_result(m, t);
	if (rc || !ticket)
		vhi_ticket_free(m, t);
	else
		*ticket = t;
	return rc;
}

vh_rc vh_master_submit(struct vh_master *m, const struct vh_master_msg *msg, const int32_t *fds, uint64_t *ticket)
{
	struct vh_master_msg in;
	struct vhi_request rq;
	struct vhi_ticket *t = NULL;
	int rc = vhi_master_enter(m, "vh_master_submit", VHI_CALL_CONNECTED | VHI_CALL_INSIDE);

	if (rc)
		return rc;
	rc = msg ? vhi_opts_in(&in, sizeof(in), msg, "vh_master_msg")
		 : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_submit: msg is NULL");
	if (rc)
		return vhi_master_leave(m, rc);
	if (in.payload_size > VH_MSG_MAX_PAYLOAD || (in.payload_size && !in.payload) || in.n_fds > VH_MSG_MAX_FDS ||
	    (in.n_fds && !fds) || in.reply > VH_REPLY_OWN || in.reserved)
		return vhi_master_leave(
			m, vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				    "vh_master_submit: %u bytes, %u fds, reply %u; at most %u bytes, "
				    "%u fds, a VH_REPLY_ value, 0 in reserved, and no NULL for what has a size",
				    in.payload_size, in.n_fds, in.reply, VH_MSG_MAX_PAYLOAD, VH_MSG_MAX_FDS));
	rq = (struct vhi_request){.id = in.request,
				  .reply = in.reply,
				  .payload = (const void *)(uintptr_t)in.payload,
				  .size = in.payload_size,
				  .fds = fds,
				  .n_fds = in.n_fds};
	rc = vhi_master_send(m, &rq, &t);
	if (!rc && t && !ticket)
		t->abandoned = true;
	if (!rc && ticket)
		*ticket = t ? t->id : 0;
	return vhi_master_leave(m, rc);
}

static int give_reply(const struct vhi_ticket *t, void *buf, uint32_t cap, int32_t *fds, uint32_t max_fds,
		      struct vh_master_reply *out)
{
	const struct vh_master_reply reply = {.size = sizeof(reply),
					      .request = t->request,
					      .flags = t->flags,
					      .payload_size = t->size,
					      .n_fds = t->n_fds};
	int rc;

	if (t->size > cap || t->n_fds > max_fds)
		return vhi_fail_at(-EMSGSIZE, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, t->request,
				   "vh_master_finish: the reply has %u bytes and %u fds, there is room for %u and %u",
				   t->size, t->n_fds, cap, max_fds);
	rc = vhi_out_fill(out, &reply, sizeof(reply), "vh_master_finish");
	if (rc)
		return rc;
	if (t->size)
		memcpy(buf, t->payload, t->size);
	if (t->n_fds)
		memcpy(fds, t->fds, t->n_fds * sizeof(fds[0]));
	return 0;
}

/* -EINPROGRESS or -ENOENT for a ticket that is not done. */
static int not_done(const struct vh_master *m, uint64_t ticket)
{
	const struct vhi_ticket *t = m->expected.head;

	while (t && (t->id != ticket || t->abandoned))
		t = t->next;
	return t ? vhi_fail(-EINPROGRESS, VH_ERROR_STATE, 0,
			    "vh_master_finish: the reply to %s is not here yet; dispatch", name_of(t->request))
		 : vhi_fail(-ENOENT, VH_ERROR_ARGUMENT, 0,
			    "vh_master_finish: there is no ticket %llu; each is finished once",
			    (unsigned long long)ticket);
}

vh_rc vh_master_finish(struct vh_master *m, uint64_t ticket, void *buf, uint32_t cap, int32_t *fds, uint32_t max_fds,
		       struct vh_master_reply *out)
{
	struct vhi_ticket *t;
	int rc;

	if (m && ((cap && !buf) || (max_fds && !fds) || (!out && (buf || fds))))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_master_finish: room for %u bytes and %u fds, but NULL for one of them or for out",
				cap, max_fds);
	rc = out ? vhi_out_check(out, "vh_master_finish") : 0;
	if (rc)
		return rc;
	rc = vhi_master_enter(m, "vh_master_finish", VHI_CALL_INSIDE);
	if (rc)
		return rc;
	t = list_take(&m->done, ticket);
	if (!t)
		return vhi_master_leave(m, not_done(m, ticket));
	rc = ticket_result(m, t);
	if (!rc && out) {
		rc = give_reply(t, buf, cap, fds, max_fds, out);
		if (rc) {
			list_push(&m->done, t); /* to be asked for again with more room */
			return vhi_master_leave(m, rc);
		}
		t->n_fds = 0;
	}
	vhi_ticket_free(m, t);
	return vhi_master_leave(m, rc);
}
