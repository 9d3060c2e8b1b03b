/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The real system-call table. */
#include "vhi_sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int sys_fcntl(int fd, int cmd, uintptr_t arg)
{
	return fcntl(fd, cmd, arg);
}

static int sys_open(const char *path, int flags)
{
	return open(path, flags);
}

/* The signal goes to this thread, so that it can be held back and taken away again, unless it was pending before. */
static ssize_t sys_write_quietly(int fd, const void *buf, size_t n)
{
	const struct timespec now = {0};
	sigset_t pipe, before, pending;
	ssize_t rc;
	int saved;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, &before);
	sigpending(&pending);
	rc = write(fd, buf, n);
	saved = errno;
	if (rc < 0 && saved == EPIPE && !sigismember(&pending, SIGPIPE))
		sigtimedwait(&pipe, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = saved;
	return rc;
}

static int sys_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg);
}

static int sys_timerfd_settime(int fd, uint64_t abs_ns)
{
	struct itimerspec spec = {0};

	spec.it_value.tv_sec = (time_t)(abs_ns / 1000000000u);
	spec.it_value.tv_nsec = (long)(abs_ns % 1000000000u);
	return timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static int sys_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	return bind(fd, addr, len);
}

static int sys_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	return getsockname(fd, addr, len);
}

static int sys_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return accept4(fd, addr, len, flags);
}

static int sys_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return connect(fd, addr, len);
}

static ssize_t sys_getdents64(int fd, void *buf, size_t n)
{
	return getdents64(fd, buf, n);
}

static int sys_userfaultfd(int flags)
{
	return (int)syscall(SYS_userfaultfd, flags);
}

static int sys_membarrier(int cmd)
{
	return (int)syscall(SYS_membarrier, cmd, 0, 0);
}

static int sys_io_uring_setup(unsigned entries, void *params)
{
	return (int)syscall(SYS_io_uring_setup, entries, params);
}

static int sys_io_uring_enter(int fd, unsigned submit, unsigned min_complete, unsigned flags)
{
	return (int)syscall(SYS_io_uring_enter, fd, submit, min_complete, flags, NULL, 0);
}

const struct vhi_sys vhi_sys = {
	.calloc = calloc,
	.free = free,
	.open = sys_open,
	.close = close,
	.fcntl = sys_fcntl,
	.read = read,
	.write = write,
	.write_quietly = sys_write_quietly,
	.preadv = preadv,
	.preadv2 = preadv2,
	.pwritev = pwritev,
	.fdatasync = fdatasync,
	.fallocate = fallocate,
	.fstat = fstat,
	.fstatfs = fstatfs,
	.ftruncate = ftruncate,
	.ioctl = sys_ioctl,
	.mmap = mmap,
	.munmap = munmap,
	.madvise = madvise,
	.memfd_create = memfd_create,
	.userfaultfd = sys_userfaultfd,
	.eventfd = eventfd,
	.epoll_create1 = epoll_create1,
	.epoll_ctl = epoll_ctl,
	.epoll_wait = epoll_wait,
	.poll = poll,
	.timerfd_create = timerfd_create,
	.timerfd_settime = sys_timerfd_settime,
	.socket = socket,
	.socketpair = socketpair,
	.bind = sys_bind,
	.listen = listen,
	.accept4 = sys_accept4,
	.connect = sys_connect,
	.shutdown = shutdown,
	.getsockopt = getsockopt,
	.getsockname = sys_getsockname,
	.recvmsg = recvmsg,
	.sendmsg = sendmsg,
	.setsockopt = setsockopt,
	.lstat = lstat,
	.readlink = readlink,
	.getdents64 = sys_getdents64,
	.unlink = unlink,
	.chmod = chmod,
	.getenv = secure_getenv,
	.sigaction = sigaction,
	.raise = raise,
	.membarrier = sys_membarrier,
	.io_uring_setup = sys_io_uring_setup,
	.io_uring_enter = sys_io_uring_enter,
};
