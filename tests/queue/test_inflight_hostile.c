/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What a front-end, or a back-end before us, may have left in the records of what is in flight. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_track.h"
#include "vhi_vring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NUM 8u

static struct vht_ring ring;
static struct vh_inflight in;
static int fd;
static uint8_t *records; /* the file, as the front-end has it mapped */

/* Byte offsets, as the specification has them. */
enum {
	VERSION = 8,
	DESC_NUM = 10,
	LAST_BATCH = 12, /* split */
	USED_IDX = 14,
	FREE_HEAD = 12, /* packed */
	OLD_FREE_HEAD = 14,
	P_USED_IDX = 16,
	OLD_USED_IDX = 18,
	USED_WRAP = 20,
	OLD_USED_WRAP = 21,
};

static uint8_t *entry(uint32_t i)
{
	return records + (vht_layout ? 32 + 32 * i : 16 + 16 * i);
}

static void put16(uint8_t *at, uint16_t v)
{
	memcpy(at, &v, sizeof(v));
}

static uint16_t get16(const uint8_t *at)
{
	uint16_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static void put64(uint8_t *at, uint64_t v)
{
	memcpy(at, &v, sizeof(v));
}

static void set_inflight(void)
{
	assert_int_equal(vh_queue_set_inflight(ring.q, &in, fd), 0);
}

/* One request in flight, the rest of the file as that leaves it. */
static int setup(void **state)
{
	(void)state;
	vht_ring_prepare(&ring, NUM, 0);
	ring.opts.flags = VH_QUEUE_HOLD;
	assert_int_equal(vht_ring_open(&ring), 0);
	in = (struct vh_inflight){.size = sizeof(in)};
	assert_int_equal(vh_inflight_make(1, NUM, ring.opts.features, &in, &fd), 0);
	assert_int_equal(in.mmap_offset, 0);
	records = mmap(NULL, in.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(records != MAP_FAILED);
	set_inflight();
	assert_int_equal(vh_queue_start(ring.q), 0);
	vht_chain(&ring, 2, 1, 1);
	vht_pop1(&ring);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_ring_free(&ring);
	munmap(records, in.mmap_size);
	close(fd);
	return 0;
}

/* The device crashed; another one is there, not started. */
static void crash(void)
{
	const uint16_t next = ring.next;
	const uint32_t offered = ring.offered;

	vh_queue_free(ring.q);
	ring.q = NULL;
	assert_int_equal(vh_queue_open(ring.mem, &ring.opts, -1, -1, &ring.q), 0);
	ring.next = next;
	ring.offered = offered;
	set_inflight();
}

static void refused(uint32_t site)
{
	assert_int_equal(vh_queue_start(ring.q), -EINVAL);
	assert_int_equal(vht_ring_site(), site);
	assert_int_equal(vh_queue_state(ring.q), VH_QUEUE_STOPPED);
}

static void expect_again(uint32_t head)
{
	struct vh_req req;

	assert_int_equal(vh_queue_start(ring.q), 0);
	req = vht_pop1(&ring);
	assert_int_equal((uint32_t)req.token, head);
	assert_int_equal(req.flags, VH_REQ_RESUBMITTED | VH_REQ_LAST);
	assert_int_equal(req.n_rd, 1);
	assert_int_equal(req.n_wr, 1);
	vht_push1(&ring, &req, 1);
	assert_int_equal(vht_used_idx(&ring), 1);
	assert_int_equal(vht_used_id(&ring, 0), head);
}

static void the_fields_lie_as_in_the_specification(void **state)
{
	const uint8_t *e = entry(vht_either(2, 0));

	(void)state;
	assert_int_equal(get16(records + VERSION), 1);
	assert_int_equal(get16(records + DESC_NUM), NUM);
	assert_int_equal(e[0], 1);
	if (vht_layout) {
		assert_int_equal(get16(records + FREE_HEAD), 2);
		assert_int_equal(get16(records + OLD_FREE_HEAD), 2);
		assert_int_equal(get16(records + P_USED_IDX), 0);
		assert_int_equal(get16(records + OLD_USED_IDX), 0);
		assert_int_equal(records[USED_WRAP], 1);
		assert_int_equal(records[OLD_USED_WRAP], 1);
		assert_int_equal(get16(e + 2), 1);  /* next */
		assert_int_equal(get16(e + 4), 1);  /* last */
		assert_int_equal(get16(e + 6), 2);  /* num */
		assert_int_equal(get16(e + 16), 2); /* id */
		assert_int_equal(get16(e + 18) & VHT_NEXT, VHT_NEXT);
		assert_memory_equal(e + 24, &(uint64_t){VHT_DATA + 128}, 8);
		assert_int_equal(get16(entry(1) + 18) & VHT_WRITE, VHT_WRITE);
	} else {
		assert_int_equal(get16(records + USED_IDX), 0);
		assert_int_equal(entry(3)[0], 0);
	}
}

static void a_request_in_flight_comes_again(void **state)
{
	(void)state;
	crash();
	expect_again(2);
	assert_int_equal(entry(vht_either(2, 0))[0], 0);
}

/* A queue at an index of its own finds its own part. */
static void each_queue_has_its_part(void **state)
{
	struct vh_inflight both = {.size = sizeof(both)};
	struct vh_queue *q;
	uint8_t *at;
	int file;

	(void)state;
	assert_int_equal(vh_inflight_make(2, NUM, ring.opts.features, &both, &file), 0);
	assert_int_equal(both.mmap_size % 128, 0);
	at = mmap(NULL, both.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	assert_true(at != MAP_FAILED);
	ring.opts.index = 1;
	assert_int_equal(vh_queue_open(ring.mem, &ring.opts, -1, -1, &q), 0);
	assert_int_equal(vh_queue_set_inflight(q, &both, file), 0);
	assert_int_equal(vh_queue_start(q), 0);
	assert_int_equal(get16(at + VERSION), 0);
	assert_int_equal(get16(at + both.mmap_size / 2 + VERSION), 1);
	vh_queue_free(q);
	/* And one that is beyond all of them is refused. */
	ring.opts.index = 2;
	assert_int_equal(vh_queue_open(ring.mem, &ring.opts, -1, -1, &q), 0);
	assert_int_equal(vh_queue_set_inflight(q, &both, file), 0);
	assert_int_equal(vh_queue_start(q), -EINVAL);
	assert_int_equal(vht_ring_site(), VHI_SITE_QUEUE_INFLIGHT_ROOM);
	vh_queue_free(q);
	munmap(at, both.mmap_size);
	close(file);
}

static void case_164_an_offset_that_is_not_aligned(void **state)
{
	struct vh_inflight odd = in;

	(void)state;
	crash();
	odd.mmap_offset = 4;
	odd.mmap_size -= 8;
	assert_int_equal(vh_queue_set_inflight(ring.q, &odd, fd), -EINVAL);
	assert_int_equal(vht_ring_site(), VHI_SITE_QUEUE_INFLIGHT_ALIGN);
}

static void case_166_another_version(void **state)
{
	(void)state;
	crash();
	put16(records + VERSION, 2);
	refused(vht_either(VHI_SITE_QUEUE_INFLIGHT_VERSION, VHI_SITE_QUEUE_INFLIGHT_VERSION_PACKED));
}

static void case_165_another_number_of_entries(void **state)
{
	(void)state;
	crash();
	put16(records + DESC_NUM, NUM - 1);
	refused(vht_either(VHI_SITE_QUEUE_INFLIGHT_NUM, VHI_SITE_QUEUE_INFLIGHT_NUM_PACKED));
}

static void case_168_a_batch_that_can_not_be(void **state)
{
	if (vht_layout)
		return;
	(void)state;
	crash();
	put16(records + USED_IDX, (uint16_t)(0 - NUM - 1));
	refused(VHI_SITE_QUEUE_INFLIGHT_BATCH);
	put16(records + USED_IDX, UINT16_MAX);
	put16(records + LAST_BATCH, NUM);
	refused(VHI_SITE_QUEUE_INFLIGHT_LINK);
	put16(records + USED_IDX, UINT16_MAX - 1);
	put16(records + LAST_BATCH, 5);
	put16(entry(5) + 6, 40000);
	refused(VHI_SITE_QUEUE_INFLIGHT_LINK);
	/* One that loops ends all the same. */
	put16(entry(5) + 6, 5);
	expect_again(2);
}

static void case_169_a_flag_that_is_neither(void **state)
{
	if (vht_layout)
		return;
	(void)state;
	crash();
	entry(4)[0] = 2;
	refused(VHI_SITE_QUEUE_INFLIGHT_FLAG);
}

/* Whatever the counters are, all come, and in one order. */
static void case_170_counters_are_a_total_order(void **state)
{
	struct vh_req reqs[4];

	(void)state;
	vht_chain(&ring, 4, 1, 1);
	vht_chain(&ring, 0, 1, 1);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 4), 2);
	crash();
	put64(entry(vht_either(2, 0)) + 8, UINT64_MAX);
	put64(entry(vht_either(4, 2)) + 8, 7);
	put64(entry(vht_either(0, 4)) + 8, 7);
	assert_int_equal(vh_queue_start(ring.q), 0);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 4), 3);
	assert_int_equal((uint32_t)reqs[2].token, 2);
	assert_int_equal((uint32_t)reqs[0].token, vht_either(0, 4));
}

