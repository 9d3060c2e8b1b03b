/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Reading the state of a predecessor: everything is looked through before anything is done. */
#include "vhi_handover.h"

struct reader {
	const uint8_t *at;
	uint32_t left;
	const vh_fd *fds;
	uint32_t n_fds;

	bool has_conn, has_listener, has_log, has_inflight;
	struct vhi_dial dial;
	struct rec_conn conn;
	struct rec_log log;
	struct rec_inflight inflight;
	struct rec_listener listener;
	struct vh_region *regions;
	int *region_fds;
	uint32_t n_regions;
	struct rec_ring *rings; /* by index; num and flags 0 where nothing was said */
	uint32_t n_rings;
};

static int damaged(const char *what)
{
	return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_import: the state is damaged: %s", what);
}

static int file_of(const struct reader *r, int32_t index)
{
	return index >= 0 ? r->fds[index] : -1;
}

static bool is_file(const struct reader *r, int32_t index, bool needed)
{
	return index == NO_FILE ? !needed : index >= 0 && (uint32_t)index < r->n_fds;
}

/* A record that is shorter than ours was written before its last fields came. */
static int take(struct reader *r, uint32_t size, void *out, uint32_t least, uint32_t room)
{
	if (size < least || size > room)
		return damaged("a record has no length that is known");
	memset(out, 0, room);
	memcpy(out, r->at, size);
	return 0;
}

static int take_conn(struct reader *r, uint32_t size)
{
	int rc = take(r, size, &r->conn, sizeof(r->conn), sizeof(r->conn));

	if (rc)
		return rc;
	if (r->has_conn || !is_file(r, r->conn.main, true) || !is_file(r, r->conn.back, false) ||
	    r->conn.status > UINT8_MAX)
		return damaged("its connection");
	r->has_conn = true;
	return 0;
}

static int take_listener(struct reader *r, uint32_t size)
{
	struct rec_listener *l = &r->listener;
	int rc = take(r, size, l, sizeof(*l), sizeof(*l));

	if (rc)
		return rc;
	if (r->has_listener || !is_file(r, l->file, true) || !memchr(l->path, 0, sizeof(l->path)))
		return damaged("its listening socket");
	r->has_listener = true;
	return 0;
}

static int take_region(struct reader *r, uint32_t size)
{
	struct rec_region in;
	int rc = take(r, size, &in, offsetof(struct rec_region, map_domain), sizeof(in));

	if (rc)
		return rc;
	if (r->n_regions == VH_MEM_MAX_REGIONS || !is_file(r, in.file, true))
		return damaged("its memory");
	r->region_fds[r->n_regions] = file_of(r, in.file);
	r->regions[r->n_regions++] = (struct vh_region){.gpa = in.gpa,
							.uva = in.uva,
							.len = in.len,
							.offset = in.offset,
							.map_flags = in.map_flags,
							.map_domain = in.map_domain};
	return 0;
}

static int take_log(struct reader *r, uint32_t size)
{
	int rc = take(r, size, &r->log, sizeof(r->log), sizeof(r->log));

	if (rc)
		return rc;
	if (r->has_log || !is_file(r, r->log.file, r->log.len) || !is_file(r, r->log.call, false))
		return damaged("its dirty log");
	r->has_log = true;
	return 0;
}

static int take_inflight(struct reader *r, uint32_t size)
{
	const struct rec_inflight *in = &r->inflight;
	int rc = take(r, size, &r->inflight, sizeof(r->inflight), sizeof(r->inflight));

	if (rc)
		return rc;
	if (r->has_inflight || !is_file(r, in->file, true) || !in->num_queues || !in->queue_size ||
	    in->queue_size > VH_QUEUE_MAX_SIZE || in->num_queues > UINT16_MAX)
		return damaged("its inflight records");
	r->has_inflight = true;
	return 0;
}

static int take_ring(struct reader *r, uint32_t size)
{
	struct rec_ring in;
	int rc = take(r, size, &in, sizeof(in), sizeof(in));
	const bool used = !rc && (in.num || in.flags || in.kick >= 0 || in.call >= 0 || in.err >= 0);

	if (rc)
		return rc;
	if (!is_file(r, in.kick, false) || !is_file(r, in.call, false) || !is_file(r, in.err, false) ||
	    in.addr.desc & 15 || in.addr.avail & 1 || in.addr.used & 3)
		return damaged("a ring");
	if (in.index < r->n_rings)
		r->rings[in.index] = in;
	else if (used)
		return vhi_fail(-ENOTSUP, VH_ERROR_ARGUMENT, 0,
				"vh_slave_import: queue %u is in use, and this device has %u", in.index, r->n_rings);
	return 0;
}

