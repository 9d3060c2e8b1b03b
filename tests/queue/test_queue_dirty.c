/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What a device's queue logs: the written bytes, the ring, and nothing else; in both layouts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "vhi_dirty.h"
#include "vht_count.h"
#include "vht_ring.h"

#define PAGE UINT64_C(4096)
#define MAX  4096u

static struct vht_ring r;
static struct vh_dirty *log_;

static void begin(uint32_t num, uint64_t features)
{
	vht_ring_init(&r, num, features);
	assert_int_equal(vh_dirty_new(VHT_BASE + VHT_SIZE, &log_), 0);
}

static void on(bool used)
{
	assert_int_equal(vh_queue_set_dirty(r.q, log_, used ? VH_QUEUE_LOG_USED : 0, r.opts.device), 0);
}

static void end(void)
{
	vht_ring_free(&r);
	vh_dirty_free(log_);
}

/* Exactly the pages of these bytes are dirty. */
static void expect(const uint64_t *want, uint32_t n)
{
	bool dirty[(VHT_BASE + VHT_SIZE) / 4096] = {false};
	vh_gpa pages[MAX];
	vh_count got = vh_dirty_take(log_, 0, pages, MAX);

	for (vh_count i = 0; i < got; i++)
		dirty[pages[i] / PAGE] = true;
	for (uint32_t i = 0; i < n; i++)
		assert_true(dirty[want[i] / PAGE]);
	for (vh_count i = 0; i < got; i++) {
		uint32_t k = 0;

		while (k < n && want[k] / PAGE != pages[i] / PAGE)
			k++;
		assert_true(k < n);
	}
}

#define EXPECT(...)   expect((const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8)
#define EXPECT_NONE() expect(NULL, 0)

static void written_bytes_are_logged_and_no_others(void **state)
{
	struct vh_req req;

	(void)state;
	begin(16, 0);
	on(false);
	/* Three writable pieces behind a readable one, at pages 0, 10 to 12, 20. */
	vht_put(&r, 0, VHT_DATA + 30 * PAGE, 64, VHT_NEXT, 1);
	vht_put(&r, 1, VHT_DATA + PAGE - 8, 8, VHT_NEXT | VHT_WRITE, 2);
	vht_put(&r, 2, VHT_DATA + 10 * PAGE + 4000, 4096 + 200, VHT_NEXT | VHT_WRITE, 3);
	vht_put(&r, 3, VHT_DATA + 20 * PAGE, 64, VHT_WRITE, 0);
	for (uint32_t i = 0; i < 6; i++) {
		static const uint32_t written[] = {0, 8, 9, 8 + 96 + 1, 8 + 4296 + 64, UINT32_MAX};

		vht_offer(&r, 0);
		req = vht_pop1(&r);
		EXPECT_NONE();
		vht_push1(&r, &req, written[i]);
		if (i == 0)
			EXPECT_NONE();
		else if (i == 1)
			EXPECT(VHT_DATA);
		else if (i == 2)
			EXPECT(VHT_DATA, VHT_DATA + 10 * PAGE);
		else if (i == 3)
			EXPECT(VHT_DATA, VHT_DATA + 10 * PAGE, VHT_DATA + 11 * PAGE);
		else
			EXPECT(VHT_DATA, VHT_DATA + 10 * PAGE, VHT_DATA + 11 * PAGE, VHT_DATA + 12 * PAGE,
			       VHT_DATA + 20 * PAGE);
	}
	end();
}

static void long_chains_and_indirect_ones_are_logged_from_their_blocks(void **state)
{
	uint64_t want[100];
	struct vh_req req;

	(void)state;
	begin(256, VHT_IND_DESC);
	on(false);
	for (uint32_t i = 0; i < 100; i++) {
		want[i] = VHT_DATA + 2 * i * PAGE;
		vht_put(&r, i, want[i], 32, VHT_WRITE | (i < 99 ? VHT_NEXT : 0), i + 1);
		vht_table_set((struct vht_desc *)vht_host(&r, VHT_DATA + 300 * PAGE) + i, want[i], 32,
			      VHT_WRITE | (i < 99 ? VHT_NEXT : 0), i + 1);
	}
	vht_offer(&r, 0);
	req = vht_pop1(&r);
	vht_push1(&r, &req, 3200);
	expect(want, 100);
	vht_put(&r, 0, VHT_DATA + 300 * PAGE, 100 * 16, VHT_INDIRECT, 0);
	vht_offer(&r, 0);
	req = vht_pop1(&r);
	vht_push1(&r, &req, 3200);
	expect(want, 100);
	end();
}

