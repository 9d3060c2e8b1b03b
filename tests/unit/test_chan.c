/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Channels: whole messages, however the bytes come and go, over the memory pipe and over real sockets. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "vhi_sock.h"
#include "vht_pipe.h"

#define TIMEOUT_NS 30000000u

struct seen {
	uint32_t n, direction, request, payload_size, n_fds, verdict, channel;
};

struct world {
	struct vht_pipe *pipe;
	struct vhi_chan c; /* of end 0, a back-end that gets requests */
	struct vhi_trace trace;
	struct seen seen;
	int fds_before;
};

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void on_message(void *ctx, const struct vh_msg_info *info)
{
	struct seen *s = ctx;

	s->n++;
	s->direction = info->direction;
	s->request = info->request;
	s->payload_size = info->payload_size;
	s->n_fds = info->n_fds;
	s->verdict = info->verdict;
	s->channel = info->channel;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct vh_trace_ops ops = {.size = sizeof(ops), .message = on_message};

	w->fds_before = count_fds();
	w->pipe = vht_pipe_new();
	vhi_trace_set(&w->trace, &ops, &w->seen);
	vhi_chan_init(&w->c, vht_pipe_end(w->pipe, 0), VHI_WIRE_FRONT_END, VHI_WIRE_BACK_END, &w->trace, TIMEOUT_NS);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	int leaked;

	vhi_chan_close(&w->c);
	vht_pipe_free(w->pipe);
	leaked = count_fds() - w->fds_before;
	free(w);
	if (leaked)
		print_error("%d fds leaked\n", leaked);
	return leaked;
}

static size_t message(uint8_t *buf, uint32_t request, const void *payload, uint32_t size)
{
	struct vhi_wire_header h = {.request = request, .flags = 1, .size = size};

	memcpy(buf, &h, sizeof(h));
	if (size)
		memcpy(buf + sizeof(h), payload, size);
	return sizeof(h) + size;
}

static int receive(struct world *w, bool *clean, uint32_t *site)
{
	return vhi_chan_recv(&w->c, clean, site);
}

static int receive_ok(struct world *w)
{
	bool clean;
	uint32_t site;
	int rc = receive(w, &clean, &site);

	assert_int_equal(site, 0);
	return rc;
}

static void messages_that_come_byte_by_byte_are_whole(void **state)
{
	struct world *w = *state;
	uint64_t value = 0x1122334455667788;
	uint8_t buf[64];
	size_t n = message(buf, 2, &value, 8);
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(receive_ok(w), 0);
		vht_pipe_write(w->pipe, 1, buf + i, 1, &fd, i == 0);
	}
	assert_int_equal(receive_ok(w), 1);
	assert_int_equal(w->c.in.header.request, 2);
	assert_memory_equal(w->c.in.payload, &value, 8);
	assert_int_equal(w->c.in.n_fds, 1);
	assert_int_equal(receive_ok(w), 0);
	close(fd);
}

static void pipelined_messages_are_cut_apart_with_their_fds(void **state)
{
	struct world *w = *state;
	uint8_t buf[64];
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	for (size_t chunk = 0; chunk < 20; chunk++) {
		vht_pipe_set_chunk(w->pipe, 0, chunk);
		for (uint64_t i = 0; i < 1000; i++) {
			size_t n = message(buf, (uint32_t)i + 1, &i, 8);

			vht_pipe_write(w->pipe, 1, buf, n, &fd, i % 3 == 0);
		}
		for (uint64_t i = 0; i < 1000; i++) {
			assert_int_equal(receive_ok(w), 1);
			assert_int_equal(w->c.in.header.request, i + 1);
			assert_memory_equal(w->c.in.payload, &i, 8);
			assert_int_equal(w->c.in.n_fds, i % 3 == 0);
		}
		assert_int_equal(receive_ok(w), 0);
	}
	close(fd);
}

