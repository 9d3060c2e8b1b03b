/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Rings that somebody else drives: a guest, in a session over its memory. The session tells the back-end where they are,
 * and after a back-end went away finds out where they go on, or says that nobody can tell.
 */
#include "vhi_driver.h"

/* Of a split ring. */
#define IDX  2 /* bytes from the start of either ring */
#define RING 4

struct split {
	uint32_t num;
	bool tracked; /* its device kept records of what was in flight */
	const uint8_t VHI_SHM *avail, *used;
};

static uint16_t load16(const uint8_t VHI_SHM *p)
{
	return vhi_shm_load16_acquire((const uint16_t VHI_SHM *)p);
}

static uint32_t avail_at(const struct split *r, uint16_t i)
{
	return load16(r->avail + RING + 2 * (size_t)(i & (r->num - 1)));
}

static uint32_t used_at(const struct split *r, uint16_t i)
{
	return vhi_shm_load32((const uint32_t VHI_SHM *)(r->used + RING + 8 * (size_t)(i & (r->num - 1))));
}

/*
 * Going on at the used index is right when what was not completed is what became available last. Both rings tell of the
 * last num requests: when each was completed in its turn, that is so.
 */
static bool in_order(const struct split *r, uint16_t avail_idx, uint16_t used_idx)
{
	for (uint16_t i = (uint16_t)(avail_idx - r->num); i != used_idx; i++)
		if (used_at(r, i) != avail_at(r, i))
			return false;
	return true;
}

static int split_base(const struct split *r, uint32_t index, uint32_t *base)
{
	const uint16_t used_idx = load16(r->used + IDX), avail_idx = load16(r->avail + IDX);
	const uint16_t open = (uint16_t)(avail_idx - used_idx);

	if (VHI_REFUSE(VHI_SITE_DRIVER_USED_AHEAD, open > r->num))
		return vhi_fail_at(-EPROTO, VH_ERROR_QUEUE, VHI_SITE_DRIVER_USED_AHEAD, index, VH_ERROR_NONE,
				   "queue %u: the available index is %u and the used one %u", index, avail_idx,
				   used_idx);
	if (VHI_REFUSE(VHI_SITE_DRIVER_OUT_OF_ORDER, open && !r->tracked && !in_order(r, avail_idx, used_idx)))
		return vhi_fail_at(-ESTALE, VH_ERROR_QUEUE, VHI_SITE_DRIVER_OUT_OF_ORDER, index, VH_ERROR_NONE,
				   "queue %u: the back-end that went away had %u requests, and nobody knows which",
				   index, open);
	*base = used_idx;
	return 0;
}

int vhi_driver_given_base(struct vh_driver *d, uint32_t index, uint32_t *base)
{
	const struct vhi_ring *ring = &d->queues[index].ring;
	struct vhi_ring_area area[VHI_RING_AREAS];
	struct vh_snapshot *now;
	struct split r = {.num = ring->num, .tracked = d->queues[index].tracked};
	int rc;

	/* The records say where a packed ring goes on, and whatever it was told at its start is as good. */
	if (ring->features & VHI_BIT(VH_F_RING_PACKED) && r.tracked)
		return 0;
	if (ring->features & VHI_BIT(VH_F_RING_PACKED))
		return vhi_fail_at(-ENODATA, VH_ERROR_QUEUE, 0, index, VH_ERROR_NONE,
				   "queue %u: a packed ring does not say where it stands, without an inflight region",
				   index);
	vhi_ring_areas(ring->num, ring->features, area);
	now = vhi_mem_snapshot(d->mem);
	r.avail = vhi_translate_one(now, ring->driver, area[VHI_RING_DRIVER].len);
	r.used = vhi_translate_one(now, ring->device, area[VHI_RING_DEVICE].len);
	if (r.avail && r.used)
		rc = split_base(&r, index, base);
	else
		rc = vhi_fail_at(-EFAULT, VH_ERROR_MEMORY, 0, index, VH_ERROR_NONE,
				 "queue %u: its ring is not in the session's memory any more", index);
	vhi_snapshot_put(now);
	return rc;
}

/* 0, or why there is no such queue. */
static int find(struct vh_driver *d, uint32_t index, const char *who, struct vhi_driver_queue **out)
{
	if (!d)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: NULL session", who);
	if (index >= d->n_queues)
		return vhi_fail(-ENOENT, VH_ERROR_ARGUMENT, 0, "%s: queue %u of %u; count from 0", who, index,
				d->n_queues);
	*out = &d->queues[index];
	return 0;
}

