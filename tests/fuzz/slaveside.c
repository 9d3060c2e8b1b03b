/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "slaveside.h"

#include <errno.h>

#include "segs.h"

#define F_PROTOCOL (UINT64_C(1) << VH_F_PROTOCOL_FEATURES)

static void holder_destroy(void *ctx)
{
	struct holder *h = ctx;

	CHECK(!h->destroyed++);
}

static int32_t get_config(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later)
{
	(void)ctx;
	CHECK(later && len && offset <= 256 && len <= 256 - offset);
	memset(buf, 0x5a, len);
	return offset > 60 ? -EINVAL : 0;
}

static int32_t maybe_later(struct holder *h, uint8_t which, uint64_t later, int32_t rc)
{
	if (!(h->later & which))
		return rc;
	h->token = later;
	return -EINPROGRESS;
}

static int32_t set_config(void *ctx, uint32_t offset, const void *buf, uint32_t len, uint32_t flags, uint64_t later)
{
	CHECK(len && offset <= 256 && len <= 256 - offset && flags <= 1);
	return maybe_later(ctx, 1, later, ((const uint8_t *)buf)[len - 1] == 0xff ? -EPERM : 0);
}

static int32_t set_features(void *ctx, uint64_t features, uint64_t later)
{
	return maybe_later(ctx, 2, later, features & 1 ? -EINVAL : 0);
}

static int32_t reset(void *ctx, uint64_t later)
{
	struct holder *h = ctx;

	/* What was in flight was drained before. */
	for (uint32_t i = 0; i < h->n; i++)
		CHECK(h->stale[i]);
	return maybe_later(h, 4, later, 0);
}

static void queue_stopped(void *ctx, struct vh_queue *q, uint32_t index)
{
	struct holder *h = ctx;

	(void)q;
	for (uint32_t i = 0; i < h->n; i++)
		h->stale[i] |= h->held[i].queue == index;
}

static int32_t on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct holder *h = ctx;
	uint32_t room = SIDE_HELD - h->n < budget ? SIDE_HELD - h->n : budget;
	int n = vh_queue_pop(q, h->held + h->n, room);

	for (int i = 0; i < n; i++) {
		h->from[h->n + (uint32_t)i] = q;
		h->stale[h->n + (uint32_t)i] = false;
		CHECK(h->held[h->n + (uint32_t)i].queue == index);
		segs_touch(q, &h->held[h->n + (uint32_t)i]);
	}
	h->n += n > 0 ? (uint32_t)n : 0;
	if (h->fails && h->n > 3)
		return -EIO;
	return n < 0 ? n : n == (int)budget;
}

static const struct vh_device_ops holder_ops = {
	.size = sizeof(holder_ops),
	.destroy = holder_destroy,
	.get_config = get_config,
	.set_config = set_config,
	.set_features = set_features,
	.reset = reset,
	.queue_stopped = queue_stopped,
	.on_batch = on_batch,
};

static void line(void *ctx, uint32_t level, const char *text)
{
	(void)ctx;
	CHECK(level >= VH_LOG_ERROR && level <= VH_LOG_DEBUG && text[0] && strlen(text) < 4096);
}

static void open_device(struct slaveside *p, uint8_t options)
{
	const struct vh_device_opts dev = {.size = sizeof(dev),
					   .type = VH_TYPE_BLK,
					   .features = 3,
					   .max_queues = SIDE_QUEUES,
					   .max_queue_size = 256};
	const struct vh_blkdev_opts blk = {.size = sizeof(blk),
					   .kind = VH_BLKDEV_RAM,
					   .capacity = 32768,
					   .flags = options & 2 ? VH_BLKDEV_READONLY : 0,
					   .max_queues = SIDE_QUEUES,
					   .max_queue_size = 64,
					   .serial = "fuzz"};

	p->holds = options & 1;
	p->holder.later = (options >> 4) & 7;
	p->holder.fails = options & 128;
	CHECK(!(p->holds ? vh_device_new(&dev, &holder_ops, &p->holder, &p->dev) : vh_blkdev_new(&blk, -1, &p->dev)));
}

