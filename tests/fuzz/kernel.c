/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The table of system calls, and time. */
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <time.h>

#include "vhi_sys.h"

#define TICK 100u /* ns that looking at the clock takes, so that nobody can wait for it in a loop */

bool (*kern_idle)(void);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	(void)clock;
	kern_time += TICK;
	ts->tv_sec = (time_t)(kern_time / 1000000000u);
	ts->tv_nsec = (long)(kern_time % 1000000000u);
	return 0;
}

uint64_t kern_now(void)
{
	return kern_time;
}

void kern_advance(uint64_t ns)
{
	kern_time += ns;
}

static int fail(int error)
{
	errno = error;
	return -1;
}

static int k_close(int fd)
{
	kern_close(fd);
	return 0;
}

static int k_fcntl(int fd, int cmd, uintptr_t arg)
{
	struct kern_file *f = kern_file(fd);

	if (!f)
		return -1;
	switch (cmd) {
	case F_DUPFD_CLOEXEC:
		return kern_dup(fd);
	case F_GETFL:
		return f->flags;
	case F_SETFL:
		f->flags = (f->flags & O_ACCMODE) | (int)(arg & O_NONBLOCK);
		return 0;
	case F_GET_SEALS:
		return f->slot >= 0 && f->kind != KERN_MEM_DEVICE ? (int)f->seals : fail(EINVAL);
	case F_ADD_SEALS:
		f->seals |= (uint32_t)arg;
		return 0;
	default:
		return fail(EINVAL);
	}
}

static bool is_eventfd(const struct kern_file *f)
{
	return f->kind >= KERN_EVENTFD && f->kind <= KERN_EVENTFD_SEM;
}

static ssize_t take_count(struct kern_file *f, void *buf, size_t n)
{
	uint64_t one = 1;

	if (!is_eventfd(f) && f->kind != KERN_TIMER)
		return fail(EINVAL);
	if (n < sizeof(one))
		return fail(EINVAL);
	if (!(kern_ready(f) & POLLIN))
		return fail(EAGAIN);
	memcpy(buf, f->kind == KERN_TIMER || f->kind == KERN_EVENTFD_SEM ? &one : &f->count, sizeof(one));
	f->count -= f->kind == KERN_EVENTFD_SEM ? 1 : f->count;
	return sizeof(one);
}

/* There is no /proc. */
static int k_open(const char *path, int flags)
{
	(void)path;
	(void)flags;
	return fail(ENOENT);
}

static ssize_t k_read(int fd, void *buf, size_t n)
{
	struct kern_file *f = kern_file(fd);

	if (!f)
		return -1;
	CHECK(f->flags & O_NONBLOCK || kern_ready(f) & POLLIN); /* or it blocks */
	return take_count(f, buf, n);
}

static ssize_t k_write(int fd, const void *buf, size_t n)
{
	struct kern_file *f = kern_file(fd);
	uint64_t add;

	if (!f)
		return -1;
	if (!is_eventfd(f) || n != sizeof(add))
		return fail(EINVAL);
	memcpy(&add, buf, sizeof(add));
	if (UINT64_MAX - f->count <= add) {
		CHECK(f->flags & O_NONBLOCK);
		return fail(EAGAIN);
	}
	f->count += add;
	f->version++;
	return sizeof(add);
}

static ssize_t k_preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	struct kern_file *f = kern_file(fd);

	CHECK(n == 1 && off == -1 && flags == RWF_NOWAIT);
	return f ? take_count(f, iov->iov_base, iov->iov_len) : -1;
}

static int k_fstat(int fd, struct stat *st)
{
	static const mode_t modes[KERN_KINDS] = {
		[KERN_MEMFD] = S_IFREG,	     [KERN_MEMFD_PLAIN] = S_IFREG,   [KERN_MEMFD_READ] = S_IFREG,
		[KERN_MEMFD_HUGE] = S_IFREG, [KERN_MEM_DEVICE] = S_IFCHR,    [KERN_PIPE] = S_IFIFO,
		[KERN_SOCKET] = S_IFSOCK,    [KERN_SOCKET_DGRAM] = S_IFSOCK, [KERN_LISTENER] = S_IFSOCK};
	const struct kern_file *f = kern_file(fd);

	if (!f)
		return -1;
	memset(st, 0, sizeof(*st));
	st->st_dev = 1;
	st->st_ino = f->ino;
	st->st_mode = modes[f->kind] | 0600;
	if (!modes[f->kind])
		st->st_mode = 0600; /* an anonymous inode */
	st->st_size = f->kind == KERN_MEM_DEVICE ? 0 : (off_t)f->size;
	st->st_blksize = f->kind == KERN_MEMFD_HUGE ? 65536 : KERN_PAGE;
	return 0;
}

