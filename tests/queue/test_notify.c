/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Notifications: who is told when, and fds that a peer may have made hostile. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_vring.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SITE(name) VHI_SITE_QUEUE_##name

static struct vht_ring ring;

static int setup(void **state)
{
	(void)state;
	vht_ring_init_fds(&ring, 8, 0);
	vht_drain(ring.call);
	return 0;
}

static int setup_event_idx(void **state)
{
	(void)state;
	vht_ring_init_fds(&ring, 256, VHT_EVENT_IDX);
	vht_drain(ring.call);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	return 0;
}

static uint64_t calls(void)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};

	assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
	return stats.calls;
}

static uint64_t kicks(void)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};

	assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
	return stats.kicks;
}

static void complete(uint32_t n)
{
	struct vh_req reqs[64];
	struct vh_cpl cpls[64];

	for (uint32_t i = 0; i < n; i++)
		vht_chain(&ring, ring.offered % ring.opts.num, 0, 1);
	assert_int_equal(vh_queue_pop(ring.q, reqs, n), n);
	for (uint32_t i = 0; i < n; i++)
		cpls[i] = (struct vh_cpl){.token = reqs[i].token};
	assert_int_equal(vh_queue_push(ring.q, cpls, n), 0);
}

static void a_batch_is_signalled_once(void **state)
{
	(void)state;
	complete(5);
	assert_int_equal(vht_drain(ring.call), 1);
	complete(1);
	assert_int_equal(vht_drain(ring.call), 1);
	assert_int_equal(calls(), 2);
}

static void a_driver_that_asked_for_no_interrupts_gets_none(void **state)
{
	(void)state;
	complete(1);
	vht_drain(ring.call);
	vht_want_calls(&ring, false);
	complete(3);
	assert_int_equal(vht_drain(ring.call), 0);
	vht_want_calls(&ring, true);
	complete(1);
	assert_int_equal(vht_drain(ring.call), 1);
}

static void case_152_used_event_is_honoured_for_every_distance(void **state)
{
	static const int dist[] = {-32768, -1000, -257, -256, -33, -32, -31, -2,   -1,	 0,
				   1,	   2,	  30,	31,   32,  33,	100, 1000, 32767};

	(void)state;
	complete(1); /* the first one is always signalled */
	vht_drain(ring.call);
	for (uint32_t round = 0; round < 4200; round++) {
		const uint16_t old = vht_used_idx(&ring);
		const uint32_t n = 1 + round % 32;
		const int d = dist[round % VHI_ARRAY_SIZE(dist)];
		/* The driver wants to hear of the completion with index old + d. */
		const bool want = d >= 0 && d < (int)n;

		vht_store16(vht_used_event(&ring), 0, (uint16_t)(old + d));
		complete(n);
		assert_int_equal(vht_drain(ring.call), want);
	}
}

/* Against the definition: was the event one of the indices that were passed? */
static void case_152_event_passed_is_right_for_all_events(void **state)
{
	static const uint16_t from[] = {0, 1, 2, 32767, 32768, 65533, 65534, 65535};
	static const uint16_t len[] = {0, 1, 2, 3, 255, 256, 32767, 32768};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(from); i++)
		for (size_t k = 0; k < VHI_ARRAY_SIZE(len); k++)
			for (uint32_t event = 0; event < 65536; event++) {
				bool passed = (uint16_t)(event - from[i]) < len[k];

				if (vhi_event_passed((uint16_t)event, (uint16_t)(from[i] + len[k]), from[i]) != passed)
					fail_msg("event %u from %u by %u", event, from[i], len[k]);
			}
}

static void case_157_the_first_push_after_start_is_always_signalled(void **state)
{
	(void)state;
	vht_used_event(&ring)->v[0] = 1000;
	complete(1);
	assert_int_equal(vht_drain(ring.call), 1);
	complete(1);
	assert_int_equal(vht_drain(ring.call), 0);
}

static void arming_asks_for_kicks_and_looks_again(void **state)
{
	(void)state;
	assert_int_equal(vh_queue_disarm(ring.q), 0);
	assert_false(vht_wants_kicks(&ring));
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_true(vht_wants_kicks(&ring));
	vht_chain(&ring, 0, 1, 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_MORE);
	vht_pop1(&ring);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
}

