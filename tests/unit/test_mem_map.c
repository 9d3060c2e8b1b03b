/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Which numbers and which files make a region. */
#include "test_mem.h"

#include <sys/socket.h>
#include <time.h>

/* What is refused for its numbers is refused with a file that would do, and nothing is mapped. */
static void impossible_numbers_are_refused_before_anything_is_mapped(void **state)
{
	const unsigned maps = count_maps();
	const uint64_t max = UINT64_MAX;
	const struct {
		struct vh_region r;
		int rc;
		uint32_t site;
	} cases[] = {
		{{.gpa = 0, .uva = 0, .len = 0, .offset = 0}, -EINVAL, VHI_SITE_MEM_EMPTY},
		{{.gpa = max - 4095, .uva = 0, .len = 4096}, -EOVERFLOW, VHI_SITE_MEM_GPA_WRAP},
		{{.gpa = max - 4095, .uva = 0, .len = 8192}, -EOVERFLOW, VHI_SITE_MEM_GPA_WRAP},
		{{.gpa = 4096, .uva = 0, .len = max}, -EOVERFLOW, VHI_SITE_MEM_GPA_WRAP},
		{{.gpa = max & ~15ull, .uva = 0, .len = 16}, -EOVERFLOW, VHI_SITE_MEM_GPA_WRAP},
		{{.gpa = 0, .uva = max - 4095, .len = 4096}, -EOVERFLOW, VHI_SITE_MEM_UVA_WRAP},
		{{.gpa = 0, .uva = max, .len = 4096}, -EOVERFLOW, VHI_SITE_MEM_UVA_WRAP},
		{{.gpa = 0, .uva = 0, .len = max, .offset = 0}, -EOVERFLOW, VHI_SITE_MEM_FILE_WRAP},
		{{.gpa = 0, .uva = 0, .len = 4096, .offset = max - 4095}, -EOVERFLOW, VHI_SITE_MEM_FILE_WRAP},
		{{.gpa = 0, .uva = 0, .len = 4096, .offset = max & ~15ull}, -EOVERFLOW, VHI_SITE_MEM_FILE_WRAP},
		{{.gpa = 0, .uva = 0, .len = 4096, .offset = INT64_MAX & ~15ll}, -EOVERFLOW, VHI_SITE_MEM_FILE_WRAP},
		{{.gpa = 0, .uva = 0, .len = 1ull << 63, .offset = 0}, -EOVERFLOW, VHI_SITE_MEM_FILE_WRAP},
		{{.gpa = 8, .uva = 0, .len = 4096, .offset = 0}, -EINVAL, VHI_SITE_MEM_ALIGN},
		{{.gpa = 0, .uva = 0, .len = 4096, .offset = 1}, -EINVAL, VHI_SITE_MEM_ALIGN},
		/* Small enough to round up in 64 bits, and far beyond the file. */
		{{.gpa = 0, .uva = 0, .len = 4095, .offset = INT64_MAX - 4095}, -ENODATA, VHI_SITE_MEM_SHORT},
		{{.gpa = 15, .uva = 0, .len = 4096, .offset = INT64_MAX - 4096}, -ENODATA, VHI_SITE_MEM_SHORT},
	};
	struct vh_mem *mem = mem_new();
	int fd = file_new(MIB);

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		assert_int_equal(vh_mem_add_fd(mem, fd, &cases[i].r), cases[i].rc);
		assert_int_equal(last_site(), cases[i].site);
		assert_int_equal(count_maps(), maps);
	}
	/* As far up as it goes. */
	add(mem, fd, max - 4096, max - 4096, 4096, 4096 - 1);
	fd_close(fd);
	vh_mem_free(mem);
}

