/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Inflight records of a packed ring. A place in such a ring is used again while the request that came from there is in
 * flight, so an entry holds a whole descriptor. Entries are in one list: the free ones, or those of one request. What
 * says where the free list and the ring stand is there twice, old and new: a batch is prepared in the new values, and the
 * flags of the first descriptor that it used tell whether it was published.
 */
#include "vhi_packed.h"
#include "vhi_track.h"

/*
 * Words of the head: features; version, desc_num, free_head, old_free_head, of 16 bits each; used_idx and old_used_idx,
 * 16 bits, and the wrap counters of both, 8 bits; nothing.
 */
#define HEAD_WORDS 4u
#define HEAD_FREE  1u
#define HEAD_USED  2u
/*
 * Words of an entry: inflight in the lowest byte, next, last and num, 16 bits, from bit 16 on; counter; id and flags, 16
 * bits, and len; addr. Next is valid in each, counter, last and num in the first one of a request.
 */
#define ENTRY_WORDS 4u

/* An entry as it was found. */
struct found {
	uint64_t word, counter;
};

static uint64_t VHI_SHM *entry_at(const struct vhi_track *t, uint32_t entry)
{
	return t->entries + (size_t)ENTRY_WORDS * entry;
}

static void store_entry(struct vhi_track *t, uint32_t e)
{
	vhi_track_store(entry_at(t, e),
			t->live[e] | (uint64_t)t->next[e] << 16 | (uint64_t)t->last[e] << 32 |
				(uint64_t)t->num[e] << 48,
			VHI_TRACK_8_16);
}

static void store_free(struct vhi_track *t, uint16_t old)
{
	vhi_track_store(t->head + HEAD_FREE,
			VHI_INFLIGHT_VERSION | (uint64_t)t->n << 16 | (uint64_t)t->free << 32 | (uint64_t)old << 48,
			VHI_TRACK_16);
}

/* Both halves of a position, new and old, in one store: a crash must not leave an index with the other's wrap counter. */
static void store_used(struct vhi_track *t, uint16_t now, uint16_t old)
{
	vhi_track_store(t->head + HEAD_USED,
			packed_at(now) | (uint64_t)packed_at(old) << 16 | (uint64_t)(now >> 15) << 32 |
				(uint64_t)(old >> 15) << 40,
			VHI_TRACK_WRAP);
}

static void begin(struct vhi_track *t, uint16_t used)
{
	for (uint32_t i = 0; i < t->n; i++) {
		t->next[i] = (uint16_t)(i + 1);
		store_entry(t, i);
	}
	t->used = used;
	store_used(t, used, used);
	store_free(t, t->free);
}

static bool position_bad(uint64_t at, uint64_t wrap, uint32_t num)
{
	return at >= num || wrap > 1;
}

/*
 * Which of the two is true: the new values when the batch was published. The wrap counter belongs to what is compared: a
 * batch may go once round the ring.
 */
static int settle(struct vhi_track *t, const struct vhi_ring *ring, const uint64_t VHI_SHM *descs, uint64_t free_word)
{
	const uint64_t word = vhi_track_load(t->head + HEAD_USED, VHI_TRACK_WRAP);
	const uint64_t now_at = word & 0xffff, old_at = word >> 16 & 0xffff;
	const uint64_t now_wrap = word >> 32 & 0xff, old_wrap = word >> 40 & 0xff;
	uint16_t now, old;
	bool published;

	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_POSITION,
		       position_bad(now_at, now_wrap, ring->num) || position_bad(old_at, old_wrap, ring->num)))
		return VHI_SITE_QUEUE_INFLIGHT_POSITION;
	now = (uint16_t)(now_at | now_wrap << 15);
	old = (uint16_t)(old_at | old_wrap << 15);
	published = now != old &&
		    !packed_is(vhi_shm_load64_acquire(descs + 2 * (size_t)packed_at(old) + 1), packed_avail_marks(old));
	t->free = (uint16_t)(published ? free_word >> 32 : free_word >> 48);
	t->used = published ? now : old;
	return 0;
}

/* The free list ends beyond the entries. What is in it is not in flight, whatever its flag says. */
static int collect_free(struct vhi_track *t, uint8_t *seen)
{
	uint32_t n = 0;

	for (uint32_t e = t->free; e != t->n; e = t->next[e], n++) {
		if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_FREE, n >= t->n || e > t->n || seen[e]))
			return VHI_SITE_QUEUE_INFLIGHT_FREE;
		seen[e] = 1;
		t->live[e] = 0;
	}
	return 0;
}

