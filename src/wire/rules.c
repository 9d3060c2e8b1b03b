/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the fields of single messages must look like, as far as that needs no state. */
#include "vhi_wire_rules.h"

#include "vh/protocol.h"

struct in {
	const struct vhi_wire_header *h;
	const void *payload;
	uint32_t n_fds;
	const struct vhi_wire_features *f;
};

typedef uint32_t (*rule)(const struct in *in);

/* The payload as a struct of our own: aligned, and zero where the message is shorter. */
#define TAKE(type, name, in) \
	type name = {0};     \
	memcpy(&name, (in)->payload, VHI_MIN(sizeof(name), (size_t)(in)->h->size))

static bool pf_acked(const struct in *in, uint32_t bit)
{
	return in->f->pf_acked & VHI_BIT(bit);
}

static uint64_t take_u64(const struct in *in)
{
	TAKE(uint64_t, value, in);
	return value;
}

static struct vhi_wire_vring_state take_state(const struct in *in)
{
	TAKE(struct vhi_wire_vring_state, state, in);
	return state;
}

static bool range_bad(uint64_t start, uint64_t len)
{
	return !len || vhi_range_wraps(start, len);
}

/* At most VHI_WIRE_MAX_REGIONS regions follow from the size and the number of fds. */
static uint32_t rule_mem_table(const struct in *in)
{
	uint64_t region = sizeof(struct vhi_wire_region) + vhi_wire_xen_size(in->f);
	uint32_t head[2]; /* n, padding */

	memcpy(head, in->payload, sizeof(head));
	if (VHI_REFUSE(VHI_SITE_WIRE_MEM_SIZE, in->h->size != sizeof(head) + region * head[0]))
		return VHI_SITE_WIRE_MEM_SIZE;
	if (VHI_REFUSE(VHI_SITE_WIRE_MEM_FDS, in->n_fds != head[0]))
		return VHI_SITE_WIRE_MEM_FDS;
	if (VHI_REFUSE(VHI_SITE_WIRE_MEM_PADDING, head[1]))
		return VHI_SITE_WIRE_MEM_PADDING;
	return 0;
}

static uint32_t rule_mem_reg(const struct in *in)
{
	uint64_t size = sizeof(struct vhi_wire_mem_reg) + vhi_wire_xen_size(in->f);

	if (VHI_REFUSE(VHI_SITE_WIRE_MEM_REG_SIZE, in->h->size != size))
		return VHI_SITE_WIRE_MEM_REG_SIZE;
	return 0;
}

/* KICK, CALL, ERR and the area of HOST_NOTIFIER: index, and whether an fd is there. */
static uint32_t rule_vring_fd(const struct in *in)
{
	uint64_t value = take_u64(in);
	bool no_fd = value & VHI_WIRE_VRING_NOFD;

	if (VHI_REFUSE(VHI_SITE_WIRE_VRING_FD_BITS, value >> 9))
		return VHI_SITE_WIRE_VRING_FD_BITS;
	if (VHI_REFUSE(VHI_SITE_WIRE_VRING_FD_FD, no_fd == (in->n_fds == 1)))
		return VHI_SITE_WIRE_VRING_FD_FD;
	return 0;
}

static uint32_t rule_vring_enable(const struct in *in)
{
	if (VHI_REFUSE(VHI_SITE_WIRE_ENABLE_NUM, take_state(in).num > 1))
		return VHI_SITE_WIRE_ENABLE_NUM;
	return 0;
}

static uint32_t rule_vring_addr(const struct in *in)
{
	TAKE(struct vh_vring_addr, addr, in);

	if (VHI_REFUSE(VHI_SITE_WIRE_ADDR_FLAGS, addr.flags & ~1u))
		return VHI_SITE_WIRE_ADDR_FLAGS;
	return 0;
}

static uint32_t rule_vring_base(const struct in *in)
{
	bool packed = in->f->acked & VHI_BIT(VH_F_RING_PACKED);

	if (VHI_REFUSE(VHI_SITE_WIRE_BASE_SPLIT, !packed && take_state(in).num > 0xffff))
		return VHI_SITE_WIRE_BASE_SPLIT;
	return 0;
}

static uint32_t rule_vring_endian(const struct in *in)
{
	if (VHI_REFUSE(VHI_SITE_WIRE_ENDIAN_NUM, take_state(in).num > 1))
		return VHI_SITE_WIRE_ENDIAN_NUM;
	return 0;
}

static uint32_t rule_vring_notify(const struct in *in)
{
	if (VHI_REFUSE(VHI_SITE_WIRE_KICK_NUM, take_state(in).num))
		return VHI_SITE_WIRE_KICK_NUM;
	return 0;
}

