/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Rings of a device that starts and stops as a whole. It stops with one of them, and starts when the driver is ready and every
 * ring is on that was on when it said so last, or was switched on since.
 */
#ifndef VHI_TOGETHER_H
#define VHI_TOGETHER_H

#include <stdbool.h>
#include <stdint.h>

#define VHI_TOGETHER_RINGS 256u /* as many as a session has */

struct vhi_together_ring {
	bool told;   /* where it is and all that */
	bool on;     /* it is to run */
	bool wanted; /* the device starts when all of these are on */
	int kick;    /* borrowed, while it is told */
};

struct vhi_together {
	struct vhi_together_ring rings[VHI_TOGETHER_RINGS];
	bool ready; /* the driver said DRIVER_OK */
};

/* 0 or -errno. A stop of a device that does not run is 0. */
struct vhi_together_ops {
	bool (*runs)(const void *dev);
	int (*start)(void *dev);
	int (*stop)(void *dev);
};

/* The driver is ready. */
int vhi_together_ready(struct vhi_together *t, const struct vhi_together_ops *ops, void *dev);
int vhi_together_switch(struct vhi_together *t, const struct vhi_together_ops *ops, void *dev, uint32_t index, bool on);

/* What was kicked while nobody served a ring was not noticed. */
void vhi_together_kick(const struct vhi_together_ring *ring);
void vhi_together_kick_all(const struct vhi_together *t); /* that are on */

#endif
