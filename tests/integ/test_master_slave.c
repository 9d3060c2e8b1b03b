/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Front-end and back-end in one thread: every request is a ticket, and two loops that never block take turns. Nobody
 * waits for anybody, so neither side may need the other to make progress inside a call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vht_master.h"

#define BIT(n) (UINT64_C(1) << (n))
#define PF                                                                                                        \
	(BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(9) | BIT(12) | BIT(13) | BIT(15) | BIT(16) | BIT(19) | BIT(20) | \
	 BIT(23))
#define FEATURES (BIT(VH_F_VERSION_1) | BIT(VH_F_PROTOCOL_FEATURES))
#define DISK	 UINT64_C(1048576)
#define TURNS	 100000 /* a bound on patience that no machine's speed matters for */

struct fix {
	struct vh_master *m;
	struct vh_slave *s;
	struct vh_mem *mem;
	struct vh_region region;
	struct vh_queue *q; /* driver side of ring 0 */
	int kick, call;
	unsigned fds_before;
};

static void turn(struct fix *f)
{
	assert_true(vh_master_dispatch(f->m) >= 0);
	assert_true(vh_slave_dispatch(f->s) >= 0);
}

/* Submit and take turns until the reply is here. Returns what finish says. */
static int call_fd(struct fix *f, uint32_t request, const void *payload, uint32_t size, int32_t fd, void *out,
		   uint32_t cap)
{
	struct vh_msg msg = {.size = sizeof(msg),
			     .request = request,
			     .payload = (uint64_t)(uintptr_t)payload,
			     .payload_size = size,
			     .n_fds = fd >= 0 ? 1 : 0};
	struct vh_msg_reply reply = {.size = sizeof(reply)};
	uint8_t status[8];
	uint64_t ticket;
	int rc;

	if (!out) {
		out = status;
		cap = sizeof(status);
	}
	assert_int_equal(vh_master_submit(f->m, &msg, &fd, &ticket), 0);
	if (!ticket)
		return 0;
	for (int i = 0; i < TURNS; i++) {
		rc = vh_master_finish(f->m, ticket, out, cap, NULL, 0, &reply);
		if (rc != -EINPROGRESS)
			return rc;
		turn(f);
	}
	fail_msg("message %u is not answered", request);
	return 0;
}

static int call(struct fix *f, uint32_t request, const void *payload, uint32_t size, void *out, uint32_t cap)
{
	return call_fd(f, request, payload, size, -1, out, cap);
}

static uint64_t get(struct fix *f, uint32_t request)
{
	uint64_t v = 0;

	assert_int_equal(call(f, request, NULL, 0, &v, sizeof(v)), 0);
	return v;
}

static void set(struct fix *f, uint32_t request, uint64_t value)
{
	assert_int_equal(call(f, request, &value, sizeof(value), NULL, 0), 0);
}

static void pair(struct fix *f, uint32_t request, uint32_t a, uint32_t b)
{
	set(f, request, VHT_PAIR(a, b));
}

static bool event(struct fix *f, uint32_t kind)
{
	struct vh_event e = {.size = sizeof(e)};

	while (vh_slave_next_event(f->s, &e) == 1)
		if (e.kind == kind)
			return true;
	return false;
}

static void negotiate(struct fix *f)
{
	assert_int_equal(get(f, 1) & FEATURES, FEATURES);
	assert_int_equal(get(f, 15), PF);
	set(f, 16, PF);
	assert_true(get(f, 17) >= 1);
	assert_true(get(f, 36) >= 8);
	assert_int_equal(call(f, 3, NULL, 0, NULL, 0), 0);
	set(f, 2, FEATURES);
}

static void share_memory(struct fix *f)
{
	uint64_t payload[5] = {0};
	int32_t fd;

	assert_int_equal(vh_mem_alloc(f->mem, 0, 1 << 20, 0), 0);
	assert_int_equal(vh_mem_regions(f->mem, &f->region, 1), 1);
	assert_int_equal(vh_mem_dup_fd(f->mem, 0, &fd), 0);
	payload[1] = f->region.gpa;
	payload[2] = f->region.len;
	payload[3] = f->region.uva;
	payload[4] = f->region.offset;
	assert_int_equal(call_fd(f, 37, payload, sizeof(payload), fd, NULL, 0), 0);
	close(fd);
}

