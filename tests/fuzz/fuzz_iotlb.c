/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * An IOTLB against a naive one: an array of what each I/O address means. Each operation is 5 bytes; the first byte of the
 * input says how many entries there may be, and whether it evicts: then it may know less, but never something else.
 */
#include <stdlib.h>

#include "vhi_iotlb.h"

#define ADDRS 256u

struct naive {
	uint16_t addr[ADDRS];
	uint8_t perm[ADDRS]; /* 0: nothing */
};

static void must(bool it)
{
	if (!it)
		abort();
}

static void check(struct vh_iotlb *t, const struct naive *n, bool evicts)
{
	struct vh_iotlb_entry e[ADDRS];
	vh_count count = vh_iotlb_entries(t, 0, e, ADDRS);
	uint32_t known = 0, all = 0;

	must(count >= 0 && count <= (int)ADDRS);
	for (int32_t i = 0; i < count; i++) {
		must(e[i].len && (!i || e[i - 1].iova + e[i - 1].len <= e[i].iova));
		for (uint64_t k = 0; k < e[i].len; k++, known++) {
			must(e[i].iova + k < ADDRS && n->perm[e[i].iova + k] == e[i].perm);
			must(n->addr[e[i].iova + k] == e[i].addr + k);
		}
	}
	for (uint32_t i = 0; i < ADDRS; i++)
		all += n->perm[i] != 0;
	must(evicts ? known <= all : known == all);
}

static void step(struct vh_iotlb *t, struct naive *n, const uint8_t *op)
{
	const uint32_t first = op[1], len = 1 + op[2] % (ADDRS - first);
	const struct vh_iotlb_entry e = {.iova = first, .len = len, .addr = op[3], .perm = 1 + op[4] % 3};

	if (op[0] & 1 && !vh_iotlb_update(t, &e)) {
		for (uint32_t i = 0; i < len; i++) {
			n->addr[first + i] = (uint16_t)(op[3] + i);
			n->perm[first + i] = (uint8_t)e.perm;
		}
	} else if (!(op[0] & 1) && !vh_iotlb_invalidate(t, first, len)) {
		for (uint32_t i = 0; i < len; i++)
			n->perm[first + i] = 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vh_iotlb_opts opts = {.size = sizeof(opts)};
	struct naive n = {{0}, {0}};
	struct vh_iotlb *t;

	if (!size)
		return 0;
	opts.max_entries = 1 + (data[0] & 15);
	opts.flags = data[0] & 16 ? VH_IOTLB_EVICT : 0;
	if (vh_iotlb_new(&opts, NULL, &t))
		return 0;
	for (size_t at = 1; at + 5 <= size; at += 5) {
		step(t, &n, data + at);
		must(vh_iotlb_entries(t, 0, NULL, 0) <= (int)opts.max_entries);
		check(t, &n, opts.flags);
	}
	vh_iotlb_free(t);
	return 0;
}
