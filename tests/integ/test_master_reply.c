/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Replies: pairing, and everything that a hostile back-end can do with them (catalogue N 207 to 215). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vht_master.h"

#define BIT(n) (UINT64_C(1) << (n))
#define PF     (BIT(VH_PF_MQ) | BIT(VH_PF_REPLY_ACK) | BIT(VH_PF_CONFIG))
#define EXTRA  (BIT(VH_PF_LOG_SHMFD) | BIT(VH_PF_INFLIGHT_SHMFD) | BIT(VH_PF_DEVICE_STATE))

struct fix {
	struct vh_master *m;
	int fd;
	unsigned fds_before;
};

static int set_up(void **state)
{
	static struct fix f;

	f.fds_before = vht_open_fds();
	f.m = vht_master_new(2000);
	f.fd = vht_master_pair(f.m);
	vht_negotiate_by_hand(f.m, f.fd, BIT(VH_F_VERSION_1) | BIT(VH_F_PROTOCOL_FEATURES) | BIT(VH_F_LOG_ALL),
			      PF | EXTRA);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fix *f = *state;

	vh_master_free(f->m);
	close(f->fd);
	assert_int_equal(vht_open_fds(), f->fds_before);
	return 0;
}

/* A fresh connection on the same handle. */
static void again(struct fix *f)
{
	close(f->fd);
	vh_master_disconnect(f->m);
	f->fd = vht_master_pair(f->m);
	vht_negotiate_by_hand(f->m, f->fd, BIT(VH_F_VERSION_1) | BIT(VH_F_PROTOCOL_FEATURES) | BIT(VH_F_LOG_ALL),
			      PF | EXTRA);
}

/* Site numbers as they are documented: src/wire/sites.def, src/sock/sites.def, src/master/sites.def. */
struct wrong {
	const char *name;
	uint32_t request; /* that is open */
	uint32_t reply;	  /* VH_REPLY_* */
	uint32_t asked[6];
	uint32_t asked_size;
	uint32_t id, flags, size; /* of the answer */
	uint32_t said[6];
	uint32_t n_fds;
	uint32_t site;
};

