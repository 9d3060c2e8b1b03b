/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Pause, and the hand-over of a connection to another back-end while the front-end goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vh/vh.h"
#include "vhi_slave.h"
#include "vht_peer.h"

#define MAX_FILES 64

struct state {
	uint8_t *bytes;
	uint32_t n_bytes, n_fds;
	vh_fd fds[MAX_FILES];
};

static struct vht_peer peers[2];
static struct vht_peer *p = &peers[0];

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

static void pause_slave(struct vh_slave *s)
{
	vh_rc rc;

	while ((rc = vh_slave_pause(s)) == -EINPROGRESS)
		assert_true(vh_slave_wait(s, 5000) >= 0);
	assert_int_equal(rc, 0);
}

static struct state export_slave(struct vh_slave *s)
{
	struct state st = {0};
	vh_count n = vh_slave_export(s, NULL, 0, NULL, 0, &st.n_fds);

	assert_true(n > 0);
	assert_true(st.n_fds <= MAX_FILES);
	st.n_bytes = (uint32_t)n;
	st.bytes = malloc(st.n_bytes);
	assert_int_equal(vh_slave_export(s, st.bytes, st.n_bytes, st.fds, MAX_FILES, &st.n_fds), n);
	return st;
}

static void drop(struct state *st)
{
	for (uint32_t i = 0; i < st->n_fds; i++)
		close(st->fds[i]);
	free(st->bytes);
}

/* What serves the peer from now on is another slave with another device; the old one is there still. */
static struct vht_peer *take_over_peer(void)
{
	struct vht_peer *old = p;
	struct state st;

	pause_slave(old->s);
	st = export_slave(old->s);
	p = p == peers ? peers + 1 : peers;
	vht_peer_prepare(p, NULL, NULL, 0);
	assert_int_equal(vh_slave_import(p->s, st.bytes, st.n_bytes, st.fds, st.n_fds), 0);
	drop(&st);
	/* The front-end's side goes on. */
	p->fd = old->fd;
	p->memfd = old->memfd;
	p->mem = old->mem;
	memcpy(p->vq, old->vq, sizeof(p->vq));
	return old;
}

static void end_old(struct vht_peer *old)
{
	vh_slave_free(old->s);
	vh_device_free(old->dev);
}

static void hand_over_peer(void)
{
	end_old(take_over_peer());
}

static void rings_memory_and_features_go_on(void **state)
{
	(void)state;
	vht_peer_up(p);
	for (int round = 0; round < 5; round++) {
		vht_offer_echo(p, 0);
		vht_kick(p, 0);
		vht_pump(p);
		assert_int_equal(vht_used(p, 0), 2 * round + 1);
		hand_over_peer();
		/* One whose kick came to nobody is found. */
		vht_offer_echo(p, 0);
		vht_pump(p);
		assert_int_equal(vht_used(p, 0), 2 * round + 2);
		assert_int_equal(p->echo.features & VHT_VERSION, VHT_VERSION);
	}
	/* Protocol features too: a status is still asked for and given. */
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 0);
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect(p, M_GET_VRING_BASE);
	assert_int_equal(vht_u32(&p->reply, 4), 10);
}

