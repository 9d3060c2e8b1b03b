/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What proof_chain.c is made of: a queue and a walk of any state, what such a state has to be, and what stands in for the rest. */
#ifndef PROOF_CHAIN_H
#define PROOF_CHAIN_H

#include <pthread.h>
#include <time.h>

#include "proof.h"
#include "vhi_mem.h"

/* Of a slot and of a queue only one part is looked at here. To CBMC a union is an array of bytes. */
#define union struct
#include "vhi_vring.h"
#undef union

/* Rooms for segments are small: what there is room for is more than the descriptors that follow, or less. */
#ifndef ROW
#define ROW 1u
#endif
#undef VHI_INLINE_SEGS
#define VHI_INLINE_SEGS ROW
#define MAX_MEDIUM	2u
#define MAX_SEGS	3u /* of the queue */
#define MAX_NUM		7u /* descriptors in a ring, or a table */
#define SLOTS		4u

/*
 * Where a walk has its segments, how many there are, whether a rare part of it has run, whether the writable ones have begun,
 * and which blocks are another request's. The gate takes one such place after the other: a pointer that may be one of many costs
 * CBMC far more than the same proof for each of them.
 */
#ifndef BLOCK
#define BLOCK	  0u
#define GRANTS	  1u
#define ODD	  1u
#define SIDE	  0u
#define ELSEWHERE 0u
#endif

static size_t table_start; /* where the walk of a table of a packed ring begins */
static bool fast(const struct vh_snapshot *s, const struct vhi_span **near, uint64_t addr, uint64_t len,
		 uint64_t *host);
static void copied(void *to, const void *from, size_t n);
#define vhi_translate_fast fast
#define memcpy		   copied
#include "vhi_chain.h"
#define vhi_chain_copy_table real_copy_table
#include "chain.c"
#undef vhi_chain_copy_table
#include "split_device.c"

#define RING  UINT64_C(0x100000000)
#define TABLE UINT64_C(0x7000000000000000) /* where an indirect table is, when it is used in place */
#define PIECE UINT64_C(0x7100000000000000) /* and a part of one that is copied */

bool nondet_bool(void);
uint64_t nondet_word(void);

static struct vh_queue q;
static struct vhi_walk w;
static struct vh_req req;
static struct vhi_slot slots[SLOTS];
static const struct vhi_span no_span;
const struct vh_snapshot vhi_no_memory = {.spans = (struct vhi_span *)&no_span};
static struct vhi_span span;
static struct vh_snapshot snap = {.n = 1, .spans = &span};
static struct vhi_region region;
static uint64_t copy[2 * MAX_SEGS];

/* The row of the chain, and the blocks: one behind the other, each with the room that it has in this queue. */
static struct vh_seg segments[SLOTS * VHI_INLINE_SEGS + MAX_MEDIUM + MAX_SEGS];
static uint32_t base_of[] = {0, SLOTS *VHI_INLINE_SEGS, SLOTS *VHI_INLINE_SEGS + MAX_MEDIUM};
static bool elsewhere[VHI_POOLS]; /* a block is another request's */

/* The table that the walk is in, and the descriptors of it that are behind it. */
static uint64_t table_at, table_bytes;
static uint32_t entries, visited;
static bool packed;
static bool entered, fresh_table; /* packed: the walk is in a table; it looks there for the first time */
static uint32_t ring_at, n_desc;  /* packed: where the chain begins, and what the walk says that it has */
static uint32_t looked, looks;	  /* descriptors that were loaded, and how many are to be, before the proof ends */
static uint64_t filled, passed;	  /* of the copy of a table */
static uint64_t desc_addr, desc_word;
static bool load_of_word, copying;

/* What translations gave: how many segments, how long for each side, and any one of them. */
static uint32_t grants, readable, watch;
static uint64_t sums[2];
static struct vh_seg seen;
static bool seen_write;

int clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	now->tv_sec = (time_t)nondet_word();
	now->tv_nsec = (long)nondet_word();
	return 0;
}

/* More than there is room for, and with few bits, of which a solver has to know. */
static uint32_t few(void)
{
	return nondet_u32() & 7;
}