static void nothing_is_read_beyond_the_message(void **state)
{
	struct world *w = *state;
	uint64_t value = 1;
	uint8_t buf[64];
	size_t n = message(buf, 2, &value, 8);

	memset(buf + n, 0xee, 5);
	vht_pipe_write(w->pipe, 1, buf, n + 5, NULL, 0);
	assert_int_equal(receive_ok(w), 1);
	assert_int_equal(vht_pipe_waiting(w->pipe, 0), 5);
}

static void largest_payload_fits(void **state)
{
	struct world *w = *state;
	static uint8_t payload[VHI_WIRE_MAX_PAYLOAD], buf[VHI_WIRE_MAX_PAYLOAD + VHI_WIRE_HEADER];

	memset(payload, 0x5a, sizeof(payload));
	vht_pipe_write(w->pipe, 1, buf, message(buf, 1000, payload, sizeof(payload)), NULL, 0);
	assert_int_equal(receive_ok(w), 1);
	assert_memory_equal(w->c.in.payload, payload, sizeof(payload));
}

static void headers_that_can_t_be_followed_stop_before_the_payload(void **state)
{
	static const struct {
		uint32_t flags, size, site;
	} cases[] = {
		{0, 0, VHI_SITE_WIRE_VERSION},	       {2, 8, VHI_SITE_WIRE_VERSION},
		{3, 8, VHI_SITE_WIRE_VERSION},	       {5, 8, VHI_SITE_WIRE_DIRECTION},
		{0x11, 8, VHI_SITE_WIRE_FLAGS},	       {0x80000001, 8, VHI_SITE_WIRE_FLAGS},
		{1, 4097, VHI_SITE_WIRE_LENGTH},       {1, 0x7fffffff, VHI_SITE_WIRE_LENGTH},
		{1, 0x80000000, VHI_SITE_WIRE_LENGTH}, {1, 0xfffffff3, VHI_SITE_WIRE_LENGTH},
		{1, 0xffffffff, VHI_SITE_WIRE_LENGTH},
	};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		struct world *w = *state;
		struct vhi_wire_header h = {.request = 2, .flags = cases[i].flags, .size = cases[i].size};
		bool clean;
		uint32_t site;

		vht_pipe_write(w->pipe, 1, &h, sizeof(h), NULL, 0);
		vht_pipe_write(w->pipe, 1, &h, sizeof(h), NULL, 0);
		assert_int_equal(receive(w, &clean, &site), -EPROTO);
		assert_int_equal(site, cases[i].site);
		assert_int_equal(vht_pipe_waiting(w->pipe, 0), sizeof(h));
		vhi_chan_received(&w->c, site);
		assert_int_equal(w->seen.verdict, cases[i].site);
		assert_int_equal(w->seen.payload_size, 0);
		teardown(state);
		setup(state);
	}
}

static void replies_are_expected_where_we_ask(void **state)
{
	struct world *w = *state;
	struct vhi_wire_header h = {.request = 1, .flags = 5};
	bool clean;
	uint32_t site;

	w->c.we_are = VHI_WIRE_FRONT_END;
	vht_pipe_write(w->pipe, 1, &h, sizeof(h), NULL, 0);
	assert_int_equal(receive_ok(w), 1);
	h.flags = 1;
	vht_pipe_write(w->pipe, 1, &h, sizeof(h), NULL, 0);
	assert_int_equal(receive(w, &clean, &site), -EPROTO);
	assert_int_equal(site, VHI_SITE_WIRE_DIRECTION);
}

static void fds_that_come_late_are_closed_and_the_message_refused(void **state)
{
	struct world *w = *state;
	uint64_t value = 0;
	uint8_t buf[64];
	size_t n = message(buf, 2, &value, 8);
	int fds[2] = {0, 1};
	bool clean;
	uint32_t site;

	for (size_t cut = 1; cut < n; cut++) {
		vht_pipe_write(w->pipe, 1, buf, cut, NULL, 0);
		vht_pipe_write(w->pipe, 1, buf + cut, n - cut, fds, 2);
		assert_int_equal(receive(w, &clean, &site), 1);
		assert_int_equal(site, VHI_SITE_SOCK_LATE_FDS);
		assert_int_equal(w->c.in.n_fds, 0);
		/* The next one is whole again. */
		vht_pipe_write(w->pipe, 1, buf, n, fds, 2);
		assert_int_equal(receive_ok(w), 1);
		assert_int_equal(w->c.in.n_fds, 2);
	}
}

