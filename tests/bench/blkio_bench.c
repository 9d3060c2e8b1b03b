/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * 4 KiB random requests through libblkio's virtio-blk-vhost-user driver: the front-end that is not ours.
 * usage: blkio_bench SOCKET randread|randwrite DEPTH SECONDS [poll]; prints one line of JSON.
 */
#include <blkio.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BS	   4096u
#define MAX_DEPTH  256u
#define MAX_SAMPLE (1u << 22)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void must(int rc, const char *what)
{
	if (rc < 0) {
		fprintf(stderr, "blkio_bench: %s: %s\n", what, blkio_get_error_msg());
		exit(1);
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

struct run {
	struct blkioq *q;
	struct blkio_mem_region mem;
	uint64_t blocks, rng, started[MAX_DEPTH];
	bool write;
};

static void start(struct run *r, uintptr_t slot)
{
	uint8_t *buf = (uint8_t *)r->mem.addr + slot * BS;

	r->rng ^= r->rng << 13;
	r->rng ^= r->rng >> 7;
	r->rng ^= r->rng << 17;
	r->started[slot] = now_ns();
	if (r->write)
		blkioq_write(r->q, r->rng % r->blocks * BS, buf, BS, (void *)slot, 0);
	else
		blkioq_read(r->q, r->rng % r->blocks * BS, buf, BS, (void *)slot, 0);
}

int main(int argc, char **argv)
{
	static uint32_t sample[MAX_SAMPLE];
	struct blkio_completion done[MAX_DEPTH];
	struct run r = {.rng = 88172645463325252u};
	struct blkio *b;
	uint64_t capacity, n = 0, begin, end;
	unsigned depth, in_flight;

	const bool poll = argc == 6 && !strcmp(argv[5], "poll");

	if (argc != 5 && !poll)
		return 2;
	r.write = !strcmp(argv[2], "randwrite");
	depth = in_flight = (unsigned)atoi(argv[3]);
	if (!depth || depth > MAX_DEPTH)
		return 2;
	must(blkio_create("virtio-blk-vhost-user", &b), "create");
	must(blkio_set_str(b, "path", argv[1]), "path");
	must(blkio_connect(b), "connect");
	if (poll) {
		must(blkio_set_int(b, "num-queues", 0), "num-queues");
		must(blkio_set_int(b, "num-poll-queues", 1), "num-poll-queues");
	}
	must(blkio_start(b), "start");
	must(blkio_get_uint64(b, "capacity", &capacity), "capacity");
	r.blocks = capacity / BS;
	if (!r.blocks) {
		fprintf(stderr, "blkio_bench: a disk of %" PRIu64 " bytes\n", capacity);
		return 1;
	}
	must(blkio_alloc_mem_region(b, &r.mem, (size_t)depth * BS), "alloc_mem_region");
	must(blkio_map_mem_region(b, &r.mem), "map_mem_region");
	r.q = poll ? blkio_get_poll_queue(b, 0) : blkio_get_queue(b, 0);
	begin = now_ns();
	end = begin + (uint64_t)(atof(argv[4]) * 1e9);
	for (unsigned i = 0; i < depth; i++)
		start(&r, i);
	while (in_flight) {
		int got = blkioq_do_io(r.q, done, 1, (int)depth, NULL);
		uint64_t now = now_ns();

		must(got, "do_io");
		for (int i = 0; i < got; i++) {
			uintptr_t slot = (uintptr_t)done[i].user_data;

			must(done[i].ret, "request");
			if (n < MAX_SAMPLE)
				sample[n] = (uint32_t)(now - r.started[slot]);
			n++;
			if (now < end)
				start(&r, slot);
			else
				in_flight--;
		}
	}
	end = now_ns();
	qsort(sample, n < MAX_SAMPLE ? n : MAX_SAMPLE, sizeof(sample[0]), compare);
	if (n > MAX_SAMPLE)
		n = MAX_SAMPLE;
	printf("{\"iops\": %.0f, \"latency_us\": {\"p50\": %.2f, \"p99\": %.2f}}\n",
	       (double)n / ((double)(end - begin) / 1e9), sample[n / 2] / 1e3, sample[n * 99 / 100] / 1e3);
	blkio_destroy(&b);
	return 0;
}
