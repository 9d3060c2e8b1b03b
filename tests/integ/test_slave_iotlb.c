/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A back-end behind an IOMMU: misses, updates, and what is taken back. The front-end is by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhi_iotlb.h"
#include "vhi_mem_sites.h"
#include "vhi_slave.h"
#include "vht_peer.h"

#define M_SET_INFLIGHT_FD 32
#define M_IOTLB_MSG	  22
#define B_IOTLB_MSG	  1
#define PLATFORM	  (UINT64_C(1) << VH_F_ACCESS_PLATFORM)
#define PAGE		  UINT64_C(4096)
#define R		  1
#define W		  2
#define RW		  3

enum { MISS = 1, UPDATE, INVALIDATE, FAIL };

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static int back = -1;

static void begin(const struct vh_slave_opts *given, uint32_t ops_flags)
{
	struct vh_slave_opts opts = {.size = sizeof(opts), .more_features = PLATFORM};

	if (given)
		opts.drain_timeout_ms = given->drain_timeout_ms;
	vht_peer_init(p, &opts, NULL, ops_flags);
	back = -1;
}

static int setup(void **state)
{
	(void)state;
	begin(NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (back >= 0)
		close(back);
	vht_peer_free(p);
	return 0;
}

static struct vhi_wire_iotlb message(uint32_t type, uint64_t iova, uint64_t size, uint64_t uva, uint32_t perm)
{
	return (struct vhi_wire_iotlb){
		.iova = iova, .size = size, .uva = uva, .perm = (uint8_t)perm, .type = (uint8_t)type};
}

static void iotlb(const struct vhi_wire_iotlb *m, uint64_t status)
{
	vht_msg(p, M_IOTLB_MSG, F_NEED_REPLY, m, sizeof(*m), -1);
	vht_expect_u64(p, M_IOTLB_MSG, status);
}

/* I/O addresses are guest addresses here: that is what the rings' descriptors have. */
static void known(uint64_t offset, uint64_t len, uint32_t perm)
{
	const struct vhi_wire_iotlb m = message(UPDATE, VHT_MEM_GPA + offset, len, VHT_MEM_UVA + offset, perm);

	iotlb(&m, 0);
}

static void taken_back(uint64_t offset, uint64_t len)
{
	const struct vhi_wire_iotlb m = message(INVALIDATE, VHT_MEM_GPA + offset, len, 0, 0);

	vht_msg(p, M_IOTLB_MSG, F_NEED_REPLY, &m, sizeof(m), -1);
	vht_pump(p);
}

static bool readable(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return poll(&pfd, 1, 0) == 1;
}

/* Of this type, on the channel; answered with this status unless it is -1. */
static struct vhi_wire_iotlb expect_asked(uint32_t type, int status)
{
	struct vhi_wire_iotlb asked;
	struct vht_msg m;

	vht_pump(p);
	assert_true(readable(back));
	assert_int_equal(vht_recv(back, &m), 1);
	assert_int_equal(m.request, B_IOTLB_MSG);
	assert_int_equal(m.flags, type == MISS ? F_NEED_REPLY : F_REQUEST);
	assert_int_equal(m.size, sizeof(asked));
	memcpy(&asked, m.payload, sizeof(asked));
	assert_int_equal(asked.type, type);
	if (status >= 0)
		vht_send_u64(back, B_IOTLB_MSG, F_REPLY, (uint64_t)status);
	return asked;
}

static void expect_miss(uint64_t offset, uint32_t perm)
{
	const struct vhi_wire_iotlb asked = expect_asked(MISS, 0);

	assert_int_equal(asked.iova, VHT_MEM_GPA + offset);
	assert_int_equal(asked.perm, perm);
}

static void expect_quiet(void)
{
	vht_pump(p);
	assert_false(readable(back));
}

static void ring_up(uint32_t i)
{
	struct vh_vring_addr addr = vht_addr(p, i);

	addr.desc = VHT_MEM_GPA + p->vq[i].desc;
	addr.avail = VHT_MEM_GPA + p->vq[i].avail;
	addr.used = VHT_MEM_GPA + p->vq[i].used;
	vht_ok_state(p, M_SET_VRING_NUM, i, p->vq[i].num);
	vht_ok_state(p, M_SET_VRING_BASE, i, p->vq[i].base);
	vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	vht_set_call(p, i);
	vht_set_kick(p, i);
	vht_ok_state(p, M_SET_VRING_ENABLE, i, 1);
}

static void up(void)
{
	vht_negotiate(p, VHT_VERSION | VHT_BIT30 | PLATFORM);
	back = vht_give_channel(p);
	vht_send_mem(p);
	ring_up(0);
}

/* All that the ring needs, and the misses that it had before. */
static void ring_known(void)
{
	while (vht_pump(p), readable(back))
		expect_asked(MISS, 0);
	known(0, VHT_MEM_SIZE, RW);
}

static void everything_is_asked_for_when_it_is_missed(void **state)
{
	(void)state;
	up();
	vht_offer_echo(p, 0);
	expect_miss(p->vq[0].desc, R);
	expect_miss(p->vq[0].avail, R);
	expect_miss(p->vq[0].used, W);
	expect_quiet();
	vht_kick(p, 0);
	expect_quiet();
	assert_int_equal(p->echo.served, 0);
	known(p->vq[0].desc & ~(PAGE - 1), PAGE, R);
	known(p->vq[0].avail & ~(PAGE - 1), PAGE, RW);
	known(p->vq[0].used & ~(PAGE - 1), PAGE, RW);
	/* Now it knows where the buffer is, but not what it means. */
	while (vht_pump(p), readable(back)) {
		const struct vhi_wire_iotlb asked = expect_asked(MISS, 0);

		known((asked.iova & ~(PAGE - 1)) - VHT_MEM_GPA, PAGE, RW);
	}
	assert_int_equal(vht_used(p, 0), 1);
	/* Nothing of that is asked for again. */
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	expect_quiet();
	assert_int_equal(vht_used(p, 0), 2);
}

/* As on the wire. */
struct inflight {
	uint64_t mmap_size, mmap_offset;
	uint16_t num_queues, queue_size;
	uint8_t padding[4];
};

static void up_with_records(struct inflight *in, int *file)
{
	vht_negotiate(p, VHT_VERSION | VHT_BIT30 | PLATFORM);
	back = vht_give_channel(p);
	vht_send_mem(p);
	if (*file < 0) {
		vht_msg(p, M_GET_INFLIGHT_FD, F_REQUEST, in, sizeof(*in), -1);
		vht_expect(p, M_GET_INFLIGHT_FD);
		assert_int_equal(p->reply.n_fds, 1);
		memcpy(in, p->reply.payload, sizeof(*in));
		*file = p->reply.fds[0];
		p->reply.n_fds = 0; /* it is ours */
	}
	vht_ok(p, M_SET_INFLIGHT_FD, in, sizeof(*in), *file);
	ring_up(0);
}

/* The records are read when the ring is found, which is some time after it started. */
static void in_flight_before(uint32_t ops_flags)
{
	struct inflight in = {.num_queues = 1, .queue_size = VHT_QUEUE_MAX};
	struct vh_req reqs[4];
	int file = -1;

	vht_peer_free(p);
	begin(NULL, ops_flags);
	up_with_records(&in, &file);
	ring_known();
	p->echo.hold = true;
	for (int i = 0; i < 3; i++)
		vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	if (ops_flags)
		assert_int_equal(vh_queue_pop(p->echo.queues[0], reqs, 4), 3);
	else
		assert_int_equal(p->echo.n_held, 3);
	close(p->fd);
	close(back);
	vht_pump(p);
	vht_event(p, VH_EVENT_DISCONNECTED);
	vht_push_held(p); /* of which the next one does not know */
	for (int i = 0; ops_flags && i < 3; i++) {
		const struct vh_cpl cpl = {.token = reqs[i].token};

		assert_int_equal(vh_queue_push(p->echo.queues[0], &cpl, 1), -ESTALE);
	}
	vht_peer_connect(p);
	p->echo.hold = false;
	up_with_records(&in, &file);
	vht_pump(p);
	assert_true(vht_no_event(p, VH_EVENT_RESUBMITTED));
	ring_known();
	vht_pump(p);
	if (ops_flags) {
		assert_int_equal(vh_queue_pop(p->echo.queues[0], reqs, 4), 3);
		assert_int_equal(reqs[0].flags & VH_REQ_RESUBMITTED, VH_REQ_RESUBMITTED);
		vht_pump(p);
	} else {
		assert_int_equal(vht_used(p, 0), 3);
	}
	assert_int_equal(vht_event(p, VH_EVENT_RESUBMITTED).value, 3);
	vht_pump(p);
	assert_true(vht_no_event(p, VH_EVENT_RESUBMITTED));
	close(file);
}

static void what_was_in_flight_is_told_when_the_ring_is_found(void **state)
{
	(void)state;
	in_flight_before(0);
}

static void also_when_another_thread_finds_it(void **state)
{
	(void)state;
	in_flight_before(VH_DEVICE_MANUAL_QUEUES);
}

/* What was asked where nobody answers any more, or before there was a channel at all. */
static void another_channel_is_asked_anew(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_VERSION | VHT_BIT30 | PLATFORM);
	vht_send_mem(p);
	ring_up(0);
	vht_pump(p);
	for (int i = 0; i < 2; i++) {
		back = vht_give_channel(p);
		for (int k = 0; k < 3; k++)
			expect_asked(MISS, -1);
		expect_quiet();
		if (!i)
			close(back);
	}
	vht_offer_echo(p, 0);
	known(0, VHT_MEM_SIZE, RW);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void without_being_asked_it_is_not_offered(void **state)
{
	const struct vhi_wire_iotlb m = message(UPDATE, VHT_MEM_GPA, PAGE, VHT_MEM_UVA, RW);
	struct vh_slave_opts bad = {.size = sizeof(bad), .more_features = 1};
	struct vh_slave *s;
	uint64_t offered;

	(void)state;
	assert_int_equal(vh_slave_new(&bad, p->dev, NULL, NULL, &s), -EINVAL);
	vht_peer_free(p);
	vht_peer_init(p, NULL, NULL, 0);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	memcpy(&offered, p->reply.payload, sizeof(offered));
	assert_int_equal(offered & PLATFORM, 0);
	vht_negotiate(p, VHT_VERSION | VHT_BIT30);
	iotlb(&m, 1);
}

static void case_191_bad_updates_are_refused(void **state)
{
	const struct vhi_wire_iotlb bad[] = {
		message(UPDATE, 0, PAGE, VHT_MEM_UVA + VHT_MEM_SIZE, RW),
		message(UPDATE, 0, VHT_MEM_SIZE + 1, VHT_MEM_UVA, RW),
		message(UPDATE, 0, 0, VHT_MEM_UVA, RW),
		message(UPDATE, UINT64_MAX - 4, PAGE, VHT_MEM_UVA, RW),
		message(UPDATE, 0, PAGE, VHT_MEM_UVA, 0),
		message(UPDATE, 0, PAGE, VHT_MEM_UVA, 4),
		message(UPDATE, 0, PAGE, VHT_MEM_UVA, 255),
		message(0, 0, PAGE, VHT_MEM_UVA, RW),
		message(MISS, 0, PAGE, VHT_MEM_UVA, RW),
		message(FAIL, 0, PAGE, VHT_MEM_UVA, RW),
		message(5, 0, PAGE, VHT_MEM_UVA, RW),
		message(255, 0, PAGE, VHT_MEM_UVA, RW),
	};

	(void)state;
	up();
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++)
		iotlb(&bad[i], 1);
	known(0, PAGE, RW);
}

