/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Random sequences of requests and of what a back-end does with them, against a small model of the front-end, which shares
 * no code with it: a first-in first-out list of what is awaited, the bits that are in force, and nothing else. VH_SEED.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vht_master.h"
#include "vht_random.h"

#define BIT(n)	  (UINT64_C(1) << (n))
#define MOST	  64u
#define IN_FLIGHT 12u
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))

enum { LOG_ALL = 26, BIT_30 = 30, VERSION_1 = 32, PACKED = 34 };
enum { MQ = 0, LOG_SHMFD = 1, REPLY_ACK = 3, CONFIG = 9, RESET = 13, SLOTS = 15, STATUS = 16 };
#define FEATURES (BIT(LOG_ALL) | BIT(BIT_30) | BIT(VERSION_1))
#define PF_ALL	 (BIT(MQ) | BIT(LOG_SHMFD) | BIT(REPLY_ACK) | BIT(CONFIG) | BIT(RESET) | BIT(SLOTS) | BIT(STATUS))

/* What may be asked; reply: bytes of its own reply, 0 = a status. */
static const struct kind {
	uint32_t id, size, reply;
	uint64_t pf, acked, offered;
	bool own_with_log; /* a reply of its own with LOG_SHMFD only */
} kinds[] = {
	{.id = 1, .reply = 8},
	{.id = 2, .size = 8},
	{.id = 3},
	{.id = 6, .size = 16, .reply = 16, .acked = BIT(LOG_ALL), .offered = BIT(LOG_ALL), .own_with_log = true},
	{.id = 8, .size = 8},
	{.id = 10, .size = 8},
	{.id = 11, .size = 8, .reply = 8},
	{.id = 15, .reply = 8, .offered = BIT(BIT_30)},
	{.id = 16, .size = 8, .offered = BIT(BIT_30)},
	{.id = 17, .reply = 8, .pf = BIT(MQ)},
	{.id = 18, .size = 8, .acked = BIT(BIT_30), .offered = BIT(BIT_30)},
	{.id = 24, .size = 16, .reply = 16, .pf = BIT(CONFIG)},
	{.id = 25, .size = 16, .pf = BIT(CONFIG)},
	{.id = 34, .pf = BIT(RESET)},
	{.id = 36, .reply = 8, .pf = BIT(SLOTS)},
	{.id = 39, .size = 8, .pf = BIT(STATUS)},
	{.id = 40, .reply = 8, .pf = BIT(STATUS)},
};

struct wait {
	const struct kind *kind;
	uint64_t ticket;
	uint64_t value; /* what the request said */
	bool own;
	int rc; /* once it is done */
};

/* The last of these that was not refused is in force. */
struct history {
	struct {
		uint64_t value;
		bool refused;
		uint64_t ticket; /* whose reply decides; 0 = nobody says */
	} of[MOST * 64];
	unsigned n;
};

static struct {
	bool connected;
	uint64_t offered;
	struct history acked, pf;
	struct wait pending[MOST], done[1024];
	unsigned n_pending, n_done;
} model;

static struct vh_master *m;
static int fd = -1;
static unsigned answered, refused, not_sent, ended; /* so that what happens is what is meant to */
static uint64_t in_force(const struct history *h)
{
	for (unsigned i = h->n; i-- > 0;)
		if (!h->of[i].refused)
			return h->of[i].value;
	return 0;
}

static void note(struct history *h, uint64_t value, uint64_t ticket)
{
	assert_true(h->n < COUNT(h->of));
	h->of[h->n].value = value;
	h->of[h->n].refused = false;
	h->of[h->n++].ticket = ticket;
}

static void refuse(struct history *h, uint64_t ticket)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->of[i].ticket == ticket)
			h->of[i].refused = true;
}

/* --- the connection --- */

static void compare(void)
{
	struct vh_master_stats s = {.size = sizeof(s)};

	assert_int_equal(vh_master_get_stats(m, &s), 0);
	assert_int_equal(s.connected, model.connected);
	assert_int_equal(s.tickets, model.n_pending);
}

static void dispatch_all(void)
{
	while (vh_master_dispatch(m) > 0)
		;
}

static void all_end(int rc)
{
	for (unsigned i = 0; i < model.n_pending; i++) {
		assert_true(model.n_done < COUNT(model.done));
		model.done[model.n_done] = model.pending[i];
		model.done[model.n_done++].rc = rc;
	}
	model.n_pending = 0;
	model.connected = false;
}

