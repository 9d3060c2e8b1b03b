/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Inflight records against a crash between any two stores. The pages of the ring and of the records are write-protected
 * while the queue is inside; each store faults, what was there before it is kept, and the store is done alone. Then a
 * device starts from each of these states, and every request has to be completed once.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_track.h"
#include "vhi_vring.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define CAN_STEP 1
#define EFL_TRAP 0x100
#else
#define CAN_STEP 0
#endif

#define AREA	  512u
#define RECORDS	  2048u
#define MAX_SHOTS 4000u
#define HEADS	  8u
#define FEW	  64u

/* Everything that survives, and what the driver knows. */
struct shot {
	uint8_t area[3][AREA];
	uint8_t records[RECORDS];
	struct vht_packed packed;
	uint32_t offered, seen;
	uint16_t next;
	uint16_t offers[HEADS], done[HEADS], n_desc[2 * HEADS];
	uint32_t offered_at[HEADS], clock;
};

/* A ring, its driver, and a device with records. */
struct side {
	struct vht_ring ring;
	struct vh_inflight in;
	int fd;
	uint32_t seen; /* used elements that were tallied */
	uint16_t offers[HEADS], done[HEADS];
	struct vh_req popped[FEW];
	uint32_t n_popped;
	uint32_t offered_at[HEADS]; /* which is the order of pop */
	uint32_t clock;
	void *at[3]; /* descriptors, the driver's and the device's area */
};

/* The one that the test drives, one that goes on after a crash, and one that goes on after a crash of that one. */
static struct side sides[3];
static struct shot *shots;
static uint32_t n_shots;
static uint64_t random_state;

static uint32_t any(uint32_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(random_state >> 33) % n;
}

static void side_open(struct side *s)
{
	const uint64_t at[] = {s->ring.opts.desc, s->ring.opts.driver, s->ring.opts.device};

	assert_int_equal(vht_ring_open(&s->ring), 0);
	assert_int_equal(vh_queue_set_inflight(s->ring.q, &s->in, s->fd), 0);
	for (uint32_t i = 0; i < 3; i++)
		s->at[i] = vht_host(&s->ring, at[i]);
}

static void side_init(struct side *s)
{
	memset(s, 0, sizeof(*s));
	vht_ring_prepare(&s->ring, vht_either(16, 13), 0);
	s->ring.opts.flags = VH_QUEUE_HOLD;
	s->in.size = sizeof(s->in);
	assert_int_equal(vh_inflight_make(1, s->ring.opts.num, s->ring.opts.features, &s->in, &s->fd), 0);
	assert_true(s->in.mmap_size <= RECORDS);
	side_open(s);
}

static void side_fini(struct side *s)
{
	vht_ring_free(&s->ring);
	close(s->fd);
}

static void tally(struct side *s)
{
	while ((uint16_t)s->seen != vht_used_idx(&s->ring)) {
		const uint32_t head = vht_used_id(&s->ring, s->seen++);

		assert_true(head % 2 == 0 && head / 2 < HEADS);
		s->done[head / 2]++;
	}
}

static uint32_t in_use(const struct side *s, uint32_t head)
{
	return (uint16_t)(s->offers[head] - s->done[head]);
}

/* Only from private memory and what is mapped: it is called from a signal handler. */
static void keep(const struct side *s, struct shot *to)
{
	for (uint32_t i = 0; i < 3; i++)
		memcpy(to->area[i], s->at[i], AREA);
	memcpy(to->records, s->ring.q->alone->ring.inflight->region->host, s->in.mmap_size);
	to->packed = s->ring.packed;
	to->offered = s->ring.offered;
	to->next = s->ring.next;
	to->seen = s->seen;
	memcpy(to->offers, s->offers, sizeof(to->offers));
	memcpy(to->done, s->done, sizeof(to->done));
	memcpy(to->offered_at, s->offered_at, sizeof(to->offered_at));
	to->clock = s->clock;
	for (uint32_t i = 0; vht_layout && i < 2 * HEADS; i++)
		to->n_desc[i] = s->ring.packed.n_desc[i];
}

static struct side *stepped; /* whose pages are protected */

static void take_shot(void)
{
	if (n_shots < MAX_SHOTS)
		keep(stepped, &shots[n_shots++]);
}

static void protect(const struct side *s, int prot)
{
	const struct vhi_region *r = s->ring.q->alone->ring.inflight->region;

	if (mprotect(s->at[0], 4096, prot) || mprotect(s->at[2], 4096, prot) || mprotect(r->map, r->map_len, prot))
		abort();
}

