/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What a hostile driver puts into a ring: catalogue section G, at the queue. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_vring.h"

#define SITE(name)	      VHI_SITE_QUEUE_##name
#define EITHER(split, packed) vht_either(SITE(split), SITE(packed))

static struct vht_ring ring;

static int setup(void **state)
{
	(void)state;
	vht_ring_init(&ring, 8, VHT_IND_DESC);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	return 0;
}

static void reopen(uint32_t num, uint64_t features)
{
	vht_ring_free(&ring);
	vht_ring_init(&ring, num, features);
}

static const struct vh_seg *segs(const struct vh_req *req)
{
	return (const struct vh_seg *)(uintptr_t)req->segs;
}

static void case_110_base_far_from_the_available_index_breaks_at_the_first_pop(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	vht_ring_prepare(&ring, 8, 0);
	ring.opts.base = 1000;
	assert_int_equal(vht_ring_open(&ring), 0);
	vht_expect_break(&ring, -EPROTO, SITE(AVAIL_JUMP));
}

static void case_113_available_index_too_far_ahead_breaks(void **state)
{
	static const uint16_t ahead[] = {9, 10, 255, 256, 32767, 32768, 65535};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(ahead); i++) {
		reopen(8, 0);
		ring.avail->v[1] = ahead[i];
		vht_expect_break(&ring, -EPROTO, SITE(AVAIL_JUMP));
	}
}

static void case_114_available_index_that_goes_back_breaks(void **state)
{
	(void)state;
	vht_chain(&ring, 0, 1, 0);
	vht_chain(&ring, 1, 1, 0);
	vht_pop1(&ring);
	vht_pop1(&ring);
	ring.avail->v[1] = 1;
	vht_expect_break(&ring, -EPROTO, SITE(AVAIL_JUMP));
}

static void case_115_a_full_ring_is_not_an_empty_one(void **state)
{
	struct vh_req reqs[16];

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		vht_chain(&ring, i, 1, 0);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 16), 8);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal((uint32_t)reqs[i].token, i);
		assert_int_equal(reqs[i].flags, i == 7 ? VH_REQ_LAST : 0);
	}
}

static void case_116_head_outside_the_table_breaks(void **state)
{
	(void)state;
	vht_offer(&ring, 8);
	vht_expect_break(&ring, -EPROTO, EITHER(HEAD, ID));
	reopen(8, 0);
	vht_offer(&ring, 65535);
	vht_expect_break(&ring, -EPROTO, EITHER(HEAD, ID));
}

static void case_117_next_outside_the_table_breaks(void **state)
{
	(void)state;
	vht_put(&ring, 0, VHT_DATA, 64, VHT_NEXT, 8);
	vht_offer(&ring, 0);
	vht_expect_break(&ring, -EPROTO, SITE(NEXT));
}

static void case_118_loops_break(void **state)
{
	(void)state;
	vht_put(&ring, 0, VHT_DATA, 64, VHT_NEXT, 0);
	vht_offer(&ring, 0);
	vht_expect_break(&ring, -EPROTO, EITHER(LOOP, OVERRUN));

	reopen(8, 0);
	vht_put(&ring, 0, VHT_DATA, 64, VHT_NEXT, 1);
	vht_put(&ring, 1, VHT_DATA, 64, VHT_NEXT, 0);
	vht_offer(&ring, 0);
	vht_expect_break(&ring, -EPROTO, EITHER(LOOP, OVERRUN));

	reopen(8, 0);
	for (uint32_t i = 0; i < 8; i++)
		vht_put(&ring, i, VHT_DATA, 64, VHT_NEXT, (i + 1) % 8);
	vht_offer(&ring, 3);
	vht_expect_break(&ring, -EPROTO, EITHER(LOOP, OVERRUN));

	reopen(8, 0);
	vht_put(&ring, 0, VHT_DATA, 64, VHT_NEXT, 1);
	vht_put(&ring, 1, VHT_DATA, 64, VHT_NEXT, 2);
	vht_put(&ring, 2, VHT_DATA, 64, VHT_NEXT, 1);
	vht_offer(&ring, 0);
	vht_expect_break(&ring, -EPROTO, EITHER(LOOP, OVERRUN));
}

static void case_118_loop_of_empty_descriptors_breaks(void **state)
{
	(void)state;
	vht_put(&ring, 0, VHT_DATA, 0, VHT_NEXT, 0);
	vht_offer(&ring, 0);
	vht_expect_break(&ring, -EPROTO, EITHER(LOOP, OVERRUN));
}

