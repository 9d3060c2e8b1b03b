/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A queue's life, and what can be asked of it from any thread. */
#include "vhi_packed.h"

int vhi_queue_new(uint32_t index, uint32_t role, const struct vhi_queue_hooks *hooks, struct vh_queue **out)
{
	struct vh_queue *q = vhi_calloc(1, sizeof(*q));
	int rc = q ? -pthread_mutex_init(&q->lock, NULL) : -ENOMEM;

	if (!rc) {
		rc = -pthread_cond_init(&q->left, NULL);
		if (rc)
			pthread_mutex_destroy(&q->lock);
	}
	if (rc) {
		vhi_free(q);
		return vhi_fail_at(rc, VH_ERROR_SYSTEM, 0, index, VH_ERROR_NONE, "queue %u: no memory", index);
	}
	vhi_gate_prepare();
	q->pass = &vhi_no_pass;
	q->price = VHI_PASS_PRICE;
	q->index = index;
	q->role = role;
	q->owned = true;
	q->epoch = 1;
	q->flags = VHI_QF_SHUT;
	q->in = role == VH_QUEUE_DEVICE ? VHI_QUEUE_KICK : VHI_QUEUE_CALL;
	q->out = role == VH_QUEUE_DEVICE ? VHI_QUEUE_CALL : VHI_QUEUE_KICK;
	q->epfd = -1;
	q->wake_fd = -1;
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(q->fds); i++)
		q->fds[i] = q->change.fds[i] = -1;
	if (hooks)
		q->hooks = *hooks;
	*out = q;
	return 0;
}

void vhi_queue_leave_to_parent(struct vh_queue *q)
{
	vhi_fd_close(&q->epfd);
	vhi_fd_close(&q->wake_fd);
}

void vhi_queue_destroy(struct vh_queue *q)
{
	if (!q)
		return;
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(q->fds); i++) {
		vhi_fd_close(&q->fds[i]);
		vhi_fd_close(&q->change.fds[i]);
	}
	vhi_fd_close(&q->epfd);
	vhi_fd_close(&q->wake_fd);
	vhi_queue_drop_tables(q);
	vhi_track_stop(q);
	vhi_dead_forget(q);
	vhi_behind_end(q);
	vhi_dirty_put(q->change.log.dirty);
	vhi_dirty_put(q->log.dirty);
	vhi_snapshot_put(q->change.snap);
	vhi_snapshot_put(q->snap);
	if (q->alone) {
		vhi_snapshot_put(q->alone->snap);
		vhi_inflight_put(q->alone->ring.inflight);
		vhi_iotlb_put(q->alone->ring.iotlb);
		vhi_free(q->alone);
	}
	pthread_cond_destroy(&q->left);
	pthread_mutex_destroy(&q->lock);
	vhi_free(q);
}

static int set_fd_dup(struct vh_queue *q, enum vhi_queue_fd which, int32_t fd)
{
	int mine;

	if (fd < 0)
		return 0;
	mine = vhi_fd_dup(fd);
	if (mine < 0)
		return vhi_fail_at(mine, VH_ERROR_ARGUMENT, 0, q->index, VH_ERROR_NONE,
				   "vh_queue_open: can't duplicate fd %d: %s", fd, vh_error_name(mine));
	return vhi_queue_set_fd(q, which, mine);
}

static int check_opts(const struct vh_queue_opts *o)
{
	const char *wrong = NULL;

	if (o->role != VH_QUEUE_DEVICE && o->role != VH_QUEUE_DRIVER)
		wrong = "role must be VH_QUEUE_DEVICE or VH_QUEUE_DRIVER";
	else if (o->index > UINT16_MAX)
		wrong = "index must be below 65536";
	else if (o->max_segs > VH_QUEUE_MAX_SIZE)
		wrong = "max_segs must be at most VH_QUEUE_MAX_SIZE";
	else if (o->max_indirect > VH_QUEUE_MAX_SIZE)
		wrong = "max_indirect must be at most VH_QUEUE_MAX_SIZE";
	else if (o->flags & ~VH_QUEUE_HOLD)
		wrong = "flags must be 0 or VH_QUEUE_HOLD";
	return wrong ? vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_queue_open: %s", wrong) : 0;
}

