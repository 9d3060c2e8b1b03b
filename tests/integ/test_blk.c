/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Block requests over a driver session, whatever is driven. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "vhi_blk_driver.h"
#include "vht_session.h"

#define ok(call)    assert_int_equal((call), 0)
#define MIB	    (UINT64_C(1) << 20)
#define KIND	    (*(const enum vht_kind *)*state)
#define F(bit)	    VHI_BIT(VH_BLK_F_##bit)
#define ADDR(s, at) ((uint64_t)(uintptr_t)((s)->buf + (at)))

static void info_says_what_config_space_says(void **state)
{
	const uint64_t f = F(SEG_MAX) | F(BLK_SIZE) | F(FLUSH) | F(MQ) | F(DISCARD) | F(WRITE_ZEROES) | F(RO);
	const uint8_t config[] = {126, 0, 0, 0}, block[] = {0, 16, 0, 0}, queues[] = {3, 0};
	const uint8_t discard[] = {1, 2, 3, 0}, zeroes[] = {4, 5, 6, 0};
	const struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_BLK, .n_queues = 2};
	struct vh_blk_info info = {.size = sizeof(info)};
	struct vht_session s;

	vht_session_disk(&s, KIND, 3 * MIB, f, 4);
	vht_disk_config(s.disk, VHI_BLK_C_SEG_MAX, config, 4);
	vht_disk_config(s.disk, VHI_BLK_C_BLK_SIZE, block, 4);
	vht_disk_config(s.disk, VHI_BLK_C_NUM_QUEUES, queues, 2);
	vht_disk_config(s.disk, VHI_BLK_C_MAX_DISCARD, discard, 4);
	vht_disk_config(s.disk, VHI_BLK_C_MAX_ZEROES, zeroes, 4);
	vht_session_begin(&s, &o, MIB);
	ok(vh_blk_get_info(s.b, &info));
	assert_int_equal(info.capacity, 3 * MIB);
	assert_int_equal(info.block_size, 4096);
	assert_int_equal(info.features & f, f);
	assert_int_equal(info.read_only, 1);
	assert_int_equal(info.n_queues, 2);
	assert_int_equal(info.max_queues, 3);
	assert_int_equal(info.seg_max, 126);
	assert_int_equal(info.max_discard, 0x30201);
	assert_int_equal(info.max_write_zeroes, 0x60504);
	assert_int_equal(info.write_cache, 1);
	info.size = 4;
	assert_int_equal(vh_blk_get_info(s.b, &info), -EINVAL);
	assert_int_equal(vh_blk_get_info(s.b, NULL), -EINVAL);
	assert_int_equal(vh_blk_get_info(NULL, &info), -EINVAL);
	vht_session_end(&s);
}

static void info_without_features_has_defaults(void **state)
{
	struct vh_blk_info info = {.size = sizeof(info)};
	const uint8_t junk[52] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
				  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
	struct vht_session s;

	vht_session_disk(&s, KIND, MIB, 0, 1);
	vht_disk_config(s.disk, 8, junk, sizeof(junk)); /* fields without a feature are not there */
	vht_session_begin(&s, NULL, MIB);
	ok(vh_blk_get_info(s.b, &info));
	assert_int_equal(info.block_size, 512);
	assert_int_equal(info.seg_max + info.max_discard + info.max_write_zeroes + info.read_only, 0);
	assert_int_equal(info.write_cache, 0);
	assert_int_equal(info.max_queues, 1);
	vht_session_end(&s);
}

static void a_cache_that_is_switched_off_needs_no_flush(void **state)
{
	struct vh_blk_info info = {.size = sizeof(info)};
	const uint8_t on = 1;

	for (int i = 0; i < 2; i++) {
		struct vht_session s;

		vht_session_disk(&s, KIND, MIB, F(FLUSH) | F(CONFIG_WCE), 1);
		if (i)
			vht_disk_config(s.disk, VHI_BLK_C_WRITEBACK, &on, 1);
		vht_session_begin(&s, NULL, MIB);
		ok(vh_blk_get_info(s.b, &info));
		assert_int_equal(info.write_cache, i);
		vht_session_end(&s);
	}
}

