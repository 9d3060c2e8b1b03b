/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Notification fds. They belong to the peer as much as to us: their flags are left alone, every read and write is one
 * that doesn't block whatever the peer does to them meanwhile, as far as the kernel lets us. Reads do not: preadv2 with
 * RWF_NOWAIT. Writes have no such flag: an fd that was O_NONBLOCK when it came is written, another one is polled first,
 * so that a peer which fills the counter between poll and write (or which clears O_NONBLOCK and fills it) can stall the
 * thread that serves it.
 */
#include "vhi_probe.h"
#include "vhi_vring.h"

#include <fcntl.h>

/* A write of 0 is accepted by eventfds alone, and changes nothing. */
bool vhi_queue_is_eventfd(int fd)
{
	const uint64_t nothing = 0;
	struct stat st;
	int ready;

	/* All anonymous inodes have no file type. POLLERR is a counter at 2^64 - 1, where even a write of 0 blocks. */
	if (vhi_sys.fstat(fd, &st) || st.st_mode & S_IFMT)
		return false;
	ready = vhi_poll_now(fd, POLLIN);
	if (ready < 0 || ready & (POLLERR | POLLNVAL))
		return false;
	return vhi_sys.write(fd, &nothing, sizeof(nothing)) == (ssize_t)sizeof(nothing);
}

static bool would_block(int fd, short events)
{
	int ready = vhi_poll_now(fd, events);

	return ready < 0 || !(ready & events);
}

static void signal_fd(int fd, bool poll_first)
{
	if (fd < 0 || (poll_first && would_block(fd, POLLOUT)))
		return;
	vhi_eventfd_signal(fd);
}

/* Many before the next look are one. */
static void tell(struct vh_queue *q, uint32_t what)
{
	if (!__atomic_load_n(&q->by_message, __ATOMIC_RELAXED))
		return;
	__atomic_fetch_or(&q->told, what, __ATOMIC_RELEASE);
	q->after |= VHI_AFTER_WAKE;
}

void vhi_queue_by_message(struct vh_queue *q, bool on)
{
	__atomic_store_n(&q->by_message, on, __ATOMIC_RELAXED);
	if (!on)
		__atomic_store_n(&q->told, 0, __ATOMIC_RELAXED);
}

uint32_t vhi_queue_take_told(struct vh_queue *q)
{
	return __atomic_exchange_n(&q->told, 0, __ATOMIC_ACQUIRE);
}

void vhi_queue_notify(struct vh_queue *q)
{
	q->notify_next = false;
	if (q->flags & VHI_QF_COALESCED)
		q->tell_due = true;
	else
		vhi_queue_signal(q);
}

void vhi_queue_signal(struct vh_queue *q)
{
	if (q->fds[q->out] < 0) {
		q->tell_due = q->role == VH_QUEUE_DRIVER;
		tell(q, VHI_TELL_CALL);
		return;
	}
	VHI_PROBE2(queue_notifies, (uintptr_t)q, q->index);
	signal_fd(q->fds[q->out], q->out_poll);
	vhi_count(q->role == VH_QUEUE_DEVICE ? &q->stats.calls : &q->stats.kicks, 1);
}

vh_count vh_queue_doorbell(struct vh_queue *q, uint32_t *data)
{
	bool owed;

	if (!q || q->role != VH_QUEUE_DRIVER || !data)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_queue_doorbell: give a queue on the driver side, and a place for the data");
	if (vhi_queue_enter(q))
		return -EBUSY;
	owed = q->tell_due;
	q->tell_due = false;
	*data = (uint16_t)q->index;
	if (q->ring.features & VHI_BIT(VH_F_NOTIFICATION_DATA))
		*data |= (uint32_t)q->next_avail << 16;
	vhi_queue_leave(q);
	return owed;
}

void vhi_queue_signal_err(struct vh_queue *q)
{
	signal_fd(q->fds[VHI_QUEUE_ERR], true);
}

