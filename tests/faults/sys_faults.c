/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "sys_faults.h"

/* The real table under another name (the macro renames its tag, too). */
#define vhi_sys vhi_real_sys
#include "../../src/base/sys.c"
#undef vhi_sys
extern const struct vhi_real_sys vhi_sys;

#include <errno.h>
#include <stdio.h>

static __thread bool joined;
static _Atomic int kind;
static _Atomic uint64_t countdown;
static _Atomic bool fired;
static _Atomic unsigned variant;
static char what[64];
static _Atomic int64_t allocs, fds, maps;

void faults_join(bool on)
{
	joined = on;
}

void faults_arm(enum fault_kind k, uint64_t n, unsigned v)
{
	fired = false;
	variant = v;
	countdown = n;
	kind = k;
}

void faults_disarm(void)
{
	kind = FAULT_NONE;
}

bool faults_fired(void)
{
	return fired;
}

const char *faults_what(void)
{
	return what;
}

struct faults_balance faults_balance(void)
{
	return (struct faults_balance){allocs, fds, maps};
}

/* An errno value to fail with, or 0. @errnos ends with 0; its length is the number of variants of this call. */
static int hit(const char *name, const int *errnos)
{
	unsigned v;

	if (!joined || kind != FAULT_SYSCALL || fired)
		return 0;
	v = variant;
	for (unsigned i = 0; i < v; i++)
		if (!errnos[i])
			return 0;
	if (!errnos[v] || --countdown)
		return 0;
	fired = true;
	snprintf(what, sizeof(what), "%s errno %d", name, errnos[v]);
	return errnos[v];
}

static void *f_calloc(size_t n, size_t size)
{
	void *p;

	if (joined && (kind == FAULT_ALLOC || kind == FAULT_ALLOC_PERSIST)) {
		if ((fired && kind == FAULT_ALLOC_PERSIST) || (!fired && !--countdown)) {
			fired = true;
			snprintf(what, sizeof(what), "calloc %zu x %zu", n, size);
			errno = ENOMEM;
			return NULL;
		}
	}
	p = vhi_real_sys.calloc(n, size);
	if (p)
		allocs++;
	return p;
}

static void f_free(void *p)
{
	if (p)
		allocs--;
	vhi_real_sys.free(p);
}

/* close() is never made to fail: the fd is gone either way. */
static int f_close(int fd)
{
	int rc = vhi_real_sys.close(fd);

	if (!rc)
		fds--;
	return rc;
}

#define ERRNOS(...) ((const int[]){__VA_ARGS__, 0})
#define FAIL(name, ...)                                   \
	do {                                              \
		int e_ = hit(#name, ERRNOS(__VA_ARGS__)); \
		if (e_) {                                 \
			errno = e_;                       \
			return -1;                        \
		}                                         \
	} while (0)

static int got_fd(int fd)
{
	if (fd >= 0)
		fds++;
	return fd;
}

static int f_fcntl(int fd, int cmd, uintptr_t arg)
{
	if (cmd == F_DUPFD_CLOEXEC) {
		FAIL(fcntl_dupfd, EMFILE);
		return got_fd(vhi_real_sys.fcntl(fd, cmd, arg));
	}
	return vhi_real_sys.fcntl(fd, cmd, arg);
}

static ssize_t f_read(int fd, void *buf, size_t n)
{
	FAIL(read, EINTR, EAGAIN);
	return vhi_real_sys.read(fd, buf, n);
}

static ssize_t f_write(int fd, const void *buf, size_t n)
{
	FAIL(write, EINTR);
	return vhi_real_sys.write(fd, buf, n);
}

static ssize_t f_preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	FAIL(preadv, EIO, EINTR);
	return vhi_real_sys.preadv(fd, iov, n, off);
}

static ssize_t f_preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	FAIL(preadv2, EAGAIN, EOPNOTSUPP);
	return vhi_real_sys.preadv2(fd, iov, n, off, flags);
}

static ssize_t f_pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	FAIL(pwritev, EIO, EINTR, ENOSPC);
	return vhi_real_sys.pwritev(fd, iov, n, off);
}

static ssize_t f_write_quietly(int fd, const void *buf, size_t n)
{
	FAIL(write_quietly, EAGAIN, EPIPE, EIO);
	return vhi_real_sys.write_quietly(fd, buf, n);
}

