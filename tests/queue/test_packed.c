/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What only a packed ring has, on the device side: catalogue section H, at the queue. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_packed.h"

#include <stdlib.h>

#define SITE(name) VHI_SITE_QUEUE_##name
#define AT(i)	   ((i) | VHT_WRAP)	       /* a position in the first turn, and later in every other one */
#define BASE(a, u) ((uint32_t)(u) << 16 | (a)) /* taking and publishing go on there */

static struct vht_ring ring;

static int setup(void **state)
{
	(void)state;
	vht_layout = VHT_PACKED;
	vht_ring_prepare(&ring, 5, VHT_IND_DESC);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	return 0;
}

static void open_at(uint32_t base)
{
	vh_queue_free(ring.q);
	ring.q = NULL;
	ring.opts.base = base;
	memset(vht_host(&ring, ring.opts.desc), 0, 16 * ring.opts.num);
	assert_int_equal(vht_ring_open(&ring), 0);
}

static void reopen(uint32_t num, uint64_t features, bool fds)
{
	vht_ring_free(&ring);
	if (fds)
		vht_ring_init_fds(&ring, num, features);
	else
		vht_ring_init(&ring, num, features);
}

/* One chain of so many descriptors, popped and pushed. */
static void one(uint32_t head, uint32_t n)
{
	struct vh_req req;

	vht_chain(&ring, head, n - 1, 1);
	req = vht_pop1(&ring);
	assert_int_equal((uint32_t)req.token, head);
	assert_int_equal(req.n_rd + req.n_wr, n);
	vht_push1(&ring, &req, head + 1);
}

static void case_143_taking_goes_on_at_any_base_and_ends_at_another(void **state)
{
	uint32_t base;

	(void)state;
	for (uint32_t at = 0; at < 5; at++) {
		for (uint32_t wrap = 0; wrap <= VHT_WRAP; wrap += VHT_WRAP) {
			for (uint32_t n = 0; n < 12; n++) {
				open_at(BASE(at | wrap, at | wrap));
				for (uint32_t i = 0; i < n; i++)
					one(i % 4, 1);
				assert_int_equal(vht_used_idx(&ring), n);
				assert_int_equal(vh_queue_stop(ring.q, &base), 0);
				assert_int_equal(base, vht_base(&ring, n));
				assert_int_equal(base & 0xffff, base >> 16);
			}
		}
	}
}

static void case_143_a_base_outside_of_the_ring_is_refused(void **state)
{
	static const struct {
		uint32_t base;
		bool good;
	} bases[] = {
		{BASE(AT(4), AT(4)), true},
		{BASE(AT(5), AT(4)), false},
		{BASE(AT(4), AT(5)), false},
		{BASE(5, 5), false},
		{BASE(AT(0x7fff), AT(0)), false},
		{BASE(0xffff, 0xffff), false},
		/* All of the ring lies between the two, and one more. */
		{BASE(3, AT(3)), true},
		{BASE(4, AT(3)), false},
		{BASE(AT(3), 3), true},
		{BASE(AT(4), 3), false},
		/* Publishing is never ahead of taking. */
		{BASE(AT(2), AT(3)), false},
	};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bases); i++) {
		ring.opts.base = bases[i].base;
		assert_int_equal(vht_ring_open(&ring), bases[i].good ? 0 : -EINVAL);
		if (!bases[i].good)
			assert_int_equal(vht_ring_site(), SITE(BASE_PACKED));
		vh_queue_free(ring.q);
		ring.q = NULL;
	}
}

