/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What the kernel asks. It waits for each answer, and gives the device up for good when one takes too long; so an answer that
 * waits for requests in flight, or for the device, has a deadline before that.
 */
#include "vhi_vduse.h"

#define MESSAGES_PER_ROUND 8

/* All that virtio has of a driver that runs: ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK. */
#define STATUS_RUNS 15u

static enum vhi_vduse_outcome refused(struct vh_vduse *v, uint32_t site)
{
	vhi_log_line(&v->log, VH_LOG_WARNING, "message %u of the kernel: %s", v->job.req.type,
		     vhi_vduse_site_text(site));
	return VHI_VDUSE_FAILED;
}

static enum vhi_vduse_outcome later(struct vh_vduse *v, vhi_vduse_step *step)
{
	v->job.step = step;
	return step(v);
}

/* What a callback of the device said, or says by now; late is the same as no. */
static int32_t device_said(struct vh_vduse *v)
{
	int32_t rc = vhi_later_result(v->dev, v->job.later, v->job.rc, NULL, NULL);

	if (rc != -EINPROGRESS || !v->job.overdue)
		return rc;
	vhi_later_disarm(v->dev);
	return -ETIMEDOUT;
}

static bool all_stopped(struct vh_vduse *v)
{
	bool all = true;

	for (uint32_t i = 0; i < v->n_queues; i++)
		all &= vhi_vduse_stopped(v, i);
	return all;
}

/* A part begins with zeroes: nothing is in flight. */
static void records_begin(const struct vh_vduse *v)
{
	const struct vhi_inflight *f = v->records;
	uint64_t VHI_SHM *words;
	uint64_t stride;

	if (!f)
		return;
	stride = vhi_inflight_stride(f->queue_size, v->acked);
	for (uint32_t i = 0; i < f->num_queues; i++) {
		words = (uint64_t VHI_SHM *)(uintptr_t)(f->region->host + i * stride);
		for (uint32_t at = 0; at < stride / sizeof(*words); at++)
			vhi_shm_store64(words + at, 0);
	}
}

static enum vhi_vduse_outcome status_done(struct vh_vduse *v)
{
	const uint8_t status = v->job.req.s.status, before = v->status;

	v->status = status;
	if (status & ~before & VHI_STATUS_DRIVER_OK) {
		records_begin(v);
		vhi_vduse_start_all(v);
	}
	vhi_events_raise(&v->events, VH_EVENT_STATUS, VH_ERROR_NONE, 0, status);
	return VHI_VDUSE_OK;
}

static enum vhi_vduse_outcome features_step(struct vh_vduse *v)
{
	int32_t rc = device_said(v);

	if (rc == -EINPROGRESS)
		return VHI_VDUSE_PENDING;
	if (VHI_REFUSE(VHI_SITE_VDUSE_FEATURES_DEVICE, rc))
		return refused(v, VHI_SITE_VDUSE_FEATURES_DEVICE);
	v->acked = v->job.features;
	vhi_events_raise(&v->events, VH_EVENT_NEGOTIATED, VH_ERROR_NONE, 0, v->acked);
	return status_done(v);
}

static enum vhi_vduse_outcome features(struct vh_vduse *v)
{
	const struct vh_device_ops *ops = &v->dev->ops;

	if (vhi_vduse_ioctl(v, VHI_VDUSE_DEV_GET_FEATURES, &v->job.features) < 0)
		return VHI_VDUSE_FAILED;
	if (VHI_REFUSE(VHI_SITE_VDUSE_FEATURES, v->job.features & ~v->features))
		return refused(v, VHI_SITE_VDUSE_FEATURES);
	v->job.rc = 0;
	if (ops->set_features) {
		v->job.later = vhi_later_arm(v->dev, 0);
		v->job.rc = ops->set_features(v->dev->ctx, v->job.features, v->job.later);
	}
	v->features_told = true;
	return later(v, features_step);
}

static enum vhi_vduse_outcome device_reset_step(struct vh_vduse *v)
{
	const struct vh_device_ops *ops = &v->dev->ops;
	int32_t rc = device_said(v);

	if (rc == -EINPROGRESS)
		return VHI_VDUSE_PENDING;
	if (ops->set_features && v->features_told)
		ops->set_features(v->dev->ctx, 0, 0);
	v->features_told = false;
	v->acked = 0;
	v->status = 0;
	vhi_events_raise(&v->events, VH_EVENT_RESET, VH_ERROR_NONE, rc, 0);
	vhi_events_raise(&v->events, VH_EVENT_STATUS, VH_ERROR_NONE, 0, 0);
	/* The kernel resets whatever is said here. */
	return VHI_VDUSE_OK;
}

static enum vhi_vduse_outcome reset_step(struct vh_vduse *v)
{
	const struct vh_device_ops *ops = &v->dev->ops;