static int f_open(const char *path, int flags)
{
	FAIL(open, EACCES, ENOENT, EMFILE);
	return got_fd(vhi_real_sys.open(path, flags));
}

static int f_userfaultfd(int flags)
{
	FAIL(userfaultfd, EPERM, ENOSYS, EMFILE);
	return got_fd(vhi_real_sys.userfaultfd(flags));
}

static int f_fdatasync(int fd)
{
	FAIL(fdatasync, EIO);
	return vhi_real_sys.fdatasync(fd);
}

static int f_fallocate(int fd, int mode, off_t off, off_t len)
{
	FAIL(fallocate, EOPNOTSUPP, ENOSPC, EINTR);
	return vhi_real_sys.fallocate(fd, mode, off, len);
}

static int f_fstat(int fd, struct stat *st)
{
	FAIL(fstat, EIO);
	return vhi_real_sys.fstat(fd, st);
}

static int f_fstatfs(int fd, struct statfs *st)
{
	FAIL(fstatfs, EIO);
	return vhi_real_sys.fstatfs(fd, st);
}

static int f_ftruncate(int fd, off_t len)
{
	FAIL(ftruncate, ENOSPC, EINTR);
	return vhi_real_sys.ftruncate(fd, len);
}

static int f_ioctl(int fd, unsigned long request, void *arg)
{
	FAIL(ioctl, ENOTTY);
	return vhi_real_sys.ioctl(fd, request, arg);
}

static void *f_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	void *p;
	int e = hit("mmap", ERRNOS(ENOMEM, ENODEV));

	if (e) {
		errno = e;
		return MAP_FAILED;
	}
	p = vhi_real_sys.mmap(addr, len, prot, flags, fd, off);
	if (p != MAP_FAILED && !(flags & MAP_FIXED))
		maps += (int64_t)len;
	return p;
}

static int f_munmap(void *addr, size_t len)
{
	int rc = vhi_real_sys.munmap(addr, len);

	if (!rc)
		maps -= (int64_t)len;
	return rc;
}

static int f_madvise(void *addr, size_t len, int advice)
{
	FAIL(madvise, EINVAL);
	return vhi_real_sys.madvise(addr, len, advice);
}

static int f_memfd_create(const char *name, unsigned flags)
{
	FAIL(memfd_create, EMFILE, ENOSYS);
	return got_fd(vhi_real_sys.memfd_create(name, flags));
}

static int f_eventfd(unsigned initial, int flags)
{
	FAIL(eventfd, EMFILE);
	return got_fd(vhi_real_sys.eventfd(initial, flags));
}

static int f_epoll_create1(int flags)
{
	FAIL(epoll_create1, EMFILE);
	return got_fd(vhi_real_sys.epoll_create1(flags));
}

static int f_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	if (op != EPOLL_CTL_DEL)
		FAIL(epoll_ctl, ENOMEM, ENOSPC);
	return vhi_real_sys.epoll_ctl(epfd, op, fd, ev);
}

static int f_epoll_wait(int epfd, struct epoll_event *evs, int max, int timeout_ms)
{
	FAIL(epoll_wait, EINTR);
	return vhi_real_sys.epoll_wait(epfd, evs, max, timeout_ms);
}

static int f_poll(struct pollfd *p, nfds_t n, int timeout_ms)
{
	FAIL(poll, EINTR, ENOMEM);
	return vhi_real_sys.poll(p, n, timeout_ms);
}

static int f_timerfd_create(int clock, int flags)
{
	FAIL(timerfd_create, EMFILE);
	return got_fd(vhi_real_sys.timerfd_create(clock, flags));
}

static int f_timerfd_settime(int fd, uint64_t abs_ns)
{
	return vhi_real_sys.timerfd_settime(fd, abs_ns);
}

static int f_socket(int domain, int type, int protocol)
{
	FAIL(socket, EMFILE);
	return got_fd(vhi_real_sys.socket(domain, type, protocol));
}

static int f_socketpair(int domain, int type, int protocol, int pair[2])
{
	int rc;

	FAIL(socketpair, EMFILE);
	rc = vhi_real_sys.socketpair(domain, type, protocol, pair);
	if (!rc)
		fds += 2;
	return rc;
}

static int f_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	FAIL(bind, EACCES);
	return vhi_real_sys.bind(fd, addr, len);
}

static int f_listen(int fd, int backlog)
{
	FAIL(listen, EADDRINUSE);
	return vhi_real_sys.listen(fd, backlog);
}

