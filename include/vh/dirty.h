/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: The dirty log: which pages of guest memory were written.
 *
 * One bit for each 4096 bytes of guest addresses, from 0 on, in a file that the
 * front-end shares with the back-end while a guest is migrated. Writers set
 * bits, from any thread and process, after what they wrote can be seen; the
 * front-end takes them, and copies those pages (once more).
 */
#ifndef VH_DIRTY_H
#define VH_DIRTY_H

#include "vh/types.h"

VH_BEGIN_DECLS

#define VH_DIRTY_PAGE 4096 /* bytes of guest memory that one bit stands for */

/** struct vh_dirty_info - a dirty log. Size-first out struct. */
struct vh_dirty_info {
	uint32_t size;
	uint32_t broken; /* 1: its file was truncated, bits are lost */
	uint64_t offset; /* of its first byte in the file */
	uint64_t len;	 /* bytes */
	uint64_t pages;	 /* that it has bits for, from guest address 0 on */
	uint64_t lost;	 /* writes to pages beyond these: nobody will copy them */
};

/**
 * vh_dirty_new() - a dirty log that is shared: a memfd, sealed against shrinking
 * @end: guest address up to which it has bits, > 0
 * @out: (out) (owned) free with vh_dirty_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EMFILE EOVERFLOW
 */
VH_API vh_rc vh_dirty_new(uint64_t end, struct vh_dirty **out);

/**
 * vh_dirty_open() - the dirty log in a file that somebody else made
 * @fd: (borrowed) duplicated inside
 * @offset: of its first byte, a multiple of 8
 * @len: bytes, > 0
 * @out: (out) (owned) free with vh_dirty_free()
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOMEM EOVERFLOW ENODATA EPERM EACCES ENODEV EBADF EMFILE
 *
 * Return: 0, -ENODATA when the file is too short, -EACCES when it is not open for both reading and writing, -ENODEV when
 * it can't be mapped.
 */
VH_API vh_rc vh_dirty_open(vh_fd fd, uint64_t offset, uint64_t len, struct vh_dirty **out);

/**
 * vh_dirty_mark() - a range was written
 * @d: the log
 * @gpa: guest address of its first byte
 * @len: bytes, > 0
 *
 * Call it after the write.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ERANGE EFAULT
 *
 * Return: 0, -ERANGE when a part is beyond the log: what is inside was marked; -EFAULT when its file was truncated.
 */
VH_API vh_rc vh_dirty_mark(struct vh_dirty *d, vh_gpa gpa, uint64_t len);

/**
 * vh_dirty_take() - which pages were written since they were taken last
 * @d: the log
 * @from: guest address of the page to begin at
 * @pages: (out) (array max) guest addresses of pages, ascending; their bits are cleared
 * @max: room at @pages
 *
 * What is read from a page after its bit was taken has the write that set it. When max were found there may be more,
 * behind the last one.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EFAULT
 *
 * Return: pages at @pages, -EFAULT when the log's file was truncated.
 */
VH_API vh_count vh_dirty_take(struct vh_dirty *d, vh_gpa from, vh_gpa *pages, uint32_t max);

/**
 * vh_dirty_dup_fd() - the file that it is in
 * @d: the log
 * @out: (out) (owned) a duplicate, close-on-exec
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL EMFILE
 */
VH_API vh_rc vh_dirty_dup_fd(struct vh_dirty *d, vh_fd *out);

/**
 * vh_dirty_get_info() - where it is, how far it goes, whether something was lost
 * @d: the log
 * @out: (out) what there is to know
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_dirty_get_info(struct vh_dirty *d, struct vh_dirty_info *out);

/**
 * vh_dirty_free() - un-map it
 * @d: (nullable)
 *
 * A queue or session that logs into it keeps it until it is told otherwise.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 */
VH_API void vh_dirty_free(struct vh_dirty *d);

VH_END_DECLS
#endif