/* A ring of many pages, so that a wrong place is seen. */
static void the_ring_is_logged_where_it_was_written(void **state)
{
	const uint32_t num = 2048;
	struct vh_req req;

	(void)state;
	begin(num, 0);
	on(true);
	for (uint32_t i = 0; i < 2 * num + 3; i++) {
		const uint64_t used = r.opts.device + 4 + 8 * (uint64_t)(i % num);
		const uint64_t desc = r.opts.desc + 16 * (uint64_t)(i % num);

		vht_put(&r, 0, VHT_DATA, 16, 0, 0);
		vht_offer(&r, 0);
		req = vht_pop1(&r);
		vht_push1(&r, &req, 0);
		if (vht_layout)
			EXPECT(desc);
		else
			EXPECT(r.opts.device, used, used + 7);
	}
	end();
}

static void a_batch_that_wraps_marks_both_ends_of_the_ring(void **state)
{
	const uint32_t num = 2048;
	struct vh_req reqs[16];
	struct vh_cpl cpls[16];

	(void)state;
	begin(num, 0);
	vht_put(&r, 0, VHT_DATA, 16, 0, 0);
	for (uint32_t i = 0; i < num - 8; i++) {
		vht_offer(&r, 0);
		reqs[0] = vht_pop1(&r);
		vht_push1(&r, &reqs[0], 0);
	}
	on(true);
	for (uint32_t i = 0; i < 16; i++) {
		vht_put(&r, i, VHT_DATA, 16, 0, 0);
		vht_offer(&r, i);
	}
	assert_int_equal(vh_queue_pop(r.q, reqs, 16), 16);
	for (uint32_t i = 0; i < 16; i++)
		cpls[i] = (struct vh_cpl){.token = reqs[i].token};
	assert_int_equal(vh_queue_push(r.q, cpls, 16), 0);
	if (vht_layout)
		EXPECT(r.opts.desc, r.opts.desc + 16 * (num - 1));
	else
		EXPECT(r.opts.device, r.opts.device + 4 + 8 * (num - 8), r.opts.device + 4 + 8 * num - 1);
	end();
}

static void wishes_for_notifications_are_logged(void **state)
{
	(void)state;
	for (uint32_t event_idx = 0; event_idx < 2; event_idx++) {
		/* With 2048 entries a split ring's event index is in the fifth page of the used ring. */
		begin(2048, event_idx ? VHT_EVENT_IDX : 0);
		on(true);
		assert_int_equal(vh_queue_disarm(r.q), 0);
		EXPECT(vht_layout || !event_idx ? r.opts.device : r.opts.device + 4 + 8 * 2048);
		assert_int_equal(vh_queue_arm(r.q), VH_QUEUE_SLEEP);
		EXPECT(vht_layout || !event_idx ? r.opts.device : r.opts.device + 4 + 8 * 2048);
		on(false);
		assert_int_equal(vh_queue_disarm(r.q), 0);
		EXPECT_NONE();
		end();
	}
}

static void case_187_what_was_in_flight_before_is_logged_after_the_switch(void **state)
{
	struct vh_req a, b;

	(void)state;
	begin(16, 0);
	vht_put(&r, 0, VHT_DATA, 16, VHT_WRITE, 0);
	vht_put(&r, 1, VHT_DATA + 5 * PAGE, 16, VHT_WRITE, 0);
	vht_offer(&r, 0);
	vht_offer(&r, 1);
	a = vht_pop1(&r);
	b = vht_pop1(&r);
	on(false);
	vht_push1(&r, &a, 16);
	EXPECT(VHT_DATA);
	assert_int_equal(vh_queue_set_dirty(r.q, NULL, 0, 0), 0);
	vht_push1(&r, &b, 16);
	EXPECT_NONE();
	end();
}

