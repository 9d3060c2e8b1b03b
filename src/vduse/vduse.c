/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The handle: its life, and the public calls. */
#include "vhi_vduse.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "vh/queue.h"

#define DEFAULT_DRAIN_TIMEOUT_MS 20000u
#define DEFAULT_BUDGET		 256u
#define MOST_GROUPS		 256u
#define BOTH			 (VH_VDUSE_MAKE | VH_VDUSE_TAKE_UP)

/* What the kernel refuses: a device that the driver configures, by a queue or by writing configuration space. */
#define BLK_CONFIG_WCE VHI_BIT(11)
#define NET_CTRL       (VHI_BIT(17) | VHI_BIT(18) | VHI_BIT(19) | VHI_BIT(20) | VHI_BIT(21) | VHI_BIT(22) | VHI_BIT(23))
/* There is no message for the reset of one queue. */
#define NOT_HERE VHI_BIT(VH_F_RING_RESET)

static const struct vhi_site_text site_texts[] = {
#define VHI_SITE VHI_SITE_TEXT
#include "sites.def"
#undef VHI_SITE
};

const char *vhi_vduse_site_text(uint32_t site)
{
	return vhi_site_text(site_texts, VHI_ARRAY_SIZE(site_texts), site);
}

static void vduse_destroy(struct vh_vduse *v);

static vh_rc enter(struct vh_vduse *v, const char *call)
{
	int rc;

	if (!v)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: the device is NULL", call);
	rc = vhi_gate_enter(&v->gate);
	if (rc == -EBUSY)
		return vhi_fail(rc, VH_ERROR_STATE, 0, "%s: another thread is inside", call);
	return rc ? vhi_fail(rc, VH_ERROR_STATE, 0, "%s: it was stopped", call) : 0;
}

static vh_count leave(struct vh_vduse *v, vh_count rc)
{
	if (vhi_gate_leave(&v->gate))
		vduse_destroy(v);
	return rc;
}

/* What a round does itself is looked at by the next one, which begins at once. */
void vhi_vduse_wake(void *ctx)
{
	struct vh_vduse *v = ctx;

	if (vhi_gate_inside(&v->gate) && v->dispatching)
		v->woken = true;
	else
		vhi_eventfd_signal(v->wake_fd);
}

/* From any thread. */
static void failed(void *ctx, uint32_t queue, int32_t rc)
{
	struct vh_vduse *v = ctx;

	vhi_serve_failed(&v->rings[queue].serve, v->rings[queue].q, rc);
	if (!__atomic_exchange_n(&v->device_failed, 1, __ATOMIC_ACQ_REL))
		vhi_vduse_wake(v);
}

static int tell_config(struct vh_vduse *v)
{
	union {
		struct vhi_vduse_config_data head;
		uint8_t bytes[sizeof(struct vhi_vduse_config_data) + VHI_VDUSE_CONFIG_SIZE];
	} arg = {.head = {.length = VHI_VDUSE_CONFIG_SIZE}};
	int rc = vhi_vduse_config(v, arg.bytes + sizeof(arg.head));

	if (rc)
		return rc;
	rc = vhi_vduse_ioctl(v, VHI_VDUSE_DEV_SET_CONFIG, &arg);
	/* A driver that does not run yet finds it when it looks. */
	if (rc >= 0 && v->status & VHI_STATUS_DRIVER_OK)
		rc = vhi_vduse_ioctl(v, VHI_VDUSE_DEV_INJECT_CONFIG_IRQ, NULL);
	return rc < 0 ? vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_device_config_changed: %s", vh_error_name(rc)) : 0;
}

static int config_changed(void *ctx)
{
	vh_rc rc = enter(ctx, "vh_device_config_changed");

	return rc ? rc : leave(ctx, tell_config(ctx));
}

static const struct vhi_carrier carrier = {
	.wake = vhi_vduse_wake,
	.config_changed = config_changed,
	.failed = failed,
};

static uint64_t offered(const struct vh_vduse_opts *o, const struct vh_device *dev)
{
	uint64_t f = dev->opts.features | VHI_RING_OFFERED | o->more_features;

	f &= ~(o->mask_features | NOT_HERE);
	f &= ~(dev->opts.type == VH_TYPE_BLK ? BLK_CONFIG_WCE : 0);
	f &= ~(dev->opts.type == VH_TYPE_NET ? NET_CTRL : 0);
	return f | VHI_BIT(VH_F_ACCESS_PLATFORM) | VHI_BIT(VH_F_VERSION_1);
}

