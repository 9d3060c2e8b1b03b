/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The rare parts of taking a chain: long ones, ranges across regions, indirect tables. */
#include "vhi_chain.h"

static int pool_take(struct vhi_pool *p)
{
	uint32_t at;

	if (p->free) {
		at = p->free - 1;
		p->free = (uint32_t)p->base[(size_t)at * p->room].addr;
	} else if (p->fresh < p->count) {
		at = p->fresh++;
	} else {
		return -1;
	}
	return (int)at;
}

/* Blocks are numbered through all pools, from 1. */
static struct vhi_pool *pool_of(struct vhi_pool *p, uint32_t block, uint32_t *at)
{
	for (*at = block - 1; *at >= p->count; p++)
		*at -= p->count;
	return p;
}

void vhi_chain_free_block(struct vh_queue *q, uint32_t block)
{
	uint32_t at;
	struct vhi_pool *p = pool_of(q->dev.pools, block, &at);

	p->base[(size_t)at * p->room].addr = p->free;
	p->free = at + 1;
}

const struct vh_seg *vhi_chain_segs(struct vh_queue *q, const struct vhi_slot *slot, const struct vh_seg **end)
{
	struct vhi_pool rows = {.base = q->dev.rows, .room = VHI_INLINE_SEGS};
	uint32_t at = (uint32_t)(slot - q->slots);
	const struct vhi_pool *p = slot->block ? pool_of(q->dev.pools, slot->block, &at) : &rows;
	const struct vh_seg *segs = p->base + (size_t)at * p->room;

	*end = segs + p->room;
	return segs;
}

void vhi_chain_put_block(struct vh_queue *q, struct vhi_slot *slot)
{
	vhi_chain_free_block(q, slot->block);
	slot->block = 0;
	if (q->starved) {
		q->starved = false;
		q->after |= VHI_AFTER_SELF | VHI_AFTER_WAKE;
	}
}

/*
 * Move to a block with more room than there is, not only more than is used: a range in several pieces can find some room,
 * and not enough. False when all are taken.
 */
static bool grow(struct vh_queue *q)
{
	struct vhi_chain *c = &q->dev.chain;
	const size_t n = (size_t)(c->next - c->segs), room = (size_t)(c->end - c->segs);
	uint32_t first = 1;

	for (uint32_t i = 0; i < VHI_POOLS; i++) {
		struct vhi_pool *p = &q->dev.pools[i];
		int at = p->room > room ? pool_take(p) : -1;

		if (at >= 0) {
			struct vh_seg *to = p->base + (size_t)at * p->room;

			memcpy(to, c->segs, n * sizeof(*to));
			if (c->block)
				vhi_chain_free_block(q, c->block);
			if (c->first)
				c->first = to + (c->first - c->segs);
			c->segs = to;
			c->next = to + n;
			c->end = to + p->room;
			c->block = first + (uint32_t)at;
			return true;
		}
		first += p->count;
	}
	return false;
}

void vhi_chain_open(struct vh_queue *q)
{
	struct vhi_chain *c = &q->dev.chain;

	c->segs = c->next = c->end = q->dev.rows;
	c->first = NULL;
	/* A request in flight has one block, and there are more blocks than ids. Without one, the first segment would wait. */
	grow(q);
}

int vhi_chain_add(struct vh_queue *q, uint64_t addr, uint32_t len)
{
	struct vhi_chain *c = &q->dev.chain;
	const uint32_t perm = c->first ? VH_MEM_WRITE : VH_MEM_READ;

	for (;;) {
		const uint32_t room = (uint32_t)(c->end - c->next);
		int n = q->behind.iotlb ? vhi_behind_translate(q, addr, len, perm, c->next, room)
					: vhi_translate(q->snap, (struct vhi_gpa){addr}, len, perm, c->next, room);

		if (n > 0) {
			c->next += n;
			return 0;
		}
		if (n == VHI_MISS)
			return -EAGAIN;
		if (VHI_REFUSE(VHI_SITE_QUEUE_FAULT, n == VHI_FAULT))
			return VHI_SITE_QUEUE_FAULT;
		if (VHI_REFUSE(VHI_SITE_QUEUE_SEGS, c->end - c->segs == (ptrdiff_t)q->max_segs))
			return VHI_SITE_QUEUE_SEGS;
		if (!grow(q))
			return -EAGAIN;
	}
}

