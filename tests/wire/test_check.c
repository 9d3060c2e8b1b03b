/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the columns of the table refuse: headers, sizes, fds, features; replies, sending, answers. */
#include "test_wire.h"

/* A message that passes: returns its size and number of fds. */
static uint32_t fill_good(enum vhi_wire_side side, const struct vhi_wire_msg *m, uint32_t *n_fds)
{
	clear();
	*n_fds = m->accept_fd_max;
	switch (m->payload) {
	case VHI_P_MEM_TABLE:
		p.table.n = *n_fds = 2;
		return 8 + 2 * 32;
	case VHI_P_CONFIG:
		p.config.size = 60;
		return 72;
	case VHI_P_LOG:
		p.log.mmap_size = 4096;
		return sizeof(p.log);
	case VHI_P_IOTLB:
		p.iotlb.type = side == VHI_WIRE_FRONT_END ? 2 : 1;
		p.iotlb.perm = 3;
		p.iotlb.size = 4096;
		return sizeof(p.iotlb);
	case VHI_P_INFLIGHT:
		p.inflight.num_queues = 1;
		p.inflight.queue_size = 128;
		p.inflight.mmap_size = 4096;
		return sizeof(p.inflight);
	case VHI_P_UUID:
		p.bytes[3] = 1;
		return 16;
	case VHI_P_MMAP:
		p.mmap.len = 4096;
		return sizeof(p.mmap);
	case VHI_P_U64:
		if (side == VHI_WIRE_FRONT_END && m->id == VHI_FE_NET_SET_MTU)
			p.u64 = 1500;
		return 8;
	default:
		return m->min;
	}
}

typedef void (*each)(enum vhi_wire_side side, const struct vhi_wire_msg *m);

static void for_every_message(each f)
{
	for (int side = VHI_WIRE_FRONT_END; side <= VHI_WIRE_BACK_END; side++) {
		size_t n;
		const struct vhi_wire_msg *m = vhi_wire_table((enum vhi_wire_side)side, &n);

		for (size_t i = 0; i < n; i++)
			f((enum vhi_wire_side)side, &m[i]);
	}
}

static bool size_fits(const struct vhi_wire_msg *m, uint32_t size, uint32_t good)
{
	switch (m->payload) {
	case VHI_P_LOG:
		return size == 8 || size == 16;
	case VHI_P_UUID:
		return size == 16 || (!size && !m->accept_min);
	default:
		return size == good;
	}
}

/* Without LOG_SHMFD, so that a bare u64 passes too. */
static void sweep_sizes(enum vhi_wire_side side, const struct vhi_wire_msg *m)
{
	struct vhi_wire_features f = everything;
	uint32_t n_fds, good = fill_good(side, m, &n_fds);

	f.pf_acked &= ~VHI_BIT(VH_PF_LOG_SHMFD);
	for (uint32_t size = 0; size <= VHI_WIRE_MAX_PAYLOAD; size++) {
		uint32_t site = request(side, m->id, size, n_fds, &f);

		if (!site != size_fits(m, size, good))
			fail_msg("%s with %u bytes: site %u", m->name, size, site);
	}
}

static void every_message_is_accepted_with_its_sizes_only(void **state)
{
	(void)state;
	for_every_message(sweep_sizes);
}

static void sweep_fds(enum vhi_wire_side side, const struct vhi_wire_msg *m)
{
	for (uint32_t n = 0; n <= 9; n++) {
		uint32_t n_fds, size = fill_good(side, m, &n_fds);
		uint32_t site = request(side, m->id, size, n, &everything);
		bool fits = n == n_fds;

		if (side == VHI_WIRE_FRONT_END && m->id == VHI_FE_REM_MEM_REG)
			fits = n <= 1;
		if (!site != fits)
			fail_msg("%s with %u fds: site %u", m->name, n, site);
	}
}

static void every_message_is_accepted_with_its_number_of_fds_only(void **state)
{
	(void)state;
	for_every_message(sweep_fds);
}

