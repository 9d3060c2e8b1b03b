/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Every request and every reply that a hostile back-end can give it: tests/data/replies.tsv says what comes of each. Without
 * VH_FULL=1 each deviation alone, and a sample of their product; VH_SEED is its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

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
#define FEATURES     (BIT(3) | BIT(26) | BIT(30) | BIT(32) | BIT(33)) /* with MTU, LOG_ALL, ACCESS_PLATFORM */
#define PF_ALL	     ((BIT(24) - 1) & ~BIT(17))			      /* XEN_MMAP has other sizes */
#define PF_REPLY_ACK BIT(3)
#define SAMPLE	     4000u
#define MOST_ROWS    64u
#define COUNT(a)     (sizeof(a) / sizeof((a)[0]))

enum outcome { OK, REFUSED, END, NO_CELL };
enum waits { OWN, STATUS, NOTHING, NEVER };
enum { ACKED, PLAIN, UNASKED, CONTEXTS };
enum { RIGHT, SHORT, LONG, EMPTY, MOST, SIZES };
enum { GOOD, BAD, PAYLOADS };
enum { NOW, PIECES, BEFORE, TWICE, WHENS };

#define FDS	3
#define HEADERS COUNT(header_names)

static const char *const outcome_names[] = {"OK", "REFUSED", "END", "-", NULL};
static const char *const waits_names[] = {"OWN", "STATUS", "NOTHING", "-", NULL};
static const char *const header_names[] = {"right",	"next_id",   "id_0",	 "id_max",     "version_0",
					   "version_2", "version_3", "no_reply", "need_reply", "bit_4",
					   "bit_31",	"size_4097", "size_max"};
static const char *const when_names[] = {"now", "pieces", "before", "twice"};
static const char *const context_names[] = {"acked", "plain", "unasked"};
static const char *const size_names[] = {"right", "short", "long", "empty", "most"};

struct message {
	char name[32];
	uint32_t id, size, fds, reply;
	enum waits waits[CONTEXTS];
	enum outcome sizes[SIZES];
	enum outcome right[PAYLOADS][FDS];
};

struct cell {
	const struct message *msg;
	unsigned context, size, payload, fds, header, when;
};

static struct message messages[MOST_ROWS];
static unsigned n_messages;
static enum outcome headers[COUNT(header_names)], whens[WHENS];
static struct vh_master *front_end;
static int spare = -1; /* what is passed */

/* --- the table --- */

static enum outcome outcome_of(const char *text)
{
	return (enum outcome)vht_word(outcome_names, text);
}

static void read_message(const struct vht_row *r)
{
	struct message *m = &messages[n_messages++];

	assert_true(n_messages <= MOST_ROWS);
	assert_int_equal(r->n, 19);
	m->id = vht_number(r, 1);
	snprintf(m->name, sizeof(m->name), "%s", r->col[2]);
	m->size = vht_number(r, 3);
	m->fds = vht_number(r, 4);
	for (unsigned i = 0; i < CONTEXTS; i++)
		m->waits[i] = (enum waits)vht_word(waits_names, r->col[5 + i]);
	m->reply = vht_number(r, 8);
	m->sizes[RIGHT] = OK;
	for (unsigned i = SHORT; i < SIZES; i++)
		m->sizes[i] = outcome_of(r->col[8 + i]);
	for (unsigned i = 0; i < PAYLOADS * FDS; i++)
		m->right[i / FDS][i % FDS] = outcome_of(r->col[13 + i]);
}

static void read_axis(const struct vht_row *r, const char *const *names, size_t n, enum outcome *of)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], r->col[1])) {
			of[i] = outcome_of(r->col[2]);
			return;
		}
	fail_msg("tests/data/replies.tsv: '%s'", r->col[1]);
}

