/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A front-end and a back-end talk, with closures of libffi for every callback. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "dyn.h"
#include "pair.h"
#include "raw.h"

#define BATCH	 8
#define LEN	 512
#define REQUESTS 40
#define TRIES	 200
#define WAIT_MS	 10
#define CONFIG	 0x11 /* config space is this byte, and those that follow it */
#define ANSWER	 0x7e /* the device writes it */

/* Fill what the request can hold, complete it. */
static void answer_one(const void *req, void *cpl)
{
	const char *segs = pointer(dyn_get(req, "vh_req", "segs"));
	const uint64_t first = dyn_get(req, "vh_req", "n_rd"), n = dyn_get(req, "vh_req", "n_wr");
	const unsigned each = dyn_struct("vh_seg")->size;

	for (uint64_t i = first; i < first + n; i++)
		memset(pointer(dyn_get(segs + i * each, "vh_seg", "addr")), ANSWER,
		       (size_t)dyn_get(segs + i * each, "vh_seg", "len"));
	memset(cpl, 0, dyn_struct("vh_cpl")->size);
	dyn_set(cpl, "vh_cpl", "token", dyn_get(req, "vh_req", "token"));
	dyn_set(cpl, "vh_cpl", "written", dyn_get(req, "vh_req", "wr_len"));
}

static int64_t on_batch(uint64_t queue, uint64_t budget)
{
	const unsigned req_size = dyn_struct("vh_req")->size, cpl_size = dyn_struct("vh_cpl")->size;
	const uint64_t max = budget < BATCH ? budget : BATCH;
	char *reqs = calloc(BATCH, req_size), *cpls = calloc(BATCH, cpl_size);
	int64_t n = VH(queue_pop, queue, at(reqs), max), rc;

	for (int64_t i = 0; i < n; i++)
		answer_one(reqs + i * req_size, cpls + i * cpl_size);
	rc = n > 0 ? VH(queue_push, queue, at(cpls), (uint64_t)n) : n;
	free(reqs), free(cpls);
	return rc ? rc : n == (int64_t)max;
}

/* The device: config space, features, batches. */
static int64_t device_called(struct receiver *r, const char *callback, const uint64_t *args)
{
	(void)r;
	if (!strcmp(callback, "get_config"))
		for (uint64_t i = 0; i < args[3]; i++)
			((uint8_t *)pointer(args[2]))[i] = (uint8_t)(CONFIG + args[1] + i);
	if (!strcmp(callback, "on_batch"))
		return on_batch(args[1], args[3]);
	if (!strcmp(callback, "poll_fd"))
		return -1;
	return 0;
}

/* One request: LEN readable bytes, then LEN writable ones. */
static void make_request(void *req, char *segs, uint64_t addr, uint64_t cookie)
{
	const unsigned each = dyn_struct("vh_seg")->size;

	for (unsigned i = 0; i < 2; i++) {
		dyn_set(segs + i * each, "vh_seg", "addr", addr + i * LEN);
		dyn_set(segs + i * each, "vh_seg", "len", LEN);
	}
	dyn_set(req, "vh_req", "segs", at(segs));
	dyn_set(req, "vh_req", "n_rd", 1);
	dyn_set(req, "vh_req", "n_wr", 1);
	dyn_set(req, "vh_req", "user", cookie);
}

static void wait_a_little(uint64_t queue)
{
	struct pollfd p = {.fd = (int)VH(queue_fd, queue), .events = POLLIN};

	if (VH(queue_arm, queue) == dyn_constant("VH_QUEUE_SLEEP"))
		poll(&p, 1, WAIT_MS);
}

static void one_request(uint64_t queue, uint64_t addr, uint64_t cookie)
{
	void *req = dyn_new("vh_req"), *cpl = dyn_new("vh_cpl");
	char *segs = calloc(2, dyn_struct("vh_seg")->size), *data = pointer(addr);
	int64_t n = 0;

	memset(data, 0, 2 * LEN);
	make_request(req, segs, addr, cookie);
	CHECK(VH(queue_submit, queue, at(req), 1) == 1, "not submitted");
	for (int i = 0; i < TRIES && !n; i++) {
		wait_a_little(queue);
		n = VH(queue_reap, queue, at(cpl), 1);
	}
	CHECK(n == 1, "request %llu: reap says %lld", (unsigned long long)cookie, (long long)n);
	CHECK(dyn_get(cpl, "vh_cpl", "token") == cookie, "another request came back");
	CHECK(dyn_get(cpl, "vh_cpl", "written") == LEN, "%llu bytes written",
	      (unsigned long long)dyn_get(cpl, "vh_cpl", "written"));
	CHECK(data[0] == 0 && data[LEN] == ANSWER && data[2 * LEN - 1] == ANSWER, "not what the device writes");
	free(req), free(cpl), free(segs);
}

