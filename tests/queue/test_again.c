/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A device goes away with requests of a driver's, and another one takes its place. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_vring.h"

#include <stdlib.h>
#include <string.h>

#define NUM    16
#define TABLES (VHT_BASE + 0xc0000)

static struct vht_ring ring; /* its queue is not opened: q is the driver */
static struct vh_queue *q, *dev;
static struct vhi_ring plan;
static uint64_t seed;
static bool rewinds;

static uint32_t random_below(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

static void open_driver(uint64_t features, bool keep)
{
	struct vh_snapshot *snap;

	vht_ring_prepare(&ring, NUM, features | UINT64_C(1) << VH_F_VERSION_1);
	plan = vht_geometry(&ring);
	plan.fresh = true;
	plan.keep = keep;
	plan.indirect = (struct vhi_gpa){TABLES};
	plan.max_indirect = features & VHT_IND_DESC ? 3 : 0;
	assert_int_equal(vhi_queue_new(0, VH_QUEUE_DRIVER, &(struct vhi_queue_hooks){0}, &q), 0);
	snap = vhi_mem_snapshot(ring.mem);
	assert_int_equal(vhi_queue_start(q, &plan, snap), 0);
	vhi_snapshot_put(snap);
}

static void open_device(uint32_t base)
{
	struct vh_queue_opts opts = ring.opts;

	opts.role = VH_QUEUE_DEVICE;
	opts.base = base;
	assert_int_equal(vh_queue_open(ring.mem, &opts, -1, -1, &dev), 0);
}

static void close_all(void)
{
	vh_queue_free(dev);
	dev = NULL;
	vhi_queue_destroy(q);
	vht_ring_free(&ring);
}

/* What the test knows of each request: its cookie stands in its first readable byte too. */
static struct {
	uint8_t *data;
	unsigned completed;
} reqs[UINT16_MAX];
static uint32_t n_reqs, n_open;

static bool submit_one(void)
{
	const uint32_t k = 1 + random_below(5);
	struct vh_seg segs[5];
	struct vh_req req = {.segs = (uintptr_t)segs, .n_rd = 1, .n_wr = k - 1, .user = n_reqs};

	for (uint32_t i = 0; i < k; i++)
		segs[i] = (struct vh_seg){(uintptr_t)vht_host(&ring, VHT_DATA + 64 * (uint64_t)n_reqs + 8 * i), 8};
	memcpy(vht_host(&ring, VHT_DATA + 64 * (uint64_t)n_reqs), &n_reqs, sizeof(n_reqs));
	if (vh_queue_submit(q, &req, 1) != 1)
		return false;
	n_reqs++;
	n_open++;
	return true;
}

static void reap_some(uint32_t max)
{
	struct vh_cpl cpls[NUM];
	vh_count n = max ? vh_queue_reap(q, cpls, max) : 0;

	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		assert_int_equal(reqs[cpls[i].token].completed++, 0);
		n_open--;
	}
}

static uint32_t cookie_of(const struct vh_req *r)
{
	uint32_t cookie;

	memcpy(&cookie, (void *)(uintptr_t)((const struct vh_seg *)(uintptr_t)r->segs)[0].addr, sizeof(cookie));
	return cookie;
}

/* The device pops some, and ends some of those it has in any order; what it popped last stays unfinished. */
static void work(struct vh_req *held, uint32_t *n_held)
{
	vh_count n = vh_queue_pop(dev, held + *n_held, random_below(NUM + 1 - *n_held));

	assert_true(n >= 0);
	*n_held += (uint32_t)n;
	for (uint32_t k = random_below(*n_held + 1); k; k--) {
		const uint32_t at = random_below(*n_held);
		const struct vh_cpl cpl = {.token = held[at].token, .written = (uint32_t)held[at].wr_len};

		assert_int_equal(vh_queue_push(dev, &cpl, 1), 0);
		held[at] = held[--*n_held];
	}
}

/* What the device completed is the driver's, reaped or not, and the ring begins at its beginning. */
static void rewound(uint32_t left, uint32_t *base)
{
	const uint32_t early = vhi_queue_early(q) + vhi_queue_in_flight(q) - left;

	assert_int_equal(vhi_queue_rewind(q, base), 0);
	assert_int_equal(*base, plan.base);
	assert_int_equal(vhi_queue_early(q), early);
	assert_int_equal(vhi_queue_in_flight(q), left);
	assert_int_equal(vh_queue_look(q), early ? VH_QUEUE_MORE : VH_QUEUE_SLEEP);
}

/* The next device sees what was not completed, each once; what is younger than a ring in its order. */
static void another_device(void)
{
	struct vh_req seen[NUM];
	uint32_t base, before = 0, left;
	vh_count n;

	left = (uint32_t)vhi_queue_progress(q, &base);
	vh_queue_free(dev);
	if (rewinds && random_below(3))
		rewound(left, &base);
	else
		assert_int_equal(vhi_queue_again(q, &base), 0);
	open_device(base);
	n = vh_queue_pop(dev, seen, NUM);
	assert_int_equal(n, left);
	for (int i = 0; i < n; i++) {
		const uint32_t cookie = cookie_of(&seen[i]);

		assert_int_equal(reqs[cookie].completed, 0);
		if (cookie + NUM >= n_reqs) { /* older ones come first, in any order */
			assert_true(cookie >= before);
			before = cookie + 1;
		} else {
			assert_int_equal(before, 0);
		}
	}
	assert_int_equal(vh_queue_unpop(dev, (uint32_t)n), 0);
}

