// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/* /dev/vhost-net with a tap device, whose other end is an interface of this machine: frames go both ways through the kernel's rings. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest.h"
#include "vh/vh.h"

#define BIT(n)	  (UINT64_C(1) << (n))
#define TYPE	  0x88b5 /* for experiments */
#define FRAMES	  300
#define MRG_RXBUF 15
#define WAIT_MS	  20000
#define SHIFT	  UINT64_C(0x5000000000)
#define HDR_BYTES 12
#define LARGEST	  1514u

/* A tap device that is up, and a raw socket on its interface. */
struct wire {
	int tap, packet, index;
	char name[IFNAMSIZ];
};

static void tap_open(struct wire *w, const char *name, bool headers)
{
	struct ifreq r;
	int hdr = HDR_BYTES, any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memset(w, 0, sizeof(*w));
	memset(&r, 0, sizeof(r));
	snprintf(w->name, sizeof(w->name), "%s", name);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	r.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (headers ? IFF_VNET_HDR : 0));
	w->tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	guest_check(w->tap >= 0);
	guest_check(!ioctl(w->tap, TUNSETIFF, &r));
	guest_check(!headers || !ioctl(w->tap, TUNSETVNETHDRSZ, &hdr));
	guest_check(any >= 0 && !ioctl(any, SIOCGIFFLAGS, &r));
	r.ifr_flags = (short)(r.ifr_flags | IFF_UP | IFF_PROMISC);
	guest_check(!ioctl(any, SIOCSIFFLAGS, &r));
	guest_check(!ioctl(any, SIOCGIFINDEX, &r));
	w->index = r.ifr_ifindex;
	close(any);
}

static int packet_open(const struct wire *w)
{
	const struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(TYPE), .sll_ifindex = w->index};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(TYPE));

	guest_check(fd >= 0 && !bind(fd, (const struct sockaddr *)&at, sizeof(at)));
	return fd;
}

/* Frame number @i: its length and what is in it. */
static uint32_t frame(uint8_t *to, uint32_t i)
{
	const uint32_t len = 60 + (i * 97) % (LARGEST - 60 + 1);

	memset(to, 0xff, 6);
	memcpy(to + 6, "\x02vhost", 6);
	to[12] = TYPE >> 8;
	to[13] = TYPE & 0xff;
	memcpy(to + 14, &i, 4);
	for (uint32_t k = 18; k < len; k++)
		to[k] = (uint8_t)(i * 31 + k);
	return len;
}

static bool is_frame(const uint8_t *got, uint32_t len, uint32_t i)
{
	uint8_t wanted[LARGEST];

	return len == frame(wanted, i) && !memcmp(got, wanted, len);
}

static bool of_ours(const uint8_t *got, uint32_t len)
{
	return len >= 18 && got[12] == TYPE >> 8 && got[13] == (TYPE & 0xff);
}

struct session {
	struct vh_kern *k;
	struct vh_driver *d;
	struct vh_net *n;
};

static void session_open(struct session *s, int attached, uint32_t flags, const struct vh_driver_opts *more)
{
	const struct vh_kern_opts ko = {.size = sizeof(ko), .flags = flags};
	struct vh_driver_opts o = {.size = sizeof(o)};
	struct vh_backend *b;
	uint64_t features;

	if (more)
		o = *more;
	o.type = VH_TYPE_NET;
	o.features |= BIT(MRG_RXBUF);
	guest_ok(vh_kern_open("/dev/vhost-net", &ko, &s->k));
	guest_ok(vh_kern_attach(s->k, 0, attached));
	guest_ok(vh_kern_attach(s->k, 1, attached));
	guest_ok(vh_kern_backend(s->k, &b));
	guest_ok(vh_driver_new(&o, b, NULL, &s->d));
	guest_ok(vh_driver_features(s->d, &features));
	printf("# features %#llx\n", (unsigned long long)features);
	guest_ok(vh_driver_start(s->d));
	guest_ok(vh_net_new(NULL, s->d, &s->n));
}

