/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: A vDPA device: /dev/vhost-vdpa-N.
 *
 * A device that moves data by itself, in hardware or in a driver of the kernel, with rings that are a virtio driver's own.
 * Its rings and its buffers are at I/O addresses, which vh_vdpa_set_mem() makes the guest addresses of a memory.
 * vh_vdpa_backend() is the device for a driver session; the other calls are the ioctls of the file, one by one.
 * A session and these calls don't mix: what was set by hand is not known to the session.
 *
 * One process at a time has the file. Opening it resets the device; closing it resets it and forgets all mappings.
 * Of an ioctl that this kernel does not have the kernel says ENOTTY, or EPERM, EFAULT or ENOBUFS: the text tells.
 */
#ifndef VH_VDPA_H
#define VH_VDPA_H

#include "vh/types.h"
#include "vh/protocol.h"

VH_BEGIN_DECLS

/* Bits of vh_vdpa_set_status(), as numbers of the byte: virtio's. */
#define VH_VDPA_S_ACKNOWLEDGE 1
#define VH_VDPA_S_DRIVER      2
#define VH_VDPA_S_DRIVER_OK   4
#define VH_VDPA_S_FEATURES_OK 8
#define VH_VDPA_S_NEEDS_RESET 64
#define VH_VDPA_S_FAILED      128

/* Backend features, as bit numbers. */
#define VH_VDPA_BF_MSG_V2		  1 /* messages with an address space */
#define VH_VDPA_BF_BATCH		  2 /* many mappings as one change */
#define VH_VDPA_BF_ASID			  3 /* several address spaces */
#define VH_VDPA_BF_SUSPEND		  4 /* vh_vdpa_suspend() */
#define VH_VDPA_BF_RESUME		  5 /* vh_vdpa_resume() */
#define VH_VDPA_BF_ENABLE_AFTER_DRIVER_OK 6 /* a ring may be enabled late */
#define VH_VDPA_BF_DESC_ASID		  7 /* descriptors in an address space of their own */
#define VH_VDPA_BF_PERSIST		  8 /* mappings survive a reset */

#define VH_VDPA_MAX_CONFIG 4096 /* bytes of config space that one call reads or writes */

/** struct vh_vdpa_opts - options of vh_vdpa_open() and vh_vdpa_adopt(). Sized, zero means default. */
struct vh_vdpa_opts {
	uint32_t size;		/* sizeof(struct vh_vdpa_opts) */
	uint32_t flags;		/* must be 0 */
	uint64_t mask_features; /* feature bits that a session never takes */
};

/** struct vh_vdpa_info - what a device says of itself. Size-first out struct. */
struct vh_vdpa_info {
	uint32_t size;
	uint32_t device_id;	   /* virtio device type */
	uint64_t features;	   /* that it offers */
	uint64_t backend_features; /* that its file offers: bit numbers VH_VDPA_BF_* */
	uint64_t first_iova;	   /* I/O addresses that it can use */
	uint64_t last_iova;	   /* inclusive */
	uint32_t max_vring_num;	   /* entries that a ring may have, after a reset */
	uint32_t num_vrings;	   /* 0 = this kernel does not say */
	uint32_t num_groups;	   /* of rings that share an address space; 0 = this kernel does not say */
	uint32_t num_asids;	   /* address spaces; 0 = this kernel does not say */
	uint32_t config_size;	   /* bytes; 0 = this kernel does not say */
	uint32_t status;	   /* VH_VDPA_S_* */
};

/**
 * vh_vdpa_open() - open a device
 * @where: path of its node, or a key as of vh_vdpa_mgmt_find_place(): the name of the device
 * @opts: (nullable)
 * @out: (out) (owned) free with vh_vdpa_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM ENOENT ENODEV ENXIO ENOTUNIQ EBUSY EPERM EACCES EMFILE ENAMETOOLONG EOPNOTSUPP EPROTO ENOSPC EIO
 *
 * Return: 0; -EBUSY: another process has it open; -ENODEV: there is no such device, or vhost_vdpa has not taken it (see
 * vh_vdpa_mgmt_bind()); -EOPNOTSUPP: it needs an IOMMU, and there is none (the kernel's errno 524).
 */
