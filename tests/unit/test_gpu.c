/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A GPU's socket: both ends with each other, each against bytes written by hand, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vh/vh.h"
#include "vhi_gpu.h"

#define EDID  (1u << VH_GPU_PF_EDID)
#define BUF2  (1u << VH_GPU_PF_DMABUF2)
#define REPLY 4u

/* One end of the library's, and the other by hand; in scenarios both are the library's. */
static struct vh_gpu *gpu, *display;
static int raw;

static void make(bool is_display, const struct vh_gpu_opts *opts)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal((is_display ? vh_gpu_new_display : vh_gpu_new_device)(opts, sv[0], &gpu), 0);
	close(sv[0]);
	raw = sv[1];
}

static int tear_down(void **state)
{
	(void)state;
	vh_gpu_free(gpu);
	vh_gpu_free(display);
	gpu = display = NULL;
	if (raw >= 0)
		close(raw);
	raw = -1;
	return 0;
}

static int a_display(void **state)
{
	(void)state;
	make(true, &(struct vh_gpu_opts){.size = sizeof(struct vh_gpu_opts), .features = EDID | BUF2});
	return 0;
}

static int a_device(void **state)
{
	(void)state;
	make(false, NULL);
	return 0;
}

static int both(void **state)
{
	const struct vh_gpu_opts opts = {.size = sizeof(opts), .features = EDID | BUF2};

	(void)state;
	make(false, NULL);
	assert_int_equal(vh_gpu_new_display(&opts, raw, &display), 0);
	close(raw);
	raw = -1;
	return 0;
}

/* Words of 32 bits, as they are on the wire. */
static void put(const uint32_t *words, size_t n, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)words, .iov_len = n * sizeof(*words)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	assert_int_equal(sendmsg(raw, &msg, MSG_NOSIGNAL), n * sizeof(*words));
}

/* What is 64 bits wide lies in native order, the structs of virtio-gpu are little-endian. */
#if __BYTE_ORDER == __LITTLE_ENDIAN
#define U64(low, high) low, high
#define LE32(v)	       (v)
#else
#define U64(low, high) high, low
#define LE32(v)	       ((v) >> 24 | ((v) >> 8 & 0xff00u) | ((v) << 8 & 0xff0000u) | (uint32_t)(v) << 24)
#endif
#define WORDS(...)	((const uint32_t[]){__VA_ARGS__})
#define N_WORDS(...)	(sizeof(WORDS(__VA_ARGS__)) / sizeof(uint32_t))
#define PUT(...)	put(WORDS(__VA_ARGS__), N_WORDS(__VA_ARGS__), -1)
#define PUT_FD(fd, ...) put(WORDS(__VA_ARGS__), N_WORDS(__VA_ARGS__), fd)

/* Exactly these words come next. */
static void expect(const uint32_t *words, size_t n)
{
	uint32_t got[600];

	assert_true(n <= 600);
	assert_int_equal(recv(raw, got, n * sizeof(*words), MSG_WAITALL), n * sizeof(*words));
	assert_memory_equal(got, words, n * sizeof(*words));
}
#define EXPECT(...) expect(WORDS(__VA_ARGS__), N_WORDS(__VA_ARGS__))

static struct vh_gpu_msg take_from(struct vh_gpu *g, int *fd)
{
	struct vh_gpu_msg m = {.size = sizeof(m)};
	vh_fd got = -2;

	assert_int_equal(vh_gpu_recv(g, &m, &got), 1);
	assert_true(got >= -1);
	if (fd)
		*fd = got;
	else
		assert_int_equal(got, -1);
	return m;
}

static struct vh_gpu_msg take(int *fd)
{
	return take_from(gpu, fd);
}

static void expect_refused(int code, uint32_t site)
{
	struct vh_error e = {.size = sizeof(e)};
	struct vh_gpu_msg m = {.size = sizeof(m)};
	vh_fd fd = -2;
	char byte;

	assert_int_equal(vh_gpu_recv(gpu, &m, &fd), code);
	assert_int_equal(fd, -2);
	assert_int_equal(vh_error_get(&e), 0);
	assert_int_equal(e.site, site);
	/* It is over for both, and stays so. */
	assert_int_equal(recv(raw, &byte, 1, 0), 0);
	assert_int_equal(vh_gpu_recv(gpu, &m, &fd), -ENOTCONN);
	assert_int_equal(vh_error_get(&e), 0);
	assert_int_equal(e.site, site);
}

