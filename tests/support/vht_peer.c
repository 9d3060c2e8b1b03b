/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vht_peer.h"

#define ROUNDS 1000

static void serve(struct vh_queue *q, struct vh_req *req)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	struct vh_cpl cpl = {.token = req->token};

	if (req->n_rd && req->n_wr) {
		cpl.written = (uint32_t)(segs[0].len < segs[req->n_rd].len ? segs[0].len : segs[req->n_rd].len);
		memcpy((void *)(uintptr_t)segs[req->n_rd].addr, (void *)(uintptr_t)segs[0].addr, cpl.written);
	}
	vh_queue_push(q, &cpl, 1);
}

static int32_t echo_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct vht_echo *e = ctx;
	int32_t n = 0;
	uint32_t done = 0;

	(void)index;
	e->batches++;
	if (e->on_batch_hook)
		e->on_batch_hook(e->hook_ctx);
	if (e->batch_rc)
		return e->batch_rc;
	while (done < budget) {
		struct vh_req req;

		n = vh_queue_pop(q, &req, 1);
		if (n <= 0)
			return n;
		done++;
		e->served++;
		if (e->hold && e->n_held < VHT_HELD_MAX) {
			e->held[e->n_held] = req;
			e->held_from[e->n_held++] = q;
		} else {
			serve(q, &req);
		}
	}
	return 1;
}

int vht_push_held(struct vht_peer *p)
{
	int rc = 0;

	for (uint32_t i = 0; i < p->echo.n_held; i++) {
		struct vh_cpl cpl = {.token = p->echo.held[i].token};

		rc = vh_queue_push(p->echo.held_from[i], &cpl, 1);
	}
	p->echo.n_held = 0;
	return rc;
}

static void echo_destroy(void *ctx)
{
	((struct vht_echo *)ctx)->destroyed++;
}

static int32_t echo_get_config(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later)
{
	struct vht_echo *e = ctx;

	if (offset < sizeof(e->config))
		memcpy(buf, e->config + offset, len < sizeof(e->config) - offset ? len : sizeof(e->config) - offset);
	if (e->config_later) {
		e->later = later;
		return -EINPROGRESS;
	}
	return offset == 200 ? -EINVAL : 0;
}

static int32_t echo_set_config(void *ctx, uint32_t offset, const void *buf, uint32_t len, uint32_t flags,
			       uint64_t later)
{
	struct vht_echo *e = ctx;

	(void)flags;
	e->later = later;
	if (e->on_config_hook)
		e->on_config_hook(e->hook_ctx);
	if (!e->config_rc && offset + len <= sizeof(e->config))
		memcpy(e->config + offset, buf, len);
	return e->config_rc;
}

static int32_t echo_set_features(void *ctx, uint64_t features, uint64_t later)
{
	struct vht_echo *e = ctx;

	e->features = features;
	if (!later)
		return 0;
	e->later = later;
	return e->features_rc;
}

static int32_t echo_reset(void *ctx, uint64_t later)
{
	struct vht_echo *e = ctx;

	e->resets++;
	e->later = later;
	return e->reset_rc;
}

static void echo_started(void *ctx, struct vh_queue *q, uint32_t index)
{
	((struct vht_echo *)ctx)->started++;
	if (index < VHT_QUEUES)
		((struct vht_echo *)ctx)->queues[index] = q;
}

static void echo_stopped(void *ctx, struct vh_queue *q, uint32_t index)
{
	(void)q;
	(void)index;
	((struct vht_echo *)ctx)->stopped++;
}

