/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A device that pops from a ring in which no two loads need agree. Whatever is loaded, a request comes out if and only if
 * these very values are a chain, each loaded once, and it is made of them.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tree.h"
#include "vht_ring.h"
#include "vht_mem.h"
#include "vhi_vring.h"

#include <string.h>

#define OUTSIDE UINT64_C(0xfffffffffffffff0)
#define TABLE	(VHT_DATA + 0x100000)
#define ODD	(VHT_DATA + 0x110004) /* not aligned: it is copied */
#define CHAIN	8u		      /* segments at most */

static struct vht_ring ring;
static struct vh_queue before;
static uint64_t *descs;
static uint32_t most; /* chains to pop */
static struct {
	uint64_t popped, refused, none, pushed;
} seen;

/* The second word of a descriptor; other is its link or its id. */
static uint64_t word(uint32_t len, uint32_t flags, uint32_t other)
{
	return vht_layout ? len | (uint64_t)other << 32 | (uint64_t)flags << 48
			  : len | (uint64_t)flags << 32 | (uint64_t)other << 48;
}

static uint32_t flags_of(uint64_t w)
{
	return (uint16_t)(w >> (vht_layout ? 48 : 32));
}

static uint32_t other_of(uint64_t w)
{
	return (uint16_t)(w >> (vht_layout ? 32 : 48));
}

static void start(uint32_t num, uint64_t features)
{
	struct vh_seg seg;

	vht_ring_prepare(&ring, num, features);
	ring.opts.max_segs = CHAIN;
	assert_int_equal(vht_ring_open(&ring), 0);
	descs = vht_host(&ring, ring.opts.desc);
	assert_int_equal(vht_translate(ring.mem, VHT_BASE, VHT_SIZE, &seg, 1), 1);
	tree.low = seg.addr;
	tree.high = seg.addr + seg.len;
	tree_clear();
	memset(&seen, 0, sizeof(seen));
	before = *ring.q;
}

/* What has to come out, chain by chain. */

struct want {
	struct vh_seg segs[CHAIN + 1];
	uint32_t n_rd, n_wr, head, places;
	bool writing; /* a writable one was there, if only an empty one */
};

static void *host(uint64_t gpa)
{
	struct vh_seg seg;

	return vht_translate(ring.mem, gpa, 1, &seg, 1) == 1 ? (void *)(uintptr_t)seg.addr : NULL;
}

static bool buffer(struct want *w, uint64_t addr, uint64_t second)
{
	const bool write = flags_of(second) & VHT_WRITE;
	const uint32_t len = (uint32_t)second;

	if (!write && w->writing)
		return false;
	w->writing = write;
	if (!len)
		return true;
	if (len > VHT_SIZE || addr < VHT_BASE || addr > VHT_BASE + VHT_SIZE - len || w->n_rd + w->n_wr == CHAIN)
		return false;
	w->segs[w->n_rd + w->n_wr] = (struct vh_seg){(uintptr_t)host(addr), len};
	*(write ? &w->n_wr : &w->n_rd) += 1;
	return true;
}

/* Descriptors in a table of their own. One that is copied is loaded once, whatever is looked at how often. */
static bool walk_table(struct want *w, uint64_t gpa, uint64_t second)
{
	const uint32_t size = (uint32_t)second / 16;
	uint64_t (*const value)(const volatile void *) = gpa == ODD ? tree_only : tree_value;
	const uint64_t *table = host(gpa);

	if (!(ring.opts.features & VHT_IND_DESC) || flags_of(second) & VHT_NEXT || !size || (uint32_t)second % 16 ||
	    size > CHAIN || !table)
		return false;
	for (uint32_t at = 0, n = 1;; n++) {
		const uint64_t one = value(table + 2 * at + 1);

		if (flags_of(one) & VHT_INDIRECT || !buffer(w, value(table + 2 * at), one))
			return false;
		if (vht_layout ? ++at == size : !(flags_of(one) & VHT_NEXT))
			return true;
		if (vht_layout)
			continue;
		at = other_of(one);
		if (at >= size || n == size)
			return false;
	}
}

