/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: A driver session: take a back-end from open to running queues.
 *
 * The session owns guest memory (rings and buffers) and the plan: what was
 * negotiated, what is shared, which rings run. It is the same for every kind
 * of back-end.
 *
 * A session over memory of the caller's (a VMM's guest) has no rings of its
 * own: it tells the back-end about rings that somebody else drives. In both
 * cases it can tell all of it again to a back-end that went away and came
 * back: see vh_driver_set_reconnect().
 */
#ifndef VH_DRIVER_H
#define VH_DRIVER_H

#include "vh/types.h"
#include "vh/event.h"
#include "vh/reconnect.h"

VH_BEGIN_DECLS

/* Flags of vh_driver_stop(). */
#define VH_DRIVER_STOP_DROP 1u /* don't wait for requests in flight */

/* Flags of struct vh_driver_opts. */
#define VH_DRIVER_IOMMU 1u /* the device uses I/O addresses: -ENOTSUP without VIRTIO_F_ACCESS_PLATFORM */

/** struct vh_driver_opts - options of vh_driver_new(). Sized, zero means default. */
struct vh_driver_opts {
	uint32_t size;	     /* sizeof(struct vh_driver_opts) */
	uint32_t n_queues;   /* 0 = 1, for VH_TYPE_NET 2: a pair; -ENOSPC when the back-end has fewer */
	uint32_t queue_size; /* 0 = 256; a power of two, but where rings are packed */
	uint32_t type; /* VH_TYPE_BLK, VH_TYPE_NET: what its users here can do with is wanted; 0 = ring features only */
	uint64_t features; /* further device features to do with; over memory of the caller's all, those of rings too */
	uint64_t mask_features; /* never acked */
	uint64_t iova_offset;	/* VH_DRIVER_IOMMU: I/O address of guest address 0; what is shared must not wrap */
	uint32_t flags;		/* VH_DRIVER_IOMMU */
	/*
	 * Microseconds for which vh_blk_wait() and vh_net_wait() look at a queue before they sleep, at most: less where it
	 * was in vain lately. 0 = they sleep at once; VH_POLL_ALWAYS = they never sleep.
	 */
	uint32_t poll_us;
};

/**
 * vh_driver_new() - negotiate with a back-end and allocate rings
 * @opts: (nullable)
 * @b: (borrowed) must outlive the session
 * @mem: (nullable) memory to share, kept alive by the session; NULL: the session makes its own
 * @out: (out) (owned) free with vh_driver_free()
 *
 * Over memory of the caller's nothing is allocated in it; queue_size means nothing then, and rings come from
 * vh_driver_set_ring().
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
 * May be called while queues run. -EPERM over memory of the caller's.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EPERM EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOSPC ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
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

/* Flags of struct vh_driver_ring. */
#define VH_DRIVER_RING_OFF	   1u /* started, but not enabled: see vh_driver_enable() */
#define VH_DRIVER_RING_NEEDS_RESET 2u /* told by vh_driver_get_ring(): it can't go on, see VH_EVENT_NEEDS_RESET */

/** struct vh_driver_ring - where a ring is. Sized; as an out struct size-first. */
struct vh_driver_ring {
	uint32_t size;	 /* sizeof(struct vh_driver_ring) */
	uint32_t num;	 /* entries, 0 = there is no ring */
	uint64_t desc;	 /* guest address of the descriptors */
	uint64_t driver; /* of the available ring, packed: of the driver's event area */
	uint64_t device; /* of the used ring, packed: of the device's event area */
	uint32_t base;	 /* where it goes on: 0 for a new split ring, VH_QUEUE_PACKED_BASE for a new packed one */
	uint32_t flags;	 /* VH_DRIVER_RING_OFF */
};

/**
 * vh_driver_set_ring() - a ring that somebody else drives, for the next start
 * @d: a session over memory of the caller's; when it runs, the ring is started
 * @index: queue index
 * @ring: (nullable) NULL: there is none any more
 * @kick_fd: (borrowed) eventfd by which the device is told, duplicated; -1 = none, it has to look
 * @call_fd: (borrowed) eventfd by which the driver is told, duplicated; -1 = none
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EPERM EBADF EBUSY ENOENT EMFILE EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0, -EPERM when the session has its own rings, -EBUSY while that queue runs, see vh_driver_reset_queue(), or when the
 * device takes no ring more while it runs others.
 */
VH_API vh_rc vh_driver_set_ring(struct vh_driver *d, uint32_t index, const struct vh_driver_ring *ring, vh_fd kick_fd,
				vh_fd call_fd);

/**
 * vh_driver_get_ring() - where a ring is, and where it goes on
 * @d: the session
 * @index: queue index
 * @out: (out) base is where it stopped last
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENOENT
 */
VH_API vh_rc vh_driver_get_ring(struct vh_driver *d, uint32_t index, struct vh_driver_ring *out);

/**
 * vh_driver_enable() - have the device take from a queue, or not
 * @d: the session
 * @index: queue index
 * @on: 1 or 0
 *
 * Queues are enabled when they start, until this says otherwise; it counts for each start to come.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL ENOENT EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO EREMOTEIO EOPNOTSUPP ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0; for a device that does not say where its rings stopped (vp_vdpa), -EOPNOTSUPP when it is to go on without this
 * one, -EBUSY when it is to take this one too while it runs others.
 */
