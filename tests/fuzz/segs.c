/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "segs.h"

#include "kernel.h"
#include "vhi_mem.h"
#include "vhi_queue.h"

static bool inside(const struct vh_snapshot *snap, const struct vh_seg *seg)
{
	for (uint32_t i = 0; i < snap->n; i++) {
		const struct vhi_region *r = snap->regions[i];
		uint64_t at = seg->addr - (uint64_t)(uintptr_t)r->host;

		if (at < r->len && seg->len <= r->len - at)
			return true;
	}
	return false;
}

/* Both ends of a segment, which AddressSanitizer guards. */
static void touch(const struct vh_seg *seg, bool write)
{
	volatile uint8_t *p = (volatile uint8_t *)(uintptr_t)seg->addr;

	(void)p[0];
	(void)p[seg->len - 1];
	if (write) {
		p[0] = 0xaa;
		p[seg->len - 1] = 0xbb;
	}
}

void segs_touch(struct vh_queue *q, const struct vh_req *req)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	const struct vh_snapshot *snap = vhi_queue_snapshot(q);
	uint64_t rd = 0, wr = 0;

	CHECK(snap);
	for (uint32_t i = 0; i < req->n_rd + req->n_wr; i++) {
		CHECK(segs[i].len && inside(snap, &segs[i]));
		touch(&segs[i], i >= req->n_rd);
		*(i < req->n_rd ? &rd : &wr) += segs[i].len;
	}
	CHECK(rd == req->rd_len && wr == req->wr_len);
}

void segs_touch_stale(const struct vh_req *req)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;

	for (uint32_t i = 0; i < req->n_rd + req->n_wr; i++)
		touch(&segs[i], i >= req->n_rd);
}
