/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The network driver: frames out and in over a device that loops them, and what a device can do wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "vhi_base.h"
#include "vhi_driver.h"
#include "vht_target.h"

#define ok(call) assert_int_equal((call), 0)
#define KIND	 (*(const enum vht_kind *)*state)
#define WAIT_MS	 20000
#define LONGEST	 9000

struct session {
	struct vht_target t;
	struct vh_driver *d;
	struct vh_net *n;
	uint8_t out[64][LONGEST], in[64][LONGEST];
};

static void open_net(struct session *s, const struct vh_net_opts *o)
{
	ok(vh_net_new(o, s->d, &s->n));
}

static struct session *begin(enum vht_kind kind, struct vh_device *dev, uint64_t features, uint32_t frame_max)
{
	const struct vh_driver_opts o = {
		.size = sizeof(o), .type = VH_TYPE_NET, .queue_size = 64, .features = features};
	const struct vh_net_opts net = {.size = sizeof(net), .frame_max = frame_max};
	struct session *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	vht_target_open(&s->t, kind, dev);
	ok(vh_driver_new(&o, s->t.backend, NULL, &s->d));
	ok(vh_driver_start(s->d));
	open_net(s, &net);
	return s;
}

static void end(struct session *s)
{
	vh_net_free(s->n);
	vh_driver_free(s->d);
	vht_target_close(&s->t);
	free(s);
}

static struct vh_device *loop(uint32_t mtu)
{
	const struct vh_netdev_opts o = {
		.size = sizeof(o), .kind = VH_NETDEV_LOOPBACK, .mtu = mtu, .mac = {2, 1, 1, 1, 1, 1}};
	struct vh_device *dev;

	ok(vh_netdev_new(&o, -1, &dev));
	return dev;
}

static struct vh_net_frame sending(struct session *s, uint32_t at, uint32_t len, uint8_t mark)
{
	memset(s->out[at], mark, len);
	return (struct vh_net_frame){.data = (uintptr_t)s->out[at], .len = len};
}

/* Until @count frames have come. */
static void take(struct session *s, struct vh_net_frame *frames, uint32_t count, uint64_t room)
{
	for (uint32_t i = 0; i < count; i++)
		frames[i] = (struct vh_net_frame){.data = (uintptr_t)s->in[i], .room = room};
	for (uint32_t n = 0; n < count;) {
		int got = vh_net_receive(s->n, 0, frames + n, count - n);

		assert_true(got >= 0);
		n += (uint32_t)got;
		if (!got)
			ok(vh_net_wait(s->n, 0, VH_NET_RECEIVE, WAIT_MS));
	}
}

static void expect(const struct session *s, const struct vh_net_frame *f, uint32_t at, uint32_t len, uint8_t mark)
{
	assert_int_equal(f->len, len);
	assert_int_equal(f->flags, len > f->room ? VH_NET_TRUNCATED : 0);
	for (uint32_t i = 0; i < VHI_MIN((uint64_t)len, f->room); i++)
		assert_int_equal(s->in[at][i], mark);
}

static void frames_come_back_in_their_order_however_many_at_once(void **state)
{
	struct session *s = begin(KIND, loop(0), 0, 0);
	struct vh_net_frame f[64];
	uint32_t sent = 0;

	for (uint32_t round = 0; round < 60; round++) {
		const uint32_t count = 1 + round % 40;

		for (uint32_t i = 0; i < count; i++)
			f[i] = sending(s, i, 14 + (sent + i) % 1505, (uint8_t)(sent + i));
		for (uint32_t i = 0; i < count;) {
			int got = vh_net_send(s->n, 0, f + i, count - i);

			assert_true(got >= 0);
			i += (uint32_t)got;
			if (!got)
				ok(vh_net_wait(s->n, 0, VH_NET_SEND, WAIT_MS));
		}
		take(s, f, count, LONGEST);
		for (uint32_t i = 0; i < count; i++)
			expect(s, &f[i], i, 14 + (sent + i) % 1505, (uint8_t)(sent + i));
		sent += count;
		if (round % 10 == 9) {
			ok(vh_driver_stop(s->d, 0, 0));
			assert_int_equal(vh_net_send(s->n, 0, f, 1), -EINVAL);
			ok(vh_driver_start(s->d));
		}
		if (round % 10 == 4) { /* each direction begins anew */
			ok(vh_driver_reset_queue(s->d, round % 20 == 4));
			assert_int_equal(vh_net_receive(s->n, 0, f, 1), 0); /* and its buffers are offered */
		}
	}
	end(s);
}

