/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: What answers requests on the device side.
 *
 * A vh_device is a set of callbacks, of the user's or built in (null, ram and
 * file block devices), that a transport (a vh_slave) attaches to its queues. It
 * is the same for every transport, and is attached to one at a time.
 */
#ifndef VH_DEVICE_H
#define VH_DEVICE_H

#include "vh/types.h"
#include "vh/protocol.h"

VH_BEGIN_DECLS

/* vh_device_ops.flags */
#define VH_DEVICE_MANUAL_QUEUES 1u /* the user pops and pushes; on_batch is never called */
#define VH_DEVICE_NO_REPEAT	2u /* a request that was begun can't be done again: no inflight records are kept */

/**
 * struct vh_device_ops - callbacks of a device. Sized; any may be NULL.
 *
 * They run inside the transport's dispatch (vh_slave_dispatch()). What needs an answer before the peer gets its reply
 * returns 0, a negative errno value to refuse, or -EINPROGRESS to answer later with vh_device_finish(dev, later, rc), or
 * with vh_device_reply() where the answer is more than that. Such a token names one call of one device and is never used
 * again.
 */
struct vh_device_ops {
	uint32_t size;	/* sizeof(struct vh_device_ops) */
	uint32_t flags; /* VH_DEVICE_* */
	/**
	 * destroy() - the device is freed
	 * @ctx: what was given with the ops
	 *
	 * Called exactly once, also when vh_device_new() fails. Nothing of the device is called after it.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*destroy)(void *ctx);
	/**
	 * get_config() - read config space
	 * @ctx: what was given with the ops
	 * @offset: first byte; offset + len is at most 256
	 * @buf: (out) (array len) bytes past what is known are zero
	 * @len: bytes, > 0
	 * @later: token for vh_device_reply() with @len bytes; 0 when it can't be answered later
	 *
	 * Return: 0, -EINPROGRESS (buf is then ignored), or a negative errno value: the front-end gets the empty reply.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINVAL EIO EINPROGRESS
	 */
	vh_rc (*get_config)(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later);
	/**
	 * set_config() - write config space
	 * @ctx: what was given with the ops
	 * @offset: first byte; offset + len is at most 256
	 * @buf: (borrowed) (array len) valid during the call
	 * @len: bytes, > 0
	 * @flags: VH_CONFIG_WRITE or VH_CONFIG_MIGRATION
	 * @later: token for vh_device_finish()
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINVAL EPERM EINPROGRESS
	 */
	vh_rc (*set_config)(void *ctx, uint32_t offset, const void *buf, uint32_t len, uint32_t flags, uint64_t later);
	/**
	 * set_features() - the driver's choice
	 * @ctx: what was given with the ops
	 * @features: bits, a subset of what was offered
	 * @later: token for vh_device_finish(); 0 when there is nobody to answer to
	 *
	 * A choice ends with its connection: then features and later are 0, and the result means nothing.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINVAL EINPROGRESS
	 */
	vh_rc (*set_features)(void *ctx, uint64_t features, uint64_t later);
	/**
	 * reset() - device reset; requests in flight were drained before
	 * @ctx: what was given with the ops
	 * @later: token for vh_device_finish()
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EIO EINPROGRESS
	 */
	vh_rc (*reset)(void *ctx, uint64_t later);
	/**
	 * queue_started() - a queue became able to run
	 * @ctx: what was given with the ops
	 * @q: (borrowed) the queue, the same for the life of the slave
	 * @index: queue index
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*queue_started)(void *ctx, struct vh_queue *q, uint32_t index);
	/**
	 * queue_stopped() - a queue stopped
	 * @ctx: what was given with the ops
	 * @q: (borrowed) the queue
	 * @index: queue index
	 *
	 * Comes from dispatch, and from whatever else ends the connection: vh_slave_disconnect() and vh_slave_free(). Requests
	 * that are in flight then, because the connection ended, still have to be pushed: see vh_queue_push().
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*queue_stopped)(void *ctx, struct vh_queue *q, uint32_t index);
	/**
	 * on_batch() - the queue may have requests: pop, handle, push (now or later)
	 * @ctx: what was given with the ops
	 * @q: (borrowed) the queue
	 * @index: queue index
	 * @budget: requests to take at most
	 *
	 * Return: > 0 when it stopped because of the budget, 0 when the ring was empty. A negative errno value gives the queue
	 * up: it is broken (VH_EVENT_BROKEN with that reason) until the driver resets it. What is wrong with one request
	 * belongs in its status, and what is wrong with the device in vh_device_error().
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EIO EPROTO EFAULT
	 */
	vh_count (*on_batch)(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget);
	/**
	 * poll_fd() - a pollable fd of the device's own (asynchronous completions)
	 * @ctx: what was given with the ops
	 *
	 * Asked once, when attached: inside of vh_slave_new(). It stays open until destroy. poll_fd and on_poll are both there,
	 * or none.
	 *
	 * Return: (borrowed) the fd, -1 = none.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EMFILE
	 */
	vh_fd (*poll_fd)(void *ctx);
	/**
	 * on_poll() - poll_fd is readable: make it not so, and push what has completed
	 * @ctx: what was given with the ops
	 *
	 * Return: 0, or a negative errno value, which is logged.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EIO
	 */
	vh_rc (*on_poll)(void *ctx);
	/**
	 * send_rarp() - announce the guest: it has moved here, and can't tell the network itself
	 * @ctx: what was given with the ops
	 * @mac: (borrowed) (array len) the guest's hardware address; valid during the call
	 * @len: 6
	 * @later: token for vh_device_finish()
	 *
	 * With it the protocol feature RARP is offered.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EIO EINPROGRESS
	 */
	vh_rc (*send_rarp)(void *ctx, const void *mac, uint32_t len, uint64_t later);
	/**
	 * set_mtu() - the largest frame that the guest will be told of
	 * @ctx: what was given with the ops
	 * @mtu: bytes, 68 to 65535
	 * @later: token for vh_device_finish()
	 *
	 * With it, and a device of type VH_TYPE_NET that offers VIRTIO_NET_F_MTU (bit 3), the protocol feature MTU is offered.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINVAL EINPROGRESS
	 */
	vh_rc (*set_mtu)(void *ctx, uint32_t mtu, uint64_t later);
	/**
	 * create_crypto_session() - keys for requests to come
	 * @ctx: what was given with the ops
	 * @session: (borrowed) the parameters; they and the keys are valid during the call
	 * @later: token for vh_device_reply() with the 8 bytes of an int64_t, the session's number
	 *
	 * With it and close_crypto_session() the protocol feature CRYPTO_SESSION is offered.
	 *
	 * Return: the session's number, or a negative errno value: the front-end gets -1 for it.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINVAL ENOSPC EINPROGRESS
	 */
	vh_count (*create_crypto_session)(void *ctx, const struct vh_crypto_session *session, uint64_t later);
	/**
	 * close_crypto_session() - a session's keys are not needed any more
	 * @ctx: what was given with the ops
	 * @id: the session's number; that it is one of yours is yours to check
	 * @later: token for vh_device_finish()
	 *
	 * A connection that ends closes nothing by itself: set_features() with 0 and 0 tells of that.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: ENOENT EINPROGRESS
	 */
	vh_rc (*close_crypto_session)(void *ctx, int64_t id, uint64_t later);
	/**
	 * set_gpu_socket() - where the display is
	 * @ctx: what was given with the ops
	 * @fd: (borrowed) a connected unix stream socket, closed after the call: duplicate it
	 * @later: token for vh_device_finish()
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINVAL EMFILE EINPROGRESS
	 */
	vh_rc (*set_gpu_socket)(void *ctx, vh_fd fd, uint64_t later);
	/**
	 * save_state() - the next bytes of what the device remembers, for the device that goes on in its place
	 * @ctx: what was given with the ops
	 * @offset: bytes given out before; 0 begins
	 * @buf: (out) (array cap) the bytes
	 * @cap: room, > 0
	 * @later: token for vh_device_reply() with at most @cap bytes, or vh_device_finish() with 0 for the end
	 *
	 * Asked while no queue runs. It ends with 0, or, when the front-end thinks better of it, without a word: the next one
	 * begins at 0 again. With it and load_state() the protocol feature DEVICE_STATE is offered.
	 *
	 * Return: bytes; 0 when that was all; a negative errno value: the front-end is told that it failed.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EIO EINPROGRESS
	 */
	vh_count (*save_state)(void *ctx, uint64_t offset, void *buf, uint32_t cap, uint64_t later);
	/**
	 * load_state() - the next bytes of what a device like this one has saved
	 * @ctx: what was given with the ops
	 * @offset: bytes given before; 0 begins
	 * @buf: (borrowed) (array len) valid during the call
	 * @len: bytes; 0: that was all, check it and take it over
	 * @later: token for vh_device_finish()
	 *
	 * The bytes are the peer's: they may be anything, and end anywhere. Nothing is to change before the end, which does not
	 * come when the front-end thinks better of it: then the next one begins at 0 again.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINVAL EINPROGRESS
	 */
	vh_rc (*load_state)(void *ctx, uint64_t offset, const void *buf, uint32_t len, uint64_t later);
	/**
	 * get_shared_object() - an object that another device wants
	 * @ctx: what was given with the ops
	 * @uuid: (borrowed) (array len) its name; valid during the call
	 * @len: VH_UUID_LEN
	 * @later: token for vh_device_reply() with no bytes and the fd
	 *
	 * With it the protocol feature SHARED_OBJECT is offered. vh_slave_object_add() tells of objects.
	 *
	 * Return: (borrowed) the fd, which is duplicated; or a negative errno value: there is no such object.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: ENOENT EINPROGRESS
	 */
	vh_fd (*get_shared_object)(void *ctx, const void *uuid, uint32_t len, uint64_t later);
};

