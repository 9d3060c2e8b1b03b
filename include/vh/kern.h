/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: The kernel's own vhost devices: /dev/vhost-net, /dev/vhost-vsock, /dev/vhost-scsi.
 *
 * The kernel is the device; this program owns guest memory and drives it. To
 * have it driven by a session, take vh_kern_backend() and vh_driver_new(), say
 * what a network device's rings are attached to (vh_kern_attach()), which
 * address a socket device has (vh_kern_vsock_set_cid()) or what a SCSI device
 * shows (vh_kern_scsi_set_target()). The ioctls as they are, one call each,
 * for who has an order of his own, are in vh/kern_ioctl.h.
 *
 * Ring addresses are addresses of this process here, and nothing of a ring is
 * started by its kick: a network ring runs from vh_kern_net_set_backend() on,
 * the rings of the other two from vh_kern_vsock_set_running() and
 * vh_kern_scsi_set_endpoint() on. A failure says which ioctl failed on which
 * file, and what may be done about it: vh_error_get(). Which of them a kernel
 * has, vh_kern_probe() tells. A call that is about a ring or wants an owner may
 * fail with -EPERM or -ENOBUFS, not -ENOTTY, on a kernel that does not have it.
 */
#ifndef VH_KERN_H
#define VH_KERN_H

#include "vh/types.h"
#include "vh/iotlb.h"
#include "vh/protocol.h"

VH_BEGIN_DECLS

/* Kinds of devices. */
#define VH_KERN_NET   1
#define VH_KERN_VSOCK 2
#define VH_KERN_SCSI  3

/* vh_kern_opts.flags */
#define VH_KERN_NET_HDR 1u /* what is attached knows no headers: the kernel adds and removes them itself */

/* vh_kern_ioctl.state */
#define VH_KERN_IOCTL_NO      0 /* this kernel, or this device, does not have it */
#define VH_KERN_IOCTL_YES     1
#define VH_KERN_IOCTL_UNKNOWN 2 /* nobody can say before vh_kern_set_owner() */

#define VH_KERN_MAX_CONFIG   256 /* bytes of vh_kern_set_config() */
#define VH_KERN_MAX_FEATURES 64	 /* words of vh_kern_get_features_array() */
#define VH_KERN_WWPN_MAX     224 /* bytes of a SCSI target's name, its NUL included */

/** struct vh_kern_opts - options of vh_kern_open() and vh_kern_adopt(). Sized, zero means default. */
struct vh_kern_opts {
	uint32_t size;		/* sizeof(struct vh_kern_opts) */
	uint32_t kind;		/* VH_KERN_*; 0 = by the name of the device file */
	uint32_t flags;		/* VH_KERN_NET_HDR */
	uint32_t reserved;	/* must be 0 */
	uint64_t mask_features; /* bits that a driver does not see */
	uint64_t more_features; /* bits that a driver sees beside the kernel's, which is not told of them: what is
				 * attached, or the config space, has them */
};

/** struct vh_kern_ioctl - whether an ioctl is there. @frozen, 8 bytes. */
struct vh_kern_ioctl {
	uint32_t request; /* its number on this architecture; vh_kern_ioctl_name() */
	uint32_t state;	  /* VH_KERN_IOCTL_* */
};

/**
 * vh_kern_open() - open a device file
 * @path: such as /dev/vhost-net
 * @opts: (nullable)
 * @out: (out) (owned) free with vh_kern_free()
 *
 * Nothing is asked of it yet: the calling process becomes its owner by vh_kern_set_owner(), or when a session is made.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOENT EACCES EPERM ENODEV ENXIO EBUSY ENOMEM EMFILE
 *
 * Return: 0, -ENOENT when there is no such file (is the module there?), -ENODEV when the file is there and the module is not.
 */
VH_API vh_rc vh_kern_open(const char *path, const struct vh_kern_opts *opts, struct vh_kern **out);

/**
 * vh_kern_adopt() - use a device file that is open already
 * @fd: (borrowed) duplicated
 * @opts: its kind has to be said here
 * @out: (out) (owned) free with vh_kern_free()
 *
 * It may have an owner already, which has to be this process.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EBADF ENOMEM EMFILE
 */
VH_API vh_rc vh_kern_adopt(vh_fd fd, const struct vh_kern_opts *opts, struct vh_kern **out);

/**
 * vh_kern_free() - stop what runs, close
 * @k: (nullable)
 *
 * Memory and log are given up after the kernel has let go of them.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: none
 */
VH_API void vh_kern_free(struct vh_kern *k);

/**
 * vh_kern_dup_fd() - the device file, for an ioctl by hand
 * @k: the device
 * @out: (out) (owned) a duplicate, close-on-exec
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EMFILE
 */
VH_API vh_rc vh_kern_dup_fd(struct vh_kern *k, vh_fd *out);

/**
 * vh_kern_kind() - which kind of device it is
 * @k: the device
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 *
 * Return: VH_KERN_*, 0 for NULL.
 */
VH_API uint32_t vh_kern_kind(const struct vh_kern *k);

