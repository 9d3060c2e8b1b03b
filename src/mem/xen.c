/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Memory of another Xen domain. The region's file is /dev/xen/privcmd (foreign pages, by frame number) or
 * /dev/xen/gntdev (granted ones, by grant reference), opened by the front-end; what is asked of them is in the UAPI headers
 * xen/privcmd.h and xen/gntdev.h.
 */
#include "vhi_region.h"

#include <inttypes.h>
#include <linux/ioctl.h>
#include <sys/mman.h>

#define PAGE_SHIFT 12
#define PAGE_BYTES (UINT64_C(1) << PAGE_SHIFT)
#define BATCH	   512u	  /* frames in one call */
#define MAX_GRANTS 65536u /* in one region: they are mapped by one call */
#define MAX_DOMAIN 0x7fefu
/* A guest address that stands for a grant has the top bit set, and the reference in place of a frame number. */
#define GRANT_BIT (UINT64_C(1) << 63)

/* Both headers, as they are installed, need others that are not. Frame numbers are as wide as there. */
#if defined(__x86_64__) || defined(__i386__)
typedef unsigned long xen_frame;
#else
typedef uint64_t xen_frame;
#endif
struct privcmd_batch {
	unsigned int num;
	uint16_t dom;
	uint64_t addr;
	const xen_frame *arr;
	int *err;
};
struct gntdev_ref {
	uint32_t domid;
	uint32_t ref;
};
struct gntdev_map {
	uint32_t count;
	uint32_t pad;
	uint64_t index; /* out: where it is in the file */
	struct gntdev_ref refs[1];
};
struct gntdev_unmap {
	uint64_t index;
	uint32_t count;
	uint32_t pad;
};
#define PRIVCMD_MMAPBATCH_V2 _IOC(_IOC_NONE, 'P', 4, sizeof(struct privcmd_batch))
#define GNTDEV_MAP	     _IOC(_IOC_NONE, 'G', 0, sizeof(struct gntdev_map))
#define GNTDEV_UNMAP	     _IOC(_IOC_NONE, 'G', 1, sizeof(struct gntdev_unmap))

static uint32_t pages_of(uint64_t len)
{
	return (uint32_t)(len >> PAGE_SHIFT);
}

int vhi_xen_check(const struct vh_region *d)
{
	const uint32_t kind = d->map_flags & (VH_MAP_XEN_FOREIGN | VH_MAP_XEN_GRANT);
	const uint64_t ref = (d->gpa & ~GRANT_BIT) >> PAGE_SHIFT;

	if (VHI_REFUSE(VHI_SITE_MEM_XEN_FLAGS,
		       d->map_flags & ~(VH_MAP_XEN_FOREIGN | VH_MAP_XEN_GRANT | VH_MAP_ON_DEMAND) ||
			       kind == (VH_MAP_XEN_FOREIGN | VH_MAP_XEN_GRANT)))
		return vhi_fail(-EINVAL, VH_ERROR_MEMORY, VHI_SITE_MEM_XEN_FLAGS,
				"region at guest address 0x%" PRIx64
				": mapping flags 0x%x: one of VH_MAP_XEN_FOREIGN and "
				"VH_MAP_XEN_GRANT",
				d->gpa, d->map_flags);
	if (VHI_REFUSE(VHI_SITE_MEM_XEN_DEMAND, d->map_flags & VH_MAP_ON_DEMAND))
		return vhi_fail(-EOPNOTSUPP, VH_ERROR_MEMORY, VHI_SITE_MEM_XEN_DEMAND,
				"region at guest address 0x%" PRIx64
				" may only be mapped page by page when it is used, "
				"which is not done here; let it be mapped in advance",
				d->gpa);
	if (!kind)
		return 0;
	if (VHI_REFUSE(VHI_SITE_MEM_XEN_PAGES,
		       (d->gpa | d->len) & (PAGE_BYTES - 1) || d->offset || d->len >> PAGE_SHIFT > UINT32_MAX))
		return vhi_fail(-EINVAL, VH_ERROR_MEMORY, VHI_SITE_MEM_XEN_PAGES,
				"region at guest address 0x%" PRIx64 " of Xen: it has to be whole pages, at offset 0",
				d->gpa);
	if (VHI_REFUSE(VHI_SITE_MEM_XEN_DOMAIN, d->map_domain > MAX_DOMAIN))
		return vhi_fail(-EINVAL, VH_ERROR_MEMORY, VHI_SITE_MEM_XEN_DOMAIN,
				"region at guest address 0x%" PRIx64 ": %u is the number of no Xen domain", d->gpa,
				d->map_domain);
	if (VHI_REFUSE(VHI_SITE_MEM_XEN_GRANTS,
		       kind == VH_MAP_XEN_GRANT &&
			       (pages_of(d->len) > MAX_GRANTS || ref + pages_of(d->len) > UINT64_C(1) << 32)))
		return vhi_fail(-EINVAL, VH_ERROR_MEMORY, VHI_SITE_MEM_XEN_GRANTS,
				"region at guest address 0x%" PRIx64 ": 0x%" PRIx64
				" bytes are more grants than can be mapped",
				d->gpa, d->len);
	return 0;
}