void side_open(struct slaveside *p, uint8_t options)
{
	const struct vh_logger_ops log = {.size = sizeof(log), .level = VH_LOG_DEBUG, .line = line};
	const struct vh_slave_opts opts = {.size = sizeof(opts),
					   .drain_timeout_ms = 500,
					   .message_timeout_ms = 200,
					   .require_seal = (options >> 2) & 1,
					   .more_features = UINT64_C(1) << VH_F_ACCESS_PLATFORM};

	memset(p, 0, sizeof(*p));
	p->client = p->second = p->channel = -1;
	open_device(p, options);
	CHECK(!vh_slave_new(&opts, p->dev, NULL, NULL, &p->s));
	p->holder.s = p->s;
	CHECK(!vh_slave_set_logger(p->s, &log, NULL));
	if (options & 8)
		CHECK(!vh_slave_set_trace(p->s, &msg_trace, NULL));
	p->listener = kern_open(KERN_LISTENER, 0);
	CHECK(!vh_slave_adopt(p->s, p->listener));
	p->mem = kern_open(KERN_MEMFD, AREA_LEN + AREA_LEN_2);
	for (int i = 0; i < SIDE_QUEUES; i++) {
		p->kicks[i] = kern_open(KERN_EVENTFD, 0);
		p->calls[i] = kern_open(KERN_EVENTFD, 0);
	}
	side_connect(p);
}

static void drop(int *fd)
{
	if (*fd >= 0)
		kern_close(*fd);
	*fd = -1;
}

void side_connect(struct slaveside *p)
{
	int *where = p->client < 0 ? &p->client : &p->second;

	drop(where);
	*where = kern_connect(p->listener);
}

void side_disconnect(struct slaveside *p)
{
	drop(&p->client);
	p->client = p->second;
	p->second = -1;
	msg_stream_end(&p->answers);
	memset(p->next, 0, sizeof(p->next));
}

static void take_events(struct slaveside *p)
{
	struct vh_event e = {.size = sizeof(e)};
	int n = 0;

	while (vh_slave_next_event(p->s, &e) == 1) {
		CHECK(vh_event_name(e.kind) && e.kind < VH_EVENT_CONFIG_CHANGED && e.count);
		CHECK(e.queue == VH_ERROR_NONE || e.queue < SIDE_QUEUES);
		CHECK(n++ < 64);
	}
}

/* Until it has nothing to do; a ring without a kick fd is polled for ever, and what comes in is taken a message at a time. */
void side_pump(struct slaveside *p)
{
	struct pollfd fd = {.fd = vh_slave_fd(p->s), .events = POLLIN};
	int rc;

	for (int i = 0, busy = 0; busy < 32 && i < 1024; i++) {
		rc = vh_slave_dispatch(p->s);
		CHECK(rc == 0 || rc == 1);
		busy += rc;
		if (!rc && !vhi_sys.poll(&fd, 1, 0))
			break;
	}
	take_events(p);
}

static struct vh_slave_stats stats(struct slaveside *p)
{
	struct vh_slave_stats st = {.size = sizeof(st)};

	CHECK(!vh_slave_get_stats(p->s, &st));
	return st;
}

void side_close(struct slaveside *p)
{
	drop(&p->client);
	drop(&p->second);
	/* Nothing that was in flight or half sent keeps it from seeing that we are gone, or not for longer than it may. */
	for (int i = 0; i < 4 && stats(p).connected; i++) {
		side_pump(p);
		kern_advance(UINT64_C(300000000));
	}
	side_pump(p);
	CHECK(!stats(p).connected && !stats(p).owed);
	vh_slave_free(p->s);
	vh_device_free(p->dev);
	CHECK(p->holder.destroyed == p->holds);
	drop(&p->listener);
	drop(&p->mem);
	drop(&p->channel);
	for (int i = 0; i < SIDE_QUEUES; i++) {
		drop(&p->kicks[i]);
		drop(&p->calls[i]);
	}
	msg_stream_end(&p->answers);
	msg_stream_end(&p->requests);
	kern_check_clean();
}

