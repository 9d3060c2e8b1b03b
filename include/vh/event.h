/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: News of a handle, the same for both sides.
 */
#ifndef VH_EVENT_H
#define VH_EVENT_H

#include "vh/types.h"

VH_BEGIN_DECLS

/* vh_event.kind, of both sides. */
#define VH_EVENT_CONNECTED    1
#define VH_EVENT_DISCONNECTED 2 /* reason: errno of the failure, 0 = the peer closed */

/* Of a slave. */
#define VH_EVENT_REFUSED	3  /* a second client was closed at once */
#define VH_EVENT_STARTED	4  /* queue; reason: VH_START_* */
#define VH_EVENT_STOPPED	5  /* queue; value: base */
#define VH_EVENT_ENABLED	6  /* queue */
#define VH_EVENT_DISABLED	7  /* queue */
#define VH_EVENT_DRAINING	8  /* queue; value: requests in flight */
#define VH_EVENT_BROKEN		9  /* queue; reason: errno, value: number of the check */
#define VH_EVENT_MEMORY_CHANGED 10 /* value: snapshot number */
#define VH_EVENT_CONFIG_WRITTEN 11
#define VH_EVENT_RESET		12
#define VH_EVENT_STATUS		13 /* value: device status byte */
#define VH_EVENT_NEGOTIATED	14 /* value: feature bits acked */

/* Of a master. */
#define VH_EVENT_CONFIG_CHANGED	 64 /* the back-end says that config space changed */
#define VH_EVENT_BACKEND_REQUEST 65 /* a back-end request was answered; value: its id */

/* Reasons of VH_EVENT_STARTED. */
#define VH_START_KICK_FD   1 /* SET_VRING_KICK found the ring complete */
#define VH_START_COMPLETED 2 /* the missing message arrived */
#define VH_START_KICK	   3 /* the first kick */

/**
 * struct vh_event - news of a handle. Size-first out struct.
 *
 * Events are state, not history: there is at most one pending per kind and queue, and a later one replaces it.
 */
struct vh_event {
	uint32_t size;
	uint32_t kind;	/* VH_EVENT_* */
	uint32_t queue; /* queue index, VH_ERROR_NONE for the device */
	int32_t reason; /* by kind */
	uint64_t value; /* by kind */
	uint64_t count; /* how many of this kind were coalesced into it, >= 1 */
};

VH_END_DECLS
#endif