static void case_183_a_log_that_is_replaced_is_let_go_at_once(void **state)
{
	struct vh_dirty *other;
	struct vh_req req;
	vh_gpa page;

	(void)state;
	begin(16, 0);
	on(false);
	assert_int_equal(vh_dirty_new(VHT_BASE + VHT_SIZE, &other), 0);
	vht_put(&r, 0, VHT_DATA, 16, VHT_WRITE, 0);
	vht_offer(&r, 0);
	req = vht_pop1(&r);
	assert_int_equal(log_->refs, 2);
	assert_int_equal(vh_queue_set_dirty(r.q, other, 0, 0), 0);
	assert_int_equal(log_->refs, 1);
	vht_push1(&r, &req, 16);
	EXPECT_NONE();
	assert_int_equal(vh_dirty_take(other, 0, &page, 1), 1);
	vh_dirty_free(other);
	end();
}

static void case_181_a_write_beyond_the_log_is_counted_and_the_queue_runs_on(void **state)
{
	struct vh_dirty_info info = {.size = sizeof(info)};
	struct vh_dirty *small;
	struct vh_req req;

	(void)state;
	begin(16, 0);
	assert_int_equal(vh_dirty_new(VHT_DATA, &small), 0);
	assert_int_equal(vh_queue_set_dirty(r.q, small, VH_QUEUE_LOG_USED, VHT_DATA), -ERANGE);
	assert_int_equal(vh_queue_set_dirty(r.q, small, VH_QUEUE_LOG_USED, UINT64_MAX), -ERANGE);
	assert_int_equal(vh_queue_set_dirty(r.q, small, 0, 0), 0);
	vht_put(&r, 0, VHT_DATA, 16, VHT_WRITE, 0);
	vht_offer(&r, 0);
	req = vht_pop1(&r);
	vht_push1(&r, &req, 16);
	assert_int_equal(vh_dirty_get_info(small, &info), 0);
	assert_int_equal(info.lost, 1);
	vht_offer(&r, 0);
	req = vht_pop1(&r);
	vht_push1(&r, &req, 0);
	vh_dirty_free(small);
	end();
}

static void segments_that_the_device_changed_are_not_lost_silently(void **state)
{
	struct vh_dirty_info info = {.size = sizeof(info)};
	struct vh_req req;
	struct vh_seg *seg;

	(void)state;
	begin(16, 0);
	on(false);
	vht_put(&r, 0, VHT_DATA, 4096, VHT_WRITE, 0);
	vht_offer(&r, 0);
	req = vht_pop1(&r);
	seg = (struct vh_seg *)(uintptr_t)req.segs;
	seg->addr += 4096;
	seg->len = 0;
	vht_push1(&r, &req, 4096);
	assert_int_equal(vh_dirty_get_info(log_, &info), 0);
	assert_int_equal(info.lost, 1);
	end();
}

static void a_device_marks_what_it_wrote_elsewhere(void **state)
{
	(void)state;
	begin(16, 0);
	assert_int_equal(vh_queue_mark(r.q, (uintptr_t)vht_host(&r, VHT_DATA), 1), 0);
	EXPECT_NONE();
	on(false);
	assert_int_equal(vh_queue_mark(r.q, (uintptr_t)vht_host(&r, VHT_DATA + 4095), 2), 0);
	EXPECT(VHT_DATA, VHT_DATA + PAGE);
	assert_int_equal(vh_queue_mark(r.q, (uintptr_t)&r, 2), -EFAULT);
	EXPECT_NONE();
	assert_int_equal(vh_queue_mark(r.q, (uintptr_t)vht_host(&r, VHT_DATA), 0), -EINVAL);
	assert_int_equal(vh_queue_mark(NULL, 1, 1), -EINVAL);
	end();
}

