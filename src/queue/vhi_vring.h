/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Inside a queue. Who may touch what: the thread that holds the gate (a data path call, or the controller while it
 * applies a change) owns everything but the fields marked "lock"; those belong to whoever holds q->lock. Fields marked
 * "atomic" are read by others at any time.
 */
#ifndef VHI_VRING_H
#define VHI_VRING_H

#include <pthread.h>
#include <time.h>

#include "vhi_base.h"
#include "vhi_iotlb.h"
#include "vhi_mem.h"
#include "vhi_queue.h"
#include "vhi_shm.h"

/* Older clangs know it, but can not make it for x86. */
#if defined(__has_builtin) && (!defined(__clang__) || __clang_major__ >= 14)
#if __has_builtin(__builtin_thread_pointer)
#define VHI_HAVE_THREAD_POINTER
#endif
#endif

#define VHI_SITE VHI_SITE_ENUM
enum vhi_queue_site {
#include "sites.def"
};
#undef VHI_SITE

/*
 * A descriptor is two 64-bit words, each loaded once: addr, and, in a split ring, len | flags << 32 | next << 48; in a
 * packed one len | id << 32 | flags << 48.
 */
#define VHI_DESC_NEXT	  1u
#define VHI_DESC_WRITE	  2u
#define VHI_DESC_INDIRECT 4u
#define VHI_DESC_SIZE	  16u

/*
 * A record of a request in flight, by slot. All zero: not in flight. A power of two long, so that an index is a shift,
 * and in one line of the cache.
 */
struct vhi_slot {
	union {
		struct {
			uint32_t seq;	/* device: as in vh_req */
			uint32_t since; /* atomic: vhi_now() at pop or submit, 0 = not known yet */
		};
		uint64_t stamp; /* both at once: vhi_lie32() */
	};
	uint32_t wr_len; /* writable bytes, or 2^32 - 1 when there are more */
	uint16_t block;	 /* device: block that holds its segments, 0 = its own row; packed driver: first kept */
	uint16_t state;	 /* atomic: VHI_SLOT_* */
	uint16_t n_desc; /* packed device: of its chain; driver: to give back */
	uint16_t n_rd;	 /* device: readable segments */
	uint16_t last;	 /* driver: last descriptor of the chain; packed: last kept */
	uint16_t unused;
	uint64_t cookie; /* driver */
};

enum {
	VHI_SLOT_FREE,
	VHI_SLOT_IN_FLIGHT,
	VHI_SLOT_CLAIMED, /* named in the push in progress */
	/* Device, in order: pushed, waits for older ones. Driver, while requests are made available again: completed. */
	VHI_SLOT_DONE
};

/* A row of segments that each slot has for itself; longer chains take a block from a bounded pool. */
#define VHI_INLINE_SEGS 16u

/* Blocks of one size. All zero but base, room and count: every block is free. */
struct vhi_pool {
	struct vh_seg *base;
	uint32_t room;	/* segments in a block */
	uint32_t count; /* blocks */
	uint32_t fresh; /* blocks from here on were never used */
	uint32_t free;	/* number + 1 of the block given back last, 0 = none */
};

enum { VHI_POOL_MEDIUM, VHI_POOL_LARGE, VHI_POOLS };

/*
 * A descriptor of a packed ring as the driver wrote it. The device overwrites the ones in the ring in the order in which
 * it completes, so that those of other requests may be gone when it has to be told of them again.
 */
struct vhi_kept {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next; /* of the chain, or of the free list: number + 1 */
};

/* Where a walk is. For who walks they are locals. */
struct vhi_walk {
	struct vh_seg *segs; /* of the chain, in a row or a block */
	struct vh_seg *next; /* where the next segment goes */
	uint64_t len;	     /* bytes of the readable ones, or of the writable ones when these have begun */
	uint32_t side;	     /* VHI_DESC_WRITE when the writable ones have begun, else 0 */
	uint32_t left;	     /* descriptors, this one included, for which there is room, and which there may be */
	const struct vhi_span *span; /* region of the last range: most requests stay in one */
	const struct vh_snapshot *snap;
};

