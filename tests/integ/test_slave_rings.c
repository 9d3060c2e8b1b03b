/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The back-end's rings: what starts, enables and stops them, and what is refused in which state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
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

static int setup_manual(void **state)
{
	(void)state;
	vht_peer_init(p, NULL, NULL, VH_DEVICE_MANUAL_QUEUES);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

static uint32_t state_of(uint32_t i)
{
	struct vh_queue *q;

	assert_int_equal(vh_slave_queue(p->s, i, &q), 0);
	return (uint32_t)vh_queue_state(q);
}

static void num(void)
{
	vht_ok_state(p, M_SET_VRING_NUM, 0, p->vq[0].num);
}

static void addr(void)
{
	struct vh_vring_addr a = vht_addr(p, 0);

	vht_ok(p, M_SET_VRING_ADDR, &a, sizeof(a), -1);
}

static void mem(void)
{
	vht_send_mem(p);
}

static void slot(void)
{
	vht_send_region(p, M_ADD_MEM_REG, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE, p->memfd);
	vht_expect_u64(p, M_ADD_MEM_REG, 0);
}

static void kick(void)
{
	vht_set_kick(p, 0);
}

static void a_ring_starts_with_the_message_that_completes_it(void **state)
{
	static const struct {
		void (*steps[4])(void);
		int32_t reason;
	} orders[] = {
		{{mem, num, addr, kick}, VH_START_KICK_FD},    {{addr, num, mem, kick}, VH_START_KICK_FD},
		{{num, slot, addr, kick}, VH_START_KICK_FD},   {{kick, num, addr, mem}, VH_START_COMPLETED},
		{{kick, mem, addr, num}, VH_START_COMPLETED},  {{mem, kick, num, addr}, VH_START_COMPLETED},
		{{num, addr, kick, slot}, VH_START_COMPLETED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		vht_peer_free(p);
		vht_peer_init(p, NULL, NULL, 0);
		vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
		for (int k = 0; k < 3; k++) {
			orders[i].steps[k]();
			assert_int_equal(state_of(0), VH_QUEUE_STOPPED);
		}
		orders[i].steps[3]();
		assert_int_equal(state_of(0), VH_QUEUE_RUNNING);
		assert_int_equal(vht_event(p, VH_EVENT_STARTED).reason, orders[i].reason);
		assert_int_equal(p->echo.started, 1);
	}
}

static void a_ring_that_does_not_fit_its_memory_is_refused_at_kick_and_can_be_set_right(void **state)
{
	uint64_t v = 0;
	int fd = eventfd(0, EFD_NONBLOCK);

	(void)state;
	/* Catalogue 60, 61: addresses first, then a size that takes the ring out of its region. */
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	p->vq[0].desc = VHT_MEM_SIZE - 16 * 16;
	addr();
	num();
	mem();
	vht_ok_state(p, M_SET_VRING_NUM, 0, 32);
	vht_nack(p, M_SET_VRING_KICK, &v, sizeof(v), fd);
	close(fd);
	assert_int_equal(state_of(0), VH_QUEUE_STOPPED);
	num();
	kick();
	assert_int_equal(state_of(0), VH_QUEUE_RUNNING);
}

static void a_wanted_ring_starts_with_the_first_kick_when_nothing_else_did_it(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	kick();
	mem();
	num();
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(state_of(0), VH_QUEUE_STOPPED);
	/* What a transient failure leaves behind: complete and not started. */
	p->s->rings[0].addr = vht_addr(p, 0);
	p->s->rings[0].has_addr = true;
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(state_of(0), VH_QUEUE_RUNNING);
	assert_int_equal(vht_event(p, VH_EVENT_STARTED).reason, VH_START_KICK);
}

static void kick_before_the_ring_is_complete_is_not_lost(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	kick();
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	num();
	addr();
	mem();
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void case_69_kick_before_enable_is_served_after_enable_without_another(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	mem();
	vht_ring_up(p, 0);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
	assert_int_equal(vht_event(p, VH_EVENT_ENABLED).queue, 0);
}

static void case_70_a_disabled_ring_is_left_alone_until_it_is_enabled_again(void **state)
{
	(void)state;
	vht_peer_up(p);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 0);
	assert_int_equal(vht_event(p, VH_EVENT_DISABLED).queue, 0);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void case_72_without_bit_30_rings_are_enabled_when_they_start(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_VERSION);
	mem();
	vht_offer_echo(p, 0);
	vht_ring_up(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void enable_is_taken_before_set_features_and_for_rings_that_are_not_there_yet(void **state)
{
	(void)state;
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, VHT_PF);
	for (uint32_t i = 0; i < VHT_QUEUES; i++)
		vht_ok_state(p, M_SET_VRING_ENABLE, i, 1);
	vht_ok_u64(p, M_SET_FEATURES, VHT_BIT30 | VHT_VERSION);
	mem();
	vht_offer_echo(p, 0);
	vht_ring_up(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void set_features_without_bit_30_enables_all_rings(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_ok_u64(p, M_SET_FEATURES, VHT_VERSION);
	for (uint32_t i = 0; i < VHT_QUEUES; i++)
		assert_true(p->s->rings[i].enabled);
	vht_ok_u64(p, M_SET_FEATURES, VHT_BIT30 | VHT_VERSION);
	assert_true(p->s->rings[0].enabled);
}

static void requests_are_served_and_the_driver_is_told(void **state)
{
	(void)state;
	vht_peer_up(p);
	vht_count(p->vq[0].call);
	for (int i = 0; i < 40; i++) {
		uint8_t *data = p->mem + 0x40000 + 64 * (i % 8);

		memset(data, i + 1, 16);
		vht_offer_echo(p, 0);
		vht_kick(p, 0);
		vht_pump(p);
		assert_int_equal(vht_used(p, 0), i + 1);
		assert_int_equal(data[16], i + 1);
		assert_true(vht_count(p->vq[0].call) > 0);
	}
}

static void a_ring_without_a_kick_fd_is_polled(void **state)
{
	uint64_t v = 0x100;

	(void)state;
	vht_peer_up(p);
	vht_msg(p, M_GET_VRING_BASE, F_REQUEST, (uint32_t[2]){0, 0}, 8, -1);
	vht_expect(p, M_GET_VRING_BASE);
	vht_ok(p, M_SET_VRING_KICK, &v, sizeof(v), -1);
	assert_int_equal(state_of(0), VH_QUEUE_RUNNING);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(vh_slave_dispatch(p->s), 1);
		vht_offer_echo(p, 0);
		assert_int_equal(vh_slave_dispatch(p->s), 1);
		assert_int_equal(vht_used(p, 0), i + 1);
	}
	/* It stops being hot when it stops. */
	vht_msg(p, M_GET_VRING_BASE, F_REQUEST, (uint32_t[2]){0, 0}, 8, -1);
	vht_expect(p, M_GET_VRING_BASE);
	assert_int_equal(vh_slave_dispatch(p->s), 0);
}

static void a_call_fd_may_be_absent_and_be_replaced_while_running(void **state)
{
	uint64_t v = 0x100;
	int old;

	(void)state;
	vht_peer_up(p);
	vht_ok(p, M_SET_VRING_CALL, &v, sizeof(v), -1);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
	/* Case 156: whatever completed before is told to the new one. */
	vht_set_call(p, 0);
	assert_int_equal(vht_count(p->vq[0].call), 1);
	old = dup(p->vq[0].call);
	vht_set_call(p, 0);
	vht_count(p->vq[0].call);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_count(p->vq[0].call), 1);
	assert_int_equal(vht_count(old), 0);
	close(old);
}

static void a_kick_fd_that_was_replaced_wakes_nobody(void **state)
{
	int old;

	(void)state;
	vht_peer_up(p);
	old = dup(p->vq[0].kick);
	vht_set_kick(p, 0);
	vht_pump(p);
	for (int i = 0; i < 3; i++) {
		uint64_t one = 1;
		struct pollfd pfd = {.fd = vh_slave_fd(p->s), .events = POLLIN};

		assert_int_equal(write(old, &one, sizeof(one)), sizeof(one));
		assert_int_equal(poll(&pfd, 1, 0), 0);
	}
	close(old);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void case_34_fds_do_not_pile_up(void **state)
{
	unsigned before;

	(void)state;
	vht_peer_up(p);
	vht_set_err(p, 0);
	before = vht_open_fds();
	for (int i = 0; i < 1000; i++) {
		vht_set_call(p, 0);
		vht_set_kick(p, 0);
		vht_set_err(p, 0);
	}
	assert_int_equal(vht_open_fds(), before);
}

static void case_31_a_kick_fd_of_another_kind_is_refused(void **state)
{
	int pipes[2];
	uint64_t v = 0;

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	assert_int_equal(pipe(pipes), 0);
	vht_nack(p, M_SET_VRING_KICK, &v, sizeof(v), pipes[0]);
	vht_nack(p, M_SET_VRING_CALL, &v, sizeof(v), pipes[1]);
	vht_nack(p, M_SET_VRING_ERR, &v, sizeof(v), p->memfd);
	vht_nack(p, M_SET_VRING_KICK, &v, sizeof(v), p->fd);
	close(pipes[0]);
	close(pipes[1]);
	/* The old one stays. */
	mem();
	vht_ring_up(p, 0);
	vht_nack(p, M_SET_VRING_KICK, &v, sizeof(v), p->memfd);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	vht_pump(p);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void get_vring_base_stops_and_reports_and_can_be_asked_again(void **state)
{
	(void)state;
	vht_peer_up(p);
	for (int i = 0; i < 3; i++) {
		vht_offer_echo(p, 0);
		vht_kick(p, 0);
	}
	vht_pump(p);
	for (int i = 0; i < 2; i++) {
		vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
		vht_expect(p, M_GET_VRING_BASE);
		assert_int_equal(p->reply.size, 8);
		assert_int_equal(vht_u32(&p->reply, 0), 0);
		assert_int_equal(vht_u32(&p->reply, 4), 3);
	}
	assert_int_equal(state_of(0), VH_QUEUE_STOPPED);
	assert_int_equal(vht_event(p, VH_EVENT_STOPPED).value, 3);
	assert_int_equal(p->echo.stopped, 1);
	/* Both fds are closed: a kick reaches nobody. */
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 3);
	p->vq[0].base = 3;
	vht_ring_up(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 4);
}

static void case_65_get_vring_base_of_a_ring_that_never_ran_answers_its_base(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_ok_state(p, M_SET_VRING_BASE, 1, 77);
	for (int i = 0; i < 2; i++) {
		vht_msg_state(p, M_GET_VRING_BASE, F_NEED_REPLY, 1, 0);
		vht_expect(p, M_GET_VRING_BASE);
		assert_int_equal(vht_u32(&p->reply, 0), 1);
		assert_int_equal(vht_u32(&p->reply, 4), 77);
	}
}

static void a_ring_goes_on_where_it_was_told_to(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	mem();
	p->vq[0].next = p->vq[0].base = 65534;
	((uint16_t *)(void *)(p->mem + p->vq[0].avail))[1] = htole16(65534);
	((uint16_t *)(void *)(p->mem + p->vq[0].used))[1] = htole16(65534);
	vht_ring_up(p, 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	for (int i = 0; i < 4; i++)
		vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 2);
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
	assert_int_equal(vht_u32(&p->reply, 4), 2);
}

static void case_62_63_what_would_change_a_running_ring_is_refused(void **state)
{
	struct vh_vring_addr a = vht_addr(p, 0);

	(void)state;
	vht_peer_up(p);
	vht_nack_state(p, M_SET_VRING_NUM, 0, 8);
	vht_nack_state(p, M_SET_VRING_BASE, 0, 0);
	a.used += 4;
	vht_nack(p, M_SET_VRING_ADDR, &a, sizeof(a), -1);
	a = vht_addr(p, 0);
	a.flags = 1;
	a.log = 0x1000;
	vht_ok(p, M_SET_VRING_ADDR, &a, sizeof(a), -1);
	vht_nack_u64(p, M_SET_FEATURES, VHT_BIT30);
	vht_ok_u64(p, M_SET_FEATURES, VHT_BIT30 | VHT_VERSION);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void case_100_to_106_bad_geometry_is_refused(void **state)
{
	static const uint32_t indices[] = {VHT_QUEUES, 128, 255, 256, 65535, UINT32_MAX};
	static const uint32_t nums[] = {0, 3, 5, 1000, VHT_QUEUE_MAX + 1, 2 * VHT_QUEUE_MAX, 65536, 65537, UINT32_MAX};
	struct vh_vring_addr a;

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	mem();
	for (size_t i = 0; i < sizeof(indices) / sizeof(indices[0]); i++) {
		a = vht_addr(p, 0);
		a.index = indices[i];
		vht_nack(p, M_SET_VRING_ADDR, &a, sizeof(a), -1);
		vht_nack_state(p, M_SET_VRING_NUM, indices[i], 16);
		vht_nack_state(p, M_SET_VRING_BASE, indices[i], 0);
		vht_nack_state(p, M_SET_VRING_ENABLE, indices[i], 1);
		if (indices[i] < 256) {
			vht_nack_u64(p, M_SET_VRING_KICK, indices[i] | 0x100);
			vht_nack_u64(p, M_SET_VRING_CALL, indices[i] | 0x100);
		}
	}
	for (size_t i = 0; i < sizeof(nums) / sizeof(nums[0]); i++)
		vht_nack_state(p, M_SET_VRING_NUM, 0, nums[i]);
	vht_ok_state(p, M_SET_VRING_NUM, 0, VHT_QUEUE_MAX);
	num();
	for (uint32_t i = 0; i < 3; i++) {
		static const uint32_t off[] = {8, 1, 2};

		a = vht_addr(p, 0);
		*(i == 0 ? &a.desc : i == 1 ? &a.avail : &a.used) += off[i];
		vht_nack(p, M_SET_VRING_ADDR, &a, sizeof(a), -1);
		/* The last part of the ring is outside: unmapped, near the end of the address space, one entry over. */
		a = vht_addr(p, 0);
		*(i == 0 ? &a.desc : i == 1 ? &a.avail : &a.used) = 0x1000;
		vht_nack(p, M_SET_VRING_ADDR, &a, sizeof(a), -1);
		*(i == 0 ? &a.desc : i == 1 ? &a.avail : &a.used) = UINT64_MAX - 15;
		vht_nack(p, M_SET_VRING_ADDR, &a, sizeof(a), -1);
		*(i == 0 ? &a.desc : i == 1 ? &a.avail : &a.used) = VHT_MEM_UVA + VHT_MEM_SIZE - 16;
		vht_nack(p, M_SET_VRING_ADDR, &a, sizeof(a), -1);
	}
	vht_msg_state(p, M_GET_VRING_BASE, F_NEED_REPLY, VHT_QUEUES, 0);
	vht_expect_closed(p);
}

static void a_broken_ring_is_told_and_can_be_stopped_and_started_again(void **state)
{
	struct vh_event e;

	(void)state;
	vht_peer_up(p);
	vht_set_err(p, 0);
	vht_ring_up(p, 1);
	vht_ok_state(p, M_SET_VRING_ENABLE, 1, 1);
	((uint16_t *)(void *)(p->mem + p->vq[0].avail))[1] = htole16(300);
	vht_kick(p, 0);
	vht_pump(p);
	e = vht_event(p, VH_EVENT_BROKEN);
	assert_int_equal(e.queue, 0);
	assert_int_equal(e.reason, -EPROTO);
	assert_in_range(e.value, 400, 499);
	assert_int_equal(vht_count(p->vq[0].err), 1);
	vht_msg(p, M_GET_STATUS, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_STATUS, VHI_STATUS_NEEDS_RESET);
	/* The other ring goes on. */
	vht_offer_echo(p, 1);
	vht_kick(p, 1);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 1), 1);
	vht_nack_state(p, M_SET_VRING_BASE, 0, 0);
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
	assert_int_equal(vht_u32(&p->reply, 4), 0);
	((uint16_t *)(void *)(p->mem + p->vq[0].avail))[1] = 0;
	p->vq[0].next = 0;
	vht_offer_echo(p, 0);
	vht_ring_up(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void a_device_that_gives_up_breaks_its_queue(void **state)
{
	(void)state;
	vht_peer_up(p);
	p->echo.batch_rc = -EIO;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_event(p, VH_EVENT_BROKEN).reason, -EIO);
}

static void case_139_work_for_each_wake_up_is_bounded(void **state)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .budget = 2};

	(void)state;
	vht_peer_free(p);
	vht_peer_init(p, &opts, NULL, 0);
	vht_peer_up(p);
	for (int i = 0; i < 7; i++)
		vht_offer_echo(p, 0);
	vht_kick(p, 0);
	assert_int_equal(vh_slave_dispatch(p->s), 1);
	assert_int_equal(vht_used(p, 0), 2);
	assert_int_equal(vh_slave_dispatch(p->s), 1);
	assert_int_equal(vht_used(p, 0), 4);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 7);
}

static void the_user_of_manual_queues_is_woken_and_pops_himself(void **state)
{
	struct vh_queue *q;
	struct pollfd pfd = {.events = POLLIN};
	struct vh_req req;
	struct vh_cpl cpl = {0};

	(void)state;
	assert_int_equal(vh_slave_queue(p->s, 0, &q), 0);
	pfd.fd = vh_queue_fd(q);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_offer_echo(p, 0);
	mem();
	vht_ring_up(p, 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	assert_int_equal(poll(&pfd, 1, 0), 1);
	assert_int_equal(vh_queue_arm(q), VH_QUEUE_MORE);
	assert_int_equal(vh_queue_pop(q, &req, 1), 1);
	cpl.token = req.token;
	assert_int_equal(vh_queue_push(q, &cpl, 1), 0);
	assert_int_equal(vh_queue_arm(q), VH_QUEUE_SLEEP);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	/* The kick is his alone. */
	vht_kick(p, 0);
	assert_int_equal(poll(&pfd, 1, 0), 1);
	pfd.fd = vh_slave_fd(p->s);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	assert_int_equal(p->echo.batches, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_ring_starts_with_the_message_that_completes_it),
		T(a_ring_that_does_not_fit_its_memory_is_refused_at_kick_and_can_be_set_right),
		T(a_wanted_ring_starts_with_the_first_kick_when_nothing_else_did_it),
		T(kick_before_the_ring_is_complete_is_not_lost),
		T(case_69_kick_before_enable_is_served_after_enable_without_another),
		T(case_70_a_disabled_ring_is_left_alone_until_it_is_enabled_again),
		T(case_72_without_bit_30_rings_are_enabled_when_they_start),
		T(enable_is_taken_before_set_features_and_for_rings_that_are_not_there_yet),
		T(set_features_without_bit_30_enables_all_rings),
		T(requests_are_served_and_the_driver_is_told),
		T(a_ring_without_a_kick_fd_is_polled),
		T(a_call_fd_may_be_absent_and_be_replaced_while_running),
		T(a_kick_fd_that_was_replaced_wakes_nobody),
		T(case_34_fds_do_not_pile_up),
		T(case_31_a_kick_fd_of_another_kind_is_refused),
		T(get_vring_base_stops_and_reports_and_can_be_asked_again),
		T(case_65_get_vring_base_of_a_ring_that_never_ran_answers_its_base),
		T(a_ring_goes_on_where_it_was_told_to),
		T(case_62_63_what_would_change_a_running_ring_is_refused),
		T(case_100_to_106_bad_geometry_is_refused),
		T(a_broken_ring_is_told_and_can_be_stopped_and_started_again),
		T(a_device_that_gives_up_breaks_its_queue),
		T(case_139_work_for_each_wake_up_is_bounded),
		cmocka_unit_test_setup_teardown(the_user_of_manual_queues_is_woken_and_pops_himself, setup_manual,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