static void what_was_taken_before_the_start_stays_taken(void **state)
{
	struct vh_req req;
	uint32_t base;

	(void)state;
	open_at(BASE(1, AT(4))); /* two descriptors, across the end of the ring */
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), 0);
	vht_chain(&ring, 2, 1, 1);
	req = vht_pop1(&ring);
	vht_push1(&ring, &req, 7);
	/* Used where publishing stands, not where it was taken. */
	assert_int_equal(ring.packed.ring[4].id, 2);
	assert_int_equal(ring.packed.ring[4].len, 7);
	assert_int_equal(ring.packed.ring[4].flags, VHT_AVAIL | VHT_USED | VHT_WRITE);
	/* There is room for the rest of the ring, and no more. */
	vht_chain(&ring, 0, 3, 0);
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), 1);
	assert_int_equal(vh_queue_unpop(ring.q, 1), 0);
	assert_int_equal(vh_queue_stop(ring.q, &base), 0);
	assert_int_equal(base, BASE(3, 1));
	open_at(BASE(1, AT(4)));
	vht_chain(&ring, 0, 4, 0);
	vht_expect_break(&ring, -EPROTO, SITE(OVERRUN));
}

static void case_144_chains_wrap_around_the_end_of_the_ring(void **state)
{
	(void)state;
	open_at(ring.opts.base);
	for (uint32_t i = 0; i < 200; i++)
		one(0, 1 + i * 7 % 5);
	assert_int_equal(vht_used_idx(&ring), 200);
	for (uint32_t i = 0; i < 200; i++) {
		assert_int_equal(vht_used_id(&ring, i), 0);
		assert_int_equal(vht_used_len(&ring, i), 1);
	}
}

static void case_147_only_one_state_of_the_marks_is_available(void **state)
{
	static const uint16_t not [] = {0, VHT_USED, VHT_AVAIL | VHT_USED};
	struct vh_req req;

	(void)state;
	open_at(ring.opts.base);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(not ); i++) {
		ring.packed.ring[0] = (struct vht_pdesc){VHT_DATA, 16, 1, not [i]};
		assert_int_equal(vh_queue_pop(ring.q, &req, 1), 0);
		assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	}
	ring.packed.ring[0].flags = VHT_AVAIL;
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_MORE);
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), 1);
	/* After a turn it is the opposite one. */
	open_at(BASE(0, 0));
	ring.packed.ring[0] = (struct vht_pdesc){VHT_DATA, 16, 1, VHT_AVAIL};
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), 0);
	ring.packed.ring[0].flags = VHT_USED;
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), 1);
}

static void case_149_the_areas_end_where_memory_ends(void **state)
{
	const uint64_t end = VHT_BASE + VHT_SIZE;
	const struct vh_queue_opts good = ring.opts;

	(void)state;
	for (uint32_t which = 0; which < 3; which++) {
		vh_gpa *at = which == 0 ? &ring.opts.desc : which == 1 ? &ring.opts.driver : &ring.opts.device;

		*at = which ? end - 4 : end - 5 * 16;
		assert_int_equal(vht_ring_open(&ring), 0);
		for (uint32_t i = 0; i < 25; i++)
			one(i % 5, 1);
		vh_queue_free(ring.q);
		ring.q = NULL;
		*at += which ? 4 : 16;
		assert_int_equal(vht_ring_open(&ring), -EFAULT);
		assert_int_equal(vht_ring_site(), SITE(AREA));
		ring.opts = good;
	}
}

/* So many pushes of one descriptor each; is the driver told? */
static bool told(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		vht_chain(&ring, ring.offered % ring.opts.num, 0, 1);
	struct vh_req reqs[8];
	struct vh_cpl cpls[8];

	assert_int_equal(vh_queue_pop(ring.q, reqs, 8), n);
	for (uint32_t i = 0; i < n; i++)
		cpls[i] = (struct vh_cpl){.token = reqs[i].token};
	assert_int_equal(vh_queue_push(ring.q, cpls, n), 0);
	return vht_drain(ring.call);
}

static void set_event(uint32_t area_flags, uint32_t pos)
{
	ring.avail->v[0] = (uint16_t)pos;
	ring.avail->v[1] = (uint16_t)area_flags;
}