/* What is known of a chain that is not as most are: once a rare part of the walk has run. */
struct vhi_chain {
	bool odd;	    /* the rest is valid */
	uint16_t block;	    /* 0: the segments are in a row */
	uint32_t beyond;    /* descriptors that there may be behind those in w.left */
	struct vh_seg *end; /* of the row or block */
	struct vhi_walk w;  /* while such a part runs */
	uint64_t table;	    /* what such a part found an indirect table to be at */
};

/* What a layout of the ring does; chosen at start. */
struct vhi_layout {
	/* All of a call where nothing rare is to be done, from inside the gate: they leave it. */
	int32_t (*pop)(struct vh_queue *q, struct vh_req *reqs, uint32_t max);
	int32_t (*push)(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n);
	int32_t (*submit)(struct vh_queue *q, const struct vh_req *reqs, uint32_t n);
	int32_t (*reap)(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max);
	/* What of it only this layout knows. */
	int32_t (*take)(struct vh_queue *q, struct vh_req *reqs, uint32_t max);	       /* pop */
	int32_t (*publish)(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n); /* push, tokens claimed */
	int32_t (*give_back)(struct vh_queue *q, uint32_t n);			       /* unpop */
	void (*open)(struct vh_queue *q, bool fresh);				       /* indices at start */
	/* Where a device would go on; *left requests are not completed. */
	uint32_t (*base)(struct vh_queue *q, uint32_t *left);
	void (*arm)(struct vh_queue *q, bool on); /* ask for notifications, or ask for none */
	/* Driver, for vhi_queue_again(): mark what the device has completed. False when that can't be. */
	bool (*settle)(struct vh_queue *q);
	void (*again)(struct vh_queue *q, uint32_t id);	  /* the next one that is available */
	void (*release)(struct vh_queue *q, uint32_t id); /* driver: descriptors of a request that was reaped */
	/* Driver: reap from inside the gate, whoever has the lock. How many; 0 with *site: what comes next can't be. */
	uint32_t (*collect)(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max, uint32_t *site);
	/* Device: mark what publishing from @old on wrote into the ring, or what arm did. */
	void (*log_used)(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n, uint16_t old);
	void (*log_event)(struct vh_queue *q);
	bool (*more)(struct vh_queue *q);  /* the peer put something in that was not taken */
	const struct vhi_tracker *tracker; /* device */
};

/*
 * What a connection that ended left in flight: its segments stay, and the memory that they point into, until each of its
 * tokens came back. What it keeps is written into the arena that it keeps.
 */
struct vhi_grave {
	uint32_t num;
	uint32_t seq; /* of the next pop that there was not */
	struct vhi_slot *slots;
	struct vh_snapshot *snap;
	void *arena;
	size_t arena_len;
};

struct vhi_dead_run {
	struct vhi_grave *grave; /* NULL: unused */
	uint32_t epoch;
	uint32_t in_flight;
};

#define VHI_DEAD_RUNS 4u

/* Why it broke. What is said of it is made when it is asked for. */
struct vhi_queue_failure {
	int32_t code; /* 0 = it did not */
	uint32_t site;
	const char *why; /* static */
};

/* Behind an IOMMU; all NULL: it isn't. Belongs to who has the gate, but for what is marked. */
struct vhi_behind {
	struct vh_iotlb *iotlb; /* a reference */
	struct vhi_tlb *table;	/* that is looked up in, a reference */
	struct vhi_iotlb_user user;
	uint32_t cuts;		       /* of the table by which the ring was found */
	uint32_t mark;		       /* seq of the first request that can't have been popped by an older table */
	bool opened;		       /* the ring was found once */
	bool parked;		       /* it is not known where the ring is */
	bool missing;		       /* a pop was cut short by a miss */
	struct vhi_inflight *inflight; /* a reference: records that are read when the ring is found */
	uint64_t fault_iova;
	uint32_t fault_perm; /* atomic: what was not allowed there; 0 = nothing, or it was told */
};

/* Ring areas, and the memory for indirect tables. */
enum {
	VHI_AREA_DESC = VHI_RING_DESC,
	VHI_AREA_DRIVER = VHI_RING_DRIVER,
	VHI_AREA_DEVICE = VHI_RING_DEVICE,
	VHI_AREA_INDIRECT = VHI_RING_AREAS,
	VHI_AREAS
};

