/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * File I/O. A request is a row of steps (write, then fdatasync; or punch a hole, or where that is refused write
 * zeroes); each step is one or more operations, because the kernel may do less than it was asked for. With io_uring
 * an operation is prepared here and its result comes later; without, it is run at once: the steps are the same.
 */
#include "vhi_blk_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#define MAX_TRIES 64

#define CANCELLED UINT64_MAX /* what the result of a cancellation says */
#define SETTLE_MS 10000

enum step { STEP_READ, STEP_WRITE, STEP_SYNC, STEP_DISCARD, STEP_UNMAP, STEP_ZERO, STEP_FILL, STEP_DONE };

static const struct step_info {
	uint8_t code;	   /* enum vhi_file_code */
	bool guest;	   /* reads or writes guest memory */
	bool bytes;	   /* the result counts bytes */
	bool changes;	   /* the file: fdatasync after it, for a driver that can't flush */
	uint8_t otherwise; /* the step to take when the file can't do this one */
	int mode;	   /* of fallocate */
} steps[] = {
	[STEP_READ] = {.code = VHI_FILE_READ, .guest = true, .bytes = true},
	[STEP_WRITE] = {.code = VHI_FILE_WRITE, .guest = true, .bytes = true, .changes = true},
	[STEP_SYNC] = {.code = VHI_FILE_SYNC},
	[STEP_DISCARD] = {.code = VHI_FILE_ALLOCATE,
			  .changes = true,
			  .otherwise = STEP_DONE, /* a hint */
			  .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE},
	[STEP_UNMAP] = {.code = VHI_FILE_ALLOCATE,
			.changes = true,
			.otherwise = STEP_FILL,
			.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE},
	[STEP_ZERO] = {.code = VHI_FILE_ALLOCATE,
		       .changes = true,
		       .otherwise = STEP_FILL,
		       .mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE},
	[STEP_FILL] = {.code = VHI_FILE_WRITE, .bytes = true, .changes = true},
};

static const uint8_t first_step[VHI_OP_COUNT] = {
	[VHI_OP_READ] = STEP_READ,	 [VHI_OP_WRITE] = STEP_WRITE, [VHI_OP_FLUSH] = STEP_SYNC,
	[VHI_OP_DISCARD] = STEP_DISCARD, [VHI_OP_ZERO] = STEP_ZERO,   [VHI_OP_UNMAP] = STEP_UNMAP,
};

static uint32_t fill_iov(const struct vhi_file *f, uint64_t len, struct iovec *iov)
{
	uint32_t n = 0;

	/* 16 times 64 KiB: what other requests wait behind stays short. */
	while (len && n < 16) {
		iov[n].iov_base = f->zeroes;
		iov[n].iov_len = (size_t)VHI_MIN(len, (uint64_t)VHI_FILE_ZEROES);
		len -= iov[n++].iov_len;
	}
	return n;
}

static void build_op(const struct vhi_file *f, const struct vhi_file_slot *s, struct iovec *iov, struct vhi_file_op *op)
{
	const struct step_info *info = &steps[s->step];
	uint64_t len = VHI_MIN(s->io.len, (uint64_t)VHI_FILE_OP_BYTES);

	*op = (struct vhi_file_op){.code = info->code, .fd = f->fd, .iov = iov};
	if (info->code == VHI_FILE_SYNC)
		return; /* the whole file */
	op->off = s->io.offset;
	op->len = s->io.len;
	op->mode = info->mode;
	if (info->guest)
		op->n_iov = vhi_cursor_iov(&s->io.data, len, iov, VHI_FILE_IOVS);
	else if (info->bytes)
		op->n_iov = fill_iov(f, len, iov);
}

static enum vhi_blk_status guest_gone(const struct vhi_file_slot *s)
{
	struct vhi_cursor c = s->io.data;
	uint8_t VHI_SHM *piece = NULL;

	vhi_cursor_next(&c, 1, &piece);
	vhi_snapshot_mark_broken(s->snap, VHI_SHM_RAW(const void, piece));
	return VHI_BLK_GONE;
}

/* The file's fault, not the driver's. */
static enum vhi_blk_status file_failed(const struct vhi_blk *b, const struct vhi_file_slot *s, int32_t rc)
{
	vh_device_error(b->dev, s->io.queue, rc);
	return VHI_BLK_IOERR;
}

