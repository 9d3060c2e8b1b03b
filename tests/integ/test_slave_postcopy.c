/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Postcopy as a front-end by hand makes it: memory whose pages come when the device touches them. Takes userfaultfd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vhi_slave.h"
#include "vhi_uffd.h"
#include "vht_peer.h"

#define PAGE  4096u
#define QUICK 300 /* ms */

static struct vht_peer peer;
static struct vht_peer *const p = &peer;

static void open_with(const struct vh_slave_opts *more)
{
	struct vh_slave_opts opts = {.size = sizeof(opts), .postcopy = 1};

	if (more)
		opts = *more;
	vht_peer_init(p, &opts, NULL, 0);
	vht_negotiate(p, VHT_BIT30 | VHT_VERSION);
}

static int setup(void **state)
{
	(void)state;
	open_with(NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vht_peer_free(p);
	return 0;
}

static void expect_phase(uint64_t phase)
{
	assert_int_equal(vht_event(p, VH_EVENT_POSTCOPY).value, phase);
}

/* The userfaultfd, ours to close. */
static int advise(void)
{
	int fd;

	vht_msg(p, M_POSTCOPY_ADVISE, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_POSTCOPY_ADVISE);
	assert_int_equal(p->reply.size, 0);
	assert_int_equal(p->reply.n_fds, 1);
	fd = dup(p->reply.fds[0]);
	vht_close_fds(&p->reply);
	expect_phase(VH_POSTCOPY_ADVISED);
	return fd;
}

static int listens(void)
{
	int fd = advise();

	vht_ok(p, M_POSTCOPY_LISTEN, NULL, 0, -1);
	expect_phase(VH_POSTCOPY_LISTENS);
	return fd;
}

/* Share the memory by that message; the back-end's address of it. */
static uint64_t share(uint32_t id)
{
	uint64_t uva;

	if (id == M_ADD_MEM_REG)
		vht_send_region(p, id, F_REQUEST, VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE, p->memfd);
	else
		vht_send_table(p, F_REQUEST, VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE);
	vht_expect(p, id);
	assert_int_equal(p->reply.size, 40);
	assert_int_equal(p->reply.n_fds, 0);
	assert_int_equal(vht_u64(&p->reply, 8), VHT_MEM_GPA);
	assert_int_equal(vht_u64(&p->reply, 16), VHT_MEM_SIZE);
	assert_int_equal(vht_u64(&p->reply, 32), 0);
	uva = vht_u64(&p->reply, 24);
	assert_int_not_equal(uva, VHT_MEM_UVA);
	assert_int_equal(uva % PAGE, 0);
	return uva;
}

static void end_postcopy(void)
{
	vht_msg(p, M_POSTCOPY_END, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_POSTCOPY_END, 0);
	expect_phase(VH_POSTCOPY_OFF);
}

/* Brings what is missing, as it is in @from, which is at the same place as the memory. */
struct helper {
	pthread_t thread;
	int uffd, stop[2];
	uint64_t base;
	const uint8_t *from;
	uint32_t brought; /* atomic */
};

static void *bring(void *arg)
{
	struct helper *h = arg;
	struct pollfd fds[2] = {{.fd = h->uffd, .events = POLLIN}, {.fd = h->stop[0], .events = POLLIN}};
	struct uffd_msg msg;

	while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
		struct uffdio_copy copy = {.len = PAGE};

		if (read(h->uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);
		copy.dst = msg.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
		copy.src = (uintptr_t)h->from + (copy.dst - h->base);
		assert_int_equal(ioctl(h->uffd, UFFDIO_COPY, &copy), 0);
		__atomic_fetch_add(&h->brought, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void help(struct helper *h, int uffd, uint64_t base, const uint8_t *from)
{
	*h = (struct helper){.uffd = uffd, .base = base, .from = from};
	assert_int_equal(pipe(h->stop), 0);
	assert_int_equal(pthread_create(&h->thread, NULL, bring, h), 0);
}

static uint32_t helped(struct helper *h)
{
	close(h->stop[1]);
	pthread_join(h->thread, NULL);
	close(h->stop[0]);
	return h->brought;
}

/*
 * What the guest has at its source, is written to our mapping of the memory and then taken out of the file: so the pages
 * are missing, and come when the device touches the ring and its buffers.
 */
static void a_ring_is_served_page_by_page(uint32_t id, uint32_t ack)
{
	uint8_t *source = malloc(VHT_MEM_SIZE);
	struct helper h;
	uint64_t base;
	int uffd = listens();

	base = share(id);
	vht_ring_up(p, 0);
	/* Not before the front-end knows where the pages are wanted. */
	assert_true(vht_no_event(p, VH_EVENT_STARTED));
	vht_ok_state(p, M_SET_VRING_ENABLE, 0, 1);
	vht_offer_echo(p, 0);
	memset(p->mem + 0x40000, 0, 1);
	memcpy(source, p->mem, VHT_MEM_SIZE);
	assert_int_equal(madvise(p->mem, VHT_MEM_SIZE, MADV_REMOVE), 0);
	help(&h, uffd, base, source);
	vht_msg_u64(p, ack, F_REQUEST, 0);
	vht_expect_silence(p);
	assert_int_equal(vht_event(p, VH_EVENT_STARTED).reason, VH_START_COMPLETED);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 1);
	assert_int_equal(p->echo.served, 1);
	end_postcopy();
	assert_true(helped(&h) >= 3);
	/* Nobody brings anything any more, and nobody has to. */
	vht_offer_echo(p, 0);
	vht_kick(p, 0);
	vht_pump(p);
	assert_int_equal(vht_used(p, 0), 2);
	close(uffd);
	free(source);
}

static void pages_come_with_a_table(void **state)
{
	(void)state;
	a_ring_is_served_page_by_page(M_SET_MEM_TABLE, M_SET_MEM_TABLE);
}

/* QEMU gives the acknowledgement the id of what it sent last. */
static void pages_come_with_slots(void **state)
{
	(void)state;
	a_ring_is_served_page_by_page(M_ADD_MEM_REG, M_ADD_MEM_REG);
}

static void an_acknowledgement_may_have_no_id(void **state)
{
	(void)state;
	a_ring_is_served_page_by_page(M_ADD_MEM_REG, 0);
}

static void it_has_to_be_asked_for(void **state)
{
	(void)state;
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_PROTOCOL_FEATURES);
	assert_true(vht_u64(&p->reply, 0) >> VH_PF_PAGEFAULT & 1);
	vht_peer_free(p);
	vht_peer_init(p, NULL, NULL, 0);
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_PROTOCOL_FEATURES);
	assert_false(vht_u64(&p->reply, 0) >> VH_PF_PAGEFAULT & 1);
}

static void case_190_orders(void **state)
{
	int fd;

	(void)state;
	/* Nothing was begun. */
	vht_nack(p, M_POSTCOPY_LISTEN, NULL, 0, -1);
	vht_msg(p, M_POSTCOPY_END, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_POSTCOPY_END, 1);
	/* Begun twice is begun once. */
	close(advise());
	fd = advise();
	/* With memory it is too late, until that has gone. */
	vht_send_region(p, M_ADD_MEM_REG, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE, p->memfd);
	vht_expect_u64(p, M_ADD_MEM_REG, 0);
	vht_nack(p, M_POSTCOPY_LISTEN, NULL, 0, -1);
	vht_send_region(p, M_REM_MEM_REG, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE, -1);
	vht_expect_u64(p, M_REM_MEM_REG, 0);
	vht_ok(p, M_POSTCOPY_LISTEN, NULL, 0, -1);
	vht_nack(p, M_POSTCOPY_LISTEN, NULL, 0, -1);
	vht_msg(p, M_POSTCOPY_ADVISE, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_POSTCOPY_ADVISE);
	assert_int_equal(p->reply.n_fds, 0);
	end_postcopy();
	vht_msg(p, M_POSTCOPY_END, F_REQUEST, NULL, 0, -1);
	vht_expect_u64(p, M_POSTCOPY_END, 1);
	close(fd);
	/* And again from the beginning. */
	close(listens());
	end_postcopy();
}

static void case_190_an_acknowledgement_that_is_none(void **state)
{
	const uint64_t bad[2] = {1, 0};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		close(listens());
		share(M_SET_MEM_TABLE);
		if (i == 0) /* another value */
			vht_msg_u64(p, M_SET_MEM_TABLE, F_REQUEST, bad[0]);
		else if (i == 1) /* another size */
			vht_msg(p, M_SET_MEM_TABLE, F_REQUEST, bad, 16, -1);
		else if (i == 2) /* another message, and the connection goes on */
			vht_ok_u64(p, M_SET_FEATURES, VHT_BIT30 | VHT_VERSION);
		else /* an fd */
			vht_msg(p, M_SET_MEM_TABLE, F_REQUEST, &bad[1], 8, p->memfd);
		if (i != 2)
			vht_expect_closed(p);
		vht_peer_free(p);
		open_with(NULL);
	}
	/* Without having been waited for it is a bad message. */
	close(listens());
	vht_msg_u64(p, M_SET_MEM_TABLE, F_REQUEST, 0);
	vht_expect_closed(p);
}

