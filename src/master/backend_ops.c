/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The table of intents for vhost-user: which messages, in which order. */
#include "vhi_master.h"
#include "vhi_queue.h"

/* Bits that a driver may see: device types (0 to 23, 50 and up) and what has a meaning here between them. */
#define DRIVER_BITS                                                                                          \
	((VHI_BIT(24) - 1) | ~(VHI_BIT(50) - 1) | VHI_BIT(VH_F_NOTIFY_ON_EMPTY) | VHI_BIT(VH_F_ANY_LAYOUT) | \
	 VHI_BIT(VH_F_ORDER_PLATFORM) | VHI_BIT(VH_F_ACCESS_PLATFORM) | VHI_RING_FEATURES)

static int get_features(void *ctx, uint64_t *offered)
{
	struct vh_master *m = ctx;
	int rc = vh_master_get_features(m, offered);

	if (!rc)
		*offered &= DRIVER_BITS & ~m->opts.mask_features;
	return rc;
}

static int negotiate(void *ctx, uint64_t wanted, uint64_t *acked)
{
	return vh_master_negotiate(ctx, wanted & DRIVER_BITS, acked);
}

static int max_queues(void *ctx, uint32_t *n)
{
	struct vh_master *m = ctx;
	int rc = vhi_master_enter(m, "max_queues", VHI_CALL_CONNECTED);

	if (rc)
		return rc;
	*n = m->queue_num;
	return vhi_master_leave(m, 0);
}

/*
 * Without REPLY_ACK nothing says that a message was processed. GET_FEATURES does: replies come in order, and every
 * back-end answers it at any time.
 */
static int in_force(struct vh_master *m)
{
	uint64_t unused;

	return m->features.pf_acked & VHI_BIT(VH_PF_REPLY_ACK) ? 0 : vh_master_get_features(m, &unused);
}

static int set_memory(void *ctx, struct vh_mem *mem)
{
	int rc = vh_master_set_mem(ctx, mem);

	return rc ? rc : in_force(ctx);
}

static int ring_addresses(struct vh_master *m, uint32_t index, const struct vhi_ring_intent *ring,
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
	struct vhi_uva uva;

	addr->index = index;
	addr->flags = ring->log ? VH_VRING_LOG : 0;
	addr->log = ring->device.v;
	if (!m->mem)
		return vhi_fail_at(-EINVAL, VH_ERROR_STATE, 0, index, VH_ERROR_NONE,
				   "ring %u can't start: no memory is shared yet", index);
	/* I/O addresses, which the back-end asks for. */
	for (int i = 0; vhi_master_behind(m) && i < VHI_RING_AREAS; i++)
		*parts[i].out = parts[i].at.v + ring->iova_shift;
	if (vhi_master_behind(m))
		return 0;
	vhi_ring_areas(ring->num, m->features.acked, area);
	for (int i = 0; i < VHI_RING_AREAS; i++) {
		if (!vhi_gpa_to_uva(m->mem, parts[i].at, area[i].len, &uva))
			return vhi_fail_at(-EFAULT, VH_ERROR_MEMORY, 0, index, VH_ERROR_NONE,
					   "ring %u: 0x%llx with %llu bytes is not inside one shared region", index,
					   (unsigned long long)parts[i].at.v, (unsigned long long)area[i].len);
		*parts[i].out = vhi_master_by_gpa(m) ? parts[i].at.v : uva.v;
	}
	return 0;
}

/* Only the last of several is waited for, and then all of them count: a round trip for each is most of what they take. */
static int tell(struct vh_master *m, uint32_t id, const void *payload, uint32_t size, bool later)
{
	return vhi_master_call(m, &(struct vhi_request){.id = id, .payload = payload, .size = size, .later = later},
			       NULL);
}

static int tell_fd(struct vh_master *m, uint32_t id, uint32_t index, int fd, bool later)
{
	const uint64_t value = index | (fd < 0 ? VHI_WIRE_VRING_NOFD : 0);

	return vhi_master_call(m,
			       &(struct vhi_request){.id = id,
						     .payload = &value,
						     .size = sizeof(value),
						     .fds = &fd,
						     .n_fds = fd >= 0,
						     .later = later},
			       NULL);
}

/* Before a kick says that it may start, all of this is known to be there. */
static int ring_place(struct vh_master *m, uint32_t index, const struct vhi_ring_intent *ring)
{
	const struct vhi_wire_vring_state num = {.index = index, .num = ring->num};
	const struct vhi_wire_vring_state base = {.index = index, .num = ring->base};
	struct vh_vring_addr addr = {0};
	int rc = ring_addresses(m, index, ring, &addr);

	if (!rc)
		rc = tell(m, VHI_FE_SET_VRING_NUM, &num, sizeof(num), true);
	if (!rc)
		rc = tell(m, VHI_FE_SET_VRING_BASE, &base, sizeof(base), true);
	return rc ? rc : tell(m, VHI_FE_SET_VRING_ADDR, &addr, sizeof(addr), false);
}

