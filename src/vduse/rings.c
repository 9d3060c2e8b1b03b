/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Queues: from DRIVER_OK to a reset, or until they break. The kernel has their addresses, and we its eventfds for kicks. */
#include "vhi_vduse.h"

static bool is_manual(const struct vh_vduse *v)
{
	return v->dev->ops.flags & VH_DEVICE_MANUAL_QUEUES;
}

static bool runs(const struct vhi_vduse_ring *r)
{
	return r->state != VHI_VDUSE_STOPPED;
}

/* Somebody has to look at the ring: we do, or the thread that drives it. */
static void look(struct vh_vduse *v, struct vhi_vduse_ring *r)
{
	if (is_manual(v))
		vhi_queue_wake(r->q);
	else
		r->serve.pending = true;
}

/* Edge-triggered: nobody has to read it. The kicks of a queue that its user drives are his, once it runs. */
static int watch_kick(struct vh_vduse *v, uint32_t i)
{
	struct vhi_vduse_ring *r = &v->rings[i];
	const int fd = vhi_queue_get_fd(r->q, VHI_QUEUE_KICK);
	const bool wanted = fd >= 0 && !(is_manual(v) && runs(r));
	int rc;

	if (wanted == r->watched)
		return 0;
	rc = vhi_vduse_watch(v, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, VHI_VDUSE_FROM_KICK, i, EPOLLIN | EPOLLET);
	r->watched = wanted && !rc;
	return rc;
}

static void close_kick(struct vh_vduse *v, uint32_t i)
{
	struct vhi_vduse_ring *r = &v->rings[i];

	vhi_queue_drain(r->q);
	/* Closing is not enough: the kernel has the same open file, and the set would keep it. */
	if (r->watched)
		vhi_vduse_watch(v, EPOLL_CTL_DEL, vhi_queue_get_fd(r->q, VHI_QUEUE_KICK), VHI_VDUSE_FROM_KICK, i, 0);
	r->watched = false;
	vhi_queue_set_fd(r->q, VHI_QUEUE_KICK, -1);
}

static int open_kick(struct vh_vduse *v, uint32_t i)
{
	struct vhi_vduse_vq_eventfd arg = {.index = i, .fd = vhi_eventfd()};
	int rc;

	if (arg.fd < 0)
		return arg.fd;
	rc = vhi_vduse_ioctl(v, VHI_VDUSE_VQ_SETUP_KICKFD, &arg);
	if (rc < 0) {
		vhi_fd_close(&arg.fd);
		return rc;
	}
	rc = vhi_queue_set_fd(v->rings[i].q, VHI_QUEUE_KICK, arg.fd);
	return rc ? rc : watch_kick(v, i);
}

static uint32_t base_of(const struct vh_vduse *v, const struct vhi_vduse_vq_info *info)
{
	const struct vhi_vduse_vq_state_packed *p = &info->packed;

	if (!(v->acked & VHI_BIT(VH_F_RING_PACKED)))
		return info->split.avail_index;
	return (uint32_t)(p->last_avail_idx & 0x7fff) | (uint32_t)(p->last_avail_counter & 1) << 15 |
	       (uint32_t)(p->last_used_idx & 0x7fff) << 16 | (uint32_t)(p->last_used_counter & 1) << 31;
}

uint32_t vhi_vduse_base(struct vh_vduse *v, uint32_t i)
{
	struct vhi_vduse_vq_info info = {.index = i};

	/* Before DRIVER_OK it is where the kernel was told that it shall begin: nothing of it has come here yet. */
	if (!(v->status & VHI_STATUS_DRIVER_OK) && vhi_vduse_ioctl(v, VHI_VDUSE_VQ_GET_INFO, &info) >= 0)
		return base_of(v, &info);
	return vhi_queue_base(v->rings[i].q);
}

static void started(struct vh_vduse *v, uint32_t i)
{
	struct vhi_vduse_ring *r = &v->rings[i];

	r->state = VHI_VDUSE_RUNNING;
	r->lost = false;
	r->fresh = v->records != NULL;
	vhi_serve_begin(&r->serve, 0);
	watch_kick(v, i);
	vhi_events_raise(&v->events, VH_EVENT_STARTED, i, VH_START_DRIVER_OK, 0);
	if (v->dev->ops.queue_started)
		v->dev->ops.queue_started(v->dev->ctx, r->q, i);
	look(v, r);
}

