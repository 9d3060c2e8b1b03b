/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The driver side: against a device of the library, and against one that lies (catalogue section N). */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_vring.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SITE(name) VHI_SITE_QUEUE_##name

/* ring.q is the driver; dev is a device on the same ring. */
static struct vht_ring ring;
static struct vh_queue *dev;
static struct vh_seg segs[64];

#define TABLES (VHT_BASE + 0xc0000)

/* A packed device by hand: what it has seen of the ring, and where it stands. */
static struct {
	uint16_t seen, done; /* positions */
	uint32_t chains;
	uint32_t n_desc[65536];
} hand;

static void open_both(uint32_t num, uint64_t features, uint32_t max_indirect)
{
	struct vh_queue_opts opts;

	vht_ring_prepare(&ring, num, features);
	ring.opts.role = VH_QUEUE_DRIVER;
	ring.opts.indirect = TABLES;
	ring.opts.max_indirect = max_indirect;
	assert_int_equal(vht_ring_open(&ring), 0);
	hand.seen = hand.done = ring.next;
	hand.chains = 0;
	opts = ring.opts;
	opts.role = VH_QUEUE_DEVICE;
	assert_int_equal(vh_queue_open(ring.mem, &opts, -1, -1, &dev), 0);
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(segs); i++)
		segs[i] = (struct vh_seg){.addr = (uintptr_t)vht_host(&ring, VHT_DATA + 256 * i), .len = 100 + i};
}

static void close_both(void)
{
	vh_queue_free(dev);
	dev = NULL;
	vht_ring_free(&ring);
}

static int setup(void **state)
{
	(void)state;
	open_both(8, VHT_IND_DESC, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close_both();
	return 0;
}

static struct vh_req request(uint32_t n_rd, uint32_t n_wr, uint64_t user)
{
	return (struct vh_req){.segs = (uintptr_t)segs, .n_rd = n_rd, .n_wr = n_wr, .user = user};
}

static vh_count submit(uint32_t n_rd, uint32_t n_wr, uint64_t user)
{
	struct vh_req req = request(n_rd, n_wr, user);

	return vh_queue_submit(ring.q, &req, 1);
}

static uint16_t step(uint16_t pos)
{
	return (uint16_t)((pos & 0x7fffu) + 1 < ring.opts.num ? pos + 1u : (pos & VHT_WRAP) ^ VHT_WRAP);
}

static const struct vht_pdesc *at(uint16_t pos)
{
	return &ring.packed.ring[pos & 0x7fff];
}

/* Take what is available, only to know how long it is. */
static void look(void)
{
	uint32_t n = 0;

	while (n || (at(hand.seen)->flags & (VHT_AVAIL | VHT_USED)) == (hand.seen & VHT_WRAP ? VHT_AVAIL : VHT_USED)) {
		const struct vht_pdesc *d = at(hand.seen);

		hand.seen = step(hand.seen);
		n++;
		if (d->flags & VHT_NEXT)
			continue;
		hand.n_desc[d->id] = n;
		hand.chains++;
		n = 0;
	}
}

static void use_packed(uint32_t id, uint32_t len)
{
	struct vht_pdesc *d = &ring.packed.ring[hand.done & 0x7fff];
	const uint16_t marks = hand.done & VHT_WRAP ? VHT_AVAIL | VHT_USED : 0;

	look();
	d->id = (uint16_t)id;
	d->len = len;
	d->flags = (uint16_t)(marks | (len ? VHT_WRITE : 0));
	for (uint32_t i = 0; i < hand.n_desc[(uint16_t)id]; i++)
		hand.done = step(hand.done);
}

/* As a device by hand. */
static void use(uint32_t id, uint32_t len)
{
	uint16_t idx = ring.used->v[1];

	if (vht_layout) {
		use_packed(id, len);
		return;
	}
	vht_set_used(&ring, idx, id, len);
	vht_store16(ring.used, 1, (uint16_t)(idx + 1));
}

/* Requests that the device can see. */
static uint32_t published(void)
{
	if (!vht_layout)
		return ring.avail->v[1];
	look();
	return hand.chains;
}

/* What the driver wrote there, without the marks. */
static uint16_t flags_at(uint32_t i)
{
	return vht_layout ? ring.packed.ring[i].flags & ~(VHT_AVAIL | VHT_USED) : ring.desc[i].flags;
}

static void expect_broken(uint32_t site)
{
	struct vh_cpl cpls[8];

	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), -EPROTO);
	assert_int_equal(vht_ring_site(), site);
	assert_int_equal(vh_queue_state(ring.q), VH_QUEUE_BROKEN);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), -EPROTO);
	assert_int_equal(submit(1, 0, 0), -EPROTO);
	assert_int_equal(vh_queue_arm(ring.q), -EPROTO);
}

