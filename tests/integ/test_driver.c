/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Driver sessions: one test, whatever is driven. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "vhi_driver.h"
#include "vht_session.h"

#define ok(call) assert_int_equal((call), 0)
#define MIB	 (UINT64_C(1) << 20)
#define KIND	 (*(const enum vht_kind *)*state)
#define OFFERED	 (VHI_BIT(VH_BLK_F_FLUSH) | VHI_BIT(VH_BLK_F_BLK_SIZE) | VHI_BIT(VH_BLK_F_ZONED))
#define RING_BASIC                                                                                    \
	(VHI_BIT(VH_F_RING_INDIRECT_DESC) | VHI_BIT(VH_F_RING_EVENT_IDX) | VHI_BIT(VH_F_RING_RESET) | \
	 (vht_kind_is_split(KIND) ? 0 : VHI_BIT(VH_F_RING_PACKED)))

static void a_session_acks_what_is_offered_wanted_and_known(void **state)
{
	struct vh_driver_opts o = {
		.size = sizeof(o), .type = VH_TYPE_BLK, .mask_features = VHI_BIT(VH_F_RING_EVENT_IDX)};
	struct vht_session s;
	uint64_t f;

	vht_session_disk(&s, KIND, MIB, OFFERED, 1);
	ok(vh_driver_new(NULL, s.t.backend, NULL, &s.d));
	ok(vh_driver_features(s.d, &f));
	assert_int_equal(f, VHI_BIT(VH_F_VERSION_1) | RING_BASIC);
	vh_driver_free(s.d);
	ok(vh_driver_new(&o, s.t.backend, NULL, &s.d));
	ok(vh_driver_features(s.d, &f));
	assert_int_equal(f & ~RING_BASIC, VHI_BIT(VH_F_VERSION_1) | (OFFERED & ~VHI_BIT(VH_BLK_F_ZONED)));
	ok(vh_driver_features(s.d, &f));
	assert_int_equal(f & RING_BASIC, RING_BASIC & ~VHI_BIT(VH_F_RING_EVENT_IDX));
	vh_driver_free(s.d);
	o = (struct vh_driver_opts){.size = sizeof(o),
				    .features = VHI_BIT(VH_BLK_F_ZONED) | VHI_BIT(VH_F_IN_ORDER) | VHI_BIT(9)};
	ok(vh_driver_new(&o, s.t.backend, NULL, &s.d));
	ok(vh_driver_features(s.d, &f));
	assert_int_equal(f, VHI_BIT(VH_F_VERSION_1) | RING_BASIC | VHI_BIT(VH_BLK_F_ZONED) | VHI_BIT(VH_BLK_F_FLUSH));
	vht_session_end(&s);
}

static void a_device_from_before_version_1_is_refused(void **state)
{
	struct vht_session s;
	struct vh_driver *d = NULL;

	vht_session_disk(&s, KIND, MIB, 0, 1);
	vht_fake_hide_features(s.t.fake, VHI_BIT(VH_F_VERSION_1));
	assert_int_equal(vh_driver_new(NULL, s.t.backend, NULL, &d), -ENOTSUP);
	vht_assert_error(-ENOTSUP, VHI_SITE_DRIVER_VERSION_1);
	assert_null(d);
	vht_session_end(&s);
}

static void a_device_that_takes_features_ok_back_is_refused(void **state)
{
	struct vht_session s;
	struct vh_driver *d = NULL;

	vht_session_disk(&s, KIND, MIB, 0, 1);
	vht_fake_status(s.t.fake, false);
	ok(vh_driver_new(NULL, s.t.backend, NULL, &d));
	vh_driver_free(d);
	d = NULL;
	vht_fake_status(s.t.fake, true);
	assert_int_equal(vh_driver_new(NULL, s.t.backend, NULL, &d), -ENOTSUP);
	vht_assert_error(-ENOTSUP, VHI_SITE_DRIVER_FEATURES_OK);
	assert_null(d);
	vht_session_end(&s);
}