/* gate. Free: 0. */
#define VHI_GATE_BUSY	 1u /* a data path call is in progress */
#define VHI_GATE_PENDING 2u /* a control change waits for it, or is being applied */
#define VHI_GATE_GIVEN	 4u /* to the thread that has the pass, whether it is inside or not */
#define VHI_GATE_OWED	 8u /* with BUSY: by a thread that came in by a pass which was taken away meanwhile */

/*
 * By its pass a thread enters and leaves without a locked instruction. Only the thread itself writes inside, so that one
 * that is late can spoil nothing: therefore a pass is never given to another thread.
 */
struct vhi_pass {
	uintptr_t thread; /* atomic, set once: vhi_thread(), 0 = nobody's */
	uint32_t inside;  /* atomic */
};

#define VHI_PASSES	   7u /* more threads than these drive a queue by compare-and-swap */
#define VHI_PASS_PRICE	   2u /* at first; it doubles each time when another thread took the pass away, up to */
#define VHI_PASS_PRICE_MAX 65536u

/* Control flags. */
#define VHI_QF_ENABLED	 1u
#define VHI_QF_PAUSED	 2u
#define VHI_QF_DRAINING	 4u
#define VHI_QF_STARTED	 8u
#define VHI_QF_BROKEN	 16u
#define VHI_QF_LOGGED	 32u   /* log.dirty is there */
#define VHI_QF_TRACKED	 64u   /* track is there */
#define VHI_QF_WATCHED	 128u  /* somebody waits for what is in flight: wake him at each push */
#define VHI_QF_IN_ORDER	 256u  /* since the start: VIRTIO_F_IN_ORDER */
#define VHI_QF_COALESCED 512u  /* device: coalesce is above 1 */
#define VHI_QF_SHUT	 1024u /* nothing may be taken: it does not run, or is disabled, paused or draining */
#define VHI_QF_BEHIND	 2048u /* behind.iotlb is there */
#define VHI_QF_BLOCKS	 4096u /* device: dev.blocks is above 0 */
#define VHI_QF_EARLY	 8192u /* driver: drv.early is above 0 */

/* What leaving has to do beyond opening the gate. */
#define VHI_AFTER_WAKE 1u /* hooks.wake */
#define VHI_AFTER_ERR  2u /* signal the err fd */
#define VHI_AFTER_SELF 4u /* signal the queue's own wake-up */

#define VHI_PENDING_FD(which) (1u << (which))
#define VHI_PENDING_IOTLB     256u
#define VHI_PENDING_ABORT     8u
#define VHI_PENDING_BREAK     16u
#define VHI_PENDING_FORGET    32u
#define VHI_PENDING_LOG	      64u
#define VHI_PENDING_PARK      128u /* with ABORT: what is in flight stays in the records */

/* A control change that waits. Lock. */
struct vhi_change {
	struct vh_snapshot *snap; /* NULL = none */
	struct vhi_queue_log log; /* a reference */
	uint32_t set, clear;	  /* VHI_QF_* */
	uint32_t what;		  /* VHI_PENDING_* */
	int fds[3];
};

struct vhi_tracker;
struct vhi_track;

/* What all requests of a run have in common, as it is stored: one load for each. */
struct vhi_form {
	uint64_t token; /* of slot 0 */
	uint64_t mem;	/* number of the snapshot, and what is reserved behind it */
	uint32_t queue; /* its number, and no flags */
	uint32_t left;	/* descriptors of a chain for which there is room, and which there may be */
};

/* What a stand-alone queue starts with. */
struct vhi_alone {
	struct vhi_ring ring; /* with a reference to its inflight records */
	struct vh_snapshot *snap;
};

