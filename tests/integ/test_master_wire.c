/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What every call puts on the wire, byte by byte, and what it makes of the answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vht_master.h"
#include "vhi_backend.h"

#define BIT(n) (UINT64_C(1) << (n))

/* The n-th message (from 0) after negotiation: id, flags, fds and payload. */
static unsigned first;

static void expect_bytes(const struct vht_backend *b, unsigned n, uint32_t request, uint32_t flags, uint32_t n_fds,
			 const void *payload, uint32_t size)
{
	const struct vht_msg *m = &b->seen[first + n];

	assert_true(first + n < b->n_seen);
	assert_int_equal(m->request, request);
	assert_int_equal(m->flags, flags);
	assert_int_equal(m->n_fds, n_fds);
	assert_int_equal(m->size, size);
	if (size)
		assert_memory_equal(m->payload, payload, size);
}

#define BYTES(...) ((const uint8_t[]){__VA_ARGS__}), (uint32_t)sizeof((const uint8_t[]){__VA_ARGS__})
#define LOW(v)	   (uint8_t)(v), (uint8_t)((v) >> 8), (uint8_t)((v) >> 16), (uint8_t)((v) >> 24)
#define HIGH(v)	   (uint8_t)((v) >> 24), (uint8_t)((v) >> 16), (uint8_t)((v) >> 8), (uint8_t)(v)
/* As the machine has them: so it is on the wire. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define U32(v) LOW(v)
#define U64(v) LOW((uint32_t)(v)), LOW((uint32_t)((uint64_t)(v) >> 32))
#else
#define U32(v) HIGH(v)
#define U64(v) HIGH((uint32_t)((uint64_t)(v) >> 32)), HIGH((uint32_t)(v))
#endif

static void negotiation_is_in_the_order_that_every_back_end_takes(void **state)
{
	static const uint32_t order[] = {1, 15, 16, 17, 36, 21, 3, 2};
	struct vht_backend b;
	struct vh_master *m = vht_master_new(0);
	uint64_t acked = 0;

	(void)state;
	vht_backend_init(&b);
	vht_backend_start(&b, vht_master_pair(m));
	assert_int_equal(vh_master_negotiate(m, BIT(32) | BIT(28) | BIT(26) | BIT(9) | BIT(35), &acked), 0);
	vht_backend_join(&b);
	assert_int_equal(b.n_seen, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(b.seen[i].request, order[i]);
	/* Nothing but what was offered, wanted and is known; never LOG_ALL; bit 30 on the wire and not for the driver. */
	assert_int_equal(acked, BIT(32) | BIT(28) | BIT(9));
	assert_int_equal(b.acked, BIT(32) | BIT(28) | BIT(9) | BIT(30));
	assert_int_equal(b.pf_acked, BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(8) | BIT(9) | BIT(13) | BIT(15) | BIT(16));
	/* Own replies are not asked for, an ack is, but never of SET_PROTOCOL_FEATURES. */
	assert_int_equal(b.seen[0].flags, 1);
	assert_int_equal(b.seen[2].flags, 1);
	assert_int_equal(b.seen[3].flags, 1);
	assert_int_equal(b.seen[5].flags, 9);
	assert_int_equal(b.seen[5].n_fds, 1);
	assert_int_equal(b.seen[6].flags, 9);
	assert_int_equal(b.seen[7].flags, 9);
	vh_master_free(m);
	vht_backend_stop(&b);
}

static void qemu_storage_daemon_s_features_are_negotiated(void **state)
{
	struct vht_backend b;
	struct vh_master *m = vht_master_new(0);
	uint64_t acked = 0;

	(void)state;
	vht_backend_init(&b);
	b.protocol_features = 0x8f2b;
	vht_backend_start(&b, vht_master_pair(m));
	assert_int_equal(vh_master_negotiate(m, UINT64_MAX, &acked), 0);
	vht_backend_join(&b);
	assert_int_equal(b.pf_acked, BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(8) | BIT(9) | BIT(15));
	assert_int_equal(acked, 0x175007e46 & ~(BIT(26) | BIT(30)));
	vh_master_free(m);
	vht_backend_stop(&b);
}

