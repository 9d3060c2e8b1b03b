/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The back-end under a front-end that says anything in any order, and under threads that stop it at any time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vht_peer.h"

#define SEQUENCES 400
#define MESSAGES  50

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static uint64_t seed;

static uint32_t dice(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16) % n;
}

/* Mostly what makes sense somewhere, so that states beyond the first are reached. */
static uint64_t word(void)
{
	const uint64_t words[] = {0,
				  1,
				  2,
				  VHT_QUEUES,
				  0x100,
				  16,
				  VHT_PAIR(0, 16),
				  VHT_PAIR(0, 1),
				  VHT_PAIR(1, 1),
				  VHT_BIT30 | VHT_VERSION,
				  VHT_PF,
				  VHT_MEM_GPA,
				  VHT_MEM_UVA,
				  VHT_MEM_UVA + 0x1000,
				  VHT_MEM_UVA + 0x2000,
				  VHT_MEM_SIZE,
				  UINT64_MAX,
				  seed};

	return words[dice(sizeof(words) / sizeof(words[0]))];
}

static uint32_t payload_for(uint32_t id, uint64_t *w)
{
	static const uint8_t sizes[46] = {[2] = 8,   [5] = 40,	[6] = 16,  [8] = 8,   [9] = 40,	 [10] = 8,  [11] = 8,
					  [12] = 8,  [13] = 8,	[14] = 8,  [16] = 8,  [18] = 8,	 [19] = 8,  [20] = 8,
					  [22] = 32, [23] = 8,	[24] = 16, [25] = 16, [27] = 8,	 [31] = 24, [32] = 24,
					  [35] = 8,  [37] = 40, [38] = 40, [39] = 8,  [41] = 16, [42] = 8,  [45] = 8};
	const struct vh_vring_addr addr = vht_addr(p, dice(VHT_QUEUES));
	const uint64_t table[5] = {VHT_PAIR(1, 0), VHT_MEM_GPA, VHT_MEM_SIZE, VHT_MEM_UVA, 0};

	for (int i = 0; i < 8; i++)
		w[i] = word();
	if (id == M_SET_VRING_ADDR && dice(4))
		memcpy(w, &addr, sizeof(addr));
	if ((id == M_SET_MEM_TABLE || id == M_ADD_MEM_REG || id == M_REM_MEM_REG) && dice(4)) {
		memcpy(w, table, sizeof(table));
		if (id != M_SET_MEM_TABLE)
			w[0] = 0;
	}
	if (id == M_GET_CONFIG || id == M_SET_CONFIG)
		w[0] = VHT_PAIR(dice(80), 4);
	if (dice(20) == 0)
		return dice(64);
	return id < sizeof(sizes) ? sizes[id] : 0;
}

static int fd_for(uint32_t id, int event)
{
	const bool takes = id == M_SET_MEM_TABLE || id == M_ADD_MEM_REG;
	const bool notifies = id >= M_SET_VRING_KICK && id <= M_SET_VRING_ERR;

	if (dice(16) == 0)
		return dice(2) ? p->memfd : event;
	return takes ? p->memfd : notifies ? event : -1;
}

static void say_something(int event)
{
	uint64_t w[8];
	/* Mostly what has a handler, and seldom what has no form of refusal but the end of the connection. */
	static const uint8_t usual[] = {1,  2,	3,  5,	8,  8,	9,  9,	10, 11, 12, 12, 12,
					13, 14, 15, 17, 18, 18, 24, 25, 37, 38, 39, 40};
	uint32_t id = dice(20) ? usual[dice(sizeof(usual))] : dice(60);
	uint32_t size = payload_for(id, w);
	int fd = fd_for(id, event);

	if (id >= M_SET_VRING_KICK && id <= M_SET_VRING_ERR && fd < 0)
		w[0] = 0x100 | dice(VHT_QUEUES);
	else if (id >= M_SET_VRING_KICK && id <= M_SET_VRING_ERR && dice(8))
		w[0] = dice(VHT_QUEUES);
	vht_msg(p, id, dice(50) ? F_NEED_REPLY : F_REQUEST, w, size, fd);
}

static void hear_everything(void)
{
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};
	struct vht_msg m;

	while (poll(&pfd, 1, 0) == 1 && vht_recv(p->fd, &m) == 1) {
		assert_int_equal(m.flags, F_REPLY);
		vht_close_fds(&m);
	}
}

static void scribble(void)
{
	for (int i = 0; i < 2; i++) {
		uint16_t v = (uint16_t)dice(20);

		memcpy(p->mem + 2 * dice(0x8000 / 2), &v, sizeof(v));
	}
}

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Half of the sequences begin with rings that run. */
static void begin_well(void)
{
	memset(p->mem, 0, VHT_MEM_SIZE);
	for (uint32_t i = 0; i < VHT_QUEUES; i++)
		p->vq[i].next = 0;
	vht_peer_up(p);
	for (uint32_t i = 1; i < VHT_QUEUES && dice(4); i++) {
		vht_ring_up(p, i);
		vht_ok_state(p, M_SET_VRING_ENABLE, i, 1);
	}
}

