/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A vDPA device that is played: what is told to it and in which order, what is refused, and what a failure says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_vdpa.h"
#include "vh/vh.h"
#include "vhi_driver.h"

#define BIT(n)	  (UINT64_C(1) << (n))
#define LEN	  UINT64_C(0x200000)
#define MSG_BITS  (BIT(VH_VDPA_BF_MSG_V2) | BIT(VH_VDPA_BF_BATCH) | BIT(VH_VDPA_BF_ASID))
#define S_KNOWN	  (VH_VDPA_S_ACKNOWLEDGE | VH_VDPA_S_DRIVER)
#define S_CHOSEN  (S_KNOWN | VH_VDPA_S_FEATURES_OK)
#define S_RUNNING (S_CHOSEN | VH_VDPA_S_DRIVER_OK)

static struct fake_vdpa f;
static struct vh_vdpa *v;

static int open_it(void **state)
{
	(void)state;
	fake_vdpa_begin(&f);
	assert_int_equal(vh_vdpa_open(FAKE_VDPA_PATH, NULL, &v), 0);
	return 0;
}

static int close_it(void **state)
{
	(void)state;
	vh_vdpa_free(v);
	v = NULL;
	return 0;
}

static void fails(int rc, int code, const char *words)
{
	struct vh_error e = {.size = sizeof(e)};

	assert_int_equal(rc, code);
	assert_int_equal(vh_error_get(&e), 0);
	if (!strstr(e.text, words))
		fail_msg("\"%s\" does not say \"%s\"", e.text, words);
}

static void a_device_says_what_it_is(void **state)
{
	struct vh_vdpa_info i = {.size = sizeof(i)};

	(void)state;
	f.first = 0x1000;
	assert_int_equal(vh_vdpa_get_info(v, &i), 0);
	assert_int_equal(i.device_id, 2);
	assert_int_equal(i.features, f.offered);
	assert_int_equal(i.backend_features, 0x17e);
	assert_int_equal(i.first_iova, 0x1000);
	assert_int_equal(i.max_vring_num, 256);
	assert_int_equal(i.num_vrings, 2);
	assert_int_equal(i.num_groups, 2);
	assert_int_equal(i.num_asids, 2);
	assert_int_equal(i.config_size, 64);
	f.old = true;
	assert_int_equal(vh_vdpa_get_info(v, &i), 0);
	assert_int_equal(i.num_vrings, 0);
	assert_int_equal(i.last_iova, UINT64_MAX);
}

static void a_failure_to_open_says_why(void **state)
{
	static const struct {
		int err, code;
		const char *words;
	} all[] = {
		{EBUSY, -EBUSY, "another process"},	   {ENOENT, -ENOENT, "no such node"},
		{EACCES, -EACCES, "permissions"},	   {524, -EOPNOTSUPP, "ENOTSUPP: the device needs an IOMMU"},
		{ENODEV, -ENODEV, "the device went away"}, {EMFILE, -EMFILE, "EMFILE"},
	};
	struct vh_vdpa *other = NULL;
	int ends[2];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		f.open_errno = all[i].err;
		fails(vh_vdpa_open(FAKE_VDPA_PATH, NULL, &other), all[i].code, all[i].words);
	}
	assert_int_equal(pipe(ends), 0);
	fails(vh_vdpa_adopt(ends[0], NULL, &other), -ENOTTY, "no vDPA device");
	fails(vh_vdpa_adopt(-1, NULL, &other), -EINVAL, "no fd");
	fails(vh_vdpa_open("", NULL, &other), -EINVAL, "no path");
	close(ends[0]);
	close(ends[1]);
	assert_null(other);
}

