/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The table of intents for the kernel's devices. A network ring runs while it has a file; the rings of the others run all
 * together, so they start when the driver is ready and every ring that was on by then is on, and stop when one is to stop.
 */
#include "vhi_kern.h"
#include "vhi_queue.h"

/* Bits that a driver may see: device types (0 to 23, 50 and up) and what has a meaning here between them. */
#define DRIVER_BITS                                                                                               \
	((VHI_BIT(24) - 1) | ~(VHI_BIT(50) - 1) | VHI_BIT(VH_F_NOTIFY_ON_EMPTY) | VHI_BIT(VH_F_ACCESS_PLATFORM) | \
	 VHI_RING_FEATURES)
/* To a network device of the kernel's, bit 27 means that what is attached has no headers. */
#define NET_HDR VHI_BIT(VH_F_ANY_LAYOUT)

#define S_DRIVER_OK 4u /* device status */

static int cannot(const struct vh_kern *k, int code, const char *why)
{
	return vhi_fail(code, VH_ERROR_STATE, 0, "%s: %s: %s", k->who, k->node, why);
}

static uint64_t driver_bits(const struct vh_kern *k, uint64_t offered)
{
	return ((offered & DRIVER_BITS & ~NET_HDR) | k->opts.more_features) & ~k->opts.mask_features;
}

static int get_features(void *ctx, uint64_t *offered)
{
	struct vh_kern *k = ctx;
	uint64_t v = 0;
	int rc = vhi_kern_enter(k, "get_features");

	if (rc)
		return rc;
	rc = vhi_kern_features(k, &v);
	if (!rc)
		*offered = driver_bits(k, v);
	return vhi_kern_leave(k, rc);
}

/* A file that was adopted may have been made this process's before; if not, the first call about a ring says so. */
static int own(struct vh_kern *k)
{
	int rc = k->owned ? 0 : vhi_kern_own(k);

	if (rc != -EBUSY || !k->adopted)
		return rc;
	k->owned = true;
	return 0;
}

static int agree(struct vh_kern *k, uint64_t wanted, uint64_t *acked)
{
	uint64_t offered = 0, bf = 0, features;
	int rc = vhi_kern_features(k, &offered);

	if (!rc)
		rc = own(k);
	if (rc)
		return rc;
	features = wanted & offered & DRIVER_BITS & ~NET_HDR & ~k->opts.mask_features & ~k->opts.more_features;
	if (features & VHI_BIT(VH_F_ACCESS_PLATFORM)) {
		rc = vhi_kern_ioctl(k, VHI_VHOST_GET_BACKEND_FEATURES, &bf, VH_ERROR_NONE);
		if (!rc)
			rc = vhi_kern_ack_backend(k, bf & VHI_BIT(VHI_VHOST_BACKEND_F_IOTLB_MSG_V2));
	}
	if (!rc && k->opts.flags & VH_KERN_NET_HDR && !(offered & NET_HDR))
		return cannot(k, -EOPNOTSUPP, "the kernel can't make headers (VH_KERN_NET_HDR)");
	if (!rc)
		rc = vhi_kern_ack(k, features | (k->opts.flags & VH_KERN_NET_HDR ? NET_HDR : 0) |
					     (k->logging ? VHI_BIT(VH_F_LOG_ALL) : 0));
	if (rc)
		return rc;
	k->acked = features | (k->opts.flags & VH_KERN_NET_HDR ? NET_HDR : 0);
	*acked = features | (wanted & k->opts.more_features & ~k->opts.mask_features);
	return 0;
}

static int negotiate(void *ctx, uint64_t wanted, uint64_t *acked)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "negotiate");

	return rc ? rc : vhi_kern_leave(k, agree(k, wanted, acked));
}

/* SCSI devices have as many as their module was told to have. */
static uint32_t count_rings(struct vh_kern *k)
{
	uint32_t low = 0, high = VHI_TOGETHER_RINGS;

	vhi_error_mute(true);
	while (low < high) {
		const uint32_t mid = (low + high) / 2;
		struct vhi_vhost_vring_state s = {.index = mid};

		if (vhi_kern_ioctl(k, VHI_VHOST_GET_VRING_BASE, &s, mid))
			high = mid;
		else
			low = mid + 1;
	}
	vhi_error_mute(false);
	return low;
}