static void fds_beyond_32_end_the_connection(void **state)
{
	struct world *w = *state;
	struct vhi_wire_header h = {.request = 1, .flags = 1};
	int fds[33] = {0};
	bool clean;
	uint32_t site;

	vht_pipe_write(w->pipe, 1, &h, sizeof(h), fds, 32);
	assert_int_equal(receive_ok(w), 1);
	assert_int_equal(w->c.in.n_fds, 32);
	vht_pipe_write(w->pipe, 1, &h, sizeof(h), fds, 33);
	assert_int_equal(receive(w, &clean, &site), -EPROTO);
	assert_int_equal(site, VHI_SITE_SOCK_CONTROL);
}

static void fds_that_nobody_took_are_closed_with_the_next_message(void **state)
{
	struct world *w = *state;
	struct vhi_wire_header h = {.request = 1, .flags = 1};
	int fds[2] = {0, 0}, before = count_fds(), mine;

	vht_pipe_write(w->pipe, 1, &h, sizeof(h), fds, 2);
	assert_int_equal(receive_ok(w), 1);
	assert_int_equal(count_fds(), before + 2);
	mine = w->c.in.fds[1];
	w->c.in.fds[1] = -1;
	assert_int_equal(receive_ok(w), 0);
	assert_int_equal(count_fds(), before + 1);
	assert_int_equal(close(mine), 0);
}

static void end_of_stream_is_clean_only_between_messages(void **state)
{
	uint64_t value = 0;
	uint8_t buf[64];
	size_t n = message(buf, 2, &value, 8);
	int fd = 0;

	for (size_t cut = 0; cut <= n; cut++) {
		struct world *w = *state;
		bool clean;
		uint32_t site;

		vht_pipe_write(w->pipe, 1, buf, cut, &fd, 1);
		vht_pipe_shutdown(w->pipe, 1);
		if (cut == n) /* a message that ends with the stream is still a message */
			assert_int_equal(receive_ok(w), 1);
		assert_int_equal(receive(w, &clean, &site), -ECONNRESET);
		assert_int_equal(clean, cut == 0 || cut == n);
		assert_int_equal(site, clean ? 0 : VHI_SITE_SOCK_CUT);
		assert_int_equal(teardown(state), 0);
		setup(state);
	}
}

static void the_deadline_counts_from_the_first_byte_of_a_message(void **state)
{
	struct world *w = *state;
	uint8_t buf[64] = {0};
	uint64_t start = vhi_now_ns(), first;
	size_t sent = 0;
	bool clean;
	uint32_t site;
	int rc;

	assert_int_equal(receive_ok(w), 0); /* no message begun: no deadline */
	assert_int_equal(w->c.in_deadline_ns, 0);
	message(buf, 2, "12345678", 8);
	vht_pipe_write(w->pipe, 1, buf, 1, NULL, 0);
	assert_int_equal(receive_ok(w), 0);
	first = w->c.in_deadline_ns;
	assert_true(first >= start + TIMEOUT_NS);
	/* Another byte every few ms does not move it. */
	do {
		struct timespec ms = {.tv_nsec = 4000000};

		nanosleep(&ms, NULL);
		if (++sent < 19)
			vht_pipe_write(w->pipe, 1, buf + sent, 1, NULL, 0);
		rc = receive(w, &clean, &site);
		if (rc == 0)
			assert_true(w->c.in_deadline_ns == first);
	} while (rc == 0 && vhi_now_ns() < start + 100 * (uint64_t)TIMEOUT_NS);
	assert_int_equal(rc, -ETIMEDOUT);
	assert_int_equal(site, VHI_SITE_SOCK_DEADLINE);
	assert_true(vhi_now_ns() >= first);
}