static void what_is_submitted_is_what_the_device_pops(void **state)
{
	struct vh_req req;
	struct vh_cpl cpl;
	const struct vh_seg *got;

	(void)state;
	for (uint32_t round = 0; round < 3; round++) {
		/* Linked, linked because there is no memory for tables, in a table, of a ring that it would fill. */
		close_both();
		open_both(round == 2 ? 4 : 8, round ? VHT_IND_DESC : 0, round == 1 ? 0 : 4);
		assert_int_equal(submit(2, 2, 0xabcdef0123456789), 1);
		assert_int_equal(flags_at(0) & VHT_INDIRECT, round == 2 ? VHT_INDIRECT : 0);
		assert_int_equal(vh_queue_pop(dev, NULL, 0), 0);
		assert_int_equal(vh_queue_pop(dev, NULL, 1), -EINVAL);
		assert_int_equal(vh_queue_pop(dev, &req, 1), 1);
		got = (const struct vh_seg *)(uintptr_t)req.segs;
		assert_int_equal(req.n_rd, 2);
		assert_int_equal(req.n_wr, 2);
		for (uint32_t i = 0; i < 4; i++) {
			assert_int_equal(got[i].addr, segs[i].addr);
			assert_int_equal(got[i].len, segs[i].len);
		}
		cpl = (struct vh_cpl){.token = req.token, .written = 17};
		assert_int_equal(vh_queue_push(dev, &cpl, 1), 0);
		assert_int_equal(vh_queue_reap(ring.q, NULL, 0), 0);
		assert_int_equal(vh_queue_reap(ring.q, NULL, 1), -EINVAL);
		assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), 1);
		assert_int_equal(cpl.token, 0xabcdef0123456789);
		assert_int_equal(cpl.written, 17);
		assert_int_equal(cpl.flags, 0);
		assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), 0);
	}
}

static void a_single_segment_needs_no_table(void **state)
{
	(void)state;
	close_both();
	open_both(8, VHT_IND_DESC, 4);
	assert_int_equal(submit(1, 0, 0), 1);
	assert_int_equal(flags_at(0), 0);
	/* Longer than a table: linked. */
	assert_int_equal(submit(3, 2, 0), 1);
	assert_int_equal(flags_at(1), VHT_NEXT);
}

/* How many of the requests from @from on to @to are in a table, as a device by hand sees them. */
static uint32_t in_tables(uint32_t from, uint32_t to, uint16_t *pos)
{
	uint32_t n = 0;

	for (uint32_t i = from; i < to; i++) {
		if (!vht_layout) {
			n += !!(ring.desc[ring.avail->v[2 + i % ring.opts.num]].flags & VHT_INDIRECT);
			continue;
		}
		n += !!(at(*pos)->flags & VHT_INDIRECT);
		while (at(*pos)->flags & VHT_NEXT)
			*pos = step(*pos);
		*pos = step(*pos);
	}
	return n;
}

static void there_are_tables_when_three_eighths_of_the_ring_are_taken(void **state)
{
	struct vh_req reqs[64];
	uint16_t pos;

	(void)state;
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(reqs); i++)
		reqs[i] = request(1, 2, i);
	close_both();
	open_both(64, VHT_IND_DESC, 4);
	pos = hand.seen;
	/* 64 - 3 * 8 = 40 are free. */
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(vh_queue_submit(ring.q, &reqs[i], 1), 1);
	assert_int_equal(in_tables(0, 8, &pos), 0);
	for (uint32_t i = 8; i < 48; i++)
		assert_int_equal(vh_queue_submit(ring.q, &reqs[i], 1), 1);
	assert_int_equal(in_tables(8, 48, &pos), 40);
	assert_int_equal(vh_queue_submit(ring.q, &reqs[48], 1), 0);
}

