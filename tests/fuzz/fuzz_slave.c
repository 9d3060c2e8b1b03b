/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A whole back-end and a hostile front-end: the input is options, how far into a good session to go first, and then
 * steps, with a dispatch after each.
 */
#include "slaveside.h"

#define STEPS 200

typedef void step(struct slaveside *p, struct input *in);

static void step_typed(struct slaveside *p, struct input *in)
{
	msg_typed(&p->m, in, VHI_WIRE_FRONT_END, p->mem, p->client);
	msg_send(&p->m, p->client);
}

static void step_raw(struct slaveside *p, struct input *in)
{
	msg_raw(&p->m, in, p->mem, p->client);
	msg_send(&p->m, p->client);
}

/* Bytes without a border, which may end inside a header or a payload. */
static void step_bytes(struct slaveside *p, struct input *in)
{
	uint8_t bytes[255], n = in_u8(in);

	in_bytes(in, bytes, n);
	if (p->client >= 0)
		kern_write(p->client, bytes, n, NULL, 0);
}

/* A message in two pieces, descriptors with the first or the second. */
static void step_pieces(struct slaveside *p, struct input *in)
{
	uint8_t cut = in_u8(in);
	uint8_t all[12 + MSG_MAX_PAYLOAD];
	uint32_t n, first;

	msg_typed(&p->m, in, VHI_WIRE_FRONT_END, p->mem, p->client);
	memcpy(all, &p->m, 12);
	memcpy(all + 12, p->m.payload, p->m.len);
	n = 12 + p->m.len;
	first = (cut & 127u) % n;
	if (p->client >= 0) {
		kern_write(p->client, all, first, p->m.fds, cut & 128 ? 0 : p->m.n_fds);
		side_pump(p);
		kern_write(p->client, all + first, n - first, p->m.fds, cut & 128 ? p->m.n_fds : 0);
	}
	msg_send(&p->m, -1);
}

static void step_kick(struct slaveside *p, struct input *in)
{
	kern_signal(p->kicks[in_u8(in) % SIDE_QUEUES]);
}

static void step_poke(struct slaveside *p, struct input *in)
{
	uint32_t at = in_u16(in);
	uint8_t bytes[64], n = in_u8(in) % 65;

	in_bytes(in, bytes, n);
	side_poke(p, at << 1, bytes, n);
}

static void step_offer(struct slaveside *p, struct input *in)
{
	static const uint32_t types[] = {VH_BLK_READ,	VH_BLK_WRITE,	VH_BLK_FLUSH,
					 VH_BLK_GET_ID, VH_BLK_DISCARD, VH_BLK_WRITE_ZEROES};
	uint8_t ring = in_u8(in), type = in_u8(in), sector = in_u8(in), len = in_u8(in);

	side_offer(p, ring % SIDE_QUEUES, type < 250 ? types[type % 6] : in_u32(in), sector, (uint32_t)len << 8);
	if (ring & 128)
		kern_signal(p->kicks[ring % SIDE_QUEUES]);
}

static void step_time(struct slaveside *p, struct input *in)
{
	(void)p;
	kern_advance((uint64_t)in_u8(in) * 5000000u);
}

static void step_disconnect(struct slaveside *p, struct input *in)
{
	(void)in;
	side_disconnect(p);
}

static void step_connect(struct slaveside *p, struct input *in)
{
	uint8_t level = in_u8(in);

	/* One that comes in place of another, which it has not seen go yet. */
	if (level & 128)
		side_disconnect(p);
	side_connect(p);
	side_pump(p);
	side_prefix(p, level & 7, (level >> 3) & 15);
}

static void step_room(struct slaveside *p, struct input *in)
{
	uint8_t n = in_u8(in);

	if (p->client >= 0)
		kern_set_room(p->client, (size_t)n * n);
}

static void step_read(struct slaveside *p, struct input *in)
{
	(void)in;
	msg_drain(p->client, &p->answers);
	msg_drain(p->channel, &p->requests);
}

static void step_config_changed(struct slaveside *p, struct input *in)
{
	(void)in;
	vh_device_config_changed(p->dev);
}

static void step_device(struct slaveside *p, struct input *in)
{
	uint8_t what = in_u8(in);

	if (what & 1)
		side_answer(p, what & 2 ? -22 : 0);
	else
		side_complete(p, what & 2, what & 4 ? UINT32_MAX : what);
}

static void step_end(struct slaveside *p, struct input *in)
{
	(void)in;
	vh_slave_disconnect(p->s);
}

/* Many at once, so that they wait behind each other. */
static void step_burst(struct slaveside *p, struct input *in)
{
	for (uint8_t n = in_u8(in) % 40; n; n--)
		step_typed(p, in);
}

static step *const steps[] = {step_typed,	   step_raw,	step_bytes,	 step_pieces,  step_kick, step_poke,
			      step_offer,	   step_time,	step_disconnect, step_connect, step_room, step_read,
			      step_config_changed, step_device, step_end,	 step_burst};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct slaveside p;
	struct input in = {data, size};
	uint8_t options = in_u8(&in), level = in_u8(&in);

	kern_reset();
	side_open(&p, options);
	side_pump(&p);
	side_prefix(&p, level & 7, level >> 3);
	for (int i = 0; i < STEPS && in.left; i++) {
		steps[in_u8(&in) % 16](&p, &in);
		side_pump(&p);
	}
	side_close(&p);
	return 0;
}