static void case_119_chain_of_the_whole_table_is_fine(void **state)
{
	struct vh_req req;

	(void)state;
	vht_chain(&ring, 0, 3, 5);
	req = vht_pop1(&ring);
	assert_int_equal(req.n_rd, 3);
	assert_int_equal(req.n_wr, 5);
	assert_int_equal(req.rd_len, 3 * 64);
	assert_int_equal(req.wr_len, 5 * 64);
}

/* A table of n readable entries of 64 bytes at gpa, put at head. */
static struct vht_desc *stage_indirect(uint32_t head, uint64_t gpa, uint32_t n, uint32_t flags)
{
	struct vht_desc *table = vht_host(&ring, gpa);

	for (uint32_t i = 0; i < n; i++)
		vht_table_set(&table[i], VHT_DATA + 64 * i, 64, i + 1 < n ? VHT_NEXT : 0, i + 1);
	vht_put(&ring, head, gpa, 16 * n, VHT_INDIRECT | flags, 0);
	return table;
}

static struct vht_desc *indirect(uint32_t head, uint64_t gpa, uint32_t n, uint32_t flags)
{
	struct vht_desc *table = stage_indirect(head, gpa, n, flags);

	vht_offer(&ring, head);
	return table;
}

#define TABLE (VHT_DATA + 0x100000)

static void case_120_indirect_must_be_negotiated_and_last(void **state)
{
	(void)state;
	reopen(8, 0);
	indirect(0, TABLE, 2, 0);
	vht_expect_break(&ring, -EPROTO, SITE(INDIRECT_OFF));

	reopen(8, VHT_IND_DESC);
	indirect(0, TABLE, 2, VHT_NEXT);
	vht_expect_break(&ring, -EPROTO, SITE(INDIRECT_NEXT));
}

static void indirect_may_follow_plain_descriptors_in_a_split_ring_only(void **state)
{
	struct vh_req req;

	(void)state;
	stage_indirect(1, TABLE, 2, 0);
	vht_put(&ring, 0, VHT_DATA, 16, VHT_NEXT, 1);
	vht_offer(&ring, 0);
	if (vht_layout) {
		vht_expect_break(&ring, -EPROTO, SITE(INDIRECT_MIXED));
		return;
	}
	req = vht_pop1(&ring);
	assert_int_equal(req.n_rd, 3);
	assert_int_equal(req.n_wr, 0);
	assert_int_equal(req.rd_len, 16 + 2 * 64);
}

static void the_write_flag_of_an_indirect_descriptor_is_ignored(void **state)
{
	struct vh_req req;

	(void)state;
	indirect(1, TABLE, 2, VHT_WRITE);
	req = vht_pop1(&ring);
	assert_int_equal(req.n_rd, 2);
	assert_int_equal(req.n_wr, 0);
}

static void case_121_indirect_in_an_indirect_table_breaks(void **state)
{
	struct vht_desc *table = indirect(0, TABLE, 2, 0);

	(void)state;
	vht_table_set(&table[1], TABLE, 32, VHT_INDIRECT, 0);
	vht_expect_break(&ring, -EPROTO, SITE(INDIRECT_NESTED));
}

static void case_122_wrong_lengths_of_an_indirect_table_break(void **state)
{
	static const uint32_t lens[] = {0, 1, 15, 17, 0xfffffff1};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(lens); i++) {
		reopen(8, VHT_IND_DESC);
		stage_indirect(0, TABLE, 2, 0);
		ring.desc[0].len = lens[i];
		vht_offer(&ring, 0);
		vht_expect_break(&ring, -EPROTO, SITE(INDIRECT_LEN));
	}
	reopen(8, VHT_IND_DESC);
	stage_indirect(0, TABLE, 2, 0);
	ring.desc[0].len = 0xfffffff0;
	vht_offer(&ring, 0);
	vht_expect_break(&ring, -EPROTO, SITE(INDIRECT_BIG));
}

static void case_123_long_indirect_tables_are_bounded(void **state)
{
	struct vh_req req;

	(void)state;
	indirect(0, TABLE, 9, 0);
	req = vht_pop1(&ring);
	assert_int_equal(req.n_rd, 9);
	vht_push1(&ring, &req, 0);
	indirect(0, TABLE, 1024, 0);
	req = vht_pop1(&ring);
	assert_int_equal(req.n_rd, 1024);
	assert_int_equal(segs(&req)[1023].addr, (uintptr_t)vht_host(&ring, VHT_DATA + 64 * 1023));
	vht_push1(&ring, &req, 0);
	indirect(0, TABLE, 1025, 0);
	vht_expect_break(&ring, -EPROTO, SITE(INDIRECT_BIG));

	reopen(8, VHT_IND_DESC);
	indirect(0, TABLE, 65536, 0);
	vht_expect_break(&ring, -EPROTO, SITE(INDIRECT_BIG));
}