static void a_config_space_that_can_not_be_is_refused(void **state)
{
	static const struct {
		uint32_t at;
		uint8_t bytes[8];
		uint32_t n, site;
	} cases[] = {
		{0, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 8, VHI_SITE_BLK_CAPACITY},
		{0, {0, 0, 0, 0, 0, 0, 0x80, 0}, 8, VHI_SITE_BLK_CAPACITY},
		{VHI_BLK_C_BLK_SIZE, {0}, 4, VHI_SITE_BLK_BLOCK_SIZE},
		{VHI_BLK_C_BLK_SIZE, {0, 1}, 4, VHI_SITE_BLK_BLOCK_SIZE},
		{VHI_BLK_C_BLK_SIZE, {1, 2}, 4, VHI_SITE_BLK_BLOCK_SIZE},
		{VHI_BLK_C_SIZE_MAX, {0xff, 1}, 4, VHI_SITE_BLK_SIZE_MAX},
	};
	const uint8_t fine[] = {0, 2, 0, 0};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		const struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK};
		struct vht_session s;

		vht_session_disk(&s, KIND, MIB, F(BLK_SIZE) | F(SIZE_MAX), 1);
		vht_disk_config(s.disk, VHI_BLK_C_BLK_SIZE, fine, 4);
		vht_disk_config(s.disk, VHI_BLK_C_SIZE_MAX, fine, 4);
		vht_disk_config(s.disk, cases[i].at, cases[i].bytes, cases[i].n);
		ok(vh_driver_new(&opts, s.t.backend, NULL, &s.d));
		assert_int_equal(vh_blk_new(s.d, &s.b), -EPROTO);
		vht_assert_error(-EPROTO, cases[i].site);
		assert_null(s.b);
		vht_session_end(&s);
	}
}

static void every_operation_works_in_one_batch(void **state)
{
	struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_BLK};
	struct vh_blk_done done[8];
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, &o, MIB);
	const struct vh_blk_io ios[] = {
		{.op = VH_BLK_WRITE, .offset = 0, .addr = ADDR(&s, 0), .len = 8192, .user = 1},
		{.op = VH_BLK_READ, .offset = 65536, .addr = ADDR(&s, 16384), .len = 512, .user = 2},
		{.op = VH_BLK_FLUSH, .user = 3},
		{.op = VH_BLK_GET_ID, .addr = ADDR(&s, 20480), .len = VH_BLK_ID_SIZE, .user = 4},
		{.op = VH_BLK_DISCARD, .offset = 131072, .len = 4096, .user = 5},
		{.op = VH_BLK_WRITE_ZEROES, .offset = 262144, .len = 1024, .user = 6},
		{.op = VH_BLK_WRITE_ZEROES, .offset = 262144 + 1024, .len = 512, .flags = VH_BLK_UNMAP, .user = 7},
	};

	vht_session_write(&s, 0, 262144, 2048, 1);
	memset(s.buf, 0x5a, 16384);
	memset(s.buf + 16384, 0xff, 8192);
	assert_int_equal(vh_blk_submit(s.b, 0, ios, 7), 7);
	vht_session_reap(&s, 0, done, 7);
	for (uint32_t i = 0, seen = 0; i < 7; i++) {
		assert_int_equal(done[i].rc, 0);
		assert_in_range(done[i].user, 1, 7);
		assert_false(seen & 1u << done[i].user);
		seen |= 1u << done[i].user;
	}
	assert_int_equal(s.buf[16384], 0);
	assert_memory_equal(s.buf + 20480, "libvh-ram-0001\0\0\0\0\0\0", VH_BLK_ID_SIZE);
	assert_int_equal(s.buf[20480 + VH_BLK_ID_SIZE], 0xff);
	ok(vht_session_io(&s, 0,
			  (struct vh_blk_io){.op = VH_BLK_READ, .offset = 262144, .addr = ADDR(&s, 0), .len = 2048}));
	for (int i = 0; i < 1536; i++)
		assert_int_equal(s.buf[i], 0);
	ok(vht_session_io(&s, 0, (struct vh_blk_io){.op = VH_BLK_READ, .offset = 0, .addr = ADDR(&s, 0), .len = 8192}));
	assert_int_equal(s.buf[8191], 0x5a);
	vht_session_end(&s);
}

