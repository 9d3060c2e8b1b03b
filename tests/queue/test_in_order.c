/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* VIRTIO_F_IN_ORDER: a device that pushes in any order, and a driver whose device completes whole runs at once. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_vring.h"

#include <string.h>
#include <unistd.h>

#define SITE(name) VHI_SITE_QUEUE_##name
#define IN_ORDER   (UINT64_C(1) << VH_F_IN_ORDER)
#define AT(i)	   ((i) | VHT_WRAP)

static struct vht_ring ring;
static struct vh_req reqs[8];

static int device_up(void **state)
{
	(void)state;
	vht_ring_init_fds(&ring, 8, IN_ORDER);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	return 0;
}

/* n requests of one readable and one writable buffer, popped. */
static void pop(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		vht_chain(&ring, 2 * i, 1, 1);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 8), n);
}

static int push(uint32_t i, uint32_t written)
{
	const struct vh_cpl cpl = {.token = reqs[i].token, .written = written};

	return vh_queue_push(ring.q, &cpl, 1);
}

static void what_was_pushed_early_waits_for_the_older_ones(void **state)
{
	const struct vh_cpl both[2] = {{.token = 0, .written = 0}, {.token = 0, .written = 7}};
	struct vh_cpl last[2] = {both[0], both[1]};
	struct vh_queue_stats stats = {.size = sizeof(stats)};

	(void)state;
	pop(4);
	assert_int_equal(push(2, 64), 0);
	assert_int_equal(push(1, 1000), 0);
	assert_int_equal(vht_used_idx(&ring), 0);
	assert_int_equal(vht_drain(ring.call), 0);
	last[0].token = reqs[3].token;
	last[1].token = reqs[0].token;
	assert_int_equal(vh_queue_push(ring.q, last, 2), 0);
	assert_int_equal(vht_drain(ring.call), 1);
	assert_int_equal(vht_used_idx(&ring), 4);
	for (uint32_t i = 0; i < 4; i++) {
		static const uint32_t lens[] = {7, 64, 64, 0};

		assert_int_equal(vht_used_id(&ring, i), 2 * i);
		assert_int_equal(vht_used_len(&ring, i), lens[i]);
	}
	assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
	assert_int_equal(stats.in_flight, 0);
	assert_int_equal(stats.completed, 4);
	assert_int_equal(stats.bytes_out, 7 + 64 + 64);
}

static void what_is_held_is_the_device_s_no_more(void **state)
{
	(void)state;
	pop(3);
	assert_int_equal(push(1, 5), 0);
	assert_int_equal(push(1, 5), -EINVAL);
	assert_int_equal(vh_queue_unpop(ring.q, 2), -EINVAL);
	assert_int_equal(vh_queue_unpop(ring.q, 1), 0);
	assert_int_equal(vh_queue_unpop(ring.q, 1), -EINVAL);
	assert_int_equal(vh_queue_pop(ring.q, &reqs[2], 1), 1);
	assert_int_equal(push(0, 5), 0);
	assert_int_equal(vht_used_idx(&ring), 2);
	assert_int_equal(push(2, 5), 0);
	assert_int_equal(vht_used_idx(&ring), 3);
}

static void a_queue_does_not_stop_while_something_is_held(void **state)
{
	uint32_t base;

	(void)state;
	pop(2);
	assert_int_equal(push(1, 5), 0);
	assert_int_equal(vh_queue_stop(ring.q, &base), -EINPROGRESS);
	assert_int_equal(push(0, 5), 0);
	assert_int_equal(vh_queue_stop(ring.q, &base), 0);
	assert_int_equal(base, vht_base(&ring, vht_either(2, 4)));
	assert_int_equal(vht_used_idx(&ring), 2);
}

static void a_broken_queue_ends_what_is_held(void **state)
{
	uint32_t base;

	(void)state;
	pop(3);
	assert_int_equal(push(1, 5), 0);
	assert_int_equal(vhi_queue_break(ring.q, -EPROTO, 0, "a test"), -EPROTO);
	assert_int_equal(push(2, 5), -EPROTO);
	assert_int_equal(push(0, 5), -EPROTO);
	assert_int_equal(vh_queue_stop(ring.q, &base), 0);
	assert_int_equal(base, ring.opts.base);
	assert_int_equal(vht_used_idx(&ring), 0);
}

/* A connection that ends: who has requests pushes them later, and what is held is not waited for. */
static void an_abort_forgets_what_is_held(void **state)
{
	(void)state;
	pop(3);
	assert_int_equal(push(1, 5), 0);
	assert_int_equal(vhi_queue_ctl(ring.q, VHI_CTL_ABORT, NULL), 0);
	assert_int_equal(vhi_queue_base(ring.q), ring.opts.base);
	assert_non_null(ring.q->dead[0].grave);
	assert_int_equal(ring.q->dead[0].in_flight, 2);
	assert_int_equal(push(0, 5), -ESTALE);
	assert_int_equal(push(2, 5), -ESTALE);
	assert_null(ring.q->dead[0].grave);
	assert_int_equal(vht_used_idx(&ring), 0);
}

