/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "msg.h"

#include "vh/vh.h"

void msg_begin(struct msg *m, uint32_t id, uint32_t flags)
{
	m->id = id;
	m->flags = flags;
	m->size = m->len = m->n_fds = 0;
}

void msg_put(struct msg *m, const void *bytes, size_t n)
{
	CHECK(m->len + n <= sizeof(m->payload));
	memcpy(m->payload + m->len, bytes, n);
	m->len += (uint32_t)n;
	m->size = m->len;
}

void msg_put_u64(struct msg *m, uint64_t v)
{
	msg_put(m, &v, sizeof(v));
}

void msg_put_state(struct msg *m, uint32_t index, uint32_t num)
{
	const struct vhi_wire_vring_state state = {index, num};

	msg_put(m, &state, sizeof(state));
}

void msg_put_region(struct msg *m, uint64_t gpa, uint64_t uva, uint64_t len, uint64_t offset)
{
	const struct vhi_wire_region region = {gpa, len, uva, offset};

	msg_put(m, &region, sizeof(region));
}

void msg_put_addr(struct msg *m, uint32_t index, uint32_t flags, uint64_t desc, uint64_t avail, uint64_t used)
{
	const struct vh_vring_addr addr = {.index = index, .flags = flags, .desc = desc, .used = used, .avail = avail};

	msg_put(m, &addr, sizeof(addr));
}

/* Zero fills: an input that is cut short still makes a message. */
static void put_input(struct msg *m, struct input *in, size_t n)
{
	uint8_t bytes[MSG_MAX_PAYLOAD];

	n = n < sizeof(bytes) - m->len ? n : sizeof(bytes) - m->len;
	in_bytes(in, bytes, n);
	msg_put(m, bytes, n);
}

static void put_fd(struct msg *m, struct input *in, int mem, int channel)
{
	uint8_t what = in_u8(in);
	int fd;

	if (m->n_fds == MSG_MAX_FDS)
		return;
	if (what >= 128)
		fd = what & 1 ? channel : mem;
	else
		fd = -1;
	fd = fd >= 0 ? kern_dup(fd) : kern_open(what % KERN_KINDS, (uint64_t)in_u8(in) << 10);
	if (fd >= 0)
		m->fds[m->n_fds++] = fd;
}

static uint32_t flags_of(uint8_t code)
{
	static const uint32_t flags[] = {1, 9, 5, 13, 0, 2, 0x11, 0x80000001};

	return flags[code % 8];
}

void msg_raw(struct msg *m, struct input *in, int mem, int channel)
{
	uint32_t id = in_u8(in), n;
	uint8_t code;

	msg_begin(m, id == 255 ? in_u32(in) : id, flags_of(in_u8(in)));
	code = in_u8(in);
	put_input(m, in, code < 250 ? code : in_u16(in) % MSG_MAX_PAYLOAD);
	code = in_u8(in);
	if (code)
		m->size = code == 255 ? in_u32(in) : m->len + code - 128;
	for (n = in_u8(in) % (MSG_MAX_FDS + 1); n; n--)
		put_fd(m, in, mem, channel);
}

/* Small numbers, single bits, all bits, or anything. */
static uint64_t any_u64(struct input *in)
{
	uint8_t code = in_u8(in);

	if (code < 160)
		return code;
	if (code < 224)
		return UINT64_C(1) << (code - 160);
	return code < 240 ? UINT64_MAX << (code - 224) : in_u64(in);
}

/* In one of the two regions, or anywhere. */
static uint64_t any_uva(struct input *in)
{
	uint16_t v = in_u16(in);

	if (v == 0xffff)
		return in_u64(in);
	return v & 1 ? AREA_UVA_2 + (v & ~1u) : AREA_UVA + (v & ~1u);
}

static void put_any_region(struct msg *m, struct input *in)
{
	uint8_t code = in_u8(in), where = in_u8(in), size = in_u8(in), skew = in_u8(in);
	uint64_t at = (uint64_t)where << 12, len = (uint64_t)size << 10;

	switch (code % 5) {
	case 0:
		msg_put_region(m, AREA_GPA, AREA_UVA, AREA_LEN, 0);
		break;
	case 1:
		msg_put_region(m, AREA_GPA_2, AREA_UVA_2, AREA_LEN_2, AREA_LEN);
		break;
	case 2:
		msg_put_region(m, at, at + AREA_UVA, len, 0);
		break;
	case 3:
		msg_put_region(m, at + skew, AREA_UVA + at, len - skew, skew);
		break;
	default:
		msg_put_region(m, any_u64(in), any_u64(in), any_u64(in), any_u64(in));
	}
}

static void put_regions(struct msg *m, struct input *in)
{
	uint8_t n = in_u8(in), fds = in_u8(in);
	const uint32_t head[2] = {n & 15u, n >> 7};

	msg_put(m, head, sizeof(head));
	for (uint32_t i = 0; i < head[0]; i++)
		put_any_region(m, in);
	/* 0: as many as there are regions. */
	for (uint32_t i = 0; i < (fds ? fds % MSG_MAX_FDS : head[0]); i++)
		put_fd(m, in, -1, -1);
}