/* What is wrong in itself never reaches the device. */
static void requests_that_are_wrong_are_refused(void **state)
{
	struct vht_session s;
	uint64_t foreign[64] = {0};
	struct vh_blk_done one;
	const uint64_t end = MIB;

	vht_session_ram(&s, KIND, end, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	const uint64_t a = ADDR(&s, 0), out = (uint64_t)(uintptr_t)foreign;
	const struct {
		struct vh_blk_io io;
		int rc;
	} cases[] = {
		{{.op = VH_BLK_READ, .offset = end, .addr = a, .len = 512}, -ERANGE},
		{{.op = VH_BLK_READ, .offset = end - 512, .addr = a, .len = 1024}, -ERANGE},
		{{.op = VH_BLK_WRITE, .offset = UINT64_MAX - 511, .addr = a, .len = 1024}, -ERANGE},
		{{.op = VH_BLK_DISCARD, .offset = end, .len = 512}, -ERANGE},
		{{.op = VH_BLK_READ, .offset = 1, .addr = a, .len = 512}, -EINVAL},
		{{.op = VH_BLK_READ, .offset = 0, .addr = a, .len = 511}, -EINVAL},
		{{.op = VH_BLK_READ, .offset = 0, .addr = a, .len = 0}, -EINVAL},
		{{.op = VH_BLK_READ, .offset = 0, .addr = 0, .len = 512}, -EINVAL},
		{{.op = VH_BLK_READ, .offset = 0, .addr = a, .len = 512, .reserved = 1}, -EINVAL},
		{{.op = VH_BLK_READ, .offset = 0, .addr = a, .len = 512, .flags = VH_BLK_UNMAP}, -EINVAL},
		{{.op = VH_BLK_WRITE_ZEROES, .offset = 0, .len = 512, .flags = 2}, -EINVAL},
		{{.op = VH_BLK_DISCARD, .offset = 0, .len = 512, .flags = VH_BLK_UNMAP}, -EINVAL},
		{{.op = VH_BLK_DISCARD, .offset = 0, .len = 512, .addr = a}, -EINVAL},
		{{.op = VH_BLK_FLUSH, .len = 512}, -EINVAL},
		{{.op = VH_BLK_FLUSH, .offset = 512}, -EINVAL},
		{{.op = VH_BLK_FLUSH, .addr = a}, -EINVAL},
		{{.op = VH_BLK_GET_ID, .addr = a, .len = 512}, -EINVAL},
		{{.op = VH_BLK_GET_ID, .addr = a, .len = VH_BLK_ID_SIZE, .offset = 512}, -EINVAL},
		{{.op = VH_BLK_GET_ID, .len = VH_BLK_ID_SIZE}, -EINVAL},
		{{.op = 2}, -EOPNOTSUPP},
		{{.op = 14}, -EOPNOTSUPP},
		{{.op = UINT32_MAX}, -EOPNOTSUPP},
		{{.op = VH_BLK_READ, .addr = out, .len = 512}, -EFAULT},
		{{.op = VH_BLK_WRITE, .addr = out, .len = 512}, -EFAULT},
		{{.op = VH_BLK_READ, .addr = UINT64_MAX - 100, .len = 512}, -EFAULT},
	};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		assert_int_equal(vh_blk_submit(s.b, 0, &cases[i].io, 1), cases[i].rc);
		vht_assert_error(cases[i].rc, 0);
	}
	/* Behind a good one it only ends the batch: the call succeeds, and the last error stays as it was. */
	const struct vh_blk_io two[] = {{.op = VH_BLK_READ, .addr = a, .len = 512}, {.op = UINT32_MAX}};
	vht_assert_error(-EFAULT, 0);
	assert_int_equal(vh_blk_submit(s.b, 0, two, 2), 1);
	vht_assert_error(-EFAULT, 0);
	vht_session_reap(&s, 0, &one, 1);
	ok(one.rc);
	assert_int_equal(vh_blk_submit(s.b, 1, &cases[0].io, 1), -EINVAL);
	assert_int_equal(vh_blk_submit(s.b, 0, NULL, 0), 0); /* nothing is no mistake */
	assert_int_equal(vh_blk_reap(s.b, 0, NULL, 0), 0);
	assert_int_equal(vh_blk_submit(s.b, 0, NULL, 1), -EINVAL);
	assert_int_equal(vh_blk_submit(NULL, 0, &cases[0].io, 1), -EINVAL);
	assert_int_equal(vh_blk_reap(s.b, 0, NULL, 1), -EINVAL);
	assert_int_equal(vh_blk_wait(s.b, 1, 0), -EINVAL);
	assert_int_equal(vh_blk_wait(s.b, 0, -2), -EINVAL);
	vht_session_write(&s, 0, 0, 512, 1); /* every slot is still there */
	for (uint32_t i = 0; i < 512; i++)
		vht_session_verify(&s, 0, 0, 512, 1);
	vht_session_end(&s);
}

