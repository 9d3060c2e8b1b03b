/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Waiting for block requests: what it costs in system calls, spinning before it sleeps, and the fd that it leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vhi_driver.h"
#include "vht_msan.h"
#include "vht_peer.h"
#include "vht_session.h"

#define ok(call)    assert_int_equal((call), 0)
#define MIB	    (UINT64_C(1) << 20)
#define KIND	    (*(const enum vht_kind *)*state)
#define ADDR(s, at) ((uint64_t)(uintptr_t)((s)->buf + (at)))
#define REQUESTS    200u

/* What this thread asks the kernel for: these stand before the ones of libc. */
static _Thread_local struct {
	uint32_t preadv2, epoll_wait;
} calls;

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	ssize_t got;

	calls.preadv2++;
	got = syscall(SYS_preadv2, fd, iov, (long)n, (long)off, 0L, (long)flags);
	for (int i = 0; got > 0 && i < n; i++)
		vht_written(iov[i].iov_base, iov[i].iov_len);
	return got;
}

int epoll_wait(int fd, struct epoll_event *evs, int max, int timeout_ms)
{
	int n;

	calls.epoll_wait++;
	n = (int)syscall(SYS_epoll_pwait, fd, evs, (long)max, (long)timeout_ms, NULL, 8L);
	vht_written(evs, n > 0 ? (size_t)n * sizeof(*evs) : 0);
	return n;
}

static void begin(void **state, struct vht_session *s, uint32_t poll_us, bool held)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_BLK, .poll_us = poll_us};

	vht_session_disk(s, KIND, MIB, 0, 1);
	vht_session_begin(s, &o, MIB);
	vht_disk_hold(s->disk, held);
}

static void submit(struct vht_session *s)
{
	const struct vh_blk_io io = {.op = VH_BLK_READ, .addr = ADDR(s, 0), .len = 512};

	assert_int_equal(vh_blk_submit(s->b, 0, &io, 1), 1);
}

static void reap(struct vht_session *s)
{
	struct vh_blk_done done;

	assert_int_equal(vh_blk_reap(s->b, 0, &done, 1), 1);
	ok(done.rc);
}

static uint64_t called(struct vht_session *s)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};
	struct vh_queue *q;

	ok(vh_driver_queue(s->d, 0, &q));
	ok(vh_queue_get_stats(q, &stats));
	return stats.calls;
}

static void a_request_that_is_slept_for_costs_one_system_call(void **state)
{
	struct vht_session s;

	begin(state, &s, 0, false);
	memset(&calls, 0, sizeof(calls));
	for (uint32_t i = 0; i < REQUESTS; i++) {
		submit(&s);
		ok(vh_blk_wait(s.b, 0, -1));
		reap(&s);
	}
	assert_int_equal(calls.preadv2, 0);
	/* A call for what was found without sleeping is noticed in the next sleep, which then is two. */
	assert_in_range(calls.epoll_wait, 0, 2 * REQUESTS + VHT_WAIT_MS);
	vht_session_end(&s);
}

static void calls_are_counted_that_nobody_reads(void **state)
{
	struct vht_session s;
	uint64_t before;

	begin(state, &s, 0, true);
	submit(&s);
	assert_int_equal(vh_blk_wait(s.b, 0, 1), -ETIMEDOUT);
	before = called(&s);
	vht_disk_hold(s.disk, false);
	ok(vh_blk_wait(s.b, 0, -1));
	reap(&s);
	submit(&s);
	ok(vh_blk_wait(s.b, 0, -1));
	reap(&s);
	assert_int_equal(vh_blk_wait(s.b, 0, 20), -ETIMEDOUT);
	assert_in_range(called(&s), before + 1, before + 2);
	vht_session_end(&s);
}