static void put_config(struct msg *m, struct input *in)
{
	uint8_t offset = in_u8(in), size = in_u8(in), flags = in_u8(in);
	const uint32_t head[3] = {offset, size ? size : 256, flags & 1 ? flags : 0};

	msg_put(m, head, sizeof(head));
	put_input(m, in, flags & 2 ? size & 15u : head[1]);
}

static void put_payload(struct msg *m, struct input *in, const struct vhi_wire_msg *row)
{
	uint8_t code;

	switch (row->payload) {
	case VHI_P_U64:
		msg_put_u64(m, any_u64(in));
		break;
	case VHI_P_VRING_FD:
		msg_put_u64(m, any_u64(in));
		break;
	case VHI_P_VRING_STATE:
		code = in_u8(in);
		msg_put_state(m, code & 15u, code & 16 ? in_u32(in) : code & 32 ? 1u << (in_u8(in) & 15) : in_u8(in));
		break;
	case VHI_P_VRING_ADDR:
		code = in_u8(in);
		if (code < 128)
			msg_put_addr(m, code & 7u, (code >> 3) & 1, AREA_UVA + RING_AT((code >> 4) & 3u),
				     AREA_UVA + RING_AT((code >> 4) & 3u) + RING_AVAIL,
				     AREA_UVA + RING_AT((code >> 4) & 3u) + RING_USED);
		else
			msg_put_addr(m, code & 7u, (code >> 3) & 3u, any_uva(in), any_uva(in), any_uva(in));
		break;
	case VHI_P_MEM_TABLE:
		put_regions(m, in);
		break;
	case VHI_P_MEM_REG:
		msg_put_u64(m, 0);
		put_any_region(m, in);
		break;
	case VHI_P_CONFIG:
		put_config(m, in);
		break;
	default:
		put_input(m, in, row->accept_min);
	}
}

void msg_typed(struct msg *m, struct input *in, enum vhi_wire_side side, int mem, int channel)
{
	uint8_t id = in_u8(in), flags = in_u8(in), n = in_u8(in);
	size_t rows;
	const struct vhi_wire_msg *table = vhi_wire_table(side, &rows), *row = &table[id % rows];

	msg_begin(m, row->id, flags_of(flags));
	put_payload(m, in, row);
	if (row->payload == VHI_P_MEM_TABLE)
		return;
	/* One where one is needed or can be, else none; or as many as the input says. */
	n = n < 128 ? (row->accept_fd_max && !(n & 1)) : n & 3;
	for (; n; n--)
		put_fd(m, in, mem, channel);
}

void msg_send(struct msg *m, int fd)
{
	const uint32_t head[3] = {m->id, m->flags, m->size};
	uint8_t all[sizeof(head) + MSG_MAX_PAYLOAD];

	memcpy(all, head, sizeof(head));
	memcpy(all + sizeof(head), m->payload, m->len);
	if (fd >= 0)
		kern_write(fd, all, sizeof(head) + m->len, m->fds, m->n_fds);
	while (m->n_fds)
		kern_close(m->fds[--m->n_fds]);
}

void msg_stream_end(struct stream *s)
{
	while (s->n_fds)
		kern_close(s->fds[--s->n_fds]);
	s->have = 0;
}

static void take_bytes(int fd, struct stream *s, uint32_t want)
{
	int fds[256];
	uint32_t n;

	s->have += (uint32_t)kern_read(fd, (uint8_t *)s->head + s->have, want - s->have, fds, &n);
	CHECK(n + s->n_fds <= VHI_WIRE_MAX_FDS);
	memcpy(s->fds + s->n_fds, fds, n * sizeof(int));
	s->n_fds += n;
}

bool msg_next(int fd, struct stream *s)
{
	const uint32_t head = sizeof(s->head);

	if (s->have >= head && s->have == head + s->head[2])
		msg_stream_end(s);
	while (fd >= 0 && kern_readable(fd)) {
		/* The payload follows in the struct without a gap. */
		take_bytes(fd, s, s->have < head ? head : head + s->head[2]);
		if (s->have < head)
			continue;
		CHECK((s->head[1] & 3) == 1 && s->head[2] <= VHI_WIRE_MAX_PAYLOAD);
		if (s->have == head + s->head[2])
			return true;
	}
	return false;
}

void msg_drain(int fd, struct stream *s)
{
	while (msg_next(fd, s))
		;
}

static void trace_message(void *ctx, const struct vh_msg_info *info)
{
	char line[8192];
	vh_count n = vh_msg_json(info, line, sizeof(line));

	(void)ctx;
	CHECK(n > 0 && (size_t)n == strlen(line) && line[0] == '{' && line[n - 1] == '}');
}

const struct vh_trace_ops msg_trace = {.size = sizeof(msg_trace), .message = trace_message};
