/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A front-end and a hostile back-end: the input says which calls are made, and how each of the requests is answered.
 * A call that waits must come back by its deadline.
 */
#include <errno.h>

#include "masterside.h"
#include "vhi_driver.h"

#define STEPS	 60
#define PATIENCE UINT64_C(5000000000) /* a call, retries included; GET_VRING_BASE has ten times the deadline */

typedef void step(struct masterside *p);

static void step_negotiate(struct masterside *p)
{
	uint64_t wanted = in_u8(p->in) & 1 ? UINT64_MAX : UINT64_C(1) << VH_F_VERSION_1, acked = 0;

	if (!vh_master_negotiate(p->m, wanted, &acked))
		CHECK(!(acked & ~wanted));
}

static void step_gets(struct masterside *p)
{
	uint64_t v;
	uint32_t n;

	vh_master_get_features(p->m, &v);
	vh_master_get_protocol_features(p->m, &v);
	if (!vh_master_get_queue_num(p->m, &n))
		CHECK(n >= 1 && n <= 256);
	if (!vh_master_get_max_mem_slots(p->m, &n))
		CHECK(n >= 1 && n <= VH_MEM_MAX_REGIONS);
	if (!vh_master_get_status(p->m, &n))
		CHECK(n <= 255);
}

static void step_sets(struct masterside *p)
{
	uint8_t what = in_u8(p->in);

	vh_master_set_features(p->m, p->features);
	if (what & 1)
		vh_master_set_protocol_features(p->m, p->protocol_features & 0x1a229);
	if (what & 2)
		vh_master_set_owner(p->m);
	if (what & 4)
		vh_master_set_status(p->m, what);
	if (what & 8)
		vh_master_reset_device(p->m);
}

static void step_config(struct masterside *p)
{
	uint8_t buf[256], offset = in_u8(p->in);
	uint32_t len = 1 + in_u8(p->in) % (256u - offset);

	memset(buf, 0xee, sizeof(buf));
	vh_master_get_config(p->m, offset, buf, len);
	for (uint32_t i = len; i < sizeof(buf); i++)
		CHECK(buf[i] == 0xee);
	vh_master_set_config(p->m, offset, buf, len, 0);
}

static void step_memory(struct masterside *p)
{
	uint8_t what = in_u8(p->in);
	struct vh_region regions[4];
	int n;

	if (what & 1)
		vh_mem_alloc(p->mem, AREA_GPA + ((uint64_t)what << 20), 0x2000, 0);
	n = vh_mem_regions(p->mem, regions, 4);
	if (what & 2 && n > 1)
		vh_mem_remove(p->mem, &regions[(what >> 3) & 1]);
	if (what & 4) {
		vh_master_set_mem(p->m, p->mem);
		return;
	}
	vh_master_add_mem_region(p->m, p->mem, (what >> 3) & 3);
	vh_master_remove_mem_region(p->m, &regions[0]);
}

static void step_ring(struct masterside *p)
{
	uint32_t q = in_u8(p->in) & 3u, base = 0;
	struct vh_vring_addr addr = {
		.index = q, .desc = AREA_UVA, .avail = AREA_UVA + RING_AVAIL, .used = AREA_UVA + RING_USED};
	int fd = kern_open(KERN_EVENTFD, 0);

	vh_master_set_vring_num(p->m, q, RING_NUM);
	vh_master_set_vring_base(p->m, q, 0);
	vh_master_set_vring_addr(p->m, &addr);
	vh_master_set_vring_call(p->m, q, fd);
	vh_master_set_vring_err(p->m, q, -1);
	vh_master_set_vring_kick(p->m, q, fd);
	vh_master_set_vring_enable(p->m, q, 1);
	if (!vh_master_get_vring_base(p->m, q, &base))
		CHECK(p->packed || base <= UINT16_MAX);
	kern_close(fd);
}

/* Tickets: several requests out before the first reply is taken. */
static void step_tickets(struct masterside *p)
{
	uint64_t tickets[8], payload[513];
	uint8_t n = in_u8(p->in) & 7;
	int32_t fds[8];

	for (uint8_t i = 0; i < n; i++) {
		struct vh_msg msg = {.size = sizeof(msg),
				     .request = in_u8(p->in),
				     .reply = in_u8(p->in) & 3u,
				     .payload = (uint64_t)(uintptr_t)payload,
				     .payload_size = in_u8(p->in)};

		in_bytes(p->in, payload, msg.payload_size);
		if (vh_master_submit(p->m, &msg, NULL, &tickets[i]))
			tickets[i] = 0;
	}
	for (int turn = 0; turn < 4; turn++) {
		master_serve(p);
		vh_master_dispatch(p->m);
	}
	for (uint8_t i = 0; i < n; i++) {
		struct vh_msg_reply reply = {.size = sizeof(reply)};
		uint32_t cap = in_u8(p->in) & 1 ? 8 : sizeof(payload);

		if (!tickets[i] || vh_master_finish(p->m, tickets[i], payload, cap, fds, 8, &reply))
			continue;
		CHECK(reply.n_fds <= 8);
		while (reply.n_fds)
			kern_close(fds[--reply.n_fds]);
	}
}

