/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Requests by number: their names, for what is said to people, and where they work. */
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
