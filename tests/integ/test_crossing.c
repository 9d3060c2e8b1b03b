/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Both sides ask at the same time (catalogue M 197, 201 and 202): nobody waits for the other, whatever is full. Two loops
 * that never block take turns in one thread, so whoever needed the other inside a call would hang the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vht_master.h"

#define UNKNOWN 0x4242u
#define PAYLOAD 4000u
#define MOST	1000u
#define TURNS	1000000

struct fix {
	struct vh_master *m;
	struct vh_device *dev;
	struct vh_slave *s;
	unsigned at_master, at_slave; /* requests that were served */
	unsigned fds_before;
};

static vh_rc on_backend(void *ctx, const struct vh_msg_request *req)
{
	assert_int_equal(req->request, UNKNOWN);
	((struct fix *)ctx)->at_master++;
	return 0;
}

static vh_rc on_frontend(void *ctx, const struct vh_msg_request *req)
{
	assert_int_equal(req->request, UNKNOWN);
	((struct fix *)ctx)->at_slave++;
	return 0;
}

static vh_count on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	(void)ctx;
	(void)q;
	(void)index;
	(void)budget;
	return 0;
}

static void turn(struct fix *f)
{
	assert_true(vh_master_dispatch(f->m) >= 0);
	assert_true(vh_slave_dispatch(f->s) >= 0);
}

static int to_slave(struct fix *f, uint32_t size, uint64_t *ticket)
{
	static const uint8_t payload[PAYLOAD];
	const struct vh_msg msg = {.size = sizeof(msg),
				   .request = UNKNOWN,
				   .reply = VH_REPLY_ACK,
				   .payload = (uint64_t)(uintptr_t)payload,
				   .payload_size = size};

	return vh_master_submit(f->m, &msg, NULL, ticket);
}

static int to_master(struct fix *f, uint32_t size, uint64_t *ticket)
{
	static const uint8_t payload[PAYLOAD];
	const struct vh_msg msg = {.size = sizeof(msg),
				   .request = UNKNOWN,
				   .reply = VH_REPLY_ACK,
				   .payload = (uint64_t)(uintptr_t)payload,
				   .payload_size = size};

	return vh_slave_submit(f->s, &msg, NULL, ticket);
}

static void finished(struct fix *f, uint64_t at_slave, uint64_t at_master)
{
	int a = at_slave ? -EINPROGRESS : 0, b = at_master ? -EINPROGRESS : 0;

	for (int i = 0; i < TURNS && (a || b); i++) {
		if (a)
			a = vh_master_finish(f->m, at_slave, NULL, 0, NULL, 0, NULL);
		if (b)
			b = vh_slave_finish(f->s, at_master, NULL, 0, NULL, 0, NULL);
		assert_true((!a || a == -EINPROGRESS) && (!b || b == -EINPROGRESS));
		if (a || b)
			turn(f);
	}
	assert_int_equal(a, 0);
	assert_int_equal(b, 0);
}

static void ask(struct fix *f, uint32_t id, const void *payload, uint32_t size, const int *fd)
{
	const struct vh_msg msg = {.size = sizeof(msg),
				   .request = id,
				   .payload = (uint64_t)(uintptr_t)payload,
				   .payload_size = size,
				   .n_fds = fd ? 1 : 0};
	uint64_t ticket;

	assert_int_equal(vh_master_submit(f->m, &msg, fd, &ticket), 0);
	if (!ticket)
		turn(f);
	else if (id == 1 || id == 15)
		for (int rc = -EINPROGRESS; rc == -EINPROGRESS; turn(f))
			rc = vh_master_finish(f->m, ticket, NULL, 0, NULL, 0, NULL);
	else
		finished(f, ticket, 0);
}

/* The library's own channel: negotiation waits, so the slave's thread is this one while it does. */
static void *negotiate(void *arg)
{
	struct fix *f = arg;

	return (void *)(intptr_t)vh_master_negotiate(f->m, UINT64_C(1) << 32, NULL);
}

