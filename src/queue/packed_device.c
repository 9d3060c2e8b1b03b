/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The device side of a packed ring (virtio 1.2 section 2.8). A slot is a buffer id: a place in the ring names nothing, as
 * the driver may use it again while the request that came from there is in flight.
 */
#include "vhi_chain.h"
#include "vhi_packed.h"
#include "vhi_push.h"
#include "vhi_track.h"

static int check_id(const struct vh_queue *q, uint32_t id)
{
	if (VHI_REFUSE(VHI_SITE_QUEUE_ID, id >= q->num))
		return VHI_SITE_QUEUE_ID;
	return VHI_REFUSE(VHI_SITE_QUEUE_ID_BUSY, q->slots[id].state) ? VHI_SITE_QUEUE_ID_BUSY : 0;
}

/*
 * A chain whose first descriptor said another id than its last one, @id: all that is known of it moves there. 0 or a site.
 * The walk is at q->dev.chain.w.
 */
__attribute__((noinline)) static int move(struct vh_queue *q, uint32_t id, struct vh_req *req)
{
	struct vhi_walk *w = &q->dev.chain.w;
	const uint32_t guess = (uint32_t)req->token;
	struct vh_seg *row = &q->dev.rows[(size_t)id * VHI_INLINE_SEGS];
	int rc = check_id(q, id);

	if (rc)
		return rc;
	*vhi_order(q, req->seq) = (uint16_t)id;
	__atomic_store_n(&q->slots[id].stamp, q->slots[guess].stamp, __ATOMIC_RELAXED);
	req->token = q->dev.form.token | id;
	if (q->dev.chain.odd && q->dev.chain.block)
		return 0;
	memcpy(row, w->segs, (size_t)(w->next - w->segs) * sizeof(*row));
	w->next = row + (w->next - w->segs);
	w->segs = row;
	return 0;
}

/*
 * One chain. Its id, which names its slot and the row for its segments, is in its last descriptor; but drivers write it
 * into all of them, and most chains have only one. So the first one's is taken for it, and the last one decides.
 */
static inline __attribute__((always_inline)) int take_one(struct vh_queue *q, struct vhi_batch *b, struct vhi_walk *w,
							  const struct vhi_table from, size_t at, uint32_t exact,
							  uint64_t addr, uint64_t word, uint32_t *n_desc,
							  struct vh_req *req)
{
	size_t id = packed_id(word), row = id, guess = id;
	struct vhi_slot *slot;
	int rc;

	if (VHI_UNLIKELY(id >= q->num || q->slots[id].state)) {
		/* Its only descriptor. (Where none is free the walk has the reason.) */
		if (from.entries && !(packed_flags(word) & VHI_DESC_NEXT)) {
			rc = check_id(q, (uint32_t)id);
			if (rc)
				return rc;
		}
		row = q->num; /* nobody's */
		guess = SIZE_MAX;
	}
	q->dev.order[vhi_first32(b->stamp) & q->dev.order_mask] = (uint16_t)row; /* without a skew */
	slot = vhi_take_begin(q, b, row, w, req);
	rc = vhi_walk_packed(q, w, from, q->num, at, addr, word, &id, n_desc, req);
	if (VHI_UNLIKELY(rc))
		return rc;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_LENGTH, exact && *n_desc != exact))
		return VHI_SITE_QUEUE_INFLIGHT_LENGTH;
	if (VHI_UNLIKELY(*n_desc > 1 && id != guess)) {
		q->dev.chain.w = *w;
		rc = move(q, (uint32_t)id, req);
		if (rc)
			return rc;
		*w = q->dev.chain.w;
		slot = &q->slots[id];
	}
	vhi_take_end(q, b, slot, w, req);
	slot->n_desc = (uint16_t)*n_desc;
	return 0;
}

static inline bool is_available(const struct vh_queue *q, uint64_t word)
{
	return packed_is(word, packed_avail_marks(q->next_avail));
}

