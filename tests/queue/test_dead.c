/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Requests that are in flight when their connection ends: who has them may look at them until they are pushed. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_vring.h"

#include <string.h>

static struct vht_ring ring;
static struct vh_queue *q;
static struct vhi_ring geometry;
static uint32_t wakes;

static void on_wake(void *ctx)
{
	(void)ctx;
	wakes++;
}

static int start(void)
{
	struct vh_snapshot *snap = vhi_mem_snapshot(ring.mem);
	int rc = vhi_queue_start(q, &geometry, snap);

	vhi_snapshot_put(snap);
	return rc;
}

/* The ring as its driver would make it anew. */
static void restart(void)
{
	vht_ring_reset(&ring);
	assert_int_equal(start(), 0);
}

static int setup(void **state)
{
	const struct vhi_queue_hooks hooks = {.wake = on_wake};

	(void)state;
	vht_ring_init(&ring, 64, 0);
	vh_queue_free(ring.q);
	assert_int_equal(vhi_queue_new(0, VH_QUEUE_DEVICE, &hooks, &q), 0);
	ring.q = q;
	geometry = vht_geometry(&ring);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_ENABLE, NULL), 0);
	restart();
	wakes = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vhi_queue_destroy(q);
	ring.q = NULL;
	vht_ring_free(&ring);
	return 0;
}

static void pop(struct vh_req *reqs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		vht_chain(&ring, 2 * i, 1, 1);
	assert_int_equal(vh_queue_pop(q, reqs, n), n);
}

static int push(const struct vh_req *req)
{
	const struct vh_cpl cpl = {.token = req->token, .written = 1};

	return vh_queue_push(q, &cpl, 1);
}

static void abort_run(void)
{
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_ABORT, NULL), 0);
	assert_int_equal(vhi_queue_in_flight(q), 0);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_STOPPED);
}

/* A run that ends with n requests in flight. */
static void dead_run(struct vh_req *reqs, uint32_t n)
{
	pop(reqs, n);
	abort_run();
}

static uint32_t dead_runs(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < VHI_DEAD_RUNS; i++)
		n += q->dead[i].grave != NULL;
	return n;
}

static void segments_and_memory_stay_until_the_last_token_came_back(void **state)
{
	struct vh_snapshot *snap = vhi_mem_snapshot(ring.mem);
	struct vh_req reqs[3];
	struct vh_seg seg;

	(void)state;
	memcpy(vht_host(&ring, VHT_DATA), "hello", 6);
	pop(reqs, 3);
	abort_run();
	vhi_mem_clear(ring.mem);
	assert_int_equal(snap->refs, 2);
	for (uint32_t i = 0; i < 3; i++) {
		seg = *(const struct vh_seg *)(uintptr_t)reqs[i].segs;
		assert_int_equal(seg.len, 64);
		assert_int_equal(*(const char *)(uintptr_t)seg.addr, i ? 0 : 'h');
		assert_int_equal(dead_runs(), 1);
		assert_int_equal(push(&reqs[i]), -ESTALE);
	}
	assert_int_equal(dead_runs(), 0);
	assert_int_equal(snap->refs, 1);
	vhi_snapshot_put(snap);
}

static void nothing_is_written_to_the_ring_that_follows(void **state)
{
	struct vh_req dead[2], live;

	(void)state;
	dead_run(dead, 2);
	restart();
	pop(&live, 1);
	assert_int_equal(push(&dead[0]), -ESTALE);
	assert_int_equal(push(&dead[1]), -ESTALE);
	assert_int_equal(vht_used_idx(&ring), 0);
	assert_int_equal(vhi_queue_in_flight(q), 1);
	assert_int_equal(push(&live), 0);
	assert_int_equal(vht_used_idx(&ring), 1);
}

static void a_stale_token_counts_once(void **state)
{
	struct vh_req reqs[2];

	(void)state;
	dead_run(reqs, 2);
	assert_int_equal(push(&reqs[0]), -ESTALE);
	assert_int_equal(push(&reqs[0]), -ESTALE);
	reqs[0].token |= 63; /* a slot of that run that was not in flight */
	assert_int_equal(push(&reqs[0]), -ESTALE);
	reqs[0].token |= UINT32_MAX;
	assert_int_equal(push(&reqs[0]), -ESTALE);
	assert_int_equal(dead_runs(), 1);
	assert_int_equal(push(&reqs[1]), -ESTALE);
	assert_int_equal(dead_runs(), 0);
}

