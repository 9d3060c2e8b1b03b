/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: The vhost-user back-end: a device behind a unix socket.
 *
 * One handle is one device and one connection at a time; it survives the end of
 * a connection and takes the next one. It is driven by vh_slave_fd() and
 * vh_slave_dispatch(); any number of handles can share a thread.
 *
 * Replies are owed: a request that has to wait (for requests in flight, for a
 * callback that answers later) is answered when what it waits for is done, in
 * order, and dispatch never blocks. Past its deadline the connection is closed
 * with an event.
 */
#ifndef VH_SLAVE_H
#define VH_SLAVE_H

#include "vh/types.h"
#include "vh/event.h"
#include "vh/log.h"
#include "vh/message.h"
#include "vh/protocol.h"
#include "vh/reconnect.h"

VH_BEGIN_DECLS

/** struct vh_slave_opts - options of vh_slave_new(). Sized, zero means default. */
struct vh_slave_opts {
	uint32_t size;		     /* sizeof(struct vh_slave_opts) */
	uint32_t message_timeout_ms; /* from the first byte of a message to its last; 0 = 10 s */
	uint32_t drain_timeout_ms;   /* how long an owed reply may wait for requests in flight; 0 = 30 s */
	uint32_t budget;	     /* requests per queue and wake-up; 0 = 256 */
	uint64_t more_features; /* bits that are offered when asked for only: VH_F_ACCESS_PLATFORM, VH_F_IN_ORDER */
	uint64_t mask_features; /* feature bits never offered */
	uint64_t mask_protocol_features; /* protocol feature bits never offered, nor what can't be without them */
	uint32_t require_seal;		 /* 1: memory whose memfd can shrink is refused */
	uint32_t socket_mode;		 /* access mode of a listening socket's path; 0 = 0600 */
	uint64_t max_state_bytes;	 /* most that a device's state may have, either way; 0 = 1 GiB */
	/*
	 * Bits offered beside the library's and the device's: VH_PF_XEN_MMAP, VH_PF_CROSS_ENDIAN (a ring may be said to be
	 * little-endian, which it is), VH_PF_INBAND_NOTIFICATIONS and VH_PF_GPA_ADDRESSES (front-ends are about that ack
	 * them and do something else), and others for messages by hand.
	 */
	uint64_t more_protocol_features;
	uint32_t dialect;  /* VH_DIALECT_*: numbers that the front-end has */
	uint32_t postcopy; /* 1: offer PAGEFAULT where userfaultfd may be used; see VH_EVENT_POSTCOPY */
	/*
	 * Microseconds for which a queue is looked at after its last request, before its driver is asked to kick again:
	 * vh_slave_dispatch() returns 1 until then. 0 = not at all; VH_POLL_ALWAYS = as long as the queue runs. Not for
	 * VH_DEVICE_MANUAL_QUEUES.
	 */
	uint32_t poll_us;
	uint32_t coalesce; /* completions for a call, see vh_queue_set_coalescing(); 0 = a call for each push */
};

/** struct vh_slave_ops - what a back-end asks its user. Sized; any may be NULL. */
struct vh_slave_ops {
	uint32_t size;	/* sizeof(struct vh_slave_ops) */
	uint32_t flags; /* must be 0 */
	/**
	 * destroy() - the back-end is freed
	 * @ctx: what was given with the ops
	 *
	 * Called exactly once, also when vh_slave_new() fails.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*destroy)(void *ctx);
	/**
	 * request() - a request of the front-end that neither the library nor the device answers
	 * @ctx: what was given with the ops
	 * @req: (borrowed) the request; valid during the call
	 *
	 * Ids that the message table does not know, and messages of vh_slave_opts.more_protocol_features. vh_slave_answer() and
	 * vh_slave_submit() may be called from here.
	 *
	 * Return: 0 or a negative errno value: the status, sent if the front-end asked for one; a refusal that can't be told ends
	 * the connection. -EINPROGRESS when vh_slave_answer() gives the answer later, or has given it. A request that has a
	 * reply of its own is granted by vh_slave_answer() only; 0 refuses it.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: EINPROGRESS EOPNOTSUPP EINVAL
	 */
	vh_rc (*request)(void *ctx, const struct vh_msg_request *req);
};

