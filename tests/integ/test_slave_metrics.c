/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A back-end on a page that others look at: its connection, its queues, what is in flight and how old that is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vht_metrics.h"
#include "vht_peer.h"

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static struct vh_metrics *m;
static struct vh_metrics_reader *reader;

static void open_page(uint32_t interval_ms)
{
	const struct vh_metrics_opts opts = {.size = sizeof(opts), .max_rows = 16, .interval_ms = interval_ms};

	assert_int_equal(vh_metrics_new(&opts, NULL, &m), 0);
	assert_int_equal(vh_metrics_reader_open((uint32_t)getpid(), 0, &reader), 0);
}

static int setup(void **state)
{
	(void)state;
	open_page(1);
	vht_peer_init(p, NULL, NULL, 0);
	assert_int_equal(vh_slave_set_metrics(p->s, m, "echo"), 0);
	return 0;
}

static int teardown(void **state)
{
	struct vh_metrics_row row = {.size = sizeof(row)};

	(void)state;
	vht_peer_free(p);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, 0, &row), 0);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_QUEUE, 0, &row), 0);
	vh_metrics_reader_free(reader);
	vh_metrics_free(m);
	return 0;
}

static struct vh_metrics_row connection(void)
{
	return vht_connection_row(reader);
}

static struct vh_metrics_row queue(uint32_t i)
{
	return vht_queue_row(reader, i);
}

/* Dispatch as a program does that sleeps on the fd, until a value of queue 0 is as it should be. */
static void until(uint32_t prop, uint64_t value)
{
	for (int i = 0; queue(0).values[prop] != value; i++) {
		struct pollfd fd = {.fd = vh_slave_fd(p->s), .events = POLLIN};

		assert_true(i < 1000 && poll(&fd, 1, 5000) == 1); /* its timer wakes it */
		assert_true(vh_slave_dispatch(p->s) >= 0);
	}
}

static void a_connection_is_told(void **state)
{
	struct vh_metrics_row row;

	(void)state;
	row = connection();
	assert_string_equal(row.name, "echo");
	assert_int_equal(row.values[VHI_CONNECTION_ROLE], VHI_ROLE_SLAVE);
	assert_int_equal(row.values[VHI_CONNECTION_STATE], VHI_IS_CONNECTED);
	assert_int_equal(row.values[VHI_CONNECTION_PEER_PID], getpid());
	assert_int_equal(row.values[VHI_CONNECTION_MESSAGES_IN], 0);
	assert_int_equal(row.values[VHI_CONNECTION_QUEUES], p->s->n_queues);

	vht_negotiate(p, VHT_VERSION | VHT_BIT30);
	vht_send_mem(p);
	row = connection();
	assert_int_equal(row.values[VHI_CONNECTION_FEATURES], VHT_VERSION | VHT_BIT30);
	assert_int_equal(row.values[VHI_CONNECTION_PF] & VHI_BIT(VH_PF_REPLY_ACK), VHI_BIT(VH_PF_REPLY_ACK));
	assert_int_equal(row.values[VHI_CONNECTION_OFFERED], p->s->features);
	assert_int_equal(row.values[VHI_CONNECTION_REGIONS], 1);
	assert_int_equal(row.values[VHI_CONNECTION_MEMORY], VHT_MEM_SIZE);
	assert_int_equal(row.values[VHI_CONNECTION_LAST_REQUEST], M_SET_MEM_TABLE);
	assert_int_equal(row.values[VHI_CONNECTION_MESSAGES_IN], vht_slave_stats(p).messages_in);
	assert_int_equal(row.values[VHI_CONNECTION_BYTES_IN], vht_slave_stats(p).bytes_in);
	assert_true(row.values[VHI_CONNECTION_CONNECTED] && row.values[VHI_CONNECTION_CONNECTED] <= row.now_ns);
	assert_true(row.values[VHI_CONNECTION_WRITTEN] >= row.values[VHI_CONNECTION_CONNECTED]);

	vht_nack_state(p, M_SET_VRING_NUM, 99, 256);
	assert_int_equal(connection().values[VHI_CONNECTION_REJECTED], 1);

	assert_int_equal(close(p->fd), 0);
	p->fd = -1;
	vht_pump(p);
	row = connection();
	assert_int_equal(row.values[VHI_CONNECTION_STATE], VHI_IS_IDLE);
	assert_int_equal(row.values[VHI_CONNECTION_FEATURES], 0);
	assert_int_equal(row.values[VHI_CONNECTION_PEER_PID], 0);
	assert_int_equal(row.values[VHI_CONNECTION_CONNECTIONS], 1);
}