static uint32_t rule_config(const struct in *in)
{
	TAKE(struct vhi_wire_config, config, in);

	if (VHI_REFUSE(VHI_SITE_WIRE_CONFIG_EMPTY, !config.size))
		return VHI_SITE_WIRE_CONFIG_EMPTY;
	if (VHI_REFUSE(VHI_SITE_WIRE_CONFIG_LENGTH,
		       in->h->size != offsetof(struct vhi_wire_config, data) + (uint64_t)config.size))
		return VHI_SITE_WIRE_CONFIG_LENGTH;
	if (VHI_REFUSE(VHI_SITE_WIRE_CONFIG_RANGE, (uint64_t)config.offset + config.size > VH_CONFIG_MAX))
		return VHI_SITE_WIRE_CONFIG_RANGE;
	return 0;
}

static uint32_t rule_set_config(const struct in *in)
{
	TAKE(struct vhi_wire_config, config, in);

	if (VHI_REFUSE(VHI_SITE_WIRE_CONFIG_FLAGS, config.flags > 1))
		return VHI_SITE_WIRE_CONFIG_FLAGS;
	return rule_config(in);
}

static uint32_t rule_log_base(const struct in *in)
{
	bool range = in->h->size == sizeof(struct vhi_wire_log);
	TAKE(struct vhi_wire_log, log, in);

	if (VHI_REFUSE(VHI_SITE_WIRE_LOG_SIZE, !range && in->h->size != sizeof(uint64_t)))
		return VHI_SITE_WIRE_LOG_SIZE;
	if (!pf_acked(in, VH_PF_LOG_SHMFD))
		return 0; /* an address that means nothing to another process */
	if (VHI_REFUSE(VHI_SITE_WIRE_LOG_FD, !range || in->n_fds != 1))
		return VHI_SITE_WIRE_LOG_FD;
	if (VHI_REFUSE(VHI_SITE_WIRE_LOG_RANGE, range_bad(log.mmap_offset, log.mmap_size)))
		return VHI_SITE_WIRE_LOG_RANGE;
	return 0;
}

static uint32_t rule_mtu(const struct in *in)
{
	uint64_t mtu = take_u64(in);

	if (VHI_REFUSE(VHI_SITE_WIRE_MTU, mtu < 68 || mtu > 65535))
		return VHI_SITE_WIRE_MTU;
	return 0;
}

static uint32_t rule_status(const struct in *in)
{
	if (VHI_REFUSE(VHI_SITE_WIRE_STATUS_VALUE, take_u64(in) > 0xff))
		return VHI_SITE_WIRE_STATUS_VALUE;
	return 0;
}

/* Types: 1 miss, 2 update, 3 invalidate, 4 access fail. The last two name a range that need not exist. */
static uint32_t iotlb(const struct in *in, uint32_t first, uint32_t second)
{
	TAKE(struct vhi_wire_iotlb, msg, in);

	if (VHI_REFUSE(VHI_SITE_WIRE_IOTLB_TYPE, msg.type != first && msg.type != second))
		return VHI_SITE_WIRE_IOTLB_TYPE;
	if (VHI_REFUSE(VHI_SITE_WIRE_IOTLB_PERM, msg.type <= 2 && (msg.perm < 1 || msg.perm > 3)))
		return VHI_SITE_WIRE_IOTLB_PERM;
	if (VHI_REFUSE(VHI_SITE_WIRE_IOTLB_RANGE,
		       msg.type == 2 && (range_bad(msg.iova, msg.size) || range_bad(msg.uva, msg.size))))
		return VHI_SITE_WIRE_IOTLB_RANGE;
	return 0;
}

static uint32_t rule_iotlb_update(const struct in *in)
{
	return iotlb(in, 2, 3);
}

static uint32_t rule_iotlb_miss(const struct in *in)
{
	return iotlb(in, 1, 4);
}

/* The operation says which half of the union holds. */
static uint32_t rule_crypto(const struct in *in)
{
	TAKE(struct vhi_wire_crypto_sym, sym, in);
	TAKE(struct vhi_wire_crypto_asym, asym, in);
	bool fits = sym.op_code == VHI_WIRE_CRYPTO_ASYM
			    ? asym.key_len <= sizeof(asym.key)
			    : sym.key_len <= sizeof(sym.key) && sym.auth_key_len <= sizeof(sym.auth_key);

	if (VHI_REFUSE(VHI_SITE_WIRE_CRYPTO_KEY, !fits))
		return VHI_SITE_WIRE_CRYPTO_KEY;
	return 0;
}

