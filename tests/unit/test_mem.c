/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The life of a guest memory: regions come and go, snapshots stay, nothing is left behind. */
#include "test_mem.h"
#include "vht_count.h"

#include <pthread.h>

static void a_new_memory_is_empty(void **state)
{
	struct vh_mem *mem = mem_new();
	struct vh_snapshot *s = NULL;
	struct vh_seg seg;

	(void)state;
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 0);
	assert_int_equal(vht_translate(mem, 0, 1, &seg, 1), -EFAULT);
	assert_int_equal(vh_mem_dup_snapshot(mem, &s), 0);
	assert_int_equal(vh_snapshot_number(s), 1);
	vh_mem_free(mem);
	vh_snapshot_free(s);
	vh_snapshot_free(NULL);
	vh_mem_free(NULL);
	assert_int_equal(vh_snapshot_number(NULL), 0);
}

static void arguments_are_checked_and_out_parameters_left_alone(void **state)
{
	struct vh_mem *mem = mem_new(), *none = (struct vh_mem *)(uintptr_t)1;
	struct vh_mem_opts bad[] = {
		{.size = 4},
		{.size = sizeof(struct vh_mem_opts), .flags = 1},
		{.size = sizeof(struct vh_mem_opts), .max_regions = VH_MEM_MAX_REGIONS + 1},
		{.size = sizeof(struct vh_mem_opts), .require_seal = 2},
	};
	struct vh_region r = region(0, 0, 4096, 0), out[1];
	struct vh_seg seg = {1, 2};
	struct vh_snapshot *s = NULL;
	int32_t fd = 77;

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++)
		assert_int_equal(vh_mem_new(&bad[i], &none), -EINVAL);
	assert_ptr_equal(none, (void *)(uintptr_t)1);
	assert_int_equal(vh_mem_new(NULL, NULL), -EINVAL);
	assert_int_equal(vh_mem_alloc(NULL, 0, 4096, 0), -EINVAL);
	assert_int_equal(vh_mem_alloc(mem, 0, 0, 0), -EINVAL);
	assert_int_equal(vh_mem_alloc(mem, 0, 4096, 2), -EINVAL);
	assert_int_equal(vh_mem_add_fd(NULL, 0, &r), -EINVAL);
	assert_int_equal(vh_mem_add_fd(mem, -1, &r), -EINVAL);
	assert_int_equal(vh_mem_add_fd(mem, 0, NULL), -EINVAL);
	assert_int_equal(vh_mem_remove(NULL, &r), -EINVAL);
	assert_int_equal(vh_mem_remove(mem, NULL), -EINVAL);
	assert_int_equal(vh_mem_regions(NULL, out, 1), -EINVAL);
	assert_int_equal(vh_mem_regions(mem, NULL, 1), -EINVAL);
	assert_int_equal(vh_mem_dup_fd(NULL, 0, &fd), -EINVAL);
	assert_int_equal(vh_mem_dup_fd(mem, 0, NULL), -EINVAL);
	assert_int_equal(vh_mem_dup_fd(mem, 0, &fd), -ENOENT);
	assert_int_equal(fd, 77);
	assert_int_equal(vh_mem_dup_snapshot(NULL, &s), -EINVAL);
	assert_int_equal(vh_mem_dup_snapshot(mem, NULL), -EINVAL);
	assert_int_equal(vh_mem_alloc(mem, 0, 4096, 0), 0);
	assert_int_equal(vh_mem_dup_snapshot(mem, &s), 0);
	assert_int_equal(vh_snapshot_regions(NULL, out, 1), -EINVAL);
	assert_int_equal(vh_snapshot_regions(s, NULL, 1), -EINVAL);
	assert_int_equal(vh_snapshot_translate(NULL, 0, 1, 1, &seg, 1), -EINVAL);
	assert_int_equal(vh_snapshot_translate(s, 0, 1, 1, NULL, 1), -EINVAL);
	assert_int_equal(vh_snapshot_translate(s, 0, 0, 1, &seg, 1), -EINVAL);
	assert_int_equal(vh_snapshot_translate(s, 0, 1, 0, &seg, 1), -EINVAL);
	assert_int_equal(vh_snapshot_translate(s, 0, 1, 4, &seg, 1), -EINVAL);
	assert_int_equal(vh_snapshot_translate(s, 0, 1, 1, &seg, 0), -ENOSPC);
	assert_int_equal(vh_snapshot_translate(s, 0, 4097, 1, &seg, 1), -EFAULT);
	vh_snapshot_free(s);
	assert_int_equal(seg.addr, 1);
	assert_int_equal(seg.len, 2);
	vh_mem_free(mem);
}

