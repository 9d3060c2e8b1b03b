/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: The vhost-user front-end.
 *
 * Every request is a ticket in a first-in first-out list of expected replies,
 * driven by vh_master_fd() and vh_master_dispatch(). The calls that wait are
 * thin wrappers: submit, dispatch until done or until the deadline. A deadline
 * that passes fails the connection, because a late reply must never be paired
 * with the next request. -EINTR leaves the connection whole: call
 * vh_master_resume(). Back-end requests are served while a reply is awaited.
 */
#ifndef VH_MASTER_H
#define VH_MASTER_H

#include "vh/types.h"
#include "vh/event.h"
#include "vh/log.h"
#include "vh/message.h"
#include "vh/protocol.h"

VH_BEGIN_DECLS

/** struct vh_master_opts - options of vh_master_new(). Sized, zero means default. */
struct vh_master_opts {
	uint32_t size;			 /* sizeof(struct vh_master_opts) */
	uint32_t timeout_ms;		 /* deadline of every wait; 0 = 10 s */
	uint64_t mask_protocol_features; /* protocol feature bits never acked by vh_master_negotiate() */
	uint64_t mask_features;		 /* feature bits never acked */
	/*
	 * Bits acked by vh_master_negotiate() beside the library's: VH_PF_XEN_MMAP, VH_PF_GPA_ADDRESSES,
	 * VH_PF_INBAND_NOTIFICATIONS, VH_PF_GET_VRING_BASE_INFLIGHT, VH_PF_GET_VRING_BASE_SKIP_DRAIN, and others for
	 * messages by hand.
	 */
	uint64_t more_protocol_features;
	uint32_t dialect;  /* VH_DIALECT_*: numbers that the back-end has */
	uint32_t reserved; /* must be 0 */
};

