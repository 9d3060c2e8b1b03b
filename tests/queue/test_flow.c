/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A ring in normal use: geometry, order, wrap-around, tokens, giving back, the segment pool, counters. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_vring.h"

#include <stdlib.h>
#include <unistd.h>

#define SITE(name) VHI_SITE_QUEUE_##name

static struct vht_ring ring;

static int setup(void **state)
{
	(void)state;
	vht_ring_init(&ring, 8, VHT_IND_DESC);
	return 0;
}

static int prepare(void **state)
{
	(void)state;
	vht_ring_prepare(&ring, 8, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	return 0;
}

/* The ring itself, which the device sees. */
static void *ring_memory(void)
{
	return vht_host(&ring, ring.opts.desc);
}

static void expect_open(vh_rc rc, uint32_t site)
{
	assert_int_equal(vht_ring_open(&ring), rc);
	assert_int_equal(vht_ring_site(), site);
	assert_null(ring.q);
}

static void case_101_size_0_is_refused(void **state)
{
	(void)state;
	ring.opts.num = 0;
	expect_open(-EINVAL, SITE(SIZE));
}

static void case_102_sizes_that_are_no_power_of_two_are_refused(void **state)
{
	static const uint32_t nums[] = {3, 5, 6, 1000, 32767};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(nums); i++) {
		ring.opts.num = nums[i];
		expect_open(-EINVAL, SITE(POW2));
	}
}

static void case_103_the_largest_size_is_32768(void **state)
{
	static const uint32_t nums[] = {32769, 65536, 65537, 0xffffffff};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(nums); i++) {
		ring.opts.num = nums[i];
		expect_open(-EINVAL, SITE(SIZE));
	}
	ring.opts.num = 32768;
	assert_int_equal(vht_ring_open(&ring), 0);
}

static void case_104_misaligned_rings_are_refused(void **state)
{
	const struct vh_queue_opts good = ring.opts;

	(void)state;
	for (uint64_t off = 1; off < 16; off++) {
		ring.opts.desc = good.desc + off;
		expect_open(-EINVAL, SITE(ALIGN));
	}
	ring.opts = good;
	ring.opts.driver++;
	expect_open(-EINVAL, SITE(ALIGN));
	ring.opts = good;
	ring.opts.device += 2;
	expect_open(-EINVAL, SITE(ALIGN));
	ring.opts = good;
	if (vht_layout) {
		ring.opts.driver += 2;
		expect_open(-EINVAL, SITE(ALIGN));
	}
	ring.opts = good;
	ring.opts.driver += vht_layout ? 4 : 2;
	ring.opts.device += 4;
	assert_int_equal(vht_ring_open(&ring), 0);
}

static void case_105_rings_outside_memory_are_refused(void **state)
{
	static const uint64_t bad[] = {0, 16, VHT_BASE + VHT_SIZE, UINT64_MAX & ~UINT64_C(15), UINT64_MAX - 127};
	const struct vh_queue_opts good = ring.opts;

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++) {
		ring.opts.desc = bad[i] & ~UINT64_C(15);
		expect_open(-EFAULT, SITE(AREA));
		ring.opts = good;
		ring.opts.driver = bad[i] & ~UINT64_C(15);
		expect_open(-EFAULT, SITE(AREA));
		ring.opts = good;
		ring.opts.device = bad[i] & ~UINT64_C(15);
		expect_open(-EFAULT, SITE(AREA));
		ring.opts = good;
	}
}

