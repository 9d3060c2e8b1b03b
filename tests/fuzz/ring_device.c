/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The device side of a ring against a driver that writes what it likes; every segment that it gets is touched. */
#include <errno.h>

#include "ring_targets.h"
#include "ringside.h"
#include "segs.h"
#include "vhi_mem.h"
#include "vhi_vring.h"

#define STEPS 300

struct flight {
	struct vh_req req;
	uint64_t sum;	 /* over its segments */
	uint32_t n_desc; /* packed */
	uint32_t len;	 /* in order: pushed, waits for older ones, */
	bool held;
};

struct test {
	struct guest g;
	struct vh_queue *q;
	struct vh_queue_opts opts;
	uint32_t n;
	struct flight flights[GUEST_MAX_NUM]; /* in the order in which they were popped */
	bool in_order;
	uint32_t n_dead; /* of runs that were ended under them */
	struct flight dead[8 * GUEST_MAX_NUM];
	uint16_t used; /* index or position of what is used next */
	int kick, call;
};

typedef void step(struct test *t, struct input *in);

static uint64_t sum_of(const struct vh_req *r)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)r->segs;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < r->n_rd + r->n_wr; i++)
		sum = sum * 31 + segs[i].addr + (segs[i].len << 17);
	return sum;
}

static void check(struct test *t)
{
	struct vh_queue_stats st = {.size = sizeof(st)};
	struct vhi_failure why;

	CHECK(!vh_queue_get_stats(t->q, &st));
	CHECK(st.in_flight == t->n);
	CHECK((st.state == VH_QUEUE_BROKEN) == vhi_queue_failure(t->q, &why));
}

static void step_pop(struct test *t, struct input *in)
{
	struct vh_req reqs[GUEST_MAX_NUM];
	uint32_t max = in_u8(in) % (GUEST_MAX_NUM + 1);
	int n = vh_queue_pop(t->q, reqs, max);

	CHECK(n <= (int)max);
	if (n < 0)
		CHECK((n == -EPROTO || n == -EFAULT) && vh_queue_state(t->q) == VH_QUEUE_BROKEN);
	for (int i = 0; i < n; i++) {
		CHECK(t->n < t->opts.num && reqs[i].queue == t->opts.index);
		for (uint32_t j = 0; j < t->n; j++)
			CHECK(t->flights[j].req.token != reqs[i].token);
		t->flights[t->n++] = (struct flight){
			.req = reqs[i],
			.sum = sum_of(&reqs[i]),
			.n_desc = t->g.packed ? t->q->slots[(uint32_t)reqs[i].token].n_desc : 0,
		};
	}
	for (int i = 0; i < n; i++)
		segs_touch(t->q, &reqs[i]);
}

static void remove_at(struct test *t, uint32_t i)
{
	memmove(&t->flights[i], &t->flights[i + 1], (t->n - i - 1) * sizeof(t->flights[0]));
	t->n--;
}

static uint64_t wr_len(const struct vh_req *r)
{
	return r->wr_len < UINT32_MAX ? r->wr_len : UINT32_MAX;
}

static void check_split(struct test *t, const struct flight *f, uint32_t len)
{
	const uint64_t at = GUEST_USED + 4 + 8ull * (t->used % t->opts.num);

	CHECK(guest_u32(&t->g, at) == (uint32_t)f->req.token);
	CHECK(guest_u32(&t->g, at + 4) == len);
	t->used++;
}

static void check_packed(struct test *t, const struct flight *f, uint32_t len)
{
	const uint64_t at = GUEST_DESC + 16u * (t->used & 0x7fffu);

	CHECK(guest_u32(&t->g, at + 8) == len);
	CHECK(guest_u16(&t->g, at + 12) == (uint32_t)f->req.token);
	CHECK(guest_u16(&t->g, at + 14) == (guest_marks(t->used, true) | (len ? D_WRITE : 0)));
	CHECK(f->n_desc && f->n_desc <= t->opts.num);
	for (uint32_t i = 0; i < f->n_desc; i++)
		t->used = guest_step(&t->g, t->used);
}

