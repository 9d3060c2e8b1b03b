/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The front-end's part of inflight records: what it asks for, what it takes, what it gives back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhi_master.h"
#include "vht_master.h"

#define GET_INFLIGHT_FD 31
#define SET_INFLIGHT_FD 32
#define FILE_SIZE	8192

static struct vht_backend back;
static struct vh_master *m;
static unsigned fds_before;
static struct vhi_wire_inflight answer;
static int file;
static bool with_file;
static struct vht_msg set; /* the last SET_INFLIGHT_FD */

/* The back-end's thread reads what the test says, and says what it got. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
#define SAY(change) (pthread_mutex_lock(&lock), change, pthread_mutex_unlock(&lock))

static bool script(struct vht_backend *b, struct vht_msg *msg)
{
	struct vhi_wire_inflight now;
	bool fds;

	pthread_mutex_lock(&lock);
	if (msg->request == GET_INFLIGHT_FD)
		memcpy(&answer.num_queues, msg->payload + 16, 4);
	if (msg->request == SET_INFLIGHT_FD)
		set = *msg;
	now = answer;
	fds = with_file;
	pthread_mutex_unlock(&lock);
	if (msg->request == GET_INFLIGHT_FD)
		vht_send(b->fd, GET_INFLIGHT_FD, 5, &now, sizeof(now), &file, fds);
	return msg->request == GET_INFLIGHT_FD;
}

static int setup(void **state)
{
	(void)state;
	fds_before = vht_open_fds();
	file = memfd_create("records", MFD_CLOEXEC);
	assert_int_equal(ftruncate(file, FILE_SIZE), 0);
	answer = (struct vhi_wire_inflight){.mmap_size = FILE_SIZE};
	with_file = true;
	vht_backend_init(&back);
	back.protocol_features |= 1u << VH_PF_INFLIGHT_SHMFD;
	back.script = script;
	m = vht_master_with(&back, VHT_WAIT_MS);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vh_master_free(m);
	vht_backend_stop(&back);
	close(file);
	assert_int_equal(vht_open_fds(), fds_before);
	return 0;
}

static vh_rc get(struct vh_inflight *out, vh_fd *fd)
{
	*out = (struct vh_inflight){.size = sizeof(*out)};
	return vh_master_get_inflight(m, 2, 128, out, fd);
}

static void refused(int code, uint32_t site)
{
	struct vh_inflight out;
	vh_fd fd = -1;

	assert_int_equal(get(&out, &fd), code);
	assert_int_equal(vht_site(), site);
	assert_int_equal(fd, -1);
}

static void what_the_back_end_gives_goes_back_to_it(void **state)
{
	struct vh_inflight out;
	vh_fd fd;

	(void)state;
	SAY(answer.mmap_offset = 64);
	SAY(answer.mmap_size -= 64);
	assert_int_equal(get(&out, &fd), 0);
	assert_int_equal(out.num_queues, 2);
	assert_int_equal(out.queue_size, 128);
	assert_int_equal(out.mmap_size, FILE_SIZE - 64);
	assert_int_equal(out.mmap_offset, 64);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(vh_master_set_inflight(m, &out, fd), 0);
	close(fd);
	pthread_mutex_lock(&lock);
	assert_int_equal(set.size, sizeof(answer));
	assert_memory_equal(set.payload, &answer, sizeof(answer));
	assert_int_equal(set.n_fds, 1);
	pthread_mutex_unlock(&lock);
}

static void case_213_no_records(void **state)
{
	(void)state;
	SAY(answer.mmap_size = 0);
	SAY(with_file = false);
	refused(-EREMOTEIO, 0);
	/* The connection is whole. */
	assert_int_equal(vh_master_set_owner(m), 0);
}

static void case_213_a_size_without_a_file_ends_the_connection(void **state)
{
	struct vh_inflight out;
	vh_fd fd;

	(void)state;
	SAY(with_file = false);
	assert_int_equal(get(&out, &fd), -EPROTO);
}

static void case_213_a_file_without_a_size_ends_the_connection(void **state)
{
	struct vh_inflight out;
	vh_fd fd;

	(void)state;
	SAY(answer.mmap_size = 0);
	assert_int_equal(get(&out, &fd), -EPROTO);
}

static void case_213_too_small_for_so_many(void **state)
{
	(void)state;
	SAY(answer.mmap_size = 2 * 128 * 16 - 1);
	refused(-EPROTO, VHI_SITE_MASTER_INFLIGHT_SHORT);
	assert_int_equal(vh_master_set_owner(m), 0);
}

static void case_213_beyond_the_file(void **state)
{
	(void)state;
	SAY(answer.mmap_size = UINT64_C(1) << 50);
	refused(-EPROTO, VHI_SITE_MASTER_INFLIGHT_FILE);
	SAY(answer.mmap_size = FILE_SIZE);
	SAY(answer.mmap_offset = 1);
	refused(-EPROTO, VHI_SITE_MASTER_INFLIGHT_FILE);
	SAY(answer.mmap_offset = UINT64_MAX - 100);
	refused(-EPROTO, VHI_SITE_MASTER_INFLIGHT_FILE);
	assert_int_equal(vh_master_set_owner(m), 0);
}

