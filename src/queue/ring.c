/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Where a ring lies, and the private tables that go with it. */
#include "vhi_packed.h"
#include "vhi_probe.h"

#include <sys/mman.h>

/*
 * Bounds of the segment pool. Most chains need no block; a medium one holds what a guest's driver puts into a block
 * request at most (126 data segments and two more), split at a few region borders.
 */
#define MEDIUM_ROOM 136u
#define MEDIUM_MAX  1024u
#define LARGE_COUNT 8u

static int refuse(const struct vh_queue *q, uint32_t site, uint32_t value)
{
	return vhi_fail_at(-EINVAL, VH_ERROR_QUEUE, site, q->index, VH_ERROR_NONE,
			   "queue %u can't start: %s (it is %u)", q->index, vhi_queue_site_text(site), value);
}

static int check_ring(const struct vh_queue *q, const struct vhi_ring *ring)
{
	const bool packed = ring->features & VHI_BIT(VH_F_RING_PACKED);
	const bool fits = vhi_ring_base_fits(ring->num, ring->features, ring->base);

	if (VHI_REFUSE(VHI_SITE_QUEUE_SIZE, !ring->num || ring->num > VH_QUEUE_MAX_SIZE))
		return refuse(q, VHI_SITE_QUEUE_SIZE, ring->num);
	if (VHI_REFUSE(VHI_SITE_QUEUE_POW2, !vhi_ring_num_fits(ring->num, ring->features)))
		return refuse(q, VHI_SITE_QUEUE_POW2, ring->num);
	if (VHI_REFUSE(VHI_SITE_QUEUE_BASE, !packed && !fits))
		return refuse(q, VHI_SITE_QUEUE_BASE, ring->base);
	if (VHI_REFUSE(VHI_SITE_QUEUE_BASE_PACKED, packed && !fits))
		return refuse(q, VHI_SITE_QUEUE_BASE_PACKED, ring->base);
	return 0;
}

bool vhi_ring_num_fits(uint32_t num, uint64_t features)
{
	return features & VHI_BIT(VH_F_RING_PACKED) || vhi_is_pow2(num);
}

uint32_t vhi_ring_first_base(uint64_t features)
{
	return features & VHI_BIT(VH_F_RING_PACKED) ? VH_QUEUE_PACKED_BASE : 0;
}

bool vhi_ring_base_fits(uint32_t num, uint64_t features, uint32_t base)
{
	const uint16_t next_avail = (uint16_t)base, next_used = (uint16_t)(base >> 16);

	if (!(features & VHI_BIT(VH_F_RING_PACKED)))
		return base <= UINT16_MAX;
	return packed_at(next_avail) < num && packed_at(next_used) < num &&
	       packed_between(num, next_used, next_avail) <= num;
}

/* The two bytes of an event index exist only when it was negotiated. */
void vhi_ring_areas(uint32_t num, uint64_t features, struct vhi_ring_area area[VHI_RING_AREAS])
{
	const uint64_t n = num, event = features & VHI_BIT(VH_F_RING_EVENT_IDX) ? 2 : 0;

	area[VHI_RING_DESC] = (struct vhi_ring_area){n * VHI_DESC_SIZE, 16};
	if (features & VHI_BIT(VH_F_RING_PACKED)) {
		area[VHI_RING_DRIVER] = area[VHI_RING_DEVICE] = (struct vhi_ring_area){4, 4};
		return;
	}
	area[VHI_RING_DRIVER] = (struct vhi_ring_area){4 + 2 * n + event, 2};
	area[VHI_RING_DEVICE] = (struct vhi_ring_area){4 + 8 * n + event, 4};
}

uint64_t vhi_ring_used_len(uint32_t num, uint64_t features)
{
	struct vhi_ring_area area[VHI_RING_AREAS];

	vhi_ring_areas(num, features, area);
	return area[VHI_RING_DEVICE].len;
}

