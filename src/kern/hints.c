/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Why an ioctl of a vhost device failed, as far as its errno value tells, and what to try. */
#include "vhi_kern.h"

#define NO_OWNER    "no process owns it, or another one does: vh_kern_set_owner() comes first"
#define NO_RING	    "the device has no ring of this index"
#define NOT_EVENTFD "the fd is no eventfd; -1 takes it away"
#define RING_RUNS   "the ring runs; stop it first"
#define BAD_ADDRESS "an address is not memory of this process that can be written"

static const struct vhi_ioctl_hint hints[] = {
	{VHI_VHOST_GET_FEATURES, ENOTTY, "this is no vhost device"},
	{VHI_VHOST_SET_FEATURES, EOPNOTSUPP, "a bit was not offered by vh_kern_get_features()"},
	{VHI_VHOST_SET_FEATURES, EFAULT,
	 "LOG_ALL needs vh_kern_set_log_base() before, for all of memory; ACCESS_PLATFORM needs room for an IOTLB"},
	{VHI_VHOST_SET_FEATURES_ARRAY, EOPNOTSUPP, "a bit was not offered by vh_kern_get_features_array()"},
	{VHI_VHOST_SET_OWNER, EBUSY, "it has an owner already; open the file once more for another device"},
	{VHI_VHOST_SET_OWNER, ENOMEM, "no memory, or no thread may be made: see RLIMIT_NPROC"},
	{VHI_VHOST_SET_MEM_TABLE, E2BIG,
	 "too many regions: the module parameter max_mem_regions of vhost says how many, 64 unless set"},
	{VHI_VHOST_SET_MEM_TABLE, EFAULT, "a ring that runs would not lie in it any more"},
	{VHI_VHOST_SET_MEM_TABLE, EINVAL, "the module parameter max_iotlb_entries of vhost is not above 0"},
	{VHI_VHOST_SET_LOG_BASE, EFAULT, "the log has no page for a ring that runs"},
	{VHI_VHOST_SET_LOG_FD, EINVAL, NOT_EVENTFD},
	{VHI_VHOST_SET_VRING_NUM, EBUSY, RING_RUNS},
	{VHI_VHOST_SET_VRING_NUM, EINVAL, "a ring has a power of two of entries, up to 32768"},
	{VHI_VHOST_SET_VRING_ADDR, EOPNOTSUPP, "VH_VRING_LOG is the only flag"},
	{VHI_VHOST_SET_VRING_ADDR, EINVAL,
	 "the available ring is aligned to 2, the used ring and the log to 4; a ring that runs has to be accessible"},
	{VHI_VHOST_SET_VRING_ADDR, EFAULT, BAD_ADDRESS},
	{VHI_VHOST_SET_VRING_BASE, EBUSY, RING_RUNS},
	{VHI_VHOST_SET_VRING_BASE, EINVAL, "an index of a split ring has 16 bits"},
	{VHI_VHOST_SET_VRING_ENDIAN, EBUSY, RING_RUNS},
	{VHI_VHOST_SET_VRING_ENDIAN, EINVAL, "the order is 0, little, or 1, big"},
	{VHI_VHOST_SET_VRING_ENDIAN, ENOTTY, "this kernel was built without CONFIG_VHOST_CROSS_ENDIAN_LEGACY"},
	{VHI_VHOST_GET_VRING_ENDIAN, ENOTTY, "this kernel was built without CONFIG_VHOST_CROSS_ENDIAN_LEGACY"},
	{VHI_VHOST_SET_VRING_KICK, EINVAL, NOT_EVENTFD},
	{VHI_VHOST_SET_VRING_CALL, EINVAL, NOT_EVENTFD},
	{VHI_VHOST_SET_VRING_ERR, EINVAL, NOT_EVENTFD},
	{VHI_VHOST_NEW_WORKER, EFAULT,
	 "threads of the kernel can't be shared out: vh_kern_set_fork_from_owner(1) first"},
	{VHI_VHOST_NEW_WORKER, EINVAL, "no owner, or a device without workers"},
	{VHI_VHOST_NEW_WORKER, ENOMEM, "no memory, or no thread may be made: see RLIMIT_NPROC"},
	{VHI_VHOST_FREE_WORKER, EBUSY, "a ring is still attached to it"},
	{VHI_VHOST_FREE_WORKER, ENODEV, "there is no worker of this number"},
	{VHI_VHOST_FREE_WORKER, EINVAL, "no owner, or a device without workers"},
	{VHI_VHOST_ATTACH_VRING_WORKER, ENODEV, "there is no worker of this number"},
	{VHI_VHOST_ATTACH_VRING_WORKER, EINVAL, "no owner, or a device without workers"},
	{VHI_VHOST_GET_VRING_WORKER, EINVAL, "the ring has no worker"},
	{VHI_VHOST_SET_BACKEND_FEATURES, EOPNOTSUPP, "a bit was not offered by vh_kern_get_backend_features()"},
	{VHI_VHOST_SET_FORK_FROM_OWNER, EBUSY, "it comes before vh_kern_set_owner()"},
	{VHI_VHOST_SET_FORK_FROM_OWNER, EINVAL, "0 or 1"},
	{VHI_VHOST_NET_SET_BACKEND, EFAULT,
	 "the ring's size, addresses and memory come before it, and with ACCESS_PLATFORM what its addresses mean"},
	{VHI_VHOST_NET_SET_BACKEND, ENOTSOCK, "the fd is no tap device and no packet socket"},
	{VHI_VHOST_SCSI_SET_ENDPOINT, ENODEV,
	 "no target of this name has a free portal group with a nexus: see /sys/kernel/config/target/vhost"},
	{VHI_VHOST_SCSI_SET_ENDPOINT, EEXIST, "it shows a target already; clear that first"},
	{VHI_VHOST_SCSI_SET_ENDPOINT, EFAULT, "the rings' sizes, addresses and memory come before it"},
	{VHI_VHOST_SCSI_CLEAR_ENDPOINT, EFAULT, "memory, and what rings there are, come before it"},
	{VHI_VHOST_SCSI_CLEAR_ENDPOINT, EINVAL, "it shows a target of another name"},
	{VHI_VHOST_SCSI_CLEAR_ENDPOINT, ENODEV, "it shows no target"},
	{VHI_VHOST_VSOCK_SET_GUEST_CID, EINVAL, "an address of a guest is above 2 and below 2^32 - 1"},
	{VHI_VHOST_VSOCK_SET_GUEST_CID, EADDRINUSE, "another guest has this address"},
	{VHI_VHOST_VSOCK_SET_RUNNING, EFAULT,
	 "both rings' sizes, addresses and memory come before it, and with ACCESS_PLATFORM what their addresses mean"},
	{VHI_ANY_IOCTL, EPERM, NO_OWNER},
	{VHI_ANY_IOCTL, ENOBUFS, NO_RING},
	{VHI_ANY_IOCTL, EBADF, "the fd is not open"},
	{VHI_ANY_IOCTL, ENOTTY, "this kernel does not have it: see vh_kern_probe()"},
	{VHI_ANY_IOCTL, VHI_ENOTSUPP, "this device does not have it"},
	{VHI_ANY_IOCTL, ENOMEM, "the kernel has no memory for it"},
	{VHI_ANY_IOCTL, EFAULT, BAD_ADDRESS},
};

int vhi_kern_failed(const struct vh_kern *k, uint32_t request, int err, uint32_t queue)
{
	const struct vhi_ioctl_row *row = vhi_ioctl_find(request);
	const int meant = vhi_ioctl_errno(row, err, queue != VH_ERROR_NONE);
	const char *hint = vhi_ioctl_hint(hints, VHI_ARRAY_SIZE(hints), request, meant);

	if (row && !(row->nodes & vhi_kern_node(k)))
		hint = "devices of this kind don't have it in any kernel that is known";
	return vhi_fail_at(meant == VHI_ENOTSUPP ? -EOPNOTSUPP : -meant, VH_ERROR_SYSTEM, 0, queue, VH_ERROR_NONE,
			   "%s: %s on %s: %s%s%s", k->who, row ? row->name : "an ioctl", k->node, vh_error_name(err),
			   hint ? ": " : "", hint ? hint : "");
}
