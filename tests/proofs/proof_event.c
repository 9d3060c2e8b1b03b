/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Whether to notify (virtio 1.2, sections 2.7.7.2 and 2.8.10), for all positions there are. Case 152. */
#include "proof.h"
#include "vhi_packed.h"

void proof_reads(uint64_t at, uint64_t len)
{
	(void)at, (void)len;
}

/* The device's and driver's index went from old to now: did it step over event, that is, was event one of these entries? */
void split_event(void)
{
	const uint16_t event = nondet_u16(), now = nondet_u16(), old = nondet_u16();
	const uint16_t moved = (uint16_t)(now - old), until = (uint16_t)(event - old);
	const bool passed = vhi_event_passed(event, now, old);

	PROVE(passed == (until < moved));
	/* The formula of the specification. */
	PROVE(passed == ((uint16_t)(now - event - 1) < (uint16_t)(now - old)));
	HAPPENS(passed && now < old);
	HAPPENS(!passed && now < old);
}

static bool is_position(uint32_t num, uint16_t pos)
{
	return packed_at(pos) < num;
}

/* Positions of a packed ring of any size: on and back are inverse, and between counts what on passed. */
void packed_positions(void)
{
	const uint32_t num = nondet_u32(), n = nondet_u32();
	const uint16_t pos = nondet_u16();
	uint16_t to;

	ASSUME(num >= 1 && num <= 32768 && n <= num && is_position(num, pos));
	to = packed_on(num, pos, n);
	PROVE(is_position(num, to));
	PROVE(packed_back(num, to, n) == pos);
	PROVE(packed_between(num, pos, to) == n);
	PROVE(packed_on(num, packed_on(num, pos, num), num) == pos);
	PROVE(packed_between(num, to, pos) == (n ? 2 * num - n : 0));
	HAPPENS((to ^ pos) & VHI_PACKED_WRAP && packed_at(to) > 0);
}

/* A descriptor that is available at a position is not so in the next turn, nor used in this one. */
void packed_marks(void)
{
	const uint16_t pos = nondet_u16(), other = (uint16_t)(pos ^ VHI_PACKED_WRAP);
	const uint32_t len = nondet_u32(), id = nondet_u16(), flags = nondet_u16() & 7u;
	const uint64_t word = packed_word(len, id, flags | packed_avail_marks(pos));

	PROVE(packed_is(word, packed_avail_marks(pos)));
	PROVE(!packed_is(word, packed_avail_marks(other)));
	PROVE(!packed_is(word, packed_used_marks(pos)) && !packed_is(word, packed_used_marks(other)));
	PROVE((uint32_t)word == len && packed_id(word) == id && (packed_flags(word) & 7u) == flags);
}

static uint32_t told;

void vhi_queue_notify(struct vh_queue *q)
{
	(void)q;
	told++;
}

static uint32_t wish;

uint64_t nondet_u64(void)
{
	return wish;
}

/*
 * A packed ring's peer asks for position `event`: it is told when one of the n descriptors that were published from `old` on
 * stands there, in either turn; and also when it asks for what there is not (case 150).
 */
void packed_event(void)
{
	struct vh_queue q;
	uint32_t area, num = nondet_u32(), n = nondet_u32(), at = nondet_u32();
	uint16_t old = nondet_u16(), event;
	bool asked;

	ASSUME(num >= 1 && num <= 32768 && is_position(num, old) && n >= 1 && n <= num);
	wish = nondet_u32();
	event = (uint16_t)wish;
	q.num = num;
	q.notify_next = false;
	q.area[VHI_AREA_DRIVER] = &area;
	told = 0;
	packed_tell(&q, VHI_AREA_DRIVER, old, n);
	switch (wish >> 16 & 3) {
	case 1:
		PROVE(!told);
		break;
	case 2:
		asked = !q.event_idx || !is_position(num, event);
		PROVE(!asked || told == 1);
		ASSUME(at < n);
		if (packed_on(num, old, at) == event)
			PROVE(told == 1);
		/* The other way round: told of a position only if it was among them. */
		if (!asked && told)
			PROVE(packed_between(num, old, event) < n);
		break;
	default:
		PROVE(told == 1);
	}
	HAPPENS(told && (wish >> 16 & 3) == 2 && q.event_idx && is_position(num, event) &&
		packed_at(event) < packed_at(old));
	HAPPENS(!told && (wish >> 16 & 3) == 2);
}
