/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A packed ring (virtio 1.2 section 2.8), for either side. A position is an index in bits 0 to 14 and a wrap counter in
 * bit 15, which turns each time that the index passes the end of the ring; so it stands in the base on the wire and in
 * the event areas.
 */
#ifndef VHI_PACKED_H
#define VHI_PACKED_H

#include "vhi_vring.h"

#define VHI_PACKED_WRAP 0x8000u
/* Flags of a descriptor: each side sets both as its own wrap counter tells, so that the other one sees what is new. */
#define VHI_PACKED_AVAIL 0x80u
#define VHI_PACKED_USED	 0x8000u

/* Flags of an event area, the upper half of its word; a position is the lower half. */
#define VHI_EVENT_ALWAYS 0u
#define VHI_EVENT_NEVER	 1u
#define VHI_EVENT_AT	 2u
#define VHI_EVENT_FLAGS	 3u

static inline uint32_t packed_at(uint16_t pos)
{
	return pos & ~VHI_PACKED_WRAP;
}

/* n is at most num. */
static inline uint16_t packed_on(uint32_t num, uint16_t pos, uint32_t n)
{
	const uint32_t at = packed_at(pos) + n, wrap = pos & VHI_PACKED_WRAP;

	return (uint16_t)(at < num ? at | wrap : (at - num) | (wrap ^ VHI_PACKED_WRAP));
}

static inline uint16_t packed_back(uint32_t num, uint16_t pos, uint32_t n)
{
	const uint32_t at = packed_at(pos), wrap = pos & VHI_PACKED_WRAP;

	return (uint16_t)(at >= n ? (at - n) | wrap : (at + num - n) | (wrap ^ VHI_PACKED_WRAP));
}

/* Descriptors from one position on to another: below twice the ring's size. */
static inline uint32_t packed_between(uint32_t num, uint16_t from, uint16_t to)
{
	const uint32_t turn = (from ^ to) & VHI_PACKED_WRAP ? num : 0;
	const uint32_t a = packed_at(from), b = packed_at(to) + turn;

	return b >= a ? b - a : b + 2 * num - a;
}

/* What AVAIL and USED are in a descriptor that was made available, or used, at a position. */
static inline uint32_t packed_avail_marks(uint16_t pos)
{
	return pos & VHI_PACKED_WRAP ? VHI_PACKED_AVAIL : VHI_PACKED_USED;
}

static inline uint32_t packed_used_marks(uint16_t pos)
{
	return pos & VHI_PACKED_WRAP ? VHI_PACKED_AVAIL | VHI_PACKED_USED : 0;
}

/* The second word of a descriptor. */
static inline uint64_t packed_word(uint32_t len, uint32_t id, uint32_t flags)
{
	return len | (uint64_t)id << 32 | (uint64_t)flags << 48;
}

static inline uint32_t packed_flags(uint64_t word)
{
	return (uint32_t)(word >> 48);
}

static inline uint32_t packed_id(uint64_t word)
{
	return (uint16_t)(word >> 32);
}

static inline bool packed_is(uint64_t word, uint32_t marks)
{
	return (packed_flags(word) & (VHI_PACKED_AVAIL | VHI_PACKED_USED)) == marks;
}

static inline uint64_t VHI_SHM *packed_desc(const struct vh_queue *q, uint32_t at)
{
	return (uint64_t VHI_SHM *)q->area[VHI_AREA_DESC] + 2 * (size_t)at;
}

/* The second word of the descriptor at a position, before anything that its flags make valid is loaded. */
static inline uint64_t packed_look(const struct vh_queue *q, uint16_t pos)
{
	return vhi_shm_load64_acquire(packed_desc(q, packed_at(pos)) + 1);
}

/*
 * Notify the peer, if it asks for it in @area, of what was published from @old on: @n descriptors. The fence stands
 * between that store and the load of the peer's wish. A wish that makes no sense is one.
 */
static inline void packed_tell(struct vh_queue *q, uint32_t area, uint16_t old, uint32_t n)
{
	uint32_t word, flags;
	uint16_t event;
	bool wanted;

	vhi_full_fence();
	word = vhi_shm_load32(q->area[area]);
	flags = word >> 16 & VHI_EVENT_FLAGS;
	event = (uint16_t)word;
	if (flags == VHI_EVENT_AT && q->event_idx && packed_at(event) < q->num)
		wanted = packed_between(q->num, old, event) < n;
	else
		wanted = flags != VHI_EVENT_NEVER;
	if (VHI_UNLIKELY(wanted || q->notify_next))
		vhi_queue_notify(q);
}

/* Ask the peer, in @area, to notify us when it gets to @pos, or not at all. */
static inline void packed_ask(struct vh_queue *q, uint32_t area, uint16_t pos, bool on)
{
	uint32_t VHI_SHM *at = q->area[area];

	if (on && q->event_idx)
		vhi_shm_store32(at, VHI_EVENT_AT << 16 | pos);
	else if (q->armed != on)
		vhi_shm_store32(at, (on ? VHI_EVENT_ALWAYS : VHI_EVENT_NEVER) << 16);
	q->armed = on;
}

#endif
