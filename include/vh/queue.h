/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Virtqueues, device side (pop, push) and driver side (submit, reap).
 *
 * A queue is driven by one thread at a time, which may be another one than the
 * thread that dispatches its device; a second thread that comes at the same
 * time gets -EBUSY, which sets its last error like any failure. Nothing on the
 * data path allocates, logs or calls back.
 */
#ifndef VH_QUEUE_H
#define VH_QUEUE_H

#include "vh/inflight.h"
#include "vh/types.h"

VH_BEGIN_DECLS

#define VH_QUEUE_MAX_SIZE    32768
#define VH_QUEUE_PACKED_BASE 0x80008000u /* of a packed ring that was never used: both wrap counters set */

/* vh_queue_opts.role */
#define VH_QUEUE_DEVICE 1
#define VH_QUEUE_DRIVER 2

/* vh_req.flags */
#define VH_REQ_RESUBMITTED 1 /* was in flight before a crash or reconnect */
#define VH_REQ_LAST	   2 /* last of its batch */

/* vh_queue_opts.flags */
#define VH_QUEUE_HOLD 1u /* only opened: vh_queue_start() starts it */

/* vh_queue_state() */
#define VH_QUEUE_STOPPED  0
#define VH_QUEUE_RUNNING  1
#define VH_QUEUE_DRAINING 2 /* no more pops; stops when the last request in flight is pushed */
#define VH_QUEUE_BROKEN	  3 /* the peer broke the ring or its memory; restart to recover */

/* vh_queue_arm() */
#define VH_QUEUE_SLEEP 0
#define VH_QUEUE_MORE  1

/* vh_queue_set_dirty() */
#define VH_QUEUE_LOG_USED 1u /* also what the device writes into the ring */

/** struct vh_req - one request. @frozen, 64 bytes. */
struct vh_req {
	uint64_t token;	 /* names the request: ring epoch << 32 | slot */
	uint64_t segs;	 /* address of n_rd + n_wr struct vh_seg, readable ones first, (borrowed) until push or unpop */
	uint64_t user;	 /* driver: cookie, comes back in vh_cpl.token; device: scratch */
	uint64_t rd_len; /* bytes in the readable segments */
	uint64_t wr_len; /* bytes in the writable segments */
	uint32_t n_rd;	 /* readable segments, after splitting at region borders */
	uint32_t n_wr;	 /* writable segments */
	uint32_t seq;	 /* order of pop since the ring started */
	uint16_t queue;	 /* queue index */
	uint16_t flags;	 /* VH_REQ_* */
	uint32_t mem;	 /* snapshot number that the segments belong to */
	uint32_t reserved;
};

/** struct vh_cpl - one completion. @frozen, 16 bytes. */
struct vh_cpl {
	uint64_t token;	  /* push: vh_req.token; reap: vh_req.user of the submitted request */
	uint32_t written; /* bytes that the device wrote, from the start of the writable segments; these are logged */
	uint32_t flags;	  /* must be 0 */
};

/** struct vh_queue_opts - a queue over rings in guest memory. Sized. */
struct vh_queue_opts {
	uint32_t size;	   /* sizeof(struct vh_queue_opts) */
	uint32_t role;	   /* VH_QUEUE_DEVICE, VH_QUEUE_DRIVER */
	uint32_t num;	   /* ring size, 1..32768, a power of two for a split ring */
	uint32_t index;	   /* queue index, for vh_req.queue and errors */
	uint64_t features; /* negotiated feature bits: RING_INDIRECT_DESC, RING_EVENT_IDX, RING_PACKED, IN_ORDER, ... */
	vh_gpa desc;	   /* descriptor table, 16-byte aligned */
	vh_gpa driver;	   /* available ring, 2-byte aligned; packed: the driver's event area, 4-byte aligned */
	vh_gpa device;	   /* used ring, or the device's event area; 4-byte aligned */
	uint32_t base;	   /* as vh_queue_stop() gives it; to begin 0, packed VH_QUEUE_PACKED_BASE */
	uint32_t max_segs; /* most segments in a chain; 0 = the larger of num and 1024 */
	vh_gpa indirect;   /* driver: num * max_indirect * 16 bytes for indirect tables, 16-byte aligned */
	uint32_t
		max_indirect; /* driver: descriptors in a table; 0 = no tables, else they save room in a ring that fills up */
	uint32_t flags;	      /* 0 or VH_QUEUE_HOLD */
};

