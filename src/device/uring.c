/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* io_uring by hand; see vhi_uring.h. */
#include "vhi_uring.h"

#include <linux/io_uring.h>
#include <sys/mman.h>

/* Features that came with what is used: one mapping (5.4), no lost results and iovecs that are read at submit (5.5);
 * fallocate came in 5.6 and has no mark, fast poll in 5.7. */
#define NEEDED (IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL)

#define PROBE UINT64_MAX

static void *ring_map(int fd, size_t len, uint64_t where)
{
	void *p = vhi_sys.mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)where);

	return p == MAP_FAILED ? NULL : p;
}

static int ring_setup(struct vhi_uring *r, const struct io_uring_params *p)
{
	size_t sq_end = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	size_t cq_end = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	uint32_t *array;
	char *map;

	r->map_len = VHI_MAX(sq_end, cq_end);
	r->sqes_len = p->sq_entries * sizeof(struct io_uring_sqe);
	r->map = ring_map(r->fd, r->map_len, IORING_OFF_SQ_RING);
	r->sqes = ring_map(r->fd, r->sqes_len, IORING_OFF_SQES);
	r->iovs = vhi_calloc(p->sq_entries * (size_t)VHI_FILE_IOVS, sizeof(struct iovec));
	if (!r->map || !r->sqes || !r->iovs)
		return -ENOMEM;
	map = r->map;
	r->sq_head = (uint32_t *)(void *)(map + p->sq_off.head);
	r->sq_tail = (uint32_t *)(void *)(map + p->sq_off.tail);
	r->sq_mask = *(uint32_t *)(void *)(map + p->sq_off.ring_mask);
	r->sq_entries = p->sq_entries;
	r->cq_head = (uint32_t *)(void *)(map + p->cq_off.head);
	r->cq_tail = (uint32_t *)(void *)(map + p->cq_off.tail);
	r->cq_mask = *(uint32_t *)(void *)(map + p->cq_off.ring_mask);
	r->cqes = (struct io_uring_cqe *)(void *)(map + p->cq_off.cqes);
	array = (uint32_t *)(void *)(map + p->sq_off.array);
	for (uint32_t i = 0; i < p->sq_entries; i++)
		array[i] = i;
	r->tail = r->submitted = *r->sq_tail;
	return 0;
}

/* A filter may let the ring be made but not be used. */
static int ring_probe(struct vhi_uring *r)
{
	struct io_uring_sqe *sqe = &r->sqes[r->tail & r->sq_mask];
	uint64_t data;
	int32_t res;

	*sqe = (struct io_uring_sqe){.opcode = IORING_OP_NOP, .user_data = PROBE};
	r->tail++;
	vhi_uring_submit(r);
	if (vhi_uring_take_back(r, &data))
		return -EPERM;
	if (!vhi_uring_next(r, &data, &res) || data != PROBE || res)
		return -EIO;
	return 0;
}

int vhi_uring_open(struct vhi_uring *r, uint32_t entries, uint32_t depth)
{
	struct io_uring_params p = {0};
	int rc;

	memset(r, 0, sizeof(*r));
	p.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
	p.cq_entries = depth;
	r->fd = vhi_sys.io_uring_setup(entries, &p);
	if (r->fd < 0) {
		r->fd = -1;
		return -errno;
	}
	r->depth = depth;
	if ((p.features & NEEDED) != NEEDED || p.cq_entries < depth)
		return -ENOSYS;
	rc = ring_setup(r, &p);
	return rc ? rc : ring_probe(r);
}

void vhi_uring_close(struct vhi_uring *r)
{
	if (r->sqes)
		vhi_sys.munmap(r->sqes, r->sqes_len);
	if (r->map)
		vhi_sys.munmap(r->map, r->map_len);
	vhi_free(r->iovs);
	vhi_fd_close(&r->fd);
	memset(r, 0, sizeof(*r));
	r->fd = -1;
}

