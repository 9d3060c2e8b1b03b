/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Frames, driver side: a virtio-net driver over a driver session.
 *
 * Frames are copied between memory of the caller's and buffers that the
 * session shares with the device, which gets all of its receive buffers back
 * at once. A pair of queues is two: one thread may send while another one
 * receives.
 */
#ifndef VH_NET_H
#define VH_NET_H

#include "vh/types.h"

VH_BEGIN_DECLS

/* vh_net_frame.flags */
#define VH_NET_TRUNCATED 1u /* received: the frame is longer than its room, len says how long; the rest is lost */

/* What vh_net_wait() waits for. */
#define VH_NET_RECEIVE 0u /* a frame for vh_net_receive() */
#define VH_NET_SEND    1u /* room for vh_net_send() */

/**
 * struct vh_net_frame - one frame. @frozen, 40 bytes.
 *
 * The last seven fields are its virtio header (struct vh_net_hdr, here in the byte order of this machine); all 0 but
 * num_buffers where no offload was negotiated.
 */
struct vh_net_frame {
	uint64_t data;	      /* address of the bytes, any memory of the caller's */
	uint64_t room;	      /* receive: bytes at data; send: not looked at */
	uint32_t len;	      /* bytes of the frame, which begins with its destination address */
	uint32_t flags;	      /* received: VH_NET_TRUNCATED; sent: must be 0 */
	uint32_t reserved;    /* must be 0 */
	uint8_t hdr_flags;    /* VIRTIO_NET_HDR_F_* (virtio 1.2 section 5.1.6) */
	uint8_t gso_type;     /* VIRTIO_NET_HDR_GSO_* */
	uint16_t hdr_len;     /* bytes of headers in the frame */
	uint16_t gso_size;    /* bytes of each segment */
	uint16_t csum_start;  /* where the checksum begins */
	uint16_t csum_offset; /* where it goes, from there */
	uint16_t num_buffers; /* received: buffers that the frame was spread over; sent: must be 0 */
};

/** struct vh_net_opts - options of vh_net_new(). Sized, zero means default. */
struct vh_net_opts {
	uint32_t size;	    /* sizeof(struct vh_net_opts) */
	uint32_t frame_max; /* bytes of the longest frame, 0 = what the MTU of the device says, or 1518 */
};

/** struct vh_net_info - what the device is. Size-first out struct. */
struct vh_net_info {
	uint32_t size;
	uint32_t n_pairs;   /* of queues, of the session */
	uint64_t features;  /* negotiated */
	uint32_t frame_max; /* bytes of the longest frame that can be sent */
	uint32_t mtu;	    /* 0 = not said */
	uint32_t max_pairs; /* that the device has */
	uint32_t link_up;   /* 1 also when the device does not say; as it was when vh_net_new() looked */
	uint8_t mac[6];	    /* all 0 = not said */
	uint16_t reserved;
};

/**
 * vh_net_new() - frames over a driver session
 * @opts: (nullable)
 * @d: (borrowed) a session of VH_TYPE_NET; must outlive it
 * @out: (out) (owned) free with vh_net_free()
 *
 * A session has one vh_net or vh_blk at a time. Of one that runs the device is given its receive buffers here, else by the
 * first vh_net_receive() or vh_net_wait(). With VH_NET_F_MRG_RXBUF among the features of the session, a frame that comes may be
 * spread over several of them.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: yes
 * @errors: EINVAL EPERM EBUSY EDEADLK ESHUTDOWN EOPNOTSUPP ENOTCONN ENOSPC ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0; -EBUSY when the session has one, or requests of another in flight; -EPROTO when config space says what can't be.
 */
VH_API vh_rc vh_net_new(const struct vh_net_opts *opts, struct vh_driver *d, struct vh_net **out);

/**
 * vh_net_free() - give it up
 * @n: (nullable)
 *
 * Its receive buffers stay with the device: vh_driver_reset_queue() for each of its queues that receives before another one is
 * made over the session.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: none
 */
VH_API void vh_net_free(struct vh_net *n);

/**
 * vh_net_get_info() - address, MTU, limits
 * @n: the network driver
 * @out: (out) what the device is
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_net_get_info(struct vh_net *n, struct vh_net_info *out);

/**
 * vh_net_send() - send frames
 * @n: the network driver
 * @pair: of queues
 * @frames: (array count) the frames; copied, so that they are the caller's again when it returns
 * @count: how many
 *
 * The device is told once of all of them.
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EMSGSIZE EPROTO EFAULT
 *
 * Return: frames taken, fewer than count when the ring is full or a later one is wrong (send it again to learn why);
 * -EMSGSIZE when the first one is shorter than 14 bytes or longer than frame_max, -EINVAL also when the session does not run.
 */
VH_API vh_count vh_net_send(struct vh_net *n, uint32_t pair, const struct vh_net_frame *frames, uint32_t count);

/**
 * vh_net_receive() - take frames that came
 * @n: the network driver
 * @pair: of queues
 * @frames: (array max) in: data and room; out: len, flags and hdr too
 * @max: how many
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EPROTO EFAULT
 *
 * Return: frames at @frames, 0 when none came; -EPROTO when what the device wrote is no frame: the queue is broken.
 */
VH_API vh_count vh_net_receive(struct vh_net *n, uint32_t pair, struct vh_net_frame *frames, uint32_t max);

/**
 * vh_net_wait() - sleep until there is a frame, or room for one
 * @n: the network driver
 * @pair: of queues
 * @what: VH_NET_RECEIVE or VH_NET_SEND
 * @timeout_ms: -1 = for ever
 *
 * The back-end's connection is served meanwhile. vh_driver_opts.poll_us and the queue's fd: as with vh_blk_wait().
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: yes
 * @errors: EINVAL EBUSY EMFILE ENOMEM EINTR ETIMEDOUT EPROTO EFAULT ECONNRESET
 *
 * Return: 0, -ETIMEDOUT when nothing came, -ECONNRESET when the back-end is gone, -EINVAL also when the session is stopped and
 * nothing is left to receive.
 */
VH_API vh_rc vh_net_wait(struct vh_net *n, uint32_t pair, uint32_t what, int32_t timeout_ms);

VH_END_DECLS
#endif
