/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The message table, the feature bits and the payload structs against the figures of the specification. */
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
#include "vht_tsv.h"

#define COLUMNS 16

struct word {
	const char *text;
	uint32_t value;
};

static uint32_t lookup(const struct word *words, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(words[i].text, text))
			return words[i].value;
	fail_msg("'%s' is not known", text);
	return 0;
}

static uint32_t payload_of(const char *text)
{
	static const struct word words[] = {
		{"none", VHI_P_NONE},
		{"u64", VHI_P_U64},
		{"vring_fd", VHI_P_VRING_FD},
		{"vring_state", VHI_P_VRING_STATE},
		{"vring_base_split", VHI_P_VRING_STATE},
		{"vring_addr", VHI_P_VRING_ADDR},
		{"mem_table", VHI_P_MEM_TABLE},
		{"mem_reg_msg", VHI_P_MEM_REG},
		{"log", VHI_P_LOG},
		{"iotlb_msg", VHI_P_IOTLB},
		{"config", VHI_P_CONFIG},
		{"vring_area", VHI_P_VRING_AREA},
		{"inflight", VHI_P_INFLIGHT},
		{"shared_uuid", VHI_P_UUID},
		{"device_state", VHI_P_DEVICE_STATE},
		{"mmap_req", VHI_P_MMAP},
		{"shmem_config", VHI_P_SHMEM_CONFIG},
		{"crypto_session", VHI_P_CRYPTO},
	};

	return lookup(words, VHI_ARRAY_SIZE(words), text);
}

static uint32_t reply_of(const char *text)
{
	static const struct word words[] = {
		{"none", VHI_REPLY_RULE_ACK}, {"own", VHI_REPLY_RULE_OWN}, {"own_log", VHI_REPLY_RULE_OWN_LOG}};

	return lookup(words, VHI_ARRAY_SIZE(words), text);
}

static uint32_t ring_of(const char *text)
{
	static const struct word words[] = {
		{"any", VHI_RING_ANY},
		{"stopped", VHI_RING_STOPPED},
		{"stopped_or_log", VHI_RING_STOPPED_OR_LOG},
		{"starts", VHI_RING_STARTS},
		{"stops", VHI_RING_STOPS},
		{"all_stopped", VHI_RING_ALL_STOPPED},
		{"not_suspended", VHI_RING_NOT_SUSPENDED},
	};

	return lookup(words, VHI_ARRAY_SIZE(words), text);
}

static uint64_t protocol_bits(char *names)
{
	uint64_t bits = 0;
	char *name;

	if (!strcmp(names, "-"))
		return 0;
	while ((name = strsep(&names, ","))) {
		uint32_t bit = 0;

		while (bit < 64 && (!vh_feature_name(0, bit) || strcmp(vh_feature_name(0, bit), name)))
			bit++;
		if (bit == 64)
			fail_msg("protocol feature '%s' has no bit", name);
		bits |= VHI_BIT(bit);
	}
	return bits;
}

static void check_virtio_bits(const struct vhi_wire_msg *m, char *column)
{
	uint64_t acked = 0, offered = 0;
	char *name = strsep(&column, ":");

	if (strcmp(name, "-")) {
		uint64_t bit = VHI_BIT(strtoul(strsep(&column, ":"), NULL, 10));

		offered = bit;
		if (!strcmp(column, "acked"))
			acked = bit;
		else
			assert_string_equal(column, "offered");
	}
	assert_true(m->vf_send == acked);
	assert_true(m->vf_accept == offered);
}

/* What we accept and send differs from the specification in these places only. */
static void check_bounds(const struct vhi_wire_msg *m, enum vhi_wire_side side, const struct vht_row *r)
{
	uint32_t accept_min = vht_number(r, 4), accept_max = vht_number(r, 5), fd_max = vht_number(r, 7);
	uint32_t accept_fd_max = fd_max;
	bool front_end = side == VHI_WIRE_FRONT_END;

	assert_int_equal(m->min, vht_number(r, 4));
	assert_int_equal(m->max, vht_number(r, 5));
	if (front_end && m->id == VHI_FE_SET_LOG_BASE)
		accept_min = 8;
	if (front_end && m->id == VHI_FE_GET_SHARED_OBJECT)
		accept_min = 0;
	assert_int_equal(m->accept_min, accept_min);
	/* 32 regions of those peers that have so many, each with an fd; 40 bytes with XEN_MMAP. */
	if (front_end && m->id == VHI_FE_SET_MEM_TABLE) {
		accept_max = 8 + 32 * 40;
		accept_fd_max = 32;
	}
	assert_int_equal(m->accept_max, accept_max);
	assert_int_equal(m->accept_fd_min, vht_number(r, 6));
	assert_int_equal(m->accept_fd_max, accept_fd_max);
	if (front_end && m->id == VHI_FE_REM_MEM_REG)
		fd_max = 0;
	assert_int_equal(m->fd_min, vht_number(r, 6));
	assert_int_equal(m->fd_max, fd_max);
}