/* A call that would fill the ring has tables for all of its requests. */
static void a_call_takes_as_many_as_there_are_descriptors(void **state)
{
	static const uint32_t sizes[] = {8, 64, 16, 1};
	struct vh_req reqs[100], got[64];
	struct vh_cpl cpls[64];

	(void)state;
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(reqs); i++)
		reqs[i] = request(1, 2, i);
	for (size_t k = 0; k < VHI_ARRAY_SIZE(sizes); k++) {
		const uint32_t num = sizes[k];

		close_both();
		open_both(num, VHT_IND_DESC, 3);
		/* Twice: as full as it can be, it is so again, whatever it held before. */
		for (uint32_t round = 0; round < 2; round++) {
			assert_int_equal(vh_queue_submit(ring.q, reqs, num + round), num);
			assert_int_equal(vh_queue_submit(ring.q, reqs, 1), 0);
			assert_int_equal(vh_queue_pop(dev, got, 64), num);
			for (uint32_t i = 0; i < num; i++)
				cpls[i] = (struct vh_cpl){.token = got[i].token};
			assert_int_equal(vh_queue_push(dev, cpls, num), 0);
			assert_int_equal(vh_queue_reap(ring.q, cpls, 64), num);
		}
	}
}

/* One request at a time, for a caller that keeps the ring full: those that came first give their room to more. */
static void a_ring_that_is_kept_full_holds_as_many_as_it_has_descriptors(void **state)
{
	const struct vh_req one = request(1, 2, 7);
	struct vh_req got[64];
	struct vh_cpl cpl;
	uint32_t held = 0, n;

	(void)state;
	close_both();
	open_both(64, VHT_IND_DESC, 4);
	while (vh_queue_submit(ring.q, &one, 1) == 1)
		held++;
	assert_int_equal(held, 8 + 40);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(vh_queue_pop(dev, got, 1), 1);
		cpl = (struct vh_cpl){.token = got[0].token};
		assert_int_equal(vh_queue_push(dev, &cpl, 1), 0);
		assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), 1);
		for (n = 0; vh_queue_submit(ring.q, &one, 1) == 1; n++)
			;
		assert_int_equal(n, 3);
		held += n - 1;
	}
	assert_int_equal(held, 64);
}

static void a_full_ring_takes_fewer(void **state)
{
	struct vh_req reqs[6];
	struct vh_cpl cpls[8];

	(void)state;
	for (uint32_t i = 0; i < 6; i++)
		reqs[i] = request(2, 1, i);
	assert_int_equal(vh_queue_submit(ring.q, reqs, 6), 2);
	assert_int_equal(vh_queue_submit(ring.q, reqs, 6), 0);
	assert_int_equal(submit(1, 1, 7), 1);
	assert_int_equal(submit(1, 0, 8), 0);
	use(vht_either(3, 1), 0);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 1);
	assert_int_equal(cpls[0].token, 1);
	assert_int_equal(vh_queue_submit(ring.q, &reqs[2], 4), 1);
	use(vht_either(6, 2), 0);
	use(vht_either(3, 1), 0);
	use(0, 0);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 3);
	assert_int_equal(cpls[0].token, 7);
	assert_int_equal(cpls[1].token, 2);
	assert_int_equal(cpls[2].token, 0);
}

static void wrong_requests_are_refused_and_leave_no_trace(void **state)
{
	struct vh_req req = request(1, 1, 0), reqs[2] = {request(1, 0, 1), request(1, 1, 2)};

	(void)state;
	for (uint32_t round = 0; round < 2; round++) {
		assert_int_equal(submit(0, 0, 0), -EINVAL);
		assert_int_equal(submit(5, 4, 0), -EINVAL);
		assert_int_equal(submit(0xffffffff, 1, 0), -EINVAL);
		assert_int_equal(submit(0xffffffff, 2, 0), -EINVAL);
		req.segs = 0;
		assert_int_equal(vh_queue_submit(ring.q, &req, 1), -EINVAL);
		segs[1].len = 0;
		assert_int_equal(submit(1, 1, 0), -EINVAL);
		segs[1].len = UINT64_C(1) << 32;
		assert_int_equal(submit(1, 1, 0), -EINVAL);
		segs[1].len = 101;
		segs[1].addr = (uintptr_t)segs;
		assert_int_equal(submit(1, 1, 0), -EFAULT);
		segs[1].addr = (uintptr_t)vht_host(&ring, VHT_BASE + VHT_SIZE - 100);
		assert_int_equal(submit(1, 1, 0), -EFAULT);
		/* Not the first one: what is before it is taken. */
		assert_int_equal(vh_queue_submit(ring.q, reqs, 2), 1);
		assert_int_equal(published(), 1);
		segs[1].len = 100;
		assert_int_equal(submit(1, 1, 0), 1);
		segs[1] = (struct vh_seg){.addr = segs[0].addr + 256, .len = 101};
		/* All descriptors are there still. */
		assert_int_equal(submit(2, 3, 0), 1);
		assert_int_equal(submit(1, 0, 0), round ? 1 : 0);
		close_both();
		open_both(8, VHT_IND_DESC, 5);
		reqs[0].segs = reqs[1].segs = (uintptr_t)segs;
	}
}

