/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Random block requests against a model of the disk. VH_SEED in the environment repeats a run. */
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "vht_count.h"
#include "vht_session.h"

#define ok(call)    assert_int_equal((call), 0)
#define KIND	    (*(const enum vht_kind *)*state)
#define ADDR(s, at) ((uint64_t)(uintptr_t)((s)->buf + (at)))

/* Blocks in flight are left alone, so that the result is known. */
#define BLOCK	2048u
#define BLOCKS	256u
#define QUEUES	2u
#define BATCH	24u
#define REQUEST (4 * BLOCK)

struct model {
	struct vht_session s;
	uint64_t x; /* random state */
	uint8_t disk[BLOCK * BLOCKS];
	bool busy[BLOCKS];
	bool vague[BLOCKS]; /* discarded: may hold anything until it is written */
	struct vh_blk_io slots[BATCH * QUEUES * 2];
	uint32_t in_flight;
};

static uint32_t rnd(struct model *m, uint32_t below)
{
	m->x ^= m->x << 13;
	m->x ^= m->x >> 7;
	m->x ^= m->x << 17;
	return (uint32_t)(m->x >> 20) % below;
}

static bool blocks_mark(struct model *m, uint32_t first, uint32_t n, bool on)
{
	for (uint32_t i = first; on && i < first + n; i++)
		if (m->busy[i])
			return false;
	for (uint32_t i = first; i < first + n; i++)
		m->busy[i] = on;
	return true;
}

/* A request for slot k, already done to the model; false when its blocks are in use. */
static bool compose(struct model *m, uint32_t k, struct vh_blk_io *io)
{
	static const uint32_t ops[] = {VH_BLK_READ,    VH_BLK_READ,	    VH_BLK_WRITE, VH_BLK_WRITE,
				       VH_BLK_DISCARD, VH_BLK_WRITE_ZEROES, VH_BLK_FLUSH};
	const uint32_t n = 1 + rnd(m, 4), first = rnd(m, BLOCKS - n + 1);
	uint8_t *buf = m->s.buf + (uint64_t)k * REQUEST;

	*io = (struct vh_blk_io){.op = ops[rnd(m, VHI_ARRAY_SIZE(ops))], .user = k};
	if (io->op == VH_BLK_FLUSH)
		return true;
	if (!blocks_mark(m, first, n, true))
		return false;
	io->offset = (uint64_t)first * BLOCK;
	io->len = (uint64_t)n * BLOCK;
	if (io->op == VH_BLK_READ || io->op == VH_BLK_WRITE)
		io->addr = (uint64_t)(uintptr_t)buf;
	if (io->op == VH_BLK_READ)
		memset(buf, 0xee, io->len);
	if (io->op == VH_BLK_WRITE) {
		for (uint64_t i = 0; i < io->len; i += 4) {
			const uint32_t v = rnd(m, UINT32_MAX);

			memcpy(buf + i, &v, 4);
		}
		memcpy(m->disk + io->offset, buf, io->len);
	}
	if (io->op == VH_BLK_WRITE_ZEROES)
		memset(m->disk + io->offset, 0, io->len);
	if (io->op != VH_BLK_READ)
		memset(m->vague + first, io->op == VH_BLK_DISCARD, n);
	return true;
}

static void compare(const struct model *m, const uint8_t *buf, uint64_t offset, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += BLOCK)
		if (!m->vague[(offset + at) / BLOCK])
			assert_memory_equal(buf + at, m->disk + offset + at, BLOCK);
}

static void ended(struct model *m, const struct vh_blk_done *done)
{
	struct vh_blk_io *io = &m->slots[done->user];

	assert_in_range(done->user, 0, VHI_ARRAY_SIZE(m->slots) - 1);
	assert_int_equal(io->reserved, 1); /* in flight */
	ok(done->rc);
	if (io->op == VH_BLK_READ)
		compare(m, m->s.buf + done->user * REQUEST, io->offset, io->len);
	blocks_mark(m, (uint32_t)(io->offset / BLOCK), (uint32_t)(io->len / BLOCK), false);
	io->reserved = 0;
	m->in_flight--;
}

static void round_of_requests(struct model *m, uint32_t queue)
{
	const uint32_t first = queue * BATCH * 2, most = 1 + rnd(m, BATCH);
	struct vh_blk_io ios[BATCH];
	uint32_t n = 0;

	for (uint32_t k = first; k < first + BATCH * 2 && n < most; k++)
		if (!m->slots[k].reserved && compose(m, k, &ios[n])) {
			m->slots[k] = ios[n++];
			m->slots[k].reserved = 1;
		}
	if (!n)
		return;
	assert_int_equal(vh_blk_submit(m->s.b, queue, ios, n), n);
	m->in_flight += n;
}

static void reap_some(struct model *m, uint32_t queue, uint32_t most)
{
	struct vh_blk_done done[BATCH];
	int n = vh_blk_reap(m->s.b, queue, done, VHI_MIN(most, BATCH));

	assert_true(n >= 0);
	for (int i = 0; i < n; i++)
		ended(m, &done[i]);
}

static uint64_t seed(void)
{
	const char *given = getenv("VH_SEED");

	return given ? strtoull(given, NULL, 0) : vhi_now_ns();
}

#define BUSY UINT64_C(30000000000) /* ns */

static void random_requests_leave_the_disk_as_the_model(void **state)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_BLK, .n_queues = QUEUES, .queue_size = 128};
	const uint64_t since = vhi_now_ns();
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->x = seed() | 1;
	print_message("VH_SEED=0x%llx\n", (unsigned long long)m->x);
	vht_session_ram(&m->s, KIND, sizeof(m->disk), 0, QUEUES);
	vht_session_begin(&m->s, &o, VHI_ARRAY_SIZE(m->slots) * REQUEST * 2);
	/* Where each wait costs a turn of all that runs on a busy machine, fewer have to do. */
	for (uint32_t round = 0; round < vht_count(3000) && (round < 300 || vhi_now_ns() - since < BUSY); round++) {
		const uint32_t queue = rnd(m, QUEUES);

		round_of_requests(m, queue);
		if (!rnd(m, 4))
			vh_blk_wait(m->s.b, queue, 1);
		reap_some(m, queue, 1 + rnd(m, BATCH));
		if (!rnd(m, 500)) {
			ok(vh_driver_stop(m->s.d, 0, 0));
			ok(vh_driver_start(m->s.d));
		}
	}
	ok(vh_driver_stop(m->s.d, 0, 0));
	for (uint32_t q = 0; q < QUEUES; q++)
		for (uint32_t i = 0; i < BATCH * 4; i++)
			reap_some(m, q, BATCH);
	assert_int_equal(m->in_flight, 0);
	ok(vh_driver_start(m->s.d));
	for (uint32_t i = 0; i < BLOCKS; i++) {
		const struct vh_blk_io io = {
			.op = VH_BLK_READ, .offset = i * BLOCK, .addr = ADDR(&m->s, 0), .len = BLOCK};

		ok(vht_session_io(&m->s, 0, io));
		compare(m, m->s.buf, i * BLOCK, BLOCK);
	}
	vht_session_end(&m->s);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VHT_OVER(random_requests_leave_the_disk_as_the_model),
	};

	return vht_run(tests);
}