static const struct wrong wrongs[] = {
	{.name = "another id", .request = 1, .id = 2, .flags = 5, .size = 8, .site = 160},
	{.name = "id 0", .request = 1, .id = 0, .flags = 5, .size = 8, .site = 160},
	{.name = "no reply bit", .request = 1, .id = 1, .flags = 1, .size = 8, .site = 101},
	{.name = "version 0", .request = 1, .id = 1, .flags = 4, .size = 8, .site = 100},
	{.name = "version 2", .request = 1, .id = 1, .flags = 6, .size = 8, .site = 100},
	{.name = "need_reply", .request = 1, .id = 1, .flags = 0xd, .size = 8, .site = 207},
	{.name = "reserved flag", .request = 1, .id = 1, .flags = 0x15, .size = 8, .site = 102},
	{.name = "one byte less", .request = 1, .id = 1, .flags = 5, .size = 7, .site = 161},
	{.name = "one byte more", .request = 1, .id = 1, .flags = 5, .size = 9, .site = 161},
	{.name = "size 0", .request = 1, .id = 1, .flags = 5, .size = 0, .site = 161},
	{.name = "size 4097", .request = 1, .id = 1, .flags = 5, .size = 4097, .site = 103},
	{.name = "size 2^32-1", .request = 1, .id = 1, .flags = 5, .size = UINT32_MAX, .site = 103},
	{.name = "an fd", .request = 1, .id = 1, .flags = 5, .size = 8, .n_fds = 1, .site = 162},
	{.name = "33 fds", .request = 1, .id = 1, .flags = 5, .size = 8, .n_fds = 33, .site = 200},
	{.name = "status of another", .request = 3, .id = 2, .flags = 5, .size = 8, .site = 160},
	{.name = "status of 4 bytes", .request = 3, .id = 3, .flags = 5, .size = 4, .site = 161},
	{.name = "status with fd", .request = 3, .id = 3, .flags = 5, .size = 8, .n_fds = 1, .site = 162},
	{.name = "base of another ring",
	 .request = 11,
	 .asked = {1, 0},
	 .asked_size = 8,
	 .id = 11,
	 .flags = 5,
	 .size = 8,
	 .said = {2, 0},
	 .site = 702},
	{.name = "base above 16 bits",
	 .request = 11,
	 .asked = {1, 0},
	 .asked_size = 8,
	 .id = 11,
	 .flags = 5,
	 .size = 8,
	 .said = {1, 0x10000},
	 .site = 703},
	{.name = "config of another offset",
	 .request = 24,
	 .asked = {4, 4, 0, 0},
	 .asked_size = 16,
	 .id = 24,
	 .flags = 5,
	 .size = 16,
	 .said = {0, 4, 0, 0},
	 .site = 704},
	{.name = "config of another size",
	 .request = 24,
	 .asked = {0, 4, 0, 0},
	 .asked_size = 16,
	 .id = 24,
	 .flags = 5,
	 .size = 20,
	 .said = {0, 8, 0, 0, 0},
	 .site = 704},
	{.name = "config cut short",
	 .request = 24,
	 .asked = {0, 4, 0, 0},
	 .asked_size = 16,
	 .id = 24,
	 .flags = 5,
	 .size = 14,
	 .said = {0, 4, 0, 0},
	 .site = 163},
	{.name = "config with too much",
	 .request = 24,
	 .asked = {0, 4, 0, 0},
	 .asked_size = 16,
	 .id = 24,
	 .flags = 5,
	 .size = 20,
	 .said = {0, 4, 0, 0},
	 .site = 163},
	{.name = "config of 8 bytes",
	 .request = 24,
	 .asked = {0, 4, 0, 0},
	 .asked_size = 16,
	 .id = 24,
	 .flags = 5,
	 .size = 8,
	 .site = 163},
	{.name = "config of 269 bytes",
	 .request = 24,
	 .asked = {0, 4, 0, 0},
	 .asked_size = 16,
	 .id = 24,
	 .flags = 5,
	 .size = 269,
	 .site = 161},
	{.name = "inflight without fd",
	 .request = 31,
	 .asked = {0, 0, 0, 0, 0x01000001, 0},
	 .asked_size = 24,
	 .id = 31,
	 .flags = 5,
	 .size = 24,
	 .said = {4096},
	 .site = 164},
	{.name = "inflight with two fds",
	 .request = 31,
	 .asked = {0, 0, 0, 0, 0x01000001, 0},
	 .asked_size = 24,
	 .id = 31,
	 .flags = 5,
	 .size = 24,
	 .said = {4096},
	 .n_fds = 2,
	 .site = 162},
	{.name = "inflight of size 0 with fd",
	 .request = 31,
	 .asked = {0, 0, 0, 0, 0x01000001, 0},
	 .asked_size = 24,
	 .id = 31,
	 .flags = 5,
	 .size = 24,
	 .n_fds = 1,
	 .site = 164},
	{.name = "raw: another id", .request = 1000, .reply = VH_REPLY_OWN, .id = 1001, .flags = 5, .site = 206},
	{.name = "raw: need_reply", .request = 1000, .reply = VH_REPLY_OWN, .id = 1000, .flags = 13, .site = 207},
	{.name = "raw: no status",
	 .request = 1000,
	 .reply = VH_REPLY_ACK,
	 .id = 1000,
	 .flags = 5,
	 .size = 4,
	 .site = 206},
};

static void send_wrong(int fd, const struct wrong *w)
{
	static uint8_t payload[4097];
	int fds[33];
	uint32_t most = sizeof(payload);

	memset(payload, 0, sizeof(payload));
	memcpy(payload, w->said, sizeof(w->said));
	for (uint32_t i = 0; i < w->n_fds; i++)
		fds[i] = fd;
	if (w->size > most) {
		vht_send(fd, w->id, w->flags, NULL, w->size, fds, w->n_fds); /* a header that lies */
		return;
	}
	vht_send(fd, w->id, w->flags, payload, w->size, fds, w->n_fds);
}

