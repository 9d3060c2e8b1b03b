/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Every request that a hostile back-end can make on its channel: tests/data/channel.tsv says what is answered to each.
 * Without VH_FULL=1 each deviation alone, and a sample of their product; VH_SEED is its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vht_master.h"
#include "vht_random.h"
#include "vht_tsv.h"

#define BIT(n)	     (UINT64_C(1) << (n))
#define FEATURES     (BIT(30) | BIT(32) | BIT(33))
#define PF_ALL	     ((BIT(24) - 1) & ~BIT(17)) /* XEN_MMAP has other sizes */
#define PF_REPLY_ACK BIT(3)
#define PLATFORM     33u
#define SAMPLE	     4000u
#define MOST_ROWS    32u
#define COUNT(a)     (sizeof(a) / sizeof((a)[0]))
#define FDS	     3
#define HEADERS	     COUNT(header_names)

enum outcome { ACK, NACK, SILENT, END, NO_CELL };
enum { GOOD, NOBODY, WRONG, BAD, CLASSES };
enum { RIGHT, SHORT, LONG, EMPTY, MOST, SIZES };
enum { HANDLED, UNHANDLED, SIDES };

static const char *const outcome_names[] = {"ACK", "NACK", "SILENT", "END", "-", NULL};
static const char *const header_names[] = {"right", "version_0", "version_2", "version_3", "reply",
					   "bit_4", "bit_31",	 "size_4097", "size_max"};
static const char *const size_names[] = {"right", "short", "long", "empty", "most"};

struct request {
	char name[32];
	uint32_t id, size;
	bool any; /* size */
	bool fds[FDS];
	enum outcome of[CLASSES][2];
	uint32_t needs[8]; /* protocol feature bits */
	unsigned n_needs;
	bool platform; /* needs ACCESS_PLATFORM */
};

/* without: 0 = everything is negotiated, 1 = all but REPLY_ACK, 2... = all but needs[without - 2], then the platform bit. */
struct cell {
	const struct request *rq;
	unsigned side, without, unasked, size, payload_bad, fds, header;
};

static struct request requests[MOST_ROWS];
static unsigned n_requests;
static enum outcome headers[COUNT(header_names)];

struct fix {
	struct vh_master *m;
	struct vht_backend b;
	unsigned calls;
};

static struct fix sides[SIDES];
static int spare = -1;

/* --- the table --- */

static enum outcome outcome_of(const char *text)
{
	return (enum outcome)vht_word(outcome_names, text);
}

static void read_request(const struct vht_row *r)
{
	struct request *q = &requests[n_requests++];

	assert_true(n_requests <= MOST_ROWS);
	assert_int_equal(r->n, 15);
	q->id = vht_number(r, 1);
	snprintf(q->name, sizeof(q->name), "%s", r->col[2]);
	q->any = !strcmp(r->col[3], "any");
	q->size = q->any ? 0 : vht_number(r, 3);
	for (unsigned i = 0; i < FDS; i++)
		q->fds[i] = !strcmp(r->col[4 + i], "yes");
	for (unsigned i = 0; i < 2 * CLASSES; i++)
		q->of[i / 2][i % 2] = outcome_of(r->col[7 + i]);
}

static void read_header(const struct vht_row *r)
{
	for (unsigned i = 0; i < HEADERS; i++)
		if (!strcmp(header_names[i], r->col[1])) {
			headers[i] = outcome_of(r->col[2]);
			return;
		}
	fail_msg("tests/data/channel.tsv: '%s'", r->col[1]);
}

static void read_table(void)
{
	FILE *f = vht_open_data("channel.tsv");
	struct vht_row r;

	for (unsigned i = 0; i < HEADERS; i++)
		headers[i] = NO_CELL;
	while (vht_next_row(f, "request\tid", &r)) {
		if (!strcmp(r.col[0], "request"))
			read_request(&r);
		else
			read_header(&r);
	}
	fclose(f);
	for (unsigned i = 0; i < HEADERS; i++)
		assert_int_not_equal(headers[i], NO_CELL);
}

/* Every request that there is has a row; what each needs is said by the figures of the specification. */
static void read_needs(void)
{
	FILE *f = vht_open_data("messages.tsv");
	struct vht_row r;
	unsigned n = 0;

	while (vht_next_row(f, "side", &r)) {
		char *names = r.col[13], *name;
		struct request *q = &requests[n];

		if (strcmp(r.col[0], "be"))
			continue;
		if (n++ >= n_requests || q->id != vht_number(&r, 1) || strcmp(q->name, r.col[2] + strlen("BACKEND_")))
			fail_msg("tests/data/channel.tsv: %s is not in row %u", r.col[2], n);
		while ((name = strsep(&names, ",")))
			q->needs[q->n_needs++] = vht_protocol_bit(name);
		q->platform = strcmp(r.col[14], "-") != 0;
	}
	fclose(f);
	assert_true(n > 0);
}

