/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A driver and a device of the library on one ring of each odd size, until what counts in it has been around three times:
 * the 16-bit index of a split ring, the wrap counter of a packed one. Every cookie and length comes back with its request.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_base.h"

#include <stdlib.h>

#define TURNS 3u
#define LEN   16u

struct pair {
	struct vht_ring r; /* r.q is the device */
	struct vh_queue *driver;
	struct vh_seg seg[2];
	uint32_t num, most; /* descriptors of the ring, and requests at a time */
	struct vh_req *reqs, *got;
	struct vh_cpl *cpls, *done;
	uint64_t sent, reaped, descs; /* all of them */
};

static void up(struct pair *p, uint32_t num, uint64_t with)
{
	struct vh_queue_opts opts;

	*p = (struct pair){.num = num, .most = num};
	vht_ring_init_fds(&p->r, num, with);
	opts = p->r.opts;
	opts.role = VH_QUEUE_DRIVER;
	assert_int_equal(vh_queue_open(p->r.mem, &opts, p->r.kick, p->r.call, &p->driver), 0);
	p->reqs = calloc(num, sizeof(*p->reqs));
	p->got = calloc(num, sizeof(*p->got));
	p->cpls = calloc(num, sizeof(*p->cpls));
	p->done = calloc(num, sizeof(*p->done));
	assert_true(p->reqs && p->got && p->cpls && p->done);
	for (uint32_t i = 0; i < 2; i++)
		p->seg[i] = (struct vh_seg){(uintptr_t)vht_host(&p->r, VHT_DATA + LEN * i), LEN};
}

static void down(struct pair *p)
{
	vh_queue_free(p->driver);
	vht_ring_free(&p->r);
	free(p->reqs);
	free(p->got);
	free(p->cpls);
	free(p->done);
}

/* Of one descriptor or of two, both kinds at any place of the ring in the course of time. */
static uint32_t n_desc(const struct pair *p, uint64_t cookie)
{
	return p->num > 1 && cookie % 5 == 2 ? 2 : 1;
}

static uint32_t written(uint64_t cookie)
{
	return (uint32_t)(cookie % (LEN + 1));
}

/* So many descriptors, or one less, in one batch; at least a request. */
static uint32_t submit(struct pair *p, uint32_t want)
{
	uint32_t n = 0;

	for (uint32_t left = VHI_MAX(want, n_desc(p, p->sent)); left; n++) {
		const uint64_t cookie = p->sent + n;
		const uint32_t descs = n_desc(p, cookie);

		if (descs > left)
			break;
		/* The writable one is the second segment; a request of one has no other. */
		p->reqs[n] = (struct vh_req){
			.segs = (uintptr_t)&p->seg[2 - descs], .n_rd = descs - 1, .n_wr = 1, .user = cookie};
		left -= descs;
		p->descs += descs;
	}
	assert_int_equal(vh_queue_submit(p->driver, p->reqs, n), n);
	return n;
}

static void echo(struct pair *p, uint32_t n)
{
	struct vh_req none;

	assert_int_equal(vh_queue_pop(p->r.q, p->got, n), n);
	assert_int_equal(vh_queue_pop(p->r.q, &none, 1), 0);
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t cookie = p->sent + i;
		const struct vh_seg *seg = (const struct vh_seg *)(uintptr_t)p->got[i].segs;

		assert_int_equal(p->got[i].n_rd, n_desc(p, cookie) - 1);
		assert_int_equal(p->got[i].n_wr, 1);
		assert_int_equal(p->got[i].wr_len, LEN);
		assert_int_equal(seg[p->got[i].n_rd].addr, p->seg[1].addr);
		p->cpls[i] = (struct vh_cpl){.token = p->got[i].token, .written = written(cookie)};
	}
	assert_int_equal(vh_queue_push(p->r.q, p->cpls, n), 0);
}

static void reap(struct pair *p, uint32_t n)
{
	struct vh_cpl none;

	assert_int_equal(vh_queue_reap(p->driver, p->done, n), n);
	assert_int_equal(vh_queue_reap(p->driver, &none, 1), 0);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(p->done[i].token, p->sent + i);
		assert_int_equal(p->done[i].written, written(p->sent + i));
	}
}

static bool full(struct pair *p)
{
	struct vh_req more = {.segs = (uintptr_t)&p->seg[1], .n_wr = 1};

	return vh_queue_submit(p->driver, &more, 1) == 0;
}

static void round_of(struct pair *p, uint32_t want)
{
	const uint64_t before = p->descs;
	const uint32_t n = submit(p, want);

	if (p->descs - before == p->num)
		assert_true(full(p));
	echo(p, n);
	reap(p, n);
	p->sent += n;
}

/* The same, and both sides sleep before it. */
static void woken_round_of(struct pair *p, uint32_t want)
{
	uint32_t n;

	vht_drain(p->r.kick);
	assert_int_equal(vh_queue_arm(p->r.q), VH_QUEUE_SLEEP);
	n = submit(p, want);
	assert_true(vht_drain(p->r.kick));
	vht_drain(p->r.call);
	assert_int_equal(vh_queue_arm(p->driver), VH_QUEUE_SLEEP);
	echo(p, n);
	assert_true(vht_drain(p->r.call));
	reap(p, n);
	p->sent += n;
	assert_int_equal(vh_queue_disarm(p->r.q), 0);
	assert_int_equal(vh_queue_disarm(p->driver), 0);
}

static void turns(uint32_t num, uint64_t with, uint64_t requests, uint64_t descs)
{
	struct pair p;
	uint32_t base;

	up(&p, num, with);
	/* Full rings and others, so that the ends of batches, and of chains, come to be at many places. System calls are dear. */
	for (uint32_t i = 0; p.sent < requests || p.descs < descs; i++)
		(i % 89 < 2 ? woken_round_of : round_of)(&p, i % 3 == 1 ? 1 + (i * 7) % num : num);
	assert_int_equal(vh_queue_stop(p.r.q, &base), 0);
	assert_int_equal(base, vht_base(&p.r, (uint32_t)(vht_layout ? p.descs : p.sent)));
	down(&p);
}

/* Who is to be told of a batch sleeps when it comes: an event index has its own turns. */
static const uint64_t features[] = {0, VHT_EVENT_IDX};

static void split_rings_go_around_their_index(void **state)
{
	static const uint32_t nums[] = {1, 2, 256, 32768};

	(void)state;
	vht_layout = 0;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(nums); i++)
		for (size_t k = 0; k < 2; k++)
			turns(nums[i], features[k], TURNS * (UINT16_MAX + 1u), 0);
}

static void packed_rings_go_around_with_their_wrap_counter(void **state)
{
	static const uint32_t nums[] = {1, 2, 3, 5, 7, 1000, 32768};

	(void)state;
	vht_layout = VHT_PACKED;
	/* A turn of the counter is two of the ring; small rings are cheap, and go on until ids and slots came often. */
	for (size_t i = 0; i < VHI_ARRAY_SIZE(nums); i++)
		for (size_t k = 0; k < 2; k++)
			turns(nums[i], features[k], 1000, TURNS * 2 * (uint64_t)nums[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_rings_go_around_their_index),
		cmocka_unit_test(packed_rings_go_around_with_their_wrap_counter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