static void what_a_region_does_not_use_yet_must_be_zero(void **state)
{
	struct vh_mem *mem = mem_new();
	struct vh_region r = region(0, 0, 4096, 0);
	int fd = file_new(4096);

	(void)state;
	r.flags = 8;
	assert_int_equal(vh_mem_add_fd(mem, fd, &r), -EINVAL);
	r.flags = 0;
	assert_int_equal(vh_mem_add_fd(mem, fd, &r), 0);
	r.flags = UINT32_C(1) << 31;
	assert_int_equal(vh_mem_remove(mem, &r), -EINVAL);
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 1);
	fd_close(fd);
	vh_mem_free(mem);
}

static void a_region_can_be_passed_on_as_it_was_described(void **state)
{
	struct vh_mem *mem = mem_new(), *other = mem_new();
	struct vh_region r, again;
	int32_t fd;

	(void)state;
	assert_int_equal(vh_mem_alloc(mem, MIB, 4096, 0), 0);
	assert_int_equal(vh_mem_regions(mem, &r, 1), 1);
	assert_true(r.flags && r.number && r.host && r.page_size);
	assert_int_equal(vh_mem_dup_fd(mem, 0, &fd), 0);
	assert_int_equal(vh_mem_add_fd(other, fd, &r), 0);
	assert_int_equal(vh_mem_regions(other, &again, 1), 1);
	assert_int_equal(again.gpa, r.gpa);
	assert_int_equal(again.flags, r.flags);
	assert_int_equal(vh_mem_remove(other, &again), 0);
	fd_close(fd);
	vh_mem_free(other);
	vh_mem_free(mem);
}

static void what_a_snapshot_translates_is_good_as_long_as_it(void **state)
{
	struct vh_mem *mem = mem_new();
	struct vh_region r[2];
	struct vh_snapshot *s;
	struct vh_seg segs[2];

	(void)state;
	assert_int_equal(vh_mem_alloc(mem, 0, 4096, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, 4096, 4096, 0), 0);
	assert_int_equal(vh_mem_dup_snapshot(mem, &s), 0);
	vh_mem_free(mem);
	assert_int_equal(vh_snapshot_regions(s, NULL, 0), 2);
	r[1].gpa = 77;
	assert_int_equal(vh_snapshot_regions(s, r, 1), 2);
	assert_int_equal(r[1].gpa, 77);
	assert_int_equal(vh_snapshot_regions(s, r, 2), 2);
	assert_int_equal(r[1].number, vh_snapshot_number(s));
	assert_int_equal(vh_snapshot_translate(s, 4095, 2, VH_MEM_WRITE, segs, 2), 2);
	assert_int_equal(segs[0].addr, r[0].host + 4095);
	assert_int_equal(segs[1].addr, r[1].host);
	*(volatile uint8_t *)(uintptr_t)segs[1].addr = 1;
	vh_snapshot_free(s);
}