static void without_bit_30_there_are_no_protocol_features(void **state)
{
	struct vht_backend b;
	struct vh_master *m = vht_master_new(0);
	uint64_t acked = 0;

	(void)state;
	vht_backend_init(&b);
	/* No VERSION_1 either: packed rings and the like go with it. */
	b.features = BIT(28) | BIT(34) | BIT(35);
	vht_backend_start(&b, vht_master_pair(m));
	assert_int_equal(vh_master_negotiate(m, UINT64_MAX, &acked), 0);
	assert_int_equal(acked, BIT(28));
	assert_int_equal(vh_master_get_queue_num(m, &(uint32_t){0}), -EOPNOTSUPP);
	assert_int_equal(vh_master_get_protocol_features(m, &acked), -EOPNOTSUPP);
	assert_int_equal(vh_master_set_vring_enable(m, 0, 1), -EOPNOTSUPP);
	assert_non_null(strstr(vht_text(), "PROTOCOL_FEATURES"));
	vht_backend_join(&b);
	assert_int_equal(b.n_seen, 3);
	assert_int_equal(b.acked, BIT(28));
	vh_master_free(m);
	vht_backend_stop(&b);
}

static void what_the_options_mask_is_not_acked(void **state)
{
	struct vh_master_opts opts = {.size = sizeof(opts),
				      .mask_protocol_features = ~(BIT(VH_PF_REPLY_ACK) | BIT(VH_PF_CONFIG)),
				      .mask_features = BIT(28)};
	struct vht_backend b;
	struct vh_master *m = NULL;
	uint64_t acked = 0;

	(void)state;
	assert_int_equal(vh_master_new(&opts, NULL, NULL, &m), 0);
	vht_backend_init(&b);
	vht_backend_start(&b, vht_master_pair(m));
	assert_int_equal(vh_master_negotiate(m, BIT(32) | BIT(28), &acked), 0);
	vht_backend_join(&b);
	assert_int_equal(acked, BIT(32));
	assert_int_equal(b.pf_acked, BIT(VH_PF_REPLY_ACK) | BIT(VH_PF_CONFIG));
	vh_master_free(m);
	vht_backend_stop(&b);

	/* The rest is what works. A feature that needs another one goes with it. */
	opts.mask_protocol_features = BIT(VH_PF_REPLY_ACK);
	assert_int_equal(vh_master_new(&opts, NULL, NULL, &m), 0);
	vht_backend_init(&b);
	vht_backend_start(&b, vht_master_pair(m));
	assert_int_equal(vh_master_negotiate(m, BIT(32), &acked), 0);
	vht_backend_join(&b);
	assert_int_equal(b.pf_acked, BIT(0) | BIT(1) | BIT(5) | BIT(8) | BIT(9) | BIT(13) | BIT(15) | BIT(16));
	vh_master_free(m);
	vht_backend_stop(&b);
}

