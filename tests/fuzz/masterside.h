/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A front-end, and beside it a back-end by hand that the input directs, for the targets that attack a front-end. */
#ifndef FUZZ_MASTERSIDE_H
#define FUZZ_MASTERSIDE_H

#include "msg.h"
#include "vh/vh.h"

struct masterside {
	struct vh_master *m;
	struct vh_mem *mem;
	struct input *in;
	bool honest; /* every request is answered as it should be */
	uint64_t features, protocol_features;
	uint64_t status;
	uint64_t acked_pf;
	bool packed; /* a ring may be packed: its base has both counters */
	int sock;    /* the back-end's end, -1 = closed */
	int channel; /* the back-end's end of its own channel */
	int mems[4]; /* memory that came with requests, newest first */
	struct stream requests, answers;
	struct msg msg;
	uint32_t asked; /* back-end requests that the application saw */
	uint8_t app;	/* what it does with the next one */
	bool ended;	/* it ended the connection, or wants it ended */
	uint64_t token; /* of one that it has not answered yet, 0 = none */
};

/* Options: bit 0 a trace, 1 the application takes back-end requests, 2 to 3 what is offered. */
void master_open(struct masterside *p, struct input *in, uint8_t options);
void master_close(struct masterside *p);
void master_connect(struct masterside *p);
/* Answer what has come as the input says. True when something was sent or closed. */
bool master_serve(struct masterside *p);
/* Called while the front-end waits. */
void master_idle(struct masterside *p, bool on);
/* A back-end request from the input. */
void master_ask(struct masterside *p);
/* The application answers a request that it took. */
void master_answer(struct masterside *p, int32_t rc);
void master_events(struct masterside *p);

#endif
