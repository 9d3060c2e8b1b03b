/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The built-in network devices, on both ends of their queues: the test is driver and slave. */
#include "vht_blk.h"

#include "vh/netdev.h"
#include "vhi_net.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define OK(call) assert_int_equal((call), 0)
#define V1	 VHI_BIT(VH_F_VERSION_1)
#define MRG	 VHI_BIT(VH_NET_F_MRG_RXBUF)
#define HDR	 VH_NET_HDR_SIZE

static struct vht_blk f;

static void open_with(struct vh_netdev_opts o, int fd, uint64_t features)
{
	struct vh_device *dev;

	o.size = sizeof(o);
	OK(vh_netdev_new(&o, fd, &dev));
	vht_dev_open(&f, dev, 128, features);
}

static void open_kind(uint32_t kind, uint64_t features)
{
	open_with((struct vh_netdev_opts){.kind = kind}, -1, features);
}

static uint8_t *offer(uint32_t queue, uint32_t len)
{
	struct vht_blk_req r = {0};
	uint8_t *p = vht_blk_alloc(&f, len ? len : 1);

	memset(p, 0xee, len);
	vht_blk_wr(&r, p, len);
	vht_blk_submit(&f, queue, &r, (uintptr_t)p);
	return p;
}

static uint8_t byte_at(uint32_t seed, uint32_t i)
{
	return (uint8_t)((i + seed) * 2654435761u >> 24);
}

/* A frame of @len bytes with a header of @hdr before it, which asks for things; in three segments. */
static void post(uint32_t queue, uint32_t hdr, uint32_t len, uint32_t seed)
{
	struct vht_blk_req r = {0};
	uint8_t *p = vht_blk_alloc(&f, hdr + len);

	memset(p, 0xff, hdr);
	for (uint32_t i = 0; i < len; i++)
		p[hdr + i] = byte_at(seed, i);
	vht_blk_rd(&r, p, 5);
	vht_blk_rd(&r, p + 5, hdr);
	vht_blk_rd(&r, p + 5 + hdr, len - 5);
	vht_blk_submit(&f, queue, &r, seed);
}

static uint32_t reap(uint32_t queue, struct vh_cpl *cpls, uint32_t max)
{
	int n = vh_queue_reap(f.driver[queue], cpls, max);

	assert_true(n >= 0);
	return (uint32_t)n;
}

static void sent(uint32_t queue, uint32_t n)
{
	struct vh_cpl cpls[128];

	assert_int_equal(reap(queue, cpls, 128), n);
}

static void send_frame(uint32_t len, uint32_t seed)
{
	post(1, HDR, len, seed);
	OK(vht_blk_batch(&f, 1, 64));
	sent(1, 1);
}

/* The next frame, whole in one buffer. */
static void expect(uint32_t queue, uint32_t hdr, uint32_t len, uint32_t seed)
{
	struct vh_cpl cpl;
	const uint8_t *p;

	assert_int_equal(reap(queue, &cpl, 1), 1);
	assert_int_equal(cpl.written, hdr + len);
	p = (const uint8_t *)(uintptr_t)cpl.token;
	for (uint32_t i = 0; i < hdr; i++)
		assert_int_equal(p[i], i == 10);
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(p[hdr + i], byte_at(seed, i));
}

static void expect_none(uint32_t queue)
{
	struct vh_cpl cpl;

	assert_int_equal(reap(queue, &cpl, 1), 0);
}

static void what_is_sent_comes_in_by_the_same_pair(void **state)
{
	(void)state;
	open_with((struct vh_netdev_opts){.kind = VH_NETDEV_LOOPBACK, .pairs = 2}, -1, V1);
	for (int i = 0; i < 3; i++) {
		offer(0, 2000);
		offer(2, 2000);
	}
	post(1, HDR, 60, 1);
	post(1, HDR, 1514, 2);
	post(3, HDR, 70, 3);
	OK(vht_blk_batch(&f, 1, 64));
	sent(1, 2);
	OK(vht_blk_batch(&f, 3, 64));
	sent(3, 1);
	expect(0, HDR, 60, 1);
	expect(0, HDR, 1514, 2);
	expect_none(0);
	expect(2, HDR, 70, 3);
	expect_none(2);
	assert_int_equal(vhi_queue_in_flight(f.device[0]), 0);
	vht_blk_close(&f);
}

