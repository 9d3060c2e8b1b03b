/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A driver that reaps from a ring in which no two loads need agree. What comes out are requests that were submitted, each
 * once, with a length that one load gave and that fits; and that is all or the queue is broken.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tree.h"
#include "vht_ring.h"
#include "vht_mem.h"
#include "vhi_vring.h"

#define NUM	4u
#define COOKIE	UINT64_C(0xc0000000)
#define ROOM(i) (100u + (uint32_t)(i)) /* writable bytes of request i */

static struct vht_ring ring;
static uint64_t *descs;
static uint32_t n_reqs, n_parts; /* requests, and descriptors of each */
static struct {
	uint64_t reaped, refused, none;
} seen;

static uint64_t used_word(uint32_t id, uint32_t len, uint32_t flags)
{
	return len | (uint64_t)id << 32 | (uint64_t)flags << 48;
}

/* A fresh driver with its requests in the ring. */
static void submit(void)
{
	struct vh_seg segs[2];
	struct vh_req req = {.segs = (uintptr_t)segs, .n_rd = n_parts - 1, .n_wr = 1};

	assert_int_equal(vh_queue_open(ring.mem, &ring.opts, -1, -1, &ring.q), 0);
	for (uint32_t i = 0; i < n_reqs; i++) {
		segs[0] = (struct vh_seg){(uintptr_t)vht_host(&ring, VHT_DATA), 8};
		segs[n_parts - 1] = (struct vh_seg){(uintptr_t)vht_host(&ring, VHT_DATA + 4096), ROOM(i)};
		req.user = COOKIE + i;
		assert_int_equal(vh_queue_submit(ring.q, &req, 1), 1);
	}
}

/* The first free descriptor or id is the next request's, in a fresh driver. */
static uint32_t id_of(uint32_t i)
{
	return vht_layout ? i : i * n_parts;
}

/* The used element that is looked at after so many requests. */
static bool expect(uint32_t n, uint32_t at, uint32_t *id, uint32_t *len)
{
	if (!vht_layout) {
		const volatile uint32_t *elem = (const volatile uint32_t *)(const void *)&ring.used->v[2] + 2 * n;

		*id = (uint32_t)tree_value(elem);
		*len = (uint32_t)tree_value(elem + 1);
		return true;
	}
	const uint64_t word = tree_value(descs + 2 * at + 1);
	const uint32_t flags = (uint32_t)(word >> 48);

	*id = (uint16_t)(word >> 32);
	*len = flags & VHT_WRITE ? (uint32_t)word : 0;
	return (flags & (VHT_AVAIL | VHT_USED)) == (VHT_AVAIL | VHT_USED);
}

/* In order: what the next used element completes, from request n on. False: there is none, or it is refused. */
static bool expect_run(uint32_t n, uint32_t *last, uint32_t *len, bool *refused)
{
	uint32_t ready = n_reqs - n, id;

	if (vht_layout && !ready)
		return false;
	if (!vht_layout) {
		ready = (uint16_t)((uint16_t)tree_value(&ring.used->v[1]) - n);
		*refused = ready > n_reqs - n;
		if (!ready || *refused)
			return false;
	}
	if (!expect(n, n * n_parts, &id, len))
		return false;
	for (*last = n; *last < n + ready && id_of(*last) != id;)
		++*last;
	*refused = *last == n + ready;
	return !*refused;
}

/* All but the last request of a run are filled. */
static void run_in_order(void)
{
	uint32_t n = 0, last = 0, len = 0;
	struct vh_cpl cpls[NUM];
	bool refused = false;
	vh_count got;

	submit();
	tree_begin();
	got = vh_queue_reap(ring.q, cpls, NUM);
	tree_end();
	while (n < NUM && !refused && expect_run(n, &last, &len, &refused))
		for (; n <= last && !refused; n += !refused) {
			const uint32_t said = n < last ? ROOM(n) : len;

			refused = said > ROOM(n);
			if (refused)
				continue;
			assert_true(got > (vh_count)n);
			assert_int_equal(cpls[n].token, COOKIE + n);
			assert_int_equal(cpls[n].written, said);
		}
	if (n || !refused)
		assert_int_equal(got, n);
	else
		assert_int_equal(got, -EPROTO);
	/* An element is read before it is known how far the index may be. */
	assert_true(refused || !tree_unasked());
	assert_false(tree.missing);
	seen.reaped += n;
	seen.refused += refused;
	seen.none += !n && !refused;
	vh_queue_free(ring.q);
}

