/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A kernel that has VDUSE, as far as the library asks for it: this program's open() and ioctl() stand before those of libc and of
 * what plays other files.
 * A device is there already, and no driver runs.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FOLDER	"/dev/vduse/"
#define TYPE	0x81u
#define RUNNING 0x13u /* an interrupt for a change of configuration: only to a driver that runs */

static int take(const char *path, int flags, unsigned mode)
{
	if (!strncmp(path, FOLDER, strlen(FOLDER)))
		return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64"))(path, flags, mode);
}

/* Under all names of it: which one is called depends on how the library was compiled. */
#define AS(name) __asm__(name) __attribute__((visibility("default")))
int kernel_open(const char *path, int flags, unsigned mode) AS("open");
int kernel_open64(const char *path, int flags, unsigned mode) AS("open64");
int kernel_open_2(const char *path, int flags) AS("__open_2");
int kernel_open64_2(const char *path, int flags) AS("__open64_2");
int kernel_ioctl(int fd, unsigned long request, void *arg) AS("ioctl");

/* An argument that was not given is as good as any: it is not looked at then. */
int kernel_open(const char *path, int flags, unsigned mode)
{
	return take(path, flags, mode);
}

int kernel_open64(const char *path, int flags, unsigned mode)
{
	return take(path, flags, mode);
}

int kernel_open_2(const char *path, int flags)
{
	return take(path, flags, 0);
}

int kernel_open64_2(const char *path, int flags)
{
	return take(path, flags, 0);
}

int kernel_ioctl(int fd, unsigned long request, void *arg)
{
	if ((request >> 8 & 0xff) != TYPE)
		return ((int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl"))(fd, request, arg);
	errno = EINVAL;
	return (request & 0xff) == RUNNING ? -1 : 0;
}
