/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The connection, message by message. A request whose answer has to wait becomes a job in a queue; answers leave in the
 * order of their requests. Meanwhile messages that can't interfere are handled, and the first other one is held, with
 * everything behind it left in the socket.
 */
#include "vhi_probe.h"
#include "vhi_slave.h"

#define MESSAGES_PER_ROUND 64u
#define MAX_JOBS	   32u
/* Above this many bytes that the peer does not read, we don't read either. The answers of all jobs still fit. */
#define OUT_HIGH 49152u

bool vhi_slave_acked(const struct vh_slave *s, unsigned pf_bit)
{
	return s->conn.f.pf_acked & VHI_BIT(pf_bit);
}

void vhi_conn_fail(struct vh_slave *s, int32_t reason)
{
	struct vhi_conn *c = &s->conn;

	if (!c->open || c->ending)
		return;
	c->ending = true;
	c->end_reason = reason;
}

/* After a send: the peer's end of the connection is gone. That is no failure, unless it left a message unfinished. */
static int32_t reason_of(const struct vhi_conn *c, int rc)
{
	if (rc != -ECONNRESET && rc != -EPIPE)
		return rc;
	return vhi_chan_inside(&c->main) ? -ECONNRESET : 0;
}

static void send_answer(struct vh_slave *s, struct vhi_job *job)
{
	int rc = 0;

	if (job->answer != VHI_ANSWER_NONE && !s->conn.ending)
		rc = vhi_chan_send(&s->conn.main, job->header.request, VHI_WIRE_VERSION | VHI_WIRE_REPLY, job->reply,
				   job->reply_size, &job->reply_fd, job->reply_fd >= 0);
	vhi_fd_close(&job->reply_fd);
	s->answered |= job->answer != VHI_ANSWER_NONE;
	if (rc)
		vhi_conn_fail(s, reason_of(&s->conn, rc));
}

/* The forms of a refusal. Where the request is echoed its first bytes are in the reply already. */
static void refuse(struct vh_slave *s, struct vhi_job *job)
{
	static const struct {
		bool close;
		uint32_t size;
		uint32_t at; /* of the value */
		uint64_t value;
	} forms[] = {
		[VHI_REFUSAL_STATUS] = {.size = sizeof(uint64_t), .value = 1},
		[VHI_REFUSAL_CLOSE] = {.close = true},
		[VHI_REFUSAL_EMPTY] = {.size = 0},
		[VHI_REFUSAL_MMAP_0] = {.size = sizeof(struct vhi_wire_inflight)},
		[VHI_REFUSAL_U64_101] = {.size = sizeof(uint64_t), .value = 0x101},
		[VHI_REFUSAL_U64_1] = {.size = sizeof(uint64_t), .value = 1},
		[VHI_REFUSAL_NO_FD] = {.size = 0},
		[VHI_REFUSAL_NO_SESSION] = {.size = VHI_WIRE_CRYPTO_SIZE,
					    .at = VHI_WIRE_CRYPTO_ID,
					    .value = UINT64_MAX},
	};
	const char *text = vhi_slave_any_site_text(job->site);

	VHI_PROBE2(message_refused, job->header.request, job->site);
	s->stats.rejected++;
	vhi_log_line(&s->log, VH_LOG_WARNING, "refused %s (%u): %s (check %u)", job->msg ? job->msg->name : "a message",
		     job->header.request, text ? text : "no resources", job->site);
	memcpy(job->reply + forms[job->refusal].at, &forms[job->refusal].value, sizeof(uint64_t));
	job->reply_size = forms[job->refusal].size;
	if (forms[job->refusal].close)
		vhi_conn_fail(s, -EPROTO);
}

static void conclude(struct vh_slave *s, struct vhi_job *job, enum vhi_outcome outcome)
{
	uint64_t ok = 0;

	job->ready = true;
	if (outcome == VHI_REFUSED) {
		refuse(s, job);
	} else if (job->answer == VHI_ANSWER_STATUS) {
		memcpy(job->reply, &ok, sizeof(ok));
		job->reply_size = sizeof(ok);
	}
}

