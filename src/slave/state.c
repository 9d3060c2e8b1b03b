/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The device's state on its way, out through a pipe to the front-end or in through one. Each round moves a few chunks;
 * what moves nothing for too long fails, and is told so when the front-end asks how it went.
 */
#include "vhi_handlers.h"

#define CHUNK		 65536u /* what a pipe holds, and what a device may answer at a time */
#define CHUNKS_PER_ROUND 8u
#define VALUE_OWN_FD	 UINT64_C(0x100) /* in the reply: the front-end's file is used, no other comes with it */

_Static_assert(CHUNK <= VHI_DEVICE_REPLY_MAX, "a chunk that is answered later fits");

struct vhi_state {
	struct vhi_stream stream;
	bool save;
	bool at_end; /* nothing more comes from the peer, or from the device */
	bool asked;  /* the device was, and @rc and @later say for what answer we wait */
	int32_t rc;
	uint64_t later;
	uint64_t offset; /* bytes that the device gave or took */
	uint64_t deadline_ns;
	uint32_t have, at; /* bytes in the chunk, and how many of them are written */
	uint8_t chunk[CHUNK];
};

static void moved(struct vh_slave *s, struct vhi_state *t)
{
	t->deadline_ns = vhi_now_ns() + s->opts.drain_timeout_ms * UINT64_C(1000000);
}

static void news(struct vh_slave *s, const struct vhi_state *t, int32_t rc)
{
	vhi_events_raise(&s->events, VH_EVENT_STATE, VH_ERROR_NONE, rc, t->offset);
}

static void finish(struct vh_slave *s, int32_t rc)
{
	struct vhi_state *t = s->conn.state;

	s->conn.state = NULL;
	s->conn.state_rc = rc;
	/* Gives the token back, if there is one. */
	if (t->asked)
		vhi_later_result(s->dev, t->later, -ECANCELED, NULL, NULL);
	/* The peer may have a copy of the open file: closing would not take it out of the set. */
	vhi_slave_watch(s, EPOLL_CTL_DEL, t->stream.fd, VHI_SOURCE_STATE, 0, 0);
	vhi_stream_close(&t->stream);
	news(s, t, rc);
	vhi_log_line(&s->log, rc ? VH_LOG_WARNING : VH_LOG_INFO, "the device's state was %s: %llu bytes%s%s",
		     t->save ? "saved" : "loaded", (unsigned long long)t->offset, rc ? ", then " : "",
		     rc ? vh_error_name(rc) : "");
	vhi_free(t);
}

void vhi_state_end(struct vh_slave *s, int32_t why)
{
	if (s->conn.state)
		finish(s, why);
}

uint64_t vhi_state_deadline(const struct vh_slave *s)
{
	return s->conn.state ? s->conn.state->deadline_ns : UINT64_MAX;
}

static bool too_much(const struct vh_slave *s, const struct vhi_state *t, uint32_t n)
{
	return VHI_REFUSE(VHI_SITE_SLAVE_STATE_LIMIT, n > s->opts.max_state_bytes - t->offset);
}

/* The device's answer, or -EAGAIN. */
static int32_t answer(struct vh_slave *s, struct vhi_state *t)
{
	int32_t rc = vhi_later_result(s->dev, t->later, t->rc, t->chunk, NULL);

	if (rc == -EINPROGRESS)
		return -EAGAIN;
	t->asked = false;
	return rc == -EAGAIN ? -EIO : rc;
}

/* Both steps: 1 = something moved, 0 = that was all, -EAGAIN = later, another negative errno value. */

static int32_t save_step(struct vh_slave *s, struct vhi_state *t)
{
	const struct vh_device_ops *ops = &s->dev->ops;
	ssize_t n;
	int32_t rc;

	if (t->at < t->have) {
		n = vhi_stream_write(&t->stream, t->chunk + t->at, t->have - t->at);
		if (n < 0)
			return (int32_t)n;
		t->at += (uint32_t)n;
		return 1;
	}
	if (!t->asked) {
		t->later = vhi_later_arm_at_most(s->dev, CHUNK);
		t->asked = true;
		t->rc = ops->save_state(s->dev->ctx, t->offset, t->chunk, CHUNK, t->later);
	}
	rc = answer(s, t);
	if (rc <= 0)
		return rc;
	if ((uint32_t)rc > CHUNK)
		return -EINVAL;
	if (too_much(s, t, (uint32_t)rc))
		return -EFBIG;
	t->have = (uint32_t)rc;
	t->at = 0;
	t->offset += t->have;
	return 1;
}

