/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The back-end's own channel, both ways: requests of a hostile back-end to our front-end, and what a hostile front-end
 * answers to our back-end. The main channel is a good session's meanwhile. The first byte says which.
 */
#include "masterside.h"
#include "slaveside.h"

#define STEPS 200

static void serve(struct masterside *p)
{
	struct vh_master_stats st = {.size = sizeof(st)};

	for (int i = 0; i < 4 && vh_master_dispatch(p->m) == 1; i++)
		;
	/* What goes wrong on this channel is no failure of the other. */
	CHECK(!vh_master_get_stats(p->m, &st) && (st.connected || p->ended));
	master_events(p);
}

/* The channel was given up: another connection has another. */
static void reopen(struct masterside *p)
{
	master_connect(p);
	vh_master_negotiate(p->m, UINT64_MAX, NULL);
}

static void front_end_step(struct masterside *p)
{
	uint8_t what = in_u8(p->in), bytes[64];

	switch (what & 7) {
	case 0:
	case 1:
	case 2:
		for (uint8_t n = what >> 5; n < 8; n++)
			master_ask(p);
		break;
	case 3:
		in_bytes(p->in, bytes, what >> 3);
		if (p->channel >= 0)
			kern_write(p->channel, bytes, what >> 3, NULL, 0);
		break;
	case 4:
		if (p->channel >= 0)
			kern_set_room(p->channel, what);
		break;
	case 5:
		kern_advance((uint64_t)what << 16);
		break;
	case 6:
		/* A call that waits serves the channel, too. */
		vh_master_set_owner(p->m);
		master_answer(p, what & 8 ? -22 : 0);
		break;
	default:
		if (what & 8)
			msg_drain(p->channel, &p->answers);
		else
			reopen(p);
	}
}

static void front_end(struct input *in, uint8_t options)
{
	static struct masterside p;

	master_open(&p, in, options & ~8u);
	/* Every gate is open, so that each message gets to where it is looked at. */
	p.features |= UINT64_C(1) << VH_F_ACCESS_PLATFORM;
	p.honest = true;
	master_idle(&p, true);
	vh_master_negotiate(p.m, UINT64_MAX, NULL);
	for (int i = 0; i < STEPS && in->left; i++) {
		front_end_step(&p);
		master_serve(&p);
		if (p.sock >= 0 && vh_master_dispatch(p.m) < 0)
			reopen(&p);
		serve(&p);
	}
	master_close(&p);
}

static void back_end_step(struct slaveside *p, struct input *in)
{
	uint8_t what = in_u8(in), bytes[64];

	switch (what & 7) {
	case 0:
	case 1:
		vh_device_config_changed(p->dev);
		break;
	case 2:
		/* A good answer. */
		msg_begin(&p->m, VHI_BE_CONFIG_CHANGE_MSG, VHI_WIRE_VERSION | VHI_WIRE_REPLY);
		msg_put_u64(&p->m, what >> 7);
		msg_send(&p->m, p->channel);
		break;
	case 3:
		msg_raw(&p->m, in, p->mem, p->client);
		msg_send(&p->m, p->channel);
		break;
	case 4:
		in_bytes(in, bytes, what >> 3);
		if (p->channel >= 0)
			kern_write(p->channel, bytes, what >> 3, NULL, 0);
		break;
	case 5:
		if (p->channel >= 0)
			kern_set_room(p->channel, what);
		kern_advance((uint64_t)what << 20);
		break;
	case 6:
		msg_drain(p->channel, &p->requests);
		break;
	default:
		side_channel(p, in_u8(in));
	}
}

static void back_end(struct input *in, uint8_t options)
{
	static struct slaveside p;

	side_open(&p, options & 0x0f);
	side_pump(&p);
	side_prefix(&p, options & 16 ? 5 : 2, 4 | 8);
	for (int i = 0; i < STEPS && in->left; i++) {
		back_end_step(&p, in);
		side_pump(&p);
	}
	side_close(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t options = in_u8(&in);

	kern_reset();
	if (options & 128)
		back_end(&in, options);
	else
		front_end(&in, options);
	return 0;
}
