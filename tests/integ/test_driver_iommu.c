/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A driver session whose device uses I/O addresses, end to end: what it misses is asked for, and answered meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "vht_session.h"

#define ok(call) assert_int_equal((call), 0)
#define MIB	 (UINT64_C(1) << 20)
#define SHIFT	 UINT64_C(0x7f0000000000)
#define KIND	 (*(const enum vht_kind *)*state)

static const struct vh_driver_opts opts = {
	.size = sizeof(opts), .type = VH_TYPE_BLK, .n_queues = 2, .flags = VH_DRIVER_IOMMU, .iova_offset = SHIFT};

static uint64_t waits(struct vht_session *s)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};
	struct vh_queue *q;
	uint64_t n = 0;

	for (uint32_t i = 0; i < 2; i++) {
		ok(vh_slave_queue(s->t.slave, i, &q));
		ok(vh_queue_get_stats(q, &stats));
		n += stats.iotlb_misses;
	}
	return n;
}

static void requests_go_through_an_iommu(void **state)
{
	struct vht_session s;
	uint64_t features = 0, more;

	vht_session_ram(&s, KIND, 4 * MIB, 0, 2);
	vht_session_begin(&s, &opts, MIB);
	ok(vh_driver_features(s.d, &features));
	assert_true(features & UINT64_C(1) << VH_F_ACCESS_PLATFORM);
	for (uint32_t i = 0; i < 64; i++) {
		vht_session_write(&s, i % 2, 8192 * i, 8192, i);
		/* Everything is taken back now and then, and asked for again. */
		if (i % 7 == 3)
			ok(vh_master_iotlb_invalidate(s.t.master, SHIFT, UINT64_C(1) << 40));
	}
	for (uint32_t i = 0; i < 64; i++)
		vht_session_verify(&s, i % 2, 8192 * i, 8192, i);
	assert_true(waits(&s) > 0);
	/* Another region, while it runs. */
	ok(vh_driver_alloc(s.d, 64 * MIB, &more));
	ok(vht_session_io(&s, 0, (struct vh_blk_io){.op = VH_BLK_READ, .len = 8192, .addr = more}));
	/* And once more from the start. */
	ok(vh_driver_stop(s.d, 0, 0));
	ok(vh_driver_start(s.d));
	for (uint32_t i = 0; i < 8; i++)
		vht_session_verify(&s, i % 2, 8192 * i, 8192, i);
	vht_session_end(&s);
}

static void scenario_iommu(void **state)
{
	requests_go_through_an_iommu(state);
}

static void a_back_end_without_it_is_refused(void **state)
{
	struct vht_session s;

	vht_session_ram(&s, KIND, MIB, 0, 2);
	assert_int_equal(vh_driver_new(&opts, s.t.backend, NULL, &s.d), -ENOTSUP);
	s.d = NULL;
	vht_session_end(&s);
}

static void options(void **state)
{
	struct vh_driver_opts bad[] = {opts, opts};
	struct vht_session s;

	bad[0].flags = 2;
	bad[1].flags = 0;
	vht_session_ram(&s, KIND, MIB, 0, 2);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(vh_driver_new(&bad[i], s.t.backend, NULL, &s.d), -EINVAL);
	s.d = NULL;
	vht_session_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VHT_USER_ONLY(scenario_iommu),
		VHT_USER_ONLY(requests_go_through_an_iommu),
		VHT_FAKE_ONLY(a_back_end_without_it_is_refused),
		VHT_FAKE_ONLY(options),
	};

	return vht_run(tests);
}
