/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Block devices that are done at once: null, which moves nothing, and ram. */
#include "vhi_blk.h"

#include <sys/mman.h>
#include <unistd.h>

static int null_open(struct vhi_blk *b, int fd)
{
	(void)b;
	(void)fd;
	return 0;
}

static void null_close(struct vhi_blk *b)
{
	(void)b;
}

static enum vhi_blk_status null_run(struct vhi_blk *b, struct vhi_blk_io *io, struct vhi_blk_out *out)
{
	(void)b;
	(void)io;
	(void)out;
	return VHI_BLK_OK;
}

const struct vhi_blk_kind vhi_blk_null = {
	.open = null_open,
	.close = null_close,
	.run = null_run,
};

static int ram_open(struct vhi_blk *b, int fd)
{
	void *p;

	(void)fd;
	if (b->opts.capacity > SIZE_MAX)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_blkdev_new: capacity is more than this process can map");
	/* Memory is used as it is written, so a large device costs nothing until then. */
	p = vhi_sys.mmap(NULL, (size_t)b->opts.capacity, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_blkdev_new: can't map %llu bytes; ask for less",
				(unsigned long long)b->opts.capacity);
	b->ram = p;
	return 0;
}

static void ram_close(struct vhi_blk *b)
{
	if (b->ram)
		vhi_sys.munmap(b->ram, (size_t)b->opts.capacity);
}

static void ram_read(struct vhi_blk *b, struct vhi_blk_io *io)
{
	vhi_cursor_put(&io->data, b->ram + io->offset, io->len);
}

static void ram_write(struct vhi_blk *b, struct vhi_blk_io *io)
{
	vhi_cursor_get(&io->data, b->ram + io->offset, io->len);
}

static void ram_flush(struct vhi_blk *b, struct vhi_blk_io *io)
{
	(void)b;
	(void)io;
}

/* Whole pages are given back and read as zeroes from then on. */
static void ram_zero(struct vhi_blk *b, struct vhi_blk_io *io)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t end = io->offset + io->len;
	uint64_t first = (io->offset + page - 1) & ~(page - 1);
	uint64_t last = end & ~(page - 1);

	if (first >= last || vhi_sys.madvise(b->ram + first, (size_t)(last - first), MADV_DONTNEED)) {
		memset(b->ram + io->offset, 0, (size_t)io->len);
		return;
	}
	memset(b->ram + io->offset, 0, (size_t)(first - io->offset));
	memset(b->ram + last, 0, (size_t)(end - last));
}

static void (*const ram_ops[VHI_OP_COUNT])(struct vhi_blk *b, struct vhi_blk_io *io) = {
	[VHI_OP_READ] = ram_read,    [VHI_OP_WRITE] = ram_write, [VHI_OP_FLUSH] = ram_flush,
	[VHI_OP_DISCARD] = ram_zero, [VHI_OP_ZERO] = ram_zero,	 [VHI_OP_UNMAP] = ram_zero,
};

static enum vhi_blk_status ram_run(struct vhi_blk *b, struct vhi_blk_io *io, struct vhi_blk_out *out)
{
	(void)out;
	ram_ops[io->op](b, io);
	return VHI_BLK_OK;
}

const struct vhi_blk_kind vhi_blk_ram = {
	.open = ram_open,
	.close = ram_close,
	.run = ram_run,
};
