/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Where a guest range is now, for a test that keeps its memory as it is. */
#ifndef VHT_MEM_H
#define VHT_MEM_H

#include "vh/vh.h"

static inline vh_count vht_translate(struct vh_mem *mem, uint64_t gpa, uint64_t len, struct vh_seg *segs, uint32_t max)
{
	struct vh_snapshot *snap;
	vh_count n = vh_mem_dup_snapshot(mem, &snap);

	if (n < 0)
		return n;
	n = vh_snapshot_translate(snap, gpa, len, VH_MEM_READ | VH_MEM_WRITE, segs, max);
	vh_snapshot_free(snap);
	return n;
}

/* Address in this process, NULL when it is in no region. */
static inline void *vht_at(struct vh_mem *mem, uint64_t gpa)
{
	struct vh_seg seg;

	return vht_translate(mem, gpa, 1, &seg, 1) == 1 ? (void *)(uintptr_t)seg.addr : NULL;
}

#endif
