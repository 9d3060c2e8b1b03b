/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The front-end of a device behind an IOMMU: what it tells, and how it answers misses. The back-end is by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "vhi_master.h"
#include "vht_master.h"

#define BIT(n)	 (UINT64_C(1) << (n))
#define IOTLB	 22
#define B_IOTLB	 1
#define RW	 (VH_MEM_READ | VH_MEM_WRITE)
#define GUEST	 UINT64_C(0x40000000)
#define LEN	 UINT64_C(0x10000)
#define FLAGS_IN 9 /* asked for, though it has a reply of its own */

enum { MISS = 1, UPDATE, INVALIDATE, FAIL };

static struct {
	struct vh_master *m;
	struct vht_backend b;
	struct vh_mem *mem;
	struct vh_iotlb *map;
	uint64_t uva;
	uint64_t iova; /* of the callback */
	uint32_t perm, calls;
	int32_t rc;
	bool tells;
	uint64_t refuse; /* status that the back-end answers with */
} f;

static bool answer(struct vht_backend *b, struct vht_msg *m)
{
	if (m->request != IOTLB)
		return false;
	vht_send_u64(b->fd, IOTLB, 5, f.refuse);
	return true;
}

static vh_rc on_miss(void *ctx, vh_iova iova, uint32_t perm)
{
	const struct vh_iotlb_entry e = {.iova = iova, .len = 4096, .addr = f.uva, .perm = RW};

	(void)ctx;
	f.calls++;
	f.iova = iova;
	f.perm = perm;
	assert_int_equal(vh_master_iotlb_invalidate(f.m, 0, 1), -EDEADLK);
	return f.tells ? vh_master_iotlb_update(f.m, &e) : f.rc;
}

static void begin(bool callback)
{
	const struct vh_master_opts opts = {.size = sizeof(opts), .timeout_ms = 2000};
	const struct vh_master_ops ops = {.size = sizeof(ops), .iotlb_miss = callback ? on_miss : NULL};
	struct vh_region r;
	uint64_t acked;

	memset(&f, 0, sizeof(f));
	assert_int_equal(vh_master_new(&opts, &ops, NULL, &f.m), 0);
	vht_backend_init(&f.b);
	f.b.features |= BIT(VH_F_ACCESS_PLATFORM);
	f.b.script = answer;
	vht_backend_start(&f.b, vht_master_pair(f.m));
	assert_int_equal(vh_master_negotiate(f.m, BIT(32) | BIT(VH_F_ACCESS_PLATFORM), &acked), 0);
	assert_int_equal(acked, BIT(32) | BIT(VH_F_ACCESS_PLATFORM));
	assert_int_equal(vh_mem_new(NULL, &f.mem), 0);
	assert_int_equal(vh_mem_alloc(f.mem, GUEST, LEN, 0), 0);
	assert_int_equal(vh_mem_regions(f.mem, &r, 1), 1);
	f.uva = r.uva;
	assert_int_equal(vh_master_set_mem(f.m, f.mem), 0);
}

static void end(void)
{
	vh_master_free(f.m);
	vh_iotlb_free(f.map);
	vh_mem_free(f.mem);
	vht_backend_stop(&f.b);
}

static void ask(uint32_t type, uint64_t iova, uint32_t perm)
{
	const struct vhi_wire_iotlb miss = {.iova = iova, .perm = (uint8_t)perm, .type = (uint8_t)type};

	vht_send(f.b.channel, B_IOTLB, 9, &miss, sizeof(miss), NULL, 0);
}

/* The answer on the channel, and what was told on the main one before it: n-th IOTLB message. */
static void expect(uint64_t status)
{
	struct pollfd p[] = {{.fd = vh_master_fd(f.m), .events = POLLIN}, {.fd = f.b.channel, .events = POLLIN}};
	struct vht_msg m;

	while (!p[1].revents) {
		assert_true(poll(p, 2, VHT_WAIT_MS) > 0);
		assert_true(vh_master_dispatch(f.m) >= 0);
	}
	assert_int_equal(vht_recv(f.b.channel, &m), 1);
	assert_int_equal(m.request, B_IOTLB);
	assert_int_equal(m.flags, 5);
	assert_int_equal(vht_u64(&m, 0), status);
	/* Whatever was sent is answered when this is. */
	assert_int_equal(vh_master_get_features(f.m, &(uint64_t){0}), 0);
}

static struct vhi_wire_iotlb told(unsigned n)
{
	const struct vht_msg *m = vht_backend_seen(&f.b, IOTLB, n);
	struct vhi_wire_iotlb e;

	assert_non_null(m);
	assert_int_equal(m->flags, FLAGS_IN);
	assert_int_equal(m->size, sizeof(e));
	memcpy(&e, m->payload, sizeof(e));
	return e;
}

static void an_update_and_an_invalidation(void **state)
{
	const struct vh_iotlb_entry e = {.iova = 0x5000, .len = 4096, .addr = 0x1234000, .perm = VH_MEM_READ};
	struct vh_iotlb_entry bad[] = {e, e, e, e, e, e};
	struct vhi_wire_iotlb t;

	(void)state;
	begin(false);
	assert_int_equal(vh_master_iotlb_update(f.m, &e), 0);
	assert_int_equal(vh_master_iotlb_invalidate(f.m, 0x5000, 4096), 0);
	t = told(0);
	assert_true(t.iova == e.iova && t.size == e.len && t.uva == e.addr && t.perm == 1 && t.type == UPDATE);
	t = told(1);
	assert_true(t.iova == 0x5000 && t.size == 4096 && t.type == INVALIDATE);
	f.refuse = 1;
	assert_int_equal(vh_master_iotlb_update(f.m, &e), -EREMOTEIO);
	assert_int_equal(vh_master_iotlb_invalidate(f.m, 0x5000, 4096), -EREMOTEIO);
	bad[0].len = 0;
	bad[1].perm = 0;
	bad[2].perm = 4;
	bad[3].flags = 1;
	bad[4].iova = UINT64_MAX - 1;
	bad[5].addr = UINT64_MAX - 1;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++)
		assert_int_equal(vh_master_iotlb_update(f.m, &bad[i]), -EINVAL);
	assert_int_equal(vh_master_iotlb_update(f.m, NULL), -EINVAL);
	assert_int_equal(vh_master_iotlb_invalidate(f.m, 1, 0), -EINVAL);
	end();
}