static void what_the_device_does_not_offer_is_refused(void **state)
{
	const uint8_t some[] = {8, 0, 0, 0};
	struct vht_session s;

	vht_session_disk(&s, KIND, MIB, F(DISCARD) | F(WRITE_ZEROES), 1);
	vht_disk_config(s.disk, VHI_BLK_C_MAX_DISCARD, some, 4);
	vht_session_begin(&s, NULL, MIB);
	const struct vh_blk_io flush = {.op = VH_BLK_FLUSH}, zero = {.op = VH_BLK_WRITE_ZEROES, .len = 512},
			       much = {.op = VH_BLK_DISCARD, .len = 9 * 512},
			       fits = {.op = VH_BLK_DISCARD, .len = 8 * 512};

	assert_int_equal(vh_blk_submit(s.b, 0, &flush, 1), -EOPNOTSUPP);
	assert_int_equal(vh_blk_submit(s.b, 0, &zero, 1), -EOPNOTSUPP); /* a limit of 0 sectors */
	assert_int_equal(vh_blk_submit(s.b, 0, &much, 1), -EINVAL);
	assert_int_equal(vht_session_io(&s, 0, fits), -EOPNOTSUPP); /* and then the device says so */
	vht_session_end(&s);
}

static void a_read_only_device_is_not_written(void **state)
{
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, VH_BLKDEV_READONLY, 1);
	vht_session_begin(&s, NULL, MIB);
	const struct vh_blk_io io[] = {{.op = VH_BLK_WRITE, .addr = ADDR(&s, 0), .len = 512},
				       {.op = VH_BLK_READ, .addr = ADDR(&s, 0), .len = 512}};

	assert_int_equal(vh_blk_submit(s.b, 0, io, 2), -EROFS);
	ok(vht_session_io(&s, 0, io[1]));
	vht_session_end(&s);
}

