/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Block devices of each kind, request by request, good and bad. */
#include "vht_blk.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CAPACITY (UINT64_C(8) << 20)
#define SECTORS	 (CAPACITY / 512)
#define FLUSH	 VHI_BIT(VH_BLK_F_FLUSH)

struct kind {
	uint32_t kind, flags;
};
static struct kind null_kind = {VH_BLKDEV_NULL, 0}, ram_kind = {VH_BLKDEV_RAM, 0};
static struct kind uring_kind = {VH_BLKDEV_FILE, 0}, plain_kind = {VH_BLKDEV_FILE, VH_BLKDEV_NO_URING};

static int file_new(uint64_t size)
{
	int fd = memfd_create("blk", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* The device's file at *fd, -1 for the kinds that have none. */
static void open_kind(struct vht_blk *f, const struct kind *k, uint32_t flags, uint64_t features, int *fd)
{
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = k->kind, .capacity = CAPACITY};

	o.flags = k->flags | flags;
	memcpy(o.serial, "0123456789abcdefghij", sizeof(o.serial));
	*fd = k->kind == VH_BLKDEV_FILE ? file_new(CAPACITY) : -1;
	vht_blk_open(f, &o, *fd, 256, features);
	if (k == &uring_kind)
		assert_true(f->dev->ops.poll_fd(f->dev->ctx) >= 0);
	else
		assert_int_equal(f->dev->ops.poll_fd(f->dev->ctx), -1);
}

static void end(struct vht_blk *f, int fd)
{
	vht_blk_close(f);
	if (fd >= 0)
		close(fd);
}

static void each_type_of_request_is_answered(void **state)
{
	struct vht_blk f;
	struct vht_blk_req r;
	uint32_t written;
	uint8_t *data;
	int fd;

	open_kind(&f, *state, 0, FLUSH, &fd);
	data = vht_blk_alloc(&f, 4096);

	vht_blk_begin(&f, &r, VH_BLK_WRITE, 8);
	vht_blk_rd(&r, data, 4096);
	vht_blk_wr(&r, r.status, 1);
	assert_int_equal(vht_blk_do(&f, 0, &r, &written), VHI_BLK_S_OK);
	assert_int_equal(written, 1);

	vht_blk_begin(&f, &r, VH_BLK_READ, 8);
	vht_blk_wr(&r, data, 4096);
	vht_blk_wr(&r, r.status, 1);
	assert_int_equal(vht_blk_do(&f, 0, &r, &written), VHI_BLK_S_OK);
	assert_int_equal(written, 4097);

	assert_int_equal(vht_blk_rw(&f, VH_BLK_FLUSH, 0, NULL, 0), VHI_BLK_S_OK);
	assert_int_equal(vht_blk_range(&f, VH_BLK_DISCARD, 0, 8, 0), VHI_BLK_S_OK);
	assert_int_equal(vht_blk_range(&f, VH_BLK_WRITE_ZEROES, 0, 8, 0), VHI_BLK_S_OK);
	assert_int_equal(vht_blk_range(&f, VH_BLK_WRITE_ZEROES, 0, 8, VH_BLK_UNMAP), VHI_BLK_S_OK);
	assert_int_equal(vht_blk_rw(&f, VH_BLK_GET_ID, 0, data, 20), VHI_BLK_S_OK);
	assert_memory_equal(data, "0123456789abcdefghij", 20);
	end(&f, fd);
}

static void data_arrives_however_it_is_split(void **state)
{
	struct vht_blk f;
	struct vht_blk_req r;
	uint8_t *data, *back;
	int fd;

	open_kind(&f, *state, 0, FLUSH, &fd);
	data = vht_blk_alloc(&f, 1 << 20);
	back = vht_blk_alloc(&f, 1 << 20);
	for (uint32_t i = 0; i < 1 << 20; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);

	/* 200 pieces are more than one operation takes; the header shares its buffer with data. */
	for (uint32_t piece = 1; piece < 4096; piece = piece * 3 + 1) {
		uint64_t len = 512 * 9, at = 0;

		memset(back, 0xaa, len);
		vht_blk_begin(&f, &r, VH_BLK_WRITE, 3);
		while (at < len && r.n_rd < 199) {
			uint64_t n = VHI_MIN((uint64_t)piece, len - at);

			vht_blk_rd(&r, data + at, n);
			at += n;
		}
		if (at < len)
			vht_blk_rd(&r, data + at, len - at);
		vht_blk_wr(&r, r.status, 1);
		assert_int_equal(vht_blk_do(&f, 0, &r, NULL), VHI_BLK_S_OK);

		vht_blk_begin(&f, &r, VH_BLK_READ, 3);
		for (at = 0; at < len && r.n_wr < 199; at += piece)
			vht_blk_wr(&r, back + at, VHI_MIN((uint64_t)piece, len - at));
		if (at < len)
			vht_blk_wr(&r, back + at, len - at);
		vht_blk_wr(&r, r.status, 1);
		assert_int_equal(vht_blk_do(&f, 0, &r, NULL), VHI_BLK_S_OK);
		assert_memory_equal(back, data, len);
	}
	end(&f, fd);
}

static void header_data_and_status_can_share_buffers(void **state)
{
	struct vht_blk f;
	struct vht_blk_req r;
	uint8_t *both;
	uint32_t written;
	int fd;

	open_kind(&f, *state, 0, FLUSH, &fd);
	both = vht_blk_alloc(&f, 16 + 512);
	vht_blk_begin(&f, &r, VH_BLK_WRITE, 77);
	memcpy(both, r.hdr, 16);
	memset(both + 16, 0x5b, 512);
	r.n_rd = 0;
	vht_blk_rd(&r, both, 16 + 512);
	vht_blk_wr(&r, r.status, 1);
	assert_int_equal(vht_blk_do(&f, 0, &r, NULL), VHI_BLK_S_OK);

	vht_blk_begin(&f, &r, VH_BLK_READ, 77);
	memset(both, 0, 16 + 512);
	r.status = both + 512;
	*r.status = 0xee;
	vht_blk_wr(&r, both, 513);
	assert_int_equal(vht_blk_do(&f, 0, &r, &written), VHI_BLK_S_OK);
	assert_int_equal(written, 513);
	for (int i = 0; i < 512; i++)
		assert_int_equal(both[i], 0x5b);
	end(&f, fd);
}

static void a_header_of_sixteen_one_byte_buffers_is_one_header(void **state)
{
	struct vht_blk f;
	struct vht_blk_req r;
	uint8_t *data;
	int fd;

	open_kind(&f, *state, 0, FLUSH, &fd);
	data = vht_blk_alloc(&f, 20);
	vht_blk_begin(&f, &r, VH_BLK_GET_ID, 0);
	r.n_rd = 0;
	for (int i = 0; i < 16; i++) {
		uint8_t *one = vht_blk_alloc(&f, 1);

		*one = ((uint8_t *)r.hdr)[i];
		vht_blk_rd(&r, one, 1);
	}
	vht_blk_wr(&r, data, 20);
	vht_blk_wr(&r, r.status, 1);
	assert_int_equal(vht_blk_do(&f, 0, &r, NULL), VHI_BLK_S_OK);
	assert_memory_equal(data, "0123456789abcdefghij", 20);
	end(&f, fd);
}

static void get_id_fills_what_room_there_is(void **state)
{
	struct vht_blk f;
	uint8_t *data;
	int fd;

	open_kind(&f, *state, 0, FLUSH, &fd);
	data = vht_blk_alloc(&f, 600);
	for (uint32_t n = 0; n <= 600; n += n < 24 ? 1 : 192) {
		memset(data, 0xcc, 600);
		assert_int_equal(vht_blk_rw(&f, VH_BLK_GET_ID, 0, data, n), VHI_BLK_S_OK);
		assert_memory_equal(data, "0123456789abcdefghij", VHI_MIN(n, 20u));
		for (uint32_t i = VHI_MIN(n, 20u); i < 600; i++)
			assert_int_equal(data[i], 0xcc);
	}
	end(&f, fd);
}

/* Cases 253 and 254 of a hostile driver: each request fails for itself and the ring goes on. */
static void a_bad_request_fails_and_the_next_one_works(void **state)
{
	static const struct {
		const char *what;
		uint32_t type;
		uint64_t sector, len;
		uint8_t status;
	} bad[] = {
		{"one sector past the end", VH_BLK_READ, SECTORS, 512, VHI_BLK_S_IOERR},
		{"half past the end", VH_BLK_READ, SECTORS - 1, 1024, VHI_BLK_S_IOERR},
		{"bytes wrap", VH_BLK_READ, UINT64_MAX / 512, 1024, VHI_BLK_S_IOERR},
		{"sector wraps", VH_BLK_READ, UINT64_MAX, 512, VHI_BLK_S_IOERR},
		{"wraps to the start", VH_BLK_READ, UINT64_C(1) << 55, 512, VHI_BLK_S_IOERR},
		{"write past the end", VH_BLK_WRITE, SECTORS, 512, VHI_BLK_S_IOERR},
		{"write half past the end", VH_BLK_WRITE, SECTORS - 1, 1024, VHI_BLK_S_IOERR},
		{"write wraps", VH_BLK_WRITE, UINT64_MAX, 512, VHI_BLK_S_IOERR},
		{"read of nothing", VH_BLK_READ, 0, 0, VHI_BLK_S_IOERR},
		{"write of nothing", VH_BLK_WRITE, 0, 0, VHI_BLK_S_IOERR},
		{"read of 511", VH_BLK_READ, 0, 511, VHI_BLK_S_IOERR},
		{"read of 513", VH_BLK_READ, 0, 513, VHI_BLK_S_IOERR},
		{"write of 511", VH_BLK_WRITE, 0, 511, VHI_BLK_S_IOERR},
		{"write of 1", VH_BLK_WRITE, 0, 1, VHI_BLK_S_IOERR},
		{"type 2", 2, 0, 512, VHI_BLK_S_UNSUPP},
		{"type 5", 5, 0, 512, VHI_BLK_S_UNSUPP},
		{"secure erase", 14, 0, 512, VHI_BLK_S_UNSUPP},
		{"type of all ones", UINT32_MAX, 0, 512, VHI_BLK_S_UNSUPP},
		{"the old barrier bit", 0x80000000u, 0, 512, VHI_BLK_S_UNSUPP},
	};
	struct vht_blk f;
	uint8_t *data;
	int fd;

	open_kind(&f, *state, 0, FLUSH, &fd);
	data = vht_blk_alloc(&f, 4096);
	memset(data, 0xaa, 4096);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++) {
		uint8_t got = vht_blk_rw(&f, bad[i].type, bad[i].sector, data, bad[i].len);

		if (got != bad[i].status)
			fail_msg("%s: status %u", bad[i].what, got);
		for (int j = 0; j < 4096; j++)
			assert_int_equal(data[j], 0xaa);
		assert_int_equal(vht_blk_rw(&f, VH_BLK_WRITE, SECTORS - 8, data, 4096), VHI_BLK_S_OK);
	}
	end(&f, fd);
}

