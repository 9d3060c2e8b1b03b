/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The handle: its life, and the public calls. */
#include "vhi_dialect.h"
#include "vhi_slave.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_MESSAGE_TIMEOUT_MS 10000u
#define DEFAULT_DRAIN_TIMEOUT_MS   30000u
#define DEFAULT_BUDGET		   256u
#define DEFAULT_MODE		   0600u
#define DEFAULT_MAX_STATE	   (UINT64_C(1) << 30)

/* Feature bits of rings and transport; below and above them are the device's own. */
#define TRANSPORT_BITS (VHI_BIT(42) - VHI_BIT(24))
/*
 * What a device may offer beside that, because it costs nothing. NOTIFICATION_DATA is for a device that shares doorbells of
 * its own (vh_slave_set_host_notifier()); a kick that comes by eventfd has none, and is a kick all the same.
 */
#define HARMLESS_BITS                                                                                \
	(VHI_BIT(VH_F_ANY_LAYOUT) | VHI_BIT(VH_F_PROTOCOL_FEATURES) | VHI_BIT(VH_F_ORDER_PLATFORM) | \
	 VHI_BIT(VH_F_NOTIFICATION_DATA))

/*
 * What is offered only to who asks: front-ends acknowledge ACCESS_PLATFORM that do nothing of what it needs, and in order
 * quick requests wait for slow ones.
 */
#define ASKED_BITS (VHI_BIT(VH_F_ACCESS_PLATFORM) | VHI_BIT(VH_F_IN_ORDER))

static void slave_destroy(struct vh_slave *s, bool tell);

vh_rc vhi_slave_enter(struct vh_slave *s, const char *call)
{
	int rc;

	if (!s)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: slave is NULL", call);
	rc = vhi_gate_enter(&s->gate);
	if (rc == -EBUSY)
		return vhi_fail(rc, VH_ERROR_STATE, 0, "%s: another thread is inside; use a slave from one at a time",
				call);
	return rc ? vhi_fail(rc, VH_ERROR_STATE, 0, "%s: the slave was stopped", call) : 0;
}

vh_count vhi_slave_leave(struct vh_slave *s, vh_count rc)
{
	/* What a callback asked for, where it was not inside dispatch. */
	if (s->conn.ending && s->gate.depth == 1 && !vhi_slave_ended(s)) {
		vhi_conn_end(s);
		vhi_listen_resume(s);
	}
	if (vhi_gate_leave(&s->gate))
		slave_destroy(s, true);
	return rc;
}

void vhi_slave_wake(void *ctx)
{
	struct vh_slave *s = ctx;

	vhi_eventfd_signal(s->wake_fd);
}

#define NET_F_MTU 3

/* Protocol features that are the device's to do. */
static uint64_t device_pf(const struct vh_device *dev)
{
	const struct vh_device_ops *ops = &dev->ops;
	const struct {
		unsigned bit;
		bool done;
	} features[] = {
		{VH_PF_CONFIG, ops->get_config},
		{VH_PF_RARP, ops->send_rarp},
		{VH_PF_MTU, ops->set_mtu && dev->opts.type == VH_TYPE_NET && dev->opts.features & VHI_BIT(NET_F_MTU)},
		{VH_PF_CRYPTO_SESSION, ops->create_crypto_session && ops->close_crypto_session},
		{VH_PF_DEVICE_STATE, ops->save_state && ops->load_state},
		{VH_PF_INFLIGHT_SHMFD, !(ops->flags & VH_DEVICE_NO_REPEAT)},
		{VH_PF_SHARED_OBJECT, ops->get_shared_object},
		{VH_PF_SHMEM, vhi_device_has_shmem(dev)},
		{VH_PF_GET_VRING_BASE_INFLIGHT, !(ops->flags & VH_DEVICE_NO_REPEAT)},
		{VH_PF_GET_VRING_BASE_SKIP_DRAIN, !(ops->flags & VH_DEVICE_NO_REPEAT)},
	};
	uint64_t pf = 0;

	for (size_t i = 0; i < VHI_ARRAY_SIZE(features); i++)
		pf |= features[i].done ? VHI_BIT(features[i].bit) : 0;
	return pf;
}

