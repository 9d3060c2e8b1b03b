/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the tests of the front-end have in common. */
#ifndef VHT_MASTER_H
#define VHT_MASTER_H

#include "vh/vh.h"
#include "vht_backend.h"

struct vh_master *vht_master_new(uint32_t timeout_ms);
/* A front-end on a socket pair; the other end is returned. */
int vht_master_pair(struct vh_master *m);
/* A front-end whose back-end is b's thread, negotiated with VERSION_1 wanted. */
struct vh_master *vht_master_with(struct vht_backend *b, uint32_t timeout_ms);

/* Submit by hand; returns what vh_master_submit returns. */
int vht_submit(struct vh_master *m, uint32_t request, uint32_t reply, const void *payload, uint32_t size,
	       uint64_t *ticket);
/* Dispatch until the ticket is finished or fails, or VHT_WAIT_MS have passed. */
int vht_finish(struct vh_master *m, uint64_t ticket, void *payload, uint32_t cap, uint32_t *size);
/* Dispatch until it fails. */
int vht_until_failed(struct vh_master *m);
/* Bring a connection, whose other end is fd, past negotiation without a thread. */
void vht_negotiate_by_hand(struct vh_master *m, int fd, uint64_t features, uint64_t protocol_features);

/* The event that is taken last: how things are. Fails the test when there is none. */
struct vh_event vht_last_event(struct vh_master *m);

/* Of the last error. */
uint32_t vht_site(void);
const char *vht_text(void);

#endif
