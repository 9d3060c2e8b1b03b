/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The back-end's connections and messages: who may connect, what is answered, what is refused and how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vht_peer.h"

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static char dir[64], path[96];

static int setup(void **state)
{
	(void)state;
	vht_peer_init(p, NULL, NULL, 0);
	return 0;
}

static int setup_listening(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/vht-slave-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	vht_peer_prepare(p, NULL, NULL, 0);
	assert_int_equal(vh_slave_listen(p->s, path), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

static int teardown_listening(void **state)
{
	vht_peer_free(p);
	p->fd = -1;
	(void)state;
	assert_int_equal(access(path, F_OK), -1);
	rmdir(dir);
	return 0;
}

static int client(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void leave(int *fd)
{
	close(*fd);
	*fd = -1;
}

static void answers_with_what_works(void **state)
{
	(void)state;
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	/* The device's bit 0, LOG_ALL, indirect, event index, bit 30, version 1, packed, ring reset. */
	vht_expect_u64(p, M_GET_FEATURES, UINT64_C(0x10574000001));
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_PROTOCOL_FEATURES, VHT_PF);
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, VHT_PF);
	vht_msg(p, M_GET_QUEUE_NUM, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_QUEUE_NUM, VHT_QUEUES);
	vht_msg(p, M_GET_MAX_MEM_SLOTS, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_MAX_MEM_SLOTS, 509);
	/* Case 9: exactly one reply, whatever need_reply says. */
	vht_msg(p, M_GET_FEATURES, F_NEED_REPLY, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
}

static void network_queues_are_counted_in_pairs(void **state)
{
	const struct vh_device_opts dev = {.size = sizeof(dev), .type = VH_TYPE_NET, .max_queues = 4};

	(void)state;
	vht_peer_free(p);
	vht_peer_init(p, NULL, &dev, 0);
	vht_msg(p, M_GET_QUEUE_NUM, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_QUEUE_NUM, 2);
}

static void offers_can_be_narrowed(void **state)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts),
					   .mask_protocol_features = ~UINT64_C(8),
					   .mask_features = UINT64_C(1) << VH_F_RING_EVENT_IDX};
	const struct vh_slave_opts one = {.size = sizeof(one), .mask_protocol_features = 1 << VH_PF_STATUS};
	const struct vh_slave_opts bare = {.size = sizeof(bare), .mask_features = VHT_BIT30};

	(void)state;
	vht_peer_free(p);
	vht_peer_init(p, &opts, NULL, 0);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_FEATURES, UINT64_C(0x10550000001));
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_PROTOCOL_FEATURES, 8);
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, 8);
	vht_nack_u64(p, M_SET_STATUS, 1);

	vht_peer_free(p);
	vht_peer_init(p, &one, NULL, 0);
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_PROTOCOL_FEATURES, VHT_PF & ~(UINT64_C(1) << VH_PF_STATUS));

	vht_peer_free(p);
	vht_peer_init(p, &bare, NULL, 0);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_FEATURES, UINT64_C(0x10530000001));
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect_closed(p);
}

static void case_8_no_ack_before_reply_ack_was_negotiated(void **state)
{
	(void)state;
	vht_msg_u64(p, M_SET_FEATURES, F_NEED_REPLY, VHT_BIT30);
	vht_expect_silence(p);
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_NEED_REPLY, VHT_PF);
	vht_expect_silence(p);
	vht_ok(p, M_SET_OWNER, NULL, 0, -1);
	/* Nor after it was given up again. */
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, 0);
	vht_msg(p, M_SET_OWNER, F_NEED_REPLY, NULL, 0, -1);
	vht_expect_silence(p);
}

static void case_47_bits_that_were_not_offered_are_refused(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_nack_u64(p, M_SET_FEATURES, VHT_BIT30 | UINT64_C(1) << 27);
	vht_nack_u64(p, M_SET_FEATURES, UINT64_C(1) << 63);
	assert_int_equal(p->echo.features, VHT_BIT30 | VHT_VERSION);
	vht_nack_u64(p, M_SET_PROTOCOL_FEATURES, VHT_PF | 4);
	/* INBAND_NOTIFICATIONS is not offered. */
	vht_nack_u64(p, M_SET_PROTOCOL_FEATURES, VHT_PF | 1 << 14);
	vht_ok(p, M_SET_OWNER, NULL, 0, -1);
	assert_int_equal(vht_event(p, VH_EVENT_NEGOTIATED).value, VHT_BIT30 | VHT_VERSION);
	/* Where no status can be sent the connection ends. */
	vht_msg_u64(p, M_SET_FEATURES, F_REQUEST, UINT64_C(1) << 63);
	vht_expect_closed(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, -EPROTO);
}