/* What is offered, with what it can't do without. */
static uint64_t offered_pf(const struct vh_slave_opts *o, const struct vh_device *dev)
{
	uint64_t pf = VHI_SLAVE_PF | device_pf(dev) | o->more_protocol_features;

	/* A log that is not shared by fd can't be written: one of the two is no use without the other. */
	if (o->mask_features & VHI_BIT(VH_F_LOG_ALL))
		pf &= ~VHI_BIT(VH_PF_LOG_SHMFD);
	if (o->postcopy && vhi_postcopy_possible())
		pf |= VHI_BIT(VH_PF_PAGEFAULT);
	if (pf & (VHI_BIT(VH_PF_HOST_NOTIFIER) | VHI_BIT(VH_PF_SHMEM)) ||
	    vhi_wire_in_dialect(VHI_BE_FS_MAP, o->dialect))
		pf |= VHI_BIT(VH_PF_BACKEND_SEND_FD);
	return vhi_wire_pf_closure(pf & ~o->mask_protocol_features);
}

static int set_defaults(struct vh_slave *s, const struct vh_slave_opts *opts, const struct vh_device *dev)
{
	struct vh_slave_opts *o = &s->opts;
	uint64_t bad = dev->opts.features & TRANSPORT_BITS & ~(VHI_RING_FEATURES | HARMLESS_BITS);
	int rc = vhi_opts_in(o, sizeof(*o), opts, "vh_slave_opts");

	if (rc)
		return rc;
	if (bad)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_slave_new: the device offers feature bits 0x%llx, which rings here don't do",
				(unsigned long long)bad);
	if (!vhi_dialect_known(o->dialect))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_new: dialect %u is not known", o->dialect);
	if (o->require_seal > 1 || o->socket_mode & ~0777u || o->postcopy > 1)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_slave_new: require_seal and postcopy are 0 or 1, socket_mode at most 0777");
	s->features = (dev->opts.features | VHI_RING_OFFERED | VHI_BIT(VH_F_PROTOCOL_FEATURES)) & ~o->mask_features;
	if (s->features & VHI_BIT(VH_F_PROTOCOL_FEATURES))
		s->pf = offered_pf(o, dev);
	if (s->pf & VHI_BIT(VH_PF_LOG_SHMFD))
		s->features |= VHI_BIT(VH_F_LOG_ALL);
	o->message_timeout_ms = o->message_timeout_ms ? o->message_timeout_ms : DEFAULT_MESSAGE_TIMEOUT_MS;
	o->drain_timeout_ms = o->drain_timeout_ms ? o->drain_timeout_ms : DEFAULT_DRAIN_TIMEOUT_MS;
	o->budget = o->budget ? o->budget : DEFAULT_BUDGET;
	if (o->more_features & ~ASKED_BITS)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_slave_new: more_features can have VH_F_ACCESS_PLATFORM and VH_F_IN_ORDER");
	s->features |= o->more_features & ~o->mask_features;
	o->socket_mode = o->socket_mode ? o->socket_mode : DEFAULT_MODE;
	o->max_state_bytes = o->max_state_bytes ? o->max_state_bytes : DEFAULT_MAX_STATE;
	return 0;
}

static int make_fds(struct vh_slave *s)
{
	int rc;

	s->epfd = vhi_sys.epoll_create1(EPOLL_CLOEXEC);
	if (s->epfd < 0)
		return -errno;
	s->wake_fd = vhi_eventfd();
	if (s->wake_fd < 0)
		return s->wake_fd;
	s->timer_fd = vhi_sys.timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (s->timer_fd < 0)
		return -errno;
	rc = vhi_slave_watch(s, EPOLL_CTL_ADD, s->wake_fd, VHI_SOURCE_WAKE, 0, EPOLLIN);
	return rc ? rc : vhi_slave_watch(s, EPOLL_CTL_ADD, s->timer_fd, VHI_SOURCE_TIMER, 0, EPOLLIN);
}

