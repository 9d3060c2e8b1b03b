/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: The requests of a vhost-user front-end, one call for each message.
 *
 * Each submits its message and waits for the reply, as vh/master.h says. What a
 * session needs of them is done by vh_master_negotiate() and, for rings and
 * memory, by a driver session (vh/driver.h).
 */
#ifndef VH_REQUEST_H
#define VH_REQUEST_H

#include "vh/inflight.h"
#include "vh/iotlb.h"
#include "vh/protocol.h"
#include "vh/types.h"

VH_BEGIN_DECLS

struct vh_region;

/**
 * vh_master_get_features() - GET_FEATURES: bits that the back-end offers
 * @m: the front-end
 * @out: (out) as on the wire
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_get_features(struct vh_master *m, uint64_t *out);

/**
 * vh_master_set_features() - SET_FEATURES
 * @m: the front-end
 * @features: bits, a subset of the offer
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_features(struct vh_master *m, uint64_t features);

/**
 * vh_master_get_protocol_features() - GET_PROTOCOL_FEATURES
 * @m: the front-end
 * @out: (out) as on the wire
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_get_protocol_features(struct vh_master *m, uint64_t *out);

/**
 * vh_master_set_protocol_features() - SET_PROTOCOL_FEATURES
 * @m: the front-end
 * @features: bits, a subset of the offer
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_protocol_features(struct vh_master *m, uint64_t features);

/**
 * vh_master_set_owner() - SET_OWNER
 * @m: the front-end
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_owner(struct vh_master *m);

/**
 * vh_master_get_queue_num() - GET_QUEUE_NUM: queues (net: queue pairs)
 * @m: the front-end
 * @out: (out) clamped to 1..256
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_get_queue_num(struct vh_master *m, uint32_t *out);

/**
 * vh_master_get_max_mem_slots() - GET_MAX_MEM_SLOTS
 * @m: the front-end
 * @out: (out) clamped to 1..VH_MEM_MAX_REGIONS
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_get_max_mem_slots(struct vh_master *m, uint32_t *out);

/**
 * vh_master_get_config() - GET_CONFIG
 * @m: the front-end
 * @offset: first byte
 * @buf: (out) (array len) the bytes
 * @len: bytes, 1..VH_CONFIG_MAX
 *
 * Common back-ends ignore the offset, so everything from 0 on is asked for, up to VH_CONFIG_MAX bytes.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0, -EREMOTEIO when the back-end answered with an empty reply.
 */
VH_API vh_rc vh_master_get_config(struct vh_master *m, uint32_t offset, void *buf, uint32_t len);