static void call_everything(struct vh_master *m, int event)
{
	static const uint8_t data[3] = {7, 8, 9};
	struct vh_vring_addr addr = {.index = 3, .flags = 1, .desc = 0x11, .used = 0x22, .avail = 0x33, .log = 0x44};
	uint8_t got[4] = {0};
	uint64_t v = 0;
	uint32_t n = 0;

	assert_int_equal(vh_master_get_features(m, &v), 0); /* 0 */
	assert_int_equal(v, 0x175007e46);
	assert_int_equal(vh_master_get_protocol_features(m, &v), 0); /* 1 */
	assert_int_equal(v, 0x1af2b);
	assert_int_equal(vh_master_get_queue_num(m, &n), 0); /* 2 */
	assert_int_equal(n, 4);
	assert_int_equal(vh_master_get_max_mem_slots(m, &n), 0); /* 3 */
	assert_int_equal(n, 32);
	assert_int_equal(vh_master_set_owner(m), 0);			   /* 4 */
	assert_int_equal(vh_master_set_features(m, BIT(30) | BIT(32)), 0); /* 5 */
	assert_int_equal(vh_master_set_vring_num(m, 1, 256), 0);	   /* 6 */
	assert_int_equal(vh_master_set_vring_addr(m, &addr), 0);	   /* 7 */
	assert_int_equal(vh_master_set_vring_base(m, 2, 0xabcd), 0);	   /* 8 */
	assert_int_equal(vh_master_get_vring_base(m, 2, &n), 0);	   /* 9 */
	assert_int_equal(n, 102);
	assert_int_equal(vh_master_set_vring_kick(m, 255, event), 0);	   /* 10 */
	assert_int_equal(vh_master_set_vring_kick(m, 1, -1), 0);	   /* 11 */
	assert_int_equal(vh_master_set_vring_call(m, 1, event), 0);	   /* 12 */
	assert_int_equal(vh_master_set_vring_err(m, 0, -1), 0);		   /* 13 */
	assert_int_equal(vh_master_set_vring_enable(m, 1, 1), 0);	   /* 14 */
	assert_int_equal(vh_master_get_config(m, 4, got, sizeof(got)), 0); /* 15 */
	assert_memory_equal(got, ((uint8_t[]){4, 5, 6, 7}), 4);		   /* although the back-end ignores offsets */
	assert_int_equal(vh_master_set_config(m, 2, data, 3, 1), 0);	   /* 16 */
	assert_int_equal(vh_master_reset_device(m), 0);			   /* 17 */
	assert_int_equal(vh_master_set_status(m, 0x8f), 0);		   /* 18 */
	assert_int_equal(vh_master_get_status(m, &n), 0);		   /* 19 */
	assert_int_equal(n, 0x8f);
	assert_int_equal(vh_master_reset_owner(m), 0);	     /* 20 */
	assert_int_equal(vh_master_set_log_fd(m, event), 0); /* 21 */
}

static void every_call_sends_exactly_the_bytes_of_the_specification(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	int event = eventfd(0, EFD_CLOEXEC);

	(void)state;
	vht_backend_init(&b);
	m = vht_master_with(&b, 0);
	first = 8;
	call_everything(m, event);
	vht_backend_join(&b);
	assert_int_equal(b.n_seen - first, 22);
	expect_bytes(&b, 0, 1, 1, 0, NULL, 0);
	expect_bytes(&b, 1, 15, 1, 0, NULL, 0);
	expect_bytes(&b, 2, 17, 1, 0, NULL, 0);
	expect_bytes(&b, 3, 36, 1, 0, NULL, 0);
	expect_bytes(&b, 4, 3, 9, 0, NULL, 0);
	expect_bytes(&b, 5, 2, 9, 0, BYTES(U64(0x140000000)));
	expect_bytes(&b, 6, 8, 9, 0, BYTES(U32(1), U32(256)));
	expect_bytes(&b, 7, 9, 9, 0, BYTES(U32(3), U32(1), U64(0x11), U64(0x22), U64(0x33), U64(0x44)));
	expect_bytes(&b, 8, 10, 9, 0, BYTES(U32(2), U32(0xabcd)));
	expect_bytes(&b, 9, 11, 1, 0, BYTES(U32(2), U32(0)));
	expect_bytes(&b, 10, 12, 9, 1, BYTES(U64(0xff)));
	expect_bytes(&b, 11, 12, 9, 0, BYTES(U64(0x101)));
	expect_bytes(&b, 12, 13, 9, 1, BYTES(U64(1)));
	expect_bytes(&b, 13, 14, 9, 0, BYTES(U64(0x100)));
	expect_bytes(&b, 14, 18, 9, 0, BYTES(U32(1), U32(1)));
	expect_bytes(&b, 15, 24, 1, 0, BYTES(U32(0), U32(8), U32(0), 0, 0, 0, 0, 0, 0, 0, 0));
	expect_bytes(&b, 16, 25, 9, 0, BYTES(U32(2), U32(3), U32(1), 7, 8, 9));
	expect_bytes(&b, 17, 34, 9, 0, NULL, 0);
	expect_bytes(&b, 18, 39, 9, 0, BYTES(U64(0x8f)));
	expect_bytes(&b, 19, 40, 1, 0, NULL, 0);
	expect_bytes(&b, 20, 4, 9, 0, NULL, 0);
	expect_bytes(&b, 21, 7, 9, 1, NULL, 0);
	close(event);
	vh_master_free(m);
	vht_backend_stop(&b);
}

