/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Inflight records of a split ring. An entry for each head of a chain: in flight or not, a counter that tells the order
 * of pop, and the link of the list of the batch that was completed last. Between the entries of a batch and their flags
 * stands the used index of the ring: it says whether the batch was published.
 */
#include "vhi_split.h"
#include "vhi_track.h"

/* Words of the head: features; version, desc_num, last_batch_head, used_idx, of 16 bits each. */
#define HEAD_WORDS 2u
/* Words of an entry: inflight in the lowest byte, next in the highest two; counter. */
#define ENTRY_WORDS 2u

static void store_entry(struct vhi_track *t, uint32_t entry, bool in_flight)
{
	vhi_track_store(t->entries + (size_t)ENTRY_WORDS * entry, (uint64_t)in_flight | (uint64_t)t->next[entry] << 48,
			VHI_TRACK_8_16);
}

static void store_head(struct vhi_track *t)
{
	vhi_track_store(t->head + 1,
			VHI_INFLIGHT_VERSION | (uint64_t)t->n << 16 | (uint64_t)t->last_batch_head << 32 |
				(uint64_t)t->used << 48,
			VHI_TRACK_16);
}

static void begin(struct vhi_track *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		store_entry(t, i, false);
	store_head(t);
}

/* The requests of the last batch, if it was published and not marked so. False when the list makes no sense. */
static int settle(struct vhi_track *t, uint32_t num, uint16_t before, uint64_t *found)
{
	const uint32_t batch = (uint16_t)(t->used - before);
	uint32_t at = t->last_batch_head;

	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_BATCH, batch > num))
		return VHI_SITE_QUEUE_INFLIGHT_BATCH;
	for (uint32_t i = 0; i < batch; i++) {
		if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_LINK, at >= num))
			return VHI_SITE_QUEUE_INFLIGHT_LINK;
		found[at] = 0;
		at = t->next[at];
	}
	return 0;
}

static int collect(struct vhi_track *t, uint32_t num, const uint64_t *found)
{
	for (uint32_t i = 0; i < num; i++) {
		const uint64_t counter = vhi_track_load(t->entries + (size_t)ENTRY_WORDS * i + 1, VHI_TRACK_64);

		if (!found[i]) {
			store_entry(t, i, false);
			continue;
		}
		if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_FLAG, found[i] != 1))
			return VHI_SITE_QUEUE_INFLIGHT_FLAG;
		t->again[t->n_again++] = (struct vhi_again){.counter = counter, .entry = (uint16_t)i};
	}
	vhi_again_sort(t->again, t->n_again);
	t->counter = t->n_again ? t->again[t->n_again - 1].counter + 1 : 0;
	return 0;
}

/* Everything that the ring holds from here on comes after what was in flight, so it is as if these lay there first. */
static int split_recover(struct vh_queue *q, const struct vhi_ring *ring, void VHI_SHM *const area[], uint32_t *base)
{
	const uint16_t VHI_SHM *used = area[VHI_AREA_DEVICE];
	struct vhi_track *t = q->track;
	const uint64_t head = vhi_track_load(t->head + 1, VHI_TRACK_16);
	uint64_t *found;
	int rc;

	t->used = vhi_shm_load16_acquire(used + IDX);
	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_VERSION, (uint16_t)head > VHI_INFLIGHT_VERSION))
		return VHI_SITE_QUEUE_INFLIGHT_VERSION;
	if (!(uint16_t)head) {
		begin(t);
		return 0;
	}
	if (VHI_REFUSE(VHI_SITE_QUEUE_INFLIGHT_NUM, (uint16_t)(head >> 16) != t->n))
		return VHI_SITE_QUEUE_INFLIGHT_NUM;
	t->last_batch_head = (uint16_t)(head >> 32);
	found = vhi_calloc(ring->num, sizeof(*found));
	if (!found)
		return -ENOMEM;
	for (uint32_t i = 0; i < ring->num; i++) {
		const uint64_t word = vhi_track_load(t->entries + (size_t)ENTRY_WORDS * i, VHI_TRACK_8_16);

		found[i] = word & 0xff;
		t->next[i] = (uint16_t)(word >> 48);
	}
	rc = settle(t, ring->num, (uint16_t)(head >> 48), found);
	if (!rc)
		rc = collect(t, ring->num, found);
	vhi_free(found);
	if (rc)
		return rc;
	store_head(t);
	*base = t->used;
	return 0;
}

static void split_taken(struct vh_queue *q, const struct vh_req *reqs, uint32_t n, uint16_t from)
{
	struct vhi_track *t = q->track;

	(void)from;
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t head = (uint32_t)reqs[i].token;

		vhi_track_store(t->entries + (size_t)ENTRY_WORDS * head + 1, t->counter++, VHI_TRACK_64);
		store_entry(t, head, true);
	}
}

static void split_given_back(struct vh_queue *q, uint32_t slot)
{
	store_entry(q->track, slot, false);
}

static uint32_t split_parked(const struct vh_queue *q)
{
	return (uint16_t)(q->next_avail + q->track->n_again - q->track->at_again);
}

static uint32_t split_given(const struct vh_queue *q, uint32_t i)
{
	return *vhi_order(q, q->seq + i);
}

static void split_completing(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	struct vhi_track *t = q->track;

	for (uint32_t i = 0; i < n; i++) {
		const uint32_t head = (uint32_t)cpls[i].token;

		t->next[head] = t->last_batch_head;
		store_entry(t, head, true);
		t->last_batch_head = (uint16_t)head;
	}
	store_head(t);
}

static void split_completed(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		store_entry(q->track, (uint32_t)cpls[i].token, false);
	q->track->used = q->next_used;
	store_head(q->track);
}

const struct vhi_tracker vhi_split_tracker = {
	.head_words = HEAD_WORDS,
	.entry_words = ENTRY_WORDS,
	.recover = split_recover,
	.taken = split_taken,
	.given_back = split_given_back,
	.base = split_parked,
	.given = split_given,
	.completing = split_completing,
	.completed = split_completed,
	.take = vhi_split_take_again,
};