static int take_dial(struct reader *r, uint32_t size)
{
	struct vh_reconnect policy = {.size = sizeof(policy)};
	struct vhi_dial *d = &r->dial;
	struct vhi_address at;
	struct rec_dial in;
	int rc = take(r, size, &in, sizeof(in), sizeof(in));

	if (rc)
		return rc;
	policy.max_tries = in.max_tries;
	policy.first_ms = in.first_ms;
	policy.max_ms = in.max_ms;
	policy.jitter = in.jitter;
	if (d->address || !memchr(in.address, 0, sizeof(in.address)) || vhi_address_parse(in.address, &at) ||
	    at.kind == VHI_ADDRESS_FD || in.wait_ns > in.max_ms * UINT64_C(1000000) || in.delay_ms > in.max_ms ||
	    vhi_backoff_begin(&d->backoff, &policy, 0, "vh_slave_import"))
		return damaged("where it connects to");
	d->backoff.failures = in.failures;
	d->backoff.delay_ms = in.delay_ms;
	d->next_ns = vhi_now_ns() + in.wait_ns;
	return vhi_dial_to(d, in.address);
}

static int read_all(struct reader *r)
{
	static int (*const takers[])(struct reader * r, uint32_t size) = {
		[REC_CONN] = take_conn,		[REC_LISTENER] = take_listener, [REC_REGION] = take_region,
		[REC_RING] = take_ring,		[REC_LOG] = take_log,		[REC_DIAL] = take_dial,
		[REC_INFLIGHT] = take_inflight,
	};
	struct record rec;
	struct head h;
	int rc = 0;

	if (r->left < sizeof(h))
		return damaged("it is too short");
	memcpy(&h, r->at, sizeof(h));
	if (h.magic != MAGIC)
		return vhi_fail(-ENOTSUP, VH_ERROR_ARGUMENT, 0,
				"vh_slave_import: this is no state of a back-end, or of another machine or version");
	if (h.n_bytes != r->left || h.n_files != r->n_fds)
		return damaged("it is not whole, or files are missing");
	r->at += sizeof(h);
	r->left -= (uint32_t)sizeof(h);
	while (!rc && r->left) {
		if (r->left < sizeof(rec))
			return damaged("a record is cut");
		memcpy(&rec, r->at, sizeof(rec));
		r->at += sizeof(rec);
		r->left -= (uint32_t)sizeof(rec);
		if (rec.size > r->left || rec.size % 8)
			return damaged("a record is cut");
		if (!rec.kind || rec.kind >= VHI_ARRAY_SIZE(takers))
			return vhi_fail(-ENOTSUP, VH_ERROR_ARGUMENT, 0,
					"vh_slave_import: a record of kind %u comes from a newer version", rec.kind);
		rc = takers[rec.kind](r, rec.size);
		r->at += rec.size;
		r->left -= rec.size;
	}
	return rc;
}

static int check_offer(const struct vh_slave *s, const struct reader *r)
{
	uint64_t bits = r->conn.acked & ~s->features, pf = r->conn.pf_acked & ~s->pf;

	if (!bits && !pf)
		return 0;
	return vhi_fail(-ENOTSUP, VH_ERROR_ARGUMENT, 0,
			"vh_slave_import: feature bits 0x%llx and protocol feature bits 0x%llx are in use, and not "
			"offered here",
			(unsigned long long)bits, (unsigned long long)pf);
}

static int import_listener(struct vh_slave *s, const struct reader *r)
{
	const struct rec_listener *l = &r->listener;
	bool listening;
	int fd = vhi_sock_adopt(file_of(r, l->file), &listening), rc;

	if (fd < 0)
		return fd;
	if (!listening) {
		vhi_fd_close(&fd);
		return damaged("its listening socket does not listen");
	}
	rc = vhi_listen_start(s, fd);
	if (rc)
		return rc;
	s->file = (struct vhi_sock_file){.dev = l->dev, .ino = l->ino};
	memcpy(s->file.path, l->path, sizeof(s->file.path));
	return 0;
}

