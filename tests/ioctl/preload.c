/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The played device file for a whole process, by LD_PRELOAD: for tests in other languages, which have the library as people
 * use it. FAKE_VHOST says the kind: net, vsock or scsi; FAKE_VDPA: there is a vDPA
 * device, too.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "fake_vdpa.h"
#include "fake_vhost.h"

struct fake_sys fake_sys;

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

static int opened(const char *path, int flags)
{
	return fake_sys.open ? fake_sys.open(path, flags) : FAKE_PASS;
}

static int any_open(const char *path, int flags, mode_t mode)
{
	int rc = opened(path, flags);

	return rc == FAKE_PASS ? openat(AT_FDCWD, path, flags, mode) : rc;
}

int open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	return any_open(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	return any_open(path, flags, mode);
}

int __open64_2(const char *path, int flags);
int __open64_2(const char *path, int flags)
{
	return any_open(path, flags, 0);
}

int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
	return any_open(path, flags, 0);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;
	int rc;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	rc = fake_sys.ioctl ? fake_sys.ioctl(fd, request, arg) : FAKE_PASS;
	return rc == FAKE_PASS ? REAL(ioctl)(fd, request, arg) : rc;
}

static __thread int inside; /* what is played reads and writes too */

ssize_t read(int fd, void *buf, size_t n)
{
	ssize_t rc = FAKE_PASS;

	if (fake_sys.read && !inside++)
		rc = fake_sys.read(fd, buf, n);
	inside -= fake_sys.read != NULL;
	return rc == FAKE_PASS ? REAL(read)(fd, buf, n) : rc;
}

ssize_t write(int fd, const void *buf, size_t n)
{
	ssize_t rc = FAKE_PASS;

	if (fake_sys.write && !inside++)
		rc = fake_sys.write(fd, buf, n);
	inside -= fake_sys.write != NULL;
	return rc == FAKE_PASS ? REAL(write)(fd, buf, n) : rc;
}

static void begin_vhost(struct fake_vhost *f, const char *kind)
{
	fake_vhost_begin(f, !strcmp(kind, "net")     ? VHI_NODE_NET
			    : !strcmp(kind, "vsock") ? VHI_NODE_VSOCK
						     : VHI_NODE_SCSI);
	f->there = "naa.1";
}

__attribute__((constructor)) static void begin(void)
{
	static struct fake_vhost f;
	static struct fake_vdpa v;
	const char *kind = getenv("FAKE_VHOST"), *vdpa = getenv("FAKE_VDPA");

#ifdef PLAYED
	kind = kind ? kind : PLAYED;
	vdpa = "";
#endif
	if (kind)
		begin_vhost(&f, kind);
	if (vdpa)
		fake_vdpa_begin(&v);
}