static void a_frame_of_a_large_mtu_comes_whole_or_cut_for_lack_of_room(void **state)
{
	struct session *s = begin(KIND, loop(9000), VHI_BIT(VH_NET_F_MRG_RXBUF), 0);
	struct vh_net_frame f;

	f = sending(s, 0, LONGEST, 7);
	assert_int_equal(vh_net_send(s->n, 0, &f, 1), 1);
	take(s, &f, 1, LONGEST);
	expect(s, &f, 0, LONGEST, 7);
	assert_int_equal(f.num_buffers, 1);
	f = sending(s, 0, LONGEST, 8);
	assert_int_equal(vh_net_send(s->n, 0, &f, 1), 1);
	take(s, &f, 1, 100);
	expect(s, &f, 0, LONGEST, 8);
	assert_int_equal(s->in[0][100], 7);
	end(s);
}

static void what_the_device_says_of_itself_is_told(void **state)
{
	struct session *s = begin(KIND, loop(1400), 0, 0);
	struct vh_net_info info = {.size = sizeof(info)};
	static const uint8_t mac[6] = {2, 1, 1, 1, 1, 1};
	struct vh_net_frame f = sending(s, 0, 1419, 1);
	struct vh_net *other = NULL;
	struct vh_blk *blk = NULL;

	ok(vh_net_get_info(s->n, &info));
	assert_memory_equal(info.mac, mac, 6);
	assert_int_equal(info.mtu, 1400);
	assert_int_equal(info.frame_max, 1418);
	assert_int_equal(info.n_pairs, 1);
	assert_int_equal(info.link_up, 1);
	assert_int_equal(vh_net_send(s->n, 0, &f, 1), -EMSGSIZE);
	f.len = 13;
	assert_int_equal(vh_net_send(s->n, 0, &f, 1), -EMSGSIZE);
	f.len = 14;
	f.num_buffers = 1;
	assert_int_equal(vh_net_send(s->n, 0, &f, 1), -EINVAL);
	f.num_buffers = 0;
	assert_int_equal(vh_net_send(s->n, 1, &f, 1), -EINVAL);
	assert_int_equal(vh_net_send(NULL, 0, &f, 1), -EINVAL);
	assert_int_equal(vh_net_send(s->n, 0, NULL, 1), -EINVAL);
	assert_int_equal(vh_net_receive(s->n, 0, NULL, 1), -EINVAL);
	assert_int_equal(vh_net_send(s->n, 0, NULL, 0), 0); /* nothing is no mistake */
	assert_int_equal(vh_net_receive(s->n, 0, NULL, 0), 0);
	assert_int_equal(vh_net_receive(s->n, 1, &f, 1), -EINVAL);
	f.room = 1;
	f.data = 0;
	assert_int_equal(vh_net_receive(s->n, 0, &f, 1), -EINVAL);
	assert_int_equal(vh_net_wait(s->n, 0, 2, 0), -EINVAL);
	assert_int_equal(vh_net_wait(s->n, 1, VH_NET_SEND, 0), -EINVAL);
	assert_int_equal(vh_net_wait(s->n, 0, VH_NET_RECEIVE, 0), -ETIMEDOUT);
	ok(vh_net_wait(s->n, 0, VH_NET_SEND, 0));
	assert_int_equal(vh_net_new(NULL, s->d, &other), -EBUSY);
	assert_int_equal(vh_blk_new(s->d, &blk), -EBUSY);
	/* Its buffers are with the device: those of a second one would be mixed with them. */
	vh_net_free(s->n);
	s->n = NULL;
	assert_int_equal(vh_net_new(NULL, s->d, &other), -EBUSY);
	ok(vh_driver_reset_queue(s->d, 0));
	open_net(s, NULL);
	f = sending(s, 0, 60, 3);
	assert_int_equal(vh_net_send(s->n, 0, &f, 1), 1);
	take(s, &f, 1, LONGEST);
	expect(s, &f, 0, 60, 3);
	end(s);
}

