/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A driver session on a page that others look at: nobody dispatches it, and what is in flight is told all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhi_driver.h"
#include "vht_metrics.h"
#include "vht_session.h"

#define MIB	 (UINT64_C(1) << 20)
#define KIND	 (*(const enum vht_kind *)*state)
#define QUEUES	 2u
#define FOR_EVER 3600000u /* ms: after the first time a row is written whole only when something asks for it */

static struct vh_metrics *m;
static struct vh_metrics_reader *reader;

static void open_page(uint32_t interval_ms)
{
	const struct vh_metrics_opts opts = {.size = sizeof(opts), .max_rows = 8, .interval_ms = interval_ms};

	assert_int_equal(vh_metrics_new(&opts, NULL, &m), 0);
	assert_int_equal(vh_metrics_reader_open((uint32_t)getpid(), 0, &reader), 0);
}

static void close_page(void)
{
	vh_metrics_reader_free(reader);
	vh_metrics_free(m);
}

static void begin(void **state, struct vht_session *s, bool held)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .type = VH_TYPE_BLK, .n_queues = QUEUES};

	vht_session_disk(s, KIND, MIB, 0, QUEUES);
	vht_session_begin(s, &o, MIB);
	vht_disk_hold(s->disk, held);
	assert_int_equal(vh_driver_set_metrics(s->d, m, "session"), 0);
}

static void submit(struct vht_session *s, uint32_t queue)
{
	const struct vh_blk_io io = {.op = VH_BLK_READ, .addr = (uint64_t)(uintptr_t)s->buf, .len = 512};

	assert_int_equal(vh_blk_submit(s->b, queue, &io, 1), 1);
}

static struct vh_metrics_row connection(void)
{
	return vht_connection_row(reader);
}

static struct vh_metrics_row queue(uint32_t i)
{
	return vht_queue_row(reader, i);
}

static void a_session_is_told(void **state)
{
	struct vh_metrics_row row;
	struct vht_session s;

	open_page(1);
	begin(state, &s, false);
	row = connection();
	assert_string_equal(row.name, "session");
	assert_int_equal(row.values[VHI_CONNECTION_ROLE], VHI_ROLE_DRIVER);
	assert_int_equal(row.values[VHI_CONNECTION_STATE], VHI_IS_CONNECTED);
	assert_int_equal(row.values[VHI_CONNECTION_FEATURES], s.d->features);
	assert_int_equal(row.values[VHI_CONNECTION_QUEUES], QUEUES);
	assert_true(row.values[VHI_CONNECTION_REGIONS] >= 1 && row.values[VHI_CONNECTION_MEMORY] >= MIB);
	assert_true(row.values[VHI_CONNECTION_MESSAGES_IN] == VH_METRICS_UNKNOWN);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(
			vht_session_io(
				&s, 1,
				(struct vh_blk_io){.op = VH_BLK_READ, .addr = (uint64_t)(uintptr_t)s.buf, .len = 512}),
			0);
	assert_int_equal(vh_driver_stop(s.d, 0, VHT_WAIT_MS), 0);
	row = queue(1);
	assert_int_equal(row.values[VHI_QUEUE_REQUESTS], 3);
	assert_int_equal(row.values[VHI_QUEUE_COMPLETED], 3);
	assert_int_equal(queue(0).values[VHI_QUEUE_REQUESTS], 0);
	assert_int_equal(vh_driver_set_metrics(s.d, NULL, NULL), 0);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, 0, &row), 0);
	assert_int_equal(vh_driver_set_metrics(NULL, m, NULL), -EINVAL);
	vht_session_end(&s);
	close_page();
}

/* Between two times at which all is written, what is in flight is right, and since when. */
static void what_is_in_flight_is_always_right(void **state)
{
	struct vh_blk_done done;
	struct vht_session s;
	uint64_t since;

	open_page(FOR_EVER);
	begin(state, &s, true);
	submit(&s, 0);
	assert_int_equal(queue(0).values[VHI_QUEUE_IN_FLIGHT], 1);
	since = queue(0).values[VHI_QUEUE_OLDEST];
	assert_true(since && since <= vhi_now_ns());
	submit(&s, 0);
	assert_int_equal(queue(0).values[VHI_QUEUE_IN_FLIGHT], 2);
	assert_int_equal(queue(0).values[VHI_QUEUE_OLDEST], since);
	assert_int_equal(queue(1).values[VHI_QUEUE_IN_FLIGHT], 0);
	vht_disk_hold(s.disk, false);
	for (uint32_t left = 2; left;) {
		assert_int_equal(vh_blk_wait(s.b, 0, VHT_WAIT_MS), 0);
		left -= (uint32_t)vh_blk_reap(s.b, 0, &done, 1);
		assert_int_equal(queue(0).values[VHI_QUEUE_IN_FLIGHT], left);
	}
	assert_int_equal(queue(0).values[VHI_QUEUE_OLDEST], 0);
	vht_session_end(&s);
	close_page();
}

/* Each queue has its thread; all of them write. */
struct lane {
	struct vht_session *s;
	uint32_t queue;
};