/* A heap of many sorts like anything that sorts. */
static void many_counters_are_sorted(void **state)
{
	static struct vhi_again again[999];

	(void)state;
	for (uint32_t n = 0; n < 999; n += n < 10 ? 1 : 89) {
		for (uint32_t i = 0; i < n; i++)
			again[i] = (struct vhi_again){.counter = i * 7919 % 101, .entry = (uint16_t)(n - i)};
		vhi_again_sort(again, n);
		for (uint32_t i = 1; i < n; i++)
			assert_true(again[i - 1].counter < again[i].counter ||
				    (again[i - 1].counter == again[i].counter && again[i - 1].entry < again[i].entry));
	}
}

/* A guest that came from elsewhere: the ring has gone on for long, and the records are new. */
static void case_172_new_records_for_an_old_ring(void **state)
{
	struct vh_req req;

	(void)state;
	vh_queue_free(ring.q);
	ring.q = NULL;
	memset(records, 0, in.mmap_size);
	ring.opts.base = vht_either(60000, 0x00030003);
	assert_int_equal(vht_ring_open(&ring), 0);
	vht_ring_reset(&ring);
	set_inflight();
	assert_int_equal(vh_queue_start(ring.q), 0);
	vht_chain(&ring, 0, 1, 1);
	req = vht_pop1(&ring);
	assert_int_equal(req.flags, VH_REQ_LAST);
	crash();
	assert_int_equal(vh_queue_start(ring.q), 0);
	req = vht_pop1(&ring);
	assert_int_equal((uint32_t)req.token, 0);
	assert_int_equal(req.flags, VH_REQ_RESUBMITTED | VH_REQ_LAST);
}

