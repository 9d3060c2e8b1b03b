/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Changes from another thread than the one that pops and pushes, memory that changes, memory that goes away. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_vring.h"

#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SITE(name) VHI_SITE_QUEUE_##name

static struct vht_ring ring;
static struct vh_queue *q; /* owned, with a hook */
static uint32_t wakes;	   /* atomic */
static struct vhi_ring geometry;

static void on_wake(void *ctx)
{
	assert_ptr_equal(ctx, &wakes);
	__atomic_add_fetch(&wakes, 1, __ATOMIC_SEQ_CST);
}

static uint32_t take_wakes(void)
{
	return __atomic_exchange_n(&wakes, 0, __ATOMIC_SEQ_CST);
}

static int start(void)
{
	struct vh_snapshot *snap = vhi_mem_snapshot(ring.mem);
	int rc = vhi_queue_start(q, &geometry, snap);

	vhi_snapshot_put(snap);
	return rc;
}

/* ring.q is replaced by an owned queue. */
static int setup(void **state)
{
	const struct vhi_queue_hooks hooks = {.ctx = &wakes, .wake = on_wake};

	(void)state;
	vht_ring_init(&ring, 8, VHT_IND_DESC);
	vh_queue_free(ring.q);
	assert_int_equal(vhi_queue_new(3, VH_QUEUE_DEVICE, &hooks, &q), 0);
	ring.q = q;
	geometry = vht_geometry(&ring);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_ENABLE, NULL), 0);
	assert_int_equal(start(), 0);
	take_wakes();
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

static vh_count pop_n(struct vh_req *reqs, uint32_t n)
{
	return vh_queue_pop(q, reqs, n);
}

static void an_owned_queue_can_not_be_stopped_or_freed_by_its_user(void **state)
{
	(void)state;
	assert_int_equal(vh_queue_stop(q, NULL), -EPERM);
	vh_queue_free(q);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_RUNNING);
}

static void a_ring_is_as_long_as_its_features_say(void **state)
{
	static const struct {
		uint32_t num;
		uint64_t features, len[VHI_RING_AREAS];
	} rings[] = {
		{1, 0, {16, 6, 12}},
		{1, VHT_EVENT_IDX, {16, 8, 14}},
		{256, VHT_IND_DESC, {4096, 516, 2052}},
		{32768, VHT_EVENT_IDX | VHT_IND_DESC, {524288, 65542, 262150}},
	};
	static const uint32_t align[] = {16, 2, 4};
	static const uint64_t packed = UINT64_C(1) << VH_F_RING_PACKED;
	struct vhi_ring_area area[VHI_RING_AREAS];

	(void)state;
	for (size_t k = 0; k < VHI_ARRAY_SIZE(rings); k++) {
		vhi_ring_areas(rings[k].num, rings[k].features, area);
		for (uint32_t i = 0; i < VHI_RING_AREAS; i++) {
			assert_int_equal(area[i].len, rings[k].len[i]);
			assert_int_equal(area[i].align, align[i]);
		}
	}
	vhi_ring_areas(5, packed | VHT_EVENT_IDX, area);
	assert_int_equal(area[VHI_RING_DESC].len, 80);
	assert_int_equal(area[VHI_RING_DRIVER].len, 4);
	assert_int_equal(area[VHI_RING_DEVICE].len, 4);
}

/* The last byte of memory is the last byte of a ring; with an event index it is two bytes longer. */
static void a_ring_may_end_where_memory_ends(void **state)
{
	(void)state;
	for (uint32_t event = 0; event < 2; event++) {
		assert_int_equal(vhi_queue_ctl(q, VHI_CTL_ABORT, NULL), 0);
		geometry.features = event ? VHT_EVENT_IDX : 0;
		geometry.device.v = VHT_BASE + VHT_SIZE - (4 + 8 * 8);
		assert_int_equal(start(), event ? -EFAULT : 0);
	}
}

static void paused_and_disabled_queues_pop_nothing(void **state)
{
	static const enum vhi_queue_ctl_kind off[] = {VHI_CTL_PAUSE, VHI_CTL_DISABLE};
	static const enum vhi_queue_ctl_kind on[] = {VHI_CTL_RESUME, VHI_CTL_ENABLE};
	struct vh_req req;

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		vht_chain(&ring, i, 1, 0);
		assert_int_equal(vhi_queue_ctl(q, off[i], NULL), 0);
		assert_int_equal(vhi_queue_enabled(q), i == 0);
		assert_int_equal(pop_n(&req, 1), 0);
		assert_int_equal(vh_queue_arm(q), VH_QUEUE_SLEEP);
		assert_int_equal(vhi_queue_ctl(q, on[i], NULL), 0);
		assert_true(vhi_queue_enabled(q));
		assert_int_equal(vh_queue_arm(q), VH_QUEUE_MORE);
		assert_int_equal(pop_n(&req, 1), 1);
	}
}

