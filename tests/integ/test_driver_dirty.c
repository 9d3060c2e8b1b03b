/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A driver session whose device logs: a second memory, kept up to date by the log alone, is the same in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhi_driver.h"
#include "vht_session.h"

#define ok(call) assert_int_equal((call), 0)
#define MIB	 (UINT64_C(1) << 20)
#define KIND	 (*(const enum vht_kind *)*state)
#define PAGE	 4096u

/* What a front-end that migrates has on the other side. */
struct copy {
	struct vh_snapshot *snap;
	struct vh_region region; /* the only one */
	uint8_t *to;
};

static void copy_begin(struct copy *c, struct vh_driver *d)
{
	ok(vh_driver_dup_snapshot(d, &c->snap));
	assert_int_equal(vh_snapshot_regions(c->snap, &c->region, 1), 1);
	c->to = malloc(c->region.len);
	memcpy(c->to, (void *)(uintptr_t)c->region.host, c->region.len);
}

static uint32_t copy_dirty(struct copy *c, struct vh_dirty *log)
{
	vh_gpa pages[64], from = 0;
	uint32_t total = 0;
	vh_count n;

	while ((n = vh_dirty_take(log, from, pages, 64)) > 0) {
		for (vh_count i = 0; i < n; i++) {
			const uint64_t at = pages[i] - c->region.gpa;

			assert_true(at < c->region.len);
			memcpy(c->to + at, (uint8_t *)(uintptr_t)c->region.host + at, PAGE);
		}
		from = pages[n - 1] + PAGE;
		total += (uint32_t)n;
	}
	assert_int_equal(n, 0);
	return total;
}

/* Of pages that only the device writes. */
static void copy_check(const struct copy *c, const void *from, uint64_t len)
{
	const uint64_t at = (uintptr_t)from - c->region.host;

	assert_memory_equal(c->to + at, from, (size_t)len);
}

static void copy_end(struct copy *c)
{
	vh_snapshot_free(c->snap);
	free(c->to);
}

static void what_the_device_wrote_is_in_the_log(void **state)
{
	const struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .n_queues = 2};
	struct vht_session s;
	struct vh_dirty *log;
	struct copy c;
	uint32_t total = 0;

	vht_session_ram(&s, KIND, 4 * MIB, 0, 2);
	vht_session_begin(&s, &opts, MIB);
	ok(vh_dirty_new(64 * MIB, &log));
	for (uint32_t i = 0; i < 64; i++)
		vht_session_write(&s, i % 2, 8192 * i, 8192, i);
	ok(vh_driver_set_dirty(s.d, log));
	copy_begin(&c, s.d);
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t i = 0; i < 64; i++)
			vht_session_verify(&s, i % 2, 8192 * i, 8192, i);
		total += copy_dirty(&c, log);
		copy_check(&c, s.buf + s.buf_len / 2, s.buf_len / 2);
	}
	assert_true(total > 20);
	/* Off: nothing more. On again: the ring and all. */
	ok(vh_driver_set_dirty(s.d, NULL));
	copy_dirty(&c, log);
	vht_session_verify(&s, 0, 0, 8192, 0);
	assert_int_equal(copy_dirty(&c, log), 0);
	ok(vh_driver_set_dirty(s.d, log));
	ok(vh_driver_stop(s.d, 0, 0));
	copy_end(&c);
	copy_begin(&c, s.d);
	copy_dirty(&c, log);
	ok(vh_driver_start(s.d));
	vht_session_verify(&s, 0, 0, 8192, 0);
	vht_session_verify(&s, 1, 8192, 8192, 1);
	ok(vh_driver_stop(s.d, 0, 0));
	copy_dirty(&c, log);
	copy_check(&c, s.buf + s.buf_len / 2, s.buf_len / 2);
	for (uint32_t i = 0; i < 2; i++) {
		const struct vhi_ring *ring = &s.d->queues[i].ring;
		const uint64_t at = ring->device.v - c.region.gpa;

		/* The device's part of the ring: used ring, or event area and descriptors that it used. */
		assert_memory_equal(c.to + at, (uint8_t *)(uintptr_t)c.region.host + at,
				    (size_t)vhi_ring_used_len(ring->num, ring->features));
	}
	vh_dirty_free(log);
	copy_end(&c);
	vht_session_end(&s);
}