static void start_ring(struct fix *f)
{
	struct vh_queue_opts opts = {.size = sizeof(opts),
				     .role = VH_QUEUE_DRIVER,
				     .num = 64,
				     .features = FEATURES,
				     .desc = 0x1000,
				     .driver = 0x2000,
				     .device = 0x3000};
	struct vh_vring_addr addr = {
		.desc = f->region.uva + 0x1000, .avail = f->region.uva + 0x2000, .used = f->region.uva + 0x3000};

	assert_int_equal(vh_queue_open(f->mem, &opts, f->kick, f->call, &f->q), 0);
	pair(f, 8, 0, 64);
	pair(f, 10, 0, 0);
	assert_int_equal(call(f, 9, &addr, sizeof(addr), NULL, 0), 0);
	assert_int_equal(call_fd(f, 12, (uint64_t[]){0}, 8, f->kick, NULL, 0), 0);
	assert_int_equal(call_fd(f, 13, (uint64_t[]){0}, 8, f->call, NULL, 0), 0);
	pair(f, 18, 0, 1);
	assert_true(event(f, VH_EVENT_STARTED));
}

static int set_up(void **state)
{
	struct vh_blkdev_opts disk = {.size = sizeof(disk), .kind = VH_BLKDEV_RAM, .capacity = DISK};
	static struct fix f;
	struct vh_device *dev;
	int peer;

	memset(&f, 0, sizeof(f));
	f.fds_before = vht_open_fds();
	f.m = vht_master_new(5000);
	peer = vht_master_pair(f.m);
	assert_int_equal(vh_blkdev_new(&disk, -1, &dev), 0);
	assert_int_equal(vh_slave_new(NULL, dev, NULL, NULL, &f.s), 0);
	vh_device_free(dev);
	assert_int_equal(vh_slave_adopt(f.s, peer), 0);
	close(peer);
	assert_int_equal(vh_mem_new(NULL, &f.mem), 0);
	f.kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f.call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	negotiate(&f);
	share_memory(&f);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fix *f = *state;

	vh_queue_free(f->q);
	vh_master_free(f->m);
	vh_slave_free(f->s);
	vh_mem_free(f->mem);
	close(f->kick);
	close(f->call);
	assert_int_equal(vht_open_fds(), f->fds_before);
	return 0;
}

static void *at(struct fix *f, uint64_t gpa)
{
	return (void *)(uintptr_t)(f->region.host + gpa);
}

/* One block request of 512 bytes at 0x8000: header, data, status. */
static void block(struct fix *f, uint32_t type, uint64_t sector)
{
	uint32_t header[4] = {htole32(type), 0, htole32((uint32_t)sector), htole32((uint32_t)(sector >> 32))};
	struct vh_seg segs[3] = {
		{f->region.host + 0x8000, 16}, {f->region.host + 0x9000, 512}, {f->region.host + 0xa000, 1}};
	struct vh_req req = {.segs = (uint64_t)(uintptr_t)segs, .n_rd = type ? 2 : 1, .n_wr = type ? 1 : 2, .user = 7};
	struct vh_cpl cpl;
	int n = 0;

	memcpy(at(f, 0x8000), header, sizeof(header));
	memset(at(f, 0xa000), 0xff, 1);
	assert_int_equal(vh_queue_submit(f->q, &req, 1), 1);
	for (int i = 0; i < TURNS && !n; i++) {
		turn(f);
		n = vh_queue_reap(f->q, &cpl, 1);
	}
	assert_int_equal(n, 1);
	assert_int_equal(cpl.written, type ? 1 : 513);
	assert_int_equal(*(uint8_t *)at(f, 0xa000), 0);
}

