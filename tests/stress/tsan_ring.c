/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A driver and a device, two threads, on the same mapping of the same memory. In real life the two are in different
 * processes, or at least have mappings of their own, and ThreadSanitizer is blind to a race through two mappings. Here
 * it sees the payload, which is touched by plain accesses, and which nothing orders but the release of an index, or of a
 * packed ring's flags, on one side and its acquire on the other: no fds, no locks, no other atomics between the two.
 *
 * Run it in a VH_SANITIZE=thread build under setarch -R. With VH_SEED=MISSING_ACQUIRE or MISSING_RELEASE it must report.
 */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vh/vh.h"
#include "vht_mem.h"

#define NUM    64u
#define SLOT   256u
#define WORDS  16u
#define GPA    UINT64_C(0x100000)
#define DATA   (GPA + 0x10000)
#define TABLES (GPA + 0x20000)

static struct vh_mem *mem;
static struct vh_queue *driver, *device;
static char *data;
static uint64_t rounds = 20000;

static void die(const char *what)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	fprintf(stderr, "tsan_ring: %s: %s\n", what, e.text);
	exit(1);
}

/* Each request: WORDS words to the device, their complement back. */
static void *device_thread(void *arg)
{
	struct vh_req reqs[16];
	struct vh_cpl cpls[16];

	for (uint64_t done = 0; done < rounds;) {
		vh_count n = vh_queue_pop(device, reqs, 1 + done % 16);

		if (n < 0)
			die("pop");
		for (vh_count i = 0; i < n; i++) {
			/* From the last to the first, so that ids don't come in order. */
			const struct vh_req *req = &reqs[n - 1 - i];
			const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
			const uint64_t *in = (const uint64_t *)(uintptr_t)segs[0].addr;
			uint64_t *out = (uint64_t *)(uintptr_t)segs[1].addr;

			if (req->n_rd != 1 || req->n_wr != 1)
				die("shape");
			for (uint32_t w = 0; w < WORDS; w++) {
				if (in[w] != in[0] + w)
					die("the device read something that the driver didn't write");
				out[w] = ~in[w];
			}
			cpls[i] = (struct vh_cpl){.token = req->token, .written = WORDS * 8};
		}
		if (n > 0 && vh_queue_push(device, cpls, (uint32_t)n))
			die("push");
		if (!n) {
			if (vh_queue_arm(device) < 0)
				die("arm");
			sched_yield();
		}
		done += (uint64_t)n;
	}
	return arg;
}

static void submit_one(uint32_t slot, uint64_t value)
{
	uint64_t *in = (uint64_t *)(void *)(data + (size_t)slot * SLOT);
	struct vh_seg segs[2] = {
		{.addr = (uintptr_t)in, .len = WORDS * 8},
		{.addr = (uintptr_t)(in + WORDS), .len = WORDS * 8},
	};
	struct vh_req req = {.segs = (uintptr_t)segs, .n_rd = 1, .n_wr = 1, .user = slot};

	for (uint32_t w = 0; w < WORDS; w++)
		in[w] = value + w;
	if (vh_queue_submit(driver, &req, 1) != 1)
		die("submit");
}

static void driver_loop(void)
{
	static uint64_t value[NUM];
	static uint32_t idle[NUM];
	uint32_t n_idle = (NUM - 1) / 2; /* chains of two descriptors */
	uint64_t sent = 0, got = 0;
	struct vh_cpl cpls[16];

	for (uint32_t i = 0; i < n_idle; i++)
		idle[i] = i;
	while (got < rounds) {
		vh_count n;

		while (n_idle && sent < rounds) {
			uint32_t slot = idle[--n_idle];

			value[slot] = sent++ * 1000;
			submit_one(slot, value[slot]);
		}
		n = vh_queue_reap(driver, cpls, 16);
		if (n < 0)
			die("reap");
		for (vh_count i = 0; i < n; i++) {
			uint32_t slot = (uint32_t)cpls[i].token;
			const uint64_t *out = (const uint64_t *)(void *)(data + (size_t)slot * SLOT) + WORDS;

			for (uint32_t w = 0; w < WORDS; w++)
				if (out[w] != ~(value[slot] + w))
					die("the driver read something that the device didn't write");
			idle[n_idle++] = slot;
		}
		if (!n) {
			if (vh_queue_arm(driver) < 0)
				die("arm");
			sched_yield();
		}
		got += (uint64_t)n;
	}
}

static void run(uint32_t num, uint64_t features, uint32_t max_indirect)
{
	struct vh_queue_opts opts = {.size = sizeof(opts), .role = VH_QUEUE_DRIVER, .num = num};
	pthread_t thread;

	if (vh_mem_new(NULL, &mem) || vh_mem_alloc(mem, GPA, 0x100000, 0))
		die("memory");
	data = vht_at(mem, DATA);
	opts.features = features;
	opts.base = features >> VH_F_RING_PACKED & 1 ? VH_QUEUE_PACKED_BASE : 0;
	opts.desc = GPA;
	opts.driver = GPA + 0x2000;
	opts.device = GPA + 0x4000;
	opts.indirect = TABLES;
	opts.max_indirect = max_indirect;
	if (vh_queue_open(mem, &opts, -1, -1, &driver))
		die("driver");
	opts.role = VH_QUEUE_DEVICE;
	if (vh_queue_open(mem, &opts, -1, -1, &device))
		die("device");
	if (pthread_create(&thread, NULL, device_thread, NULL))
		die("thread");
	driver_loop();
	pthread_join(thread, NULL);
	vh_queue_free(driver);
	vh_queue_free(device);
	vh_mem_free(mem);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		rounds = strtoull(argv[1], NULL, 10);
	for (uint32_t packed = 0; packed < 2; packed++) {
		const uint64_t layout = (uint64_t)packed << VH_F_RING_PACKED;
		const uint32_t num = NUM - packed; /* odd, where that is possible */

		run(num, layout, 0);
		run(num, layout | UINT64_C(1) << VH_F_RING_EVENT_IDX, 0);
		run(num, layout | UINT64_C(1) << VH_F_RING_EVENT_IDX | UINT64_C(1) << VH_F_RING_INDIRECT_DESC, 2);
	}
	return 0;
}
