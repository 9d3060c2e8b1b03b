/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Replies that have to wait: for requests in flight, for callbacks that answer later, for other threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vht_peer.h"

static struct vht_peer peer;
static struct vht_peer *const p = &peer;

static int setup(void **state)
{
	(void)state;
	vht_peer_init(p, NULL, NULL, 0);
	return 0;
}

static int setup_impatient(void **state)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .drain_timeout_ms = 60};

	(void)state;
	vht_peer_init(p, &opts, NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

/* A ring with requests in flight. */
static void hold(uint32_t n)
{
	vht_peer_up(p);
	p->echo.hold = true;
	for (uint32_t i = 0; i < n; i++)
		vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(p->echo.n_held, n);
}

static void get_base(void)
{
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
}

static void case_64_get_vring_base_is_answered_after_the_last_request_in_flight(void **state)
{
	struct vh_event e;

	(void)state;
	hold(5);
	get_base();
	vht_expect_silence(p);
	e = vht_event(p, VH_EVENT_DRAINING);
	assert_int_equal(e.queue, 0);
	assert_int_equal(e.value, 5);
	assert_int_equal(vht_slave_stats(p).owed, 1);
	assert_true(vht_slave_stats(p).oldest_owed_ns > 0);
	/* Nothing new is taken. */
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_expect_silence(p);
	assert_int_equal(p->echo.n_held, 5);
	assert_int_equal(vht_push_held(p), 0);
	vht_expect(p, M_GET_VRING_BASE);
	assert_int_equal(vht_u32(&p->reply, 4), 5);
	assert_int_equal(vht_used(p, 0), 5);
	assert_int_equal(vht_event(p, VH_EVENT_STOPPED).value, 5);
	assert_int_equal(vht_slave_stats(p).owed, 0);
}

static void replies_leave_in_the_order_of_their_requests(void **state)
{
	struct vht_msg m;
	uint32_t want[] = {M_GET_VRING_BASE, M_GET_FEATURES, M_GET_QUEUE_NUM, M_GET_STATUS};

	(void)state;
	hold(1);
	get_base();
	for (int i = 1; i < 4; i++)
		vht_msg(p, want[i], F_REQUEST, NULL, 0, -1);
	vht_expect_silence(p);
	assert_int_equal(vht_slave_stats(p).owed, 4);
	vht_push_held(p);
	vht_pump(p);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(vht_recv(p->fd, &m), 1);
		assert_int_equal(m.request, want[i]);
	}
}

static void case_75_a_message_that_must_wait_is_held_with_all_that_follow(void **state)
{
	struct vht_msg m;
	uint32_t want[] = {M_GET_VRING_BASE, M_SET_VRING_BASE, M_GET_FEATURES, M_GET_VRING_BASE};

	(void)state;
	hold(2);
	get_base();
	vht_msg_state(p, M_SET_VRING_BASE, F_NEED_REPLY, 0, 40);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	get_base();
	vht_expect_silence(p);
	assert_int_equal(vht_slave_stats(p).owed, 1);
	vht_push_held(p);
	vht_pump(p);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(vht_recv(p->fd, &m), 1);
		assert_int_equal(m.request, want[i]);
		if (m.request == M_GET_VRING_BASE)
			assert_int_equal(vht_u32(&m, 4), i ? 40 : 2);
	}
}

static void what_may_be_owed_is_bounded(void **state)
{
	struct vht_msg m;

	(void)state;
	hold(1);
	get_base();
	for (int i = 0; i < 100; i++)
		vht_msg(p, M_GET_STATUS, F_REQUEST, NULL, 0, -1);
	vht_expect_silence(p);
	assert_in_range(vht_slave_stats(p).owed, 2, 64);
	vht_push_held(p);
	vht_pump(p);
	for (int i = 0; i < 101; i++)
		assert_int_equal(vht_recv(p->fd, &m), 1);
}

static void wait_for_end(int32_t reason)
{
	for (int i = 0; i < 100 && vht_slave_stats(p).connected; i++)
		vht_pump_wait(p);
	vht_expect_closed(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, reason);
}

static void a_drain_that_takes_too_long_ends_the_connection(void **state)
{
	(void)state;
	hold(3);
	get_base();
	vht_expect_silence(p);
	wait_for_end(-ETIMEDOUT);
	/* What was in flight is stale now, and harmless. */
	assert_int_equal(vht_push_held(p), -ESTALE);
	assert_int_equal(vht_used(p, 0), 0);
	assert_int_equal(p->echo.stopped, 1);
}

