/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The page of metrics: who may change it, what a reader makes of one that somebody else wrote, and the properties. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vh/vh.h"
#include "vhi_metrics.h"

static struct vh_metrics *m;
static struct vh_metrics_reader *reader;

static int setup(void **state)
{
	const struct vh_metrics_opts opts = {.size = sizeof(opts), .max_rows = 8, .interval_ms = 7};

	(void)state;
	assert_int_equal(vh_metrics_new(&opts, "a test", &m), 0);
	assert_int_equal(vh_metrics_reader_open((uint32_t)getpid(), 0, &reader), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vh_metrics_reader_free(reader);
	vh_metrics_free(m);
	return 0;
}

static void assert_failed(int32_t rc, int32_t code, uint32_t site)
{
	struct vh_error e = {.size = sizeof(e)};

	assert_int_equal(rc, code);
	vh_error_get(&e);
	assert_int_equal(e.code, code);
	assert_int_equal(e.site, site);
}

static void the_head_says_whose_it_is(void **state)
{
	struct vh_metrics_info info = {.size = sizeof(info)};

	(void)state;
	assert_int_equal(vh_metrics_reader_get_info(reader, &info), 0);
	assert_int_equal(info.version, 1);
	assert_int_equal(info.pid, getpid());
	assert_int_equal(info.max_rows, 8);
	assert_int_equal(info.interval_ms, 7);
	assert_true(info.made_ns <= vhi_now_ns() && info.made_ns > vhi_now_ns() - UINT64_C(60000000000));
	assert_string_equal(info.name, "a test");
}

static void only_this_process_writes_it(void **state)
{
	int fd, writable;
	char path[64];

	(void)state;
	assert_int_equal(vh_metrics_dup_fd(m, &fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 1 << 20), -1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	writable = open(path, O_RDWR | O_CLOEXEC);
	assert_true(writable >= 0);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, writable, 0), MAP_FAILED);
	close(writable);
	close(fd);
}

static void there_may_be_several(void **state)
{
	struct vh_metrics_info info = {.size = sizeof(info)};
	struct vh_metrics_reader *r;
	struct vh_metrics *other;

	(void)state;
	assert_int_equal(vh_metrics_new(NULL, "another", &other), 0);
	assert_int_equal(vh_metrics_reader_open((uint32_t)getpid(), 1, &r), 0);
	assert_int_equal(vh_metrics_reader_get_info(r, &info), 0);
	assert_string_equal(info.name, "another");
	vh_metrics_reader_free(r);
	assert_failed(vh_metrics_reader_open((uint32_t)getpid(), 2, &r), -ENOENT, 0);
	vh_metrics_free(other);
	assert_failed(vh_metrics_reader_open((uint32_t)getpid(), 1, &r), -ENOENT, 0);
	assert_failed(vh_metrics_reader_open(0x7fffffff, 0, &r), -ESRCH, 0);
	assert_failed(vh_metrics_reader_open(0, 0, &r), -EINVAL, 0);
}

static void options_are_checked(void **state)
{
	struct vh_metrics_opts opts = {.size = sizeof(opts), .max_rows = 65537};
	char name[VH_METRICS_NAME_SIZE + 1];
	struct vh_metrics *other;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[VH_METRICS_NAME_SIZE] = 0;
	assert_failed(vh_metrics_new(&opts, NULL, &other), -EINVAL, 0);
	opts = (struct vh_metrics_opts){.size = sizeof(opts), .reserved = 1};
	assert_failed(vh_metrics_new(&opts, NULL, &other), -EINVAL, 0);
	assert_failed(vh_metrics_new(NULL, name, &other), -ENAMETOOLONG, 0);
	assert_failed(vh_metrics_new(NULL, NULL, NULL), -EINVAL, 0);
	assert_failed(vh_metrics_reader_adopt(-1, &reader), -EBADF, 0);
}

