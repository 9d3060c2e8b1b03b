/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The back-end's part of inflight records: the file that it makes, the one that it gets, and what it does again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vht_peer.h"

#define M_SET_INFLIGHT_FD	    32
#define M_GET_VRING_BASE_SKIP_DRAIN 45
#define FEATURES		    (VHT_BIT30 | VHT_VERSION)
#define PACKED			    (UINT64_C(1) << VH_F_RING_PACKED)

/* As on the wire. */
struct desc {
	uint64_t mmap_size, mmap_offset;
	uint16_t num_queues, queue_size;
	uint8_t padding[4];
};

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static unsigned fds_before;
static int file;	 /* -1 = none */
static unsigned n_files; /* that came with the last answer */
static struct desc got;

static int setup(void **state)
{
	(void)state;
	fds_before = vht_open_fds();
	file = -1;
	vht_peer_init(p, NULL, NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	if (file >= 0)
		close(file);
	assert_int_equal(vht_open_fds(), fds_before);
	return 0;
}

static void get(uint32_t num_queues, uint32_t queue_size)
{
	const struct desc ask = {.num_queues = (uint16_t)num_queues, .queue_size = (uint16_t)queue_size};

	vht_msg(p, M_GET_INFLIGHT_FD, F_REQUEST, &ask, sizeof(ask), -1);
	vht_expect(p, M_GET_INFLIGHT_FD);
	assert_int_equal(p->reply.size, sizeof(got));
	memcpy(&got, p->reply.payload, sizeof(got));
	if (file >= 0)
		close(file);
	file = p->reply.n_fds ? p->reply.fds[0] : -1;
	n_files = p->reply.n_fds;
	p->reply.n_fds = 0; /* it is ours */
}

/* Refused: an answer of 0 bytes, and no file. */
static void get_none(uint32_t num_queues, uint32_t queue_size)
{
	get(num_queues, queue_size);
	assert_int_equal(n_files, 0);
	assert_int_equal(got.mmap_size, 0);
}

static void up(bool records)
{
	vht_negotiate(p, FEATURES);
	vht_send_mem(p);
	if (records)
		vht_ok(p, M_SET_INFLIGHT_FD, &got, sizeof(got), file);
	vht_ring_up(p, 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
}

static void case_163_the_file_is_sealed_and_as_long_as_it_says(void **state)
{
	struct stat st;

	(void)state;
	vht_negotiate(p, FEATURES);
	get(VHT_QUEUES, 128);
	assert_int_equal(got.num_queues, VHT_QUEUES);
	assert_int_equal(got.queue_size, 128);
	assert_int_equal(got.mmap_offset, 0);
	assert_int_equal(got.mmap_size, VHT_QUEUES * ((16 + 16 * 128 + 63) & ~63));
	assert_int_equal(n_files, 1);
	assert_int_equal(fcntl(file, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(fstat(file, &st), 0);
	assert_true(st.st_size >= (off_t)got.mmap_size);
}

/* Before the driver chose, there is room for what needs more. */
static void room_for_either_layout(void **state)
{
	(void)state;
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_PROTOCOL_FEATURES);
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, VHT_PF);
	get(1, 64);
	assert_int_equal(got.mmap_size, 32 + 32 * 64 + 32);
}

static void case_161_absurd_numbers_get_nothing(void **state)
{
	(void)state;
	vht_negotiate(p, FEATURES);
	get_none(VHT_QUEUES + 1, 128);
	get_none(65535, 128);
	get_none(0, 128);
	get_none(1, 0);
	get_none(1, VHT_QUEUE_MAX + 1);
	get_none(65535, 65535);
	/* The connection is as it was. */
	get(1, VHT_QUEUE_MAX);
	assert_true(file >= 0);
}

static void case_162_again_and_again(void **state)
{
	unsigned before;

	(void)state;
	vht_negotiate(p, FEATURES);
	get(1, 128);
	before = vht_open_fds();
	for (int i = 0; i < 20; i++) {
		get(1, 128);
		vht_ok(p, M_SET_INFLIGHT_FD, &got, sizeof(got), file);
		vht_ok(p, M_SET_INFLIGHT_FD, &got, sizeof(got), file);
	}
	assert_int_equal(vht_open_fds(), before + 1); /* the one that is in use */
}

static void case_162_not_while_a_ring_runs(void **state)
{
	(void)state;
	vht_peer_up(p);
	get(1, 128);
	vht_nack(p, M_SET_INFLIGHT_FD, &got, sizeof(got), file);
}

static void case_164_what_can_not_be_is_refused(void **state)
{
	struct desc d;

	(void)state;
	vht_negotiate(p, FEATURES);
	get(2, 128);
	d = got;
	d.num_queues = VHT_QUEUES + 1;
	vht_nack(p, M_SET_INFLIGHT_FD, &d, sizeof(d), file);
	d = got;
	d.queue_size = VHT_QUEUE_MAX + 1;
	vht_nack(p, M_SET_INFLIGHT_FD, &d, sizeof(d), file);
	d = got;
	d.mmap_size--;
	vht_nack(p, M_SET_INFLIGHT_FD, &d, sizeof(d), file);
	d = got;
	d.mmap_offset = 4;
	vht_nack(p, M_SET_INFLIGHT_FD, &d, sizeof(d), file);
	d = got;
	d.mmap_offset = 8192; /* beyond its end */
	vht_nack(p, M_SET_INFLIGHT_FD, &d, sizeof(d), file);
	vht_ok(p, M_SET_INFLIGHT_FD, &got, sizeof(got), file);
}

static void case_165_a_ring_that_is_larger_than_its_records(void **state)
{
	uint64_t value = 0;
	int kick;

	(void)state;
	vht_negotiate(p, FEATURES);
	vht_send_mem(p);
	get(1, 4);
	vht_ok(p, M_SET_INFLIGHT_FD, &got, sizeof(got), file);
	vht_ok_state(p, M_SET_VRING_NUM, 0, 16);
	vht_ok_state(p, M_SET_VRING_BASE, 0, 0);
	{
		struct vh_vring_addr addr = vht_addr(p, 0);

		vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	}
	kick = eventfd(0, EFD_CLOEXEC);
	vht_nack(p, M_SET_VRING_KICK, &value, sizeof(value), kick);
	close(kick);
}

/* The front-end stays, the connection and all that the device knew is gone. */
static void reconnect(void)
{
	close(p->fd);
	vht_pump(p);
	vht_event(p, VH_EVENT_DISCONNECTED);
	/* What it had is not known to the next one; a process that died would not push. */
	vht_push_held(p);
	vht_peer_connect(p);
}

static void scenario_inflight(void **state)
{
	(void)state;
	vht_negotiate(p, FEATURES);
	get(1, VHT_QUEUE_MAX);
	vht_send_mem(p);
	vht_ok(p, M_SET_INFLIGHT_FD, &got, sizeof(got), file);
	vht_ring_up(p, 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
	p->echo.hold = true;
	for (int i = 0; i < 3; i++)
		vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(p->echo.n_held, 3);
	reconnect();
	assert_int_equal(vht_used(p, 0), 1);
	p->echo.hold = false;
	p->vq[0].base = 4; /* a front-end that knows no better */
	up(true);
	vht_pump(p);
	assert_int_equal(vht_event(p, VH_EVENT_RESUBMITTED).value, 3);
	assert_int_equal(vht_used(p, 0), 4);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 5);
}

/* Stopped at once: nothing is published, and the next one does again what was in flight. */
static void what_is_in_flight_is_left_in_the_records(void **state)
{
	(void)state;
	vht_negotiate(p, FEATURES);
	get(1, VHT_QUEUE_MAX);
	up(true);
	p->echo.hold = true;
	for (int i = 0; i < 3; i++)
		vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(p->echo.n_held, 3);
	vht_msg_state(p, M_GET_VRING_BASE_SKIP_DRAIN, F_REQUEST, 0, 0);
	vht_pump(p);
	/* The device knows at once, but may still write; so the answer waits until it let go. */
	assert_int_equal(p->echo.stopped, 1);
	vht_expect_silence(p);
	assert_int_equal(vht_push_held(p), -ESTALE);
	vht_expect(p, M_GET_VRING_BASE_SKIP_DRAIN);
	assert_int_equal(vht_u32(&p->reply, 4), 3);
	assert_int_equal(vht_used(p, 0), 0);
	p->echo.hold = false;
	p->vq[0].base = 3;
	vht_ok(p, M_SET_INFLIGHT_FD, &got, sizeof(got), file);
	vht_ring_up(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 3);
	assert_int_equal(vht_event(p, VH_EVENT_RESUBMITTED).value, 3);
}

static void without_records_it_is_a_drain(void **state)
{
	(void)state;
	vht_peer_up(p);
	p->echo.hold = true;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	vht_msg_state(p, M_GET_VRING_BASE_SKIP_DRAIN, F_REQUEST, 0, 0);
	vht_expect_silence(p);
	assert_int_equal(vht_push_held(p), 0);
	vht_expect(p, M_GET_VRING_BASE_SKIP_DRAIN);
	assert_int_equal(vht_u32(&p->reply, 4), 1);
	assert_int_equal(vht_used(p, 0), 1);
}

static void after_a_reset_the_records_are_gone(void **state)
{
	(void)state;
	vht_negotiate(p, FEATURES);
	get(1, VHT_QUEUE_MAX);
	up(true);
	vht_ok(p, M_RESET_DEVICE, NULL, 0, -1);
	assert_null(p->s->conn.inflight);
}

/* The file is not sealed and the front-end truncates it: I/O goes on, and it is told. */
static void case_177_a_truncated_file_is_told(void **state)
{
	(void)state;
	vht_negotiate(p, FEATURES);
	get(1, VHT_QUEUE_MAX);
	close(file);
	file = memfd_create("records", MFD_CLOEXEC);
	assert_int_equal(ftruncate(file, (off_t)got.mmap_size), 0);
	assert_int_equal(vh_mem_guard_install(), 0);
	up(true);
	assert_int_equal(ftruncate(file, 0), 0);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
	assert_int_equal(vht_event(p, VH_EVENT_INFLIGHT_LOST).queue, 0);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

static void a_device_that_can_not_repeat_has_no_records(void **state)
{
	(void)state;
	vht_peer_free(p);
	vht_peer_init(p, NULL, NULL, VH_DEVICE_NO_REPEAT);
	assert_int_equal(p->s->pf & (UINT64_C(1) << VH_PF_INFLIGHT_SHMFD), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(case_163_the_file_is_sealed_and_as_long_as_it_says),
		CASE(room_for_either_layout),
		CASE(case_161_absurd_numbers_get_nothing),
		CASE(case_162_again_and_again),
		CASE(case_162_not_while_a_ring_runs),
		CASE(case_164_what_can_not_be_is_refused),
		CASE(case_165_a_ring_that_is_larger_than_its_records),
		CASE(scenario_inflight),
		CASE(what_is_in_flight_is_left_in_the_records),
		CASE(without_records_it_is_a_drain),
		CASE(after_a_reset_the_records_are_gone),
		CASE(case_177_a_truncated_file_is_told),
		CASE(a_device_that_can_not_repeat_has_no_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
