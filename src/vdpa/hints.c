/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Why an ioctl of a vDPA device failed, as far as its errno value tells, and what to try. */
#include "vhi_vdpa.h"

#define NO_RING	    "the device has no ring of this index"
#define NOT_EVENTFD "the fd is no eventfd; -1 takes it away"
#define RING_RUNS   "a ring stands still before DRIVER_OK, or while the device is suspended"

static const struct vhi_ioctl_hint hints[] = {
	{VHI_VHOST_VDPA_GET_DEVICE_ID, ENOTTY, "this is no vDPA device"},
	{VHI_VHOST_SET_OWNER, EBUSY, "it has an owner already"},
	{VHI_VHOST_SET_FEATURES, EBUSY, "features come before FEATURES_OK; reset it first"},
	{VHI_VHOST_SET_FEATURES, EINVAL, "the device refuses them; many want ACCESS_PLATFORM (33) taken"},
	{VHI_VHOST_SET_FEATURES, EOPNOTSUPP, "a bit was not offered"},
	{VHI_VHOST_SET_BACKEND_FEATURES, EOPNOTSUPP, "a bit was not offered: see vh_vdpa_info.backend_features"},
	{VHI_VHOST_SET_BACKEND_FEATURES, EINVAL, "DESC_ASID needs ASID, PERSIST needs MSG_V2"},
	{VHI_VHOST_VDPA_SET_STATUS, EINVAL, "only a reset (0) clears bits"},
	{VHI_VHOST_VDPA_GET_CONFIG, EINVAL, "the bytes are not inside the config space: see vh_vdpa_info.config_size"},
	{VHI_VHOST_VDPA_SET_CONFIG, EINVAL, "the bytes are not inside the config space: see vh_vdpa_info.config_size"},
	{VHI_VHOST_VDPA_SET_CONFIG_CALL, EINVAL, NOT_EVENTFD},
	{VHI_VHOST_SET_VRING_NUM, EBUSY, RING_RUNS},
	{VHI_VHOST_SET_VRING_NUM, EINVAL, "a ring has a power of two of entries, up to vh_vdpa_info.max_vring_num"},
	{VHI_VHOST_SET_VRING_ADDR, EINVAL, "the available ring is aligned to 2, the used ring to 4, and " RING_RUNS},
	{VHI_VHOST_SET_VRING_BASE, EINVAL, "an index of a split ring has 16 bits, and " RING_RUNS},
	{VHI_VHOST_SET_VRING_KICK, EINVAL, NOT_EVENTFD},
	{VHI_VHOST_SET_VRING_CALL, EINVAL, NOT_EVENTFD},
	{VHI_VHOST_SET_VRING_ERR, EINVAL, NOT_EVENTFD},
	{VHI_VHOST_GET_VRING_BASE, EIO, "the program behind a VDUSE device did not answer"},
	{VHI_VHOST_VDPA_SET_GROUP_ASID, EINVAL, "there is no such group, or no such address space"},
	{VHI_VHOST_VDPA_SET_GROUP_ASID, EBUSY, "it comes before DRIVER_OK"},
	{VHI_VHOST_VDPA_SUSPEND, EOPNOTSUPP, "the device can't be suspended: VH_VDPA_BF_SUSPEND"},
	{VHI_VHOST_VDPA_RESUME, EOPNOTSUPP, "the device can't go on: VH_VDPA_BF_RESUME; reset it instead"},
	{VHI_ANY_IOCTL, EPERM, "it has no owner, or another one: vh_vdpa_set_owner() comes first"},
	{VHI_ANY_IOCTL, ENOBUFS, NO_RING},
	{VHI_ANY_IOCTL, EBADF, "the fd is not open"},
	{VHI_ANY_IOCTL, ENOTTY, "this kernel does not have it"},
	{VHI_ANY_IOCTL, VHI_ENOTSUPP, "this device does not have it"},
	{VHI_ANY_IOCTL, EOPNOTSUPP, "this device does not have it"},
	{VHI_ANY_IOCTL, ENOMEM, "the kernel has no memory for it"},
	{VHI_ANY_IOCTL, EFAULT, "an address is not memory of this process, or the kernel does not know the call"},
};

int vhi_vdpa_failed(const struct vh_vdpa *v, uint32_t request, int err, uint32_t queue)
{
	const struct vhi_ioctl_row *row = vhi_ioctl_find(request);
	const int meant = vhi_ioctl_errno(row, err, queue != VH_ERROR_NONE);
	const char *hint = vhi_ioctl_hint(hints, VHI_ARRAY_SIZE(hints), request, meant);

	return vhi_fail_at(meant == VHI_ENOTSUPP ? -EOPNOTSUPP : -meant, VH_ERROR_SYSTEM, 0, queue, VH_ERROR_NONE,
			   "%s: %s on %.80s: %s%s%s", v->who, row ? row->name : "an ioctl", v->node, vh_error_name(err),
			   hint ? ": " : "", hint ? hint : "");
}
