/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A file as a block device: what is accepted, and how it is opened and closed. */
#include "vhi_blk_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static int file_size(int fd, uint64_t *size)
{
	struct stat st;

	if (vhi_sys.fstat(fd, &st))
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0,
				"vh_blkdev_new: fd %d can't be used (%s); open the file first", fd,
				vh_error_name(errno));
	if (S_ISREG(st.st_mode)) {
		*size = (uint64_t)st.st_size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return vhi_fail(-ENOTSUP, VH_ERROR_ARGUMENT, 0,
				"vh_blkdev_new: fd %d is no regular file and no block device", fd);
	if (vhi_sys.ioctl(fd, BLKGETSIZE64, size))
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "vh_blkdev_new: no size of the block device (%s)",
				vh_error_name(errno));
	return 0;
}

static int file_mode(const struct vhi_blk *b, int fd)
{
	int flags = vhi_sys.fcntl(fd, F_GETFL, 0);
	bool ro = b->opts.flags & VH_BLKDEV_READONLY;

	if (flags < 0)
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "vh_blkdev_new: fd %d can't be used (%s)", fd,
				vh_error_name(errno));
	if (flags & O_PATH)
		return vhi_fail(-EBADF, VH_ERROR_ARGUMENT, 0, "vh_blkdev_new: fd %d was opened with O_PATH", fd);
	if ((flags & O_ACCMODE) == O_WRONLY || (!ro && (flags & O_ACCMODE) == O_RDONLY))
		return vhi_fail(-EACCES, VH_ERROR_ARGUMENT, 0,
				"vh_blkdev_new: fd %d is open for %s only; open it O_RDWR or set VH_BLKDEV_READONLY",
				fd, (flags & O_ACCMODE) == O_WRONLY ? "writing" : "reading");
	/* Linux appends whatever the offset is. */
	if (flags & O_APPEND)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_blkdev_new: fd %d was opened with O_APPEND", fd);
	if (flags & O_DIRECT)
		return vhi_fail(-ENOTSUP, VH_ERROR_ARGUMENT, 0,
				"vh_blkdev_new: fd %d was opened with O_DIRECT, which needs aligned buffers; open it "
				"without",
				fd);
	return 0;
}

static int file_capacity(struct vhi_blk *b, int fd)
{
	uint64_t size = 0;
	int rc = file_size(fd, &size);

	if (rc)
		return rc;
	if (!b->opts.capacity)
		b->opts.capacity = size & ~(uint64_t)(VH_BLK_SECTOR - 1);
	if (!b->opts.capacity || b->opts.capacity > size)
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_blkdev_new: capacity is %llu and the file has %llu bytes; make the file larger first",
			(unsigned long long)b->opts.capacity, (unsigned long long)size);
	if ((uint64_t)(off_t)b->opts.capacity != b->opts.capacity)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_blkdev_new: %llu bytes are more than file offsets of this build can name",
				(unsigned long long)b->opts.capacity);
	return 0;
}

static void *file_map(size_t len, int prot)
{
	void *p = vhi_sys.mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* A file in memory waits for no disk, and io_uring would only hand it from thread to thread. */
static bool file_in_memory(const struct vhi_file *f)
{
	struct statfs st;

	return !vhi_sys.fstatfs(f->fd, &st) &&
	       ((uint32_t)st.f_type == TMPFS_MAGIC || (uint32_t)st.f_type == RAMFS_MAGIC);
}

/* Without io_uring requests are run where they are popped. Running out of fds is told, as it would hit later anyway. */
static int file_async(struct vhi_blk *b, struct vhi_file *f)
{
	uint64_t n = (uint64_t)b->opts.max_queues * b->opts.max_queue_size + VHI_FILE_IN_KERNEL;
	int rc;

	if ((b->opts.flags & VH_BLKDEV_NO_URING) || file_in_memory(f))
		return 0;
	rc = vhi_uring_open(&f->ring, VHI_FILE_ENTRIES, VHI_FILE_RESULTS);
	if (rc) {
		vhi_uring_close(&f->ring);
		return rc == -EMFILE || rc == -ENFILE ? rc : 0;
	}
	/* As many as all rings can hold, and those that outlived their ring. Memory is used as slots are. */
	if (n > SIZE_MAX / sizeof(*f->slots))
		return -ENOMEM;
	f->n_slots = (uint32_t)n;
	f->slots_len = (size_t)n * sizeof(*f->slots);
	f->slots = file_map(f->slots_len, PROT_READ | PROT_WRITE);
	if (!f->slots)
		return -ENOMEM;
	f->async = true;
	return 0;
}

static int file_open(struct vhi_blk *b, int fd)
{
	struct vhi_file *f;
	int rc = file_capacity(b, fd);

	if (!rc)
		rc = file_mode(b, fd);
	if (rc)
		return rc;
	f = vhi_calloc(1, sizeof(*f));
	if (!f)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_blkdev_new: no memory");
	b->file = f;
	f->ring.fd = -1;
	f->pid = getpid();
	f->fd = vhi_fd_dup(fd);
	if (f->fd < 0)
		return vhi_fail(f->fd, VH_ERROR_SYSTEM, 0, "vh_blkdev_new: can't duplicate fd %d (%s)", fd,
				vh_error_name(f->fd));
	f->zeroes = file_map(VHI_FILE_ZEROES, PROT_READ);
	rc = f->zeroes ? file_async(b, f) : -ENOMEM;
	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_blkdev_new: can't set up file I/O (%s)", vh_error_name(rc));
	return 0;
}

static void file_close(struct vhi_blk *b)
{
	struct vhi_file *f = b->file;
	bool busy = false;

	if (!f)
		return;
	/* A forked child has the ring's memory and none of its operations: those read and write the parent's memory. */
	if (f->async && f->pid == getpid()) {
		vhi_file_settle(b);
		busy = f->in_kernel;
	}
	vhi_uring_close(&f->ring);
	if (f->slots)
		vhi_sys.munmap(f->slots, f->slots_len);
	if (f->zeroes && !busy) /* as with guest memory, see vhi_file_settle() */
		vhi_sys.munmap(f->zeroes, VHI_FILE_ZEROES);
	if (f->fd >= 0)
		vhi_fd_close(&f->fd);
	vhi_free(f);
}

static int file_poll_fd(struct vhi_blk *b)
{
	return b->file->async && b->file->pid == getpid() ? b->file->ring.fd : -1;
}

const struct vhi_blk_kind vhi_blk_file = {
	.open = file_open,
	.close = file_close,
	.run = vhi_file_start,
	.pump = vhi_file_pump,
	.queue_stopped = vhi_file_queue_stopped,
	.poll_fd = file_poll_fd,
};
