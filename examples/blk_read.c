/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Read the first sectors of a vhost-user block device, in one batch, and print how each begins. */
#include <inttypes.h>
#include <stdio.h>
#include <vh/vh.h>

#define N 8

static int failed(const char *step)
{
	struct vh_error why = {.size = sizeof(why)};

	vh_error_get(&why);
	fprintf(stderr, "%s: %s: %s\n", step, vh_error_name(why.code), why.text);
	return 1;
}

static int read_sectors(struct vh_driver *d, struct vh_blk *b)
{
	struct vh_blk_info info = {.size = sizeof(info)};
	struct vh_blk_io ios[N];
	struct vh_blk_done done[N];
	uint64_t buf;
	vh_count n, got;

	if (vh_blk_get_info(b, &info) || vh_driver_alloc(d, N * VH_BLK_SECTOR, &buf))
		return failed("prepare");
	for (uint32_t i = 0; i < N; i++)
		ios[i] = (struct vh_blk_io){.op = VH_BLK_READ,
					    .offset = (uint64_t)i * VH_BLK_SECTOR,
					    .addr = buf + (uint64_t)i * VH_BLK_SECTOR,
					    .len = VH_BLK_SECTOR,
					    .user = i};
	n = vh_blk_submit(b, 0, ios, N); /* fewer on a disk of fewer sectors */
	if (n < 0)
		return failed("submit");
	for (; n > 0; n -= got) {
		if (vh_blk_wait(b, 0, 10000) || (got = vh_blk_reap(b, 0, done, N)) < 0)
			return failed("wait");
		for (vh_count i = 0; i < got; i++)
			printf("sector %" PRIu64 ": %s, first byte 0x%02x\n", done[i].user,
			       done[i].rc ? vh_error_name(done[i].rc) : "ok",
			       *(const uint8_t *)(uintptr_t)(buf + done[i].user * VH_BLK_SECTOR));
	}
	printf("of %" PRIu64 " bytes\n", info.capacity);
	return 0;
}

int main(int argc, char **argv)
{
	const struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK};
	struct vh_master *m = NULL;
	struct vh_backend *dev;
	struct vh_driver *d = NULL;
	struct vh_blk *b = NULL;
	int rc = 1;

	if (argc != 2)
		return fprintf(stderr, "usage: blk_read SOCKET\n"), 2;
	if (vh_master_new(NULL, NULL, NULL, &m) || vh_master_connect(m, argv[1]) || vh_master_backend(m, &dev))
		failed("connect");
	else if (vh_driver_new(&opts, dev, NULL, &d) || vh_blk_new(d, &b) || vh_driver_start(d))
		failed("start");
	else
		rc = read_sectors(d, b);
	vh_blk_free(b);
	vh_driver_free(d);
	vh_master_free(m);
	return rc;
}