static void only_a_session_of_the_type_has_one(void **state)
{
	const struct vh_driver_opts raw = {.size = sizeof(raw), .n_queues = 1};
	const struct vh_net_opts wrong[] = {{.size = sizeof(wrong[0]), .frame_max = 13},
					    {.size = sizeof(wrong[0]), .frame_max = VH_NET_FRAME_MAX + 1}};
	struct session *s = calloc(1, sizeof(*s));

	vht_target_open(&s->t, KIND, loop(0));
	ok(vh_driver_new(&raw, s->t.backend, NULL, &s->d));
	assert_int_equal(vh_net_new(NULL, s->d, &s->n), -EINVAL);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(wrong); i++)
		assert_int_equal(vh_net_new(&wrong[i], s->d, &s->n), -EINVAL);
	assert_int_equal(vh_net_new(NULL, NULL, &s->n), -EINVAL);
	end(s);
}

/* A device that answers each sent frame by receive buffers, as the first bytes of the frame say. */
struct odd {
	struct vh_queue *rx;
};

/* In a sent frame: how many buffers to use, how much to write into each, and what num_buffers is to say. */
struct order {
	uint8_t use;
	uint8_t num_buffers;
	uint16_t written;
};

static void odd_started(void *ctx, struct vh_queue *q, uint32_t index)
{
	if (!index)
		((struct odd *)ctx)->rx = q;
}

static void obey(struct vh_queue *rx, const struct order *o)
{
	struct vh_cpl cpls[8];
	struct vh_req reqs[8];
	int n = vh_queue_pop(rx, reqs, o->use);

	for (int i = 0; i < n; i++) {
		uint8_t *to = (uint8_t *)(uintptr_t)((const struct vh_seg *)(uintptr_t)reqs[i].segs)[reqs[i].n_rd].addr;

		memset(to, 0x40 + i, o->written);
		if (!i)
			memset(to, 0, VHI_MIN((size_t)o->written, sizeof(struct vh_net_hdr)));
		if (!i && o->written >= sizeof(struct vh_net_hdr))
			to[offsetof(struct vh_net_hdr, num_buffers)] = o->num_buffers;
		cpls[i] = (struct vh_cpl){.token = reqs[i].token, .written = o->written};
	}
	if (n > 0)
		vh_queue_push(rx, cpls, (uint32_t)n);
}

static vh_count odd_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct odd *odd = ctx;
	struct vh_cpl cpl;
	struct order o;
	struct vh_req r;

	(void)budget;
	while (index && vh_queue_pop(q, &r, 1) == 1) {
		memcpy(&o,
		       (const uint8_t *)(uintptr_t)((const struct vh_seg *)(uintptr_t)r.segs)->addr + VH_NET_HDR_SIZE,
		       sizeof(o));
		cpl = (struct vh_cpl){.token = r.token};
		if (odd->rx)
			obey(odd->rx, &o);
		vh_queue_push(q, &cpl, 1);
	}
	return 0;
}

static struct session *begin_odd(enum vht_kind kind, struct odd *odd, uint64_t offers, uint64_t wants)
{
	const struct vh_device_opts o = {.size = sizeof(o), .type = VH_TYPE_NET, .max_queues = 2, .features = offers};
	const struct vh_device_ops ops = {.size = sizeof(ops), .queue_started = odd_started, .on_batch = odd_batch};
	struct vh_device *dev;

	ok(vh_device_new(&o, &ops, odd, &dev));
	return begin(kind, dev, wants, 0);
}

static void order(struct session *s, struct order o)
{
	struct vh_net_frame f = sending(s, 0, 60, 0);

	memcpy(s->out[0], &o, sizeof(o));
	assert_int_equal(vh_net_send(s->n, 0, &f, 1), 1);
}