static void a_run_without_requests_in_flight_leaves_nothing(void **state)
{
	struct vh_req req;

	(void)state;
	pop(&req, 1);
	assert_int_equal(push(&req), 0);
	abort_run();
	assert_int_equal(dead_runs(), 0);
}

static void a_broken_run_leaves_its_requests_as_well(void **state)
{
	struct vh_req req;

	(void)state;
	pop(&req, 1);
	vht_offer(&ring, 64);
	vht_expect_break(&ring, -EPROTO, vht_either(VHI_SITE_QUEUE_HEAD, VHI_SITE_QUEUE_ID));
	abort_run();
	assert_int_equal(((const struct vh_seg *)(uintptr_t)req.segs)->len, 64);
	assert_int_equal(push(&req), -ESTALE);
	assert_int_equal(dead_runs(), 0);
}

static void an_abort_waits_for_the_call_in_progress(void **state)
{
	struct vh_req req;

	(void)state;
	pop(&req, 1);
	assert_int_equal(vhi_queue_enter(q), 0);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_ABORT, NULL), -EINPROGRESS);
	assert_int_equal(dead_runs(), 0);
	vhi_queue_leave(q);
	assert_int_equal(dead_runs(), 1);
	assert_int_equal(push(&req), -ESTALE);
	assert_int_equal(dead_runs(), 0);
}

static void a_start_has_to_wait_when_too_many_runs_did_not_drain(void **state)
{
	struct vh_error e = {.size = sizeof(e)};
	struct vh_req reqs[VHI_DEAD_RUNS][2], req;

	(void)state;
	for (uint32_t i = 0; i < VHI_DEAD_RUNS; i++) {
		dead_run(reqs[i], 2);
		if (i + 1 < VHI_DEAD_RUNS)
			restart();
	}
	assert_int_equal(start(), -EBUSY);
	vh_error_get(&e);
	assert_non_null(strstr(e.text, "were not pushed"));
	assert_int_equal(push(&reqs[2][0]), -ESTALE);
	assert_int_equal(start(), -EBUSY);
	assert_int_equal(wakes, 0);
	assert_int_equal(push(&reqs[2][1]), -ESTALE);
	assert_int_equal(wakes, 1);
	restart();
	pop(&req, 1);
	assert_int_equal(push(&req), 0);
	dead_run(reqs[2], 1); /* the last one that there is room for */
	assert_int_equal(dead_runs(), VHI_DEAD_RUNS);
}

static void unpop_gives_back_the_newest_of_the_run_that_died_last(void **state)
{
	struct vh_req reqs[3], older;

	(void)state;
	dead_run(&older, 1);
	restart();
	dead_run(reqs, 3);
	restart();
	assert_int_equal(push(&reqs[0]), -ESTALE);
	assert_int_equal(vh_queue_unpop(q, 3), -EINVAL); /* one of them came back already */
	assert_int_equal(dead_runs(), 2);
	assert_int_equal(vh_queue_unpop(q, 1), -ESTALE);
	assert_int_equal(vh_queue_unpop(q, 2), -EINVAL);
	assert_int_equal(push(&reqs[2]), -ESTALE); /* that was the newest: it changes nothing */
	assert_int_equal(dead_runs(), 2);
	assert_int_equal(push(&reqs[1]), -ESTALE);
	assert_int_equal(dead_runs(), 1);
	assert_int_equal(vh_queue_unpop(q, 1), -ESTALE);
	assert_int_equal(dead_runs(), 0);
	assert_int_equal(vh_queue_unpop(q, 1), -EINVAL);
}

static void unpop_of_live_requests_leaves_dead_ones(void **state)
{
	struct vh_req dead[2], live[2];

	(void)state;
	dead_run(dead, 2);
	restart();
	pop(live, 2);
	assert_int_equal(vh_queue_unpop(q, 2), 0);
	assert_int_equal(dead_runs(), 1);
	assert_int_equal(vh_queue_unpop(q, 2), -ESTALE);
	assert_int_equal(dead_runs(), 0);
}

