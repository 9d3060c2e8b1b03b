/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the fields of single messages may be, and which check says no. */
#include "test_wire.h"
#include "vht_backend.h"

static void memory_tables_match_their_size_and_fds(void **state)
{
	static const uint32_t counts[] = {0, 3, 9, 0x10000, 0x08000002, 0xffffffff};
	struct vhi_wire_features xen = everything;

	(void)state;
	for (uint32_t n = 1; n <= 32; n++) {
		clear();
		p.table.n = n;
		assert_int_equal(fe(VHI_FE_SET_MEM_TABLE, 8 + 32 * n, n), 0);
		assert_int_equal(fe(VHI_FE_SET_MEM_TABLE, 8 + 32 * n, n == 1 ? 2 : n - 1), VHI_SITE_WIRE_MEM_FDS);
		assert_int_equal(fe(VHI_FE_SET_MEM_TABLE, 264, n), n == 8 ? 0 : VHI_SITE_WIRE_MEM_SIZE);
		p.table.padding = 1;
		assert_int_equal(fe(VHI_FE_SET_MEM_TABLE, 8 + 32 * n, n), VHI_SITE_WIRE_MEM_PADDING);
	}
	clear();
	for (size_t i = 0; i < VHI_ARRAY_SIZE(counts); i++) {
		p.table.n = counts[i];
		assert_int_equal(fe(VHI_FE_SET_MEM_TABLE, 8 + 32 * 2, 2), VHI_SITE_WIRE_MEM_SIZE);
	}
	p.table.n = 9;
	assert_int_equal(fe(VHI_FE_SET_MEM_TABLE, 8 + 32 * 9, 8), VHI_SITE_WIRE_MEM_FDS);
	xen.pf_acked |= XEN;
	p.table.n = 8;
	assert_int_equal(request(VHI_WIRE_FRONT_END, VHI_FE_SET_MEM_TABLE, 8 + 40 * 8, 8, &xen), 0);
	assert_int_equal(request(VHI_WIRE_FRONT_END, VHI_FE_SET_MEM_TABLE, 8 + 32 * 8, 8, &xen),
			 VHI_SITE_WIRE_MEM_SIZE);
	assert_int_equal(request(VHI_WIRE_FRONT_END, VHI_FE_ADD_MEM_REG, 48, 1, &xen), 0);
	assert_int_equal(request(VHI_WIRE_FRONT_END, VHI_FE_ADD_MEM_REG, 40, 1, &xen), VHI_SITE_WIRE_MEM_REG_SIZE);
	assert_int_equal(fe(VHI_FE_ADD_MEM_REG, 48, 1), VHI_SITE_WIRE_MEM_REG_SIZE);
	assert_int_equal(fe(VHI_FE_REM_MEM_REG, 48, 1), VHI_SITE_WIRE_MEM_REG_SIZE);
}

static void ring_fds_come_with_exactly_one_of_fd_and_bit_8(void **state)
{
	static const uint32_t ids[] = {VHI_FE_SET_VRING_KICK, VHI_FE_SET_VRING_CALL, VHI_FE_SET_VRING_ERR};

	(void)state;
	clear();
	for (size_t i = 0; i < VHI_ARRAY_SIZE(ids); i++) {
		p.u64 = 5;
		assert_int_equal(fe(ids[i], 8, 1), 0);
		assert_int_equal(fe(ids[i], 8, 0), VHI_SITE_WIRE_VRING_FD_FD);
		p.u64 = 5 | VHI_WIRE_VRING_NOFD;
		assert_int_equal(fe(ids[i], 8, 0), 0);
		assert_int_equal(fe(ids[i], 8, 1), VHI_SITE_WIRE_VRING_FD_FD);
		for (uint32_t bit = 9; bit < 64; bit++) {
			p.u64 = 5 | VHI_BIT(bit);
			assert_int_equal(fe(ids[i], 8, 1), VHI_SITE_WIRE_VRING_FD_BITS);
		}
	}
	clear();
	p.area.u64 = VHI_WIRE_VRING_NOFD;
	assert_int_equal(be(VHI_BE_VRING_HOST_NOTIFIER_MSG, 24, 0), 0);
	assert_int_equal(be(VHI_BE_VRING_HOST_NOTIFIER_MSG, 24, 1), VHI_SITE_WIRE_VRING_FD_FD);
}