/* An area that has any bytes has to be aligned in its own addresses. */
static uint32_t check_align(const struct vhi_ring *ring)
{
	const uint64_t at[VHI_AREAS] = {ring->desc.v, ring->driver.v, ring->device.v, ring->indirect.v};
	struct vhi_ring_area want[VHI_AREAS];

	vhi_ring_areas(ring->num, ring->features, want);
	want[VHI_AREA_INDIRECT] = (struct vhi_ring_area){ring->max_indirect, 16};
	for (uint32_t i = 0; i < VHI_AREAS; i++)
		if (VHI_REFUSE(VHI_SITE_QUEUE_ALIGN, want[i].len && at[i] & (want[i].align - 1)))
			return VHI_SITE_QUEUE_ALIGN;
	return 0;
}

uint32_t vhi_queue_locate(const struct vhi_ring *ring, const struct vh_snapshot *snap, void VHI_SHM *area[VHI_AREAS])
{
	const struct vhi_gpa at[VHI_AREAS] = {[VHI_AREA_DESC] = ring->desc,
					      [VHI_AREA_DRIVER] = ring->driver,
					      [VHI_AREA_DEVICE] = ring->device,
					      [VHI_AREA_INDIRECT] = ring->indirect};
	struct vhi_ring_area want[VHI_AREAS];
	uint32_t site = check_align(ring);

	if (site)
		return site;
	vhi_ring_areas(ring->num, ring->features, want);
	want[VHI_AREA_INDIRECT] = (struct vhi_ring_area){(uint64_t)ring->num * ring->max_indirect * VHI_DESC_SIZE, 16};
	for (uint32_t i = 0; i < VHI_AREAS; i++) {
		area[i] = NULL;
		if (!want[i].len)
			continue;
		area[i] = vhi_translate_one(snap, at[i], want[i].len);
		if (VHI_REFUSE(VHI_SITE_QUEUE_AREA, !area[i]))
			return VHI_SITE_QUEUE_AREA;
	}
	return 0;
}

/* Pieces of one mapping: pages that are never touched cost nothing, so an idle queue stays small. */
static void *carve(char *base, size_t *at, size_t n, size_t size)
{
	void *p = base ? base + *at : NULL;

	*at = (*at + n * size + 15) & ~(size_t)15;
	return p;
}

static uint32_t pow2_from(uint32_t n)
{
	uint32_t p = 1;

	while (p < n)
		p *= 2;
	return p;
}

/* Called twice: with base NULL for the length. */
static size_t lay_out(struct vh_queue *q, char *base, const struct vhi_ring *ring)
{
	const bool packed = ring->features & VHI_BIT(VH_F_RING_PACKED);
	/* For a chain of which it is not known whose it is. */
	const uint32_t num = ring->num, spare = packed && q->role == VH_QUEUE_DEVICE;
	size_t at = 0;

	q->slots = carve(base, &at, num + spare, sizeof(struct vhi_slot));
	if (q->role == VH_QUEUE_DRIVER) {
		q->drv.link = carve(base, &at, num, sizeof(uint16_t));
		q->drv.order = carve(base, &at, num, sizeof(uint16_t));
		q->drv.kept = carve(base, &at, packed && ring->keep ? num : 0, sizeof(struct vhi_kept));
		if (!packed || !ring->keep)
			q->drv.kept = NULL;
		return at;
	}
	q->dev.order_mask = pow2_from(num) - 1;
	q->dev.order = carve(base, &at, q->dev.order_mask + 1, sizeof(uint16_t));
	q->dev.run = carve(base, &at, ring->features & VHI_BIT(VH_F_IN_ORDER) ? num : 0, sizeof(struct vh_cpl));
	q->dev.held = 0;
	q->dev.late = 0;
	q->dev.lone = false;
	q->dev.grave = carve(base, &at, 1, sizeof(*q->dev.grave));
	q->dev.dirty = carve(base, &at, 1, sizeof(*q->dev.dirty));
	q->dev.table = carve(base, &at, q->max_segs, VHI_DESC_SIZE);
	q->dev.chain.odd = false;
	q->dev.blocks = 0;
	q->flags &= ~VHI_QF_BLOCKS;
	q->dev.row_room = VHI_MIN(VHI_INLINE_SEGS, q->max_segs);
	q->dev.rows = carve(base, &at, ((size_t)num + spare) * VHI_INLINE_SEGS, sizeof(struct vh_seg));
	q->dev.pools[VHI_POOL_MEDIUM] = (struct vhi_pool){.room = VHI_MIN(MEDIUM_ROOM, q->max_segs),
							  .count = VHI_MIN(num, MEDIUM_MAX)};
	q->dev.pools[VHI_POOL_LARGE] = (struct vhi_pool){.room = q->max_segs, .count = LARGE_COUNT};
	for (uint32_t i = 0; i < VHI_POOLS; i++) {
		struct vhi_pool *p = &q->dev.pools[i];

		p->base = carve(base, &at, (size_t)p->count * p->room, sizeof(struct vh_seg));
	}
	return at;
}

