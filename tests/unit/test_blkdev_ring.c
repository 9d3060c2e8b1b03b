/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A file device and the io_uring that it shares with others: with a forked child, with a kernel that keeps what it was
 * given, with the other users of its thread. libc's syscall() and poll() are replaced here to look at what goes in.
 */
#include "vht_blk.h"

#include "vhi_blk_file.h"

#include <dlfcn.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK  (UINT64_C(64) << 20)
#define PIECE (UINT32_C(32) << 20)
#define FLUSH VHI_BIT(VH_BLK_F_FLUSH)

static struct {
	const struct vhi_uring *ring; /* to count what it is given */
	uint64_t bytes;
	bool hold;	/* operations are taken and not begun */
	unsigned held;	/* how many */
	bool full;	/* none is taken */
	int poll_error; /* 0 = none */
} kernel;

typedef long (*syscall_fn)(long, ...);

static syscall_fn real_syscall(void)
{
	static syscall_fn call;

	if (!call)
		*(void **)&call = dlsym(RTLD_NEXT, "syscall");
	return call;
}

static uint64_t bytes_of(const struct vhi_uring *r, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct io_uring_sqe *sqe = &r->sqes[(r->submitted + i) & r->sq_mask];
		const struct iovec *iov = (const struct iovec *)(uintptr_t)sqe->addr;

		if (sqe->opcode != IORING_OP_READV && sqe->opcode != IORING_OP_WRITEV)
			continue;
		for (uint32_t k = 0; k < sqe->len; k++)
			sum += iov[k].iov_len;
	}
	return sum;
}

long syscall(long number, ...)
{
	unsigned first, n;
	void *params;
	va_list ap;

	va_start(ap, number);
	first = va_arg(ap, unsigned);
	if (number == SYS_io_uring_setup) {
		params = va_arg(ap, void *);
		va_end(ap);
		return real_syscall()(number, first, params);
	}
	n = va_arg(ap, unsigned);
	va_end(ap);
	if (number == SYS_membarrier)
		return real_syscall()(number, first, n, 0);
	if (number != SYS_io_uring_enter)
		abort();
	if (kernel.full) {
		errno = ENOMEM;
		return -1;
	}
	if (kernel.ring)
		kernel.bytes += bytes_of(kernel.ring, n);
	if (kernel.hold) {
		kernel.held += n;
		return n;
	}
	/* While it is looked at, all is done when submit returns, as with what the page cache has. */
	if (kernel.ring)
		return real_syscall()(number, first, n, n, IORING_ENTER_GETEVENTS, NULL, 0);
	return real_syscall()(number, first, n, 0, 0, NULL, 0);
}

int poll(struct pollfd *fds, nfds_t n, int ms)
{
	static int (*call)(struct pollfd *, nfds_t, int);

	if (!call)
		*(void **)&call = dlsym(RTLD_NEXT, "poll");
	if (kernel.poll_error) {
		errno = kernel.poll_error;
		return -1;
	}
	return call(fds, n, ms);
}

static const struct vhi_file *file_of(const struct vht_blk *f)
{
	return ((const struct vhi_blk *)f->dev->ctx)->file;
}

static void release(const struct vht_blk *f)
{
	kernel.hold = false;
	while (kernel.held)
		kernel.held -= (unsigned)real_syscall()(SYS_io_uring_enter, file_of(f)->ring.fd, kernel.held, 0, 0,
							NULL, 0);
}

static void open_file(struct vht_blk *f, int *fd)
{
	struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_FILE};

	memset(&kernel, 0, sizeof(kernel));
	*fd = memfd_create("disk", MFD_CLOEXEC);
	assert_true(*fd >= 0);
	assert_int_equal(ftruncate(*fd, (off_t)DISK), 0);
	vht_blk_open(f, &o, *fd, 256, FLUSH);
	assert_true(file_of(f)->async);
}

static void submit_read(struct vht_blk *f, struct vht_blk_req *r, void *data, uint64_t len)
{
	vht_blk_begin(f, r, VH_BLK_READ, 0);
	vht_blk_wr(r, data, len);
	vht_blk_wr(r, r->status, 1);
	vht_blk_submit(f, 0, r, (uintptr_t)r);
}

static void child(struct vht_blk *f)
{
	alarm(5);
	if (f->dev->ops.poll_fd(f->dev->ctx) != -1)
		_exit(1);
	f->dev->ops.on_poll(f->dev->ctx);
	vhi_device_detach(f->dev);
	vh_device_free(f->dev);
	_exit(7);
}

