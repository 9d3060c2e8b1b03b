/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * From the head of a chain of descriptors to a request with segments. There is one walker, for the ring's own table and
 * for indirect ones. Each descriptor is loaded once, as two words; whatever the driver does to the table meanwhile, what
 * was checked is what is used, and a chain ends after as many descriptors as its table has, or when it has more
 * segments than the queue allows.
 */
#include "vhi_vring.h"

struct chain {
	struct vh_queue *q;
	struct vh_seg *segs;
	uint32_t n;    /* segments so far */
	uint32_t room; /* segments that fit where they are */
	uint32_t n_rd;
	uint16_t block;
	bool writable; /* past the first writable descriptor */
	uint64_t rd_len;
	uint64_t wr_len;
};

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
static void block_free(struct vh_queue *q, uint32_t block)
{
	struct vhi_pool *p = q->dev.pools;
	uint32_t at = block - 1;

	for (; at >= p->count; p++)
		at -= p->count;
	p->base[(size_t)at * p->room].addr = p->free;
	p->free = at + 1;
}

void vhi_chain_put_block(struct vh_queue *q, struct vhi_slot *slot)
{
	block_free(q, slot->block);
	slot->block = 0;
	if (q->starved) {
		q->starved = false;
		q->after |= VHI_AFTER_SELF;
	}
}

/* Move to a block with more room. 0, a site, or -EAGAIN when all are taken. */
static int grow(struct chain *c)
{
	struct vh_queue *q = c->q;
	uint32_t first = 1;

	for (uint32_t i = 0; i < VHI_POOLS; i++) {
		struct vhi_pool *p = &q->dev.pools[i];
		int at = p->room > c->room ? pool_take(p) : -1;

		if (at >= 0) {
			struct vh_seg *to = p->base + (size_t)at * p->room;

			memcpy(to, c->segs, c->n * sizeof(*to));
			if (c->block)
				block_free(q, c->block);
			c->segs = to;
			c->room = p->room;
			c->block = (uint16_t)(first + (uint32_t)at);
			return 0;
		}
		first += p->count;
	}
	return -EAGAIN;
}

/* A range that is not in one piece, or has no room where the others are. */
__attribute__((noinline)) static int add_slowly(struct chain *c, uint64_t addr, uint32_t len)
{
	for (;;) {
		int n = vhi_translate(c->q->snap, (struct vhi_gpa){addr}, len, c->writable ? VH_MEM_WRITE : VH_MEM_READ,
				      c->segs + c->n, c->room - c->n);
		int rc;

		if (n > 0) {
			c->n += (uint32_t)n;
			return 0;
		}
		if (n == VHI_MISS)
			return -EAGAIN;
		if (VHI_REFUSE(VHI_SITE_QUEUE_FAULT, n == VHI_FAULT))
			return VHI_SITE_QUEUE_FAULT;
		if (VHI_REFUSE(VHI_SITE_QUEUE_SEGS, c->room == c->q->max_segs))
			return VHI_SITE_QUEUE_SEGS;
		rc = grow(c);
		if (rc)
			return rc;
	}
}

static inline int add(struct chain *c, uint64_t addr, uint32_t len)
{
	uint64_t host = vhi_translate_fast(c->q->snap, (struct vhi_gpa){addr}, len);

	if (VHI_UNLIKELY(!host || c->n == c->room))
		return add_slowly(c, addr, len);
	c->segs[c->n++] = (struct vh_seg){.addr = host, .len = len};
	return 0;
}

static int walk_indirect(struct chain *c, uint64_t addr, uint32_t len, uint32_t flags);

