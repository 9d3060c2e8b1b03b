/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: The GPU protocol: what a GPU back-end shows, over a socket of its own.
 *
 * A front-end makes a pair of sockets, hands one end over by
 * vh_master_set_gpu_socket(), and keeps the other: the display. The back-end's
 * device gets its end by vh_device_ops.set_gpu_socket. Requests go from the
 * device to the display: where a scanout is, what changed in it, the cursor,
 * dma-bufs; some of them are answered.
 *
 * A stream without negative answers: whoever breaks the rules ends it, and then
 * every call is -ENOTCONN. What comes over it is checked before it is seen.
 */
#ifndef VH_GPU_H
#define VH_GPU_H

#include "vh/types.h"

VH_BEGIN_DECLS

/* vh_gpu_msg.request. */
#define VH_GPU_GET_PROTOCOL_FEATURES 1	/* by vh_gpu_negotiate() */
#define VH_GPU_SET_PROTOCOL_FEATURES 2	/* the same */
#define VH_GPU_GET_DISPLAY_INFO	     3	/* by vh_gpu_get_modes() */
#define VH_GPU_CURSOR_POS	     4	/* scanout_id, x, y */
#define VH_GPU_CURSOR_POS_HIDE	     5	/* the same */
#define VH_GPU_CURSOR_UPDATE	     6	/* scanout_id, x, y, hot_x, hot_y, data: 64 x 64 pixels of 4 bytes */
#define VH_GPU_SCANOUT		     7	/* scanout_id, width, height; 0 x 0: off */
#define VH_GPU_UPDATE		     8	/* scanout_id, x, y, width, height, data: so many pixels of 4 bytes */
#define VH_GPU_DMABUF_SCANOUT	     9	/* scanout_id, x, y, width, height, fd_*, and the fd; none: off */
#define VH_GPU_DMABUF_UPDATE	     10 /* scanout_id, x, y, width, height; answered when it was shown */
#define VH_GPU_GET_EDID		     11 /* by vh_gpu_get_edid() */
#define VH_GPU_DMABUF_SCANOUT2	     12 /* as DMABUF_SCANOUT, and the modifier; needs VH_GPU_PF_DMABUF2 */

/* Protocol feature bits of this socket, as bit numbers. */
#define VH_GPU_PF_EDID	  0
#define VH_GPU_PF_DMABUF2 1

#define VH_GPU_MAX_SCANOUTS 16
#define VH_GPU_CURSOR_BYTES 16384
#define VH_GPU_EDID_MAX	    1024

/** struct vh_gpu_opts - options of vh_gpu_new_device() and vh_gpu_new_display(). Sized, zero means default. */
struct vh_gpu_opts {
	uint32_t size;	     /* sizeof(struct vh_gpu_opts) */
	uint32_t timeout_ms; /* of every wait, and from the first byte of a message to its last; 0 = 10 s */
	uint64_t features;   /* protocol features: of a display those that it offers; of a device must be 0 */
	uint64_t max_data;   /* bytes of pixels that one message may have; 0 = 64 MiB */
};

/** struct vh_gpu_msg - a message. Sized; what its request does not have is ignored, or zero when it comes in. */
struct vh_gpu_msg {
	uint32_t size;	  /* sizeof(struct vh_gpu_msg) */
	uint32_t request; /* VH_GPU_* */
	uint32_t scanout_id;
	uint32_t x;
	uint32_t y;
	uint32_t width;
	uint32_t height;
	uint32_t hot_x;
	uint32_t hot_y;
	/* Of a dma-buf. */
	uint32_t fd_width;
	uint32_t fd_height;
	uint32_t fd_stride; /* bytes */
	uint32_t fd_flags;
	uint32_t fd_fourcc; /* DRM format */
	uint64_t modifier;
	uint64_t
		data; /* address of pixels; (borrowed): sent: during the call; received: until the next vh_gpu_recv() */
	uint64_t data_size; /* bytes */
};

/** struct vh_gpu_mode - a mode of one scanout. @frozen, 24 bytes. */
struct vh_gpu_mode {
	uint32_t x;
	uint32_t y;
	uint32_t width;
	uint32_t height;
	uint32_t enabled; /* 0 or 1 */
	uint32_t flags;
};

/**
 * vh_gpu_new_device() - the end that sends requests
 * @opts: (nullable)
 * @fd: (borrowed) a connected unix stream socket, from vh_device_ops.set_gpu_socket; duplicated
 * @out: (out) (owned) free with vh_gpu_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EMFILE EBADF ENOTSOCK EPROTOTYPE ENOTCONN
 */
VH_API vh_rc vh_gpu_new_device(const struct vh_gpu_opts *opts, vh_fd fd, struct vh_gpu **out);

/**
 * vh_gpu_new_display() - the end that shows what comes
 * @opts: (nullable)
 * @fd: (borrowed) a connected unix stream socket, the other end of which is given to the back-end; duplicated
 * @out: (out) (owned) free with vh_gpu_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EMFILE EBADF ENOTSOCK EPROTOTYPE ENOTCONN
 */
