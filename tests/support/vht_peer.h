/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A front-end by hand, in the same thread as the back-end under test: raw messages over a socket pair, rings written
 * with plain stores, and a device that does what the test wants. It shares no code with the library.
 */
#ifndef VHT_PEER_H
#define VHT_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "vh/vh.h"
#include "vht_backend.h"

#define VHT_QUEUES    4
#define VHT_QUEUE_MAX 256
#define VHT_HELD_MAX  512

/* Message ids, spelled out here so that a slip in the library's table is seen. */
enum {
	M_GET_FEATURES = 1,
	M_SET_FEATURES = 2,
	M_SET_OWNER = 3,
	M_RESET_OWNER = 4,
	M_SET_MEM_TABLE = 5,
	M_SET_LOG_BASE = 6,
	M_SET_LOG_FD = 7,
	M_SET_VRING_NUM = 8,
	M_SET_VRING_ADDR = 9,
	M_SET_VRING_BASE = 10,
	M_GET_VRING_BASE = 11,
	M_SET_VRING_KICK = 12,
	M_SET_VRING_CALL = 13,
	M_SET_VRING_ERR = 14,
	M_GET_PROTOCOL_FEATURES = 15,
	M_SET_PROTOCOL_FEATURES = 16,
	M_GET_QUEUE_NUM = 17,
	M_SET_VRING_ENABLE = 18,
	M_SEND_RARP = 19,
	M_NET_SET_MTU = 20,
	M_SET_BACKEND_REQ_FD = 21,
	M_GET_CONFIG = 24,
	M_SET_CONFIG = 25,
	M_CREATE_CRYPTO_SESSION = 26,
	M_CLOSE_CRYPTO_SESSION = 27,
	M_POSTCOPY_ADVISE = 28,
	M_POSTCOPY_LISTEN = 29,
	M_POSTCOPY_END = 30,
	M_GET_INFLIGHT_FD = 31,
	M_GPU_SET_SOCKET = 33,
	M_RESET_DEVICE = 34,
	M_GET_MAX_MEM_SLOTS = 36,
	M_ADD_MEM_REG = 37,
	M_REM_MEM_REG = 38,
	M_SET_STATUS = 39,
	M_GET_STATUS = 40,
	M_SET_DEVICE_STATE_FD = 42,
	M_CHECK_DEVICE_STATE = 43,
};

#define F_REQUEST    1u /* header flags */
#define F_NEED_REPLY 9u
#define F_REPLY	     5u

#define VHT_BIT30   (UINT64_C(1) << 30)
#define VHT_VERSION (UINT64_C(1) << 32)
/* MQ LOG_SHMFD REPLY_ACK BACKEND_REQ CONFIG INFLIGHT_SHMFD RESET_DEVICE CONFIGURE_MEM_SLOTS STATUS
 * GET_VRING_BASE_INFLIGHT GET_VRING_BASE_SKIP_DRAIN */
#define VHT_PF UINT64_C(0x91b22b)

/* The device: copies what is readable into what is writable, at once or when the test says so. */
struct vht_echo {
	bool hold;
	bool config_later; /* get_config answers later */
	struct vh_req held[VHT_HELD_MAX];
	struct vh_queue *held_from[VHT_HELD_MAX];
	uint32_t n_held;
	uint32_t batches; /* calls of on_batch */
	uint32_t served;
	uint32_t started, stopped;	     /* calls */
	struct vh_queue *queues[VHT_QUEUES]; /* that were started */
	int32_t features_rc, config_rc, reset_rc, batch_rc;
	uint64_t later;	   /* of the last callback that has one */
	uint64_t features; /* last choice */
	uint32_t resets, destroyed;
	uint8_t config[64];
	void (*on_batch_hook)(void *hook_ctx); /* called inside on_batch */
	void (*on_config_hook)(void *hook_ctx);
	void *hook_ctx;
};

struct vht_vq {
	uint64_t desc, avail, used; /* offsets in memory */
	uint32_t num;
	uint16_t next;	     /* available index to publish next */
	uint16_t base;	     /* sent by vht_ring_up() */
	int kick, call, err; /* ours */
};

struct vht_peer {
	struct vh_slave *s;
	struct vh_device *dev;
	struct vht_echo echo;
	int fd; /* ours of the connection */
	int memfd;
	uint8_t *mem;
	struct vht_vq vq[VHT_QUEUES];
	struct vht_msg reply;
};

