/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: The kernel's own vhost devices: /dev/vhost-net, /dev/vhost-vsock, /dev/vhost-scsi.
 *
 * The kernel is the device; this program owns guest memory and drives it. To
 * have it driven by a session, take vh_kern_backend() and vh_driver_new(), say
 * what a network device's rings are attached to (vh_kern_attach()), which
 * address a socket device has (vh_kern_vsock_set_cid()) or what a SCSI device
 * shows (vh_kern_scsi_set_target()). The other calls are the ioctls as they
 * are, one each, for who has an order of his own.
 *
 * Ring addresses are addresses of this process here, and nothing of a ring is
 * started by its kick: a network ring runs from vh_kern_net_set_backend() on,
 * the rings of the other two from vh_kern_vsock_set_running() and
 * vh_kern_scsi_set_endpoint() on. A failure says which ioctl failed on which
 * file, and what may be done about it: vh_error_get(). Which of them a kernel
 * has, vh_kern_probe() tells; that a kernel without an ioctl answers -ENOTTY
 * can't be relied on.
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

/* Bit numbers of vh_kern_get_backend_features(). */
#define VH_KERN_BF_IOTLB_MSG_V2 1

/* vh_kern_set_vring_endian() */
#define VH_KERN_LITTLE_ENDIAN 0
#define VH_KERN_BIG_ENDIAN    1

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

/* The device as such. */

/**
 * vh_kern_get_features() - VHOST_GET_FEATURES
 * @k: the device
 * @out: (out) bits 0 to 63 that are offered
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT ENOTTY
 */
VH_API vh_rc vh_kern_get_features(struct vh_kern *k, uint64_t *out);

/**
 * vh_kern_set_features() - VHOST_SET_FEATURES
 * @k: the device
 * @features: bits that are offered
 *
 * ACCESS_PLATFORM makes the IOTLB. LOG_ALL may change while rings run; the log has to be there before.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT EOPNOTSUPP ENOTTY ERANGE
 */
VH_API vh_rc vh_kern_set_features(struct vh_kern *k, uint64_t features);

/**
 * vh_kern_get_features_array() - VHOST_GET_FEATURES_ARRAY, since Linux 6.17
 * @k: the device
 * @out: (out) (array n) words of 64 bits; those that the kernel does not know are 0
 * @n: how many, up to VH_KERN_MAX_FEATURES
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT ENOTTY EPERM ENOMEM
 *
 * Return: 0; -ENOTTY or -EPERM where there is none.
 */
VH_API vh_rc vh_kern_get_features_array(struct vh_kern *k, uint64_t *out, uint32_t n);

/**
 * vh_kern_set_features_array() - VHOST_SET_FEATURES_ARRAY, since Linux 6.17
 * @k: the device
 * @features: (array n) words of 64 bits
 * @n: how many, up to VH_KERN_MAX_FEATURES
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT EOPNOTSUPP ENOTTY EPERM ENOMEM ERANGE
 */
VH_API vh_rc vh_kern_set_features_array(struct vh_kern *k, const uint64_t *features, uint32_t n);

/**
 * vh_kern_get_backend_features() - VHOST_GET_BACKEND_FEATURES
 * @k: the device
 * @out: (out) bits VH_KERN_BF_*
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT EPERM ENOTTY ENOBUFS
 */
VH_API vh_rc vh_kern_get_backend_features(struct vh_kern *k, uint64_t *out);

/**
 * vh_kern_set_backend_features() - VHOST_SET_BACKEND_FEATURES
 * @k: the device
 * @features: bits that are offered
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT EOPNOTSUPP EPERM ENOTTY ENOBUFS
 */
VH_API vh_rc vh_kern_set_backend_features(struct vh_kern *k, uint64_t features);

/**
 * vh_kern_set_owner() - VHOST_SET_OWNER: this process's memory is what the device uses
 * @k: the device
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ENOMEM ENOTTY
 */
VH_API vh_rc vh_kern_set_owner(struct vh_kern *k);

/**
 * vh_kern_reset_owner() - VHOST_RESET_OWNER: everything as it was when it was opened; network devices only
 * @k: the device
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EPERM ENOMEM ENOTTY EFAULT ENOBUFS
 */
VH_API vh_rc vh_kern_reset_owner(struct vh_kern *k);

/**
 * vh_kern_get_fork_from_owner() - VHOST_GET_FORK_FROM_OWNER: whether its threads are the owner's
 * @k: the device
 * @out: (out) 1: threads of the owner, 0: of the kernel
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY ENOBUFS
 */
VH_API vh_rc vh_kern_get_fork_from_owner(struct vh_kern *k, uint32_t *out);

/**
 * vh_kern_set_fork_from_owner() - VHOST_SET_FORK_FROM_OWNER: before it has an owner
 * @k: the device
 * @on: 1: threads of the owner, 0: of the kernel
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY ENOBUFS
 */
VH_API vh_rc vh_kern_set_fork_from_owner(struct vh_kern *k, uint32_t on);