static void ring_states_hold_what_their_message_says(void **state)
{
	struct vhi_wire_features packed = everything;

	(void)state;
	clear();
	for (uint32_t num = 0; num < 2; num++) {
		p.state.num = num;
		assert_int_equal(fe(VHI_FE_SET_VRING_ENABLE, 8, 0), 0);
		assert_int_equal(fe(VHI_FE_SET_VRING_ENDIAN, 8, 0), 0);
	}
	p.state.num = 2;
	assert_int_equal(fe(VHI_FE_SET_VRING_ENABLE, 8, 0), VHI_SITE_WIRE_ENABLE_NUM);
	assert_int_equal(fe(VHI_FE_SET_VRING_ENDIAN, 8, 0), VHI_SITE_WIRE_ENDIAN_NUM);
	p.state.num = 0xffffffff;
	assert_int_equal(fe(VHI_FE_SET_VRING_ENABLE, 8, 0), VHI_SITE_WIRE_ENABLE_NUM);
	assert_int_equal(fe(VHI_FE_SET_VRING_BASE, 8, 0), VHI_SITE_WIRE_BASE_SPLIT);
	assert_int_equal(fe(VHI_FE_VRING_KICK, 8, 0), VHI_SITE_WIRE_KICK_NUM);
	assert_int_equal(be(VHI_BE_VRING_CALL, 8, 0), VHI_SITE_WIRE_KICK_NUM);
	assert_int_equal(be(VHI_BE_VRING_ERR, 8, 0), VHI_SITE_WIRE_KICK_NUM);
	/* Drafts of GET_VRING_BASE put 1 there; its own number is nobody's business but the queue's. */
	assert_int_equal(fe(VHI_FE_GET_VRING_BASE, 8, 0), 0);
	packed.acked = UINT64_MAX;
	assert_int_equal(request(VHI_WIRE_FRONT_END, VHI_FE_SET_VRING_BASE, 8, 0, &packed), 0);
	p.state.num = 0xffff;
	assert_int_equal(fe(VHI_FE_SET_VRING_BASE, 8, 0), 0);
	clear();
	p.addr.flags = 1;
	p.addr.log = 0x1234567; /* QEMU leaves rubbish there when it does not log */
	assert_int_equal(fe(VHI_FE_SET_VRING_ADDR, 40, 0), 0);
	for (uint32_t bit = 1; bit < 32; bit++) {
		p.addr.flags = 1u << bit;
		assert_int_equal(fe(VHI_FE_SET_VRING_ADDR, 40, 0), VHI_SITE_WIRE_ADDR_FLAGS);
	}
}

static uint32_t config(uint32_t id, uint32_t offset, uint32_t size, uint32_t flags, uint32_t header_size)
{
	clear();
	p.config.offset = offset;
	p.config.size = size;
	p.config.flags = flags;
	return fe(id, header_size, 0);
}

static void config_ranges_stay_inside_256_bytes(void **state)
{
	static const uint32_t ids[] = {VHI_FE_GET_CONFIG, VHI_FE_SET_CONFIG};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(ids); i++) {
		assert_int_equal(config(ids[i], 0, 256, 0, 268), 0);
		assert_int_equal(config(ids[i], 0, 57, 0, 69), 0); /* QEMU 7.2 */
		assert_int_equal(config(ids[i], 255, 1, 0, 13), 0);
		assert_int_equal(config(ids[i], 0, 0, 0, 12), VHI_SITE_WIRE_CONFIG_EMPTY);
		assert_int_equal(config(ids[i], 0, 8, 0, 12), VHI_SITE_WIRE_CONFIG_LENGTH);
		assert_int_equal(config(ids[i], 0, 8, 0, 21), VHI_SITE_WIRE_CONFIG_LENGTH);
		assert_int_equal(config(ids[i], 0, 257, 0, 268), VHI_SITE_WIRE_CONFIG_LENGTH);
		assert_int_equal(config(ids[i], 0, 0xffffffff, 0, 12), VHI_SITE_WIRE_CONFIG_LENGTH);
		assert_int_equal(config(ids[i], 0, 0xfffffff8, 0, 12), VHI_SITE_WIRE_CONFIG_LENGTH);
		assert_int_equal(config(ids[i], 1, 256, 0, 268), VHI_SITE_WIRE_CONFIG_RANGE);
		assert_int_equal(config(ids[i], 256, 1, 0, 13), VHI_SITE_WIRE_CONFIG_RANGE);
		assert_int_equal(config(ids[i], 0xfffffffc, 8, 0, 20), VHI_SITE_WIRE_CONFIG_RANGE);
		assert_int_equal(config(ids[i], 0, 257, 0, 269), VHI_SITE_WIRE_SIZE);
	}
	assert_int_equal(config(VHI_FE_SET_CONFIG, 0, 8, 1, 20), 0);
	assert_int_equal(config(VHI_FE_SET_CONFIG, 0, 8, 2, 20), VHI_SITE_WIRE_CONFIG_FLAGS);
	assert_int_equal(config(VHI_FE_SET_CONFIG, 0, 8, 0xffffffff, 20), VHI_SITE_WIRE_CONFIG_FLAGS);
	assert_int_equal(config(VHI_FE_GET_CONFIG, 0, 8, 2, 20), 0);
}

