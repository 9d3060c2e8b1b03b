/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The state of a device from one back-end to another, and back-ends that make it hard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vht_master.h"
#include "vht_session.h"

#define ok(call) assert_int_equal((call), 0)
#define MIB	 (UINT64_C(1) << 20)
#define SET	 42
#define CHECK	 43
#define OURS	 UINT64_C(0x100)
#define HEAD	 32 /* bytes of a block device's state before its contents */

static int memory_file(void)
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* A disk is written to, moves to another back-end while its driver's session is stopped, and has all its blocks there. */
static void scenario_device_state(void **state)
{
	struct vht_session from, to;
	struct vh_event e;
	uint64_t bytes = 0;
	int file = memory_file();

	(void)state;
	vht_session_ram(&from, VHT_USER, 4 * MIB, 0, 1);
	vht_session_begin(&from, NULL, MIB);
	vht_session_write(&from, 0, 0, 65536, 1);
	vht_session_write(&from, 0, 3 * MIB, 65536, 2);
	/* Not while it runs. */
	assert_int_equal(vh_master_save_state(from.t.master, NULL, file, NULL), -EREMOTEIO);
	ok(vh_driver_stop(from.d, 0, 0));
	ok(vh_master_save_state(from.t.master, NULL, file, &bytes));
	assert_int_equal(bytes, 4 * MIB + HEAD);
	e = vht_last_event(from.t.master);
	assert_int_equal(e.kind, VH_EVENT_STATE_MOVED);
	assert_int_equal(e.value, bytes);

	vht_session_ram(&to, VHT_USER, 4 * MIB, 0, 1);
	ok(vh_master_negotiate(to.t.master, UINT64_C(1) << VH_F_VERSION_1, NULL));
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	ok(vh_master_load_state(to.t.master, NULL, file, &bytes));
	assert_int_equal(bytes, 4 * MIB + HEAD);
	vht_session_begin(&to, NULL, MIB);
	vht_session_verify(&to, 0, 0, 65536, 1);
	vht_session_verify(&to, 0, 3 * MIB, 65536, 2);
	vht_session_end(&to);
	/* And the source can go on as well. */
	ok(vh_driver_start(from.d));
	vht_session_verify(&from, 0, 0, 65536, 1);
	vht_session_end(&from);
	close(file);
}

/* A disk takes only the state of one like it, all of it; what it holds stays otherwise. */
static void a_disk_takes_the_state_of_its_like(void **state)
{
	struct vht_session s;
	uint8_t *image = calloc(1, MIB + HEAD + 1);
	int file = memory_file();

	(void)state;
	vht_session_ram(&s, VHT_USER, MIB, 0, 1);
	vht_session_begin(&s, NULL, MIB);
	vht_session_write(&s, 0, 0, 65536, 7);
	ok(vh_driver_stop(s.d, 0, 0));
	ok(vh_master_save_state(s.t.master, NULL, file, NULL));
	assert_int_equal(pread(file, image, MIB + HEAD + 1, 0), MIB + HEAD);
	for (unsigned i = 0; i < 5; i++) {
		const uint64_t len[] = {0, HEAD - 1, MIB + HEAD - 1, MIB + HEAD + 1, MIB + HEAD};
		uint64_t bytes;

		ok(ftruncate(file, 0));
		memset(image + HEAD, 0xee, 65536);
		image[16] ^= i == 4; /* another capacity */
		assert_int_equal(pwrite(file, image, len[i], 0), len[i]);
		assert_int_equal(lseek(file, 0, SEEK_SET), 0);
		assert_true(vh_master_load_state(s.t.master, NULL, file, &bytes) < 0);
	}
	ok(vh_driver_start(s.d));
	vht_session_verify(&s, 0, 0, 65536, 7);
	vht_session_end(&s);
	free(image);
	close(file);
}

static void a_state_is_as_long_as_it_may_be(void **state)
{
	struct vh_state_opts opts = {.size = sizeof(opts), .max_bytes = MIB + HEAD};
	struct vht_session s;
	int file = memory_file();

	(void)state;
	vht_session_ram(&s, VHT_USER, MIB, 0, 1);
	ok(vh_master_negotiate(s.t.master, UINT64_C(1) << VH_F_VERSION_1, NULL));
	ok(vh_master_save_state(s.t.master, &opts, file, NULL));
	opts.max_bytes--;
	assert_int_equal(vh_master_save_state(s.t.master, &opts, file, NULL), -EFBIG);
	vht_assert_error(-EFBIG, 730);
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	assert_int_equal(vh_master_load_state(s.t.master, &opts, file, NULL), -EFBIG);
	vht_target_close(&s.t);
	close(file);
}