/* first: the second word of the first descriptor, if it was looked at already. */
static bool walk(struct want *w, uint32_t at, uint32_t room, uint32_t *id, const uint64_t *first)
{
	for (;;) {
		uint64_t one;

		if (++w->places > room)
			return false;
		one = first ? *first : tree_value(descs + 2 * at + 1);
		first = NULL;
		*id = other_of(one);
		if (flags_of(one) & VHT_INDIRECT)
			return (!vht_layout || w->places == 1) && walk_table(w, tree_value(descs + 2 * at), one);
		if (!buffer(w, tree_value(descs + 2 * at), one))
			return false;
		if (!(flags_of(one) & VHT_NEXT))
			return true;
		at = vht_layout ? at + 1 : other_of(one);
		if (at >= ring.opts.num)
			return false;
	}
}

/* Chain k, after the one of that head. 1: there is one, 0: there is none, -1: it is refused. */
static int expect_split(struct want *w, uint32_t k, uint32_t busy)
{
	const uint32_t ready = (uint16_t)tree_only(&ring.avail->v[1]);
	uint32_t id;

	if (ready > ring.opts.num)
		return -1;
	if (ready <= k)
		return 0;
	w->head = (uint16_t)tree_value(&ring.avail->v[2 + k]);
	return w->head < ring.opts.num && w->head != busy && walk(w, w->head, ring.opts.num, &id, NULL) ? 1 : -1;
}

static int expect_packed(struct want *w, uint32_t at, uint32_t busy)
{
	const uint64_t first = tree_value(descs + 2 * at + 1);

	if ((flags_of(first) & (VHT_AVAIL | VHT_USED)) != VHT_AVAIL)
		return 0;
	return walk(w, at, ring.opts.num - at, &w->head, &first) && w->head < ring.opts.num && w->head != busy ? 1 : -1;
}

static void check(const struct vh_req *req, const struct want *w)
{
	assert_int_equal((uint32_t)req->token, w->head);
	assert_int_equal(req->n_rd, w->n_rd);
	assert_int_equal(req->n_wr, w->n_wr);
	assert_memory_equal((const void *)(uintptr_t)req->segs, w->segs, (w->n_rd + w->n_wr) * sizeof(w->segs[0]));
}

static void run(void)
{
	struct vh_req reqs[2];
	uint32_t n = 0, at = 0, busy = UINT32_MAX, unasked = 0;
	vh_count got;
	int rc = 0;

	tree_begin();
	got = vh_queue_pop(ring.q, reqs, most);
	tree_end();
	for (; n < most; n++) {
		struct want w = {.places = 0};

		rc = vht_layout ? expect_packed(&w, at, busy) : expect_split(&w, n, busy);
		/* What is refused need not have been loaded to the end. */
		if (tree.missing)
			rc = -1;
		if (rc < 1)
			break;
		assert_true(got > (vh_count)n);
		check(&reqs[n], &w);
		busy = w.head;
		at += w.places;
	}
	if (n || rc >= 0)
		assert_int_equal(got, n);
	else
		assert_true(got == -EPROTO || got == -EFAULT);
	if (rc < 0) {
		seen.refused++;
	} else {
		/* The next one of a packed ring is looked at in any case; a table that is copied is loaded whole. */
		if (vht_layout && n == most && tree_left(descs + 2 * at + 1))
			tree_value(descs + 2 * at + 1);
		for (uint32_t i = 0; i < tree.n_loads; i++)
			unasked += !tree.loads[i].asked && !((uintptr_t)tree.loads[i].at & 4);
		assert_int_equal(unasked, 0);
	}
	seen.popped += n;
	seen.none += !n && !rc;
	if (n) {
		assert_int_equal(vh_queue_unpop(ring.q, n), 0);
		assert_int_equal(ring.q->next_avail, before.next_avail);
	}
	if (got < 0)
		assert_int_equal(vh_queue_state(ring.q), VH_QUEUE_BROKEN);
	/* Nothing that a refused chain leaves behind counts: the queue is what it was. */
	*ring.q = before;
}