static void requests_are_taken_by_their_layout(void **state)
{
	struct vh_gpu_msg m;
	int fd, memfd = memfd_create("dma-buf", MFD_CLOEXEC);

	(void)state;
	PUT(4, 0, 12, /**/ 1, 2, 3);
	m = take(NULL);
	assert_int_equal(m.request, VH_GPU_CURSOR_POS);
	assert_int_equal(m.scanout_id, 1);
	assert_int_equal(m.x, 2);
	assert_int_equal(m.y, 3);
	PUT(5, 0, 12, /**/ 15, 0xffffffff, 0xffffffff);
	m = take(NULL);
	assert_int_equal(m.request, VH_GPU_CURSOR_POS_HIDE);
	assert_int_equal(m.scanout_id, 15);
	assert_int_equal(m.y, 0xffffffff);
	PUT(7, 0, 12, /**/ 3, 1920, 1080);
	m = take(NULL);
	assert_int_equal(m.request, VH_GPU_SCANOUT);
	assert_int_equal(m.scanout_id, 3);
	assert_int_equal(m.width, 1920);
	assert_int_equal(m.height, 1080);
	PUT(8, 0, 20 + 24, /**/ 1, 10, 20, 3, 2, /**/ 11, 12, 13, 21, 22, 23);
	m = take(NULL);
	assert_int_equal(m.request, VH_GPU_UPDATE);
	assert_int_equal(m.x, 10);
	assert_int_equal(m.y, 20);
	assert_int_equal(m.width, 3);
	assert_int_equal(m.height, 2);
	assert_int_equal(m.data_size, 24);
	assert_memory_equal((void *)(uintptr_t)m.data, WORDS(11, 12, 13, 21, 22, 23), 24);
	/* Nothing is left of it in the next one. */
	PUT(8, 0, 20, /**/ 1, 10, 20, 0, 5);
	m = take(NULL);
	assert_int_equal(m.data_size, 0);
	assert_int_equal(m.data, 0);
	PUT_FD(memfd, 9, 0, 40, /**/ 2, 1, 2, 640, 480, 800, 600, 3200, 7, 0x34325258);
	m = take(&fd);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	assert_int_equal(m.request, VH_GPU_DMABUF_SCANOUT);
	assert_int_equal(m.scanout_id, 2);
	assert_int_equal(m.height, 480);
	assert_int_equal(m.fd_width, 800);
	assert_int_equal(m.fd_height, 600);
	assert_int_equal(m.fd_stride, 3200);
	assert_int_equal(m.fd_flags, 7);
	assert_int_equal(m.fd_fourcc, 0x34325258);
	/* Without an fd: the scanout is off. */
	PUT(9, 0, 40, /**/ 2, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	take(NULL);
	PUT(10, 0, 20, /**/ 2, 1, 2, 30, 40);
	m = take(NULL);
	assert_int_equal(m.request, VH_GPU_DMABUF_UPDATE);
	assert_int_equal(m.width, 30);
	assert_int_equal(vh_gpu_reply_shown(gpu), 0);
	EXPECT(10, REPLY, 0);
	close(memfd);
}

static void features_are_settled_inside(void **state)
{
	struct vh_gpu_msg m = {.size = sizeof(m)};
	vh_fd fd;

	(void)state;
	PUT(1, 0, 0);
	assert_int_equal(vh_gpu_recv(gpu, &m, &fd), 0);
	EXPECT(1, REPLY, 8, /**/ U64(EDID | BUF2, 0));
	PUT(2, 0, 8, /**/ U64(BUF2, 0));
	PUT(12, 0, 48, /**/ 2, 1, 2, 640, 480, 800, 600, 3200, 7, 0x34325258, U64(0x89abcdef, 0x01234567));
	m = take(NULL);
	assert_int_equal(m.request, VH_GPU_DMABUF_SCANOUT2);
	assert_int_equal(m.modifier, UINT64_C(0x0123456789abcdef));
}

static void answers_have_their_layout_and_are_owed(void **state)
{
	const struct vh_gpu_mode one = {1, 2, 640, 480, 1, 9};
	uint32_t words[600] = {0};
	struct vh_gpu_msg m = {.size = sizeof(m)};
	vh_fd fd;

	(void)state;
	assert_int_equal(vh_gpu_reply_shown(gpu), -EINVAL);
	PUT(2, 0, 8, /**/ U64(EDID, 0));
	PUT(3, 0, 0);
	assert_int_equal(take(NULL).request, VH_GPU_GET_DISPLAY_INFO);
	assert_int_equal(vh_gpu_recv(gpu, &m, &fd), -EALREADY);
	assert_int_equal(vh_gpu_reply_edid(gpu, "x", 1), -EINVAL);
	assert_int_equal(vh_gpu_reply_modes(gpu, &one, 17), -EINVAL);
	assert_int_equal(vh_gpu_reply_modes(gpu, &one, 1), 0);
	assert_int_equal(vh_gpu_reply_modes(gpu, &one, 1), -EINVAL);
	memcpy(words,
	       WORDS(3, REPLY, 408, /**/ LE32(0x1101), 0, 0, 0, 0, 0, /**/ LE32(1), LE32(2), LE32(640), LE32(480),
		     LE32(1), LE32(9)),
	       15 * 4);
	expect(words, 3 + 408 / 4);
	PUT(11, 0, 4, /**/ 5);
	m = take(NULL);
	assert_int_equal(m.request, VH_GPU_GET_EDID);
	assert_int_equal(m.scanout_id, 5);
	assert_int_equal(vh_gpu_reply_edid(gpu, words, 1025), -EINVAL);
	assert_int_equal(vh_gpu_reply_edid(gpu, "EDID", 4), 0);
	memset(words, 0, sizeof(words));
	memcpy(words, WORDS(11, REPLY, 1056, /**/ LE32(0x1104), 0, 0, 0, 0, 0, /**/ LE32(4), 0), 11 * 4);
	memcpy(&words[11], "EDID", 4);
	expect(words, 3 + 1056 / 4);
}

/* Whatever is cut wherever, the same comes out. */
static void a_message_may_come_byte_by_byte(void **state)
{
	const uint32_t words[] = {8, 0, 28, /**/ 1, 2, 3, 2, 1, /**/ 77, 78};
	struct vh_gpu_msg m = {.size = sizeof(m)};
	vh_fd fd;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof(words); i++) {
			assert_int_equal(vh_gpu_recv(gpu, &m, &fd), 0);
			assert_int_equal(send(raw, (const char *)words + i, 1, 0), 1);
		}
		m = take(NULL);
		assert_memory_equal((void *)(uintptr_t)m.data, &words[8], 8);
	}
}

