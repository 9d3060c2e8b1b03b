/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Where things lie in the two rings of a split queue (virtio 1.2 section 2.7), for either side. */
#ifndef VHI_SPLIT_H
#define VHI_SPLIT_H

#include "vhi_vring.h"

/* Both rings as 16-bit words: flags, index, entries, the other side's event index. */
enum {
	FLAGS,
	IDX,
	RING,
};

static inline uint16_t VHI_SHM *avail(const struct vh_queue *q)
{
	return q->area[VHI_AREA_DRIVER];
}

static inline uint16_t VHI_SHM *used(const struct vh_queue *q)
{
	return q->area[VHI_AREA_DEVICE];
}

static inline uint16_t VHI_SHM *used_event(const struct vh_queue *q)
{
	return avail(q) + RING + q->num;
}

static inline uint16_t VHI_SHM *avail_event(const struct vh_queue *q)
{
	return used(q) + RING + 4 * q->num;
}

#endif
