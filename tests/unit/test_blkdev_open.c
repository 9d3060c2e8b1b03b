/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Devices: what is accepted, who owns what, and files and guest memory that become shorter. */
#include "vht_blk.h"
#include "vht_mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhi_blk.h"

#define FLUSH VHI_BIT(VH_BLK_F_FLUSH)

static int destroyed;

static void count_destroy(void *ctx)
{
	*(int *)ctx += 1;
}

static void a_device_that_is_refused_is_destroyed_once(void **state)
{
	struct vh_device_opts o = {.size = sizeof(o)};
	struct vh_device_ops ops = {.size = sizeof(ops), .destroy = count_destroy};
	struct vh_device *dev = NULL;
	struct {
		struct vh_device_ops ops;
		uint64_t more;
	} large = {.ops = ops, .more = 1};

	(void)state;
	destroyed = 0;
	large.ops.size = sizeof(large);
	assert_int_equal(vh_device_new(NULL, &ops, &destroyed, &dev), -EINVAL);
	assert_int_equal(destroyed, 1);
	assert_int_equal(vh_device_new(&o, &ops, &destroyed, NULL), -EINVAL);
	assert_int_equal(destroyed, 2);
	assert_int_equal(vh_device_new(&o, &large.ops, &destroyed, &dev), -EINVAL);
	assert_int_equal(destroyed, 3);
	o.max_queues = 257;
	assert_int_equal(vh_device_new(&o, &ops, &destroyed, &dev), -EINVAL);
	assert_int_equal(destroyed, 4);
	o.max_queues = 0;
	o.max_queue_size = 32769;
	assert_int_equal(vh_device_new(&o, &ops, &destroyed, &dev), -EINVAL);
	assert_int_equal(destroyed, 5);
	o.max_queue_size = 0;
	ops.flags = 4;
	assert_int_equal(vh_device_new(&o, &ops, &destroyed, &dev), -EINVAL);
	assert_int_equal(destroyed, 6);
	assert_int_equal(vh_device_new(&o, NULL, &destroyed, &dev), -EINVAL);
	assert_int_equal(destroyed, 6);
	ops.flags = 0;
	ops.size = 4; /* too short to hold destroy */
	assert_int_equal(vh_device_new(&o, &ops, &destroyed, &dev), -EINVAL);
	assert_int_equal(destroyed, 6);
	assert_null(dev);
}

static const struct vhi_carrier carrier = {.wake = NULL};

static void a_device_goes_once_and_not_while_attached(void **state)
{
	struct vh_device_opts o = {.size = sizeof(o)};
	struct vh_device_ops ops = {.size = sizeof(ops), .destroy = count_destroy};
	struct vh_device *dev;

	(void)state;
	destroyed = 0;
	assert_int_equal(vh_device_new(&o, &ops, &destroyed, &dev), 0);
	assert_int_equal(dev->opts.max_queues, 1);
	assert_int_equal(dev->opts.max_queue_size, 32768);
	assert_int_equal(vhi_device_attach(dev, &carrier, NULL), 0);
	assert_int_equal(vhi_device_attach(dev, &carrier, NULL), -EBUSY);
	vhi_device_detach(dev);
	assert_int_equal(vhi_device_attach(dev, &carrier, NULL), 0);
	vh_device_free(dev);
	assert_int_equal(destroyed, 0);
	vhi_device_detach(dev);
	assert_int_equal(destroyed, 1);
	assert_int_equal(vh_device_new(&o, &ops, &destroyed, &dev), 0);
	vh_device_free(dev);
	assert_int_equal(destroyed, 2);
	vh_device_free(NULL);
}

static void block_options_are_checked(void **state)
{
	const struct vh_blkdev_opts good = {.size = sizeof(good), .kind = VH_BLKDEV_RAM, .capacity = 4096};
	struct vh_blkdev_opts o[12];
	struct vh_device *dev = NULL;
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(o); i++)
		o[i] = good;
	o[n++].kind = 0;
	o[n++].kind = 4;
	o[n++].capacity = 0;
	o[n++].capacity = 513;
	o[n++].capacity = UINT64_C(1) << 63;
	o[n++].flags = 4;
	o[n++].max_queues = 257;
	o[n++].max_queue_size = 32769;
	o[n++].block_size = 513;
	o[n++].block_size = 256;
	o[n++].block_size = 131072;
	o[n++].reserved = 1;
	for (size_t i = 0; i < n; i++)
		assert_int_equal(vh_blkdev_new(&o[i], -1, &dev), -EINVAL);
	assert_int_equal(vh_blkdev_new(NULL, -1, &dev), -EINVAL);
	assert_int_equal(vh_blkdev_new(&good, -1, NULL), -EINVAL);
	assert_int_equal(vh_blkdev_new(&good, 0, &dev), -EINVAL);
	assert_null(dev);
	assert_int_equal(vh_blkdev_new(&good, -1, &dev), 0);
	vh_device_free(dev);
}

