/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A driver and a device of the library on one ring, and random calls of either, against a model that is a few arrays:
 * requests are popped in the order in which they were submitted, completed in any, and given back by the newest; who went
 * to sleep is told of what comes; a device that stops goes on where it was.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_count.h"
#include "vht_ring.h"
#include "vhi_base.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SEGS 6u
#define ROOM	 512u /* more than any ring here has */
#define TABLES	 (VHT_BASE + 0xc0000)
#define SEG_LEN	 16u
#define IN_ORDER (UINT64_C(1) << VH_F_IN_ORDER)

struct model {
	uint64_t x;
	struct vht_ring r; /* r.q is the device */
	struct vh_queue *driver;
	uint32_t num;
	/* By slot, which is the cookie. */
	struct {
		struct vh_seg segs[MAX_SEGS];
		uint32_t n_rd, n_wr, written;
		bool done;
	} slots[ROOM];
	uint16_t idle[ROOM], offered[ROOM], popped[ROOM], pushed[ROOM]; /* slots; the last three in their order */
	uint64_t tokens[ROOM];						/* of popped ones */
	uint32_t n_idle, n_offered, n_popped, n_pushed;
	uint16_t line[ROOM]; /* popped and not published, in order */
	uint32_t n_line;
	uint32_t newest; /* of the popped ones, so many are the newest pops */
	bool device_sleeps, driver_sleeps;
	uint32_t coalesce, untold; /* completions for a call; the driver slept when these were published */
	uint64_t done;
};

static uint32_t rnd(struct model *m, uint32_t n)
{
	m->x = m->x * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(m->x >> 33) % n;
}

static bool in_order(const struct model *m)
{
	return m->r.opts.features & IN_ORDER;
}

static uint16_t take_at(uint16_t *list, uint32_t *n, uint32_t at)
{
	const uint16_t slot = list[at];

	memmove(&list[at], &list[at + 1], (*n - at - 1) * sizeof(*list));
	--*n;
	return slot;
}

static void submit(struct model *m)
{
	const uint32_t want = 1 + rnd(m, 5);
	struct vh_req reqs[5];
	uint32_t n = 0;
	vh_count taken;

	for (; n < want && n < m->n_idle; n++) {
		const uint16_t slot = m->idle[m->n_idle - 1 - n];

		m->slots[slot].n_rd = rnd(m, 4);
		m->slots[slot].n_wr = rnd(m, 3) + !m->slots[slot].n_rd;
		reqs[n] = (struct vh_req){.segs = (uintptr_t)m->slots[slot].segs,
					  .n_rd = m->slots[slot].n_rd,
					  .n_wr = m->slots[slot].n_wr,
					  .user = slot};
	}
	taken = vh_queue_submit(m->driver, reqs, n);
	if (taken < 0) { /* one that never fits */
		assert_int_equal(taken, -EINVAL);
		assert_true(reqs[0].n_rd + reqs[0].n_wr > m->num);
		return;
	}
	for (vh_count i = 0; i < taken; i++)
		m->offered[m->n_offered++] = (uint16_t)reqs[i].user;
	m->n_idle -= (uint32_t)taken;
	if (taken && m->device_sleeps) {
		assert_true(vht_drain(m->r.kick));
		m->device_sleeps = false;
	}
}

static void pop(struct model *m)
{
	struct vh_req reqs[7];
	const uint32_t want = 1 + rnd(m, 7);
	vh_count n = vh_queue_pop(m->r.q, reqs, want);

	assert_int_equal(n, VHI_MIN(want, m->n_offered));
	for (vh_count i = 0; i < n; i++) {
		const uint16_t slot = take_at(m->offered, &m->n_offered, 0);
		const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)reqs[i].segs;

		assert_int_equal(reqs[i].n_rd, m->slots[slot].n_rd);
		assert_int_equal(reqs[i].n_wr, m->slots[slot].n_wr);
		assert_int_equal(reqs[i].flags, i == n - 1 ? VH_REQ_LAST : 0);
		assert_memory_equal(segs, m->slots[slot].segs, (reqs[i].n_rd + reqs[i].n_wr) * sizeof(*segs));
		m->tokens[m->n_popped] = reqs[i].token;
		m->popped[m->n_popped++] = slot;
		if (in_order(m))
			m->line[m->n_line++] = slot;
		m->slots[slot].done = false;
		m->newest++;
	}
}