static void case_53_features_ok_reads_back_cleared_after_refused_features(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_ok_u64(p, M_SET_STATUS, 11);
	vht_msg(p, M_GET_STATUS, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_STATUS, 11);
	assert_int_equal(vht_event(p, VH_EVENT_STATUS).value, 11);
	p->echo.features_rc = -ENOTSUP;
	vht_nack_u64(p, M_SET_FEATURES, VHT_BIT30);
	vht_msg(p, M_GET_STATUS, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_STATUS, 3);
	vht_ok_u64(p, M_SET_STATUS, 11);
	vht_msg(p, M_GET_STATUS, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_STATUS, 3);
	p->echo.features_rc = 0;
	vht_ok_u64(p, M_SET_FEATURES, VHT_BIT30);
	vht_ok_u64(p, M_SET_STATUS, 11);
	vht_msg(p, M_GET_STATUS, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_STATUS, 11);
	vht_ok_u64(p, M_SET_STATUS, 0);
	vht_nack_u64(p, M_SET_STATUS, 0x100);
}

static void refusals_have_the_form_of_their_message(void **state)
{
	uint64_t inflight[3] = {0x1000, 0, 0x001000000001ffff};
	uint32_t device_state[2] = {0, 0};
	uint32_t config[3] = {255, 2, 0};

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_msg(p, M_GET_CONFIG, F_REQUEST, config, sizeof(config), -1);
	vht_expect(p, M_GET_CONFIG);
	assert_int_equal(p->reply.size, 0);
	vht_msg(p, M_GET_INFLIGHT_FD, F_NEED_REPLY, inflight, sizeof(inflight), -1);
	vht_expect(p, M_GET_INFLIGHT_FD);
	assert_int_equal(p->reply.size, 24);
	assert_int_equal(p->reply.n_fds, 0);
	assert_int_equal(vht_u64(&p->reply, 0), 0);
	assert_int_equal(vht_u64(&p->reply, 16), inflight[2]);
	vht_msg(p, M_SET_DEVICE_STATE_FD, F_REQUEST, device_state, sizeof(device_state), p->memfd);
	vht_expect_u64(p, M_SET_DEVICE_STATE_FD, 0x101);
	vht_nack_u64(p, 19, 0);		    /* SEND_RARP: not negotiated */
	vht_nack_u64(p, 4711, 0);	    /* no such message */
	vht_nack(p, 33, NULL, 0, p->memfd); /* GPU_SET_SOCKET: known, and nobody's here */
	vht_ok(p, M_SET_OWNER, NULL, 0, -1);
	assert_int_equal(vht_slave_stats(p).rejected, 6);
	vht_msg(p, 44, F_NEED_REPLY, NULL, 0, -1); /* GET_SHMEM_CONFIG has no error form */
	vht_expect_closed(p);
}

static void case_10_11_unknown_ids_end_the_connection_where_no_status_can_be_sent(void **state)
{
	static const uint32_t ids[] = {0, 46, 1000, INT32_MAX, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		vht_msg(p, ids[i], F_REQUEST, NULL, 0, -1);
		vht_expect_closed(p);
		leave(&p->fd);
		vht_peer_connect(p);
	}
}

