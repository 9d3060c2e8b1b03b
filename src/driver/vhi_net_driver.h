/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The network driver: what it knows of the device (net_info.c) and how frames go (net.c). */
#ifndef VHI_NET_DRIVER_H
#define VHI_NET_DRIVER_H

#include "vh/net.h"
#include "vhi_driver.h"

/* An Ethernet header and a VLAN tag. */
#define VHI_NET_HEAD 18

/* One direction of a pair. Each ring slot has a buffer of its own, for as long as the session lives. */
struct vhi_net_lane {
	struct vhi_driver_queue *dq;
	uint32_t busy; /* atomic: a thread is inside */
	uint32_t num;
	uint32_t life; /* of the queue, as last seen */
	uint32_t n_free;
	uint16_t *free;
	struct vh_seg *segs; /* of each slot */
	struct vh_req *reqs;
	struct vh_cpl *cpls;
	uint32_t next, got; /* receive: completions in hand */
};

struct vh_net {
	struct vh_driver *d;
	struct vh_net_info info;
	uint32_t slot;	   /* bytes of a buffer: a header and the longest frame */
	bool merge;	   /* a frame may take several buffers */
	uint32_t n_queues; /* 2 * info.n_pairs */
	struct vhi_net_lane lanes[];
};

/* Read config space, as much of it as the features say is there, and check what it says. */
int vhi_net_read_info(struct vh_net *n);

#endif
