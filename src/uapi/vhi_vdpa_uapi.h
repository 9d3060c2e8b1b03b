/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Numbers of the generic netlink family "vdpa", under the kernel's names; attributes of a configuration are VH_VDPA_HAS_*. */
#ifndef VHI_VDPA_UAPI_H
#define VHI_VDPA_UAPI_H

#define VHI_VDPA_CMD_MGMTDEV_GET    2
#define VHI_VDPA_CMD_DEV_NEW	    3
#define VHI_VDPA_CMD_DEV_DEL	    4
#define VHI_VDPA_CMD_DEV_GET	    5
#define VHI_VDPA_CMD_DEV_CONFIG_GET 6
#define VHI_VDPA_CMD_DEV_VSTATS_GET 7
#define VHI_VDPA_CMD_DEV_ATTR_SET   8

#define VHI_VDPA_ATTR_MGMTDEV_BUS_NAME		1
#define VHI_VDPA_ATTR_MGMTDEV_DEV_NAME		2
#define VHI_VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES 3
#define VHI_VDPA_ATTR_DEV_NAME			4
#define VHI_VDPA_ATTR_DEV_ID			5
#define VHI_VDPA_ATTR_DEV_VENDOR_ID		6
#define VHI_VDPA_ATTR_DEV_MAX_VQS		7
#define VHI_VDPA_ATTR_DEV_MAX_VQ_SIZE		8
#define VHI_VDPA_ATTR_DEV_MIN_VQ_SIZE		9
#define VHI_VDPA_ATTR_DEV_MGMTDEV_MAX_VQS	15
#define VHI_VDPA_ATTR_DEV_SUPPORTED_FEATURES	16
#define VHI_VDPA_ATTR_DEV_QUEUE_INDEX		17
#define VHI_VDPA_ATTR_DEV_VENDOR_ATTR_NAME	18
#define VHI_VDPA_ATTR_DEV_VENDOR_ATTR_VALUE	19
/* What 6.1 meant by it; later kernels have the capacity of a block device there. */
#define VHI_VDPA_ATTR_VDPA_DEV_SUPPORTED_FEATURES 21

#endif