/**
 * vh_master_set_config() - SET_CONFIG
 * @m: the front-end
 * @offset: first byte
 * @buf: (array len) the bytes to write
 * @len: bytes, 1..VH_CONFIG_MAX
 * @flags: VH_CONFIG_WRITE or VH_CONFIG_MIGRATION
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_config(struct vh_master *m, uint32_t offset, const void *buf, uint32_t len, uint32_t flags);

/**
 * vh_master_set_mem() - share all regions of a guest memory
 * @m: the front-end
 * @mem: the memory
 *
 * SET_MEM_TABLE, at most 8 regions; with memory slots the difference to what was shared before, by ADD_MEM_REG and
 * REM_MEM_REG.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOSPC ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_mem(struct vh_master *m, struct vh_mem *mem);

/**
 * vh_master_add_mem_region() - ADD_MEM_REG
 * @m: the front-end
 * @mem: the memory
 * @index: position in vh_mem_regions()
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOENT EOPNOTSUPP ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_add_mem_region(struct vh_master *m, struct vh_mem *mem, uint32_t index);

/**
 * vh_master_remove_mem_region() - REM_MEM_REG
 * @m: the front-end
 * @region: gpa, uva, len and offset; the rest is ignored
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_remove_mem_region(struct vh_master *m, const struct vh_region *region);

/**
 * vh_master_set_vring_num() - SET_VRING_NUM
 * @m: the front-end
 * @queue: queue index
 * @num: ring size
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_vring_num(struct vh_master *m, uint32_t queue, uint32_t num);

/**
 * vh_master_set_vring_addr() - SET_VRING_ADDR
 * @m: the front-end
 * @addr: addresses as the back-end is to see them
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_vring_addr(struct vh_master *m, const struct vh_vring_addr *addr);

/**
 * vh_master_set_vring_base() - SET_VRING_BASE
 * @m: the front-end
 * @queue: queue index
 * @base: split: next available index; packed: both indices with their wrap bits
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_vring_base(struct vh_master *m, uint32_t queue, uint32_t base);

/**
 * vh_master_get_vring_base() - GET_VRING_BASE: stops the ring
 * @m: the front-end
 * @queue: queue index
 * @base: (out) as vh_master_set_vring_base()
 *
 * The back-end answers when the requests in flight are done; the deadline of this wait is ten times the usual one.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_get_vring_base(struct vh_master *m, uint32_t queue, uint32_t *base);

/**
 * vh_master_set_log_base() - SET_LOG_BASE: the file of the dirty log
 * @m: the front-end
 * @fd: (borrowed) open for reading and writing
 * @offset: of the log's first byte in it
 * @len: bytes, > 0
 *
 * The back-end logs while LOG_ALL is among the features, and must be told that first. vh_driver_set_dirty() does all that
 * is to be done.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBADF EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_log_base(struct vh_master *m, vh_fd fd, uint64_t offset, uint64_t len);

/**
 * vh_master_set_log_fd() - SET_LOG_FD: signalled when the back-end has set bits in the dirty log
 * @m: the front-end
 * @fd: (borrowed) an eventfd
 *
 * Some back-ends ignore it, and some close the connection.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBADF EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_log_fd(struct vh_master *m, vh_fd fd);

/**
 * vh_master_set_vring_kick() - SET_VRING_KICK: starts the ring
 * @m: the front-end
 * @queue: queue index, 0..255
 * @fd: (borrowed) eventfd, -1 = the back-end polls
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBADF EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_vring_kick(struct vh_master *m, uint32_t queue, vh_fd fd);

/**
 * vh_master_set_vring_call() - SET_VRING_CALL
 * @m: the front-end
 * @queue: queue index, 0..255
 * @fd: (borrowed) eventfd, -1 = no interrupts
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBADF EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_vring_call(struct vh_master *m, uint32_t queue, vh_fd fd);

/**
 * vh_master_set_vring_err() - SET_VRING_ERR
 * @m: the front-end
 * @queue: queue index, 0..255
 * @fd: (borrowed) eventfd, -1 = none
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBADF EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_vring_err(struct vh_master *m, uint32_t queue, vh_fd fd);

/**
 * vh_master_set_vring_enable() - SET_VRING_ENABLE
 * @m: the front-end
 * @queue: queue index
 * @on: 0 or 1
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_vring_enable(struct vh_master *m, uint32_t queue, uint32_t on);

/**
 * vh_master_get_vring_base_skip_drain() - GET_VRING_BASE_SKIP_DRAIN: stop a ring, and leave what is in flight in the records
 * @m: the front-end
 * @queue: queue index
 * @base: (out) where the ring goes on, behind what is in flight
 *
 * Needs the protocol feature GET_VRING_BASE_SKIP_DRAIN and those it depends on (vh_master_opts.more_protocol_features),
 * and vh_master_set_inflight() before. Whoever gets the records and this base next does again what is in flight. The
 * answer comes when the device has let go of guest memory; the deadline of this wait is ten times the usual one.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_get_vring_base_skip_drain(struct vh_master *m, uint32_t queue, uint32_t *base);

/**
 * vh_master_vring_kick() - VRING_KICK: a kick by message
 * @m: the front-end
 * @queue: queue index
 *
 * Needs INBAND_NOTIFICATIONS (vh_master_opts.more_protocol_features). It starts a ring that is complete, as
 * vh_master_set_vring_kick() does. The back-end's VRING_CALL and VRING_ERR come to vh_master_ops.backend_request.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_vring_kick(struct vh_master *m, uint32_t queue);

/**
 * vh_master_get_inflight() - GET_INFLIGHT_FD: a new file for records of what is in flight
 * @m: the front-end
 * @num_queues: rings, 1 to 65535
 * @queue_size: entries of the largest ring
 * @out: (out) what it is, for vh_master_set_inflight()
 * @fd: (out) (owned) the file, close-on-exec
 *
 * Once, after vh_master_negotiate(); again after a reset of the device. It is for vh_master_set_inflight() only: what is
 * in it is the back-end's.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0; -EREMOTEIO when the back-end gave none; -EPROTO also when what it gave can't be.
 */
VH_API vh_rc vh_master_get_inflight(struct vh_master *m, uint32_t num_queues, uint32_t queue_size,
				    struct vh_inflight *out, vh_fd *fd);