static void the_order_of_states_is_kept(void **state)
{
	uint32_t now = 0;

	(void)state;
	fails(vh_vdpa_set_status(v, VH_VDPA_S_DRIVER), -EINVAL, "the order is");
	fails(vh_vdpa_set_status(v, S_RUNNING & ~(uint32_t)VH_VDPA_S_FEATURES_OK), -EINVAL, "the order is");
	fails(vh_vdpa_set_status(v, 0x100), -EINVAL, "the order is");
	assert_int_equal(vh_vdpa_set_status(v, VH_VDPA_S_ACKNOWLEDGE), 0);
	assert_int_equal(vh_vdpa_set_status(v, S_KNOWN), 0);
	fails(vh_vdpa_set_status(v, VH_VDPA_S_ACKNOWLEDGE), -EINVAL, "only 0 clears bits");
	fails(vh_vdpa_set_features(v, BIT(32)), -EINVAL, "ACCESS_PLATFORM");
	fails(vh_vdpa_set_features(v, BIT(5)), -EOPNOTSUPP, "not offered");
	assert_int_equal(vh_vdpa_set_features(v, BIT(32) | BIT(33)), 0);
	assert_int_equal(vh_vdpa_set_status(v, S_CHOSEN), 0);
	fails(vh_vdpa_set_features(v, BIT(32) | BIT(33)), -EBUSY, "before FEATURES_OK");
	assert_int_equal(vh_vdpa_get_status(v, &now), 0);
	assert_int_equal(now, S_CHOSEN);
	assert_int_equal(vh_vdpa_set_status(v, 0), 0);
	assert_int_equal(f.n_resets, 1);
	f.refuses_features = true;
	assert_int_equal(vh_vdpa_set_status(v, S_KNOWN), 0);
	fails(vh_vdpa_set_status(v, S_CHOSEN), -ENOTSUP, "refused the features");
}

static void config_space_is_read_whole(void **state)
{
	uint8_t got[8] = {0};
	const uint8_t put[] = {1, 2, 3};

	(void)state;
	assert_int_equal(vh_vdpa_set_config(v, 4, put, 3), 0);
	assert_int_equal(vh_vdpa_get_config(v, 4, got, 3), 0);
	assert_memory_equal(got, put, 3);
	f.config_reads = 0;
	f.config_moves = 3;
	assert_int_equal(vh_vdpa_get_config(v, 0, got, 1), 0);
	assert_int_equal(got[0], 3);
	f.config_moves = 1000;
	fails(vh_vdpa_get_config(v, 0, got, 1), -EAGAIN, "changes all the time");
	/* What does not lie inside never reaches the kernel. */
	f.config_reads = 0;
	fails(vh_vdpa_get_config(v, 60, got, 8), -EINVAL, "config_size");
	fails(vh_vdpa_get_config(v, UINT32_MAX - 3, got, 8), -EINVAL, "config_size");
	fails(vh_vdpa_set_config(v, UINT32_MAX, put, 3), -EINVAL, "config_size");
	assert_int_equal(f.config_reads, 0);
	assert_int_equal(f.size_reads, 1);
	fails(vh_vdpa_get_config(v, 0, got, 0), -EINVAL, "1 to 4096 bytes");
	fails(vh_vdpa_set_config(v, 0, got, VH_VDPA_MAX_CONFIG + 1), -EINVAL, "1 to 4096 bytes");
}

static void config_space_of_an_old_kernel_has_an_end_too(void **state)
{
	uint8_t got[8] = {0};

	(void)state;
	f.old = true;
	fails(vh_vdpa_get_config(v, UINT32_MAX - 3, got, 8), -EINVAL, "config_size");
	assert_int_equal(f.config_reads, 0);
}

