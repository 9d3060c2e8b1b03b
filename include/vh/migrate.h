/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Moving a device to another back-end: what it remembers.
 *
 * A front-end stops all rings, takes the state from one back-end and gives it to
 * another, which then starts them. vh_master_save_state() and
 * vh_master_load_state() do that with a file of the caller's;
 * vh_master_set_device_state_fd() and vh_master_check_device_state() are the
 * messages, for who moves the bytes in a loop of its own.
 */
#ifndef VH_MIGRATE_H
#define VH_MIGRATE_H

#include "vh/types.h"

VH_BEGIN_DECLS

/* The direction of a device's state. */
#define VH_STATE_SAVE 0 /* the back-end writes it */
#define VH_STATE_LOAD 1 /* the back-end reads it */

/* vh_master_set_device_state_fd(): the only phase that there is. */
#define VH_STATE_STOPPED 0 /* no ring runs */

/** struct vh_state_opts - limits of a device's state on its way. Sized, zero means default. */
struct vh_state_opts {
	uint32_t size;	     /* sizeof(struct vh_state_opts) */
	uint32_t timeout_ms; /* how long nothing may move; 0 = vh_master_opts.timeout_ms */
	uint64_t max_bytes;  /* most that the state may have; 0 = 1 GiB */
};

/**
 * vh_master_set_device_state_fd() - SET_DEVICE_STATE_FD: through what the device's state is to go
 * @m: the front-end
 * @direction: VH_STATE_SAVE or VH_STATE_LOAD
 * @phase: VH_STATE_STOPPED
 * @fd: (borrowed) the back-end's end of a pipe or socket
 * @out_fd: (out) (owned) what to use instead of the other end; -1: the other end. It is the back-end's: reading it may block
 *
 * Who writes closes at the end, who reads reads to the end; then ask vh_master_check_device_state().
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBADF EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_set_device_state_fd(struct vh_master *m, uint32_t direction, uint32_t phase, vh_fd fd,
					   vh_fd *out_fd);

/**
 * vh_master_check_device_state() - CHECK_DEVICE_STATE: has the back-end sent, or understood, all of it?
 * @m: the front-end
 *
 * The back-end answers when it is done, for which it has ten times the usual time.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: 0, -EREMOTEIO when it failed.
 */
VH_API vh_rc vh_master_check_device_state(struct vh_master *m);

/**
 * vh_master_save_state() - take the device's state
 * @m: the front-end; no ring runs
 * @opts: (nullable)
 * @to: (borrowed) where it goes: a file, pipe or socket, from its present position
 * @bytes: (nullable) (out) how much that was
 *
 * Both messages, and the bytes between them. VH_EVENT_STATE_MOVED tells how far it is, or came. After a failure there is
 * no state at @to, whatever is there, and rings can be started as before.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBADF EFBIG EIO ENOSPC EPIPE EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_save_state(struct vh_master *m, const struct vh_state_opts *opts, vh_fd to, uint64_t *bytes);

/**
 * vh_master_load_state() - give the device a state that another one had
 * @m: the front-end; no ring runs
 * @opts: (nullable)
 * @from: (borrowed) where it comes from, from its present position to the end
 * @bytes: (nullable) (out) how much that was
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBADF EFBIG EIO EPIPE EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_load_state(struct vh_master *m, const struct vh_state_opts *opts, vh_fd from, uint64_t *bytes);

VH_END_DECLS
#endif
