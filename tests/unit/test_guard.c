/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The SIGBUS guard: a file truncated under a mapping breaks a region and nothing else. */
#include "test_guard.h"

#include <pthread.h>
#include <sys/uio.h>

static void a_truncated_file_breaks_its_region_and_the_process_lives(void **state)
{
	struct fixture f, other;

	(void)state;
	fixture_new(&f, 4);
	fixture_new(&other, 1);
	f.host[0] = 1;
	f.host[f.page] = 2;
	assert_int_equal(vh_mem_guard_install(), 0);
	truncate_to(&f, f.page);
	assert_int_equal(f.host[0], 1); /* still there */
	assert_int_equal(flags_of(&f), 0);
	assert_int_equal(f.host[f.page], 0); /* gone */
	f.host[f.page] = 3;
	assert_int_equal(f.host[f.page], 3);
	assert_int_equal(f.host[0], 1);
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	assert_int_equal(flags_of(&f), VH_REGION_BROKEN);
	assert_false(vhi_snapshot_broken(other.s, &other.seen));
	assert_int_equal(other.seen, __atomic_load_n(&vhi_guard_faults, __ATOMIC_RELAXED));
	assert_int_equal(flags_of(&other), 0);
	fixture_free(&f);
	fixture_free(&other);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

static void writing_to_what_is_gone_works_as_reading_does(void **state)
{
	struct fixture f;

	(void)state;
	fixture_new(&f, 2);
	assert_int_equal(vh_mem_guard_install(), 0);
	truncate_to(&f, 0);
	memset((void *)(uintptr_t)f.host, 0x11, f.len);
	assert_int_equal(f.host[f.len - 1], 0x11);
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	fixture_free(&f);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

static void a_file_that_grows_again_does_not_heal_its_region(void **state)
{
	struct fixture f;
	struct vh_region r;

	(void)state;
	fixture_new(&f, 8);
	assert_int_equal(vh_mem_guard_install(), 0);
	truncate_to(&f, 0);
	assert_int_equal(f.host[f.page], 0);
	truncate_to(&f, f.len);
	for (size_t at = 0; at < f.len; at += f.page)
		assert_int_equal(pwrite(f.fd, "\x55", 1, (off_t)at), 1);
	for (size_t at = f.page; at < f.len; at += f.page)
		assert_int_equal(f.host[at], 0); /* none of the new bytes */
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	/* Beside it, a region can be added; the snapshot stays broken. A new table is a new start. */
	assert_int_equal(vh_mem_alloc(f.mem, GIB, 4096, 0), 0);
	assert_int_equal(flags_of(&f), VH_REGION_BROKEN);
	r = region(0, GIB, f.len, 0);
	assert_int_equal(vhi_mem_replace(f.mem, &r, &f.fd, 1), 0);
	assert_int_equal(flags_of(&f), 0);
	vhi_snapshot_put(f.s);
	f.s = vhi_mem_snapshot(f.mem);
	f.seen = 0;
	assert_false(vhi_snapshot_broken(f.s, &f.seen));
	assert_int_equal(*host_of(f.s, f.page), 0x55);
	fixture_free(&f);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

static unsigned count_all_maps(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned n = 0;
	int c;

	assert_non_null(file);
	while ((c = fgetc(file)) != EOF)
		n += c == '\n';
	fclose(file);
	return n;
}

static void faults_can_not_use_up_the_memory_map(void **state)
{
	struct fixture f;
	unsigned before, i;

	(void)state;
	fixture_new(&f, 4096);
	assert_int_equal(vh_mem_guard_install(), 0);
	for (size_t at = 0; at < f.len; at += f.page)
		f.host[at] = 1;
	before = count_all_maps();
	/* From the end, one page less each time: as many faults as can be, each the first beyond the end. */
	for (i = 1; i <= 1000; i++) {
		truncate_to(&f, f.len - 2 * i * f.page);
		assert_int_equal(f.host[f.len - 2 * i * f.page], 0);
		assert_int_equal(f.host[f.len - (2 * i + 1) * f.page], 1);
	}
	assert_true(count_all_maps() < before + 20);
	fixture_free(&f);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

static void a_mapping_is_guarded_though_the_handler_came_later_or_the_registry_grew(void **state)
{
	enum { N = VH_MEM_MAX_REGIONS };
	struct vh_mem *mem = mem_new();
	int fd = file_new(page_size()), fds[N];
	struct vh_region table[N];
	struct vh_snapshot *s;
	uint32_t seen = 0;

	(void)state;
	for (uint32_t i = 0; i < N; i++) {
		table[i] = region(i * GIB, i * GIB, page_size(), 0);
		fds[i] = fd;
	}
	assert_int_equal(vhi_mem_replace(mem, table, fds, N), 0);
	assert_int_equal(vhi_mem_replace(mem, table, fds, N), 0);
	s = vhi_mem_snapshot(mem);
	assert_int_equal(vh_mem_guard_install(), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	for (uint32_t i = 0; i < N; i += 100) {
		assert_int_equal(*(volatile uint8_t *)host_of(s, i * GIB), 0);
		assert_int_equal(s->regions[i]->broken, 1);
		assert_int_equal(s->regions[i + 1]->broken, 0);
	}
	assert_true(vhi_snapshot_broken(s, &seen));
	vhi_snapshot_put(s);
	fd_close(fd);
	vh_mem_free(mem);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

struct racer {
	struct fixture *f;
	pthread_t thread;
	pthread_barrier_t *barrier;
	unsigned first;
};

static void *racer_run(void *arg)
{
	struct racer *r = arg;
	uintptr_t sum = 0;

	pthread_barrier_wait(r->barrier);
	for (size_t i = 0; i < r->f->len; i += r->f->page)
		sum += __atomic_load_n(&r->f->host[(i + r->first * r->f->page) % r->f->len], __ATOMIC_RELAXED);
	return (void *)sum;
}

static void all_threads_that_fault_at_once_go_on(void **state)
{
	struct fixture f;
	pthread_barrier_t barrier;
	struct racer racers[8];

	(void)state;
	fixture_new(&f, 64);
	assert_int_equal(vh_mem_guard_install(), 0);
	truncate_to(&f, 0);
	pthread_barrier_init(&barrier, NULL, VHI_ARRAY_SIZE(racers));
	for (unsigned i = 0; i < VHI_ARRAY_SIZE(racers); i++) {
		racers[i] = (struct racer){.f = &f, .barrier = &barrier, .first = i * 8};
		assert_int_equal(pthread_create(&racers[i].thread, NULL, racer_run, &racers[i]), 0);
	}
	for (unsigned i = 0; i < VHI_ARRAY_SIZE(racers); i++) {
		void *sum = &f;

		assert_int_equal(pthread_join(racers[i].thread, &sum), 0);
		assert_null(sum);
	}
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	pthread_barrier_destroy(&barrier);
	fixture_free(&f);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

/* Regions come and go while the handler walks the registry. */
static void *churn_run(void *arg)
{
	uint32_t *stop = arg;
	struct vh_mem *mem = NULL;
	struct vh_region r = region(0, 0, 4096, 0);
	int fd = memfd_create("vh-test", MFD_CLOEXEC);

	if (vh_mem_new(NULL, &mem) || ftruncate(fd, 4096))
		return "set-up";
	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		if (vh_mem_add_fd(mem, fd, &r) || vh_mem_remove(mem, &r))
			return "change";
	}
	vh_mem_free(mem);
	close(fd);
	return NULL;
}

static void faults_find_their_region_while_others_come_and_go(void **state)
{
	uint32_t stop = 0;
	pthread_t churn[2];

	(void)state;
	assert_int_equal(vh_mem_guard_install(), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&churn[i], NULL, churn_run, &stop), 0);
	for (unsigned i = 0; i < 500; i++) {
		struct fixture f;

		fixture_new(&f, 2);
		truncate_to(&f, 0);
		assert_int_equal(f.host[f.page], 0);
		assert_int_equal(flags_of(&f), VH_REGION_BROKEN);
		fixture_free(&f);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 2; i++) {
		void *what = "not joined";

		assert_int_equal(pthread_join(churn[i], &what), 0);
		assert_null(what);
	}
	assert_int_equal(vh_mem_guard_remove(), 0);
}

static void a_system_call_that_fails_breaks_the_region_too(void **state)
{
	struct fixture f;
	struct iovec iov;
	int other = file_new(4096);

	(void)state;
	fixture_new(&f, 2);
	truncate_to(&f, f.page);
	iov = (struct iovec){.iov_base = (void *)(uintptr_t)(f.host + f.page), .iov_len = 16};
	assert_int_equal(preadv(other, &iov, 1, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_false(vhi_snapshot_broken(f.s, &f.seen));
	vhi_snapshot_mark_broken(f.s, &f); /* of no region: no consequence */
	assert_false(vhi_snapshot_broken(f.s, &f.seen));
	vhi_snapshot_mark_broken(f.s, iov.iov_base);
	assert_true(vhi_snapshot_broken(f.s, &f.seen));
	assert_int_equal(flags_of(&f), VH_REGION_BROKEN);
	fixture_free(&f);
	fd_close(other);
}

static void a_huge_page_that_is_gone_is_replaced_whole(void **state)
{
	int fd = memfd_create("vh-huge", MFD_CLOEXEC | MFD_HUGETLB);
	const unsigned maps = count_maps();
	struct vh_mem *mem = mem_new();
	struct vh_snapshot *s;
	struct vh_region r;
	volatile uint8_t *p;
	struct stat st;
	uint32_t seen = 0;

	(void)state;
	if (fd < 0 || fstat(fd, &st) || ftruncate(fd, 2 * st.st_blksize) ||
	    (r = region(0, 0, 2 * (uint64_t)st.st_blksize, 0), vh_mem_add_fd(mem, fd, &r))) {
		if (fd >= 0)
			fd_close(fd);
		vh_mem_free(mem);
		print_message("no two huge pages on this machine (vm.nr_hugepages)\n");
		skip();
	}
	s = vhi_mem_snapshot(mem);
	p = host_of(s, 0);
	*p = 1;
	assert_int_equal(vh_mem_guard_install(), 0);
	assert_int_equal(ftruncate(fd, st.st_blksize), 0);
	assert_int_equal(p[st.st_blksize + 12345], 0);
	p[2 * st.st_blksize - 1] = 4;
	assert_int_equal(*p, 1);
	assert_true(vhi_snapshot_broken(s, &seen));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(p[1], 0);
	vhi_snapshot_put(s);
	vh_mem_free(mem);
	assert_int_equal(count_maps(), maps);
	fd_close(fd);
	assert_int_equal(vh_mem_guard_remove(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_truncated_file_breaks_its_region_and_the_process_lives),
		cmocka_unit_test(writing_to_what_is_gone_works_as_reading_does),
		cmocka_unit_test(a_file_that_grows_again_does_not_heal_its_region),
		cmocka_unit_test(faults_can_not_use_up_the_memory_map),
		cmocka_unit_test(a_mapping_is_guarded_though_the_handler_came_later_or_the_registry_grew),
		cmocka_unit_test(all_threads_that_fault_at_once_go_on),
		cmocka_unit_test(faults_find_their_region_while_others_come_and_go),
		cmocka_unit_test(a_system_call_that_fails_breaks_the_region_too),
		cmocka_unit_test(a_huge_page_that_is_gone_is_replaced_whole),
	};

	many_fds();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