static int k_fstatfs(int fd, struct statfs *st)
{
	const struct kern_file *f = kern_file(fd);

	if (!f)
		return -1;
	memset(st, 0, sizeof(*st));
	st->f_type = f->kind == KERN_MEMFD_HUGE ? HUGETLBFS_MAGIC : TMPFS_MAGIC;
	return 0;
}

static int k_ftruncate(int fd, off_t len)
{
	struct kern_file *f = kern_file(fd);

	if (!f)
		return -1;
	if (len > KERN_FILE_MAX) {
		int slot = kern_slot_take((uint64_t)len);

		if (slot < 0)
			return fail(ENOSPC);
		kern_slot_put(f->slot);
		f->slot = slot;
	}
	f->size = (uint64_t)len;
	return 0;
}

static int k_memfd_create(const char *name, unsigned flags)
{
	int fd = kern_open(KERN_MEMFD_PLAIN, 0);

	(void)name;
	(void)flags;
	return fd < 0 ? fail(ENOMEM) : fd;
}

/* Whole pages, that read as zeroes from then on; other advice changes nothing. */
static int k_madvise(void *addr, size_t len, int advice)
{
	if (advice == 4 /* MADV_DONTNEED */)
		memset(addr, 0, len);
	return 0;
}

static int k_eventfd(unsigned initial, int flags)
{
	int fd = kern_open(KERN_EVENTFD, 0);

	CHECK(!initial && flags & EFD_CLOEXEC && flags & EFD_NONBLOCK);
	return fd;
}

static int k_epoll_create1(int flags)
{
	CHECK(flags == EPOLL_CLOEXEC);
	return kern_open(KERN_EPOLL, 0);
}

static struct kern_epitem *item_find(struct kern_file *ep, int fd, const struct kern_file *f)
{
	for (uint32_t i = 0; i < ep->n_items; i++)
		if (ep->items[i].fd == fd && ep->items[i].file == f)
			return &ep->items[i];
	return NULL;
}

static int k_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct kern_file *ep = kern_file(epfd), *f = kern_file(fd);
	struct kern_epitem *item;

	if (!ep || !f)
		return -1;
	item = item_find(ep, fd, f);
	if (op == EPOLL_CTL_ADD) {
		if (item || f->slot >= 0)
			return fail(item ? EEXIST : EPERM);
		CHECK(ep->n_items < KERN_EPITEMS);
		item = &ep->items[ep->n_items++];
	} else if (!item) {
		return fail(ENOENT);
	}
	if (op == EPOLL_CTL_DEL)
		*item = ep->items[--ep->n_items];
	else
		*item = (struct kern_epitem){fd, f, ev->events, ev->data.u64, f->version - 1};
	return 0;
}

static int look(struct kern_file *ep, struct epoll_event *evs, int max)
{
	int n = 0;

	for (uint32_t i = 0; i < ep->n_items && n < max; i++) {
		struct kern_epitem *item = &ep->items[i];
		uint32_t ready = kern_item_ready(item);

		if (!ready)
			continue;
		item->seen = item->file->version;
		evs[n].events = ready;
		evs[n++].data.u64 = item->data;
	}
	return n;
}

/* When the next of the timers in the set expires; UINT64_MAX = never. */
static uint64_t next_timer(const struct kern_file *ep)
{
	uint64_t at = UINT64_MAX;

	for (uint32_t i = 0; i < ep->n_items; i++) {
		const struct kern_file *f = ep->items[i].file;

		if (f->kind == KERN_TIMER && f->count && f->count < at)
			at = f->count;
	}
	return at;
}

static int k_epoll_wait(int epfd, struct epoll_event *evs, int max, int timeout_ms)
{
	struct kern_file *ep = kern_file(epfd);
	uint64_t until = timeout_ms < 0 ? UINT64_MAX : kern_time + (uint64_t)timeout_ms * 1000000u;

	CHECK(ep && ep->kind == KERN_EPOLL);
	for (;;) {
		int n = look(ep, evs, max);
		uint64_t timer = next_timer(ep), at = timer < until ? timer : until;

		if (n || !timeout_ms || kern_time >= until)
			return n;
		if (kern_idle && kern_idle())
			continue;
		CHECK(at != UINT64_MAX); /* sleeps for ever */
		kern_time = at > kern_time ? at : kern_time;
	}
}

static int poll_once(struct pollfd *fds, nfds_t n)
{
	int ready = 0;

	for (nfds_t i = 0; i < n; i++) {
		const struct kern_file *f = kern_file(fds[i].fd);

		fds[i].revents = 0;
		if (fds[i].fd < 0)
			continue;
		if (f)
			fds[i].revents = (short)(kern_ready(f) &
						 ((uint32_t)(uint16_t)fds[i].events | POLLHUP | POLLERR));
		else
			fds[i].revents = POLLNVAL;
		ready += fds[i].revents ? 1 : 0;
	}
	return ready;
}

