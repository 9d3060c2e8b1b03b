/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Option structs, fds, time. */
#include "vhi_base.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <time.h>

#include "vh/version.h"

uint32_t vh_version(void)
{
	return (VH_VERSION_MAJOR << 16) | (VH_VERSION_MINOR << 8) | VH_VERSION_PATCH;
}

vh_rc vhi_opts_in(void *dst, size_t dst_size, const void *src, const char *what)
{
	uint32_t size;

	memset(dst, 0, dst_size);
	if (!src) {
		size = (uint32_t)dst_size;
		memcpy(dst, &size, sizeof(size));
		return 0;
	}
	memcpy(&size, src, sizeof(size));
	if (size < 2 * sizeof(uint32_t) || size > 4096)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: size is %u; set it to sizeof the struct", what,
				size);
	for (size_t i = dst_size; i < size; i++)
		if (((const unsigned char *)src)[i])
			return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
					"%s: byte %zu is not zero, and this version knows %zu bytes; use a newer libvh",
					what, i, dst_size);
	memcpy(dst, src, VHI_MIN(dst_size, (size_t)size));
	return 0;
}

vh_rc vhi_out_check(const void *dst, const char *what)
{
	uint32_t size;

	if (!dst)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: out is NULL", what);
	memcpy(&size, dst, sizeof(size));
	if (size < 2 * sizeof(uint32_t))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: size is %u; set it to sizeof the struct", what,
				size);
	return 0;
}

vh_rc vhi_out_fill(void *dst, const void *src, size_t src_size, const char *what)
{
	uint32_t size;
	vh_rc rc = vhi_out_check(dst, what);

	if (rc)
		return rc;
	memcpy(&size, dst, sizeof(size));
	if (size > src_size)
		memset((char *)dst + src_size, 0, size - src_size);
	memcpy((char *)dst + sizeof(size), (const char *)src + sizeof(size),
	       VHI_MIN((size_t)size, src_size) - sizeof(size));
	return 0;
}

void vhi_ops_destroy(const void *ops, void *ctx)
{
	uint32_t size;
	void (*destroy)(void *);
	const size_t at = 2 * sizeof(uint32_t);

	if (!ops)
		return;
	memcpy(&size, ops, sizeof(size));
	if (size < at + sizeof(destroy))
		return;
	memcpy(&destroy, (const char *)ops + at, sizeof(destroy));
	if (destroy)
		destroy(ctx);
}

int vhi_fd_dup(int fd)
{
	int n = vhi_sys.fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return n < 0 ? -errno : n;
}

void vhi_fd_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		vhi_sys.close(*fd);
		errno = saved;
	}
	*fd = -1;
}

int vhi_fd_set_nonblock(int fd)
{
	int flags = vhi_sys.fcntl(fd, F_GETFL, 0);

	if (flags < 0)
		return -errno;
	if (flags & O_NONBLOCK)
		return 0;
	return vhi_sys.fcntl(fd, F_SETFL, (uintptr_t)(flags | O_NONBLOCK)) < 0 ? -errno : 0;
}

int vhi_eventfd(void)
{
	int fd = vhi_sys.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

void vhi_eventfd_signal(int fd)
{
	uint64_t one = 1;
	ssize_t n;
	int saved = errno; /* also called from signal handlers */

	do
		n = vhi_sys.write(fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
	errno = saved;
}

bool vhi_eventfd_drain(int fd)
{
	uint64_t count;
	ssize_t n;

	do
		n = vhi_sys.read(fd, &count, sizeof(count));
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/* Even a poll that does not wait is cut short by a signal. */
int vhi_poll_now(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n;

	do
		n = vhi_sys.poll(&p, 1, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : p.revents;
}

uint64_t vhi_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