static void a_message_that_is_there_is_never_too_late(void **state)
{
	struct world *w = *state;
	uint8_t buf[64];
	size_t n = message(buf, 2, "12345678", 8);

	vht_pipe_write(w->pipe, 1, buf, 5, NULL, 0);
	assert_int_equal(receive_ok(w), 0);
	w->c.in_deadline_ns = 1; /* long ago: this thread was busy elsewhere */
	vht_pipe_write(w->pipe, 1, buf + 5, n - 5, NULL, 0);
	assert_int_equal(receive_ok(w), 1);
	assert_int_equal(w->c.in_deadline_ns, 0);
}

static void failures_of_the_transport_come_through(void **state)
{
	struct world *w = *state;
	bool clean;
	uint32_t site;

	vht_pipe_fail(w->pipe, 0, 0, 1, -ENOMEM);
	assert_int_equal(receive(w, &clean, &site), -ENOMEM);
	assert_false(clean);
	assert_int_equal(site, 0);
	vht_pipe_fail(w->pipe, 0, 1, 1, -ENOMEM);
	assert_int_equal(vhi_chan_send(&w->c, 1, 5, NULL, 0, NULL, 0), -ENOMEM);
	vhi_chan_close(&w->c);
	assert_int_equal(receive(w, &clean, &site), -ENOTCONN);
	assert_int_equal(vhi_chan_send(&w->c, 1, 5, NULL, 0, NULL, 0), -ENOTCONN);
	assert_int_equal(vhi_chan_flush(&w->c), -ENOTCONN);
	assert_int_equal(vhi_chan_fd(&w->c), -1);
	assert_false(vhi_chan_open(&w->c));
	assert_true(vht_pipe_closed(w->pipe, 0));
}

static void what_is_sent_arrives_in_one_piece(void **state)
{
	struct world *w = *state;
	uint64_t value = 77;
	uint8_t buf[64];
	int fds[8] = {0}, got[8];
	uint32_t n_fds;

	assert_int_equal(vhi_chan_send(&w->c, 11, 5, &value, 8, fds, 8), 0);
	assert_int_equal(vht_pipe_read(w->pipe, 1, buf, sizeof(buf), got, &n_fds), 20);
	assert_int_equal(n_fds, 8);
	for (uint32_t i = 0; i < n_fds; i++)
		close(got[i]);
	assert_int_equal(((struct vhi_wire_header *)(void *)buf)->request, 11);
	assert_int_equal(((struct vhi_wire_header *)(void *)buf)->flags, 5);
	assert_int_equal(((struct vhi_wire_header *)(void *)buf)->size, 8);
	assert_memory_equal(buf + 12, &value, 8);
	assert_false(vhi_chan_wants_write(&w->c));
	assert_int_equal(vhi_chan_send(&w->c, 11, 5, buf, 4097, NULL, 0), -EINVAL);
	assert_int_equal(vhi_chan_send(&w->c, 11, 5, buf, 8, fds, 9), -EINVAL);
	assert_int_equal(w->c.messages_out, 1);
	assert_int_equal(w->c.bytes_out, 20);
}

