/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A back-end in this process with the semantics of the kernel's vhost: SET_BACKEND starts a ring, reading its base does
 * not stop it, rings are named by addresses of this process, and memory is a table of at most 64 ranges of them. A
 * vh_device answers the requests, in the thread that dispatches. Driver and device use one mapping of the memory.
 */
#ifndef VHT_FAKE_H
#define VHT_FAKE_H

#include <stdbool.h>

#include "vh/vh.h"
#include "vhi_backend.h"

enum vht_fake_call {
	VHT_FAKE_NONE,
	VHT_FAKE_NEGOTIATE,
	VHT_FAKE_SET_MEMORY,
	VHT_FAKE_RING_START,
	VHT_FAKE_RING_STOP,
	VHT_FAKE_RING_ENABLE,
	VHT_FAKE_CONFIG_GET,
	VHT_FAKE_SET_STATUS,
	VHT_FAKE_CALLS
};

struct vht_fake;

struct vht_fake *vht_fake_new(struct vh_device *dev);
void vht_fake_free(struct vht_fake *f);
struct vh_backend *vht_fake_backend(struct vht_fake *f);

/* The n-th call from now (0 = the next) fails with rc. */
void vht_fake_fail(struct vht_fake *f, enum vht_fake_call call, unsigned n, int rc);
unsigned vht_fake_count(const struct vht_fake *f, enum vht_fake_call call);
/* As if the device were gone. */
void vht_fake_die(struct vht_fake *f);
/* Misbehaviour: */
void vht_fake_hide_features(struct vht_fake *f, uint64_t features); /* not offered, besides what is hidden already */
void vht_fake_status(struct vht_fake *f, bool refuse_features);	    /* has a status byte from now on */
void vht_fake_lie_base(struct vht_fake *f, uint32_t add);	    /* reports another base than the ring's */
/* Do nothing in dispatch while set, so that requests stay in the ring. */
void vht_fake_sleep(struct vht_fake *f, bool on);
unsigned vht_fake_running(const struct vht_fake *f); /* rings that run */

#endif
