/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Features: what both sides have, in the order that every back-end takes. */
#include "vhi_master.h"

/* Bits that say nothing without VERSION_1. A back-end that offers them alone contradicts itself. */
#define NEED_VERSION_1                                                                        \
	(VHI_BIT(VH_F_ACCESS_PLATFORM) | VHI_BIT(VH_F_RING_PACKED) | VHI_BIT(VH_F_IN_ORDER) | \
	 VHI_BIT(VH_F_ORDER_PLATFORM) | VHI_BIT(VH_F_RING_RESET))

int32_t vhi_master_send_refused(struct vh_master *m, uint32_t site, const struct vhi_wire_msg *msg)
{
	uint64_t pf = msg->pf & ~m->features.pf_acked;
	uint64_t vf = (msg->vf_send & ~m->features.acked) | (msg->vf_accept & ~m->features.offered);
	uint64_t offered = pf ? m->features.pf_offered : m->features.offered;
	uint32_t bit = pf || vf ? (uint32_t)__builtin_ctzll(pf ? pf : vf) : 0;
	const char *name = vh_feature_name(pf ? 0 : VH_TYPE_NET, bit);

	if (site == VHI_SITE_WIRE_SEND_SIZE || site == VHI_SITE_WIRE_SEND_FDS)
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, msg->id, "%s: %s", msg->name,
				   vhi_master_why(site));
	return vhi_fail_at(-EOPNOTSUPP, VH_ERROR_STATE, 0, VH_ERROR_NONE, msg->id,
			   "%s needs the %sfeature %s, which %s", msg->name, pf ? "protocol " : "",
			   name ? name : "(without a name)",
			   offered & VHI_BIT(bit) ? "was offered but not acked; call vh_master_negotiate"
						  : "the back-end did not offer");
}

static int get(struct vh_master *m, uint32_t id)
{
	return vhi_master_call(m, &(struct vhi_request){.id = id}, NULL);
}

/* If something comes behind it that is waited for. */
static int get_with_next(struct vh_master *m, uint32_t id, bool later)
{
	return vhi_master_call(m, &(struct vhi_request){.id = id, .later = later}, NULL);
}

static int set(struct vh_master *m, uint32_t id, uint64_t value)
{
	return vhi_master_call(m, &(struct vhi_request){.id = id, .payload = &value, .size = sizeof(value)}, NULL);
}

static bool acked(const struct vh_master *m, uint32_t pf)
{
	return m->features.pf_acked & VHI_BIT(pf);
}

static void channel_set(struct vh_master *m, const struct vhi_effect *e, bool accepted)
{
	(void)e;
	if (!accepted)
		vhi_master_close_back(m);
}

static int open_channel(struct vh_master *m)
{
	int rc, peer;

	if (vhi_chan_open(&m->back))
		return 0;
	rc = vhi_master_open_back(m, &peer);
	if (rc)
		return rc;
	rc = vhi_master_call(
		m,
		&(struct vhi_request){
			.id = VHI_FE_SET_BACKEND_REQ_FD, .fds = &peer, .n_fds = 1, .effect = {.run = channel_set}},
		NULL);
	vhi_fd_close(&peer);
	/* The back-end may take it yet, if it was sent before a signal came, or in a step. */
	if (rc && rc != -EINPROGRESS && !(rc == -EINTR && m->interrupted))
		vhi_master_close_back(m);
	return rc;
}

/* Those that are acked when they are offered. */
static uint64_t wanted_pf(const struct vh_master *m)
{
	return (VHI_MASTER_PF | vhi_typed_pf(m) | m->opts.more_protocol_features) & ~m->opts.mask_protocol_features;
}

static int protocol_features(struct vh_master *m)
{
	int rc = get(m, VHI_FE_GET_PROTOCOL_FEATURES);

	if (!rc)
		rc = set(m, VHI_FE_SET_PROTOCOL_FEATURES, vhi_wire_pf_closure(m->features.pf_offered & wanted_pf(m)));
	if (!rc && acked(m, VH_PF_MQ))
		rc = get_with_next(m, VHI_FE_GET_QUEUE_NUM, acked(m, VH_PF_CONFIGURE_MEM_SLOTS));
	if (!rc && acked(m, VH_PF_CONFIGURE_MEM_SLOTS))
		rc = get(m, VHI_FE_GET_MAX_MEM_SLOTS);
	/* Before the device can map anything into them. */
	if (!rc && acked(m, VH_PF_SHMEM) && vhi_typed_has(m, VHI_BE_SHMEM_MAP))
		rc = get(m, VHI_FE_GET_SHMEM_CONFIG);
	if (!rc && acked(m, VH_PF_BACKEND_REQ))
		rc = open_channel(m);
	return rc;
}

static int negotiate(struct vh_master *m, uint64_t wanted, uint64_t *out)
{
	uint64_t both;
	int rc = get(m, VHI_FE_GET_FEATURES);

	if (!rc && m->features.offered & VHI_BIT(VH_F_PROTOCOL_FEATURES))
		rc = protocol_features(m);
	if (!rc && !m->owned)
		rc = get_with_next(m, VHI_FE_SET_OWNER, true);
	if (rc)
		return rc;
	both = wanted & m->features.offered & ~m->opts.mask_features & ~VHI_MASTER_TRANSPORT;
	if (!(both & VHI_BIT(VH_F_VERSION_1)))
		both &= ~NEED_VERSION_1;
	/* Bit 30 goes with the protocol features, whatever the driver wants. */
	rc = set(m, VHI_FE_SET_FEATURES, both | (m->features.offered & VHI_BIT(VH_F_PROTOCOL_FEATURES)));
	if (!rc && out)
		*out = both;
	return rc;
}

vh_rc vh_master_negotiate(struct vh_master *m, uint64_t features, uint64_t *acked_bits)
{
	int rc = vhi_master_enter(m, "vh_master_negotiate", VHI_CALL_WAITS | VHI_CALL_CONNECTED);

	return rc ? rc : vhi_master_leave(m, negotiate(m, features, acked_bits));
}
