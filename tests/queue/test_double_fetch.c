/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Case 135: a driver that changes everything while it is read. Each field of a descriptor only ever has a few values;
 * whatever is popped must be made of these, together as they were in one load, and lie inside guest memory. And a device
 * that does so: whatever is reaped was submitted, comes once, and has a length that fits. tests/flip has the same for all
 * sequences of a few loads.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_mem.h"
#include "vht_ring.h"
#include "vhi_vring.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define TABLE (VHT_DATA + 0x100000)
#define NUM   16u
#define ROOM  64u /* of a driver's request */

static struct vht_ring ring;
static struct vht_desc *descs, *table;
static uint64_t low, high;
static uint32_t stop; /* atomic */

static int setup(void **state)
{
	struct vh_seg seg;

	(void)state;
	vht_ring_init(&ring, NUM, VHT_IND_DESC);
	descs = vht_host(&ring, ring.opts.desc);
	table = vht_host(&ring, TABLE);
	stop = 0;
	assert_int_equal(vht_translate(ring.mem, VHT_BASE, VHT_SIZE, &seg, 1), 1);
	low = seg.addr;
	high = low + seg.len;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	return 0;
}

/* A second, or so many in a long run; and longer where threads have to wait for a processor. */
static bool goes_on(uint64_t since, uint32_t full, bool enough)
{
	const uint64_t second = UINT64_C(1000000000), passed = vhi_now_ns() - since;

	return passed < second * (getenv("VH_FULL") ? full : 1) || (!enough && passed < 40 * second);
}

static uint32_t lcg(uint32_t *x)
{
	*x = *x * 1664525u + 1013904223u;
	return *x >> 8;
}

/* The two words of a descriptor, each stored at once: what a device may see is any pair of those. Packed: next is an id. */
static void scribble(struct vht_desc *d, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next)
{
	uint64_t *w = (uint64_t *)(void *)d;

	__atomic_store_n(&w[0], htole64(addr), __ATOMIC_RELAXED);
	if (vht_layout)
		__atomic_store_n(&w[1], htole64(len | (uint64_t)next << 32 | (uint64_t)flags << 48), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&w[1], htole64(len | (uint64_t)flags << 32 | (uint64_t)next << 48), __ATOMIC_RELAXED);
}

/* A length is its flags' own (64 + flags), so that a mixture of two loads shows. */
static void *flipper(void *arg)
{
	static const uint64_t addrs[] = {VHT_DATA, VHT_BASE + VHT_SIZE - 65, 0, UINT64_MAX, TABLE};
	uint32_t x = 1;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint32_t r = lcg(&x), i = r % NUM;
		uint32_t flags = (r >> 4) & 7;
		uint32_t marks = vht_layout ? (r & 0x2000 ? VHT_AVAIL : 0) | (r & 0x4000 ? VHT_USED : 0) : 0;
		struct vht_desc *d = r & 0x1000 ? &descs[i] : &table[i];

		if (flags & VHT_INDIRECT)
			scribble(d, TABLE, 16 * (1 + (r >> 8) % 17), (flags & VHT_INDIRECT) | marks,
				 vht_layout ? (r >> 16) % NUM : 0);
		else
			scribble(d, addrs[(r >> 8) % (r & 0xe000 ? 2 : VHI_ARRAY_SIZE(addrs))], 60 + flags,
				 flags | marks, lcg(&x) % (NUM + (r & 0xf0000 ? 0 : 1)));
		if (vht_layout)
			continue;
		if (!(r & 0xff0000))
			vht_store16(ring.avail, 1, (uint16_t)lcg(&x));
		vht_store16(ring.avail, 2 + i, (uint16_t)(lcg(&x) % NUM));
	}
	return arg;
}

static void check(const struct vh_req *req)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	uint64_t rd = 0, wr = 0;

	for (uint32_t i = 0; i < req->n_rd + req->n_wr; i++) {
		bool writable = segs[i].len & VHT_WRITE; /* 60 has this bit clear */

		assert_true(segs[i].addr >= low && segs[i].addr < high && segs[i].len <= high - segs[i].addr);
		assert_in_range(segs[i].len, 60, 63);
		assert_int_equal(writable, i >= req->n_rd);
		*(writable ? &wr : &rd) += segs[i].len;
	}
	assert_int_equal(req->rd_len, rd);
	assert_int_equal(req->wr_len, wr);
}

