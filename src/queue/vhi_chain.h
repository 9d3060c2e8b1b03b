/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * From a chain of descriptors to segments. There is one walker, for the ring's own table and for indirect ones. Each
 * descriptor is loaded once, as two words; whatever the driver does to the table meanwhile, what was checked is what is
 * used, and a chain ends after as many descriptors as its table has, or when it has more segments than the queue
 * allows.
 *
 * It is inline because it is the data path, and careful with registers: what it needs at each descriptor is in locals,
 * the rest in q->dev.chain. The rare parts are in chain.c.
 */
#ifndef VHI_CHAIN_H
#define VHI_CHAIN_H

#include "vhi_vring.h"

/* A range that is not in one piece, or has no room where the others are. 0, a site, or -EAGAIN. */
int vhi_chain_add(struct vh_queue *q, uint64_t addr, uint32_t len);
/* On with the table of an indirect descriptor. The same results. */
int vhi_chain_indirect(struct vh_queue *q, uint64_t addr, uint64_t word);
/* Back to the pool. */
void vhi_chain_free_block(struct vh_queue *q, uint32_t block);
/* The same for a request that ends, which may be what a pop waits for. */
void vhi_chain_put_block(struct vh_queue *q, struct vhi_slot *slot);

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

/*
 * Walk from descriptor @at (which exists) of a table. 0, the site that refused, or -EAGAIN when it has to wait.
 * @indirect is a constant: is it an indirect table?
 */
static inline __attribute__((always_inline)) int vhi_chain_walk(struct vh_queue *q, const struct vh_snapshot *snap,
								const uint64_t VHI_SHM *table, uint32_t entries,
								uint32_t at, const bool indirect, struct vhi_walk *w)
{
	struct vhi_chain *c = &q->dev.chain;

	for (uint32_t walked = 1;; walked++) {
		const uint64_t addr = vhi_shm_load64(table + 2 * (size_t)at);
		const uint64_t word = vhi_shm_load64(table + 2 * (size_t)at + 1);
		const uint32_t flags = (uint32_t)(word >> 32);
		const uint32_t len = (uint32_t)word;
		uint64_t host;
		int rc;

		if (VHI_UNLIKELY(flags & VHI_DESC_INDIRECT)) {
			if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_NESTED, indirect))
				return VHI_SITE_QUEUE_INDIRECT_NESTED;
			vhi_walk_save(q, w);
			rc = vhi_chain_indirect(q, addr, word);
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
		if (!(flags & VHI_DESC_NEXT))
			return 0;
		at = flags >> 16;
		if (VHI_REFUSE(VHI_SITE_QUEUE_NEXT, at >= entries))
			return VHI_SITE_QUEUE_NEXT;
		if (VHI_REFUSE(VHI_SITE_QUEUE_LOOP, walked >= entries))
			return VHI_SITE_QUEUE_LOOP;
	}
}

#endif