static void a_bad_range_fails_and_the_next_one_works(void **state)
{
	static const struct {
		const char *what;
		uint64_t sector;
		uint32_t n, flags;
		uint8_t zeroes, discard;
	} bad[] = {
		{"no sectors", 0, 0, 0, VHI_BLK_S_IOERR, VHI_BLK_S_IOERR},
		{"past the end", SECTORS, 1, 0, VHI_BLK_S_IOERR, VHI_BLK_S_IOERR},
		{"half past the end", SECTORS - 1, 2, 0, VHI_BLK_S_IOERR, VHI_BLK_S_IOERR},
		{"wraps", UINT64_MAX, 2, 0, VHI_BLK_S_IOERR, VHI_BLK_S_IOERR},
		{"wraps in bytes", UINT64_C(1) << 55, 8, 0, VHI_BLK_S_IOERR, VHI_BLK_S_IOERR},
		{"more than advertised", 0, UINT32_MAX, 0, VHI_BLK_S_IOERR, VHI_BLK_S_IOERR},
		{"reserved flag", 0, 8, 2, VHI_BLK_S_UNSUPP, VHI_BLK_S_UNSUPP},
		{"all flags", 0, 8, UINT32_MAX, VHI_BLK_S_UNSUPP, VHI_BLK_S_UNSUPP},
		{"unmap", 0, 8, 1, VHI_BLK_S_OK, VHI_BLK_S_UNSUPP},
	};
	struct vht_blk f;
	int fd;

	open_kind(&f, *state, 0, FLUSH, &fd);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++) {
		uint8_t z = vht_blk_range(&f, VH_BLK_WRITE_ZEROES, bad[i].sector, bad[i].n, bad[i].flags);
		uint8_t d = vht_blk_range(&f, VH_BLK_DISCARD, bad[i].sector, bad[i].n, bad[i].flags);

		if (z != bad[i].zeroes || d != bad[i].discard)
			fail_msg("%s: status %u and %u", bad[i].what, z, d);
		assert_int_equal(vht_blk_range(&f, VH_BLK_DISCARD, SECTORS - 1, 1, 0), VHI_BLK_S_OK);
	}
	end(&f, fd);
}