static void sweep_gates(enum vhi_wire_side side, const struct vhi_wire_msg *m)
{
	uint32_t n_fds, size = fill_good(side, m, &n_fds);

	for (uint32_t bit = 0; bit < 64; bit++) {
		struct vhi_wire_features f = everything;
		uint32_t site;

		f.pf_acked = f.pf_offered = ~VHI_BIT(bit) & ~XEN;
		site = request(side, m->id, size, n_fds, &f);
		if (site != (m->pf & VHI_BIT(bit) ? VHI_SITE_WIRE_PF : 0))
			fail_msg("%s without protocol feature %u: site %u", m->name, bit, site);
		f = everything;
		f.offered = ~VHI_BIT(bit);
		site = request(side, m->id, size, n_fds, &f);
		if (site != (m->vf_accept & VHI_BIT(bit) ? VHI_SITE_WIRE_VF : 0))
			fail_msg("%s without feature %u: site %u", m->name, bit, site);
	}
}

static void every_message_needs_its_features(void **state)
{
	(void)state;
	for_every_message(sweep_gates);
}

static void offers_are_enough_for_a_front_end_but_not_for_a_back_end(void **state)
{
	struct vhi_wire_features f = {.offered = UINT64_MAX, .pf_offered = UINT64_MAX};

	(void)state;
	clear();
	p.state.num = 1;
	assert_int_equal(request(VHI_WIRE_FRONT_END, VHI_FE_SET_VRING_ENABLE, 8, 0, &f), 0);
	p.u64 = 1500;
	assert_int_equal(request(VHI_WIRE_FRONT_END, VHI_FE_NET_SET_MTU, 8, 0, &f), 0);
	clear();
	assert_int_equal(request(VHI_WIRE_FRONT_END, VHI_FE_SET_LOG_BASE, 16, 1, &f), 0);
	assert_int_equal(request(VHI_WIRE_FRONT_END, VHI_FE_SET_LOG_BASE, 8, 0, &f), 0);
	assert_int_equal(request(VHI_WIRE_BACK_END, VHI_BE_CONFIG_CHANGE_MSG, 0, 0, &f), VHI_SITE_WIRE_PF);
}

static void headers_that_can_t_be_followed_are_refused(void **state)
{
	struct vhi_wire_header h = {.request = 1, .flags = 1};

	(void)state;
	assert_int_equal(vhi_wire_check_header(&h, false), 0);
	assert_int_equal(vhi_wire_check_header(&h, true), VHI_SITE_WIRE_DIRECTION);
	for (uint32_t version = 0; version < 4; version++) {
		h.flags = version;
		assert_int_equal(vhi_wire_check_header(&h, false), version == 1 ? 0 : VHI_SITE_WIRE_VERSION);
	}
	h.flags = 9; /* need_reply */
	assert_int_equal(vhi_wire_check_header(&h, false), 0);
	h.flags = 5;
	assert_int_equal(vhi_wire_check_header(&h, false), VHI_SITE_WIRE_DIRECTION);
	assert_int_equal(vhi_wire_check_header(&h, true), 0);
	h.flags = 13; /* libvhost-user leaves need_reply in its replies */
	assert_int_equal(vhi_wire_check_header(&h, true), 0);
	for (uint32_t bit = 4; bit < 32; bit++) {
		h.flags = 1u | 1u << bit;
		assert_int_equal(vhi_wire_check_header(&h, false), VHI_SITE_WIRE_FLAGS);
	}
	h.flags = 1;
	h.size = 4096;
	assert_int_equal(vhi_wire_check_header(&h, false), 0);
	for (uint32_t i = 0; i < 4; i++) {
		static const uint32_t sizes[] = {4097, 0x7fffffff, 0x80000000, 0xffffffff};

		h.size = sizes[i];
		assert_int_equal(vhi_wire_check_header(&h, false), VHI_SITE_WIRE_LENGTH);
	}
	h.request = 0xffffffff; /* an id says nothing about the stream */
	h.size = 8;
	assert_int_equal(vhi_wire_check_header(&h, false), 0);
}