static void wrong_replies_fail_the_connection(void **state)
{
	struct fix *f = *state;

	for (unsigned i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		const struct wrong *w = &wrongs[i];
		struct vh_event e = {.size = sizeof(e)};
		struct vht_msg msg;
		uint64_t ticket;
		unsigned fds;

		if (i)
			again(f);
		while (vh_master_next_event(f->m, &e) == 1)
			;
		fds = vht_open_fds();
		assert_int_equal(vht_submit(f->m, w->request, w->reply, w->asked, w->asked_size, &ticket), 0);
		assert_int_equal(vht_recv(f->fd, &msg), 1);
		send_wrong(f->fd, w);
		assert_int_equal(vht_until_failed(f->m), -EPROTO);
		if (vht_site() != w->site)
			fail_msg("%s: site %u instead of %u: %s", w->name, vht_site(), w->site, vht_text());
		/* The socket is closed, and what came with the reply. */
		assert_int_equal(vht_open_fds(), fds - 1);
		assert_int_equal(vh_master_finish(f->m, ticket, NULL, 0, NULL, 0, NULL), -EPROTO);
		assert_int_equal(vht_site(), w->site);
		assert_int_equal(vh_master_finish(f->m, ticket, NULL, 0, NULL, 0, NULL), -ENOENT);
		assert_int_equal(vh_master_set_owner(f->m), -ENOTCONN);
		assert_int_equal(vht_site(), w->site);
		assert_int_equal(vh_master_next_event(f->m, &e), 1);
		assert_int_equal(e.kind, VH_EVENT_DISCONNECTED);
		assert_int_equal(e.reason, -EPROTO);
		assert_int_equal(e.value, w->site);
	}
}

static void an_unsolicited_message_fails_the_connection(void **state)
{
	struct fix *f = *state;

	vht_send_u64(f->fd, 1, 5, 0);
	assert_int_equal(vht_until_failed(f->m), -EPROTO);
	assert_int_equal(vht_site(), 205);
}

static void the_second_reply_to_a_request_is_never_taken_for_the_next(void **state)
{
	struct fix *f = *state;
	struct vht_msg msg;
	uint64_t t, v = 0;

	assert_int_equal(vht_submit(f->m, 1, VH_REPLY_TABLE, NULL, 0, &t), 0);
	vht_recv(f->fd, &msg);
	vht_send_u64(f->fd, 1, 5, 11);
	assert_int_equal(vht_finish(f->m, t, &v, sizeof(v), NULL), 0);
	assert_int_equal(v, 11);
	vht_send_u64(f->fd, 1, 5, 12);
	/* The same request again: it must not be answered by what was there before it was sent. */
	assert_int_equal(vht_submit(f->m, 1, VH_REPLY_TABLE, NULL, 0, &t), -EPROTO);
	assert_int_equal(vht_site(), 205);
}

static void a_reply_to_the_request_before_fails_the_connection(void **state)
{
	struct fix *f = *state;
	uint64_t t[2];

	assert_int_equal(vht_submit(f->m, 1, VH_REPLY_TABLE, NULL, 0, &t[0]), 0);
	assert_int_equal(vht_submit(f->m, 17, VH_REPLY_TABLE, NULL, 0, &t[1]), 0);
	vht_send_u64(f->fd, 17, 5, 1);
	assert_int_equal(vht_until_failed(f->m), -EPROTO);
	assert_int_equal(vht_site(), 160);
	assert_int_equal(vh_master_finish(f->m, t[1], NULL, 0, NULL, 0, NULL), -EPROTO);
	assert_int_equal(vh_master_finish(f->m, t[0], NULL, 0, NULL, 0, NULL), -EPROTO);
}

