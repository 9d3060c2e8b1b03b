/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "fake_sys.h"

/* The real table under another name (the macro renames its tag, too). */
#define vhi_sys vhi_real_sys
#include "../../src/base/sys.c"
#undef vhi_sys

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