/** struct vh_slave_stats - counters. Size-first out struct. */
struct vh_slave_stats {
	uint32_t size;
	uint32_t connected; /* 1 while a front-end is connected */
	/* Since vh_slave_new(). */
	uint64_t connections; /* taken */
	uint64_t refused;     /* second clients */
	uint64_t messages_in;
	uint64_t messages_out;
	uint64_t bytes_in; /* control socket */
	uint64_t bytes_out;
	uint64_t rejected; /* messages refused by a check */
	uint64_t errors;   /* connections ended by us */
	/* Now. */
	uint32_t owed; /* replies owed */
	uint32_t n_queues;
	uint64_t oldest_owed_ns; /* age of the oldest owed reply, 0 = none */
	/* Of the present connection; when there is none, of the last one. */
	uint64_t conn_messages_in;
	uint64_t conn_messages_out;
	uint64_t conn_bytes_in;
	uint64_t conn_bytes_out;
	uint64_t conn_rejected;
	/* The same span, the sum over all queues of what vh_queue_stats counts for each since it was made. */
	uint64_t queue_requests;
	uint64_t queue_completed;
	uint64_t queue_failed;
	uint64_t queue_bytes_in;
	uint64_t queue_bytes_out;
	uint64_t queue_kicks;
	uint64_t queue_calls;
	uint64_t queue_errors;
	uint64_t queue_in_flight;     /* now */
	uint64_t oldest_in_flight_ns; /* of all queues, now */
};

/**
 * vh_slave_new() - a back-end
 * @opts: (nullable)
 * @dev: what answers the requests; kept by the slave until vh_slave_free()
 * @ops: (nullable) copied
 * @ctx: first argument of the ops
 * @out: (out) (owned) free with vh_slave_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EMFILE EBUSY ENFILE
 *
 * Return: 0, -EBUSY when @dev is attached elsewhere.
 */
VH_API vh_rc vh_slave_new(const struct vh_slave_opts *opts, struct vh_device *dev, const struct vh_slave_ops *ops,
			  void *ctx, struct vh_slave **out);

/**
 * vh_slave_listen() - listen on a unix socket
 * @s: the back-end
 * @path: the address of a socket
 *
 * An address is one of these, in every call that takes one. Another word before a colon is -EINVAL.
 *
 *	PATH, unix:PATH			 a socket in the file system, at most 107 bytes
 *	@NAME, unix:@NAME, abstract:NAME an abstract name, at most 107 bytes: for every user of this network namespace
 *	fd:N				 a socket that is open here, duplicated; it listens or is connected, as the call wants it
 *	systemd:NAME, systemd:		 the same, of those that this process was started with (LISTEN_PID, LISTEN_FDS,
 *					 LISTEN_FDNAMES): the one with that name, or the only one
 *
 * A stale socket (nobody listens) at a path is replaced; anything else there is -EADDRINUSE or -EEXIST and stays. The
 * file is removed at the end if it is still the one that was made here.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENAMETOOLONG EADDRINUSE EEXIST EACCES ENOENT EMFILE EBUSY ENOMEM ENFILE ESHUTDOWN EBADF ENOTSOCK EPROTOTYPE ENOTCONN
 *
 * Return: 0; -EADDRINUSE when somebody listens there; -EEXIST when there is something that is no socket; -EBUSY when the
 * slave listens or is connected already, or another thread is inside.
 */
VH_API vh_rc vh_slave_listen(struct vh_slave *s, const char *path);

/**
 * vh_slave_connect() - connect to a front-end that listens
 * @s: the back-end
 * @path: the address of a socket, as for vh_slave_listen()
 * @policy: (nullable) copied: connect by it, and again after each end; NULL: connect once, now
 *
 * With a policy the tries are made by vh_slave_dispatch(), which does not block; this call looks at its arguments only.
 * VH_EVENT_RECONNECTING, VH_EVENT_CONNECTED and VH_EVENT_GAVE_UP tell how it goes. vh_slave_pause() holds it back,
 * a successor of vh_slave_export() goes on with it, vh_slave_stop() and vh_slave_free() end it. After it gave up the
 * slave is as one that was never connected.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENAMETOOLONG ENOENT ECONNREFUSED EACCES ETIMEDOUT EMFILE EBUSY ENOMEM ENFILE ESHUTDOWN EBADF ENOTSOCK EPROTOTYPE ENOTCONN
 *
 * Return: 0; -EINVAL also for a policy with the address of a socket that is open already, which can't be connected again;
 * -ETIMEDOUT when the other side does not accept; -EBUSY when the slave listens, or is connected or connecting already, or
 * another thread is inside.
 */