static uint32_t log_base(uint64_t size, uint64_t offset, uint32_t bytes, uint32_t n_fds)
{
	clear();
	p.log.mmap_size = size;
	p.log.mmap_offset = offset;
	return fe(VHI_FE_SET_LOG_BASE, bytes, n_fds);
}

static void a_shared_log_has_a_range_and_an_fd(void **state)
{
	(void)state;
	assert_int_equal(log_base(4096, 0, 16, 1), 0);
	assert_int_equal(log_base(4096, 0, 16, 0), VHI_SITE_WIRE_LOG_FD);
	assert_int_equal(log_base(4096, 0, 8, 1), VHI_SITE_WIRE_LOG_FD);
	assert_int_equal(log_base(4096, 0, 12, 1), VHI_SITE_WIRE_LOG_SIZE);
	assert_int_equal(log_base(0, 0, 16, 1), VHI_SITE_WIRE_LOG_RANGE);
	assert_int_equal(log_base(4096, UINT64_MAX - 100, 16, 1), VHI_SITE_WIRE_LOG_RANGE);
	assert_int_equal(log_base(4096, 0, 16, 2), VHI_SITE_WIRE_FDS);
}

static void values_stay_in_their_range(void **state)
{
	static const struct {
		uint32_t id;
		uint64_t value;
		uint32_t site;
	} cases[] = {
		{VHI_FE_NET_SET_MTU, 0, VHI_SITE_WIRE_MTU},
		{VHI_FE_NET_SET_MTU, 67, VHI_SITE_WIRE_MTU},
		{VHI_FE_NET_SET_MTU, 68, 0},
		{VHI_FE_NET_SET_MTU, 65535, 0},
		{VHI_FE_NET_SET_MTU, 65536, VHI_SITE_WIRE_MTU},
		{VHI_FE_NET_SET_MTU, VHI_BIT(63), VHI_SITE_WIRE_MTU},
		{VHI_FE_SET_STATUS, 0xff, 0},
		{VHI_FE_SET_STATUS, 0x100, VHI_SITE_WIRE_STATUS_VALUE},
		{VHI_FE_SET_STATUS, VHI_BIT(63), VHI_SITE_WIRE_STATUS_VALUE},
		{VHI_FE_SET_DEVICE_STATE_FD, VHT_PAIR(1, 0), 0},
		{VHI_FE_SET_DEVICE_STATE_FD, VHT_PAIR(2, 0), VHI_SITE_WIRE_STATE_FIELDS},
		{VHI_FE_SET_DEVICE_STATE_FD, VHT_PAIR(0, 1), VHI_SITE_WIRE_STATE_FIELDS},
	};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		clear();
		p.u64 = cases[i].value;
		assert_int_equal(fe(cases[i].id, 8, cases[i].id == VHI_FE_SET_DEVICE_STATE_FD), cases[i].site);
	}
}

static void iotlb_messages_have_a_type_of_their_direction(void **state)
{
	(void)state;
	for (uint32_t type = 0; type < 256; type++) {
		clear();
		p.iotlb.type = (uint8_t)type;
		p.iotlb.perm = 1;
		p.iotlb.size = 4096;
		assert_int_equal(fe(VHI_FE_IOTLB_MSG, 32, 0), type == 2 || type == 3 ? 0 : VHI_SITE_WIRE_IOTLB_TYPE);
		assert_int_equal(be(VHI_BE_IOTLB_MSG, 32, 0), type == 1 || type == 4 ? 0 : VHI_SITE_WIRE_IOTLB_TYPE);
	}
	p.iotlb.type = 2;
	for (uint32_t perm = 0; perm < 256; perm++) {
		p.iotlb.perm = (uint8_t)perm;
		assert_int_equal(fe(VHI_FE_IOTLB_MSG, 32, 0), perm >= 1 && perm <= 3 ? 0 : VHI_SITE_WIRE_IOTLB_PERM);
	}
	p.iotlb.perm = 3;
	p.iotlb.iova = UINT64_MAX - 4095;
	assert_int_equal(fe(VHI_FE_IOTLB_MSG, 32, 0), VHI_SITE_WIRE_IOTLB_RANGE);
	p.iotlb.iova = 0;
	p.iotlb.uva = UINT64_MAX - 100;
	assert_int_equal(fe(VHI_FE_IOTLB_MSG, 32, 0), VHI_SITE_WIRE_IOTLB_RANGE);
	p.iotlb.uva = 0;
	p.iotlb.size = 0;
	assert_int_equal(fe(VHI_FE_IOTLB_MSG, 32, 0), VHI_SITE_WIRE_IOTLB_RANGE);
	p.iotlb.type = 3; /* everything */
	p.iotlb.perm = 0;
	assert_int_equal(fe(VHI_FE_IOTLB_MSG, 32, 0), 0);
}