static void an_allocated_region_is_zero_sealed_and_named_by_a_token(void **state)
{
	struct vh_mem *mem = mem_new();
	struct vh_region r[2];
	struct vh_seg seg;
	struct stat st;
	int32_t fd = -1;

	(void)state;
	assert_int_equal(vh_mem_alloc(mem, 4 * GIB + 0x3b10, 3 * MIB + 1, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, 0, MIB, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, MIB - 1, 2, 0), -EEXIST);
	assert_int_equal(last_site(), VHI_SITE_MEM_GPA_OVERLAP);
	assert_int_equal(vh_mem_regions(mem, r, 2), 2);
	assert_int_equal(r[0].gpa, 0);
	assert_int_equal(r[1].gpa, 4 * GIB + 0x3b10);
	assert_int_equal(r[1].len, 3 * MIB + 1);
	assert_int_equal(r[1].flags, VH_REGION_SEALED);
	assert_int_equal(r[1].page_size, page_size());
	assert_int_equal(r[1].number, r[0].number);
	assert_int_not_equal(r[1].uva, r[1].host);
	assert_int_equal((r[1].uva ^ r[1].gpa) & (2 * MIB - 1), 0);
	assert_int_equal((r[1].host ^ r[1].gpa) & 15, 0);
	assert_true(r[0].uva + r[0].len <= r[1].uva || r[1].uva + r[1].len <= r[0].uva);
	assert_int_equal(vht_translate(mem, r[1].gpa + 3 * MIB, 1, &seg, 1), 1);
	assert_int_equal(seg.addr, r[1].host + 3 * MIB);
	assert_int_equal(*(uint8_t *)(uintptr_t)seg.addr, 0);
	*(uint8_t *)(uintptr_t)seg.addr = 0x5a;

	/* The file can be shared: same bytes, and nobody can shorten it. */
	assert_int_equal(vh_mem_dup_fd(mem, 1, &fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true((uint64_t)st.st_size >= r[1].offset + r[1].len);
	uint8_t byte = 0;
	assert_int_equal(pread(fd, &byte, 1, (off_t)(r[1].offset + 3 * MIB)), 1);
	assert_int_equal(byte, 0x5a);
	fd_close(fd);
	vh_mem_free(mem);
}

static void tokens_find_a_gap_between_user_addresses_that_are_taken(void **state)
{
	struct vh_mem *mem = mem_new();
	struct vh_region r[8];
	int fd = file_new(64 * MIB);

	(void)state;
	add(mem, fd, 0, 4 * GIB + 4096, 4096, 0);
	add(mem, fd, 4096, 4 * GIB + 4 * MIB, 60 * MIB, 0);
	add(mem, fd, 64 * MIB, UINT64_MAX - 4096, 4096, 0);
	assert_int_equal(vh_mem_alloc(mem, 1 * GIB, 4 * MIB, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, 2 * GIB, 2 * MIB, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, 3 * GIB, 2 * MIB, 0), 0);
	assert_int_equal(vh_mem_regions(mem, r, 8), 6);
	assert_int_equal(r[3].uva, 4 * GIB + 64 * MIB); /* too large for the gap */
	assert_int_equal(r[4].uva, 4 * GIB + 2 * MIB);	/* just fits */
	assert_int_equal(r[5].uva, 4 * GIB + 68 * MIB);
	fd_close(fd);
	vh_mem_free(mem);
}

static void a_token_that_fits_nowhere_is_refused(void **state)
{
	struct vh_mem *mem = mem_new();
	int fd = file_new(4 * MIB);

	(void)state;
	add(mem, fd, 0, UINT64_C(1) << 61, MIB, 0);
	add(mem, fd, MIB, UINT64_C(1) << 63, MIB, 0);
	add(mem, fd, 2 * MIB, UINT64_MAX - (UINT64_C(1) << 61), MIB, 0);
	assert_int_equal(vh_mem_alloc(mem, 4 * MIB, UINT64_C(7) << 60, 0), -ENOSPC);
	assert_int_equal(vh_mem_alloc(mem, 4 * MIB, UINT64_MAX - 8 * MIB, 0), -EOVERFLOW);
	assert_int_equal(last_site(), VHI_SITE_MEM_FILE_WRAP);
	/* A token, and even a sparse file, but no process has the address space. */
	assert_int_equal(vh_mem_alloc(mem, 4 * MIB, UINT64_C(1) << 60, 0), -ENOMEM);
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 3);
	fd_close(fd);
	vh_mem_free(mem);
}

static void huge_pages_are_used_or_refused(void **state)
{
	struct vh_mem *mem = mem_new();
	struct vh_region r;
	vh_rc rc = vh_mem_alloc(mem, 0, 1, VH_REGION_HUGE);

	(void)state;
	if (rc == -ENOMEM || rc == -ENOSYS || rc == -EINVAL) {
		vh_mem_free(mem);
		print_message("no huge pages on this machine (vm.nr_hugepages is 0)\n");
		skip();
	}
	assert_int_equal(rc, 0);
	assert_int_equal(vh_mem_regions(mem, &r, 1), 1);
	assert_true(r.page_size > page_size());
	assert_int_equal(r.flags, VH_REGION_SEALED | VH_REGION_HUGE);
	*(volatile uint8_t *)(uintptr_t)r.host = 1;
	vh_mem_free(mem);
}

static void a_removed_region_lives_as_long_as_a_snapshot(void **state)
{
	const unsigned fds = count_fds(), maps = count_maps();
	struct vh_mem *mem = mem_new();
	struct vh_region r, wrong;
	struct vh_snapshot *s;
	uint8_t *p;

	(void)state;
	assert_int_equal(vh_mem_alloc(mem, 0, MIB, 0), 0);
	assert_int_equal(vh_mem_regions(mem, &r, 1), 1);
	s = vhi_mem_snapshot(mem);
	p = host_of(s, 5);
	*p = 9;
	wrong = r;
	wrong.gpa++;
	assert_int_equal(vh_mem_remove(mem, &wrong), -ENOENT);
	assert_int_equal(last_site(), VHI_SITE_MEM_UNKNOWN);
	wrong = r;
	wrong.uva++;
	assert_int_equal(vh_mem_remove(mem, &wrong), -ENOENT);
	wrong = r;
	wrong.len--;
	assert_int_equal(vh_mem_remove(mem, &wrong), -ENOENT);
	assert_int_equal(vh_mem_remove(mem, &r), 0);
	assert_int_equal(vh_mem_remove(mem, &r), -ENOENT);
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 0);
	assert_int_equal(*p, 9);
	vh_mem_free(mem);
	assert_int_equal(*p, 9);
	assert_int_equal(count_maps(), maps + 1);
	vhi_snapshot_put(s);
	assert_int_equal(count_maps(), maps);
	assert_int_equal(count_fds(), fds);
}