static void case_106_rings_end_where_the_region_ends(void **state)
{
	const uint64_t end = VHT_BASE + VHT_SIZE;
	const struct vh_queue_opts good = ring.opts;

	(void)state;
	for (uint64_t event = 0; event <= 2; event += 2) {
		ring.opts = good;
		ring.opts.features |= event ? VHT_EVENT_IDX : 0;
		ring.opts.desc = end - 8 * 16;
		assert_int_equal(vht_ring_open(&ring), 0);
		vh_queue_free(ring.q);
		ring.q = NULL;
		ring.opts.desc += 16;
		expect_open(-EFAULT, SITE(AREA));

		ring.opts.desc = good.desc;
		ring.opts.driver = end - 4 - 2 * 8 - event;
		assert_int_equal(vht_ring_open(&ring), 0);
		vh_queue_free(ring.q);
		ring.q = NULL;
		ring.opts.driver += 2;
		expect_open(-EFAULT, SITE(AREA));

		ring.opts.driver = good.driver;
		ring.opts.device = (end - 4 - 8 * 8 - event) & ~UINT64_C(3);
		assert_int_equal(vht_ring_open(&ring), 0);
		vh_queue_free(ring.q);
		ring.q = NULL;
		ring.opts.device += 4;
		expect_open(-EFAULT, SITE(AREA));
	}
}

static void case_107_rings_in_three_regions_but_none_across_two(void **state)
{
	const uint64_t low = VHT_BASE + VHT_SIZE + 0x100000, high = low + 0x10000;
	const struct vh_queue_opts good = ring.opts;

	(void)state;
	assert_int_equal(vh_mem_alloc(ring.mem, low, 0x10000, 0), 0);
	assert_int_equal(vh_mem_alloc(ring.mem, high, 0x10000, 0), 0);
	ring.opts.driver = low;
	ring.opts.device = high;
	assert_int_equal(vht_ring_open(&ring), 0);
	vht_chain(&ring, 0, 1, 1);
	struct vh_req req = vht_pop1(&ring);

	vht_push1(&ring, &req, 3);
	assert_int_equal(vht_used_len(&ring, 0), 3);
	vh_queue_free(ring.q);
	ring.q = NULL;
	ring.opts = good;
	ring.opts.desc = high - 64;
	expect_open(-EFAULT, SITE(AREA));
	if (vht_layout)
		return; /* an event area is as long as it is aligned */
	ring.opts = good;
	ring.opts.device = high - 16;
	expect_open(-EFAULT, SITE(AREA));
}

static void case_108_overlapping_rings_are_safe(void **state)
{
	struct vh_req reqs[8];

	(void)state;
	ring.opts.driver = ring.opts.device = ring.opts.desc;
	assert_int_equal(vht_ring_open(&ring), 0);
	for (uint32_t i = 0; i < 100; i++) {
		for (uint32_t k = 0; k < 128; k++)
			((uint8_t *)ring_memory())[k] = (uint8_t)rand();
		vh_count n = vh_queue_pop(ring.q, reqs, 8);

		for (vh_count k = 0; k < n; k++) {
			struct vh_cpl cpl = {.token = reqs[k].token, .written = 64};

			vh_queue_push(ring.q, &cpl, 1);
		}
		if (n < 0) {
			vh_queue_free(ring.q);
			assert_int_equal(vht_ring_open(&ring), 0);
		}
	}
}

static void case_110_a_base_above_65535_is_refused(void **state)
{
	(void)state;
	ring.opts.base = 65536;
	expect_open(-EINVAL, SITE(BASE));
	ring.opts.base = 65535;
	assert_int_equal(vht_ring_open(&ring), 0);
}

static void case_111_taking_goes_on_at_the_base_and_publishing_at_the_used_index(void **state)
{
	struct vht_u16s *avail = vht_host(&ring, ring.opts.driver);
	struct vht_u16s *used = vht_host(&ring, ring.opts.device);
	struct vh_req req;

	(void)state;
	ring.opts.base = 100;
	avail->v[1] = 100;
	used->v[1] = 98;
	assert_int_equal(vht_ring_open(&ring), 0);
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), 0);
	vht_chain(&ring, 5, 1, 0);
	req = vht_pop1(&ring);
	assert_int_equal((uint32_t)req.token, 5);
	vht_push1(&ring, &req, 0);
	assert_int_equal(vht_used_idx(&ring), 99);
	assert_int_equal(vht_used_id(&ring, 98), 5);
}

