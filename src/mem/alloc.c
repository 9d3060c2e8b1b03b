/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Regions of memory that is our own: memfds. */
#include "vhi_region.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

/*
 * The user address is a name on the wire, and must say nothing about where things are in this process. Tokens keep
 * guest addresses modulo 2 MiB, since the peers check the alignment of either.
 */
#define TOKEN_FIRST UINT64_C(0x100000000)
#define TOKEN_ALIGN UINT64_C(0x200000)

static bool token_at(uint64_t above, uint64_t gpa, uint64_t *token)
{
	uint64_t up = (gpa - above) & (TOKEN_ALIGN - 1);

	return !vhi_add_wraps(above, up, token);
}

/* The lowest gap between the user addresses that are taken. */
static bool token_find(const struct vh_snapshot *s, uint64_t gpa, uint64_t len, uint64_t *token)
{
	if (!token_at(TOKEN_FIRST, gpa, token))
		return false;
	for (uint32_t i = 0; i < s->n; i++) {
		const struct vhi_region *r = s->regions[s->by_uva[i]];
		uint64_t end = r->uva.v + r->len;

		if (end <= *token)
			continue;
		if (r->uva.v > *token && r->uva.v - *token >= len)
			return true;
		if (!token_at(end, gpa, token))
			return false;
	}
	return !vhi_range_wraps(*token, len);
}

/* A file that holds @size bytes and can't be made smaller or larger, nor be closed to others by more seals. */
int vhi_memfd_make(uint64_t size, uint32_t flags, int *out)
{
	int fd = vhi_sys.memfd_create("vh-mem",
				      MFD_CLOEXEC | MFD_ALLOW_SEALING | (flags & VH_REGION_HUGE ? MFD_HUGETLB : 0));
	struct stat st;
	uint64_t mask;
	int rc;

	if (fd < 0)
		return -errno;
	if (vhi_sys.fstat(fd, &st) < 0)
		goto fail;
	mask = (uint64_t)st.st_blksize - 1;
	size = (size + mask) & ~mask;
	if (vhi_sys.ftruncate(fd, (off_t)size) < 0 ||
	    vhi_sys.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		goto fail;
	*out = fd;
	return 0;
fail:
	rc = -errno;
	vhi_fd_close(&fd);
	return rc;
}

vh_rc vh_mem_alloc(struct vh_mem *mem, vh_gpa gpa, uint64_t len, uint32_t flags)
{
	struct vh_region region = {.gpa = gpa, .len = len, .offset = gpa & 15};
	struct vh_snapshot *s;
	bool found;
	int fd, rc;

	if (!mem || !len || (flags & ~VH_REGION_HUGE))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_mem_alloc: give a memory, len above 0, and flags 0 or VH_REGION_HUGE");
	rc = vhi_region_check(&region);
	if (rc)
		return rc;
	s = vhi_mem_snapshot(mem);
	found = token_find(s, gpa, len, &region.uva);
	vhi_snapshot_put(s);
	if (!found)
		return vhi_fail(-ENOSPC, VH_ERROR_MEMORY, 0, "vh_mem_alloc: no room between the user addresses");
	rc = vhi_memfd_make(region.offset + len, flags, &fd);
	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_mem_alloc: memfd of 0x%" PRIx64 " bytes: %s", len,
				vh_error_name(rc));
	rc = vh_mem_add_fd(mem, fd, &region);
	vhi_fd_close(&fd);
	return rc;
}
