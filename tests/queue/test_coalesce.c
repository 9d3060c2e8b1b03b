/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Coalesced calls: how many there are, and that none is forgotten; and a driver's doorbell. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_vring.h"

#define NUM 32u

static struct vht_ring ring;
static struct vh_req reqs[NUM];

static int setup(void **state)
{
	(void)state;
	vht_ring_init_fds(&ring, NUM, 0);
	assert_int_equal(vh_queue_set_coalescing(ring.q, 4), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	return 0;
}

static uint64_t calls(void)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};

	assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
	return stats.calls;
}

static void pop(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		vht_chain(&ring, i, 0, 1);
	assert_int_equal(vh_queue_pop(ring.q, reqs, NUM), n);
}

static void push(uint32_t from, uint32_t n)
{
	struct vh_cpl cpls[NUM];

	for (uint32_t i = 0; i < n; i++)
		cpls[i] = (struct vh_cpl){.token = reqs[from + i].token};
	assert_int_equal(vh_queue_push(ring.q, cpls, n), 0);
}

static void so_many_completions_are_a_call(void **state)
{
	(void)state;
	pop(16);
	for (uint32_t i = 0; i < 12; i++) {
		push(i, 1);
		assert_int_equal(vht_used_idx(&ring), i + 1); /* published at once */
		assert_int_equal(calls(), (i + 1) / 4);
	}
	push(12, 3);
	assert_int_equal(calls(), 3);
}

static void a_large_batch_is_one_call(void **state)
{
	(void)state;
	pop(16);
	push(0, 11);
	assert_int_equal(calls(), 1);
	push(11, 3);
	assert_int_equal(calls(), 1);
	push(14, 1);
	assert_int_equal(calls(), 2);
}

static void the_last_one_in_flight_is_a_call(void **state)
{
	(void)state;
	pop(2);
	push(0, 1);
	assert_int_equal(calls(), 0);
	push(1, 1);
	assert_int_equal(calls(), 1);
	/* Given back is not in flight either. */
	pop(2);
	push(0, 1);
	assert_int_equal(vh_queue_unpop(ring.q, 1), 0);
	assert_int_equal(calls(), 2);
}

static void a_thread_that_goes_to_sleep_calls_before(void **state)
{
	(void)state;
	pop(3);
	push(0, 1);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(calls(), 1);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(calls(), 1);
}

static void a_driver_that_wants_no_call_gets_none(void **state)
{
	(void)state;
	pop(8);
	push(0, 1); /* the first push after a start calls whatever the driver says */
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(calls(), 1);
	vht_want_calls(&ring, false);
	push(1, 4);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(calls(), 1);
	vht_want_calls(&ring, true);
	push(5, 1); /* many were completed since the last call */
	assert_int_equal(calls(), 2);
}

static void other_numbers_are_in_force_at_once(void **state)
{
	(void)state;
	pop(8);
	push(0, 1);
	assert_int_equal(vh_queue_set_coalescing(ring.q, 2), 0);
	assert_int_equal(calls(), 1);
	push(1, 1);
	assert_int_equal(calls(), 1);
	assert_int_equal(vh_queue_set_coalescing(ring.q, 0), 0);
	assert_int_equal(calls(), 2);
	push(2, 1);
	push(3, 1);
	assert_int_equal(calls(), 4);
	assert_int_equal(vh_queue_set_coalescing(ring.q, VH_QUEUE_MAX_SIZE + 1), -EINVAL);
	assert_int_equal(vh_queue_set_coalescing(NULL, 1), -EINVAL);
}

static void the_end_of_a_run_is_a_call(void **state)
{
	(void)state;
	pop(3);
	push(0, 1);
	assert_int_equal(vhi_queue_ctl(ring.q, VHI_CTL_ABORT, NULL), 0);
	assert_int_equal(calls(), 1);
}

static void a_queue_that_breaks_calls_for_what_is_there(void **state)
{
	(void)state;
	pop(3);
	push(0, 1);
	assert_int_equal(vhi_queue_break(ring.q, -EPROTO, 0, "a test"), -EPROTO);
	assert_int_equal(calls(), 1);
}

/* What a driver writes to the doorbell of a device that it has no fd for. */
static void a_doorbell_says_which_queue_and_how_far(void **state)
{
	static const uint64_t features[] = {0, UINT64_C(1) << VH_F_NOTIFICATION_DATA};
	struct vh_seg seg;
	const struct vh_req req = {.segs = (uintptr_t)&seg, .n_rd = 1};
	uint32_t data = 1;

	(void)state;
	assert_int_equal(vh_queue_doorbell(ring.q, &data), -EINVAL);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(features); i++) {
		const uint32_t start = vht_either(0, 0x8000);

		vht_ring_free(&ring);
		vht_ring_prepare(&ring, 3 + vht_either(1, 0), features[i]);
		ring.opts.role = VH_QUEUE_DRIVER;
		ring.opts.index = 5;
		assert_int_equal(vht_ring_open(&ring), 0);
		seg = (struct vh_seg){(uintptr_t)vht_host(&ring, VHT_DATA), 16};
		assert_int_equal(vh_queue_doorbell(ring.q, NULL), -EINVAL);
		assert_int_equal(vh_queue_doorbell(ring.q, &data), 0);
		assert_int_equal(data, 5 | (i ? start << 16 : 0));
		assert_int_equal(vh_queue_submit(ring.q, &req, 1), 1);
		assert_int_equal(vh_queue_doorbell(ring.q, &data), 1);
		assert_int_equal(data, 5 | (i ? (start + 1) << 16 : 0));
		assert_int_equal(vh_queue_doorbell(ring.q, &data), 0);
		/* The device wants none. */
		ring.used->v[vht_layout ? 1 : 0] = 1;
		assert_int_equal(vh_queue_submit(ring.q, &req, 1), 1);
		assert_int_equal(vh_queue_doorbell(ring.q, &data), 0);
		/* Packed: the counter turns with the ring. */
		assert_int_equal(vh_queue_submit(ring.q, &req, 1), 1);
		assert_int_equal(vh_queue_doorbell(ring.q, &data), 0);
		assert_int_equal(data, 5 | (i ? vht_either(3, 0) << 16 : 0));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(so_many_completions_are_a_call),
		T(a_large_batch_is_one_call),
		T(the_last_one_in_flight_is_a_call),
		T(a_thread_that_goes_to_sleep_calls_before),
		T(a_driver_that_wants_no_call_gets_none),
		T(other_numbers_are_in_force_at_once),
		T(the_end_of_a_run_is_a_call),
		T(a_queue_that_breaks_calls_for_what_is_there),
		T(a_doorbell_says_which_queue_and_how_far),
	};

	return vht_run_layouts(tests);
}
