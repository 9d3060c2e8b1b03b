/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A driver session whose back-end goes away, and comes back. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vhi_driver.h"
#include "vht_child.h"
#include "vht_count.h"
#include "vht_session.h"

#define ok(call) assert_int_equal((call), 0)
#define BLOCK	 4096u
#define SLOTS	 48u
#define QUICK                                                                    \
	&(const struct vh_reconnect)                                             \
	{                                                                        \
		.size = sizeof(struct vh_reconnect), .first_ms = 1, .max_ms = 20 \
	}

static uint64_t seed;

static uint32_t random_below(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

static void take_seed(void)
{
	const char *given = getenv("VHT_SEED");

	seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	print_message("VHT_SEED=%llu\n", (unsigned long long)seed);
}

/* A session over a program of its own. */
struct run {
	struct vht_child child;
	struct vht_session s;
};

static uint64_t without; /* protocol features */

static void begin_with(struct run *r, bool packed, uint32_t queues, bool connects, const struct vh_reconnect *policy)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_BLK, .n_queues = queues, .queue_size = 64};
	const struct vh_master_opts mo = {.size = sizeof(mo), .timeout_ms = 10000, .mask_protocol_features = without};
	uint64_t features;

	memset(r, 0, sizeof(*r));
	vht_child_init(&r->child, SLOTS * BLOCK, packed);
	r->child.queues = queues;
	r->child.connects = connects;
	ok(vh_master_new(&mo, NULL, NULL, &r->s.t.master));
	if (connects)
		ok(vh_master_listen(r->s.t.master, r->child.socket));
	vht_child_start(&r->child);
	ok(connects ? vh_master_accept(r->s.t.master) : vh_master_connect(r->s.t.master, r->child.socket));
	ok(vh_master_backend(r->s.t.master, &r->s.t.backend));
	vht_session_begin(&r->s, &o, UINT64_C(2) * SLOTS * BLOCK);
	ok(vh_driver_features(r->s.d, &features));
	assert_int_equal(!!(features & VHI_BIT(VH_F_RING_PACKED)), packed);
	if (policy)
		ok(vh_driver_set_reconnect(r->s.d, policy));
}

static void begin(struct run *r, bool packed, const struct vh_reconnect *policy)
{
	begin_with(r, packed, 1, false, policy);
}

static void end(struct run *r)
{
	vh_blk_free(r->s.b);
	vh_driver_free(r->s.d);
	vh_master_free(r->s.t.master);
	vht_child_end(&r->child);
}

static bool next_event(struct run *r, uint32_t kind, struct vh_event *e)
{
	e->size = sizeof(*e);
	if (vh_driver_next_event(r->s.d, e) != 1)
		return false;
	assert_string_equal(vh_event_name(e->kind), vh_event_name(kind));
	return true;
}

/* In an event loop, until there is this event, which must be the next one. */
static struct vh_event wait_event(struct run *r, uint32_t kind)
{
	struct vh_event e;

	while (!next_event(r, kind, &e)) {
		struct pollfd p = {.fd = (int)vh_driver_fd(r->s.d), .events = POLLIN};
		int rc = vh_driver_dispatch(r->s.d);

		if (rc < 0)
			assert_int_equal(rc, -ECONNRESET);
		if (!rc)
			assert_true(poll(&p, 1, VHT_WAIT_MS) > 0);
	}
	return e;
}

/* --- requests in flight --- */

/* What each block of the disk holds, and what is asked of it at the moment. */
static struct {
	uint32_t generation; /* 0: zeroes */
	bool busy, writes;
} blocks[SLOTS];

static uint8_t *block_buf(struct run *r, uint32_t i)
{
	return r->s.buf + (uint64_t)i * BLOCK;
}

static void fill(uint8_t *p, uint32_t i, uint32_t generation)
{
	for (uint32_t k = 0; k < BLOCK / 4; k++) {
		const uint32_t v = generation ? (i + 1) * 2654435761u + generation * 40503u + k : 0;

		memcpy(p + 4 * (size_t)k, &v, 4);
	}
}

