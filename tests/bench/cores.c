/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A driver on one core and a device on another, both polling, each by libvh or by hand (floor.h), over the same memory:
 *
 *	cores libvh|floor libvh|floor [p]s0|[p]s1|[p]s2 DEPTH MILLISECONDS
 *
 * The driver keeps DEPTH requests in flight; the device pops what there is, up to 32, and pushes it at once. The time for a
 * chain is the median over windows of some chains: in a window in which the machine took a core away the other one waits.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "floor.h"
#include "shapes.h"
#include "vh/vh.h"
#include "vht_mem.h"

enum { BATCH = 32, WINDOW = 128, WINDOWS = 1 << 16, ENOUGH = 50 };

/* Of either kind: how many requests went in, or came out; negative when the ring is broken. */
struct side {
	const char *name;
	int (*submit)(uint32_t first, uint32_t n);
	int (*reap)(uint32_t max);
	int (*serve)(void);
};

static struct vh_mem *mem;
static struct vh_queue *driver_q, *device_q;
static struct floor_mem floor_mem;
static struct floor_queue floor_driver, floor_device;
static bool packed;
static const struct shape *shape;
static uint32_t n_slots, written;
static bool stop;

/* What is in each slot of the driver, for both kinds. */
static struct vh_seg segs[FLOOR_NUM][8];
static struct vh_req reqs[FLOOR_NUM];
static struct floor_seg floor_segs[FLOOR_NUM][8];
static struct floor_req floor_reqs[FLOOR_NUM];
static uint64_t cookies[FLOOR_NUM];

static void die(const char *what)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	fprintf(stderr, "cores: %s: %s\n", what, e.text);
	exit(1);
}

static int libvh_submit(uint32_t first, uint32_t n)
{
	return (int)vh_queue_submit(driver_q, &reqs[first], n);
}

static int libvh_reap(uint32_t max)
{
	static struct vh_cpl done[FLOOR_NUM];

	return (int)vh_queue_reap(driver_q, done, max);
}

static int libvh_serve(void)
{
	static struct vh_req got[BATCH];
	static struct vh_cpl cpls[BATCH];
	vh_count n = vh_queue_pop(device_q, got, BATCH);

	for (vh_count i = 0; i < n; i++)
		cpls[i] = (struct vh_cpl){.token = got[i].token, .written = written};
	return n > 0 && vh_queue_push(device_q, cpls, (uint32_t)n) ? -1 : (int)n;
}

static int floor_submit(uint32_t first, uint32_t n)
{
	return packed ? floor_packed_submit(&floor_driver, &floor_reqs[first], &cookies[first], n)
		      : floor_split_submit(&floor_driver, &floor_reqs[first], &cookies[first], n);
}

static int floor_reap(uint32_t max)
{
	static uint64_t done[FLOOR_NUM];

	return packed ? floor_packed_reap(&floor_driver, done, max) : floor_split_reap(&floor_driver, done, max);
}

static int floor_serve(void)
{
	static struct floor_req got[BATCH];
	int n = packed ? floor_packed_pop(&floor_device, got, BATCH) : floor_split_pop(&floor_device, got, BATCH);

	if (n > 0 && (packed ? floor_packed_push(&floor_device, got, (uint32_t)n, written)
			     : floor_split_push(&floor_device, got, (uint32_t)n, written)))
		return -1;
	return n;
}

static const struct side sides[] = {
	{"libvh", libvh_submit, libvh_reap, libvh_serve},
	{"floor", floor_submit, floor_reap, floor_serve},
};

static const struct side *side(const char *name)
{
	for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++)
		if (!strcmp(name, sides[i].name))
			return &sides[i];
	return NULL;
}

static void open_queue(uint32_t role, struct vh_queue **out)
{
	struct vh_queue_opts opts = {.size = sizeof(opts),
				     .role = role,
				     .num = FLOOR_NUM,
				     .features = UINT64_C(1) << VH_F_VERSION_1 | (uint64_t)packed << VH_F_RING_PACKED,
				     .base = packed ? VH_QUEUE_PACKED_BASE : 0,
				     .desc = RING_GPA,
				     .driver = AVAIL_GPA,
				     .device = USED_GPA};

	if (vh_queue_open(mem, &opts, -1, -1, out) || vh_queue_disarm(*out))
		die("open");
}

