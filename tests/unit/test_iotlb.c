/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The IOTLB by itself: against a naive one, its limits, what was missed, memory that changes, readers while it changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>

#include "vhi_iotlb.h"
#include "vhi_mem_sites.h"

#define PAGE	UINT64_C(4096)
#define RW	(VH_MEM_READ | VH_MEM_WRITE)
#define GUEST	UINT64_C(0x40000000)
#define GUEST_2 UINT64_C(0x80000000)
#define LEN	(64 * PAGE)

struct fix {
	struct vh_mem *mem;
	struct vh_iotlb *t;
	uint64_t host, host_2;
};

static struct vh_iotlb *iotlb_of(struct vh_mem *mem, uint32_t flags, uint32_t max)
{
	const struct vh_iotlb_opts o = {.size = sizeof(o), .flags = flags, .max_entries = max};
	struct vh_iotlb *t;

	assert_int_equal(vh_iotlb_new(&o, mem, &t), 0);
	return t;
}

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));
	struct vh_region r[2];

	assert_int_equal(vh_mem_new(NULL, &f->mem), 0);
	assert_int_equal(vh_mem_alloc(f->mem, GUEST, LEN, 0), 0);
	assert_int_equal(vh_mem_alloc(f->mem, GUEST_2, LEN, 0), 0);
	assert_int_equal(vh_mem_regions(f->mem, r, 2), 2);
	f->host = r[0].host;
	f->host_2 = r[1].host;
	f->t = iotlb_of(f->mem, 0, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	vh_iotlb_free(f->t);
	vh_mem_free(f->mem);
	free(f);
	return 0;
}

static vh_rc put(struct vh_iotlb *t, uint64_t iova, uint64_t len, uint64_t addr, uint32_t perm)
{
	const struct vh_iotlb_entry e = {.iova = iova, .len = len, .addr = addr, .perm = perm};

	return vh_iotlb_update(t, &e);
}

static struct vh_iotlb_stats stats_of(struct vh_iotlb *t)
{
	struct vh_iotlb_stats s = {.size = sizeof(s)};

	assert_int_equal(vh_iotlb_get_stats(t, &s), 0);
	return s;
}

static void found_not_allowed_not_known(void **state)
{
	struct fix *f = *state;
	struct vh_error e = {.size = sizeof(e)};
	struct vh_seg segs[4];

	assert_int_equal(put(f->t, 0x1000, PAGE, GUEST + PAGE, VH_MEM_READ), 0);
	assert_int_equal(put(f->t, 0x2000, PAGE, GUEST + 2 * PAGE, RW), 0);
	assert_int_equal(put(f->t, 0x3000, PAGE, GUEST_2, RW), 0);
	/* Two pieces: what differs is what may be done there, not where it is. */
	assert_int_equal(vh_iotlb_translate(f->t, 0x1800, 0x2000, VH_MEM_READ, segs, 4), 2);
	assert_int_equal(segs[0].addr, f->host + PAGE + 0x800);
	assert_int_equal(segs[0].len, 0x1800);
	assert_int_equal(segs[1].addr, f->host_2);
	assert_int_equal(segs[1].len, 0x800);
	assert_int_equal(vh_iotlb_translate(f->t, 0x1800, 0x2000, VH_MEM_READ, segs, 1), -ENOSPC);
	assert_int_equal(vh_iotlb_translate(f->t, 0x1800, 0x2000, VH_MEM_WRITE, segs, 4), -EFAULT);
	assert_int_equal(vh_iotlb_translate(f->t, 0x2000, 0x3000, RW, segs, 4), -EAGAIN);
	vh_error_get(&e);
	assert_non_null(strstr(e.text, "0x4000 "));
	assert_int_equal(vh_iotlb_translate(f->t, 0xfff, 2, VH_MEM_READ, segs, 4), -EAGAIN);
	assert_int_equal(vh_iotlb_translate(f->t, UINT64_MAX, 2, VH_MEM_READ, segs, 4), -EFAULT);
}