static void bad_arguments_are_told_from_each_other(void **state)
{
	static const struct vh_driver_opts bad[] = {
		{.size = 4},
		{.size = sizeof(bad[0]), .type = 99},
		{.size = sizeof(bad[0]), .n_queues = 257},
		{.size = sizeof(bad[0]), .queue_size = 3, .mask_features = VHI_BIT(VH_F_RING_PACKED)},
		{.size = sizeof(bad[0]), .queue_size = 65536},
		{.size = sizeof(bad[0]), .mask_features = VHI_BIT(VH_F_VERSION_1)},
	};
	const struct vh_driver_opts three = {.size = sizeof(three), .type = VH_TYPE_BLK, .n_queues = 3};
	struct vh_driver *d = NULL;
	struct vh_queue *q;
	struct vht_session s;
	uint64_t v;

	vht_session_disk(&s, KIND, MIB, 0, 2);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++)
		assert_int_equal(vh_driver_new(&bad[i], s.t.backend, NULL, &d), -EINVAL);
	assert_int_equal(vh_driver_new(NULL, NULL, NULL, &d), -EINVAL);
	assert_int_equal(vh_driver_new(NULL, s.t.backend, NULL, NULL), -EINVAL);
	assert_int_equal(vh_driver_new(&three, s.t.backend, NULL, &d), -ENOSPC);
	assert_null(d);
	ok(vh_driver_new(NULL, s.t.backend, NULL, &s.d));
	assert_int_equal(vh_driver_alloc(s.d, 0, &v), -EINVAL);
	assert_int_equal(vh_driver_alloc(s.d, UINT64_MAX, &v), -ENOMEM);
	assert_int_equal(vh_driver_alloc(s.d, UINT64_MAX / 2, &v), -ENOMEM);
	assert_int_equal(vh_driver_alloc(s.d, 1, NULL), -EINVAL);
	assert_int_equal(vh_driver_queue(s.d, 1, &q), -ENOENT);
	assert_int_equal(vh_driver_queue(s.d, 0, NULL), -EINVAL);
	assert_int_equal(vh_driver_stop(s.d, 0, 0), -EALREADY);
	assert_int_equal(vh_driver_start(NULL), -EINVAL);
	assert_int_equal(vh_driver_stop(NULL, 0, 0), -EINVAL);
	assert_int_equal(vh_driver_stop(s.d, 2, 0), -EINVAL);
	assert_int_equal(vh_driver_dup_snapshot(s.d, NULL), -EINVAL);
	assert_int_equal(vh_driver_features(NULL, &v), -EINVAL);
	vh_driver_free(NULL);
	vht_session_end(&s);
}

static void a_session_stops_and_goes_on_with_its_data(void **state)
{
	struct vht_session s;

	vht_session_ram(&s, KIND, 4 * MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	for (uint32_t round = 0; round < 4; round++) {
		assert_int_equal(vh_driver_start(s.d), -EALREADY);
		for (uint32_t i = 0; i < 100 + round; i++) /* so that it stops at odd places */
			vht_session_write(&s, 0, 4096 * (i % 64), 4096, round * 1000 + i % 64);
		ok(vh_driver_stop(s.d, 0, 0));
		assert_int_equal(vh_driver_stop(s.d, 0, 0), -EALREADY);
		ok(vh_driver_start(s.d));
		for (uint32_t i = 0; i < 64; i++)
			vht_session_verify(&s, 0, 4096 * i, 4096, round * 1000 + i);
	}
	vht_session_end(&s);
}

static void a_session_survives_more_requests_than_an_index_can_count(void **state)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_BLK, .queue_size = 64};
	struct vh_blk_io ios[64];
	struct vh_blk_done done[64];
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, &o, MIB);
	for (uint32_t i = 0; i < 64; i++)
		ios[i] = (struct vh_blk_io){
			.op = VH_BLK_READ, .addr = (uint64_t)(uintptr_t)s.buf + 512 * i, .len = 512};
	for (uint32_t total = 0; total < 66000; total += 64) {
		assert_int_equal(vh_blk_submit(s.b, 0, ios, 64), 64);
		vht_session_reap(&s, 0, done, 64);
		if (total % 16384 == 0) {
			ok(vh_driver_stop(s.d, 0, 0));
			ok(vh_driver_start(s.d));
		}
	}
	ok(vh_driver_stop(s.d, 0, 0));
	vht_session_end(&s);
}