/* Rows are taken, written, read and given back. */
static void rows_come_and_go(void **state)
{
	struct vh_metrics_row row = {.size = sizeof(row)};
	const uint64_t values[] = {11, 22, 33};
	uint32_t connection, queue, more;

	(void)state;
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, 0, &row), 0);
	assert_int_equal(vhi_metrics_take(m, VH_METRICS_CONNECTION, UINT32_MAX, &connection), 0);
	assert_int_equal(vhi_metrics_take(m, VH_METRICS_QUEUE, connection, &queue), 0);
	vhi_metrics_write(m, connection, values, 2, "a\tname", "/run/\x01\xff.sock");
	vhi_metrics_write(m, queue, values, 3, NULL, NULL);
	vhi_metrics_put_value(m, queue, 1, 44);

	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, 0, &row), 1);
	assert_int_equal(row.row, connection);
	assert_int_equal(row.connection, connection);
	assert_int_equal(row.n_values, 2);
	assert_int_equal(row.values[1], 22);
	assert_int_equal(row.values[2], 0);
	assert_string_equal(row.name, "a?name"); /* nothing that a terminal would obey */
	assert_string_equal(row.address, "/run/??.sock");
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, row.row + 1, &row), 0);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_QUEUE, 0, &row), 1);
	assert_int_equal(row.connection, connection);
	assert_int_equal(row.values[1], 44);
	assert_failed(vh_metrics_reader_next(reader, 3, 0, &row), -EINVAL, 0);

	for (int i = 0; i < 6; i++)
		assert_int_equal(vhi_metrics_take(m, VH_METRICS_QUEUE, 0, &more), 0);
	assert_int_equal(vhi_metrics_take(m, VH_METRICS_QUEUE, 0, &more), -ENOSPC);
	vhi_metrics_give(m, queue);
	assert_int_equal(vhi_metrics_take(m, VH_METRICS_QUEUE, connection, &more), 0);
	assert_int_equal(more, queue);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_QUEUE, 0, &row), 1);
	assert_int_equal(row.n_values, 0); /* nothing of the one before */
}

/* A child that goes on with its parent's handles leaves the page alone. */
static void a_child_does_not_write(void **state)
{
	struct vh_metrics_row row = {.size = sizeof(row)};
	const uint64_t one = 1, two = 2;
	uint32_t at, more;
	pid_t pid;
	int status;

	(void)state;
	assert_int_equal(vhi_metrics_take(m, VH_METRICS_QUEUE, 0, &at), 0);
	vhi_metrics_write(m, at, &one, 1, NULL, NULL);
	pid = fork();
	if (!pid) {
		vhi_metrics_write(m, at, &two, 1, NULL, NULL);
		vhi_metrics_give(m, at);
		vhi_metrics_take(m, VH_METRICS_QUEUE, 0, &more);
		vhi_metrics_take(m, VH_METRICS_QUEUE, 0, &more);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_QUEUE, 0, &row), 1);
	assert_int_equal(row.values[0], 1);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_QUEUE, row.row + 1, &row), 0);
}

/* A page that somebody else wrote. */
static struct vhi_metrics_head *foreign;
static int foreign_fd;

static struct vhi_metrics_slot *foreign_slot(uint32_t row)
{
	return (struct vhi_metrics_slot *)(foreign + 1) + row;
}

