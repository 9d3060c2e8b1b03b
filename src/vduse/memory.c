/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What the driver's addresses mean: for the kernel's own drivers a bounce buffer, for others pieces of their files. They are
 * asked for when a queue meets one that is not known, and stay until the kernel takes them back or the driver resets.
 */
#include "vhi_vduse.h"

#include <inttypes.h>

int vhi_vduse_spaces_new(struct vh_vduse *v)
{
	const uint32_t n = v->opts.address_spaces;

	v->asids = vhi_calloc(v->opts.groups, sizeof(*v->asids));
	v->unmapped = vhi_calloc(1, sizeof(*v->unmapped));
	v->spaces = vhi_calloc(n, sizeof(*v->spaces));
	if (!v->asids || !v->unmapped || !v->spaces)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_vduse_new: no memory");
	for (; v->n_spaces < n; v->n_spaces++) {
		struct vhi_vduse_space *s = &v->spaces[v->n_spaces];
		int rc = vh_mem_new(NULL, &s->mem);

		s->umem = -1;
		if (!rc)
			rc = vh_iotlb_new(NULL, s->mem, &s->iotlb);
		if (rc) {
			vh_mem_free(s->mem);
			return rc;
		}
	}
	return 0;
}

void vhi_vduse_spaces_free(struct vh_vduse *v)
{
	while (v->n_spaces) {
		vh_iotlb_free(v->spaces[--v->n_spaces].iotlb);
		vh_mem_free(v->spaces[v->n_spaces].mem);
		vhi_fd_close(&v->spaces[v->n_spaces].umem);
	}
	vhi_free(v->spaces);
	vhi_free(v->unmapped);
	vhi_free(v->asids);
}

static void forget(struct vhi_vduse_space *s)
{
	vhi_mem_clear(s->mem);
	/* Without memory for that its entries mean nothing: what they pointed to is not there any more. */
	vhi_iotlb_clear(s->iotlb);
}

void vhi_vduse_forget(struct vh_vduse *v)
{
	for (uint32_t i = 0; i < v->n_spaces; i++) {
		forget(&v->spaces[i]);
		v->spaces[i].umem_rc = 0; /* nothing is in flight: try again */
	}
}

uint32_t vhi_vduse_regions(const struct vh_vduse *v)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->n_spaces; i++) {
		vh_count of = vh_mem_regions(v->spaces[i].mem, NULL, 0);

		n += of > 0 ? (uint32_t)of : 0;
	}
	return n;
}

/* The kernel's mapping that holds an address: its fd, or -errno. */
static int ask_kernel(const struct vh_vduse *v, uint32_t asid, uint64_t iova, struct vhi_vduse_iotlb_entry *e)
{
	struct vhi_vduse_iotlb_entry_v2 two = {.start = iova, .last = iova, .asid = asid};
	int fd;

	*e = (struct vhi_vduse_iotlb_entry){.start = iova, .last = iova};
	if (!asid)
		return vhi_vduse_ioctl(v, VHI_VDUSE_IOTLB_GET_FD, e);
	fd = vhi_vduse_ioctl(v, VHI_VDUSE_IOTLB_GET_FD2, &two);
	e->offset = two.offset;
	e->start = two.start;
	e->last = two.last;
	e->perm = two.perm;
	return fd;
}

static uint32_t perms(uint8_t access)
{
	return (access & VHI_VDUSE_ACCESS_RO ? VH_MEM_READ : 0) | (access & VHI_VDUSE_ACCESS_WO ? VH_MEM_WRITE : 0);
}

static bool holds(const struct vhi_vduse_iotlb_entry *e, uint64_t iova)
{
	return e->start <= iova && iova <= e->last && e->last - e->start < UINT64_MAX && perms(e->perm);
}

/* Of pieces that the kernel let go without a word: their address has another meaning now. */
static void drop_stale(struct vhi_vduse_space *s, uint64_t first, uint64_t last)
{
	struct vh_region *r = vhi_calloc(VH_MEM_MAX_REGIONS, sizeof(*r));
	const vh_count n = r ? vh_mem_regions(s->mem, r, VH_MEM_MAX_REGIONS) : 0;

	for (vh_count i = 0; i < n; i++)
		if (r[i].gpa <= last && r[i].gpa + (r[i].len - 1) >= first) {
			vh_iotlb_invalidate(s->iotlb, r[i].gpa, r[i].len);
			vh_mem_remove(s->mem, &r[i]);
		}
	vhi_free(r);
}

