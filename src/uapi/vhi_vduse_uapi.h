/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What /dev/vduse/control and /dev/vduse/NAME speak. */
#ifndef VHI_VDUSE_UAPI_H
#define VHI_VDUSE_UAPI_H

#include "vhi_ioctl.h"

#define VHI_VDUSE_NAME_MAX 256

/* API 0: ngroups and nas are 0. */
struct vhi_vduse_dev_config {
	char name[VHI_VDUSE_NAME_MAX];
	uint32_t vendor_id;
	uint32_t device_id;
	uint64_t features;
	uint32_t vq_num;
	uint32_t vq_align;
	uint32_t ngroups;
	uint32_t nas;
	uint32_t reserved[11];
	uint32_t config_size;
	uint8_t config[];
};

struct vhi_vduse_iotlb_entry {
	uint64_t offset;
	uint64_t start;
	uint64_t last;
	uint8_t perm; /* VHI_VDUSE_ACCESS_* */
};

struct vhi_vduse_iotlb_entry_v2 {
	uint64_t offset;
	uint64_t start;
	uint64_t last;
	uint8_t perm;
	uint8_t padding[7];
	uint32_t asid;
	uint32_t reserved[11];
};

struct vhi_vduse_config_data {
	uint32_t offset;
	uint32_t length;
	uint8_t buffer[];
};

/* API 0: no group. */
struct vhi_vduse_vq_config {
	uint32_t index;
	uint16_t max_size;
	uint16_t reserved1;
	uint32_t group;
	uint16_t reserved2[10];
};

struct vhi_vduse_vq_state_split {
	uint16_t avail_index;
};

struct vhi_vduse_vq_state_packed {
	uint16_t last_avail_counter;
	uint16_t last_avail_idx;
	uint16_t last_used_counter;
	uint16_t last_used_idx;
};

struct vhi_vduse_vq_group_asid {
	uint32_t group;
	uint32_t asid;
};

struct vhi_vduse_vq_info {
	uint32_t index;
	uint32_t num;
	uint64_t desc_addr;
	uint64_t driver_addr;
	uint64_t device_addr;
	union {
		struct vhi_vduse_vq_state_split split;
		struct vhi_vduse_vq_state_packed packed;
	};
	uint8_t ready;
};

struct vhi_vduse_vq_eventfd {
	uint32_t index;
	int32_t fd; /* VHI_VDUSE_EVENTFD_DEASSIGN takes away */
};

struct vhi_vduse_iova_umem {
	uint64_t uaddr;
	uint64_t iova;
	uint64_t size;
	uint32_t asid;
	uint32_t reserved[5];
};

struct vhi_vduse_iova_info {
	uint64_t start;
	uint64_t last;
	uint64_t capability; /* bits VHI_VDUSE_IOVA_CAP_* */
	uint32_t asid;
	uint32_t reserved[5];
};

struct vhi_vduse_vq_state {
	uint32_t index;
	union {
		struct vhi_vduse_vq_state_split split;
		struct vhi_vduse_vq_state_packed packed;
	};
};

struct vhi_vduse_dev_status {
	uint8_t status;
};

struct vhi_vduse_iova_range {
	uint64_t start;
	uint64_t last;
};

struct vhi_vduse_iova_range_v2 {
	uint64_t start;
	uint64_t last;
	uint32_t asid;
	uint32_t padding;
};

struct vhi_vduse_dev_request {
	uint32_t type; /* VHI_VDUSE_MSG_* */
	uint32_t request_id;
	uint32_t reserved[4];
	union {
		struct vhi_vduse_vq_state vq_state;
		struct vhi_vduse_dev_status s;
		struct vhi_vduse_iova_range iova;
		struct vhi_vduse_iova_range_v2 iova_v2;
		struct vhi_vduse_vq_group_asid vq_group_asid;
		uint32_t padding[32];
	};
};

