/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* When to connect again: delays, their random part, and when it gives up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>

#include "vh/vh.h"
#include "vhi_backoff.h"

#define MS UINT64_C(1000000)

static struct vhi_backoff begin(struct vh_reconnect policy)
{
	struct vhi_backoff b;

	policy.size = sizeof(policy);
	assert_int_equal(vhi_backoff_begin(&b, &policy, 7, "test"), 0);
	return b;
}

/* The next delay, with its random part, of what would be @ms. */
static void expect_delay(struct vhi_backoff *b, uint64_t ms, uint64_t jitter)
{
	uint64_t ns = 0;

	assert_true(vhi_backoff_next(b, true, &ns));
	assert_in_range(ns, ms * MS / 100 * (100 - jitter), ms * MS);
}

static void delays_double_from_the_first_to_the_longest(void **state)
{
	struct vhi_backoff b = begin((struct vh_reconnect){0});

	(void)state;
	for (uint64_t ms = 100; ms < 10000; ms *= 2)
		expect_delay(&b, ms, 25);
	for (int i = 0; i < 100; i++)
		expect_delay(&b, 10000, 25);
	vhi_backoff_reset(&b);
	expect_delay(&b, 100, 25);

	b = begin((struct vh_reconnect){.first_ms = 30, .max_ms = 70, .jitter = 1});
	expect_delay(&b, 30, 1);
	expect_delay(&b, 60, 1);
	expect_delay(&b, 70, 1);
	expect_delay(&b, 70, 1);
}

static void the_longest_delay_there_is(void **state)
{
	struct vhi_backoff b = begin((struct vh_reconnect){.first_ms = UINT32_MAX, .jitter = 100});

	(void)state;
	assert_int_equal(b.policy.max_ms, UINT32_MAX);
	expect_delay(&b, UINT32_MAX, 100);
	expect_delay(&b, UINT32_MAX, 100);
}

static void it_gives_up_after_so_many_failures_in_a_row(void **state)
{
	struct vhi_backoff b = begin((struct vh_reconnect){.max_tries = 3});
	uint64_t ns = 5;

	(void)state;
	for (int round = 0; round < 2; round++) {
		/* The end of a connection that was of use is no failure. */
		assert_true(vhi_backoff_next(&b, false, &ns));
		assert_true(vhi_backoff_next(&b, true, &ns));
		assert_true(vhi_backoff_next(&b, true, &ns));
		ns = 5;
		assert_false(vhi_backoff_next(&b, true, &ns));
		assert_int_equal(ns, 5);
		vhi_backoff_reset(&b);
	}
}

static void without_a_policy_it_gives_up_at_once(void **state)
{
	struct vhi_backoff b;
	uint64_t ns;

	(void)state;
	assert_int_equal(vhi_backoff_begin(&b, NULL, 0, "test"), 0);
	assert_false(b.on);
	assert_false(vhi_backoff_next(&b, false, &ns));
}

static void a_seed_gives_the_same_delays_each_time_and_they_are_spread(void **state)
{
	struct vhi_backoff a = begin((struct vh_reconnect){.first_ms = 1000, .max_ms = 1000, .jitter = 100}), b = a;
	unsigned low = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t x = 0, y = 1;

		assert_true(vhi_backoff_next(&a, true, &x));
		assert_true(vhi_backoff_next(&b, true, &y));
		assert_int_equal(x, y);
		low += x < 500 * MS;
	}
	assert_in_range(low, 400, 600);
}

static void policies_that_make_no_sense_are_refused(void **state)
{
	static const struct vh_reconnect bad[] = {
		{.size = 4},
		{.size = sizeof(struct vh_reconnect), .jitter = 101},
		{.size = sizeof(struct vh_reconnect), .flags = 1},
		{.size = sizeof(struct vh_reconnect), .first_ms = 20, .max_ms = 19},
		{.size = sizeof(struct vh_reconnect), .max_ms = 99},
	};
	struct vhi_backoff b;

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++)
		assert_int_equal(vhi_backoff_begin(&b, &bad[i], 0, "test"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_double_from_the_first_to_the_longest),
		cmocka_unit_test(the_longest_delay_there_is),
		cmocka_unit_test(it_gives_up_after_so_many_failures_in_a_row),
		cmocka_unit_test(without_a_policy_it_gives_up_at_once),
		cmocka_unit_test(a_seed_gives_the_same_delays_each_time_and_they_are_spread),
		cmocka_unit_test(policies_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