static void run(void)
{
	struct vh_cpl cpls[NUM];
	uint32_t ready = n_reqs, n = 0;
	bool refused = false, done[NUM] = {false};
	vh_count got;

	submit();
	tree_begin();
	got = vh_queue_reap(ring.q, cpls, NUM);
	tree_end();
	if (!vht_layout) {
		ready = (uint16_t)tree_value(&ring.used->v[1]);
		refused = ready > n_reqs;
	}
	while (!refused && n < ready) {
		uint32_t id, len, i = 0;

		if (!expect(n, n * n_parts, &id, &len))
			break;
		while (i < n_reqs && id_of(i) != id)
			i++;
		refused = i == n_reqs || done[i] || len > ROOM(i);
		if (refused)
			break;
		assert_true(got > (vh_count)n);
		assert_int_equal(cpls[n].token, COOKIE + i);
		assert_int_equal(cpls[n].written, len);
		done[i] = true;
		n++;
	}
	if (n || !refused)
		assert_int_equal(got, n);
	else
		assert_int_equal(got, -EPROTO);
	assert_int_equal(tree_unasked(), 0);
	assert_false(tree.missing);
	seen.reaped += n;
	seen.refused += refused;
	seen.none += !n && !refused;
	vh_queue_free(ring.q);
}

/* Whatever the device says, the base is between what was reaped and what was submitted. */
static void run_stop(void)
{
	uint32_t base = 0;
	vh_rc rc;

	submit();
	tree_begin();
	assert_in_range(vh_queue_arm(ring.q), VH_QUEUE_SLEEP, VH_QUEUE_MORE);
	rc = vh_queue_stop(ring.q, &base);
	tree_end();
	assert_true(!rc || rc == -EINPROGRESS);
	if (!rc && !vht_layout)
		assert_in_range((uint16_t)base, 0, n_reqs);
	if (!rc && vht_layout)
		assert_in_range(base & 0x7fff, 0, NUM - 1);
	seen.reaped++;
	vh_queue_free(ring.q);
}

static void choices(void)
{
	static const uint16_t jumps[] = {0, 1, 2, 3, 4, 0x8000, 0xffff};
	static const uint32_t ids[] = {0, 1, 2, NUM, 0xffffffff};

	if (!vht_layout)
		for (size_t i = 0; i < VHI_ARRAY_SIZE(jumps); i++)
			tree_add(&ring.used->v[1], jumps[i]);
	for (uint32_t n = 0; n < NUM; n++)
		for (size_t i = 0; i < VHI_ARRAY_SIZE(ids); i++) {
			uint32_t *elem = (uint32_t *)(void *)&ring.used->v[2] + 2 * n;
			uint64_t *d = descs + 2 * n + 1;

			if (vht_layout) {
				tree_add(d, used_word(ids[i] & 0xffff, ROOM(i), 0x8080 | VHT_WRITE));
				tree_add(d, used_word(ids[i] & 0xffff, UINT32_MAX, 0x8080 | (i & 1 ? VHT_WRITE : 0)));
				if (i < 2)
					tree_add(d, used_word(0, 0, i ? 0x80 : 0x8000));
				continue;
			}
			tree_add(elem, ids[i]);
			if (i < 3)
				tree_add(elem + 1, i ? ROOM(i - 1) : UINT32_MAX);
		}
}

static void start(uint64_t features)
{
	struct vh_seg seg;

	vht_ring_prepare(&ring, NUM, features);
	ring.opts.role = VH_QUEUE_DRIVER;
	ring.avail = vht_host(&ring, ring.opts.driver);
	ring.used = vht_host(&ring, ring.opts.device);
	descs = vht_host(&ring, ring.opts.desc);
	assert_int_equal(vht_translate(ring.mem, VHT_BASE, VHT_SIZE, &seg, 1), 1);
	tree.low = seg.addr;
	tree.high = seg.addr + seg.len;
	tree_clear();
	choices();
}

static void reap_all_sorts(uint64_t features, void (*one)(void))
{
	for (n_parts = 1; n_parts <= 2; n_parts++)
		for (n_reqs = 1; n_reqs * n_parts <= NUM; n_reqs++) {
			const uint64_t before = tree.runs;

			start(features);
			seen.reaped = seen.refused = seen.none = 0;
			tree_explore(one);
			print_message("%u requests of %u: %llu runs, %llu reaped, %llu refused\n", n_reqs, n_parts,
				      (unsigned long long)(tree.runs - before), (unsigned long long)seen.reaped,
				      (unsigned long long)seen.refused);
			assert_true(seen.reaped && seen.refused && seen.none);
			vh_mem_free(ring.mem);
		}
}

static void what_is_reaped_was_loaded_once(void **state)
{
	(void)state;
	reap_all_sorts(0, run);
}

static void what_is_reaped_in_order_was_loaded_once(void **state)
{
	(void)state;
	reap_all_sorts(UINT64_C(1) << VH_F_IN_ORDER, run_in_order);
}

static void a_device_that_lies_while_its_driver_stops(void **state)
{
	(void)state;
	n_parts = 1;
	for (uint32_t i = 0; i < 4; i++) {
		n_reqs = 1 + i / 2;
		start(i & 1 ? UINT64_C(1) << VH_F_IN_ORDER : 0);
		seen.reaped = 0;
		tree_explore(run_stop);
		assert_true(seen.reaped > 4);
		vh_mem_free(ring.mem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_reaped_was_loaded_once),
		cmocka_unit_test(what_is_reaped_in_order_was_loaded_once),
		cmocka_unit_test(a_device_that_lies_while_its_driver_stops),
	};

	return vht_run_layouts(tests);
}