static void wrong_options_are_refused(void **state)
{
	const struct vh_queue_opts good = ring.opts;
	struct vh_queue *q = NULL;
	int fds[2];

	(void)state;
	assert_int_equal(vh_queue_open(NULL, &good, -1, -1, &q), -EINVAL);
	assert_int_equal(vh_queue_open(ring.mem, NULL, -1, -1, &q), -EINVAL);
	assert_int_equal(vh_queue_open(ring.mem, &good, -1, -1, NULL), -EINVAL);
	ring.opts.role = 3;
	expect_open(-EINVAL, 0);
	ring.opts = good;
	ring.opts.index = 65536;
	expect_open(-EINVAL, 0);
	ring.opts = good;
	ring.opts.max_segs = 32769;
	expect_open(-EINVAL, 0);
	ring.opts = good;
	ring.opts.max_indirect = 32769;
	expect_open(-EINVAL, 0);
	ring.opts = good;
	ring.opts.flags = 2;
	expect_open(-EINVAL, 0);
	ring.opts = good;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(vh_queue_open(ring.mem, &good, fds[0], -1, &q), -EINVAL);
	assert_int_equal(vht_ring_site(), SITE(FD_KIND));
	assert_int_equal(vh_queue_open(ring.mem, &good, -1, fds[1], &q), -EINVAL);
	assert_int_equal(vh_queue_open(ring.mem, &good, 1000000, -1, &q), -EBADF);
	assert_null(q);
	close(fds[0]);
	close(fds[1]);
}

static void calls_of_the_other_side_are_refused(void **state)
{
	struct vh_req req = {0};
	struct vh_cpl cpl = {0};

	(void)state;
	assert_int_equal(vh_queue_submit(ring.q, &req, 1), -EINVAL);
	assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), -EINVAL);
	assert_int_equal(vh_queue_pop(NULL, &req, 1), -EINVAL);
	assert_int_equal(vh_queue_pop(ring.q, NULL, 1), -EINVAL);
	assert_int_equal(vh_queue_push(NULL, &cpl, 1), -EINVAL);
	assert_int_equal(vh_queue_push(ring.q, NULL, 1), -EINVAL);
	assert_int_equal(vh_queue_push(ring.q, NULL, 0), 0);
	assert_int_equal(vh_queue_unpop(NULL, 1), -EINVAL);
	assert_int_equal(vh_queue_arm(NULL), -EINVAL);
	assert_int_equal(vh_queue_disarm(NULL), -EINVAL);
	assert_int_equal(vh_queue_look(NULL), -EINVAL);
	assert_int_equal(vh_queue_fd(NULL), -EINVAL);
	assert_int_equal(vh_queue_state(NULL), -EINVAL);
	assert_int_equal(vh_queue_stop(NULL, NULL), -EINVAL);
	assert_int_equal(vh_queue_get_stats(NULL, NULL), -EINVAL);
	assert_int_equal(vh_queue_get_stats(ring.q, NULL), -EINVAL);
	assert_int_equal(vh_queue_dup_snapshot(ring.q, NULL), -EINVAL);
}

static void a_request_says_all_about_itself(void **state)
{
	struct vh_snapshot *snap;
	struct vh_req req;
	const struct vh_seg *segs;

	(void)state;
	vht_ring_free(&ring);
	vht_ring_prepare(&ring, 8, 0);
	ring.opts.index = 7;
	assert_int_equal(vht_ring_open(&ring), 0);
	vht_chain(&ring, 3, 1, 2);
	req = vht_pop1(&ring);
	segs = (const struct vh_seg *)(uintptr_t)req.segs;
	assert_int_equal((uint32_t)req.token, 3);
	assert_int_equal(req.user, 0);
	assert_int_equal(req.rd_len, 64);
	assert_int_equal(req.wr_len, 128);
	assert_int_equal(req.n_rd, 1);
	assert_int_equal(req.n_wr, 2);
	assert_int_equal(req.seq, 0);
	assert_int_equal(req.queue, 7);
	assert_int_equal(req.flags, VH_REQ_LAST);
	assert_int_equal(req.reserved, 0);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(segs[i].addr, (uintptr_t)vht_host(&ring, VHT_DATA + 64 * (3 + i)));
		assert_int_equal(segs[i].len, 64);
	}
	assert_int_equal(vh_queue_dup_snapshot(ring.q, &snap), 0);
	assert_int_equal(req.mem, vh_snapshot_number(snap));
	vh_snapshot_free(snap);
}

