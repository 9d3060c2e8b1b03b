/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Queues that are polled, for a while or always, what becomes of kicks, and a wait that somebody ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "vht_peer.h"

#define ENOUGH 64 /* rounds in which a back-end that polls has looked at everything */

static struct vht_peer peer;
static struct vht_peer *const p = &peer;

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

static void up(uint32_t poll_us)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .poll_us = poll_us};

	vht_peer_init(p, &opts, NULL, 0);
	vht_peer_up(p);
}

static void rounds(int n)
{
	for (int i = 0; i < n; i++)
		assert_in_range(vh_slave_dispatch(p->s), 0, 1);
}

/* VIRTQ_USED_F_NO_NOTIFY */
static bool no_kicks_wanted(void)
{
	return p->mem[p->vq[0].used] & 1;
}

static bool readable(void)
{
	struct pollfd pfd = {.fd = vh_slave_fd(p->s), .events = POLLIN};

	return poll(&pfd, 1, 0) == 1;
}

static void requests_are_found_without_a_kick_until_none_came_for_a_while(void **state)
{
	(void)state;
	up(2000);
	vht_pump(p);
	assert_false(no_kicks_wanted());
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	assert_int_equal(vh_slave_dispatch(p->s), 1);
	assert_int_equal(vht_used(p, 0), 1);
	assert_true(no_kicks_wanted());
	/* The last request of all begins the time anew. */
	for (uint16_t n = 2; n < 5; n++) {
		vht_offer_echo(p, 0);
		do {
			if (vh_slave_dispatch(p->s) == 0)
				vht_kick(p, 0); /* this machine was too slow: it sleeps */
		} while (vht_used(p, 0) != n);
	}
	while (vh_slave_dispatch(p->s) == 1)
		continue;
	assert_false(no_kicks_wanted());
	assert_false(readable());
	/* And again. */
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	assert_true(readable());
	vh_slave_dispatch(p->s);
	assert_int_equal(vht_used(p, 0), 5);
}

static void a_look_that_finds_nothing_begins_no_polling(void **state)
{
	(void)state;
	up(60 * 1000 * 1000);
	vht_pump(p);
	vht_kick(p, 0);
	rounds(2);
	assert_int_equal(vh_slave_dispatch(p->s), 0);
	assert_false(no_kicks_wanted());
}

static void a_queue_that_is_always_polled_wants_no_kick(void **state)
{
	(void)state;
	up(VH_POLL_ALWAYS);
	rounds(ENOUGH);
	assert_true(no_kicks_wanted());
	for (uint16_t n = 1; n < 100; n++) {
		vht_offer_echo(p, 0);
		assert_int_equal(vh_slave_dispatch(p->s), 1);
		assert_int_equal(vht_used(p, 0), n);
	}
	assert_true(no_kicks_wanted());
	assert_int_equal(vht_slave_stats(p).queue_kicks, 0);
}

static void messages_are_heard_while_queues_are_polled(void **state)
{
	(void)state;
	up(VH_POLL_ALWAYS);
	rounds(ENOUGH);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 0);
	/* A queue that is disabled is none to poll. */
	rounds(ENOUGH);
	assert_int_equal(vh_slave_dispatch(p->s), 0);
	vht_offer_echo(p, 0);
	rounds(ENOUGH);
	assert_int_equal(vht_used(p, 0), 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	rounds(ENOUGH);
	assert_int_equal(vht_used(p, 0), 1);
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
	rounds(ENOUGH);
	assert_int_equal(vh_slave_dispatch(p->s), 0);
	assert_false(readable());
}

static void the_end_of_a_connection_is_heard_too(void **state)
{
	(void)state;
	up(VH_POLL_ALWAYS);
	rounds(ENOUGH);
	close(p->fd);
	p->fd = -1;
	rounds(ENOUGH);
	vht_event(p, VH_EVENT_DISCONNECTED);
	assert_int_equal(vh_slave_dispatch(p->s), 0);
}

static void kicks_are_counted_where_they_are_and_none_is_left_behind(void **state)
{
	(void)state;
	up(0);
	for (uint16_t n = 1; n < 4; n++) {
		vht_offer_echo(p, 0);
		vht_kick(p, 0);
		assert_true(readable());
		vht_pump(p);
		assert_int_equal(vht_used(p, 0), n);
		assert_false(readable());
		assert_int_equal(vht_slave_stats(p).queue_kicks, n);
	}
	/* Whoever has the queue next must not take them for new ones. */
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
	assert_int_equal(vht_count(p->vq[0].kick), 0);
}

static void a_wait_can_be_ended_from_anywhere(void **state)
{
	(void)state;
	up(0);
	vht_pump(p);
	assert_int_equal(vh_slave_wake(NULL), -EINVAL);
	assert_int_equal(vh_slave_wake(p->s), 0);
	assert_true(readable());
	assert_in_range(vh_slave_wait(p->s, -1), 0, 1);
	vht_pump(p);
	assert_int_equal(vh_slave_wait(p->s, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_teardown(name, teardown)
		T(requests_are_found_without_a_kick_until_none_came_for_a_while),
		T(a_look_that_finds_nothing_begins_no_polling),
		T(a_queue_that_is_always_polled_wants_no_kick),
		T(messages_are_heard_while_queues_are_polled),
		T(the_end_of_a_connection_is_heard_too),
		T(kicks_are_counted_where_they_are_and_none_is_left_behind),
		T(a_wait_can_be_ended_from_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
