/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A block device of one gigabyte that holds nothing, on a vhost-user socket: a device of your own begins like this. */
#include <stdio.h>
#include <string.h>
#include <vh/vh.h>

#define BATCH 32

/* Config space: the number of sectors, little-endian, and zeroes. */
static int32_t get_config(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later)
{
	uint8_t config[256] = {0};
	const uint64_t sectors = (UINT64_C(1) << 30) / VH_BLK_SECTOR;

	(void)ctx;
	(void)later;
	for (int i = 0; i < 8; i++)
		config[i] = (uint8_t)(sectors >> (8 * i));
	memcpy(buf, config + offset, len); /* offset + len is 256 at most */
	return 0;
}

/* Every request is done at once: reads bring zeroes, writes go nowhere. The last writable byte is the status. */
static int32_t on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	const uint32_t max = budget < BATCH ? budget : BATCH;
	struct vh_req reqs[BATCH];
	struct vh_cpl cpls[BATCH];
	vh_count n = vh_queue_pop(q, reqs, max);
	vh_rc rc;

	(void)ctx, (void)index;
	if (n <= 0)
		return n;
	for (vh_count i = 0; i < n; i++) {
		const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)reqs[i].segs;

		for (uint32_t s = reqs[i].n_rd; s < reqs[i].n_rd + reqs[i].n_wr; s++)
			memset((void *)(uintptr_t)segs[s].addr, 0, (size_t)segs[s].len); /* status 0 is OK */
		cpls[i] = (struct vh_cpl){.token = reqs[i].token, .written = (uint32_t)reqs[i].wr_len};
	}
	rc = vh_queue_push(q, cpls, (uint32_t)n);
	return rc ? rc : (uint32_t)n == max;
}

int main(int argc, char **argv)
{
	const struct vh_device_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK};
	const struct vh_device_ops ops = {.size = sizeof(ops), .get_config = get_config, .on_batch = on_batch};
	struct vh_error why = {.size = sizeof(why)};
	struct vh_device *dev = NULL;
	struct vh_slave *s = NULL;

	if (argc != 2)
		return fprintf(stderr, "usage: null_backend SOCKET\n"), 2;
	if (!vh_device_new(&opts, &ops, NULL, &dev) && !vh_slave_new(NULL, dev, NULL, NULL, &s) &&
	    !vh_slave_listen(s, argv[1]))
		while (vh_slave_wait(s, -1) >= 0)
			;
	vh_error_get(&why);
	fprintf(stderr, "%s\n", why.text);
	vh_slave_free(s);
	vh_device_free(dev);
	return 1;
}
