/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The message table in memory, and what is decided from its columns alone. */
#include "vhi_wire.h"

#include "vhi_wire_rules.h"

enum {
#define VHI_FEATURE(space, name, bit) FEATURE_##space##_##name = (bit),
#include "features.def"
#undef VHI_FEATURE
};

#define PF(name)  VHI_BIT(FEATURE_PF_##name)
#define F(name)	  VHI_BIT(FEATURE_F_##name)
#define NET(name) VHI_BIT(FEATURE_NET_##name)

#define FIELDS(label, number, kind, smin, smax, amin, amax, fmin, fmax, afmin, afmax, rule, rkind, rmin, rmax, rfds,  \
	       form, ringrule, features, acked_bits, offered_bits)                                                    \
	.name = (label), .id = (number), .min = (smin), .max = (smax), .accept_min = (amin), .accept_max = (amax),    \
	.fd_min = (fmin), .fd_max = (fmax), .accept_fd_min = (afmin), .accept_fd_max = (afmax),                       \
	.payload = VHI_P_##kind, .reply = VHI_REPLY_RULE_##rule, .reply_payload = VHI_P_##rkind, .reply_min = (rmin), \
	.reply_max = (rmax), .reply_fd_max = (rfds), .refusal = VHI_REFUSAL_##form, .ring = VHI_RING_##ringrule,      \
	.pf = (features), .vf_send = (acked_bits), .vf_accept = (offered_bits)

#define ROW(...) {FIELDS(__VA_ARGS__)},
#define LEGACY_ROW(label, number, kind, smin, smax, amin, amax, fmin, fmax, afmin, afmax, rule, rkind, rmin, rmax,    \
		   rfds, form, ringrule, features, acked_bits, offered_bits, only)                                    \
	{FIELDS(label, number, kind, smin, smax, amin, amax, fmin, fmax, afmin, afmax, rule, rkind, rmin, rmax, rfds, \
		form, ringrule, features, acked_bits, offered_bits),                                                  \
	 .dialects = (only)},

static const struct vhi_wire_msg front_end[] = {
#define VHI_FE(name, ...) ROW(#name, __VA_ARGS__)
#define VHI_BE(name, ...)
#include "messages.def"
#undef VHI_FE
#undef VHI_BE
};

static const struct vhi_wire_msg back_end[] = {
#define VHI_FE(name, ...)
#define VHI_BE(name, ...) ROW("BACKEND_" #name, __VA_ARGS__)
#include "messages.def"
#undef VHI_FE
#undef VHI_BE
};

#define D(name) (1u << DIALECT_##name)

enum {
#define VHI_DIALECT(name, number) DIALECT_##name = (number),
#define VHI_DRIFT_PF(dialect, name, bit)
#define VHI_DRIFT_BE(dialect, name, id)
#define VHI_LEGACY(...)
#include "dialects.def"
#undef VHI_DIALECT
#undef VHI_LEGACY
};

static const struct vhi_wire_msg legacy[] = {
#define VHI_DIALECT(name, number)
#define VHI_LEGACY(name, ...) LEGACY_ROW("BACKEND_" #name, __VA_ARGS__)
#include "dialects.def"
#undef VHI_DIALECT
#undef VHI_DRIFT_PF
#undef VHI_DRIFT_BE
#undef VHI_LEGACY
};

const struct vhi_wire_msg *vhi_wire_table(enum vhi_wire_side side, size_t *n)
{
	*n = side == VHI_WIRE_FRONT_END ? VHI_ARRAY_SIZE(front_end) : VHI_ARRAY_SIZE(back_end);
	return side == VHI_WIRE_FRONT_END ? front_end : back_end;
}

/* Ids run from 1 without a gap (a test holds that), so the id is the place. */
const struct vhi_wire_msg *vhi_wire_find(enum vhi_wire_side side, uint32_t id)
{
	size_t n;
	const struct vhi_wire_msg *table = vhi_wire_table(side, &n);

	for (size_t i = 0; side == VHI_WIRE_BACK_END && i < VHI_ARRAY_SIZE(legacy); i++)
		if (legacy[i].id == id)
			return &legacy[i];
	return id >= 1 && id <= n ? &table[id - 1] : NULL;
}

