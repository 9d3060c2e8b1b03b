/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Back-ends and the process around them: a page that never comes, fork, very many devices and high fd numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vht_master.h"
#include "vht_peer.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define PAGE	   4096u
#define LAZY	   UINT64_C(0x80000) /* offset of a page that nobody has touched */
#define DESC_NEXT  1u
#define DESC_WRITE 2u

static bool is_full(void)
{
	const char *full = getenv("VH_FULL");

	return full && !strcmp(full, "1");
}

/* --- a page that never comes --- */

struct touch {
	struct vh_queue *q;
	uint32_t done; /* atomic */
};

/* What an application's queue thread does: takes a request, reads it, gives it back. */
static void *queue_thread(void *arg)
{
	struct touch *t = arg;
	struct pollfd pfd = {.fd = (int)vh_queue_fd(t->q), .events = POLLIN};
	struct vh_cpl cpl = {0};
	struct vh_req req;

	while (vh_queue_pop(t->q, &req, 1) != 1) {
		vh_queue_arm(t->q);
		poll(&pfd, 1, 10);
	}
	cpl.token = req.token;
	cpl.written = *(volatile uint8_t *)(uintptr_t)((struct vh_seg *)(uintptr_t)req.segs)[0].addr;
	vh_queue_push(t->q, &cpl, 1);
	__atomic_store_n(&t->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Accesses of the first page of the range wait until it is given. -1 where the system does not allow it. */
static int withhold(uint64_t host)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {.range = {host, PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return -1;
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &range), 0);
	return fd;
}

static uint64_t lazy_host(struct vht_peer *p)
{
	struct vh_region region;
	struct vh_snapshot *snap;

	assert_int_equal(vh_slave_dup_snapshot(p->s, &snap), 0);
	assert_int_equal(vh_snapshot_regions(snap, &region, 1), 1);
	vh_snapshot_free(snap);
	return region.host + LAZY;
}

static void offer_lazy(struct vht_peer *p)
{
	const struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} desc = {VHT_MEM_GPA + LAZY, 16, 0, 0};
	const uint16_t head[2] = {0, 0};
	const uint16_t idx = 1;

	memcpy(p->mem + p->vq[0].desc, &desc, sizeof(desc));
	memcpy(p->mem + p->vq[0].avail + 4, head, 2);
	memcpy(p->mem + p->vq[0].avail + 2, &idx, 2);
	vht_kick(p, 0);
}

static void case_92_a_page_that_does_not_come_stalls_only_who_touches_it(void **state)
{
	struct vht_peer *p = calloc(1, sizeof(*p));
	struct uffdio_zeropage zero = {.range = {.len = PAGE}};
	struct touch t = {0};
	struct pollfd pfd = {.events = POLLIN};
	pthread_t thread;

	(void)state;
	vht_peer_init(p, NULL, NULL, VH_DEVICE_MANUAL_QUEUES);
	vht_peer_up(p);
	zero.range.start = lazy_host(p);
	pfd.fd = withhold(zero.range.start);
	if (pfd.fd < 0) {
		print_message("userfaultfd is not allowed here: %s\n", strerror(errno));
		vht_peer_free(p);
		free(p);
		return;
	}
	assert_int_equal(vh_slave_queue(p->s, 0, &t.q), 0);
	assert_int_equal(pthread_create(&thread, NULL, queue_thread, &t), 0);
	offer_lazy(p);
	assert_int_equal(poll(&pfd, 1, VHT_WAIT_MS), 1); /* it is in the page now */
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	vht_msg(p, M_GET_STATUS, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_STATUS);
	/* An answer that needs the request waits for it, and nothing else does. */
	vht_msg_state(p, M_GET_VRING_BASE, F_REQUEST, 0, 0);
	vht_expect_silence(p);
	assert_int_equal(__atomic_load_n(&t.done, __ATOMIC_ACQUIRE), 0);
	assert_int_equal(ioctl(pfd.fd, UFFDIO_ZEROPAGE, &zero), 0);
	pthread_join(thread, NULL);
	vht_expect(p, M_GET_VRING_BASE);
	close(pfd.fd);
	vht_peer_free(p);
	free(p);
}

