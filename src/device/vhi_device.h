/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The device handle as a slave sees it. */
#ifndef VHI_DEVICE_H
#define VHI_DEVICE_H

#include <pthread.h>

#include "vh/device.h"
#include "vhi_base.h"

#define VHI_DEVICE_MAX_QUEUES 256 /* as many as a queue index of 8 bits in a kick message can name */

/* What a transport does for its device. */
struct vhi_carrier {
	void (*wake)(void *ctx); /* a callback was answered; from any thread, under the device's lock */
	int (*config_changed)(void *ctx);
	/* A request of the queue failed. From any thread, under the device's lock. */
	void (*failed)(void *ctx, uint32_t queue, int32_t rc);
};

/* A callback that answers later, from any thread. There is one at a time. */
struct vhi_later {
	uint64_t last;	/* tokens given out */
	uint64_t token; /* waited for, 0 = none */
	bool answered;
	int32_t rc;
};

struct vh_device {
	struct vh_device_opts opts; /* defaults filled in */
	struct vh_device_ops ops;
	void *ctx;

	pthread_mutex_t lock;		   /* of all that follows */
	const struct vhi_carrier *carrier; /* NULL = not attached */
	void *carrier_ctx;
	bool free_later; /* vh_device_free() came while attached */
	struct vhi_later later;
};

/* One transport at a time: -EBUSY otherwise. */
int vhi_device_attach(struct vh_device *dev, const struct vhi_carrier *carrier, void *ctx);
/* Frees it when vh_device_free() was called meanwhile. */
void vhi_device_detach(struct vh_device *dev);

/*
 * The token is armed before the callback runs, because another thread may be faster than its return. While one is
 * waited for, the transport calls nothing that could lead to a second.
 */
uint64_t vhi_later_arm(struct vh_device *dev);
void vhi_later_disarm(struct vh_device *dev);
/* What became of a callback that returned @rc: as it is, or -EINPROGRESS while it has not been answered. */
int32_t vhi_later_result(struct vh_device *dev, int32_t rc);

const char *vhi_device_site_text(uint32_t site);

#endif
