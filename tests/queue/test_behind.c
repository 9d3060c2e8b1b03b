/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A queue behind an IOMMU: what is missed is waited for, what is not allowed breaks it; in both layouts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <string.h>

#include "vhi_vring.h"
#include "vht_ring.h"

#define PAGE  UINT64_C(4096)
#define SHIFT UINT64_C(0x700000000000) /* I/O address of guest address 0 */
#define RW    (VH_MEM_READ | VH_MEM_WRITE)

static struct vht_ring r;
static struct vh_iotlb *t;
static uint32_t wakes;

static void put(uint64_t gpa, uint64_t len, uint32_t perm)
{
	const struct vh_iotlb_entry e = {.iova = SHIFT + gpa, .len = len, .addr = gpa, .perm = perm};

	assert_int_equal(vh_iotlb_update(t, &e), 0);
}

static void start(uint64_t shift)
{
	struct vhi_ring ring = vht_geometry(&r);
	struct vh_snapshot *snap = vhi_mem_snapshot(r.mem);

	ring.desc.v += shift;
	ring.driver.v += shift;
	ring.device.v += shift;
	ring.iotlb = t;
	assert_int_equal(vh_queue_stop(r.q, NULL), 0);
	vht_ring_reset(&r);
	assert_int_equal(vhi_queue_start(r.q, &ring, snap), 0);
	vhi_snapshot_put(snap);
}

static void begin(uint32_t num, uint64_t features)
{
	vht_ring_init(&r, num, features | UINT64_C(1) << VH_F_ACCESS_PLATFORM);
	assert_int_equal(vh_iotlb_new(NULL, r.mem, &t), 0);
	start(SHIFT);
}

static void ring_known(void)
{
	put(VHT_BASE, 0x100000, RW);
}

static void end(void)
{
	vht_ring_free(&r);
	vh_iotlb_free(t);
}

static uint32_t misses(struct vh_iotlb_miss *out, uint32_t max)
{
	uint32_t n = 0;

	while (n < max) {
		out[n].size = sizeof(out[n]);
		if (!vh_iotlb_next_miss(t, &out[n]))
			break;
		n++;
	}
	return n;
}

