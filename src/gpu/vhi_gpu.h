/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A GPU's socket inside. wire.c: the table, and what a message must look like; gpu.c: the handle, bytes in and out;
 * device.c and display.c: the calls of the two ends.
 */
#ifndef VHI_GPU_H
#define VHI_GPU_H

#include <endian.h>

#include "vh/gpu.h"
#include "vhi_gate.h"
#include "vhi_sock.h"

enum vhi_gpu_site {
#define VHI_SITE VHI_SITE_ENUM
#include "sites.def"
#undef VHI_SITE
};

#define VHI_GPU_REPLY	   4u /* header flag, the only one */
#define VHI_GPU_FEATURES   (VHI_BIT(VH_GPU_PF_EDID) | VHI_BIT(VH_GPU_PF_DMABUF2))
#define VHI_GPU_MAX_FIXED  48u
#define VHI_GPU_MAX_FIELDS 13 /* and 0 as the end */

enum vhi_gpu_data { VHI_GPU_DATA_NONE, VHI_GPU_DATA_CURSOR, VHI_GPU_DATA_PIXELS };

struct vhi_gpu_row {
	const char *name;
	uint32_t id;
	uint32_t fixed; /* bytes before data */
	enum vhi_gpu_data data;
	uint32_t fds;
	int32_t reply; /* bytes, -1 = none */
	uint64_t pf;
	uint16_t fields[VHI_GPU_MAX_FIELDS]; /* offsets in struct vh_gpu_msg; 0 ends them, that is its size */
};

struct vhi_gpu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
};

/* Replies that are structs of virtio-gpu: little-endian, unlike all else here. */
struct vhi_gpu_ctrl {
	uint32_t type; /* of virtio-gpu: VIRTIO_GPU_RESP_OK_* */
	uint32_t flags;
	uint64_t fence_id;
	uint32_t ctx_id;
	uint32_t padding;
};
struct vhi_gpu_displays {
	struct vhi_gpu_ctrl head;
	struct vh_gpu_mode modes[VH_GPU_MAX_SCANOUTS];
};
struct vhi_gpu_edid {
	struct vhi_gpu_ctrl head;
	uint32_t size;
	uint32_t padding;
	uint8_t edid[VH_GPU_EDID_MAX];
};

/* From or to the order of their bytes on the wire, which is the same change. */
void vhi_gpu_swap_modes(struct vh_gpu_mode *modes, uint32_t n);

struct vh_gpu {
	struct vhi_gate gate;
	struct vhi_transport transport; /* open until it is freed, so that its fd does not become another file */
	int fd;
	bool display;
	struct vh_gpu_opts opts; /* defaults filled in */
	uint64_t acked;
	struct vhi_failure failure;	/* why it ended */
	const struct vhi_gpu_row *owed; /* the request whose reply is due: from the display, or to us */

	/* The message that comes in. */
	struct vhi_gpu_header head;
	uint64_t got; /* bytes of it, header included */
	uint64_t deadline_ns;
	int in_fd;
	uint8_t *payload; /* kept from message to message */
	uint64_t room;
};

const struct vhi_gpu_row *vhi_gpu_find(uint32_t id); /* NULL: unknown */
uint64_t vhi_gpu_data_size(const struct vhi_gpu_row *row, const struct vh_gpu_msg *msg);
void vhi_gpu_encode(const struct vhi_gpu_row *row, const struct vh_gpu_msg *msg, uint8_t fixed[VHI_GPU_MAX_FIXED]);
/* The head of a message that has come: 0 or a site number. */
uint32_t vhi_gpu_check_head(const struct vh_gpu *g);
/* The whole of a request: 0 with its fields at @out, or a site number. */
uint32_t vhi_gpu_check_request(const struct vh_gpu *g, struct vh_gpu_msg *out);

/* Around every public call; @display: whose it is. */
vh_rc vhi_gpu_enter(struct vh_gpu *g, const char *who, bool display);
vh_count vhi_gpu_leave(struct vh_gpu *g, vh_count rc);
/* It ends. Returns code. */
int vhi_gpu_fail(struct vh_gpu *g, int code, uint32_t site, const char *why);
/* 1: a whole message is there, until the next call. 0: not yet. -errno: it has ended. */
int vhi_gpu_receive(struct vh_gpu *g);
/* All of it, until @deadline_ns; 0 = what can't be sent at once ends it. @fd -1 = none. */
int vhi_gpu_send_all(struct vh_gpu *g, const struct vhi_gpu_header *head, const void *fixed, uint32_t n_fixed,
		     const void *data, uint64_t n_data, int fd, uint64_t deadline_ns);
/* Until the socket can be read or written (poll's events). 0, -ETIMEDOUT, -errno. */
int vhi_gpu_wait(const struct vh_gpu *g, short events, uint64_t deadline_ns);

#endif