static void check_message(const struct vht_row *r)
{
	enum vhi_wire_side side = strcmp(r->col[0], "fe") ? VHI_WIRE_BACK_END : VHI_WIRE_FRONT_END;
	const struct vhi_wire_msg *m = vhi_wire_find(side, vht_number(r, 1));

	assert_int_equal(r->n, COLUMNS);
	assert_non_null(m);
	print_message("%s\n", m->name);
	assert_int_equal(m->id, vht_number(r, 1));
	assert_string_equal(m->name, r->col[2]);
	assert_int_equal(m->payload, payload_of(r->col[3]));
	check_bounds(m, side, r);
	assert_int_equal(m->reply, reply_of(r->col[8]));
	assert_int_equal(m->reply_payload, payload_of(r->col[9]));
	assert_int_equal(m->reply_min, vht_number(r, 10));
	assert_int_equal(m->reply_max, vht_number(r, 11));
	assert_int_equal(m->reply_fd_max, vht_number(r, 12));
	assert_true(m->pf == protocol_bits(r->col[13]));
	check_virtio_bits(m, r->col[14]);
	assert_int_equal(m->ring, ring_of(r->col[15]));
}

static void table_has_the_figures_of_the_specification(void **state)
{
	FILE *f = vht_open_data("messages.tsv");
	struct vht_row r;
	size_t rows = 0, front_end, back_end;

	(void)state;
	for (; vht_next_row(f, "side", &r); rows++)
		check_message(&r);
	fclose(f);
	vhi_wire_table(VHI_WIRE_FRONT_END, &front_end);
	vhi_wire_table(VHI_WIRE_BACK_END, &back_end);
	assert_int_equal(front_end, 45);
	assert_int_equal(back_end, 10);
	assert_int_equal(rows, front_end + back_end);
}

static void refusal_forms_are_those_of_the_messages(void **state)
{
	static const struct {
		uint32_t id, form;
	} own[] = {
		{VHI_FE_GET_FEATURES, VHI_REFUSAL_CLOSE},
		{VHI_FE_SET_LOG_BASE, VHI_REFUSAL_CLOSE}, /* whatever value comes back means success to a front-end */
		{VHI_FE_GET_VRING_BASE, VHI_REFUSAL_CLOSE},
		{VHI_FE_GET_PROTOCOL_FEATURES, VHI_REFUSAL_CLOSE},
		{VHI_FE_GET_QUEUE_NUM, VHI_REFUSAL_CLOSE},
		{VHI_FE_IOTLB_MSG, VHI_REFUSAL_U64_1},
		{VHI_FE_GET_CONFIG, VHI_REFUSAL_EMPTY},
		{VHI_FE_CREATE_CRYPTO_SESSION, VHI_REFUSAL_NO_SESSION},
		{VHI_FE_POSTCOPY_ADVISE, VHI_REFUSAL_NO_FD},
		{VHI_FE_POSTCOPY_END, VHI_REFUSAL_U64_1},
		{VHI_FE_GET_INFLIGHT_FD, VHI_REFUSAL_MMAP_0},
		{VHI_FE_GET_MAX_MEM_SLOTS, VHI_REFUSAL_CLOSE},
		{VHI_FE_GET_STATUS, VHI_REFUSAL_CLOSE},
		{VHI_FE_GET_SHARED_OBJECT, VHI_REFUSAL_NO_FD},
		{VHI_FE_SET_DEVICE_STATE_FD, VHI_REFUSAL_U64_101},
		{VHI_FE_CHECK_DEVICE_STATE, VHI_REFUSAL_U64_1},
		{VHI_FE_GET_SHMEM_CONFIG, VHI_REFUSAL_CLOSE},
		{VHI_FE_GET_VRING_BASE_SKIP_DRAIN, VHI_REFUSAL_CLOSE},
	};
	size_t n, k = 0;
	const struct vhi_wire_msg *m = vhi_wire_table(VHI_WIRE_FRONT_END, &n);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		if (m[i].reply == VHI_REPLY_RULE_ACK) {
			assert_int_equal(m[i].refusal, VHI_REFUSAL_STATUS);
			continue;
		}
		assert_true(k < VHI_ARRAY_SIZE(own));
		assert_int_equal(m[i].id, own[k].id);
		assert_int_equal(m[i].refusal, own[k].form);
		k++;
	}
	assert_int_equal(k, VHI_ARRAY_SIZE(own));
	assert_int_equal(vhi_wire_find(VHI_WIRE_BACK_END, VHI_BE_SHARED_OBJECT_LOOKUP)->refusal, VHI_REFUSAL_U64_1);
}

