/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Types that every other header uses.
 *
 * libvh speaks vhost from both ends. `master` is what the protocol's text now
 * calls the front-end (the side that owns guest memory and drives the device),
 * `slave` is the back-end (the side that is the device).
 *
 * Every call returns vh_rc (0 or a negative errno value) or vh_count (a count
 * n >= 0, or a negative errno value); a few return vh_fd. Details of the last failure on this
 * thread: vh_error_get().
 */
#ifndef VH_TYPES_H
#define VH_TYPES_H

#include <stddef.h>
#include <stdint.h>

#if defined(VH_API_PARSE)
#define VH_API
#elif defined(__GNUC__)
#define VH_API __attribute__((visibility("default")))
#else
#define VH_API
#endif

#ifdef __cplusplus
#define VH_BEGIN_DECLS extern "C" {
#define VH_END_DECLS   }
#else
#define VH_BEGIN_DECLS
#define VH_END_DECLS
#endif

VH_BEGIN_DECLS

/** 0, or a negative errno value. */
typedef int32_t vh_rc;
/** A count n >= 0, or a negative errno value. */
typedef int32_t vh_count;
/** A file descriptor; -1 = none where that is said. As a result also a negative errno value. */
typedef int32_t vh_fd;
/** Guest physical address, in bytes. */
typedef uint64_t vh_gpa;
/** Front-end user address: the opaque key by which a vhost-user front-end names memory, in bytes. */
typedef uint64_t vh_uva;
/** I/O virtual address (VIRTIO_F_ACCESS_PLATFORM), in bytes. */
typedef uint64_t vh_iova;

struct vh_mem;
struct vh_snapshot;
struct vh_dirty;
struct vh_iotlb;
struct vh_queue;
struct vh_device;
struct vh_slave;
struct vh_vduse;
struct vh_master;
struct vh_backend;
struct vh_driver;
struct vh_blk;
struct vh_net;
struct vh_gpu;
struct vh_postcopy;
struct vh_kern;
struct vh_vdpa;
struct vh_vdpa_mgmt;
struct vh_metrics;
struct vh_metrics_reader;

/* Feature bits, as bit numbers (virtio 1.2 section 6; vhost-user "Feature bits"). */
#define VH_F_NOTIFY_ON_EMPTY	24
#define VH_F_LOG_ALL		26
#define VH_F_ANY_LAYOUT		27
#define VH_F_RING_INDIRECT_DESC 28
#define VH_F_RING_EVENT_IDX	29
#define VH_F_PROTOCOL_FEATURES	30
#define VH_F_VERSION_1		32
#define VH_F_ACCESS_PLATFORM	33
#define VH_F_RING_PACKED	34
#define VH_F_IN_ORDER		35
#define VH_F_ORDER_PLATFORM	36
#define VH_F_NOTIFICATION_DATA	38
#define VH_F_RING_RESET		40

/* Virtio device types (virtio 1.2 section 5). */
#define VH_TYPE_NET 1
#define VH_TYPE_BLK 2

/* poll_us of vh_slave_opts and vh_driver_opts: one processor does nothing else. */
#define VH_POLL_ALWAYS 0xffffffffu

VH_END_DECLS
#endif