/** struct vh_queue_stats - counters since the queue was made. Size-first out struct. */
struct vh_queue_stats {
	uint32_t size;
	uint32_t state;	    /* as vh_queue_state() tells it */
	uint64_t requests;  /* popped or submitted */
	uint64_t completed; /* pushed or reaped */
	uint64_t bytes_in;  /* readable bytes of popped requests; written bytes reaped */
	uint64_t bytes_out; /* written bytes pushed; readable bytes submitted */
	uint64_t kicks;	    /* device: kicks received; driver: kicks sent */
	uint64_t calls;	    /* device: calls sent; driver: calls received */
	uint64_t errors;    /* times that the queue broke */
	uint64_t seg_waits; /* pops cut short because the segment pool was used up */
	uint32_t in_flight;
	uint32_t broken_site; /* number of the check that broke it, 0 = none */
	uint64_t
		oldest_in_flight_ns; /* age of the oldest request in flight, 0 = none, or seen now for the first time */
	uint64_t failed;	     /* device: requests that it could not do, see vh_device_error() */
	uint64_t iotlb_misses;	     /* device: I/O addresses that were not known, and had to be asked for */
};

/**
 * vh_queue_open() - a stand-alone queue, for a program with a protocol stack of its own
 * @mem: guest memory, kept alive by the queue
 * @opts: geometry
 * @kick_fd: (borrowed) eventfd by which the driver tells the device, -1 = none; duplicated
 * @call_fd: (borrowed) eventfd by which the device tells the driver, -1 = none; duplicated
 * @out: (out) (owned) free with vh_queue_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EBADF ENOMEM EMFILE EFAULT
 *
 * Return: 0, -EFAULT when a ring is not wholly inside one region, -EINVAL also when an fd is no eventfd.
 */
VH_API vh_rc vh_queue_open(struct vh_mem *mem, const struct vh_queue_opts *opts, vh_fd kick_fd, vh_fd call_fd,
			   struct vh_queue **out);

/**
 * vh_queue_free() - free a queue made by vh_queue_open()
 * @q: (nullable)
 *
 * Requests in flight are dropped: their tokens and segments die. A queue of a vh_slave or vh_driver is left as it is.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: none
 */
VH_API void vh_queue_free(struct vh_queue *q);

/**
 * vh_queue_pop() - take requests that the driver made available
 * @q: device-side queue
 * @reqs: (out) (array max) the requests
 * @max: room at @reqs
 *
 * The available index is loaded once per call. Each request is validated as a whole before it is returned; one that
 * is not valid breaks the queue (requests before it are still returned). Segments, and the memory that they point into,
 * stay until their token is pushed or un-popped, in any order, also when the queue is stopped or its connection ends
 * before. Virtio 1.2 sections 2.7 and 2.8.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EPROTO EFAULT
 *
 * Return: requests at @reqs, 0 when there are none (also while stopped, disabled or draining), -EPROTO or -EFAULT
 * when the queue is broken, -EBUSY when another thread is inside.
 */
VH_API vh_count vh_queue_pop(struct vh_queue *q, struct vh_req *reqs, uint32_t max);

/**
 * vh_queue_push() - complete requests, in any order
 * @q: device-side queue
 * @cpls: (array n) tokens of the requests, and how much was written for each
 * @n: completions
 *
 * While a guest is migrated the pages of the written bytes are marked in the dirty log. A device that wrote anywhere else,
 * also into a request that it un-pops, says so by vh_queue_mark().
 *
 * All n are checked first; then they are published at once, and the driver is notified at most once. written is
 * clamped to what the chain can hold.
 *
 * With VIRTIO_F_IN_ORDER the driver is told in the order of pop: a request that is pushed before older ones waits for
 * them, and counts as in flight until then. Its segments are the device's no more all the same.
 *
 * A connection that ends stops its queues with requests in flight. Push these as well: nothing is written then, and
 * their segments and memory go. After 4 connections that ended so, and have not got all their requests back, the queue
 * does not start again before one of them has.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY ESTALE EFAULT EPROTO
 *
 * Return: 0; -ESTALE when tokens are from a ring that was stopped: these are dropped, the others are published; -EINVAL
 * when one is not in flight or named twice: nothing changes; -EFAULT when guest memory was truncated: nothing is
 * published and the queue is broken; -EPROTO when the queue is broken already: nothing is published, and the requests
 * end.
 */
VH_API vh_rc vh_queue_push(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n);

/**
 * vh_queue_unpop() - give back the newest n requests in flight, as if they had not been popped
 * @q: device-side queue
 * @n: requests
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY ESTALE
 *
 * Return: 0; -ESTALE when they are from a ring that was stopped: they are dropped; -EINVAL when one of the newest n pops
 * was already pushed: nothing changes.
 */