static void case_193_requests_in_flight_end_before_the_answer(void **state)
{
	(void)state;
	up();
	ring_known();
	p->echo.hold = true;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(p->echo.n_held, 1);
	/* It is not in this range. */
	taken_back(VHT_MEM_SIZE - PAGE, PAGE);
	vht_expect_u64(p, M_IOTLB_MSG, 0);
	/* Here are its buffers, and the ring. */
	taken_back(0, VHT_MEM_SIZE);
	vht_expect_silence(p);
	assert_int_equal(vht_push_held(p), 0);
	vht_expect_u64(p, M_IOTLB_MSG, 0);
	assert_int_equal(vht_used(p, 0), 1);
	/* The ring is parked, asks where it is, and goes on. */
	p->echo.hold = false;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	ring_known();
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 2);
}

static void case_195_a_write_that_is_not_allowed_is_told(void **state)
{
	struct vh_event e;
	struct vhi_wire_iotlb asked;

	(void)state;
	up();
	while (vht_pump(p), readable(back))
		expect_asked(MISS, 0);
	known(0, VHT_MEM_SIZE, R);
	known(p->vq[0].used & ~(PAGE - 1), PAGE, RW);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	asked = expect_asked(FAIL, -1);
	assert_int_equal(asked.perm, W);
	e = vht_event(p, VH_EVENT_BROKEN);
	assert_int_equal(e.reason, -EFAULT);
	e = vht_event(p, VH_EVENT_IOTLB_FAULT);
	assert_int_equal(e.queue, 0);
	assert_int_equal(e.reason, W);
	assert_int_equal(e.value, asked.iova);
	assert_int_equal(vht_used(p, 0), 0);
}

