/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The session's memory. A front-end without memory slots can share 8 regions, so memory is handed out of regions that
 * double in size; what is not touched costs nothing.
 */
#include "vhi_driver.h"

/* Guest addresses start here: 0 stays an address that is always wrong. */
#define FIRST_GPA UINT64_C(0x200000)
/* Huge pages, and back-ends that map by them. */
#define REGION_ALIGN UINT64_C(0x200000)
/* Of the smallest pages no more than the 2048 pieces that a kernel takes of the memory of a vDPA device. */
#define FIRST_LEN (UINT64_C(8) << 20)
#define LAST_LEN  (UINT64_C(1) << 30)
/* More than any address space here has. */
#define TOO_LONG (UINT64_C(1) << 56)

static uint64_t round_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

/* The back-end learns of the region before the queues do: nothing that it does not know can be submitted. */
int vhi_driver_share(struct vh_driver *d)
{
	struct vh_snapshot *now;
	int rc = vhi_driver_iommu_map(d);

	if (!rc)
		rc = vhi_driver_link(d);
	if (!rc)
		rc = vhi_driver_told(d, d->b->ops->set_memory(d->b->ctx, d->mem));
	if (rc < 0)
		return rc;
	rc = 0;
	now = vhi_mem_snapshot(d->mem);
	for (uint32_t i = 0; !rc && i < d->n_queues; i++) {
		if (!d->queues[i].life)
			continue;
		rc = vhi_queue_ctl(d->queues[i].q, VHI_CTL_SNAPSHOT, now);
		/* A call that is in progress on the queue can't know of new memory: in force when it leaves is enough. */
		if (rc == -EINPROGRESS)
			rc = 0;
	}
	vhi_snapshot_put(now);
	return rc;
}

static bool find_region(struct vh_driver *d, uint64_t gpa, struct vh_region *out)
{
	struct vh_snapshot *s = vhi_mem_snapshot(d->mem);
	bool found = false;

	for (uint32_t i = 0; !found && i < s->n; i++) {
		vhi_region_describe(s, i, out);
		found = out->gpa == gpa;
	}
	vhi_snapshot_put(s);
	return found;
}

static int add_region(struct vh_driver *d, uint64_t len)
{
	struct vh_region region;
	struct vh_error why;
	int rc;

	if (!vhi_driver_log_covers(d, d->next_gpa + len))
		return vhi_fail(-ENOSPC, VH_ERROR_MEMORY, 0,
				"vh_driver_alloc: the dirty log has no bits for more memory; make it longer");
	rc = vh_mem_alloc(d->mem, d->next_gpa, len, 0);
	if (rc)
		return rc;
	if (!find_region(d, d->next_gpa, &region))
		return vhi_fail(-ENOMEM, VH_ERROR_MEMORY, 0,
				"vh_driver_alloc: the new region is gone again; leave the "
				"session's memory to the session");
	if (__atomic_load_n(&d->running, __ATOMIC_ACQUIRE)) {
		rc = vhi_driver_share(d);
		if (rc) {
			why = vhi_driver_error_keep();
			vh_mem_remove(d->mem, &region);
			vhi_driver_error_put(&why);
			return rc;
		}
	}
	d->arena = region.host;
	d->arena_gpa = region.gpa;
	d->arena_left = len;
	d->page = region.page_size;
	d->next_gpa += len;
	d->next_len = VHI_MIN(VHI_MAX(d->next_len, len) * 2, LAST_LEN);
	return 0;
}

/* The first region also says what a page is. */
int vhi_driver_mem_init(struct vh_driver *d)
{
	int rc = vh_mem_new(NULL, &d->mem);

	d->next_gpa = FIRST_GPA;
	d->next_len = FIRST_LEN / 2;
	return rc ? rc : add_region(d, FIRST_LEN);
}

int vhi_driver_alloc(struct vh_driver *d, uint64_t len, uint64_t *addr, struct vhi_gpa *gpa)
{
	uint64_t size, region;
	int rc;

	if (len > TOO_LONG)
		return vhi_fail(-ENOMEM, VH_ERROR_ARGUMENT, 0, "vh_driver_alloc: %llu bytes do not fit; ask for less",
				(unsigned long long)len);
	size = round_up(len, d->page);
	region = round_up(VHI_MAX(size, d->next_len), REGION_ALIGN);
	rc = size > d->arena_left ? add_region(d, region) : 0;
	if (rc)
		return rc;
	*addr = d->arena;
	gpa->v = d->arena_gpa;
	d->arena += size;
	d->arena_gpa += size;
	d->arena_left -= size;
	return 0;
}

vh_rc vh_driver_share(struct vh_driver *d)
{
	int rc = 0;

	if (!d)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_share: NULL session");
	vhi_driver_control(d, true);
	if (d->running)
		rc = vhi_driver_share(d);
	vhi_driver_control(d, false);
	return rc;
}

vh_rc vh_driver_alloc(struct vh_driver *d, uint64_t len, uint64_t *addr)
{
	struct vhi_gpa gpa;
	int rc;

	if (!d || !addr || !len)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_alloc: NULL argument or no bytes");
	if (d->given)
		return vhi_fail(-EPERM, VH_ERROR_STATE, 0,
				"vh_driver_alloc: the session is over memory of the caller's, who hands it out");
	vhi_driver_control(d, true);
	rc = vhi_driver_alloc(d, len, addr, &gpa);
	vhi_driver_control(d, false);
	return rc;
}
