/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The channel on which the back-end asks: configuration changes, and what may go wrong on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vht_peer.h"

#define CONFIG_CHANGE 2

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static int back = -1; /* the front-end's end of the channel */

static int setup(void **state)
{
	(void)state;
	vht_peer_init(p, NULL, NULL, 0);
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

static void give_channel(void)
{
	const int before = back;

	back = vht_give_channel(p);
	if (before >= 0)
		close(before);
}

static bool readable(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return poll(&pfd, 1, 0) == 1;
}

static void expect_request(uint32_t flags)
{
	struct vht_msg m;

	assert_true(readable(back));
	assert_int_equal(vht_recv(back, &m), 1);
	assert_int_equal(m.request, CONFIG_CHANGE);
	assert_int_equal(m.flags, flags);
	assert_int_equal(m.size, 0);
}

static void expect_channel_closed(void)
{
	struct vht_msg m;

	vht_pump(p);
	assert_true(readable(back));
	assert_int_equal(vht_recv(back, &m), 0);
	assert_int_equal(vh_device_config_changed(p->dev), -ENOTCONN);
	/* That is all that ended. */
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
}

static void a_change_is_told_and_answers_are_matched(void **state)
{
	(void)state;
	vht_peer_up(p);
	give_channel();
	for (int i = 0; i < 50; i++) {
		assert_int_equal(vh_device_config_changed(p->dev), 0);
		expect_request(F_NEED_REPLY);
		vht_send_u64(back, CONFIG_CHANGE, F_REPLY, i % 2);
		vht_pump(p);
	}
	assert_false(readable(back));
	/* One answer more than there were requests. */
	vht_send_u64(back, CONFIG_CHANGE, F_REPLY, 0);
	expect_channel_closed();
}

static void no_reply_of_ours_waits_for_an_answer_there(void **state)
{
	(void)state;
	vht_peer_up(p);
	give_channel();
	assert_int_equal(vh_device_config_changed(p->dev), 0);
	vht_send(p->fd, M_GET_CONFIG, F_REQUEST, (uint8_t[16]){0, 0, 0, 0, 4}, 16, NULL, 0);
	vht_expect(p, M_GET_CONFIG);
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
}

static void without_reply_ack_no_answer_is_asked_for(void **state)
{
	(void)state;
	vht_peer_up(p);
	give_channel();
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, VHT_PF & ~UINT64_C(8));
	vht_expect_silence(p);
	assert_int_equal(vh_device_config_changed(p->dev), 0);
	expect_request(F_REQUEST);
	vht_send_u64(back, CONFIG_CHANGE, F_REPLY, 0);
	expect_channel_closed();
}

static void case_76_a_suspended_device_keeps_its_news_until_a_ring_starts(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	give_channel();
	vht_send_mem(p);
	assert_int_equal(vh_device_config_changed(p->dev), 0);
	assert_int_equal(vh_device_config_changed(p->dev), 0);
	vht_pump(p);
	assert_false(readable(back));
	vht_ring_up(p, 0);
	vht_pump(p);
	expect_request(F_NEED_REPLY);
	assert_false(readable(back));
}

static void who_does_not_answer_is_asked_no_more(void **state)
{
	int n = 0;

	(void)state;
	vht_peer_up(p);
	give_channel();
	while (n < 1000 && !vh_device_config_changed(p->dev))
		n++;
	assert_in_range(n, 1, 100);
	assert_int_equal(vh_device_config_changed(p->dev), -EAGAIN);
	vht_send_u64(back, CONFIG_CHANGE, F_REPLY, 0);
	vht_pump(p);
	assert_int_equal(vh_device_config_changed(p->dev), 0);
}

static void it_says_when_it_cannot_be_told(void **state)
{
	(void)state;
	assert_int_equal(vh_device_config_changed(p->dev), -EOPNOTSUPP);
	vht_peer_up(p);
	assert_int_equal(vh_device_config_changed(p->dev), -ENOTCONN);
	give_channel();
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, VHT_PF & ~UINT64_C(0x200));
	vht_expect_silence(p);
	assert_int_equal(vh_device_config_changed(p->dev), -EOPNOTSUPP);
	assert_int_equal(vh_slave_disconnect(p->s), 0);
	assert_int_equal(vh_device_config_changed(p->dev), -ENOTCONN);
}

static void case_38_a_new_channel_replaces_the_old_one(void **state)
{
	struct vht_msg m;
	int old;

	(void)state;
	vht_peer_up(p);
	give_channel();
	assert_int_equal(vh_device_config_changed(p->dev), 0);
	old = back;
	back = -1;
	give_channel();
	assert_int_equal(vht_recv(old, &m), 1);
	assert_int_equal(vht_recv(old, &m), 0);
	close(old);
	assert_int_equal(vh_device_config_changed(p->dev), 0);
	expect_request(F_NEED_REPLY);
	/* What the old one still owed counts no more. */
	vht_send_u64(back, CONFIG_CHANGE, F_REPLY, 0);
	vht_send_u64(back, CONFIG_CHANGE, F_REPLY, 0);
	expect_channel_closed();
}

