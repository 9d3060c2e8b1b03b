/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Full fences, locked instructions and system calls of a batch, counted: the processor stops after each instruction of the
 * calls under test, and a signal handler looks at the next one.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vht_ring.h"
#include "vhi_vring.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)

static struct {
	uint32_t instructions, fences, calls;
} seen;

static bool is_prefix(uint8_t byte)
{
	return memchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", byte, 11) || (byte & 0xf0) == 0x40;
}

static void look(const uint8_t *at)
{
	bool locked = false;

	seen.instructions++;
	for (; is_prefix(*at); at++)
		locked |= *at == 0xf0;
	/* mfence; an exchange with memory locks by itself. */
	if (locked || (at[0] == 0x0f && at[1] == 0xae && at[2] == 0xf0) || ((at[0] | 1) == 0x87 && at[1] < 0xc0))
		seen.fences++;
	if (at[0] == 0x0f && at[1] == 0x05)
		seen.calls++;
}

static void on_step(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	look((const uint8_t *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP]);
}

/* Bit 8 of the flags: a trap after each instruction. Not on the red zone of a leaf function. */
static void __attribute__((noinline)) stepping(bool on)
{
	if (on)
		__asm__ volatile("sub $128, %%rsp; pushfq; orl $0x100, (%%rsp); popfq; add $128, %%rsp" ::
					 : "memory", "cc");
	else
		__asm__ volatile("sub $128, %%rsp; pushfq; andl $~0x100, (%%rsp); popfq; add $128, %%rsp" ::
					 : "memory", "cc");
}

#define BATCH 32u

static struct vht_ring ring;
static struct vh_queue *driver;
static struct vh_req reqs[BATCH];
static struct vh_cpl cpls[BATCH];

static void open_ring(uint64_t features)
{
	struct vh_queue_opts opts;

	vht_ring_init_fds(&ring, 64, features);
	opts = ring.opts;
	opts.role = VH_QUEUE_DRIVER;
	assert_int_equal(vh_queue_open(ring.mem, &opts, -1, -1, &driver), 0);
}

static void close_ring(void)
{
	vh_queue_free(driver);
	vht_ring_free(&ring);
}

static void device_batch(bool arm)
{
	vh_count n = vh_queue_pop(ring.q, reqs, BATCH);

	for (vh_count i = 0; i < n; i++)
		cpls[i] = (struct vh_cpl){.token = reqs[i].token};
	vh_queue_push(ring.q, cpls, (uint32_t)n);
	if (arm)
		vh_queue_arm(ring.q);
}

static void fill(struct vh_seg *seg)
{
	*seg = (struct vh_seg){.addr = (uintptr_t)vht_host(&ring, VHT_DATA), .len = 64};
	for (uint32_t i = 0; i < BATCH; i++)
		reqs[i] = (struct vh_req){.segs = (uintptr_t)seg, .n_rd = 1, .user = i};
}

/* The last of some rounds: the queue has met its thread, and the clock its page. */
static void measure(bool device, bool arm)
{
	struct vh_seg seg;
	vh_count reaped;

	for (uint32_t round = 0; round < 4; round++) {
		fill(&seg);
		memset(&seen, 0, sizeof(seen));
		stepping(!device && round == 3);
		vh_queue_submit(driver, reqs, BATCH);
		stepping(device && round == 3);
		device_batch(arm);
		stepping(!device && round == 3);
		reaped = vh_queue_reap(driver, cpls, BATCH);
		stepping(false);
		assert_int_equal(reaped, BATCH);
	}
	print_message("%s, %s: %u instructions, %u fences, %u system calls\n", device ? "device" : "driver",
		      arm ? "events" : "polled", seen.instructions, seen.fences, seen.calls);
	assert_true(seen.instructions > 100);
}

static void quiet(void)
{
	vh_queue_disarm(ring.q);
	vh_queue_disarm(driver);
}

static void polled_a_batch_has_one_fence_and_no_system_call(void **state)
{
	(void)state;
	for (uint32_t device = 0; device < 2; device++) {
		open_ring(0);
		quiet();
		measure(device, false);
		assert_int_equal(seen.fences, 1);
		assert_int_equal(seen.calls, 0);
		close_ring();
	}
}

/* One write tells the driver, one read looks for a kick. */
static void with_events_it_has_two_fences(void **state)
{
	(void)state;
	open_ring(VHT_EVENT_IDX);
	measure(true, true);
	assert_int_equal(seen.fences, 2);
	assert_true(seen.calls <= 2);
	close_ring();
}

static int catch_steps(void **state)
{
	struct sigaction act = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};

	(void)state;
	return sigaction(SIGTRAP, &act, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(polled_a_batch_has_one_fence_and_no_system_call),
		cmocka_unit_test(with_events_it_has_two_fences),
	};

	assert_int_equal(catch_steps(NULL), 0);
	return vht_run_layouts(tests);
}

#else

int main(void)
{
	puts("instructions are looked at on x86-64 only, and not those of the thread sanitizer");
	return 0;
}

#endif
