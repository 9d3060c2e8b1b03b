/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "masterside.h"

#include <errno.h>

#define BIT(n) (UINT64_C(1) << (n))

static struct masterside *idle;

static void drop(int *fd)
{
	if (*fd >= 0)
		kern_close(*fd);
	*fd = -1;
}

static int32_t backend_request(void *ctx, const struct vh_msg_request *req)
{
	const uint8_t *payload = (const uint8_t *)(uintptr_t)req->payload;
	const vh_fd *fds = (const vh_fd *)(uintptr_t)req->fds;
	struct masterside *p = ctx;
	struct vh_msg msg = {.size = sizeof(msg), .request = VHI_FE_GET_FEATURES};
	uint8_t sum = 0;

	p->asked++;
	for (uint32_t i = 0; i < req->payload_size; i++)
		sum = (uint8_t)(sum + payload[i]);
	for (uint32_t i = 0; i < req->n_fds; i++)
		CHECK(kern_is_open(fds[i]));
	if (p->app & 1) {
		uint64_t ticket;

		vh_master_submit(p->m, &msg, NULL, &ticket);
	}
	if (p->app & 2)
		CHECK(vh_master_set_owner(p->m) == -EDEADLK || p->app & 4);
	p->ended |= p->app & (4 | 8);
	if (p->app & 4)
		vh_master_disconnect(p->m);
	if (p->app & 8)
		vh_master_cancel(p->m);
	if (p->app == 2) {
		p->token = req->token;
		return -EINPROGRESS;
	}
	return sum & 1 ? -EINVAL : 0;
}

void master_answer(struct masterside *p, int32_t rc)
{
	uint64_t token = p->token;

	p->token = 0;
	if (token)
		vh_master_answer(p->m, token, rc, NULL, 0, NULL, 0);
}

static void line(void *ctx, uint32_t level, const char *text)
{
	(void)ctx;
	CHECK(level && text[0] && strlen(text) < 4096);
}

void master_open(struct masterside *p, struct input *in, uint8_t options)
{
	const struct vh_master_opts opts = {.size = sizeof(opts), .timeout_ms = 20};
	const struct vh_master_ops ops = {.size = sizeof(ops), .backend_request = backend_request};
	const struct vh_logger_ops log = {.size = sizeof(log), .level = VH_LOG_DEBUG, .line = line};

	memset(p, 0, sizeof(*p));
	p->in = in;
	p->sock = p->channel = -1;
	for (int i = 0; i < 4; i++)
		p->mems[i] = -1;
	p->features = BIT(VH_F_VERSION_1) | BIT(VH_F_RING_INDIRECT_DESC) | BIT(VH_BLK_F_FLUSH) | BIT(VH_BLK_F_MQ) |
		      BIT(VH_BLK_F_BLK_SIZE) | BIT(VH_BLK_F_DISCARD) | BIT(VH_BLK_F_WRITE_ZEROES) |
		      (options & 8 ? 0 : BIT(VH_F_PROTOCOL_FEATURES)) | (options & 16 ? BIT(VH_F_RING_EVENT_IDX) : 0);
	if (options & 32)
		p->features |= BIT(VH_BLK_F_SIZE_MAX) | BIT(VH_BLK_F_SEG_MAX) | BIT(VH_BLK_F_RO) |
			       BIT(VH_BLK_F_CONFIG_WCE);
	p->protocol_features = options & 4 ? ~UINT64_C(0) >> 40 : 0x1a229;
	CHECK(!vh_master_new(&opts, options & 2 ? &ops : NULL, p, &p->m));
	CHECK(!vh_master_set_logger(p->m, &log, NULL));
	if (options & 1)
		CHECK(!vh_master_set_trace(p->m, &msg_trace, NULL));
	CHECK(!vh_mem_new(NULL, &p->mem));
	CHECK(!vh_mem_alloc(p->mem, AREA_GPA, 0x10000, 0));
	CHECK(!vh_mem_alloc(p->mem, AREA_GPA_2, 0x8000, 0));
	master_connect(p);
}

static void hang_up(struct masterside *p)
{
	msg_stream_end(&p->requests);
	msg_stream_end(&p->answers);
	drop(&p->sock);
	drop(&p->channel);
	for (int i = 0; i < 4; i++)
		drop(&p->mems[i]);
	p->acked_pf = p->status = 0;
	p->packed = false;
}

void master_close(struct masterside *p)
{
	kern_idle = NULL;
	vh_master_free(p->m);
	vh_mem_free(p->mem);
	hang_up(p);
	kern_check_clean();
}

void master_connect(struct masterside *p)
{
	int fd;

	vh_master_disconnect(p->m);
	hang_up(p);
	CHECK(!vh_master_socketpair(p->m, &fd));
	p->ended = false;
	p->sock = fd;
}

static bool on_idle(void)
{
	return master_serve(idle);
}

void master_idle(struct masterside *p, bool on)
{
	idle = p;
	kern_idle = on ? on_idle : NULL;
}

/* A block device of 64 sectors. */
static void put_config(struct masterside *p, const struct stream *rq)
{
	uint8_t config[12 + 256] = {0};
	uint32_t size;

	memcpy(config, rq->payload, 12);
	memcpy(&size, config + 4, 4);
	size = size < 256 ? size : 256;
	config[12] = 64;
	config[12 + 21] = 2; /* blk_size 512 */
	config[12 + 34] = 2; /* queues */
	config[12 + 37] = config[12 + 41] = config[12 + 45] = config[12 + 49] = config[12 + 53] = 1;
	msg_put(&p->msg, config, 12 + size);
}

