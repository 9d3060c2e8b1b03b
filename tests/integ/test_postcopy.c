/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Postcopy with libvh at both ends, and back-ends that lie about their memory. Takes userfaultfd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhi_uffd.h"
#include "vht_master.h"
#include "vht_session.h"

#define ok(call) assert_int_equal((call), 0)
#define MIB	 (UINT64_C(1) << 20)
#define PAGE	 4096u

/* The new place: a back-end in a thread of its own, and a driver session over memory whose pages are elsewhere. */
struct place {
	struct vh_master *m;
	struct vh_slave *s;
	struct vh_driver *d;
	struct vh_blk *b;
	struct vh_mem *mem;
	pthread_t server, pager;
	uint32_t ending; /* atomic */
	struct vh_region region;
	struct vh_postcopy *late;
	int stop[2];
	uint8_t *source;  /* as the memory is where the guest was */
	uint32_t brought; /* atomic */
};

static void *serve(void *arg)
{
	struct place *p = arg;

	while (!__atomic_load_n(&p->ending, __ATOMIC_ACQUIRE))
		vh_slave_wait(p->s, 20);
	return NULL;
}

static void *bring(void *arg)
{
	struct place *p = arg;
	struct pollfd fds[2] = {{.fd = vh_postcopy_fd(p->late), .events = POLLIN},
				{.fd = p->stop[0], .events = POLLIN}};
	struct vh_postcopy_fault f = {.size = sizeof(f)};

	while (poll(fds, 2, -1) > 0 && !fds[1].revents)
		while (vh_postcopy_next(p->late, &f) == 1) {
			assert_int_equal(f.page_size, PAGE);
			/* Before it wakes who looks at the number. */
			__atomic_fetch_add(&p->brought, 1, __ATOMIC_SEQ_CST);
			ok(vh_postcopy_place(p->late, f.gpa, p->source + (f.gpa - p->region.gpa), PAGE));
		}
	return NULL;
}

static void open_place(struct place *p, uint64_t mask)
{
	const struct vh_blkdev_opts disk = {.size = sizeof(disk), .kind = VH_BLKDEV_RAM, .capacity = 4 * MIB};
	const struct vh_slave_opts so = {.size = sizeof(so), .postcopy = 1};
	const struct vh_master_opts mo = {.size = sizeof(mo), .timeout_ms = 5000, .mask_protocol_features = mask};
	struct vh_device *dev;
	int fd;

	memset(p, 0, sizeof(*p));
	ok(vh_blkdev_new(&disk, -1, &dev));
	ok(vh_slave_new(&so, dev, NULL, NULL, &p->s));
	vh_device_free(dev);
	ok(vh_master_new(&mo, NULL, NULL, &p->m));
	ok(vh_master_socketpair(p->m, &fd));
	ok(vh_slave_adopt(p->s, fd));
	close(fd);
	ok(pthread_create(&p->server, NULL, serve, p));
	ok(vh_master_negotiate(p->m, UINT64_MAX, NULL));
}

static void close_place(struct place *p)
{
	/* While someone is there to answer that the rings have stopped. */
	vh_blk_free(p->b);
	vh_driver_free(p->d);
	__atomic_store_n(&p->ending, 1, __ATOMIC_RELEASE);
	pthread_join(p->server, NULL);
	vh_postcopy_free(p->late);
	vh_master_free(p->m);
	vh_slave_free(p->s);
	vh_mem_free(p->mem);
	free(p->source);
}

/* The rings run while nothing of the buffers is there. */
static void begin(struct place *p)
{
	const struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK};
	struct vh_backend *backend;
	struct vh_snapshot *snap;
	uint64_t buffer;

	ok(vh_master_postcopy_advise(p->m, &p->late));
	ok(vh_master_postcopy_listen(p->m));
	ok(vh_master_backend(p->m, &backend));
	ok(vh_driver_new(&opts, backend, NULL, &p->d));
	ok(vh_driver_alloc(p->d, MIB, &buffer));
	ok(vh_blk_new(p->d, &p->b));
	ok(vh_driver_dup_snapshot(p->d, &snap));
	assert_int_equal(vh_snapshot_regions(snap, &p->region, 1), 1);
	vh_snapshot_free(snap);
	p->source = malloc(p->region.len);
	for (uint64_t i = 0; i < p->region.len; i++)
		p->source[i] = (uint8_t)(i * 13 + i / 4096);
	ok(pipe2(p->stop, O_CLOEXEC));
	ok(pthread_create(&p->pager, NULL, bring, p));
	ok(vh_driver_start(p->d));
}