static uint32_t rule_inflight(const struct in *in)
{
	TAKE(struct vhi_wire_inflight, msg, in);

	if (VHI_REFUSE(VHI_SITE_WIRE_INFLIGHT_COUNT, !msg.num_queues || !msg.queue_size))
		return VHI_SITE_WIRE_INFLIGHT_COUNT;
	return 0;
}

static uint32_t rule_set_inflight(const struct in *in)
{
	TAKE(struct vhi_wire_inflight, msg, in);

	if (VHI_REFUSE(VHI_SITE_WIRE_INFLIGHT_RANGE, range_bad(msg.mmap_offset, msg.mmap_size)))
		return VHI_SITE_WIRE_INFLIGHT_RANGE;
	return rule_inflight(in);
}

static uint32_t rule_device_state(const struct in *in)
{
	TAKE(struct vhi_wire_device_state, msg, in);

	if (VHI_REFUSE(VHI_SITE_WIRE_STATE_FIELDS, msg.direction > 1 || msg.phase))
		return VHI_SITE_WIRE_STATE_FIELDS;
	return 0;
}

static uint32_t rule_uuid_or_none(const struct in *in)
{
	if (VHI_REFUSE(VHI_SITE_WIRE_UUID_SIZE, in->h->size && in->h->size != 16))
		return VHI_SITE_WIRE_UUID_SIZE;
	return 0;
}

static uint32_t rule_uuid_add(const struct in *in)
{
	static const uint8_t nil[16];

	if (VHI_REFUSE(VHI_SITE_WIRE_UUID_NIL, !memcmp(in->payload, nil, sizeof(nil))))
		return VHI_SITE_WIRE_UUID_NIL;
	return 0;
}

static uint32_t rule_shmem_unmap(const struct in *in)
{
	TAKE(struct vhi_wire_mmap, msg, in);

	if (VHI_REFUSE(VHI_SITE_WIRE_MMAP_RANGE, range_bad(msg.shm_offset, msg.len)))
		return VHI_SITE_WIRE_MMAP_RANGE;
	return 0;
}

static uint32_t rule_shmem_map(const struct in *in)
{
	TAKE(struct vhi_wire_mmap, msg, in);

	if (VHI_REFUSE(VHI_SITE_WIRE_MMAP_FLAGS, msg.flags & ~UINT64_C(1)))
		return VHI_SITE_WIRE_MMAP_FLAGS;
	return rule_shmem_unmap(in);
}

static uint32_t rule_fs(const struct in *in)
{
	TAKE(struct vhi_wire_fs, fs, in);

	for (size_t i = 0; i < VHI_ARRAY_SIZE(fs.len); i++) {
		if (VHI_REFUSE(VHI_SITE_WIRE_FS_FLAGS, fs.flags[i] & ~UINT64_C(3)))
			return VHI_SITE_WIRE_FS_FLAGS;
		if (VHI_REFUSE(VHI_SITE_WIRE_FS_RANGE, vhi_range_wraps(fs.fd_offset[i], fs.len[i]) ||
							       vhi_range_wraps(fs.cache_offset[i], fs.len[i])))
			return VHI_SITE_WIRE_FS_RANGE;
	}
	return 0;
}

static const rule front_end_rules[] = {
	[VHI_FE_SET_MEM_TABLE] = rule_mem_table,
	[VHI_FE_SET_LOG_BASE] = rule_log_base,
	[VHI_FE_SET_VRING_ADDR] = rule_vring_addr,
	[VHI_FE_SET_VRING_BASE] = rule_vring_base,
	[VHI_FE_SET_VRING_KICK] = rule_vring_fd,
	[VHI_FE_SET_VRING_CALL] = rule_vring_fd,
	[VHI_FE_SET_VRING_ERR] = rule_vring_fd,
	[VHI_FE_SET_VRING_ENABLE] = rule_vring_enable,
	[VHI_FE_NET_SET_MTU] = rule_mtu,
	[VHI_FE_IOTLB_MSG] = rule_iotlb_update,
	[VHI_FE_SET_VRING_ENDIAN] = rule_vring_endian,
	[VHI_FE_GET_CONFIG] = rule_config,
	[VHI_FE_SET_CONFIG] = rule_set_config,
	[VHI_FE_CREATE_CRYPTO_SESSION] = rule_crypto,
	[VHI_FE_GET_INFLIGHT_FD] = rule_inflight,
	[VHI_FE_SET_INFLIGHT_FD] = rule_set_inflight,
	[VHI_FE_VRING_KICK] = rule_vring_notify,
	[VHI_FE_ADD_MEM_REG] = rule_mem_reg,
	[VHI_FE_REM_MEM_REG] = rule_mem_reg,
	[VHI_FE_SET_STATUS] = rule_status,
	[VHI_FE_GET_SHARED_OBJECT] = rule_uuid_or_none,
	[VHI_FE_SET_DEVICE_STATE_FD] = rule_device_state,
};

