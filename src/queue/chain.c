/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The rare parts of taking a chain: long ones, ranges across regions, indirect tables. */
#include "vhi_chain.h"

uint32_t vhi_stamp(struct vh_queue *q)
{
	const uint32_t now = vhi_now(&q->now);

	/* Its slot may be free by now, where a time means nothing. */
	if (q->dev.late)
		__atomic_store_n(&q->slots[q->dev.late - 1].since, now, __ATOMIC_RELAXED);
	q->dev.late = 0;
	return now;
}

void vhi_took_more(struct vh_queue *q, uint32_t n)
{
	const uint32_t now = vhi_stamp(q);

	for (uint32_t i = 0; i < n; i++)
		__atomic_store_n(&q->slots[*vhi_order(q, q->seq + i)].since, now, __ATOMIC_RELAXED);
}

void vhi_chain_form(struct vh_queue *q)
{
	q->dev.form = (struct vhi_form){
		.token = (uint64_t)q->epoch << 32,
		.mem = vhi_lie32(q->snap ? q->snap->number : 0, 0),
		.queue = vhi_lie16((uint16_t)q->index, 0),
		.left = VHI_MIN(q->num, q->dev.row_room),
	};
}

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

static void free_block(struct vh_queue *q, uint32_t block)
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
	free_block(q, slot->block);
	slot->block = 0;
	if (!--q->dev.blocks)
		q->flags &= ~VHI_QF_BLOCKS;
	if (q->starved) {
		q->starved = false;
		q->after |= VHI_AFTER_SELF | VHI_AFTER_WAKE;
	}
}

void vhi_chain_put_blocks(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct vhi_slot *slot = &q->slots[(uint32_t)cpls[i].token];

		if (slot->block)
			vhi_chain_put_block(q, slot);
	}
}

/*
 * Move to a block with more room than there is, not only more than is used: a range in several pieces can find some room,
 * and not enough. False when all are taken.
 */
static bool grow(struct vh_queue *q)
{
	struct vhi_chain *c = &q->dev.chain;
	const size_t n = (size_t)(c->w.next - c->w.segs), room = (size_t)(c->end - c->w.segs);
	uint32_t first = 1;

	for (uint32_t i = 0; i < VHI_POOLS; i++) {
		struct vhi_pool *p = &q->dev.pools[i];
		int at = p->room > room ? pool_take(p) : -1;

		if (at >= 0) {
			struct vh_seg *to = p->base + (size_t)at * p->room;

			memcpy(to, c->w.segs, n * sizeof(*to));
			if (c->block)
				free_block(q, c->block);
			c->w.next = to + n;
			c->w.segs = to;
			c->end = to + p->room;
			c->block = (uint16_t)(first + (uint32_t)at);
			return true;
		}
		first += p->count;
	}
	return false;
}

/* A rare part of a walk begins, which is at c->w; @entries are all that the table has. */
static struct vhi_chain *go_off(struct vh_queue *q, uint32_t entries)
{
	struct vhi_chain *c = &q->dev.chain;

	if (!c->odd) {
		c->odd = true;
		c->block = 0;
		c->beyond = entries - VHI_MIN(entries, q->dev.row_room);
		c->end = c->w.segs + q->dev.row_room;
	}
	return c;
}

/*
 * So many descriptors may follow. The walk goes on for as many as there is room for; where there is none it looks into
 * memory that has none, and so comes here with the next one that needs it.
 */
static void set_left(struct vh_queue *q, uint32_t follow, uint32_t with)
{
	struct vhi_chain *c = &q->dev.chain;
	const uint32_t room = (uint32_t)(c->end - c->w.next);

	c->w.snap = room ? q->lookup : &vhi_no_memory;
	c->w.span = c->w.snap->spans;
	c->w.left = (room ? VHI_MIN(follow, room) : follow) + with;
	c->beyond = follow + with - c->w.left;
}

void vhi_chain_enter(struct vh_queue *q, uint32_t entries)
{
	go_off(q, 0);
	set_left(q, entries, 0);
}

bool vhi_chain_more(struct vh_queue *q, uint32_t entries)
{
	const struct vhi_chain *c = go_off(q, entries);
	const bool more = c->beyond;

	set_left(q, more ? c->beyond : 1, 0); /* who goes on all the same is asked again */
	return more;
}

int vhi_chain_add(struct vh_queue *q, uint32_t entries, uint64_t addr, uint32_t len)
{
	struct vhi_chain *c = go_off(q, entries);
	const uint32_t perm = c->w.side ? VH_MEM_WRITE : VH_MEM_READ;

	for (;;) {
		const uint32_t room = (uint32_t)(c->end - c->w.next);
		int n = q->behind.iotlb ? vhi_behind_translate(q, addr, len, perm, c->w.next, room)
					: vhi_translate(q->snap, (struct vhi_gpa){addr}, len, perm, c->w.next, room);

		if (n > 0) {
			c->w.next += n;
			set_left(q, c->w.left + c->beyond - 1, 1);
			return 0;
		}
		if (n == VHI_MISS)
			return -EAGAIN;
		if (VHI_REFUSE(VHI_SITE_QUEUE_FAULT, n == VHI_FAULT))
			return VHI_SITE_QUEUE_FAULT;
		if (VHI_REFUSE(VHI_SITE_QUEUE_SEGS, c->end - c->w.segs == (ptrdiff_t)q->max_segs))
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

int vhi_chain_copy_table(struct vh_queue *q, uint64_t addr, uint32_t len)
{
	char *to = (char *)q->dev.table;
	struct vh_seg seg;
	int n = first_piece(q, addr, len, &seg);

	if (n == 1 && seg.len == len && !(seg.addr & 7)) {
		q->dev.chain.table = seg.addr;
		return 0;
	}
	for (; n == 1; n = first_piece(q, addr, len, &seg)) {
		vhi_shm_copy_in(to, (const void VHI_SHM *)(uintptr_t)seg.addr, (size_t)seg.len);
		to += seg.len;
		addr += seg.len;
		len -= (uint32_t)seg.len;
		if (!len)
			break;
	}
	q->dev.chain.table = (uintptr_t)q->dev.table;
	if (n == VHI_MISS)
		return -EAGAIN;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_FAULT, n != 1))
		return VHI_SITE_QUEUE_INDIRECT_FAULT;
	return 0;
}

const struct vh_snapshot *vhi_chain_end(struct vh_queue *q, struct vhi_slot *slot)
{
	slot->block = q->dev.chain.block;
	if (slot->block) {
		q->dev.blocks++;
		q->flags |= VHI_QF_BLOCKS;
	}
	q->dev.chain.odd = false;
	return q->lookup;
}

int32_t vhi_take_failed(struct vh_queue *q, int rc, uint32_t n)
{
	if (q->dev.chain.odd && q->dev.chain.block)
		free_block(q, q->dev.chain.block);
	q->dev.chain.odd = false;
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

int32_t vhi_take_poisoned(struct vh_queue *q, int32_t n)
{
	if (n < 0)
		return n;
	if (n)
		q->layout->give_back(q, (uint32_t)n);
	return vhi_queue_broke(q, VHI_SITE_QUEUE_POISONED);
}
