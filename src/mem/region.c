/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* One region: is it possible, does its file hold it, map it. */
#include "vhi_region.h"
#include "vhi_uffd.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct vhi_site_text site_texts[] = {
#define VHI_SITE VHI_SITE_TEXT
#include "sites.def"
#undef VHI_SITE
};

const char *vhi_mem_site_text(uint32_t site)
{
	return vhi_site_text(site_texts, VHI_ARRAY_SIZE(site_texts), site);
}

/* The end of the region in its file; false when off_t or size_t can't express the mapping (rounded up, too). */
static bool file_range_fits(uint64_t offset, uint64_t len)
{
	const uint64_t off_max = sizeof(off_t) == sizeof(int64_t) ? INT64_MAX : INT32_MAX;
	uint64_t end;

	return !vhi_add_wraps(offset, len, &end) && end <= off_max && len <= SIZE_MAX / 2;
}

int vhi_region_check(const struct vh_region *d)
{
	if (VHI_REFUSE(VHI_SITE_MEM_EMPTY, !d->len))
		return vhi_fail(-EINVAL, VH_ERROR_MEMORY, VHI_SITE_MEM_EMPTY,
				"region at guest address 0x%" PRIx64 " has 0 bytes; leave it out", d->gpa);
	if (VHI_REFUSE(VHI_SITE_MEM_GPA_WRAP, vhi_range_wraps(d->gpa, d->len)))
		return vhi_fail(-EOVERFLOW, VH_ERROR_MEMORY, VHI_SITE_MEM_GPA_WRAP,
				"region at guest address 0x%" PRIx64 " wraps with its 0x%" PRIx64 " bytes", d->gpa,
				d->len);
	if (VHI_REFUSE(VHI_SITE_MEM_UVA_WRAP, vhi_range_wraps(d->uva, d->len)))
		return vhi_fail(-EOVERFLOW, VH_ERROR_MEMORY, VHI_SITE_MEM_UVA_WRAP,
				"region at user address 0x%" PRIx64 " wraps with its 0x%" PRIx64 " bytes", d->uva,
				d->len);
	if (VHI_REFUSE(VHI_SITE_MEM_FILE_WRAP, !file_range_fits(d->offset, d->len)))
		return vhi_fail(-EOVERFLOW, VH_ERROR_MEMORY, VHI_SITE_MEM_FILE_WRAP,
				"region at guest address 0x%" PRIx64 ": offset 0x%" PRIx64 " + 0x%" PRIx64
				" bytes of its file is more than this process can map",
				d->gpa, d->offset, d->len);
	/* Rings are looked at through the mapping with loads that must be aligned, on some machines on pain of SIGBUS. */
	if (VHI_REFUSE(VHI_SITE_MEM_ALIGN, (d->gpa ^ d->offset) & 15))
		return vhi_fail(-EINVAL, VH_ERROR_MEMORY, VHI_SITE_MEM_ALIGN,
				"region at guest address 0x%" PRIx64 ": file offset 0x%" PRIx64
				" differs modulo 16; keep both aligned alike",
				d->gpa, d->offset);
	return vhi_xen_check(d);
}

int vhi_region_new(const struct vh_region *d, int fd, struct vhi_region **out)
{
	struct vhi_region *r;
	int rc = vhi_region_check(d);

	if (rc)
		return rc;
	r = vhi_calloc(1, sizeof(*r));
	if (!r)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "no memory for a region");
	r->gpa.v = d->gpa;
	r->uva.v = d->uva;
	r->len = d->len;
	r->offset = d->offset;
	r->map_flags = d->map_flags;
	r->map_domain = d->map_domain;
	r->refs = 1;
	r->fd = vhi_fd_dup(fd);
	if (r->fd < 0) {
		rc = vhi_fail(r->fd, VH_ERROR_SYSTEM, 0, "region at guest address 0x%" PRIx64 ": fd %d: %s", d->gpa, fd,
			      vh_error_name(r->fd));
		vhi_free(r);
		return rc;
	}
	*out = r;
	return 0;
}

/* What is behind the fd: page size, seals, and whether it holds the region. */
static int region_look(struct vhi_region *r, bool require_seal)
{
	struct statfs fs;
	struct stat st;
	int seals;

	if (vhi_sys.fstat(r->fd, &st) < 0 || vhi_sys.fstatfs(r->fd, &fs) < 0) {
		int e = -errno;

		return vhi_fail(e, VH_ERROR_SYSTEM, 0, "region at guest address 0x%" PRIx64 ": fstat: %s", r->gpa.v,
				vh_error_name(e));
	}
	r->page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	if ((uint32_t)fs.f_type == HUGETLBFS_MAGIC) {
		r->page_size = (uint64_t)st.st_blksize;
		r->flags |= VH_REGION_HUGE;
	}
	seals = vhi_sys.fcntl(r->fd, F_GET_SEALS, 0);
	if (seals >= 0 && (seals & F_SEAL_SHRINK))
		r->flags |= VH_REGION_SEALED;

	if (VHI_REFUSE(VHI_SITE_MEM_UNSEALED, require_seal && !(r->flags & VH_REGION_SEALED)))
		return vhi_fail(-EPERM, VH_ERROR_MEMORY, VHI_SITE_MEM_UNSEALED,
				"region at guest address 0x%" PRIx64
				": its file could be truncated; seal it with F_SEAL_SHRINK or don't require seals",
				r->gpa.v);
	/* Devices have no size that says anything; for them there is only the SIGBUS guard. */
	if (VHI_REFUSE(VHI_SITE_MEM_SHORT, S_ISREG(st.st_mode) && r->offset + r->len > (uint64_t)st.st_size))
		return vhi_fail(-ENODATA, VH_ERROR_MEMORY, VHI_SITE_MEM_SHORT,
				"region at guest address 0x%" PRIx64 " ends at byte 0x%" PRIx64
				" of a file of 0x%" PRIx64 " bytes; make the file larger first",
				r->gpa.v, r->offset + r->len, (uint64_t)st.st_size);
	return 0;
}