static int import_memory(struct vh_slave *s, const struct reader *r)
{
	struct vh_snapshot *snap;
	int rc = vhi_mem_prepare_replace(s->mem, r->regions, r->region_fds, r->n_regions, &snap);

	if (!rc)
		vhi_mem_commit(s->mem, snap);
	return rc;
}

static int import_features(struct vh_slave *s, const struct rec_conn *in)
{
	struct vhi_conn *c = &s->conn;
	int32_t rc = 0;

	c->f.acked = in->acked;
	c->f.pf_acked = in->pf_acked;
	c->status = (uint8_t)in->status;
	c->features_refused = in->flags & CONN_FEATURES_BAD;
	c->config_changed = in->flags & CONN_CONFIG_CHANGED;
	c->features_told = in->flags & CONN_FEATURES_TOLD;
	c->state_rc = in->flags & CONN_STATE_GOOD ? 0 : in->flags & CONN_STATE_BAD ? -EIO : -ENODATA;
	if (c->features_told && s->dev->ops.set_features)
		rc = s->dev->ops.set_features(s->dev->ctx, in->acked & ~VHI_BIT(VH_F_LOG_ALL), 0);
	if (rc)
		return vhi_fail(-ENOTSUP, VH_ERROR_DEVICE, 0,
				"vh_slave_import: the device refused the features in use: %s", vh_error_name(rc));
	return 0;
}

static int import_log(struct vh_slave *s, const struct reader *r)
{
	struct vhi_conn *c = &s->conn;
	struct vh_dirty *log;
	int call = r->log.call < 0 ? -1 : vhi_fd_dup(file_of(r, r->log.call)), rc;

	if (call < -1)
		return vhi_fail(call, VH_ERROR_SYSTEM, 0, "vh_slave_import: %s", vh_error_name(call));
	c->log_call = call;
	if (!r->log.len)
		return 0;
	rc = vhi_dirty_open(file_of(r, r->log.file), r->log.offset, r->log.len, s->opts.require_seal, &log);
	if (rc)
		return rc;
	rc = vhi_dirty_with_call(log, c->log_call, &c->log);
	vhi_dirty_put(log);
	return rc;
}

static int import_inflight(struct vh_slave *s, const struct reader *r)
{
	const struct vh_inflight in = {.num_queues = r->inflight.num_queues,
				       .queue_size = r->inflight.queue_size,
				       .mmap_size = r->inflight.size,
				       .mmap_offset = r->inflight.offset};
	struct vhi_inflight *file;
	int rc = vhi_inflight_open(&in, file_of(r, r->inflight.file), s->opts.require_seal, &file);

	if (!rc)
		vhi_slave_set_inflight(s, file);
	return rc;
}

/* The files of a ring, as its messages would set them. */
static int ring_files(struct vh_slave *s, const struct reader *r, const struct rec_ring *in)
{
	struct vh_queue *q = s->rings[in->index].q;
	const struct {
		int32_t file;
		enum vhi_queue_fd which;
	} files[] = {{in->call, VHI_QUEUE_CALL}, {in->err, VHI_QUEUE_ERR}, {in->kick, VHI_QUEUE_KICK}};
	int rc = 0;

	for (uint32_t i = 0; !rc && i < VHI_ARRAY_SIZE(files); i++) {
		int fd = files[i].file >= 0 ? vhi_fd_dup(file_of(r, files[i].file)) : -1;

		if (files[i].file >= 0 && fd < 0)
			return vhi_fail(fd, VH_ERROR_SYSTEM, 0, "vh_slave_import: %s", vh_error_name(fd));
		rc = files[i].which == VHI_QUEUE_KICK ? vhi_vring_set_kick(s, in->index, fd)
						      : vhi_queue_set_fd(q, files[i].which, fd);
	}
	return rc;
}