void vhi_queue_drop_tables(struct vh_queue *q)
{
	if (q->role == VH_QUEUE_DRIVER)
		vhi_early_drop(q);
	if (q->arena)
		vhi_sys.munmap(q->arena, q->arena_len);
	q->arena = NULL;
	q->slots = NULL;
	q->num = 0;
	__atomic_store_n(&q->in_flight, 0, __ATOMIC_RELEASE);
}

static int make_tables(struct vh_queue *q, const struct vhi_ring *ring)
{
	void *arena;

	q->max_segs = ring->max_segs ? ring->max_segs : VHI_MAX(ring->num, 1024u);
	q->arena_len = lay_out(q, NULL, ring);
	arena = vhi_sys.mmap(NULL, q->arena_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			     -1, 0);
	if (arena == MAP_FAILED)
		return vhi_fail_at(-ENOMEM, VH_ERROR_SYSTEM, 0, q->index, VH_ERROR_NONE,
				   "queue %u: no memory for its tables (%zu bytes)", q->index, q->arena_len);
	q->arena = arena;
	lay_out(q, arena, ring);
	if (q->role == VH_QUEUE_DRIVER) {
		q->drv.n_free = ring->num;
		q->drv.free = 0;
		q->drv.turn = 0;
		q->drv.kept_fresh = 0;
		q->drv.kept_free = 0;
		q->drv.run = 0;
		/* In order descriptors go round. */
		if (ring->features & VHI_BIT(VH_F_IN_ORDER))
			q->drv.link[ring->num - 1] = (uint16_t)-ring->num;
	}
	q->num = ring->num;
	return 0;
}

static const struct vhi_layout *const layouts[2][2] = {
	{&vhi_split_device, &vhi_split_driver},
	{&vhi_packed_device, &vhi_packed_driver},
};

void vhi_queue_open_ring(struct vh_queue *q)
{
	q->layout->open(q, q->ring.fresh);
	/* Of what a driver can change, the value that was reckoned with. */
	if (q->track)
		q->next_used = vhi_track_used(q);
	if (q->flags & VHI_QF_LOGGED)
		vhi_queue_log_event(q);
}