static void enabling_before_starting_counts(void **state)
{
	struct vh_req req;

	(void)state;
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_DRAIN, NULL), 0);
	assert_int_equal(vhi_queue_finish_stop(q, NULL), 0);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_DISABLE, NULL), 0);
	assert_int_equal(start(), 0);
	vht_chain(&ring, 0, 1, 0);
	assert_int_equal(pop_n(&req, 1), 0);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_ENABLE, NULL), 0);
	assert_int_equal(pop_n(&req, 1), 1);
}

static void a_sleeper_is_woken_by_a_control_change(void **state)
{
	int fd = vh_queue_fd(q);

	(void)state;
	vhi_queue_ctl(q, VHI_CTL_PAUSE, NULL);
	assert_int_equal(vh_queue_arm(q), VH_QUEUE_SLEEP);
	assert_false(vht_readable(fd));
	vhi_queue_ctl(q, VHI_CTL_RESUME, NULL);
	assert_true(vht_readable(fd));
}

static void a_drain_is_over_when_the_last_request_is_pushed(void **state)
{
	struct vh_req reqs[2];
	uint32_t base = 55;

	(void)state;
	vht_chain(&ring, 0, 1, 0);
	vht_chain(&ring, 1, 1, 0);
	vht_chain(&ring, 2, 1, 0);
	assert_int_equal(pop_n(reqs, 2), 2);
	assert_int_equal(vhi_queue_finish_stop(q, &base), -EBUSY);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_DRAIN, NULL), 0);
	assert_true(vhi_queue_settled(q));
	assert_int_equal(vh_queue_state(q), VH_QUEUE_DRAINING);
	assert_int_equal(pop_n(&reqs[1], 1), 0);
	vht_push1(&ring, &reqs[1], 0);
	assert_int_equal(take_wakes(), 0);
	assert_int_equal(vhi_queue_finish_stop(q, &base), -EBUSY);
	assert_int_equal(base, 55);
	vht_push1(&ring, &reqs[0], 0);
	assert_int_equal(take_wakes(), 1);
	assert_int_equal(vhi_queue_in_flight(q), 0);
	assert_int_equal(vhi_queue_finish_stop(q, &base), 0);
	assert_int_equal(base, vht_base(&ring, 2));
	assert_int_equal(vhi_queue_base(q), vht_base(&ring, 2));
	/* Once more is the same; and it goes on where it stopped. */
	assert_int_equal(vhi_queue_finish_stop(q, &base), 0);
	assert_int_equal(base, vht_base(&ring, 2));
	vhi_queue_set_base(q, 7);
	assert_int_equal(vhi_queue_base(q), 7);
	geometry.base = vht_base(&ring, 2);
	assert_int_equal(start(), 0);
	assert_int_equal(start(), -EBUSY);
	assert_int_equal(pop_n(reqs, 2), 1);
	assert_int_equal((uint32_t)reqs[0].token, 2);
	assert_int_equal(reqs[0].seq, 0);
}

static void a_pause_is_over_when_the_last_request_is_pushed(void **state)
{
	struct vh_req req;

	(void)state;
	vht_chain(&ring, 0, 1, 0);
	assert_int_equal(pop_n(&req, 1), 1);
	vhi_queue_ctl(q, VHI_CTL_PAUSE, NULL);
	vht_push1(&ring, &req, 0);
	assert_int_equal(take_wakes(), 1);
	vhi_queue_ctl(q, VHI_CTL_RESUME, NULL);
	vht_chain(&ring, 0, 1, 0);
	assert_int_equal(pop_n(&req, 1), 1);
	vht_push1(&ring, &req, 0);
	assert_int_equal(take_wakes(), 0);
}

