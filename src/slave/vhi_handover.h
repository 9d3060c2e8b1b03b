/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A back-end's state for its successor, which may be of another version: a head, then records. Each says its kind and its
 * length; one of a kind that is not known is refused, because whoever wrote it thought that it matters. What a record
 * gets at its end later may be left out by older writers, and is zero then. Files are named by their place in an array.
 */
#ifndef VHI_HANDOVER_H
#define VHI_HANDOVER_H

#include "vhi_slave.h"

#define MAGIC	0x65766c7356484231u /* of the first format */
#define NO_FILE (-1)

enum { REC_CONN = 1, REC_LISTENER, REC_REGION, REC_RING, REC_LOG, REC_DIAL, REC_INFLIGHT };

/* The format is these structs, in native byte order, without a byte that no field has. */
struct head {
	uint64_t magic;
	uint32_t n_bytes;
	uint32_t n_files;
};

struct record {
	uint32_t kind;
	uint32_t size; /* of what follows, a multiple of 8 */
};

#define CONN_FEATURES_TOLD  1u
#define CONN_FEATURES_BAD   2u
#define CONN_CONFIG_CHANGED 4u
#define CONN_STATE_GOOD	    8u /* the last transfer of the device's state, until it is asked about */
#define CONN_STATE_BAD	    16u
struct rec_conn {
	uint64_t acked, pf_acked;
	uint32_t status;
	uint32_t flags;
	int32_t main, back;
};

struct rec_listener {
	uint64_t dev, ino;
	int32_t file;
	uint32_t reserved;
	char path[sizeof(((struct vhi_sock_file *)0)->path)]; /* "" = the socket is not ours to remove */
};

struct rec_region {
	uint64_t gpa, uva, len, offset;
	int32_t file;
	uint32_t map_flags, map_domain, reserved;
};

#define RING_STARTED  1u /* or wanted */
#define RING_ENABLED  2u
#define RING_POLLED   4u
#define RING_HAS_ADDR 8u
#define RING_HAS_BASE 16u
struct rec_ring {
	struct vh_vring_addr addr;
	uint32_t index, num, base, flags;
	int32_t kick, call, err;
	uint32_t reserved;
};

struct rec_log {
	uint64_t offset, len;
	int32_t file, call; /* either may be missing */
};

struct rec_dial {
	uint32_t max_tries, first_ms, max_ms, jitter;
	uint32_t failures, delay_ms;
	uint64_t wait_ns; /* until the next try, 0 = at once */
	char address[VHI_DIAL_ADDRESS];
};

struct rec_inflight {
	uint64_t offset, size;
	uint32_t num_queues, queue_size;
	int32_t file;
	uint32_t reserved;
};

#endif