static void misses_are_answered_from_a_map(void **state)
{
	struct vhi_wire_iotlb t;

	(void)state;
	begin(false);
	assert_int_equal(vh_iotlb_new(NULL, NULL, &f.map), 0);
	/* Larger than the region that it goes to, on both sides. */
	assert_int_equal(vh_iotlb_update(f.map, &(struct vh_iotlb_entry){.iova = 0x100000,
									 .len = LEN + 0x2000,
									 .addr = GUEST - 0x1000,
									 .perm = VH_MEM_READ}),
			 0);
	assert_int_equal(vh_master_set_iotlb(f.m, f.map), 0);
	ask(MISS, 0x102010, VH_MEM_WRITE);
	expect(0);
	t = told(0);
	assert_int_equal(t.type, UPDATE);
	assert_int_equal(t.iova, 0x101000);
	assert_int_equal(t.size, LEN);
	assert_int_equal(t.uva, f.uva);
	/* What may be done is told; whether that is enough is the back-end's to see. */
	assert_int_equal(t.perm, VH_MEM_READ);
	/* Guest addresses that nothing is at, and I/O addresses that mean nothing. */
	ask(MISS, 0x100010, VH_MEM_READ);
	expect(1);
	ask(MISS, 0x50, VH_MEM_READ);
	expect(1);
	ask(FAIL, 0x50, VH_MEM_WRITE);
	expect(0);
	assert_null(vht_backend_seen(&f.b, IOTLB, 1));
	assert_int_equal(vh_master_set_iotlb(f.m, NULL), 0);
	ask(MISS, 0x102010, VH_MEM_WRITE);
	expect(1);
	end();
}

static void a_map_of_user_addresses_is_told_as_it_is(void **state)
{
	const struct vh_iotlb_opts opts = {.size = sizeof(opts), .flags = VH_IOTLB_USER_ADDR};
	struct vhi_wire_iotlb t;

	(void)state;
	begin(false);
	assert_int_equal(vh_iotlb_new(&opts, NULL, &f.map), 0);
	assert_int_equal(
		vh_iotlb_update(f.map, &(struct vh_iotlb_entry){.iova = 0, .len = 4096, .addr = 77, .perm = RW}), 0);
	assert_int_equal(vh_master_set_iotlb(f.m, f.map), 0);
	ask(MISS, 8, RW);
	expect(0);
	t = told(0);
	assert_true(t.iova == 0 && t.size == 4096 && t.uva == 77 && t.perm == 3);
	end();
}

static void the_callback_answers_what_no_map_does(void **state)
{
	struct vhi_wire_iotlb t;

	(void)state;
	begin(true);
	f.tells = true;
	ask(MISS, 0x7000, VH_MEM_WRITE);
	expect(0);
	assert_int_equal(f.calls, 1);
	assert_int_equal(f.iova, 0x7000);
	assert_int_equal(f.perm, VH_MEM_WRITE);
	t = told(0);
	assert_true(t.iova == 0x7000 && t.uva == f.uva);
	f.tells = false;
	f.rc = -EFAULT;
	ask(MISS, 0x8000, VH_MEM_WRITE);
	expect(1);
	/* Later is fine. */
	f.rc = 0;
	ask(MISS, 0x9000, VH_MEM_WRITE);
	expect(0);
	f.rc = -EINPROGRESS;
	ask(MISS, 0xa000, VH_MEM_WRITE);
	expect(0);
	assert_null(vht_backend_seen(&f.b, IOTLB, 1));
	end();
}

/* A back-end that needs the answer before it can go on with what it was asked. */
static bool holds(struct vht_backend *b, struct vht_msg *m)
{
	struct vht_msg in;

	if (m->request != 11)
		return false;
	ask(MISS, 0x7000, VH_MEM_WRITE);
	assert_int_equal(vht_recv(b->fd, &in), 1);
	assert_int_equal(in.request, IOTLB);
	/* Replies leave in the order of the requests. */
	vht_send_u64(b->fd, 11, 5, VHT_PAIR(0, 5));
	vht_send_u64(b->fd, IOTLB, 5, 0);
	assert_int_equal(vht_recv(b->channel, &in), 1);
	return true;
}

static void a_miss_is_answered_while_a_call_waits(void **state)
{
	uint32_t base = 0;

	(void)state;
	begin(true);
	f.tells = true;
	f.b.script = holds;
	assert_int_equal(vh_master_get_vring_base(f.m, 0, &base), 0);
	assert_int_equal(base, 5);
	assert_int_equal(f.calls, 1);
	f.b.script = answer;
	assert_int_equal(vh_master_get_features(f.m, &(uint64_t){0}), 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_update_and_an_invalidation),
		cmocka_unit_test(misses_are_answered_from_a_map),
		cmocka_unit_test(a_map_of_user_addresses_is_told_as_it_is),
		cmocka_unit_test(the_callback_answers_what_no_map_does),
		cmocka_unit_test(a_miss_is_answered_while_a_call_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