struct vh_queue {
	struct vhi_pass *pass; /* atomic, lock to write: the one that is good; never NULL */
	uint32_t gate;	       /* atomic */
	uint32_t after;
	struct vhi_pass passes[VHI_PASSES]; /* by order of their first use; lock to add */
	uint32_t state;			    /* atomic: VH_QUEUE_* */
	bool event_idx;
	bool armed;
	bool acked;	  /* drained since the last arm */
	bool idle;	  /* nothing was taken since the last arm */
	bool starved;	  /* a pop was cut short for want of a block */
	bool notify_next; /* whatever the peer's event index says: it may have missed one */
	bool out_poll;	  /* a write of the out fd could block: ask before */
	uint32_t role;
	uint32_t num;
	uint32_t epoch;
	uint32_t seq;
	uint16_t next_avail; /* packed: bit 15 is the wrap counter */
	uint16_t next_used;
	uint32_t in_flight; /* atomic */
	uint32_t dropped;   /* device: ended, but not published, as the queue was broken */
	uint32_t flags;	    /* VHI_QF_* */
	uint32_t index;
	uint32_t max_segs;
	uint32_t faults_seen;
	uint32_t base; /* lock: what a stopped queue reports */
	void VHI_SHM *area[VHI_AREAS];
	struct vhi_slot *slots;
	struct vh_snapshot *snap;
	const struct vh_snapshot *lookup; /* where a walk looks first: snap, or behind an IOMMU an empty one */
	const struct vhi_layout *layout;
	int fds[3];	 /* by enum vhi_queue_fd, -1 = none */
	uint8_t in, out; /* which one tells us, and by which we tell the peer */
	union {
		struct {
			struct vh_seg *rows; /* VHI_INLINE_SEGS for each slot; packed: and for a chain without one */
			uint32_t row_room;   /* of these, how many a chain may use */
			struct vhi_form form;
			struct vhi_chain chain;
			uint16_t *order; /* slots in order of pop, for unpop: see vhi_order() */
			uint32_t order_mask;
			uint32_t order_skew; /* split: so that it is in step with the available ring */
			bool lone;	     /* nothing is in flight, and one request will be popped, it seems: */
			uint32_t last;	     /* as many as by the last pop */
			uint32_t late;	     /* slot + 1 of a request that has no time yet, 0 = none */
			uint32_t taken;	     /* packed: descriptors from next_used to next_avail */
			uint32_t foreign;    /* packed: of these, the ones that were taken before the start */
			uint64_t *table;     /* copy of an indirect table that is not in one piece */
			struct vhi_pool pools[VHI_POOLS];
			struct vh_cpl *run;	       /* in order: what can be published */
			uint32_t held;		       /* in order: pushed, not published */
			uint32_t blocks;	       /* that requests in flight have */
			struct vhi_grave *grave;       /* that this run will need if it ends so */
			struct vhi_dirty_cache *dirty; /* for the log */
		} dev;
		struct {
			uint16_t *link;	       /* of the free list: see vhi_link() */
			uint32_t n_free;       /* descriptors that are not in flight */
			uint32_t longest;      /* segments of a chain that may be in a table, 0 = there are none */
			uint16_t free;	       /* first of the free list; packed: of ids */
			uint16_t *order;       /* the last num that were submitted, as number + 1, 0 = none */
			uint32_t turn;	       /* where the next one goes in order */
			struct vhi_kept *kept; /* packed: NULL unless ring.keep */
			uint32_t kept_fresh;
			uint32_t kept_free;   /* number + 1 */
			uint16_t again;	      /* where the next one that is available again goes */
			struct vhi_span near; /* of the last segment: its address here, and in the guest */
			uint32_t near_mem;    /* the snapshot that this is of */
			uint32_t run;	      /* in order: requests that the last used element still completes */
			uint32_t run_len;     /* what it says of the last of them */
			bool counted;	      /* what the call fd says was counted already: see vhi_queue_doze() */
			struct vh_cpl *first; /* completions of before vhi_queue_rewind(), which are reaped first */
			uint32_t first_at;    /* of these, the next */
			uint32_t early;	      /* atomic: how many are left */
		} drv;
	};
	struct timespec now;	     /* room for the clock */
	struct vhi_queue_log log;    /* a reference */
	bool log_told;		     /* that it is incomplete */
	struct vhi_track *track;     /* device: inflight records, NULL = none */
	uint32_t coalesce;	     /* device: completions for a call; see coalesce.c */
	uint32_t untold;	     /* completed since the last call */
	bool tell_due;		     /* the peer wants to be told, and was not: a call; a doorbell */
	bool by_message;	     /* atomic: where there is no fd, the peer is told by messages */
	uint32_t told;		     /* atomic: VHI_TELL_* that are to be sent */
	bool track_lost;	     /* atomic: their file was truncated */
	uint32_t parked;	     /* lock: epoch of the run whose requests were left there, 0 = none were */
	struct vh_queue_stats stats; /* atomic counters */
	struct vhi_ring ring;
	struct vhi_behind behind; /* device */
	void *arena;
	size_t arena_len;
	struct vhi_dead_run dead[VHI_DEAD_RUNS]; /* device */
	bool owned;				 /* by a slave or driver */
	struct vhi_alone *alone;		 /* when it is not */
	struct vhi_queue_hooks hooks;

