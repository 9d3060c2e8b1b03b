/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The driver side of a packed ring (virtio 1.2 section 2.8). A slot is a buffer id. The device looks at a chain's first
 * descriptor before the others, so that one's second word, which has the marks, is stored after the rest of the chain,
 * and that of the first chain of a batch after everything else. Of a chain that is refused half-way nothing looks
 * available any more.
 */
#include "vhi_in_order.h"
#include "vhi_packed.h"
#include "vhi_submit.h"

/* The next descriptor of a chain, when they are kept. */
static void keep(struct vh_queue *q, struct vhi_slot *slot, uint32_t i, struct vhi_kept d)
{
	uint32_t at = q->drv.kept_free ? q->drv.kept_free - 1 : q->drv.kept_fresh++;

	if (q->drv.kept_free)
		q->drv.kept_free = q->drv.kept[at].next;
	if (i)
		q->drv.kept[slot->last].next = (uint16_t)(at + 1);
	else
		slot->block = (uint16_t)at;
	slot->last = (uint16_t)at;
	q->drv.kept[at] = d;
}

static void keep_no_more(struct vh_queue *q, const struct vhi_slot *slot)
{
	q->drv.kept[slot->last].next = (uint16_t)q->drv.kept_free;
	q->drv.kept_free = slot->block + 1u;
}

/* Every segment was found a moment ago. */
static void keep_chain(struct vh_queue *q, const struct vh_req *req, uint16_t id)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	const uint32_t k = req->n_rd + req->n_wr;

	for (uint32_t i = 0; i < k; i++) {
		struct vhi_kept d = {.len = (uint32_t)segs[i].len, .flags = (uint16_t)vhi_seg_flags(req, i, k)};

		vhi_seg_gpa(q, segs[i].addr, segs[i].len, &d.addr);
		keep(q, &q->slots[id], i, d);
	}
}

/* Descriptors that are being written: in the ring, or one behind the other in a table. */
struct writer {
	uint64_t VHI_SHM *table;
	size_t at, last;
	uint64_t common; /* what second words have in common: id and marks */
	uint64_t word;	 /* of the last */
	uint64_t head;	 /* in the ring: of the first, which is still to be stored */
};

#define BOTH_MARKS ((uint64_t)(VHI_PACKED_AVAIL | VHI_PACKED_USED) << 48)

/* The readable segments of a request, or the writable ones. The chain begins at @first. */
static inline __attribute__((always_inline)) enum vhi_refusal
put_part(struct vh_queue *q, struct writer *w, const bool direct, size_t first, uint32_t num, const struct vh_seg *seg,
	 const struct vh_seg *end, uint32_t kind, uint64_t *bytes)
{
	uint64_t sum = 0;

	for (; seg != end; seg++) {
		uint64_t VHI_SHM *d = w->table + 2 * w->at;
		const uint64_t len = seg->len;
		enum vhi_refusal rc;
		uint64_t gpa;

		rc = vhi_seg_gpa(q, seg->addr, len, &gpa);
		if (VHI_UNLIKELY(rc))
			return rc;
		vhi_shm_store64(d, gpa);
		w->word = w->common | len | (uint64_t)kind << 48;
		if (!direct || w->at != first)
			vhi_shm_store64(d + 1, w->word);
		else
			w->head = w->word;
		sum += len;
		w->last = w->at++;
		if (direct && VHI_UNLIKELY(w->at == num)) {
			w->at = 0;
			w->common ^= BOTH_MARKS;
		}
	}
	*bytes = sum;
	return TAKEN;
}

/* Where the next chain begins, and what its marks are in a second word. */
struct place {
	size_t at;
	uint64_t marks;
};

static inline struct place place_of(uint16_t pos)
{
	return (struct place){packed_at(pos), (uint64_t)packed_avail_marks(pos) << 48};
}

static inline uint16_t pos_of(const struct place *p)
{
	return (uint16_t)(p->at | (p->marks >> 48 & VHI_PACKED_AVAIL ? VHI_PACKED_WRAP : 0));
}

static inline __attribute__((always_inline)) void place_on(const struct vhi_submit *b, struct place *p)
{
	if (VHI_UNLIKELY(++p->at == b->num)) {
		p->at = 0;
		p->marks ^= BOTH_MARKS;
	}
}

/* Those of them that were stored look available behind a head that is not: no more. From the head on, up to @end. */
__attribute__((noinline, cold)) static void take_back(struct vh_queue *q, uint16_t pos, size_t end)
{
	for (; packed_at(pos) != end; pos = packed_on(q->num, pos, 1))
		vhi_shm_store64(packed_desc(q, packed_at(pos)) + 1, packed_word(0, 0, packed_used_marks(pos)));
}

