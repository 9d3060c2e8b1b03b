/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A request out, its reply in (src/sock/tickets.c), and what that is for the connection and for a call that waits. */
#include "vhi_master.h"

/* What waits for requests that the device has, or for all of the state. */
static const uint32_t drains[] = {VHI_FE_GET_VRING_BASE, VHI_FE_GET_VRING_BASE_SKIP_DRAIN, VHI_FE_IOTLB_MSG,
				  VHI_FE_CHECK_DEVICE_STATE};
#define DRAIN_FACTOR 10u

static const char *name_of(uint32_t request)
{
	return vh_msg_name(VH_MSG_CHANNEL_MAIN, request);
}

static void drop(struct vhi_ticket *t)
{
	vhi_snapshot_put(vhi_pending_of(t)->effect.snap);
}

const struct vhi_ticket_kind vhi_master_tickets = {
	.side = VHI_WIRE_FRONT_END,
	.peer = "the back-end",
	.submit = "vh_master_submit",
	.finish = "vh_master_finish",
	.size = sizeof(struct vhi_pending),
	.drop = drop,
	.max = VHI_MASTER_MAX_TICKETS,
	.max_room = VHI_MASTER_MAX_REPLIES,
};

void vhi_ticket_free(struct vh_master *m, struct vhi_ticket *t)
{
	vhi_ticket_release(&m->tickets, t);
}

int vhi_ticket_take_fd(struct vhi_ticket *t)
{
	const int fd = t->n_fds ? t->fds[0] : -1;

	t->n_fds = 0;
	return fd;
}

/* For vh_master_resume(). */
static void note_result(struct vh_master *m, const struct vhi_ticket *t)
{
	struct vhi_failure result;

	if (t->id < m->interrupted_from || t->id > m->interrupted)
		return;
	if (t->code)
		result = m->failure;
	else
		vhi_ticket_describe(&m->tickets, t, &result);
	if (!result.code && t->id != m->interrupted)
		return;
	/* Of several the first that failed, as when nobody interrupts. */
	m->result_known = true;
	m->result = result;
	m->interrupted = 0;
}

void vhi_master_fail_tickets(struct vh_master *m, int32_t code)
{
	for (struct vhi_ticket *t = m->tickets.expected.head; t; t = t->next) {
		t->code = code;
		note_result(m, t);
	}
	vhi_tickets_fail(&m->tickets, code);
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

/* How long the reply may take. */
static uint64_t patience(const struct vh_master *m, uint32_t request)
{
	const uint64_t wait = (uint64_t)m->opts.timeout_ms * 1000000u;

	for (size_t i = 0; i < VHI_ARRAY_SIZE(drains); i++)
		if (drains[i] == request)
			return wait * DRAIN_FACTOR;
	return wait;
}

int vhi_master_send(struct vh_master *m, const struct vhi_request *rq, struct vhi_ticket **ticket)
{
	const struct vhi_wire_msg *msg = vhi_wire_find(VHI_WIRE_FRONT_END, rq->id);
	const struct vhi_ask ask = {rq->id, rq->reply, rq->payload, rq->size, rq->fds, rq->n_fds};
	struct vhi_ticket *t = NULL;
	uint32_t site = 0, flags;
	int rc;

	/* Something that nobody asked for may be here already; it must not become the reply to this. */
	if (!m->tickets.expected.head) {
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
	rc = vhi_ticket_begin(&m->tickets, &ask, &m->features, &flags, &t);
	if (rc)
		return rc;
	rc = vhi_chan_send(&m->main, rq->id, flags, rq->payload, rq->size, rq->fds, rq->n_fds);
	if (rc < 0) {
		vhi_ticket_free(m, t);
		return send_failed(m, rq, rc);
	}
	if (t)
		vhi_pending_of(t)->effect = rq->effect;
	if (t && rq->effect.snap)
		vhi_snapshot_get(rq->effect.snap);
	vhi_loop_sent(m);
	vhi_master_sent(m, rq, t);
	if (t)
		vhi_ticket_sent(&m->tickets, t, patience(m, rq->id));
	*ticket = t;
	return 0;
}

static bool sizes_bad(const struct vhi_msg *in)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct vhi_wire_shmem_config config;
	uint64_t bits = 0;

	memcpy(&config, in->payload, sizeof(config));
	for (uint32_t i = 0; i < VH_SHMEM_MAX; i++)
		bits |= config.sizes[i];
	return bits % page;
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
	case VHI_FE_GET_SHMEM_CONFIG:
		if (VHI_REFUSE(VHI_SITE_MASTER_SHMEM_SIZES, sizes_bad(in)))
			return VHI_SITE_MASTER_SHMEM_SIZES;
		return 0;
	default:
		return 0;
	}
}

