/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Where the segments of a request are put: in the row of its slot, in a block when there are more, and how many there may
 * be. A walk counts descriptors and room as one number, and looks again when it is used up; here it is used up everywhere.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_vring.h"

#define SITE(name) VHI_SITE_QUEUE_##name

static struct vht_ring ring = {.kick = -1, .call = -1};

static int teardown(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	ring = (struct vht_ring){.kick = -1, .call = -1};
	return 0;
}

static void open_ring(uint32_t num, uint32_t max_segs)
{
	vht_ring_free(&ring);
	vht_ring_prepare(&ring, num, VHT_IND_DESC);
	ring.opts.max_segs = max_segs;
	assert_int_equal(vht_ring_open(&ring), 0);
}

static uint64_t where(uint32_t i)
{
	return VHT_DATA + 0x100 * (uint64_t)i;
}

/* Descriptor i of n: every so-many-th one is empty (0 = none); the last third may be written to. */
static bool is_empty(uint32_t i, uint32_t empties)
{
	return empties && i % empties == empties - 1;
}

static uint32_t kind_of(uint32_t i, uint32_t n)
{
	return (i >= n - n / 3 ? VHT_WRITE : 0) | (i + 1 < n ? VHT_NEXT : 0);
}

static uint32_t len_of(uint32_t i, uint32_t empties)
{
	return is_empty(i, empties) ? 0 : i + 1;
}

static uint32_t count(uint32_t n, uint32_t empties)
{
	uint32_t k = 0;

	for (uint32_t i = 0; i < n; i++)
		k += !is_empty(i, empties);
	return k;
}

static void check_segs(const struct vh_req *req, uint32_t n, uint32_t empties)
{
	const struct vh_seg *seg = (const struct vh_seg *)(uintptr_t)req->segs;
	uint64_t rd_len = 0, wr_len = 0;
	uint32_t n_rd = 0, n_wr = 0;

	for (uint32_t i = 0; i < n; i++) {
		const bool wr = kind_of(i, n) & VHT_WRITE;

		if (is_empty(i, empties))
			continue;
		assert_int_equal(seg->addr, (uintptr_t)vht_host(&ring, where(i)));
		assert_int_equal(seg->len, i + 1);
		*(wr ? &wr_len : &rd_len) += i + 1;
		*(wr ? &n_wr : &n_rd) += 1;
		seg++;
	}
	assert_int_equal(req->n_rd, n_rd);
	assert_int_equal(req->n_wr, n_wr);
	assert_int_equal(req->rd_len, rd_len);
	assert_int_equal(req->wr_len, wr_len);
}

static void expect(uint32_t n, uint32_t empties, uint32_t max_segs)
{
	struct vh_req req;

	if (max_segs && count(n, empties) > max_segs) {
		vht_expect_break(&ring, -EPROTO, SITE(SEGS));
		return;
	}
	req = vht_pop1(&ring);
	check_segs(&req, n, empties);
	vht_push1(&ring, &req, UINT32_MAX);
	assert_int_equal(vht_used_len(&ring, vht_used_idx(&ring) - 1u), req.wr_len);
}

static void linked(uint32_t num, uint32_t n, uint32_t empties, uint32_t max_segs)
{
	open_ring(num, max_segs);
	/* More often than there are blocks of the larger size: they come back. */
	for (uint32_t k = 0; k < 12; k++) {
		for (uint32_t i = 0; i < n; i++)
			vht_put(&ring, i, where(i), len_of(i, empties), kind_of(i, n), i + 1);
		vht_offer(&ring, 0);
		expect(n, empties, max_segs);
		if (max_segs && count(n, empties) > max_segs)
			return;
	}
}

static void chains_of_every_length_come_out_whole(void **state)
{
	static const uint32_t sizes[] = {1, 2, 4, 16, 32, 256};
	static const uint32_t limits[] = {0, 1, 3, 15, 16, 17, 137};

	(void)state;
	for (size_t s = 0; s < VHI_ARRAY_SIZE(sizes); s++)
		for (size_t l = 0; l < VHI_ARRAY_SIZE(limits); l++)
			for (uint32_t n = 1; n <= sizes[s]; n += n > 34 && n < 130 ? 24 : n > 140 && n < 230 ? 30 : 1)
				for (uint32_t empties = 0; empties < 4; empties++)
					linked(sizes[s], n, empties, limits[l]);
}