	pthread_mutex_t lock;
	pthread_cond_t left;   /* the gate was opened, or handed to who waits */
	uint32_t waiting;      /* lock: in vhi_queue_own() */
	struct vhi_pass *owed; /* lock: of VHI_GATE_OWED */
	uint32_t price;	       /* atomic, lock to write: calls in a row that earn a pass */
	uint32_t in_row;       /* calls by one thread, which was */
	uintptr_t last;
	struct vhi_queue_failure failure; /* lock to write; before state says BROKEN */
	struct vhi_change change;	  /* lock */
	int epfd, wake_fd;		  /* lock to make; -1 = not made */
	uint32_t wake_set;		  /* atomic: wake_fd was signalled since it was drained */
	uint32_t resubmits;		  /* atomic: requests that records say were in flight */
};

/* gate.c */
extern struct vhi_pass vhi_no_pass;
void vhi_gate_prepare(void); /* at least once before a queue is used; also what can be done without */
int vhi_queue_enter_slow(struct vh_queue *q, struct vhi_pass *late); /* after vhi_queue_enter_fast() */
int vhi_queue_enter_late(struct vh_queue *q, struct vhi_pass *pass);
void vhi_queue_leave_late(struct vh_queue *q, const struct vhi_pass *pass);
int32_t vhi_queue_leave_slow(struct vh_queue *q, const struct vhi_pass *late, int32_t rc); /* rc */
/*
 * For a change by another thread: takes the lock, and the gate too if no call is in progress (true). finish applies
 * q->change if the gate is ours, releases, and returns what vhi_queue_ctl() does.
 */
bool vhi_queue_begin(struct vh_queue *q);
/* The same, but waits for the call in progress: for a stopped queue, where no call takes long. */
void vhi_queue_own(struct vh_queue *q);
int vhi_queue_finish(struct vh_queue *q, bool ours);
void vhi_queue_abandon(struct vh_queue *q, bool ours);

/* ctl.c: what waits in q->change; lock and gate are held. */
void vhi_queue_apply(struct vh_queue *q);

/* A number that no other living thread has. */
static inline uintptr_t vhi_thread(void)
{
#ifdef VHI_HAVE_THREAD_POINTER
	return (uintptr_t)__builtin_thread_pointer();
#else
	return (uintptr_t)pthread_self();
#endif
}

/*
 * By the thread's pass. False: vhi_queue_enter_slow() has to be asked, with *late. The store of inside and the load after it
 * have no fence between them: who takes a pass away makes one on every processor (see gate.c).
 */
