/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * /dev/vhost-net, -vsock and -scsi as the kernel's sources have them: who may call what when, what is refused and how, and what
 * becomes of a call that a kernel does not know.
 */
#ifndef FAKE_VHOST_H
#define FAKE_VHOST_H

#include <stdbool.h>

#include "fake_sys.h"
#include "vhi_vhost_uapi.h"

#define FAKE_RINGS 4

/* What this kernel has. */
#define FAKE_WORKERS	  1u
#define FAKE_ENDIAN	  2u
#define FAKE_FORK	  4u
#define FAKE_ARRAY	  8u
#define FAKE_BUSYLOOP	  16u
#define FAKE_BACKEND_BITS 32u
#define FAKE_NEWEST	  63u

struct fake_ring {
	uint32_t num, base, endian, busyloop, worker;
	struct vh_vring_addr addr;
	int kick, call, err; /* as given, -1 = none */
	int backend;	     /* net: the file; others: 1 while it runs; -1 */
};

struct fake_vhost {
	uint32_t node; /* VHI_NODE_* */
	uint32_t has;  /* FAKE_* */
	uint64_t offered, offered_high, backend_offered;

	bool owned;
	uint64_t acked, acked_high, backend_acked;
	uint32_t n_regions, max_regions;
	struct vhi_vhost_memory_region regions[8];
	uint64_t log_base;
	int log_fd;
	uint8_t fork;
	struct fake_ring rings[FAKE_RINGS];
	uint32_t n_rings, n_workers;
	uint64_t cid, taken_cid;
	bool running;
	char target[224];  /* what it shows */
	const char *there; /* what it may show */
	uint32_t missed;

	/* The next call of this number fails so. */
	uint32_t fail_request;
	int fail_errno;
	unsigned fail_after; /* this many of them are let through */

	/* Messages: what is to be read, as it is, and what was written. */
	uint8_t in[256][80];
	uint8_t in_len[256];
	unsigned in_first, in_n;
	int read_errno, write_errno;
	size_t write_short;
	struct vhi_vhost_msg_v2 out[256];
	unsigned n_out;

	uint32_t calls[64]; /* the last ones, a ring */
	unsigned n_calls;
};

extern struct fake_vhost *fake;

/* From now on, at /dev/fake/vhost-KIND. Its state is new. */
void fake_vhost_begin(struct fake_vhost *f, uint32_t node);
const char *fake_vhost_path(void);
/* For adopting: a file that is that device. */
int fake_vhost_open(void);
void fake_vhost_miss(uint64_t iova, uint8_t perm); /* as v1 or v2, as was agreed */
void fake_vhost_say(const void *bytes, uint8_t n);
bool fake_vhost_called(uint32_t request);

#endif
