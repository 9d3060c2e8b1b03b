/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * How a transport runs a queue for its device: a batch, then a rest in which the driver is asked to kick; and what the device
 * says of requests that failed.
 */
#ifndef VHI_SERVE_H
#define VHI_SERVE_H

#include "vhi_device.h"
#include "vhi_events.h"
#include "vhi_log.h"
#include "vhi_queue.h"

struct vhi_serve {
	bool polled;	     /* kick without an fd */
	bool pending;	     /* to be looked at in the next round */
	bool polling;	     /* pending for no other reason than that something may have come */
	bool armed;	     /* the driver was asked to kick */
	bool left;	     /* the device leaves requests in it on purpose */
	uint64_t poll_until; /* 0 = nothing came since the driver was asked to kick */
	int32_t device_rc;   /* atomic: why a request of it failed last, 0 = told already */
};

/* A ring that starts begins armed; its first run is to change that, where it is polled. */
void vhi_serve_begin(struct vhi_serve *sv, uint32_t poll_us);
/* Before each run. */
void vhi_serve_open(struct vhi_serve *sv, struct vh_queue *q);
/* One batch of the device, and the rest after it. What on_batch returned. */
int32_t vhi_serve_batch(struct vhi_serve *sv, struct vh_queue *q, const struct vh_device *dev, uint32_t index,
			uint32_t budget, uint32_t poll_us);
/* After nothing more was found: ask for a kick. @took: something was taken before. */
void vhi_serve_rest(struct vhi_serve *sv, struct vh_queue *q, bool took, uint32_t poll_us);

/* A request failed; from any thread. To be told by vhi_serve_tell(), on the handle's. */
void vhi_serve_failed(struct vhi_serve *sv, struct vh_queue *q, int32_t rc);
void vhi_serve_tell(struct vhi_serve *sv, struct vh_queue *q, uint32_t index, struct vhi_events *events,
		    struct vhi_log *log);

#endif