static void finish_one(unsigned i)
{
	struct wait w = model.done[i];
	uint8_t payload[64];
	struct vh_msg_reply reply = {.size = sizeof(reply)};
	int rc = vh_master_finish(m, w.ticket, payload, sizeof(payload), NULL, 0, &reply);

	if (rc != w.rc)
		fail_msg("request %u: %s instead of %s: %s", w.kind->id, vh_error_name(rc), vh_error_name(w.rc),
			 vht_text());
	if (!rc)
		assert_int_equal(reply.request, w.kind->id);
	assert_int_equal(vh_master_finish(m, w.ticket, NULL, 0, NULL, 0, NULL), -ENOENT);
	model.done[i] = model.done[--model.n_done];
}

static void connect_again(void)
{
	vh_master_disconnect(m);
	all_end(-ECONNRESET);
	while (model.n_done)
		finish_one(vht_below(model.n_done));
	if (fd >= 0)
		close(fd);
	fd = vht_master_pair(m);
	memset(&model, 0, sizeof(model));
	model.connected = true;
}

/* --- what the front-end's user does --- */

static bool may_be_sent(const struct kind *k)
{
	return !(k->pf & ~in_force(&model.pf)) && !(k->acked & ~in_force(&model.acked)) &&
	       !(k->offered & ~model.offered);
}

static uint64_t some_value(uint32_t id)
{
	if (id == 2)
		return vht_below(4) ? FEATURES : FEATURES & ~BIT(vht_below(2) ? LOG_ALL : BIT_30);
	if (id == 16)
		return vht_below(3) ? PF_ALL : PF_ALL & (BIT(vht_below(17)) | BIT(REPLY_ACK) | BIT(vht_below(17)));
	return 0;
}

/* The back-end has read it: nothing else was sent. */
static void arrived(const struct kind *k, bool status)
{
	struct vht_msg msg;

	assert_int_equal(vht_recv(fd, &msg), 1);
	assert_int_equal(msg.request, k->id);
	assert_int_equal(msg.flags, status ? 9 : 1);
	assert_int_equal(msg.size, k->size);
	assert_int_equal(msg.n_fds, 0);
}

static void ask(void)
{
	const struct kind *k = &kinds[vht_below(COUNT(kinds))];
	uint64_t payload[2] = {some_value(k->id), 0}, ticket = 0;
	bool own = k->reply && (!k->own_with_log || (in_force(&model.pf) & BIT(LOG_SHMFD)));
	bool status = !own && k->id != 16 && (in_force(&model.pf) & BIT(REPLY_ACK));
	int rc;

	if (model.n_pending >= IN_FLIGHT)
		return;
	if (k->id == 24 || k->id == 25)
		payload[0] = VHT_PAIR(0, 4);
	rc = vht_submit(m, k->id, VH_REPLY_TABLE, payload, k->size, &ticket);
	if (!model.connected) {
		assert_int_equal(rc, -ENOTCONN);
		return;
	}
	if (!may_be_sent(k)) {
		assert_int_equal(rc, -EOPNOTSUPP);
		not_sent++;
		return;
	}
	if (rc)
		fail_msg("request %u: %s: %s", k->id, vh_error_name(rc), vht_text());
	assert_int_equal(ticket != 0, own || status);
	arrived(k, status);
	if (k->id == 2)
		note(&model.acked, payload[0], ticket);
	if (k->id == 16)
		note(&model.pf, payload[0], 0);
	if (ticket)
		model.pending[model.n_pending++] = (struct wait){
			.kind = k, .ticket = ticket, .value = payload[0], .own = own};
}

static void look(void)
{
	if (model.n_done && vht_below(2)) {
		finish_one(vht_below(model.n_done));
		return;
	}
	if (model.n_pending)
		assert_int_equal(
			vh_master_finish(m, model.pending[vht_below(model.n_pending)].ticket, NULL, 0, NULL, 0, NULL),
			-EINPROGRESS);
}

static void give_up(void)
{
	int rc = vh_master_disconnect(m);

	assert_int_equal(rc, model.connected ? 0 : -ENOTCONN);
	all_end(-ECONNRESET);
}

/* --- what the back-end does --- */

static void send_in_pieces(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	while (n) {
		size_t part = vht_below(3) ? n : 1 + vht_below(n);

		assert_int_equal(send(fd, p, part, MSG_NOSIGNAL), part);
		dispatch_all();
		p += part;
		n -= part;
	}
}

static void done(int rc)
{
	assert_true(model.n_done < COUNT(model.done));
	model.done[model.n_done] = model.pending[0];
	model.done[model.n_done++].rc = rc;
	memmove(&model.pending[0], &model.pending[1], --model.n_pending * sizeof(model.pending[0]));
}

