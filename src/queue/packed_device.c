/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The device side of a packed ring (virtio 1.2 section 2.8). A slot is a buffer id: a place in the ring names nothing, as
 * the driver may use it again while the request that came from there is in flight.
 */
#include "vhi_chain.h"
#include "vhi_packed.h"
#include "vhi_track.h"

/* Where a chain is taken from. */
struct source {
	const uint64_t VHI_SHM *table;
	uint32_t entries; /* that it may have at most */
	uint32_t at;
	uint32_t exact; /* how many it has to have, 0 = that remains to be seen */
};

static inline __attribute__((always_inline)) int take_one(struct vh_queue *q, const struct vhi_batch *b,
							  const struct source from, uint64_t word, uint32_t seq,
							  struct vhi_walk *w, struct vh_req *req)
{
	struct vhi_chain *c = &q->dev.chain;
	struct vhi_slot *slot;
	uint32_t id;
	int rc;

	vhi_chain_open(q);
	vhi_take_begin(b, seq, req);
	w->next = c->next;
	w->len = 0;
	rc = vhi_chain_walk(q, q->lookup, from.table, from.entries, from.at, VHI_PACKED_RING, word, w);
	if (VHI_UNLIKELY(rc))
		return rc;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_LENGTH, from.exact && c->n_desc != from.exact))
		return VHI_SITE_QUEUE_INFLIGHT_LENGTH;
	id = c->id;
	if (VHI_REFUSE(VHI_SITE_QUEUE_ID, id >= q->num))
		return VHI_SITE_QUEUE_ID;
	slot = &q->slots[id];
	if (VHI_REFUSE(VHI_SITE_QUEUE_ID_BUSY, slot->state))
		return VHI_SITE_QUEUE_ID_BUSY;
	slot->seq = seq;
	__atomic_store_n(&slot->since_ms, b->now, __ATOMIC_RELAXED);
	req->token = b->epoch | id;
	vhi_take_end(q, w, slot, req);
	q->dev.n_desc[id] = (uint16_t)c->n_desc;
	q->dev.order[q->dev.turn] = (uint16_t)id;
	q->dev.turn = q->dev.turn + 1 < q->num ? q->dev.turn + 1 : 0;
	q->dev.taken += c->n_desc;
	q->next_avail = packed_on(q->num, q->next_avail, c->n_desc);
	return 0;
}

static inline bool is_available(const struct vh_queue *q, uint64_t word)
{
	return packed_is(word, packed_avail_marks(q->next_avail));
}

static int32_t packed_take(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	uint64_t word = packed_look(q, q->next_avail), bytes = 0;
	struct vhi_walk w = {.span = q->lookup->spans};
	struct vhi_batch b;
	int rc = 0;
	uint32_t n;

	if (!is_available(q, word))
		return 0;
	b = vhi_batch_begin(q);
	for (n = 0; n < max && is_available(q, word); n++) {
		const struct source ring = {.table = q->area[VHI_AREA_DESC],
					    .entries = q->num - q->dev.taken,
					    .at = packed_at(q->next_avail)};

		rc = take_one(q, &b, ring, word, q->seq + n, &w, &reqs[n]);
		if (VHI_UNLIKELY(rc)) {
			rc = vhi_take_failed(q, rc, n);
			break;
		}
		bytes += reqs[n].rd_len;
		word = packed_look(q, q->next_avail);
	}
	if (!n)
		return rc;
	vhi_took(q, reqs, n, bytes);
	return (int32_t)n;
}

