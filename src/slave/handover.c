/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Writing the state for a successor. With no room it only counts. */
#include "vhi_handover.h"

struct writer {
	uint8_t *buf;
	uint32_t n_bytes, n_files;
	int *files; /* borrowed ones, NULL = only count */
	bool busy;  /* a thread is inside of a queue: what it says would be old */
};

static int32_t put_file(struct writer *w, int fd)
{
	if (fd < 0)
		return NO_FILE;
	if (w->files)
		w->files[w->n_files] = fd;
	return (int32_t)w->n_files++;
}

static void put(struct writer *w, const void *data, uint32_t size)
{
	if (w->buf)
		memcpy(w->buf + w->n_bytes, data, size);
	w->n_bytes += size;
}

static void put_record(struct writer *w, uint32_t kind, const void *data, uint32_t size)
{
	const struct record r = {kind, size};

	put(w, &r, sizeof(r));
	put(w, data, size);
}

static void put_conn(struct writer *w, const struct vh_slave *s)
{
	const struct vhi_conn *c = &s->conn;
	const struct rec_conn r = {.acked = c->f.acked,
				   .pf_acked = c->f.pf_acked,
				   .status = c->status,
				   .flags = (c->features_told ? CONN_FEATURES_TOLD : 0) |
					    (c->features_refused ? CONN_FEATURES_BAD : 0) |
					    (c->config_changed ? CONN_CONFIG_CHANGED : 0) |
					    (!c->state_rc	       ? CONN_STATE_GOOD
					     : c->state_rc != -ENODATA ? CONN_STATE_BAD
								       : 0),
				   .main = put_file(w, vhi_chan_fd(&c->main)),
				   .back = put_file(w, c->back ? vhi_chan_fd(c->back) : -1)};

	put_record(w, REC_CONN, &r, sizeof(r));
}

static void put_listener(struct writer *w, const struct vh_slave *s)
{
	struct rec_listener r = {.dev = s->file.dev, .ino = s->file.ino, .file = put_file(w, s->listen_fd)};

	memcpy(r.path, s->file.path, sizeof(r.path));
	put_record(w, REC_LISTENER, &r, sizeof(r));
}

static void put_memory(struct writer *w, const struct vh_snapshot *snap)
{
	struct vh_region of;

	for (uint32_t i = 0; i < snap->n; i++) {
		struct rec_region r = {.file = put_file(w, vhi_snapshot_fd(snap, i))};

		vhi_region_describe(snap, i, &of);
		r.gpa = of.gpa;
		r.uva = of.uva;
		r.len = of.len;
		r.offset = of.offset;
		r.map_flags = of.map_flags;
		r.map_domain = of.map_domain;
		put_record(w, REC_REGION, &r, sizeof(r));
	}
}

static void put_ring(struct writer *w, struct vhi_vring *v, uint32_t index)
{
	/* One that is broken stays so by not being started: only a reset helps the driver, in any case. */
	const bool starts = v->state == VHI_VRING_RUNNING || v->state == VHI_VRING_WANTED;
	struct rec_ring r = {.addr = v->addr,
			     .index = index,
			     .num = v->num,
			     .base = v->base,
			     .flags = (starts ? RING_STARTED : 0) | (v->enabled ? RING_ENABLED : 0) |
				      (v->serve.polled ? RING_POLLED : 0) | (v->has_addr ? RING_HAS_ADDR : 0) |
				      (v->has_base || vhi_vring_started(v) ? RING_HAS_BASE : 0),
			     .kick = put_file(w, vhi_queue_get_fd(v->q, VHI_QUEUE_KICK)),
			     .call = put_file(w, vhi_queue_get_fd(v->q, VHI_QUEUE_CALL)),
			     .err = put_file(w, vhi_queue_get_fd(v->q, VHI_QUEUE_ERR))};

	if (vhi_vring_started(v) && vhi_queue_progress(v->q, &r.base) < 0)
		w->busy = true;
	put_record(w, REC_RING, &r, sizeof(r));
}

static void put_log(struct writer *w, const struct vhi_conn *c)
{
	const struct vhi_region *at = c->log ? c->log->region : NULL;
	struct rec_log r = {.file = put_file(w, at ? at->fd : -1), .call = put_file(w, c->log_call)};

	if (at) {
		r.offset = at->offset;
		r.len = at->len;
	}
	if (at || c->log_call >= 0)
		put_record(w, REC_LOG, &r, sizeof(r));
}