/* Chains from the one at next_avail on, which has @addr and @word; @before were taken already, by the same pop. */
static inline __attribute__((always_inline)) int32_t take_chains(struct vh_queue *q, struct vh_req *reqs, uint32_t max,
								 uint32_t before, uint64_t addr, uint64_t word)
{
	struct vh_req *req = reqs, *const end = reqs + max;
	uint32_t marks = packed_flags(word) & (VHI_PACKED_AVAIL | VHI_PACKED_USED), n;
	size_t at = packed_at(q->next_avail);
	struct vhi_table ring = {q->area[VHI_AREA_DESC], q->num - q->dev.taken};
	struct vhi_walk w;
	struct vhi_batch b = vhi_batch_begin(q, &w);
	int rc = 0;

	for (;;) {
		uint32_t n_desc;

		rc = take_one(q, &b, &w, ring, at, 0, addr, word, &n_desc, req);
		if (VHI_UNLIKELY(rc)) {
			rc = vhi_take_failed(q, rc, before + (uint32_t)(req - reqs));
			break;
		}
		req++;
		ring.entries -= n_desc;
		at += n_desc;
		if (VHI_UNLIKELY(at >= q->num)) {
			at -= q->num;
			marks ^= VHI_PACKED_AVAIL | VHI_PACKED_USED;
		}
		if (req == end)
			break;
		word = vhi_shm_load64_acquire(ring.at + 2 * at + 1);
		if (!packed_is(word, marks))
			break;
		addr = vhi_shm_load64(ring.at + 2 * at);
	}
	n = (uint32_t)(req - reqs);
	if (!n)
		return rc;
	vhi_move(&q->next_avail, (uint32_t)at | (marks == VHI_PACKED_AVAIL ? VHI_PACKED_WRAP : 0));
	q->dev.taken = q->num - ring.entries;
	vhi_took(q, &b, req, n);
	return (int32_t)n;
}

/* Behind n plain ones. */
__attribute__((noinline)) static int32_t take_behind(struct vh_queue *q, struct vh_req *reqs, uint32_t max, uint32_t n,
						     uint64_t addr, uint64_t word)
{
	const int32_t more = take_chains(q, reqs + n, max - n, n, addr, word);

	if (more > 0 && n)
		reqs[n - 1].flags = 0;
	return more < 0 ? more : (int32_t)n + more;
}

#define MARKS ((uint64_t)(VHI_PACKED_AVAIL | VHI_PACKED_USED) << 48)
#define PLAIN (MARKS | (uint64_t)(VHI_DESC_NEXT | VHI_DESC_INDIRECT | VHI_DESC_WRITE) << 48)

/*
 * Chains of one descriptor, all of them readable or all writable, with free slots and ranges in one piece: frames, above
 * all. Whatever is wrong or special with the next one is for take_one(), which gets what was loaded of it; so there is
 * nothing to undo here, and what is known of most chains before they are looked at is not asked of each.
 */
