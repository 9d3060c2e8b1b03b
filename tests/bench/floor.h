/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Virtqueues by hand: the least that a correct one does, as a floor for what libvh's cost is measured against. All that a
 * peer could get wrong is checked, each word of the ring is loaded once, a batch is published by one store. What makes a
 * library is left out: tokens, epochs, completion in parts, statistics, event idx, dirty log, inflight records, a way to
 * change memory while it runs, and a driver whose requests have more than FLOOR_SEGS segments.
 */
#ifndef FLOOR_H
#define FLOOR_H

#include <stdbool.h>
#include <stdint.h>

#define FLOOR_NUM      256u
#define FLOOR_SEGS     8u
#define FLOOR_REGIONS  512u
#define FLOOR_GRANULE  21 /* a granule is in one region at most */
#define FLOOR_GRANULES 2048u

#define FLOOR_NEXT     1u
#define FLOOR_WRITE    2u
#define FLOOR_INDIRECT 4u
#define FLOOR_AVAIL    0x80u
#define FLOOR_USED     0x8000u

struct floor_region {
	uint64_t gpa, len;
	unsigned char *host;
};

struct floor_mem {
	uint32_t n;
	struct floor_region regions[FLOOR_REGIONS];
	uint16_t granule[FLOOR_GRANULES]; /* the region that is there, if any */
};

/* Both layouts: split has flags and next where packed has id and flags. */
struct floor_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t a, b;
};

struct floor_seg {
	void *base;
	uint32_t len, write;
};

struct floor_req {
	struct floor_seg *segs;
	uint16_t n_segs, n_desc, id;
};

struct floor_queue {
	const struct floor_mem *mem;
	const struct floor_region *last;
	struct floor_desc *desc;
	volatile uint16_t *avail; /* flags, index, ring; packed: offset, flags */
	volatile uint16_t *used;  /* the same, with elements of two words; packed: offset, flags */
	uint16_t next_avail, next_used, wrap_avail, wrap_used;
	struct floor_seg segs[FLOOR_NUM * FLOOR_SEGS];
	/* The driver's part: what is free, and what each id has in flight. */
	uint16_t free, n_free;
	struct {
		uint64_t cookie;
		uint32_t room;
		uint16_t n, tail;
	} flight[FLOOR_NUM];
	uint16_t link[FLOOR_NUM];
};

static inline void *floor_in(const struct floor_region *r, uint64_t gpa, uint64_t len)
{
	uint64_t at = gpa - r->gpa;

	return at < r->len && len <= r->len - at ? r->host + at : (void *)0;
}

static inline void *floor_at(struct floor_queue *q, uint64_t gpa, uint32_t len)
{
	void *at = floor_in(q->last, gpa, len);

	if (at || gpa >> FLOOR_GRANULE >= FLOOR_GRANULES)
		return at;
	q->last = &q->mem->regions[q->mem->granule[gpa >> FLOOR_GRANULE]];
	return floor_in(q->last, gpa, len);
}

/* Two loads of eight bytes, and whatever is looked at afterwards is a copy. */
static inline struct floor_desc floor_load(const struct floor_desc *d)
{
	uint64_t hi = __atomic_load_n((const uint64_t *)(const void *)d + 1, __ATOMIC_ACQUIRE);
	uint64_t lo = __atomic_load_n((const uint64_t *)(const void *)d, __ATOMIC_RELAXED);

	return (struct floor_desc){
		.addr = lo, .len = (uint32_t)hi, .a = (uint16_t)(hi >> 32), .b = (uint16_t)(hi >> 48)};
}

static inline bool floor_seg(struct floor_queue *q, const struct floor_desc *d, uint32_t flags, uint32_t before,
			     struct floor_seg *seg)
{
	seg->base = floor_at(q, d->addr, d->len);
	seg->len = d->len;
	seg->write = flags & FLOOR_WRITE;
	return seg->base && d->len && seg->write >= before && !(flags & FLOOR_INDIRECT);
}

