/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The driver and the device of this library at both ends of one ring, each on its own thread of the memory in weak.h: the
 * very sources of src/queue. Requests must come as they were sent, once, with the data that was stored before; and nobody
 * may be left asleep. A device that keeps records of what is in flight may die at any of its stores, in the ring, in the
 * records and in the data; another one goes on from there. Then the same without acquire, release or fences, which has to
 * go wrong.
 */
#include "weak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vh/vh.h"

#define BASE	 UINT64_C(0x100000)
#define AREA	 UINT64_C(0x1000)
#define DATA	 (BASE + 3 * AREA)
#define TABLES	 (BASE + 4 * AREA)
#define ALL	 (5 * AREA)
#define NUM	 4u
#define UNBOUND	 1000u
#define MOST	 3u /* requests */
#define LEN(i)	 (16 + 8 * (uint32_t)(i))
#define PACKED	 (UINT64_C(1) << VH_F_RING_PACKED)
#define EVENTS	 (UINT64_C(1) << VH_F_RING_EVENT_IDX)
#define IN_ORDER (UINT64_C(1) << VH_F_IN_ORDER)
#define INDIRECT (UINT64_C(1) << VH_F_RING_INDIRECT_DESC)
#define WANT(c)	 ((c) || weak_ghost() ? (void)0 : weak_wrong(#c))

static struct vh_mem *mem;
static unsigned char *memory;
static struct vh_queue *driver, *device;
static int kick, call;
static uint64_t features;
static uint32_t submitted, popped, reaped;
static bool driver_sleeps, device_sleeps;
static uint32_t completed; /* by bit */
/* What a device has in flight, for the next one. */
static bool tracked;
static struct vh_inflight records;
static int records_fd;
static void *records_at;

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

/* What a request is made of says which one it is. */
static bool look(const struct vh_req *req)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	const uint64_t i = (segs[0].addr - (uintptr_t)word(0, false)) / 256;
	const bool again = weak_died() && !weak_ghost();

	if (req->n_rd != 1 || req->n_wr != 1 || i > MOST || segs[0].addr != (uintptr_t)word((uint32_t)i, false) ||
	    segs[0].len != LEN(i) || segs[1].addr != (uintptr_t)word((uint32_t)i, true) || (!again && i != popped)) {
		weak_wrong("a request that was not sent");
		return false;
	}
	popped++;
	WANT(weak_load(word((uint32_t)i, false), 8, false) == 1000 + i);
	weak_store(word((uint32_t)i, true), 8, 2000 + i, false);
	return true;
}

/* At most max requests, those that came last completed first. */
static bool serve_many(uint32_t max)
{
	struct vh_cpl cpls[2];
	struct vh_req reqs[2];
	vh_count n = vh_queue_pop(device, reqs, max);

	WANT(n >= 0);
	for (vh_count i = 0; i < n; i++) {
		if (!look(&reqs[i]))
			return false;
		cpls[n - 1 - i] = (struct vh_cpl){.token = reqs[i].token, .written = 8};
	}
	for (vh_count i = 0; i < n; i++)
		WANT(!vh_queue_push(device, &cpls[i], 1));
	return n > 0;
}

/* One request, if there is one. */
static bool serve(void)
{
	return serve_many(1);
}

static bool reap(void)
{
	struct vh_cpl cpl;
	vh_count n = vh_queue_reap(driver, &cpl, 1);
	uint32_t i;

	WANT(n >= 0);
	if (n <= 0)
		return false;
	i = (uint32_t)cpl.token - 100;
	if (i >= submitted || completed & 1u << i) {
		weak_wrong("a completion of nothing");
		return false;
	}
	WANT(cpl.written == 8);
	WANT(weak_load(word(i, true), 8, false) == 2000 + i);
	completed |= 1u << i;
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
	submitted = popped = reaped = completed = 0;
	driver_sleeps = device_sleeps = false;
	signalled(kick);
	signalled(call);
}