/* What may be pushed, from @at on. */
static uint32_t pick(const struct test *t, uint32_t at)
{
	at %= t->n;
	for (uint32_t i = 0; i < t->n && t->flights[at].held; i++)
		at = at + 1 < t->n ? at + 1 : 0;
	return at;
}

/* What was pushed in order, or is not held any more. */
static void check_used(struct test *t, const struct flight *done, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		(t->g.packed ? check_packed : check_split)(t, &done[i], done[i].len);
	if (!t->g.packed)
		CHECK(guest_u16(&t->g, GUEST_USED + 2) == t->used);
}

static uint32_t n_held(const struct test *t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n; i++)
		n += t->flights[i].held;
	return n;
}

static void step_push(struct test *t, struct input *in)
{
	uint32_t n = in_u8(in) % 8 + 1, size = in_u16(in), left = t->n - n_held(t), n_done = 0;
	struct vh_cpl cpls[8];
	struct flight done[GUEST_MAX_NUM];
	bool broken;
	int rc;

	n = n < left ? n : left;
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t which = pick(t, in_u8(in));
		struct flight *f = &t->flights[which];
		const uint64_t most = wr_len(&f->req);

		CHECK(sum_of(&f->req) == f->sum);
		segs_touch(t->q, &f->req);
		cpls[i] = (struct vh_cpl){.token = f->req.token, .written = size == 0xffff ? UINT32_MAX : size};
		f->len = cpls[i].written < most ? cpls[i].written : (uint32_t)most;
		f->held = t->in_order;
		if (!t->in_order) {
			done[n_done++] = *f;
			remove_at(t, which);
		}
	}
	if (!n)
		return;
	broken = vh_queue_state(t->q) == VH_QUEUE_BROKEN;
	rc = vh_queue_push(t->q, cpls, n);
	CHECK(rc == 0 || vh_queue_state(t->q) == VH_QUEUE_BROKEN);
	/* Where nothing is published any more, nothing waits. */
	for (uint32_t i = 0; i < t->n && (broken || !i);) {
		if (t->flights[i].held) {
			done[n_done++] = t->flights[i];
			remove_at(t, i);
		} else {
			i++;
		}
	}
	if (vh_queue_state(t->q) != VH_QUEUE_BROKEN)
		check_used(t, done, n_done);
}

/* One of a run that was ended came back, if it is one. */
static void forget_dead(struct test *t, uint64_t token)
{
	for (uint32_t i = 0; i < t->n_dead; i++) {
		if (t->dead[i].req.token != token)
			continue;
		memmove(&t->dead[i], &t->dead[i + 1], (t->n_dead - i - 1) * sizeof(t->dead[0]));
		t->n_dead--;
		return;
	}
}

/* Nothing may be written for a token that is not in flight, or named twice. */
static void step_push_wrong(struct test *t, struct input *in)
{
	uint64_t token = in_u64(in);
	struct vh_cpl cpls[2] = {{.token = token}, {.token = token}};
	int rc = vh_queue_push(t->q, cpls, 2);

	CHECK(rc < 0 || vh_queue_state(t->q) == VH_QUEUE_BROKEN);
	if (rc == -ESTALE)
		forget_dead(t, token);
}

static void step_unpop(struct test *t, struct input *in)
{
	uint32_t n = in_u8(in) % 8;
	int rc = vh_queue_unpop(t->q, n);

	CHECK(rc == 0 || rc == -EINVAL || rc == -ESTALE);
	if (rc == -ESTALE) {
		/* The newest were those of a run that was ended under them. They are given back all the same. */
		CHECK(n <= t->n_dead);
		t->n_dead -= n;
	}
	if (rc)
		return;
	CHECK(n <= t->n);
	t->n -= n;
	for (uint32_t i = 0; i < n; i++)
		CHECK(!t->flights[t->n + i].held);
}