/* Our own notion of what is available: all of the ring, again and again. */
static void offer(uint32_t n)
{
	uint16_t pos = ring.q->next_avail;

	if (!vht_layout) {
		vht_store16(ring.avail, 1, (uint16_t)(pos + n));
		return;
	}
	for (; n; n--, pos = (uint16_t)((pos & 0x7fffu) + 1 < NUM ? pos + 1u : ~pos & VHT_WRAP)) {
		uint64_t *word = (uint64_t *)(void *)&descs[pos & 0x7fff] + 1, now, marked;
		const uint64_t both = htole64((uint64_t)(VHT_AVAIL | VHT_USED) << 48);
		const uint64_t marks = htole64((uint64_t)(pos & VHT_WRAP ? VHT_AVAIL : VHT_USED) << 48);

		now = __atomic_load_n(word, __ATOMIC_RELAXED);
		do
			marked = (now & ~both) | marks;
		while (!__atomic_compare_exchange_n(word, &now, marked, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	}
}

static void case_135_a_driver_that_changes_everything_while_it_is_read(void **state)
{
	const uint64_t since = vhi_now_ns();
	struct vh_req reqs[NUM];
	struct vh_cpl cpls[NUM];
	uint64_t popped = 0, broken = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, flipper, NULL), 0);
	while (goes_on(since, 20, popped > 100 && broken > 100)) {
		vh_count n;

		offer(1 + popped % NUM);
		n = vh_queue_pop(ring.q, reqs, NUM);
		for (vh_count i = 0; i < n; i++) {
			check(&reqs[i]);
			/* A used descriptor of a packed ring is made available again: it has to look as the others do. */
			cpls[i] = (struct vh_cpl){.token = reqs[i].token, .written = 60 + VHT_WRITE};
		}
		if (n > 0) {
			assert_int_equal(vh_queue_push(ring.q, cpls, (uint32_t)n), 0);
			popped += (uint64_t)n;
		} else if (n < 0) {
			assert_true(n == -EPROTO || n == -EFAULT);
			vh_queue_free(ring.q);
			assert_int_equal(vh_queue_open(ring.mem, &ring.opts, -1, -1, &ring.q), 0);
			broken++;
		}
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(popped > 100);
	assert_true(broken > 100);
}

/* The device's side: ids and lengths go together, so that a mixture of two elements shows in a packed ring. */
static void *liar(void *arg)
{
	static const uint32_t marks[] = {0, VHT_AVAIL, VHT_USED, VHT_AVAIL | VHT_USED};
	uint32_t *elems = (uint32_t *)(void *)ring.used + 1;
	uint32_t x = 7;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		const uint32_t r = lcg(&x), at = r % NUM, id = (r >> 8) % (NUM + (r & 0xf000 ? 0 : 1));
		const uint32_t len = r & 0x10000 ? ROOM : r & 0x2e0000 ? 0 : ROOM + 1;

		if (vht_layout) {
			scribble(&descs[at], VHT_DATA, len, marks[(r >> 4) & 3] | VHT_WRITE, id);
			continue;
		}
		__atomic_store_n(&elems[2 * at], htole32(id), __ATOMIC_RELAXED);
		__atomic_store_n(&elems[2 * at + 1], htole32(len), __ATOMIC_RELAXED);
		vht_store16(ring.used, 1, (uint16_t)(lcg(&x) % (2 * NUM)));
	}
	return arg;
}

static void case_135_a_device_that_changes_everything_while_it_is_read(void **state)
{
	const uint64_t since = vhi_now_ns();
	struct vh_seg seg = {(uintptr_t)vht_host(&ring, VHT_DATA), ROOM};
	struct vh_req req = {.segs = (uintptr_t)&seg, .n_wr = 1};
	uint64_t reaped = 0, broken = 0, cookie = 0;
	bool flying[1 << 16] = {false};
	struct vh_cpl cpls[NUM];
	pthread_t thread;

	(void)state;
	vh_queue_free(ring.q);
	ring.opts.role = VH_QUEUE_DRIVER;
	assert_int_equal(vh_queue_open(ring.mem, &ring.opts, -1, -1, &ring.q), 0);
	assert_int_equal(pthread_create(&thread, NULL, liar, NULL), 0);
	while (goes_on(since, 10, reaped > 100 && broken > 10)) {
		vh_count n;

		for (req.user = (uint16_t)cookie; vh_queue_submit(ring.q, &req, 1) == 1;
		     req.user = (uint16_t)++cookie) {
			assert_false(flying[req.user]);
			flying[req.user] = true;
		}
		n = vh_queue_reap(ring.q, cpls, NUM);
		for (vh_count i = 0; i < n; i++) {
			assert_true(flying[cpls[i].token]);
			flying[cpls[i].token] = false;
			assert_true(cpls[i].written == 0 || cpls[i].written == ROOM);
			reaped++;
		}
		if (n < 0) {
			assert_int_equal(n, -EPROTO);
			vh_queue_free(ring.q);
			assert_int_equal(vh_queue_open(ring.mem, &ring.opts, -1, -1, &ring.q), 0);
			memset(flying, 0, sizeof(flying));
			broken++;
		}
		if (!n)
			sched_yield();
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(reaped > 100);
	assert_true(broken > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(case_135_a_driver_that_changes_everything_while_it_is_read, setup,
						teardown),
		cmocka_unit_test_setup_teardown(case_135_a_device_that_changes_everything_while_it_is_read, setup,
						teardown),
	};

	return vht_run_layouts(tests);
}