static void read_table(void)
{
	FILE *f = vht_open_data("replies.tsv");
	struct vht_row r;

	for (size_t i = 0; i < HEADERS; i++)
		headers[i] = NO_CELL;
	for (size_t i = 0; i < WHENS; i++)
		whens[i] = NO_CELL;
	while (vht_next_row(f, "message\tid", &r)) {
		if (!strcmp(r.col[0], "message"))
			read_message(&r);
		else if (!strcmp(r.col[0], "header"))
			read_axis(&r, header_names, HEADERS, headers);
		else
			read_axis(&r, when_names, WHENS, whens);
	}
	fclose(f);
}

/* Every message that there is has a row, every value of an axis an outcome. */
static void the_table_is_whole(void **state)
{
	FILE *f = vht_open_data("messages.tsv");
	struct vht_row r;
	unsigned n = 0;

	(void)state;
	while (vht_next_row(f, "side", &r)) {
		if (strcmp(r.col[0], "fe"))
			continue;
		if (n >= n_messages || messages[n].id != vht_number(&r, 1) || strcmp(messages[n].name, r.col[2]))
			fail_msg("tests/data/replies.tsv: %s is not in row %u", r.col[2], n);
		n++;
	}
	fclose(f);
	assert_int_equal(n, n_messages);
	for (size_t i = 0; i < HEADERS; i++)
		assert_int_not_equal(headers[i], NO_CELL);
	for (size_t i = 0; i < WHENS; i++)
		assert_int_not_equal(whens[i], NO_CELL);
}

/* What a cell is to end in; of a reply that comes twice, what the first of them does. */
static enum outcome expected(const struct cell *c)
{
	const struct message *m = c->msg;
	/* Without a byte there is no bad payload. */
	enum outcome right = m->right[c->size == EMPTY ? GOOD : c->payload][c->fds];

	if (m->waits[c->context] == NEVER || m->sizes[c->size] == NO_CELL)
		return NO_CELL;
	if (m->waits[c->context] == NOTHING || headers[c->header] == END || c->when == BEFORE)
		return END;
	return m->sizes[c->size] == END || right == END ? END : right;
}

/* --- one cell --- */

static int connect_with(uint64_t features, uint64_t protocol_features)
{
	struct vh_event e = {.size = sizeof(e)};
	int fd;

	vh_master_disconnect(front_end);
	fd = vht_master_pair(front_end);
	vht_negotiate_by_hand(front_end, fd, features, protocol_features);
	while (vh_master_next_event(front_end, &e) == 1)
		;
	return fd;
}

/* The request, as the strict columns of the message table want it; nothing else is looked at when it is sent. */
static int submit(const struct message *m, unsigned context, uint64_t *ticket)
{
	static const uint32_t config[] = {0, 4, 0, 0};
	static uint8_t payload[2048];
	struct vh_msg msg = {.size = sizeof(msg),
			     .request = m->id,
			     .reply = context == UNASKED ? VH_REPLY_NONE : VH_REPLY_TABLE,
			     .payload = (uint64_t)(uintptr_t)payload,
			     .payload_size = m->size,
			     .n_fds = m->fds};

	memset(payload, 0, sizeof(payload));
	if (m->id == 24)
		memcpy(payload, config, sizeof(config));
	*ticket = 0;
	return vh_master_submit(front_end, &msg, m->fds ? &spare : NULL, ticket);
}

/* A payload that fits the request, or one that refuses it or makes no sense. */
static void fill(const struct cell *c, uint8_t *payload)
{
	const bool bad = c->payload == BAD, own = c->msg->waits[c->context] == OWN;
	const uint32_t config[] = {0, bad ? 8 : 4, 0, 0};
	const uint64_t status = bad, shmem = VHT_PAIR(bad, 0), state = bad ? VHT_PAIR(0x101, 0) : 0,
		       inflight = bad ? 0 : 4096;
	const void *from = &status;
	size_t n = sizeof(status);

	if (own && c->msg->id == 24) {
		from = config;
		n = sizeof(config);
	} else if (own && c->msg->id == 31) {
		from = &inflight;
	} else if (own && c->msg->id == 42) {
		from = &state;
	} else if (own && c->msg->id == 44) {
		from = &shmem;
	}
	memcpy(payload, from, n);
}

