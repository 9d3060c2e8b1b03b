/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What a chain costs by hand: the ring, the shapes and the output of queue_cost.c, without the library.
 *
 *	floor [p]s0..[p]s3 [regions [batch [rounds]]]		device_batch(): pop and push
 *	floor [p]s0..[p]s2 1 batch rounds driver		driver_submit() and driver_reap()
 *	floor clock						what reading the clock adds to a measured time
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include "floor.h"
#include "shapes.h"

static struct floor_mem mem;
static struct floor_queue q, driver;
static bool packed;
static const struct shape *shape;
static uint32_t regions = 1;
static uint16_t head_step, n_heads, next;
static struct floor_desc chains[FLOOR_NUM]; /* as they go into a packed ring */

static void die(const char *what)
{
	fprintf(stderr, "floor: %s\n", what);
	exit(1);
}

static void region(uint64_t gpa, uint64_t len)
{
	struct floor_region *r = &mem.regions[mem.n];
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (at == MAP_FAILED)
		die("memory");
	*r = (struct floor_region){gpa, len, at};
	for (uint64_t g = gpa >> FLOOR_GRANULE; g <= (gpa + len - 1) >> FLOOR_GRANULE; g++)
		mem.granule[g] = (uint16_t)mem.n;
	mem.n++;
}

static void *host(uint64_t gpa)
{
	void *at = floor_at(&q, gpa, 1);

	if (!at)
		die("translate");
	return at;
}

static void fill(struct floor_desc *d, uint16_t first)
{
	for (uint32_t i = 0; i < shape->n; i++)
		d[i] = (struct floor_desc){
			.addr = buffer(regions, shape->d[i].len),
			.len = shape->d[i].len,
			.a = (uint16_t)((shape->d[i].write ? FLOOR_WRITE : 0) | (i + 1 < shape->n ? FLOOR_NEXT : 0)),
			.b = (uint16_t)(first + i + 1)};
}

static void marks(struct floor_desc *d, uint16_t id, uint16_t mark)
{
	d->b = d->a | mark;
	d->a = id;
}

static void set_up(void)
{
	region(RING_GPA, ONE_LEN);
	for (uint32_t i = 0; i < regions - 1; i++)
		region(FIRST_GPA + i * 2 * REGION_LEN, REGION_LEN);
	q.mem = &mem;
	q.last = mem.regions;
	q.desc = host(RING_GPA);
	q.avail = host(AVAIL_GPA);
	q.used = host(USED_GPA);
	q.wrap_avail = FLOOR_AVAIL;
	q.wrap_used = FLOOR_AVAIL | FLOOR_USED;
	q.avail[packed] = 1;
	q.used[packed] = 1;
	driver = q;
	floor_driver_init(&driver);
	head_step = shape->indirect ? 1 : (uint16_t)shape->n;
	n_heads = (uint16_t)(FLOOR_NUM / head_step);
	for (uint16_t i = 0; i < n_heads; i++) {
		struct floor_desc *d = packed ? &chains[i * head_step] : &q.desc[i * head_step];
		uint64_t gpa = TABLES + i * UINT64_C(16) * shape->n;

		if (!shape->indirect) {
			fill(d, (uint16_t)(i * head_step));
			continue;
		}
		fill(host(gpa), 0);
		for (uint32_t k = 0; packed && k < shape->n; k++)
			marks((struct floor_desc *)host(gpa) + k, 0, 0);
		*d = (struct floor_desc){.addr = gpa, .len = 16 * shape->n, .a = FLOOR_INDIRECT};
	}
}

static void offer(uint32_t batch)
{
	static uint16_t k;

	for (uint32_t i = 0; i < batch; i++, k = (uint16_t)((k + 1) % n_heads)) {
		if (!packed) {
			q.avail[2 + next % FLOOR_NUM] = (uint16_t)(next % n_heads * head_step);
			next++;
			continue;
		}
		for (uint32_t n = 0; n < head_step; n++, next++) {
			struct floor_desc *d = &q.desc[next % FLOOR_NUM];

			*d = chains[k * head_step + n];
			marks(d, k, next / FLOOR_NUM % 2 ? FLOOR_USED : FLOOR_AVAIL);
		}
	}
	if (!packed)
		__atomic_store_n(&q.avail[1], next, __ATOMIC_RELEASE);
}

/* Not static, so that they keep their names. */
void device_batch(struct floor_req *reqs, uint32_t batch);
void driver_submit(const struct floor_req *reqs, const uint64_t *cookies, uint32_t batch);
void driver_reap(uint64_t *cookies, uint32_t batch);

__attribute__((noinline)) void device_batch(struct floor_req *reqs, uint32_t batch)
{
	int n = packed ? floor_packed_pop(&q, reqs, batch) : floor_split_pop(&q, reqs, batch);

	if (n != (int)batch)
		die("pop");
	if (packed ? floor_packed_push(&q, reqs, batch, 1) : floor_split_push(&q, reqs, batch, 1))
		die("a call");
}