static void case_150_a_wish_that_makes_no_sense_is_a_wish(void **state)
{
	(void)state;
	for (uint32_t idx = 0; idx < 2; idx++) {
		reopen(7, idx ? VHT_EVENT_IDX : 0, true);
		assert_true(told(1)); /* the first one, always */
		set_event(VHI_EVENT_NEVER, 0);
		assert_false(told(1));
		set_event(VHI_EVENT_ALWAYS, 0);
		assert_true(told(1));
		set_event(3, 0);
		assert_true(told(1));
		set_event(0xfffc | VHI_EVENT_NEVER, 0x1234); /* reserved bits */
		assert_false(told(1));
		set_event(VHI_EVENT_AT, 7); /* no such descriptor */
		assert_true(told(1));
		set_event(VHI_EVENT_AT, AT(0x7fff));
		assert_true(told(1));
		/* Where no event index was negotiated, a position says nothing. */
		set_event(VHI_EVENT_AT, AT(6));
		assert_int_equal(told(1), !idx);
	}
}

static void case_152_an_event_is_told_when_it_is_passed(void **state)
{
	(void)state;
	for (uint32_t num = 1; num <= 7; num += 2) {
		reopen(num, VHT_EVENT_IDX, true);
		told(1);
		for (uint32_t round = 0; round < 2000; round++) {
			const uint32_t n = 1 + round % num, ahead = (uint32_t)rand() % (2 * num);
			const uint16_t old = (uint16_t)(ring.q->next_used);

			set_event(VHI_EVENT_AT, packed_on(num, packed_on(num, old, ahead / 2), ahead - ahead / 2));
			assert_int_equal(told(n), ahead < n);
		}
	}
}

static void positions_are_counted_right(void **state)
{
	(void)state;
	for (uint32_t num = 1; num < 9; num++) {
		for (uint32_t a = 0; a < 2 * num; a++) {
			uint16_t pos = (uint16_t)(a % num | (a / num ? 0 : VHT_WRAP)), to = pos;

			for (uint32_t n = 0; n < 2 * num; n++) {
				assert_int_equal(packed_between(num, pos, to), n);
				if (n <= num) {
					assert_int_equal(packed_on(num, pos, n), to);
					assert_int_equal(packed_back(num, to, n), pos);
				}
				to = (uint16_t)(packed_at(to) + 1 < num ? to + 1u : (to & VHT_WRAP) ^ VHT_WRAP);
			}
			assert_int_equal(to, pos);
		}
	}
	assert_int_equal(packed_on(32768, AT(32767), 1), 0);
	assert_int_equal(packed_on(32768, 0, 32768), AT(0));
	assert_int_equal(packed_back(32768, 0, 32768), AT(0));
	assert_int_equal(packed_between(32768, AT(0), 32767), 65535);
}

static void arming_writes_the_position_or_the_flag(void **state)
{
	(void)state;
	for (uint32_t idx = 0; idx < 2; idx++) {
		reopen(7, idx ? VHT_EVENT_IDX : 0, true);
		assert_int_equal(ring.used->v[1], idx ? VHI_EVENT_AT : VHI_EVENT_ALWAYS);
		told(5);
		assert_int_equal(vh_queue_disarm(ring.q), 0);
		assert_int_equal(ring.used->v[1], VHI_EVENT_NEVER);
		assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
		assert_int_equal(ring.used->v[0], idx ? AT(5) : 0);
		assert_int_equal(ring.used->v[1], idx ? VHI_EVENT_AT : VHI_EVENT_ALWAYS);
		told(4);
		assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
		assert_int_equal(ring.used->v[0], idx ? 2 : 0);
	}
}

static void case_146_buffer_ids_are_checked(void **state)
{
	static const uint32_t bad[] = {5, 6, 255, 32768, 65535};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++) {
		open_at(BASE(AT(0), AT(0)));
		vht_offer(&ring, bad[i]);
		vht_expect_break(&ring, -EPROTO, SITE(ID));
	}
	/* And where all descriptors of a chain say so. */
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++) {
		open_at(BASE(AT(0), AT(0)));
		ring.packed.ring[1] = (struct vht_pdesc){VHT_DATA, 16, (uint16_t)bad[i], VHT_AVAIL};
		ring.packed.ring[0] = (struct vht_pdesc){VHT_DATA, 16, (uint16_t)bad[i], VHT_AVAIL | VHT_NEXT};
		vht_expect_break(&ring, -EPROTO, SITE(ID));
	}
	open_at(BASE(AT(0), AT(0)));
	vht_chain(&ring, 1, 0, 1);
	vht_chain(&ring, 0, 0, 1);
	vht_pop1(&ring);
	vht_pop1(&ring);
	vht_offer(&ring, 1);
	vht_expect_break(&ring, -EPROTO, SITE(ID_BUSY));
}