static void an_answer_that_nobody_reads_is_the_end_and_its_reason_says_whether_a_message_was_cut(void **state)
{
	(void)state;
	for (int cut = 0; cut < 2; cut++) {
		hold(1);
		get_base();
		if (cut)
			assert_int_equal(send(p->fd, "\1\0\0", 3, 0), 3);
		vht_expect_silence(p);
		assert_int_equal(shutdown(p->fd, SHUT_RD), 0);
		vht_push_held(p);
		vht_pump(p);
		assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, cut ? -ECONNRESET : 0);
		close(p->fd);
		vht_peer_connect(p);
		p->vq[0].next = 0;
		memset(p->mem, 0, 0x4000);
	}
}

static void requests_in_flight_at_the_end_are_stale_and_their_memory_stays(void **state)
{
	struct vh_snapshot *snap;
	const struct vh_seg *segs;
	struct vh_queue *q;
	uint64_t at;

	(void)state;
	hold(3);
	assert_int_equal(vh_slave_queue(p->s, 0, &q), 0);
	assert_int_equal(vh_queue_dup_snapshot(q, &snap), 0);
	segs = (const struct vh_seg *)(uintptr_t)p->echo.held[0].segs;
	at = segs[0].addr;
	close(p->fd);
	p->fd = -1;
	vht_pump(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, 0);
	*(volatile uint8_t *)(uintptr_t)at = 1;
	vh_snapshot_free(snap);
	/* Also after a new connection runs the same ring. */
	p->echo.hold = false;
	vht_peer_connect(p);
	p->vq[0].base = p->vq[0].next;
	((uint16_t *)(void *)(p->mem + p->vq[0].used))[1] = htole16(p->vq[0].next);
	vht_peer_up(p);
	assert_int_equal(vht_push_held(p), -ESTALE);
	assert_int_equal(vht_used(p, 0), p->vq[0].next);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), p->vq[0].next);
}

static void case_66_a_new_table_waits_for_requests_in_flight_and_rings_go_on(void **state)
{
	uint64_t table[9] = {VHT_PAIR(2, 0),
			     VHT_MEM_GPA,
			     VHT_MEM_SIZE,
			     VHT_MEM_UVA,
			     0,
			     VHT_MEM_GPA + VHT_MEM_SIZE,
			     0x100000,
			     VHT_MEM_UVA + VHT_MEM_SIZE,
			     0};
	int fds[2] = {p->memfd, p->memfd};

	(void)state;
	hold(4);
	vht_send(p->fd, M_SET_MEM_TABLE, F_NEED_REPLY, table, sizeof(table), fds, 2);
	vht_expect_silence(p);
	assert_int_equal(vht_event(p, VH_EVENT_DRAINING).value, 4);
	/* While it waits nothing is taken. */
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(p->echo.n_held, 4);
	p->echo.hold = false;
	vht_push_held(p);
	vht_expect_u64(p, M_SET_MEM_TABLE, 0);
	assert_int_equal(vht_event(p, VH_EVENT_MEMORY_CHANGED).queue, VH_ERROR_NONE);
	/* The kick of before is not lost. */
	assert_int_equal(vht_used(p, 0), 5);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 6);
}

static void adding_a_region_waits_for_nothing(void **state)
{
	(void)state;
	hold(2);
	vht_send_region(p, M_ADD_MEM_REG, F_NEED_REPLY, VHT_MEM_GPA + VHT_MEM_SIZE, VHT_MEM_UVA + VHT_MEM_SIZE,
			VHT_MEM_SIZE, p->memfd);
	vht_expect_u64(p, M_ADD_MEM_REG, 0);
	/* Removing it does. */
	vht_send_region(p, M_REM_MEM_REG, F_NEED_REPLY, VHT_MEM_GPA + VHT_MEM_SIZE, VHT_MEM_UVA + VHT_MEM_SIZE,
			VHT_MEM_SIZE, -1);
	vht_expect_silence(p);
	vht_push_held(p);
	vht_expect_u64(p, M_REM_MEM_REG, 0);
	assert_int_equal(vht_used(p, 0), 2);
}