static void a_miss_that_is_refused_breaks_the_queue(void **state)
{
	(void)state;
	up();
	expect_asked(MISS, 1);
	vht_pump(p);
	assert_int_equal(vht_event(p, VH_EVENT_BROKEN).value, 460);
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
}

static void case_196_a_miss_that_is_not_answered_parks_the_ring(void **state)
{
	const struct vh_slave_opts fast = {.drain_timeout_ms = 50};
	struct vh_event e;

	(void)state;
	vht_peer_free(p);
	begin(&fast, 0);
	up();
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	/* Acknowledged, but without an update. */
	for (int i = 0; i < 3; i++)
		expect_asked(MISS, 0);
	vht_pump(p);
	vht_pump_wait(p);
	e = vht_event(p, VH_EVENT_IOTLB_TIMEOUT);
	assert_int_equal(e.reason, -ETIMEDOUT);
	assert_in_range(e.value, VHT_MEM_GPA, VHT_MEM_GPA + VHT_MEM_SIZE);
	/* Asked again, and nothing hangs. */
	expect_asked(MISS, 0);
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
	assert_int_equal(p->echo.served, 0);
}

static void case_194_addresses_that_never_were_are_asked_for_once(void **state)
{
	(void)state;
	up();
	ring_known();
	taken_back(VHT_MEM_SIZE / 2, VHT_MEM_SIZE / 2);
	vht_expect_u64(p, M_IOTLB_MSG, 0);
	/* The descriptor points to where nothing is. */
	vht_offer_echo(p, 0);
	*(uint64_t *)(void *)(p->mem + p->vq[0].desc) = htole64(VHT_MEM_GPA + VHT_MEM_SIZE - 64);
	for (int i = 0; i < 100; i++) {
		vht_kick(p, 0);
		vht_pump(p);
	}
	expect_miss(VHT_MEM_SIZE - 64, R);
	expect_quiet();
}

