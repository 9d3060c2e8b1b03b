/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Network devices over a connection: sessions of the type, queues that are disabled, buffers that are left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhi_base.h"
#include "vht_peer.h"
#include "vht_target.h"

#define ok(call) assert_int_equal((call), 0)
#define KIND	 (*(const enum vht_kind *)*state)
#define WAIT_MS	 5000
#define ROOM	 2048

struct session {
	struct vht_target t;
	struct vh_driver *d;
	struct vh_queue *q[4];
	uint8_t *buf;
};

static void begin(struct session *s, enum vht_kind kind, struct vh_device *dev, uint64_t features)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_NET, .features = features};
	uint64_t addr;

	*s = (struct session){0};
	vht_target_open(&s->t, kind, dev);
	ok(vh_driver_new(&o, s->t.backend, NULL, &s->d));
	ok(vh_driver_alloc(s->d, 64 * ROOM, &addr));
	s->buf = (uint8_t *)(uintptr_t)addr;
	for (uint32_t i = 0; i < 2; i++)
		ok(vh_driver_queue(s->d, i, &s->q[i]));
	ok(vh_driver_start(s->d));
}

static void end(struct session *s)
{
	vh_driver_free(s->d);
	vht_target_close(&s->t);
}

static struct vh_device *netdev(uint32_t kind, int fd)
{
	const struct vh_netdev_opts o = {.size = sizeof(o), .kind = kind, .mtu = 1500, .mac = {2, 1, 1, 1, 1, 1}};
	struct vh_device *dev;

	ok(vh_netdev_new(&o, fd, &dev));
	return dev;
}

/* Buffer @at of the session: room to receive, or a frame of @len bytes that begins with @mark. */
static void offer(struct session *s, uint32_t at)
{
	struct vh_seg seg = {(uintptr_t)s->buf + at * ROOM, ROOM};
	struct vh_req r = {.segs = (uintptr_t)&seg, .n_wr = 1, .user = at};

	assert_int_equal(vh_queue_submit(s->q[0], &r, 1), 1);
}

static void post(struct session *s, uint32_t at, uint32_t len, uint8_t mark)
{
	uint8_t *p = s->buf + at * ROOM;
	struct vh_seg seg = {(uintptr_t)p, VH_NET_HDR_SIZE + len};
	struct vh_req r = {.segs = (uintptr_t)&seg, .n_rd = 1, .user = at};

	memset(p, 0, VH_NET_HDR_SIZE);
	memset(p + VH_NET_HDR_SIZE, mark, len);
	assert_int_equal(vh_queue_submit(s->q[1], &r, 1), 1);
}

static struct vh_cpl wait_for(struct session *s, uint32_t queue)
{
	struct pollfd p = {.fd = vh_queue_fd(s->q[queue]), .events = POLLIN};
	struct vh_cpl cpl = {0};
	int n;

	while (!(n = vh_queue_reap(s->q[queue], &cpl, 1)))
		if (vh_queue_arm(s->q[queue]) == VH_QUEUE_SLEEP)
			assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_int_equal(n, 1);
	return cpl;
}

static void expect(struct session *s, uint32_t at, uint32_t len, uint8_t mark)
{
	const struct vh_cpl cpl = wait_for(s, 0);
	const uint8_t *p = s->buf + at * ROOM;

	assert_int_equal(cpl.token, at);
	assert_int_equal(cpl.written, VH_NET_HDR_SIZE + len);
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(p[VH_NET_HDR_SIZE + i], mark);
}

static void frames_go_round_and_the_session_goes_on_after_a_stop(void **state)
{
	struct session s;

	begin(&s, KIND, netdev(VH_NETDEV_LOOPBACK, -1), 0);
	for (uint32_t i = 0; i < 40; i++)
		offer(&s, i);
	/* Those that are left at a stop are filled after the next start. */
	for (uint32_t i = 0; i < 40; i++) {
		const uint32_t len = i % 2 ? 1514 : 60 + i;

		post(&s, 50, len, (uint8_t)i);
		assert_int_equal(wait_for(&s, 1).token, 50);
		expect(&s, i, len, (uint8_t)i);
		if (i % 10 != 9)
			continue;
		ok(vh_driver_stop(s.d, 0, 0));
		ok(vh_driver_start(s.d));
	}
	end(&s);
}

