/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * virtio-blk as it lies in memory (virtio 1.2 section 5.2): little-endian, shared by the device handlers and the block
 * driver. Request types and feature bits are public: vh/blk.h.
 */
#ifndef VHI_VIRTIO_BLK_H
#define VHI_VIRTIO_BLK_H

#include <stdint.h>

#include "vh/blk.h"

/* The readable start of every request; the status byte is the last writable one. */
struct vhi_blk_hdr {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

/* Payload of discard and write-zeroes: one or more of these. */
struct vhi_blk_range {
	uint64_t sector;
	uint32_t n_sectors;
	uint32_t flags;
};
#define VHI_BLK_RANGE_UNMAP 1u

#define VHI_BLK_S_OK	 0
#define VHI_BLK_S_IOERR	 1
#define VHI_BLK_S_UNSUPP 2

/* Config space, in bytes: where a field starts, and the end of the last field that is used here. */
#define VHI_BLK_C_CAPACITY	   0  /* u64, sectors */
#define VHI_BLK_C_SIZE_MAX	   8  /* u32 */
#define VHI_BLK_C_SEG_MAX	   12 /* u32 */
#define VHI_BLK_C_BLK_SIZE	   20 /* u32 */
#define VHI_BLK_C_PHYS_EXP	   24 /* u8 */
#define VHI_BLK_C_ALIGN_OFFSET	   25 /* u8 */
#define VHI_BLK_C_MIN_IO	   26 /* u16 */
#define VHI_BLK_C_OPT_IO	   28 /* u32 */
#define VHI_BLK_C_WRITEBACK	   32 /* u8 */
#define VHI_BLK_C_NUM_QUEUES	   34 /* u16 */
#define VHI_BLK_C_MAX_DISCARD	   36 /* u32, sectors */
#define VHI_BLK_C_MAX_DISCARD_SEG  40 /* u32 */
#define VHI_BLK_C_DISCARD_ALIGN	   44 /* u32, sectors */
#define VHI_BLK_C_MAX_ZEROES	   48 /* u32, sectors */
#define VHI_BLK_C_MAX_ZEROES_SEG   52 /* u32 */
#define VHI_BLK_C_ZEROES_MAY_UNMAP 56 /* u8 */
#define VHI_BLK_C_END		   60

#endif