/*
 * A session moves to another back-end: its memory while requests go on, by what the log says; then the device's state; then
 * the new one is driven over what arrived. Half of the buffer is written by the device alone.
 */
static void scenario_migration(void **state)
{
	const uint64_t half = MIB / 2;
	struct vht_session from, to;
	struct vh_dirty *log;
	struct copy c;
	uint8_t *arrived = malloc(half);
	int file = memfd_create("state", MFD_CLOEXEC);
	uint32_t i = 0;

	vht_session_ram(&from, KIND, 4 * MIB, 0, 1);
	vht_session_begin(&from, NULL, MIB);
	ok(vh_dirty_new(64 * MIB, &log));
	ok(vh_driver_set_dirty(from.d, log));
	copy_begin(&c, from.d);
	for (; i < 32; i++) {
		vht_session_write(&from, 0, 65536 * i, 65536, i);
		vht_session_verify(&from, 0, 65536 * i, 65536, i);
		copy_dirty(&c, log);
	}
	ok(vh_driver_stop(from.d, 0, 0));
	copy_dirty(&c, log);
	copy_check(&c, from.buf + half, half);
	memcpy(arrived, c.to + ((uintptr_t)from.buf + half - c.region.host), half);
	copy_end(&c);
	ok(vh_master_save_state(from.t.master, NULL, file, NULL));
	vht_session_end(&from);
	vh_dirty_free(log);

	vht_session_ram(&to, KIND, 4 * MIB, 0, 1);
	ok(vh_master_negotiate(to.t.master, UINT64_MAX, NULL));
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	ok(vh_master_load_state(to.t.master, NULL, file, NULL));
	vht_session_begin(&to, NULL, MIB);
	/* The last that was read there is what the disk has here. */
	ok(vht_session_io(
		&to, 0,
		(struct vh_blk_io){
			.op = VH_BLK_READ, .offset = 65536 * (i - 1), .addr = (uintptr_t)to.buf, .len = 65536}));
	assert_memory_equal(to.buf, arrived, 65536);
	while (i--)
		vht_session_verify(&to, 0, 65536 * i, 65536, i);
	vht_session_end(&to);
	close(file);
	free(arrived);
}

static void a_log_that_is_too_short_is_refused(void **state)
{
	struct vht_session s;
	struct vh_dirty *log;
	uint64_t addr;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	ok(vh_dirty_new(MIB, &log));
	assert_int_equal(vh_driver_set_dirty(s.d, log), -ERANGE);
	assert_int_equal(vh_driver_set_dirty(NULL, log), -EINVAL);
	vh_dirty_free(log);
	ok(vh_dirty_new(20 * MIB, &log));
	ok(vh_driver_set_dirty(s.d, log));
	assert_int_equal(vh_driver_alloc(s.d, 32 * MIB, &addr), -ENOSPC);
	ok(vh_driver_set_dirty(s.d, NULL));
	ok(vh_driver_alloc(s.d, 32 * MIB, &addr));
	assert_int_equal(vh_driver_set_dirty(s.d, log), -ERANGE);
	vh_dirty_free(log);
	vht_session_end(&s);
}

static void a_back_end_that_cannot_log_is_told_apart(void **state)
{
	struct vht_session s;
	struct vh_dirty *log;

	vht_session_ram(&s, KIND, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	ok(vh_dirty_new(64 * MIB, &log));
	assert_int_equal(vh_driver_set_dirty(s.d, log), -EOPNOTSUPP);
	assert_null(s.d->log);
	vht_session_write(&s, 0, 0, 512, 1);
	vht_session_verify(&s, 0, 0, 512, 1);
	vh_dirty_free(log);
	vht_session_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VHT_USER_ONLY(what_the_device_wrote_is_in_the_log),
		VHT_USER_ONLY(scenario_migration),
		VHT_USER_ONLY(a_log_that_is_too_short_is_refused),
		/* It has no LOG_SHMFD either. */
		VHT_OVER_ONE(a_back_end_that_cannot_log_is_told_apart, VHT_USER_NO_SLOTS, ""),
	};

	return vht_run(tests);
}
