/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A driver session has its device log what it writes, while queues run or not. */
#include "vhi_driver.h"

/* All that the session has handed out, or will hand out of its newest region. */
bool vhi_driver_log_covers(const struct vh_driver *d, uint64_t end)
{
	return !d->log || end <= vhi_dirty_end(d->log);
}

static int rings_log(struct vh_driver *d)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < d->n_queues; i++) {
		const struct vhi_ring_intent intent = vhi_driver_intent(d, i);

		if (d->queues[i].begun && d->b->ops->ring_log)
			rc = d->b->ops->ring_log(d->b->ctx, i, &intent);
	}
	return rc;
}

/* Rings last on the way in and first on the way out, so that none names a log that there is not. */
static int switch_log(struct vh_driver *d)
{
	struct vh_dirty_info info = {.size = sizeof(info)};
	const struct vhi_backend_ops *ops = d->b->ops;
	int rc = vhi_driver_link(d);

	if (d->log)
		vh_dirty_get_info(d->log, &info);
	if (!rc && !d->log)
		rc = rings_log(d);
	if (!rc)
		rc = ops->set_log(d->b->ctx, d->log ? d->log->region->fd : -1, info.offset, info.len);
	if (!rc && d->log)
		rc = rings_log(d);
	return rc > 0 ? 0 : vhi_driver_told(d, rc);
}

static uint64_t memory_end(struct vh_driver *d)
{
	struct vh_snapshot *now;
	uint64_t end = d->next_gpa;

	if (!d->given)
		return end;
	now = vhi_mem_snapshot(d->mem);
	end = now->base + now->span;
	vhi_snapshot_put(now);
	return end;
}

vh_rc vh_driver_set_dirty(struct vh_driver *d, struct vh_dirty *log)
{
	struct vh_dirty *before;
	struct vh_error why;
	int rc;

	if (!d)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_set_dirty: NULL session");
	if (log && memory_end(d) > vhi_dirty_end(log))
		return vhi_fail(-ERANGE, VH_ERROR_MEMORY, 0,
				"vh_driver_set_dirty: the log ends at 0x%llx, and the session's memory at 0x%llx",
				(unsigned long long)vhi_dirty_end(log), (unsigned long long)memory_end(d));
	vhi_driver_control(d, true);
	before = d->log;
	d->log = vhi_dirty_get(log);
	rc = switch_log(d);
	if (rc) {
		/* As it was, as far as it goes. */
		why = vhi_driver_error_keep();
		vhi_dirty_put(d->log);
		d->log = before;
		switch_log(d);
		vhi_driver_error_put(&why);
	} else {
		vhi_dirty_put(before);
	}
	vhi_driver_control(d, false);
	return rc;
}
