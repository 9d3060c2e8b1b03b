/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A driver session comes and goes: negotiation, rings, the small questions. */
#include "vhi_driver.h"

#include <unistd.h>

#define DEFAULT_SIZE 256
#define MAX_QUEUES   256
/* Descriptors of an indirect table: a block request has three, or a few more where segments are limited. */
#define MAX_INDIRECT 8

/* Bits that belong to the device type. */
#define TYPE_BITS (((VHI_BIT(24) - 1) << 0) | ((VHI_BIT(14) - 1) << 50))

/* The device types that there is a driver for here, and what it can do with. */
static const struct {
	uint32_t type;
	uint64_t features;
} types[] = {
	{0, 0},
	{VH_TYPE_BLK, VHI_BLK_FEATURES},
	{VH_TYPE_NET, VHI_NET_FEATURES},
};

static const uint64_t *type_features(uint32_t type)
{
	for (size_t i = 0; i < VHI_ARRAY_SIZE(types); i++)
		if (types[i].type == type)
			return &types[i].features;
	return NULL;
}

static const struct vhi_site_text site_texts[] = {
#define VHI_SITE VHI_SITE_TEXT
#include "sites.def"
#undef VHI_SITE
};

const char *vhi_driver_site_text(uint32_t site)
{
	return vhi_site_text(site_texts, VHI_ARRAY_SIZE(site_texts), site);
}

struct vh_error vhi_driver_error_keep(void)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	return e;
}

void vhi_driver_error_put(const struct vh_error *e)
{
	vhi_fail_at(e->code, e->domain, e->site, e->queue, e->request, "%s", e->text);
}

int vhi_driver_status(struct vh_driver *d, uint8_t status)
{
	struct vh_error before = vhi_driver_error_keep();
	int rc = d->b->ops->set_status ? d->b->ops->set_status(d->b->ctx, status) : -EOPNOTSUPP;

	if (rc != -EOPNOTSUPP)
		return rc;
	vhi_driver_error_put(&before);
	return 0;
}

/* A device that can't do with the features takes the bit back. */
int vhi_driver_features_ok(struct vh_driver *d)
{
	struct vh_error before = vhi_driver_error_keep();
	uint8_t status = 0;
	int rc = vhi_driver_status(d, VHI_DRIVER_S_CHOSEN);

	if (rc)
		return rc;
	rc = d->b->ops->get_status ? d->b->ops->get_status(d->b->ctx, &status) : -EOPNOTSUPP;
	if (rc == -EOPNOTSUPP) {
		vhi_driver_error_put(&before);
		return 0;
	}
	if (!rc && VHI_REFUSE(VHI_SITE_DRIVER_FEATURES_OK, (status & VHI_DRIVER_S_CHOSEN) != VHI_DRIVER_S_CHOSEN))
		return vhi_fail(-ENOTSUP, VH_ERROR_DEVICE, VHI_SITE_DRIVER_FEATURES_OK,
				"vh_driver_new: the device refused the features 0x%llx; mask some of them",
				(unsigned long long)d->features);
	return rc;
}

/* Network devices count in pairs. */
int vhi_driver_max_queues(struct vh_driver *d, uint32_t *n)
{
	int rc = d->b->ops->max_queues(d->b->ctx, n);

	if (!rc && d->is_net)
		*n = VHI_MIN(2 * *n, MAX_QUEUES);
	return rc;
}

static int negotiate(struct vh_driver *d, const struct vh_driver_opts *o)
{
	uint64_t wanted = *type_features(o->type) | o->features;
	int rc = vhi_driver_status(d, VHI_DRIVER_S_RESET);

	if (!d->given)
		wanted = (wanted & TYPE_BITS) | VHI_RING_FEATURES;
	wanted |= d->behind ? VHI_BIT(VH_F_ACCESS_PLATFORM) : 0;
	wanted = (wanted & ~o->mask_features) | VHI_BIT(VH_F_VERSION_1);
	if (!rc)
		rc = vhi_driver_status(d, VHI_DRIVER_S_KNOWN);
	if (!rc)
		rc = d->b->ops->negotiate(d->b->ctx, wanted, &d->features);
	if (rc)
		return rc;
	d->features &= wanted;
	if (VHI_REFUSE(VHI_SITE_DRIVER_VERSION_1, !(d->features & VHI_BIT(VH_F_VERSION_1))))
		return vhi_fail(-ENOTSUP, VH_ERROR_PEER, VHI_SITE_DRIVER_VERSION_1,
				"vh_driver_new: the back-end does not offer VIRTIO_F_VERSION_1; devices from before "
				"virtio 1.0 can't be driven, use a newer back-end");
	rc = vhi_driver_iommu_check(d);
	if (!rc)
		rc = vhi_driver_features_ok(d);
	if (!rc)
		rc = vhi_driver_max_queues(d, &d->max_queues);
	if (!rc && d->n_queues > d->max_queues)
		rc = vhi_fail(-ENOSPC, VH_ERROR_PEER, 0,
			      "vh_driver_new: %u queues wanted, and the back-end has %u; ask for fewer", d->n_queues,
			      d->max_queues);
	return rc;
}