static void a_wrong_request_ends_the_batch_before_it(void **state)
{
	struct vh_blk_done done[3];
	struct vht_session s;
	uint64_t foreign[64];

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	struct vh_blk_io io[5];

	for (uint32_t i = 0; i < 5; i++)
		io[i] = (struct vh_blk_io){.op = VH_BLK_READ, .addr = ADDR(&s, 512 * i), .len = 512, .user = i};
	io[3].offset = 3;
	assert_int_equal(vh_blk_submit(s.b, 0, io, 5), 3);
	vht_session_reap(&s, 0, done, 3);
	io[1].addr = (uint64_t)(uintptr_t)foreign;
	assert_int_equal(vh_blk_submit(s.b, 0, io, 5), 1);
	assert_int_equal(vh_blk_submit(s.b, 0, io + 1, 4), -EFAULT);
	vht_session_reap(&s, 0, done, 1);
	assert_int_equal(done[0].user, 0);
	vht_session_end(&s);
}

static void the_status_byte_becomes_the_result(void **state)
{
	static const struct {
		int status, rc;
	} cases[] = {{0, 0}, {1, -EIO}, {2, -EOPNOTSUPP}, {3, -EPROTO}, {0xff, -EPROTO}, {-1, 0}};
	struct vht_session s;

	vht_session_disk(&s, KIND, MIB, F(FLUSH), 1);
	vht_session_begin(&s, NULL, MIB);
	const struct vh_blk_io io[] = {{.op = VH_BLK_READ, .addr = ADDR(&s, 0), .len = 512}, {.op = VH_BLK_FLUSH}};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		vht_disk_status(s.disk, cases[i].status);
		assert_int_equal(vht_session_io(&s, 0, io[0]), cases[i].rc);
		assert_int_equal(vht_session_io(&s, 0, io[1]), cases[i].rc);
	}
	vht_session_end(&s);
}

static void until_held(struct vht_session *s, unsigned n)
{
	for (int i = 0; i < VHT_WAIT_MS && vht_disk_held(s->disk) < n; i++)
		assert_int_equal(vh_blk_wait(s->b, 0, 1), -ETIMEDOUT);
	assert_int_equal(vht_disk_held(s->disk), n);
}

static void requests_may_end_in_any_order(void **state)
{
	struct vh_blk_io ios[64];
	struct vh_blk_done done[64];
	struct vht_session s;
	bool seen[64] = {false};

	vht_session_disk(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	for (uint32_t i = 0; i < 64; i++)
		vht_session_write(&s, 0, 4096 * i, 4096, i);
	vht_disk_hold(s.disk, true);
	for (uint32_t i = 0; i < 64; i++)
		ios[i] = (struct vh_blk_io){
			.op = VH_BLK_READ, .offset = 4096 * i, .addr = ADDR(&s, 4096 * i), .len = 4096, .user = i};
	assert_int_equal(vh_blk_submit(s.b, 0, ios, 40), 40);
	assert_int_equal(vh_blk_submit(s.b, 0, ios + 40, 24), 24);
	until_held(&s, 64);
	assert_int_equal(vh_blk_reap(s.b, 0, done, 64), 0);
	vht_disk_hold(s.disk, false);
	vht_session_reap(&s, 0, done, 64);
	for (uint32_t i = 0; i < 64; i++) {
		const uint64_t u = done[i].user;
		uint64_t first, want = (4096 * u + u) * UINT64_C(0x9e3779b97f4a7c15) ^ u;

		assert_in_range(u, 0, 63);
		assert_false(seen[u]);
		seen[u] = true;
		assert_int_equal(done[i].rc, 0);
		memcpy(&first, s.buf + 4096 * u, 8);
		assert_int_equal(first, want);
	}
	vht_session_end(&s);
}

static void a_full_ring_takes_fewer_and_goes_on(void **state)
{
	static const struct {
		uint64_t masked;
		uint32_t room;
	} cases[] = {{0, 16}, {VHI_BIT(VH_F_RING_INDIRECT_DESC), 16 / 3}};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		const struct vh_driver_opts o = {
			.size = sizeof(o), .type = VH_TYPE_BLK, .queue_size = 16, .mask_features = cases[i].masked};
		struct vh_blk_io ios[64];
		struct vh_blk_done done[64];
		struct vht_session s;
		uint32_t n = 0;

		vht_session_disk(&s, KIND, MIB, 0, 1);
		vht_session_begin(&s, &o, MIB);
		vht_disk_hold(s.disk, true);
		for (uint32_t k = 0; k < 64; k++)
			ios[k] = (struct vh_blk_io){
				.op = VH_BLK_READ, .addr = ADDR(&s, 512 * k), .len = 512, .user = k};
		assert_int_equal(vh_blk_submit(s.b, 0, ios, 64), cases[i].room);
		assert_int_equal(vh_blk_submit(s.b, 0, ios, 64), 0);
		until_held(&s, cases[i].room);
		vht_disk_hold(s.disk, false);
		vht_session_reap(&s, 0, done, cases[i].room);
		while (n < 64) {
			int rc = vh_blk_submit(s.b, 0, ios + n, 64 - n);

			assert_in_range(rc, 1, cases[i].room);
			vht_session_reap(&s, 0, done + n, (uint32_t)rc);
			n += (uint32_t)rc;
		}
		vht_session_end(&s);
	}
}

