/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What a session tells a back-end that comes back, message by message: the test is that back-end, in the same thread, so
 * nothing of it may wait. The rings are the test's too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <endian.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vht_backend.h"
#include "vhi_driver.h"
#include "vht_peer.h"

#define ok(call) assert_int_equal((call), 0)
#define GPA	 UINT64_C(0x100000)
#define SIZE	 UINT64_C(0x100000)
#define NUM	 8u
#define RINGS	 2u
#define AVAIL	 0x1000u
#define USED	 0x2000u
#define PAGE	 0x10000u /* from ring to ring */

#define SPLIT  (UINT64_C(1) << VH_F_VERSION_1)
#define PACKED (SPLIT | UINT64_C(1) << VH_F_RING_PACKED)

static struct vht_backend b;
static struct vh_master *m;
static struct vh_backend *backend;
static struct vh_mem *mem;
static struct vh_driver *d;
static uint8_t *host;
static char told[512];	   /* ids of what came */
static uint32_t silent_at; /* a message that is not answered any more, 0 = none */
static uint32_t bases[RINGS];

static void note(const struct vht_msg *msg)
{
	const size_t at = strlen(told);

	snprintf(told + at, sizeof(told) - at, "%s%u", at ? " " : "", msg->request);
	if (msg->request == M_SET_VRING_BASE)
		bases[vht_u32(msg, 0)] = vht_u32(msg, 4);
}

static bool script(struct vht_backend *unused, struct vht_msg *msg)
{
	(void)unused;
	note(msg);
	return false;
}

static void new_memory(void)
{
	struct vh_snapshot *snap;
	struct vh_region region;

	ok(vh_mem_new(NULL, &mem));
	ok(vh_mem_alloc(mem, GPA, SIZE, 0));
	snap = vhi_mem_snapshot(mem);
	vhi_region_describe(snap, 0, &region);
	vhi_snapshot_put(snap);
	host = (uint8_t *)(uintptr_t)region.host;
}

static void set_rings(void)
{
	for (uint32_t i = 0; i < RINGS; i++) {
		const uint64_t at = GPA + (uint64_t)i * PAGE;
		uint64_t features;
		struct vh_driver_ring r = {
			.size = sizeof(r), .num = NUM, .desc = at, .driver = at + AVAIL, .device = at + USED};
		const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		ok(vh_driver_features(d, &features));
		if (features & VHI_BIT(VH_F_RING_PACKED))
			r.base = VH_QUEUE_PACKED_BASE;
		ok(vh_driver_set_ring(d, i, &r, fd, fd));
		close(fd);
	}
}

/* Connected to a back-end of a thread, and running. */
static void begin(uint64_t features, uint64_t protocol_features)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .n_queues = RINGS, .features = features};
	const struct vh_reconnect policy = {.size = sizeof(policy), .first_ms = 1, .max_ms = 2};
	const struct vh_master_opts mo = {.size = sizeof(mo), .timeout_ms = VHT_WAIT_MS};
	int fd;

	vht_backend_init(&b);
	b.features |= features | UINT64_C(1) << VH_F_RING_PACKED;
	b.protocol_features = protocol_features;
	b.script = script;
	new_memory();
	ok(vh_master_new(&mo, NULL, NULL, &m));
	ok(vh_master_socketpair(m, &fd));
	vht_backend_start(&b, fd);
	ok(vh_master_backend(m, &backend));
	ok(vh_driver_new(&o, backend, mem, &d));
	set_rings();
	ok(vh_driver_set_reconnect(d, &policy));
	ok(vh_driver_start(d));
}

static void end(void)
{
	vht_backend_stop(&b); /* nobody here would answer any more */
	vh_driver_free(d);
	vh_master_free(m);
	vh_mem_free(mem);
	told[0] = 0;
}

static void expect_event(uint32_t kind, uint32_t queue, int32_t reason)
{
	struct vh_event e = {.size = sizeof(e)};

	assert_int_equal(vh_driver_next_event(d, &e), 1);
	assert_string_equal(vh_event_name(e.kind), vh_event_name(kind));
	assert_int_equal(e.queue, queue);
	if (reason <= 0)
		assert_int_equal(e.reason, reason);
}