VH_API vh_rc vh_driver_enable(struct vh_driver *d, uint32_t index, uint32_t on);

/**
 * vh_driver_share() - memory of the caller's has changed
 * @d: the session
 *
 * Tells the back-end which regions there are now, if the session runs; a start does the same.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOSPC ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_driver_share(struct vh_driver *d);

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
 * vh_driver_reset_queue() - one queue begins anew, and the others run on
 * @d: the session
 * @index: queue index
 *
 * The back-end completes or drops what it has of the queue, and stops it. A queue of the session's own is then started from
 * nothing: what was submitted to it and not reaped does not come back, and its buffers are the caller's again (vh_blk_reap() gives
 * such requests back with -EIO). A ring that somebody else drives stays stopped; vh_driver_set_ring(), which takes it
 * although the session runs, starts it where it is then. This is what a driver's VIRTIO_F_RING_RESET asks for; also for a
 * queue that broke.
 *
 * Of a session that is stopped, the queue begins from nothing at the next start.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL ENOENT EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO EOPNOTSUPP ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0; -EINTR when a signal came: call again; -EOPNOTSUPP when the device does not say where its other rings stopped
 * (vp_vdpa), and all run on. After any other failure the queue does not run.
 */
VH_API vh_rc vh_driver_reset_queue(struct vh_driver *d, uint32_t index);

/**
 * vh_driver_fd() - readable when vh_driver_dispatch() has something to do
 * @d: the session
 *
 * It stands for the back-end's connection too: who dispatches the session need not dispatch the vh_master.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: (borrowed) the fd.
 */
VH_API vh_fd vh_driver_fd(struct vh_driver *d);

/**
 * vh_driver_dispatch() - serve the back-end's connection, and bring it back when it ended; never blocks
 * @d: the session
 *
 * A bounded amount of work: of a session that is told to a back-end which came back, a few messages. Calls that wait do the
 * same while they wait: vh_blk_wait() and vh_driver_stop().
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ECONNRESET
 *
 * Return: 1 when there is more to do at once, 0 when it is safe to wait on vh_driver_fd(), -ECONNRESET when the back-end is
 * gone for good.
 */
VH_API vh_count vh_driver_dispatch(struct vh_driver *d);

/**
 * vh_driver_next_event() - take the oldest pending event
 * @d: the session
 * @out: (out) the event
 *
 * After a connection ended: VH_EVENT_RECONNECTING (reason: why the last one ended or the last try failed, value: ms until the
 * next one), VH_EVENT_CONNECTED, VH_EVENT_NEEDS_RESET for queues that can't go on, VH_EVENT_SESSION_RUNNING; or
 * VH_EVENT_GAVE_UP. Of the kernel's devices, and of vDPA: VH_EVENT_BROKEN, when the device can't go on with a ring, -EIO;
 * vh_driver_reset_queue() or a new start helps.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: 1 with an event, 0 when there is none.
 */
VH_API vh_count vh_driver_next_event(struct vh_driver *d, struct vh_event *out);

/**
 * vh_driver_set_reconnect() - have a back-end that goes away come back
 * @d: the session
 * @policy: (nullable) copied; NULL: never, as it is at first
 *
 * When the connection ends, the session makes another one to where the vh_master was connected to, or accepts one where that
 * listens, by the policy; after vh_master_adopt(), vh_master_socketpair() and an address that is an fd only the user can, by
 * another one of them. Then
 * it tells the back-end what it had told before, in the same order: features, memory, the dirty log, config space that was
 * written, rings. What it can't tell so (a back-end without the features that were in use, or with fewer queues) is a failed
 * try. A try counts as failed until VH_EVENT_SESSION_RUNNING.
 *
 * Users of the session need not know: requests can be submitted meanwhile, and wait. Those that were in flight are done once
 * more by the back-end that came, so a device may do one twice, but each completes exactly once; with inflight records
 * (INFLIGHT_SHMFD) only those that it had begun, and before the others. A back-end must not go on
 * using the rings after its connection ended.
 *
 * Of rings that somebody else drives the session knows what their memory says. A split ring goes on at its used index, when
 * all of its last requests were completed in their order, or when the back-end keeps records of what is in flight, which
 * the session asks for at each start with a policy in force; a queue of which nobody can tell does not start, and
 * VH_EVENT_NEEDS_RESET says so: have its driver reset it, set the ring anew, stop the session and start it.
 *
 * What the session is told while there is no connection, the next one is told. -ECONNRESET comes from its calls only after
 * VH_EVENT_GAVE_UP; a call of this function then begins anew.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EOPNOTSUPP
 */
VH_API vh_rc vh_driver_set_reconnect(struct vh_driver *d, const struct vh_reconnect *policy);

/**
 * vh_driver_queue() - a queue of the session, for vh_queue_submit() and vh_queue_reap()
 * @d: the session
 * @index: queue index
 * @out: (out) (borrowed) lives as long as the session
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EPERM ENOENT
 *
 * Return: 0, -EPERM when the rings are somebody else's.
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