static int add(struct vhi_vduse_space *s, const struct vhi_vduse_iotlb_entry *e, int fd)
{
	const struct vh_region region = {
		.gpa = e->start, .uva = e->start, .len = e->last - e->start + 1, .offset = e->offset};
	const struct vh_iotlb_entry entry = {
		.iova = region.gpa, .len = region.len, .addr = region.gpa, .perm = perms(e->perm)};
	int rc = vh_mem_add_fd(s->mem, fd, &region);

	if (rc == -EEXIST) {
		drop_stale(s, e->start, e->last);
		rc = vh_mem_add_fd(s->mem, fd, &region);
	}
	/* More pieces than there may be: what is in use will be missed, and comes back. */
	if (rc == -ENOSPC) {
		forget(s);
		rc = vh_mem_add_fd(s->mem, fd, &region);
	}
	return rc ? rc : vh_iotlb_update(s->iotlb, &entry);
}

static int map(struct vh_vduse *v, uint32_t space, uint64_t iova)
{
	struct vhi_vduse_iotlb_entry e;
	int fd = ask_kernel(v, space, iova, &e), own, rc = -EPROTO;

	if (fd < 0)
		return fd;
	if (!VHI_REFUSE(VHI_SITE_VDUSE_ENTRY, !holds(&e, iova))) {
		own = vhi_vduse_umem(v, space, &e);
		rc = add(&v->spaces[space], &e, own < 0 ? fd : own);
	}
	vhi_fd_close(&fd);
	return rc;
}

void vhi_vduse_map_missed(struct vh_vduse *v)
{
	struct vh_iotlb_miss miss;

	if (v->job.step && v->job.holds_iotlb)
		return;
	for (uint32_t i = 0; i < v->n_spaces; i++)
		while (vhi_iotlb_ask(v->spaces[i].iotlb, UINT64_MAX, &miss)) {
			int rc = map(v, i, miss.iova);

			if (!rc)
				continue;
			vhi_log_line(&v->log, VH_LOG_WARNING, "I/O address 0x%" PRIx64 " of address space %u: %s",
				     miss.iova, i, vh_error_name(rc));
			vh_iotlb_deny(v->spaces[i].iotlb, miss.iova);
		}
}

int vhi_vduse_unmap_begin(struct vh_vduse *v, uint32_t space, uint64_t first, uint64_t last)
{
	struct vhi_vduse_space *s = &v->spaces[space];
	struct vh_snapshot *snap = vhi_mem_snapshot(s->mem);
	struct vhi_unmapped *u = v->unmapped;
	int rc = 0;

	*u = (struct vhi_unmapped){.all = false};
	/* Whole regions: the kernel may put its pieces together in another way. */
	for (uint32_t i = 0; i < snap->n && !rc; i++) {
		const struct vhi_region *r = snap->regions[i];

		if (r->gpa.v > last || r->gpa.v + (r->len - 1) < first)
			continue;
		if (u->n < VHI_UNMAPPED_MAX)
			u->ranges[u->n++] = (struct vh_seg){(uintptr_t)r->host, r->len};
		else
			u->all = true;
		rc = vh_iotlb_invalidate(s->iotlb, r->gpa.v, r->len);
	}
	vhi_snapshot_put(snap);
	for (uint32_t i = 0; i < v->n_queues; i++)
		if (v->rings[i].space == space)
			vhi_queue_ctl(v->rings[i].q, VHI_CTL_IOTLB, NULL);
	return rc;
}

bool vhi_vduse_unmap_waits(struct vh_vduse *v, uint32_t space)
{
	for (uint32_t i = 0; i < v->n_queues && (v->unmapped->n || v->unmapped->all); i++)
		if (v->rings[i].space == space && vhi_queue_unmapped(v->rings[i].q, v->unmapped))
			return true;
	return false;
}

void vhi_vduse_unmap_end(struct vh_vduse *v, uint32_t space, uint64_t first, uint64_t last)
{
	drop_stale(&v->spaces[space], first, last);
	for (uint32_t i = 0; i < v->n_queues; i++)
		if (v->rings[i].space == space)
			vhi_queue_ctl(v->rings[i].q, VHI_CTL_UNWATCH, NULL);
}