static void without_reply_ack_nothing_is_awaited(void **state)
{
	struct vht_backend b;
	struct vh_master *m;

	(void)state;
	vht_backend_init(&b);
	b.protocol_features = 0;
	m = vht_master_with(&b, 0);
	assert_int_equal(vh_master_set_vring_num(m, 0, 4), 0);
	assert_int_equal(vh_master_set_owner(m), 0);
	vht_backend_join(&b);
	assert_int_equal(vht_backend_seen(&b, 8, 0)->flags, 1);
	vh_master_free(m);
	vht_backend_stop(&b);
}

static void arguments_are_checked_before_anything_is_sent(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	uint8_t buf[300] = {0};
	uint64_t v = 77;

	(void)state;
	vht_backend_init(&b);
	m = vht_master_with(&b, 0);
	assert_int_equal(vh_master_get_features(m, NULL), -EINVAL);
	assert_int_equal(vh_master_get_queue_num(m, NULL), -EINVAL);
	assert_int_equal(vh_master_get_status(m, NULL), -EINVAL);
	assert_int_equal(vh_master_get_vring_base(m, 0, NULL), -EINVAL);
	assert_int_equal(vh_master_get_features(NULL, &v), -EINVAL);
	assert_int_equal(vh_master_set_features(NULL, 0), -EINVAL);
	assert_int_equal(vh_master_set_protocol_features(NULL, 0), -EINVAL);
	assert_int_equal(vh_master_set_vring_num(NULL, 0, 1), -EINVAL);
	assert_int_equal(vh_master_set_config(NULL, 0, NULL, 1, 0), -EINVAL);
	assert_int_equal(vh_master_set_log_base(m, -1, 0, 8), -EINVAL);
	assert_int_equal(vh_master_set_log_base(m, 0, 0, 0), -EINVAL);
	assert_int_equal(vh_master_set_log_base(m, 0, UINT64_MAX, 8), -EINVAL);
	assert_int_equal(vh_master_set_log_base(m, 0, 0, 8), -EOPNOTSUPP);
	assert_int_equal(vh_master_set_log_fd(m, -1), -EINVAL);
	assert_int_equal(vh_master_set_vring_num(m, 0, 0), -EINVAL);
	assert_int_equal(vh_master_set_vring_num(m, 0, 32769), -EINVAL);
	assert_int_equal(vh_master_set_vring_base(m, 0, 0x10000), -EINVAL);
	assert_int_equal(vh_master_set_vring_enable(m, 0, 2), -EINVAL);
	assert_int_equal(vh_master_set_vring_addr(m, NULL), -EINVAL);
	assert_int_equal(vh_master_set_vring_addr(m, &(struct vh_vring_addr){.flags = 2}), -EINVAL);
	assert_int_equal(vh_master_set_vring_kick(m, 256, -1), -EINVAL);
	assert_int_equal(vh_master_set_status(m, 256), -EINVAL);
	assert_int_equal(vh_master_get_config(m, 0, buf, 257), -EINVAL);
	assert_int_equal(vh_master_get_config(m, 0, buf, 0), -EINVAL);
	assert_int_equal(vh_master_get_config(m, 0, NULL, 1), -EINVAL);
	assert_int_equal(vh_master_set_config(m, 0, buf, 1, 2), -EINVAL);
	assert_int_equal(vh_master_set_features(m, BIT(63)), -EINVAL);
	assert_int_equal(vh_master_set_protocol_features(m, BIT(14)), -EINVAL); /* without 3 and 5 */
	assert_int_equal(vh_master_set_protocol_features(m, BIT(22)), -EINVAL); /* not offered */
	assert_int_equal(vh_master_set_mem(m, NULL), -EINVAL);
	assert_int_equal(vh_master_remove_mem_region(m, NULL), -EINVAL);
	assert_int_equal(v, 77);
	vht_backend_join(&b);
	assert_int_equal(b.n_seen, 8);
	vh_master_free(m);
	vht_backend_stop(&b);
}