#if CAN_STEP
static void on_store(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)info;
	if (!stepped) {
		signal(sig, SIG_DFL);
		return;
	}
	protect(stepped, PROT_READ | PROT_WRITE);
	take_shot();
	u->uc_mcontext.gregs[REG_EFL] |= EFL_TRAP;
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)sig, (void)info;
	u->uc_mcontext.gregs[REG_EFL] &= ~EFL_TRAP;
	if (stepped)
		protect(stepped, PROT_READ);
}

static void watch_stores(void)
{
	struct sigaction store = {.sa_sigaction = on_store, .sa_flags = SA_SIGINFO};
	struct sigaction trap = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};

	assert_int_equal(sigaction(SIGSEGV, &store, NULL), 0);
	assert_int_equal(sigaction(SIGTRAP, &trap, NULL), 0);
}
#endif

/* Between these, each store is a place where the process may die. */
static void step_begin(struct side *s, bool on)
{
	if (!on)
		return;
	stepped = s;
	protect(s, PROT_READ);
}

static void step_end(struct side *s, bool on)
{
	if (!on)
		return;
	protect(s, PROT_READ | PROT_WRITE);
	take_shot();
	stepped = NULL;
}

static void pop(struct side *s, uint32_t max, bool step)
{
	struct vh_req *to = s->popped + s->n_popped;
	vh_count n;

	step_begin(s, step);
	n = vh_queue_pop(s->ring.q, to, max);
	step_end(s, step);
	assert_true(n >= 0);
	for (vh_count i = 0; i < n; i++) {
		const uint32_t head = (uint32_t)to[i].token;

		assert_true(head % 2 == 0 && head / 2 < HEADS);
		/* What it is: see offer(). */
		assert_int_equal(to[i].n_rd, 1);
		assert_int_equal(to[i].n_wr, s->ring.desc[head].flags & VHT_NEXT ? 1 : 0);
	}
	s->n_popped += (uint32_t)n;
}

/* Any of those in flight, in any order. */
static void push(struct side *s, uint32_t n, bool step)
{
	struct vh_cpl cpls[FEW];
	vh_rc rc;

	for (uint32_t i = 0; i < n; i++) {
		const uint32_t at = any(s->n_popped);

		cpls[i] = (struct vh_cpl){.token = s->popped[at].token};
		memmove(&s->popped[at], &s->popped[at + 1], (--s->n_popped - at) * sizeof(s->popped[0]));
	}
	step_begin(s, step);
	rc = vh_queue_push(s->ring.q, cpls, n);
	step_end(s, step);
	assert_int_equal(rc, 0);
}

/* One of one descriptor or of two; the head says which request it is. */
static void offer(struct side *s)
{
	const uint32_t head = any(s->ring.opts.num / 2);

	if (in_use(s, head))
		return;
	s->offers[head]++;
	s->offered_at[head] = ++s->clock;
	vht_chain(&s->ring, 2 * head, 1, any(2));
}

/* As the state was: a new process, the same memory and the same file. */
static void restore(struct side *s, const struct shot *from)
{
	vh_queue_free(s->ring.q);
	assert_int_equal(pwrite(s->fd, from->records, s->in.mmap_size, 0), s->in.mmap_size);
	side_open(s);
	for (uint32_t i = 0; i < 3; i++)
		memcpy(s->at[i], from->area[i], AREA);
	if (vht_layout) {
		s->ring.packed.done = from->packed.done;
		s->ring.packed.n_used = from->packed.n_used;
		for (uint32_t i = 0; i < 2 * HEADS; i++)
			s->ring.packed.n_desc[i] = from->n_desc[i];
		memcpy(s->ring.packed.log, from->packed.log, (UINT16_MAX + 1u) * sizeof(*from->packed.log));
		/* Which descriptors a head has is in a table of the driver's own. */
		memcpy(s->ring.desc, sides[0].ring.desc, s->ring.opts.num * sizeof(*s->ring.desc));
	}
	s->ring.offered = from->offered;
	s->ring.next = from->next;
	s->seen = from->seen;
	s->n_popped = 0;
	memcpy(s->offers, from->offers, sizeof(s->offers));
	memcpy(s->done, from->done, sizeof(s->done));
	memcpy(s->offered_at, from->offered_at, sizeof(s->offered_at));
	s->clock = from->clock;
}

static uint32_t when(const struct side *s, uint32_t i)
{
	return s->offered_at[(uint32_t)s->popped[i].token / 2];
}