	if (!all_stopped(v) && !v->job.overdue)
		return VHI_VDUSE_PENDING;
	vhi_vduse_abort_all(v);
	/* What a driver maps after a reset is not what it mapped before, and not all of that is taken back one by one. */
	vhi_vduse_forget(v);
	v->job.rc = 0;
	if (ops->reset) {
		v->job.later = vhi_later_arm(v->dev, 0);
		v->job.rc = ops->reset(v->dev->ctx, v->job.later);
	}
	return later(v, device_reset_step);
}

static enum vhi_vduse_outcome set_status(struct vh_vduse *v)
{
	const uint8_t status = v->job.req.s.status;

	if (!status) {
		for (uint32_t i = 0; i < v->n_queues; i++)
			vhi_vduse_drain(v, i);
		return later(v, reset_step);
	}
	return status & ~v->status & VHI_STATUS_FEATURES_OK ? features(v) : status_done(v);
}

static void put_base(struct vh_vduse *v, uint32_t base)
{
	struct vhi_vduse_vq_state *s = &v->job.rsp.vq_state;

	s->index = v->job.req.vq_state.index;
	if (!(v->acked & VHI_BIT(VH_F_RING_PACKED))) {
		s->split.avail_index = (uint16_t)base;
		return;
	}
	s->packed = (struct vhi_vduse_vq_state_packed){
		.last_avail_counter = base >> 15 & 1,
		.last_avail_idx = base & 0x7fff,
		.last_used_counter = (uint16_t)(base >> 31),
		.last_used_idx = base >> 16 & 0x7fff,
	};
}

/* Only a queue at rest has a place where another device could go on. */
static enum vhi_vduse_outcome vq_state_step(struct vh_vduse *v)
{
	const uint32_t i = v->job.req.vq_state.index;

	if (!vhi_vduse_stopped(v, i))
		return v->job.overdue ? VHI_VDUSE_FAILED : VHI_VDUSE_PENDING;
	put_base(v, vhi_queue_base(v->rings[i].q));
	if (v->status & VHI_STATUS_DRIVER_OK)
		vhi_vduse_restart(v, i, vhi_queue_base(v->rings[i].q));
	return VHI_VDUSE_OK;
}

static enum vhi_vduse_outcome get_vq_state(struct vh_vduse *v)
{
	const uint32_t i = v->job.req.vq_state.index;

	if (VHI_REFUSE(VHI_SITE_VDUSE_QUEUE, i >= v->n_queues))
		return refused(v, VHI_SITE_VDUSE_QUEUE);
	if (v->rings[i].state == VHI_VDUSE_STOPPED) {
		put_base(v, vhi_vduse_base(v, i));
		return VHI_VDUSE_OK;
	}
	vhi_vduse_drain(v, i);
	return later(v, vq_state_step);
}

static enum vhi_vduse_outcome update_step(struct vh_vduse *v)
{
	const struct vhi_vduse_iova_range_v2 *r = &v->job.req.iova_v2;

	if (vhi_vduse_unmap_waits(v, r->asid)) {
		if (!v->job.overdue)
			return VHI_VDUSE_PENDING;
		for (uint32_t i = 0; i < v->n_queues; i++)
			if (v->rings[i].space == r->asid)
				vhi_queue_break(v->rings[i].q, -ETIMEDOUT, 0,
						"memory was taken away under requests that did not end in time");
	}
	vhi_vduse_unmap_end(v, r->asid, r->start, r->last);
	return VHI_VDUSE_OK;
}

/* With API 0 the bytes of asid are zero: its only address space. */
static enum vhi_vduse_outcome update_iotlb(struct vh_vduse *v)
{
	const struct vhi_vduse_iova_range_v2 *r = &v->job.req.iova_v2;

	if (VHI_REFUSE(VHI_SITE_VDUSE_RANGE, r->start > r->last || r->asid >= v->n_spaces))
		return refused(v, VHI_SITE_VDUSE_RANGE);
	if (vhi_vduse_unmap_begin(v, r->asid, r->start, r->last))
		return VHI_VDUSE_FAILED;
	v->job.holds_iotlb = true;
	return later(v, update_step);
}

static enum vhi_vduse_outcome set_group_asid(struct vh_vduse *v)
{
	const struct vhi_vduse_vq_group_asid *g = &v->job.req.vq_group_asid;
	bool used = false;

	if (VHI_REFUSE(VHI_SITE_VDUSE_GROUP, g->group >= v->opts.groups || g->asid >= v->n_spaces))
		return refused(v, VHI_SITE_VDUSE_GROUP);
	for (uint32_t i = g->group; i < v->n_queues; i += v->opts.groups)
		used |= v->rings[i].state != VHI_VDUSE_STOPPED;
	if (VHI_REFUSE(VHI_SITE_VDUSE_RUNNING, used && v->asids[g->group] != g->asid))
		return refused(v, VHI_SITE_VDUSE_RUNNING);
	v->asids[g->group] = g->asid;
	return VHI_VDUSE_OK;
}