static void what_a_display_refuses(void **state)
{
	static const struct {
		uint32_t site;
		uint32_t n;
		uint32_t words[16];
		bool fd;
	} rows[] = {
		{VHI_SITE_GPU_UNKNOWN, 3, {13, 0, 0}, false},
		{VHI_SITE_GPU_UNKNOWN, 3, {0, 0, 0}, false},
		{VHI_SITE_GPU_FLAGS, 3, {3, REPLY, 0}, false},
		{VHI_SITE_GPU_FLAGS, 3, {3, 1, 0}, false},
		{VHI_SITE_GPU_SIZE, 4, {3, 0, 4, 0}, false},
		{VHI_SITE_GPU_SIZE, 5, {4, 0, 8, 0, 0}, false},
		{VHI_SITE_GPU_SIZE, 3, {6, 0, 20 + 16385}, false},
		{VHI_SITE_GPU_SIZE, 3, {8, 0, 20 + (64 << 20) + 1}, false},
		{VHI_SITE_GPU_SIZE, 3, {8, 0, 0xffffffff}, false},
		{VHI_SITE_GPU_SIZE, 9, {10, 0, 24, 0, 0, 0, 0, 0, 0}, false},
		{VHI_SITE_GPU_FD, 6, {4, 0, 12, 0, 0, 0}, true},
		{VHI_SITE_GPU_FEATURE, 4, {11, 0, 4, 0}, false},
		{VHI_SITE_GPU_FEATURE, 3, {12, 0, 48}, false},
		{VHI_SITE_GPU_SCANOUT, 6, {7, 0, 12, 16, 1, 1}, false},
		{VHI_SITE_GPU_SCANOUT, 6, {4, 0, 12, 0xffffffff, 1, 1}, false},
		{VHI_SITE_GPU_RECT, 8, {10, 0, 20, 0, 0xffffffff, 0, 1, 0}, false},
		{VHI_SITE_GPU_RECT, 8, {8, 0, 20, 0, 0, 0x80000000, 0, 0x80000000}, false},
		{VHI_SITE_GPU_DATA, 9, {8, 0, 24, 0, 0, 0, 2, 1, 0}, false},
		/* 2^16 x 2^16 pixels are 2^34 bytes: 0 of 32 bits. And the largest there can be. */
		{VHI_SITE_GPU_DATA, 8, {8, 0, 20, 0, 0, 0, 0x10000, 0x10000}, false},
		{VHI_SITE_GPU_DATA, 8, {8, 0, 20, 0, 0, 0, 0xffffffff, 0xffffffff}, false},
		{VHI_SITE_GPU_DATA, 8, {8, 0, 20, 0, 0, 0, 0x80000000, 0x80000000}, false},
		{VHI_SITE_GPU_DATA, 8, {6, 0, 20, 0, 0, 0, 0, 0}, false},
		{VHI_SITE_GPU_ACK, 5, {2, 0, 8, U64(4, 0)}, false},
		{VHI_SITE_GPU_ACK, 5, {2, 0, 8, U64(0, 1)}, false},
	};
	int memfd = memfd_create("dma-buf", MFD_CLOEXEC);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		a_display(state);
		put(rows[i].words, rows[i].n, rows[i].fd ? memfd : -1);
		expect_refused(-EPROTO, rows[i].site);
		tear_down(state);
	}
	close(memfd);
}