static void arming_with_event_idx_moves_the_event(void **state)
{
	const struct vht_u16s *event = vht_avail_event(&ring);

	(void)state;
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(event->v[0], 0);
	complete(3);
	assert_int_equal(event->v[0], 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(event->v[0], 3);
	assert_int_equal(vh_queue_disarm(ring.q), 0);
	/* No kick for the next 65535 buffers: the event lies behind. */
	for (uint16_t n = 1; n < 300; n++)
		assert_false(vhi_event_passed(event->v[0], (uint16_t)(3 + n), 3));
	assert_int_equal(ring.used->v[0], 0);
}

/* As a device leaves receive buffers, until it has something to put into them. */
static void what_is_left_in_the_ring_does_not_hide_what_comes(void **state)
{
	struct vh_req reqs[8];

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		vht_chain(&ring, i, 0, 1);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 8), 3);
	vht_push1(&ring, &reqs[0], 64);
	assert_int_equal(vh_queue_unpop(ring.q, 2), 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_MORE);
	if (vht_layout)
		assert_true(vht_wants_kicks(&ring));
	else
		assert_true(vhi_event_passed(vht_avail_event(&ring)->v[0], 4, 3));
	assert_int_equal(vh_queue_pop(ring.q, reqs, 8), 2);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
}

static void the_fd_is_readable_after_a_kick_until_armed(void **state)
{
	const uint64_t one = 1;
	int fd = vh_queue_fd(ring.q);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(vh_queue_fd(ring.q), fd);
	assert_false(vht_readable(fd));
	assert_int_equal(write(ring.kick, &one, 8), 8);
	assert_true(vht_readable(fd));
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_false(vht_readable(fd));
	assert_int_equal(kicks(), 1);
	vhi_queue_wake(ring.q);
	assert_true(vht_readable(fd));
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_false(vht_readable(fd));
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void a_kick_that_was_acked_is_not_drained_again(void **state)
{
	const uint64_t one = 1;

	(void)state;
	assert_false(vhi_queue_ack(ring.q));
	assert_int_equal(write(ring.kick, &one, 8), 8);
	assert_true(vhi_queue_ack(ring.q));
	assert_int_equal(write(ring.kick, &one, 8), 8);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	/* The second kick is still there; nothing is lost. */
	assert_true(vht_readable(vh_queue_fd(ring.q)));
	assert_true(vhi_queue_ack(ring.q));
}

static void replacing_the_kick_loses_no_wake_up(void **state)
{
	const uint64_t one = 1;
	int fd = vh_queue_fd(ring.q), old = ring.kick;
	int next = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	/* Whoever sleeps is woken by the change itself. */
	assert_int_equal(write(old, &one, 8), 8);
	assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_KICK, dup(next)), 0);
	assert_true(vht_readable(fd));
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_false(vht_readable(fd));
	/* The new one counts, the old one doesn't any more. */
	assert_int_equal(write(old, &one, 8), 8);
	assert_false(vht_readable(fd));
	assert_int_equal(write(next, &one, 8), 8);
	assert_true(vht_readable(fd));
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	/* One that is signalled already is seen. */
	assert_int_equal(write(next, &one, 8), 8);
	assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_KICK, -1), 0);
	assert_int_equal(vhi_queue_get_fd(ring.q, VHI_QUEUE_KICK), -1);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_false(vht_readable(fd));
	assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_KICK, dup(next)), 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(kicks(), 2);
	close(next);
}

static void case_156_a_new_call_fd_is_signalled_once(void **state)
{
	int next = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_CALL, dup(next)), 0);
	assert_int_equal(vht_drain(next), 1);
	complete(1);
	assert_int_equal(vht_drain(next), 1);
	assert_int_equal(vht_drain(ring.call), 0);
	close(next);
}

static void case_34_fds_are_closed_when_they_are_replaced(void **state)
{
	int fd = vh_queue_fd(ring.q), low, high;

	(void)state;
	assert_true(fd >= 0);
	low = dup(0);
	close(low);
	for (uint32_t i = 0; i < 1000; i++) {
		assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_KICK, dup(ring.kick)), 0);
		assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_CALL, dup(ring.call)), 0);
		assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_ERR, dup(ring.call)), 0);
	}
	vhi_queue_set_fd(ring.q, VHI_QUEUE_ERR, -1);
	high = dup(0);
	close(high);
	assert_true(high <= low + 3);
	complete(1);
	assert_true(vht_drain(ring.call) > 0);
}

