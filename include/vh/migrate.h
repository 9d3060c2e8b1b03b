/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Moving a device to another back-end: what it remembers, and memory that comes later.
 *
 * A front-end stops all rings, takes the state from one back-end and gives it to
 * another, which then starts them. vh_master_save_state() and
 * vh_master_load_state() do that with a file of the caller's;
 * vh_master_set_device_state_fd() and vh_master_check_device_state() are the
 * messages, for who moves the bytes in a loop of its own.
 *
 * In postcopy the rings run in the new place while memory is still on its way:
 * vh_master_postcopy_advise(), vh_master_postcopy_listen(), then share memory and
 * start rings as always. The back-end waits for each page that it touches and
 * that is missing, until vh_postcopy_place() brings it, from a thread that is not
 * in a call of the same front-end. When all is there: vh_master_postcopy_end().
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

/* vh_postcopy_fault.flags */
#define VH_POSTCOPY_WRITE 1u /* the back-end writes there */

/** struct vh_postcopy_fault - a page that the back-end waits for. Size-first out struct. */
struct vh_postcopy_fault {
	uint32_t size;
	uint32_t flags;	    /* VH_POSTCOPY_WRITE */
	uint64_t gpa;	    /* guest address of the page */
	uint64_t address;   /* where in it the back-end is, in its own address space */
	uint64_t page_size; /* bytes to be brought, at least */
};

/**
 * vh_master_postcopy_advise() - POSTCOPY_ADVISE: get the back-end's userfaultfd
 * @m: the front-end; memory is not shared yet
 * @out: (out) (owned) where the back-end's faults come; free with vh_postcopy_free()
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM EMFILE ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_postcopy_advise(struct vh_master *m, struct vh_postcopy **out);

/**
 * vh_master_postcopy_listen() - POSTCOPY_LISTEN: from now on memory that is shared may have missing pages
 * @m: the front-end
 *
 * Memory is a memfd, or hugetlbfs, of whole pages.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_postcopy_listen(struct vh_master *m);

/**
 * vh_master_postcopy_end() - POSTCOPY_END: all pages are there
 * @m: the front-end
 *
 * What is missing yet the back-end finds as zeroes.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: yes
 * @errors: EINVAL EBUSY EDEADLK ESHUTDOWN ENOTCONN EOPNOTSUPP ENOMEM ENOBUFS EPROTO EREMOTEIO ECONNRESET ETIMEDOUT EINTR ECANCELED
 */
VH_API vh_rc vh_master_postcopy_end(struct vh_master *m);

/**
 * vh_postcopy_fd() - readable when vh_postcopy_next() has something
 * @p: of vh_master_postcopy_advise()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: (borrowed) the userfaultfd.
 */
VH_API vh_fd vh_postcopy_fd(struct vh_postcopy *p);

/**
 * vh_postcopy_next() - a page that the back-end waits for
 * @p: of vh_master_postcopy_advise()
 * @out: (out) the page
 *
 * Each is told once. Several threads of the back-end may wait for the same page.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ESRCH EPROTO
 *
 * Return: 1, 0 when nobody waits, -ESRCH when the back-end has gone.
 */
VH_API vh_count vh_postcopy_next(struct vh_postcopy *p, struct vh_postcopy_fault *out);

/**
 * vh_postcopy_place() - bring pages, and wake who waits for them
 * @p: of vh_master_postcopy_advise()
 * @gpa: guest address of the first
 * @buf: (borrowed) (array len) what is in them
 * @len: bytes, whole pages inside of one region
 *
 * They get into the memory itself, for all that map it. A page that is there already stays as it is.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EFAULT ENOENT ESRCH EAGAIN ENOMEM
 *
 * Return: 0, -EFAULT when no region that the back-end has holds them, -ESRCH when it has gone.
 */
VH_API vh_rc vh_postcopy_place(struct vh_postcopy *p, vh_gpa gpa, const void *buf, uint32_t len);

/**
 * vh_postcopy_wake() - wake who waits for pages that got there by another mapping of the same memory
 * @p: of vh_master_postcopy_advise()
 * @gpa: guest address of the first
 * @len: bytes, whole pages inside of one region
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EFAULT ENOENT ESRCH
 */
VH_API vh_rc vh_postcopy_wake(struct vh_postcopy *p, vh_gpa gpa, uint64_t len);

/**
 * vh_postcopy_free() - no page will be brought any more
 * @p: (nullable)
 *
 * No other thread may be inside of it. Who waits in the back-end goes on when vh_master_postcopy_end() comes, or the
 * connection ends.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 */
VH_API void vh_postcopy_free(struct vh_postcopy *p);

VH_END_DECLS
#endif
