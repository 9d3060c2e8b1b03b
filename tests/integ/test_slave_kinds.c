/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Messages that a device of one kind answers, and answers with bytes that come later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vht_peer.h"

#define PF(name) (UINT64_C(1) << VH_PF_##name)

static struct vht_peer peer;
static struct vht_peer *const p = &peer;

/* Everything of every kind. */
static struct kinds {
	int32_t rc;
	uint64_t later;
	uint8_t mac[VH_MAC_LEN];
	uint32_t mtu, key_len;
	int64_t closed;
	int fd;
} kinds;

static int32_t take_rarp(void *ctx, const void *mac, uint32_t len, uint64_t later)
{
	struct kinds *k = ctx;

	assert_int_equal(len, VH_MAC_LEN);
	memcpy(k->mac, mac, len);
	k->later = later;
	return k->rc;
}

static int32_t take_mtu(void *ctx, uint32_t mtu, uint64_t later)
{
	struct kinds *k = ctx;

	k->mtu = mtu;
	k->later = later;
	return k->rc;
}

static int32_t take_session(void *ctx, const struct vh_crypto_session *session, uint64_t later)
{
	struct kinds *k = ctx;

	k->key_len = session->key_len;
	k->later = later;
	return k->rc ? k->rc : 7;
}

static int32_t take_close(void *ctx, int64_t id, uint64_t later)
{
	struct kinds *k = ctx;

	k->closed = id;
	k->later = later;
	return k->rc;
}

static int32_t take_socket(void *ctx, int32_t fd, uint64_t later)
{
	struct kinds *k = ctx;

	k->fd = dup(fd);
	k->later = later;
	return k->rc;
}

static void connect_kinds(uint32_t type, uint64_t features)
{
	const struct vh_device_opts opts = {.size = sizeof(opts), .type = type, .features = features, .max_queues = 2};
	const struct vh_device_ops ops = {.size = sizeof(ops),
					  .send_rarp = take_rarp,
					  .set_mtu = take_mtu,
					  .create_crypto_session = take_session,
					  .close_crypto_session = take_close,
					  .set_gpu_socket = take_socket};

	vht_peer_free(p);
	vht_peer_prepare(p, NULL, NULL, 0);
	vh_slave_free(p->s);
	vh_device_free(p->dev);
	assert_int_equal(vh_device_new(&opts, &ops, &kinds, &p->dev), 0);
	assert_int_equal(vh_slave_new(NULL, p->dev, NULL, NULL, &p->s), 0);
	vht_peer_connect(p);
}

static int setup(void **state)
{
	(void)state;
	kinds = (struct kinds){.fd = -1};
	vht_peer_init(p, NULL, NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

static uint64_t offered(void)
{
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_PROTOCOL_FEATURES);
	return vht_u64(&p->reply, 0);
}

static void what_a_device_does_is_offered(void **state)
{
	const uint64_t all = PF(RARP) | PF(MTU) | PF(CRYPTO_SESSION);

	(void)state;
	assert_int_equal(offered() & all, 0);
	connect_kinds(VH_TYPE_NET, 8);
	assert_int_equal(offered() & all, all);
	connect_kinds(VH_TYPE_NET, 0);
	assert_int_equal(offered() & all, all & ~PF(MTU));
	connect_kinds(VH_TYPE_BLK, 8);
	assert_int_equal(offered() & all, all & ~PF(MTU));
}

static void a_device_may_refuse(void **state)
{
	const uint8_t mac[8] = {1, 2, 3, 4, 5, 6, 0xee, 0xee};

	(void)state;
	connect_kinds(VH_TYPE_NET, 8);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION | 8);
	vht_ok(p, M_SEND_RARP, mac, sizeof(mac), -1);
	assert_memory_equal(kinds.mac, mac, VH_MAC_LEN);
	vht_ok_u64(p, M_NET_SET_MTU, 68);
	assert_int_equal(kinds.mtu, 68);
	vht_nack_u64(p, M_NET_SET_MTU, 67);
	kinds.rc = -EINVAL;
	vht_nack_u64(p, M_NET_SET_MTU, 1500);
	vht_nack_u64(p, M_CLOSE_CRYPTO_SESSION, 9);
	assert_int_equal(kinds.closed, 9);
}

/* Each of them, and what is behind it in the order of requests. */
static void a_status_may_come_later(void **state)
{
	static const uint32_t ids[] = {M_SEND_RARP, M_NET_SET_MTU, M_CLOSE_CRYPTO_SESSION};

	(void)state;
	connect_kinds(VH_TYPE_NET, 8);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION | 8);
	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		kinds.rc = -EINPROGRESS;
		vht_msg_u64(p, ids[i], F_NEED_REPLY, 1500);
		vht_expect_silence(p);
		assert_int_equal(vh_device_reply(p->dev, kinds.later, "x", 1, -1), -EINVAL);
		assert_int_equal(vh_device_finish(p->dev, kinds.later, i == 1 ? -EIO : 0), 0);
		vht_expect_u64(p, ids[i], i == 1);
		assert_int_equal(vh_device_finish(p->dev, kinds.later, 0), -ESTALE);
	}
}