/* A chain at *p, which moves behind it; *head is the second word of its first descriptor, which is still to be stored. */
static inline __attribute__((always_inline)) enum vhi_refusal put_direct(struct vh_queue *q, const struct vhi_submit *b,
									 const struct vh_req *req, struct place *p,
									 uint64_t *head, struct vhi_sent *sent)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs, *turn = segs + req->n_rd;
	const size_t first = p->at;
	struct writer w = {
		.table = packed_desc(q, 0), .at = first, .common = packed_word(0, b->free, VHI_DESC_NEXT) | p->marks};
	enum vhi_refusal rc = put_part(q, &w, true, first, b->num, segs, turn, 0, &sent->rd_len);

	if (!rc)
		rc = put_part(q, &w, true, first, b->num, turn, turn + req->n_wr, VHI_DESC_WRITE, &sent->wr_len);
	if (VHI_UNLIKELY(rc)) {
		take_back(q, pos_of(p), w.at);
		return rc;
	}
	w.word &= ~((uint64_t)VHI_DESC_NEXT << 48);
	if (w.last == first)
		w.head = w.word;
	else
		vhi_shm_store64(w.table + 2 * w.last + 1, w.word);
	*head = w.head;
	if (VHI_UNLIKELY(q->drv.kept))
		keep_chain(q, req, b->free);
	*p = (struct place){w.at, w.common & BOTH_MARKS};
	return TAKEN;
}

/* The same of one segment, where nothing has to be linked, counted or taken back. */
static inline __attribute__((always_inline)) enum vhi_refusal put_one(struct vh_queue *q, const struct vhi_submit *b,
								      const struct vh_req *req, struct place *p,
								      uint64_t *head, struct vhi_sent *sent)
{
	const struct vh_seg *seg = (const struct vh_seg *)(uintptr_t)req->segs;
	const uint64_t len = seg->len, write = req->n_wr; /* or read, if it is 0 */
	uint64_t gpa;
	const enum vhi_refusal rc = vhi_seg_gpa(q, seg->addr, len, &gpa);

	if (VHI_UNLIKELY(rc))
		return rc;
	vhi_shm_store64(packed_desc(q, 0) + 2 * p->at, gpa);
	sent->wr_len = write ? len : 0;
	sent->rd_len = len - sent->wr_len;
	*head = p->marks | (uint64_t)b->free << 32 | len | write * VHI_DESC_WRITE << 48;
	if (VHI_UNLIKELY(q->drv.kept))
		keep_chain(q, req, b->free);
	place_on(b, p);
	return TAKEN;
}

/* The same with a table, in which descriptors have no links, no id and no marks. */
static inline __attribute__((always_inline)) enum vhi_refusal put_indirect(struct vh_queue *q,
									   const struct vhi_submit *b,
									   const struct vh_req *req, struct place *p,
									   uint64_t *head, struct vhi_sent *sent)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs, *turn = segs + req->n_rd;
	const uint64_t row = (uint64_t)b->free * q->ring.max_indirect * VHI_DESC_SIZE;
	const uint64_t at = q->ring.indirect.v + q->ring.iova_shift + row;
	struct writer w = {.table = (uint64_t VHI_SHM *)q->area[VHI_AREA_INDIRECT] + row / sizeof(*w.table)};
	enum vhi_refusal rc = put_part(q, &w, false, 0, 0, segs, turn, 0, &sent->rd_len);
	uint32_t len;

	if (!rc)
		rc = put_part(q, &w, false, 0, 0, turn, turn + req->n_wr, VHI_DESC_WRITE, &sent->wr_len);
	if (VHI_UNLIKELY(rc))
		return rc;
	len = (uint32_t)w.at * VHI_DESC_SIZE;
	vhi_shm_store64(packed_desc(q, 0) + 2 * p->at, at);
	if (VHI_UNLIKELY(q->drv.kept))
		keep(q, &b->slots[b->free], 0, (struct vhi_kept){.addr = at, .len = len, .flags = VHI_DESC_INDIRECT});
	*head = packed_word(len, b->free, VHI_DESC_INDIRECT) | p->marks;
	place_on(b, p);
	return TAKEN;
}

static inline __attribute__((always_inline)) enum vhi_refusal
submit_one(struct vh_queue *q, struct vhi_submit *b, const struct vh_req *req, struct place *p, uint64_t *head)
{
	const uint64_t k = (uint64_t)req->n_rd + req->n_wr;
	bool indirect;
	enum vhi_refusal rc = vhi_submit_check(b, req, k, &indirect);
	struct vhi_sent sent;

	if (rc)
		return rc;
	if (indirect)
		rc = put_indirect(q, b, req, p, head, &sent);
	else
		rc = k == 1 ? put_one(q, b, req, p, head, &sent) : put_direct(q, b, req, p, head, &sent);
	if (VHI_UNLIKELY(rc))
		return rc;
	vhi_submitted(b, req, &sent, b->free, indirect ? 1 : (uint32_t)k, vhi_link(b->link, b->free));
	return TAKEN;
}