static unsigned withouts(const struct request *q)
{
	return 2 + q->n_needs + q->platform;
}

static bool lacks_reply_ack(const struct cell *c)
{
	unsigned i = c->without - 2;

	return c->without == 1 || (c->without > 1 && i < c->rq->n_needs && BIT(c->rq->needs[i]) == PF_REPLY_ACK);
}

static bool is_cell(const struct cell *c)
{
	const struct request *q = c->rq;

	if ((c->size == SHORT || c->size == EMPTY) && !q->size)
		return false;
	return !c->payload_bad || (q->of[BAD][0] != NO_CELL && c->size != EMPTY);
}

static unsigned class_of(const struct cell *c)
{
	if (!c->rq->fds[c->fds] || (c->size != RIGHT && !c->rq->any) || c->without > 1)
		return WRONG;
	return c->payload_bad ? BAD : c->side == UNHANDLED ? NOBODY : GOOD;
}

static enum outcome expected(const struct cell *c)
{
	return headers[c->header] == END ? END : c->rq->of[class_of(c)][c->unasked || lacks_reply_ack(c)];
}

/* --- one cell --- */

static int32_t on_request(void *ctx, const struct vh_msg_request *req)
{
	struct fix *f = ctx;

	(void)req;
	f->calls++;
	return 0;
}

static void submit_u64(struct fix *f, uint32_t id, uint64_t value)
{
	uint64_t ticket;

	assert_int_equal(vht_submit(f->m, id, VH_REPLY_NONE, &value, sizeof(value), &ticket), 0);
	assert_int_equal(ticket, 0);
}

static void negotiate(struct fix *f, const struct cell *c)
{
	const struct request *q = c->rq;
	uint64_t features = FEATURES, pf = PF_ALL;

	if (c->without == 1)
		pf &= ~PF_REPLY_ACK;
	else if (c->without > 1 && c->without - 2 < q->n_needs)
		pf &= ~BIT(q->needs[c->without - 2]);
	else if (c->without > 1)
		features &= ~BIT(PLATFORM);
	submit_u64(f, 16, pf);
	submit_u64(f, 2, features);
}

static uint32_t size_of(const struct cell *c)
{
	const uint32_t sizes[SIZES] = {c->rq->size, c->rq->size - 1, c->rq->size + 1, 0, 4096};

	return sizes[c->size];
}

/* A payload that makes sense, or one that does not. */
static void fill(const struct cell *c, uint8_t *payload)
{
	const uint64_t miss[] = {0x1000, 4096, 0, htole64(0x101)}, update[] = {0x1000, 4096, 0, htole64(0x201)};
	static const uint64_t area[] = {0, 4096, 0}, wrong_area[] = {0x200, 4096, 0};
	static const uint64_t map[] = {0, 0, 0, 4096, 1}, empty[] = {0, 0, 0, 0, 1};
	static const uint64_t state[] = {0}, wrong_state[] = {VHT_PAIR(0, 1)};
	static const uint64_t uuid[] = {1, 0}, nil[] = {0, 0};
	const uint64_t *const all[][2] = {
		[1] = {miss, update},	    [3] = {area, wrong_area}, [4] = {state, wrong_state},
		[5] = {state, wrong_state}, [6] = {uuid, nil},	      [7] = {uuid, nil},
		[8] = {uuid, nil},	    [9] = {map, empty},	      [10] = {map, empty},
	};
	uint32_t id = c->rq->id;

	if (id < COUNT(all) && all[id][c->payload_bad])
		memcpy(payload, all[id][c->payload_bad], c->rq->size);
}

static void ask(const struct cell *c, int fd)
{
	static uint8_t payload[4096];
	const int fds[FDS] = {spare, spare, spare};
	const uint32_t flags[HEADERS] = {1, 0, 2, 3, 5, 0x11, 0x80000001, 1, 1};
	uint32_t size = size_of(c);

	if (!strcmp(header_names[c->header], "size_4097"))
		size = 4097;
	else if (!strcmp(header_names[c->header], "size_max"))
		size = UINT32_MAX;
	memset(payload, 0, sizeof(payload));
	fill(c, payload);
	vht_send(fd, c->rq->id, flags[c->header] | (c->unasked ? 0 : 8), size > sizeof(payload) ? NULL : payload, size,
		 fds, c->fds);
}

/* What came on the channel, after all that was sent has been dispatched. */
static enum outcome answer_of(struct fix *f, const struct cell *c)
{
	struct vht_msg m;
	uint8_t byte;
	ssize_t n;

