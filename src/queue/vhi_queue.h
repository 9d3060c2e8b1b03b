/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What a slave, a driver session and the tests need of a queue beyond vh/queue.h: life without freeing the handle
 * (start, stop, restart), and control changes from another thread than the one that pops and pushes.
 *
 * A control change is in force when vhi_queue_ctl() returned 0, or, when it returned -EINPROGRESS because a call was in
 * progress on another thread, once that call has left; then hooks.wake is called. Callers look at
 * vhi_queue_settled() and vhi_queue_in_flight() before they acknowledge anything.
 */
#ifndef VHI_QUEUE_H
#define VHI_QUEUE_H

#include "vh/queue.h"
#include "vhi_base.h"
#include "vhi_dirty.h"
#include "vhi_inflight.h"
#include "vhi_iotlb.h"
#include "vhi_mem.h"
#include "vhi_shm.h"

struct vhi_queue_hooks {
	void *ctx;
	/* From any thread, never under a lock: the queue changed (settled, last request in flight pushed, broken). */
	void (*wake)(void *ctx);
	/*
	 * The owner watches the raw fd, and for edges: each write is one, whatever was left there. So nobody reads it, but
	 * for vhi_queue_drain().
	 */
	bool edges;
};

/* A stopped queue that is owned by a slave or driver (vh_queue_free and vh_queue_stop refuse it). */
int vhi_queue_new(uint32_t index, uint32_t role, const struct vhi_queue_hooks *hooks, struct vh_queue **out);
void vhi_queue_destroy(struct vh_queue *q);
/* In a child of fork, before anything else that ends a queue: the parent goes on with the same set of fds. */
void vhi_queue_leave_to_parent(struct vh_queue *q);

/* What the rings here can do, of the feature bits that are not a device's own. */
#define VHI_RING_FEATURES                                                                            \
	(VHI_BIT(VH_F_VERSION_1) | VHI_BIT(VH_F_RING_INDIRECT_DESC) | VHI_BIT(VH_F_RING_EVENT_IDX) | \
	 VHI_BIT(VH_F_RING_PACKED) | VHI_BIT(VH_F_IN_ORDER) | VHI_BIT(VH_F_RING_RESET))

/* Of these, what a device offers unasked: in order its quick requests would wait for the slow ones. */
#define VHI_RING_OFFERED (VHI_RING_FEATURES & ~VHI_BIT(VH_F_IN_ORDER))

/* The areas of a ring. Virtio 1.2 sections 2.7 and 2.8. */
enum { VHI_RING_DESC, VHI_RING_DRIVER, VHI_RING_DEVICE, VHI_RING_AREAS };

struct vhi_ring_area {
	uint64_t len;
	uint32_t align;
};

void vhi_ring_areas(uint32_t num, uint64_t features, struct vhi_ring_area area[VHI_RING_AREAS]);

uint64_t vhi_ring_used_len(uint32_t num, uint64_t features); /* bytes that the device writes at the "used" address */

/*
 * Where a ring stands. Split: the next available index. Packed: where taking goes on in bits 0 to 14, where publishing
 * does in bits 16 to 30, and the wrap counter of each in the bit above it.
 */
uint32_t vhi_ring_first_base(uint64_t features); /* of a ring that was never used */
bool vhi_ring_base_fits(uint32_t num, uint64_t features, uint32_t base);
bool vhi_ring_num_fits(uint32_t num, uint64_t features);

/* Where a device's writes are logged. */
struct vhi_queue_log {
	struct vh_dirty *dirty; /* NULL: nowhere */
	bool used;		/* also what it writes into the used ring (packed: into both) */
	uint64_t used_gpa;	/* where that is, for the log */
};

struct vhi_ring {
	uint32_t num;
	uint64_t features;
	struct vhi_gpa desc, driver, device; /* guest addresses */
	uint32_t base;			     /* where it goes on, see vhi_ring_first_base() */
	uint32_t max_segs;		     /* 0 = max(num, 1024) */
	bool fresh;			     /* driver: begin at base; else continue where it stopped */
	bool keep;			     /* driver: so that vhi_queue_again() works; for every start alike */
	/* Driver: memory for indirect tables, num * max_indirect * 16 bytes, inside one region, 16-byte aligned. Used
	 * for chains of 2 to max_indirect segments when RING_INDIRECT_DESC is in features, and where with linked
	 * descriptors less than five eighths of the ring would stay free; max_indirect 0 = none. */
	struct vhi_gpa indirect;
	uint32_t max_indirect;
	uint64_t iova_shift;	       /* driver: what the device gets for a guest address, less that */
	struct vhi_queue_log log;      /* device */
	struct vhi_inflight *inflight; /* device: a reference is taken; NULL = no records */
	/* Device: its addresses, and those in descriptors, are I/O addresses of this one, and the queue starts whether they are
	 * known or not. NULL: they are guest addresses. */
	struct vh_iotlb *iotlb;
};