/* A signal, a thread that ended with its operations under way: nothing is wrong with the request. */
static bool passes(int32_t res)
{
	return res == -EINTR || res == -EAGAIN || res == -ECANCELED;
}

static int32_t sync_result(struct vhi_file *f, const struct vhi_file_slot *s, int32_t res)
{
	if (s->step != STEP_SYNC)
		return res;
	if (res < 0 && !passes(res) && !f->sync_rc)
		f->sync_rc = res;
	return res < 0 ? res : f->sync_rc;
}

static enum vhi_blk_status step_failed(const struct vhi_blk *b, struct vhi_file_slot *s, int32_t res)
{
	const struct step_info *info = &steps[s->step];

	if (passes(res) && ++s->tries < MAX_TRIES)
		return VHI_BLK_PENDING;
	if (VHI_REFUSE(VHI_SITE_BLK_FAULT, info->guest && res == -EFAULT))
		return guest_gone(s);
	if (!info->otherwise || (res != -EOPNOTSUPP && res != -ENOSYS && res != -EINVAL && res != -ENODEV))
		return file_failed(b, s, res);
	s->step = info->otherwise;
	return s->step == STEP_DONE ? VHI_BLK_OK : VHI_BLK_PENDING;
}

/* Take the result of an operation: PENDING when there is another one to do. */
static enum vhi_blk_status advance(const struct vhi_blk *b, struct vhi_file_slot *s, int32_t res)
{
	const struct step_info *info = &steps[s->step];

	if (res < 0)
		return step_failed(b, s, res);
	s->tries = 0;
	if (info->bytes) {
		if (!res)
			return file_failed(b, s, -EIO); /* the file ends here: it was made shorter */
		if (info->guest)
			vhi_cursor_skip(&s->io.data, (uint64_t)res);
		s->io.offset += (uint64_t)res;
		s->io.len -= (uint64_t)res;
		if (s->io.len)
			return VHI_BLK_PENDING;
	}
	if (info->changes && b->write_through) {
		s->step = STEP_SYNC;
		return VHI_BLK_PENDING;
	}
	return VHI_BLK_OK;
}

static enum vhi_blk_status run_here(const struct vhi_blk *b, struct vhi_file_slot *s)
{
	struct iovec iov[VHI_FILE_IOVS];
	struct vhi_file_op op;
	enum vhi_blk_status status;

	do {
		build_op(b->file, s, iov, &op);
		status = advance(b, s, sync_result(b->file, s, vhi_file_run(&op)));
	} while (status == VHI_BLK_PENDING);
	return status;
}

static struct vhi_file_slot *slot_get(struct vhi_file *f)
{
	struct vhi_file_slot *s;

	if (!f->free)
		return f->used_slots < f->n_slots ? &f->slots[f->used_slots++] : NULL;
	s = &f->slots[f->free - 1];
	f->free = s->next;
	return s;
}

static void slot_put(struct vhi_file *f, struct vhi_file_slot *s)
{
	vhi_snapshot_put(s->snap);
	s->snap = NULL;
	s->next = f->free;
	f->free = (uint32_t)(s - f->slots) + 1;
}

static void wait_add(struct vhi_file *f, enum vhi_file_wait which, struct vhi_file_slot *s)
{
	struct vhi_file_list *l = &f->waits[which];
	uint32_t at = (uint32_t)(s - f->slots) + 1;

	s->next = 0;
	if (l->last)
		f->slots[l->last - 1].next = at;
	else
		l->first = at;
	l->last = at;
}

/* NULL when there is none. */
static struct vhi_file_slot *wait_take(struct vhi_file *f, enum vhi_file_wait which)
{
	struct vhi_file_list *l = &f->waits[which];
	struct vhi_file_slot *s;

	if (!l->first)
		return NULL;
	s = &f->slots[l->first - 1];
	l->first = s->next;
	if (!l->first)
		l->last = 0;
	return s;
}

enum vhi_blk_status vhi_file_start(struct vhi_blk *b, struct vhi_blk_io *io, struct vhi_blk_out *out)
{
	struct vhi_blk_queue *queue = &b->queues[io->queue];
	struct vhi_file_slot here = {.io = *io, .snap = vhi_queue_snapshot(queue->q), .step = first_step[io->op]};
	struct vhi_file_slot *s;

