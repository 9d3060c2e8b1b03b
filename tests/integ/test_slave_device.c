/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What a user's device and its back-end owe each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vht_peer.h"

static struct vht_peer peer;
static struct vht_peer *const p = &peer;

static int setup(void **state)
{
	(void)state;
	vht_peer_init(p, NULL, NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

static char line[256]; /* the last one of the log */
static uint32_t lines;

static void get_log(void *ctx, uint32_t level, const char *text)
{
	(void)ctx;
	(void)level;
	snprintf(line, sizeof(line), "%s", text);
	lines++;
}

static void watch_log(void)
{
	const struct vh_logger_ops ops = {.size = sizeof(ops), .line = get_log};

	line[0] = 0;
	lines = 0;
	assert_int_equal(vh_slave_set_logger(p->s, &ops, NULL), 0);
}

/* A device whose requests are completed when its eventfd is signalled. */
static struct slow {
	int fd;
	struct vh_queue *q;
	uint64_t token;
	uint32_t popped, polls;
	int32_t rc;
} slow;

static int32_t slow_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct slow *d = ctx;
	struct vh_req req;

	(void)index;
	(void)budget;
	if (vh_queue_pop(q, &req, 1) == 1) {
		d->q = q;
		d->token = req.token;
		d->popped++;
	}
	return 0;
}

static int32_t slow_fd(void *ctx)
{
	return ((struct slow *)ctx)->fd;
}

static int32_t slow_poll(void *ctx)
{
	struct slow *d = ctx;
	struct vh_cpl cpl = {.token = d->token};

	d->polls++;
	vht_count(d->fd);
	return d->rc ? d->rc : vh_queue_push(d->q, &cpl, 1);
}

static void replace_device(const struct vh_device_ops *ops, void *ctx)
{
	const struct vh_device_opts opts = {.size = sizeof(opts)};

	vh_slave_free(p->s);
	vh_device_free(p->dev);
	close(p->fd);
	assert_int_equal(vh_device_new(&opts, ops, ctx, &p->dev), 0);
	assert_int_equal(vh_slave_new(NULL, p->dev, NULL, NULL, &p->s), 0);
	vht_peer_connect(p);
}

static void a_device_completes_from_its_own_fd(void **state)
{
	const struct vh_device_ops ops = {
		.size = sizeof(ops), .on_batch = slow_batch, .poll_fd = slow_fd, .on_poll = slow_poll};
	uint64_t one = 1;

	(void)state;
	slow = (struct slow){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
	replace_device(&ops, &slow);
	vht_peer_up(p);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(slow.popped, 1);
	assert_int_equal(slow.polls, 0);
	assert_int_equal(vht_used(p, 0), 0);
	assert_int_equal(write(slow.fd, &one, sizeof(one)), sizeof(one));
	vht_pump_wait(p);
	assert_int_equal(slow.polls, 1);
	assert_int_equal(vht_used(p, 0), 1);
	assert_int_equal(vht_count(p->vq[0].call), 1);

	/* What it has to complain of is in the log, and does not end anything. */
	watch_log();
	slow.rc = -EIO;
	assert_int_equal(write(slow.fd, &one, sizeof(one)), sizeof(one));
	vht_pump_wait(p);
	assert_non_null(strstr(line, "on_poll: EIO"));
	assert_int_equal(vht_slave_stats(p).connected, 1);
	close(slow.fd);
}

static void poll_fd_and_on_poll_need_each_other(void **state)
{
	const struct vh_device_opts opts = {.size = sizeof(opts)};
	const struct vh_device_ops deaf = {.size = sizeof(deaf), .poll_fd = slow_fd};
	const struct vh_device_ops blind = {.size = sizeof(blind), .on_poll = slow_poll};
	struct vh_device *dev = NULL;

	(void)state;
	assert_int_equal(vh_device_new(&opts, &deaf, &slow, &dev), -EINVAL);
	assert_int_equal(vh_device_new(&opts, &blind, &slow, &dev), -EINVAL);
	assert_null(dev);
}

static void a_device_can_give_a_queue_up(void **state)
{
	struct vh_event e;

	(void)state;
	vht_peer_up(p);
	vht_set_err(p, 0);
	p->echo.batch_rc = -EIO;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	e = vht_event(p, VH_EVENT_BROKEN);
	assert_int_equal(e.queue, 0);
	assert_int_equal(e.reason, -EIO);
	assert_int_equal(vht_count(p->vq[0].err), 1);
}

static void a_choice_of_features_ends_with_its_connection(void **state)
{
	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION | 1);
	assert_int_equal(p->echo.features, VHT_BIT30 | VHT_VERSION | 1);
	close(p->fd);
	vht_pump(p);
	assert_int_equal(p->echo.features, 0);

	/* One that the device has not answered yet, too. */
	vht_peer_connect(p);
	p->echo.features_rc = -EINPROGRESS;
	vht_negotiate(p, VHT_VERSION | 1);
	assert_int_equal(p->echo.features, VHT_VERSION | 1);
	close(p->fd);
	vht_pump(p);
	assert_int_equal(p->echo.features, 0);
	assert_int_equal(vh_device_finish(p->dev, p->echo.later, 0), -ESTALE);

	/* Where there was none, there is nothing to forget. */
	p->echo.features = 77;
	vht_peer_connect(p);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	close(p->fd);
	p->fd = -1;
	vht_pump(p);
	assert_int_equal(p->echo.features, 77);
}

static uint32_t syncs;

/* Instead of the C library's. */
int fdatasync(int fd)
{
	(void)fd;
	syncs++;
	return 0;
}

/* A request of the guest's that writes the first sector. */
static void offer_write(void)
{
	static const uint8_t flags[3] = {1, 1, 2};
	const uint64_t at[3] = {0x40000, 0x41000, 0x42000};
	const uint32_t len[3] = {htole32(16), htole32(512), htole32(1)}, type = htole32(1);
	uint16_t *avail = (uint16_t *)(void *)(p->mem + p->vq[0].avail);

	memset(p->mem + at[0], 0, 16);
	memcpy(p->mem + at[0], &type, sizeof(type));
	p->mem[at[2]] = 0xff;
	for (uint16_t i = 0; i < 3; i++) {
		uint8_t *d = p->mem + p->vq[0].desc + 16u * i;
		const uint64_t gpa = htole64(VHT_MEM_GPA + at[i]);
		const uint16_t f[2] = {htole16(flags[i]), htole16((uint16_t)(i + 1))};

		memcpy(d, &gpa, 8);
		memcpy(d + 8, &len[i], 4);
		memcpy(d + 12, f, 4);
	}
	avail[2 + p->vq[0].next % p->vq[0].num] = 0;
	__atomic_store_n(&avail[1], htole16(++p->vq[0].next), __ATOMIC_RELEASE);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(p->mem[at[2]], 0);
}

/* A driver that took FLUSH was here before; one that starts its ring without a choice relies on every write. */
static void a_ring_before_any_choice_is_one_without_features(void **state)
{
	const struct vh_blkdev_opts o = {.size = sizeof(o), .kind = VH_BLKDEV_FILE, .flags = VH_BLKDEV_NO_URING};
	int disk = memfd_create("disk", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(disk, 1 << 20), 0);
	vh_slave_free(p->s);
	vh_device_free(p->dev);
	close(p->fd);
	assert_int_equal(vh_blkdev_new(&o, disk, &p->dev), 0);
	assert_int_equal(vh_slave_new(NULL, p->dev, NULL, NULL, &p->s), 0);
	close(disk);

	vht_peer_connect(p);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION | 1 << 9);
	vht_send_mem(p);
	vht_ring_up(p, 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	offer_write();
	assert_int_equal(syncs, 0);
	close(p->fd);
	vht_pump(p);

	vht_peer_connect(p);
	memset(p->mem, 0, 0x4000);
	p->vq[0].next = 0;
	vht_msg_u64(p, M_SET_PROTOCOL_FEATURES, F_REQUEST, 8);
	vht_send_mem(p);
	vht_ring_up(p, 0);
	offer_write();
	assert_int_equal(syncs, 1);
}

static int ctl_fails; /* the n-th call of epoll_ctl from now */

/* Instead of the C library's. */
int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	if (ctl_fails && --ctl_fails == 0) {
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_epoll_ctl, epfd, op, fd, ev);
}