static void the_budget_is_kept(void **state)
{
	(void)state;
	open_kind(VH_NETDEV_LOOPBACK, V1);
	for (uint32_t i = 0; i < 5; i++) {
		offer(0, 200);
		post(1, HDR, 60, i);
	}
	assert_int_equal(vht_blk_batch(&f, 1, 2), 1);
	sent(1, 2);
	assert_int_equal(vht_blk_batch(&f, 1, 64), 0);
	sent(1, 3);
	for (uint32_t i = 0; i < 5; i++)
		expect(0, HDR, 60, i);
	vht_blk_close(&f);
}

static void a_frame_takes_as_many_buffers_as_it_needs_when_they_are_merged(void **state)
{
	struct vh_cpl cpls[4];
	uint32_t at = 0;

	(void)state;
	open_kind(VH_NETDEV_LOOPBACK, V1 | MRG);
	for (int i = 0; i < 6; i++)
		offer(0, 512);
	send_frame(1500, 7);
	assert_int_equal(reap(0, cpls, 4), 3);
	for (uint32_t i = 0; i < 3; i++) {
		const uint8_t *p = (const uint8_t *)(uintptr_t)cpls[i].token;
		uint32_t from = i ? 0 : HDR;

		if (!i)
			assert_int_equal(p[10], 3);
		assert_int_equal(cpls[i].written, i < 2 ? 512 : HDR + 1500 - 2 * 512);
		for (uint32_t k = from; k < cpls[i].written; k++)
			assert_int_equal(p[k], byte_at(7, at++));
	}
	assert_int_equal(at, 1500);
	/* Three are left: not enough for the next, but for the one after it. */
	send_frame(1530, 8);
	expect_none(0);
	send_frame(100, 9);
	expect(0, HDR, 100, 9);
	vht_blk_close(&f);
}

static void without_merging_a_frame_that_does_not_fit_is_dropped_and_its_buffer_kept(void **state)
{
	(void)state;
	open_kind(VH_NETDEV_LOOPBACK, V1);
	offer(0, 512);
	offer(0, 4096);
	send_frame(600, 1);
	expect_none(0);
	send_frame(500, 2);
	expect(0, HDR, 500, 2);
	send_frame(600, 3);
	expect(0, HDR, 600, 3);
	vht_blk_close(&f);
}

static void without_a_buffer_a_frame_is_dropped(void **state)
{
	(void)state;
	open_kind(VH_NETDEV_LOOPBACK, V1);
	send_frame(100, 1);
	offer(0, 2000);
	send_frame(100, 2);
	expect(0, HDR, 100, 2);
	expect_none(0);
	vht_blk_stop(&f, 0);
	send_frame(100, 3); /* nobody is there */
	vht_blk_close(&f);
}

static void frames_of_impossible_lengths_are_dropped(void **state)
{
	static const uint32_t bad[] = {6, VH_NET_FRAME_MIN - 1, VH_NET_FRAME_MAX + 1, 200000};

	(void)state;
	open_kind(VH_NETDEV_LOOPBACK, V1);
	for (int i = 0; i < 8; i++)
		offer(0, 210000);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++)
		send_frame(bad[i], 1);
	expect_none(0);
	send_frame(VH_NET_FRAME_MIN, 2);
	expect(0, HDR, VH_NET_FRAME_MIN, 2);
	send_frame(VH_NET_FRAME_MAX, 3);
	expect(0, HDR, VH_NET_FRAME_MAX, 3);
	vht_blk_close(&f);
}