/**
 * vh_kern_set_mem() - VHOST_SET_MEM_TABLE: guest memory, as it is now
 * @k: the device
 * @mem: what is shared; its mappings are kept until the next table, or until the device is freed
 *
 * Also while rings run, which must lie in it.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT E2BIG ENOMEM EOPNOTSUPP ERANGE ENOTTY
 */
VH_API vh_rc vh_kern_set_mem(struct vh_kern *k, struct vh_mem *mem);

/**
 * vh_kern_set_log_base() - VHOST_SET_LOG_BASE: where to log what is written
 * @k: the device
 * @log: (borrowed) kept until the next one, or until the device is freed; -ERANGE when it ends before the memory does
 *
 * Before LOG_ALL is set. What is in the rings' own memory is logged by vh_vring_addr.flags. Kernels before 7.2 don't log what a SCSI device reads into memory.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ERANGE ENOTTY
 */
VH_API vh_rc vh_kern_set_log_base(struct vh_kern *k, struct vh_dirty *log);

/**
 * vh_kern_set_log_fd() - VHOST_SET_LOG_FD: eventfd to signal when something is logged
 * @k: the device
 * @fd: (borrowed) -1 = none
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT EBADF ENOTTY
 */
VH_API vh_rc vh_kern_set_log_fd(struct vh_kern *k, vh_fd fd);

/* Rings. */

/**
 * vh_kern_set_vring_num() - VHOST_SET_VRING_NUM
 * @k: the device
 * @queue: ring index
 * @num: entries, a power of two
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP
 */
VH_API vh_rc vh_kern_set_vring_num(struct vh_kern *k, uint32_t queue, uint32_t num);

/**
 * vh_kern_set_vring_addr() - VHOST_SET_VRING_ADDR
 * @k: the device
 * @addr: addresses of this process, or I/O addresses with ACCESS_PLATFORM
 *
 * The kernel reads and writes there: memory that was given to it, or at least memory that stays.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP
 */
VH_API vh_rc vh_kern_set_vring_addr(struct vh_kern *k, const struct vh_vring_addr *addr);

/**
 * vh_kern_set_vring_base() - VHOST_SET_VRING_BASE
 * @k: the device
 * @queue: ring index
 * @base: next available index
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP
 */
VH_API vh_rc vh_kern_set_vring_base(struct vh_kern *k, uint32_t queue, uint32_t base);

/**
 * vh_kern_get_vring_base() - VHOST_GET_VRING_BASE; does not stop the ring
 * @k: the device
 * @queue: ring index
 * @base: (out) next available index; means something once the ring was stopped
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP
 */
VH_API vh_rc vh_kern_get_vring_base(struct vh_kern *k, uint32_t queue, uint32_t *base);

/**
 * vh_kern_set_vring_kick() - VHOST_SET_VRING_KICK
 * @k: the device
 * @queue: ring index
 * @fd: (borrowed) eventfd, -1 = none
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP EBADF
 */
VH_API vh_rc vh_kern_set_vring_kick(struct vh_kern *k, uint32_t queue, vh_fd fd);

/**
 * vh_kern_set_vring_call() - VHOST_SET_VRING_CALL
 * @k: the device
 * @queue: ring index
 * @fd: (borrowed) eventfd, -1 = none
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP EBADF
 */
VH_API vh_rc vh_kern_set_vring_call(struct vh_kern *k, uint32_t queue, vh_fd fd);

/**
 * vh_kern_set_vring_err() - VHOST_SET_VRING_ERR: signalled when the kernel can't go on with a ring
 * @k: the device
 * @queue: ring index
 * @fd: (borrowed) eventfd, -1 = none
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP EBADF
 */
VH_API vh_rc vh_kern_set_vring_err(struct vh_kern *k, uint32_t queue, vh_fd fd);

/**
 * vh_kern_set_vring_endian() - VHOST_SET_VRING_ENDIAN, for drivers from before virtio 1.0
 * @k: the device
 * @queue: ring index
 * @endian: VH_KERN_LITTLE_ENDIAN or VH_KERN_BIG_ENDIAN
 *
 * Few kernels are built with it.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP
 */
VH_API vh_rc vh_kern_set_vring_endian(struct vh_kern *k, uint32_t queue, uint32_t endian);

/**
 * vh_kern_get_vring_endian() - VHOST_GET_VRING_ENDIAN
 * @k: the device
 * @queue: ring index
 * @endian: (out) VH_KERN_LITTLE_ENDIAN or VH_KERN_BIG_ENDIAN
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP
 */
VH_API vh_rc vh_kern_get_vring_endian(struct vh_kern *k, uint32_t queue, uint32_t *endian);

/**
 * vh_kern_set_vring_busyloop() - VHOST_SET_VRING_BUSYLOOP_TIMEOUT
 * @k: the device
 * @queue: ring index
 * @us: microseconds that the kernel polls before it waits to be kicked; 0 = none
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP
 */
VH_API vh_rc vh_kern_set_vring_busyloop(struct vh_kern *k, uint32_t queue, uint32_t us);

