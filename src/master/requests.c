/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* One call for each message: check the arguments, fill the payload, send, wait. */
#include "vhi_master.h"

#include "vh/device.h"

#define WHO(name) "vh_master_" name

vh_rc vhi_master_request(struct vh_master *m, const char *who, const struct vhi_request *rq)
{
	int rc = vhi_master_enter(m, who, VHI_CALL_WAITS | VHI_CALL_CONNECTED);

	return rc ? rc : vhi_master_leave(m, vhi_master_call(m, rq, NULL));
}

static vh_rc send_empty(struct vh_master *m, const char *who, uint32_t id)
{
	return vhi_master_request(m, who, &(struct vhi_request){.id = id});
}

static vh_rc send_u64(struct vh_master *m, const char *who, uint32_t id, uint64_t value)
{
	return vhi_master_request(m, who, &(struct vhi_request){.id = id, .payload = &value, .size = sizeof(value)});
}

static vh_rc send_state(struct vh_master *m, const char *who, uint32_t id, uint32_t queue, uint32_t num)
{
	struct vhi_wire_vring_state p = {.index = queue, .num = num};

	return vhi_master_request(m, who, &(struct vhi_request){.id = id, .payload = &p, .size = sizeof(p)});
}

static vh_rc send_fd(struct vh_master *m, const char *who, uint32_t id, uint32_t queue, int32_t fd)
{
	uint64_t value = queue | (fd < 0 ? VHI_WIRE_VRING_NOFD : 0);

	if (m && queue >= VHI_MASTER_MAX_RINGS)
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, queue, id,
				   "%s: queue %u; the message has 8 bits for it", who, queue);
	return vhi_master_request(
		m, who,
		&(struct vhi_request){
			.id = id, .payload = &value, .size = sizeof(value), .fds = &fd, .n_fds = fd < 0 ? 0 : 1});
}

/* A request without payload whose reply is a u64. */
static vh_rc get_u64(struct vh_master *m, const char *who, uint32_t id, uint64_t *out)
{
	int rc;

	if (m && !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: out is NULL", who);
	rc = vhi_master_enter(m, who, VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	return vhi_master_leave(m, vhi_master_call_u64(m, &(struct vhi_request){.id = id}, out));
}

static vh_rc get_u32(struct vh_master *m, const char *who, uint32_t id, uint32_t least, uint32_t most, uint32_t *out)
{
	uint64_t v;
	vh_rc rc = get_u64(m, who, id, out ? &v : NULL);

	if (!rc)
		*out = v < least ? least : v > most ? most : (uint32_t)v;
	return rc;
}

vh_rc vh_master_get_features(struct vh_master *m, uint64_t *out)
{
	return get_u64(m, WHO("get_features"), VHI_FE_GET_FEATURES, out);
}

vh_rc vh_master_get_protocol_features(struct vh_master *m, uint64_t *out)
{
	return get_u64(m, WHO("get_protocol_features"), VHI_FE_GET_PROTOCOL_FEATURES, out);
}

vh_rc vh_master_get_queue_num(struct vh_master *m, uint32_t *out)
{
	return get_u32(m, WHO("get_queue_num"), VHI_FE_GET_QUEUE_NUM, 1, VHI_MASTER_MAX_RINGS, out);
}

vh_rc vh_master_get_max_mem_slots(struct vh_master *m, uint32_t *out)
{
	return get_u32(m, WHO("get_max_mem_slots"), VHI_FE_GET_MAX_MEM_SLOTS, 1, VH_MEM_MAX_REGIONS, out);
}

vh_rc vh_master_get_status(struct vh_master *m, uint32_t *out)
{
	uint64_t v;
	vh_rc rc = get_u64(m, WHO("get_status"), VHI_FE_GET_STATUS, out ? &v : NULL);

	if (!rc)
		*out = v & 0xff;
	return rc;
}

/* The bits of @wanted must be in @offered, if that is known. */
static vh_rc set_bits(struct vh_master *m, const char *who, uint32_t id, uint64_t wanted, const uint64_t *offered)
{
	if (m && wanted & ~*offered)
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, id,
				   "%s: 0x%llx was not offered; ask the back-end first, and take a subset", who,
				   (unsigned long long)(wanted & ~*offered));
	return send_u64(m, who, id, wanted);
}

vh_rc vh_master_set_features(struct vh_master *m, uint64_t features)
{
	return set_bits(m, WHO("set_features"), VHI_FE_SET_FEATURES, features, m ? &m->features.offered : NULL);
}

vh_rc vh_master_set_protocol_features(struct vh_master *m, uint64_t features)
{
	uint64_t whole = vhi_wire_pf_closure(features);

	if (m && whole != features)
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, VHI_FE_SET_PROTOCOL_FEATURES,
				   "vh_master_set_protocol_features: 0x%llx needs other protocol features too",
				   (unsigned long long)(features & ~whole));
	return set_bits(m, WHO("set_protocol_features"), VHI_FE_SET_PROTOCOL_FEATURES, features,
			m ? &m->features.pf_offered : NULL);
}