static void breaking_wakes_and_keeps_the_first_reason(void **state)
{
	struct vhi_failure f;
	struct vh_req req;
	struct vh_cpl cpl = {0};
	uint32_t base;

	(void)state;
	vht_chain(&ring, 0, 1, 0);
	assert_int_equal(pop_n(&req, 1), 1);
	cpl.token = req.token;
	assert_false(vhi_queue_failure(q, &f));
	assert_int_equal(vhi_queue_break(q, -EIO, 999, "the disk is gone"), -EIO);
	assert_int_equal(take_wakes(), 1);
	vhi_queue_break(q, -EPROTO, 998, "something else");
	assert_int_equal(take_wakes(), 0);
	assert_true(vhi_queue_failure(q, &f));
	assert_int_equal(f.code, -EIO);
	assert_int_equal(f.site, 999);
	assert_int_equal(f.queue, 3);
	assert_non_null(strstr(f.text, "the disk is gone"));
	assert_int_equal(pop_n(&req, 1), -EIO);
	assert_int_equal(vh_queue_push(q, &cpl, 1), -EIO);
	assert_int_equal(take_wakes(), 1);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_DRAIN, NULL), 0);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_BROKEN);
	assert_int_equal(vhi_queue_finish_stop(q, &base), 0);
	assert_int_equal(base, vht_base(&ring, 0)); /* the driver has not got it back */
	assert_false(vhi_queue_failure(q, &f));
	/* Nothing to break while it is stopped; a new start begins unbroken. */
	vhi_queue_break(q, -EIO, 999, "late");
	assert_int_equal(start(), 0);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_RUNNING);
}

static void a_failed_start_leaves_the_queue_stopped(void **state)
{
	(void)state;
	vhi_queue_ctl(q, VHI_CTL_ABORT, NULL);
	geometry.desc.v = 0;
	assert_int_equal(start(), -EFAULT);
	assert_int_equal(vht_ring_site(), SITE(AREA));
	assert_int_equal(vh_queue_state(q), VH_QUEUE_STOPPED);
	geometry.desc.v = ring.opts.desc;
	assert_int_equal(start(), 0);
}

static int set_snapshot(void)
{
	struct vh_snapshot *snap = vhi_mem_snapshot(ring.mem);
	int rc = vhi_queue_ctl(q, VHI_CTL_SNAPSHOT, snap);

	vhi_snapshot_put(snap);
	return rc;
}

#define EXTRA (VHT_BASE + VHT_SIZE + 0x100000)

static void case_66_new_memory_is_used_and_old_memory_must_be_drained_first(void **state)
{
	struct vh_region regions[4];
	struct vh_req a, b;

	(void)state;
	vht_chain(&ring, 0, 1, 0);
	assert_int_equal(pop_n(&a, 1), 1);
	/* More memory is fine at any time. */
	assert_int_equal(vh_mem_alloc(ring.mem, EXTRA, 0x10000, 0), 0);
	assert_int_equal(set_snapshot(), 0);
	vht_put(&ring, 1, EXTRA, 100, VHT_WRITE, 0);
	vht_offer(&ring, 1);
	assert_int_equal(pop_n(&b, 1), 1);
	assert_int_not_equal(a.mem, b.mem);
	assert_int_equal(((struct vh_seg *)(uintptr_t)b.segs)[0].addr, (uintptr_t)vht_host(&ring, EXTRA));
	vht_push1(&ring, &a, 0);
	/* Less is not, while something is in flight. */
	assert_int_equal(vh_mem_regions(ring.mem, regions, 4), 2);
	assert_int_equal(vh_mem_remove(ring.mem, &regions[1]), 0);
	assert_int_equal(set_snapshot(), -EBUSY);
	memset((void *)(uintptr_t)((struct vh_seg *)(uintptr_t)b.segs)[0].addr, 0, 100);
	vht_push1(&ring, &b, 100);
	assert_int_equal(set_snapshot(), 0);
	vht_offer(&ring, 1);
	assert_int_equal(pop_n(&b, 1), -EFAULT);
	assert_int_equal(vht_ring_site(), SITE(FAULT));
}

static void case_67_a_table_without_the_ring_breaks_the_queue(void **state)
{
	struct vh_region region;
	struct vh_req req;

	(void)state;
	assert_int_equal(vh_mem_regions(ring.mem, &region, 1), 1);
	assert_int_equal(vh_mem_remove(ring.mem, &region), 0);
	assert_int_equal(set_snapshot(), 0);
	assert_int_equal(take_wakes(), 1);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_BROKEN);
	assert_int_equal(pop_n(&req, 1), -EFAULT);
	assert_int_equal(vht_ring_site(), SITE(AREA_GONE));
}

