/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The device handle as a slave sees it. */
#ifndef VHI_DEVICE_H
#define VHI_DEVICE_H

#include "vh/device.h"
#include "vhi_base.h"

struct vh_device {
	struct vh_device_opts opts;
	struct vh_device_ops ops;
	void *ctx;
	bool attached;	 /* to a slave */
	bool free_later; /* vh_device_free() came while attached */
};

/* One slave at a time: -EBUSY otherwise. */
int vhi_device_attach(struct vh_device *dev);
/* Frees it when vh_device_free() was called meanwhile. */
void vhi_device_detach(struct vh_device *dev);

#endif