static int max_queues(void *ctx, uint32_t *n)
{
	/* Network devices count in pairs. */
	static const uint32_t by_kind[] = {[VH_KERN_NET] = 1, [VH_KERN_VSOCK] = 2, [VH_KERN_SCSI] = 0};
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "max_queues");

	if (rc)
		return rc;
	if (!k->max_rings)
		k->max_rings = by_kind[k->opts.kind] ? by_kind[k->opts.kind] : count_rings(k);
	*n = k->max_rings;
	return vhi_kern_leave(k, 0);
}

static int set_memory(void *ctx, struct vh_mem *mem)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "set_memory");

	return rc ? rc : vhi_kern_leave(k, vhi_kern_share(k, mem));
}

/* Addresses of this process, or I/O addresses. */
static int ring_addresses(const struct vh_kern *k, uint32_t index, const struct vhi_ring_intent *ring,
			  struct vh_vring_addr *addr)
{
	struct vhi_ring_area area[VHI_RING_AREAS];
	const struct {
		struct vhi_gpa at;
		uint64_t *out;
	} parts[VHI_RING_AREAS] = {
		{ring->desc, &addr->desc},
		{ring->driver, &addr->avail},
		{ring->device, &addr->used},
	};

	*addr = (struct vh_vring_addr){.index = index, .flags = ring->log ? VH_VRING_LOG : 0, .log = ring->device.v};
	vhi_ring_areas(ring->num, k->acked, area);
	for (int i = 0; i < VHI_RING_AREAS; i++) {
		void VHI_SHM *host = k->mem ? vhi_translate_one(k->mem, parts[i].at, area[i].len) : NULL;

		if (!host)
			return vhi_fail_at(-EFAULT, VH_ERROR_MEMORY, 0, index, VH_ERROR_NONE,
					   "ring %u: 0x%llx with %llu bytes is not inside one shared region", index,
					   (unsigned long long)parts[i].at.v, (unsigned long long)area[i].len);
		*parts[i].out = k->behind ? parts[i].at.v + ring->iova_shift : (uintptr_t)host;
	}
	return 0;
}

/* To start a ring the kernel looks at it, and does not ask where it is. */
static int ring_known(struct vh_kern *k, const struct vh_vring_addr *addr)
{
	const uint64_t parts[VHI_RING_AREAS] = {addr->desc, addr->avail, addr->used};
	uint64_t told = 0, len = 0;
	int rc = 0;

	for (int i = 0; k->behind && !rc && i < VHI_RING_AREAS; i++)
		if (parts[i] - told >= len)
			rc = vhi_kern_preload(k, parts[i], &told, &len);
	return rc;
}

static int ring_tell(struct vh_kern *k, uint32_t index, const struct vhi_ring_intent *ring)
{
	struct vh_vring_addr addr;
	int rc = ring_addresses(k, index, ring, &addr);

	if (!rc)
		rc = ring_known(k, &addr);

	if (!rc)
		rc = vhi_kern_state(k, VHI_VHOST_SET_VRING_NUM, index, ring->num);
	if (!rc)
		rc = vhi_kern_state(k, VHI_VHOST_SET_VRING_BASE, index, ring->base);
	if (!rc)
		rc = vhi_kern_ioctl(k, VHI_VHOST_SET_VRING_ADDR, &addr, index);
	if (!rc)
		rc = vhi_kern_file(k, VHI_VHOST_SET_VRING_KICK, index, ring->kick);
	if (!rc)
		rc = vhi_kern_file(k, VHI_VHOST_SET_VRING_CALL, index, ring->call);
	if (!rc && ring->err >= 0)
		rc = vhi_kern_file(k, VHI_VHOST_SET_VRING_ERR, index, ring->err);
	if (!rc) {
		k->all.rings[index].told = true;
		k->all.rings[index].kick = ring->kick;
	}
	return rc;
}

static int ring_start(void *ctx, uint32_t index, const struct vhi_ring_intent *ring)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "ring_start");

	if (rc)
		return rc;
	if (index >= VHI_TOGETHER_RINGS)
		return vhi_kern_leave(k, cannot(k, -ENOBUFS, "the device has no ring of this index"));
	return vhi_kern_leave(k, ring_tell(k, index, ring));
}

static bool device_runs(const void *dev)
{
	const struct vh_kern *k = dev;

	return k->running || k->endpoint;
}