static vh_rc set_defaults(struct vh_vduse *v, const struct vh_vduse_opts *opts, const struct vh_device *dev)
{
	struct vh_vduse_opts *o = &v->opts;
	int rc = vhi_opts_in(o, sizeof(*o), opts, "vh_vduse_opts");

	if (rc)
		return rc;
	o->drain_timeout_ms = o->drain_timeout_ms ? o->drain_timeout_ms : DEFAULT_DRAIN_TIMEOUT_MS;
	o->budget = o->budget ? o->budget : DEFAULT_BUDGET;
	o->groups = o->groups ? o->groups : 1;
	o->address_spaces = o->address_spaces ? o->address_spaces : 1;
	if (o->flags & ~(BOTH | VH_VDUSE_UMEM) || (o->flags & BOTH) == BOTH)
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_vduse_new: flags has VH_VDUSE_MAKE or VH_VDUSE_TAKE_UP or none of these, and may have "
			"VH_VDUSE_UMEM");
	if (o->more_features & ~VHI_BIT(VH_F_IN_ORDER))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vduse_new: more_features can have VH_F_IN_ORDER");
	if (o->groups > MOST_GROUPS || o->address_spaces > MOST_GROUPS)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_vduse_new: %u groups and %u address spaces; at most %u", o->groups,
				o->address_spaces, MOST_GROUPS);
	v->features = offered(o, dev);
	return 0;
}

static int make_fds(struct vh_vduse *v)
{
	int rc;

	v->epfd = vhi_sys.epoll_create1(EPOLL_CLOEXEC);
	if (v->epfd < 0)
		return -errno;
	v->wake_fd = vhi_eventfd();
	if (v->wake_fd < 0)
		return v->wake_fd;
	v->timer_fd = vhi_sys.timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (v->timer_fd < 0)
		return -errno;
	rc = vhi_vduse_watch(v, EPOLL_CTL_ADD, v->wake_fd, VHI_VDUSE_FROM_WAKE, 0, EPOLLIN);
	return rc ? rc : vhi_vduse_watch(v, EPOLL_CTL_ADD, v->timer_fd, VHI_VDUSE_FROM_TIMER, 0, EPOLLIN);
}

static vh_rc make_rings(struct vh_vduse *v, const struct vh_device *dev)
{
	const struct vhi_queue_hooks hooks = {
		.ctx = v, .wake = vhi_vduse_wake, .edges = !(dev->ops.flags & VH_DEVICE_MANUAL_QUEUES)};
	const uint32_t n = dev->opts.max_queues;

	v->rings = vhi_calloc(n, sizeof(*v->rings));
	if (!v->rings)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_vduse_new: no memory");
	for (; v->n_queues < n; v->n_queues++) {
		struct vh_queue **q = &v->rings[v->n_queues].q;
		int rc = vhi_queue_new(v->n_queues, VH_QUEUE_DEVICE, &hooks, q);

		if (!rc)
			rc = vh_queue_set_coalescing(*q, v->opts.coalesce);
		if (rc)
			return rc;
	}
	return 0;
}

/* Room for either layout of rings, whichever the driver will choose. */
static vh_rc open_records(struct vh_vduse *v, const struct vh_device *dev, int fd)
{
	const uint32_t size = dev->opts.max_queue_size;
	const uint64_t split = vhi_inflight_stride(size, 0);
	const uint64_t packed = vhi_inflight_stride(size, VHI_BIT(VH_F_RING_PACKED));
	const struct vh_inflight in = {.size = sizeof(in),
				       .num_queues = dev->opts.max_queues,
				       .queue_size = size,
				       .mmap_size = dev->opts.max_queues * VHI_MAX(split, packed)};
	struct stat st;

	if (fd < 0 || dev->ops.flags & VH_DEVICE_NO_REPEAT)
		return 0;
	if (vhi_sys.fstat(fd, &st) ||
	    ((uint64_t)st.st_size < in.mmap_size && vhi_sys.ftruncate(fd, (off_t)in.mmap_size)))
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0,
				"vh_vduse_new: the file of records can't be made %llu bytes large: %s",
				(unsigned long long)in.mmap_size, vh_error_name(-errno));
	return vhi_inflight_open(&in, fd, false, &v->records);
}