__attribute__((noinline)) void driver_submit(const struct floor_req *reqs, const uint64_t *cookies, uint32_t batch)
{
	int n = packed ? floor_packed_submit(&driver, reqs, cookies, batch)
		       : floor_split_submit(&driver, reqs, cookies, batch);

	if (n != (int)batch)
		die("submit");
}

__attribute__((noinline)) void driver_reap(uint64_t *cookies, uint32_t batch)
{
	int n = packed ? floor_packed_reap(&driver, cookies, batch) : floor_split_reap(&driver, cookies, batch);

	if (n != (int)batch)
		die("reap");
}

static double device_round(uint32_t batch)
{
	static struct floor_req reqs[FLOOR_NUM];
	double t;

	offer(batch);
	t = now_ns();
	device_batch(reqs, batch);
	return now_ns() - t;
}

/* The device's part is by hand, and not timed. What it writes is a byte where there is room for one. */
static double driver_round(uint32_t batch)
{
	static struct floor_seg segs[FLOOR_NUM * FLOOR_SEGS];
	static struct floor_req reqs[FLOOR_NUM], taken[FLOOR_NUM];
	static uint64_t cookies[FLOOR_NUM], done[FLOOR_NUM];
	uint32_t written = shape->d[shape->n - 1].write;
	double t, sum;

	for (uint32_t i = 0; !reqs[0].n_segs && i < FLOOR_NUM / shape->n; i++) {
		reqs[i].segs = &segs[i * FLOOR_SEGS];
		for (uint32_t k = 0; k < shape->n; k++)
			reqs[i].segs[k] = (struct floor_seg){host(buffer(1, shape->d[k].len)), shape->d[k].len,
							     shape->d[k].write ? FLOOR_WRITE : 0};
		cookies[i] = i;
	}
	for (uint32_t i = 0; i < batch; i++)
		reqs[i].n_segs = (uint16_t)shape->n;
	t = now_ns();
	driver_submit(reqs, cookies, batch);
	sum = now_ns() - t;
	if ((packed ? floor_packed_pop(&q, taken, batch) : floor_split_pop(&q, taken, batch)) != (int)batch)
		die("pop");
	if (packed)
		floor_packed_push(&q, taken, batch, written);
	else
		floor_split_push(&q, taken, batch, written);
	t = now_ns();
	driver_reap(done, batch);
	return sum + now_ns() - t;
}

static double clock_ns(void)
{
	double least = 1e9;

	for (int k = 0; k < SAMPLES; k++) {
		double sum = 0;

		for (int i = 0; i < 10000; i++) {
			double t = now_ns();

			sum += now_ns() - t;
		}
		least = sum / 10000 < least ? sum / 10000 : least;
	}
	return least;
}

int main(int argc, char **argv)
{
	bool is_driver = argc > 5 && !strcmp(argv[5], "driver");
	uint32_t batch, rounds;
	double ns[SAMPLES];

	if (argc == 2 && !strcmp(argv[1], "clock")) {
		printf("{\"clock_ns\": %.1f}\n", clock_ns());
		return 0;
	}
	shape = argc > 1 ? shape_by_name(argv[1], &packed) : NULL;
	regions = argc > 2 ? (uint32_t)atoi(argv[2]) : 1;
	batch = argc > 3 ? (uint32_t)atoi(argv[3]) : 32;
	rounds = argc > 4 ? (uint32_t)atoi(argv[4]) : 200000;
	if (!shape || !regions || regions > 509 || !batch ||
	    batch > (shape->indirect ? FLOOR_NUM : FLOOR_NUM / shape->n) || rounds < SAMPLES ||
	    (is_driver && (shape->indirect || regions > 1))) {
		fprintf(stderr, "usage: floor [p]s0|[p]s1|[p]s2|[p]s3 [regions [batch [rounds [driver]]]]\n");
		return 2;
	}
	set_up();
	for (uint32_t k = 0; k < SAMPLES; k++) {
		double sum = 0;

		for (uint32_t i = 0; i < rounds / SAMPLES; i++)
			sum += is_driver ? driver_round(batch) : device_round(batch);
		ns[k] = sum / (rounds / SAMPLES) / batch;
	}
	qsort(ns, SAMPLES, sizeof(ns[0]), by_value);
	printf("{\"shape\": \"%s\", \"regions\": %u, \"batch\": %u, \"chains\": %u, \"ns_median\": %.1f, \"ns_min\": "
	       "%.1f}\n",
	       argv[1], regions, batch, rounds / SAMPLES * SAMPLES * batch, ns[SAMPLES / 2], ns[0]);
	return 0;
}
