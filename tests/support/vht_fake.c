/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vht_fake.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vhi_device.h"
#include "vhi_queue.h"

#define MAX_RINGS  64
#define MAX_RANGES 64
#define BUDGET	   64
#define ROUNDS	   16

/* As VHOST_SET_MEM_TABLE has it. */
struct range {
	uint64_t gpa, len, hva;
};

/* As VHOST_SET_VRING_ADDR has it. */
struct ring {
	struct vh_queue *q;
	uint32_t num;
	uint64_t desc, avail, used; /* addresses of this process */
	uint32_t base;
	bool active;
};

struct vht_fake {
	struct vh_backend backend;
	struct vh_device *dev;
	uint64_t features, hidden;
	struct range ranges[MAX_RANGES];
	uint32_t n_ranges;
	struct vh_snapshot *snap; /* what the ranges lie in */
	struct ring rings[MAX_RINGS];
	uint32_t n_rings;
	int epfd, doom;	       /* doom is readable once the device is gone */
	uint32_t dead, inside; /* atomic */
	bool has_status, refuse_features, asleep;
	uint8_t status;
	uint32_t lie_base;
	unsigned counts[VHT_FAKE_CALLS];
	enum vht_fake_call fail_call;
	unsigned fail_in;
	int fail_rc;
};

static bool dead(const struct vht_fake *f)
{
	return __atomic_load_n(&f->dead, __ATOMIC_ACQUIRE);
}

static int begin(struct vht_fake *f, enum vht_fake_call call)
{
	f->counts[call]++;
	if (dead(f))
		return vhi_fail(-ENODEV, VH_ERROR_DEVICE, 0, "fake: the device is gone");
	if (f->fail_call == call && f->fail_in-- == 0) {
		f->fail_call = VHT_FAKE_NONE;
		return vhi_fail(f->fail_rc, VH_ERROR_DEVICE, 0, "fake: told to fail");
	}
	return 0;
}

/* The kernel's side of it. */

static bool hva_to_gpa(const struct vht_fake *f, uint64_t hva, uint64_t len, struct vhi_gpa *out)
{
	for (uint32_t i = 0; i < f->n_ranges; i++) {
		const struct range *r = &f->ranges[i];

		if (hva >= r->hva && hva - r->hva <= r->len && len <= r->len - (hva - r->hva)) {
			out->v = r->gpa + (hva - r->hva);
			return true;
		}
	}
	return false;
}

static int k_set_mem_table(struct vht_fake *f, const struct range *ranges, uint32_t n, struct vh_snapshot *snap)
{
	if (n > MAX_RANGES)
		return vhi_fail(-E2BIG, VH_ERROR_DEVICE, 0, "fake: a memory table has 64 ranges at most");
	memcpy(f->ranges, ranges, n * sizeof(*ranges));
	f->n_ranges = n;
	vhi_snapshot_put(f->snap);
	f->snap = vhi_snapshot_get(snap);
	for (uint32_t i = 0; i < f->n_rings; i++)
		if (f->rings[i].active)
			vhi_queue_ctl(f->rings[i].q, VHI_CTL_SNAPSHOT, snap);
	return 0;
}

static int k_set_vring(struct vht_fake *f, struct ring *r, const struct ring *now)
{
	struct vh_queue *q = r->q;

	(void)f;
	if (r->active)
		return vhi_fail(-EBUSY, VH_ERROR_DEVICE, 0, "fake: the ring is active");
	*r = *now;
	r->q = q;
	return 0;
}

static void k_stop(struct vht_fake *f, struct ring *r)
{
	if (!r->active)
		return;
	r->active = false;
	vhi_queue_ctl(r->q, VHI_CTL_DRAIN, NULL);
	if (vhi_queue_finish_stop(r->q, &r->base)) {
		vhi_queue_ctl(r->q, VHI_CTL_ABORT, NULL);
		r->base = vhi_queue_base(r->q);
	}
	if (f->dev->ops.queue_stopped)
		f->dev->ops.queue_stopped(f->dev->ctx, r->q, (uint32_t)(r - f->rings));
}