static void unknown_ids_are_refused(void **state)
{
	static const uint32_t ids[] = {0, 46, 1000, 0x7fffffff, 0xffffffff};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(ids); i++) {
		assert_int_equal(fe(ids[i], 0, 0), VHI_SITE_WIRE_UNKNOWN);
		assert_int_equal(fe(ids[i], 4096, 8), VHI_SITE_WIRE_UNKNOWN);
	}
	assert_int_equal(be(11, 0, 0), VHI_SITE_WIRE_UNKNOWN);
}

static uint32_t reply(uint32_t id, bool own, uint32_t size, uint32_t n_fds)
{
	const struct vhi_wire_msg *m = vhi_wire_find(VHI_WIRE_FRONT_END, id);
	struct vhi_wire_header h = {.request = id, .flags = 5, .size = size};

	return vhi_wire_check_reply(VHI_WIRE_FRONT_END, m, own, &h, &p, n_fds);
}

static void sweep_replies(enum vhi_wire_side side, const struct vhi_wire_msg *m)
{
	struct vhi_wire_header h = {.request = m->id, .flags = 5, .size = 8};

	clear();
	assert_int_equal(vhi_wire_check_reply(side, m, false, &h, &p, 0), 0);
	assert_int_equal(vhi_wire_check_reply(side, m, false, &h, &p, 1), VHI_SITE_WIRE_REPLY_FDS);
	h.size = 4;
	assert_int_equal(vhi_wire_check_reply(side, m, false, &h, &p, 0), VHI_SITE_WIRE_REPLY_SIZE);
	h.size = 9;
	assert_int_equal(vhi_wire_check_reply(side, m, false, &h, &p, 0), VHI_SITE_WIRE_REPLY_SIZE);
	h.request++;
	h.size = 8;
	assert_int_equal(vhi_wire_check_reply(side, m, false, &h, &p, 0), VHI_SITE_WIRE_REPLY_ID);
	if (m->reply == VHI_REPLY_RULE_ACK)
		return;
	h.request = m->id;
	h.size = m->reply_max + 1u;
	assert_int_equal(vhi_wire_check_reply(side, m, true, &h, &p, 0), VHI_SITE_WIRE_REPLY_SIZE);
	h.size = m->reply_max;
	assert_int_equal(vhi_wire_check_reply(side, m, true, &h, &p, m->reply_fd_max + 1u), VHI_SITE_WIRE_REPLY_FDS);
}

static void every_reply_has_its_id_size_and_fds(void **state)
{
	(void)state;
	for_every_message(sweep_replies);
	assert_int_equal(reply(VHI_FE_GET_FEATURES, true, 8, 0), 0);
	assert_int_equal(reply(VHI_FE_GET_VRING_BASE, true, 8, 0), 0);
	for (uint32_t size = 0; size <= 16; size += 8)
		assert_int_equal(reply(VHI_FE_SET_LOG_BASE, true, size, 0), 0);
}

static void sweep_sending(enum vhi_wire_side side, const struct vhi_wire_msg *m)
{
	struct vhi_wire_features f = everything;

	(void)side;
	assert_int_equal(vhi_wire_check_send(m, m->max, m->fd_max, &f), 0);
	assert_int_equal(vhi_wire_check_send(m, m->max + 1u, m->fd_max, &f), VHI_SITE_WIRE_SEND_SIZE);
	assert_int_equal(vhi_wire_check_send(m, m->max, m->fd_max + 1u, &f), VHI_SITE_WIRE_SEND_FDS);
	if (m->min)
		assert_int_equal(vhi_wire_check_send(m, m->min - 1u, m->fd_max, &f), VHI_SITE_WIRE_SEND_SIZE);
	if (m->fd_min)
		assert_int_equal(vhi_wire_check_send(m, m->max, m->fd_min - 1u, &f), VHI_SITE_WIRE_SEND_FDS);
	f.pf_acked = ~m->pf;
	assert_int_equal(vhi_wire_check_send(m, m->max, m->fd_max, &f), m->pf ? VHI_SITE_WIRE_SEND_PF : 0);
	f = everything;
	f.acked = 0;
	assert_int_equal(vhi_wire_check_send(m, m->max, m->fd_max, &f), m->vf_send ? VHI_SITE_WIRE_SEND_VF : 0);
	f.acked = UINT64_MAX;
	f.offered = 0;
	assert_int_equal(vhi_wire_check_send(m, m->max, m->fd_max, &f), m->vf_accept ? VHI_SITE_WIRE_SEND_VF : 0);
}