static void pipelined_requests_are_paired_in_order_and_finished_in_any(void **state)
{
	enum { N = 100 };
	struct fix *f = *state;
	uint64_t t[N], v;

	for (uint32_t i = 0; i < N; i++) {
		uint32_t asked[2] = {i, 0};

		assert_int_equal(vht_submit(f->m, 11, VH_REPLY_TABLE, asked, sizeof(asked), &t[i]), 0);
		assert_int_equal(vh_master_finish(f->m, t[i], NULL, 0, NULL, 0, NULL), -EINPROGRESS);
	}
	for (uint32_t i = 0; i < N; i++) {
		struct vht_msg msg;

		assert_int_equal(vht_recv(f->fd, &msg), 1);
		assert_int_equal(vht_u32(&msg, 0), i);
		vht_send_u64(f->fd, 11, 5, VHT_PAIR(i, i + 1000));
	}
	for (int i = N - 1; i >= 0; i--) {
		assert_int_equal(vht_finish(f->m, t[i], &v, sizeof(v), NULL), 0);
		assert_int_equal(v, VHT_PAIR(i, i + 1000));
	}
	assert_int_equal(vh_master_finish(f->m, t[5], NULL, 0, NULL, 0, NULL), -ENOENT);
}

static void a_reply_in_pieces_of_one_byte_is_a_reply(void **state)
{
	struct fix *f = *state;
	struct vht_msg msg;
	const uint32_t bytes[5] = {1, 5, 8, VHT_HALVES(0x11223344)};
	uint64_t t, v = 0;

	assert_int_equal(vht_submit(f->m, 1, VH_REPLY_TABLE, NULL, 0, &t), 0);
	vht_recv(f->fd, &msg);
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(vh_master_finish(f->m, t, NULL, 0, NULL, 0, NULL), -EINPROGRESS);
		assert_int_equal(write(f->fd, (const char *)bytes + i, 1), 1);
		assert_int_equal(vh_master_dispatch(f->m), 0);
	}
	assert_int_equal(vht_finish(f->m, t, &v, sizeof(v), NULL), 0);
	assert_int_equal(v, 0x11223344);
}

static void a_packed_base_may_use_all_32_bits(void **state)
{
	struct fix *f = *state;
	uint64_t features = BIT(VH_F_VERSION_1) | BIT(VH_F_RING_PACKED), t, v = 0;
	const uint32_t asked[2] = {3, 0};
	struct vht_msg msg;

	assert_int_equal(vht_submit(f->m, 2, VH_REPLY_NONE, &features, 8, &t), 0);
	assert_int_equal(t, 0);
	vht_recv(f->fd, &msg);
	assert_int_equal(msg.flags, 1);
	assert_int_equal(vht_submit(f->m, 11, VH_REPLY_TABLE, asked, 8, &t), 0);
	vht_recv(f->fd, &msg);
	vht_send_u64(f->fd, 11, 5, VHT_PAIR(3, 0x80058005));
	assert_int_equal(vht_finish(f->m, t, &v, sizeof(v), NULL), 0);
	assert_int_equal(v, VHT_PAIR(3, 0x80058005));
}

static void the_answer_to_set_log_base_may_have_three_sizes(void **state)
{
	static const struct {
		uint32_t size;
		int rc;
	} cases[] = {{0, 0}, {8, 0}, {16, 0}, {4, -EPROTO}};
	struct fix *f = *state;
	const uint64_t log[2] = {4096, 0}, value[2] = {77, 77};

	for (unsigned i = 0; i < 4; i++) {
		struct vht_msg msg;
		uint64_t t;

		assert_int_equal(vht_submit(f->m, 6, VH_REPLY_TABLE, log, sizeof(log), &t), 0);
		vht_recv(f->fd, &msg);
		assert_int_equal(msg.flags, 1);
		vht_send(f->fd, 6, 5, value, cases[i].size, NULL, 0);
		assert_int_equal(vht_finish(f->m, t, (uint64_t[2]){0}, 16, NULL), cases[i].rc);
	}
	assert_int_equal(vht_site(), 705);
}

