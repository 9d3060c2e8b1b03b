/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The state of a device, out of a back-end and into one, through whatever the front-end gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vht_peer.h"

#define SAVE  0
#define LOAD  1
#define OURS  0x100 /* the reply: the file that was passed is used */
#define ROOM  300000u
#define QUICK 300 /* ms */

static struct vht_peer peer;
static struct vht_peer *const p = &peer;

/* A device that is nothing but its state. */
static struct box {
	uint8_t bytes[ROOM];
	uint8_t arriving[ROOM];
	uint64_t n, came; /* bytes; while they come */
	uint32_t step;	  /* most that it gives at a time */
	bool endless, wait;
	int32_t rc;
	uint64_t later;
	uint32_t saves, ends;
} box;

static int32_t box_save(void *ctx, uint64_t offset, void *buf, uint32_t cap, uint64_t later)
{
	struct box *b = ctx;
	uint64_t left = b->endless ? cap : b->n - offset;
	uint32_t most = cap < b->step ? cap : b->step;
	uint32_t n = (uint32_t)(left < most ? left : most);

	b->saves++;
	b->later = later;
	if (b->wait)
		return -EINPROGRESS;
	if (b->rc)
		return b->rc;
	assert_true(cap > 0);
	if (b->endless)
		memset(buf, 0, n);
	else
		memcpy(buf, b->bytes + offset, n);
	return (int32_t)n;
}

static int32_t box_load(void *ctx, uint64_t offset, const void *buf, uint32_t len, uint64_t later)
{
	struct box *b = ctx;

	b->later = later;
	if (b->rc)
		return b->rc;
	if (!offset)
		b->came = 0;
	assert_int_equal(offset, b->came);
	if (b->came + len > sizeof(b->arriving))
		return -ENOSPC;
	memcpy(b->arriving + offset, buf, len);
	b->came += len;
	if (!len) {
		b->ends++;
		memcpy(b->bytes, b->arriving, sizeof(b->bytes));
		b->n = b->came;
	}
	return b->wait ? -EINPROGRESS : 0;
}

static void open_box(const struct vh_slave_opts *opts)
{
	const struct vh_device_opts dev = {.size = sizeof(dev), .type = 26, .max_queues = VHT_QUEUES};
	const struct vh_device_ops ops = {.size = sizeof(ops), .save_state = box_save, .load_state = box_load};

	memset(&box, 0, sizeof(box));
	box.step = UINT32_MAX;
	vht_peer_prepare(p, NULL, NULL, 0);
	vh_slave_free(p->s);
	vh_device_free(p->dev);
	assert_int_equal(vh_device_new(&dev, &ops, &box, &p->dev), 0);
	assert_int_equal(vh_slave_new(opts, p->dev, NULL, NULL, &p->s), 0);
	vht_peer_connect(p);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
}

static int setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	open_box(NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

static void fill(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		box.bytes[i] = (uint8_t)(i * 31 + i / 255);
	box.n = n;
}

static void set_fd(uint32_t direction, uint32_t phase, int fd)
{
	const uint32_t payload[2] = {direction, phase};

	vht_msg(p, M_SET_DEVICE_STATE_FD, F_REQUEST, payload, sizeof(payload), fd);
}

static void begin(uint32_t direction, int fd)
{
	set_fd(direction, 0, fd);
	vht_expect_u64(p, M_SET_DEVICE_STATE_FD, OURS);
}

/* Ours, which does not block; the other end goes to the back-end and is closed here. */
static int begin_pipe(uint32_t direction)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	begin(direction, fds[direction == SAVE]);
	close(fds[direction == SAVE]);
	assert_int_equal(fcntl(fds[direction == LOAD], F_SETFL, O_NONBLOCK), 0);
	return fds[direction == LOAD];
}

static void expect_status(uint64_t value)
{
	vht_msg(p, M_CHECK_DEVICE_STATE, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_CHECK_DEVICE_STATE, value);
}

/* Everything until the end, as the back-end makes it. */
static uint64_t drain(int fd, uint8_t *out, uint64_t room)
{
	uint64_t n = 0;
	ssize_t got;

	for (;;) {
		got = read(fd, out + n, room - n);
		if (!got)
			return n;
		if (got > 0)
			n += (uint64_t)got;
		else
			vht_pump_wait(p);
	}
}

static void feed(int fd, const uint8_t *in, uint64_t n)
{
	while (n) {
		ssize_t put = write(fd, in, n);

		if (put < 0) {
			assert_int_equal(errno, EAGAIN);
			vht_pump_wait(p);
			continue;
		}
		in += put;
		n -= (uint64_t)put;
	}
}