static void protocol_features_have_their_bits_and_dependencies(void **state)
{
	FILE *f = vht_open_data("protocol_features.tsv");
	const uint64_t all = VHI_BIT(24) - 1;
	struct vht_row r;
	uint32_t bits = 0;

	(void)state;
	for (; vht_next_row(f, "bit", &r); bits++) {
		char *needs = r.col[2], *need;
		uint64_t alone = VHI_BIT(bits);

		assert_int_equal(vht_number(&r, 0), bits);
		assert_string_equal(vh_feature_name(0, bits), r.col[1]);
		if (!strcmp(needs, "-")) {
			assert_true(vhi_wire_pf_closure(alone) == alone);
			continue;
		}
		assert_true(vhi_wire_pf_closure(alone) == 0);
		while ((need = strsep(&needs, ","))) {
			uint64_t without = all & ~VHI_BIT(strtoul(need, NULL, 10));

			assert_false(vhi_wire_pf_closure(without) & VHI_BIT(bits));
		}
	}
	fclose(f);
	assert_int_equal(bits, 24);
	assert_true(vhi_wire_pf_closure(all) == all);
	/* One that is dropped takes others with it. */
	assert_true(
		vhi_wire_pf_closure(all & ~VHI_BIT(VH_PF_BACKEND_REQ)) ==
		(all & ~(VHI_BIT(VH_PF_BACKEND_REQ) | VHI_BIT(VH_PF_BACKEND_SEND_FD) | VHI_BIT(VH_PF_HOST_NOTIFIER) |
			 VHI_BIT(VH_PF_INBAND_NOTIFICATIONS) | VHI_BIT(VH_PF_SHMEM))));
}

#define AT(s, type, member, field)                                            \
	{                                                                     \
		s, field, offsetof(type, member), sizeof(((type *)0)->member) \
	}
#define ARRAY_AT(s, type, member, field)                                         \
	{                                                                        \
		s, field, offsetof(type, member), sizeof(((type *)0)->member[0]) \
	}

