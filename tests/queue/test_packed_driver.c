/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What only a packed ring has, on the driver side: the test is the device, by hand. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_packed.h"

#include <stdlib.h>

#define SITE(name) VHI_SITE_QUEUE_##name
#define AT(i)	   ((i) | VHT_WRAP)
#define BOTH	   (VHT_AVAIL | VHT_USED)
#define TABLES	   (VHT_BASE + 0xc0000)

static struct vht_ring ring; /* ring.q is the driver */
static struct vht_pdesc *desc;
static struct vh_seg segs[16];

static void open_ring(uint32_t num, uint64_t features, uint32_t base)
{
	vht_ring_prepare(&ring, num, features);
	ring.opts.role = VH_QUEUE_DRIVER;
	ring.opts.indirect = TABLES;
	ring.opts.max_indirect = features & VHT_IND_DESC ? 4 : 0;
	ring.opts.base = base;
	/* What an earlier driver left. */
	memset(vht_host(&ring, ring.opts.desc), 0xff, 16 * num);
	memset(vht_host(&ring, ring.opts.device), 0xff, 4);
	assert_int_equal(vht_ring_open(&ring), 0);
	desc = ring.packed.ring;
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(segs); i++)
		segs[i] = (struct vh_seg){.addr = (uintptr_t)vht_host(&ring, VHT_DATA + 256 * i), .len = 100 + i};
}

static int setup(void **state)
{
	(void)state;
	vht_layout = VHT_PACKED;
	open_ring(5, 0, AT(0) | AT(0) << 16);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	return 0;
}

static void reopen(uint32_t num, uint64_t features, uint32_t base)
{
	vht_ring_free(&ring);
	open_ring(num, features, base);
}

static vh_count submit(uint32_t n_rd, uint32_t n_wr, uint64_t user)
{
	const struct vh_req req = {.segs = (uintptr_t)segs, .n_rd = n_rd, .n_wr = n_wr, .user = user};

	return vh_queue_submit(ring.q, &req, 1);
}

static void use(uint32_t at, uint16_t id, uint32_t len, uint16_t flags)
{
	desc[at] = (struct vht_pdesc){.addr = 0, .len = len, .id = id, .flags = flags};
}

static uint32_t reap(void)
{
	struct vh_cpl cpls[8];
	vh_count n = vh_queue_reap(ring.q, cpls, 8);

	assert_true(n >= 0);
	return (uint32_t)n;
}

static void expect_broken(uint32_t site)
{
	struct vh_cpl cpls[8];

	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), -EPROTO);
	assert_int_equal(vht_ring_site(), site);
	assert_int_equal(vh_queue_state(ring.q), VH_QUEUE_BROKEN);
}

static void a_fresh_driver_clears_the_ring_and_begins_at_its_base(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(desc[i].flags, 0);
	assert_int_equal(ring.used->v[0] | ring.used->v[1], 0);
	assert_int_equal(reap(), 0);
	assert_int_equal(submit(1, 1, 0), 1);
	assert_int_equal(desc[0].flags, VHT_AVAIL | VHT_NEXT);
	assert_int_equal(desc[1].flags, VHT_AVAIL | VHT_WRITE);
	assert_int_equal(desc[0].len, 100);
	assert_int_equal(desc[1].addr, VHT_DATA + 256);
	reopen(5, VHT_IND_DESC, 4 | 4 << 16);
	assert_int_equal(reap(), 0); /* all marks are 0, which is used at this base: nothing is in flight */
	assert_int_equal(submit(2, 2, 0), 1);
	assert_int_equal(submit(1, 0, 0), 1);
	assert_int_equal(desc[4].flags, VHT_USED | VHT_INDIRECT);
	assert_int_equal(desc[4].len, 64);
	assert_int_equal(desc[0].flags, VHT_AVAIL);
	assert_int_equal(desc[1].flags, 0);
	use(4, 0, 0, 0);
	use(0, 1, 0, BOTH);
	assert_int_equal(reap(), 2);
}

static void a_table_has_no_links(void **state)
{
	const struct vht_pdesc *table;

	(void)state;
	reopen(5, VHT_IND_DESC, AT(0) | AT(0) << 16);
	table = vht_host(&ring, TABLES);
	assert_int_equal(submit(3, 1, 0), 1);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(table[i].addr, VHT_DATA + 256 * i);
		assert_int_equal(table[i].len, 100 + i);
		assert_int_equal(table[i].id, 0);
		assert_int_equal(table[i].flags, i == 3 ? VHT_WRITE : 0);
	}
}

static void without_write_the_length_says_nothing(void **state)
{
	struct vh_cpl cpl;

	(void)state;
	assert_int_equal(submit(1, 1, 5), 1);
	use(0, 0, 0xffffffff, BOTH);
	assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), 1);
	assert_int_equal(cpl.token, 5);
	assert_int_equal(cpl.written, 0);
	assert_int_equal(submit(1, 1, 6), 1);
	use(2, 0, 101, BOTH | VHT_WRITE);
	assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), 1);
	assert_int_equal(cpl.written, 101);
}