static void data_goes_through_a_ring_that_they_set_up(void **state)
{
	struct fix *f = *state;
	uint8_t pattern[512];

	start_ring(f);
	for (unsigned i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + 1);
	memcpy(at(f, 0x9000), pattern, sizeof(pattern));
	block(f, 1, 5);
	memset(at(f, 0x9000), 0, sizeof(pattern));
	block(f, 0, 5);
	assert_memory_equal(at(f, 0x9000), pattern, sizeof(pattern));
	block(f, 0, 6);
	assert_int_equal(*(uint8_t *)at(f, 0x9000), 0);
	/* The ring stops where it was, with the index of the ring that was asked for. */
	uint64_t base = 0;
	assert_int_equal(call(f, 11, (uint32_t[]){0, 0}, 8, &base, sizeof(base)), 0);
	assert_int_equal(base, VHT_PAIR(0, 3));
	assert_true(event(f, VH_EVENT_STOPPED));
}

static void config_space_is_read_and_status_kept(void **state)
{
	struct fix *f = *state;
	uint32_t ask[5] = {0, 8, 0};
	uint8_t reply[20];
	uint64_t sectors;

	assert_int_equal(call(f, 24, ask, 20, reply, sizeof(reply)), 0);
	memcpy(&sectors, reply + 12, sizeof(sectors));
	assert_int_equal(le64toh(sectors), DISK / 512);
	set(f, 39, 0xf);
	assert_int_equal(get(f, 40), 0xf);
	assert_int_equal(call(f, 34, NULL, 0, NULL, 0), 0);
	assert_int_equal(get(f, 40), 0);
}

static void both_refuse_what_they_must_and_go_on(void **state)
{
	struct fix *f = *state;

	/* A ring that is not there; a size that is no power of two; memory that is shared already. */
	assert_int_equal(call(f, 8, (uint32_t[]){99, 64}, 8, NULL, 0), -EREMOTEIO);
	assert_int_equal(call(f, 8, (uint32_t[]){0, 63}, 8, NULL, 0), -EREMOTEIO);
	assert_int_equal(call_fd(f, 37, (uint64_t[]){0, f->region.gpa, f->region.len, f->region.uva, f->region.offset},
				 40, f->kick, NULL, 0),
			 -EREMOTEIO);
	assert_int_equal(get(f, 1) & FEATURES, FEATURES);
}

static void a_hundred_requests_at_once_are_answered_in_order(void **state)
{
	enum { N = 100 };
	struct fix *f = *state;
	uint64_t t[N], v;

	for (uint32_t i = 0; i < N; i++) {
		if (i % 2)
			assert_int_equal(vht_submit(f->m, 39, VH_REPLY_TABLE, &(uint64_t){i}, 8, &t[i]), 0);
		else
			assert_int_equal(vht_submit(f->m, 40, VH_REPLY_TABLE, NULL, 0, &t[i]), 0);
	}
	for (int i = 0; i < TURNS && vh_master_finish(f->m, t[N - 1], NULL, 0, NULL, 0, NULL) == -EINPROGRESS; i++)
		turn(f);
	for (uint32_t i = 0; i < N - 1; i++) {
		assert_int_equal(vht_finish(f->m, t[i], &v, sizeof(v), NULL), 0);
		if (i % 2 == 0)
			assert_int_equal(v, i ? i - 1 : 0); /* set by the request before */
	}
}

static void a_back_end_that_goes_away_is_noticed_and_the_next_one_serves(void **state)
{
	struct fix *f = *state;
	int peer, rc = 0;

	start_ring(f);
	assert_int_equal(vh_slave_disconnect(f->s), 0);
	for (int i = 0; i < TURNS && rc >= 0; i++)
		rc = vh_master_dispatch(f->m);
	assert_int_equal(rc, -ECONNRESET);
	peer = vht_master_pair(f->m);
	assert_int_equal(vh_slave_adopt(f->s, peer), 0);
	close(peer);
	negotiate(f);
	assert_int_equal(get(f, 40), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(data_goes_through_a_ring_that_they_set_up),
		T(config_space_is_read_and_status_kept),
		T(both_refuse_what_they_must_and_go_on),
		T(a_hundred_requests_at_once_are_answered_in_order),
		T(a_back_end_that_goes_away_is_noticed_and_the_next_one_serves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