static void the_id_is_the_one_of_the_last_descriptor(void **state)
{
	struct vh_req req;

	(void)state;
	open_at(ring.opts.base);
	ring.packed.ring[2] = (struct vht_pdesc){VHT_DATA, 16, 3, VHT_AVAIL | VHT_WRITE};
	ring.packed.ring[1] = (struct vht_pdesc){VHT_DATA, 16, 0xffff, VHT_AVAIL | VHT_NEXT};
	ring.packed.ring[0] = (struct vht_pdesc){VHT_DATA, 16, 0xffff, VHT_AVAIL | VHT_NEXT};
	req = vht_pop1(&ring);
	assert_int_equal((uint32_t)req.token, 3);
	assert_int_equal(req.n_rd, 2);
	assert_int_equal(req.n_wr, 1);
	vht_push1(&ring, &req, 0);
	/* Without WRITE when nothing was written, and in one place for the whole chain. */
	assert_int_equal(ring.packed.ring[0].id, 3);
	assert_int_equal(ring.packed.ring[0].flags, VHT_AVAIL | VHT_USED);
	assert_int_equal(ring.packed.ring[1].flags, VHT_AVAIL | VHT_NEXT);
	assert_int_equal(ring.q->next_used, AT(3));
}

static void a_chain_must_not_reach_into_what_is_in_flight(void **state)
{
	struct vh_req req;

	(void)state;
	open_at(ring.opts.base);
	vht_chain(&ring, 0, 2, 0);
	vht_pop1(&ring);
	vht_chain(&ring, 1, 3, 0);
	vht_pop1(&ring);
	open_at(ring.opts.base);
	vht_chain(&ring, 0, 2, 0);
	req = vht_pop1(&ring);
	vht_chain(&ring, 1, 4, 0);
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), -EPROTO);
	assert_int_equal(vht_ring_site(), SITE(OVERRUN));
}

static void case_148_unpop_after_completion_out_of_order(void **state)
{
	struct vh_req reqs[4];
	uint32_t base;

	(void)state;
	for (uint32_t round = 0; round < 40; round++) {
		uint32_t done = 0, start;

		reopen(11, 0, false);
		for (start = 0; start < round; start++)
			one(0, 1);
		for (uint32_t i = 0; i < 4; i++)
			vht_chain(&ring, i, 1, i % 3);
		assert_int_equal(vh_queue_pop(ring.q, reqs, 4), 4);
		vht_push1(&ring, &reqs[1], 0);
		done += 2;
		assert_int_equal(vh_queue_unpop(ring.q, 2), 0);
		assert_int_equal(vh_queue_pop(ring.q, &reqs[2], 2), 2);
		for (uint32_t i = 2; i < 4; i++) {
			assert_int_equal((uint32_t)reqs[i].token, i);
			assert_int_equal(reqs[i].n_wr, i % 3);
			assert_int_equal(reqs[i].seq, round + i);
		}
		vht_push1(&ring, &reqs[3], 0);
		vht_push1(&ring, &reqs[0], 0);
		vht_push1(&ring, &reqs[2], 0);
		done += 1 + 3 + 1;
		assert_int_equal(vht_used_idx(&ring), round + 4);
		assert_int_equal(vh_queue_stop(ring.q, &base), 0);
		assert_int_equal(base, vht_base(&ring, start + done));
	}
}

