/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What a queue costs, per chain. The other side is a few lines of C over the same memory, and costs nothing in what is
 * measured: device_batch(), or driver_submit() and driver_reap(), are all that is timed, and all that callgrind counts:
 *
 *	valgrind --tool=callgrind --toggle-collect=device_batch queue_cost s1 1 32 2100
 *
 * Shapes are those of shapes.h.
 *
 * Modes: device = pop and push; copy = pop, copy each segment out of memory or into it, push; event = pop, push and arm,
 * with an event index; driver = submit and reap; source and sink = a batch of the network device of that kind, with frames
 * of 64 bytes; pop and reap = one that finds nothing, which is how often a side that polls looks.
 */
#include <stdio.h>

#include "shapes.h"
#include "vh/vh.h"
#include "vhi_device.h"
#include "vhi_queue.h"
#include "vht_mem.h"

#define NUM	  256u
#define MAX_BATCH NUM

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

static const char *const modes[] = {"device", "copy", "event", "driver", "source", "sink", "pop", "reap"};
enum { DEVICE, COPY, EVENT, DRIVER, SOURCE, SINK, POP, REAP };

static uint32_t mode;

static bool is_driver(void)
{
	return mode == DRIVER || mode == REAP;
}

static struct vh_mem *mem;
static struct vh_queue *q;
static struct vh_device *net; /* what source and sink run */
static struct desc *table;
static uint16_t *avail, *used;
static uint16_t next;
static uint32_t num = NUM;
static uint32_t n_heads, head_step;
static bool packed;
static struct desc *chains[NUM]; /* as they go into a packed ring */

__attribute__((noinline, cold)) static void die(const char *what)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	fprintf(stderr, "queue_cost: %s: %s\n", what, e.text);
	exit(1);
}

static void *host(uint64_t gpa)
{
	void *at = vht_at(mem, gpa);

	if (!at)
		die("translate");
	return at;
}

static void fill(struct desc *d, const struct shape *s, uint32_t regions, uint32_t first)
{
	for (uint32_t i = 0; i < s->n; i++)
		d[i] = (struct desc){.addr = buffer(regions, s->d[i].len),
				     .len = s->d[i].len,
				     .flags = (uint16_t)((s->d[i].write ? 2 : 0) | (i + 1 < s->n ? 1 : 0)),
				     .next = (uint16_t)(first + i + 1)};
}

/* A packed descriptor has its id where a split one has flags, and flags where that one has a link. */
static void swap(struct desc *d, uint16_t id, uint16_t marks)
{
	d->next = d->flags | marks;
	d->flags = id;
}

static void open_queue(const struct shape *s)
{
	struct vh_queue_opts opts = {.size = sizeof(opts), .num = num};

	opts.role = is_driver() ? VH_QUEUE_DRIVER : VH_QUEUE_DEVICE;
	opts.features = UINT64_C(1) << VH_F_VERSION_1 | UINT64_C(1) << VH_F_RING_INDIRECT_DESC |
			(uint64_t)packed << VH_F_RING_PACKED | (uint64_t)(mode == EVENT) << VH_F_RING_EVENT_IDX;
	opts.base = packed ? VH_QUEUE_PACKED_BASE : 0;
	opts.desc = RING_GPA;
	opts.driver = AVAIL_GPA;
	opts.device = USED_GPA;
	if (is_driver() && s->indirect) {
		opts.indirect = TABLES;
		opts.max_indirect = s->n;
	}
	if (vh_queue_open(mem, &opts, -1, -1, &q))
		die("open");
	table = host(opts.desc);
	avail = host(opts.driver);
	used = host(opts.device);
}

/* Queue 0 is where frames are received, 1 where they are sent. */
static void open_net(void)
{
	const struct vh_netdev_opts opts = {
		.size = sizeof(opts), .kind = mode == SOURCE ? VH_NETDEV_SOURCE : VH_NETDEV_SINK, .frame = 64};
	const uint64_t features = UINT64_C(1) << VH_F_VERSION_1 | UINT64_C(1) << VH_NET_F_MRG_RXBUF;

	if (vh_netdev_new(&opts, -1, &net) || net->ops.set_features(net->ctx, features, 0))
		die("device");
	net->ops.queue_started(net->ctx, q, mode == SINK);
}

static void set_up(const struct shape *s, uint32_t regions, uint32_t batch)
{
	static struct desc plan[NUM];

	/* A driver has tables where the ring would be full without. */
	if (is_driver() && s->indirect)
		num = batch;
	if (vh_mem_new(NULL, &mem) || vh_mem_alloc(mem, RING_GPA, ONE_LEN, 0))
		die("memory");
	/* The ring's region is one of them. */
	for (uint32_t i = 0; i < regions - 1; i++)
		if (vh_mem_alloc(mem, FIRST_GPA + i * 2 * REGION_LEN, REGION_LEN, 0))
			die("region");
	open_queue(s);
	if (mode == SOURCE || mode == SINK)
		open_net();
	/* No interrupts and no kicks: the decision is measured, the system call is not. */
	(is_driver() ? used : avail)[packed] = 1;
	head_step = s->indirect ? 1 : s->n;
	n_heads = NUM / head_step;
	for (uint32_t i = 0; i < n_heads; i++) {
		uint64_t gpa = TABLES + i * 16 * s->n;

		chains[i] = packed || is_driver() ? &plan[i * head_step] : &table[i * head_step];
		if (s->indirect && mode != DRIVER) {
			fill(host(gpa), s, regions, 0);
			for (uint32_t k = 0; packed && k < s->n; k++)
				swap(&((struct desc *)host(gpa))[k], 0, 0);
			*chains[i] = (struct desc){.addr = gpa, .len = 16 * s->n, .flags = 4};
		} else if (mode != DRIVER) {
			fill(chains[i], s, regions, i * s->n);
		}
	}
}

