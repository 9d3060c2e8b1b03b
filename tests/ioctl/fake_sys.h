/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A system-call table whose device files may be played: what a hook does not take (FAKE_PASS) is done for real. */
#ifndef FAKE_SYS_H
#define FAKE_SYS_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FAKE_PASS (-2) /* not mine; -1 with errno is a failure, as in libc */

struct fake_sys {
	int (*open)(const char *path, int flags);
	int (*ioctl)(int fd, unsigned long request, void *arg);
	ssize_t (*read)(int fd, void *buf, size_t n);
	ssize_t (*write)(int fd, const void *buf, size_t n);
	int (*poll)(struct pollfd *p); /* one fd, without waiting: revents, or FAKE_PASS */
};

extern struct fake_sys fake_sys;
extern int fake_no_calloc; /* > 0: this one fails, counting down */

/* As a kernel copies: 0, or -EFAULT where there is no memory. */
int fake_copy_in(void *to, const void *from, size_t n);
int fake_copy_out(void *to, const void *from, size_t n);
/* 0, or what the kernel says of something that is no eventfd. */
int fake_eventfd_check(int fd);

#endif
