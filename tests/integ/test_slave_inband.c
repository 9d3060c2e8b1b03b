/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Notifications by message, in both directions, and rings at guest addresses: what a back-end does only when asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vht_peer.h"

#define M_VRING_KICK 35
#define B_VRING_CALL 4
#define B_VRING_ERR  5
#define INBAND	     (UINT64_C(1) << VH_PF_INBAND_NOTIFICATIONS)
#define GPA	     (UINT64_C(1) << VH_PF_GPA_ADDRESSES)

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static int back = -1;

static int setup(void **state)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .more_protocol_features = INBAND | GPA};

	(void)state;
	vht_peer_init(p, &opts, NULL, 0);
	back = -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (back >= 0)
		close(back);
	vht_peer_free(p);
	return 0;
}

static void negotiate(uint64_t more)
{
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_PROTOCOL_FEATURES, VHT_PF | INBAND | GPA);
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, VHT_PF | more);
	vht_ok_u64(p, M_SET_FEATURES, VHT_BIT30 | VHT_VERSION);
	vht_send_mem(p);
}

static void configure(uint64_t base)
{
	struct vh_vring_addr addr = vht_addr(p, 0);

	addr.desc += base - VHT_MEM_UVA;
	addr.avail += base - VHT_MEM_UVA;
	addr.used += base - VHT_MEM_UVA;
	vht_ok_state(p, M_SET_VRING_NUM, 0, p->vq[0].num);
	vht_ok_state(p, M_SET_VRING_BASE, 0, 0);
	vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
}

static bool told(void)
{
	struct pollfd pfd = {.fd = back, .events = POLLIN};

	return poll(&pfd, 1, 0) == 1;
}

static void expect(uint32_t id)
{
	struct vht_msg m;

	assert_true(told());
	assert_int_equal(vht_recv(back, &m), 1);
	assert_int_equal(m.request, id);
	assert_int_equal(m.flags, F_NEED_REPLY);
	assert_int_equal(m.size, 8);
	assert_int_equal(vht_u32(&m, 0), 0);
	assert_int_equal(vht_u32(&m, 4), 0);
}

static void answer(uint32_t id)
{
	vht_send_u64(back, id, F_REPLY, 0);
	vht_pump(p);
}

static void kicks_and_calls_go_by_message(void **state)
{
	(void)state;
	negotiate(INBAND);
	back = vht_give_channel(p);
	configure(VHT_MEM_UVA);
	vht_offer_echo(p, 0);
	vht_ok_state(p, M_VRING_KICK, 0, 0); /* it starts the ring as well */
	assert_int_equal(vht_used(p, 0), 1);
	expect(B_VRING_CALL);
	/* Until that is answered, many are one. */
	for (int i = 0; i < 3; i++) {
		vht_offer_echo(p, 0);
		vht_ok_state(p, M_VRING_KICK, 0, 0);
	}
	assert_int_equal(vht_used(p, 0), 4);
	assert_false(told());
	answer(B_VRING_CALL);
	expect(B_VRING_CALL);
	answer(B_VRING_CALL);
	assert_false(told());
	/* Nobody polls: without a kick nothing is looked at. */
	vht_offer_echo(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 4);
	vht_nack_state(p, M_VRING_KICK, VHT_QUEUES, 0);
}

/* Whose answer will never come is waited for no more. */
static void another_channel_is_used_like_the_first(void **state)
{
	(void)state;
	negotiate(INBAND);
	back = vht_give_channel(p);
	configure(VHT_MEM_UVA);
	vht_offer_echo(p, 0);
	vht_ok_state(p, M_VRING_KICK, 0, 0);
	expect(B_VRING_CALL);
	close(back);
	back = vht_give_channel(p);
	vht_offer_echo(p, 0);
	vht_ok_state(p, M_VRING_KICK, 0, 0);
	assert_int_equal(vht_used(p, 0), 2);
	expect(B_VRING_CALL);
	answer(B_VRING_CALL);
}

