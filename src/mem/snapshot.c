/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Snapshots: made once, never changed, kept by whoever holds a reference. */
#include "vhi_region.h"

#include <inttypes.h>

struct vh_snapshot *vhi_snapshot_get(struct vh_snapshot *s)
{
	if (s)
		__atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void vhi_snapshot_put(struct vh_snapshot *s)
{
	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (uint32_t i = 0; i < s->n; i++)
		vhi_region_put(s->regions[i]);
	vhi_free(s->granules);
	vhi_free(s);
}

/* One block, arrays behind the struct by descending alignment. */
struct vh_snapshot *vhi_snapshot_new(uint32_t n, uint32_t number)
{
	const size_t each = sizeof(struct vhi_span) + sizeof(struct vhi_region *) + 2 * sizeof(uint16_t);
	struct vh_snapshot *s = vhi_calloc(1, sizeof(*s) + n * each);

	if (!s)
		return NULL;
	s->refs = 1;
	s->number = number;
	s->spans = (struct vhi_span *)(s + 1);
	s->regions = (struct vhi_region **)(s->spans + n);
	s->by_uva = (uint16_t *)(s->regions + n);
	s->by_host = s->by_uva + n;
	return s;
}

/* Insertion sort, here and below: libc's allocates behind our back, and tables arrive sorted or small. */
static void sort_indices(const struct vh_snapshot *s, uint16_t *index, uint64_t (*key)(const struct vhi_region *))
{
	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t k = key(s->regions[i]);
		uint32_t at = i;

		for (; at && key(s->regions[index[at - 1]]) > k; at--)
			index[at] = index[at - 1];
		index[at] = (uint16_t)i;
	}
}

static void sort_regions(struct vh_snapshot *s)
{
	for (uint32_t i = 1; i < s->n; i++) {
		struct vhi_region *r = s->regions[i];
		uint32_t at = i;

		for (; at && s->regions[at - 1]->gpa.v > r->gpa.v; at--)
			s->regions[at] = s->regions[at - 1];
		s->regions[at] = r;
	}
}

int vhi_snapshot_order(struct vh_snapshot *s)
{
	sort_regions(s);
	sort_indices(s, s->by_uva, vhi_key_uva);
	for (uint32_t i = 1; i < s->n; i++) {
		const struct vhi_region *a = s->regions[i - 1], *b = s->regions[i];

		if (VHI_REFUSE(VHI_SITE_MEM_GPA_OVERLAP, b->gpa.v - a->gpa.v < a->len))
			return vhi_fail(-EEXIST, VH_ERROR_MEMORY, VHI_SITE_MEM_GPA_OVERLAP,
					"regions at guest addresses 0x%" PRIx64 " and 0x%" PRIx64 " overlap", a->gpa.v,
					b->gpa.v);
		a = s->regions[s->by_uva[i - 1]];
		b = s->regions[s->by_uva[i]];
		if (VHI_REFUSE(VHI_SITE_MEM_UVA_OVERLAP, b->uva.v - a->uva.v < a->len))
			return vhi_fail(-EEXIST, VH_ERROR_MEMORY, VHI_SITE_MEM_UVA_OVERLAP,
					"regions at user addresses 0x%" PRIx64 " and 0x%" PRIx64 " overlap", a->uva.v,
					b->uva.v);
	}
	return 0;
}

static uint64_t last_byte(const struct vhi_region *r)
{
	return r->gpa.v + (r->len - 1);
}

/* True when no granule of this size is touched by two regions. */
static bool granule_separates(const struct vh_snapshot *s, uint32_t shift)
{
	for (uint32_t i = 1; i < s->n; i++)
		if (last_byte(s->regions[i - 1]) >> shift == s->regions[i]->gpa.v >> shift)
			return false;
	return true;
}

/* The largest granule that separates all regions, as long as the table has room for it. */
static uint64_t choose_granule(struct vh_snapshot *s)
{
	const uint64_t first = s->regions[0]->gpa.v, last = last_byte(s->regions[s->n - 1]);
	uint32_t shift = 63;

	while (shift && !granule_separates(s, shift) &&
	       (last >> (shift - 1)) - (first >> (shift - 1)) < VHI_MAX_GRANULES)
		shift--;
	s->shift = shift;
	s->base = first >> shift << shift;
	s->span = last - s->base + 1;
	return (last >> shift) - (first >> shift) + 1;
}

