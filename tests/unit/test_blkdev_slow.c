/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * File devices on a kernel that is slow, refuses io_uring, does less than it was asked for, or is out of memory: libc's
 * wrappers are replaced here, as a program's own functions come before the library's.
 */
#include "vht_blk.h"

#include <dlfcn.h>
#include <endian.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define CAPACITY (UINT64_C(4) << 20)
#define FLUSH	 VHI_BIT(VH_BLK_F_FLUSH)

/* What the kernel is like; all zero is the real one. */
static struct {
	bool hold;	    /* operations are taken and not begun */
	unsigned held;	    /* how many */
	int held_fd;	    /* of this ring */
	int setup_error;    /* of io_uring_setup */
	int enter_error;    /* of io_uring_enter, as often as: */
	int enter_errors;   /* -1: always */
	unsigned enter_max; /* operations that one call takes, 0 = all */
	int io_error;	    /* of reads and writes, as often as: */
	int io_errors;
	size_t io_most;	    /* bytes that one call moves, 0 = all */
	int allocate_error; /* of fallocate */
	int sync_error;	    /* of fdatasync, as often as: */
	int sync_errors;
	int syncs, writes;
	bool dirty; /* written since the last sync */
} slow;

static void *real(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (!p)
		abort();
	return p;
}

static long real_enter(int fd, unsigned n)
{
	static long (*call)(long, ...);

	if (!call)
		*(void **)&call = real("syscall");
	return call(SYS_io_uring_enter, fd, n, 0, 0, NULL, 0);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static long slow_enter(int fd, unsigned n)
{
	long taken;

	pthread_mutex_lock(&lock);
	taken = 0;
	if (slow.enter_errors) {
		slow.enter_errors -= slow.enter_errors > 0;
		errno = slow.enter_error;
		taken = -1;
	}
	if (!taken && slow.hold) {
		slow.held_fd = fd;
		slow.held += n;
		taken = n;
	}
	pthread_mutex_unlock(&lock);
	return taken ? taken : real_enter(fd, slow.enter_max ? VHI_MIN(n, slow.enter_max) : n);
}

static void release(void)
{
	pthread_mutex_lock(&lock);
	slow.hold = false;
	while (slow.held)
		slow.held -= (unsigned)real_enter(slow.held_fd, slow.held);
	pthread_mutex_unlock(&lock);
}

long syscall(long number, ...)
{
	unsigned first, second;
	void *params;
	va_list ap;

	if (number != SYS_io_uring_setup && number != SYS_io_uring_enter && number != SYS_membarrier)
		abort();
	va_start(ap, number);
	first = va_arg(ap, unsigned);
	if (number == SYS_membarrier) {
		va_end(ap);
		return ((long (*)(long, ...))real("syscall"))(number, first, 0, 0);
	}
	if (number == SYS_io_uring_enter) {
		second = va_arg(ap, unsigned);
		va_end(ap);
		return slow_enter((int)first, second);
	}
	params = va_arg(ap, void *);
	va_end(ap);
	if (slow.setup_error) {
		errno = slow.setup_error;
		return -1;
	}
	return ((long (*)(long, ...))real("syscall"))(number, first, params);
}

static int shortened(const struct iovec *iov, int n, struct iovec *out)
{
	size_t left = slow.io_most ? slow.io_most : SIZE_MAX;
	int i;

	for (i = 0; i < n && left; i++) {
		out[i] = iov[i];
		out[i].iov_len = VHI_MIN(left, iov[i].iov_len);
		left -= out[i].iov_len;
	}
	return i;
}

static bool io_fails(void)
{
	if (!slow.io_errors)
		return false;
	slow.io_errors--;
	errno = slow.io_error;
	return true;
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	struct iovec v[256];

	if (io_fails())
		return -1;
	n = shortened(iov, n, v);
	return (ssize_t)((long (*)(long, ...))real("syscall"))(SYS_preadv, fd, v, n, off, 0L);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	struct iovec v[256];

	if (io_fails())
		return -1;
	slow.writes++;
	slow.dirty = true;
	n = shortened(iov, n, v);
	return (ssize_t)((long (*)(long, ...))real("syscall"))(SYS_pwritev, fd, v, n, off, 0L);
}

int fdatasync(int fd)
{
	(void)fd;
	slow.syncs++;
	if (slow.sync_errors) {
		slow.sync_errors--;
		errno = slow.sync_error;
		return -1;
	}
	slow.dirty = false;
	return 0;
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	if (slow.allocate_error) {
		errno = slow.allocate_error;
		return -1;
	}
	slow.dirty = true;
	return (int)((long (*)(long, ...))real("syscall"))(SYS_fallocate, fd, mode, off, len);
}

static int disk(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)CAPACITY), 0);
	return fd;
}

