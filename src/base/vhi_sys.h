/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Every allocation and every system call of the library goes through this table, which is its own object file
 * (sys.c): a test program links another one that counts and fails. Members have libc's signatures and errno.
 */
#ifndef VHI_SYS_H
#define VHI_SYS_H

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include <sys/uio.h>

struct vhi_sys {
	void *(*calloc)(size_t n, size_t size);
	void (*free)(void *p);

	int (*open)(const char *path, int flags);
	int (*close)(int fd);
	int (*fcntl)(int fd, int cmd, uintptr_t arg);
	ssize_t (*read)(int fd, void *buf, size_t n);
	ssize_t (*write)(int fd, const void *buf, size_t n);
	ssize_t (*write_quietly)(int fd, const void *buf, size_t n); /* a reader that is gone is EPIPE, never SIGPIPE */
	ssize_t (*preadv)(int fd, const struct iovec *iov, int n, off_t off);
	ssize_t (*preadv2)(int fd, const struct iovec *iov, int n, off_t off, int flags);
	ssize_t (*pwritev)(int fd, const struct iovec *iov, int n, off_t off);
	int (*fdatasync)(int fd);
	int (*fallocate)(int fd, int mode, off_t off, off_t len);
	int (*fstat)(int fd, struct stat *st);
	int (*fstatfs)(int fd, struct statfs *st);
	int (*ftruncate)(int fd, off_t len);
	int (*ioctl)(int fd, unsigned long request, void *arg);

	void *(*mmap)(void *addr, size_t len, int prot, int flags, int fd, off_t off);
	int (*munmap)(void *addr, size_t len);
	int (*madvise)(void *addr, size_t len, int advice);
	int (*memfd_create)(const char *name, unsigned flags);
	int (*userfaultfd)(int flags);

	int (*eventfd)(unsigned initial, int flags);
	int (*epoll_create1)(int flags);
	int (*epoll_ctl)(int epfd, int op, int fd, struct epoll_event *ev);
	int (*epoll_wait)(int epfd, struct epoll_event *evs, int max, int timeout_ms);
	int (*poll)(struct pollfd *fds, nfds_t n, int timeout_ms);
	int (*timerfd_create)(int clock, int flags);
	int (*timerfd_settime)(int fd, uint64_t abs_ns); /* CLOCK_MONOTONIC, one shot; 0 disarms */

	int (*socket)(int domain, int type, int protocol);
	int (*socketpair)(int domain, int type, int protocol, int fds[2]);
	int (*bind)(int fd, const struct sockaddr *addr, socklen_t len);
	int (*listen)(int fd, int backlog);
	int (*accept4)(int fd, struct sockaddr *addr, socklen_t *len, int flags);
	int (*connect)(int fd, const struct sockaddr *addr, socklen_t len);
	int (*shutdown)(int fd, int how);
	int (*getsockopt)(int fd, int level, int name, void *val, socklen_t *len);
	int (*getsockname)(int fd, struct sockaddr *addr, socklen_t *len);
	ssize_t (*recvmsg)(int fd, struct msghdr *msg, int flags);
	ssize_t (*sendmsg)(int fd, const struct msghdr *msg, int flags);
	int (*setsockopt)(int fd, int level, int name, const void *val, socklen_t len);
	int (*lstat)(const char *path, struct stat *st);
	ssize_t (*readlink)(const char *path, char *buf, size_t n);
	ssize_t (*getdents64)(int fd, void *buf, size_t n); /* struct dirent64, one after the other */
	int (*unlink)(const char *path);
	int (*chmod)(const char *path, mode_t mode);
	char *(*getenv)(const char *name); /* NULL also where the environment is not to be trusted */

	int (*sigaction)(int sig, const struct sigaction *act, struct sigaction *old);
	int (*raise)(int sig);
	int (*membarrier)(int cmd);
	int (*io_uring_setup)(unsigned entries, void *params);
	int (*io_uring_enter)(int fd, unsigned submit, unsigned min_complete, unsigned flags);
};

extern const struct vhi_sys vhi_sys;

#endif
