/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vht_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

#define ok(call) assert_int_equal((call), 0)

void vht_session_disk(struct vht_session *s, enum vht_kind kind, uint64_t bytes, uint64_t features, uint32_t queues)
{
	struct vh_device *dev;

	memset(s, 0, sizeof(*s));
	s->disk = vht_disk_new(bytes, features, queues, &dev);
	vht_target_open(&s->t, kind, dev);
}

void vht_session_ram(struct vht_session *s, enum vht_kind kind, uint64_t bytes, uint32_t flags, uint32_t queues)
{
	const struct vh_blkdev_opts opts = {.size = sizeof(opts),
					    .kind = VH_BLKDEV_RAM,
					    .capacity = bytes,
					    .flags = flags,
					    .max_queues = queues,
					    .serial = "libvh-ram-0001"};
	struct vh_device *dev;

	memset(s, 0, sizeof(*s));
	ok(vh_blkdev_new(&opts, -1, &dev));
	vht_target_open(&s->t, kind, dev);
}

void vht_session_begin(struct vht_session *s, const struct vh_driver_opts *opts, uint64_t buf_len)
{
	const struct vh_driver_opts blk = {.size = sizeof(blk), .type = VH_TYPE_BLK};
	uint64_t addr;

	ok(vh_driver_new(opts ? opts : &blk, s->t.backend, NULL, &s->d));
	ok(vh_driver_alloc(s->d, buf_len, &addr));
	s->buf = (uint8_t *)(uintptr_t)addr;
	s->buf_len = buf_len;
	ok(vh_blk_new(s->d, &s->b));
	ok(vh_driver_start(s->d));
}

void vht_session_end(struct vht_session *s)
{
	vh_blk_free(s->b);
	vh_driver_free(s->d);
	vht_target_close(&s->t);
}

void vht_session_reap(struct vht_session *s, uint32_t queue, struct vh_blk_done *done, uint32_t n)
{
	uint32_t got = 0;

	while (got < n) {
		int rc = vh_blk_reap(s->b, queue, done + got, n - got);

		assert_in_range(rc, 0, n - got);
		got += (uint32_t)rc;
		if (!rc)
			ok(vh_blk_wait(s->b, queue, VHT_WAIT_MS));
	}
}

int vht_session_io(struct vht_session *s, uint32_t queue, struct vh_blk_io io)
{
	struct vh_blk_done done;
	int rc;

	io.user = UINT64_C(0x1122334455667788) + io.offset;
	rc = vh_blk_submit(s->b, queue, &io, 1);
	if (rc != 1)
		return rc ? rc : -ENOBUFS;
	vht_session_reap(s, queue, &done, 1);
	assert_int_equal(done.user, io.user);
	return done.rc;
}

static void fill(uint8_t *p, uint64_t len, uint64_t offset, uint32_t seed)
{
	uint64_t x;

	for (uint64_t i = 0; i < len; i += 8) {
		x = (offset + i + seed) * UINT64_C(0x9e3779b97f4a7c15) ^ seed;
		memcpy(p + i, &x, 8);
	}
}

static uint64_t half(struct vht_session *s, uint64_t len)
{
	assert_true(len <= s->buf_len / 2);
	return (uint64_t)(uintptr_t)s->buf + s->buf_len / 2;
}

void vht_session_write(struct vht_session *s, uint32_t queue, uint64_t offset, uint64_t len, uint32_t seed)
{
	struct vh_blk_io io = {.op = VH_BLK_WRITE, .offset = offset, .addr = half(s, len), .len = len};

	fill((uint8_t *)(uintptr_t)io.addr, len, offset, seed);
	ok(vht_session_io(s, queue, io));
}

void vht_session_verify(struct vht_session *s, uint32_t queue, uint64_t offset, uint64_t len, uint32_t seed)
{
	struct vh_blk_io io = {.op = VH_BLK_READ, .offset = offset, .addr = half(s, len), .len = len};

	memset((void *)(uintptr_t)io.addr, 0xa5, len);
	fill(s->buf, len, offset, seed);
	ok(vht_session_io(s, queue, io));
	assert_memory_equal((void *)(uintptr_t)io.addr, s->buf, len);
}

void vht_assert_error(int code, uint32_t site)
{
	struct vh_error e = {.size = sizeof(e)};

	ok(vh_error_get(&e));
	assert_int_equal(e.code, code);
	assert_int_equal(e.site, site);
	assert_true(e.text[0]);
}