/* Where an indirect table is, and how many descriptors it has; NULL for one that is none. */
static inline struct floor_desc *floor_table(struct floor_queue *q, const struct floor_desc *d, uint32_t flags,
					     uint32_t *n)
{
	*n = d->len / 16;
	if (flags & FLOOR_NEXT || d->len % 16 || !*n || *n > FLOOR_SEGS * FLOOR_NUM || d->addr % 16)
		return (void *)0;
	return floor_at(q, d->addr, d->len);
}

/* How many descriptors from d on, in a table of n. 0: the chain is wrong, or there is no room for it. */
static inline uint32_t floor_split_chain(struct floor_queue *q, const struct floor_desc *table, uint32_t n,
					 struct floor_desc d, struct floor_seg *seg, const struct floor_seg *end)
{
	uint32_t before = 0;

	for (uint32_t k = 1; k <= n && seg < end; k++, seg++) {
		if (!floor_seg(q, &d, d.a, before, seg))
			return 0;
		before = seg->write;
		if (!(d.a & FLOOR_NEXT))
			return k;
		if (d.b >= n)
			return 0;
		d = floor_load(&table[d.b]);
	}
	return 0;
}

static inline int floor_split_pop(struct floor_queue *q, struct floor_req *reqs, uint32_t max)
{
	uint32_t n = (uint16_t)(__atomic_load_n(&q->avail[1], __ATOMIC_ACQUIRE) - q->next_avail), size;
	struct floor_seg *seg = q->segs, *end = q->segs + FLOOR_NUM * FLOOR_SEGS;
	const struct floor_desc *table;

	if (n > FLOOR_NUM)
		return -1;
	n = n < max ? n : max;
	for (uint32_t i = 0; i < n; i++, q->next_avail++) {
		struct floor_req *r = &reqs[i];
		struct floor_desc d;

		r->id = q->avail[2 + q->next_avail % FLOOR_NUM];
		if (r->id >= FLOOR_NUM)
			return -1;
		table = q->desc;
		size = FLOOR_NUM;
		d = floor_load(&table[r->id]);
		if (d.a & FLOOR_INDIRECT) {
			table = floor_table(q, &d, d.a, &size);
			if (!table)
				return -1;
			d = floor_load(table);
		}
		r->segs = seg;
		r->n_segs = (uint16_t)floor_split_chain(q, table, size, d, seg, end);
		if (!r->n_segs)
			return -1;
		seg += r->n_segs;
	}
	return (int)n;
}