static void case_67_a_ring_that_the_new_table_does_not_hold_breaks(void **state)
{
	struct vh_event e;

	(void)state;
	vht_peer_up(p);
	vht_set_err(p, 0);
	vht_send_table(p, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA + 0x10000000, VHT_MEM_SIZE);
	vht_expect_u64(p, M_SET_MEM_TABLE, 0);
	e = vht_event(p, VH_EVENT_BROKEN);
	assert_int_equal(e.reason, -EFAULT);
	assert_int_equal(e.value, VHI_SITE_SLAVE_RING_GONE);
	assert_int_equal(vht_count(p->vq[0].err), 1);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 0);
	get_base();
	vht_expect(p, M_GET_VRING_BASE);
}

static void a_ring_whose_guest_addresses_moved_breaks(void **state)
{
	(void)state;
	vht_peer_up(p);
	vht_send_table(p, F_NEED_REPLY, 2 * VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE);
	vht_expect_u64(p, M_SET_MEM_TABLE, 0);
	assert_int_equal(vht_event(p, VH_EVENT_BROKEN).value, VHI_SITE_SLAVE_RING_GONE);
}

static void case_68_a_bad_table_changes_nothing(void **state)
{
	(void)state;
	hold(1);
	vht_send_table(p, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, 0);
	vht_expect_u64(p, M_SET_MEM_TABLE, 1);
	vht_send_table(p, F_NEED_REPLY, UINT64_MAX - 100, VHT_MEM_UVA, VHT_MEM_SIZE);
	vht_expect_u64(p, M_SET_MEM_TABLE, 1);
	vht_send_table(p, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, 2 * VHT_MEM_SIZE);
	vht_expect_u64(p, M_SET_MEM_TABLE, 1);
	vht_send_region(p, M_REM_MEM_REG, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, 0x1000, -1);
	vht_expect_u64(p, M_REM_MEM_REG, 1);
	p->echo.hold = false;
	vht_push_held(p);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 2);
}

static void memory_is_changed_once_more_while_nothing_is_in_flight(void **state)
{
	(void)state;
	vht_peer_up(p);
	for (int i = 0; i < 200; i++) {
		vht_send_table(p, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE);
		vht_offer_echo(p, 0);
		vht_kick(p, 0);
		vht_expect_u64(p, M_SET_MEM_TABLE, 0);
		vht_pump(p);
		assert_int_equal(vht_used(p, 0), i + 1);
	}
}

static void a_memory_change_that_is_cut_off_leaves_no_ring_paused(void **state)
{
	(void)state;
	hold(1);
	vht_send_table(p, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE);
	vht_expect_silence(p);
	close(p->fd);
	p->fd = -1;
	vht_pump(p);
	p->echo.hold = false;
	p->echo.n_held = 0;
	vht_peer_connect(p);
	p->vq[0].base = p->vq[0].next;
	vht_peer_up(p);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(p->echo.served, 2);
}

static void case_71_reset_drains_stops_and_starts_over(void **state)
{
	static const uint32_t ids[] = {M_RESET_DEVICE, M_RESET_OWNER};

	(void)state;
	for (int i = 0; i < 2; i++) {
		vht_peer_free(p);
		vht_peer_init(p, NULL, NULL, 0);
		hold(3);
		vht_ok_u64(p, M_SET_STATUS, 15);
		vht_msg(p, ids[i], F_NEED_REPLY, NULL, 0, -1);
		vht_expect_silence(p);
		assert_int_equal(p->echo.resets, 0);
		vht_push_held(p);
		vht_expect_u64(p, ids[i], 0);
		assert_int_equal(p->echo.resets, 1);
		assert_int_equal(vht_event(p, VH_EVENT_RESET).reason, 0);
		vht_msg(p, M_GET_STATUS, F_REQUEST, NULL, 0, -1);
		vht_expect_u64(p, M_GET_STATUS, 0);
		assert_false(p->s->rings[0].enabled);
		get_base();
		vht_expect(p, M_GET_VRING_BASE);
		assert_int_equal(vht_u32(&p->reply, 4), 0);
		p->echo.hold = false;
		p->vq[0].base = 3;
		vht_ring_up(p, 0);
		vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
		vht_offer_echo(p, 0);
		vht_kick(p, 0);
		vht_pump(p);
		assert_int_equal(vht_used(p, 0), 4);
	}
}

static void a_reset_that_the_device_fails_is_said_so(void **state)
{
	(void)state;
	vht_peer_up(p);
	p->echo.reset_rc = -EIO;
	vht_nack(p, M_RESET_DEVICE, NULL, 0, -1);
	assert_int_equal(vht_event(p, VH_EVENT_RESET).reason, -EIO);
}