static void config_space_is_read_and_written(void **state)
{
	uint32_t get[3] = {8, 4, 0};
	uint32_t set[4] = {8, 4, 0};
	uint8_t zeros[200] = {0};
	uint32_t all[3] = {0, 256, 0};
	uint32_t refused[3] = {200, 4, 0};

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	memcpy(&set[3], "abcd", 4);
	vht_ok(p, M_SET_CONFIG, set, sizeof(set), -1);
	assert_int_equal(vht_event(p, VH_EVENT_CONFIG_WRITTEN).count, 1);
	vht_msg(p, M_GET_CONFIG, F_REQUEST, get, sizeof(get), -1);
	vht_expect(p, M_GET_CONFIG);
	/* Only the header came: its size does not match. */
	assert_int_equal(p->reply.size, 0);
	vht_msg(p, M_GET_CONFIG, F_REQUEST, set, sizeof(set), -1);
	vht_expect(p, M_GET_CONFIG);
	assert_int_equal(p->reply.size, 16);
	assert_memory_equal(p->reply.payload, set, 16);
	/* Case 46: what the device did not fill is zero. */
	vht_send(p->fd, M_GET_CONFIG, F_REQUEST, (uint32_t[67]){[1] = 256}, 268, NULL, 0);
	vht_expect(p, M_GET_CONFIG);
	assert_int_equal(p->reply.size, 268);
	assert_memory_equal(p->reply.payload, all, 12);
	assert_memory_equal(p->reply.payload + 12 + 8, "abcd", 4);
	assert_memory_equal(p->reply.payload + 12 + 56, zeros, 200);
	/* The device says no. */
	vht_send(p->fd, M_GET_CONFIG, F_REQUEST, (uint32_t[4]){200, 4}, 16, NULL, 0);
	vht_expect(p, M_GET_CONFIG);
	assert_int_equal(p->reply.size, 0);
	(void)refused;
	p->echo.config_rc = -EPERM;
	vht_nack(p, M_SET_CONFIG, set, sizeof(set), -1);
}

static void case_3_pipelined_messages_are_answered_in_order(void **state)
{
	struct pollfd pfd = {.fd = vh_slave_fd(p->s), .events = POLLIN};

	(void)state;
	for (int i = 0; i < 100; i++)
		vht_msg(p, i % 2 ? M_GET_FEATURES : M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	/* Bounded for each call: an answer is enough, and of what has none 64. */
	assert_int_equal(vh_slave_dispatch(p->s), 0);
	assert_int_equal(p->s->conn.main.messages_out, 1);
	assert_int_equal(poll(&pfd, 1, 0), 1);
	vht_pump(p);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(vht_recv(p->fd, &p->reply), 1);
		assert_int_equal(p->reply.request, i % 2 ? M_GET_FEATURES : M_GET_PROTOCOL_FEATURES);
	}
	for (int i = 0; i < 100; i++)
		vht_msg(p, M_SET_OWNER, F_REQUEST, NULL, 0, -1);
	assert_int_equal(vh_slave_dispatch(p->s), 1);
	assert_int_equal(p->s->conn.main.messages_in, 164);
}

static void case_15_a_front_end_that_does_not_read_is_not_read_either(void **state)
{
	uint32_t header[3] = {M_GET_FEATURES, F_REQUEST, 0};
	long sent = 0, got = 0;
	char buf[4096];

	(void)state;
	assert_int_equal(fcntl(p->fd, F_SETFL, O_NONBLOCK), 0);
	for (int idle = 0; idle < 50; idle++) {
		while (send(p->fd, header, sizeof(header), MSG_NOSIGNAL) == sizeof(header)) {
			sent++;
			idle = 0;
		}
		vh_slave_dispatch(p->s);
		assert_true(p->s->conn.main.out_bytes <= 65536);
	}
	assert_true(sent > 100);
	/* And goes on when it reads. */
	for (int i = 0; i < 100000 && got < sent * 20; i++) {
		ssize_t n = read(p->fd, buf, sizeof(buf));

		if (n > 0)
			got += n;
		vh_slave_dispatch(p->s);
	}
	assert_int_equal(got, sent * 20);
}

static void case_13_a_message_that_is_not_finished_in_time_ends_the_connection(void **state)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .message_timeout_ms = 50};

	(void)state;
	vht_peer_free(p);
	vht_peer_init(p, &opts, NULL, 0);
	assert_int_equal(send(p->fd, "\1\0\0", 3, 0), 3);
	vht_expect_silence(p);
	vht_pump_wait(p);
	vht_expect_closed(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, -ETIMEDOUT);
}

static void case_5_6_7_12_headers_that_cannot_be_followed_end_the_connection(void **state)
{
	static const uint32_t headers[][3] = {{1, 0, 0},  {1, 2, 0},	{1, 3, 0},	    {1, 5, 0},
					      {1, 17, 0}, {2, 1, 4097}, {2, 1, 0x7fffffff}, {2, 1, UINT32_MAX}};

	(void)state;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		assert_int_equal(send(p->fd, headers[i], 12, 0), 12);
		vht_expect_closed(p);
		leave(&p->fd);
		vht_peer_connect(p);
	}
	assert_int_equal(vht_slave_stats(p).errors, sizeof(headers) / sizeof(headers[0]));
}