/* The old one and the successor have the same eventfds. */
static void the_old_one_takes_no_kick_when_it_ends(void **state)
{
	struct vht_peer *old;

	(void)state;
	vht_peer_up(p);
	old = take_over_peer();
	vht_pump(p);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	end_old(old);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void a_child_takes_no_kick_when_it_frees_what_it_has_of_its_parent(void **state)
{
	int status;
	pid_t child;

	(void)state;
	vht_peer_up(p);
	vht_pump(p);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	child = fork();
	if (!child) {
		vh_slave_free(p->s);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

static void a_ring_that_was_not_started_waits_for_its_start(void **state)
{
	const struct vh_vring_addr addr = vht_addr(p, 1);

	(void)state;
	vht_peer_up(p);
	vht_ok_state(p, M_SET_VRING_NUM, 1, p->vq[1].num);
	vht_ok(p, M_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	hand_over_peer();
	assert_int_equal(p->echo.started, 1);
	vht_set_call(p, 1);
	vht_set_kick(p, 1);
	vht_ok_state(p, M_SET_VRING_ENABLE, 1, 1);
	vht_offer_echo(p, 1);
	vht_kick(p, 1);
	vht_pump(p);
	assert_int_equal(vht_used(p, 1), 1);
}

static void pause_waits_for_what_is_in_flight_and_takes_nothing_new(void **state)
{
	(void)state;
	vht_peer_up(p);
	p->echo.hold = true;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(p->echo.n_held, 1);
	assert_int_equal(vh_slave_pause(p->s), -EINPROGRESS);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	/* Nor is a message read. */
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect_silence(p);
	assert_int_equal(p->echo.n_held, 1);
	assert_true(vht_no_event(p, VH_EVENT_PAUSED));
	assert_int_equal(vht_push_held(p), 0);
	vht_pump(p);
	assert_int_equal(vht_event(p, VH_EVENT_PAUSED).count, 1);
	assert_int_equal(vh_slave_pause(p->s), 0);
	assert_true(vht_no_event(p, VH_EVENT_PAUSED));
	assert_int_equal(p->echo.n_held, 0);
	/* Resumed, it catches up. */
	assert_int_equal(vh_slave_resume(p->s), 0);
	assert_int_equal(vh_slave_resume(p->s), -EALREADY);
	vht_expect(p, M_GET_FEATURES);
	assert_int_equal(p->echo.n_held, 1);
	assert_int_equal(vht_push_held(p), 0);
}

static void pause_waits_for_the_rest_of_a_message_and_for_what_is_owed(void **state)
{
	const uint32_t header[3] = {M_GET_VRING_BASE, F_REQUEST, 8}, payload[2] = {0, 0};

	(void)state;
	vht_peer_up(p);
	p->echo.hold = true;
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	assert_int_equal(write(p->fd, header, 6), 6);
	vht_pump(p);
	assert_int_equal(vh_slave_pause(p->s), -EINPROGRESS);
	assert_int_equal(write(p->fd, (const char *)header + 6, 6), 6);
	assert_int_equal(write(p->fd, payload, 8), 8);
	vht_expect_silence(p);
	assert_int_equal(vh_slave_pause(p->s), -EINPROGRESS);
	assert_int_equal(vht_push_held(p), 0);
	vht_expect(p, M_GET_VRING_BASE);
	assert_int_equal(vh_slave_pause(p->s), 0);
}

static void export_wants_it_quiet_and_room(void **state)
{
	struct vh_error e = {.size = sizeof(e)};
	uint8_t small[8];
	uint32_t n = 0;

	(void)state;
	vht_peer_up(p);
	assert_int_equal(vh_slave_export(p->s, NULL, 0, NULL, 0, &n), -EAGAIN);
	vh_error_get(&e);
	assert_non_null(strstr(e.text, "vh_slave_pause"));
	pause_slave(p->s);
	assert_int_equal(vh_slave_export(p->s, NULL, 0, NULL, 0, NULL), -EINVAL);
	assert_int_equal(vh_slave_export(p->s, NULL, 8, NULL, 0, &n), -EINVAL);
	assert_true(vh_slave_export(p->s, small, sizeof(small), NULL, 0, &n) > 8);
	/* the connection, a region, kick and call of ring 0 */
	assert_int_equal(n, 4);
}

static void the_dirty_log_goes_along(void **state)
{
	const uint64_t log[2] = {(VHT_MEM_GPA + VHT_MEM_SIZE) / 4096 / 8, 0};
	const int fd = memfd_create("log", MFD_CLOEXEC), call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct vh_dirty *mine;
	vh_gpa pages[4];

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)log[0]), 0);
	assert_int_equal(vh_dirty_open(fd, 0, log[0], &mine), 0);
	vht_peer_up(p);
	vht_msg(p, M_SET_LOG_BASE, F_REQUEST, log, sizeof(log), fd);
	vht_expect(p, M_SET_LOG_BASE);
	vht_ok(p, M_SET_LOG_FD, NULL, 0, call);
	vht_ok_u64(p, M_SET_FEATURES, VHT_BIT30 | VHT_VERSION | UINT64_C(1) << VH_F_LOG_ALL);
	hand_over_peer();
	assert_false(p->echo.features & UINT64_C(1) << VH_F_LOG_ALL);
	vht_count(call);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vh_dirty_take(mine, 0, pages, 4), 1);
	assert_true(vht_count(call));
	vh_dirty_free(mine);
	close(call);
	close(fd);
}