static void fds_belong_to_the_first_byte(void **state)
{
	int memfd = memfd_create("dma-buf", MFD_CLOEXEC);

	(void)state;
	PUT(9, 0, 40);
	PUT_FD(memfd, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_refused(-EPROTO, VHI_SITE_GPU_LATE_FD);
	close(memfd);
}

static void an_end_inside_a_message_is_told_from_another(void **state)
{
	struct vh_gpu_msg m = {.size = sizeof(m)};
	vh_fd fd;

	(void)state;
	PUT(4, 0, 12, /**/ 1);
	shutdown(raw, SHUT_WR);
	expect_refused(-ECONNRESET, VHI_SITE_GPU_CUT);
	tear_down(state);
	a_display(state);
	shutdown(raw, SHUT_WR);
	expect_refused(-ECONNRESET, 0);
	assert_int_equal(vh_gpu_recv(gpu, &m, &fd), -ENOTCONN);
}

static void a_message_has_to_end_in_time(void **state)
{
	const struct vh_gpu_opts opts = {.size = sizeof(opts), .timeout_ms = 1};
	struct vh_gpu_msg m = {.size = sizeof(m)};
	struct vh_error e = {.size = sizeof(e)};
	vh_fd fd;
	int rc;

	(void)state;
	make(true, &opts);
	PUT(4, 0, 12, /**/ 1);
	while (!(rc = vh_gpu_recv(gpu, &m, &fd)))
		poll(NULL, 0, 1);
	assert_int_equal(rc, -ETIMEDOUT);
	assert_int_equal(vh_error_get(&e), 0);
	assert_int_equal(e.site, VHI_SITE_GPU_DEADLINE);
}

/* A display must not be held up by who asks and does not read. */
static void a_device_that_does_not_read_is_dropped(void **state)
{
	struct vh_error e = {.size = sizeof(e)};
	struct vh_gpu_msg m = {.size = sizeof(m)};
	int rc = 0;

	(void)state;
	for (int i = 0; i < 100000 && !rc; i++) {
		vh_fd fd;

		PUT(1, 0, 0);
		rc = vh_gpu_recv(gpu, &m, &fd);
	}
	assert_int_equal(rc, -EPROTO);
	assert_int_equal(vh_error_get(&e), 0);
	assert_int_equal(e.site, VHI_SITE_GPU_QUEUE);
}

/* Nor by who agrees on the same again and again. */
static void a_device_that_agrees_without_end_is_dropped(void **state)
{
	struct vh_gpu_msg m = {.size = sizeof(m)};
	vh_fd fd;

	(void)state;
	for (int i = 0; i < 50; i++)
		PUT(2, 0, 8, /**/ 0, 0);
	assert_int_equal(vh_gpu_recv(gpu, &m, &fd), 0);
	for (int i = 0; i < 100; i++)
		PUT(2, 0, 8, /**/ 0, 0);
	expect_refused(-EPROTO, VHI_SITE_GPU_CHATTER);
}

static void requests_are_sent_by_their_layout(void **state)
{
	static const uint32_t pixels[] = {11, 12, 13, 21, 22, 23};
	static const uint32_t cursor[4096] = {1, 2};
	const struct vh_gpu_msg all = {.size = sizeof(all),
				       .scanout_id = 1,
				       .x = 2,
				       .y = 3,
				       .width = 3,
				       .height = 2,
				       .hot_x = 6,
				       .hot_y = 7,
				       .fd_width = 8,
				       .fd_height = 9,
				       .fd_stride = 10,
				       .fd_flags = 11,
				       .fd_fourcc = 12,
				       .modifier = UINT64_C(0x0123456789abcdef),
				       .data = (uintptr_t)pixels,
				       .data_size = sizeof(pixels)};
	struct vh_gpu_msg m = all;

	(void)state;
	m.request = VH_GPU_CURSOR_POS;
	assert_int_equal(vh_gpu_send(gpu, &m, -1), 0);
	EXPECT(4, 0, 12, /**/ 1, 2, 3);
	m.request = VH_GPU_CURSOR_POS_HIDE;
	assert_int_equal(vh_gpu_send(gpu, &m, -1), 0);
	EXPECT(5, 0, 12, /**/ 1, 2, 3);
	m.request = VH_GPU_SCANOUT;
	assert_int_equal(vh_gpu_send(gpu, &m, -1), 0);
	EXPECT(7, 0, 12, /**/ 1, 3, 2);
	m.request = VH_GPU_UPDATE;
	assert_int_equal(vh_gpu_send(gpu, &m, -1), 0);
	EXPECT(8, 0, 44, /**/ 1, 2, 3, 3, 2, /**/ 11, 12, 13, 21, 22, 23);
	m.request = VH_GPU_DMABUF_SCANOUT;
	assert_int_equal(vh_gpu_send(gpu, &m, -1), 0);
	EXPECT(9, 0, 40, /**/ 1, 2, 3, 3, 2, 8, 9, 10, 11, 12);
	m.request = VH_GPU_DMABUF_SCANOUT2;
	assert_int_equal(vh_gpu_send(gpu, &m, -1), -EOPNOTSUPP);
	m.request = VH_GPU_CURSOR_UPDATE;
	assert_int_equal(vh_gpu_send(gpu, &m, -1), -EINVAL);
	m.data = (uintptr_t)cursor;
	m.data_size = sizeof(cursor);
	assert_int_equal(vh_gpu_send(gpu, &m, -1), 0);
	EXPECT(6, 0, 20 + 16384, /**/ 1, 2, 3, 6, 7, /**/ 1, 2, 0);
}

struct answer {
	const uint32_t *words;
	size_t n;
	int fd;
};

/* By another thread, when the request is there: nothing may be said before that. */
static void *answering(void *arg)
{
	const struct answer *a = arg;
	uint32_t head[3];

	assert_int_equal(recv(raw, head, sizeof(head), MSG_WAITALL), sizeof(head));
	put(a->words, a->n, a->fd);
	return NULL;
}

static vh_count ask_displays(const uint32_t *words, size_t n, int fd)
{
	struct answer a = {words, n, fd};
	struct vh_gpu_mode d[16];
	pthread_t thread;
	vh_count rc;

	assert_int_equal(pthread_create(&thread, NULL, answering, &a), 0);
	rc = vh_gpu_get_modes(gpu, d, 16);
	pthread_join(thread, NULL);
	return rc;
}

static void expect_site(uint32_t site)
{
	struct vh_error e = {.size = sizeof(e)};
	struct vh_gpu_msg m = {.size = sizeof(m), .request = VH_GPU_SCANOUT};

	assert_int_equal(vh_error_get(&e), 0);
	assert_int_equal(e.site, site);
	assert_int_equal(vh_gpu_send(gpu, &m, -1), -ENOTCONN);
}

static void what_a_device_refuses(void **state)
{
	static const struct {
		uint32_t site;
		uint32_t head[3];
		bool fd;
	} rows[] = {
		{VHI_SITE_GPU_REPLY_FLAGS, {3, 0, 408}, false},
		{VHI_SITE_GPU_REPLY_FLAGS, {3, REPLY | 1, 408}, false},
		{VHI_SITE_GPU_REPLY_ID, {1, REPLY, 8}, false},
		{VHI_SITE_GPU_REPLY_ID, {11, REPLY, 408}, false},
		{VHI_SITE_GPU_REPLY_SIZE, {3, REPLY, 404}, false},
		{VHI_SITE_GPU_REPLY_SIZE, {3, REPLY, 0xffffffff}, false},
		{VHI_SITE_GPU_REPLY_FD, {3, REPLY, 408}, true},
	};
	int memfd = memfd_create("dma-buf", MFD_CLOEXEC);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t words[3 + 408 / 4] = {0};

		a_device(state);
		memcpy(words, rows[i].head, sizeof(rows[i].head));
		assert_int_equal(ask_displays(words, sizeof(words) / 4, rows[i].fd ? memfd : -1), -EPROTO);
		expect_site(rows[i].site);
		tear_down(state);
	}
	close(memfd);
}

