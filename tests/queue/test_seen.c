/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What others are told of a queue: how far each side of the ring is, as seen from either. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_queue.h"

#define NUM 4u

static struct vht_ring ring; /* its queue is the driver */
static struct vh_queue *dev;

static int setup(void **state)
{
	struct vh_queue_opts opts;

	(void)state;
	vht_ring_prepare(&ring, NUM, 0);
	ring.opts.role = VH_QUEUE_DRIVER;
	assert_int_equal(vht_ring_open(&ring), 0);
	opts = ring.opts;
	opts.role = VH_QUEUE_DEVICE;
	assert_int_equal(vh_queue_open(ring.mem, &opts, -1, -1, &dev), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vh_queue_free(dev);
	vht_ring_free(&ring);
	return 0;
}

static void submit(uint32_t n)
{
	const struct vh_seg seg = {.addr = (uintptr_t)vht_host(&ring, VHT_DATA), .len = 100};
	struct vh_req req = {.segs = (uintptr_t)&seg, .n_wr = 1};

	while (n--)
		assert_int_equal(vh_queue_submit(ring.q, &req, 1), 1);
}

static void serve(uint32_t n)
{
	struct vh_req req;

	while (n--) {
		assert_int_equal(vh_queue_pop(dev, &req, 1), 1);
		assert_int_equal(vh_queue_push(dev, &(struct vh_cpl){.token = req.token}, 1), 0);
	}
}

static uint32_t place(uint32_t n)
{
	if (!vht_layout)
		return n;
	return n % NUM | (n / NUM % 2 ? 0 : VHT_WRAP);
}

static void expect(struct vh_queue *q, uint32_t avail, uint32_t used)
{
	struct vhi_queue_seen seen;

	vhi_queue_see(q, &seen);
	assert_true(seen.has_indices);
	assert_int_equal(seen.packed, vht_layout != 0);
	assert_int_equal(seen.avail, place(avail));
	assert_int_equal(seen.used, place(used));
}

static void both_sides_tell_where_they_are(void **state)
{
	struct vh_req reqs[NUM];
	struct vh_cpl cpls[NUM];

	(void)state;
	expect(dev, 0, 0);
	expect(ring.q, 0, 0);
	submit(3);
	expect(dev, 3, 0);
	assert_int_equal(vh_queue_pop(dev, reqs, 2), 2); /* taken is not done */
	expect(dev, 3, 0);
	assert_int_equal(vh_queue_unpop(dev, 2), 0);
	expect(dev, 3, 0);
	serve(2);
	expect(dev, 3, 2);
	/* The memory of a packed ring does not say it. */
	expect(ring.q, 3, vht_layout ? 0 : 2);
	assert_int_equal(vh_queue_reap(ring.q, cpls, NUM), 2);
	expect(ring.q, 3, 2);
	submit(3); /* the ring is full, and beyond its end */
	expect(dev, 6, 2);
	expect(ring.q, 6, 2);
	assert_int_equal(vh_queue_pop(dev, reqs, NUM), NUM);
	expect(dev, 6, 2);
	for (uint32_t i = 0; i < NUM; i++)
		cpls[i] = (struct vh_cpl){.token = reqs[i].token};
	assert_int_equal(vh_queue_push(dev, cpls, NUM), 0);
	expect(dev, 6, 6);
	assert_int_equal(vh_queue_reap(ring.q, cpls, NUM), NUM);
	submit(NUM);
	expect(dev, 10, 6);
	expect(ring.q, 10, 6);
}

static void a_ring_that_does_not_run_is_nowhere(void **state)
{
	struct vhi_queue_seen seen;
	uint32_t base;

	(void)state;
	assert_int_equal(vh_queue_stop(dev, &base), 0);
	vhi_queue_see(dev, &seen);
	assert_false(seen.has_indices);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(both_sides_tell_where_they_are),
		CASE(a_ring_that_does_not_run_is_nowhere),
	};

	return vht_run_layouts(tests);
}