VH_API vh_rc vh_slave_connect(struct vh_slave *s, const char *path, const struct vh_reconnect *policy);

/**
 * vh_slave_adopt() - use a unix stream socket that is open already
 * @s: the back-end
 * @fd: (borrowed) duplicated; a listening socket or a connected one, told apart by SO_ACCEPTCONN
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENOTSOCK EPROTOTYPE ENOTCONN EBADF EMFILE EBUSY ENOMEM ENFILE ESHUTDOWN
 *
 * Return: 0; -ENOTCONN when the socket neither listens nor is connected; -EBUSY when the slave listens or is connected
 * already, or another thread is inside.
 */
VH_API vh_rc vh_slave_adopt(struct vh_slave *s, vh_fd fd);

/**
 * vh_slave_fd() - readable when vh_slave_dispatch() has something to do
 * @s: the back-end
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: (borrowed) the fd.
 */
VH_API vh_fd vh_slave_fd(struct vh_slave *s);

/**
 * vh_slave_dispatch() - do what is to be done, never block
 * @s: the back-end
 *
 * Bounded: a few messages, budget requests of each queue. Failures of the peer end its connection, not this call.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 *
 * Return: 1 when there is more to do at once, 0 when it is safe to wait on vh_slave_fd(), -ESHUTDOWN after
 * vh_slave_stop().
 */
VH_API vh_count vh_slave_dispatch(struct vh_slave *s);

/**
 * vh_slave_wait() - wait until vh_slave_fd() is readable, then dispatch
 * @s: the back-end
 * @timeout_ms: -1 = for ever
 *
 * After an answer it looks for the front-end's next message for 20 microseconds at most before it sleeps, and not for
 * long if that is in vain. Who has a loop of his own around vh_slave_fd() can do the same.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EINTR EBUSY ESHUTDOWN
 *
 * Return: as vh_slave_dispatch(); 0 also when the time passed; -EINTR when a signal came.
 */
VH_API vh_count vh_slave_wait(struct vh_slave *s, int32_t timeout_ms);

/**
 * vh_slave_wake() - make vh_slave_wait() return, as if something had come
 * @s: the back-end
 *
 * May be called in a signal handler, which marks what it wants before.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_slave_wake(struct vh_slave *s);

/**
 * vh_slave_next_event() - take the oldest pending event
 * @s: the back-end
 * @out: (out) the event
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 *
 * Return: 1 with an event at @out, 0 when there is none.
 */
VH_API vh_count vh_slave_next_event(struct vh_slave *s, struct vh_event *out);

/**
 * vh_slave_queue() - a queue of the device
 * @s: the back-end
 * @index: queue index
 * @out: (out) (borrowed) lives as long as the slave
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOENT
 */
VH_API vh_rc vh_slave_queue(struct vh_slave *s, uint32_t index, struct vh_queue **out);

/**
 * vh_slave_dup_snapshot() - pin the guest memory that the front-end shares now
 * @s: the back-end
 * @out: (out) (owned) free with vh_snapshot_free(); without regions while nothing is shared
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_slave_dup_snapshot(struct vh_slave *s, struct vh_snapshot **out);

/**
 * vh_slave_submit() - send a request to the front-end, any message id
 * @s: the back-end
 * @msg: the request
 * @fds: (nullable) (borrowed) (array msg->n_fds) duplicated when the message can't be sent at once
 * @ticket: (nullable) (out) for vh_slave_finish(); 0 when no reply is expected
 *
 * On the channel that the front-end made with SET_BACKEND_REQ_FD. A back-end is silent while no ring is started.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBADF EBUSY ESHUTDOWN ENOTCONN EOPNOTSUPP EAGAIN ENOMEM EMFILE ENOBUFS
 *
 * Return: 0; -ENOTCONN without a channel, -EOPNOTSUPP when the message table forbids it with the features that were
 * negotiated, -EAGAIN while no ring is started or the slave is paused, -ENOBUFS when the front-end does not read or too many
 * tickets are not finished.
 */
