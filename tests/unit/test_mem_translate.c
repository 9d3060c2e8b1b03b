/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Translation in every direction against a scan of all regions, for layouts that are kind to the table and not. */
#include "test_mem.h"

enum { FILE_SIZE = 1 << 20 };

static uint64_t rng_state;

/* xorshift64*: the same everywhere, so that a seed that failed can be tried again. */
static uint64_t rnd(uint64_t below)
{
	rng_state ^= rng_state >> 12;
	rng_state ^= rng_state << 25;
	rng_state ^= rng_state >> 27;
	return (rng_state * UINT64_C(2685821657736338717)) % below;
}

struct layout {
	uint32_t n;
	struct vh_region r[VH_MEM_MAX_REGIONS];
};

/* Next to each other or apart, each after the other; lengths and gaps up to a power of two. Unaligned if asked. */
static void layout_random(struct layout *l, uint32_t n, uint64_t first, unsigned len_bits, unsigned gap_bits,
			  bool touch)
{
	uint64_t gpa = first, uva = GIB;

	l->n = n;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t len = 1 + rnd(UINT64_C(1) << len_bits);
		uint64_t gap = touch && rnd(4) ? 0 : rnd(UINT64_C(1) << gap_bits);

		if (len > FILE_SIZE / 2)
			len = FILE_SIZE / 2;
		gpa += gap;
		l->r[i] = region(gpa, uva + rnd(100), len, rnd(FILE_SIZE / 4));
		l->r[i].offset = (l->r[i].offset & ~UINT64_C(15)) | (gpa & 15);
		uva = l->r[i].uva + len;
		gpa += len;
	}
	/* In any order on the wire; user addresses in another order than guest addresses. */
	for (uint32_t i = n - 1; i; i--) {
		uint32_t k = (uint32_t)rnd(i + 1);
		struct vh_region t = l->r[i];

		l->r[i] = l->r[k];
		l->r[k] = t;
	}
	for (uint32_t i = 0; i < n; i++)
		if (rnd(2))
			l->r[i].uva = (UINT64_C(1) << 62) - l->r[i].uva - l->r[i].len;
}

static const struct vh_region *model_find(const struct vh_region *r, uint32_t n, uint64_t gpa)
{
	for (uint32_t i = 0; i < n; i++)
		if (gpa >= r[i].gpa && gpa - r[i].gpa < r[i].len)
			return &r[i];
	return NULL;
}

static int model_translate(const struct vh_region *r, uint32_t n, uint64_t gpa, uint64_t len, struct vh_seg *segs)
{
	int count = 0;

	while (len) {
		const struct vh_region *at = model_find(r, n, gpa);
		uint64_t take;

		if (!at)
			return -EFAULT;
		take = VHI_MIN(len, at->gpa + at->len - gpa);
		segs[count++] = (struct vh_seg){at->host + (gpa - at->gpa), take};
		gpa += take;
		len -= take;
	}
	return count;
}

static void check_range(const struct vh_snapshot *s, const struct vh_region *r, uint64_t gpa, uint64_t len)
{
	static struct vh_seg want[VH_MEM_MAX_REGIONS], got[VH_MEM_MAX_REGIONS];
	const struct vhi_gpa addr = {gpa};
	int n = model_translate(r, s->n, gpa, len, want);
	const struct vhi_region *found = vhi_find(s, addr);
	const struct vh_region *at = model_find(r, s->n, gpa);
	const struct vhi_span *near = s->spans;
	uint64_t host, fast = vhi_translate_fast(s, &near, gpa, len, &host) ? host : 0;
	void VHI_SHM *one = vhi_translate_one(s, addr, len);
	struct vhi_gpa back = {~gpa};
	struct vhi_uva uva = {0};

	assert_int_equal(vhi_translate(s, addr, len, VH_MEM_READ, got, VH_MEM_MAX_REGIONS), n);
	assert_int_equal(vhi_translate(s, addr, len, VH_MEM_READ, NULL, VH_MEM_MAX_REGIONS), n);
	if (n > 0) {
		assert_memory_equal(got, want, (size_t)n * sizeof(*got));
		assert_int_equal(vhi_translate(s, addr, len, VH_MEM_READ, got, (uint32_t)n - 1), -ENOSPC);
	}
	assert_int_equal(found != NULL, at != NULL);
	if (found)
		assert_int_equal(found->gpa.v, at->gpa);
	if (fast)
		assert_true(n == 1 && fast == want[0].addr);
	assert_int_equal((uintptr_t)one, n == 1 ? want[0].addr : 0);
	assert_int_equal(vhi_gpa_to_uva(s, addr, len, &uva), n == 1);
	if (n != 1)
		return;
	assert_int_equal(uva.v, at->uva + (gpa - at->gpa));
	assert_true(vhi_uva_to_gpa(s, uva, len, &back));
	assert_int_equal(back.v, gpa);
	back.v = ~gpa;
	assert_true(vhi_host_to_gpa(s, (void *)(uintptr_t)want[0].addr, len, &back));
	assert_int_equal(back.v, gpa);
}