/*
 * Start (from stopped): checks geometry and that each ring lies whole in one region of @snap (a reference is taken).
 * A new epoch begins: older tokens are stale. -EBUSY when it has not stopped yet, or when too many ABORTs left requests
 * that did not come back (hooks.wake is called when there is room again). A device continues publishing at the used index
 * that it finds in a split ring. A driver that is not fresh keeps its record of what is in flight (same num, no ABORT in between). Returns 0
 * or -errno with the last error set; the queue stays stopped.
 */
int vhi_queue_start(struct vh_queue *q, const struct vhi_ring *ring, struct vh_snapshot *snap);

enum vhi_queue_ctl_kind {
	/* Look at once what the IOTLB says by now. Until UNWATCH hooks.wake is called at each push. */
	VHI_CTL_IOTLB,
	VHI_CTL_UNWATCH,
	VHI_CTL_SNAPSHOT, /* use this snapshot from now on; the ring is re-translated, broken if it is not there */
	VHI_CTL_PAUSE,	  /* pop returns 0 until RESUME: quiesce before memory is taken away */
	VHI_CTL_RESUME,
	VHI_CTL_ENABLE,	 /* pop returns requests */
	VHI_CTL_DISABLE, /* pop returns 0 */
	VHI_CTL_DRAIN,	 /* like PAUSE; state DRAINING; ends by vhi_queue_finish_stop */
	/* Stop at once. Tokens are stale from now on; of a device's requests in flight, segments and memory stay until
	 * each came back by a push or unpop that says so. */
	VHI_CTL_ABORT,
	/* The same for a queue with inflight records: the base says that what is in flight was taken, because it stays in
	 * the records. */
	VHI_CTL_PARK,
	VHI_CTL_FORGET, /* who has the requests of an ABORT doesn't look at them any more, and won't push them */
};
/*
 * 0: in force; -EINPROGRESS: will be, see above. @snap only for VHI_CTL_SNAPSHOT (a reference is taken). -EBUSY for a
 * snapshot that lacks a region of the present one while requests are in flight or a call is in progress: pause and
 * drain first. (Adding regions needs no pause.)
 */
int vhi_queue_ctl(struct vh_queue *q, enum vhi_queue_ctl_kind kind, struct vh_snapshot *snap);
/* The same for the log of a running device: requests that are in flight are logged when they are pushed. */
int vhi_queue_set_log(struct vh_queue *q, const struct vhi_queue_log *log);
bool vhi_queue_settled(struct vh_queue *q);
/* Memory that I/O addresses meant no more since the last VHI_CTL_IOTLB. */
#define VHI_UNMAPPED_MAX 64u
struct vhi_unmapped {
	bool all; /* it is not known which */
	uint32_t n;
	struct vh_seg ranges[VHI_UNMAPPED_MAX];
};
/* 1: a request in flight that was popped before that may use it, or the ring itself did; 0: none; -EINPROGRESS: later. */
int vhi_queue_unmapped(struct vh_queue *q, const struct vhi_unmapped *u);
/* What a queue that broke was not allowed to do; true once. */
bool vhi_queue_iotlb_fault(struct vh_queue *q, uint64_t *iova, uint32_t *perm);
/* All that can be told of a queue, from any thread. */
struct vhi_queue_seen {
	struct vh_queue_stats stats;
	uint32_t index, num;
	bool packed, enabled;
	bool has_indices; /* avail and used are known: indices of a split ring, positions of a packed one */
	uint16_t avail, used;
};
void vhi_queue_see(struct vh_queue *q, struct vhi_queue_seen *out);
/* vh_queue_stats.failed, from any thread. */
void vhi_queue_count_failed(struct vh_queue *q);
uint64_t vhi_queue_failed(struct vh_queue *q);
uint32_t vhi_queue_in_flight(struct vh_queue *q);
/* Requests that were taken since the start, less those that were given back. For the thread that drives the queue. */
uint32_t vhi_queue_taken(const struct vh_queue *q);
/*
 * After DRAIN, when settled and nothing is in flight: stopped; *base = next available index. Else -EBUSY. A driver may
 * have requests in flight, which it keeps for a start that is not fresh; its base is how far the device is. A
 * broken queue stops as well: push drops its requests, so that they drain too.
 */
int vhi_queue_finish_stop(struct vh_queue *q, uint32_t *base);
/* The base that a stopped (or never started) queue would report or start from. */
uint32_t vhi_queue_base(struct vh_queue *q);
void vhi_queue_set_base(struct vh_queue *q, uint32_t base);
/*
 * A driver looks how far the device is: *base = where it stands after the last request that it completed, reaped or not.
 * Returns how many requests it has not completed, or -EBUSY while a call is in progress or when not started.
 */
