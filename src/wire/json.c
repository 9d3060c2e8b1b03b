/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* One message as one line of JSON. */
#include <stdarg.h>
#include <stdio.h>

#include "vh/log.h"
#include "vh/protocol.h"
#include "vhi_wire.h"

#define HEX_MAX 64u /* bytes of a payload that are shown as hex */

/* The line as far as it goes; once it does not fit, nothing is added any more. */
struct line {
	char *buf;
	size_t cap;
	size_t len;
	bool full;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (l->full)
		return;
	va_start(ap, fmt);
	n = vsnprintf(l->buf + l->len, l->cap - l->len, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= l->cap - l->len)
		l->full = true;
	else
		l->len += (size_t)n;
}

static void add_hex(struct line *l, const char *key, const uint8_t *p, size_t n)
{
	add(l, "\"%s\":\"", key);
	for (size_t i = 0; i < n && i < HEX_MAX; i++)
		add(l, "%02x", p[i]);
	add(l, "%s\"", n > HEX_MAX ? "..." : "");
}

/* A field of a payload struct: an unsigned number in native byte order. */
struct field {
	uint8_t kind; /* enum vhi_wire_payload */
	uint8_t width;
	uint16_t offset;
	const char *name;
};

#define FIELD(kind, type, member, label)                                                 \
	{                                                                                \
		VHI_P_##kind, sizeof(((type *)0)->member), offsetof(type, member), label \
	}

static const struct field fields[] = {
	{VHI_P_U64, 8, 0, "value"},
	FIELD(VRING_STATE, struct vhi_wire_vring_state, index, "index"),
	FIELD(VRING_STATE, struct vhi_wire_vring_state, num, "num"),
	FIELD(VRING_ADDR, struct vh_vring_addr, index, "index"),
	FIELD(VRING_ADDR, struct vh_vring_addr, flags, "flags"),
	FIELD(VRING_ADDR, struct vh_vring_addr, desc, "desc"),
	FIELD(VRING_ADDR, struct vh_vring_addr, used, "used"),
	FIELD(VRING_ADDR, struct vh_vring_addr, avail, "avail"),
	FIELD(VRING_ADDR, struct vh_vring_addr, log, "log"),
	FIELD(MEM_REG, struct vhi_wire_mem_reg, region.gpa, "gpa"),
	FIELD(MEM_REG, struct vhi_wire_mem_reg, region.size, "size"),
	FIELD(MEM_REG, struct vhi_wire_mem_reg, region.uva, "uva"),
	FIELD(MEM_REG, struct vhi_wire_mem_reg, region.offset, "offset"),
	FIELD(LOG, struct vhi_wire_log, mmap_size, "mmap_size"),
	FIELD(LOG, struct vhi_wire_log, mmap_offset, "mmap_offset"),
	FIELD(IOTLB, struct vhi_wire_iotlb, iova, "iova"),
	FIELD(IOTLB, struct vhi_wire_iotlb, size, "size"),
	FIELD(IOTLB, struct vhi_wire_iotlb, uva, "uva"),
	FIELD(IOTLB, struct vhi_wire_iotlb, perm, "perm"),
	FIELD(IOTLB, struct vhi_wire_iotlb, type, "type"),
	FIELD(CONFIG, struct vhi_wire_config, offset, "offset"),
	FIELD(CONFIG, struct vhi_wire_config, size, "size"),
	FIELD(CONFIG, struct vhi_wire_config, flags, "flags"),
	FIELD(VRING_AREA, struct vhi_wire_vring_area, u64, "u64"),
	FIELD(VRING_AREA, struct vhi_wire_vring_area, size, "size"),
	FIELD(VRING_AREA, struct vhi_wire_vring_area, offset, "offset"),
	FIELD(INFLIGHT, struct vhi_wire_inflight, mmap_size, "mmap_size"),
	FIELD(INFLIGHT, struct vhi_wire_inflight, mmap_offset, "mmap_offset"),
	FIELD(INFLIGHT, struct vhi_wire_inflight, num_queues, "num_queues"),
	FIELD(INFLIGHT, struct vhi_wire_inflight, queue_size, "queue_size"),
	FIELD(DEVICE_STATE, struct vhi_wire_device_state, direction, "direction"),
	FIELD(DEVICE_STATE, struct vhi_wire_device_state, phase, "phase"),
	FIELD(MMAP, struct vhi_wire_mmap, shmid, "shmid"),
	FIELD(MMAP, struct vhi_wire_mmap, fd_offset, "fd_offset"),
	FIELD(MMAP, struct vhi_wire_mmap, shm_offset, "shm_offset"),
	FIELD(MMAP, struct vhi_wire_mmap, len, "len"),
	FIELD(MMAP, struct vhi_wire_mmap, flags, "flags"),
	FIELD(SHMEM_CONFIG, struct vhi_wire_shmem_config, n, "n"),
};

static uint64_t load(const uint8_t *p, size_t width)
{
	uint64_t v8;
	uint32_t v4;
	uint16_t v2;

	switch (width) {
	case 8:
		memcpy(&v8, p, 8);
		return v8;
	case 4:
		memcpy(&v4, p, 4);
		return v4;
	case 2:
		memcpy(&v2, p, 2);
		return v2;
	default:
		return *p;
	}
}