static void open_file(struct vht_blk *f, int fd, uint32_t flags, uint64_t features)
{
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_FILE, .flags = flags, .max_queues = 2};

	vht_blk_open(f, &o, fd, 1024, features);
}

/* A request for one buffer, under way when this returns. */
static void begin(struct vht_blk *f, uint32_t q, struct vht_blk_req *r, uint32_t type, uint64_t sector, void *data,
		  uint64_t len)
{
	vht_blk_begin(f, r, type, sector);
	(type == VH_BLK_WRITE ? vht_blk_rd : vht_blk_wr)(r, data, len);
	vht_blk_wr(r, r->status, 1);
	vht_blk_submit(f, q, r, (uintptr_t)r);
	assert_int_equal(vht_blk_batch(f, q, 64), 0);
}

static uint32_t reap_all(struct vht_blk *f, uint32_t q)
{
	struct vh_cpl cpl[64];
	uint32_t sum = 0;
	int n;

	while ((n = vh_queue_reap(f->driver[q], cpl, 64)) > 0)
		sum += (uint32_t)n;
	assert_int_equal(n, 0);
	return sum;
}

static int setup(void **state)
{
	(void)state;
	memset(&slow, 0, sizeof(slow));
	return 0;
}

static void a_slow_disk_holds_up_nobody(void **state)
{
	struct vht_blk_req r[3];
	struct vht_blk f, other;
	int fd = disk(), fd2 = disk();
	uint8_t *data, *data2;

	(void)state;
	open_file(&f, fd, 0, FLUSH);
	open_file(&other, fd2, 0, FLUSH);
	data = vht_blk_alloc(&f, 4096);
	data2 = vht_blk_alloc(&other, 4096);
	slow.hold = true;
	begin(&f, 0, &r[0], VH_BLK_READ, 0, data, 4096);
	begin(&f, 1, &r[1], VH_BLK_READ, 8, data, 4096);
	assert_int_equal(slow.held, 2);
	assert_false(vht_blk_poll(&f, 0));
	assert_int_equal(reap_all(&f, 0) + reap_all(&f, 1), 0);
	assert_int_equal(*r[0].status, 0xee);
	slow.hold = false;
	assert_int_equal(vht_blk_rw(&other, VH_BLK_WRITE, 0, data2, 4096), VHI_BLK_S_OK);
	release();
	vht_blk_wait(&f, 0);
	vht_blk_wait(&f, 1);
	assert_int_equal(*r[0].status, VHI_BLK_S_OK);
	assert_int_equal(*r[1].status, VHI_BLK_S_OK);
	vht_blk_close(&f);
	vht_blk_close(&other);
	close(fd);
	close(fd2);
}

/* Case 256: a request is what it was when it was popped. */
static void a_header_changed_in_flight_has_no_effect(void **state)
{
	struct vht_blk_req r;
	struct vht_blk f;
	int fd = disk();
	uint8_t *data, got[512];

	(void)state;
	open_file(&f, fd, 0, FLUSH);
	data = vht_blk_alloc(&f, 512);
	memset(data, 0x42, 512);
	slow.hold = true;
	begin(&f, 0, &r, VH_BLK_WRITE, 5, data, 512);
	r.hdr->type = htole32(VH_BLK_READ);
	r.hdr->sector = htole64(6);
	release();
	vht_blk_wait(&f, 0);
	assert_int_equal(*r.status, VHI_BLK_S_OK);
	assert_int_equal(pread(fd, got, 512, 5 * 512), 512);
	assert_memory_equal(got, data, 512);
	assert_int_equal(pread(fd, got, 512, 6 * 512), 512);
	assert_int_equal(got[0], 0);
	vht_blk_close(&f);
	close(fd);
}

