/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Numbers that drifted: what is on the wire against what the library knows, spelled out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "vhi_dialect.h"

#define BIT(n)	  (UINT64_C(1) << (n))
#define GPA	  BIT(21)
#define SHMEM	  BIT(22)
#define OBJECT	  BIT(18)
#define RUST_VMM  1u
#define VIRTIO_FS 2u
#define CROSVM	  3u

static void the_specification_changes_nothing(void **state)
{
	(void)state;
	for (uint32_t dialect = 0; dialect <= CROSVM; dialect += CROSVM) {
		assert_int_equal(vhi_dialect_pf_in(dialect, UINT64_MAX), UINT64_MAX);
		assert_int_equal(vhi_dialect_pf_out(dialect, UINT64_MAX), UINT64_MAX);
	}
	for (uint32_t id = 0; id < 2000; id++) {
		assert_int_equal(vhi_dialect_id_in(0, VHI_WIRE_BACK_END, id), id);
		assert_int_equal(vhi_dialect_id_out(0, VHI_WIRE_BACK_END, id), id);
		assert_int_equal(vhi_dialect_id_in(VIRTIO_FS, VHI_WIRE_FRONT_END, id), id);
		assert_int_equal(vhi_dialect_id_out(VIRTIO_FS, VHI_WIRE_FRONT_END, id), id);
	}
	assert_true(vhi_dialect_known(CROSVM));
	assert_false(vhi_dialect_known(CROSVM + 1));
}

static void features_move_and_what_is_not_known_is_dropped(void **state)
{
	static const struct {
		uint32_t dialect;
		uint64_t ours, theirs;
	} out[] = {
		{RUST_VMM, SHMEM, GPA}, {RUST_VMM, GPA, 0},	    {RUST_VMM, SHMEM | GPA | 8, GPA | 8},
		{VIRTIO_FS, SHMEM, 0},	{VIRTIO_FS, OBJECT | 8, 8}, {CROSVM, SHMEM, SHMEM},
	};
	static const struct {
		uint32_t dialect;
		uint64_t theirs, ours;
	} in[] = {
		{RUST_VMM, GPA, SHMEM}, {RUST_VMM, SHMEM, 0},	    {RUST_VMM, SHMEM | GPA | 8, SHMEM | 8},
		{VIRTIO_FS, SHMEM, 0},	{VIRTIO_FS, OBJECT | 8, 8}, {CROSVM, SHMEM, SHMEM},
	};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(out); i++)
		assert_int_equal(vhi_dialect_pf_out(out[i].dialect, out[i].ours), out[i].theirs);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(in); i++)
		assert_int_equal(vhi_dialect_pf_in(in[i].dialect, in[i].theirs), in[i].ours);
}

static void requests_move_and_come_back(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(vhi_dialect_id_in(VIRTIO_FS, VHI_WIRE_BACK_END, 6 + i), 1002 + i);
		assert_int_equal(vhi_dialect_id_out(VIRTIO_FS, VHI_WIRE_BACK_END, 1002 + i), 6 + i);
		assert_int_equal(vhi_dialect_id_in(CROSVM, VHI_WIRE_BACK_END, 1002 + i), 1002 + i);
		assert_true(vhi_wire_in_dialect(1002 + i, VIRTIO_FS));
		assert_true(vhi_wire_in_dialect(1002 + i, CROSVM));
		assert_false(vhi_wire_in_dialect(1002 + i, 0));
		assert_false(vhi_wire_in_dialect(1002 + i, RUST_VMM));
	}
	assert_false(vhi_wire_in_dialect(6, VIRTIO_FS));
	assert_false(vhi_wire_in_dialect(4711, VIRTIO_FS));
}

static void bits_are_told_from_a_status(void **state)
{
	(void)state;
	assert_true(vhi_dialect_has_pf(&(struct vhi_wire_header){.request = 15, .flags = 5, .size = 8}));
	assert_true(vhi_dialect_has_pf(&(struct vhi_wire_header){.request = 16, .flags = 9, .size = 8}));
	assert_false(vhi_dialect_has_pf(&(struct vhi_wire_header){.request = 16, .flags = 5, .size = 8}));
	assert_false(vhi_dialect_has_pf(&(struct vhi_wire_header){.request = 15, .flags = 1, .size = 8}));
	assert_false(vhi_dialect_has_pf(&(struct vhi_wire_header){.request = 16, .flags = 1, .size = 4}));
	assert_false(vhi_dialect_has_pf(&(struct vhi_wire_header){.request = 1, .flags = 5, .size = 8}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_specification_changes_nothing),
		cmocka_unit_test(features_move_and_what_is_not_known_is_dropped),
		cmocka_unit_test(requests_move_and_come_back),
		cmocka_unit_test(bits_are_told_from_a_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
