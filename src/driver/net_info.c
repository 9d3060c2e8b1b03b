/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the network device is. */
#include "vhi_net_driver.h"

#define F(bit) VHI_BIT(VH_NET_F_##bit)

/* Config space: offset of each field (virtio 1.2 section 5.1.4). */
enum { C_MAC = 0, C_STATUS = 6, C_PAIRS = 8, C_MTU = 10, C_END = 12 };
#define LINK_UP	    1u
#define DEFAULT_MTU 1500u
/* No network that IP runs on has less (RFC 791). */
#define LEAST_MTU 68u

static uint32_t get16(const uint8_t *config, uint32_t at)
{
	return config[at] | (uint32_t)config[at + 1] << 8;
}

/* Config space ends where the last field ends whose feature both sides have: some devices refuse to be read past it. */
static uint32_t config_len(uint64_t features)
{
	static const struct {
		uint64_t feature;
		uint32_t end;
	} fields[] = {{F(MTU), C_END}, {F(MQ), C_MTU}, {F(STATUS), C_PAIRS}, {F(MAC), C_STATUS}};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(fields); i++)
		if (features & fields[i].feature)
			return fields[i].end;
	return 0;
}

int vhi_net_read_info(struct vh_net *n)
{
	struct vh_backend *be = n->d->b;
	uint64_t f = n->d->features;
	const uint32_t len = config_len(f);
	uint8_t c[C_END] = {0};
	int rc = vhi_driver_link(n->d);

	if (rc > 0)
		rc = vhi_fail(-ECONNRESET, VH_ERROR_STATE, 0,
			      "vh_net_new: there is no connection at the moment; wait for VH_EVENT_SESSION_RUNNING");
	if (!rc && len)
		rc = be->ops->config_get(be->ctx, 0, c, len);
	n->info.features = f;
	n->merge = f & F(MRG_RXBUF);
	if (rc == -EOPNOTSUPP) { /* DPDK's back-end offers what stands in a configuration space, and has none */
		f &= ~(F(MTU) | F(MQ) | F(STATUS) | F(MAC));
		rc = 0;
	}
	if (rc)
		return rc;
	if (VHI_REFUSE(VHI_SITE_NET_MTU, f & F(MTU) && get16(c, C_MTU) < LEAST_MTU))
		return vhi_fail(-EPROTO, VH_ERROR_DEVICE, VHI_SITE_NET_MTU,
				"vh_net_new: the device says that its MTU is %u; it must be 68 or more",
				get16(c, C_MTU));
	n->info.mtu = f & F(MTU) ? get16(c, C_MTU) : 0;
	n->info.link_up = f & F(STATUS) ? get16(c, C_STATUS) & LINK_UP : 1;
	n->info.n_pairs = n->d->n_queues / 2;
	n->info.max_pairs = n->d->max_queues / 2;
	if (f & F(MQ))
		n->info.max_pairs = VHI_MIN(n->info.max_pairs, VHI_MAX(get16(c, C_PAIRS), 1u));
	if (f & F(MAC))
		memcpy(n->info.mac, c + C_MAC, sizeof(n->info.mac));
	if (!n->info.frame_max)
		n->info.frame_max = VHI_NET_HEAD + (n->info.mtu ? n->info.mtu : DEFAULT_MTU);
	return 0;
}