/* A pipe that nobody reads, and one that nobody writes to. */
static void the_callers_file_may_be_slow(void **state)
{
	const struct vh_state_opts opts = {.size = sizeof(opts), .timeout_ms = 100};
	struct vht_session s;
	int fds[2];

	(void)state;
	ok(pipe2(fds, O_CLOEXEC));
	vht_session_ram(&s, VHT_USER, MIB, 0, 1);
	ok(vh_master_negotiate(s.t.master, UINT64_C(1) << VH_F_VERSION_1, NULL));
	assert_int_equal(vh_master_load_state(s.t.master, &opts, fds[0], NULL), -ETIMEDOUT);
	assert_int_equal(vh_master_save_state(s.t.master, &opts, fds[1], NULL), -ETIMEDOUT);
	close(fds[0]);
	assert_int_equal(vh_master_save_state(s.t.master, &opts, fds[1], NULL), -EPIPE);
	/* The wrong end, and none. */
	assert_int_equal(vh_master_load_state(s.t.master, &opts, fds[1], NULL), -EBADF);
	assert_int_equal(vh_master_save_state(s.t.master, &opts, -1, NULL), -EBADF);
	close(fds[1]);
	vht_target_close(&s.t);
}

/* A back-end by hand. */
static struct bad {
	uint64_t set, check; /* what it answers */
	int fd;		     /* goes with it, -1 = none */
	bool silent;	     /* neither writes nor reads nor closes what it got */
	uint64_t endless;    /* bytes that it writes at least */
	int kept;
} bad;

static void write_much(int fd, uint64_t end)
{
	static const uint8_t some[65536];
	uint64_t n = 0;
	ssize_t put = 1;

	while (n < end && put > 0) {
		put = send(fd, some, sizeof(some), MSG_NOSIGNAL);
		n += put > 0 ? (uint64_t)put : 0;
	}
}

/* The back-end's thread reads what the test says, and says what it got. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
#define SAY(change) (pthread_mutex_lock(&lock), bad.change, pthread_mutex_unlock(&lock))

static int kept(void)
{
	int fd;

	pthread_mutex_lock(&lock);
	fd = bad.kept;
	pthread_mutex_unlock(&lock);
	return fd;
}

static bool answer_badly(struct vht_backend *b, struct vht_msg *m)
{
	struct bad now;

	pthread_mutex_lock(&lock);
	if (m->request == SET)
		bad.kept = m->fds[0];
	now = bad;
	pthread_mutex_unlock(&lock);
	if (m->request == CHECK) {
		vht_send_u64(b->fd, CHECK, 5, now.check);
		return true;
	}
	if (m->request != SET)
		return false;
	m->n_fds = 0;
	/* Before the answer, so that who has it finds as many fds as before. */
	if (!now.silent && !now.endless)
		close(now.kept);
	vht_send(b->fd, SET, 5, &now.set, sizeof(now.set), &now.fd, now.fd >= 0);
	if (now.endless) {
		write_much(now.kept, now.endless);
		close(now.kept);
	}
	return true;
}

static void with_bad(struct vht_backend *b, struct vh_master **m)
{
	vht_backend_init(b);
	b->protocol_features |= UINT64_C(1) << VH_PF_DEVICE_STATE;
	b->script = answer_badly;
	bad = (struct bad){.set = OURS, .fd = -1};
	*m = vht_master_with(b, VHT_WAIT_MS);
}

static void end_bad(struct vht_backend *b, struct vh_master *m)
{
	vh_master_free(m);
	vht_backend_stop(b);
}

static void case_077_a_back_end_that_never_ends(void **state)
{
	const struct vh_state_opts opts = {.size = sizeof(opts), .max_bytes = 3 * MIB};
	struct vht_backend b;
	struct vh_master *m;
	uint64_t bytes = 0;
	int file = memory_file();

	(void)state;
	with_bad(&b, &m);
	SAY(endless = UINT64_MAX);
	assert_int_equal(vh_master_save_state(m, &opts, file, &bytes), -EFBIG);
	assert_int_equal(vht_site(), 730);
	assert_int_equal(bytes, 0);
	assert_in_range(vht_last_event(m).value, 2 * MIB, 3 * MIB);
	close(file);
	end_bad(&b, m);
}