static void rings_are_told_one_thing_after_the_other(void **state)
{
	const struct vh_vring_addr addr = {.index = 1, .desc = 0x1000, .avail = 0x2000, .used = 0x3000};
	int fd = eventfd(0, EFD_CLOEXEC);
	uint32_t n = 0;

	(void)state;
	fails(vh_vdpa_set_vring_num(v, 1, 64), -EPERM, "vh_vdpa_set_owner() comes first");
	assert_int_equal(vh_vdpa_set_owner(v), 0);
	fails(vh_vdpa_set_owner(v), -EBUSY, "an owner already");
	fails(vh_vdpa_set_vring_num(v, 1, 512), -EINVAL, "has 256 at most");
	fails(vh_vdpa_set_vring_num(v, 1, 48), -EINVAL, "a power of two");
	fails(vh_vdpa_set_vring_num(v, 7, 64), -ENOBUFS, "no ring of this index");
	assert_int_equal(vh_vdpa_set_vring_num(v, 1, 64), 0);
	assert_int_equal(vh_vdpa_set_vring_base(v, 1, 7), 0);
	assert_int_equal(vh_vdpa_set_vring_addr(v, &addr), 0);
	assert_int_equal(vh_vdpa_set_vring_call(v, 1, fd), 0);
	assert_int_equal(vh_vdpa_set_vring_kick(v, 1, fd), 0);
	assert_int_equal(vh_vdpa_set_vring_err(v, 1, -1), 0);
	assert_int_equal(vh_vdpa_set_config_call(v, fd), 0);
	fails(vh_vdpa_set_vring_kick(v, 1, 0), -EINVAL, "no eventfd");
	assert_int_equal(vh_vdpa_set_vring_enable(v, 1, 1), 0);
	assert_int_equal(f.rings[1].num, 64);
	assert_int_equal(f.rings[1].addr.used, 0x3000);
	assert_true(f.rings[1].on);
	assert_int_equal(vh_vdpa_get_vring_base(v, 1, &n), 0);
	assert_int_equal(n, 7);
	assert_int_equal(vh_vdpa_get_vring_size(v, 0, &n), 0);
	assert_int_equal(n, 256);
	assert_int_equal(vh_vdpa_get_vring_group(v, 1, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(vh_vdpa_get_desc_group(v, 0, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(vh_vdpa_set_group_asid(v, 1, 1), 0);
	fails(vh_vdpa_set_group_asid(v, 5, 1), -EINVAL, "no such group");
	f.old = true;
	fails(vh_vdpa_get_vring_group(v, 1, &n), -ENOTTY, "this kernel does not have it");
	f.fail_request = VHI_VHOST_VDPA_GET_VRING_SIZE;
	f.fail_errno = 524;
	fails(vh_vdpa_get_vring_size(v, 1, &n), -EOPNOTSUPP, "ENOTSUPP: this device does not have it");
	close(fd);
}

static void suspending_and_going_on(void **state)
{
	(void)state;
	assert_int_equal(vh_vdpa_set_status(v, S_KNOWN), 0);
	assert_int_equal(vh_vdpa_set_features(v, BIT(32) | BIT(33)), 0);
	assert_int_equal(vh_vdpa_set_status(v, S_CHOSEN), 0);
	assert_int_equal(vh_vdpa_set_status(v, S_RUNNING), 0);
	assert_int_equal(vh_vdpa_suspend(v), 0);
	assert_true(f.suspended);
	assert_int_equal(vh_vdpa_resume(v), 0);
	assert_false(f.suspended);
	f.backend_offered = 0xe;
	fails(vh_vdpa_suspend(v), -EOPNOTSUPP, "can't be suspended");
	fails(vh_vdpa_resume(v), -EOPNOTSUPP, "can't go on");
}

static void mappings_by_hand(void **state)
{
	static uint8_t memory[8192];
	const uint64_t host = (uintptr_t)memory;

	(void)state;
	f.last = 0xffff;
	assert_int_equal(vh_vdpa_set_owner(v), 0);
	fails(vh_vdpa_map(v, 0, 0x1000, 4096, host, 3), -EINVAL, "vh_vdpa_set_backend_features() comes first");
	fails(vh_vdpa_set_backend_features(v, BIT(0)), -EINVAL, "not known here");
	fails(vh_vdpa_set_backend_features(v, BIT(7)), -EOPNOTSUPP, "not offered");
	assert_int_equal(vh_vdpa_set_backend_features(v, BIT(VH_VDPA_BF_MSG_V2)), 0);
	fails(vh_vdpa_map(v, 1, 0x1000, 4096, host, 3), -EINVAL, "ASID");
	fails(vh_vdpa_batch(v, 0, 1), -EINVAL, "BATCH");
	assert_int_equal(vh_vdpa_set_backend_features(v, MSG_BITS), 0);
	assert_int_equal(vh_vdpa_batch(v, 1, 1), 0);
	assert_int_equal(vh_vdpa_map(v, 1, 0x1000, 4096, host, VH_MEM_READ), 0);
	assert_int_equal(vh_vdpa_batch(v, 1, 0), 0);
	assert_int_equal(f.n_maps, 1);
	assert_int_equal(f.maps[0].asid, 1);
	assert_int_equal(f.maps[0].perm, 1);
	assert_int_equal(f.maps[0].uaddr, host);
	fails(vh_vdpa_map(v, 1, 0x1000, 4096, host, 3), -EFAULT, "an overlap");
	fails(vh_vdpa_map(v, 0, 0xf001, 4096, host, 3), -ERANGE, "outside of the I/O addresses");
	fails(vh_vdpa_map(v, 0, 0x1000, 0, host, 3), -EINVAL, "is no range");
	fails(vh_vdpa_map(v, 0, UINT64_MAX, 2, host, 3), -EINVAL, "is no range");
	fails(vh_vdpa_map(v, 0, 0x1000, 4096, host, 4), -EINVAL, "perm");
	assert_int_equal(vh_vdpa_unmap(v, 1, 0x1000, 4096), 0);
	assert_int_equal(f.n_maps, 0);
}

static bool has(uint64_t iova)
{
	for (unsigned i = 0; i < f.n_maps; i++)
		if (f.maps[i].iova == iova)
			return true;
	return false;
}

static void remove_region(struct vh_mem *mem, uint64_t gpa)
{
	struct vh_region r[4];
	int n = vh_mem_regions(mem, r, 4);

	for (int i = 0; i < n; i++)
		if (r[i].gpa == gpa)
			assert_int_equal(vh_mem_remove(mem, &r[i]), 0);
}

static void only_what_changes_of_a_memory_is_told(void **state)
{
	struct vh_mem *mem;

	(void)state;
	assert_int_equal(vh_vdpa_set_owner(v), 0);
	assert_int_equal(vh_mem_new(NULL, &mem), 0);
	assert_int_equal(vh_mem_alloc(mem, LEN, LEN, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, 4 * LEN, LEN, 0), 0);
	fails(vh_vdpa_set_mem(v, mem), -EINVAL, "comes first");
	assert_int_equal(vh_vdpa_set_backend_features(v, MSG_BITS), 0);
	assert_int_equal(vh_vdpa_set_mem(v, mem), 0);
	assert_int_equal(f.n_maps, 2);
	assert_int_equal(f.n_batches, 1);
	assert_false(f.in_batch);
	remove_region(mem, LEN);
	assert_int_equal(vh_mem_alloc(mem, 8 * LEN, LEN, 0), 0);
	assert_int_equal(vh_vdpa_set_mem(v, mem), 0);
	assert_int_equal(f.n_maps, 2);
	assert_int_equal(f.n_batches, 2);
	assert_true(has(4 * LEN) && has(8 * LEN));
	/* Of a change that fails nothing stays that nobody keeps memory for. */
	assert_int_equal(vh_mem_alloc(mem, 16 * LEN, LEN, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, 32 * LEN, LEN, 0), 0);
	f.fail_message = 3; /* the batch begins, one is mapped */
	fails(vh_vdpa_set_mem(v, mem), -EFAULT, "RLIMIT_MEMLOCK");
	assert_int_equal(f.n_maps, 2);
	assert_false(f.in_batch);
	assert_int_equal(vh_vdpa_set_mem(v, mem), 0);
	assert_int_equal(f.n_maps, 4);
	assert_int_equal(vh_vdpa_set_mem(v, NULL), 0);
	assert_int_equal(f.n_maps, 0);
	vh_mem_free(mem);
}

static void memory_lies_where_the_device_can_reach(void **state)
{
	struct vh_mem *mem;

	(void)state;
	f.last = 2 * LEN - 1;
	assert_int_equal(vh_vdpa_set_owner(v), 0);
	assert_int_equal(vh_vdpa_set_backend_features(v, BIT(VH_VDPA_BF_MSG_V2)), 0);
	assert_int_equal(vh_mem_new(NULL, &mem), 0);
	assert_int_equal(vh_mem_alloc(mem, LEN, LEN, 0), 0);
	assert_int_equal(vh_vdpa_set_mem(v, mem), 0);
	assert_int_equal(f.n_batches, 0); /* none, where the file has none */
	assert_int_equal(vh_mem_alloc(mem, 2 * LEN, LEN, 0), 0);
	fails(vh_vdpa_set_mem(v, mem), -ERANGE, "outside of the I/O addresses");
	assert_int_equal(f.n_maps, 1);
	vh_mem_free(mem);
}

/* What a child of fork() frees it has a copy of: the parent's device runs on. */
static void a_child_stops_nothing(void **state)
{
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK};
	struct vh_backend *b;
	struct vh_driver *d;
	unsigned resets;
	int status = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(vh_vdpa_backend(v, &b), 0);
	assert_int_equal(vh_driver_new(&opts, b, NULL, &d), 0);
	assert_int_equal(vh_driver_start(d), 0);
	resets = f.n_resets;
	pid = fork();
	if (!pid) {
		vh_driver_free(d);
		vh_vdpa_free(v);
		_exit(f.status == S_RUNNING && f.n_maps == 1 && f.n_resets == resets && !f.suspended ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	vh_driver_free(d);
	assert_int_equal(f.status, 0);
}

static void a_session_keeps_the_order(void **state)
{
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .n_queues = 2, .queue_size = 64};
	struct vh_backend *b;
	struct vh_driver *d;

	(void)state;
	assert_int_equal(vh_vdpa_backend(v, &b), 0);
	assert_string_equal(vh_backend_kind(b), "vdpa");
	assert_int_equal(vh_driver_new(&opts, b, NULL, &d), 0);
	assert_true(f.owned);
	assert_true(f.acked & BIT(33));
	assert_int_equal(f.status, S_CHOSEN);
	assert_int_equal(vh_driver_start(d), 0);
	assert_int_equal(f.status, S_RUNNING);
	assert_int_equal(f.n_starts, 1);
	assert_int_equal(f.n_maps, 1);
	for (int i = 0; i < 2; i++) {
		assert_true(f.rings[i].on && f.rings[i].has_addr);
		assert_int_equal(f.rings[i].num, 64);
		assert_in_range(f.rings[i].addr.desc, f.maps[0].iova, f.maps[0].iova + f.maps[0].len);
	}
	/* Packed rings: both counters wrap once. */
	assert_int_equal(f.rings[0].base, 0x80008000);
	assert_int_equal(vh_driver_stop(d, 0, 0), 0);
	assert_int_equal(f.status, 0);
	/* And all of it once more. */
	assert_int_equal(vh_driver_start(d), 0);
	assert_int_equal(f.status, S_RUNNING);
	assert_int_equal(f.n_starts, 2);
	assert_true(f.rings[0].on && f.rings[1].on);
	assert_int_equal(f.n_maps, 1);
	vh_driver_free(d);
	assert_int_equal(f.status, 0);
}

/* What is mapped is told again after a reset, unless the device keeps it. */
static void a_device_that_forgets_is_told_again(void **state)
{
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .n_queues = 1, .queue_size = 64};
	struct vh_backend *b;
	struct vh_driver *d;

	(void)state;
	f.backend_offered = 0xe; /* no suspension, as VDUSE in 6.12 */
	assert_int_equal(vh_vdpa_backend(v, &b), 0);
	assert_int_equal(vh_driver_new(&opts, b, NULL, &d), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_int_equal(f.n_batches, 1);
	assert_int_equal(vh_driver_stop(d, 0, 0), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_true(f.n_batches >= 3);
	assert_int_equal(f.n_maps, 1);
	vh_driver_free(d);
}

static void one_ring_begins_anew_with_all_others(void **state)
{
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .n_queues = 2, .queue_size = 64};
	struct vh_backend *b;
	struct vh_driver *d;

	(void)state;
	assert_int_equal(vh_vdpa_backend(v, &b), 0);
	assert_int_equal(vh_driver_new(&opts, b, NULL, &d), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_int_equal(vh_driver_reset_queue(d, 1), 0);
	assert_int_equal(f.n_starts, 2);
	assert_true(f.rings[0].on && f.rings[1].on);
	assert_int_equal(f.status, S_RUNNING);
	vh_driver_free(d);
}

/* The device behind ring 0, from where it was told that the ring begins: how many requests it found, all of which it does. */
static int device_works(struct vh_driver *d, uint32_t most)
{
	const struct vh_vring_addr *at = &f.rings[0].addr;
	const struct vh_queue_opts opts = {.size = sizeof(opts),
					   .role = VH_QUEUE_DEVICE,
					   .num = f.rings[0].num,
					   .features = f.acked,
					   .desc = at->desc,
					   .driver = at->avail,
					   .device = at->used,
					   .base = f.rings[0].base};
	struct vh_req reqs[8];
	struct vh_cpl cpls[8];
	struct vh_queue *q;
	int n;

	assert_int_equal(vh_queue_open(d->mem, &opts, -1, -1, &q), 0);
	n = vh_queue_pop(q, reqs, most);
	assert_in_range(n, 0, 8);
	for (int i = 0; i < n; i++) {
		const struct vh_seg *last = &(
			(const struct vh_seg *)(uintptr_t)reqs[i].segs)[reqs[i].n_rd + reqs[i].n_wr - 1];

		*(uint8_t *)(uintptr_t)last->addr = 0;
		cpls[i] = (struct vh_cpl){.token = reqs[i].token, .written = 1};
	}
	assert_int_equal(vh_queue_push(q, cpls, (uint32_t)n), 0);
	assert_int_equal(vh_queue_stop(q, &f.rings[0].base), 0);
	vh_queue_free(q);
	return n;
}

static void flushes(struct vh_blk *blk, uint64_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(vh_blk_submit(blk, 0, &(struct vh_blk_io){.op = VH_BLK_FLUSH, .user = first + i}, 1),
				 1);
}

static void ended(struct vh_blk *blk, uint64_t first, uint32_t n)
{
	struct vh_blk_done done[8];

	assert_int_equal(vh_blk_reap(blk, 0, done, n), n);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(done[i].user, first + i);
		assert_int_equal(done[i].rc, 0);
	}
}

/* Ended by the session as a whole and not by one ring: each start is at the beginning, and no request is lost or made twice. */
static void over_a_device_that_forgets(uint64_t mask)
{
	struct vh_driver_opts opts = {
		.size = sizeof(opts), .type = VH_TYPE_BLK, .n_queues = 1, .queue_size = 8, .mask_features = mask};
	const uint32_t beginning = mask ? 0 : 0x80008000;
	struct vh_backend *b;
	struct vh_driver *d;
	struct vh_blk *blk;

	f.forgets = true;
	f.backend_offered = 0xe;
	f.offered |= BIT(VH_BLK_F_FLUSH);
	assert_int_equal(vh_vdpa_backend(v, &b), 0);
	assert_int_equal(vh_driver_new(&opts, b, NULL, &d), 0);
	assert_int_equal(vh_blk_new(d, &blk), 0);
	for (uint32_t round = 0; round < 12; round++) {
		assert_int_equal(vh_driver_start(d), 0);
		assert_int_equal(f.rings[0].base, beginning);
		assert_int_equal(device_works(d, 8), 0);
		if (round)
			ended(blk, round * 10 - 8, 1); /* of two that were left */
		flushes(blk, round * 10, 4);
		assert_int_equal(device_works(d, 8), 4);
		if (round)
			ended(blk, round * 10 - 7, 1);
		ended(blk, round * 10, 2);
		if (round % 3 == 0)
			assert_int_equal(vh_driver_stop(d, 0, 0), 0);
		if (round % 3 == 0)
			assert_int_equal(vh_driver_start(d), 0); /* once more, with the same two left */
		assert_int_equal(vh_driver_stop(d, 0, 0), 0);
		assert_int_equal(f.status, 0);
	}
	ended(blk, 112, 2);
	assert_int_equal(vh_driver_start(d), 0);
	/* What was dropped is told of as dropped. */
	flushes(blk, 200, 2);
	assert_int_equal(device_works(d, 1), 1);
	assert_int_equal(vh_driver_stop(d, VH_DRIVER_STOP_DROP, 0), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_int_equal(f.rings[0].base, beginning);
	assert_int_equal(device_works(d, 8), 0);
	assert_int_equal(vh_driver_reset_queue(d, 0), 0);
	assert_int_equal(f.status, S_RUNNING);
	vh_blk_free(blk);
	vh_driver_free(d);
}

static void a_session_goes_on_over_a_device_that_forgets(void **state)
{
	(void)state;
	over_a_device_that_forgets(BIT(VH_F_RING_PACKED));
	over_a_device_that_forgets(0);
}

static void of_a_device_that_forgets_no_ring_stops_alone(void **state)
{
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .n_queues = 2, .queue_size = 8};
	struct vh_backend *b;
	struct vh_driver *d;

	(void)state;
	f.forgets = true;
	assert_int_equal(vh_vdpa_backend(v, &b), 0);
	assert_int_equal(vh_driver_new(&opts, b, NULL, &d), 0);
	assert_int_equal(vh_driver_start(d), 0);
	fails(vh_driver_reset_queue(d, 1), -EOPNOTSUPP, "begins them anew");
	fails(vh_driver_enable(d, 1, 0), -EOPNOTSUPP, "begins them anew");
	assert_int_equal(f.status, S_RUNNING);
	assert_int_equal(f.n_starts, 1);
	assert_int_equal(vh_driver_stop(d, 0, 0), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_int_equal(f.status, S_RUNNING);
	assert_true(f.rings[0].on && f.rings[1].on);
	/* Another failure is one. */
	f.fail_request = VHI_VHOST_GET_VRING_BASE;
	f.fail_errno = EIO;
	fails(vh_driver_stop(d, 0, 0), -EIO, "did not answer");
	vh_driver_free(d);
}

/* Nor does one join those that run, also where nobody has asked for a place yet; it runs from the next start on. */
static void of_a_device_that_forgets_no_ring_joins(void **state)
{
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .n_queues = 2, .queue_size = 8};
	struct vh_backend *b;
	struct vh_driver *d;

	(void)state;
	f.forgets = true;
	assert_int_equal(vh_vdpa_backend(v, &b), 0);
	assert_int_equal(vh_driver_new(&opts, b, NULL, &d), 0);
	assert_int_equal(vh_driver_enable(d, 1, 0), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_true(f.rings[0].on && !f.rings[1].on);
	fails(vh_driver_enable(d, 1, 1), -EBUSY, "no ring can join");
	assert_int_equal(vh_driver_enable(d, 0, 1), 0); /* which it is */
	assert_int_equal(f.status, S_RUNNING);
	assert_int_equal(f.n_starts, 1);
	assert_int_equal(vh_driver_stop(d, 0, 0), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_int_equal(f.status, S_RUNNING);
	assert_true(f.rings[0].on && f.rings[1].on);
	vh_driver_free(d);
}

/* One that was on the last time, and is not now, is not waited for. */
static void a_ring_that_was_switched_off_is_not_waited_for(void **state)
{
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .n_queues = 2, .queue_size = 8};
	struct vh_backend *b;
	struct vh_driver *d;

	(void)state;
	assert_int_equal(vh_vdpa_backend(v, &b), 0);
	assert_int_equal(vh_driver_new(&opts, b, NULL, &d), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_int_equal(vh_driver_stop(d, 0, 0), 0);
	assert_int_equal(vh_driver_enable(d, 1, 0), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_int_equal(f.status, S_RUNNING);
	assert_true(f.rings[0].on && !f.rings[1].on);
	assert_int_equal(vh_driver_enable(d, 1, 1), 0);
	assert_int_equal(f.status, S_RUNNING);
	assert_true(f.rings[0].on && f.rings[1].on);
	assert_int_equal(vh_driver_enable(d, 1, 0), 0);
	assert_int_equal(f.status, S_RUNNING);
	assert_true(f.rings[0].on && !f.rings[1].on);
	vh_driver_free(d);
}

static void what_fails_while_it_starts_is_told(void **state)
{
	static const struct {
		uint32_t request;
		int err, code;
	} all[] = {
		{VHI_VHOST_VDPA_GET_VRING_NUM, ENOTTY, -ENOTTY},
		{VHI_VHOST_SET_VRING_NUM, EINVAL, -EINVAL},
		{VHI_VHOST_SET_VRING_BASE, EINVAL, -EINVAL},
		{VHI_VHOST_SET_VRING_ADDR, EINVAL, -EINVAL},
		{VHI_VHOST_SET_VRING_CALL, EBADF, -EBADF},
		{VHI_VHOST_SET_VRING_KICK, EBADF, -EBADF},
		{VHI_VHOST_VDPA_SET_VRING_ENABLE, ENOBUFS, -ENOBUFS},
		{VHI_VHOST_VDPA_SET_STATUS, EIO, -EIO},
	};
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .n_queues = 1, .queue_size = 64};
	struct vh_backend *b;
	struct vh_driver *d;

	(void)state;
	assert_int_equal(vh_vdpa_backend(v, &b), 0);
	assert_int_equal(vh_driver_new(&opts, b, NULL, &d), 0);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		f.fail_request = all[i].request;
		f.fail_errno = all[i].err;
		assert_int_equal(vh_driver_start(d), all[i].code);
	}
	f.fail_errno = 0;
	assert_int_equal(vh_driver_start(d), 0);
	assert_int_equal(f.status, S_RUNNING);
	vh_driver_free(d);
}

static void a_doorbell_is_there_or_not(void **state)
{
	uint64_t addr = 0;

	(void)state;
	/* What is played is an end of a pipe, which can't be written. */
	fails(vh_vdpa_map_doorbell(v, 0, &addr), -EACCES, "can't be mapped: EACCES");
	fails(vh_vdpa_unmap_doorbell(v, 0), -EINVAL, "no page of a doorbell");
	fails(vh_vdpa_unmap_doorbell(v, 5), -EINVAL, "no page of a doorbell");
	assert_int_equal(addr, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_it, close_it)
		TEST(a_device_says_what_it_is),
		TEST(a_failure_to_open_says_why),
		TEST(the_order_of_states_is_kept),
		TEST(config_space_is_read_whole),
		TEST(config_space_of_an_old_kernel_has_an_end_too),
		TEST(rings_are_told_one_thing_after_the_other),
		TEST(suspending_and_going_on),
		TEST(mappings_by_hand),
		TEST(only_what_changes_of_a_memory_is_told),
		TEST(memory_lies_where_the_device_can_reach),
		TEST(a_child_stops_nothing),
		TEST(a_session_keeps_the_order),
		TEST(a_device_that_forgets_is_told_again),
		TEST(one_ring_begins_anew_with_all_others),
		TEST(a_session_goes_on_over_a_device_that_forgets),
		TEST(of_a_device_that_forgets_no_ring_stops_alone),
		TEST(of_a_device_that_forgets_no_ring_joins),
		TEST(a_ring_that_was_switched_off_is_not_waited_for),
		TEST(what_fails_while_it_starts_is_told),
		TEST(a_doorbell_is_there_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
