/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Whatever a driver puts into a ring that can't be: its queue breaks once, everybody who may know is told, nobody asks a
 * broken queue again, the others go on, and the ring is served again after it was stopped, or the device reset.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "vhi_slave.h"
#include "vhi_vring.h"
#include "vht_peer.h"
#include "vht_ring.h"

#define NUM    8u
#define GPA    UINT64_C(0x180000)   /* the memory of the peer, so that VHT_DATA is in the middle of it */
#define BORDER (VHT_DATA + 0x40000) /* between two regions */
#define TABLE  (VHT_DATA + 0x10000)
#define BIG    1024u /* most segments of a chain in a ring that is so small */
#define LONG   (BIG + 1)
#define BOTH   (SPLIT | PACKED)

enum { SPLIT = 1, PACKED = 2 };

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static struct vht_ring rings[2]; /* the one that breaks, and its neighbour */
static struct vht_ring *const r = &rings[0];

static void *host(uint64_t gpa)
{
	return p->mem + (gpa - GPA);
}

/* A descriptor in the ring, offered alone or as the head of what was put before. */
static void put(uint32_t i, uint64_t addr, uint32_t len, uint32_t flags, uint32_t next)
{
	vht_put(r, i, addr, len, flags, next);
}

static void offer_one(uint64_t addr, uint32_t len, uint32_t flags, uint32_t next)
{
	put(0, addr, len, flags, next);
	vht_offer(r, 0);
}

/* A table of readable descriptors of 16 bytes; the flags are of the first one. */
static struct vht_desc *table(uint32_t n, uint32_t first)
{
	struct vht_desc *t = host(TABLE);

	for (uint32_t i = 0; i < n; i++)
		vht_table_set(&t[i], VHT_DATA + 16 * (i % 64), 16, (i ? 0 : first) | (i + 1 < n ? VHT_NEXT : 0), i + 1);
	return t;
}

static void jump(void)
{
	r->next += NUM + 1;
	vht_store16(r->avail, 1, r->next);
}

static void back(void)
{
	r->next--;
	vht_store16(r->avail, 1, r->next);
}

static void outside(void)
{
	vht_offer(r, NUM);
}

static void next_outside(void)
{
	offer_one(VHT_DATA, 16, VHT_NEXT, NUM);
}

static void table_next_outside(void)
{
	table(2, 0)[0].next = 2;
	offer_one(TABLE, 32, VHT_INDIRECT, 0);
}

static void loop(void)
{
	put(1, VHT_DATA, 16, VHT_NEXT, 0);
	offer_one(VHT_DATA, 16, VHT_NEXT, 1);
}

static void empty_loop(void)
{
	offer_one(VHT_DATA, 0, VHT_NEXT, 0);
}

static void table_loop(void)
{
	table(2, 0)[1].flags = VHT_NEXT;
	((struct vht_desc *)host(TABLE))[1].next = 0;
	offer_one(TABLE, 32, VHT_INDIRECT, 0);
}

static void order(void)
{
	put(1, VHT_DATA, 16, 0, 0);
	offer_one(VHT_DATA, 16, VHT_NEXT | VHT_WRITE, 1);
}

static void table_order(void)
{
	table(2, VHT_WRITE);
	offer_one(TABLE, 32, VHT_INDIRECT, 0);
}

static void indirect(void)
{
	table(1, 0);
	offer_one(TABLE, 16, VHT_INDIRECT, 0);
}

static void indirect_next(void)
{
	table(1, 0);
	put(1, VHT_DATA, 16, 0, 0);
	offer_one(TABLE, 16, VHT_INDIRECT | VHT_NEXT, 1);
}

static void nested(void)
{
	table(1, VHT_INDIRECT);
	offer_one(TABLE, 16, VHT_INDIRECT, 0);
}

static void table_empty(void)
{
	offer_one(TABLE, 0, VHT_INDIRECT, 0);
}

static void table_crooked(void)
{
	table(2, 0);
	offer_one(TABLE, 24, VHT_INDIRECT, 0);
}

static void table_big(void)
{
	table(LONG, 0);
	offer_one(TABLE, 16 * LONG, VHT_INDIRECT, 0);
}

static void table_huge(void)
{
	offer_one(TABLE, 0xfffffff0, VHT_INDIRECT, 0);
}

static void table_nowhere(void)
{
	offer_one(0x1000, 16, VHT_INDIRECT, 0);
}

static void table_over_the_end(void)
{
	offer_one(GPA + VHT_MEM_SIZE - 16, 32, VHT_INDIRECT, 0);
}

static void nowhere(void)
{
	offer_one(0x1000, 16, VHT_WRITE, 0);
}

static void over_the_end(void)
{
	offer_one(GPA + VHT_MEM_SIZE - 8, 16, 0, 0);
}

