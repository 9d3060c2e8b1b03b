/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Who gets into a queue, by a pass and without. Of all system calls membarrier() alone is looked at, and refused where a
 * test says so.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/syscall.h>
#include <unistd.h>

static long watched_syscall(long nr, ...);
#define syscall watched_syscall
#include "../../src/base/sys.c"
#undef syscall

#include "vht_ring.h"
#include "vhi_vring.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/wait.h>

static uint32_t fences;			       /* atomic: membarrier() calls that are no registration */
static bool refuse_registration, refuse_fence; /* changed when there is one thread */

static long watched_syscall(long nr, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, nr);
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(a); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_membarrier && a[0] == MEMBARRIER_CMD_PRIVATE_EXPEDITED)
		__atomic_add_fetch(&fences, 1, __ATOMIC_RELAXED);
	if (nr == SYS_membarrier &&
	    (a[0] == MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED ? refuse_registration : refuse_fence)) {
		errno = ENOSYS;
		return -1;
	}
	return syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static uint32_t take_fences(void)
{
	return __atomic_exchange_n(&fences, 0, __ATOMIC_RELAXED);
}

static struct vht_ring ring;
static struct vh_queue *q;

static int setup(void **state)
{
	(void)state;
	vht_ring_init(&ring, 8, 0);
	q = ring.q;
	take_fences();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	return 0;
}

static bool has_pass(void)
{
	return q->gate == VHI_GATE_GIVEN && q->pass->thread == vhi_thread();
}

static void in_and_out(void)
{
	assert_int_equal(vhi_queue_enter(q), 0);
	vhi_queue_leave(q);
}

static void earn(void)
{
	for (uint32_t i = 0; i < q->price; i++)
		in_and_out();
}

/* A function on another thread, from its beginning to its end. */
static void *elsewhere(void *(*f)(void *), void *arg)
{
	pthread_t thread;
	void *result;

	assert_int_equal(pthread_create(&thread, NULL, f, arg), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	return result;
}

static void *disable(void *rc)
{
	*(int *)rc = vhi_queue_ctl(q, VHI_CTL_DISABLE, NULL);
	return NULL;
}

static void *enter(void *rc)
{
	*(int *)rc = vhi_queue_enter(q);
	if (!*(int *)rc)
		vhi_queue_leave(q);
	return NULL;
}

static void who_calls_again_gets_a_pass_and_keeps_it(void **state)
{
	(void)state;
	in_and_out();
	assert_int_equal(q->gate, 0);
	in_and_out();
	for (uint32_t i = 0; i < 100; i++) {
		assert_true(has_pass());
		assert_int_equal(q->pass->inside, 0);
		assert_int_equal(vh_queue_pop(q, &(struct vh_req){0}, 1), 0);
	}
	assert_int_equal(take_fences(), 0);
}

/* As a signal handler would. */
static void the_same_thread_is_refused_when_it_is_inside(void **state)
{
	(void)state;
	earn();
	assert_int_equal(vhi_queue_enter(q), 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(vhi_queue_enter(q), -EBUSY);
	vhi_queue_leave(q);
	assert_int_equal(q->gate, 0);
	assert_int_equal(take_fences(), 0);
	in_and_out();
}

static void a_change_finds_nobody_inside(void **state)
{
	int rc = -1;

	(void)state;
	earn();
	elsewhere(disable, &rc);
	assert_int_equal(rc, 0);
	assert_true(q->flags & VHI_QF_SHUT);
	assert_int_equal(q->gate, 0);
	assert_int_equal(take_fences(), 1);
	assert_int_equal(q->price, 2 * VHI_PASS_PRICE);
	in_and_out();
	earn();
	assert_true(has_pass());
	/* One that this thread makes itself needs no fence, and it gets its pass back at once. */
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_ENABLE, NULL), 0);
	assert_false(q->flags & VHI_QF_SHUT);
	assert_int_equal(take_fences(), 0);
	assert_int_equal(q->price, 2 * VHI_PASS_PRICE);
	in_and_out();
	assert_true(has_pass());
}