struct iovec *vhi_uring_room(struct vhi_uring *r)
{
	if (r->tail - __atomic_load_n(r->sq_head, __ATOMIC_ACQUIRE) >= r->sq_entries)
		return NULL;
	return &r->iovs[(size_t)(r->tail & r->sq_mask) * VHI_FILE_IOVS];
}

void vhi_uring_prepare(struct vhi_uring *r, const struct vhi_file_op *op, uint64_t data)
{
	static const uint8_t opcodes[] = {
		[VHI_FILE_READ] = IORING_OP_READV,	    [VHI_FILE_WRITE] = IORING_OP_WRITEV,
		[VHI_FILE_SYNC] = IORING_OP_FSYNC,	    [VHI_FILE_ALLOCATE] = IORING_OP_FALLOCATE,
		[VHI_FILE_CANCEL] = IORING_OP_ASYNC_CANCEL,
	};
	struct io_uring_sqe *sqe = &r->sqes[r->tail & r->sq_mask];

	*sqe = (struct io_uring_sqe){.opcode = opcodes[op->code], .fd = op->fd, .off = op->off, .user_data = data};
	if (op->code == VHI_FILE_SYNC)
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
	if (op->code == VHI_FILE_CANCEL)
		sqe->addr = op->target;
	if (op->code == VHI_FILE_ALLOCATE) {
		sqe->addr = op->len;
		sqe->len = (uint32_t)op->mode;
	}
	if (op->n_iov) {
		sqe->addr = (uintptr_t)op->iov;
		sqe->len = op->n_iov;
	}
	r->tail++;
}

void vhi_uring_submit(struct vhi_uring *r)
{
	__atomic_store_n(r->sq_tail, r->tail, __ATOMIC_RELEASE);
	while (r->submitted != r->tail) {
		int n = vhi_sys.io_uring_enter(r->fd, r->tail - r->submitted, 0, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		r->submitted += (uint32_t)n;
	}
}

bool vhi_uring_take_back(struct vhi_uring *r, uint64_t *data)
{
	if (r->submitted == r->tail)
		return false;
	r->tail--;
	*data = r->sqes[r->tail & r->sq_mask].user_data;
	/* The kernel reads the tail only inside of enter, so it can go back. */
	__atomic_store_n(r->sq_tail, r->tail, __ATOMIC_RELEASE);
	return true;
}

bool vhi_uring_next(struct vhi_uring *r, uint64_t *data, int32_t *res)
{
	uint32_t head = *r->cq_head;
	const struct io_uring_cqe *cqe;

	if (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE))
		return false;
	cqe = &r->cqes[head & r->cq_mask];
	*data = cqe->user_data;
	*res = cqe->res;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return true;
}

int vhi_uring_wait(struct vhi_uring *r, int timeout_ms)
{
	struct pollfd p = {.fd = r->fd, .events = POLLIN};
	int n;

	do
		n = vhi_sys.poll(&p, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

static ssize_t run_read(const struct vhi_file_op *op)
{
	return vhi_sys.preadv(op->fd, op->iov, (int)op->n_iov, (off_t)op->off);
}

static ssize_t run_write(const struct vhi_file_op *op)
{
	return vhi_sys.pwritev(op->fd, op->iov, (int)op->n_iov, (off_t)op->off);
}

static ssize_t run_sync(const struct vhi_file_op *op)
{
	return vhi_sys.fdatasync(op->fd);
}

static ssize_t run_allocate(const struct vhi_file_op *op)
{
	return vhi_sys.fallocate(op->fd, op->mode, (off_t)op->off, (off_t)op->len);
}

int32_t vhi_file_run(const struct vhi_file_op *op)
{
	static ssize_t (*const run[])(const struct vhi_file_op *op) = {
		[VHI_FILE_READ] = run_read,
		[VHI_FILE_WRITE] = run_write,
		[VHI_FILE_SYNC] = run_sync,
		[VHI_FILE_ALLOCATE] = run_allocate,
	};
	ssize_t n = run[op->code](op);

	return n < 0 ? -errno : (int32_t)n; /* an operation has at most 1 GiB */
}
