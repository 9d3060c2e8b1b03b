/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A wait after an answer: it looks for the next message before it sleeps, but does not go on with that in vain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vht_msan.h"
#include "vht_peer.h"

#define AGAIN 128 /* waits that did not look, then one does */

static struct vht_peer peer;
static struct vht_peer *const p = &peer;

static uint32_t looks, sleeps; /* system calls that could not and could block */
static void (*on_look)(void);

/* The library's, which is linked statically, comes here. */
int epoll_wait(int epfd, struct epoll_event *evs, int max, int timeout_ms)
{
	int n;

	if (timeout_ms)
		sleeps++;
	else
		looks++;
	if (!timeout_ms && on_look)
		on_look();
	n = (int)syscall(SYS_epoll_pwait, epfd, evs, max, timeout_ms, NULL, 0);
	vht_written(evs, n > 0 ? (size_t)n * sizeof(*evs) : 0);
	return n;
}

static int setup(void **state)
{
	(void)state;
	vht_peer_init(p, NULL, NULL, 0);
	on_look = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	on_look = NULL;
	vht_peer_free(p);
	return 0;
}

static void ask(void)
{
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
}

/* A message is answered by dispatch; the reply is not read, so that nothing here dispatches again. */
static void answered(void)
{
	ask();
	assert_int_equal(vh_slave_dispatch(p->s), 0);
}

static void wait_in_vain(void)
{
	looks = sleeps = 0;
	assert_int_equal(vh_slave_wait(p->s, 1), 0);
	assert_int_equal(sleeps, 1);
}

static void ask_once(void)
{
	on_look = NULL;
	ask();
}

static uint64_t messages(void)
{
	return vht_slave_stats(p).messages_in;
}

static void what_comes_soon_is_not_slept_for(void **state)
{
	uint64_t before;

	(void)state;
	answered();
	before = messages();
	for (int i = 0; i < 10; i++) {
		looks = sleeps = 0;
		on_look = ask_once;
		assert_int_equal(vh_slave_wait(p->s, -1), 0);
		assert_int_equal(sleeps, 0);
		assert_int_equal(looks, 1);
	}
	assert_int_equal(messages(), before + 10);
}

static void looking_in_vain_ends_and_is_tried_again_later(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		answered();
		wait_in_vain();
		assert_true(looks);
	}
	for (int i = 0; i < AGAIN - 1; i++) {
		answered();
		wait_in_vain();
		assert_int_equal(looks, 0);
	}
	/* And now it is worth it, so the next wait looks too. */
	answered();
	on_look = ask_once;
	looks = sleeps = 0;
	assert_int_equal(vh_slave_wait(p->s, -1), 0);
	assert_int_equal(sleeps, 0);
	wait_in_vain();
	assert_true(looks);
}

static void without_an_answer_nobody_looks(void **state)
{
	(void)state;
	wait_in_vain();
	assert_int_equal(looks, 0);
	vht_msg(p, M_SET_OWNER, F_REQUEST, NULL, 0, -1);
	assert_int_equal(vh_slave_wait(p->s, -1), 0);
	wait_in_vain();
	assert_int_equal(looks, 0);
	/* A dispatch never looks twice, nor does a wait without time. */
	answered();
	ask();
	looks = sleeps = 0;
	assert_int_equal(vh_slave_dispatch(p->s), 0);
	assert_int_equal(vh_slave_wait(p->s, 0), 0);
	assert_int_equal(looks, 2);
	assert_int_equal(sleeps, 0);
}

static void stop_from_outside(void)
{
	on_look = NULL;
	assert_int_equal(vh_slave_stop(p->s), 0);
}

static void a_stop_ends_the_look(void **state)
{
	(void)state;
	answered();
	on_look = stop_from_outside;
	looks = sleeps = 0;
	assert_int_equal(vh_slave_wait(p->s, -1), -ESHUTDOWN);
	assert_int_equal(sleeps, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_comes_soon_is_not_slept_for, setup, teardown),
		cmocka_unit_test_setup_teardown(looking_in_vain_ends_and_is_tried_again_later, setup, teardown),
		cmocka_unit_test_setup_teardown(without_an_answer_nobody_looks, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stop_ends_the_look, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