/* Around every border, and anywhere. */
static void check_layout(const struct layout *l, int fd)
{
	static struct vh_region r[VH_MEM_MAX_REGIONS];
	int fds[VH_MEM_MAX_REGIONS];
	struct vh_mem *mem = mem_new();
	struct vh_snapshot *s;

	for (uint32_t i = 0; i < l->n; i++)
		fds[i] = fd;
	assert_int_equal(vhi_mem_replace(mem, l->r, fds, l->n), 0);
	assert_int_equal(vh_mem_regions(mem, r, VH_MEM_MAX_REGIONS), l->n);
	s = vhi_mem_snapshot(mem);
	assert_true((s->span - 1) >> s->shift < VHI_MAX_GRANULES);
	for (uint32_t i = 0; i < l->n; i++) {
		if (i)
			assert_true(r[i - 1].gpa < r[i].gpa);
		check_range(s, r, r[i].gpa, r[i].len);
		check_range(s, r, r[i].gpa, r[i].len + 1);
		check_range(s, r, r[i].gpa - 1, 1 + rnd(3));
		check_range(s, r, r[i].gpa + r[i].len - 1, 1);
		check_range(s, r, r[i].gpa + r[i].len - 1, 2);
		check_range(s, r, r[i].gpa + r[i].len, 1);
		check_range(s, r, r[i].gpa + rnd(r[i].len), 1 + rnd(4 * r[i].len));
		check_range(s, r, r[i].gpa + rnd(r[i].len), UINT64_MAX - rnd(r[i].len));
		check_range(s, r, rnd(UINT64_MAX), 1 + rnd(1 << 20));
	}
	check_range(s, r, 0, UINT64_MAX);
	check_range(s, r, UINT64_MAX, 1);
	vhi_snapshot_put(s);
	vh_mem_free(mem);
}

static void random_layouts_agree_with_a_scan(void **state)
{
	static const struct {
		uint32_t n;
		uint64_t first;
		unsigned len_bits, gap_bits;
		bool touch;
	} kinds[] = {
		{509, 0, 16, 20, true},		      /* tight, unaligned: 0x3b10 bytes here and there */
		{509, 0x3b10, 4, 1, true},	      /* a few bytes each */
		{509, 0, 19, 54, false},	      /* all over the address space */
		{509, UINT64_MAX - GIB, 18, 8, true}, /* up at the end of it */
		{64, 0, 12, 12, true},
		{8, 0, 19, 33, false},
		{2, 4096, 19, 40, false},
		{1, 0, 19, 40, false},
		{1, UINT64_MAX - 2 * MIB, 19, 4, false},
	};
	const char *env = getenv("VH_TEST_SEED");
	int fd = file_new(FILE_SIZE);
	static struct layout l;

	(void)state;
	rng_state = env ? strtoull(env, NULL, 0) : vhi_now_ns();
	print_message("VH_TEST_SEED=%llu\n", (unsigned long long)rng_state);
	for (int round = 0; round < 3; round++)
		for (size_t k = 0; k < VHI_ARRAY_SIZE(kinds); k++) {
			layout_random(&l, kinds[k].n, kinds[k].first, kinds[k].len_bits, kinds[k].gap_bits,
				      kinds[k].touch);
			check_layout(&l, fd);
		}
	fd_close(fd);
}

/*
 * Many regions in what can only be one granule, the first or the last, since another is at the far end: searched, and
 * still right.
 */
static void regions_that_share_a_granule_are_told_apart(void **state)
{
	int fd = file_new(FILE_SIZE);
	static struct layout l;

	(void)state;
	rng_state = 88172645463325252u;
	l.n = VH_MEM_MAX_REGIONS;
	for (uint32_t i = 0; i < l.n; i++)
		l.r[i] = region(i * 4096, GIB + i * 4096, 4096 - 16 * (i % 3), i * 16 / 4096 * 4096);
	l.r[l.n - 1].gpa = UINT64_MAX - 65535;
	check_layout(&l, fd);
	for (uint32_t i = 0; i < l.n; i++)
		l.r[i].gpa = i ? UINT64_MAX - 65535 - (uint64_t)i * 4096 : 0;
	check_layout(&l, fd);
	fd_close(fd);
}