static void a_request_that_has_no_header_is_dropped(void **state)
{
	struct vht_blk_req r = {0};

	(void)state;
	open_kind(VH_NETDEV_LOOPBACK, V1);
	offer(0, 2000);
	vht_blk_rd(&r, vht_blk_alloc(&f, 3), 3);
	vht_blk_submit(&f, 1, &r, 0);
	r = (struct vht_blk_req){0};
	vht_blk_wr(&r, vht_blk_alloc(&f, 2000), 2000); /* nothing to read at all */
	vht_blk_submit(&f, 1, &r, 0);
	OK(vht_blk_batch(&f, 1, 64));
	sent(1, 2);
	expect_none(0);
	vht_blk_close(&f);
}

static void a_receive_buffer_without_room_for_a_header_breaks_its_queue(void **state)
{
	struct vhi_failure why;

	(void)state;
	open_kind(VH_NETDEV_LOOPBACK, V1 | MRG);
	offer(0, HDR - 1);
	offer(0, 2000);
	send_frame(100, 1);
	assert_true(vhi_queue_failure(f.device[0], &why));
	assert_int_equal(why.site, VHI_SITE_NET_RX_BUFFER);
	assert_int_equal(vh_queue_state(f.device[1]), VH_QUEUE_RUNNING);
	expect_none(0);
	vht_blk_close(&f);
}

static void a_frame_that_would_take_too_many_buffers_is_dropped(void **state)
{
	int fds[2];
	uint8_t frame[2000] = {0};

	(void)state;
	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
	open_with((struct vh_netdev_opts){.kind = VH_NETDEV_TAP}, fds[0], V1 | MRG);
	for (int i = 0; i < 120; i++)
		offer(0, 16);
	assert_int_equal(write(fds[1], frame, 2000), 2000);
	for (uint32_t i = 0; i < 14; i++)
		frame[i] = byte_at(5, i);
	assert_int_equal(write(fds[1], frame, 14), 14);
	assert_true(vht_blk_poll(&f, 1000));
	sent(0, 2); /* of the second frame */
	vht_blk_close(&f);
	close(fds[0]);
	close(fds[1]);
}

static void many_frames_go_through_more_buffers_than_a_batch_has(void **state)
{
	struct vh_cpl cpls[128];

	(void)state;
	open_kind(VH_NETDEV_LOOPBACK, V1 | MRG);
	for (int i = 0; i < 120; i++)
		offer(0, 64);
	for (uint32_t i = 0; i < 23; i++)
		post(1, HDR, 300, i); /* 5 buffers each: the 13th begins in one batch and would end in the next */
	OK(vht_blk_batch(&f, 1, 64));
	sent(1, 23);
	assert_int_equal(reap(0, cpls, 128), 115);
	for (uint32_t i = 0; i < 115; i++)
		assert_int_equal(cpls[i].written, i % 5 == 4 ? HDR + 300 - 4 * 64 : 64);
	vht_blk_close(&f);
}

static void a_driver_from_before_version_1_has_a_shorter_header(void **state)
{
	(void)state;
	open_kind(VH_NETDEV_LOOPBACK, 0);
	offer(0, 2000);
	post(1, 10, 60, 1);
	OK(vht_blk_batch(&f, 1, 64));
	sent(1, 1);
	expect(0, VHI_NET_HDR_SHORT, 60, 1);
	vht_blk_close(&f);
}

static void a_sink_takes_all_and_gives_nothing(void **state)
{
	(void)state;
	open_kind(VH_NETDEV_SINK, V1);
	offer(0, 2000);
	for (uint32_t i = 0; i < 10; i++)
		post(1, HDR, 60, i);
	OK(vht_blk_batch(&f, 1, 64));
	sent(1, 10);
	OK(vht_blk_batch(&f, 0, 64));
	expect_none(0);
	vht_blk_close(&f);
}