static void put_dial(struct writer *w, const struct vh_slave *s)
{
	const struct vhi_backoff *b = &s->dial.backoff;
	const uint64_t now = vhi_now_ns();
	struct rec_dial r = {.max_tries = b->policy.max_tries,
			     .first_ms = b->policy.first_ms,
			     .max_ms = b->policy.max_ms,
			     .jitter = b->policy.jitter,
			     .failures = b->failures,
			     .delay_ms = (uint32_t)b->delay_ms,
			     .wait_ns = s->dial.next_ns > now ? s->dial.next_ns - now : 0};

	memcpy(r.address, s->dial.address, strlen(s->dial.address) + 1);
	put_record(w, REC_DIAL, &r, sizeof(r));
}

static void put_inflight(struct writer *w, const struct vhi_inflight *f)
{
	struct rec_inflight r;

	if (!f)
		return;
	r = (struct rec_inflight){.offset = f->region->offset,
				  .size = f->region->len,
				  .num_queues = f->num_queues,
				  .queue_size = f->queue_size,
				  .file = put_file(w, f->region->fd)};
	put_record(w, REC_INFLIGHT, &r, sizeof(r));
}

static void put_all(struct writer *w, const struct vh_slave *s, const struct vh_snapshot *snap)
{
	struct head h = {.magic = MAGIC};

	put(w, &h, sizeof(h));
	if (s->listen_fd >= 0)
		put_listener(w, s);
	if (s->dial.address)
		put_dial(w, s);
	if (s->conn.open) {
		put_memory(w, snap);
		put_conn(w, s);
		put_log(w, &s->conn);
		put_inflight(w, s->conn.inflight);
		for (uint32_t i = 0; i < s->n_queues; i++)
			put_ring(w, &s->rings[i], i);
	}
	h.n_bytes = w->n_bytes;
	h.n_files = w->n_files;
	if (w->buf)
		memcpy(w->buf, &h, sizeof(h));
}

static int give_files(const struct writer *w, vh_fd *fds)
{
	for (uint32_t i = 0; i < w->n_files; i++) {
		int fd = vhi_fd_dup(w->files[i]);

		if (fd < 0) {
			while (i)
				vhi_fd_close(&fds[--i]);
			return vhi_fail(fd, VH_ERROR_SYSTEM, 0, "vh_slave_export: %u files are needed: %s", w->n_files,
					vh_error_name(fd));
		}
		fds[i] = fd;
	}
	return 0;
}

static vh_count export(struct vh_slave *s, const struct vh_snapshot *snap, void *buf, uint32_t cap, vh_fd *fds,
		       uint32_t max_fds, uint32_t *n_fds)
{
	struct writer w = {0};
	uint32_t n_bytes, n_files;
	int rc;

	put_all(&w, s, snap);
	n_bytes = w.n_bytes;
	n_files = w.n_files;
	if (buf && n_bytes <= cap && n_files <= max_fds) {
		w = (struct writer){.buf = buf, .files = vhi_calloc(n_files + 1, sizeof(int))};
		if (!w.files)
			return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_slave_export: no memory");
		put_all(&w, s, snap);
		rc = w.busy ? vhi_fail(-EAGAIN, VH_ERROR_STATE, 0,
				       "vh_slave_export: another thread is inside of a queue; call again")
			    : give_files(&w, fds);
		vhi_free(w.files);
		if (rc)
			return rc;
		s->exported = true;
	}
	*n_fds = n_files;
	return (vh_count)n_bytes;
}

vh_count vh_slave_export(struct vh_slave *s, void *buf, uint32_t cap, vh_fd *fds, uint32_t max_fds, uint32_t *n_fds)
{
	struct vh_snapshot *snap;
	vh_count rc = vhi_slave_enter(s, "vh_slave_export");

	if (rc)
		return rc;
	if (!n_fds || (!buf && cap) || (!fds && max_fds))
		return vhi_slave_leave(s, vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
						   "vh_slave_export: n_fds is NULL, or there is room at NULL"));
	if (!vhi_pause_quiet(s))
		return vhi_slave_leave(s, vhi_fail(-EAGAIN, VH_ERROR_STATE, 0,
						   "vh_slave_export: call vh_slave_pause(), and dispatch until it "
						   "returns 0"));
	snap = vhi_mem_snapshot(s->mem);
	rc = export(s, snap, buf, cap, fds, max_fds, n_fds);
	vhi_snapshot_put(snap);
	return vhi_slave_leave(s, rc);
}