static int start_alone(struct vh_queue *q)
{
	int rc = vhi_queue_start(q, &q->alone->ring, q->alone->snap);

	if (!rc)
		q->alone->ring.fresh = false;
	return rc;
}

static int open_queue(struct vh_mem *mem, const struct vh_queue_opts *o, int32_t kick_fd, int32_t call_fd,
		      struct vh_queue **out)
{
	const struct vhi_ring ring = {
		.num = o->num,
		.features = o->features,
		.desc = {o->desc},
		.driver = {o->driver},
		.device = {o->device},
		.base = o->base,
		.max_segs = o->max_segs,
		.fresh = true,
		.indirect = {o->indirect},
		.max_indirect = o->role == VH_QUEUE_DRIVER ? o->max_indirect : 0,
	};
	struct vh_queue *q;
	int rc = vhi_queue_new(o->index, o->role, NULL, &q);

	if (rc)
		return rc;
	q->owned = false;
	q->alone = vhi_calloc(1, sizeof(*q->alone));
	if (!q->alone)
		rc = vhi_fail_at(-ENOMEM, VH_ERROR_SYSTEM, 0, o->index, VH_ERROR_NONE, "queue %u: no memory", o->index);
	if (!rc) {
		q->alone->ring = ring;
		q->alone->snap = vhi_mem_snapshot(mem);
		rc = set_fd_dup(q, VHI_QUEUE_KICK, kick_fd);
	}
	if (!rc)
		rc = set_fd_dup(q, VHI_QUEUE_CALL, call_fd);
	if (!rc)
		rc = vhi_queue_ctl(q, VHI_CTL_ENABLE, NULL);
	if (!rc && !(o->flags & VH_QUEUE_HOLD))
		rc = start_alone(q);
	if (rc)
		vhi_queue_destroy(q);
	else
		*out = q;
	return rc;
}

vh_rc vh_queue_open(struct vh_mem *mem, const struct vh_queue_opts *opts, int32_t kick_fd, int32_t call_fd,
		    struct vh_queue **out)
{
	struct vh_queue_opts o;
	struct vh_queue *q;
	int rc;

	if (!mem || !opts || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_queue_open: mem, opts and out must not be NULL");
	rc = vhi_opts_in(&o, sizeof(o), opts, "vh_queue_opts");
	if (!rc)
		rc = check_opts(&o);
	if (!rc)
		rc = open_queue(mem, &o, kick_fd, call_fd, &q);
	if (!rc)
		*out = q;
	return rc;
}

void vh_queue_free(struct vh_queue *q)
{
	if (q && !q->owned)
		vhi_queue_destroy(q);
}

static int not_alone(const struct vh_queue *q, const char *call)
{
	if (!q)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: queue is NULL", call);
	return q->owned ? vhi_fail_at(-EPERM, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
				      "%s: queue %u belongs to a slave or driver", call, q->index)
			: 0;
}

vh_rc vh_queue_start(struct vh_queue *q)
{
	int rc = not_alone(q, "vh_queue_start");

	return rc ? rc : start_alone(q);
}

/* Not a stand-alone queue of a device, or one that has not stopped: what the call returns. */
static int not_a_device(struct vh_queue *q, const char *call)
{
	int rc = not_alone(q, call);

	if (rc || q->role == VH_QUEUE_DEVICE)
		return rc;
	return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, q->index, VH_ERROR_NONE,
			   "%s: queue %u is not on the device side", call, q->index);
}

static int not_stopped(struct vh_queue *q, const char *call)
{
	if (vh_queue_state(q) != VH_QUEUE_STOPPED)
		return vhi_fail_at(-EBUSY, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
				   "%s: queue %u has not stopped; open it with VH_QUEUE_HOLD, or stop it", call,
				   q->index);
	return 0;
}

vh_rc vh_queue_set_iotlb(struct vh_queue *q, struct vh_iotlb *t)
{
	int rc = not_a_device(q, "vh_queue_set_iotlb");

	if (!rc)
		rc = not_stopped(q, "vh_queue_set_iotlb");
	if (rc)
		return rc;
	vhi_iotlb_get(t);
	vhi_iotlb_put(q->alone->ring.iotlb);
	q->alone->ring.iotlb = t;
	return 0;
}

