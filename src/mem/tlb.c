/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The table of an IOTLB: entries by ascending I/O address that don't overlap. */
#include "vhi_iotlb.h"

struct vhi_tlb *vhi_tlb_get(struct vhi_tlb *t)
{
	if (t)
		__atomic_fetch_add(&t->refs, 1, __ATOMIC_RELAXED);
	return t;
}

void vhi_tlb_put(struct vhi_tlb *t)
{
	if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vhi_snapshot_put(t->snap);
	vhi_free(t);
}

struct vhi_tlb *vhi_tlb_copy(const struct vhi_tlb *t, uint32_t room)
{
	struct vhi_tlb *c = vhi_calloc(1, sizeof(*c) + (size_t)room * sizeof(*c->spans));

	if (!c)
		return NULL;
	c->refs = 1;
	c->room = room;
	c->spans = (struct vhi_tlb_span *)(c + 1);
	if (!t)
		return c;
	c->n = t->n;
	c->number = t->number;
	c->cuts = t->cuts;
	c->lossy = t->lossy;
	c->snap = vhi_snapshot_get(t->snap);
	memcpy(c->spans, t->spans, t->n * sizeof(*t->spans));
	return c;
}

uint32_t vhi_tlb_find(const struct vhi_tlb *t, uint64_t iova)
{
	uint32_t lo = 0, n = t->n;

	while (n) {
		const uint32_t half = n / 2;

		if (t->spans[lo + half].last < iova) {
			lo += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return lo;
}

static void move(struct vhi_tlb *t, uint32_t from, uint32_t to)
{
	memmove(&t->spans[to], &t->spans[from], (t->n - from) * sizeof(*t->spans));
	t->n = t->n - from + to;
}

void vhi_tlb_remove(struct vhi_tlb *t, uint32_t at)
{
	move(t, at + 1, at);
}

/* What is left of an entry from an address on. */
static struct vhi_tlb_span tail(const struct vhi_tlb_span *s, uint64_t from)
{
	struct vhi_tlb_span rest = *s;
	const uint64_t skip = from - s->iova;

	rest.iova = from;
	rest.addr += skip;
	rest.host += s->host ? skip : 0;
	return rest;
}

bool vhi_tlb_cut(struct vhi_tlb *t, uint64_t first, uint64_t last)
{
	const uint32_t lo = vhi_tlb_find(t, first);
	struct vhi_tlb_span keep[2];
	uint32_t hi = lo, kept = 0;

	while (hi < t->n && t->spans[hi].iova <= last)
		hi++;
	if (lo == hi)
		return false;
	if (t->spans[lo].iova < first) {
		keep[kept] = t->spans[lo];
		keep[kept++].last = first - 1;
	}
	if (t->spans[hi - 1].last > last)
		keep[kept++] = tail(&t->spans[hi - 1], last + 1);
	move(t, hi, lo + kept);
	memcpy(&t->spans[lo], keep, kept * sizeof(keep[0]));
	return true;
}

static bool in_one_region(const struct vh_snapshot *snap, uint64_t addr, uint64_t len, bool by_uva)
{
	struct vhi_gpa gpa = {addr};

	return !snap || (by_uva ? vhi_uva_to_gpa(snap, (struct vhi_uva){addr}, len, &gpa)
				: vhi_translate_one(snap, gpa, len) != NULL);
}

/* One entry goes on where the other ends, in every respect; and both together can be told of: 2^64 bytes can't. */
static bool goes_on(const struct vhi_tlb *t, const struct vhi_tlb_span *a, const struct vhi_tlb_span *b, bool by_uva)
{
	const uint64_t len = a->last - a->iova + 1;

	return a->last + 1 == b->iova && a->perm == b->perm && a->addr + len == b->addr && a->addr < b->addr &&
	       (a->iova || b->last != UINT64_MAX) && (!a->host || a->host + len == b->host) &&
	       in_one_region(t->snap, a->addr, len + (b->last - b->iova + 1), by_uva);
}

uint32_t vhi_tlb_insert(struct vhi_tlb *t, const struct vhi_tlb_span *span, bool by_uva)
{
	uint32_t at = vhi_tlb_find(t, span->iova);

	if (at && goes_on(t, &t->spans[at - 1], span, by_uva)) {
		t->spans[--at].last = span->last;
	} else {
		move(t, at, at + 1);
		t->spans[at] = *span;
	}
	if (at + 1 < t->n && goes_on(t, &t->spans[at], &t->spans[at + 1], by_uva)) {
		t->spans[at].last = t->spans[at + 1].last;
		vhi_tlb_remove(t, at + 1);
	}
	return at;
}

int vhi_tlb_translate(const struct vhi_tlb *t, struct vhi_iova iova, uint64_t len, uint32_t perm, struct vh_seg *segs,
		      uint32_t max, uint64_t *at)
{
	uint64_t next = iova.v, end = 0;
	uint32_t i = vhi_tlb_find(t, next), n = 0;

	/* Beyond the last address nothing can ever be known. */
	if (len - 1 > UINT64_MAX - next)
		return VHI_FAULT;
	for (; len; i++) {
		const struct vhi_tlb_span *s = &t->spans[i];
		uint64_t host, take;

		*at = next;
		if (i == t->n || s->iova > next)
			return VHI_MISS;
		if ((s->perm & perm) != perm)
			return VHI_FAULT;
		host = s->host + (next - s->iova);
		take = VHI_MIN(len - 1, s->last - next) + 1;
		if (n && host == end) {
			segs[n - 1].len += take;
		} else if (n == max) {
			return -ENOSPC;
		} else {
			segs[n++] = (struct vh_seg){.addr = host, .len = take};
		}
		end = host + take;
		next += take;
		len -= take;
	}
	return (int)n;
}

void VHI_SHM *vhi_tlb_translate_one(const struct vhi_tlb *t, struct vhi_iova iova, uint64_t len, uint32_t perm, int *rc,
				    uint64_t *at)
{
	struct vh_seg seg;
	int n = vhi_tlb_translate(t, iova, len, perm, &seg, 1, at);

	*rc = n < 0 && n != -ENOSPC ? n : 0;
	return n == 1 ? (void VHI_SHM *)(uintptr_t)seg.addr : NULL;
}

const struct vhi_region *vhi_iotlb_cut(const struct vh_snapshot *s, uint64_t iova, struct vh_iotlb_entry *e)
{
	const struct vhi_gpa gpa = {e->addr + (iova - e->iova)};
	const struct vhi_region *r = vhi_find(s, gpa);
	uint64_t before, after;

	if (!r)
		return NULL;
	before = VHI_MIN(iova - e->iova, gpa.v - r->gpa.v);
	after = VHI_MIN(e->len - (iova - e->iova), r->len - (gpa.v - r->gpa.v));
	e->iova = iova - before;
	e->len = before + after;
	e->addr = gpa.v - before;
	return r;
}
