/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the tests of the SIGBUS guard share. */
#ifndef TEST_GUARD_H
#define TEST_GUARD_H

#include "test_mem.h"

/* A memory of one region at 0 that its owner can still truncate. */
struct fixture {
	struct vh_mem *mem;
	struct vh_snapshot *s;
	volatile uint8_t *host;
	size_t page, len;
	int fd;
	uint32_t seen;
};

static inline void fixture_new(struct fixture *f, size_t pages)
{
	f->page = page_size();
	f->len = pages * f->page;
	f->fd = file_new(f->len);
	f->mem = mem_new();
	add(f->mem, f->fd, 0, GIB, f->len, 0);
	f->s = vhi_mem_snapshot(f->mem);
	f->host = host_of(f->s, 0);
	f->seen = 0;
	assert_false(vhi_snapshot_broken(f->s, &f->seen));
}

static inline void fixture_free(struct fixture *f)
{
	vhi_snapshot_put(f->s);
	vh_mem_free(f->mem);
	fd_close(f->fd);
}

static inline void truncate_to(struct fixture *f, size_t len)
{
	assert_int_equal(ftruncate(f->fd, (off_t)len), 0);
}

static inline uint32_t flags_of(struct fixture *f)
{
	struct vh_region r;

	assert_true(vh_mem_regions(f->mem, &r, 1) >= 1);
	return r.flags;
}

#endif