static void a_session_of_the_type_has_a_pair_and_what_a_raw_user_can_do_with(void **state)
{
	const struct vh_driver_opts three = {.size = sizeof(three), .type = VH_TYPE_NET, .n_queues = 3};
	struct vh_driver *d = NULL;
	uint8_t config[12];
	struct session s;
	uint64_t f;

	begin(&s, KIND, netdev(VH_NETDEV_LOOPBACK, -1), 0);
	ok(vh_driver_features(s.d, &f));
	f &= VHI_BIT(24) - 1;
	assert_int_equal(f, VHI_BIT(VH_NET_F_MAC) | VHI_BIT(VH_NET_F_MTU) | VHI_BIT(VH_NET_F_STATUS));
	ok(vh_backend_get_config(s.t.backend, 0, config, sizeof(config)));
	assert_int_equal(config[0], 2);
	assert_int_equal(config[10] | config[11] << 8, 1500);
	vh_driver_free(s.d);
	s.d = NULL;
	assert_int_equal(vh_driver_new(&three, s.t.backend, NULL, &d), -ENOSPC);
	end(&s);
}

static void what_comes_on_the_wire_is_received_whenever_there_is_a_buffer(void **state)
{
	uint8_t frame[100];
	struct session s;
	int fds[2];

	ok(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
	begin(&s, KIND, netdev(VH_NETDEV_TAP, fds[0]), 0);
	for (uint32_t round = 0; round < 20; round++) {
		memset(frame, (int)round, sizeof(frame));
		/* First the frame, first the buffer; and with others left in the ring. */
		if (round % 3 == 0)
			assert_int_equal(write(fds[1], frame, sizeof(frame)), sizeof(frame));
		offer(&s, round);
		if (round % 3 != 0)
			assert_int_equal(write(fds[1], frame, sizeof(frame)), sizeof(frame));
		expect(&s, round, sizeof(frame), (uint8_t)round);
		post(&s, 50, 99, (uint8_t)~round);
		wait_for(&s, 1);
		assert_int_equal(recv(fds[1], frame, sizeof(frame), MSG_DONTWAIT), 99);
		assert_int_equal(frame[98], (uint8_t)~round);
	}
	end(&s);
	close(fds[0]);
	close(fds[1]);
}

/* A device that leaves queue 0 alone, but for a request in queue 1 that begins with a 1. */
struct shy {
	struct vh_queue *q[2];
	uint32_t looks; /* atomic: at queue 0 */
};

static void shy_started(void *ctx, struct vh_queue *q, uint32_t index)
{
	((struct shy *)ctx)->q[index] = q;
}

static vh_count shy_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct shy *shy = ctx;
	struct vh_cpl cpl;
	struct vh_req r;
	uint8_t take;

	(void)budget;
	if (!index) {
		__atomic_add_fetch(&shy->looks, 1, __ATOMIC_RELAXED);
		return 0;
	}
	while (vh_queue_pop(q, &r, 1) == 1) {
		take = *(const uint8_t *)(uintptr_t)((const struct vh_seg *)(uintptr_t)r.segs)->addr;
		cpl = (struct vh_cpl){.token = r.token};
		if (vh_queue_push(q, &cpl, 1) || !take || vh_queue_pop(shy->q[0], &r, 1) != 1)
			continue;
		cpl = (struct vh_cpl){.token = r.token, .written = 60};
		vh_queue_push(shy->q[0], &cpl, 1);
	}
	return 0;
}

static void ask_shy(struct session *s, uint8_t take)
{
	struct vh_seg seg = {(uintptr_t)s->buf + 50 * ROOM, 20};
	struct vh_req r = {.segs = (uintptr_t)&seg, .n_rd = 1};

	*(uint8_t *)(uintptr_t)seg.addr = take;
	assert_int_equal(vh_queue_submit(s->q[1], &r, 1), 1);
	wait_for(s, 1);
	if (take)
		wait_for(s, 0);
}