static void case_221_marks_on_what_is_not_in_flight_say_nothing(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		use(i, 0, 0, BOTH);
	assert_int_equal(reap(), 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(submit(1, 0, 0), 1);
	assert_int_equal(reap(), 0); /* the driver wrote over it */
	use(0, 0, 0, BOTH);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_MORE);
	assert_int_equal(reap(), 1);
	assert_int_equal(reap(), 0);
}

static void case_221_forged_used_descriptors_break(void **state)
{
	static const struct {
		uint16_t id;
		uint32_t len, site;
	} forged[] = {
		{5, 0, SITE(USED_ID)},	  {0xffff, 0, SITE(USED_ID)},	   {1, 0, SITE(USED_FREE)},
		{0, 102, SITE(USED_LEN)}, {0, 0xffffffff, SITE(USED_LEN)},
	};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(forged); i++) {
		reopen(5, 0, AT(0) | AT(0) << 16);
		assert_int_equal(submit(1, 1, 0), 1);
		use(0, forged[i].id, forged[i].len, BOTH | VHT_WRITE);
		expect_broken(forged[i].site);
	}
	reopen(5, 0, AT(0) | AT(0) << 16);
	assert_int_equal(submit(1, 0, 0), 1);
	assert_int_equal(submit(1, 0, 1), 1);
	use(0, 0, 0, BOTH);
	use(1, 0, 0, BOTH); /* a second time */
	assert_int_equal(reap(), 1);
	expect_broken(SITE(USED_FREE));
}

static void case_220_a_device_that_scribbles_over_the_ring_changes_nothing(void **state)
{
	struct vh_cpl cpls[8];
	uint16_t pos = AT(0);

	(void)state;
	reopen(7, 0, AT(0) | AT(0) << 16);
	for (uint32_t round = 0; round < 500; round++) {
		uint16_t ids[2], n[2] = {2, 3};

		assert_int_equal(submit(1, 1, 100), 1);
		assert_int_equal(submit(2, 1, 101), 1);
		ids[0] = desc[packed_at(packed_on(7, pos, 1))].id;
		ids[1] = desc[packed_at(packed_on(7, pos, 4))].id;
		for (uint32_t i = 0; i < 7 * sizeof(*desc); i++)
			((uint8_t *)desc)[i] = (uint8_t)rand();
		for (uint32_t i = 0; i < 2; i++) {
			const uint32_t k = (i + round) % 2;

			use(packed_at(pos), ids[k], 1, (uint16_t)(packed_used_marks(pos) | VHT_WRITE));
			pos = packed_on(7, pos, n[k]);
		}
		assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 2);
		for (uint32_t i = 0; i < 2; i++)
			assert_int_equal(cpls[i].token, 100 + (i + round) % 2);
	}
}

/* What was written for a request that was refused half-way must not be taken for a part of a later one. */
static void a_refused_request_leaves_nothing_that_looks_available(void **state)
{
	const struct vh_seg good = segs[2];

	(void)state;
	segs[2].addr = (uintptr_t)segs;
	assert_int_equal(submit(2, 2, 0), -EFAULT);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_not_equal(desc[i].flags & BOTH, VHT_AVAIL);
	segs[2] = good;
	assert_int_equal(submit(1, 0, 0), 1);
	assert_int_equal(desc[0].flags, VHT_AVAIL);
	assert_int_not_equal(desc[1].flags & BOTH, VHT_AVAIL);
}

/* One segment each, across the end of the ring: what is sent, what is received, and one that is refused. */
static void requests_of_one_segment(void **state)
{
	static char elsewhere;
	const struct vh_seg bad = {.addr = (uintptr_t)&elsewhere, .len = 1};
	const struct vh_req reqs[] = {
		{.segs = (uintptr_t)&segs[0], .n_rd = 1, .user = 10},
		{.segs = (uintptr_t)&segs[1], .n_wr = 1, .user = 11},
		{.segs = (uintptr_t)&segs[2], .n_rd = 1, .user = 12},
		{.segs = (uintptr_t)&bad, .n_wr = 1},
		{.segs = (uintptr_t)&segs[3], .n_rd = 1},
	};
	struct vh_cpl cpls[5];

	(void)state;
	reopen(5, 0, AT(3) | AT(3) << 16);
	assert_int_equal(vh_queue_submit(ring.q, reqs, 5), 3);
	assert_int_equal(vh_queue_submit(ring.q, reqs + 3, 2), -EFAULT);
	assert_int_equal(desc[3].flags, VHT_AVAIL);
	assert_int_equal(desc[4].flags, VHT_AVAIL | VHT_WRITE);
	assert_int_equal(desc[0].flags, VHT_USED);
	assert_int_equal(desc[1].flags & BOTH, 0);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(desc[(3 + i) % 5].addr, VHT_DATA + 256 * i);
		assert_int_equal(desc[(3 + i) % 5].len, 100 + i);
		assert_int_equal(desc[(3 + i) % 5].id, i);
	}
	use(3, 1, 101, BOTH | VHT_WRITE);
	use(4, 2, 1, BOTH | VHT_WRITE); /* nothing could be written there */
	assert_int_equal(vh_queue_reap(ring.q, cpls, 5), 1);
	assert_int_equal(cpls[0].token, 11);
	assert_int_equal(cpls[0].written, 101);
	expect_broken(SITE(USED_LEN));
}