static void inflight_regions_are_not_empty(void **state)
{
	(void)state;
	clear();
	p.inflight.num_queues = 1;
	assert_int_equal(fe(VHI_FE_GET_INFLIGHT_FD, 24, 0), VHI_SITE_WIRE_INFLIGHT_COUNT);
	p.inflight.queue_size = 1;
	assert_int_equal(fe(VHI_FE_GET_INFLIGHT_FD, 24, 0), 0);
	assert_int_equal(fe(VHI_FE_SET_INFLIGHT_FD, 24, 1), VHI_SITE_WIRE_INFLIGHT_RANGE);
	p.inflight.mmap_size = 4096;
	assert_int_equal(fe(VHI_FE_SET_INFLIGHT_FD, 24, 1), 0);
	p.inflight.mmap_offset = UINT64_MAX;
	assert_int_equal(fe(VHI_FE_SET_INFLIGHT_FD, 24, 1), VHI_SITE_WIRE_INFLIGHT_RANGE);
	p.inflight.mmap_offset = 0;
	p.inflight.num_queues = 0;
	assert_int_equal(fe(VHI_FE_SET_INFLIGHT_FD, 24, 1), VHI_SITE_WIRE_INFLIGHT_COUNT);
}

static void shared_objects_and_mappings_are_named(void **state)
{
	(void)state;
	clear();
	assert_int_equal(fe(VHI_FE_GET_SHARED_OBJECT, 0, 0), 0);
	assert_int_equal(fe(VHI_FE_GET_SHARED_OBJECT, 8, 0), VHI_SITE_WIRE_UUID_SIZE);
	assert_int_equal(be(VHI_BE_SHARED_OBJECT_ADD, 16, 0), VHI_SITE_WIRE_UUID_NIL);
	assert_int_equal(be(VHI_BE_SHMEM_UNMAP, 40, 0), VHI_SITE_WIRE_MMAP_RANGE);
	p.mmap.len = 4096;
	p.mmap.flags = 1;
	assert_int_equal(be(VHI_BE_SHMEM_MAP, 40, 1), 0);
	p.mmap.flags = 2;
	assert_int_equal(be(VHI_BE_SHMEM_MAP, 40, 1), VHI_SITE_WIRE_MMAP_FLAGS);
	p.mmap.flags = 0;
	p.mmap.shm_offset = UINT64_MAX - 4095;
	assert_int_equal(be(VHI_BE_SHMEM_MAP, 40, 1), VHI_SITE_WIRE_MMAP_RANGE);
}

static void set_u32(size_t at, uint32_t value)
{
	memcpy(p.bytes + at, &value, sizeof(value));
}

static void crypto_keys_fit_their_fields(void **state)
{
	const uint32_t size = 1072;

	(void)state;
	clear();
	p.u64 = 2; /* a cipher session */
	set_u32(12, 64);
	set_u32(24, 512);
	assert_int_equal(fe(VHI_FE_CREATE_CRYPTO_SESSION, size, 0), 0);
	set_u32(12, 65);
	assert_int_equal(fe(VHI_FE_CREATE_CRYPTO_SESSION, size, 0), VHI_SITE_WIRE_CRYPTO_KEY);
	set_u32(12, 64);
	set_u32(24, 513);
	assert_int_equal(fe(VHI_FE_CREATE_CRYPTO_SESSION, size, 0), VHI_SITE_WIRE_CRYPTO_KEY);
	p.u64 = 0x404; /* an asymmetric one */
	set_u32(16, 1024);
	assert_int_equal(fe(VHI_FE_CREATE_CRYPTO_SESSION, size, 0), 0);
	set_u32(16, 1025);
	assert_int_equal(fe(VHI_FE_CREATE_CRYPTO_SESSION, size, 0), VHI_SITE_WIRE_CRYPTO_KEY);
}