static void a_ring_that_moved_is_found_again(void **state)
{
	struct vh_region region;
	int fd = memfd_create("guest", MFD_CLOEXEC);
	struct vh_req req;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)VHT_SIZE), 0);
	assert_int_equal(vh_mem_regions(ring.mem, &region, 1), 1);
	assert_int_equal(vh_mem_remove(ring.mem, &region), 0);
	region.offset = 0;
	assert_int_equal(vh_mem_add_fd(ring.mem, fd, &region), 0);
	assert_int_equal(set_snapshot(), 0);
	/* The same addresses, other memory: one request in the new ring. */
	vht_ring_look(&ring);
	vht_put(&ring, 0, VHT_DATA, 10, 0, 0);
	vht_offer(&ring, 0);
	assert_int_equal(pop_n(&req, 1), 1);
	assert_int_equal(req.rd_len, 10);
	vht_push1(&ring, &req, 0);
	assert_int_equal(vht_used_idx(&ring), 1);
	close(fd);
}

/* A queue over memory that the test can cut off, with the guard on. */
static int truncatable(void)
{
	const struct vh_region region = {.gpa = VHT_BASE, .uva = 0x1000, .len = VHT_SIZE};
	struct vh_region old;
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_int_equal(vh_mem_guard_install(), 0);
	assert_int_equal(ftruncate(fd, (off_t)VHT_SIZE), 0);
	vhi_queue_ctl(q, VHI_CTL_ABORT, NULL);
	assert_int_equal(vh_mem_regions(ring.mem, &old, 1), 1);
	assert_int_equal(vh_mem_remove(ring.mem, &old), 0);
	assert_int_equal(vh_mem_add_fd(ring.mem, fd, &region), 0);
	vht_ring_look(&ring);
	assert_int_equal(start(), 0);
	take_wakes();
	return fd;
}

static void case_85_pop_after_truncation_breaks(void **state)
{
	struct vh_req req;
	int fd = truncatable();

	(void)state;
	vht_chain(&ring, 0, 1, 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pop_n(&req, 1), -EFAULT);
	assert_int_equal(vht_ring_site(), SITE(POISONED));
	assert_int_equal(vhi_queue_in_flight(q), 0);
	assert_int_equal(take_wakes(), 1);
	close(fd);
	vh_mem_guard_remove();
}

static void case_88_requests_read_from_a_ring_page_that_is_gone_are_not_returned(void **state)
{
	struct vh_req req;
	int fd = truncatable();

	(void)state;
	vht_chain(&ring, 0, 1, 0);
	/* The available ring is behind the descriptors: cut between them and put the index into the part that stays. */
	vhi_queue_ctl(q, VHI_CTL_ABORT, NULL);
	geometry.driver.v = VHT_BASE;
	geometry.desc.v = VHT_BASE + 0x80000;
	((struct vht_u16s *)vht_host(&ring, VHT_BASE))->v[1] = 1;
	((struct vht_u16s *)vht_host(&ring, VHT_BASE))->v[2] = 0;
	assert_int_equal(start(), 0);
	take_wakes();
	assert_int_equal(ftruncate(fd, 0x1000), 0);
	assert_int_equal(pop_n(&req, 1), -EFAULT);
	assert_int_equal(vht_ring_site(), SITE(POISONED));
	assert_int_equal(vhi_queue_in_flight(q), 0);
	close(fd);
	vh_mem_guard_remove();
}

static void case_86_push_publishes_nothing_after_truncation(void **state)
{
	uint32_t base = 99;
	struct vh_req req;
	struct vh_cpl cpl = {0};
	int fd = truncatable();

	(void)state;
	vht_chain(&ring, 0, 0, 1);
	assert_int_equal(pop_n(&req, 1), 1);
	cpl.token = req.token;
	/* Data is cut off, the ring is not. */
	assert_int_equal(ftruncate(fd, VHT_DATA - VHT_BASE), 0);
	*(volatile char *)(uintptr_t)((struct vh_seg *)(uintptr_t)req.segs)[0].addr = 1;
	assert_int_equal(vh_queue_push(q, &cpl, 1), -EFAULT);
	assert_int_equal(vht_ring_site(), SITE(POISONED));
	assert_int_equal(vht_used_idx(&ring), 0);
	assert_int_equal(vhi_queue_in_flight(q), 0);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_BROKEN);
	/* It was taken, but the driver has not got it back. */
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_DRAIN, NULL), 0);
	assert_int_equal(vhi_queue_finish_stop(q, &base), 0);
	assert_int_equal(base, vht_base(&ring, 0));
	close(fd);
	vh_mem_guard_remove();
}