static bool readable(void)
{
	struct pollfd p = {.fd = vh_queue_fd(r.q), .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static struct vh_queue_stats stats(void)
{
	struct vh_queue_stats s = {.size = sizeof(s)};

	assert_int_equal(vh_queue_get_stats(r.q, &s), 0);
	return s;
}

static void a_ring_that_is_not_known_is_waited_for(void **state)
{
	struct vh_iotlb_miss miss[8];
	struct vh_req req;
	uint32_t base;

	(void)state;
	begin(8, 0);
	vht_put(&r, 0, SHIFT + VHT_DATA, 64, 0, 0);
	vht_offer(&r, 0);
	assert_int_equal(vh_queue_pop(r.q, &req, 1), 0);
	assert_int_equal(vh_queue_arm(r.q), VH_QUEUE_SLEEP);
	assert_int_equal(vh_queue_disarm(r.q), 0);
	assert_false(readable());
	assert_int_equal(misses(miss, 8), 3);
	assert_int_equal(miss[0].iova, SHIFT + r.opts.desc);
	assert_int_equal(miss[0].perm, vht_either(VH_MEM_READ, RW));
	assert_int_equal(miss[1].iova, SHIFT + r.opts.driver);
	assert_int_equal(miss[1].perm, VH_MEM_READ);
	assert_int_equal(miss[2].iova, SHIFT + r.opts.device);
	assert_int_equal(miss[2].perm, VH_MEM_WRITE);
	put(r.opts.desc, PAGE, RW);
	assert_true(readable());
	assert_int_equal(vh_queue_arm(r.q), VH_QUEUE_SLEEP);
	assert_int_equal(misses(miss, 8), 0);
	ring_known();
	assert_true(readable());
	/* The ring is, the buffer isn't: nothing was taken. */
	assert_int_equal(vh_queue_pop(r.q, &req, 1), 0);
	assert_int_equal(stats().in_flight, 0);
	assert_int_equal(stats().iotlb_misses, 4);
	assert_int_equal(misses(miss, 8), 1);
	assert_int_equal(miss[0].iova, SHIFT + VHT_DATA);
	assert_int_equal(miss[0].perm, VH_MEM_READ);
	assert_int_equal(vh_queue_look(r.q), VH_QUEUE_SLEEP);
	assert_int_equal(vh_queue_arm(r.q), VH_QUEUE_SLEEP);
	assert_false(readable());
	put(VHT_DATA, PAGE, VH_MEM_READ);
	assert_true(readable());
	assert_int_equal(vh_queue_look(r.q), VH_QUEUE_MORE);
	assert_int_equal(vh_queue_arm(r.q), VH_QUEUE_MORE);
	req = vht_pop1(&r);
	assert_int_equal(((const struct vh_seg *)(uintptr_t)req.segs)->addr, (uintptr_t)vht_host(&r, VHT_DATA));
	vht_push1(&r, &req, 0);
	assert_int_equal(vht_used_idx(&r), 1);
	assert_int_equal(vh_queue_stop(r.q, &base), 0);
	assert_int_equal(base, vht_base(&r, 1));
	end();
}

static void a_ring_that_was_never_found_stops_where_it_began(void **state)
{
	uint32_t base = 77;
	struct vh_req req;

	(void)state;
	begin(8, 0);
	assert_int_equal(vh_queue_pop(r.q, &req, 1), 0);
	assert_int_equal(vh_queue_stop(r.q, &base), 0);
	assert_int_equal(base, vht_base(&r, 0));
	end();
}

static void good_chains_come_before_one_that_waits(void **state)
{
	struct vh_iotlb_miss miss[4];
	struct vh_req reqs[4];

	(void)state;
	begin(8, 0);
	ring_known();
	put(VHT_DATA, PAGE, RW);
	vht_put(&r, 0, SHIFT + VHT_DATA, 64, 0, 0);
	/* The second part of the second chain. */
	vht_put(&r, 1, SHIFT + VHT_DATA + 64, 64, VHT_NEXT, 2);
	vht_put(&r, 2, SHIFT + VHT_DATA + 4000, 2 * PAGE, VHT_WRITE, 0);
	vht_put(&r, 3, SHIFT + VHT_DATA, 64, 0, 0);
	for (uint32_t head = 0; head < 4; head += head + 1 == 2 ? 2 : 1)
		vht_offer(&r, head);
	assert_int_equal(vh_queue_pop(r.q, reqs, 4), 1);
	assert_int_equal(vh_queue_pop(r.q, reqs + 1, 3), 0);
	assert_int_equal(misses(miss, 4), 1);
	assert_int_equal(miss[0].iova, SHIFT + VHT_DATA + PAGE);
	assert_int_equal(miss[0].perm, VH_MEM_WRITE);
	put(VHT_DATA + PAGE, 2 * PAGE, VH_MEM_WRITE);
	assert_int_equal(vh_queue_pop(r.q, reqs + 1, 3), 2);
	/* In one piece here: two entries that go on with each other. */
	assert_int_equal(reqs[1].n_wr, 1);
	assert_int_equal(reqs[1].wr_len, 2 * PAGE);
	end();
}

static void case_195_a_write_where_only_reading_is_allowed_breaks_it(void **state)
{
	uint64_t iova;
	uint32_t perm;

	(void)state;
	begin(8, 0);
	ring_known();
	put(VHT_DATA, PAGE, RW);
	put(VHT_DATA + PAGE, PAGE, VH_MEM_READ);
	vht_put(&r, 0, SHIFT + VHT_DATA + PAGE - 8, 16, VHT_WRITE, 0);
	vht_offer(&r, 0);
	assert_false(vhi_queue_iotlb_fault(r.q, &iova, &perm));
	vht_expect_break(&r, -EFAULT, VHI_SITE_QUEUE_FAULT);
	assert_true(vhi_queue_iotlb_fault(r.q, &iova, &perm));
	assert_int_equal(iova, SHIFT + VHT_DATA + PAGE);
	assert_int_equal(perm, VH_MEM_WRITE);
	assert_false(vhi_queue_iotlb_fault(r.q, &iova, &perm));
	end();
}

static void what_is_denied_breaks_it(void **state)
{
	struct vh_iotlb_miss miss[4];
	struct vh_req req;

	(void)state;
	begin(8, 0);
	ring_known();
	vht_put(&r, 0, SHIFT + VHT_DATA, 64, 0, 0);
	vht_offer(&r, 0);
	assert_int_equal(vh_queue_pop(r.q, &req, 1), 0);
	assert_int_equal(vh_queue_arm(r.q), VH_QUEUE_SLEEP);
	assert_false(readable());
	assert_int_equal(misses(miss, 4), 1);
	assert_int_equal(vh_iotlb_deny(t, miss[0].iova), 0);
	assert_true(readable());
	vht_expect_break(&r, -EFAULT, VHI_SITE_QUEUE_FAULT);
	end();
}

static void indirect_tables_are_waited_for_and_put_together(void **state)
{
	struct vht_desc *table;
	struct vh_iotlb_miss miss[4];
	struct vh_req req;

	(void)state;
	begin(8, VHT_IND_DESC);
	ring_known();
	put(VHT_DATA, PAGE, RW);
	/* A table across two I/O pages that lie apart and the wrong way round: descriptors 0 and 1 in one, 2 in the other. */
	table = vht_host(&r, VHT_DATA + 8 * PAGE - 32);
	vht_table_set(&table[0], SHIFT + VHT_DATA, 16, VHT_NEXT, 1);
	vht_table_set(&table[1], SHIFT + VHT_DATA + 16, 32, VHT_NEXT | VHT_WRITE, 2);
	table = vht_host(&r, VHT_DATA + 5 * PAGE);
	vht_table_set(&table[0], SHIFT + VHT_DATA + 64, 64, VHT_WRITE, 0);
	put(VHT_DATA + 7 * PAGE, PAGE, VH_MEM_READ);
	vht_put(&r, 0, SHIFT + VHT_DATA + 8 * PAGE - 32, 48, VHT_INDIRECT, 0);
	vht_offer(&r, 0);
	assert_int_equal(vh_queue_pop(r.q, &req, 1), 0);
	assert_int_equal(misses(miss, 4), 1);
	assert_int_equal(miss[0].iova, SHIFT + VHT_DATA + 8 * PAGE);
	assert_int_equal(vh_iotlb_update(t, &(struct vh_iotlb_entry){.iova = SHIFT + VHT_DATA + 8 * PAGE,
								     .len = PAGE,
								     .addr = VHT_DATA + 5 * PAGE,
								     .perm = VH_MEM_READ}),
			 0);
	req = vht_pop1(&r);
	assert_int_equal(req.n_rd, 1);
	assert_int_equal(req.n_wr, 2);
	assert_int_equal(req.wr_len, 96);
	vht_push1(&r, &req, 0);
	assert_int_equal(vh_iotlb_update(t, &(struct vh_iotlb_entry){.iova = SHIFT + VHT_DATA + 8 * PAGE,
								     .len = PAGE,
								     .addr = VHT_DATA + 5 * PAGE,
								     .perm = VH_MEM_WRITE}),
			 0);
	vht_offer(&r, 0);
	vht_expect_break(&r, -EFAULT, VHI_SITE_QUEUE_INDIRECT_FAULT);
	end();
}

static void ring_breaks(uint32_t area, uint64_t iova_off, uint64_t addr, uint32_t perm, int code, uint32_t site)
{
	const uint64_t at[] = {r.opts.desc, r.opts.driver, r.opts.device};
	const struct vh_iotlb_entry e = {
		.iova = SHIFT + at[area] + iova_off, .len = PAGE - iova_off, .addr = addr, .perm = perm};

	ring_known();
	assert_int_equal(vh_iotlb_update(t, &e), 0);
	vht_expect_break(&r, code, site);
	end();
}

static void a_ring_that_cannot_be_used_breaks_it(void **state)
{
	(void)state;
	begin(8, 0);
	ring_breaks(2, 0, VHT_BASE + 0xa0000, VH_MEM_READ, -EFAULT, VHI_SITE_QUEUE_IOTLB_RING);
	begin(8, 0);
	ring_breaks(1, 0, VHT_BASE + 0x80000, VH_MEM_WRITE, -EFAULT, VHI_SITE_QUEUE_IOTLB_RING);
	begin(8, 0);
	ring_breaks(0, 64, VHT_DATA, RW, -EPROTO, VHI_SITE_QUEUE_IOTLB_PIECES);
	begin(8, 0);
	ring_breaks(0, 0, VHT_DATA + 8, RW, -EPROTO, VHI_SITE_QUEUE_IOTLB_ALIGN);
}

static void ring_addresses_are_aligned(void **state)
{
	struct vhi_ring ring;
	struct vh_snapshot *snap;

	(void)state;
	begin(8, 0);
	assert_int_equal(vh_queue_stop(r.q, NULL), 0);
	ring = vht_geometry(&r);
	ring.iotlb = t;
	ring.desc.v += 8;
	snap = vhi_mem_snapshot(r.mem);
	assert_int_equal(vhi_queue_start(r.q, &ring, snap), -EINVAL);
	assert_int_equal(vht_ring_site(), VHI_SITE_QUEUE_ALIGN);
	vhi_snapshot_put(snap);
	end();
}

/* What the slave does for an invalidation. */
static int unmapped(uint64_t gpa, uint64_t len)
{
	const struct vhi_unmapped u = {.n = 1, .ranges = {{(uintptr_t)vht_host(&r, gpa), len}}};

	return vhi_queue_unmapped(r.q, &u);
}

static void take_back(uint64_t gpa, uint64_t len)
{
	assert_int_equal(vh_iotlb_invalidate(t, SHIFT + gpa, len), 0);
	assert_int_equal(vhi_queue_ctl(r.q, VHI_CTL_IOTLB, NULL), 0);
}

static void case_193_requests_that_use_a_range_are_waited_for(void **state)
{
	const struct vhi_unmapped all = {.all = true};
	struct vh_req reqs[3];

	(void)state;
	begin(8, 0);
	ring_known();
	put(VHT_DATA, 8 * PAGE, RW);
	vht_put(&r, 0, SHIFT + VHT_DATA + PAGE, 64, VHT_WRITE, 0);
	vht_put(&r, 1, SHIFT + VHT_DATA + 2 * PAGE, 64, 0, 0);
	vht_offer(&r, 0);
	vht_offer(&r, 1);
	assert_int_equal(vh_queue_pop(r.q, reqs, 2), 2);
	take_back(VHT_DATA, PAGE);
	assert_int_equal(unmapped(VHT_DATA, PAGE), 0);
	assert_int_equal(vhi_queue_unmapped(r.q, &all), 1);
	take_back(VHT_DATA + PAGE, PAGE);
	assert_int_equal(unmapped(VHT_DATA + PAGE, PAGE), 1);
	/* One that is popped now knows already, and is not waited for, though it goes to the same place. */
	vht_put(&r, 2, SHIFT + VHT_DATA + 3 * PAGE, 64, VHT_WRITE, 0);
	vht_offer(&r, 2);
	assert_int_equal(vh_queue_pop(r.q, reqs + 2, 1), 1);
	assert_int_equal(unmapped(VHT_DATA + 3 * PAGE, PAGE), 0);
	vht_push1(&r, &reqs[0], 64);
	assert_int_equal(unmapped(VHT_DATA + PAGE, PAGE), 0);
	assert_int_equal(unmapped(VHT_DATA + 2 * PAGE, PAGE), 1);
	vht_push1(&r, &reqs[1], 0);
	assert_int_equal(vhi_queue_unmapped(r.q, &all), 0);
	/* A device that moved what it was lent: nobody knows where it writes. */
	take_back(VHT_DATA + 5 * PAGE, PAGE);
	assert_int_equal(unmapped(VHT_DATA + 5 * PAGE, PAGE), 0);
	((struct vh_seg *)(uintptr_t)reqs[2].segs)->len = 1;
	assert_int_equal(unmapped(VHT_DATA + 5 * PAGE, PAGE), 1);
	end();
}

static void case_193_a_ring_that_is_taken_back_waits(void **state)
{
	struct vh_iotlb_miss miss[4];
	struct vh_req reqs[2];

	(void)state;
	begin(8, 0);
	ring_known();
	put(VHT_DATA, PAGE, RW);
	vht_put(&r, 0, SHIFT + VHT_DATA, 64, VHT_WRITE, 0);
	vht_put(&r, 1, SHIFT + VHT_DATA, 64, VHT_WRITE, 0);
	vht_offer(&r, 0);
	vht_offer(&r, 1);
	assert_int_equal(vh_queue_pop(r.q, reqs, 1), 1);
	take_back(r.opts.device, PAGE);
	assert_int_equal(unmapped(r.opts.device, PAGE), 1);
	assert_int_equal(vh_queue_pop(r.q, reqs + 1, 1), 0);
	assert_int_equal(vh_queue_arm(r.q), VH_QUEUE_SLEEP);
	/* What is in flight is completed to where the ring was. */
	vht_push1(&r, &reqs[0], 64);
	assert_int_equal(vht_used_idx(&r), 1);
	assert_int_equal(unmapped(r.opts.device, PAGE), 0);
	assert_int_equal(misses(miss, 4), 1);
	assert_int_equal(miss[0].iova, SHIFT + r.opts.device);
	ring_known();
	assert_int_equal(vh_queue_pop(r.q, reqs + 1, 1), 1);
	vht_push1(&r, &reqs[1], 64);
	assert_int_equal(vht_used_idx(&r), 2);
	end();
}

static void a_new_meaning_is_used_at_once(void **state)
{
	struct vh_req req;

	(void)state;
	begin(8, 0);
	ring_known();
	put(VHT_DATA, PAGE, RW);
	vht_put(&r, 0, SHIFT + VHT_DATA, 64, 0, 0);
	vht_offer(&r, 0);
	vht_offer(&r, 0);
	req = vht_pop1(&r);
	vht_push1(&r, &req, 0);
	assert_int_equal(vh_iotlb_update(t, &(struct vh_iotlb_entry){.iova = SHIFT + VHT_DATA,
								     .len = PAGE,
								     .addr = VHT_DATA + PAGE,
								     .perm = RW}),
			 0);
	req = vht_pop1(&r);
	assert_int_equal(((const struct vh_seg *)(uintptr_t)req.segs)->addr, (uintptr_t)vht_host(&r, VHT_DATA + PAGE));
	end();
}

static void memory_that_goes_while_it_is_used_stays_until_then(void **state)
{
	struct vh_region region[2];
	struct vh_req req;

	(void)state;
	begin(8, 0);
	assert_int_equal(vh_mem_alloc(r.mem, 0x40000000, PAGE, 0), 0);
	ring_known();
	assert_int_equal(
		vh_iotlb_update(t,
				&(struct vh_iotlb_entry){.iova = 0x5000, .len = PAGE, .addr = 0x40000000, .perm = RW}),
		0);
	vht_put(&r, 0, 0x5000, 64, VHT_WRITE, 0);
	vht_offer(&r, 0);
	vht_offer(&r, 0);
	req = vht_pop1(&r);
	assert_int_equal(vh_mem_regions(r.mem, region, 2), 2);
	assert_int_equal(vh_mem_remove(r.mem, &region[1]), 0);
	put(VHT_DATA, PAGE, RW);
	/* It can't look at the new table yet, so it takes nothing. */
	assert_int_equal(vh_queue_pop(r.q, &req, 0), 0);
	memset((void *)(uintptr_t)((const struct vh_seg *)(uintptr_t)req.segs)->addr, 0xab, 64);
	vht_push1(&r, &req, 64);
	assert_int_equal(vh_queue_pop(r.q, &req, 1), 0);
	assert_int_equal(stats().in_flight, 0);
	end();
}

static void a_queue_that_stands_alone(void **state)
{
	struct vh_queue_opts driver;
	struct vh_iotlb_miss miss[4];
	struct vh_queue *q;
	struct vh_req req;

	(void)state;
	vht_ring_prepare(&r, 8, 0);
	r.opts.flags = VH_QUEUE_HOLD;
	assert_int_equal(vht_ring_open(&r), 0);
	assert_int_equal(vh_iotlb_new(NULL, r.mem, &t), 0);
	assert_int_equal(vh_queue_set_iotlb(NULL, t), -EINVAL);
	assert_int_equal(vh_queue_set_iotlb(r.q, t), 0);
	/* The IOTLB is the queue's from now on. */
	vh_iotlb_free(vhi_iotlb_get(t));
	assert_int_equal(vh_queue_start(r.q), 0);
	assert_int_equal(vh_queue_set_iotlb(r.q, NULL), -EBUSY);
	assert_int_equal(vh_queue_pop(r.q, &req, 1), 0);
	assert_int_equal(misses(miss, 4), 3);
	assert_int_equal(miss[0].iova, r.opts.desc);
	assert_int_equal(
		vh_iotlb_update(
			t, &(struct vh_iotlb_entry){.iova = VHT_BASE, .len = VHT_SIZE, .addr = VHT_BASE, .perm = RW}),
		0);
	vht_chain(&r, 0, 1, 1);
	req = vht_pop1(&r);
	vht_push1(&r, &req, 64);
	assert_int_equal(vh_queue_stop(r.q, NULL), 0);
	/* Without it, by guest addresses, where it stopped. */
	assert_int_equal(vh_queue_set_iotlb(r.q, NULL), 0);
	assert_int_equal(vh_queue_start(r.q), 0);
	vht_chain(&r, 2, 1, 1);
	req = vht_pop1(&r);
	vht_push1(&r, &req, 64);
	assert_int_equal(vht_used_idx(&r), 2);
	driver = r.opts;
	driver.role = VH_QUEUE_DRIVER;
	assert_int_equal(vh_queue_open(r.mem, &driver, -1, -1, &q), 0);
	assert_int_equal(vh_queue_set_iotlb(q, t), -EINVAL);
	vh_queue_free(q);
	end();
}

static void wake(void *ctx)
{
	(void)ctx;
	wakes++;
}

static void each_push_wakes_who_waits(void **state)
{
	struct vhi_queue_hooks hooks = {.wake = wake};
	struct vhi_ring ring;
	struct vh_snapshot *snap;
	struct vh_req reqs[2];
	struct vh_queue *q;

	(void)state;
	begin(8, 0);
	ring_known();
	put(VHT_DATA, PAGE, RW);
	ring = vht_geometry(&r);
	ring.desc.v += SHIFT;
	ring.driver.v += SHIFT;
	ring.device.v += SHIFT;
	ring.iotlb = t;
	assert_int_equal(vhi_queue_new(0, VH_QUEUE_DEVICE, &hooks, &q), 0);
	snap = vhi_mem_snapshot(r.mem);
	assert_int_equal(vhi_queue_start(q, &ring, snap), 0);
	vhi_snapshot_put(snap);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_ENABLE, NULL), 0);
	vht_put(&r, 0, SHIFT + VHT_DATA, 64, VHT_WRITE, 0);
	vht_put(&r, 1, SHIFT + VHT_DATA, 64, VHT_WRITE, 0);
	vht_offer(&r, 0);
	vht_offer(&r, 1);
	assert_int_equal(vh_queue_pop(q, reqs, 2), 2);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_IOTLB, NULL), 0);
	wakes = 0;
	assert_int_equal(vh_queue_push(q, &(struct vh_cpl){.token = reqs[0].token}, 1), 0);
	assert_int_equal(wakes, 1);
	assert_int_equal(vhi_queue_ctl(q, VHI_CTL_UNWATCH, NULL), 0);
	assert_int_equal(vh_queue_push(q, &(struct vh_cpl){.token = reqs[1].token}, 1), 0);
	assert_int_equal(wakes, 1);
	vhi_queue_destroy(q);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ring_that_is_not_known_is_waited_for),
		cmocka_unit_test(a_ring_that_was_never_found_stops_where_it_began),
		cmocka_unit_test(good_chains_come_before_one_that_waits),
		cmocka_unit_test(case_195_a_write_where_only_reading_is_allowed_breaks_it),
		cmocka_unit_test(what_is_denied_breaks_it),
		cmocka_unit_test(indirect_tables_are_waited_for_and_put_together),
		cmocka_unit_test(a_ring_that_cannot_be_used_breaks_it),
		cmocka_unit_test(ring_addresses_are_aligned),
		cmocka_unit_test(case_193_requests_that_use_a_range_are_waited_for),
		cmocka_unit_test(case_193_a_ring_that_is_taken_back_waits),
		cmocka_unit_test(a_new_meaning_is_used_at_once),
		cmocka_unit_test(memory_that_goes_while_it_is_used_stays_until_then),
		cmocka_unit_test(a_queue_that_stands_alone),
		cmocka_unit_test(each_push_wakes_who_waits),
	};

	return vht_run_layouts(tests);
}
