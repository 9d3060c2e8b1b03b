/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* VIRTIO_F_RING_RESET: one queue of a session begins anew while the others run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vhi_driver.h"
#include "vht_session.h"

#define ok(call) assert_int_equal((call), 0)
#define MIB	 (UINT64_C(1) << 20)
#define KIND	 (*(const enum vht_kind *)*state)

static void begin(struct vht_session *s, enum vht_kind kind)
{
	const struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .n_queues = 2, .queue_size = 8};

	vht_session_ram(s, kind, 4 * MIB, 0, 2);
	vht_session_begin(s, &opts, MIB);
}

static void one_queue_begins_anew_and_the_others_run_on(void **state)
{
	struct vht_session s;
	uint64_t features;

	begin(&s, KIND);
	ok(vh_driver_features(s.d, &features));
	assert_true(features & VHI_BIT(VH_F_RING_RESET));
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t i = 0; i < 5;
		     i++) { /* so that rings stand anywhere, packed ones with either wrap counter */
			vht_session_write(&s, 0, 8192 * i, 4096, round);
			vht_session_write(&s, 1, 8192 * i + 4096, 4096, round);
		}
		ok(vh_driver_reset_queue(s.d, round % 2));
		for (uint32_t i = 0; i < 5; i++) {
			vht_session_verify(&s, 0, 8192 * i, 4096, round);
			vht_session_verify(&s, 1, 8192 * i + 4096, 4096, round);
		}
	}
	ok(vh_driver_stop(s.d, 0, 0));
	ok(vh_driver_reset_queue(s.d, 0)); /* at the next start */
	ok(vh_driver_start(s.d));
	vht_session_verify(&s, 0, 0, 4096, 19);
	vht_session_verify(&s, 1, 4096, 4096, 19);
	assert_int_equal(vh_driver_reset_queue(s.d, 2), -ENOENT);
	assert_int_equal(vh_driver_reset_queue(NULL, 0), -EINVAL);
	vht_session_end(&s);
}

/* What was submitted and not reaped comes back as failed, once, and by nobody else's number. */
static void requests_in_flight_do_not_come_back_as_done(void **state)
{
	struct vh_blk_done done[4];
	struct vht_session s;

	begin(&s, KIND);
	for (uint32_t i = 0; i < 4; i++) {
		const struct vh_blk_io io = {
			.op = VH_BLK_READ, .addr = (uint64_t)(uintptr_t)s.buf, .len = 512, .user = 7 + i};

		assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	}
	ok(vh_driver_reset_queue(s.d, 0));
	vht_session_reap(&s, 0, done, 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(done[i].rc, -EIO);
	vht_session_write(&s, 0, 0, 4096, 3);
	vht_session_verify(&s, 1, 0, 4096, 3);
	vht_session_end(&s);
}

/* The device broke it; the other queue never noticed. */
static void a_queue_that_broke_recovers(void **state)
{
	struct vht_session s;
	struct vh_queue *q;

	begin(&s, KIND);
	ok(vh_driver_queue(s.d, 0, &q));
	vht_session_write(&s, 0, 0, 4096, 1);
	assert_int_equal(vhi_queue_break(q, -EPROTO, 0, "a test"), -EPROTO);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_BROKEN);
	vht_session_verify(&s, 1, 0, 4096, 1);
	ok(vh_driver_reset_queue(s.d, 0));
	assert_int_equal(vh_queue_state(q), VH_QUEUE_RUNNING);
	vht_session_verify(&s, 0, 0, 4096, 1);
	vht_session_end(&s);
}

/* Inflight records would say where the ring stood. */
static void records_of_the_queue_begin_anew_too(void **state)
{
	const struct vh_reconnect policy = {.size = sizeof(policy)};
	struct vht_session s;

	begin(&s, KIND);
	ok(vh_driver_stop(s.d, 0, 0));
	ok(vh_driver_set_reconnect(s.d, &policy));
	ok(vh_driver_start(s.d));
	assert_true(s.d->inflight_fd >= 0);
	for (uint32_t round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < 3; i++)
			vht_session_write(&s, 0, 8192 * i, 4096, round);
		ok(vh_driver_reset_queue(s.d, 0));
		for (uint32_t i = 0; i < 3; i++)
			vht_session_verify(&s, 0, 8192 * i, 4096, round);
	}
	vht_session_end(&s);
}

/* A guest: its memory, its ring, and the two fds. */
#define GPA  UINT64_C(0x100000)
#define DATA (GPA + 0x10000)

struct guest {
	struct vh_mem *mem;
	struct vh_queue *q;
	struct vh_driver_ring ring;
	struct vh_queue_opts opts;
	uint8_t *data;
	int kick, call;
};