static void case_33_one_open_file_as_kick_and_call_of_two_queues(void **state)
{
	struct vht_ring other;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	vht_ring_init(&other, 8, 0);
	assert_true(vh_queue_fd(ring.q) >= 0 && vh_queue_fd(other.q) >= 0);
	assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_KICK, dup(fd)), 0);
	assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_CALL, dup(fd)), 0);
	assert_int_equal(vhi_queue_set_fd(other.q, VHI_QUEUE_KICK, dup(fd)), 0);
	vh_queue_arm(ring.q);
	vh_queue_arm(other.q);
	complete(1);
	assert_true(vht_readable(vh_queue_fd(ring.q)));
	assert_true(vht_readable(vh_queue_fd(other.q)));
	vht_ring_free(&other);
	vh_queue_arm(ring.q);
	complete(1);
	assert_true(vht_readable(vh_queue_fd(ring.q)));
	close(fd);
}

static void case_31_only_eventfds_are_taken_and_others_are_closed(void **state)
{
	enum { KINDS = 11 };
	int pipes[2], socks[2], fds[KINDS], low, high;
	sigset_t none;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, socks), 0);
	sigemptyset(&none);
	low = dup(0);
	close(low);
	for (uint32_t which = VHI_QUEUE_KICK; which <= VHI_QUEUE_ERR; which++) {
		fds[0] = open("/dev/zero", O_RDWR);
		fds[1] = open("/", O_RDONLY | O_DIRECTORY);
		fds[2] = open("/proc/self/exe", O_RDONLY);
		fds[3] = dup(pipes[0]);
		fds[4] = dup(pipes[1]);
		fds[5] = dup(socks[0]);
		fds[6] = epoll_create1(0);
		fds[7] = timerfd_create(CLOCK_MONOTONIC, 0);
		fds[8] = signalfd(-1, &none, 0);
		fds[9] = open("/", O_PATH);
		fds[10] = memfd_create("x", 0);
		for (uint32_t i = 0; i < KINDS; i++) {
			assert_true(fds[i] >= 0);
			assert_int_equal(vhi_queue_set_fd(ring.q, (enum vhi_queue_fd)which, fds[i]), -EINVAL);
			assert_int_equal(vht_ring_site(), SITE(FD_KIND));
		}
	}
	high = dup(0);
	close(high);
	assert_int_equal(low, high);
	/* The old ones still serve. */
	complete(1);
	assert_int_equal(vht_drain(ring.call), 1);
	for (uint32_t i = 0; i < 2; i++) {
		close(pipes[i]);
		close(socks[i]);
	}
}

static void case_31_a_blocking_kick_is_read_without_blocking(void **state)
{
	const uint64_t one = 1;
	int kick = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_KICK, dup(kick)), 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_false(vhi_queue_ack(ring.q));
	assert_int_equal(write(kick, &one, 8), 8);
	assert_true(vhi_queue_ack(ring.q));
	assert_false(vhi_queue_ack(ring.q));
	assert_false(fcntl(kick, F_GETFL) & O_NONBLOCK);
	close(kick);
}

static void case_31_a_semaphore_with_a_large_count_is_no_busy_loop(void **state)
{
	const uint64_t many = UINT64_C(1) << 62, one = 1;
	int kick = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE | EFD_NONBLOCK);
	int fd = vh_queue_fd(ring.q);

	(void)state;
	assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_KICK, dup(kick)), 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(write(kick, &many, 8), 8);
	assert_true(vht_readable(fd));
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_false(vht_readable(fd));
	/* And the next kick is seen all the same. */
	assert_int_equal(write(kick, &one, 8), 8);
	assert_true(vht_readable(fd));
	close(kick);
}

static void case_154_spurious_kicks_and_a_full_counter_are_harmless(void **state)
{
	const uint64_t one = 1, max = UINT64_MAX - 1;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		assert_int_equal(write(ring.kick, &one, 8), 8);
		assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	}
	assert_int_equal(write(ring.kick, &max, 8), 8);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
	assert_int_equal(vh_queue_state(ring.q), VH_QUEUE_RUNNING);
	assert_int_equal(kicks(), 1001);
}

