/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A back-end of a few lines, written from the protocol's text: it answers a negotiation, and makes a request of its own
 * once shared objects were acked.
 */
#ifndef RAW_H
#define RAW_H

#include <pthread.h>
#include <stdint.h>

#define RAW_REQUEST 6	 /* SHARED_OBJECT_ADD */
#define RAW_BYTE    0x42 /* every byte of its payload */

struct raw {
	int fd;
	pthread_t thread;
	int answered;	 /* the front-end answered the request */
	uint64_t status; /* with this */
};

uint64_t raw_protocol_features(void);
void raw_start(struct raw *r, int fd); /* takes the fd */
void raw_join(struct raw *r);	       /* ends when the front-end has closed the connection */

#endif