static void case_077_a_back_end_that_is_silent(void **state)
{
	const struct vh_state_opts opts = {.size = sizeof(opts), .timeout_ms = 300};
	struct vht_backend b;
	struct vh_master *m;
	int file = memory_file();

	(void)state;
	with_bad(&b, &m);
	SAY(silent = true);
	assert_int_equal(vh_master_save_state(m, &opts, file, NULL), -ETIMEDOUT);
	close(kept());
	/* It reads nothing: what fits into the socket goes, and then nothing. */
	ok(ftruncate(file, 64 * MIB));
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	assert_int_equal(vh_master_load_state(m, &opts, file, NULL), -ETIMEDOUT);
	close(kept());
	/* The connection is whole. */
	ok(vh_master_get_queue_num(m, &(uint32_t){0}));
	close(file);
	end_bad(&b, m);
}

static void case_077_a_state_that_ends_early_is_a_failure(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	int file = memory_file();

	(void)state;
	with_bad(&b, &m);
	SAY(check = 1);
	assert_int_equal(vh_master_save_state(m, NULL, file, NULL), -EREMOTEIO);
	SAY(check = 0);
	ok(vh_master_save_state(m, NULL, file, NULL));
	/* It does not want all that it is given. */
	ok(ftruncate(file, 64 * MIB));
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	assert_true(vh_master_load_state(m, NULL, file, NULL) < 0);
	close(file);
	end_bad(&b, m);
}

static void case_215_a_reply_of_its_own_fd(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	unsigned fds;
	int file = memory_file(), pair[2];
	vh_fd theirs = -2;

	(void)state;
	with_bad(&b, &m);
	ok(pipe2(pair, O_CLOEXEC));
	assert_int_equal(write(pair[1], "state", 5), 5);
	close(pair[1]);
	fds = vht_open_fds();
	SAY(set = 0);
	SAY(fd = pair[0]);
	ok(vh_master_set_device_state_fd(m, VH_STATE_SAVE, VH_STATE_STOPPED, file, &theirs));
	assert_true(theirs >= 0);
	close(theirs);
	ok(vh_master_save_state(m, NULL, file, NULL));
	assert_int_equal(lseek(file, 0, SEEK_CUR), 5);
	/* One that could block, or that can't be written to. */
	assert_int_equal(vh_master_load_state(m, NULL, file, NULL), -EPROTO);
	assert_int_equal(vht_site(), 731);
	SAY(fd = file);
	assert_int_equal(vh_master_save_state(m, NULL, file, NULL), -EPROTO);
	assert_int_equal(vht_open_fds(), fds);
	/* Refused. */
	SAY(fd = -1);
	SAY(set = 0x101);
	assert_int_equal(vh_master_save_state(m, NULL, file, NULL), -EREMOTEIO);
	SAY(set = 0x200);
	assert_int_equal(vh_master_save_state(m, NULL, file, NULL), -EREMOTEIO);
	/* An error and an fd, or neither: the connection is over, and the fd closed. */
	SAY(set = 0);
	assert_int_equal(vh_master_save_state(m, NULL, file, NULL), -EPROTO);
	vht_backend_join(&b);
	close(file);
	close(pair[0]);
	end_bad(&b, m);
}

static void arguments_are_checked(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	vh_fd out;

	(void)state;
	with_bad(&b, &m);
	assert_int_equal(vh_master_set_device_state_fd(m, 2, 0, 0, &out), -EINVAL);
	assert_int_equal(vh_master_set_device_state_fd(m, 0, 1, 0, &out), -EINVAL);
	assert_int_equal(vh_master_set_device_state_fd(m, 0, 0, -1, &out), -EINVAL);
	assert_int_equal(vh_master_set_device_state_fd(m, 0, 0, 0, NULL), -EINVAL);
	assert_int_equal(vh_master_set_device_state_fd(NULL, 0, 0, 0, &out), -EINVAL);
	assert_int_equal(vh_master_check_device_state(NULL), -EINVAL);
	assert_int_equal(vh_master_save_state(NULL, NULL, 0, NULL), -EINVAL);
	assert_int_equal(vh_master_load_state(NULL, NULL, 0, NULL), -EINVAL);
	ok(vh_master_disconnect(m));
	assert_int_equal(vh_master_check_device_state(m), -ENOTCONN);
	end_bad(&b, m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scenario_device_state),
		cmocka_unit_test(a_disk_takes_the_state_of_its_like),
		cmocka_unit_test(a_state_is_as_long_as_it_may_be),
		cmocka_unit_test(the_callers_file_may_be_slow),
		cmocka_unit_test(case_077_a_back_end_that_never_ends),
		cmocka_unit_test(case_077_a_back_end_that_is_silent),
		cmocka_unit_test(case_077_a_state_that_ends_early_is_a_failure),
		cmocka_unit_test(case_215_a_reply_of_its_own_fd),
		cmocka_unit_test(arguments_are_checked),
	};

	return vht_run(tests);
}