static void what_arrived_can_be_reaped_after_stop(void **state)
{
	struct vh_blk_io ios[5];
	struct vh_blk_done done[6];
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	for (uint32_t i = 0; i < 5; i++)
		ios[i] = (struct vh_blk_io){
			.op = VH_BLK_READ, .addr = (uint64_t)(uintptr_t)s.buf + 512 * i, .len = 512, .user = 70 + i};
	assert_int_equal(vh_blk_submit(s.b, 0, ios, 5), 5);
	ok(vh_driver_stop(s.d, 0, 0));
	assert_int_equal(vh_blk_submit(s.b, 0, ios, 5), -EINVAL);
	assert_int_equal(vh_blk_reap(s.b, 0, done, 2), 2);
	ok(vh_blk_wait(s.b, 0, -1));
	ok(vh_driver_start(s.d));
	assert_int_equal(vh_blk_reap(s.b, 0, done + 2, 1), 1);
	ok(vh_driver_stop(s.d, 0, 0));
	assert_int_equal(vh_blk_reap(s.b, 0, done + 3, 3), 2);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(done[i].rc, 0);
		assert_in_range(done[i].user, 70, 74);
	}
	assert_int_equal(vh_blk_wait(s.b, 0, -1), -EINVAL);
	ok(vh_driver_start(s.d));
	vht_session_write(&s, 0, 0, 4096, 1);
	vht_session_end(&s);
}

static void memory_can_be_allocated_while_queues_run(void **state)
{
	uint64_t addr[6];
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(addr); i++) {
		struct vh_blk_io io = {.op = VH_BLK_WRITE, .offset = 4096 * i, .len = 4096};

		ok(vh_driver_alloc(s.d, 20 * MIB, &addr[i]));
		assert_int_equal(addr[i] % 4096, 0);
		assert_int_equal(*(uint8_t *)(uintptr_t)(addr[i] + 20 * MIB - 1), 0);
		io.addr = addr[i] + 20 * MIB - 4096;
		memset((void *)(uintptr_t)io.addr, (int)i + 1, 4096);
		ok(vht_session_io(&s, 0, io));
	}
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(addr); i++) {
		struct vh_blk_io io = {.op = VH_BLK_READ, .offset = 4096 * i, .len = 4096, .addr = addr[5 - i]};

		ok(vht_session_io(&s, 0, io));
		assert_int_equal(*(uint8_t *)(uintptr_t)(io.addr + 4095), i + 1);
	}
	vht_session_end(&s);
}

/* Every request for more than the last gets a region of its own, until the back-end takes no more of them. */
static void memory_ends_with_an_error_and_the_session_runs_on(void **state)
{
	uint64_t addr, len = 17 * MIB;
	struct vht_session s;
	struct vh_snapshot *snap;
	int rc = 0;

	vht_session_ram(&s, VHT_USER_NO_SLOTS, MIB, 0, 1);
	(void)state;
	vht_session_begin(&s, NULL, MIB);
	for (int i = 0; !rc && i < 10; i++, len = len * 2 + MIB)
		rc = vh_driver_alloc(s.d, len, &addr);
	assert_true(rc < 0);
	ok(vh_driver_dup_snapshot(s.d, &snap));
	assert_int_equal(vh_snapshot_regions(snap, NULL, 0), 8);
	vh_snapshot_free(snap);
	vht_session_write(&s, 0, 0, 4096, 3);
	ok(vh_driver_stop(s.d, 0, 0));
	ok(vh_driver_start(s.d));
	vht_session_verify(&s, 0, 0, 4096, 3);
	vht_session_end(&s);
}

