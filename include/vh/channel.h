/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: What a back-end asks its front-end, one call for each message.
 *
 * Each sends its request and does not wait; the ticket is for
 * vh_slave_finish(), which says what came of it. The front-end answers when it
 * has served other messages first, so go on dispatching. What is true of
 * vh_slave_submit() is true of them all: there is a channel, the feature was
 * negotiated, a ring is started.
 */
#ifndef VH_CHANNEL_H
#define VH_CHANNEL_H

#include "vh/types.h"
#include "vh/protocol.h"

VH_BEGIN_DECLS

/**
 * vh_slave_set_host_notifier() - BACKEND_VRING_HOST_NOTIFIER_MSG: let the guest reach a queue's doorbell itself
 * @s: the back-end
 * @queue: queue index
 * @fd: (borrowed) a file with a page that can be mapped; -1 takes the notifier back
 * @offset: where the page is in it
 * @len: bytes: one page
 * @ticket: (nullable) (out) for vh_slave_finish()
 *
 * With the protocol feature HOST_NOTIFIER, which is offered when vh_slave_opts.more_protocol_features has it.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBADF EBUSY ESHUTDOWN ENOTCONN EOPNOTSUPP EAGAIN ENOMEM EMFILE ENOBUFS
 */
VH_API vh_rc vh_slave_set_host_notifier(struct vh_slave *s, uint32_t queue, vh_fd fd, uint64_t offset, uint64_t len,
					uint64_t *ticket);

/**
 * vh_slave_object_add() - BACKEND_SHARED_OBJECT_ADD: the device has an object that other devices may ask for
 * @s: the back-end
 * @uuid: (array len) its name
 * @len: VH_UUID_LEN
 * @ticket: (nullable) (out) for vh_slave_finish()
 *
 * Who asks for it gets it from vh_device_ops.get_shared_object.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN ENOTCONN EOPNOTSUPP EAGAIN ENOMEM ENOBUFS
 */
VH_API vh_rc vh_slave_object_add(struct vh_slave *s, const void *uuid, uint32_t len, uint64_t *ticket);

/**
 * vh_slave_object_remove() - BACKEND_SHARED_OBJECT_REMOVE: it has it no more
 * @s: the back-end
 * @uuid: (array len) its name
 * @len: VH_UUID_LEN
 * @ticket: (nullable) (out) for vh_slave_finish()
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN ENOTCONN EOPNOTSUPP EAGAIN ENOMEM ENOBUFS
 */
VH_API vh_rc vh_slave_object_remove(struct vh_slave *s, const void *uuid, uint32_t len, uint64_t *ticket);

/**
 * vh_slave_object_lookup() - BACKEND_SHARED_OBJECT_LOOKUP: ask for an object that another device has
 * @s: the back-end
 * @uuid: (array len) its name
 * @len: VH_UUID_LEN
 * @ticket: (nullable) (out) for vh_slave_finish(): 8 bytes, and the object as an fd
 *
 * Peers exist that grant it and lose the fd (QEMU 10): look at vh_msg_reply.n_fds.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN ENOTCONN EOPNOTSUPP EAGAIN ENOMEM ENOBUFS
 */
VH_API vh_rc vh_slave_object_lookup(struct vh_slave *s, const void *uuid, uint32_t len, uint64_t *ticket);

/**
 * vh_slave_shmem_map() - BACKEND_SHMEM_MAP: show the driver a part of a file in the device's shared memory
 * @s: the back-end
 * @map: what and where: in a region that vh_device_set_shmem() made, multiples of the page size, where nothing is mapped
 * @fd: (borrowed) the file
 * @ticket: (nullable) (out) for vh_slave_finish()
 *
 * It is there when the front-end has said so, and until it is unmapped or the device is reset.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBADF EBUSY ESHUTDOWN ENOTCONN EOPNOTSUPP EAGAIN ENOMEM EMFILE ENOBUFS
 */
VH_API vh_rc vh_slave_shmem_map(struct vh_slave *s, const struct vh_shmem_map *map, vh_fd fd, uint64_t *ticket);

/**
 * vh_slave_shmem_unmap() - BACKEND_SHMEM_UNMAP: take it away
 * @s: the back-end
 * @map: shmid, shm_offset and len of exactly one mapping; the rest counts for nothing
 * @ticket: (nullable) (out) for vh_slave_finish()
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN ENOTCONN EOPNOTSUPP EAGAIN ENOMEM ENOBUFS
 */
VH_API vh_rc vh_slave_shmem_unmap(struct vh_slave *s, const struct vh_shmem_map *map, uint64_t *ticket);

/**
 * vh_slave_fs_request() - FS_MAP, FS_UNMAP, FS_SYNC or FS_IO: what a virtio-fs device wants of its cache
 * @s: the back-end
 * @op: VH_FS_MAP, VH_FS_UNMAP, VH_FS_SYNC or VH_FS_IO
 * @ranges: (array n) what
 * @n: 1 to VH_FS_MAX_RANGES
 * @fd: (borrowed) map and IO: the file; else -1
 * @ticket: (nullable) (out) for vh_slave_finish()
 *
 * In a dialect that has these requests: vh_slave_opts.dialect.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBADF EBUSY ESHUTDOWN ENOTCONN EOPNOTSUPP EAGAIN ENOMEM EMFILE ENOBUFS
 *
 * Return: 0, -EOPNOTSUPP also when the dialect has no such request.
 */
VH_API vh_rc vh_slave_fs_request(struct vh_slave *s, uint32_t op, const struct vh_fs_range *ranges, uint32_t n,
				 vh_fd fd, uint64_t *ticket);

VH_END_DECLS
#endif