static void callbacks_may_answer_later(void **state)
{
	uint32_t config[4] = {4, 4, 0, 0xabcd};

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	p->echo.config_rc = p->echo.features_rc = p->echo.reset_rc = -EINPROGRESS;
	/* Accepted later, refused later. */
	for (int32_t rc = 0; rc >= -1; rc--) {
		vht_msg(p, M_SET_CONFIG, F_NEED_REPLY, config, sizeof(config), -1);
		vht_expect_silence(p);
		assert_int_equal(vh_device_finish(p->dev, p->echo.later, rc), 0);
		vht_expect_u64(p, M_SET_CONFIG, rc != 0);
		assert_int_equal(vh_device_finish(p->dev, p->echo.later, rc), -ESTALE);

		vht_msg_u64(p, M_SET_FEATURES, F_NEED_REPLY, VHT_BIT30);
		vht_expect_silence(p);
		vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
		vht_pump(p);
		assert_int_equal(vh_device_finish(p->dev, p->echo.later, rc), 0);
		vht_pump(p);
		assert_int_equal(vht_recv(p->fd, &p->reply), 1);
		assert_int_equal(p->reply.request, M_SET_FEATURES);
		assert_int_equal(vht_u64(&p->reply, 0), rc != 0);
		vht_expect(p, M_GET_FEATURES);

		vht_msg(p, M_RESET_DEVICE, F_NEED_REPLY, NULL, 0, -1);
		vht_expect_silence(p);
		assert_int_equal(vh_device_finish(p->dev, p->echo.later, rc), 0);
		vht_expect_u64(p, M_RESET_DEVICE, rc != 0);
	}
	assert_int_equal(vht_event(p, VH_EVENT_CONFIG_WRITTEN).count, 1);
}

static void *finish_it(void *arg)
{
	struct vht_peer *peer_arg = arg;

	assert_int_equal(vh_device_finish(peer_arg->dev, peer_arg->echo.later, 0), 0);
	return NULL;
}

static void an_answer_from_another_thread_wakes_the_loop(void **state)
{
	uint32_t config[4] = {4, 4, 0, 0xabcd};
	pthread_t thread;

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	p->echo.config_rc = -EINPROGRESS;
	vht_msg(p, M_SET_CONFIG, F_NEED_REPLY, config, sizeof(config), -1);
	vht_expect_silence(p);
	assert_int_equal(pthread_create(&thread, NULL, finish_it, p), 0);
	vht_pump_wait(p);
	vht_expect_u64(p, M_SET_CONFIG, 0);
	pthread_join(thread, NULL);
}

static void finish_now(void *ctx)
{
	struct vht_peer *peer_arg = ctx;

	assert_int_equal(vh_device_finish(peer_arg->dev, peer_arg->echo.later, 0), 0);
}

static void an_answer_that_comes_before_its_callback_returns_counts(void **state)
{
	uint32_t config[4] = {4, 4, 0, 0xabcd};

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	p->echo.config_rc = -EINPROGRESS;
	p->echo.on_config_hook = finish_now;
	p->echo.hook_ctx = p;
	vht_ok(p, M_SET_CONFIG, config, sizeof(config), -1);
}

static void an_answer_after_the_connection_is_stale(void **state)
{
	uint32_t config[4] = {4, 4, 0, 0xabcd};

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	p->echo.config_rc = -EINPROGRESS;
	vht_msg(p, M_SET_CONFIG, F_NEED_REPLY, config, sizeof(config), -1);
	vht_expect_silence(p);
	close(p->fd);
	p->fd = -1;
	vht_pump(p);
	assert_int_equal(vh_device_finish(p->dev, p->echo.later, 0), -ESTALE);
	assert_int_equal(vh_device_finish(p->dev, 0, 0), -EINVAL);
	assert_int_equal(vh_device_finish(p->dev, p->echo.later, 1), -EINVAL);
	assert_int_equal(vh_device_finish(p->dev, p->echo.later, -EINPROGRESS), -EINVAL);
}