static void end_bringing(struct place *p)
{
	close(p->stop[1]);
	pthread_join(p->pager, NULL);
	close(p->stop[0]);
}

static int io(struct place *p, uint32_t op, uint64_t offset, uint64_t at, uint64_t len)
{
	struct vh_blk_io request = {.op = op, .offset = offset, .addr = p->region.host + at, .len = len};
	struct vh_blk_done done;

	assert_int_equal(vh_blk_submit(p->b, 0, &request, 1), 1);
	ok(vh_blk_wait(p->b, 0, VHT_WAIT_MS));
	assert_int_equal(vh_blk_reap(p->b, 0, &done, 1), 1);
	return done.rc;
}

/* A write whose data is still at the source, then a read into pages that are missing as well. */
static void scenario(uint64_t mask)
{
	const uint64_t at = MIB / 2, len = 64 * 1024;
	struct place p;
	uint8_t *there;

	open_place(&p, mask);
	begin(&p);
	there = (uint8_t *)(uintptr_t)p.region.host;
	ok(madvise(there + at, 2 * len, MADV_REMOVE));
	ok(io(&p, VH_BLK_WRITE, 0, at, len));
	assert_in_range(__atomic_load_n(&p.brought, __ATOMIC_SEQ_CST), len / PAGE, UINT32_MAX);
	/* The page is there for all that share the memory. */
	assert_memory_equal(there + at, p.source + at, len);
	ok(madvise(there + at, 2 * len, MADV_REMOVE));
	ok(io(&p, VH_BLK_READ, 0, at + len, len));
	assert_memory_equal(there + at + len, p.source + at, len);
	ok(vh_master_postcopy_end(p.m));
	end_bringing(&p);
	/* Nobody brings anything any more. */
	memset(there + at, 0x5a, len);
	ok(io(&p, VH_BLK_WRITE, 0, at, len));
	ok(madvise(there + at, len, MADV_REMOVE));
	ok(io(&p, VH_BLK_WRITE, len, at, len));
	close_place(&p);
}

static void scenario_postcopy(void **state)
{
	(void)state;
	scenario(0);
}

static void scenario_postcopy_without_slots(void **state)
{
	(void)state;
	scenario(UINT64_C(1) << VH_PF_CONFIGURE_MEM_SLOTS);
}