static void a_child_that_frees_the_device_leaves_the_parents_requests_alone(void **state)
{
	static struct vht_blk_req r[8];
	struct vht_blk f;
	uint8_t *data;
	int fd, status;

	(void)state;
	open_file(&f, &fd);
	data = vht_blk_alloc(&f, 4096);
	/* Once with results that lie in the ring, once with operations that the kernel has not begun. */
	for (int begun = 0; begun < 2; begun++) {
		pid_t pid;

		kernel.hold = true;
		for (int i = 0; i < 8; i++)
			submit_read(&f, &r[i], data, 512);
		assert_int_equal(vht_blk_batch(&f, 0, 64), 0);
		assert_int_equal(kernel.held, 8);
		if (begun)
			release(&f);
		pid = fork();
		assert_true(pid >= 0);
		if (!pid)
			child(&f);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		for (int i = 0; i < 8; i++)
			assert_int_equal(*r[i].status, 0xee);
		release(&f);
		for (int i = 0; i < 8; i++)
			vht_blk_wait(&f, 0);
		for (int i = 0; i < 8; i++)
			assert_int_equal(*r[i].status, VHI_BLK_S_OK);
		assert_int_equal(status, 7 << 8);
	}
	vht_blk_close(&f);
	close(fd);
}

static void zeroes_that_the_kernel_still_reads_stay_mapped(void **state)
{
	struct vht_blk f;
	struct vh_snapshot *snap;
	struct vht_blk_req r;
	uint32_t idle;
	char *zeroes;
	int fd;

	(void)state;
	for (int busy = 0; busy < 2; busy++) {
		open_file(&f, &fd);
		snap = vhi_mem_snapshot(f.mem);
		idle = snap->refs;
		zeroes = file_of(&f)->zeroes;
		kernel.hold = busy;
		submit_read(&f, &r, vht_blk_alloc(&f, 512), 512);
		assert_int_equal(vht_blk_batch(&f, 0, 64), 0);
		kernel.poll_error = ENOMEM; /* the wait for it ends early */
		vht_blk_close(&f);
		kernel.poll_error = 0;
		assert_int_equal(msync(zeroes, VHI_FILE_ZEROES, MS_ASYNC), busy ? 0 : -1);
		/* Left by the device on purpose. */
		if (busy) {
			munmap(zeroes, VHI_FILE_ZEROES);
			assert_true(snap->refs > 1 && snap->refs <= idle);
			vhi_snapshot_put(snap);
		}
		vhi_snapshot_put(snap);
		close(fd);
	}
}

static void begin_flush(struct vht_blk *f, struct vht_blk_req *r)
{
	vht_blk_begin(f, r, VH_BLK_FLUSH, 0);
	vht_blk_wr(r, r->status, 1);
	vht_blk_submit(f, 0, r, 1);
	assert_int_equal(vht_blk_batch(f, 0, 64), 0);
}

/* What the kernel says of the one operation that it has. */
static void result_is(const struct vht_blk *f, int32_t res)
{
	const struct vhi_uring *ring = &file_of(f)->ring;
	struct pollfd p = {.fd = ring->fd, .events = POLLIN};

	release(f);
	assert_int_equal(poll(&p, 1, 5000), 1);
	ring->cqes[*ring->cq_head & ring->cq_mask].res = res;
}

/* Linux tells of it once, be it in the answer to a request that nobody waits for any more. */
static void lost_data_is_remembered_also_beyond_the_connection(void **state)
{
	struct vht_blk_req r;
	struct vht_blk f;
	int fd;

	(void)state;
	for (int aborted = 0; aborted < 2; aborted++) {
		open_file(&f, &fd);
		kernel.hold = true;
		begin_flush(&f, &r);
		result_is(&f, -ECANCELED);
		kernel.hold = true;
		assert_true(vht_blk_poll(&f, 5000));
		assert_int_equal(kernel.held, 1);
		assert_int_equal(*r.status, 0xee);
		if (aborted)
			vht_blk_abort(&f, 0);
		result_is(&f, -EIO);
		assert_true(vht_blk_poll(&f, 5000));
		assert_int_equal(*r.status, aborted ? 0xee : VHI_BLK_S_IOERR);
		if (aborted)
			vht_blk_start(&f, 0);
		else
			vht_blk_wait(&f, 0);
		assert_int_equal(vht_blk_rw(&f, VH_BLK_FLUSH, 0, NULL, 0), VHI_BLK_S_IOERR);
		assert_int_equal(f.failed_rc, -EIO);
		vht_blk_close(&f);
		close(fd);
	}
}

/* One call of the slave's. */
static int bounded(struct vht_blk *f, bool batch)
{
	int rc = 0;

	kernel.ring = &file_of(f)->ring;
	kernel.bytes = 0;
	if (batch)
		rc = vht_blk_batch(f, 0, 64);
	else
		assert_true(vht_blk_poll(f, 5000));
	assert_true(kernel.bytes < VHI_BLK_BATCH_BYTES + (UINT64_C(16) << 20));
	return rc;
}