static void a_ring_too_small_for_a_request_is_refused(void **state)
{
	const struct vh_driver_opts o = {.size = sizeof(o),
					 .type = VH_TYPE_BLK,
					 .queue_size = 2,
					 .mask_features = VHI_BIT(VH_F_RING_INDIRECT_DESC)};
	struct vht_session s;

	vht_session_disk(&s, KIND, MIB, 0, 1);
	ok(vh_driver_new(&o, s.t.backend, NULL, &s.d));
	assert_int_equal(vh_blk_new(s.d, &s.b), -EINVAL);
	vht_session_end(&s);
}

static void data_is_cut_where_the_device_limits_segments(void **state)
{
	const uint8_t size_max[] = {0, 16, 0, 0}, seg_max[] = {4, 0, 0, 0}; /* 4096 bytes, 4 of them */
	struct vht_session s;

	vht_session_disk(&s, KIND, MIB, F(SIZE_MAX) | F(SEG_MAX), 1);
	vht_disk_config(s.disk, VHI_BLK_C_SIZE_MAX, size_max, 4);
	vht_disk_config(s.disk, VHI_BLK_C_SEG_MAX, seg_max, 4);
	vht_session_begin(&s, NULL, MIB);
	const struct vh_blk_io much = {.op = VH_BLK_READ, .addr = ADDR(&s, 0), .len = 4 * 4096 + 512};

	struct vh_blk_info info = {.size = sizeof(info)};

	assert_int_equal(vh_blk_get_info(s.b, &info), 0);
	assert_int_equal(info.max_bytes, 4 * 4096);
	vht_session_write(&s, 0, 512, 4 * 4096, 77);
	assert_int_equal(vht_disk_most_segs(s.disk), 4);
	vht_session_verify(&s, 0, 512, 4 * 4096, 77);
	assert_int_equal(vh_blk_submit(s.b, 0, &much, 1), -EINVAL);
	vht_session_end(&s);
}

/* As qemu-storage-daemon does. */
static void a_segment_limit_of_0_is_none(void **state)
{
	struct vht_session s;

	vht_session_disk(&s, KIND, MIB, F(SIZE_MAX), 1);
	vht_session_begin(&s, NULL, MIB);
	vht_session_write(&s, 0, 0, MIB / 2, 5);
	assert_int_equal(vht_disk_most_segs(s.disk), 1);
	vht_session_verify(&s, 0, 0, MIB / 2, 5);
	vht_session_end(&s);
}

static uint64_t now_ms(void)
{
	return vhi_now_ns() / 1000000;
}