/* At once or, for one alone, when the device can see it. */
static void every_request_is_timed(void **state)
{
	const struct vh_req reqs[] = {request(1, 0, 1), request(1, 0, 2)};
	struct vh_queue_stats stats = {.size = sizeof(stats)};

	(void)state;
	assert_int_equal(vh_queue_submit(ring.q, reqs, 1), 1);
	assert_int_not_equal(ring.q->slots[0].since, 0);
	assert_int_equal(vh_queue_submit(ring.q, reqs, 2), 2);
	assert_int_not_equal(ring.q->slots[1].since, 0);
	assert_int_equal(ring.q->slots[1].since, ring.q->slots[2].since);
	assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
	assert_in_range(stats.oldest_in_flight_ns, 0, UINT64_C(60000000000));
}

static void what_a_request_does_not_use_yet_must_be_zero(void **state)
{
	struct vh_req req = request(1, 1, 7);

	(void)state;
	req.flags = VH_REQ_LAST;
	assert_int_equal(vh_queue_submit(ring.q, &req, 1), -EINVAL);
	req.flags = 0;
	req.reserved = 1;
	assert_int_equal(vh_queue_submit(ring.q, &req, 1), -EINVAL);
	req.reserved = 0;
	req.token = req.rd_len = req.wr_len = UINT64_MAX;
	req.seq = req.mem = UINT32_MAX;
	req.queue = UINT16_MAX;
	assert_int_equal(vh_queue_submit(ring.q, &req, 1), 1);
}

static void a_submit_that_took_some_leaves_the_last_error_alone(void **state)
{
	struct vh_req reqs[2] = {request(1, 1, 1), request(0, 0, 2)};
	struct vh_error before = {.size = sizeof(before)}, after = {.size = sizeof(after)};

	(void)state;
	assert_int_equal(vh_queue_submit(NULL, reqs, 2), -EINVAL);
	vh_error_get(&before);
	assert_int_equal(vh_queue_submit(ring.q, reqs, 2), 1);
	vh_error_get(&after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(vh_queue_submit(ring.q, &reqs[1], 1), -EINVAL);
	vh_error_get(&after);
	assert_non_null(strstr(after.text, "1 to num segments"));
}

static void case_219_an_id_outside_the_ring_breaks(void **state)
{
	(void)state;
	submit(1, 1, 0);
	use(8, 0);
	expect_broken(SITE(USED_ID));
	close_both();
	open_both(8, 0, 0);
	submit(1, 1, 0);
	use(0xffffffff, 0);
	expect_broken(SITE(USED_ID));
}

static void case_219_an_id_that_is_not_in_flight_breaks(void **state)
{
	struct vh_cpl cpl;

	(void)state;
	submit(1, 1, 0);
	use(1, 0); /* the second descriptor of the chain */
	expect_broken(SITE(USED_FREE));
	close_both();
	open_both(8, 0, 0);
	submit(1, 1, 0);
	submit(1, 1, 1);
	use(0, 0);
	use(0, 0);
	assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), 1);
	expect_broken(SITE(USED_FREE));
}

static void case_219_a_length_above_the_writable_bytes_breaks(void **state)
{
	struct vh_cpl cpls[2];

	(void)state;
	submit(1, 1, 0);
	use(0, 101);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 2), 1);
	assert_int_equal(cpls[0].written, 101);
	submit(1, 1, 0);
	submit(1, 0, 5);
	use(0, 0);
	use(vht_either(2, 1), 1);
	/* The good one first. */
	assert_int_equal(vh_queue_reap(ring.q, cpls, 2), 1);
	expect_broken(SITE(USED_LEN));
}

static void case_219_a_used_index_that_jumps_or_goes_back_breaks(void **state)
{
	static const uint16_t idx[] = {2, 3, 8, 9, 255, 32768, 65535};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(idx); i++) {
		close_both();
		open_both(8, 0, 0);
		submit(1, 1, 0);
		ring.used->v[1] = idx[i];
		expect_broken(SITE(USED_JUMP));
	}
}