struct vhi_vduse_dev_response {
	uint32_t request_id;
	uint32_t result; /* VHI_VDUSE_REQ_RESULT_* */
	uint32_t reserved[4];
	union {
		struct vhi_vduse_vq_state vq_state;
		uint32_t padding[32];
	};
};

#define VHI_VDUSE_API_VERSION_0 0
#define VHI_VDUSE_API_VERSION_1 1

#define VHI_VDUSE_EVENTFD_DEASSIGN  (-1)
#define VHI_VDUSE_REQ_RESULT_OK	    0
#define VHI_VDUSE_REQ_RESULT_FAILED 1

#define VHI_VDUSE_ACCESS_RO 1
#define VHI_VDUSE_ACCESS_WO 2
#define VHI_VDUSE_ACCESS_RW 3

#define VHI_VDUSE_IOVA_CAP_UMEM 1 /* a mask */

/* vhi_vduse_dev_request.type; an enum in the kernel's header, without MSG. */
#define VHI_VDUSE_MSG_GET_VQ_STATE	0
#define VHI_VDUSE_MSG_SET_STATUS	1
#define VHI_VDUSE_MSG_UPDATE_IOTLB	2
#define VHI_VDUSE_MSG_SET_VQ_GROUP_ASID 3 /* API 1 */

#define VHI_VDUSE_BASE 0x81

/* clang-format off */
#define VHI_VDUSE_GET_API_VERSION	VHI_IOR(VHI_VDUSE_BASE, 0x00, uint64_t)
#define VHI_VDUSE_SET_API_VERSION	VHI_IOW(VHI_VDUSE_BASE, 0x01, uint64_t)
#define VHI_VDUSE_CREATE_DEV		VHI_IOW(VHI_VDUSE_BASE, 0x02, struct vhi_vduse_dev_config)
#define VHI_VDUSE_DESTROY_DEV		VHI_IOW(VHI_VDUSE_BASE, 0x03, char[VHI_VDUSE_NAME_MAX])
#define VHI_VDUSE_IOTLB_GET_FD		VHI_IOWR(VHI_VDUSE_BASE, 0x10, struct vhi_vduse_iotlb_entry)
#define VHI_VDUSE_DEV_GET_FEATURES	VHI_IOR(VHI_VDUSE_BASE, 0x11, uint64_t)
#define VHI_VDUSE_DEV_SET_CONFIG	VHI_IOW(VHI_VDUSE_BASE, 0x12, struct vhi_vduse_config_data)
#define VHI_VDUSE_DEV_INJECT_CONFIG_IRQ VHI_IO(VHI_VDUSE_BASE, 0x13)
#define VHI_VDUSE_VQ_SETUP		VHI_IOW(VHI_VDUSE_BASE, 0x14, struct vhi_vduse_vq_config)
#define VHI_VDUSE_VQ_GET_INFO		VHI_IOWR(VHI_VDUSE_BASE, 0x15, struct vhi_vduse_vq_info)
#define VHI_VDUSE_VQ_SETUP_KICKFD	VHI_IOW(VHI_VDUSE_BASE, 0x16, struct vhi_vduse_vq_eventfd)
#define VHI_VDUSE_VQ_INJECT_IRQ		VHI_IOW(VHI_VDUSE_BASE, 0x17, uint32_t)
#define VHI_VDUSE_IOTLB_REG_UMEM	VHI_IOW(VHI_VDUSE_BASE, 0x18, struct vhi_vduse_iova_umem)
#define VHI_VDUSE_IOTLB_DEREG_UMEM	VHI_IOW(VHI_VDUSE_BASE, 0x19, struct vhi_vduse_iova_umem)
#define VHI_VDUSE_IOTLB_GET_INFO	VHI_IOWR(VHI_VDUSE_BASE, 0x1a, struct vhi_vduse_iova_info)
#define VHI_VDUSE_IOTLB_GET_FD2		VHI_IOWR(VHI_VDUSE_BASE, 0x1b, struct vhi_vduse_iotlb_entry_v2)
/* clang-format on */

#endif
