/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Changes from other threads than the one that pops and pushes: what they are, and how they are applied. */
#include "vhi_chain.h"
#include "vhi_in_order.h"
#include "vhi_probe.h"

void vhi_queue_refresh(struct vh_queue *q)
{
	uint32_t state = VH_QUEUE_RUNNING;

	if (!(q->flags & VHI_QF_STARTED)) {
		state = VH_QUEUE_STOPPED;
		q->flags &= ~(VHI_QF_DRAINING | VHI_QF_BROKEN);
	} else if (q->flags & VHI_QF_BROKEN) {
		state = VH_QUEUE_BROKEN;
	} else if (q->flags & VHI_QF_DRAINING) {
		state = VH_QUEUE_DRAINING;
	}
	if (state == VH_QUEUE_RUNNING && !(q->flags & VHI_QF_PAUSED) && !q->behind.parked &&
	    (q->role == VH_QUEUE_DRIVER || q->flags & VHI_QF_ENABLED))
		q->flags &= ~VHI_QF_SHUT;
	else
		q->flags |= VHI_QF_SHUT;
	if (q->role == VH_QUEUE_DEVICE)
		vhi_chain_form(q);
	__atomic_store_n(&q->state, state, __ATOMIC_RELEASE);
}

/* Lock and gate are held. */
static void broken(struct vh_queue *q, uint32_t site)
{
	VHI_PROBE3(queue_broken, (uintptr_t)q, q->index, site);
	q->flags |= VHI_QF_BROKEN;
	vhi_coalesce_flush(q);
	vhi_count(&q->stats.errors, 1);
	__atomic_store_n(&q->stats.broken_site, site, __ATOMIC_RELAXED);
	vhi_queue_refresh(q);
	q->after |= VHI_AFTER_WAKE | VHI_AFTER_ERR;
	if (q->fds[VHI_QUEUE_ERR] < 0 && __atomic_load_n(&q->by_message, __ATOMIC_RELAXED))
		__atomic_fetch_or(&q->told, VHI_TELL_ERR, __ATOMIC_RELEASE);
}

static int site_code(uint32_t site)
{
	static const uint16_t faults[] = {VHI_SITE_QUEUE_AREA_GONE, VHI_SITE_QUEUE_INDIRECT_FAULT, VHI_SITE_QUEUE_FAULT,
					  VHI_SITE_QUEUE_POISONED, VHI_SITE_QUEUE_IOTLB_RING};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(faults); i++)
		if (faults[i] == site)
			return -EFAULT;
	return -EPROTO;
}

/* Lock is held. The first failure is the one that counts. */
static bool failure_note(struct vh_queue *q, int code, uint32_t site, const char *why)
{
	if (q->failure.code)
		return false;
	q->failure = (struct vhi_queue_failure){.code = code, .site = site, .why = why};
	return true;
}

static void failure_tell(const struct vh_queue *q, struct vhi_failure *out)
{
	const struct vhi_queue_failure *f = &q->failure;

	vhi_failure_set(out, f->code, f->code == -EFAULT ? VH_ERROR_MEMORY : VH_ERROR_QUEUE, f->site,
			"queue %u is broken: %s; stop and start it again", q->index, f->why);
	out->queue = q->index;
}

int vhi_queue_raise(const struct vh_queue *q)
{
	struct vhi_failure f;

	failure_tell(q, &f);
	return vhi_failure_raise(&f);
}

int vhi_queue_broke(struct vh_queue *q, uint32_t site)
{
	pthread_mutex_lock(&q->lock);
	failure_note(q, site_code(site), site, vhi_queue_site_text(site));
	broken(q, q->failure.site);
	pthread_mutex_unlock(&q->lock);
	return vhi_queue_raise(q);
}

static void apply_iotlb(struct vh_queue *q)
{
	uint32_t site = q->behind.iotlb && q->flags & VHI_QF_STARTED ? vhi_behind_sync(q) : 0;

	if (site && failure_note(q, site_code(site), site, vhi_queue_site_text(site)))
		broken(q, site);
	q->behind.mark = q->seq;
}