/* CALL comes after KICK, as from QEMU; DPDK takes a ring for ready only when it has had both. */
static int ring_fds(struct vh_master *m, uint32_t index, const struct vhi_ring_intent *ring)
{
	int rc = tell_fd(m, VHI_FE_SET_VRING_KICK, index, ring->kick, true);

	if (!rc)
		rc = tell_fd(m, VHI_FE_SET_VRING_CALL, index, ring->call, ring->err >= 0);
	return rc || ring->err < 0 ? rc : tell_fd(m, VHI_FE_SET_VRING_ERR, index, ring->err, false);
}

static int ring_check(const struct vh_master *m, uint32_t index, const struct vhi_ring_intent *ring)
{
	if (index < VHI_MASTER_MAX_RINGS && ring->num && ring->num <= VHI_MASTER_MAX_NUM &&
	    vhi_ring_base_fits(ring->num, m->features.acked, ring->base))
		return 0;
	return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, index, VH_ERROR_NONE,
			   "ring %u with %u entries can't start at %u", index, ring->num, ring->base);
}

static int ring_start(void *ctx, uint32_t index, const struct vhi_ring_intent *ring)
{
	struct vh_master *m = ctx;
	int rc = vhi_master_enter(m, "ring_start", VHI_CALL_WAITS | VHI_CALL_CONNECTED);

	if (rc)
		return rc;
	rc = ring_check(m, index, ring);
	if (!rc)
		rc = ring_place(m, index, ring);
	if (!rc)
		rc = ring_fds(m, index, ring);
	rc = vhi_master_leave(m, rc);
	if (!rc)
		rc = in_force(m);
	/* Up to QEMU 10's text a ring starts by its first kick. */
	if (!rc && ring->kick >= 0)
		vhi_eventfd_signal(ring->kick);
	return rc;
}

static int ring_stop(void *ctx, uint32_t index, uint32_t *base)
{
	return vh_master_get_vring_base(ctx, index, base);
}

/* Without bit 30 there is no enabling: rings run when they are started. */
static int ring_enable(void *ctx, uint32_t index, bool on)
{
	struct vh_master *m = ctx;

	if (!(m->features.acked & VHI_BIT(VH_F_PROTOCOL_FEATURES)))
		return 0;
	return vh_master_set_vring_enable(m, index, on);
}

static int config_get(void *ctx, uint32_t offset, void *buf, uint32_t len)
{
	return vh_master_get_config(ctx, offset, buf, len);
}

/* A device that begins anew has to hear of it again. */
static int config_note(struct vh_master *m, uint32_t offset, const void *buf, uint32_t len)
{
	int rc = vhi_master_enter(m, "config_set", 0);

	if (rc)
		return rc;
	if (!m->config)
		m->config = vhi_calloc(1, sizeof(*m->config));
	if (!m->config)
		return vhi_master_leave(m, vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "config_set: out of memory"));
	memcpy(m->config->bytes + offset, buf, len);
	memset(m->config->written + offset, true, len);
	return vhi_master_leave(m, 0);
}

static int config_set(void *ctx, uint32_t offset, const void *buf, uint32_t len)
{
	int rc = vh_master_set_config(ctx, offset, buf, len, 0);

	if (rc || offset > VHI_MASTER_MAX_CONFIG || len > VHI_MASTER_MAX_CONFIG - offset)
		return rc;
	return config_note(ctx, offset, buf, len);
}

/* The first one of a driver resets the device. */
static int set_status(void *ctx, uint8_t status)
{
	struct vh_master *m = ctx;

	if (!status && !vhi_master_enter(m, "set_status", 0)) {
		vhi_free(m->config);
		m->config = NULL;
		vhi_master_leave(m, 0);
	}
	return vh_master_set_status(m, status);
}

static int get_status(void *ctx, uint8_t *status)
{
	uint32_t v;
	int rc = vh_master_get_status(ctx, &v);

	if (!rc)
		*status = (uint8_t)v;
	return rc;
}

static int reset(void *ctx)
{
	return vh_master_reset_device(ctx);
}

static int cannot(const char *what, const char *why)
{
	return vhi_fail(-EOPNOTSUPP, VH_ERROR_STATE, 0, "%s: %s", what, why);
}