/*
 * One request: its entries are its own, as many as it says, and the last one is the one that it names. Its descriptors go
 * to @to, as they would lie in a ring.
 */
static int collect_one(struct vhi_track *t, uint32_t head, uint32_t room, uint8_t *seen, uint64_t VHI_SHM *to)
{
	uint32_t e = head, last = head;

	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_CHAIN, !t->num[head] || t->num[head] > room))
		return VHI_SITE_QUEUE_INFLIGHT_CHAIN;
	for (uint32_t i = 0; i < t->num[head]; i++) {
		uint64_t word;

		if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_NEXT, e >= t->n || seen[e]))
			return VHI_SITE_QUEUE_INFLIGHT_NEXT;
		seen[e] = 1;
		word = vhi_track_load(entry_at(t, e) + 2, VHI_TRACK_DESC);
		vhi_shm_store64(to + 2 * (size_t)i, vhi_track_load(entry_at(t, e) + 3, VHI_TRACK_64));
		vhi_shm_store64(to + 2 * (size_t)i + 1,
				packed_word((uint32_t)(word >> 32), word & 0xffff, word >> 16 & 0xffff));
		last = e;
		e = t->next[e];
	}
	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_LAST, t->last[head] != last))
		return VHI_SITE_QUEUE_INFLIGHT_LAST;
	return 0;
}

static int collect(struct vhi_track *t, uint32_t num, const struct found *found, uint8_t *seen)
{
	uint32_t first = 0;
	int rc = collect_free(t, seen);

	for (uint32_t i = 0; !rc && i < t->n; i++) {
		if (!t->live[i])
			continue;
		rc = collect_one(t, i, num - first, seen, t->chains + 2 * (size_t)first);
		if (rc)
			break;
		t->again[t->n_again++] = (struct vhi_again){
			.counter = found[i].counter, .entry = (uint16_t)i, .n_desc = t->num[i], .first = first};
		first += t->num[i];
	}
	if (rc)
		return rc;
	for (uint32_t i = 0; i < t->n; i++)
		if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_STRAY, !seen[i]))
			return VHI_SITE_QUEUE_INFLIGHT_STRAY;
	vhi_again_sort(t->again, t->n_again);
	t->counter = t->n_again ? t->again[t->n_again - 1].counter + 1 : 0;
	return 0;
}

static int look(struct vhi_track *t, uint32_t num, struct found *found, uint8_t *seen)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const uint64_t word = vhi_track_load(entry_at(t, i), VHI_TRACK_8_16);

		found[i] = (struct found){word, vhi_track_load(entry_at(t, i) + 1, VHI_TRACK_64)};
		t->live[i] = (word & 0xff) == 1;
		t->next[i] = (uint16_t)(word >> 16);
		t->last[i] = (uint16_t)(word >> 32);
		t->num[i] = (uint16_t)(word >> 48);
	}
	return collect(t, num, found, seen);
}

/*
 * Of a batch that was not published, all but the first descriptor may look used already. The driver would come upon them
 * when something else has been published before them.
 */
static void wipe(const struct vhi_track *t, uint32_t num, uint64_t VHI_SHM *descs)
{
	uint16_t pos = t->used;

	for (uint32_t i = 0; i < t->n_again; i++) {
		for (uint32_t j = 0; j < t->again[i].n_desc; j++) {
			uint64_t VHI_SHM *at = descs + 2 * (size_t)packed_at(pos) + 1;

			if (packed_is(vhi_shm_load64(at), packed_used_marks(pos)))
				vhi_shm_store64(at, packed_word(0, 0, packed_avail_marks(pos)));
			pos = packed_on(num, pos, 1);
		}
	}
}

static int packed_recover(struct vh_queue *q, const struct vhi_ring *ring, void VHI_SHM *const area[], uint32_t *base)
{
	struct vhi_track *t = q->track;
	const uint64_t head = vhi_track_load(t->head + HEAD_FREE, VHI_TRACK_16);
	struct found *found;
	int rc;

	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_VERSION_PACKED, (uint16_t)head > VHI_INFLIGHT_VERSION))
		return VHI_SITE_QUEUE_INFLIGHT_VERSION_PACKED;
	if (!(uint16_t)head) {
		begin(t, (uint16_t)(*base >> 16));
		return 0;
	}
	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_NUM_PACKED, (uint16_t)(head >> 16) != t->n))
		return VHI_SITE_QUEUE_INFLIGHT_NUM_PACKED;
	rc = settle(t, ring, area[VHI_AREA_DESC], head);
	if (rc)
		return rc;
	found = vhi_calloc(t->n, sizeof(*found) + sizeof(uint8_t));
	if (!found)
		return -ENOMEM;
	rc = look(t, ring->num, found, (uint8_t *)(found + t->n));
	for (uint32_t i = 0; !rc && i < t->n; i++)
		if (!t->live[i] && found[i].word & 0xff)
			store_entry(t, i);
	vhi_free(found);
	if (rc)
		return rc;
	wipe(t, ring->num, area[VHI_AREA_DESC]);
	store_free(t, t->free);
	store_used(t, t->used, t->used);
	*base = t->used | (uint32_t)t->used << 16;
	return 0;
}

