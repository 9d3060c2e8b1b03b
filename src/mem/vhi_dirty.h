/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The dirty log inside the library. A log never changes after it was made, so that whoever has a reference may write into
 * it; to replace it, or the fd that goes with it, is to make another one and to give that to every writer.
 */
#ifndef VHI_DIRTY_H
#define VHI_DIRTY_H

#include "vh/dirty.h"
#include "vhi_mem.h"

struct vh_dirty {
	uint32_t refs; /* atomic */
	struct vhi_region *region;
	uint64_t VHI_SHM *words;
	uint64_t pages;
	uint64_t lost; /* atomic */
	int call;      /* signalled after bits were set, -1 = none */
};

/*
 * The bits of one batch, so that each word of the log is written once for it: a few words, each at the place that its
 * number says. Nothing is in the log before the flush, but for words that had to make room.
 */
#define VHI_DIRTY_CACHE 16u

struct vhi_dirty_cache {
	uint32_t used; /* bits: entries that have something */
	struct {
		uint64_t word, bits;
	} entries[VHI_DIRTY_CACHE];
};

struct vh_dirty *vhi_dirty_get(struct vh_dirty *d); /* one more reference; NULL-safe */
void vhi_dirty_put(struct vh_dirty *d);		    /* NULL-safe */
/* As vh_dirty_open(), by the policy of the memory. */
int vhi_dirty_open(int fd, uint64_t offset, uint64_t len, bool require_seal, struct vh_dirty **out);
/* The same log with another fd to signal (borrowed, an eventfd; -1 = none). */
int vhi_dirty_with_call(struct vh_dirty *d, int call, struct vh_dirty **out);

/* [gpa, gpa + len) was written; len may be 0. What is beyond the log is counted. */
void vhi_dirty_mark(struct vh_dirty *d, struct vhi_dirty_cache *c, uint64_t gpa, uint64_t len);
void vhi_dirty_lose(struct vh_dirty *d); /* a write to a page that nobody knows */
void vhi_dirty_flush(struct vh_dirty *d, struct vhi_dirty_cache *c);
/* Something was written that is not in the log: it has no page for it, or its file was truncated. */
bool vhi_dirty_incomplete(const struct vh_dirty *d);
/* Guest addresses that it has bits for, from 0 on. */
uint64_t vhi_dirty_end(const struct vh_dirty *d);

#endif