/* fd -1 stops, anything else starts. */
static int k_set_backend(struct vht_fake *f, struct ring *r, int fd)
{
	struct vhi_ring ring = {.num = r->num, .features = f->features, .base = r->base};
	int rc;

	if (fd < 0) {
		k_stop(f, r);
		return 0;
	}
	if (r->active)
		return 0;
	if (!hva_to_gpa(f, r->desc, 16u * r->num, &ring.desc) ||
	    !hva_to_gpa(f, r->avail, 6u + 2u * r->num, &ring.driver) ||
	    !hva_to_gpa(f, r->used, 6u + 8u * r->num, &ring.device))
		return vhi_fail(-EFAULT, VH_ERROR_DEVICE, 0, "fake: ring memory is in no range");
	rc = vhi_queue_start(r->q, &ring, f->snap);
	if (rc)
		return rc;
	vhi_queue_ctl(r->q, VHI_CTL_ENABLE, NULL);
	r->active = true;
	if (f->dev->ops.queue_started)
		f->dev->ops.queue_started(f->dev->ctx, r->q, (uint32_t)(r - f->rings));
	vhi_queue_wake(r->q); /* look at the ring once, whatever was kicked before */
	return 0;
}

/* The state of a ring that runs on: this stops nothing. */
static uint32_t k_get_vring_base(const struct vht_fake *f, struct ring *r)
{
	return (r->active ? vhi_queue_base(r->q) : r->base) + f->lie_base;
}

/* The intents. */

static int fake_get_features(void *ctx, uint64_t *offered)
{
	struct vht_fake *f = ctx;

	*offered = (f->dev->opts.features | VHI_RING_OFFERED | VHI_BIT(VH_F_LOG_ALL)) & ~f->hidden;
	return dead(f) ? -ENODEV : 0;
}

static int fake_negotiate(void *ctx, uint64_t wanted, uint64_t *acked)
{
	struct vht_fake *f = ctx;
	uint64_t offered;
	int rc = begin(f, VHT_FAKE_NEGOTIATE);

	if (rc)
		return rc;
	fake_get_features(f, &offered);
	f->features = wanted & offered;
	if (f->dev->ops.set_features)
		rc = f->dev->ops.set_features(f->dev->ctx, f->features, 0);
	if (!rc)
		*acked = f->features;
	return rc;
}

static int fake_max_queues(void *ctx, uint32_t *n)
{
	*n = ((struct vht_fake *)ctx)->n_rings;
	return 0;
}

static int fake_set_memory(void *ctx, struct vh_mem *mem)
{
	struct vht_fake *f = ctx;
	struct range ranges[MAX_RANGES + 1];
	struct vh_snapshot *snap;
	struct vh_region region;
	uint32_t n = 0;
	int rc = begin(f, VHT_FAKE_SET_MEMORY);

	if (rc)
		return rc;
	snap = vhi_mem_snapshot(mem);
	for (; n < snap->n && n <= MAX_RANGES; n++) {
		vhi_region_describe(snap, n, &region);
		ranges[n] = (struct range){region.gpa, region.len, region.host};
	}
	rc = k_set_mem_table(f, ranges, n, snap);
	vhi_snapshot_put(snap);
	return rc;
}

static uint64_t hva(const struct vht_fake *f, struct vhi_gpa gpa, uint64_t len)
{
	return (uint64_t)(uintptr_t)vhi_translate_one(f->snap, gpa, len);
}