VH_API vh_rc vh_slave_submit(struct vh_slave *s, const struct vh_msg *msg, const vh_fd *fds, uint64_t *ticket);

/**
 * vh_slave_finish() - the reply to a request of the back-end's
 * @s: the back-end
 * @ticket: from vh_slave_submit(), or another call that gives one
 * @buf: (nullable) (out) (array cap) its payload; VH_MSG_MAX_PAYLOAD bytes are always enough
 * @cap: room at @buf, bytes
 * @fds: (nullable) (out) (owned) (array max_fds) its fds; VH_MSG_MAX_FDS are always enough
 * @max_fds: room at @fds
 * @out: (nullable) (out) how much there is; NULL (then no @buf and @fds either): just the result, the reply is dropped
 *
 * A ticket is finished once, also when its channel has ended (at most 256 are kept). A refusal is -EREMOTEIO. -EMSGSIZE
 * leaves the ticket: ask again with more room. What is not answered within vh_slave_opts.drain_timeout_ms ends the channel,
 * not the connection: VH_EVENT_CHANNEL_ENDED.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN ENOENT EINPROGRESS EMSGSIZE EREMOTEIO ECONNRESET ETIMEDOUT EPROTO
 *
 * Return: 0, -EINPROGRESS when the reply is not here yet.
 */
VH_API vh_rc vh_slave_finish(struct vh_slave *s, uint64_t ticket, void *buf, uint32_t cap, vh_fd *fds, uint32_t max_fds,
			     struct vh_msg_reply *out);

/**
 * vh_slave_answer() - answer a request whose callback returned -EINPROGRESS
 * @s: the back-end
 * @token: of the request
 * @rc: 0, or a negative errno value to refuse it
 * @payload: (nullable) (array payload_size) rc 0 and a request that has a reply of its own: the reply
 * @payload_size: bytes, else 0
 * @fds: (nullable) (borrowed) (array n_fds) that go with such a reply, duplicated; at most 1
 * @n_fds: how many
 *
 * A message id that the table does not know may have a reply of its own: then a payload or an fd makes one. Answers leave in
 * the order of the requests, before vh_slave_opts.drain_timeout_ms has passed.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBADF EBUSY ESHUTDOWN EMFILE ESTALE
 *
 * Return: 0, -ESTALE when nobody waits for it any more: it was answered, or its connection ended.
 */
VH_API vh_rc vh_slave_answer(struct vh_slave *s, uint64_t token, vh_rc rc, const void *payload, uint32_t payload_size,
			     const vh_fd *fds, uint32_t n_fds);

/**
 * vh_slave_disconnect() - end the connection, keep listening
 * @s: the back-end
 *
 * vh_slave_fd() becomes readable, so that a loop which looks for events after each dispatch sees this one as well.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENOTCONN EBUSY ESHUTDOWN
 */
VH_API vh_rc vh_slave_disconnect(struct vh_slave *s);

/**
 * vh_slave_pause() - take nothing new, and let what was begun end
 * @s: the back-end
 *
 * No message is read, no client taken, no request popped any more. It is quiet when everything that was asked is answered
 * and no request is in flight; go on dispatching until then. VH_EVENT_PAUSED says so as well.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN EINPROGRESS
 *
 * Return: 0 when it is quiet, -EINPROGRESS when it will be.
 */
VH_API vh_rc vh_slave_pause(struct vh_slave *s);

/**
 * vh_slave_resume() - go on after vh_slave_pause(), also after vh_slave_export()
 * @s: the back-end
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EALREADY EBUSY ESHUTDOWN
 *
 * Return: 0, -EALREADY when it is not paused.
 */
VH_API vh_rc vh_slave_resume(struct vh_slave *s);