	(void)out;
	here.life = queue->life;
	if (!b->file->async)
		return run_here(b, &here);
	s = slot_get(b->file);
	if (!s)
		return VHI_BLK_IOERR; /* a ring larger than was offered */
	*s = here;
	vhi_snapshot_get(s->snap);
	wait_add(b->file, VHI_FILE_PENDING, s);
	return VHI_BLK_PENDING;
}

static void kernel_has(struct vhi_blk *b, struct vhi_file_slot *s)
{
	s->in_kernel = true;
	b->file->in_kernel++;
	b->queues[s->io.queue].in_kernel++;
}

/* False when nobody waits for it any more. */
static bool kernel_is_done(struct vhi_blk *b, struct vhi_file_slot *s)
{
	struct vhi_blk_queue *queue = &b->queues[s->io.queue];

	s->in_kernel = false;
	b->file->in_kernel--;
	if (s->life == queue->life) {
		queue->in_kernel--;
		return true;
	}
	b->file->orphans--;
	return false;
}

static void slot_end(struct vhi_blk *b, struct vhi_file_slot *s, enum vhi_blk_status status, struct vhi_blk_out *out)
{
	vhi_blk_finish(out, b->queues[s->io.queue].q, &s->io, status);
	slot_put(b->file, s);
}

/* Enough for one call; with something in the kernel, whose result leads to the next. */
static bool enough(const struct vhi_file *f, const struct vhi_blk_out *out)
{
	return out->begun >= VHI_BLK_BATCH_BYTES && f->in_kernel;
}

static bool may_begin(const struct vhi_file *f, const struct vhi_blk_out *out)
{
	return f->waits[VHI_FILE_PENDING].first && !f->orphans && f->in_kernel < VHI_FILE_IN_KERNEL && !enough(f, out);
}

/* What comes next, unless it has to wait for a sync: those that do go together. */
static struct vhi_file_slot *next_to_begin(struct vhi_file *f)
{
	struct vhi_file_slot *s = wait_take(f, VHI_FILE_PENDING);

	if (s->step != STEP_SYNC)
		return s;
	if (f->syncing) {
		wait_add(f, VHI_FILE_SYNCS, s);
		return NULL;
	}
	f->syncing = true;
	f->waits[VHI_FILE_RIDERS] = f->waits[VHI_FILE_SYNCS];
	f->waits[VHI_FILE_SYNCS] = (struct vhi_file_list){0};
	return s;
}

/* One step of a request has its result. */
static void step_end(struct vhi_blk *b, struct vhi_file_slot *s, int32_t res, struct vhi_blk_out *out)
{
	enum vhi_blk_status status = advance(b, s, res);

	if (status == VHI_BLK_PENDING)
		wait_add(b->file, VHI_FILE_PENDING, s);
	else
		slot_end(b, s, status, out);
}

/* The sync that the kernel had has this result, for the riders too; the next one may begin. */
static void sync_end(struct vhi_blk *b, int32_t res, struct vhi_blk_out *out)
{
	struct vhi_file *f = b->file;
	struct vhi_file_slot *s;

	f->syncing = false;
	while ((s = wait_take(f, VHI_FILE_RIDERS)))
		step_end(b, s, res, out);
	s = wait_take(f, VHI_FILE_SYNCS);
	if (s)
		wait_add(f, VHI_FILE_PENDING, s);
}

static void prepare_pending(struct vhi_blk *b, struct vhi_blk_out *out)
{
	struct vhi_file *f = b->file;
	struct vhi_file_op op;
	struct iovec *iov;

	while (may_begin(f, out) && (iov = vhi_uring_room(&f->ring))) {
		struct vhi_file_slot *s = next_to_begin(f);

		if (!s)
			continue;
		build_op(f, s, iov, &op);
		for (uint32_t i = 0; i < op.n_iov; i++)
			out->begun += iov[i].iov_len;
		vhi_uring_prepare(&f->ring, &op, (uint64_t)(s - f->slots));
		kernel_has(b, s);
	}
}

/* What the kernel did not take is run by plain calls, to its end. */
static void run_refused(struct vhi_blk *b, struct vhi_file_slot *s, struct vhi_blk_out *out)
{
	bool sync = s->step == STEP_SYNC;
	enum vhi_blk_status status = run_here(b, s);

	/* A failure that is not the file's was the leader's alone; those who rode with it try again by themselves. */
	if (sync)
		sync_end(b, status == VHI_BLK_OK ? 0 : b->file->sync_rc ? b->file->sync_rc : -EINTR, out);
	slot_end(b, s, status, out);
}

