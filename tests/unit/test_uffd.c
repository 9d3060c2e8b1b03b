/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What passes as a userfaultfd of a peer's. A file of a file system in user space can answer every ioctl as a real one
 * does; here the system calls of this program do that for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "vhi_uffd.h"

static int asked;

/* As of one that is ready already. */
static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	(void)fd;
	(void)arg;
	assert_int_equal(request, UFFDIO_API);
	asked++;
	errno = EINVAL;
	return -1;
}

static int fake_fstatfs(int fd, struct statfs *st)
{
	return fstatfs(fd, st);
}

const struct vhi_sys vhi_sys = {
	.calloc = calloc,
	.free = free,
	.close = close,
	.fstat = fstat,
	.fstatfs = fake_fstatfs,
	.ioctl = fake_ioctl,
};

static void only_the_kernel_is_asked(void **state)
{
	const int fds[] = {memfd_create("no userfaultfd", MFD_CLOEXEC), open("/dev/null", O_RDWR | O_CLOEXEC), -1};

	(void)state;
	assert_int_equal(vhi_uffd_check(fds[0]), -ENOTTY);
	assert_int_equal(vhi_uffd_check(fds[1]), -ENOTTY);
	assert_int_equal(vhi_uffd_check(fds[2]), -EBADF);
	assert_int_equal(asked, 0);
	close(fds[0]);
	close(fds[1]);
}

/* An eventfd is where a userfaultfd is, and may be made everywhere. */
static void what_it_made_is(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(vhi_uffd_check(fd), 0);
	assert_int_equal(asked, 1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_kernel_is_asked),
		cmocka_unit_test(what_it_made_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
