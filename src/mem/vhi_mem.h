/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Guest memory inside the library. A snapshot is immutable and reference-counted; the only way from an address to a
 * pointer is a translation of a whole range, (addr, len) -> segments, with three results: ok, fault, miss.
 */
#ifndef VHI_MEM_H
#define VHI_MEM_H

#include "vh/mem.h"
#include "vhi_base.h"
#include "vhi_shm.h"

/* A mapping; shared by all snapshots that contain the region. Its fields do not change after it was made. */
struct vhi_region {
	struct vhi_gpa gpa;
	struct vhi_uva uva;
	uint64_t len;
	uint64_t offset;    /* in the file */
	uint8_t *host;	    /* first byte of the region */
	uint32_t refs;	    /* atomic */
	uint32_t broken;    /* atomic: set by the SIGBUS guard */
	uint32_t flags;	    /* VH_REGION_* */
	int fd;		    /* kept for sharing on; -1 = not kept */
	uint32_t map_flags; /* VH_MAP_* */
	uint32_t map_domain;
	bool granted; /* Xen's device has mapped grants for it, and knows them by this number */
	uint64_t grants;
	uint64_t page_size;
	void *map; /* what munmap gets */
	size_t map_len;
	struct vhi_guard_slot *slot; /* in the SIGBUS guard's registry */
	bool watched; /* who touches a missing page waits: see vhi_mem_watch(). Only the handle's thread looks. */
};

/* What the fast path reads of a region, side by side. */
struct vhi_span {
	uint64_t gpa;
	uint64_t len;
	uint64_t host;
};

/* Results below 0 of a translation. */
#define VHI_FAULT (-EFAULT)
#define VHI_MISS  (-EAGAIN)

/*
 * Granule g is the addresses [base + (g << shift), base + ((g + 1) << shift)), and granules[g] the first region that
 * ends after the granule's first byte. The granule is chosen as large as it can be with no two regions in one; where
 * that takes too many, as small as the table allows, and the regions granules[g] to granules[g + 1] are searched.
 */
#define VHI_MAX_GRANULES 32767 /* and one entry as the end: 64 KiB */

/* An entry is not the region's index, but where its span is, in words: that spares the data path a multiplication. */
#define VHI_SPAN_WORDS ((uint32_t)(sizeof(struct vhi_span) / sizeof(uint64_t)))

struct vh_snapshot {
	uint32_t refs;	 /* atomic */
	uint32_t number; /* from 1, unique in this vh_mem */
	uint32_t n;
	uint32_t shift; /* log2 of the granule */
	uint64_t base;	/* first guest address that the table covers */
	uint64_t span;	/* bytes that it covers, up to the end of the last region; 0 when there is none */
	uint16_t *granules;
	struct vhi_span *spans;	     /* as regions, by ascending gpa */
	struct vhi_region **regions; /* by ascending gpa */
	uint16_t *by_uva;	     /* indices into regions, by ascending uva */
	uint16_t *by_host;	     /* indices into regions, by ascending host address */
};

struct vh_snapshot *vhi_snapshot_get(struct vh_snapshot *s); /* one more reference; NULL-safe */
void vhi_snapshot_put(struct vh_snapshot *s);		     /* NULL-safe */

/* One more reference, given up by vh_mem_free(); NULL-safe. */
struct vh_mem *vhi_mem_get(struct vh_mem *mem);
/* The current snapshot of @mem with a reference of the caller's. Never NULL: an empty one has no regions. */
struct vh_snapshot *vhi_mem_snapshot(struct vh_mem *mem);

/*
 * Translate. Segments are written at @segs (room for @max), split at region borders. Returns their number > 0, or
 * VHI_FAULT, VHI_MISS, -ENOSPC; what is at @segs after a failure means nothing; NULL counts only. len must be > 0. Cost does not grow
 * with the number of regions, but for layouts where many of them share a granule, and then with its logarithm.
 */
int vhi_translate(const struct vh_snapshot *s, struct vhi_gpa addr, uint64_t len, uint32_t perm, struct vh_seg *segs,
		  uint32_t max);

/* Does a range lie in this region? Then *host is its address in this process. An empty one lies nowhere. */
static inline bool vhi_span_holds(const struct vhi_span *span, uint64_t addr, uint64_t len, uint64_t *host)
{
	const uint64_t at = addr - span->gpa;
	uint64_t last;

	if (__builtin_add_overflow(at, len - 1, &last) || last >= span->len)
		return false;
	*host = span->host + at;
	return true;
}

/*
 * The data path's short cut: a range that lies in the region *near, where the last one lay, or else in the first one of its
 * granule, which is then near. When this is false, vhi_translate() has the answer, which may still be a good one.
 */