/* Bytes: 64 bits are added, and 8 of them are any. */
static uint64_t any_sum(void)
{
	return nondet_word() & UINT8_MAX;
}

static uint32_t room_of(uint32_t block)
{
	return block ? q.dev.pools[block - 1].room : q.dev.row_room;
}

static uint32_t block_now(void)
{
	return q.dev.chain.odd ? q.dev.chain.block : 0;
}

static uint32_t flags_of(uint64_t word)
{
	return packed ? (uint32_t)(word >> 48) : (uint32_t)(word >> 32) & UINT16_MAX;
}

static bool writes(void)
{
	return flags_of(desc_word) & VHI_DESC_WRITE;
}

/* Of a pool of one block: never used, given back, or taken. */
static bool is_whole(const struct vhi_pool *p)
{
	return p->fresh <= 1 && p->free <= p->fresh && (!p->free || !p->base[0].addr);
}

static bool is_taken(const struct vhi_pool *p)
{
	return p->fresh && !p->free;
}

/* The segment that is watched is where it belongs when the segments are there. */
static bool is_seen(uint32_t block)
{
	const uint32_t at = base_of[block] + watch;

	return segments[at].addr == seen.addr && segments[at].len == seen.len;
}

/* A walk that comes to a descriptor; with @assume it is made so, else it has to be. */
static void state(bool assume)
{
	const struct vhi_chain *c = &q.dev.chain;
	const uint32_t block = block_now();

#define HOLDS(x)                   \
	do {                       \
		if (assume)        \
			ASSUME(x); \
		else               \
			PROVE(x);  \
	} while (0)
	HOLDS(block <= VHI_POOLS);
	HOLDS(grants <= room_of(block));
	HOLDS(w.segs == segments + base_of[block] && w.next == w.segs + grants);
	HOLDS(!c->odd || c->end == w.segs + room_of(block));
	for (uint32_t i = 0; i < VHI_POOLS; i++) {
		HOLDS(is_whole(&q.dev.pools[i]));
		HOLDS(is_taken(&q.dev.pools[i]) == (elsewhere[i] || block == i + 1) &&
		      !(elsewhere[i] && block == i + 1));
	}
	/* It ends. */
	HOLDS(visited < entries && w.left);
	HOLDS(c->odd || (uint64_t)w.left + visited == VHI_MIN(entries, q.dev.row_room));
	HOLDS(!c->odd || (uint64_t)w.left + c->beyond + visited == entries);
	/* There is room, or it will be looked for. */
	HOLDS(w.snap == &vhi_no_memory || (w.snap == q.lookup && w.left <= room_of(block) - grants));
	HOLDS(!w.side || w.side == VHI_DESC_WRITE);
	HOLDS(w.len == sums[w.side ? 1 : 0] && (w.side || !sums[1]));
	HOLDS(!w.side || (req.n_rd == readable && req.rd_len == sums[0] && readable <= grants));
	HOLDS(w.side || readable == grants);
	HOLDS(watch >= grants || is_seen(block));
	HOLDS(watch >= grants || seen_write == (watch >= readable));
#undef HOLDS
}

/* The walk came to one more descriptor than the proof goes to. */
static void comes_to_next(void)
{
	state(false);
	PROVE(!packed || visited == n_desc || entered);
	HAPPENS(block_now() == 2 && w.side && w.left == 1 && q.dev.chain.beyond);
	ASSUME(false);
}

static bool inside(uint64_t at, uint64_t len, uint64_t from, uint64_t room)
{
	return at >= from && at - from <= room && len <= room - (at - from);
}

/* Whether the walk may look there: in the table, and in a packed ring at what comes next. */
static bool may_read(uint64_t at, uint64_t len)
{
	uint32_t next = ring_at + visited;

	if (packed && !entered)
		return inside(at, len, table_at + 16 * (uint64_t)(next < q.num ? next : next - q.num), 16);
	return inside(at, len, table_at, table_bytes);
}

