/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The back-end with packed rings: what is offered, which sizes and bases it takes, and where it goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "vhi_slave.h"
#include "vht_peer.h"
#include "vht_ring.h"

#define FEATURES (VHT_BIT30 | VHT_VERSION | VHT_PACKED)
#define AT(i)	 ((i) | VHT_WRAP)
#define BASE(i)	 ((uint32_t)(i) << 16 | (i)) /* nothing in flight */

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static uint16_t next; /* the driver's position */

static void up_to_memory(uint32_t num)
{
	vht_peer_init(p, NULL, NULL, 0);
	vht_negotiate(p, FEATURES);
	vht_send_mem(p);
	p->vq[0].num = num;
	next = AT(0);
}

static int setup(void **state)
{
	(void)state;
	up_to_memory(5);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

static void again(uint32_t num)
{
	vht_peer_free(p);
	up_to_memory(num);
}

static void addr_and_kick(void)
{
	const struct vh_vring_addr addr = vht_addr(p, 0);

	vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	vht_set_call(p, 0);
	vht_set_kick(p, 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
}

/* A ring of p->vq[0].num entries that goes on at this base. */
static void ring_up(uint32_t base)
{
	vht_ok_state(p, M_SET_VRING_NUM, 0, p->vq[0].num);
	vht_ok_state(p, M_SET_VRING_BASE, 0, base);
	addr_and_kick();
}

static struct vht_pdesc *desc(uint16_t pos)
{
	return (struct vht_pdesc *)(void *)(p->mem + p->vq[0].desc) + (pos & 0x7fff);
}

static uint16_t step(uint16_t pos)
{
	return (uint16_t)((pos & 0x7fffu) + 1 < p->vq[0].num ? pos + 1u : (pos & VHT_WRAP) ^ VHT_WRAP);
}

/* Make one writable buffer available. */
static void offer(uint16_t id)
{
	*desc(next) = (struct vht_pdesc){VHT_MEM_GPA + 0x40000 + 32u * id, 16, id,
					 (uint16_t)(VHT_WRITE | (next & VHT_WRAP ? VHT_AVAIL : VHT_USED))};
	next = step(next);
}

static bool is_used(uint16_t pos)
{
	const uint16_t both = VHT_AVAIL | VHT_USED;

	return (desc(pos)->flags & both) == (pos & VHT_WRAP ? both : 0);
}

/* n requests, one after the other, all come back. */
static void serve(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint16_t pos = next;

		offer((uint16_t)(i % p->vq[0].num));
		vht_kick(p, 0);
		vht_pump(p);
		assert_true(is_used(pos));
		assert_int_equal(desc(pos)->id, i % p->vq[0].num);
	}
}

static uint32_t get_base(void)
{
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
	return vht_u32(&p->reply, 4);
}

static void what_is_masked_is_not_offered_and_can_not_be_acked(void **state)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .mask_features = VHT_PACKED};

	(void)state;
	vht_peer_free(p);
	vht_peer_init(p, &opts, NULL, 0);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_nack_u64(p, M_SET_FEATURES, FEATURES);
	vht_nack_state(p, M_SET_VRING_NUM, 0, 5);
}

static void case_102_a_packed_ring_has_any_size(void **state)
{
	static const uint32_t nums[] = {1, 2, 3, 5, 7, 100, 255, 256};

	(void)state;
	vht_nack_state(p, M_SET_VRING_NUM, 0, 0);
	vht_nack_state(p, M_SET_VRING_NUM, 0, 257);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(nums); i++) {
		again(nums[i]);
		ring_up(BASE(AT(0)));
		serve(3 * nums[i] + 1);
		assert_int_equal(get_base(), BASE(next));
	}
}