static void step_dispatch(struct masterside *p)
{
	vh_master_dispatch(p->m);
	vh_master_resume(p->m);
}

static void step_send(struct masterside *p)
{
	msg_raw(&p->msg, p->in, p->mems[0], p->channel);
	msg_send(&p->msg, p->sock);
	vh_master_dispatch(p->m);
}

static void step_ask(struct masterside *p)
{
	master_answer(p, 0);
	master_ask(p);
	vh_master_dispatch(p->m);
	master_serve(p);
}

static void step_connect(struct masterside *p)
{
	master_connect(p);
}

static void step_time(struct masterside *p)
{
	kern_advance((uint64_t)in_u8(p->in) << 20);
	vh_master_dispatch(p->m);
}

static void step_cancel(struct masterside *p)
{
	vh_master_cancel(p->m);
	vh_master_dispatch(p->m);
}

static void step_room(struct masterside *p)
{
	uint8_t n = in_u8(p->in);

	if (p->sock >= 0)
		kern_set_room(p->sock, (size_t)n * n);
	if (p->channel >= 0)
		kern_set_room(p->channel, (size_t)n * n);
}

/* The device's side of a session's ring, whatever is in there: bytes of the input at the beginning of its memory. */
static void scribble(struct masterside *p)
{
	uint8_t *mem = p->mems[0] >= 0 ? kern_view(p->mems[0]) : NULL;
	uint32_t at = in_u16(p->in);
	uint8_t n = in_u8(p->in);

	if (mem)
		in_bytes(p->in, mem + at, n % 64);
}

static void submit(struct vh_blk *b, uint8_t op, uint64_t addr, uint64_t user)
{
	static const uint32_t ops[] = {VH_BLK_READ,    VH_BLK_WRITE,	    VH_BLK_FLUSH, VH_BLK_GET_ID,
				       VH_BLK_DISCARD, VH_BLK_WRITE_ZEROES, VH_BLK_WRITE, 77};
	struct vh_blk_io io = {.op = ops[op & 7], .addr = addr, .len = 512u * (op >> 5), .user = user};

	if (io.op == VH_BLK_FLUSH || io.op == VH_BLK_DISCARD || io.op == VH_BLK_WRITE_ZEROES)
		io.addr = 0;
	if (io.op == VH_BLK_FLUSH)
		io.len = 0;
	if (io.op == VH_BLK_GET_ID)
		io.len = 20;
	io.offset = op & 8 ? 512 : 0;
	io.flags = op & 16 ? VH_BLK_UNMAP : 0;
	vh_blk_submit(b, 0, &io, 1);
}

static void io(struct masterside *p, struct vh_driver *d, struct vh_blk *b)
{
	struct vh_blk_info info = {.size = sizeof(info)};
	struct vh_blk_done done[4];
	uint8_t op = in_u8(p->in);
	uint64_t addr;

	CHECK(!vh_blk_get_info(b, &info) && info.block_size >= 512);
	if (vh_driver_alloc(d, 4096, &addr))
		return;
	if (vh_driver_start(d))
		return;
	for (uint64_t i = 0; i < 4; i++)
		submit(b, in_u8(p->in), addr, i);
	for (uint8_t n = op & 7; n; n--)
		scribble(p);
	vh_blk_wait(b, 0, 5);
	for (int n = vh_blk_reap(b, 0, done, 4); n > 0; n--)
		CHECK(done[n - 1].user < 4);
	if (op & 64)
		vh_driver_stop(d, 0, 20);
	if (op & 128)
		vh_driver_start(d);
}

/* A whole driver session with a block driver on it. */
static void step_session(struct masterside *p)
{
	const struct vh_driver_opts opts = {.size = sizeof(opts), .n_queues = 1, .queue_size = 16, .type = VH_TYPE_BLK};
	struct vh_backend *backend;
	struct vh_driver *d;
	struct vh_blk *b;

	CHECK(!vh_master_backend(p->m, &backend));
	if (vh_driver_new(&opts, backend, NULL, &d))
		return;
	if (!vh_blk_new(d, &b)) {
		io(p, d, b);
		vh_blk_free(b);
	}
	vh_driver_free(d);
}

static step *const steps[] = {step_negotiate, step_gets,     step_sets,	   step_config,	  step_memory,	step_ring,
			      step_tickets,   step_dispatch, step_send,	   step_ask,	  step_connect, step_time,
			      step_cancel,    step_room,     step_session, step_negotiate};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct masterside p;
	struct input in = {data, size};
	uint8_t options = in_u8(&in);

	kern_reset();
	master_open(&p, &in, options);
	master_idle(&p, true);
	if (options & 64) {
		p.honest = true;
		vh_master_negotiate(p.m, UINT64_MAX, NULL);
		p.honest = options & 128;
	}
	for (int i = 0; i < STEPS && in.left; i++) {
		uint64_t before = kern_now();

		steps[in_u8(&in) % 16](&p);
		CHECK(kern_now() - before < PATIENCE);
		master_events(&p);
	}
	master_close(&p);
	return 0;
}
