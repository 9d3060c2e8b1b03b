/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* destroy() exactly once: on success, failure, replacement and free, and when callbacks reach back into the library. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dyn.h"
#include "pair.h"

static void once(const struct receiver *r, const char *when)
{
	CHECK(r->destroyed == 1, "%s: destroy was called %d times", when, r->destroyed);
}

static void free_destroys(void)
{
	struct receiver device = {0}, master = {0}, slave = {0};
	void *device_ops = dyn_ops("vh_device_ops", "destroy"), *master_ops = dyn_ops("vh_master_ops", "destroy");
	void *slave_ops = dyn_ops("vh_slave_ops", "destroy");
	uint64_t dev = new_device(device_ops, &device), m = 0, s = 0;

	CHECK(!VH(master_new, 0, at(master_ops), at(&master), at(&m)), "no master");
	CHECK(!VH(slave_new, 0, dev, at(slave_ops), at(&slave), at(&s)), "no slave");
	free(device_ops); /* they were copied */
	free(master_ops);
	free(slave_ops);
	CHECK(!device.destroyed && !master.destroyed && !slave.destroyed, "destroyed before they were freed");
	VH(slave_free, s);
	VH(device_free, dev);
	VH(master_free, m);
	once(&slave, "slave_free");
	once(&device, "device_free");
	once(&master, "master_free");
}

/* Each call that takes ops, with something else wrong. */
static void failure_destroys(void)
{
	struct receiver r[8] = {{0}};
	void *device_ops = dyn_ops("vh_device_ops", NULL), *master_ops = dyn_ops("vh_master_ops", NULL);
	void *logger_ops = dyn_ops("vh_logger_ops", NULL), *trace_ops = dyn_ops("vh_trace_ops", NULL);
	void *opts = dyn_new("vh_device_opts"), *slave_ops = dyn_ops("vh_slave_ops", NULL);
	uint64_t out = 0;

	dyn_set(opts, "vh_device_opts", "max_queues", 1 << 20);
	CHECK(VH(device_new, at(opts), at(device_ops), at(&r[0]), at(&out)) == -EINVAL, "a million queues");
	dyn_set(master_ops, "vh_master_ops", "flags", 1u << 31);
	CHECK(VH(master_new, 0, at(master_ops), at(&r[1]), at(&out)) == -EINVAL, "unknown flags of a master");
	CHECK(VH(slave_new, 0, 0, at(slave_ops), at(&r[6]), at(&out)) == -EINVAL, "a slave without a device");
	dyn_set(slave_ops, "vh_slave_ops", "flags", 1);
	CHECK(VH(slave_new, 0, 0, at(slave_ops), at(&r[7]), at(&out)) == -EINVAL, "unknown flags of a slave");
	CHECK(VH(slave_set_logger, 0, at(logger_ops), at(&r[2])) == -EINVAL, "a log of no slave");
	CHECK(VH(slave_set_trace, 0, at(trace_ops), at(&r[3])) == -EINVAL, "a trace of no slave");
	CHECK(VH(master_set_logger, 0, at(logger_ops), at(&r[4])) == -EINVAL, "a log of no master");
	CHECK(VH(master_set_trace, 0, at(trace_ops), at(&r[5])) == -EINVAL, "a trace of no master");
	for (unsigned i = 0; i < 8; i++)
		CHECK(r[i].destroyed == 1, "failed registration %u: destroyed %d times", i, r[i].destroyed);
	CHECK(!out, "a call that failed gave something out");
	free(device_ops), free(master_ops), free(slave_ops), free(logger_ops), free(trace_ops), free(opts);
}

struct setter {
	const char *call, *ops;
	bool of_slave;
};

static const struct setter setters[] = {
	{"vh_slave_set_logger", "vh_logger_ops", true},
	{"vh_slave_set_trace", "vh_trace_ops", true},
	{"vh_master_set_logger", "vh_logger_ops", false},
	{"vh_master_set_trace", "vh_trace_ops", false},
};
#define SETTERS (sizeof(setters) / sizeof(setters[0]))

static int64_t set(const struct setter *s, const struct pair *p, void *ops, struct receiver *r)
{
	const uint64_t args[] = {s->of_slave ? p->slave : p->master, at(ops), at(r)};

	return dyn_invoke(dyn_call(s->call), args);
}

static void replacement_destroys(void)
{
	for (size_t i = 0; i < SETTERS; i++) {
		struct receiver first = {0}, second = {0}, third = {0};
		void *ops = dyn_ops(setters[i].ops, NULL);
		struct pair p;

		pair_open(&p, new_device(NULL, NULL));
		CHECK(!set(&setters[i], &p, ops, &first), "%s", setters[i].call);
		CHECK(!set(&setters[i], &p, ops, &second), "%s again", setters[i].call);
		once(&first, "replaced");
		CHECK(!second.destroyed, "what replaced it was destroyed");
		CHECK(!set(&setters[i], &p, NULL, NULL), "%s off", setters[i].call);
		once(&second, "taken away");
		CHECK(!set(&setters[i], &p, ops, &third), "%s once more", setters[i].call);
		pair_close(&p);
		once(&first, "after free"), once(&second, "after free"), once(&third, "freed");
		free(ops);
	}
}