static void apply_snapshot(struct vh_queue *q, struct vh_snapshot *snap)
{
	void VHI_SHM *area[VHI_AREAS];

	if (!(q->flags & VHI_QF_STARTED)) {
		vhi_snapshot_put(snap);
		return;
	}
	if (q->behind.iotlb) {
		/* The IOTLB knows of the change, and what it says comes with its own. */
		vhi_snapshot_put(snap);
		apply_iotlb(q);
		return;
	}
	if (!VHI_REFUSE(VHI_SITE_QUEUE_AREA_GONE, vhi_queue_locate(&q->ring, snap, area)))
		memcpy(q->area, area, sizeof(area));
	else if (failure_note(q, -EFAULT, VHI_SITE_QUEUE_AREA_GONE, vhi_queue_site_text(VHI_SITE_QUEUE_AREA_GONE)))
		broken(q, VHI_SITE_QUEUE_AREA_GONE);
	vhi_snapshot_put(q->snap);
	q->snap = snap;
	q->lookup = snap;
	q->faults_seen = 0;
	vhi_queue_refresh(q);
}

void vhi_queue_halt(struct vh_queue *q)
{
	VHI_PROBE2(queue_stopped, (uintptr_t)q, q->index);
	q->flags &= ~VHI_QF_STARTED;
	vhi_coalesce_flush(q);
	q->epoch++;
	vhi_behind_end(q);
	vhi_snapshot_put(q->snap);
	q->snap = NULL;
	vhi_queue_put_log(q, &(struct vhi_queue_log){0});
	vhi_track_stop(q);
	vhi_queue_refresh(q);
}

static void apply_log(struct vh_queue *q, const struct vhi_queue_log *log)
{
	if (q->flags & VHI_QF_STARTED)
		vhi_queue_put_log(q, log);
	else
		vhi_dirty_put(log->dirty);
}

static void apply_abort(struct vh_queue *q, bool park)
{
	uint32_t left;

	if (q->flags & VHI_QF_STARTED) {
		q->base = park ? vhi_track_base(q) : q->layout->base(q, &left);
		q->parked = park && q->in_flight ? q->epoch : 0;
	}
	if (q->role == VH_QUEUE_DEVICE && q->flags & VHI_QF_IN_ORDER)
		vhi_in_flight(q, q->in_flight - vhi_order_forget(q));
	if (q->role == VH_QUEUE_DEVICE && q->in_flight)
		vhi_dead_bury(q);
	vhi_queue_halt(q);
	vhi_queue_drop_tables(q);
}

void vhi_queue_apply(struct vh_queue *q)
{
	struct vhi_change c = q->change;

	q->change = (struct vhi_change){.fds = {-1, -1, -1}};
	if (c.snap)
		apply_snapshot(q, c.snap);
	if (c.what & VHI_PENDING_IOTLB)
		apply_iotlb(q);
	if (c.what & VHI_PENDING_LOG)
		apply_log(q, &c.log);
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(c.fds); i++)
		if (c.what & VHI_PENDING_FD(i))
			vhi_queue_put_fd(q, (enum vhi_queue_fd)i, c.fds[i]);
	q->flags = (q->flags & ~c.clear) | c.set;
	if (c.what & VHI_PENDING_ABORT)
		apply_abort(q, c.what & VHI_PENDING_PARK && q->track);
	if (c.what & VHI_PENDING_FORGET)
		vhi_dead_forget(q);
	if (c.what & VHI_PENDING_BREAK && q->flags & VHI_QF_STARTED)
		broken(q, q->failure.site);
	q->starved = false;
	vhi_queue_refresh(q);
	q->after |= VHI_AFTER_SELF;
}

bool vhi_snapshot_covers(const struct vh_snapshot *new, const struct vh_snapshot *old)
{
	uint32_t at = 0;

	for (uint32_t i = 0; old && i < old->n; i++) {
		while (at < new->n &&new->regions[at] != old->regions[i])
			at++;
		if (at == new->n)
			return false;
	}
	return true;
}