static void a_bad_kick_changes_nothing_of_a_ring_without_one(void **state)
{
	uint64_t v = 0;

	(void)state;
	vht_peer_up(p);
	v = 0x100;
	vht_ok_u64(p, M_SET_VRING_KICK, v);
	vht_offer_echo(p, 0);
	vh_slave_dispatch(p->s);
	vh_slave_dispatch(p->s);
	assert_int_equal(vht_used(p, 0), 1);
	v = 0;
	vht_msg(p, M_SET_VRING_KICK, F_NEED_REPLY, &v, sizeof(v), p->memfd);
	for (int i = 0; i < 3; i++)
		vh_slave_dispatch(p->s);
	assert_int_equal(vht_recv(p->fd, &p->reply), 1);
	assert_int_equal(vht_u64(&p->reply, 0), 1);
	/* It is looked at as before. */
	vht_offer_echo(p, 0);
	for (int i = 0; i < 3; i++)
		vh_slave_dispatch(p->s);
	assert_int_equal(vht_used(p, 0), 2);
}

static void a_kick_that_cannot_be_watched_is_no_fault_of_an_earlier_message(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t v = 0;

	(void)state;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	watch_log();
	/* Both in one round; the first one's check must not be told for the second. */
	vht_msg(p, M_SET_VRING_CALL, F_NEED_REPLY, &v, sizeof(v), p->memfd);
	vht_msg(p, M_SET_VRING_KICK, F_NEED_REPLY, &v, sizeof(v), fd);
	ctl_fails = 1;
	vht_pump(p);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(vht_recv(p->fd, &p->reply), 1);
		assert_int_equal(vht_u64(&p->reply, 0), 1);
	}
	assert_int_equal(ctl_fails, 0);
	assert_int_equal(lines, 2);
	assert_non_null(strstr(line, "no resources (check 0)"));
	vht_ok(p, M_SET_VRING_KICK, &v, sizeof(v), fd);
	close(fd);
}

