/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The public, borrowed handle over the table of intents. */
#include "vhi_backend.h"

/* Bits that belong to the transport, not to the device. */
#define TRANSPORT_BITS (VHI_BIT(VH_F_LOG_ALL) | VHI_BIT(VH_F_PROTOCOL_FEATURES))

const char *vh_backend_kind(const struct vh_backend *b)
{
	return b ? b->ops->kind : "none";
}

vh_rc vh_backend_get_features(struct vh_backend *b, uint64_t *out)
{
	uint64_t offered;
	int rc;

	if (!b || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_backend_get_features: NULL argument");
	rc = b->ops->get_features(b->ctx, &offered);
	if (!rc)
		*out = offered & ~TRANSPORT_BITS;
	return rc;
}

vh_rc vh_backend_get_config(struct vh_backend *b, uint32_t offset, void *buf, uint32_t len)
{
	if (!b || !buf || !len)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_backend_get_config: NULL argument or no bytes");
	return b->ops->config_get(b->ctx, offset, buf, len);
}

vh_rc vh_backend_set_config(struct vh_backend *b, uint32_t offset, const void *buf, uint32_t len)
{
	if (!b || !buf || !len)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_backend_set_config: NULL argument or no bytes");
	return b->ops->config_set(b->ctx, offset, buf, len);
}