/* Descriptors of the ring, then the rest in a table: in a split ring these may be mixed. */
static void in_a_table(uint32_t direct, uint32_t n, uint32_t empties, uint32_t max_segs)
{
	struct vht_desc *table;

	open_ring(32, max_segs);
	table = vht_host(&ring, VHT_DATA + 0x100000);
	for (uint32_t i = 0; i < direct; i++)
		vht_put(&ring, i, where(i), len_of(i, empties), kind_of(i, n), i + 1);
	for (uint32_t i = direct; i < n; i++)
		vht_table_set(&table[i - direct], where(i), len_of(i, empties), kind_of(i, n), i - direct + 1);
	vht_put(&ring, direct, VHT_DATA + 0x100000, 16 * (n - direct), VHT_INDIRECT, 0);
	vht_offer(&ring, 0);
	if (max_segs && count(direct, empties) <= max_segs && n - direct > max_segs)
		vht_expect_break(&ring, -EPROTO, SITE(INDIRECT_BIG));
	else
		expect(n, empties, max_segs);
}

static void a_table_goes_on_where_the_ring_stopped(void **state)
{
	static const uint32_t limits[] = {0, 15, 16, 17, 40};

	(void)state;
	for (size_t l = 0; l < VHI_ARRAY_SIZE(limits); l++)
		for (uint32_t direct = 0; direct < (vht_layout ? 1u : 20u); direct++)
			for (uint32_t n = direct + 1; n < direct + 36; n += n < direct + 18 ? 1 : 3)
				for (uint32_t empties = 0; empties < 4; empties += 2)
					in_a_table(direct, n, empties, limits[l]);
}

/* In a packed ring only the last descriptor's id counts; a wrong guess by the first one costs time, and nothing else. */
static void whatever_the_first_descriptor_says_the_last_one_names_the_chain(void **state)
{
	static const uint32_t lengths[] = {2, 3, 16, 17, 30};
	const uint32_t num = 64, busy = 9, mine = 5, other = 33;
	const uint16_t firsts[] = {mine, other, busy, num, UINT16_MAX};

	(void)state;
	if (!vht_layout)
		return;
	for (size_t l = 0; l < VHI_ARRAY_SIZE(lengths); l++) {
		for (size_t f = 0; f < VHI_ARRAY_SIZE(firsts); f++) {
			const uint32_t n = lengths[l];
			struct vh_req held, req;
			uint16_t at;

			open_ring(num, 0);
			vht_put(&ring, busy, where(0), 1, 0, 0);
			vht_offer(&ring, busy);
			held = vht_pop1(&ring);
			for (uint32_t i = 0; i < n; i++)
				vht_put(&ring, mine + i, where(i), i + 1, kind_of(i, n), mine + i + 1);
			at = ring.next & (uint16_t)~VHT_WRAP;
			vht_offer(&ring, mine);
			for (uint32_t i = 0; i + 1 < n; i++)
				ring.packed.ring[at + i].id = firsts[f];
			req = vht_pop1(&ring);
			assert_int_equal((uint32_t)req.token, mine);
			check_segs(&req, n, 0);
			check_segs(&held, 1, 0);
			vht_push1(&ring, &req, 0);
			vht_push1(&ring, &held, 0);
			assert_int_equal(vht_used_id(&ring, 0), mine);
		}
	}
}

/* The row of a free slot that a chain only seemed to be of is not spoilt for the one that it is of. */
static void a_wrong_guess_leaves_the_other_slot_as_it_was(void **state)
{
	struct vh_req first, second;
	uint16_t at;

	(void)state;
	if (!vht_layout)
		return;
	open_ring(8, 0);
	vht_put(&ring, 0, where(0), 1, VHT_NEXT, 1);
	vht_put(&ring, 1, where(1), 2, 0, 0);
	vht_put(&ring, 3, where(0), 1, 0, 0);
	at = ring.next & (uint16_t)~VHT_WRAP;
	vht_offer(&ring, 0);
	ring.packed.ring[at].id = 3;
	vht_offer(&ring, 3);
	first = vht_pop1(&ring);
	second = vht_pop1(&ring);
	assert_int_equal((uint32_t)first.token, 0);
	assert_int_equal((uint32_t)second.token, 3);
	check_segs(&first, 2, 0);
	check_segs(&second, 1, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(chains_of_every_length_come_out_whole, teardown),
		cmocka_unit_test_teardown(a_table_goes_on_where_the_ring_stopped, teardown),
		cmocka_unit_test_teardown(whatever_the_first_descriptor_says_the_last_one_names_the_chain, teardown),
		cmocka_unit_test_teardown(a_wrong_guess_leaves_the_other_slot_as_it_was, teardown),
	};

	return vht_run_layouts(tests);
}
