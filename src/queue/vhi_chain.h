/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * From a chain of descriptors to segments. There is one walker, for rings of both layouts and for their indirect
 * tables. Each descriptor is loaded once, as two words; whatever the driver does to the table meanwhile, what was checked
 * is what is used, and a chain ends after as many descriptors as its table has, or when it has more segments than the
 * queue allows.
 *
 * It is inline because it is the data path, and careful with registers: what it needs at each descriptor is in locals,
 * the rest in q->dev.chain. The rare parts are in chain.c.
 */
#ifndef VHI_CHAIN_H
#define VHI_CHAIN_H

#include "vhi_vring.h"

/* A range that is not in one piece, or has no room where the others are. 0, a site, or -EAGAIN. */
int vhi_chain_add(struct vh_queue *q, uint64_t addr, uint32_t len);
/* On with the table of an indirect descriptor, which may not be in such a table itself. The same results. */
int vhi_split_indirect(struct vh_queue *q, uint64_t addr, uint64_t word, bool nested);
int vhi_packed_indirect(struct vh_queue *q, uint64_t addr, uint64_t word, bool nested);
/* Begin a chain in a row of the pool. */
void vhi_chain_open(struct vh_queue *q);
/* Where the segments of a request are, and the end of their room. */
const struct vh_seg *vhi_chain_segs(struct vh_queue *q, const struct vhi_slot *slot, const struct vh_seg **end);
/* Back to the pool. */
void vhi_chain_free_block(struct vh_queue *q, uint32_t block);
/* The same for a request that ends, which may be what a pop waits for. */
void vhi_chain_put_block(struct vh_queue *q, struct vhi_slot *slot);

/* The last descriptor of a packed chain, with its second word. */
static inline void vhi_chain_name(struct vhi_chain *c, uint64_t word, uint32_t n_desc)
{
	c->id = (uint16_t)(word >> 32);
	c->n_desc = n_desc;
}

/* Where a walk is. Inlined, these are locals; the rest of the chain is in q->dev.chain. */
struct vhi_walk {
	struct vh_seg *next;	     /* where the next segment goes */
	uint64_t len;		     /* bytes */
	const struct vhi_span *span; /* region of the last range: most requests stay in one */
};

static inline __attribute__((always_inline)) void vhi_walk_save(struct vh_queue *q, const struct vhi_walk *w)
{
	q->dev.chain.next = w->next;
	q->dev.chain.len = w->len;
	q->dev.chain.span = w->span;
}

static inline __attribute__((always_inline)) void vhi_walk_load(struct vh_queue *q, struct vhi_walk *w)
{
	w->next = q->dev.chain.next;
	w->len = q->dev.chain.len;
	w->span = q->dev.chain.span;
}

/* A range in the region of the last one, or else in the first one of its granule. 0 when it takes more than that. */
static inline __attribute__((always_inline)) uint64_t vhi_walk_find(const struct vh_snapshot *snap, struct vhi_walk *w,
								    uint64_t addr, uint32_t len)
{
	const struct vhi_span *span = w->span;
	uint64_t at = addr - span->gpa;

	/* Less one, so that an empty range is none of these. */
	if (VHI_LIKELY(at < span->len && (uint64_t)len - 1 < span->len - at))
		return span->host + at;
	span = vhi_span_fast(snap, (struct vhi_gpa){addr});
	if (!span || !len)
		return 0;
	w->span = span;
	return vhi_span_translate(span, (struct vhi_gpa){addr}, len);
}

/* A constant at each place where there is a walk, so that each has only the code of its own. */
enum vhi_table {
	VHI_SPLIT_RING,
	VHI_SPLIT_TABLE, /* indirect */
	VHI_PACKED_RING,
	VHI_PACKED_TABLE,
};

/*
 * Walk from descriptor @at of a table with so many entries, or, in a packed ring, so many that are free. 0, the site that
 * refused, or -EAGAIN when it has to wait. @word is the second word of the first descriptor of a packed chain: its flags
 * were looked at already.
 *
 * Linked descriptors exist in a split ring and its tables. In a packed ring one lies behind the other, AVAIL and USED
 * count in the first one only, which the driver stores last, and the last one says the chain's id; its tables have as
 * many as they are long, and no ids.
 */
static inline __attribute__((always_inline)) int vhi_chain_walk(struct vh_queue *q, const struct vh_snapshot *snap,
								const uint64_t VHI_SHM *table, uint32_t entries,
								uint32_t at, const enum vhi_table kind, uint64_t word,
								struct vhi_walk *w)
{
	const bool packed = kind >= VHI_PACKED_RING, indirect = kind & 1;
	struct vhi_chain *c = &q->dev.chain;

