/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A back-end by hand: raw messages on a socket, and a thread that answers as a script says. It shares no code with the
 * library, so that both can't misread the protocol in the same way.
 */
#ifndef VHT_BACKEND_H
#define VHT_BACKEND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vh/vh.h"

/* Two fields of 32 bits, one behind the other, as one word of a message: what is on the wire is in native order. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define VHT_PAIR(first, second)	  ((uint64_t)(first) | (uint64_t)(second) << 32)
#define VHT_SHORTS(first, second) ((uint32_t)(first) | (uint32_t)(second) << 16)
#else
#define VHT_PAIR(first, second)	  ((uint64_t)(first) << 32 | (uint64_t)(second))
#define VHT_SHORTS(first, second) ((uint32_t)(first) << 16 | (uint32_t)(second))
#endif
/* And one of 64 bits as two. */
#define VHT_HALVES(v) (uint32_t) VHT_PAIR(v, (uint64_t)(v) >> 32), (uint32_t)(VHT_PAIR(v, (uint64_t)(v) >> 32) >> 32)

#define VHT_WAIT_MS 5000 /* how long anything here waits before the test fails */

struct vht_msg {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
	uint8_t payload[4096];
	uint32_t n_fds;
	int fds[40];
};

/* One message. 1, or 0 when the other end has closed. Fails the test when nothing comes. */
int vht_recv(int fd, struct vht_msg *m);
void vht_send(int fd, uint32_t request, uint32_t flags, const void *payload, uint32_t size, const int *fds,
	      uint32_t n_fds);
void vht_send_u64(int fd, uint32_t request, uint32_t flags, uint64_t value);
void vht_close_fds(struct vht_msg *m);
uint32_t vht_u32(const struct vht_msg *m, size_t offset);
uint64_t vht_u64(const struct vht_msg *m, size_t offset);

struct vht_backend {
	uint64_t features;
	uint64_t protocol_features;
	uint64_t queue_num, mem_slots;
	bool no_config; /* GET_CONFIG is refused */
	/* True: the message was answered (or not), nothing more is done; false: the usual answer. May be NULL. */
	bool (*script)(struct vht_backend *b, struct vht_msg *m);
	void *ctx;

	int fd;
	uint64_t acked, pf_acked;
	uint8_t status;
	uint8_t config[256];
	int channel;	      /* from SET_BACKEND_REQ_FD, -1 = none */
	struct vht_msg *seen; /* without fds */
	unsigned n_seen;
	pthread_t thread;
	bool running;
};

/* Every feature of qemu-storage-daemon 7.2, and the rest of what the library acks. */
void vht_backend_init(struct vht_backend *b);
void vht_backend_start(struct vht_backend *b, int fd); /* takes fd */
void vht_backend_stop(struct vht_backend *b);	       /* closes it, joins, frees what was seen */
void vht_backend_answer(struct vht_backend *b, struct vht_msg *m);

/* The i-th message with this id that came, or NULL. Only after the calls that sent them have returned an answer, or
 * after vht_backend_join(). */
const struct vht_msg *vht_backend_seen(const struct vht_backend *b, uint32_t request, unsigned i);
void vht_backend_join(struct vht_backend *b); /* shuts the socket down and waits for the thread */

unsigned vht_open_fds(void);

#endif