#define VHT_MEM_SIZE UINT64_C(0x100000)
#define VHT_MEM_GPA  UINT64_C(0x40000000)
#define VHT_MEM_UVA  UINT64_C(0x7f1200000000)

/* A back-end over one end of a socket pair; no message was sent yet. NULL opts: defaults. */
void vht_peer_init(struct vht_peer *p, const struct vh_slave_opts *opts, const struct vh_device_opts *dev,
		   uint32_t ops_flags);
void vht_peer_free(struct vht_peer *p);
/* Only the device and the back-end, without a connection. */
void vht_peer_prepare(struct vht_peer *p, const struct vh_slave_opts *opts, const struct vh_device_opts *dev,
		      uint32_t ops_flags);
void vht_peer_connect(struct vht_peer *p);

/* SET_BACKEND_REQ_FD; the front-end's end of the channel, to be closed. */
int vht_give_channel(struct vht_peer *p);

/* Dispatch until there is nothing to do. */
void vht_pump(struct vht_peer *p);
/* Wait for something to do, and do it; fails the test when nothing comes. */
void vht_pump_wait(struct vht_peer *p);

void vht_msg(struct vht_peer *p, uint32_t id, uint32_t flags, const void *payload, uint32_t size, int fd);
void vht_msg_u64(struct vht_peer *p, uint32_t id, uint32_t flags, uint64_t v);
void vht_msg_state(struct vht_peer *p, uint32_t id, uint32_t flags, uint32_t index, uint32_t num);
/* Pump, then: a reply with this id is there and is p->reply; its flags are right and it is the only one. */
void vht_expect(struct vht_peer *p, uint32_t id);
void vht_expect_u64(struct vht_peer *p, uint32_t id, uint64_t v);
void vht_expect_silence(struct vht_peer *p); /* nothing was sent, and the connection is up */
void vht_expect_closed(struct vht_peer *p);
/* Send with need_reply: status 0, or not. */
void vht_ok(struct vht_peer *p, uint32_t id, const void *payload, uint32_t size, int fd);
void vht_ok_u64(struct vht_peer *p, uint32_t id, uint64_t v);
void vht_ok_state(struct vht_peer *p, uint32_t id, uint32_t index, uint32_t num);
void vht_nack(struct vht_peer *p, uint32_t id, const void *payload, uint32_t size, int fd);
void vht_nack_u64(struct vht_peer *p, uint32_t id, uint64_t v);
void vht_nack_state(struct vht_peer *p, uint32_t id, uint32_t index, uint32_t num);

/* Features (bit 30 or not) and protocol features; REPLY_ACK is on after it where it was offered. */
void vht_negotiate(struct vht_peer *p, uint64_t features);
void vht_send_mem(struct vht_peer *p); /* one region, acked */
void vht_send_region(struct vht_peer *p, uint32_t id, uint32_t flags, uint64_t gpa, uint64_t uva, uint64_t len, int fd);
void vht_send_table(struct vht_peer *p, uint32_t flags, uint64_t gpa, uint64_t uva, uint64_t len);
struct vh_vring_addr vht_addr(struct vht_peer *p, uint32_t i);
void vht_set_kick(struct vht_peer *p, uint32_t i); /* a new eventfd */
void vht_set_call(struct vht_peer *p, uint32_t i);
void vht_set_err(struct vht_peer *p, uint32_t i);
/* NUM, BASE, ADDR, CALL, KICK */
void vht_ring_up(struct vht_peer *p, uint32_t i);
/* Negotiated with bit 30, memory, ring 0 up and enabled. */
void vht_peer_up(struct vht_peer *p);

/* Make a request of 16 readable and 16 writable bytes available; no kick. */
void vht_offer_echo(struct vht_peer *p, uint32_t i);
void vht_kick(struct vht_peer *p, uint32_t i);
uint16_t vht_used(struct vht_peer *p, uint32_t i);
/* Push all that the device holds; the last rc. */
int vht_push_held(struct vht_peer *p);

/* The next event is of this kind (others are skipped): it is returned. */
struct vh_event vht_event(struct vht_peer *p, uint32_t kind);
bool vht_no_event(struct vht_peer *p, uint32_t kind);
struct vh_slave_stats vht_slave_stats(struct vht_peer *p);
uint64_t vht_count(int fd); /* an eventfd's, 0 = not signalled */

#endif