static int fake_ring_start(void *ctx, uint32_t index, const struct vhi_ring_intent *i)
{
	struct vht_fake *f = ctx;
	struct ring *r, now = {.num = i->num, .base = i->base};
	int rc = begin(f, VHT_FAKE_RING_START);

	if (rc)
		return rc;
	if (index >= f->n_rings || !f->snap)
		return vhi_fail(-ENOBUFS, VH_ERROR_DEVICE, 0, "fake: no such ring, or no memory");
	r = &f->rings[index];
	now.desc = hva(f, i->desc, 16u * i->num);
	now.avail = hva(f, i->driver, 6u + 2u * i->num);
	now.used = hva(f, i->device, 6u + 8u * i->num);
	rc = k_set_vring(f, r, &now);
	if (!rc)
		rc = vhi_queue_set_fd(r->q, VHI_QUEUE_KICK, vhi_fd_dup(i->kick));
	if (!rc)
		rc = vhi_queue_set_fd(r->q, VHI_QUEUE_CALL, vhi_fd_dup(i->call));
	return rc ? rc : k_set_backend(f, r, 0);
}

static int fake_ring_stop(void *ctx, uint32_t index, uint32_t *base)
{
	struct vht_fake *f = ctx;
	int rc = begin(f, VHT_FAKE_RING_STOP);

	if (rc)
		return rc;
	k_set_backend(f, &f->rings[index], -1);
	*base = k_get_vring_base(f, &f->rings[index]);
	return 0;
}

/* The kernel has no switch beside SET_BACKEND; one that was detached goes on at its own index. */
static int fake_ring_enable(void *ctx, uint32_t index, bool on)
{
	struct vht_fake *f = ctx;
	int rc = begin(f, VHT_FAKE_RING_ENABLE);

	return rc ? rc : k_set_backend(f, &f->rings[index], on ? 0 : -1);
}

static int fake_config_get(void *ctx, uint32_t offset, void *buf, uint32_t len)
{
	struct vht_fake *f = ctx;
	int rc = begin(f, VHT_FAKE_CONFIG_GET);

	if (rc)
		return rc;
	memset(buf, 0, len);
	return f->dev->ops.get_config ? f->dev->ops.get_config(f->dev->ctx, offset, buf, len, 0) : 0;
}

static int fake_config_set(void *ctx, uint32_t offset, const void *buf, uint32_t len)
{
	struct vht_fake *f = ctx;

	if (!f->dev->ops.set_config)
		return vhi_fail(-EOPNOTSUPP, VH_ERROR_DEVICE, 0, "fake: the device's config space can't be written");
	return f->dev->ops.set_config(f->dev->ctx, offset, buf, len, VH_CONFIG_WRITE, 0);
}

static int fake_set_status(void *ctx, uint8_t status)
{
	struct vht_fake *f = ctx;
	int rc = begin(f, VHT_FAKE_SET_STATUS);

	if (rc)
		return rc;
	if (!f->has_status)
		return vhi_fail(-EOPNOTSUPP, VH_ERROR_DEVICE, 0, "fake: the kernel's vhost has no status");
	f->status = f->refuse_features ? status & (uint8_t)~8u : status;
	return 0;
}

static int fake_get_status(void *ctx, uint8_t *status)
{
	struct vht_fake *f = ctx;

	if (!f->has_status)
		return vhi_fail(-EOPNOTSUPP, VH_ERROR_DEVICE, 0, "fake: the kernel's vhost has no status");
	*status = f->status;
	return 0;
}

static int fake_fd(void *ctx)
{
	return ((struct vht_fake *)ctx)->epfd;
}

/* True when there may be more. */
static bool run_ring(struct vht_fake *f, struct ring *r)
{
	const uint32_t index = (uint32_t)(r - f->rings);

	for (int i = 0; i < ROUNDS; i++) {
		vhi_queue_ack(r->q);
		if (f->dev->ops.on_batch(f->dev->ctx, r->q, index, BUDGET) < 0)
			return false;
		if (vh_queue_arm(r->q) != VH_QUEUE_MORE)
			return false;
	}
	return true;
}

static int fake_dispatch(void *ctx)
{
	struct vht_fake *f = ctx;
	bool more = false;

	if (dead(f))
		return vhi_fail(-ENODEV, VH_ERROR_DEVICE, 0, "fake: the device is gone");
	if (__atomic_exchange_n(&f->inside, 1, __ATOMIC_ACQUIRE))
		return vhi_fail(-EBUSY, VH_ERROR_STATE, 0, "fake: another thread is inside");
	for (uint32_t i = 0; !f->asleep && i < f->n_rings; i++)
		if (f->rings[i].active)
			more |= run_ring(f, &f->rings[i]);
	if (!f->asleep && f->dev->ops.on_poll)
		f->dev->ops.on_poll(f->dev->ctx);
	__atomic_store_n(&f->inside, 0, __ATOMIC_RELEASE);
	return more;
}