static inline __attribute__((always_inline)) int32_t take_plain(struct vh_queue *q, struct vh_req *reqs, uint32_t max,
								uint64_t word, const bool writable)
{
	const uint64_t VHI_SHM *const ring = packed_desc(q, 0), *const turn = packed_desc(q, q->num);
	const uint64_t VHI_SHM *desc = packed_desc(q, packed_at(q->next_avail));
	const uint64_t num = q->num, most = VHI_MIN(max, num - q->dev.taken);
	struct vhi_slot *const slots = q->slots;
	struct vh_seg *const rows = q->dev.rows;
	struct vh_req *req = reqs, *const end = reqs + most, *stop = reqs + VHI_MIN(most, (uint64_t)(turn - desc) / 2);
	uint64_t kind = word & PLAIN, addr, bytes = 0;
	struct vhi_walk w;
	struct vhi_batch b = vhi_batch_begin(q, &w);
	bool waits = true;
	uint32_t n;

	if (VHI_UNLIKELY(!most))
		return take_behind(q, reqs, max, 0, vhi_shm_load64(desc), word);
	for (;;) {
		const uint64_t id = packed_id(word), len = (uint32_t)word;
		const uint32_t seq = vhi_first32(b.stamp);
		struct vhi_slot *slot;
		struct vh_seg *seg;
		uint64_t host;

		addr = vhi_shm_load64(desc);
		if (VHI_UNLIKELY(id >= num))
			break;
		slot = &slots[id];
		seg = &rows[id * VHI_INLINE_SEGS];
		if (VHI_UNLIKELY(slot->state || !vhi_translate_fast(w.snap, &w.span, addr, len, &host)))
			break;
		seg->addr = host;
		seg->len = len;
		q->dev.order[seq & q->dev.order_mask] = (uint16_t)id;
		slot->wr_len = writable ? (uint32_t)len : 0;
		slot->n_desc = 1;
		slot->n_rd = !writable;
		__atomic_store_n(&slot->stamp, b.stamp, __ATOMIC_RELAXED);
		vhi_slot_state(slot, VHI_SLOT_IN_FLIGHT);
		req->token = q->dev.form.token | id;
		req->segs = (uintptr_t)seg;
		req->user = 0;
		req->rd_len = writable ? 0 : len;
		req->wr_len = writable ? len : 0;
		req->n_rd = !writable;
		req->n_wr = writable;
		req->seq = seq;
		memcpy(&req->queue, &q->dev.form.queue, sizeof(q->dev.form.queue));
		memcpy(&req->mem, &q->dev.form.mem, sizeof(q->dev.form.mem));
		req++;
		b.stamp += vhi_lie32(1, 0);
		bytes += len;
		desc += 2;
		if (VHI_UNLIKELY(req == stop)) {
			if (desc == turn) {
				desc = ring;
				kind ^= MARKS;
			}
			if (req == end)
				break;
			stop = end;
		}
		word = vhi_shm_load64_acquire(desc + 1);
		if ((word & PLAIN) != kind) {
			waits = !((word ^ kind) & MARKS);
			if (waits)
				addr = vhi_shm_load64(desc);
			break;
		}
	}
	n = (uint32_t)(req - reqs);
	if (VHI_LIKELY(n == max)) {
		waits = false;
	} else if (VHI_UNLIKELY(req == end)) { /* all of the ring is taken, so there can't be one */
		word = vhi_shm_load64_acquire(desc + 1);
		addr = vhi_shm_load64(desc);
		waits = !((word ^ kind) & MARKS);
	}
	if (VHI_LIKELY(n)) {
		vhi_move(&q->next_avail,
			 (uint32_t)((desc - ring) / 2) | (kind >> 48 & VHI_PACKED_AVAIL ? VHI_PACKED_WRAP : 0));
		q->dev.taken += n;
		b.bytes = writable ? 0 : bytes;
		vhi_took(q, &b, req, n);
	}
	return VHI_UNLIKELY(waits) ? take_behind(q, reqs, max, n, addr, word) : (int32_t)n;
}

static int32_t packed_take(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	const uint64_t word = packed_look(q, q->next_avail);

	if (!max || !is_available(q, word))
		return 0;
	return take_behind(q, reqs, max, 0, vhi_shm_load64(packed_desc(q, packed_at(q->next_avail))), word);
}

/* A pop goes one of these ways, by what is the next in the ring, and leaves by it. */
__attribute__((noinline)) static int32_t pop_readable(struct vh_queue *q, struct vh_req *reqs, uint32_t max,
						      uint64_t word)
{
	return vhi_queue_leave_with(q, vhi_taken(q, take_plain(q, reqs, max, word, false)));
}

__attribute__((noinline)) static int32_t pop_writable(struct vh_queue *q, struct vh_req *reqs, uint32_t max,
						      uint64_t word)
{
	return vhi_queue_leave_with(q, vhi_taken(q, take_plain(q, reqs, max, word, true)));
}

__attribute__((noinline)) static int32_t pop_chains(struct vh_queue *q, struct vh_req *reqs, uint32_t max,
						    uint64_t word)
{
	const uint64_t addr = vhi_shm_load64(packed_desc(q, packed_at(q->next_avail)));

	return vhi_queue_leave_with(q, vhi_taken(q, take_chains(q, reqs, max, 0, addr, word)));
}

__attribute__((noinline)) static int32_t pop_none(struct vh_queue *q)
{
	return vhi_queue_leave_with(q, vhi_taken(q, 0));
}

