/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What is offered only when it is asked for: regions with Xen's mapping flags, and the byte order of legacy rings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vht_master.h"
#include "vht_peer.h"

#define BIT(n) (UINT64_C(1) << (n))
#define XEN    BIT(VH_PF_XEN_MMAP)
#define ENDIAN BIT(VH_PF_CROSS_ENDIAN)
#define ACK    BIT(VH_PF_REPLY_ACK)
#define SLOTS  BIT(VH_PF_CONFIGURE_MEM_SLOTS)

static struct vht_peer peer;
static struct vht_peer *const p = &peer;

static int tear_down(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

/* A back-end with these bits beside the usual ones, and a front-end that takes some. */
static void begin(uint64_t extra, uint64_t acked)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .more_protocol_features = extra};

	vht_peer_init(p, &opts, NULL, 0);
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_PROTOCOL_FEATURES, VHT_PF | extra);
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, ACK | acked);
}

/* How many were refused by then. */
static uint32_t refused(uint32_t id, const void *payload, uint32_t size, int fd)
{
	vht_nack(p, id, payload, size, fd);
	return (uint32_t)vht_slave_stats(p).rejected;
}

/* As on the wire, written down again. */
struct xen_region {
	uint64_t gpa, size, uva, offset;
	uint32_t flags, domain;
};
struct xen_reg {
	uint64_t padding;
	struct xen_region r;
};
struct xen_table {
	uint32_t n, padding;
	struct xen_region r[8];
};

static uint32_t regions(struct vh_region *out)
{
	struct vh_snapshot *s;
	vh_count n;

	assert_int_equal(vh_slave_dup_snapshot(p->s, &s), 0);
	n = vh_snapshot_regions(s, out, 8);
	vh_snapshot_free(s);
	return (uint32_t)n;
}

static void a_back_end_takes_regions_of_their_larger_size(void **state)
{
	struct xen_table t = {.n = 2,
			      .r = {{0x100000, 0x1000, 0x7000, 0, 0, 9}, {0x200000, 0x2000, 0x9000, 0x1000, 0, 9}}};
	struct xen_reg one = {.r = {0x300000, 0x1000, 0xc000, 0, 0, 0}};
	const uint32_t size = 8 + 2 * sizeof(t.r[0]);
	struct vh_region got[8];

	(void)state;
	begin(XEN, XEN | SLOTS);
	vht_ok(p, M_ADD_MEM_REG, &one, 48, p->memfd);
	assert_int_equal(regions(got), 1);
	assert_int_equal(got[0].gpa, 0x300000);
	assert_int_equal(got[0].map_flags, 0);
	refused(M_ADD_MEM_REG, &one, 40, p->memfd);
	vht_ok(p, M_REM_MEM_REG, &one, 48, -1);
	assert_int_equal(regions(got), 0);

	{
		/* Two fds: by hand. */
		int fds[2] = {p->memfd, p->memfd};

		vht_send(p->fd, M_SET_MEM_TABLE, F_NEED_REPLY, &t, size, fds, 2);
		vht_expect_u64(p, M_SET_MEM_TABLE, 0);
	}
	assert_int_equal(regions(got), 2);
	assert_int_equal(got[0].gpa, 0x100000);
	assert_int_equal(got[1].gpa, 0x200000);
	assert_int_equal(got[1].uva, 0x9000);
	assert_int_equal(got[1].offset, 0x1000);
	t.n = 1;
	refused(M_SET_MEM_TABLE, &t, 40, p->memfd);
	assert_int_equal(regions(got), 2);
}

/* There is no Xen here, and a memfd is no device of its. */
static void a_back_end_refuses_what_it_cannot_map(void **state)
{
	static const uint32_t flags[] = {VH_MAP_XEN_FOREIGN, VH_MAP_XEN_GRANT, VH_MAP_ON_DEMAND, 3, 4, UINT32_MAX};
	struct xen_reg one = {.r = {0x300000, 0x1000, 0xc000, 0, 0, 1}};
	struct vh_region got[8];

	(void)state;
	begin(XEN, XEN | SLOTS);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		one.r.flags = flags[i];
		assert_int_equal(refused(M_ADD_MEM_REG, &one, 48, p->memfd), i + 1);
	}
	assert_int_equal(regions(got), 0);
	one.r.flags = 0;
	vht_ok(p, M_ADD_MEM_REG, &one, 48, p->memfd);
}

