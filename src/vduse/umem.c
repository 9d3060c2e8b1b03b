/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The kernel's own drivers are bounced: what they transfer is copied through pages that both sides see. With VH_VDUSE_UMEM these
 * are pages of a memfd of ours, pinned by the kernel from the first address in them that is met until the device is let go of; they
 * outlive a reset of the driver. The mapping that they are pinned through is not needed after that: pages are what counts.
 */
#include "vhi_vduse.h"

#include <inttypes.h>
#include <sys/mman.h>

static struct vhi_vduse_iova_umem all_of(uint32_t space, uint64_t len)
{
	return (struct vhi_vduse_iova_umem){.size = len, .asid = space};
}

/* A kernel that has it finds no mapping yet, or no device behind it: any errno but this. */
vh_rc vhi_vduse_umem_probe(const struct vh_vduse *v)
{
	struct vhi_vduse_iova_info info = {.start = 0};

	if (!(v->opts.flags & VH_VDUSE_UMEM) || vhi_vduse_ioctl(v, VHI_VDUSE_IOTLB_GET_INFO, &info) != -ENOTTY)
		return 0;
	return vhi_fail(-ENOTSUP, VH_ERROR_SYSTEM, 0,
			"vh_vduse_new: this kernel's VDUSE takes no memory of ours (VDUSE_IOTLB_REG_UMEM, Linux 6.0)");
}

/* 1: the mapping is a bounce buffer, whose pages can be others; 0: it is something else; or -errno. */
static int is_bounce(const struct vh_vduse *v, uint32_t space, const struct vhi_vduse_iotlb_entry *e)
{
	struct vhi_vduse_iova_info info = {.start = e->start, .last = e->last, .asid = space};
	int rc;

	if (e->start || e->offset)
		return 0;
	rc = vhi_vduse_ioctl(v, VHI_VDUSE_IOTLB_GET_INFO, &info);
	return rc < 0 ? rc : info.capability & VHI_VDUSE_IOVA_CAP_UMEM && !info.start && info.last == e->last;
}

static int pin(const struct vh_vduse *v, uint32_t space, uint64_t len, int fd)
{
	struct vhi_vduse_iova_umem umem = all_of(space, len);
	const size_t n = (size_t)len;
	void *at;
	int rc;

	if (n != len)
		return -EFBIG;
	at = vhi_sys.mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	umem.uaddr = (uintptr_t)at;
	rc = vhi_vduse_ioctl(v, VHI_VDUSE_IOTLB_REG_UMEM, &umem);
	vhi_sys.munmap(at, n);
	return rc < 0 ? rc : 0;
}

static int make(const struct vh_vduse *v, uint32_t space, uint64_t len, int *fd)
{
	int rc = vhi_memfd_make(len, 0, fd);

	if (rc)
		return rc;
	rc = pin(v, space, len, *fd);
	if (rc)
		vhi_fd_close(fd);
	return rc;
}

/* Once there are requests in the kernel's pages they stay there: what is in flight would end in pages that nobody looks at. */
static int do_without(struct vh_vduse *v, struct vhi_vduse_space *s, uint64_t len, int rc)
{
	s->umem_rc = rc;
	vhi_log_line(&v->log, VH_LOG_WARNING,
		     "the kernel's bounce pages are used, not %" PRIu64 " KiB of our own: %s%s", len >> 10,
		     vh_error_name(rc),
		     rc == -ENOMEM ? "; all of it is pinned, and has to be below RLIMIT_MEMLOCK (ulimit -l)" : "");
	return -1;
}

int vhi_vduse_umem(struct vh_vduse *v, uint32_t space, const struct vhi_vduse_iotlb_entry *e)
{
	struct vhi_vduse_space *s = &v->spaces[space];
	const uint64_t len = e->last - e->start + 1;
	int rc;

	if (!(v->opts.flags & VH_VDUSE_UMEM) || s->umem_rc)
		return -1;
	rc = is_bounce(v, space, e);
	if (!rc)
		return -1;
	if (rc > 0 && s->umem >= 0)
		return s->umem;
	rc = rc < 0 ? rc : make(v, space, len, &s->umem);
	if (rc)
		return do_without(v, s, len, rc);
	s->umem_len = len;
	vhi_log_line(&v->log, VH_LOG_INFO, "%" PRIu64 " KiB of our own are the bounce pages of address space %u",
		     len >> 10, space);
	return s->umem;
}

/* To close the device is not enough when a child of fork() has it too. */
void vhi_vduse_umem_end(struct vh_vduse *v)
{
	for (uint32_t i = 0; i < v->n_spaces && v->fd >= 0; i++) {
		struct vhi_vduse_iova_umem umem = all_of(i, v->spaces[i].umem_len);

		if (v->spaces[i].umem >= 0)
			vhi_vduse_ioctl(v, VHI_VDUSE_IOTLB_DEREG_UMEM, &umem);
	}
}

void vhi_vduse_umem_info(const struct vh_vduse *v, struct vh_vduse_info *info)
{
	for (uint32_t i = 0; i < v->n_spaces; i++) {
		info->umem += v->spaces[i].umem_len;
		info->umem_rc = info->umem_rc ? info->umem_rc : v->spaces[i].umem_rc;
	}
}
