/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Guest memory: regions, translation, snapshots.
 *
 * A vh_mem is a set of regions that changes over time. Each change makes a new
 * immutable, reference-counted snapshot; what runs on an older snapshot keeps it
 * (and its mappings) alive. Addresses of this process come from a snapshot, and
 * are good as long as it. Pinning is memory safety only: a region that was
 * removed shows live memory that belongs to someone else.
 */
#ifndef VH_MEM_H
#define VH_MEM_H

#include "vh/types.h"

VH_BEGIN_DECLS

#define VH_MEM_MAX_REGIONS 509

/* vh_snapshot_translate(): what is to be done there, as bits. */
#define VH_MEM_READ  1u
#define VH_MEM_WRITE 2u

/* vh_region.flags */
#define VH_REGION_HUGE	 1u /* vh_mem_alloc: ask for huge pages, fails if there are none; report: has them */
#define VH_REGION_SEALED 2u /* report: the file can't shrink (F_SEAL_SHRINK) */
#define VH_REGION_BROKEN 4u /* report: the file was truncated under the mapping */

/*
 * vh_region.map_flags: memory of another Xen domain (protocol feature XEN_MMAP). Its file is then a device of Xen's that
 * maps it, the region whole pages, and its offset 0.
 */
#define VH_MAP_XEN_FOREIGN 1u	/* pages by frame number; the file is /dev/xen/privcmd */
#define VH_MAP_XEN_GRANT   2u	/* pages by grant reference, which is the address without bit 63; /dev/xen/gntdev */
#define VH_MAP_ON_DEMAND   256u /* may not be mapped in advance: refused, nothing here maps page by page */

/** struct vh_region - one range of guest memory. @frozen, 64 bytes. */
struct vh_region {
	vh_gpa gpa;	     /* guest physical address */
	vh_uva uva;	     /* front-end user address, the key on the wire */
	uint64_t len;	     /* bytes */
	uint64_t offset;     /* offset in the file of the region's first byte */
	uint64_t host;	     /* address of the first byte in this process */
	uint64_t page_size;  /* page size of the backing, bytes */
	uint32_t flags;	     /* VH_REGION_* */
	uint32_t number;     /* snapshot number that this description was taken from */
	uint32_t map_flags;  /* VH_MAP_*, 0 = a file like any other */
	uint32_t map_domain; /* whose memory it is, where that matters */
};

/** struct vh_seg - a contiguous piece of memory. @frozen, 16 bytes; a struct iovec on LP64. */
struct vh_seg {
	uint64_t addr; /* address in this process */
	uint64_t len;  /* bytes */
};

/** struct vh_mem_opts - options of vh_mem_new(). Sized, zero means default. */
struct vh_mem_opts {
	uint32_t size;	       /* sizeof(struct vh_mem_opts) */
	uint32_t flags;	       /* must be 0 */
	uint32_t max_regions;  /* 0 = VH_MEM_MAX_REGIONS */
	uint32_t require_seal; /* 1: a region whose memfd lacks F_SEAL_SHRINK is refused (-EPERM) */
};

/**
 * vh_mem_new() - an empty guest memory
 * @opts: (nullable)
 * @out: (out) (owned) free with vh_mem_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM
 */
VH_API vh_rc vh_mem_new(const struct vh_mem_opts *opts, struct vh_mem **out);

/**
 * vh_mem_free() - give up a guest memory
 * @mem: (nullable)
 *
 * Mappings go when the last snapshot that uses them goes.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: none
 */
VH_API void vh_mem_free(struct vh_mem *mem);

/**
 * vh_mem_alloc() - allocate a region: a memfd, sealed against shrinking
 * @mem: the memory
 * @gpa: guest physical address of its first byte
 * @len: bytes, > 0
 * @flags: 0 or VH_REGION_HUGE
 *
 * The user address is an opaque token, not a pointer of this process.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENOMEM EEXIST ENOSPC EOVERFLOW EMFILE
 *
 * Return: 0, -EEXIST on overlap, -ENOSPC when max_regions is reached.
 */
VH_API vh_rc vh_mem_alloc(struct vh_mem *mem, vh_gpa gpa, uint64_t len, uint32_t flags);