static void overlaps_are_refused_and_neighbours_are_not(void **state)
{
	/* Beside a region at 0x10000 with 0x4000 bytes, user address 0x80000. */
	static const struct {
		uint64_t gpa, uva, len;
		int rc;
		uint32_t site;
	} cases[] = {
		{0x10000, 0x80000, 0x4000, -EEXIST, VHI_SITE_MEM_GPA_OVERLAP}, /* identical */
		{0x10000, 0x90000, 0x4000, -EEXIST, VHI_SITE_MEM_GPA_OVERLAP},
		{0x11000, 0x90000, 0x1000, -EEXIST, VHI_SITE_MEM_GPA_OVERLAP}, /* inside */
		{0x0f000, 0x90000, 0x6000, -EEXIST, VHI_SITE_MEM_GPA_OVERLAP}, /* around */
		{0x0f000, 0x90000, 0x1001, -EEXIST, VHI_SITE_MEM_GPA_OVERLAP}, /* its first byte */
		{0x13ff0, 0x90000, 0x1000, -EEXIST, VHI_SITE_MEM_GPA_OVERLAP}, /* its last bytes */
		{0x20000, 0x80000, 0x4000, -EEXIST, VHI_SITE_MEM_UVA_OVERLAP},
		{0x20000, 0x81000, 0x1000, -EEXIST, VHI_SITE_MEM_UVA_OVERLAP},
		{0x20000, 0x7f000, 0x6000, -EEXIST, VHI_SITE_MEM_UVA_OVERLAP},
		{0x20000, 0x7f000, 0x1001, -EEXIST, VHI_SITE_MEM_UVA_OVERLAP},
		{0x20000, 0x83fff, 0x1000, -EEXIST, VHI_SITE_MEM_UVA_OVERLAP},
		{0x14000, 0x84000, 0x1000, 0, 0}, /* touching behind */
		{0x0f000, 0x7f000, 0x1000, 0, 0}, /* touching before */
	};
	struct vh_mem *mem = mem_new();
	int fd = file_new(MIB);

	(void)state;
	add(mem, fd, 0x10000, 0x80000, 0x4000, 0);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		struct vh_region r = region(cases[i].gpa, cases[i].uva, cases[i].len, 0);

		assert_int_equal(vh_mem_add_fd(mem, fd, &r), cases[i].rc);
		if (cases[i].rc)
			assert_int_equal(last_site(), cases[i].site);
	}
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 3);
	fd_close(fd);
	vh_mem_free(mem);
}

/* The host sees the bytes of the file that the offset says, wherever it points. */
static void any_offset_shows_the_right_bytes(void **state)
{
	const uint64_t offsets[] = {0, 16, 4096, 4096 + 48, 65536 - 16, MIB - 32};
	struct vh_mem *mem = mem_new();
	int fd = file_new(MIB);

	(void)state;
	for (uint64_t i = 0; i < MIB; i += 16)
		assert_int_equal(pwrite(fd, &i, sizeof(i), (off_t)i), sizeof(i));
	for (size_t i = 0; i < VHI_ARRAY_SIZE(offsets); i++) {
		struct vh_region r = region(GIB, GIB, 32, offsets[i]), out;

		assert_int_equal(vhi_mem_replace(mem, &r, &fd, 1), 0);
		assert_int_equal(vh_mem_regions(mem, &out, 1), 1);
		assert_int_equal(*(uint64_t *)(uintptr_t)out.host, offsets[i]);
		assert_int_equal(*(uint64_t *)(uintptr_t)(out.host + 16), offsets[i] + 16);
		assert_int_equal(out.offset, offsets[i]);
	}
	fd_close(fd);
	vh_mem_free(mem);
}

static void a_file_must_hold_the_whole_region(void **state)
{
	const unsigned maps = count_maps();
	struct vh_mem *mem = mem_new();
	int fd = file_new(65536 + 1);
	struct vh_region r = region(0, 0, 65536 + 2, 0);

	(void)state;
	assert_int_equal(vh_mem_add_fd(mem, fd, &r), -ENODATA);
	assert_int_equal(last_site(), VHI_SITE_MEM_SHORT);
	r.offset = 65536;
	r.len = 2;
	assert_int_equal(vh_mem_add_fd(mem, fd, &r), -ENODATA);
	assert_int_equal(count_maps(), maps);
	r.len = 1;
	assert_int_equal(vh_mem_add_fd(mem, fd, &r), 0);
	fd_close(fd);
	vh_mem_free(mem);
}

