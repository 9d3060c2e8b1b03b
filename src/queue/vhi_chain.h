/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Taking a chain of descriptors. Each descriptor is loaded once, as two words; whatever the driver does to the table
 * meanwhile, what was checked is what is used, and a chain ends after as many descriptors as its table has, or when it
 * has more segments than the queue allows.
 *
 * It is inline because it is the data path, and careful with registers: where a walk is, is in locals. The rare parts
 * are in chain.c.
 */
#ifndef VHI_CHAIN_H
#define VHI_CHAIN_H

#include "vhi_vring.h"

/*
 * The rare parts. They find the walk at q->dev.chain.w, and leave it there, so that for who calls them it can be in
 * registers.
 *
 * A range that is not in one piece, or has no room where the others are. 0, a site, or -EAGAIN.
 */
int vhi_chain_add(struct vh_queue *q, uint32_t entries, uint64_t addr, uint32_t len);
/* No descriptor is left: may there be more? @entries as in vhi_walk_add(). */
bool vhi_chain_more(struct vh_queue *q, uint32_t entries);
/* On in an indirect table, behind other descriptors. */
void vhi_chain_enter(struct vh_queue *q, uint32_t entries);
/* An indirect table that is not in one piece, or not aligned: q->dev.chain.table is a copy. 0, a site, or -EAGAIN. */
int vhi_chain_copy_table(struct vh_queue *q, uint64_t addr, uint32_t len);
/* The end of a chain that had such a part. Where the next walk looks. */
const struct vh_snapshot *vhi_chain_end(struct vh_queue *q, struct vhi_slot *slot);
/* The chain after the n good ones was refused, or has to wait. What pop returns if n is 0. */
int32_t vhi_take_failed(struct vh_queue *q, int rc, uint32_t n);
/* So many were taken, or none, or it failed, and memory is not whole. */
int32_t vhi_take_poisoned(struct vh_queue *q, int32_t n);
/* Where the segments of a request are, and the end of their room. */
const struct vh_seg *vhi_chain_segs(struct vh_queue *q, const struct vhi_slot *slot, const struct vh_seg **end);
/* Back to the pool when a request ends, which may be what a pop waits for. */
void vhi_chain_put_block(struct vh_queue *q, struct vhi_slot *slot);
void vhi_chain_put_blocks(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n);

/*
 * For a side that polls, reading the clock is a good part of what it adds to the way of one request. So one that is taken
 * alone, as the one before it was, with nothing else in flight, gets no time (0) but by what comes before its push: another
 * pop that finds something, arm, or a look at the statistics.
 */
uint32_t vhi_stamp(struct vh_queue *q);		    /* the time, which the one that is late gets too */
void vhi_took_more(struct vh_queue *q, uint32_t n); /* it did not come alone, but n did */

/* What q->dev.form has to be, now that the run, or its memory, is another one. */
void vhi_chain_form(struct vh_queue *q);

/* Two fields as they lie one behind the other, to be stored at once. */
static inline uint32_t vhi_lie16(uint16_t first, uint16_t second)
{
	return __BYTE_ORDER == __LITTLE_ENDIAN ? first | (uint32_t)second << 16 : (uint32_t)first << 16 | second;
}

static inline uint64_t vhi_lie32(uint32_t first, uint32_t second)
{
	return __BYTE_ORDER == __LITTLE_ENDIAN ? first | (uint64_t)second << 32 : (uint64_t)first << 32 | second;
}

static inline uint32_t vhi_first32(uint64_t both)
{
	return (uint32_t)(__BYTE_ORDER == __LITTLE_ENDIAN ? both : both >> 32);
}

/*
 * A pop. What it only reads is left in the queue: there are not enough registers for all of it, and to copy it to the stack
 * costs a pop of one request more than it spares one of many.
 */
struct vhi_batch {
	uint64_t stamp; /* of the next slot */
	uint64_t bytes; /* that were found readable */
};

static inline __attribute__((always_inline)) struct vhi_batch vhi_batch_begin(struct vh_queue *q, struct vhi_walk *w)
{
	const uint32_t now = q->dev.lone ? 0 : vhi_stamp(q);

	w->snap = q->lookup;
	w->span = w->snap->spans;
	return (struct vhi_batch){.stamp = vhi_lie32(q->seq, now)};
}