static void expect_end(int32_t reason, uint64_t bytes)
{
	struct vh_event e = vht_event(p, VH_EVENT_STATE);

	assert_int_equal(e.reason, reason);
	assert_int_equal(e.value, bytes);
}

static void until_reason(int32_t reason)
{
	struct vh_event e = {.size = sizeof(e)};

	do {
		vht_pump_wait(p);
		while (vh_slave_next_event(p->s, &e) == 1 && e.kind != VH_EVENT_STATE)
			;
	} while (e.kind != VH_EVENT_STATE || e.reason == -EINPROGRESS);
	assert_int_equal(e.reason, reason);
}

static const uint64_t sizes[] = {0, 1, 4096, 65536, 65537, ROOM};

static void every_byte_is_saved(void **state)
{
	static uint8_t out[ROOM + 1];

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int fd;

		fill(sizes[i]);
		fd = begin_pipe(SAVE);
		assert_int_equal(drain(fd, out, sizeof(out)), sizes[i]);
		assert_memory_equal(out, box.bytes, sizes[i]);
		expect_status(0);
		expect_end(0, sizes[i]);
		close(fd);
	}
}

static void every_byte_is_loaded(void **state)
{
	static uint8_t in[ROOM];

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int fd = begin_pipe(LOAD);

		for (uint64_t k = 0; k < sizes[i]; k++)
			in[k] = (uint8_t)(k * 17 + i);
		feed(fd, in, sizes[i]);
		/* Asked before the end is there: the answer waits for it. */
		vht_msg(p, M_CHECK_DEVICE_STATE, F_REQUEST, NULL, 0, -1);
		vht_expect_silence(p);
		close(fd);
		vht_expect_u64(p, M_CHECK_DEVICE_STATE, 0);
		assert_int_equal(box.ends, i + 1);
		assert_int_equal(box.n, sizes[i]);
		assert_memory_equal(in, box.bytes, sizes[i]);
	}
}

static void a_socket_does_as_well(void **state)
{
	static uint8_t out[ROOM];
	int fds[2];

	(void)state;
	fill(ROOM);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	begin(SAVE, fds[1]);
	close(fds[1]);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	assert_int_equal(drain(fds[0], out, ROOM), ROOM);
	assert_memory_equal(out, box.bytes, ROOM);
	expect_status(0);
	close(fds[0]);
}

/* A file may lie anywhere, and block: the back-end gives something of its own instead. */
static void for_a_file_there_is_another_fd(void **state)
{
	static uint8_t out[ROOM];
	int fd;

	(void)state;
	fill(70000);
	set_fd(SAVE, 0, p->memfd);
	vht_expect_u64(p, M_SET_DEVICE_STATE_FD, 0);
	assert_int_equal(p->reply.n_fds, 1);
	fd = dup(p->reply.fds[0]);
	vht_close_fds(&p->reply);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	assert_int_equal(drain(fd, out, ROOM), 70000);
	assert_memory_equal(out, box.bytes, 70000);
	expect_status(0);
	close(fd);
}