static int make_rings(struct vh_slave *s, const struct vh_device *dev)
{
	/* The kicks of queues that a user's thread drives are his to read. */
	const struct vhi_queue_hooks hooks = {
		.ctx = s, .wake = vhi_slave_wake, .edges = !(dev->ops.flags & VH_DEVICE_MANUAL_QUEUES)};
	const uint32_t n = dev->opts.max_queues;

	s->rings = vhi_calloc(n, sizeof(*s->rings));
	if (!s->rings)
		return -ENOMEM;
	for (; s->n_queues < n; s->n_queues++) {
		int rc = vhi_queue_new(s->n_queues, VH_QUEUE_DEVICE, &hooks, &s->rings[s->n_queues].q);

		if (!rc)
			rc = vh_queue_set_coalescing(s->rings[s->n_queues].q, s->opts.coalesce);
		if (rc)
			return rc;
	}
	return 0;
}

static int attach(struct vh_slave *s, struct vh_device *dev)
{
	int rc = vhi_device_attach(dev, &vhi_slave_carrier, s);
	int fd;

	if (rc)
		return rc;
	s->dev = dev;
	fd = dev->ops.poll_fd ? dev->ops.poll_fd(dev->ctx) : -1;
	return fd < 0 ? 0 : vhi_slave_watch(s, EPOLL_CTL_ADD, fd, VHI_SOURCE_DEVICE, 0, EPOLLIN);
}

static int ops_in(struct vh_slave *s, const struct vh_slave_ops *ops)
{
	int rc = ops ? vhi_opts_in(&s->ops, sizeof(s->ops), ops, "vh_slave_ops") : 0;

	if (!rc && s->ops.flags)
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_ops: unknown flags 0x%x; leave them 0",
			      s->ops.flags);
	return rc;
}

static int make(struct vh_slave *s, const struct vh_slave_opts *opts, const struct vh_slave_ops *ops,
		struct vh_device *dev)
{
	struct vh_mem_opts mem = {.size = sizeof(mem)};
	int rc = ops_in(s, ops);

	if (!rc)
		rc = set_defaults(s, opts, dev);
	if (rc)
		return rc;
	mem.require_seal = s->opts.require_seal;
	rc = make_fds(s);
	if (!rc)
		rc = vhi_events_init(&s->events, dev->opts.max_queues);
	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_slave_new: %s", vh_error_name(rc));
	rc = vh_mem_new(&mem, &s->mem);
	if (!rc)
		rc = make_rings(s, dev);
	return rc ? rc : attach(s, dev);
}

/* NULL with the last error set; what the user gave is not told yet that it ended. */
static struct vh_slave *slave_new(const struct vh_slave_opts *opts, struct vh_device *dev,
				  const struct vh_slave_ops *ops, vh_rc *rc)
{
	struct vh_slave *s = vhi_calloc(1, sizeof(*s));

	if (!s) {
		*rc = vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_slave_new: no memory");
		return NULL;
	}
	s->epfd = s->wake_fd = s->timer_fd = s->listen_fd = -1;
	s->pid = getpid();
	s->soon_ns = VHI_SOON_NS;
	s->tickets.kind = &vhi_slave_tickets;
	*rc = vhi_gate_init(&s->gate);
	if (*rc) {
		vhi_free(s);
		vhi_fail(*rc, VH_ERROR_SYSTEM, 0, "vh_slave_new: %s", vh_error_name(*rc));
		return NULL;
	}
	*rc = make(s, opts, ops, dev);
	if (*rc) {
		slave_destroy(s, false);
		return NULL;
	}
	return s;
}

vh_rc vh_slave_new(const struct vh_slave_opts *opts, struct vh_device *dev, const struct vh_slave_ops *ops, void *ctx,
		   struct vh_slave **out)
{
	struct vh_slave *s = NULL;
	vh_rc rc;

	if (!dev || !out)
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_new: dev or out is NULL");
	else
		s = slave_new(opts, dev, ops, &rc);
	if (!s) {
		vhi_ops_destroy(ops, ctx);
		return rc;
	}
	s->ctx = ctx;
	*out = s;
	return 0;
}

/*
 * After a fork: our numbers are closed like all others, but sets, timer, socket and eventfds are the same ones that the
 * parent uses, and what is in them is not ours to change.
 */