vh_rc vh_master_set_owner(struct vh_master *m)
{
	return send_empty(m, WHO("set_owner"), VHI_FE_SET_OWNER);
}

vh_rc vh_master_reset_owner(struct vh_master *m)
{
	return send_empty(m, WHO("reset_owner"), VHI_FE_RESET_OWNER);
}

vh_rc vh_master_reset_device(struct vh_master *m)
{
	return send_empty(m, WHO("reset_device"), VHI_FE_RESET_DEVICE);
}

vh_rc vh_master_set_status(struct vh_master *m, uint32_t status)
{
	if (m && status > 0xff)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_set_status: 0x%x has more than 8 bits",
				status);
	return send_u64(m, WHO("set_status"), VHI_FE_SET_STATUS, status);
}

vh_rc vh_master_set_vring_num(struct vh_master *m, uint32_t queue, uint32_t num)
{
	if (m && (!num || num > VHI_MASTER_MAX_NUM))
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, queue, VHI_FE_SET_VRING_NUM,
				   "vh_master_set_vring_num: %u; a ring has 1 to %u entries", num, VHI_MASTER_MAX_NUM);
	return send_state(m, WHO("set_vring_num"), VHI_FE_SET_VRING_NUM, queue, num);
}

vh_rc vh_master_set_vring_base(struct vh_master *m, uint32_t queue, uint32_t base)
{
	if (m && base > 0xffff && !(m->features.acked & VHI_BIT(VH_F_RING_PACKED)))
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, queue, VHI_FE_SET_VRING_BASE,
				   "vh_master_set_vring_base: %u; the index of a split ring has 16 bits", base);
	return send_state(m, WHO("set_vring_base"), VHI_FE_SET_VRING_BASE, queue, base);
}

vh_rc vh_master_set_vring_enable(struct vh_master *m, uint32_t queue, uint32_t on)
{
	if (m && on > 1)
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, queue, VHI_FE_SET_VRING_ENABLE,
				   "vh_master_set_vring_enable: on is %u; it can be 0 or 1", on);
	return send_state(m, WHO("set_vring_enable"), VHI_FE_SET_VRING_ENABLE, queue, on);
}

vh_rc vh_master_set_vring_endian(struct vh_master *m, uint32_t queue, uint32_t big)
{
	if (m && big > 1)
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, queue, VHI_FE_SET_VRING_ENDIAN,
				   "vh_master_set_vring_endian: big is %u; it can be 0 or 1", big);
	return send_state(m, WHO("set_vring_endian"), VHI_FE_SET_VRING_ENDIAN, queue, big);
}

vh_rc vh_master_set_vring_addr(struct vh_master *m, const struct vh_vring_addr *addr)
{
	if (m && (!addr || addr->flags & ~VH_VRING_LOG))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_master_set_vring_addr: addr is NULL or has flags other than bit 0");
	return vhi_master_request(
		m, WHO("set_vring_addr"),
		&(struct vhi_request){.id = VHI_FE_SET_VRING_ADDR, .payload = addr, .size = sizeof(*addr)});
}

vh_rc vh_master_set_log_base(struct vh_master *m, int32_t fd, uint64_t offset, uint64_t len)
{
	const struct vhi_wire_log p = {.mmap_size = len, .mmap_offset = offset};

	if (m && (fd < 0 || !len || vhi_range_wraps(offset, len)))
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, VHI_FE_SET_LOG_BASE,
				   "vh_master_set_log_base: give the fd of a file, and a range of it");
	if (m && !(m->features.pf_acked & VHI_BIT(VH_PF_LOG_SHMFD)))
		return vhi_fail_at(
			-EOPNOTSUPP, VH_ERROR_STATE, 0, VH_ERROR_NONE, VHI_FE_SET_LOG_BASE,
			"vh_master_set_log_base: needs the protocol feature LOG_SHMFD, which was not negotiated");
	return vhi_master_request(
		m, WHO("set_log_base"),
		&(struct vhi_request){
			.id = VHI_FE_SET_LOG_BASE, .payload = &p, .size = sizeof(p), .fds = &fd, .n_fds = 1});
}

vh_rc vh_master_set_log_fd(struct vh_master *m, int32_t fd)
{
	if (m && fd < 0)
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, VHI_FE_SET_LOG_FD,
				   "vh_master_set_log_fd: fd is %d; give an eventfd", fd);
	return vhi_master_request(m, WHO("set_log_fd"),
				  &(struct vhi_request){.id = VHI_FE_SET_LOG_FD, .fds = &fd, .n_fds = 1});
}