static void the_wrong_end_is_refused(void **state)
{
	const int lowest = 0;
	int fds[2];

	(void)state;
	assert_true(fcntl(lowest, F_GETFD) >= 0 || open("/dev/null", O_RDONLY) == lowest);
	assert_int_equal(fcntl(lowest, F_SETFD, FD_CLOEXEC), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	for (uint32_t direction = SAVE; direction <= LOAD; direction++) {
		set_fd(direction, 0, fds[direction]);
		vht_expect_u64(p, M_SET_DEVICE_STATE_FD, 0x101);
		/* There was nothing to close, also not the fd that has the number of zeroed memory. */
		assert_int_equal(fcntl(lowest, F_GETFD), FD_CLOEXEC);
	}
	close(fds[0]);
	close(fds[1]);
	expect_status(1);
}

static void a_device_may_answer_later(void **state)
{
	uint8_t out[8] = {0};
	int fd;

	(void)state;
	box.wait = true;
	fd = begin_pipe(SAVE);
	assert_int_equal(box.saves, 1);
	assert_int_equal(read(fd, out, sizeof(out)), -1);
	assert_int_equal(vh_device_reply(p->dev, box.later, "late", 4, -1), 0);
	vht_pump(p);
	assert_int_equal(read(fd, out, sizeof(out)), 4);
	assert_string_equal((char *)out, "late");
	vht_msg(p, M_CHECK_DEVICE_STATE, F_REQUEST, NULL, 0, -1);
	vht_expect_silence(p);
	assert_int_equal(vh_device_finish(p->dev, box.later, 0), 0);
	vht_expect_u64(p, M_CHECK_DEVICE_STATE, 0);
	close(fd);

	fd = begin_pipe(LOAD);
	feed(fd, (const uint8_t *)"abc", 3);
	vht_pump(p);
	assert_int_equal(box.came, 3);
	close(fd);
	assert_int_equal(vh_device_finish(p->dev, box.later, 0), 0);
	vht_msg(p, M_CHECK_DEVICE_STATE, F_REQUEST, NULL, 0, -1);
	vht_expect_silence(p);
	assert_int_equal(vh_device_finish(p->dev, box.later, -EINVAL), 0);
	vht_expect_u64(p, M_CHECK_DEVICE_STATE, 1);
}

static void a_device_that_fails_is_told_of(void **state)
{
	int fd;

	(void)state;
	box.rc = -EIO;
	fd = begin_pipe(SAVE);
	vht_pump(p);
	expect_status(1);
	expect_end(-EIO, 0);
	close(fd);
	fd = begin_pipe(LOAD);
	feed(fd, (const uint8_t *)"abc", 3);
	vht_pump(p);
	expect_status(1);
	close(fd);
	expect_end(-EIO, 0);
}

/* 0x101 in the low byte's sense: refused, and no file of ours comes with it. */
static void case_077_running_rings(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	vht_send_mem(p);
	vht_ring_up(p, 0);
	set_fd(SAVE, 0, fds[1]);
	vht_expect_u64(p, M_SET_DEVICE_STATE_FD, 0x101);
	assert_int_equal(p->reply.n_fds, 0);
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
	begin(SAVE, fds[1]);
	close(fds[0]);
	close(fds[1]);
}

static void case_077_bad_direction_and_phase(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		set_fd(i == 0 ? 2 : i == 1 ? UINT32_MAX : 0, i == 2, p->memfd);
		vht_expect_u64(p, M_SET_DEVICE_STATE_FD, 0x101);
	}
	expect_status(1);
}

/* The signal that a write into it would raise is the program's, and does not come. */
static void case_077_a_reader_that_goes(void **state)
{
	int fd;

	(void)state;
	signal(SIGPIPE, SIG_DFL);
	box.endless = true;
	box.step = 4096;
	fd = begin_pipe(SAVE);
	vht_pump(p);
	close(fd);
	until_reason(-EPIPE);
	expect_status(1);
}

static void case_077_a_reader_that_does_not_read(void **state)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .drain_timeout_ms = QUICK};
	int fd;

	(void)state;
	vht_peer_free(p);
	open_box(&opts);
	box.endless = true;
	fd = begin_pipe(SAVE);
	until_reason(-ETIMEDOUT);
	/* The connection lives, and so may the next try. */
	expect_status(1);
	box.endless = false;
	close(fd);
	close(begin_pipe(LOAD));
	expect_status(0);
}

/* Asked meanwhile: it is the state's deadline that passes, and the front-end is told. */
static void case_077_a_writer_that_does_not_end(void **state)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .drain_timeout_ms = QUICK};
	int fd;

	(void)state;
	vht_peer_free(p);
	open_box(&opts);
	fd = begin_pipe(LOAD);
	feed(fd, (const uint8_t *)"abc", 3);
	vht_msg(p, M_CHECK_DEVICE_STATE, F_REQUEST, NULL, 0, -1);
	vht_expect_silence(p);
	until_reason(-ETIMEDOUT);
	vht_expect_u64(p, M_CHECK_DEVICE_STATE, 1);
	assert_int_equal(box.ends, 0);
	close(fd);
}

static void case_077_a_state_without_end(void **state)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .max_state_bytes = 100000};
	static uint8_t out[ROOM];
	int fd;

	(void)state;
	vht_peer_free(p);
	open_box(&opts);
	/* Just what is allowed, both ways. */
	fill(100000);
	fd = begin_pipe(SAVE);
	assert_int_equal(drain(fd, out, ROOM), 100000);
	close(fd);
	expect_status(0);
	fd = begin_pipe(LOAD);
	feed(fd, out, 100000);
	close(fd);
	expect_status(0);
	/* A byte more. */
	fill(100001);
	fd = begin_pipe(SAVE);
	assert_true(drain(fd, out, ROOM) <= 100000);
	close(fd);
	expect_status(1);
	box.n = 0;
	fd = begin_pipe(LOAD);
	while (write(fd, out, 4096) > 0 || errno == EAGAIN)
		vht_pump(p);
	close(fd);
	expect_status(1);
	assert_int_equal(box.n, 0);
}

static void one_at_a_time(void **state)
{
	int fd, fds[2];

	(void)state;
	fd = begin_pipe(LOAD);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	set_fd(SAVE, 0, fds[1]);
	vht_expect_u64(p, M_SET_DEVICE_STATE_FD, 0x101);
	feed(fd, (const uint8_t *)"abc", 3);
	/* Its end is here, though nobody has looked: then there is room. */
	close(fd);
	begin(SAVE, fds[1]);
	assert_int_equal(box.ends, 1);
	close(fds[0]);
	close(fds[1]);
}

