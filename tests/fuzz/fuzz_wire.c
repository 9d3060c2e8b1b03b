/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The message table's checks and the JSON of a message, with every feature there may be: no connection of this version
 * gets to those of messages that it does not offer.
 */
#include "input.h"
#include "kernel.h"
#include "vh/vh.h"
#include "vhi_wire.h"

/* A payload has just the bytes that its header says. */
static uint8_t *payload_of(struct input *in, uint32_t size)
{
	uint8_t *payload = malloc(size ? size : 1);

	in_bytes(in, payload, size);
	return payload;
}

static void json(const struct vhi_wire_header *h, const uint8_t *payload, uint32_t n_fds, uint32_t channel,
		 uint32_t cap)
{
	const struct vh_msg_info info = {.size = sizeof(info),
					 .direction = h->flags & VHI_WIRE_REPLY ? VH_MSG_SENT : VH_MSG_RECEIVED,
					 .channel = channel,
					 .request = h->request,
					 .flags = h->flags,
					 .payload_size = h->size,
					 .n_fds = n_fds,
					 .payload = (uint64_t)(uintptr_t)payload};
	char *line = malloc(cap);
	vh_count n = vh_msg_json(&info, line, cap);

	if (n >= 0)
		CHECK((size_t)n < cap && strlen(line) == (size_t)n && line[n - 1] == '}');
	else
		CHECK(!line[0]);
	free(line);
}

/* Whatever is accepted has a size and as many descriptors as its row says. */
static void request(const struct vhi_wire_header *h, const uint8_t *payload, uint32_t n_fds, enum vhi_wire_side side,
		    const struct vhi_wire_features *f)
{
	const struct vhi_wire_msg *row = vhi_wire_find(side, h->request);
	uint32_t site = vhi_wire_check_request(side, h, payload, n_fds, f);

	vhi_wire_answer(row, h->flags, f);
	vhi_wire_refusal(row, h->flags, f);
	if (row)
		vhi_wire_check_send(row, h->size, n_fds, f);
	if (site) {
		CHECK(vhi_wire_site_text(site));
		return;
	}
	CHECK(row && h->size >= row->accept_min && h->size <= row->accept_max);
	CHECK(n_fds >= row->accept_fd_min && n_fds <= row->accept_fd_max);
}

static void one(struct input *in)
{
	uint8_t how = in_u8(in), id = in_u8(in), flags = in_u8(in), code = in_u8(in);
	enum vhi_wire_side side = how & 1 ? VHI_WIRE_BACK_END : VHI_WIRE_FRONT_END;
	const struct vhi_wire_features f = {.offered = how & 2 ? UINT64_MAX : in_u64(in),
					    .acked = how & 2 ? UINT64_MAX : in_u64(in),
					    .pf_offered = UINT64_MAX,
					    .pf_acked = how & 4 ? UINT64_MAX : in_u64(in)};
	const struct vhi_wire_msg *row = vhi_wire_find(side, id % 64u);
	struct vhi_wire_header h = {.request = id % 64u, .flags = flags, .size = code};
	uint32_t n_fds = (how >> 5) & 3u;
	uint8_t *payload;

	/* The size of its kind, or any. */
	if (row && code >= 128)
		h.size = code & 1 ? row->accept_max : code & 2 ? row->reply_max : row->accept_min;
	else if (code == 127)
		h.size = in_u16(in) % (VHI_WIRE_MAX_PAYLOAD + 1);
	payload = payload_of(in, h.size);
	vhi_wire_check_header(&h, how & 8);
	request(&h, payload, n_fds, side, &f);
	if (row)
		vhi_wire_check_reply(side, row, how & 16, &h, payload, n_fds);
	json(&h, payload, n_fds, how & 1 ? VH_MSG_CHANNEL_BACKEND : VH_MSG_CHANNEL_MAIN, how & 128 ? 9000 : 1u + code);
	free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	for (int i = 0; i < 16 && in.left; i++)
		one(&in);
	return 0;
}