/**
 * vh_master_set_inflight() - SET_INFLIGHT_FD: keep records there, and first do again what they say was in flight
 * @m: the front-end
 * @inflight: from vh_master_get_inflight(), of this or an earlier connection
 * @fd: (borrowed) its file
 *
 * On every connection, before rings start. Where it says that something was in flight, the back-end knows by itself where
 * a ring goes on, whatever vh_master_set_vring_base() says.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBADF EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_inflight(struct vh_master *m, const struct vh_inflight *inflight, vh_fd fd);

/**
 * vh_master_iotlb_update() - IOTLB_MSG: what a range of I/O addresses means
 * @m: the front-end
 * @entry: the range; addr is a user address of the memory that is shared
 *
 * With VIRTIO_F_ACCESS_PLATFORM. Inside of vh_master_ops.iotlb_miss it is sent, and its answer not waited for.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_iotlb_update(struct vh_master *m, const struct vh_iotlb_entry *entry);

/**
 * vh_master_iotlb_invalidate() - IOTLB_MSG: a range means nothing any more
 * @m: the front-end
 * @iova: its first I/O address
 * @len: bytes, > 0
 *
 * When it returns the back-end has finished the requests that used it; the deadline of this wait is ten times the usual one.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_iotlb_invalidate(struct vh_master *m, vh_iova iova, uint64_t len);

/**
 * vh_master_reset_device() - RESET_DEVICE
 * @m: the front-end
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_reset_device(struct vh_master *m);

/**
 * vh_master_set_status() - SET_STATUS
 * @m: the front-end
 * @status: device status byte (virtio 1.2 section 2.1)
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_status(struct vh_master *m, uint32_t status);

/**
 * vh_master_get_status() - GET_STATUS
 * @m: the front-end
 * @out: (out) device status byte (virtio 1.2 section 2.1)
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_get_status(struct vh_master *m, uint32_t *out);

/**
 * vh_master_reset_owner() - RESET_OWNER, which is deprecated
 * @m: the front-end
 *
 * Back-ends differ in what they do: nothing, or they disable or reset everything. A slave of this library resets the
 * device, as for vh_master_reset_device(), which is what to use.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_reset_owner(struct vh_master *m);

/**
 * vh_master_send_rarp() - SEND_RARP: announce the guest after a migration
 * @m: the front-end
 * @mac: (array len) its hardware address
 * @len: VH_MAC_LEN
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_send_rarp(struct vh_master *m, const void *mac, uint32_t len);

/**
 * vh_master_set_mtu() - NET_SET_MTU
 * @m: the front-end
 * @mtu: bytes, 68 to 65535
 *
 * After vh_master_set_features() with VIRTIO_NET_F_MTU (bit 3).
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_mtu(struct vh_master *m, uint32_t mtu);

/**
 * vh_master_set_vring_endian() - SET_VRING_ENDIAN: byte order of a legacy ring
 * @m: the front-end
 * @queue: queue index
 * @big: 0 = little-endian, 1 = big-endian
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_vring_endian(struct vh_master *m, uint32_t queue, uint32_t big);

/**
 * vh_master_create_crypto_session() - CREATE_CRYPTO_SESSION
 * @m: the front-end
 * @session: what is wanted
 * @id: (out) number of the session
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0, -EREMOTEIO when the back-end gave no session.
 */
VH_API vh_rc vh_master_create_crypto_session(struct vh_master *m, const struct vh_crypto_session *session, int64_t *id);

/**
 * vh_master_close_crypto_session() - CLOSE_CRYPTO_SESSION
 * @m: the front-end
 * @id: number of the session
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_close_crypto_session(struct vh_master *m, int64_t id);

/**
 * vh_master_set_gpu_socket() - GPU_SET_SOCKET: where the display is
 * @m: the front-end
 * @fd: (borrowed) the back-end's end of a unix stream socket that speaks vhost-user-gpu
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBADF EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_gpu_socket(struct vh_master *m, vh_fd fd);

/**
 * vh_master_get_shared_object() - GET_SHARED_OBJECT: an object that the device has told of
 * @m: the front-end
 * @uuid: (array len) its name
 * @len: VH_UUID_LEN
 * @fd: (out) (owned) the object
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0, -EREMOTEIO when the back-end has no such object.
 */
VH_API vh_rc vh_master_get_shared_object(struct vh_master *m, const void *uuid, uint32_t len, vh_fd *fd);

/**
 * vh_master_get_shmem() - GET_SHMEM_CONFIG: the regions of the device's shared memory
 * @m: the front-end
 * @sizes: (nullable) (out) (array n) bytes of each by number, 0 = there is none
 * @n: room at @sizes
 *
 * vh_master_negotiate() asks for them too, because what the device maps has to fit.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: how many there are.
 */
VH_API vh_count vh_master_get_shmem(struct vh_master *m, uint64_t *sizes, uint32_t n);

VH_END_DECLS
#endif
