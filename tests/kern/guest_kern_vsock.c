// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/*
 * /dev/vhost-vsock: this program is the guest. It claims a CID, drives the rings as a virtio-vsock driver does, and sockets of
 * this machine connect to it through the kernel's transport to guests. Loopback has no part in it.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"
#include "vh/vh.h"

#define PORT	 1234
#define BUFS	 32
#define PAYLOAD	 4096u
#define WINDOW	 (64u * 1024) /* bytes that may be on the way to here */
#define TOTAL	 (1u << 20)
#define SHIFT	 UINT64_C(0x6000000000)
#define DEADLINE 60

enum { OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST };

/* Virtio 1.2 section 5.10.6; this machine is little-endian. */
struct header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

struct packet {
	struct header h;
	uint8_t data[PAYLOAD];
};

struct guest {
	struct vh_kern *k;
	struct vh_driver *d;
	struct vh_queue *rx, *tx;
	struct packet *in, *out;
	bool out_busy[BUFS];

	/* The one connection. */
	bool open, closed;
	uint32_t peer_port, peer_alloc, peer_fwd;
	uint32_t sent, taken;
	uint8_t ring[WINDOW]; /* what came and has not been sent back */
	uint32_t first, n;
	uint32_t most, credit_updates;
};

static uint32_t cid_now = 5555; /* each case has another one */

static void offer(struct guest *g, uint64_t i)
{
	const struct vh_seg seg = {(uintptr_t)&g->in[i], sizeof(g->in[i])};
	const struct vh_req r = {.segs = (uintptr_t)&seg, .n_wr = 1, .user = i};

	guest_check(vh_queue_submit(g->rx, &r, 1) == 1);
}

/* A free buffer to send from, or NULL. */
static struct packet *room(struct guest *g)
{
	struct vh_cpl c[BUFS];
	int n = vh_queue_reap(g->tx, c, BUFS);

	guest_ok(n);
	for (int i = 0; i < n; i++)
		g->out_busy[c[i].token] = false;
	for (int i = 0; i < BUFS; i++)
		if (!g->out_busy[i])
			return &g->out[i];
	return NULL;
}

static void send_packet(struct guest *g, struct packet *p, uint16_t op, uint32_t from, uint32_t port, uint32_t len)
{
	const uint64_t i = (uint64_t)(p - g->out);
	const struct vh_seg seg = {(uintptr_t)p, sizeof(p->h) + len};
	const struct vh_req r = {.segs = (uintptr_t)&seg, .n_rd = 1, .user = i};

	p->h = (struct header){.src_cid = cid_now,
			       .dst_cid = VMADDR_CID_HOST,
			       .src_port = from,
			       .dst_port = port,
			       .len = len,
			       .type = 1,
			       .op = op,
			       .buf_alloc = WINDOW,
			       .fwd_cnt = g->taken};
	g->out_busy[i] = true;
	guest_check(vh_queue_submit(g->tx, &r, 1) == 1);
}

static void answer(struct guest *g, uint16_t op, uint32_t from, uint32_t port)
{
	struct packet *p = room(g);

	guest_check(p);
	send_packet(g, p, op, from, port, 0);
}

static void take(struct guest *g, const struct packet *p, uint32_t written)
{
	guest_check(written >= sizeof(p->h) && written == sizeof(p->h) + p->h.len);
	guest_check(p->h.src_cid == VMADDR_CID_HOST && p->h.dst_cid == cid_now && p->h.type == 1);
	if (p->h.dst_port != PORT || (g->open && p->h.src_port != g->peer_port)) {
		answer(g, OP_RST, p->h.dst_port, p->h.src_port);
		return;
	}
	g->peer_alloc = p->h.buf_alloc;
	g->peer_fwd = p->h.fwd_cnt;
	if (p->h.op == OP_REQUEST) {
		g->open = true;
		g->peer_port = p->h.src_port;
		answer(g, OP_RESPONSE, PORT, g->peer_port);
	} else if (p->h.op == OP_RW) {
		/* The host keeps to what it was told there is room for. */
		guest_check(g->n + p->h.len <= WINDOW);
		for (uint32_t i = 0; i < p->h.len; i++)
			g->ring[(g->first + g->n + i) % WINDOW] = p->data[i];
		g->n += p->h.len;
		g->most = g->n > g->most ? g->n : g->most;
	} else if (p->h.op == OP_CREDIT_REQUEST) {
		answer(g, OP_CREDIT_UPDATE, PORT, g->peer_port);
	} else if (p->h.op == OP_CREDIT_UPDATE) {
		g->credit_updates++;
	} else if (p->h.op == OP_SHUTDOWN || p->h.op == OP_RST) {
		if (p->h.op == OP_SHUTDOWN)
			answer(g, OP_RST, PORT, g->peer_port);
		g->closed = true;
	}
}