static void every_change_has_a_number_of_its_own(void **state)
{
	struct vh_mem *mem = mem_new();
	struct vh_snapshot *a, *b, *next;
	struct vh_region r = region(0, 0, 4096, 0);
	int fd = file_new(4096);

	(void)state;
	a = vhi_mem_snapshot(mem);
	assert_int_equal(vhi_mem_prepare_add(mem, &r, fd, &next), 0);
	vhi_snapshot_put(next); /* never in force */
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 0);
	assert_int_equal(vhi_mem_prepare_add(mem, &r, fd, &next), 0);
	vhi_mem_commit(mem, next);
	b = vhi_mem_snapshot(mem);
	assert_int_equal(a->number, 1);
	assert_int_equal(b->number, 3);
	assert_int_equal(a->n, 0);
	assert_int_equal(b->n, 1);
	assert_int_equal(vhi_mem_prepare_remove(mem, &r, &next), 0);
	assert_int_equal(next->n, 0);
	vhi_mem_commit(mem, next);
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 0);
	vhi_snapshot_put(a);
	vhi_snapshot_put(b);
	fd_close(fd);
	vh_mem_free(mem);
}

static void clear_forgets_everything(void **state)
{
	const unsigned fds = count_fds(), maps = count_maps();
	struct vh_mem *mem = mem_new();

	(void)state;
	assert_int_equal(vh_mem_alloc(mem, 0, MIB, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, MIB, MIB, 0), 0);
	vhi_mem_clear(mem);
	vhi_mem_clear(mem);
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 0);
	assert_int_equal(count_maps(), maps);
	assert_int_equal(vh_mem_alloc(mem, 0, MIB, 0), 0);
	vh_mem_free(mem);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_maps(), maps);
}

static void the_same_table_sent_ten_thousand_times_leaks_nothing(void **state)
{
	const unsigned fds = count_fds(), maps = count_maps();
	struct vh_mem *mem = mem_new();
	int fd = file_new(MIB), same[4] = {fd, fd, fd, fd};
	struct vh_region table[4] = {region(0, GIB, 65536, 0), region(65536, 2 * GIB, 65536, 65536),
				     region(GIB, 3 * GIB, 65536, 131072), region(2 * GIB, 4 * GIB, 65536, 0)};

	(void)state;
	for (uint32_t i = 0; i < vht_count(10000); i++)
		assert_int_equal(vhi_mem_replace(mem, table, same, 4), 0);
	assert_int_equal(count_fds(), fds + 5);
	assert_int_equal(count_maps(), maps + 4);
	vh_mem_free(mem);
	fd_close(fd);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_maps(), maps);
}

