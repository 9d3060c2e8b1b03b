/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Sockets and framing. A transport moves bytes and fds (a unix socket here; a memory pipe in tests); a channel cuts
 * messages out of it: exactly 12 bytes, then exactly `size`, never past the current message, because fds would lose
 * their owner.
 */
#ifndef VHI_SOCK_H
#define VHI_SOCK_H

#include "vhi_base.h"
#include "vhi_log.h"
#include "vhi_wire.h"

enum vhi_sock_site {
#define VHI_SITE VHI_SITE_ENUM
#include "sites.def"
#undef VHI_SITE
};

/*
 * A transport. Non-blocking: -EAGAIN when nothing can be done now, 0 from recv at end of stream, -errno on failure.
 * fds that recv hands out are owned by the caller, close-on-exec; more than @max_fds, or control data that was cut, is
 * -EMSGSIZE, with every delivered fd closed. send borrows its fds and may take part of the bytes (fds go with the
 * first); a peer that is gone is -ECONNRESET, never a signal.
 */
struct vhi_transport_ops {
	ssize_t (*recv)(void *t, void *buf, size_t n, int *fds, uint32_t max_fds, uint32_t *n_fds);
	ssize_t (*send)(void *t, const struct iovec *iov, int n, const int *fds, uint32_t n_fds);
	int (*fd)(void *t); /* pollable, -1 = none */
	void (*close)(void *t);
};

struct vhi_transport {
	const struct vhi_transport_ops *ops;
	void *t;
};

/* Takes @fd over. Never blocks, whatever the fd's mode: that may be shared with somebody else. Always 0. */
int vhi_sock_transport(int fd, struct vhi_transport *out);

/* The file of a socket that listens, so that it is removed only while it is the same one. */
struct vhi_sock_file {
	uint64_t dev;
	uint64_t ino;
	char path[112]; /* "" = there is none, or it is not ours */
};

/*
 * All return an fd (owned, non-blocking, close-on-exec) or -errno with the last error set. An address is what
 * vhi_address.h says. @deadline_ns as in vhi_now_ns(); a full backlog is waited for until then.
 */
int vhi_sock_listen(const char *address, uint32_t mode,
		    struct vhi_sock_file *file); /* exactly @mode, whatever the umask */
int vhi_sock_connect(const char *address, uint64_t deadline_ns);
int vhi_sock_accept(int listen_fd); /* -EAGAIN when nobody waits (no last error then) */
int vhi_sock_pair(int *peer);	    /* *peer is blocking: it is for somebody else */
/* dup + check: a unix stream socket, listening (*listening, from SO_ACCEPTCONN) or connected. */
int vhi_sock_adopt(int fd, bool *listening);
/* Remove the file if it is still the one that listening made; then forget it. */
void vhi_sock_remove(struct vhi_sock_file *file);
/* True when nothing will ever come or go here any more: closed, or at end of stream (looks, takes nothing). */
bool vhi_sock_peer_gone(int fd);

#define VHI_MSG_SMALL 64u

/* One message as received. The fds are owned by it: take what is wanted (set the slot to -1), the rest is closed. */
struct vhi_msg {
	struct vhi_wire_header header;
	uint32_t n_fds;
	int fds[VHI_WIRE_MAX_FDS];
	/* Aligned for every payload struct. Small is as much as all but a few kinds of message have: a device that idles
	 * is not to keep room for the others. */
	uint8_t *payload;
	_Alignas(8) uint8_t small[VHI_MSG_SMALL];
};
void vhi_msg_close_fds(struct vhi_msg *m);

struct vhi_out; /* a message waiting to be sent */

struct vhi_chan {
	struct vhi_transport transport;
	enum vhi_wire_side requests_from; /* whose requests travel on this channel */
	enum vhi_wire_side we_are;
	struct vhi_trace *trace;     /* nullable */
	uint64_t message_timeout_ns; /* from the first byte of a message to its last */
	uint32_t dialect; /* VH_DIALECT_*: ids and features have the peer's numbers on the wire, ours above */

	struct vhi_msg in;
	uint32_t got;		 /* bytes of the current message, header included */
	bool whole;		 /* it is complete and was given out */
	bool late_fds;		 /* fds came after its first byte */
	uint64_t in_deadline_ns; /* 0 = no message begun */

	struct vhi_out *out_head, **out_tail;
	size_t out_bytes; /* bounded, like the fds that wait: see vhi_chan_send */
	uint32_t out_fds;

	uint64_t messages_in, messages_out, bytes_in, bytes_out;
};

/* Takes @transport over. */
void vhi_chan_init(struct vhi_chan *c, struct vhi_transport transport, enum vhi_wire_side requests_from,
		   enum vhi_wire_side we_are, struct vhi_trace *trace, uint64_t message_timeout_ns);
bool vhi_chan_open(const struct vhi_chan *c); /* NULL-safe */
/* Closes the transport and everything that waits in either direction. */
void vhi_chan_close(struct vhi_chan *c);
int vhi_chan_fd(const struct vhi_chan *c);

/*
 * Receive. 1: c->in holds a whole message (valid until the next call; vhi_msg_close_fds() is done by that call);
 * with *site != 0 it must be refused: fds came with a later byte than its first, and are closed.
 * 0: not complete yet (c->in_deadline_ns says until when it may take, 0 = no message begun). -ECONNRESET: end of stream between messages (*clean = true) or inside one. -EPROTO: the header
 * can't be followed, *site says why. -ETIMEDOUT: the message deadline passed. Other -errno: the transport failed.
 */
int vhi_chan_recv(struct vhi_chan *c, bool *clean, uint32_t *site);

/*
 * The trace sees a received message when its fate is known: call once with the site number (0 = accepted), also after
 * -EPROTO.
 */
void vhi_chan_received(struct vhi_chan *c, uint32_t site);

/*
 * Send header and payload in one piece, fds with the first byte. What can't be sent at once is queued (fds duplicated);
 * past 64 KiB or 64 fds queued it is -ENOBUFS, nothing was taken, and the caller stops reading requests or closes. After any
 * other failure the stream may have been cut in the middle of a message: close.
 */
int vhi_chan_send(struct vhi_chan *c, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		  const int *fds, uint32_t n_fds);
int vhi_chan_flush(struct vhi_chan *c); /* 1 = something is still queued, 0 = all sent, -errno */
bool vhi_chan_wants_write(const struct vhi_chan *c);
bool vhi_chan_inside(const struct vhi_chan *c); /* a message has begun and is not complete */

const char *vhi_sock_site_text(uint32_t site);

#endif