static void submit_pending(struct vhi_blk *b, struct vhi_blk_out *out)
{
	struct vhi_uring *r = &b->file->ring;
	uint64_t data;

	for (prepare_pending(b, out); r->submitted != r->tail; prepare_pending(b, out)) {
		vhi_uring_submit(r);
		/* What the kernel does not take, for want of memory, must not wait for something that never comes. */
		while (vhi_uring_take_back(r, &data)) {
			struct vhi_file_slot *s = &b->file->slots[data];

			kernel_is_done(b, s);
			run_refused(b, s, out);
		}
	}
}

static bool reap(struct vhi_blk *b, struct vhi_blk_out *out)
{
	struct vhi_file *f = b->file;
	uint64_t data;
	int32_t res;
	bool any = false;

	while (vhi_uring_next(&f->ring, &data, &res)) {
		struct vhi_file_slot *s;

		any = true;
		if (data == CANCELLED)
			continue;
		s = &f->slots[data];
		res = sync_result(f, s, res);
		if (s->step == STEP_SYNC)
			sync_end(b, res, out);
		if (kernel_is_done(b, s))
			step_end(b, s, res, out);
		else
			slot_put(f, s);
	}
	return any;
}

void vhi_file_pump(struct vhi_blk *b, struct vhi_blk_out *out)
{
	struct vhi_file *f = b->file;

	if (!f->async || f->pid != getpid() || enough(f, out))
		return;
	reap(b, out);
	/*
	 * What the page cache has is done when submit returns; so is the end of the last orphan. When that was
	 * enough, the results stay where they are and keep the fd readable.
	 */
	do
		submit_pending(b, out);
	while (!enough(f, out) && reap(b, out));
}

void vhi_file_queue_stopped(struct vhi_blk *b, uint32_t index)
{
	struct vhi_file *f = b->file;

	f->orphans += b->queues[index].in_kernel;
	b->queues[index].in_kernel = 0;
	for (int which = 0; which < VHI_FILE_WAITS; which++) {
		uint32_t at = f->waits[which].first;

		f->waits[which] = (struct vhi_file_list){0};
		while (at) {
			struct vhi_file_slot *s = &f->slots[at - 1];

			at = s->next;
			if (s->io.queue == index)
				slot_put(f, s);
			else
				wait_add(f, which, s);
		}
	}
}

/* Those that wait for a worker of the kernel go at once; one that is at the disk goes when the disk answers. */
static void cancel_all(struct vhi_blk *b, struct vhi_blk_out *out)
{
	struct vhi_file *f = b->file;
	uint64_t data;

	for (uint32_t i = 0; i < f->used_slots; i++) {
		struct vhi_file_op op = {.code = VHI_FILE_CANCEL, .fd = -1, .target = i};

		if (!f->slots[i].in_kernel)
			continue;
		if (!vhi_uring_room(&f->ring)) {
			vhi_uring_submit(&f->ring);
			reap(b, out);
		}
		if (!vhi_uring_room(&f->ring))
			break;
		vhi_uring_prepare(&f->ring, &op, CANCELLED);
	}
	vhi_uring_submit(&f->ring);
	while (vhi_uring_take_back(&f->ring, &data))
		continue;
}

/*
 * Closing the ring would not do: the kernel goes on in the background, and would put what it reads to wherever the
 * addresses point by then. So this waits, for as long as a disk that works may take; when that is over, the snapshots
 * are not given back and the guest memory stays mapped. A leak, where the alternative is somebody else's memory.
 */
void vhi_file_settle(struct vhi_blk *b)
{
	struct vhi_file *f = b->file;
	struct vhi_blk_out out = {0};
	uint64_t end = vhi_now_ns() + SETTLE_MS * UINT64_C(1000000);

	for (uint32_t i = 0; i < b->opts.max_queues; i++) {
		b->queues[i].life++;
		vhi_file_queue_stopped(b, i);
	}
	if (f->in_kernel)
		cancel_all(b, &out);
	while (reap(b, &out) || f->in_kernel) {
		uint64_t now = vhi_now_ns();

		if (!f->in_kernel)
			continue;
		if (now >= end || vhi_uring_wait(&f->ring, (int)((end - now) / 1000000 + 1)))
			break;
	}
}
