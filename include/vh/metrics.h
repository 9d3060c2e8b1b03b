/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: What a running process is doing: a page of memory that others can look at.
 *
 * A vh_metrics is a memfd. Handles that are told of it (vh_slave_set_metrics(), vh_vduse_set_metrics(), vh_driver_set_metrics()) keep a row there for
 * their connection and one for each queue: what was negotiated, ring positions, what is in flight and since when,
 * counters. Whoever may look into the process (the same user, by ptrace's rules) finds it below /proc/PID/fd and maps it
 * read-only: vh_metrics_reader_open(). Nobody is asked, nothing is sent, and a process that hangs can be looked at like any
 * other.
 *
 * A row is written by its handle when something happened, and at most once in vh_metrics_opts.interval_ms otherwise; so
 * nothing is done for it on the data path. Moments are stamps of CLOCK_MONOTONIC: the age of the oldest request in
 * flight is right also when nobody writes any more. A request's own stamp is as fine as CLOCK_MONOTONIC_COARSE.
 *
 * What stands in a row is a list of properties, the same for C, Python, Go, vhctl and metrics: vh_metrics_get_prop().
 */
#ifndef VH_METRICS_H
#define VH_METRICS_H

#include "vh/types.h"

VH_BEGIN_DECLS

/* Kinds of row. */
#define VH_METRICS_CONNECTION 1 /* a handle and its connection */
#define VH_METRICS_QUEUE      2 /* one of its queues */

/* vh_metrics_prop.type: what its value is. */
#define VH_METRICS_NUMBER  1 /* goes up and down */
#define VH_METRICS_COUNTER 2 /* only goes up */
#define VH_METRICS_TIME	   3 /* CLOCK_MONOTONIC, nanoseconds: since when it is so; 0 = it is not */
#define VH_METRICS_CHOICE  4 /* one of a few, named by vh_metrics_choice() */
#define VH_METRICS_BITS	   5 /* feature bits, named by vh_feature_name(vh_metrics_prop.space) */
#define VH_METRICS_REQUEST 6 /* id of a message, named by vh_msg_name() */
#define VH_METRICS_TEXT	   7 /* no value: vh_metrics_row.name or .address, by vh_metrics_prop.space 0 or 1 */

/* vh_metrics_prop.flags */
#define VH_METRICS_BRIEF 1u /* belongs into a table that is to fit on a screen */

/* vh_metrics_prop.space: bits whose meaning depends on the device_type of the row. */
#define VH_METRICS_SPACE_DEVICE 0xffffffffu

#define VH_METRICS_MAX_PROPS	64
#define VH_METRICS_NAME_SIZE	64  /* with the NUL at its end */
#define VH_METRICS_ADDRESS_SIZE 128 /* likewise */
#define VH_METRICS_HELP_SIZE	128 /* likewise */

/* A value that is not known, as the positions of a ring that does not run. */
#define VH_METRICS_UNKNOWN 0xffffffffffffffffu

/** struct vh_metrics_opts - options of vh_metrics_new(). Sized, zero means default. */
struct vh_metrics_opts {
	uint32_t size; /* sizeof(struct vh_metrics_opts) */
	uint32_t
		max_rows; /* connections and queues that there is room for, at most 65536; 0 = 1024. Unused ones cost nothing */
	uint32_t
		interval_ms; /* a row is written anew at most that often while nothing but its counters changes; 0 = 100 */
	uint32_t reserved; /* must be 0 */
};

/** struct vh_metrics_prop - what a value of a row is. Size-first out struct. */
struct vh_metrics_prop {
	uint32_t size;
	uint32_t type;			 /* VH_METRICS_NUMBER ... VH_METRICS_TEXT */
	uint32_t space;			 /* VH_METRICS_BITS: as of vh_feature_name(); VH_METRICS_TEXT: which */
	uint32_t flags;			 /* VH_METRICS_BRIEF */
	char name[VH_METRICS_NAME_SIZE]; /* "in_flight" */
	char unit[VH_METRICS_NAME_SIZE]; /* "bytes", "seconds", "" */
	char help[VH_METRICS_HELP_SIZE]; /* a sentence */
};

/** struct vh_metrics_row - a connection or a queue, as it was at one moment. Size-first out struct. */
struct vh_metrics_row {
	uint32_t size;
	uint32_t kind;	     /* VH_METRICS_CONNECTION, VH_METRICS_QUEUE */
	uint32_t row;	     /* its number, the same as long as it exists */
	uint32_t connection; /* row of the connection that it belongs to; of a connection its own */
	uint32_t n_values;   /* as many as the process knows properties */
	uint32_t reserved;
	uint64_t now_ns;		       /* CLOCK_MONOTONIC when it was read */
	uint64_t values[VH_METRICS_MAX_PROPS]; /* by index of the property; those behind n_values are 0 */
	char name[VH_METRICS_NAME_SIZE];       /* what its user calls the handle; printable */
	char address[VH_METRICS_ADDRESS_SIZE]; /* of its socket; printable; "" = none is known */
};

/** struct vh_metrics_info - of a page. Size-first out struct. */
struct vh_metrics_info {
	uint32_t size;
	uint32_t version; /* of the page's layout */
	uint32_t pid;	  /* of the process that made it, as that process sees it */
	uint32_t max_rows;
	uint32_t interval_ms;
	uint32_t reserved;
	uint64_t made_ns;		 /* CLOCK_MONOTONIC */
	char name[VH_METRICS_NAME_SIZE]; /* from vh_metrics_new() */
};

/**
 * vh_metrics_new() - make a page for others to look at
 * @opts: (nullable)
 * @name: (nullable) what to call this program
 * @out: (out) (owned) free with vh_metrics_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENAMETOOLONG ENOMEM EMFILE ENFILE EPERM
 */
VH_API vh_rc vh_metrics_new(const struct vh_metrics_opts *opts, const char *name, struct vh_metrics **out);

/**
 * vh_metrics_free() - take the page away
 * @st: (nullable)
 *
 * Handles that have a row there keep it until they are freed or told otherwise.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 */
VH_API void vh_metrics_free(struct vh_metrics *st);

/**
 * vh_metrics_dup_fd() - the page's file, for someone who can't find it by /proc
 * @st: the page
 * @out: (out) (owned) can be read and mapped, not written
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EMFILE ENFILE
 */
VH_API vh_rc vh_metrics_dup_fd(struct vh_metrics *st, vh_fd *out);

/**
 * vh_metrics_get_prop() - what a value of a row is
 * @kind: VH_METRICS_CONNECTION, VH_METRICS_QUEUE
 * @index: from 0 on
 * @out: (out) the property
 *
 * A property keeps its index for ever; new ones come behind.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOENT
 *
 * Return: 0, -ENOENT behind the last one.
 */
VH_API vh_rc vh_metrics_get_prop(uint32_t kind, uint32_t index, struct vh_metrics_prop *out);

/**
 * vh_metrics_choice() - name of a value of a VH_METRICS_CHOICE
 * @kind: VH_METRICS_CONNECTION, VH_METRICS_QUEUE
 * @index: of the property
 * @value: from 0 on
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 *
 * Return: (borrowed) (nullable) a static string such as "running"; NULL where there is none.
 */
VH_API const char *vh_metrics_choice(uint32_t kind, uint32_t index, uint64_t value);

/**
 * vh_metrics_reader_open() - look at a process
 * @pid: its number
 * @nth: which of its pages, 0 = the first one
 * @out: (out) (owned) free with vh_metrics_reader_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOENT ESRCH EACCES EPERM EPROTO EMFILE ENFILE ENOMEM
 *
 * Return: 0; -ESRCH: there is no such process; -ENOENT: it has no such page; -EACCES: it is not yours; -EPROTO: what looks
 * like a page is none, or of a layout that is not known; -EPERM: its size is not sealed, or it is in huge pages.
 */
VH_API vh_rc vh_metrics_reader_open(uint32_t pid, uint32_t nth, struct vh_metrics_reader **out);

/**
 * vh_metrics_reader_adopt() - look at a page whose file is open here
 * @fd: (borrowed) from vh_metrics_dup_fd(); need not stay open
 * @out: (out) (owned) free with vh_metrics_reader_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EBADF EACCES EPERM EPROTO ENOMEM
 */
VH_API vh_rc vh_metrics_reader_adopt(vh_fd fd, struct vh_metrics_reader **out);

/**
 * vh_metrics_reader_free() - stop looking
 * @r: (nullable)
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: none
 */
VH_API void vh_metrics_reader_free(struct vh_metrics_reader *r);

/**
 * vh_metrics_reader_get_info() - whose page it is
 * @r: the reader
 * @out: (out) what its head says
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_metrics_reader_get_info(struct vh_metrics_reader *r, struct vh_metrics_info *out);

/**
 * vh_metrics_reader_next() - read a row
 * @r: the reader
 * @kind: VH_METRICS_CONNECTION, VH_METRICS_QUEUE
 * @from: the first row that is looked at: 0, then vh_metrics_row.row + 1
 * @out: (out) the row, all of it of one moment
 *
 * What the process wrote is looked at as a stranger's: numbers outside of the page and texts without an end are refused.
 * For rows that are being written it waits, 20 ms at most for all that it looks at.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: yes
 * @errors: EINVAL EPROTO
 *
 * Return: 1 with a row, 0 when there is none any more. A row that its process never stops writing, as one that was killed
 * in the midst of it, is passed over.
 */
VH_API vh_count vh_metrics_reader_next(struct vh_metrics_reader *r, uint32_t kind, uint32_t from,
				       struct vh_metrics_row *out);

/**
 * vh_metrics_reader_openmetrics() - all that is counted, for Prometheus and its like
 * @r: the reader
 * @buf: (nullable) (out) (array cap) the text, NUL-terminated; cut where the room does not do
 * @cap: room at @buf, bytes
 *
 * The OpenMetrics text format 1.0, up to its "# EOF": serve it as application/openmetrics-text; version=1.0.0;
 * charset=utf-8. It may be longer the next time. For rows that are being written it waits, 20 ms at most for all of them.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: yes
 * @errors: EINVAL EPROTO ENOMEM
 *
 * Return: bytes of the whole text, without the NUL.
 */
VH_API vh_count vh_metrics_reader_openmetrics(struct vh_metrics_reader *r, char *buf, uint32_t cap);

/**
 * vh_slave_set_metrics() - show this back-end and its queues on a page
 * @s: the back-end
 * @st: (nullable) the page, kept by the back-end; NULL: no more
 * @name: (nullable) what to call it there
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENAMETOOLONG ENOSPC ENOMEM EBUSY ESHUTDOWN
 *
 * Return: 0; -ENOSPC: the page has no room for a row more for each queue and one.
 */
VH_API vh_rc vh_slave_set_metrics(struct vh_slave *s, struct vh_metrics *st, const char *name);

/**
 * vh_vduse_set_metrics() - show this device and its queues on a page
 * @v: the device
 * @m: (nullable) the page, kept by the device; NULL: no more
 * @name: (nullable) what to call it there
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENAMETOOLONG ENOSPC ENOMEM EBUSY ESHUTDOWN
 */
VH_API vh_rc vh_vduse_set_metrics(struct vh_vduse *v, struct vh_metrics *m, const char *name);

/**
 * vh_driver_set_metrics() - show this session and its queues on a page
 * @d: the session
 * @m: (nullable) the page, kept by the session; NULL: no more
 * @name: (nullable) what to call it there
 *
 * Queues may run meanwhile. Nobody dispatches a session in the background: rows are written by vh_driver_dispatch() and calls that wait, and what is in
 * flight by vh_blk_submit(), vh_blk_reap(), vh_net_send() and vh_net_receive(). Of messages they tell nothing.
 *
 * @since: VH_1.0
 * @thread: handle
 * @blocks: no
 * @errors: EINVAL ENAMETOOLONG ENOSPC ENOMEM
 */
VH_API vh_rc vh_driver_set_metrics(struct vh_driver *d, struct vh_metrics *m, const char *name);

VH_END_DECLS
#endif