static void requests_of_an_aborted_queue_are_dropped_and_keep_their_memory(void **state)
{
	static struct vht_blk_req r[200], next;
	struct vht_blk f;
	struct vh_snapshot *snap;
	int fd = disk();
	uint8_t *data, got[512];
	uint32_t idle;

	(void)state;
	open_file(&f, fd, 0, FLUSH);
	data = vht_blk_alloc(&f, 512 * 200);
	memset(data, 0x11, 512 * 200);
	snap = vhi_mem_snapshot(f.mem);
	idle = snap->refs;
	slow.hold = true;
	for (uint32_t i = 0; i < 200; i++)
		begin(&f, 0, &r[i], VH_BLK_WRITE, 0, data + i * 512, 512);
	assert_true(snap->refs > 200);
	vht_blk_abort(&f, 0);
	/* Those that the kernel has keep the memory, the others are gone. */
	assert_true(snap->refs > slow.held && snap->refs < 200);

	/* A later connection's write to the same place comes after them, whenever they come to pass. */
	vht_blk_start(&f, 0);
	memset(data, 0x22, 512);
	begin(&f, 0, &next, VH_BLK_WRITE, 0, data, 512);
	assert_int_equal(reap_all(&f, 0), 0);
	assert_int_equal(*next.status, 0xee);
	release();
	vht_blk_wait(&f, 0);
	assert_int_equal(*next.status, VHI_BLK_S_OK);
	for (uint32_t i = 0; i < 200; i++)
		assert_int_equal(*r[i].status, 0xee);
	assert_int_equal(pread(fd, got, 512, 0), 512);
	assert_int_equal(got[0], 0x22);
	assert_int_equal(reap_all(&f, 0), 0);
	assert_int_equal(snap->refs, idle);
	vhi_snapshot_put(snap);
	vht_blk_close(&f);
	close(fd);
}

static void nothing_is_begun_before_the_last_connection_is_over(void **state)
{
	struct vht_blk_req r[3];
	struct vht_blk f;
	int fd = disk();
	uint8_t *data;

	(void)state;
	open_file(&f, fd, 0, FLUSH);
	data = vht_blk_alloc(&f, 512);
	slow.hold = true;
	begin(&f, 0, &r[0], VH_BLK_WRITE, 0, data, 512);
	vht_blk_abort(&f, 0);
	vht_blk_start(&f, 0);
	begin(&f, 0, &r[1], VH_BLK_WRITE, 0, data, 512);
	begin(&f, 1, &r[2], VH_BLK_WRITE, 0, data, 512);
	assert_int_equal(slow.held, 1);
	release();
	slow.hold = true;
	assert_true(vht_blk_poll(&f, 5000));
	assert_int_equal(slow.held, 2);
	release();
	vht_blk_wait(&f, 0);
	vht_blk_wait(&f, 1);
	assert_int_equal(*r[0].status, 0xee);
	assert_int_equal(*r[1].status, VHI_BLK_S_OK);
	assert_int_equal(*r[2].status, VHI_BLK_S_OK);
	vht_blk_close(&f);
	close(fd);
}

static void memory_outlives_the_guest_while_the_kernel_writes_to_it(void **state)
{
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_FILE};
	static struct vht_blk_req r[32];
	struct vht_blk f;
	struct vh_mem *mem;
	int fd = disk();
	uint8_t *data;
	volatile uint8_t *seen;

	(void)state;
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	vht_blk_open(&f, &o, fd, 64, FLUSH);
	data = vht_blk_alloc(&f, 512 * 32);
	slow.hold = true;
	for (uint32_t i = 0; i < 16; i++)
		begin(&f, 0, &r[i], VH_BLK_READ, 0, data + i * 512, 512);
	vht_blk_abort(&f, 0);
	vhi_queue_destroy(f.device[0]);
	f.device[0] = NULL;
	mem = f.mem;
	f.mem = NULL;
	vh_mem_free(mem);
	seen = data;
	assert_int_equal(*seen, 0); /* still mapped */
	release();
	assert_true(vht_blk_poll(&f, 5000));
	vht_blk_close(&f);
	close(fd);
}