static void a_packed_position_outside(void **state)
{
	if (!vht_layout)
		return;
	(void)state;
	crash();
	put16(records + P_USED_IDX, NUM);
	refused(VHI_SITE_QUEUE_INFLIGHT_POSITION);
	put16(records + P_USED_IDX, 0);
	put16(records + OLD_USED_IDX, 0xffff);
	refused(VHI_SITE_QUEUE_INFLIGHT_POSITION);
	put16(records + OLD_USED_IDX, 0);
	records[OLD_USED_WRAP] = 2;
	refused(VHI_SITE_QUEUE_INFLIGHT_POSITION);
	records[OLD_USED_WRAP] = 1;
	expect_again(2);
}

static void case_168_a_packed_free_list_that_can_not_be(void **state)
{
	if (!vht_layout)
		return;
	(void)state;
	crash();
	put16(records + OLD_FREE_HEAD, NUM + 1);
	refused(VHI_SITE_QUEUE_INFLIGHT_FREE);
	put16(records + OLD_FREE_HEAD, 2);
	put16(entry(5) + 2, 3); /* it loops */
	refused(VHI_SITE_QUEUE_INFLIGHT_FREE);
	put16(entry(5) + 2, 0xffff);
	refused(VHI_SITE_QUEUE_INFLIGHT_FREE);
	put16(entry(5) + 2, NUM); /* it ends early: what was behind it belongs to nobody */
	refused(VHI_SITE_QUEUE_INFLIGHT_STRAY);
	put16(entry(5) + 2, 6);
	expect_again(2);
}

