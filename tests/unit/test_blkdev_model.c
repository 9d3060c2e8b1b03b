/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Random requests, many at a time, against a model of what the disk must hold. VH_TEST_SEED repeats a run. */
#include "vht_blk.h"
#include "vht_count.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECTORS	 2048u
#define CAPACITY (SECTORS * UINT64_C(512))
#define DEPTH	 48u
#define MAX_LEN	 24u /* sectors */
#define ROUNDS	 300u

struct op {
	struct vht_blk_req r;
	struct vhi_blk_range *range;
	uint8_t *data;
	uint32_t type, sector, n;
};

static uint64_t rng;

static uint32_t rnd(uint32_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 20) % below;
}

static uint8_t *model;
static uint8_t busy[SECTORS]; /* sectors of the round: what runs at the same time does not overlap */

static void op_buffers(struct op *o, uint64_t len, void (*add)(struct vht_blk_req *, const void *, uint64_t))
{
	uint64_t at = 0;

	while (at < len) {
		uint64_t n = rnd(3) ? len - at : 1 + rnd((uint32_t)(len - at));

		if (o->r.n_rd + o->r.n_wr > 4)
			n = len - at;
		add(&o->r, o->data + at, n);
		at += n;
	}
}

static bool op_begin(struct vht_blk *f, struct op *o, uint8_t fill)
{
	static const uint32_t types[] = {VH_BLK_READ,  VH_BLK_WRITE, VH_BLK_WRITE,	  VH_BLK_READ,
					 VH_BLK_FLUSH, VH_BLK_WRITE, VH_BLK_WRITE_ZEROES, VH_BLK_DISCARD};
	uint64_t len;

	o->type = types[rnd(VHI_ARRAY_SIZE(types))];
	o->n = 1 + rnd(MAX_LEN);
	o->sector = rnd(SECTORS - o->n + 1);
	for (uint32_t i = 0; i < o->n; i++)
		if (busy[o->sector + i])
			return false;
	memset(busy + o->sector, 1, o->n);
	len = o->n * UINT64_C(512);
	vht_blk_begin(f, &o->r, o->type, o->sector);
	o->data = vht_blk_alloc(f, len);
	if (o->type == VH_BLK_WRITE) {
		for (uint64_t i = 0; i < len; i++)
			o->data[i] = (uint8_t)(fill + i * 3);
		memcpy(model + o->sector * UINT64_C(512), o->data, len);
		op_buffers(o, len, vht_blk_rd);
	} else if (o->type == VH_BLK_READ) {
		memset(o->data, 0x99, len);
		op_buffers(o, len, vht_blk_wr);
	} else if (o->type != VH_BLK_FLUSH) {
		o->range = vht_blk_alloc(f, sizeof(*o->range));
		*o->range = (struct vhi_blk_range){htole64(o->sector), htole32(o->n), 0};
		if (o->type == VH_BLK_WRITE_ZEROES) {
			o->range->flags = htole32(rnd(2));
			memset(model + o->sector * UINT64_C(512), 0, len);
		}
		vht_blk_rd(&o->r, o->range, sizeof(*o->range));
	}
	vht_blk_wr(&o->r, o->r.status, 1);
	return true;
}

static void op_check(struct op *o, uint64_t seed)
{
	uint64_t len = o->n * UINT64_C(512);
	uint8_t *m = model + o->sector * UINT64_C(512);

	if (*o->r.status != VHI_BLK_S_OK)
		fail_msg("type %u sector %u n %u: status %u, seed %llu", o->type, o->sector, o->n, *o->r.status,
			 (unsigned long long)seed);
	if (o->type == VH_BLK_READ && memcmp(o->data, m, len))
		fail_msg("sector %u n %u holds something else, seed %llu", o->sector, o->n, (unsigned long long)seed);
}

