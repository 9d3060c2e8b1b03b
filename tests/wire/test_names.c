/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Names, and messages as JSON. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "vh/log.h"
#include "vh/protocol.h"
#include "vhi_wire.h"

static void messages_have_names(void **state)
{
	(void)state;
	assert_string_equal(vh_msg_name(VH_MSG_CHANNEL_MAIN, 1), "GET_FEATURES");
	assert_string_equal(vh_msg_name(VH_MSG_CHANNEL_MAIN, 45), "GET_VRING_BASE_SKIP_DRAIN");
	assert_string_equal(vh_msg_name(VH_MSG_CHANNEL_BACKEND, 2), "BACKEND_CONFIG_CHANGE_MSG");
	assert_string_equal(vh_msg_name(VH_MSG_CHANNEL_MAIN, 0), "UNKNOWN");
	assert_string_equal(vh_msg_name(VH_MSG_CHANNEL_MAIN, 0xffffffff), "UNKNOWN");
	assert_string_equal(vh_msg_name(VH_MSG_CHANNEL_BACKEND, 11), "UNKNOWN");
	assert_string_equal(vh_msg_name(2, 1), "UNKNOWN");
}

static void feature_bits_have_the_names_of_their_device(void **state)
{
	static const struct {
		uint32_t space, bit;
		const char *name;
	} cases[] = {
		{0, VH_PF_MQ, "MQ"},
		{0, VH_PF_STATUS, "STATUS"},
		{0, VH_PF_GET_VRING_BASE_SKIP_DRAIN, "GET_VRING_BASE_SKIP_DRAIN"},
		{0, 24, NULL},
		{0, 32, NULL},
		{VH_TYPE_BLK, 9, "BLK_FLUSH"},
		{VH_TYPE_BLK, 12, "BLK_MQ"},
		{VH_TYPE_BLK, 6, "BLK_BLK_SIZE"},
		{VH_TYPE_BLK, VH_F_NOTIFY_ON_EMPTY, "NOTIFY_ON_EMPTY"},
		{VH_TYPE_BLK, VH_F_LOG_ALL, "LOG_ALL"},
		{VH_TYPE_BLK, VH_F_ANY_LAYOUT, "ANY_LAYOUT"},
		{VH_TYPE_BLK, VH_F_RING_INDIRECT_DESC, "RING_INDIRECT_DESC"},
		{VH_TYPE_BLK, VH_F_RING_EVENT_IDX, "RING_EVENT_IDX"},
		{VH_TYPE_BLK, VH_F_PROTOCOL_FEATURES, "PROTOCOL_FEATURES"},
		{VH_TYPE_NET, VH_F_VERSION_1, "VERSION_1"},
		{VH_TYPE_NET, VH_F_ACCESS_PLATFORM, "ACCESS_PLATFORM"},
		{VH_TYPE_NET, VH_F_RING_PACKED, "RING_PACKED"},
		{VH_TYPE_NET, VH_F_IN_ORDER, "IN_ORDER"},
		{VH_TYPE_NET, VH_F_ORDER_PLATFORM, "ORDER_PLATFORM"},
		{VH_TYPE_NET, VH_F_RING_RESET, "RING_RESET"},
		{VH_TYPE_NET, 3, "NET_MTU"},
		{VH_TYPE_NET, 63, "NET_SPEED_DUPLEX"},
		{99, 3, NULL},
		{99, VH_F_VERSION_1, "VERSION_1"},
		{0xffffffff, 0xffffffff, NULL},
	};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(cases); i++) {
		const char *name = vh_feature_name(cases[i].space, cases[i].bit);

		if (!cases[i].name)
			assert_null(name);
		else if (!name)
			fail_msg("%s has no name", cases[i].name);
		else
			assert_string_equal(name, cases[i].name);
	}
}

/* The payload lies at the end of an allocation of its size, so that a read beyond it is seen. */
static const char *json_of(uint32_t channel, uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
	static char line[16384];
	void *copy = size ? malloc(size) : NULL;
	struct vh_msg_info info = {.size = sizeof(info),
				   .direction = VH_MSG_RECEIVED,
				   .channel = channel,
				   .request = request,
				   .flags = flags,
				   .payload_size = size,
				   .time_ns = 7,
				   .payload = (uint64_t)(uintptr_t)copy};
	vh_count n;

	if (size)
		memcpy(copy, payload, size);
	n = vh_msg_json(&info, line, sizeof(line));
	free(copy);
	assert_true(n > 0);
	assert_int_equal(strlen(line), n);
	return line;
}

