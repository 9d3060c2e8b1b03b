/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the files of this folder share: making regions and snapshots, and the SIGBUS guard's registry. */
#ifndef VHI_REGION_H
#define VHI_REGION_H

#include "vhi_mem.h"
#include "vhi_mem_sites.h"

/* The numbers alone: size, wraps, alignment. */
int vhi_region_check(const struct vh_region *d);
/* Not mapped yet; duplicates @fd. */
int vhi_region_new(const struct vh_region *d, int fd, struct vhi_region **out);
int vhi_region_map(struct vhi_region *r, bool require_seal);
/* See vhi_mem_watch(). Mapped, and touched by nobody yet. */
int vhi_region_watch(struct vhi_region *r, int uffd);
void vhi_region_unwatch(struct vhi_region *r, int uffd);
/* xen.c: the rules for its mapping flags; the mapping itself; what is left to do after munmap. */
int vhi_xen_check(const struct vh_region *d);
int vhi_xen_map(struct vhi_region *r);
void vhi_xen_unmapped(const struct vhi_region *r);

/*
 * A snapshot is made in three steps: room for @n regions, which the caller puts into regions[] in any order and counts
 * in n; order: sort and look for overlaps; finish: everything that needs the host addresses. vhi_snapshot_put() is
 * right after any of them.
 */
struct vh_snapshot *vhi_snapshot_new(uint32_t n, uint32_t number);
int vhi_snapshot_order(struct vh_snapshot *s);
int vhi_snapshot_finish(struct vh_snapshot *s);

/* Sort and search keys of the indices of a snapshot. */
static inline uint64_t vhi_key_uva(const struct vhi_region *r)
{
	return r->uva.v;
}

static inline uint64_t vhi_key_host(const struct vhi_region *r)
{
	return (uintptr_t)r->host;
}

/* Known to the SIGBUS handler from here on; before the mapping goes, unregister. 0 or -ENOMEM. */
int vhi_guard_register(struct vhi_region *r);
void vhi_guard_unregister(struct vhi_region *r);
/* What a fault does to the region; async-signal-safe. */
void vhi_guard_poison(struct vhi_region *r);

#endif