static void job_drop(struct vhi_job *job)
{
	vhi_snapshot_put(job->snap);
	vhi_fd_close(&job->reply_fd);
	vhi_free(job);
}

static void job_append(struct vh_slave *s, struct vhi_job *job)
{
	struct vhi_conn *c = &s->conn;
	struct vhi_job *kept = vhi_calloc(1, sizeof(*kept));

	if (!kept) {
		vhi_snapshot_put(job->snap);
		vhi_fd_close(&job->reply_fd);
		vhi_conn_fail(s, -ENOMEM);
		return;
	}
	*kept = *job;
	kept->next = NULL;
	*c->jobs_tail = kept;
	c->jobs_tail = &kept->next;
	c->n_jobs++;
}

static void job_begin(struct vh_slave *s, struct vhi_job *job)
{
	const struct vhi_conn *c = &s->conn;
	const struct vhi_msg *m = &c->main.in;

	memset(job, 0, offsetof(struct vhi_job, reply));
	job->header = m->header;
	job->msg = vhi_wire_find(VHI_WIRE_FRONT_END, m->header.request);
	job->answer = vhi_wire_answer(job->msg, m->header.flags, &c->f);
	job->refusal = vhi_wire_refusal(job->msg, m->header.flags, &c->f);
	job->queue = VH_ERROR_NONE;
	job->reply_fd = -1;
	job->since_ns = vhi_now_ns();
	job->deadline_ns = job->since_ns + s->opts.drain_timeout_ms * UINT64_C(1000000);
	if (job->refusal == VHI_REFUSAL_MMAP_0 || job->refusal == VHI_REFUSAL_NO_SESSION) {
		memset(job->reply, 0, sizeof(job->reply));
		memcpy(job->reply, m->payload, VHI_MIN(m->header.size, sizeof(job->reply)));
	}
}

static enum vhi_outcome do_nothing(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	(void)s;
	(void)m;
	(void)job;
	return VHI_DONE;
}

/* The message in main.in. @site: what the channel had against it. */
static void handle(struct vh_slave *s, uint32_t site)
{
	struct vhi_conn *c = &s->conn;
	struct vhi_msg *m = &c->main.in;
	const struct vhi_handler *h = vhi_handler_find(m->header.request);
	enum vhi_outcome outcome;
	static const struct vhi_handler nothing = {do_nothing, false};
	struct vhi_job job;
	bool by_hand;

	c->held = c->jobs && !(h && h->safe && c->n_jobs < MAX_JOBS);
	c->held_site = site;
	if (c->held)
		return;
	job_begin(s, &job);
	job.site = site;
	if (!site && vhi_postcopy_is_ack(s, m)) {
		vhi_postcopy_ack(s);
		h = &nothing;
	}
	/* Of a message that the table does not know there is nothing to check. */
	by_hand = !h && (job.msg || s->ops.request);
	if (!job.site && h != &nothing && (job.msg || !by_hand))
		job.site = vhi_wire_check_request(VHI_WIRE_FRONT_END, &m->header, m->payload, m->n_fds, &c->f);
	outcome = job.site ? VHI_REFUSED : by_hand ? vhi_handle_by_hand(s, m, &job) : h->run(s, m, &job);
	vhi_chan_received(&c->main, job.site);
	vhi_msg_close_fds(m);
	if (outcome != VHI_PENDING)
		conclude(s, &job, outcome);
	if (outcome == VHI_PENDING || (c->jobs && job.answer != VHI_ANSWER_NONE && !c->ending))
		job_append(s, &job);
	else
		send_answer(s, &job);
}

static bool can_read(const struct vhi_conn *c)
{
	if (c->paused && !c->held && !vhi_chan_inside(&c->main))
		return false;
	return c->open && !c->ending && !c->half_closed && c->main.out_bytes < OUT_HIGH;
}