static int device_stop(void *dev)
{
	struct vh_kern *k = dev;

	if (k->running)
		return vhi_kern_run(k, false);
	return k->endpoint ? vhi_kern_hide(k, &k->shown) : 0;
}

static int device_start(void *dev)
{
	struct vh_kern *k = dev;
	int rc;

	if (k->opts.kind == VH_KERN_SCSI && !k->target.vhost_wwpn[0])
		return cannot(k, -EINVAL, "what should it show? vh_kern_scsi_set_target() comes first");
	rc = k->opts.kind == VH_KERN_SCSI ? vhi_kern_show(k, &k->target) : vhi_kern_run(k, true);
	if (!rc)
		vhi_together_kick_all(&k->all);
	return rc;
}

static const struct vhi_together_ops whole = {.runs = device_runs, .start = device_start, .stop = device_stop};

static int net_switch(struct vh_kern *k, uint32_t index, bool on)
{
	int rc;

	if (index >= VHI_KERN_NET_RINGS)
		return cannot(k, -ENOBUFS, "the device has no ring of this index");
	if (on == k->attached[index])
		return 0;
	if (on && k->net[index] < 0)
		return cannot(k, -EINVAL, "what is the ring attached to? vh_kern_attach() comes first");
	rc = vhi_kern_net(k, index, on ? k->net[index] : -1);
	if (!rc && on)
		vhi_together_kick(&k->all.rings[index]);
	return rc;
}

static int ring_switch(struct vh_kern *k, uint32_t index, bool on)
{
	return k->opts.kind == VH_KERN_NET ? net_switch(k, index, on)
					   : vhi_together_switch(&k->all, &whole, k, index, on);
}

static int ring_enable(void *ctx, uint32_t index, bool on)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "ring_enable");

	if (rc)
		return rc;
	if (index >= VHI_TOGETHER_RINGS || (on && !k->all.rings[index].told))
		return vhi_kern_leave(k, cannot(k, -EINVAL, "the ring was not started"));
	return vhi_kern_leave(k, ring_switch(k, index, on));
}

static int ring_stop(void *ctx, uint32_t index, uint32_t *base)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "ring_stop");

	if (rc)
		return rc;
	rc = index < VHI_TOGETHER_RINGS ? ring_switch(k, index, false)
					: cannot(k, -ENOBUFS, "the device has no ring of this index");
	if (!rc)
		rc = vhi_kern_base(k, index, base);
	if (!rc)
		k->all.rings[index].told = false;
	return vhi_kern_leave(k, rc);
}

static int switch_log(struct vh_kern *k, int fd, uint64_t offset, uint64_t size)
{
	struct vh_dirty *log = NULL;
	int rc = 0;

	if (fd >= 0)
		rc = vhi_dirty_open(fd, offset, size, false, &log);
	if (!rc && log)
		rc = vhi_kern_log(k, log);
	if (!rc)
		rc = vhi_kern_ack(k, k->acked | (log ? VHI_BIT(VH_F_LOG_ALL) : 0));
	if (rc) {
		vhi_dirty_put(log);
		return rc;
	}
	vhi_dirty_put(k->logging);
	k->logging = log;
	return 0;
}

static int set_log(void *ctx, int fd, uint64_t offset, uint64_t size)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "set_log");

	return rc ? rc : vhi_kern_leave(k, switch_log(k, fd, offset, size));
}

static int ring_log(void *ctx, uint32_t index, const struct vhi_ring_intent *ring)
{
	struct vh_kern *k = ctx;
	struct vh_vring_addr addr;
	int rc = vhi_kern_enter(k, "ring_log");

	if (rc)
		return rc;
	rc = ring_addresses(k, index, ring, &addr);
	if (!rc)
		rc = vhi_kern_ioctl(k, VHI_VHOST_SET_VRING_ADDR, &addr, index);
	return vhi_kern_leave(k, rc);
}

/* The kernel has no config space. What is read of a socket device is its address. */
static int config_read(const struct vh_kern *k, uint32_t offset, void *buf, uint32_t len)
{
	uint8_t cid[sizeof(k->cid)];
	const uint8_t *from = k->config;
	uint32_t size = k->config_len;

	for (size_t i = 0; i < sizeof(cid); i++)
		cid[i] = (uint8_t)(k->cid >> (8 * i));
	if (!size && k->cid) {
		from = cid;
		size = sizeof(cid);
	}
	if (!size)
		return cannot(k, -EOPNOTSUPP, "it has no config space; vh_kern_set_config() makes one");
	if (offset > size || len > size - offset)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: %s: bytes %u to %llu of a config space of %u",
				k->who, k->node, offset, (unsigned long long)offset + len, size);
	memcpy(buf, from + offset, len);
	return 0;
}

