/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vht_backend.h"

#define MAX_SEEN 4096u

/* Also from the thread, where cmocka's assertions would jump into the wrong stack. */
static void die(const char *what)
{
	fprintf(stderr, "vht_backend: %s\n", what);
	abort();
}

static void wait_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (poll(&p, 1, VHT_WAIT_MS) != 1)
		die("nothing came");
}

static bool read_all(int fd, void *buf, size_t n, struct vht_msg *m)
{
	size_t got = 0;

	while (got < n) {
		union {
			char bytes[CMSG_SPACE(40 * sizeof(int))];
			struct cmsghdr align;
		} control;
		struct iovec iov = {.iov_base = (char *)buf + got, .iov_len = n - got};
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control.bytes,
				     .msg_controllen = sizeof(control.bytes)};
		ssize_t r;

		wait_readable(fd);
		r = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
		if (r == 0 || (r < 0 && errno == ECONNRESET))
			return false;
		if (r < 0)
			die("recvmsg failed");
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
			size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

			memcpy(m->fds + m->n_fds, CMSG_DATA(c), k * sizeof(int));
			m->n_fds += (uint32_t)k;
		}
		got += (size_t)r;
	}
	return true;
}

int vht_recv(int fd, struct vht_msg *m)
{
	uint32_t header[3];

	memset(m, 0, sizeof(*m));
	if (!read_all(fd, header, sizeof(header), m))
		return 0;
	m->request = header[0];
	m->flags = header[1];
	m->size = header[2];
	if (m->size > sizeof(m->payload))
		die("a message of more than 4096 bytes");
	return read_all(fd, m->payload, m->size, m);
}

