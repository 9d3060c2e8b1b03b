/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The driver and the device of this library at both ends of one ring, each on its own thread of the memory in weak.h: the
 * very sources of src/queue. Requests must come as they were sent, once, with the data that was stored before; and nobody
 * may be left asleep. Then the same without acquire, release or fences, which has to go wrong.
 */
#include "weak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vh/vh.h"

#define BASE	 UINT64_C(0x100000)
#define AREA	 UINT64_C(0x1000)
#define DATA	 (BASE + 3 * AREA)
#define NUM	 4u
#define UNBOUND	 1000u
#define MOST	 3u /* requests */
#define LEN(i)	 (16 + 8 * (uint32_t)(i))
#define PACKED	 (UINT64_C(1) << VH_F_RING_PACKED)
#define EVENTS	 (UINT64_C(1) << VH_F_RING_EVENT_IDX)
#define IN_ORDER (UINT64_C(1) << VH_F_IN_ORDER)
#define WANT(c)	 ((c) ? (void)0 : weak_wrong(#c))

static struct vh_mem *mem;
static unsigned char *memory;
static struct vh_queue *driver, *device;
static int kick, call;
static uint64_t features;
static uint32_t submitted, popped, reaped;
static bool driver_sleeps, device_sleeps;

static uint64_t *word(uint32_t i, bool answer)
{
	return (uint64_t *)(void *)(memory + (DATA - BASE) + 256 * i + (answer ? 128 : 0));
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "%s is not to be had\n", what);
	exit(2);
}

static bool submit(void)
{
	const uint32_t i = submitted;
	struct vh_seg segs[] = {{.addr = (uintptr_t)word(i, false), .len = LEN(i)},
				{.addr = (uintptr_t)word(i, true), .len = 8}};
	struct vh_req req = {.segs = (uintptr_t)segs, .n_rd = 1, .n_wr = 1, .user = 100 + i};
	vh_count n;

	weak_store(word(i, false), 8, 1000 + i, false);
	n = vh_queue_submit(driver, &req, 1);
	WANT(n >= 0);
	submitted += n > 0;
	return n > 0;
}

/* One request, if there is one. */
static bool serve(void)
{
	const struct vh_seg *segs;
	struct vh_cpl cpl = {.written = 8};
	struct vh_req req;
	vh_count n = vh_queue_pop(device, &req, 1);
	const uint32_t i = popped;

	WANT(n >= 0);
	if (n <= 0)
		return false;
	segs = (const struct vh_seg *)(uintptr_t)req.segs;
	popped++;
	if (req.n_rd != 1 || req.n_wr != 1 || segs[0].addr != (uintptr_t)word(i, false) || segs[0].len != LEN(i) ||
	    segs[1].addr != (uintptr_t)word(i, true)) {
		weak_wrong("a request that was not sent");
		return false;
	}
	WANT(weak_load(word(i, false), 8, false) == 1000 + i);
	weak_store(word(i, true), 8, 2000 + i, false);
	cpl.token = req.token;
	WANT(!vh_queue_push(device, &cpl, 1));
	return true;
}

static bool reap(void)
{
	struct vh_cpl cpl;
	vh_count n = vh_queue_reap(driver, &cpl, 1);

	WANT(n >= 0);
	if (n <= 0)
		return false;
	WANT(cpl.token == 100 + reaped);
	WANT(cpl.written == 8);
	WANT(weak_load(word(reaped, true), 8, false) == 2000 + reaped);
	reaped++;
	return true;
}