static char *temp_file(off_t size)
{
	static char path[64];
	int fd;

	snprintf(path, sizeof(path), "/tmp/vh-blkdev-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
	return path;
}

static void files_are_checked(void **state)
{
	static const struct {
		int how;
		uint32_t flags;
		uint64_t capacity;
		int rc;
	} cases[] = {
		{O_RDWR, 0, 0, 0},
		{O_RDWR, 0, 4096, 0},
		{O_RDWR, 0, 4608, -EINVAL}, /* more than there is */
		{O_RDONLY, VH_BLKDEV_READONLY, 0, 0},
		{O_RDONLY, 0, 0, -EACCES},
		{O_WRONLY, 0, 0, -EACCES},
		{O_WRONLY, VH_BLKDEV_READONLY, 0, -EACCES},
		{O_RDWR | O_APPEND, 0, 0, -EINVAL},
		{O_PATH, VH_BLKDEV_READONLY, 0, -EBADF},
	};
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_FILE};
	struct vh_device *dev = NULL;
	char *path = temp_file(4100); /* rounded down to 4096 */
	uint8_t sectors[8];
	int fd, p[2];

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		fd = open(path, cases[i].how | O_CLOEXEC);
		assert_true(fd >= 0);
		o.flags = cases[i].flags;
		o.capacity = cases[i].capacity;
		assert_int_equal(vh_blkdev_new(&o, fd, &dev), cases[i].rc);
		close(fd);
		if (cases[i].rc)
			continue;
		assert_int_equal(dev->ops.get_config(dev->ctx, 0, sectors, 8, 0), 0);
		assert_int_equal(sectors[0], 8);
		vh_device_free(dev);
	}
	unlink(path);
	o.flags = 0;
	o.capacity = 0;
	assert_int_equal(vh_blkdev_new(&o, -1, &dev), -EBADF);
	assert_int_equal(vh_blkdev_new(&o, 9999, &dev), -EBADF);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(vh_blkdev_new(&o, p[0], &dev), -ENOTSUP);
	close(p[0]);
	close(p[1]);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(vh_blkdev_new(&o, fd, &dev), -ENOTSUP);
	close(fd);
	fd = memfd_create("empty", MFD_CLOEXEC);
	assert_int_equal(vh_blkdev_new(&o, fd, &dev), -EINVAL);
	close(fd);
}

static uint32_t count_fds(void)
{
	uint32_t n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void a_closed_device_leaves_no_fd(void **state)
{
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_FILE, .capacity = 4096};
	struct vh_device *dev;
	int fd = memfd_create("leak", MFD_CLOEXEC);
	uint32_t before;
	bool was[1024];

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	before = count_fds();
	for (int own = 0; own < 1024; own++)
		was[own] = fcntl(own, F_GETFD) >= 0;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(vh_blkdev_new(&o, fd, &dev), 0);
		for (int own = 0; own < 1024; own++)
			if (!was[own] && fcntl(own, F_GETFD) >= 0)
				assert_true(fcntl(own, F_GETFD) & FD_CLOEXEC);
		vh_device_free(dev);
		o.flags ^= VH_BLKDEV_NO_URING;
	}
	assert_int_equal(count_fds(), before);
	close(fd);
}

static void a_file_in_memory_needs_no_ring(void **state)
{
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_FILE};
	struct vh_device *dev;
	int fd = memfd_create("memory", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	for (int disk = 0; disk < 2; disk++) {
		vht_blk_on_disk = disk;
		assert_int_equal(vh_blkdev_new(&o, fd, &dev), 0);
		assert_int_equal(dev->ops.poll_fd(dev->ctx) >= 0, disk);
		vh_device_free(dev);
	}
	close(fd);
}