/* The back-end of this thread is gone. */
static void lose_again(void)
{
	struct vh_event e = {.size = sizeof(e)};

	close(b.fd);
	b.fd = -1;
	while (d->link.state != VHI_LINK_DOWN)
		assert_true(vh_driver_dispatch(d) >= 0);
	while (vh_driver_next_event(d, &e) == 1)
		;
	told[0] = 0;
}

/* The back-end is gone, and the session knows. */
static void lose(void)
{
	struct pollfd p = {.events = POLLIN};

	vht_backend_stop(&b);
	p.fd = (int)vh_driver_fd(d);
	assert_int_equal(poll(&p, 1, VHT_WAIT_MS), 1);
	while (vh_driver_dispatch(d) > 0)
		;
	expect_event(VH_EVENT_RECONNECTING, VH_ERROR_NONE, 1);
	told[0] = 0;
}

static void answer_one(void)
{
	struct vht_msg msg;

	assert_int_equal(vht_recv(b.fd, &msg), 1);
	note(&msg);
	if (msg.request != silent_at)
		vht_backend_answer(&b, &msg);
	vht_close_fds(&msg);
}

/* Another one comes, in this thread: what the session says without waiting for an answer is looked at first. */
static void come_back(void)
{
	struct pollfd p[2] = {{.events = POLLIN}, {.fd = (int)vh_driver_fd(d), .events = POLLIN}};

	ok(vh_master_socketpair(m, &b.fd));
	p[0].fd = b.fd;
	for (;;) {
		int rc = vh_driver_dispatch(d);

		assert_true(rc >= 0);
		if (d->link.state == VHI_LINK_DOWN)
			return;
		if (d->link.state == VHI_LINK_UP)
			break;
		if (!rc && silent_at && strstr(told, " 13"))
			return;
		if (!rc)
			assert_true(poll(p, 2, VHT_WAIT_MS) > 0);
		if (!rc && p[0].revents)
			answer_one();
	}
	while (poll(p, 1, 0) == 1) /* what needs no answer */
		answer_one();
}

#define ALL_PF	    UINT64_C(0x1af2b)
#define INFLIGHT_PF (ALL_PF | UINT64_C(1) << VH_PF_INFLIGHT_SHMFD)

/* Features, memory, log, config space, rings, and the status that says that it runs. */
static void the_plan_is_told_in_the_order_that_every_back_end_takes(void **state)
{
	struct vh_dirty *log;

	(void)state;
	begin(SPLIT, ALL_PF);
	ok(vh_dirty_new(GPA + SIZE, &log));
	ok(vh_driver_set_dirty(d, log));
	vh_dirty_free(log);
	ok(vh_backend_set_config(backend, 32, "\1\2", 2));
	ok(vh_backend_set_config(backend, 40, "\3", 1));
	lose();
	memset(b.config, 0, sizeof(b.config));
	come_back();
	assert_string_equal(told, "1 15 16 17 36 21 3 2 39 40 37 2 6 25 25 "
				  "8 10 9 12 13 8 10 9 12 13 18 18 39");
	assert_int_equal(b.config[32], 1);
	assert_int_equal(b.config[33], 2);
	assert_int_equal(b.config[40], 3);
	assert_int_equal(b.status, 15);
	expect_event(VH_EVENT_CONNECTED, VH_ERROR_NONE, 0);
	expect_event(VH_EVENT_SESSION_RUNNING, VH_ERROR_NONE, 0);
	end();
}

/* Without REPLY_ACK a question at the end of a sequence says that it was processed. */
static void a_back_end_that_acknowledges_nothing_is_told_each_thing_once(void **state)
{
	(void)state;
	begin(SPLIT, 1u << VH_PF_MQ);
	lose();
	come_back();
	assert_string_equal(told, "1 15 16 17 3 2 5 1 8 10 9 12 13 1 8 10 9 12 13 1 18 18");
	end();
}

static void a_session_that_does_not_run_has_little_to_tell(void **state)
{
	(void)state;
	begin(SPLIT, ALL_PF);
	ok(vh_driver_stop(d, 0, 0));
	lose();
	come_back();
	assert_string_equal(told, "1 15 16 17 36 21 3 2 39 40");
	ok(vh_driver_stop(d, 0, 0) == -EALREADY ? 0 : 1);
	end();
}