static int set_up(void **state)
{
	static struct fix f;
	const struct vh_master_ops mops = {.size = sizeof(mops), .backend_request = on_backend};
	const struct vh_slave_ops sops = {.size = sizeof(sops), .request = on_frontend};
	const struct vh_device_ops dops = {.size = sizeof(dops), .on_batch = on_batch};
	const struct vh_device_opts dopts = {.size = sizeof(dopts)};
	const uint64_t num[1] = {VHT_PAIR(0, 16)};
	struct vh_vring_addr addr = {0};
	struct vh_mem *mem;
	struct vh_region r = {0};
	pthread_t thread;
	void *rc = NULL;
	uint64_t table[5];
	vh_fd peer, fd;
	bool over = false;

	memset(&f, 0, sizeof(f));
	f.fds_before = vht_open_fds();
	assert_int_equal(vh_master_new(NULL, &mops, &f, &f.m), 0);
	assert_int_equal(vh_device_new(&dopts, &dops, NULL, &f.dev), 0);
	assert_int_equal(vh_slave_new(NULL, f.dev, &sops, &f, &f.s), 0);
	assert_int_equal(vh_master_socketpair(f.m, &peer), 0);
	assert_int_equal(vh_slave_adopt(f.s, peer), 0);
	close(peer);
	assert_int_equal(pthread_create(&thread, NULL, negotiate, &f), 0);
	while (!over) {
		poll(&(struct pollfd){.fd = vh_slave_fd(f.s), .events = POLLIN}, 1, 10);
		assert_true(vh_slave_dispatch(f.s) >= 0);
		over = !pthread_tryjoin_np(thread, &rc);
	}
	assert_int_equal((intptr_t)rc, 0);
	/* A ring has to run, or the slave keeps quiet. */
	assert_int_equal(vh_mem_new(NULL, &mem), 0);
	assert_int_equal(vh_mem_alloc(mem, 0, 1 << 20, 0), 0);
	assert_int_equal(vh_mem_regions(mem, &r, 1), 1);
	assert_int_equal(vh_mem_dup_fd(mem, 0, &fd), 0);
	table[0] = 0;
	table[1] = r.gpa;
	table[2] = r.len;
	table[3] = r.uva;
	table[4] = r.offset;
	ask(&f, 37, table, sizeof(table), &fd);
	close(fd);
	addr.desc = r.uva;
	addr.avail = r.uva + 4096;
	addr.used = r.uva + 8192;
	ask(&f, 8, num, 8, NULL);
	ask(&f, 9, &addr, sizeof(addr), NULL);
	ask(&f, 12, (uint64_t[]){0x100}, 8, NULL);
	vh_mem_free(mem);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fix *f = *state;

	vh_master_free(f->m);
	vh_slave_free(f->s);
	vh_device_free(f->dev);
	assert_int_equal(vht_open_fds(), f->fds_before);
	return 0;
}

static void case_197_requests_cross(void **state)
{
	struct fix *f = *state;
	const unsigned n = getenv("VH_FULL") ? 100000 : 5000;
	uint64_t a, b;

	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(to_slave(f, i % 64, &a), 0);
		assert_int_equal(to_master(f, i % 64, &b), 0);
		finished(f, a, b);
	}
	assert_int_equal(f->at_slave, n);
	assert_int_equal(f->at_master, n);
}

static void case_201_both_channels_are_full_in_both_directions(void **state)
{
	struct fix *f = *state;
	uint64_t a[MOST], b[MOST];

	for (int round = 0; round < 3; round++) {
		unsigned n = 0, k = 0, served = f->at_slave + f->at_master;

		while (n < MOST && !to_slave(f, PAYLOAD, &a[n]))
			n++;
		while (k < MOST && !to_master(f, PAYLOAD, &b[k]))
			k++;
		assert_in_range(n, 16, MOST - 1);
		assert_in_range(k, 16, MOST - 1);
		assert_int_equal(to_slave(f, PAYLOAD, &a[n]), -ENOBUFS);
		assert_int_equal(to_master(f, PAYLOAD, &b[k]), -ENOBUFS);
		/* Those that come last first: nothing depends on who is asked about. */
		while (n || k) {
			finished(f, n ? a[n - 1] : 0, k ? b[k - 1] : 0);
			n -= n != 0;
			k -= k != 0;
		}
		assert_true(f->at_slave + f->at_master > served);
	}
}

static void case_202_answers_find_who_asked(void **state)
{
	struct fix *f = *state;
	uint64_t tickets[100];

	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(to_master(f, i, &tickets[i]), 0);
	/* In any order. */
	for (unsigned i = 0; i < 100; i++)
		finished(f, 0, tickets[i * 37 % 100]);
	assert_int_equal(f->at_master, 100);
	assert_int_equal(vh_slave_finish(f->s, tickets[0], NULL, 0, NULL, 0, NULL), -ENOENT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(case_197_requests_cross),
		T(case_201_both_channels_are_full_in_both_directions),
		T(case_202_answers_find_who_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