static void pages_are_brought_where_they_are(void **state)
{
	struct vh_postcopy_fault f = {.size = sizeof(f)};
	static uint8_t page[2 * PAGE];
	struct vh_postcopy *other;
	struct place p;
	uint64_t gpa;

	(void)state;
	open_place(&p, 0);
	assert_int_equal(vh_master_postcopy_listen(p.m), -EINVAL);
	begin(&p);
	end_bringing(&p);
	gpa = p.region.gpa;
	assert_int_equal(vh_postcopy_place(p.late, gpa + 1, page, PAGE), -EINVAL);
	assert_int_equal(vh_postcopy_place(p.late, gpa, page, 1), -EINVAL);
	assert_int_equal(vh_postcopy_place(p.late, gpa, page, 0), -EINVAL);
	assert_int_equal(vh_postcopy_place(p.late, gpa + p.region.len - PAGE, page, 2 * PAGE), -EFAULT);
	assert_int_equal(vh_postcopy_place(p.late, gpa + p.region.len, page, PAGE), -EFAULT);
	assert_int_equal(vh_postcopy_wake(p.late, gpa - PAGE, PAGE), -EFAULT);
	assert_int_equal(vh_postcopy_wake(p.late, gpa, PAGE + 1), -EINVAL);
	assert_int_equal(vh_postcopy_next(p.late, &f), 0);
	assert_int_equal(vh_postcopy_next(p.late, NULL), -EINVAL);
	assert_int_equal(vh_postcopy_next(NULL, &f), -EINVAL);
	assert_int_equal(vh_postcopy_fd(NULL), -EINVAL);
	assert_int_equal(vh_master_postcopy_advise(p.m, NULL), -EINVAL);
	/* The first page is there, the second is not: both are well. */
	memset((void *)(uintptr_t)(p.region.host + MIB / 2), 1, PAGE);
	ok(madvise((void *)(uintptr_t)(p.region.host + MIB / 2 + PAGE), PAGE, MADV_REMOVE));
	memset(page, 7, sizeof(page));
	ok(vh_postcopy_place(p.late, gpa + MIB / 2, page, sizeof(page)));
	assert_int_equal(*(uint8_t *)(uintptr_t)(p.region.host + MIB / 2), 1);
	assert_int_equal(*(uint8_t *)(uintptr_t)(p.region.host + MIB / 2 + PAGE), 7);
	ok(vh_postcopy_wake(p.late, gpa, PAGE));
	/* Too late to begin again, and the end is the end. */
	assert_int_equal(vh_master_postcopy_advise(p.m, &other), -EREMOTEIO);
	ok(vh_master_postcopy_end(p.m));
	assert_int_equal(vh_master_postcopy_end(p.m), -EREMOTEIO);
	assert_int_equal(vh_postcopy_place(p.late, gpa, page, PAGE), -ENOENT);
	close_place(&p);
}

/* --- back-ends by hand --- */

static struct bad {
	int fd; /* with the reply to ADVISE, -1 = none */
	void (*spoil)(struct vht_msg *m);
} bad;

static bool answer_badly(struct vht_backend *b, struct vht_msg *m)
{
	switch (m->request) {
	case 28:
		vht_send(b->fd, 28, 5, NULL, 0, &bad.fd, bad.fd >= 0);
		return true;
	case 5:
	case 37:
		if (m->size == 8) /* the acknowledgement */
			return true;
		memset(m->payload + 24, 0x10, 8);
		m->payload[24] = m->payload[25] = m->payload[31] = 0;
		bad.spoil(m);
		vht_send(b->fd, m->request, 5, m->payload, m->size, NULL, 0);
		return true;
	default:
		return false;
	}
}

static struct vh_master *with_bad(struct vht_backend *b)
{
	vht_backend_init(b);
	b->protocol_features |= UINT64_C(1) << VH_PF_PAGEFAULT;
	b->script = answer_badly;
	return vht_master_with(b, 2000);
}

static void a_userfaultfd_that_is_none(void **state)
{
	struct vh_postcopy *late;
	struct vht_backend b;
	unsigned fds = vht_open_fds();

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct vh_master *m = with_bad(&b);
		int pair[2];

		ok(pipe2(pair, O_CLOEXEC));
		bad.fd = i == 0 ? pair[0] : i == 1 ? open("/dev/zero", O_RDWR) : i == 2 ? memfd_create("x", 0) : -1;
		assert_int_equal(vh_master_postcopy_advise(m, &late), i == 3 ? -EREMOTEIO : -EPROTO);
		if (i < 3)
			assert_int_equal(vht_site(), 732);
		if (i == 1 || i == 2)
			close(bad.fd);
		close(pair[0]);
		close(pair[1]);
		vh_master_free(m);
		vht_backend_stop(&b);
	}
	assert_int_equal(vht_open_fds(), fds);
}

static void spoil_nothing(struct vht_msg *m)
{
	(void)m;
}

static void spoil_gpa(struct vht_msg *m)
{
	m->payload[8] ^= 1;
}

static void spoil_size(struct vht_msg *m)
{
	m->payload[17] ^= 1;
}

static void spoil_offset(struct vht_msg *m)
{
	m->payload[34] ^= 1;
}

