/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The table of intents: what a driver wants from a back-end, whatever that is. Each family (vhost-user, the kernel,
 * vDPA) translates addresses and order itself, and answers -EOPNOTSUPP with the reason (vhi_fail) where it can't.
 * Lives below master, kern and vdpa, and above nothing but memory; `driver` uses only this.
 */
#ifndef VHI_BACKEND_H
#define VHI_BACKEND_H

#include "vh/backend.h"
#include "vh/inflight.h"
#include "vhi_base.h"
#include "vhi_mem.h"

struct vhi_ring_intent {
	uint32_t num;
	uint32_t base;
	struct vhi_gpa desc, driver, device;
	int kick, call, err; /* borrowed, -1 = none */
	bool log;	     /* writes to it go to the log */
	uint64_t iova_shift; /* with ACCESS_PLATFORM: what is to be added for I/O addresses */
};

/*
 * A step is a sequence of calls that don't wait: one that would have to gives -EINPROGRESS. The same sequence is then made
 * again from its beginning when fd() is readable, and what was sent is not sent again, until something else comes of it.
 * Between VHI_STEP_ENTER and one of the others only the thread that entered is concerned.
 */
enum vhi_step {
	VHI_STEP_ENTER,
	VHI_STEP_LEAVE, /* -EINPROGRESS: it will be made again */
	VHI_STEP_END
};

struct vhi_backend_ops {
	const char *kind;
	bool says_broken; /* it takes eventfds by which it says that it can't go on with a ring */
	bool stops_enabled; /* ring_stop() is enough for a ring that is enabled: ring_enable() off is for one that stays */
	int (*get_features)(void *ctx, uint64_t *offered);
	int (*negotiate)(void *ctx, uint64_t wanted, uint64_t *acked);
	int (*max_queues)(void *ctx, uint32_t *n);
	/* Share this snapshot from now on; also while rings run. */
	int (*set_memory)(void *ctx, struct vh_mem *mem);
	int (*ring_start)(void *ctx, uint32_t index, const struct vhi_ring_intent *ring);
	int (*ring_stop)(void *ctx, uint32_t index, uint32_t *base);
	int (*ring_enable)(void *ctx, uint32_t index, bool on);
	/* Of guest memory; fd -1: off. Rings are logged by themselves, from their start on or from ring_log() on. */
	int (*set_log)(void *ctx, int fd, uint64_t offset, uint64_t size);
	int (*ring_log)(void *ctx, uint32_t index, const struct vhi_ring_intent *ring); /* may be NULL: nothing to do */
	int (*config_get)(void *ctx, uint32_t offset, void *buf, uint32_t len);
	int (*config_set)(void *ctx, uint32_t offset, const void *buf, uint32_t len);
	int (*set_status)(void *ctx, uint8_t status); /* -EOPNOTSUPP is fine */
	int (*reset)(void *ctx);
	int (*suspend)(void *ctx);
	int (*resume)(void *ctx);
	int (*iotlb_update)(void *ctx, struct vhi_iova iova, uint64_t len, struct vhi_gpa gpa, uint32_t perm);
	int (*iotlb_invalidate)(void *ctx, struct vhi_iova iova, uint64_t len);
	/* Pollable and to be dispatched while a driver waits, so that a dying connection is seen. fd -1 = none. */
	int (*fd)(void *ctx);
	int (*dispatch)(void *ctx);
	/* How many connections have ended. From any thread. NULL: there is only ever one, and dispatch says that it ended. */
	uint32_t (*ended)(void *ctx);
	/* Records of what is in flight: a new file for them (the caller's), and one that is to be used. May be NULL. */
	int (*get_inflight)(void *ctx, uint32_t num_queues, uint32_t queue_size, struct vh_inflight *out, int *fd);
	int (*set_inflight)(void *ctx, const struct vh_inflight *inflight, int fd);
	/* What became of set_status: a device that can't do with the features takes FEATURES_OK back. May be NULL. */
	int (*get_status)(void *ctx, uint8_t *status);
	/* After a connection ended: is there another one? NULL: there never is. */
	bool (*connected)(void *ctx);
	/* Make one, without waiting: 1 = there is one, 0 = only somebody else can, -errno = not this time. */
	int (*reopen)(void *ctx);
	void (*hang_up)(void *ctx);
	/* See enum vhi_step. NULL: the calls of a step wait. 0 or -EBUSY. */
	int (*step)(void *ctx, enum vhi_step what);
	/* What was written into config space, once more on a new connection. NULL: it is kept by the device. */
	int (*config_again)(void *ctx);
	/* Once its rings stopped it knows nothing of where they stood, and begins all of them at the beginning. NULL: none does. */
	bool (*forgets)(void *ctx);
};

struct vh_backend {
	const struct vhi_backend_ops *ops;
	void *ctx;
};

#endif