/* The fields of @kind that are there, and how far they reach. */
static size_t add_fields(struct line *l, uint32_t kind, const uint8_t *p, size_t n)
{
	const char *comma = "";
	size_t end = 0;

	for (size_t i = 0; i < VHI_ARRAY_SIZE(fields); i++) {
		const struct field *f = &fields[i];

		if (f->kind != kind || (size_t)f->offset + f->width > n)
			continue;
		add(l, "%s\"%s\":%llu", comma, f->name, (unsigned long long)load(p + f->offset, f->width));
		comma = ",";
		end = (size_t)f->offset + f->width;
	}
	return end;
}

static size_t add_vring_fd(struct line *l, const uint8_t *p, size_t n)
{
	uint64_t value;

	if (n < sizeof(value))
		return 0;
	memcpy(&value, p, sizeof(value));
	add(l, "\"index\":%u,\"nofd\":%s", (unsigned)(value & VHI_WIRE_VRING_INDEX),
	    value & VHI_WIRE_VRING_NOFD ? "true" : "false");
	return sizeof(value);
}

static size_t add_mem_table(struct line *l, const uint8_t *p, size_t n)
{
	size_t at = offsetof(struct vhi_wire_mem_table, regions), stride = sizeof(struct vhi_wire_region);
	uint32_t count;

	if (n < at)
		return 0;
	memcpy(&count, p, sizeof(count));
	/* With XEN_MMAP there is more behind each region; it is left out of the line. */
	if (count && (n - at) / count == sizeof(struct vhi_wire_region) + sizeof(struct vhi_wire_xen))
		stride += sizeof(struct vhi_wire_xen);
	add(l, "\"n\":%u,\"regions\":[", count);
	for (uint32_t i = 0; i < count && i < VHI_WIRE_MAX_REGIONS; i++) {
		struct vhi_wire_region r;

		if (at + stride > n)
			break;
		memcpy(&r, p + at, sizeof(r));
		at += stride;
		add(l, "%s{\"gpa\":%llu,\"size\":%llu,\"uva\":%llu,\"offset\":%llu}", i ? "," : "",
		    (unsigned long long)r.gpa, (unsigned long long)r.size, (unsigned long long)r.uva,
		    (unsigned long long)r.offset);
	}
	add(l, "]");
	return at;
}

/* Fields by name, what is left as hex: nothing of a malformed message is hidden. */
static void add_payload(struct line *l, uint32_t kind, const uint8_t *p, size_t n)
{
	size_t end;

	add(l, ",\"payload\":{");
	if (kind == VHI_P_VRING_FD)
		end = add_vring_fd(l, p, n);
	else if (kind == VHI_P_MEM_TABLE)
		end = add_mem_table(l, p, n);
	else
		end = add_fields(l, kind, p, n);
	if (end < n) {
		add(l, "%s", end ? "," : "");
		add_hex(l, kind == VHI_P_CONFIG ? "data" : end ? "rest" : "hex", p + end, n - end);
	}
	add(l, "}");
}

static uint32_t payload_kind(const struct vh_msg_info *in)
{
	enum vhi_wire_side side = in->channel == VH_MSG_CHANNEL_MAIN ? VHI_WIRE_FRONT_END : VHI_WIRE_BACK_END;
	const struct vhi_wire_msg *msg = vhi_wire_find(side, in->request);

	if (!msg)
		return VHI_P_NONE;
	if (!(in->flags & VHI_WIRE_REPLY))
		return msg->payload;
	/* A reply of another size than its own can only be a status. */
	if (msg->reply == VHI_REPLY_RULE_ACK)
		return in->payload_size == sizeof(uint64_t) ? VHI_P_U64 : msg->payload;
	if (in->payload_size < msg->reply_min || in->payload_size > msg->reply_max)
		return VHI_P_U64;
	return msg->reply_payload;
}

vh_count vh_msg_json(const struct vh_msg_info *info, char *buf, size_t cap)
{
	struct vh_msg_info in;
	struct line l = {.buf = buf, .cap = cap};
	vh_rc rc;

	if (!info || !buf || !cap)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_msg_json: info and buf are needed, cap is not 0");
	buf[0] = 0;
	rc = vhi_opts_in(&in, sizeof(in), info, "vh_msg_info");
	if (rc)
		return rc;
	if (in.channel > VH_MSG_CHANNEL_BACKEND || in.direction > VH_MSG_RECEIVED || (in.payload_size && !in.payload))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_msg_json: direction %u, channel %u or payload is not as vh_msg_info says",
				in.direction, in.channel);
	add(&l, "{\"t\":%llu,\"dir\":\"%s\",\"chan\":\"%s\",\"req\":\"%s\",\"id\":%u,\"flags\":%u,\"size\":%u,",
	    (unsigned long long)in.time_ns, in.direction == VH_MSG_SENT ? "sent" : "received",
	    in.channel == VH_MSG_CHANNEL_MAIN ? "main" : "backend", vh_msg_name(in.channel, in.request), in.request,
	    in.flags, in.payload_size);
	add(&l, "\"fds\":%u,\"site\":%u", in.n_fds, in.verdict);
	if (in.payload_size)
		add_payload(&l, payload_kind(&in), (const uint8_t *)(uintptr_t)in.payload, in.payload_size);
	add(&l, "}");
	if (l.full) {
		buf[0] = 0;
		return vhi_fail(-ENOSPC, VH_ERROR_ARGUMENT, 0, "vh_msg_json: the line needs more than %zu bytes", cap);
	}
	return (vh_count)l.len;
}
