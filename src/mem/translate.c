/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* From one kind of address to another, always for a whole range. */
#include "vhi_region.h"

/* Index of the region that holds addr, or n. */
static uint32_t span_find(const struct vh_snapshot *s, uint64_t addr)
{
	uint64_t at = addr - s->base;
	uint32_t lo, n;

	if (at >= s->span)
		return s->n;
	lo = s->granules[at >> s->shift] / VHI_SPAN_WORDS;
	n = s->granules[(at >> s->shift) + 1] / VHI_SPAN_WORDS - lo + 1u;
	/* The last that begins at addr or before; by halves and without a branch, which a peer's addresses would miss. */
	while (n > 1) {
		uint32_t half = n / 2;

		lo += s->spans[lo + half].gpa <= addr ? half : 0;
		n -= half;
	}
	return addr - s->spans[lo].gpa < s->spans[lo].len ? lo : s->n;
}

int vhi_translate(const struct vh_snapshot *s, struct vhi_gpa addr, uint64_t len, uint32_t perm, struct vh_seg *segs,
		  uint32_t max)
{
	uint64_t next = addr.v;
	uint32_t i = span_find(s, next), n = 0;

	/* Without an IOTLB all of guest memory may be read and written, and a miss doesn't exist. */
	(void)perm;
	for (; len; i++, n++) {
		uint64_t at, take;

		if (i >= s->n || next - s->spans[i].gpa >= s->spans[i].len)
			return VHI_FAULT;
		if (n == max)
			return -ENOSPC;
		at = next - s->spans[i].gpa;
		take = VHI_MIN(len, s->spans[i].len - at);
		if (segs)
			segs[n] = (struct vh_seg){.addr = s->spans[i].host + at, .len = take};
		next += take;
		len -= take;
	}
	return (int)n;
}

const struct vhi_region *vhi_find(const struct vh_snapshot *s, struct vhi_gpa addr)
{
	uint32_t i = span_find(s, addr.v);

	return i < s->n ? s->regions[i] : NULL;
}

/* The region at addr, when it holds len bytes from there. */
static const struct vhi_region *find_whole(const struct vh_snapshot *s, uint64_t addr, uint64_t len)
{
	uint32_t i = span_find(s, addr);

	if (i == s->n || len > s->spans[i].len - (addr - s->spans[i].gpa))
		return NULL;
	return s->regions[i];
}

void VHI_SHM *vhi_translate_one(const struct vh_snapshot *s, struct vhi_gpa addr, uint64_t len)
{
	const struct vhi_region *r = find_whole(s, addr.v, len);

	return r ? (void VHI_SHM *)(uintptr_t)(r->host + (addr.v - r->gpa.v)) : NULL;
}

/* By an index: the region whose key is the last that is not above value, when it holds len bytes from there. */
static struct vhi_region *find_indexed(const struct vh_snapshot *s, const uint16_t *index,
				       uint64_t (*key)(const struct vhi_region *), uint64_t value, uint64_t len)
{
	uint32_t lo = 0, hi = s->n;
	struct vhi_region *r;
	uint64_t at;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (key(s->regions[index[mid]]) <= value)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return NULL;
	r = s->regions[index[lo - 1]];
	at = value - key(r);
	return at < r->len && len <= r->len - at ? r : NULL;
}

bool vhi_uva_to_gpa(const struct vh_snapshot *s, struct vhi_uva uva, uint64_t len, struct vhi_gpa *out)
{
	const struct vhi_region *r = find_indexed(s, s->by_uva, vhi_key_uva, uva.v, len);

	if (!r)
		return false;
	out->v = r->gpa.v + (uva.v - r->uva.v);
	return true;
}

bool vhi_gpa_to_uva(const struct vh_snapshot *s, struct vhi_gpa gpa, uint64_t len, struct vhi_uva *out)
{
	const struct vhi_region *r = find_whole(s, gpa.v, len);

	if (!r)
		return false;
	out->v = r->uva.v + (gpa.v - r->gpa.v);
	return true;
}

bool vhi_host_to_gpa(const struct vh_snapshot *s, const void *host, uint64_t len, struct vhi_gpa *out)
{
	const struct vhi_region *r = find_indexed(s, s->by_host, vhi_key_host, (uintptr_t)host, len);

	if (!r)
		return false;
	out->v = r->gpa.v + ((uintptr_t)host - (uintptr_t)r->host);
	return true;
}

void vhi_snapshot_mark_broken(struct vh_snapshot *s, const void *host)
{
	struct vhi_region *r = find_indexed(s, s->by_host, vhi_key_host, (uintptr_t)host, 1);

	if (r)
		vhi_guard_poison(r);
}
