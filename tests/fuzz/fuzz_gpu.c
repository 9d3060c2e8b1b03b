/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A GPU's socket: a display whose device is hostile, or a device whose display is. The first byte says which, and what is
 * offered.
 */
#include <errno.h>

#include "input.h"
#include "kernel.h"
#include "vh/vh.h"

#define STEPS	 200
#define MAX_DATA 8192u

static struct input *in;
static struct vh_gpu *gpu;
static int raw; /* our end by hand */
static bool ended;

/* A message as it should be, with a number that may be wrong here and there. */
static void write_message(uint32_t flags)
{
	static const uint16_t sizes[] = {0, 0, 8, 0, 12, 12, 20, 12, 20, 40, 20, 4, 48, 0, 408, 1056};
	const uint8_t what = in_u8(in);
	uint32_t head[3] = {what & 15, flags, sizes[what & 15]};
	uint8_t payload[2048] = {0};
	int fd = what & 16 ? kern_open(KERN_MEMFD, KERN_PAGE) : -1;

	if (flags) {
		/* Answers: to GET_PROTOCOL_FEATURES, GET_DISPLAY_INFO, DMABUF_UPDATE, GET_EDID. */
		static const uint32_t replies[][2] = {{1, 8}, {3, 408}, {10, 0}, {11, 1056}};

		head[0] = replies[what & 3][0];
		head[2] = replies[what & 3][1];
	}
	if (what & 32)
		head[in_u8(in) % 3] ^= in_u32(in);
	if (what & 64)
		head[2] += in_u8(in);
	in_bytes(in, payload, head[2] < 64 ? head[2] : 64);
	kern_write(raw, head, sizeof(head), fd >= 0 ? &fd : NULL, fd >= 0);
	if (head[2])
		kern_write(raw, payload, head[2] < sizeof(payload) ? head[2] : sizeof(payload), NULL, 0);
	if (fd >= 0)
		kern_close(fd);
}

static void write_bytes(uint8_t n)
{
	uint8_t bytes[256];
	int fd = n & 1 ? kern_open(KERN_EVENTFD, 0) : -1;

	in_bytes(in, bytes, n);
	if (n)
		kern_write(raw, bytes, n, fd >= 0 ? &fd : NULL, fd >= 0);
	if (fd >= 0)
		kern_close(fd);
}

static void drain(void)
{
	uint8_t bytes[512];

	while (kern_readable(raw) && kern_read(raw, bytes, sizeof(bytes), NULL, NULL) > 0)
		;
}

/* What comes out has passed every check. */
static void look(const struct vh_gpu_msg *m)
{
	volatile uint8_t sum = 0;

	CHECK(m->request >= VH_GPU_GET_DISPLAY_INFO && m->request <= VH_GPU_DMABUF_SCANOUT2);
	CHECK(m->scanout_id < VH_GPU_MAX_SCANOUTS && m->data_size <= VH_GPU_CURSOR_BYTES);
	for (uint64_t i = 0; i < m->data_size; i++)
		sum = (uint8_t)(sum + *(const uint8_t *)(uintptr_t)(m->data + i));
}

static void take(uint8_t answer)
{
	static const struct vh_gpu_mode modes[16];
	struct vh_gpu_msg m = {.size = sizeof(m)};
	vh_fd fd = -1;
	int rc;

	while ((rc = vh_gpu_recv(gpu, &m, &fd)) == 1) {
		look(&m);
		if (fd >= 0)
			kern_close(fd);
		if (m.request == VH_GPU_GET_DISPLAY_INFO)
			vh_gpu_reply_modes(gpu, modes, answer & 15);
		if (m.request == VH_GPU_GET_EDID)
			vh_gpu_reply_edid(gpu, modes, answer);
		if (m.request == VH_GPU_DMABUF_UPDATE)
			vh_gpu_reply_shown(gpu);
	}
	ended = rc == -ENOTCONN;
}

static void display_step(void)
{
	const uint8_t what = in_u8(in);

	switch (what & 7) {
	case 0:
	case 1:
	case 2:
		write_message(0);
		break;
	case 3:
		write_bytes(what >> 3);
		break;
	case 4:
		kern_set_room(raw, what);
		break;
	case 5:
		kern_advance((uint64_t)what << 26);
		break;
	case 6:
		drain();
		break;
	default:
		break;
	}
	take(what);
}

/* Of the display by hand, while the device waits. */
static bool answer(void)
{
	const uint8_t what = in_u8(in);

	if (!in->left)
		return false;
	switch (what & 3) {
	case 0:
		write_bytes(what >> 2);
		break;
	case 1:
		drain();
		break;
	default:
		write_message(4);
	}
	return true;
}

static void device_step(void)
{
	static uint8_t pixels[MAX_DATA], edid[VH_GPU_EDID_MAX];
	const uint8_t what = in_u8(in);
	struct vh_gpu_msg m = {.size = sizeof(m), .request = in_u8(in) & 15, .scanout_id = what >> 4};
	struct vh_gpu_mode modes[VH_GPU_MAX_SCANOUTS];
	int rc;

	switch (what & 7) {
	case 0:
		rc = vh_gpu_negotiate(gpu, what & 8 ? UINT64_MAX : 1, NULL);
		break;
	case 1:
		rc = vh_gpu_get_modes(gpu, modes, what >> 3);
		break;
	case 2:
		rc = vh_gpu_get_edid(gpu, what >> 4, edid, what & 8 ? sizeof(edid) : 16);
		break;
	case 3:
		kern_set_room(raw, what);
		rc = 0;
		break;
	case 4:
		write_message(4);
		rc = 0;
		break;
	default:
		m.width = m.height = what >> 3;
		m.data = (uintptr_t)pixels;
		m.data_size = m.request == VH_GPU_CURSOR_UPDATE ? 0 : 4u * m.width * m.height;
		rc = vh_gpu_send(gpu, &m, -1);
	}
	ended = rc == -ENOTCONN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct vh_gpu_opts opts = {.size = sizeof(opts), .max_data = MAX_DATA};
	uint8_t options;
	int fds[2];

	in = &input;
	options = in_u8(in);
	kern_reset();
	kern_pair(fds);
	raw = fds[1];
	opts.features = options & 128 ? 0 : options & 3;
	opts.timeout_ms = options & 64 ? 1000 : 0;
	CHECK(!(options & 128 ? vh_gpu_new_device : vh_gpu_new_display)(&opts, fds[0], &gpu));
	kern_close(fds[0]);
	kern_idle = options & 128 ? answer : NULL;
	ended = false;
	for (int i = 0; i < STEPS && in->left && !ended; i++)
		if (options & 128)
			device_step();
		else
			display_step();
	vh_gpu_free(gpu);
	kern_idle = NULL;
	kern_close(raw);
	kern_check_clean();
	return 0;
}