static void numbers_that_the_message_has_no_room_for(void **state)
{
	struct vh_inflight io = {.size = sizeof(io), .num_queues = 1, .queue_size = 1, .mmap_size = 64};
	vh_fd fd;

	(void)state;
	assert_int_equal(vh_master_get_inflight(m, 0, 1, &io, &fd), -EINVAL);
	assert_int_equal(vh_master_get_inflight(m, 65536, 1, &io, &fd), -EINVAL);
	assert_int_equal(vh_master_get_inflight(m, 1, 0, &io, &fd), -EINVAL);
	assert_int_equal(vh_master_get_inflight(m, 1, 32769, &io, &fd), -EINVAL);
	assert_int_equal(vh_master_get_inflight(m, 1, 1, NULL, &fd), -EINVAL);
	assert_int_equal(vh_master_get_inflight(m, 1, 1, &io, NULL), -EINVAL);
	assert_int_equal(vh_master_set_inflight(m, NULL, file), -EINVAL);
	assert_int_equal(vh_master_set_inflight(m, &io, -1), -EBADF);
	io.queue_size = 32769;
	assert_int_equal(vh_master_set_inflight(m, &io, file), -EINVAL);
	io.queue_size = 1;
	io.reserved = 1;
	assert_int_equal(vh_master_set_inflight(m, &io, file), -EINVAL);
	io.size = 0;
	assert_int_equal(vh_master_set_inflight(m, &io, file), -EINVAL);
	assert_int_equal(vh_master_get_inflight(m, 1, 1, &io, &fd), -EINVAL);
}

/* When both want it, nothing that is sent is a user address. */
static void rings_and_regions_are_at_guest_addresses(void **state)
{
	const struct vh_master_opts opts = {.size = sizeof(opts),
					    .more_protocol_features = UINT64_C(1) << VH_PF_GPA_ADDRESSES};
	const struct vhi_ring_intent ring = {.num = 8,
					     .desc = {0x100000},
					     .driver = {0x101000},
					     .device = {0x102000},
					     .kick = -1,
					     .call = -1,
					     .err = -1};
	const struct vht_msg *seen;
	struct vht_backend by_gpa;
	struct vh_master *one;
	struct vh_mem *mem;

	(void)state;
	vht_backend_init(&by_gpa);
	by_gpa.protocol_features |= 1u << VH_PF_GPA_ADDRESSES;
	assert_int_equal(vh_master_new(&opts, NULL, NULL, &one), 0);
	vht_backend_start(&by_gpa, vht_master_pair(one));
	assert_int_equal(vh_master_negotiate(one, UINT64_C(1) << VH_F_VERSION_1, NULL), 0);
	assert_int_equal(vh_mem_new(NULL, &mem), 0);
	assert_int_equal(vh_mem_alloc(mem, 0x100000, 0x10000, 0), 0);
	assert_int_equal(vh_master_set_mem(one, mem), 0);
	assert_int_equal(vhi_master_backend_ops.ring_start(one, 0, &ring), 0);
	vht_backend_join(&by_gpa);
	seen = vht_backend_seen(&by_gpa, 37, 0); /* ADD_MEM_REG */
	assert_non_null(seen);
	assert_int_equal(vht_u64(seen, 8), 0x100000);
	assert_int_equal(vht_u64(seen, 24), 0x100000);
	seen = vht_backend_seen(&by_gpa, 9, 0); /* SET_VRING_ADDR */
	assert_non_null(seen);
	assert_int_equal(vht_u64(seen, 8), 0x100000);
	assert_int_equal(vht_u64(seen, 16), 0x102000);
	assert_int_equal(vht_u64(seen, 24), 0x101000);
	vh_master_free(one);
	vht_backend_stop(&by_gpa);
	vh_mem_free(mem);
}

/* They are not sent to a back-end with which nobody agreed on them. */
static void messages_that_were_not_asked_for(void **state)
{
	uint32_t base;

	(void)state;
	assert_int_equal(vh_master_get_vring_base_skip_drain(m, 0, &base), -EOPNOTSUPP);
	assert_int_equal(vh_master_get_vring_base_skip_drain(m, 0, NULL), -EINVAL);
	assert_int_equal(vh_master_vring_kick(m, 0), -EOPNOTSUPP);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_the_back_end_gives_goes_back_to_it),
		CASE(case_213_no_records),
		CASE(case_213_a_size_without_a_file_ends_the_connection),
		CASE(case_213_a_file_without_a_size_ends_the_connection),
		CASE(case_213_too_small_for_so_many),
		CASE(case_213_beyond_the_file),
		CASE(rings_and_regions_are_at_guest_addresses),
		CASE(messages_that_were_not_asked_for),
		CASE(numbers_that_the_message_has_no_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