static void a_socket_that_cannot_be_listened_on_is_taken_away_again(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "/tmp/vht-device-%d", (int)getpid());
	assert_int_equal(vh_slave_disconnect(p->s), 0);
	ctl_fails = 1;
	assert_int_equal(vh_slave_listen(p->s, path), -ENOSPC);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(vh_slave_listen(p->s, path), 0);
	assert_int_equal(access(path, F_OK), 0);
}

static uint64_t failed_of(uint32_t queue)
{
	struct vh_queue_stats st = {.size = sizeof(st)};
	struct vh_queue *q;

	assert_int_equal(vh_slave_queue(p->s, queue, &q), 0);
	assert_int_equal(vh_queue_get_stats(q, &st), 0);
	return st.failed;
}

static void fail_inside(void *ctx)
{
	(void)ctx;
	for (int i = 0; i < 3; i++)
		assert_int_equal(vh_device_error(p->dev, 0, i < 2 ? -EIO : -ENOSPC), 0);
}

static void counters_are_of_the_handle_and_of_the_connection(void **state)
{
	struct vh_slave_stats first, st;

	(void)state;
	vht_peer_up(p);
	for (int i = 0; i < 3; i++)
		vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	vht_nack_state(p, M_SET_VRING_NUM, 99, 16);
	p->echo.hold = true;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vh_device_error(p->dev, 3, -EIO), 0);
	first = vht_slave_stats(p);
	assert_int_equal(first.connections, 1);
	assert_int_equal(first.conn_messages_in, first.messages_in);
	assert_int_equal(first.conn_messages_out, first.messages_out);
	assert_int_equal(first.conn_bytes_in, first.bytes_in);
	assert_true(first.conn_bytes_out > 0 && first.conn_bytes_out == first.bytes_out);
	assert_int_equal(first.conn_rejected, 1);
	assert_int_equal(first.queue_requests, 4);
	assert_int_equal(first.queue_completed, 3);
	assert_int_equal(first.queue_failed, 1);
	assert_int_equal(first.queue_bytes_in, 4 * 16);
	assert_int_equal(first.queue_bytes_out, 3 * 16);
	assert_true(first.queue_kicks >= 1 && first.queue_calls >= 1);
	assert_int_equal(first.queue_errors, 0);
	assert_int_equal(first.queue_in_flight, 1);
	usleep(20000);
	assert_true(vht_slave_stats(p).oldest_in_flight_ns > 0);
	vht_push_held(p);

	/* The last connection's stay until the next one begins. */
	close(p->fd);
	vht_pump(p);
	st = vht_slave_stats(p);
	assert_int_equal(st.queue_requests, 4);
	assert_int_equal(st.conn_messages_in, first.messages_in);
	vht_peer_connect(p);
	st = vht_slave_stats(p);
	assert_int_equal(st.conn_messages_in, 0);
	assert_int_equal(st.messages_in, first.messages_in);
	assert_int_equal(st.queue_requests, 0);
	assert_int_equal(st.queue_failed, 0);
	assert_int_equal(st.queue_in_flight, 0);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	st = vht_slave_stats(p);
	assert_int_equal(st.conn_messages_in, 1);
	assert_int_equal(st.conn_bytes_in, 12);
	assert_int_equal(st.conn_bytes_out, 20);
	assert_int_equal(st.conn_rejected, 0);
	assert_int_equal(st.rejected, 1);
}

