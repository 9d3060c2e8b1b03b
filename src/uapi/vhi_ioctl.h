/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Request numbers of ioctls, as each architecture makes them. The installed Linux headers lag by years behind the kernel
 * that a program meets, so the library has its own definitions; the gate `uapi` compares the two.
 */
#ifndef VHI_IOCTL_H
#define VHI_IOCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__powerpc__) || defined(__mips__) || defined(__sparc__) || defined(__alpha__)
#define VHI_IOC_DIR_SHIFT 29
#define VHI_IOC_NONE	  1u
#define VHI_IOC_READ	  2u
#define VHI_IOC_WRITE	  4u
#elif defined(__hppa__)
#define VHI_IOC_DIR_SHIFT 30
#define VHI_IOC_NONE	  0u
#define VHI_IOC_READ	  1u
#define VHI_IOC_WRITE	  2u
#else
#define VHI_IOC_DIR_SHIFT 30
#define VHI_IOC_NONE	  0u
#define VHI_IOC_READ	  2u
#define VHI_IOC_WRITE	  1u
#endif

/* Read and write as the program sees it. */
#define VHI_IOC(dir, type, nr, size) \
	(((uint32_t)(dir) << VHI_IOC_DIR_SHIFT) | ((uint32_t)(size) << 16) | ((uint32_t)(type) << 8) | (uint32_t)(nr))
#define VHI_IO(type, nr)	VHI_IOC(VHI_IOC_NONE, type, nr, 0)
#define VHI_IOR(type, nr, arg)	VHI_IOC(VHI_IOC_READ, type, nr, sizeof(arg))
#define VHI_IOW(type, nr, arg)	VHI_IOC(VHI_IOC_WRITE, type, nr, sizeof(arg))
#define VHI_IOWR(type, nr, arg) VHI_IOC(VHI_IOC_READ | VHI_IOC_WRITE, type, nr, sizeof(arg))

/* Which device files know an ioctl. */
#define VHI_NODE_NET	    1u
#define VHI_NODE_VSOCK	    2u
#define VHI_NODE_SCSI	    4u
#define VHI_NODE_VDPA	    8u
#define VHI_NODE_VDUSE_CTRL 16u
#define VHI_NODE_VDUSE	    32u
#define VHI_NODE_WORKERS    (VHI_NODE_NET | VHI_NODE_VSOCK | VHI_NODE_SCSI)
#define VHI_NODE_VHOST	    (VHI_NODE_WORKERS | VHI_NODE_VDPA)

struct vhi_ioctl_row {
	const char *name; /* the kernel's */
	uint32_t request;
	uint32_t nodes; /* VHI_NODE_* */
	bool owner;	/* refused (EPERM) without SET_OWNER */
};

/* All of them, in the order of ioctls.def. */
extern const struct vhi_ioctl_row vhi_ioctls[];
extern const uint32_t vhi_n_ioctls;

/* NULL: there is none. No two have the same number. */
const struct vhi_ioctl_row *vhi_ioctl_find(uint32_t request);

#define VHI_ENOTSUPP  524 /* of the kernel's own, which no libc knows */
#define VHI_ANY_IOCTL 0u

/* What a failure means, and what to try. Of a table the first row that fits counts. */
struct vhi_ioctl_hint {
	uint32_t request; /* or VHI_ANY_IOCTL */
	int err;
	const char *hint;
};

const char *vhi_ioctl_hint(const struct vhi_ioctl_hint *rows, size_t n, uint32_t request, int err);

/*
 * The errno value of a failure as it is meant: ENOTTY where the kernel does not know the call. It takes that for something
 * about a ring then, for which there is no owner, or which there is not. @of_ring: it is about one.
 */
int vhi_ioctl_errno(const struct vhi_ioctl_row *row, int err, bool of_ring);

#endif
