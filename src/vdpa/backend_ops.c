/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The table of intents for a vDPA device. Its rings are set up before DRIVER_OK, and there is no way to stop one of them:
 * all stop by a suspension and a reset, and start when the driver is ready and every ring that was on is on again.
 */
#include "vhi_queue.h"
#include "vhi_vdpa.h"

/* Bits that a driver may see: device types (0 to 23, 50 and up) and what has a meaning here between them. */
#define DRIVER_BITS                                                                                          \
	((VHI_BIT(24) - 1) | ~(VHI_BIT(50) - 1) | VHI_BIT(VH_F_NOTIFY_ON_EMPTY) | VHI_BIT(VH_F_ANY_LAYOUT) | \
	 VHI_BIT(VH_F_ORDER_PLATFORM) | (VHI_RING_FEATURES & ~VHI_BIT(VH_F_RING_RESET)))
/* The device reaches memory through mappings, whatever its driver thinks. */
#define PLATFORM VHI_BIT(VH_F_ACCESS_PLATFORM)
#define BACKEND_BITS                                                                         \
	(VHI_BIT(VH_VDPA_BF_MSG_V2) | VHI_BIT(VH_VDPA_BF_BATCH) | VHI_BIT(VH_VDPA_BF_ASID) | \
	 VHI_BIT(VH_VDPA_BF_SUSPEND) | VHI_BIT(VH_VDPA_BF_RESUME) | VHI_BIT(VH_VDPA_BF_PERSIST))
#define S_KNOWN	  (VH_VDPA_S_ACKNOWLEDGE | VH_VDPA_S_DRIVER)
#define S_CHOSEN  (S_KNOWN | VH_VDPA_S_FEATURES_OK)
#define S_RUNNING (S_CHOSEN | VH_VDPA_S_DRIVER_OK)

static int cannot(const struct vh_vdpa *v, int code, const char *why)
{
	return vhi_fail(code, VH_ERROR_STATE, 0, "%s: %.80s: %s", v->who, v->node, why);
}

static int get_features(void *ctx, uint64_t *offered)
{
	struct vh_vdpa *v = ctx;
	uint64_t all = 0;
	int rc = vhi_vdpa_enter(v, "get_features");

	if (rc)
		return rc;
	rc = vhi_vdpa_ioctl(v, VHI_VHOST_GET_FEATURES, &all, VH_ERROR_NONE);
	if (!rc)
		*offered = all & DRIVER_BITS & ~PLATFORM & ~v->opts.mask_features;
	return vhi_vdpa_leave(v, rc);
}

/* A file without these is from before 5.9; what it can't say is found out when it is needed. */
static int agree_backend(struct vh_vdpa *v)
{
	uint64_t offered = 0;
	int rc = vhi_vdpa_ioctl(v, VHI_VHOST_GET_BACKEND_FEATURES, &offered, VH_ERROR_NONE);

	if (!rc && !(offered & VHI_BIT(VH_VDPA_BF_MSG_V2)))
		return cannot(v, -EOPNOTSUPP, "it takes no mappings in the form that is known here (MSG_V2)");
	return rc ? rc : vhi_vdpa_ack_backend(v, offered & BACKEND_BITS);
}

static int agree(struct vh_vdpa *v, uint64_t wanted, uint64_t *acked)
{
	uint64_t offered = 0, features;
	int rc = vhi_vdpa_own(v);

	rc = rc ? rc : agree_backend(v);
	rc = rc ? rc : vhi_vdpa_ioctl(v, VHI_VHOST_GET_FEATURES, &offered, VH_ERROR_NONE);
	if (rc)
		return rc;
	features = offered & wanted & DRIVER_BITS & ~PLATFORM & ~v->opts.mask_features;
	v->acked = features | (offered & PLATFORM);
	rc = vhi_vdpa_ioctl(v, VHI_VHOST_SET_FEATURES, &v->acked, VH_ERROR_NONE);
	if (!rc)
		*acked = features;
	return rc;
}

static int negotiate(void *ctx, uint64_t wanted, uint64_t *acked)
{
	struct vh_vdpa *v = ctx;
	int rc = vhi_vdpa_enter(v, "negotiate");

	return rc ? rc : vhi_vdpa_leave(v, agree(v, wanted, acked));
}