static void a_queue_that_is_off_comes_back_off(void **state)
{
	struct vh_driver_ring r = {.size = sizeof(r)};

	(void)state;
	begin(SPLIT, ALL_PF);
	ok(vh_driver_enable(d, 1, 0));
	assert_int_equal(vht_u32(vht_backend_seen(&b, M_SET_VRING_ENABLE, 2), 4), 0);
	lose();
	ok(vh_driver_enable(d, 0, 0)); /* meanwhile */
	come_back();
	ok(vh_driver_get_ring(d, 0, &r));
	assert_int_equal(r.flags, VH_DRIVER_RING_OFF);
	end();
}

static void put16(uint32_t ring, uint32_t at, uint16_t v)
{
	v = htole16(v);
	memcpy(host + (size_t)ring * PAGE + at, &v, 2);
}

/* What a device did with a ring: heads that became available, and those that came back, each in its order. */
static void history(uint32_t ring, const char *avail, const char *used)
{
	for (uint16_t i = 0; avail[i]; i++)
		put16(ring, AVAIL + 4 + 2u * (i % NUM), (uint16_t)(avail[i] - '0'));
	for (uint16_t i = 0; used[i]; i++)
		put16(ring, USED + 4 + 8u * (i % NUM), (uint16_t)(used[i] - '0'));
	put16(ring, AVAIL + 2, (uint16_t)strlen(avail));
	put16(ring, USED + 2, (uint16_t)strlen(used));
}

static void a_split_ring_goes_on_at_its_used_index(void **state)
{
	struct vh_driver_ring r = {.size = sizeof(r)};

	(void)state;
	begin(SPLIT, ALL_PF);
	history(0, "0123456701", "0123456");
	history(1, "01230123456012", "01230123456012"); /* nothing is open: the order says nothing */
	lose();
	come_back();
	assert_int_equal(bases[0], 7);
	assert_int_equal(bases[1], 14);
	ok(vh_driver_get_ring(d, 0, &r));
	assert_int_equal(r.base, 7);
	assert_int_equal(r.flags, 0);
	vht_backend_start(&b, b.fd); /* someone has to answer now */
	ok(vh_driver_stop(d, 0, 0));
	end();
}

/* A back-end that took a ring for started by its kick, and went away before it had said so. */
static void a_ring_that_was_half_started_is_looked_at_again(void **state)
{
	(void)state;
	begin(SPLIT, ALL_PF);
	history(0, "012", "0");
	lose();
	silent_at = M_SET_VRING_CALL;
	come_back();
	assert_int_equal(bases[0], 1);
	history(0, "012", "01");
	lose_again();
	silent_at = 0;
	come_back();
	assert_int_equal(bases[0], 2);
	end();
}

/* A request that overtook another one: where to go on is not in the ring. */
static void a_ring_of_which_nobody_can_tell_waits_for_its_driver(void **state)
{
	struct vh_driver_ring r = {.size = sizeof(r)};

	(void)state;
	begin(SPLIT, ALL_PF);
	history(0, "012", "1");
	history(1, "0", "0123");
	lose();
	come_back();
	assert_string_equal(told, "1 15 16 17 36 21 3 2 39 40 37 39");
	expect_event(VH_EVENT_CONNECTED, VH_ERROR_NONE, 0);
	expect_event(VH_EVENT_NEEDS_RESET, 0, -ESTALE);
	expect_event(VH_EVENT_NEEDS_RESET, 1, -EPROTO);
	expect_event(VH_EVENT_SESSION_RUNNING, VH_ERROR_NONE, 0);
	ok(vh_driver_get_ring(d, 1, &r));
	assert_int_equal(r.flags, VH_DRIVER_RING_NEEDS_RESET);
	end();
}

static void a_packed_ring_does_not_say_where_it_stands(void **state)
{
	(void)state;
	begin(PACKED, ALL_PF);
	lose();
	come_back();
	expect_event(VH_EVENT_CONNECTED, VH_ERROR_NONE, 0);
	expect_event(VH_EVENT_NEEDS_RESET, 0, -ENODATA);
	expect_event(VH_EVENT_NEEDS_RESET, 1, -ENODATA);
	end();
}