static void open_device(uint32_t base)
{
	struct vh_queue_opts opts = {
		.size = sizeof(opts),
		.role = VH_QUEUE_DEVICE,
		.flags = tracked ? VH_QUEUE_HOLD : 0,
		.num = NUM,
		.features = features,
		.desc = BASE,
		.driver = BASE + AREA,
		.device = BASE + 2 * AREA,
		.base = base,
	};

	must(!vh_queue_open(mem, &opts, kick, call, &device), "device");
	if (tracked)
		must(!vh_queue_set_inflight(device, &records, records_fd) && !vh_queue_start(device), "records");
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
		.indirect = TABLES,
		.max_indirect = features & INDIRECT ? 2 : 0,
	};

	memset(memory, 0, ALL);
	vh_queue_free(driver);
	vh_queue_free(device);
	driver = device = NULL;
	must(!vh_queue_open(mem, &opts, kick, call, &driver), "driver");
	if (tracked)
		memset(records_at, 0, records.mmap_size);
	open_device(opts.base);
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

/* Another device goes on where the one that died was, by its records alone. */
static const char *another(void)
{
	struct vh_queue_stats stats = {.size = sizeof(stats)};

	if (weak_died()) {
		vh_queue_free(device);
		device = NULL;
		open_device(features & PACKED ? VH_QUEUE_PACKED_BASE : 0);
	}
	while (serve() || reap())
		;
	if (vh_queue_get_stats(device, &stats) || stats.broken_site)
		return "the other device does not find its way";
	return reaped == submitted ? NULL : "a request is lost";
}

static void device_turns_round(void)
{
	serve_many(2);
	serve_many(2);
}

static void driver_sends_two(void)
{
	submit();
	submit();
	reap();
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
	{"one request", {quiet, {driver_once, device_once}, end, WEAK_NOBODY_DIES}, false, true, true},
	{"polled", {quiet, {driver_polls, device_polls}, end, WEAK_NOBODY_DIES}, false, true, false},
	{"the device waits", {begin, {driver_submits, device_waits}, end, WEAK_NOBODY_DIES}, true, true, false},
	{"the driver waits", {begin_with_two, {driver_waits, device_polls}, end, WEAK_NOBODY_DIES}, true, true, false},
	/* Where there are records. */
	{"the device dies",
	 {quiet, {driver_sends_two, device_turns_round}, another, WEAK_SECOND_DIES},
	 false,
	 true,
	 false},
};

static const struct {
	const char *name;
	uint64_t features;
	bool tracked;
} rings[] = {
	{"split", 0, false},
	{"split, event index", EVENTS, false},
	{"packed", PACKED, false},
	{"packed, event index", PACKED | EVENTS, false},
	{"split, in order", IN_ORDER, false},
	{"packed, in order", PACKED | IN_ORDER, false},
	{"split, tables", INDIRECT, false},
	{"packed, tables", PACKED | INDIRECT, false},
	{"split, records", 0, true},
	{"packed, records", PACKED, true},
};

static const char *const left_out[] = {"", "acquire", "release", "fences", "records"};

static void make_records(void)
{
	if (records_at) {
		munmap(records_at, records.mmap_size);
		close(records_fd);
	}
	records = (struct vh_inflight){.size = sizeof(records)};
	must(!vh_inflight_make(1, NUM, features, &records, &records_fd), "a file for records");
	records_at = mmap(NULL, records.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, records_fd,
			  (off_t)records.mmap_offset);
	must(records_at != MAP_FAILED, "a mapping of records");
}

/* With a word: only the rings whose name has it. */
int main(int argc, char **argv)
{
	const bool full = getenv("VH_FULL") && !strcmp(getenv("VH_FULL"), "1");
	const uint32_t switches = full ? 5 : 3, old_loads = full ? 4 : 3;
	uint32_t failures = 0, seeds = 0;
	uint64_t ways = 0;
	struct vh_region region;

	must(!vh_mem_new(NULL, &mem) && !vh_mem_alloc(mem, BASE, ALL, 0) && vh_mem_regions(mem, &region, 1) == 1,
	     "memory");
	memory = (unsigned char *)(uintptr_t)region.host;
	weak_memory(memory, ALL);
	kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (size_t r = 0; r < sizeof(rings) / sizeof(rings[0]); r++) {
		for (size_t p = 0; p < sizeof(programs) / sizeof(programs[0]); p++) {
			if ((programs[p].program.mortal && !rings[r].tracked) ||
			    (argc > 1 && !strstr(rings[r].name, argv[1])))
				continue;
			features = rings[r].features;
			tracked = rings[r].tracked;
			if (tracked)
				make_records();
			for (int w = WEAK_ALL_THERE; w <= WEAK_NO_RECORDS; w++) {
				const bool breaks = w == WEAK_NO_RECORDS ? programs[p].program.mortal
						    : w == WEAK_NO_FENCE ? programs[p].needs_fences
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