static void session_close(struct session *s)
{
	vh_net_free(s->n);
	vh_driver_free(s->d);
	vh_kern_free(s->k);
}

static void wait_for(int fd, short what)
{
	struct pollfd p = {.fd = fd, .events = what};

	guest_check(poll(&p, 1, WAIT_MS) == 1);
}

/* A frame that came to the driver; others, that the machine itself sends, are passed over. */
static uint32_t driver_takes(struct session *s, uint8_t *to, uint32_t room)
{
	for (;;) {
		struct vh_net_frame f = {.data = (uintptr_t)to, .room = room};
		int n = vh_net_receive(s->n, 0, &f, 1);

		guest_ok(n);
		if (n && of_ours(to, f.len))
			return f.len;
		if (!n)
			guest_ok(vh_net_wait(s->n, 0, VH_NET_RECEIVE, WAIT_MS));
	}
}

static void driver_sends(struct session *s, const uint8_t *from, uint32_t len)
{
	const struct vh_net_frame f = {.data = (uintptr_t)from, .len = len};
	int n;

	while ((n = vh_net_send(s->n, 0, &f, 1)) == 0)
		guest_ok(vh_net_wait(s->n, 0, VH_NET_SEND, WAIT_MS));
	guest_ok(n);
}

/* @near: what the other end reads and writes: a raw socket on the interface, or the tap itself. */
static void both_ways(struct session *s, int near, uint32_t from, uint32_t to)
{
	uint8_t out[LARGEST], in[2048];

	for (uint32_t i = from; i < to; i++) {
		uint32_t len = frame(out, i);
		ssize_t n;

		guest_check(write(near, out, len) == (ssize_t)len);
		len = driver_takes(s, in, sizeof(in));
		if (!is_frame(in, len, i))
			guest_fail("frame %u came to the driver as another one of %u bytes", i, len);
		len = frame(out, i ^ 0x10000);
		driver_sends(s, out, len);
		do {
			wait_for(near, POLLIN);
			n = read(near, in, sizeof(in));
			guest_check(n > 0);
		} while (!of_ours(in, (uint32_t)n));
		if (!is_frame(in, (uint32_t)n, i ^ 0x10000))
			guest_fail("frame %u came out as another one of %zd bytes", i, n);
	}
}

static void frames_through_a_tap(void)
{
	struct session s;
	struct wire w;
	int packet;

	tap_open(&w, "vht0", true);
	packet = packet_open(&w);
	session_open(&s, w.tap, 0, NULL);
	both_ways(&s, packet, 0, FRAMES);
	/* It goes on where it stopped. */
	guest_ok(vh_driver_stop(s.d, 0, 5000));
	guest_ok(vh_driver_start(s.d));
	both_ways(&s, packet, FRAMES, FRAMES + 50);
	session_close(&s);
	close(packet);
	close(w.tap);
}

static void behind_an_iommu(void)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .flags = VH_DRIVER_IOMMU, .iova_offset = SHIFT};
	struct session s;
	struct wire w;
	int packet;

	tap_open(&w, "vht1", true);
	packet = packet_open(&w);
	session_open(&s, w.tap, 0, &o);
	both_ways(&s, packet, 0, 50);
	session_close(&s);
	close(packet);
	close(w.tap);
}

/* Nothing but frames is attached: the kernel makes the headers. */
static void a_socket_without_headers(void)
{
	struct session s;
	struct wire w;
	int packet;

	tap_open(&w, "vht2", false);
	packet = packet_open(&w);
	session_open(&s, packet, VH_KERN_NET_HDR, NULL);
	both_ways(&s, w.tap, 0, 50);
	session_close(&s);
	close(packet);
	close(w.tap);
}