static void run_round(struct vht_blk *f, uint32_t n_queues, uint64_t seed)
{
	static struct op ops[DEPTH];
	uint64_t mark = f->used;
	uint32_t n = 0, left[VHT_BLK_QUEUES] = {0};

	memset(busy, 0, sizeof(busy));
	for (uint32_t tries = 0; tries < DEPTH; tries++)
		n += op_begin(f, &ops[n], (uint8_t)rnd(256));
	for (uint32_t i = 0; i < n; i++) {
		uint32_t q = rnd(n_queues);

		vht_blk_submit(f, q, &ops[i].r, i);
		left[q]++;
		if (!rnd(8))
			vht_blk_batch(f, q, 1 + rnd(16));
	}
	for (uint32_t q = 0; q < n_queues; q++)
		while (left[q]--)
			vht_blk_wait(f, q);
	for (uint32_t i = 0; i < n; i++)
		op_check(&ops[i], seed);
	/* After a discard a sector may hold anything: say what it holds. */
	for (uint32_t i = 0; i < n; i++)
		if (ops[i].type == VH_BLK_DISCARD) {
			memset(ops[i].data, 0x5a, ops[i].n * 512);
			assert_int_equal(
				vht_blk_rw(f, VH_BLK_WRITE, ops[i].sector, ops[i].data, ops[i].n * UINT64_C(512)), 0);
			memset(model + ops[i].sector * UINT64_C(512), 0x5a, ops[i].n * 512);
		}
	f->used = mark;
}

struct kind {
	uint32_t kind, flags, queues;
	uint64_t features;
	const char *dir; /* where the file lies, NULL = a memfd */
};

static int file_in(const char *dir)
{
	char path[64];
	int fd;

	if (!dir)
		return memfd_create("model", MFD_CLOEXEC);
	snprintf(path, sizeof(path), "%s/vh-blk-XXXXXX", dir);
	fd = mkstemp(path);
	unlink(path);
	return fd;
}

static void the_disk_holds_what_was_written(void **state)
{
	const struct kind *k = *state;
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = k->kind, .capacity = CAPACITY, .flags = k->flags};
	const char *env = getenv("VH_TEST_SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : vhi_now_ns() | 1;
	struct vht_blk f;
	int fd = -1;

	print_message("seed %llu\n", (unsigned long long)seed);
	rng = seed;
	o.max_queues = k->queues;
	model = calloc(1, CAPACITY);
	if (k->kind == VH_BLKDEV_FILE) {
		fd = file_in(k->dir);
		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, (off_t)CAPACITY), 0);
	}
	vht_blk_open(&f, &o, fd, 512, k->features);
	for (uint32_t i = 0; i < vht_count(ROUNDS); i++)
		run_round(&f, k->queues, seed);
	if (fd >= 0) {
		uint8_t *all = calloc(1, CAPACITY);

		assert_int_equal(pread(fd, all, CAPACITY, 0), (ssize_t)CAPACITY);
		assert_memory_equal(all, model, CAPACITY);
		free(all);
		close(fd);
	}
	for (uint32_t q = 0; q < k->queues; q++)
		vht_blk_stop(&f, q);
	vht_blk_close(&f);
	free(model);
}

#define FLUSH VHI_BIT(VH_BLK_F_FLUSH)
static struct kind kinds[] = {
	{VH_BLKDEV_RAM, 0, 1, FLUSH, NULL},
	{VH_BLKDEV_FILE, 0, 1, FLUSH, NULL},
	{VH_BLKDEV_FILE, 0, 4, FLUSH, "/tmp"},
	{VH_BLKDEV_FILE, 0, 2, 0, "/dev/shm"},
	{VH_BLKDEV_FILE, VH_BLKDEV_NO_URING, 1, FLUSH, NULL},
	{VH_BLKDEV_FILE, VH_BLKDEV_NO_URING, 4, 0, "/dev/shm"},
};

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"the_disk_holds_what_was_written [ram]", the_disk_holds_what_was_written, NULL, NULL, &kinds[0]},
		{"the_disk_holds_what_was_written [memfd]", the_disk_holds_what_was_written, NULL, NULL, &kinds[1]},
		{"the_disk_holds_what_was_written [file]", the_disk_holds_what_was_written, NULL, NULL, &kinds[2]},
		{"the_disk_holds_what_was_written [write-through]", the_disk_holds_what_was_written, NULL, NULL,
		 &kinds[3]},
		{"the_disk_holds_what_was_written [no io_uring]", the_disk_holds_what_was_written, NULL, NULL,
		 &kinds[4]},
		{"the_disk_holds_what_was_written [no io_uring, write-through]", the_disk_holds_what_was_written, NULL,
		 NULL, &kinds[5]},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
