/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: VDUSE: a device that the kernel has, and this process is.
 *
 * A vh_vduse gives a vh_device to the kernel, as /dev/vduse/NAME. When a vDPA device of that name is added (management device
 * "vduse"), the kernel's own drivers use it (virtio_vdpa: /dev/vdX, a network interface), or another process by way of
 * /dev/vhost-vdpa-N. The device's callbacks and queues are the same as over a socket (vh/slave.h).
 *
 * The kernel's own drivers are bounced: what they transfer is copied through pages of the kernel's that this process maps. With
 * VH_VDUSE_UMEM the copies are in pages of this process, ordinary ones that the kernel pins (a memfd). It is done when a driver's
 * buffer is met first, lasts until vh_vduse_free(), and counts against RLIMIT_MEMLOCK with the size of the buffer (64 MiB,
 * /sys/class/vduse/NAME/bounce_size); the dispatch that does it waits while the kernel gets these pages. If it fails then, the
 * kernel's are used until the driver resets: a log line says so, and vh_vduse_info.umem_rc. Drivers behind vhost-vdpa bring their own
 * memory and are not concerned.
 *
 * The kernel keeps the device, its features and its rings while nobody serves it. Who opens it again goes on, with what was in
 * flight done again, if both had the same file of records.
 *
 * To add the vDPA device waits for answers of this process: do it from another thread or process.
 */
#ifndef VH_VDUSE_H
#define VH_VDUSE_H

#include "vh/types.h"
#include "vh/event.h"
#include "vh/log.h"

VH_BEGIN_DECLS

/* vh_vduse_opts.flags; without one a device that exists is taken up, and one that does not is made. */
#define VH_VDUSE_MAKE	 1u /* -EEXIST when there is one of that name */
#define VH_VDUSE_TAKE_UP 2u /* -ENODEV when there is none */
#define VH_VDUSE_UMEM	 4u /* bounce pages are this process's own */

/** struct vh_vduse_opts - options of vh_vduse_new(). Sized, zero means default. */
struct vh_vduse_opts {
	uint32_t size;	/* sizeof(struct vh_vduse_opts) */
	uint32_t flags; /* VH_VDUSE_* */
	uint32_t
		drain_timeout_ms; /* how long an answer may wait for requests in flight; 0 = 20 s: the kernel waits for 30 */
	uint32_t budget;	  /* requests per queue and wake-up; 0 = 256 */
	uint32_t coalesce;  /* completions for an interrupt, see vh_queue_set_coalescing(); 0 = one for each push */
	uint32_t vendor_id; /* what the driver sees */
	uint32_t groups;    /* of queues, queue i is in group i modulo that; above 1 needs API 1; 0 = 1 */
	uint32_t address_spaces; /* that groups can be put into; above 1 needs API 1; 0 = 1 */
	uint64_t more_features;	 /* bits that are offered when asked for only: VH_F_IN_ORDER */
	uint64_t mask_features;	 /* feature bits never offered */
};

/** struct vh_vduse_info - what it is like now. Size-first out struct. */
struct vh_vduse_info {
	uint32_t size;
	uint32_t status;      /* device status that the driver set last */
	uint64_t offered;     /* feature bits */
	uint64_t features;    /* that the driver took, from FEATURES_OK on */
	uint32_t api_version; /* VDUSE's, of this kernel, at most what the library knows */
	uint32_t taken_up;    /* 1: the device was there before */
	uint32_t n_queues;
	uint32_t running;    /* queues that run */
	uint32_t owed;	     /* 1: the kernel waits for an answer */
	uint32_t regions;    /* pieces of the driver's memory that are mapped */
	uint64_t messages;   /* of the kernel, answered */
	uint64_t refused;    /* of these, by a check or by the device */
	uint64_t interrupts; /* made */
	uint64_t umem;	 /* bytes of bounce pages that are this process's own; 0 = the kernel's are used, or none yet */
	int32_t umem_rc; /* why they can't be, since the last reset; 0 = no reason */
	uint32_t reserved; /* 0 */
};