static void submit_some(struct run *r, uint32_t n)
{
	for (; n; n--) {
		const uint32_t i = random_below(SLOTS);
		struct vh_blk_io io = {
			.offset = (uint64_t)i * BLOCK, .len = BLOCK, .addr = (uintptr_t)block_buf(r, i), .user = i};

		if (blocks[i].busy)
			continue;
		blocks[i].busy = true;
		blocks[i].writes = random_below(2);
		io.op = blocks[i].writes ? VH_BLK_WRITE : VH_BLK_READ;
		if (blocks[i].writes)
			fill(block_buf(r, i), i, ++blocks[i].generation);
		else
			memset(block_buf(r, i), 0x5a, BLOCK);
		assert_int_equal(vh_blk_submit(r->s.b, 0, &io, 1), 1);
	}
}

static uint32_t reap_some(struct run *r)
{
	static uint8_t want[BLOCK];
	struct vh_blk_done done[SLOTS];
	int n = vh_blk_reap(r->s.b, 0, done, SLOTS);

	assert_true(n >= 0);
	for (int k = 0; k < n; k++) {
		const uint32_t i = (uint32_t)done[k].user;

		assert_int_equal(done[k].rc, 0);
		assert_true(blocks[i].busy); /* once */
		blocks[i].busy = false;
		fill(want, i, blocks[i].generation);
		if (!blocks[i].writes)
			assert_memory_equal(block_buf(r, i), want, BLOCK);
	}
	return (uint32_t)n;
}

static uint32_t n_busy(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < SLOTS; i++)
		n += blocks[i].busy;
	return n;
}

static void reap_all(struct run *r)
{
	while (n_busy())
		if (!reap_some(r))
			ok(vh_blk_wait(r->s.b, 0, VHT_WAIT_MS));
}

/* One that is killed while the session is told to it, or just after. */
static void live_briefly(struct run *r)
{
	struct pollfd p = {.fd = (int)vh_driver_fd(r->s.d), .events = POLLIN};
	uint32_t turns = random_below(40);

	vht_child_start(&r->child);
	for (bool more = true; turns && more; turns--)
		if (!vh_driver_dispatch(r->s.d))
			more = poll(&p, 1, 30) > 0;
	vht_child_kill(&r->child);
	reap_some(r);
}

static void kill_and_go_on(bool packed, bool records)
{
	uint32_t open = 0;
	struct run r;

	take_seed();
	memset(blocks, 0, sizeof(blocks));
	without = records ? 0 : VHI_BIT(VH_PF_INFLIGHT_SHMFD);
	begin(&r, packed, QUICK);
	without = 0;
	for (uint32_t round = 0; round < vht_count(25); round++) {
		for (uint32_t turn = random_below(20); turn; turn--) {
			submit_some(&r, 1 + random_below(16));
			reap_some(&r);
		}
		submit_some(&r, SLOTS);
		for (struct timespec t = {.tv_nsec = random_below(400000)}; nanosleep(&t, &t);)
			;
		vht_child_kill(&r.child);
		open += n_busy();
		submit_some(&r, random_below(4)); /* also while there is nobody */
		for (uint32_t n = random_below(4); n; n--)
			live_briefly(&r);
		vht_child_start(&r.child);
		reap_all(&r);
	}
	assert_true(open);
	assert_int_equal(r.s.d->inflight_fd >= 0, records);
	for (uint32_t i = 0; i < SLOTS; i++) {
		struct vh_blk_io io = {
			.op = VH_BLK_READ, .offset = (uint64_t)i * BLOCK, .len = BLOCK, .addr = (uintptr_t)r.s.buf};

		fill(r.s.buf + BLOCK, i, blocks[i].generation);
		ok(vht_session_io(&r.s, 0, io));
		assert_memory_equal(r.s.buf, r.s.buf + BLOCK, BLOCK);
	}
	ok(vh_driver_stop(r.s.d, 0, 0));
	end(&r);
}

static void every_request_completes_once_over_a_split_ring(void **state)
{
	(void)state;
	kill_and_go_on(false, false);
}

static void every_request_completes_once_over_a_packed_ring(void **state)
{
	(void)state;
	kill_and_go_on(true, false);
}

static void every_request_completes_once_over_a_split_ring_with_records(void **state)
{
	(void)state;
	kill_and_go_on(false, true);
}

static void every_request_completes_once_over_a_packed_ring_with_records(void **state)
{
	(void)state;
	kill_and_go_on(true, true);
}

/* --- queues of several threads --- */