static void arming_a_ring_that_is_gone_breaks(void **state)
{
	int fd = truncatable();

	(void)state;
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(vh_queue_arm(q), -EFAULT);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_BROKEN);
	close(fd);
	vh_mem_guard_remove();
}

/* A call in progress, as seen by others: the gate is held. */
static void a_second_thread_is_refused_and_control_waits_for_the_first(void **state)
{
	struct vh_req req;
	struct vh_cpl cpl = {0};
	int next = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	vht_chain(&ring, 0, 1, 0);
	assert_int_equal(vhi_queue_enter(q), 0);
	assert_int_equal(pop_n(&req, 1), -EBUSY);
	assert_int_equal(vh_queue_push(q, &cpl, 1), -EBUSY);
	assert_int_equal(vh_queue_unpop(q, 1), -EBUSY);
	assert_int_equal(vh_queue_arm(q), -EBUSY);
	assert_int_equal(vh_queue_look(q), -EBUSY);
	assert_int_equal(vh_queue_disarm(q), -EBUSY);
	assert_int_equal(vhi_queue_finish_stop(q, NULL), -EBUSY);
	assert_int_equal(start(), -EBUSY); /* it runs */
	assert_false(vhi_queue_ack(q));

	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_DISABLE, NULL), -EINPROGRESS);
	assert_false(vhi_queue_settled(q));
	assert_false(q->flags & VHI_QF_SHUT);
	assert_false(vhi_queue_enabled(q));
	assert_int_equal(vhi_queue_set_fd(q, VHI_QUEUE_CALL, dup(next)), 0);
	assert_int_equal(vhi_queue_set_fd(q, VHI_QUEUE_CALL, dup(next)), 0);
	assert_int_equal(q->fds[VHI_QUEUE_CALL], -1);
	assert_true(vhi_queue_get_fd(q, VHI_QUEUE_CALL) >= 0);
	assert_int_equal(set_snapshot(), -EINPROGRESS);
	assert_int_equal(vht_drain(next), 0);
	assert_int_equal(take_wakes(), 0);
	vhi_queue_leave(q);

	assert_int_equal(take_wakes(), 1);
	assert_true(vhi_queue_settled(q));
	assert_int_equal(vht_drain(next), 1);
	assert_int_equal(pop_n(&req, 1), 0);
	/* Later changes win over earlier ones. */
	assert_int_equal(vhi_queue_enter(q), 0);
	vhi_queue_ctl(q, VHI_CTL_ENABLE, NULL);
	vhi_queue_ctl(q, VHI_CTL_DISABLE, NULL);
	vhi_queue_ctl(q, VHI_CTL_PAUSE, NULL);
	vhi_queue_ctl(q, VHI_CTL_ENABLE, NULL);
	vhi_queue_ctl(q, VHI_CTL_RESUME, NULL);
	vhi_queue_leave(q);
	assert_int_equal(pop_n(&req, 1), 1);
	/* Break and abort. */
	assert_int_equal(vhi_queue_enter(q), 0);
	assert_int_equal(vhi_queue_break(q, -EIO, 999, "x"), -EIO);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_RUNNING);
	vhi_queue_leave(q);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_BROKEN);
	assert_int_equal(vhi_queue_enter(q), 0);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_ABORT, NULL), -EINPROGRESS);
	vhi_queue_leave(q);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_STOPPED);
	close(next);
}

static void a_pending_change_is_dropped_with_the_queue(void **state)
{
	int next = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	assert_int_equal(vhi_queue_enter(q), 0);
	assert_true(vh_queue_fd(q) >= 0);
	vhi_queue_set_fd(q, VHI_QUEUE_KICK, next);
	set_snapshot();
	/* teardown destroys it; the sanitizer and the fd count of other tests would tell. */
}

static uint32_t running; /* atomic */

struct user {
	uint64_t done;
	uint64_t busy;
};