static bool receive(struct guest *g)
{
	struct vh_cpl c[BUFS];
	int n = vh_queue_reap(g->rx, c, BUFS);

	guest_ok(n);
	for (int i = 0; i < n; i++) {
		take(g, &g->in[c[i].token], c[i].written);
		offer(g, c[i].token);
	}
	return n;
}

/* As much as the other end has room for. */
static bool echo(struct guest *g)
{
	bool did = false;
	struct packet *p;

	while (g->n && !g->closed) {
		const uint32_t credit = g->peer_alloc - (g->sent - g->peer_fwd);
		uint32_t len = g->n < PAYLOAD ? g->n : PAYLOAD;

		guest_check(g->sent - g->peer_fwd <= g->peer_alloc);
		len = len < credit ? len : credit;
		p = len ? room(g) : NULL;
		if (!p)
			break;
		for (uint32_t i = 0; i < len; i++)
			p->data[i] = g->ring[(g->first + i) % WINDOW];
		g->first = (g->first + len) % WINDOW;
		g->n -= len;
		g->taken += len;
		send_packet(g, p, OP_RW, PORT, g->peer_port, len);
		g->sent += len;
		did = true;
	}
	return did;
}

static void nap(struct guest *g)
{
	struct pollfd p[3] = {{.fd = vh_queue_fd(g->rx), .events = POLLIN},
			      {.fd = vh_queue_fd(g->tx), .events = POLLIN},
			      {.fd = vh_kern_fd(g->k), .events = POLLIN}};

	if (vh_queue_arm(g->rx) == VH_QUEUE_SLEEP && vh_queue_arm(g->tx) == VH_QUEUE_SLEEP)
		poll(p, 3, 500);
	if (p[2].revents)
		guest_ok(vh_driver_dispatch(g->d));
	guest_ok(vh_queue_disarm(g->rx));
	guest_ok(vh_queue_disarm(g->tx));
}

static void begin(struct guest *g, uint32_t flags)
{
	const struct vh_driver_opts o = {
		.size = sizeof(o), .n_queues = 2, .queue_size = BUFS, .flags = flags, .iova_offset = flags ? SHIFT : 0};
	struct vh_backend *b;
	uint64_t at, features;
	uint8_t cid[8];

	memset(g, 0, sizeof(*g));
	cid_now++;
	guest_ok(vh_kern_open("/dev/vhost-vsock", NULL, &g->k));
	guest_ok(vh_kern_vsock_set_cid(g->k, cid_now));
	guest_ok(vh_kern_backend(g->k, &b));
	guest_ok(vh_backend_get_config(b, 0, cid, 8));
	guest_check(cid[0] == (cid_now & 0xff) && cid[1] == cid_now >> 8);
	guest_ok(vh_driver_new(&o, b, NULL, &g->d));
	guest_ok(vh_driver_features(g->d, &features));
	printf("# features %#llx\n", (unsigned long long)features);
	guest_ok(vh_driver_alloc(g->d, 2 * BUFS * sizeof(*g->in), &at));
	g->in = (struct packet *)(uintptr_t)at;
	g->out = g->in + BUFS;
	guest_ok(vh_driver_queue(g->d, 0, &g->rx));
	guest_ok(vh_driver_queue(g->d, 1, &g->tx));
	guest_ok(vh_driver_start(g->d));
	for (uint64_t i = 0; i < BUFS; i++)
		offer(g, i);
}

static void end(struct guest *g)
{
	vh_driver_free(g->d);
	vh_kern_free(g->k);
}

/* The other end: a socket of this machine. */

struct peer {
	pthread_t thread;
	uint32_t port;
	int result; /* -errno, 1 = all came back */
	bool over;
};