static void case_220_a_device_that_writes_over_the_drivers_areas_changes_nothing(void **state)
{
	struct vh_cpl cpls[8];

	(void)state;
	for (uint32_t round = 0; round < 500; round++) {
		/* Three chains of different lengths, completed in another order, with garbage all over the place. */
		assert_int_equal(submit(1, 1, 100), 1);
		assert_int_equal(submit(2, 1, 101), 1);
		assert_int_equal(submit(0, 3, 102), 1);
		uint16_t at = ring.avail->v[1];
		uint16_t heads[3];

		for (uint32_t i = 0; i < 3; i++)
			heads[i] = ring.avail->v[2 + (uint16_t)(at - 3 + i) % 8];
		for (uint32_t i = 0; i < 8 * sizeof(*ring.desc); i++)
			((uint8_t *)ring.desc)[i] = (uint8_t)rand();
		for (uint32_t i = 0; i < 2 + 8; i++)
			ring.avail->v[i] = (uint16_t)rand();
		for (uint32_t i = 0; i < 3; i++)
			use(heads[(i + round) % 3], 1);
		assert_int_equal(vh_queue_reap(ring.q, cpls, 8), 3);
		for (uint32_t i = 0; i < 3; i++)
			assert_int_equal(cpls[i].token, 100 + (i + round) % 3);
	}
}

static void indices_wrap_on_both_sides(void **state)
{
	static const uint32_t nums[] = {1, 2, 256, 32768, 3, 7, 32767};
	const size_t n = vht_layout ? VHI_ARRAY_SIZE(nums) : 4;
	struct vh_req reqs[32], got[32];
	struct vh_cpl cpls[32];

	(void)state;
	for (size_t k = 0; k < n; k++) {
		uint32_t batch = VHI_MIN(nums[k], 32u);

		close_both();
		open_both(nums[k], VHT_EVENT_IDX, 0);
		for (uint64_t total = 0; total < 3 * 65536; total += batch) {
			for (uint32_t i = 0; i < batch; i++)
				reqs[i] = request(0, 1, total + i);
			assert_int_equal(vh_queue_submit(ring.q, reqs, batch), batch);
			assert_int_equal(vh_queue_pop(dev, got, 32), batch);
			for (uint32_t i = 0; i < batch; i++)
				cpls[i] = (struct vh_cpl){.token = got[batch - 1 - i].token, .written = i};
			assert_int_equal(vh_queue_push(dev, cpls, batch), 0);
			assert_int_equal(vh_queue_reap(ring.q, cpls, 32), batch);
			for (uint32_t i = 0; i < batch; i++) {
				assert_int_equal(cpls[i].token, total + batch - 1 - i);
				assert_int_equal(cpls[i].written, i);
			}
		}
	}
}

static void the_device_is_kicked_when_it_wants_to_be(void **state)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};
	struct vh_cpl cpl;
	uint64_t seg_at;

	(void)state;
	for (uint32_t event = 0; event < 2; event++) {
		close_both();
		vht_ring_init_fds(&ring, 8, event ? VHT_EVENT_IDX : 0);
		/* The device side of the helper goes; a driver with the same fds comes. */
		vh_queue_free(ring.q);
		ring.opts.role = VH_QUEUE_DRIVER;
		assert_int_equal(vht_ring_open(&ring), 0);
		seg_at = (uintptr_t)vht_host(&ring, VHT_DATA);
		segs[0] = (struct vh_seg){.addr = seg_at, .len = 10};

		assert_int_equal(submit(1, 0, 0), 1);
		assert_int_equal(vht_drain(ring.kick), 1);
		/* Suppressed: by the flag, or by an event that lies behind. */
		ring.used->v[0] = event ? 0 : 1;
		vht_avail_event(&ring)->v[0] = 0;
		assert_int_equal(submit(1, 0, 0), 1);
		assert_int_equal(vht_drain(ring.kick), 0);
		ring.used->v[0] = 0;
		vht_avail_event(&ring)->v[0] = 2;
		assert_int_equal(submit(1, 0, 0), 1);
		assert_int_equal(vht_drain(ring.kick), 1);
		assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
		assert_int_equal(stats.kicks, 2);
		/* And the driver is told by the call fd, which its own pollable fd covers. */
		assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
		assert_int_equal(vh_queue_look(ring.q), VH_QUEUE_SLEEP);
		use(0, 0);
		assert_int_equal(vh_queue_look(ring.q), VH_QUEUE_MORE);
		assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_MORE);
		assert_int_equal(write(ring.call, &(uint64_t){1}, 8), 8);
		assert_true(vht_readable(vh_queue_fd(ring.q)));
		assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_MORE);
		assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), 1);
		assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_SLEEP);
		assert_false(vht_readable(vh_queue_fd(ring.q)));
		assert_int_equal(vh_queue_disarm(ring.q), 0);
		assert_int_equal(ring.avail->v[0], event ? 0 : 1);
		assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
		assert_int_equal(stats.calls, 1);
	}
	assert_int_equal(vh_queue_open(ring.mem, &ring.opts, -1, -1, &dev), 0);
}