VH_API vh_rc vh_gpu_new_display(const struct vh_gpu_opts *opts, vh_fd fd, struct vh_gpu **out);

/**
 * vh_gpu_free() - end it
 * @g: (nullable)
 *
 * No other thread may be inside.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: none
 */
VH_API void vh_gpu_free(struct vh_gpu *g);

/**
 * vh_gpu_fd() - readable when vh_gpu_recv() has something to do, or the other end is gone
 * @g: either end
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: (borrowed) the fd.
 */
VH_API vh_fd vh_gpu_fd(struct vh_gpu *g);

/**
 * vh_gpu_negotiate() - agree on protocol features
 * @g: the device's end
 * @wanted: bits, of which those are acked that the display offers and that are known here
 * @acked: (nullable) (out) what is in force
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ENOTCONN ECONNRESET EPROTO ETIMEDOUT ENOMEM
 */
VH_API vh_rc vh_gpu_negotiate(struct vh_gpu *g, uint64_t wanted, uint64_t *acked);

/**
 * vh_gpu_send() - send a request that is about a scanout or the cursor
 * @g: the device's end
 * @msg: the message
 * @fd: (borrowed) a dma-buf, -1 = none
 *
 * It waits while the display does not read, and for the answer to VH_GPU_DMABUF_UPDATE.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EOPNOTSUPP EBUSY ENOTCONN ECONNRESET EPROTO ETIMEDOUT ENOMEM
 *
 * Return: 0, -EOPNOTSUPP when it needs a protocol feature that is not in force.
 */
VH_API vh_rc vh_gpu_send(struct vh_gpu *g, const struct vh_gpu_msg *msg, vh_fd fd);

/**
 * vh_gpu_get_modes() - ask what modes the display has
 * @g: the device's end
 * @out: (out) (array max) by scanout
 * @max: room at @out; VH_GPU_MAX_SCANOUTS are all
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY ENOTCONN ECONNRESET EPROTO ETIMEDOUT ENOMEM
 *
 * Return: how many were written.
 */
VH_API vh_count vh_gpu_get_modes(struct vh_gpu *g, struct vh_gpu_mode *out, uint32_t max);

/**
 * vh_gpu_get_edid() - ask for the description of a monitor
 * @g: the device's end
 * @scanout_id: which
 * @buf: (out) (array cap) what it says
 * @cap: room at @buf; VH_GPU_EDID_MAX is always enough
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EOPNOTSUPP EMSGSIZE EBUSY ENOTCONN ECONNRESET EPROTO ETIMEDOUT ENOMEM
 *
 * Return: bytes; -EOPNOTSUPP without VH_GPU_PF_EDID; -EMSGSIZE when there is not enough room.
 */
VH_API vh_count vh_gpu_get_edid(struct vh_gpu *g, uint32_t scanout_id, void *buf, uint32_t cap);

/**
 * vh_gpu_recv() - the next request, never block
 * @g: the display's end
 * @out: (out) the message
 * @fd: (out) (owned) the dma-buf that came with it, -1 = none
 *
 * VH_GPU_GET_DISPLAY_INFO, VH_GPU_GET_EDID and VH_GPU_DMABUF_UPDATE have to be answered before the next one is taken. What
 * is agreed on protocol features is answered here.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EALREADY EBUSY ENOTCONN ECONNRESET EPROTO ETIMEDOUT ENOMEM EMSGSIZE
 *
 * Return: 1 with a message, 0 when there is none yet, -EALREADY while an answer is owed, -ECONNRESET when the device is
 * gone.
 */
VH_API vh_count vh_gpu_recv(struct vh_gpu *g, struct vh_gpu_msg *out, vh_fd *fd);

/**
 * vh_gpu_reply_modes() - answer VH_GPU_GET_DISPLAY_INFO
 * @g: the display's end
 * @modes: (array n) by scanout
 * @n: how many, at most VH_GPU_MAX_SCANOUTS; the others are off
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOTCONN ECONNRESET EPROTO
 *
 * Return: 0, -EINVAL also when something else is owed.
 */
VH_API vh_rc vh_gpu_reply_modes(struct vh_gpu *g, const struct vh_gpu_mode *modes, uint32_t n);

/**
 * vh_gpu_reply_edid() - answer VH_GPU_GET_EDID
 * @g: the display's end
 * @edid: (array len) the description
 * @len: bytes, at most VH_GPU_EDID_MAX
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOTCONN ECONNRESET EPROTO
 *
 * Return: 0, -EINVAL also when something else is owed.
 */
VH_API vh_rc vh_gpu_reply_edid(struct vh_gpu *g, const void *edid, uint32_t len);

/**
 * vh_gpu_reply_shown() - answer VH_GPU_DMABUF_UPDATE: the device may use the buffer again
 * @g: the display's end
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOTCONN ECONNRESET EPROTO
 *
 * Return: 0, -EINVAL also when something else is owed.
 */
VH_API vh_rc vh_gpu_reply_shown(struct vh_gpu *g);

VH_END_DECLS
#endif