static void set_up(const struct side *driver, const struct side *device)
{
	unsigned char *base;

	if (vh_mem_new(NULL, &mem) || vh_mem_alloc(mem, RING_GPA, ONE_LEN, 0))
		die("memory");
	base = vht_at(mem, RING_GPA);
	if (!base)
		die("translate");
	floor_mem.n = 1;
	floor_mem.regions[0] = (struct floor_region){RING_GPA, ONE_LEN, base};
	floor_device = (struct floor_queue){.mem = &floor_mem,
					    .last = floor_mem.regions,
					    .desc = (void *)base,
					    .avail = (void *)(base + (AVAIL_GPA - RING_GPA)),
					    .used = (void *)(base + (USED_GPA - RING_GPA)),
					    .wrap_avail = FLOOR_AVAIL,
					    .wrap_used = FLOOR_AVAIL | FLOOR_USED};
	floor_driver = floor_device;
	floor_driver_init(&floor_driver);
	if (driver == &sides[0])
		open_queue(VH_QUEUE_DRIVER, &driver_q);
	else
		floor_driver.avail[packed] = 1;
	if (device == &sides[0])
		open_queue(VH_QUEUE_DEVICE, &device_q);
	else
		floor_device.used[packed] = 1;
	n_slots = FLOOR_NUM / shape->n;
	for (uint32_t i = 0; i < n_slots; i++) {
		reqs[i] = (struct vh_req){.segs = (uint64_t)(uintptr_t)segs[i], .user = i};
		floor_reqs[i] = (struct floor_req){.segs = floor_segs[i], .n_segs = (uint16_t)shape->n};
		cookies[i] = i;
		for (uint32_t k = 0; k < shape->n; k++) {
			unsigned char *at = base + (buffer(1, shape->d[k].len) - RING_GPA);

			segs[i][k] = (struct vh_seg){.addr = (uint64_t)(uintptr_t)at, .len = shape->d[k].len};
			floor_segs[i][k] = (struct floor_seg){at, shape->d[k].len, shape->d[k].write ? FLOOR_WRITE : 0};
			reqs[i].n_rd += !shape->d[k].write;
			reqs[i].n_wr += shape->d[k].write;
		}
	}
	written = shape->d[shape->n - 1].write;
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* This thread to one of the process's cores, and threads that it makes from then on. */
static void pin(const cpu_set_t *all, int which)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, all) && which-- == 0)
			CPU_SET(cpu, &one);
	if (!CPU_COUNT(&one)) {
		fprintf(stderr, "cores: there are no two cores\n");
		exit(3);
	}
	if (sched_setaffinity(0, sizeof(one), &one))
		die("affinity");
}

static void *device_thread(void *arg)
{
	const struct side *device = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		int n = device->serve();

		if (n < 0)
			die("device");
		if (!n)
			relax();
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const struct side *driver = argc == 6 ? side(argv[1]) : NULL, *device = argc == 6 ? side(argv[2]) : NULL;
	static double window[WINDOWS];
	uint32_t depth, in_flight = 0, slot = 0, in_window = 0, n_windows = 0;
	uint64_t chains = 0;
	double start, end, late, last;
	pthread_t thread;
	cpu_set_t cores;

	shape = argc == 6 ? shape_by_name(argv[3], &packed) : NULL;
	depth = argc == 6 ? (uint32_t)atoi(argv[4]) : 0;
	if (!driver || !device || !shape || shape->indirect || !depth || depth * shape->n > FLOOR_NUM) {
		fprintf(stderr, "usage: cores libvh|floor libvh|floor [p]s0|[p]s1|[p]s2 DEPTH MILLISECONDS\n");
		return 2;
	}
	set_up(driver, device);
	if (sched_getaffinity(0, sizeof(cores), &cores))
		die("affinity");
	pin(&cores, 1);
	if (pthread_create(&thread, NULL, device_thread, (void *)(uintptr_t)device))
		die("thread");
	pin(&cores, 0);
	start = last = now_ns();
	end = start + atof(argv[5]) * 1e6;
	late = start + atof(argv[5]) * 1e7; /* for a machine so busy that there are few windows by then */
	for (uint32_t idle = 0; (last < end || n_windows < ENOUGH) && last < late && n_windows < WINDOWS;) {
		uint32_t want = depth - in_flight < n_slots - slot ? depth - in_flight : n_slots - slot;
		int n = want ? driver->submit(slot, want) : 0, got = driver->reap(depth);

		if (n < 0 || got < 0)
			die("driver");
		slot = (slot + (uint32_t)n) % n_slots;
		in_flight += (uint32_t)n - (uint32_t)got;
		in_window += (uint32_t)got;
		if (!n && !got)
			relax();
		if (in_window >= WINDOW) {
			double now = now_ns();

			window[n_windows++] = (now - last) / in_window;
			chains += in_window;
			in_window = idle = 0;
			last = now;
		} else if (++idle % (1u << 20) == 0 && now_ns() > late) {
			break;
		}
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	if (!n_windows) {
		fprintf(stderr, "cores: not %d chains in that time\n", WINDOW);
		return 1;
	}
	qsort(window, n_windows, sizeof(window[0]), by_value);
	printf("{\"driver\": \"%s\", \"device\": \"%s\", \"shape\": \"%s\", \"depth\": %u, \"chains\": %" PRIu64
	       ", \"ns\": %.1f, \"ns_least\": %.1f, \"ns_mean\": %.1f}\n",
	       driver->name, device->name, argv[3], depth, chains, window[n_windows / 2], window[0],
	       (last - start) / (double)chains);
	vh_queue_free(driver_q);
	vh_queue_free(device_q);
	vh_mem_free(mem);
	return 0;
}