static int import_ring(struct vh_slave *s, const struct reader *r, const struct rec_ring *in)
{
	struct vhi_vring *v = &s->rings[in->index];
	int rc;

	if (in->num && (in->num > s->dev->opts.max_queue_size || !vhi_ring_num_fits(in->num, s->conn.f.acked)))
		return vhi_fail(-ENOTSUP, VH_ERROR_ARGUMENT, 0,
				"vh_slave_import: queue %u has %u entries, %u are offered", in->index, in->num,
				s->dev->opts.max_queue_size);
	rc = ring_files(s, r, in);
	if (rc)
		return rc;
	v->addr = in->addr;
	v->num = in->num;
	v->base = in->base;
	v->has_addr = in->flags & RING_HAS_ADDR;
	v->has_base = in->flags & RING_HAS_BASE;
	v->serve.polled = in->flags & RING_POLLED;
	vhi_vring_enable(s, in->index, in->flags & RING_ENABLED);
	if (!(in->flags & RING_STARTED) || !vhi_vring_event(s, in->index, VHI_VRING_KICK_MSG))
		return 0;
	return vhi_fail(-EFAULT, VH_ERROR_MEMORY, VHI_SITE_SLAVE_KICK_START,
			"vh_slave_import: queue %u does not start where it stood", in->index);
}

static int import_conn(struct vh_slave *s, const struct reader *r)
{
	bool listening;
	int fd = vhi_sock_adopt(file_of(r, r->conn.main), &listening), rc;

	if (fd < 0)
		return fd;
	if (listening) {
		vhi_fd_close(&fd);
		return damaged("its connection listens");
	}
	rc = import_memory(s, r);
	if (rc) {
		vhi_fd_close(&fd);
		return rc;
	}
	rc = vhi_conn_begin(s, fd);
	if (rc)
		return rc;
	rc = import_features(s, &r->conn);
	if (!rc && r->conn.back >= 0 && vhi_back_set(s, file_of(r, r->conn.back)))
		rc = damaged("its back-end channel");
	if (!rc && r->has_log)
		rc = import_log(s, r);
	if (!rc && r->has_inflight)
		rc = import_inflight(s, r);
	for (uint32_t i = 0; !rc && i < r->n_rings; i++)
		if (r->rings[i].num || r->rings[i].flags)
			rc = import_ring(s, r, &r->rings[i]);
	return rc;
}

static int import(struct vh_slave *s, struct reader *r)
{
	struct vh_error why = {.size = sizeof(why)};
	int rc = r->has_conn ? check_offer(s, r) : 0;

	if (!rc && r->has_conn)
		rc = import_conn(s, r);
	if (!rc && r->has_listener)
		rc = import_listener(s, r);
	if (!rc && r->dial.address) {
		s->dial = r->dial;
		r->dial.address = NULL;
		s->dial.next_ns = s->conn.open ? 0 : r->dial.next_ns;
	}
	if (!rc || !s->conn.open) {
		if (rc)
			vhi_mem_clear(s->mem);
		return rc;
	}
	vh_error_get(&why);
	vhi_conn_fail(s, rc);
	vhi_conn_end(s);
	return vhi_fail_at(rc, why.domain, why.site, why.queue, why.request, "%s", why.text);
}

vh_rc vh_slave_import(struct vh_slave *s, const void *buf, uint32_t len, const vh_fd *fds, uint32_t n_fds)
{
	struct reader r = {.at = buf, .left = len, .fds = fds, .n_fds = n_fds};
	vh_rc rc = vhi_slave_enter(s, "vh_slave_import");

	if (rc)
		return rc;
	rc = !buf || (n_fds && !fds) ? vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_import: buf or fds is NULL")
				     : vhi_slave_check_unused(s);
	if (rc)
		return vhi_slave_leave(s, rc);
	r.n_rings = s->n_queues;
	r.regions = vhi_calloc(VH_MEM_MAX_REGIONS, sizeof(*r.regions));
	r.region_fds = vhi_calloc(VH_MEM_MAX_REGIONS, sizeof(*r.region_fds));
	r.rings = vhi_calloc(s->n_queues, sizeof(*r.rings));
	if (!r.regions || !r.region_fds || !r.rings)
		rc = vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_slave_import: no memory");
	for (uint32_t i = 0; !rc && i < r.n_rings; i++)
		r.rings[i] = (struct rec_ring){.index = i, .kick = NO_FILE, .call = NO_FILE, .err = NO_FILE};
	if (!rc)
		rc = read_all(&r);
	if (!rc)
		rc = import(s, &r);
	if (!rc)
		vhi_slave_wake(s); /* rings are looked at by the next round */
	vhi_dial_forget(&r.dial);
	vhi_free(r.regions);
	vhi_free(r.region_fds);
	vhi_free(r.rings);
	return vhi_slave_leave(s, rc);
}
