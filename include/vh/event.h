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
#define VH_EVENT_DISCONNECTED 2 /* reason: see struct vh_event; value: number of the check that ended it, 0 = none */

/* vh_event.kind, of both sides: the channel of the back-end's own requests ended, the connection goes on. */
#define VH_EVENT_CHANNEL_ENDED 24 /* reason: as of VH_EVENT_DISCONNECTED; value: number of the check, 0 = none */

/* vh_event.kind, of a slave, some of a vh_vduse too. */
#define VH_EVENT_REFUSED	3  /* a second client was closed at once */
#define VH_EVENT_STARTED	4  /* queue; reason: VH_START_* */
#define VH_EVENT_STOPPED	5  /* queue; value: base */
#define VH_EVENT_ENABLED	6  /* queue */
#define VH_EVENT_DISABLED	7  /* queue */
#define VH_EVENT_DRAINING	8  /* queue; value: requests in flight */
#define VH_EVENT_BROKEN		9  /* queue; reason: negative errno value, value: number of the check */
#define VH_EVENT_MEMORY_CHANGED 10 /* value: snapshot number */
#define VH_EVENT_CONFIG_WRITTEN 11
#define VH_EVENT_RESET		12 /* reason: what the device said, 0 or a negative errno value */
#define VH_EVENT_STATUS		13 /* value: device status byte */
#define VH_EVENT_NEGOTIATED	14 /* value: feature bits acked */
#define VH_EVENT_DEVICE_ERROR	15 /* queue; reason: what vh_device_error() said last; value: vh_queue_stats.failed */
#define VH_EVENT_PAUSED		16 /* vh_slave_pause(): it is quiet now */
#define VH_EVENT_DIRTY_LOST	17 /* a write is not in the dirty log: -ERANGE beyond it, -EFAULT it was truncated */
#define VH_EVENT_INFLIGHT_LOST	18 /* queue; the file of its inflight records was truncated: it goes on without */
#define VH_EVENT_RESUBMITTED	19 /* queue; value: requests that were in flight before, and are done again */
#define VH_EVENT_IOTLB_TIMEOUT	20 /* value: an I/O address that the front-end said nothing of in time */
#define VH_EVENT_IOTLB_FAULT	21 /* queue, broken; value: I/O address; reason: VH_MEM_* that may not be done */
#define VH_EVENT_STATE		22 /* device state: reason 0 all went, -EINPROGRESS it goes, else why not; value: bytes */
#define VH_EVENT_POSTCOPY	23 /* pages of memory come when they are touched; value: VH_POSTCOPY_* */

/* vh_event.kind, of a handle that connects by a policy (vh/reconnect.h); a success is VH_EVENT_CONNECTED. */
#define VH_EVENT_RECONNECTING 32 /* it will try; reason: why the last connection or try ended; value: ms until then */
#define VH_EVENT_GAVE_UP      33 /* it won't any more; reason: why the last try failed; value: failures in a row */

/*
 * vh_event.value of VH_EVENT_POSTCOPY. From SHARED to OFF a thread that touches guest memory may have to wait for the
 * front-end to bring a page, and waits for ever when the front-end is gone and nobody dispatches: with callbacks that is
 * the thread that dispatches.
 */
#define VH_POSTCOPY_OFF	    0
#define VH_POSTCOPY_ADVISED 1 /* the front-end has the userfaultfd */
#define VH_POSTCOPY_LISTENS 2 /* memory will be shared */
#define VH_POSTCOPY_SHARED  3 /* it is, and the front-end knows our addresses: rings may start */

/* vh_event.kind, of a master. */
#define VH_EVENT_CONFIG_CHANGED	 64 /* the back-end says that config space changed */
#define VH_EVENT_BACKEND_REQUEST 65 /* a back-end request was served; reason: 0, 1 = refused; value: its id */
#define VH_EVENT_SHMEM_RESET	 66 /* all shared memory is to be unmapped; value: how many mappings there were */
#define VH_EVENT_STATE_MOVED	 70 /* vh_master_save_state() and _load_state(); reason: how it ended; value: bytes */

/* vh_event.kind, of a driver session. */
#define VH_EVENT_NEEDS_RESET	 96 /* queue; reason: why nobody can tell where it goes on, a negative errno value */
#define VH_EVENT_SESSION_RUNNING 97 /* the back-end came back, and was told all that the session had told before */

/* vh_event.reason of VH_EVENT_STARTED. */
#define VH_START_KICK_FD   1 /* SET_VRING_KICK found the ring complete */
#define VH_START_COMPLETED 2 /* the missing message arrived */
#define VH_START_KICK	   3 /* the first kick */
#define VH_START_DRIVER_OK 4 /* VDUSE: the driver runs */

/**
 * struct vh_event - news of a handle. Size-first out struct.
 *
 * Events are state, not history: there is at most one pending per kind and queue; a later one replaces it and
 * goes to the end. So of two opposite kinds (connected and disconnected) the one that is taken last tells how things
 * are.
 *
 * The reason of VH_EVENT_DISCONNECTED is 0 when the peer closed the connection between two messages, also while an
 * answer was owed; else the negative errno value of what ended it: -ECONNRESET when it was closed inside a message,
 * -EPROTO for a message that can't be followed, -ETIMEDOUT when a deadline passed, -ECANCELED when this side ended it.
 */
struct vh_event {
	uint32_t size;
	uint32_t kind;	/* VH_EVENT_* */
	uint32_t queue; /* queue index, VH_ERROR_NONE for the device */
	int32_t reason; /* by kind */
	uint64_t value; /* by kind */
	uint64_t count; /* how many of this kind were coalesced into it, >= 1 */
};

/**
 * vh_event_name() - name of a kind of event
 * @kind: VH_EVENT_*
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 *
 * Return: (borrowed) (nullable) a static string such as "connected", NULL for an unknown kind.
 */
VH_API const char *vh_event_name(uint32_t kind);

VH_END_DECLS
#endif