static void only_as_many_ranges_as_advertised_are_taken(void **state)
{
	struct vht_blk f;
	struct vht_blk_req r;
	struct vhi_blk_range *ranges;
	int fd;

	open_kind(&f, *state, 0, FLUSH, &fd);
	ranges = vht_blk_alloc(&f, 64 * sizeof(*ranges));
	for (int i = 0; i < 64; i++)
		ranges[i] = (struct vhi_blk_range){htole64(i), htole32(1), 0};
	for (uint32_t len = 0; len <= 64 * 16; len += len < 40 ? 1 : 8) {
		uint64_t mark = f.used;

		vht_blk_begin(&f, &r, VH_BLK_DISCARD, 0);
		if (len)
			vht_blk_rd(&r, ranges, len);
		vht_blk_wr(&r, r.status, 1);
		assert_int_equal(vht_blk_do(&f, 0, &r, NULL), len == 16 ? VHI_BLK_S_OK : VHI_BLK_S_IOERR);
		f.used = mark;
	}
	end(&f, fd);
}

static void a_short_header_is_an_error(void **state)
{
	struct vht_blk f;
	struct vht_blk_req r;
	uint32_t written;
	int fd;

	open_kind(&f, *state, 0, FLUSH, &fd);
	for (uint64_t len = 0; len < 16; len++) {
		uint8_t *data = vht_blk_alloc(&f, 512);

		vht_blk_begin(&f, &r, VH_BLK_READ, 0);
		r.n_rd = 0;
		if (len)
			vht_blk_rd(&r, r.hdr, len);
		vht_blk_wr(&r, data, 512);
		vht_blk_wr(&r, r.status, 1);
		assert_int_equal(vht_blk_do(&f, 0, &r, &written), VHI_BLK_S_IOERR);
		assert_int_equal(written, 513);
	}
	end(&f, fd);
}