static void case_104_the_event_areas_are_aligned_to_4(void **state)
{
	struct vh_vring_addr addr = vht_addr(p, 0);

	(void)state;
	for (uint32_t off = 1; off < 4; off++) {
		addr.avail = vht_addr(p, 0).avail + off;
		vht_nack(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	}
	addr.avail += 1;
	vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
}

static void without_a_base_a_ring_begins_with_both_wrap_counters_set(void **state)
{
	(void)state;
	vht_ok_state(p, M_SET_VRING_NUM, 0, 5);
	assert_int_equal(get_base(), BASE(AT(0)));
	addr_and_kick();
	serve(7);
	assert_int_equal(get_base(), BASE(2));
	/* Stopped, it remembers. */
	assert_int_equal(get_base(), BASE(2));
	addr_and_kick();
	serve(4);
	assert_int_equal(get_base(), BASE(AT(1)));
}

/* As front-ends send it that know only where taking goes on. */
static void a_base_of_16_bits_means_that_nothing_is_in_flight(void **state)
{
	(void)state;
	next = AT(3);
	ring_up(AT(3));
	serve(9);
	assert_int_equal(get_base(), BASE(next));
	next = 4;
	vht_ok_state(p, M_SET_VRING_BASE, 0, 4);
	addr_and_kick();
	serve(9);
	assert_int_equal(get_base(), BASE(next));
}

static void case_143_a_base_that_does_not_fit_is_refused(void **state)
{
	static const uint32_t bad[] = {BASE(AT(5)), BASE(5), AT(4) | (uint32_t)AT(5) << 16,
				       0xffffffff,  0x7fff,  4 | (uint32_t)AT(3) << 16};
	uint64_t index = 0;

	(void)state;
	vht_ok_state(p, M_SET_VRING_BASE, 0, BASE(AT(5))); /* the size is not known yet */
	vht_ok_state(p, M_SET_VRING_NUM, 0, 5);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++)
		vht_nack_state(p, M_SET_VRING_BASE, 0, bad[i]);
	const struct vh_vring_addr addr = vht_addr(p, 0);

	vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	vht_nack(p, M_SET_VRING_KICK, &index, sizeof(index), -1);
	vht_ok_state(p, M_SET_VRING_BASE, 0, BASE(AT(4)));
	next = AT(4);
	vht_set_kick(p, 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	serve(3);
}

static void case_143_another_back_end_goes_on_where_one_stopped(void **state)
{
	uint8_t *ring = malloc(16 * 7);

	(void)state;
	assert_non_null(ring);
	again(7);
	ring_up(BASE(next));
	for (uint32_t round = 0; round < 30; round++) {
		const uint16_t at = next;
		uint32_t base;

		serve(round % 9);
		base = get_base();
		assert_int_equal(base, BASE(next));
		memcpy(ring, desc(0), 16 * 7);
		again(7);
		memcpy(desc(0), ring, 16 * 7);
		next = (uint16_t)base;
		assert_true(round % 9 != 0 || next == at);
		offer(3); /* it was there before */
		ring_up(base);
		vht_pump(p);
		assert_true(is_used((uint16_t)base));
	}
	free(ring);
}

static void case_64_the_base_waits_for_requests_in_flight(void **state)
{
	(void)state;
	ring_up(BASE(AT(0)));
	p->echo.hold = true;
	for (uint16_t i = 0; i < 4; i++)
		offer(i);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(p->echo.n_held, 4);
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect_silence(p);
	assert_int_equal(vht_push_held(p), 0);
	vht_expect(p, M_GET_VRING_BASE);
	assert_int_equal(vht_u32(&p->reply, 4), BASE(AT(4)));
	for (uint16_t i = 0; i < 4; i++)
		assert_true(is_used(AT(i)));
}

static void a_broken_ring_is_told_and_starts_again(void **state)
{
	struct vh_event e;

	(void)state;
	ring_up(BASE(AT(0)));
	serve(2);
	offer(9);
	vht_kick(p, 0);
	vht_pump(p);
	e = vht_event(p, VH_EVENT_BROKEN);
	assert_int_equal(e.value, 426);
	assert_int_equal(get_base(), BASE(AT(2)));
	next = AT(2);
	desc(next)->flags = 0;
	addr_and_kick();
	serve(8);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_masked_is_not_offered_and_can_not_be_acked),
		T(case_102_a_packed_ring_has_any_size),
		T(case_104_the_event_areas_are_aligned_to_4),
		T(without_a_base_a_ring_begins_with_both_wrap_counters_set),
		T(a_base_of_16_bits_means_that_nothing_is_in_flight),
		T(case_143_a_base_that_does_not_fit_is_refused),
		T(case_143_another_back_end_goes_on_where_one_stopped),
		T(case_64_the_base_waits_for_requests_in_flight),
		T(a_broken_ring_is_told_and_starts_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
