/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What must hold of every request that a device is given. */
#ifndef FUZZ_SEGS_H
#define FUZZ_SEGS_H

#include "vh/vh.h"

/* Sums are right, and every segment lies inside a region of the queue's memory; its first and last byte are touched. */
void segs_touch(struct vh_queue *q, const struct vh_req *req);
/* Of a request whose ring was stopped under it: its memory is still there. */
void segs_touch_stale(const struct vh_req *req);

#endif