static void send_with(struct slaveside *p, const int *fds, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		p->m.fds[p->m.n_fds++] = kern_dup(fds[i]);
	msg_send(&p->m, p->client);
	side_pump(p);
}

void side_send_u64(struct slaveside *p, uint32_t id, uint64_t v, int fd)
{
	msg_begin(&p->m, id, 1);
	msg_put_u64(&p->m, v);
	send_with(p, &fd, fd >= 0);
}

static void send_none(struct slaveside *p, uint32_t id, int fd)
{
	msg_begin(&p->m, id, 1);
	send_with(p, &fd, fd >= 0);
}

static void send_state(struct slaveside *p, uint32_t id, uint32_t index, uint32_t num)
{
	msg_begin(&p->m, id, 1);
	msg_put_state(&p->m, index, num);
	send_with(p, NULL, 0);
}

static void send_memory(struct slaveside *p)
{
	const uint32_t head[2] = {2, 0};
	const int fds[2] = {p->mem, p->mem};

	msg_begin(&p->m, VHI_FE_SET_MEM_TABLE, 1);
	msg_put(&p->m, head, sizeof(head));
	msg_put_region(&p->m, AREA_GPA, AREA_UVA, AREA_LEN, 0);
	msg_put_region(&p->m, AREA_GPA_2, AREA_UVA_2, AREA_LEN_2, AREA_LEN);
	send_with(p, fds, 2);
}

static void send_ring(struct slaveside *p, uint32_t i, bool enable)
{
	uint64_t at = AREA_UVA + RING_AT(i);

	send_state(p, VHI_FE_SET_VRING_NUM, i, RING_NUM);
	send_state(p, VHI_FE_SET_VRING_BASE, i, 0);
	msg_begin(&p->m, VHI_FE_SET_VRING_ADDR, 1);
	msg_put_addr(&p->m, i, 0, at, at + RING_AVAIL, at + RING_USED);
	send_with(p, NULL, 0);
	side_send_u64(p, VHI_FE_SET_VRING_CALL, i, p->calls[i]);
	side_send_u64(p, VHI_FE_SET_VRING_KICK, i, p->kicks[i]);
	if (enable)
		send_state(p, VHI_FE_SET_VRING_ENABLE, i, 1);
}

void side_channel(struct slaveside *p, uint8_t kind)
{
	int fds[2];

	msg_stream_end(&p->requests);
	drop(&p->channel);
	kern_pair(fds);
	p->channel = fds[0];
	if (kind) {
		kern_close(fds[1]);
		fds[1] = kind == 1 ? kern_dup(p->client) : kern_open(kind % KERN_KINDS, 4096);
	}
	send_none(p, VHI_FE_SET_BACKEND_REQ_FD, fds[1]);
	drop(&fds[1]);
}

void side_prefix(struct slaveside *p, uint8_t level, uint8_t features)
{
	static const uint64_t rings[4] = {0, UINT64_C(1) << VH_F_RING_INDIRECT_DESC, UINT64_C(1) << VH_F_RING_EVENT_IDX,
					  UINT64_C(1) << VH_F_RING_INDIRECT_DESC | UINT64_C(1) << VH_F_RING_EVENT_IDX};
	uint64_t acked = UINT64_C(1) << VH_F_VERSION_1 | rings[features & 3] | (p->holds ? 0 : 1u << VH_BLK_F_FLUSH);
	bool pf = features & 4;

	if (level >= 1) {
		send_none(p, VHI_FE_GET_FEATURES, -1);
		send_none(p, VHI_FE_SET_OWNER, -1);
	}
	if (level >= 1 && pf) {
		send_none(p, VHI_FE_GET_PROTOCOL_FEATURES, -1);
		/* MQ REPLY_ACK BACKEND_REQ CONFIG RESET_DEVICE CONFIGURE_MEM_SLOTS STATUS */
		side_send_u64(p, VHI_FE_SET_PROTOCOL_FEATURES, 0x1a229, -1);
		acked |= F_PROTOCOL;
	}
	if (level >= 2)
		side_send_u64(p, VHI_FE_SET_FEATURES, acked, -1);
	if (level >= 2 && pf && features & 8)
		side_channel(p, 0);
	if (level >= 3)
		send_memory(p);
	if (level >= 4)
		send_ring(p, 0, pf && level >= 5);
	if (level >= 6)
		send_ring(p, 1, pf);
	msg_drain(p->client, &p->answers);
}

