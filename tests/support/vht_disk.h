/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A block device that does as a test tells it: what its config space says, when and in which order requests end, and
 * with which status. Knobs may be turned from another thread than the one that serves it.
 */
#ifndef VHT_DISK_H
#define VHT_DISK_H

#include <stdbool.h>

#include "vh/vh.h"

struct vht_disk;

/* Freed when @dev is. */
struct vht_disk *vht_disk_new(uint64_t bytes, uint64_t features, uint32_t queues, struct vh_device **dev);

void vht_disk_config(struct vht_disk *d, uint32_t offset, const void *bytes, uint32_t n);
/* Keep requests; letting go completes them, newest first. */
void vht_disk_hold(struct vht_disk *d, bool on);
unsigned vht_disk_held(struct vht_disk *d);
/* Every request ends with this status byte and does nothing; -1 = as it should be. */
void vht_disk_status(struct vht_disk *d, int status);
/* Most data segments that a request had. */
unsigned vht_disk_most_segs(struct vht_disk *d);
/* Answer of set_features, 0 = accept. */
void vht_disk_refuse_features(struct vht_disk *d, int rc);

#endif