/*
 * Its descriptors are loaded again for this: a driver that changes them meanwhile only harms itself, as what comes back
 * from here is checked like what comes from the ring.
 */
static uint16_t record(struct vh_queue *q, uint32_t id, uint16_t pos)
{
	struct vhi_track *t = q->track;
	const uint16_t first = t->free;
	const uint32_t n = q->slots[id].n_desc;
	uint32_t e = first, last = first;

	for (uint32_t i = 0; i < n; i++) {
		const uint64_t VHI_SHM *desc = packed_desc(q, packed_at(pos));
		const uint64_t word = vhi_shm_load64(desc + 1);

		vhi_track_store(entry_at(t, e) + 2,
				packed_id(word) | (uint64_t)packed_flags(word) << 16 | (uint64_t)(uint32_t)word << 32,
				VHI_TRACK_DESC);
		vhi_track_store(entry_at(t, e) + 3, vhi_shm_load64(desc), VHI_TRACK_64);
		pos = packed_on(q->num, pos, 1);
		last = e;
		e = t->next[e];
	}
	t->slot[id] = first;
	t->last[first] = (uint16_t)last;
	t->num[first] = (uint16_t)n;
	t->live[first] = 1;
	vhi_track_store(entry_at(t, first) + 1, t->counter++, VHI_TRACK_64);
	store_entry(t, first);
	t->free = (uint16_t)e;
	store_free(t, t->free);
	return pos;
}

static void packed_taken(struct vh_queue *q, const struct vh_req *reqs, uint32_t n, uint16_t from)
{
	uint16_t pos = from;

	for (uint32_t i = 0; i < n; i++)
		pos = record(q, (uint32_t)reqs[i].token, pos);
}

/* The entries of a request go before the free ones. */
static void put_back(struct vhi_track *t, uint16_t first)
{
	const uint16_t last = t->last[first];

	t->next[last] = t->free;
	store_entry(t, last);
	t->free = first;
}

static void forget(struct vhi_track *t, uint16_t first)
{
	t->live[first] = 0;
	store_entry(t, first);
}

static void packed_given_back(struct vh_queue *q, uint32_t slot)
{
	const uint16_t first = q->track->slot[slot];

	put_back(q->track, first);
	store_free(q->track, first);
	forget(q->track, first);
}

static uint32_t packed_parked(const struct vh_queue *q)
{
	const struct vhi_track *t = q->track;
	uint16_t pos = q->next_avail;

	for (uint32_t i = t->at_again; i < t->n_again; i++)
		pos = packed_on(q->num, pos, t->again[i].n_desc);
	return pos | (uint32_t)q->next_used << 16;
}

static uint32_t packed_given(const struct vh_queue *q, uint32_t i)
{
	return *vhi_order(q, q->seq + i);
}

static void packed_completing(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	struct vhi_track *t = q->track;
	const uint16_t old = t->free;
	uint16_t pos = t->used;

	for (uint32_t i = 0; i < n; i++) {
		const uint32_t id = (uint32_t)cpls[i].token;

		put_back(t, t->slot[id]);
		pos = packed_on(q->num, pos, q->slots[id].n_desc);
	}
	store_free(t, old);
	store_used(t, pos, t->used);
}

static void packed_completed(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	struct vhi_track *t = q->track;

	for (uint32_t i = 0; i < n; i++)
		forget(t, t->slot[(uint32_t)cpls[i].token]);
	t->used = q->next_used;
	store_free(t, t->free);
	store_used(t, t->used, t->used);
}

const struct vhi_tracker vhi_packed_tracker = {
	.head_words = HEAD_WORDS,
	.entry_words = ENTRY_WORDS,
	.recover = packed_recover,
	.taken = packed_taken,
	.given_back = packed_given_back,
	.base = packed_parked,
	.given = packed_given,
	.completing = packed_completing,
	.completed = packed_completed,
	.take = vhi_packed_take_again,
};
