/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Messages by hand: requests that the user's callback answers, and requests that the user makes. */
#include "vhi_handlers.h"

static enum vhi_outcome answered_step(struct vh_slave *s, struct vhi_job *job)
{
	(void)s;
	if (!job->answered)
		return VHI_PENDING;
	if (VHI_REFUSE(VHI_SITE_SLAVE_BY_HAND, job->rc)) {
		job->site = VHI_SITE_SLAVE_BY_HAND;
		return VHI_REFUSED;
	}
	return VHI_DONE;
}

enum vhi_outcome vhi_handle_by_hand(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	/* What has no answer by the table gets none. A message that it does not know may have one of its own. */
	bool wanted = !job->msg || job->answer != VHI_ANSWER_NONE;
	const struct vh_msg_request req = {.size = sizeof(req),
					   .request = m->header.request,
					   .payload_size = m->header.size,
					   .n_fds = m->n_fds,
					   .payload = (uint64_t)(uintptr_t)m->payload,
					   .fds = (uint64_t)(uintptr_t)m->fds,
					   .token = wanted ? ++s->last_token : 0};
	int32_t rc;

	if (VHI_REFUSE(VHI_SITE_SLAVE_NO_HANDLER, !s->ops.request)) {
		job->site = VHI_SITE_SLAVE_NO_HANDLER;
		return VHI_REFUSED;
	}
	job->token = req.token;
	s->asking = job;
	rc = s->ops.request(s->ctx, &req);
	s->asking = NULL;
	if (!job->answered && (rc != -EINPROGRESS || !wanted)) {
		/* A reply of its own is more than a callback's result. */
		job->rc = rc == -EINPROGRESS ? 0 : !rc && job->answer == VHI_ANSWER_OWN ? -EOPNOTSUPP : rc;
		job->answered = true;
	}
	return vhi_job_start(s, job, answered_step);
}

static struct vhi_job *find_asked(struct vh_slave *s, uint64_t token)
{
	struct vhi_job *job = s->conn.jobs;

	if (s->asking && s->asking->token == token && !s->asking->answered)
		return s->asking;
	while (job && (job->token != token || job->answered))
		job = job->next;
	return job;
}

static int bad_answer(const struct vhi_job *job, const char *why)
{
	return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, job->header.request, "vh_slave_answer: %s: %s",
			   vh_msg_name(VH_MSG_CHANNEL_MAIN, job->header.request), why);
}

/* A reply of the message's own, as the table wants it; whatever it is for one that the table does not know. */
static int own_reply(struct vhi_job *job, const void *payload, uint32_t size, const vh_fd *fds, uint32_t n_fds)
{
	const struct vhi_wire_header h = {
		.request = job->header.request, .flags = VHI_WIRE_VERSION | VHI_WIRE_REPLY, .size = size};

	if (size > sizeof(job->reply) || n_fds > 1 ||
	    (job->msg && vhi_wire_check_reply(VHI_WIRE_FRONT_END, job->msg, true, &h, payload, n_fds)))
		return bad_answer(job, "its reply has another size or other fds, see the protocol");
	if (n_fds)
		job->reply_fd = vhi_fd_dup(fds[0]);
	if (n_fds && job->reply_fd < 0) {
		int rc = job->reply_fd;

		job->reply_fd = -1;
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_slave_answer: fd %d can't be duplicated: %s", fds[0],
				vh_error_name(rc));
	}
	if (size)
		memcpy(job->reply, payload, size);
	job->reply_size = size;
	job->answer = VHI_ANSWER_OWN;
	return 0;
}

static int give_answer(struct vh_slave *s, uint64_t token, vh_rc result, const void *payload, uint32_t size,
		       const vh_fd *fds, uint32_t n_fds)
{
	struct vhi_job *job = token ? find_asked(s, token) : NULL;
	bool own = job && !result && (job->msg ? job->answer == VHI_ANSWER_OWN : size || n_fds);
	int rc = 0;

	if ((size && !payload) || (n_fds && !fds))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_slave_answer: %u bytes and %u fds, but NULL for one of them", size, n_fds);
	if (!job)
		return vhi_fail(-ESTALE, VH_ERROR_STATE, 0, "vh_slave_answer: nobody waits for token %llu (any more)",
				(unsigned long long)token);
	if (result > 0 || result == -EINPROGRESS)
		return bad_answer(job, "rc is 0 or a negative errno value other than -EINPROGRESS");
	if (!own && (size || n_fds))
		return bad_answer(job, "a status has no payload and no fds");
	if (own)
		rc = own_reply(job, payload, size, fds, n_fds);
	if (rc)
		return rc;
	job->rc = result;
	job->answered = true;
	if (job != s->asking)
		vhi_slave_wake(s);
	return 0;
}

vh_rc vh_slave_answer(struct vh_slave *s, uint64_t token, vh_rc rc, const void *payload, uint32_t payload_size,
		      const vh_fd *fds, uint32_t n_fds)
{
	vh_rc err = vhi_slave_enter(s, "vh_slave_answer");

	return err ? err : vhi_slave_leave(s, give_answer(s, token, rc, payload, payload_size, fds, n_fds));
}

vh_rc vh_slave_submit(struct vh_slave *s, const struct vh_msg *msg, const vh_fd *fds, uint64_t *ticket)
{
	struct vhi_ask ask = {0};
	int rc = s ? vhi_ask_in(&ask, msg, fds, "vh_slave_submit") : 0;

	return rc ? rc : vhi_back_request(s, "vh_slave_submit", &ask, ticket);
}

static vh_rc finish(struct vh_slave *s, uint64_t id, void *buf, uint32_t cap, vh_fd *fds, uint32_t max_fds,
		    struct vh_msg_reply *out)
{
	struct vhi_failure f = {0};
	struct vhi_ticket *t;
	int rc = vhi_ticket_take(&s->tickets, id, &t);

	if (rc)
		return rc;
	if (t->code)
		rc = vhi_fail_at(t->code, VH_ERROR_PEER, 0, VH_ERROR_NONE, t->request,
				 "%s: the channel ended before the reply came: %s",
				 vh_msg_name(VH_MSG_CHANNEL_BACKEND, t->request), vh_error_name(t->code));
	else
		vhi_ticket_describe(&s->tickets, t, &f);
	if (f.code)
		rc = vhi_failure_raise(&f);
	if (!rc && out)
		return vhi_ticket_give(&s->tickets, t, buf, cap, fds, max_fds, out);
	vhi_ticket_release(&s->tickets, t);
	return rc;
}

vh_rc vh_slave_finish(struct vh_slave *s, uint64_t ticket, void *buf, uint32_t cap, vh_fd *fds, uint32_t max_fds,
		      struct vh_msg_reply *out)
{
	int rc = s ? vhi_finish_check(buf, cap, fds, max_fds, out, "vh_slave_finish") : 0;

	if (!rc)
		rc = vhi_slave_enter(s, "vh_slave_finish");
	return rc ? rc : vhi_slave_leave(s, finish(s, ticket, buf, cap, fds, max_fds, out));
}
