/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl io blk TARGET bench: requests per second and latency percentiles. */
#include "vhctl.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH  1024u
#define MAX_QUEUES 64u

/* Latencies in ns: 32 buckets for each power of two, so that a value is known to about 3 %. */
#define SUB_BITS 5
#define BUCKETS	 (64u << SUB_BITS)

struct histogram {
	uint64_t count[BUCKETS];
	uint64_t n, sum, max;
};

static unsigned bucket_of(uint64_t ns)
{
	unsigned top;

	if (ns < 1u << SUB_BITS)
		return (unsigned)ns;
	top = 63 - (unsigned)__builtin_clzll(ns);
	return ((top - SUB_BITS + 1) << SUB_BITS) + (unsigned)(ns >> (top - SUB_BITS) & ((1u << SUB_BITS) - 1));
}

static uint64_t bucket_value(unsigned b)
{
	unsigned top = b >> SUB_BITS, sub = b & ((1u << SUB_BITS) - 1);

	return top ? (uint64_t)((1u << SUB_BITS) + sub) << (top - 1) : sub;
}

static void histogram_add(struct histogram *h, uint64_t ns)
{
	h->count[bucket_of(ns)]++;
	h->n++;
	h->sum += ns;
	if (ns > h->max)
		h->max = ns;
}

static uint64_t percentile(const struct histogram *h, double p)
{
	uint64_t want = (uint64_t)((double)h->n * p / 100.0), seen = 0;

	for (unsigned b = 0; b < BUCKETS; b++) {
		seen += h->count[b];
		if (seen > want)
			return bucket_value(b);
	}
	return h->max;
}

struct bench {
	struct target *t;
	const char *rw;
	uint64_t bs, depth, queues, seconds, ms, queue_size, timeout, seed, poll_us;
	bool poll, packed, json, has_queue_size;
	uint32_t op;
	bool random;
	uint64_t next_block, blocks, rng;
	uint64_t *started; /* queues * depth: when each slot's request was submitted */
	uint64_t *addrs;
	struct vh_queue *rings[MAX_QUEUES];
	struct histogram h;
	uint64_t begin_ns, end_ns;
};

static uint64_t next_offset(struct bench *b)
{
	if (!b->random) {
		uint64_t at = b->next_block;

		b->next_block = at + 1 == b->blocks ? 0 : at + 1;
		return at * b->bs;
	}
	b->rng ^= b->rng << 13;
	b->rng ^= b->rng >> 7;
	b->rng ^= b->rng << 17;
	return b->rng % b->blocks * b->bs;
}

static int submit(struct bench *b, uint32_t queue, const uint64_t *slots, uint32_t n)
{
	struct vh_blk_io ios[MAX_DEPTH];
	uint64_t now = now_ns();
	int32_t taken;

	for (uint32_t i = 0; i < n; i++) {
		ios[i] = (struct vh_blk_io){.op = b->op,
					    .offset = next_offset(b),
					    .addr = b->addrs[slots[i]],
					    .len = b->bs,
					    .user = slots[i]};
		b->started[slots[i]] = now;
	}
	taken = vh_blk_submit(b->t->blk, queue, ios, n);
	if (taken < 0)
		return say_vh(taken, b->t->name);
	if ((uint32_t)taken != n)
		return say(EXIT_WRONG, "%s: the queue is full at depth %" PRIu64, b->t->name, b->depth);
	return 0;
}

/* One look at one queue: count what ended, and start as many. @got: how many ended. */
static int turn(struct bench *b, uint32_t queue, bool again, uint32_t *got)
{
	struct vh_blk_done done[MAX_DEPTH];
	uint64_t slots[MAX_DEPTH], now;
	int32_t n = vh_blk_reap(b->t->blk, queue, done, MAX_DEPTH);

	*got = 0;
	if (n < 0)
		return say_vh(n, b->t->name);
	*got = (uint32_t)n;
	if (!n)
		return 0;
	now = now_ns();
	for (int32_t i = 0; i < n; i++) {
		if (done[i].rc)
			return say(EXIT_WRONG, "%s: a request failed: %s", b->t->name, vh_error_name(done[i].rc));
		histogram_add(&b->h, now - b->started[done[i].user]);
		slots[i] = done[i].user;
	}
	return again ? submit(b, queue, slots, (uint32_t)n) : 0;
}

