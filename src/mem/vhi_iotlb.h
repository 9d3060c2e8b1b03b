/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The IOTLB inside the library. What is known is a table, sorted by I/O address, which nobody changes who is not its only
 * owner: a queue keeps the one that it looks up in, and looks at a number to see whether there is a newer one. So nothing
 * on the data path takes a lock before something changed.
 */
#ifndef VHI_IOTLB_H
#define VHI_IOTLB_H

#include "vh/iotlb.h"
#include "vhi_mem.h"

struct vhi_tlb_span {
	uint64_t iova;
	uint64_t last; /* I/O address of the last byte */
	uint64_t addr; /* as it came */
	uint64_t host; /* of the first byte; 0 without a memory */
	uint32_t perm;
};

/* tlb.c */
struct vhi_tlb {
	uint32_t refs; /* atomic */
	uint32_t n, room;
	uint32_t number; /* goes up with every change */
	uint32_t
		cuts; /* goes up when something that was known may be so no more: not by a new entry, nor by an eviction */
	bool lossy;		  /* entries were evicted: what was popped may point to more than is in here */
	struct vh_snapshot *snap; /* that the host addresses are in; NULL without a memory */
	struct vhi_tlb_span *spans;
};

struct vhi_tlb *vhi_tlb_get(struct vhi_tlb *t); /* NULL-safe, like the next */
void vhi_tlb_put(struct vhi_tlb *t);
/* A copy with room for so many entries. */
struct vhi_tlb *vhi_tlb_copy(const struct vhi_tlb *t, uint32_t room);
/* The first entry that ends at this I/O address or after it, or n. */
uint32_t vhi_tlb_find(const struct vhi_tlb *t, uint64_t iova);
/* Take [first, last] out, which needs room for one entry more; true when something was there. */
bool vhi_tlb_cut(struct vhi_tlb *t, uint64_t first, uint64_t last);
/* Put in one that overlaps none; where it is afterwards, merged with neighbours that it goes on with. */
uint32_t vhi_tlb_insert(struct vhi_tlb *t, const struct vhi_tlb_span *span, bool by_uva);
void vhi_tlb_remove(struct vhi_tlb *t, uint32_t at);

/*
 * As vhi_translate(); VHI_FAULT when a byte may not be accessed so, VHI_MISS when nothing is known of one: then *at is
 * its address. Pieces that follow each other in this process are one segment. After -ENOSPC with a max of 1 the first
 * piece is there.
 */
int vhi_tlb_translate(const struct vhi_tlb *t, struct vhi_iova iova, uint64_t len, uint32_t perm, struct vh_seg *segs,
		      uint32_t max, uint64_t *at);
/* The whole range in one piece: its address, or NULL. *rc says why not: 0 = it is in several. */
void VHI_SHM *vhi_tlb_translate_one(const struct vhi_tlb *t, struct vhi_iova iova, uint64_t len, uint32_t perm, int *rc,
				    uint64_t *at);

/* iotlb.c, and misses.c for what is missed */
/* Somebody who looks up in it, and waits when he misses something. wake() comes with a lock held: it may only signal. */
struct vhi_iotlb_user {
	struct vhi_iotlb_user *next;
	void (*wake)(void *ctx);
	void *ctx;
	bool waits; /* under the IOTLB's lock */
};

/* Of an entry of guest addresses as much as lies in one region, around this I/O address. The region, NULL: none has it. */
const struct vhi_region *vhi_iotlb_cut(const struct vh_snapshot *s, uint64_t iova, struct vh_iotlb_entry *e);
struct vh_iotlb *vhi_iotlb_get(struct vh_iotlb *t); /* NULL-safe */
void vhi_iotlb_put(struct vh_iotlb *t);		    /* NULL-safe */
void vhi_iotlb_join(struct vh_iotlb *t, struct vhi_iotlb_user *user);
void vhi_iotlb_leave(struct vh_iotlb *t, struct vhi_iotlb_user *user);

/* Is there a table that is newer than this one? One load. */
bool vhi_iotlb_newer(const struct vh_iotlb *t, const struct vhi_tlb *than);
/* The present table, a reference of the caller's. */
struct vhi_tlb *vhi_iotlb_table(struct vh_iotlb *t);

/*
 * Nothing is known of this address in @table. 0: it was in the list, or something newer is known; the user is woken when
 * that changes. 1: it is new in the list. VHI_FAULT: it was denied.
 */
int vhi_iotlb_miss(struct vh_iotlb *t, struct vhi_iotlb_user *user, const struct vhi_tlb *table, uint64_t iova,
		   uint32_t perm);
/* Before sleeping: false when there is something newer than @table already, or he was woken since he missed something. */
bool vhi_iotlb_wait(struct vh_iotlb *t, struct vhi_iotlb_user *user, const struct vhi_tlb *table);

/* For who asks a front-end. The next one that was not asked for, until @deadline_ns. */
bool vhi_iotlb_ask(struct vh_iotlb *t, uint64_t deadline_ns, struct vh_iotlb_miss *out);
void vhi_iotlb_ask_again(struct vh_iotlb *t, uint64_t iova, uint32_t perm); /* it could not be asked for */
void vhi_iotlb_ask_all_again(struct vh_iotlb *t);			    /* nobody is there any more who was asked */
uint64_t vhi_iotlb_deadline(struct vh_iotlb *t);			    /* UINT64_MAX = none */
/* One that was not answered in time; it is out of the list, and who waits for it may look again. */
bool vhi_iotlb_expire(struct vh_iotlb *t, uint64_t now, struct vh_iotlb_miss *out);
/* Memory changed: what is not in it any more is forgotten. */
int vhi_iotlb_rebase(struct vh_iotlb *t);
/* Forget everything, also what is waited for. 0 or -ENOMEM. */
int vhi_iotlb_clear(struct vh_iotlb *t);
bool vhi_iotlb_by_uva(const struct vh_iotlb *t);
/* The entry that holds an address, from a copy; false = none. */
bool vhi_iotlb_lookup(struct vh_iotlb *t, uint64_t iova, struct vh_iotlb_entry *out);

#endif