static uint32_t flag_uring = 0, flag_plain = VH_BLKDEV_NO_URING;

static void a_file_that_became_shorter_gives_errors(void **state)
{
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_FILE, .flags = *(uint32_t *)*state};
	int fd = memfd_create("short", MFD_CLOEXEC);
	struct vht_blk f;
	uint8_t *data;

	assert_int_equal(ftruncate(fd, 65536), 0);
	vht_blk_open(&f, &o, fd, 64, FLUSH);
	data = vht_blk_alloc(&f, 16384);
	assert_int_equal(vht_blk_rw(&f, VH_BLK_READ, 96, data, 16384), VHI_BLK_S_OK);
	assert_int_equal(f.failed, 0);
	assert_int_equal(ftruncate(fd, 50000), 0);
	/* Ends behind the end, is wholly behind it, and before it. */
	assert_int_equal(vht_blk_rw(&f, VH_BLK_READ, 96, data, 16384), VHI_BLK_S_IOERR);
	assert_int_equal(vht_blk_rw(&f, VH_BLK_READ, 120, data, 512), VHI_BLK_S_IOERR);
	assert_int_equal(vht_blk_rw(&f, VH_BLK_READ, 0, data, 16384), VHI_BLK_S_OK);
	assert_int_equal(vht_blk_range(&f, VH_BLK_WRITE_ZEROES, 0, 8, VH_BLK_UNMAP), VHI_BLK_S_OK);
	/* What the file did is told; what the driver got wrong is its own affair. */
	assert_int_equal(f.failed, 2);
	assert_int_equal(f.failed_rc, -EIO);
	assert_int_equal(vht_blk_rw(&f, VH_BLK_READ, 1 << 20, data, 512), VHI_BLK_S_IOERR);
	assert_int_equal(f.failed, 2);
	vht_blk_close(&f);
	close(fd);
}

struct truncated {
	uint32_t kind, flags, type;
};
static struct truncated uring_reads = {VH_BLKDEV_FILE, 0, VH_BLK_READ};
static struct truncated uring_writes = {VH_BLKDEV_FILE, 0, VH_BLK_WRITE};
static struct truncated plain_reads = {VH_BLKDEV_FILE, VH_BLKDEV_NO_URING, VH_BLK_READ};
static struct truncated plain_writes = {VH_BLKDEV_FILE, VH_BLKDEV_NO_URING, VH_BLK_WRITE};
static struct truncated ram_reads = {VH_BLKDEV_RAM, 0, VH_BLK_READ};
static struct truncated ram_writes = {VH_BLKDEV_RAM, 0, VH_BLK_WRITE};

static void guest_memory_that_was_truncated_breaks_the_queue(void **state)
{
	const struct truncated *t = *state;
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = t->kind, .capacity = 65536, .flags = t->flags};
	int fd = -1, guest = memfd_create("guest", MFD_CLOEXEC);
	struct vh_region region = {.gpa = UINT64_C(1) << 32, .uva = UINT64_C(1) << 40, .len = 65536};
	struct vht_blk_req r;
	struct vht_blk f;
	struct vh_cpl cpl;
	struct vh_seg seg;

	if (t->kind == VH_BLKDEV_FILE) {
		fd = memfd_create("disk", MFD_CLOEXEC);
		assert_int_equal(ftruncate(fd, 65536), 0);
	}
	assert_int_equal(vh_mem_guard_install(), 0);
	assert_int_equal(ftruncate(guest, 65536), 0);
	vht_blk_open(&f, &o, fd, 64, FLUSH);
	vht_blk_abort(&f, 0);
	assert_int_equal(vh_mem_add_fd(f.mem, guest, &region), 0);
	assert_int_equal(vht_translate(f.mem, region.gpa, 65536, &seg, 1), 1);
	vht_blk_start(&f, 0);

	vht_blk_begin(&f, &r, t->type, 0);
	(t->type == VH_BLK_READ ? vht_blk_wr : vht_blk_rd)(&r, (void *)(uintptr_t)seg.addr, 32768);
	vht_blk_wr(&r, r.status, 1);
	vht_blk_submit(&f, 0, &r, 1);
	assert_int_equal(ftruncate(guest, 8192), 0);
	for (int i = 0; i < 20 && vh_queue_state(f.device[0]) == VH_QUEUE_RUNNING; i++) {
		vht_blk_batch(&f, 0, 64);
		vht_blk_poll(&f, 100);
	}
	assert_int_equal(vh_queue_state(f.device[0]), VH_QUEUE_BROKEN);
	assert_true(vht_blk_batch(&f, 0, 64) < 0);
	/* Nothing was published; the driver here may notice the loss too, as it shares the memory. */
	assert_true(vh_queue_reap(f.driver[0], &cpl, 1) <= 0);
	/* A new ring without that memory works. */
	vht_blk_abort(&f, 0);
	assert_int_equal(vh_mem_remove(f.mem, &region), 0);
	vht_blk_start(&f, 0);
	assert_int_equal(vht_blk_rw(&f, VH_BLK_FLUSH, 0, NULL, 0), VHI_BLK_S_OK);
	vht_blk_close(&f);
	close(guest);
	if (fd >= 0)
		close(fd);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