/* Sleep until any queue has something, or the connection does. 0 or an exit code. */
static int sleep_on_queues(struct bench *b)
{
	struct pollfd p[MAX_QUEUES + 1];
	int n;

	if (b->queues == 1)
		return target_wait(b->t);
	for (uint32_t q = 0; q < b->queues; q++) {
		int32_t armed = vh_queue_arm(b->rings[q]);

		if (armed < 0)
			return say_vh(armed, b->t->name);
		if (armed == VH_QUEUE_MORE)
			return 0;
		p[q] = (struct pollfd){.fd = vh_queue_fd(b->rings[q]), .events = POLLIN};
	}
	p[b->queues] = (struct pollfd){.fd = vh_master_fd(b->t->master), .events = POLLIN};
	n = poll(p, (nfds_t)b->queues + 1, b->t->timeout_ms);
	if (n < 0 && errno != EINTR)
		return say(EXIT_WRONG, "poll: %s", strerror(errno));
	if (!n)
		return target_silent(b->t);
	if (p[b->queues].revents) {
		int32_t rc = vh_master_dispatch(b->t->master);

		if (rc < 0)
			return say_vh(rc, b->t->name);
	}
	return 0;
}

static int measure(struct bench *b)
{
	uint64_t slots[MAX_DEPTH], in_flight = b->depth * b->queues;
	uint32_t got;
	int rc = 0;

	for (uint32_t q = 0; q < b->queues && !rc; q++) {
		for (uint64_t i = 0; i < b->depth; i++)
			slots[i] = q * b->depth + i;
		rc = submit(b, q, slots, (uint32_t)b->depth);
	}
	b->begin_ns = now_ns();
	b->end_ns = b->begin_ns + (b->ms ? b->ms * 1000000u : b->seconds * 1000000000u);
	while (!rc && in_flight) {
		uint32_t any = 0;
		bool again = now_ns() < b->end_ns;

		for (uint32_t q = 0; q < b->queues && !rc; q++) {
			rc = turn(b, q, again, &got);
			any += got;
			if (!again)
				in_flight -= got;
		}
		if (!rc && !any && !b->poll && in_flight)
			rc = sleep_on_queues(b);
	}
	b->end_ns = now_ns();
	return rc;
}

static const struct {
	const char *name;
	double p;
} percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}};

static void print_report(const struct bench *b)
{
	double s = (double)(b->end_ns - b->begin_ns) / 1e9, iops = (double)b->h.n / s;

	printf("%s bs %" PRIu64 " iodepth %" PRIu64 " queues %" PRIu64 "%s: %.0f IOPS, %.1f MiB/s, us avg %.1f", b->rw,
	       b->bs, b->depth, b->queues, b->poll ? " poll" : "", iops, iops * (double)b->bs / 1048576.0,
	       b->h.n ? (double)b->h.sum / (double)b->h.n / 1e3 : 0.0);
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		printf(" %s %.1f", percentiles[i].name, (double)percentile(&b->h, percentiles[i].p) / 1e3);
	printf(" max %.1f\n", (double)b->h.max / 1e3);
}

static void print_json(const struct bench *b)
{
	double s = (double)(b->end_ns - b->begin_ns) / 1e9, iops = (double)b->h.n / s;
	struct json j;

	json_begin(&j, stdout);
	json_text(&j, "target", b->t->name);
	json_text(&j, "op", "bench");
	json_text(&j, "rw", b->rw);
	json_u64(&j, "bs", b->bs);
	json_u64(&j, "iodepth", b->depth);
	json_u64(&j, "queues", b->queues);
	json_bool(&j, "poll", b->poll);
	json_real(&j, "seconds", s);
	json_u64(&j, "requests", b->h.n);
	json_real(&j, "iops", iops);
	json_real(&j, "mib_per_s", iops * (double)b->bs / 1048576.0);
	json_object(&j, "latency_us");
	json_real(&j, "avg", b->h.n ? (double)b->h.sum / (double)b->h.n / 1e3 : 0.0);
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		json_real(&j, percentiles[i].name, (double)percentile(&b->h, percentiles[i].p) / 1e3);
	json_real(&j, "max", (double)b->h.max / 1e3);
	json_close(&j, '}');
	json_end(&j);
}