	while (vh_master_dispatch(f->m) > 0)
		;
	n = recv(f->b.channel, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return SILENT;
	if (n <= 0 || !vht_recv(f->b.channel, &m))
		return END;
	assert_int_equal(m.request, c->rq->id);
	assert_int_equal(m.flags, 5);
	assert_int_equal(m.size, 8);
	assert_int_equal(m.n_fds, 0);
	assert_int_equal(recv(f->b.channel, &byte, 1, MSG_PEEK | MSG_DONTWAIT), -1);
	return vht_u64(&m, 0) ? NACK : ACK;
}

static void check(const struct cell *c)
{
	struct fix *f = &sides[c->side];
	struct vh_event e = {.size = sizeof(e)};
	enum outcome want = expected(c), got;
	/* The callback sees what is good, and nothing else; the library answers CONFIG_CHANGE_MSG itself. */
	unsigned calls = f->calls + (!c->header && class_of(c) == GOOD && c->rq->id != 2);
	unsigned fds;

	if (!is_cell(c))
		return;
	negotiate(f, c);
	fds = vht_open_fds();
	ask(c, f->b.channel);
	got = answer_of(f, c);
	if (got != want || vht_open_fds() != fds - (want == END) || f->calls != calls)
		fail_msg("%s (%u), %s, %s payload of %s size, %u fds, header %s, without %u, %s: %s instead of %s; %d "
			 "fds and "
			 "%d calls more",
			 c->rq->name, c->rq->id, c->unasked ? "unasked" : "asked", c->payload_bad ? "bad" : "good",
			 size_names[c->size], c->fds, header_names[c->header], c->without,
			 c->side == HANDLED ? "handled" : "unhandled", outcome_names[got], outcome_names[want],
			 (int)(vht_open_fds() - fds), (int)(f->calls - calls));
	if (got == END)
		assert_int_equal(vh_master_negotiate(f->m, BIT(32), NULL), 0);
	while (vh_master_next_event(f->m, &e) == 1)
		;
}

/* --- the product --- */

static void deviations_of(struct cell right)
{
	struct cell c = right;

	for (c.size = 0; c.size < SIZES; c.size++)
		check(&c);
	for (c = right; c.fds < FDS; c.fds++)
		check(&c);
	for (c = right; c.header < HEADERS; c.header++)
		check(&c);
	for (c = right; c.without < withouts(c.rq); c.without++)
		check(&c);
	c = right;
	c.payload_bad = 1;
	check(&c);
}

static void each_deviation_alone(void **state)
{
	(void)state;
	for (unsigned i = 0; i < n_requests; i++)
		for (unsigned k = 0; k < SIDES * 2; k++) {
			struct cell c = {.rq = &requests[i], .side = k / 2, .unasked = k % 2};

			while (c.fds < FDS - 1 && !c.rq->fds[c.fds])
				c.fds++;
			deviations_of(c);
		}
}

static void all_of(struct cell c)
{
	for (c.without = 0; c.without < withouts(c.rq); c.without++)
		for (c.size = 0; c.size < SIZES; c.size++)
			for (c.payload_bad = 0; c.payload_bad < 2; c.payload_bad++)
				for (c.fds = 0; c.fds < FDS; c.fds++)
					for (c.header = 0; c.header < HEADERS; c.header++)
						check(&c);
}

static void their_product(void **state)
{
	const char *full = getenv("VH_FULL");

	(void)state;
	if (full && !strcmp(full, "1")) {
		for (unsigned i = 0; i < n_requests * SIDES * 2; i++)
			all_of((struct cell){.rq = &requests[i / 4], .side = i / 2 % 2, .unasked = i % 2});
		return;
	}
	vht_random_begin();
	for (unsigned i = 0; i < SAMPLE; i++) {
		struct cell c = {.rq = &requests[vht_below(n_requests)],
				 .side = vht_below(SIDES),
				 .unasked = vht_below(2),
				 .size = vht_below(SIZES),
				 .payload_bad = vht_below(2),
				 .fds = vht_below(FDS),
				 .header = vht_below(4) ? 0 : vht_below(HEADERS)};

		c.without = vht_below(withouts(c.rq));
		check(&c);
	}
}

static int set_up(void **state)
{
	(void)state;
	spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(spare >= 0);
	read_table();
	read_needs();
	for (unsigned i = 0; i < SIDES; i++) {
		struct vh_master_ops ops = {.size = sizeof(ops), .backend_request = i == HANDLED ? on_request : NULL};
		struct vh_master_opts opts = {.size = sizeof(opts), .timeout_ms = VHT_WAIT_MS};
		struct fix *f = &sides[i];

		assert_int_equal(vh_master_new(&opts, &ops, f, &f->m), 0);
		vht_backend_init(&f->b);
		vht_backend_start(&f->b, vht_master_pair(f->m));
		assert_int_equal(vh_master_negotiate(f->m, BIT(32), NULL), 0);
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SIDES; i++) {
		vh_master_free(sides[i].m);
		vht_backend_stop(&sides[i].b);
	}
	close(spare);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_deviation_alone),
		cmocka_unit_test(their_product),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