static void a_cursor_steps_over_empty_segments(void **state)
{
	char bytes[8] = "abcdefg", got[8] = {0};
	const struct vh_seg segs[] = {
		{(uintptr_t)bytes, 0},
		{(uintptr_t)bytes, 3},
		{(uintptr_t)bytes, 0},
		{(uintptr_t)(bytes + 3), 4},
		{0, 0},
	};
	struct vhi_cursor c = {segs, 5, 0};
	struct iovec iov[5];

	(void)state;
	assert_int_equal(vhi_cursor_iov(&c, 100, iov, 5), 2);
	assert_int_equal(vhi_cursor_iov(&c, 100, iov, 1), 1);
	assert_int_equal(vhi_cursor_iov(&c, 4, iov, 5), 2);
	assert_int_equal(iov[1].iov_len, 1);
	assert_int_equal(vhi_cursor_get(&c, got, 2), 2);
	assert_int_equal(vhi_cursor_skip(&c, 1), 1);
	assert_int_equal(vhi_cursor_get(&c, got + 2, 100), 4);
	assert_string_equal(got, "abdefg");
	assert_int_equal(vhi_cursor_skip(&c, 1), 0);
	assert_true(VHI_SHM_RAW(char, vhi_segs_last(segs, 5)) == bytes + 6);
	assert_true(VHI_SHM_RAW(char, vhi_segs_last(segs, 3)) == bytes + 2);
	assert_null(VHI_SHM_RAW(char, vhi_segs_last(segs, 1)));
	c = (struct vhi_cursor){segs, 5, 0};
	assert_int_equal(vhi_cursor_put(&c, "ABCD", 4), 4);
	assert_string_equal(bytes, "ABCDefg");
}

static void each_check_has_a_text(void **state)
{
	(void)state;
	for (uint32_t site = VHI_SITE_BLK_STATUS; site <= VHI_SITE_BLK_SIZE; site++)
		assert_non_null(vhi_device_site_text(site));
	assert_null(vhi_device_site_text(599));
}

#define EACH(t, what)                                   \
	{                                               \
#t " [" #what "]", t, NULL, NULL, &what \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_that_is_refused_is_destroyed_once),
		cmocka_unit_test(a_device_goes_once_and_not_while_attached),
		cmocka_unit_test(block_options_are_checked),
		cmocka_unit_test(files_are_checked),
		cmocka_unit_test(a_closed_device_leaves_no_fd),
		cmocka_unit_test(a_file_in_memory_needs_no_ring),
		EACH(a_file_that_became_shorter_gives_errors, flag_uring),
		EACH(a_file_that_became_shorter_gives_errors, flag_plain),
		EACH(guest_memory_that_was_truncated_breaks_the_queue, uring_reads),
		EACH(guest_memory_that_was_truncated_breaks_the_queue, uring_writes),
		EACH(guest_memory_that_was_truncated_breaks_the_queue, plain_reads),
		EACH(guest_memory_that_was_truncated_breaks_the_queue, plain_writes),
		EACH(guest_memory_that_was_truncated_breaks_the_queue, ram_reads),
		EACH(guest_memory_that_was_truncated_breaks_the_queue, ram_writes),
		cmocka_unit_test(a_cursor_steps_over_empty_segments),
		cmocka_unit_test(each_check_has_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