/* In order the driver gets what was pushed only when all older ones were. */
static bool publish(struct model *m)
{
	const uint32_t before = m->n_pushed;

	while (m->n_line && m->slots[m->line[0]].done)
		m->pushed[m->n_pushed++] = take_at(m->line, &m->n_line, 0);
	return m->n_pushed > before;
}

static uint32_t flying(const struct model *m)
{
	return in_order(m) ? m->n_line : m->n_popped;
}

/* Who sleeps was told of what was published, now or before. */
static void called(struct model *m, bool now)
{
	if (!now || !m->untold)
		return;
	assert_true(vht_drain(m->r.call));
	m->driver_sleeps = false;
	m->untold = 0;
}

static void push(struct model *m)
{
	const uint32_t before = m->n_pushed;
	bool published;
	struct vh_cpl cpls[6] = {{0}};
	uint32_t n = 1 + rnd(m, 6);

	n = VHI_MIN(n, m->n_popped);
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t at = rnd(m, m->n_popped), room = m->n_popped - at;
		const uint32_t wr_len = SEG_LEN * m->slots[m->popped[at]].n_wr, written = rnd(m, SEG_LEN * 4);
		uint16_t slot;

		cpls[i] = (struct vh_cpl){.token = m->tokens[at], .written = written};
		memmove(&m->tokens[at], &m->tokens[at + 1], (room - 1) * sizeof(m->tokens[0]));
		slot = take_at(m->popped, &m->n_popped, at);
		m->slots[slot].written = VHI_MIN(written, wr_len);
		m->slots[slot].done = true;
		if (!in_order(m))
			m->pushed[m->n_pushed++] = slot;
		if (room <= m->newest)
			m->newest = room - 1;
	}
	assert_int_equal(vh_queue_push(m->r.q, cpls, n), 0);
	published = in_order(m) ? publish(m) : n;
	if (published && m->driver_sleeps)
		m->untold += m->n_pushed - before;
	called(m, m->untold >= VHI_MAX(m->coalesce, 1u) || !flying(m));
}

static void unpop(struct model *m)
{
	const uint32_t n = rnd(m, 4);

	if (n > m->newest) {
		assert_int_equal(vh_queue_unpop(m->r.q, n), -EINVAL);
		return;
	}
	assert_int_equal(vh_queue_unpop(m->r.q, n), 0);
	memmove(&m->offered[n], m->offered, m->n_offered * sizeof(m->offered[0]));
	memcpy(m->offered, &m->popped[m->n_popped - n], n * sizeof(m->offered[0]));
	m->n_offered += n;
	m->n_popped -= n;
	m->n_line -= in_order(m) ? n : 0;
	m->newest -= n;
	called(m, !flying(m));
}

static void reap(struct model *m)
{
	struct vh_cpl cpls[5];
	const uint32_t want = 1 + rnd(m, 5);
	vh_count n = vh_queue_reap(m->driver, cpls, want);

	assert_int_equal(n, VHI_MIN(want, m->n_pushed));
	for (vh_count i = 0; i < n; i++) {
		const uint16_t slot = take_at(m->pushed, &m->n_pushed, 0);

		assert_int_equal(cpls[i].token, slot);
		assert_int_equal(cpls[i].written, m->slots[slot].written);
		m->idle[m->n_idle++] = slot;
		m->done++;
	}
}

static void arm(struct model *m)
{
	vht_drain(m->r.kick);
	assert_int_equal(vh_queue_look(m->r.q), m->n_offered ? VH_QUEUE_MORE : VH_QUEUE_SLEEP);
	assert_int_equal(vh_queue_look(m->driver), m->n_pushed ? VH_QUEUE_MORE : VH_QUEUE_SLEEP);
	if (rnd(m, 2)) {
		assert_int_equal(vh_queue_arm(m->r.q), m->n_offered ? VH_QUEUE_MORE : VH_QUEUE_SLEEP);
		m->device_sleeps = !m->n_offered;
		called(m, true);
	} else {
		vht_drain(m->r.call);
		assert_int_equal(vh_queue_arm(m->driver), m->n_pushed ? VH_QUEUE_MORE : VH_QUEUE_SLEEP);
		m->driver_sleeps = !m->n_pushed;
		m->untold = 0;
	}
}