/** struct vh_device_opts - what the device offers. Sized. */
struct vh_device_opts {
	uint32_t size;		 /* sizeof(struct vh_device_opts) */
	uint32_t type;		 /* VH_TYPE_* or any virtio device id; with VH_TYPE_NET queues are told in pairs */
	uint64_t features;	 /* device feature bits offered, beyond what the library's rings add */
	uint32_t max_queues;	 /* at most 256; 0 = 1 */
	uint32_t max_queue_size; /* largest ring accepted; 0 = 32768 */
};

/**
 * vh_device_new() - a device of the user's
 * @opts: what it offers
 * @ops: callbacks; copied
 * @ctx: first argument of every callback
 * @out: (out) (owned) free with vh_device_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM
 */
VH_API vh_rc vh_device_new(const struct vh_device_opts *opts, const struct vh_device_ops *ops, void *ctx,
			   struct vh_device **out);

/**
 * vh_device_set_shmem() - the device has a region of shared memory, into which it maps parts of files
 * @dev: the device; not attached
 * @shmid: number of the region, below VH_SHMEM_MAX
 * @len: bytes, a multiple of the page size; 0 = there is no such region after all
 *
 * With one the protocol feature SHMEM is offered. See vh_slave_shmem_map().
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EBUSY ENOMEM
 *
 * Return: 0, -EBUSY when a slave has the device.
 */
