/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "fake_sys.h"

/* The real table under another name (the macro renames its tag, too). */
#define vhi_sys vhi_real_sys
#include "../../src/base/sys.c"
#undef vhi_sys

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

struct fake_sys fake_sys;
int fake_no_calloc;

static void *f_calloc(size_t n, size_t size)
{
	return fake_no_calloc && !--fake_no_calloc ? NULL : vhi_real_sys.calloc(n, size);
}

static int f_open(const char *path, int flags)
{
	int rc = fake_sys.open ? fake_sys.open(path, flags) : FAKE_PASS;

	return rc == FAKE_PASS ? vhi_real_sys.open(path, flags) : rc;
}

static int f_ioctl(int fd, unsigned long request, void *arg)
{
	int rc = fake_sys.ioctl ? fake_sys.ioctl(fd, request, arg) : FAKE_PASS;

	return rc == FAKE_PASS ? vhi_real_sys.ioctl(fd, request, arg) : rc;
}

static ssize_t f_read(int fd, void *buf, size_t n)
{
	ssize_t rc = fake_sys.read ? fake_sys.read(fd, buf, n) : FAKE_PASS;

	return rc == FAKE_PASS ? vhi_real_sys.read(fd, buf, n) : rc;
}

static ssize_t f_write(int fd, const void *buf, size_t n)
{
	ssize_t rc = fake_sys.write ? fake_sys.write(fd, buf, n) : FAKE_PASS;

	return rc == FAKE_PASS ? vhi_real_sys.write(fd, buf, n) : rc;
}

static int f_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	int rc = n == 1 && fake_sys.poll ? fake_sys.poll(fds) : FAKE_PASS;

	if (rc == FAKE_PASS)
		return vhi_real_sys.poll(fds, n, timeout_ms);
	fds->revents = (short)(rc & fds->events);
	return fds->revents != 0;
}

/* All of the real one, but for these. Nobody else in the program writes to it, and this is before main(). */
struct vhi_real_sys vhi_sys;

__attribute__((constructor)) static void fill(void)
{
	vhi_sys = vhi_real_sys;
	vhi_sys.calloc = f_calloc;
	vhi_sys.open = f_open;
	vhi_sys.ioctl = f_ioctl;
	vhi_sys.read = f_read;
	vhi_sys.write = f_write;
	vhi_sys.poll = f_poll;
}

static int copy(ssize_t (*how)(pid_t, const struct iovec *, unsigned long, const struct iovec *, unsigned long,
			       unsigned long),
		void *here, const void *there, size_t n)
{
	const struct iovec local = {here, n}, remote = {(void *)(uintptr_t)there, n};

	return how(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)n ? 0 : -EFAULT;
}

int fake_copy_in(void *to, const void *from, size_t n)
{
	return copy(process_vm_readv, to, from, n);
}

int fake_copy_out(void *to, const void *from, size_t n)
{
	return copy(process_vm_writev, (void *)(uintptr_t)from, to, n);
}

int fake_eventfd_check(int fd)
{
	char path[64], link[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -EBADF;
	link[n] = 0;
	return strcmp(link, "anon_inode:[eventfd]") ? -EINVAL : 0;
}
