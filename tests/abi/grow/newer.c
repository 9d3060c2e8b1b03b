/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A program of tomorrow: built against headers that tests/gates/grow.py has added to. Its argument says what it uses of
 * what is new: nothing, option, callback, all (which looks the new function up first), or with -DLINKED all, linked.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <vh/vh.h>

#define GREETING 7

static int greeted, destroyed;

static void on_destroy(void *ctx)
{
	(void)ctx;
	destroyed++;
}

static void on_greeted(void *ctx, uint64_t greeting)
{
	(void)ctx;
	greeted += greeting == GREETING;
}

static int say(const char *what, vh_rc rc)
{
	struct vh_error why = {.size = sizeof(why)};

	vh_error_get(&why);
	printf("%s: %s, destroyed %d: %s\n", what, vh_error_name(rc), destroyed, rc ? why.text : "");
	return rc != 0;
}

static vh_rc greet(struct vh_slave *s)
{
#ifdef LINKED
	return vh_slave_greet(s);
#else
	void *found = dlvsym(RTLD_DEFAULT, "vh_slave_greet", "VH_1.1");
	vh_rc (*call)(struct vh_slave * s);

	if (!found)
		return printf("there is no vh_slave_greet\n"), 1;
	memcpy(&call, &found, sizeof(call));
	return call(s);
#endif
}

int main(int argc, char **argv)
{
	const char *use = argc > 1 ? argv[1] : "nothing";
	const int all = !strcmp(use, "all");
	const struct vh_blkdev_opts disk = {.size = sizeof(disk), .kind = VH_BLKDEV_NULL, .capacity = 1 << 20};
	const struct vh_slave_opts opts = {.size = sizeof(opts),
					   .greeting = all || !strcmp(use, "option") ? GREETING : 0};
	const struct vh_trace_ops ops = {.size = sizeof(ops),
					 .destroy = on_destroy,
					 .greeted = all || !strcmp(use, "callback") ? on_greeted : NULL};
	struct vh_slave_stats stats;
	struct vh_device *dev;
	struct vh_slave *s;
	vh_rc rc;

	memset(&stats, 0xff, sizeof(stats));
	stats.size = sizeof(stats);
	rc = vh_blkdev_new(&disk, -1, &dev);
	if (rc)
		return say("device", rc);
	rc = vh_slave_new(&opts, dev, NULL, NULL, &s);
	if (rc)
		return say("option", rc);
	rc = vh_slave_set_trace(s, &ops, NULL);
	if (rc)
		return say("callback", rc);
	rc = vh_slave_get_stats(s, &stats);
	if (rc || stats.greeting != opts.greeting)
		return say("counters", rc ? rc : 1);
	if (all && (greet(s) || greeted != 1))
		return say("function", 1);
	vh_slave_free(s);
	vh_device_free(dev);
	return destroyed != 1 ? say("destroy", 1) : (printf("ok with %s new\n", use), 0);
}