/* n completions through a ring of num entries, in batches of up to all of them. */
static void run(uint32_t num, uint32_t total)
{
	uint32_t max = VHI_MIN(num, 256u), done = 0;
	struct vh_req *reqs = calloc(max, sizeof(*reqs));
	struct vh_cpl *cpls = calloc(max, sizeof(*cpls));

	assert_true(reqs && cpls);
	vht_ring_free(&ring);
	vht_ring_init(&ring, num, 0);
	for (uint32_t i = 0; i < num; i++)
		vht_put(&ring, i, VHT_DATA, 4, VHT_WRITE, 0);
	while (done < total) {
		uint32_t n = 1 + done % max;

		for (uint32_t i = 0; i < n; i++)
			vht_offer(&ring, (done + i) % num);
		assert_int_equal(vh_queue_pop(ring.q, reqs, max), n);
		/* Completed from the last to the first. */
		for (uint32_t i = 0; i < n; i++)
			cpls[i] = (struct vh_cpl){.token = reqs[n - 1 - i].token, .written = i % 5};
		assert_int_equal(vh_queue_push(ring.q, cpls, n), 0);
		assert_int_equal(vht_used_idx(&ring), (uint16_t)(done + n));
		for (uint32_t i = 0; i < n; i++) {
			assert_int_equal(vht_used_id(&ring, (done + i) & 0xffff), (done + n - 1 - i) % num);
			assert_int_equal(vht_used_len(&ring, (done + i) & 0xffff), i % 5);
		}
		done += n;
	}
	free(reqs);
	free(cpls);
}

static void case_134_indices_wrap_three_times(void **state)
{
	(void)state;
	run(1, 3 * 65536);
	run(2, 3 * 65536);
	run(4, 3 * 65536);
	run(256, 3 * 65536);
	run(32768, 3 * 65536);
	if (vht_layout) {
		run(3, 3 * 65536);
		run(5, 3 * 65536);
		run(7, 3 * 65536);
		run(8, 3 * 65536);
		run(32767, 3 * 65536);
	}
}

static void requests_are_completed_in_any_order(void **state)
{
	struct vh_req reqs[8];
	static const uint32_t order[] = {5, 0, 7, 1, 2, 6, 4, 3};

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		vht_chain(&ring, i, 0, 1);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 8), 8);
	for (uint32_t i = 0; i < 8; i++)
		vht_push1(&ring, &reqs[order[i]], i);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(vht_used_id(&ring, i), order[i]);
		assert_int_equal(vht_used_len(&ring, i), i);
	}
}

static void a_push_is_all_or_nothing(void **state)
{
	struct vh_req reqs[3];
	struct vh_cpl cpls[4] = {0};

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		vht_chain(&ring, i, 0, 1);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 3), 3);
	for (uint32_t i = 0; i < 3; i++)
		cpls[i].token = reqs[i].token;

	cpls[3].token = reqs[1].token; /* twice */
	assert_int_equal(vh_queue_push(ring.q, cpls, 4), -EINVAL);
	cpls[3].token = reqs[0].token + 5; /* not in flight */
	assert_int_equal(vh_queue_push(ring.q, cpls, 4), -EINVAL);
	cpls[3].token = reqs[0].token + 8; /* no slot */
	assert_int_equal(vh_queue_push(ring.q, cpls, 4), -EINVAL);
	cpls[2].flags = 1;
	assert_int_equal(vh_queue_push(ring.q, cpls, 3), -EINVAL);
	cpls[2].flags = 0;
	assert_int_equal(vht_used_idx(&ring), 0); /* what lies behind it means nothing */

	assert_int_equal(vh_queue_push(ring.q, cpls, 3), 0);
	assert_int_equal(vht_used_idx(&ring), 3);
	assert_int_equal(vh_queue_push(ring.q, cpls, 1), -EINVAL);
}