void vht_peer_prepare(struct vht_peer *p, const struct vh_slave_opts *opts, const struct vh_device_opts *dev,
		      uint32_t ops_flags)
{
	const struct vh_device_opts usual = {
		.size = sizeof(usual), .max_queues = VHT_QUEUES, .max_queue_size = VHT_QUEUE_MAX, .features = 1};
	const struct vh_device_ops ops = {
		.size = sizeof(ops),
		.flags = ops_flags,
		.destroy = echo_destroy,
		.get_config = echo_get_config,
		.set_config = echo_set_config,
		.set_features = echo_set_features,
		.reset = echo_reset,
		.queue_started = echo_started,
		.queue_stopped = echo_stopped,
		.on_batch = echo_batch,
	};

	memset(p, 0, sizeof(*p));
	p->fd = p->memfd = -1;
	for (uint32_t i = 0; i < VHT_QUEUES; i++) {
		struct vht_vq *vq = &p->vq[i];

		vq->num = 16;
		vq->desc = 0x4000 * i;
		vq->avail = vq->desc + 0x1000;
		vq->used = vq->desc + 0x2000;
		vq->kick = vq->call = vq->err = -1;
	}
	p->memfd = memfd_create("vht", MFD_CLOEXEC);
	assert_true(p->memfd >= 0);
	assert_int_equal(ftruncate(p->memfd, (off_t)VHT_MEM_SIZE), 0);
	p->mem = mmap(NULL, VHT_MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, p->memfd, 0);
	assert_ptr_not_equal(p->mem, MAP_FAILED);
	assert_int_equal(vh_device_new(dev ? dev : &usual, &ops, &p->echo, &p->dev), 0);
	assert_int_equal(vh_slave_new(opts, p->dev, NULL, NULL, &p->s), 0);
}

void vht_peer_connect(struct vht_peer *p)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(vh_slave_adopt(p->s, fds[1]), 0);
	close(fds[1]);
	p->fd = fds[0];
}

void vht_peer_init(struct vht_peer *p, const struct vh_slave_opts *opts, const struct vh_device_opts *dev,
		   uint32_t ops_flags)
{
	vht_peer_prepare(p, opts, dev, ops_flags);
	vht_peer_connect(p);
}

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void vht_peer_free(struct vht_peer *p)
{
	vh_slave_free(p->s);
	vh_device_free(p->dev);
	vht_close_fds(&p->reply);
	for (uint32_t i = 0; i < VHT_QUEUES; i++) {
		shut(&p->vq[i].kick);
		shut(&p->vq[i].call);
		shut(&p->vq[i].err);
	}
	shut(&p->fd);
	shut(&p->memfd);
	munmap(p->mem, VHT_MEM_SIZE);
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return poll(&pfd, 1, timeout_ms) == 1;
}

void vht_pump(struct vht_peer *p)
{
	for (int i = 0; i < ROUNDS; i++) {
		vh_count rc = vh_slave_dispatch(p->s);

		if (rc == -ESHUTDOWN)
			return;
		assert_in_range(rc, 0, 1);
		if (!rc && !readable(vh_slave_fd(p->s), 0))
			return;
	}
}

void vht_pump_wait(struct vht_peer *p)
{
	assert_true(readable(vh_slave_fd(p->s), VHT_WAIT_MS));
	vht_pump(p);
}

void vht_msg(struct vht_peer *p, uint32_t id, uint32_t flags, const void *payload, uint32_t size, int fd)
{
	vht_send(p->fd, id, flags, payload, size, &fd, fd >= 0);
}

void vht_msg_u64(struct vht_peer *p, uint32_t id, uint32_t flags, uint64_t v)
{
	vht_msg(p, id, flags, &v, sizeof(v), -1);
}

void vht_msg_state(struct vht_peer *p, uint32_t id, uint32_t flags, uint32_t index, uint32_t num)
{
	uint32_t state[2] = {index, num};

	vht_msg(p, id, flags, state, sizeof(state), -1);
}

void vht_expect(struct vht_peer *p, uint32_t id)
{
	vht_pump(p);
	assert_true(readable(p->fd, 0));
	vht_close_fds(&p->reply);
	assert_int_equal(vht_recv(p->fd, &p->reply), 1);
	assert_int_equal(p->reply.request, id);
	assert_int_equal(p->reply.flags, F_REPLY);
	assert_false(readable(p->fd, 0));
}