static int check_ring(const struct vh_driver *d, const struct vh_driver_ring *r)
{
	if (r->flags & ~VH_DRIVER_RING_OFF)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_set_ring: unknown flags 0x%x", r->flags);
	if (!r->num || r->num > VH_QUEUE_MAX_SIZE || !vhi_ring_num_fits(r->num, d->features))
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_driver_set_ring: a ring has 1 to %u entries, and a split one a power of two; not %u",
			VH_QUEUE_MAX_SIZE, r->num);
	if (!vhi_ring_base_fits(r->num, d->features, r->base))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_driver_set_ring: a ring of %u entries has no base 0x%x", r->num, r->base);
	return 0;
}

static int dup_fd(int fd, int *out)
{
	const int own = fd == -1 ? -1 : vhi_fd_dup(fd);

	if (fd != -1 && own < 0)
		return vhi_fail(own, VH_ERROR_ARGUMENT, 0, "vh_driver_set_ring: fd %d: %s", fd, vh_error_name(own));
	*out = own;
	return 0;
}

static void put(struct vh_driver *d, struct vhi_driver_queue *dq, const struct vh_driver_ring *r, int kick, int call)
{
	vhi_fd_close(&dq->kick);
	vhi_fd_close(&dq->call);
	dq->kick = kick;
	dq->call = call;
	dq->cut = dq->spoilt = false;
	dq->off = r->flags & VH_DRIVER_RING_OFF;
	dq->ring = (struct vhi_ring){.num = r->num,
				     .features = d->features,
				     .desc = {r->desc},
				     .driver = {r->driver},
				     .device = {r->device},
				     .base = r->base};
}

vh_rc vh_driver_set_ring(struct vh_driver *d, uint32_t index, const struct vh_driver_ring *ring, int32_t kick_fd,
			 int32_t call_fd)
{
	struct vhi_driver_queue *dq = NULL;
	struct vh_driver_ring r = {0};
	int kick = -1, call = -1, rc = find(d, index, "vh_driver_set_ring", &dq);

	if (!rc && ring)
		rc = vhi_opts_in(&r, sizeof(r), ring, "vh_driver_ring");
	if (!rc && !d->given)
		rc = vhi_fail(-EPERM, VH_ERROR_STATE, 0,
			      "vh_driver_set_ring: the session has rings of its own; make one over your memory");
	if (!rc && d->running && (dq->begun || dq->cut))
		rc = vhi_fail(-EBUSY, VH_ERROR_STATE, 0,
			      "vh_driver_set_ring: queue %u runs; stop the session or reset the queue first", index);
	if (!rc && ring)
		rc = check_ring(d, &r);
	if (!rc && ring)
		rc = dup_fd(kick_fd, &kick);
	if (!rc && ring)
		rc = dup_fd(call_fd, &call);
	if (rc) {
		vhi_fd_close(&kick);
		return rc;
	}
	vhi_driver_control(d, true);
	put(d, dq, &r, kick, call);
	/* Without a connection the next one starts it. */
	rc = d->running ? vhi_driver_link(d) : 1;
	if (!rc)
		rc = vhi_driver_told(d, vhi_driver_ring_begin(d, index));
	vhi_driver_control(d, false);
	return VHI_MIN(rc, 0);
}

vh_rc vh_driver_get_ring(struct vh_driver *d, uint32_t index, struct vh_driver_ring *out)
{
	struct vhi_driver_queue *dq = NULL;
	int rc = find(d, index, "vh_driver_get_ring", &dq);

	if (rc)
		return rc;
	return vhi_out_fill(out,
			    &(struct vh_driver_ring){.size = sizeof(*out),
						     .num = dq->ring.num,
						     .desc = dq->ring.desc.v,
						     .driver = dq->ring.driver.v,
						     .device = dq->ring.device.v,
						     .base = dq->ring.base,
						     .flags = (dq->off ? VH_DRIVER_RING_OFF : 0) |
							      (dq->spoilt ? VH_DRIVER_RING_NEEDS_RESET : 0)},
			    sizeof(*out), "vh_driver_get_ring");
}

vh_rc vh_driver_enable(struct vh_driver *d, uint32_t index, uint32_t on)
{
	struct vhi_driver_queue *dq = NULL;
	int rc = find(d, index, "vh_driver_enable", &dq);

	if (!rc && on > 1)
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_enable: on is %u; 0 or 1", on);
	if (rc)
		return rc;
	vhi_driver_control(d, true);
	rc = !on && dq->begun ? vhi_driver_check_alone(d, "vh_driver_enable") : 0;
	if (!rc) {
		dq->off = !on;
		rc = vhi_driver_link(d);
	}
	if (!rc && dq->begun)
		rc = vhi_driver_told(d, vhi_driver_ring_enable(d, index));
	vhi_driver_control(d, false);
	return VHI_MIN(rc, 0);
}
