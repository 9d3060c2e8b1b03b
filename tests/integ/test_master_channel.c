/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The back-end's own requests (catalogue L 197 to 206, N 216 and 217), and callbacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vht_master.h"

#define BIT(n) (UINT64_C(1) << (n))

struct seen {
	struct vh_master *m;
	unsigned calls, destroyed;
	uint32_t request, size, n_fds;
	int32_t rc; /* to answer */
	void (*act)(struct seen *s);
	uint64_t ticket, token;
	uint8_t first; /* byte of the payload */
};

static int32_t on_request(void *ctx, const struct vh_msg_request *req)
{
	struct seen *s = ctx;

	assert_int_equal(req->size, sizeof(*req));
	s->calls++;
	s->request = req->request;
	s->size = req->payload_size;
	s->n_fds = req->n_fds;
	s->token = req->token;
	if (s->size)
		s->first = *(const uint8_t *)(uintptr_t)req->payload;
	if (s->act)
		s->act(s);
	return s->rc;
}

static void on_destroy(void *ctx)
{
	((struct seen *)ctx)->destroyed++;
}

struct fix {
	struct vh_master *m;
	struct vht_backend b;
	struct seen seen;
	int fd; /* the back-end's end of its channel */
	unsigned fds_before;
};

static void connect_it(struct fix *f)
{
	vht_backend_init(&f->b);
	vht_backend_start(&f->b, vht_master_pair(f->m));
	assert_int_equal(vh_master_negotiate(f->m, BIT(32), NULL), 0);
	f->fd = f->b.channel;
	assert_true(f->fd >= 0);
	assert_int_equal(vht_last_event(f->m).kind, VH_EVENT_CONNECTED);
}

static int set_up(void **state)
{
	struct vh_master_ops ops = {.size = sizeof(ops), .destroy = on_destroy, .backend_request = on_request};
	struct vh_master_opts opts = {.size = sizeof(opts), .timeout_ms = 2000};
	static struct fix f;

	memset(&f, 0, sizeof(f));
	f.fds_before = vht_open_fds();
	assert_int_equal(vh_master_new(&opts, &ops, &f.seen, &f.m), 0);
	f.seen.m = f.m;
	connect_it(&f);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fix *f = *state;

	vh_master_free(f->m);
	vht_backend_stop(&f->b);
	assert_int_equal(f->seen.destroyed, 1);
	assert_int_equal(vht_open_fds(), f->fds_before);
	return 0;
}

/* Ack more than the library does by itself, so that more kinds of requests are legal. */
static void ack_also(struct fix *f, uint64_t bits)
{
	uint64_t pf = f->b.pf_acked | bits;
	uint64_t t;

	f->b.protocol_features |= bits;
	assert_int_equal(vht_submit(f->m, 16, VH_REPLY_TABLE, &pf, 8, &t), 0);
}

static void dispatch_once(struct fix *f)
{
	struct pollfd p = {.fd = vh_master_fd(f->m), .events = POLLIN};

	assert_int_equal(poll(&p, 1, VHT_WAIT_MS), 1);
	assert_true(vh_master_dispatch(f->m) >= 0);
}

static uint64_t status_of(struct fix *f, uint32_t request)
{
	struct vht_msg m;

	assert_int_equal(vht_recv(f->fd, &m), 1);
	assert_int_equal(m.request, request);
	assert_int_equal(m.flags, 5);
	assert_int_equal(m.size, 8);
	assert_int_equal(m.n_fds, 0);
	return vht_u64(&m, 0);
}

static bool silent(int fd)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 20) == 0;
}

static bool closed(int fd)
{
	char c;

	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, VHT_WAIT_MS) == 1 &&
	       recv(fd, &c, 1, MSG_DONTWAIT) <= 0;
}

static void main_is_alive(struct fix *f)
{
	uint64_t v = 0;

	assert_int_equal(vh_master_get_features(f->m, &v), 0);
	assert_int_equal(v, 0x175007e46);
}

static void a_config_change_is_an_event_and_a_good_status(void **state)
{
	struct fix *f = *state;
	struct vh_event e = {.size = sizeof(e)};

	vht_send(f->fd, 2, 9, NULL, 0, NULL, 0);
	dispatch_once(f);
	assert_int_equal(status_of(f, 2), 0);
	vht_send(f->fd, 2, 1, NULL, 0, NULL, 0);
	dispatch_once(f);
	assert_true(silent(f->fd));
	assert_int_equal(vh_master_next_event(f->m, &e), 1);
	assert_int_equal(e.kind, VH_EVENT_CONFIG_CHANGED);
	assert_int_equal(e.count, 2);
	assert_int_equal(e.queue, VH_ERROR_NONE);
	assert_int_equal(vh_master_next_event(f->m, &e), 0);
	assert_int_equal(f->seen.calls, 0);
}