static void the_inflight_records_go_along(void **state)
{
	struct vh_inflight in = {.size = sizeof(in)};
	struct {
		uint64_t size, offset;
		uint16_t num_queues, queue_size, padding[2];
	} desc = {0};
	int fd;

	(void)state;
	assert_int_equal(vh_inflight_make(1, VHT_QUEUE_MAX, 0, &in, &fd), 0);
	desc.size = in.mmap_size;
	desc.num_queues = 1;
	desc.queue_size = VHT_QUEUE_MAX;
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_send_mem(p);
	vht_ok(p, 32, &desc, sizeof(desc), fd);
	close(fd);
	vht_ring_up(p, 0);
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	hand_over_peer();
	assert_true(vhi_queue_tracked(p->s->rings[0].q));
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 2);
}

static void the_back_end_channel_goes_along(void **state)
{
	int pair[2];

	(void)state;
	vht_peer_up(p);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	vht_ok(p, M_SET_BACKEND_REQ_FD, NULL, 0, pair[1]);
	close(pair[1]);
	/* News while it is paused is told by the successor. */
	pause_slave(p->s);
	assert_int_equal(vh_device_config_changed(p->dev), 0);
	assert_int_equal(poll(&(struct pollfd){.fd = pair[0], .events = POLLIN}, 1, 0), 0);
	hand_over_peer();
	vht_pump(p);
	assert_int_equal(poll(&(struct pollfd){.fd = pair[0], .events = POLLIN}, 1, 0), 1);
	close(pair[0]);
}

static void the_path_of_the_socket_belongs_to_the_successor(void **state)
{
	const struct vh_blkdev_opts opts = {.size = sizeof(opts), .kind = VH_BLKDEV_NULL, .capacity = 1 << 20};
	struct vh_slave *s[2];
	struct vh_device *dev[2];
	struct vh_master *m;
	struct state st;
	char path[64];
	struct stat sb;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/vht-handover-%d", (int)getpid());
	for (int i = 0; i < 2; i++) {
		assert_int_equal(vh_blkdev_new(&opts, -1, &dev[i]), 0);
		assert_int_equal(vh_slave_new(NULL, dev[i], NULL, NULL, &s[i]), 0);
	}
	assert_int_equal(vh_slave_listen(s[0], path), 0);
	pause_slave(s[0]);
	st = export_slave(s[0]);
	assert_int_equal(st.n_fds, 1);
	assert_int_equal(vh_slave_import(s[1], st.bytes, st.n_bytes, st.fds, st.n_fds), 0);
	/* It is in use now. */
	assert_int_equal(vh_slave_import(s[1], st.bytes, st.n_bytes, st.fds, st.n_fds), -EBUSY);
	drop(&st);
	vh_slave_free(s[0]);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(vh_master_new(NULL, NULL, NULL, &m), 0);
	assert_int_equal(vh_master_connect(m, path), 0);
	assert_int_equal(vh_slave_wait(s[1], 1000), 0);
	vh_master_free(m);
	vh_slave_free(s[1]);
	assert_int_equal(stat(path, &sb), -1);
	vh_device_free(dev[0]);
	vh_device_free(dev[1]);
}

static struct vh_slave *another(uint64_t mask_features, struct vh_device **dev)
{
	const struct vh_blkdev_opts blk = {
		.size = sizeof(blk), .kind = VH_BLKDEV_NULL, .capacity = 1 << 20, .max_queues = 4};
	const struct vh_slave_opts opts = {.size = sizeof(opts), .mask_features = mask_features};
	struct vh_slave *s;

	assert_int_equal(vh_blkdev_new(&blk, -1, dev), 0);
	assert_int_equal(vh_slave_new(&opts, *dev, NULL, NULL, &s), 0);
	return s;
}

static void a_successor_that_offers_less_refuses_and_the_old_one_goes_on(void **state)
{
	struct vh_device *dev;
	struct vh_slave *s = another(VHT_VERSION, &dev);
	struct vh_error e = {.size = sizeof(e)};
	struct state st;

	(void)state;
	vht_peer_up(p);
	pause_slave(p->s);
	st = export_slave(p->s);
	assert_int_equal(vh_slave_import(s, st.bytes, st.n_bytes, st.fds, st.n_fds), -ENOTSUP);
	vh_error_get(&e);
	assert_non_null(strstr(e.text, "0x100000000"));
	vh_slave_free(s);
	vh_device_free(dev);
	drop(&st);
	assert_int_equal(vh_slave_resume(p->s), 0);
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
}