static inline __attribute__((always_inline)) bool vhi_translate_fast(const struct vh_snapshot *s,
								     const struct vhi_span **near, uint64_t addr,
								     uint64_t len, uint64_t *host)
{
	if (VHI_LIKELY(vhi_span_holds(*near, addr, len, host)))
		return true;
	if (VHI_UNLIKELY(addr - s->base >= s->span))
		return false;
	*near = (const struct vhi_span *)((const uint64_t *)s->spans + s->granules[(addr - s->base) >> s->shift]);
	return VHI_LIKELY(vhi_span_holds(*near, addr, len, host));
}

/* The region that holds gpa, or NULL. */
const struct vhi_region *vhi_find(const struct vh_snapshot *s, struct vhi_gpa addr);

/*
 * The whole of [addr, addr + len) in one region (rings): its address, or NULL. Regions keep addresses modulo 16, so
 * what is aligned in the guest (up to that) is aligned here.
 */
void VHI_SHM *vhi_translate_one(const struct vh_snapshot *s, struct vhi_gpa addr, uint64_t len);

/* User address to guest address, for ring addresses on the wire: the range must lie inside one region. */
bool vhi_uva_to_gpa(const struct vh_snapshot *s, struct vhi_uva uva, uint64_t len, struct vhi_gpa *out);
bool vhi_gpa_to_uva(const struct vh_snapshot *s, struct vhi_gpa gpa, uint64_t len, struct vhi_uva *out);
/* Address in this process back to a guest address (driver side, dirty log): inside one region, or false. */
bool vhi_host_to_gpa(const struct vh_snapshot *s, const void *host, uint64_t len, struct vhi_gpa *out);

/* Counts faults that the guard took, process-wide; a queue compares it once a batch before it looks further. */
extern uint32_t vhi_guard_faults; /* atomic */
bool vhi_snapshot_look(const struct vh_snapshot *s, uint32_t *seen);

/*
 * True when one of the snapshot's regions is broken, by the SIGBUS guard or by vhi_snapshot_mark_broken(). @seen is
 * the caller's, 0 for a snapshot that it hasn't asked about. One relaxed load when nothing happened since.
 */
static inline bool vhi_snapshot_broken(const struct vh_snapshot *s, uint32_t *seen)
{
	return VHI_UNLIKELY(__atomic_load_n(&vhi_guard_faults, __ATOMIC_RELAXED) != *seen) &&
	       vhi_snapshot_look(s, seen);
}

/* A system call on guest memory said EFAULT: the region of @host gets what a fault that the guard took does to it. */
void vhi_snapshot_mark_broken(struct vh_snapshot *s, const void *host);

/* What a change of the table does, for vhost-user: replace everything at once. All or nothing. @fds are borrowed. */
int vhi_mem_replace(struct vh_mem *mem, const struct vh_region *regions, const int *fds, uint32_t n);
/* Forget all regions (end of a connection). Can't fail. */
void vhi_mem_clear(struct vh_mem *mem);
/*
 * Prepare a change without putting it in force: a new snapshot (reference of the caller's) and then vhi_mem_commit.
 * It is the present table with the change made: of two that were prepared, commit one and put the other.
 */
int vhi_mem_prepare_replace(struct vh_mem *mem, const struct vh_region *regions, const int *fds, uint32_t n,
			    struct vh_snapshot **out);
int vhi_mem_prepare_add(struct vh_mem *mem, const struct vh_region *region, int fd, struct vh_snapshot **out);
int vhi_mem_prepare_remove(struct vh_mem *mem, const struct vh_region *region, struct vh_snapshot **out);
/* Puts it in force; takes the reference over. Can't fail. */
void vhi_mem_commit(struct vh_mem *mem, struct vh_snapshot *next);

/*
 * From now on who touches a missing page of a region that is mapped waits for it at this userfaultfd (borrowed), until the
 * region goes or the watch ends. -1 ends it.
 */
void vhi_mem_watch(struct vh_mem *mem, int uffd);

/* The fd of region @i of a snapshot, borrowed, for sending on. */
int vhi_snapshot_fd(const struct vh_snapshot *s, uint32_t i);
void vhi_region_describe(const struct vh_snapshot *s, uint32_t i, struct vh_region *out);

/*
 * A file that a peer shares for bookkeeping between the two (dirty log, inflight records): mapped and guarded like a
 * region of guest memory, but without an address. @fd is borrowed. `broken` says that it was truncated.
 */
int vhi_file_map(int fd, uint64_t offset, uint64_t len, bool require_seal, struct vhi_region **out);
struct vhi_region *vhi_region_get(struct vhi_region *r);
void vhi_region_put(struct vhi_region *r);
/* A file of our own, sealed against shrinking; @flags: VH_REGION_HUGE. 0 or -errno. */
int vhi_memfd_make(uint64_t size, uint32_t flags, int *out);

const char *vhi_mem_site_text(uint32_t site);

#endif