static bool drain(int fd)
{
	uint64_t count;
	struct iovec iov = {.iov_base = &count, .iov_len = sizeof(count)};
	ssize_t n;

	do
		n = vhi_sys.preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
	while (n < 0 && errno == EINTR);
	/* Emulators don't know the call. */
	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS) && !would_block(fd, POLLIN))
		n = vhi_sys.read(fd, &count, sizeof(count));
	return n == (ssize_t)sizeof(count);
}

void vhi_queue_count_in(struct vh_queue *q)
{
	VHI_PROBE2(queue_notified, (uintptr_t)q, q->index);
	vhi_count(q->role == VH_QUEUE_DEVICE ? &q->stats.kicks : &q->stats.calls, 1);
}

bool vhi_queue_drain_in(struct vh_queue *q)
{
	if (q->fds[q->in] < 0 || !drain(q->fds[q->in]))
		return false;
	if (q->role == VH_QUEUE_DEVICE || !q->drv.counted)
		vhi_queue_count_in(q);
	if (q->role == VH_QUEUE_DRIVER)
		q->drv.counted = false;
	return true;
}

/* A waker writes and then sets the mark, so that a mark that is seen means bytes that are there. */
void vhi_queue_wake(struct vh_queue *q)
{
	int fd = __atomic_load_n(&q->wake_fd, __ATOMIC_ACQUIRE);

	if (fd < 0)
		return;
	vhi_eventfd_signal(fd);
	__atomic_store_n(&q->wake_set, 1, __ATOMIC_RELEASE);
}

void vhi_queue_drain_wake(struct vh_queue *q)
{
	if (__atomic_load_n(&q->wake_set, __ATOMIC_RELAXED) && __atomic_exchange_n(&q->wake_set, 0, __ATOMIC_ACQUIRE))
		vhi_eventfd_drain(q->wake_fd);
}

/*
 * A kick fd is watched edge-triggered: one that stays readable (a semaphore with a large count) leaves the ready list
 * here, and comes back when it is written again.
 */
void vhi_queue_harvest(struct vh_queue *q)
{
	int fd = __atomic_load_n(&q->epfd, __ATOMIC_ACQUIRE);
	struct epoll_event evs[2];

	if (fd >= 0)
		vhi_sys.epoll_wait(fd, evs, (int)VHI_ARRAY_SIZE(evs), 0);
}

static int watch(int epfd, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events};

	return vhi_sys.epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static void unwatch_and_close(struct vh_queue *q, enum vhi_queue_fd which, int fd)
{
	/* The peer holds the open file too, so closing our number would not end the registration. */
	if (fd >= 0 && which == q->in && q->epfd >= 0)
		vhi_sys.epoll_ctl(q->epfd, EPOLL_CTL_DEL, fd, NULL);
	vhi_fd_close(&fd);
}

void vhi_queue_put_fd(struct vh_queue *q, enum vhi_queue_fd which, int fd)
{
	int flags;

	unwatch_and_close(q, which, q->fds[which]);
	q->fds[which] = fd;
	if (which != q->out || fd < 0)
		return;
	flags = vhi_sys.fcntl(fd, F_GETFL, 0);
	q->out_poll = flags < 0 || !(flags & O_NONBLOCK);
	if (q->flags & VHI_QF_STARTED)
		vhi_queue_signal(q);
}

int vhi_queue_set_fd(struct vh_queue *q, enum vhi_queue_fd which, int fd)
{
	bool ours;
	int rc = 0;

	if (VHI_REFUSE(VHI_SITE_QUEUE_FD_KIND, fd >= 0 && !vhi_queue_is_eventfd(fd))) {
		vhi_fd_close(&fd);
		return vhi_fail_at(-EINVAL, VH_ERROR_PEER, VHI_SITE_QUEUE_FD_KIND, q->index, VH_ERROR_NONE,
				   "queue %u: the notification fd is not an eventfd; make it with eventfd()", q->index);
	}
	ours = vhi_queue_begin(q);
	/* Watched as of now, because it can fail now. */
	if (fd >= 0 && which == q->in && q->epfd >= 0)
		rc = watch(q->epfd, fd, EPOLLIN | EPOLLET);
	if (rc) {
		vhi_queue_abandon(q, ours);
		vhi_fd_close(&fd);
		return vhi_fail_at(rc, VH_ERROR_SYSTEM, 0, q->index, VH_ERROR_NONE,
				   "queue %u: can't watch its notification fd: %s", q->index, vh_error_name(rc));
	}
	if (q->change.what & VHI_PENDING_FD(which))
		unwatch_and_close(q, which, q->change.fds[which]);
	q->change.fds[which] = fd;
	q->change.what |= VHI_PENDING_FD(which);
	vhi_queue_finish(q, ours);
	return 0;
}