vh_rc vh_queue_set_inflight(struct vh_queue *q, const struct vh_inflight *inflight, vh_fd fd)
{
	const char *call = "vh_queue_set_inflight";
	struct vhi_inflight *file = NULL;
	struct vh_inflight in = {0};
	int rc = not_a_device(q, call);

	if (rc)
		return rc;
	rc = inflight ? vhi_opts_in(&in, sizeof(in), inflight, "vh_inflight") : 0;
	if (!rc && inflight && (!in.num_queues || !in.queue_size || in.queue_size > VH_QUEUE_MAX_SIZE || in.reserved))
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
			      "%s: no queues, no entries, too many of them, or reserved is not 0", call);
	if (!rc)
		rc = not_stopped(q, call);
	if (!rc && inflight)
		rc = vhi_inflight_open(&in, fd, false, &file);
	if (rc)
		return rc;
	vhi_inflight_put(q->alone->ring.inflight);
	q->alone->ring.inflight = file;
	return 0;
}

vh_rc vh_queue_stop(struct vh_queue *q, uint32_t *base)
{
	uint32_t at;

	if (!q)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_queue_stop: queue is NULL");
	if (q->owned)
		return vhi_fail_at(-EPERM, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
				   "vh_queue_stop: queue %u belongs to a slave or driver; stop that", q->index);
	if (vhi_queue_ctl(q, VHI_CTL_DRAIN, NULL))
		return vhi_fail_at(-EBUSY, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
				   "vh_queue_stop: another thread is inside queue %u; call again", q->index);
	if (vhi_queue_in_flight(q) || vhi_queue_finish_stop(q, &at))
		return vhi_fail_at(-EINPROGRESS, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
				   "vh_queue_stop: queue %u has requests in flight; complete them and call again",
				   q->index);
	q->alone->ring.base = at;
	if (base)
		*base = at;
	return 0;
}

vh_count vh_queue_state(struct vh_queue *q)
{
	if (!q)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_queue_state: queue is NULL");
	return (vh_count)__atomic_load_n(&q->state, __ATOMIC_ACQUIRE);
}

bool vhi_queue_enabled(struct vh_queue *q)
{
	bool enabled;

	pthread_mutex_lock(&q->lock);
	enabled = ((q->flags & ~q->change.clear) | q->change.set) & VHI_QF_ENABLED;
	pthread_mutex_unlock(&q->lock);
	return enabled;
}

/* Lock is held, so that the slots stay. A slot that changes meanwhile was old enough to be counted, or is young. */
static uint64_t oldest_ns(struct vh_queue *q)
{
	struct timespec room;
	const uint32_t now = vhi_now(&room);
	int64_t oldest = 0;

	if (!__atomic_load_n(&q->in_flight, __ATOMIC_RELAXED))
		return 0;
	for (uint32_t i = 0; i < q->num; i++) {
		uint32_t since = __atomic_load_n(&q->slots[i].since, __ATOMIC_RELAXED);

		if (!__atomic_load_n(&q->slots[i].state, __ATOMIC_RELAXED))
			continue;
		/* Who took it did nothing since: so old it is now. */
		if (!since && __atomic_compare_exchange_n(&q->slots[i].since, &since, now, false, __ATOMIC_RELAXED,
							  __ATOMIC_RELAXED))
			since = now;
		oldest = VHI_MAX(oldest, vhi_age_ns(now, since));
	}
	return (uint64_t)oldest;
}

static void count(struct vh_queue *q, struct vh_queue_stats *s)
{
	s->size = sizeof(*s);
	s->state = __atomic_load_n(&q->state, __ATOMIC_ACQUIRE);
	s->requests = __atomic_load_n(&q->stats.requests, __ATOMIC_RELAXED);
	s->completed = __atomic_load_n(&q->stats.completed, __ATOMIC_RELAXED);
	s->bytes_in = __atomic_load_n(&q->stats.bytes_in, __ATOMIC_RELAXED);
	s->bytes_out = __atomic_load_n(&q->stats.bytes_out, __ATOMIC_RELAXED);
	s->kicks = __atomic_load_n(&q->stats.kicks, __ATOMIC_RELAXED);
	s->calls = __atomic_load_n(&q->stats.calls, __ATOMIC_RELAXED);
	s->errors = __atomic_load_n(&q->stats.errors, __ATOMIC_RELAXED);
	s->seg_waits = __atomic_load_n(&q->stats.seg_waits, __ATOMIC_RELAXED);
	s->iotlb_misses = __atomic_load_n(&q->stats.iotlb_misses, __ATOMIC_RELAXED);
	s->failed = vhi_queue_failed(q);
	s->broken_site = __atomic_load_n(&q->stats.broken_site, __ATOMIC_RELAXED);
	s->in_flight = vhi_queue_in_flight(q);
}