/* Random requests; the pages that changed are dirty, and no page is that could not have. */
static void case_184_all_pages_that_changed_are_dirty(void **state)
{
	static uint8_t before[VHT_SIZE];
	const uint64_t n_pages = VHT_SIZE / PAGE;
	uint8_t *mem;
	vh_gpa pages[MAX];

	(void)state;
	srand(184);
	begin(64, VHT_EVENT_IDX | VHT_IND_DESC);
	on(true);
	mem = vht_host(&r, VHT_BASE);
	for (uint32_t round = 0; round < vht_count(400); round++) {
		bool dirty[VHT_SIZE / 4096] = {false}, may[VHT_SIZE / 4096] = {false};
		const uint32_t batch = 1 + (uint32_t)rand() % 16;
		struct vh_req reqs[16];
		struct vh_cpl cpls[16];
		vh_count n;

		for (uint32_t i = 0; i < batch; i++) {
			const uint64_t at = (uint64_t)rand() % (VHT_SIZE - (VHT_DATA - VHT_BASE) - 20000);

			vht_put(&r, 2 * i, VHT_DATA + at, 1 + (uint32_t)rand() % 9000, VHT_WRITE | VHT_NEXT, 2 * i + 1);
			vht_put(&r, 2 * i + 1, VHT_DATA + at + 9000, 1 + (uint32_t)rand() % 9000, VHT_WRITE, 0);
			vht_offer(&r, 2 * i);
		}
		memcpy(before, mem, VHT_SIZE);
		assert_int_equal(vh_queue_pop(r.q, reqs, batch), batch);
		for (uint32_t i = 0; i < batch; i++) {
			const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)reqs[i].segs;
			uint64_t left = (uint64_t)rand() % (reqs[i].wr_len + 1);

			cpls[i] = (struct vh_cpl){.token = reqs[i].token, .written = (uint32_t)left};
			for (uint32_t k = 0; left; k++) {
				const uint64_t take = VHI_MIN(left, segs[k].len);
				uint8_t *to = (uint8_t *)(uintptr_t)segs[k].addr;

				for (uint64_t b = 0; b < take; b++)
					to[b] = (uint8_t)~to[b];
				for (uint64_t p = (uint64_t)(to - mem) / PAGE;
				     p <= (uint64_t)(to + take - 1 - mem) / PAGE; p++)
					may[p] = true;
				left -= take;
			}
		}
		assert_int_equal(vh_queue_push(r.q, cpls, batch), 0);
		vh_queue_arm(r.q);
		n = vh_dirty_take(log_, 0, pages, MAX);
		for (vh_count i = 0; i < n; i++)
			dirty[(pages[i] - VHT_BASE) / PAGE] = true;
		may[(r.opts.desc - VHT_BASE) / PAGE] = may[(r.opts.device - VHT_BASE) / PAGE] = true;
		for (uint64_t p = 0; p < n_pages; p++) {
			if (memcmp(before + p * PAGE, mem + p * PAGE, PAGE) != 0)
				assert_true(dirty[p]);
			assert_true(!dirty[p] || may[p]);
		}
	}
	end();
}

static void bad_arguments(void **state)
{
	(void)state;
	begin(16, 0);
	assert_int_equal(vh_queue_set_dirty(NULL, log_, 0, 0), -EINVAL);
	assert_int_equal(vh_queue_set_dirty(r.q, log_, 2, 0), -EINVAL);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_bytes_are_logged_and_no_others),
		cmocka_unit_test(long_chains_and_indirect_ones_are_logged_from_their_blocks),
		cmocka_unit_test(the_ring_is_logged_where_it_was_written),
		cmocka_unit_test(a_batch_that_wraps_marks_both_ends_of_the_ring),
		cmocka_unit_test(wishes_for_notifications_are_logged),
		cmocka_unit_test(case_187_what_was_in_flight_before_is_logged_after_the_switch),
		cmocka_unit_test(case_183_a_log_that_is_replaced_is_let_go_at_once),
		cmocka_unit_test(case_181_a_write_beyond_the_log_is_counted_and_the_queue_runs_on),
		cmocka_unit_test(segments_that_the_device_changed_are_not_lost_silently),
		cmocka_unit_test(a_device_marks_what_it_wrote_elsewhere),
		cmocka_unit_test(case_184_all_pages_that_changed_are_dirty),
		cmocka_unit_test(bad_arguments),
	};

	return vht_run_layouts(tests);
}
