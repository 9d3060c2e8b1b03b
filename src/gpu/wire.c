/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The table of a GPU's messages, and what one must look like. */
#include "vhi_gpu.h"

#define PIXEL_BYTES 4u

static const struct vhi_gpu_row rows[] = {
#define NO_REPLY   (-1)
#define F(member)  offsetof(struct vh_gpu_msg, member)
#define F2(member) (offsetof(struct vh_gpu_msg, member) + sizeof(uint32_t))
#define LIST(...)                            \
	{                                    \
		__VA_ARGS__ __VA_OPT__(, ) 0 \
	}
#define VHI_GPU(name_, id_, fixed_, data_, fds_, reply_, pf_, fields_) \
	{.name = #name_,                                               \
	 .id = (id_),                                                  \
	 .fixed = (fixed_),                                            \
	 .data = VHI_GPU_DATA_##data_,                                 \
	 .fds = (fds_),                                                \
	 .reply = (reply_),                                            \
	 .pf = (pf_),                                                  \
	 .fields = LIST fields_},
#include "messages.def"
#undef VHI_GPU
#undef LIST
#undef F2
#undef F
#undef NO_REPLY
};

_Static_assert(sizeof(struct vhi_gpu_displays) == 408 && sizeof(struct vhi_gpu_edid) == 1056, "as on the wire");

const struct vhi_gpu_row *vhi_gpu_find(uint32_t id)
{
	for (size_t i = 0; i < VHI_ARRAY_SIZE(rows); i++)
		if (rows[i].id == id)
			return &rows[i];
	return NULL;
}

uint64_t vhi_gpu_data_size(const struct vhi_gpu_row *row, const struct vh_gpu_msg *msg)
{
	switch (row->data) {
	case VHI_GPU_DATA_CURSOR:
		return VH_GPU_CURSOR_BYTES;
	case VHI_GPU_DATA_PIXELS:
		/* Below 2^66: a product that wraps is larger than any limit before it wraps. */
		return msg->width && msg->height > UINT64_MAX / PIXEL_BYTES / msg->width
			       ? UINT64_MAX
			       : (uint64_t)msg->width * msg->height * PIXEL_BYTES;
	default:
		return 0;
	}
}

void vhi_gpu_encode(const struct vhi_gpu_row *row, const struct vh_gpu_msg *msg, uint8_t fixed[VHI_GPU_MAX_FIXED])
{
	for (size_t i = 0; row->fields[i]; i++)
		memcpy(fixed + i * sizeof(uint32_t), (const uint8_t *)msg + row->fields[i], sizeof(uint32_t));
}

static void decode(const struct vhi_gpu_row *row, const uint8_t *fixed, struct vh_gpu_msg *msg)
{
	*msg = (struct vh_gpu_msg){.size = sizeof(*msg), .request = row->id};
	for (size_t i = 0; row->fields[i]; i++)
		memcpy((uint8_t *)msg + row->fields[i], fixed + i * sizeof(uint32_t), sizeof(uint32_t));
}

static uint32_t check_reply_head(const struct vh_gpu *g)
{
	const struct vhi_gpu_header *h = &g->head;

	if (VHI_REFUSE(VHI_SITE_GPU_REPLY_FLAGS, h->flags != VHI_GPU_REPLY))
		return VHI_SITE_GPU_REPLY_FLAGS;
	if (VHI_REFUSE(VHI_SITE_GPU_REPLY_ID, h->request != g->owed->id))
		return VHI_SITE_GPU_REPLY_ID;
	if (VHI_REFUSE(VHI_SITE_GPU_REPLY_SIZE, h->size != (uint32_t)g->owed->reply))
		return VHI_SITE_GPU_REPLY_SIZE;
	if (VHI_REFUSE(VHI_SITE_GPU_REPLY_FD, g->in_fd >= 0))
		return VHI_SITE_GPU_REPLY_FD;
	return 0;
}

/* Before anything of the payload is read, or room is made for it. */
static uint32_t check_request_head(const struct vh_gpu *g)
{
	const struct vhi_gpu_header *h = &g->head;
	const struct vhi_gpu_row *row = vhi_gpu_find(h->request);
	uint64_t most;

	if (VHI_REFUSE(VHI_SITE_GPU_FLAGS, h->flags))
		return VHI_SITE_GPU_FLAGS;
	if (VHI_REFUSE(VHI_SITE_GPU_UNKNOWN, !row))
		return VHI_SITE_GPU_UNKNOWN;
	if (!row)
		return 0;
	most = row->data == VHI_GPU_DATA_PIXELS	  ? g->opts.max_data
	       : row->data == VHI_GPU_DATA_CURSOR ? VH_GPU_CURSOR_BYTES
						  : 0;
	if (VHI_REFUSE(VHI_SITE_GPU_SIZE, h->size < row->fixed || h->size - row->fixed > most))
		return VHI_SITE_GPU_SIZE;
	if (VHI_REFUSE(VHI_SITE_GPU_FD, g->in_fd >= 0 && !row->fds))
		return VHI_SITE_GPU_FD;
	if (VHI_REFUSE(VHI_SITE_GPU_FEATURE, row->pf & ~g->acked))
		return VHI_SITE_GPU_FEATURE;
	return 0;
}

uint32_t vhi_gpu_check_head(const struct vh_gpu *g)
{
	return g->display ? check_request_head(g) : check_reply_head(g);
}

uint32_t vhi_gpu_check_request(const struct vh_gpu *g, struct vh_gpu_msg *out)
{
	const struct vhi_gpu_row *row = vhi_gpu_find(g->head.request);

	decode(row, g->payload, out);
	if (VHI_REFUSE(VHI_SITE_GPU_SCANOUT, out->scanout_id >= VH_GPU_MAX_SCANOUTS))
		return VHI_SITE_GPU_SCANOUT;
	/* Messages without a rectangle have one of no size. */
	if (VHI_REFUSE(VHI_SITE_GPU_RECT, out->width > UINT32_MAX - out->x || out->height > UINT32_MAX - out->y))
		return VHI_SITE_GPU_RECT;
	out->data_size = g->head.size - row->fixed;
	if (VHI_REFUSE(VHI_SITE_GPU_DATA, out->data_size != vhi_gpu_data_size(row, out)))
		return VHI_SITE_GPU_DATA;
	out->data = out->data_size ? (uintptr_t)(g->payload + row->fixed) : 0;
	return 0;
}

void vhi_gpu_swap_modes(struct vh_gpu_mode *modes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		modes[i] = (struct vh_gpu_mode){
			.x = htole32(modes[i].x),
			.y = htole32(modes[i].y),
			.width = htole32(modes[i].width),
			.height = htole32(modes[i].height),
			.enabled = htole32(modes[i].enabled),
			.flags = htole32(modes[i].flags),
		};
}