/* Two more regions, adjacent in guest addresses and not in ours, behind a hole. */
#define LOW  (VHT_BASE + VHT_SIZE + 0x100000)
#define HIGH (LOW + 0x10000)

static void add_regions(uint32_t num)
{
	vht_ring_free(&ring);
	vht_ring_prepare(&ring, num, VHT_IND_DESC);
	assert_int_equal(vh_mem_alloc(ring.mem, HIGH, 0x10000, 0), 0);
	assert_int_equal(vh_mem_alloc(ring.mem, LOW, 0x10000, 0), 0);
	assert_int_equal(vht_ring_open(&ring), 0);
}

static void put_table_across(uint64_t gpa, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct vht_desc d;

		vht_table_set(&d, VHT_DATA + 64 * i, 10 + i, i + 1 < n ? VHT_NEXT : 0, i + 1);
		for (uint32_t b = 0; b < sizeof(d); b++)
			*(char *)vht_host(&ring, gpa + 16 * i + b) = ((char *)&d)[b];
	}
	vht_put(&ring, 0, gpa, 16 * n, VHT_INDIRECT, 0);
	vht_offer(&ring, 0);
}

static void case_124_indirect_table_at_the_end_of_a_region_across_two_and_into_a_hole(void **state)
{
	static const uint64_t at[] = {HIGH + 0x10000 - 64, HIGH - 32, HIGH - 24, HIGH - 17, LOW + 4};
	struct vh_req req;

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(at); i++) {
		add_regions(8);
		put_table_across(at[i], 4);
		req = vht_pop1(&ring);
		assert_int_equal(req.n_rd, 4);
		for (uint32_t k = 0; k < 4; k++) {
			assert_int_equal(segs(&req)[k].addr, (uintptr_t)vht_host(&ring, VHT_DATA + 64 * k));
			assert_int_equal(segs(&req)[k].len, 10 + k);
		}
	}
	vht_put(&ring, 1, HIGH + 0x10000 - 32, 64, VHT_INDIRECT, 0);
	vht_offer(&ring, 1);
	vht_expect_break(&ring, -EFAULT, SITE(INDIRECT_FAULT));
}

static void case_125_indirect_table_that_is_its_own_buffer_is_fine(void **state)
{
	struct vht_desc *table = indirect(0, TABLE, 1, 0);
	struct vh_req req;

	(void)state;
	vht_table_set(&table[0], TABLE, 16, VHT_WRITE, 0);
	req = vht_pop1(&ring);
	assert_int_equal(segs(&req)[0].addr, (uintptr_t)table);
	memset((void *)(uintptr_t)segs(&req)[0].addr, 0xff, 16);
	vht_push1(&ring, &req, 16);
	assert_int_equal(vht_used_len(&ring, 0), 16);
}

static void case_126_next_and_loops_inside_an_indirect_table_break(void **state)
{
	struct vht_desc *table = indirect(0, TABLE, 4, 0);

	(void)state;
	table[1].next = 4;
	vht_expect_break(&ring, -EPROTO, SITE(NEXT));

	reopen(8, VHT_IND_DESC);
	table = indirect(0, TABLE, 4, 0);
	table[3].flags = VHT_NEXT;
	table[3].next = 1;
	vht_expect_break(&ring, -EPROTO, EITHER(LOOP, OVERRUN));
}

static void case_127_empty_descriptors_are_left_out(void **state)
{
	struct vh_req req;

	(void)state;
	for (uint32_t empty = 0; empty < 4; empty++) {
		reopen(8, 0);
		vht_stage(&ring, 0, 2, 2);
		ring.desc[empty].len = 0;
		vht_offer(&ring, 0);
		req = vht_pop1(&ring);
		assert_int_equal(req.n_rd, empty < 2 ? 1 : 2);
		assert_int_equal(req.n_wr, empty < 2 ? 2 : 1);
		vht_push1(&ring, &req, 1);
	}
	reopen(8, 0);
	vht_stage(&ring, 0, 2, 2);
	for (uint32_t i = 0; i < 4; i++)
		ring.desc[i].len = 0;
	vht_offer(&ring, 0);
	req = vht_pop1(&ring);
	assert_int_equal(req.n_rd + req.n_wr, 0);
	vht_push1(&ring, &req, 1);
	assert_int_equal(vht_used_len(&ring, 0), 0);
}