/**
 * vh_slave_export() - what a successor needs to go on where this back-end stands
 * @s: the back-end; paused and quiet
 * @buf: (nullable) (out) (array cap) the state
 * @cap: room at @buf, bytes
 * @fds: (nullable) (out) (owned) (array max_fds) sockets, memory and notifiers that belong to it, close-on-exec
 * @max_fds: room at @fds
 * @n_fds: (out) file descriptors that there are
 *
 * For an upgrade of a running program: the new one calls vh_slave_import() with the same bytes and duplicates of the same
 * files, in this order, whatever way they come, and I/O goes on; the front-end notices nothing. What the device itself
 * remembers is not in it. Then free this one: the connection and the path of the socket are the successor's. Or resume, if
 * the successor did not come up. Nothing is written where the room does not do.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EAGAIN EBUSY ESHUTDOWN EMFILE
 *
 * Return: bytes that there are; -EAGAIN when it is not paused or not quiet.
 */
VH_API vh_count vh_slave_export(struct vh_slave *s, void *buf, uint32_t cap, vh_fd *fds, uint32_t max_fds,
				uint32_t *n_fds);

/**
 * vh_slave_import() - go on where another back-end stood
 * @s: the back-end, new: it neither listens nor is connected
 * @buf: (array len) from vh_slave_export()
 * @len: bytes
 * @fds: (nullable) (borrowed) (array n_fds) from vh_slave_export(), duplicated
 * @n_fds: how many
 *
 * The device is told of the features that the driver chose (set_features, later 0: it can't answer later), and of queues that
 * start. It must be able to do whatever the one before it did.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENOTSUP EBUSY ESHUTDOWN ENOMEM EMFILE EBADF ENOTSOCK EPROTOTYPE ENOTCONN EEXIST ENOSPC EOVERFLOW ENODATA EPERM EACCES ENODEV EFAULT
 *
 * Return: 0; -EINVAL when the state is damaged; -ENOTSUP when it is of a version that is not known, or this back-end
 * offers less than was in use. The back-end is as it was after a failure.
 */
VH_API vh_rc vh_slave_import(struct vh_slave *s, const void *buf, uint32_t len, const vh_fd *fds, uint32_t n_fds);

/**
 * vh_slave_get_stats() - counters
 * @s: the back-end
 * @out: (out) the counters
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 */
VH_API vh_rc vh_slave_get_stats(struct vh_slave *s, struct vh_slave_stats *out);

/**
 * vh_slave_set_logger() - where log lines go
 * @s: the back-end
 * @ops: (nullable) copied; NULL = nowhere
 * @ctx: first argument
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 *
 * Return: 0; -EBUSY when another thread is inside, or inside of a callback of the ops that would be replaced. Ops that
 * are refused are destroyed.
 */
VH_API vh_rc vh_slave_set_logger(struct vh_slave *s, const struct vh_logger_ops *ops, void *ctx);

/**
 * vh_slave_set_trace() - see every message
 * @s: the back-end
 * @ops: (nullable) copied; NULL = off
 * @ctx: first argument
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL EBUSY ESHUTDOWN
 *
 * Return: 0; -EBUSY when another thread is inside, or inside of a callback of the ops that would be replaced. Ops that
 * are refused are destroyed.
 */
VH_API vh_rc vh_slave_set_trace(struct vh_slave *s, const struct vh_trace_ops *ops, void *ctx);

/**
 * vh_slave_stop() - make every call on this handle return -ESHUTDOWN
 * @s: the back-end
 *
 * Waits for calls in progress on other threads; inside a callback of this handle it only marks.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: yes
 * @errors: EINVAL
 */
VH_API vh_rc vh_slave_stop(struct vh_slave *s);

/**
 * vh_slave_free() - close the connection, remove the socket that vh_slave_listen() made, free
 * @s: (nullable)
 *
 * No other thread may be inside. Inside a callback of this handle it takes effect when the outermost call returns.
 * It frees the device too when vh_device_free() was called before: a file device with I/O in flight then waits until the
 * kernel has let go of guest memory, at most 10 seconds.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: none
 */
VH_API void vh_slave_free(struct vh_slave *s);

VH_END_DECLS
#endif