static void a_device_that_leaves_buffers_in_a_ring_is_told_of_new_ones_and_does_not_spin(void **state)
{
	const struct vh_device_opts o = {.size = sizeof(o), .type = VH_TYPE_NET, .max_queues = 2};
	const struct vh_device_ops ops = {.size = sizeof(ops), .queue_started = shy_started, .on_batch = shy_batch};
	struct vh_device *dev;
	struct shy shy = {0};
	struct session s;

	ok(vh_device_new(&o, &ops, &shy, &dev));
	begin(&s, KIND, dev, 0);
	for (uint32_t n = 0; n < 4; n++) {
		uint64_t end_ns = vhi_now_ns() + UINT64_C(5000000000);
		uint32_t before = __atomic_load_n(&shy.looks, __ATOMIC_RELAXED);

		offer(&s, n);
		/* Each of these is a round of the loop. */
		while (__atomic_load_n(&shy.looks, __ATOMIC_RELAXED) == before) {
			ask_shy(&s, 0);
			assert_true(vhi_now_ns() < end_ns);
		}
		for (uint32_t i = 0; i < 100; i++)
			ask_shy(&s, 0);
		assert_in_range(__atomic_load_n(&shy.looks, __ATOMIC_RELAXED), before + 1, before + 20);
	}
	for (uint32_t i = 0; i < 4; i++)
		ask_shy(&s, 1);
	offer(&s, 5);
	ask_shy(&s, 1);
	end(&s);
}

static void what_is_sent_while_its_queue_is_disabled_is_dropped_and_receive_buffers_stay(void **state)
{
	const struct vh_device_opts o = {.size = sizeof(o), .type = VH_TYPE_NET, .max_queues = VHT_QUEUES};
	struct vht_peer peer, *p = &peer;

	(void)state;
	vht_peer_init(p, NULL, &o, 0);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_send_mem(p);
	for (uint32_t i = 0; i < 2; i++) {
		vht_ring_up(p, i);
		vht_offer_echo(p, i);
		vht_kick(p, i);
	}
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 0);
	assert_int_equal(vht_used(p, 1), 1);
	assert_int_equal(p->echo.batches, 0);
	for (uint32_t round = 0; round < 2; round++) {
		vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
		vht_ok_state(p, M_SET_VRING_ENABLE, 1, 1);
		vht_pump(p);
		assert_int_equal(vht_used(p, 0), 1 + round);
		vht_offer_echo(p, 1);
		vht_kick(p, 1);
		vht_pump(p);
		assert_int_equal(vht_used(p, 1), 2 + 3 * round);
		assert_int_equal(p->echo.served, 2 + 2 * round);
		vht_ok_state(p, M_SET_VRING_ENABLE, 0, 0);
		vht_ok_state(p, M_SET_VRING_ENABLE, 1, 0);
		for (uint32_t i = 0; i < 2; i++) {
			vht_offer_echo(p, 1);
			vht_kick(p, 1);
			vht_pump(p);
			assert_int_equal(vht_used(p, 1), 3 + 3 * round + i);
		}
		assert_int_equal(p->echo.served, 2 + 2 * round);
		vht_offer_echo(p, 0);
		vht_kick(p, 0);
		vht_pump(p);
		assert_int_equal(vht_used(p, 0), 1 + round);
	}
	vht_peer_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VHT_USER_ONLY(frames_go_round_and_the_session_goes_on_after_a_stop),
		VHT_OVER_ONE(frames_go_round_and_the_session_goes_on_after_a_stop, VHT_USER_NO_SLOTS, "_without_slots"),
		VHT_USER_ONLY(a_session_of_the_type_has_a_pair_and_what_a_raw_user_can_do_with),
		VHT_USER_ONLY(what_comes_on_the_wire_is_received_whenever_there_is_a_buffer),
		VHT_USER_ONLY(a_device_that_leaves_buffers_in_a_ring_is_told_of_new_ones_and_does_not_spin),
		cmocka_unit_test(what_is_sent_while_its_queue_is_disabled_is_dropped_and_receive_buffers_stay),
	};

	return vht_run(tests);
}
