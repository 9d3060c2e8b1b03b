/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The device's end of a GPU's socket: requests, and the replies to some. */
#include "vhi_gpu.h"

#define NS_PER_MS UINT64_C(1000000)

/* What a request is made of. */
struct ask {
	const struct vhi_gpu_row *row;
	const void *fixed;
	const void *data;
	uint64_t n_data;
	int fd;
};

/* Nothing may be there before something was asked. */
static int check_silence(struct vh_gpu *g)
{
	const int ready = vhi_poll_now(g->fd, POLLIN);

	if (ready <= 0)
		return ready;
	if (vhi_sock_peer_gone(g->fd))
		return vhi_gpu_fail(g, -ECONNRESET, 0, "the display closed the connection");
	if (VHI_REFUSE(VHI_SITE_GPU_UNSOLICITED, true))
		return vhi_gpu_fail(g, -EPROTO, VHI_SITE_GPU_UNSOLICITED, "");
	return 0;
}

static int await_reply(struct vh_gpu *g, const struct vhi_gpu_row *row, uint64_t deadline_ns)
{
	int rc;

	g->owed = row;
	while (!(rc = vhi_gpu_receive(g))) {
		rc = vhi_gpu_wait(g, POLLIN, deadline_ns);
		/* A late reply must never be taken for that of the next request. */
		if (rc) {
			rc = vhi_gpu_fail(g, rc, 0, "the display did not answer in time");
			break;
		}
	}
	g->owed = NULL;
	return rc < 0 ? rc : 0;
}

/* The reply is at g->payload then. */
static int transact(struct vh_gpu *g, const struct ask *a)
{
	const struct vhi_gpu_header head = {.request = a->row->id, .size = (uint32_t)(a->row->fixed + a->n_data)};
	const uint64_t deadline_ns = vhi_now_ns() + g->opts.timeout_ms * NS_PER_MS;
	int rc = check_silence(g);

	if (!rc)
		rc = vhi_gpu_send_all(g, &head, a->fixed, a->row->fixed, a->data, a->n_data, a->fd, deadline_ns);
	return rc || a->row->reply < 0 ? rc : await_reply(g, a->row, deadline_ns);
}

static int ask(struct vh_gpu *g, uint32_t id, const void *fixed)
{
	return transact(g, &(struct ask){.row = vhi_gpu_find(id), .fixed = fixed, .fd = -1});
}

vh_rc vh_gpu_negotiate(struct vh_gpu *g, uint64_t wanted, uint64_t *acked)
{
	uint64_t bits = 0;
	vh_rc rc = vhi_gpu_enter(g, "vh_gpu_negotiate", false);

	if (rc)
		return rc;
	rc = ask(g, VH_GPU_GET_PROTOCOL_FEATURES, NULL);
	if (!rc) {
		memcpy(&bits, g->payload, sizeof(bits));
		bits &= wanted & VHI_GPU_FEATURES;
		rc = ask(g, VH_GPU_SET_PROTOCOL_FEATURES, &bits);
	}
	if (!rc) {
		g->acked = bits;
		if (acked)
			*acked = bits;
	}
	return vhi_gpu_leave(g, rc);
}

static int check_feature(const struct vh_gpu *g, const struct vhi_gpu_row *row)
{
	if (!(row->pf & ~g->acked))
		return 0;
	return vhi_fail_at(-EOPNOTSUPP, VH_ERROR_STATE, 0, VH_ERROR_NONE, row->id,
			   "GPU %s needs a protocol feature that is not in force; call vh_gpu_negotiate", row->name);
}