	for (uint32_t walked = 1;; walked++) {
		uint64_t addr, host;
		uint32_t flags, len;
		int rc;

		if (kind == VHI_PACKED_RING && VHI_REFUSE(VHI_SITE_QUEUE_OVERRUN, walked > entries))
			return VHI_SITE_QUEUE_OVERRUN;
		addr = vhi_shm_load64(table + 2 * (size_t)at);
		if (kind != VHI_PACKED_RING || walked > 1)
			word = vhi_shm_load64(table + 2 * (size_t)at + 1);
		flags = (uint32_t)(word >> (packed ? 48 : 32));
		len = (uint32_t)word;
		if (VHI_UNLIKELY(flags & VHI_DESC_INDIRECT)) {
			if (kind == VHI_PACKED_RING && VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_MIXED, walked > 1))
				return VHI_SITE_QUEUE_INDIRECT_MIXED;
			if (kind == VHI_PACKED_RING)
				vhi_chain_name(c, word, walked);
			vhi_walk_save(q, w);
			rc = (packed ? vhi_packed_indirect : vhi_split_indirect)(q, addr, word, indirect);
			vhi_walk_load(q, w);
			return rc;
		}
		if (flags & VHI_DESC_WRITE) {
			if (!c->first) {
				c->first = w->next;
				c->rd_len = w->len;
			}
		} else if (VHI_REFUSE(VHI_SITE_QUEUE_ORDER, c->first != NULL)) {
			return VHI_SITE_QUEUE_ORDER;
		}
		w->len += len;
		host = vhi_walk_find(snap, w, addr, len);
		if (VHI_LIKELY(host && w->next != c->end)) {
			w->next->addr = host;
			w->next->len = len;
			w->next++;
		} else if (len) {
			vhi_walk_save(q, w);
			rc = vhi_chain_add(q, addr, len);
			if (rc)
				return rc;
			w->next = c->next;
		}
		if (kind == VHI_PACKED_TABLE) {
			if (++at == entries)
				return 0;
			continue;
		}
		if (!(flags & VHI_DESC_NEXT)) {
			if (kind == VHI_PACKED_RING)
				vhi_chain_name(c, word, walked);
			return 0;
		}
		if (kind == VHI_PACKED_RING) {
			at = at + 1 < q->num ? at + 1 : 0;
			continue;
		}
		at = flags >> 16;
		if (VHI_REFUSE(VHI_SITE_QUEUE_NEXT, at >= entries))
			return VHI_SITE_QUEUE_NEXT;
		if (VHI_REFUSE(VHI_SITE_QUEUE_LOOP, walked >= entries))
			return VHI_SITE_QUEUE_LOOP;
	}
}

/* What requests of one pop have in common. */
struct vhi_batch {
	uint64_t epoch;
	uint32_t now;
	uint32_t mem;
	uint16_t queue;
};

static inline struct vhi_batch vhi_batch_begin(const struct vh_queue *q)
{
	return (struct vhi_batch){(uint64_t)q->epoch << 32, vhi_coarse_ms(), q->snap->number, (uint16_t)q->index};
}

/*
 * A request, but for what the walk finds out. What is stored before the walk means nothing if the walk fails: the slot
 * stays free.
 */
static inline __attribute__((always_inline)) void vhi_take_begin(const struct vhi_batch *b, uint32_t seq,
								 struct vh_req *req)
{
	req->user = 0;
	req->seq = seq;
	req->queue = b->queue;
	req->flags = 0;
	req->mem = b->mem;
	req->reserved = 0;
}

/* The walk was good: the rest of the request, and its slot, which is in flight from here on. */
static inline __attribute__((always_inline)) void vhi_take_end(struct vh_queue *q, const struct vhi_walk *w,
							       struct vhi_slot *slot, struct vh_req *req)
{
	struct vhi_chain *c = &q->dev.chain;
	struct vh_seg *first = w->next;
	uint64_t rd_len = w->len, wr_len;

	if (c->first) {
		first = c->first;
		rd_len = c->rd_len;
	}
	wr_len = w->len - rd_len;
	req->segs = (uintptr_t)c->segs;
	req->rd_len = rd_len;
	req->wr_len = wr_len;
	req->n_rd = (uint32_t)(first - c->segs);
	req->n_wr = (uint32_t)(w->next - first);
	slot->wr_len = (uint32_t)VHI_MIN(wr_len, (uint64_t)UINT32_MAX);
	q->dev.n_rd[slot - q->slots] = (uint16_t)req->n_rd;
	if (VHI_UNLIKELY(c->block)) {
		slot->block = (uint16_t)c->block;
		c->block = 0;
	}
	vhi_slot_state(slot, VHI_SLOT_IN_FLIGHT);
}

/* The chain after the n good ones was refused, or has to wait. What pop returns if n is 0. */
int32_t vhi_take_failed(struct vh_queue *q, int rc, uint32_t n);

/* n requests (1 at least) with as many readable bytes are in flight. */
static inline void vhi_took(struct vh_queue *q, struct vh_req *reqs, uint32_t n, uint64_t bytes)
{
	reqs[n - 1].flags |= VH_REQ_LAST;
	q->seq += n;
	q->idle = false;
	vhi_in_flight(q, q->in_flight + n);
	vhi_count(&q->stats.requests, n);
	vhi_count(&q->stats.bytes_in, bytes);
}

#endif
