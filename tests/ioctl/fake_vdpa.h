/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* /dev/fake/vhost-vdpa-0: a vDPA device whose rings nobody serves, with the kernel's rules about what may be said when. */
#ifndef FAKE_VDPA_H
#define FAKE_VDPA_H

#include <stdbool.h>

#include "fake_sys.h"
#include "vhi_vhost_uapi.h"

#define FAKE_VDPA_PATH "/dev/fake/vhost-vdpa-0"
#define FAKE_VDPA_MAPS 32

struct fake_vdpa {
	/* What it is. */
	uint32_t device_id, n_rings, config_size;
	uint64_t offered, backend_offered, first, last;
	uint16_t max_num;
	bool refuses_features; /* FEATURES_OK does not stay */
	bool old;	       /* a kernel that knows little */
	bool forgets; /* behind PCI: nobody can ask where a ring is, and it can't be told but of the beginning */
	int open_errno, mmap_errno;

	/* What was said. */
	bool owned, suspended, in_batch;
	uint8_t status;
	uint64_t acked, backend_acked;
	uint8_t config[64];
	unsigned config_reads, config_moves; /* so many reads find it changed */
	unsigned size_reads;
	struct {
		uint32_t num, base;
		bool has_addr, on;
		int kick, call, err;
		struct vh_vring_addr addr;
	} rings[4];
	uint32_t asid[4];
	struct {
		uint32_t asid;
		uint64_t iova, len, uaddr;
		uint8_t perm;
	} maps[FAKE_VDPA_MAPS];
	unsigned n_maps, n_batches, n_resets, n_starts;
	int config_call;

	/* The next call of this number fails so; the n-th message too. */
	uint32_t fail_request;
	int fail_errno;
	unsigned fail_message; /* counts down */
};

extern struct fake_vdpa *fake_vdpa;
void fake_vdpa_begin(struct fake_vdpa *f);
int fake_vdpa_open(void);

#endif
