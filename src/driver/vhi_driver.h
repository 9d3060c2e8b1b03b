/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A driver session: the plan (what was negotiated, where rings lie, where they stopped) is kept here, for every kind of
 * back-end, and never by the back-end.
 *
 * A queue of the session lives from the first start on. While the session is stopped the queue is only paused: nothing
 * can be submitted, and what has arrived can still be reaped.
 */
#ifndef VHI_DRIVER_H
#define VHI_DRIVER_H

#include "vh/blk.h"
#include "vh/driver.h"
#include "vh/event.h"
#include "vh/metrics.h"
#include "vh/netdev.h"
#include "vhi_backend.h"
#include "vhi_backoff.h"
#include "vhi_base.h"
#include "vhi_dirty.h"
#include "vhi_events.h"
#include "vhi_mem.h"
#include "vhi_metrics.h"
#include "vhi_queue.h"

#include <pthread.h>

enum {
#define VHI_SITE VHI_SITE_ENUM
#include "sites.def"

/* What vh_blk can do with. */
#define VHI_BLK_FEATURES                                                                                              \
	(VHI_BIT(VH_BLK_F_SIZE_MAX) | VHI_BIT(VH_BLK_F_SEG_MAX) | VHI_BIT(VH_BLK_F_RO) | VHI_BIT(VH_BLK_F_BLK_SIZE) | \
	 VHI_BIT(VH_BLK_F_FLUSH) | VHI_BIT(VH_BLK_F_CONFIG_WCE) | VHI_BIT(VH_BLK_F_MQ) | VHI_BIT(VH_BLK_F_DISCARD) |  \
	 VHI_BIT(VH_BLK_F_WRITE_ZEROES))
/* What whoever puts frames into queues can do with, without knowing more than that each has a header. */
#define VHI_NET_FEATURES (VHI_BIT(VH_NET_F_MAC) | VHI_BIT(VH_NET_F_MTU) | VHI_BIT(VH_NET_F_STATUS))
#undef VHI_SITE
};

/* Device status (virtio 1.2 section 2.1). */
#define VHI_DRIVER_S_RESET   0u
#define VHI_DRIVER_S_KNOWN   3u	 /* ACKNOWLEDGE, DRIVER */
#define VHI_DRIVER_S_CHOSEN  11u /* and FEATURES_OK */
#define VHI_DRIVER_S_RUNNING 15u /* and DRIVER_OK */

/* For each ring slot there is this much memory that the device can see: request headers and status bytes. */
#define VHI_DRIVER_SLOT 64

/* Who waits at a queue: driver_wait.c. */
struct vhi_driver_sleep {
	int set;	  /* what it sleeps on, -1 = not made */
	bool called;	  /* the call fd was signalled, which was not counted yet */
	uint64_t spin_ns; /* how long the next wait spins */
};

struct vhi_driver_queue {
	struct vh_queue *q;
	struct vhi_ring ring; /* the plan: base is where it goes on */
	uint64_t slots;	      /* address here of ring.num * VHI_DRIVER_SLOT bytes */
	uint64_t rings;	      /* address here of the ring memory, and its length */
	uint64_t rings_len;
	uint64_t buffers; /* vh_net: address here of frames, and their length; 0 = none yet */
	uint64_t buffers_len;
	uint32_t life;	/* atomic: counts the times that it began from nothing; 0 = not yet */
	bool begun;	/* the back-end runs it */
	bool partly;	/* or it may: a signal ended the sequence that starts it */
	bool receives;	/* its requests wait for something to come, and are not waited for */
	bool spoilt;	/* can't go on: begins from nothing at the next start */
	bool anew;	/* its device has forgotten where it stood: it goes on from the beginning of the ring */
	bool cut;	/* its connection ended while it ran: what the device left has to be looked at */
	bool tracked;	/* it was started with inflight records */
	bool off;	/* not to be enabled */
	int kick, call; /* of a ring that somebody else drives: there is no q */
	int err;	/* by which the back-end says that it broke, -1 = it says no such thing */
	struct vhi_driver_sleep sleep;
	uint32_t showing; /* atomic: threads that write what is in flight */
};

/* What a session knows of its connection. */
enum vhi_link_state {
	VHI_LINK_UP,	 /* the session's plan is in force on it */
	VHI_LINK_DOWN,	 /* it ended, and will come again */
	VHI_LINK_REPLAY, /* it came, and is told of the plan step by step */
	VHI_LINK_GONE,	 /* it ended for good */
};

