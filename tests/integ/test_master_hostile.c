/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Hostile cases of framing and file descriptors, with the front-end under test; tests/hostile/cases.tsv lists them. What any one
 * reply can be is in test_master_sweep.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "vht_master.h"

#define BIT(n)	 (UINT64_C(1) << (n))
#define FEATURES (BIT(VH_F_VERSION_1) | BIT(VH_F_PROTOCOL_FEATURES))
#define PF	 (BIT(VH_PF_MQ) | BIT(VH_PF_REPLY_ACK) | BIT(VH_PF_CONFIG) | BIT(VH_PF_INFLIGHT_SHMFD))
#define REPLY	 5u

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
	vht_negotiate_by_hand(f.m, f.fd, FEATURES, PF);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fix *f = *state;

	vh_master_free(f->m);
	if (f->fd >= 0)
		close(f->fd);
	assert_int_equal(vht_open_fds(), f->fds_before);
	return 0;
}

static void again(struct fix *f)
{
	if (f->fd >= 0)
		close(f->fd);
	vh_master_disconnect(f->m);
	f->fd = vht_master_pair(f->m);
	vht_negotiate_by_hand(f->m, f->fd, FEATURES, PF);
}

/* A request that has a reply of its own is under way. */
static uint64_t asked(struct fix *f, uint32_t request)
{
	static const uint32_t inflight[6] = {0, 0, 0, 0, VHT_SHORTS(1, 16), 0};
	struct vht_msg m;
	uint64_t ticket;

	assert_int_equal(
		vht_submit(f->m, request, VH_REPLY_TABLE, inflight, request == 31 ? sizeof(inflight) : 0, &ticket), 0);
	assert_int_equal(vht_recv(f->fd, &m), 1);
	assert_int_equal(m.request, request);
	return ticket;
}

static void put(int fd, const void *bytes, size_t n)
{
	assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

/* Bytes with control data of any sort. */
static void put_control(int fd, const void *bytes, size_t n, void *control, size_t control_size)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = control_size};

	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), n);
}

/* One block of n times the same fd at the beginning of control; its size. */
static size_t rights(void *control, int fd, unsigned n)
{
	struct cmsghdr *c = control;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	for (unsigned i = 0; i < n; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
	return CMSG_SPACE(n * sizeof(int));
}

static void ends_with(struct fix *f, uint64_t ticket, int rc, uint32_t site)
{
	assert_int_equal(vht_until_failed(f->m), rc);
	assert_int_equal(vht_site(), site);
	assert_int_equal(vh_master_finish(f->m, ticket, NULL, 0, NULL, 0, NULL), rc);
}

/* --- framing --- */

static void case_001_the_end_inside_a_header(void **state)
{
	const uint32_t header[3] = {1, REPLY, UINT32_MAX};
	struct fix *f = *state;

	for (size_t n = 1; n < sizeof(header); n++) {
		uint64_t ticket = asked(f, 1);

		put(f->fd, header, n);
		shutdown(f->fd, SHUT_WR);
		ends_with(f, ticket, -ECONNRESET, 203);
		again(f);
	}
}

static void case_003_a_thousand_replies_in_one_piece(void **state)
{
	enum { N = 500 };
	static uint32_t all[N][5];
	struct fix *f = *state;
	uint64_t tickets[N];
	struct vht_msg m;

	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(vht_submit(f->m, 1, VH_REPLY_TABLE, NULL, 0, &tickets[i]), 0);
		all[i][0] = 1;
		all[i][1] = REPLY;
		all[i][2] = 8;
		memcpy(&all[i][3], &(uint64_t){i}, 8);
		assert_int_equal(vht_recv(f->fd, &m), 1);
	}
	put(f->fd, all, sizeof(all));
	for (unsigned i = N; i-- > 0;) {
		uint64_t value = 0;

		assert_int_equal(vht_finish(f->m, tickets[i], &value, sizeof(value), NULL), 0);
		assert_int_equal(value, i);
	}
}

static void case_004_a_reply_cut_anywhere(void **state)
{
	const uint32_t reply[5] = {1, REPLY, 8, VHT_HALVES(77)};
	struct fix *f = *state;

	for (size_t cut = 1; cut < sizeof(reply); cut++) {
		uint64_t ticket = asked(f, 1), value = 0;

		put(f->fd, reply, cut);
		assert_true(vh_master_dispatch(f->m) >= 0);
		assert_int_equal(vh_master_finish(f->m, ticket, NULL, 0, NULL, 0, NULL), -EINPROGRESS);
		put(f->fd, (const uint8_t *)reply + cut, sizeof(reply) - cut);
		assert_int_equal(vht_finish(f->m, ticket, &value, sizeof(value), NULL), 0);
		assert_int_equal(value, 77);
	}
}