/* next is the position: an index, and above it which turn it is. */
static void offer_packed(uint32_t batch)
{
	static uint32_t k;

	for (uint32_t i = 0; i < batch; i++, k = (k + 1) % n_heads) {
		for (uint32_t n = 0; n < head_step; n++, next++) {
			struct desc *d = &table[next % num];

			*d = chains[k][n];
			swap(d, (uint16_t)k, next / num % 2 ? 0x8000 : 0x80);
		}
	}
}

static void offer(uint32_t batch)
{
	if (packed) {
		offer_packed(batch);
		return;
	}
	for (uint32_t i = 0; i < batch; i++, next++)
		avail[2 + next % num] = (uint16_t)(next % n_heads * head_step);
	__atomic_store_n(&avail[1], next, __ATOMIC_RELEASE);
}

/* As the driver: requests over buffers in guest memory. */
static void make_requests(const struct shape *s, uint32_t regions, struct vh_req *reqs, uint32_t batch)
{
	static struct vh_seg segs[NUM][8];

	for (uint32_t i = 0; i < batch; i++) {
		uint32_t n_rd = 0;

		for (uint32_t k = 0; k < s->n; k++) {
			segs[i][k].addr = (uintptr_t)host(buffer(regions, s->d[k].len));
			segs[i][k].len = s->d[k].len;
			n_rd += !s->d[k].write;
		}
		reqs[i] = (struct vh_req){.segs = (uintptr_t)segs[i], .n_rd = n_rd, .n_wr = s->n - n_rd, .user = i};
	}
}

/* As the device: complete a batch in order. */
static void use(uint32_t batch)
{
	for (uint32_t i = 0; i < batch && packed; i++, next += (uint16_t)head_step) {
		const struct desc *last = &table[(next + head_step - 1) % num];
		struct desc *d = &table[next % num];

		d->flags = last->flags; /* the id */
		d->len = 0;
		__atomic_store_n(&d->next, (uint16_t)((next / num % 2 ? 0 : 0x8080)), __ATOMIC_RELEASE);
	}
	for (uint32_t i = 0; i < batch && !packed; i++, next++) {
		const uint32_t elem[2] = {avail[2 + next % num], 0};

		memcpy(used + 2 + 4 * (next % num), elem, sizeof(elem));
	}
	if (!packed)
		__atomic_store_n(&used[1], next, __ATOMIC_RELEASE);
}

/* Not static, so that they keep their names. */
void device_batch(struct vh_req *reqs, struct vh_cpl *cpls, uint32_t batch);
void driver_submit(const struct vh_req *reqs, uint32_t batch);
void driver_reap(struct vh_cpl *cpls, uint32_t batch);
void look(struct vh_req *reqs, struct vh_cpl *cpls);

static void copy(const struct vh_req *req, struct vh_cpl *cpl)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	static char buffer64[64];

	/* Frames of this size have no more than one. */
	if (req->n_rd)
		memcpy(buffer64, (const void *)(uintptr_t)segs[0].addr, 64);
	else
		memcpy((void *)(uintptr_t)segs[0].addr, buffer64, 64);
	cpl->written = req->n_rd ? 0 : 64;
}

static inline __attribute__((always_inline)) void pop_and_push(struct vh_req *reqs, struct vh_cpl *cpls, uint32_t batch,
							       bool copying)
{
	vh_count n = vh_queue_pop(q, reqs, batch);

	if (n != (vh_count)batch)
		die("pop");
	for (vh_count i = 0; i < n; i++) {
		cpls[i] = (struct vh_cpl){.token = reqs[i].token, .written = 1};
		if (copying)
			copy(&reqs[i], &cpls[i]);
	}
	if (vh_queue_push(q, cpls, (uint32_t)n))
		die("push");
}

/* It took them all, and would take more. */
static void run_net(uint32_t batch)
{
	if (net->ops.on_batch(net->ctx, q, mode == SINK, batch) < 0 || vhi_queue_in_flight(q))
		die("on_batch");
}

static inline __attribute__((always_inline)) void device(struct vh_req *reqs, struct vh_cpl *cpls, uint32_t batch)
{
	if (net)
		run_net(batch);
	else if (mode == COPY)
		pop_and_push(reqs, cpls, batch, true);
	else
		pop_and_push(reqs, cpls, batch, false);
	if (mode == EVENT && vh_queue_arm(q) != VH_QUEUE_SLEEP)
		die("arm");
}