static void data_is_logged_when_it_is_pushed_and_the_ring_when_it_is_told(void **state)
{
	uint64_t pages[8];
	struct vh_dirty *log;

	(void)state;
	assert_int_equal(vh_dirty_new(VHT_BASE + VHT_SIZE, &log), 0);
	assert_int_equal(vh_queue_set_dirty(ring.q, log, VH_QUEUE_LOG_USED, VHT_BASE), 0);
	pop(2);
	assert_int_equal(push(1, 64), 0);
	assert_int_equal(vh_dirty_take(log, 0, pages, 8), 1);
	assert_int_equal(pages[0], VHT_DATA);
	assert_int_equal(push(0, 0), 0);
	assert_int_equal(vh_dirty_take(log, 0, pages, 8), 1);
	assert_int_equal(pages[0], (vht_layout ? ring.opts.desc : VHT_BASE));
	vh_dirty_free(log);
}

/* What is held was not told to the driver, so a device that takes over does it again. */
static void what_is_held_stays_in_the_inflight_records(void **state)
{
	struct vh_inflight in = {.size = sizeof(in)};
	int fd = -1;

	(void)state;
	assert_int_equal(vh_inflight_make(1, 8, ring.opts.features, &in, &fd), 0);
	assert_int_equal(vh_queue_stop(ring.q, NULL), 0);
	assert_int_equal(vh_queue_set_inflight(ring.q, &in, fd), 0);
	assert_int_equal(vh_queue_start(ring.q), 0);
	pop(4);
	assert_int_equal(push(0, 5), 0);
	assert_int_equal(push(2, 5), 0);
	assert_int_equal(vht_used_idx(&ring), 1);
	vh_queue_free(ring.q);
	ring.opts.flags = VH_QUEUE_HOLD;
	assert_int_equal(vh_queue_open(ring.mem, &ring.opts, -1, -1, &ring.q), 0);
	assert_int_equal(vh_queue_set_inflight(ring.q, &in, fd), 0);
	assert_int_equal(vh_queue_start(ring.q), 0);
	assert_int_equal(vh_queue_pop(ring.q, &reqs[1], 7), 3);
	assert_int_equal(push(3, 5), 0);
	assert_int_equal(vht_used_idx(&ring), 1);
	assert_int_equal(push(2, 5), 0);
	assert_int_equal(push(1, 5), 0);
	assert_int_equal(vht_used_idx(&ring), 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(vht_used_id(&ring, i), 2 * i);
	close(fd);
}

/* The driver side: the test is the device. */
static struct vh_seg segs[4];
static struct vh_cpl cpls[8];
static uint32_t used; /* elements */

static void driver_open(uint32_t num, uint64_t features)
{
	vht_ring_prepare(&ring, num, features | IN_ORDER);
	ring.opts.role = VH_QUEUE_DRIVER;
	ring.call = -1;
	assert_int_equal(vht_ring_open(&ring), 0);
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(segs); i++)
		segs[i] = (struct vh_seg){.addr = (uintptr_t)vht_host(&ring, VHT_DATA + 256 * i), .len = 100};
	used = 0;
}

static int driver_up(void **state)
{
	(void)state;
	driver_open(8, 0);
	return 0;
}

/* n requests of one readable and so many writable segments. */
static void submit(uint32_t n, uint32_t n_wr)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct vh_req req = {.segs = (uintptr_t)segs, .n_rd = 1, .n_wr = n_wr, .user = 100 + i};

		assert_int_equal(vh_queue_submit(ring.q, &req, 1), 1);
	}
}

/* The i-th request that became available. */
static uint32_t id_of(uint32_t i)
{
	const uint32_t at = ring.q->drv.turn + ring.opts.num - ring.q->in_flight + i;

	return ring.q->drv.order[at % ring.opts.num] - 1u;
}

/* One used element at descriptor @at of a packed ring, or at element @used; @n requests are passed. */
static void complete(uint32_t at, uint32_t id, uint32_t len, uint32_t n)
{
	if (vht_layout) {
		ring.packed.ring[at % ring.opts.num] = (struct vht_pdesc){
			.len = len,
			.id = (uint16_t)id,
			.flags = (uint16_t)(at < ring.opts.num ? VHT_AVAIL | VHT_USED | VHT_WRITE : VHT_WRITE)};
		return;
	}
	vht_set_used(&ring, used, id, len);
	used += n;
	ring.used->v[1] = (uint16_t)used;
}