static void receive_failed(struct vh_slave *s, int rc, bool clean, uint32_t site)
{
	const char *text = vhi_slave_any_site_text(site);

	if (site) {
		s->stats.rejected++;
		vhi_chan_received(&s->conn.main, site);
		vhi_log_line(&s->log, VH_LOG_WARNING, "the connection can't go on: %s (check %u)", text ? text : "",
			     site);
	}
	/* A front-end may shut its direction down and still read what it asked for. */
	if (clean)
		s->conn.half_closed = true;
	else
		vhi_conn_fail(s, rc);
}

void vhi_conn_complete(struct vh_slave *s)
{
	const struct vhi_conn *c = &s->conn;

	if (c->half_closed && !c->jobs && !vhi_chan_wants_write(&c->main))
		vhi_conn_fail(s, 0);
}

bool vhi_conn_receive(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;

	for (uint32_t i = 0; i < MESSAGES_PER_ROUND; i++) {
		const uint64_t answers = c->main.messages_out;
		uint32_t site = c->held_site;
		bool clean;
		int rc;

		if (!can_read(c))
			return false;
		if (!c->held) {
			rc = vhi_chan_recv(&c->main, &clean, &site);
			if (rc < 0)
				receive_failed(s, rc, clean, site);
			if (rc <= 0)
				return false;
		}
		handle(s, site);
		/* Who gets an answer reads it first, so a look for more would be in vain; if not, epoll tells. */
		if (c->held || vhi_slave_ended(s) || c->main.messages_out != answers)
			return false;
	}
	return true;
}

bool vhi_conn_step(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;
	bool answered = false;

	for (struct vhi_job *job = c->jobs; job && !c->ending; job = job->next) {
		enum vhi_outcome outcome = job->ready ? VHI_PENDING : job->step(s, job);

		if (outcome != VHI_PENDING)
			conclude(s, job, outcome);
	}
	while (c->jobs && c->jobs->ready && !c->ending) {
		struct vhi_job *job = c->jobs;

		send_answer(s, job);
		c->jobs = job->next;
		if (!c->jobs)
			c->jobs_tail = &c->jobs;
		c->n_jobs--;
		job_drop(job);
		answered = true;
	}
	return answered;
}

void vhi_conn_flush(struct vh_slave *s)
{
	int rc = vhi_chan_wants_write(&s->conn.main) ? vhi_chan_flush(&s->conn.main) : 0;

	if (rc < 0)
		vhi_conn_fail(s, reason_of(&s->conn, rc));
}

void vhi_conn_update(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;
	uint32_t want;

	if (!c->open)
		return;
	want = (can_read(c) && !c->held ? EPOLLIN : 0u) | (vhi_chan_wants_write(&c->main) ? EPOLLOUT : 0u);
	if (want == c->main_interest)
		return;
	c->main_interest = want;
	vhi_slave_watch(s, EPOLL_CTL_MOD, vhi_chan_fd(&c->main), VHI_SOURCE_MAIN, 0, want);
}

/* Nobody reads any more and nothing is being read: no answer can arrive. */
void vhi_conn_hung_up(struct vh_slave *s)
{
	if (s->conn.held || !can_read(&s->conn))
		vhi_conn_fail(s, reason_of(&s->conn, -EPIPE));
}

uint64_t vhi_conn_deadline(struct vh_slave *s)
{
	const struct vhi_conn *c = &s->conn;
	uint64_t at = UINT64_MAX;

	if (!c->open)
		return at;
	if (c->jobs)
		at = c->jobs->deadline_ns;
	if (c->main.in_deadline_ns && can_read(c))
		at = VHI_MIN(at, c->main.in_deadline_ns);
	if (c->back && c->back->in_deadline_ns)
		at = VHI_MIN(at, c->back->in_deadline_ns);
	if (c->ack_deadline_ns)
		at = VHI_MIN(at, c->ack_deadline_ns);
	return VHI_MIN(at, vhi_state_deadline(s));
}

/* After a step found it unanswered still. */
void vhi_conn_expire(struct vh_slave *s, uint64_t now)
{
	const struct vhi_job *job = s->conn.jobs;

	if (!job || now < job->deadline_ns)
		return;
	vhi_log_line(&s->log, VH_LOG_WARNING, "%s is unanswered after %u ms; complete the requests in flight",
		     job->msg ? job->msg->name : "a message", s->opts.drain_timeout_ms);
	vhi_conn_fail(s, -ETIMEDOUT);
}