static void a_run(uint64_t features)
{
	memset(reqs, 0, sizeof(reqs));
	n_reqs = n_open = 0;
	open_driver(features, true);
	open_device(plan.base);
	for (uint32_t device = 0; device < 200; device++) {
		struct vh_req held[NUM];
		uint32_t n_held = 0;

		for (uint32_t turn = random_below(6); turn; turn--) {
			for (uint32_t k = random_below(8); k && submit_one(); k--)
				;
			work(held, &n_held);
			reap_some(random_below(4));
		}
		another_device();
	}
	while (n_open) {
		struct vh_req held[NUM];
		uint32_t n_held = 0;

		work(held, &n_held);
		another_device();
		reap_some(NUM);
	}
	for (uint32_t i = 0; i < n_reqs; i++)
		assert_int_equal(reqs[i].completed, 1);
	close_all();
}

static void every_request_completes_once_whatever_device_completes_it(void **state)
{
	const char *given = getenv("VHT_SEED");

	(void)state;
	seed = given ? strtoull(given, NULL, 0) : 20261129;
	print_message("VHT_SEED=%llu\n", (unsigned long long)seed);
	for (int round = 0; round < 10; round++) {
		rewinds = round & 1;
		a_run(0);
		a_run(VHT_IND_DESC);
		a_run(VHT_IND_DESC | VHT_EVENT_IDX);
		a_run(VHT_IND_DESC | UINT64_C(1) << VH_F_IN_ORDER);
	}
}

/* The device that is gone may have written anything. */
static void a_ring_that_can_not_be_is_left_as_it_is(void **state)
{
	uint32_t base;

	(void)state;
	open_driver(0, true);
	n_reqs = 0;
	assert_true(submit_one() && submit_one());
	if (vht_layout) {
		struct vht_pdesc *d = vht_host(&ring, ring.opts.desc);

		d->id = 9;
		d->flags = VHT_AVAIL | VHT_USED;
		assert_int_equal(vhi_queue_again(q, &base), -EPROTO);
		d->id = 40;
	} else {
		struct vht_u16s *used = vht_host(&ring, ring.opts.device);

		used->v[1] = 3; /* more than there are */
		assert_int_equal(vhi_queue_again(q, &base), -EPROTO);
		used->v[1] = 1;
		used->v[2] = 99;
		assert_int_equal(vhi_queue_again(q, &base), -EPROTO);
		used->v[1] = 2; /* the same one twice */
		used->v[2] = used->v[6] = 0;
	}
	assert_int_equal(vhi_queue_again(q, &base), -EPROTO);
	assert_int_equal(vhi_queue_in_flight(q), 2);
	close_all();
}

/* A device that did right and then wrong: what it did right is kept, and the ring is to be begun anew. */
static void what_was_completed_before_a_ring_broke_is_kept(void **state)
{
	struct vh_cpl cpls[4];
	uint32_t base;

	(void)state;
	rewinds = false;
	memset(reqs, 0, sizeof(reqs));
	open_driver(0, true);
	n_reqs = 0;
	assert_true(submit_one() && submit_one() && submit_one());
	if (vht_layout) {
		struct vht_pdesc *d = vht_host(&ring, ring.opts.desc);
		const uint32_t second = q->slots[0].n_desc;

		d[0].id = 0;
		d[0].flags = VHT_AVAIL | VHT_USED;
		d[second].id = 9;
		d[second].flags = VHT_AVAIL | VHT_USED;
	} else {
		struct vht_u16s *used = vht_host(&ring, ring.opts.device);

		used->v[1] = 2;
		used->v[2] = 0;
		used->v[6] = 99;
	}
	assert_int_equal(vhi_queue_rewind(q, &base), -EPROTO);
	assert_int_equal(vhi_queue_early(q), 1);
	assert_int_equal(vh_queue_reap(q, cpls, 4), 1);
	assert_int_equal(cpls[0].token, 0);
	assert_int_equal(vhi_queue_early(q), 0);
	/* With the ring goes what is left of it. */
	assert_int_equal(vhi_queue_rewind(q, &base), -EPROTO);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_ABORT, NULL), 0);
	assert_int_equal(vhi_queue_early(q), 0);
	assert_int_equal(vhi_queue_rewind(q, &base), -EBUSY);
	close_all();
}

static void a_packed_ring_that_keeps_nothing_has_nothing_to_write_again(void **state)
{
	uint32_t base;

	(void)state;
	open_driver(0, false);
	n_reqs = 0;
	assert_true(submit_one());
	assert_int_equal(vhi_queue_again(q, &base), vht_layout ? -EPROTO : 0);
	assert_int_equal(vhi_queue_rewind(q, &base), vht_layout ? -EPROTO : 0);
	close_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_completes_once_whatever_device_completes_it),
		cmocka_unit_test(a_ring_that_can_not_be_is_left_as_it_is),
		cmocka_unit_test(what_was_completed_before_a_ring_broke_is_kept),
		cmocka_unit_test(a_packed_ring_that_keeps_nothing_has_nothing_to_write_again),
	};

	return vht_run_layouts(tests);
}