/* The first piece of a range, which may be all of it: 1, or VHI_FAULT, VHI_MISS. */
static int first_piece(struct vh_queue *q, uint64_t addr, uint32_t len, struct vh_seg *seg)
{
	const struct vhi_region *r;
	uint64_t at;
	int n;

	if (q->behind.iotlb) {
		n = vhi_behind_translate(q, addr, len, VH_MEM_READ, seg, 1);
		return n == -ENOSPC ? 1 : n; /* the first piece of several is there */
	}
	r = vhi_find(q->snap, (struct vhi_gpa){addr});
	if (!r)
		return VHI_FAULT;
	at = addr - r->gpa.v;
	*seg = (struct vh_seg){.addr = (uintptr_t)r->host + at, .len = VHI_MIN((uint64_t)len, r->len - at)};
	return 1;
}

/* A table that is in several pieces, or not aligned, is copied together: *host = where it is. 1 or as above. */
static int find_table(struct vh_queue *q, uint64_t addr, uint32_t len, uint64_t *host)
{
	char *to = (char *)q->dev.table;
	struct vh_seg seg;
	int n = first_piece(q, addr, len, &seg);

	if (n == 1 && seg.len == len && !(seg.addr & 7)) {
		*host = seg.addr;
		return 1;
	}
	for (; n == 1; n = first_piece(q, addr, len, &seg)) {
		vhi_shm_copy_in(to, (const void VHI_SHM *)(uintptr_t)seg.addr, (size_t)seg.len);
		to += seg.len;
		addr += seg.len;
		len -= (uint32_t)seg.len;
		if (!len)
			break;
	}
	*host = (uintptr_t)q->dev.table;
	return n;
}

/* On with the table of an indirect descriptor. Of the kinds there is one in each instance. */
static inline __attribute__((always_inline)) int walk_table(struct vh_queue *q, uint64_t addr, uint64_t word,
							    bool nested, const enum vhi_table kind)
{
	const uint32_t len = (uint32_t)word, flags = (uint32_t)(word >> (kind == VHI_PACKED_TABLE ? 48 : 32));
	struct vhi_walk w;
	uint64_t host;
	int rc;

	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_NESTED, nested))
		return VHI_SITE_QUEUE_INDIRECT_NESTED;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_OFF, !(q->ring.features & VHI_BIT(VH_F_RING_INDIRECT_DESC))))
		return VHI_SITE_QUEUE_INDIRECT_OFF;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_NEXT, flags & VHI_DESC_NEXT))
		return VHI_SITE_QUEUE_INDIRECT_NEXT;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_LEN, !len || len % VHI_DESC_SIZE))
		return VHI_SITE_QUEUE_INDIRECT_LEN;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_BIG, len / VHI_DESC_SIZE > q->max_segs))
		return VHI_SITE_QUEUE_INDIRECT_BIG;
	vhi_walk_load(q, &w);
	host = vhi_walk_find(q->lookup, &w, addr, len);
	if (VHI_UNLIKELY(!host || host & 7)) {
		rc = find_table(q, addr, len, &host);
		if (rc == VHI_MISS)
			return -EAGAIN;
		if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_FAULT, rc != 1))
			return VHI_SITE_QUEUE_INDIRECT_FAULT;
	}
	rc = vhi_chain_walk(q, q->lookup, (const uint64_t VHI_SHM *)(uintptr_t)host, len / VHI_DESC_SIZE, 0, kind, 0,
			    &w);
	vhi_walk_save(q, &w);
	return rc;
}

int vhi_split_indirect(struct vh_queue *q, uint64_t addr, uint64_t word, bool nested)
{
	return walk_table(q, addr, word, nested, VHI_SPLIT_TABLE);
}

int vhi_packed_indirect(struct vh_queue *q, uint64_t addr, uint64_t word, bool nested)
{
	return walk_table(q, addr, word, nested, VHI_PACKED_TABLE);
}

int32_t vhi_take_failed(struct vh_queue *q, int rc, uint32_t n)
{
	if (q->dev.chain.block)
		vhi_chain_free_block(q, q->dev.chain.block);
	q->dev.chain.block = 0;
	if (rc == -EAGAIN) {
		/* What a miss waits for is an update; everything else is a block. */
		q->starved = !q->behind.missing;
		if (q->starved)
			vhi_count(&q->stats.seg_waits, 1);
	} else if (!n) {
		return vhi_queue_broke(q, (uint32_t)rc);
	}
	return 0;
}