static const rule back_end_rules[] = {
	[VHI_BE_IOTLB_MSG] = rule_iotlb_miss,	    [VHI_BE_VRING_HOST_NOTIFIER_MSG] = rule_vring_fd,
	[VHI_BE_VRING_CALL] = rule_vring_notify,    [VHI_BE_VRING_ERR] = rule_vring_notify,
	[VHI_BE_SHARED_OBJECT_ADD] = rule_uuid_add, [VHI_BE_SHMEM_MAP] = rule_shmem_map,
	[VHI_BE_SHMEM_UNMAP] = rule_shmem_unmap,
};

uint32_t vhi_wire_request_rules(enum vhi_wire_side side, const struct vhi_wire_header *h, const void *payload,
				uint32_t n_fds, const struct vhi_wire_features *f)
{
	const struct in in = {.h = h, .payload = payload, .n_fds = n_fds, .f = f};
	const rule *rules = side == VHI_WIRE_FRONT_END ? front_end_rules : back_end_rules;
	size_t n = side == VHI_WIRE_FRONT_END ? VHI_ARRAY_SIZE(front_end_rules) : VHI_ARRAY_SIZE(back_end_rules);

	if (side == VHI_WIRE_BACK_END && h->request >= VHI_BE_FS_MAP && h->request <= VHI_BE_FS_IO)
		return rule_fs(&in);
	return h->request < n && rules[h->request] ? rules[h->request](&in) : 0;
}

/* An empty reply and one of size 0 are both a refusal (specification; rust-vmm). */
static uint32_t reply_config(const struct in *in)
{
	uint64_t head = offsetof(struct vhi_wire_config, data);
	TAKE(struct vhi_wire_config, config, in);

	if (VHI_REFUSE(VHI_SITE_WIRE_REPLY_CONFIG, in->h->size && in->h->size != head + config.size))
		return VHI_SITE_WIRE_REPLY_CONFIG;
	return 0;
}

static uint32_t reply_fd(const struct in *in, bool must, bool may)
{
	if (VHI_REFUSE(VHI_SITE_WIRE_REPLY_FD, in->n_fds ? !may : must))
		return VHI_SITE_WIRE_REPLY_FD;
	return 0;
}

/* mmap_size 0 says that there is none. */
static uint32_t reply_inflight(const struct in *in)
{
	TAKE(struct vhi_wire_inflight, msg, in);

	return reply_fd(in, msg.mmap_size, msg.mmap_size);
}

/* Low byte: error; bit 8: no fd of the back-end's own. Never both an error and an fd. */
static uint32_t reply_device_state(const struct in *in)
{
	uint64_t value = take_u64(in);

	return reply_fd(in, !value, !value);
}

/* 0 comes with the object; peers exist whose answer loses it (QEMU 10), which only costs the object. */
static uint32_t reply_lookup(const struct in *in)
{
	return reply_fd(in, false, !take_u64(in));
}

static uint32_t reply_shmem(const struct in *in)
{
	uint32_t used = 0;
	TAKE(struct vhi_wire_shmem_config, config, in);

	for (size_t i = 0; i < VHI_ARRAY_SIZE(config.sizes); i++)
		used += config.sizes[i] != 0;
	if (VHI_REFUSE(VHI_SITE_WIRE_REPLY_SHMEM, config.n != used))
		return VHI_SITE_WIRE_REPLY_SHMEM;
	return 0;
}

static const rule front_end_reply_rules[] = {
	[VHI_FE_GET_CONFIG] = reply_config,
	[VHI_FE_GET_INFLIGHT_FD] = reply_inflight,
	[VHI_FE_SET_DEVICE_STATE_FD] = reply_device_state,
	[VHI_FE_GET_SHMEM_CONFIG] = reply_shmem,
};

uint32_t vhi_wire_reply_rules(enum vhi_wire_side side, const struct vhi_wire_msg *request,
			      const struct vhi_wire_header *h, const void *payload, uint32_t n_fds)
{
	const struct in in = {.h = h, .payload = payload, .n_fds = n_fds};

	if (side == VHI_WIRE_BACK_END)
		return request->id == VHI_BE_SHARED_OBJECT_LOOKUP ? reply_lookup(&in) : 0;
	if (request->id < VHI_ARRAY_SIZE(front_end_reply_rules) && front_end_reply_rules[request->id])
		return front_end_reply_rules[request->id](&in);
	return 0;
}