static void one_element_completes_a_run(void **state)
{
	(void)state;
	submit(4, 1);
	complete(0, id_of(2), 17, 3);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(cpls[i].token, 100 + i);
		assert_int_equal(cpls[i].written, i < 2 ? 100 : 17);
	}
	complete(6, id_of(0), 3, 1);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 1);
	assert_int_equal(cpls[0].token, 103);
	assert_int_equal(cpls[0].written, 3);
	/* Once round. */
	submit(4, 1);
	complete(8, id_of(3), 4, 4);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 4);
	assert_int_equal(cpls[3].written, 4);
}

static void a_run_is_reaped_in_pieces(void **state)
{
	uint32_t base;

	(void)state;
	submit(4, 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	complete(0, id_of(2), 0, 3);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_MORE);
	assert_int_equal(vhi_queue_progress(ring.q, &base), 1);
	assert_int_equal(base, vht_base(&ring, 3));
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_MORE);
		assert_int_equal(vh_queue_reap(ring.q, cpls, 1), 1);
		assert_int_equal(cpls[0].token, 100 + i);
	}
	assert_int_equal(vh_queue_reap(ring.q, cpls, 1), 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
}

static void expect_break(uint32_t site)
{
	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), -EPROTO);
	assert_int_equal(vht_ring_site(), site);
	assert_int_equal(vh_queue_state(ring.q), VH_QUEUE_BROKEN);
}

static void an_element_that_names_no_end_of_a_run_breaks_the_queue(void **state)
{
	static const uint32_t nowhere[] = {7, 8, 65535};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(nowhere); i++) {
		vht_ring_free(&ring);
		driver_open(8, 0);
		submit(3, 1);
		complete(0, nowhere[i], 0, 3);
		expect_break(SITE(ORDER_ID));
	}
	/* Completed before. */
	vht_ring_free(&ring);
	driver_open(8, 0);
	submit(3, 1);
	complete(0, id_of(0), 0, 1);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 1);
	submit(1, 0);
	complete(2, id_of(2), 0, 3);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 3);
	complete(5, 0, 0, 0);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 0);
}

/* The index of a split ring says less than the element. */
static void a_run_ends_within_the_used_index(void **state)
{
	(void)state;
	submit(3, 1);
	if (vht_layout)
		return;
	complete(0, id_of(2), 0, 2);
	expect_break(SITE(ORDER_ID));
}

static void a_used_index_beyond_what_was_submitted_breaks_the_queue(void **state)
{
	(void)state;
	submit(3, 1);
	if (vht_layout)
		return;
	complete(0, id_of(2), 0, 4);
	expect_break(SITE(ORDER_JUMP));
}

static void a_length_beyond_the_buffers_breaks_the_queue(void **state)
{
	(void)state;
	submit(2, 1);
	complete(0, id_of(1), 101, 2);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 1);
	expect_break(SITE(USED_LEN));
}

/* Virtio 1.2 section 2.7.5.1: each descriptor is followed by the next one of the table, and the last by the first. */
static void descriptors_of_a_split_ring_go_round(void **state)
{
	(void)state;
	if (vht_layout)
		return;
	for (uint32_t i = 0, at = 0; i < 20; i++) {
		const struct vh_req bad = {.segs = (uintptr_t)(struct vh_seg[2]){segs[0], {.addr = 1, .len = 1}},
					   .n_rd = 2};

		assert_int_equal(vh_queue_submit(ring.q, &bad, 1), -EFAULT);
		submit(1, 2);
		assert_int_equal(ring.avail->v[2 + i % 8], at);
		for (uint32_t k = 0; k < 3; k++, at = (at + 1) % 8)
			assert_int_equal(ring.desc[at].next, k < 2 ? (at + 1) % 8 : 0);
		complete(0, ring.avail->v[2 + i % 8], 0, 1);
		assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define DEVICE(name) cmocka_unit_test_setup_teardown(name, device_up, teardown)
#define DRIVER(name) cmocka_unit_test_setup_teardown(name, driver_up, teardown)
		DEVICE(what_was_pushed_early_waits_for_the_older_ones),
		DEVICE(what_is_held_is_the_device_s_no_more),
		DEVICE(a_queue_does_not_stop_while_something_is_held),
		DEVICE(a_broken_queue_ends_what_is_held),
		DEVICE(an_abort_forgets_what_is_held),
		DEVICE(data_is_logged_when_it_is_pushed_and_the_ring_when_it_is_told),
		DEVICE(what_is_held_stays_in_the_inflight_records),
		DRIVER(one_element_completes_a_run),
		DRIVER(a_run_is_reaped_in_pieces),
		DRIVER(an_element_that_names_no_end_of_a_run_breaks_the_queue),
		DRIVER(a_run_ends_within_the_used_index),
		DRIVER(a_used_index_beyond_what_was_submitted_breaks_the_queue),
		DRIVER(a_length_beyond_the_buffers_breaks_the_queue),
		DRIVER(descriptors_of_a_split_ring_go_round),
	};

	return vht_run_layouts(tests);
}
