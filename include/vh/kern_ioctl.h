/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: The ioctls of the kernel's vhost devices, one call for each.
 *
 * What a session needs of them it does itself (vh/kern.h, vh/driver.h). Most
 * want vh_kern_set_owner() to come first.
 */
#ifndef VH_KERN_IOCTL_H
#define VH_KERN_IOCTL_H

#include "vh/kern.h"
#include "vh/types.h"

VH_BEGIN_DECLS

/* Bit numbers of vh_kern_get_backend_features(). */
#define VH_KERN_BF_IOTLB_MSG_V2 1

/* vh_kern_set_vring_endian() */
#define VH_KERN_LITTLE_ENDIAN 0
#define VH_KERN_BIG_ENDIAN    1

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
 * Return: 0; -ENOTTY where there is none.
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

VH_END_DECLS
#endif