void side_poke(struct slaveside *p, uint32_t at, const void *bytes, size_t n)
{
	at %= AREA_LEN + AREA_LEN_2;
	n = n < AREA_LEN + AREA_LEN_2 - at ? n : AREA_LEN + AREA_LEN_2 - at;
	memcpy(kern_view(p->mem) + at, bytes, n);
}

static void put_desc(struct slaveside *p, uint32_t at, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	uint8_t *d = kern_view(p->mem) + at;

	memcpy(d, &addr, 8);
	memcpy(d + 8, &len, 4);
	memcpy(d + 12, &flags, 2);
	memcpy(d + 14, &next, 2);
}

void side_offer(struct slaveside *p, uint32_t ring, uint32_t type, uint64_t sector, uint32_t len)
{
	uint16_t head = (uint16_t)(3 * (p->next[ring] % 5)), idx;
	uint32_t at = RING_AT(ring) + 16u * head, hdr = 0x8000 + 0x20u * head;
	uint8_t *mem = kern_view(p->mem);
	bool reads = type == VH_BLK_READ || type == VH_BLK_GET_ID;

	memcpy(mem + hdr, &type, 4);
	memcpy(mem + hdr + 8, &sector, 8);
	/* Data reaches over into the second region, whose guest addresses are elsewhere, when it is long enough. */
	put_desc(p, at, AREA_GPA + hdr, 16, 1, (uint16_t)(head + 1));
	put_desc(p, at + 16, AREA_GPA + 0x9000, len, reads ? 3 : 1, (uint16_t)(head + 2));
	put_desc(p, at + 32, AREA_GPA_2 + head, 1, 2, 0);
	memcpy(mem + RING_AT(ring) + RING_AVAIL + 4 + 2 * (p->next[ring] % RING_NUM), &head, 2);
	idx = ++p->next[ring];
	memcpy(mem + RING_AT(ring) + RING_AVAIL + 2, &idx, 2);
}

void side_complete(struct slaveside *p, bool newest, uint32_t written)
{
	struct holder *h = &p->holder;
	uint32_t i = newest && h->n ? h->n - 1 : 0;
	struct vh_cpl cpl = {.written = written};
	struct vh_queue *q;
	bool stale;

	if (!h->n)
		return;
	cpl.token = h->held[i].token;
	q = h->from[i];
	stale = h->stale[i];
	if (stale)
		segs_touch_stale(&h->held[i]);
	else
		segs_touch(q, &h->held[i]);
	memmove(&h->from[i], &h->from[i + 1], (h->n - i - 1) * sizeof(h->from[0]));
	memmove(&h->held[i], &h->held[i + 1], (h->n - i - 1) * sizeof(h->held[0]));
	memmove(&h->stale[i], &h->stale[i + 1], (h->n - i - 1) * sizeof(h->stale[0]));
	h->n--;
	CHECK((vh_queue_push(q, &cpl, 1) == -ESTALE) == stale);
}

void side_answer(struct slaveside *p, int32_t rc)
{
	uint64_t token = p->holder.token;

	p->holder.token = 0;
	if (token)
		vh_device_finish(p->dev, token, rc);
}
