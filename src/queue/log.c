/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The dirty log of a device's queue. A segment's guest address is found again from its address here, in the present
 * snapshot: that costs nothing while nothing is logged, is right for requests that were popped before logging began, and
 * gives guest addresses also where descriptors have others. A region only goes when nothing is in flight, and no two of
 * them are at one place in this process.
 */
#include "vhi_chain.h"

void vhi_queue_put_log(struct vh_queue *q, const struct vhi_queue_log *log)
{
	vhi_dirty_put(q->log.dirty);
	q->log = *log;
	q->log_told = false;
	q->flags = log->dirty ? q->flags | VHI_QF_LOGGED : q->flags & ~VHI_QF_LOGGED;
}

int vhi_queue_set_log(struct vh_queue *q, const struct vhi_queue_log *log)
{
	bool ours = vhi_queue_begin(q);

	vhi_dirty_put(q->change.log.dirty);
	q->change.log = *log;
	vhi_dirty_get(log->dirty);
	q->change.what |= VHI_PENDING_LOG;
	return vhi_queue_finish(q, ours);
}

/* A range of guest memory by its address here; false when not all of it is in one region. */
static bool mark_host(struct vh_queue *q, uint64_t addr, uint64_t len)
{
	struct vhi_gpa gpa;

	if (!vhi_host_to_gpa(q->snap, (const void *)(uintptr_t)addr, len, &gpa))
		return false;
	vhi_dirty_mark(q->log.dirty, q->dev.dirty, gpa.v, len);
	return true;
}

static void mark_request(struct vh_queue *q, const struct vh_cpl *cpl)
{
	const struct vhi_slot *slot = &q->slots[(uint32_t)cpl->token];
	const struct vh_seg *end, *seg = vhi_chain_segs(q, slot, &end) + slot->n_rd;
	uint64_t left = VHI_MIN(cpl->written, slot->wr_len);

	for (; left && seg != end; seg++) {
		const uint64_t take = VHI_MIN(left, seg->len);

		if (take && !mark_host(q, seg->addr, take))
			break;
		left -= take;
	}
	/* The device changed the segments that it was lent. */
	if (left)
		vhi_dirty_lose(q->log.dirty);
}

void vhi_queue_log_flush(struct vh_queue *q)
{
	vhi_dirty_flush(q->log.dirty, q->dev.dirty);
	if (VHI_UNLIKELY(!q->log_told && vhi_dirty_incomplete(q->log.dirty))) {
		q->log_told = true;
		q->after |= VHI_AFTER_WAKE;
	}
}

void vhi_queue_log_data(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		mark_request(q, &cpls[i]);
	vhi_queue_log_flush(q);
}

void vhi_queue_log_used(struct vh_queue *q, uint64_t at, uint64_t len)
{
	if (q->log.used)
		vhi_dirty_mark(q->log.dirty, q->dev.dirty, q->log.used_gpa + at, len);
}

void vhi_queue_log_event(struct vh_queue *q)
{
	q->layout->log_event(q);
	vhi_queue_log_flush(q);
}

vh_rc vh_queue_set_dirty(struct vh_queue *q, struct vh_dirty *log, uint32_t flags, vh_gpa used)
{
	const struct vhi_queue_log to = {.dirty = log, .used = flags & VH_QUEUE_LOG_USED, .used_gpa = used};

	if (!q || q->role != VH_QUEUE_DEVICE || flags & ~VH_QUEUE_LOG_USED)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_queue_set_dirty: give a queue on the device side, flags 0 or VH_QUEUE_LOG_USED");
	if (q->owned)
		return vhi_fail_at(-EPERM, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
				   "vh_queue_set_dirty: queue %u belongs to a slave, which logs as its front-end says",
				   q->index);
	if (to.used && log &&
	    vhi_ring_used_len(q->num, q->ring.features) > vhi_dirty_end(log) - VHI_MIN(used, vhi_dirty_end(log)))
		return vhi_fail_at(-ERANGE, VH_ERROR_MEMORY, 0, q->index, VH_ERROR_NONE,
				   "vh_queue_set_dirty: the used ring at 0x%llx ends beyond the log",
				   (unsigned long long)used);
	if (vhi_queue_set_log(q, &to))
		return vhi_fail_at(-EINPROGRESS, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
				   "vh_queue_set_dirty: another thread is inside queue %u; in force when it has left",
				   q->index);
	return 0;
}

vh_rc vh_queue_mark(struct vh_queue *q, uint64_t addr, uint64_t len)
{
	bool there = true;

	if (!q || q->role != VH_QUEUE_DEVICE || !len)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_queue_mark: give a queue on the device side, and len above 0");
	if (vhi_queue_enter(q))
		return -EBUSY;
	if (q->flags & VHI_QF_LOGGED) {
		there = mark_host(q, addr, len);
		vhi_queue_log_flush(q);
	}
	vhi_queue_leave(q);
	return there ? 0
		     : vhi_fail_at(-EFAULT, VH_ERROR_MEMORY, 0, q->index, VH_ERROR_NONE,
				   "vh_queue_mark: the range is not inside one region of guest memory");
}