/** struct vh_master_ops - requests that the back-end makes. Sized; any may be NULL. */
struct vh_master_ops {
	uint32_t size;	/* sizeof(struct vh_master_ops) */
	uint32_t flags; /* must be 0 */
	/**
	 * destroy() - the front-end is freed
	 * @ctx: what was given with the ops
	 *
	 * Called exactly once, also when vh_master_new() fails.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*destroy)(void *ctx);
	/**
	 * backend_request() - a back-end request that the library does not answer itself
	 * @ctx: what was given with the ops
	 * @req: (borrowed) the request; valid during the call
	 *
	 * Also one whose id the message table does not know.
	 *
	 * Requests may be submitted on the same master from here, and vh_master_answer() called; calls that wait may
	 * not be made (-EDEADLK).
	 *
	 * Return: 0 or a negative errno value: the status, sent if the back-end asked for one; -EINPROGRESS when
	 * vh_master_answer() gives the answer later, or has given it. A request that has a reply of its own
	 * (SHARED_OBJECT_LOOKUP) is granted by vh_master_answer() only; 0 refuses it.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINPROGRESS EOPNOTSUPP EINVAL
	 */
	vh_rc (*backend_request)(void *ctx, const struct vh_msg_request *req);
	/**
	 * iotlb_miss() - the back-end asks what an I/O address means, and vh_master_set_iotlb() gave no answer
	 * @ctx: what was given with the ops
	 * @iova: the address
	 * @perm: VH_MEM_*: what it wants to do there
	 *
	 * Answer by vh_master_iotlb_update(), from here or later. The same may be called as from backend_request().
	 *
	 * Return: 0, also when the answer comes later; a negative errno value: there is none, and the back-end may give the
	 * queue up.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EFAULT EINVAL
	 */
	vh_rc (*iotlb_miss)(void *ctx, vh_iova iova, uint32_t perm);
	/**
	 * waiting() - a call that waits on this connection looks around
	 * @ctx: what was given with the ops
	 *
	 * Asked when a signal came, and four times a second while nothing happens: for a language that handles signals later
	 * than they come, so that none is missed which came just before the wait. Who has it decides about signals: the wait
	 * goes on after 0. The same may be called from here as from backend_request().
	 *
	 * Return: 0 to go on, a negative errno value to end the wait with -EINTR.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINTR
	 */
	vh_rc (*waiting)(void *ctx);
	/**
	 * shmem_map() - map a part of a file into a region of the device's shared memory
	 * @ctx: what was given with the ops
	 * @map: (borrowed) what and where; valid during the call
	 * @fd: (borrowed) the file, closed after the call: duplicate it, or map it now
	 * @token: for vh_master_answer(), 0 = no answer is wanted
	 *
	 * With it and shmem_unmap() the protocol feature SHMEM is acked. The region exists, the place in it is free, everything is
	 * a multiple of the page size. That the file has so many bytes is nobody's word but the back-end's, now or later.
	 * VH_EVENT_SHMEM_RESET says that all mappings are to be undone.
	 *
	 * Return: 0, a negative errno value to refuse, -EINPROGRESS when vh_master_answer() gives the answer.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: ENOMEM EINVAL EINPROGRESS
	 */
	vh_rc (*shmem_map)(void *ctx, const struct vh_shmem_map *map, vh_fd fd, uint64_t token);
	/**
	 * shmem_unmap() - undo one mapping
	 * @ctx: what was given with the ops
	 * @map: (borrowed) the place, just as it was mapped; valid during the call
	 * @token: for vh_master_answer(), 0 = no answer is wanted
	 *
	 * Return: as shmem_map(). A refusal leaves it mapped.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINVAL EINPROGRESS
	 */
	vh_rc (*shmem_unmap)(void *ctx, const struct vh_shmem_map *map, uint64_t token);
	/**
	 * host_notifier() - a queue's doorbell is a page that the guest may be given
	 * @ctx: what was given with the ops
	 * @queue: queue index
	 * @fd: (borrowed) the file that has the page, closed after the call: duplicate it, or map it now; -1 = the notifier is gone
	 * @offset: where the page is in it
	 * @len: bytes: one page
	 * @token: for vh_master_answer(), 0 = no answer is wanted
	 *
	 * With it the protocol feature HOST_NOTIFIER is acked. A network device's control queue counts as one queue more than
	 * its pairs have; whether it is in use is yours to know.
	 *
	 * Return: as shmem_map().
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINVAL ENOMEM EINPROGRESS
	 */
	vh_rc (*host_notifier)(void *ctx, uint32_t queue, vh_fd fd, uint64_t offset, uint64_t len, uint64_t token);
	/**
	 * object_added() - the device has an object that other devices may ask for
	 * @ctx: what was given with the ops
	 * @uuid: (borrowed) (array len) its name, not all zeroes; valid during the call
	 * @len: VH_UUID_LEN
	 * @token: for vh_master_answer(), 0 = no answer is wanted
	 *
	 * With object_added(), object_removed() and object_wanted() the protocol feature SHARED_OBJECT is acked. Whose an object
	 * is when there are several devices is yours to keep; vh_master_get_shared_object() asks this one for it.
	 *
	 * Return: as shmem_map().
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EEXIST EINPROGRESS
	 */
	vh_rc (*object_added)(void *ctx, const void *uuid, uint32_t len, uint64_t token);
	/**
	 * object_removed() - the device has it no more
	 * @ctx: what was given with the ops
	 * @uuid: (borrowed) (array len) its name; valid during the call
	 * @len: VH_UUID_LEN
	 * @token: for vh_master_answer(), 0 = no answer is wanted
	 *
	 * Return: as shmem_map(); refuse what another device has added.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: ENOENT EPERM EINPROGRESS
	 */
	vh_rc (*object_removed)(void *ctx, const void *uuid, uint32_t len, uint64_t token);
	/**
	 * object_wanted() - the device asks for an object of another one
	 * @ctx: what was given with the ops
	 * @uuid: (borrowed) (array len) its name; valid during the call
	 * @len: VH_UUID_LEN
	 * @token: for vh_master_answer() with 8 bytes of zero and the fd
	 *
	 * Return: (borrowed) the fd, which is duplicated; or a negative errno value: there is no such object.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: ENOENT EINPROGRESS
	 */
	vh_fd (*object_wanted)(void *ctx, const void *uuid, uint32_t len, uint64_t token);
	/**
	 * fs_request() - a virtio-fs device wants something of its cache, in a dialect that has such requests
	 * @ctx: what was given with the ops
	 * @op: VH_FS_MAP, VH_FS_UNMAP, VH_FS_SYNC or VH_FS_IO
	 * @ranges: (borrowed) (array n) what; valid during the call. Nothing wraps; all else about them is the back-end's word
	 * @n: how many, at most VH_FS_MAX_RANGES
	 * @fd: (borrowed) map and IO: the file, closed after the call: duplicate it; else -1
	 * @token: for vh_master_answer(), 0 = no answer is wanted
	 *
	 * With it the protocol feature BACKEND_SEND_FD is acked, if the dialect has these requests.
	 *
	 * Return: as shmem_map().
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINVAL ENOMEM EINPROGRESS
	 */
	vh_rc (*fs_request)(void *ctx, uint32_t op, const struct vh_fs_range *ranges, uint32_t n, vh_fd fd,
			    uint64_t token);
};