bool vhi_wire_in_dialect(uint32_t id, uint32_t dialect)
{
	const struct vhi_wire_msg *msg = vhi_wire_find(VHI_WIRE_BACK_END, id);

	return msg && msg->dialects >> dialect & 1;
}

uint32_t vhi_wire_check_header(const struct vhi_wire_header *h, bool reply)
{
	const uint32_t known = 3u | VHI_WIRE_REPLY | VHI_WIRE_NEED_REPLY;

	if (VHI_REFUSE(VHI_SITE_WIRE_VERSION, (h->flags & 3u) != VHI_WIRE_VERSION))
		return VHI_SITE_WIRE_VERSION;
	if (VHI_REFUSE(VHI_SITE_WIRE_DIRECTION, !(h->flags & VHI_WIRE_REPLY) == reply))
		return VHI_SITE_WIRE_DIRECTION;
	if (VHI_REFUSE(VHI_SITE_WIRE_FLAGS, h->flags & ~known))
		return VHI_SITE_WIRE_FLAGS;
	if (VHI_REFUSE(VHI_SITE_WIRE_LENGTH, h->size > VHI_WIRE_MAX_PAYLOAD))
		return VHI_SITE_WIRE_LENGTH;
	return 0;
}

static bool not_in_dialect(const struct vhi_wire_msg *msg, const struct vhi_wire_features *f)
{
	return msg->dialects && !(msg->dialects >> f->dialect & 1);
}

uint32_t vhi_wire_check_request(enum vhi_wire_side side, const struct vhi_wire_header *h, const void *payload,
				uint32_t n_fds, const struct vhi_wire_features *f)
{
	const struct vhi_wire_msg *msg = vhi_wire_find(side, h->request);
	uint64_t pf = side == VHI_WIRE_FRONT_END ? f->pf_offered : f->pf_acked;

	if (!msg)
		return VHI_REFUSE(VHI_SITE_WIRE_UNKNOWN, true) ? VHI_SITE_WIRE_UNKNOWN : 0;
	if (VHI_REFUSE(VHI_SITE_WIRE_DIALECT, not_in_dialect(msg, f)))
		return VHI_SITE_WIRE_DIALECT;
	if (VHI_REFUSE(VHI_SITE_WIRE_SIZE, h->size < msg->accept_min || h->size > msg->accept_max))
		return VHI_SITE_WIRE_SIZE;
	if (VHI_REFUSE(VHI_SITE_WIRE_FDS, n_fds < msg->accept_fd_min || n_fds > msg->accept_fd_max))
		return VHI_SITE_WIRE_FDS;
	if (VHI_REFUSE(VHI_SITE_WIRE_PF, msg->pf & ~pf))
		return VHI_SITE_WIRE_PF;
	if (VHI_REFUSE(VHI_SITE_WIRE_VF, msg->vf_accept & ~f->offered))
		return VHI_SITE_WIRE_VF;
	return vhi_wire_request_rules(side, h, payload, n_fds, f);
}

uint32_t vhi_wire_check_reply(enum vhi_wire_side side, const struct vhi_wire_msg *request, bool own,
			      const struct vhi_wire_header *h, const void *payload, uint32_t n_fds)
{
	uint32_t min = own ? request->reply_min : sizeof(uint64_t);
	uint32_t max = own ? request->reply_max : sizeof(uint64_t);
	uint32_t fds = own ? request->reply_fd_max : 0;

	if (VHI_REFUSE(VHI_SITE_WIRE_REPLY_ID, h->request != request->id))
		return VHI_SITE_WIRE_REPLY_ID;
	if (VHI_REFUSE(VHI_SITE_WIRE_REPLY_SIZE, h->size < min || h->size > max))
		return VHI_SITE_WIRE_REPLY_SIZE;
	if (VHI_REFUSE(VHI_SITE_WIRE_REPLY_FDS, n_fds > fds))
		return VHI_SITE_WIRE_REPLY_FDS;
	return own ? vhi_wire_reply_rules(side, request, h, payload, n_fds) : 0;
}