static void a_token_of_a_stopped_ring_is_stale_and_writes_nothing(void **state)
{
	const struct vhi_ring geometry = vht_geometry(&ring);
	struct vh_snapshot *snap = vhi_mem_snapshot(ring.mem);
	struct vh_req req;
	struct vh_cpl cpl = {0};

	(void)state;
	vht_chain(&ring, 2, 0, 1);
	req = vht_pop1(&ring);
	cpl.token = req.token;
	assert_int_equal(vhi_queue_ctl(ring.q, VHI_CTL_ABORT, NULL), 0);
	assert_int_equal(vh_queue_state(ring.q), VH_QUEUE_STOPPED);
	assert_int_equal(vhi_queue_in_flight(ring.q), 0);
	/* What was in flight is to be taken again. */
	assert_int_equal(vhi_queue_base(ring.q), vht_base(&ring, 0));
	assert_int_equal(vh_queue_push(ring.q, &cpl, 1), -ESTALE);
	assert_int_equal(vhi_queue_start(ring.q, &geometry, snap), 0);
	assert_int_equal(vh_queue_push(ring.q, &cpl, 1), -ESTALE);
	assert_int_equal(vht_used_idx(&ring), 0);
	req = vht_pop1(&ring);
	assert_int_not_equal(req.token, cpl.token);
	assert_int_equal(vh_queue_push(ring.q, &cpl, 1), -ESTALE);
	vht_push1(&ring, &req, 0);
	vhi_snapshot_put(snap);
}

static void unpop_gives_back_the_newest(void **state)
{
	struct vh_req reqs[4];
	struct vh_cpl cpl = {0};
	uint32_t base;

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		vht_chain(&ring, i, 0, 1);
	assert_int_equal(vh_queue_unpop(ring.q, 1), -EINVAL);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 4), 4);
	assert_int_equal(vh_queue_unpop(ring.q, 0), 0);
	assert_int_equal(vh_queue_unpop(ring.q, 5), -EINVAL);
	assert_int_equal(vh_queue_unpop(ring.q, 2), 0);
	assert_int_equal(vhi_queue_in_flight(ring.q), 2);
	/* A token that was given back is not in flight. */
	cpl.token = reqs[3].token;
	assert_int_equal(vh_queue_push(ring.q, &cpl, 1), -EINVAL);
	assert_int_equal(vh_queue_pop(ring.q, &reqs[2], 4), 2);
	assert_int_equal((uint32_t)reqs[2].token, 2);
	assert_int_equal(reqs[2].seq, 2);
	/* One of the newest two is pushed: they can't be given back any more, the very newest can. */
	vht_push1(&ring, &reqs[2], 0);
	assert_int_equal(vh_queue_unpop(ring.q, 2), -EINVAL);
	assert_int_equal(vhi_queue_in_flight(ring.q), 3);
	assert_int_equal(vh_queue_unpop(ring.q, 1), 0);
	vht_push1(&ring, &reqs[0], 0);
	vht_push1(&ring, &reqs[1], 0);
	assert_int_equal(vh_queue_stop(ring.q, &base), 0);
	assert_int_equal(base, vht_base(&ring, 3));
}

