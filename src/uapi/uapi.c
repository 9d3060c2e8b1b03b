/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Requests by number: their names, for what is said to people, and where they work. */
#include <errno.h>
#include <stddef.h>

#include "vhi_vduse_uapi.h"
#include "vhi_vhost_uapi.h"

#define VHI_IOCTL(id, on, needs) {.name = #id, .request = VHI_##id, .nodes = (on), .owner = (needs)},
const struct vhi_ioctl_row vhi_ioctls[] = {
#include "ioctls.def"
};
#undef VHI_IOCTL
const uint32_t vhi_n_ioctls = sizeof(vhi_ioctls) / sizeof(vhi_ioctls[0]);

const struct vhi_ioctl_row *vhi_ioctl_find(uint32_t request)
{
	for (uint32_t i = 0; i < vhi_n_ioctls; i++)
		if (vhi_ioctls[i].request == request)
			return &vhi_ioctls[i];
	return NULL;
}

const char *vhi_ioctl_hint(const struct vhi_ioctl_hint *rows, size_t n, uint32_t request, int err)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].err == err && (rows[i].request == request || rows[i].request == VHI_ANY_IOCTL))
			return rows[i].hint;
	return NULL;
}

int vhi_ioctl_errno(const struct vhi_ioctl_row *row, int err, bool of_ring)
{
	const bool unknown = row && ((err == EPERM && !row->owner) || (err == ENOBUFS && !of_ring));

	return unknown ? ENOTTY : err;
}
