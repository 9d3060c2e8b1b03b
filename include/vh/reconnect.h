/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: When to connect again.
 *
 * A handle that was given such a policy connects again after its connection
 * ended, or could not be made: from its dispatch, without blocking. The delays
 * double from try to try, and a part of each is random, so that many clients
 * of a peer that restarts don't come at the same time.
 */
#ifndef VH_RECONNECT_H
#define VH_RECONNECT_H

#include "vh/types.h"

VH_BEGIN_DECLS

/**
 * struct vh_reconnect - a policy. Sized, zero means default. NULL in place of it: never
 *
 * A connection over which messages came ends the row of failures, and the delays begin anew; one that ends before its first
 * message is a failure.
 */
struct vh_reconnect {
	uint32_t size;	    /* sizeof(struct vh_reconnect) */
	uint32_t max_tries; /* failures in a row after which it gives up; 0 = it never does */
	uint32_t first_ms;  /* the first delay; 0 = 100 */
	uint32_t max_ms;    /* the longest, at least first_ms; 0 = 10000, or first_ms if that is longer */
	uint32_t jitter;    /* how much of each delay is random, percent, 1 to 100; 0 = 25 */
	uint32_t flags;	    /* must be 0 */
};

VH_END_DECLS
#endif