static void a_batch_of_stale_and_live_tokens_publishes_the_live_ones(void **state)
{
	struct vh_req dead[3], live[3];
	struct vh_cpl cpls[6];

	(void)state;
	dead_run(dead, 3);
	restart();
	pop(live, 3);
	for (uint32_t i = 0; i < 6; i++)
		cpls[i] = (struct vh_cpl){.token = (i % 2 ? live : dead)[i / 2].token, .written = i};
	assert_int_equal(vh_queue_push(q, cpls, 6), -ESTALE);
	assert_int_equal(vht_used_idx(&ring), 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(vht_used_id(&ring, i), 2 * i);
		assert_int_equal(vht_used_len(&ring, i), 2 * i + 1);
	}
	assert_int_equal(vhi_queue_in_flight(q), 0);
	assert_int_equal(dead_runs(), 0);
}

static void a_batch_with_a_wrong_token_changes_nothing(void **state)
{
	struct vh_req dead, live;
	struct vh_cpl cpls[3];

	(void)state;
	dead_run(&dead, 1);
	restart();
	pop(&live, 1);
	cpls[0] = (struct vh_cpl){.token = dead.token};
	cpls[1] = cpls[2] = (struct vh_cpl){.token = live.token};
	assert_int_equal(vh_queue_push(q, cpls, 3), -EINVAL);
	cpls[0].flags = 1;
	assert_int_equal(vh_queue_push(q, cpls, 2), -EINVAL);
	assert_int_equal(vht_used_idx(&ring), 0);
	assert_int_equal(dead_runs(), 1);
	cpls[0].flags = 0;
	assert_int_equal(vh_queue_push(q, cpls, 2), -ESTALE);
	assert_int_equal(vht_used_idx(&ring), 1);
	assert_int_equal(dead_runs(), 0);
}

static void a_batch_on_a_broken_queue_says_that_it_is_broken(void **state)
{
	struct vh_req dead, live;
	struct vh_cpl cpls[2];

	(void)state;
	dead_run(&dead, 1);
	restart();
	pop(&live, 1);
	vht_offer(&ring, 64);
	vht_expect_break(&ring, -EPROTO, vht_either(VHI_SITE_QUEUE_HEAD, VHI_SITE_QUEUE_ID));
	cpls[0] = (struct vh_cpl){.token = live.token};
	cpls[1] = (struct vh_cpl){.token = dead.token};
	assert_int_equal(vh_queue_push(q, cpls, 2), -EPROTO);
	assert_int_equal(vhi_queue_in_flight(q), 0);
	assert_int_equal(dead_runs(), 0);
}

static void who_forgets_its_requests_need_not_push_them(void **state)
{
	struct vh_req reqs[2], live;

	(void)state;
	dead_run(reqs, 2);
	restart();
	dead_run(reqs, 1);
	restart();
	pop(&live, 1);
	assert_int_equal(dead_runs(), 2);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_FORGET, NULL), 0);
	assert_int_equal(dead_runs(), 0);
	assert_int_equal(push(&reqs[0]), -ESTALE);
	assert_int_equal(push(&live), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(segments_and_memory_stay_until_the_last_token_came_back),
		T(nothing_is_written_to_the_ring_that_follows),
		T(a_stale_token_counts_once),
		T(a_run_without_requests_in_flight_leaves_nothing),
		T(a_broken_run_leaves_its_requests_as_well),
		T(an_abort_waits_for_the_call_in_progress),
		T(a_start_has_to_wait_when_too_many_runs_did_not_drain),
		T(unpop_gives_back_the_newest_of_the_run_that_died_last),
		T(unpop_of_live_requests_leaves_dead_ones),
		T(a_batch_of_stale_and_live_tokens_publishes_the_live_ones),
		T(a_batch_with_a_wrong_token_changes_nothing),
		T(a_batch_on_a_broken_queue_says_that_it_is_broken),
		T(who_forgets_its_requests_need_not_push_them),
	};

	return vht_run_layouts(tests);
}