static void a_source_fills_every_buffer_and_counts(void **state)
{
	struct vh_cpl cpls[16];

	(void)state;
	open_with((struct vh_netdev_opts){.kind = VH_NETDEV_SOURCE, .frame = 100, .mac = {2, 3, 4, 5, 6, 7}}, -1, V1);
	for (int i = 0; i < 10; i++)
		offer(0, 200);
	assert_int_equal(vht_blk_batch(&f, 0, 4), 1);
	assert_int_equal(vht_blk_batch(&f, 0, 64), 0);
	assert_int_equal(reap(0, cpls, 16), 10);
	for (uint32_t i = 0; i < 10; i++) {
		const uint8_t *p = (const uint8_t *)(uintptr_t)cpls[i].token + HDR;
		const uint8_t begin[] = {255, 255, 255, 255, 255, 255, 2, 3, 4, 5, 6, 7, 0x88, 0xb5, (uint8_t)i, 0};

		assert_int_equal(cpls[i].written, HDR + 100);
		assert_memory_equal(p, begin, sizeof(begin));
	}
	/* One that waited for a buffer is not lost. */
	offer(0, 200);
	OK(vht_blk_batch(&f, 0, 64));
	assert_int_equal(reap(0, cpls, 16), 1);
	assert_int_equal(((const uint8_t *)(uintptr_t)cpls[0].token)[HDR + 14], 10);
	vht_blk_close(&f);
}

static uint8_t source_byte(uint32_t number, uint32_t i)
{
	static const uint8_t begin[] = {255, 255, 255, 255, 255, 255, 2, 3, 4, 5, 6, 7, 0x88, 0xb5};

	return i < sizeof(begin) ? begin[i] : i == sizeof(begin) ? (uint8_t)number : 0;
}

/* Header and frame, @all bytes, and nothing behind them. */
static void expect_source(const struct vh_cpl *cpl, uint32_t number, uint32_t hdr, uint32_t all)
{
	const uint8_t *p = (const uint8_t *)(uintptr_t)cpl->token;

	assert_int_equal(cpl->written, all);
	for (uint32_t i = 0; i < all; i++)
		assert_int_equal(p[i], i >= hdr ? source_byte(number, i - hdr) : i == 10);
	assert_int_equal(p[all], 0xee);
}

/* In one buffer or in two, with a long header or a short one: the bytes are the same. */
static void a_source_makes_the_same_frames_of_any_length_for_all_buffers(void **state)
{
	static const uint32_t lens[] = {14, 15, 21, 22, 23, 100};
	static const uint64_t features[] = {V1 | MRG, V1, 0};
	struct vh_cpl cpls[8];

	(void)state;
	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(lens) * VHI_ARRAY_SIZE(features); i++) {
		const uint32_t len = lens[i % VHI_ARRAY_SIZE(lens)], in = (uint32_t)(i / VHI_ARRAY_SIZE(lens));
		const uint32_t hdr = features[in] ? HDR : VHI_NET_HDR_SHORT, all = hdr + len, merged = in ? 0 : 2;

		open_with((struct vh_netdev_opts){.kind = VH_NETDEV_SOURCE, .frame = len, .mac = {2, 3, 4, 5, 6, 7}},
			  -1, features[in]);
		offer(0, 200);
		offer(0, all + 1);
		offer(0, merged ? all - 9 : 200);
		offer(0, 200);
		offer(0, 200);
		OK(vht_blk_batch(&f, 0, 64));
		assert_int_equal(reap(0, cpls, 8), 5);
		expect_source(&cpls[0], 0, hdr, all);
		expect_source(&cpls[1], 1, hdr, all);
		expect_source(&cpls[4], merged ? 3 : 4, hdr, all);
		if (merged) {
			const uint8_t *second = (const uint8_t *)(uintptr_t)cpls[3].token;

			assert_int_equal(cpls[2].written, all - 9);
			assert_int_equal(cpls[3].written, 9);
			assert_int_equal(((const uint8_t *)(uintptr_t)cpls[2].token)[10], 2);
			for (uint32_t k = 0; k < 9; k++)
				assert_int_equal(second[k], source_byte(2, len - 9 + k));
		}
		vht_blk_close(&f);
	}
}