VH_API vh_rc vh_vdpa_open(const char *where, const struct vh_vdpa_opts *opts, struct vh_vdpa **out);

/**
 * vh_vdpa_adopt() - a device whose file is open already
 * @fd: (borrowed) its file, duplicated
 * @opts: (nullable)
 * @out: (out) (owned) free with vh_vdpa_free()
 *
 * Its status is taken as it is.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EMFILE EBADF ENOTTY EFAULT EPERM EOPNOTSUPP EIO
 */
VH_API vh_rc vh_vdpa_adopt(vh_fd fd, const struct vh_vdpa_opts *opts, struct vh_vdpa **out);

/**
 * vh_vdpa_free() - reset it and close its file
 * @v: (nullable)
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: none
 */
VH_API void vh_vdpa_free(struct vh_vdpa *v);

/**
 * vh_vdpa_backend() - the device for a driver session
 * @v: the device
 * @out: (out) (borrowed) valid until vh_vdpa_free()
 *
 * A session that stops suspends the device, where that can be, reads where its rings are, and resets it; the rings of a
 * vDPA device stop and start all together.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_vdpa_backend(struct vh_vdpa *v, struct vh_backend **out);

/**
 * vh_vdpa_get_info() - what it says of itself
 * @v: the device
 * @out: (out) the answers
 *
 * What this kernel does not know is 0, and all I/O addresses.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_get_info(struct vh_vdpa *v, struct vh_vdpa_info *out);

/**
 * vh_vdpa_set_owner() - make it this process's
 * @v: the device
 *
 * Once, before anything about rings or mappings.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO ENOMEM
 */
VH_API vh_rc vh_vdpa_set_owner(struct vh_vdpa *v);

/**
 * vh_vdpa_set_backend_features() - take features of the file
 * @v: the device
 * @features: bit numbers VH_VDPA_BF_*
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_set_backend_features(struct vh_vdpa *v, uint64_t features);

/**
 * vh_vdpa_set_features() - take features of the device
 * @v: the device
 * @features: bits; after DRIVER, before FEATURES_OK
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_set_features(struct vh_vdpa *v, uint64_t features);

/**
 * vh_vdpa_get_status() - the device's status
 * @v: the device
 * @out: (out) VH_VDPA_S_*
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_get_status(struct vh_vdpa *v, uint32_t *out);

/**
 * vh_vdpa_set_status() - the next step, or a reset
 * @v: the device
 * @status: all of the byte; 0 resets, and ends what was mapped but for VH_VDPA_BF_PERSIST
 *
 * Only a reset clears bits, and the order is ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK. FEATURES_OK is read back.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO ENOTSUP
 *
 * Return: 0; -EINVAL: not in that order; -ENOTSUP: the device refused the features.
 */
VH_API vh_rc vh_vdpa_set_status(struct vh_vdpa *v, uint32_t status);

/**
 * vh_vdpa_get_config() - read config space
 * @v: the device
 * @offset: first byte
 * @buf: (out) (array len) the bytes
 * @len: 1 to VH_VDPA_MAX_CONFIG bytes
 *
 * The file tells no generation: what is read is read again until it is twice the same, a few times.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO ENOMEM EAGAIN
 *
 * Return: 0; -EAGAIN: it changed all the time.
 */
VH_API vh_rc vh_vdpa_get_config(struct vh_vdpa *v, uint32_t offset, void *buf, uint32_t len);

/**
 * vh_vdpa_set_config() - write config space
 * @v: the device
 * @offset: first byte
 * @buf: (array len) the bytes
 * @len: 1 to VH_VDPA_MAX_CONFIG bytes
 *
 * Some devices (VDUSE) ignore it without a word.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO ENOMEM
 */
VH_API vh_rc vh_vdpa_set_config(struct vh_vdpa *v, uint32_t offset, const void *buf, uint32_t len);