/* Every way in which a table can turn out to be impossible at its third region, with two that are fine before it. */
static void a_table_that_fails_at_region_k_leaves_the_old_one(void **state)
{
	struct vh_mem *mem = mem_new();
	int fd = file_new(MIB), small = file_new(4096), event = vhi_eventfd();
	struct vh_region ok[3] = {region(0, GIB, 65536, 0), region(65536, 2 * GIB, 65536, 65536),
				  region(GIB, 3 * GIB, 8192, 0)};
	const struct {
		int fd, rc;
		struct vh_region r;
	} cases[] = {
		{fd, -EINVAL, region(GIB, 3 * GIB, 0, 0)},
		{fd, -EEXIST, region(65535, 3 * GIB, 8192, 15)},
		{fd, -EEXIST, region(GIB, 2 * GIB, 8192, 0)},
		{9999, -EBADF, ok[2]},
		{small, -ENODATA, ok[2]},
		{event, -ENODEV, ok[2]},
	};
	struct vh_region now[3];
	unsigned fds, maps;
	uint32_t number;

	(void)state;
	assert_int_equal(vhi_mem_replace(mem, ok, (int[]){fd, fd, fd}, 3), 0);
	assert_int_equal(vh_mem_regions(mem, now, 3), 3);
	number = now[0].number;
	fds = count_fds();
	maps = count_maps();
	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		struct vh_region table[3] = {ok[0], ok[1], cases[i].r};

		assert_int_equal(vhi_mem_replace(mem, table, (int[]){fd, fd, cases[i].fd}, 3), cases[i].rc);
		assert_int_equal(vh_mem_regions(mem, now, 3), 3);
		assert_int_equal(now[0].number, number);
		assert_int_equal(count_fds(), fds);
		assert_int_equal(count_maps(), maps);
	}
	assert_int_equal(vhi_mem_replace(mem, NULL, NULL, 0), 0);
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 0);
	fd_close(fd);
	fd_close(small);
	fd_close(event);
	vh_mem_free(mem);
}

static void a_table_that_needs_more_descriptors_than_there_are_is_unwound(void **state)
{
	struct vh_mem *mem = mem_new();
	int fd = file_new(MIB), same[8];
	struct vh_region table[8];
	struct rlimit old, low;
	unsigned fds, maps;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		same[i] = fd;
		table[i] = region(i * 65536, GIB + i * 65536, 65536, i * 65536);
	}
	assert_int_equal(vhi_mem_replace(mem, table, same, 3), 0);
	fds = count_fds();
	maps = count_maps();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)fd + 6;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(vhi_mem_replace(mem, table, same, 8), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 3);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_maps(), maps);
	fd_close(fd);
	vh_mem_free(mem);
}

static void slots_are_limited(void **state)
{
	struct vh_mem_opts opts = {.size = sizeof(opts), .max_regions = 2};
	struct vh_region table[VH_MEM_MAX_REGIONS + 1];
	int fd = file_new(4096), same[VH_MEM_MAX_REGIONS + 1];
	struct vh_mem *mem;

	(void)state;
	assert_int_equal(vh_mem_new(&opts, &mem), 0);
	assert_int_equal(vh_mem_alloc(mem, 0, 4096, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, 4096, 4096, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, 8192, 4096, 0), -ENOSPC);
	assert_int_equal(last_site(), VHI_SITE_MEM_SLOTS);
	assert_int_equal(vh_mem_regions(mem, NULL, 0), 2);
	vh_mem_free(mem);

	mem = mem_new();
	for (unsigned i = 0; i <= VH_MEM_MAX_REGIONS; i++) {
		table[i] = region(i * GIB, i * GIB, 4096, 0);
		same[i] = fd;
	}
	assert_int_equal(vhi_mem_replace(mem, table, same, VH_MEM_MAX_REGIONS + 1), -ENOSPC);
	assert_int_equal(vhi_mem_replace(mem, table, same, VH_MEM_MAX_REGIONS), 0);
	assert_int_equal(vh_mem_regions(mem, table, 1), VH_MEM_MAX_REGIONS);
	fd_close(fd);
	vh_mem_free(mem);
}