static void what_can_t_be_sent_waits_in_order_with_its_fds(void **state)
{
	for (size_t room = 1; room < 64; room++) {
		struct world *w = *state;
		uint8_t buf[256];
		int fd = 0, got[8];
		size_t have = 0;
		uint32_t fds_seen = 0, n_fds;

		vht_pipe_set_room(w->pipe, 0, room);
		for (uint64_t i = 0; i < 5; i++)
			assert_int_equal(vhi_chan_send(&w->c, 1, 5, &i, 8, &fd, i & 1), 0);
		while (have < 100) {
			int rc = vhi_chan_flush(&w->c);

			assert_int_equal(rc, vhi_chan_wants_write(&w->c));
			have += vht_pipe_read(w->pipe, 1, buf + have, sizeof(buf) - have, got, &n_fds);
			while (n_fds) {
				close(got[--n_fds]);
				fds_seen++;
			}
		}
		assert_int_equal(vhi_chan_flush(&w->c), 0);
		for (uint64_t i = 0; i < 5; i++)
			assert_memory_equal(buf + i * 20 + 12, &i, 8);
		assert_int_equal(fds_seen, 2);
		assert_int_equal(w->c.out_bytes, 0);
		assert_int_equal(w->c.out_fds, 0);
		assert_int_equal(teardown(state), 0);
		setup(state);
	}
}

static void the_queue_is_bounded_in_bytes(void **state)
{
	struct world *w = *state;
	uint64_t value = 0;
	uint32_t n = 0;
	int rc;

	vht_pipe_set_room(w->pipe, 0, 1);
	while (!(rc = vhi_chan_send(&w->c, 1, 5, &value, 8, NULL, 0)) && n < 100000)
		n++;
	assert_int_equal(rc, -ENOBUFS);
	assert_in_range(w->c.out_bytes, 65536 - 20, 65536);
	assert_int_equal(w->c.messages_out, n);
	/* Nothing of the refused one was taken. */
	vht_pipe_set_room(w->pipe, 0, 0);
	assert_int_equal(vhi_chan_flush(&w->c), 0);
	assert_int_equal(vht_pipe_waiting(w->pipe, 1), n * 20);
	assert_int_equal(vhi_chan_send(&w->c, 1, 5, &value, 8, NULL, 0), 0);
}

static void the_queue_is_bounded_in_fds(void **state)
{
	struct world *w = *state;
	int fds[8] = {0}, rc;
	uint32_t n = 0;

	vht_pipe_set_room(w->pipe, 0, 1);
	while (!(rc = vhi_chan_send(&w->c, 1, 5, NULL, 0, fds, 8)) && n < 1000)
		n++;
	assert_int_equal(rc, -ENOBUFS);
	assert_int_equal(w->c.out_fds, 64);
	assert_int_equal(vhi_chan_send(&w->c, 1, 5, NULL, 0, NULL, 0), 0);
}

static void the_trace_sees_both_directions(void **state)
{
	struct world *w = *state;
	uint8_t buf[64];
	int fd = 0;

	vht_pipe_write(w->pipe, 1, buf, message(buf, 12, "12345678", 8), &fd, 1);
	assert_int_equal(receive_ok(w), 1);
	assert_int_equal(w->seen.n, 0);
	vhi_chan_received(&w->c, 125);
	assert_int_equal(w->seen.n, 1);
	assert_int_equal(w->seen.direction, VH_MSG_RECEIVED);
	assert_int_equal(w->seen.channel, VH_MSG_CHANNEL_MAIN);
	assert_int_equal(w->seen.request, 12);
	assert_int_equal(w->seen.payload_size, 8);
	assert_int_equal(w->seen.n_fds, 1);
	assert_int_equal(w->seen.verdict, 125);
	w->c.requests_from = VHI_WIRE_BACK_END;
	assert_int_equal(vhi_chan_send(&w->c, 2, 1, NULL, 0, NULL, 0), 0);
	assert_int_equal(w->seen.n, 2);
	assert_int_equal(w->seen.direction, VH_MSG_SENT);
	assert_int_equal(w->seen.channel, VH_MSG_CHANNEL_BACKEND);
	assert_int_equal(w->seen.verdict, 0);
	w->c.trace = NULL;
	assert_int_equal(vhi_chan_send(&w->c, 2, 1, NULL, 0, NULL, 0), 0);
	vhi_chan_received(&w->c, 0);
	assert_int_equal(w->seen.n, 2);
}