/* Case 140. */
static void a_request_without_room_for_a_status_completes_with_nothing_written(void **state)
{
	struct vht_blk f;
	struct vht_blk_req r;
	uint32_t written;
	uint8_t *data;
	int fd;

	open_kind(&f, *state, 0, FLUSH, &fd);
	data = vht_blk_alloc(&f, 512);
	memset(data, 0x77, 512);
	vht_blk_begin(&f, &r, VH_BLK_WRITE, 5);
	vht_blk_rd(&r, data, 512);
	assert_int_equal(vht_blk_do(&f, 0, &r, &written), 0xee);
	assert_int_equal(written, 0);
	/* The status where it can't be written. */
	vht_blk_begin(&f, &r, VH_BLK_WRITE, 6);
	vht_blk_rd(&r, data, 511);
	vht_blk_rd(&r, r.status, 1);
	assert_int_equal(vht_blk_do(&f, 0, &r, &written), 0xee);
	assert_int_equal(written, 0);
	vht_blk_begin(&f, &r, VH_BLK_GET_ID, 0);
	assert_int_equal(vht_blk_do(&f, 0, &r, &written), 0xee);
	assert_int_equal(written, 0);
	if (((struct kind *)*state)->kind != VH_BLKDEV_NULL)
		for (uint32_t sector = 5; sector < 7; sector++) {
			assert_int_equal(vht_blk_rw(&f, VH_BLK_READ, sector, data, 512), VHI_BLK_S_OK);
			assert_int_equal(data[0], 0);
		}
	end(&f, fd);
}

static void a_read_only_device_is_not_written(void **state)
{
	struct vht_blk f;
	uint8_t *data;
	int fd;

	open_kind(&f, *state, VH_BLKDEV_READONLY, FLUSH, &fd);
	data = vht_blk_alloc(&f, 512);
	memset(data, 1, 512);
	assert_true(f.dev->opts.features & VHI_BIT(VH_BLK_F_RO));
	assert_false(f.dev->opts.features & (VHI_BIT(VH_BLK_F_DISCARD) | VHI_BIT(VH_BLK_F_WRITE_ZEROES)));
	assert_int_equal(vht_blk_rw(&f, VH_BLK_WRITE, 0, data, 512), VHI_BLK_S_IOERR);
	assert_int_equal(vht_blk_range(&f, VH_BLK_DISCARD, 0, 1, 0), VHI_BLK_S_IOERR);
	assert_int_equal(vht_blk_range(&f, VH_BLK_WRITE_ZEROES, 0, 1, 0), VHI_BLK_S_IOERR);
	assert_int_equal(vht_blk_rw(&f, VH_BLK_READ, 0, data, 512), VHI_BLK_S_OK);
	assert_int_equal(vht_blk_rw(&f, VH_BLK_FLUSH, 0, NULL, 0), VHI_BLK_S_OK);
	end(&f, fd);
}