int vhi_queue_progress(struct vh_queue *q, uint32_t *base);
/*
 * The device of a driver's ring is gone, and nothing looks at the ring: everything that it has not completed is written
 * once more, in the order in which it was submitted, for another device that begins at *base. 0, -EBUSY like
 * vhi_queue_progress(), -EPROTO when what the device left in the ring can't be: nothing was written then.
 */
int vhi_queue_again(struct vh_queue *q, uint32_t *base);
/*
 * The device of a driver's ring was reset, and can only begin at the beginning: so does the ring, which is paused. What was
 * completed stays to be reaped, and what was not takes the first places. 0, -EBUSY like vhi_queue_progress(), -ENOMEM,
 * -EPROTO when what the device left in the ring can't be.
 */
int vhi_queue_rewind(struct vh_queue *q, uint32_t *base);
/* Completions that stay to be reaped from before a rewind. */
uint32_t vhi_queue_early(struct vh_queue *q);

/* Requests in the inflight records that the ring started with, to be done again. */
uint32_t vhi_queue_resubmits(struct vh_queue *q);
/* After PARK, when settled: requests that did not come back yet. Until then the device may write guest memory. */
uint32_t vhi_queue_parked(struct vh_queue *q);
bool vhi_queue_tracked(struct vh_queue *q); /* it runs, with records that are whole */
/* The file of the records was truncated: I/O goes on without. */
bool vhi_queue_inflight_lost(struct vh_queue *q);

/*
 * Where there is no fd to signal the peer by, it is told by messages: hooks.wake is called, and what is to be sent is
 * taken here.
 */
#define VHI_TELL_CALL 1u
#define VHI_TELL_ERR  2u
void vhi_queue_by_message(struct vh_queue *q, bool on);
uint32_t vhi_queue_take_told(struct vh_queue *q);

/*
 * fds: taken over in any case, -1 = none; the old one is closed. Only eventfds are taken, anything else is -EINVAL (a
 * site). Effective at once, or when the call in progress leaves; then its sleeper is woken. After a new call fd the
 * driver is notified once, so that no completion is lost. The flags of the fd are not changed, and neither a read nor
 * a write of it blocks, whatever they are.
 */
enum vhi_queue_fd { VHI_QUEUE_KICK, VHI_QUEUE_CALL, VHI_QUEUE_ERR };
int vhi_queue_set_fd(struct vh_queue *q, enum vhi_queue_fd which, int fd);
bool vhi_queue_is_eventfd(int fd);
int vhi_queue_get_fd(struct vh_queue *q, enum vhi_queue_fd which); /* borrowed, -1 = none */

/*
 * Drain the kick (device) or call (driver) fd; counts it. True when it had been signalled. False when another thread
 * is inside. The next arm then doesn't drain again. Whoever watches the raw fd (vhi_queue_get_fd) should do so with
 * EPOLLET: one read leaves an EFD_SEMAPHORE readable. vh_queue_fd() cares for that itself. With hooks.edges it only counts.
 */
bool vhi_queue_ack(struct vh_queue *q);
/* Before the fd is given back, with hooks.edges: who has it next finds no kick that was taken here. */
void vhi_queue_drain(struct vh_queue *q);
/* Who polls a queue found nothing: make the call that was put off, see vh_queue_set_coalescing(). */
void vhi_queue_call(struct vh_queue *q);
/* Wake a thread that sleeps on vh_queue_fd(), or on what vhi_queue_watch() was given. */
void vhi_queue_wake(struct vh_queue *q);
/*
 * A driver that sleeps in an epoll set of its own, which saves it the reading of the call fd: that one is watched for
 * edges, and stays as it is set. @tags: what the set says of the call fd, and of vhi_queue_wake(). 0 or -errno.
 */
int vhi_queue_watch(struct vh_queue *q, int epfd, const uint64_t tags[2]);
/* As vh_queue_arm() before such a sleep. @called: the call fd was signalled since the last time. */
int vhi_queue_doze(struct vh_queue *q, bool called);
/* Break it: site and reason are kept (@why is static), the err fd is signalled once. */
int vhi_queue_break(struct vh_queue *q, int code, uint32_t site, const char *why);
/* True for a broken queue, and *out says why. */
bool vhi_queue_failure(struct vh_queue *q, struct vhi_failure *out);
/* Of a queue that broke: the last error says why. Its code. */
int vhi_queue_raise(const struct vh_queue *q);
bool vhi_queue_enabled(struct vh_queue *q);

/* The snapshot that the requests in flight point into (borrowed; the queue's own reference). Device handlers use it
 * to report EFAULT of a system call: vhi_snapshot_mark_broken(). */
struct vh_snapshot *vhi_queue_snapshot(struct vh_queue *q);

const char *vhi_queue_site_text(uint32_t site);

#endif