static void a_flood_of_config_changes_is_one_event(void **state)
{
	enum { N = 100000 };
	struct fix *f = *state;
	struct vh_event e = {.size = sizeof(e)};
	const uint32_t header[3] = {2, 1, 0};
	unsigned sent = 0;

	while (sent < N) {
		while (sent < N && send(f->fd, header, sizeof(header), MSG_DONTWAIT) == sizeof(header))
			sent++;
		assert_true(vh_master_dispatch(f->m) >= 0);
	}
	while (vh_master_dispatch(f->m) > 0)
		;
	assert_int_equal(vh_master_next_event(f->m, &e), 1);
	assert_int_equal(e.kind, VH_EVENT_CONFIG_CHANGED);
	assert_int_equal(e.count, N);
	assert_int_equal(vh_master_next_event(f->m, &e), 0);
	main_is_alive(f);
}

static void requests_go_to_the_callback_and_its_answer_back(void **state)
{
	struct fix *f = *state;
	struct vh_event e = {.size = sizeof(e)};
	const uint8_t uuid[16] = {1};

	ack_also(f, BIT(VH_PF_SHARED_OBJECT));
	vht_send(f->fd, 6, 9, uuid, 16, NULL, 0);
	dispatch_once(f);
	assert_int_equal(status_of(f, 6), 0);
	assert_int_equal(f->seen.request, 6);
	assert_int_equal(f->seen.size, 16);
	f->seen.rc = -ENOENT;
	vht_send(f->fd, 7, 9, uuid, 16, NULL, 0);
	dispatch_once(f);
	assert_int_equal(status_of(f, 7), 1);
	assert_int_equal(f->seen.calls, 2);
	assert_int_equal(vh_master_next_event(f->m, &e), 1);
	assert_int_equal(e.kind, VH_EVENT_BACKEND_REQUEST);
	assert_int_equal(e.value, 7);
	assert_int_equal(e.count, 2);
	assert_int_equal(f->seen.first, 1);
	/* An answer that would carry an fd can't come from a status. */
	f->seen.rc = 0;
	vht_send(f->fd, 8, 1, uuid, 16, NULL, 0);
	dispatch_once(f);
	assert_int_equal(status_of(f, 8), 1);
	assert_int_equal(f->seen.calls, 3);
}

static void a_request_that_nobody_handles_is_refused(void **state)
{
	struct vh_master_opts opts = {.size = sizeof(opts), .timeout_ms = 2000};
	const uint8_t uuid[16] = {1};
	struct fix f = {0};

	(void)state;
	assert_int_equal(vh_master_new(&opts, NULL, NULL, &f.m), 0);
	connect_it(&f);
	ack_also(&f, BIT(VH_PF_SHARED_OBJECT));
	vht_send(f.fd, 6, 9, uuid, 16, NULL, 0);
	dispatch_once(&f);
	assert_int_equal(status_of(&f, 6), 1);
	vht_send(f.fd, 77, 9, NULL, 0, &f.fd, 1);
	dispatch_once(&f);
	assert_int_equal(status_of(&f, 77), 1);
	vht_send(f.fd, 77, 1, NULL, 0, NULL, 0); /* unknown, and nobody asks: logged */
	dispatch_once(&f);
	assert_true(silent(f.fd));
	main_is_alive(&f);
	vh_master_free(f.m);
	vht_backend_stop(&f.b);
}

/* One more request of the back-end; returns its token. */
static uint64_t ask(struct fix *f, uint32_t id, uint32_t flags)
{
	const uint8_t uuid[16] = {1};
	unsigned calls = f->seen.calls;

	vht_send(f->fd, id, flags, uuid, 16, NULL, 0);
	dispatch_once(f);
	assert_int_equal(f->seen.calls, calls + 1);
	return f->seen.token;
}

