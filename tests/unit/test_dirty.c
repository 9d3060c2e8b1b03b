/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The dirty log by itself: bits at their place, bounds, taking, and many writers with a reader that clears. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhi_dirty.h"
#include "vhi_mem_sites.h"

#define PAGE UINT64_C(4096)

static int file_of(uint64_t len)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	return fd;
}

static uint32_t site(void)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	return e.site;
}

static struct vh_dirty_info info_of(struct vh_dirty *d)
{
	struct vh_dirty_info info = {.size = sizeof(info)};

	assert_int_equal(vh_dirty_get_info(d, &info), 0);
	return info;
}

static void a_page_is_a_bit_and_a_range_is_its_pages(void **state)
{
	static const struct {
		uint64_t gpa, len, first, n;
	} ranges[] = {
		{0, 1, 0, 1},
		{4095, 1, 0, 1},
		{4095, 2, 0, 2},
		{4096, 4096, 1, 1},
		{63 * PAGE, 2 * PAGE, 63, 2},
		{5 * PAGE + 7, 200 * PAGE, 5, 201},
		{1023 * PAGE, PAGE, 1023, 1},
	};
	vh_gpa pages[1024];
	struct vh_dirty *d;

	(void)state;
	assert_int_equal(vh_dirty_new(1024 * PAGE, &d), 0);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(ranges); i++) {
		assert_int_equal(vh_dirty_mark(d, ranges[i].gpa, ranges[i].len), 0);
		assert_int_equal(vh_dirty_take(d, 0, pages, 1024), ranges[i].n);
		for (uint64_t k = 0; k < ranges[i].n; k++)
			assert_int_equal(pages[k], (ranges[i].first + k) * PAGE);
		assert_int_equal(vh_dirty_take(d, 0, pages, 1024), 0);
	}
	vh_dirty_free(d);
}

static void taking_in_pieces_misses_none_and_clears_what_it_tells(void **state)
{
	struct vh_dirty *d;
	vh_gpa pages[7], from = 0;
	uint32_t found = 0;
	vh_count n;

	(void)state;
	assert_int_equal(vh_dirty_new(512 * PAGE, &d), 0);
	for (uint64_t page = 0; page < 512; page += 3)
		vh_dirty_mark(d, page * PAGE, 1);
	while ((n = vh_dirty_take(d, from, pages, 7)) > 0) {
		for (vh_count i = 0; i < n; i++)
			assert_int_equal(pages[i], 3 * PAGE * found++);
		from = pages[n - 1] + PAGE;
	}
	assert_int_equal(found, 171);
	assert_int_equal(vh_dirty_take(d, 0, pages, 7), 0);
	vh_dirty_mark(d, 10 * PAGE, 1);
	assert_int_equal(vh_dirty_take(d, 11 * PAGE, pages, 7), 0);
	assert_int_equal(vh_dirty_take(d, 10 * PAGE, pages, 7), 1);
	vh_dirty_free(d);
}

static void case_180_bits_lie_at_the_offset_and_nowhere_else(void **state)
{
	int fd = file_of(16384);
	struct vh_dirty *d;
	uint8_t *map;

	(void)state;
	map = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	assert_int_equal(vh_dirty_open(fd, 4096, 8, &d), 0);
	vh_dirty_mark(d, 0, 64 * PAGE);
	for (uint32_t i = 0; i < 16384; i++)
		assert_int_equal(map[i], i >= 4096 && i < 4104 ? 0xff : 0);
	vh_dirty_free(d);
	/* A log that ends inside a word: what is behind it is somebody else's. */
	map[8192 + 3] = 0xff;
	assert_int_equal(vh_dirty_open(fd, 8192, 3, &d), 0);
	assert_int_equal(vh_dirty_mark(d, 9 * PAGE, 1), 0);
	assert_int_equal(map[8193], 2);
	assert_int_equal(vh_dirty_take(d, 0, (vh_gpa[64]){0}, 64), 1);
	assert_int_equal(map[8193], 0);
	assert_int_equal(map[8195], 0xff);
	vh_dirty_free(d);
	assert_int_equal(vh_dirty_open(fd, 8196, 8, &d), -EINVAL);
	assert_int_equal(site(), VHI_SITE_MEM_DIRTY_ALIGN);
	assert_int_equal(vh_dirty_open(fd, 16376, 16, &d), -ENODATA);
	assert_int_equal(vh_dirty_open(fd, 0, 0, &d), -EINVAL);
	munmap(map, 16384);
	close(fd);
}