int32_t vhi_packed_take_again(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	struct vhi_track *t = q->track;
	struct vhi_walk w = {.span = q->lookup->spans};
	const struct vhi_batch b = vhi_batch_begin(q);
	uint64_t bytes = 0;
	int rc = 0;
	uint32_t n;

	for (n = 0; n < max && vhi_again_left(t); n++) {
		const struct vhi_again *a = &t->again[t->at_again];
		const uint64_t *chain = t->chains + 2 * (size_t)a->first;
		const struct source record = {
			.table = (const uint64_t VHI_SHM *)(uintptr_t)chain, .entries = a->n_desc, .exact = a->n_desc};
		uint32_t id;

		rc = take_one(q, &b, record, chain[1], q->seq + n, &w, &reqs[n]);
		if (rc) {
			rc = vhi_take_failed(q, rc, n);
			break;
		}
		id = (uint32_t)reqs[n].token;
		t->slot[id] = a->entry;
		t->place[id] = (uint16_t)++t->at_again;
		reqs[n].flags = VH_REQ_RESUBMITTED;
		bytes += reqs[n].rd_len;
	}
	if (!n)
		return rc;
	vhi_took(q, reqs, n, bytes);
	return (int32_t)n;
}

/* The second word of a used descriptor. WRITE says that the length means something. */
static inline uint64_t used_word(uint16_t pos, uint32_t id, uint32_t len)
{
	return packed_word(len, id, packed_used_marks(pos) | (len ? VHI_DESC_WRITE : 0));
}

/* A chain is used where the ring stands, whatever its own descriptors were, and as many are passed as it had. */
static int32_t packed_publish(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	const uint16_t old = q->next_used;
	uint64_t first = 0, bytes = 0;
	uint32_t passed = 0;
	uint16_t pos = old;

	for (uint32_t i = 0; i < n; i++) {
		const uint32_t id = (uint32_t)cpls[i].token;
		struct vhi_slot *slot = &q->slots[id];
		const uint32_t len = VHI_MIN(cpls[i].written, slot->wr_len);
		const uint64_t word = used_word(pos, id, len);

		/* The driver looks at the first one before the others: storing it last publishes them all. */
		if (i)
			vhi_shm_store64(packed_desc(q, packed_at(pos)) + 1, word);
		else
			first = word;
		bytes += len;
		pos = packed_on(q->num, pos, q->dev.n_desc[id]);
		passed += q->dev.n_desc[id];
		vhi_chain_put_block(q, slot);
		vhi_slot_state(slot, VHI_SLOT_FREE);
	}
	vhi_in_flight(q, q->in_flight - n);
	if (vhi_poisoned(q)) {
		q->dropped += n;
		return vhi_queue_broke(q, VHI_SITE_QUEUE_POISONED);
	}
	q->next_used = pos;
	q->dev.taken -= passed;
	vhi_shm_store64_release(packed_desc(q, packed_at(old)) + 1, first);
	vhi_count(&q->stats.completed, n);
	vhi_count(&q->stats.bytes_out, bytes);
	packed_tell(q, VHI_AREA_DRIVER, old, passed);
	return 0;
}

/* The slot that was popped i pops ago; i is at most num. */
static inline struct vhi_slot *newest(const struct vh_queue *q, uint32_t i)
{
	const uint32_t at = q->dev.turn + q->num - i;

	return &q->slots[q->dev.order[at < q->num ? at : at - q->num]];
}

static int32_t packed_give_back(struct vh_queue *q, uint32_t n)
{
	uint32_t passed = 0;

	for (uint32_t i = 1; i <= n; i++) {
		const struct vhi_slot *slot = newest(q, i);

		if (!slot->state || slot->seq != q->seq - i)
			return -EINVAL;
	}
	for (uint32_t i = 1; i <= n; i++) {
		struct vhi_slot *slot = newest(q, i);

		passed += q->dev.n_desc[slot - q->slots];
		vhi_chain_put_block(q, slot);
		vhi_slot_state(slot, VHI_SLOT_FREE);
	}
	/* Their descriptors are as they were: what was published meanwhile lies before them. */
	q->next_avail = packed_back(q->num, q->next_avail, passed);
	q->dev.taken -= passed;
	q->dev.turn = q->dev.turn >= n ? q->dev.turn - n : q->dev.turn + q->num - n;
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
		vhi_dirty_mark(q->log.dirty, &q->dirty, ring.v + packed_at(pos) * (uint64_t)VHI_DESC_SIZE,
			       VHI_DESC_SIZE);
		pos = packed_on(q->num, pos, q->dev.n_desc[(uint32_t)cpls[i].token]);
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
	q->dev.turn = 0;
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