static void a_socket_is_a_wire_with_a_frame_in_each_message(void **state)
{
	uint8_t frame[2000];
	int fds[2];

	(void)state;
	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
	open_with((struct vh_netdev_opts){.kind = VH_NETDEV_TAP}, fds[0], V1);
	post(1, HDR, 77, 4);
	OK(vht_blk_batch(&f, 1, 64));
	sent(1, 1);
	assert_int_equal(recv(fds[1], frame, sizeof(frame), MSG_DONTWAIT), 77);
	for (uint32_t i = 0; i < 77; i++)
		assert_int_equal(frame[i], byte_at(4, i));
	offer(0, 2000);
	assert_int_equal(write(fds[1], frame, 3), 3); /* no frame */
	assert_int_equal(write(fds[1], frame, 77), 77);
	assert_true(vht_blk_poll(&f, 1000));
	expect(0, HDR, 77, 4);
	assert_false(vht_blk_poll(&f, 0));
	vht_blk_close(&f);
	close(fds[0]);
	close(fds[1]);
}

static void what_a_tap_has_waits_for_a_buffer_and_wakes_nobody_meanwhile(void **state)
{
	uint8_t frame[100];
	int fds[2];

	(void)state;
	for (uint32_t i = 0; i < sizeof(frame); i++)
		frame[i] = byte_at(6, i);
	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
	open_with((struct vh_netdev_opts){.kind = VH_NETDEV_TAP}, fds[0], V1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(write(fds[1], frame, sizeof(frame)), sizeof(frame));
	assert_true(vht_blk_poll(&f, 1000));
	assert_false(vht_blk_poll(&f, 0));
	offer(0, 2000);
	offer(0, 2000);
	OK(vht_blk_batch(&f, 0, 64));
	expect(0, HDR, 100, 6);
	expect(0, HDR, 100, 6);
	offer(0, 2000);
	offer(0, 2000);
	OK(vht_blk_batch(&f, 0, 64));
	expect(0, HDR, 100, 6);
	/* And it is watched again. */
	assert_int_equal(write(fds[1], frame, sizeof(frame)), sizeof(frame));
	assert_true(vht_blk_poll(&f, 1000));
	expect(0, HDR, 100, 6);
	/* Not while the queue is stopped. */
	vht_blk_stop(&f, 0);
	assert_int_equal(write(fds[1], frame, sizeof(frame)), sizeof(frame));
	assert_false(vht_blk_poll(&f, 0));
	vht_blk_start(&f, 0);
	offer(0, 2000);
	assert_true(vht_blk_poll(&f, 1000));
	expect(0, HDR, 100, 6);
	vht_blk_close(&f);
	close(fds[0]);
	close(fds[1]);
}

static void a_wire_that_fails_is_told_and_not_read_for_ever(void **state)
{
	int fds[2];

	(void)state;
	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
	open_with((struct vh_netdev_opts){.kind = VH_NETDEV_TAP}, fds[0], V1);
	offer(0, 2000);
	close(fds[1]);
	post(1, HDR, 77, 4);
	OK(vht_blk_batch(&f, 1, 64));
	sent(1, 1);
	assert_int_equal(f.failed, 1);
	assert_int_equal(f.failed_rc, -ECONNREFUSED);
	for (int i = 0; i < 10 && vht_blk_poll(&f, 0); i++)
		;
	assert_false(vht_blk_poll(&f, 0));
	vht_blk_close(&f);
	close(fds[0]);
}

/* With and without headers of its own. */
static void a_tap_carries_frames(void **state)
{
	static const int flags[] = {IFF_TAP | IFF_NO_PI, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(flags); i++) {
		struct ifreq ifr = {.ifr_flags = (short)flags[i]};
		int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC), s = socket(AF_INET, SOCK_DGRAM, 0);

		if (tap < 0 || ioctl(tap, TUNSETIFF, &ifr)) {
			print_message("no right to make a tap here\n");
			close(tap);
			close(s);
			skip();
		}
		open_with((struct vh_netdev_opts){.kind = VH_NETDEV_TAP}, tap, V1);
		offer(0, 2000);
		post(1, HDR, 60, 1);
		OK(vht_blk_batch(&f, 1, 64));
		sent(1, 1);
		assert_int_equal(f.failed, 1); /* it is down */
		assert_int_equal(f.failed_rc, -EIO);
		OK(ioctl(s, SIOCGIFFLAGS, &ifr));
		ifr.ifr_flags |= IFF_UP;
		OK(ioctl(s, SIOCSIFFLAGS, &ifr));
		post(1, HDR, 60, 1);
		OK(vht_blk_batch(&f, 1, 64));
		assert_int_equal(f.failed, 1);
		/* The kernel says something of its own on a new link: a multicast frame. */
		assert_true(vht_blk_poll(&f, 10000));
		vht_blk_close(&f);
		close(tap);
		close(s);
	}
}