VH_API vh_rc vh_device_set_shmem(struct vh_device *dev, uint32_t shmid, uint64_t len);

/**
 * vh_device_finish() - answer a callback that returned -EINPROGRESS
 * @dev: the device
 * @later: the callback's token
 * @rc: 0 or a negative errno value; only the latter where vh_device_reply() gives the answer
 *
 * It may come before the callback has returned.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ESTALE
 *
 * Return: 0, -ESTALE when nobody waits for it any more (the connection ended).
 */
VH_API vh_rc vh_device_finish(struct vh_device *dev, uint64_t later, vh_rc rc);

/**
 * vh_device_reply() - answer a callback that returned -EINPROGRESS and whose answer is more than 0
 * @dev: the device
 * @later: the callback's token
 * @buf: (array len) the answer, copied
 * @len: bytes, as many as the callback says
 * @fd: (borrowed) duplicated; -1 = none, which is right where the callback does not speak of one
 *
 * A refusal is vh_device_finish() here too. It may come before the callback has returned.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ESTALE ENOMEM EBADF EMFILE
 *
 * Return: 0, -ESTALE when nobody waits for it any more (the connection ended).
 */
VH_API vh_rc vh_device_reply(struct vh_device *dev, uint64_t later, const void *buf, uint32_t len, vh_fd fd);