/* True when the driver wants to be told. */
static inline bool floor_split_push(struct floor_queue *q, const struct floor_req *reqs, uint32_t n, uint32_t written)
{
	volatile uint32_t *ring = (volatile uint32_t *)(volatile void *)(q->used + 2);

	for (uint32_t i = 0; i < n; i++, q->next_used++) {
		ring[2 * (q->next_used % FLOOR_NUM)] = reqs[i].id;
		ring[2 * (q->next_used % FLOOR_NUM) + 1] = written;
	}
	__atomic_store_n(&q->used[1], q->next_used, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !(q->avail[0] & 1);
}

static inline void floor_step(uint16_t *at, uint16_t *wrap, uint32_t by)
{
	*at = (uint16_t)(*at + by);
	if (*at >= FLOOR_NUM) {
		*at = (uint16_t)(*at - FLOOR_NUM);
		*wrap ^= FLOOR_AVAIL | FLOOR_USED;
	}
}

/* wrap_avail is what the two marks are when a descriptor is available, wrap_used when it is used. */
static inline int floor_packed_pop(struct floor_queue *q, struct floor_req *reqs, uint32_t max)
{
	struct floor_seg *seg = q->segs, *end = q->segs + FLOOR_NUM * FLOOR_SEGS;
	uint32_t n = 0, size;

	for (; n < max; n++) {
		struct floor_desc d = floor_load(&q->desc[q->next_avail]);
		struct floor_req *r = &reqs[n];
		uint32_t before = 0, k = 1, at = q->next_avail;

		if ((d.b & (FLOOR_AVAIL | FLOOR_USED)) != q->wrap_avail)
			break;
		r->segs = seg;
		if (d.b & FLOOR_INDIRECT) {
			const struct floor_desc *table = floor_table(q, &d, d.b, &size);

			for (uint32_t i = 0; table && i < size && seg < end; i++, seg++) {
				struct floor_desc t = floor_load(&table[i]);

				if (!floor_seg(q, &t, t.b, before, seg))
					return -1;
				before = seg->write;
			}
			if (!table)
				return -1;
		} else {
			for (;; k++) {
				if (seg == end || !floor_seg(q, &d, d.b, before, seg))
					return -1;
				before = seg++->write;
				if (!(d.b & FLOOR_NEXT))
					break;
				if (k == FLOOR_NUM)
					return -1;
				at = at + 1 == FLOOR_NUM ? 0 : at + 1;
				d = floor_load(&q->desc[at]);
			}
		}
		if (d.a >= FLOOR_NUM)
			return -1;
		r->id = d.a;
		r->n_segs = (uint16_t)(seg - r->segs);
		r->n_desc = (uint16_t)k;
		floor_step(&q->next_avail, &q->wrap_avail, k);
	}
	return (int)n;
}

/* All but the first are written whole; the first one's flags go last, and with them the driver sees the others. */
static inline bool floor_packed_push(struct floor_queue *q, const struct floor_req *reqs, uint32_t n, uint32_t written)
{
	uint64_t *first = (uint64_t *)(void *)&q->desc[q->next_used] + 1, word, head = 0;

	for (uint32_t i = 0; i < n; i++) {
		word = written | (uint64_t)reqs[i].id << 32 |
		       (uint64_t)(q->wrap_used | (written ? FLOOR_WRITE : 0)) << 48;
		if (i)
			__atomic_store_n((uint64_t *)(void *)&q->desc[q->next_used] + 1, word, __ATOMIC_RELAXED);
		else
			head = word;
		floor_step(&q->next_used, &q->wrap_used, reqs[i].n_desc);
	}
	if (n)
		__atomic_store_n(first, head, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return (q->avail[1] & 3) != 1;
}

/* The driver's side. Segments are addresses in this process, all in one region. */
static inline bool floor_gpa(const struct floor_queue *q, const struct floor_seg *s, uint64_t *gpa)
{
	const struct floor_region *r = q->last;
	uint64_t at = (uint64_t)((unsigned char *)s->base - r->host);

	*gpa = r->gpa + at;
	return at < r->len && s->len <= r->len - at;
}

static inline void floor_driver_init(struct floor_queue *q)
{
	for (uint32_t i = 0; i < FLOOR_NUM; i++)
		q->link[i] = (uint16_t)(i + 1);
	q->n_free = FLOOR_NUM;
}

static inline int floor_split_submit(struct floor_queue *q, const struct floor_req *reqs, const uint64_t *cookies,
				     uint32_t n)
{
	uint32_t i = 0;

	for (; i < n && q->n_free >= reqs[i].n_segs; i++, q->next_avail++) {
		const struct floor_req *r = &reqs[i];
		uint16_t head = q->free, at = head, tail = head;
		uint32_t room = 0;

		for (uint32_t k = 0; k < r->n_segs; k++, at = q->link[at]) {
			const struct floor_seg *s = &r->segs[k];
			uint64_t gpa;

			if (!floor_gpa(q, s, &gpa))
				return -1;
			room += s->write ? s->len : 0;
			q->desc[at] = (struct floor_desc){
				.addr = gpa,
				.len = s->len,
				.a = (uint16_t)((s->write ? FLOOR_WRITE : 0) | (k + 1u < r->n_segs ? FLOOR_NEXT : 0)),
				.b = q->link[at]};
			tail = at;
		}
		q->flight[head].cookie = cookies[i];
		q->flight[head].room = room;
		q->flight[head].n = r->n_segs;
		q->flight[head].tail = tail;
		q->free = q->link[tail];
		q->n_free = (uint16_t)(q->n_free - r->n_segs);
		q->avail[2 + q->next_avail % FLOOR_NUM] = head;
	}
	__atomic_store_n(&q->avail[1], q->next_avail, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return q->used[0] & 1 ? (int)i : -2;
}

static inline int floor_split_reap(struct floor_queue *q, uint64_t *cookies, uint32_t max)
{
	uint32_t n = (uint16_t)(__atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE) - q->next_used);
	volatile uint32_t *ring = (volatile uint32_t *)(volatile void *)(q->used + 2);

	if (n > FLOOR_NUM)
		return -1;
	n = n < max ? n : max;
	for (uint32_t i = 0; i < n; i++, q->next_used++) {
		uint32_t id = ring[2 * (q->next_used % FLOOR_NUM)];
		uint32_t len = ring[2 * (q->next_used % FLOOR_NUM) + 1];

		if (id >= FLOOR_NUM || !q->flight[id].n || len > q->flight[id].room)
			return -1;
		cookies[i] = q->flight[id].cookie;
		q->n_free = (uint16_t)(q->n_free + q->flight[id].n);
		q->flight[id].n = 0;
		q->link[q->flight[id].tail] = q->free;
		q->free = (uint16_t)id;
	}
	return (int)n;
}

static inline int floor_packed_submit(struct floor_queue *q, const struct floor_req *reqs, const uint64_t *cookies,
				      uint32_t n)
{
	struct floor_desc *first = &q->desc[q->next_avail];
	uint16_t marks = 0;
	uint32_t i = 0;

	for (; i < n && q->n_free >= reqs[i].n_segs; i++) {
		const struct floor_req *r = &reqs[i];
		uint16_t id = q->free;
		uint32_t room = 0;

		for (uint32_t k = 0; k < r->n_segs; k++) {
			const struct floor_seg *s = &r->segs[k];
			struct floor_desc *d = &q->desc[q->next_avail];
			uint16_t flags = (uint16_t)((s->write ? FLOOR_WRITE : 0) |
						    (k + 1u < r->n_segs ? FLOOR_NEXT : 0) | q->wrap_avail);
			uint64_t gpa;

			if (!floor_gpa(q, s, &gpa))
				return -1;
			room += s->write ? s->len : 0;
			d->addr = gpa;
			d->len = s->len;
			d->a = id;
			if (d == first)
				marks = flags;
			else
				d->b = flags;
			floor_step(&q->next_avail, &q->wrap_avail, 1);
		}
		q->flight[id].cookie = cookies[i];
		q->flight[id].room = room;
		q->flight[id].n = r->n_segs;
		q->free = q->link[id];
		q->n_free = (uint16_t)(q->n_free - r->n_segs);
	}
	if (i)
		__atomic_store_n(&first->b, marks, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return (q->used[1] & 3) == 1 ? (int)i : -2;
}

static inline int floor_packed_reap(struct floor_queue *q, uint64_t *cookies, uint32_t max)
{
	uint32_t n = 0;

	for (; n < max; n++) {
		uint64_t e = __atomic_load_n((uint64_t *)(void *)&q->desc[q->next_used] + 1, __ATOMIC_ACQUIRE);
		uint16_t id = (uint16_t)(e >> 32);

		if ((e >> 48 & (FLOOR_AVAIL | FLOOR_USED)) != q->wrap_used)
			break;
		if (id >= FLOOR_NUM || !q->flight[id].n || (uint32_t)e > q->flight[id].room)
			return -1;
		cookies[n] = q->flight[id].cookie;
		floor_step(&q->next_used, &q->wrap_used, q->flight[id].n);
		q->n_free = (uint16_t)(q->n_free + q->flight[id].n);
		q->flight[id].n = 0;
		q->link[id] = q->free;
		q->free = id;
	}
	return (int)n;
}

#endif