static int parse(struct bench *b, int argc, char **argv)
{
	const struct opt opts[] = {
		{"rw", OPT_TEXT, &b->rw, 0, NULL},
		{"bs", OPT_SIZE, &b->bs, 1 << 20, NULL},
		{"iodepth", OPT_NUMBER, &b->depth, MAX_DEPTH, NULL},
		{"queues", OPT_NUMBER, &b->queues, 64, NULL},
		{"queue-size", OPT_NUMBER, &b->queue_size, VH_QUEUE_MAX_SIZE, &b->has_queue_size},
		{"time", OPT_NUMBER, &b->seconds, 86400, NULL},
		{"time-ms", OPT_NUMBER, &b->ms, 86400000, NULL},
		{"timeout", OPT_NUMBER, &b->timeout, 3600000, NULL},
		{"seed", OPT_NUMBER, &b->seed, 0, NULL},
		{"poll", OPT_FLAG, &b->poll, 0, NULL},
		{"poll-us", OPT_NUMBER, &b->poll_us, 1000000, NULL},
		{"packed", OPT_SWITCH, &b->packed, 0, NULL},
		{"json", OPT_FLAG, &b->json, 0, NULL},
	};
	static const struct {
		const char *name;
		uint32_t op;
		bool random;
	} modes[] = {{"randread", VH_BLK_READ, true},
		     {"randwrite", VH_BLK_WRITE, true},
		     {"read", VH_BLK_READ, false},
		     {"write", VH_BLK_WRITE, false}};
	const char *none[1];
	size_t n;
	int rc = parse_options(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), none, 0, &n);
	bool known = false;

	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(b->rw, modes[i].name)) {
			b->op = modes[i].op;
			b->random = modes[i].random;
			known = true;
		}
	if (!known)
		return usage("--rw: '%s' is not randread, randwrite, read or write", b->rw);
	if (!b->bs || b->bs % VH_BLK_SECTOR)
		return usage("--bs is a multiple of %d", VH_BLK_SECTOR);
	if (!b->depth || !b->queues || !b->seconds)
		return usage("--iodepth, --queues and --time are at least 1");
	if (b->poll_us && b->queues > 1)
		return usage("--poll-us goes with one queue");
	b->rng = b->seed * 2 + 1;
	return 0;
}

/* Running queues, and a buffer for each request. 0 or an exit code. */
static int prepare(struct bench *b, const char *name)
{
	uint64_t total = b->depth * b->queues;
	struct target *t = b->t;
	int32_t e = 0;
	int rc;

	/* Three descriptors a request where the device takes no indirect ones. */
	while (!b->has_queue_size && b->queue_size < b->depth * 3 && b->queue_size < VH_QUEUE_MAX_SIZE)
		b->queue_size *= 2;
	rc = target_open(t, name,
			 &(struct target_opts){.queues = (uint32_t)b->queues,
					       .queue_size = (uint32_t)b->queue_size,
					       .packed = b->packed,
					       .poll_us = (uint32_t)b->poll_us,
					       .timeout_ms = (uint32_t)b->timeout});
	if (rc)
		return rc;
	b->blocks = t->info.capacity / b->bs;
	if (!b->blocks)
		return usage("--bs is larger than the device, which has %" PRIu64 " bytes", t->info.capacity);
	if (b->op == VH_BLK_WRITE && t->info.read_only)
		return say(EXIT_WRONG, "%s: the device is read-only", name);
	b->started = calloc((size_t)total, sizeof(uint64_t));
	b->addrs = calloc((size_t)total, sizeof(uint64_t));
	if (!b->started || !b->addrs)
		return say(EXIT_WRONG, "out of memory");
	for (uint32_t q = 0; q < b->queues && !e; q++)
		e = vh_driver_queue(t->driver, q, &b->rings[q]);
	for (uint32_t q = 0; b->poll && q < b->queues && !e; q++)
		e = vh_queue_disarm(b->rings[q]);
	for (uint64_t i = 0; i < total && !e; i++)
		e = vh_driver_alloc(t->driver, b->bs, &b->addrs[i]);
	return e ? say_vh(e, name) : 0;
}

int io_bench(struct target *t, int argc, char **argv)
{
	struct bench *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return say(EXIT_WRONG, "out of memory");
	b->t = t;
	b->rw = "randread";
	b->bs = 4096;
	b->depth = b->queues = 1;
	b->seconds = 5;
	b->queue_size = 256;
	b->packed = true;
	b->timeout = 10000;
	rc = parse(b, argc - 3, argv + 3);
	if (!rc)
		rc = prepare(b, argv[1]);
	if (!rc && b->op == VH_BLK_WRITE)
		say(0, "note: this overwrites %s", t->name);
	if (!rc)
		rc = measure(b);
	if (!rc)
		(b->json ? print_json : print_report)(b);
	target_close(t);
	free(b->addrs);
	free(b->started);
	free(b);
	return rc;
}