static void disarm(struct model *m)
{
	const bool device = rnd(m, 2);

	assert_int_equal(vh_queue_disarm(device ? m->r.q : m->driver), 0);
	*(device ? &m->device_sleeps : &m->driver_sleeps) = false;
	m->untold = device ? m->untold : 0;
}

/* Another device goes on, maybe the front-end has moved to another back-end. */
static void restart(struct model *m)
{
	if (rnd(m, 20))
		return;
	while (m->n_popped)
		push(m);
	assert_int_equal(vh_queue_stop(m->r.q, &m->r.opts.base), 0);
	vh_queue_free(m->r.q);
	assert_int_equal(vh_queue_open(m->r.mem, &m->r.opts, m->r.kick, m->r.call, &m->r.q), 0);
	assert_int_equal(vh_queue_set_coalescing(m->r.q, m->coalesce), 0);
	m->newest = m->n_line = 0;
	m->device_sleeps = false;
}

static void start(struct model *m, uint32_t num, uint64_t features)
{
	struct vh_queue_opts opts;

	m->num = num;
	m->coalesce = rnd(m, 3) ? 0 : rnd(m, 12);
	vht_ring_init_fds(&m->r, num, features);
	vh_queue_free(m->r.q);
	opts = m->r.opts;
	opts.role = VH_QUEUE_DRIVER;
	opts.indirect = TABLES;
	opts.max_indirect = features & VHT_IND_DESC ? 4 : 0;
	assert_int_equal(vh_queue_open(m->r.mem, &opts, m->r.kick, m->r.call, &m->driver), 0);
	assert_int_equal(vh_queue_open(m->r.mem, &m->r.opts, m->r.kick, m->r.call, &m->r.q), 0);
	assert_int_equal(vh_queue_set_coalescing(m->r.q, m->coalesce), 0);
	for (uint32_t i = 0; i < ROOM; i++) {
		m->idle[m->n_idle++] = (uint16_t)i;
		for (uint32_t k = 0; k < MAX_SEGS; k++)
			m->slots[i].segs[k] = (struct vh_seg){
				(uintptr_t)vht_host(&m->r, VHT_DATA + SEG_LEN * (MAX_SEGS * i + k)), SEG_LEN};
	}
}

static void run(uint32_t num, uint64_t features, uint64_t seed)
{
	static void (*const steps[])(struct model *) = {submit, submit, pop, pop,    push, push,   reap,   reap,
							unpop,	arm,	arm, disarm, reap, submit, restart};
	const uint32_t rounds = getenv("VH_FULL") ? 60000 : vht_count(20000);
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->x = seed;
	start(m, num, features);
	for (uint32_t i = 0; i < rounds; i++)
		steps[rnd(m, VHI_ARRAY_SIZE(steps))](m);
	assert_true(m->done > rounds / 100);
	vh_queue_free(m->driver);
	vht_ring_free(&m->r);
	free(m);
}

static void random_calls_of_both_sides_agree_with_the_model(void **state)
{
	static const uint32_t sizes[] = {1, 2, 8, 256, 3, 5, 7, 100, 255};
	static const uint64_t features[] = {0,
					    VHT_EVENT_IDX,
					    VHT_IND_DESC,
					    VHT_EVENT_IDX | VHT_IND_DESC,
					    IN_ORDER,
					    IN_ORDER | VHT_EVENT_IDX | VHT_IND_DESC};
	const char *wanted = getenv("VH_SEED");
	const uint64_t seed = wanted ? strtoull(wanted, NULL, 0) : vhi_now_ns();

	(void)state;
	print_message("VH_SEED=0x%llx\n", (unsigned long long)seed);
	for (size_t i = 0; i < (vht_layout ? VHI_ARRAY_SIZE(sizes) : 4); i++)
		for (size_t k = 0; k < VHI_ARRAY_SIZE(features); k++)
			run(sizes[i], features[k], seed + 16 * i + k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_calls_of_both_sides_agree_with_the_model),
	};

	return vht_run_layouts(tests);
}