static vh_rc attach(struct vh_vduse *v, struct vh_device *dev)
{
	int rc = vhi_device_attach(dev, &carrier, v);
	int fd;

	if (rc)
		return rc;
	v->dev = dev;
	rc = vhi_vduse_open(v);
	if (rc)
		return rc;
	rc = vhi_vduse_watch(v, EPOLL_CTL_ADD, v->fd, VHI_VDUSE_FROM_KERNEL, 0, EPOLLIN);
	v->listening = true;
	fd = !rc && dev->ops.poll_fd ? dev->ops.poll_fd(dev->ctx) : -1;
	if (!rc && fd >= 0)
		rc = vhi_vduse_watch(v, EPOLL_CTL_ADD, fd, VHI_VDUSE_FROM_DEVICE, 0, EPOLLIN);
	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_vduse_new: %s", vh_error_name(rc));
	return vhi_vduse_take_up(v);
}

static vh_rc make(struct vh_vduse *v, const struct vh_vduse_opts *opts, struct vh_device *dev, int records)
{
	int rc = set_defaults(v, opts, dev);

	if (rc)
		return rc;
	rc = make_fds(v);
	if (!rc)
		rc = vhi_events_init(&v->events, dev->opts.max_queues);
	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_vduse_new: %s", vh_error_name(rc));
	rc = vhi_vduse_spaces_new(v);
	if (!rc)
		rc = make_rings(v, dev);
	if (!rc)
		rc = open_records(v, dev, records);
	return rc ? rc : attach(v, dev);
}

vh_rc vh_vduse_new(const struct vh_vduse_opts *opts, const char *name, struct vh_device *dev, vh_fd records,
		   struct vh_vduse **out)
{
	struct vh_vduse *v;
	vh_rc rc;

	if (!dev || !out || !name)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vduse_new: name, dev or out is NULL");
	if (!*name || strlen(name) >= VHI_VDUSE_NAME_MAX || strchr(name, '/') || !strcmp(name, "control"))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_vduse_new: a name has 1 to 255 bytes, no slash, and is not \"control\"");
	v = vhi_calloc(1, sizeof(*v));
	rc = v ? vhi_gate_init(&v->gate) : -ENOMEM;
	if (rc) {
		vhi_free(v);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_vduse_new: %s", vh_error_name(rc));
	}
	v->fd = v->epfd = v->wake_fd = v->timer_fd = -1;
	v->pid = getpid();
	memcpy(v->name, name, strlen(name));
	rc = make(v, opts, dev, records);
	if (rc)
		vduse_destroy(v);
	else
		*out = v;
	return rc;
}

/* In a child of fork: the parent goes on with the same files. */
static void leave_to_parent(struct vh_vduse *v)
{
	vhi_fd_close(&v->epfd);
	vhi_fd_close(&v->timer_fd);
	vhi_fd_close(&v->fd);
	for (uint32_t i = 0; i < v->n_queues; i++)
		vhi_queue_leave_to_parent(v->rings[i].q);
}

static void vduse_destroy(struct vh_vduse *v)
{
	struct vh_device *dev = v->dev;

	v->destroying = true;
	if (v->pid != getpid())
		leave_to_parent(v);
	if (dev)
		vhi_vduse_abort_all(v);
	if (dev && dev->ops.set_features && v->features_told)
		dev->ops.set_features(dev->ctx, 0, 0);
	/* Threads of the device may still have news; from here on they reach nobody. */
	if (dev) {
		vhi_later_disarm(dev);
		vhi_device_detach(dev);
	}
	vhi_vduse_umem_end(v);
	vhi_fd_close(&v->epfd);
	vhi_fd_close(&v->fd);
	vhi_fd_close(&v->timer_fd);
	while (v->n_queues)
		vhi_queue_destroy(v->rings[--v->n_queues].q);
	vhi_fd_close(&v->wake_fd);
	vhi_free(v->rings);
	vhi_vduse_spaces_free(v);
	vhi_inflight_put(v->records);
	vhi_events_fini(&v->events);
	vhi_show_end(v->show);
	vhi_gate_destroy(&v->gate);
	vhi_log_set(&v->log, NULL, NULL);
	vhi_free(v);
}

void vh_vduse_free(struct vh_vduse *v)
{
	if (!v || v->destroying)
		return;
	__atomic_store_n(&v->stopping, 1, __ATOMIC_RELEASE);
	if (vhi_gate_free(&v->gate))
		vduse_destroy(v);
}

vh_rc vh_vduse_stop(struct vh_vduse *v)
{
	if (!v)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vduse_stop: the device is NULL");
	/* A thread that sleeps in vh_vduse_wait() wakes up and finds the mark. */
	__atomic_store_n(&v->stopping, 1, __ATOMIC_RELEASE);
	vhi_eventfd_signal(v->wake_fd);
	vhi_gate_stop(&v->gate);
	return 0;
}