static void a_start_that_fails_leaves_nothing_running(void **state)
{
	static const struct {
		enum vht_fake_call call;
		unsigned n;
	} points[] = {
		{VHT_FAKE_SET_MEMORY, 0},  {VHT_FAKE_RING_START, 0},  {VHT_FAKE_RING_START, 1},
		{VHT_FAKE_RING_ENABLE, 0}, {VHT_FAKE_RING_ENABLE, 1}, {VHT_FAKE_SET_STATUS, 0},
	};
	const struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_BLK, .n_queues = 2};
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, 0, 2);
	vht_session_begin(&s, &o, MIB);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(points); i++) {
		vht_session_write(&s, 1, 512 * i, 512, 9);
		ok(vh_driver_stop(s.d, 0, 0));
		assert_int_equal(vht_fake_running(s.t.fake), 0);
		vht_fake_fail(s.t.fake, points[i].call, points[i].n, -ENOSPC);
		assert_int_equal(vh_driver_start(s.d), -ENOSPC);
		vht_assert_error(-ENOSPC, 0);
		assert_int_equal(vht_fake_running(s.t.fake), 0);
		ok(vh_driver_start(s.d));
		assert_int_equal(vht_fake_running(s.t.fake), 2);
		vht_session_verify(&s, 1, 512 * i, 512, 9);
	}
	vht_session_end(&s);
}

static void a_session_that_can_not_begin_leaves_no_trace(void **state)
{
	static const enum vht_fake_call points[] = {VHT_FAKE_NEGOTIATE, VHT_FAKE_SET_STATUS};
	struct vht_session s;
	struct vh_driver *d = NULL;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(points); i++) {
		vht_fake_fail(s.t.fake, points[i], 0, -EREMOTEIO);
		assert_int_equal(vh_driver_new(NULL, s.t.backend, NULL, &d), -EREMOTEIO);
		assert_null(d);
	}
	vht_session_end(&s);
}

static void *let_go_soon(void *arg)
{
	const struct timespec soon = {.tv_nsec = 30 * 1000 * 1000};

	nanosleep(&soon, NULL);
	vht_disk_hold(arg, false);
	return NULL;
}

/* Whatever the back-end does with requests in flight when a ring stops. */
static void stop_waits_for_requests_in_flight(void **state)
{
	struct vh_blk_io io = {.op = VH_BLK_READ, .len = 512};
	struct vh_blk_done done[8];
	struct vht_session s;
	pthread_t thread;

	vht_session_disk(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	vht_disk_hold(s.disk, true);
	io.addr = (uint64_t)(uintptr_t)s.buf;
	for (int i = 0; i < 8; i++)
		assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	ok(pthread_create(&thread, NULL, let_go_soon, s.disk));
	ok(vh_driver_stop(s.d, 0, 0));
	assert_int_equal(vht_disk_held(s.disk), 0);
	ok(pthread_join(thread, NULL));
	assert_int_equal(vh_blk_reap(s.b, 0, done, 8), 8);
	ok(vh_driver_start(s.d));
	vht_session_write(&s, 0, 0, 512, 5);
	vht_session_end(&s);
}

static void stop_gives_up_on_requests_that_never_end(void **state)
{
	struct vh_blk_done done[2];
	struct vht_session s;

	vht_session_disk(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	const struct vh_blk_io io = {.op = VH_BLK_READ, .addr = (uint64_t)(uintptr_t)s.buf, .len = 512};

	vht_disk_hold(s.disk, true);
	assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	assert_int_equal(vh_driver_stop(s.d, 0, 20), -EBUSY);
	vht_assert_error(-EBUSY, 0);
	assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1); /* it runs on */
	vht_disk_hold(s.disk, false);
	vht_session_reap(&s, 0, done, 2);
	ok(vh_driver_stop(s.d, 0, 0));
	vht_session_end(&s);
}

struct worker {
	struct vht_session *s;
	int ending;    /* atomic */
	uint64_t done; /* atomic */
	int failed;    /* atomic: what should not have happened */
};

/* One request after the other; what a stopped session says is no failure. */
static void *keep_reading(void *arg)
{
	struct worker *w = arg;
	struct vh_blk_io io = {.op = VH_BLK_READ, .addr = (uint64_t)(uintptr_t)w->s->buf + 65536, .len = 512};
	const struct timespec moment = {.tv_nsec = 100 * 1000};
	uint64_t in_flight = 0;

	while (!w->failed && (in_flight || !__atomic_load_n(&w->ending, __ATOMIC_ACQUIRE))) {
		struct vh_blk_done done;
		int rc = 0;

		if (!in_flight) {
			rc = vh_blk_submit(w->s->b, 1, &io, 1);
			in_flight = rc == 1;
		}
		if (in_flight && (rc = vh_blk_wait(w->s->b, 1, VHT_WAIT_MS)) == 0) {
			rc = vh_blk_reap(w->s->b, 1, &done, 1);
			if (rc != 1 || done.rc)
				__atomic_store_n(&w->failed, -EIO, __ATOMIC_RELEASE);
			__atomic_add_fetch(&w->done, 1, __ATOMIC_RELEASE);
			in_flight = 0;
		}
		if (rc == 0 || rc == -EINVAL) { /* paused or stopped */
			nanosleep(&moment, NULL);
		} else if (rc < 0) {
			__atomic_store_n(&w->failed, rc, __ATOMIC_RELEASE);
		}
	}
	return NULL;
}

static void control_calls_and_queue_threads_do_not_meet(void **state)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_BLK, .n_queues = 2};
	struct vht_session s;
	struct worker w = {.s = &s};
	pthread_t thread;
	uint64_t addr;

	vht_session_ram(&s, KIND, MIB, 0, 2);
	vht_session_begin(&s, &o, MIB);
	ok(pthread_create(&thread, NULL, keep_reading, &w));
	for (uint32_t round = 0; round < 50 || __atomic_load_n(&w.done, __ATOMIC_ACQUIRE) < 100; round++) {
		assert_int_equal(__atomic_load_n(&w.failed, __ATOMIC_ACQUIRE), 0);
		vht_session_write(&s, 0, 0, 4096, round);
		if (round < 50 && round % 10 == 0)
			ok(vh_driver_alloc(s.d, (17 + round) * MIB, &addr));
		ok(vh_driver_stop(s.d, 0, 0));
		ok(vh_driver_start(s.d));
		vht_session_verify(&s, 0, 0, 4096, round);
	}
	__atomic_store_n(&w.ending, 1, __ATOMIC_RELEASE);
	ok(pthread_join(thread, NULL));
	assert_int_equal(w.failed, 0);
	vht_session_end(&s);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void alarm_every_ms(long ms)
{
	const struct sigaction sa = {.sa_handler = on_alarm};
	const struct itimerval it = {{0, ms * 1000}, {0, ms * 1000}};

	ok(sigaction(SIGALRM, &sa, NULL));
	ok(setitimer(ITIMER_REAL, &it, NULL));
}

