/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Unix sockets: the transport that moves bytes and fds. */
#include "vhi_sock.h"

#include <fcntl.h>

/* An fd of the sender's process with every message, on a shared socket that was set to SO_PASSPIDFD. (Linux 6.5) */
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

/* The fd itself is the transport's state, so that taking one over can't fail. */
static int sock_of(void *t)
{
	return (int)(intptr_t)t;
}

/* Fds of one block; those beyond @max are closed and only counted. */
static uint32_t take_rights(const struct cmsghdr *cm, int *fds, uint32_t max, uint32_t have)
{
	size_t n = cm->cmsg_len > CMSG_LEN(0) ? (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

	for (size_t i = 0; i < n; i++, have++) {
		int fd;

		memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
		if (have < max)
			fds[have] = fd;
		else
			vhi_fd_close(&fd);
	}
	return have;
}

static ssize_t sock_recv(void *t, void *buf, size_t n, int *fds, uint32_t max_fds, uint32_t *n_fds)
{
	/* Room for the fds of a message, and for what other control data a shared socket may be set to deliver. */
	union {
		char bytes[CMSG_SPACE(VHI_WIRE_MAX_FDS * sizeof(int)) + 128];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	uint32_t have = 0;
	ssize_t got;

	*n_fds = 0;
	do
		got = vhi_sys.recvmsg(sock_of(t), &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&msg); cm; cm = CMSG_NXTHDR(&msg, cm)) {
		if (cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS)
			have = take_rights(cm, fds, max_fds, have);
		else if (cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_PIDFD)
			take_rights(cm, NULL, 0, 0);
	}
	*n_fds = VHI_MIN(have, max_fds);
	if (VHI_REFUSE(VHI_SITE_SOCK_CONTROL, (msg.msg_flags & MSG_CTRUNC) || have > max_fds)) {
		while (*n_fds)
			vhi_fd_close(&fds[--*n_fds]);
		return -EMSGSIZE;
	}
	return got;
}

static ssize_t sock_send(void *t, const struct iovec *iov, int n, const int *fds, uint32_t n_fds)
{
	union {
		char bytes[CMSG_SPACE(VHI_WIRE_SEND_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
	ssize_t sent;

	if (n_fds) {
		struct cmsghdr *cm = &control.align;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, n_fds * sizeof(int));
	}
	do
		sent = vhi_sys.sendmsg(sock_of(t), &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return sent;
	if (errno == EPIPE)
		return -ECONNRESET;
	return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static int sock_fd(void *t)
{
	return sock_of(t);
}

static void sock_close(void *t)
{
	int fd = sock_of(t);

	vhi_fd_close(&fd);
}

int vhi_sock_transport(int fd, struct vhi_transport *out)
{
	static const struct vhi_transport_ops ops = {
		.recv = sock_recv, .send = sock_send, .fd = sock_fd, .close = sock_close};

	out->ops = &ops;
	out->t = (void *)(intptr_t)fd;
	return 0;
}

/* Looks at the next byte: 1 there is one, 0 end of stream, -errno. */
static int sock_peek(int fd)
{
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do
		n = vhi_sys.recvmsg(fd, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}

bool vhi_sock_peer_gone(int fd)
{
	int n = vhi_poll_now(fd, 0);

	/* A hang-up counts even with messages unread: their sender can't be answered. */
	if (n > 0)
		return true;
	n = sock_peek(fd);
	return n == 0 || (n < 0 && n != -EAGAIN);
}

static int sock_option(int fd, int option, int *value)
{
	socklen_t len = sizeof(*value);

	*value = 0;
	return vhi_sys.getsockopt(fd, SOL_SOCKET, option, value, &len) < 0 ? -errno : 0;
}

int vhi_sock_adopt(int fd, bool *listening)
{
	int domain, type, accepts, rc, dup;

	rc = sock_option(fd, SO_DOMAIN, &domain);
	if (!rc)
		rc = sock_option(fd, SO_TYPE, &type);
	if (!rc)
		rc = sock_option(fd, SO_ACCEPTCONN, &accepts);
	if (rc)
		return vhi_fail(rc, VH_ERROR_ARGUMENT, 0, "fd %d is not a socket; pass a unix stream socket", fd);
	if (domain != AF_UNIX || type != SOCK_STREAM)
		return vhi_fail(-EPROTOTYPE, VH_ERROR_ARGUMENT, 0,
				"fd %d is a socket of another kind; vhost-user needs a unix stream socket", fd);
	if (!accepts && sock_peek(fd) == -EINVAL)
		return vhi_fail(-ENOTCONN, VH_ERROR_ARGUMENT, 0, "fd %d neither listens nor is connected", fd);
	dup = vhi_fd_dup(fd);
	if (dup < 0)
		return vhi_fail(dup, VH_ERROR_SYSTEM, 0, "fd %d can't be duplicated; raise RLIMIT_NOFILE", fd);
	/* There is no accept that never blocks but on a non-blocking socket. */
	rc = accepts ? vhi_fd_set_nonblock(dup) : 0;
	if (rc) {
		vhi_fd_close(&dup);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "fd %d can't be made non-blocking", fd);
	}
	*listening = accepts;
	return dup;
}

int vhi_sock_pair(int *peer)
{
	int fds[2], rc;

	if (vhi_sys.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "socketpair failed; raise RLIMIT_NOFILE if it is that");
	rc = vhi_fd_set_nonblock(fds[0]);
	if (rc) {
		vhi_fd_close(&fds[0]);
		vhi_fd_close(&fds[1]);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "a socket can't be made non-blocking");
	}
	*peer = fds[1];
	return fds[0];
}

static const struct vhi_site_text site_texts[] = {
#define VHI_SITE VHI_SITE_TEXT
#include "sites.def"
#undef VHI_SITE
};

const char *vhi_sock_site_text(uint32_t site)
{
	return vhi_site_text(site_texts, VHI_ARRAY_SIZE(site_texts), site);
}