/* Lock and gate are held. */
static int start(struct vh_queue *q, const struct vhi_ring *ring, struct vh_snapshot *snap)
{
	const bool keep = q->role == VH_QUEUE_DRIVER && !ring->fresh;
	void VHI_SHM *area[VHI_AREAS] = {NULL};
	int rc = check_ring(q, ring);
	uint32_t site, base = ring->base;

	if (rc)
		return rc;
	if (vhi_dead_full(q))
		return vhi_fail_at(
			-EBUSY, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
			"queue %u can't start: requests of %u connections that ended were not pushed; push every "
			"request that was popped, whatever became of its connection",
			q->index, VHI_DEAD_RUNS);
	site = ring->iotlb ? check_align(ring) : vhi_queue_locate(ring, snap, area);
	if (site)
		return vhi_fail_at(site == VHI_SITE_QUEUE_AREA ? -EFAULT : -EINVAL, VH_ERROR_QUEUE, site, q->index,
				   VH_ERROR_NONE,
				   "queue %u can't start: a %s (descriptors 0x%llx, available 0x%llx, used 0x%llx)",
				   q->index, vhi_queue_site_text(site), (unsigned long long)ring->desc.v,
				   (unsigned long long)ring->driver.v, (unsigned long long)ring->device.v);
	if (keep && q->num != ring->num)
		return vhi_fail_at(-EINVAL, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
				   "queue %u can't go on: it had %u entries, not %u; start it fresh", q->index, q->num,
				   ring->num);
	if (!keep) {
		vhi_queue_drop_tables(q);
		rc = make_tables(q, ring);
		if (rc)
			return rc;
	}
	/* Behind an IOMMU: when the ring is found. */
	rc = ring->iotlb ? 0 : vhi_track_start(q, ring, area, &base);
	if (rc)
		return rc;
	memcpy(q->area, area, sizeof(area));
	q->ring = *ring;
	q->ring.base = base;
	q->snap = vhi_snapshot_get(snap);
	vhi_behind_begin(q, ring->iotlb);
	q->faults_seen = 0;
	q->layout = layouts[vhi_is_packed(q)][q->role == VH_QUEUE_DRIVER];
	q->event_idx = ring->features & VHI_BIT(VH_F_RING_EVENT_IDX);
	q->flags &= ~VHI_QF_IN_ORDER;
	q->flags |= ring->features & VHI_BIT(VH_F_IN_ORDER) ? VHI_QF_IN_ORDER : 0;
	q->failure.code = 0;
	q->untold = 0;
	if (q->role == VH_QUEUE_DRIVER)
		q->drv.longest = ring->features & VHI_BIT(VH_F_RING_INDIRECT_DESC) ? ring->max_indirect : 0;
	q->epoch++;
	q->seq = 0;
	q->dropped = 0;
	q->notify_next = true;
	q->starved = false;
	vhi_dirty_get(ring->log.dirty);
	vhi_queue_put_log(q, &ring->log);
	q->flags |= VHI_QF_STARTED;
	if (ring->iotlb)
		q->change.what |= VHI_PENDING_IOTLB; /* looked for as soon as all is in place */
	else
		vhi_queue_open_ring(q);
	vhi_queue_refresh(q);
	return 0;
}

int vhi_queue_start(struct vh_queue *q, const struct vhi_ring *ring, struct vh_snapshot *snap)
{
	int rc;

	if (__atomic_load_n(&q->state, __ATOMIC_ACQUIRE) == VH_QUEUE_STOPPED) {
		vhi_queue_own(q);
		if (!(q->flags & VHI_QF_STARTED)) {
			rc = start(q, ring, snap);
			if (!rc) {
				VHI_PROBE3(queue_started, (uintptr_t)q, q->index, ring->num);
				return vhi_queue_finish(q, true);
			}
			vhi_queue_abandon(q, true);
			return rc;
		}
		vhi_queue_abandon(q, true);
	}
	return vhi_fail_at(-EBUSY, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
			   "queue %u has not stopped yet; stop it first", q->index);
}

int vhi_queue_finish_stop(struct vh_queue *q, uint32_t *base)
{
	bool ours = vhi_queue_begin(q);
	uint32_t left;

	if (!ours || (q->flags & VHI_QF_STARTED &&
		      (!(q->flags & VHI_QF_DRAINING) || (q->role == VH_QUEUE_DEVICE && q->in_flight)))) {
		vhi_queue_abandon(q, ours);
		return -EBUSY;
	}
	if (q->flags & VHI_QF_STARTED) {
		q->base = q->layout->base(q, &left);
		vhi_queue_halt(q);
		if (q->role == VH_QUEUE_DEVICE)
			vhi_queue_drop_tables(q);
	}
	if (base)
		*base = q->base;
	vhi_queue_finish(q, ours);
	return 0;
}

uint32_t vhi_queue_base(struct vh_queue *q)
{
	uint32_t base;

	pthread_mutex_lock(&q->lock);
	base = q->base;
	pthread_mutex_unlock(&q->lock);
	return base;
}

void vhi_queue_set_base(struct vh_queue *q, uint32_t base)
{
	pthread_mutex_lock(&q->lock);
	q->base = base;
	pthread_mutex_unlock(&q->lock);
}

int vhi_queue_progress(struct vh_queue *q, uint32_t *base)
{
	bool ours = vhi_queue_begin(q);
	bool known = ours && q->flags & VHI_QF_STARTED;
	uint32_t left;

	if (known)
		*base = q->layout->base(q, &left);
	vhi_queue_abandon(q, ours);
	return known ? (int)left : -EBUSY;
}
