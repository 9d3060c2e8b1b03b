/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Requests to the block device in memory: whatever they are, each is answered with a status that exists. */
#include <errno.h>

#include "ringside.h"
#include "vhi_device.h"
#include "vhi_mem.h"
#include "vhi_queue.h"

#define STEPS	 200
#define CAPACITY 16384u

struct test {
	struct guest g;
	struct vh_device *dev;
	struct vh_queue *q;
	uint16_t used;
};

typedef void step(struct test *t, struct input *in);

static void answered(struct test *t)
{
	struct vh_queue_stats st = {.size = sizeof(st)};

	CHECK(!vh_queue_get_stats(t->q, &st));
	CHECK(!st.in_flight);
	t->used = guest_u16(&t->g, GUEST_USED + 2);
}

static void step_batch(struct test *t, struct input *in)
{
	uint32_t budget = in_u8(in) + 1u;
	int rc = t->dev->ops.on_batch(t->dev->ctx, t->q, 0, budget);

	CHECK(rc >= 0 || vh_queue_state(t->q) == VH_QUEUE_BROKEN);
	answered(t);
}

static void header(struct test *t, uint64_t at, struct input *in)
{
	static const uint32_t types[] = {
		VH_BLK_READ, VH_BLK_WRITE, VH_BLK_FLUSH, VH_BLK_GET_ID, VH_BLK_DISCARD, VH_BLK_WRITE_ZEROES, 2, 99};
	uint8_t type = in_u8(in), sector = in_u8(in);
	uint32_t head[2] = {types[type % 8], type >> 7};
	uint64_t s = sector < 248 ? sector : in_u64(in);

	guest_write(&t->g, at, head, sizeof(head));
	guest_write(&t->g, at + 8, &s, sizeof(s));
}

/* Where discard and write-zeroes say what: sector, sectors, flags. */
static void range(struct test *t, uint64_t at, struct input *in)
{
	uint8_t sector = in_u8(in), n = in_u8(in), flags = in_u8(in);
	uint64_t s = sector < 250 ? sector : in_u64(in);
	const uint32_t tail[2] = {n < 250 ? n : in_u32(in), flags < 128 ? flags & 1u : flags};

	guest_write(&t->g, at, &s, sizeof(s));
	guest_write(&t->g, at + 8, tail, sizeof(tail));
}

/*
 * A header at the beginning of the buffers, a range behind it, and a chain over all that is cut into pieces as the
 * input says; so header, data and status may lie in several pieces and regions, or overlap.
 */
static void step_request(struct test *t, struct input *in)
{
	uint8_t start = in_u8(in);
	uint64_t at = GUEST_DATA + 16u * (start & 15u);

	header(t, at, in);
	if (start & 16)
		range(t, at + 16, in);
	guest_chain_from(&t->g, in);
}

/* Header, data of some sectors, status: what a driver sends. */
static void step_good(struct test *t, struct input *in)
{
	uint8_t where = in_u8(in), type = in_u8(in), n = in_u8(in);
	uint32_t head = where % t->g.num, len = n & 128 ? n : 512u * (n & 31u);
	bool reads = !(type & 1);
	uint32_t words[2] = {reads ? VH_BLK_READ : VH_BLK_WRITE, 0};
	uint64_t sector = type >> 1, hdr = GUEST_TABLES + 16u * (where & 7u);

	guest_write(&t->g, hdr, words, sizeof(words));
	guest_write(&t->g, hdr + 8, &sector, sizeof(sector));
	guest_desc(&t->g, GUEST_DESC, head, hdr, 16, D_NEXT, (head + 1) % t->g.num);
	guest_desc(&t->g, GUEST_DESC, (head + 1) % t->g.num, GUEST_DATA + 64u * where, len,
		   D_NEXT | (reads ? D_WRITE : 0), (head + 2) % t->g.num);
	guest_desc(&t->g, GUEST_DESC, (head + 2) % t->g.num, GUEST_TABLES + 0x100, 1, D_WRITE, 0);
	guest_offer(&t->g, (uint16_t)head);
}