static void *drive(void *arg)
{
	const struct lane *l = arg;
	struct vh_blk_io io = {.op = VH_BLK_READ, .len = 512};
	struct vh_blk_done done;

	io.addr = (uint64_t)(uintptr_t)l->s->buf + l->queue * 4096u;
	for (uint32_t i = 0; i < 300; i++) {
		if (vh_blk_submit(l->s->b, l->queue, &io, 1) != 1)
			return "submit";
		while (vh_blk_reap(l->s->b, l->queue, &done, 1) != 1)
			if (vh_blk_wait(l->s->b, l->queue, VHT_WAIT_MS))
				return "wait";
	}
	return NULL;
}

static void threads_write_together(void **state)
{
	struct lane lanes[QUEUES];
	pthread_t threads[QUEUES];
	struct vht_session s;
	void *failed;

	open_page(1);
	begin(state, &s, false);
	for (uint32_t i = 0; i < QUEUES; i++) {
		lanes[i] = (struct lane){&s, i};
		assert_int_equal(pthread_create(&threads[i], NULL, drive, &lanes[i]), 0);
	}
	for (uint32_t i = 0; i < QUEUES; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(vh_driver_stop(s.d, 0, VHT_WAIT_MS), 0);
	for (uint32_t i = 0; i < QUEUES; i++) {
		assert_int_equal(queue(i).values[VHI_QUEUE_COMPLETED], 300);
		assert_int_equal(queue(i).values[VHI_QUEUE_IN_FLIGHT], 0);
	}
	vht_session_end(&s);
	close_page();
}

/* Whoever writes leaves while others come all the time, and who comes next tells what came meanwhile. */
static void a_writer_leaves_whoever_comes(void **state)
{
	struct vh_blk_done done;
	struct vht_session s;
	uint32_t rounds = 0;

	open_page(FOR_EVER);
	begin(state, &s, true);
	submit(&s, 1);
	for (bool more = vhi_show_turn(s.d->show, vhi_now_ns(), true); more; more = vhi_show_turned(s.d->show)) {
		assert_in_range(++rounds, 1, 16);
		assert_int_equal(vh_blk_reap(s.b, 1, &done, 1), 0);
		/* As if it had been looked at before. */
		vhi_metrics_put_value(m, s.d->show->queues[1], VHI_QUEUE_IN_FLIGHT, 9);
	}
	assert_int_equal(vh_blk_reap(s.b, 0, &done, 1), 0);
	assert_int_equal(queue(1).values[VHI_QUEUE_IN_FLIGHT], 1);
	vht_disk_hold(s.disk, false);
	vht_session_end(&s);
	close_page();
}

/* It is taken away, put on again and called otherwise while queues run and are told of. */
static void it_is_replaced_while_queues_run(void **state)
{
	struct vh_metrics_row row = {.size = sizeof(row)};
	struct vh_metrics *other;
	pthread_t threads[QUEUES];
	struct lane lanes[QUEUES];
	struct vht_session s;
	void *failed;

	open_page(1);
	assert_int_equal(vh_metrics_new(NULL, "other", &other), 0);
	begin(state, &s, false);
	for (uint32_t i = 0; i < QUEUES; i++) {
		lanes[i] = (struct lane){&s, i};
		assert_int_equal(pthread_create(&threads[i], NULL, drive, &lanes[i]), 0);
	}
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(vh_driver_set_metrics(s.d, i % 3 ? m : other, i % 2 ? "one" : "two"), 0);
		if (i % 5 == 0)
			assert_int_equal(vh_driver_set_metrics(s.d, NULL, NULL), 0);
	}
	for (uint32_t i = 0; i < QUEUES; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(vh_driver_set_metrics(s.d, m, "last"), 0);
	assert_string_equal(connection().name, "last");
	assert_int_equal(connection().values[VHI_CONNECTION_STATE], VHI_IS_CONNECTED);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, connection().row + 1, &row), 0);
	assert_int_equal(queue(0).values[VHI_QUEUE_COMPLETED], 300);
	vh_metrics_free(other);
	vht_session_end(&s);
	close_page();
}

/* A child of fork() that goes on with the session leaves the page as it is. */
static void a_child_writes_nothing(void **state)
{
	struct vht_session s;
	pid_t pid;
	int status;

	open_page(1);
	begin(state, &s, true);
	submit(&s, 0);
	pid = fork();
	if (!pid) {
		submit(&s, 0);
		vhi_driver_show(s.d, true);
		_exit(vh_driver_set_metrics(s.d, NULL, NULL));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(queue(0).values[VHI_QUEUE_IN_FLIGHT], 1);
	assert_string_equal(connection().name, "session");
	vht_disk_hold(s.disk, false);
	vht_session_end(&s);
	close_page();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VHT_OVER(a_session_is_told),
		VHT_USER_ONLY(what_is_in_flight_is_always_right),
		VHT_USER_ONLY(threads_write_together),
		VHT_USER_ONLY(it_is_replaced_while_queues_run),
		VHT_USER_ONLY(a_writer_leaves_whoever_comes),
		VHT_USER_ONLY(a_child_writes_nothing),
	};

	return vht_run(tests);
}