static inline bool vhi_queue_enter_fast(struct vh_queue *q, struct vhi_pass **late)
{
	struct vhi_pass *pass = __atomic_load_n(&q->pass, __ATOMIC_ACQUIRE);

	*late = NULL;
	if (VHI_UNLIKELY(__atomic_load_n(&pass->thread, __ATOMIC_RELAXED) != vhi_thread() ||
			 __atomic_load_n(&pass->inside, __ATOMIC_ACQUIRE)))
		return false;
	__atomic_store_n(&pass->inside, 1, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	*late = pass;
	return VHI_LIKELY(__atomic_load_n(&q->pass, __ATOMIC_RELAXED) == pass);
}

/* 0, or -EBUSY with the last error set. */
static inline int vhi_queue_enter(struct vh_queue *q)
{
	struct vhi_pass *late;

	return vhi_queue_enter_fast(q, &late) ? 0 : vhi_queue_enter_slow(q, late);
}

/*
 * What a call ends with: it leaves, and returns rc. If a pass is given, and somebody is inside by it, that is this thread:
 * while it is inside otherwise nobody is given one.
 */
static inline int32_t vhi_queue_leave_with(struct vh_queue *q, int32_t rc)
{
	struct vhi_pass *pass = __atomic_load_n(&q->pass, __ATOMIC_RELAXED);

	if (VHI_UNLIKELY(q->after || !__atomic_load_n(&pass->inside, __ATOMIC_RELAXED)))
		return vhi_queue_leave_slow(q, NULL, rc);
	__atomic_store_n(&pass->inside, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return VHI_LIKELY(__atomic_load_n(&q->pass, __ATOMIC_RELAXED) == pass) ? rc : vhi_queue_leave_slow(q, pass, rc);
}

static inline void vhi_queue_leave(struct vh_queue *q)
{
	vhi_queue_leave_with(q, 0);
}

/* Every region of @old is in @new too: what points into @old stays valid. */
bool vhi_snapshot_covers(const struct vh_snapshot *new, const struct vh_snapshot *old);
/* For a data path call: the queue is broken from now on. Returns the failure's code, last error set. */
int vhi_queue_broke(struct vh_queue *q, uint32_t site);
void vhi_queue_refresh(struct vh_queue *q); /* state and open, from flags */
void vhi_queue_halt(struct vh_queue *q);    /* stopped, tokens stale; lock and gate are held */

/* log.c: when there is a log. */
void vhi_queue_log_data(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n); /* before they are published */
void vhi_queue_log_used(struct vh_queue *q, uint64_t at, uint64_t len);		    /* in the used ring */
void vhi_queue_log_flush(struct vh_queue *q);					    /* once it can be seen */
void vhi_queue_log_event(struct vh_queue *q);					    /* what arm did */
/* Lock and gate are held; takes the reference over. */
void vhi_queue_put_log(struct vh_queue *q, const struct vhi_queue_log *log);

/* inflight.c: when there are inflight records. */
/* At start; *base is where the ring is to begin. -errno with the last error set: it can't start. Lock and gate are held. */
int vhi_track_start(struct vh_queue *q, const struct vhi_ring *ring, void VHI_SHM *const area[], uint32_t *base);
void vhi_track_stop(struct vh_queue *q);
uint16_t vhi_track_used(const struct vh_queue *q);				  /* where publishing goes on */
int32_t vhi_track_take(struct vh_queue *q, struct vh_req *reqs, uint32_t max);	  /* pop */
int32_t vhi_track_give_back(struct vh_queue *q, uint32_t n);			  /* unpop */
int vhi_track_publish(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n); /* push */
bool vhi_track_more(const struct vh_queue *q);					  /* something is to be done again */
/* The base of a ring whose requests in flight stay in the records: what was taken from it, or will be first, is taken. */
uint32_t vhi_track_base(const struct vh_queue *q);
/* Pop of what is to be done again, by layout. */
int32_t vhi_split_take_again(struct vh_queue *q, struct vh_req *reqs, uint32_t max);
int32_t vhi_packed_take_again(struct vh_queue *q, struct vh_req *reqs, uint32_t max);

/* fds.c */
void vhi_queue_notify(struct vh_queue *q); /* signal the peer, or, when calls are coalesced, owe it that */
void vhi_queue_signal(struct vh_queue *q); /* signal the peer */
bool vhi_queue_drain_in(struct vh_queue *q);
void vhi_queue_count_in(struct vh_queue *q); /* a notification came */
void vhi_queue_drain_wake(struct vh_queue *q);
void vhi_queue_harvest(struct vh_queue *q);
void vhi_queue_signal_err(struct vh_queue *q);
void vhi_queue_put_fd(struct vh_queue *q, enum vhi_queue_fd which, int fd); /* lock and gate are held */

/* again.c. VHI_QF_EARLY: reap. */
int32_t vhi_early_reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max);
void vhi_early_drop(struct vh_queue *q); /* nobody reaps them any more */

/* coalesce.c. The gate is held; VHI_QF_COALESCED. */
void vhi_coalesced(struct vh_queue *q, uint32_t n); /* so many were completed, or given back: is it time for a call? */
void vhi_coalesce_flush(struct vh_queue *q);	    /* it is */

/* behind.c. The gate is held. */
extern const struct vh_snapshot vhi_no_memory;
void vhi_behind_begin(struct vh_queue *q, struct vh_iotlb *iotlb); /* NULL: it isn't */
void vhi_behind_end(struct vh_queue *q);
/* Look up in what is known by now, and look for the ring where that may have changed. A site: it is not as it has to be. */
uint32_t vhi_behind_sync(struct vh_queue *q);
/* As vhi_translate(); what is missed is asked for. */
int vhi_behind_translate(struct vh_queue *q, uint64_t addr, uint64_t len, uint32_t perm, struct vh_seg *segs,
			 uint32_t max);
bool vhi_behind_sleeps(struct vh_queue *q); /* it waits for an update, which will wake it */

/* ring.c */
/* 0 and the addresses, or the site that refused. */
uint32_t vhi_queue_locate(const struct vhi_ring *ring, const struct vh_snapshot *snap, void VHI_SHM *area[VHI_AREAS]);
void vhi_queue_open_ring(struct vh_queue *q); /* it was found: see where it stands */
void vhi_queue_drop_tables(struct vh_queue *q);

/*
 * dead.c. The owner of the gate calls these.
 */
bool vhi_dead_full(const struct vh_queue *q); /* no room for one more run */
void vhi_dead_bury(struct vh_queue *q);	      /* the present run, which has requests in flight; there is room */
void vhi_dead_drop(struct vh_queue *q, uint64_t token); /* it came back, whether it is of a dead run or of none */
/* The newest n of the run that died last came back; false when these are not all in flight. */
bool vhi_dead_drop_newest(struct vh_queue *q, uint32_t n);
void vhi_dead_forget(struct vh_queue *q); /* all of them, whatever is in flight */

extern const struct vhi_layout vhi_split_device;
extern const struct vhi_layout vhi_split_driver;
extern const struct vhi_layout vhi_packed_device;
extern const struct vhi_layout vhi_packed_driver;

static inline bool vhi_is_packed(const struct vh_queue *q)
{
	return q->ring.features & VHI_BIT(VH_F_RING_PACKED);
}

/* Coarse clock: seconds from bit 10 on, below them parts of 2^20 ns. No division, as an age is asked for more rarely. */
static inline uint32_t vhi_now(struct timespec *room)
{
	clock_gettime(CLOCK_MONOTONIC_COARSE, room);
	return (uint32_t)room->tv_sec << 10 | (uint32_t)room->tv_nsec >> 20;
}

/* Below 0: it is the later one. */
static inline int64_t vhi_age_ns(uint32_t now, uint32_t since)
{
	const int32_t seconds = (int32_t)((now & ~1023u) - (since & ~1023u)) / 1024;
	const int32_t parts = (int32_t)(now & 1023) - (int32_t)(since & 1023);

	return (int64_t)seconds * 1000000000 + (int64_t)parts * (1 << 20);
}

/* Counters have one writer, the owner of the gate, and readers at any time. */
static inline void vhi_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Where a side of a packed ring stands: told to other threads, too. */
static inline void vhi_move(uint16_t *place, uint32_t to)
{
	__atomic_store_n(place, (uint16_t)to, __ATOMIC_RELAXED);
}

static inline void vhi_slot_state(struct vhi_slot *slot, uint16_t state)
{
	__atomic_store_n(&slot->state, state, __ATOMIC_RELAXED);
}

static inline void vhi_in_flight(struct vh_queue *q, uint32_t n)
{
	__atomic_store_n(&q->in_flight, n, __ATOMIC_RELAXED);
	if (VHI_UNLIKELY(!n && q->flags & VHI_QF_SHUT))
		q->after |= VHI_AFTER_WAKE;
}

/* The slot that was popped as that number, of the last num. */
static inline uint16_t *vhi_order(const struct vh_queue *q, uint32_t seq)
{
	return &q->dev.order[(seq + q->dev.order_skew) & q->dev.order_mask];
}

/*
 * Guest memory was truncated and some of what was read or written went elsewhere. Asked after the accesses that count
 * and before anybody is told of their result; one load and compare when nothing ever faulted.
 */
static inline bool vhi_poisoned(struct vh_queue *q)
{
	/* A fault is a signal handler of this very thread. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return VHI_REFUSE(VHI_SITE_QUEUE_POISONED, vhi_snapshot_broken(q->snap, &q->faults_seen));
}

/* Virtio 1.2 section 2.7.10: did the index pass the peer's event on its way from old to now? */
static inline bool vhi_event_passed(uint16_t event, uint16_t now, uint16_t old)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

#endif