static int64_t create(uint64_t op, uint32_t key_len)
{
	uint8_t payload[1072] = {0};

	memcpy(payload, &op, sizeof(op));
	memcpy(payload + (op == 0x404 ? 16 : 12), &key_len, sizeof(key_len));
	vht_msg(p, M_CREATE_CRYPTO_SESSION, F_REQUEST, payload, sizeof(payload), -1);
	vht_pump(p);
	if (kinds.rc == -EINPROGRESS) {
		int64_t number = INT64_C(1) << 33;

		vht_expect_silence(p);
		assert_int_equal(vh_device_finish(p->dev, kinds.later, 0), -EINVAL);
		assert_int_equal(vh_device_reply(p->dev, kinds.later, &number, 4, -1), -EINVAL);
		assert_int_equal(vh_device_reply(p->dev, kinds.later, &number, 8, -1), 0);
	}
	vht_expect(p, M_CREATE_CRYPTO_SESSION);
	assert_int_equal(p->reply.size, 1072);
	return (int64_t)vht_u64(&p->reply, 1064);
}

static void a_session_has_a_number_or_none(void **state)
{
	(void)state;
	connect_kinds(20, 0);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	assert_int_equal(create(2, 16), 7);
	assert_int_equal(kinds.key_len, 16);
	assert_int_equal(create(0x404, 1024), 7);
	assert_int_equal(kinds.key_len, 1024);
	/* A key that is longer than its field never reaches the device. */
	assert_int_equal(create(2, 65), -1);
	assert_int_equal(create(0x404, 1025), -1);
	assert_int_equal(kinds.key_len, 1024);
	kinds.rc = -EINPROGRESS;
	assert_true(create(2, 0) == INT64_C(1) << 33);
	kinds.rc = -ENOSPC;
	assert_int_equal(create(2, 0), -1);
}

static void a_display_is_a_connected_socket(void **state)
{
	int fds[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	connect_kinds(16, 0);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_nack(p, M_GPU_SET_SOCKET, NULL, 0, null);
	assert_int_equal(kinds.fd, -1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	vht_ok(p, M_GPU_SET_SOCKET, NULL, 0, fds[0]);
	assert_int_equal(write(kinds.fd, "x", 1), 1);
	close(kinds.fd), close(fds[0]), close(fds[1]), close(null);
}

static void config_space_may_come_later(void **state)
{
	const uint32_t ask[3] = {4, 8, 0};

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	p->echo.config_later = true;
	vht_msg(p, M_GET_CONFIG, F_REQUEST, ask, sizeof(ask) + 8 * 0, -1);
	vht_expect(p, M_GET_CONFIG); /* 12 bytes where 20 are due */
	assert_int_equal(p->reply.size, 0);
	for (int i = 0; i < 2; i++) {
		uint8_t whole[20] = {0};

		memcpy(whole, ask, sizeof(ask));
		vht_msg(p, M_GET_CONFIG, F_REQUEST, whole, sizeof(whole), -1);
		/* What is asked behind it is handled, and answered in order. */
		vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
		vht_expect_silence(p);
		assert_int_equal(vh_device_reply(p->dev, p->echo.later, "12345678", 7, -1), -EINVAL);
		assert_int_equal(i ? vh_device_finish(p->dev, p->echo.later, -EIO)
				   : vh_device_reply(p->dev, p->echo.later, "12345678", 8, -1),
				 0);
		vht_pump(p);
		assert_int_equal(vht_recv(p->fd, &p->reply), 1);
		assert_int_equal(p->reply.request, M_GET_CONFIG);
		assert_int_equal(p->reply.size, i ? 0 : 20);
		if (!i)
			assert_memory_equal(p->reply.payload + 12, "12345678", 8);
		assert_int_equal(vht_recv(p->fd, &p->reply), 1);
		assert_int_equal(p->reply.request, M_GET_FEATURES);
	}
}

/* Its fd as well, which is the library's from then on. */
static void an_answer_that_nobody_waits_for_is_kept_by_its_owner(void **state)
{
	uint8_t whole[20] = {0};
	const uint32_t ask[3] = {0, 8, 0};

	(void)state;
	memcpy(whole, ask, sizeof(ask));
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	p->echo.config_later = true;
	vht_msg(p, M_GET_CONFIG, F_REQUEST, whole, sizeof(whole), -1);
	vht_expect_silence(p);
	assert_int_equal(vh_device_reply(p->dev, p->echo.later, "12345678", 8, 1000000), -EBADF);
	assert_int_equal(vh_device_reply(p->dev, p->echo.later, "12345678", 8, p->memfd), 0);
	close(p->fd);
	p->fd = -1;
	vht_pump(p);
	assert_int_equal(vh_device_reply(p->dev, p->echo.later, "12345678", 8, p->memfd), -ESTALE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_a_device_does_is_offered),
		CASE(a_device_may_refuse),
		CASE(a_status_may_come_later),
		CASE(a_session_has_a_number_or_none),
		CASE(a_display_is_a_connected_socket),
		CASE(config_space_may_come_later),
		CASE(an_answer_that_nobody_waits_for_is_kept_by_its_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