static void spoil_alignment(struct vht_msg *m)
{
	m->payload[24] = 1;
}

static void spoil_address(struct vht_msg *m)
{
	memset(m->payload + 24, 0, 8);
}

static void spoil_end(struct vht_msg *m)
{
	memset(m->payload + 25, 0xff, 7);
	m->payload[25] = 0xf0;
}

static void back_ends_that_lie_about_their_memory(void **state)
{
	static const struct {
		void (*spoil)(struct vht_msg *m);
		uint32_t site;
	} cases[] = {{spoil_nothing, 0},     {spoil_gpa, 733},	   {spoil_size, 733}, {spoil_offset, 733},
		     {spoil_alignment, 734}, {spoil_address, 734}, {spoil_end, 734}};

	(void)state;
	for (unsigned i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		struct vht_backend b;
		struct vh_master *m;
		struct vh_postcopy *late;
		struct vh_mem *mem;
		int rc;

		bad = (struct bad){.fd = vhi_uffd_open(), .spoil = cases[i / 2].spoil};
		m = with_bad(&b);
		if (i % 2)
			ok(vh_master_set_protocol_features(m,
							   b.protocol_features & (UINT64_C(1) << VH_PF_PAGEFAULT | 8)));
		ok(vh_mem_new(NULL, &mem));
		ok(vh_mem_alloc(mem, 0, MIB, 0));
		ok(vh_master_postcopy_advise(m, &late));
		ok(vh_master_postcopy_listen(m));
		rc = vh_master_set_mem(m, mem);
		if (rc != (cases[i / 2].site ? -EPROTO : 0))
			fail_msg("case %u: %d, %s", i, rc, vht_text());
		if (rc)
			assert_int_equal(vht_site(), cases[i / 2].site);
		vh_postcopy_free(late);
		vh_master_free(m);
		vht_backend_join(&b);
		/* It came behind the answer, with its id. */
		if (!rc) {
			const struct vht_msg *ack = vht_backend_seen(&b, i % 2 ? 5 : 37, 1);

			assert_non_null(ack);
			assert_int_equal(ack->size, 8);
			assert_int_equal(ack->flags, 1);
		}
		vht_backend_stop(&b);
		vh_mem_free(mem);
		close(bad.fd);
	}
}

static void memory_is_of_whole_pages(void **state)
{
	struct vht_backend b;
	struct vh_master *m;
	struct vh_postcopy *late;
	struct vh_mem *mem;
	const struct vh_region region = {.gpa = 512, .len = 8192, .offset = 512};
	int fd = memfd_create("postcopy", MFD_CLOEXEC);

	(void)state;
	bad = (struct bad){.fd = vhi_uffd_open(), .spoil = spoil_nothing};
	m = with_bad(&b);
	ok(ftruncate(fd, 65536));
	ok(vh_mem_new(NULL, &mem));
	ok(vh_mem_add_fd(mem, fd, &region));
	ok(vh_master_postcopy_advise(m, &late));
	ok(vh_master_postcopy_listen(m));
	assert_int_equal(vh_master_set_mem(m, mem), -EINVAL);
	assert_int_equal(vh_master_add_mem_region(m, mem, 0), -EINVAL);
	vh_postcopy_free(late);
	vh_master_free(m);
	vht_backend_stop(&b);
	vh_mem_free(mem);
	close(bad.fd);
	close(fd);
}

static bool allowed(void)
{
	int fd = vhi_uffd_open();

	return fd >= 0 && !close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scenario_postcopy),
		cmocka_unit_test(scenario_postcopy_without_slots),
		cmocka_unit_test(pages_are_brought_where_they_are),
		cmocka_unit_test(a_userfaultfd_that_is_none),
		cmocka_unit_test(back_ends_that_lie_about_their_memory),
		cmocka_unit_test(memory_is_of_whole_pages),
	};

	if (!allowed()) {
		fprintf(stderr, "userfaultfd is not allowed here\n");
		return 0;
	}
	return vht_run(tests);
}