/* Everything that was offered and is not used comes out once, what comes again in the order in which it came before. */
static void go_on(struct side *s, const struct shot *from, bool step)
{
	uint32_t owed = 0, before;

	restore(s, from);
	tally(s);
	for (uint32_t i = 0; i < HEADS; i++)
		owed += in_use(s, i);
	step_begin(s, step);
	assert_int_equal(vh_queue_start(s->ring.q), 0);
	step_end(s, step);
	do {
		before = s->n_popped;
		pop(s, 1 + any(4), step);
	} while (s->n_popped != before);
	assert_int_equal(s->n_popped, owed);
	for (uint32_t i = 0; i < s->n_popped; i++)
		for (uint32_t j = 0; j < i; j++)
			assert_true(s->popped[i].token != s->popped[j].token);
	for (uint32_t i = 1; i < s->n_popped; i++)
		if (s->popped[i].flags & VH_REQ_RESUBMITTED)
			assert_true(s->popped[i - 1].flags & VH_REQ_RESUBMITTED);
	for (uint32_t i = 1; i < s->n_popped; i++)
		assert_true(when(s, i - 1) < when(s, i));
	while (s->n_popped)
		push(s, 1 + any(s->n_popped), step);
	tally(s);
	for (uint32_t i = 0; i < HEADS; i++)
		assert_int_equal(s->offers[i], s->done[i]);
	/* Nothing is left. */
	pop(s, 1, false);
	assert_int_equal(s->n_popped, 0);
}

static void seed(void)
{
	const char *given = getenv("VHT_SEED");

	random_state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	print_message("VHT_SEED=%llu\n", (unsigned long long)random_state);
}

/* A step of the device or its driver. */
static void move(struct side *s, bool step)
{
	const uint32_t what = any(8);
	uint32_t n;

	if (what < 3) {
		offer(s);
	} else if (what < 5) {
		pop(s, 1 + any(3), step);
	} else if (what < 7 && s->n_popped) {
		push(s, 1 + any(s->n_popped), step);
	} else if (s->n_popped) {
		/* Only where the newest were not pushed: what is in flight is in the order of pop. */
		n = s->ring.q->seq == s->popped[s->n_popped - 1].seq + 1 ? 1 : 0;
		step_begin(s, step);
		assert_int_equal(vh_queue_unpop(s->ring.q, n), 0);
		step_end(s, step);
		s->n_popped -= n;
	}
	tally(s);
}

static int setup(void **state)
{
	(void)state;
	seed();
	n_shots = 0;
	shots = calloc(MAX_SHOTS, sizeof(*shots));
	assert_non_null(shots);
	for (uint32_t i = 0; i < 3; i++)
		side_init(&sides[i]);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		side_fini(&sides[i]);
	free(shots);
	return 0;
}

#if CAN_STEP
static void case_173_a_crash_between_any_two_stores_loses_and_doubles_nothing(void **state)
{
	uint32_t first, n, all = 0;

	(void)state;
	watch_stores();
	assert_int_equal(vh_queue_start(sides[0].ring.q), 0);
	for (uint32_t i = 0; i < 250; i++) {
		n_shots = 0;
		move(&sides[0], true);
		n = n_shots;
		assert_true(n < MAX_SHOTS / 2);
		for (uint32_t j = 0; j < n; j++) {
			/* And a crash of the one that goes on: from time to time, as there are so many. */
			const bool twice = !any(40);

			first = n_shots;
			go_on(&sides[1], &shots[j], twice);
			for (uint32_t k = first; k < n_shots; k++)
				go_on(&sides[2], &shots[k], false);
			n_shots = first;
		}
		all += n;
	}
	print_message("%u places to crash at\n", all);
}
#endif

/* The same from outside: no store is looked at, but there are more of them, and the positions wrap. */
static void a_crash_after_any_call_loses_and_doubles_nothing(void **state)
{
	struct shot *at = &shots[0];

	(void)state;
	assert_int_equal(vh_queue_start(sides[0].ring.q), 0);
	for (uint32_t i = 0; i < 3000; i++) {
		move(&sides[0], false);
		keep(&sides[0], at);
		if (!any(8))
			go_on(&sides[1], at, false);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#if CAN_STEP
		cmocka_unit_test_setup_teardown(case_173_a_crash_between_any_two_stores_loses_and_doubles_nothing,
						setup, teardown),
#endif
		cmocka_unit_test_setup_teardown(a_crash_after_any_call_loses_and_doubles_nothing, setup, teardown),
	};

	return vht_run_layouts(tests);
}