/* Polls the queue and completes what it gets; another thread of this kind gets -EBUSY now and then, never an error. */
static void *user_thread(void *arg)
{
	struct user *u = arg;
	struct vh_req reqs[4];
	struct vh_cpl cpls[4];

	while (__atomic_load_n(&running, __ATOMIC_RELAXED)) {
		vh_count n = vh_queue_pop(q, reqs, 4);

		u->busy += n == -EBUSY;
		for (vh_count i = 0; i < n; i++)
			cpls[i] = (struct vh_cpl){.token = reqs[i].token};
		while (n > 0) {
			vh_rc rc = vh_queue_push(q, cpls, (uint32_t)n);

			if (rc != -EBUSY) {
				u->done += rc ? 0 : (uint64_t)n;
				break;
			}
			u->busy++;
		}
		if (n <= 0)
			sched_yield();
	}
	return NULL;
}

static uint64_t now_ms(void)
{
	return vhi_now_ns() / 1000000u;
}

/* Until the queue is stopped, as a slave does it. */
static uint32_t stop_and_wait(void)
{
	const uint64_t deadline = now_ms() + 10000;
	uint32_t base = 0;

	vhi_queue_ctl(q, VHI_CTL_DRAIN, NULL);
	while (!vhi_queue_settled(q) || vhi_queue_in_flight(q) || vhi_queue_finish_stop(q, &base)) {
		assert_true(now_ms() < deadline);
		sched_yield();
	}
	return base;
}

static void control_changes_and_two_users_at_full_speed(void **state)
{
	struct user users[2] = {{0}};
	pthread_t threads[2];
	const uint64_t end = now_ms() + 1000;
	uint64_t offered = 8;
	uint16_t seen = 0;
	int call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		vht_put(&ring, i, VHT_DATA, 4, VHT_WRITE, 0);
	for (uint32_t i = 0; i < 8; i++)
		vht_offer(&ring, i);
	__atomic_store_n(&running, 1, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, user_thread, &users[i]), 0);
	for (uint32_t round = 0; now_ms() < end || (offered < 200 && now_ms() < end + 60000); round++) {
		/* What was completed is offered again. */
		for (; seen != vht_used_idx(&ring); seen++, offered++)
			vht_offer(&ring, vht_used_id(&ring, seen));
		vhi_queue_ctl(q, round % 2 ? VHI_CTL_PAUSE : VHI_CTL_RESUME, NULL);
		if (round % 5 == 0)
			vhi_queue_set_fd(q, VHI_QUEUE_CALL, dup(call));
		if (round % 7 == 0)
			set_snapshot();
		if (round % 50 == 49) {
			assert_int_equal(vh_queue_state(q), VH_QUEUE_RUNNING);
			geometry.base = stop_and_wait();
			assert_int_equal(start(), 0);
		}
	}
	geometry.base = stop_and_wait();
	__atomic_store_n(&running, 0, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal((uint16_t)(users[0].done + users[1].done), vht_used_idx(&ring));
	assert_int_equal(geometry.base, vht_base(&ring, vht_used_idx(&ring)));
	assert_true(users[0].done + users[1].done <= offered);
	assert_true(users[0].done + users[1].done > 100);
	close(call);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest split[] = {
		CASE(a_ring_is_as_long_as_its_features_say),
		CASE(a_ring_may_end_where_memory_ends),
		CASE(case_88_requests_read_from_a_ring_page_that_is_gone_are_not_returned),
	};
	const struct CMUnitTest tests[] = {
		CASE(an_owned_queue_can_not_be_stopped_or_freed_by_its_user),
		CASE(paused_and_disabled_queues_pop_nothing),
		CASE(enabling_before_starting_counts),
		CASE(a_sleeper_is_woken_by_a_control_change),
		CASE(a_drain_is_over_when_the_last_request_is_pushed),
		CASE(a_pause_is_over_when_the_last_request_is_pushed),
		CASE(breaking_wakes_and_keeps_the_first_reason),
		CASE(a_failed_start_leaves_the_queue_stopped),
		CASE(case_66_new_memory_is_used_and_old_memory_must_be_drained_first),
		CASE(case_67_a_table_without_the_ring_breaks_the_queue),
		CASE(a_ring_that_moved_is_found_again),
		CASE(case_85_pop_after_truncation_breaks),
		CASE(case_86_push_publishes_nothing_after_truncation),
		CASE(arming_a_ring_that_is_gone_breaks),
		CASE(a_second_thread_is_refused_and_control_waits_for_the_first),
		CASE(a_pending_change_is_dropped_with_the_queue),
		CASE(control_changes_and_two_users_at_full_speed),
	};

	int failed = vht_run_layouts(tests);

	vht_layout = 0;
	return failed + cmocka_run_group_tests(split, NULL, NULL);
}
