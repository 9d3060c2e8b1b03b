/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The device handle as a slave sees it. */
#ifndef VHI_DEVICE_H
#define VHI_DEVICE_H

#include "vh/device.h"
#include "vhi_base.h"

#define VHI_DEVICE_MAX_QUEUES 256 /* as many as a queue index of 8 bits in a kick message can name */

struct vh_device {
	struct vh_device_opts opts; /* defaults filled in */
	struct vh_device_ops ops;
	void *ctx;
	bool attached;	 /* atomic: to a slave */
	bool free_later; /* vh_device_free() came while attached */
};

/* One slave at a time: -EBUSY otherwise. */
int vhi_device_attach(struct vh_device *dev);
/* Frees it when vh_device_free() was called meanwhile. */
void vhi_device_detach(struct vh_device *dev);

const char *vhi_device_site_text(uint32_t site);

#endif
