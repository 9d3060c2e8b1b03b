/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: A driver session: take a back-end from open to running queues.
 *
 * The session owns guest memory (rings and buffers) and the plan: what was
 * negotiated, what is shared, which rings run. It is the same for every kind
 * of back-end.
 */
#ifndef VH_DRIVER_H
#define VH_DRIVER_H

#include "vh/types.h"

VH_BEGIN_DECLS

/* Flags of vh_driver_stop(). */
#define VH_DRIVER_STOP_DROP 1u /* don't wait for requests in flight */

/** struct vh_driver_opts - options of vh_driver_new(). Sized, zero means default. */
struct vh_driver_opts {
	uint32_t size;	     /* sizeof(struct vh_driver_opts) */
	uint32_t n_queues;   /* 0 = 1, for VH_TYPE_NET 2: a pair; -ENOSPC when the back-end has fewer */
	uint32_t queue_size; /* 0 = 256; a power of two, but where rings are packed */
	uint32_t type; /* VH_TYPE_BLK, VH_TYPE_NET: what its users here can do with is wanted; 0 = ring features only */
	uint64_t features;	/* further device features that the caller can do with, as bits */
	uint64_t mask_features; /* never acked */
};

/**
 * vh_driver_new() - negotiate with a back-end and allocate rings
 * @opts: (nullable)
 * @b: (borrowed) must outlive the session
 * @mem: (nullable) memory to share, kept alive by the session; NULL: the session makes its own
 * @out: (out) (owned) free with vh_driver_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOSPC ENOTSUP ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0, -ENOSPC when the back-end has fewer queues, -ENOTSUP when it and libvh have no way of driving in common
 * (it lacks VIRTIO_F_VERSION_1, or refuses the features that were chosen).
 */
VH_API vh_rc vh_driver_new(const struct vh_driver_opts *opts, struct vh_backend *b, struct vh_mem *mem,
			   struct vh_driver **out);

/**
 * vh_driver_free() - stop what runs, free
 * @d: (nullable)
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: none
 */
VH_API void vh_driver_free(struct vh_driver *d);

/**
 * vh_driver_features() - feature bits that both sides have
 * @d: the session
 * @out: (out) feature bits
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_driver_features(struct vh_driver *d, uint64_t *out);

/**
 * vh_driver_alloc() - shared memory for buffers
 * @d: the session
 * @len: bytes, > 0
 * @addr: (out) address in this process of zeroed memory, page aligned; lives as long as the session
 *
 * May be called while queues run.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOSPC ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0, -ENOSPC when the back-end can't be told of more regions.
 */
VH_API vh_rc vh_driver_alloc(struct vh_driver *d, uint64_t len, uint64_t *addr);

/**
 * vh_driver_dup_snapshot() - pin the session's guest memory as it is now
 * @d: the session
 * @out: (out) (owned) free with vh_snapshot_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_driver_dup_snapshot(struct vh_driver *d, struct vh_snapshot **out);

/**
 * vh_driver_start() - share memory, start and enable every queue
 * @d: the session
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EALREADY EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOSPC ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_driver_start(struct vh_driver *d);

/**
 * vh_driver_stop() - stop every queue; requests in flight complete first
 * @d: the session
 * @flags: 0 or VH_DRIVER_STOP_DROP
 * @timeout_ms: how long requests in flight are waited for; 0 = 30 s
 *
 * Buffers that were offered to receive (VH_TYPE_NET) stay in their ring, and are filled after the next start.
 * Completions that arrived can still be reaped. vh_driver_start() goes on from where the rings stopped; a queue that
 * was broken, or whose requests were dropped, begins anew, without those that it had in flight. After any failure but -EBUSY and -EINTR the
 * session is stopped as well.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EALREADY EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0; -EBUSY when requests in flight did not complete in time: the session is not stopped, call again; -EINTR
 * when a signal came: the session is not stopped, call again.
 */
VH_API vh_rc vh_driver_stop(struct vh_driver *d, uint32_t flags, uint32_t timeout_ms);

/**
 * vh_driver_queue() - a queue of the session, for vh_queue_submit() and vh_queue_reap()
 * @d: the session
 * @index: queue index
 * @out: (out) (borrowed) lives as long as the session
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOENT
 */
VH_API vh_rc vh_driver_queue(struct vh_driver *d, uint32_t index, struct vh_queue **out);

/**
 * vh_driver_set_dirty() - have the device log which pages of the session's memory it writes
 * @d: the session
 * @log: (nullable) the log, kept alive by the session; NULL: no more
 *
 * In force for every queue when it returns, also while they run, and for those that start later. Memory that the session
 * allocates later must fit into the log as well: -ENOSPC there.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL ERANGE EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0; -ERANGE when the log ends before the session's memory does; -EOPNOTSUPP when the back-end can't log.
 */
VH_API vh_rc vh_driver_set_dirty(struct vh_driver *d, struct vh_dirty *log);

VH_END_DECLS
#endif