static void neighbours_become_one_and_a_hole_makes_two(void **state)
{
	struct fix *f = *state;
	struct vh_iotlb_entry e[4];

	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(put(f->t, i * PAGE, PAGE, GUEST + i * PAGE, RW), 0);
	assert_int_equal(vh_iotlb_entries(f->t, 0, e, 4), 1);
	assert_int_equal(e[0].len, 8 * PAGE);
	assert_int_equal(vh_iotlb_invalidate(f->t, 3 * PAGE, PAGE), 0);
	assert_int_equal(vh_iotlb_entries(f->t, 0, e, 4), 2);
	assert_int_equal(e[0].len, 3 * PAGE);
	assert_int_equal(e[1].iova, 4 * PAGE);
	assert_int_equal(e[1].addr, GUEST + 4 * PAGE);
	assert_int_equal(vh_iotlb_entries(f->t, 3 * PAGE, e, 4), 1);
	assert_int_equal(put(f->t, 3 * PAGE, PAGE, GUEST + 3 * PAGE, RW), 0);
	assert_int_equal(vh_iotlb_entries(f->t, 0, NULL, 0), 1);
	/* To the end of everything. */
	assert_int_equal(vh_iotlb_invalidate(f->t, PAGE, UINT64_MAX), 0);
	assert_int_equal(vh_iotlb_entries(f->t, 0, e, 4), 1);
	assert_int_equal(e[0].len, PAGE);
	assert_int_equal(vh_iotlb_invalidate(f->t, 0, 0), 0);
	assert_int_equal(vh_iotlb_entries(f->t, 0, e, 4), 1);
}

static void case_191_what_is_not_inside_one_region_is_refused(void **state)
{
	struct fix *f = *state;
	struct vh_error e = {.size = sizeof(e)};
	static const struct {
		uint64_t iova, len, addr;
		uint32_t perm;
		int rc;
	} bad[] = {
		{0, PAGE, GUEST + LEN, RW, -EFAULT},
		{0, LEN + 1, GUEST, RW, -EFAULT},
		{0, PAGE, GUEST - 1, RW, -EFAULT},
		{0, 0, GUEST, RW, -EINVAL},
		{0, PAGE, GUEST, 0, -EINVAL},
		{0, PAGE, GUEST, 4, -EINVAL},
		{UINT64_MAX - 1, PAGE, GUEST, RW, -EINVAL},
		{0, PAGE, UINT64_MAX - 1, RW, -EINVAL},
	};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++) {
		assert_int_equal(put(f->t, bad[i].iova, bad[i].len, bad[i].addr, bad[i].perm), bad[i].rc);
		vh_error_get(&e);
		assert_int_equal(e.site, bad[i].rc == -EFAULT ? VHI_SITE_MEM_IOTLB_RANGE : 0);
	}
	assert_int_equal(stats_of(f->t).entries, 0);
}

/* A page of I/O addresses each, what it means, and what may be done. */
#define PAGES 48
struct naive {
	uint64_t addr[PAGES];
	uint32_t perm[PAGES];
};

static void compare(struct fix *f, const struct naive *n, uint64_t first, uint64_t pages, uint32_t perm)
{
	struct vh_seg segs[PAGES];
	vh_count want = 1, got;
	uint64_t at = first, done = 0;

	for (; at < first + pages && want > 0; at++) {
		if (!n->perm[at])
			want = -EAGAIN;
		else if ((n->perm[at] & perm) != perm)
			want = -EFAULT;
		if (want < 0)
			break;
	}
	got = vh_iotlb_translate(f->t, first * PAGE, pages * PAGE, perm, segs, PAGES);
	if (want < 0) {
		assert_int_equal(got, want);
		return;
	}
	assert_true(got > 0);
	for (int32_t i = 0; i < got; i++)
		for (uint64_t k = 0; k < segs[i].len; k += PAGE, done++)
			assert_int_equal(segs[i].addr + k, f->host + (n->addr[first + done] - GUEST));
	assert_int_equal(done, pages);
}