static void tokens_are_the_device_s_and_outlive_its_slave(void **state)
{
	uint32_t config[4] = {4, 4, 0, 0xabcd};
	uint64_t first;

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	p->echo.config_rc = -EINPROGRESS;
	vht_msg(p, M_SET_CONFIG, F_NEED_REPLY, config, sizeof(config), -1);
	vht_expect_silence(p);
	first = p->echo.later;
	vh_slave_free(p->s);
	close(p->fd);
	assert_int_equal(vh_device_finish(p->dev, first, 0), -ESTALE);
	assert_int_equal(vh_device_config_changed(p->dev), -ENOTCONN);

	/* The next slave of the same device gives out other ones. */
	assert_int_equal(vh_slave_new(NULL, p->dev, NULL, NULL, &p->s), 0);
	vht_peer_connect(p);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_msg(p, M_SET_CONFIG, F_NEED_REPLY, config, sizeof(config), -1);
	vht_expect_silence(p);
	assert_int_equal(vh_device_finish(p->dev, first, 0), -ESTALE);
	assert_true(p->echo.later > first);
	assert_int_equal(vh_device_finish(p->dev, p->echo.later, 0), 0);
	vht_expect_u64(p, M_SET_CONFIG, 0);
	assert_int_equal(vh_device_finish(NULL, 1, 0), -EINVAL);
	assert_int_equal(vh_device_config_changed(NULL), -EINVAL);
}

static void *free_device(void *arg)
{
	vh_device_free(arg);
	return NULL;
}

/* Whoever is last lets it go: once, whichever that is. */
static void a_device_and_its_slave_are_freed_on_two_threads(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		pthread_t thread;

		vht_peer_free(p);
		vht_peer_init(p, NULL, NULL, 0);
		assert_int_equal(pthread_create(&thread, NULL, free_device, p->dev), 0);
		vh_slave_free(p->s);
		pthread_join(thread, NULL);
		assert_int_equal(p->echo.destroyed, 1);
		p->s = NULL;
		p->dev = NULL;
	}
}

static void a_callback_that_never_answers_ends_the_connection(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	p->echo.features_rc = -EINPROGRESS;
	vht_msg_u64(p, M_SET_FEATURES, F_REQUEST, VHT_BIT30);
	vht_expect_silence(p);
	wait_for_end(-ETIMEDOUT);
}

static void a_front_end_that_shut_its_direction_down_gets_its_answers(void **state)
{
	(void)state;
	hold(1);
	get_base();
	vht_expect_silence(p);
	assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
	vht_expect_silence(p);
	assert_int_equal(vht_slave_stats(p).owed, 1);
	assert_int_equal(vht_push_held(p), 0);
	vht_pump(p);
	assert_int_equal(vht_recv(p->fd, &p->reply), 1);
	assert_int_equal(p->reply.request, M_GET_VRING_BASE);
	vht_expect_closed(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, 0);
}

static void a_front_end_that_is_gone_is_not_waited_for(void **state)
{
	(void)state;
	hold(1);
	get_base();
	vht_expect_silence(p);
	assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
	vht_expect_silence(p);
	close(p->fd);
	p->fd = -1;
	vht_pump(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, 0);
	assert_int_equal(vht_slave_stats(p).connected, 0);
}

static void a_front_end_that_dies_while_a_message_is_held_is_noticed(void **state)
{
	struct pollfd pfd;

	(void)state;
	hold(1);
	get_base();
	get_base();
	vht_expect_silence(p);
	close(p->fd);
	p->fd = -1;
	vht_pump(p);
	assert_int_equal(vht_event(p, VH_EVENT_DISCONNECTED).reason, 0);
	pfd = (struct pollfd){.fd = vh_slave_fd(p->s), .events = POLLIN};
	assert_int_equal(poll(&pfd, 1, 0), 0);
}

/* A queue that is driven by a thread of its own. */
struct driver {
	struct vh_queue *q;
	int ending;
	uint32_t done;
};

static void *drive(void *arg)
{
	struct driver *d = arg;

	while (!__atomic_load_n(&d->ending, __ATOMIC_ACQUIRE)) {
		struct vh_req reqs[8];
		vh_count n = vh_queue_pop(d->q, reqs, 8);

		for (vh_count i = 0; i < n; i++) {
			struct vh_cpl cpl = {.token = reqs[i].token};

			if (!vh_queue_push(d->q, &cpl, 1))
				d->done++;
		}
	}
	return NULL;
}