static void case_168_a_packed_chain_that_can_not_be(void **state)
{
	uint8_t *e = vht_layout ? entry(0) : NULL;

	if (!e)
		return;
	(void)state;
	crash();
	put16(e + 6, 0);
	refused(VHI_SITE_QUEUE_INFLIGHT_CHAIN);
	put16(e + 6, NUM + 1);
	refused(VHI_SITE_QUEUE_INFLIGHT_CHAIN);
	put16(e + 6, 2);
	put16(e + 2, NUM);
	refused(VHI_SITE_QUEUE_INFLIGHT_NEXT);
	put16(e + 2, 0); /* itself */
	refused(VHI_SITE_QUEUE_INFLIGHT_NEXT);
	put16(e + 2, 4); /* a free one */
	refused(VHI_SITE_QUEUE_INFLIGHT_NEXT);
	put16(e + 2, 1);
	put16(e + 4, 0);
	refused(VHI_SITE_QUEUE_INFLIGHT_LAST);
	put16(e + 4, 1);
	expect_again(2);
}

static void a_packed_record_with_a_shorter_chain(void **state)
{
	struct vh_req req;

	if (!vht_layout)
		return;
	(void)state;
	crash();
	put16(entry(0) + 18, 0); /* no NEXT in the first descriptor of two */
	assert_int_equal(vh_queue_start(ring.q), 0);
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), -EPROTO);
	assert_int_equal(vht_ring_site(), VHI_SITE_QUEUE_INFLIGHT_LENGTH);
}

/* What a record describes is checked like what stands in a ring. */
static void a_record_that_points_outside_breaks_the_queue(void **state)
{
	struct vh_req req;

	(void)state;
	crash();
	if (vht_layout)
		put64(entry(0) + 24, UINT64_MAX - 8);
	else
		vht_put(&ring, 2, UINT64_MAX - 8, 64, VHT_NEXT, 3);
	assert_int_equal(vh_queue_start(ring.q), 0);
	assert_int_equal(vh_queue_pop(ring.q, &req, 1), -EFAULT);
	assert_int_equal(vht_ring_site(), VHI_SITE_QUEUE_FAULT);
}

/* A file that is not sealed, truncated at the worst of times. */
static void open_unsealed(void)
{
	munmap(records, in.mmap_size);
	close(fd);
	fd = memfd_create("records", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)in.mmap_size), 0);
	records = mmap(NULL, in.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	crash();
}

static void case_177_truncated_before_it_is_read(void **state)
{
	(void)state;
	assert_int_equal(vh_mem_guard_install(), 0);
	open_unsealed();
	assert_int_equal(ftruncate(fd, 0), 0);
	refused(VHI_SITE_QUEUE_INFLIGHT_GONE);
	vh_mem_guard_remove();
}

static void case_177_truncated_while_it_is_written(void **state)
{
	struct vh_req reqs[2];

	(void)state;
	assert_int_equal(vh_mem_guard_install(), 0);
	open_unsealed();
	vht_ring_reset(&ring);
	assert_int_equal(vh_queue_start(ring.q), 0);
	assert_false(vhi_queue_inflight_lost(ring.q));
	assert_int_equal(ftruncate(fd, 0), 0);
	vht_chain(&ring, 4, 1, 1);
	reqs[0] = vht_pop1(&ring);
	assert_true(vhi_queue_inflight_lost(ring.q));
	/* I/O goes on. */
	vht_chain(&ring, 6, 1, 1);
	reqs[1] = vht_pop1(&ring);
	vht_push1(&ring, &reqs[0], 1);
	vht_push1(&ring, &reqs[1], 1);
	assert_int_equal(vht_used_idx(&ring), 2);
	vh_mem_guard_remove();
}

static void unpop_gives_back_what_came_again_and_what_did_not(void **state)
{
	struct vh_req reqs[4];

	(void)state;
	crash();
	vht_chain(&ring, 4, 1, 1);
	assert_int_equal(vh_queue_start(ring.q), 0);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 4), 1);
	assert_int_equal(vh_queue_pop(ring.q, reqs + 1, 3), 1);
	assert_int_equal(reqs[1].flags, VH_REQ_LAST);
	assert_int_equal(vh_queue_unpop(ring.q, 2), 0);
	assert_int_equal(entry(vht_either(2, 0))[0], 1);
	assert_int_equal(entry(vht_either(4, 2))[0], 0);
	assert_int_equal(vh_queue_arm(ring.q), VH_QUEUE_MORE);
	assert_int_equal(vh_queue_pop(ring.q, reqs, 4), 1);
	assert_int_equal((uint32_t)reqs[0].token, 2);
	assert_int_equal(reqs[0].flags, VH_REQ_RESUBMITTED | VH_REQ_LAST);
	assert_int_equal(vh_queue_pop(ring.q, reqs + 1, 3), 1);
	assert_int_equal((uint32_t)reqs[1].token, 4);
}