static int32_t packed_pop(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	const uint64_t word = packed_look(q, q->next_avail);
	const uint32_t flags = packed_flags(word);

	if (!max || !is_available(q, word))
		return pop_none(q);
	if (flags & (VHI_DESC_NEXT | VHI_DESC_INDIRECT))
		return pop_chains(q, reqs, max, word);
	return flags & VHI_DESC_WRITE ? pop_writable(q, reqs, max, word) : pop_readable(q, reqs, max, word);
}

int32_t vhi_packed_take_again(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	struct vhi_track *t = q->track;
	struct vhi_walk w;
	struct vhi_batch b = vhi_batch_begin(q, &w);
	int rc = 0;
	uint32_t n;

	for (n = 0; n < max && vhi_again_left(t); n++) {
		const struct vhi_again *a = &t->again[t->at_again];
		const uint64_t VHI_SHM *chain = t->chains + 2 * (size_t)a->first;
		const struct vhi_table record = {chain, a->n_desc};
		uint32_t id, n_desc;

		rc = take_one(q, &b, &w, record, 0, a->n_desc, vhi_shm_load64(chain), vhi_shm_load64(chain + 1),
			      &n_desc, &reqs[n]);
		if (rc) {
			rc = vhi_take_failed(q, rc, n);
			break;
		}
		q->dev.taken += n_desc;
		vhi_move(&q->next_avail, packed_on(q->num, q->next_avail, n_desc));
		id = (uint32_t)reqs[n].token;
		t->slot[id] = a->entry;
		t->place[id] = (uint16_t)++t->at_again;
		reqs[n].flags = VH_REQ_RESUBMITTED;
	}
	if (!n)
		return rc;
	vhi_took(q, &b, reqs + n, n);
	return (int32_t)n;
}

/* Where used descriptors go, and what is known of those that went there. */
struct used {
	size_t at;
	uint64_t marks; /* of a second word */
	uint64_t bytes;
};

/* A chain is used where the ring stands, whatever its own descriptors were, and as many are passed as it had. */
static inline __attribute__((always_inline)) uint64_t use_one(struct vhi_slot *slots, uint32_t num,
							      const struct vh_cpl *cpl, struct used *u)
{
	const uint64_t id = (uint32_t)cpl->token;
	struct vhi_slot *slot = &slots[id];
	const uint64_t written = cpl->written, most = slot->wr_len, len = VHI_MIN(written, most);
	uint64_t word = u->marks | id << 32 | len;

	/* It says that the length means something. */
	if (len)
		word |= (uint64_t)VHI_DESC_WRITE << 48;
	u->bytes += len;
	u->at += slot->n_desc;
	if (VHI_UNLIKELY(u->at >= num)) {
		u->at -= num;
		u->marks ^= (uint64_t)(VHI_PACKED_AVAIL | VHI_PACKED_USED) << 48;
	}
	vhi_slot_state(slot, VHI_SLOT_FREE);
	return word;
}

/* n is 1 at least. The driver looks at the first one before the others: storing it last publishes them all. */
static inline __attribute__((always_inline)) int32_t publish(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	const struct vh_cpl *const end = cpls + n;
	const uint16_t old = q->next_used;
	uint64_t VHI_SHM *const ring = packed_desc(q, 0);
	struct vhi_slot *const slots = q->slots;
	const uint32_t num = q->num;
	struct used u = {.at = packed_at(old), .marks = (uint64_t)packed_used_marks(old) << 48};
	const uint64_t first = use_one(slots, num, cpls, &u);
	uint32_t passed;

	for (const struct vh_cpl *cpl = cpls + 1; cpl != end; cpl++) {
		uint64_t VHI_SHM *desc = ring + 2 * u.at;

		vhi_shm_store64(desc + 1, use_one(slots, num, cpl, &u));
	}
	if (vhi_poisoned(q))
		return vhi_push_poisoned(q, n);
	/* What nobody else looks at can be counted while the driver finds it. */
	vhi_shm_store64_release(ring + 2 * (size_t)packed_at(old) + 1, first);
	vhi_ended(q, n);
	vhi_move(&q->next_used, (uint32_t)u.at | (u.marks ? VHI_PACKED_WRAP : 0));
	passed = packed_between(num, old, q->next_used);
	q->dev.taken -= passed;
	vhi_count(&q->stats.completed, n);
	vhi_count(&q->stats.bytes_out, u.bytes);
	packed_tell(q, VHI_AREA_DRIVER, old, passed);
	return 0;
}