static void device_state_replies_with_error_and_fd_are_refused(void **state)
{
	struct fix *f = *state;
	const uint32_t asked[2] = {0, 0};
	struct vh_msg msg = {.size = sizeof(msg),
			     .request = 42,
			     .payload = (uint64_t)(uintptr_t)asked,
			     .payload_size = 8,
			     .n_fds = 1};
	struct vht_msg in;
	uint64_t t, v = 0x101;

	assert_int_equal(vh_master_submit(f->m, &msg, &f->fd, &t), 0);
	vht_recv(f->fd, &in);
	assert_int_equal(in.n_fds, 1);
	vht_close_fds(&in);
	vht_send(f->fd, 42, 5, &v, 8, &f->fd, 1);
	assert_int_equal(vht_until_failed(f->m), -EPROTO);
	assert_int_equal(vht_site(), 164);
}

static void a_reply_s_fds_are_handed_out_once(void **state)
{
	struct fix *f = *state;
	struct vh_msg_reply reply = {.size = sizeof(reply)};
	uint8_t buf[24];
	const uint32_t asked[6] = {0, 0, 0, 0, 0x00010001}, said[6] = {VHT_HALVES(4096), 0, 0, 0x00010001};
	struct vht_msg msg;
	int32_t fd = -1;
	uint64_t t;

	assert_int_equal(vht_submit(f->m, 31, VH_REPLY_TABLE, asked, 24, &t), 0);
	vht_recv(f->fd, &msg);
	vht_send(f->fd, 31, 5, said, 24, &f->fd, 1);
	while (vh_master_finish(f->m, t, NULL, 0, NULL, 0, &reply) == -EINPROGRESS)
		vh_master_dispatch(f->m);
	/* Too little room, of either kind, or a place that is none: nothing is taken, nothing is lost. */
	assert_int_equal(vh_master_finish(f->m, t, buf, 23, &fd, 1, &reply), -EMSGSIZE);
	assert_int_equal(vh_master_finish(f->m, t, buf, 24, NULL, 0, &reply), -EMSGSIZE);
	assert_int_equal(vh_master_finish(f->m, t, NULL, 24, &fd, 1, &reply), -EINVAL);
	assert_int_equal(vh_master_finish(f->m, t, buf, 24, NULL, 1, &reply), -EINVAL);
	assert_int_equal(vh_master_finish(f->m, t, buf, 24, &fd, 1, NULL), -EINVAL);
	reply.size = 4;
	assert_int_equal(vh_master_finish(f->m, t, buf, 24, &fd, 1, &reply), -EINVAL);
	assert_int_equal(fd, -1);
	reply.size = sizeof(reply);
	assert_int_equal(vh_master_finish(f->m, t, buf, 24, &fd, 1, &reply), 0);
	assert_memory_equal(buf, said, 24);
	assert_int_equal(reply.n_fds, 1);
	assert_int_equal(reply.request, 31);
	assert_int_equal(reply.flags, 5);
	assert_int_equal(reply.payload_size, 24);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

static void fds_that_nobody_takes_are_closed(void **state)
{
	struct fix *f = *state;
	const uint32_t asked[6] = {0, 0, 0, 0, 0x00010001}, said[6] = {VHT_HALVES(4096), 0, 0, 0x00010001};
	unsigned before = vht_open_fds();
	struct vht_msg msg;
	uint64_t t;

	/* Finished without a place for it, never finished, and nobody's from the start. */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(vht_submit(f->m, 31, VH_REPLY_TABLE, asked, 24, i == 2 ? NULL : &t), 0);
		vht_recv(f->fd, &msg);
		vht_send(f->fd, 31, 5, said, 24, &f->fd, 1);
		do
			assert_int_equal(vh_master_dispatch(f->m), 0);
		while (i == 0 && vh_master_finish(f->m, t, NULL, 0, NULL, 0, NULL) == -EINPROGRESS);
	}
	assert_int_equal(vht_open_fds(), before + 1);
}