static void case_190_an_acknowledgement_that_does_not_come(void **state)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .drain_timeout_ms = QUICK, .postcopy = 1};
	struct vh_event e;

	(void)state;
	vht_peer_free(p);
	open_with(&opts);
	close(listens());
	share(M_ADD_MEM_REG);
	do {
		vht_pump_wait(p);
		e = (struct vh_event){.size = sizeof(e)};
		while (vh_slave_next_event(p->s, &e) == 1 && e.kind != VH_EVENT_DISCONNECTED)
			;
	} while (e.kind != VH_EVENT_DISCONNECTED);
	assert_int_equal(e.reason, -ETIMEDOUT);
}

/* Pages of a file on a disk are never missing: the kernel reads them. */
static void memory_of_another_kind_is_refused(void **state)
{
	char path[] = "/var/tmp/vh-postcopy-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, VHT_MEM_SIZE), 0);
	close(listens());
	vht_send_region(p, M_ADD_MEM_REG, F_NEED_REPLY, VHT_MEM_GPA, VHT_MEM_UVA, VHT_MEM_SIZE, fd);
	vht_expect_u64(p, M_ADD_MEM_REG, 1);
	close(fd);
	share(M_ADD_MEM_REG);
}

static void *touch(void *at)
{
	return (void *)(uintptr_t)(*(volatile uint8_t *)at + 1);
}

