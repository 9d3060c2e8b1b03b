/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Taking a chain, whatever the driver writes and however often it changes it, by induction over its descriptors.
 *
 * A walk comes to a descriptor in some state. HOLDS() says what is true of it then: that so many descriptors may follow,
 * that there is room for their segments, and that those which are there are what translations gave. A proof begins with any
 * such state, and any descriptor. Where the walk comes to the next one it is shown to be in such a state again, with one
 * descriptor more behind it and fewer than the table has, and ends there. So a walk ends, after as many descriptors as its
 * table has, and what holds in each state holds in whole chains.
 *
 * It is bounded: rings and tables have up to MAX_NUM descriptors, a request up to MAX_SEGS segments, and the bytes before
 * the descriptor are a number of 8 bits; its own length and address are any.
 *
 * A translation is its contract, which proof_translate.c proves: a range has no pieces, or some that are not empty and
 * together as long as it is. Blocks for segments are one of each size, in use elsewhere or not; to more of a size, a walk
 * that has one of them does nothing.
 */
#include "proof_chain.h"

/* A split ring, or an indirect table of it: any descriptor. */
void split_step(void)
{
	const bool nested = nondet_bool();
	struct vhi_table in, on;
	size_t at;
	int rc;

	any_queue(0);
	any_walk(nested ? TABLE : RING, nondet_u16());
	ASSUME(nested ? entries <= q.max_segs : entries == q.num);
	in = (struct vhi_table){(const uint64_t *)(uintptr_t)table_at, entries};
	at = nondet_u16();
	ASSUME(at < entries);
	rc = vhi_walk_linked(&q, &w, in, at, nested, &on, &req);
	HAPPENS(rc == VHI_SITE_QUEUE_LOOP);
	HAPPENS(rc == VHI_SITE_QUEUE_SEGS);
	HAPPENS(rc == VHI_SITE_QUEUE_NEXT);
	HAPPENS(rc == -EAGAIN && !q.behind.iotlb);
	HAPPENS(!rc && q.dev.chain.odd && q.dev.chain.block == 2 && q.behind.iotlb && !on.at);
	HAPPENS(!rc && on.at && grants);
	if (rc) {
		refused(rc);
	} else if (on.at) {
		/* The table that it goes on in. */
		PROVE(!nested && (uint64_t)on.at == table_at && on.entries * (uint64_t)VHI_DESC_SIZE == table_bytes);
		PROVE(on.entries && on.entries <= q.max_segs);
		entries = on.entries;
		visited = 0;
		state(false);
	} else {
		good();
	}
}

/* The first one of a chain of a split ring, which names its slot and the row for its segments; of a ring that is small. */
void split_begin(void)
{
	static uint16_t order[SLOTS];
	const uint32_t head = nondet_u16();
	struct vhi_batch b;
	int rc;

	any_queue(0);
	ASSUME(q.num <= SLOTS);
	q.area[VHI_AREA_DESC] = (void *)(uintptr_t)RING;
	q.dev.order = order;
	for (uint32_t i = 0; i < SLOTS; i++)
		slots[i].state = nondet_u16();
	begin(RING, q.num, &b);
	if (head < q.num)
		base_of[0] = head * VHI_INLINE_SEGS;
	rc = take_one(&q, &b, &w, head, nondet_u32() % SLOTS, &req);
	/* The walk ends where it looks at the first descriptor, in such a state as it has to be in. */
	PROVE(head >= q.num ? rc == VHI_SITE_QUEUE_HEAD : rc == VHI_SITE_QUEUE_HEAD_BUSY && slots[head].state);
	HAPPENS(rc == VHI_SITE_QUEUE_HEAD);
	HAPPENS(rc == VHI_SITE_QUEUE_HEAD_BUSY);
}

static void in_packed_ring(uint32_t n)
{
	ring_at = nondet_u16();
	ASSUME(n <= q.num && ring_at < q.num);
}

