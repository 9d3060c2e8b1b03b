/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: The IOTLB: what I/O addresses mean, behind an IOMMU (VIRTIO_F_ACCESS_PLATFORM).
 *
 * A vh_iotlb maps ranges of I/O addresses to ranges of a vh_mem, each with what may be done there. It may forget, and a
 * front-end may take back what it said; so a look-up has three results: found, not allowed (a fault), not known (a miss).
 * A queue that meets a miss waits, without having taken anything, and goes on when an update covers it. What was missed
 * stands in a list, each range once, for whoever asks the front-end (or answers).
 *
 * All calls may come from any thread. A queue looks up in a snapshot, so that it takes no lock while nothing changes.
 */
#ifndef VH_IOTLB_H
#define VH_IOTLB_H

#include "vh/types.h"
#include "vh/mem.h"

VH_BEGIN_DECLS

/* vh_iotlb_opts.flags */
#define VH_IOTLB_USER_ADDR 1u /* vh_iotlb_entry.addr is a user address of a region, not a guest address */
#define VH_IOTLB_EVICT	   2u /* a cache: when it is full an update makes another entry go, which will be missed */

#define VH_IOTLB_MAX_ENTRIES 65536
#define VH_IOTLB_MAX_MISSES  64 /* different ranges that are waited for at a time */

/** struct vh_iotlb_opts - options of vh_iotlb_new(). Sized, zero means default. */
struct vh_iotlb_opts {
	uint32_t size;	      /* sizeof(struct vh_iotlb_opts) */
	uint32_t flags;	      /* VH_IOTLB_* */
	uint32_t max_entries; /* 0 = 2048 */
	uint32_t reserved;    /* must be 0 */
};

/** struct vh_iotlb_entry - what a range of I/O addresses means. @frozen, 32 bytes. */
struct vh_iotlb_entry {
	vh_iova iova;	/* first I/O address */
	uint64_t len;	/* bytes */
	uint64_t addr;	/* what it means: guest address, or user address with VH_IOTLB_USER_ADDR */
	uint32_t perm;	/* VH_MEM_READ, VH_MEM_WRITE or both: what the device may do */
	uint32_t flags; /* must be 0 */
};

/** struct vh_iotlb_miss - an I/O address that nothing is known of. Size-first out struct. */
struct vh_iotlb_miss {
	uint32_t size;
	uint32_t perm; /* VH_MEM_*: what the device wants to do there */
	vh_iova iova;  /* the first byte that is not known */
};

/** struct vh_iotlb_stats - counters. Size-first out struct. */
struct vh_iotlb_stats {
	uint32_t size;
	uint32_t entries;     /* now; neighbours that go on with each other are one */
	uint32_t max_entries; /* that there may be */
	uint32_t waiting;     /* misses in the list now */
	uint64_t updates;
	uint64_t invalidations;
	uint64_t evicted;   /* entries that had to make room */
	uint64_t misses;    /* that queues had, each range counted once while it is waited for */
	uint64_t dropped;   /* misses for which the list had no room; they come again */
	uint64_t timed_out; /* misses that nobody answered in time */
};

/**
 * vh_iotlb_new() - an empty IOTLB
 * @opts: (nullable)
 * @mem: (nullable) (borrowed) what the addresses point into, kept until vh_iotlb_free(); NULL: a map that is only looked
 *   up, as for vh_master_set_iotlb()
 * @out: (out) (owned) free with vh_iotlb_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM
 */
VH_API vh_rc vh_iotlb_new(const struct vh_iotlb_opts *opts, struct vh_mem *mem, struct vh_iotlb **out);

/**
 * vh_iotlb_update() - a range means this from now on
 * @t: the IOTLB
 * @entry: the range; it replaces whatever was said of these I/O addresses
 *
 * With a memory, what it means has to lie inside one region. Queues that wait for it are woken.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EFAULT ENOSPC ENOMEM
 *
 * Return: 0; -EFAULT when it is not inside one region; -ENOSPC when the IOTLB is full and doesn't evict.
 */
