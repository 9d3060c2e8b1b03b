/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The list of news: bounded, the latest of each kind and queue, in the order of the latest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "vh/vh.h"
#include "vhi_events.h"

static struct vhi_events list;

static int set_up(void **state)
{
	(void)state;
	return vhi_events_init(&list, 2);
}

static int tear_down(void **state)
{
	(void)state;
	vhi_events_fini(&list);
	return 0;
}

static struct vh_event next(void)
{
	struct vh_event e = {.size = sizeof(e)};

	assert_int_equal(vhi_events_next(&list, &e, "test"), 1);
	assert_int_equal(e.size, sizeof(e));
	return e;
}

static void expect_none(void)
{
	struct vh_event e = {.size = sizeof(e), .kind = 77};

	assert_int_equal(vhi_events_next(&list, &e, "test"), 0);
	assert_int_equal(e.kind, 77);
}

static void device(uint32_t kind)
{
	vhi_events_raise(&list, kind, VH_ERROR_NONE, 0, 0);
}

static void the_last_event_of_opposite_kinds_tells_the_present_state(void **state)
{
	static const uint32_t pairs[][2] = {{VH_EVENT_CONNECTED, VH_EVENT_DISCONNECTED},
					    {VH_EVENT_ENABLED, VH_EVENT_DISABLED},
					    {VH_EVENT_STARTED, VH_EVENT_STOPPED},
					    {VH_EVENT_RECONNECTING, VH_EVENT_GAVE_UP}};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		uint32_t queue = i == 1 || i == 2 ? 1 : VH_ERROR_NONE;
		struct vh_event e;

		vhi_events_raise(&list, pairs[i][0], queue, 1, 10);
		vhi_events_raise(&list, pairs[i][1], queue, -2, 20);
		vhi_events_raise(&list, pairs[i][0], queue, 3, 30);
		e = next();
		assert_int_equal(e.kind, pairs[i][1]);
		assert_int_equal(e.queue, queue);
		assert_int_equal(e.reason, -2);
		assert_int_equal(e.value, 20);
		assert_int_equal(e.count, 1);
		e = next();
		assert_int_equal(e.kind, pairs[i][0]);
		assert_int_equal(e.reason, 3);
		assert_int_equal(e.value, 30);
		assert_int_equal(e.count, 2);
		expect_none();
	}
}

static void each_queue_has_its_own(void **state)
{
	(void)state;
	for (uint32_t q = 0; q < 2; q++)
		for (uint32_t kind = VH_EVENT_STARTED; kind <= VH_EVENT_BROKEN; kind++)
			vhi_events_raise(&list, kind, q, 0, 100 * q + kind);
	device(VH_EVENT_BACKEND_REQUEST);
	for (uint32_t q = 0; q < 2; q++)
		for (uint32_t kind = VH_EVENT_STARTED; kind <= VH_EVENT_BROKEN; kind++) {
			struct vh_event e = next();

			assert_int_equal(e.kind, kind);
			assert_int_equal(e.queue, q);
			assert_int_equal(e.value, 100 * q + kind);
		}
	assert_int_equal(next().queue, VH_ERROR_NONE);
	expect_none();
}

static void a_count_starts_again_when_the_event_was_taken(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++)
		device(VH_EVENT_CONFIG_CHANGED);
	assert_int_equal(next().count, 1000);
	device(VH_EVENT_CONFIG_CHANGED);
	assert_int_equal(next().count, 1);
	expect_none();
}

static void a_bad_out_struct_takes_nothing(void **state)
{
	struct vh_event e = {.size = 4};
	struct vh_event small = {.size = 8};

	(void)state;
	assert_int_equal(vhi_events_next(&list, NULL, "test"), -EINVAL);
	assert_int_equal(vhi_events_next(&list, &e, "test"), -EINVAL);
	device(VH_EVENT_RESET);
	assert_int_equal(vhi_events_next(&list, NULL, "test"), -EINVAL);
	assert_int_equal(vhi_events_next(&list, &e, "test"), -EINVAL);
	/* A caller that was built with an older struct gets what fits. */
	assert_int_equal(vhi_events_next(&list, &small, "test"), 1);
	assert_int_equal(small.kind, VH_EVENT_RESET);
	assert_int_equal(small.count, 0);
	expect_none();
}

static void every_kind_has_a_name_and_a_slot(void **state)
{
	unsigned n = 0;

	(void)state;
	for (uint32_t kind = 0; kind < 100; kind++)
		if (vh_event_name(kind)) {
			bool of_queue = (kind >= VH_EVENT_STARTED && kind <= VH_EVENT_BROKEN) ||
					kind == VH_EVENT_DEVICE_ERROR || kind == VH_EVENT_INFLIGHT_LOST ||
					kind == VH_EVENT_RESUBMITTED || kind == VH_EVENT_NEEDS_RESET ||
					kind == VH_EVENT_IOTLB_FAULT;

			vhi_events_raise(&list, kind, of_queue ? 0 : VH_ERROR_NONE, 0, 0);
			n++;
		}
	assert_true(n >= 22);
	for (; n; n--)
		assert_int_equal(next().count, 1);
	expect_none();
	assert_string_equal(vh_event_name(VH_EVENT_BROKEN), "broken");
	assert_string_equal(vh_event_name(VH_EVENT_CONFIG_CHANGED), "config-changed");
	assert_null(vh_event_name(0));
	assert_null(vh_event_name(UINT32_MAX));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(the_last_event_of_opposite_kinds_tells_the_present_state),
		T(each_queue_has_its_own),
		T(a_count_starts_again_when_the_event_was_taken),
		T(a_bad_out_struct_takes_nothing),
		T(every_kind_has_a_name_and_a_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