/* The order of pops is found again behind any number of them, also when the size is no power of two. */
static void unpop_finds_the_newest_after_many(void **state)
{
	struct vh_req reqs[3], kept;

	(void)state;
	reopen(3, 0, false);
	vht_chain(&ring, 2, 0, 1);
	kept = vht_pop1(&ring); /* the oldest stays all the time */
	for (uint32_t i = 0; i < 1000; i++) {
		vht_chain(&ring, i % 2, 0, 1);
		reqs[0] = vht_pop1(&ring);
		assert_int_equal(vh_queue_unpop(ring.q, 1), 0);
		reqs[0] = vht_pop1(&ring);
		assert_int_equal((uint32_t)reqs[0].token, i % 2);
		vht_push1(&ring, &reqs[0], 0);
		assert_int_equal(vh_queue_unpop(ring.q, 1), -EINVAL);
	}
	vht_push1(&ring, &kept, 0);
	assert_int_equal(vhi_queue_in_flight(ring.q), 0);
}

/* Chains of one descriptor, across the end of the ring; some places have others, or have something wrong with them. */
static void put_run(uint32_t at, uint32_t n, uint16_t flags)
{
	for (uint32_t i = 0; i < n; i++)
		ring.packed.ring[(at + i) % 8] = (struct vht_pdesc){VHT_DATA + 256 * i, 100 + i, (uint16_t)i,
								    flags | (at + i < 8 ? VHT_AVAIL : VHT_USED)};
}

static void expect_run(const struct vh_req *reqs, uint32_t n, uint32_t writable, uint32_t last)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct vh_seg *seg = (const struct vh_seg *)(uintptr_t)reqs[i].segs;
		const bool in = writable >> i & 1;

		assert_int_equal((uint32_t)reqs[i].token, i);
		assert_int_equal(reqs[i].seq, i);
		assert_int_equal(reqs[i].n_rd, !in);
		assert_int_equal(reqs[i].n_wr, in);
		assert_int_equal(reqs[i].rd_len, in ? 0 : 100 + i);
		assert_int_equal(reqs[i].wr_len, in ? 100 + i : 0);
		assert_int_equal(reqs[i].flags, i == last ? VH_REQ_LAST : 0);
		assert_int_equal(seg->addr, (uintptr_t)vht_host(&ring, VHT_DATA + 256 * i));
		assert_int_equal(seg->len, 100 + i);
	}
}

static void runs_of_one_descriptor(void **state)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};
	struct vh_req reqs[16];
	uint32_t base;

	(void)state;
	vht_ring_free(&ring);
	vht_ring_prepare(&ring, 8, VHT_IND_DESC);
	for (uint32_t in = 0; in < 2; in++) {
		open_at(BASE(AT(5), AT(5)));
		put_run(5, 6, in ? VHT_WRITE : 0);
		assert_int_equal(vh_queue_pop(ring.q, reqs, 2), 2);
		expect_run(reqs, 2, in ? 0xff : 0, 1);
		assert_int_equal(vh_queue_unpop(ring.q, 2), 0);
		assert_int_equal(vh_queue_pop(ring.q, reqs, 16), 6);
		expect_run(reqs, 6, in ? 0xff : 0, 5);
		assert_int_equal(vh_queue_pop(ring.q, reqs, 16), 0);
		assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
		assert_int_equal(stats.requests, 8); /* two of them twice */
		assert_int_equal(vh_queue_unpop(ring.q, 6), 0);
		assert_int_equal(vh_queue_stop(ring.q, &base), 0);
		assert_int_equal(base, BASE(AT(5), AT(5)));
	}
	/* One is of the other kind, one has two descriptors, and one more is behind it. */
	open_at(BASE(AT(5), AT(5)));
	put_run(5, 7, VHT_WRITE);
	ring.packed.ring[0].flags = VHT_USED;
	ring.packed.ring[2].flags |= VHT_NEXT;
	ring.packed.ring[3].id = 5;
	ring.packed.ring[4] = (struct vht_pdesc){VHT_DATA, 7, 7, VHT_USED};
	assert_int_equal(vh_queue_pop(ring.q, reqs, 16), 7);
	expect_run(reqs, 5, 0x17, 6);
	assert_int_equal((uint32_t)reqs[5].token, 5);
	assert_int_equal(reqs[5].n_wr, 2);
	assert_int_equal(reqs[5].flags, 0);
	assert_int_equal(reqs[6].flags, VH_REQ_LAST);
	assert_int_equal(reqs[6].seq, 6);
}