/* --- fork --- */

static void serve_one(struct vht_peer *p, uint16_t n)
{
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump_wait(p);
	assert_int_equal(vht_used(p, 0), n);
}

static void in_child(void (*f)(struct vht_peer *p), struct vht_peer *p)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		f(p);
		_exit(7);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void close_everything(struct vht_peer *p)
{
	(void)p;
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
}

static void free_the_handle(struct vht_peer *p)
{
	vh_slave_free(p->s);
	vh_device_free(p->dev);
}

static void case_240_what_a_child_closes_stays_open_in_the_parent(void **state)
{
	static void (*const ways[])(struct vht_peer *) = {close_everything, free_the_handle};
	struct vht_peer *p = calloc(1, sizeof(*p));

	(void)state;
	vht_peer_init(p, NULL, NULL, 0);
	vht_peer_up(p);
	serve_one(p, 1);
	for (uint16_t i = 0; i < 4; i++) {
		in_child(ways[i % 2], p);
		vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
		vht_pump_wait(p);
		vht_expect(p, M_GET_FEATURES);
		serve_one(p, (uint16_t)(i + 2));
	}
	vht_peer_free(p);
	free(p);
}

static void case_240_a_child_does_not_take_the_socket_away(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct vht_peer *p = calloc(1, sizeof(*p));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/vh-process-%d.sock", (int)getpid());
	vht_peer_prepare(p, NULL, NULL, 0);
	assert_int_equal(vh_slave_listen(p->s, addr.sun_path), 0);
	in_child(free_the_handle, p);
	assert_int_equal(access(addr.sun_path, F_OK), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	p->fd = fd;
	vht_pump_wait(p);
	vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_FEATURES);
	vht_peer_free(p);
	assert_int_equal(access(addr.sun_path, F_OK), -1);
	free(p);
}

/* The queue's own set is shared like the back-end's. */
static void case_240_a_child_does_not_take_kicks_from_a_queue_thread(void **state)
{
	struct vht_peer *p = calloc(1, sizeof(*p));
	struct pollfd pfd = {.events = POLLIN};
	struct vh_queue *q;

	(void)state;
	vht_peer_init(p, NULL, NULL, VH_DEVICE_MANUAL_QUEUES);
	vht_peer_up(p);
	assert_int_equal(vh_slave_queue(p->s, 0, &q), 0);
	pfd.fd = (int)vh_queue_fd(q);
	assert_true(vh_queue_arm(q) >= 0);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	in_child(free_the_handle, p);
	/* A needless wake-up does no harm. */
	assert_true(vh_queue_arm(q) >= 0);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	vht_kick(p, 0);
	assert_int_equal(poll(&pfd, 1, VHT_WAIT_MS), 1);
	vht_peer_free(p);
	free(p);
}

static void case_240_a_child_that_frees_a_front_end(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	uint32_t v;
	int status;

	(void)state;
	vht_backend_init(&b);
	m = vht_master_with(&b, VHT_WAIT_MS);
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid) {
			vh_master_free(m);
			_exit(7);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 7 << 8);
		assert_int_equal(vh_master_get_queue_num(m, &v), 0);
	}
	vh_master_free(m);
	vht_backend_stop(&b);
}

/* --- SIGPIPE --- */