/* What the kernel wrote into memory is in the log: some page of a buffer, and the ring's. */
static void what_is_written_is_logged(void)
{
	vh_gpa pages[512], before[512];
	struct vh_dirty *log;
	struct session s;
	struct wire w;
	int packet, n;

	tap_open(&w, "vht3", true);
	packet = packet_open(&w);
	session_open(&s, w.tap, 0, NULL);
	guest_ok(vh_dirty_new(UINT64_C(1) << 32, &log));
	guest_ok(vh_driver_set_dirty(s.d, log));
	vh_dirty_take(log, 0, before, 512);
	both_ways(&s, packet, 0, 20);
	n = vh_dirty_take(log, 0, pages, 512);
	printf("# %d pages\n", n);
	guest_check(n >= 3); /* a used ring of each queue, a buffer */
	guest_ok(vh_driver_set_dirty(s.d, NULL));
	vh_dirty_take(log, 0, before, 512);
	both_ways(&s, packet, 20, 40);
	guest_check(vh_dirty_take(log, 0, pages, 512) == 0);
	session_close(&s);
	vh_dirty_free(log);
	close(packet);
	close(w.tap);
}

static void what_is_no_tap_is_refused(void)
{
	struct vh_error e = {.size = sizeof(e)};
	struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_NET};
	struct vh_backend *b;
	struct vh_driver *d;
	struct vh_kern *k;

	guest_ok(vh_kern_open("/dev/vhost-net", NULL, &k));
	guest_ok(vh_kern_attach(k, 0, 1));
	guest_ok(vh_kern_attach(k, 1, 1));
	guest_ok(vh_kern_backend(k, &b));
	guest_ok(vh_driver_new(&o, b, NULL, &d));
	guest_check(vh_driver_start(d) == -ENOTSOCK);
	vh_error_get(&e);
	if (!strstr(e.text, "VHOST_NET_SET_BACKEND on /dev/vhost-net: ENOTSOCK: the fd is no tap device"))
		guest_fail("%s", e.text);
	vh_driver_free(d);
	vh_kern_free(k);
}

/* An available index that no driver can have: the kernel gives the ring up, and says so. */
static void a_broken_ring_is_told(void)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_NET, .n_queues = 2};
	const struct vh_driver_ring ring = {
		.size = sizeof(ring), .num = 64, .desc = 0x100000, .driver = 0x101000, .device = 0x102000};
	const int kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct vh_event e = {.size = sizeof(e)};
	const uint64_t one = 1;
	struct vh_region r;
	struct vh_backend *b;
	struct vh_driver *d;
	struct vh_kern *k;
	struct vh_mem *mem;
	struct wire w;

	tap_open(&w, "vht4", true);
	guest_ok(vh_mem_new(NULL, &mem));
	guest_ok(vh_mem_alloc(mem, 0x100000, 0x10000, 0));
	guest_check(vh_mem_regions(mem, &r, 1) == 1);
	guest_ok(vh_kern_open("/dev/vhost-net", NULL, &k));
	guest_ok(vh_kern_attach(k, 1, w.tap));
	guest_ok(vh_kern_backend(k, &b));
	guest_ok(vh_driver_new(&o, b, mem, &d));
	guest_ok(vh_driver_set_ring(d, 1, &ring, kick, call));
	guest_ok(vh_driver_start(d));
	guest_check(vh_driver_next_event(d, &e) == 0);
	*(volatile uint16_t *)(uintptr_t)(r.host + 0x1002) = 40000;
	guest_check(write(kick, &one, sizeof(one)) == sizeof(one));
	wait_for(vh_driver_fd(d), POLLIN);
	guest_ok(vh_driver_dispatch(d));
	guest_check(vh_driver_next_event(d, &e) == 1);
	guest_check(e.kind == VH_EVENT_BROKEN && e.queue == 1 && e.reason == -EIO);
	vh_driver_free(d);
	vh_kern_free(k);
	vh_mem_free(mem);
	close(w.tap);
	close(kick);
	close(call);
}

int main(void)
{
	static const struct guest_case cases[] = {
		{"tap", frames_through_a_tap},
		{"tap-iommu", behind_an_iommu},
		{"no-headers", a_socket_without_headers},
		{"dirty-log", what_is_written_is_logged},
		{"no-tap", what_is_no_tap_is_refused},
		{"broken-ring", a_broken_ring_is_told},
	};

	return guest_run(cases, sizeof(cases) / sizeof(cases[0]));
}