static void a_change_finds_the_owner_of_the_pass_inside(void **state)
{
	int rc = -1;

	(void)state;
	earn();
	assert_int_equal(vhi_queue_enter(q), 0);
	elsewhere(disable, &rc);
	assert_int_equal(rc, -EINPROGRESS);
	assert_false(q->flags & VHI_QF_SHUT);
	assert_false(vhi_queue_settled(q));
	elsewhere(enter, &rc);
	assert_int_equal(rc, -EBUSY);
	assert_int_equal(take_fences(), 1); /* the second one knew without */
	vhi_queue_leave(q);
	assert_true(vhi_queue_settled(q));
	assert_true(q->flags & VHI_QF_SHUT);
	assert_int_equal(q->gate, 0);
	elsewhere(enter, &rc);
	assert_int_equal(rc, 0);
	assert_int_equal(take_fences(), 0);
}

static void a_queue_moves_to_another_thread(void **state)
{
	int rc = -1;

	(void)state;
	earn();
	elsewhere(enter, &rc);
	assert_int_equal(rc, 0);
	assert_int_equal(take_fences(), 1);
	assert_int_equal(q->gate, 0);
	/* The first one may come back. */
	for (uint32_t i = 0; i < q->price; i++)
		assert_int_equal(vh_queue_pop(q, &(struct vh_req){0}, 1), 0);
	assert_true(has_pass());
	assert_int_equal(take_fences(), 0);
}

/* Two threads that stop each other at the two places where a pass is looked at. */
static void a_pass_that_is_taken_away_on_the_way_in_or_out(void **state)
{
	struct vhi_pass *pass;
	int rc = -1;

	(void)state;
	/* On the way in, it was seen inside. */
	earn();
	pass = q->pass;
	__atomic_store_n(&pass->inside, 1, __ATOMIC_RELAXED);
	elsewhere(disable, &rc);
	assert_int_equal(rc, -EINPROGRESS);
	assert_int_equal(vhi_queue_enter_late(q, pass), 0);
	assert_true(q->flags & VHI_QF_SHUT);
	assert_int_equal(q->gate, VHI_GATE_BUSY);
	vhi_queue_leave(q);
	assert_int_equal(q->gate, 0);
	/* It was not, and somebody else is by now. */
	earn();
	assert_true(has_pass());
	elsewhere(enter, &rc);
	assert_int_equal(rc, 0);
	q->gate = VHI_GATE_BUSY;
	__atomic_store_n(&pass->inside, 1, __ATOMIC_RELAXED);
	assert_int_equal(vhi_queue_enter_late(q, pass), -EBUSY);
	assert_int_equal(q->gate, VHI_GATE_BUSY);
	assert_int_equal(pass->inside, 0);
	q->gate = 0;
	/* On the way out, it had left. */
	earn();
	assert_int_equal(vhi_queue_enter(q), 0);
	__atomic_store_n(&pass->inside, 0, __ATOMIC_RELEASE);
	elsewhere(disable, &rc);
	assert_int_equal(rc, 0);
	q->gate = VHI_GATE_BUSY;
	vhi_queue_leave_late(q, pass);
	assert_int_equal(q->gate, VHI_GATE_BUSY);
	q->gate = 0;
	/* It had not. */
	earn();
	assert_int_equal(vhi_queue_enter(q), 0);
	elsewhere(enter, &rc);
	assert_int_equal(rc, -EBUSY);
	__atomic_store_n(&pass->inside, 0, __ATOMIC_RELEASE);
	vhi_queue_leave_late(q, pass);
	assert_int_equal(q->gate, 0);
}

static void *start(void *rc)
{
	*(int *)rc = vh_queue_start(q);
	return NULL;
}

static uint32_t waiting(void)
{
	uint32_t n;

	pthread_mutex_lock(&q->lock);
	n = q->waiting;
	pthread_mutex_unlock(&q->lock);
	return n;
}

static void a_start_waits_for_the_owner_of_the_pass(void **state)
{
	pthread_t thread;
	int rc = -1;

	(void)state;
	assert_int_equal(vh_queue_stop(q, NULL), 0);
	earn();
	assert_true(has_pass());
	assert_int_equal(vhi_queue_enter(q), 0);
	assert_int_equal(pthread_create(&thread, NULL, start, &rc), 0);
	while (!waiting())
		sched_yield();
	assert_int_equal(q->state, VH_QUEUE_STOPPED);
	vhi_queue_leave(q);
	pthread_join(thread, NULL);
	assert_int_equal(rc, 0);
	assert_int_equal(q->state, VH_QUEUE_RUNNING);
}