static void a_signal_ends_the_wait_of_stop_and_the_session_runs_on(void **state)
{
	struct vh_blk_io io = {.op = VH_BLK_READ, .len = 512};
	struct vh_blk_done done[2];
	struct vht_session s;
	sigset_t set;
	int rc;

	/* Blocked in the device's thread, which is made with our mask. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	ok(pthread_sigmask(SIG_BLOCK, &set, NULL));
	vht_session_disk(&s, KIND, MIB, 0, 1);
	ok(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
	vht_session_begin(&s, NULL, MIB);
	vht_disk_hold(s.disk, true);
	io.addr = (uint64_t)(uintptr_t)s.buf;
	assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	alarm_every_ms(5);
	rc = vh_driver_stop(s.d, 0, 0);
	alarm_every_ms(0);
	assert_int_equal(rc, -EINTR);
	assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	vht_disk_hold(s.disk, false);
	vht_session_reap(&s, 0, done, 2);
	ok(vh_driver_stop(s.d, 0, 0));
	vht_session_end(&s);
}

static void a_ring_that_stops_elsewhere_is_an_error_and_begins_anew(void **state)
{
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	vht_session_write(&s, 0, 0, 4096, 7);
	vht_fake_lie_base(s.t.fake, 1);
	assert_int_equal(vh_driver_stop(s.d, 0, 0), -EPROTO);
	vht_assert_error(-EPROTO, VHI_SITE_DRIVER_BASE);
	assert_int_equal(vh_driver_stop(s.d, 0, 0), -EALREADY);
	vht_fake_lie_base(s.t.fake, 0);
	ok(vh_driver_start(s.d));
	vht_session_verify(&s, 0, 0, 4096, 7);
	ok(vh_driver_stop(s.d, 0, 0));
	vht_session_end(&s);
}

static void requests_of_a_broken_queue_are_lost_and_a_restart_repairs_it(void **state)
{
	struct vh_blk_io io = {.op = VH_BLK_READ, .len = 512};
	struct vh_blk_done done[4];
	struct vht_session s;
	struct vh_queue *q;

	vht_session_disk(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	vht_session_write(&s, 0, 0, 512, 11);
	vht_disk_hold(s.disk, true);
	io.addr = (uint64_t)(uintptr_t)s.buf;
	for (io.user = 0; io.user < 3; io.user++)
		assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	ok(vh_driver_queue(s.d, 0, &q));
	vhi_queue_break(q, -EPROTO, VHI_SITE_BLK_STATUS, "told to break");
	assert_int_equal(vh_blk_reap(s.b, 0, done, 4), -EPROTO);
	vht_disk_hold(s.disk, false);
	ok(vh_driver_stop(s.d, 0, 0));
	ok(vh_driver_start(s.d));
	ok(vh_blk_wait(s.b, 0, 0));
	assert_int_equal(vh_blk_reap(s.b, 0, done, 2), 2);
	assert_int_equal(vh_blk_reap(s.b, 0, done + 2, 2), 1);
	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(done[i].rc, -EIO);
		assert_in_range(done[i].user, 0, 2);
	}
	assert_int_equal(done[0].user + done[1].user + done[2].user, 3);
	vht_session_verify(&s, 0, 0, 512, 11);
	vht_session_end(&s);
}

static void a_session_over_a_dead_back_end_ends_with_an_error_only(void **state)
{
	struct vht_session s;
	uint64_t addr;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	vht_session_write(&s, 0, 0, 4096, 7);
	vht_target_kill(&s.t);
	assert_int_equal(vh_driver_stop(s.d, 0, 0), -ECONNRESET);
	vht_assert_error(-ECONNRESET, 0);
	assert_int_equal(vh_driver_stop(s.d, 0, 0), -EALREADY);
	assert_true(vh_driver_start(s.d) < 0);
	ok(vh_driver_alloc(s.d, MIB, &addr));
	vht_session_end(&s);
}

static void *wait_for_ever(void *arg)
{
	struct worker *w = arg;

	__atomic_store_n(&w->failed, vh_blk_wait(w->s->b, 0, -1), __ATOMIC_RELEASE);
	return NULL;
}

/* From a thread that is not the one that waits on the queue; both take turns at the connection. */
static void disconnect(struct vh_master *m)
{
	int rc;

	do
		rc = vh_master_disconnect(m);
	while (rc == -EBUSY);
	ok(rc);
}

static void a_wait_ends_when_another_call_ends_the_connection(void **state)
{
	const struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
	struct vht_session s;
	struct worker w = {.s = &s};
	pthread_t thread;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	ok(pthread_create(&thread, NULL, wait_for_ever, &w));
	nanosleep(&moment, NULL); /* it sleeps by now; if not, the test is only easier */
	disconnect(s.t.master);
	ok(pthread_join(thread, NULL));
	assert_int_equal(w.failed, -ECONNRESET);
	vht_session_end(&s);
}

static void a_session_says_nothing_on_the_next_connection(void **state)
{
	struct vht_session s;
	struct pollfd p = {.events = POLLIN};
	uint64_t addr;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	disconnect(s.t.master);
	ok(vh_master_socketpair(s.t.master, &p.fd));
	assert_int_equal(vh_blk_wait(s.b, 0, -1), -ECONNRESET);
	assert_int_equal(vh_driver_alloc(s.d, 32 * MIB, &addr), -ECONNRESET);
	assert_int_equal(vh_driver_stop(s.d, 0, 0), -ECONNRESET);
	assert_int_equal(vh_driver_start(s.d), -ECONNRESET);
	vh_blk_free(s.b);
	s.b = NULL;
	assert_int_equal(vh_blk_new(s.d, &s.b), -ECONNRESET);
	vh_driver_free(s.d);
	s.d = NULL;
	assert_int_equal(poll(&p, 1, 0), 0);
	vht_session_end(&s);
	close(p.fd);
}

static void a_session_can_be_freed_while_it_runs(void **state)
{
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	vht_session_write(&s, 0, 0, 4096, 21);
	vh_blk_free(s.b);
	vh_driver_free(s.d);
	if (s.t.fake)
		assert_int_equal(vht_fake_running(s.t.fake), 0);
	vht_session_begin(&s, NULL, MIB); /* the next one over the same back-end */
	vht_session_verify(&s, 0, 0, 4096, 21);
	vht_session_end(&s);
}

static void many_queues_of_any_size_run(void **state)
{
	static const uint32_t sizes[] = {1, 2, 4, 64, 1024, 3, 7, 100, 1023};
	const size_t n = vht_kind_is_split(KIND) ? 5 : VHI_ARRAY_SIZE(sizes); /* then there are only powers of two */
	struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_BLK, .n_queues = 4};

	for (size_t i = 0; i < n; i++) {
		struct vht_session s;

		o.queue_size = sizes[i];
		vht_session_ram(&s, KIND, MIB, 0, 4);
		vht_session_begin(&s, &o, MIB);
		for (uint32_t q = 0; q < 4; q++)
			vht_session_write(&s, q, 4096 * q, 4096, q);
		for (uint32_t q = 0; q < 4; q++)
			vht_session_verify(&s, 3 - q, 4096 * q, 4096, q);
		vht_session_end(&s);
	}
}