#define BEFORE "1 15 16 17 36 21 3 2 39 40 37 "
#define A_RING "8 10 9 12 13 "

/* With records the back-end knows by itself: no ring needs a reset, whatever its order was. */
static void inflight_records_are_kept_from_start_to_start(void **state)
{
	(void)state;
	begin(SPLIT, INFLIGHT_PF);
	assert_non_null(strstr(told, "31 32 8"));
	lose();
	history(0, "012", "1");
	come_back();
	assert_string_equal(told, BEFORE "32 " A_RING A_RING "18 18 39");
	assert_int_equal(bases[0], 1);
	lose_again();
	/* One that has none, after one that had them: then the order counts. */
	b.protocol_features = ALL_PF;
	come_back();
	assert_string_equal(told, BEFORE A_RING "18 39");
	lose_again();
	/* One that has them again; the other ring was started without. */
	b.protocol_features = INFLIGHT_PF;
	come_back();
	assert_string_equal(told, BEFORE "31 32 " A_RING "18 39");
	end();
}

static void packed_rings_go_on_with_records(void **state)
{
	(void)state;
	begin(PACKED, INFLIGHT_PF);
	lose();
	come_back();
	assert_string_equal(told, BEFORE "32 " A_RING A_RING "18 18 39");
	assert_int_equal(bases[1], VH_QUEUE_PACKED_BASE);
	end();
}

/* A device that is gone may have left anything in a ring of the session's own; what it says comes out at the next reap. */
static void a_ring_that_a_device_spoilt_does_not_start(void **state)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .mask_features = PACKED & ~SPLIT};
	const struct vh_reconnect policy = {.size = sizeof(policy), .first_ms = 1, .max_ms = 2};
	struct vh_snapshot *now;
	struct vh_queue *q;
	struct vh_cpl cpl;
	uint64_t addr;
	uint16_t VHI_SHM *used;

	(void)state;
	begin(SPLIT, ALL_PF);
	vh_driver_free(d);
	ok(vh_driver_new(&o, backend, NULL, &d));
	ok(vh_driver_set_reconnect(d, &policy));
	ok(vh_driver_alloc(d, 16, &addr));
	ok(vh_driver_start(d));
	ok(vh_driver_queue(d, 0, &q));
	assert_int_equal(
		vh_queue_submit(q, &(struct vh_req){.segs = (uintptr_t) & (struct vh_seg){addr, 16}, .n_rd = 1}, 1), 1);
	now = vhi_mem_snapshot(d->mem);
	used = (uint16_t VHI_SHM *)vhi_translate_one(now, d->queues[0].ring.device, 64);
	vhi_shm_store16(&used[1], 5);
	vhi_snapshot_put(now);
	lose();
	come_back();
	expect_event(VH_EVENT_CONNECTED, VH_ERROR_NONE, 0);
	expect_event(VH_EVENT_NEEDS_RESET, 0, -EPROTO);
	expect_event(VH_EVENT_SESSION_RUNNING, VH_ERROR_NONE, 0);
	assert_int_equal(vh_queue_reap(q, &cpl, 1), -EPROTO);
	ok(vh_driver_stop(d, 0, 0)); /* does not wait for what never ends, and the next start begins anew */
	ok(vh_master_disconnect(m));
	end();
}

/* Freed when the back-end was told half: what it has begun must not go on. */
static void a_session_can_be_freed_in_the_middle(void **state)
{
	struct vht_msg msg;

	(void)state;
	begin(SPLIT, ALL_PF);
	lose();
	ok(vh_master_socketpair(m, &b.fd));
	while (vh_driver_dispatch(d) > 0)
		;
	vh_driver_free(d);
	d = NULL;
	assert_int_equal(vht_recv(b.fd, &msg), 1);
	assert_int_equal(msg.request, M_GET_FEATURES);
	assert_int_equal(vht_recv(b.fd, &msg), 0);
	end();
}