static const struct place {
	const char *of, *field;
	size_t offset, width;
} places[] = {
	AT("vring_state", struct vhi_wire_vring_state, index, "index"),
	AT("vring_state", struct vhi_wire_vring_state, num, "num"),
	AT("vring_addr", struct vh_vring_addr, index, "index"),
	AT("vring_addr", struct vh_vring_addr, flags, "flags"),
	AT("vring_addr", struct vh_vring_addr, desc, "descriptor"),
	AT("vring_addr", struct vh_vring_addr, used, "used"),
	AT("vring_addr", struct vh_vring_addr, avail, "available"),
	AT("vring_addr", struct vh_vring_addr, log, "log"),
	AT("mem_region", struct vhi_wire_region, gpa, "guest_addr"),
	AT("mem_region", struct vhi_wire_region, size, "size"),
	AT("mem_region", struct vhi_wire_region, uva, "user_addr"),
	AT("mem_region", struct vhi_wire_region, offset, "mmap_offset"),
	AT("log", struct vhi_wire_log, mmap_size, "mmap_size"),
	AT("log", struct vhi_wire_log, mmap_offset, "mmap_offset"),
	AT("iotlb_msg", struct vhi_wire_iotlb, iova, "iova"),
	AT("iotlb_msg", struct vhi_wire_iotlb, size, "size"),
	AT("iotlb_msg", struct vhi_wire_iotlb, uva, "user_addr"),
	AT("iotlb_msg", struct vhi_wire_iotlb, perm, "perm"),
	AT("iotlb_msg", struct vhi_wire_iotlb, type, "type"),
	ARRAY_AT("iotlb_msg", struct vhi_wire_iotlb, padding, "tail_padding"),
	AT("config", struct vhi_wire_config, offset, "offset"),
	AT("config", struct vhi_wire_config, size, "size"),
	AT("config", struct vhi_wire_config, flags, "flags"),
	ARRAY_AT("config", struct vhi_wire_config, data, "payload"),
	AT("vring_area", struct vhi_wire_vring_area, u64, "u64"),
	AT("vring_area", struct vhi_wire_vring_area, size, "size"),
	AT("vring_area", struct vhi_wire_vring_area, offset, "offset"),
	AT("inflight", struct vhi_wire_inflight, mmap_size, "mmap_size"),
	AT("inflight", struct vhi_wire_inflight, mmap_offset, "mmap_offset"),
	AT("inflight", struct vhi_wire_inflight, num_queues, "num_queues"),
	AT("inflight", struct vhi_wire_inflight, queue_size, "queue_size"),
	ARRAY_AT("inflight", struct vhi_wire_inflight, padding, "tail_padding"),
	AT("device_state", struct vhi_wire_device_state, direction, "direction"),
	AT("device_state", struct vhi_wire_device_state, phase, "phase"),
	AT("mmap_req", struct vhi_wire_mmap, shmid, "shmid"),
	ARRAY_AT("mmap_req", struct vhi_wire_mmap, padding, "padding"),
	AT("mmap_req", struct vhi_wire_mmap, fd_offset, "fd_offset"),
	AT("mmap_req", struct vhi_wire_mmap, shm_offset, "shm_offset"),
	AT("mmap_req", struct vhi_wire_mmap, len, "len"),
	AT("mmap_req", struct vhi_wire_mmap, flags, "flags"),
	AT("shmem_config", struct vhi_wire_shmem_config, n, "num_regions"),
	AT("shmem_config", struct vhi_wire_shmem_config, padding, "padding"),
	ARRAY_AT("shmem_config", struct vhi_wire_shmem_config, sizes, "sizes"),
};

static void payload_structs_lie_as_on_the_wire(void **state)
{
	FILE *f = vht_open_data("structs.tsv");
	struct vht_row r;
	size_t i = 0;

	(void)state;
	for (; vht_next_row(f, "struct", &r); i++) {
		assert_true(i < VHI_ARRAY_SIZE(places));
		assert_string_equal(r.col[0], places[i].of);
		assert_string_equal(r.col[1], places[i].field);
		assert_int_equal(vht_number(&r, 2), places[i].offset);
		assert_int_equal(vht_number(&r, 3), places[i].width);
	}
	fclose(f);
	assert_int_equal(i, VHI_ARRAY_SIZE(places));
	assert_int_equal(sizeof(struct vhi_wire_vring_state), 8);
	assert_int_equal(sizeof(struct vh_vring_addr), 40);
	assert_int_equal(sizeof(struct vhi_wire_mem_table), 8 + 32 * 32);
	assert_int_equal(sizeof(struct vhi_wire_mem_reg), 40);
	assert_int_equal(offsetof(struct vhi_wire_mem_reg, region), 8);
	assert_int_equal(sizeof(struct vhi_wire_iotlb), 32);
	assert_int_equal(sizeof(struct vhi_wire_config), 268);
	assert_int_equal(sizeof(struct vhi_wire_inflight), 24);
	assert_int_equal(sizeof(struct vhi_wire_mmap), 40);
	assert_int_equal(sizeof(struct vhi_wire_shmem_config), 2056);
	assert_int_equal(sizeof(struct vhi_wire_header), VHI_WIRE_HEADER);
}

static void ids_without_a_message_are_not_found(void **state)
{
	static const uint32_t ids[] = {0, 46, 1000, 0x7fffffff, 0xffffffff};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(ids); i++)
		assert_null(vhi_wire_find(VHI_WIRE_FRONT_END, ids[i]));
	assert_null(vhi_wire_find(VHI_WIRE_BACK_END, 0));
	assert_null(vhi_wire_find(VHI_WIRE_BACK_END, 11));
	assert_int_equal(VHI_FE_GET_FEATURES, 1);
	assert_int_equal(VHI_FE_GET_VRING_BASE_SKIP_DRAIN, 45);
	assert_int_equal(VHI_BE_SHMEM_UNMAP, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_has_the_figures_of_the_specification),
		cmocka_unit_test(refusal_forms_are_those_of_the_messages),
		cmocka_unit_test(protocol_features_have_their_bits_and_dependencies),
		cmocka_unit_test(payload_structs_lie_as_on_the_wire),
		cmocka_unit_test(ids_without_a_message_are_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