static inline __attribute__((always_inline)) void submit(const struct vh_req *reqs, uint32_t batch)
{
	if (vh_queue_submit(q, reqs, batch) != (vh_count)batch)
		die("submit");
}

static inline __attribute__((always_inline)) void reap(struct vh_cpl *cpls, uint32_t batch)
{
	if (vh_queue_reap(q, cpls, batch) != (vh_count)batch)
		die("reap");
}

__attribute__((noinline)) void device_batch(struct vh_req *reqs, struct vh_cpl *cpls, uint32_t batch)
{
	device(reqs, cpls, batch);
}

__attribute__((noinline)) void driver_submit(const struct vh_req *reqs, uint32_t batch)
{
	submit(reqs, batch);
}

__attribute__((noinline)) void driver_reap(struct vh_cpl *cpls, uint32_t batch)
{
	reap(cpls, batch);
}

/* What only happens once: a queue learns which thread drives it, and that nobody waits. */
static void warm_up(struct vh_req *reqs, struct vh_cpl *cpls, uint32_t batch)
{
	for (uint32_t i = 0; i < 4; i++) {
		if (is_driver()) {
			submit(reqs, batch);
			use(batch);
			reap(cpls, batch);
		} else {
			offer(batch);
			device(reqs, cpls, batch);
		}
	}
}

/* One call into the library, the smallest that there is: what a crossing costs from C. */
static double crossing_ns(void)
{
	enum { CALLS = 10000000 };
	double t = now_ns();

	for (uint32_t i = 0; i < CALLS; i++)
		vh_version();
	return (now_ns() - t) / CALLS;
}

/* What is looked for is in flight, but in a ring that nothing was put into. */
__attribute__((noinline)) void look(struct vh_req *reqs, struct vh_cpl *cpls)
{
	if (mode == POP ? vh_queue_pop(q, reqs, 1) : vh_queue_reap(q, cpls, 1))
		die("something was there");
}

static double measure(struct vh_req *reqs, struct vh_cpl *cpls, uint32_t batch)
{
	double t, sum;

	if (mode == POP || mode == REAP) {
		t = now_ns();
		look(reqs, cpls);
		return now_ns() - t;
	}
	if (mode != DRIVER) {
		offer(batch);
		t = now_ns();
		device_batch(reqs, cpls, batch);
		return now_ns() - t;
	}
	t = now_ns();
	driver_submit(reqs, batch);
	sum = now_ns() - t;
	use(batch);
	t = now_ns();
	driver_reap(cpls, batch);
	return sum + now_ns() - t;
}

static uint32_t number(int argc, char **argv, int i, uint32_t otherwise)
{
	return argc > i ? (uint32_t)atoi(argv[i]) : otherwise;
}

int main(int argc, char **argv)
{
	static struct vh_req reqs[MAX_BATCH];
	static struct vh_cpl cpls[MAX_BATCH];
	const uint32_t regions = number(argc, argv, 2, 1), batch = number(argc, argv, 3, 32);
	const uint32_t rounds = number(argc, argv, 4, 200000);
	const struct shape *s = argc > 1 ? shape_by_name(argv[1], &packed) : NULL;
	double ns[SAMPLES];

	if (argc == 2 && !strcmp(argv[1], "crossing")) {
		printf("{\"mode\": \"c\", \"crossing_ns\": %.1f}\n", crossing_ns());
		return 0;
	}
	for (uint32_t i = 0; argc > 5 && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(argv[5], modes[i]))
			mode = i;
	if (!s || !regions || regions > 509 || !batch || batch > (s->indirect ? NUM : NUM / s->n) || rounds < SAMPLES ||
	    (argc > 5 && strcmp(argv[5], modes[mode]))) {
		fprintf(stderr, "usage: queue_cost [p]s0..[p]s5 [regions [batch [rounds "
				"[device|copy|event|driver|source|sink|pop|reap]]]], or queue_cost crossing\n");
		return 2;
	}
	set_up(s, regions, batch);
	make_requests(s, regions, reqs, is_driver() ? batch : 0);
	warm_up(reqs, cpls, batch);
	if (mode == REAP)
		submit(reqs, 1);
	for (uint32_t k = 0; k < SAMPLES; k++) {
		double sum = 0;

		for (uint32_t i = 0; i < rounds / SAMPLES; i++)
			sum += measure(reqs, cpls, batch);
		ns[k] = sum / (rounds / SAMPLES) / batch;
	}
	qsort(ns, SAMPLES, sizeof(ns[0]), by_value);
	printf("{\"mode\": \"%s\", \"shape\": \"%s\", \"regions\": %u, \"batch\": %u, \"chains\": %u, "
	       "\"ns_median\": %.1f, \"ns_min\": %.1f}\n",
	       modes[mode], argv[1], regions, batch, rounds / SAMPLES * SAMPLES * batch, ns[SAMPLES / 2], ns[0]);
	vh_device_free(net);
	vh_queue_free(q);
	vh_mem_free(mem);
	return 0;
}