static void expect_object(struct fix *f)
{
	struct vht_msg m;

	assert_int_equal(vht_recv(f->fd, &m), 1);
	assert_int_equal(m.request, 8);
	assert_int_equal(m.flags, 5);
	assert_int_equal(m.size, 8);
	assert_int_equal(vht_u64(&m, 0), 0);
	assert_int_equal(m.n_fds, 1);
	vht_close_fds(&m);
}

static void a_lookup_is_answered_later_with_an_fd(void **state)
{
	struct fix *f = *state;
	struct vh_event e;
	const uint64_t found = 0;
	uint64_t token;

	ack_also(f, BIT(VH_PF_SHARED_OBJECT));
	f->seen.rc = -EINPROGRESS;
	token = ask(f, 8, 1);
	assert_true(silent(f->fd));
	main_is_alive(f);
	/* What can't be the reply leaves the request as it is. */
	assert_int_equal(vh_master_answer(f->m, token, 0, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(vh_master_answer(f->m, token, 0, &found, 7, &f->fd, 1), -EINVAL);
	assert_int_equal(vh_master_answer(f->m, token, 0, &found, 9, &f->fd, 1), -EINVAL);
	assert_int_equal(vh_master_answer(f->m, token, 0, NULL, 8, &f->fd, 1), -EINVAL);
	assert_int_equal(vh_master_answer(f->m, token, 0, &found, 8, NULL, 1), -EINVAL);
	assert_int_equal(vh_master_answer(f->m, token, 0, &found, 8, &f->fd, 2), -EINVAL);
	assert_int_equal(vh_master_answer(f->m, token, 0, &found, 8, &(int32_t){-1}, 1), -EBADF);
	assert_int_equal(vh_master_answer(f->m, token, -EINPROGRESS, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(vh_master_answer(f->m, token, 1, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(vh_master_answer(f->m, token, -ENOENT, &found, 8, NULL, 0), -EINVAL);
	assert_int_equal(vh_master_answer(f->m, token + 1, 0, &found, 8, &f->fd, 1), -ESTALE);
	assert_int_equal(vh_master_answer(NULL, token, 0, &found, 8, &f->fd, 1), -EINVAL);
	assert_int_equal(vh_master_answer(f->m, token, 0, &found, 8, &f->fd, 1), 0);
	expect_object(f);
	assert_int_equal(vh_master_answer(f->m, token, 0, &found, 8, &f->fd, 1), -ESTALE);
	e = vht_last_event(f->m);
	assert_int_equal(e.kind, VH_EVENT_BACKEND_REQUEST);
	assert_int_equal(e.value, 8);
	assert_int_equal(e.reason, 0);
	/* Or refused. */
	token = ask(f, 8, 1);
	assert_int_equal(vh_master_answer(f->m, token, -ENOENT, NULL, 0, NULL, 0), 0);
	assert_int_equal(status_of(f, 8), 1);
	assert_int_equal(vht_last_event(f->m).reason, 1);
}

static void answers_leave_in_the_order_of_their_requests(void **state)
{
	struct fix *f = *state;
	const uint64_t found = 0;
	uint64_t token[2];

	ack_also(f, BIT(VH_PF_SHARED_OBJECT));
	f->seen.rc = -EINPROGRESS;
	token[0] = ask(f, 6, 9);
	token[1] = ask(f, 8, 1);
	f->seen.rc = 0;
	ask(f, 7, 9);
	vht_send(f->fd, 2, 9, NULL, 0, NULL, 0);
	dispatch_once(f);
	assert_int_equal(vh_master_answer(f->m, token[1], 0, &found, 8, &f->fd, 1), 0);
	assert_true(silent(f->fd));
	assert_int_equal(vh_master_answer(f->m, token[0], 0, &found, 8, NULL, 0), -EINVAL); /* a status has none */
	assert_int_equal(vh_master_answer(f->m, token[0], 0, NULL, 0, NULL, 0), 0);
	assert_int_equal(status_of(f, 6), 0);
	expect_object(f);
	assert_int_equal(status_of(f, 7), 0);
	assert_int_equal(status_of(f, 2), 0);
	assert_true(silent(f->fd));
}

static void act_answer(struct seen *s)
{
	const uint64_t found = 0;
	int32_t fd = dup(0);

	assert_int_equal(vh_master_answer(s->m, s->ticket ? s->ticket : s->token, 0, &found, 8, &fd, 1), 0);
	close(fd);
}

static void a_lookup_is_answered_from_inside_the_callback(void **state)
{
	struct fix *f = *state;

	ack_also(f, BIT(VH_PF_SHARED_OBJECT));
	f->seen.act = act_answer;
	/* What the callback returns then does not matter. */
	for (int i = 0; i < 3; i++) {
		f->seen.rc = (int[]){0, -EINPROGRESS, -EIO}[i];
		ask(f, 8, 1);
		expect_object(f);
		assert_true(silent(f->fd));
	}
	/* An earlier one, while a request is served that wants no answer. */
	f->seen.act = NULL;
	f->seen.rc = -EINPROGRESS;
	f->seen.ticket = ask(f, 8, 1);
	f->seen.act = act_answer;
	assert_int_equal(ask(f, 6, 1), 0);
	expect_object(f);
	assert_true(silent(f->fd));
}

static void unanswered_requests_are_bounded_and_end_with_their_channel(void **state)
{
	struct fix *f = *state;
	struct vh_master_stats s = {.size = sizeof(s)};
	const uint8_t uuid[16] = {1};
	uint64_t first;

	ack_also(f, BIT(VH_PF_SHARED_OBJECT));
	f->seen.rc = -EINPROGRESS;
	first = ask(f, 6, 9);
	for (int i = 1; i < 16; i++)
		ask(f, 6, 9);
	/* Those that want no answer don't count. */
	for (int i = 0; i < 20; i++)
		assert_int_equal(ask(f, 6, 1), 0);
	assert_int_equal(vh_master_get_stats(f->m, &s), 0);
	assert_int_equal(s.rejected, 0);
	vht_send(f->fd, 6, 9, uuid, 16, NULL, 0);
	dispatch_once(f);
	assert_int_equal(f->seen.calls, 36);
	assert_true(closed(f->fd));
	assert_int_equal(vh_master_get_stats(f->m, &s), 0);
	assert_int_equal(s.rejected, 1);
	assert_int_equal(vh_master_answer(f->m, first, 0, NULL, 0, NULL, 0), -ESTALE);
	main_is_alive(f);
}

static void what_was_not_negotiated_is_refused_and_its_fds_are_closed(void **state)
{
	struct fix *f = *state;
	struct vh_master_stats s = {.size = sizeof(s)};
	const uint64_t area[3] = {0, 4096, 0}, map[5] = {0, 0, 0, 4096, 1};
	const uint64_t iotlb[4] = {0x1000, 4096, 0, 0x101};
	unsigned before = vht_open_fds();

	/* The back-end offered it all; that does not count here. */
	for (int i = 0; i < 100; i++) {
		vht_send(f->fd, 3, 9, area, sizeof(area), &f->fd, 1);
		dispatch_once(f);
		assert_int_equal(status_of(f, 3), 1);
	}
	vht_send(f->fd, 9, 9, map, sizeof(map), &f->fd, 1);
	dispatch_once(f);
	assert_int_equal(status_of(f, 9), 1);
	vht_send(f->fd, 1, 9, iotlb, sizeof(iotlb), NULL, 0);
	dispatch_once(f);
	assert_int_equal(status_of(f, 1), 1);
	assert_int_equal(f->seen.calls, 0);
	assert_int_equal(vht_open_fds(), before);
	assert_int_equal(vh_master_get_stats(f->m, &s), 0);
	assert_int_equal(s.rejected, 102);
	assert_int_equal(s.backend_requests, 102);
	main_is_alive(f);
}

/* What the table does not know is the user's, and may have a reply of its own. */
static void an_unknown_request_goes_to_the_callback(void **state)
{
	struct fix *f = *state;
	uint8_t big[300];
	struct vht_msg m;

	memset(big, 9, sizeof(big));
	assert_int_not_equal(ask(f, 77, 9), 0);
	assert_int_equal(status_of(f, 77), 0);
	ask(f, 77, 1);
	assert_true(silent(f->fd));
	f->seen.rc = -EIO;
	ask(f, 77, 9);
	assert_int_equal(status_of(f, 77), 1);
	f->seen.rc = -EINPROGRESS;
	for (uint32_t flags = 1; flags < 10; flags += 8) {
		uint64_t token = ask(f, 77, flags);

		assert_int_equal(vh_master_answer(f->m, token, 0, big, 4097, NULL, 0), -EINVAL);
		assert_int_equal(vh_master_answer(f->m, token, 0, big, sizeof(big), &(int32_t){-1}, 1), -EBADF);
		assert_int_equal(vh_master_answer(f->m, token, 0, big, sizeof(big), &f->fd, 1), 0);
		assert_int_equal(vht_recv(f->fd, &m), 1);
		assert_int_equal(m.request, 77);
		assert_int_equal(m.flags, 5);
		assert_int_equal(m.size, sizeof(big));
		assert_memory_equal(m.payload, big, sizeof(big));
		assert_int_equal(m.n_fds, 1);
		vht_close_fds(&m);
	}
	/* A status, when one was asked for, and nothing when not. */
	assert_int_equal(vh_master_answer(f->m, ask(f, 77, 1), 0, NULL, 0, NULL, 0), 0);
	assert_true(silent(f->fd));
	assert_int_equal(vh_master_answer(f->m, ask(f, 77, 9), -EIO, NULL, 0, NULL, 0), 0);
	assert_int_equal(status_of(f, 77), 1);
}

static void malformed_requests_end_the_channel_and_nothing_else(void **state)
{
	static const struct {
		uint32_t id, flags, size, n_fds;
		bool refused; /* with a status, the channel lives */
	} cases[] = {
		{2, 1, 8, 0, false}, {2, 9, 8, 0, true},   {2, 1, 0, 1, false},	   {2, 9, 0, 1, true},
		{2, 0, 0, 0, false}, {2, 5, 0, 0, false},  {2, 0x11, 0, 0, false}, {2, 1, 4097, 0, false},
		{2, 9, 0, 9, true},  {2, 9, 0, 33, false}, {6, 1, 15, 0, false},
	};
	struct fix *f = *state;
	static const uint8_t payload[4097];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fds[33];
		unsigned before;

		for (unsigned k = 0; k < 33; k++)
			fds[k] = f->fd;
		before = vht_open_fds();
		vht_send(f->fd, cases[i].id, cases[i].flags, payload, cases[i].size, fds, cases[i].n_fds);
		dispatch_once(f);
		if (cases[i].refused) {
			assert_int_equal(status_of(f, cases[i].id), 1);
			assert_int_equal(vht_open_fds(), before);
		} else {
			assert_true(closed(f->fd));
			assert_int_equal(vht_open_fds(), before - 1);
			main_is_alive(f);
			/* A new channel can be had. */
			assert_int_equal(vh_master_negotiate(f->m, BIT(32), NULL), 0);
			f->fd = f->b.channel;
		}
	}
}

static void a_channel_that_the_back_end_closes_is_closed(void **state)
{
	struct fix *f = *state;
	struct vh_event e = {.size = sizeof(e)};

	shutdown(f->fd, SHUT_RDWR);
	dispatch_once(f);
	main_is_alive(f);
	assert_int_equal(poll(&(struct pollfd){.fd = vh_master_fd(f->m), .events = POLLIN}, 1, 10), 0);
	assert_int_equal(vh_master_next_event(f->m, &e), 1);
	assert_int_equal(e.kind, VH_EVENT_CHANNEL_ENDED);
	assert_int_equal(e.reason, 0);
	assert_int_equal(e.value, 0);
	assert_int_equal(vh_master_next_event(f->m, &e), 0);
}

static void a_back_end_that_does_not_read_its_answers_loses_the_channel(void **state)
{
	struct fix *f = *state;
	const uint32_t header[3] = {2, 9, 0};
	struct vh_master_stats s = {.size = sizeof(s)};
	unsigned n = 0;

	while (send(f->fd, header, sizeof(header), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(header)) {
		assert_true(n++ < 100000);
		assert_true(vh_master_dispatch(f->m) >= 0);
	}
	assert_int_equal(vh_master_get_stats(f->m, &s), 0);
	assert_int_equal(s.rejected, 1);
	main_is_alive(f);
}

/* The back-end asks on its channel and answers GET_CONFIG only when it has its answer. */
static bool ask_first(struct vht_backend *b, struct vht_msg *m)
{
	struct vht_msg answer;

	if (m->request != 24)
		return false;
	vht_send(b->channel, 2, 9, NULL, 0, NULL, 0);
	vht_recv(b->channel, &answer); /* may end: the front-end may close it */
	return false;
}

static void requests_are_served_while_a_reply_is_awaited(void **state)
{
	struct fix *f = *state;
	struct vh_event e = {.size = sizeof(e)};
	uint8_t buf[4];

	f->b.script = ask_first;
	for (int i = 0; i < 2000; i++)
		assert_int_equal(vh_master_get_config(f->m, 0, buf, 4), 0);
	assert_int_equal(vh_master_next_event(f->m, &e), 1);
	assert_int_equal(e.count, 2000);
}

static void act_submit(struct seen *s)
{
	uint32_t base;

	assert_int_equal(vht_submit(s->m, 1, VH_REPLY_TABLE, NULL, 0, &s->ticket), 0);
	assert_int_equal(vh_master_finish(s->m, s->ticket, NULL, 0, NULL, 0, NULL), -EINPROGRESS);
	/* Nothing that waits, and no second turn of the loop. */
	assert_int_equal(vh_master_get_vring_base(s->m, 0, &base), -EDEADLK);
	assert_int_equal(vh_master_negotiate(s->m, 0, NULL), -EDEADLK);
	assert_int_equal(vh_master_resume(s->m), -EDEADLK);
	assert_int_equal(vh_master_dispatch(s->m), -EBUSY);
	assert_int_equal(vh_master_set_logger(s->m, NULL, NULL), -EBUSY);
}

static bool ask_object(struct vht_backend *b, struct vht_msg *m)
{
	const uint8_t uuid[16] = {1};
	struct vht_msg answer;

	if (m->request != 24)
		return false;
	vht_send(b->channel, 6, 9, uuid, 16, NULL, 0);
	vht_recv(b->channel, &answer); /* may end: the front-end may close it */
	return false;
}

static void requests_can_be_submitted_from_inside_the_callback(void **state)
{
	struct fix *f = *state;
	uint8_t buf[4];
	uint64_t v = 0;

	f->b.script = ask_object;
	f->seen.act = act_submit;
	ack_also(f, BIT(VH_PF_SHARED_OBJECT));
	for (int i = 0; i < 50; i++) {
		assert_int_equal(vh_master_get_config(f->m, 0, buf, 4), 0);
		assert_int_equal(vht_finish(f->m, f->seen.ticket, &v, 8, NULL), 0);
		assert_int_equal(v, 0x175007e46);
	}
	assert_int_equal(f->seen.calls, 50);
}

static void act_disconnect(struct seen *s)
{
	assert_int_equal(vh_master_disconnect(s->m), 0);
	assert_int_equal(vht_submit(s->m, 1, VH_REPLY_TABLE, NULL, 0, &s->ticket), -ENOTCONN);
	assert_int_equal(vh_master_connect(s->m, "/nowhere"), -EDEADLK);
}

static void act_stop(struct seen *s)
{
	assert_int_equal(vh_master_stop(s->m), 0);
}

static void act_free(struct seen *s)
{
	vh_master_free(s->m);
	assert_int_equal(s->destroyed, 0);
}

static void a_callback_may_disconnect_or_stop(void **state)
{
	struct fix *f = *state;
	uint8_t buf[4];

	f->b.script = ask_object;
	f->seen.act = act_disconnect;
	ack_also(f, BIT(VH_PF_SHARED_OBJECT));
	assert_int_equal(vh_master_get_config(f->m, 0, buf, 4), -ECONNRESET);
	assert_non_null(strstr(vht_text(), "vh_master_disconnect"));
	vht_backend_stop(&f->b);
	connect_it(f);
	f->b.script = ask_object;
	f->seen.act = act_stop;
	ack_also(f, BIT(VH_PF_SHARED_OBJECT));
	assert_int_equal(vh_master_get_config(f->m, 0, buf, 4), -ESHUTDOWN);
}

static void a_callback_may_free_the_handle(void **state)
{
	struct fix *f = *state;
	const uint8_t uuid[16] = {1};

	ack_also(f, BIT(VH_PF_SHARED_OBJECT));
	f->seen.act = act_free;
	vht_send(f->fd, 6, 9, uuid, 16, NULL, 0);
	assert_int_equal(poll(&(struct pollfd){.fd = vh_master_fd(f->m), .events = POLLIN}, 1, VHT_WAIT_MS), 1);
	assert_true(vh_master_dispatch(f->m) >= 0);
	assert_int_equal(f->seen.destroyed, 1);
	f->m = NULL;
}

static void destroy_runs_once_also_when_there_is_no_handle(void **state)
{
	struct seen s = {0};
	struct vh_master_ops ops = {.size = sizeof(ops), .flags = 1, .destroy = on_destroy};
	struct vh_master_opts opts = {.size = 4};
	struct vh_master *m = NULL;

	(void)state;
	assert_int_equal(vh_master_new(NULL, &ops, &s, &m), -EINVAL);
	assert_int_equal(s.destroyed, 1);
	assert_int_equal(vh_master_new(&opts, &ops, &s, &m), -EINVAL);
	assert_int_equal(s.destroyed, 2);
	ops.flags = 0;
	assert_int_equal(vh_master_new(NULL, &ops, &s, NULL), -EINVAL);
	assert_int_equal(s.destroyed, 3);
	assert_null(m);
	assert_int_equal(vh_master_new(NULL, &ops, &s, &m), 0);
	assert_int_equal(s.destroyed, 3);
	vh_master_free(m);
	assert_int_equal(s.destroyed, 4);
}

struct traces {
	struct vh_master *m;
	unsigned messages, lines, destroyed;
	uint32_t verdict;
	char line[256];
};

static void on_message(void *ctx, const struct vh_msg_info *info)
{
	struct traces *t = ctx;

	t->messages++;
	t->verdict = info->verdict;
	assert_int_equal(vh_master_set_owner(t->m), -EDEADLK);
	assert_int_equal(vht_submit(t->m, 1, 0, NULL, 0, NULL), -EBUSY);
}

static void on_line(void *ctx, uint32_t level, const char *text)
{
	struct traces *t = ctx;

	(void)level;
	t->lines++;
	snprintf(t->line, sizeof(t->line), "%s", text);
}

static void traces_destroyed(void *ctx)
{
	((struct traces *)ctx)->destroyed++;
}

static void the_trace_sees_every_message_and_its_verdict(void **state)
{
	struct fix *f = *state;
	struct traces t = {.m = f->m};
	struct vh_trace_ops trace = {.size = sizeof(trace), .destroy = traces_destroyed, .message = on_message};
	struct vh_logger_ops log = {.size = sizeof(log), .destroy = traces_destroyed, .line = on_line};

	assert_int_equal(vh_master_set_trace(f->m, &trace, &t), 0);
	assert_int_equal(vh_master_set_logger(f->m, &log, &t), 0);
	main_is_alive(f);
	assert_int_equal(t.messages, 2);
	assert_int_equal(t.verdict, 0);
	vht_send(f->fd, 4, 9, (uint8_t[8]){0}, 8, NULL, 0);
	dispatch_once(f);
	assert_int_equal(t.messages, 4);
	assert_int_equal(t.lines, 1);
	assert_non_null(strstr(t.line, "VRING_CALL"));
	vht_send_u64(f->b.fd, 1, 5, 0);
	assert_int_equal(vht_until_failed(f->m), -EPROTO);
	assert_int_equal(t.messages, 5);
	assert_int_equal(t.verdict, 205);
	assert_int_equal(t.lines, 2);
	assert_int_equal(vh_master_set_trace(f->m, NULL, NULL), 0);
	assert_int_equal(t.destroyed, 1);
	vh_master_free(f->m);
	f->m = NULL;
	assert_int_equal(t.destroyed, 2);
	trace.flags = 1;
	assert_int_equal(vh_master_set_trace(NULL, &trace, &t), -EINVAL);
	assert_int_equal(t.destroyed, 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_config_change_is_an_event_and_a_good_status),
		T(a_flood_of_config_changes_is_one_event),
		T(requests_go_to_the_callback_and_its_answer_back),
		cmocka_unit_test(a_request_that_nobody_handles_is_refused),
		T(a_lookup_is_answered_later_with_an_fd),
		T(answers_leave_in_the_order_of_their_requests),
		T(a_lookup_is_answered_from_inside_the_callback),
		T(unanswered_requests_are_bounded_and_end_with_their_channel),
		T(an_unknown_request_goes_to_the_callback),
		T(what_was_not_negotiated_is_refused_and_its_fds_are_closed),
		T(malformed_requests_end_the_channel_and_nothing_else),
		T(a_channel_that_the_back_end_closes_is_closed),
		T(a_back_end_that_does_not_read_its_answers_loses_the_channel),
		T(requests_are_served_while_a_reply_is_awaited),
		T(requests_can_be_submitted_from_inside_the_callback),
		T(a_callback_may_disconnect_or_stop),
		T(a_callback_may_free_the_handle),
		cmocka_unit_test(destroy_runs_once_also_when_there_is_no_handle),
		T(the_trace_sees_every_message_and_its_verdict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
