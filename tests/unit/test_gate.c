/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The door of a handle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "vhi_gate.h"
#include "vht_count.h"

static struct vhi_gate gate;

static int setup(void **state)
{
	(void)state;
	return vhi_gate_init(&gate);
}

static int teardown(void **state)
{
	(void)state;
	vhi_gate_destroy(&gate);
	return 0;
}

static void *enter_elsewhere(void *rc)
{
	*(int *)rc = vhi_gate_enter(&gate);
	if (!*(int *)rc)
		vhi_gate_leave(&gate);
	return NULL;
}

static int elsewhere(void)
{
	pthread_t t;
	int rc;

	assert_int_equal(pthread_create(&t, NULL, enter_elsewhere, &rc), 0);
	pthread_join(t, NULL);
	return rc;
}

static void one_thread_is_inside_and_may_come_in_again(void **state)
{
	(void)state;
	assert_false(vhi_gate_inside(&gate));
	assert_int_equal(vhi_gate_enter(&gate), 0);
	assert_int_equal(vhi_gate_enter(&gate), 0);
	assert_int_equal(gate.depth, 2);
	assert_true(vhi_gate_inside(&gate));
	assert_int_equal(elsewhere(), -EBUSY);
	assert_false(vhi_gate_leave(&gate));
	assert_true(vhi_gate_inside(&gate));
	assert_int_equal(elsewhere(), -EBUSY);
	assert_false(vhi_gate_leave(&gate));
	assert_false(vhi_gate_inside(&gate));
	assert_int_equal(elsewhere(), 0);
}

static void after_a_stop_nobody_comes_in(void **state)
{
	(void)state;
	assert_int_equal(vhi_gate_enter(&gate), 0);
	vhi_gate_stop(&gate); /* from inside it does not wait for itself */
	assert_true(vhi_gate_inside(&gate));
	assert_int_equal(vhi_gate_enter(&gate), -ESHUTDOWN);
	assert_int_equal(elsewhere(), -ESHUTDOWN);
	assert_false(vhi_gate_leave(&gate));
	assert_int_equal(vhi_gate_enter(&gate), -ESHUTDOWN);
	vhi_gate_stop(&gate);
	assert_true(vhi_gate_free(&gate));
}

static void what_is_freed_inside_is_freed_by_the_last_leave(void **state)
{
	(void)state;
	assert_int_equal(vhi_gate_enter(&gate), 0);
	assert_int_equal(vhi_gate_enter(&gate), 0);
	assert_false(vhi_gate_free(&gate));
	assert_int_equal(vhi_gate_enter(&gate), -ESHUTDOWN);
	assert_false(vhi_gate_leave(&gate));
	assert_true(vhi_gate_leave(&gate));
}

/* A handle in one thread, taken away by another: who stops it may forget its memory at once. */
struct handle {
	struct vhi_gate gate;
	uint32_t in; /* only who is inside touches it */
};

static struct handle *handle;
static uint32_t entered;

static void *use(void *arg)
{
	struct handle *h = arg;
	uint32_t n = 0;

	for (;;) {
		int rc = vhi_gate_enter(&h->gate);

		if (rc)
			return (void *)(intptr_t)rc;
		h->in++;
		if (n++ % 3 == 0 && !vhi_gate_enter(&h->gate))
			vhi_gate_leave(&h->gate);
		__atomic_store_n(&entered, n, __ATOMIC_RELAXED);
		vhi_gate_leave(&h->gate);
		/* The last call that the user makes: it does not look at the handle again. */
		if (n % 16 == 0 && n >= 32)
			return NULL;
	}
}

static void who_stops_it_may_destroy_it(void **state)
{
	const uint32_t rounds = vht_count(2000);

	(void)state;
	for (uint32_t i = 0; i < rounds; i++) {
		pthread_t t;
		void *rc;

		handle = calloc(1, sizeof(*handle));
		assert_non_null(handle);
		assert_int_equal(vhi_gate_init(&handle->gate), 0);
		__atomic_store_n(&entered, 0, __ATOMIC_RELAXED);
		assert_int_equal(pthread_create(&t, NULL, use, handle), 0);
		while (__atomic_load_n(&entered, __ATOMIC_RELAXED) < i % 32)
			sched_yield();
		vhi_gate_stop(&handle->gate);
		/* Nobody is inside, and what was done there is seen here. */
		handle->in++;
		pthread_join(t, &rc);
		assert_true(!rc || (intptr_t)rc == -ESHUTDOWN);
		vhi_gate_destroy(&handle->gate);
		free(handle);
	}
}

/* Inside until it is told to go, so that a stop has to wait. */
static uint32_t go;

static void *stay(void *arg)
{
	struct handle *h = arg;

	assert_int_equal(vhi_gate_enter(&h->gate), 0);
	__atomic_store_n(&entered, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
		sched_yield();
	h->in = 1;
	vhi_gate_leave(&h->gate);
	return NULL;
}

static void *let_go(void *arg)
{
	struct handle *h = arg;

	/* The stop is marked, so it waits or is about to. */
	while (!__atomic_load_n(&h->gate.inside, __ATOMIC_ACQUIRE) || vhi_gate_enter(&h->gate) != -ESHUTDOWN)
		sched_yield();
	__atomic_store_n(&go, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void a_stop_waits_for_who_is_inside(void **state)
{
	const uint32_t rounds = vht_count(500);

	(void)state;
	for (uint32_t i = 0; i < rounds; i++) {
		struct handle *h = calloc(1, sizeof(*h));
		pthread_t inside, other;

		assert_non_null(h);
		assert_int_equal(vhi_gate_init(&h->gate), 0);
		entered = go = 0;
		assert_int_equal(pthread_create(&inside, NULL, stay, h), 0);
		while (!__atomic_load_n(&entered, __ATOMIC_ACQUIRE))
			sched_yield();
		assert_int_equal(pthread_create(&other, NULL, let_go, h), 0);
		vhi_gate_stop(&h->gate);
		assert_int_equal(h->in, 1);
		pthread_join(other, NULL);
		vhi_gate_destroy(&h->gate);
		memset(h, 0xff, sizeof(*h)); /* whoever still looks at it finds nothing good */
		free(h);
		pthread_join(inside, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_thread_is_inside_and_may_come_in_again, setup, teardown),
		cmocka_unit_test_setup_teardown(after_a_stop_nobody_comes_in, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_freed_inside_is_freed_by_the_last_leave, setup, teardown),
		cmocka_unit_test(who_stops_it_may_destroy_it),
		cmocka_unit_test(a_stop_waits_for_who_is_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