static void unpop_is_not_fooled_by_a_head_that_came_again(void **state)
{
	struct vh_req a, b;

	(void)state;
	vht_chain(&ring, 0, 0, 1);
	a = vht_pop1(&ring);
	vht_push1(&ring, &a, 0);
	vht_offer(&ring, 0);
	a = vht_pop1(&ring);
	vht_chain(&ring, 1, 0, 1);
	b = vht_pop1(&ring);
	assert_int_equal(vh_queue_unpop(ring.q, 2), 0);
	(void)b;
	a = vht_pop1(&ring);
	vht_push1(&ring, &a, 0);
	vht_offer(&ring, 0);
	/* In flight: 1 (older), 0 (newest). The entry before those is 0 too, and was pushed. */
	vht_pop1(&ring);
	vht_pop1(&ring);
	assert_int_equal(vh_queue_unpop(ring.q, 3), -EINVAL);
	assert_int_equal(vh_queue_unpop(ring.q, 2), 0);
}

/* A chain of n segments of 16 bytes as an indirect table at its own place. */
static void long_chain(uint32_t head, uint32_t n)
{
	uint64_t gpa = VHT_DATA + 0x20000 * head;
	struct vht_desc *table = vht_host(&ring, gpa);

	for (uint32_t i = 0; i < n; i++)
		vht_table_set(&table[i], VHT_DATA + 16 * i, 16, VHT_WRITE | (i + 1 < n ? VHT_NEXT : 0), i + 1);
	vht_put(&ring, head, gpa, 16 * n, VHT_INDIRECT, 0);
	vht_offer(&ring, head);
}

static void check_segs(const struct vh_req *req, uint32_t n)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;

	assert_int_equal(req->n_wr, n);
	assert_int_equal(req->wr_len, 16 * n);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(segs[i].addr, (uintptr_t)vht_host(&ring, VHT_DATA + 16 * i));
}

static void segments_stay_until_their_token_is_pushed_in_any_order(void **state)
{
	static const uint32_t lens[] = {16, 17, 136, 137, 1024, 1, 200, 15};
	struct vh_req reqs[8];

	(void)state;
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t i = 0; i < 8; i++)
			long_chain(i, lens[(i + round) % 8]);
		assert_int_equal(vh_queue_pop(ring.q, reqs, 8), 8);
		for (uint32_t i = 0; i < 8; i++) {
			uint32_t k = (i * 3 + round) % 8;

			check_segs(&reqs[k], lens[(k + round) % 8]);
			vht_push1(&ring, &reqs[k], 1);
		}
	}
}

static void when_the_segment_pool_is_used_up_pop_returns_fewer(void **state)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};
	struct vh_req reqs[16];
	vh_count n;

	(void)state;
	vht_ring_free(&ring);
	vht_ring_init(&ring, 16, VHT_IND_DESC);
	for (uint32_t i = 0; i < 16; i++)
		long_chain(i, 1000);
	n = vh_queue_pop(ring.q, reqs, 16);
	assert_in_range(n, 1, 15);
	assert_int_equal(vh_queue_pop(ring.q, &reqs[n], 1), 0);
	assert_int_equal(vh_queue_state(ring.q), VH_QUEUE_RUNNING);
	assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
	assert_int_equal(stats.seg_waits, 2);
	/* Nothing can be done about it but to push, so it is no reason to look again at once ... */
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_true(vh_queue_fd(ring.q) >= 0);
	assert_false(vht_readable(vh_queue_fd(ring.q)));
	/* ... but after the push it is, and whoever sleeps is woken. */
	vht_push1(&ring, &reqs[0], 1);
	assert_true(vht_readable(vh_queue_fd(ring.q)));
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_MORE);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 16), 1);
	check_segs(&reqs[0], 1000);
	/* Unpop gives blocks back as well. */
	assert_int_equal(vh_queue_unpop(ring.q, 1), 0);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 16), 1);
}