struct vhi_driver_link {
	uint32_t state;	  /* atomic: enum vhi_link_state */
	uint32_t turning; /* atomic: a thread is at it */
	bool wanted;	  /* atomic: it is to come again */
	struct vhi_backoff backoff;
	uint64_t due_ns; /* of the next try, UINT64_MAX = somebody else makes it */
	uint32_t step;	 /* of the replay, and queue within it */
	uint32_t index;
};

struct vh_driver {
	struct vh_backend *b;
	pid_t pid; /* that it is of: a child of fork() has only a copy */
	struct vh_mem *mem;
	uint64_t features;
	uint64_t iova_shift; /* the device uses I/O addresses: what is added to guest addresses for them */
	bool behind;	     /* it does */
	uint32_t n_queues;
	uint32_t max_queues;
	uint32_t poll_us; /* how long a wait spins */
	uint32_t running; /* atomic */
	struct vhi_driver_link link;
	uint32_t ended;	      /* atomic: connections of the back-end that ended before this session's present one */
	uint32_t control;     /* atomic: a control call is in progress */
	uint32_t guests;      /* atomic: queue threads that dispatch the back-end at this moment */
	bool stopping;	      /* a stop that a signal ended: the next one goes on */
	int wake;	      /* eventfd: a control change is in force */
	int epoll, timer;     /* the back-end's fd, and the next try to connect */
	pthread_mutex_t lock; /* of events: nothing else is done under it */
	struct vhi_events events;
	bool given;	       /* over memory of the caller's, who drives the rings */
	bool taken;	       /* one vh_blk or vh_net at a time */
	bool is_net;	       /* queues in pairs, of which the first receives */
	struct vhi_show *show; /* atomic; NULL = nobody looks */
	uint32_t showing;      /* atomic: threads that are at it; those of a queue count there */

	struct vh_inflight inflight; /* records of what is in flight */
	int inflight_fd;	     /* -1 = none */
	struct vh_dirty *log;	     /* of what the device writes, NULL = none */

	/* Memory is handed out upwards and never taken back; regions grow, so that a few of them carry far. */
	uint64_t next_gpa;
	uint64_t next_len;
	uint64_t page;
	uint64_t arena; /* address here of what is left of the newest region */
	uint64_t arena_gpa;
	uint64_t arena_left;

	struct vhi_driver_queue queues[];
};

/* The last error as it was: for failures that are no failures of the call, and for what unwinding stumbles over. */
struct vh_error vhi_driver_error_keep(void);
void vhi_driver_error_put(const struct vh_error *e);

int vhi_driver_mem_init(struct vh_driver *d);
int vhi_driver_alloc(struct vh_driver *d, uint64_t len, uint64_t *addr, struct vhi_gpa *gpa);
/* driver_iommu.c: which features that takes, and what I/O addresses mean. Nothing where the device uses none. */
int vhi_driver_iommu_check(struct vh_driver *d);
int vhi_driver_iommu_map(struct vh_driver *d);
/* Tell the back-end and the queues which memory there is. */
int vhi_driver_share(struct vh_driver *d);
/* What the back-end is to know of a queue. */
struct vhi_ring_intent vhi_driver_intent(const struct vh_driver *d, uint32_t index);
bool vhi_driver_log_covers(const struct vh_driver *d, uint64_t end); /* or there is none */
/* Stop whatever runs, as far as it goes: for the end of the session. */
void vhi_driver_halt(struct vh_driver *d);
/* Device status, where the back-end has it. */
int vhi_driver_status(struct vh_driver *d, uint8_t status);
/* Tell it that the features are chosen; a device that can't do with them says so. */
int vhi_driver_features_ok(struct vh_driver *d);
/* Queues of the back-end, as far as the session counts them. */
int vhi_driver_max_queues(struct vh_driver *d, uint32_t *n);

/*
 * A back-end takes one thread at a time. Queue threads that wait also dispatch it, in passing; a control call makes them
 * keep out (it dispatches while it waits for its replies), so that it never meets -EBUSY.
 */
void vhi_driver_control(struct vh_driver *d, bool on);
/*
 * Let the back-end's connection go on, and come again. 1 = there is more to do, 0, or -ECONNRESET when it is gone for
 * good, which wakes every queue.
 */