static void a_refused_set_features_leaves_what_was_acked(void **state)
{
	struct fix *f = *state;
	uint64_t features = BIT(VH_F_VERSION_1), t;
	const uint32_t enable[2] = {0, 1};
	struct vht_msg msg;

	assert_int_equal(vht_submit(f->m, 2, VH_REPLY_TABLE, &features, 8, &t), 0);
	vht_recv(f->fd, &msg);
	/* Until it is refused, bit 30 counts as gone. */
	assert_int_equal(vht_submit(f->m, 18, VH_REPLY_TABLE, enable, 8, NULL), -EOPNOTSUPP);
	vht_send_u64(f->fd, 2, 5, 1);
	assert_int_equal(vht_finish(f->m, t, NULL, 0, NULL), -EREMOTEIO);
	assert_int_equal(vht_submit(f->m, 18, VH_REPLY_TABLE, enable, 8, &t), 0);
}

static void unfinished_tickets_are_bounded(void **state)
{
	struct fix *f = *state;
	struct vh_master_stats stats = {.size = sizeof(stats)};
	unsigned n = 0, raw = 0;
	struct vht_msg msg;
	uint64_t t;
	int rc;

	/* A reply of unknown size may be 4 KiB. */
	while (!(rc = vht_submit(f->m, 2000, VH_REPLY_OWN, NULL, 0, &t))) {
		raw++;
		vht_recv(f->fd, &msg);
	}
	assert_int_equal(rc, -ENOBUFS);
	assert_int_equal(raw, 256);
	/* They outlive their connection, until they are finished. */
	assert_int_equal(vh_master_disconnect(f->m), 0);
	while (raw--)
		assert_int_equal(vh_master_finish(f->m, t--, NULL, 0, NULL, 0, NULL), -ECONNRESET);
	again(f);
	while (!(rc = vht_submit(f->m, 1, VH_REPLY_TABLE, NULL, 0, &t))) {
		n++;
		vht_recv(f->fd, &msg);
		vht_send_u64(f->fd, 1, 5, 1);
		assert_int_equal(vh_master_dispatch(f->m), 0);
	}
	assert_int_equal(rc, -ENOBUFS);
	assert_int_equal(n, 1024);
	assert_int_equal(vh_master_get_stats(f->m, &stats), 0);
	assert_int_equal(stats.tickets, 0); /* all have come, none was taken */
	assert_int_equal(vh_master_finish(f->m, t, NULL, 0, NULL, 0, NULL), 0);
	assert_int_equal(vht_submit(f->m, 1, VH_REPLY_TABLE, NULL, 0, &t), 0);
}

static void the_strict_column_is_what_may_be_sent(void **state)
{
	struct fix *f = *state;
	uint64_t t;
	const uint64_t iotlb[4] = {0};

	assert_int_equal(vht_submit(f->m, 22, VH_REPLY_TABLE, iotlb, 32, &t), -EOPNOTSUPP);
	assert_non_null(strstr(vht_text(), "ACCESS_PLATFORM"));
	assert_int_equal(vht_submit(f->m, 34, VH_REPLY_TABLE, NULL, 0, &t), -EOPNOTSUPP);
	assert_non_null(strstr(vht_text(), "RESET_DEVICE"));
	assert_non_null(strstr(vht_text(), "did not offer"));
	assert_int_equal(vht_submit(f->m, 1, VH_REPLY_TABLE, iotlb, 8, &t), -EINVAL);
	assert_int_equal(vht_submit(f->m, 7, VH_REPLY_TABLE, NULL, 0, &t), -EINVAL); /* no fd */
	assert_int_equal(vht_submit(f->m, 1, VH_REPLY_NONE, NULL, 0, &t), -EINVAL);
	assert_int_equal(vht_submit(f->m, 1, VH_REPLY_ACK, NULL, 0, &t), -EINVAL);
	assert_int_equal(vht_submit(f->m, 1, 4, NULL, 0, &t), -EINVAL);
	assert_int_equal(vht_submit(f->m, 3, VH_REPLY_ACK, NULL, 4097, &t), -EINVAL);
	assert_int_equal(vht_submit(f->m, 2, VH_REPLY_TABLE, NULL, 8, &t), -EINVAL);
	assert_int_equal(vh_master_submit(f->m, NULL, NULL, &t), -EINVAL);
}

