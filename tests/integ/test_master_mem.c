/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What memory is shared and how, and the table of intents over vhost-user. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "vht_master.h"
#include "vhi_backend.h"
#include "vhi_master.h"

#define BIT(n)	 (UINT64_C(1) << (n))
#define NO_SLOTS (BIT(VH_PF_REPLY_ACK))

struct fix {
	struct vh_master *m;
	struct vht_backend b;
	struct vh_mem *mem;
	struct vh_backend *be;
	unsigned fds_before;
};

static int set_up(void **state)
{
	static struct fix f;

	f.fds_before = vht_open_fds();
	f.m = vht_master_new(2000);
	vht_backend_init(&f.b);
	assert_int_equal(vh_mem_new(NULL, &f.mem), 0);
	assert_int_equal(vh_master_backend(f.m, &f.be), 0);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fix *f = *state;

	vh_master_free(f->m);
	vht_backend_stop(&f->b);
	vh_mem_free(f->mem);
	assert_int_equal(vht_open_fds(), f->fds_before);
	return 0;
}

static void begin(struct fix *f)
{
	vht_backend_start(&f->b, vht_master_pair(f->m));
	assert_int_equal(vh_master_negotiate(f->m, UINT64_MAX, NULL), 0);
}

static struct vh_region alloc(struct fix *f, uint64_t gpa, uint64_t len)
{
	struct vh_region all[VH_MEM_MAX_REGIONS];
	int n;

	assert_int_equal(vh_mem_alloc(f->mem, gpa, len, 0), 0);
	n = vh_mem_regions(f->mem, all, VH_MEM_MAX_REGIONS);
	for (int i = 0; i < n; i++)
		if (all[i].gpa == gpa)
			return all[i];
	fail_msg("the region is not there");
	return all[0];
}

static unsigned count(const struct fix *f, uint32_t request)
{
	unsigned n = 0;

	while (vht_backend_seen(&f->b, request, n))
		n++;
	return n;
}

static void expect_region(const struct vht_msg *m, size_t at, const struct vh_region *r)
{
	assert_int_equal(vht_u64(m, at), r->gpa);
	assert_int_equal(vht_u64(m, at + 8), r->len);
	assert_int_equal(vht_u64(m, at + 16), r->uva);
	assert_int_equal(vht_u64(m, at + 24), r->offset);
	/* A token, and no address of ours. */
	assert_int_not_equal(r->uva, r->host);
}

static void without_slots_the_whole_table_is_sent(void **state)
{
	struct fix *f = *state;
	const struct vht_msg *m;
	struct vh_region r[2];

	f->b.protocol_features = NO_SLOTS;
	begin(f);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), -EINVAL); /* no regions */
	r[0] = alloc(f, 0, 8192);
	r[1] = alloc(f, 1 << 20, 4096);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
	for (int i = 0; i < 7; i++)
		alloc(f, (uint64_t)(i + 2) << 20, 4096);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), -ENOSPC);
	assert_int_equal(vh_master_add_mem_region(f->m, f->mem, 0), -EOPNOTSUPP);
	assert_int_equal(vh_master_remove_mem_region(f->m, &r[0]), -EOPNOTSUPP);
	vht_backend_join(&f->b);
	assert_int_equal(count(f, 5), 1);
	m = vht_backend_seen(&f->b, 5, 0);
	assert_int_equal(m->flags, 9);
	assert_int_equal(m->size, 8 + 2 * 32);
	assert_int_equal(m->n_fds, 2);
	assert_int_equal(vht_u32(m, 0), 2);
	assert_int_equal(vht_u32(m, 4), 0);
	expect_region(m, 8, &r[0]);
	expect_region(m, 40, &r[1]);
}

static void with_slots_only_the_difference_is_sent(void **state)
{
	struct fix *f = *state;
	const struct vht_msg *m;
	struct vh_region r[3];

	begin(f);
	r[0] = alloc(f, 0, 8192);
	r[1] = alloc(f, 1 << 20, 4096);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
	assert_int_equal(vh_mem_remove(f->mem, &r[0]), 0);
	r[2] = alloc(f, 4096, 4096); /* where the other was */
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
	vht_backend_join(&f->b);
	assert_int_equal(count(f, 5), 0);
	assert_int_equal(count(f, 37), 3);
	assert_int_equal(count(f, 38), 1);
	m = vht_backend_seen(&f->b, 37, 1);
	assert_int_equal(m->size, 40);
	assert_int_equal(m->n_fds, 1);
	assert_int_equal(m->flags, 9);
	assert_int_equal(vht_u64(m, 0), 0);
	expect_region(m, 8, &r[1]);
	m = vht_backend_seen(&f->b, 38, 0);
	assert_int_equal(m->size, 40);
	assert_int_equal(m->n_fds, 0);
	expect_region(m, 8, &r[0]);
	m = vht_backend_seen(&f->b, 37, 2);
	expect_region(m, 8, &r[2]);
	/* The removal is the message before the last. */
	assert_int_equal(f->b.seen[f->b.n_seen - 2].request, 38);
}