struct vh_region;

/** struct vh_master_stats - counters since vh_master_new(). Size-first out struct. */
struct vh_master_stats {
	uint32_t size;
	uint32_t connected;
	uint64_t messages_in;
	uint64_t messages_out;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t rejected; /* replies and back-end requests refused by a check */
	uint64_t backend_requests;
	uint32_t tickets; /* replies expected now */
	uint32_t reserved;
	uint64_t oldest_ticket_ns; /* age of the oldest expected reply, 0 = none */
};

/**
 * vh_master_new() - a front-end without a connection
 * @opts: (nullable)
 * @ops: (nullable) copied
 * @ctx: first argument of the ops
 * @out: (out) (owned) free with vh_master_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EMFILE
 */
VH_API vh_rc vh_master_new(const struct vh_master_opts *opts, const struct vh_master_ops *ops, void *ctx,
			   struct vh_master **out);

/**
 * vh_master_connect() - connect to a back-end that listens
 * @m: the front-end
 * @path: the address of a socket, as for vh_slave_listen()
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL ENAMETOOLONG EBUSY EDEADLK ESHUTDOWN EISCONN ENOENT ECONNREFUSED EACCES ENOMEM EMFILE ETIMEDOUT EINTR ECANCELED EBADF ENOTSOCK EPROTOTYPE ENOTCONN
 */
VH_API vh_rc vh_master_connect(struct vh_master *m, const char *path);

/**
 * vh_master_listen() - listen for a back-end that connects (server mode)
 * @m: the front-end
 * @path: the address of a socket, as for vh_slave_listen()
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENAMETOOLONG EBUSY ESHUTDOWN EISCONN ENOENT EACCES EADDRINUSE EEXIST ENOMEM EMFILE EBADF ENOTSOCK EPROTOTYPE ENOTCONN
 */
VH_API vh_rc vh_master_listen(struct vh_master *m, const char *path);

/**
 * vh_master_accept() - wait for the back-end to connect after vh_master_listen()
 * @m: the front-end
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN EISCONN ENOMEM EMFILE ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_accept(struct vh_master *m);

/**
 * vh_master_adopt() - use a connected unix stream socket
 * @m: the front-end
 * @fd: (borrowed) duplicated
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBADF ENOTSOCK EPROTOTYPE ENOTCONN EBUSY ESHUTDOWN EISCONN ENOMEM EMFILE
 *
 * Return: 0, -ENOTCONN when the socket is not connected, -EINVAL also when it listens.
 */
VH_API vh_rc vh_master_adopt(struct vh_master *m, vh_fd fd);

/**
 * vh_master_socketpair() - connect to a back-end that will be given the other end
 * @m: the front-end
 * @peer_fd: (out) (owned) for vh_slave_adopt() or a child process; close-on-exec
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN EISCONN ENOMEM EMFILE
 */