static bool readable(struct vh_queue *q, int timeout_ms)
{
	struct pollfd p = {.fd = vh_queue_fd(q), .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1;
}

static void after_its_time_the_queue_s_own_fd_tells(void **state)
{
	static const int32_t times[] = {0, 5};
	struct vht_session s;
	struct vh_queue *q;

	begin(state, &s, 0, true);
	ok(vh_driver_queue(s.d, 0, &q));
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		submit(&s);
		assert_int_equal(vh_blk_wait(s.b, 0, times[i]), -ETIMEDOUT);
		assert_false(readable(q, 0));
		vht_disk_hold(s.disk, false);
		assert_true(readable(q, VHT_WAIT_MS));
		ok(vh_blk_wait(s.b, 0, 0));
		reap(&s);
		vht_disk_hold(s.disk, true);
		assert_int_equal(vh_blk_wait(s.b, 0, times[i]), -ETIMEDOUT);
		assert_false(readable(q, 0));
	}
	vht_session_end(&s);
}

static void who_always_spins_never_asks_to_be_called(void **state)
{
	struct vht_session s;
	struct vh_queue *q;
	uint64_t began;

	begin(state, &s, VH_POLL_ALWAYS, false);
	ok(vh_driver_queue(s.d, 0, &q));
	submit(&s);
	ok(vh_blk_wait(s.b, 0, -1)); /* a ring begins with a wish for calls */
	reap(&s);
	assert_int_equal(vh_blk_wait(s.b, 0, 0), -ETIMEDOUT);
	/* After two turns of a packed ring that wish comes true again: not so far. */
	for (uint32_t i = 0; i < REQUESTS / 2; i++) {
		submit(&s);
		ok(vh_blk_wait(s.b, 0, -1));
		reap(&s);
	}
	assert_in_range(vht_count(vhi_queue_get_fd(q, VHI_QUEUE_CALL)), 0, 1);
	vht_disk_hold(s.disk, true);
	submit(&s);
	began = vhi_now_ns();
	assert_int_equal(vh_blk_wait(s.b, 0, 20), -ETIMEDOUT);
	assert_in_range(vhi_now_ns() - began, 20 * 1000000, UINT64_C(5000) * 1000000);
	vht_target_kill(&s.t);
	assert_int_equal(vh_blk_wait(s.b, 0, -1), -ECONNRESET);
	vht_session_end(&s);
}

static void spinning_in_vain_becomes_less_and_comes_back(void **state)
{
	const uint32_t poll_us = 20000;
	const uint64_t most = poll_us * UINT64_C(1000), until = vhi_now_ns() + VHT_WAIT_MS * UINT64_C(1000000);
	struct vht_session s;
	uint64_t before;

	begin(state, &s, poll_us, true);
	assert_int_equal(s.d->queues[0].sleep.spin_ns, most);
	submit(&s);
	for (uint32_t i = 0; i < 5; i++) {
		before = s.d->queues[0].sleep.spin_ns;
		assert_int_equal(vh_blk_wait(s.b, 0, 30), -ETIMEDOUT);
		assert_true(s.d->queues[0].sleep.spin_ns < before || !before);
	}
	ok(s.d->queues[0].sleep.spin_ns);
	vht_disk_hold(s.disk, false);
	do {
		ok(vh_blk_wait(s.b, 0, -1));
		reap(&s);
		submit(&s);
	} while (s.d->queues[0].sleep.spin_ns != most && vhi_now_ns() < until);
	assert_int_equal(s.d->queues[0].sleep.spin_ns, most);
	ok(vh_blk_wait(s.b, 0, -1));
	reap(&s);
	vht_session_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VHT_USER_ONLY(a_request_that_is_slept_for_costs_one_system_call),
		VHT_USER_ONLY(calls_are_counted_that_nobody_reads),
		VHT_USER_ONLY(after_its_time_the_queue_s_own_fd_tells),
		VHT_USER_ONLY(who_always_spins_never_asks_to_be_called),
		VHT_USER_ONLY(spinning_in_vain_becomes_less_and_comes_back),
	};

	return vht_run(tests);
}
