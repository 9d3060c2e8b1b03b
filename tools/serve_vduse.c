/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl serve --vduse: the same device in the kernel. */
#include "vhctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Signals come in while it sleeps, and not between a look and a sleep. */
static int loop(struct vh_vduse *v, bool verbose)
{
	struct pollfd p = {.fd = vh_vduse_fd(v), .events = POLLIN};
	const struct timespec now = {.tv_sec = 0};
	struct vh_event e = {.size = sizeof(e)};
	sigset_t held, before;

	sigemptyset(&held);
	sigaddset(&held, SIGTERM);
	sigaddset(&held, SIGINT);
	sigaddset(&held, SIGHUP);
	sigprocmask(SIG_BLOCK, &held, &before);
	while (!serve_told_to_end()) {
		int32_t rc = vh_vduse_dispatch(v);

		if (rc < 0)
			return say_vh(rc, "serve");
		while (vh_vduse_next_event(v, &e) == 1)
			if (verbose)
				serve_print_event(&e);
		if (ppoll(&p, 1, rc ? &now : NULL, &before) < 0 && errno != EINTR)
			return say(EXIT_WRONG, "ppoll: %s", strerror(errno));
	}
	return EXIT_DONE;
}

int serve_vduse(const struct serve_vduse_opts *o, struct vh_device *dev)
{
	const struct vh_vduse_opts opts = {.size = sizeof(opts),
					   .flags = o->umem ? VH_VDUSE_UMEM : 0,
					   .coalesce = o->coalesce,
					   .more_features = o->in_order ? UINT64_C(1) << VH_F_IN_ORDER : 0,
					   .mask_features = o->packed ? 0 : UINT64_C(1) << VH_F_RING_PACKED};
	struct vh_vduse_info info = {.size = sizeof(info)};
	struct vh_metrics *m = NULL;
	struct vh_vduse *v;
	int records = o->records ? open(o->records, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	int exit_code;
	int32_t rc;

	if (o->records && records < 0)
		return say(EXIT_USAGE, "%s: %s", o->records, strerror(errno));
	vh_mem_guard_install();
	rc = vh_vduse_new(&opts, o->name, dev, records, &v);
	if (records >= 0)
		close(records);
	if (rc) {
		say_vh(rc, o->name);
		return EXIT_USAGE;
	}
	if (o->metrics) {
		rc = vh_metrics_new(NULL, "vhctl serve --vduse", &m);
		if (!rc)
			rc = vh_vduse_set_metrics(v, m, o->kind);
		if (rc)
			say_vh(rc, "metrics");
		rc = o->openmetrics ? rc ? EXIT_WRONG : metrics_begin(m, o->openmetrics, 0) : 0;
		if (rc) {
			vh_vduse_free(v);
			vh_metrics_free(m);
			return rc;
		}
	}
	vh_vduse_set_logger(v, stderr_log(o->verbose ? VH_LOG_DEBUG : VH_LOG_WARNING), NULL);
	serve_catch_signals();
	vh_vduse_get_info(v, &info);
	say(0, "serving %s as /dev/vduse/%s%s", o->kind, o->name, info.taken_up ? ", which was there" : "");
	metrics_say(o->openmetrics);
	exit_code = loop(v, o->verbose);
	metrics_end();
	vh_vduse_free(v);
	vh_metrics_free(m);
	/* One that still has a driver stays, for who takes it up. */
	vh_vduse_remove(o->name);
	return exit_code;
}