static int32_t packed_publish(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	return publish(q, cpls, n);
}

static int32_t packed_push(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	uint32_t claimed;

	if (!vhi_claim(q, cpls, n, &claimed))
		return vhi_queue_leave_with(q, vhi_push_odd(q, cpls, n, claimed));
	return vhi_queue_leave_with(q, publish(q, cpls, n));
}

static int32_t packed_give_back(struct vh_queue *q, uint32_t n)
{
	uint32_t passed = 0;

	if (!vhi_newest_in_flight(q, n))
		return -EINVAL;
	for (uint32_t i = 1; i <= n; i++) {
		struct vhi_slot *slot = &q->slots[*vhi_order(q, q->seq - i)];

		passed += slot->n_desc;
		if (slot->block)
			vhi_chain_put_block(q, slot);
		vhi_slot_state(slot, VHI_SLOT_FREE);
	}
	/* Their descriptors are as they were: what was published meanwhile lies before them. */
	vhi_move(&q->next_avail, packed_back(q->num, q->next_avail, passed));
	q->dev.taken -= passed;
	q->seq -= n;
	vhi_in_flight(q, q->in_flight - n);
	return 0;
}

static bool packed_more(struct vh_queue *q)
{
	return is_available(q, packed_look(q, q->next_avail));
}

/* A device may leave requests in the ring, and yet wants to hear of new ones; where these begin is not known here. */
static void packed_arm(struct vh_queue *q, bool on)
{
	if (on && q->event_idx && packed_more(q)) {
		vhi_shm_store32(q->area[VHI_AREA_DEVICE], VHI_EVENT_ALWAYS << 16);
		q->armed = true;
		return;
	}
	packed_ask(q, VHI_AREA_DEVICE, q->next_avail, on);
}

/* The descriptors are written where the driver has them; what is told of as the used ring is only the event area. */
static void packed_log_used(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n, uint16_t old)
{
	struct vhi_gpa ring;
	uint16_t pos = old;

	if (!q->log.used || !vhi_host_to_gpa(q->snap, VHI_SHM_RAW(void, q->area[VHI_AREA_DESC]), 1, &ring))
		return;
	for (uint32_t i = 0; i < n; i++) {
		vhi_dirty_mark(q->log.dirty, q->dev.dirty, ring.v + packed_at(pos) * (uint64_t)VHI_DESC_SIZE,
			       VHI_DESC_SIZE);
		pos = packed_on(q->num, pos, q->slots[(uint32_t)cpls[i].token].n_desc);
	}
}

static void packed_log_event(struct vh_queue *q)
{
	vhi_queue_log_used(q, 0, 4);
}

/* What lies between the two was in flight somewhere else, and is the front-end's to decide about. */
static void packed_open(struct vh_queue *q, bool fresh)
{
	(void)fresh;
	q->next_avail = (uint16_t)q->ring.base;
	q->next_used = (uint16_t)(q->ring.base >> 16);
	q->dev.order_skew = 0;
	q->dev.taken = q->dev.foreign = packed_between(q->num, q->next_used, q->next_avail);
	q->armed = false;
	packed_arm(q, true);
}

static uint32_t packed_base(struct vh_queue *q, uint32_t *left)
{
	*left = q->in_flight;
	return packed_on(q->num, q->next_used, q->dev.foreign) | (uint32_t)q->next_used << 16;
}

const struct vhi_layout vhi_packed_device = {
	.pop = packed_pop,
	.push = packed_push,
	.take = packed_take,
	.publish = packed_publish,
	.give_back = packed_give_back,
	.open = packed_open,
	.base = packed_base,
	.arm = packed_arm,
	.more = packed_more,
	.log_used = packed_log_used,
	.log_event = packed_log_event,
	.tracker = &vhi_packed_tracker,
};
