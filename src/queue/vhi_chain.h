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

/*
 * Walk from descriptor @at (which exists) of a table, on from what q->dev.chain has. 0, the site that refused, or -EAGAIN when it has
 * to wait. @indirect is a constant: is it an indirect table?
 */
static inline __attribute__((always_inline)) int vhi_chain_walk(struct vh_queue *q, const struct vh_snapshot *snap,
								const uint64_t VHI_SHM *table, uint32_t entries,
								uint32_t at, const bool indirect)
{
	struct vhi_chain *c = &q->dev.chain;
	struct vh_seg *next = c->next;
	uint64_t sum = c->len;

	for (uint32_t left = entries - 1;; left--) {
		uint64_t addr, word, host;
		uint32_t len, flags;
		int rc;

		addr = vhi_shm_load64(table + 2 * (size_t)at);
		word = vhi_shm_load64(table + 2 * (size_t)at + 1);
		len = (uint32_t)word;
		flags = (uint32_t)(word >> 32);
		if (VHI_UNLIKELY(flags & VHI_DESC_INDIRECT)) {
			if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_NESTED, indirect))
				return VHI_SITE_QUEUE_INDIRECT_NESTED;
			c->next = next;
			c->len = sum;
			return vhi_chain_indirect(q, addr, word);
		}
		if (flags & VHI_DESC_WRITE) {
			if (!c->first) {
				c->first = next;
				c->rd_len = sum;
			}
		} else if (VHI_REFUSE(VHI_SITE_QUEUE_ORDER, c->first != NULL)) {
			return VHI_SITE_QUEUE_ORDER;
		}
		sum += len;
		host = vhi_translate_fast(snap, (struct vhi_gpa){addr}, len);
		if (VHI_LIKELY(host && len && next != c->end)) {
			next->addr = host;
			next->len = len;
			next++;
		} else if (len) {
			c->next = next;
			rc = vhi_chain_add(q, addr, len);
			if (rc)
				return rc;
			next = c->next;
		}
		if (!(flags & VHI_DESC_NEXT))
			break;
		at = flags >> 16;
		if (VHI_REFUSE(VHI_SITE_QUEUE_NEXT, at >= entries))
			return VHI_SITE_QUEUE_NEXT;
		if (VHI_REFUSE(VHI_SITE_QUEUE_LOOP, !left))
			return VHI_SITE_QUEUE_LOOP;
	}
	c->next = next;
	c->len = sum;
	return 0;
}

#endif