static void *release_later(void *arg)
{
	(void)arg;
	poll(NULL, 0, 100);
	release();
	return NULL;
}

static void a_device_that_is_freed_waits_for_what_is_in_flight(void **state)
{
	static struct vht_blk_req r[40];
	struct vht_blk f;
	pthread_t thread;
	uint64_t start;
	int fd = disk();
	uint8_t *data;

	(void)state;
	open_file(&f, fd, 0, FLUSH);
	data = vht_blk_alloc(&f, 512);
	slow.hold = true;
	for (uint32_t i = 0; i < 40; i++)
		begin(&f, i & 1, &r[i], VH_BLK_READ, 0, data, 512);
	start = vhi_now_ns();
	assert_int_equal(pthread_create(&thread, NULL, release_later, NULL), 0);
	vht_blk_close(&f);
	assert_true(vhi_now_ns() - start > 90000000);
	pthread_join(thread, NULL);
	assert_int_equal(slow.held, 0);
	close(fd);
}

static void what_the_kernel_has_no_room_for_is_done_at_once(void **state)
{
	static struct vht_blk_req r[300];
	struct vht_blk f;
	int fd = disk();
	uint8_t *data;
	uint32_t done = 0;

	(void)state;
	open_file(&f, fd, 0, FLUSH);
	data = vht_blk_alloc(&f, 512);
	slow.enter_error = ENOMEM;
	slow.enter_errors = -1;
	for (uint32_t i = 0; i < 100; i++)
		begin(&f, 0, &r[i], VH_BLK_WRITE, i, data, 512);
	done = reap_all(&f, 0);
	assert_int_equal(done, 100);
	/* Now and then, and a few at a time. */
	slow.enter_max = 3;
	for (uint32_t i = 100; i < 300; i++) {
		slow.enter_errors = i % 3 == 0;
		vht_blk_begin(&f, &r[i], VH_BLK_WRITE, i);
		vht_blk_rd(&r[i], data, 512);
		vht_blk_wr(&r[i], r[i].status, 1);
		vht_blk_submit(&f, 0, &r[i], i);
		if (i % 20 == 19)
			assert_int_equal(vht_blk_batch(&f, 0, 64), 0);
	}
	slow.enter_errors = 0;
	for (uint32_t i = 100; i < 300; i++)
		vht_blk_wait(&f, 0);
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(*r[i].status, VHI_BLK_S_OK);
	vht_blk_close(&f);
	close(fd);
}

static void plain_calls_are_used_where_io_uring_is_refused(void **state)
{
	static const int errors[] = {ENOSYS, EPERM, EINVAL, ENOMEM, EACCES};
	struct vht_blk f;
	int fd = disk();
	uint8_t *data;

	(void)state;
	for (size_t i = 0; i < 2 * VHI_ARRAY_SIZE(errors); i++) {
		bool at_setup = i < VHI_ARRAY_SIZE(errors);

		setup(NULL);
		if (at_setup)
			slow.setup_error = errors[i];
		else {
			slow.enter_error = errors[i - VHI_ARRAY_SIZE(errors)];
			slow.enter_errors = -1;
		}
		open_file(&f, fd, 0, FLUSH);
		assert_int_equal(f.dev->ops.poll_fd(f.dev->ctx), -1);
		data = vht_blk_alloc(&f, 512);
		assert_int_equal(vht_blk_rw(&f, VH_BLK_WRITE, 0, data, 512), VHI_BLK_S_OK);
		assert_int_equal(slow.writes, 1);
		vht_blk_close(&f);
	}
	close(fd);
}