static void the_device_is_kicked_when_it_wants_to_be(void **state)
{
	(void)state;
	for (uint32_t idx = 0; idx < 2; idx++) {
		vht_ring_free(&ring);
		vht_ring_init_fds(&ring, 5, idx ? VHT_EVENT_IDX : 0);
		vh_queue_free(ring.q);
		ring.opts.role = VH_QUEUE_DRIVER;
		assert_int_equal(vht_ring_open(&ring), 0);
		segs[0].addr = (uintptr_t)vht_host(&ring, VHT_DATA);
		assert_int_equal(submit(1, 0, 0), 1); /* the first one, always */
		assert_int_equal(vht_drain(ring.kick), 1);
		ring.used->v[1] = VHI_EVENT_NEVER;
		assert_int_equal(submit(1, 0, 0), 1);
		assert_int_equal(vht_drain(ring.kick), 0);
		ring.used->v[1] = VHI_EVENT_ALWAYS;
		assert_int_equal(submit(1, 0, 0), 1);
		assert_int_equal(vht_drain(ring.kick), 1);
		ring.used->v[0] = AT(4);
		ring.used->v[1] = VHI_EVENT_AT;
		assert_int_equal(submit(1, 0, 0), 1);
		assert_int_equal(vht_drain(ring.kick), !idx);
		assert_int_equal(submit(1, 0, 0), 1);
		assert_int_equal(vht_drain(ring.kick), 1);
		/* And what the driver asks for. */
		assert_int_equal(ring.avail->v[1], idx ? VHI_EVENT_AT : VHI_EVENT_ALWAYS);
		desc = ring.packed.ring;
		use(0, 0, 0, BOTH);
		use(1, 1, 0, BOTH);
		assert_int_equal(reap(), 2);
		assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
		assert_int_equal(ring.avail->v[0], idx ? AT(2) : 0);
		assert_int_equal(vh_queue_disarm(ring.q), 0);
		assert_int_equal(ring.avail->v[1], VHI_EVENT_NEVER);
	}
}

/* A driver that asks how far the device is, of one that lies. */
static void progress_is_what_was_reaped_when_the_device_lies(void **state)
{
	uint32_t base;

	(void)state;
	assert_int_equal(submit(1, 0, 0), 1);
	assert_int_equal(submit(2, 1, 1), 1);
	assert_int_equal(vhi_queue_progress(ring.q, &base), 2);
	assert_int_equal(base, AT(0) | AT(0) << 16);
	use(0, 1, 0, BOTH);
	assert_int_equal(vhi_queue_progress(ring.q, &base), 1);
	assert_int_equal(base, AT(3) | AT(3) << 16);
	use(3, 0, 0, BOTH);
	assert_int_equal(vhi_queue_progress(ring.q, &base), 0);
	assert_int_equal(base, AT(4) | AT(4) << 16);
	/* Nobody has 1 any more; there are not so many of 0; there is no 7; more than there is in the ring. */
	use(3, 1, 0, BOTH);
	assert_int_equal(vhi_queue_progress(ring.q, &base), 2);
	assert_int_equal(base, AT(0) | AT(0) << 16);
	for (uint32_t i = 0; i < 5; i++)
		use(i, 0, 0, BOTH);
	assert_int_equal(vhi_queue_progress(ring.q, &base), 2);
	use(0, 7, 0, BOTH);
	assert_int_equal(vhi_queue_progress(ring.q, &base), 2);
	use(0, 2, 0, BOTH);
	assert_int_equal(vhi_queue_progress(ring.q, &base), 2);
	assert_int_equal(base, AT(0) | AT(0) << 16);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_fresh_driver_clears_the_ring_and_begins_at_its_base),
		T(a_table_has_no_links),
		T(without_write_the_length_says_nothing),
		T(case_221_marks_on_what_is_not_in_flight_say_nothing),
		T(case_221_forged_used_descriptors_break),
		T(case_220_a_device_that_scribbles_over_the_ring_changes_nothing),
		T(a_refused_request_leaves_nothing_that_looks_available),
		T(requests_of_one_segment),
		T(the_device_is_kicked_when_it_wants_to_be),
		T(progress_is_what_was_reaped_when_the_device_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
