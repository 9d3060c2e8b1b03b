/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The back-end logs what it writes while a migration runs: what starts and ends it, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vht_peer.h"

#define LOG_ALL	 (UINT64_C(1) << VH_F_LOG_ALL)
#define FEATURES (VHT_BIT30 | VHT_VERSION)
#define PAGE	 UINT64_C(4096)
#define END	 (VHT_MEM_GPA + VHT_MEM_SIZE)
#define LOG_LEN	 (END / PAGE / 8)

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static int log_fd;
static uint8_t *bits;

static int setup(void **state)
{
	(void)state;
	vht_peer_init(p, NULL, NULL, 0);
	log_fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(log_fd, LOG_LEN + 8192), 0);
	bits = mmap(NULL, LOG_LEN + 8192, PROT_READ | PROT_WRITE, MAP_SHARED, log_fd, 0);
	assert_true(bits != MAP_FAILED);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	munmap(bits, LOG_LEN + 8192);
	close(log_fd);
	return 0;
}

/* How many pages of memory are dirty; all of them are clean afterwards. */
static uint32_t dirty(uint64_t offset)
{
	uint32_t n = 0;

	for (uint64_t i = 0; i < LOG_LEN; i++)
		n += (uint32_t)__builtin_popcount(__atomic_exchange_n(&bits[offset + i], 0, __ATOMIC_ACQ_REL));
	return n;
}

static bool page_dirty(uint64_t gpa)
{
	return bits[gpa / PAGE / 8] >> gpa / PAGE % 8 & 1;
}

/* Echoed, as the protocol's newest front-ends want it. */
static void log_base(uint64_t size, uint64_t offset)
{
	const uint64_t log[2] = {size, offset};

	vht_msg(p, M_SET_LOG_BASE, F_REQUEST, log, sizeof(log), log_fd);
	vht_expect(p, M_SET_LOG_BASE);
	assert_int_equal(p->reply.size, 16);
	assert_memory_equal(p->reply.payload, log, 16);
}

static void bad_base(uint64_t size, uint64_t offset)
{
	const uint64_t log[2] = {size, offset};

	vht_msg(p, M_SET_LOG_BASE, F_REQUEST, log, sizeof(log), log_fd);
	vht_expect_closed(p);
	vht_peer_free(p);
	vht_peer_init(p, NULL, NULL, 0);
	vht_peer_up(p);
}

static void flag(bool on, uint64_t at)
{
	struct vh_vring_addr addr = vht_addr(p, 0);

	addr.flags = on ? VH_VRING_LOG : 0;
	addr.log = at;
	vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
}

static void serve(void)
{
	const uint16_t before = vht_used(p, 0);

	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal((uint16_t)(vht_used(p, 0) - before), 1);
}

static uint64_t used_gpa(void)
{
	return VHT_MEM_GPA + p->vq[0].used;
}

static void on(void)
{
	vht_peer_up(p);
	log_base(LOG_LEN, 0);
	vht_ok_u64(p, M_SET_FEATURES, FEATURES | LOG_ALL);
}

static void logging_goes_on_and_off_while_the_ring_runs(void **state)
{
	(void)state;
	vht_peer_up(p);
	serve();
	log_base(LOG_LEN, 0);
	serve();
	assert_int_equal(dirty(0), 0);
	vht_ok_u64(p, M_SET_FEATURES, FEATURES | LOG_ALL);
	serve();
	assert_int_equal(dirty(0), 1);
	flag(true, used_gpa());
	serve();
	assert_true(page_dirty(used_gpa()));
	assert_int_equal(dirty(0), 2);
	flag(false, 0);
	serve();
	assert_false(page_dirty(used_gpa()));
	assert_int_equal(dirty(0), 1);
	vht_ok_u64(p, M_SET_FEATURES, FEATURES);
	serve();
	assert_int_equal(dirty(0), 0);
	vht_ok_u64(p, M_SET_FEATURES, FEATURES | LOG_ALL);
	serve();
	assert_int_equal(dirty(0), 1);
	/* The device never hears of it. */
	assert_int_equal(p->echo.features, FEATURES);
}