static int start(struct vh_vduse *v, uint32_t i, const struct vhi_vduse_vq_info *info, uint32_t base)
{
	struct vhi_vduse_ring *r = &v->rings[i];
	const struct vhi_vduse_space *space;
	struct vhi_ring ring = {.num = info->num, .features = v->acked, .base = base, .inflight = v->records};
	struct vh_snapshot *snap;
	int rc;

	if (VHI_REFUSE(VHI_SITE_VDUSE_NUM, info->num > v->dev->opts.max_queue_size))
		return vhi_fail_at(-EINVAL, VH_ERROR_QUEUE, VHI_SITE_VDUSE_NUM, i, VH_ERROR_NONE,
				   "queue %u has %u entries; the device takes %u", i, info->num,
				   v->dev->opts.max_queue_size);
	r->space = v->asids[i % v->opts.groups];
	space = &v->spaces[r->space];
	ring.desc.v = info->desc_addr;
	ring.driver.v = info->driver_addr;
	ring.device.v = info->device_addr;
	ring.iotlb = space->iotlb;
	vhi_queue_ctl(r->q, VHI_CTL_ENABLE, NULL);
	vhi_queue_by_message(r->q, true);
	snap = vhi_mem_snapshot(space->mem);
	rc = vhi_queue_start(r->q, &ring, snap);
	vhi_snapshot_put(snap);
	return rc;
}

/* Where it is to go on, other than where the kernel says that it began; -1 = there. */
static void try_start(struct vh_vduse *v, uint32_t i, int64_t at)
{
	struct vhi_vduse_vq_info info = {.index = i};
	struct vhi_vduse_ring *r = &v->rings[i];
	struct vh_error e = {.size = sizeof(e)};
	int rc = vhi_vduse_ioctl(v, VHI_VDUSE_VQ_GET_INFO, &info);

	if (rc < 0) {
		vhi_log_line(&v->log, VH_LOG_WARNING, "queue %u: the kernel does not say where it is: %s", i,
			     vh_error_name(rc));
		return;
	}
	if (!info.ready)
		return;
	rc = start(v, i, &info, at < 0 ? base_of(v, &info) : (uint32_t)at);
	r->busy = rc == -EBUSY;
	if (!rc) {
		started(v, i);
		return;
	}
	vh_error_get(&e);
	vhi_log_line(&v->log, VH_LOG_WARNING, "queue %u does not start%s: %s", i, r->busy ? " yet" : "", e.text);
	if (!r->busy)
		vhi_events_raise(&v->events, VH_EVENT_BROKEN, i, rc, e.site);
}

void vhi_vduse_start_all(struct vh_vduse *v)
{
	for (uint32_t i = 0; i < v->n_queues; i++) {
		int rc = open_kick(v, i);

		if (rc)
			vhi_log_line(&v->log, VH_LOG_WARNING, "queue %u can't be kicked: %s", i, vh_error_name(rc));
		try_start(v, i, -1);
	}
}

void vhi_vduse_restart(struct vh_vduse *v, uint32_t i, uint32_t base)
{
	if (open_kick(v, i))
		vhi_log_line(&v->log, VH_LOG_WARNING, "queue %u can't be kicked any more", i);
	try_start(v, i, base);
}

/* A queue may be made ready after DRIVER_OK; nothing but its first kick tells of that. */
void vhi_vduse_kicked(struct vh_vduse *v, uint32_t i)
{
	struct vhi_vduse_ring *r = &v->rings[i];

	vhi_queue_ack(r->q);
	if (r->state == VHI_VDUSE_RUNNING)
		look(v, r);
	else if (r->state == VHI_VDUSE_STOPPED && v->status & VHI_STATUS_DRIVER_OK && !v->job.step)
		try_start(v, i, -1);
}

static void stopped(struct vh_vduse *v, uint32_t i, uint32_t base)
{
	struct vhi_vduse_ring *r = &v->rings[i];

	r->state = VHI_VDUSE_STOPPED;
	r->serve.pending = false;
	r->told = 0;
	close_kick(v, i);
	vhi_events_raise(&v->events, VH_EVENT_STOPPED, i, 0, base);
	if (v->dev->ops.queue_stopped)
		v->dev->ops.queue_stopped(v->dev->ctx, r->q, i);
}

void vhi_vduse_drain(struct vh_vduse *v, uint32_t i)
{
	struct vhi_vduse_ring *r = &v->rings[i];
	uint32_t n;

	r->busy = false;
	if (r->state == VHI_VDUSE_STOPPED) {
		close_kick(v, i);
		return;
	}
	r->state = VHI_VDUSE_DRAINING;
	vhi_queue_ctl(r->q, VHI_CTL_DRAIN, NULL);
	n = vhi_queue_in_flight(r->q);
	if (n)
		vhi_events_raise(&v->events, VH_EVENT_DRAINING, i, 0, n);
}