static void a_fresh_driver_writes_its_base_into_both_rings(void **state)
{
	struct vh_req req;
	struct vh_queue_opts opts;

	(void)state;
	close_both();
	vht_ring_prepare(&ring, 8, 0);
	ring.opts.role = VH_QUEUE_DRIVER;
	ring.opts.base = 65534;
	assert_int_equal(vht_ring_open(&ring), 0);
	opts = ring.opts;
	opts.role = VH_QUEUE_DEVICE;
	assert_int_equal(vh_queue_open(ring.mem, &opts, -1, -1, &dev), 0);
	segs[0] = (struct vh_seg){.addr = (uintptr_t)vht_host(&ring, VHT_DATA), .len = 10};
	for (uint32_t i = 0; i < 5; i++) {
		struct vh_cpl cpl;

		assert_int_equal(submit(1, 0, i), 1);
		assert_int_equal(vh_queue_pop(dev, &req, 1), 1);
		cpl = (struct vh_cpl){.token = req.token};
		assert_int_equal(vh_queue_push(dev, &cpl, 1), 0);
		assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), 1);
		assert_int_equal(cpl.token, i);
	}
}

static void a_restart_keeps_what_is_in_flight(void **state)
{
	struct vhi_ring r = vht_geometry(&ring);
	struct vh_snapshot *snap = vhi_mem_snapshot(ring.mem);
	struct vh_queue *own = ring.q;
	struct vh_cpl cpls[4];
	uint32_t base;

	(void)state;
	assert_int_equal(vhi_queue_new(0, VH_QUEUE_DRIVER, NULL, &ring.q), 0);
	/* Nothing to keep yet. */
	r.fresh = false;
	assert_int_equal(vhi_queue_start(ring.q, &r, snap), -EINVAL);
	r.fresh = true;
	assert_int_equal(vhi_queue_start(ring.q, &r, snap), 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(submit(1, 1, 40 + i), 1);
	use(0, 3);
	/* A device that died has completed one of three; nobody has reaped it. */
	vhi_queue_ctl(ring.q, VHI_CTL_DRAIN, NULL);
	assert_int_equal(submit(1, 0, 0), 0);
	assert_int_equal(vhi_queue_finish_stop(ring.q, &base), 0);
	assert_int_equal(base, vht_base(&ring, vht_either(1, 2)));
	assert_int_equal(vh_queue_reap(ring.q, cpls, 4), 0);
	r.fresh = false;
	r.num = 4;
	assert_int_equal(vhi_queue_start(ring.q, &r, snap), -EINVAL);
	r.num = 8;
	assert_int_equal(vhi_queue_start(ring.q, &r, snap), 0);
	assert_int_equal(vhi_queue_in_flight(ring.q), 3);
	use(vht_either(2, 1), 0);
	use(vht_either(4, 2), 0);
	assert_int_equal(vh_queue_reap(ring.q, cpls, 4), 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(cpls[i].token, 40 + i);
	assert_int_equal(cpls[0].written, 3);
	/* What can't be is not believed. */
	if (vht_layout)
		use(77, 0);
	else
		ring.used->v[1] = 77;
	vhi_queue_ctl(ring.q, VHI_CTL_DRAIN, NULL);
	assert_int_equal(vhi_queue_finish_stop(ring.q, &base), 0);
	assert_int_equal(base, vht_base(&ring, vht_either(3, 6)));
	/* After an abort there is nothing to keep. */
	vhi_queue_ctl(ring.q, VHI_CTL_ABORT, NULL);
	assert_int_equal(vhi_queue_start(ring.q, &r, snap), -EINVAL);
	vhi_snapshot_put(snap);
	vhi_queue_destroy(ring.q);
	ring.q = own;
}

static void a_stand_alone_driver_stops_when_all_is_reaped(void **state)
{
	struct vh_cpl cpl;
	uint32_t base;

	(void)state;
	submit(1, 1, 0);
	assert_int_equal(vh_queue_stop(ring.q, &base), -EINPROGRESS);
	use(0, 0);
	assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), 1);
	assert_int_equal(vh_queue_stop(ring.q, &base), 0);
	assert_int_equal(base, vht_base(&ring, vht_either(1, 2)));
}