static int k_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	for (;;) {
		int ready = poll_once(fds, n);

		if (ready || !timeout_ms)
			return ready;
		if (kern_idle && kern_idle())
			continue;
		CHECK(timeout_ms > 0); /* sleeps for ever */
		kern_time += (uint64_t)timeout_ms * 1000000u;
		timeout_ms = 0;
	}
}

static int k_timerfd_create(int clock, int flags)
{
	int fd = kern_open(KERN_TIMER, 0);

	(void)clock;
	(void)flags;
	if (fd >= 0)
		kern_file(fd)->flags |= O_NONBLOCK;
	return fd;
}

static int k_timerfd_settime(int fd, uint64_t abs_ns)
{
	struct kern_file *f = kern_file(fd);

	CHECK(f && f->kind == KERN_TIMER);
	f->count = abs_ns;
	return 0;
}

static int k_socketpair(int domain, int type, int protocol, int fds[2])
{
	(void)domain;
	(void)type;
	(void)protocol;
	kern_pair(fds);
	return 0;
}

static int k_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct kern_file *f = kern_file(fd), *client;

	(void)addr;
	(void)len;
	(void)flags;
	CHECK(f && f->kind == KERN_LISTENER && f->flags & O_NONBLOCK);
	if (!f->n_backlog)
		return fail(EAGAIN);
	client = f->backlog[0];
	memmove(f->backlog, f->backlog + 1, --f->n_backlog * sizeof(f->backlog[0]));
	return kern_fd_new(client);
}

/* The length is of the family alone when there is no name. */
static socklen_t name_of(const struct kern_file *f, struct sockaddr_un *un)
{
	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	if (!f->name)
		return sizeof(un->sun_family);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)snprintf(un->sun_path, sizeof(un->sun_path), "/%u", f->name));
}

static int k_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	const struct kern_file *f = kern_file(fd);
	struct sockaddr_un un;
	socklen_t n;

	if (!f || f->kind != KERN_SOCKET)
		return f ? fail(ENOTSOCK) : -1;
	n = name_of(f, &un);
	memcpy(addr, &un, n < *len ? n : *len);
	*len = n;
	return 0;
}

static int peer_name(const struct kern_file *f, void *val, const socklen_t *len)
{
	struct sockaddr_un un;

	if (!f->peer)
		return fail(ENOTCONN);
	if (name_of(f->peer, &un) < *len)
		return fail(EINVAL);
	memcpy(val, &un, *len);
	return 0;
}

/* Both directions end, for both sides; what is on the way still arrives. */
static int k_shutdown(int fd, int how)
{
	struct kern_file *f = kern_file(fd);

	(void)how;
	if (!f)
		return -1;
	if (f->peer) {
		f->peer->version++;
		f->peer->peer = NULL;
	}
	f->peer = NULL;
	f->version++;
	return 0;
}

static int k_getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
	const struct kern_file *f = kern_file(fd);
	int v = 0;

	(void)level;
	if (!f)
		return -1;
	if (f->kind < KERN_SOCKET || f->kind > KERN_LISTENER)
		return fail(ENOTSOCK);
	if (name == SO_PEERNAME)
		return peer_name(f, val, len);
	if (name == SO_DOMAIN)
		v = AF_UNIX;
	else if (name == SO_TYPE)
		v = f->kind == KERN_SOCKET_DGRAM ? SOCK_DGRAM : SOCK_STREAM;
	else if (name == SO_ACCEPTCONN)
		v = f->kind == KERN_LISTENER;
	else
		return fail(ENOPROTOOPT);
	memcpy(val, &v, sizeof(v));
	*len = sizeof(v);
	return 0;
}

/* There is one thread. */
static int k_membarrier(int cmd)
{
	(void)cmd;
	return 0;
}

/* Paths, files on disks and io_uring are not part of it, and calling one of them ends the run. */
const struct vhi_sys vhi_sys = {
	.calloc = kern_calloc,
	.free = kern_free,
	.open = k_open,
	.close = k_close,
	.fcntl = k_fcntl,
	.read = k_read,
	.write = k_write,
	.preadv2 = k_preadv2,
	.fstat = k_fstat,
	.fstatfs = k_fstatfs,
	.ftruncate = k_ftruncate,
	.mmap = kern_mmap,
	.munmap = kern_munmap,
	.madvise = k_madvise,
	.memfd_create = k_memfd_create,
	.eventfd = k_eventfd,
	.epoll_create1 = k_epoll_create1,
	.epoll_ctl = k_epoll_ctl,
	.epoll_wait = k_epoll_wait,
	.poll = k_poll,
	.membarrier = k_membarrier,
	.timerfd_create = k_timerfd_create,
	.timerfd_settime = k_timerfd_settime,
	.socketpair = k_socketpair,
	.accept4 = k_accept4,
	.shutdown = k_shutdown,
	.getsockopt = k_getsockopt,
	.getsockname = k_getsockname,
	.recvmsg = kern_recvmsg,
	.sendmsg = kern_sendmsg,
};
