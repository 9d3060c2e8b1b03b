/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The display's end of a GPU's socket: takes requests one by one, and answers. */
#include "vhi_gpu.h"

/* virtio 1.2 section 5.7.6.7: what a good answer says. QEMU's device looks at it. */
#define RESP_OK_DISPLAY_INFO 0x1101u
#define RESP_OK_EDID	     0x1104u

/* Messages that are settled in here, in one call: who sends them without end must not hold it up. */
#define MAX_SETTLED 64u

static int reply(struct vh_gpu *g, uint32_t id, const void *payload, uint32_t size)
{
	const struct vhi_gpu_header head = {.request = id, .flags = VHI_GPU_REPLY, .size = size};

	g->owed = NULL;
	return vhi_gpu_send_all(g, &head, payload, size, NULL, 0, -1, 0);
}

/* What is settled in here: 1 = it was, 0 = it is the user's, -errno. */
static int serve(struct vh_gpu *g, const struct vhi_gpu_row *row)
{
	uint64_t bits;
	int rc;

	if (row->id == VH_GPU_GET_PROTOCOL_FEATURES) {
		rc = reply(g, row->id, &g->opts.features, sizeof(g->opts.features));
		return rc ? rc : 1;
	}
	if (row->id != VH_GPU_SET_PROTOCOL_FEATURES)
		return 0;
	memcpy(&bits, g->payload, sizeof(bits));
	if (VHI_REFUSE(VHI_SITE_GPU_ACK, bits & ~g->opts.features))
		return vhi_gpu_fail(g, -EPROTO, VHI_SITE_GPU_ACK, "");
	g->acked = bits;
	return 1;
}

static int next(struct vh_gpu *g, struct vh_gpu_msg *msg)
{
	const struct vhi_gpu_row *row;
	uint32_t site, settled = 0;
	int rc;

	do {
		rc = vhi_gpu_receive(g);
		if (rc <= 0)
			return rc;
		if (VHI_REFUSE(VHI_SITE_GPU_CHATTER, settled++ > MAX_SETTLED))
			return vhi_gpu_fail(g, -EPROTO, VHI_SITE_GPU_CHATTER, "");
		row = vhi_gpu_find(g->head.request);
		rc = row ? serve(g, row) : 1;
	} while (rc > 0);
	if (rc)
		return rc;
	site = vhi_gpu_check_request(g, msg);
	if (site)
		return vhi_gpu_fail(g, -EPROTO, site, "");
	g->owed = row->reply >= 0 ? row : NULL;
	return 1;
}

vh_count vh_gpu_recv(struct vh_gpu *g, struct vh_gpu_msg *out, vh_fd *fd)
{
	struct vh_gpu_msg msg;
	vh_count rc = vhi_out_check(out, "vh_gpu_recv");

	if (!rc && !fd)
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_gpu_recv: fd is NULL");
	if (!rc)
		rc = vhi_gpu_enter(g, "vh_gpu_recv", true);
	if (rc)
		return rc;
	rc = g->owed ? vhi_fail_at(-EALREADY, VH_ERROR_STATE, 0, VH_ERROR_NONE, g->owed->id,
				   "vh_gpu_recv: answer %s first", g->owed->name)
		     : next(g, &msg);
	if (rc == 1) {
		vhi_out_fill(out, &msg, sizeof(msg), "vh_gpu_recv");
		*fd = g->in_fd;
		g->in_fd = -1;
	}
	return vhi_gpu_leave(g, rc);
}

static vh_rc answer(struct vh_gpu *g, uint32_t id, const void *payload, uint32_t size, const char *who)
{
	vh_rc rc = vhi_gpu_enter(g, who, true);

	if (rc)
		return rc;
	if (!g->owed || g->owed->id != id)
		return vhi_gpu_leave(g, vhi_fail(-EINVAL, VH_ERROR_STATE, 0, "%s: no such answer is owed", who));
	return vhi_gpu_leave(g, reply(g, id, payload, size));
}

vh_rc vh_gpu_reply_modes(struct vh_gpu *g, const struct vh_gpu_mode *modes, uint32_t n)
{
	struct vhi_gpu_displays r = {.head = {.type = htole32(RESP_OK_DISPLAY_INFO)}};

	if ((!modes && n) || n > VH_GPU_MAX_SCANOUTS)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_gpu_reply_modes: modes is NULL, or there are more than 16");
	if (n)
		memcpy(r.modes, modes, n * sizeof(*modes));
	vhi_gpu_swap_modes(r.modes, n);
	return answer(g, VH_GPU_GET_DISPLAY_INFO, &r, sizeof(r), "vh_gpu_reply_modes");
}

vh_rc vh_gpu_reply_edid(struct vh_gpu *g, const void *edid, uint32_t len)
{
	struct vhi_gpu_edid r = {.head = {.type = htole32(RESP_OK_EDID)}, .size = htole32(len)};

	if ((!edid && len) || len > VH_GPU_EDID_MAX)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_gpu_reply_edid: edid is NULL, or has more than 1024 bytes");
	if (len)
		memcpy(r.edid, edid, len);
	return answer(g, VH_GPU_GET_EDID, &r, sizeof(r), "vh_gpu_reply_edid");
}

vh_rc vh_gpu_reply_shown(struct vh_gpu *g)
{
	return answer(g, VH_GPU_DMABUF_UPDATE, NULL, 0, "vh_gpu_reply_shown");
}