int vhi_snapshot_finish(struct vh_snapshot *s)
{
	uint64_t granules;
	uint16_t at = 0;

	if (!s->n)
		return 0;
	sort_indices(s, s->by_host, vhi_key_host);
	for (uint32_t i = 0; i < s->n; i++) {
		const struct vhi_region *r = s->regions[i];

		s->spans[i] = (struct vhi_span){.gpa = r->gpa.v, .len = r->len, .host = (uintptr_t)r->host};
	}
	granules = choose_granule(s);
	s->granules = vhi_calloc((size_t)granules + 1, sizeof(*s->granules));
	if (!s->granules)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "no memory for the table of a memory snapshot");
	for (uint64_t g = 0; g < granules; g++) {
		while (last_byte(s->regions[at]) - s->base < g << s->shift)
			at++;
		s->granules[g] = (uint16_t)(at * VHI_SPAN_WORDS);
	}
	s->granules[granules] = (uint16_t)((s->n - 1) * VHI_SPAN_WORDS);
	return 0;
}

/* Again, with what came before it: regions are marked before the faults are counted. */
bool vhi_snapshot_look(const struct vh_snapshot *s, uint32_t *seen)
{
	const uint32_t faults = __atomic_load_n(&vhi_guard_faults, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < s->n; i++)
		if (__atomic_load_n(&s->regions[i]->broken, __ATOMIC_RELAXED))
			return true;
	*seen = faults;
	return false;
}

int vhi_snapshot_fd(const struct vh_snapshot *s, uint32_t i)
{
	return s->regions[i]->fd;
}

void vhi_region_describe(const struct vh_snapshot *s, uint32_t i, struct vh_region *out)
{
	const struct vhi_region *r = s->regions[i];

	*out = (struct vh_region){
		.gpa = r->gpa.v,
		.uva = r->uva.v,
		.len = r->len,
		.offset = r->offset,
		.host = (uintptr_t)r->host,
		.page_size = r->page_size,
		.flags = r->flags,
		.number = s->number,
		.map_flags = r->map_flags,
		.map_domain = r->map_domain,
	};
	if (__atomic_load_n(&r->broken, __ATOMIC_RELAXED))
		out->flags |= VH_REGION_BROKEN;
}

uint32_t vh_snapshot_number(const struct vh_snapshot *snap)
{
	return snap ? snap->number : 0;
}

vh_count vh_snapshot_regions(const struct vh_snapshot *snap, struct vh_region *out, uint32_t max)
{
	if (!snap || (!out && max))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_snapshot_regions: give a snapshot, and room for max regions at out");
	for (uint32_t i = 0; i < VHI_MIN(snap->n, max); i++)
		vhi_region_describe(snap, i, &out[i]);
	return (vh_count)snap->n;
}

vh_count vh_snapshot_translate(const struct vh_snapshot *snap, vh_gpa gpa, uint64_t len, uint32_t perm,
			       struct vh_seg *segs, uint32_t max)
{
	const struct vhi_gpa addr = {gpa};
	int n;

	if (!snap || !segs || !len || !perm || (perm & ~(VH_MEM_READ | VH_MEM_WRITE)))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_snapshot_translate: give a snapshot, segs, len above 0 and perm of VH_MEM_*");
	n = vhi_translate(snap, addr, len, perm, NULL, max); /* segs stays as it is if the range's end is bad */
	if (n > 0)
		return vhi_translate(snap, addr, len, perm, segs, max);
	if (n == -ENOSPC)
		return vhi_fail(n, VH_ERROR_ARGUMENT, 0, "vh_snapshot_translate: more than %" PRIu32 " segments", max);
	return vhi_fail(n, VH_ERROR_MEMORY, 0, "guest addresses 0x%" PRIx64 " + 0x%" PRIx64 " are not all in regions",
			gpa, len);
}

void vh_snapshot_free(struct vh_snapshot *snap)
{
	vhi_snapshot_put(snap);
}