static int32_t packed_submit(struct vh_queue *q, const struct vh_req *reqs, uint32_t n)
{
	uint64_t VHI_SHM *const ring = packed_desc(q, 0);
	struct vhi_submit b = vhi_submit_begin(q, n);
	const uint16_t old = q->next_avail;
	const uint32_t n_free = b.n_free;
	struct place p = place_of(old);
	enum vhi_refusal rc = TAKEN;
	uint64_t first = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		const size_t at = p.at;
		uint64_t head = 0;

		rc = submit_one(q, &b, &reqs[i], &p, &head);
		if (rc)
			break;
		if (i)
			vhi_shm_store64(ring + 2 * at + 1, head);
		else
			first = head;
	}
	if (!i)
		return vhi_queue_leave_with(q, vhi_refused(q, rc));
	vhi_shm_store64_release(ring + 2 * (size_t)packed_at(old) + 1, first);
	vhi_move(&q->next_avail, pos_of(&p));
	vhi_submit_end(q, &b, i);
	packed_tell(q, VHI_AREA_DEVICE, old, n_free - b.n_free);
	return vhi_queue_leave_with(q, (int32_t)i);
}

/* Is there one at next_used? What is not in flight can't be: its marks may be older than the ring's last turn. */
static bool is_used(const struct vh_queue *q, uint16_t pos, uint32_t busy, uint64_t *word)
{
	if (!busy)
		return false;
	*word = packed_look(q, pos);
	return packed_is(*word, packed_used_marks(pos));
}

static void packed_release(struct vh_queue *q, uint32_t id)
{
	vhi_link_give(q, (uint16_t)id, (uint16_t)id);
	if (q->drv.kept)
		keep_no_more(q, &q->slots[id]);
	q->drv.n_free += q->slots[id].n_desc;
}

/* At least one was completed, which has @word. 0 with *why: it can't be. */
static inline __attribute__((always_inline)) uint32_t collect(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max,
							      uint64_t word, uint32_t *why)
{
	const uint64_t VHI_SHM *const ring = packed_desc(q, 0);
	struct vh_cpl *cpl = cpls, *const end = cpls + max;
	struct vhi_slot *const slots = q->slots;
	uint16_t *const link = q->drv.link;
	const uint32_t num = q->num;
	uint32_t busy = num - q->drv.n_free, marks = packed_used_marks(q->next_used), site = 0;
	size_t at = packed_at(q->next_used), free = q->drv.free;
	uint64_t bytes = 0;

	for (;;) {
		const uint32_t id = packed_id(word);
		/* Without WRITE a length says nothing. */
		const uint32_t len = packed_flags(word) & VHI_DESC_WRITE ? (uint32_t)word : 0;
		uint32_t n_desc;

		site = vhi_reap_one(slots, num, id, len, cpl);
		if (VHI_UNLIKELY(site))
			break;
		n_desc = slots[id].n_desc;
		link[id] = (uint16_t)(free - id - 1);
		free = id;
		if (VHI_UNLIKELY(q->drv.kept))
			keep_no_more(q, &slots[id]);
		busy -= n_desc;
		at += n_desc;
		if (VHI_UNLIKELY(at >= num)) {
			at -= num;
			marks ^= VHI_PACKED_AVAIL | VHI_PACKED_USED;
		}
		bytes += len;
		/* What is not in flight can't be used: see is_used(). */
		if (++cpl == end || !busy)
			break;
		word = vhi_shm_load64_acquire(ring + 2 * at + 1);
		if (!packed_is(word, marks))
			break;
	}
	vhi_move(&q->next_used, (uint32_t)at | (marks ? VHI_PACKED_WRAP : 0));
	q->drv.n_free = num - busy;
	q->drv.free = (uint16_t)free;
	if (cpl != cpls)
		vhi_reaped(q, (uint32_t)(cpl - cpls), bytes);
	else
		*why = site;
	return (uint32_t)(cpl - cpls);
}

__attribute__((noinline)) static int32_t reap_some(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max, uint64_t word)
{
	uint32_t site = 0, n;

	if (vhi_poisoned(q))
		return vhi_queue_leave_with(q, vhi_queue_broke(q, VHI_SITE_QUEUE_POISONED));
	n = collect(q, cpls, max, word, &site);
	return vhi_queue_leave_with(q, VHI_UNLIKELY(site) ? vhi_queue_broke(q, site) : (int32_t)n);
}

