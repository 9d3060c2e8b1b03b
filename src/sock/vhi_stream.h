/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Bytes in one direction, through a pipe or a stream socket that is shared with the peer. Whatever the peer does to its
 * copy of the open file (O_NONBLOCK belongs to that), nothing here blocks, and nothing raises SIGPIPE.
 */
#ifndef VHI_STREAM_H
#define VHI_STREAM_H

#include "vhi_base.h"

struct vhi_stream {
	int fd; /* -1 = closed */
	bool socket;
};

/*
 * Something to write to or to read from, by what @fd (borrowed) is. 0; -EBADF: it is open for the other direction only;
 * -ENOTSUP: it could block, so make a pair and give that instead; other -errno. Then it may be closed all the same. @trusted: it is of our own user, who may
 * give files, and whose pipes are as they are where there is no /proc.
 */
int vhi_stream_open(struct vhi_stream *s, int fd, bool write, bool trusted);
/* A pair: our end, and *peer for somebody else. */
int vhi_stream_pair(struct vhi_stream *s, int *peer);
/* Bytes, 0 at the end of what comes, -EAGAIN, or -errno. */
ssize_t vhi_stream_read(const struct vhi_stream *s, void *buf, size_t n);
ssize_t vhi_stream_write(const struct vhi_stream *s, const void *buf, size_t n);
void vhi_stream_close(struct vhi_stream *s);

#endif