static int ctl_snapshot(struct vh_queue *q, struct vh_snapshot *snap)
{
	bool ours = vhi_queue_begin(q);

	if ((!ours || q->in_flight) && !vhi_snapshot_covers(snap, q->snap)) {
		vhi_queue_abandon(q, ours);
		return vhi_fail_at(-EBUSY, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
				   "queue %u: memory can't be taken away while requests are in flight", q->index);
	}
	vhi_snapshot_put(q->change.snap);
	q->change.snap = vhi_snapshot_get(snap);
	return vhi_queue_finish(q, ours);
}

int vhi_queue_ctl(struct vh_queue *q, enum vhi_queue_ctl_kind kind, struct vh_snapshot *snap)
{
	static const struct {
		uint16_t set, clear, what;
	} kinds[] = {
		[VHI_CTL_IOTLB] = {VHI_QF_WATCHED, 0, VHI_PENDING_IOTLB},
		[VHI_CTL_UNWATCH] = {0, VHI_QF_WATCHED, 0},
		[VHI_CTL_PAUSE] = {VHI_QF_PAUSED, 0, 0},
		[VHI_CTL_RESUME] = {0, VHI_QF_PAUSED, 0},
		[VHI_CTL_ENABLE] = {VHI_QF_ENABLED, 0, 0},
		[VHI_CTL_DISABLE] = {0, VHI_QF_ENABLED, 0},
		[VHI_CTL_DRAIN] = {VHI_QF_DRAINING, 0, 0},
		[VHI_CTL_ABORT] = {0, VHI_QF_DRAINING, VHI_PENDING_ABORT},
		[VHI_CTL_PARK] = {0, VHI_QF_DRAINING, VHI_PENDING_ABORT | VHI_PENDING_PARK},
		[VHI_CTL_FORGET] = {0, 0, VHI_PENDING_FORGET},
	};
	struct vhi_change *c = &q->change;
	bool ours;

	if (kind == VHI_CTL_SNAPSHOT)
		return ctl_snapshot(q, snap);
	ours = vhi_queue_begin(q);
	c->set = (c->set & ~(uint32_t)kinds[kind].clear) | kinds[kind].set;
	c->clear = (c->clear & ~(uint32_t)kinds[kind].set) | kinds[kind].clear;
	c->what |= kinds[kind].what;
	return vhi_queue_finish(q, ours);
}

uint32_t vhi_queue_taken(const struct vh_queue *q)
{
	return q->seq;
}

uint32_t vhi_queue_in_flight(struct vh_queue *q)
{
	return __atomic_load_n(&q->in_flight, __ATOMIC_ACQUIRE);
}

uint32_t vhi_queue_parked(struct vh_queue *q)
{
	uint32_t n = 0;

	pthread_mutex_lock(&q->lock);
	for (uint32_t i = 0; q->parked && i < VHI_DEAD_RUNS; i++)
		if (q->dead[i].grave && q->dead[i].epoch == q->parked)
			n = q->dead[i].in_flight;
	pthread_mutex_unlock(&q->lock);
	return n;
}

bool vhi_queue_tracked(struct vh_queue *q)
{
	bool tracked;

	pthread_mutex_lock(&q->lock);
	tracked = q->flags & VHI_QF_TRACKED && !vhi_queue_inflight_lost(q);
	pthread_mutex_unlock(&q->lock);
	return tracked;
}

int vhi_queue_break(struct vh_queue *q, int code, uint32_t site, const char *why)
{
	bool ours = vhi_queue_begin(q);

	if (!(q->flags & VHI_QF_STARTED) || !failure_note(q, code, site, why)) {
		vhi_queue_abandon(q, ours);
		return code;
	}
	q->change.what |= VHI_PENDING_BREAK;
	vhi_queue_finish(q, ours);
	return code;
}

bool vhi_queue_failure(struct vh_queue *q, struct vhi_failure *out)
{
	if (__atomic_load_n(&q->state, __ATOMIC_ACQUIRE) != VH_QUEUE_BROKEN)
		return false;
	failure_tell(q, out);
	return true;
}