void vht_expect_u64(struct vht_peer *p, uint32_t id, uint64_t v)
{
	vht_expect(p, id);
	assert_int_equal(p->reply.size, 8);
	assert_int_equal(vht_u64(&p->reply, 0), v);
}

void vht_expect_silence(struct vht_peer *p)
{
	vht_pump(p);
	assert_false(readable(p->fd, 0));
}

void vht_expect_closed(struct vht_peer *p)
{
	vht_pump(p);
	assert_true(readable(p->fd, 0));
	assert_int_equal(vht_recv(p->fd, &p->reply), 0);
	assert_int_equal(vht_slave_stats(p).connected, 0);
}

static void answered(struct vht_peer *p, uint32_t id, const void *payload, uint32_t size, int fd, uint64_t status)
{
	vht_msg(p, id, F_NEED_REPLY, payload, size, fd);
	vht_expect_u64(p, id, status);
}

void vht_ok(struct vht_peer *p, uint32_t id, const void *payload, uint32_t size, int fd)
{
	answered(p, id, payload, size, fd, 0);
}

void vht_ok_u64(struct vht_peer *p, uint32_t id, uint64_t v)
{
	answered(p, id, &v, sizeof(v), -1, 0);
}

void vht_ok_state(struct vht_peer *p, uint32_t id, uint32_t index, uint32_t num)
{
	uint32_t state[2] = {index, num};

	answered(p, id, state, sizeof(state), -1, 0);
}

void vht_nack(struct vht_peer *p, uint32_t id, const void *payload, uint32_t size, int fd)
{
	answered(p, id, payload, size, fd, 1);
}

void vht_nack_u64(struct vht_peer *p, uint32_t id, uint64_t v)
{
	answered(p, id, &v, sizeof(v), -1, 1);
}

void vht_nack_state(struct vht_peer *p, uint32_t id, uint32_t index, uint32_t num)
{
	uint32_t state[2] = {index, num};

	answered(p, id, state, sizeof(state), -1, 1);
}

void vht_negotiate(struct vht_peer *p, uint64_t features)
{
	uint64_t offered;

	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	offered = vht_u64(&p->reply, 0);
	if (offered & VHT_BIT30) {
		vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
		vht_expect(p, M_GET_PROTOCOL_FEATURES);
		vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, vht_u64(&p->reply, 0));
	}
	vht_msg(p, M_SET_OWNER, F_REQUEST, NULL, 0, -1);
	vht_msg_u64(p, M_SET_FEATURES, F_REQUEST, features);
	vht_expect_silence(p);
}

void vht_send_region(struct vht_peer *p, uint32_t id, uint32_t flags, uint64_t gpa, uint64_t uva, uint64_t len, int fd)
{
	uint64_t reg[5] = {0, gpa, len, uva, 0};

	vht_msg(p, id, flags, reg, sizeof(reg), fd);
}

void vht_send_table(struct vht_peer *p, uint32_t flags, uint64_t gpa, uint64_t uva, uint64_t len)
{
	uint64_t table[5] = {VHT_PAIR(1, 0), gpa, len, uva, 0};

	vht_msg(p, M_SET_MEM_TABLE, flags, table, sizeof(table), p->memfd);
}

void vht_send_mem(struct vht_peer *p)
{
	vht_send_table(p, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE);
	vht_expect_u64(p, M_SET_MEM_TABLE, 0);
}

struct vh_vring_addr vht_addr(struct vht_peer *p, uint32_t i)
{
	const struct vht_vq *vq = &p->vq[i];

	return (struct vh_vring_addr){.index = i,
				      .desc = VHT_MEM_UVA + vq->desc,
				      .avail = VHT_MEM_UVA + vq->avail,
				      .used = VHT_MEM_UVA + vq->used};
}