/* Bytes that come before the deadline of their message do not put it off. */
static void case_014_a_byte_now_and_then(void **state)
{
	const uint32_t reply[5] = {1, REPLY, 8, 0, 0};
	struct fix *f = *state;
	struct pollfd p;
	uint64_t ticket;
	size_t sent = 0;
	int rc = 0;

	vh_master_free(f->m);
	close(f->fd);
	f->m = vht_master_new(600);
	f->fd = vht_master_pair(f->m);
	vht_negotiate_by_hand(f->m, f->fd, FEATURES, PF);
	ticket = asked(f, 1);
	p = (struct pollfd){.fd = vh_master_fd(f->m), .events = POLLIN};
	/* 20 bytes, one in 100 ms at most: two seconds if each were granted its own time. */
	while (rc >= 0 && sent < sizeof(reply)) {
		put(f->fd, (const uint8_t *)reply + sent++, 1);
		do {
			rc = vh_master_dispatch(f->m);
		} while (rc >= 0 && poll(&p, 1, 100) > 0);
	}
	assert_int_equal(rc, -ETIMEDOUT);
	assert_true(sent < sizeof(reply));
	assert_int_equal(vh_master_finish(f->m, ticket, NULL, 0, NULL, 0, NULL), -ETIMEDOUT);
}

static void case_016_the_end_inside_a_payload_with_fds(void **state)
{
	const uint32_t reply[8] = {31, REPLY, 24, VHT_HALVES(4096)};
	struct fix *f = *state;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;

	for (size_t n = 12; n < 36; n += 5) {
		uint64_t ticket = asked(f, 31);
		unsigned before = vht_open_fds();

		put_control(f->fd, reply, n > sizeof(reply) ? sizeof(reply) : n, &control, rights(&control, f->fd, 1));
		shutdown(f->fd, SHUT_WR);
		ends_with(f, ticket, -ECONNRESET, 203);
		assert_int_equal(vht_open_fds(), before - 1);
		again(f);
	}
}

/* No signal: it would end the test. */
static void case_017_the_back_end_is_gone_when_we_send(void **state)
{
	struct fix *f = *state;
	uint64_t ticket = 0;
	int rc;

	close(f->fd);
	f->fd = -1;
	rc = vht_submit(f->m, 1, VH_REPLY_TABLE, NULL, 0, &ticket);
	assert_int_equal(rc, -ECONNRESET);
	again(f);
	shutdown(f->fd, SHUT_RD);
	rc = vht_submit(f->m, 1, VH_REPLY_TABLE, NULL, 0, &ticket);
	assert_true(rc == -ECONNRESET || rc == -EPIPE);
	assert_int_equal(vh_master_get_features(f->m, &ticket), -ENOTCONN);
}

static void case_020_ten_thousand_back_ends_without_a_word(void **state)
{
	struct fix *f = *state;
	unsigned before = vht_open_fds();

	for (unsigned i = 0; i < 10000; i++) {
		close(f->fd);
		vh_master_disconnect(f->m);
		f->fd = vht_master_pair(f->m);
	}
	assert_int_equal(vht_open_fds(), before);
	again(f);
}

/* --- file descriptors --- */