static void wait_ends_when_its_time_is_over(void **state)
{
	struct vh_blk_done done;
	struct vht_session s;
	uint64_t began;

	vht_session_disk(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	const struct vh_blk_io io = {.op = VH_BLK_READ, .addr = ADDR(&s, 0), .len = 512};

	assert_int_equal(vh_blk_wait(s.b, 0, 0), -ETIMEDOUT);
	vht_disk_hold(s.disk, true);
	assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	began = now_ms();
	assert_int_equal(vh_blk_wait(s.b, 0, 60), -ETIMEDOUT);
	assert_in_range(now_ms() - began, 59, 2000);
	vht_disk_hold(s.disk, false);
	ok(vh_blk_wait(s.b, 0, VHT_WAIT_MS));
	ok(vh_blk_wait(s.b, 0, 0)); /* it is still there */
	assert_int_equal(vh_blk_reap(s.b, 0, &done, 1), 1);
	vht_session_end(&s);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void a_signal_ends_a_wait(void **state)
{
	const struct sigaction sa = {.sa_handler = on_alarm};
	const struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
	struct vh_blk_done done;
	struct vht_session s;
	sigset_t set;
	int rc;

	/* Blocked in the device's thread, which is made with our mask. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	ok(pthread_sigmask(SIG_BLOCK, &set, NULL));
	vht_session_disk(&s, KIND, MIB, 0, 1);
	ok(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
	ok(sigaction(SIGALRM, &sa, NULL));
	vht_session_begin(&s, NULL, MIB);
	vht_disk_hold(s.disk, true);
	const struct vh_blk_io io = {.op = VH_BLK_READ, .addr = ADDR(&s, 0), .len = 512};

	assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	ok(setitimer(ITIMER_REAL, &often, NULL));
	rc = vh_blk_wait(s.b, 0, -1);
	ok(setitimer(ITIMER_REAL, &never, NULL));
	assert_int_equal(rc, -EINTR);
	vht_disk_hold(s.disk, false);
	ok(vh_blk_wait(s.b, 0, VHT_WAIT_MS));
	assert_int_equal(vh_blk_reap(s.b, 0, &done, 1), 1);
	vht_session_end(&s);
}

struct waiter {
	struct vht_session *s;
	int rc;
};

static void *wait_for_ever(void *arg)
{
	struct waiter *w = arg;

	w->rc = vh_blk_wait(w->s->b, 1, -1);
	return NULL;
}

/* Also a thread that sleeps on another queue is told. */
static void a_connection_that_dies_ends_every_wait(void **state)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_BLK, .n_queues = 2};
	struct vh_blk_done done[4];
	struct vht_session s;
	struct waiter other = {.s = &s};
	pthread_t thread;

	vht_session_disk(&s, KIND, MIB, 0, 2);
	vht_session_begin(&s, &o, MIB);
	vht_disk_hold(s.disk, true);
	const struct vh_blk_io io = {.op = VH_BLK_READ, .addr = ADDR(&s, 0), .len = 512};

	assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	assert_int_equal(vh_blk_submit(s.b, 1, &io, 1), 1);
	if (!s.t.fake)
		until_held(&s, 2);
	ok(pthread_create(&thread, NULL, wait_for_ever, &other));
	vht_target_kill(&s.t);
	assert_int_equal(vh_blk_wait(s.b, 0, -1), -ECONNRESET);
	vht_assert_error(-ECONNRESET, 0);
	ok(pthread_join(thread, NULL));
	assert_int_equal(other.rc, -ECONNRESET);
	assert_int_equal(vh_blk_wait(s.b, 0, -1), -ECONNRESET);
	assert_int_equal(vh_blk_reap(s.b, 0, done, 4), 0);
	assert_int_equal(vh_driver_stop(s.d, 0, 0), -ECONNRESET);
	vht_session_end(&s);
}

static void what_arrived_before_the_connection_died_is_reaped(void **state)
{
	struct vh_blk_done done;
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	const struct vh_blk_io io = {.op = VH_BLK_READ, .addr = ADDR(&s, 0), .len = 512};

	assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	ok(vh_blk_wait(s.b, 0, VHT_WAIT_MS));
	vht_target_kill(&s.t);
	ok(vh_blk_wait(s.b, 0, -1));
	assert_int_equal(vh_blk_reap(s.b, 0, &done, 1), 1);
	ok(done.rc);
	vht_session_end(&s);
}

static void a_session_has_one_block_driver(void **state)
{
	struct vh_blk_done done;
	struct vht_session s;
	struct vh_queue *q;
	struct vh_cpl cpl;
	struct vh_blk *b = NULL;

	vht_session_disk(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	const struct vh_blk_io io = {.op = VH_BLK_READ, .addr = ADDR(&s, 0), .len = 512};

	assert_int_equal(vh_blk_new(s.d, &b), -EBUSY);
	assert_int_equal(vh_blk_new(NULL, &b), -EINVAL);
	assert_int_equal(vh_blk_new(s.d, NULL), -EINVAL);
	assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	ok(vh_blk_wait(s.b, 0, VHT_WAIT_MS));
	vh_blk_free(s.b);
	s.b = NULL;
	assert_int_equal(vh_blk_new(s.d, &b), -EBUSY); /* the request would come back to the wrong one */
	ok(vh_driver_queue(s.d, 0, &q));
	assert_int_equal(vh_queue_reap(q, &cpl, 1), 1);
	ok(vh_blk_new(s.d, &s.b));
	assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), 1);
	vht_session_reap(&s, 0, &done, 1);
	ok(done.rc);
	vh_blk_free(NULL);
	vht_session_end(&s);
}

