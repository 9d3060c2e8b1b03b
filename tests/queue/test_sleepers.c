/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A driver and a device on two threads, both of which sleep whenever there is nothing to do: neither is ever left asleep
 * with something to do. Each round is one request. With VH_FULL=1 there are ten million.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Of each layout and way of notification, which are four. */
#define FULL_ROUNDS  2500000u
#define MOST_ROUNDS  250000u
#define LEAST_ROUNDS 3000u
/* After so long only the least: under a sanitizer, in an emulator, on a busy machine. */
#define ENOUGH 1

struct side {
	struct vh_queue *q;
	uint32_t random;
	uint32_t slept, came; /* it slept; something came between its last look and its wish to be told */
};

static struct vht_ring ring;
static struct side driver, device;
static uint32_t rounds; /* atomic: the device ends when it has served so many */

static void again(uint64_t features)
{
	vht_ring_init_fds(&ring, 8, features);
	device = (struct side){.q = ring.q};
	ring.opts.role = VH_QUEUE_DRIVER;
	assert_int_equal(vht_ring_open(&ring), 0);
	driver = (struct side){.q = ring.q};
}

static void over(void)
{
	vh_queue_free(device.q);
	vht_ring_free(&ring);
}

/* False when nobody wakes it within more time than any scheduler needs. */
static bool sleep_on(struct side *s)
{
	struct pollfd p = {.fd = vh_queue_fd(s->q), .events = POLLIN};
	vh_count rc;

	/* Not always at once, so that the other side is anywhere by now. */
	s->random = s->random * 1103515245u + 12345u;
	for (volatile uint32_t i = s->random >> 16 & 255; i; i--)
		;
	rc = vh_queue_arm(s->q);
	s->came += rc == VH_QUEUE_MORE;
	s->slept += rc == VH_QUEUE_SLEEP;
	return rc == VH_QUEUE_MORE || (rc == VH_QUEUE_SLEEP && poll(&p, 1, 20000) == 1);
}

static void *serve(void *arg)
{
	struct vh_req reqs[4];
	struct vh_cpl cpls[4];

	for (uint32_t done = 0; done < __atomic_load_n(&rounds, __ATOMIC_ACQUIRE);) {
		vh_count n = vh_queue_pop(device.q, reqs, 4);

		for (vh_count i = 0; i < n; i++)
			cpls[i] = (struct vh_cpl){.token = reqs[i].token};
		if (n > 0 && vh_queue_push(device.q, cpls, (uint32_t)n))
			return "push failed";
		if (n < 0 || (!n && !sleep_on(&device)))
			return "the device was not woken";
		done += (uint32_t)n;
	}
	return arg;
}

static bool time_is_up(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - since->tv_sec - (now.tv_nsec < since->tv_nsec) >= ENOUGH;
}

static void run(uint32_t least, uint32_t most)
{
	struct vh_seg seg = {.addr = (uintptr_t)vht_host(&ring, VHT_DATA), .len = 10};
	struct vh_req req = {.segs = (uintptr_t)&seg, .n_rd = 1};
	struct vh_cpl cpls[4];
	struct timespec since;
	pthread_t thread;
	uint32_t sent, got;
	void *failed;

	clock_gettime(CLOCK_MONOTONIC, &since);
	__atomic_store_n(&rounds, most, __ATOMIC_RELEASE);
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	for (sent = got = 0; got < most;) {
		vh_count n;

		/* The end is told before the last request is sent, which the device is woken by. */
		if (most > least && sent >= least && sent % 256 == 0 && sent + 1 < most && time_is_up(&since)) {
			most = sent + 1;
			__atomic_store_n(&rounds, most, __ATOMIC_RELEASE);
		}
		for (; sent < most && sent - got < 1 + sent % 3; sent++)
			assert_int_equal(vh_queue_submit(driver.q, &req, 1), 1);
		n = vh_queue_reap(driver.q, cpls, 4);
		assert_true(n >= 0);
		got += (uint32_t)n;
		assert_true(n || sleep_on(&driver));
	}
	pthread_join(thread, &failed);
	assert_null(failed);
	print_message("%u rounds; the driver slept %u times, and %u times it did not need to; the device %u and %u\n",
		      most, driver.slept, driver.came, device.slept, device.came);
}

static void case_153_two_sleepers_always_wake_each_other(void **state)
{
	static const uint64_t features[] = {0, VHT_EVENT_IDX};
	const bool full = getenv("VH_FULL") && !strcmp(getenv("VH_FULL"), "1");

	(void)state;
	for (size_t k = 0; k < VHI_ARRAY_SIZE(features); k++) {
		again(features[k]);
		run(full ? FULL_ROUNDS : LEAST_ROUNDS, full ? FULL_ROUNDS : MOST_ROUNDS);
		over();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(case_153_two_sleepers_always_wake_each_other),
	};

	return vht_run_layouts(tests);
}
