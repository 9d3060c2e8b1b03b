/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A channel: whole messages in and out of a transport. */
#include "vhi_sock.h"

#include "vhi_dialect.h"
#include "vhi_probe.h"

#define OUT_MAX_BYTES 65536u
#define OUT_MAX_FDS   64u

struct vhi_out {
	struct vhi_out *next;
	uint32_t len;
	uint32_t sent;
	uint32_t n_fds;
	int fds[VHI_WIRE_SEND_FDS];
	uint8_t bytes[];
};

static void close_fds(int *fds, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		vhi_fd_close(&fds[i]);
}

void vhi_msg_close_fds(struct vhi_msg *m)
{
	close_fds(m->fds, m->n_fds);
	m->n_fds = 0;
}

void vhi_chan_init(struct vhi_chan *c, struct vhi_transport transport, enum vhi_wire_side requests_from,
		   enum vhi_wire_side we_are, struct vhi_trace *trace, uint64_t message_timeout_ns)
{
	memset(c, 0, sizeof(*c));
	c->transport = transport;
	c->requests_from = requests_from;
	c->we_are = we_are;
	c->trace = trace;
	c->message_timeout_ns = message_timeout_ns;
	c->out_tail = &c->out_head;
	c->in.payload = c->in.small;
}

bool vhi_chan_open(const struct vhi_chan *c)
{
	return c && c->transport.ops;
}

static void message_begin(struct vhi_chan *c)
{
	vhi_msg_close_fds(&c->in);
	if (c->in.payload != c->in.small)
		vhi_free(c->in.payload);
	c->in.payload = c->in.small;
	c->got = 0;
	c->whole = false;
	c->late_fds = false;
	c->in_deadline_ns = 0;
}

static void out_drop(struct vhi_chan *c)
{
	struct vhi_out *o = c->out_head;

	c->out_head = o->next;
	if (!c->out_head)
		c->out_tail = &c->out_head;
	c->out_bytes -= o->len;
	c->out_fds -= o->n_fds;
	close_fds(o->fds, o->n_fds);
	vhi_free(o);
}

void vhi_chan_close(struct vhi_chan *c)
{
	if (!vhi_chan_open(c))
		return;
	message_begin(c);
	while (c->out_head)
		out_drop(c);
	c->transport.ops->close(c->transport.t);
	c->transport.ops = NULL;
}

int vhi_chan_fd(const struct vhi_chan *c)
{
	return vhi_chan_open(c) ? c->transport.ops->fd(c->transport.t) : -1;
}

/* Reads at most to the end of the header, then to the end of the payload. Bytes read, or what the transport says. */
static ssize_t read_some(struct vhi_chan *c)
{
	bool in_header = c->got < VHI_WIRE_HEADER;
	uint8_t *at = in_header ? (uint8_t *)&c->in.header + c->got : c->in.payload + (c->got - VHI_WIRE_HEADER);
	size_t want = (in_header ? VHI_WIRE_HEADER : VHI_WIRE_HEADER + c->in.header.size) - c->got;
	int fds[VHI_WIRE_MAX_FDS];
	uint32_t n_fds = 0;
	ssize_t n = c->transport.ops->recv(c->transport.t, at, want, fds, VHI_WIRE_MAX_FDS, &n_fds);

	if (n <= 0)
		return n;
	if (VHI_REFUSE(VHI_SITE_SOCK_LATE_FDS, n_fds && c->got)) {
		c->late_fds = true;
		close_fds(fds, n_fds);
	} else if (n_fds) {
		vhi_msg_close_fds(&c->in);
		memcpy(c->in.fds, fds, n_fds * sizeof(int));
		c->in.n_fds = n_fds;
	}
	c->got += (uint32_t)n;
	c->bytes_in += (uint64_t)n;
	return n;
}