static void a_refused_long_chain_gives_its_block_back(void **state)
{
	struct vh_req reqs[16];

	(void)state;
	vht_ring_free(&ring);
	vht_ring_init(&ring, 16, VHT_IND_DESC);
	for (uint32_t i = 0; i < 100; i++) {
		long_chain(0, 1);
		long_chain(1, 1000);
		((struct vht_desc *)vht_host(&ring, VHT_DATA + 0x20000))[999].addr = 0;
		assert_int_equal(vh_queue_pop(ring.q, reqs, 16), 1);
		vht_push1(&ring, &reqs[0], 0);
		((struct vht_desc *)vht_host(&ring, VHT_DATA + 0x20000))[999].addr = VHT_DATA;
		assert_int_equal(vh_queue_pop(ring.q, reqs, 16), 1);
		vht_push1(&ring, &reqs[0], 0);
	}
}

static void counters_count(void **state)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};
	struct vh_req a, b;

	(void)state;
	vht_chain(&ring, 0, 2, 1);
	a = vht_pop1(&ring);
	vht_chain(&ring, 4, 1, 2);
	b = vht_pop1(&ring);
	vht_push1(&ring, &b, 100);
	assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
	assert_int_equal(stats.state, VH_QUEUE_RUNNING);
	assert_int_equal(stats.requests, 2);
	assert_int_equal(stats.completed, 1);
	assert_int_equal(stats.bytes_in, 3 * 64);
	assert_int_equal(stats.bytes_out, 100);
	assert_int_equal(stats.in_flight, 1);
	assert_int_equal(stats.calls | stats.kicks | stats.errors | stats.seg_waits | stats.broken_site, 0);
	usleep(30000);
	assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
	assert_in_range(stats.oldest_in_flight_ns, 10000000, UINT64_C(60000000000));
	vht_push1(&ring, &a, 0);
	assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
	assert_int_equal(stats.oldest_in_flight_ns, 0);
}

static uint32_t since(const struct vh_req *req)
{
	return ring.q->slots[(uint32_t)req->token].since;
}

/* One request, alone, as the one before it. It has no time yet. */
static struct vh_req pop_alone(void)
{
	struct vh_req req;

	vht_chain(&ring, 0, 1, 1);
	req = vht_pop1(&ring);
	vht_push1(&ring, &req, 0);
	vht_chain(&ring, 0, 1, 1);
	req = vht_pop1(&ring);
	assert_int_equal(since(&req), 0);
	return req;
}

static void a_request_that_is_alone_gets_its_time_by_what_comes_next(void **state)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};
	struct vh_req req, more[1];

	(void)state;
	req = pop_alone(); /* a pop that finds something */
	vht_chain(&ring, 4, 1, 1);
	more[0] = vht_pop1(&ring);
	assert_int_not_equal(since(&req), 0);
	assert_int_equal(since(&req), since(&more[0]));
	vht_push1(&ring, &more[0], 0);
	vht_push1(&ring, &req, 0);
	req = pop_alone(); /* arming */
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_not_equal(since(&req), 0);
	vht_push1(&ring, &req, 0);
	req = pop_alone(); /* a look, from any thread */
	assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
	assert_int_equal(stats.oldest_in_flight_ns, 0);
	assert_int_not_equal(since(&req), 0);
	vht_push1(&ring, &req, 0);
	req = pop_alone(); /* it was given back */
	assert_int_equal(vh_queue_unpop(ring.q, 1), 0);
	req = vht_pop1(&ring);
	assert_int_not_equal(since(&req), 0);
	vht_push1(&ring, &req, 0);
}