static vhi_vduse_step *const handlers[] = {
	[VHI_VDUSE_MSG_GET_VQ_STATE] = get_vq_state,
	[VHI_VDUSE_MSG_SET_STATUS] = set_status,
	[VHI_VDUSE_MSG_UPDATE_IOTLB] = update_iotlb,
	[VHI_VDUSE_MSG_SET_VQ_GROUP_ASID] = set_group_asid,
};

static void answer(struct vh_vduse *v, enum vhi_vduse_outcome outcome)
{
	struct vhi_vduse_job *job = &v->job;

	job->step = NULL;
	job->rsp.request_id = job->req.request_id;
	job->rsp.result = outcome == VHI_VDUSE_OK ? VHI_VDUSE_REQ_RESULT_OK : VHI_VDUSE_REQ_RESULT_FAILED;
	v->stats.messages++;
	v->stats.refused += outcome != VHI_VDUSE_OK;
	/* -ENOENT: the kernel waits no more; it gave the device up, and will say so. */
	if (vhi_sys.write(v->fd, &job->rsp, sizeof(job->rsp)) < 0)
		vhi_log_line(&v->log, VH_LOG_WARNING, "message %u of the kernel can't be answered: %s", job->req.type,
			     vh_error_name(-errno));
}

bool vhi_vduse_step_job(struct vh_vduse *v)
{
	enum vhi_vduse_outcome outcome;

	if (!v->job.step)
		return false;
	v->job.overdue = vhi_now_ns() >= v->job.deadline_ns;
	outcome = v->job.step(v);
	if (outcome == VHI_VDUSE_PENDING)
		return false;
	answer(v, outcome);
	return true;
}

static void handle(struct vh_vduse *v)
{
	struct vhi_vduse_job *job = &v->job;
	enum vhi_vduse_outcome outcome;

	job->deadline_ns = vhi_now_ns() + v->opts.drain_timeout_ms * UINT64_C(1000000);
	if (VHI_REFUSE(VHI_SITE_VDUSE_KIND, job->req.type >= VHI_ARRAY_SIZE(handlers)))
		outcome = refused(v, VHI_SITE_VDUSE_KIND);
	else
		outcome = handlers[job->req.type](v);
	if (outcome != VHI_VDUSE_PENDING)
		answer(v, outcome);
}

/* Of a whole message. */
static bool read_one(struct vh_vduse *v)
{
	ssize_t n;

	memset(&v->job, 0, sizeof(v->job));
	n = vhi_sys.read(v->fd, &v->job.req, sizeof(v->job.req));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < 0)
		v->dead = -errno;
	else if (VHI_REFUSE(VHI_SITE_VDUSE_REQUEST, (size_t)n != sizeof(v->job.req))) {
		v->dead = -EPROTO;
		v->site = VHI_SITE_VDUSE_REQUEST;
	}
	return !v->dead;
}

bool vhi_vduse_receive(struct vh_vduse *v)
{
	for (uint32_t n = 0; n < MESSAGES_PER_ROUND; n++) {
		if (v->job.step || v->dead || !read_one(v))
			return false;
		handle(v);
	}
	return true;
}

int vhi_vduse_take_up(struct vh_vduse *v)
{
	const struct vh_device_ops *ops = &v->dev->ops;
	uint64_t f = 0;
	int rc;

	if (!v->stats.taken_up || !vhi_vduse_driver_runs(v))
		return 0;
	rc = vhi_vduse_ioctl(v, VHI_VDUSE_DEV_GET_FEATURES, &f);
	if (rc < 0)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0,
				"vh_vduse_new: the kernel does not say what its driver took: %s", vh_error_name(rc));
	if (!v->records)
		return vhi_fail(-ENODATA, VH_ERROR_STATE, 0,
				"vh_vduse_new: the driver of %s is running; to go on takes the records of what was in "
				"flight",
				v->name);
	if (f & ~v->features)
		return vhi_fail(-EINVAL, VH_ERROR_STATE, 0,
				"vh_vduse_new: the driver of %s took features 0x%llx, which the device lacks now",
				v->name, (unsigned long long)(f & ~v->features));
	rc = ops->set_features ? ops->set_features(v->dev->ctx, f, 0) : 0;
	if (rc)
		return vhi_fail(rc < 0 ? rc : -EINVAL, VH_ERROR_STATE, 0,
				"vh_vduse_new: the device refuses the features that the driver of %s has", v->name);
	v->features_told = true;
	v->acked = f;
	v->status = STATUS_RUNS;
	vhi_vduse_start_all(v);
	/* Whoever died may have owed an interrupt. */
	for (uint32_t i = 0; i < v->n_queues; i++)
		v->rings[i].told |= VHI_TELL_CALL;
	vhi_vduse_wake(v);
	return 0;
}