static void guest_ring(struct guest *g, uint32_t num, uint64_t at)
{
	const uint32_t base = g->opts.features & VHI_BIT(VH_F_RING_PACKED) ? VH_QUEUE_PACKED_BASE : 0;

	vh_queue_free(g->q);
	g->opts = (struct vh_queue_opts){.size = sizeof(g->opts),
					 .role = VH_QUEUE_DRIVER,
					 .num = num,
					 .features = g->opts.features,
					 .desc = at,
					 .driver = at + 0x2000,
					 .device = at + 0x4000,
					 .base = base};
	g->ring = (struct vh_driver_ring){.size = sizeof(g->ring),
					  .num = num,
					  .desc = at,
					  .driver = at + 0x2000,
					  .device = at + 0x4000,
					  .base = base};
	ok(vh_queue_open(g->mem, &g->opts, g->kick, g->call, &g->q));
}

/* Read the first sector n times. */
static void guest_reads(struct guest *g, uint32_t n)
{
	struct vh_seg segs[3] = {
		{(uintptr_t)g->data, 16}, {(uintptr_t)g->data + 512, 512}, {(uintptr_t)g->data + 2048, 1}};
	const struct vh_req req = {.segs = (uintptr_t)segs, .n_rd = 1, .n_wr = 2};

	memset(g->data, 0, 16);
	while (n--) {
		struct vh_cpl cpl;
		vh_count got;

		g->data[2048] = 0xff;
		assert_int_equal(vh_queue_submit(g->q, &req, 1), 1);
		while (!(got = vh_queue_reap(g->q, &cpl, 1)))
			if (vh_queue_arm(g->q) == VH_QUEUE_SLEEP)
				assert_int_equal(poll(&(struct pollfd){.fd = vh_queue_fd(g->q), .events = POLLIN}, 1,
						      VHT_WAIT_MS),
						 1);
		assert_int_equal(got, 1);
		assert_int_equal(g->data[2048], 0);
		assert_int_equal(cpl.written, 513);
	}
}

static void a_guest_s_ring_is_reset_and_set_anew(void **state)
{
	const struct vh_driver_opts o = {
		.size = sizeof(o), .n_queues = 2, .features = VHI_RING_FEATURES & ~VHI_BIT(VH_F_RING_EVENT_IDX)};
	struct guest g = {.kick = eventfd(0, EFD_NONBLOCK), .call = eventfd(0, EFD_NONBLOCK)};
	struct vht_session s;
	struct vh_snapshot *snap;
	struct vh_region region;

	vht_session_ram(&s, KIND, MIB, 0, 2);
	ok(vh_mem_new(NULL, &g.mem));
	ok(vh_mem_alloc(g.mem, GPA, MIB, 0));
	snap = vhi_mem_snapshot(g.mem);
	assert_int_equal(vh_snapshot_regions(snap, &region, 1), 1);
	vhi_snapshot_put(snap);
	g.data = (uint8_t *)(uintptr_t)region.host + (DATA - GPA);
	ok(vh_driver_new(&o, s.t.backend, g.mem, &s.d));
	ok(vh_driver_features(s.d, &g.opts.features));
	guest_ring(&g, 8, GPA);
	ok(vh_driver_set_ring(s.d, 0, &g.ring, g.kick, g.call));
	ok(vh_driver_start(s.d));
	guest_reads(&g, 11);
	assert_int_equal(vh_driver_set_ring(s.d, 0, &g.ring, g.kick, g.call), -EBUSY);
	/* Of another size, at another place; and the first one for the other queue. */
	ok(vh_driver_reset_queue(s.d, 0));
	guest_ring(&g, 4, GPA + 0x8000);
	ok(vh_driver_set_ring(s.d, 0, &g.ring, g.kick, g.call));
	guest_reads(&g, 11);
	guest_ring(&g, 16, GPA);
	ok(vh_driver_set_ring(s.d, 1, &g.ring, g.kick, g.call));
	guest_reads(&g, 3);
	ok(vh_driver_stop(s.d, 0, 0));
	vh_queue_free(g.q);
	vht_session_end(&s);
	vh_mem_free(g.mem);
	close(g.kick);
	close(g.call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VHT_OVER(one_queue_begins_anew_and_the_others_run_on),
		VHT_OVER(requests_in_flight_do_not_come_back_as_done),
		VHT_OVER(a_queue_that_broke_recovers),
		VHT_USER_ONLY(records_of_the_queue_begin_anew_too),
		VHT_USER_ONLY(a_guest_s_ring_is_reset_and_set_anew),
	};

	return vht_run(tests);
}
