/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The device handle as a slave sees it. */
#ifndef VHI_DEVICE_H
#define VHI_DEVICE_H

#include <pthread.h>

#include "vh/device.h"
#include "vh/protocol.h"
#include "vhi_base.h"

#define VHI_DEVICE_MAX_QUEUES 256 /* as many as a queue index of 8 bits in a kick message can name */

/* What a transport does for its device. */
struct vhi_carrier {
	void (*wake)(void *ctx); /* a callback was answered; from any thread, under the device's lock */
	int (*config_changed)(void *ctx);
	/* A request of the queue failed. From any thread, under the device's lock. */
	void (*failed)(void *ctx, uint32_t queue, int32_t rc);
};

/* As many as the answers that a connection can owe at a time. */
#define VHI_DEVICE_LATERS	32u
#define VHI_DEVICE_FIRST_LATERS 1u
#define VHI_DEVICE_REPLY_MAX	65536u

/* A callback that answers later, from any thread. */
struct vhi_later {
	uint64_t token; /* waited for, 0 = none */
	uint32_t len;	/* bytes of the answer that is waited for */
	bool at_most;	/* or fewer */
	bool answered;
	int32_t rc;
	void *buf; /* the answer's bytes */
	int fd;	   /* and its fd, -1 = none */
};

struct vh_device {
	struct vh_device_opts opts; /* defaults filled in */
	struct vh_device_ops ops;
	void *ctx;

	pthread_mutex_t lock;		   /* of all that follows */
	const struct vhi_carrier *carrier; /* NULL = not attached */
	void *carrier_ctx;
	uint64_t *shmem;     /* sizes by number, VH_SHMEM_MAX of them; NULL = none was ever set */
	bool free_later;     /* vh_device_free() came while attached */
	uint64_t last_later; /* tokens given out */
	struct vhi_later first_laters[VHI_DEVICE_FIRST_LATERS];
	struct vhi_later *more_laters; /* the others, when there were too few for the first time */
};

bool vhi_device_has_shmem(const struct vh_device *dev);

/* One transport at a time: -EBUSY otherwise. */
int vhi_device_attach(struct vh_device *dev, const struct vhi_carrier *carrier, void *ctx);
/* Frees it when vh_device_free() was called meanwhile. */
void vhi_device_detach(struct vh_device *dev);

/*
 * The token is armed before the callback runs, because another thread may be faster than its return. @len: bytes of the
 * answer, if it is more than 0. 0 when too many are waited for: then there is no later.
 */
uint64_t vhi_later_arm(struct vh_device *dev, uint32_t len);
/* Likewise; the answer may be shorter, and vhi_later_result() tells its length. */
uint64_t vhi_later_arm_at_most(struct vh_device *dev, uint32_t len);
void vhi_later_disarm(struct vh_device *dev); /* all of them */
/*
 * What became of a callback that returned @rc: as it is, or -EINPROGRESS while it has not been answered. An answer of
 * 0 fills @buf, where it has bytes, and @fd (nullable), which is then the caller's.
 */
int32_t vhi_later_result(struct vh_device *dev, uint64_t token, int32_t rc, void *buf, int *fd);

const char *vhi_device_site_text(uint32_t site);

#endif