static void case_1_17_a_cut_and_a_dead_peer_are_survived(void **state)
{
	(void)state;
	for (int n = 1; n < 12; n++) {
		assert_int_equal(send(p->fd, "\1\0\0\0\1\0\0\0\0\0\0\0", (size_t)n, 0), n);
		leave(&p->fd);
		vht_pump(p);
		assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, -ECONNRESET);
		vht_peer_connect(p);
	}
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	leave(&p->fd);
	vht_pump(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, 0);
}

static void case_22_a_message_right_before_the_end_counts(void **state)
{
	const struct {
		uint32_t offset, size, flags;
		uint8_t value;
	} set = {3, 1, 0, 7};

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_msg(p, M_SET_CONFIG, F_REQUEST, &set, 13, -1);
	leave(&p->fd);
	vht_pump(p);
	assert_int_equal(p->echo.config[3], 7);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, 0);
}

static void case_23_28_fds_where_none_belong_are_closed(void **state)
{
	int fds[8];
	unsigned before;

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	for (int i = 0; i < 8; i++)
		fds[i] = p->memfd;
	before = vht_open_fds();
	vht_send(p->fd, M_SET_OWNER, F_NEED_REPLY, NULL, 0, fds, 8);
	vht_expect_u64(p, M_SET_OWNER, 1);
	vht_send(p->fd, M_SET_MEM_TABLE, F_NEED_REPLY, (uint64_t[5]){1, VHT_MEM_GPA, VHT_MEM_SIZE, VHT_MEM_UVA, 0}, 40,
		 fds, 2);
	vht_expect_u64(p, M_SET_MEM_TABLE, 1);
	vht_send(p->fd, M_SET_VRING_CALL, F_NEED_REPLY, (uint64_t[1]){0x100}, 8, fds, 1);
	vht_expect_u64(p, M_SET_VRING_CALL, 1);
	assert_int_equal(vht_open_fds(), before);
}

static void the_session_starts_over_with_the_next_front_end(void **state)
{
	int first;

	(void)state;
	for (int i = 0; i < 3; i++) {
		p->fd = client();
		vht_pump(p);
		vht_event(p, VH_EVENT_CONNECTED);
		vht_peer_up(p);
		vht_offer_echo(p, 0);
		vht_kick(p, 0);
		vht_pump(p);
		assert_int_equal(vht_used(p, 0), 1);
		first = p->fd;
		p->fd = client();
		close(first);
		/* The second one comes before the end of the first was seen, and is not taken for a second. */
		vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
		vht_expect(p, M_GET_FEATURES);
		assert_true(vht_no_event(p, VH_EVENT_REFUSED));
		vht_msg(p, M_GET_STATUS, F_REQUEST, NULL, 0, -1);
		vht_expect_u64(p, M_GET_STATUS, 0);
		assert_int_equal(p->s->conn.f.acked, 0);
		assert_int_equal(vh_mem_regions(p->s->mem, NULL, 0), 0);
		leave(&p->fd);
		vht_pump(p);
		assert_int_equal(vht_slave_stats(p).connected, 0);
		p->vq[0].next = 0;
		memset(p->mem, 0, 0x4000);
	}
	assert_int_equal(vht_slave_stats(p).connections, 6);
}

static void case_21_a_second_front_end_is_closed_at_once(void **state)
{
	struct vht_msg m;
	int second;

	(void)state;
	p->fd = client();
	vht_pump(p);
	second = client();
	vht_pump(p);
	assert_int_equal(vht_recv(second, &m), 0);
	close(second);
	assert_int_equal(vht_event(p, VH_EVENT_REFUSED).count, 1);
	assert_int_equal(vht_slave_stats(p).refused, 1);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
}

static void a_second_front_end_takes_nothing_from_one_that_only_shut_its_direction_down(void **state)
{
	struct vht_msg m;
	int second;

	(void)state;
	p->fd = client();
	vht_pump(p);
	vht_peer_up(p);
	p->echo.hold = true;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect_silence(p);
	assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
	vht_pump(p);
	second = client();
	vht_pump(p);
	assert_int_equal(vht_recv(second, &m), 0);
	close(second);
	assert_int_equal(vht_push_held(p), 0);
	vht_pump(p);
	assert_int_equal(vht_recv(p->fd, &m), 1);
	assert_int_equal(m.request, M_GET_VRING_BASE);
	vht_expect_closed(p);
}