/* Network devices count in pairs; a control queue is none. */
static int max_queues(void *ctx, uint32_t *n)
{
	struct vh_vdpa *v = ctx;
	const bool net = v->device_id == VH_TYPE_NET;
	uint32_t rings = net ? 2 : 1;
	int rc = vhi_vdpa_enter(v, "max_queues");

	if (rc)
		return rc;
	vhi_error_mute(true);
	(void)vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_GET_VQS_COUNT, &rings, VH_ERROR_NONE);
	vhi_error_mute(false);
	rings = VHI_MIN(rings, VHI_TOGETHER_RINGS);
	*n = net ? rings / 2 : rings;
	return vhi_vdpa_leave(v, 0);
}

static int set_memory(void *ctx, struct vh_mem *mem)
{
	struct vh_vdpa *v = ctx;
	struct vh_snapshot *now;
	int rc = vhi_vdpa_enter(v, "set_memory");

	if (rc)
		return rc;
	now = vhi_mem_snapshot(mem);
	rc = vhi_vdpa_share(v, now);
	vhi_snapshot_put(now);
	return vhi_vdpa_leave(v, rc);
}

static int ring_addresses(const struct vh_vdpa *v, uint32_t index, const struct vhi_ring_intent *ring,
			  struct vh_vring_addr *addr)
{
	struct vhi_ring_area area[VHI_RING_AREAS];
	const struct vhi_gpa at[VHI_RING_AREAS] = {ring->desc, ring->driver, ring->device};

	vhi_ring_areas(ring->num, v->acked, area);
	for (int i = 0; i < VHI_RING_AREAS; i++)
		if (!v->mem || !vhi_translate_one(v->mem, at[i], area[i].len))
			return vhi_fail_at(-EFAULT, VH_ERROR_MEMORY, 0, index, VH_ERROR_NONE,
					   "ring %u: 0x%llx with %llu bytes is not inside one shared region", index,
					   (unsigned long long)at[i].v, (unsigned long long)area[i].len);
	*addr = (struct vh_vring_addr){.index = index,
				       .desc = at[VHI_RING_DESC].v,
				       .avail = at[VHI_RING_DRIVER].v,
				       .used = at[VHI_RING_DEVICE].v};
	return 0;
}

static int ring_setup(struct vh_vdpa *v, uint32_t index)
{
	const struct vhi_ring_intent *ring = &v->intents[index];
	struct vh_vring_addr addr;
	int rc = ring_addresses(v, index, ring, &addr);

	rc = rc ? rc : vhi_vdpa_num(v, index, ring->num);
	rc = rc ? rc : vhi_vdpa_state(v, VHI_VHOST_SET_VRING_BASE, index, ring->base);
	rc = rc ? rc : vhi_vdpa_ioctl(v, VHI_VHOST_SET_VRING_ADDR, &addr, index);
	rc = rc ? rc : vhi_vdpa_file(v, VHI_VHOST_SET_VRING_CALL, index, ring->call);
	rc = rc ? rc : vhi_vdpa_file(v, VHI_VHOST_SET_VRING_KICK, index, ring->kick);
	if (!rc && ring->err >= 0)
		rc = vhi_vdpa_file(v, VHI_VHOST_SET_VRING_ERR, index, ring->err);
	return rc ? rc : vhi_vdpa_state(v, VHI_VHOST_VDPA_SET_VRING_ENABLE, index, 1);
}

/* From a reset up to where rings may be set up. */
static int device_again(struct vh_vdpa *v)
{
	int rc = vhi_vdpa_set_status(v, S_KNOWN);

	rc = rc ? rc : vhi_vdpa_ioctl(v, VHI_VHOST_SET_FEATURES, &v->acked, VH_ERROR_NONE);
	return rc ? rc : vhi_vdpa_set_status(v, S_CHOSEN);
}

static int device_start(void *dev)
{
	struct vh_vdpa *v = dev;
	int rc = v->status ? 0 : device_again(v);

	rc = rc ? rc : vhi_vdpa_refresh(v);
	for (uint32_t i = 0; !rc && i < VHI_TOGETHER_RINGS; i++)
		rc = v->all.rings[i].on ? ring_setup(v, i) : 0;
	rc = rc ? rc : vhi_vdpa_set_status(v, S_RUNNING);
	if (rc)
		return rc;
	v->running = true;
	vhi_together_kick_all(&v->all);
	return 0;
}

/* A device behind PCI can't say it: virtio has no way to ask for it. */
static int ring_where(struct vh_vdpa *v, uint32_t index)
{
	struct vhi_vhost_vring_state s = {.index = index};

	if (!vhi_sys.ioctl(v->fd, VHI_VHOST_GET_VRING_BASE, &s)) {
		v->intents[index].base = s.num;
		return 0;
	}
	v->forgets = errno == EOPNOTSUPP || errno == VHI_ENOTSUPP;
	return v->forgets ? 0 : vhi_vdpa_failed(v, VHI_VHOST_GET_VRING_BASE, errno, index);
}