static void answer(void)
{
	struct wait *w = &model.pending[0];
	struct {
		uint32_t head[3];
		uint8_t payload[16];
	} reply = {{0}, {0}};
	uint64_t value = 0;

	if (!model.n_pending)
		return;
	reply.head[0] = w->kind->id;
	reply.head[1] = 5;
	reply.head[2] = w->own ? w->kind->reply : 8;
	if (w->own && w->kind->id == 1)
		value = model.offered = vht_below(4) ? FEATURES | BIT(40) : FEATURES & ~BIT(LOG_ALL);
	else if (w->own && w->kind->id == 15)
		value = PF_ALL;
	else if (w->own && w->kind->id == 24)
		value = w->value;
	else if (!w->own && !vht_below(3))
		value = 1 + vht_below(1000);
	memcpy(reply.payload, &value, sizeof(value));
	if (!w->own && value && w->kind->id == 2)
		refuse(&model.acked, w->ticket);
	answered++;
	refused += !w->own && value;
	done(!w->own && value ? -EREMOTEIO : 0);
	send_in_pieces(&reply, sizeof(reply.head) + reply.head[2]);
}

/* Something that is not the reply that is due; the connection ends by it, whatever is awaited. */
static void lie(void)
{
	const struct wait *w = model.n_pending ? &model.pending[0] : NULL;
	uint32_t id = w ? w->kind->id : kinds[vht_below(COUNT(kinds))].id;
	uint32_t size = w ? (w->own ? w->kind->reply : 8) : 8;
	const uint32_t lies[][3] = {{id + 1, 5, size},	 {id, 1, size},	   {id, 4, size},     {id, 6, size},
				    {id, 13, size},	 {id, 0x25, size}, {id, 5, size + 1}, {id, 5, 4097},
				    {id, 5, UINT32_MAX}, {0, 5, size},	   {id, 5, size - 1}};
	const uint32_t good[3] = {id, 5, size}, *head = w ? lies[vht_below(COUNT(lies))] : good;
	uint8_t payload[64] = {0};

	if (!model.connected)
		return;
	/* When nothing is awaited, a good reply is one too; no reply here has an fd. */
	if (!vht_below(4))
		vht_send(fd, id, 5, payload, size, &fd, 1);
	else
		vht_send(fd, head[0], head[1], head[2] > sizeof(payload) ? NULL : payload, head[2], NULL, 0);
	dispatch_all();
	all_end(-EPROTO);
	assert_int_not_equal(vht_site(), 0);
	ended++;
}

static void vanish(void)
{
	if (!model.connected)
		return;
	shutdown(fd, SHUT_RDWR);
	dispatch_all();
	all_end(-ECONNRESET);
}

static void step(void)
{
	unsigned what = vht_below(100);

	if (what < 45)
		ask();
	else if (what < 80)
		answer();
	else if (what < 96)
		look();
	else if (what < 98)
		lie();
	else if (what < 99)
		vanish();
	else
		give_up();
	compare();
	if (!model.connected && vht_below(2))
		connect_again();
}

/* Most sequences begin as they should, so that there is something to go wrong. */
static void begin(void)
{
	static const unsigned first[] = {0, 7, 8, 1};

	connect_again();
	if (!vht_below(5))
		return;
	for (unsigned i = 0; i < COUNT(first); i++) {
		const struct kind *k = &kinds[first[i]];
		uint64_t value = k->id == 2 ? FEATURES : PF_ALL, ticket = 0;

		assert_int_equal(vht_submit(m, k->id, VH_REPLY_TABLE, &value, k->size, &ticket), 0);
		arrived(k, ticket && !k->reply);
		if (k->id == 1)
			value = model.offered = FEATURES;
		if (k->id == 16)
			note(&model.pf, value, 0);
		if (k->id == 2)
			note(&model.acked, value, ticket);
		if (!ticket)
			continue;
		vht_send_u64(fd, k->id, 5, k->reply ? value : 0);
		assert_int_equal(vht_finish(m, ticket, &value, sizeof(value), NULL), 0);
	}
}

static void case_058_any_replies_and_requests_in_any_order(void **state)
{
	const char *full = getenv("VH_FULL");
	unsigned sequences = full && !strcmp(full, "1") ? 20000 : 600, before = vht_open_fds();

	(void)state;
	vht_random_begin();
	m = vht_master_new(VHT_WAIT_MS * 4);
	for (unsigned i = 0; i < sequences; i++) {
		begin();
		for (unsigned k = 0; k < 120; k++)
			step();
	}
	assert_true(answered > 10 * sequences && refused > sequences && not_sent > sequences && ended > sequences);
	vh_master_free(m);
	close(fd);
	assert_int_equal(vht_open_fds(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(case_058_any_replies_and_requests_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