static void an_fd_that_was_given_is_used(void **state)
{
	(void)state;
	negotiate(INBAND);
	back = vht_give_channel(p);
	configure(VHT_MEM_UVA);
	vht_set_call(p, 0);
	vht_set_kick(p, 0);
	vht_count(p->vq[0].call);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
	assert_int_equal(vht_count(p->vq[0].call), 1);
	assert_false(told());
}

static void a_broken_ring_is_told(void **state)
{
	(void)state;
	negotiate(INBAND);
	back = vht_give_channel(p);
	configure(VHT_MEM_UVA);
	vht_ok_state(p, M_VRING_KICK, 0, 0);
	p->vq[0].next = 300; /* the index runs away */
	vht_offer_echo(p, 0);
	vht_ok_state(p, M_VRING_KICK, 0, 0);
	expect(B_VRING_ERR);
	answer(B_VRING_ERR);
	assert_int_equal(vht_event(p, VH_EVENT_BROKEN).queue, 0);
}

static void not_without_the_feature(void **state)
{
	(void)state;
	negotiate(0);
	back = vht_give_channel(p);
	configure(VHT_MEM_UVA);
	vht_set_kick(p, 0);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
	assert_false(told());
}

static void case_159_a_kick_is_refused_without_the_feature_and_of_a_ring_that_is_not_there(void **state)
{
	(void)state;
	negotiate(INBAND);
	vht_nack_state(p, M_VRING_KICK, VHT_QUEUES, 0);
	vht_nack_state(p, M_VRING_KICK, UINT32_MAX, 0);
	vht_nack_state(p, M_VRING_KICK, 1u << 16, 0);
	vht_peer_free(p);
	vht_peer_init(p, NULL, NULL, 0);
	vht_negotiate(p, VHT_VERSION | VHT_BIT30);
	vht_nack_state(p, M_VRING_KICK, 0, 0);
}

/* Each is one look at the ring, and nothing is kept of it. */
static void case_159_kicks_by_the_thousand(void **state)
{
	const uint32_t first[2] = {0, 0};

	(void)state;
	negotiate(INBAND);
	back = vht_give_channel(p);
	/* Before the ring is there it is as SET_VRING_KICK: what is missing comes later. */
	vht_ok_state(p, M_VRING_KICK, 0, 0);
	configure(VHT_MEM_UVA);
	for (int i = 0; i < 20000; i++) {
		vht_msg(p, M_VRING_KICK, F_REQUEST, first, sizeof(first), -1);
		if (i % 100 == 99)
			vht_pump(p);
	}
	assert_int_equal(vht_used(p, 0), 0);
	vht_offer_echo(p, 0);
	vht_ok_state(p, M_VRING_KICK, 0, 0);
	assert_int_equal(vht_used(p, 0), 1);
	expect(B_VRING_CALL);
	assert_false(told());
}

static void case_048_not_without_what_it_needs(void **state)
{
	(void)state;
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, (VHT_PF | INBAND) & ~(UINT64_C(1) << VH_PF_BACKEND_REQ));
	vht_expect_closed(p);
}

static void rings_at_guest_addresses(void **state)
{
	struct vh_vring_addr addr;

	(void)state;
	negotiate(GPA);
	addr = vht_addr(p, 0);
	vht_ok_state(p, M_SET_VRING_NUM, 0, p->vq[0].num);
	vht_nack(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1); /* user addresses */
	configure(VHT_MEM_GPA);
	vht_set_call(p, 0);
	vht_set_kick(p, 0);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(kicks_and_calls_go_by_message),
		CASE(another_channel_is_used_like_the_first),
		CASE(an_fd_that_was_given_is_used),
		CASE(a_broken_ring_is_told),
		CASE(not_without_the_feature),
		CASE(case_048_not_without_what_it_needs),
		CASE(rings_at_guest_addresses),
		CASE(case_159_a_kick_is_refused_without_the_feature_and_of_a_ring_that_is_not_there),
		CASE(case_159_kicks_by_the_thousand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
