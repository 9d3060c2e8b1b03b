/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A driver session with a block driver over a target, and the steps that most tests share. */
#ifndef VHT_SESSION_H
#define VHT_SESSION_H

#include "vht_disk.h"
#include "vht_target.h"

#define VHT_WAIT_MS 5000

struct vht_session {
	struct vht_target t;
	struct vht_disk *disk; /* NULL over a RAM disk */
	struct vh_driver *d;
	struct vh_blk *b;
	uint8_t *buf; /* session memory */
	uint64_t buf_len;
};

/* Only the target, for tests of vh_driver_new(). */
void vht_session_disk(struct vht_session *s, enum vht_kind kind, uint64_t bytes, uint64_t features, uint32_t queues);
void vht_session_ram(struct vht_session *s, enum vht_kind kind, uint64_t bytes, uint32_t flags, uint32_t queues);
/* Session, buffer, start, block driver; every step has to work. */
void vht_session_begin(struct vht_session *s, const struct vh_driver_opts *opts, uint64_t buf_len);
void vht_session_end(struct vht_session *s);

/* One request, to its end: its rc, or what a step returned. */
int vht_session_io(struct vht_session *s, uint32_t queue, struct vh_blk_io io);
/* Wait for n completions. */
void vht_session_reap(struct vht_session *s, uint32_t queue, struct vh_blk_done *done, uint32_t n);
/* Write a pattern that belongs to seed, and read it back through the other half of the buffer. */
void vht_session_write(struct vht_session *s, uint32_t queue, uint64_t offset, uint64_t len, uint32_t seed);
void vht_session_verify(struct vht_session *s, uint32_t queue, uint64_t offset, uint64_t len, uint32_t seed);
/* The last error has this code and came from this check. */
void vht_assert_error(int code, uint32_t site);

#endif