static void a_bad_fd_of_the_caller_costs_the_call_and_nothing_else(void **state)
{
	const struct vh_msg msg = {.size = sizeof(msg), .request = 13 /* SET_VRING_CALL */, .n_fds = 1};
	const int32_t closed = 9999;
	struct vht_backend b;
	struct vh_master *m;
	uint64_t ticket;

	(void)state;
	vht_backend_init(&b);
	m = vht_master_with(&b, 0);
	assert_int_equal(vh_master_set_vring_kick(m, 0, closed), -EBADF);
	assert_int_equal(vh_master_set_vring_call(m, 0, closed), -EBADF);
	assert_int_equal(vh_master_set_vring_err(m, 0, closed), -EBADF);
	assert_int_equal(vh_master_submit(m, &msg, &closed, &ticket), -EINVAL); /* no payload */
	assert_int_equal(vh_master_get_features(m, &(uint64_t){0}), 0);		/* the connection is whole */
	vh_master_free(m);
	vht_backend_stop(&b);
}

static void an_empty_config_reply_is_a_refusal(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	uint8_t buf[8] = {1, 2, 3};

	(void)state;
	vht_backend_init(&b);
	b.no_config = true;
	m = vht_master_with(&b, 0);
	assert_int_equal(vh_master_get_config(m, 0, buf, 8), -EREMOTEIO);
	assert_int_equal(buf[0], 1);
	assert_int_equal(vh_master_get_features(m, &(uint64_t){0}), 0); /* the connection is whole */
	vh_master_free(m);
	vht_backend_stop(&b);
}

static bool answer_with_size_0(struct vht_backend *b, struct vht_msg *m)
{
	if (m->request != 24)
		return false;
	memset(m->payload + 4, 0, 4);
	vht_send(b->fd, 24, 5, m->payload, 12, NULL, 0);
	return true;
}

static void a_config_reply_whose_size_field_is_0_is_a_refusal(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	uint8_t buf[8];

	(void)state;
	vht_backend_init(&b);
	b.script = answer_with_size_0;
	m = vht_master_with(&b, 0);
	assert_int_equal(vh_master_get_config(m, 0, buf, 8), -EREMOTEIO);
	vh_master_free(m);
	vht_backend_stop(&b);
}

static bool refuse_num(struct vht_backend *b, struct vht_msg *m)
{
	if (m->request != 8)
		return false;
	vht_send_u64(b->fd, 8, 5, (uint64_t)-EINVAL);
	return true;
}

static void a_refused_request_is_named(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	struct vh_error e = {.size = sizeof(e)};

	(void)state;
	vht_backend_init(&b);
	b.script = refuse_num;
	m = vht_master_with(&b, 0);
	assert_int_equal(vh_master_set_vring_num(m, 0, 4), -EREMOTEIO);
	assert_int_equal(vh_error_get(&e), 0);
	assert_int_equal(e.request, 8);
	assert_int_equal(e.domain, VH_ERROR_PEER);
	assert_non_null(strstr(e.text, "SET_VRING_NUM"));
	assert_non_null(strstr(e.text, "EINVAL"));
	assert_int_equal(vh_master_set_vring_base(m, 0, 4), 0);
	vh_master_free(m);
	vht_backend_stop(&b);
}