static uint32_t reply(uint32_t id, bool own, uint32_t size, uint32_t n_fds)
{
	const struct vhi_wire_msg *m = vhi_wire_find(VHI_WIRE_FRONT_END, id);
	struct vhi_wire_header h = {.request = id, .flags = 5, .size = size};

	return vhi_wire_check_reply(VHI_WIRE_FRONT_END, m, own, &h, &p, n_fds);
}

static void own_replies_say_the_same_as_their_fds(void **state)
{
	(void)state;
	clear();
	assert_int_equal(reply(VHI_FE_GET_CONFIG, true, 0, 0), 0);
	assert_int_equal(reply(VHI_FE_GET_CONFIG, true, 12, 0), 0); /* rust-vmm's way to refuse */
	assert_int_equal(reply(VHI_FE_GET_CONFIG, true, 8, 0), VHI_SITE_WIRE_REPLY_CONFIG);
	p.config.size = 60;
	assert_int_equal(reply(VHI_FE_GET_CONFIG, true, 72, 0), 0);
	assert_int_equal(reply(VHI_FE_GET_CONFIG, true, 71, 0), VHI_SITE_WIRE_REPLY_CONFIG);
	p.config.size = 0xffffffff;
	assert_int_equal(reply(VHI_FE_GET_CONFIG, true, 11, 0), VHI_SITE_WIRE_REPLY_CONFIG);
	clear();
	assert_int_equal(reply(VHI_FE_GET_INFLIGHT_FD, true, 24, 0), 0);
	assert_int_equal(reply(VHI_FE_GET_INFLIGHT_FD, true, 24, 1), VHI_SITE_WIRE_REPLY_FD);
	p.inflight.mmap_size = 4096;
	assert_int_equal(reply(VHI_FE_GET_INFLIGHT_FD, true, 24, 1), 0);
	assert_int_equal(reply(VHI_FE_GET_INFLIGHT_FD, true, 24, 0), VHI_SITE_WIRE_REPLY_FD);
	p.u64 = 0x100;
	assert_int_equal(reply(VHI_FE_SET_DEVICE_STATE_FD, true, 8, 0), 0);
	assert_int_equal(reply(VHI_FE_SET_DEVICE_STATE_FD, true, 8, 1), VHI_SITE_WIRE_REPLY_FD);
	p.u64 = 0;
	assert_int_equal(reply(VHI_FE_SET_DEVICE_STATE_FD, true, 8, 1), 0);
	assert_int_equal(reply(VHI_FE_SET_DEVICE_STATE_FD, true, 8, 0), VHI_SITE_WIRE_REPLY_FD);
	clear();
	p.shmem.n = 1;
	assert_int_equal(reply(VHI_FE_GET_SHMEM_CONFIG, true, 2056, 0), VHI_SITE_WIRE_REPLY_SHMEM);
	p.shmem.sizes[255] = 4096;
	assert_int_equal(reply(VHI_FE_GET_SHMEM_CONFIG, true, 2056, 0), 0);
}

static void a_looked_up_object_comes_only_with_success(void **state)
{
	const struct vhi_wire_msg *m = vhi_wire_find(VHI_WIRE_BACK_END, VHI_BE_SHARED_OBJECT_LOOKUP);
	struct vhi_wire_header h = {.request = VHI_BE_SHARED_OBJECT_LOOKUP, .flags = 5, .size = 8};

	(void)state;
	clear();
	assert_int_equal(vhi_wire_check_reply(VHI_WIRE_BACK_END, m, true, &h, &p, 1), 0);
	assert_int_equal(vhi_wire_check_reply(VHI_WIRE_BACK_END, m, true, &h, &p, 0), 0);
	p.u64 = 1;
	assert_int_equal(vhi_wire_check_reply(VHI_WIRE_BACK_END, m, true, &h, &p, 1), VHI_SITE_WIRE_REPLY_FD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_tables_match_their_size_and_fds),
		cmocka_unit_test(ring_fds_come_with_exactly_one_of_fd_and_bit_8),
		cmocka_unit_test(ring_states_hold_what_their_message_says),
		cmocka_unit_test(config_ranges_stay_inside_256_bytes),
		cmocka_unit_test(a_shared_log_has_a_range_and_an_fd),
		cmocka_unit_test(values_stay_in_their_range),
		cmocka_unit_test(iotlb_messages_have_a_type_of_their_direction),
		cmocka_unit_test(inflight_regions_are_not_empty),
		cmocka_unit_test(shared_objects_and_mappings_are_named),
		cmocka_unit_test(crypto_keys_fit_their_fields),
		cmocka_unit_test(own_replies_say_the_same_as_their_fds),
		cmocka_unit_test(a_looked_up_object_comes_only_with_success),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
