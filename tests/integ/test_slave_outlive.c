/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Requests that outlive their connection, because somebody else still works on them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vht_peer.h"

#define DEAD_MAX 4

static struct vht_peer peer;
static struct vht_peer *const p = &peer;

static int setup(void **state)
{
	(void)state;
	vht_peer_init(p, NULL, NULL, 0);
	p->echo.hold = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

/* One more connection, with a ring of before its first request, and a request in it. */
static void offer(void)
{
	if (p->fd < 0)
		vht_peer_connect(p);
	memset(p->mem, 0, 0x4000);
	p->vq[0].next = p->vq[0].base = 0;
	vht_peer_up(p);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
}

static void end(void)
{
	close(p->fd);
	p->fd = -1;
	vht_pump(p);
	vht_event(p, VH_EVENT_DISCONNECTED);
}

static int push(struct vh_queue *q, const struct vh_req *req)
{
	const struct vh_cpl cpl = {.token = req->token};

	return vh_queue_push(q, &cpl, 1);
}

static void segments_of_a_request_outlive_its_connection(void **state)
{
	const struct vh_seg *segs;

	(void)state;
	offer();
	assert_int_equal(p->echo.n_held, 1);
	end();
	segs = (const struct vh_seg *)(uintptr_t)p->echo.held[0].segs;
	assert_int_equal(segs[0].len, 16);
	assert_int_equal(segs[1].len, 16);
	memset((void *)(uintptr_t)segs[1].addr, *(const uint8_t *)(uintptr_t)segs[0].addr, 16);
	assert_int_equal(vht_push_held(p), -ESTALE);
}

static void a_ring_waits_for_the_requests_of_too_many_connections(void **state)
{
	struct vh_req dead[DEAD_MAX];
	struct vh_queue *q;

	(void)state;
	assert_int_equal(vh_slave_queue(p->s, 0, &q), 0);
	for (uint32_t i = 0; i < DEAD_MAX; i++) {
		offer();
		assert_int_equal(p->echo.n_held, 1);
		dead[i] = p->echo.held[0];
		p->echo.n_held = 0;
		end();
	}
	offer();
	assert_int_equal(p->echo.n_held, 0);
	assert_int_equal(vh_queue_state(q), VH_QUEUE_STOPPED);
	assert_int_equal(push(q, &dead[1]), -ESTALE);
	vht_pump_wait(p);
	assert_int_equal(p->echo.n_held, 1);
	assert_int_equal(vht_push_held(p), 0);
	assert_int_equal(vht_used(p, 0), 1);
	for (uint32_t i = 0; i < DEAD_MAX; i++)
		assert_int_equal(push(q, &dead[i]), -ESTALE);
	assert_int_equal(vht_used(p, 0), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(segments_of_a_request_outlive_its_connection),
		T(a_ring_waits_for_the_requests_of_too_many_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