static void what_is_wrong_on_the_channel_ends_the_channel_only(void **state)
{
	static const struct {
		uint32_t id, flags, size;
	} wrong[] = {
		{CONFIG_CHANGE, F_REQUEST, 8},	      {1, F_REPLY, 8},
		{CONFIG_CHANGE, F_REPLY, 4},	      {CONFIG_CHANGE, F_REPLY, 0},
		{CONFIG_CHANGE, F_REPLY, 0x7fffffff}, {CONFIG_CHANGE, 0, 8},
		{CONFIG_CHANGE, F_REPLY, 1024},
	};

	(void)state;
	vht_peer_up(p);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint32_t header[3] = {wrong[i].id, wrong[i].flags, wrong[i].size};
		uint8_t payload[1024] = {0};

		give_channel();
		assert_int_equal(vh_device_config_changed(p->dev), 0);
		expect_request(F_NEED_REPLY);
		assert_int_equal(send(back, header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
		if (wrong[i].size <= sizeof(payload))
			assert_int_equal(send(back, payload, wrong[i].size, MSG_NOSIGNAL), wrong[i].size);
		expect_channel_closed();
	}
	give_channel();
	close(back);
	back = -1;
	vht_pump(p);
	assert_int_equal(vh_device_config_changed(p->dev), -ENOTCONN);
}

static void an_fd_in_a_reply_is_closed_and_ends_the_channel(void **state)
{
	uint64_t zero = 0;
	unsigned before;

	(void)state;
	vht_peer_up(p);
	before = vht_open_fds();
	give_channel();
	assert_int_equal(vh_device_config_changed(p->dev), 0);
	expect_request(F_NEED_REPLY);
	vht_send(back, CONFIG_CHANGE, F_REPLY, &zero, sizeof(zero), &p->memfd, 1);
	expect_channel_closed();
	assert_int_equal(vht_open_fds(), before + 1);
}

static void case_37_38_other_kinds_of_fd_are_no_channel(void **state)
{
	int pair[2], listener;
	unsigned before;

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	before = vht_open_fds();
	vht_nack(p, M_SET_BACKEND_REQ_FD, NULL, 0, p->memfd);
	vht_nack(p, M_SET_BACKEND_REQ_FD, NULL, 0, pair[0]);
	vht_nack(p, M_SET_BACKEND_REQ_FD, NULL, 0, listener);
	assert_int_equal(listen(listener, 1), -1);
	vht_nack(p, M_SET_BACKEND_REQ_FD, NULL, 0, -1);
	/* The back-end's own end of the connection. */
	vht_nack(p, M_SET_BACKEND_REQ_FD, NULL, 0, vhi_chan_fd(&p->s->conn.main));
	assert_int_equal(vht_open_fds(), before);
	close(pair[0]);
	close(pair[1]);
	close(listener);
}

static void case_37_a_listening_socket_is_no_channel(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 1), 0);
	vht_nack(p, M_SET_BACKEND_REQ_FD, NULL, 0, fd);
	close(fd);
}

static void case_37_the_front_ends_own_end_is_no_channel(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/vht-slave-XXXXXX";

	(void)state;
	vht_peer_free(p);
	vht_peer_prepare(p, NULL, NULL, 0);
	assert_non_null(mkdtemp(dir));
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/socket", dir);
	assert_int_equal(vh_slave_listen(p->s, addr.sun_path), 0);
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(p->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_nack(p, M_SET_BACKEND_REQ_FD, NULL, 0, p->fd);
	vh_slave_free(p->s);
	p->s = NULL;
	assert_int_equal(rmdir(dir), 0);
}

static void the_front_ends_own_end_of_a_socket_pair_gives_itself_away(void **state)
{
	struct vht_msg m;

	(void)state;
	/* It has no name to be known by; what we say on the connection comes back on the channel, and ends it. */
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_msg(p, M_SET_BACKEND_REQ_FD, F_NEED_REPLY, NULL, 0, p->fd);
	vht_pump(p);
	close(p->fd);
	p->fd = -1;
	vht_pump(p);
	(void)m;
	assert_int_equal(vht_slave_stats(p).connected, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_change_is_told_and_answers_are_matched),
		T(no_reply_of_ours_waits_for_an_answer_there),
		T(without_reply_ack_no_answer_is_asked_for),
		T(case_76_a_suspended_device_keeps_its_news_until_a_ring_starts),
		T(who_does_not_answer_is_asked_no_more),
		T(it_says_when_it_cannot_be_told),
		T(case_38_a_new_channel_replaces_the_old_one),
		T(what_is_wrong_on_the_channel_ends_the_channel_only),
		T(an_fd_in_a_reply_is_closed_and_ends_the_channel),
		T(case_37_38_other_kinds_of_fd_are_no_channel),
		T(case_37_a_listening_socket_is_no_channel),
		T(case_37_the_front_ends_own_end_is_no_channel),
		T(the_front_ends_own_end_of_a_socket_pair_gives_itself_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