static void config_space_tells_mac_mtu_and_pairs(void **state)
{
	const uint8_t want[] = {2, 0, 0, 0, 0, 9, 1, 0, 3, 0, 0x28, 0x23, 0};
	uint8_t got[VH_CONFIG_MAX];

	(void)state;
	open_with((struct vh_netdev_opts){.kind = VH_NETDEV_SINK, .pairs = 3, .mtu = 9000, .mac = {2, 0, 0, 0, 0, 9}},
		  -1, V1);
	OK(f.dev->ops.get_config(f.dev->ctx, 0, got, sizeof(got), 0));
	assert_memory_equal(got, want, sizeof(want));
	OK(f.dev->ops.get_config(f.dev->ctx, 8, got, 1, 0));
	assert_int_equal(got[0], 3);
	assert_int_equal(f.dev->opts.features & ~VHI_RING_FEATURES,
			 MRG | VHI_BIT(VH_NET_F_STATUS) | VHI_BIT(VH_NET_F_MQ) | VHI_BIT(VH_NET_F_MTU) |
				 VHI_BIT(VH_NET_F_MAC));
	assert_int_equal(f.dev->opts.max_queues, 6);
	vht_blk_close(&f);
	open_kind(VH_NETDEV_SINK, V1);
	assert_int_equal(f.dev->opts.features & ~VHI_RING_FEATURES, MRG | VHI_BIT(VH_NET_F_STATUS));
	vht_blk_close(&f);
}

static uint32_t told_mtu(void)
{
	uint8_t got[2];

	OK(f.dev->ops.get_config(f.dev->ctx, VHI_NET_C_MTU, got, sizeof(got), 0));
	return got[0] + 256u * got[1];
}

static void an_mtu_is_taken_up_to_the_one_that_it_was_made_with(void **state)
{
	(void)state;
	open_with((struct vh_netdev_opts){.kind = VH_NETDEV_SINK, .mtu = 9000}, -1, V1);
	OK(f.dev->ops.set_mtu(f.dev->ctx, 1500, 1));
	assert_int_equal(told_mtu(), 1500);
	assert_int_equal(f.dev->ops.set_mtu(f.dev->ctx, 9001, 1), -EINVAL);
	assert_int_equal(told_mtu(), 1500);
	OK(f.dev->ops.set_features(f.dev->ctx, 0, 0));
	assert_int_equal(told_mtu(), 9000);
	vht_blk_close(&f);
}