/* One range of a chain in a table of so many @entries: a segment, or several; none when it is empty. 0, a site, or -EAGAIN. */
static inline __attribute__((always_inline)) int vhi_walk_add(struct vh_queue *q, struct vhi_walk *w, uint32_t entries,
							      uint64_t addr, uint32_t len)
{
	uint64_t host;
	int rc;

	w->len += len;
	if (VHI_LIKELY(vhi_translate_fast(w->snap, &w->span, addr, len, &host))) {
		w->next->addr = host;
		w->next->len = len;
		w->next++;
		return 0;
	}
	if (!len)
		return 0;
	q->dev.chain.w = *w;
	rc = vhi_chain_add(q, entries, addr, len);
	*w = q->dev.chain.w;
	return rc;
}

/* Whether one more descriptor may follow. */
static inline __attribute__((always_inline)) bool vhi_walk_more(struct vh_queue *q, struct vhi_walk *w,
								uint32_t entries)
{
	bool more;

	if (VHI_LIKELY(w->left))
		return true;
	q->dev.chain.w = *w;
	more = vhi_chain_more(q, entries);
	*w = q->dev.chain.w;
	return more;
}

/* A descriptor of the other kind than those before it: the first writable one. 0 or a site. */
static inline __attribute__((always_inline)) int vhi_walk_turn(struct vhi_walk *w, struct vh_req *req)
{
	if (VHI_REFUSE(VHI_SITE_QUEUE_ORDER, w->side))
		return VHI_SITE_QUEUE_ORDER;
	req->n_rd = (uint32_t)(w->next - w->segs);
	req->rd_len = w->len;
	w->side = VHI_DESC_WRITE;
	w->len = 0;
	return 0;
}

/* A table that an indirect descriptor points to. */
struct vhi_table {
	const uint64_t VHI_SHM *at; /* NULL: there is none */
	uint32_t entries;
};

/* An indirect descriptor, which may not be in such a table itself. 0, a site, or -EAGAIN. */
static inline __attribute__((always_inline)) int vhi_walk_enter(struct vh_queue *q, struct vhi_walk *w, uint64_t addr,
								uint32_t len, uint32_t flags, bool nested,
								struct vhi_table *table)
{
	const uint32_t entries = len / VHI_DESC_SIZE;
	uint64_t host;
	int rc = 0;

	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_NESTED, nested))
		return VHI_SITE_QUEUE_INDIRECT_NESTED;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_OFF, !(q->ring.features & VHI_BIT(VH_F_RING_INDIRECT_DESC))))
		return VHI_SITE_QUEUE_INDIRECT_OFF;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_NEXT, flags & VHI_DESC_NEXT))
		return VHI_SITE_QUEUE_INDIRECT_NEXT;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_LEN, !len || len % VHI_DESC_SIZE))
		return VHI_SITE_QUEUE_INDIRECT_LEN;
	if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_BIG, entries > q->max_segs))
		return VHI_SITE_QUEUE_INDIRECT_BIG;
	if (VHI_UNLIKELY(!vhi_translate_fast(w->snap, &w->span, addr, len, &host) || host & 7)) {
		rc = vhi_chain_copy_table(q, addr, len);
		host = q->dev.chain.table;
	}
	w->left = VHI_MIN(entries, q->dev.row_room);
	if (VHI_UNLIKELY(w->next != w->segs || q->dev.chain.odd)) {
		q->dev.chain.w = *w;
		vhi_chain_enter(q, entries);
		*w = q->dev.chain.w;
	}
	*table = (struct vhi_table){(const uint64_t VHI_SHM *)(uintptr_t)host, entries};
	return rc;
}

/* What there is to look at in a descriptor beyond where its range is: it is not of the kind that the last one was of. */
#define VHI_DESC_KIND (VHI_DESC_WRITE | VHI_DESC_INDIRECT)

/* Linked descriptors: those of a split ring, and of its tables. 0 and the table that the chain goes on in, a site, or -EAGAIN. */
static inline __attribute__((always_inline)) int vhi_walk_linked(struct vh_queue *q, struct vhi_walk *w,
								 const struct vhi_table in, size_t at, bool nested,
								 struct vhi_table *on, struct vh_req *req)
{
	on->at = NULL;
	for (;;) {
		const uint64_t VHI_SHM *desc = in.at + 2 * at;
		const uint64_t addr = vhi_shm_load64(desc), word = vhi_shm_load64(desc + 1);
		const uint32_t flags = (uint32_t)(word >> 32), len = (uint32_t)word;
		int rc;

		if (VHI_UNLIKELY((flags & VHI_DESC_KIND) != w->side)) {
			if (flags & VHI_DESC_INDIRECT)
				return vhi_walk_enter(q, w, addr, len, flags, nested, on);
			rc = vhi_walk_turn(w, req);
			if (rc)
				return rc;
		}
		rc = vhi_walk_add(q, w, in.entries, addr, len);
		if (VHI_UNLIKELY(rc))
			return rc;
		if (!(flags & VHI_DESC_NEXT))
			return 0;
		at = flags >> 16;
		if (VHI_REFUSE(VHI_SITE_QUEUE_NEXT, at >= in.entries))
			return VHI_SITE_QUEUE_NEXT;
		w->left--;
		if (VHI_REFUSE(VHI_SITE_QUEUE_LOOP, !vhi_walk_more(q, w, in.entries)))
			return VHI_SITE_QUEUE_LOOP;
	}
}