/* A thread that waits for a page goes on when the front-end has gone: what does not come is zero. */
static void who_waits_goes_on_without_the_front_end(void **state)
{
	struct vh_snapshot *snap;
	struct vh_region region;
	struct pollfd fault;
	pthread_t thread;
	void *got;

	(void)state;
	fault = (struct pollfd){.fd = listens(), .events = POLLIN};
	share(M_ADD_MEM_REG);
	assert_int_equal(vh_slave_dup_snapshot(p->s, &snap), 0);
	assert_int_equal(vh_snapshot_regions(snap, &region, 1), 1);
	assert_int_equal(madvise(p->mem, VHT_MEM_SIZE, MADV_REMOVE), 0);
	assert_int_equal(pthread_create(&thread, NULL, touch, (void *)(uintptr_t)(region.host + 0x80000)), 0);
	assert_int_equal(poll(&fault, 1, VHT_WAIT_MS), 1);
	close(p->fd);
	p->fd = -1;
	vht_pump(p);
	pthread_join(thread, &got);
	assert_int_equal((uintptr_t)got, 1);
	close(fault.fd);
	vh_snapshot_free(snap);
}

static void without_a_userfaultfd_it_is_refused(void **state)
{
	struct rlimit before, none;
	int next = dup(0);

	(void)state;
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	vht_msg(p, M_POSTCOPY_ADVISE, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_POSTCOPY_ADVISE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(p->reply.n_fds, 0);
	assert_int_equal(vht_slave_stats(p).rejected, 1);
}

static void a_pause_waits_for_the_end(void **state)
{
	(void)state;
	close(advise());
	assert_int_equal(vh_slave_pause(p->s), -EINPROGRESS);
	assert_int_equal(vh_slave_resume(p->s), 0);
	end_postcopy();
	assert_int_equal(vh_slave_pause(p->s), 0);
}

static bool allowed(void)
{
	int fd = vhi_uffd_open();

	return fd >= 0 && !close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(pages_come_with_a_table),
		T(pages_come_with_slots),
		T(an_acknowledgement_may_have_no_id),
		T(it_has_to_be_asked_for),
		T(case_190_orders),
		T(case_190_an_acknowledgement_that_is_none),
		T(case_190_an_acknowledgement_that_does_not_come),
		T(memory_of_another_kind_is_refused),
		T(who_waits_goes_on_without_the_front_end),
		T(without_a_userfaultfd_it_is_refused),
		T(a_pause_waits_for_the_end),
	};

	if (!allowed()) {
		fprintf(stderr, "userfaultfd is not allowed here\n");
		return 0;
	}
	cmocka_set_test_filter(getenv("VHT_FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