static void successful_calls_leave_the_last_error_alone(void **state)
{
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	assert_int_equal(vh_driver_new(NULL, NULL, NULL, NULL), -EINVAL);
	vht_session_begin(&s, NULL, MIB);
	ok(vh_driver_stop(s.d, 0, 0));
	ok(vh_driver_start(s.d));
	vht_session_end(&s);
	vht_assert_error(-EINVAL, 0);
}

static void every_check_of_the_driver_has_a_text(void **state)
{
	(void)state;
	assert_non_null(vhi_driver_site_text(VHI_SITE_DRIVER_BASE));
	assert_non_null(vhi_driver_site_text(VHI_SITE_BLK_STATUS));
	assert_null(vhi_driver_site_text(899));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VHT_OVER(a_session_acks_what_is_offered_wanted_and_known),
		VHT_FAKE_ONLY(a_device_from_before_version_1_is_refused),
		VHT_FAKE_ONLY(a_device_that_takes_features_ok_back_is_refused),
		VHT_OVER(bad_arguments_are_told_from_each_other),
		VHT_OVER(a_session_stops_and_goes_on_with_its_data),
		VHT_OVER(a_session_survives_more_requests_than_an_index_can_count),
		VHT_OVER(what_arrived_can_be_reaped_after_stop),
		VHT_OVER(memory_can_be_allocated_while_queues_run),
		VHT_FAKE_ONLY(memory_ends_with_an_error_and_the_session_runs_on),
		VHT_FAKE_ONLY(a_start_that_fails_leaves_nothing_running),
		VHT_FAKE_ONLY(a_session_that_can_not_begin_leaves_no_trace),
		VHT_OVER(stop_waits_for_requests_in_flight),
		VHT_OVER(stop_gives_up_on_requests_that_never_end),
		VHT_OVER(control_calls_and_queue_threads_do_not_meet),
		VHT_OVER(a_signal_ends_the_wait_of_stop_and_the_session_runs_on),
		VHT_FAKE_ONLY(a_ring_that_stops_elsewhere_is_an_error_and_begins_anew),
		VHT_OVER(requests_of_a_broken_queue_are_lost_and_a_restart_repairs_it),
		VHT_OVER(a_session_over_a_dead_back_end_ends_with_an_error_only),
		VHT_USER_ONLY(a_wait_ends_when_another_call_ends_the_connection),
		VHT_USER_ONLY(a_session_says_nothing_on_the_next_connection),
		VHT_OVER(a_session_can_be_freed_while_it_runs),
		VHT_OVER(many_queues_of_any_size_run),
		VHT_OVER(successful_calls_leave_the_last_error_alone),
		VHT_FAKE_ONLY(every_check_of_the_driver_has_a_text),
	};

	return vht_run(tests);
}
