/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A back-end and a front-end by hand beside it, for the targets that attack a back-end. */
#ifndef FUZZ_SLAVESIDE_H
#define FUZZ_SLAVESIDE_H

#include "msg.h"
#include "vh/vh.h"

#define SIDE_QUEUES 3
#define SIDE_HELD   64

/* A device that keeps requests until it is told to complete them, and answers its callbacks when it likes. */
struct holder {
	struct vh_slave *s;
	uint8_t later; /* bits: which callbacks answer later */
	uint64_t token;
	int32_t token_rc;
	uint32_t destroyed;
	uint32_t n;
	struct vh_queue *from[SIDE_HELD];
	struct vh_req held[SIDE_HELD];
	bool stale[SIDE_HELD]; /* its ring was stopped */
	bool fails;	       /* gives a queue up when it has three requests */
};

struct slaveside {
	struct vh_slave *s;
	struct vh_device *dev;
	struct holder holder;
	bool holds; /* the device is the holder */
	int listener;
	int client, second; /* -1 = none */
	int mem;	    /* the session's memory */
	int kicks[SIDE_QUEUES], calls[SIDE_QUEUES];
	int channel;		    /* our end of the back-end channel */
	uint16_t next[SIDE_QUEUES]; /* available index to publish */
	struct msg m;
	struct stream answers, requests; /* from client and channel */
};

/* Options: bit 0 the device holds, 1 read-only, 2 seals required, 3 a trace; bits 4 to 6 callbacks that answer later,
 * 7 the device that holds gives queues up. */
void side_open(struct slaveside *p, uint8_t options);
/* Ends every connection, sees that the back-end notices, frees everything and looks for leaks. */
void side_close(struct slaveside *p);
void side_connect(struct slaveside *p);
void side_disconnect(struct slaveside *p);

/* Dispatch until nothing is left, or as often as a ring that feeds itself can make us. */
void side_pump(struct slaveside *p);
/* As far into a good session as level says; features: low bits choose. */
void side_prefix(struct slaveside *p, uint8_t level, uint8_t features);
/* A new back-end channel; kind 0 a socket pair, 1 the connection itself, else one of enum kern_kind. */
void side_channel(struct slaveside *p, uint8_t kind);
void side_send_u64(struct slaveside *p, uint32_t id, uint64_t v, int fd);

/* Bytes into the session's memory. */
void side_poke(struct slaveside *p, uint32_t at, const void *bytes, size_t n);
/* A block request of a header, len bytes and a status byte, made available in a ring. */
void side_offer(struct slaveside *p, uint32_t ring, uint32_t type, uint64_t sector, uint32_t len);
/* The holder completes its oldest or newest request. */
void side_complete(struct slaveside *p, bool newest, uint32_t written);
/* ... or answers the callback that waits. */
void side_answer(struct slaveside *p, int32_t rc);

#endif