/* The migration failed, and the device goes on where it is. */
static void a_ring_that_starts_ends_it(void **state)
{
	int fd;

	(void)state;
	vht_send_mem(p);
	box.wait = true;
	fd = begin_pipe(SAVE);
	vht_ring_up(p, 0);
	expect_end(-ECANCELED, 0);
	expect_status(1);
	assert_int_equal(vh_device_reply(p->dev, box.later, "x", 1, -1), -ESTALE);
	close(fd);
}

static void so_does_a_reset(void **state)
{
	int fd;

	(void)state;
	box.endless = true;
	fd = begin_pipe(SAVE);
	vht_ok(p, M_RESET_DEVICE, NULL, 0, -1);
	expect_end(-ECANCELED, box.saves * UINT64_C(65536));
	expect_status(1);
	close(fd);
}

static void and_the_end_of_the_connection(void **state)
{
	unsigned fds;
	int fd;

	(void)state;
	box.wait = true;
	fds = vht_open_fds();
	fd = begin_pipe(SAVE);
	close(p->fd);
	p->fd = -1;
	until_reason(-ECONNRESET);
	close(fd);
	assert_int_equal(vht_open_fds(), fds - 2);
}

static void without_the_callbacks_it_is_not_offered(void **state)
{
	(void)state;
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_PROTOCOL_FEATURES);
	assert_true(vht_u64(&p->reply, 0) >> VH_PF_DEVICE_STATE & 1);
	vht_peer_free(p);
	vht_peer_init(p, NULL, NULL, 0);
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_PROTOCOL_FEATURES);
	assert_false(vht_u64(&p->reply, 0) >> VH_PF_DEVICE_STATE & 1);
}

static void a_pause_waits_for_it(void **state)
{
	int fd;

	(void)state;
	fd = begin_pipe(LOAD);
	assert_int_equal(vh_slave_pause(p->s), -EINPROGRESS);
	close(fd);
	vht_pump(p);
	assert_int_equal(vh_slave_pause(p->s), 0);
	assert_int_equal(vh_slave_resume(p->s), 0);
	expect_status(0);
}

/* What the front-end asks after an upgrade was done before it. */
static void a_successor_knows_how_it_went(void **state)
{
	const struct vh_device_opts dev = {.size = sizeof(dev), .type = 26, .max_queues = VHT_QUEUES};
	const struct vh_device_ops ops = {.size = sizeof(ops), .save_state = box_save, .load_state = box_load};

	(void)state;
	for (uint32_t bad = 0; bad < 2; bad++) {
		struct vh_device *device;
		struct vh_slave *next;
		uint8_t bytes[8192];
		vh_fd fds[32];
		uint32_t n_fds;
		vh_count n;

		box.rc = bad ? -EIO : 0;
		close(begin_pipe(LOAD));
		vht_pump(p);
		assert_int_equal(vh_slave_pause(p->s), 0);
		n = vh_slave_export(p->s, bytes, sizeof(bytes), fds, 32, &n_fds);
		assert_true(n > 0);
		assert_int_equal(vh_device_new(&dev, &ops, &box, &device), 0);
		assert_int_equal(vh_slave_new(NULL, device, NULL, NULL, &next), 0);
		assert_int_equal(vh_slave_import(next, bytes, (uint32_t)n, fds, n_fds), 0);
		while (n_fds)
			close(fds[--n_fds]);
		vh_slave_free(p->s);
		vh_device_free(p->dev);
		p->s = next;
		p->dev = device;
		expect_status(bad);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(every_byte_is_saved),
		T(every_byte_is_loaded),
		T(a_socket_does_as_well),
		T(for_a_file_there_is_another_fd),
		T(the_wrong_end_is_refused),
		T(a_device_may_answer_later),
		T(a_device_that_fails_is_told_of),
		T(case_077_running_rings),
		T(case_077_bad_direction_and_phase),
		T(case_077_a_reader_that_goes),
		T(case_077_a_reader_that_does_not_read),
		T(case_077_a_writer_that_does_not_end),
		T(case_077_a_state_without_end),
		T(one_at_a_time),
		T(a_ring_that_starts_ends_it),
		T(so_does_a_reset),
		T(and_the_end_of_the_connection),
		T(without_the_callbacks_it_is_not_offered),
		T(a_successor_knows_how_it_went),
		T(a_pause_waits_for_it),
	};

	cmocka_set_test_filter(getenv("VHT_FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