static void a_second_thread_in_a_queue_is_turned_away(void **state)
{
	struct vh_blk_done done;
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	const struct vh_blk_io io = {.op = VH_BLK_READ, .addr = ADDR(&s, 0), .len = 512};

	s.b->queues[0].busy = 1; /* as if there were one inside */
	assert_int_equal(vh_blk_submit(s.b, 0, &io, 1), -EBUSY);
	assert_int_equal(vh_blk_reap(s.b, 0, &done, 1), -EBUSY);
	assert_int_equal(vh_blk_wait(s.b, 0, 0), -EBUSY);
	s.b->queues[0].busy = 0;
	ok(vht_session_io(&s, 0, io));
	vht_session_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VHT_OVER(info_says_what_config_space_says),
		VHT_OVER(info_without_features_has_defaults),
		VHT_OVER(a_cache_that_is_switched_off_needs_no_flush),
		VHT_OVER(a_config_space_that_can_not_be_is_refused),
		VHT_OVER(every_operation_works_in_one_batch),
		VHT_OVER(requests_that_are_wrong_are_refused),
		VHT_OVER(what_the_device_does_not_offer_is_refused),
		VHT_OVER(a_read_only_device_is_not_written),
		VHT_OVER(a_wrong_request_ends_the_batch_before_it),
		VHT_OVER(the_status_byte_becomes_the_result),
		VHT_OVER(requests_may_end_in_any_order),
		VHT_OVER(a_full_ring_takes_fewer_and_goes_on),
		VHT_OVER(a_ring_too_small_for_a_request_is_refused),
		VHT_OVER(data_is_cut_where_the_device_limits_segments),
		VHT_OVER(a_segment_limit_of_0_is_none),
		VHT_OVER(wait_ends_when_its_time_is_over),
		VHT_OVER(a_signal_ends_a_wait),
		VHT_OVER(a_connection_that_dies_ends_every_wait),
		VHT_OVER(what_arrived_before_the_connection_died_is_reaped),
		VHT_OVER(a_session_has_one_block_driver),
		VHT_OVER(a_second_thread_in_a_queue_is_turned_away),
	};

	return vht_run(tests);
}