/* Where the parts of a queue's memory lie, from its start; cache lines are not shared between parts. */
struct layout {
	uint64_t driver, device, rings, indirect, slots, total;
};

static uint64_t lines(uint64_t len)
{
	return (len + 63) & ~UINT64_C(63);
}

static struct layout layout(uint32_t num, uint64_t features)
{
	struct vhi_ring_area area[VHI_RING_AREAS];
	struct layout l;

	vhi_ring_areas(num, features, area);
	l.driver = lines(area[VHI_RING_DESC].len);
	l.device = l.driver + lines(area[VHI_RING_DRIVER].len);
	l.rings = l.device + lines(area[VHI_RING_DEVICE].len);
	l.indirect = l.rings;
	l.slots = l.indirect + (uint64_t)num * MAX_INDIRECT * 16;
	l.total = l.slots + (uint64_t)num * VHI_DRIVER_SLOT;
	return l;
}

static void on_queue_change(void *ctx)
{
	vhi_eventfd_signal(((struct vh_driver *)ctx)->wake);
}

static int queue_fd(struct vh_queue *q, enum vhi_queue_fd which)
{
	int fd = vhi_eventfd();

	if (fd < 0)
		return vhi_fail(fd, VH_ERROR_SYSTEM, 0, "vh_driver_new: no eventfd: %s; raise the limit of open files",
				vh_error_name(fd));
	return vhi_queue_set_fd(q, which, fd);
}

static int queue_init(struct vh_driver *d, uint32_t index, uint32_t num)
{
	const struct vhi_queue_hooks hooks = {.ctx = d, .wake = on_queue_change};
	struct vhi_driver_queue *dq = &d->queues[index];
	const struct layout l = layout(num, d->features);
	struct vhi_gpa gpa;
	int rc;

	rc = vhi_driver_alloc(d, l.total, &dq->rings, &gpa);
	if (!rc)
		rc = vhi_queue_new(index, VH_QUEUE_DRIVER, &hooks, &dq->q);
	if (!rc)
		rc = queue_fd(dq->q, VHI_QUEUE_KICK);
	if (!rc)
		rc = queue_fd(dq->q, VHI_QUEUE_CALL);
	if (rc)
		return rc;
	dq->receives = d->is_net && index % 2 == 0;
	dq->rings_len = l.rings;
	dq->slots = dq->rings + l.slots;
	dq->ring = (struct vhi_ring){.num = num,
				     .features = d->features,
				     .iova_shift = d->iova_shift,
				     .desc = gpa,
				     .driver = {gpa.v + l.driver},
				     .device = {gpa.v + l.device},
				     .fresh = true,
				     .keep = true,
				     .indirect = {gpa.v + l.indirect},
				     .max_indirect = MAX_INDIRECT};
	return 0;
}

static int check_opts(const struct vh_driver_opts *o)
{
	if (!type_features(o->type))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_driver_new: there is no driver for type %u here; use 0 and name the features",
				o->type);
	if (o->n_queues > MAX_QUEUES)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_new: n_queues is %u; the most is %u",
				o->n_queues, MAX_QUEUES);
	if (o->queue_size > VH_QUEUE_MAX_SIZE)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_new: queue_size is %u; it can be up to %u",
				o->queue_size, VH_QUEUE_MAX_SIZE);
	if (o->mask_features & VHI_BIT(VH_F_VERSION_1))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_driver_new: mask_features has VERSION_1, which is always needed; take it out");
	if (o->flags & ~VH_DRIVER_IOMMU || (o->iova_offset && !o->flags))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_driver_new: flags are VH_DRIVER_IOMMU, which iova_offset needs");
	return 0;
}