#define CROWD (VHI_PASSES + 3)

static uint32_t turn; /* atomic */

static void *in_turn(void *arg)
{
	const uint32_t mine = (uint32_t)(uintptr_t)arg;

	while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != mine)
		sched_yield();
	for (uint32_t i = 0; i <= q->price; i++)
		in_and_out();
	assert_int_equal(q->gate, mine < VHI_PASSES ? VHI_GATE_GIVEN : 0);
	__atomic_store_n(&turn, mine + 1, __ATOMIC_RELEASE);
	/* A thread that ends leaves its number to another one. */
	while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != CROWD)
		sched_yield();
	return NULL;
}

static void more_threads_than_passes(void **state)
{
	pthread_t threads[CROWD];

	(void)state;
	__atomic_store_n(&turn, 0, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < CROWD; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, in_turn, (void *)(uintptr_t)i), 0);
	for (uint32_t i = 0; i < CROWD; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t i = 1; i < VHI_PASSES; i++)
		assert_true(q->passes[i].thread && q->passes[i].thread != q->passes[i - 1].thread);
}

static void a_pass_never_costs_more_than_its_limit(void **state)
{
	int rc = -1;

	(void)state;
	for (uint32_t i = 0; i < 20; i++) {
		earn();
		in_and_out();
		assert_true(has_pass());
		elsewhere(enter, &rc);
		assert_int_equal(rc, 0);
	}
	assert_int_equal(q->price, VHI_PASS_PRICE_MAX);
}

static void a_child_goes_on_with_what_its_parent_had(void **state)
{
	int status = -1, rc = -1;
	pid_t child;

	(void)state;
	earn();
	assert_true(has_pass());
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		bool good = has_pass() && !vhi_queue_enter(q);

		elsewhere(disable, &rc);
		good = good && rc == -EINPROGRESS && q->gate & VHI_GATE_PENDING;
		vhi_queue_leave(q);
		_exit(good && q->flags & VHI_QF_SHUT && !refuse_fence ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(has_pass());
}

/*
 * What only one thread at a time may touch. Plain variables; a pair is equal but for the moments when somebody is inside.
 */
static struct {
	uint64_t a, b;
} owned;
static uint32_t running; /* atomic */

static void touch(void)
{
	volatile uint64_t *a = &owned.a, *b = &owned.b;

	assert_int_equal(*a, *b);
	*a = *a + 1;
	*b = *b + 1;
}

struct visitor {
	uint64_t entered;
	uint32_t calls; /* then it lets others in */
};

static void *visit(void *arg)
{
	struct visitor *v = arg;

	for (uint32_t i = 0; __atomic_load_n(&running, __ATOMIC_RELAXED); i++) {
		if (!vhi_queue_enter(q)) {
			touch();
			__atomic_store_n(&v->entered, v->entered + 1, __ATOMIC_RELAXED);
			vhi_queue_leave(q);
		}
		if (i % v->calls == v->calls - 1)
			sched_yield();
	}
	return NULL;
}

/* As a controller does it; when somebody is inside, it is left to him. Returns whether it was in itself. */
static bool change(bool on)
{
	bool ours = vhi_queue_begin(q);

	if (ours)
		touch();
	/* So that passes are given again, however often they are taken away. */
	__atomic_store_n(&q->price, VHI_PASS_PRICE, __ATOMIC_RELAXED);
	q->change.set = on ? VHI_QF_PAUSED : 0;
	q->change.clear = on ? 0 : VHI_QF_PAUSED;
	vhi_queue_finish(q, ours);
	return ours;
}

/* Until it was inside once more. */
static void wait_for(const struct visitor *v)
{
	const uint64_t entered = __atomic_load_n(&v->entered, __ATOMIC_RELAXED);

	while (__atomic_load_n(&v->entered, __ATOMIC_RELAXED) == entered)
		sched_yield();
}

#define BUSY UINT64_C(20000000000) /* ns */

static void nobody_meets_anybody(struct visitor *visitors, uint32_t n)
{
	const uint32_t changes = getenv("VH_FULL") ? 1000000 : 100000;
	const uint64_t since = vhi_now_ns();
	pthread_t threads[2];
	uint64_t sum = 0;

	owned.a = owned.b = 0;
	__atomic_store_n(&running, 1, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, visit, &visitors[i]), 0);
	for (uint32_t i = 0; i < changes; i++) {
		const bool on = i % 2;

		/* Each wait costs a turn of all that runs on a busy machine. */
		if (i % 500 == 0 && i >= 2000 && vhi_now_ns() - since > BUSY && !getenv("VH_FULL"))
			break;
		sum += change(on);
		if (i % 500 == 0)
			wait_for(&visitors[i / 500 % n]);
		if (i % 4)
			continue;
		while (!vhi_queue_settled(q))
			sched_yield();
		assert_int_equal(!!(__atomic_load_n(&q->flags, __ATOMIC_RELAXED) & VHI_QF_PAUSED), on);
	}
	__atomic_store_n(&running, 0, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(threads[i], NULL);
		sum += visitors[i].entered;
	}
	assert_int_equal(owned.a, sum);
	assert_int_equal(owned.b, sum);
}