static void around_the_end(void)
{
	offer_one(UINT64_MAX - 7, 16, 0, 0);
}

static void nowhere_later(void)
{
	put(1, 0x1000, 16, VHT_WRITE, 0);
	offer_one(VHT_DATA, 16, VHT_NEXT, 1);
}

/* As many buffers as there may be, and one of them is in two pieces. */
static void pieces(void)
{
	struct vht_desc *t = table(BIG, 0);
	const uint64_t crossing = htole64(BORDER - 8);

	memcpy(&t[BIG - 1], &crossing, sizeof(crossing));
	offer_one(TABLE, 16 * BIG, VHT_INDIRECT, 0);
}

static void again(void)
{
	vht_offer(r, 0);
}

/* Seven are taken: the second of these would be the ninth. */
static void too_many(void)
{
	put(7, VHT_DATA, 16, VHT_NEXT, 6);
	put(6, VHT_DATA, 16, 0, 0);
	vht_offer(r, 7);
}

static void mixed(void)
{
	table(1, 0);
	put(1, TABLE, 16, VHT_INDIRECT, 0);
	offer_one(VHT_DATA, 16, VHT_NEXT, 1);
}

#define SITE(name) VHI_SITE_QUEUE_##name

static const struct row {
	const char *name;
	void (*spoil)(void);
	uint32_t layouts, site;
	int32_t code;
	uint32_t hold;	  /* requests of one descriptor that the device has while it happens */
	bool no_indirect; /* INDIRECT_DESC was not negotiated */
} rows[] = {
	{"available index too far ahead", jump, SPLIT, SITE(AVAIL_JUMP), -EPROTO, 0, false},
	{"available index that goes back", back, SPLIT, SITE(AVAIL_JUMP), -EPROTO, 0, false},
	{"head outside", outside, SPLIT, SITE(HEAD), -EPROTO, 0, false},
	{"head in flight", again, SPLIT, SITE(HEAD_BUSY), -EPROTO, 1, false},
	{"next outside", next_outside, SPLIT, SITE(NEXT), -EPROTO, 0, false},
	{"next outside its table", table_next_outside, SPLIT, SITE(NEXT), -EPROTO, 0, false},
	{"loop", loop, SPLIT, SITE(LOOP), -EPROTO, 0, false},
	{"loop of nothing", empty_loop, SPLIT, SITE(LOOP), -EPROTO, 0, false},
	{"loop in a table", table_loop, SPLIT, SITE(LOOP), -EPROTO, 0, false},
	{"chain without an end", loop, PACKED, SITE(OVERRUN), -EPROTO, 0, false},
	{"chain of nothing without an end", empty_loop, PACKED, SITE(OVERRUN), -EPROTO, 0, false},
	{"chain into what is in flight", too_many, PACKED, SITE(OVERRUN), -EPROTO, 7, false},
	{"readable after writable", order, BOTH, SITE(ORDER), -EPROTO, 0, false},
	{"readable after writable in a table", table_order, BOTH, SITE(ORDER), -EPROTO, 0, false},
	{"indirect unasked", indirect, BOTH, SITE(INDIRECT_OFF), -EPROTO, 0, true},
	{"indirect and next", indirect_next, BOTH, SITE(INDIRECT_NEXT), -EPROTO, 0, false},
	{"table in a table", nested, BOTH, SITE(INDIRECT_NESTED), -EPROTO, 0, false},
	{"empty table", table_empty, BOTH, SITE(INDIRECT_LEN), -EPROTO, 0, false},
	{"table of one and a half", table_crooked, BOTH, SITE(INDIRECT_LEN), -EPROTO, 0, false},
	{"table that is too long", table_big, BOTH, SITE(INDIRECT_BIG), -EPROTO, 0, false},
	{"table of nearly 4 GiB", table_huge, BOTH, SITE(INDIRECT_BIG), -EPROTO, 0, false},
	{"table nowhere", table_nowhere, BOTH, SITE(INDIRECT_FAULT), -EFAULT, 0, false},
	{"table over the end", table_over_the_end, BOTH, SITE(INDIRECT_FAULT), -EFAULT, 0, false},
	{"buffer nowhere", nowhere, BOTH, SITE(FAULT), -EFAULT, 0, false},
	{"buffer over the end", over_the_end, BOTH, SITE(FAULT), -EFAULT, 0, false},
	{"buffer around the end of addresses", around_the_end, BOTH, SITE(FAULT), -EFAULT, 0, false},
	{"second buffer nowhere", nowhere_later, BOTH, SITE(FAULT), -EFAULT, 0, false},
	{"too many pieces", pieces, BOTH, SITE(SEGS), -EPROTO, 0, false},
	{"id outside", outside, PACKED, SITE(ID), -EPROTO, 0, false},
	{"id in flight", again, PACKED, SITE(ID_BUSY), -EPROTO, 1, false},
	{"table after a buffer", mixed, PACKED, SITE(INDIRECT_MIXED), -EPROTO, 0, false},
};