static void make_foreign(size_t len, bool sealed)
{
	const struct vhi_metrics_head head = {.magic = htole64(VHI_METRICS_MAGIC),
					      .version = htole32(1),
					      .head_bytes = htole32(sizeof(head)),
					      .row_bytes = htole32(sizeof(struct vhi_metrics_slot)),
					      .max_rows = htole32(4)};

	foreign_fd = memfd_create("foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(foreign_fd, (off_t)len), 0);
	foreign = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, foreign_fd, 0);
	assert_ptr_not_equal(foreign, MAP_FAILED);
	if (len >= sizeof(head))
		*foreign = head;
	if (sealed)
		assert_int_equal(fcntl(foreign_fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
}

static void drop_foreign(void)
{
	munmap(foreign, 8192);
	close(foreign_fd);
}

/* The same head with one field of it changed. */
#define WITH_HEAD(member, value, code, site)                                         \
	do {                                                                         \
		struct vh_metrics_reader *r_;                                        \
		make_foreign(8192, true);                                            \
		foreign->member = (value);                                           \
		assert_failed(vh_metrics_reader_adopt(foreign_fd, &r_), code, site); \
		drop_foreign();                                                      \
	} while (0)

static void a_head_is_checked(void **state)
{
	struct vh_metrics_info info = {.size = sizeof(info)};
	struct vh_metrics_reader *r;

	(void)state;
	make_foreign(8192, true);
	memset(foreign->name, 'x', sizeof(foreign->name));
	assert_int_equal(vh_metrics_reader_adopt(foreign_fd, &r), 0);
	assert_int_equal(vh_metrics_reader_get_info(r, &info), 0);
	assert_int_equal(strlen(info.name), sizeof(info.name) - 1);
	vh_metrics_reader_free(r);
	drop_foreign();

	make_foreign(8192, false);
	assert_failed(vh_metrics_reader_adopt(foreign_fd, &r), -EPERM, VHI_SITE_METRICS_SEALS);
	drop_foreign();
	make_foreign(64, true);
	assert_failed(vh_metrics_reader_adopt(foreign_fd, &r), -EPROTO, VHI_SITE_METRICS_SMALL);
	drop_foreign();
	make_foreign(0, true);
	assert_int_equal(vh_metrics_reader_adopt(foreign_fd, &r), -EPROTO);
	drop_foreign();
	WITH_HEAD(magic, 1, -EPROTO, VHI_SITE_METRICS_MAGIC);
	WITH_HEAD(version, htole32(2), -EPROTO, VHI_SITE_METRICS_VERSION);
	WITH_HEAD(head_bytes, htole32(120), -EPROTO, VHI_SITE_METRICS_SHAPE);
	WITH_HEAD(head_bytes, htole32(132), -EPROTO, VHI_SITE_METRICS_SHAPE);
	WITH_HEAD(head_bytes, htole32(0xfffffff8), -EPROTO, VHI_SITE_METRICS_SHAPE);
	WITH_HEAD(row_bytes, htole32(760), -EPROTO, VHI_SITE_METRICS_SHAPE);
	WITH_HEAD(row_bytes, htole32(772), -EPROTO, VHI_SITE_METRICS_SHAPE);
	WITH_HEAD(max_rows, htole32(11), -EPROTO, VHI_SITE_METRICS_SHAPE);
	WITH_HEAD(max_rows, htole32(0xffffffff), -EPROTO, VHI_SITE_METRICS_SHAPE);
	/* All of them are in the file, but nobody makes so many. */
	make_foreign(sizeof(*foreign) + 65537 * sizeof(struct vhi_metrics_slot), true);
	foreign->max_rows = htole32(65537);
	assert_failed(vh_metrics_reader_adopt(foreign_fd, &r), -EPROTO, VHI_SITE_METRICS_SHAPE);
	foreign->max_rows = htole32(65536);
	assert_int_equal(vh_metrics_reader_adopt(foreign_fd, &r), 0);
	vh_metrics_reader_free(r);
	drop_foreign();
}

static void rows_are_checked(void **state)
{
	struct vh_metrics_row row = {.size = sizeof(row)};
	struct vh_metrics_reader *r;
	struct vhi_metrics_slot *slot;

	(void)state;
	make_foreign(8192, true);
	assert_int_equal(vh_metrics_reader_adopt(foreign_fd, &r), 0);
	slot = foreign_slot(1);
	slot->kind = htole32(VH_METRICS_QUEUE);
	slot->n_values = htole32(VH_METRICS_MAX_PROPS);
	memset(slot->name, 'x', sizeof(slot->name));
	memset(slot->address, 'y', sizeof(slot->address));
	assert_int_equal(vh_metrics_reader_next(r, VH_METRICS_QUEUE, 0, &row), 1);
	assert_int_equal(row.row, 1);
	assert_int_equal(strlen(row.name), sizeof(row.name) - 1);
	assert_int_equal(strlen(row.address), sizeof(row.address) - 1);

	slot->connection = htole32(4);
	assert_failed(vh_metrics_reader_next(r, VH_METRICS_QUEUE, 0, &row), -EPROTO, VHI_SITE_METRICS_OWNER);
	slot->connection = htole32(3);
	slot->n_values = htole32(VH_METRICS_MAX_PROPS + 1);
	assert_failed(vh_metrics_reader_next(r, VH_METRICS_QUEUE, 0, &row), -EPROTO, VHI_SITE_METRICS_VALUES);
	assert_int_equal(vh_metrics_reader_openmetrics(r, NULL, 0), -EPROTO);
	/* One whose writer died in the midst of it is passed over, and the next one told. */
	slot->seq = htole32(1);
	foreign_slot(3)->kind = htole32(VH_METRICS_QUEUE);
	assert_int_equal(vh_metrics_reader_next(r, VH_METRICS_QUEUE, 0, &row), 1);
	assert_int_equal(row.row, 3);
	vh_metrics_reader_free(r);
	drop_foreign();
}

/* A row is all of one moment: every value says the same. */
static uint32_t torn_row;

static void *write_rows(void *stop)
{
	uint64_t values[VH_METRICS_MAX_PROPS];
	uint64_t n = 0;

	while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED)) {
		n++;
		for (uint32_t i = 0; i < VH_METRICS_MAX_PROPS; i++)
			values[i] = n;
		vhi_metrics_write(m, torn_row, values, VH_METRICS_MAX_PROPS, NULL, NULL);
	}
	return NULL;
}