/**
 * vh_kern_get_vring_busyloop() - VHOST_GET_VRING_BUSYLOOP_TIMEOUT
 * @k: the device
 * @queue: ring index
 * @us: (out) microseconds
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP
 */
VH_API vh_rc vh_kern_get_vring_busyloop(struct vh_kern *k, uint32_t queue, uint32_t *us);

/* Threads that serve rings: SCSI devices, since Linux 6.5. */

/**
 * vh_kern_new_worker() - VHOST_NEW_WORKER
 * @k: the device
 * @id: (out) its number
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP ENOMEM
 */
VH_API vh_rc vh_kern_new_worker(struct vh_kern *k, uint32_t *id);

/**
 * vh_kern_free_worker() - VHOST_FREE_WORKER: one that no ring is attached to
 * @k: the device
 * @id: its number
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP ENODEV
 */
VH_API vh_rc vh_kern_free_worker(struct vh_kern *k, uint32_t id);

/**
 * vh_kern_attach_vring_worker() - VHOST_ATTACH_VRING_WORKER
 * @k: the device
 * @queue: ring index
 * @id: the worker's number
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP ENODEV
 */
VH_API vh_rc vh_kern_attach_vring_worker(struct vh_kern *k, uint32_t queue, uint32_t id);

/**
 * vh_kern_get_vring_worker() - VHOST_GET_VRING_WORKER
 * @k: the device
 * @queue: ring index
 * @id: (out) the worker's number
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTTY EOPNOTSUPP
 */
VH_API vh_rc vh_kern_get_vring_worker(struct vh_kern *k, uint32_t queue, uint32_t *id);

/* What starts rings, by kind. */

/**
 * vh_kern_net_set_backend() - VHOST_NET_SET_BACKEND: attach a ring, which runs then
 * @k: the device
 * @queue: 0: it receives, 1: it sends
 * @fd: (borrowed) a tap device or a packet socket; -1: stop it
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EPERM EFAULT ENOBUFS ENOTSOCK EBADF ENOMEM ENOTTY EOPNOTSUPP
 */
VH_API vh_rc vh_kern_net_set_backend(struct vh_kern *k, uint32_t queue, vh_fd fd);

/**
 * vh_kern_vsock_set_cid() - VHOST_VSOCK_SET_GUEST_CID: the address of the guest
 * @k: the device
 * @cid: above 2, below 2^32 - 1, which nobody else has
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT EADDRINUSE ENOTTY EPERM ENOBUFS
 */
VH_API vh_rc vh_kern_vsock_set_cid(struct vh_kern *k, uint64_t cid);

/**
 * vh_kern_vsock_set_running() - VHOST_VSOCK_SET_RUNNING: start or stop both rings
 * @k: the device
 * @on: 1 or 0
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EPERM EFAULT ENOMEM ENOTTY ENOBUFS
 */
VH_API vh_rc vh_kern_vsock_set_running(struct vh_kern *k, uint32_t on);

/**
 * vh_kern_scsi_set_endpoint() - VHOST_SCSI_SET_ENDPOINT: show a target, start the rings
 * @k: the device
 * @wwpn: its name
 * @tpgt: its portal group, up to 65535
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EFAULT EOPNOTSUPP EEXIST ENODEV ENOMEM ENOTTY EPERM ENOBUFS
 */
VH_API vh_rc vh_kern_scsi_set_endpoint(struct vh_kern *k, const char *wwpn, uint32_t tpgt);

/**
 * vh_kern_scsi_clear_endpoint() - VHOST_SCSI_CLEAR_ENDPOINT: stop them
 * @k: the device
 * @wwpn: its name, as it was set
 * @tpgt: its portal group
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EFAULT EOPNOTSUPP ENODEV ENOTTY EPERM ENOBUFS
 */
VH_API vh_rc vh_kern_scsi_clear_endpoint(struct vh_kern *k, const char *wwpn, uint32_t tpgt);

/**
 * vh_kern_scsi_get_abi_version() - VHOST_SCSI_GET_ABI_VERSION
 * @k: the device
 * @version: (out) 1
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT ENOTTY EPERM ENOBUFS
 */
VH_API vh_rc vh_kern_scsi_get_abi_version(struct vh_kern *k, int32_t *version);

/**
 * vh_kern_scsi_set_events_missed() - VHOST_SCSI_SET_EVENTS_MISSED
 * @k: the device
 * @missed: 1: the driver was not told of something that happened, 0: it was told of all
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT ENOTTY EPERM ENOBUFS
 */
VH_API vh_rc vh_kern_scsi_set_events_missed(struct vh_kern *k, uint32_t missed);

/**
 * vh_kern_scsi_get_events_missed() - VHOST_SCSI_GET_EVENTS_MISSED
 * @k: the device
 * @missed: (out) 0 or 1
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT ENOTTY EPERM ENOBUFS
 */
VH_API vh_rc vh_kern_scsi_get_events_missed(struct vh_kern *k, uint32_t *missed);

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