static void put_own(struct masterside *p, const struct stream *rq)
{
	uint32_t index;

	switch (rq->head[0]) {
	case VHI_FE_GET_FEATURES:
		msg_put_u64(&p->msg, p->features);
		break;
	case VHI_FE_GET_PROTOCOL_FEATURES:
		msg_put_u64(&p->msg, p->protocol_features);
		break;
	case VHI_FE_GET_QUEUE_NUM:
		msg_put_u64(&p->msg, 2);
		break;
	case VHI_FE_GET_MAX_MEM_SLOTS:
		msg_put_u64(&p->msg, 8);
		break;
	case VHI_FE_GET_STATUS:
		msg_put_u64(&p->msg, p->status);
		break;
	case VHI_FE_GET_CONFIG:
		put_config(p, rq);
		break;
	case VHI_FE_GET_VRING_BASE:
		memcpy(&index, rq->payload, 4);
		msg_put_state(&p->msg, index, 0);
		break;
	default:
		msg_put_u64(&p->msg, 0);
	}
}

/* What the request changes here; its descriptors are taken. */
static void note(struct masterside *p, struct stream *rq)
{
	uint64_t bits = 0;

	if (rq->head[0] == VHI_FE_SET_FEATURES)
		memcpy(&bits, rq->payload, 8);
	p->packed |= !!(bits & UINT64_C(1) << VH_F_RING_PACKED);
	if (rq->head[0] == VHI_FE_SET_PROTOCOL_FEATURES)
		memcpy(&p->acked_pf, rq->payload, 8);
	if (rq->head[0] == VHI_FE_SET_STATUS)
		memcpy(&p->status, rq->payload, 8);
	if (rq->head[0] == VHI_FE_SET_BACKEND_REQ_FD && rq->n_fds) {
		drop(&p->channel);
		p->channel = rq->fds[--rq->n_fds];
	}
	if ((rq->head[0] == VHI_FE_SET_MEM_TABLE || rq->head[0] == VHI_FE_ADD_MEM_REG) && rq->n_fds) {
		drop(&p->mems[3]);
		memmove(&p->mems[1], &p->mems[0], 3 * sizeof(p->mems[0]));
		p->mems[0] = rq->fds[--rq->n_fds];
	}
}

/* False: no answer is due. */
static bool honest_answer(struct masterside *p, const struct stream *rq)
{
	const struct vhi_wire_features f = {.pf_acked = p->acked_pf, .pf_offered = p->protocol_features};
	enum vhi_wire_answer due = vhi_wire_answer(vhi_wire_find(VHI_WIRE_FRONT_END, rq->head[0]), rq->head[1], &f);

	msg_begin(&p->msg, rq->head[0], VHI_WIRE_VERSION | VHI_WIRE_REPLY);
	if (due == VHI_ANSWER_STATUS)
		msg_put_u64(&p->msg, 0);
	if (due == VHI_ANSWER_OWN)
		put_own(p, rq);
	return due != VHI_ANSWER_NONE;
}

/* The right answer but for a byte, a size, or its value. */
static void bend(struct masterside *p)
{
	uint8_t what = in_u8(p->in);

	if (what < 128 && p->msg.len)
		p->msg.payload[what % p->msg.len] = in_u8(p->in);
	else if (what < 192 && p->msg.len >= 8)
		in_bytes(p->in, p->msg.payload, 8);
	else if (what < 224)
		p->msg.size = p->msg.len = what & 31u;
	else
		p->msg.flags = in_u8(p->in);
}

static void answer_pieces(struct masterside *p)
{
	uint8_t all[12 + MSG_MAX_PAYLOAD];
	uint32_t n = 12 + p->msg.len, first = in_u8(p->in) % n;

	memcpy(all, &p->msg, 12);
	memcpy(all + 12, p->msg.payload, p->msg.len);
	kern_write(p->sock, all, first, NULL, 0);
	kern_advance((uint64_t)in_u8(p->in) << 17);
	kern_write(p->sock, all + first, n - first, NULL, 0);
}

void master_ask(struct masterside *p)
{
	uint8_t code = in_u8(p->in);

	p->app = code >> 4;
	if (code & 8)
		msg_raw(&p->msg, p->in, p->mems[0], p->sock);
	else
		msg_typed(&p->msg, p->in, VHI_WIRE_BACK_END, p->mems[0], p->sock);
	msg_send(&p->msg, p->channel);
}

/* One request. False: nothing was done about it. */
static bool answer(struct masterside *p, struct stream *rq)
{
	uint8_t how = p->honest ? 0 : in_u8(p->in);
	bool due = honest_answer(p, rq);

	note(p, rq);
	if (how >= 192 && how < 208)
		return false;
	if (how >= 224 && how < 232) {
		hang_up(p);
		return true;
	}
	if (how >= 128 && how < 160)
		bend(p);
	if (how >= 160 && how < 192)
		msg_raw(&p->msg, p->in, p->mems[0], p->sock);
	if (how >= 248)
		answer_pieces(p);
	else if (due || (how >= 128 && how < 192))
		msg_send(&p->msg, p->sock);
	if (how >= 208 && how < 224) {
		msg_raw(&p->msg, p->in, -1, -1);
		msg_send(&p->msg, p->sock);
	}
	if (how >= 232 && how < 248)
		master_ask(p);
	return true;
}

bool master_serve(struct masterside *p)
{
	bool did = false;

	while (p->sock >= 0 && msg_next(p->sock, &p->requests))
		did |= answer(p, &p->requests);
	msg_drain(p->channel, &p->answers);
	return did;
}

void master_events(struct masterside *p)
{
	struct vh_event e = {.size = sizeof(e)};
	int n = 0;

	while (vh_master_next_event(p->m, &e) == 1)
		CHECK(n++ < 16);
}