static void counters_count(void **state)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};
	struct vh_cpl cpl;

	(void)state;
	submit(2, 1, 0);
	submit(0, 1, 0);
	use(0, 50);
	assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), 1);
	assert_int_equal(vh_queue_get_stats(ring.q, &stats), 0);
	assert_int_equal(stats.requests, 2);
	assert_int_equal(stats.completed, 1);
	assert_int_equal(stats.bytes_out, 100 + 101);
	assert_int_equal(stats.bytes_in, 50);
	assert_int_equal(stats.in_flight, 1);
}

/* All segments in one of many regions, tried in turn: the last hit must not stick. */
static void segments_in_many_regions_are_found(void **state)
{
	struct vh_snapshot *snap;
	struct vh_req req;

	(void)state;
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(vh_mem_alloc(ring.mem, VHT_BASE + VHT_SIZE + (2 * i + 1) * 0x10000, 0x10000, 0), 0);
	snap = vhi_mem_snapshot(ring.mem);
	assert_int_equal(vhi_queue_ctl(ring.q, VHI_CTL_SNAPSHOT, snap), 0);
	assert_int_equal(vhi_queue_ctl(dev, VHI_CTL_SNAPSHOT, snap), 0);
	vhi_snapshot_put(snap);
	for (uint64_t i = 0; i < 64; i++) {
		uint64_t gpa = VHT_BASE + VHT_SIZE + (2 * (i * 5 % 8) + 1) * 0x10000 + 16 * i;
		struct vh_cpl cpl;

		segs[0].addr = (uintptr_t)vht_host(&ring, gpa);
		assert_int_equal(submit(1, 1, i), 1);
		assert_int_equal(vh_queue_pop(dev, &req, 1), 1);
		assert_int_equal(((struct vh_seg *)(uintptr_t)req.segs)[0].addr, segs[0].addr);
		cpl = (struct vh_cpl){.token = req.token};
		assert_int_equal(vh_queue_push(dev, &cpl, 1), 0);
		assert_int_equal(vh_queue_reap(ring.q, &cpl, 1), 1);
	}
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest split[] = {
		CASE(case_219_a_used_index_that_jumps_or_goes_back_breaks),
		CASE(case_220_a_device_that_writes_over_the_drivers_areas_changes_nothing),
		CASE(the_device_is_kicked_when_it_wants_to_be),
		CASE(a_fresh_driver_writes_its_base_into_both_rings),
	};
	const struct CMUnitTest tests[] = {
		CASE(what_is_submitted_is_what_the_device_pops),
		CASE(a_single_segment_needs_no_table),
		CASE(there_are_tables_when_three_eighths_of_the_ring_are_taken),
		CASE(a_call_takes_as_many_as_there_are_descriptors),
		CASE(a_ring_that_is_kept_full_holds_as_many_as_it_has_descriptors),
		CASE(a_full_ring_takes_fewer),
		CASE(wrong_requests_are_refused_and_leave_no_trace),
		CASE(every_request_is_timed),
		CASE(what_a_request_does_not_use_yet_must_be_zero),
		CASE(a_submit_that_took_some_leaves_the_last_error_alone),
		CASE(case_219_an_id_outside_the_ring_breaks),
		CASE(case_219_an_id_that_is_not_in_flight_breaks),
		CASE(case_219_a_length_above_the_writable_bytes_breaks),
		CASE(indices_wrap_on_both_sides),
		CASE(a_restart_keeps_what_is_in_flight),
		CASE(a_stand_alone_driver_stops_when_all_is_reaped),
		CASE(counters_count),
		CASE(segments_in_many_regions_are_found),
	};

	int failed = vht_run_layouts(tests);

	vht_layout = 0;
	return failed + cmocka_run_group_tests(split, NULL, NULL);
}