int vhi_driver_dispatch(struct vh_driver *d);
bool vhi_driver_gone(struct vh_driver *d);
bool vhi_driver_has_ended(const struct vh_driver *d); /* the connection that the session knows; from any thread */
void vhi_driver_knows(struct vh_driver *d);	      /* the present connection is the session's */
int vhi_driver_look(struct vh_driver *d);	      /* the same, but only if there is something to be done for it */
int vhi_driver_lost(struct vh_driver *d);	      /* -ECONNRESET with the reason */

/*
 * For a control call that has something to tell the back-end. 0 = do; 1 = there is no connection, and the next one will be
 * told all that is in the plan; -ECONNRESET. What it told then goes through the second: a connection that ends meanwhile is
 * no failure when another one comes.
 */
int vhi_driver_link(struct vh_driver *d);
int vhi_driver_told(struct vh_driver *d, int rc);

/* A back-end that has been told half of the plan, and nobody will tell it the rest: true, and its connection is over. */
bool vhi_driver_let_go(struct vh_driver *d);

/* driver_replay.c: 1 = the plan is in force, 0 = goes on when the back-end's fd is readable, -EAGAIN at once, -errno. */
int vhi_driver_replay(struct vh_driver *d);

/* driver_show.c: for who looks at the process. A queue of @index took or gave requests; something was changed by a call. */
void vhi_driver_show_flow(struct vh_driver *d, uint32_t index);
void vhi_driver_show(struct vh_driver *d, bool at_once);

/* driver_loop.c */
int vhi_driver_loop_open(struct vh_driver *d);
void vhi_driver_loop_close(struct vh_driver *d);
void vhi_driver_broken(struct vh_driver *d);		    /* whatever the back-end said so of becomes an event */
void vhi_driver_timer(struct vh_driver *d, uint64_t at_ns); /* UINT64_MAX = never */
void vhi_driver_event(struct vh_driver *d, uint32_t kind, uint32_t queue, int32_t reason, uint64_t value);

/* driver_run.c: steps of a start, and of a replay. Where a ring goes on whose device went away: 0, -EAGAIN. */
int vhi_driver_ring_again(struct vh_driver *d, uint32_t index);
int vhi_driver_ring_start(struct vh_driver *d, uint32_t index);
int vhi_driver_ring_enable(struct vh_driver *d, uint32_t index);
int vhi_driver_ring_begin(struct vh_driver *d, uint32_t index);	      /* all of it, in a call that waits */
int vhi_driver_check_alone(struct vh_driver *d, const char *who);     /* one ring can stop by itself, and go on */
bool vhi_driver_ring_runs(const struct vh_driver *d, uint32_t index); /* while the session does */

/* driver_inflight.c: steps of a start and of a replay, of a session whose back-end is to come back. */
void vhi_driver_inflight_drop(struct vh_driver *d);
int vhi_driver_inflight_get(struct vh_driver *d);
int vhi_driver_inflight_set(struct vh_driver *d);
int vhi_driver_inflight_clear(struct vh_driver *d,
			      uint32_t index); /* of a queue that is stopped: nothing is in flight */

/* driver_ring.c: of a given ring, from what its device left in memory. 0, or why nobody can tell. */
int vhi_driver_given_base(struct vh_driver *d, uint32_t index, uint32_t *base);

/* driver_use.c: for those who drive the queues. The session is theirs until they set taken to false: 0, -EPERM, -EBUSY. */
int vhi_driver_take(struct vh_driver *d, const char *who);

/* driver_wait.c. How to look at a queue: only that; or ask for a call too, for who sleeps in the set, or on the queue's fd. */
enum vhi_how { VHI_PEEK, VHI_DOZE, VHI_ARM };
int vhi_driver_ask(struct vhi_driver_queue *dq, enum vhi_how how); /* 1 = there is something to reap, 0, -errno */

struct vhi_driver_waiter {
	const char *who;
	int (*ready)(void *ctx, uint32_t queue, enum vhi_how how); /* 1, 0, -errno: at last from vhi_driver_ask() */
	void *ctx;
	uint32_t queue;
};

/* Sleep until it is ready, and serve the back-end meanwhile. Everything that vh_blk_wait() and vh_net_wait() return. */
int vhi_driver_wait(struct vh_driver *d, const struct vhi_driver_waiter *w, int32_t timeout_ms);

const char *vhi_driver_site_text(uint32_t site);

#endif