static uint32_t size_of(const struct cell *c)
{
	uint32_t right = c->msg->waits[c->context] == OWN ? c->msg->reply : 8;
	const uint32_t sizes[SIZES] = {right, right - 1, right + 1, 0, 4096};

	return sizes[c->size];
}

static void send_part(int fd, const void *from, size_t n)
{
	vh_master_dispatch(front_end);
	/* The front-end may be gone before the end of it. */
	if (n && send(fd, from, n, MSG_NOSIGNAL) < 0)
		assert_true(errno == EPIPE || errno == ECONNRESET);
}

static void send_first_byte(int fd, const void *from, const int *fds, uint32_t n_fds)
{
	union {
		char bytes[CMSG_SPACE(FDS * sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)from, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), 1);
}

static void reply(const struct cell *c, int fd)
{
	static uint8_t payload[4096];
	const int fds[FDS] = {spare, spare, spare};
	const uint32_t id = c->msg->id, size = size_of(c);
	const uint32_t heads[][3] = {
		{id, 5, size},		{id + 1, 5, size}, {0, 5, size},       {UINT32_MAX, 5, size}, {id, 4, size},
		{id, 6, size},		{id, 7, size},	   {id, 1, size},      {id, 0xd, size},	      {id, 0x15, size},
		{id, 0x80000005, size}, {id, 5, 4097},	   {id, 5, UINT32_MAX}};
	const uint32_t *head = heads[c->header];
	const bool lies = head[2] > sizeof(payload);

	assert_int_equal(COUNT(heads), HEADERS);
	memset(payload, 0, sizeof(payload));
	fill(c, payload);
	/* A base of another ring. */
	if ((id == 11 || id == 45) && c->payload == BAD)
		payload[0] = 1;
	if (c->when != PIECES) {
		vht_send(fd, head[0], head[1], lies ? NULL : payload, head[2], fds, c->fds);
		return;
	}
	send_first_byte(fd, head, fds, c->fds);
	for (size_t i = 1; i < 3 * sizeof(*head); i++)
		send_part(fd, (const uint8_t *)head + i, 1);
	for (size_t i = 0; !lies && i < size && i < 16; i++)
		send_part(fd, payload + i, 1);
	send_part(fd, payload + 16, lies || size < 16 ? 0 : size - 16);
}

static bool connected(void)
{
	struct vh_master_stats s = {.size = sizeof(s)};

	assert_int_equal(vh_master_get_stats(front_end, &s), 0);
	return s.connected;
}

static void dispatch_all(void)
{
	while (vh_master_dispatch(front_end) > 0)
		;
}

static enum outcome result_of(uint64_t ticket)
{
	int rc;

	dispatch_all();
	if (!ticket)
		return connected() ? OK : END;
	rc = vh_master_finish(front_end, ticket, NULL, 0, NULL, 0, NULL);
	if (rc && rc != -EREMOTEIO && rc != -EPROTO)
		fail_msg("vh_master_finish: %s: %s", vh_error_name(rc), vht_text());
	return !rc ? OK : rc == -EPROTO ? END : REFUSED;
}

/* The connection goes on: the next request has the next reply. */
static void in_step(int fd)
{
	struct vht_msg msg;
	uint64_t ticket, value = 0;

	assert_int_equal(vht_submit(front_end, 1, VH_REPLY_TABLE, NULL, 0, &ticket), 0);
	assert_int_equal(vht_recv(fd, &msg), 1);
	assert_int_equal(msg.request, 1);
	vht_send_u64(fd, 1, 5, 0x1234567);
	assert_int_equal(vht_finish(front_end, ticket, &value, sizeof(value), NULL), 0);
	assert_int_equal(value, 0x1234567);
}

static enum outcome observe(const struct cell *c, int fd)
{
	enum outcome got;
	struct vht_msg msg;
	uint64_t ticket;
	int rc;