static void no_row_is_torn(void **state)
{
	struct vh_metrics_row row = {.size = sizeof(row)};
	pthread_t writer;
	bool stop = false;
	uint64_t last = 0;
	uint32_t seen = 0;

	(void)state;
	assert_int_equal(vhi_metrics_take(m, VH_METRICS_QUEUE, 0, &torn_row), 0);
	assert_int_equal(pthread_create(&writer, NULL, write_rows, &stop), 0);
	for (uint32_t i = 0; i < 20000; i++) {
		if (vh_metrics_reader_next(reader, VH_METRICS_QUEUE, 0, &row) != 1)
			continue;
		seen++;
		for (uint32_t k = 1; k < row.n_values; k++)
			assert_int_equal(row.values[k], row.values[0]);
		assert_true(row.values[0] >= last);
		last = row.values[0];
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(writer, NULL);
	assert_true(seen > 0);
}

static void every_property_has_words(void **state)
{
	(void)state;
	for (uint32_t kind = VH_METRICS_CONNECTION; kind <= VH_METRICS_QUEUE; kind++) {
		struct vh_metrics_prop p = {.size = sizeof(p)}, other = {.size = sizeof(other)};
		uint32_t n = 0;

		for (; !vh_metrics_get_prop(kind, n, &p); n++) {
			assert_in_range(p.type, VH_METRICS_NUMBER, VH_METRICS_TEXT);
			assert_true(strlen(p.name) > 0 &&
				    strspn(p.name, "abcdefghijklmnopqrstuvwxyz_") == strlen(p.name));
			assert_true(strlen(p.help) > 0 && p.help[strlen(p.help) - 1] == '.');
			assert_int_equal(p.type == VH_METRICS_TIME, !strcmp(p.unit, "seconds"));
			assert_int_equal(p.type == VH_METRICS_CHOICE, vh_metrics_choice(kind, n, 0) != NULL);
			assert_null(vh_metrics_choice(kind, n, 1000));
			for (uint32_t k = 0; k < n; k++) {
				assert_int_equal(vh_metrics_get_prop(kind, k, &other), 0);
				assert_string_not_equal(other.name, p.name);
			}
		}
		assert_failed(vh_metrics_get_prop(kind, n, &p), -ENOENT, 0);
		assert_true(n > 10 && n <= VH_METRICS_MAX_PROPS);
		assert_null(vh_metrics_choice(kind, n, 0));
	}
	struct vh_metrics_prop p = {.size = sizeof(p)};

	assert_failed(vh_metrics_get_prop(3, 0, &p), -EINVAL, 0);
	assert_null(vh_metrics_choice(3, 0, 0));
}

static void metrics_are_text(void **state)
{
	uint64_t values[VHI_CONNECTION_PROPS] = {[VHI_CONNECTION_ROLE] = VHI_ROLE_SLAVE,
						 [VHI_CONNECTION_STATE] = VHI_IS_CONNECTED,
						 [VHI_CONNECTION_MESSAGES_IN] = 77};
	uint32_t at, more;
	char *text;
	int n;

	(void)state;
	assert_int_equal(vhi_metrics_take(m, VH_METRICS_CONNECTION, UINT32_MAX, &at), 0);
	vhi_metrics_write(m, at, values, VHI_CONNECTION_PROPS, "a \"quoted\\name\"", "/run/x");
	/* Queues of which nothing was ever written: they would all be number 0. */
	assert_int_equal(vhi_metrics_take(m, VH_METRICS_QUEUE, at, &more), 0);
	assert_int_equal(vhi_metrics_take(m, VH_METRICS_QUEUE, at, &more), 0);
	n = vh_metrics_reader_openmetrics(reader, NULL, 0);
	assert_true(n > 0);
	text = calloc(1, (size_t)n + 100);
	assert_in_range(vh_metrics_reader_openmetrics(reader, text, (uint32_t)n + 100), n - 99, n + 99);
	assert_non_null(strstr(text, "libvh_connection_messages_received_total{connection=\"0\","
				     "name=\"a \\\"quoted\\\\name\\\"\"} 77\n"));
	assert_non_null(strstr(text, "libvh_connection_state=\"connected\"} 1\n"));
	assert_non_null(strstr(text, "address=\"/run/x\""));
	assert_null(strstr(text, "queue=\"0\""));
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	/* What does not fit is cut, and has an end. */
	memset(text, 'x', (size_t)n + 100);
	assert_true(vh_metrics_reader_openmetrics(reader, text, 10) > 10);
	assert_int_equal(strlen(text), 9);
	free(text);
}

/* Each queue is told under the name of its own connection, wherever that stands. */
static void a_queue_finds_its_connection(void **state)
{
	const struct vh_metrics_opts opts = {.size = sizeof(opts), .max_rows = 40};
	const uint64_t index = 0;
	struct vh_metrics_reader *r;
	struct vh_metrics *page;
	char name[32], wanted[160];
	uint32_t at[20], queue;
	char *text;
	int fd, n;

	(void)state;
	assert_int_equal(vh_metrics_new(&opts, NULL, &page), 0);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(vhi_metrics_take(page, VH_METRICS_CONNECTION, UINT32_MAX, &at[i]), 0);
		assert_int_equal(vhi_metrics_take(page, VH_METRICS_QUEUE, at[i], &queue), 0);
		snprintf(name, sizeof(name), "disk %u", i);
		vhi_metrics_write(page, at[i], NULL, 0, name, NULL);
		vhi_metrics_write(page, queue, &index, 1, NULL, NULL);
		vhi_metrics_put_value(page, queue, VHI_QUEUE_IN_FLIGHT, i);
	}
	vhi_metrics_give(page, at[7]);
	assert_int_equal(vh_metrics_dup_fd(page, &fd), 0);
	assert_int_equal(vh_metrics_reader_adopt(fd, &r), 0);
	close(fd);
	n = vh_metrics_reader_openmetrics(r, NULL, 0);
	text = calloc(1, (size_t)n + 1000);
	assert_non_null(text);
	assert_true(vh_metrics_reader_openmetrics(r, text, (uint32_t)n + 1000) > 0);
	for (uint32_t i = 0; i < 20; i++) {
		name[0] = 0;
		if (i != 7)
			snprintf(name, sizeof(name), "disk %u", i);
		snprintf(wanted, sizeof(wanted), "libvh_connection_info{connection=\"%u\",name=\"%s\"", at[i], name);
		assert_true(!strstr(text, wanted) == (i == 7));
	}
	free(text);
	vh_metrics_reader_free(r);
	vh_metrics_free(page);
}

/* What can't wait is written, also when it comes while another thread writes what was before. */
static void a_turn_is_not_lost(void **state)
{
	struct vhi_show *show;

	(void)state;
	assert_int_equal(vhi_show_begin("a test", m, NULL, 1, &show), 0);
	assert_true(vhi_show_turn(show, 1, true));
	assert_false(vhi_show_turn(show, 1, false));
	assert_false(vhi_show_turned(show));

	assert_true(vhi_show_turn(show, 1, true));
	assert_false(vhi_show_turn(show, 1, true)); /* the other thread */
	assert_true(vhi_show_turned(show));
	assert_false(vhi_show_turned(show));
	vhi_show_end(show);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_head_says_whose_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(only_this_process_writes_it, setup, teardown),
		cmocka_unit_test_setup_teardown(there_may_be_several, setup, teardown),
		cmocka_unit_test_setup_teardown(options_are_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(rows_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_does_not_write, setup, teardown),
		cmocka_unit_test_setup_teardown(a_head_is_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(rows_are_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(no_row_is_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(every_property_has_words, setup, teardown),
		cmocka_unit_test_setup_teardown(metrics_are_text, setup, teardown),
		cmocka_unit_test_setup_teardown(a_queue_finds_its_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(a_turn_is_not_lost, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