/* Not one of them goes on by what was said of it before: its driver has to write what is to be done from the beginning. */
static void rings_forgotten(struct vh_vdpa *v)
{
	for (uint32_t i = 0; i < VHI_TOGETHER_RINGS; i++)
		v->all.rings[i].on = v->all.rings[i].told = false;
}

/* A device that can't be suspended still says where its rings are; its driver notices when that was too early. */
static int device_stop(void *dev)
{
	struct vh_vdpa *v = dev;
	int rc = 0;

	if (!v->running)
		return 0;
	if (v->backend_features & VHI_BIT(VH_VDPA_BF_SUSPEND))
		rc = vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_SUSPEND, NULL, VH_ERROR_NONE);
	for (uint32_t i = 0; !rc && i < VHI_TOGETHER_RINGS; i++)
		rc = v->all.rings[i].on ? ring_where(v, i) : 0;
	rc = rc ? rc : vhi_vdpa_set_status(v, 0);
	v->running = rc;
	if (!rc && v->forgets)
		rings_forgotten(v);
	return rc;
}

/* Before its rings stop, if they run: what one says goes for all. */
static bool will_forget(struct vh_vdpa *v)
{
	uint32_t i = 0;

	if (!v->running)
		return v->forgets;
	while (i < VHI_TOGETHER_RINGS && !v->all.rings[i].on)
		i++;
	if (i < VHI_TOGETHER_RINGS) {
		vhi_error_mute(true);
		(void)ring_where(v, i);
		vhi_error_mute(false);
	}
	return v->forgets;
}

static bool forgets(void *ctx)
{
	struct vh_vdpa *v = ctx;

	if (!vhi_vdpa_enter(v, "forgets")) {
		(void)will_forget(v);
		vhi_vdpa_leave(v, 0);
	}
	return v->forgets;
}

static bool device_runs(const void *dev)
{
	return ((const struct vh_vdpa *)dev)->running;
}

static const struct vhi_together_ops whole = {.runs = device_runs, .start = device_start, .stop = device_stop};

static int ring_start(void *ctx, uint32_t index, const struct vhi_ring_intent *ring)
{
	struct vh_vdpa *v = ctx;
	struct vh_vring_addr unused;
	int rc = vhi_vdpa_enter(v, "ring_start");

	if (rc)
		return rc;
	if (index >= VHI_TOGETHER_RINGS)
		return vhi_vdpa_leave(v, cannot(v, -ENOBUFS, "the device has no ring of this index"));
	if (ring->log)
		return vhi_vdpa_leave(v, cannot(v, -EOPNOTSUPP, "it keeps no log of what it writes"));
	rc = ring_addresses(v, index, ring, &unused);
	if (!rc) {
		v->intents[index] = *ring;
		v->all.rings[index].kick = ring->kick;
		v->all.rings[index].told = true;
		/* The others wait until it is on, or the driver is ready without it. */
		v->all.rings[index].wanted |= !v->running;
	}
	return vhi_vdpa_leave(v, rc);
}

/* Others go on without one that is switched off, and stays where it is. */
static int ring_switch(struct vh_vdpa *v, uint32_t index, bool on)
{
	const bool leaves = !on && v->all.rings[index].on && v->all.ready;
	int rc = vhi_together_switch(&v->all, &whole, v, index, on);

	return rc || !leaves ? rc : vhi_together_ready(&v->all, &whole, v);
}

static int ring_enable(void *ctx, uint32_t index, bool on)
{
	struct vh_vdpa *v = ctx;
	int rc = vhi_vdpa_enter(v, "ring_enable");

	if (rc)
		return rc;
	if (index >= VHI_TOGETHER_RINGS || (on && !v->all.rings[index].told))
		return vhi_vdpa_leave(v, cannot(v, -EINVAL, "the ring was not started"));
	if (on && v->running && !v->all.rings[index].on && will_forget(v))
		return vhi_vdpa_leave(v, cannot(v, -EBUSY, "no ring can join those that run; stop the session"));
	return vhi_vdpa_leave(v, ring_switch(v, index, on));
}