static void case_023_more_fds_than_a_reply_may_have(void **state)
{
	static const struct {
		unsigned n;
		uint32_t site;
	} of[] = {{1, 162}, {32, 162}, {33, 200}, {64, 200}, {253, 200}};
	const uint32_t reply[5] = {1, REPLY, 8, 0, 0};
	struct fix *f = *state;
	union {
		char bytes[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control;

	for (unsigned i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		uint64_t ticket = asked(f, 1);
		unsigned before = vht_open_fds();

		put_control(f->fd, reply, sizeof(reply), &control, rights(&control, f->fd, of[i].n));
		ends_with(f, ticket, -EPROTO, of[i].site);
		assert_int_equal(vht_open_fds(), before - 1);
		again(f);
	}
}

static void case_025_fds_that_come_late(void **state)
{
	const uint32_t reply[9] = {31, REPLY, 24, VHT_HALVES(4096)};
	struct fix *f = *state;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;

	for (size_t cut = 1; cut < sizeof(reply); cut += 5) {
		uint64_t ticket = asked(f, 31);
		unsigned before = vht_open_fds();

		put(f->fd, reply, cut);
		/* What lies in the socket together is read together. */
		assert_true(vh_master_dispatch(f->m) >= 0);
		put_control(f->fd, (const uint8_t *)reply + cut, sizeof(reply) - cut, &control,
			    rights(&control, f->fd, 1));
		ends_with(f, ticket, -EPROTO, 201);
		assert_int_equal(vht_open_fds(), before - 1);
		again(f);
	}
}

/* Two blocks count together; credentials don't count. */
static void case_026_control_data_of_other_sorts(void **state)
{
	const uint32_t reply[9] = {31, REPLY, 24, VHT_HALVES(4096)};
	struct fix *f = *state;
	union {
		char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct ucred me = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
	struct vh_msg_reply got = {.size = sizeof(got)};
	uint64_t ticket = asked(f, 31);
	struct cmsghdr *c;
	int32_t fd = -1;
	size_t n;
	int rc;

	memset(&control, 0, sizeof(control));
	n = rights(&control, f->fd, 1);
	c = (struct cmsghdr *)(control.bytes + n);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof(me));
	memcpy(CMSG_DATA(c), &me, sizeof(me));
	put_control(f->fd, reply, sizeof(reply), &control, sizeof(control));
	while ((rc = vh_master_finish(f->m, ticket, NULL, 0, &fd, 1, &got)) == -EINPROGRESS)
		assert_true(vh_master_dispatch(f->m) >= 0);
	/* No room was given for the payload. */
	assert_int_equal(rc, -EMSGSIZE);
	assert_int_equal(vh_master_finish(f->m, ticket, &control, sizeof(control), &fd, 1, &got), 0);
	assert_int_equal(got.n_fds, 1);
	close(fd);

	ticket = asked(f, 31);
	n = rights(&control, f->fd, 1);
	memcpy(control.bytes + n, control.bytes, n);
	put_control(f->fd, reply, sizeof(reply), &control, 2 * n);
	ends_with(f, ticket, -EPROTO, 162);
}

static void case_035_what_arrives_is_closed_on_exec(void **state)
{
	const uint32_t reply[9] = {31, REPLY, 24, VHT_HALVES(4096)};
	struct fix *f = *state;
	uint64_t ticket = asked(f, 31);
	struct vh_msg_reply got = {.size = sizeof(got)};
	uint8_t payload[24];
	int32_t fd = -1;
	int rc;

	vht_send(f->fd, 31, REPLY, reply + 3, 24, &f->fd, 1);
	while ((rc = vh_master_finish(f->m, ticket, payload, sizeof(payload), &fd, 1, &got)) == -EINPROGRESS)
		assert_true(vh_master_dispatch(f->m) >= 0);
	assert_int_equal(rc, 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

/* The limit of open files is reached just when a reply brings one. */
static void case_036_no_room_for_an_fd(void **state)
{
	const uint32_t reply[9] = {31, REPLY, 24, VHT_HALVES(4096)};
	struct fix *f = *state;
	struct rlimit had, none;
	uint64_t ticket = asked(f, 31);
	unsigned before = vht_open_fds();
	int rc;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
	vht_send(f->fd, 31, REPLY, reply + 3, 24, &f->fd, 1);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = had.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	do {
		rc = vh_master_dispatch(f->m);
	} while (rc > 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &had), 0);
	assert_int_equal(rc, -EPROTO);
	assert_int_equal(vht_site(), 200);
	assert_int_equal(vh_master_finish(f->m, ticket, NULL, 0, NULL, 0, NULL), -EPROTO);
	assert_int_equal(vht_open_fds(), before - 1);
	again(f);
	assert_int_not_equal(asked(f, 1), 0);
}

/* Its own socket, the other end of it: nothing holds the two ends alive when both are closed. */
static void case_037_the_connection_itself_as_an_fd(void **state)
{
	struct fix *f = *state;
	uint64_t ticket = asked(f, 1);
	int other = dup(f->fd);
	char byte;

	vht_send(f->fd, 1, REPLY, "\0\0\0\0\0\0\0\0", 8, &f->fd, 1);
	ends_with(f, ticket, -EPROTO, 162);
	close(f->fd);
	f->fd = other;
	assert_int_equal(recv(other, &byte, 1, 0), 0);
}

/* --- a whole session --- */

/* A back-end that is gone after so many bytes of what it has to say. */
struct dying {
	long left;
	unsigned said; /* how many it would have said so far */
	bool gone;     /* what was sent before that was known is still read */
};

static bool die_in_time(struct vht_backend *b, struct vht_msg *m)
{
	struct dying *d = b->ctx;
	bool own = m->request == 1 || m->request == 15 || m->request == 17 || m->request == 24 || m->request == 36 ||
		   m->request == 40 || m->request == 11;
	/* Every answer here has 20 bytes but that of GET_CONFIG, which is 12 longer than asked. */
	unsigned n = m->request == 24 ? 24 + vht_u32(m, 4) : own || (m->flags & 8) ? 20 : 0;
	uint8_t part[64] = {0};

	d->said += n;
	if (d->gone)
		return true;
	if (d->left < 0 || n == 0)
		return false;
	if (d->left >= (long)n) {
		d->left -= n;
		return false;
	}
	/* Its first bytes are right, as far as they go. */
	((uint32_t *)(void *)part)[0] = m->request;
	((uint32_t *)(void *)part)[1] = REPLY;
	((uint32_t *)(void *)part)[2] = n - 12;
	if (send(b->fd, part, (size_t)d->left < sizeof(part) ? (size_t)d->left : sizeof(part), MSG_NOSIGNAL) < 0)
		abort();
	shutdown(b->fd, SHUT_RDWR);
	d->gone = true;
	return true;
}

static int whole_session(struct vh_master *m)
{
	uint8_t config[16];
	uint32_t base, slots;
	int rc = vh_master_negotiate(m, BIT(VH_F_VERSION_1), NULL);

	if (!rc)
		rc = vh_master_set_status(m, 3);
	if (!rc)
		rc = vh_master_get_config(m, 0, config, sizeof(config));
	if (!rc)
		rc = vh_master_set_vring_num(m, 0, 16);
	if (!rc)
		rc = vh_master_set_vring_base(m, 0, 0);
	if (!rc)
		rc = vh_master_get_vring_base(m, 0, &base);
	if (!rc)
		rc = vh_master_get_max_mem_slots(m, &slots);
	return rc;
}

static void case_073_a_back_end_that_dies_at_any_byte(void **state)
{
	struct fix *f = *state;
	struct dying d = {.left = -1};
	unsigned before = vht_open_fds();
	long all;

	for (long at = -1;; at++) {
		struct vh_master *m = vht_master_new(2000);
		struct vht_backend b;
		int rc;

		d = (struct dying){.left = at};
		vht_backend_init(&b);
		b.script = die_in_time;
		b.ctx = &d;
		vht_backend_start(&b, vht_master_pair(m));
		rc = whole_session(m);
		vht_backend_join(&b);
		if (at < 0)
			all = d.said;
		if (at < 0 || at >= all)
			assert_int_equal(rc, 0);
		else
			assert_true(rc == -EPROTO || rc == -ECONNRESET || rc == -EPIPE);
		vh_master_free(m);
		vht_backend_stop(&b);
		assert_int_equal(vht_open_fds(), before);
		if (at >= 0 && at >= all)
			break;
	}
	assert_true(all > 200);
	assert_int_not_equal(asked(f, 1), 0);
}

/* --- both directions at once --- */

/* Each answer waits for the front-end's own. */
static bool ask_before_answering(struct vht_backend *b, struct vht_msg *m)
{
	struct vht_msg answer;

	if (m->request != 1 || b->channel < 0)
		return false;
	vht_send(b->channel, 2, 9, NULL, 0, NULL, 0);
	if (vht_recv(b->channel, &answer) != 1 || answer.request != 2 || answer.flags != REPLY || vht_u64(&answer, 0))
		abort();
	(*(unsigned *)b->ctx)++;
	return false;
}

static void case_197_each_waits_for_the_other(void **state)
{
	struct fix *f = *state;
	struct vht_backend b;
	unsigned asked_back = 0;
	const char *full = getenv("VH_FULL");
	unsigned rounds = full && !strcmp(full, "1") ? 100000 : 2000;
	uint64_t v;

	close(f->fd);
	f->fd = -1;
	vh_master_disconnect(f->m);
	vht_backend_init(&b);
	vht_backend_start(&b, vht_master_pair(f->m));
	assert_int_equal(vh_master_negotiate(f->m, BIT(VH_F_VERSION_1), NULL), 0);
	b.ctx = &asked_back;
	b.script = ask_before_answering;
	for (unsigned i = 0; i < rounds; i++) {
		assert_int_equal(vh_master_get_features(f->m, &v), 0);
		assert_int_equal(v, b.features);
	}
	vht_backend_stop(&b);
	assert_int_equal(asked_back, rounds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(case_001_the_end_inside_a_header, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_003_a_thousand_replies_in_one_piece, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_004_a_reply_cut_anywhere, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_014_a_byte_now_and_then, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_016_the_end_inside_a_payload_with_fds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_017_the_back_end_is_gone_when_we_send, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_020_ten_thousand_back_ends_without_a_word, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_023_more_fds_than_a_reply_may_have, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_025_fds_that_come_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_026_control_data_of_other_sorts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_035_what_arrives_is_closed_on_exec, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_036_no_room_for_an_fd, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_037_the_connection_itself_as_an_fd, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_073_a_back_end_that_dies_at_any_byte, set_up, tear_down),
		cmocka_unit_test_setup_teardown(case_197_each_waits_for_the_other, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
