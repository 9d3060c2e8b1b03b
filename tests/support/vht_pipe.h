/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A transport without a kernel: two ends in one process, deterministic. It keeps the rules of a unix stream socket:
 * bytes have no borders but fds belong to the bytes they came with, recv stops before bytes of another set of fds, and
 * what is left of the fds of a destroyed end is closed. There is no pollable fd: the owner dispatches by hand.
 */
#ifndef VHT_PIPE_H
#define VHT_PIPE_H

#include "vhi_sock.h"

struct vht_pipe;

struct vht_pipe *vht_pipe_new(void);
/* Both ends must be closed or never have been given out. */
void vht_pipe_free(struct vht_pipe *p);

/* End 0 or 1 as a transport; closing the transport closes the end. */
struct vhi_transport vht_pipe_end(struct vht_pipe *p, uint32_t end);

/* recv of @end gives at most this many bytes at once (0 = no limit). */
void vht_pipe_set_chunk(struct vht_pipe *p, uint32_t end, size_t bytes);
/* @end can have so many bytes on the way to the other; more is -EAGAIN (0 = no limit). */
void vht_pipe_set_room(struct vht_pipe *p, uint32_t end, size_t bytes);
/* The n-th recv (0) or send (1) of @end from now on fails with @error (negative errno), and all after it. 0 = never. */
void vht_pipe_fail(struct vht_pipe *p, uint32_t end, uint32_t what, uint64_t n, int error);

/* By hand, as @end: raw bytes with duplicates of @fds; the bytes that wait for @end; no more from @end. */
void vht_pipe_write(struct vht_pipe *p, uint32_t end, const void *bytes, size_t n, const int *fds, uint32_t n_fds);
size_t vht_pipe_read(struct vht_pipe *p, uint32_t end, void *bytes, size_t max, int *fds, uint32_t *n_fds);
size_t vht_pipe_waiting(const struct vht_pipe *p, uint32_t end);
void vht_pipe_shutdown(struct vht_pipe *p, uint32_t end);
bool vht_pipe_closed(const struct vht_pipe *p, uint32_t end);

#endif