void proof_reads(uint64_t at, uint64_t len)
{
	if (copying) {
		PROVE(inside(at, len, table_at, table_bytes));
		return;
	}
	/* Its address first, and then the other word. */
	load_of_word = looked && !load_of_word;
	PROVE(load_of_word == !!((at - table_at) & 8));
	if (!load_of_word) {
		if (fresh_table)
			visited = 0;
		else if (looked)
			visited++;
		if (looked++ == looks || fresh_table) {
			PROVE(may_read(at, 2 * len));
			comes_to_next();
		}
	}
	PROVE(may_read(at, len));
}

uint64_t nondet_u64(void)
{
	const uint64_t v = nondet_word();

	if (load_of_word)
		desc_word = v;
	else
		desc_addr = v;
	return v;
}

void proof_writes(uint64_t at, uint64_t len)
{
	(void)at, (void)len;
	PROVE(false);
}

void proof_fills(const void *to, uint64_t len)
{
	PROVE((uint64_t)to == (uint64_t)copy + filled && len <= sizeof(copy) - filled);
	filled += len;
}

/* Of segments, of which one is watched, or of what is 4 or 8 bytes. */
static void copied(void *to, const void *from, size_t n)
{
	if (n == 4) {
		*(uint32_t *)to = *(const uint32_t *)from;
	} else if (n == 8) {
		*(uint64_t *)to = *(const uint64_t *)from;
	} else {
		const uint32_t block = to == segments + base_of[1] ? 1 : 2;

		PROVE(n == grants * sizeof(struct vh_seg) && from == segments + base_of[block_now()]);
		PROVE(to == segments + base_of[block] && grants <= room_of(block));
		if (watch < grants)
			segments[base_of[block] + watch] = segments[base_of[block_now()] + watch];
	}
}

static void granted(uint32_t n, uint64_t len)
{
	if (!writes())
		readable += n;
	grants += n;
	sums[writes()] += len;
}

/* The table of an indirect descriptor is there. */
static void enters(uint64_t at, uint64_t len)
{
	PROVE(len && len <= q.max_segs * VHI_DESC_SIZE);
	table_at = at;
	table_bytes = len;
	entered = fresh_table = packed;
	if (entered)
		entries = (uint32_t)len / VHI_DESC_SIZE;
}

static bool fast(const struct vh_snapshot *s, const struct vhi_span **near, uint64_t addr, uint64_t len, uint64_t *host)
{
	(void)near;
	PROVE(addr == desc_addr && len == (uint32_t)desc_word);
	if (s == &vhi_no_memory || !len || nondet_bool())
		return false;
	PROVE(s == &snap && !q.behind.iotlb);
	if (flags_of(desc_word) & VHI_DESC_INDIRECT) {
		enters(TABLE + (nondet_word() & 15), len);
		*host = table_at;
		return true;
	}
	*host = nondet_word();
	PROVE(w.next < w.segs + room_of(block_now()));
	if (watch == grants) {
		seen = (struct vh_seg){.addr = *host, .len = len};
		seen_write = writes();
	}
	granted(1, len);
	return true;
}

static int translated(uint64_t addr, uint64_t len, uint32_t perm, struct vh_seg *segs, uint32_t max, bool iotlb)
{
	const uint32_t n = few();

	PROVE(len && iotlb == !!q.behind.iotlb);
	PROVE(addr == desc_addr && len == (uint32_t)desc_word && perm == (writes() ? VH_MEM_WRITE : VH_MEM_READ));
	PROVE(segs == q.dev.chain.w.next && max == room_of(block_now()) - grants);
	if (!n)
		return iotlb && nondet_bool() ? VHI_MISS : VHI_FAULT;
	if (n > max)
		return -ENOSPC;
	if (watch >= grants && watch - grants < n) {
		seen = (struct vh_seg){nondet_word(), nondet_word()};
		seen_write = writes();
		segments[base_of[block_now()] + watch] = seen;
	}
	granted(n, len);
	return (int)n;
}

int vhi_translate(const struct vh_snapshot *s, struct vhi_gpa addr, uint64_t len, uint32_t perm, struct vh_seg *segs,
		  uint32_t max)
{
	PROVE(s == &snap);
	return translated(addr.v, len, perm, segs, max, false);
}