vh_fd vh_vduse_fd(struct vh_vduse *v)
{
	return v ? v->epfd : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vduse_fd: the device is NULL");
}

static vh_count run(struct vh_vduse *v, int timeout_ms)
{
	struct vh_error before = {.size = sizeof(before)};
	struct vhi_failure keep;
	vh_count rc;

	if (v->dispatching)
		return vhi_fail(-EBUSY, VH_ERROR_STATE, 0, "vh_vduse_dispatch: called from a callback of itself");
	vh_error_get(&before);
	v->dispatching = true;
	rc = vhi_vduse_round(v, timeout_ms);
	v->dispatching = false;
	v->more = rc > 0;
	if (rc == -EPERM)
		return vhi_fail(rc, VH_ERROR_STATE, 0,
				"the kernel gave the device %s up, for good: an answer took longer than it waits (its "
				"msg_timeout)",
				v->name);
	if (rc < 0)
		return vhi_fail(rc, v->site ? VH_ERROR_PEER : VH_ERROR_SYSTEM, v->site, "vh_vduse_dispatch: %s",
				v->site ? vhi_vduse_site_text(v->site) : vh_error_name(rc));
	/* What went wrong inside was the driver's; a call that succeeds leaves the last error as it was. */
	keep = (struct vhi_failure){.code = before.code,
				    .domain = before.domain,
				    .site = before.site,
				    .queue = before.queue,
				    .request = before.request};
	memcpy(keep.text, before.text, sizeof(keep.text));
	vhi_failure_raise(&keep);
	return rc;
}

vh_count vh_vduse_dispatch(struct vh_vduse *v)
{
	vh_rc rc = enter(v, "vh_vduse_dispatch");

	return rc ? rc : leave(v, run(v, 0));
}

vh_count vh_vduse_wait(struct vh_vduse *v, int32_t timeout_ms)
{
	vh_rc rc;

	if (timeout_ms < -1)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vduse_wait: timeout_ms is %d; -1 waits for ever",
				timeout_ms);
	rc = enter(v, "vh_vduse_wait");
	return rc ? rc : leave(v, run(v, v->more ? 0 : timeout_ms));
}

vh_count vh_vduse_next_event(struct vh_vduse *v, struct vh_event *out)
{
	vh_rc rc = enter(v, "vh_vduse_next_event");

	return rc ? rc : leave(v, vhi_events_next(&v->events, out, "vh_vduse_next_event"));
}

vh_rc vh_vduse_queue(struct vh_vduse *v, uint32_t index, struct vh_queue **out)
{
	if (!v || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vduse_queue: the device or out is NULL");
	if (index >= v->n_queues)
		return vhi_fail(-ENOENT, VH_ERROR_ARGUMENT, 0, "vh_vduse_queue: queue %u of a device with %u", index,
				v->n_queues);
	*out = v->rings[index].q;
	return 0;
}

vh_rc vh_vduse_get_info(struct vh_vduse *v, struct vh_vduse_info *out)
{
	struct vh_vduse_info info;
	vh_rc rc = enter(v, "vh_vduse_get_info");

	if (rc)
		return rc;
	info = v->stats;
	info.size = sizeof(info);
	info.status = v->status;
	info.offered = v->features;
	info.features = v->acked;
	info.n_queues = v->n_queues;
	for (uint32_t i = 0; i < v->n_queues; i++)
		info.running += v->rings[i].state == VHI_VDUSE_RUNNING;
	info.owed = v->job.step != NULL;
	info.regions = vhi_vduse_regions(v);
	vhi_vduse_umem_info(v, &info);
	return leave(v, vhi_out_fill(out, &info, sizeof(info), "vh_vduse_get_info"));
}

vh_rc vh_vduse_set_metrics(struct vh_vduse *v, struct vh_metrics *m, const char *name)
{
	vh_rc rc = enter(v, "vh_vduse_set_metrics");

	return rc ? rc : leave(v, vhi_vduse_show_on(v, m, name));
}

vh_rc vh_vduse_set_logger(struct vh_vduse *v, const struct vh_logger_ops *ops, void *ctx)
{
	vh_rc rc = enter(v, "vh_vduse_set_logger");

	if (rc) {
		vhi_ops_destroy(ops, ctx);
		return rc;
	}
	return leave(v, vhi_log_set(&v->log, ops, ctx));
}