static void expect_soon(uint32_t id, uint64_t status)
{
	struct pollfd pfd[2] = {{.fd = p->fd, .events = POLLIN}, {.fd = vh_slave_fd(p->s), .events = POLLIN}};

	for (int i = 0; i < 100000; i++) {
		assert_true(vh_slave_dispatch(p->s) >= 0);
		assert_true(poll(pfd, 2, VHT_WAIT_MS) >= 1);
		if (pfd[0].revents)
			break;
	}
	assert_int_equal(vht_recv(p->fd, &p->reply), 1);
	assert_int_equal(p->reply.request, id);
	if (id != M_GET_VRING_BASE)
		assert_int_equal(vht_u64(&p->reply, 0), status);
}

static void expect_served(void)
{
	for (int i = 0; i < VHT_WAIT_MS && vht_used(p, 0) != p->vq[0].next; i++)
		assert_true(vh_slave_wait(p->s, 1) >= 0);
	assert_int_equal(vht_used(p, 0), p->vq[0].next);
}

static void changes_reach_a_queue_that_another_thread_is_driving(void **state)
{
	struct driver d = {0};
	pthread_t thread;
	uint32_t base;

	(void)state;
	vht_peer_free(p);
	vht_peer_init(p, NULL, NULL, VH_DEVICE_MANUAL_QUEUES);
	vht_peer_up(p);
	assert_int_equal(vh_slave_queue(p->s, 0, &d.q), 0);
	assert_int_equal(pthread_create(&thread, NULL, drive, &d), 0);
	for (int i = 0; i < 100; i++) {
		uint32_t state_msg[2] = {0, 0};

		for (int k = 0; k < 4; k++)
			vht_offer_echo(p, 0);
		vht_send_table(p, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE);
		expect_soon(M_SET_MEM_TABLE, 0);
		vht_msg_state(p, M_SET_VRING_ENABLE, F_NEED_REPLY, 0, 0);
		expect_soon(M_SET_VRING_ENABLE, 0);
		vht_msg_state(p, M_SET_VRING_ENABLE, F_NEED_REPLY, 0, 1);
		expect_soon(M_SET_VRING_ENABLE, 0);
		vht_msg(p, M_GET_VRING_BASE, F_REQUEST, state_msg, sizeof(state_msg), -1);
		expect_soon(M_GET_VRING_BASE, 0);
		base = vht_u32(&p->reply, 4);
		assert_int_equal(vht_used(p, 0), base);
		p->vq[0].base = (uint16_t)base;
		vht_ring_up(p, 0);
		expect_served();
	}
	__atomic_store_n(&d.ending, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_int_equal(d.done, p->vq[0].next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name)	    cmocka_unit_test_setup_teardown(name, setup, teardown)
#define QUICK(name) cmocka_unit_test_setup_teardown(name, setup_impatient, teardown)
		T(case_64_get_vring_base_is_answered_after_the_last_request_in_flight),
		T(replies_leave_in_the_order_of_their_requests),
		T(an_answer_that_nobody_reads_is_the_end_and_its_reason_says_whether_a_message_was_cut),
		T(case_75_a_message_that_must_wait_is_held_with_all_that_follow),
		T(what_may_be_owed_is_bounded),
		QUICK(a_drain_that_takes_too_long_ends_the_connection),
		T(requests_in_flight_at_the_end_are_stale_and_their_memory_stays),
		T(case_66_a_new_table_waits_for_requests_in_flight_and_rings_go_on),
		T(adding_a_region_waits_for_nothing),
		T(case_67_a_ring_that_the_new_table_does_not_hold_breaks),
		T(a_ring_whose_guest_addresses_moved_breaks),
		T(case_68_a_bad_table_changes_nothing),
		T(memory_is_changed_once_more_while_nothing_is_in_flight),
		T(a_memory_change_that_is_cut_off_leaves_no_ring_paused),
		T(case_71_reset_drains_stops_and_starts_over),
		T(a_reset_that_the_device_fails_is_said_so),
		T(callbacks_may_answer_later),
		T(an_answer_from_another_thread_wakes_the_loop),
		T(an_answer_that_comes_before_its_callback_returns_counts),
		T(an_answer_after_the_connection_is_stale),
		T(tokens_are_the_device_s_and_outlive_its_slave),
		T(a_device_and_its_slave_are_freed_on_two_threads),
		QUICK(a_callback_that_never_answers_ends_the_connection),
		T(a_front_end_that_shut_its_direction_down_gets_its_answers),
		T(a_front_end_that_is_gone_is_not_waited_for),
		T(a_front_end_that_dies_while_a_message_is_held_is_noticed),
		T(changes_reach_a_queue_that_another_thread_is_driving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
