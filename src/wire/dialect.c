/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Numbers of a peer's dialect to those of the specification and back: see dialects.def. */
#include "vhi_dialect.h"

#define NONE 64u

enum {
#define VHI_FEATURE(space, name, bit) BIT_##space##_##name = (bit),
#include "features.def"
#undef VHI_FEATURE
};

enum {
#define VHI_DIALECT(name, number) DIALECT_##name = (number),
#define VHI_DRIFT_PF(dialect, name, bit)
#define VHI_DRIFT_BE(dialect, name, id)
#define VHI_LEGACY(name, ...)
#include "dialects.def"
#undef VHI_DIALECT
#undef VHI_DRIFT_PF
	DIALECTS
};

/* A protocol feature that has another bit. */
static const struct {
	uint32_t dialect, bit, there;
} features[] = {
#define VHI_DIALECT(name, number)
#define VHI_DRIFT_PF(dialect, name, there) {DIALECT_##dialect, BIT_PF_##name, there},
#include "dialects.def"
#undef VHI_DRIFT_PF
#undef VHI_DRIFT_BE
};

/* A request of the back-end's that has another id. */
static const struct {
	uint32_t dialect, id, there;
} messages[] = {
#define VHI_DRIFT_PF(dialect, name, there)
#define VHI_DRIFT_BE(dialect, name, there) {DIALECT_##dialect, VHI_BE_##name, there},
#include "dialects.def"
#undef VHI_DIALECT
#undef VHI_DRIFT_PF
#undef VHI_DRIFT_BE
#undef VHI_LEGACY
};

bool vhi_dialect_known(uint32_t dialect)
{
	return dialect < DIALECTS;
}

uint32_t vhi_dialect_id_in(uint32_t dialect, enum vhi_wire_side side, uint32_t id)
{
	for (size_t i = 0; side == VHI_WIRE_BACK_END && i < VHI_ARRAY_SIZE(messages); i++)
		if (messages[i].dialect == dialect && messages[i].there == id)
			return messages[i].id;
	return id;
}

uint32_t vhi_dialect_id_out(uint32_t dialect, enum vhi_wire_side side, uint32_t id)
{
	for (size_t i = 0; side == VHI_WIRE_BACK_END && i < VHI_ARRAY_SIZE(messages); i++)
		if (messages[i].dialect == dialect && messages[i].id == id)
			return messages[i].there;
	return id;
}

/* Bits that mean something else there, or nothing: what is not moved is dropped. */
static uint64_t pf(uint32_t dialect, uint64_t bits, bool in)
{
	uint64_t kept = bits, moved = 0;

	for (size_t i = 0; i < VHI_ARRAY_SIZE(features); i++) {
		uint32_t ours = features[i].bit, theirs = features[i].there;
		uint32_t from = in ? theirs : ours, to = in ? ours : theirs;

		if (features[i].dialect != dialect)
			continue;
		kept &= ~VHI_BIT(ours);
		if (theirs != NONE)
			kept &= ~VHI_BIT(theirs);
		if (theirs != NONE && bits & VHI_BIT(from))
			moved |= VHI_BIT(to);
	}
	return kept | moved;
}

uint64_t vhi_dialect_pf_in(uint32_t dialect, uint64_t bits)
{
	return pf(dialect, bits, true);
}

uint64_t vhi_dialect_pf_out(uint32_t dialect, uint64_t bits)
{
	return pf(dialect, bits, false);
}

bool vhi_dialect_has_pf(const struct vhi_wire_header *h)
{
	return h->size == sizeof(uint64_t) &&
	       h->request == (h->flags & VHI_WIRE_REPLY ? VHI_FE_GET_PROTOCOL_FEATURES : VHI_FE_SET_PROTOCOL_FEATURES);
}