static void unless_it_was_acked_regions_are_as_ever(void **state)
{
	struct xen_reg one = {.r = {0x300000, 0x1000, 0xc000, 0, 0, 0}};

	(void)state;
	begin(XEN, SLOTS);
	refused(M_ADD_MEM_REG, &one, 48, p->memfd);
	vht_ok(p, M_ADD_MEM_REG, &one, 40, p->memfd);
}

static void rings_stay_little_endian(void **state)
{
	(void)state;
	begin(ENDIAN, ENDIAN);
	vht_ok_state(p, 23, 0, 0);
	vht_ok_state(p, 23, VHT_QUEUES - 1, 0);
	vht_nack_state(p, 23, 0, 1);
	vht_nack_state(p, 23, VHT_QUEUES, 0);
	vht_nack_state(p, 23, 0, 2);
	vht_ok_state(p, 23, 0, 0);
}

static void nothing_is_offered_that_was_not_asked_for(void **state)
{
	(void)state;
	begin(0, 0);
	vht_nack_state(p, 23, 0, 0);
}

/* The front-end. */

static struct vh_master *front_end(struct vht_backend *b, uint64_t extra, uint64_t pf)
{
	const struct vh_master_opts opts = {.size = sizeof(opts), .more_protocol_features = extra};
	struct vh_master *m;

	vht_backend_init(b);
	b->protocol_features = pf;
	assert_int_equal(vh_master_new(&opts, NULL, NULL, &m), 0);
	vht_backend_start(b, vht_master_pair(m));
	assert_int_equal(vh_master_negotiate(m, BIT(VH_F_VERSION_1), NULL), 0);
	return m;
}

static void expect_region(const struct vht_msg *m, size_t at, const struct vh_region *r, uint32_t flags,
			  uint32_t domain)
{
	assert_int_equal(vht_u64(m, at), r->gpa);
	assert_int_equal(vht_u64(m, at + 8), r->len);
	assert_int_equal(vht_u64(m, at + 16), r->uva);
	assert_int_equal(vht_u64(m, at + 24), r->offset);
	assert_int_equal(vht_u32(m, at + 32), flags);
	assert_int_equal(vht_u32(m, at + 36), domain);
}

static void a_front_end_sends_flags_and_domain(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	struct vh_mem *mem;
	struct vh_region r[2];
	const struct vht_msg *msg;

	(void)state;
	for (int slots = 0; slots < 2; slots++) {
		assert_int_equal(vh_mem_new(NULL, &mem), 0);
		assert_int_equal(vh_mem_alloc(mem, 0, 8192, 0), 0);
		assert_int_equal(vh_mem_alloc(mem, 1 << 20, 4096, 0), 0);
		assert_int_equal(vh_mem_regions(mem, r, 2), 2);
		m = front_end(&b, XEN, XEN | ACK | (slots ? SLOTS : 0));
		assert_true(b.pf_acked & XEN);
		assert_int_equal(vh_master_set_mem(m, mem), 0);
		if (slots) {
			r[1].map_flags = VH_MAP_XEN_FOREIGN;
			r[1].map_domain = 5;
			assert_int_equal(vh_master_remove_mem_region(m, &r[1]), 0);
		}
		vht_backend_join(&b);
		msg = vht_backend_seen(&b, slots ? 37 : 5, 0);
		assert_int_equal(msg->size, slots ? 48 : 8 + 2 * 40);
		expect_region(msg, 8, &r[0], 0, 0);
		if (slots) {
			msg = vht_backend_seen(&b, 38, 0);
			assert_int_equal(msg->size, 48);
			expect_region(msg, 8, &r[1], VH_MAP_XEN_FOREIGN, 5);
		} else {
			expect_region(msg, 48, &r[1], 0, 0);
		}
		vh_master_free(m);
		vht_backend_stop(&b);
		vh_mem_free(mem);
	}
}

static void a_front_end_acks_it_only_when_asked(void **state)
{
	struct vht_backend b;
	struct vh_master *m = front_end(&b, 0, XEN | ACK);

	(void)state;
	assert_int_equal(b.pf_acked, ACK);
	vh_master_free(m);
	vht_backend_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_back_end_takes_regions_of_their_larger_size, tear_down),
		cmocka_unit_test_teardown(a_back_end_refuses_what_it_cannot_map, tear_down),
		cmocka_unit_test_teardown(unless_it_was_acked_regions_are_as_ever, tear_down),
		cmocka_unit_test_teardown(rings_stay_little_endian, tear_down),
		cmocka_unit_test_teardown(nothing_is_offered_that_was_not_asked_for, tear_down),
		cmocka_unit_test(a_front_end_sends_flags_and_domain),
		cmocka_unit_test(a_front_end_acks_it_only_when_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