/* Nothing more to read now. */
static int read_ended(struct vhi_chan *c, ssize_t n, bool *clean, uint32_t *site)
{
	uint64_t now;

	if (n == 0 || n == -ECONNRESET) {
		*clean = !VHI_REFUSE(VHI_SITE_SOCK_CUT, c->got);
		*site = *clean ? 0 : VHI_SITE_SOCK_CUT;
		return -ECONNRESET;
	}
	if (n == -EMSGSIZE) {
		*site = VHI_SITE_SOCK_CONTROL;
		return -EPROTO;
	}
	if (n != -EAGAIN)
		return (int)n;
	if (!c->got || !c->message_timeout_ns)
		return 0;
	/* Counted from the first byte, however the others trickle in. */
	now = vhi_now_ns();
	if (!c->in_deadline_ns)
		c->in_deadline_ns = now + c->message_timeout_ns;
	if (VHI_REFUSE(VHI_SITE_SOCK_DEADLINE, now >= c->in_deadline_ns)) {
		*site = VHI_SITE_SOCK_DEADLINE;
		return -ETIMEDOUT;
	}
	return 0;
}

static int make_room(struct vhi_chan *c)
{
	if (c->in.header.size <= VHI_MSG_SMALL)
		return 0;
	c->in.payload = vhi_calloc(1, VHI_WIRE_MAX_PAYLOAD);
	if (c->in.payload)
		return 0;
	c->in.payload = c->in.small;
	return -ENOMEM;
}

static void translate_pf(const struct vhi_chan *c, const struct vhi_wire_header *h, void *payload,
			 uint64_t (*translate)(uint32_t dialect, uint64_t bits))
{
	uint64_t bits;

	if (!c->dialect || c->requests_from != VHI_WIRE_FRONT_END || !vhi_dialect_has_pf(h))
		return;
	memcpy(&bits, payload, sizeof(bits));
	bits = translate(c->dialect, bits);
	memcpy(payload, &bits, sizeof(bits));
}

int vhi_chan_recv(struct vhi_chan *c, bool *clean, uint32_t *site)
{
	*clean = false;
	*site = 0;
	if (!vhi_chan_open(c))
		return -ENOTCONN;
	if (c->whole)
		message_begin(c);
	while (c->got < VHI_WIRE_HEADER || c->got < VHI_WIRE_HEADER + c->in.header.size) {
		ssize_t n = read_some(c);

		if (n <= 0)
			return read_ended(c, n, clean, site);
		if (c->got != VHI_WIRE_HEADER)
			continue;
		*site = vhi_wire_check_header(&c->in.header, c->requests_from == c->we_are);
		if (*site)
			return -EPROTO;
		if (make_room(c))
			return -ENOMEM;
		c->in.header.request = vhi_dialect_id_in(c->dialect, c->requests_from, c->in.header.request);
	}
	c->whole = true;
	translate_pf(c, &c->in.header, c->in.payload, vhi_dialect_pf_in);
	c->in_deadline_ns = 0;
	c->messages_in++;
	*site = c->late_fds ? VHI_SITE_SOCK_LATE_FDS : 0;
	return 1;
}

static void trace(struct vhi_chan *c, uint32_t direction, const struct vhi_wire_header *h, const void *payload,
		  uint32_t size, uint32_t n_fds, uint32_t site)
{
	struct vh_msg_info info = {
		.direction = direction,
		.channel = c->requests_from == VHI_WIRE_FRONT_END ? VH_MSG_CHANNEL_MAIN : VH_MSG_CHANNEL_BACKEND,
		.request = h->request,
		.flags = h->flags,
		.payload_size = size,
		.n_fds = n_fds,
		.verdict = site,
		.payload = (uint64_t)(uintptr_t)payload,
	};

	VHI_PROBE5(message, direction, info.channel, h->request, size, site);
	if (c->trace)
		vhi_trace_message(c->trace, &info);
}

void vhi_chan_received(struct vhi_chan *c, uint32_t site)
{
	/* After a header that can't be followed there is no payload. */
	if (c->got >= VHI_WIRE_HEADER)
		trace(c, VH_MSG_RECEIVED, &c->in.header, c->in.payload, c->got - VHI_WIRE_HEADER, c->in.n_fds, site);
}

static int out_copy_fds(struct vhi_out *o, const int *fds, uint32_t n_fds)
{
	for (; o->n_fds < n_fds; o->n_fds++) {
		int fd = vhi_fd_dup(fds[o->n_fds]);

		if (fd < 0)
			return fd;
		o->fds[o->n_fds] = fd;
	}
	return 0;
}