static void buffers_of_one_frame_become_one_frame(void **state)
{
	struct odd odd = {0};
	struct session *s = begin_odd(KIND, &odd, VHI_BIT(VH_NET_F_MRG_RXBUF), VHI_BIT(VH_NET_F_MRG_RXBUF));
	struct vh_net_frame f;

	for (uint8_t use = 1; use < 8; use++) {
		const uint32_t len = use * 100u - (uint32_t)sizeof(struct vh_net_hdr);

		order(s, (struct order){use, use, 100});
		take(s, &f, 1, LONGEST);
		assert_int_equal(f.num_buffers, use);
		assert_int_equal(f.len, len);
		for (uint32_t i = 0; i < len; i++)
			assert_int_equal(s->in[0][i], 0x40 + (i + sizeof(struct vh_net_hdr)) / 100);
	}
	/* Cut in the middle of one. */
	order(s, (struct order){4, 4, 100});
	take(s, &f, 1, 150);
	assert_int_equal(f.flags, VH_NET_TRUNCATED);
	assert_int_equal(f.len, 388);
	end(s);
}

static void what_is_no_frame_breaks_the_queue_and_a_reset_mends_it(void **state)
{
	static const struct order bad[] = {{1, 1, 0}, {1, 1, 11}, {1, 0, 100}, {2, 3, 100}, {1, 255, 100}};
	struct odd odd = {0};
	struct session *s = begin_odd(KIND, &odd, VHI_BIT(VH_NET_F_MRG_RXBUF), VHI_BIT(VH_NET_F_MRG_RXBUF));
	struct vh_net_frame f[2];
	struct vh_error e;

	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++) {
		int rc;

		order(s, (struct order){1, 1, 100});
		take(s, f, 1, LONGEST);
		order(s, bad[i]);
		do {
			f[0] = (struct vh_net_frame){.data = (uintptr_t)s->in[0], .room = LONGEST};
			rc = vh_net_receive(s->n, 0, f, 1);
			if (!rc)
				rc = vh_net_wait(s->n, 0, VH_NET_RECEIVE, WAIT_MS);
		} while (!rc);
		assert_int_equal(rc, -EPROTO);
		e.size = sizeof(e);
		vh_error_get(&e);
		assert_int_equal(e.site, i < 2 ? VHI_SITE_NET_NO_HEADER : VHI_SITE_NET_BUFFERS);
		ok(vh_driver_reset_queue(s->d, 0));
		assert_int_equal(vh_net_receive(s->n, 0, f, 1), 0);
	}
	end(s);
}

static vh_rc tiny_mtu(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later)
{
	(void)ctx;
	(void)offset;
	(void)later;
	memset(buf, 0, len);
	return 0;
}

static void a_device_whose_mtu_no_network_has_is_refused(void **state)
{
	const struct vh_device_opts o = {
		.size = sizeof(o), .type = VH_TYPE_NET, .max_queues = 2, .features = VHI_BIT(VH_NET_F_MTU)};
	const struct vh_device_ops ops = {.size = sizeof(ops), .get_config = tiny_mtu, .on_batch = odd_batch};
	const struct vh_driver_opts net = {.size = sizeof(net), .type = VH_TYPE_NET};
	struct session *s = calloc(1, sizeof(*s));
	struct odd odd = {0};
	struct vh_device *dev;
	struct vh_error e = {.size = sizeof(e)};

	ok(vh_device_new(&o, &ops, &odd, &dev));
	vht_target_open(&s->t, KIND, dev);
	ok(vh_driver_new(&net, s->t.backend, NULL, &s->d));
	assert_int_equal(vh_net_new(NULL, s->d, &s->n), -EPROTO);
	vh_error_get(&e);
	assert_int_equal(e.site, VHI_SITE_NET_MTU);
	end(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VHT_USER_ONLY(frames_come_back_in_their_order_however_many_at_once),
		VHT_OVER_ONE(frames_come_back_in_their_order_however_many_at_once, VHT_USER_NO_SLOTS, "_without_slots"),
		VHT_USER_ONLY(a_frame_of_a_large_mtu_comes_whole_or_cut_for_lack_of_room),
		VHT_USER_ONLY(what_the_device_says_of_itself_is_told),
		VHT_USER_ONLY(only_a_session_of_the_type_has_one),
		VHT_USER_ONLY(buffers_of_one_frame_become_one_frame),
		VHT_USER_ONLY(what_is_no_frame_breaks_the_queue_and_a_reset_mends_it),
		VHT_USER_ONLY(a_device_whose_mtu_no_network_has_is_refused),
	};

	return vht_run(tests);
}
