/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The device's state: the two messages, and the bytes between them, which the connection is served beside. */
#include "vh/migrate.h"
#include "vhi_master.h"
#include "vhi_stream.h"

#define CHUNK		   65536u
#define DEFAULT_MAX	   (UINT64_C(1) << 30)
#define REPLY_YOURS	   UINT64_C(0x100) /* bit 8: the file that was passed is used */
#define CHUNKS_BEFORE_TURN 16u

struct copy {
	struct vhi_stream from, to;
	const char *who;
	uint64_t bytes, max, timeout_ns;
	uint32_t have, at;
	uint8_t chunk[CHUNK];
};

static int ask_for(struct vh_master *m, uint32_t direction, int fd, int *out_fd)
{
	const struct vhi_wire_device_state p = {.direction = direction, .phase = VH_STATE_STOPPED};
	const struct vhi_request rq = {
		.id = VHI_FE_SET_DEVICE_STATE_FD, .payload = &p, .size = sizeof(p), .fds = &fd, .n_fds = 1};
	struct vhi_ticket *t;
	uint64_t value;
	int rc = vhi_master_call(m, &rq, &t);

	if (rc)
		return rc;
	memcpy(&value, t->payload, sizeof(value));
	/* That an fd comes with 0, and with nothing else, is the table's to check. */
	*out_fd = vhi_ticket_take_fd(t);
	vhi_ticket_free(m, t);
	if (value && value != REPLY_YOURS)
		return vhi_fail_at(-EREMOTEIO, VH_ERROR_PEER, 0, VH_ERROR_NONE, rq.id,
				   "the back-end refused SET_DEVICE_STATE_FD (0x%llx); have all rings stopped?",
				   (unsigned long long)value);
	return 0;
}

vh_rc vh_master_set_device_state_fd(struct vh_master *m, uint32_t direction, uint32_t phase, vh_fd fd, vh_fd *out_fd)
{
	const char *who = "vh_master_set_device_state_fd";
	int rc, got;

	if (m && (direction > VH_STATE_LOAD || phase != VH_STATE_STOPPED || fd < 0 || !out_fd))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: direction is 0 or 1, phase 0, fd the back-end's end of a pipe, out_fd not NULL",
				who);
	rc = vhi_master_enter(m, who, VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	rc = ask_for(m, direction, fd, &got);
	if (!rc)
		*out_fd = got;
	return vhi_master_leave(m, rc);
}

static int check(struct vh_master *m)
{
	const struct vhi_request rq = {.id = VHI_FE_CHECK_DEVICE_STATE};
	uint64_t value;
	int rc = vhi_master_call_u64(m, &rq, &value);

	if (rc)
		return rc;
	return value ? vhi_fail_at(-EREMOTEIO, VH_ERROR_PEER, 0, VH_ERROR_NONE, rq.id,
				   "the back-end says that its state failed (0x%llx)", (unsigned long long)value)
		     : 0;
}

vh_rc vh_master_check_device_state(struct vh_master *m)
{
	int rc = vhi_master_enter(m, "vh_master_check_device_state", VHI_CALL_WAITS | VHI_CALL_CONNECTED);

	return rc ? rc : vhi_master_leave(m, check(m));
}

/* 1 = something moved, 0 = that was all, -EAGAIN = later; no last error is set. */
static int step(struct copy *c)
{
	ssize_t n;

	if (c->at < c->have) {
		n = vhi_stream_write(&c->to, c->chunk + c->at, c->have - c->at);
		if (n <= 0)
			return n ? (int)n : -EIO;
		c->at += (uint32_t)n;
		c->bytes += (uint64_t)n;
		return 1;
	}
	n = vhi_stream_read(&c->from, c->chunk, CHUNK);
	if (n <= 0)
		return (int)n;
	if (VHI_REFUSE(VHI_SITE_MASTER_STATE_LIMIT, (uint64_t)n > c->max - c->bytes))
		return -EFBIG;
	c->have = (uint32_t)n;
	c->at = 0;
	return 1;
}

static int failed(const struct copy *c, int rc)
{
	if (rc == -EFBIG)
		return vhi_fail(rc, VH_ERROR_PEER, VHI_SITE_MASTER_STATE_LIMIT,
				"%s: the state has more than %llu bytes (max_bytes)", c->who,
				(unsigned long long)c->max);
	if (rc == -ETIMEDOUT)
		return vhi_fail(rc, VH_ERROR_PEER, 0, "%s: nothing moved for %llu ms, after %llu bytes", c->who,
				(unsigned long long)(c->timeout_ns / 1000000u), (unsigned long long)c->bytes);
	return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: after %llu bytes: %s", c->who, (unsigned long long)c->bytes,
			vh_error_name(rc));
}