/* destroy() itself takes the ops away again, and asks for others. */
static int64_t sets_again(struct receiver *r, const char *callback, const uint64_t *args)
{
	(void)args;
	if (!strcmp(callback, "destroy") && r->destroyed == 1) {
		VH(slave_set_logger, r->handle, 0, 0);
		VH(slave_set_trace, r->handle, 0, 0);
	}
	return 0;
}

static void destroy_that_reaches_back_is_called_once(void)
{
	for (size_t i = 0; i < 2; i++) {
		struct receiver r = {.call = sets_again};
		void *ops = dyn_ops(setters[i].ops, NULL);
		struct pair p;

		pair_open(&p, new_device(NULL, NULL));
		r.handle = p.slave;
		CHECK(!set(&setters[i], &p, ops, &r), "%s", setters[i].call);
		CHECK(!set(&setters[i], &p, NULL, NULL), "%s off", setters[i].call);
		once(&r, "reached back");
		pair_close(&p);
		once(&r, "reached back, freed");
		free(ops);
	}
}

/* GET_FEATURES, whose answer nobody waits for. */
static void ask_features(uint64_t master)
{
	void *msg = dyn_new("vh_msg");

	dyn_set(msg, "vh_msg", "request", 1);
	CHECK(!VH(master_submit, master, at(msg), 0, 0), "nothing sent");
	free(msg);
}

static int64_t frees_slave(struct receiver *r, const char *callback, const uint64_t *args)
{
	(void)args;
	if (!strcmp(callback, "message") && r->called == 1)
		VH(slave_free, r->handle);
	if (!strcmp(callback, "message"))
		CHECK(!r->destroyed, "destroyed while its callback runs");
	return 0;
}

static void free_inside_a_callback_destroys_when_the_call_returns(void)
{
	struct receiver trace = {.call = frees_slave}, device = {0};
	void *trace_ops = dyn_ops("vh_trace_ops", NULL), *device_ops = dyn_ops("vh_device_ops", "destroy");
	struct pair p;

	pair_open(&p, new_device(device_ops, &device));
	trace.handle = p.slave;
	CHECK(!VH(slave_set_trace, p.slave, at(trace_ops), at(&trace)), "no trace");
	/* The device was given up before: it goes with its slave. */
	VH(device_free, p.device);
	CHECK(!device.destroyed, "a device was destroyed while it was attached");
	ask_features(p.master);
	for (int i = 0; i < 100 && !trace.destroyed; i++)
		if (VH(slave_wait, p.slave, 1000) < 0 || trace.called)
			break;
	CHECK(trace.called >= 1, "no message came");
	once(&trace, "freed inside its own callback");
	once(&device, "freed with a slave that was freed inside");
	VH(master_free, p.master);
	free(trace_ops), free(device_ops);
}

static int64_t frees_master(struct receiver *r, const char *callback, const uint64_t *args)
{
	(void)args;
	if (!strcmp(callback, "message") && r->called == 1)
		VH(master_free, r->handle);
	return 0;
}

static void master_freed_inside_a_callback(void)
{
	struct receiver trace = {.call = frees_master}, master = {0};
	void *trace_ops = dyn_ops("vh_trace_ops", NULL), *master_ops = dyn_ops("vh_master_ops", "destroy");
	struct pair p;
	uint64_t features;

	CHECK(!VH(master_new, 0, at(master_ops), at(&master), at(&p.master)), "no master");
	pair_open_with(&p, new_device(NULL, NULL), p.master);
	pair_start(&p);
	trace.handle = p.master;
	CHECK(!VH(master_set_trace, p.master, at(trace_ops), at(&trace)), "no trace");
	VH(master_get_features, p.master, at(&features)); /* goes on to its end, or fails: either is fine */
	CHECK(trace.called > 0, "no message went out");
	p.master = 0;
	once(&trace, "the trace of a master freed inside");
	once(&master, "the ops of a master freed inside");
	pair_close(&p);
	free(trace_ops), free(master_ops);
}

const struct test destroy_tests[] = {
	{"free_destroys", free_destroys},
	{"failure_destroys", failure_destroys},
	{"replacement_destroys", replacement_destroys},
	{"destroy_that_reaches_back_is_called_once", destroy_that_reaches_back_is_called_once},
	{"free_inside_a_callback_destroys_when_the_call_returns",
	 free_inside_a_callback_destroys_when_the_call_returns},
	{"master_freed_inside_a_callback", master_freed_inside_a_callback},
	{NULL, NULL},
};
