/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Which rings are on, and when a device starts that has no switch for one of them. */
#include "vhi_together.h"

#include "vhi_base.h"

static int settle(struct vhi_together *t, const struct vhi_together_ops *ops, void *dev)
{
	uint32_t on = 0;

	if (!t->ready || ops->runs(dev))
		return 0;
	for (uint32_t i = 0; i < VHI_TOGETHER_RINGS; i++) {
		if (t->rings[i].wanted && !t->rings[i].on)
			return 0;
		on += t->rings[i].on;
	}
	return on ? ops->start(dev) : 0;
}

int vhi_together_ready(struct vhi_together *t, const struct vhi_together_ops *ops, void *dev)
{
	for (uint32_t i = 0; i < VHI_TOGETHER_RINGS; i++)
		t->rings[i].wanted = t->rings[i].on;
	t->ready = true;
	return settle(t, ops, dev);
}

/* All stop with one, and go on when it does, or when the driver says that it is ready without it. */
int vhi_together_switch(struct vhi_together *t, const struct vhi_together_ops *ops, void *dev, uint32_t index, bool on)
{
	struct vhi_together_ring *r = &t->rings[index];
	int rc = on == r->on ? 0 : ops->stop(dev);

	if (rc || on == r->on)
		return rc;
	r->on = on;
	r->wanted |= on && t->ready;
	return on ? settle(t, ops, dev) : 0;
}

void vhi_together_kick(const struct vhi_together_ring *ring)
{
	if (ring->kick >= 0)
		vhi_eventfd_signal(ring->kick);
}

void vhi_together_kick_all(const struct vhi_together *t)
{
	for (uint32_t i = 0; i < VHI_TOGETHER_RINGS; i++)
		if (t->rings[i].on)
			vhi_together_kick(&t->rings[i]);
}