static void without_a_channel_it_waits_and_tells(void **state)
{
	const struct vh_slave_opts fast = {.drain_timeout_ms = 50};

	(void)state;
	vht_peer_free(p);
	begin(&fast, 0);
	vht_negotiate(p, VHT_VERSION | VHT_BIT30 | PLATFORM);
	vht_send_mem(p);
	ring_up(0);
	vht_pump_wait(p);
	vht_event(p, VH_EVENT_IOTLB_TIMEOUT);
	vht_offer_echo(p, 0);
	known(0, VHT_MEM_SIZE, RW);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void what_was_said_is_forgotten_with_the_last_ring(void **state)
{
	(void)state;
	up();
	ring_known();
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
	p->vq[0].base = p->vq[0].next = 0;
	ring_up(0);
	expect_miss(p->vq[0].desc, R);
}

static void new_memory_is_looked_up_anew(void **state)
{
	(void)state;
	up();
	ring_known();
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
	/* The same memory again: everything that was known is there. */
	vht_send_table(p, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE);
	vht_expect_u64(p, M_SET_MEM_TABLE, 0);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	expect_quiet();
	assert_int_equal(vht_used(p, 0), 2);
	/* By other names it is not what was meant. */
	vht_send_table(p, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA + (UINT64_C(1) << 40), VHT_MEM_SIZE);
	vht_expect_u64(p, M_SET_MEM_TABLE, 0);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	expect_miss(p->vq[0].desc, R);
	assert_int_equal(vht_used(p, 0), 2);
}

static void a_connection_begins_with_nothing_known(void **state)
{
	(void)state;
	up();
	ring_known();
	close(p->fd);
	close(back);
	back = -1;
	vht_pump(p);
	vht_peer_connect(p);
	for (int i = 0; i < VHT_QUEUES; i++)
		p->vq[i].base = p->vq[i].next = 0;
	up();
	expect_miss(p->vq[0].desc, R);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everything_is_asked_for_when_it_is_missed, setup, teardown),
		cmocka_unit_test_setup_teardown(without_being_asked_it_is_not_offered, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_in_flight_is_told_when_the_ring_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(also_when_another_thread_finds_it, setup, teardown),
		cmocka_unit_test_setup_teardown(another_channel_is_asked_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(case_191_bad_updates_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(case_193_requests_in_flight_end_before_the_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(case_195_a_write_that_is_not_allowed_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_miss_that_is_refused_breaks_the_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(case_196_a_miss_that_is_not_answered_parks_the_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(case_194_addresses_that_never_were_are_asked_for_once, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_channel_it_waits_and_tells, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_said_is_forgotten_with_the_last_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(new_memory_is_looked_up_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(a_connection_begins_with_nothing_known, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
