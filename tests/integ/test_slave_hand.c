/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Messages by hand in the back-end: what the front-end asks and nobody else answers, and what the user asks himself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vht_peer.h"

#define UNKNOWN	 0x4242u
#define PF(bit)	 (UINT64_C(1) << (bit))
#define DEADLINE 200u /* ms: of requests that nobody answers, in the tests that wait for it */

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static int back = -1; /* the front-end's end of the channel */

/* What the callback saw, and what it does. */
static struct {
	unsigned calls, destroyed;
	uint32_t request, size, n_fds;
	uint8_t first;
	uint64_t token;
	int32_t rc;
	void (*act)(void);
} seen;

static vh_rc on_request(void *ctx, const struct vh_msg_request *req)
{
	assert_ptr_equal(ctx, &seen);
	assert_int_equal(req->size, sizeof(*req));
	seen.calls++;
	seen.request = req->request;
	seen.size = req->payload_size;
	seen.n_fds = req->n_fds;
	seen.token = req->token;
	seen.first = req->payload_size ? *(const uint8_t *)(uintptr_t)req->payload : 0;
	if (seen.act)
		seen.act();
	return seen.rc;
}

static void on_destroy(void *ctx)
{
	assert_ptr_equal(ctx, &seen);
	seen.destroyed++;
}

static void begin(uint64_t more, uint32_t deadline_ms)
{
	const struct vh_slave_ops ops = {.size = sizeof(ops), .destroy = on_destroy, .request = on_request};
	const struct vh_slave_opts opts = {
		.size = sizeof(opts), .drain_timeout_ms = deadline_ms, .more_protocol_features = more};

	memset(&seen, 0, sizeof(seen));
	back = -1;
	vht_peer_prepare(p, NULL, NULL, 0);
	vh_slave_free(p->s);
	assert_int_equal(vh_slave_new(&opts, p->dev, &ops, &seen, &p->s), 0);
	vht_peer_connect(p);
}

static int setup(void **state)
{
	(void)state;
	begin(0, 0);
	return 0;
}

static int setup_impatient(void **state)
{
	(void)state;
	begin(0, DEADLINE);
	return 0;
}

static int setup_objects(void **state)
{
	(void)state;
	begin(PF(VH_PF_SHARED_OBJECT), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (back >= 0)
		close(back);
	vht_peer_free(p);
	assert_int_equal(seen.destroyed, 1);
	return 0;
}

/* All that was offered is acked, a ring runs, and there is a channel. */
static void up(uint64_t more)
{
	vht_peer_up(p);
	vht_ok_u64(p, M_SET_PROTOCOL_FEATURES, VHT_PF | more);
	back = vht_give_channel(p);
}

static void submit(uint32_t id, uint32_t reply, const void *payload, uint32_t size, uint64_t *ticket)
{
	const struct vh_msg msg = {.size = sizeof(msg),
				   .request = id,
				   .reply = reply,
				   .payload = (uint64_t)(uintptr_t)payload,
				   .payload_size = size};

	assert_int_equal(vh_slave_submit(p->s, &msg, NULL, ticket), 0);
}

static int result(uint64_t ticket)
{
	return vh_slave_finish(p->s, ticket, NULL, 0, NULL, 0, NULL);
}

static void asked(uint32_t id, uint32_t flags, uint32_t size)
{
	struct vht_msg m;

	assert_int_equal(vht_recv(back, &m), 1);
	assert_int_equal(m.request, id);
	assert_int_equal(m.flags, flags);
	assert_int_equal(m.size, size);
	vht_close_fds(&m);
}

static bool silent(int fd)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 0;
}