static inline int walk(struct chain *c, const uint64_t VHI_SHM *table, uint32_t entries, uint32_t at, bool indirect)
{
	for (uint32_t left = entries;; left--) {
		uint64_t addr, word;
		uint32_t flags, len;
		int rc;

		if (VHI_REFUSE(VHI_SITE_QUEUE_NEXT, at >= entries))
			return VHI_SITE_QUEUE_NEXT;
		if (VHI_REFUSE(VHI_SITE_QUEUE_LOOP, !left))
			return VHI_SITE_QUEUE_LOOP;
		addr = vhi_shm_load64(table + 2 * at);
		word = vhi_shm_load64(table + 2 * at + 1);
		len = (uint32_t)word;
		flags = (uint32_t)(word >> 32) & 0xffff;
		if (VHI_UNLIKELY(flags & VHI_DESC_INDIRECT)) {
			if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_NESTED, indirect))
				return VHI_SITE_QUEUE_INDIRECT_NESTED;
			return walk_indirect(c, addr, len, flags);
		}
		if (flags & VHI_DESC_WRITE) {
			if (!c->writable)
				c->n_rd = c->n;
			c->writable = true;
			c->wr_len += len;
		} else {
			if (VHI_REFUSE(VHI_SITE_QUEUE_ORDER, c->writable))
				return VHI_SITE_QUEUE_ORDER;
			c->rd_len += len;
		}
		rc = len ? add(c, addr, len) : 0;
		if (VHI_UNLIKELY(rc))
			return rc;
		if (!(flags & VHI_DESC_NEXT))
			return 0;
		at = (uint32_t)(word >> 48);
	}
}

/* A table that is in several regions, or not aligned: copied together. False when a part is not in guest memory. */
__attribute__((noinline)) static bool copy_table(struct vh_queue *q, uint64_t addr, uint32_t len)
{
	char *to = (char *)q->dev.table;

	while (len) {
		const struct vhi_region *r = vhi_find(q->snap, (struct vhi_gpa){addr});
		uint64_t at, take;

		if (!r)
			return false;
		at = addr - r->gpa.v;
		take = VHI_MIN((uint64_t)len, r->len - at);
		vhi_shm_copy_in(to, (const void VHI_SHM *)(uintptr_t)(r->host + at), take);
		to += take;
		addr += take;
		len -= (uint32_t)take;
	}
	return true;
}

static int walk_indirect(struct chain *c, uint64_t addr, uint32_t len, uint32_t flags)
{
	struct vh_queue *q = c->q;
	uint64_t host;

	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_OFF, !(q->ring.features & VHI_BIT(VH_F_RING_INDIRECT_DESC))))
		return VHI_SITE_QUEUE_INDIRECT_OFF;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_NEXT, flags & VHI_DESC_NEXT))
		return VHI_SITE_QUEUE_INDIRECT_NEXT;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_LEN, !len || len % VHI_DESC_SIZE))
		return VHI_SITE_QUEUE_INDIRECT_LEN;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_BIG, len / VHI_DESC_SIZE > q->max_segs))
		return VHI_SITE_QUEUE_INDIRECT_BIG;
	host = vhi_translate_fast(q->snap, (struct vhi_gpa){addr}, len);
	if (VHI_UNLIKELY(!host || host & 7)) {
		if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_FAULT, !copy_table(q, addr, len)))
			return VHI_SITE_QUEUE_INDIRECT_FAULT;
		host = (uintptr_t)q->dev.table;
	}
	return walk(c, (const uint64_t VHI_SHM *)(uintptr_t)host, len / VHI_DESC_SIZE, 0, true);
}

int vhi_chain_take(struct vh_queue *q, uint16_t head, struct vh_req *req)
{
	struct vhi_slot *slot = &q->slots[head];
	struct chain c = {
		.q = q,
		.segs = &q->dev.rows[(size_t)head * VHI_INLINE_SEGS],
		.room = VHI_MIN(VHI_INLINE_SEGS, q->max_segs),
	};
	int rc = walk(&c, q->area[VHI_AREA_DESC], q->num, head, false);

	if (VHI_UNLIKELY(rc)) {
		if (c.block)
			block_free(q, c.block);
		return rc;
	}
	slot->block = c.block;
	slot->wr_len = (uint32_t)VHI_MIN(c.wr_len, (uint64_t)UINT32_MAX);
	req->segs = (uintptr_t)c.segs;
	req->user = 0;
	req->rd_len = c.rd_len;
	req->wr_len = c.wr_len;
	req->n_rd = c.writable ? c.n_rd : c.n;
	req->n_wr = c.n - req->n_rd;
	return 0;
}