static void it_is_as_a_naive_one(void **state)
{
	const char *given = getenv("VH_SEED");
	const unsigned seed = given ? (unsigned)atoi(given) : (unsigned)(vhi_now_ns() >> 10);
	struct fix *f = *state;
	struct naive n = {{0}, {0}};

	print_message("VH_SEED=%u\n", seed);
	srand(seed);
	for (int step = 0; step < 20000; step++) {
		const uint64_t first = (uint64_t)rand() % PAGES, pages = 1 + (uint64_t)rand() % (PAGES - first);
		const uint32_t perm = 1 + (uint32_t)rand() % 3;
		const uint64_t to = (uint64_t)rand() % 4 ? first : (uint64_t)rand() % (PAGES - pages + 1);

		switch (rand() % 4) {
		case 0:
			assert_int_equal(put(f->t, first * PAGE, pages * PAGE, GUEST + to * PAGE, perm), 0);
			for (uint64_t i = 0; i < pages; i++) {
				n.addr[first + i] = GUEST + (to + i) * PAGE;
				n.perm[first + i] = perm;
			}
			break;
		case 1:
			assert_int_equal(vh_iotlb_invalidate(f->t, first * PAGE, pages * PAGE), 0);
			for (uint64_t i = 0; i < pages; i++)
				n.perm[first + i] = 0;
			break;
		default:
			compare(f, &n, first, pages, perm);
		}
	}
}

static void case_192_a_cache_is_bounded(void **state)
{
	struct fix *f = *state;
	struct vh_iotlb *t = iotlb_of(f->mem, VH_IOTLB_EVICT, 64);
	struct vh_iotlb_entry e;

	for (uint64_t i = 0; i < 200000; i++) {
		/* Backwards, so that no two are one. */
		assert_int_equal(put(t, i * PAGE, PAGE, GUEST + (63 - i % 64) * PAGE, RW), 0);
		assert_true(vh_iotlb_entries(t, 0, NULL, 0) <= 64);
		assert_true(vh_iotlb_entries(t, i * PAGE, &e, 1) == 1 && e.iova == i * PAGE);
	}
	assert_int_equal(stats_of(t).evicted, 200000 - 64);
	/* A hole in one that makes two. */
	assert_int_equal(put(t, 0, 3 * PAGE, GUEST, RW), 0);
	assert_int_equal(vh_iotlb_invalidate(t, PAGE, PAGE), 0);
	assert_int_equal(stats_of(t).entries, 64);
	vh_iotlb_free(t);
}

static void a_map_that_is_full_says_so_and_forgets_nothing(void **state)
{
	struct fix *f = *state;
	struct vh_iotlb *t = iotlb_of(f->mem, 0, 2);

	assert_int_equal(put(t, 0, 3 * PAGE, GUEST, RW), 0);
	assert_int_equal(put(t, 8 * PAGE, PAGE, GUEST, RW), 0);
	assert_int_equal(put(t, 16 * PAGE, PAGE, GUEST, RW), -ENOSPC);
	assert_int_equal(put(t, PAGE, PAGE, GUEST, RW), -ENOSPC);
	assert_int_equal(vh_iotlb_invalidate(t, PAGE, PAGE), -ENOSPC);
	assert_int_equal(put(t, 0, 9 * PAGE, GUEST, RW), 0);
	assert_int_equal(stats_of(t).entries, 1);
	assert_int_equal(stats_of(t).evicted, 0);
	vh_iotlb_free(t);
}

static void without_a_memory_it_is_a_map(void **state)
{
	struct vh_iotlb *t = iotlb_of(NULL, 0, 0);
	struct vh_iotlb_entry e;
	struct vh_seg seg;

	(void)state;
	assert_int_equal(put(t, 0, PAGE, 0x1234, RW), 0);
	assert_true(vhi_iotlb_lookup(t, 5, &e));
	assert_int_equal(e.addr, 0x1234);
	assert_false(vhi_iotlb_lookup(t, PAGE, &e));
	assert_int_equal(vh_iotlb_translate(t, 0, 1, RW, &seg, 1), -EINVAL);
	vh_iotlb_free(t);
}

static void by_user_address(void **state)
{
	struct fix *f = *state;
	struct vh_iotlb *t = iotlb_of(f->mem, VH_IOTLB_USER_ADDR, 0);
	struct vh_region r[2];
	struct vh_seg seg;

	assert_int_equal(vh_mem_regions(f->mem, r, 2), 2);
	assert_int_equal(put(t, 0, PAGE, r[1].uva + PAGE, RW), 0);
	assert_int_equal(vh_iotlb_translate(t, 8, 8, RW, &seg, 1), 1);
	assert_int_equal(seg.addr, f->host_2 + PAGE + 8);
	assert_int_equal(put(t, 0, PAGE, r[1].uva + LEN, RW), -EFAULT);
	vh_iotlb_free(t);
}