static void an_unknown_message_is_the_users(void **state)
{
	const uint8_t payload[5] = {7};
	unsigned fds;

	(void)state;
	vht_peer_up(p);
	fds = vht_open_fds();
	vht_ok(p, UNKNOWN, payload, sizeof(payload), p->memfd);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.request, UNKNOWN);
	assert_int_equal(seen.size, sizeof(payload));
	assert_int_equal(seen.first, 7);
	assert_int_equal(seen.n_fds, 1);
	assert_int_not_equal(seen.token, 0);
	assert_int_equal(vht_open_fds(), fds);
	seen.rc = -ENOENT;
	vht_nack(p, UNKNOWN, NULL, 0, -1);
	/* Nobody asks for a status: none is sent. */
	seen.rc = 0;
	vht_msg(p, UNKNOWN, F_REQUEST, NULL, 0, -1);
	vht_expect_silence(p);
	assert_int_equal(seen.calls, 3);
	/* A refusal that can't be told is the end. */
	seen.rc = -ENOENT;
	vht_msg(p, UNKNOWN, F_REQUEST, NULL, 0, -1);
	vht_expect_closed(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, -EPROTO);
}

static void act_reply(void)
{
	uint8_t reply[4096];
	int32_t fd = eventfd(0, EFD_CLOEXEC);

	memset(reply, 0x5a, sizeof(reply));
	assert_int_equal(vh_slave_answer(p->s, seen.token, 0, reply, sizeof(reply), &fd, 1), 0);
	assert_int_equal(vh_slave_answer(p->s, seen.token, 0, reply, sizeof(reply), &fd, 1), -ESTALE);
	close(fd);
}

static void an_unknown_message_may_have_a_reply_of_its_own(void **state)
{
	(void)state;
	vht_peer_up(p);
	seen.act = act_reply;
	/* What the callback returns then does not matter. */
	for (int i = 0; i < 2; i++) {
		seen.rc = i ? -EIO : -EINPROGRESS;
		vht_msg(p, UNKNOWN, i ? F_REQUEST : F_NEED_REPLY, NULL, 0, -1);
		vht_expect(p, UNKNOWN);
		assert_int_equal(p->reply.size, 4096);
		assert_int_equal(p->reply.payload[4095], 0x5a);
		assert_int_equal(p->reply.n_fds, 1);
		vht_close_fds(&p->reply);
	}
	/* Also later, and in the order of the requests. */
	seen.act = NULL;
	seen.rc = -EINPROGRESS;
	vht_msg(p, UNKNOWN, F_REQUEST, NULL, 0, -1);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect_silence(p);
	assert_int_equal(vh_slave_answer(p->s, seen.token, 0, "ab", 2, NULL, 0), 0);
	vht_pump(p);
	assert_int_equal(vht_recv(p->fd, &p->reply), 1);
	assert_int_equal(p->reply.request, UNKNOWN);
	assert_int_equal(p->reply.size, 2);
	vht_expect(p, M_GET_FEATURES);
}