static void see_split(const struct vh_queue *q, struct vhi_queue_seen *out)
{
	out->avail = vhi_shm_load16((const uint16_t VHI_SHM *)q->area[VHI_AREA_DRIVER] + 1);
	out->used = vhi_shm_load16((const uint16_t VHI_SHM *)q->area[VHI_AREA_DEVICE] + 1);
}

/*
 * Nowhere in the memory of a packed ring does it say where the two sides stand. Each knows its own place; a device finds the driver's,
 * behind what is available and not taken yet. How far a device is, its driver knows when it has reaped.
 */
static void see_packed(const struct vh_queue *q, struct vhi_queue_seen *out)
{
	out->used = __atomic_load_n(&q->next_used, __ATOMIC_RELAXED);
	out->avail = __atomic_load_n(&q->next_avail, __ATOMIC_RELAXED);
	if (q->role == VH_QUEUE_DRIVER)
		return;
	for (uint32_t i = 0; i < q->num && packed_is(packed_look(q, out->avail), packed_avail_marks(out->avail)); i++)
		out->avail = packed_on(q->num, out->avail, 1);
}

/* Lock is held, so that the ring stays where it is. Behind an IOMMU it may be nowhere. */
static void see_ring(struct vh_queue *q, struct vhi_queue_seen *out)
{
	const uint32_t state = out->stats.state;

	out->num = q->num;
	out->packed = vhi_is_packed(q);
	out->enabled = ((q->flags & ~q->change.clear) | q->change.set) & VHI_QF_ENABLED;
	out->has_indices = (state == VH_QUEUE_RUNNING || state == VH_QUEUE_DRAINING) && !q->behind.iotlb;
	if (out->has_indices && out->packed)
		see_packed(q, out);
	else if (out->has_indices)
		see_split(q, out);
}

void vhi_queue_see(struct vh_queue *q, struct vhi_queue_seen *out)
{
	memset(out, 0, sizeof(*out));
	out->index = q->index;
	pthread_mutex_lock(&q->lock);
	count(q, &out->stats);
	see_ring(q, out);
	out->stats.oldest_in_flight_ns = oldest_ns(q);
	pthread_mutex_unlock(&q->lock);
}

vh_rc vh_queue_get_stats(struct vh_queue *q, struct vh_queue_stats *out)
{
	struct vh_queue_stats s = {0};

	if (!q)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_queue_get_stats: queue is NULL");
	count(q, &s);
	pthread_mutex_lock(&q->lock);
	s.oldest_in_flight_ns = oldest_ns(q);
	pthread_mutex_unlock(&q->lock);
	return vhi_out_fill(out, &s, sizeof(s), "vh_queue_get_stats");
}

void vhi_queue_count_failed(struct vh_queue *q)
{
	__atomic_add_fetch(&q->stats.failed, 1, __ATOMIC_RELAXED);
}

uint64_t vhi_queue_failed(struct vh_queue *q)
{
	return __atomic_load_n(&q->stats.failed, __ATOMIC_RELAXED);
}

struct vh_snapshot *vhi_queue_snapshot(struct vh_queue *q)
{
	return q->snap;
}

vh_rc vh_queue_dup_snapshot(struct vh_queue *q, struct vh_snapshot **out)
{
	struct vh_snapshot *snap;

	if (!q || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_queue_dup_snapshot: queue and out must not be NULL");
	pthread_mutex_lock(&q->lock);
	snap = vhi_snapshot_get(q->snap);
	pthread_mutex_unlock(&q->lock);
	if (!snap)
		return vhi_fail_at(-ENOENT, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
				   "vh_queue_dup_snapshot: queue %u is stopped and has no memory", q->index);
	*out = snap;
	return 0;
}