/* One well-formed request with its status looked at. */
static void step_status(struct test *t, struct input *in)
{
	uint64_t status = GUEST_TABLES + 0x100;
	uint8_t byte = 0xee;

	step_batch(t, in);
	guest_write(&t->g, status, &byte, 1);
	step_good(t, in);
	if (t->g.num < 4 || vh_queue_state(t->q) == VH_QUEUE_BROKEN ||
	    guest_u16(&t->g, GUEST_AVAIL + 2) != t->used + 1u)
		return;
	step_batch(t, in);
	if (vh_queue_state(t->q) != VH_QUEUE_BROKEN)
		CHECK(*guest_at(&t->g, status, 1) <= 2);
}

static void step_desc(struct test *t, struct input *in)
{
	guest_desc_from(&t->g, GUEST_DESC, in_u8(in) % t->g.num, in);
}

static void step_offer(struct test *t, struct input *in)
{
	guest_offer(&t->g, in_u8(in));
}

static void step_config(struct test *t, struct input *in)
{
	uint8_t buf[256];
	uint32_t offset = in_u16(in) & 511u, len = (in_u8(in) & 255u) + 1;
	int rc = t->dev->ops.get_config(t->dev->ctx, offset, buf, len, 0);

	CHECK((rc == 0) == (offset + len <= 256));
	CHECK(t->dev->ops.set_config(t->dev->ctx, offset, buf, len, 0, 0) == rc);
}

static void step_features(struct test *t, struct input *in)
{
	uint8_t what = in_u8(in);

	if (what & 1)
		CHECK(!t->dev->ops.reset(t->dev->ctx, 0));
	else
		CHECK(!t->dev->ops.set_features(t->dev->ctx, (uint64_t)what << 8, 0));
}

static step *const steps[] = {step_batch, step_request, step_good,     step_desc,
			      step_offer, step_config,	step_features, step_status};

static void open_device(struct test *t, uint8_t options)
{
	const struct vh_blkdev_opts opts = {.size = sizeof(opts),
					    .kind = options & 8 ? VH_BLKDEV_NULL : VH_BLKDEV_RAM,
					    .capacity = CAPACITY,
					    .flags = options & 4 ? VH_BLKDEV_READONLY : 0,
					    .serial = "0123456789abcdefghi"};
	struct vh_snapshot *snap = vhi_mem_snapshot(t->g.mem);
	struct vhi_ring ring = {.num = t->g.num, .desc = {GUEST_DESC}, .driver = {GUEST_AVAIL}, .device = {GUEST_USED}};

	ring.features = options & 1 ? UINT64_C(1) << VH_F_RING_INDIRECT_DESC : 0;
	CHECK(!vh_blkdev_new(&opts, -1, &t->dev));
	CHECK(!vhi_queue_new(0, VH_QUEUE_DEVICE, NULL, &t->q));
	CHECK(!vhi_queue_start(t->q, &ring, snap));
	CHECK(!vhi_queue_ctl(t->q, VHI_CTL_ENABLE, NULL));
	vh_snapshot_free(snap);
	t->dev->ops.queue_started(t->dev->ctx, t->q, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct test t;
	struct input in = {data, size};
	uint8_t options = in_u8(&in);

	kern_reset();
	memset(&t, 0, sizeof(t));
	guest_open(&t.g, (options >> 6) & 3, options & 2 ? 4 : 32, false);
	open_device(&t, options);
	for (int i = 0; i < STEPS && in.left; i++)
		steps[in_u8(&in) % 8](&t, &in);
	step_batch(&t, &in);
	vhi_queue_ctl(t.q, VHI_CTL_ABORT, NULL);
	t.dev->ops.queue_stopped(t.dev->ctx, t.q, 0);
	vhi_queue_destroy(t.q);
	vh_device_free(t.dev);
	guest_close(&t.g);
	return 0;
}