static void raw_requests_do_what_the_caller_says(void **state)
{
	static const struct {
		uint32_t reply, flags;
		bool ticket;
	} cases[] = {{VH_REPLY_TABLE, 1, false},
		     {VH_REPLY_NONE, 1, false},
		     {VH_REPLY_ACK, 9, true},
		     {VH_REPLY_OWN, 1, true}};
	struct fix *f = *state;
	uint8_t got[4096], big[4096];
	struct vht_msg msg;
	uint32_t size = 0;
	uint64_t t;

	memset(big, 0x5a, sizeof(big));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(vht_submit(f->m, 70000, cases[i].reply, "abc", 3, &t), 0);
		assert_int_equal(vht_recv(f->fd, &msg), 1);
		assert_int_equal(msg.request, 70000);
		assert_int_equal(msg.flags, cases[i].flags);
		assert_memory_equal(msg.payload, "abc", 3);
		assert_int_equal(t != 0, cases[i].ticket);
		if (cases[i].reply == VH_REPLY_ACK) {
			vht_send_u64(f->fd, 70000, 5, 0);
			assert_int_equal(vht_finish(f->m, t, got, 8, &size), 0);
		} else if (cases[i].reply == VH_REPLY_OWN) {
			vht_send(f->fd, 70000, 5, big, sizeof(big), NULL, 0);
			assert_int_equal(vht_finish(f->m, t, got, sizeof(got), &size), 0);
			assert_int_equal(size, sizeof(big));
			assert_memory_equal(got, big, sizeof(big));
		}
	}
}

static void stats_count(void **state)
{
	struct fix *f = *state;
	struct vh_master_stats s = {.size = sizeof(s)};
	struct vht_msg msg;
	uint64_t t, out;

	assert_int_equal(vh_master_get_stats(f->m, &s), 0);
	assert_int_equal(s.connected, 1);
	out = s.messages_out;
	assert_int_equal(vht_submit(f->m, 1, VH_REPLY_TABLE, NULL, 0, &t), 0);
	vht_recv(f->fd, &msg);
	assert_int_equal(vh_master_get_stats(f->m, &s), 0);
	assert_int_equal(s.messages_out, out + 1);
	assert_int_equal(s.tickets, 1);
	assert_true(s.oldest_ticket_ns > 0);
	vht_send_u64(f->fd, 2, 5, 0);
	assert_int_equal(vht_until_failed(f->m), -EPROTO);
	assert_int_equal(vh_master_get_stats(f->m, &s), 0);
	assert_int_equal(s.rejected, 1);
	assert_int_equal(s.connected, 0);
	assert_int_equal(s.tickets, 0);
	assert_int_equal(s.messages_out, out + 1);
	assert_int_equal(s.bytes_out, 4 * 12 + 2 * 8 + 12);
	assert_int_equal(vh_master_get_stats(f->m, NULL), -EINVAL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(wrong_replies_fail_the_connection),
		T(an_unsolicited_message_fails_the_connection),
		T(the_second_reply_to_a_request_is_never_taken_for_the_next),
		T(a_reply_to_the_request_before_fails_the_connection),
		T(pipelined_requests_are_paired_in_order_and_finished_in_any),
		T(a_reply_in_pieces_of_one_byte_is_a_reply),
		T(a_packed_base_may_use_all_32_bits),
		T(the_answer_to_set_log_base_may_have_three_sizes),
		T(device_state_replies_with_error_and_fd_are_refused),
		T(a_reply_s_fds_are_handed_out_once),
		T(fds_that_nobody_takes_are_closed),
		T(a_refused_set_features_leaves_what_was_acked),
		T(unfinished_tickets_are_bounded),
		T(the_strict_column_is_what_may_be_sent),
		T(raw_requests_do_what_the_caller_says),
		T(stats_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