int vhi_queue_get_fd(struct vh_queue *q, enum vhi_queue_fd which)
{
	int fd;

	pthread_mutex_lock(&q->lock);
	fd = q->change.what & VHI_PENDING_FD(which) ? q->change.fds[which] : q->fds[which];
	pthread_mutex_unlock(&q->lock);
	return fd;
}

bool vhi_queue_ack(struct vh_queue *q)
{
	bool signalled;

	if (vhi_queue_enter(q))
		return false;
	signalled = q->hooks.edges || vhi_queue_drain_in(q);
	if (q->hooks.edges)
		vhi_queue_count_in(q);
	q->acked = true;
	vhi_queue_leave(q);
	return signalled;
}

void vhi_queue_drain(struct vh_queue *q)
{
	if (!q->hooks.edges || vhi_queue_enter(q))
		return;
	if (q->fds[q->in] >= 0)
		drain(q->fds[q->in]);
	vhi_queue_leave(q);
}

/* Lock is held. What was signalled before is for nobody. */
static int make_wake(struct vh_queue *q)
{
	int wake = q->wake_fd < 0 ? vhi_eventfd() : q->wake_fd;

	if (wake < 0)
		return wake;
	__atomic_store_n(&q->wake_fd, wake, __ATOMIC_RELEASE);
	return 0;
}

int vhi_queue_watch(struct vh_queue *q, int epfd, const uint64_t tags[2])
{
	struct epoll_event call = {.events = EPOLLIN | EPOLLET, .data.u64 = tags[0]};
	struct epoll_event wake = {.events = EPOLLIN, .data.u64 = tags[1]};
	int fd, rc;

	pthread_mutex_lock(&q->lock);
	rc = make_wake(q);
	fd = q->fds[q->in];
	if (!rc && fd >= 0 && vhi_sys.epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &call))
		rc = -errno;
	if (!rc && vhi_sys.epoll_ctl(epfd, EPOLL_CTL_ADD, q->wake_fd, &wake))
		rc = -errno;
	pthread_mutex_unlock(&q->lock);
	return rc;
}

/* Lock is held. */
static int make_fds(struct vh_queue *q)
{
	int rc = make_wake(q);
	int epfd = rc ? -1 : vhi_sys.epoll_create1(EPOLL_CLOEXEC);

	if (!rc)
		rc = epfd < 0 ? -errno : watch(epfd, q->wake_fd, EPOLLIN);
	if (!rc && q->fds[q->in] >= 0)
		rc = watch(epfd, q->fds[q->in], EPOLLIN | EPOLLET);
	if (!rc && q->change.what & VHI_PENDING_FD(q->in) && q->change.fds[q->in] >= 0)
		rc = watch(epfd, q->change.fds[q->in], EPOLLIN | EPOLLET);
	if (rc) {
		vhi_fd_close(&epfd);
		return rc;
	}
	__atomic_store_n(&q->epfd, epfd, __ATOMIC_RELEASE);
	return 0;
}

vh_fd vh_queue_fd(struct vh_queue *q)
{
	int rc = 0;

	if (!q)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_queue_fd: queue is NULL");
	pthread_mutex_lock(&q->lock);
	if (q->epfd < 0)
		rc = make_fds(q);
	pthread_mutex_unlock(&q->lock);
	if (rc)
		return vhi_fail_at(rc, VH_ERROR_SYSTEM, 0, q->index, VH_ERROR_NONE,
				   "queue %u: can't make its pollable fd: %s", q->index, vh_error_name(rc));
	return q->epfd;
}