bool vhi_vduse_stopped(struct vh_vduse *v, uint32_t i)
{
	uint32_t base;

	if (v->rings[i].state == VHI_VDUSE_DRAINING && !vhi_queue_finish_stop(v->rings[i].q, &base))
		stopped(v, i, base);
	return v->rings[i].state == VHI_VDUSE_STOPPED;
}

void vhi_vduse_abort_all(struct vh_vduse *v)
{
	for (uint32_t i = 0; i < v->n_queues; i++) {
		if (!runs(&v->rings[i])) {
			close_kick(v, i);
			continue;
		}
		vhi_queue_ctl(v->rings[i].q, VHI_CTL_ABORT, NULL);
		stopped(v, i, vhi_queue_base(v->rings[i].q));
	}
}

static void broke(struct vh_vduse *v, uint32_t i)
{
	struct vhi_vduse_ring *r = &v->rings[i];
	struct vhi_failure f = {.code = 0};
	uint64_t iova;
	uint32_t perm;

	vhi_queue_failure(r->q, &f);
	r->state = VHI_VDUSE_BROKEN;
	vhi_log_line(&v->log, VH_LOG_WARNING, "queue %u broke: %s", i, f.text);
	vhi_events_raise(&v->events, VH_EVENT_BROKEN, i, f.code, f.site);
	if (vhi_queue_iotlb_fault(r->q, &iova, &perm))
		vhi_events_raise(&v->events, VH_EVENT_IOTLB_FAULT, i, (int32_t)perm, iova);
}

static void lost_records(struct vh_vduse *v, uint32_t i)
{
	v->rings[i].lost = true;
	vhi_log_line(&v->log, VH_LOG_WARNING, "queue %u: the file of its inflight records was truncated", i);
	vhi_events_raise(&v->events, VH_EVENT_INFLIGHT_LOST, i, -EFAULT, 0);
}

void vhi_vduse_woken(struct vh_vduse *v)
{
	for (uint32_t i = 0; i < v->n_queues; i++) {
		struct vhi_vduse_ring *r = &v->rings[i];

		if (r->state == VHI_VDUSE_RUNNING && vh_queue_state(r->q) == VH_QUEUE_BROKEN)
			broke(v, i);
		if (r->state == VHI_VDUSE_RUNNING && !is_manual(v))
			r->serve.pending = true;
		if (r->busy && v->status & VHI_STATUS_DRIVER_OK)
			try_start(v, i, -1);
		if (!r->lost && vhi_queue_inflight_lost(r->q))
			lost_records(v, i);
	}
}

/* The records are read when the ring is found, and that is with the first request. */
static void tell_again(struct vh_vduse *v, uint32_t i)
{
	const uint32_t again = vhi_queue_resubmits(v->rings[i].q);

	v->rings[i].fresh = false;
	if (again)
		vhi_events_raise(&v->events, VH_EVENT_RESUBMITTED, i, 0, again);
}

static void run(struct vh_vduse *v, uint32_t i)
{
	struct vhi_vduse_ring *r = &v->rings[i];
	int32_t rc;

	vhi_serve_open(&r->serve, r->q);
	rc = vhi_serve_batch(&r->serve, r->q, v->dev, i, v->opts.budget, 0);
	if (r->fresh && vhi_queue_taken(r->q))
		tell_again(v, i);
	if (rc > 0)
		r->serve.pending = true;
	else if (rc < 0 && vh_queue_state(r->q) != VH_QUEUE_BROKEN)
		vhi_queue_break(r->q, rc, 0, "the device gave the queue up");
	if (vh_queue_state(r->q) == VH_QUEUE_BROKEN)
		broke(v, i);
}

bool vhi_vduse_run_all(struct vh_vduse *v)
{
	bool more = false;

	for (uint32_t i = 0; i < v->n_queues && !__atomic_load_n(&v->stopping, __ATOMIC_ACQUIRE); i++) {
		struct vhi_vduse_ring *r = &v->rings[i];

		if (r->serve.pending && r->state == VHI_VDUSE_RUNNING)
			run(v, i);
		else
			r->serve.pending = false;
		more |= r->serve.pending && r->state == VHI_VDUSE_RUNNING;
	}
	return more;
}

void vhi_vduse_interrupts(struct vh_vduse *v)
{
	for (uint32_t i = 0; i < v->n_queues; i++) {
		struct vhi_vduse_ring *r = &v->rings[i];

		r->told |= vhi_queue_take_told(r->q);
		if (r->told & VHI_TELL_CALL && vhi_vduse_ioctl(v, VHI_VDUSE_VQ_INJECT_IRQ, &i) >= 0)
			v->stats.interrupts++;
		r->told = 0;
	}
}