/* Keep what is left of a message; its fds went with the first byte. */
static int out_queue(struct vhi_chan *c, const struct iovec *iov, size_t sent, const int *fds, uint32_t n_fds)
{
	size_t len = iov[0].iov_len + iov[1].iov_len;
	struct vhi_out *o = vhi_calloc(1, sizeof(*o) + len);
	int rc;

	if (!o)
		return -ENOMEM;
	rc = out_copy_fds(o, fds, sent ? 0 : n_fds);
	if (rc) {
		close_fds(o->fds, o->n_fds);
		vhi_free(o);
		return rc;
	}
	o->len = (uint32_t)len;
	o->sent = (uint32_t)sent;
	memcpy(o->bytes, iov[0].iov_base, iov[0].iov_len);
	if (iov[1].iov_len)
		memcpy(o->bytes + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
	*c->out_tail = o;
	c->out_tail = &o->next;
	c->out_bytes += len;
	c->out_fds += o->n_fds;
	return 0;
}

static ssize_t send_some(struct vhi_chan *c, const struct iovec *iov, int n, const int *fds, uint32_t n_fds)
{
	ssize_t sent = c->transport.ops->send(c->transport.t, iov, n, fds, n_fds);

	if (sent == -EAGAIN)
		return 0;
	if (sent > 0)
		c->bytes_out += (uint64_t)sent;
	return sent;
}

int vhi_chan_send(struct vhi_chan *c, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		  const int *fds, uint32_t n_fds)
{
	const struct vhi_wire_header h = {.request = request, .flags = flags, .size = size};
	struct vhi_wire_header there = h;
	uint64_t bits;
	struct iovec iov[2] = {{.iov_base = &there, .iov_len = sizeof(there)},
			       {.iov_base = (void *)(uintptr_t)payload, .iov_len = size}};
	ssize_t sent = 0;
	int rc = 0;

	if (size > VHI_WIRE_MAX_PAYLOAD || n_fds > VHI_WIRE_SEND_FDS)
		return -EINVAL;
	if (!vhi_chan_open(c))
		return -ENOTCONN;
	there.request = vhi_dialect_id_out(c->dialect, c->requests_from, request);
	if (c->dialect && vhi_dialect_has_pf(&h)) {
		memcpy(&bits, payload, sizeof(bits));
		translate_pf(c, &h, &bits, vhi_dialect_pf_out);
		iov[1].iov_base = &bits;
	}
	if (VHI_REFUSE(VHI_SITE_SOCK_QUEUE, c->out_head && (c->out_bytes + sizeof(h) + size > OUT_MAX_BYTES ||
							    c->out_fds + n_fds > OUT_MAX_FDS)))
		return -ENOBUFS;
	if (!c->out_head)
		sent = send_some(c, iov, size ? 2 : 1, fds, n_fds);
	if (sent < 0)
		return (int)sent;
	if ((size_t)sent < sizeof(h) + size)
		rc = out_queue(c, iov, (size_t)sent, fds, n_fds);
	if (rc)
		return rc;
	c->messages_out++;
	trace(c, VH_MSG_SENT, &h, payload, size, n_fds, 0);
	return 0;
}

int vhi_chan_flush(struct vhi_chan *c)
{
	if (!vhi_chan_open(c))
		return -ENOTCONN;
	while (c->out_head) {
		struct vhi_out *o = c->out_head;
		const struct iovec iov = {.iov_base = o->bytes + o->sent, .iov_len = o->len - o->sent};
		ssize_t sent = send_some(c, &iov, 1, o->fds, o->sent ? 0 : o->n_fds);

		if (sent < 0)
			return (int)sent;
		if (!sent)
			return 1;
		o->sent += (uint32_t)sent;
		if (o->sent == o->len)
			out_drop(c);
	}
	return 0;
}

bool vhi_chan_wants_write(const struct vhi_chan *c)
{
	return c->out_head;
}

bool vhi_chan_inside(const struct vhi_chan *c)
{
	return c->got && !c->whole;
}