static void closing_drops_everything_that_waits(void **state)
{
	struct world *w = *state;
	struct vhi_wire_header h = {.request = 1, .flags = 1, .size = 8};
	int fd = 0, before = count_fds();

	vht_pipe_set_room(w->pipe, 0, 1);
	assert_int_equal(vhi_chan_send(&w->c, 1, 5, "12345678", 8, &fd, 1), 0);
	assert_int_equal(vhi_chan_send(&w->c, 1, 5, "12345678", 8, &fd, 1), 0);
	vht_pipe_write(w->pipe, 1, &h, sizeof(h), &fd, 1);
	assert_int_equal(receive_ok(w), 0);
	vhi_chan_close(&w->c);
	vhi_chan_close(&w->c);
	vht_pipe_read(w->pipe, 1, &h, sizeof(h), NULL, NULL);
	assert_int_equal(count_fds(), before);
}

/* The same over a real socket, with a small buffer and a peer that reads slowly. */
static void a_socket_carries_a_flood_without_blocking(void **state)
{
	int peer, fd = vhi_sock_pair(&peer), devnull = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct vhi_transport t;
	struct vhi_chan a, b;
	uint32_t sent = 0, got = 0, site;
	bool clean;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(vhi_sock_transport(fd, &t), 0);
	vhi_chan_init(&a, t, VHI_WIRE_FRONT_END, VHI_WIRE_FRONT_END, NULL, 0);
	vhi_sock_transport(peer, &t);
	vhi_chan_init(&b, t, VHI_WIRE_FRONT_END, VHI_WIRE_BACK_END, NULL, 0);
	assert_int_equal(vhi_chan_recv(&b, &clean, &site), 0);
	while (got < 20000) {
		int rc = 0;

		while (sent < 20000 && !rc) {
			uint64_t value = sent;

			rc = vhi_chan_send(&a, 1, 1, &value, 8, &devnull, sent % 100 == 0);
			sent += !rc;
		}
		assert_true(rc == 0 || rc == -ENOBUFS);
		for (uint32_t i = 0; i < 300 && vhi_chan_recv(&b, &clean, &site) == 1; i++) {
			uint64_t value;

			memcpy(&value, b.in.payload, sizeof(value));
			assert_int_equal(value, got);
			assert_int_equal(b.in.n_fds, got % 100 == 0);
			got++;
		}
		assert_true(vhi_chan_flush(&a) >= 0);
	}
	vhi_chan_close(&a);
	assert_int_equal(vhi_chan_recv(&b, &clean, &site), -ECONNRESET);
	assert_true(clean);
	assert_int_equal(vhi_chan_send(&b, 1, 5, NULL, 0, NULL, 0), -ECONNRESET); /* and no SIGPIPE */
	vhi_chan_close(&b);
	close(devnull);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(messages_that_come_byte_by_byte_are_whole),
		TEST(pipelined_messages_are_cut_apart_with_their_fds),
		TEST(nothing_is_read_beyond_the_message),
		TEST(largest_payload_fits),
		TEST(headers_that_can_t_be_followed_stop_before_the_payload),
		TEST(replies_are_expected_where_we_ask),
		TEST(fds_that_come_late_are_closed_and_the_message_refused),
		TEST(fds_beyond_32_end_the_connection),
		TEST(fds_that_nobody_took_are_closed_with_the_next_message),
		TEST(end_of_stream_is_clean_only_between_messages),
		TEST(the_deadline_counts_from_the_first_byte_of_a_message),
		TEST(a_message_that_is_there_is_never_too_late),
		TEST(failures_of_the_transport_come_through),
		TEST(what_is_sent_arrives_in_one_piece),
		TEST(what_can_t_be_sent_waits_in_order_with_its_fds),
		TEST(the_queue_is_bounded_in_bytes),
		TEST(the_queue_is_bounded_in_fds),
		TEST(the_trace_sees_both_directions),
		TEST(closing_drops_everything_that_waits),
		TEST(a_socket_carries_a_flood_without_blocking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