void vht_send(int fd, uint32_t request, uint32_t flags, const void *payload, uint32_t size, const int *fds,
	      uint32_t n_fds)
{
	uint32_t header[3] = {request, flags, size};
	union {
		char bytes[CMSG_SPACE(40 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov[2] = {{.iov_base = header, .iov_len = sizeof(header)},
			       {.iov_base = (void *)(uintptr_t)payload, .iov_len = payload ? size : 0}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	const struct timeval limit = {.tv_sec = VHT_WAIT_MS / 1000};
	ssize_t r;

	memset(&control, 0, sizeof(control));
	if (n_fds) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
	}
	/* poll() calls a socket full long before it is. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	r = sendmsg(fd, &msg, MSG_NOSIGNAL);
	/* The other end may be gone: the test looks at what it did. */
	if (r < 0 && errno != EPIPE && errno != ECONNRESET)
		die("sendmsg failed");
}

void vht_send_u64(int fd, uint32_t request, uint32_t flags, uint64_t value)
{
	vht_send(fd, request, flags, &value, sizeof(value), NULL, 0);
}

void vht_close_fds(struct vht_msg *m)
{
	while (m->n_fds)
		close(m->fds[--m->n_fds]);
}

uint32_t vht_u32(const struct vht_msg *m, size_t offset)
{
	uint32_t v;

	memcpy(&v, m->payload + offset, sizeof(v));
	return v;
}

uint64_t vht_u64(const struct vht_msg *m, size_t offset)
{
	uint64_t v;

	memcpy(&v, m->payload + offset, sizeof(v));
	return v;
}

void vht_backend_init(struct vht_backend *b)
{
	memset(b, 0, sizeof(*b));
	b->features = 0x175007e46;
	b->protocol_features = 0x8f2b | 1u << 13 | 1u << 16;
	b->queue_num = 4;
	b->mem_slots = 32;
	b->fd = b->channel = -1;
	for (unsigned i = 0; i < sizeof(b->config); i++)
		b->config[i] = (uint8_t)i;
}

static void answer_config(struct vht_backend *b, const struct vht_msg *m)
{
	uint8_t reply[268];
	uint32_t size = vht_u32(m, 4);

	if (b->no_config || size > 256) {
		vht_send(b->fd, m->request, 5, NULL, 0, NULL, 0);
		return;
	}
	/* The offset is ignored, as libvhost-user does. */
	memcpy(reply, m->payload, 12);
	memcpy(reply + 12, b->config, size);
	vht_send(b->fd, m->request, 5, reply, 12 + size, NULL, 0);
}

/* A page for each queue, and the numbers that were asked with. */
static void answer_inflight(struct vht_backend *b, const struct vht_msg *m)
{
	const uint64_t size = 4096 * (vht_u32(m, 16) & 0xffff);
	int fd = memfd_create("inflight", MFD_CLOEXEC);
	uint8_t reply[24];

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	memcpy(reply, m->payload, sizeof(reply));
	memcpy(reply, &size, sizeof(size));
	vht_send(b->fd, 31, 5, reply, sizeof(reply), &fd, 1);
	close(fd);
}

void vht_backend_answer(struct vht_backend *b, struct vht_msg *m)
{
	uint64_t value = 0;
	bool has_reply = true;

	switch (m->request) {
	case 1:
		value = b->features;
		break;
	case 2:
		b->acked = vht_u64(m, 0);
		has_reply = false;
		break;
	case 6: /* a reply of its own */
		break;
	case 11:
		/* index, and the base: 100 more than the index */
		vht_send_u64(b->fd, 11, 5, VHT_PAIR(vht_u32(m, 0), vht_u32(m, 0) + 100));
		return;
	case 15:
		value = b->protocol_features;
		break;
	case 16:
		b->pf_acked = vht_u64(m, 0);
		has_reply = false;
		break;
	case 17:
		value = b->queue_num;
		break;
	case 21:
		if (b->channel >= 0)
			close(b->channel);
		b->channel = m->fds[0];
		m->n_fds = 0;
		has_reply = false;
		break;
	case 24:
		answer_config(b, m);
		return;
	case 25:
		memcpy(b->config + vht_u32(m, 0), m->payload + 12, vht_u32(m, 4));
		has_reply = false;
		break;
	case 31:
		answer_inflight(b, m);
		return;
	case 36:
		value = b->mem_slots;
		break;
	case 39:
		b->status = (uint8_t)vht_u64(m, 0);
		has_reply = false;
		break;
	case 40:
		value = b->status;
		break;
	default:
		has_reply = false;
		break;
	}
	if (has_reply || (m->flags & 8))
		vht_send_u64(b->fd, m->request, 5, value);
}

static void *backend_main(void *arg)
{
	struct vht_backend *b = arg;
	struct vht_msg m;
	struct pollfd p = {.fd = b->fd, .events = POLLIN};

	/* A front-end may be silent for as long as the test likes. */
	while (poll(&p, 1, -1) == 1 && vht_recv(b->fd, &m)) {
		if (b->n_seen < MAX_SEEN)
			b->seen[b->n_seen++] = m;
		if (!b->script || !b->script(b, &m))
			vht_backend_answer(b, &m);
		vht_close_fds(&m);
	}
	/* The front-end sees the end at once, also when the script has just closed its own direction. */
	shutdown(b->fd, SHUT_RDWR);
	return NULL;
}

void vht_backend_start(struct vht_backend *b, int fd)
{
	b->fd = fd;
	b->seen = calloc(MAX_SEEN, sizeof(*b->seen));
	b->n_seen = 0;
	assert_non_null(b->seen);
	assert_int_equal(pthread_create(&b->thread, NULL, backend_main, b), 0);
	b->running = true;
}

void vht_backend_join(struct vht_backend *b)
{
	if (!b->running)
		return;
	shutdown(b->fd, SHUT_RD);
	pthread_join(b->thread, NULL);
	b->running = false;
}

void vht_backend_stop(struct vht_backend *b)
{
	vht_backend_join(b);
	if (b->fd >= 0)
		close(b->fd);
	if (b->channel >= 0)
		close(b->channel);
	b->fd = b->channel = -1;
	free(b->seen);
	b->seen = NULL;
}

const struct vht_msg *vht_backend_seen(const struct vht_backend *b, uint32_t request, unsigned i)
{
	for (unsigned k = 0; k < b->n_seen; k++)
		if (b->seen[k].request == request && i-- == 0)
			return &b->seen[k];
	return NULL;
}

unsigned vht_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
