/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The built-in network devices. A frame is always copied through private memory: what is looked at is what is passed on,
 * and no system call touches guest memory. No request is in flight between two callbacks.
 */
#ifndef VHI_NET_H
#define VHI_NET_H

#include "vh/netdev.h"
#include "vhi_cursor.h"
#include "vhi_device.h"
#include "vhi_device_sites.h"
#include "vhi_queue.h"

#define VHI_NET_BATCH	  64
#define VHI_NET_MAX_PAIRS (VHI_DEVICE_MAX_QUEUES / 2)
/* Frames that a readable tap brings in one call: other queues and devices share the thread. */
#define VHI_NET_POLL 256

/* Config space: offset of each field (virtio 1.2 section 5.1.4). */
#define VHI_NET_C_MAC	  0
#define VHI_NET_C_STATUS  6
#define VHI_NET_C_PAIRS	  8
#define VHI_NET_C_MTU	  10
#define VHI_NET_S_LINK_UP 1
/* Without VERSION_1 and MRG_RXBUF there is no num_buffers. */
#define VHI_NET_HDR_SHORT 10
/* Before a frame, for the header that a tap may want there. */
#define VHI_NET_ROOM 32
/* Where a source counts its frames, behind what frames begin with. */
#define VHI_NET_NUMBER VH_NET_FRAME_MIN

struct vhi_net_frame {
	uint32_t len;	   /* 0 = none */
	uint32_t numbered; /* 0, or where its number ends, which begins at VHI_NET_NUMBER */
	uint64_t number;   /* little-endian */
	uint8_t room[VHI_NET_ROOM];
	uint8_t data[VH_NET_FRAME_MAX];
};

struct vhi_net;

/* What is behind the device. */
struct vhi_net_kind {
	int (*open)(struct vhi_net *n, int fd); /* optional; fd is -1 but for a tap */
	void (*send)(struct vhi_net *n);	/* optional: the frame n->tx, to somewhere else */
	bool (*next)(struct vhi_net *n);	/* optional: the next frame, into n->rx */
	bool loops;				/* what is sent is received */
	/* Optional: vh_device_ops.send_rarp, where there is a network that can learn where the guest is. */
	vh_rc (*announce)(void *ctx, const void *mac, uint32_t len, uint64_t later);
};

extern const struct vhi_net_kind vhi_net_tap;

struct vhi_net {
	const struct vhi_net_kind *kind;
	struct vh_device *dev;	    /* whose ctx this is */
	struct vh_netdev_opts opts; /* defaults filled in */
	uint32_t hdr;		    /* bytes of a header, with this driver */
	bool merge;		    /* a frame may take several buffers */
	uint64_t made;		    /* source: frames so far */
	int fd, epfd;		    /* tap; -1 = none */
	uint32_t fd_hdr;	    /* bytes of header that the tap has before each frame */
	bool watched;		    /* the tap is in epfd */
	bool broken;		    /* the tap can't be read any more */
	uint8_t config[VH_CONFIG_MAX];
	struct vhi_net_frame tx, rx; /* rx waits here while there is no room for it */
	struct vh_queue *queues[];   /* 2 * opts.pairs; NULL while stopped */
};

/* net_ring.c; see vh_device_ops.on_batch. */
int vhi_net_sent(struct vhi_net *n, uint32_t pair, uint32_t budget);
/* Frames of kind->next(), as long as there are some, and room. Returns 1 when it was the budget that ended it. */
int vhi_net_receive(struct vhi_net *n, uint32_t pair, uint32_t budget);

/* net_tap.c: be told of frames, or not: a tap that nobody reads stays readable. */
void vhi_net_tap_watch(struct vhi_net *n, bool on);

#endif
