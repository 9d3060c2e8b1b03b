/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Unix stream sockets: bytes have no borders, descriptors belong to the bytes that they were sent with. */
#include "kernel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_FILES 253u /* of one message, in the kernel */

struct kern_piece {
	struct kern_piece *next;
	size_t len, at;
	uint32_t n_files;
	struct kern_file **files;
	uint8_t bytes[];
};

static void drop_piece(struct kern_file *f)
{
	struct kern_piece *p = f->head;

	f->head = p->next;
	if (!f->head)
		f->tail = &f->head;
	for (uint32_t i = 0; i < p->n_files; i++)
		kern_file_put(p->files[i]);
	free(p->files);
	free(p);
}

void kern_sock_drop(struct kern_file *f)
{
	while (f->head)
		drop_piece(f);
	while (f->n_backlog)
		kern_file_put(f->backlog[--f->n_backlog]);
	if (f->peer)
		f->peer->peer = NULL;
	f->peer = NULL;
}

void kern_pair(int fds[2])
{
	struct kern_file *a = kern_file_new(KERN_SOCKET), *b = kern_file_new(KERN_SOCKET);

	a->peer = b;
	b->peer = a;
	fds[0] = kern_fd_new(a);
	fds[1] = kern_fd_new(b);
	CHECK(fds[0] >= 0 && fds[1] >= 0);
}

int kern_connect(int listener)
{
	struct kern_file *l = kern_file(listener);
	int fds[2];

	CHECK(l && l->kind == KERN_LISTENER);
	if (l->n_backlog == sizeof(l->backlog) / sizeof(l->backlog[0]))
		return -1;
	kern_pair(fds);
	l->backlog[l->n_backlog++] = kern_file(fds[1]);
	kern_file(fds[1])->name = l->ino;
	l->version++;
	kern_file(fds[1])->refs++;
	kern_close(fds[1]);
	return fds[0];
}

static size_t total(const struct iovec *iov, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

static void gather(uint8_t *to, size_t max, const struct iovec *iov)
{
	for (size_t at = 0; at < max; iov++) {
		size_t take = iov->iov_len < max - at ? iov->iov_len : max - at;

		if (take)
			memcpy(to + at, iov->iov_base, take);
		at += take;
	}
}

long kern_sock_send(struct kern_file *f, const struct iovec *iov, size_t n, struct kern_file *const *files,
		    uint32_t n_files)
{
	struct kern_file *to = f->peer;
	size_t len = total(iov, n), room;
	struct kern_piece *p;

	if (!to)
		return -EPIPE;
	room = to->waiting < to->room ? to->room - to->waiting : 0;
	if (!room)
		return -EAGAIN;
	len = len < room ? len : room;
	p = calloc(1, sizeof(*p) + len);
	gather(p->bytes, len, iov);
	p->len = len;
	p->n_files = n_files;
	p->files = n_files ? calloc(n_files, sizeof(*p->files)) : NULL;
	for (uint32_t i = 0; i < n_files; i++) {
		p->files[i] = files[i];
		files[i]->refs++;
	}
	*to->tail = p;
	to->tail = &p->next;
	to->waiting += len;
	to->version++;
	return (long)len;
}

/* Bytes, and the descriptors of the first piece. 0 = end of stream. */
static long receive(struct kern_file *f, const struct iovec *iov, bool peek, struct kern_file **files,
		    uint32_t *n_files)
{
	size_t got = 0;

	*n_files = 0;
	if (!f->head)
		return f->peer ? -EAGAIN : 0;
	while (f->head && got < iov->iov_len) {
		struct kern_piece *p = f->head;
		size_t take = iov->iov_len - got < p->len - p->at ? iov->iov_len - got : p->len - p->at;

		if (p->n_files && got)
			break;
		memcpy((uint8_t *)iov->iov_base + got, p->bytes + p->at, take);
		got += take;
		if (peek)
			break;
		if (p->n_files) {
			memcpy(files, p->files, p->n_files * sizeof(*files));
			*n_files = p->n_files;
			p->n_files = 0;
		}
		p->at += take;
		f->waiting -= take;
		if (p->at == p->len)
			drop_piece(f);
	}
	return (long)got;
}

/* As many as there is room for; the rest is closed and MSG_CTRUNC says so. */
static void deliver(struct msghdr *msg, struct kern_file **files, uint32_t n)
{
	uint32_t room = msg->msg_controllen > CMSG_LEN(0)
				? (uint32_t)((msg->msg_controllen - CMSG_LEN(0)) / sizeof(int))
				: 0;
	struct cmsghdr *cm = msg->msg_control;
	uint32_t given = 0;

	for (uint32_t i = 0; i < n; i++) {
		int fd = given < room ? kern_fd_new(files[i]) : -1;

		if (given >= room)
			kern_file_put(files[i]);
		if (fd < 0) {
			msg->msg_flags |= MSG_CTRUNC;
			continue;
		}
		memcpy(CMSG_DATA(cm) + given++ * sizeof(int), &fd, sizeof(int));
	}
	if (given) {
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(given * sizeof(int));
	}
	msg->msg_controllen = given ? CMSG_SPACE(given * sizeof(int)) : 0;
}

static long result(long rc)
{
	if (rc >= 0)
		return rc;
	errno = (int)-rc;
	return -1;
}

long kern_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct kern_file *files[MAX_FILES], *f = kern_file(fd);
	uint32_t n;
	long got;

	if (!f)
		return -1;
	if (f->kind != KERN_SOCKET)
		return result(f->kind == KERN_LISTENER ? -EINVAL : -ENOTSOCK);
	CHECK(flags & MSG_DONTWAIT);
	got = receive(f, msg->msg_iov, flags & MSG_PEEK, files, &n);
	msg->msg_flags = 0;
	if (got >= 0)
		deliver(msg, files, n);
	return result(got);
}