static void what_is_not_in_memory_any_more_is_forgotten(void **state)
{
	struct fix *f = *state;
	struct vh_region r[2];
	struct vh_seg seg;

	assert_int_equal(put(f->t, 0, PAGE, GUEST, RW), 0);
	assert_int_equal(put(f->t, PAGE, PAGE, GUEST_2, RW), 0);
	assert_int_equal(vh_mem_regions(f->mem, r, 2), 2);
	assert_int_equal(vh_mem_remove(f->mem, &r[0]), 0);
	assert_int_equal(vh_iotlb_translate(f->t, 0, 1, RW, &seg, 1), -EAGAIN);
	assert_int_equal(vh_iotlb_translate(f->t, PAGE, 1, RW, &seg, 1), 1);
	assert_int_equal(seg.addr, f->host_2);
}

static void woken(void *ctx)
{
	++*(int *)ctx;
}

static void a_miss_is_told_once_and_ends_by_an_update_or_a_no(void **state)
{
	struct fix *f = *state;
	struct vh_iotlb_miss miss = {.size = sizeof(miss)};
	int wakes = 0;
	struct vhi_iotlb_user user = {.wake = woken, .ctx = &wakes};
	struct vhi_tlb *table = vhi_iotlb_table(f->t);
	struct pollfd p = {.fd = vh_iotlb_fd(f->t), .events = POLLIN};

	vhi_iotlb_join(f->t, &user);
	assert_int_equal(vhi_iotlb_miss(f->t, &user, table, 0x5000, VH_MEM_WRITE), 1);
	assert_int_equal(vhi_iotlb_miss(f->t, &user, table, 0x5000, VH_MEM_WRITE), 0);
	assert_int_equal(vhi_iotlb_miss(f->t, &user, table, 0x9000, VH_MEM_READ), 1);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(vh_iotlb_next_miss(f->t, &miss), 1);
	assert_int_equal(miss.iova, 0x5000);
	assert_int_equal(miss.perm, VH_MEM_WRITE);
	assert_int_equal(vh_iotlb_next_miss(f->t, &miss), 1);
	assert_int_equal(miss.iova, 0x9000);
	assert_int_equal(vh_iotlb_next_miss(f->t, &miss), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(stats_of(f->t).misses, 2);
	assert_int_equal(wakes, 0);
	assert_int_equal(put(f->t, 0x5000, PAGE, GUEST, RW), 0);
	assert_int_equal(wakes, 1);
	assert_int_equal(stats_of(f->t).waiting, 1);
	/* In the old table it still isn't there, but there is a newer one: nothing is to be asked. */
	assert_true(vhi_iotlb_newer(f->t, table));
	assert_int_equal(vhi_iotlb_miss(f->t, &user, table, 0x5000, VH_MEM_WRITE), 0);
	assert_int_equal(wakes, 2);
	assert_int_equal(stats_of(f->t).waiting, 1);
	vhi_tlb_put(table);
	table = vhi_iotlb_table(f->t);
	assert_int_equal(vh_iotlb_deny(f->t, 0x9000), 0);
	assert_int_equal(vh_iotlb_deny(f->t, 0x9000), -ENOENT);
	assert_int_equal(vhi_iotlb_miss(f->t, &user, table, 0x9000, VH_MEM_READ), -EFAULT);
	assert_int_equal(stats_of(f->t).waiting, 0);
	vhi_tlb_put(table);
	vhi_iotlb_leave(f->t, &user);
}

/* Between the look-up and going to sleep an answer may come that is in no table. */
static void who_was_woken_does_not_go_to_sleep(void **state)
{
	struct fix *f = *state;
	struct vh_iotlb_miss miss;
	int wakes = 0;
	struct vhi_iotlb_user user = {.wake = woken, .ctx = &wakes};
	struct vhi_tlb *table = vhi_iotlb_table(f->t);

	vhi_iotlb_join(f->t, &user);
	assert_int_equal(vhi_iotlb_miss(f->t, &user, table, 0x5000, VH_MEM_WRITE), 1);
	assert_true(vhi_iotlb_wait(f->t, &user, table));
	assert_true(vhi_iotlb_ask(f->t, 100, &miss));
	assert_int_equal(vh_iotlb_deny(f->t, 0x5000), 0);
	assert_int_equal(wakes, 1);
	assert_false(vhi_iotlb_wait(f->t, &user, table));
	assert_int_equal(vhi_iotlb_miss(f->t, &user, table, 0x5000, VH_MEM_WRITE), -EFAULT);
	assert_int_equal(vhi_iotlb_miss(f->t, &user, table, 0x6000, VH_MEM_WRITE), 1);
	assert_true(vhi_iotlb_ask(f->t, 100, &miss));
	assert_true(vhi_iotlb_expire(f->t, 100, &miss));
	assert_int_equal(wakes, 2);
	assert_false(vhi_iotlb_wait(f->t, &user, table));
	assert_int_equal(vhi_iotlb_miss(f->t, &user, table, 0x6000, VH_MEM_WRITE), 1);
	assert_true(vhi_iotlb_wait(f->t, &user, table));
	vhi_tlb_put(table);
	vhi_iotlb_leave(f->t, &user);
}

static void a_no_that_nobody_heard_takes_no_place(void **state)
{
	struct fix *f = *state;
	int wakes = 0;
	struct vhi_iotlb_user user = {.wake = woken, .ctx = &wakes};
	struct vhi_tlb *table = vhi_iotlb_table(f->t);

	vhi_iotlb_join(f->t, &user);
	for (uint64_t i = 0; i < 3 * VH_IOTLB_MAX_MISSES; i++) {
		assert_int_equal(vhi_iotlb_miss(f->t, &user, table, i * PAGE, RW), 1);
		assert_int_equal(vh_iotlb_deny(f->t, i * PAGE), 0);
	}
	assert_int_equal(stats_of(f->t).dropped, 0);
	assert_int_equal(stats_of(f->t).waiting, VH_IOTLB_MAX_MISSES);
	vhi_tlb_put(table);
	vhi_iotlb_leave(f->t, &user);
}

static void case_194_misses_are_bounded_and_time_out(void **state)
{
	struct fix *f = *state;
	struct vh_iotlb_miss miss = {.size = sizeof(miss)};
	int wakes = 0;
	struct vhi_iotlb_user user = {.wake = woken, .ctx = &wakes};
	struct vhi_tlb *table = vhi_iotlb_table(f->t);

	vhi_iotlb_join(f->t, &user);
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(vhi_iotlb_miss(f->t, &user, table, i * PAGE, RW), i < VH_IOTLB_MAX_MISSES);
	assert_int_equal(stats_of(f->t).waiting, VH_IOTLB_MAX_MISSES);
	assert_int_equal(stats_of(f->t).dropped, 1000 - VH_IOTLB_MAX_MISSES);
	assert_int_equal(vhi_iotlb_deadline(f->t), UINT64_MAX);
	assert_true(vhi_iotlb_ask(f->t, 100, &miss));
	assert_true(vhi_iotlb_ask(f->t, 50, &miss));
	assert_int_equal(vhi_iotlb_deadline(f->t), 50);
	assert_false(vhi_iotlb_expire(f->t, 49, &miss));
	assert_true(vhi_iotlb_expire(f->t, 50, &miss));
	assert_int_equal(miss.iova, PAGE);
	assert_int_equal(stats_of(f->t).timed_out, 1);
	vhi_tlb_put(table);
	vhi_iotlb_leave(f->t, &user);
}

/* Readers translate while a writer takes away and gives: never half of an entry, never what never was. */
struct stress {
	struct fix *f;
	uint32_t stop;
	uint64_t hits;
};

static void *reads(void *arg)
{
	struct stress *s = arg;
	struct vh_iotlb *t = s->f->t;
	struct vhi_tlb *table = vhi_iotlb_table(t);
	uint64_t hits = 0, at, i = 0;
	struct vh_seg seg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		if (vhi_iotlb_newer(t, table)) {
			vhi_tlb_put(table);
			table = vhi_iotlb_table(t);
		}
		i = (i + 1) % 64;
		if (vhi_tlb_translate(table, (struct vhi_iova){i * PAGE}, PAGE, RW, &seg, 1, &at) == 1) {
			assert_true(seg.addr == s->f->host + i * PAGE || seg.addr == s->f->host_2 + i * PAGE);
			hits++;
		}
	}
	vhi_tlb_put(table);
	__atomic_fetch_add(&s->hits, hits, __ATOMIC_RELAXED);
	return NULL;
}