/* The next part of a table that is copied. The third one is the last. */
static uint64_t part(uint64_t addr, uint64_t len)
{
	static uint32_t parts;
	const uint64_t here = ++parts < 3 ? nondet_word() & 63 : len;

	PROVE(addr == desc_addr + passed && len == (uint32_t)desc_word - passed);
	ASSUME(here && here <= len);
	passed += here;
	table_at = PIECE + (nondet_word() & 15);
	table_bytes = here;
	return here;
}

int vhi_behind_translate(struct vh_queue *of, uint64_t addr, uint64_t len, uint32_t perm, struct vh_seg *segs,
			 uint32_t max)
{
	PROVE(of == &q);
	if (!(flags_of(desc_word) & VHI_DESC_INDIRECT))
		return translated(addr, len, perm, segs, max, true);
	PROVE(perm == VH_MEM_READ && max == 1 && q.behind.iotlb);
	if (nondet_bool())
		return nondet_bool() ? VHI_MISS : VHI_FAULT;
	segs->len = part(addr, len);
	segs->addr = table_at;
	return segs->len == len ? 1 : -ENOSPC;
}

const struct vhi_region *vhi_find(const struct vh_snapshot *s, struct vhi_gpa addr)
{
	const uint64_t before = 16; /* of the region, before its piece of the table */
	uint64_t here, len = (uint32_t)desc_word - passed;

	PROVE(s == &snap && !q.behind.iotlb);
	if (nondet_bool())
		return NULL;
	here = part(addr.v, len);
	region.gpa.v = addr.v - before;
	region.host = (uint8_t *)(table_at - before);
	/* It may go on behind the table. */
	region.len = before + here + (here == len ? nondet_word() & 31 : 0);
	return &region;
}

/* What is proved of it is copy_table(). */
int vhi_chain_copy_table(struct vh_queue *of, uint64_t addr, uint32_t len)
{
	PROVE(of == &q && addr == desc_addr && len == (uint32_t)desc_word);
	enters(TABLE + (nondet_word() & UINT16_MAX & ~UINT64_C(7)), len);
	q.dev.chain.table = table_at;
	return nondet_bool() ? 0 : nondet_bool() ? -EAGAIN : VHI_SITE_QUEUE_INDIRECT_FAULT;
}

int vhi_queue_broke(struct vh_queue *of, uint32_t site)
{
	PROVE(of == &q && site);
	return -EPROTO;
}

/* A block that is free was never used, or given back; in this queue all of them. */
static void any_pool(uint32_t i, uint32_t room)
{
	const bool taken = BLOCK == i + 1 || ELSEWHERE >> i & 1;

	q.dev.pools[i] = (struct vhi_pool){.base = segments + base_of[i + 1],
					   .room = room,
					   .count = 1,
					   .fresh = taken || ODD,
					   .free = !taken && ODD};
	elsewhere[i] = ELSEWHERE >> i & 1;
}

/* A queue that is as vhi_queue_start() makes it, in use. */
static void any_queue(uint64_t layout)
{
	static struct vh_iotlb *const some = (struct vh_iotlb *)&snap;

	q.num = nondet_u16();
	q.max_segs = MAX_SEGS;
	ASSUME(q.num && q.num <= MAX_NUM);
	packed = layout;
	q.ring.features = layout | (nondet_word() & VHI_BIT(VH_F_RING_INDIRECT_DESC));
	q.snap = &snap;
	q.behind.iotlb = nondet_bool() ? some : NULL;
	q.lookup = q.behind.iotlb ? &vhi_no_memory : &snap;
	q.slots = slots;
	q.dev.rows = segments;
	q.dev.row_room = VHI_INLINE_SEGS;
	q.dev.table = copy;
	any_pool(VHI_POOL_MEDIUM, MAX_MEDIUM);
	any_pool(VHI_POOL_LARGE, MAX_SEGS);
	watch = few();
}