static void a_seal_is_reported_and_can_be_required(void **state)
{
	struct vh_mem_opts opts = {.size = sizeof(opts), .require_seal = 1};
	struct vh_region r = region(0, 0, 4096, 0), out;
	struct vh_mem *strict, *mem = mem_new();
	int fd = file_new(4096);

	(void)state;
	assert_int_equal(vh_mem_new(&opts, &strict), 0);
	assert_int_equal(vh_mem_add_fd(strict, fd, &r), -EPERM);
	assert_int_equal(last_site(), VHI_SITE_MEM_UNSEALED);
	assert_int_equal(vh_mem_add_fd(mem, fd, &r), 0);
	assert_int_equal(vh_mem_regions(mem, &out, 1), 1);
	assert_int_equal(out.flags, 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	assert_int_equal(vh_mem_add_fd(strict, fd, &r), 0);
	assert_int_equal(vh_mem_regions(strict, &out, 1), 1);
	assert_int_equal(out.flags, VH_REGION_SEALED);
	assert_int_equal(vh_mem_alloc(strict, MIB, 4096, 0), 0);
	fd_close(fd);
	vh_mem_free(mem);
	vh_mem_free(strict);
}

static int open_readonly(void)
{
	int fd = file_new(4096), ro;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	fd_close(fd);
	return ro;
}

static int open_write_sealed(void)
{
	int fd = file_new(4096);

	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	return fd;
}

static int open_fifo_end(void)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	fd_close(p[1]);
	return p[0];
}

static int open_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int open_directory(void)
{
	return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int open_null(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int open_path(void)
{
	return open("/dev/zero", O_PATH | O_CLOEXEC);
}

static int open_closed(void)
{
	int fd = file_new(0);

	fd_close(fd);
	return fd;
}

static void files_that_cannot_be_shared_memory_are_refused(void **state)
{
	static const struct {
		int (*open)(void);
		int rc;
		uint32_t site;
		const char *text; /* part of the explanation */
	} cases[] = {
		{open_readonly, -EACCES, VHI_SITE_MEM_MMAP, "O_RDWR"},
		{open_write_sealed, -EPERM, VHI_SITE_MEM_MMAP, "sealed"},
		{open_fifo_end, -EACCES, VHI_SITE_MEM_MMAP, "O_RDWR"},
		{open_socket, -ENODEV, VHI_SITE_MEM_MMAP, "can be mapped"},
		{vhi_eventfd, -ENODEV, VHI_SITE_MEM_MMAP, "can be mapped"},
		{open_directory, -EACCES, VHI_SITE_MEM_MMAP, "O_RDWR"},
		{open_null, -ENODEV, VHI_SITE_MEM_MMAP, "can be mapped"},
		{open_path, -EBADF, VHI_SITE_MEM_MMAP, "EBADF"},
		{open_closed, -EBADF, 0, "EBADF"},
	};
	const unsigned fds = count_fds(), maps = count_maps();
	struct vh_mem *mem = mem_new();

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		struct vh_region r = region(0, 0, 16, 0);
		struct vh_error e = {.size = sizeof(e)};
		int fd = cases[i].open();

		assert_true(fd >= 0);
		assert_int_equal(vh_mem_add_fd(mem, fd, &r), cases[i].rc);
		assert_int_equal(vh_error_get(&e), 0);
		assert_int_equal(e.site, cases[i].site);
		assert_non_null(strstr(e.text, cases[i].text));
		close(fd);
		assert_int_equal(count_fds(), fds);
		assert_int_equal(count_maps(), maps);
	}
	vh_mem_free(mem);
}

/* A device has no size to check, and may be memory all the same. */
static void a_device_that_can_be_mapped_is_accepted(void **state)
{
	struct vh_mem *mem = mem_new();
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	struct vh_region out;

	(void)state;
	assert_true(fd >= 0);
	add(mem, fd, 0, 0, 8192, 0);
	assert_int_equal(vh_mem_regions(mem, &out, 1), 1);
	*(uint8_t *)(uintptr_t)out.host = 1;
	fd_close(fd);
	vh_mem_free(mem);
}

static long resident_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long all = 0, resident = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &all, &resident), 2);
	fclose(f);
	return resident * ((long)page_size() / 1024);
}