	if (c->when == BEFORE)
		reply(c, fd);
	rc = submit(c->msg, c->context, &ticket);
	if (rc) {
		assert_int_equal(rc, -EPROTO);
		return END;
	}
	assert_int_equal(vht_recv(fd, &msg), 1);
	vht_close_fds(&msg);
	assert_int_equal(msg.request, c->msg->id);
	/* Some back-ends answer an IOTLB_MSG only when they are asked to, though it has a reply of its own. */
	if (msg.flags != (c->msg->waits[c->context] == STATUS || (c->msg->id == 22 && c->context == ACKED) ? 9 : 1))
		fail_msg("%s, %s: sent with flags %u", c->msg->name, context_names[c->context], msg.flags);
	assert_int_equal(msg.n_fds, 0);
	if (c->when != BEFORE)
		reply(c, fd);
	if (c->when == TWICE)
		reply(c, fd);
	got = result_of(ticket);
	dispatch_all();
	if (got != END && c->when != TWICE)
		in_step(fd);
	return got;
}

static void check(const struct cell *c)
{
	enum outcome want = expected(c), got;
	bool ends = want == END || c->when == TWICE;
	unsigned before;
	int fd;

	if (want == NO_CELL)
		return;
	fd = connect_with(FEATURES, c->context == PLAIN ? PF_ALL & ~PF_REPLY_ACK : PF_ALL);
	before = vht_open_fds();
	got = observe(c, fd);
	if (got != want || connected() == ends || vht_open_fds() != before - ends || (ends && !vht_site()))
		fail_msg("%s, %s, %s payload of %s size, %u fds, header %s, %s: %s instead of %s, %s, %d fds more",
			 c->msg->name, context_names[c->context], c->payload == BAD ? "bad" : "good",
			 size_names[c->size], c->fds, header_names[c->header], when_names[c->when], outcome_names[got],
			 outcome_names[want], connected() ? "connected" : "ended", (int)(vht_open_fds() - before));
	close(fd);
}

/* --- the product --- */

static void each_deviation_alone(void **state)
{
	(void)state;
	for (unsigned m = 0; m < n_messages; m++) {
		for (unsigned context = 0; context < CONTEXTS; context++) {
			struct cell c = {.msg = &messages[m], .context = context};

			/* As few fds as make it right. */
			while (c.fds < FDS - 1 && c.msg->right[GOOD][c.fds] == END)
				c.fds++;
			const struct cell right = c;

			for (c.size = 0; c.size < SIZES; c.size++)
				check(&c);
			for (c = right; c.header < HEADERS; c.header++)
				check(&c);
			for (c = right; c.when < WHENS; c.when++)
				check(&c);
			for (unsigned i = 0; i < PAYLOADS * FDS; i++) {
				c = right;
				c.payload = i / FDS;
				c.fds = i % FDS;
				check(&c);
			}
		}
	}
}

static void all_of(const struct message *m)
{
	struct cell c = {.msg = m};

	for (c.context = 0; c.context < CONTEXTS; c.context++)
		for (c.size = 0; c.size < SIZES; c.size++)
			for (c.payload = 0; c.payload < PAYLOADS; c.payload++)
				for (c.fds = 0; c.fds < FDS; c.fds++)
					for (c.header = 0; c.header < HEADERS; c.header++)
						for (c.when = 0; c.when < WHENS; c.when++)
							check(&c);
}

static void their_product(void **state)
{
	const char *full = getenv("VH_FULL");

	(void)state;
	if (full && !strcmp(full, "1")) {
		for (unsigned m = 0; m < n_messages; m++)
			all_of(&messages[m]);
		return;
	}
	vht_random_begin();
	for (unsigned i = 0; i < SAMPLE; i++) {
		struct cell c = {.msg = &messages[vht_below(n_messages)],
				 .context = vht_below(CONTEXTS),
				 .size = vht_below(SIZES),
				 .payload = vht_below(PAYLOADS),
				 .fds = vht_below(FDS),
				 /* What is wrong with the header hides the rest: every other one is right. */
				 .header = vht_below(2) ? vht_below(HEADERS) : 0,
				 .when = vht_below(WHENS)};

		check(&c);
	}
}