/* Descriptor i, which may go on at one of two others; chains of packed rings go on at the next place. */
static void choices(uint64_t *d, uint32_t i, uint32_t a, uint32_t b, uint32_t num, bool rich)
{
	const uint32_t marks = vht_layout ? VHT_AVAIL : 0, id = vht_layout ? i : 0;

	tree_add(d, VHT_DATA + 0x1000 * (i + 1));
	tree_add(d, OUTSIDE);
	tree_add(d, VHT_BASE + VHT_SIZE - 0x401);
	tree_add(d + 1, word(0x100 + i, marks, id));
	tree_add(d + 1, word(0x200 + i, marks | VHT_WRITE, id));
	tree_add(d + 1, word(0x300 + i, marks | VHT_NEXT, vht_layout ? num : a));
	tree_add(d + 1, word(0x400 + i, marks | VHT_NEXT | VHT_WRITE, a));
	tree_add(d + 1, word(0, marks | VHT_NEXT | VHT_WRITE, b));
	if (!rich)
		return;
	tree_add(d + 1, word(0x500 + i, marks | VHT_NEXT, vht_layout ? 0 : num));
	tree_add(d + 1, word(0x600 + i, VHT_WRITE | (vht_layout ? VHT_USED : 0x100), vht_layout ? num : 65535));
	tree_add(d + 1, word(0, marks, vht_layout ? num : 0));
	tree_add(d + 1, word(16, marks | VHT_INDIRECT, id));
	tree_add(d + 1, word(UINT32_MAX, marks, id));
}

static void finish(const char *what)
{
	print_message("%s: %llu runs so far; %llu popped, %llu refused, %llu times none\n", what,
		      (unsigned long long)tree.runs, (unsigned long long)seen.popped, (unsigned long long)seen.refused,
		      (unsigned long long)seen.none);
	assert_true(seen.popped > 10 && seen.refused > 10 && seen.none);
	vht_ring_free(&ring);
}

static void index_choices(uint32_t heads)
{
	if (vht_layout)
		return;
	for (uint32_t i = 0; i <= heads; i++)
		tree_add(&ring.avail->v[1], i);
	tree_add(&ring.avail->v[1], ring.opts.num + 1);
	tree_add(&ring.avail->v[1], 0xffff);
	for (uint32_t i = 0; i < heads; i++) {
		tree_add(&ring.avail->v[2 + i], i);
		tree_add(&ring.avail->v[2 + i], ring.opts.num);
		tree_add(&ring.avail->v[2 + i], heads - 1);
	}
}

static void chains_of_up_to_four(void **state)
{
	(void)state;
	start(vht_layout ? 6 : 4, 0);
	most = 1;
	index_choices(1);
	for (uint32_t i = 0; i < 4; i++)
		choices(descs + 2 * i, i, (i + 1) % 4, i < 2 ? i + 2 : 0, ring.opts.num, true);
	if (vht_layout) /* a fifth ends the chain, and the sixth is only looked at */
		tree_add(descs + 2 * 4 + 1, word(8, VHT_AVAIL, 1));
	tree_explore(run);
	finish("chains");
}

static void two_chains_in_one_call(void **state)
{
	(void)state;
	start(vht_layout ? 6 : 4, 0);
	most = 2;
	index_choices(2);
	if (vht_layout)
		for (uint32_t i = 0; i < 4; i++)
			choices(descs + 2 * i, i, 0, 1, ring.opts.num, i < 2);
	else
		for (uint32_t i = 0; i < 4; i++)
			choices(descs + 2 * i, i, i + 2, i + 2, ring.opts.num, i < 2);
	tree_explore(run);
	finish("two");
}