static void only_what_was_negotiated_is_sent(void **state)
{
	(void)state;
	for_every_message(sweep_sending);
}

static void answers_follow_need_reply_only_when_it_is_usable(void **state)
{
	struct vhi_wire_features none = {0};
	struct vhi_wire_features ack = {.pf_acked = VHI_BIT(VH_PF_REPLY_ACK)};
	struct vhi_wire_features log = {.pf_acked = VHI_BIT(VH_PF_REPLY_ACK) | VHI_BIT(VH_PF_LOG_SHMFD)};
	const struct vhi_wire_msg *get = vhi_wire_find(VHI_WIRE_FRONT_END, VHI_FE_GET_CONFIG);
	const struct vhi_wire_msg *set = vhi_wire_find(VHI_WIRE_FRONT_END, VHI_FE_SET_VRING_NUM);
	const struct vhi_wire_msg *base = vhi_wire_find(VHI_WIRE_FRONT_END, VHI_FE_SET_LOG_BASE);

	(void)state;
	assert_int_equal(vhi_wire_answer(get, 1, &none), VHI_ANSWER_OWN);
	assert_int_equal(vhi_wire_answer(get, 9, &ack), VHI_ANSWER_OWN);
	assert_int_equal(vhi_wire_answer(set, 9, &none), VHI_ANSWER_NONE);
	assert_int_equal(vhi_wire_answer(set, 1, &ack), VHI_ANSWER_NONE);
	assert_int_equal(vhi_wire_answer(set, 9, &ack), VHI_ANSWER_STATUS);
	assert_int_equal(vhi_wire_answer(base, 9, &ack), VHI_ANSWER_STATUS);
	assert_int_equal(vhi_wire_answer(base, 1, &log), VHI_ANSWER_OWN);
	assert_int_equal(vhi_wire_answer(NULL, 9, &ack), VHI_ANSWER_STATUS);
	assert_int_equal(vhi_wire_answer(NULL, 9, &none), VHI_ANSWER_NONE);

	assert_int_equal(vhi_wire_refusal(get, 9, &ack), VHI_REFUSAL_EMPTY);
	assert_int_equal(vhi_wire_refusal(set, 9, &ack), VHI_REFUSAL_STATUS);
	assert_int_equal(vhi_wire_refusal(set, 9, &none), VHI_REFUSAL_CLOSE);
	assert_int_equal(vhi_wire_refusal(base, 9, &log), VHI_REFUSAL_CLOSE);
	assert_int_equal(vhi_wire_refusal(base, 9, &ack), VHI_REFUSAL_STATUS);
	assert_int_equal(vhi_wire_refusal(NULL, 1, &ack), VHI_REFUSAL_CLOSE);
}

static void every_site_has_a_text(void **state)
{
	static const uint32_t sites[] = {
#define VHI_SITE(name, number, text) VHI_SITE_##name,
#include "../../src/wire/sites.def"
#undef VHI_SITE
	};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(sites); i++) {
		assert_in_range(sites[i], 100, 199);
		assert_non_null(vhi_wire_site_text(sites[i]));
		for (size_t k = 0; k < i; k++)
			assert_int_not_equal(sites[i], sites[k]);
	}
	assert_null(vhi_wire_site_text(0));
	assert_null(vhi_wire_site_text(200));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_is_accepted_with_its_sizes_only),
		cmocka_unit_test(every_message_is_accepted_with_its_number_of_fds_only),
		cmocka_unit_test(every_message_needs_its_features),
		cmocka_unit_test(offers_are_enough_for_a_front_end_but_not_for_a_back_end),
		cmocka_unit_test(headers_that_can_t_be_followed_are_refused),
		cmocka_unit_test(unknown_ids_are_refused),
		cmocka_unit_test(every_reply_has_its_id_size_and_fds),
		cmocka_unit_test(only_what_was_negotiated_is_sent),
		cmocka_unit_test(answers_follow_need_reply_only_when_it_is_usable),
		cmocka_unit_test(every_site_has_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