static void no_fd_left_for_a_ring_is_an_error(void **state)
{
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_FILE};
	struct vh_device *dev = NULL;
	int fd = disk();

	(void)state;
	slow.setup_error = EMFILE;
	assert_int_equal(vh_blkdev_new(&o, fd, &dev), -EMFILE);
	assert_null(dev);
	close(fd);
}

static void short_and_interrupted_calls_are_continued(void **state)
{
	static const int again[] = {EINTR, EAGAIN, ECANCELED};
	struct vht_blk f;
	int fd = disk();
	uint8_t *data, *back;

	(void)state;
	open_file(&f, fd, VH_BLKDEV_NO_URING, FLUSH);
	data = vht_blk_alloc(&f, 16384);
	back = vht_blk_alloc(&f, 16384);
	for (int i = 0; i < 16384; i++)
		data[i] = (uint8_t)(i * 13 + i / 256);
	slow.io_most = 1000;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(again); i++) {
		slow.io_error = again[i];
		slow.io_errors = 3;
		assert_int_equal(vht_blk_rw(&f, VH_BLK_WRITE, 7, data, 16384), VHI_BLK_S_OK);
		slow.io_errors = 3;
		memset(back, 0, 16384);
		assert_int_equal(vht_blk_rw(&f, VH_BLK_READ, 7, back, 16384), VHI_BLK_S_OK);
		assert_memory_equal(back, data, 16384);
	}
	/* Not for ever. */
	slow.io_errors = 1000000;
	assert_int_equal(vht_blk_rw(&f, VH_BLK_READ, 7, back, 16384), VHI_BLK_S_IOERR);
	slow.io_errors = 1;
	slow.io_error = ENOSPC;
	assert_int_equal(vht_blk_rw(&f, VH_BLK_WRITE, 7, data, 16384), VHI_BLK_S_IOERR);
	vht_blk_close(&f);
	close(fd);
}

static void zeroes_are_written_where_the_file_can_not_make_holes(void **state)
{
	static const int errors[] = {EOPNOTSUPP, ENOSYS, EINVAL, ENODEV};
	struct vht_blk f;
	int fd = disk();
	uint8_t *data;

	(void)state;
	open_file(&f, fd, VH_BLKDEV_NO_URING, FLUSH);
	data = vht_blk_alloc(&f, 3 << 20);
	for (size_t i = 0; i < 2 * VHI_ARRAY_SIZE(errors); i++) {
		memset(data, 0x33, 3 << 20);
		assert_int_equal(vht_blk_rw(&f, VH_BLK_WRITE, 0, data, 3 << 20), VHI_BLK_S_OK);
		slow.allocate_error = errors[i / 2];
		assert_int_equal(vht_blk_range(&f, VH_BLK_DISCARD, 0, 8, 0), VHI_BLK_S_OK);
		assert_int_equal(vht_blk_range(&f, VH_BLK_WRITE_ZEROES, 1, 5000, i & 1), VHI_BLK_S_OK);
		assert_int_equal(vht_blk_rw(&f, VH_BLK_READ, 0, data, 3 << 20), VHI_BLK_S_OK);
		for (uint32_t at = 0; at < 3 << 20; at++)
			if (data[at] != (at / 512 >= 1 && at / 512 < 5001 ? 0 : 0x33))
				fail_msg("byte %u is %#x", at, data[at]);
	}
	slow.allocate_error = EIO;
	assert_int_equal(vht_blk_range(&f, VH_BLK_WRITE_ZEROES, 0, 8, 0), VHI_BLK_S_IOERR);
	assert_int_equal(vht_blk_range(&f, VH_BLK_DISCARD, 0, 8, 0), VHI_BLK_S_IOERR);
	vht_blk_close(&f);
	close(fd);
}