VH_API vh_rc vh_queue_unpop(struct vh_queue *q, uint32_t n);

/**
 * vh_queue_submit() - make requests available to the device
 * @q: driver-side queue
 * @reqs: (array n) segs, n_rd, n_wr and user are read, flags and reserved must be 0, the rest is ignored; segments must
 *   lie inside the queue's guest memory
 * @n: requests
 *
 * They are published at once, and the device is notified at most once.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT EPROTO
 *
 * Return: requests taken, fewer than n when the ring is full or a later one is wrong (submit it again to learn why), 0
 * also while the queue is stopped; -EFAULT when a segment of the first one is outside.
 */
VH_API vh_count vh_queue_submit(struct vh_queue *q, const struct vh_req *reqs, uint32_t n);

/**
 * vh_queue_reap() - take completions
 * @q: driver-side queue
 * @cpls: (out) (array max) the completions
 * @max: room at @cpls
 *
 * Every used element is checked against the driver's own record: an id that is not in flight or a length above the
 * writable bytes breaks the queue.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EPROTO EFAULT
 *
 * Return: completions at @cpls, 0 when there are none, -EPROTO when the device broke the queue.
 */
VH_API vh_count vh_queue_reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max);

/**
 * vh_queue_arm() - ask to be notified, before going to sleep
 * @q: either side
 *
 * Drains the queue's fd, enables notifications, then looks at the ring again. On the driver's side it looks first: where
 * there is work already nothing else is done, the fd included.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EPROTO EFAULT
 *
 * Return: VH_QUEUE_SLEEP when it is safe to wait on vh_queue_fd(), VH_QUEUE_MORE when there is work already.
 */
VH_API vh_count vh_queue_arm(struct vh_queue *q);

/**
 * vh_queue_look() - whether there is something to pop or reap
 * @q: either side
 *
 * For who spins before he sleeps: it asks nobody to be notified, and writes nothing.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EPROTO EFAULT
 *
 * Return: VH_QUEUE_MORE, or VH_QUEUE_SLEEP when there is nothing; for notifications see vh_queue_arm().
 */
VH_API vh_count vh_queue_look(struct vh_queue *q);

/**
 * vh_queue_disarm() - ask not to be notified while polling
 * @q: either side
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY
 */
VH_API vh_rc vh_queue_disarm(struct vh_queue *q);

/**
 * vh_queue_set_coalescing() - fewer calls than pushes
 * @q: device-side queue
 * @completions: call the driver once so many were completed since the last call; 0 and 1: at each push, as it is at first
 *
 * Completions are published at once whatever this says. A call that the driver wants comes earlier when nothing is in flight
 * any more, and from vh_queue_arm(), so it is never missed by a driver whose device arms before it waits. A device that
 * neither arms nor completes what it has (it polls, and keeps buffers to receive into) leaves its driver waiting: it sets
 * 0. Stays in force when the queue stops and starts.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY
 */
VH_API vh_rc vh_queue_set_coalescing(struct vh_queue *q, uint32_t completions);

/**
 * vh_queue_doorbell() - notify a device that has no kick fd
 * @q: driver-side queue that was opened without one
 * @data: (out) what to write to its doorbell: the queue's index; with NOTIFICATION_DATA in the features (virtio 1.2 section
 *   2.9) in the upper half where the next request will be available: split, the index; packed, the place in the ring and, in
 *   the highest bit, the wrap counter
 *
 * Ask after vh_queue_submit(), and write behind what that wrote to memory.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY
 *
 * Return: 1 when the device wants to be told of what was submitted since this was asked last, 0 when it does not.
 */
VH_API vh_count vh_queue_doorbell(struct vh_queue *q, uint32_t *data);

/**
 * vh_queue_fd() - a pollable fd that is readable when the queue wants attention
 * @q: either side
 *
 * Stable for the life of the queue: it covers the kick (or call) fd, whichever is current, and the queue's own
 * wake-up, by which a control change reaches a sleeping thread.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EMFILE ENFILE ENOMEM
 *
 * Return: (borrowed) the fd, or a negative errno value.
 */
VH_API vh_fd vh_queue_fd(struct vh_queue *q);

/**
 * vh_queue_state() - whether it is stopped, runs, drains or is broken
 * @q: either side
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: VH_QUEUE_STOPPED, VH_QUEUE_RUNNING, VH_QUEUE_DRAINING or VH_QUEUE_BROKEN.
 */
VH_API vh_count vh_queue_state(struct vh_queue *q);