static int f_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	FAIL(accept4, EMFILE, ECONNABORTED, EINTR, ENOMEM);
	return got_fd(vhi_real_sys.accept4(fd, addr, len, flags));
}

static int f_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	FAIL(connect, EAGAIN, EINTR, ECONNREFUSED);
	return vhi_real_sys.connect(fd, addr, len);
}

static int f_shutdown(int fd, int how)
{
	return vhi_real_sys.shutdown(fd, how);
}

static int f_getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
	FAIL(getsockopt, ENOBUFS);
	return vhi_real_sys.getsockopt(fd, level, name, val, len);
}

static int f_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	FAIL(getsockname, ENOBUFS);
	return vhi_real_sys.getsockname(fd, addr, len);
}

static ssize_t f_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t n;

	FAIL(recvmsg, EINTR, EAGAIN, ECONNRESET, ENOMEM);
	n = vhi_real_sys.recvmsg(fd, msg, flags);
	if (n >= 0 && msg->msg_controllen)
		for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
			if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
				fds += (int64_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	return n;
}

static ssize_t f_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	FAIL(sendmsg, EINTR, EAGAIN, EPIPE, ENOBUFS);
	return vhi_real_sys.sendmsg(fd, msg, flags);
}

static int f_lstat(const char *path, struct stat *st)
{
	FAIL(lstat, EACCES);
	return vhi_real_sys.lstat(path, st);
}

static int f_unlink(const char *path)
{
	return vhi_real_sys.unlink(path);
}

static int f_chmod(const char *path, mode_t mode)
{
	FAIL(chmod, EPERM);
	return vhi_real_sys.chmod(path, mode);
}

static char *f_getenv(const char *name)
{
	return vhi_real_sys.getenv(name);
}

static int f_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return vhi_real_sys.sigaction(sig, act, old);
}

static int f_raise(int sig)
{
	return vhi_real_sys.raise(sig);
}

static int f_membarrier(int cmd)
{
	FAIL(membarrier, ENOSYS, EPERM);
	return vhi_real_sys.membarrier(cmd);
}

static int f_io_uring_setup(unsigned entries, void *params)
{
	FAIL(io_uring_setup, ENOSYS, EPERM, ENOMEM);
	return got_fd(vhi_real_sys.io_uring_setup(entries, params));
}

static int f_io_uring_enter(int fd, unsigned submit, unsigned min_complete, unsigned flags)
{
	FAIL(io_uring_enter, EINTR, EAGAIN, EBUSY);
	return vhi_real_sys.io_uring_enter(fd, submit, min_complete, flags);
}

const struct vhi_real_sys vhi_sys = {
	.calloc = f_calloc,
	.free = f_free,
	.close = f_close,
	.fcntl = f_fcntl,
	.read = f_read,
	.write = f_write,
	.write_quietly = f_write_quietly,
	.open = f_open,
	.preadv = f_preadv,
	.preadv2 = f_preadv2,
	.pwritev = f_pwritev,
	.fdatasync = f_fdatasync,
	.fallocate = f_fallocate,
	.fstat = f_fstat,
	.fstatfs = f_fstatfs,
	.ftruncate = f_ftruncate,
	.ioctl = f_ioctl,
	.mmap = f_mmap,
	.munmap = f_munmap,
	.madvise = f_madvise,
	.memfd_create = f_memfd_create,
	.userfaultfd = f_userfaultfd,
	.eventfd = f_eventfd,
	.epoll_create1 = f_epoll_create1,
	.epoll_ctl = f_epoll_ctl,
	.epoll_wait = f_epoll_wait,
	.poll = f_poll,
	.timerfd_create = f_timerfd_create,
	.timerfd_settime = f_timerfd_settime,
	.socket = f_socket,
	.socketpair = f_socketpair,
	.bind = f_bind,
	.listen = f_listen,
	.accept4 = f_accept4,
	.connect = f_connect,
	.shutdown = f_shutdown,
	.getsockopt = f_getsockopt,
	.getsockname = f_getsockname,
	.recvmsg = f_recvmsg,
	.sendmsg = f_sendmsg,
	.lstat = f_lstat,
	.unlink = f_unlink,
	.chmod = f_chmod,
	.getenv = f_getenv,
	.sigaction = f_sigaction,
	.raise = f_raise,
	.membarrier = f_membarrier,
	.io_uring_setup = f_io_uring_setup,
	.io_uring_enter = f_io_uring_enter,
};
