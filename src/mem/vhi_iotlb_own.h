/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the two halves of an IOTLB share: iotlb.c has the table, misses.c what is not in it, and who waits for that. */
#ifndef VHI_IOTLB_OWN_H
#define VHI_IOTLB_OWN_H

#include "vhi_iotlb.h"

#include <pthread.h>

enum { MISS_NEW, MISS_ASKED, MISS_DENIED };

struct vhi_miss {
	uint64_t iova;
	uint64_t deadline_ns; /* asked; UINT64_MAX = none */
	uint32_t perm;
	uint32_t state;
};

struct vh_iotlb {
	uint32_t refs;	 /* atomic */
	uint32_t number; /* atomic: of the present table */
	struct vh_mem *mem;
	bool by_uva, evict;
	uint32_t max;
	pthread_mutex_t lock; /* of all that follows; nothing slow happens under it */
	struct vhi_tlb *now;
	struct vhi_iotlb_user *users;
	struct vhi_miss misses[VH_IOTLB_MAX_MISSES]; /* oldest first */
	uint32_t n_misses;
	uint32_t dice;
	int fd; /* atomic: -1 = nobody asked for it */
	struct vh_iotlb_stats stats;
};

/* misses.c; the lock is held. What was missed is known now, or what was denied may be asked for again. */
void vhi_misses_settle(struct vh_iotlb *t, uint64_t first, uint64_t last, bool known);
/* Whoever waits looks again. */
void vhi_misses_wake(struct vh_iotlb *t);

#endif