static void a_batch_ends_at_its_budget(void **state)
{
	struct vht_blk f;
	struct vht_blk_req r[100];
	uint8_t *data;
	int fd;

	open_kind(&f, *state, 0, FLUSH, &fd);
	data = vht_blk_alloc(&f, 512);

	for (uint32_t i = 0; i < 100; i++) {
		vht_blk_begin(&f, &r[i], VH_BLK_READ, i);
		vht_blk_wr(&r[i], data, 512);
		vht_blk_wr(&r[i], r[i].status, 1);
	}
	for (uint32_t i = 0; i < 80; i++)
		vht_blk_submit(&f, 0, &r[i], i);
	assert_true(vht_blk_batch(&f, 0, 40) > 0);
	assert_true(vht_blk_batch(&f, 0, 33) > 0);
	assert_int_equal(vht_blk_batch(&f, 0, 40), 0);
	for (uint32_t i = 0; i < 80; i++)
		vht_blk_wait(&f, 0);
	for (uint32_t i = 0; i < 80; i++)
		assert_int_equal(*r[i].status, VHI_BLK_S_OK);
	end(&f, fd);
}

/* All buffers are the same memory, which a driver is free to do. */
static uint8_t read_much(struct vht_blk *f, uint64_t len, void *data, uint64_t piece)
{
	struct vht_blk_req r;

	vht_blk_begin(f, &r, VH_BLK_READ, 0);
	for (; len; len -= VHI_MIN(piece, len))
		vht_blk_wr(&r, data, VHI_MIN(piece, len));
	vht_blk_wr(&r, r.status, 1);
	return vht_blk_do(f, 0, &r, NULL);
}

static void the_work_of_a_wakeup_is_bounded_in_bytes(void **state)
{
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_NULL, .capacity = UINT64_C(1) << 40};
	static struct vht_blk_req r[40];
	struct vht_blk f;
	struct vh_cpl cpl[40];
	uint8_t *data;
	int n;

	(void)state;
	vht_blk_open(&f, &o, -1, 256, FLUSH);
	data = vht_blk_alloc(&f, 16 << 20);
	assert_int_equal(read_much(&f, UINT64_C(1) << 30, data, 16 << 20), VHI_BLK_S_OK);
	assert_int_equal(read_much(&f, (UINT64_C(1) << 30) + 512, data, 16 << 20), VHI_BLK_S_IOERR);
	for (uint32_t i = 0; i < 40; i++) {
		vht_blk_begin(&f, &r[i], VH_BLK_READ, 0);
		vht_blk_wr(&r[i], data, 16 << 20);
		vht_blk_wr(&r[i], r[i].status, 1);
		vht_blk_submit(&f, 0, &r[i], i);
	}
	for (uint32_t done = 0; done < 40; done += 4) {
		assert_int_equal(vht_blk_batch(&f, 0, 256), done < 36);
		n = vh_queue_reap(f.driver[0], cpl, 40);
		assert_int_equal(n, 4);
		assert_int_equal(cpl[0].token, done);
	}
	vht_blk_close(&f);
}