static void set_fd(struct vht_peer *p, uint32_t id, uint32_t i, int *fd)
{
	uint64_t v = i;

	shut(fd);
	*fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(*fd >= 0);
	vht_ok(p, id, &v, sizeof(v), *fd);
}

void vht_set_kick(struct vht_peer *p, uint32_t i)
{
	set_fd(p, M_SET_VRING_KICK, i, &p->vq[i].kick);
}

void vht_set_call(struct vht_peer *p, uint32_t i)
{
	set_fd(p, M_SET_VRING_CALL, i, &p->vq[i].call);
}

void vht_set_err(struct vht_peer *p, uint32_t i)
{
	set_fd(p, M_SET_VRING_ERR, i, &p->vq[i].err);
}

void vht_ring_up(struct vht_peer *p, uint32_t i)
{
	struct vh_vring_addr addr = vht_addr(p, i);

	vht_ok_state(p, M_SET_VRING_NUM, i, p->vq[i].num);
	vht_ok_state(p, M_SET_VRING_BASE, i, p->vq[i].base);
	vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	vht_set_call(p, i);
	vht_set_kick(p, i);
}

void vht_peer_up(struct vht_peer *p)
{
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_send_mem(p);
	vht_ring_up(p, 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
}

static void put_desc(struct vht_peer *p, uint32_t i, uint32_t d, uint64_t gpa, uint16_t flags, uint16_t next)
{
	uint8_t *at = p->mem + p->vq[i].desc + 16u * d;
	const uint32_t len = htole32(16);

	gpa = htole64(gpa);
	flags = htole16(flags);
	next = htole16(next);
	memcpy(at, &gpa, 8);
	memcpy(at + 8, &len, 4);
	memcpy(at + 12, &flags, 2);
	memcpy(at + 14, &next, 2);
}

void vht_offer_echo(struct vht_peer *p, uint32_t i)
{
	struct vht_vq *vq = &p->vq[i];
	uint16_t *avail = (uint16_t *)(void *)(p->mem + vq->avail);
	uint32_t head = 2u * (vq->next % (vq->num / 2));
	uint64_t data = VHT_MEM_GPA + 0x40000 + 0x1000 * i + 32u * head;

	put_desc(p, i, head, data, 1, (uint16_t)(head + 1));
	put_desc(p, i, head + 1, data + 16, 2, 0);
	avail[2 + vq->next % vq->num] = htole16((uint16_t)head);
	vq->next++;
	__atomic_store_n(&avail[1], htole16(vq->next), __ATOMIC_RELEASE);
}

void vht_kick(struct vht_peer *p, uint32_t i)
{
	uint64_t one = 1;

	assert_int_equal(write(p->vq[i].kick, &one, sizeof(one)), sizeof(one));
}

uint16_t vht_used(struct vht_peer *p, uint32_t i)
{
	return le16toh(__atomic_load_n((uint16_t *)(void *)(p->mem + p->vq[i].used + 2), __ATOMIC_ACQUIRE));
}

struct vh_event vht_event(struct vht_peer *p, uint32_t kind)
{
	struct vh_event e = {.size = sizeof(e)};

	do {
		vh_count rc = vh_slave_next_event(p->s, &e);

		assert_int_equal(rc, 1);
	} while (e.kind != kind);
	return e;
}

bool vht_no_event(struct vht_peer *p, uint32_t kind)
{
	struct vh_event e = {.size = sizeof(e)};

	while (vh_slave_next_event(p->s, &e) == 1)
		if (e.kind == kind)
			return false;
	return true;
}

struct vh_slave_stats vht_slave_stats(struct vht_peer *p)
{
	struct vh_slave_stats st = {.size = sizeof(st)};

	assert_int_equal(vh_slave_get_stats(p->s, &st), 0);
	return st;
}

uint64_t vht_count(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

int vht_give_channel(struct vht_peer *p)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	vht_ok(p, M_SET_BACKEND_REQ_FD, NULL, 0, fds[1]);
	close(fds[1]);
	return fds[0];
}