/* Adding and removing at random agrees with a set of bits. */
static void random_changes_agree_with_a_model(void **state)
{
	enum { SLOTS = 64, PLACES = 80 };
	struct vh_mem_opts opts = {.size = sizeof(opts), .max_regions = SLOTS};
	const unsigned fds = count_fds(), maps = count_maps();
	bool there[PLACES] = {false};
	int fd = file_new(PLACES * 4096), n = 0;
	unsigned seed = (unsigned)time(NULL);
	struct vh_mem *mem;

	(void)state;
	print_message("seed %u\n", seed);
	assert_int_equal(vh_mem_new(&opts, &mem), 0);
	for (uint32_t i = 0; i < vht_count(20000); i++) {
		unsigned at = (unsigned)rand_r(&seed) % PLACES;
		struct vh_region r = region(at * 8192, GIB - at * 4096, 4096, at * 4096);
		struct vh_seg seg;

		if (rand_r(&seed) % 5 < 3) {
			int want = n == SLOTS ? -ENOSPC : there[at] ? -EEXIST : 0;

			assert_int_equal(vh_mem_add_fd(mem, fd, &r), want);
			if (!want) {
				there[at] = true;
				n++;
			}
		} else {
			assert_int_equal(vh_mem_remove(mem, &r), there[at] ? 0 : -ENOENT);
			n -= there[at];
			there[at] = false;
		}
		at = (unsigned)rand_r(&seed) % PLACES;
		assert_int_equal(vht_translate(mem, at * 8192 + 4095, 1, &seg, 1), there[at] ? 1 : -EFAULT);
		assert_int_equal(vh_mem_regions(mem, NULL, 0), n);
	}
	vh_mem_free(mem);
	fd_close(fd);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_maps(), maps);
}

struct reader {
	struct vh_mem *mem;
	pthread_t thread;
	uint32_t stop, reads;
};

/* Region 0 never goes away; the others do, and a snapshot keeps them. */
static void *reader_run(void *arg)
{
	struct reader *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		struct vh_snapshot *s = vhi_mem_snapshot(r->mem);
		uint32_t seen = 0;

		for (uint32_t i = 0; i < s->n; i++)
			if (__atomic_load_n((uint8_t *)(uintptr_t)s->spans[i].host, __ATOMIC_RELAXED) != 7)
				return "wrong byte";
		if (!s->n || vhi_snapshot_broken(s, &seen))
			return "wrong snapshot";
		vhi_snapshot_put(s);
		__atomic_fetch_add(&r->reads, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void readers_on_other_threads_keep_what_they_read(void **state)
{
	struct vh_mem *mem = mem_new();
	struct reader readers[3] = {{.mem = mem}, {.mem = mem}, {.mem = mem}};
	int fd = file_new(4 * 4096);
	uint32_t reads = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pwrite(fd, "\7", 1, i * 4096), 1);
	add(mem, fd, 0, GIB, 4096, 0);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(readers); i++)
		assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]), 0);
	for (unsigned i = 0; i < 2000 || reads < 2000; i++) {
		struct vh_region r = region((1 + i % 3) * GIB, 9 * GIB, 4096, (1 + i % 3) * 4096);

		assert_int_equal(vh_mem_add_fd(mem, fd, &r), 0);
		assert_int_equal(vh_mem_remove(mem, &r), 0);
		reads = __atomic_load_n(&readers[0].reads, __ATOMIC_RELAXED);
	}
	for (size_t i = 0; i < VHI_ARRAY_SIZE(readers); i++) {
		void *what = "not joined";

		__atomic_store_n(&readers[i].stop, 1, __ATOMIC_RELAXED);
		assert_int_equal(pthread_join(readers[i].thread, &what), 0);
		assert_null(what);
	}
	fd_close(fd);
	vh_mem_free(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_memory_is_empty),
		cmocka_unit_test(arguments_are_checked_and_out_parameters_left_alone),
		cmocka_unit_test(what_a_region_does_not_use_yet_must_be_zero),
		cmocka_unit_test(a_region_can_be_passed_on_as_it_was_described),
		cmocka_unit_test(what_a_snapshot_translates_is_good_as_long_as_it),
		cmocka_unit_test(an_allocated_region_is_zero_sealed_and_named_by_a_token),
		cmocka_unit_test(tokens_find_a_gap_between_user_addresses_that_are_taken),
		cmocka_unit_test(a_token_that_fits_nowhere_is_refused),
		cmocka_unit_test(huge_pages_are_used_or_refused),
		cmocka_unit_test(a_removed_region_lives_as_long_as_a_snapshot),
		cmocka_unit_test(every_change_has_a_number_of_its_own),
		cmocka_unit_test(clear_forgets_everything),
		cmocka_unit_test(the_same_table_sent_ten_thousand_times_leaks_nothing),
		cmocka_unit_test(a_table_that_fails_at_region_k_leaves_the_old_one),
		cmocka_unit_test(a_table_that_needs_more_descriptors_than_there_are_is_unwound),
		cmocka_unit_test(slots_are_limited),
		cmocka_unit_test(random_changes_agree_with_a_model),
		cmocka_unit_test(readers_on_other_threads_keep_what_they_read),
	};

	many_fds();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