static void leave_to_parent(struct vh_slave *s)
{
	s->exported = true;
	vhi_fd_close(&s->epfd);
	vhi_fd_close(&s->timer_fd);
	for (uint32_t i = 0; i < s->n_queues; i++)
		vhi_queue_leave_to_parent(s->rings[i].q);
}

static void slave_destroy(struct vh_slave *s, bool tell)
{
	struct vh_device *dev = s->dev;
	struct vh_slave_ops ops = s->ops;
	void *ctx = s->ctx;

	s->destroying = true;
	if (s->pid != getpid())
		leave_to_parent(s);
	vhi_conn_fail(s, s->exported ? 0 : -ESHUTDOWN);
	vhi_conn_end(s);
	vhi_tickets_free(&s->tickets);
	/* Threads of the device may still have news; from here on they reach nobody. */
	if (dev)
		vhi_device_detach(dev);
	if (!s->exported)
		vhi_sock_remove(&s->file);
	/* A listening socket that was lent to us stays open elsewhere, and would stay in the set. */
	vhi_fd_close(&s->epfd);
	vhi_fd_close(&s->listen_fd);
	vhi_fd_close(&s->timer_fd);
	while (s->n_queues)
		vhi_queue_destroy(s->rings[--s->n_queues].q);
	vhi_fd_close(&s->wake_fd);
	vhi_free(s->rings);
	vhi_dial_forget(&s->dial);
	vh_mem_free(s->mem);
	vhi_events_fini(&s->events);
	vhi_show_end(s->show);
	vhi_gate_destroy(&s->gate);
	vhi_trace_set(&s->trace, NULL, NULL);
	vhi_log_set(&s->log, NULL, NULL);
	vhi_free(s);
	if (tell)
		vhi_ops_destroy(&ops, ctx);
}

void vh_slave_free(struct vh_slave *s)
{
	if (!s || s->destroying)
		return;
	__atomic_store_n(&s->stopping, 1, __ATOMIC_RELEASE);
	if (vhi_gate_free(&s->gate))
		slave_destroy(s, true);
}

vh_rc vh_slave_stop(struct vh_slave *s)
{
	if (!s)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_stop: slave is NULL");
	/* A thread that sleeps in vh_slave_wait() wakes up and finds the mark. */
	__atomic_store_n(&s->stopping, 1, __ATOMIC_RELEASE);
	vhi_eventfd_signal(s->wake_fd);
	vhi_gate_stop(&s->gate);
	return 0;
}

vh_rc vh_slave_wake(struct vh_slave *s)
{
	if (!s)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_wake: slave is NULL");
	vhi_slave_wake(s);
	return 0;
}

vh_rc vhi_slave_check_unused(const struct vh_slave *s)
{
	if (s->listen_fd >= 0 || s->conn.open || s->dial.address)
		return vhi_fail(-EBUSY, VH_ERROR_STATE, 0, "the slave listens, or is connected or connecting already");
	return 0;
}

vh_rc vh_slave_listen(struct vh_slave *s, const char *path)
{
	int fd;
	vh_rc rc = vhi_slave_enter(s, "vh_slave_listen");

	if (rc)
		return rc;
	rc = path ? vhi_slave_check_unused(s)
		  : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_listen: path is NULL");
	if (rc)
		return vhi_slave_leave(s, rc);
	fd = vhi_sock_listen(path, s->opts.socket_mode, &s->file);
	if (fd < 0)
		return vhi_slave_leave(s, fd);
	rc = vhi_listen_start(s, fd);
	if (rc)
		vhi_sock_remove(&s->file);
	vhi_slave_show_now(s);
	return vhi_slave_leave(s, rc);
}

vh_rc vh_slave_adopt(struct vh_slave *s, int32_t fd)
{
	bool listening;
	vh_rc rc = vhi_slave_enter(s, "vh_slave_adopt");
	int own;

	if (rc)
		return rc;
	rc = vhi_slave_check_unused(s);
	if (rc)
		return vhi_slave_leave(s, rc);
	own = vhi_sock_adopt(fd, &listening);
	if (own < 0)
		return vhi_slave_leave(s, own);
	rc = listening ? vhi_listen_start(s, own) : vhi_conn_begin(s, own);
	vhi_slave_show_now(s);
	return vhi_slave_leave(s, rc);
}

