/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vht_pipe.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_FDS 253u /* of one message, in the kernel */

struct piece {
	struct piece *next;
	size_t len, at;
	uint32_t n_fds;
	int fds[MAX_FDS];
	uint8_t bytes[];
};

struct end {
	struct vht_pipe *pipe;
	struct piece *head, **tail; /* on the way to this end */
	size_t waiting;
	size_t chunk, room;
	uint64_t fail_in[2];
	int error[2];
	bool shut;   /* this end sends no more */
	bool closed; /* and reads no more */
};

struct vht_pipe {
	struct end ends[2];
};

/* The C library directly: what a test counts or fails are the library's own calls. */
static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static struct end *other(struct end *e)
{
	return &e->pipe->ends[e == &e->pipe->ends[0]];
}

static void drop_piece(struct end *e)
{
	struct piece *piece = e->head;

	e->head = piece->next;
	if (!e->head)
		e->tail = &e->head;
	for (uint32_t i = 0; i < piece->n_fds; i++)
		close(piece->fds[i]);
	free(piece);
}

static void drop_all(struct end *e)
{
	while (e->head)
		drop_piece(e);
	e->waiting = 0;
}

struct vht_pipe *vht_pipe_new(void)
{
	struct vht_pipe *p = must(calloc(1, sizeof(*p)));

	for (int i = 0; i < 2; i++) {
		p->ends[i].pipe = p;
		p->ends[i].tail = &p->ends[i].head;
	}
	return p;
}

void vht_pipe_free(struct vht_pipe *p)
{
	drop_all(&p->ends[0]);
	drop_all(&p->ends[1]);
	free(p);
}

void vht_pipe_set_chunk(struct vht_pipe *p, uint32_t end, size_t bytes)
{
	p->ends[end].chunk = bytes;
}

void vht_pipe_set_room(struct vht_pipe *p, uint32_t end, size_t bytes)
{
	p->ends[end].room = bytes;
}

void vht_pipe_fail(struct vht_pipe *p, uint32_t end, uint32_t what, uint64_t n, int error)
{
	p->ends[end].fail_in[what] = n;
	p->ends[end].error[what] = error;
}

static int failure(struct end *e, uint32_t what)
{
	if (!e->error[what])
		return 0;
	if (e->fail_in[what] > 1) {
		e->fail_in[what]--;
		return 0;
	}
	return e->error[what];
}

static void append(struct end *to, const void *bytes, size_t n, const int *fds, uint32_t n_fds)
{
	struct piece *piece = must(calloc(1, sizeof(*piece) + n));

	piece->len = n;
	memcpy(piece->bytes, bytes, n);
	for (; piece->n_fds < n_fds && piece->n_fds < MAX_FDS; piece->n_fds++)
		piece->fds[piece->n_fds] = fcntl(fds[piece->n_fds], F_DUPFD_CLOEXEC, 0);
	*to->tail = piece;
	to->tail = &piece->next;
	to->waiting += n;
}

void vht_pipe_write(struct vht_pipe *p, uint32_t end, const void *bytes, size_t n, const int *fds, uint32_t n_fds)
{
	struct end *to = other(&p->ends[end]);

	if (n && !to->closed)
		append(to, bytes, n, fds, n_fds);
}

/* Bytes up to @max, but of one set of fds: a piece with fds starts a call of its own, as in the kernel. */
static size_t take(struct end *e, uint8_t *buf, size_t max, int *fds, uint32_t *n_fds)
{
	size_t got = 0;

	*n_fds = 0;
	while (e->head && got < max) {
		struct piece *piece = e->head;
		size_t n = VHI_MIN(max - got, piece->len - piece->at);

		if (piece->n_fds && got)
			break;
		for (uint32_t i = 0; i < piece->n_fds; i++)
			fds[i] = piece->fds[i];
		*n_fds += piece->n_fds;
		piece->n_fds = 0;
		memcpy(buf + got, piece->bytes + piece->at, n);
		piece->at += n;
		got += n;
		if (piece->at == piece->len)
			drop_piece(e);
	}
	e->waiting -= got;
	return got;
}

size_t vht_pipe_read(struct vht_pipe *p, uint32_t end, void *bytes, size_t max, int *fds, uint32_t *n_fds)
{
	int all[MAX_FDS];
	uint32_t n;
	size_t got = take(&p->ends[end], bytes, max, all, &n);

	for (uint32_t i = 0; i < n; i++) {
		if (fds)
			fds[i] = all[i];
		else
			close(all[i]);
	}
	if (n_fds)
		*n_fds = n;
	return got;
}

size_t vht_pipe_waiting(const struct vht_pipe *p, uint32_t end)
{
	return p->ends[end].waiting;
}

void vht_pipe_shutdown(struct vht_pipe *p, uint32_t end)
{
	p->ends[end].shut = true;
}

bool vht_pipe_closed(const struct vht_pipe *p, uint32_t end)
{
	return p->ends[end].closed;
}

static ssize_t pipe_recv(void *t, void *buf, size_t n, int *fds, uint32_t max_fds, uint32_t *n_fds)
{
	struct end *e = t;
	int all[MAX_FDS], error = failure(e, 0);
	uint32_t have;
	size_t got;

	*n_fds = 0;
	if (error)
		return error;
	if (!e->head)
		return other(e)->shut || other(e)->closed ? 0 : -EAGAIN;
	got = take(e, buf, e->chunk ? VHI_MIN(n, e->chunk) : n, all, &have);
	if (have > max_fds) {
		for (uint32_t i = 0; i < have; i++)
			close(all[i]);
		return -EMSGSIZE;
	}
	memcpy(fds, all, have * sizeof(int));
	*n_fds = have;
	return (ssize_t)got;
}

static ssize_t pipe_send(void *t, const struct iovec *iov, int n, const int *fds, uint32_t n_fds)
{
	struct end *e = t, *to = other(e);
	size_t room, total = 0, sent = 0;
	int error = failure(e, 1);
	uint8_t *all;

	if (error)
		return error;
	if (to->closed || e->shut)
		return -ECONNRESET;
	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	room = e->room ? e->room - VHI_MIN(e->room, to->waiting) : total;
	if (!room)
		return -EAGAIN;
	all = must(malloc(total + 1));
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len)
			memcpy(all + sent, iov[i].iov_base, iov[i].iov_len);
		sent += iov[i].iov_len;
	}
	sent = VHI_MIN(total, room);
	append(to, all, sent, fds, n_fds);
	free(all);
	return (ssize_t)sent;
}

static int pipe_fd(void *t)
{
	(void)t;
	return -1;
}

static void pipe_close(void *t)
{
	struct end *e = t;

	e->closed = true;
	drop_all(e);
}

struct vhi_transport vht_pipe_end(struct vht_pipe *p, uint32_t end)
{
	static const struct vhi_transport_ops ops = {
		.recv = pipe_recv, .send = pipe_send, .fd = pipe_fd, .close = pipe_close};

	return (struct vhi_transport){.ops = &ops, .t = &p->ends[end]};
}