static void case_128_buffers_outside_memory_break(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
	} bad[] = {
		{UINT64_MAX - 15, 16},	  {UINT64_MAX - 15, 32},	{UINT64_MAX, 0xffffffff}, {0, 1},
		{VHT_BASE + VHT_SIZE, 1}, {VHT_BASE + VHT_SIZE - 1, 2}, {VHT_BASE - 1, 1},	  {VHT_BASE - 1, 2},
		{VHT_BASE, 0xffffffff},
	};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++) {
		reopen(8, 0);
		vht_put(&ring, 0, bad[i].addr, bad[i].len, 0, 0);
		vht_offer(&ring, 0);
		vht_expect_break(&ring, -EFAULT, SITE(FAULT));
	}
	reopen(8, 0);
	vht_put(&ring, 0, VHT_BASE + VHT_SIZE - 1, 1, 0, 0);
	vht_offer(&ring, 0);
	vht_pop1(&ring);
}

static void case_129_lengths_are_added_in_64_bits(void **state)
{
	struct vh_req req;

	(void)state;
	reopen(8, 0);
	vht_ring_free(&ring);
	vht_ring_prepare(&ring, 8, 0);
	assert_int_equal(vh_mem_alloc(ring.mem, UINT64_C(1) << 40, UINT64_C(1) << 32, 0), 0);
	assert_int_equal(vht_ring_open(&ring), 0);
	vht_put(&ring, 0, UINT64_C(1) << 40, 0xffffffff, VHT_NEXT, 1);
	vht_put(&ring, 1, UINT64_C(1) << 40, 0xffffffff, VHT_NEXT, 2);
	vht_put(&ring, 2, UINT64_C(1) << 40, 0xffffffff, VHT_NEXT | VHT_WRITE, 3);
	vht_put(&ring, 3, UINT64_C(1) << 40, 0xffffffff, VHT_WRITE, 0);
	vht_offer(&ring, 0);
	req = vht_pop1(&ring);
	assert_int_equal(req.rd_len, UINT64_C(2) * 0xffffffff);
	assert_int_equal(req.wr_len, UINT64_C(2) * 0xffffffff);
	vht_push1(&ring, &req, 0xffffffff);
	assert_int_equal(vht_used_len(&ring, 0), 0xffffffff);
}

static void case_130_buffers_across_regions_are_split(void **state)
{
	struct vh_req req;

	(void)state;
	add_regions(8);
	vht_put(&ring, 0, HIGH - 100, 300, VHT_WRITE, 0);
	vht_offer(&ring, 0);
	req = vht_pop1(&ring);
	assert_int_equal(req.n_wr, 2);
	assert_int_equal(segs(&req)[0].addr, (uintptr_t)vht_host(&ring, HIGH - 100));
	assert_int_equal(segs(&req)[0].len, 100);
	assert_int_equal(segs(&req)[1].addr, (uintptr_t)vht_host(&ring, HIGH));
	assert_int_equal(segs(&req)[1].len, 200);
	assert_int_equal(req.wr_len, 300);
}

/* Wherever the block of segments ends: one buffer for each segment, and a last one that needs two. */
static void case_130_a_buffer_in_two_pieces_at_the_end_of_a_block(void **state)
{
	struct vh_req req;

	(void)state;
	add_regions(256);
	for (uint32_t n = 1; n < 256; n++) {
		for (uint32_t i = 0; i < n; i++)
			vht_put(&ring, i, VHT_DATA, 64, VHT_NEXT, i + 1);
		vht_put(&ring, n, HIGH - 100, 300, 0, 0);
		vht_offer(&ring, 0);
		req = vht_pop1(&ring);
		assert_int_equal(req.n_rd, n + 2);
		assert_int_equal(req.rd_len, 64 * n + 300);
		vht_push1(&ring, &req, 0);
	}
}