static int copy(struct vh_master *m, struct copy *c)
{
	uint64_t deadline = vhi_now_ns() + c->timeout_ns;
	uint32_t chunks = 0;
	bool moved = false;

	for (;;) {
		int turn, rc = step(c);

		if (!rc || (rc < 0 && rc != -EAGAIN))
			return rc ? failed(c, rc) : 0;
		moved |= rc > 0;
		if (rc > 0 && ++chunks % CHUNKS_BEFORE_TURN)
			continue;
		if (moved)
			deadline = vhi_now_ns() + c->timeout_ns;
		else if (vhi_now_ns() >= deadline)
			return failed(c, -ETIMEDOUT);
		moved = false;
		vhi_master_event(m, VH_EVENT_STATE_MOVED, 0, c->bytes);
		turn = vhi_loop_check(m);
		if (!turn)
			turn = vhi_loop_turn(m, rc > 0 ? 0 : deadline);
		if (turn < 0)
			return vhi_master_unsent(m, c->who, turn);
	}
}

/* Edge-triggered, for a step was tried before each wait. A file is always ready, and can't be watched. */
static void watch(struct vh_master *m, const struct vhi_stream *s)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = VHI_SRC_STATE};

	vhi_sys.epoll_ctl(m->epoll, EPOLL_CTL_ADD, s->fd, &ev);
}

/* The peer may have a copy of the open file: closing would not take it out of the set. */
static void end(struct vh_master *m, struct vhi_stream *s)
{
	vhi_loop_remove(m, s->fd);
	vhi_stream_close(s);
}

/* Tell the back-end, and open what it says is to be used. */
static int open_stream(struct vh_master *m, const char *who, uint32_t direction, struct vhi_stream *s)
{
	int peer, theirs, rc = vhi_stream_pair(s, &peer);

	if (rc)
		return rc;
	rc = ask_for(m, direction, peer, &theirs);
	vhi_fd_close(&peer);
	if (!rc && theirs >= 0) {
		vhi_stream_close(s);
		rc = vhi_stream_open(s, theirs, direction == VH_STATE_LOAD, false);
		vhi_fd_close(&theirs);
		if (VHI_REFUSE(VHI_SITE_MASTER_STATE_FD, rc))
			return vhi_fail(-EPROTO, VH_ERROR_PEER, VHI_SITE_MASTER_STATE_FD,
					"%s: the back-end gave a file that could block, or is open for the other "
					"direction only",
					who);
	}
	if (rc)
		vhi_stream_close(s);
	return rc;
}

static int transfer(struct vh_master *m, struct copy *c, uint32_t direction, int fd)
{
	struct vhi_stream *theirs = direction == VH_STATE_SAVE ? &c->from : &c->to;
	struct vhi_stream *ours = direction == VH_STATE_SAVE ? &c->to : &c->from;
	int rc = vhi_master_catch_up(m, c->who);

	if (rc)
		return rc;
	rc = vhi_stream_open(ours, fd, ours == &c->to, true);
	if (rc)
		return vhi_fail(rc, VH_ERROR_ARGUMENT, 0, "%s: fd %d: %s", c->who, fd, vh_error_name(rc));
	rc = open_stream(m, c->who, direction, theirs);
	if (!rc) {
		watch(m, theirs);
		watch(m, ours);
		rc = copy(m, c);
	}
	end(m, ours);
	/* The end of what we write is that it is closed. */
	end(m, theirs);
	return rc ? rc : check(m);
}

static vh_rc move_state(struct vh_master *m, const char *who, const struct vh_state_opts *opts, uint32_t direction,
			int fd, uint64_t *bytes)
{
	struct vh_state_opts o;
	struct copy *c;
	int rc = vhi_opts_in(&o, sizeof(o), opts, "vh_state_opts");

	if (rc)
		return rc;
	rc = vhi_master_enter(m, who, VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	c = vhi_calloc(1, sizeof(*c));
	if (!c)
		return vhi_master_leave(m, vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "%s: no memory", who));
	c->who = who;
	c->from.fd = c->to.fd = -1;
	c->max = o.max_bytes ? o.max_bytes : DEFAULT_MAX;
	c->timeout_ns = UINT64_C(1000000) * (o.timeout_ms ? o.timeout_ms : m->opts.timeout_ms);
	rc = transfer(m, c, direction, fd);
	if (!rc && bytes)
		*bytes = c->bytes;
	vhi_master_event(m, VH_EVENT_STATE_MOVED, rc, c->bytes);
	vhi_free(c);
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_save_state(struct vh_master *m, const struct vh_state_opts *opts, vh_fd to, uint64_t *bytes)
{
	return move_state(m, "vh_master_save_state", opts, VH_STATE_SAVE, to, bytes);
}

vh_rc vh_master_load_state(struct vh_master *m, const struct vh_state_opts *opts, vh_fd from, uint64_t *bytes)
{
	return move_state(m, "vh_master_load_state", opts, VH_STATE_LOAD, from, bytes);
}