static void step_arm(struct test *t, struct input *in)
{
	if (in_u8(in) & 1)
		vh_queue_arm(t->q);
	else
		vh_queue_disarm(t->q);
}

static void step_kick(struct test *t, struct input *in)
{
	if (in_u8(in) & 1 && t->kick >= 0)
		kern_signal(t->kick);
	vhi_queue_ack(t->q);
	CHECK(vh_queue_fd(t->q) >= 0);
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

static void step_control(struct test *t, struct input *in)
{
	static const enum vhi_queue_ctl_kind kinds[] = {VHI_CTL_PAUSE, VHI_CTL_RESUME, VHI_CTL_ENABLE, VHI_CTL_DISABLE};
	const uint8_t what = in_u8(in);
	struct vh_dirty *dirty = NULL;

	if (what & 16) {
		if (what & 1)
			CHECK(!vh_dirty_new(GUEST + GUEST_LEN, &dirty));
		CHECK(!vh_queue_set_dirty(t->q, dirty, what & 2 ? VH_QUEUE_LOG_USED : 0, GUEST_USED));
		vh_dirty_free(dirty);
	} else if (what & 8) {
		CHECK(!vh_queue_set_coalescing(t->q, 1 + (what >> 5)));
	} else {
		vhi_queue_ctl(t->q, kinds[what % 4], NULL);
	}
}

/* Where publishing begins. */
static uint16_t used_at(struct test *t)
{
	return t->g.packed ? (uint16_t)(t->q->ring.base >> 16) : guest_u16(&t->g, GUEST_USED + 2);
}

static void open_queue(struct test *t)
{
	CHECK(!vh_queue_open(t->g.mem, &t->opts, t->kick, t->call, &t->q));
	t->used = used_at(t);
	t->n = 0;
}

/* They come back one day, and until then their memory is there. */
static void push_dead(struct test *t, uint32_t n)
{
	while (n-- && t->n_dead) {
		const struct flight *f = &t->dead[--t->n_dead];
		const struct vh_cpl cpl = {.token = f->req.token, .written = 1};

		CHECK(sum_of(&f->req) == f->sum);
		segs_touch_stale(&f->req);
		CHECK(vh_queue_push(t->q, &cpl, 1) == -ESTALE);
	}
}

/* As when a connection ends and another begins: the same queue, in the memory that there is now. */
static void abort_and_start(struct test *t)
{
	const struct vhi_ring ring = {.num = t->opts.num,
				      .features = t->opts.features,
				      .desc = {GUEST_DESC},
				      .driver = {GUEST_AVAIL},
				      .device = {GUEST_USED},
				      .base = vhi_queue_base(t->q),
				      .max_segs = t->opts.max_segs};
	struct vh_snapshot *snap = vhi_mem_snapshot(t->g.mem);
	int rc;

	vhi_queue_ctl(t->q, VHI_CTL_ABORT, NULL);
	CHECK(t->n_dead + t->n <= sizeof(t->dead) / sizeof(t->dead[0]));
	for (uint32_t i = 0; i < t->n; i++)
		if (!t->flights[i].held) /* else it has come back */
			t->dead[t->n_dead++] = t->flights[i];
	t->n = 0;
	rc = vhi_queue_start(t->q, &ring, snap);
	if (rc == -EBUSY) {
		CHECK(t->n_dead);
		push_dead(t, UINT32_MAX);
		rc = vhi_queue_start(t->q, &ring, snap);
	}
	CHECK(!rc);
	vh_snapshot_free(snap);
	t->used = used_at(t);
}

/* Drains, and opens another from where this one stopped, or from elsewhere. */
static void stop_and_open(struct test *t, uint8_t how, uint32_t elsewhere)
{
	uint32_t base = 0;
	int rc;

	rc = vh_queue_stop(t->q, &base);
	CHECK(rc == (t->n ? -EINPROGRESS : 0));
	if (!rc)
		CHECK(vhi_ring_base_fits(t->opts.num, t->opts.features, base));
	vh_queue_free(t->q);
	t->n_dead = 0;
	if (t->g.packed)
		elsewhere |= elsewhere << 16; /* nothing in flight */
	t->opts.base = how & 2 && vhi_ring_base_fits(t->opts.num, t->opts.features, elsewhere) ? elsewhere : base;
	open_queue(t);
}

static void step_restart(struct test *t, struct input *in)
{
	uint8_t how = in_u8(in);

	if (how & 1)
		abort_and_start(t);
	else if (how & 4)
		push_dead(t, how >> 3);
	else
		stop_and_open(t, how, how & 2 ? in_u16(in) : 0);
}

static void step_desc(struct test *t, struct input *in)
{
	uint8_t i = in_u8(in);

	if (i & 128)
		guest_desc_from(&t->g, GUEST_TABLES + 0x200u * (i & 15u), (i >> 4) & 7u, in);
	else
		guest_desc_from(&t->g, GUEST_DESC, i % t->opts.num, in);
}

static void step_offer(struct test *t, struct input *in)
{
	guest_offer(&t->g, in_u8(in));
}

static void step_index(struct test *t, struct input *in)
{
	t->g.next = in_u16(in);
	if (t->g.packed)
		t->g.next = (uint16_t)((t->g.next & 0x8000u) | (t->g.next & 0x7fffu) % t->g.num);
	else
		guest_write(&t->g, GUEST_AVAIL + 2, &t->g.next, 2);
}

static void step_poke(struct test *t, struct input *in)
{
	guest_poke_from(&t->g, in);
}

static void step_chain(struct test *t, struct input *in)
{
	guest_chain_from(&t->g, in);
}

static step *const steps[] = {step_pop,	   step_push,	 step_push_wrong, step_unpop, step_arm,	  step_kick,
			      step_memory, step_control, step_restart,	  step_desc,  step_offer, step_index,
			      step_poke,   step_chain,	 step_chain,	  step_pop};

int ring_device_target(const uint8_t *data, size_t size, bool packed)
{
	static struct test t;
	struct input in = {data, size};
	uint8_t options = in_u8(&in), segs = in_u8(&in);
	uint64_t features = 0;

	kern_reset();
	memset(&t, 0, sizeof(t));
	features |= options & 1 ? UINT64_C(1) << VH_F_RING_INDIRECT_DESC : 0;
	features |= options & 2 ? UINT64_C(1) << VH_F_RING_EVENT_IDX : 0;
	features |= packed ? UINT64_C(1) << VH_F_RING_PACKED : 0;
	t.in_order = segs & 2;
	features |= t.in_order ? UINT64_C(1) << VH_F_IN_ORDER : 0;
	guest_open(&t.g, (options >> 6) & 3, packed ? guest_packed_num(options >> 2) : 1u << ((options >> 2) & 7),
		   packed);
	t.opts = (struct vh_queue_opts){.size = sizeof(t.opts),
					.role = VH_QUEUE_DEVICE,
					.num = t.g.num,
					.index = segs & 1,
					.features = features,
					.desc = GUEST_DESC,
					.driver = GUEST_AVAIL,
					.device = GUEST_USED,
					.base = vhi_ring_first_base(features),
					.max_segs = segs >> 2};
	t.kick = kern_open(options & 32 ? KERN_EVENTFD : KERN_EVENTFD_SEM, 0);
	t.call = kern_open(options & 32 ? KERN_EVENTFD_BLOCK : KERN_EVENTFD_FULL, 0);
	open_queue(&t);
	for (int i = 0; i < STEPS && in.left; i++) {
		steps[in_u8(&in) % 16](&t, &in);
		check(&t);
	}
	vh_queue_free(t.q);
	kern_close(t.kick);
	kern_close(t.call);
	guest_close(&t.g);
	return 0;
}