static uint64_t le(const uint8_t *p, uint32_t n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

static void config_space_says_what_the_device_is(void **state)
{
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_NULL, .capacity = 12345 * 512};
	struct vh_device *dev;
	uint8_t c[257], all[256];

	(void)state;
	o.max_queues = 3;
	o.max_queue_size = 64;
	o.block_size = 4096;
	assert_int_equal(vh_blkdev_new(&o, -1, &dev), 0);
	assert_true(dev->opts.features & VHI_BIT(VH_BLK_F_MQ));
	assert_int_equal(dev->opts.max_queues, 3);
	assert_int_equal(dev->opts.max_queue_size, 64);
	memset(c, 0xff, sizeof(c));
	assert_int_equal(dev->ops.get_config(dev->ctx, 0, c, 256, 0), 0);
	assert_int_equal(c[256], 0xff);
	assert_int_equal(le(c + VHI_BLK_C_CAPACITY, 8), 12345);
	assert_int_equal(le(c + VHI_BLK_C_SEG_MAX, 4), 62);
	assert_int_equal(le(c + VHI_BLK_C_BLK_SIZE, 4), 4096);
	assert_int_equal(le(c + VHI_BLK_C_NUM_QUEUES, 2), 3);
	assert_int_equal(le(c + VHI_BLK_C_MAX_DISCARD_SEG, 4), 1);
	assert_int_equal(le(c + VHI_BLK_C_MAX_ZEROES_SEG, 4), 1);
	assert_int_equal(le(c + VHI_BLK_C_DISCARD_ALIGN, 4), 8);
	assert_true(le(c + VHI_BLK_C_MAX_DISCARD, 4) > 0 && le(c + VHI_BLK_C_MAX_ZEROES, 4) > 0);
	for (int i = VHI_BLK_C_END; i < 256; i++)
		assert_int_equal(c[i], 0);
	for (uint32_t at = 0; at <= 256; at++)
		for (uint32_t n = 0; n <= 256 - at; n += 7) {
			assert_int_equal(dev->ops.get_config(dev->ctx, at, all, n, 0), 0);
			assert_memory_equal(all, c + at, n);
		}
	vh_device_free(dev);
}

static void config_space_ends_at_256_and_can_not_be_changed(void **state)
{
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_NULL, .capacity = 512};
	struct vh_device *dev;
	uint8_t *c = calloc(1, 1024), zero[8] = {0};

	(void)state;
	assert_int_equal(vh_blkdev_new(&o, -1, &dev), 0);
	assert_false(dev->opts.features & (VHI_BIT(VH_BLK_F_MQ) | VHI_BIT(VH_BLK_F_CONFIG_WCE)));
	assert_int_equal(dev->ops.get_config(dev->ctx, 256, c, 1, 0), -EINVAL);
	assert_int_equal(dev->ops.get_config(dev->ctx, 255, c, 2, 0), -EINVAL);
	assert_int_equal(dev->ops.get_config(dev->ctx, 0, c, 257, 0), -EINVAL);
	assert_int_equal(dev->ops.get_config(dev->ctx, UINT32_MAX, c, 2, 0), -EINVAL);
	assert_int_equal(dev->ops.get_config(dev->ctx, 257, c, 0, 0), -EINVAL);
	assert_int_equal(dev->ops.get_config(dev->ctx, 256, c, 0, 0), 0);
	assert_int_equal(dev->ops.set_config(dev->ctx, 250, c, 8, 0, 0), -EINVAL);
	/* What it holds may be written back. */
	assert_int_equal(dev->ops.get_config(dev->ctx, 0, c, 256, 0), 0);
	assert_int_equal(dev->ops.set_config(dev->ctx, 0, c, 256, VH_CONFIG_MIGRATION, 0), 0);
	assert_int_equal(dev->ops.set_config(dev->ctx, 0, zero, 8, VH_CONFIG_WRITE, 0), -EPERM);
	vh_device_free(dev);
	free(c);
}

#define EACH(t, kind_name)                                               \
	{                                                                \
#t " [" #kind_name "]", t, NULL, NULL, &kind_name##_kind \
	}
#define ALL(t)	   EACH(t, null), EACH(t, ram), EACH(t, uring), EACH(t, plain)
#define KEEPING(t) EACH(t, ram), EACH(t, uring), EACH(t, plain)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL(each_type_of_request_is_answered),
		KEEPING(data_arrives_however_it_is_split),
		KEEPING(header_data_and_status_can_share_buffers),
		ALL(a_header_of_sixteen_one_byte_buffers_is_one_header),
		ALL(get_id_fills_what_room_there_is),
		ALL(a_bad_request_fails_and_the_next_one_works),
		ALL(a_bad_range_fails_and_the_next_one_works),
		ALL(only_as_many_ranges_as_advertised_are_taken),
		ALL(a_short_header_is_an_error),
		ALL(a_request_without_room_for_a_status_completes_with_nothing_written),
		ALL(a_read_only_device_is_not_written),
		ALL(a_batch_ends_at_its_budget),
		cmocka_unit_test(the_work_of_a_wakeup_is_bounded_in_bytes),
		cmocka_unit_test(config_space_says_what_the_device_is),
		cmocka_unit_test(config_space_ends_at_256_and_can_not_be_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