VH_API vh_rc vh_iotlb_update(struct vh_iotlb *t, const struct vh_iotlb_entry *entry);

/**
 * vh_iotlb_invalidate() - nothing is known of a range any more
 * @t: the IOTLB
 * @iova: its first I/O address
 * @len: bytes; what would go beyond the last address ends there; 0 changes nothing
 *
 * What is known of the rest of an entry stays. Requests that were popped before still point to what the range meant: look
 * at vh_queue_stats.in_flight before memory gets another use. A queue whose own ring is in the range takes nothing new
 * from now on, and goes on when its ring is known again.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOSPC ENOMEM
 *
 * Return: 0; -ENOSPC when an entry would become two, the IOTLB is full and doesn't evict.
 */
VH_API vh_rc vh_iotlb_invalidate(struct vh_iotlb *t, vh_iova iova, uint64_t len);

/**
 * vh_iotlb_translate() - a range of I/O addresses as segments of this process
 * @t: the IOTLB, which has a memory
 * @iova: first byte
 * @len: bytes, > 0
 * @perm: VH_MEM_READ, VH_MEM_WRITE or both
 * @segs: (out) (array max) pieces, in order
 * @max: room at @segs
 *
 * The segments are good until what the IOTLB or its memory says of the range changes.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EFAULT EAGAIN ENOSPC
 *
 * Return: number of segments; -EFAULT when a byte may not be accessed so; -EAGAIN when nothing is known of one;
 * -ENOSPC when @max is too small.
 */
VH_API vh_count vh_iotlb_translate(struct vh_iotlb *t, vh_iova iova, uint64_t len, uint32_t perm, struct vh_seg *segs,
				   uint32_t max);

/**
 * vh_iotlb_entries() - list what is known, by ascending I/O address
 * @t: the IOTLB
 * @from: I/O address to begin at: the entry that holds it or the next one
 * @out: (nullable) (out) (array max) the first @max of them; NULL with @max 0: only count
 * @max: room at @out
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: the number of entries that there are from there on, which may be above @max.
 */
VH_API vh_count vh_iotlb_entries(struct vh_iotlb *t, vh_iova from, struct vh_iotlb_entry *out, uint32_t max);

/**
 * vh_iotlb_fd() - readable when vh_iotlb_next_miss() has something
 * @t: the IOTLB
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EMFILE
 *
 * Return: (borrowed) the fd.
 */
VH_API vh_fd vh_iotlb_fd(struct vh_iotlb *t);

/**
 * vh_iotlb_next_miss() - take the oldest miss that nobody was told of
 * @t: the IOTLB
 * @out: (out) the miss
 *
 * Answer by vh_iotlb_update() with a range that holds it, or by vh_iotlb_deny(). Until then it doesn't come again.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: 1 with a miss, 0 when there is none.
 */
VH_API vh_count vh_iotlb_next_miss(struct vh_iotlb *t, struct vh_iotlb_miss *out);

/**
 * vh_iotlb_deny() - nothing will be known of what was missed
 * @t: the IOTLB
 * @iova: of the miss
 *
 * The queue that waits for it breaks, with -EFAULT.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOENT
 *
 * Return: 0, -ENOENT when nobody waits for it.
 */
VH_API vh_rc vh_iotlb_deny(struct vh_iotlb *t, vh_iova iova);

/**
 * vh_iotlb_get_stats() - counters
 * @t: the IOTLB
 * @out: (out) the counters
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_iotlb_get_stats(struct vh_iotlb *t, struct vh_iotlb_stats *out);

/**
 * vh_iotlb_free() - give it up
 * @t: (nullable)
 *
 * A queue or master that uses it keeps it.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 */
VH_API void vh_iotlb_free(struct vh_iotlb *t);

VH_END_DECLS
#endif