/* The table's row for a message that is all right, else NULL with *rc. */
static const struct vhi_gpu_row *check_msg(const struct vh_gpu *g, const struct vh_gpu_msg *msg, int fd, int *rc)
{
	const struct vhi_gpu_row *row = vhi_gpu_find(msg->request);
	const char *wrong = NULL;

	*rc = 0;
	if (!row || !row->fields[0] || row->reply > 0)
		wrong = "request is none that is sent by this call";
	else if (msg->scanout_id >= VH_GPU_MAX_SCANOUTS)
		wrong = "scanout_id is at most 15";
	else if (fd >= 0 && !row->fds)
		wrong = "this request has no fd";
	else if (vhi_gpu_data_size(row, msg) != (row->data ? msg->data_size : 0))
		wrong = "data_size is not that of its pixels";
	else if (row->data && msg->data_size > g->opts.max_data)
		wrong = "there are more pixels than max_data allows; send them in parts";
	else if (row->data && msg->data_size && !msg->data)
		wrong = "data is NULL";
	else
		*rc = check_feature(g, row);
	if (wrong)
		*rc = vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, msg->request, "vh_gpu_send: %s", wrong);
	return *rc ? NULL : row;
}

vh_rc vh_gpu_send(struct vh_gpu *g, const struct vh_gpu_msg *msg, vh_fd fd)
{
	uint8_t fixed[VHI_GPU_MAX_FIXED] = {0};
	const struct vhi_gpu_row *row;
	struct vh_gpu_msg m;
	vh_rc rc = msg ? vhi_opts_in(&m, sizeof(m), msg, "vh_gpu_msg")
		       : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_gpu_send: msg is NULL");

	if (!rc)
		rc = vhi_gpu_enter(g, "vh_gpu_send", false);
	if (rc)
		return rc;
	row = check_msg(g, &m, fd, &rc);
	if (row) {
		vhi_gpu_encode(row, &m, fixed);
		rc = transact(g, &(struct ask){.row = row,
					       .fixed = fixed,
					       .data = (const void *)(uintptr_t)m.data,
					       .n_data = row->data ? m.data_size : 0,
					       .fd = fd});
	}
	return vhi_gpu_leave(g, rc);
}

vh_count vh_gpu_get_modes(struct vh_gpu *g, struct vh_gpu_mode *out, uint32_t max)
{
	const uint32_t n = VHI_MIN(max, (uint32_t)VH_GPU_MAX_SCANOUTS);
	vh_count rc = !out && max ? vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_gpu_get_modes: out is NULL") : 0;

	if (!rc)
		rc = vhi_gpu_enter(g, "vh_gpu_get_modes", false);
	if (rc)
		return rc;
	rc = ask(g, VH_GPU_GET_DISPLAY_INFO, NULL);
	if (!rc && n) {
		memcpy(out, g->payload + offsetof(struct vhi_gpu_displays, modes), n * sizeof(*out));
		vhi_gpu_swap_modes(out, n);
	}
	return vhi_gpu_leave(g, rc ? rc : (vh_count)n);
}

static vh_count get_edid(struct vh_gpu *g, uint32_t scanout_id, void *buf, uint32_t cap)
{
	struct vhi_gpu_edid edid;
	int rc = check_feature(g, vhi_gpu_find(VH_GPU_GET_EDID));

	if (!rc)
		rc = ask(g, VH_GPU_GET_EDID, &scanout_id);
	if (rc)
		return rc;
	memcpy(&edid, g->payload, sizeof(edid));
	edid.size = le32toh(edid.size);
	if (VHI_REFUSE(VHI_SITE_GPU_EDID_SIZE, edid.size > VH_GPU_EDID_MAX))
		return vhi_gpu_fail(g, -EPROTO, VHI_SITE_GPU_EDID_SIZE, "");
	if (edid.size > cap)
		return vhi_fail(-EMSGSIZE, VH_ERROR_ARGUMENT, 0,
				"vh_gpu_get_edid: it has %u bytes, there is room for %u", edid.size, cap);
	memcpy(buf, edid.edid, VHI_MIN(edid.size, (uint32_t)sizeof(edid.edid)));
	return (vh_count)edid.size;
}

vh_count vh_gpu_get_edid(struct vh_gpu *g, uint32_t scanout_id, void *buf, uint32_t cap)
{
	vh_count rc = !buf || scanout_id >= VH_GPU_MAX_SCANOUTS
			      ? vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
					 "vh_gpu_get_edid: buf is NULL, or the scanout is beyond 15")
			      : vhi_gpu_enter(g, "vh_gpu_get_edid", false);

	return rc ? rc : vhi_gpu_leave(g, get_edid(g, scanout_id, buf, cap));
}