static void a_queue_is_told(void **state)
{
	struct vh_metrics_row row;

	(void)state;
	assert_int_equal(queue(0).values[VHI_QUEUE_STATE], VH_QUEUE_STOPPED);
	assert_true(queue(0).values[VHI_QUEUE_AVAIL] == VH_METRICS_UNKNOWN);
	vht_peer_up(p);
	until(VHI_QUEUE_STATE, VH_QUEUE_RUNNING);
	vht_offer_echo(p, 0);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	until(VHI_QUEUE_COMPLETED, 2);
	row = queue(0);
	assert_int_equal(row.connection, connection().row);
	assert_int_equal(row.values[VHI_QUEUE_ENABLED], 1);
	assert_int_equal(row.values[VHI_QUEUE_LAYOUT], 0);
	assert_int_equal(row.values[VHI_QUEUE_SIZE], p->vq[0].num);
	assert_int_equal(row.values[VHI_QUEUE_REQUESTS], 2);
	assert_int_equal(row.values[VHI_QUEUE_AVAIL], p->vq[0].next);
	assert_int_equal(row.values[VHI_QUEUE_USED], vht_used(p, 0));
	assert_int_equal(row.values[VHI_QUEUE_BYTES_IN], 32);
	assert_int_equal(row.values[VHI_QUEUE_BYTES_OUT], 32);
	assert_int_equal(row.values[VHI_QUEUE_IN_FLIGHT], 0);
	assert_int_equal(row.values[VHI_QUEUE_OLDEST], 0);
	assert_int_equal(row.values[VHI_QUEUE_KICKS], 1);
	assert_int_equal(queue(1).values[VHI_QUEUE_STATE], VH_QUEUE_STOPPED);
}

static void what_is_in_flight_grows_old(void **state)
{
	struct vh_metrics_row row, later;

	(void)state;
	vht_peer_up(p);
	p->echo.hold = true;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	until(VHI_QUEUE_IN_FLIGHT, 1);
	row = queue(0);
	assert_true(row.values[VHI_QUEUE_OLDEST] != 0);
	/* Half a second later, whoever wrote meanwhile, the oldest is still the same one; the clock of requests is coarse. */
	poll(NULL, 0, 50);
	until(VHI_QUEUE_IN_FLIGHT, 1);
	vht_pump(p);
	later = queue(0);
	assert_true(later.now_ns - later.values[VHI_QUEUE_OLDEST] >= UINT64_C(40000000));
	/* Pushed by a call that is no dispatch: its timer finds it. */
	assert_int_equal(vht_push_held(p), 0);
	until(VHI_QUEUE_IN_FLIGHT, 0);
	assert_int_equal(queue(0).values[VHI_QUEUE_OLDEST], 0);
}

static void a_broken_queue_is_told(void **state)
{
	(void)state;
	vht_peer_up(p);
	*(uint16_t *)(p->mem + p->vq[0].avail + 2) = (uint16_t)(p->vq[0].next + p->vq[0].num + 1);
	vht_kick(p, 0);
	vht_pump(p);
	until(VHI_QUEUE_STATE, VH_QUEUE_BROKEN);
	assert_int_equal(queue(0).values[VHI_QUEUE_ERRORS], 1);
	assert_true(queue(0).values[VHI_QUEUE_SITE] != 0);
	assert_true(queue(0).values[VHI_QUEUE_AVAIL] == VH_METRICS_UNKNOWN);
}

static uint64_t inside_since;

static void look_inside(void *ctx)
{
	(void)ctx;
	inside_since = connection().values[VHI_CONNECTION_INSIDE];
}

/* A handler that hangs is seen from outside. */
static void a_dispatch_in_progress_is_told(void **state)
{
	(void)state;
	vht_peer_up(p);
	p->echo.on_batch_hook = look_inside;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_true(inside_since != 0 && inside_since <= vhi_now_ns());
	assert_int_equal(connection().values[VHI_CONNECTION_INSIDE], 0);
}

/* Nothing goes on, and nothing is written: an idle back-end sleeps. */
static void an_idle_back_end_sleeps(void **state)
{
	struct pollfd fd = {.events = POLLIN};

	(void)state;
	vht_peer_up(p);
	until(VHI_QUEUE_STATE, VH_QUEUE_RUNNING);
	fd.fd = vh_slave_fd(p->s);
	/* What was not written yet, or was in flight, is written once more; then there is silence. */
	for (int i = 0; i < 100 && poll(&fd, 1, 20) == 1; i++)
		assert_true(vh_slave_dispatch(p->s) >= 0);
	assert_int_equal(poll(&fd, 1, 50), 0);
}