static void start_and_set_want_a_queue_that_stands(void **state)
{
	struct vh_inflight bad = in;
	uint32_t base;

	(void)state;
	assert_int_equal(vh_queue_start(ring.q), -EBUSY);
	assert_int_equal(vh_queue_set_inflight(ring.q, &in, fd), -EBUSY);
	assert_int_equal(vh_queue_start(NULL), -EINVAL);
	assert_int_equal(vh_queue_set_inflight(NULL, &in, fd), -EINVAL);
	crash();
	bad.queue_size = 0;
	assert_int_equal(vh_queue_set_inflight(ring.q, &bad, fd), -EINVAL);
	assert_int_equal(vh_queue_set_inflight(ring.q, &in, -1), -EBADF);
	/* Without records the ring is at its base. */
	assert_int_equal(vh_queue_set_inflight(ring.q, NULL, -1), 0);
	assert_int_equal(vh_queue_start(ring.q), 0);
	assert_int_equal(vht_pop1(&ring).flags, VH_REQ_LAST);
	assert_int_equal(vh_queue_unpop(ring.q, 1), 0);
	assert_int_equal(vh_queue_stop(ring.q, &base), 0);
	assert_int_equal(base, ring.opts.base);
	/* And goes on where it stopped. */
	assert_int_equal(vh_queue_start(ring.q), 0);
	vht_push1(&ring, &(struct vh_req){.token = vht_pop1(&ring).token}, 0);
	assert_int_equal(vh_queue_stop(ring.q, &base), 0);
	assert_int_equal(base, vht_base(&ring, vht_either(1, 2)));
	assert_int_equal(vh_queue_start(ring.q), 0);
	assert_int_equal(vh_queue_pop(ring.q, &(struct vh_req){0}, 1), 0);
}

static void make_wants_sane_numbers(void **state)
{
	struct vh_inflight out = {.size = sizeof(out)};
	int file;

	(void)state;
	assert_int_equal(vh_inflight_make(0, 8, 0, &out, &file), -EINVAL);
	assert_int_equal(vh_inflight_make(65536, 8, 0, &out, &file), -EINVAL);
	assert_int_equal(vh_inflight_make(1, 0, 0, &out, &file), -EINVAL);
	assert_int_equal(vh_inflight_make(1, 32769, 0, &out, &file), -EINVAL);
	assert_int_equal(vh_inflight_make(1, 8, 0, NULL, &file), -EINVAL);
	out.size = 0;
	assert_int_equal(vh_inflight_make(1, 8, 0, &out, &file), -EINVAL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_fields_lie_as_in_the_specification),
		CASE(a_request_in_flight_comes_again),
		CASE(each_queue_has_its_part),
		CASE(case_164_an_offset_that_is_not_aligned),
		CASE(case_166_another_version),
		CASE(case_165_another_number_of_entries),
		CASE(case_168_a_batch_that_can_not_be),
		CASE(case_169_a_flag_that_is_neither),
		CASE(case_170_counters_are_a_total_order),
		CASE(many_counters_are_sorted),
		CASE(case_172_new_records_for_an_old_ring),
		CASE(a_packed_position_outside),
		CASE(case_168_a_packed_free_list_that_can_not_be),
		CASE(case_168_a_packed_chain_that_can_not_be),
		CASE(a_packed_record_with_a_shorter_chain),
		CASE(a_record_that_points_outside_breaks_the_queue),
		CASE(case_177_truncated_before_it_is_read),
		CASE(case_177_truncated_while_it_is_written),
		CASE(unpop_gives_back_what_came_again_and_what_did_not),
		CASE(start_and_set_want_a_queue_that_stands),
		CASE(make_wants_sane_numbers),
	};

	return vht_run_layouts(tests);
}
