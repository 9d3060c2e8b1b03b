/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Bytes to and from a peer that may do anything with its end. */
#include "vhi_stream.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "vhi_sock.h"

static bool is_stream_socket(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return !vhi_sys.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_STREAM;
}

/* An open file of our own, whose flags nobody else can change. Without /proc, or as another user, there is none. */
static int reopen(int fd, bool write)
{
	char path[sizeof("/proc/self/fd/") + 10];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = vhi_sys.open(path, (write ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
	return own < 0 ? -ENOTSUP : own;
}

int vhi_stream_open(struct vhi_stream *s, int fd, bool write, bool trusted)
{
	int mode = vhi_sys.fcntl(fd, F_GETFL, 0);
	struct stat st;

	s->fd = -1;
	if (mode < 0 || vhi_sys.fstat(fd, &st) < 0)
		return -errno;
	mode &= O_ACCMODE;
	if (mode != O_RDWR && mode != (write ? O_WRONLY : O_RDONLY))
		return -EBADF;
	s->socket = S_ISSOCK(st.st_mode);
	if (S_ISFIFO(st.st_mode))
		s->fd = reopen(fd, write);
	else
		s->fd = s->socket && is_stream_socket(fd) ? vhi_fd_dup(fd) : -ENOTSUP;
	if (s->fd == -ENOTSUP && trusted)
		s->fd = vhi_fd_dup(fd);
	return s->fd < 0 ? s->fd : 0;
}

int vhi_stream_pair(struct vhi_stream *s, int *peer)
{
	s->socket = true;
	s->fd = vhi_sock_pair(peer);
	return s->fd < 0 ? s->fd : 0;
}

ssize_t vhi_stream_read(const struct vhi_stream *s, void *buf, size_t n)
{
	struct iovec iov = {.iov_base = buf, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t got;

	do
		got = s->socket ? vhi_sys.recvmsg(s->fd, &msg, MSG_DONTWAIT) : vhi_sys.read(s->fd, buf, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

ssize_t vhi_stream_write(const struct vhi_stream *s, const void *buf, size_t n)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t put;

	do
		put = s->socket ? vhi_sys.sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL)
				: vhi_sys.write_quietly(s->fd, buf, n);
	while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : put;
}

void vhi_stream_close(struct vhi_stream *s)
{
	vhi_fd_close(&s->fd);
}
