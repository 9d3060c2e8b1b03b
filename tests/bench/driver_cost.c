/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What submit and reap cost on the driver side, per chain. The device is the one by hand of floor.h, and costs nothing in the
 * measured calls: driver_submit() and driver_reap() are all that is timed, and all that callgrind counts. The shapes and
 * the output are those of queue_cost.c; segments are linked descriptors.
 *
 *	driver_cost [p]s0|[p]s1|[p]s2 [1 [batch [rounds]]]
 */
#include <stdio.h>

#include "floor.h"
#include "shapes.h"
#include "vh/vh.h"
#include "vht_mem.h"

static struct vh_mem *mem;
static struct vh_queue *driver;
static struct floor_mem floor_mem;
static struct floor_queue device;
static bool packed;
static const struct shape *shape;
static struct vh_req reqs[FLOOR_NUM];
static struct vh_cpl done[FLOOR_NUM];

static void die(const char *what)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	fprintf(stderr, "driver_cost: %s: %s\n", what, e.text);
	exit(1);
}

static void set_up(void)
{
	static struct vh_seg segs[FLOOR_NUM][8];
	struct vh_queue_opts opts = {.size = sizeof(opts),
				     .role = VH_QUEUE_DRIVER,
				     .num = FLOOR_NUM,
				     .desc = RING_GPA,
				     .driver = AVAIL_GPA,
				     .device = USED_GPA};
	unsigned char *base;

	opts.features = UINT64_C(1) << VH_F_VERSION_1 | (uint64_t)packed << VH_F_RING_PACKED;
	opts.base = packed ? VH_QUEUE_PACKED_BASE : 0;
	if (vh_mem_new(NULL, &mem) || vh_mem_alloc(mem, RING_GPA, ONE_LEN, 0) ||
	    vh_queue_open(mem, &opts, -1, -1, &driver) || vh_queue_disarm(driver))
		die("open");
	base = vht_at(mem, RING_GPA);
	if (!base)
		die("translate");
	floor_mem.n = 1;
	floor_mem.regions[0] = (struct floor_region){RING_GPA, ONE_LEN, base};
	device = (struct floor_queue){.mem = &floor_mem,
				      .last = floor_mem.regions,
				      .desc = (void *)base,
				      .avail = (void *)(base + (AVAIL_GPA - RING_GPA)),
				      .used = (void *)(base + (USED_GPA - RING_GPA)),
				      .wrap_avail = FLOOR_AVAIL,
				      .wrap_used = FLOOR_AVAIL | FLOOR_USED};
	device.used[packed] = 1; /* no kicks */
	for (uint32_t i = 0; i < FLOOR_NUM / shape->n; i++) {
		reqs[i] = (struct vh_req){.segs = (uint64_t)(uintptr_t)segs[i], .user = i};
		for (uint32_t k = 0; k < shape->n; k++) {
			segs[i][k].addr = (uint64_t)(uintptr_t)(base + (buffer(1, shape->d[k].len) - RING_GPA));
			segs[i][k].len = shape->d[k].len;
			reqs[i].n_rd += !shape->d[k].write;
			reqs[i].n_wr += shape->d[k].write;
		}
	}
}

/* Not static, so that they keep their names. */
void driver_submit(uint32_t batch);
void driver_reap(uint32_t batch);

__attribute__((noinline)) void driver_submit(uint32_t batch)
{
	if (vh_queue_submit(driver, reqs, batch) != (vh_count)batch)
		die("submit");
}

__attribute__((noinline)) void driver_reap(uint32_t batch)
{
	if (vh_queue_reap(driver, done, batch) != (vh_count)batch)
		die("reap");
}

static double turn(uint32_t batch)
{
	static struct floor_req taken[FLOOR_NUM];
	uint32_t written = shape->d[shape->n - 1].write;
	double t = now_ns(), sum;

	driver_submit(batch);
	sum = now_ns() - t;
	if ((packed ? floor_packed_pop(&device, taken, batch) : floor_split_pop(&device, taken, batch)) != (int)batch)
		die("pop");
	if (packed)
		floor_packed_push(&device, taken, batch, written);
	else
		floor_split_push(&device, taken, batch, written);
	t = now_ns();
	driver_reap(batch);
	return sum + now_ns() - t;
}

int main(int argc, char **argv)
{
	uint32_t batch = argc > 3 ? (uint32_t)atoi(argv[3]) : 32;
	uint32_t rounds = argc > 4 ? (uint32_t)atoi(argv[4]) : 200000;
	double ns[SAMPLES];

	shape = argc > 1 ? shape_by_name(argv[1], &packed) : NULL;
	if (!shape || shape->indirect || !batch || batch > FLOOR_NUM / shape->n || rounds < SAMPLES) {
		fprintf(stderr, "usage: driver_cost [p]s0|[p]s1|[p]s2 [1 [batch [rounds]]]\n");
		return 2;
	}
	set_up();
	for (uint32_t k = 0; k < SAMPLES; k++) {
		ns[k] = 0;
		for (uint32_t i = 0; i < rounds / SAMPLES; i++)
			ns[k] += turn(batch);
		ns[k] /= (double)(rounds / SAMPLES) * batch;
	}
	qsort(ns, SAMPLES, sizeof(ns[0]), by_value);
	printf("{\"shape\": \"%s\", \"batch\": %u, \"chains\": %u, \"ns_median\": %.1f, \"ns_min\": %.1f}\n", argv[1],
	       batch, rounds / SAMPLES * SAMPLES * batch, ns[SAMPLES / 2], ns[0]);
	vh_queue_free(driver);
	vh_mem_free(mem);
	return 0;
}