static void a_driver_that_can_not_flush_gets_its_writes_to_the_disk(void **state)
{
	struct vht_blk f;
	int fd = disk();
	uint8_t *data;

	(void)state;
	open_file(&f, fd, VH_BLKDEV_NO_URING, 0);
	data = vht_blk_alloc(&f, 512);
	assert_int_equal(vht_blk_rw(&f, VH_BLK_WRITE, 0, data, 512), VHI_BLK_S_OK);
	assert_true(slow.writes && !slow.dirty);
	assert_int_equal(vht_blk_range(&f, VH_BLK_WRITE_ZEROES, 0, 8, 1), VHI_BLK_S_OK);
	assert_false(slow.dirty);
	assert_int_equal(f.dev->ops.set_features(f.dev->ctx, FLUSH, 0), 0);
	slow.syncs = 0;
	assert_int_equal(vht_blk_rw(&f, VH_BLK_WRITE, 0, data, 512), VHI_BLK_S_OK);
	assert_int_equal(slow.syncs, 0);
	assert_int_equal(vht_blk_rw(&f, VH_BLK_FLUSH, 0, NULL, 0), VHI_BLK_S_OK);
	assert_true(slow.syncs == 1 && !slow.dirty);
	assert_int_equal(f.dev->ops.reset(f.dev->ctx, 0), 0);
	assert_int_equal(vht_blk_rw(&f, VH_BLK_WRITE, 0, data, 512), VHI_BLK_S_OK);
	assert_false(slow.dirty);
	vht_blk_close(&f);
	close(fd);
}

/* Linux reports what it could not write once; that data is lost for good. */
static void a_sync_that_failed_makes_all_later_ones_fail(void **state)
{
	struct vht_blk f;
	int fd = disk();
	uint8_t *data;

	(void)state;
	for (int way = 0; way < 2; way++) {
		setup(NULL);
		open_file(&f, fd, way ? 0 : VH_BLKDEV_NO_URING, FLUSH);
		/* An operation that the ring does not take is run by the plain call. */
		slow.enter_error = ENOMEM;
		slow.enter_errors = way ? -1 : 0;
		data = vht_blk_alloc(&f, 512);
		slow.sync_error = EINTR;
		slow.sync_errors = 3;
		assert_int_equal(vht_blk_rw(&f, VH_BLK_FLUSH, 0, NULL, 0), VHI_BLK_S_OK);
		slow.sync_errors = 1000;
		assert_int_equal(vht_blk_rw(&f, VH_BLK_FLUSH, 0, NULL, 0), VHI_BLK_S_IOERR);
		slow.sync_errors = 0;
		assert_int_equal(vht_blk_rw(&f, VH_BLK_FLUSH, 0, NULL, 0), VHI_BLK_S_OK);
		assert_int_equal(f.failed, 1);
		slow.sync_error = ENOSPC;
		slow.sync_errors = 1;
		assert_int_equal(vht_blk_rw(&f, VH_BLK_FLUSH, 0, NULL, 0), VHI_BLK_S_IOERR);
		slow.enter_errors = 0;
		assert_int_equal(vht_blk_rw(&f, VH_BLK_FLUSH, 0, NULL, 0), VHI_BLK_S_IOERR);
		assert_true(f.failed == 3 && f.failed_rc == -ENOSPC);
		assert_int_equal(vht_blk_rw(&f, VH_BLK_WRITE, 0, data, 512), VHI_BLK_S_OK);
		assert_int_equal(f.dev->ops.set_features(f.dev->ctx, 0, 0), 0);
		assert_int_equal(vht_blk_rw(&f, VH_BLK_WRITE, 0, data, 512), VHI_BLK_S_IOERR);
		vht_blk_close(&f);
	}
	close(fd);
}

static void flush(struct vht_blk *f, uint32_t q, struct vht_blk_req *r)
{
	vht_blk_begin(f, r, VH_BLK_FLUSH, 0);
	vht_blk_wr(r, r->status, 1);
	vht_blk_submit(f, q, r, (uintptr_t)r);
	assert_int_equal(vht_blk_batch(f, q, 64), 0);
}