static void a_device_of_closures_answers_requests(void)
{
	struct receiver r = {.call = device_called};
	void *ops = dyn_ops("vh_device_ops",
			    "destroy get_config set_config set_features reset queue_started queue_stopped on_batch");
	uint64_t backend = 0, driver = 0, queue = 0, addr = 0;
	uint8_t config[16] = {0};
	struct pair p;

	pair_open(&p, new_device(ops, &r));
	free(ops);
	pair_start(&p);
	CHECK(!VH(master_backend, p.master, at(&backend)), "no backend");
	CHECK(!VH(driver_new, 0, backend, 0, at(&driver)), "no driver");
	CHECK(!VH(driver_alloc, driver, 2 * LEN, at(&addr)), "no memory");
	CHECK(!VH(driver_start, driver), "not started");
	CHECK(!VH(driver_queue, driver, 0, at(&queue)), "no queue");
	for (uint64_t i = 0; i < REQUESTS; i++)
		one_request(queue, addr, i + 1);
	CHECK(!VH(backend_get_config, backend, 4, at(config), sizeof(config)), "no config space");
	for (unsigned i = 0; i < sizeof(config); i++)
		CHECK(config[i] == CONFIG + 4 + i, "byte %u of config space is %u", i, config[i]);
	CHECK(!VH(driver_stop, driver, 0, 0), "not stopped");
	VH(driver_free, driver);
	CHECK(!r.destroyed, "destroyed while it was attached");
	pair_close(&p);
	CHECK(r.destroyed == 1, "destroyed %d times", r.destroyed);
	CHECK(r.called > REQUESTS, "only %d callbacks", r.called);
}

/* The counters of an out struct, and the events of both sides. */
static void counters_and_events_arrive(void)
{
	void *stats = dyn_new("vh_slave_stats"), *event = dyn_new("vh_event");
	uint64_t features = 0;
	struct pair p;

	pair_open(&p, new_device(NULL, NULL));
	pair_start(&p);
	CHECK(!VH(master_get_features, p.master, at(&features)) && features, "no features");
	pair_stop(&p);
	CHECK(!VH(slave_get_stats, p.slave, at(stats)), "no counters");
	CHECK(dyn_get(stats, "vh_slave_stats", "connected") == 1 &&
		      dyn_get(stats, "vh_slave_stats", "messages_in") == 1,
	      "one front-end, one message");
	CHECK(VH(slave_next_event, p.slave, at(event)) == 1, "no event");
	CHECK((int64_t)dyn_get(event, "vh_event", "kind") == dyn_constant("VH_EVENT_CONNECTED"), "another event");
	pair_close(&p);
	free(stats), free(event);
}

struct seen {
	struct receiver r;
	int lines, messages;
	uint32_t last_request;
};

static int64_t sees(struct receiver *r, const char *callback, const uint64_t *args)
{
	struct seen *s = (struct seen *)r;

	if (!strcmp(callback, "line")) {
		s->lines++;
		CHECK(args[1] >= 1 && args[1] <= 4 && *(char *)pointer(args[2]), "a line without a level, or a text");
	}
	if (!strcmp(callback, "message")) {
		char line[1024] = "";

		s->messages++;
		s->last_request = (uint32_t)dyn_get(pointer(args[1]), "vh_msg_info", "request");
		CHECK(VH(msg_json, args[1], at(line), sizeof(line)) > 0 && line[0] == '{', "no line of JSON");
	}
	return 0;
}

static void lines_and_messages_are_seen(void)
{
	struct seen log = {.r.call = sees}, trace = {.r.call = sees};
	void *logger_ops = dyn_ops("vh_logger_ops", NULL), *trace_ops = dyn_ops("vh_trace_ops", NULL);
	uint64_t features = 0;
	struct pair p;

	dyn_set(logger_ops, "vh_logger_ops", "level", (uint64_t)dyn_constant("VH_LOG_DEBUG"));
	pair_open(&p, new_device(NULL, NULL));
	CHECK(!VH(slave_set_logger, p.slave, at(logger_ops), at(&log)) &&
		      !VH(slave_set_trace, p.slave, at(trace_ops), at(&trace)),
	      "ops are not taken");
	free(logger_ops), free(trace_ops);
	pair_start(&p);
	CHECK(!VH(master_get_features, p.master, at(&features)), "no features");
	pair_stop(&p);
	CHECK(trace.messages == 2 && trace.last_request == 1, "%d messages, the last %u", trace.messages,
	      trace.last_request);
	CHECK(!VH(slave_disconnect, p.slave), "not disconnected");
	CHECK(log.lines > 0, "no line of log");
	pair_close(&p);
	CHECK(log.r.destroyed == 1 && trace.r.destroyed == 1, "destroyed %d and %d times", log.r.destroyed,
	      trace.r.destroyed);
}