static int ring_stop(void *ctx, uint32_t index, uint32_t *base)
{
	struct vh_vdpa *v = ctx;
	int rc = vhi_vdpa_enter(v, "ring_stop");

	if (rc)
		return rc;
	rc = index < VHI_TOGETHER_RINGS ? vhi_together_switch(&v->all, &whole, v, index, false)
					: cannot(v, -ENOBUFS, "the device has no ring of this index");
	if (!rc) {
		*base = v->intents[index].base;
		v->all.rings[index].told = false;
	}
	return vhi_vdpa_leave(v, rc);
}

static int unsupported(void *ctx, const char *who, const char *why)
{
	struct vh_vdpa *v = ctx;
	int rc = vhi_vdpa_enter(v, who);

	return rc ? rc : vhi_vdpa_leave(v, cannot(v, -EOPNOTSUPP, why));
}

static int set_log(void *ctx, int fd, uint64_t offset, uint64_t size)
{
	(void)offset, (void)size;
	return fd < 0 ? 0 : unsupported(ctx, "set_log", "it keeps no log of what it writes");
}

static int config_get(void *ctx, uint32_t offset, void *buf, uint32_t len)
{
	struct vh_vdpa *v = ctx;
	int rc = vhi_vdpa_enter(v, "config_get");

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_config(v, false, offset, buf, len));
}

static int config_set(void *ctx, uint32_t offset, const void *buf, uint32_t len)
{
	struct vh_vdpa *v = ctx;
	int rc = vhi_vdpa_enter(v, "config_set");

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_config(v, true, offset, (void *)(uintptr_t)buf, len));
}

static int begin_anew(struct vh_vdpa *v)
{
	int rc = vhi_vdpa_set_status(v, 0);

	if (rc)
		return rc;
	memset(&v->all, 0, sizeof(v->all));
	v->running = false;
	return 0;
}

/* The last step is made when the rings are known, all of them. */
static int take_status(struct vh_vdpa *v, uint32_t status)
{
	if (!status)
		return begin_anew(v);
	if (!(status & VH_VDPA_S_DRIVER_OK))
		return vhi_vdpa_set_status(v, status);
	return vhi_together_ready(&v->all, &whole, v);
}

static int set_status(void *ctx, uint8_t status)
{
	struct vh_vdpa *v = ctx;
	int rc = vhi_vdpa_enter(v, "set_status");

	return rc ? rc : vhi_vdpa_leave(v, take_status(v, status));
}

static int get_status(void *ctx, uint8_t *status)
{
	uint32_t now = 0;
	int rc = vh_vdpa_get_status(ctx, &now);

	if (!rc)
		*status = (uint8_t)now;
	return rc;
}

static int reset(void *ctx)
{
	return set_status(ctx, 0);
}

static int suspend(void *ctx)
{
	struct vh_vdpa *v = ctx;

	if (!(v->backend_features & VHI_BIT(VH_VDPA_BF_SUSPEND)))
		return unsupported(ctx, "suspend", "the device can't be suspended");
	return vh_vdpa_suspend(v);
}

static int resume(void *ctx)
{
	struct vh_vdpa *v = ctx;

	if (!(v->backend_features & VHI_BIT(VH_VDPA_BF_RESUME)))
		return unsupported(ctx, "resume",
				   "the device can't go on after a suspension; stop and start the session");
	return vh_vdpa_resume(v);
}

static int iotlb_update(void *ctx, struct vhi_iova iova, uint64_t len, struct vhi_gpa gpa, uint32_t perm)
{
	(void)iova, (void)len, (void)gpa, (void)perm;
	return unsupported(ctx, "iotlb_update", "its I/O addresses are the guest addresses of the session's memory");
}

static int iotlb_invalidate(void *ctx, struct vhi_iova iova, uint64_t len)
{
	(void)iova, (void)len;
	return unsupported(ctx, "iotlb_invalidate",
			   "its I/O addresses are the guest addresses of the session's memory");
}

/* There is no connection that could end. */
static int no_fd(void *ctx)
{
	(void)ctx;
	return -1;
}

const struct vhi_backend_ops vhi_vdpa_backend_ops = {
	.kind = "vdpa",
	.says_broken = true,
	.stops_enabled = true,
	.get_features = get_features,
	.negotiate = negotiate,
	.max_queues = max_queues,
	.set_memory = set_memory,
	.ring_start = ring_start,
	.ring_stop = ring_stop,
	.ring_enable = ring_enable,
	.set_log = set_log,
	.config_get = config_get,
	.config_set = config_set,
	.set_status = set_status,
	.reset = reset,
	.suspend = suspend,
	.resume = resume,
	.iotlb_update = iotlb_update,
	.iotlb_invalidate = iotlb_invalidate,
	.fd = no_fd,
	.get_status = get_status,
	.forgets = forgets,
};