static void readers_while_it_changes(void **state)
{
	struct stress s = {.f = *state};
	struct vh_iotlb *t = s.f->t;
	pthread_t threads[3];

	assert_int_equal(put(t, 0, LEN, GUEST, RW), 0);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reads, &s), 0);
	for (uint64_t i = 0; i < 20000; i++) {
		const uint64_t page = i * 7 % 64;

		assert_int_equal(vh_iotlb_invalidate(t, page * PAGE, PAGE), 0);
		assert_int_equal(put(t, page * PAGE, PAGE, (i & 1 ? GUEST : GUEST_2) + page * PAGE, RW), 0);
	}
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELAXED);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	print_message("%llu look-ups\n", (unsigned long long)s.hits);
}

/* All addresses there are, in two: together they would have a length of 0. */
static void what_could_not_be_told_stays_in_two(void **state)
{
	struct vh_iotlb_entry e[3];
	struct vh_iotlb *t;

	(void)state;
	assert_int_equal(vh_iotlb_new(NULL, NULL, &t), 0);
	assert_int_equal(put(t, 0, UINT64_MAX, 0, RW), 0);
	assert_int_equal(put(t, UINT64_MAX, 1, UINT64_MAX, RW), 0);
	assert_int_equal(vh_iotlb_entries(t, 0, e, 3), 2);
	assert_int_equal(e[0].len, UINT64_MAX);
	assert_int_equal(vh_iotlb_invalidate(t, 0, UINT64_MAX), 0);
	/* And what they mean must not wrap. */
	assert_int_equal(put(t, 0x1000, 0x1000, -UINT64_C(0x1000), RW), 0);
	assert_int_equal(put(t, 0x2000, 0x1000, 0, RW), 0);
	assert_int_equal(vh_iotlb_entries(t, 0x1000, e, 3), 3);
	vh_iotlb_free(t);
}