/* --- what must not be sent --- */

static void not_sent(const struct message *m, const char *without, uint64_t features, uint64_t protocol_features)
{
	int fd = connect_with(features, protocol_features);
	uint64_t ticket;

	if (submit(m, ACKED, &ticket) != -EOPNOTSUPP)
		fail_msg("%s is sent without %s", m->name, without);
	assert_int_equal(ticket, 0);
	assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0), 0);
	assert_true(connected());
	in_step(fd);
	close(fd);
}

/* Also a reply that the back-end gives to what was not sent ends the connection: column when, before. */
static void requests_without_their_feature_are_not_sent(void **state)
{
	FILE *f = vht_open_data("messages.tsv");
	struct vht_row r;
	unsigned n = 0, cells = 0;

	(void)state;
	while (vht_next_row(f, "side", &r)) {
		char *names = r.col[13], *name, *vf = r.col[14];

		if (strcmp(r.col[0], "fe"))
			continue;
		while (strcmp(names, "-") && (name = strsep(&names, ","))) {
			not_sent(&messages[n], name, FEATURES, PF_ALL & ~BIT(vht_protocol_bit(name)));
			cells++;
			if (!names)
				break;
		}
		if (strcmp(vf, "-")) {
			name = strsep(&vf, ":");
			/* Negotiated by hand, protocol features need bit 30 themselves. */
			if (strcmp(name, "PROTOCOL_FEATURES")) {
				not_sent(&messages[n], name, FEATURES & ~BIT(strtoul(vf, NULL, 10)), PF_ALL);
				cells++;
			}
		}
		n++;
	}
	fclose(f);
	assert_true(cells > 20);
}

/* GET_VRING_BASE, IOTLB_MSG, CHECK_DEVICE_STATE, GET_VRING_BASE_SKIP_DRAIN. */
static bool waits_for_the_device(unsigned id)
{
	return id == 11 || id == 22 || id == 43 || id == 45;
}

/* Never, or late, which is the same: nobody is there any more to take it. They all wait at once. */
static void no_reply_ends_at_the_deadline(void **state)
{
	struct vh_master *waiting[MOST_ROWS] = {NULL}, *usual = front_end;
	uint64_t tickets[MOST_ROWS];
	int fds[MOST_ROWS];

	(void)state;
	for (unsigned i = 0; i < n_messages; i++) {
		/* What waits for the device has ten times the deadline: test_master_wait.c. */
		if (waits_for_the_device(messages[i].id) || messages[i].waits[ACKED] == NOTHING)
			continue;
		waiting[i] = front_end = vht_master_new(1000);
		fds[i] = connect_with(FEATURES, PF_ALL);
		assert_int_equal(submit(&messages[i], ACKED, &tickets[i]), 0);
		assert_int_not_equal(tickets[i], 0);
	}
	front_end = usual;
	for (unsigned i = 0; i < n_messages; i++) {
		char byte;

		if (!waiting[i])
			continue;
		if (vht_finish(waiting[i], tickets[i], NULL, 0, NULL) != -ETIMEDOUT)
			fail_msg("%s: %s", messages[i].name, vht_text());
		vht_send_u64(fds[i], messages[i].id, 5, 0);
		while (recv(fds[i], &byte, 1, MSG_DONTWAIT) > 0)
			;
		assert_int_not_equal(errno, EAGAIN);
		vh_master_free(waiting[i]);
		close(fds[i]);
	}
}

static int set_up(void **state)
{
	(void)state;
	front_end = vht_master_new(VHT_WAIT_MS);
	spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(spare >= 0);
	read_table();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	vh_master_free(front_end);
	close(spare);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_whole),
		cmocka_unit_test(each_deviation_alone),
		cmocka_unit_test(their_product),
		cmocka_unit_test(requests_without_their_feature_are_not_sent),
		cmocka_unit_test(no_reply_ends_at_the_deadline),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