static void case_242_writing_to_who_is_gone_raises_no_signal(void **state)
{
	struct vht_peer *p = calloc(1, sizeof(*p));

	(void)state;
	/* Its action is the default one: to end this program. */
	for (int i = 0; i < 50; i++) {
		int pair[2];

		vht_peer_init(p, NULL, NULL, 0);
		vht_peer_up(p);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		vht_ok(p, M_SET_BACKEND_REQ_FD, NULL, 0, pair[1]);
		close(pair[1]);
		close(pair[0]);
		vh_device_config_changed(p->dev);
		for (int k = 0; k < i; k++)
			vht_msg(p, M_GET_FEATURES, F_REQUEST, NULL, 0, -1);
		shutdown(p->fd, SHUT_RD);
		vht_pump(p);
		vht_peer_free(p);
	}
	free(p);
}

/* --- many --- */

/* As many fds as may be; how many devices that is good for. */
static uint32_t room_for_devices(uint32_t want)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_cur > 2000000 ? 2000000 : limit.rlim_cur;
	return (uint32_t)(limit.rlim_cur / 32 < want ? limit.rlim_cur / 32 : want);
}

static void up(struct vht_peer *p, int set, uint32_t number)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = number};

	vht_peer_init(p, NULL, NULL, 0);
	assert_true(p->fd > 1023);
	assert_true(vh_slave_fd(p->s) > 1023);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
	vht_send_mem(p);
	for (uint32_t i = 0; i < VHT_QUEUES; i++) {
		vht_ring_up(p, i);
		vht_ok_state(p, M_SET_VRING_ENABLE, i, 1);
	}
	assert_int_equal(epoll_ctl(set, EPOLL_CTL_ADD, (int)vh_slave_fd(p->s), &ev), 0);
}

static bool all_served(struct vht_peer *peers, uint32_t n, uint16_t used)
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < VHT_QUEUES; k++)
			if (vht_used(&peers[i], k) != used)
				return false;
	return true;
}

/* Only who has something to do is dispatched. */
static void serve_all(struct vht_peer *peers, uint32_t n, int set, uint16_t used)
{
	struct epoll_event ev[64];

	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < VHT_QUEUES; k++) {
			vht_offer_echo(&peers[i], k);
			vht_kick(&peers[i], k);
		}
	while (!all_served(peers, n, used)) {
		int ready = epoll_wait(set, ev, 64, VHT_WAIT_MS);

		assert_true(ready > 0);
		for (int i = 0; i < ready; i++)
			assert_true(vh_slave_dispatch(peers[ev[i].data.u32].s) >= 0);
	}
}

static void case_245_hundreds_of_devices_in_one_thread(void **state)
{
	uint32_t n = room_for_devices(is_full() ? 1000 : 300);
	struct vht_peer *peers = calloc(n, sizeof(*peers));
	int low[1024], set;

	(void)state;
	assert_non_null(peers);
	for (uint32_t i = 0; i < 1024; i++) {
		low[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_true(low[i] >= 0);
	}
	set = epoll_create1(EPOLL_CLOEXEC);
	for (uint32_t i = 0; i < n; i++)
		up(&peers[i], set, i);
	print_message("%u devices, %u queues, fds up to %d\n", n, n * VHT_QUEUES, peers[n - 1].vq[VHT_QUEUES - 1].kick);
	for (uint16_t used = 1; used <= 3; used++)
		serve_all(peers, n, set, used);
	for (uint32_t i = 0; i < n; i++)
		vht_peer_free(&peers[i]);
	close(set);
	for (uint32_t i = 0; i < 1024; i++)
		close(low[i]);
	free(peers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(case_92_a_page_that_does_not_come_stalls_only_who_touches_it),
		cmocka_unit_test(case_240_what_a_child_closes_stays_open_in_the_parent),
		cmocka_unit_test(case_240_a_child_does_not_take_the_socket_away),
		cmocka_unit_test(case_240_a_child_does_not_take_kicks_from_a_queue_thread),
		cmocka_unit_test(case_240_a_child_that_frees_a_front_end),
		cmocka_unit_test(case_242_writing_to_who_is_gone_raises_no_signal),
		cmocka_unit_test(case_245_hundreds_of_devices_in_one_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