static void answers_that_do_not_fit_leave_the_request_as_it_is(void **state)
{
	const uint64_t zero = 0;
	uint64_t token;

	(void)state;
	vht_peer_up(p);
	seen.rc = -EINPROGRESS;
	vht_msg(p, UNKNOWN, F_NEED_REPLY, NULL, 0, -1);
	vht_expect_silence(p);
	token = seen.token;
	assert_int_equal(vh_slave_answer(NULL, token, 0, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(vh_slave_answer(p->s, 0, 0, NULL, 0, NULL, 0), -ESTALE);
	assert_int_equal(vh_slave_answer(p->s, token + 1, 0, NULL, 0, NULL, 0), -ESTALE);
	assert_int_equal(vh_slave_answer(p->s, token, 1, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(vh_slave_answer(p->s, token, -EINPROGRESS, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(vh_slave_answer(p->s, token, -EIO, &zero, 8, NULL, 0), -EINVAL);
	assert_int_equal(vh_slave_answer(p->s, token, 0, NULL, 8, NULL, 0), -EINVAL);
	assert_int_equal(vh_slave_answer(p->s, token, 0, &zero, 4097, NULL, 0), -EINVAL);
	assert_int_equal(vh_slave_answer(p->s, token, 0, NULL, 0, NULL, 1), -EINVAL);
	assert_int_equal(vh_slave_answer(p->s, token, 0, NULL, 0, (vh_fd[]){0, 0}, 2), -EINVAL);
	assert_int_equal(vh_slave_answer(p->s, token, 0, NULL, 0, (vh_fd[]){-1}, 1), -EBADF);
	vht_expect_silence(p);
	assert_int_equal(vh_slave_answer(p->s, token, -EIO, NULL, 0, NULL, 0), 0);
	vht_expect_u64(p, UNKNOWN, 1);
	/* Its connection ends first. */
	vht_msg(p, UNKNOWN, F_NEED_REPLY, NULL, 0, -1);
	vht_expect_silence(p);
	assert_int_equal(vh_slave_disconnect(p->s), 0);
	vht_pump(p);
	assert_int_equal(vh_slave_answer(p->s, seen.token, 0, NULL, 0, NULL, 0), -ESTALE);
}

static void who_never_answers_loses_the_connection(void **state)
{
	(void)state;
	vht_peer_up(p);
	seen.rc = -EINPROGRESS;
	vht_msg(p, UNKNOWN, F_NEED_REPLY, NULL, 0, -1);
	vht_expect_silence(p);
	vht_pump_wait(p);
	vht_expect_closed(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, -ETIMEDOUT);
}

static void messages_of_further_features_are_the_users_too(void **state)
{
	const uint8_t uuid[16] = {1};
	const int fd = eventfd(0, EFD_CLOEXEC);
	unsigned before;

	(void)state;
	vht_peer_up(p);
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_PROTOCOL_FEATURES, VHT_PF | PF(VH_PF_SHARED_OBJECT));
	before = vht_open_fds();
	/* The table's checks stand before the callback. */
	vht_msg(p, 41, F_REQUEST, uuid, 15, -1);
	vht_expect(p, 41);
	assert_int_equal(seen.calls, 0);
	/* One that has a reply: granted with it only, and it must be what the table says. */
	vht_msg(p, 41, F_REQUEST, uuid, sizeof(uuid), -1);
	vht_expect(p, 41);
	assert_int_equal(p->reply.n_fds, 0);
	/* QEMU 10 sends it without the name: nobody can know what is meant. */
	vht_msg(p, 41, F_REQUEST, NULL, 0, -1);
	vht_expect(p, 41);
	assert_int_equal(p->reply.size, 0);
	assert_int_equal(seen.calls, 1);
	seen.rc = -EINPROGRESS;
	vht_msg(p, 41, F_REQUEST, uuid, sizeof(uuid), -1);
	vht_expect_silence(p);
	assert_int_equal(vh_slave_answer(p->s, seen.token, 0, uuid, 17, &fd, 1), -EINVAL);
	assert_int_equal(vh_slave_answer(p->s, seen.token, 0, uuid, 16, &fd, 1), 0);
	vht_expect(p, 41);
	assert_int_equal(p->reply.size, 16);
	assert_int_equal(p->reply.n_fds, 1);
	vht_close_fds(&p->reply);
	assert_int_equal(vht_open_fds(), before);
	close(fd);
}

static void without_a_callback_they_are_refused(void **state)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .more_protocol_features = PF(VH_PF_SHARED_OBJECT)};

	(void)state;
	vh_slave_free(p->s);
	close(p->fd);
	assert_int_equal(vh_slave_new(&opts, p->dev, NULL, NULL, &p->s), 0);
	vht_peer_connect(p);
	vht_peer_up(p);
	vht_nack(p, UNKNOWN, NULL, 0, -1);
	vht_msg(p, 41, F_REQUEST, (uint8_t[16]){1}, 16, -1);
	vht_expect(p, 41);
	assert_int_equal(p->reply.n_fds + p->reply.size, 0);
	assert_int_equal(vht_slave_stats(p).rejected, 2);
}

static void a_request_of_ours_is_a_ticket(void **state)
{
	const uint8_t uuid[16] = {1};
	const struct vh_msg lookup = {
		.size = sizeof(lookup), .request = 8, .payload = (uint64_t)(uintptr_t)uuid, .payload_size = 16};
	struct vh_msg_reply reply = {.size = sizeof(reply)};
	uint64_t add, look, news, raw, value = 77;
	vh_fd fd = -1;

	(void)state;
	up(PF(VH_PF_SHARED_OBJECT));
	submit(6, VH_REPLY_TABLE, uuid, 16, &add);
	assert_int_equal(vh_slave_submit(p->s, &lookup, NULL, &look), 0);
	submit(2, VH_REPLY_NONE, NULL, 0, &news);
	submit(UNKNOWN, VH_REPLY_OWN, uuid, 3, &raw);
	assert_int_equal(news, 0);
	asked(6, F_NEED_REPLY, 16);
	asked(8, F_REQUEST, 16);
	asked(2, F_REQUEST, 0);
	asked(UNKNOWN, F_REQUEST, 3);
	assert_int_equal(result(add), -EINPROGRESS);
	vht_send_u64(back, 6, F_REPLY, 1);
	value = 0;
	vht_send(back, 8, F_REPLY, &value, 8, &p->memfd, 1);
	vht_send(back, UNKNOWN, F_REPLY, "abc", 3, NULL, 0);
	vht_pump(p);
	assert_int_equal(result(add), -EREMOTEIO);
	assert_int_equal(result(add), -ENOENT);
	/* With more room it comes out whole. */
	assert_int_equal(vh_slave_finish(p->s, look, &value, 8, NULL, 0, &reply), -EMSGSIZE);
	assert_int_equal(vh_slave_finish(p->s, look, &value, 8, &fd, 1, NULL), -EINVAL);
	assert_int_equal(vh_slave_finish(p->s, look, &value, 8, &fd, 1, &reply), 0);
	assert_int_equal(reply.n_fds, 1);
	assert_int_equal(value, 0);
	close(fd);
	assert_int_equal(vh_slave_finish(p->s, raw, &value, 8, NULL, 0, &reply), 0);
	assert_memory_equal(&value, "abc", 3);
	assert_int_equal(reply.payload_size, 3);
}

static void what_can_not_be_sent_now_says_so(void **state)
{
	const uint8_t uuid[16] = {1};
	const struct vh_msg add = {
		.size = sizeof(add), .request = 6, .payload = (uint64_t)(uintptr_t)uuid, .payload_size = 16};
	const struct vh_msg news = {.size = sizeof(news), .request = 2};
	struct vh_msg bad = add;
	uint64_t ticket;

	(void)state;
	assert_int_equal(vh_slave_submit(NULL, &news, NULL, NULL), -EINVAL);
	assert_int_equal(vh_slave_finish(NULL, 1, NULL, 0, NULL, 0, NULL), -EINVAL);
	assert_int_equal(vh_slave_submit(p->s, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(vh_slave_submit(p->s, &news, NULL, NULL), -EOPNOTSUPP);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	assert_int_equal(vh_slave_submit(p->s, &news, NULL, NULL), -ENOTCONN);
	back = vht_give_channel(p);
	vht_send_mem(p);
	/* Case 206: no ring is started. */
	assert_int_equal(vh_slave_submit(p->s, &news, NULL, NULL), -EAGAIN);
	vht_ring_up(p, 0);
	assert_int_equal(vh_slave_submit(p->s, &news, NULL, NULL), 0);
	asked(2, F_NEED_REPLY, 0);
	vht_send_u64(back, 2, F_REPLY, 0);
	vht_pump(p);
	/* What was not negotiated, and what the table does not have so. */
	assert_int_equal(vh_slave_submit(p->s, &add, NULL, &ticket), -EOPNOTSUPP);
	bad.request = 2;
	assert_int_equal(vh_slave_submit(p->s, &bad, NULL, &ticket), -EINVAL);
	bad.request = UNKNOWN;
	bad.n_fds = 9;
	assert_int_equal(vh_slave_submit(p->s, &bad, NULL, &ticket), -EINVAL);
	bad.n_fds = 1;
	assert_int_equal(vh_slave_submit(p->s, &bad, (vh_fd[]){-1}, &ticket), -EBADF);
	assert_true(silent(back));
	assert_int_equal(vh_slave_pause(p->s), 0);
	assert_int_equal(vh_slave_submit(p->s, &news, NULL, NULL), -EAGAIN);
	assert_int_equal(vh_slave_resume(p->s), 0);
	vht_ok_u64(p, M_SET_PROTOCOL_FEATURES, VHT_PF & ~PF(VH_PF_BACKEND_REQ));
	assert_int_equal(vh_slave_submit(p->s, &news, NULL, NULL), -EOPNOTSUPP);
	assert_int_equal(vh_slave_finish(p->s, 4711, NULL, 0, NULL, 0, NULL), -ENOENT);
}

static void case_198_who_is_never_answered_loses_the_channel_and_nothing_else(void **state)
{
	uint64_t ticket;
	struct vh_event e;

	(void)state;
	up(0);
	submit(2, VH_REPLY_TABLE, NULL, 0, &ticket);
	asked(2, F_NEED_REPLY, 0);
	vht_pump_wait(p);
	e = vht_event(p, VH_EVENT_CHANNEL_ENDED);
	assert_int_equal(e.reason, -ETIMEDOUT);
	assert_int_equal(e.value, 687);
	assert_int_equal(result(ticket), -ETIMEDOUT);
	assert_int_equal(result(ticket), -ENOENT);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void case_199_200_203_what_ends_the_channel_is_told_by_an_event(void **state)
{
	uint64_t ticket;
	struct vh_event e;
	int old;

	(void)state;
	up(0);
	/* A reply that nobody asked for in this form. */
	submit(2, VH_REPLY_TABLE, NULL, 0, &ticket);
	vht_send_u64(back, 3, F_REPLY, 0);
	vht_pump(p);
	e = vht_event(p, VH_EVENT_CHANNEL_ENDED);
	assert_int_equal(e.reason, -EPROTO);
	assert_int_equal(e.value, 160);
	assert_int_equal(result(ticket), -EPROTO);
	close(back);
	/* Closed between two messages, and inside one. */
	for (uint32_t half = 0; half < 2; half++) {
		back = vht_give_channel(p);
		submit(2, VH_REPLY_TABLE, NULL, 0, &ticket);
		asked(2, F_NEED_REPLY, 0);
		assert_int_equal(send(back, (uint32_t[]){2}, half * 4, 0), half * 4);
		close(back);
		vht_pump(p);
		assert_int_equal(vht_event(p, VH_EVENT_CHANNEL_ENDED).reason, half ? -ECONNRESET : 0);
		assert_int_equal(result(ticket), -ECONNRESET);
	}
	/* Replaced: that is no end, but what was asked on the old one is lost. */
	back = vht_give_channel(p);
	submit(2, VH_REPLY_TABLE, NULL, 0, &ticket);
	old = back;
	back = vht_give_channel(p);
	close(old);
	assert_int_equal(result(ticket), -ECONNRESET);
	vht_pump(p);
	assert_true(vht_no_event(p, VH_EVENT_CHANNEL_ENDED));
}

static void tickets_that_nobody_finishes_are_bounded(void **state)
{
	const struct vh_msg news = {.size = sizeof(news), .request = 2};
	uint64_t first = 0, ticket;
	unsigned n = 0;

	(void)state;
	up(0);
	while (vh_slave_submit(p->s, &news, NULL, &ticket) == 0 && ++n < 10000) {
		first = first ? first : ticket;
		asked(2, F_NEED_REPLY, 0);
		vht_send_u64(back, 2, F_REPLY, 0);
		vht_pump(p);
	}
	assert_int_equal(n, 256);
	assert_int_equal(vh_slave_submit(p->s, &news, NULL, &ticket), -ENOBUFS);
	assert_int_equal(result(first), 0);
	assert_int_equal(vh_slave_submit(p->s, &news, NULL, &ticket), 0);
}

static void a_front_end_that_does_not_read_gets_no_more(void **state)
{
	static uint8_t payload[4096];
	const struct vh_msg big = {.size = sizeof(big),
				   .request = UNKNOWN,
				   .reply = VH_REPLY_NONE,
				   .payload = (uint64_t)(uintptr_t)payload,
				   .payload_size = sizeof(payload)};
	unsigned n = 0, got = 0;
	struct vht_msg m;
	int rc;

	(void)state;
	up(0);
	do
		rc = vh_slave_submit(p->s, &big, NULL, NULL);
	while (!rc && ++n < 100000);
	assert_int_equal(rc, -ENOBUFS);
	/* All that was taken arrives, once it reads. */
	while (got < n) {
		vht_pump(p);
		assert_int_equal(vht_recv(back, &m), 1);
		assert_int_equal(m.size, sizeof(payload));
		got++;
	}
	vht_pump(p);
	assert_true(silent(back));
	assert_int_equal(vh_slave_submit(p->s, &big, NULL, NULL), 0);
}

static void act_ask(void)
{
	submit(2, VH_REPLY_TABLE, NULL, 0, NULL);
	assert_int_equal(vh_slave_dispatch(p->s), -EBUSY);
}

static void act_disconnect(void)
{
	assert_int_equal(vh_slave_disconnect(p->s), 0);
}

static void a_callback_may_ask_and_disconnect(void **state)
{
	(void)state;
	up(0);
	seen.act = act_ask;
	vht_ok(p, UNKNOWN, NULL, 0, -1);
	asked(2, F_NEED_REPLY, 0);
	seen.act = act_disconnect;
	vht_msg(p, UNKNOWN, F_NEED_REPLY, NULL, 0, -1);
	vht_expect_closed(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, -ECANCELED);
}

static void act_free(void)
{
	vh_slave_free(p->s);
	assert_int_equal(seen.destroyed, 0);
}

static void a_callback_may_free_the_handle(void **state)
{
	(void)state;
	vht_peer_up(p);
	seen.act = act_free;
	vht_msg(p, UNKNOWN, F_NEED_REPLY, NULL, 0, -1);
	assert_true(vh_slave_dispatch(p->s) <= 0);
	assert_int_equal(seen.destroyed, 1);
	p->s = NULL;
}

int main(void)
{
#define T(name)		cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T_WITH(s, name) cmocka_unit_test_setup_teardown(name, s, teardown)
	const struct CMUnitTest tests[] = {
		T(an_unknown_message_is_the_users),
		T(an_unknown_message_may_have_a_reply_of_its_own),
		T(answers_that_do_not_fit_leave_the_request_as_it_is),
		T_WITH(setup_impatient, who_never_answers_loses_the_connection),
		T_WITH(setup_objects, messages_of_further_features_are_the_users_too),
		T(without_a_callback_they_are_refused),
		T_WITH(setup_objects, a_request_of_ours_is_a_ticket),
		T(what_can_not_be_sent_now_says_so),
		T_WITH(setup_impatient, case_198_who_is_never_answered_loses_the_channel_and_nothing_else),
		T(case_199_200_203_what_ends_the_channel_is_told_by_an_event),
		T(tickets_that_nobody_finishes_are_bounded),
		T(a_front_end_that_does_not_read_gets_no_more),
		T(a_callback_may_ask_and_disconnect),
		T(a_callback_may_free_the_handle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