static void a_ring_that_starts_later_logs_too(void **state)
{
	struct vh_vring_addr addr;

	(void)state;
	vht_negotiate(p, FEATURES | LOG_ALL);
	vht_send_mem(p);
	log_base(LOG_LEN, 0);
	vht_ring_up(p, 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	serve();
	assert_int_equal(dirty(0), 1);
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
	addr = vht_addr(p, 0);
	addr.flags = VH_VRING_LOG;
	addr.log = used_gpa();
	vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	vht_set_kick(p, 0);
	vht_pump(p);
	/* The wish for a kick that a device begins with is in the used ring. */
	assert_true(page_dirty(used_gpa()));
	serve();
	assert_int_equal(dirty(0), 2);
}

static void case_180_bits_land_behind_the_offset(void **state)
{
	(void)state;
	vht_peer_up(p);
	vht_ok_u64(p, M_SET_FEATURES, FEATURES | LOG_ALL);
	memset(bits, 0x5a, 4096);
	memset(bits + 4096 + LOG_LEN, 0x5a, 4096);
	log_base(LOG_LEN, 4096);
	flag(true, used_gpa());
	serve();
	assert_int_equal(dirty(4096), 2);
	for (uint32_t i = 0; i < 4096; i++) {
		assert_int_equal(bits[i], 0x5a);
		assert_int_equal(bits[4096 + LOG_LEN + i], 0x5a);
	}
}

static void case_179_logs_that_cannot_be_are_refused(void **state)
{
	const int full = open("/dev/null", O_RDWR | O_CLOEXEC);
	const uint64_t one[2] = {LOG_LEN, 0};

	(void)state;
	vht_peer_up(p);
	bad_base(0, 0);
	bad_base(UINT64_MAX, 4096);
	bad_base(LOG_LEN - 8, 0);
	bad_base(LOG_LEN, 4);
	bad_base(LOG_LEN, 8192 + 8);
	vht_msg(p, M_SET_LOG_BASE, F_REQUEST, one, sizeof(one), full);
	vht_expect_closed(p);
	close(full);
}

static void without_log_shmfd_there_is_no_log(void **state)
{
	const struct vh_slave_opts no_fd = {.size = sizeof(no_fd), .mask_protocol_features = 1 << VH_PF_LOG_SHMFD};
	const struct vh_slave_opts no_bit = {.size = sizeof(no_bit), .mask_features = LOG_ALL};
	const uint64_t log[2] = {LOG_LEN, 0};

	(void)state;
	vht_negotiate(p, FEATURES);
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, VHT_PF & ~(UINT64_C(1) << VH_PF_LOG_SHMFD));
	vht_nack(p, M_SET_LOG_BASE, log, 16, log_fd);
	vht_nack(p, M_SET_LOG_BASE, log, 8, -1);
	/* Neither of the two is offered without the other. */
	for (uint32_t i = 0; i < 2; i++) {
		vht_peer_free(p);
		vht_peer_init(p, i ? &no_bit : &no_fd, NULL, 0);
		vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
		vht_expect(p, M_GET_FEATURES);
		assert_false(vht_u64(&p->reply, 0) & LOG_ALL);
		vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
		vht_expect(p, M_GET_PROTOCOL_FEATURES);
		assert_false(vht_u64(&p->reply, 0) & 1 << VH_PF_LOG_SHMFD);
	}
}

