/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What /dev/vhost-net, -vsock, -scsi and -vdpa-N speak: structs, requests and constants, of the newest kernel that is known. */
#ifndef VHI_VHOST_UAPI_H
#define VHI_VHOST_UAPI_H

#include "vh/protocol.h"
#include "vhi_ioctl.h"

struct vhi_vhost_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vhi_vhost_vring_file {
	uint32_t index;
	int32_t fd; /* VHI_VHOST_FILE_UNBIND takes away */
};

struct vhi_vhost_worker_state {
	uint32_t worker_id;
};

struct vhi_vhost_vring_worker {
	uint32_t index;
	uint32_t worker_id;
};

struct vhi_vhost_iotlb_msg {
	uint64_t iova;
	uint64_t size;
	uint64_t uaddr;
	uint8_t perm; /* VHI_VHOST_ACCESS_* */
	uint8_t type; /* VHI_VHOST_IOTLB_* */
};

/* With a hole behind the type where 64-bit words are aligned so; the kernel is of the program's own kind here. */
struct vhi_vhost_msg {
	int32_t type;
	union {
		struct vhi_vhost_iotlb_msg iotlb;
		uint8_t padding[64];
	};
};

struct vhi_vhost_msg_v2 {
	uint32_t type;
	uint32_t asid;
	union {
		struct vhi_vhost_iotlb_msg iotlb;
		uint8_t padding[64];
	};
};

struct vhi_vhost_features_array {
	uint64_t count;
	uint64_t features[];
};

struct vhi_vhost_memory_region {
	uint64_t guest_phys_addr;
	uint64_t memory_size;
	uint64_t userspace_addr;
	uint64_t flags_padding;
};

struct vhi_vhost_memory {
	uint32_t nregions;
	uint32_t padding;
	struct vhi_vhost_memory_region regions[];
};

struct vhi_vhost_scsi_target {
	int32_t abi_version;
	char vhost_wwpn[224];
	uint16_t vhost_tpgt;
	uint16_t reserved;
};

struct vhi_vhost_vdpa_config {
	uint32_t off;
	uint32_t len;
	uint8_t buf[];
};

struct vhi_vhost_vdpa_iova_range {
	uint64_t first;
	uint64_t last; /* inclusive */
};

#define VHI_VHOST_FILE_UNBIND	      (-1)
#define VHI_VHOST_VRING_F_LOG	      0
#define VHI_VHOST_VRING_LITTLE_ENDIAN 0
#define VHI_VHOST_VRING_BIG_ENDIAN    1
#define VHI_VHOST_FORK_OWNER_KTHREAD  0
#define VHI_VHOST_FORK_OWNER_TASK     1
#define VHI_VHOST_SCSI_ABI_VERSION    1

#define VHI_VHOST_ACCESS_RO 1
#define VHI_VHOST_ACCESS_WO 2
#define VHI_VHOST_ACCESS_RW 3

#define VHI_VHOST_IOTLB_MISS	    1
#define VHI_VHOST_IOTLB_UPDATE	    2
#define VHI_VHOST_IOTLB_INVALIDATE  3
#define VHI_VHOST_IOTLB_ACCESS_FAIL 4
#define VHI_VHOST_IOTLB_BATCH_BEGIN 5
#define VHI_VHOST_IOTLB_BATCH_END   6

/* vhi_vhost_msg.type, vhi_vhost_msg_v2.type */
#define VHI_VHOST_IOTLB_MSG    1
#define VHI_VHOST_IOTLB_MSG_V2 2

/* Bit numbers of GET_BACKEND_FEATURES. */
#define VHI_VHOST_BACKEND_F_IOTLB_MSG_V2	   1
#define VHI_VHOST_BACKEND_F_IOTLB_BATCH		   2
#define VHI_VHOST_BACKEND_F_IOTLB_ASID		   3
#define VHI_VHOST_BACKEND_F_SUSPEND		   4
#define VHI_VHOST_BACKEND_F_RESUME		   5
#define VHI_VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK 6
#define VHI_VHOST_BACKEND_F_DESC_ASID		   7
#define VHI_VHOST_BACKEND_F_IOTLB_PERSIST	   8

#define VHI_VHOST_VIRTIO 0xaf