/**
 * vh_device_config_changed() - tell the driver that config space changed
 * @dev: the device
 *
 * Over vhost-user: BACKEND_CONFIG_CHANGE_MSG, when the front-end can take it. Does not wait for an answer. While no
 * ring runs the news is kept, and told when the first one starts.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENOTCONN EOPNOTSUPP EAGAIN EBUSY ESHUTDOWN
 *
 * Return: 0; -ENOTCONN when it is not attached or nobody is connected, -EOPNOTSUPP when the front-end did not
 * negotiate it, -EAGAIN when it has not answered too many of them.
 */
VH_API vh_rc vh_device_config_changed(struct vh_device *dev);

/**
 * vh_device_error() - the device could not do a request
 * @dev: the device
 * @queue: index of the queue that the request came from
 * @rc: a negative errno value: what the disk or the network said
 *
 * For what is wrong with the device, not with a request that a driver got wrong. Call it once for each request that
 * fails, beside telling the driver in the request's status. It counts (vh_queue_stats.failed), raises
 * VH_EVENT_DEVICE_ERROR and leaves a line in the log. Built-in devices do this by themselves. Nothing comes of it
 * while the device is not attached.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_device_error(struct vh_device *dev, uint32_t queue, vh_rc rc);

/* vh_blkdev_opts.kind: what is behind it. */
#define VH_BLKDEV_NULL 1 /* completes at once; reads return what the buffer held (zeroes are not written) */
#define VH_BLKDEV_RAM  2
#define VH_BLKDEV_FILE 3

/* vh_blkdev_opts.flags */
#define VH_BLKDEV_READONLY 1u
#define VH_BLKDEV_NO_URING 2u /* file: plain preadv and pwritev even where io_uring works */

/** struct vh_blkdev_opts - a built-in block device. Sized. */
struct vh_blkdev_opts {
	uint32_t size;		 /* sizeof(struct vh_blkdev_opts) */
	uint32_t kind;		 /* VH_BLKDEV_* */
	uint64_t capacity;	 /* bytes, a multiple of 512; file: 0 = size of the file, rounded down to 512 */
	uint32_t flags;		 /* VH_BLKDEV_READONLY, ... */
	uint32_t max_queues;	 /* at most 256; 0 = 1 */
	uint32_t max_queue_size; /* largest ring accepted; 0 = 1024 */
	uint32_t block_size;	 /* logical block size, bytes; 0 = 512 */
	char serial[20];	 /* VIRTIO_BLK_T_GET_ID, NUL-padded */
	uint32_t reserved;	 /* must be 0 */
};

/**
 * vh_blkdev_new() - a virtio block device in C
 * @opts: kind and size
 * @fd: (borrowed) VH_BLKDEV_FILE: a regular file or block device, duplicated; else -1
 * @out: (out) (owned) free with vh_device_free()
 *
 * Its state (see vh_device_ops.save_state) says of what kind and size it is; that of VH_BLKDEV_RAM has the contents too.
 *
 * Requests: in, out, flush, discard, write-zeroes, get-id (virtio 1.2 section 5.2.6). A file that would block is
 * read and written through io_uring, so that it holds up nothing else on the thread; one in memory (tmpfs, memfd), and
 * any where io_uring is refused, through preadv and pwritev. A write is complete when the file has it (when the disk
 * has it, for a driver that did not take VH_BLK_F_FLUSH); a flush when the disk has it. A file opened with O_DIRECT is
 * -ENOTSUP, one that is not open for reading, and for writing unless VH_BLKDEV_READONLY is set, -EACCES.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EBADF EACCES ENOTSUP EMFILE
 */
VH_API vh_rc vh_blkdev_new(const struct vh_blkdev_opts *opts, vh_fd fd, struct vh_device **out);

/**
 * vh_device_free() - free a device that no slave uses any more
 * @dev: (nullable)
 *
 * A device that is still attached goes when its slave goes. A file device whose connection ended with I/O in flight
 * waits until the kernel has let go of that guest memory, at most 10 seconds.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: none
 */
VH_API void vh_device_free(struct vh_device *dev);

VH_END_DECLS
#endif