/* All descriptors of an indirect table in a packed ring. It has no ids, and of the flags only WRITE means something. */
static inline __attribute__((always_inline)) int vhi_walk_packed_table(struct vh_queue *q, struct vhi_walk *w,
								       const struct vhi_table in, struct vh_req *req)
{
	const uint64_t VHI_SHM *const last = in.at + 2 * ((size_t)in.entries - 1);

	for (const uint64_t VHI_SHM *desc = in.at;; desc += 2) {
		const uint64_t addr = vhi_shm_load64(desc), word = vhi_shm_load64(desc + 1);
		const uint32_t flags = (uint32_t)(word >> 48), len = (uint32_t)word;
		struct vhi_table none;
		int rc;

		if (VHI_UNLIKELY((flags & VHI_DESC_KIND) != w->side)) {
			rc = flags & VHI_DESC_INDIRECT ? vhi_walk_enter(q, w, addr, len, flags, true, &none)
						       : vhi_walk_turn(w, req);
			if (rc)
				return rc;
		}
		rc = vhi_walk_add(q, w, in.entries, addr, len);
		if (VHI_UNLIKELY(rc))
			return rc;
		/* A table of one has no other end; in one that is longer than what was left, it is not the last one's. */
		if (!--w->left && (desc == last || !vhi_walk_more(q, w, in.entries)))
			return 0;
	}
}

static inline int vhi_walk_overrun(bool is)
{
	return VHI_REFUSE(VHI_SITE_QUEUE_OVERRUN, is) ? VHI_SITE_QUEUE_OVERRUN : 0;
}

/* The descriptors of a chain in a packed ring that follow the first one at @at. */
static inline __attribute__((always_inline)) int vhi_walk_packed_rest(struct vh_queue *q, struct vhi_walk *w,
								      const struct vhi_table in, uint32_t num,
								      size_t at, size_t *id, uint32_t *n_desc,
								      struct vh_req *req)
{
	for (;;) {
		uint64_t addr, word;
		uint32_t flags, len;
		int rc;

		w->left--;
		rc = vhi_walk_overrun(!vhi_walk_more(q, w, in.entries));
		if (rc)
			return rc;
		at = at + 1 < num ? at + 1 : 0;
		addr = vhi_shm_load64(in.at + 2 * at);
		word = vhi_shm_load64(in.at + 2 * at + 1);
		flags = (uint32_t)(word >> 48);
		len = (uint32_t)word;
		++*n_desc;
		if (VHI_UNLIKELY((flags & VHI_DESC_KIND) != w->side)) {
			if (VHI_REFUSE(VHI_SITE_QUEUE_INDIRECT_MIXED, flags & VHI_DESC_INDIRECT))
				return VHI_SITE_QUEUE_INDIRECT_MIXED;
			rc = vhi_walk_turn(w, req);
			if (rc)
				return rc;
		}
		rc = vhi_walk_add(q, w, in.entries, addr, len);
		if (VHI_UNLIKELY(rc))
			return rc;
		if (!(flags & VHI_DESC_NEXT)) {
			*id = (uint16_t)(word >> 32);
			return 0;
		}
	}
}

/*
 * A chain of a packed ring of @num, from descriptor @at on; @in has as many entries as are free, and @addr and @word are
 * the first one, whose marks were looked at already: they count in the first one only, which the driver stores
 * last. One lies behind the other, and the last one says the chain's id. A chain is one indirect descriptor, or others.
 */