static void sequence(void)
{
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	vht_peer_connect(p);
	p->echo.hold = false;
	if (dice(2))
		begin_well();
	else if (dice(8))
		vht_negotiate(p, dice(4) ? VHT_BIT30 | VHT_VERSION : VHT_VERSION);
	p->echo.hold = dice(2);
	p->echo.config_rc = dice(4) ? 0 : -EINPROGRESS;
	for (int i = 0; i < MESSAGES && vht_slave_stats(p).connected; i++) {
		uint64_t one = 1;

		say_something(event);
		for (uint32_t k = dice(3); k > 0; k--)
			vht_offer_echo(p, dice(VHT_QUEUES));
		if (dice(10) == 0)
			scribble();
		assert_int_equal(write(event, &one, sizeof(one)), sizeof(one));
		for (uint32_t k = 0; k < VHT_QUEUES; k++)
			if (p->vq[k].kick >= 0)
				vht_kick(p, k);
		/* Rings without a kick fd stay hot, so the number of rounds is what ends this. */
		for (int k = 0; k < 3; k++)
			vh_slave_dispatch(p->s);
		if (dice(4) == 0)
			vht_push_held(p);
		if (dice(4) == 0)
			vh_device_finish(p->dev, p->echo.later ? p->echo.later : 1, 0);
		if (p->echo.n_held > VHT_HELD_MAX / 2)
			vht_push_held(p);
		hear_everything();
	}
	close(event);
	close(p->fd);
	p->fd = -1;
	vht_pump(p);
	assert_int_equal(vht_slave_stats(p).connected, 0);
	vht_push_held(p);
	for (uint32_t i = 0; i < VHT_QUEUES; i++) {
		shut(&p->vq[i].kick);
		shut(&p->vq[i].call);
	}
}

/* The dice must not have ended every connection at its first word. */
static void expect_depth(void)
{
	const struct vh_slave_stats st = vht_slave_stats(p);

	print_message("%llu messages, %u rings started, %u requests\n", (unsigned long long)st.messages_in,
		      p->echo.started, p->echo.served);
	assert_true(st.messages_in > SEQUENCES * 10);
	assert_true(p->echo.started > SEQUENCES / 2);
	assert_true(p->echo.served > SEQUENCES);
}

static void case_58_any_messages_in_any_order(void **state)
{
	unsigned before;
	const char *given = getenv("VH_SEED");

	(void)state;
	seed = given ? strtoull(given, NULL, 0) : vhi_now_ns();
	seed |= 1;
	print_message("VH_SEED=0x%llx\n", (unsigned long long)seed);
	vht_peer_prepare(p, NULL, NULL, 0);
	before = vht_open_fds();
	for (int i = 0; i < SEQUENCES; i++) {
		sequence();
		assert_int_equal(vht_open_fds(), before);
		assert_int_equal(vh_mem_regions(p->s->mem, NULL, 0), 0);
	}
	expect_depth();
	/* And then a front-end that behaves. */
	p->echo.hold = false;
	p->echo.config_rc = 0;
	vht_peer_connect(p);
	begin_well();
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
	vht_peer_free(p);
}

static void case_112_two_broken_rings_of_256_stop_no_other(void **state)
{
	const struct vh_device_opts dev = {.size = sizeof(dev), .max_queues = 256};
	struct vh_vring_addr addr;
	uint64_t v;

	(void)state;
	vht_peer_init(p, NULL, &dev, 0);
	vht_negotiate(p, VHT_VERSION | VHT_BIT30);
	vht_send_mem(p);
	/* All on one ring's memory: what counts is that each is looked at. */
	for (uint32_t i = 0; i < 256; i++) {
		vht_ok_state(p, M_SET_VRING_NUM, i, 16);
		vht_ok_state(p, M_SET_VRING_BASE, i, i == 7 || i == 255 ? 300 : 0);
		addr = vht_addr(p, 0);
		addr.index = i;
		vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
		vht_ok_state(p, M_SET_VRING_ENABLE, i, 1);
	}
	vht_offer_echo(p, 0);
	for (v = 0; v < 256; v++) {
		int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		vht_ok(p, M_SET_VRING_KICK, &v, sizeof(v), fd);
		close(fd);
	}
	vht_pump(p);
	assert_int_equal(p->echo.served, 254);
	assert_int_equal(vht_event(p, VH_EVENT_BROKEN).queue, 7);
	assert_int_equal(vht_event(p, VH_EVENT_BROKEN).queue, 255);
	assert_true(vht_no_event(p, VH_EVENT_BROKEN));
	vht_peer_free(p);
}

static void *dispatch_until_stopped(void *arg)
{
	vh_count rc;

	(void)arg;
	do
		rc = vh_slave_wait(p->s, 1);
	while (rc != -ESHUTDOWN);
	return NULL;
}

static void case_243_stop_and_free_while_another_thread_dispatches(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++) {
		pthread_t thread;

		vht_peer_init(p, NULL, NULL, 0);
		assert_int_equal(pthread_create(&thread, NULL, dispatch_until_stopped, NULL), 0);
		for (int k = i % 5; k > 0; k--)
			vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
		assert_int_equal(vh_slave_stop(p->s), 0);
		pthread_join(thread, NULL);
		vht_peer_free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(case_58_any_messages_in_any_order),
		cmocka_unit_test(case_112_two_broken_rings_of_256_stop_no_other),
		cmocka_unit_test(case_243_stop_and_free_while_another_thread_dispatches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
