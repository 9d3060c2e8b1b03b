/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The rare parts of submitting. */
#include "vhi_submit.h"

int vhi_refused(const struct vh_queue *q, enum vhi_refusal why)
{
	static const struct {
		int code;
		const char *text;
	} refusals[] = {
		[BAD_RESERVED] = {-EINVAL, "vh_req.flags and reserved must be 0"},
		[BAD_COUNT] = {-EINVAL, "a request must have 1 to num segments"},
		[BAD_LEN] = {-EINVAL, "a segment must have 1 to 2^32 - 1 bytes; leave out or split it"},
		[BAD_ADDR] = {-EFAULT, "a segment is not inside guest memory; use vh_driver_alloc or vh_mem_alloc"},
	};

	if (why <= RING_FULL)
		return 0;
	return vhi_fail_at(refusals[why].code, VH_ERROR_ARGUMENT, 0, q->index, VH_ERROR_NONE,
			   "vh_queue_submit: queue %u: %s", q->index, refusals[why].text);
}

int32_t vhi_reaped_none(struct vh_queue *q)
{
	return vhi_queue_leave_with(q, vhi_poisoned(q) ? vhi_queue_broke(q, VHI_SITE_QUEUE_POISONED) : 0);
}

bool vhi_find_gpa(struct vh_queue *q, uint64_t addr, uint64_t len, uint64_t *gpa)
{
	const struct vhi_region *r;
	struct vhi_gpa found;

	if (!vhi_host_to_gpa(q->snap, (const void *)(uintptr_t)addr, len, &found))
		return false;
	*gpa = found.v + q->ring.iova_shift;
	r = vhi_find(q->snap, found);
	q->drv.near = (struct vhi_span){
		.gpa = (uintptr_t)r->host, .len = r->len, .host = r->gpa.v + q->ring.iova_shift};
	q->drv.near_mem = q->snap->number;
	return true;
}
