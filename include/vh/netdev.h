/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Network devices in C, and what a network driver has to know.
 *
 * Queues come in pairs: 2n receives (the driver offers buffers, the device fills them), 2n + 1 sends. Each frame has a
 * header before it, struct vh_net_hdr, in both directions (virtio 1.2 section 5.1.6).
 */
#ifndef VH_NETDEV_H
#define VH_NETDEV_H

#include "vh/types.h"

VH_BEGIN_DECLS

/* Network feature bits, as bit numbers (virtio 1.2 section 5.1.3). */
#define VH_NET_F_CSUM		0
#define VH_NET_F_GUEST_CSUM	1
#define VH_NET_F_MTU		3
#define VH_NET_F_MAC		5
#define VH_NET_F_GUEST_TSO4	7
#define VH_NET_F_GUEST_TSO6	8
#define VH_NET_F_GUEST_ECN	9
#define VH_NET_F_GUEST_UFO	10
#define VH_NET_F_HOST_TSO4	11
#define VH_NET_F_HOST_TSO6	12
#define VH_NET_F_HOST_ECN	13
#define VH_NET_F_HOST_UFO	14
#define VH_NET_F_MRG_RXBUF	15
#define VH_NET_F_STATUS		16
#define VH_NET_F_CTRL_VQ	17
#define VH_NET_F_CTRL_RX	18
#define VH_NET_F_CTRL_VLAN	19
#define VH_NET_F_GUEST_ANNOUNCE 21
#define VH_NET_F_MQ		22
#define VH_NET_F_CTRL_MAC_ADDR	23

#define VH_NET_HDR_SIZE	 12
#define VH_NET_FRAME_MIN 14    /* a frame is at least its Ethernet header */
#define VH_NET_FRAME_MAX 65553 /* and at most that, a VLAN tag and 65535 bytes */

/** struct vh_net_hdr - what stands before each frame, little-endian. @frozen, 12 bytes. */
struct vh_net_hdr {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers; /* receive: buffers that the frame is spread over */
};

/* vh_netdev_opts.kind: what is behind it. */
#define VH_NETDEV_LOOPBACK 1 /* what is sent is received, by the same pair */
#define VH_NETDEV_TAP	   2 /* a tap device, or a datagram socket with one frame in each message */
#define VH_NETDEV_SINK	   3 /* takes what is sent, receives nothing */
#define VH_NETDEV_SOURCE   4 /* fills every receive buffer; takes what is sent */

/** struct vh_netdev_opts - a built-in network device. Sized. */
struct vh_netdev_opts {
	uint32_t size;		 /* sizeof(struct vh_netdev_opts) */
	uint32_t kind;		 /* VH_NETDEV_* */
	uint32_t pairs;		 /* of queues, at most 128; 0 = 1; a tap has 1 */
	uint32_t max_queue_size; /* largest ring accepted; 0 = 1024 */
	uint32_t mtu;		 /* told to the driver, 68 to 65535; 0 = not told */
	uint32_t frame;		 /* source: bytes of a frame, VH_NET_FRAME_MIN to VH_NET_FRAME_MAX; 0 = 60 */
	uint8_t mac[6];		 /* told to the driver; all 0 = not told */
	uint16_t reserved;	 /* must be 0 */
};

/**
 * vh_netdev_new() - a virtio network device in C
 * @opts: kind and size
 * @fd: (borrowed) VH_NETDEV_TAP: a tap of /dev/net/tun that is set up without IFF_PI, or a datagram socket; duplicated,
 *   and made non-blocking. Else -1
 * @out: (out) (owned) free with vh_device_free()
 *
 * It offers no offloads: what the header of a frame that is sent says is ignored, and one that is received has none.
 * Receive buffers are used as the driver asked for: one for each frame, or with MRG_RXBUF as many as it needs. A frame
 * for which there is no room is dropped, but in a tap, which keeps it. What is sent through a disabled queue is taken and
 * dropped. The frames of a source go to the broadcast address, with Ethernet type 0x88b5 and a count behind it, 8 bytes
 * little-endian, as far as there is room for that. A tap announces a guest that has moved here (SEND_RARP); an MTU that the
 * front-end chooses (NET_SET_MTU) is taken up to the one that the device was made with.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EBADF ENOTSUP EMFILE ENFILE
 *
 * Return: 0, -ENOTSUP when the fd is neither a tap without IFF_PI nor a datagram socket.
 */
VH_API vh_rc vh_netdev_new(const struct vh_netdev_opts *opts, vh_fd fd, struct vh_device **out);

VH_END_DECLS
#endif