static void a_reply_that_nobody_asked_for_ends_it(void **state)
{
	struct vh_gpu_mode d[16];

	(void)state;
	PUT(3, REPLY, 0);
	assert_int_equal(vh_gpu_get_modes(gpu, d, 16), -EPROTO);
	expect_site(VHI_SITE_GPU_UNSOLICITED);
}

static void an_edid_has_a_limit(void **state)
{
	static uint32_t features[] = {1, REPLY, 8, /**/ U64(EDID, 0)}, edid[3 + 1056 / 4] = {11, REPLY, 1056};
	struct answer a = {features, 5, -1}, b = {edid, 3 + 1056 / 4, -1};
	uint8_t buf[VH_GPU_EDID_MAX];
	uint64_t acked = 7;
	pthread_t thread;

	(void)state;
	assert_int_equal(vh_gpu_get_edid(gpu, 0, buf, sizeof(buf)), -EOPNOTSUPP);
	assert_int_equal(pthread_create(&thread, NULL, answering, &a), 0);
	assert_int_equal(vh_gpu_negotiate(gpu, UINT64_MAX, &acked), 0);
	pthread_join(thread, NULL);
	assert_int_equal(acked, EDID);
	EXPECT(2, 0, 8, /**/ U64(EDID, 0));

	edid[3 + 6] = LE32(1024);
	assert_int_equal(pthread_create(&thread, NULL, answering, &b), 0);
	assert_int_equal(vh_gpu_get_edid(gpu, 0, buf, 1023), -EMSGSIZE);
	pthread_join(thread, NULL);
	EXPECT(0); /* the scanout of the request */
	edid[3 + 6] = LE32(1025);
	assert_int_equal(pthread_create(&thread, NULL, answering, &b), 0);
	assert_int_equal(vh_gpu_get_edid(gpu, 0, buf, sizeof(buf)), -EPROTO);
	pthread_join(thread, NULL);
	expect_site(VHI_SITE_GPU_EDID_SIZE);
}

