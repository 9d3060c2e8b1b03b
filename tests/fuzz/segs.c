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

void segs_touch(struct vh_queue *q, const struct vh_req *req)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	const struct vh_snapshot *snap = vhi_queue_snapshot(q);
	uint64_t rd = 0, wr = 0;
	volatile uint8_t *p;

	CHECK(snap);
	for (uint32_t i = 0; i < req->n_rd + req->n_wr; i++) {
		CHECK(segs[i].len && inside(snap, &segs[i]));
		p = (volatile uint8_t *)(uintptr_t)segs[i].addr;
		if (i < req->n_rd) {
			rd += segs[i].len;
			(void)p[0];
			(void)p[segs[i].len - 1];
		} else {
			wr += segs[i].len;
			p[0] = 0xaa;
			p[segs[i].len - 1] = 0xbb;
		}
	}
	CHECK(rd == req->rd_len && wr == req->wr_len);
}