static void nack_log(uint64_t at)
{
	struct vh_vring_addr addr = vht_addr(p, 0);

	addr.flags = VH_VRING_LOG;
	addr.log = at;
	vht_nack(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	addr.flags = 0; /* then it means nothing */
	vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
}

static void case_185_log_addresses_that_cannot_be_are_refused(void **state)
{
	(void)state;
	on();
	nack_log(used_gpa() + 1);
	nack_log(used_gpa() + 2);
	nack_log(UINT64_MAX - 3);
	nack_log(END - 4);
	nack_log(END);
	flag(true, END - 4 - 8 * p->vq[0].num);
	serve();
	assert_int_equal(vht_slave_stats(p).connected, 1);
}

static void case_187_a_request_in_flight_is_logged_after_the_switch(void **state)
{
	struct vh_cpl cpl;

	(void)state;
	vht_peer_up(p);
	p->echo.hold = true;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(p->echo.n_held, 1);
	log_base(LOG_LEN, 0);
	vht_ok_u64(p, M_SET_FEATURES, FEATURES | LOG_ALL);
	cpl = (struct vh_cpl){.token = p->echo.held[0].token, .written = 16};
	assert_int_equal(vh_queue_push(p->echo.held_from[0], &cpl, 1), 0);
	p->echo.n_held = 0;
	assert_int_equal(dirty(0), 1);
}

static void case_183_a_new_log_takes_over(void **state)
{
	(void)state;
	on();
	serve();
	assert_int_equal(dirty(0), 1);
	log_base(LOG_LEN, 4096);
	serve();
	memset(bits, 0, 4096);
	assert_int_equal(dirty(4096), 1);
}

static void case_181_memory_beyond_the_log_is_told(void **state)
{
	uint64_t grown = UINT64_C(0x80000000);
	struct vh_event e;

	(void)state;
	on();
	serve();
	assert_true(vht_no_event(p, VH_EVENT_DIRTY_LOST));
	/* The same memory, moved up in guest addresses: what a front-end does that forgets to give a longer log first. */
	vht_send_table(p, F_NEED_REPLY, grown, VHT_MEM_UVA, VHT_MEM_SIZE);
	vht_expect_u64(p, M_SET_MEM_TABLE, 0);
	vht_peer_free(p);
	vht_peer_init(p, NULL, NULL, 0);
	vht_negotiate(p, FEATURES | LOG_ALL);
	log_base(8, 0); /* before there is memory */
	vht_send_mem(p);
	vht_ring_up(p, 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	serve();
	vht_pump(p);
	e = vht_event(p, VH_EVENT_DIRTY_LOST);
	assert_int_equal(e.reason, -ERANGE);
	assert_int_equal(e.value, 1);
	serve();
	vht_pump(p);
	assert_true(vht_no_event(p, VH_EVENT_DIRTY_LOST));
}

static void case_188_a_log_that_is_truncated_is_told(void **state)
{
	(void)state;
	assert_int_equal(vh_mem_guard_install(), 0);
	on();
	serve();
	assert_int_equal(ftruncate(log_fd, 0), 0);
	serve();
	vht_pump(p);
	assert_int_equal(vht_event(p, VH_EVENT_DIRTY_LOST).reason, -EFAULT);
	serve();
	assert_int_equal(vh_mem_guard_remove(), 0);
	assert_int_equal(ftruncate(log_fd, LOG_LEN + 8192), 0);
}

static void set_log_fd_is_signalled(void **state)
{
	int call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	(void)state;
	vht_peer_up(p);
	vht_ok(p, M_SET_LOG_FD, NULL, 0, call);
	log_base(LOG_LEN, 0);
	vht_ok_u64(p, M_SET_FEATURES, FEATURES | LOG_ALL);
	assert_int_equal(vht_count(call), 0);
	serve();
	assert_true(vht_count(call));
	close(call);
	/* Another one while it runs. */
	call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	vht_ok(p, M_SET_LOG_FD, NULL, 0, call);
	serve();
	assert_true(vht_count(call));
	vht_nack(p, M_SET_LOG_FD, NULL, 0, log_fd);
	serve();
	assert_true(vht_count(call));
	close(call);
}

static void case_109_the_flag_without_log_all_logs_nothing(void **state)
{
	(void)state;
	vht_peer_up(p);
	log_base(LOG_LEN, 0);
	flag(true, used_gpa());
	serve();
	assert_int_equal(dirty(0), 0);
}

static void a_connection_takes_its_log_with_it(void **state)
{
	(void)state;
	on();
	serve();
	vht_peer_free(p);
	dirty(0);
	vht_peer_init(p, NULL, NULL, 0);
	on();
	serve();
	assert_int_equal(dirty(0), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(logging_goes_on_and_off_while_the_ring_runs),
		T(a_ring_that_starts_later_logs_too),
		T(case_180_bits_land_behind_the_offset),
		T(case_179_logs_that_cannot_be_are_refused),
		T(without_log_shmfd_there_is_no_log),
		T(case_185_log_addresses_that_cannot_be_are_refused),
		T(case_187_a_request_in_flight_is_logged_after_the_switch),
		T(case_183_a_new_log_takes_over),
		T(case_181_memory_beyond_the_log_is_told),
		T(case_188_a_log_that_is_truncated_is_told),
		T(set_log_fd_is_signalled),
		T(case_109_the_flag_without_log_all_logs_nothing),
		T(a_connection_takes_its_log_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
