/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A device that uses I/O addresses: those of the session's memory, all of it, at a distance from its guest addresses. */
#include "vhi_driver.h"

int vhi_driver_iommu_check(struct vh_driver *d)
{
	if (!d->behind || d->features & VHI_BIT(VH_F_ACCESS_PLATFORM))
		return 0;
	return vhi_fail(
		-ENOTSUP, VH_ERROR_PEER, 0,
		"vh_driver_new: the back-end does not offer VIRTIO_F_ACCESS_PLATFORM, so it knows no I/O addresses");
}

int vhi_driver_iommu_map(struct vh_driver *d)
{
	struct vh_snapshot *s;
	int rc = 0;

	if (!d->behind)
		return 0;
	s = vhi_mem_snapshot(d->mem);
	for (uint32_t i = 0; !rc && i < s->n; i++)
		rc = d->b->ops->iotlb_update(d->b->ctx, (struct vhi_iova){s->spans[i].gpa + d->iova_shift},
					     s->spans[i].len, (struct vhi_gpa){s->spans[i].gpa},
					     VH_MEM_READ | VH_MEM_WRITE);
	vhi_snapshot_put(s);
	return rc;
}