static const struct vhi_backend_ops fake_ops = {
	.kind = "fake",
	.get_features = fake_get_features,
	.negotiate = fake_negotiate,
	.max_queues = fake_max_queues,
	.set_memory = fake_set_memory,
	.ring_start = fake_ring_start,
	.ring_stop = fake_ring_stop,
	.ring_enable = fake_ring_enable,
	.config_get = fake_config_get,
	.config_set = fake_config_set,
	.set_status = fake_set_status,
	.get_status = fake_get_status,
	.fd = fake_fd,
	.dispatch = fake_dispatch,
};

static void failed(void *ctx, uint32_t queue, int32_t rc)
{
	(void)ctx;
	(void)queue;
	(void)rc;
}

static const struct vhi_carrier carrier = {.failed = failed};

static void watch(struct vht_fake *f, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};

	if (fd < 0 || epoll_ctl(f->epfd, EPOLL_CTL_ADD, fd, &ev))
		abort();
}

struct vht_fake *vht_fake_new(struct vh_device *dev)
{
	struct vht_fake *f = calloc(1, sizeof(*f));
	const struct vhi_queue_hooks hooks = {0};

	if (!f || vhi_device_attach(dev, &carrier, f))
		abort();
	f->backend = (struct vh_backend){&fake_ops, f};
	f->dev = dev;
	f->n_rings = dev->opts.max_queues ? dev->opts.max_queues : 1;
	f->epfd = epoll_create1(EPOLL_CLOEXEC);
	f->doom = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	watch(f, f->doom);
	if (dev->ops.poll_fd && dev->ops.poll_fd(dev->ctx) >= 0)
		watch(f, dev->ops.poll_fd(dev->ctx));
	for (uint32_t i = 0; i < f->n_rings; i++) {
		if (vhi_queue_new(i, VH_QUEUE_DEVICE, &hooks, &f->rings[i].q))
			abort();
		watch(f, vh_queue_fd(f->rings[i].q));
	}
	return f;
}

void vht_fake_free(struct vht_fake *f)
{
	if (!f)
		return;
	for (uint32_t i = 0; i < f->n_rings; i++) {
		k_stop(f, &f->rings[i]);
		vhi_queue_destroy(f->rings[i].q);
	}
	vhi_snapshot_put(f->snap);
	vhi_device_detach(f->dev);
	close(f->epfd);
	close(f->doom);
	free(f);
}

struct vh_backend *vht_fake_backend(struct vht_fake *f)
{
	return &f->backend;
}

void vht_fake_fail(struct vht_fake *f, enum vht_fake_call call, unsigned n, int rc)
{
	f->fail_call = call;
	f->fail_in = n;
	f->fail_rc = rc;
}

unsigned vht_fake_count(const struct vht_fake *f, enum vht_fake_call call)
{
	return f->counts[call];
}

void vht_fake_die(struct vht_fake *f)
{
	__atomic_store_n(&f->dead, 1, __ATOMIC_RELEASE);
	vhi_eventfd_signal(f->doom);
}

void vht_fake_hide_features(struct vht_fake *f, uint64_t features)
{
	f->hidden |= features;
}

void vht_fake_status(struct vht_fake *f, bool refuse_features)
{
	f->has_status = true;
	f->refuse_features = refuse_features;
}

void vht_fake_lie_base(struct vht_fake *f, uint32_t add)
{
	f->lie_base = add;
}

void vht_fake_sleep(struct vht_fake *f, bool on)
{
	f->asleep = on;
}

unsigned vht_fake_running(const struct vht_fake *f)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < f->n_rings; i++)
		n += f->rings[i].active;
	return n;
}