static void silly_queue_and_slot_numbers_are_clamped(void **state)
{
	static const struct {
		uint64_t said;
		uint32_t queues, slots;
	} cases[] = {{0, 1, 1}, {7, 7, 7}, {UINT64_C(1) << 63, 256, 509}, {UINT64_MAX, 256, 509}};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct vht_backend b;
		struct vh_master *m;
		uint32_t n;

		vht_backend_init(&b);
		b.queue_num = b.mem_slots = cases[i].said;
		m = vht_master_with(&b, 0);
		assert_int_equal(vh_master_get_queue_num(m, &n), 0);
		assert_int_equal(n, cases[i].queues);
		assert_int_equal(vh_master_get_max_mem_slots(m, &n), 0);
		assert_int_equal(n, cases[i].slots);
		vh_master_free(m);
		vht_backend_stop(&b);
	}
}

static void unknown_feature_bits_are_masked_for_a_driver(void **state)
{
	struct vht_backend b;
	struct vh_master *m = vht_master_new(0);
	struct vh_backend *be = NULL;
	uint64_t offered = 0, raw = 0;

	(void)state;
	vht_backend_init(&b);
	b.features = UINT64_MAX;
	vht_backend_start(&b, vht_master_pair(m));
	assert_int_equal(vh_master_backend(m, &be), 0);
	assert_string_equal(vh_backend_kind(be), "vhost-user");
	assert_int_equal(vh_backend_get_features(be, &offered), 0);
	assert_int_equal(offered & (BIT(26) | BIT(30) | BIT(38) | BIT(41) | BIT(49)), 0);
	assert_int_equal(offered & (BIT(0) | BIT(23) | BIT(28) | BIT(32) | BIT(34) | BIT(35) | BIT(50) | BIT(63)),
			 BIT(0) | BIT(23) | BIT(28) | BIT(32) | BIT(34) | BIT(35) | BIT(50) | BIT(63));
	assert_int_equal(vh_master_get_features(m, &raw), 0);
	assert_true(raw == UINT64_MAX);
	vh_master_free(m);
	vht_backend_stop(&b);
}

static void calls_without_a_connection_say_so(void **state)
{
	struct vh_master *m = vht_master_new(0);

	(void)state;
	assert_int_equal(vh_master_set_owner(m), -ENOTCONN);
	assert_non_null(strstr(vht_text(), "vh_master_connect"));
	assert_int_equal(vh_master_dispatch(m), -ENOTCONN);
	assert_int_equal(vh_master_disconnect(m), -ENOTCONN);
	assert_int_equal(vh_master_resume(m), 0);
	vh_master_free(m);
	vh_master_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(negotiation_is_in_the_order_that_every_back_end_takes),
		cmocka_unit_test(qemu_storage_daemon_s_features_are_negotiated),
		cmocka_unit_test(without_bit_30_there_are_no_protocol_features),
		cmocka_unit_test(what_the_options_mask_is_not_acked),
		cmocka_unit_test(every_call_sends_exactly_the_bytes_of_the_specification),
		cmocka_unit_test(without_reply_ack_nothing_is_awaited),
		cmocka_unit_test(arguments_are_checked_before_anything_is_sent),
		cmocka_unit_test(a_bad_fd_of_the_caller_costs_the_call_and_nothing_else),
		cmocka_unit_test(an_empty_config_reply_is_a_refusal),
		cmocka_unit_test(a_config_reply_whose_size_field_is_0_is_a_refusal),
		cmocka_unit_test(a_refused_request_is_named),
		cmocka_unit_test(silly_queue_and_slot_numbers_are_clamped),
		cmocka_unit_test(unknown_feature_bits_are_masked_for_a_driver),
		cmocka_unit_test(calls_without_a_connection_say_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
