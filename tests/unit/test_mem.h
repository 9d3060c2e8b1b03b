/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the tests of src/mem share: files to map, and counts of what the process holds. */
#ifndef TEST_MEM_H
#define TEST_MEM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vh/error.h"
#include "vhi_mem.h"
#include "vhi_mem_sites.h"
#include "vht_mem.h"

#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

static inline int file_new(uint64_t size)
{
	int fd = memfd_create("vh-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static inline void fd_close(int fd)
{
	assert_int_equal(close(fd), 0);
}

static inline struct vh_mem *mem_new(void)
{
	struct vh_mem *mem = NULL;

	assert_int_equal(vh_mem_new(NULL, &mem), 0);
	return mem;
}

static inline struct vh_region region(uint64_t gpa, uint64_t uva, uint64_t len, uint64_t offset)
{
	return (struct vh_region){.gpa = gpa, .uva = uva, .len = len, .offset = offset};
}

static inline void add(struct vh_mem *mem, int fd, uint64_t gpa, uint64_t uva, uint64_t len, uint64_t offset)
{
	struct vh_region r = region(gpa, uva, len, offset);

	assert_int_equal(vh_mem_add_fd(mem, fd, &r), 0);
}

static inline uint32_t last_site(void)
{
	struct vh_error e = {.size = sizeof(e)};

	assert_int_equal(vh_error_get(&e), 0);
	assert_true(e.text[0] != '\0');
	return e.site;
}

static inline unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Only mappings of memfds: allocators and sanitizers change the others as they like. */
static inline unsigned count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "/memfd:vh-") != NULL;
	fclose(f);
	return n;
}

static inline size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static inline uint8_t *host_of(const struct vh_snapshot *s, uint64_t gpa)
{
	const struct vhi_region *r = vhi_find(s, (struct vhi_gpa){gpa});

	assert_non_null(r);
	return r->host + (gpa - r->gpa.v);
}

/* Two full tables at once need more descriptors than the usual soft limit. */
static inline void many_fds(void)
{
	struct rlimit rl;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	rl.rlim_cur = rl.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
}

#endif