static inline __attribute__((always_inline)) int vhi_walk_packed(struct vh_queue *q, struct vhi_walk *w,
								 const struct vhi_table in, uint32_t num, size_t at,
								 uint64_t addr, uint64_t word, size_t *id,
								 uint32_t *n_desc, struct vh_req *req)
{
	const uint32_t flags = (uint32_t)(word >> 48), len = (uint32_t)word;
	int rc = 0;

	if (VHI_UNLIKELY(in.entries < w->left)) {
		rc = vhi_walk_overrun(!in.entries);
		if (rc)
			return rc;
		w->left = VHI_MAX(in.entries, 1u);
	}
	*n_desc = 1;
	if ((flags & VHI_DESC_KIND) != w->side) {
		if (flags & VHI_DESC_INDIRECT) {
			struct vhi_table on;

			rc = vhi_walk_enter(q, w, addr, len, flags, false, &on);
			return rc ? rc : vhi_walk_packed_table(q, w, on, req);
		}
		rc = vhi_walk_turn(w, req);
		if (rc)
			return rc;
	}
	rc = vhi_walk_add(q, w, in.entries, addr, len);
	if (VHI_UNLIKELY(rc))
		return rc;
	return flags & VHI_DESC_NEXT ? vhi_walk_packed_rest(q, w, in, num, at, id, n_desc, req) : 0;
}

/*
 * A request is begun, in a slot with its row. What is stored before the walk means nothing if the walk fails: the slot
 * stays free.
 */
static inline __attribute__((always_inline)) struct vhi_slot *
vhi_take_begin(struct vh_queue *q, struct vhi_batch *b, size_t at, struct vhi_walk *w, struct vh_req *req)
{
	const struct vhi_form *form = &q->dev.form;
	struct vhi_slot *slot = &q->slots[at];
	const uint32_t seq = vhi_first32(b->stamp);

	__atomic_store_n(&slot->stamp, b->stamp, __ATOMIC_RELAXED);
	b->stamp += vhi_lie32(1, 0); /* where seq begins anew the clock is a part ahead for once */
	req->token = form->token | at;
	req->user = 0;
	req->seq = seq;
	memcpy(&req->queue, &form->queue, sizeof(form->queue));
	memcpy(&req->mem, &form->mem, sizeof(form->mem));
	w->segs = w->next = &q->dev.rows[at * VHI_INLINE_SEGS];
	w->len = 0;
	w->side = 0;
	w->left = form->left;
	return slot;
}

/* The walk was good: the rest of the request, and of its slot, which is in flight from here on. */
static inline __attribute__((always_inline)) void
vhi_take_end(struct vh_queue *q, struct vhi_batch *b, struct vhi_slot *slot, struct vhi_walk *w, struct vh_req *req)
{
	const uint32_t n = (uint32_t)(w->next - w->segs);

	req->segs = (uintptr_t)w->segs;
	if (w->side) {
		req->wr_len = w->len;
		req->n_wr = n - req->n_rd;
		slot->wr_len = (uint32_t)VHI_MIN(w->len, (uint64_t)UINT32_MAX);
		slot->n_rd = (uint16_t)req->n_rd;
		b->bytes += req->rd_len;
	} else {
		req->rd_len = w->len;
		req->wr_len = 0;
		req->n_rd = n;
		req->n_wr = 0;
		slot->wr_len = 0;
		slot->n_rd = (uint16_t)n;
		b->bytes += w->len;
	}
	if (VHI_UNLIKELY(q->dev.chain.odd)) {
		w->snap = vhi_chain_end(q, slot);
		w->span = w->snap->spans;
	}
	vhi_slot_state(slot, VHI_SLOT_IN_FLIGHT);
}

/* What a pop returns that took n requests, or none, or failed. */
static inline int32_t vhi_taken(struct vh_queue *q, int32_t n)
{
	return VHI_UNLIKELY(vhi_poisoned(q)) ? vhi_take_poisoned(q, n) : n;
}

/* n requests (1 at least), the last of which is before @end, are in flight. */
static inline void vhi_took(struct vh_queue *q, const struct vhi_batch *b, struct vh_req *end, uint32_t n)
{
	end[-1].flags |= VH_REQ_LAST;
	if (q->dev.lone) {
		q->dev.late = (uint32_t)end[-1].token + 1;
		if (VHI_UNLIKELY(n > 1))
			vhi_took_more(q, n);
		q->dev.lone = false;
	}
	q->dev.last = n;
	q->seq += n;
	q->idle = false;
	__atomic_store_n(&q->in_flight, q->in_flight + n, __ATOMIC_RELAXED);
	vhi_count(&q->stats.requests, n);
	vhi_count(&q->stats.bytes_in, b->bytes);
}

/* The newest n requests: are they all in flight? */
static inline bool vhi_newest_in_flight(const struct vh_queue *q, uint32_t n)
{
	for (uint32_t i = 1; i <= n; i++) {
		const struct vhi_slot *slot = &q->slots[*vhi_order(q, q->seq - i)];

		if (slot->state != VHI_SLOT_IN_FLIGHT || slot->seq != q->seq - i)
			return false;
	}
	return true;
}

#endif