static void flushes_that_come_meanwhile_share_the_next_sync(void **state)
{
	struct vht_blk_req r[4];
	struct vht_blk f;
	int fd = disk();

	(void)state;
	open_file(&f, fd, 0, FLUSH);
	slow.hold = true;
	for (uint32_t i = 0; i < 4; i++)
		flush(&f, i / 2, &r[i]);
	assert_int_equal(slow.held, 1);
	release();
	slow.hold = true;
	assert_true(vht_blk_poll(&f, 5000));
	assert_int_equal(*r[0].status, VHI_BLK_S_OK);
	assert_int_equal(*r[1].status, 0xee);
	assert_int_equal(slow.held, 1);
	release();
	vht_blk_wait(&f, 0);
	vht_blk_wait(&f, 1);
	for (uint32_t i = 1; i < 4; i++)
		assert_int_equal(*r[i].status, VHI_BLK_S_OK);
	vht_blk_close(&f);
	close(fd);
}

/* The kernel tells one of those who ask at the same time, and the others that all is well. */
static void a_sync_that_fails_fails_all_that_asked_for_it(void **state)
{
	struct vht_blk_req r[3];
	struct vht_blk f;
	int fd = disk();

	(void)state;
	open_file(&f, fd, 0, FLUSH);
	slow.hold = true;
	for (uint32_t i = 0; i < 3; i++)
		flush(&f, i / 2, &r[i]);
	/* The second sync is not taken by the ring, so that the plain call can fail. */
	slow.sync_error = EIO;
	slow.sync_errors = 1;
	release();
	slow.enter_error = ENOMEM;
	slow.enter_errors = 1;
	vht_blk_wait(&f, 0);
	vht_blk_wait(&f, 1);
	assert_int_equal(*r[0].status, VHI_BLK_S_OK);
	assert_int_equal(*r[1].status, VHI_BLK_S_IOERR);
	assert_int_equal(*r[2].status, VHI_BLK_S_IOERR);
	assert_true(f.failed == 2 && f.failed_rc == -EIO);
	vht_blk_close(&f);
	close(fd);
}

static void a_flush_of_a_queue_that_stops_waits_for_nothing(void **state)
{
	struct vht_blk_req r[5];
	struct vht_blk f;
	int fd = disk();

	(void)state;
	open_file(&f, fd, 0, FLUSH);
	slow.hold = true;
	flush(&f, 0, &r[0]);
	flush(&f, 1, &r[1]);
	flush(&f, 0, &r[2]);
	vht_blk_abort(&f, 1);
	release();
	vht_blk_wait(&f, 0);
	assert_int_equal(*r[0].status, VHI_BLK_S_OK);
	vht_blk_wait(&f, 0);
	assert_int_equal(*r[1].status, 0xee);
	assert_int_equal(*r[2].status, VHI_BLK_S_OK);
	/* The queue of the sync itself: who waits for the next one gets it when this one is over. */
	vht_blk_start(&f, 1);
	slow.hold = true;
	flush(&f, 1, &r[3]);
	flush(&f, 0, &r[4]);
	vht_blk_abort(&f, 1);
	release();
	vht_blk_wait(&f, 0);
	assert_int_equal(*r[3].status, 0xee);
	assert_int_equal(*r[4].status, VHI_BLK_S_OK);
	vht_blk_close(&f);
	close(fd);
}

/* The same with io_uring: the write's result leads to a second operation, and only its result to the status. */
static void a_write_through_completes_after_its_sync(void **state)
{
	struct vht_blk_req r;
	struct vht_blk f;
	int fd = disk();
	uint8_t *data;

	(void)state;
	open_file(&f, fd, 0, 0);
	data = vht_blk_alloc(&f, 512);
	slow.hold = true;
	begin(&f, 0, &r, VH_BLK_WRITE, 0, data, 512);
	assert_int_equal(slow.held, 1);
	release();
	slow.hold = true;
	assert_true(vht_blk_poll(&f, 5000));
	assert_int_equal(slow.held, 1);
	assert_int_equal(*r.status, 0xee);
	release();
	vht_blk_wait(&f, 0);
	assert_int_equal(*r.status, VHI_BLK_S_OK);
	vht_blk_close(&f);
	close(fd);
}

