/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A reader of metrics where the system does what a test can't have it do: a writer without a processor, huge pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vh/vh.h"
#include "vhi_metrics.h"

static struct vh_metrics *m;
static struct vh_metrics_reader *reader;
static struct vhi_metrics_slot *slots; /* of the page, as its writer has them */
static uint32_t naps;		       /* of the reader */
static uint32_t writes_until;	       /* the nap that ends what is written at the first row */
static bool no_wipe, huge;

static int fake_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	assert_null(fds);
	assert_int_equal(n, 0);
	assert_int_equal(timeout_ms, 1);
	if (++naps == writes_until)
		slots[0].seq = htole32(le32toh(slots[0].seq) + 1);
	return 0;
}

static int fake_fcntl(int fd, int cmd, uintptr_t arg)
{
	return fcntl(fd, cmd, arg);
}

static int fake_fstatfs(int fd, struct statfs *st)
{
	const int rc = fstatfs(fd, st);

	if (huge)
		st->f_type = HUGETLBFS_MAGIC;
	return rc;
}

static int fake_madvise(void *addr, size_t len, int advice)
{
	if (!no_wipe)
		return madvise(addr, len, advice);
	errno = EINVAL;
	return -1;
}

const struct vhi_sys vhi_sys = {
	.calloc = calloc,
	.free = free,
	.close = close,
	.fcntl = fake_fcntl,
	.fstat = fstat,
	.fstatfs = fake_fstatfs,
	.ftruncate = ftruncate,
	.madvise = fake_madvise,
	.memfd_create = (int (*)(const char *, unsigned))memfd_create,
	.mmap = mmap,
	.munmap = munmap,
	.poll = fake_poll,
};

static int setup(void **state)
{
	const struct vh_metrics_opts opts = {.size = sizeof(opts), .max_rows = 4};
	int fd;

	(void)state;
	naps = writes_until = 0;
	assert_int_equal(vh_metrics_new(&opts, NULL, &m), 0);
	slots = (struct vhi_metrics_slot *)(VHI_SHM_RAW(struct vhi_metrics_head, m->base) + 1);
	assert_int_equal(vh_metrics_dup_fd(m, &fd), 0);
	assert_int_equal(vh_metrics_reader_adopt(fd, &reader), 0);
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vh_metrics_reader_free(reader);
	vh_metrics_free(m);
	no_wipe = huge = false;
	return 0;
}

static void take_row(bool written)
{
	uint32_t row;

	assert_int_equal(vhi_metrics_take(m, VH_METRICS_CONNECTION, UINT32_MAX, &row), 0);
	if (!written)
		slots[row].seq = htole32(le32toh(slots[row].seq) + 1);
}

/* It lost its processor: a row is no less there. */
static void a_writer_is_waited_for(void **state)
{
	struct vh_metrics_row row = {.size = sizeof(row)};

	(void)state;
	take_row(false);
	writes_until = 3;
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, 0, &row), 1);
	assert_int_equal(row.row, 0);
	assert_int_equal(naps, 3);
}

/* One that died in the midst of it, or was told to be a nuisance. */
static void not_for_ever(void **state)
{
	struct vh_metrics_row row = {.size = sizeof(row)};

	(void)state;
	take_row(false);
	take_row(false);
	take_row(true);
	assert_int_equal(vh_metrics_reader_next(reader, VH_METRICS_CONNECTION, 0, &row), 1);
	assert_int_equal(row.row, 2);
	assert_int_equal(naps, VHI_METRICS_WAIT_MS);
	naps = 0;
	assert_true(vh_metrics_reader_openmetrics(reader, NULL, 0) > 0);
	assert_int_equal(naps, VHI_METRICS_WAIT_MS);
}

static void huge_pages_are_refused(void **state)
{
	struct vh_error e = {.size = sizeof(e)};
	struct vh_metrics_reader *r;
	int fd;

	(void)state;
	huge = true;
	assert_int_equal(vh_metrics_dup_fd(m, &fd), 0);
	assert_int_equal(vh_metrics_reader_adopt(fd, &r), -EPERM);
	vh_error_get(&e);
	assert_int_equal(e.site, VHI_SITE_METRICS_SEALS);
	close(fd);
}

/* Whichever way it finds out that it is one. */
static void a_child_puts_no_values(void **state)
{
	struct vh_metrics *page;
	uint32_t row;
	pid_t pid;
	int status;

	(void)state;
	for (int wipe = 0; wipe < 2; wipe++) {
		no_wipe = !wipe;
		assert_int_equal(vh_metrics_new(NULL, NULL, &page), 0);
		if (no_wipe)
			assert_null(page->parent);
		assert_int_equal(vhi_metrics_take(page, VH_METRICS_QUEUE, 0, &row), 0);
		vhi_metrics_put_value(page, row, 1, 11);
		pid = fork();
		if (!pid) {
			vhi_metrics_put_value(page, row, 1, 22);
			vh_metrics_free(page);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_int_equal(vhi_metrics_get_value(page, row, 1), 11);
		vh_metrics_free(page);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_writer_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(not_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(huge_pages_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_puts_no_values, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