/* A walk in a table of the driver's, or in the ring, that comes to a descriptor. */
static void any_walk(uint64_t at, uint32_t n)
{
	ASSUME(n <= MAX_NUM);
	table_at = at;
	entries = n;
	table_bytes = VHI_DESC_SIZE * (uint64_t)n;
	visited = few();
	ASSUME(visited < entries);
	grants = GRANTS;
	readable = SIDE ? few() : grants;
	sums[0] = any_sum();
	sums[1] = SIDE ? any_sum() : 0;
	seen = (struct vh_seg){nondet_word(), nondet_word()};
	seen_write = watch >= readable;
	if (watch < grants)
		segments[base_of[BLOCK] + watch] = seen;
	req.n_rd = readable;
	req.rd_len = sums[0];
	w.segs = segments + base_of[BLOCK];
	w.next = w.segs + grants;
	w.side = SIDE ? VHI_DESC_WRITE : 0;
	w.len = sums[SIDE];
	w.snap = nondet_bool() ? &snap : &vhi_no_memory;
	w.span = w.snap->spans;
	w.left = ODD ? nondet_u16() : VHI_MIN(entries, q.dev.row_room) - visited;
	q.dev.chain.odd = ODD;
	q.dev.chain.block = BLOCK;
	q.dev.chain.beyond = entries - visited - w.left;
	q.dev.chain.end = w.segs + room_of(BLOCK);
	ASSUME(visited + w.left <= entries);
	looks = 1;
	state(true);
}

/* A batch, of which no chain has come yet. */
static void begin(uint64_t at, uint32_t n, struct vhi_batch *b)
{
	table_at = at;
	entries = n;
	table_bytes = VHI_DESC_SIZE * (uint64_t)n;
	vhi_chain_form(&q);
	*b = vhi_batch_begin(&q, &w);
	for (uint32_t i = 0; i < VHI_POOLS; i++)
		ASSUME(is_whole(&q.dev.pools[i]) && is_taken(&q.dev.pools[i]) == elsewhere[i]);
}

/* The chain is whole: what the request says. */
static void good(void)
{
	const uint32_t block = block_now();
	struct vhi_batch b = {0};
	const struct vh_seg *end;

	vhi_take_end(&q, &b, slots, &w, &req);
	PROVE(slots[0].state == VHI_SLOT_IN_FLIGHT && slots[0].block == block && !q.dev.chain.odd);
	PROVE(req.segs == (uintptr_t)(segments + base_of[block]));
	for (uint32_t i = 0; i <= VHI_POOLS; i++)
		if (slots[0].block == i) {
			slots[0].block = (uint16_t)i; /* a constant */
			PROVE(req.segs == (uintptr_t)vhi_chain_segs(&q, slots, &end));
			break;
		}
	PROVE(grants <= room_of(block) && grants <= q.max_segs);
	PROVE(req.n_rd == readable && req.n_wr == grants - readable && slots[0].n_rd == readable);
	PROVE(req.rd_len == sums[0] && req.wr_len == sums[1] && b.bytes == sums[0]);
	PROVE(slots[0].wr_len == (sums[1] < UINT32_MAX ? sums[1] : UINT32_MAX));
	PROVE(watch >= grants || (is_seen(block) && seen_write == (watch >= readable)));
	for (uint32_t i = 0; i < VHI_POOLS; i++)
		PROVE(is_taken(&q.dev.pools[i]) == (elsewhere[i] || block == i + 1));
}

/* It was refused, or waits: nothing is left of it. */
static void refused(int rc)
{
	PROVE(rc == -EAGAIN || rc > 0);
	for (uint32_t i = 0; i <= VHI_POOLS; i++)
		if (q.dev.chain.block == i) {
			q.dev.chain.block = (uint16_t)i; /* a constant */
			PROVE(!vhi_take_failed(&q, rc, 1));
			break;
		}
	PROVE(!q.dev.chain.odd);
	for (uint32_t i = 0; i < VHI_POOLS; i++)
		PROVE(is_whole(&q.dev.pools[i]) && is_taken(&q.dev.pools[i]) == elsewhere[i]);
}

#endif
