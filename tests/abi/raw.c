/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "raw.h"

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dyn.h"

#define BIT(n) (UINT64_C(1) << (n))

enum {
	GET_FEATURES = 1,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	SET_BACKEND_REQ_FD = 21,
	VERSION = 1,
	REPLY = 4,
	NEED_REPLY = 8,
	UUID_SIZE = 16,
	MAX_PAYLOAD = 512,
};

struct message {
	uint32_t request, flags, size;
	uint8_t payload[MAX_PAYLOAD];
};
#define HEADER 12

static bool take(int fd, void *to, size_t n)
{
	return !n || recv(fd, to, n, MSG_WAITALL) == (ssize_t)n;
}

/* A message, and the fd that came with it, or -1. */
static bool receive(int fd, struct message *m, int *passed)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {m, HEADER};
	struct msghdr h = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

	*passed = -1;
	if (recvmsg(fd, &h, MSG_WAITALL | MSG_CMSG_CLOEXEC) != HEADER || m->size > MAX_PAYLOAD)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
		if (c->cmsg_type == SCM_RIGHTS)
			memcpy(passed, CMSG_DATA(c), sizeof(int));
	return take(fd, m->payload, m->size);
}

static bool say(int fd, uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
	struct message m = {.request = request, .flags = flags, .size = size};

	memcpy(m.payload, payload, size);
	return send(fd, &m, HEADER + size, MSG_NOSIGNAL) == (ssize_t)(HEADER + size);
}

static void ask(struct raw *r, int channel)
{
	uint8_t uuid[UUID_SIZE];
	struct message m;
	int passed;

	memset(uuid, RAW_BYTE, sizeof(uuid));
	if (!say(channel, RAW_REQUEST, VERSION | NEED_REPLY, uuid, sizeof(uuid)) || !receive(channel, &m, &passed))
		return;
	r->answered = m.request == RAW_REQUEST && m.flags == (VERSION | REPLY) && m.size == sizeof(r->status);
	memcpy(&r->status, m.payload, sizeof(r->status));
}

uint64_t raw_protocol_features(void)
{
	return BIT(dyn_constant("VH_PF_REPLY_ACK")) | BIT(dyn_constant("VH_PF_BACKEND_REQ")) |
	       BIT(dyn_constant("VH_PF_SHARED_OBJECT"));
}

static uint64_t answer_to(uint32_t request)
{
	switch (request) {
	case GET_FEATURES:
		return BIT(dyn_constant("VH_F_PROTOCOL_FEATURES")) | BIT(dyn_constant("VH_F_VERSION_1"));
	case GET_PROTOCOL_FEATURES:
		return raw_protocol_features();
	default:
		return 0; /* a status: done */
	}
}

static void *run(void *arg)
{
	struct raw *r = arg;
	struct message m;
	uint64_t features;
	int channel = -1, passed;

	while (receive(r->fd, &m, &passed)) {
		const bool own = m.request == GET_FEATURES || m.request == GET_PROTOCOL_FEATURES;
		const uint64_t value = answer_to(m.request);

		if (m.request == SET_BACKEND_REQ_FD)
			channel = passed;
		if ((own || m.flags & NEED_REPLY) && !say(r->fd, m.request, VERSION | REPLY, &value, sizeof(value)))
			break;
		memcpy(&features, m.payload, sizeof(features));
		if (m.request == SET_PROTOCOL_FEATURES && features & BIT(dyn_constant("VH_PF_SHARED_OBJECT")))
			ask(r, channel);
	}
	if (channel >= 0)
		close(channel);
	close(r->fd);
	return NULL;
}

void raw_start(struct raw *r, int fd)
{
	*r = (struct raw){.fd = fd};
	CHECK(!pthread_create(&r->thread, NULL, run, r), "no thread");
}

void raw_join(struct raw *r)
{
	pthread_join(r->thread, NULL);
}