/* Device side, what a driver writes: all of sites.def between these, but the one about memory that is gone. */
static void every_way_to_break_a_queue_has_a_row(void **state)
{
	static const uint32_t sites[] = {
#define VHI_SITE(name, number, text) number,
#include "../../src/queue/sites.def"
#undef VHI_SITE
	};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(sites); i++) {
		bool found = sites[i] < SITE(AVAIL_JUMP) || sites[i] >= SITE(USED_JUMP) || sites[i] == SITE(POISONED);

		for (size_t k = 0; k < VHI_ARRAY_SIZE(rows); k++)
			found = found || rows[k].site == sites[i];
		if (!found)
			print_error("site %u\n", sites[i]);
		assert_true(found);
	}
}

/* A driver over the memory of the peer, for the ring that vht_ring_up() tells. */
static void driver_up(uint32_t i)
{
	struct vht_ring *d = &rings[i];
	struct vht_vq *vq = &p->vq[i];
	uint8_t *desc = p->mem + vq->desc;

	vq->num = NUM;
	vq->base = (uint16_t)(vht_layout ? VHT_WRAP : 0);
	memset(d, 0, sizeof(*d));
	d->opts.num = NUM;
	d->opts.features = vht_layout;
	d->opts.base = vht_layout ? VHT_WRAP | VHT_WRAP << 16 : 0;
	d->avail = (struct vht_u16s *)(void *)(p->mem + vq->avail);
	d->used = (struct vht_u16s *)(void *)(p->mem + vq->used);
	d->desc = (struct vht_desc *)(void *)desc;
	if (vht_layout) {
		d->desc = calloc(NUM, sizeof(*d->desc));
		d->packed.ring = (struct vht_pdesc *)(void *)desc;
		d->packed.n_desc = calloc(UINT16_MAX + 1u, sizeof(*d->packed.n_desc));
		d->packed.log = calloc(UINT16_MAX + 1u, sizeof(*d->packed.log));
		assert_true(d->desc && d->packed.n_desc && d->packed.log);
	}
	vht_ring_reset(d);
}

static void driver_down(uint32_t i)
{
	if (!vht_layout)
		return;
	free(rings[i].desc);
	free(rings[i].packed.n_desc);
	free(rings[i].packed.log);
}

static void ring_up(uint32_t i)
{
	vht_ring_up(p, i);
	vht_set_err(p, i);
	vht_ok_state(p, M_SET_VRING_ENABLE, i, 1);
}

static void up(const struct row *row)
{
	const uint64_t table_of_two[] = {VHT_PAIR(2, 0),
					 GPA,
					 BORDER - GPA,
					 VHT_MEM_UVA,
					 0,
					 BORDER,
					 GPA + VHT_MEM_SIZE - BORDER,
					 VHT_MEM_UVA + (BORDER - GPA),
					 BORDER - GPA};
	const int fds[] = {p->memfd, p->memfd};

	vht_negotiate(p, VHT_BIT30 | VHT_VERSION | vht_layout | (row->no_indirect ? 0 : VHT_IND_DESC));
	vht_send(p->fd, M_SET_MEM_TABLE, F_NEED_REPLY, table_of_two, sizeof(table_of_two), fds, 2);
	vht_expect_u64(p, M_SET_MEM_TABLE, 0);
	for (uint32_t i = 0; i < 2; i++) {
		driver_up(i);
		ring_up(i);
	}
}

static void kicked(uint32_t i)
{
	vht_kick(p, i);
	vht_pump(p);
}

/* One request of two descriptors, done. */
static void served(uint32_t i)
{
	const uint16_t before = vht_used_idx(&rings[i]);

	memset(host(VHT_DATA), 0x40 + before % 32, 64);
	memset(host(VHT_DATA + 64), 0, 64);
	vht_chain(&rings[i], 0, 1, 1);
	kicked(i);
	assert_int_equal((uint16_t)(vht_used_idx(&rings[i]) - before), 1);
	assert_int_equal(vht_used_id(&rings[i], before), 0);
	assert_int_equal(vht_used_len(&rings[i], before), 64);
	assert_memory_equal(host(VHT_DATA), host(VHT_DATA + 64), 64);
}

static void expect_status(uint64_t status)
{
	vht_msg(p, M_GET_STATUS, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_GET_STATUS, status);
}

static void held(uint32_t n)
{
	p->echo.hold = n;
	for (uint32_t i = 0; i < n; i++)
		vht_chain(r, i, 1, 0);
	if (n)
		kicked(0);
	assert_int_equal(p->echo.n_held, n);
	p->echo.hold = false;
}