static const char *mmap_advice(int e)
{
	static const struct {
		int e;
		const char *text;
	} advice[] = {
		{EACCES, "it must be open for reading and writing (O_RDWR)"},
		{EPERM, "it is sealed against writing"},
		{ENODEV, "it is nothing that can be mapped; give a memfd or a regular file"},
		{ENOMEM, "no address space or memory map entry, or no huge page (vm.nr_hugepages), is left"},
	};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(advice); i++)
		if (advice[i].e == e)
			return advice[i].text;
	return "see mmap(2)";
}

/*
 * The mapping starts at the page (of the file's own size) that holds the offset. Nothing is populated: a sparse
 * terabyte must cost neither time nor memory.
 */
static int map_file(struct vhi_region *r, bool require_seal)
{
	uint64_t mask, from, to;
	void *map;
	int rc = region_look(r, require_seal);

	if (rc)
		return rc;
	mask = r->page_size - 1;
	from = r->offset & ~mask;
	to = (r->offset + r->len + mask) & ~mask;
	map = vhi_sys.mmap(NULL, (size_t)(to - from), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, (off_t)from);
	rc = map == MAP_FAILED ? -errno : 0;
	if (VHI_REFUSE(VHI_SITE_MEM_MMAP, rc))
		return vhi_fail(rc, VH_ERROR_MEMORY, VHI_SITE_MEM_MMAP,
				"region at guest address 0x%" PRIx64 ": can't map its file: %s: %s", r->gpa.v,
				vh_error_name(rc), mmap_advice(-rc));
	r->map = map;
	r->map_len = (size_t)(to - from);
	r->host = (uint8_t *)map + (r->offset - from);
	return 0;
}

int vhi_region_map(struct vhi_region *r, bool require_seal)
{
	int rc = r->map_flags ? vhi_xen_map(r) : map_file(r, require_seal);

	if (rc)
		return rc;
	/* Guest memory is not for core dumps. */
	if (vhi_sys.madvise(r->map, r->map_len, MADV_DONTDUMP) < 0) {
		rc = -errno;
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0,
				"region at guest address 0x%" PRIx64 ": madvise(MADV_DONTDUMP): %s", r->gpa.v,
				vh_error_name(rc));
	}
	rc = vhi_guard_register(r);
	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "no memory to register a region");
	return 0;
}

/* It has no guest address; the one that its region gets fits the offset, as all of them have to. */
int vhi_file_map(int fd, uint64_t offset, uint64_t len, bool require_seal, struct vhi_region **out)
{
	const struct vh_region desc = {.gpa = offset & 15, .len = len, .offset = offset};
	struct vhi_region *r;
	int rc = vhi_region_new(&desc, fd, &r);

	if (rc)
		return rc;
	rc = vhi_region_map(r, require_seal);
	if (rc)
		vhi_region_put(r);
	else
		*out = r;
	return rc;
}

int vhi_region_watch(struct vhi_region *r, int uffd)
{
	int rc;

	/* A huge page would hide which of its parts are missing. Kernels without huge pages refuse, and are right. */
	vhi_sys.madvise(r->map, r->map_len, MADV_NOHUGEPAGE);
	rc = vhi_uffd_register(uffd, r->map, r->map_len);
	if (VHI_REFUSE(VHI_SITE_MEM_UFFD, rc))
		return vhi_fail(rc, VH_ERROR_MEMORY, VHI_SITE_MEM_UFFD,
				"region at guest address 0x%" PRIx64
				": its missing pages can't be waited for: %s; it has to be a memfd, or hugetlbfs",
				r->gpa.v, vh_error_name(rc));
	r->watched = true;
	return 0;
}

void vhi_region_unwatch(struct vhi_region *r, int uffd)
{
	if (r->watched)
		vhi_uffd_unregister(uffd, r->map, r->map_len);
	r->watched = false;
}

struct vhi_region *vhi_region_get(struct vhi_region *r)
{
	__atomic_fetch_add(&r->refs, 1, __ATOMIC_RELAXED);
	return r;
}

void vhi_region_put(struct vhi_region *r)
{
	if (__atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL))
		return;
	vhi_guard_unregister(r);
	if (r->map)
		vhi_sys.munmap(r->map, r->map_len);
	vhi_xen_unmapped(r);
	vhi_fd_close(&r->fd);
	vhi_free(r);
}