/* The first one of a chain in a packed ring, of which so many are free, and the table that it may point to. */
void packed_first(void)
{
	struct vhi_batch b;
	struct vhi_table in;
	size_t id = 0;
	uint64_t addr, word;
	int rc;

	any_queue(VHI_BIT(VH_F_RING_PACKED));
	begin(RING, nondet_u16(), &b);
	in_packed_ring(entries);
	in = (struct vhi_table){(const uint64_t *)(uintptr_t)RING, entries};
	desc_addr = addr = nondet_word();
	desc_word = word = nondet_word();
	load_of_word = true;
	looked = 1;
	vhi_take_begin(&q, &b, 0, &w, &req);
	looks = 1;
	rc = vhi_walk_packed(&q, &w, in, q.num, ring_at, addr, word, &id, &n_desc, &req);
	HAPPENS(rc == VHI_SITE_QUEUE_OVERRUN);
	HAPPENS(rc == VHI_SITE_QUEUE_INDIRECT_BIG);
	HAPPENS(!rc && q.dev.chain.odd && q.dev.chain.block == 2);
	if (rc) {
		refused(rc);
		return;
	}
	PROVE(n_desc == 1 && in.entries);
	good();
}

/* Any other one of it. */
void packed_step(void)
{
	struct vhi_table in;
	size_t id = 0, at;
	int rc;

	any_queue(VHI_BIT(VH_F_RING_PACKED));
	any_walk(RING, nondet_u16());
	in_packed_ring(entries);
	ASSUME(visited);
	in = (struct vhi_table){(const uint64_t *)(uintptr_t)RING, entries};
	/* As the one before it left it. */
	n_desc = visited;
	w.left++;
	at = ring_at + visited - 1;
	if (at >= q.num)
		at -= q.num;
	rc = vhi_walk_packed_rest(&q, &w, in, q.num, at, &id, &n_desc, &req);
	HAPPENS(rc == VHI_SITE_QUEUE_OVERRUN);
	HAPPENS(rc == VHI_SITE_QUEUE_INDIRECT_MIXED);
	HAPPENS(!rc && q.dev.chain.odd && q.dev.chain.block == 2);
	if (rc) {
		refused(rc);
		return;
	}
	PROVE(n_desc == visited + 1 && n_desc <= entries && id <= UINT16_MAX);
	good();
}

/* Any one of a table that a packed ring points to. */
void packed_table(void)
{
	struct vhi_table in;
	int rc;

	any_queue(VHI_BIT(VH_F_RING_PACKED));
	any_walk(TABLE, few());
	ASSUME(entries <= q.max_segs);
	entered = true;
	in = (struct vhi_table){(const uint64_t *)(uintptr_t)TABLE, entries};
	table_start = 2 * (size_t)visited; /* which is what the gate puts into the loop's beginning */
	rc = vhi_walk_packed_table(&q, &w, in, &req);
	HAPPENS(rc == VHI_SITE_QUEUE_FAULT);
	HAPPENS(rc == VHI_SITE_QUEUE_INDIRECT_NESTED);
	HAPPENS(!rc && q.dev.chain.odd && q.dev.chain.block == 2);
	if (rc) {
		refused(rc);
		return;
	}
	PROVE(visited + 1 == entries);
	good();
}

/* A table that is not in one piece, or not aligned: in up to three pieces. */
void copy_table(void)
{
	uint32_t len;
	int rc;

	any_queue(0);
	len = VHI_DESC_SIZE * few();
	ASSUME(len && len <= VHI_DESC_SIZE * q.max_segs);
	desc_addr = 0 - (uint64_t)(nondet_u16() & UINT8_MAX); /* near the end of the address space */
	desc_word = len | (uint64_t)VHI_DESC_INDIRECT << 32;
	copying = true;
	rc = real_copy_table(&q, desc_addr, len);
	PROVE(rc == 0 || rc == VHI_SITE_QUEUE_INDIRECT_FAULT || rc == -EAGAIN);
	PROVE(rc || (q.dev.chain.table == table_at && table_bytes == len && !filled && !(table_at & 7)) ||
	      (q.dev.chain.table == (uintptr_t)copy && filled == len));
	HAPPENS(!rc && filled == sizeof(copy));
	HAPPENS(!rc && !filled);
	HAPPENS(rc == -EAGAIN);
}