static void a_wait_has_a_deadline_and_what_is_late_is_never_taken(void **state)
{
	const struct vh_gpu_opts opts = {.size = sizeof(opts), .timeout_ms = 20};
	static uint8_t pixels[16 << 20];
	const struct vh_gpu_msg m = {.size = sizeof(m),
				     .request = VH_GPU_UPDATE,
				     .width = 2048,
				     .height = 2048,
				     .data = (uintptr_t)pixels,
				     .data_size = sizeof(pixels)};
	struct vh_gpu_mode d;

	make(false, &opts);
	assert_int_equal(vh_gpu_get_modes(gpu, &d, 1), -ETIMEDOUT);
	assert_int_equal(vh_gpu_get_modes(gpu, &d, 1), -ENOTCONN);
	tear_down(state);
	/* Nor does a display that does not read hold anybody up for longer. */
	make(false, &opts);
	assert_int_equal(vh_gpu_send(gpu, &m, -1), -ETIMEDOUT);
	assert_int_equal(vh_gpu_send(gpu, &m, -1), -ENOTCONN);
}

static void arguments_are_checked(void **state)
{
	const struct vh_gpu_opts offers = {.size = sizeof(offers), .features = EDID};
	const struct vh_gpu_opts unknown = {.size = sizeof(unknown), .features = 4};
	struct vh_gpu_msg m = {.size = sizeof(m), .request = VH_GPU_SCANOUT};
	struct vh_gpu *g = NULL;
	struct vh_gpu_mode d;
	int pipes[2], l = socket(AF_UNIX, SOCK_STREAM, 0);
	vh_fd fd;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(vh_gpu_new_device(&offers, raw, &g), -EINVAL);
	assert_int_equal(vh_gpu_new_display(&unknown, raw, &g), -EINVAL);
	assert_int_equal(vh_gpu_new_display(NULL, raw, NULL), -EINVAL);
	assert_int_equal(vh_gpu_new_display(NULL, pipes[0], &g), -ENOTSOCK);
	assert_int_equal(vh_gpu_new_display(NULL, l, &g), -ENOTCONN);
	assert_int_equal(bind(l, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(vh_gpu_new_display(NULL, l, &g), -EINVAL);
	assert_null(g);
	/* Each call is of one of the ends. */
	assert_int_equal(vh_gpu_recv(gpu, &m, &fd), -EINVAL);
	assert_int_equal(vh_gpu_reply_shown(gpu), -EINVAL);
	m.request = VH_GPU_GET_EDID;
	assert_int_equal(vh_gpu_send(gpu, &m, -1), -EINVAL);
	m.request = VH_GPU_SET_PROTOCOL_FEATURES;
	assert_int_equal(vh_gpu_send(gpu, &m, -1), -EINVAL);
	m.request = VH_GPU_SCANOUT;
	assert_int_equal(vh_gpu_send(gpu, &m, raw), -EINVAL);
	m.scanout_id = 16;
	assert_int_equal(vh_gpu_send(gpu, &m, -1), -EINVAL);
	assert_int_equal(vh_gpu_get_modes(gpu, NULL, 1), -EINVAL);
	tear_down(state);
	a_display(state);
	assert_int_equal(vh_gpu_get_modes(gpu, &d, 1), -EINVAL);
	assert_int_equal(vh_gpu_send(gpu, &m, -1), -EINVAL);
	close(pipes[0]);
	close(pipes[1]);
	close(l);
}

/* What a front-end does with the end that it keeps. */
static void *showing(void *arg)
{
	static const struct vh_gpu_mode modes[] = {{0, 0, 800, 600, 1, 0}, {800, 0, 640, 480, 1, 0}};
	uint32_t *shown = arg;

	for (;;) {
		struct pollfd p = {.fd = vh_gpu_fd(display), .events = POLLIN};
		struct vh_gpu_msg m = {.size = sizeof(m)};
		vh_fd fd;
		int rc = vh_gpu_recv(display, &m, &fd);

		if (rc == -ECONNRESET)
			return NULL;
		assert_true(rc >= 0);
		if (!rc) {
			poll(&p, 1, -1);
			continue;
		}
		if (m.request == VH_GPU_GET_DISPLAY_INFO)
			assert_int_equal(vh_gpu_reply_modes(display, modes, 2), 0);
		if (m.request == VH_GPU_GET_EDID)
			assert_int_equal(vh_gpu_reply_edid(display, "a monitor", 9), 0);
		if (m.request == VH_GPU_DMABUF_UPDATE)
			assert_int_equal(vh_gpu_reply_shown(display), 0);
		for (uint64_t i = 0; i < m.data_size; i += 4)
			shown[1] += *(uint32_t *)(uintptr_t)(m.data + i);
		shown[0]++;
		if (fd >= 0)
			close(fd);
	}
}

static void scenario_gpu(void **state)
{
	static uint32_t pixels[1024 * 768], shown[2];
	struct vh_gpu_msg m = {.size = sizeof(m), .request = VH_GPU_SCANOUT, .width = 1024, .height = 768};
	struct vh_gpu_mode modes[VH_GPU_MAX_SCANOUTS];
	char edid[VH_GPU_EDID_MAX];
	uint64_t acked;
	pthread_t thread;
	int memfd = memfd_create("dma-buf", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, showing, shown), 0);
	assert_int_equal(vh_gpu_negotiate(gpu, UINT64_MAX, &acked), 0);
	assert_int_equal(acked, EDID | BUF2);
	assert_int_equal(vh_gpu_get_modes(gpu, modes, 16), 16);
	assert_int_equal(modes[1].x, 800);
	assert_int_equal(modes[2].enabled, 0);
	assert_int_equal(vh_gpu_get_edid(gpu, 1, edid, sizeof(edid)), 9);
	assert_memory_equal(edid, "a monitor", 9);
	assert_int_equal(vh_gpu_send(gpu, &m, -1), 0);
	for (size_t i = 0; i < 1024 * 768; i++)
		pixels[i] = 1;
	m.request = VH_GPU_UPDATE;
	m.data = (uintptr_t)pixels;
	m.data_size = sizeof(pixels);
	for (int i = 0; i < 10; i++)
		assert_int_equal(vh_gpu_send(gpu, &m, -1), 0);
	m.request = VH_GPU_DMABUF_SCANOUT2;
	assert_int_equal(vh_gpu_send(gpu, &m, memfd), 0);
	m.request = VH_GPU_DMABUF_UPDATE;
	assert_int_equal(vh_gpu_send(gpu, &m, -1), 0);
	vh_gpu_free(gpu);
	gpu = NULL;
	pthread_join(thread, NULL);
	assert_int_equal(shown[0], 2 + 1 + 10 + 2);
	assert_int_equal(shown[1], 10 * 1024 * 768);
	close(memfd);
}

int main(void)
{
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, tear_down)
	const struct CMUnitTest tests[] = {
		T(requests_are_taken_by_their_layout, a_display),
		T(features_are_settled_inside, a_display),
		T(answers_have_their_layout_and_are_owed, a_display),
		T(a_message_may_come_byte_by_byte, a_display),
		T(what_a_display_refuses, NULL),
		T(fds_belong_to_the_first_byte, a_display),
		T(an_end_inside_a_message_is_told_from_another, a_display),
		T(a_message_has_to_end_in_time, NULL),
		T(a_device_that_agrees_without_end_is_dropped, a_display),
		T(a_device_that_does_not_read_is_dropped, a_display),
		T(requests_are_sent_by_their_layout, a_device),
		T(what_a_device_refuses, NULL),
		T(a_reply_that_nobody_asked_for_ends_it, a_device),
		T(an_edid_has_a_limit, a_device),
		T(a_wait_has_a_deadline_and_what_is_late_is_never_taken, NULL),
		T(arguments_are_checked, a_device),
		T(scenario_gpu, both),
	};

	raw = -1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
