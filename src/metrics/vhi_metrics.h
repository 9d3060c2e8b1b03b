/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The page that others look at. page.c: the page, and how its rows are written; show.c: what a handle keeps of it;
 * reader.c: the other side; props.c and props.def: what the values are; openmetrics.c: the same as OpenMetrics.
 *
 * The page: a head, and rows of one size. All numbers are little-endian. A row is guarded by its sequence number, which
 * is odd while it is written; its words are stored one by one, so that a reader who came in between reads again.
 */
#ifndef VHI_METRICS_H
#define VHI_METRICS_H

#include "vh/metrics.h"
#include "vhi_base.h"
#include "vhi_queue.h"
#include "vhi_shm.h"

#include <pthread.h>

enum vhi_metrics_site {
#define VHI_SITE VHI_SITE_ENUM
#include "sites.def"
#undef VHI_SITE
};
const char *vhi_metrics_site_text(uint32_t site);

#define VHI_METRICS_MEMFD    "libvh-metrics"
#define VHI_METRICS_MAGIC    UINT64_C(0x63697274656d6876) /* "vhmetric" */
#define VHI_METRICS_VERSION  1u
#define VHI_METRICS_MAX_ROWS 65536u
#define VHI_METRICS_WAIT_MS  20u /* for writers that lost their processor in the midst of a row */

struct vhi_metrics_head {
	uint64_t magic;
	uint32_t version;
	uint32_t head_bytes; /* where the rows begin */
	uint32_t row_bytes;
	uint32_t max_rows;
	uint32_t pid;
	uint32_t interval_ms;
	uint64_t made_ns;
	char name[VH_METRICS_NAME_SIZE];
	uint64_t reserved[3];
};

struct vhi_metrics_slot {
	uint32_t seq;	     /* odd: it is being written */
	uint32_t kind;	     /* VH_METRICS_*, 0 = unused */
	uint32_t connection; /* row */
	uint32_t n_values;
	char name[VH_METRICS_NAME_SIZE];
	char address[VH_METRICS_ADDRESS_SIZE];
	uint64_t values[VH_METRICS_MAX_PROPS];
	uint64_t reserved[6];
};

/* Indices of the properties: VHI_CONNECTION_ROLE ..., VHI_QUEUE_INDEX ... */
#define VHI_METRICS_OF_CONNECTION(id) VHI_CONNECTION_##id,
#define VHI_METRICS_OF_QUEUE(id)
#define VHI_PROP(kind, id, ...) VHI_METRICS_OF_##kind(id)
enum vhi_metrics_connection_prop {
#include "props.def"
	VHI_CONNECTION_PROPS
};
#undef VHI_METRICS_OF_CONNECTION
#undef VHI_METRICS_OF_QUEUE
#define VHI_METRICS_OF_CONNECTION(id)
#define VHI_METRICS_OF_QUEUE(id) VHI_QUEUE_##id,
enum vhi_metrics_queue_prop {
#include "props.def"
	VHI_QUEUE_PROPS
};
#undef VHI_PROP

/* Values of the choices. */
enum vhi_metrics_role { VHI_ROLE_SLAVE, VHI_ROLE_DRIVER, VHI_ROLE_VDUSE };
enum vhi_metrics_of { VHI_IS_IDLE, VHI_IS_LISTENING, VHI_IS_CONNECTING, VHI_IS_CONNECTED, VHI_IS_PAUSED };

struct vhi_prop {
	uint32_t type, space, flags;
	const char *name, *unit, *help;
	const char *const *choices; /* up to NULL */
};
/* *n = how many; NULL for an unknown kind. */
const struct vhi_prop *vhi_props(uint32_t kind, uint32_t *n);

/* reader.c: vh_metrics_reader_next() for who reads many: @left milliseconds to wait for writers, all in all. */
vh_count vhi_metrics_next(struct vh_metrics_reader *r, uint32_t kind, uint32_t from, uint32_t *left,
			  struct vh_metrics_row *out);

/* page.c */
struct vh_metrics {
	uint32_t refs; /* atomic */
	int fd;
	pid_t pid;		/* that made it: a child does not write */
	const uint32_t *parent; /* on a page that is zero in a child; NULL = the kernel has no such pages */
	uint32_t max_rows, interval_ms;
	size_t len;
	void VHI_SHM *base;
	pthread_mutex_t lock; /* of which rows are used */
	uint32_t hint;	      /* the first row that may be free */
	uint8_t used[];
};

struct vh_metrics *vhi_metrics_get(struct vh_metrics *st);
void vhi_metrics_put(struct vh_metrics *st); /* NULL is fine */
/* A row, all zero; -ENOSPC. Its @connection is its own number when that is UINT32_MAX. */
int vhi_metrics_take(struct vh_metrics *st, uint32_t kind, uint32_t connection, uint32_t *row);
void vhi_metrics_give(struct vh_metrics *st, uint32_t row);
/* One writer for each row at a time. Values and texts that are NULL: as they are. */
void vhi_metrics_write(struct vh_metrics *st, uint32_t row, const uint64_t *values, uint32_t n, const char *name,
		       const char *address);
/* One value, at any moment; and what was written there. */
uint64_t vhi_metrics_get_value(struct vh_metrics *st, uint32_t row, uint32_t index);
void vhi_metrics_put_value(struct vh_metrics *st, uint32_t row, uint32_t index, uint64_t value);

/* show.c: a handle's rows, and when they are to be written again. */
struct vhi_show {
	struct vh_metrics *st;		/* a reference */
	uint64_t next_ns;		/* atomic: from then on rows may be written again */
	uint32_t writing;		/* atomic: a thread is at it */
	uint32_t again;			/* atomic: and is to look once more */
	uint32_t rounds;		/* of who is at it */
	uint64_t seen;			/* the handle's own: whether there is news that can't wait */
	uint64_t connections, since_ns; /* the handle's own: when the newest began */
	bool due;			/* something may have changed that is not written yet, or changes by itself */
	uint32_t connection;
	uint32_t n_queues;
	uint32_t queues[];
};
/* -errno with the last error set; @who is the call. */
int vhi_show_begin(const char *who, struct vh_metrics *st, const char *name, uint32_t n_queues, struct vhi_show **out);
void vhi_show_end(struct vhi_show *s); /* NULL is fine */
/* From what *s is to @st and @name, either NULL; no row is given up where the page stays the same. As it was on failure. */
int vhi_show_change(const char *who, struct vh_metrics *st, const char *name, uint32_t n_queues, struct vhi_show **s);
/* From when on something is to be written, UINT64_MAX = nothing is. */
uint64_t vhi_show_deadline(const struct vhi_show *s);
void vhi_show_connection(struct vhi_show *s, const uint64_t values[VHI_CONNECTION_PROPS], const char *address);
/*
 * For handles that several threads drive, and nobody dispatches. True for the one that is to write all rows now, as often as
 * turned() says so too, which is a few times at most:
 *
 *	for (more = vhi_show_turn(s, now, false); more; more = vhi_show_turned(s))
 */
bool vhi_show_turn(struct vhi_show *s, uint64_t now, bool at_once);
bool vhi_show_turned(struct vhi_show *s);
/*
 * By the thread that drives the queue, after it took or gave requests: writes what is in flight, which may be all that is
 * ever told of it. As turn().
 */
bool vhi_show_flow(struct vhi_show *s, uint32_t i, struct vh_queue *q, uint64_t now);
/* True while it may change without a round of its dispatcher: something is in flight. */
bool vhi_show_queue(struct vhi_show *s, uint32_t i, struct vh_queue *q, uint64_t now);

#endif