/**
 * vh_kern_backend() - the device as something that vh_driver_new() takes
 * @k: the device, which must outlive the back-end's users
 * @out: (out) (borrowed) valid until vh_kern_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_kern_backend(struct vh_kern *k, struct vh_backend **out);

/* What a session needs to know beside. */

/**
 * vh_kern_attach() - what a network ring is attached to when a session starts it
 * @k: the device
 * @queue: 0: it receives, 1: it sends
 * @fd: (borrowed) a tap device or a packet socket, duplicated; -1 = none any more
 *
 * For both rings in general, and the same file. A tap needs headers of 12 bytes (IFF_VNET_HDR, TUNSETVNETHDRSZ), or VH_KERN_NET_HDR.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOTTY EBADF EMFILE
 */
VH_API vh_rc vh_kern_attach(struct vh_kern *k, uint32_t queue, vh_fd fd);

/**
 * vh_kern_set_config() - the config space that a driver reads
 * @k: the device
 * @buf: (nullable) (array len) its bytes; NULL with @len 0: none
 * @len: up to VH_KERN_MAX_CONFIG
 *
 * The kernel has none: a network device's address and MTU are the word of who makes it. A socket device has its address there without this call.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY
 */
VH_API vh_rc vh_kern_set_config(struct vh_kern *k, const void *buf, uint32_t len);

/**
 * vh_kern_scsi_set_target() - what a SCSI device shows when a session starts it
 * @k: the device
 * @wwpn: (nullable) name of the target, as below /sys/kernel/config/target/vhost; NULL: none
 * @tpgt: its portal group, up to 65535; kernels of today look at the name alone
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOTTY
 */
VH_API vh_rc vh_kern_scsi_set_target(struct vh_kern *k, const char *wwpn, uint32_t tpgt);

/* Probing. */

/**
 * vh_kern_probe() - which ioctls this kernel has
 * @k: the device
 * @out: (out) (array max) one entry for each that any kernel has for this family
 * @max: room at @out
 *
 * Nothing is changed by it. What came after the device file's first release is tried, the rest is there. VHOST_NEW_WORKER and what
 * else can't be tried without an effect goes by its sibling.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOMEM
 *
 * Return: how many there are, which may be above @max.
 */
VH_API vh_count vh_kern_probe(struct vh_kern *k, struct vh_kern_ioctl *out, uint32_t max);

/**
 * vh_kern_ioctl_name() - name of an ioctl of vhost, vDPA or VDUSE
 * @request: its number
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 *
 * Return: (borrowed) (nullable) a static string such as "VHOST_SET_OWNER", NULL for an unknown one.
 */
VH_API const char *vh_kern_ioctl_name(uint32_t request);

/* The IOTLB: network and socket devices with ACCESS_PLATFORM. */

/**
 * vh_kern_set_iotlb() - answer misses from a map
 * @k: the device
 * @map: (nullable) (borrowed) kept; of guest addresses, or with VH_IOTLB_USER_ADDR of addresses of this process; NULL: none
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY
 */
VH_API vh_rc vh_kern_set_iotlb(struct vh_kern *k, struct vh_iotlb *map);

/**
 * vh_kern_iotlb_update() - tell what I/O addresses mean
 * @k: the device
 * @entry: of guest addresses, in the memory of vh_kern_set_mem()
 *
 * A range of several regions is told in as many messages.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT EPROTO
 */
VH_API vh_rc vh_kern_iotlb_update(struct vh_kern *k, const struct vh_iotlb_entry *entry);

/**
 * vh_kern_iotlb_invalidate() - take back what was told
 * @k: the device
 * @iova: first I/O address
 * @len: bytes, > 0
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT EPROTO
 */
VH_API vh_rc vh_kern_iotlb_invalidate(struct vh_kern *k, vh_iova iova, uint64_t len);

/**
 * vh_kern_fd() - readable when the kernel misses an I/O address
 * @k: the device
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EOPNOTSUPP
 *
 * Return: (borrowed) the fd, -EOPNOTSUPP for a SCSI device, which has no IOTLB.
 */
VH_API vh_fd vh_kern_fd(struct vh_kern *k);

/**
 * vh_kern_dispatch() - read what the kernel misses, answer what the map knows; never blocks
 * @k: the device
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT EPROTO
 *
 * Return: 1 when there may be more to do at once, 0 when it is safe to wait on vh_kern_fd(), or when vh_kern_next_miss() has to
 * be called first.
 */
VH_API vh_count vh_kern_dispatch(struct vh_kern *k);

/**
 * vh_kern_next_miss() - take the oldest miss that the map did not know
 * @k: the device
 * @out: (out) the miss; answer by vh_kern_iotlb_update()
 *
 * The kernel does not ask twice: the ring waits until it is told.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY
 *
 * Return: 1 with a miss, 0 when there is none.
 */
VH_API vh_count vh_kern_next_miss(struct vh_kern *k, struct vh_iotlb_miss *out);

VH_END_DECLS
#endif