static bool signalled(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

static void forget(void)
{
	submitted = popped = reaped = 0;
	driver_sleeps = device_sleeps = false;
	signalled(kick);
	signalled(call);
}

/* A ring that has had a request already, so that no first notification is due. */
static void begin(void)
{
	struct vh_queue_opts opts = {
		.size = sizeof(opts),
		.role = VH_QUEUE_DRIVER,
		.num = NUM,
		.features = features,
		.desc = BASE,
		.driver = BASE + AREA,
		.device = BASE + 2 * AREA,
		.base = features & PACKED ? VH_QUEUE_PACKED_BASE : 0,
	};

	memset(memory, 0, 4 * AREA);
	vh_queue_free(driver);
	vh_queue_free(device);
	driver = device = NULL;
	must(!vh_queue_open(mem, &opts, kick, call, &driver), "driver");
	opts.role = VH_QUEUE_DEVICE;
	must(!vh_queue_open(mem, &opts, kick, call, &device), "device");
	forget();
	must(submit() && serve() && reap(), "the first request");
	forget();
}

static void quiet(void)
{
	begin();
	vh_queue_disarm(driver);
	vh_queue_disarm(device);
}

/* What was not done at the same time is done now; then all has to be there. */
static const char *end(void)
{
	if (driver_sleeps && !signalled(call) && popped > reaped)
		return "the driver is left asleep";
	if (device_sleeps && !signalled(kick) && submitted > popped)
		return "the device is left asleep";
	while (serve() || reap())
		;
	return popped == submitted && reaped == submitted ? NULL : "a request is lost";
}

static void driver_polls(void)
{
	submit();
	submit();
	reap();
	submit();
	reap();
}

static void device_polls(void)
{
	for (uint32_t i = 0; i < MOST; i++)
		serve();
}

static void driver_once(void)
{
	submit();
	reap();
}

static void device_once(void)
{
	serve();
}

static void driver_submits(void)
{
	submit();
	submit();
}

static void device_waits(void)
{
	vh_count rc;

	do {
		while (serve())
			;
		rc = vh_queue_arm(device);
	} while (rc == VH_QUEUE_MORE && popped < MOST);
	device_sleeps = rc == VH_QUEUE_SLEEP;
}

static void begin_with_two(void)
{
	begin();
	must(submit() && submit(), "two requests");
	vh_queue_disarm(device);
	signalled(kick);
}

static void driver_waits(void)
{
	vh_count rc = VH_QUEUE_MORE;

	while (rc == VH_QUEUE_MORE && reaped < submitted) {
		while (reap())
			;
		if (reaped < submitted)
			rc = vh_queue_arm(driver);
	}
	driver_sleeps = rc == VH_QUEUE_SLEEP;
}

static const struct {
	const char *name;
	struct weak_program program;
	bool needs_fences, needs_order, unbound;
} programs[] = {
	{"one request", {quiet, {driver_once, device_once}, end}, false, true, true},
	{"polled", {quiet, {driver_polls, device_polls}, end}, false, true, false},
	{"the device waits", {begin, {driver_submits, device_waits}, end}, true, true, false},
	{"the driver waits", {begin_with_two, {driver_waits, device_polls}, end}, true, true, false},
};

static const struct {
	const char *name;
	uint64_t features;
} rings[] = {
	{"split", 0},
	{"split, event index", EVENTS},
	{"packed", PACKED},
	{"packed, event index", PACKED | EVENTS},
	{"split, in order", IN_ORDER},
	{"packed, in order", PACKED | IN_ORDER},
};

static const char *const left_out[] = {"", "acquire", "release", "fences"};

int main(void)
{
	const bool full = getenv("VH_FULL") && !strcmp(getenv("VH_FULL"), "1");
	const uint32_t switches = full ? 5 : 3, old_loads = full ? 4 : 3;
	uint32_t failures = 0, seeds = 0;
	uint64_t ways = 0;
	struct vh_region region;

	must(!vh_mem_new(NULL, &mem) && !vh_mem_alloc(mem, BASE, 4 * AREA, 0) && vh_mem_regions(mem, &region, 1) == 1,
	     "memory");
	memory = (unsigned char *)(uintptr_t)region.host;
	kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (size_t r = 0; r < sizeof(rings) / sizeof(rings[0]); r++) {
		for (size_t p = 0; p < sizeof(programs) / sizeof(programs[0]); p++) {
			features = rings[r].features;
			for (int w = WEAK_ALL_THERE; w <= WEAK_NO_FENCE; w++) {
				const bool breaks = w == WEAK_NO_FENCE ? programs[p].needs_fences
								       : w && programs[p].needs_order;
				struct weak_result got;

				if (w && !breaks)
					continue;
				got = weak_explore(&programs[p].program, (enum weak_without)w,
						   programs[p].unbound ? UNBOUND : switches,
						   programs[p].unbound ? UNBOUND : old_loads);
				ways += got.ways;
				seeds += breaks;
				if (breaks != !!got.wrong)
					failures++;
				printf("%s, %s%s%s: %s after %llu ways%s\n", rings[r].name, programs[p].name,
				       w ? ", without " : "", left_out[w], got.wrong ? got.wrong : "well",
				       (unsigned long long)got.ways, got.all ? ", which are all" : "");
			}
		}
	}
	printf("%u failures; %llu ways, %u seeded bugs, %u changes of thread, %u old loads\n", failures,
	       (unsigned long long)ways, seeds, switches, old_loads);
	return failures ? 1 : 0;
}