static void a_failing_device_is_not_silent(void **state)
{
	struct vh_event e;
	uint32_t before;

	(void)state;
	watch_log();
	vht_peer_up(p);
	before = p->echo.batches;
	p->echo.on_batch_hook = fail_inside;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	e = vht_event(p, VH_EVENT_DEVICE_ERROR);
	assert_int_equal(e.queue, 0);
	assert_int_equal(e.reason, -ENOSPC);
	assert_int_equal(e.value, 3 * (p->echo.batches - before));
	assert_int_equal(failed_of(0), 3 * (p->echo.batches - before));
	assert_int_equal(failed_of(1), 0);
	assert_non_null(strstr(line, "queue 0: the device failed: ENOSPC"));
	assert_int_equal(vht_slave_stats(p).connected, 1);
	assert_true(vht_no_event(p, VH_EVENT_DEVICE_ERROR));
}

static void *fail_elsewhere(void *arg)
{
	for (int i = 0; i < 1000; i++)
		assert_int_equal(vh_device_error(arg, (uint32_t)i % 2, -EIO), 0);
	return NULL;
}

static void failures_of_other_threads_wake_the_loop_and_count(void **state)
{
	pthread_t threads[2];
	uint64_t told[2] = {0};

	(void)state;
	watch_log();
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fail_elsewhere, p->dev), 0);
	while (told[0] < 1000 || told[1] < 1000) {
		struct vh_event e = {.size = sizeof(e)};

		vht_pump_wait(p);
		while (vh_slave_next_event(p->s, &e) == 1)
			if (e.kind == VH_EVENT_DEVICE_ERROR)
				told[e.queue] = e.value;
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(failed_of(0), 1000);
	assert_int_equal(failed_of(1), 1000);
	/* However many there are, they don't flood the log. */
	assert_in_range(lines, 1, 25);
}

static void failures_need_a_device_a_queue_of_it_and_an_errno(void **state)
{
	(void)state;
	assert_int_equal(vh_device_error(NULL, 0, -EIO), -EINVAL);
	assert_int_equal(vh_device_error(p->dev, VHT_QUEUES, -EIO), -EINVAL);
	assert_int_equal(vh_device_error(p->dev, 0, 0), -EINVAL);
	assert_int_equal(vh_device_error(p->dev, 0, 5), -EINVAL);
	vh_slave_free(p->s);
	p->s = NULL;
	assert_int_equal(vh_device_error(p->dev, 0, -EIO), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_device_completes_from_its_own_fd),
		T(poll_fd_and_on_poll_need_each_other),
		T(a_device_can_give_a_queue_up),
		T(a_choice_of_features_ends_with_its_connection),
		T(a_ring_before_any_choice_is_one_without_features),
		T(a_bad_kick_changes_nothing_of_a_ring_without_one),
		T(a_kick_that_cannot_be_watched_is_no_fault_of_an_earlier_message),
		T(a_socket_that_cannot_be_listened_on_is_taken_away_again),
		T(counters_are_of_the_handle_and_of_the_connection),
		T(a_failing_device_is_not_silent),
		T(failures_of_other_threads_wake_the_loop_and_count),
		T(failures_need_a_device_a_queue_of_it_and_an_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