static void requests_that_come_together_after_one_that_was_alone_have_their_time(void **state)
{
	struct vh_cpl cpls[2];
	struct vh_req reqs[2];

	(void)state;
	reqs[0] = pop_alone();
	vht_push1(&ring, &reqs[0], 0);
	vht_chain(&ring, 0, 1, 1);
	vht_chain(&ring, 4, 1, 1);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 2), 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_not_equal(since(&reqs[i]), 0);
		cpls[i] = (struct vh_cpl){.token = reqs[i].token};
	}
	assert_int_equal(vh_queue_push(ring.q, cpls, 2), 0);
	/* As there were two, the next one is timed at once. */
	vht_chain(&ring, 0, 1, 1);
	reqs[0] = vht_pop1(&ring);
	assert_int_not_equal(since(&reqs[0]), 0);
}

static void stop_waits_for_what_is_in_flight_and_pops_nothing_more(void **state)
{
	struct vh_req reqs[4];
	struct vh_snapshot *snap;
	uint32_t base = 77;

	(void)state;
	vht_chain(&ring, 0, 1, 0);
	vht_chain(&ring, 1, 1, 0);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 1), 1);
	assert_int_equal(vh_queue_stop(ring.q, &base), -EINPROGRESS);
	assert_int_equal(base, 77);
	assert_int_equal(vh_queue_state(ring.q), VH_QUEUE_DRAINING);
	assert_int_equal(vh_queue_pop(ring.q, &reqs[1], 1), 0);
	vht_push1(&ring, &reqs[0], 0);
	assert_int_equal(vh_queue_stop(ring.q, &base), 0);
	assert_int_equal(base, vht_base(&ring, 1));
	assert_int_equal(vh_queue_state(ring.q), VH_QUEUE_STOPPED);
	assert_int_equal(vh_queue_stop(ring.q, &base), 0);
	assert_int_equal(base, vht_base(&ring, 1));
	assert_int_equal(vh_queue_pop(ring.q, reqs, 1), 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(vh_queue_look(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(vh_queue_disarm(ring.q), 0);
	assert_int_equal(vh_queue_dup_snapshot(ring.q, &snap), -ENOENT);
}

#define CASE(f)	 cmocka_unit_test_setup_teardown(f, setup, teardown)
#define SETUP(f) cmocka_unit_test_setup_teardown(f, prepare, teardown)

int main(void)
{
	const struct CMUnitTest split[] = {
		SETUP(case_102_sizes_that_are_no_power_of_two_are_refused),
		SETUP(case_106_rings_end_where_the_region_ends),
		SETUP(case_110_a_base_above_65535_is_refused),
		SETUP(case_111_taking_goes_on_at_the_base_and_publishing_at_the_used_index),
	};
	const struct CMUnitTest tests[] = {
		SETUP(case_101_size_0_is_refused),
		SETUP(case_103_the_largest_size_is_32768),
		SETUP(case_104_misaligned_rings_are_refused),
		SETUP(case_105_rings_outside_memory_are_refused),
		SETUP(case_107_rings_in_three_regions_but_none_across_two),
		SETUP(case_108_overlapping_rings_are_safe),
		SETUP(wrong_options_are_refused),
		CASE(calls_of_the_other_side_are_refused),
		CASE(a_request_says_all_about_itself),
		CASE(case_134_indices_wrap_three_times),
		CASE(requests_are_completed_in_any_order),
		CASE(a_push_is_all_or_nothing),
		CASE(a_token_of_a_stopped_ring_is_stale_and_writes_nothing),
		CASE(unpop_gives_back_the_newest),
		CASE(unpop_is_not_fooled_by_a_head_that_came_again),
		CASE(segments_stay_until_their_token_is_pushed_in_any_order),
		CASE(when_the_segment_pool_is_used_up_pop_returns_fewer),
		CASE(a_refused_long_chain_gives_its_block_back),
		CASE(counters_count),
		CASE(a_request_that_is_alone_gets_its_time_by_what_comes_next),
		CASE(requests_that_come_together_after_one_that_was_alone_have_their_time),
		CASE(stop_waits_for_what_is_in_flight_and_pops_nothing_more),
	};

	int failed = vht_run_layouts(tests);

	vht_layout = 0;
	return failed + cmocka_run_group_tests(split, NULL, NULL);
}