static void case_181_a_page_beyond_the_log_is_counted_and_nothing_is_written(void **state)
{
	struct vh_dirty *d;
	vh_gpa page;

	(void)state;
	assert_int_equal(vh_dirty_new(64 * PAGE, &d), 0);
	assert_false(vhi_dirty_incomplete(d));
	assert_int_equal(vh_dirty_mark(d, 64 * PAGE, 1), -ERANGE);
	assert_int_equal(vh_dirty_mark(d, UINT64_MAX, 1), -ERANGE);
	assert_int_equal(vh_dirty_mark(d, UINT64_MAX - 5, 100), -ERANGE);
	assert_int_equal(info_of(d).lost, 3);
	assert_int_equal(vh_dirty_take(d, 0, &page, 1), 0);
	/* What is inside of it is marked all the same. */
	assert_int_equal(vh_dirty_mark(d, 63 * PAGE, 1 << 30), -ERANGE);
	assert_int_equal(vh_dirty_take(d, 0, &page, 1), 1);
	assert_int_equal(page, 63 * PAGE);
	assert_int_equal(info_of(d).lost, 4);
	assert_true(vhi_dirty_incomplete(d));
	vh_dirty_free(d);
}

static void case_188_a_log_that_is_truncated_says_so(void **state)
{
	int fd = file_of(4096);
	struct vh_dirty *d;

	(void)state;
	assert_int_equal(vh_mem_guard_install(), 0);
	assert_int_equal(vh_dirty_open(fd, 0, 4096, &d), 0);
	assert_int_equal(vh_dirty_mark(d, 0, 1), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(vh_dirty_mark(d, 0, 1), -EFAULT);
	assert_int_equal(vh_dirty_take(d, 0, (vh_gpa[1]){0}, 1), -EFAULT);
	assert_int_equal(info_of(d).broken, 1);
	assert_true(vhi_dirty_incomplete(d));
	vh_dirty_free(d);
	assert_int_equal(vh_mem_guard_remove(), 0);
	close(fd);
}

static void a_batch_signals_the_fd_that_goes_with_the_log(void **state)
{
	const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct vhi_dirty_cache c = {0};
	struct vh_dirty *plain, *d;
	uint64_t count;

	(void)state;
	assert_int_equal(vh_dirty_new(PAGE * 4096, &plain), 0);
	assert_int_equal(vhi_dirty_with_call(plain, fd, &d), 0);
	vh_dirty_free(plain);
	vhi_dirty_flush(d, &c);
	assert_int_equal(read(fd, &count, 8), -1);
	for (uint64_t i = 0; i < 64; i++)
		vhi_dirty_mark(d, &c, i * PAGE * 64, 1);
	vhi_dirty_flush(d, &c);
	assert_int_equal(read(fd, &count, 8), 8);
	assert_int_equal(count, 1);
	vh_dirty_free(d);
	close(fd);
}

/* Writers count pages up, and mark them; the reader takes, and then reads what must be there. */
#define WRITERS	 8
#define COUNTERS 64u
#define ROUNDS	 20000u

static struct vh_dirty *shared;
static uint64_t counters[WRITERS][COUNTERS];

static void *writer(void *arg)
{
	const uintptr_t me = (uintptr_t)arg;
	struct vhi_dirty_cache c = {0};

	for (uint64_t i = 0; i < ROUNDS; i++) {
		const uint32_t k = (uint32_t)(i * 7 % COUNTERS);

		__atomic_store_n(&counters[me][k], counters[me][k] + 1, __ATOMIC_RELAXED);
		/* Neighbours in the same byte belong to other writers. */
		vhi_dirty_mark(shared, &c, (k * WRITERS + me) * PAGE, 1);
		if (i % 5 == 0)
			vhi_dirty_flush(shared, &c);
	}
	vhi_dirty_flush(shared, &c);
	return NULL;
}

static void sweep(uint64_t seen[WRITERS][COUNTERS])
{
	vh_gpa pages[WRITERS * COUNTERS];
	vh_count n = vh_dirty_take(shared, 0, pages, WRITERS * COUNTERS);

	for (vh_count i = 0; i < n; i++) {
		const uint64_t page = pages[i] / PAGE;

		seen[page % WRITERS][page / WRITERS] = __atomic_load_n(&counters[page % WRITERS][page / WRITERS],
								       __ATOMIC_RELAXED);
	}
}

static void case_182_eight_writers_and_a_reader_lose_no_bit(void **state)
{
	static uint64_t seen[WRITERS][COUNTERS];
	pthread_t threads[WRITERS];

	(void)state;
	assert_int_equal(vh_dirty_new(WRITERS * COUNTERS * PAGE, &shared), 0);
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, writer, (void *)i), 0);
	for (uint32_t i = 0; i < 2000; i++)
		sweep(seen);
	for (uint32_t i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	sweep(seen);
	assert_memory_equal(seen, counters, sizeof(seen));
	vh_dirty_free(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_is_a_bit_and_a_range_is_its_pages),
		cmocka_unit_test(taking_in_pieces_misses_none_and_clears_what_it_tells),
		cmocka_unit_test(case_180_bits_lie_at_the_offset_and_nowhere_else),
		cmocka_unit_test(case_181_a_page_beyond_the_log_is_counted_and_nothing_is_written),
		cmocka_unit_test(case_188_a_log_that_is_truncated_says_so),
		cmocka_unit_test(a_batch_signals_the_fd_that_goes_with_the_log),
		cmocka_unit_test(case_182_eight_writers_and_a_reader_lose_no_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
