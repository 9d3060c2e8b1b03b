/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* When to connect again: a policy (vh/reconnect.h), and where one stands in it. It only counts; timers are the owner's. */
#ifndef VHI_BACKOFF_H
#define VHI_BACKOFF_H

#include "vh/reconnect.h"
#include "vhi_base.h"

struct vhi_backoff {
	struct vh_reconnect policy; /* defaults filled in */
	bool on;		    /* there is a policy; without one it gives up at once */
	uint32_t failures;	    /* in a row */
	uint64_t delay_ms;	    /* the last one before its random part was taken off, 0 = none yet */
	uint64_t random;	    /* state of a small generator: nothing here is secret */
};

/* @policy may be NULL. @seed 0 takes the time; any other gives the same delays each time. -EINVAL with the last error. */
vh_rc vhi_backoff_begin(struct vhi_backoff *b, const struct vh_reconnect *policy, uint64_t seed, const char *who);

/* The connection is of use: the row of failures ends, and the delays begin anew. */
void vhi_backoff_reset(struct vhi_backoff *b);

/*
 * There is no connection. @failed: the try failed, or the connection ended before it was of use. True: try again
 * *delay_ns from now. False: it gives up.
 */
bool vhi_backoff_next(struct vhi_backoff *b, bool failed, uint64_t *delay_ns);

#endif