static void case_239_no_fds_left_does_not_spin_and_recovers(void **state)
{
	struct rlimit old, none;
	struct pollfd pfd = {.fd = vh_slave_fd(p->s), .events = POLLIN};

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	p->fd = client();
	none = old;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(vh_slave_dispatch(p->s), 0);
	/* It is quiet now, until it tries again. */
	assert_int_equal(poll(&pfd, 1, 0), 0);
	assert_int_equal(poll(&pfd, 1, VHT_WAIT_MS), 1);
	assert_int_equal(vh_slave_dispatch(p->s), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	for (int i = 0; i < 10 && !vht_slave_stats(p).connected; i++)
		vht_pump_wait(p);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
}

static void case_20_many_short_connections_leave_nothing(void **state)
{
	unsigned before = vht_open_fds();

	(void)state;
	for (int i = 0; i < 500; i++) {
		int fd = client();

		close(fd);
		vht_pump(p);
	}
	assert_int_equal(vht_open_fds(), before);
	assert_int_equal(vht_slave_stats(p).connections, 500);
	assert_int_equal(vht_event(p, VH_EVENT_CONNECTED).count, 500);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).count, 500);
	assert_true(vht_no_event(p, VH_EVENT_REFUSED));
}

static void a_listening_socket_has_its_mode_and_is_told_from_a_connected_one(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(vh_slave_listen(p->s, path), -EBUSY);
	assert_int_equal(vh_slave_adopt(p->s, 0), -EBUSY);
}