static void a_sparse_terabyte_costs_neither_time_nor_memory(void **state)
{
	const uint64_t tib = 1ull << 40;
	const uint64_t start = vhi_now_ns();
	struct vh_mem *mem = mem_new();
	int fd = file_new(2 * tib);
	long before = resident_kib();
	struct vh_seg seg;

	(void)state;
	add(mem, fd, 0, tib, tib, tib);
	assert_int_equal(vht_translate(mem, tib - 1, 1, &seg, 1), 1);
	assert_true(resident_kib() - before < 4096);
	assert_true(vhi_now_ns() - start < UINT64_C(2000000000));
	fd_close(fd);
	vh_mem_free(mem);
}

/* The VmFlags line of the mapping at this address has this flag. */
static bool has_vm_flag(uint64_t host, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	bool here = false, found = false;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = host >= from && host < to;
		if (here && !strncmp(line, "VmFlags:", 8))
			found = strstr(line, flag) != NULL;
	}
	fclose(f);
	return found;
}

static void guest_memory_is_not_in_core_dumps(void **state)
{
	struct vh_mem *mem = mem_new();
	struct vh_region out;

	(void)state;
	assert_int_equal(vh_mem_alloc(mem, 0, MIB, 0), 0);
	assert_int_equal(vh_mem_regions(mem, &out, 1), 1);
	assert_true(has_vm_flag(out.host, " dd"));
	vh_mem_free(mem);
}

/* A huge page file is mapped from a huge page's border, whatever the offset. */
static void offsets_into_huge_pages_show_the_right_bytes(void **state)
{
	int fd = memfd_create("vh-huge", MFD_CLOEXEC | MFD_HUGETLB);
	const unsigned maps = count_maps();
	struct vh_mem *mem = mem_new();
	struct vh_region r, out;
	struct stat st;
	void *p = NULL;

	(void)state;
	if (fd < 0 || fstat(fd, &st) || ftruncate(fd, 2 * st.st_blksize) ||
	    (p = mmap(NULL, 2 * (size_t)st.st_blksize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) {
		if (fd >= 0)
			fd_close(fd);
		vh_mem_free(mem);
		print_message("no two huge pages on this machine (vm.nr_hugepages)\n");
		skip();
	}
	((uint8_t *)p)[st.st_blksize + 4096 + 32] = 0x77;
	munmap(p, 2 * (size_t)st.st_blksize);
	r = region(GIB, GIB, 4096, (uint64_t)st.st_blksize + 4096 + 32);
	assert_int_equal(vh_mem_add_fd(mem, fd, &r), 0);
	assert_int_equal(vh_mem_regions(mem, &out, 1), 1);
	assert_int_equal(out.page_size, st.st_blksize);
	assert_int_equal(out.flags, VH_REGION_HUGE);
	assert_int_equal(*(uint8_t *)(uintptr_t)out.host, 0x77);
	r = region(0, 0, 4096, 2 * (uint64_t)st.st_blksize);
	assert_int_equal(vh_mem_add_fd(mem, fd, &r), -ENODATA);
	vh_mem_free(mem);
	assert_int_equal(count_maps(), maps);
	fd_close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(impossible_numbers_are_refused_before_anything_is_mapped),
		cmocka_unit_test(overlaps_are_refused_and_neighbours_are_not),
		cmocka_unit_test(any_offset_shows_the_right_bytes),
		cmocka_unit_test(a_file_must_hold_the_whole_region),
		cmocka_unit_test(a_seal_is_reported_and_can_be_required),
		cmocka_unit_test(files_that_cannot_be_shared_memory_are_refused),
		cmocka_unit_test(a_device_that_can_be_mapped_is_accepted),
		cmocka_unit_test(a_sparse_terabyte_costs_neither_time_nor_memory),
		cmocka_unit_test(guest_memory_is_not_in_core_dumps),
		cmocka_unit_test(offsets_into_huge_pages_show_the_right_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