static void one_thread_and_changes_at_full_speed(void **state)
{
	struct visitor visitors[] = {{.calls = 1000}};

	(void)state;
	nobody_meets_anybody(visitors, 1);
}

static void two_threads_and_changes_at_full_speed(void **state)
{
	struct visitor visitors[] = {{.calls = 1000}, {.calls = 7}};

	(void)state;
	nobody_meets_anybody(visitors, 2);
}

static void without_membarrier_there_is_no_pass(void **state)
{
	int rc = -1;

	(void)state;
	for (uint32_t i = 0; i < 10; i++)
		in_and_out();
	assert_int_equal(q->gate, 0);
	assert_int_equal(vhi_queue_enter(q), 0);
	assert_int_equal(q->gate, VHI_GATE_BUSY);
	elsewhere(disable, &rc);
	assert_int_equal(rc, -EINPROGRESS);
	elsewhere(enter, &rc);
	assert_int_equal(rc, -EBUSY);
	vhi_queue_leave(q);
	assert_true(q->flags & VHI_QF_SHUT);
	assert_int_equal(take_fences(), 0);
}

/* By a filter that came after the registration. */
static void a_fence_that_is_refused_ends_all_passes(void **state)
{
	int rc = -1;

	(void)state;
	earn();
	assert_true(has_pass());
	refuse_fence = true;
	elsewhere(disable, &rc);
	assert_int_equal(rc, 0);
	assert_true(q->flags & VHI_QF_SHUT);
	assert_int_equal(take_fences(), 1);
	for (uint32_t i = 0; i < 10; i++)
		in_and_out();
	assert_int_equal(q->gate, 0);
	elsewhere(enter, &rc);
	assert_int_equal(rc, 0);
	assert_int_equal(take_fences(), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Whether the call works is known once for the process; in this order each answer is met. */
int main(void)
{
	const struct CMUnitTest without[] = {
		CASE(without_membarrier_there_is_no_pass),
		CASE(one_thread_and_changes_at_full_speed),
		CASE(two_threads_and_changes_at_full_speed),
	};
	const struct CMUnitTest with[] = {
		CASE(who_calls_again_gets_a_pass_and_keeps_it),
		CASE(the_same_thread_is_refused_when_it_is_inside),
		CASE(a_change_finds_nobody_inside),
		CASE(a_change_finds_the_owner_of_the_pass_inside),
		CASE(a_queue_moves_to_another_thread),
		CASE(a_pass_that_is_taken_away_on_the_way_in_or_out),
		CASE(a_start_waits_for_the_owner_of_the_pass),
		CASE(more_threads_than_passes),
		CASE(a_pass_never_costs_more_than_its_limit),
		CASE(a_child_goes_on_with_what_its_parent_had),
		CASE(one_thread_and_changes_at_full_speed),
		CASE(two_threads_and_changes_at_full_speed),
		CASE(a_fence_that_is_refused_ends_all_passes),
	};
	int failed;

	refuse_registration = true;
	failed = cmocka_run_group_tests_name("without membarrier()", without, NULL, NULL);
	refuse_registration = false;
	return failed + cmocka_run_group_tests_name("with membarrier()", with, NULL, NULL);
}