/**
 * vh_vdpa_set_config_call() - how to hear of a change of config space
 * @v: the device
 * @fd: (borrowed) an eventfd, -1 = not at all
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO EBADF
 */
VH_API vh_rc vh_vdpa_set_config_call(struct vh_vdpa *v, vh_fd fd);

/**
 * vh_vdpa_set_vring_num() - entries of a ring
 * @v: the device
 * @queue: ring index
 * @num: a power of two, up to vh_vdpa_info.max_vring_num
 *
 * Newer kernels refuse what is above the limit, older ones let it pass; here it is always refused.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_set_vring_num(struct vh_vdpa *v, uint32_t queue, uint32_t num);

/**
 * vh_vdpa_set_vring_addr() - where a ring is
 * @v: the device
 * @addr: I/O addresses; after the number of entries
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_set_vring_addr(struct vh_vdpa *v, const struct vh_vring_addr *addr);

/**
 * vh_vdpa_set_vring_base() - where a ring begins
 * @v: the device
 * @queue: ring index
 * @base: as vh_vdpa_get_vring_base() gives it
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_set_vring_base(struct vh_vdpa *v, uint32_t queue, uint32_t base);

/**
 * vh_vdpa_get_vring_base() - where a ring is
 * @v: the device
 * @queue: ring index
 * @out: (out) the next entry that the device takes; of a packed ring two halves, used and available, with their wrap bits
 *
 * Of a device that is suspended; it means nothing after a reset.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_get_vring_base(struct vh_vdpa *v, uint32_t queue, uint32_t *out);

/**
 * vh_vdpa_set_vring_kick() - how the device hears of requests
 * @v: the device
 * @queue: ring index
 * @fd: (borrowed) an eventfd, -1 = not at all
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO EBADF
 */
VH_API vh_rc vh_vdpa_set_vring_kick(struct vh_vdpa *v, uint32_t queue, vh_fd fd);

/**
 * vh_vdpa_set_vring_call() - how to hear of completions
 * @v: the device
 * @queue: ring index
 * @fd: (borrowed) an eventfd, -1 = not at all
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO EBADF
 */
VH_API vh_rc vh_vdpa_set_vring_call(struct vh_vdpa *v, uint32_t queue, vh_fd fd);

/**
 * vh_vdpa_set_vring_err() - how to hear of a ring that broke
 * @v: the device
 * @queue: ring index
 * @fd: (borrowed) an eventfd, -1 = not at all
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO EBADF
 */
VH_API vh_rc vh_vdpa_set_vring_err(struct vh_vdpa *v, uint32_t queue, vh_fd fd);

/**
 * vh_vdpa_set_vring_enable() - switch a ring on
 * @v: the device
 * @queue: ring index
 * @on: 1, or 0, which not every device heeds
 *
 * Before DRIVER_OK, or with VH_VDPA_BF_ENABLE_AFTER_DRIVER_OK.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_set_vring_enable(struct vh_vdpa *v, uint32_t queue, uint32_t on);

/**
 * vh_vdpa_get_vring_size() - entries that this ring may have
 * @v: the device
 * @queue: ring index
 * @out: (out) the number
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_get_vring_size(struct vh_vdpa *v, uint32_t queue, uint32_t *out);

/**
 * vh_vdpa_get_vring_group() - which group a ring is of
 * @v: the device
 * @queue: ring index
 * @out: (out) the group
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_get_vring_group(struct vh_vdpa *v, uint32_t queue, uint32_t *out);

/**
 * vh_vdpa_get_desc_group() - which group a ring's own memory is of
 * @v: the device
 * @queue: ring index
 * @out: (out) the group; needs VH_VDPA_BF_DESC_ASID
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_get_desc_group(struct vh_vdpa *v, uint32_t queue, uint32_t *out);

/**
 * vh_vdpa_set_group_asid() - which address space a group uses
 * @v: the device
 * @group: its number
 * @asid: the address space, from 0 on
 *
 * Before DRIVER_OK. Say it again after a reset.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_set_group_asid(struct vh_vdpa *v, uint32_t group, uint32_t asid);

/**
 * vh_vdpa_map() - what a range of I/O addresses means
 * @v: the device
 * @asid: the address space
 * @iova: first I/O address
 * @len: bytes, > 0
 * @host: address in this process; its memory stays there while it is mapped
 * @perm: VH_MEM_READ, VH_MEM_WRITE or both: what the device may do
 *
 * The memory counts against RLIMIT_MEMLOCK where the device needs it pinned. Of a range that overlaps another one, or of too
 * much memory, the kernel says EFAULT.
 *
 * Devices that work on addresses of the process (VDUSE, the simulators) see shared mappings of files only: of other memory
 * the kernel says that it is mapped, and the device can't reach it.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO ENOMEM ERANGE
 */