int vhi_conn_begin(struct vh_slave *s, int fd)
{
	struct vhi_conn *c = &s->conn;
	struct vhi_transport transport;
	int rc = vhi_sock_transport(fd, &transport);

	if (rc)
		return rc;
	vhi_chan_init(&c->main, transport, VHI_WIRE_FRONT_END, VHI_WIRE_BACK_END, &s->trace,
		      s->opts.message_timeout_ms * UINT64_C(1000000));
	c->main.dialect = s->opts.dialect;
	rc = vhi_slave_watch(s, EPOLL_CTL_ADD, fd, VHI_SOURCE_MAIN, 0, EPOLLIN);
	if (rc) {
		vhi_chan_close(&c->main);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "a connection can't be watched: %s", vh_error_name(rc));
	}
	if (vhi_slave_iotlb_begin(s)) {
		vhi_slave_watch(s, EPOLL_CTL_DEL, fd, VHI_SOURCE_MAIN, 0, 0);
		vhi_chan_close(&c->main);
		return -ENOMEM;
	}
	vhi_stats_begin(s);
	c->f = (struct vhi_wire_features){.offered = s->features, .pf_offered = s->pf, .dialect = s->opts.dialect};
	c->open = true;
	c->paused = s->paused;
	c->ending = c->half_closed = c->held = c->features_refused = c->features_told = c->config_changed = false;
	c->status = 0;
	c->log_call = -1;
	c->state_rc = -ENODATA;
	c->uffd = -1;
	c->jobs = NULL;
	c->jobs_tail = &c->jobs;
	c->n_jobs = 0;
	c->main_interest = EPOLLIN;
	s->stats.connections++;
	vhi_events_raise(&s->events, VH_EVENT_CONNECTED, VH_ERROR_NONE, 0, 0);
	vhi_log_line(&s->log, VH_LOG_INFO, "a front-end connected");
	return 0;
}

void vhi_conn_end(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;
	const bool worked = c->main.messages_in || c->f.acked; /* here, or before a handover */

	if (!c->open)
		return;
	/* First the queues, so that nothing is written for a front-end that is gone. */
	for (uint32_t i = 0; i < s->n_queues; i++) {
		vhi_vring_event(s, i, VHI_VRING_GONE);
		vhi_vring_initial(s, i);
	}
	vhi_log_end(s);
	vhi_state_end(s, -ECONNRESET);
	vhi_slave_set_inflight(s, NULL);
	vhi_slave_iotlb_end(s);
	vhi_later_disarm(s->dev);
	/* The next front-end may start rings without a choice of its own, and must not inherit one. */
	if (c->features_told && s->dev->ops.set_features)
		s->dev->ops.set_features(s->dev->ctx, 0, 0);
	while (c->jobs) {
		struct vhi_job *job = c->jobs;

		c->jobs = job->next;
		job_drop(job);
	}
	c->n_jobs = 0;
	vhi_back_close(s);
	vhi_stats_add_channel(&s->stats, &c->main);
	vhi_slave_watch(s, EPOLL_CTL_DEL, vhi_chan_fd(&c->main), VHI_SOURCE_MAIN, 0, 0);
	vhi_chan_close(&c->main);
	vhi_mem_clear(s->mem);
	vhi_postcopy_end(s);
	s->stats.errors += c->end_reason != 0;
	c->open = c->ending = c->held = false;
	vhi_events_raise(&s->events, VH_EVENT_DISCONNECTED, VH_ERROR_NONE, c->end_reason, 0);
	vhi_log_line(&s->log, c->end_reason ? VH_LOG_WARNING : VH_LOG_INFO, "the connection ended: %s",
		     c->end_reason ? vh_error_name(c->end_reason)
		     : s->exported ? "handed over"
				   : "closed by the front-end");
	vhi_dial_ended(s, worked, c->end_reason);
}