/* LOG_ALL first, as the specification has it; nothing is logged before both are there. */
static int set_log(void *ctx, int log, uint64_t offset, uint64_t size)
{
	struct vh_master *m = ctx;
	const uint64_t bit = VHI_BIT(VH_F_LOG_ALL), acked = m->features.acked;
	const bool on = log >= 0;
	int rc = 0;

	if (on && (!(m->features.offered & bit) || !(m->features.pf_acked & VHI_BIT(VH_PF_LOG_SHMFD))))
		return cannot("set_log", "the back-end does not offer LOG_ALL and LOG_SHMFD");
	if (on != !!(acked & bit))
		rc = vh_master_set_features(m, on ? acked | bit : acked & ~bit);
	if (!rc && on)
		rc = vh_master_set_log_base(m, log, offset, size);
	return rc ? rc : in_force(m);
}

static int ring_log(void *ctx, uint32_t index, const struct vhi_ring_intent *ring)
{
	struct vh_master *m = ctx;
	struct vh_vring_addr addr = {0};
	int rc = vhi_master_enter(m, "ring_log", VHI_CALL_WAITS | VHI_CALL_CONNECTED);

	if (rc)
		return rc;
	rc = vhi_master_leave(m, ring_addresses(m, index, ring, &addr));
	if (!rc)
		rc = vh_master_set_vring_addr(m, &addr);
	return rc ? rc : in_force(m);
}

static int get_inflight(void *ctx, uint32_t num_queues, uint32_t queue_size, struct vh_inflight *out, int *fd)
{
	*out = (struct vh_inflight){.size = sizeof(*out)};
	return vh_master_get_inflight(ctx, num_queues, queue_size, out, fd);
}

static int set_inflight(void *ctx, const struct vh_inflight *inflight, int fd)
{
	return vh_master_set_inflight(ctx, inflight, fd);
}

static int suspend(void *ctx)
{
	(void)ctx;
	return cannot("suspend", "vhost-user has no such message; stop every ring");
}

static int resume(void *ctx)
{
	(void)ctx;
	return cannot("resume", "vhost-user has no such message; start the rings");
}

/* Told when it is asked for. */
static int iotlb_update(void *ctx, struct vhi_iova iova, uint64_t len, struct vhi_gpa gpa, uint32_t perm)
{
	const struct vh_iotlb_entry e = {.iova = iova.v, .len = len, .addr = gpa.v, .perm = perm};
	struct vh_master *m = ctx;
	int rc = vhi_master_enter(m, "iotlb_update", 0);

	return rc ? rc : vhi_master_leave(m, vhi_master_map(m, &e));
}

static int iotlb_invalidate(void *ctx, struct vhi_iova iova, uint64_t len)
{
	struct vh_master *m = ctx;
	int rc = vhi_master_enter(m, "iotlb_invalidate", 0);

	if (!rc)
		rc = vhi_master_leave(m, vhi_master_unmap(m, iova.v, len));
	return rc || !vhi_master_behind(m) ? rc : vh_master_iotlb_invalidate(m, iova.v, len);
}

static int fd(void *ctx)
{
	return vh_master_fd(ctx);
}

static int dispatch(void *ctx)
{
	return vh_master_dispatch(ctx);
}

static uint32_t ended(void *ctx)
{
	return __atomic_load_n(&((struct vh_master *)ctx)->ended, __ATOMIC_ACQUIRE);
}

static bool connected(void *ctx)
{
	return vhi_master_connected(ctx);
}

static int reopen(void *ctx)
{
	return vhi_master_reopen(ctx);
}

static void hang_up(void *ctx)
{
	vh_master_disconnect(ctx);
}

static int step(void *ctx, enum vhi_step what)
{
	return vhi_journal_step(ctx, what);
}

/* Each run of bytes that were written, by a message of its own. */
static int config_again(void *ctx)
{
	const struct vhi_config_writes *w = ((struct vh_master *)ctx)->config;
	uint32_t at = 0, len;
	int rc = 0;

	for (; w && !rc && at < VHI_MASTER_MAX_CONFIG; at += len) {
		for (len = 0; at + len < VHI_MASTER_MAX_CONFIG && w->written[at + len];)
			len++;
		if (len)
			rc = vh_master_set_config(ctx, at, w->bytes + at, len, 0);
		else
			len = 1;
	}
	return rc;
}

const struct vhi_backend_ops vhi_master_backend_ops = {
	.kind = "vhost-user",
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
	.ended = ended,
	.get_status = get_status,
	.get_inflight = get_inflight,
	.set_inflight = set_inflight,
	.connected = connected,
	.reopen = reopen,
	.hang_up = hang_up,
	.step = step,
	.config_again = config_again,
};