/* What machines look like: the fast path answers all of it, with a table of a few bytes. */
static void usual_layouts_never_leave_the_fast_path(void **state)
{
	const struct vh_region qemu[] = {region(0, 8 * GIB, 0xa0000, 0), region(0xc0000, 9 * GIB, 0x40000, 0xc0000),
					 region(0x100000, 10 * GIB, 3 * GIB - MIB, MIB),
					 region(4 * GIB, 14 * GIB, 2 * GIB, 3 * GIB)};
	const struct vh_region two[] = {region(0, 8 * GIB, 3 * GIB, 0), region(4 * GIB, 11 * GIB, 2 * GIB, 3 * GIB)};
	const struct {
		const struct vh_region *r;
		uint32_t n;
		uint64_t granules;
	} kinds[] = {{qemu, 1, 1}, {two, 2, 2}, {qemu, 4, 32768}};
	int fd = file_new(6 * GIB), fds[4] = {fd, fd, fd, fd};
	struct vh_mem *mem = mem_new();

	(void)state;
	for (size_t k = 0; k < VHI_ARRAY_SIZE(kinds); k++) {
		struct vh_snapshot *s;

		assert_int_equal(vhi_mem_replace(mem, kinds[k].r, fds, kinds[k].n), 0);
		s = vhi_mem_snapshot(mem);
		assert_true(((s->span - 1) >> s->shift) + 1 <= kinds[k].granules);
		for (uint32_t i = 0; i < kinds[k].n; i++) {
			const struct vh_region *r = &kinds[k].r[i];
			const struct vhi_span *near = s->spans;
			uint64_t last = r->len - 1, host;

			assert_true(vhi_translate_fast(s, &near, r->gpa, r->len, &host));
			assert_int_equal(host, s->spans[i].host);
			assert_true(vhi_translate_fast(s, &near, r->gpa + last, 1, &host));
			assert_int_equal(host, s->spans[i].host + last);
			assert_false(vhi_translate_fast(s, &near, r->gpa + last, 2, &host));
			assert_false(vhi_translate_fast(s, &near, r->gpa, 0, &host));
		}
		vhi_snapshot_put(s);
	}
	fd_close(fd);
	vh_mem_free(mem);
}

static void a_range_over_three_regions_gives_three_segments_in_order(void **state)
{
	struct vh_mem *mem = mem_new();
	struct vh_region r[3];
	struct vh_seg segs[3];

	(void)state;
	assert_int_equal(vh_mem_alloc(mem, 0x2000, 0x1000, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, 0x1000, 0x1000, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, 0x3000, 0x1000, 0), 0);
	assert_int_equal(vh_mem_regions(mem, r, 3), 3);
	assert_int_equal(vht_translate(mem, 0x1ff0, 0x1020, segs, 3), 3);
	assert_int_equal(segs[0].addr, r[0].host + 0xff0);
	assert_int_equal(segs[0].len, 0x10);
	assert_int_equal(segs[1].addr, r[1].host);
	assert_int_equal(segs[1].len, 0x1000);
	assert_int_equal(segs[2].addr, r[2].host);
	assert_int_equal(segs[2].len, 0x10);
	assert_int_equal(vht_translate(mem, 0x1ff0, 0x1020, segs, 2), -ENOSPC);
	assert_int_equal(vht_translate(mem, 0x1000, 0x3000, segs, 3), 3);
	assert_int_equal(vht_translate(mem, 0x1000, 0x3001, segs, 3), -EFAULT);
	assert_int_equal(vht_translate(mem, 0xfff, 2, segs, 3), -EFAULT);
	assert_int_equal(vht_translate(mem, 0x3fff, UINT64_MAX, segs, 3), -EFAULT);
	vh_mem_free(mem);
}

static void reverse_translation_stays_in_one_region(void **state)
{
	struct vh_mem *mem = mem_new();
	int fd = file_new(8192);
	struct vhi_gpa gpa = {1};
	struct vh_snapshot *s;
	uint8_t *host;

	(void)state;
	add(mem, fd, 0x10000, 0x5000, 4096, 0);
	add(mem, fd, 0x11000, 0x6000, 4096, 0); /* the same bytes again: each mapping is its own */
	s = vhi_mem_snapshot(mem);
	host = host_of(s, 0x11000);
	assert_true(vhi_host_to_gpa(s, host, 4096, &gpa));
	assert_int_equal(gpa.v, 0x11000);
	assert_true(vhi_host_to_gpa(s, host_of(s, 0x10000), 1, &gpa));
	assert_int_equal(gpa.v, 0x10000);
	assert_false(vhi_host_to_gpa(s, host, 4097, &gpa));
	assert_false(vhi_host_to_gpa(s, &gpa, 1, &gpa));
	assert_false(vhi_uva_to_gpa(s, (struct vhi_uva){0x4fff}, 1, &gpa));
	assert_false(vhi_uva_to_gpa(s, (struct vhi_uva){0x5fff}, 2, &gpa));
	assert_false(vhi_uva_to_gpa(s, (struct vhi_uva){0x7000}, 1, &gpa));
	assert_int_equal(gpa.v, 0x10000);
	vhi_snapshot_put(s);
	fd_close(fd);
	vh_mem_free(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_layouts_agree_with_a_scan),
		cmocka_unit_test(regions_that_share_a_granule_are_told_apart),
		cmocka_unit_test(usual_layouts_never_leave_the_fast_path),
		cmocka_unit_test(a_range_over_three_regions_gives_three_segments_in_order),
		cmocka_unit_test(reverse_translation_stays_in_one_region),
	};

	many_fds();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