static void expect_failure(int32_t reason)
{
	expect_event(VH_EVENT_CONNECTED, VH_ERROR_NONE, 0);
	expect_event(VH_EVENT_RECONNECTING, VH_ERROR_NONE, reason);
	close(b.fd);
	b.fd = -1;
	told[0] = 0;
}

/* One that can't take the plan is a failed try, and the next one may be the right one again. */
static void another_back_end_is_not_taken_for_the_one_that_went(void **state)
{
	(void)state;
	begin(SPLIT, ALL_PF);
	lose();
	b.features &= ~SPLIT;
	come_back();
	expect_failure(-ENOTSUP);
	b.features |= SPLIT;
	b.queue_num = 1;
	come_back();
	expect_failure(-ENOSPC);
	b.queue_num = RINGS;
	come_back();
	expect_event(VH_EVENT_CONNECTED, VH_ERROR_NONE, 0);
	expect_event(VH_EVENT_SESSION_RUNNING, VH_ERROR_NONE, 0);
	end();
}

static void what_a_session_over_given_memory_refuses(void **state)
{
	struct vh_driver_ring r = {.size = sizeof(r), .num = NUM, .desc = GPA, .driver = GPA, .device = GPA};
	struct vh_queue *q;
	struct vh_blk *blk;
	uint64_t addr;

	(void)state;
	begin(SPLIT, ALL_PF);
	assert_int_equal(vh_driver_alloc(d, 1, &addr), -EPERM);
	assert_int_equal(vh_driver_queue(d, 0, &q), -EPERM);
	assert_int_equal(vh_blk_new(d, &blk), -EPERM);
	assert_int_equal(vh_driver_set_ring(d, 0, &r, -1, -1), -EBUSY);
	assert_int_equal(vh_driver_enable(d, 0, 2), -EINVAL);
	assert_int_equal(vh_driver_enable(d, RINGS, 1), -ENOENT);
	ok(vh_driver_stop(d, 0, 0));
	assert_int_equal(vh_driver_set_ring(d, RINGS, &r, -1, -1), -ENOENT);
	assert_int_equal(vh_driver_set_ring(d, 0, &r, 1000000, -1), -EBADF);
	r.base = 0x10000;
	assert_int_equal(vh_driver_set_ring(d, 0, &r, -1, -1), -EINVAL);
	r.base = 0;
	r.num = 7;
	assert_int_equal(vh_driver_set_ring(d, 0, &r, -1, -1), -EINVAL);
	r.flags = 4;
	assert_int_equal(vh_driver_set_ring(d, 0, &r, -1, -1), -EINVAL);
	ok(vh_driver_set_ring(d, 0, NULL, -1, -1));
	ok(vh_driver_get_ring(d, 0, &r));
	assert_int_equal(r.num, 0);
	ok(vh_driver_start(d)); /* the other one */
	ok(vh_mem_alloc(mem, GPA + SIZE, SIZE, 0));
	told[0] = 0;
	ok(vh_driver_share(d));
	assert_string_equal(told, "37");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_plan_is_told_in_the_order_that_every_back_end_takes),
		cmocka_unit_test(a_back_end_that_acknowledges_nothing_is_told_each_thing_once),
		cmocka_unit_test(a_session_that_does_not_run_has_little_to_tell),
		cmocka_unit_test(a_queue_that_is_off_comes_back_off),
		cmocka_unit_test(a_split_ring_goes_on_at_its_used_index),
		cmocka_unit_test(a_ring_that_was_half_started_is_looked_at_again),
		cmocka_unit_test(a_ring_of_which_nobody_can_tell_waits_for_its_driver),
		cmocka_unit_test(a_packed_ring_does_not_say_where_it_stands),
		cmocka_unit_test(inflight_records_are_kept_from_start_to_start),
		cmocka_unit_test(packed_rings_go_on_with_records),
		cmocka_unit_test(a_ring_that_a_device_spoilt_does_not_start),
		cmocka_unit_test(a_session_can_be_freed_in_the_middle),
		cmocka_unit_test(another_back_end_is_not_taken_for_the_one_that_went),
		cmocka_unit_test(what_a_session_over_given_memory_refuses),
	};
	const char *filter = getenv("VHT_FILTER");

	if (filter)
		cmocka_set_test_filter(filter);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