static uint8_t pattern(uint32_t i)
{
	return (uint8_t)(i ^ i >> 8 ^ i >> 16);
}

static int talk(int fd)
{
	static uint8_t in[32768], out[32768];
	uint32_t sent = 0, got = 0;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (got < TOTAL) {
		struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (sent < TOTAL ? POLLOUT : 0))};
		ssize_t n;

		if (poll(&p, 1, DEADLINE * 1000) <= 0)
			return -ETIMEDOUT;
		if (p.revents & POLLOUT) {
			uint32_t len = TOTAL - sent < sizeof(out) ? TOTAL - sent : sizeof(out);

			for (uint32_t i = 0; i < len; i++)
				out[i] = pattern(sent + i);
			n = send(fd, out, len, MSG_NOSIGNAL);
			if (n < 0 && errno != EAGAIN)
				return -errno;
			sent += n > 0 ? (uint32_t)n : 0;
		}
		if (p.revents & (POLLIN | POLLERR | POLLHUP)) {
			n = recv(fd, in, sizeof(in), 0);
			if (n == 0)
				return -ECONNRESET;
			if (n < 0 && errno != EAGAIN)
				return -errno;
			for (ssize_t i = 0; i < n; i++)
				if (in[i] != pattern(got + (uint32_t)i))
					return -EILSEQ;
			got += n > 0 ? (uint32_t)n : 0;
		}
	}
	return 1;
}

static void *peer_main(void *arg)
{
	struct peer *p = arg;
	const struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = cid_now, .svm_port = p->port};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)))
		p->result = -errno;
	else
		p->result = talk(fd);
	close(fd);
	__atomic_store_n(&p->over, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Serve until the peer is done, and what it closed has been seen. */
static void serve(struct guest *g, struct peer *p)
{
	const time_t until = time(NULL) + DEADLINE;

	guest_check(!pthread_create(&p->thread, NULL, peer_main, p));
	while (!__atomic_load_n(&p->over, __ATOMIC_ACQUIRE) || (p->result == 1 && !g->closed)) {
		if (time(NULL) > until)
			guest_fail("took %u bytes, sent %u, waits for %u; the socket says %d", g->taken, g->sent, g->n,
				   p->result);
		const bool came = receive(g), went = echo(g);

		if (!came && !went)
			nap(g);
	}
	pthread_join(p->thread, NULL);
}

static void echo_over(uint32_t flags)
{
	static struct guest g;
	struct peer p = {.port = PORT};

	begin(&g, flags);
	serve(&g, &p);
	if (p.result != 1)
		guest_fail("the socket says %d (%s)", p.result, strerror(-p.result));
	guest_check(g.taken == TOTAL && g.sent == TOTAL && g.open && g.closed);
	printf("# %u bytes each way, at most %u waited here, %u credit updates came\n", TOTAL, g.most,
	       g.credit_updates);
	end(&g);
}

static void echoes(void)
{
	echo_over(0);
}

static void echoes_behind_an_iommu(void)
{
	echo_over(VH_DRIVER_IOMMU);
}

static void refuses(void)
{
	static struct guest g;
	struct peer p = {.port = PORT + 1};

	begin(&g, 0);
	serve(&g, &p);
	if (p.result != -ECONNRESET)
		guest_fail("the socket says %d", p.result);
	/* And goes on, also after a stop. */
	guest_ok(vh_driver_stop(g.d, VH_DRIVER_STOP_DROP, 1000));
	guest_ok(vh_driver_start(g.d));
	memset(g.out_busy, 0, sizeof(g.out_busy));
	for (uint64_t i = 0; i < BUFS; i++)
		offer(&g, i);
	p = (struct peer){.port = PORT};
	serve(&g, &p);
	guest_check(p.result == 1);
	end(&g);
	/* Nobody is there any more. */
	p = (struct peer){.port = PORT};
	peer_main(&p);
	guest_check(p.result == -ENODEV || p.result == -ECONNRESET || p.result == -ETIMEDOUT ||
		    p.result == -EHOSTUNREACH || p.result == -ENETUNREACH);
}

int main(void)
{
	static const struct guest_case cases[] = {
		{"echo", echoes},
		{"echo-iommu", echoes_behind_an_iommu},
		{"refusal", refuses},
	};

	return guest_run(cases, sizeof(cases) / sizeof(cases[0]));
}