/**
 * vh_queue_stop() - stop a stand-alone queue
 * @q: made by vh_queue_open()
 * @base: (nullable) (out) where it would go on: the next available index; packed: in the lower half where taking goes
 *   on, in the upper half where publishing does, each an index and, in its highest bit, a wrap counter
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EINPROGRESS EPERM
 *
 * Return: 0; -EINPROGRESS while requests are in flight: the queue drains, call again when they are pushed; -EPERM
 * for a queue that a vh_slave or vh_driver owns.
 */
VH_API vh_rc vh_queue_stop(struct vh_queue *q, uint32_t *base);

/**
 * vh_queue_start() - start a stand-alone queue that was opened with VH_QUEUE_HOLD, or stopped
 * @q: made by vh_queue_open()
 *
 * At the base that it was opened with; after vh_queue_stop() where it stopped.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOMEM
 *
 * Return: 0; -EBUSY when it runs, or has not stopped yet; -EPERM for a queue that a vh_slave or vh_driver owns; -EINVAL
 * also when there is nonsense in its inflight records.
 */
VH_API vh_rc vh_queue_start(struct vh_queue *q);

/**
 * vh_queue_set_inflight() - keep records of what is in flight, from the next start on
 * @q: device-side queue made by vh_queue_open(), stopped
 * @inflight: (nullable) from vh_inflight_make() or from a front-end's SET_INFLIGHT_FD; NULL: no records. The queue's
 *   index says which part of them is its own
 * @fd: (borrowed) their file, duplicated; it may have been written by a process that crashed, or by one that lies
 *
 * What they say was in flight comes out of vh_queue_pop() first, with VH_REQ_RESUBMITTED, and the ring goes on behind it,
 * whatever the base is. A request whose data was written but that was not pushed is done twice.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EBADF ENOMEM EMFILE EOVERFLOW ENODATA EACCES ENODEV
 */
VH_API vh_rc vh_queue_set_inflight(struct vh_queue *q, const struct vh_inflight *inflight, vh_fd fd);

/**
 * vh_queue_set_iotlb() - its ring and descriptors have I/O addresses, from the next start on
 * @q: device-side queue made by vh_queue_open(), stopped
 * @t: (nullable) what they mean, in the memory that the queue was opened with; kept by the queue. NULL: they have guest
 *   addresses
 *
 * The queue then starts whether its ring is known or not. While something that it needs is not known vh_queue_pop() returns 0
 * and vh_queue_arm() VH_QUEUE_SLEEP; vh_iotlb_next_miss() says what, and an update wakes it.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM
 */
VH_API vh_rc vh_queue_set_iotlb(struct vh_queue *q, struct vh_iotlb *t);

/**
 * vh_queue_get_stats() - counters
 * @q: either side
 * @out: (out) the counters
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_queue_get_stats(struct vh_queue *q, struct vh_queue_stats *out);

/**
 * vh_queue_dup_snapshot() - pin the guest memory that the queue's segments point into
 * @q: either side
 * @out: (out) (owned) free with vh_snapshot_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOENT
 *
 * Return: 0, -ENOENT while the queue is stopped and has no memory.
 */
VH_API vh_rc vh_queue_dup_snapshot(struct vh_queue *q, struct vh_snapshot **out);

/**
 * vh_queue_set_dirty() - log what a stand-alone device queue writes
 * @q: device-side queue made by vh_queue_open(), which runs
 * @log: (nullable) the log, kept alive by the queue; NULL: no more
 * @flags: 0 or VH_QUEUE_LOG_USED
 * @used: guest address under which writes to the used ring (packed: to the device's event area) are logged
 *
 * Requests that are in flight are logged when they are pushed, to the log that there is then. The ring's own pages are
 * all marked once the queue has stopped; before, a write may be seen a moment earlier than its mark.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EPERM ERANGE EINPROGRESS
 *
 * Return: 0; -EINPROGRESS when another thread is inside: in force when it has left; -EPERM for a queue of a vh_slave,
 * which logs as its front-end says; -ERANGE when the used ring ends beyond the log.
 */
VH_API vh_rc vh_queue_set_dirty(struct vh_queue *q, struct vh_dirty *log, uint32_t flags, vh_gpa used);

/**
 * vh_queue_mark() - the device wrote guest memory that vh_cpl.written does not tell of
 * @q: device-side queue
 * @addr: address in this process, as in a segment
 * @len: bytes, > 0, inside one region
 *
 * Call it after the write. Does nothing while nothing is logged.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT
 */
VH_API vh_rc vh_queue_mark(struct vh_queue *q, uint64_t addr, uint64_t len);

VH_END_DECLS
#endif
