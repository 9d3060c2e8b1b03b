/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The calls of a userfaultfd, from both ends. */
#include "vhi_uffd.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#define COPY_TRIES 100 /* while the other process maps and unmaps */

int vhi_uffd_open(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = vhi_sys.userfaultfd(O_CLOEXEC | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return -errno;
	if (!vhi_sys.ioctl(fd, UFFDIO_API, &api))
		return fd;
	rc = -errno;
	vhi_fd_close(&fd);
	return rc;
}

int vhi_uffd_register(int uffd, const void *at, uint64_t len)
{
	struct uffdio_register r = {.range = {.start = (uintptr_t)at, .len = len},
				    .mode = UFFDIO_REGISTER_MODE_MISSING};

	if (vhi_sys.ioctl(uffd, UFFDIO_REGISTER, &r))
		return -errno;
	return r.ioctls & (UINT64_C(1) << _UFFDIO_COPY) ? 0 : -ENOTSUP;
}

void vhi_uffd_unregister(int uffd, const void *at, uint64_t len)
{
	struct uffdio_range r = {.start = (uintptr_t)at, .len = len};

	vhi_sys.ioctl(uffd, UFFDIO_UNREGISTER, &r);
}

int vhi_uffd_check(int fd)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct statfs fs;

	/*
	 * Only what the kernel made itself is asked: a device may do anything with a number that it does not know, and a file
	 * of a file system in user space answers as its owner likes, and could tell us to close any fd of ours.
	 */
	if (vhi_sys.fstatfs(fd, &fs))
		return -errno;
	if ((uint32_t)fs.f_type != ANON_INODE_FS_MAGIC)
		return -ENOTTY;
	/* One that is ready already says EINVAL. */
	return !vhi_sys.ioctl(fd, UFFDIO_API, &api) || errno == EINVAL ? 0 : -errno;
}

int vhi_uffd_next(int uffd, struct vhi_uffd_fault *out)
{
	struct pollfd ready = {.fd = uffd, .events = POLLIN};
	struct uffd_msg msg;
	ssize_t n;

	/* Its flags are the other process's as well, and it might have made it blocking. */
	for (;;) {
		int rc = vhi_sys.poll(&ready, 1, 0);

		if (rc <= 0)
			return rc ? -errno : 0;
		if (ready.revents & (POLLERR | POLLHUP))
			return -ESRCH;
		n = vhi_sys.read(uffd, &msg, sizeof(msg));
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n != (ssize_t)sizeof(msg))
			return -EPROTO;
		if (msg.event == UFFD_EVENT_PAGEFAULT)
			break;
		/* What nobody asked for may bring a file. */
		if (msg.event == UFFD_EVENT_FORK) {
			int fd = (int)msg.arg.fork.ufd;

			vhi_fd_close(&fd);
		}
	}
	out->address = msg.arg.pagefault.address;
	out->write = msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE;
	return 1;
}

int vhi_uffd_wake(int uffd, uint64_t at, uint64_t len)
{
	struct uffdio_range r = {.start = at, .len = len};

	return vhi_sys.ioctl(uffd, UFFDIO_WAKE, &r) ? -errno : 0;
}

static int copy_some(int uffd, uint64_t to, const void *from, uint64_t len, uint64_t *done)
{
	struct uffdio_copy c = {.dst = to, .src = (uintptr_t)from, .len = len};

	if (!vhi_sys.ioctl(uffd, UFFDIO_COPY, &c)) {
		*done = len;
		return 0;
	}
	*done = c.copy > 0 ? (uint64_t)c.copy : 0;
	return -errno;
}

int vhi_uffd_copy(int uffd, uint64_t to, const void *from, uint64_t len, uint64_t page_size)
{
	int tries = 0;

	for (uint64_t at = 0; at < len;) {
		uint64_t done;
		int rc = copy_some(uffd, to + at, (const uint8_t *)from + at, len - at, &done);

		at += done;
		if (rc == -EEXIST) {
			rc = vhi_uffd_wake(uffd, to + at, page_size);
			at += page_size;
		}
		if (rc && (rc != -EAGAIN || ++tries > COPY_TRIES))
			return rc;
	}
	return 0;
}