void vhi_master_reply(struct vh_master *m, uint32_t site)
{
	struct vhi_msg *in = &m->main.in;
	struct vhi_ticket *t = m->tickets.expected.head;

	if (!site || !t)
		site = vhi_ticket_check(&m->tickets, in);
	if (!site && t && t->own)
		site = t->msg ? check_fields(m, t, in) : vhi_postcopy_check(&vhi_pending_of(t)->effect, in);
	vhi_chan_received(&m->main, site);
	if (site) {
		vhi_master_fail(m, -EPROTO, VH_ERROR_PEER, site, "the back-end sent a bad reply (%s%s): %s",
				t ? "to " : "no request is open", t ? name_of(t->request) : "", vhi_master_why(site));
		return;
	}
	t = vhi_ticket_take_reply(&m->tickets, in);
	if (!t)
		return;
	vhi_master_replied(m, t);
	note_result(m, t);
	vhi_ticket_done(&m->tickets, t);
}

/* How a finished ticket ended. */
int vhi_master_ticket_result(struct vh_master *m, const struct vhi_ticket *t)
{
	struct vhi_failure f;

	if (t->code) {
		m->reported = true;
		if (m->failure.code == t->code)
			return vhi_failure_raise(&m->failure);
		return vhi_fail_at(t->code, VH_ERROR_STATE, 0, VH_ERROR_NONE, t->request,
				   "%s: its connection ended before the reply came", name_of(t->request));
	}
	vhi_ticket_describe(&m->tickets, t, &f);
	return f.code ? vhi_failure_raise(&f) : 0;
}

/* A signal came before anything was sent: then there is no ticket whose result vh_master_resume() could tell. */
int vhi_master_unsent(struct vh_master *m, const char *what, int rc)
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
	const struct vhi_ticket *t = m->tickets.expected.head;
	int rc = 0;

	while (t && rc >= 0) {
		if (!vhi_pending_of(t)->interrupted) {
			t = t->next;
			continue;
		}
		rc = vhi_loop_check(m);
		if (!rc)
			rc = vhi_loop_turn(m, UINT64_MAX);
		t = m->tickets.expected.head;
	}
	return rc < 0 ? rc : 0;
}