static int32_t load_step(struct vh_slave *s, struct vhi_state *t)
{
	const struct vh_device_ops *ops = &s->dev->ops;
	ssize_t n;
	int32_t rc;

	if (!t->asked) {
		n = vhi_stream_read(&t->stream, t->chunk, CHUNK);
		if (n < 0)
			return (int32_t)n;
		if (too_much(s, t, (uint32_t)n))
			return -EFBIG;
		t->at_end = !n;
		t->have = (uint32_t)n;
		t->later = vhi_later_arm(s->dev, 0);
		t->asked = true;
		t->rc = ops->load_state(s->dev->ctx, t->offset, t->chunk, t->have, t->later);
	}
	rc = answer(s, t);
	if (rc)
		return rc > 0 ? -EINVAL : rc;
	t->offset += t->have;
	return !t->at_end;
}

bool vhi_state_run(struct vh_slave *s)
{
	struct vhi_state *t = s->conn.state;
	int32_t rc = 1;

	if (!t || s->conn.ending)
		return false;
	for (uint32_t i = 0; i < CHUNKS_PER_ROUND && rc > 0; i++) {
		rc = t->save ? save_step(s, t) : load_step(s, t);
		/* A callback may have ended it all. */
		if (vhi_slave_ended(s) || s->conn.state != t || s->conn.ending)
			return false;
		if (rc > 0)
			moved(s, t);
	}
	if (rc == -EAGAIN && vhi_now_ns() >= t->deadline_ns)
		rc = -ETIMEDOUT;
	if (rc > 0)
		news(s, t, -EINPROGRESS);
	else if (rc != -EAGAIN)
		finish(s, rc);
	return rc > 0;
}

/* The front-end's file, or one end of a pair of which it gets the other in the reply. */
static int open_stream(struct vhi_state *t, int fd, struct vhi_job *job)
{
	int rc = vhi_stream_open(&t->stream, fd, t->save, false);
	uint64_t value = VALUE_OWN_FD;

	if (rc == -ENOTSUP) {
		rc = vhi_stream_pair(&t->stream, &job->reply_fd);
		value = 0;
	}
	if (!rc)
		vhi_reply_u64(job, value);
	return rc;
}

static int begin(struct vh_slave *s, bool save, int fd, struct vhi_job *job)
{
	struct vhi_state *t = vhi_calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return -ENOMEM;
	t->save = save;
	rc = open_stream(t, fd, job);
	if (!rc)
		rc = vhi_slave_watch(s, EPOLL_CTL_ADD, t->stream.fd, VHI_SOURCE_STATE, 0, EPOLLIN | EPOLLOUT | EPOLLET);
	if (rc) {
		vhi_fd_close(&job->reply_fd);
		vhi_stream_close(&t->stream);
		vhi_free(t);
		return rc;
	}
	moved(s, t);
	s->conn.state = t;
	s->conn.state_rc = -EINPROGRESS;
	return 0;
}

static enum vhi_outcome refused(struct vhi_job *job, uint32_t site)
{
	job->site = site;
	return VHI_REFUSED;
}

enum vhi_outcome vhi_handle_set_device_state_fd(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vhi_wire_device_state p;
	int rc;

	memcpy(&p, m->payload, sizeof(p));
	if (VHI_REFUSE(VHI_SITE_SLAVE_STATE_RUNNING, vhi_vring_any_started(s)))
		return refused(job, VHI_SITE_SLAVE_STATE_RUNNING);
	/* Perhaps its end is here already, and was only not looked at. */
	vhi_state_run(s);
	if (VHI_REFUSE(VHI_SITE_SLAVE_STATE_BUSY, s->conn.state != NULL))
		return refused(job, VHI_SITE_SLAVE_STATE_BUSY);
	rc = begin(s, !p.direction, m->fds[0], job);
	if (VHI_REFUSE(VHI_SITE_SLAVE_STATE_FD, rc))
		return refused(job, VHI_SITE_SLAVE_STATE_FD);
	return VHI_DONE;
}

/* While it moves there is time; what does not move has a deadline of its own. */
static enum vhi_outcome check_step(struct vh_slave *s, struct vhi_job *job)
{
	if (s->conn.state) {
		job->deadline_ns = s->conn.state->deadline_ns + 1;
		return VHI_PENDING;
	}
	/* Or there was none. */
	if (VHI_REFUSE(VHI_SITE_SLAVE_STATE_FAILED, s->conn.state_rc))
		return refused(job, VHI_SITE_SLAVE_STATE_FAILED);
	return vhi_reply_u64(job, 0);
}

enum vhi_outcome vhi_handle_check_device_state(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	(void)m;
	return vhi_job_start(s, job, check_step);
}