/* It is told once, and to everybody. */
static void breaks(const struct row *row)
{
	struct vh_event e;

	row->spoil();
	kicked(0);
	e = vht_event(p, VH_EVENT_BROKEN);
	assert_int_equal(e.queue, 0);
	assert_int_equal(e.reason, row->code);
	assert_int_equal(e.value, row->site);
	assert_true(vht_no_event(p, VH_EVENT_BROKEN));
	assert_int_equal(vht_count(p->vq[0].err), 1);
	assert_int_equal(vht_count(p->vq[1].err), 0);
	expect_status(VHI_STATUS_NEEDS_RESET);
}

/* Kicks come, other queues are busy: the device is not asked, and who pops is told the same again. */
static void stays_broken(const struct row *row, uint16_t used)
{
	struct vh_queue *q = p->echo.queues[0];
	struct vh_queue_stats stats = {.size = sizeof(stats)};
	struct vh_req req;
	uint32_t batches, rung = 0;

	assert_int_equal(vh_queue_state(q), VH_QUEUE_BROKEN);
	served(1);
	batches = p->echo.batches;
	for (uint32_t i = 0; i < 3; i++) {
		vht_kick(p, 0);
		/* Not a pump, which would stop to look after many rounds: there is nothing to do but the kick. */
		for (uint32_t k = 0; k < 3; k++)
			rung += vh_slave_dispatch(p->s) == 1;
		assert_int_equal(vh_queue_pop(q, &req, 1), row->code);
		assert_int_equal(vht_ring_site(), row->site);
	}
	assert_int_equal(rung, 0);
	vht_pump(p);
	assert_int_equal(p->echo.batches, batches);
	assert_int_equal(vh_queue_get_stats(q, &stats), 0);
	assert_int_equal(stats.broken_site, row->site);
	assert_int_equal(vht_count(p->vq[0].err), 0);
	assert_true(vht_no_event(p, VH_EVENT_BROKEN));
	assert_int_equal(vht_used_idx(r), used);
	served(1);
}

/* What it took is not published any more, and doesn't keep the ring from being stopped. */
static void ended(uint32_t n)
{
	assert_int_equal(vht_push_held(p), n ? -EPROTO : 0);
}

static void stop(const struct row *row, uint32_t base)
{
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	if (row->hold) {
		vht_expect_silence(p);
		ended(row->hold);
	}
	vht_expect(p, M_GET_VRING_BASE);
	assert_int_equal(vht_u32(&p->reply, 0), 0);
	assert_int_equal(vht_u32(&p->reply, 4), base);
	/* That another one may need a reset is not this ring's to take back; the driver's reset is. */
	expect_status(VHI_STATUS_NEEDS_RESET);
	vht_ok_u64(p, M_SET_STATUS, 0);
	expect_status(0);
}

static void reset(const struct row *row)
{
	vht_msg(p, M_RESET_DEVICE, F_NEED_REPLY, NULL, 0, -1);
	if (row->hold) {
		vht_expect_silence(p);
		ended(row->hold);
	}
	vht_expect_u64(p, M_RESET_DEVICE, 0);
	expect_status(0);
	vht_ring_reset(&rings[1]);
	ring_up(1);
}

static void run(const struct row *row)
{
	uint32_t base;

	vht_peer_init(p, NULL, NULL, 0);
	up(row);
	for (uint32_t round = 0; round < 4; round++) {
		served(0);
		held(row->hold);
		base = vht_base(r, vht_layout ? 2 : 1); /* what was held is not done */
		breaks(row);
		stays_broken(row, 1);
		if (round % 2)
			reset(row);
		else
			stop(row, base);
		vht_ring_reset(r);
		ring_up(0);
		for (uint32_t i = 0; i < 2 * NUM; i++)
			served(0);
		assert_true(vht_no_event(p, VH_EVENT_BROKEN));
		assert_int_equal(vht_count(p->vq[0].err), 0);
		/* From the beginning, for the next round. */
		vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
		vht_expect(p, M_GET_VRING_BASE);
		vht_ring_reset(r);
		ring_up(0);
	}
	driver_down(0);
	driver_down(1);
	vht_peer_free(p);
}

static void a_broken_ring_is_told_once_and_is_served_again_after_a_reset(void **state)
{
	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(rows); i++) {
		if (!(rows[i].layouts & vht_either(SPLIT, PACKED)))
			continue;
		print_message("%s\n", rows[i].name);
		run(&rows[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_to_break_a_queue_has_a_row),
		cmocka_unit_test(a_broken_ring_is_told_once_and_is_served_again_after_a_reset),
	};

	return vht_run_layouts(tests);
}
