/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The driver side of a ring against a device that writes what it likes, everywhere in the shared memory. */
#include <errno.h>

#include "ring_targets.h"
#include "ringside.h"
#include "vhi_mem.h"
#include "vhi_queue.h"

#define STEPS	   300
#define MAX_FLIGHT GUEST_MAX_NUM

struct flight {
	uint64_t cookie;
	uint64_t wr_len;
};

struct test {
	struct guest g;
	struct vh_queue *q;
	struct vhi_ring ring;
	uint64_t cookie;
	uint32_t n;
	struct flight flights[MAX_FLIGHT];
	uint16_t seen, used; /* a device's: index or position of the next request, of the next completion */
};

typedef void step(struct test *t, struct input *in);

static uint64_t host(struct test *t, uint64_t gpa)
{
	struct vh_snapshot *snap = vhi_mem_snapshot(t->g.mem);
	const struct vhi_region *r = vhi_find(snap, (struct vhi_gpa){gpa});
	uint64_t at = r ? (uint64_t)(uintptr_t)r->host + (gpa - r->gpa.v) : gpa;

	vh_snapshot_free(snap);
	return at;
}

static void step_submit(struct test *t, struct input *in)
{
	static struct vh_seg segs[4][40];
	struct vh_req reqs[4] = {{0}};
	uint32_t n = in_u8(in) % 5;
	int rc;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t shape = in_u8(in), split = in_u8(in);
		uint32_t k = shape % 40u;
		uint64_t wr = 0;

		reqs[i].segs = (uint64_t)(uintptr_t)segs[i];
		reqs[i].user = t->cookie + i;
		reqs[i].n_rd = split < k ? split : k;
		reqs[i].n_wr = split == 255 ? UINT32_MAX : k - reqs[i].n_rd;
		if (split == 255)
			reqs[i].n_rd = k = 0;
		for (uint32_t j = 0; j < k; j++) {
			segs[i][j].addr = host(t, GUEST + ((uint64_t)in_u8(in) << 9));
			segs[i][j].len = shape & 128 ? in_u16(in) : in_u8(in) + 1u;
			wr += j >= reqs[i].n_rd ? segs[i][j].len : 0;
		}
		reqs[i].wr_len = wr;
	}
	rc = vh_queue_submit(t->q, reqs, n);
	CHECK(rc <= (int)n);
	for (int i = 0; i < rc; i++) {
		CHECK(t->n < t->g.num);
		t->flights[t->n++] = (struct flight){t->cookie + (uint64_t)i, reqs[i].wr_len};
	}
	t->cookie += n;
}

static void step_reap(struct test *t, struct input *in)
{
	struct vh_cpl cpls[GUEST_MAX_NUM];
	uint32_t max = in_u8(in) % (GUEST_MAX_NUM + 1);
	int n = vh_queue_reap(t->q, cpls, max);

	CHECK(n <= (int)max);
	if (n < 0)
		CHECK(vh_queue_state(t->q) == VH_QUEUE_BROKEN);
	for (int i = 0; i < n; i++) {
		uint32_t j = 0;

		while (j < t->n && t->flights[j].cookie != cpls[i].token)
			j++;
		CHECK(j < t->n && cpls[i].written <= t->flights[j].wr_len);
		t->flights[j] = t->flights[--t->n];
	}
}

static void complete(struct test *t, uint32_t id, uint32_t len)
{
	const uint32_t elem[2] = {id, len};

	guest_write(&t->g, GUEST_USED + 4 + 8ull * (t->used % t->g.num), elem, sizeof(elem));
	t->used++;
	guest_write(&t->g, GUEST_USED + 2, &t->used, 2);
}

static void complete_packed(struct test *t, uint32_t id, uint32_t len, uint32_t n_desc)
{
	const uint64_t at = GUEST_DESC + 16u * (t->used & 0x7fffu);
	const uint16_t tail[2] = {(uint16_t)id, (uint16_t)(guest_marks(t->used, true) | (len ? D_WRITE : 0))};

	guest_write(&t->g, at + 8, &len, sizeof(len));
	guest_write(&t->g, at + 12, tail, sizeof(tail));
	for (; n_desc; n_desc--)
		t->used = guest_step(&t->g, t->used);
}

/* The chain that is next in a packed ring: how many descriptors, and its id. 0 = it is not available. */
static uint32_t look(struct test *t, uint16_t *id)
{
	uint32_t n = 0;

	for (;;) {
		const uint64_t at = GUEST_DESC + 16u * (t->seen & 0x7fffu);
		const uint16_t flags = guest_u16(&t->g, at + 14);

		if (!n && (flags & (D_AVAIL | D_USED)) != guest_marks(t->seen, false))
			return 0;
		*id = guest_u16(&t->g, at + 12);
		t->seen = guest_step(&t->g, t->seen);
		n++;
		if (!(flags & D_NEXT) || n == t->g.num)
			return n;
	}
}

/* As a device would, in order: what the ring says. */
static void step_complete(struct test *t, struct input *in)
{
	uint8_t n = in_u8(in) % 16;
	uint32_t len = in_u8(in), n_desc;
	uint16_t id;

	len = len == 255 ? UINT32_MAX : len;
	for (; n; n--) {
		if (t->g.packed) {
			n_desc = look(t, &id);
			if (n_desc)
				complete_packed(t, id, len, n_desc);
		} else {
			complete(t, guest_u16(&t->g, GUEST_AVAIL + 4 + 2ull * (t->seen % t->g.num)), len);
			t->seen++;
		}
	}
}

static void step_lie(struct test *t, struct input *in)
{
	uint8_t id = in_u8(in);
	uint32_t value = id == 255 ? in_u32(in) : id;
	uint16_t len = in_u16(in);

	if (t->g.packed)
		complete_packed(t, value, len, 1 + (len & 3u));
	else
		complete(t, value, len);
}