static void it_can_be_told_otherwise(void **state)
{
	struct vh_metrics_row row = {.size = sizeof(row)};
	char name[VH_METRICS_NAME_SIZE + 1];

	(void)state;
	assert_int_equal(vh_slave_set_metrics(p->s, NULL, NULL), 0);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, 0, &row), 0);
	assert_int_equal(vh_slave_set_metrics(p->s, m, NULL), 0);
	assert_string_equal(connection().name, "");
	/* Twice is once. */
	assert_int_equal(vh_slave_set_metrics(p->s, m, "again"), 0);
	row = connection();
	assert_string_equal(row.name, "again");
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, row.row + 1, &row), 0);
	memset(name, 'x', sizeof(name));
	name[VH_METRICS_NAME_SIZE] = 0;
	assert_int_equal(vh_slave_set_metrics(p->s, m, name), -ENAMETOOLONG);
	assert_string_equal(connection().name, "again");
	assert_int_equal(vh_slave_set_metrics(NULL, m, NULL), -EINVAL);
}

static void a_page_can_be_full(void **state)
{
	struct vh_metrics_row row = {.size = sizeof(row)};
	const struct vh_metrics_opts opts = {.size = sizeof(opts), .max_rows = 2};
	struct vh_metrics *small;

	(void)state;
	assert_int_equal(vh_metrics_new(&opts, NULL, &small), 0);
	assert_int_equal(vh_slave_set_metrics(p->s, small, NULL), -ENOSPC);
	assert_int_equal(connection().row, 0); /* it stays where it is */
	vh_metrics_free(small);
	/* Another name needs no room. */
	uint32_t n = 0, taken[16];

	while (!vhi_metrics_take(m, VH_METRICS_QUEUE, 0, &taken[n]))
		n++;
	assert_int_equal(vh_slave_set_metrics(p->s, m, "renamed"), 0);
	assert_string_equal(connection().name, "renamed");
	assert_int_equal(connection().row, 0);
	while (n)
		vhi_metrics_give(m, taken[--n]);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_QUEUE, 0, &row), 1);
}

/* Where it listens is known from outside before anybody came. */
static void an_address_is_told(void **state)
{
	const struct vh_device_opts dev = {.size = sizeof(dev), .max_queues = 1};
	static const struct {
		const char *address, *told;
	} rows[] = {{"/tmp/vh-metrics-test.sock", "/tmp/vh-metrics-test.sock"},
		    {"unix:/tmp/vh-metrics-test.sock", "/tmp/vh-metrics-test.sock"},
		    {"@vh-metrics-test", "@vh-metrics-test"}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vh_metrics_row row = {.size = sizeof(row)};
		struct vht_peer other;

		memset(&other, 0, sizeof(other));
		vht_peer_prepare(&other, NULL, &dev, 0);
		assert_int_equal(vh_slave_set_metrics(other.s, m, "other"), 0);
		assert_int_equal(vh_slave_listen(other.s, rows[i].address), 0);
		assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, connection().row + 1, &row), 1);
		assert_string_equal(row.name, "other");
		assert_string_equal(row.address, rows[i].told);
		assert_int_equal(row.values[VHI_CONNECTION_STATE], VHI_IS_LISTENING);
		vht_peer_free(&other);
	}
}

/* All the room that there is for a name, and none for a NUL: the kernel counts one that is not there. */
static void the_longest_address_is_told(void **state)
{
	const struct vh_device_opts dev = {.size = sizeof(dev), .max_queues = 1};
	struct vh_metrics_row row = {.size = sizeof(row)};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char path[sizeof(at.sun_path) + 1] = "/tmp/vh-metrics-test-";
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct vht_peer other;

	(void)state;
	memset(path + strlen(path), 'x', sizeof(path) - 1 - strlen(path));
	memcpy(at.sun_path, path, sizeof(at.sun_path));
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	memset(&other, 0, sizeof(other));
	vht_peer_prepare(&other, NULL, &dev, 0);
	assert_int_equal(vh_slave_set_metrics(other.s, m, "other"), 0);
	assert_int_equal(vh_slave_adopt(other.s, fd), 0);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, connection().row + 1, &row), 1);
	assert_string_equal(row.address, path);
	vht_peer_free(&other);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_connection_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_queue_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_in_flight_grows_old, setup, teardown),
		cmocka_unit_test_setup_teardown(a_broken_queue_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dispatch_in_progress_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(an_idle_back_end_sleeps, setup, teardown),
		cmocka_unit_test_setup_teardown(it_can_be_told_otherwise, setup, teardown),
		cmocka_unit_test_setup_teardown(a_page_can_be_full, setup, teardown),
		cmocka_unit_test_setup_teardown(an_address_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(the_longest_address_is_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