static void options(void **state)
{
	struct vh_iotlb_opts o = {.size = sizeof(o), .flags = 8};
	struct vh_iotlb_entry e = {.iova = 1};
	struct vh_iotlb *t;

	(void)state;
	assert_int_equal(vh_iotlb_new(&o, NULL, &t), -EINVAL);
	o = (struct vh_iotlb_opts){.size = sizeof(o), .max_entries = VH_IOTLB_MAX_ENTRIES + 1};
	assert_int_equal(vh_iotlb_new(&o, NULL, &t), -EINVAL);
	assert_int_equal(vh_iotlb_new(NULL, NULL, NULL), -EINVAL);
	assert_int_equal(vh_iotlb_update(NULL, &e), -EINVAL);
	assert_int_equal(vh_iotlb_invalidate(NULL, 0, 1), -EINVAL);
	assert_int_equal(vh_iotlb_entries(NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(vh_iotlb_fd(NULL), -EINVAL);
	assert_int_equal(vh_iotlb_next_miss(NULL, NULL), -EINVAL);
	assert_int_equal(vh_iotlb_deny(NULL, 0), -EINVAL);
	assert_int_equal(vh_iotlb_get_stats(NULL, NULL), -EINVAL);
	vh_iotlb_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(found_not_allowed_not_known, setup, teardown),
		cmocka_unit_test_setup_teardown(neighbours_become_one_and_a_hole_makes_two, setup, teardown),
		cmocka_unit_test_setup_teardown(case_191_what_is_not_inside_one_region_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_as_a_naive_one, setup, teardown),
		cmocka_unit_test_setup_teardown(case_192_a_cache_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(a_map_that_is_full_says_so_and_forgets_nothing, setup, teardown),
		cmocka_unit_test(without_a_memory_it_is_a_map),
		cmocka_unit_test_setup_teardown(by_user_address, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_in_memory_any_more_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(a_miss_is_told_once_and_ends_by_an_update_or_a_no, setup, teardown),
		cmocka_unit_test_setup_teardown(who_was_woken_does_not_go_to_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(a_no_that_nobody_heard_takes_no_place, setup, teardown),
		cmocka_unit_test_setup_teardown(case_194_misses_are_bounded_and_time_out, setup, teardown),
		cmocka_unit_test_setup_teardown(readers_while_it_changes, setup, teardown),
		cmocka_unit_test(what_could_not_be_told_stays_in_two),
		cmocka_unit_test(options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