static int config_get(void *ctx, uint32_t offset, void *buf, uint32_t len)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "config_get");

	return rc ? rc : vhi_kern_leave(k, config_read(k, offset, buf, len));
}

static int unsupported(void *ctx, const char *who, const char *why)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, who);

	return rc ? rc : vhi_kern_leave(k, cannot(k, -EOPNOTSUPP, why));
}

static int config_set(void *ctx, uint32_t offset, const void *buf, uint32_t len)
{
	(void)offset, (void)buf, (void)len;
	return unsupported(ctx, "config_set", "nobody would hear of it; use vh_kern_set_config()");
}

static int suspend(void *ctx)
{
	return unsupported(ctx, "suspend", "there is no such call; stop every ring");
}

static int resume(void *ctx)
{
	return unsupported(ctx, "resume", "there is no such call; start the rings");
}

static int begin_anew(struct vh_kern *k)
{
	int rc = device_stop(k);

	for (uint32_t i = 0; !rc && k->opts.kind == VH_KERN_NET && i < VHI_KERN_NET_RINGS; i++)
		rc = net_switch(k, i, false);
	if (!rc) {
		memset(&k->all, 0, sizeof(k->all));
		k->status = 0;
	}
	return rc;
}

/* Kept here: the kernel has none. */
static int take_status(struct vh_kern *k, uint8_t status)
{
	if (!status)
		return begin_anew(k);
	k->status = status;
	if (k->opts.kind == VH_KERN_NET || !(status & S_DRIVER_OK))
		return 0;
	return vhi_together_ready(&k->all, &whole, k);
}

static int set_status(void *ctx, uint8_t status)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "set_status");

	return rc ? rc : vhi_kern_leave(k, take_status(k, status));
}

static int get_status(void *ctx, uint8_t *status)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "get_status");

	if (rc)
		return rc;
	*status = k->status;
	return vhi_kern_leave(k, 0);
}

static int reset(void *ctx)
{
	return set_status(ctx, 0);
}

/* Told when it is asked for. */
static int iotlb_update(void *ctx, struct vhi_iova iova, uint64_t len, struct vhi_gpa gpa, uint32_t perm)
{
	const struct vh_iotlb_entry e = {.iova = iova.v, .len = len, .addr = gpa.v, .perm = perm};
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "iotlb_update");

	return rc ? rc : vhi_kern_leave(k, vhi_kern_map(k, &e));
}

static int iotlb_invalidate(void *ctx, struct vhi_iova iova, uint64_t len)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "iotlb_invalidate");

	if (rc)
		return rc;
	rc = vhi_kern_unmap(k, iova.v, len);
	if (!rc && k->behind)
		rc = vhi_kern_invalidate(k, iova.v, len);
	return vhi_kern_leave(k, rc);
}

static int fd(void *ctx)
{
	const struct vh_kern *k = ctx;

	return k->opts.kind == VH_KERN_SCSI ? -1 : k->fd;
}

static int dispatch(void *ctx)
{
	struct vh_kern *k = ctx;
	int rc = vhi_kern_enter(k, "dispatch");

	return rc ? rc : vhi_kern_leave(k, vhi_kern_serve(k));
}

const struct vhi_backend_ops vhi_kern_backend_ops = {
	.kind = "vhost-kernel",
	.says_broken = true,
	.get_features = get_features,
	.negotiate = negotiate,
	.max_queues = max_queues,
	.set_memory = set_memory,
	.ring_start = ring_start,
	.ring_stop = ring_stop,
	.ring_enable = ring_enable,
	.set_log = set_log,
	.ring_log = ring_log,
	.config_get = config_get,
	.config_set = config_set,
	.set_status = set_status,
	.reset = reset,
	.suspend = suspend,
	.resume = resume,
	.iotlb_update = iotlb_update,
	.iotlb_invalidate = iotlb_invalidate,
	.fd = fd,
	.dispatch = dispatch,
	.get_status = get_status,
};
