/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Inflight records that somebody else wrote: a device that crashes after any step, and finds in them what it left, or what
 * the input made of it. Both layouts of a ring.
 */
#include <errno.h>

#include "ringside.h"
#include "segs.h"
#include "vhi_queue.h"

#define STEPS	     200
#define RECORDS_SIZE 0x4000u

struct test {
	struct guest g;
	struct vh_queue *q;
	struct vh_queue_opts opts;
	struct vh_inflight in;
	int records;
	uint32_t n;
	struct vh_req flights[GUEST_MAX_NUM];
};

typedef void step(struct test *t, struct input *in);

/* The next process. Where it can't make sense of the records it gets new ones, as from a front-end that begins anew. */
static void open_queue(struct test *t)
{
	int rc;

	CHECK(!vh_queue_open(t->g.mem, &t->opts, -1, -1, &t->q));
	CHECK(!vh_queue_set_inflight(t->q, &t->in, t->records));
	rc = vh_queue_start(t->q);
	CHECK(!rc || rc == -EINVAL);
	if (rc) {
		memset(kern_view(t->records), 0, RECORDS_SIZE);
		CHECK(!vh_queue_start(t->q));
	}
	t->n = 0;
}

static void step_crash(struct test *t, struct input *in)
{
	(void)in;
	vh_queue_free(t->q);
	open_queue(t);
}

static void step_pop(struct test *t, struct input *in)
{
	struct vh_req reqs[GUEST_MAX_NUM];
	const uint32_t max = in_u8(in) % (GUEST_MAX_NUM + 1);
	const int n = vh_queue_pop(t->q, reqs, max);
	bool fresh = false;

	CHECK(n <= (int)max);
	CHECK(n >= 0 || vh_queue_state(t->q) == VH_QUEUE_BROKEN);
	for (int i = 0; i < n; i++) {
		CHECK(t->n < t->opts.num);
		for (uint32_t j = 0; j < t->n; j++)
			CHECK(t->flights[j].token != reqs[i].token);
		/* What was in flight comes first. */
		CHECK(!fresh || !(reqs[i].flags & VH_REQ_RESUBMITTED));
		fresh = !(reqs[i].flags & VH_REQ_RESUBMITTED);
		segs_touch(t->q, &reqs[i]);
		t->flights[t->n++] = reqs[i];
	}
}

static void step_push(struct test *t, struct input *in)
{
	const uint32_t n = in_u8(in) % 4 + 1;
	struct vh_cpl cpls[4];
	uint32_t k = 0;

	for (; k < n && t->n; k++) {
		const uint32_t which = in_u8(in) % t->n;

		cpls[k] = (struct vh_cpl){.token = t->flights[which].token, .written = 1};
		memmove(&t->flights[which], &t->flights[which + 1], (t->n - which - 1) * sizeof(t->flights[0]));
		t->n--;
	}
	if (k)
		CHECK(!vh_queue_push(t->q, cpls, k) || vh_queue_state(t->q) == VH_QUEUE_BROKEN);
}

static void step_unpop(struct test *t, struct input *in)
{
	const uint32_t n = in_u8(in) % 4;
	const int rc = vh_queue_unpop(t->q, n);

	CHECK(!rc || rc == -EINVAL);
	CHECK(rc || n <= t->n);
	t->n -= rc ? 0 : n;
}

/* A field of the head, or of an entry, of 1, 2 or 8 bytes. */
static void step_write(struct test *t, struct input *in)
{
	const uint8_t what = in_u8(in);
	const uint32_t head = t->g.packed ? 32 : 16, entry = t->g.packed ? 32 : 16;
	uint32_t at = what & 31u, n = what & 32 ? 1 : what & 64 ? 8 : 2;
	uint64_t value = n == 8 ? in_u64(in) : n == 2 ? in_u16(in) : in_u8(in);

	if (what & 128)
		at = head + entry * (in_u8(in) % t->in.queue_size) + at % entry;
	memcpy(kern_view(t->records) + at, &value, n);
}

/* As the ring would be, had the device come further, or not so far. */
static void step_used(struct test *t, struct input *in)
{
	const uint16_t value = in_u8(in);
	const uint64_t at = t->g.packed ? GUEST_DESC + 16 * (value & 0x7fu) + 14 : GUEST_USED + 2;
	const uint16_t flags = value & 128 ? D_USED : D_AVAIL;

	guest_write(&t->g, at, t->g.packed ? &flags : &value, 2);
}

static void step_chain(struct test *t, struct input *in)
{
	guest_chain_from(&t->g, in);
}

static void step_poke(struct test *t, struct input *in)
{
	guest_poke_from(&t->g, in);
}

static step *const steps[] = {step_chain, step_chain, step_pop,	  step_push, step_crash, step_crash,
			      step_write, step_write, step_write, step_used, step_unpop, step_poke,
			      step_pop,	  step_push,  step_crash, step_write};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct test t;
	struct input in = {data, size};
	const uint8_t options = in_u8(&in), more = in_u8(&in);
	const bool packed = options & 1;
	uint64_t features = packed ? UINT64_C(1) << VH_F_RING_PACKED : 0;

	kern_reset();
	memset(&t, 0, sizeof(t));
	features |= options & 2 ? UINT64_C(1) << VH_F_RING_INDIRECT_DESC : 0;
	features |= options & 32 ? UINT64_C(1) << VH_F_IN_ORDER : 0;
	guest_open(&t.g, (options >> 6) & 3, packed ? guest_packed_num(options >> 2) : 1u << ((options >> 2) & 7),
		   packed);
	t.opts = (struct vh_queue_opts){.size = sizeof(t.opts),
					.role = VH_QUEUE_DEVICE,
					.flags = VH_QUEUE_HOLD,
					.num = t.g.num,
					.features = features,
					.desc = GUEST_DESC,
					.driver = GUEST_AVAIL,
					.device = GUEST_USED,
					.base = vhi_ring_first_base(features)};
	t.in = (struct vh_inflight){
		.size = sizeof(t.in), .num_queues = 1, .queue_size = t.g.num + (more & 3u), .mmap_size = RECORDS_SIZE};
	t.records = kern_open(KERN_MEMFD, RECORDS_SIZE);
	open_queue(&t);
	for (int i = 0; i < STEPS && in.left; i++)
		steps[in_u8(&in) % 16](&t, &in);
	vh_queue_free(t.q);
	kern_close(t.records);
	guest_close(&t.g);
	return 0;
}