/* Whatever is in it: an error or a back-end, and no crash; after an error it is as it was. */
static void a_damaged_state_is_refused(void **state)
{
	struct vh_device *dev;
	struct vh_slave *s = another(0, &dev);
	struct state st;
	uint32_t bad = 0;

	(void)state;
	vht_peer_up(p);
	pause_slave(p->s);
	st = export_slave(p->s);
	for (uint32_t n = 0; n < st.n_bytes; n++)
		assert_true(vh_slave_import(s, st.bytes, n, st.fds, st.n_fds) < 0);
	assert_int_equal(vh_slave_import(s, st.bytes, st.n_bytes, st.fds, st.n_fds - 1), -EINVAL);
	assert_int_equal(vh_slave_import(s, NULL, 0, NULL, 0), -EINVAL);
	for (uint32_t i = 0; i < st.n_bytes * 8; i++) {
		st.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		if (vh_slave_import(s, st.bytes, st.n_bytes, st.fds, st.n_fds)) {
			bad++;
		} else {
			vh_slave_free(s);
			vh_device_free(dev);
			s = another(0, &dev);
		}
		st.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	assert_true(bad > st.n_bytes);
	assert_int_equal(vh_slave_import(s, st.bytes, st.n_bytes, st.fds, st.n_fds), 0);
	vh_slave_free(s);
	vh_device_free(dev);
	drop(&st);
}

/* A driver that writes and reads back all the time, on a thread of its own. */

struct driver {
	char path[64];
	uint64_t mask;
	int ending; /* atomic */
	unsigned rounds;
};

#define DISK   (UINT64_C(4) << 20)
#define DEPTH  8u
#define LENGTH 4096u

static void finish_all(struct vh_blk *b, unsigned n)
{
	struct vh_blk_done done[DEPTH];

	while (n) {
		vh_count got = vh_blk_reap(b, 0, done, DEPTH);

		assert_true(got >= 0);
		for (int i = 0; i < got; i++)
			assert_int_equal(done[i].rc, 0);
		n -= (unsigned)got;
		if (n && !got)
			assert_int_equal(vh_blk_wait(b, 0, 20000), 0);
	}
}

static void transfer(struct vh_blk *b, uint32_t op, uint8_t *buf, unsigned round)
{
	struct vh_blk_io io[DEPTH];

	for (unsigned i = 0; i < DEPTH; i++)
		io[i] = (struct vh_blk_io){.op = op,
					   .offset = (round * 7919u + i * 131u) % (DISK / LENGTH) * LENGTH,
					   .addr = (uint64_t)(uintptr_t)(buf + (size_t)i * LENGTH),
					   .len = LENGTH,
					   .user = i};
	assert_int_equal(vh_blk_submit(b, 0, io, DEPTH), DEPTH);
	finish_all(b, DEPTH);
}

static void *drive(void *arg)
{
	struct driver *dr = arg;
	struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .mask_features = dr->mask};
	struct vh_backend *backend;
	struct vh_master *m;
	struct vh_driver *d;
	struct vh_blk *b;
	uint64_t addr;
	uint8_t *buf;

	assert_int_equal(vh_master_new(NULL, NULL, NULL, &m), 0);
	assert_int_equal(vh_master_connect(m, dr->path), 0);
	assert_int_equal(vh_master_backend(m, &backend), 0);
	assert_int_equal(vh_driver_new(&opts, backend, NULL, &d), 0);
	assert_int_equal(vh_driver_alloc(d, 2 * DEPTH * LENGTH, &addr), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_int_equal(vh_blk_new(d, &b), 0);
	buf = (uint8_t *)(uintptr_t)addr;
	while (!__atomic_load_n(&dr->ending, __ATOMIC_ACQUIRE)) {
		for (unsigned i = 0; i < DEPTH; i++)
			memset(buf + (size_t)i * LENGTH, (int)(dr->rounds + i), LENGTH);
		transfer(b, VH_BLK_WRITE, buf, dr->rounds);
		memset(buf + DEPTH * LENGTH, 0xee, DEPTH * LENGTH);
		transfer(b, VH_BLK_READ, buf + DEPTH * LENGTH, dr->rounds);
		assert_memory_equal(buf, buf + DEPTH * LENGTH, DEPTH * LENGTH);
		__atomic_fetch_add(&dr->rounds, 1, __ATOMIC_RELEASE);
	}
	vh_blk_free(b);
	vh_driver_free(d);
	vh_master_free(m);
	return NULL;
}

struct server {
	struct vh_slave *s;
	struct vh_device *dev;
};

static struct server serve(int disk)
{
	const struct vh_blkdev_opts opts = {.size = sizeof(opts), .kind = VH_BLKDEV_FILE};
	struct server v;

	assert_int_equal(vh_blkdev_new(&opts, disk, &v.dev), 0);
	assert_int_equal(vh_slave_new(NULL, v.dev, NULL, NULL, &v.s), 0);
	return v;
}

static void end(struct server *v)
{
	vh_slave_free(v->s);
	vh_device_free(v->dev);
}

/* The successor works; the old one is let go of only then. */
static void replace(struct server *v, int disk)
{
	struct server next = serve(disk);
	struct state st;

	pause_slave(v->s);
	st = export_slave(v->s);
	assert_int_equal(vh_slave_import(next.s, st.bytes, st.n_bytes, st.fds, st.n_fds), 0);
	drop(&st);
	end(v);
	*v = next;
}

static void io_goes_on_through_many_successors(uint64_t mask)
{
	struct driver dr = {.mask = mask};
	int disk = memfd_create("disk", MFD_CLOEXEC);
	struct server v;
	pthread_t thread;
	unsigned seen;

	snprintf(dr.path, sizeof(dr.path), "/tmp/vht-upgrade-%d", (int)getpid());
	assert_int_equal(ftruncate(disk, (off_t)DISK), 0);
	v = serve(disk);
	assert_int_equal(vh_slave_listen(v.s, dr.path), 0);
	assert_int_equal(pthread_create(&thread, NULL, drive, &dr), 0);
	for (int i = 0; i < 40; i++) {
		seen = __atomic_load_n(&dr.rounds, __ATOMIC_ACQUIRE);
		while (__atomic_load_n(&dr.rounds, __ATOMIC_ACQUIRE) < seen + 2)
			assert_true(vh_slave_wait(v.s, 100) >= 0);
		replace(&v, disk);
	}
	__atomic_store_n(&dr.ending, 1, __ATOMIC_RELEASE);
	for (struct vh_event e = {.size = sizeof(e)}; e.kind != VH_EVENT_DISCONNECTED;)
		if (!vh_slave_next_event(v.s, &e))
			assert_true(vh_slave_wait(v.s, 100) >= 0);
	pthread_join(thread, NULL);
	end(&v);
	close(disk);
}

static void io_goes_on_through_many_successors_packed(void **state)
{
	(void)state;
	io_goes_on_through_many_successors(0);
}

static void io_goes_on_through_many_successors_split(void **state)
{
	(void)state;
	io_goes_on_through_many_successors(UINT64_C(1) << VH_F_RING_PACKED);
}

#define PEER(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PEER(rings_memory_and_features_go_on),
		PEER(the_old_one_takes_no_kick_when_it_ends),
		PEER(a_child_takes_no_kick_when_it_frees_what_it_has_of_its_parent),
		PEER(a_ring_that_was_not_started_waits_for_its_start),
		PEER(pause_waits_for_what_is_in_flight_and_takes_nothing_new),
		PEER(pause_waits_for_the_rest_of_a_message_and_for_what_is_owed),
		PEER(export_wants_it_quiet_and_room),
		PEER(the_back_end_channel_goes_along),
		PEER(the_dirty_log_goes_along),
		PEER(the_inflight_records_go_along),
		PEER(a_successor_that_offers_less_refuses_and_the_old_one_goes_on),
		PEER(a_damaged_state_is_refused),
		cmocka_unit_test(the_path_of_the_socket_belongs_to_the_successor),
		cmocka_unit_test(io_goes_on_through_many_successors_split),
		cmocka_unit_test(io_goes_on_through_many_successors_packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