static void what_ends_a_run_of_one_descriptor(void **state)
{
	static const struct {
		uint64_t addr;
		uint16_t id;
		uint32_t site;
	} wrong[] = {
		{VHT_DATA, 8, SITE(ID)},
		{VHT_DATA, 0xffff, SITE(ID)},
		{VHT_DATA, 0, SITE(ID_BUSY)},
		{VHT_DATA, 3, SITE(ID_BUSY)},
		{0, 5, SITE(FAULT)},
		{UINT64_MAX - 1, 5, SITE(FAULT)},
		{VHT_BASE + VHT_SIZE - 1, 5, SITE(FAULT)},
	};
	struct vh_req reqs[16];

	(void)state;
	vht_ring_free(&ring);
	vht_ring_prepare(&ring, 8, VHT_IND_DESC);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(wrong); i++) {
		open_at(BASE(AT(5), AT(5)));
		put_run(5, 6, 0);
		ring.packed.ring[1].addr = wrong[i].addr;
		ring.packed.ring[1].id = wrong[i].id;
		assert_int_equal(vh_queue_pop(ring.q, reqs, 16), 4);
		expect_run(reqs, 4, 0, 3);
		vht_expect_break(&ring, wrong[i].site == SITE(FAULT) ? -EFAULT : -EPROTO, wrong[i].site);
	}
	/* More than there is in a ring. */
	open_at(BASE(AT(5), AT(5)));
	put_run(5, 8, 0);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 16), 8);
	expect_run(reqs, 8, 0, 7);
	assert_int_equal(vh_queue_pop(ring.q, reqs + 8, 8), 0);
	ring.packed.ring[5].flags = VHT_USED;
	vht_expect_break(&ring, -EPROTO, SITE(OVERRUN));
	open_at(BASE(AT(5), AT(4))); /* one is somebody else's */
	put_run(5, 8, 0);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 16), 7);
	expect_run(reqs, 7, 0, 6);
	vht_expect_break(&ring, -EPROTO, SITE(OVERRUN));
}

static void a_broken_queue_marks_nothing_used(void **state)
{
	struct vh_req reqs[3];
	struct vh_cpl cpls[3];

	(void)state;
	open_at(ring.opts.base);
	for (uint32_t i = 0; i < 3; i++)
		vht_chain(&ring, i, 0, 1);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 3), 3);
	for (uint32_t i = 0; i < 3; i++)
		cpls[i] = (struct vh_cpl){.token = reqs[i].token};
	assert_int_equal(vhi_queue_break(ring.q, -EIO, 99, "test"), -EIO);
	assert_int_equal(vh_queue_push(ring.q, cpls, 3), -EIO);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(ring.packed.ring[i].flags & VHT_USED, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(positions_are_counted_right),
		T(case_143_taking_goes_on_at_any_base_and_ends_at_another),
		T(case_143_a_base_outside_of_the_ring_is_refused),
		T(what_was_taken_before_the_start_stays_taken),
		T(case_144_chains_wrap_around_the_end_of_the_ring),
		T(case_146_buffer_ids_are_checked),
		T(the_id_is_the_one_of_the_last_descriptor),
		T(a_chain_must_not_reach_into_what_is_in_flight),
		T(case_147_only_one_state_of_the_marks_is_available),
		T(case_148_unpop_after_completion_out_of_order),
		T(unpop_finds_the_newest_after_many),
		T(case_149_the_areas_end_where_memory_ends),
		T(case_150_a_wish_that_makes_no_sense_is_a_wish),
		T(case_152_an_event_is_told_when_it_is_passed),
		T(arming_writes_the_position_or_the_flag),
		T(runs_of_one_descriptor),
		T(what_ends_a_run_of_one_descriptor),
		T(a_broken_queue_marks_nothing_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