/* SHARED_OBJECT_ADD: refused with one value of many, or taken. */
static int64_t request_called(struct receiver *r, const char *callback, const uint64_t *args)
{
	const void *req = pointer(args[1]);
	const uint8_t *payload;

	if (strcmp(callback, "backend_request"))
		return 0;
	payload = pointer(dyn_get(req, "vh_msg_request", "payload"));
	CHECK(dyn_get(req, "vh_msg_request", "request") == RAW_REQUEST, "another request");
	CHECK(dyn_get(req, "vh_msg_request", "payload_size") == 16 && payload[0] == RAW_BYTE && payload[15] == RAW_BYTE,
	      "another payload");
	return (int64_t)r->handle;
}

static void one_backend_request(int64_t result)
{
	struct receiver r = {.call = request_called, .handle = (uint64_t)result};
	/* It gets what has no callback of its own. */
	void *ops = dyn_ops("vh_master_ops", "destroy backend_request waiting");
	uint64_t master = 0, acked = 0;
	struct raw raw;
	int32_t fd = -1;

	CHECK(!VH(master_new, 0, at(ops), at(&r), at(&master)) && !VH(master_socketpair, master, at(&fd)), "no master");
	free(ops);
	raw_start(&raw, fd);
	CHECK(!VH(master_negotiate, master, UINT64_C(1) << dyn_constant("VH_F_VERSION_1"), at(&acked)),
	      "not negotiated");
	CHECK(!VH(master_set_protocol_features, master, raw_protocol_features()), "not acked");
	for (int i = 0; i < TRIES && !r.called; i++) {
		struct pollfd p = {.fd = (int)VH(master_fd, master), .events = POLLIN};

		poll(&p, 1, WAIT_MS);
		CHECK(VH(master_dispatch, master) >= 0, "dispatch");
	}
	VH(master_dispatch, master);
	VH(master_free, master);
	raw_join(&raw);
	CHECK(r.called == 1 && r.destroyed == 1, "called %d times, destroyed %d times", r.called, r.destroyed);
	CHECK(raw.answered && !raw.status == !result, "the back-end was told %llu", (unsigned long long)raw.status);
}

static void backend_requests_reach_their_callback(void)
{
	one_backend_request(0);
	one_backend_request(-EINVAL);
}

static void names_and_numbers(void)
{
	const int64_t version = dyn_constant("VH_VERSION_MAJOR") << 16 | dyn_constant("VH_VERSION_MINOR") << 8 |
				dyn_constant("VH_VERSION_PATCH");

	CHECK(dyn_invoke(dyn_call("vh_version"), NULL) == version, "another version than the headers'");
	CHECK(!strcmp(pointer((uint64_t)VH(error_name, (uint64_t)-EPROTO)), "EPROTO"), "the name of EPROTO");
	CHECK(!strcmp(pointer((uint64_t)VH(msg_name, 0, 1)), "GET_FEATURES"), "the name of message 1");
	CHECK(!VH(event_name, UINT32_MAX), "a name for no event");
	CHECK(VH(feature_name, 0, (uint64_t)dyn_constant("VH_PF_MQ")), "no name for MQ");
}

static void the_guard_comes_and_goes(void)
{
	CHECK(dyn_invoke(dyn_call("vh_mem_guard_remove"), NULL) == -ENOENT, "there is a guard already");
	CHECK(!dyn_invoke(dyn_call("vh_mem_guard_install"), NULL), "not installed");
	CHECK(!dyn_invoke(dyn_call("vh_mem_guard_remove"), NULL), "not removed");
}

const struct test session_tests[] = {
	{"names_and_numbers", names_and_numbers},
	{"the_guard_comes_and_goes", the_guard_comes_and_goes},
	{"a_device_of_closures_answers_requests", a_device_of_closures_answers_requests},
	{"counters_and_events_arrive", counters_and_events_arrive},
	{"lines_and_messages_are_seen", lines_and_messages_are_seen},
	{"backend_requests_reach_their_callback", backend_requests_reach_their_callback},
	{NULL, NULL},
};