static void another_file_at_the_same_place_is_another_region(void **state)
{
	struct fix *f = *state;
	struct vh_region r = {.gpa = 0, .uva = 0x10000000, .len = 4096};

	begin(f);
	for (int i = 0; i < 2; i++) {
		FILE *file = tmpfile();

		assert_int_equal(ftruncate(fileno(file), 4096), 0);
		if (i)
			assert_int_equal(vh_mem_remove(f->mem, &r), 0);
		assert_int_equal(vh_mem_add_fd(f->mem, fileno(file), &r), 0);
		fclose(file);
		assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
	}
	vht_backend_join(&f->b);
	assert_int_equal(count(f, 37), 2);
	assert_int_equal(count(f, 38), 1);
}

static void more_regions_than_slots_are_refused_before_anything_is_sent(void **state)
{
	struct fix *f = *state;

	f->b.mem_slots = 2;
	begin(f);
	for (uint64_t i = 0; i < 3; i++)
		alloc(f, i << 20, 4096);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), -ENOSPC);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(vh_master_add_mem_region(f->m, f->mem, i), i < 2 ? 0 : -ENOSPC);
	vht_backend_join(&f->b);
	assert_int_equal(count(f, 37), 2);
}

static bool refuse_second_add(struct vht_backend *b, struct vht_msg *m)
{
	if (m->request != 37 || ++b->status != 2)
		return false;
	vht_send_u64(b->fd, 37, 5, 1);
	return true;
}

static void a_refused_region_is_offered_again(void **state)
{
	struct fix *f = *state;
	struct vh_region r;

	f->b.script = refuse_second_add;
	begin(f);
	alloc(f, 0, 4096);
	r = alloc(f, 1 << 20, 4096);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), -EREMOTEIO);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
	vht_backend_join(&f->b);
	assert_int_equal(count(f, 37), 3);
	expect_region(vht_backend_seen(&f->b, 37, 2), 8, &r);
}

/* The first ADD, REM or SET_MEM_TABLE that comes while this is set is answered when the signal is over. */
static struct {
	uint32_t request;
	uint64_t status;
	int go[2]; /* a byte: answer now */
} late;