static void a_listening_fd_can_be_adopted_and_its_path_stays(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd;

	(void)state;
	vht_peer_free(p);
	vht_peer_prepare(p, NULL, NULL, 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(vh_slave_adopt(p->s, fd), 0);
	p->fd = client();
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	leave(&p->fd);
	vht_pump(p);
	p->fd = client();
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	vh_slave_free(p->s);
	p->s = NULL;
	assert_int_equal(access(path, F_OK), 0);
	unlink(path);
	close(fd);
}

static void an_adopted_connection_is_for_once(void **state)
{
	(void)state;
	vht_pump(p);
	assert_int_equal(poll(&(struct pollfd){.fd = vh_slave_fd(p->s), .events = POLLIN}, 1, 0), 0);
	assert_int_equal(vh_slave_disconnect(p->s), 0);
	assert_int_equal(poll(&(struct pollfd){.fd = vh_slave_fd(p->s), .events = POLLIN}, 1, 0), 1);
	vht_expect_closed(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, -ECANCELED);
	assert_int_equal(vh_slave_disconnect(p->s), -ENOTCONN);
	assert_int_equal(vh_slave_dispatch(p->s), 0);
}

static void case_19_other_kinds_of_fd_are_not_adopted(void **state)
{
	int pair[2], bad[4];
	unsigned before;

	(void)state;
	vht_peer_free(p);
	vht_peer_prepare(p, NULL, NULL, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	bad[0] = pair[0];
	bad[1] = socket(AF_INET, SOCK_STREAM, 0);
	bad[2] = p->memfd;
	bad[3] = -1;
	before = vht_open_fds();
	for (int i = 0; i < 4; i++)
		assert_true(vh_slave_adopt(p->s, bad[i]) < 0);
	assert_int_equal(vht_open_fds(), before);
	close(pair[0]);
	close(pair[1]);
	close(bad[1]);
}

static void arguments_are_checked(void **state)
{
	const struct vh_slave_opts mode = {.size = sizeof(mode), .socket_mode = 01777};
	const struct vh_device_opts data = {.size = sizeof(data), .features = UINT64_C(1) << 41};
	const struct vh_device_opts plain = {.size = sizeof(plain)};
	const struct vh_device_ops ops = {.size = sizeof(ops)};
	const struct vh_slave_ops flagged = {.size = sizeof(flagged), .flags = 1};
	struct vh_slave *s = NULL;
	struct vh_queue *q;
	struct vh_snapshot *snap;
	struct vh_device *dev;
	struct vh_event e = {.size = 0};

	(void)state;
	assert_int_equal(vh_slave_new(NULL, NULL, NULL, NULL, &s), -EINVAL);
	assert_int_equal(vh_slave_new(NULL, p->dev, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(vh_slave_new(NULL, p->dev, NULL, NULL, &s), -EBUSY);
	assert_int_equal(vh_device_new(&data, &ops, NULL, &dev), 0);
	assert_int_equal(vh_slave_new(NULL, dev, NULL, NULL, &s), -EINVAL);
	vh_device_free(dev);
	assert_int_equal(vh_device_new(&plain, &ops, NULL, &dev), 0);
	assert_int_equal(vh_slave_new(&mode, dev, NULL, NULL, &s), -EINVAL);
	assert_int_equal(vh_slave_new(NULL, dev, &flagged, NULL, &s), -EINVAL);
	vh_device_free(dev);
	assert_null(s);
	assert_int_equal(vh_slave_fd(NULL), -EINVAL);
	assert_int_equal(vh_slave_dispatch(NULL), -EINVAL);
	assert_int_equal(vh_slave_wait(NULL, 0), -EINVAL);
	assert_int_equal(vh_slave_wait(p->s, -2), -EINVAL);
	assert_int_equal(vh_slave_next_event(p->s, NULL), -EINVAL);
	assert_int_equal(vh_slave_next_event(p->s, &e), -EINVAL);
	assert_int_equal(vh_slave_queue(p->s, VHT_QUEUES, &q), -ENOENT);
	assert_int_equal(vh_slave_queue(p->s, 0, NULL), -EINVAL);
	assert_int_equal(vh_slave_dup_snapshot(p->s, &snap), 0);
	assert_int_equal(vh_snapshot_regions(snap, NULL, 0), 0);
	vh_snapshot_free(snap);
	assert_int_equal(vh_slave_dup_snapshot(p->s, NULL), -EINVAL);
	assert_int_equal(vh_slave_dup_snapshot(NULL, &snap), -EINVAL);
	assert_int_equal(vh_slave_get_stats(p->s, NULL), -EINVAL);
	assert_int_equal(vh_slave_listen(p->s, NULL), -EINVAL);
	assert_int_equal(vh_slave_stop(NULL), -EINVAL);
	vh_slave_free(NULL);
}

static void events_are_state_and_bounded(void **state)
{
	struct vh_event e;

	(void)state;
	vht_peer_up(p);
	while (!vht_no_event(p, VH_EVENT_STATUS))
		;
	for (int i = 0; i < 1000; i++) {
		vht_ok_state(p, M_SET_VRING_ENABLE, 0, 0);
		vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	}
	vht_ok_u64(p, M_SET_STATUS, 3);
	e = vht_event(p, VH_EVENT_DISABLED);
	assert_int_equal(e.count, 1000);
	/* What happened last comes last. */
	e = vht_event(p, VH_EVENT_ENABLED);
	assert_int_equal(e.count, 1000);
	e = vht_event(p, VH_EVENT_STATUS);
	assert_int_equal(e.value, 3);
	assert_int_equal(vh_slave_next_event(p->s, &e), 0);
}

struct seen {
	uint32_t received, sent, refused, destroyed, lines;
	char last[256];
};

static void on_message(void *ctx, const struct vh_msg_info *info)
{
	struct seen *seen = ctx;

	if (info->direction == VH_MSG_SENT)
		seen->sent++;
	else
		seen->received++;
	seen->refused += info->verdict != 0;
}

static void on_line(void *ctx, uint32_t level, const char *text)
{
	struct seen *seen = ctx;

	(void)level;
	seen->lines++;
	snprintf(seen->last, sizeof(seen->last), "%s", text);
}

static void on_destroy(void *ctx)
{
	((struct seen *)ctx)->destroyed++;
}

static void the_trace_and_the_log_tell_what_happens(void **state)
{
	struct seen seen = {0};
	const struct vh_trace_ops trace = {.size = sizeof(trace), .destroy = on_destroy, .message = on_message};
	const struct vh_logger_ops log = {.size = sizeof(log), .destroy = on_destroy, .line = on_line};

	(void)state;
	assert_int_equal(vh_slave_set_trace(p->s, &trace, &seen), 0);
	assert_int_equal(vh_slave_set_logger(p->s, &log, &seen), 0);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	assert_int_equal(seen.received, 5);
	assert_int_equal(seen.sent, 2);
	vht_nack_state(p, M_SET_VRING_NUM, 99, 16);
	assert_int_equal(seen.refused, 1);
	assert_non_null(strstr(seen.last, "SET_VRING_NUM"));
	for (int i = 0; i < 100; i++)
		vht_nack_state(p, M_SET_VRING_NUM, 99, 16);
	/* Case 247: a peer can't flood the log. */
	assert_in_range(seen.lines, 1, 25);
	assert_int_equal(vh_slave_set_trace(p->s, NULL, NULL), 0);
	assert_int_equal(seen.destroyed, 1);
	vht_peer_free(p);
	assert_int_equal(seen.destroyed, 2);
	assert_int_equal(vh_slave_set_trace(NULL, &trace, &seen), -EINVAL);
	assert_int_equal(vh_slave_set_logger(NULL, &log, &seen), -EINVAL);
	assert_int_equal(seen.destroyed, 4);
	vht_peer_init(p, NULL, NULL, 0);
}

static void calls_that_succeed_leave_the_last_error_alone(void **state)
{
	struct vh_error e = {.size = sizeof(e)};

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	assert_int_equal(vh_slave_wait(NULL, -5), -EINVAL);
	vht_send_table(p, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, 0);
	vht_expect_u64(p, M_SET_MEM_TABLE, 1);
	assert_int_equal(vh_error_get(&e), 0);
	assert_int_equal(e.code, -EINVAL);
	assert_non_null(strstr(e.text, "timeout_ms"));
}

/* Case 74: calls from inside a callback. */
static void disconnect_inside(void *ctx)
{
	struct vht_peer *pp = ctx;

	assert_int_equal(vh_slave_dispatch(pp->s), -EBUSY);
	assert_int_equal(vh_slave_disconnect(pp->s), 0);
}

static void stop_inside(void *ctx)
{
	struct vht_peer *pp = ctx;

	assert_int_equal(vh_slave_stop(pp->s), 0);
	assert_int_equal(vh_slave_disconnect(pp->s), -ESHUTDOWN);
}

static void free_inside(void *ctx)
{
	struct vht_peer *pp = ctx;

	vh_slave_free(pp->s);
	assert_int_equal(pp->echo.destroyed, 0);
}

static void inside(void (*what)(void *), bool in_batch)
{
	const struct {
		uint32_t offset, size, flags;
		uint8_t value;
	} set = {3, 1, 0, 7};

	vht_peer_up(p);
	p->echo.hook_ctx = p;
	if (in_batch) {
		p->echo.on_batch_hook = what;
		vht_kick(p, 0);
	} else {
		p->echo.on_config_hook = what;
		vht_msg(p, M_SET_CONFIG, F_NEED_REPLY, &set, 13, -1);
	}
}

static void case_74_disconnect_inside_callbacks(void **state)
{
	(void)state;
	for (int batch = 0; batch < 2; batch++) {
		vht_peer_free(p);
		vht_peer_init(p, NULL, NULL, 0);
		inside(disconnect_inside, batch);
		vht_expect_closed(p);
		assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, -ECANCELED);
	}
}

static void case_74_stop_inside_callbacks(void **state)
{
	(void)state;
	for (int batch = 0; batch < 2; batch++) {
		vht_peer_free(p);
		vht_peer_init(p, NULL, NULL, 0);
		inside(stop_inside, batch);
		assert_int_equal(vh_slave_dispatch(p->s), -ESHUTDOWN);
		assert_int_equal(vh_slave_dispatch(p->s), -ESHUTDOWN);
	}
}

static void case_74_free_inside_callbacks(void **state)
{
	(void)state;
	for (int batch = 0; batch < 2; batch++) {
		struct vht_msg m;

		vht_peer_free(p);
		vht_peer_init(p, NULL, NULL, 0);
		inside(free_inside, batch);
		vh_device_free(p->dev);
		p->dev = NULL;
		assert_int_equal(vh_slave_dispatch(p->s), -ESHUTDOWN);
		p->s = NULL;
		assert_int_equal(p->echo.destroyed, 1);
		/* The connection is gone too, after what was being handled. */
		while (vht_recv(p->fd, &m))
			assert_int_equal(m.request, M_SET_CONFIG);
	}
}

static void *wait_for_ever(void *arg)
{
	vh_count rc;

	/* The other thread may be just inside. */
	do
		rc = vh_slave_wait(p->s, -1);
	while (rc == -EBUSY);
	*(vh_count *)arg = rc;
	return NULL;
}

static void stop_wakes_a_thread_that_waits(void **state)
{
	vh_count rc = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, wait_for_ever, &rc), 0);
	while (vh_slave_dispatch(p->s) != -EBUSY)
		;
	assert_int_equal(vh_slave_stop(p->s), 0);
	pthread_join(thread, NULL);
	assert_int_equal(rc, -ESHUTDOWN);
	assert_int_equal(vh_slave_wait(p->s, -1), -ESHUTDOWN);
}

static void a_device_outlives_its_slave_and_serves_the_next(void **state)
{
	(void)state;
	vh_slave_free(p->s);
	assert_int_equal(p->echo.destroyed, 0);
	assert_int_equal(vh_slave_new(NULL, p->dev, NULL, NULL, &p->s), 0);
}

static void case_73_a_session_may_be_cut_after_any_byte(void **state)
{
	uint8_t script[600];
	size_t len = 0;
	unsigned fds, before;
	const struct {
		uint32_t id, size;
		uint64_t words[5];
	} messages[] = {
		{M_GET_FEATURES, 0, {0}},
		{M_SET_PROTOCOL_FEATURES, 8, {VHT_PF}},
		{M_SET_FEATURES, 8, {VHT_BIT30 | VHT_VERSION}},
		{M_SET_VRING_ENABLE, 8, {VHT_PAIR(0, 1)}},
		{M_SET_VRING_NUM, 8, {VHT_PAIR(0, 16)}},
		{M_SET_VRING_BASE, 8, {0}},
		{M_SET_VRING_ADDR, 40, {0, VHT_MEM_UVA, VHT_MEM_UVA + 0x2000, VHT_MEM_UVA + 0x1000, 0}},
		{M_SET_VRING_KICK, 8, {0x100}},
		{M_SET_STATUS, 8, {15}},
		{M_GET_VRING_BASE, 8, {0}},
		{M_RESET_DEVICE, 0, {0}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		uint32_t header[3] = {messages[i].id, F_NEED_REPLY, messages[i].size};

		memcpy(script + len, header, 12);
		memcpy(script + len + 12, messages[i].words, messages[i].size);
		len += 12 + messages[i].size;
	}
	fds = vht_open_fds();
	for (size_t n = 0; n <= len; n++) {
		assert_int_equal(send(p->fd, script, n, 0), n);
		vht_pump(p);
		leave(&p->fd);
		vht_pump(p);
		assert_int_equal(vht_slave_stats(p).connected, 0);
		before = vht_open_fds();
		assert_int_equal(before, fds - 2);
		vht_peer_connect(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define L(name) cmocka_unit_test_setup_teardown(name, setup_listening, teardown_listening)
		T(answers_with_what_works),
		T(network_queues_are_counted_in_pairs),
		T(offers_can_be_narrowed),
		T(case_8_no_ack_before_reply_ack_was_negotiated),
		T(case_47_bits_that_were_not_offered_are_refused),
		T(case_53_features_ok_reads_back_cleared_after_refused_features),
		T(refusals_have_the_form_of_their_message),
		T(case_10_11_unknown_ids_end_the_connection_where_no_status_can_be_sent),
		T(config_space_is_read_and_written),
		T(case_3_pipelined_messages_are_answered_in_order),
		T(case_15_a_front_end_that_does_not_read_is_not_read_either),
		T(case_13_a_message_that_is_not_finished_in_time_ends_the_connection),
		T(case_5_6_7_12_headers_that_cannot_be_followed_end_the_connection),
		T(case_1_17_a_cut_and_a_dead_peer_are_survived),
		T(case_22_a_message_right_before_the_end_counts),
		T(case_23_28_fds_where_none_belong_are_closed),
		L(the_session_starts_over_with_the_next_front_end),
		L(case_21_a_second_front_end_is_closed_at_once),
		L(a_second_front_end_takes_nothing_from_one_that_only_shut_its_direction_down),
		L(case_239_no_fds_left_does_not_spin_and_recovers),
		L(case_20_many_short_connections_leave_nothing),
		L(a_listening_socket_has_its_mode_and_is_told_from_a_connected_one),
		L(a_listening_fd_can_be_adopted_and_its_path_stays),
		T(an_adopted_connection_is_for_once),
		T(case_19_other_kinds_of_fd_are_not_adopted),
		T(arguments_are_checked),
		T(events_are_state_and_bounded),
		T(the_trace_and_the_log_tell_what_happens),
		T(calls_that_succeed_leave_the_last_error_alone),
		T(case_74_disconnect_inside_callbacks),
		T(case_74_stop_inside_callbacks),
		T(case_74_free_inside_callbacks),
		T(stop_wakes_a_thread_that_waits),
		T(a_device_outlives_its_slave_and_serves_the_next),
		T(case_73_a_session_may_be_cut_after_any_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