static uint32_t packed_collect(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max, uint32_t *site)
{
	uint64_t word;

	if (!max || !is_used(q, q->next_used, q->num - q->drv.n_free, &word))
		return 0;
	return collect(q, cpls, max, word, site);
}

static int32_t packed_reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max)
{
	uint64_t word;

	if (!max || !is_used(q, q->next_used, q->num - q->drv.n_free, &word))
		return vhi_reaped_none(q);
	return reap_some(q, cpls, max, word);
}

static void packed_arm(struct vh_queue *q, bool on)
{
	packed_ask(q, VHI_AREA_DRIVER, q->next_used, on);
}

static bool packed_more(struct vh_queue *q)
{
	uint64_t word;

	return is_used(q, q->next_used, q->num - q->drv.n_free, &word);
}

/* Both marks equal is neither available nor used by a side whose turn this is the first of. */
static void packed_open(struct vh_queue *q, bool fresh)
{
	if (fresh) {
		q->next_avail = q->next_used = (uint16_t)q->ring.base;
		for (uint32_t at = 0; at < q->num; at++)
			vhi_shm_store64(packed_desc(q, at) + 1, 0);
		vhi_shm_store32(q->area[VHI_AREA_DEVICE], VHI_EVENT_ALWAYS << 16);
	}
	q->drv.near_mem = 0;
	q->armed = false;
	packed_arm(q, true);
}

/* What the device completed, up to *pos, is marked. */
static bool mark_used(struct vh_queue *q, uint16_t *pos)
{
	uint32_t busy = q->num - q->drv.n_free;
	uint64_t word;

	for (*pos = q->next_used; is_used(q, *pos, busy, &word);) {
		const uint32_t id = packed_id(word);

		if (id >= q->num || q->slots[id].state != VHI_SLOT_IN_FLIGHT || q->slots[id].n_desc > busy)
			return false;
		vhi_slot_state(&q->slots[id], VHI_SLOT_DONE);
		busy -= q->slots[id].n_desc;
		*pos = packed_on(q->num, *pos, q->slots[id].n_desc);
	}
	return true;
}

/* A device that is gone may have left its wish for no kicks behind. */
static bool packed_settle(struct vh_queue *q)
{
	uint16_t pos = 0;
	bool good;

	if (!q->drv.kept)
		return false;
	if (q->flags & VHI_QF_IN_ORDER)
		vhi_order_completed(q, true, &pos, &good);
	else
		good = mark_used(q, &pos);
	if (!good)
		return false;
	vhi_shm_store32(q->area[VHI_AREA_DEVICE], VHI_EVENT_ALWAYS << 16);
	q->drv.again = pos;
	return true;
}

static void packed_again(struct vh_queue *q, uint32_t id)
{
	const struct vhi_slot *slot = &q->slots[id];
	uint32_t at = slot->block;

	for (uint32_t i = 0; i < slot->n_desc; i++) {
		const struct vhi_kept *d = &q->drv.kept[at];
		uint64_t VHI_SHM *desc = packed_desc(q, packed_at(q->drv.again));

		vhi_shm_store64(desc, d->addr);
		vhi_shm_store64(desc + 1,
				packed_word(d->len, (uint16_t)id, packed_avail_marks(q->drv.again) | d->flags));
		q->drv.again = packed_on(q->num, q->drv.again, 1);
		at = d->next - 1u;
	}
}

/* What the device completed, reaped or not; a device that lies about it gets what was reaped. */
static uint32_t packed_base(struct vh_queue *q, uint32_t *left)
{
	uint32_t busy = q->num - q->drv.n_free, n = 0;
	uint16_t pos = q->next_used;
	uint64_t word;
	bool good;

	if (q->flags & VHI_QF_IN_ORDER) {
		n = vhi_order_completed(q, false, &pos, &good);
		busy = 0;
	}
	for (; is_used(q, pos, busy, &word); n++) {
		const uint32_t id = packed_id(word);

		if (n == q->in_flight || id >= q->num || !q->slots[id].state || q->slots[id].n_desc > busy) {
			pos = q->next_used;
			n = 0;
			break;
		}
		busy -= q->slots[id].n_desc;
		pos = packed_on(q->num, pos, q->slots[id].n_desc);
	}
	*left = q->in_flight - n;
	return pos | (uint32_t)pos << 16;
}

const struct vhi_layout vhi_packed_driver = {
	.submit = packed_submit,
	.reap = packed_reap,
	.open = packed_open,
	.base = packed_base,
	.arm = packed_arm,
	.settle = packed_settle,
	.again = packed_again,
	.release = packed_release,
	.collect = packed_collect,
	.more = packed_more,
};