static bool answer_late(struct vht_backend *b, struct vht_msg *m)
{
	char c;

	if (m->request != late.request)
		return false;
	late.request = 0;
	if (read(late.go[0], &c, 1) == 1)
		vht_send_u64(b->fd, m->request, 5, late.status);
	return true;
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void interrupt_soon(void)
{
	const struct itimerval t = {.it_value = {.tv_usec = 20000}};
	struct sigaction act = {.sa_handler = on_alarm};

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

/* A call is interrupted, its request is answered with @status, and the wait goes on. */
static int interrupted_set_mem(struct fix *f, uint32_t request, uint64_t status)
{
	int rc;

	late.request = request;
	late.status = status;
	interrupt_soon();
	assert_int_equal(vh_master_set_mem(f->m, f->mem), -EINTR);
	assert_int_equal(write(late.go[1], "", 1), 1);
	rc = vh_master_resume(f->m);
	assert_int_equal(vh_master_resume(f->m), 0); /* told once */
	return rc;
}

static void a_refusal_after_a_signal_is_remembered(void **state)
{
	struct fix *f = *state;
	struct vh_region r;

	assert_int_equal(pipe2(late.go, O_CLOEXEC), 0);
	f->b.script = answer_late;
	begin(f);
	r = alloc(f, 0, 4096);
	/* Refused, so it is offered again; taken, so it is not. */
	assert_int_equal(interrupted_set_mem(f, 37, 1), -EREMOTEIO);
	assert_non_null(strstr(vht_text(), "refused ADD_MEM_REG"));
	assert_int_equal(interrupted_set_mem(f, 37, 0), 0);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
	assert_int_equal(vh_mem_remove(f->mem, &r), 0);
	assert_int_equal(interrupted_set_mem(f, 38, 1), -EREMOTEIO);
	assert_int_equal(interrupted_set_mem(f, 38, 0), 0);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
	vht_backend_join(&f->b);
	assert_int_equal(count(f, 37), 2);
	assert_int_equal(count(f, 38), 2);
	close(late.go[0]);
	close(late.go[1]);
}

static void the_next_call_about_memory_waits_for_the_interrupted_one(void **state)
{
	struct fix *f = *state;

	assert_int_equal(pipe2(late.go, O_CLOEXEC), 0);
	f->b.script = answer_late;
	begin(f);
	alloc(f, 0, 4096);
	for (uint64_t status = 0; status < 2; status++) {
		late.request = 37;
		late.status = !status;
		interrupt_soon();
		assert_int_equal(vh_master_set_mem(f->m, f->mem), -EINTR);
		/* Before the reply nobody knows whether it has to be sent again. */
		interrupt_soon();
		assert_int_equal(vh_master_add_mem_region(f->m, f->mem, 0), -EINTR);
		assert_int_equal(write(late.go[1], "", 1), 1);
		assert_int_equal(vh_master_resume(f->m), -EAGAIN);
		assert_non_null(strstr(vht_text(), "vh_master_add_mem_region was not sent"));
	}
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
	vht_backend_join(&f->b);
	assert_int_equal(count(f, 37), 2);
	close(late.go[0]);
	close(late.go[1]);
}

static void a_refused_table_after_a_signal_shares_nothing(void **state)
{
	struct fix *f = *state;
	struct vhi_ring_intent ring = {.num = 2, .kick = -1, .call = -1, .err = -1};

	assert_int_equal(pipe2(late.go, O_CLOEXEC), 0);
	f->b.protocol_features = NO_SLOTS;
	f->b.script = answer_late;
	begin(f);
	alloc(f, 0, 4096);
	assert_int_equal(interrupted_set_mem(f, 5, 1), -EREMOTEIO);
	assert_int_equal(f->m->n_shared, 0);
	assert_int_equal(f->be->ops->ring_start(f->be->ctx, 0, &ring), -EINVAL);
	assert_int_equal(interrupted_set_mem(f, 5, 0), 0);
	assert_int_equal(f->m->n_shared, 1);
	close(late.go[0]);
	close(late.go[1]);
}

static void a_new_connection_is_told_everything(void **state)
{
	struct fix *f = *state;

	for (int i = 0; i < 2; i++) {
		begin(f);
		if (!i)
			alloc(f, 0, 4096);
		assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
		vht_backend_join(&f->b);
		assert_int_equal(count(f, 37), 1);
		assert_int_equal(vh_master_disconnect(f->m), 0);
		vht_backend_stop(&f->b);
	}
}

static void regions_are_added_and_removed_one_by_one(void **state)
{
	struct fix *f = *state;
	struct vh_region r[2];

	begin(f);
	r[0] = alloc(f, 0, 4096);
	r[1] = alloc(f, 1 << 20, 4096);
	assert_int_equal(vh_master_add_mem_region(f->m, f->mem, 1), 0);
	assert_int_equal(vh_master_add_mem_region(f->m, f->mem, 2), -ENOENT);
	assert_int_equal(vh_master_add_mem_region(f->m, NULL, 0), -EINVAL);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0); /* adds the other */
	assert_int_equal(vh_master_remove_mem_region(f->m, &r[1]), 0);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0); /* puts it back */
	vht_backend_join(&f->b);
	assert_int_equal(count(f, 37), 3);
	expect_region(vht_backend_seen(&f->b, 37, 0), 8, &r[1]);
	expect_region(vht_backend_seen(&f->b, 37, 1), 8, &r[0]);
	expect_region(vht_backend_seen(&f->b, 37, 2), 8, &r[1]);
}

static void an_empty_memory_takes_back_what_was_shared(void **state)
{
	struct fix *f = *state;
	struct vh_region r[2];

	begin(f);
	r[0] = alloc(f, 0, 4096);
	r[1] = alloc(f, 1 << 20, 4096);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(vh_mem_remove(f->mem, &r[i]), 0);
	assert_int_equal(vh_master_set_mem(f->m, f->mem), 0);
	vht_backend_join(&f->b);
	assert_int_equal(count(f, 38), 2);
	for (unsigned i = 0; i < 2; i++)
		expect_region(vht_backend_seen(&f->b, 38, i), 8, &r[i]);
}