vh_fd vh_slave_fd(struct vh_slave *s)
{
	if (!s)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_fd: slave is NULL");
	return s->epfd;
}

static vh_count run(struct vh_slave *s, int timeout_ms)
{
	struct vhi_failure before;
	vh_count rc;

	if (s->dispatching)
		return vhi_fail(-EBUSY, VH_ERROR_STATE, 0, "vh_slave_dispatch: called from a callback of itself");
	vhi_failure_last(&before);
	s->dispatching = true;
	rc = vhi_slave_round(s, timeout_ms);
	s->dispatching = false;
	s->more = rc > 0;
	if (rc == -ESHUTDOWN)
		return vhi_fail(rc, VH_ERROR_STATE, 0, "vh_slave_dispatch: the slave was stopped");
	if (rc < 0)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_slave_wait: %s", vh_error_name(rc));
	/* What went wrong inside was the peer's; a call that succeeds leaves the last error as it was. */
	vhi_failure_raise(&before);
	return rc;
}

vh_count vh_slave_dispatch(struct vh_slave *s)
{
	vh_rc rc = vhi_slave_enter(s, "vh_slave_dispatch");

	return rc ? rc : vhi_slave_leave(s, run(s, 0));
}

vh_count vh_slave_wait(struct vh_slave *s, int32_t timeout_ms)
{
	vh_rc rc;

	if (timeout_ms < -1)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_wait: timeout_ms is %d; -1 waits for ever",
				timeout_ms);
	rc = vhi_slave_enter(s, "vh_slave_wait");
	return rc ? rc : vhi_slave_leave(s, run(s, s->more ? 0 : timeout_ms));
}

vh_count vh_slave_next_event(struct vh_slave *s, struct vh_event *out)
{
	vh_rc rc = vhi_slave_enter(s, "vh_slave_next_event");

	return rc ? rc : vhi_slave_leave(s, vhi_events_next(&s->events, out, "vh_slave_next_event"));
}

vh_rc vh_slave_queue(struct vh_slave *s, uint32_t index, struct vh_queue **out)
{
	if (!s || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_queue: slave or out is NULL");
	if (index >= s->n_queues)
		return vhi_fail(-ENOENT, VH_ERROR_ARGUMENT, 0, "vh_slave_queue: queue %u of a device with %u", index,
				s->n_queues);
	*out = s->rings[index].q;
	return 0;
}

vh_rc vh_slave_dup_snapshot(struct vh_slave *s, struct vh_snapshot **out)
{
	if (!s || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_dup_snapshot: slave or out is NULL");
	*out = vhi_mem_snapshot(s->mem);
	return 0;
}

vh_rc vh_slave_disconnect(struct vh_slave *s)
{
	vh_rc rc = vhi_slave_enter(s, "vh_slave_disconnect");

	if (rc)
		return rc;
	if (!s->conn.open)
		rc = vhi_fail(-ENOTCONN, VH_ERROR_STATE, 0, "vh_slave_disconnect: nobody is connected");
	vhi_conn_fail(s, -ECANCELED);
	/* A loop that looks for news after each dispatch hears of it too. */
	if (!rc)
		vhi_slave_wake(s);
	return vhi_slave_leave(s, rc);
}

vh_rc vh_slave_set_logger(struct vh_slave *s, const struct vh_logger_ops *ops, void *ctx)
{
	vh_rc rc = vhi_slave_enter(s, "vh_slave_set_logger");

	if (rc) {
		vhi_ops_destroy(ops, ctx);
		return rc;
	}
	return vhi_slave_leave(s, vhi_log_set(&s->log, ops, ctx));
}

vh_rc vh_slave_set_trace(struct vh_slave *s, const struct vh_trace_ops *ops, void *ctx)
{
	vh_rc rc = vhi_slave_enter(s, "vh_slave_set_trace");

	if (rc) {
		vhi_ops_destroy(ops, ctx);
		return rc;
	}
	return vhi_slave_leave(s, vhi_trace_set(&s->trace, ops, ctx));
}