VH_API vh_rc vh_master_socketpair(struct vh_master *m, vh_fd *peer_fd);

/**
 * vh_master_disconnect() - close the connection; tickets fail with -ECONNRESET
 * @m: the front-end
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN ENOTCONN
 */
VH_API vh_rc vh_master_disconnect(struct vh_master *m);

/**
 * vh_master_fd() - readable when vh_master_dispatch() has something to do
 * @m: the front-end
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: (borrowed) the fd.
 */
VH_API vh_fd vh_master_fd(struct vh_master *m);

/**
 * vh_master_dispatch() - send and receive what can be, serve the back-end's requests; never blocks
 * @m: the front-end
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN ENOTCONN ENOMEM EMFILE EPROTO ECONNRESET ETIMEDOUT ECANCELED
 *
 * Return: 1 when there is more to do at once, 0 when it is safe to wait on vh_master_fd().
 */
VH_API vh_count vh_master_dispatch(struct vh_master *m);

/**
 * vh_master_submit() - send a request, any message id
 * @m: the front-end
 * @msg: the request
 * @fds: (nullable) (borrowed) (array msg->n_fds) duplicated when the message can't be sent at once
 * @ticket: (nullable) (out) for vh_master_finish(); 0 when no reply is expected
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBADF EBUSY ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM EMFILE ENOBUFS EPROTO ECONNRESET ETIMEDOUT
 *
 * Return: 0; -EOPNOTSUPP when the message table forbids it with the features that were negotiated.
 */
VH_API vh_rc vh_master_submit(struct vh_master *m, const struct vh_msg *msg, const vh_fd *fds, uint64_t *ticket);

/**
 * vh_master_finish() - the reply to a request
 * @m: the front-end
 * @ticket: from vh_master_submit()
 * @buf: (nullable) (out) (array cap) its payload; VH_MSG_MAX_PAYLOAD bytes are always enough
 * @cap: room at @buf, bytes
 * @fds: (nullable) (out) (owned) (array max_fds) its fds; VH_MSG_MAX_FDS are always enough
 * @max_fds: room at @fds
 * @out: (nullable) (out) how much there is; NULL (then no @buf and @fds either): just the result, the reply is dropped
 *
 * A ticket is finished once, also when its connection has ended (at most 1024 are kept). A status reply is checked: a
 * refusal is -EREMOTEIO. -EMSGSIZE leaves the ticket: ask again with more room.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN ENOENT EINPROGRESS EMSGSIZE EPROTO EREMOTEIO ECONNRESET ETIMEDOUT ECANCELED
 *
 * Return: 0, -EINPROGRESS when the reply is not here yet.
 */
VH_API vh_rc vh_master_finish(struct vh_master *m, uint64_t ticket, void *buf, uint32_t cap, vh_fd *fds,
			      uint32_t max_fds, struct vh_msg_reply *out);

/**
 * vh_master_answer() - answer a back-end request whose callback returned -EINPROGRESS
 * @m: the front-end
 * @token: of the request
 * @rc: 0, or a negative errno value to refuse it
 * @payload: (nullable) (array payload_size) rc 0 and a request that has a reply of its own: the reply
 * @payload_size: bytes, else 0
 * @fds: (nullable) (borrowed) (array n_fds) that go with such a reply, duplicated
 * @n_fds: how many
 *
 * A message id that the table does not know may have a reply of its own: then a payload or an fd makes one. Answers leave in
 * the order of the requests. A back-end that has 16 of them unanswered and goes on asking loses its
 * channel, not the connection.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBADF EBUSY ESHUTDOWN EMFILE ENOMEM ESTALE
 *
 * Return: 0, -ESTALE when nobody waits for it any more: it was answered, or its channel ended.
 */
VH_API vh_rc vh_master_answer(struct vh_master *m, uint64_t token, vh_rc rc, const void *payload, uint32_t payload_size,
			      const vh_fd *fds, uint32_t n_fds);