static void json_has_the_fields_by_name(void **state)
{
	struct vhi_wire_vring_state num = {1, 128};
	struct vhi_wire_mem_table table = {.n = 1, .regions = {{1, 2, 3, 4}}};
	struct vhi_wire_config config = {.offset = 8, .size = 2, .data = {0xab, 0xcd}};
	uint64_t kick = VHI_WIRE_VRING_NOFD | 3;
	uint64_t status = 1;

	(void)state;
	assert_string_equal(json_of(0, VHI_FE_SET_VRING_NUM, 9, &num, sizeof(num)),
			    "{\"t\":7,\"dir\":\"received\",\"chan\":\"main\",\"req\":\"SET_VRING_NUM\",\"id\":8,"
			    "\"flags\":9,\"size\":8,\"fds\":0,\"site\":0,\"payload\":{\"index\":1,\"num\":128}}");
	assert_non_null(strstr(json_of(0, VHI_FE_SET_MEM_TABLE, 1, &table, 40),
			       "\"payload\":{\"n\":1,\"regions\":[{\"gpa\":1,\"size\":2,\"uva\":3,\"offset\":4}]}}"));
	assert_non_null(strstr(json_of(0, VHI_FE_GET_CONFIG, 5, &config, 14),
			       "{\"offset\":8,\"size\":2,\"flags\":0,\"data\":\"abcd\"}"));
	assert_non_null(strstr(json_of(0, VHI_FE_SET_VRING_KICK, 1, &kick, 8), "{\"index\":3,\"nofd\":true}"));
	assert_non_null(strstr(json_of(0, VHI_FE_SET_VRING_KICK, 5, &status, 8), "{\"value\":1}"));
	assert_non_null(strstr(json_of(0, VHI_FE_GET_VRING_BASE, 5, &num, 8), "{\"index\":1,\"num\":128}"));
	assert_non_null(strstr(json_of(1, VHI_BE_VRING_CALL, 1, &num, 8), "\"chan\":\"backend\",\"req\":\"BACKEND_"));
	assert_null(strstr(json_of(0, VHI_FE_GET_FEATURES, 1, NULL, 0), "payload"));
}

static void json_shows_what_it_does_not_know_as_bounded_hex(void **state)
{
	uint8_t bytes[VHI_WIRE_MAX_PAYLOAD] = {0x12, 0x34, 0x56};
	struct vhi_wire_mem_table lie = {.n = 0xffffffff};

	(void)state;
	assert_non_null(strstr(json_of(0, 1000, 1, bytes, 3), "\"req\":\"UNKNOWN\",\"id\":1000"));
	assert_non_null(strstr(json_of(0, 1000, 1, bytes, 3), "{\"hex\":\"123456\"}"));
	assert_non_null(strstr(json_of(0, VHI_FE_SET_VRING_NUM, 1, bytes, 3), "{\"hex\":\"123456\"}"));
	assert_true(strlen(json_of(0, VHI_FE_SET_VRING_NUM, 1, bytes, sizeof(bytes))) < 1000);
	assert_non_null(strstr(json_of(0, VHI_FE_SET_MEM_TABLE, 1, &lie, 8), "{\"n\":4294967295,\"regions\":[]}"));
	assert_true(strlen(json_of(0, VHI_FE_SET_MEM_TABLE, 1, &lie, sizeof(lie))) < 4000);
}

/* Every message with every small size, and a sample of the rest: reads stay inside, the line is an object. */
static void json_takes_every_message_in_every_size(void **state)
{
	uint8_t bytes[VHI_WIRE_MAX_PAYLOAD];

	(void)state;
	memset(bytes, 0xff, sizeof(bytes));
	for (uint32_t channel = 0; channel < 2; channel++)
		for (uint32_t id = 0; id < 47; id++)
			for (uint32_t size = 0; size <= sizeof(bytes); size += size < 340 ? 1 : 939)
				for (uint32_t flags = 1; flags <= 5; flags += 4) {
					const char *line = json_of(channel, id, flags, bytes, size);

					assert_int_equal(line[strlen(line) - 1], '}');
				}
}

static void json_says_what_is_wrong_with_its_arguments(void **state)
{
	struct vh_msg_info info = {.size = sizeof(info), .request = 1, .flags = 1};
	char buf[400] = "before";

	(void)state;
	assert_int_equal(vh_msg_json(NULL, buf, sizeof(buf)), -EINVAL);
	assert_int_equal(vh_msg_json(&info, NULL, sizeof(buf)), -EINVAL);
	assert_int_equal(vh_msg_json(&info, buf, 0), -EINVAL);
	assert_string_equal(buf, "before");
	for (size_t cap = 1; cap <= 98; cap++) {
		buf[cap] = 'x';
		assert_int_equal(vh_msg_json(&info, buf, cap), -ENOSPC);
		assert_string_equal(buf, "");
		assert_int_equal(buf[cap], 'x');
	}
	info.payload_size = 8;
	assert_int_equal(vh_msg_json(&info, buf, sizeof(buf)), -EINVAL);
	info.payload_size = 0;
	info.channel = 2;
	assert_int_equal(vh_msg_json(&info, buf, sizeof(buf)), -EINVAL);
	info.channel = 0;
	info.size = 0;
	assert_int_equal(vh_msg_json(&info, buf, sizeof(buf)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_have_names),
		cmocka_unit_test(feature_bits_have_the_names_of_their_device),
		cmocka_unit_test(json_has_the_fields_by_name),
		cmocka_unit_test(json_shows_what_it_does_not_know_as_bounded_hex),
		cmocka_unit_test(json_takes_every_message_in_every_size),
		cmocka_unit_test(json_says_what_is_wrong_with_its_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
