/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The plan of a session, told once more to a back-end that came back: a table of steps, in the only order that every
 * back-end takes. A step is made again until it does not say -EINPROGRESS, so what it does here it does once it has said 0.
 */
#include "vhi_driver.h"

/* Steps of one turn; each is a handful of messages. */
#define TURN_STEPS 8

/* Rings, buffers and users of the session were made for these features. */
static int tell_features(struct vh_driver *d, uint32_t i)
{
	uint64_t acked;
	int rc = d->b->ops->negotiate(d->b->ctx, d->features, &acked);

	(void)i;
	if (!rc && VHI_REFUSE(VHI_SITE_DRIVER_OTHER_FEATURES, acked != d->features))
		return vhi_fail(-ENOTSUP, VH_ERROR_PEER, VHI_SITE_DRIVER_OTHER_FEATURES,
				"the back-end that came back lacks the features 0x%llx, which are in use",
				(unsigned long long)(d->features & ~acked));
	return rc;
}

static int ask_queues(struct vh_driver *d, uint32_t i)
{
	uint32_t n;
	int rc = vhi_driver_max_queues(d, &n);

	(void)i;
	if (!rc && VHI_REFUSE(VHI_SITE_DRIVER_OTHER_QUEUES, n < d->n_queues))
		return vhi_fail(-ENOSPC, VH_ERROR_PEER, VHI_SITE_DRIVER_OTHER_QUEUES,
				"the back-end that came back has %u queues, and %u are in use", n, d->n_queues);
	return rc;
}

static int tell_chosen(struct vh_driver *d, uint32_t i)
{
	(void)i;
	return vhi_driver_features_ok(d);
}

static int tell_memory(struct vh_driver *d, uint32_t i)
{
	(void)i;
	return d->running ? d->b->ops->set_memory(d->b->ctx, d->mem) : 0;
}

static int ask_inflight(struct vh_driver *d, uint32_t i)
{
	(void)i;
	return d->running ? vhi_driver_inflight_get(d) : 0;
}

static int tell_inflight(struct vh_driver *d, uint32_t i)
{
	(void)i;
	return d->running ? vhi_driver_inflight_set(d) : 0;
}

static int tell_log(struct vh_driver *d, uint32_t i)
{
	struct vh_dirty_info info = {.size = sizeof(info)};

	(void)i;
	if (!d->log)
		return 0;
	vh_dirty_get_info(d->log, &info);
	return d->b->ops->set_log(d->b->ctx, d->log->region->fd, info.offset, info.len);
}

static int tell_config(struct vh_driver *d, uint32_t i)
{
	(void)i;
	return d->b->ops->config_again ? d->b->ops->config_again(d->b->ctx) : 0;
}

static int tell_running(struct vh_driver *d, uint32_t i)
{
	(void)i;
	return d->running ? vhi_driver_status(d, VHI_DRIVER_S_RUNNING) : 0;
}

static const struct {
	int (*run)(struct vh_driver *d, uint32_t index);
	bool rings; /* for each ring that runs */
} steps[] = {
	{tell_features, false},
	{ask_queues, false},
	{tell_chosen, false},
	{tell_memory, false},
	{ask_inflight, false},
	{tell_inflight, false},
	{tell_log, false},
	{tell_config, false},
	{vhi_driver_ring_again, true},
	{vhi_driver_ring_start, true},
	{vhi_driver_ring_enable, true},
	{tell_running, false},
};

static int run(struct vh_driver *d, uint32_t step, uint32_t index)
{
	const struct vhi_backend_ops *ops = d->b->ops;
	int rc;

	if (steps[step].rings && (!d->running || !vhi_driver_ring_runs(d, index)))
		return 0;
	rc = ops->step ? ops->step(d->b->ctx, VHI_STEP_ENTER) : 0;
	if (rc)
		return rc;
	rc = steps[step].run(d, index);
	if (ops->step)
		ops->step(d->b->ctx, rc == -EINPROGRESS ? VHI_STEP_LEAVE : VHI_STEP_END);
	return rc;
}

int vhi_driver_replay(struct vh_driver *d)
{
	struct vhi_driver_link *l = &d->link;
	int rc;

	for (uint32_t n = 0; n < TURN_STEPS; n++) {
		rc = run(d, l->step, l->index);
		if (rc == -EINPROGRESS)
			return 0;
		if (rc)
			return rc == -EINTR ? -EAGAIN : rc;
		if (!steps[l->step].rings || ++l->index == d->n_queues) {
			l->index = 0;
			l->step++;
		}
		if (l->step == VHI_ARRAY_SIZE(steps))
			return 1;
	}
	return -EAGAIN;
}