int vhi_master_catch_up(struct vh_master *m, const char *who)
{
	int rc = wait_for_interrupted(m);

	if (!rc)
		rc = vhi_loop_check(m);
	return rc ? vhi_master_unsent(m, who, rc) : 0;
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

/* The socket is full: the back-end has its deadline to read. */
static int send_waiting(struct vh_master *m, const struct vhi_request *rq, struct vhi_ticket **t)
{
	int rc;

	for (;;) {
		rc = vhi_loop_check(m);
		if (!rc)
			rc = vhi_master_send(m, rq, t);
		if (rc != -ENOBUFS || !vhi_chan_wants_write(&m->main))
			return rc;
		rc = vhi_loop_turn(m, UINT64_MAX);
		if (rc < 0)
			return vhi_master_unsent(m, name_of(rq->id), rc);
	}
}

/* Nobody wants to know of it any more. */
static void let_go(struct vh_master *m, struct vhi_ticket *t)
{
	if (t->waiting) {
		t->abandoned = true;
		return;
	}
	vhi_ticket_take(&m->tickets, t->id, &t);
	vhi_ticket_free(m, t);
}

/* What the first of these waits for ends without it. Those behind it are not answered either: replies have an order. */
static void interrupt(struct vh_master *m, struct vhi_ticket *const *tickets, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		tickets[i]->abandoned = vhi_pending_of(tickets[i])->interrupted = true;
	m->interrupted_from = tickets[0]->id;
	m->interrupted = tickets[n - 1]->id;
	m->result_known = false;
}

static int wait_for(struct vh_master *m, const struct vhi_ticket *t)
{
	int rc = 0;

	while (t->waiting && rc >= 0) {
		rc = vhi_loop_check(m);
		if (!rc)
			rc = vhi_loop_turn(m, UINT64_MAX);
	}
	return t->waiting ? rc : 0;
}

/*
 * All that was sent and not waited for, in its order; the first failure counts, and @rc if it is one. @last (nullable) is
 * the ticket of the last, which is taken out.
 */
static int collect(struct vh_master *m, int rc, struct vhi_ticket **last)
{
	struct vhi_ticket *tickets[VHI_MASTER_MAX_LATER];
	const uint32_t n = m->n_later;
	uint32_t i = 0;

	memcpy(tickets, m->later, sizeof(tickets));
	m->n_later = 0;
	for (; i < n && !rc; i++) {
		struct vhi_ticket *t = tickets[i];

		rc = wait_for(m, t);
		if (rc) {
			interrupt(m, tickets + i, n - i);
			return rc;
		}
		vhi_ticket_take(&m->tickets, t->id, &t);
		rc = vhi_master_ticket_result(m, t);
		if (!rc && last && i + 1 == n)
			*last = t;
		else
			vhi_ticket_free(m, t);
	}
	for (; i < n; i++)
		let_go(m, tickets[i]);
	return rc;
}

int vhi_master_call(struct vh_master *m, const struct vhi_request *rq, struct vhi_ticket **ticket)
{
	struct vhi_ticket *t = NULL;
	int rc;

	if (ticket)
		*ticket = NULL;
	if (vhi_journal_on(m))
		return vhi_journal_call(m, rq, ticket);
	rc = send_waiting(m, rq, &t);
	if (!rc && t)
		m->later[m->n_later++] = t;
	return !rc && rq->later ? 0 : collect(m, rc, t ? ticket : NULL);
}

int vhi_master_call_u64(struct vh_master *m, const struct vhi_request *rq, uint64_t *value)
{
	struct vhi_ticket *t;
	int rc = vhi_master_call(m, rq, &t);

	if (rc)
		return rc;
	memcpy(value, t->payload, sizeof(*value));
	vhi_ticket_free(m, t);
	return 0;
}

vh_rc vh_master_submit(struct vh_master *m, const struct vh_msg *msg, const int32_t *fds, uint64_t *ticket)
{
	struct vhi_ask ask;
	struct vhi_request rq;
	struct vhi_ticket *t = NULL;
	int rc = vhi_master_enter(m, "vh_master_submit", VHI_CALL_CONNECTED | VHI_CALL_INSIDE);

	if (rc)
		return rc;
	rc = vhi_ask_in(&ask, msg, fds, "vh_master_submit");
	if (rc)
		return vhi_master_leave(m, rc);
	rq = (struct vhi_request){.id = ask.id,
				  .reply = ask.reply,
				  .payload = ask.payload,
				  .size = ask.size,
				  .fds = ask.fds,
				  .n_fds = ask.n_fds};
	rc = vhi_master_send(m, &rq, &t);
	if (!rc && t && !ticket)
		t->abandoned = true;
	if (!rc && ticket)
		*ticket = t ? t->id : 0;
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_finish(struct vh_master *m, uint64_t ticket, void *buf, uint32_t cap, int32_t *fds, uint32_t max_fds,
		       struct vh_msg_reply *out)
{
	struct vhi_ticket *t;
	int rc = m ? vhi_finish_check(buf, cap, fds, max_fds, out, "vh_master_finish") : 0;

	if (!rc)
		rc = vhi_master_enter(m, "vh_master_finish", VHI_CALL_INSIDE);
	if (rc)
		return rc;
	rc = vhi_ticket_take(&m->tickets, ticket, &t);
	if (rc)
		return vhi_master_leave(m, rc);
	rc = vhi_master_ticket_result(m, t);
	if (!rc && out)
		return vhi_master_leave(m, vhi_ticket_give(&m->tickets, t, buf, cap, fds, max_fds, out));
	vhi_ticket_free(m, t);
	return vhi_master_leave(m, rc);
}