long kern_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct kern_file *files[MAX_FILES], *f = kern_file(fd);
	uint32_t n = 0;

	if (!f)
		return -1;
	CHECK(f->kind == KERN_SOCKET && flags & MSG_DONTWAIT && flags & MSG_NOSIGNAL);
	if (msg->msg_controllen) {
		const struct cmsghdr *cm = msg->msg_control;

		n = (uint32_t)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (uint32_t i = 0; i < n; i++) {
			int each;

			memcpy(&each, CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
			files[i] = kern_file(each);
			if (!files[i])
				return -1;
		}
	}
	return result(kern_sock_send(f, msg->msg_iov, msg->msg_iovlen, files, n));
}

void kern_write(int fd, const void *bytes, size_t n, const int *fds, uint32_t n_fds)
{
	struct kern_file *files[MAX_FILES], *f = kern_file(fd);
	const struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
	uint32_t have = 0;

	CHECK(f);
	for (uint32_t i = 0; i < n_fds && have < MAX_FILES; i++) {
		files[have] = kern_file(fds[i]);
		have += files[have] ? 1 : 0;
	}
	if (n)
		kern_sock_send(f, &iov, 1, files, have);
}

long kern_read(int fd, void *bytes, size_t n, int *fds, uint32_t *n_fds)
{
	struct kern_file *files[MAX_FILES], *f = kern_file(fd);
	const struct iovec iov = {.iov_base = bytes, .iov_len = n};
	uint32_t have;
	long got;

	CHECK(f);
	got = receive(f, &iov, false, files, &have);
	if (n_fds)
		*n_fds = 0;
	for (uint32_t i = 0; i < have; i++) {
		if (fds)
			fds[(*n_fds)++] = kern_fd_new(files[i]);
		else
			kern_file_put(files[i]);
	}
	if (got == -EAGAIN)
		return 0;
	return got ? got : -1;
}

bool kern_readable(int fd)
{
	const struct kern_file *f = kern_file(fd);

	CHECK(f);
	return f->head;
}

void kern_set_room(int fd, size_t bytes)
{
	struct kern_file *f = kern_file(fd);

	CHECK(f);
	f->room = bytes;
}