VH_API vh_rc vh_vdpa_map(struct vh_vdpa *v, uint32_t asid, vh_iova iova, uint64_t len, uint64_t host, uint32_t perm);

/**
 * vh_vdpa_unmap() - a range of I/O addresses means nothing any more
 * @v: the device
 * @asid: the address space
 * @iova: first I/O address
 * @len: bytes, > 0
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO ENOMEM ERANGE
 */
VH_API vh_rc vh_vdpa_unmap(struct vh_vdpa *v, uint32_t asid, vh_iova iova, uint64_t len);

/**
 * vh_vdpa_batch() - mappings between 1 and 0 are one change
 * @v: the device
 * @asid: the address space; of another one nothing is mapped meanwhile
 * @on: 1 begins, 0 ends
 *
 * Needs VH_VDPA_BF_BATCH.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO ENOMEM ERANGE
 */
VH_API vh_rc vh_vdpa_batch(struct vh_vdpa *v, uint32_t asid, uint32_t on);

/**
 * vh_vdpa_set_mem() - let the device have a memory, at its guest addresses
 * @v: the device
 * @mem: (nullable) (borrowed) kept while it is mapped; NULL = take all away
 *
 * In address space 0. What the device has and this memory has not is unmapped, what is new is mapped, as one change.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO ENOMEM ERANGE
 *
 * Return: 0; -ERANGE: a region is outside of the I/O addresses that the device can use.
 */
VH_API vh_rc vh_vdpa_set_mem(struct vh_vdpa *v, struct vh_mem *mem);

/**
 * vh_vdpa_suspend() - stop, and keep all state
 * @v: the device
 *
 * Needs VH_VDPA_BF_SUSPEND; before DRIVER_OK it does nothing.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_suspend(struct vh_vdpa *v);

/**
 * vh_vdpa_resume() - go on after a suspension
 * @v: the device
 *
 * Needs VH_VDPA_BF_RESUME.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO
 */
VH_API vh_rc vh_vdpa_resume(struct vh_vdpa *v);

/**
 * vh_vdpa_map_doorbell() - have the page by which a ring is kicked
 * @v: the device
 * @queue: ring index
 * @addr: (out) (borrowed) of the page in this process, which can be written and not be read; until vh_vdpa_unmap_doorbell()
 *
 * How it is written is the business of the device: of virtio's PCI devices the ring's index, in 16 bits.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY EPERM EFAULT ENOTTY EOPNOTSUPP ENOBUFS EIO ENOMEM ENXIO EACCES
 *
 * Return: 0; -EOPNOTSUPP: there is no such page (the kernel's errno 524): use the kick eventfd.
 */
VH_API vh_rc vh_vdpa_map_doorbell(struct vh_vdpa *v, uint32_t queue, uint64_t *addr);

/**
 * vh_vdpa_unmap_doorbell() - give it back
 * @v: the device
 * @addr: as vh_vdpa_map_doorbell() gave it
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY
 */
VH_API vh_rc vh_vdpa_unmap_doorbell(struct vh_vdpa *v, uint64_t addr);

VH_END_DECLS
#endif