struct user {
	struct run *r;
	uint32_t queue;
	pthread_t thread;
	uint32_t ending; /* atomic */
	uint32_t done;	 /* atomic */
};

/* Writes and reads its own half of the disk, one request after the other, and knows nothing of connections. */
static void *user_thread(void *arg)
{
	struct user *u = arg;
	uint8_t *buf = u->r->s.buf + u->queue * UINT64_C(2) * BLOCK;

	for (uint32_t i = 0; !__atomic_load_n(&u->ending, __ATOMIC_ACQUIRE); i++) {
		struct vh_blk_io io = {.op = i % 2 ? VH_BLK_READ : VH_BLK_WRITE,
				       .offset = u->queue * UINT64_C(2) * BLOCK,
				       .addr = (uintptr_t)buf,
				       .len = BLOCK};
		struct vh_blk_done done = {.rc = 1};

		fill(buf + (i % 2) * BLOCK, u->queue, i / 2 + 1);
		if (i % 2)
			memset(buf, 0x5a, BLOCK);
		if (vh_blk_submit(u->r->s.b, u->queue, &io, 1) != 1)
			return (void *)"submit";
		while (vh_blk_reap(u->r->s.b, u->queue, &done, 1) != 1)
			if (vh_blk_wait(u->r->s.b, u->queue, 4 * VHT_WAIT_MS))
				return (void *)"wait";
		if (done.rc || (i % 2 && memcmp(buf, buf + BLOCK, BLOCK)))
			return (void *)"data";
		__atomic_add_fetch(&u->done, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void wait_done(struct user *u, uint32_t more)
{
	const uint32_t until = __atomic_load_n(&u->done, __ATOMIC_ACQUIRE) + more;

	for (int ms = 0; __atomic_load_n(&u->done, __ATOMIC_ACQUIRE) < until; ms++) {
		assert_true(ms < 4 * VHT_WAIT_MS);
		poll(NULL, 0, 1);
	}
}

static void threads_with_queues_of_their_own_notice_nothing(void **state)
{
	struct user users[2] = {{.queue = 0}, {.queue = 1}};
	void *failed;
	struct run r;

	(void)state;
	begin_with(&r, true, 2, false, QUICK);
	for (int i = 0; i < 2; i++) {
		users[i].r = &r;
		assert_int_equal(pthread_create(&users[i].thread, NULL, user_thread, &users[i]), 0);
	}
	for (int round = 0; round < 10; round++) {
		wait_done(&users[round % 2], 20);
		vht_child_kill(&r.child);
		vht_child_start(&r.child);
	}
	for (int i = 0; i < 2; i++)
		wait_done(&users[i], 20);
	for (int i = 0; i < 2; i++)
		__atomic_store_n(&users[i].ending, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(users[i].thread, &failed), 0);
		if (failed)
			fail_msg("queue %d: %s", i, (char *)failed);
	}
	end(&r);
}

/* --- the order of things --- */

static void a_front_end_that_listens_is_found_again(void **state)
{
	struct vh_event e;
	struct run r;

	(void)state;
	begin_with(&r, true, 1, true, QUICK);
	for (uint32_t i = 0; i < 3; i++) {
		vht_session_write(&r.s, 0, 0, BLOCK, i);
		vht_child_kill(&r.child);
		vht_child_start(&r.child);
		vht_session_verify(&r.s, 0, 0, BLOCK, i);
	}
	e.size = sizeof(e);
	assert_int_equal(vh_driver_next_event(r.s.d, &e), 1);
	end(&r);
}

static void scenario_reconnect(void **state)
{
	struct vh_event e;
	struct run r;

	(void)state;
	begin(&r, true, QUICK);
	vht_session_write(&r.s, 0, 0, BLOCK, 1);
	vht_child_kill(&r.child);
	e = wait_event(&r, VH_EVENT_RECONNECTING);
	assert_true(e.reason < 0 && e.value <= 20);
	vht_child_start(&r.child);
	while (e.kind == VH_EVENT_RECONNECTING) {
		if (vh_driver_next_event(r.s.d, &e) != 1) {
			struct pollfd p = {.fd = (int)vh_driver_fd(r.s.d), .events = POLLIN};

			if (!vh_driver_dispatch(r.s.d))
				assert_true(poll(&p, 1, VHT_WAIT_MS) > 0);
		}
	}
	assert_int_equal(e.kind, VH_EVENT_CONNECTED);
	wait_event(&r, VH_EVENT_SESSION_RUNNING);
	vht_session_verify(&r.s, 0, 0, BLOCK, 1);
	end(&r);
}

static void it_gives_up_and_can_be_told_to_try_again(void **state)
{
	const struct vh_reconnect three = {.size = sizeof(three), .max_tries = 3, .first_ms = 2, .max_ms = 4};
	struct vh_blk_io io = {.op = VH_BLK_FLUSH};
	struct vh_blk_done done;
	struct vh_event e;
	struct run r;

	(void)state;
	begin(&r, true, &three);
	vht_session_write(&r.s, 0, 0, BLOCK, 3);
	vht_child_kill(&r.child);
	assert_int_equal(vh_blk_submit(r.s.b, 0, &io, 1), 1);
	assert_int_equal(vh_blk_wait(r.s.b, 0, VHT_WAIT_MS), -ECONNRESET);
	e = wait_event(&r, VH_EVENT_RECONNECTING);
	assert_int_equal(e.count, 3);
	e = wait_event(&r, VH_EVENT_GAVE_UP);
	assert_true(e.reason == -ECONNREFUSED || e.reason == -ENOENT);
	assert_int_equal(e.value, 3);
	assert_int_equal(vh_driver_dispatch(r.s.d), -ECONNRESET);
	vht_child_start(&r.child);
	ok(vh_driver_set_reconnect(r.s.d, QUICK));
	vht_session_reap(&r.s, 0, &done, 1);
	assert_int_equal(done.rc, 0);
	vht_session_verify(&r.s, 0, 0, BLOCK, 3);
	end(&r);
}

static void without_a_policy_a_session_ends_with_its_connection(void **state)
{
	struct run r;

	(void)state;
	begin(&r, false, NULL);
	vht_child_kill(&r.child);
	assert_int_equal(vh_blk_wait(r.s.b, 0, VHT_WAIT_MS), -ECONNRESET);
	assert_int_equal(vh_driver_dispatch(r.s.d), -ECONNRESET);
	assert_int_equal(vh_driver_set_reconnect(NULL, QUICK), -EINVAL);
	end(&r);
}

/* What is asked of a session while there is no connection is in force on the next one. */
static void a_session_can_be_told_things_meanwhile(void **state)
{
	struct vh_blk_io io = {.op = VH_BLK_READ, .len = BLOCK};
	uint64_t more;
	struct run r;

	(void)state;
	begin(&r, true, QUICK);
	vht_session_write(&r.s, 0, 0, BLOCK, 5);
	vht_child_kill(&r.child);
	wait_event(&r, VH_EVENT_RECONNECTING);
	ok(vh_driver_alloc(r.s.d, UINT64_C(64) << 20, &more)); /* a region of its own */
	ok(vh_driver_stop(r.s.d, 0, 0));
	ok(vh_driver_start(r.s.d));
	vht_child_start(&r.child);
	vht_session_verify(&r.s, 0, 0, BLOCK, 5);
	io.addr = more;
	ok(vht_session_io(&r.s, 0, io));
	vht_child_kill(&r.child);
	wait_event(&r, VH_EVENT_RECONNECTING);
	ok(vh_driver_stop(r.s.d, VH_DRIVER_STOP_DROP, 0));
	vht_child_start(&r.child);
	ok(vh_driver_start(r.s.d));
	vht_session_verify(&r.s, 0, 0, BLOCK, 5);
	end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scenario_reconnect),
		cmocka_unit_test(every_request_completes_once_over_a_split_ring),
		cmocka_unit_test(every_request_completes_once_over_a_packed_ring),
		cmocka_unit_test(every_request_completes_once_over_a_split_ring_with_records),
		cmocka_unit_test(every_request_completes_once_over_a_packed_ring_with_records),
		cmocka_unit_test(threads_with_queues_of_their_own_notice_nothing),
		cmocka_unit_test(a_front_end_that_listens_is_found_again),
		cmocka_unit_test(it_gives_up_and_can_be_told_to_try_again),
		cmocka_unit_test(without_a_policy_a_session_ends_with_its_connection),
		cmocka_unit_test(a_session_can_be_told_things_meanwhile),
	};

	return vht_run(tests);
}