static struct vhi_ring_intent ring(int kick, int call, int err)
{
	return (struct vhi_ring_intent){.num = 256,
					.base = 7,
					.desc = {0x1000},
					.driver = {0x2000},
					.device = {0x3000},
					.kick = kick,
					.call = call,
					.err = err};
}

static void expect_order(const struct fix *f, unsigned from, const uint32_t *order, unsigned n)
{
	assert_int_equal(f->b.n_seen - from, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(f->b.seen[from + i].request, order[i]);
}

static void a_ring_is_started_in_the_usual_order_and_kicked_once(void **state)
{
	static const uint32_t order[] = {37, 8, 10, 9, 12, 13, 14, 18, 11};
	struct fix *f = *state;
	int kick = eventfd(0, EFD_CLOEXEC), call = eventfd(0, EFD_CLOEXEC), err = eventfd(0, EFD_CLOEXEC);
	struct vhi_ring_intent r = ring(kick, call, err);
	struct vh_region region = alloc(f, 0, 1 << 20);
	const struct vht_msg *m;
	uint32_t base = 0;
	uint64_t kicks = 0;
	unsigned from = 8;

	begin(f);
	assert_int_equal(f->be->ops->ring_start(f->be->ctx, 1, &r), -EINVAL); /* no memory yet */
	assert_int_equal(f->be->ops->set_memory(f->be->ctx, f->mem), 0);
	assert_int_equal(f->be->ops->ring_start(f->be->ctx, 1, &r), 0);
	assert_int_equal(read(kick, &kicks, 8), 8);
	assert_int_equal(kicks, 1);
	assert_int_equal(f->be->ops->ring_enable(f->be->ctx, 1, true), 0);
	assert_int_equal(f->be->ops->ring_stop(f->be->ctx, 1, &base), 0);
	assert_int_equal(base, 101);
	vht_backend_join(&f->b);
	expect_order(f, from, order, 9);
	m = vht_backend_seen(&f->b, 9, 0);
	assert_int_equal(vht_u32(m, 0), 1);
	assert_int_equal(vht_u32(m, 4), 0);
	assert_int_equal(vht_u64(m, 8), region.uva + 0x1000);
	assert_int_equal(vht_u64(m, 16), region.uva + 0x3000);
	assert_int_equal(vht_u64(m, 24), region.uva + 0x2000);
	assert_int_equal(vht_u64(m, 32), 0x3000);
	close(kick);
	close(call);
	close(err);
}

/* One that answers nothing before the last of those that are sent together is there. */
static bool answer_together(struct vht_backend *b, struct vht_msg *m)
{
	static const struct {
		uint32_t n, requests[3];
	} groups[] = {{3, {8, 10, 9}}, {2, {12, 13}}};

	for (unsigned g = 0; g < 2; g++)
		for (uint32_t i = 0; i < groups[g].n; i++) {
			if (m->request != groups[g].requests[i])
				continue;
			for (uint32_t k = 0; i + 1 == groups[g].n && k <= i; k++)
				vht_send_u64(b->fd, groups[g].requests[k], 5, 0);
			vht_close_fds(m);
			return true;
		}
	return false;
}

static void what_says_where_a_ring_is_is_sent_without_waiting_in_between(void **state)
{
	struct fix *f = *state;
	int kick = eventfd(0, EFD_CLOEXEC), call = eventfd(0, EFD_CLOEXEC);
	struct vhi_ring_intent r = ring(kick, call, -1);

	alloc(f, 0, 1 << 20);
	f->b.script = answer_together;
	begin(f);
	assert_int_equal(f->be->ops->set_memory(f->be->ctx, f->mem), 0);
	assert_int_equal(f->be->ops->ring_start(f->be->ctx, 0, &r), 0);
	close(kick);
	close(call);
}

static uint32_t refused;

static bool refuse_one(struct vht_backend *b, struct vht_msg *m)
{
	if (m->request != refused)
		return false;
	vht_send_u64(b->fd, m->request, 5, 1);
	vht_close_fds(m);
	return true;
}

/* Of several that are sent together the one that was refused is named, and no reply is left over. */
static void a_ring_that_is_refused_says_by_which_message(void **state)
{
	static const struct {
		uint32_t request;
		const char *text;
		unsigned kicks; /* messages of this kind that came */
	} cases[] = {{8, "refused SET_VRING_NUM", 0},
		     {10, "refused SET_VRING_BASE", 0},
		     {9, "refused SET_VRING_ADDR", 0},
		     {12, "refused SET_VRING_KICK", 1},
		     {13, "refused SET_VRING_CALL", 2}};
	struct vh_error e = {.size = sizeof(e)};
	struct fix *f = *state;
	struct vhi_ring_intent r = ring(-1, -1, -1);

	alloc(f, 0, 1 << 20);
	f->b.script = refuse_one;
	begin(f);
	assert_int_equal(f->be->ops->set_memory(f->be->ctx, f->mem), 0);
	for (unsigned i = 0; i < 5; i++) {
		refused = cases[i].request;
		assert_int_equal(f->be->ops->ring_start(f->be->ctx, 0, &r), -EREMOTEIO);
		assert_non_null(strstr(vht_text(), cases[i].text));
		assert_int_equal(vh_error_get(&e), 0);
		assert_int_equal(e.request, cases[i].request);
		assert_int_equal(vh_master_get_features(f->m, &(uint64_t){0}), 0);
		assert_int_equal(count(f, 12), cases[i].kicks);
	}
}

static void a_ring_that_is_refused_after_a_signal_says_so_too(void **state)
{
	static const struct {
		uint32_t request;
		uint64_t status;
		int rc;
	} cases[] = {{8, 1, -EREMOTEIO}, {10, 1, -EREMOTEIO}, {9, 1, -EREMOTEIO}, {8, 0, 0}, {13, 1, -EREMOTEIO}};
	struct fix *f = *state;
	struct vhi_ring_intent r = ring(-1, -1, -1);

	assert_int_equal(pipe2(late.go, O_CLOEXEC), 0);
	alloc(f, 0, 1 << 20);
	f->b.script = answer_late;
	begin(f);
	assert_int_equal(f->be->ops->set_memory(f->be->ctx, f->mem), 0);
	for (unsigned i = 0; i < 5; i++) {
		late.request = cases[i].request;
		late.status = cases[i].status;
		interrupt_soon();
		assert_int_equal(f->be->ops->ring_start(f->be->ctx, 0, &r), -EINTR);
		assert_int_equal(write(late.go[1], "", 1), 1);
		assert_int_equal(vh_master_resume(f->m), cases[i].rc);
		assert_int_equal(vh_master_resume(f->m), 0); /* told once */
		assert_int_equal(vh_master_get_features(f->m, &(uint64_t){0}), 0);
	}
	close(late.go[0]);
	close(late.go[1]);
}

static void without_reply_ack_get_features_says_that_it_is_in_force(void **state)
{
	static const uint32_t order[] = {37, 1, 8, 10, 9, 12, 13, 1, 18};
	struct fix *f = *state;
	struct vhi_ring_intent r = ring(-1, -1, -1);

	alloc(f, 0, 1 << 20);
	f->b.protocol_features = BIT(VH_PF_CONFIGURE_MEM_SLOTS);
	begin(f);
	assert_int_equal(f->be->ops->set_memory(f->be->ctx, f->mem), 0);
	assert_int_equal(f->be->ops->ring_start(f->be->ctx, 0, &r), 0);
	assert_int_equal(f->be->ops->ring_enable(f->be->ctx, 0, true), 0);
	assert_int_equal(vh_master_get_features(f->m, &(uint64_t){0}), 0);
	vht_backend_join(&f->b);
	f->b.n_seen--;
	expect_order(f, 6, order, 9);
	assert_int_equal(vht_u64(vht_backend_seen(&f->b, 12, 0), 0), 0x100);
	assert_int_equal(vht_u64(vht_backend_seen(&f->b, 13, 0), 0), 0x100);
}

static void ring_addresses_must_lie_in_shared_memory(void **state)
{
	struct fix *f = *state;
	struct vhi_ring_intent r = ring(-1, -1, -1);

	/* The used ring of 256 entries has 2054 bytes from 0x3000 on. */
	alloc(f, 0, 0x3000 + 2048);
	alloc(f, 0x100000, 4096);
	begin(f);
	assert_int_equal(f->be->ops->set_memory(f->be->ctx, f->mem), 0);
	assert_int_equal(f->be->ops->ring_start(f->be->ctx, 0, &r), -EFAULT);
	vht_backend_join(&f->b);
	assert_int_equal(count(f, 8), 0);
}

static void packed_rings_have_small_event_areas(void **state)
{
	struct fix *f = *state;
	struct vhi_ring_intent r = ring(-1, -1, -1);

	alloc(f, 0, 0x3000 + 4);
	f->b.features |= BIT(VH_F_RING_PACKED);
	begin(f);
	r.base = 0x80008000;
	assert_int_equal(f->be->ops->set_memory(f->be->ctx, f->mem), 0);
	assert_int_equal(f->be->ops->ring_start(f->be->ctx, 0, &r), 0);
	vht_backend_join(&f->b);
	assert_int_equal(vht_u32(vht_backend_seen(&f->b, 10, 0), 4), 0x80008000);
}

static void a_driver_sees_the_device_through_the_table(void **state)
{
	struct fix *f = *state;
	const struct vhi_backend_ops *ops = f->be->ops;
	uint8_t buf[4] = {9, 9, 9, 9}, status = 0;
	uint32_t n = 0;
	uint64_t acked = 0;

	assert_int_equal(ops->max_queues(f->be->ctx, &n), -ENOTCONN);
	vht_backend_start(&f->b, vht_master_pair(f->m));
	f->b.features |= BIT(VH_F_ACCESS_PLATFORM);
	assert_int_equal(ops->negotiate(f->be->ctx, UINT64_MAX, &acked), 0);
	assert_int_equal(acked & BIT(VH_F_ACCESS_PLATFORM), BIT(VH_F_ACCESS_PLATFORM));
	assert_int_equal(ops->max_queues(f->be->ctx, &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(vh_backend_set_config(f->be, 8, buf, 4), 0);
	assert_int_equal(vh_backend_get_config(f->be, 6, buf, 4), 0);
	assert_memory_equal(buf, ((uint8_t[]){6, 7, 9, 9}), 4);
	assert_int_equal(ops->set_status(f->be->ctx, 15), 0);
	assert_int_equal(ops->get_status(f->be->ctx, &status), 0);
	assert_int_equal(status, 15);
	assert_int_equal(ops->reset(f->be->ctx), 0);
	assert_int_equal(ops->set_log(f->be->ctx, -1, 0, 0), 0);
	assert_int_equal(ops->suspend(f->be->ctx), -EOPNOTSUPP);
	assert_int_equal(ops->resume(f->be->ctx), -EOPNOTSUPP);
	assert_int_equal(ops->iotlb_update(f->be->ctx, (struct vhi_iova){0}, 1, (struct vhi_gpa){0}, 1), 0);
	assert_int_equal(ops->iotlb_invalidate(f->be->ctx, (struct vhi_iova){0}, 1), 0);
	assert_int_equal(ops->fd(f->be->ctx), vh_master_fd(f->m));
	assert_int_equal(ops->dispatch(f->be->ctx), 0);
	vht_backend_stop(&f->b);

	/* A plain one: no protocol features, so nothing to enable, no status, one queue. */
	assert_int_equal(vht_until_failed(f->m), -ECONNRESET);
	f->b.features = BIT(VH_F_VERSION_1);
	begin(f);
	assert_int_equal(ops->max_queues(f->be->ctx, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(ops->ring_enable(f->be->ctx, 0, true), 0);
	assert_int_equal(ops->set_status(f->be->ctx, 15), -EOPNOTSUPP);
	assert_int_equal(ops->get_status(f->be->ctx, &status), -EOPNOTSUPP);
	assert_int_equal(ops->reset(f->be->ctx), -EOPNOTSUPP);
	assert_int_equal(ops->set_log(f->be->ctx, 0, 0, 8), -EOPNOTSUPP);
	assert_int_equal(vh_backend_get_config(f->be, 0, buf, 4), -EOPNOTSUPP);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(without_slots_the_whole_table_is_sent),
		T(with_slots_only_the_difference_is_sent),
		T(another_file_at_the_same_place_is_another_region),
		T(more_regions_than_slots_are_refused_before_anything_is_sent),
		T(a_refused_region_is_offered_again),
		T(a_refusal_after_a_signal_is_remembered),
		T(the_next_call_about_memory_waits_for_the_interrupted_one),
		T(a_refused_table_after_a_signal_shares_nothing),
		T(a_new_connection_is_told_everything),
		T(regions_are_added_and_removed_one_by_one),
		T(an_empty_memory_takes_back_what_was_shared),
		T(a_ring_is_started_in_the_usual_order_and_kicked_once),
		T(what_says_where_a_ring_is_is_sent_without_waiting_in_between),
		T(a_ring_that_is_refused_says_by_which_message),
		T(a_ring_that_is_refused_after_a_signal_says_so_too),
		T(without_reply_ack_get_features_says_that_it_is_in_force),
		T(ring_addresses_must_lie_in_shared_memory),
		T(packed_rings_have_small_event_areas),
		T(a_driver_sees_the_device_through_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
