/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Names of messages and feature bits. */
#include "vh/log.h"
#include "vhi_wire.h"

enum space { SPACE_PF, SPACE_F, SPACE_NET, SPACE_BLK, SPACE_NONE };

#define PREFIX_PF  ""
#define PREFIX_F   ""
#define PREFIX_NET "NET_"
#define PREFIX_BLK "BLK_"

static const struct {
	uint8_t space;
	uint8_t bit;
	const char *name;
} features[] = {
#define VHI_FEATURE(space, name, bit) {SPACE_##space, bit, PREFIX_##space #name},
#include "features.def"
#undef VHI_FEATURE
};

static const char *feature_find(enum space space, uint32_t bit)
{
	for (size_t i = 0; i < VHI_ARRAY_SIZE(features); i++)
		if (features[i].space == space && features[i].bit == bit)
			return features[i].name;
	return NULL;
}

const char *vh_feature_name(uint32_t space, uint32_t bit)
{
	static const uint8_t device_space[] = {[0] = SPACE_PF, [VH_TYPE_NET] = SPACE_NET, [VH_TYPE_BLK] = SPACE_BLK};
	enum space s = space < VHI_ARRAY_SIZE(device_space) ? (enum space)device_space[space] : SPACE_NONE;
	const char *name = feature_find(s, bit);

	/* What no device type gives a meaning of its own means the same for all of them. */
	return name || s == SPACE_PF ? name : feature_find(SPACE_F, bit);
}

const char *vh_msg_name(uint32_t channel, uint32_t request)
{
	enum vhi_wire_side side = channel == VH_MSG_CHANNEL_MAIN ? VHI_WIRE_FRONT_END : VHI_WIRE_BACK_END;
	const struct vhi_wire_msg *msg = channel <= VH_MSG_CHANNEL_BACKEND ? vhi_wire_find(side, request) : NULL;

	return msg ? msg->name : "UNKNOWN";
}