/**
 * vh_vduse_new() - give a device to the kernel, or go on with one that it has
 * @opts: (nullable)
 * @name: of the device, 1 to 255 bytes, without a slash
 * @dev: what answers the requests; kept until vh_vduse_free()
 * @records: (borrowed) a file in which it is recorded what is in flight, for who takes the device up after a crash; duplicated,
 *   and made as large as it has to be; -1 = none
 * @out: (out) (owned) free with vh_vduse_free()
 *
 * Some features of a device can't be had here, and are not offered: those of VIRTIO_NET_F_CTRL_VQ, VIRTIO_BLK_F_CONFIG_WCE.
 * The driver can't write config space. VH_F_ACCESS_PLATFORM is always offered.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EMFILE ENFILE EBUSY EEXIST ENODEV ENOENT EACCES EPERM ENODATA ENOTSUP ENOSPC EIO EBADF
 *
 * Return: 0; -ENOENT when there is no /dev/vduse (is the module vduse loaded?); -EBUSY when somebody has the device open, or
 * @dev is attached elsewhere; -ENODATA when its driver is running and there are no records; -EPERM when the kernel gave the
 * device up, because nobody answered in time; -ENOTSUP for more groups or address spaces than 1 with API 0, and for
 * VH_VDUSE_UMEM on kernels before 6.0.
 */
VH_API vh_rc vh_vduse_new(const struct vh_vduse_opts *opts, const char *name, struct vh_device *dev, vh_fd records,
			  struct vh_vduse **out);

/**
 * vh_vduse_fd() - readable when vh_vduse_dispatch() has something to do
 * @v: the device
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: (borrowed) the fd.
 */
VH_API vh_fd vh_vduse_fd(struct vh_vduse *v);

/**
 * vh_vduse_dispatch() - do what is to be done, never block
 * @v: the device
 *
 * Bounded: a few messages, budget requests of each queue.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN EPERM ENODEV EIO EPROTO
 *
 * Return: 1 when there is more to do at once, else 0. -EPERM when the kernel gave the device up.
 */
VH_API vh_count vh_vduse_dispatch(struct vh_vduse *v);

/**
 * vh_vduse_wait() - the same, waiting for something to do
 * @v: the device
 * @timeout_ms: -1 = for ever
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ESHUTDOWN EPERM ENODEV EIO EPROTO EINTR
 *
 * Return: 1 when there is more to do at once, else 0.
 */
VH_API vh_count vh_vduse_wait(struct vh_vduse *v, int32_t timeout_ms);

/**
 * vh_vduse_stop() - end what waits inside of it, and let nobody in any more but vh_vduse_free()
 * @v: the device
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: yes
 * @errors: EINVAL
 */
VH_API vh_rc vh_vduse_stop(struct vh_vduse *v);

/**
 * vh_vduse_next_event() - take the oldest event
 * @v: the device
 * @out: (out) the event
 *
 * Kinds are those of a slave: VH_EVENT_STATUS, _NEGOTIATED, _STARTED, _STOPPED, _DRAINING, _BROKEN, _RESET, _DEVICE_ERROR,
 * _INFLIGHT_LOST, _RESUBMITTED, _IOTLB_FAULT.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 *
 * Return: 1 with an event, 0 when there is none.
 */
VH_API vh_count vh_vduse_next_event(struct vh_vduse *v, struct vh_event *out);

/**
 * vh_vduse_queue() - a queue by its index
 * @v: the device
 * @index: below the device's max_queues
 * @out: (out) (borrowed) the same for the life of @v
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOENT
 */
VH_API vh_rc vh_vduse_queue(struct vh_vduse *v, uint32_t index, struct vh_queue **out);

/**
 * vh_vduse_get_info() - what it is like now
 * @v: the device
 * @out: (out) what it is like
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 */
VH_API vh_rc vh_vduse_get_info(struct vh_vduse *v, struct vh_vduse_info *out);

/**
 * vh_vduse_set_logger() - where its log lines go
 * @v: the device
 * @ops: (nullable) copied; NULL = nowhere
 * @ctx: first argument of the ops
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 */
VH_API vh_rc vh_vduse_set_logger(struct vh_vduse *v, const struct vh_logger_ops *ops, void *ctx);

/**
 * vh_vduse_free() - let go of a device
 * @v: (nullable)
 *
 * The kernel keeps it, and its driver waits, until somebody takes it up, or vh_vduse_remove(). Requests in flight still have to
 * be pushed: see vh_queue_push().
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: none
 */
VH_API void vh_vduse_free(struct vh_vduse *v);

/**
 * vh_vduse_remove() - the kernel forgets a device
 * @name: of the device
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENODEV EBUSY ENOENT EACCES
 *
 * Return: 0; -ENODEV when there is none of that name; -EBUSY when somebody has it open, or its vDPA device was not deleted.
 */
VH_API vh_rc vh_vduse_remove(const char *name);

VH_END_DECLS
#endif