vh_rc vh_master_set_vring_kick(struct vh_master *m, uint32_t queue, int32_t fd)
{
	return send_fd(m, WHO("set_vring_kick"), VHI_FE_SET_VRING_KICK, queue, fd);
}

vh_rc vh_master_set_vring_call(struct vh_master *m, uint32_t queue, int32_t fd)
{
	return send_fd(m, WHO("set_vring_call"), VHI_FE_SET_VRING_CALL, queue, fd);
}

vh_rc vh_master_set_vring_err(struct vh_master *m, uint32_t queue, int32_t fd)
{
	return send_fd(m, WHO("set_vring_err"), VHI_FE_SET_VRING_ERR, queue, fd);
}

static vh_rc get_base(struct vh_master *m, const char *who, uint32_t id, uint32_t queue, uint32_t *base)
{
	struct vhi_wire_vring_state p = {.index = queue};
	struct vhi_ticket *t;
	int rc;

	if (m && !base)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: base is NULL", who);
	rc = vhi_master_enter(m, who, VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	rc = vhi_master_call(m, &(struct vhi_request){.id = id, .payload = &p, .size = sizeof(p)}, &t);
	if (!rc) {
		memcpy(&p, t->payload, sizeof(p));
		*base = p.num;
		vhi_ticket_free(m, t);
	}
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_get_vring_base(struct vh_master *m, uint32_t queue, uint32_t *base)
{
	return get_base(m, WHO("get_vring_base"), VHI_FE_GET_VRING_BASE, queue, base);
}

vh_rc vh_master_get_vring_base_skip_drain(struct vh_master *m, uint32_t queue, uint32_t *base)
{
	return get_base(m, WHO("get_vring_base_skip_drain"), VHI_FE_GET_VRING_BASE_SKIP_DRAIN, queue, base);
}

vh_rc vh_master_vring_kick(struct vh_master *m, uint32_t queue)
{
	return send_state(m, WHO("vring_kick"), VHI_FE_VRING_KICK, queue, 0);
}

static bool config_args_bad(const void *buf, uint32_t len)
{
	return !buf || !len || len > VH_CONFIG_MAX;
}

static vh_rc config_args_fail(const char *who, uint32_t len)
{
	return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: NULL buffer or %u bytes; 1 to %u can be asked for", who,
			len, VH_CONFIG_MAX);
}

/* The bytes of a reply, wherever in it they are. */
static int take_config(const struct vhi_ticket *t, uint32_t skip, void *buf, uint32_t len)
{
	struct vhi_wire_config reply = {0};

	memcpy(&reply, t->payload, VHI_MIN((size_t)t->size, sizeof(reply)));
	/* How a back-end refuses: no payload at all, or a header that says 0 bytes. */
	if (!reply.size)
		return vhi_fail_at(-EREMOTEIO, VH_ERROR_PEER, 0, VH_ERROR_NONE, VHI_FE_GET_CONFIG,
				   "the back-end refused GET_CONFIG (an empty reply); is its config space shorter?");
	memcpy(buf, reply.data + skip, len);
	return 0;
}

vh_rc vh_master_get_config(struct vh_master *m, uint32_t offset, void *buf, uint32_t len)
{
	struct vhi_wire_config p = {.offset = offset, .size = len};
	struct vhi_ticket *t;
	uint32_t skip = 0;
	int rc;

	if (m && config_args_bad(buf, len))
		return config_args_fail(WHO("get_config"), len);
	rc = vhi_master_enter(m, WHO("get_config"), VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	/* libvhost-user, DPDK and SPDK ignore the offset and give the first bytes: so those are asked for. */
	if ((uint64_t)offset + len <= VH_CONFIG_MAX) {
		skip = offset;
		p.offset = 0;
		p.size = offset + len;
	}
	rc = vhi_master_call(m,
			     &(struct vhi_request){.id = VHI_FE_GET_CONFIG,
						   .payload = &p,
						   .size = (uint32_t)offsetof(struct vhi_wire_config, data) + p.size},
			     &t);
	if (!rc) {
		rc = take_config(t, skip, buf, len);
		vhi_ticket_free(m, t);
	}
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_set_config(struct vh_master *m, uint32_t offset, const void *buf, uint32_t len, uint32_t flags)
{
	struct vhi_wire_config p = {.offset = offset, .size = len, .flags = flags};

	if (m && config_args_bad(buf, len))
		return config_args_fail(WHO("set_config"), len);
	if (m && flags > VH_CONFIG_MIGRATION)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_master_set_config: flags 0x%x; VH_CONFIG_WRITE or VH_CONFIG_MIGRATION", flags);
	if (m)
		memcpy(p.data, buf, len);
	return vhi_master_request(
		m, WHO("set_config"),
		&(struct vhi_request){.id = VHI_FE_SET_CONFIG,
				      .payload = &p,
				      .size = (uint32_t)offsetof(struct vhi_wire_config, data) + len});
}