static void wait_for(struct vht_blk *f, struct vht_blk_req *r, uint32_t n)
{
	struct vh_cpl cpl;

	for (uint32_t done = 0; done < n;) {
		int got = vh_queue_reap(f->driver[0], &cpl, 1);

		assert_true(got >= 0);
		done += (uint32_t)got;
		if (!got)
			bounded(f, false);
	}
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(*r[i].status, VHI_BLK_S_OK);
}

static void one_call_moves_no_more_than_a_batch(void **state)
{
	static struct vht_blk_req r[80];
	struct vht_blk f;
	uint8_t *data;
	int fd, rc;

	(void)state;
	open_file(&f, &fd);
	data = vht_blk_alloc(&f, PIECE);
	for (uint32_t i = 0; i < 24; i++)
		submit_read(&f, &r[i], data, PIECE);
	assert_true(bounded(&f, true) > 0);
	do
		rc = bounded(&f, true);
	while (rc > 0);
	assert_int_equal(rc, 0);
	/* From here on only the fd says that there is more to do. */
	wait_for(&f, r, 24);
	vht_blk_close(&f);
	close(fd);
}

static void one_large_request_is_moved_in_several_calls(void **state)
{
	struct vht_blk_req r;
	struct vht_blk f;
	uint8_t *data;
	int fd;

	(void)state;
	open_file(&f, &fd);
	assert_int_equal(ftruncate(fd, (off_t)(8 * PIECE)), 0);
	data = vht_blk_alloc(&f, PIECE);
	vht_blk_close(&f);
	memset(&kernel, 0, sizeof(kernel));
	vht_blk_open(&f, &(struct vh_blkdev_opts){.size = sizeof(struct vh_blkdev_opts), .kind = VH_BLKDEV_FILE}, fd,
		     256, FLUSH);
	data = vht_blk_alloc(&f, PIECE);
	vht_blk_begin(&f, &r, VH_BLK_READ, 0);
	for (int i = 0; i < 8; i++)
		vht_blk_wr(&r, data, PIECE);
	vht_blk_wr(&r, r.status, 1);
	vht_blk_submit(&f, 0, &r, 1);
	while (bounded(&f, true) > 0)
		continue;
	assert_int_equal(*r.status, 0xee);
	wait_for(&f, &r, 1);
	vht_blk_close(&f);
	close(fd);
}

static void what_waited_for_an_ended_connection_is_begun_bit_by_bit(void **state)
{
	static struct vht_blk_req old, r[64];
	struct vht_blk f;
	uint8_t *data;
	int fd, rc;

	(void)state;
	open_file(&f, &fd);
	data = vht_blk_alloc(&f, PIECE);
	kernel.hold = true;
	submit_read(&f, &old, data, 512);
	assert_int_equal(vht_blk_batch(&f, 0, 64), 0);
	vht_blk_abort(&f, 0);
	vht_blk_start(&f, 0);
	for (uint32_t i = 0; i < 24; i++)
		submit_read(&f, &r[i], data, PIECE);
	do
		rc = bounded(&f, true);
	while (rc > 0);
	assert_int_equal(rc, 0);
	assert_int_equal(kernel.held, 1);
	for (uint32_t i = 24; i < 64; i++)
		submit_read(&f, &r[i], data, 512);
	release(&f);
	assert_int_equal(bounded(&f, true), 0);
	wait_for(&f, r, 64);
	vht_blk_close(&f);
	close(fd);
}

/* Nothing is in the kernel that would lead to another call. */
static void what_the_kernel_does_not_take_is_done_however_much_it_is(void **state)
{
	static struct vht_blk_req r[24];
	struct vht_blk f;
	uint8_t *data;
	int fd;

	(void)state;
	open_file(&f, &fd);
	data = vht_blk_alloc(&f, PIECE);
	kernel.hold = true;
	submit_read(&f, &r[0], data, 512);
	assert_int_equal(vht_blk_batch(&f, 0, 64), 0);
	vht_blk_abort(&f, 0);
	vht_blk_start(&f, 0);
	for (uint32_t i = 0; i < 12; i++)
		submit_read(&f, &r[i], data, PIECE);
	while (vht_blk_batch(&f, 0, 64) > 0)
		continue;
	release(&f);
	kernel.full = true;
	wait_for(&f, r, 12);
	vht_blk_close(&f);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_that_frees_the_device_leaves_the_parents_requests_alone),
		cmocka_unit_test(zeroes_that_the_kernel_still_reads_stay_mapped),
		cmocka_unit_test(lost_data_is_remembered_also_beyond_the_connection),
		cmocka_unit_test(one_call_moves_no_more_than_a_batch),
		cmocka_unit_test(one_large_request_is_moved_in_several_calls),
		cmocka_unit_test(what_waited_for_an_ended_connection_is_begun_bit_by_bit),
		cmocka_unit_test(what_the_kernel_does_not_take_is_done_however_much_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