static void a_guest_is_announced_on_a_wire_only(void **state)
{
	static const uint8_t mac[] = {2, 1, 3, 4, 5, 6};
	static const uint8_t want[60] = {
		255, 255, 255, 255, 255, 255, 2, 1, 3, 4, 5, 6, 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3, /* a request */
		2,   1,	  3,   4,   5,	 6,   0, 0, 0, 0, 2, 1, 3,    4,    5, 6, 0, 0, 0, 0,
	};
	uint8_t frame[100];
	int fds[2];

	(void)state;
	open_kind(VH_NETDEV_LOOPBACK, V1);
	assert_null(f.dev->ops.send_rarp);
	vht_blk_close(&f);
	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
	open_with((struct vh_netdev_opts){.kind = VH_NETDEV_TAP}, fds[0], V1);
	OK(f.dev->ops.send_rarp(f.dev->ctx, mac, sizeof(mac), 1));
	assert_int_equal(recv(fds[1], frame, sizeof(frame), MSG_DONTWAIT), sizeof(want));
	assert_memory_equal(frame, want, sizeof(want));
	vht_blk_close(&f);
	close(fds[0]);
	close(fds[1]);
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const struct {
		struct vh_netdev_opts o;
		int fd, rc;
	} bad[] = {
		{{.kind = 0}, -1, -EINVAL},
		{{.kind = 5}, -1, -EINVAL},
		{{.kind = VH_NETDEV_SINK, .pairs = 129}, -1, -EINVAL},
		{{.kind = VH_NETDEV_SINK, .max_queue_size = 65536}, -1, -EINVAL},
		{{.kind = VH_NETDEV_SINK, .mtu = 67}, -1, -EINVAL},
		{{.kind = VH_NETDEV_SINK, .mtu = 65536}, -1, -EINVAL},
		{{.kind = VH_NETDEV_SOURCE, .frame = 13}, -1, -EINVAL},
		{{.kind = VH_NETDEV_SOURCE, .frame = VH_NET_FRAME_MAX + 1}, -1, -EINVAL},
		{{.kind = VH_NETDEV_SINK, .mac = {1}}, -1, -EINVAL},
		{{.kind = VH_NETDEV_SINK, .reserved = 1}, -1, -EINVAL},
		{{.kind = VH_NETDEV_SINK}, 0, -EINVAL},
		{{.kind = VH_NETDEV_TAP}, -1, -EBADF},
		{{.kind = VH_NETDEV_TAP}, 9999, -EBADF},
		{{.kind = VH_NETDEV_TAP, .pairs = 2}, 0, -EINVAL},
	};
	struct vh_netdev_opts o;
	struct vh_device *dev = NULL;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), stream = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(bad); i++) {
		o = bad[i].o;
		o.size = sizeof(o);
		assert_int_equal(vh_netdev_new(&o, bad[i].fd, &dev), bad[i].rc);
	}
	o = (struct vh_netdev_opts){.size = sizeof(o), .kind = VH_NETDEV_TAP};
	assert_int_equal(vh_netdev_new(&o, null, &dev), -ENOTSUP);
	assert_int_equal(vh_netdev_new(&o, stream, &dev), -ENOTSUP);
	assert_int_equal(vh_netdev_new(NULL, -1, &dev), -EINVAL);
	assert_int_equal(vh_netdev_new(&o, stream, NULL), -EINVAL);
	assert_null(dev);
	close(null);
	close(stream);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(what_is_sent_comes_in_by_the_same_pair),
		T(the_budget_is_kept),
		T(a_frame_takes_as_many_buffers_as_it_needs_when_they_are_merged),
		T(without_merging_a_frame_that_does_not_fit_is_dropped_and_its_buffer_kept),
		T(without_a_buffer_a_frame_is_dropped),
		T(frames_of_impossible_lengths_are_dropped),
		T(a_request_that_has_no_header_is_dropped),
		T(a_receive_buffer_without_room_for_a_header_breaks_its_queue),
		T(a_frame_that_would_take_too_many_buffers_is_dropped),
		T(many_frames_go_through_more_buffers_than_a_batch_has),
		T(a_driver_from_before_version_1_has_a_shorter_header),
		T(a_sink_takes_all_and_gives_nothing),
		T(a_source_fills_every_buffer_and_counts),
		T(a_source_makes_the_same_frames_of_any_length_for_all_buffers),
		T(a_socket_is_a_wire_with_a_frame_in_each_message),
		T(what_a_tap_has_waits_for_a_buffer_and_wakes_nobody_meanwhile),
		T(a_wire_that_fails_is_told_and_not_read_for_ever),
		T(a_tap_carries_frames),
		T(config_space_tells_mac_mtu_and_pairs),
		T(an_mtu_is_taken_up_to_the_one_that_it_was_made_with),
		T(a_guest_is_announced_on_a_wire_only),
		T(what_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