static void case_130_more_segments_than_the_queue_allows_break(void **state)
{
	struct vh_req req;

	(void)state;
	for (uint32_t max = 1; max <= 40; max += 13) {
		vht_ring_free(&ring);
		vht_ring_prepare(&ring, 64, 0);
		ring.opts.max_segs = max;
		assert_int_equal(vht_ring_open(&ring), 0);
		vht_chain(&ring, 0, max, 0);
		req = vht_pop1(&ring);
		assert_int_equal(req.n_rd, max);
		vht_push1(&ring, &req, 0);
		vht_chain(&ring, 0, max + 1, 0);
		vht_expect_break(&ring, -EPROTO, SITE(SEGS));
	}
}

static void case_131_readable_after_writable_breaks(void **state)
{
	(void)state;
	vht_put(&ring, 0, VHT_DATA, 64, VHT_WRITE | VHT_NEXT, 1);
	vht_put(&ring, 1, VHT_DATA, 64, 0, 0);
	vht_offer(&ring, 0);
	vht_expect_break(&ring, -EPROTO, SITE(ORDER));
}

static void case_132_one_buffer_for_everything_is_fine(void **state)
{
	struct vh_req req;

	(void)state;
	vht_stage(&ring, 0, 4, 4);
	for (uint32_t i = 0; i < 8; i++)
		ring.desc[i].addr = VHT_DATA;
	vht_offer(&ring, 0);
	req = vht_pop1(&ring);
	assert_int_equal(req.n_rd, 4);
	assert_int_equal(req.n_wr, 4);
	vht_push1(&ring, &req, 64);
}

static void case_133_a_head_that_is_in_flight_breaks(void **state)
{
	(void)state;
	vht_chain(&ring, 0, 1, 1);
	vht_pop1(&ring);
	vht_offer(&ring, 0);
	vht_expect_break(&ring, -EPROTO, EITHER(HEAD_BUSY, ID_BUSY));
}

static void case_136_the_driver_changes_descriptors_after_pop(void **state)
{
	struct vh_req req;

	(void)state;
	vht_chain(&ring, 2, 1, 1);
	req = vht_pop1(&ring);
	vht_put(&ring, 2, 0, 0, VHT_WRITE, 99);
	vht_put(&ring, 3, 0, 7, 0, 99);
	if (vht_layout)
		memset(ring.packed.ring, 0xff, 2 * sizeof(*ring.packed.ring));
	else
		ring.avail->v[2] = 5;
	vht_push1(&ring, &req, 64);
	assert_int_equal(vht_used_id(&ring, 0), 2);
	assert_int_equal(vht_used_len(&ring, 0), 64);
}

static void case_137_written_is_clamped_to_the_writable_bytes(void **state)
{
	struct vh_req req;

	(void)state;
	vht_chain(&ring, 0, 1, 2);
	req = vht_pop1(&ring);
	vht_push1(&ring, &req, 0xffffffff);
	assert_int_equal(vht_used_len(&ring, 0), 128);
	vht_chain(&ring, 0, 1, 2);
	req = vht_pop1(&ring);
	vht_push1(&ring, &req, 127);
	assert_int_equal(vht_used_len(&ring, 1), 127);
}

static void case_138_reserved_flags_are_ignored(void **state)
{
	struct vh_req req;

	(void)state;
	vht_put(&ring, 0, VHT_DATA, 64, 0xfff8 | VHT_WRITE, 99);
	vht_offer(&ring, 0);
	ring.avail->v[0] = 0xfffe;
	req = vht_pop1(&ring);
	assert_int_equal(req.n_wr, 1);
	vht_push1(&ring, &req, 0);
}

static void case_139_a_pop_takes_no_more_than_it_was_asked_for(void **state)
{
	struct vh_req reqs[3];

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		vht_chain(&ring, i, 1, 0);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 3), 3);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 3), 3);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 3), 2);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 3), 0);
}

static void case_140_chain_without_writable_bytes_completes_with_0(void **state)
{
	struct vh_req req;

	(void)state;
	vht_chain(&ring, 0, 2, 0);
	req = vht_pop1(&ring);
	assert_int_equal(req.wr_len, 0);
	vht_push1(&ring, &req, 1);
	assert_int_equal(vht_used_len(&ring, 0), 0);
}

static void case_141_a_device_that_never_completes_gets_nothing_new(void **state)
{
	struct vh_req reqs[8];

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		vht_chain(&ring, i, 1, 0);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 8), 8);
	vht_offer(&ring, 0);
	vht_expect_break(&ring, -EPROTO, EITHER(HEAD_BUSY, OVERRUN));
}