/**
 * vh_mem_add_fd() - map a range of a file as a region
 * @mem: the memory
 * @fd: (borrowed) duplicated inside
 * @region: gpa, uva, len, offset, map_flags, map_domain; flags only what vh_mem_regions() reports; the rest is ignored, so
 *   that a region may be passed on as it was described
 *
 * A regular file or memfd that does not hold offset + len bytes is refused before anything is mapped. The offset may
 * be anything that equals the guest address modulo 16. The file must be open for reading and writing.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENOMEM EEXIST ENOSPC EOVERFLOW ENODATA EPERM EACCES ENODEV EBADF EMFILE EOPNOTSUPP ENOTTY ENOENT EFAULT
 *
 * Return: 0, -EEXIST on overlap of guest or user addresses, -EOVERFLOW when a range wraps, -ENODATA when the file is
 * too short, -EPERM when a seal is missing or forbids writing, -EACCES when the file is not open for both, -ENODEV
 * when it can't be mapped.
 */
VH_API vh_rc vh_mem_add_fd(struct vh_mem *mem, vh_fd fd, const struct vh_region *region);

/**
 * vh_mem_remove() - remove the region with exactly this gpa, uva and length
 * @mem: the memory
 * @region: gpa, uva and len; the rest as in vh_mem_add_fd()
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENOENT ENOMEM
 */
VH_API vh_rc vh_mem_remove(struct vh_mem *mem, const struct vh_region *region);

/**
 * vh_mem_regions() - list the regions, by ascending guest address
 * @mem: the memory
 * @out: (nullable) (out) (array max) the first @max of them; NULL with @max 0: only count
 * @max: room at @out
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: the number of regions that there are, which may be above @max.
 */
VH_API vh_count vh_mem_regions(struct vh_mem *mem, struct vh_region *out, uint32_t max);

/**
 * vh_mem_dup_fd() - the file behind a region
 * @mem: the memory
 * @index: position in vh_mem_regions()
 * @out: (out) (owned) a duplicate, close-on-exec
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOENT EMFILE
 */
VH_API vh_rc vh_mem_dup_fd(struct vh_mem *mem, uint32_t index, vh_fd *out);

/**
 * vh_mem_dup_snapshot() - pin the present regions
 * @mem: the memory
 * @out: (out) (owned) free with vh_snapshot_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_mem_dup_snapshot(struct vh_mem *mem, struct vh_snapshot **out);

/**
 * vh_snapshot_number() - number of a snapshot, as in struct vh_req
 * @snap: the snapshot
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 *
 * Return: the number, 0 for NULL.
 */
VH_API uint32_t vh_snapshot_number(const struct vh_snapshot *snap);

/**
 * vh_snapshot_regions() - list the regions, by ascending guest address
 * @snap: the snapshot
 * @out: (nullable) (out) (array max) the first @max of them; NULL with @max 0: only count
 * @max: room at @out
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: the number of regions that there are, which may be above @max.
 */
VH_API vh_count vh_snapshot_regions(const struct vh_snapshot *snap, struct vh_region *out, uint32_t max);

/**
 * vh_snapshot_translate() - a guest range as segments of this process, valid as long as the snapshot
 * @snap: the snapshot
 * @gpa: first byte
 * @len: bytes, > 0
 * @perm: VH_MEM_READ, VH_MEM_WRITE or both
 * @segs: (out) (array max) one for each region that the range crosses, contiguous in guest addresses
 * @max: room at @segs
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EFAULT ENOSPC
 *
 * Return: number of segments; -EFAULT when a byte is in no region; -ENOSPC when @max is too small.
 */
VH_API vh_count vh_snapshot_translate(const struct vh_snapshot *snap, vh_gpa gpa, uint64_t len, uint32_t perm,
				      struct vh_seg *segs, uint32_t max);

/**
 * vh_snapshot_free() - un-pin
 * @snap: (nullable)
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 */
VH_API void vh_snapshot_free(struct vh_snapshot *snap);

/**
 * vh_mem_guard_install() - survive guest memory that is truncated under us
 *
 * Installs a SIGBUS handler for the whole process, once. A fault inside a mapping of this library puts private memory
 * over what is missing and marks the region VH_REGION_BROKEN, so that its queues report broken; every other fault goes
 * to the handler that was there before. Without it a peer that truncates shared memory ends the process. Threads that
 * touch guest memory must not block SIGBUS: the kernel ends a process whose fault is blocked.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_mem_guard_install(void);

/**
 * vh_mem_guard_remove() - put the previous SIGBUS handler back
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: ENOENT EBUSY
 *
 * Return: 0, -ENOENT when not installed, -EBUSY when another handler was put on top.
 */
VH_API vh_rc vh_mem_guard_remove(void);

VH_END_DECLS
#endif