uint32_t vhi_wire_check_send(const struct vhi_wire_msg *msg, uint32_t size, uint32_t n_fds,
			     const struct vhi_wire_features *f)
{
	if (VHI_REFUSE(VHI_SITE_WIRE_SEND_SIZE, size < msg->min || size > msg->max))
		return VHI_SITE_WIRE_SEND_SIZE;
	if (VHI_REFUSE(VHI_SITE_WIRE_SEND_FDS, n_fds < msg->fd_min || n_fds > msg->fd_max))
		return VHI_SITE_WIRE_SEND_FDS;
	if (VHI_REFUSE(VHI_SITE_WIRE_SEND_DIALECT, not_in_dialect(msg, f)))
		return VHI_SITE_WIRE_SEND_DIALECT;
	if (VHI_REFUSE(VHI_SITE_WIRE_SEND_PF, msg->pf & ~f->pf_acked))
		return VHI_SITE_WIRE_SEND_PF;
	if (VHI_REFUSE(VHI_SITE_WIRE_SEND_VF, (msg->vf_send & ~f->acked) || (msg->vf_accept & ~f->offered)))
		return VHI_SITE_WIRE_SEND_VF;
	return 0;
}

enum vhi_wire_answer vhi_wire_answer(const struct vhi_wire_msg *msg, uint32_t flags, const struct vhi_wire_features *f)
{
	if (msg && (msg->reply == VHI_REPLY_RULE_OWN ||
		    (msg->reply == VHI_REPLY_RULE_OWN_LOG && (f->pf_acked & PF(LOG_SHMFD)))))
		return VHI_ANSWER_OWN;
	return (flags & VHI_WIRE_NEED_REPLY) && (f->pf_acked & PF(REPLY_ACK)) ? VHI_ANSWER_STATUS : VHI_ANSWER_NONE;
}

enum vhi_wire_refusal vhi_wire_refusal(const struct vhi_wire_msg *msg, uint32_t flags,
				       const struct vhi_wire_features *f)
{
	switch (vhi_wire_answer(msg, flags, f)) {
	case VHI_ANSWER_OWN:
		return (enum vhi_wire_refusal)msg->refusal;
	case VHI_ANSWER_STATUS:
		return VHI_REFUSAL_STATUS;
	default:
		return VHI_REFUSAL_CLOSE;
	}
}

/* What a protocol feature can't do without (specification, table of protocol features). */
static const struct {
	uint64_t bit;
	uint64_t needs;
} dependencies[] = {
	/* In the order of bits: each needs only bits before it, so that one pass is enough. */
	{PF(BACKEND_SEND_FD), PF(BACKEND_REQ)},
	{PF(HOST_NOTIFIER), PF(BACKEND_REQ) | PF(BACKEND_SEND_FD)},
	{PF(INBAND_NOTIFICATIONS), PF(REPLY_ACK) | PF(BACKEND_REQ)},
	{PF(GET_VRING_BASE_INFLIGHT), PF(INFLIGHT_SHMFD)},
	{PF(SHMEM), PF(BACKEND_REQ) | PF(BACKEND_SEND_FD)},
	{PF(GET_VRING_BASE_SKIP_DRAIN), PF(INFLIGHT_SHMFD) | PF(GET_VRING_BASE_INFLIGHT)},
};

uint64_t vhi_wire_pf_closure(uint64_t bits)
{
	for (size_t i = 0; i < VHI_ARRAY_SIZE(dependencies); i++)
		if (dependencies[i].needs & ~bits)
			bits &= ~dependencies[i].bit;
	return bits;
}

static const struct vhi_site_text site_texts[] = {
#define VHI_SITE VHI_SITE_TEXT
#include "sites.def"
#undef VHI_SITE
};

const char *vhi_wire_site_text(uint32_t site)
{
	return vhi_site_text(site_texts, VHI_ARRAY_SIZE(site_texts), site);
}