static void case_32_a_call_fd_that_is_full_does_not_block(void **state)
{
	const uint64_t max = UINT64_MAX - 1;

	(void)state;
	for (int flags = 0; flags <= EFD_NONBLOCK; flags += EFD_NONBLOCK) {
		int call = eventfd(0, EFD_CLOEXEC | flags);

		assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_CALL, dup(call)), 0);
		assert_int_equal(vht_drain(call), 1);
		assert_int_equal(write(call, &max, 8), 8);
		alarm(10);
		complete(1);
		complete(1);
		alarm(0);
		assert_int_equal(vht_drain(call), max);
		complete(1);
		assert_int_equal(vht_drain(call), 1);
		/* Its flags are its owner's. */
		assert_int_equal(fcntl(call, F_GETFL) & O_NONBLOCK, flags ? O_NONBLOCK : 0);
		/* Taken although it is full. */
		assert_int_equal(write(call, &max, 8), 8);
		assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_CALL, dup(call)), 0);
		close(call);
	}
}

static void case_155_a_queue_without_fds_is_polled(void **state)
{
	(void)state;
	assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_KICK, -1), 0);
	assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_CALL, -1), 0);
	assert_true(vh_queue_fd(ring.q) >= 0);
	complete(3);
	assert_int_equal(vht_used_idx(&ring), 3);
	assert_int_equal(vht_drain(ring.call), 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
}

static void case_160_the_err_fd_is_signalled_once_when_the_queue_breaks(void **state)
{
	struct vh_req req;
	int err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	assert_int_equal(vhi_queue_set_fd(ring.q, VHI_QUEUE_ERR, dup(err)), 0);
	assert_int_equal(vht_drain(err), 0);
	vht_offer(&ring, 99);
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), -EPROTO);
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), -EPROTO);
	assert_int_equal(vhi_queue_break(ring.q, -EIO, 99, "again"), -EIO);
	assert_int_equal(vht_drain(err), 1);
	assert_int_equal(vh_queue_arm(ring.q), -EPROTO);
	close(err);
}

#define CASE(f)	 cmocka_unit_test_setup_teardown(f, setup, teardown)
#define EVENT(f) cmocka_unit_test_setup_teardown(f, setup_event_idx, teardown)

int main(void)
{
	const struct CMUnitTest split[] = {
		EVENT(case_152_used_event_is_honoured_for_every_distance),
		CASE(case_152_event_passed_is_right_for_all_events),
		EVENT(case_157_the_first_push_after_start_is_always_signalled),
		EVENT(arming_with_event_idx_moves_the_event),
	};
	const struct CMUnitTest tests[] = {
		CASE(a_batch_is_signalled_once),
		CASE(a_driver_that_asked_for_no_interrupts_gets_none),
		CASE(arming_asks_for_kicks_and_looks_again),
		EVENT(what_is_left_in_the_ring_does_not_hide_what_comes),
		CASE(the_fd_is_readable_after_a_kick_until_armed),
		CASE(a_kick_that_was_acked_is_not_drained_again),
		CASE(replacing_the_kick_loses_no_wake_up),
		CASE(case_156_a_new_call_fd_is_signalled_once),
		CASE(case_34_fds_are_closed_when_they_are_replaced),
		CASE(case_33_one_open_file_as_kick_and_call_of_two_queues),
		CASE(case_31_only_eventfds_are_taken_and_others_are_closed),
		CASE(case_31_a_blocking_kick_is_read_without_blocking),
		CASE(case_31_a_semaphore_with_a_large_count_is_no_busy_loop),
		CASE(case_154_spurious_kicks_and_a_full_counter_are_harmless),
		CASE(case_32_a_call_fd_that_is_full_does_not_block),
		CASE(case_155_a_queue_without_fds_is_polled),
		CASE(case_160_the_err_fd_is_signalled_once_when_the_queue_breaks),
	};

	int failed = vht_run_layouts(tests);

	vht_layout = 0;
	return failed + cmocka_run_group_tests(split, NULL, NULL);
}
