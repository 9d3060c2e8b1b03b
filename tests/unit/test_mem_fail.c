/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Every n-th allocation and system call of guest memory fails once: the change fails as a whole and nothing is lost. */
#include "test_mem.h"

#include <stdlib.h>
#include <sys/statfs.h>

/* Counts down to the call that fails; below zero nothing does. */
static int left = -1;
static int held;

static bool fails(int e)
{
	if (left < 0 || left-- != 0)
		return false;
	errno = e;
	return true;
}

static void *fail_calloc(size_t n, size_t size)
{
	void *p = fails(ENOMEM) ? NULL : calloc(n, size);

	held += p != NULL;
	return p;
}

static void fail_free(void *p)
{
	held -= p != NULL;
	free(p);
}

/* Seals that can't be read are seals that are not there, which is no failure. */
static int fail_fcntl(int fd, int cmd, uintptr_t arg)
{
	return cmd != F_GET_SEALS && fails(cmd == F_ADD_SEALS ? EPERM : EMFILE) ? -1 : fcntl(fd, cmd, arg);
}

static int fail_fstat(int fd, struct stat *st)
{
	return fails(EIO) ? -1 : fstat(fd, st);
}

static int fail_fstatfs(int fd, struct statfs *st)
{
	return fails(ENOSYS) ? -1 : fstatfs(fd, st);
}

static int fail_ftruncate(int fd, off_t len)
{
	return fails(ENOSPC) ? -1 : ftruncate(fd, len);
}

static int fail_memfd_create(const char *name, unsigned flags)
{
	return fails(ENFILE) ? -1 : memfd_create(name, flags);
}

static void *fail_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return fails(ENOMEM) ? MAP_FAILED : mmap(addr, len, prot, flags, fd, off);
}

static int fail_madvise(void *addr, size_t len, int advice)
{
	return fails(EINVAL) ? -1 : madvise(addr, len, advice);
}

static int fail_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return fails(EINVAL) ? -1 : sigaction(sig, act, old);
}

const struct vhi_sys vhi_sys = {
	.calloc = fail_calloc,
	.free = fail_free,
	.close = close,
	.fcntl = fail_fcntl,
	.fstat = fail_fstat,
	.fstatfs = fail_fstatfs,
	.ftruncate = fail_ftruncate,
	.mmap = fail_mmap,
	.munmap = munmap,
	.madvise = fail_madvise,
	.memfd_create = fail_memfd_create,
	.sigaction = fail_sigaction,
	.raise = raise,
};

/* The changes under test, each from a memory with two regions. 0 or the first failure. */
static int change_nothing(struct vh_mem *mem, int fd)
{
	struct vh_mem *another = NULL;
	int rc = vh_mem_new(NULL, &another);

	(void)mem;
	(void)fd;
	vh_mem_free(another);
	return rc;
}

static int change_alloc(struct vh_mem *mem, int fd)
{
	(void)fd;
	return vh_mem_alloc(mem, 8 * MIB, MIB, 0);
}

static int change_add(struct vh_mem *mem, int fd)
{
	struct vh_region r = region(8 * MIB, GIB, 4096, 0);

	return vh_mem_add_fd(mem, fd, &r);
}

static int change_remove(struct vh_mem *mem, int fd)
{
	struct vh_region r;

	(void)fd;
	assert_int_equal(vh_mem_regions(mem, &r, 1), 2);
	return vh_mem_remove(mem, &r);
}

static int change_replace(struct vh_mem *mem, int fd)
{
	const struct vh_region table[3] = {region(8 * MIB, GIB, 4096, 0), region(0, 2 * GIB, 4096, 0),
					   region(4 * MIB, 3 * GIB, 4096, 0)};

	return vhi_mem_replace(mem, table, (int[]){fd, fd, fd}, 3);
}

static int change_dup(struct vh_mem *mem, int fd)
{
	int32_t dup = -1;
	int rc = vh_mem_dup_fd(mem, 1, &dup);

	(void)fd;
	assert_int_equal(rc == 0, dup != -1);
	if (!rc)
		fd_close(dup);
	return rc;
}

static int change_guard(struct vh_mem *mem, int fd)
{
	int rc = vh_mem_guard_install();

	(void)mem;
	(void)fd;
	if (rc)
		return rc;
	rc = vh_mem_guard_remove();
	if (rc) { /* still in, and still to be had out */
		left = -1;
		assert_int_equal(vh_mem_guard_remove(), 0);
	}
	return rc;
}

static void a_change_that_fails_anywhere_changes_nothing(void **state)
{
	static const struct {
		int (*change)(struct vh_mem *mem, int fd);
		int steps; /* calls that can fail, at least */
	} changes[] = {
		{change_nothing, 2}, {change_alloc, 12},   {change_add, 7},   {change_remove, 2},
		{change_dup, 1},     {change_replace, 18}, {change_guard, 4},
	};
	const unsigned fds = count_fds(), maps = count_maps();

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(changes); i++) {
		int n = 0, rc;

		do {
			const int before = held;
			struct vh_region was[2], is[2];
			struct vh_mem *mem = mem_new();
			int fd = file_new(MIB);
			struct vh_error e = {.size = sizeof(e)};

			add(mem, fd, 0, 4096, 4096, 0);
			assert_int_equal(vh_mem_alloc(mem, MIB, MIB, 0), 0);
			assert_int_equal(vh_mem_regions(mem, was, 2), 2);
			left = n++;
			rc = changes[i].change(mem, fd);
			left = -1;
			if (rc) {
				assert_int_equal(vh_error_get(&e), 0);
				assert_int_equal(e.code, rc);
				assert_int_equal(vh_mem_regions(mem, is, 2), 2);
				assert_memory_equal(was, is, sizeof(was));
				assert_int_equal(changes[i].change(mem, fd), 0);
			}
			vh_mem_free(mem);
			fd_close(fd);
			assert_int_equal(held, before);
			assert_int_equal(count_fds(), fds);
			assert_int_equal(count_maps(), maps);
		} while (rc);
		assert_true(n > changes[i].steps);
	}
}

/* Where there is too little memory for all of the rest, one page is enough to go on. */
static void a_fault_is_survived_with_a_page_when_there_is_no_more(void **state)
{
	struct vh_mem *mem = mem_new();
	const size_t page = page_size();
	struct vh_snapshot *s;
	volatile uint8_t *p;
	uint32_t seen = 0;
	int fd = file_new(4 * page);

	(void)state;
	add(mem, fd, 0, GIB, 4 * page, 0);
	s = vhi_mem_snapshot(mem);
	p = host_of(s, 0);
	assert_int_equal(vh_mem_guard_install(), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	left = 0;
	assert_int_equal(p[page], 0);
	assert_int_equal(left, -1);
	assert_int_equal(ftruncate(fd, (off_t)(4 * page)), 0);
	assert_int_equal(pwrite(fd, "\1", 1, (off_t)(2 * page)), 1);
	assert_int_equal(p[page], 0);
	assert_int_equal(p[2 * page], 1); /* the page alone was replaced */
	assert_true(vhi_snapshot_broken(s, &seen));
	vhi_snapshot_put(s);
	vh_mem_free(mem);
	fd_close(fd);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_that_fails_anywhere_changes_nothing),
		cmocka_unit_test(a_fault_is_survived_with_a_page_when_there_is_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