/* clang-format off */
#define VHI_VHOST_GET_FEATURES		     VHI_IOR(VHI_VHOST_VIRTIO, 0x00, uint64_t)
#define VHI_VHOST_SET_FEATURES		     VHI_IOW(VHI_VHOST_VIRTIO, 0x00, uint64_t)
#define VHI_VHOST_SET_OWNER		     VHI_IO(VHI_VHOST_VIRTIO, 0x01)
#define VHI_VHOST_RESET_OWNER		     VHI_IO(VHI_VHOST_VIRTIO, 0x02)
#define VHI_VHOST_SET_MEM_TABLE		     VHI_IOW(VHI_VHOST_VIRTIO, 0x03, struct vhi_vhost_memory)
#define VHI_VHOST_SET_LOG_BASE		     VHI_IOW(VHI_VHOST_VIRTIO, 0x04, uint64_t)
#define VHI_VHOST_SET_LOG_FD		     VHI_IOW(VHI_VHOST_VIRTIO, 0x07, int32_t)
#define VHI_VHOST_NEW_WORKER		     VHI_IOR(VHI_VHOST_VIRTIO, 0x08, struct vhi_vhost_worker_state)
#define VHI_VHOST_FREE_WORKER		     VHI_IOW(VHI_VHOST_VIRTIO, 0x09, struct vhi_vhost_worker_state)
#define VHI_VHOST_SET_VRING_NUM		     VHI_IOW(VHI_VHOST_VIRTIO, 0x10, struct vhi_vhost_vring_state)
#define VHI_VHOST_SET_VRING_ADDR	     VHI_IOW(VHI_VHOST_VIRTIO, 0x11, struct vh_vring_addr)
#define VHI_VHOST_SET_VRING_BASE	     VHI_IOW(VHI_VHOST_VIRTIO, 0x12, struct vhi_vhost_vring_state)
#define VHI_VHOST_GET_VRING_BASE	     VHI_IOWR(VHI_VHOST_VIRTIO, 0x12, struct vhi_vhost_vring_state)
#define VHI_VHOST_SET_VRING_ENDIAN	     VHI_IOW(VHI_VHOST_VIRTIO, 0x13, struct vhi_vhost_vring_state)
#define VHI_VHOST_GET_VRING_ENDIAN	     VHI_IOW(VHI_VHOST_VIRTIO, 0x14, struct vhi_vhost_vring_state)
#define VHI_VHOST_ATTACH_VRING_WORKER	     VHI_IOW(VHI_VHOST_VIRTIO, 0x15, struct vhi_vhost_vring_worker)
#define VHI_VHOST_GET_VRING_WORKER	     VHI_IOWR(VHI_VHOST_VIRTIO, 0x16, struct vhi_vhost_vring_worker)
#define VHI_VHOST_SET_VRING_KICK	     VHI_IOW(VHI_VHOST_VIRTIO, 0x20, struct vhi_vhost_vring_file)
#define VHI_VHOST_SET_VRING_CALL	     VHI_IOW(VHI_VHOST_VIRTIO, 0x21, struct vhi_vhost_vring_file)
#define VHI_VHOST_SET_VRING_ERR		     VHI_IOW(VHI_VHOST_VIRTIO, 0x22, struct vhi_vhost_vring_file)
#define VHI_VHOST_SET_VRING_BUSYLOOP_TIMEOUT VHI_IOW(VHI_VHOST_VIRTIO, 0x23, struct vhi_vhost_vring_state)
#define VHI_VHOST_GET_VRING_BUSYLOOP_TIMEOUT VHI_IOW(VHI_VHOST_VIRTIO, 0x24, struct vhi_vhost_vring_state)
#define VHI_VHOST_SET_BACKEND_FEATURES	     VHI_IOW(VHI_VHOST_VIRTIO, 0x25, uint64_t)
#define VHI_VHOST_GET_BACKEND_FEATURES	     VHI_IOR(VHI_VHOST_VIRTIO, 0x26, uint64_t)
#define VHI_VHOST_NET_SET_BACKEND	     VHI_IOW(VHI_VHOST_VIRTIO, 0x30, struct vhi_vhost_vring_file)
#define VHI_VHOST_SCSI_SET_ENDPOINT	     VHI_IOW(VHI_VHOST_VIRTIO, 0x40, struct vhi_vhost_scsi_target)
#define VHI_VHOST_SCSI_CLEAR_ENDPOINT	     VHI_IOW(VHI_VHOST_VIRTIO, 0x41, struct vhi_vhost_scsi_target)
#define VHI_VHOST_SCSI_GET_ABI_VERSION	     VHI_IOW(VHI_VHOST_VIRTIO, 0x42, int32_t)
#define VHI_VHOST_SCSI_SET_EVENTS_MISSED     VHI_IOW(VHI_VHOST_VIRTIO, 0x43, uint32_t)
#define VHI_VHOST_SCSI_GET_EVENTS_MISSED     VHI_IOW(VHI_VHOST_VIRTIO, 0x44, uint32_t)
#define VHI_VHOST_VSOCK_SET_GUEST_CID	     VHI_IOW(VHI_VHOST_VIRTIO, 0x60, uint64_t)
#define VHI_VHOST_VSOCK_SET_RUNNING	     VHI_IOW(VHI_VHOST_VIRTIO, 0x61, int32_t)
#define VHI_VHOST_VDPA_GET_DEVICE_ID	     VHI_IOR(VHI_VHOST_VIRTIO, 0x70, uint32_t)
#define VHI_VHOST_VDPA_GET_STATUS	     VHI_IOR(VHI_VHOST_VIRTIO, 0x71, uint8_t)
#define VHI_VHOST_VDPA_SET_STATUS	     VHI_IOW(VHI_VHOST_VIRTIO, 0x72, uint8_t)
#define VHI_VHOST_VDPA_GET_CONFIG	     VHI_IOR(VHI_VHOST_VIRTIO, 0x73, struct vhi_vhost_vdpa_config)
#define VHI_VHOST_VDPA_SET_CONFIG	     VHI_IOW(VHI_VHOST_VIRTIO, 0x74, struct vhi_vhost_vdpa_config)
#define VHI_VHOST_VDPA_SET_VRING_ENABLE	     VHI_IOW(VHI_VHOST_VIRTIO, 0x75, struct vhi_vhost_vring_state)
#define VHI_VHOST_VDPA_GET_VRING_NUM	     VHI_IOR(VHI_VHOST_VIRTIO, 0x76, uint16_t)
#define VHI_VHOST_VDPA_SET_CONFIG_CALL	     VHI_IOW(VHI_VHOST_VIRTIO, 0x77, int32_t)
#define VHI_VHOST_VDPA_GET_IOVA_RANGE	     VHI_IOR(VHI_VHOST_VIRTIO, 0x78, struct vhi_vhost_vdpa_iova_range)
#define VHI_VHOST_VDPA_GET_CONFIG_SIZE	     VHI_IOR(VHI_VHOST_VIRTIO, 0x79, uint32_t)
#define VHI_VHOST_VDPA_GET_AS_NUM	     VHI_IOR(VHI_VHOST_VIRTIO, 0x7a, uint32_t)
#define VHI_VHOST_VDPA_GET_VRING_GROUP	     VHI_IOWR(VHI_VHOST_VIRTIO, 0x7b, struct vhi_vhost_vring_state)
#define VHI_VHOST_VDPA_SET_GROUP_ASID	     VHI_IOW(VHI_VHOST_VIRTIO, 0x7c, struct vhi_vhost_vring_state)
#define VHI_VHOST_VDPA_SUSPEND		     VHI_IO(VHI_VHOST_VIRTIO, 0x7d)
#define VHI_VHOST_VDPA_RESUME		     VHI_IO(VHI_VHOST_VIRTIO, 0x7e)
#define VHI_VHOST_VDPA_GET_VRING_DESC_GROUP  VHI_IOWR(VHI_VHOST_VIRTIO, 0x7f, struct vhi_vhost_vring_state)
#define VHI_VHOST_VDPA_GET_VQS_COUNT	     VHI_IOR(VHI_VHOST_VIRTIO, 0x80, uint32_t)
#define VHI_VHOST_VDPA_GET_GROUP_NUM	     VHI_IOR(VHI_VHOST_VIRTIO, 0x81, uint32_t)
#define VHI_VHOST_VDPA_GET_VRING_SIZE	     VHI_IOWR(VHI_VHOST_VIRTIO, 0x82, struct vhi_vhost_vring_state)
#define VHI_VHOST_GET_FEATURES_ARRAY	     VHI_IOR(VHI_VHOST_VIRTIO, 0x83, struct vhi_vhost_features_array)
#define VHI_VHOST_SET_FEATURES_ARRAY	     VHI_IOW(VHI_VHOST_VIRTIO, 0x83, struct vhi_vhost_features_array)
#define VHI_VHOST_SET_FORK_FROM_OWNER	     VHI_IOW(VHI_VHOST_VIRTIO, 0x84, uint8_t)
#define VHI_VHOST_GET_FORK_FROM_OWNER	     VHI_IOR(VHI_VHOST_VIRTIO, 0x85, uint8_t)
/* clang-format on */

#endif