static int refused(const struct vhi_region *r, int e)
{
	return vhi_fail(
		e, VH_ERROR_MEMORY, VHI_SITE_MEM_XEN_MAP,
		"region at guest address 0x%" PRIx64 " of Xen domain %u can't be mapped: %s; its file has to be "
		"/dev/xen/%s",
		r->gpa.v, r->map_domain, vh_error_name(e), r->map_flags & VH_MAP_XEN_GRANT ? "gntdev" : "privcmd");
}

static int map_file(struct vhi_region *r, uint64_t offset)
{
	void *map = vhi_sys.mmap(NULL, (size_t)r->len, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, (off_t)offset);

	if (map == MAP_FAILED)
		return -errno;
	r->map = map;
	r->map_len = (size_t)r->len;
	r->host = map;
	return 0;
}

/* Some frames, at their place in the mapping. */
static int map_frames(const struct vhi_region *r, uint32_t from, uint32_t n)
{
	xen_frame frames[BATCH];
	int errors[BATCH] = {0};
	struct privcmd_batch batch = {.num = n,
				      .dom = (uint16_t)r->map_domain,
				      .addr = (uintptr_t)r->host + ((uint64_t)from << PAGE_SHIFT),
				      .arr = frames,
				      .err = errors};

	for (uint32_t i = 0; i < n; i++)
		frames[i] = (xen_frame)((r->gpa.v >> PAGE_SHIFT) + from + i);
	if (vhi_sys.ioctl(r->fd, PRIVCMD_MMAPBATCH_V2, &batch) < 0)
		return -errno;
	for (uint32_t i = 0; i < n; i++)
		if (errors[i])
			return errors[i] < 0 ? errors[i] : -EIO;
	return 0;
}

static int map_foreign(struct vhi_region *r)
{
	const uint32_t n = pages_of(r->len);
	uint32_t some;
	int rc = map_file(r, 0);

	for (uint32_t at = 0; !rc && at < n; at += some) {
		some = VHI_MIN(n - at, BATCH);
		rc = map_frames(r, at, some);
	}
	return rc;
}

static int map_grants(struct vhi_region *r)
{
	const uint32_t n = pages_of(r->len);
	const uint32_t first = (uint32_t)((r->gpa.v & ~GRANT_BIT) >> PAGE_SHIFT);
	struct gntdev_map *map = vhi_calloc(1, offsetof(struct gntdev_map, refs) + n * sizeof(map->refs[0]));
	struct gntdev_ref *refs;
	int rc = 0;

	if (!map)
		return -ENOMEM;
	map->count = n;
	refs = map->refs;
	for (uint32_t i = 0; i < n; i++)
		refs[i] = (struct gntdev_ref){.domid = r->map_domain, .ref = first + i};
	if (vhi_sys.ioctl(r->fd, GNTDEV_MAP, map) < 0) {
		rc = -errno;
	} else {
		r->granted = true;
		r->grants = map->index;
		rc = map_file(r, map->index);
	}
	vhi_free(map);
	return rc;
}

int vhi_xen_map(struct vhi_region *r)
{
	const int rc = r->map_flags & VH_MAP_XEN_GRANT ? map_grants(r) : map_foreign(r);

	r->page_size = PAGE_BYTES;
	return VHI_REFUSE(VHI_SITE_MEM_XEN_MAP, rc) ? refused(r, rc) : 0;
}

void vhi_xen_unmapped(const struct vhi_region *r)
{
	struct gntdev_unmap unmap = {.index = r->grants, .count = pages_of(r->len)};

	if (r->granted)
		vhi_sys.ioctl(r->fd, GNTDEV_UNMAP, &unmap);
}