/* The first descriptor is a table, of several kinds, at one of two places. */
static void tables(uint32_t size, bool rich)
{
	const uint32_t marks = vht_layout ? VHT_AVAIL : 0;
	const uint64_t at[] = {TABLE, ODD};

	index_choices(1);
	tree_add(descs, TABLE);
	tree_add(descs, ODD);
	tree_add(descs, OUTSIDE);
	tree_add(descs + 1, word(16 * size, marks | VHT_INDIRECT, 0));
	tree_add(descs + 1, word(16 * size, marks | VHT_INDIRECT | VHT_WRITE, 0));
	tree_add(descs + 1, word(16 * size, marks | VHT_INDIRECT | VHT_NEXT, 1));
	tree_add(descs + 1, word(16 * size - 8, marks | VHT_INDIRECT, 0));
	tree_add(descs + 1, word(0, marks | VHT_INDIRECT, 0));
	tree_add(descs + 1, word(16 * (CHAIN + 1), marks | VHT_INDIRECT, 0));
	tree_add(descs + 1, word(64, marks | VHT_NEXT, 1));
	tree_add(descs + 1, word(64, VHT_USED, 1));
	tree_add(descs + 2, TABLE);
	tree_add(descs + 3, word(16 * size, marks | VHT_INDIRECT, 0));
	for (uint32_t k = 0; k < 2; k++)
		for (uint32_t i = 0; i < size; i++)
			choices((uint64_t *)host(at[k]) + 2 * i, i, (i + 1) % size, 0, size, rich);
}

static void indirect_tables_of_up_to_three(void **state)
{
	(void)state;
	for (uint32_t size = 1; size <= 3; size++) {
		start(4, VHT_IND_DESC);
		most = 1;
		tables(size, size < 3);
		tree_explore(run);
		finish("tables");
	}
}

/* What the driver wishes is loaded once for a push, and at most twice before a sleep something else. */
static void run_push(void)
{
	struct vh_req req;
	struct vh_cpl cpl = {.written = 5};

	vht_ring_reset(&ring);
	vht_chain(&ring, 0, 1, 1);
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), 1);
	cpl.token = req.token;
	tree_begin();
	assert_int_equal(vh_queue_push(ring.q, &cpl, 1), 0);
	tree_end();
	assert_true(tree.n_loads == 1);
	tree_begin();
	assert_in_range(vh_queue_arm(ring.q), VH_QUEUE_SLEEP, VH_QUEUE_MORE);
	tree_end();
	assert_in_range(tree.n_loads, 1, 2);
	assert_int_equal(vh_queue_disarm(ring.q), 0);
	seen.pushed++;
	vh_queue_free(ring.q);
	assert_int_equal(vht_ring_open(&ring), 0);
}

static void wishes_of_all_sorts(void **state)
{
	static const uint32_t values[] = {0, 1, 2, 3, 0xffff, 0x8000, 0x20000, 0x28000, 0x2ffff, 0x30000, 0xfffcfffc};

	(void)state;
	for (uint32_t k = 0; k < 2; k++) {
		start(4, k ? VHT_EVENT_IDX : 0);
		for (size_t i = 0; i < VHI_ARRAY_SIZE(values); i++) {
			if (vht_layout)
				tree_add(ring.avail, values[i]);
			else
				tree_add(k ? vht_used_event(&ring) : ring.avail, values[i] & 0xffff);
			if (i < 4)
				tree_add(vht_layout ? (void *)(descs + 2 * 2 + 1) : &ring.avail->v[1],
					 vht_layout ? word(8, values[i] << 7, 0) : values[i]);
		}
		tree_explore(run_push);
		assert_true(seen.pushed > 20);
		vht_ring_free(&ring);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_of_up_to_four),
		cmocka_unit_test(two_chains_in_one_call),
		cmocka_unit_test(indirect_tables_of_up_to_three),
		cmocka_unit_test(wishes_of_all_sorts),
	};

	return vht_run_layouts(tests);
}