static void good_requests_before_a_bad_one_are_returned_first(void **state)
{
	struct vh_req reqs[4];
	struct vh_cpl cpls[2];

	(void)state;
	vht_chain(&ring, 0, 1, 0);
	vht_chain(&ring, 1, 1, 0);
	vht_offer(&ring, 100);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 4), 2);
	assert_int_equal(reqs[1].flags, VH_REQ_LAST);
	for (uint32_t i = 0; i < 2; i++)
		cpls[i] = (struct vh_cpl){.token = reqs[i].token};
	assert_int_equal(vh_queue_push(ring.q, &cpls[0], 1), 0);
	vht_expect_break(&ring, -EPROTO, EITHER(HEAD, ID));
	/* A broken queue publishes nothing, but what is in flight ends. */
	assert_int_equal(vh_queue_push(ring.q, &cpls[1], 1), -EPROTO);
	assert_int_equal(vht_used_idx(&ring), 1);
	assert_int_equal(vhi_queue_in_flight(ring.q), 0);
	assert_int_equal(vh_queue_push(ring.q, &cpls[1], 1), -EINVAL);
}

static void a_broken_queue_reports_the_first_unprocessed_entry_when_it_stops(void **state)
{
	uint32_t base = 99;

	(void)state;
	vht_chain(&ring, 0, 1, 0);
	vht_chain(&ring, 1, 1, 0);
	vht_offer(&ring, 100);
	struct vh_req a = vht_pop1(&ring), b = vht_pop1(&ring);

	vht_push1(&ring, &a, 0);
	vht_push1(&ring, &b, 0);
	vht_expect_break(&ring, -EPROTO, EITHER(HEAD, ID));
	assert_int_equal(vh_queue_stop(ring.q, &base), 0);
	assert_int_equal(base, vht_base(&ring, 2));
	assert_int_equal(vh_queue_state(ring.q), VH_QUEUE_STOPPED);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest split[] = {
		CASE(case_110_base_far_from_the_available_index_breaks_at_the_first_pop),
		CASE(case_113_available_index_too_far_ahead_breaks),
		CASE(case_114_available_index_that_goes_back_breaks),
		CASE(case_117_next_outside_the_table_breaks),
		CASE(case_126_next_and_loops_inside_an_indirect_table_break),
	};
	const struct CMUnitTest tests[] = {
		CASE(case_115_a_full_ring_is_not_an_empty_one),
		CASE(case_116_head_outside_the_table_breaks),
		CASE(case_118_loops_break),
		CASE(case_118_loop_of_empty_descriptors_breaks),
		CASE(case_119_chain_of_the_whole_table_is_fine),
		CASE(case_120_indirect_must_be_negotiated_and_last),
		CASE(indirect_may_follow_plain_descriptors_in_a_split_ring_only),
		CASE(the_write_flag_of_an_indirect_descriptor_is_ignored),
		CASE(case_121_indirect_in_an_indirect_table_breaks),
		CASE(case_122_wrong_lengths_of_an_indirect_table_break),
		CASE(case_123_long_indirect_tables_are_bounded),
		CASE(case_124_indirect_table_at_the_end_of_a_region_across_two_and_into_a_hole),
		CASE(case_125_indirect_table_that_is_its_own_buffer_is_fine),
		CASE(case_127_empty_descriptors_are_left_out),
		CASE(case_128_buffers_outside_memory_break),
		CASE(case_129_lengths_are_added_in_64_bits),
		CASE(case_130_buffers_across_regions_are_split),
		CASE(case_130_a_buffer_in_two_pieces_at_the_end_of_a_block),
		CASE(case_130_more_segments_than_the_queue_allows_break),
		CASE(case_131_readable_after_writable_breaks),
		CASE(case_132_one_buffer_for_everything_is_fine),
		CASE(case_133_a_head_that_is_in_flight_breaks),
		CASE(case_136_the_driver_changes_descriptors_after_pop),
		CASE(case_137_written_is_clamped_to_the_writable_bytes),
		CASE(case_138_reserved_flags_are_ignored),
		CASE(case_139_a_pop_takes_no_more_than_it_was_asked_for),
		CASE(case_140_chain_without_writable_bytes_completes_with_0),
		CASE(case_141_a_device_that_never_completes_gets_nothing_new),
		CASE(good_requests_before_a_bad_one_are_returned_first),
		CASE(a_broken_queue_reports_the_first_unprocessed_entry_when_it_stops),
	};

	int failed = vht_run_layouts(tests);

	vht_layout = 0;
	return failed + cmocka_run_group_tests(split, NULL, NULL);
}