/**
 * vh_master_resume() - go on with the wait that -EINTR ended, and tell how it ended
 * @m: the front-end
 *
 * Waits for the reply to the call that was interrupted last, and to those before it. A call that sends one message and
 * gives nothing back (vh_master_set_status() for one) has then ended as this call did, so a retry is:
 *
 *	rc = vh_master_set_status(m, status);
 *	while (rc == -EINTR)
 *		rc = vh_master_resume(m);
 *	if (rc == -EAGAIN)
 *		call again: a signal came before the message could be sent
 *
 * After a result of 0 these are to be called again: calls with an out value, because the reply that came is thrown
 * away; vh_master_negotiate() and vh_master_set_mem(), which send several messages and skip what is done already; and
 * vh_master_connect() and vh_master_accept(), for which there is nothing to resume.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN EAGAIN EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 *
 * Return: the result of the interrupted call, once; 0 when there was none.
 */
VH_API vh_rc vh_master_resume(struct vh_master *m);

/**
 * vh_master_cancel() - end a wait now, from any thread or a signal handler
 * @m: the front-end
 *
 * The waiting call returns -ECANCELED and the connection is failed; when no call waits, the next one does. A cancel
 * does not outlive its connection.
 *
 * @since: VH_1.0
 * @thread: signal
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_master_cancel(struct vh_master *m);

/**
 * vh_master_next_event() - take the oldest pending event
 * @m: the front-end
 * @out: (out) the event
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 *
 * Return: 1 with an event, 0 when there is none.
 */
VH_API vh_count vh_master_next_event(struct vh_master *m, struct vh_event *out);

/**
 * vh_master_negotiate() - features and protocol features, in the order that every back-end takes
 * @m: the front-end
 * @features: in: feature bits wanted; the result is what both sides have
 * @acked: (nullable) (out) feature bits acked
 *
 * GET_FEATURES, GET and SET_PROTOCOL_FEATURES, GET_QUEUE_NUM and GET_MAX_MEM_SLOTS where offered,
 * SET_BACKEND_REQ_FD, SET_OWNER, SET_FEATURES.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_negotiate(struct vh_master *m, uint64_t features, uint64_t *acked);

/**
 * vh_master_set_iotlb() - answer the back-end's IOTLB misses from a map
 * @m: the front-end
 * @map: (nullable) kept until it is replaced, or the front-end freed; its addresses are guest addresses, or user addresses with
 *   VH_IOTLB_USER_ADDR. NULL: none
 *
 * What is taken out of the map has to be told as well: vh_master_iotlb_invalidate().
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 */
VH_API vh_rc vh_master_set_iotlb(struct vh_master *m, struct vh_iotlb *map);

/**
 * vh_master_backend() - this connection as a target for a driver
 * @m: the front-end
 * @out: (out) (borrowed) lives as long as the front-end
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_master_backend(struct vh_master *m, struct vh_backend **out);

/**
 * vh_master_get_stats() - counters
 * @m: the front-end
 * @out: (out) the counters
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 */
VH_API vh_rc vh_master_get_stats(struct vh_master *m, struct vh_master_stats *out);

/**
 * vh_master_set_logger() - where log lines go
 * @m: the front-end
 * @ops: (nullable) copied
 * @ctx: first argument
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 */
VH_API vh_rc vh_master_set_logger(struct vh_master *m, const struct vh_logger_ops *ops, void *ctx);

/**
 * vh_master_set_trace() - see every message
 * @m: the front-end
 * @ops: (nullable) copied
 * @ctx: first argument
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 */
VH_API vh_rc vh_master_set_trace(struct vh_master *m, const struct vh_trace_ops *ops, void *ctx);

/**
 * vh_master_stop() - make every call on this handle return -ESHUTDOWN
 * @m: the front-end
 *
 * Waits for calls in progress on other threads; inside a callback of this handle it only marks.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: yes
 * @errors: EINVAL
 */
VH_API vh_rc vh_master_stop(struct vh_master *m);

/**
 * vh_master_free() - close and free
 * @m: (nullable)
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: none
 */
VH_API void vh_master_free(struct vh_master *m);

VH_END_DECLS
#endif
