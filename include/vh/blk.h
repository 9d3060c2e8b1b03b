/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Block requests, driver side: a virtio-blk driver over a driver session.
 */
#ifndef VH_BLK_H
#define VH_BLK_H

#include "vh/types.h"

VH_BEGIN_DECLS

#define VH_BLK_SECTOR  512
#define VH_BLK_ID_SIZE 20

/* vh_blk_io.op; the virtio request types (virtio 1.2 section 5.2.6). */
#define VH_BLK_READ	    0
#define VH_BLK_WRITE	    1
#define VH_BLK_FLUSH	    4
#define VH_BLK_GET_ID	    8
#define VH_BLK_DISCARD	    11
#define VH_BLK_WRITE_ZEROES 13

/* vh_blk_io.flags */
#define VH_BLK_UNMAP 1u /* write-zeroes may deallocate */

/* Block feature bits, as bit numbers (virtio 1.2 section 5.2.3). */
#define VH_BLK_F_SIZE_MAX     1
#define VH_BLK_F_SEG_MAX      2
#define VH_BLK_F_GEOMETRY     4
#define VH_BLK_F_RO	      5
#define VH_BLK_F_BLK_SIZE     6
#define VH_BLK_F_FLUSH	      9
#define VH_BLK_F_TOPOLOGY     10
#define VH_BLK_F_CONFIG_WCE   11
#define VH_BLK_F_MQ	      12
#define VH_BLK_F_DISCARD      13
#define VH_BLK_F_WRITE_ZEROES 14
#define VH_BLK_F_LIFETIME     15
#define VH_BLK_F_SECURE_ERASE 16
#define VH_BLK_F_ZONED	      17

/** struct vh_blk_io - one block request. @frozen, 48 bytes. */
struct vh_blk_io {
	uint32_t op;	   /* VH_BLK_* */
	uint32_t flags;	   /* VH_BLK_UNMAP for write-zeroes */
	uint64_t offset;   /* bytes, a multiple of 512 */
	uint64_t addr;	   /* buffer in the session's memory (vh_driver_alloc); 0 for flush, discard, write-zeroes */
	uint64_t len;	   /* bytes, a multiple of 512; get-id: 20 */
	uint64_t user;	   /* cookie, comes back in the completion */
	uint64_t reserved; /* must be 0 */
};

/** struct vh_blk_done - the end of one block request. @frozen, 16 bytes. */
struct vh_blk_done {
	uint64_t user;
	int32_t rc; /* 0, -EIO, -EOPNOTSUPP (the device does not know the request), -EPROTO (bad status) */
	uint32_t reserved;
};

/** struct vh_blk_info - what the device is. Size-first out struct. */
struct vh_blk_info {
	uint32_t size;
	uint32_t block_size; /* bytes */
	uint64_t capacity;   /* bytes */
	uint64_t features;   /* negotiated */
	uint32_t read_only;
	uint32_t n_queues;	   /* of the session */
	uint32_t max_queues;	   /* that the device has */
	uint32_t seg_max;	   /* data segments in a request, 0 = not said */
	uint32_t max_discard;	   /* sectors in a request, 0 = no discard */
	uint32_t max_write_zeroes; /* sectors in a request, 0 = no write-zeroes */
	uint32_t write_cache;	   /* 1: flush is needed */
	uint32_t max_bytes;	   /* of data in a request, whole blocks */
};

/**
 * vh_blk_new() - block requests over a driver session
 * @d: (borrowed) must outlive it
 * @out: (out) (owned) free with vh_blk_free()
 *
 * A session has one at a time.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN EOPNOTSUPP ENOTCONN ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0; -EBUSY when the session has one, or requests of another in flight; -EOPNOTSUPP when the back-end has no
 * config space; -EPROTO when config space says what can't be.
 */
VH_API vh_rc vh_blk_new(struct vh_driver *d, struct vh_blk **out);

/**
 * vh_blk_free() - give it up; requests in flight are lost to the caller
 * @b: (nullable)
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: none
 */
VH_API void vh_blk_free(struct vh_blk *b);

/**
 * vh_blk_get_info() - capacity, block size, limits
 * @b: the block driver
 * @out: (out) what the device is
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_blk_get_info(struct vh_blk *b, struct vh_blk_info *out);

/**
 * vh_blk_submit() - start requests
 * @b: the block driver
 * @queue: queue index
 * @ios: (array n) the requests
 * @n: how many
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EFAULT EROFS EOPNOTSUPP ERANGE EPROTO
 *
 * Return: requests taken, fewer than n when the ring is full or a later one is wrong (submit it again to learn why);
 * -ERANGE when the first one goes past the end of the device, -EROFS when the first one writes to a device that is
 * read-only, -EOPNOTSUPP when the device does not take requests of this kind, -EFAULT when the buffer of the first one
 * is not inside the session's memory, -EINVAL also when the session does not run.
 */
VH_API vh_count vh_blk_submit(struct vh_blk *b, uint32_t queue, const struct vh_blk_io *ios, uint32_t n);

/**
 * vh_blk_reap() - take ended requests
 * @b: the block driver
 * @queue: queue index
 * @done: (out) (array max) the ended requests
 * @max: room at @done
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL EBUSY EPROTO EFAULT
 *
 * Requests that a restart of a broken queue lost come back with -EIO.
 *
 * Return: ended requests at @done, 0 when there are none.
 */
VH_API vh_count vh_blk_reap(struct vh_blk *b, uint32_t queue, struct vh_blk_done *done, uint32_t max);

/**
 * vh_blk_wait() - sleep until vh_blk_reap() has something
 * @b: the block driver
 * @queue: queue index
 * @timeout_ms: -1 = for ever
 *
 * @since: VH_1.0
 * @thread: queue
 * @blocks: yes
 * @errors: EINVAL EBUSY EMFILE ENOMEM EINTR ETIMEDOUT EPROTO EFAULT ECONNRESET
 *
 * The back-end's connection is served meanwhile. vh_driver_opts.poll_us has it spin before it sleeps; no longer than the
 * timeout, so not when that is 0. After -ETIMEDOUT the queue is as vh_queue_arm() leaves it, for sleeping on vh_queue_fd().
 *
 * Return: 0, -ETIMEDOUT when nothing came, -ECONNRESET when the back-end is gone, -EINVAL also when the session is
 * stopped and nothing is left to reap.
 */
VH_API vh_rc vh_blk_wait(struct vh_blk *b, uint32_t queue, int32_t timeout_ms);

VH_END_DECLS
#endif