static int session_init(struct vh_driver *d, const struct vh_driver_opts *o)
{
	const uint32_t num = o->queue_size ? o->queue_size : DEFAULT_SIZE;
	int rc = negotiate(d, o);

	if (!rc && !d->given && !vhi_ring_num_fits(num, d->features))
		rc = vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_driver_new: queue_size is %u; rings of this back-end are not packed, so use a power of two",
			num);
	if (!rc) {
		d->wake = vhi_eventfd();
		if (d->wake < 0)
			rc = vhi_fail(d->wake, VH_ERROR_SYSTEM, 0, "vh_driver_new: no eventfd: %s",
				      vh_error_name(d->wake));
	}
	for (uint32_t i = 0; i < d->n_queues; i++) {
		d->queues[i].kick = d->queues[i].call = d->queues[i].err = d->queues[i].sleep.set = -1;
		d->queues[i].sleep.spin_ns = d->poll_us * UINT64_C(1000);
	}
	if (!rc)
		rc = vhi_driver_loop_open(d);
	if (!rc && !d->given)
		rc = vhi_driver_mem_init(d);
	for (uint32_t i = 0; !rc && !d->given && i < d->n_queues; i++)
		rc = queue_init(d, i, num);
	return rc;
}

static void session_free(struct vh_driver *d)
{
	for (uint32_t i = 0; i < d->n_queues; i++)
		if (d->queues[i].q)
			vhi_queue_destroy(d->queues[i].q);
	for (uint32_t i = 0; i < d->n_queues; i++) {
		vhi_fd_close(&d->queues[i].kick);
		vhi_fd_close(&d->queues[i].call);
		vhi_fd_close(&d->queues[i].err);
		vhi_fd_close(&d->queues[i].sleep.set);
	}
	vhi_show_end(d->show);
	vhi_driver_inflight_drop(d);
	vhi_dirty_put(d->log);
	vh_mem_free(d->mem);
	vhi_fd_close(&d->wake);
	vhi_driver_loop_close(d);
	pthread_mutex_destroy(&d->lock);
	vhi_free(d);
}

vh_rc vh_driver_new(const struct vh_driver_opts *opts, struct vh_backend *b, struct vh_mem *mem, struct vh_driver **out)
{
	struct vh_driver_opts o;
	struct vh_driver *d;
	uint32_t n;
	int rc;

	if (!b || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_driver_new: NULL back-end or NULL out; take one from vh_master_backend()");
	rc = vhi_opts_in(&o, sizeof(o), opts, "vh_driver_opts");
	if (!rc)
		rc = check_opts(&o);
	if (rc)
		return rc;
	n = o.n_queues ? o.n_queues : o.type == VH_TYPE_NET ? 2 : 1;
	d = vhi_calloc(1, sizeof(*d) + n * sizeof(d->queues[0]));
	if (!d)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_driver_new: no memory for a session");
	d->b = b;
	d->pid = getpid();
	d->given = mem;
	d->mem = mem ? vhi_mem_get(mem) : NULL;
	d->n_queues = n;
	d->is_net = o.type == VH_TYPE_NET;
	d->behind = o.flags & VH_DRIVER_IOMMU;
	d->iova_shift = o.iova_offset;
	d->poll_us = o.poll_us;
	vhi_driver_knows(d);
	d->wake = d->epoll = d->timer = d->inflight_fd = -1;
	pthread_mutex_init(&d->lock, NULL);
	rc = session_init(d, &o);
	if (rc) {
		session_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

void vh_driver_free(struct vh_driver *d)
{
	struct vh_error before;

	if (!d)
		return;
	before = vhi_driver_error_keep();
	if (d->pid == getpid())
		vhi_driver_halt(d);
	vhi_driver_error_put(&before);
	session_free(d);
}

vh_rc vh_driver_features(struct vh_driver *d, uint64_t *out)
{
	if (!d || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_features: NULL argument");
	*out = d->features;
	return 0;
}

vh_rc vh_driver_dup_snapshot(struct vh_driver *d, struct vh_snapshot **out)
{
	if (!d || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_dup_snapshot: NULL argument");
	*out = vhi_mem_snapshot(d->mem);
	return 0;
}

vh_rc vh_driver_queue(struct vh_driver *d, uint32_t index, struct vh_queue **out)
{
	if (!d || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_queue: NULL argument");
	if (index >= d->n_queues)
		return vhi_fail(-ENOENT, VH_ERROR_ARGUMENT, 0, "vh_driver_queue: queue %u of %u; count from 0", index,
				d->n_queues);
	if (d->given)
		return vhi_fail(
			-EPERM, VH_ERROR_STATE, 0,
			"vh_driver_queue: the session is over memory of the caller's, who drives the rings too");
	*out = d->queues[index].q;
	return 0;
}