static void step_index(struct test *t, struct input *in)
{
	t->used = in_u16(in);
	if (t->g.packed)
		t->used = (uint16_t)((t->used & 0x8000u) | (t->used & 0x7fffu) % t->g.num);
	else
		guest_write(&t->g, GUEST_USED + 2, &t->used, 2);
}

static void step_poke(struct test *t, struct input *in)
{
	guest_poke_from(&t->g, in);
}

static void step_arm(struct test *t, struct input *in)
{
	if (in_u8(in) & 1)
		vh_queue_arm(t->q);
	else
		vh_queue_disarm(t->q);
}

static void step_call(struct test *t, struct input *in)
{
	static const enum kern_kind kinds[] = {KERN_EVENTFD, KERN_EVENTFD_SEM, KERN_EVENTFD_FULL, KERN_EVENTFD_BLOCK,
					       KERN_PIPE,    KERN_TIMER,       KERN_MEMFD,	  KERN_NONE};
	uint8_t what = in_u8(in);

	CHECK(vh_queue_fd(t->q) >= 0);
	vhi_queue_set_fd(t->q, what & 1 ? VHI_QUEUE_CALL : VHI_QUEUE_KICK, kern_open(kinds[(what >> 1) % 8], 4096));
	vhi_queue_ack(t->q);
}

static void step_memory(struct test *t, struct input *in)
{
	struct vh_snapshot *snap;

	if (guest_toggle(&t->g, in_u8(in)))
		return;
	snap = vhi_mem_snapshot(t->g.mem);
	vhi_queue_ctl(t->q, VHI_CTL_SNAPSHOT, snap);
	vh_snapshot_free(snap);
}

static void start(struct test *t, bool fresh)
{
	struct vh_snapshot *snap = vhi_mem_snapshot(t->g.mem);

	t->ring.fresh = fresh;
	CHECK(!vhi_queue_start(t->q, &t->ring, snap));
	vh_snapshot_free(snap);
	if (fresh) {
		t->n = 0;
		t->seen = t->used = (uint16_t)t->ring.base;
	}
}

/* For a device that comes after this one: what it had not completed is available again. */
static void again(struct test *t)
{
	uint32_t base = 0;
	const int rc = vhi_queue_again(t->q, &base);

	CHECK(!rc || rc == -EPROTO);
	if (rc)
		return;
	CHECK(vhi_ring_base_fits(t->g.num, t->ring.features, base));
	t->seen = t->used = (uint16_t)base;
}

/* Keeps what is in flight, or begins from nothing. */
static void step_restart(struct test *t, struct input *in)
{
	uint8_t how = in_u8(in);
	uint32_t base = 0;

	if (how & 4) {
		if (t->ring.keep)
			again(t);
		return;
	}
	CHECK(vhi_queue_progress(t->q, &base) <= (int)t->n);
	CHECK(vhi_ring_base_fits(t->g.num, t->ring.features, base));
	vhi_queue_ctl(t->q, how & 1 ? VHI_CTL_DRAIN : VHI_CTL_ABORT, NULL);
	CHECK(!vhi_queue_finish_stop(t->q, &base));
	t->ring.base = base;
	if (how & 2)
		base = in_u16(in);
	if (t->g.packed)
		base |= base << 16;
	if (how & 2 && vhi_ring_base_fits(t->g.num, t->ring.features, base))
		t->ring.base = base;
	start(t, !(how & 1));
}

static void step_stats(struct test *t, struct input *in)
{
	struct vh_queue_stats st = {.size = sizeof(st)};

	(void)in;
	CHECK(!vh_queue_get_stats(t->q, &st) && st.in_flight == t->n);
}

static step *const steps[] = {step_submit, step_reap,	  step_complete, step_lie,     step_index, step_poke,
			      step_arm,	   step_call,	  step_memory,	 step_restart, step_stats, step_submit,
			      step_reap,   step_complete, step_lie,	 step_poke};

int ring_driver_target(const uint8_t *data, size_t size, bool packed)
{
	static struct test t;
	struct input in = {data, size};
	uint8_t options = in_u8(&in), more = in_u8(&in);
	uint64_t features = 0;

	kern_reset();
	memset(&t, 0, sizeof(t));
	features |= options & 1 ? UINT64_C(1) << VH_F_RING_INDIRECT_DESC : 0;
	features |= options & 2 ? UINT64_C(1) << VH_F_RING_EVENT_IDX : 0;
	features |= packed ? UINT64_C(1) << VH_F_RING_PACKED : 0;
	features |= more & 128 ? UINT64_C(1) << VH_F_IN_ORDER : 0;
	guest_open(&t.g, (options >> 6) & 3, packed ? guest_packed_num(options >> 2) : 1u << ((options >> 2) & 7),
		   packed);
	t.ring = (struct vhi_ring){.num = t.g.num,
				   .features = features,
				   .desc = {GUEST_DESC},
				   .driver = {GUEST_AVAIL},
				   .device = {GUEST_USED},
				   .base = packed      ? (more & 64 ? 0 : 0x80008000u)
					   : more & 64 ? 0xfffe
						       : 0,
				   .keep = more & 16,
				   .indirect = {GUEST_TABLES},
				   .max_indirect = t.g.num <= 16 ? more & 15u : 0};
	CHECK(!vhi_queue_new(0, VH_QUEUE_DRIVER, NULL, &t.q));
	start(&t, true);
	for (int i = 0; i < STEPS && in.left; i++)
		steps[in_u8(&in) % 16](&t, &in);
	step_stats(&t, &in);
	vhi_queue_destroy(t.q);
	guest_close(&t.g);
	return 0;
}