/* On a real disk, where writes wait for threads of the kernel: no write of a connection that ended undoes a later one. */
static void aborts_at_any_moment_are_survived(void **state)
{
	enum { N = 48, ROUNDS = 120 };
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_FILE, .max_queues = 2};
	static struct vht_blk_req r[N];
	char path[] = "/tmp/vh-blk-XXXXXX";
	struct vht_blk f;
	int fd = mkstemp(path);
	uint8_t *data, got[N * 512];

	(void)state;
	unlink(path);
	assert_int_equal(ftruncate(fd, (off_t)CAPACITY), 0);
	vht_blk_open(&f, &o, fd, 256, FLUSH);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		data = vht_blk_alloc(&f, N * 512);
		memset(data, (int)(round | 0x80), N * 512);
		for (uint32_t i = 0; i < N; i++)
			begin(&f, 0, &r[i], round & 1 ? VH_BLK_READ : VH_BLK_WRITE, i, data + i * 512, 512);
		if (round % 5 == 0)
			vht_blk_poll(&f, 1);
		vht_blk_abort(&f, 0);
		vht_blk_start(&f, 0);
		data = vht_blk_alloc(&f, N * 512);
		memset(data, (int)(round & 0x7f), N * 512);
		for (uint32_t i = 0; i < N; i++)
			begin(&f, 0, &r[i], VH_BLK_WRITE, i, data + i * 512, 512);
		for (uint32_t i = 0; i < N; i++)
			vht_blk_wait(&f, 0);
		for (uint32_t i = 0; i < N; i++)
			assert_int_equal(*r[i].status, VHI_BLK_S_OK);
		assert_int_equal(pread(fd, got, sizeof(got), 0), (ssize_t)sizeof(got));
		assert_memory_equal(got, data, sizeof(got));
	}
	vht_blk_close(&f);
	close(fd);
}

static void more_requests_than_the_kernel_is_given_are_all_done(void **state)
{
	static struct vht_blk_req r[2][340];
	struct vht_blk f;
	int fd = disk();
	uint8_t *data;

	(void)state;
	open_file(&f, fd, 0, FLUSH);
	data = vht_blk_alloc(&f, 512);
	slow.hold = true;
	for (uint32_t i = 0; i < 680; i++)
		begin(&f, i & 1, &r[i & 1][i / 2], VH_BLK_READ, i, data, 512);
	assert_int_equal(reap_all(&f, 0) + reap_all(&f, 1), 0);
	release();
	for (uint32_t i = 0; i < 680; i++)
		vht_blk_wait(&f, i & 1);
	for (uint32_t i = 0; i < 680; i++)
		assert_int_equal(*r[i & 1][i / 2].status, VHI_BLK_S_OK);
	vht_blk_stop(&f, 0);
	vht_blk_stop(&f, 1);
	vht_blk_close(&f);
	close(fd);
}

#define TEST(t) cmocka_unit_test_setup(t, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_slow_disk_holds_up_nobody),
		TEST(a_header_changed_in_flight_has_no_effect),
		TEST(requests_of_an_aborted_queue_are_dropped_and_keep_their_memory),
		TEST(nothing_is_begun_before_the_last_connection_is_over),
		TEST(memory_outlives_the_guest_while_the_kernel_writes_to_it),
		TEST(a_device_that_is_freed_waits_for_what_is_in_flight),
		TEST(what_the_kernel_has_no_room_for_is_done_at_once),
		TEST(plain_calls_are_used_where_io_uring_is_refused),
		TEST(no_fd_left_for_a_ring_is_an_error),
		TEST(short_and_interrupted_calls_are_continued),
		TEST(zeroes_are_written_where_the_file_can_not_make_holes),
		TEST(a_driver_that_can_not_flush_gets_its_writes_to_the_disk),
		TEST(a_sync_that_failed_makes_all_later_ones_fail),
		TEST(flushes_that_come_meanwhile_share_the_next_sync),
		TEST(a_sync_that_fails_fails_all_that_asked_for_it),
		TEST(a_flush_of_a_queue_that_stops_waits_for_nothing),
		TEST(a_write_through_completes_after_its_sync),
		TEST(aborts_at_any_moment_are_survived),
		TEST(more_requests_than_the_kernel_is_given_are_all_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
