/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl serve: a back-end program, with the command line that the vhost-user conventions ask for. */
#include "vhctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct serve_opts {
	bool iommu, guest_addresses;
	const char *socket;
	const char *connect;
	const char *handover;
	const char *vduse, *records;
	const char *openmetrics;
	bool metrics;
	uint64_t fd, tries, coalesce;
	uint64_t poll_us;
	bool poll, has_fd, packed, in_order, umem, postcopy, verbose;
	struct serve_device device;
};

static const struct serve_kind *const kinds[] = {&serve_blk, &serve_net};

#define MAX_OPTIONS 40

static const struct serve_kind *find_kind(int argc, char **argv)
{
	for (size_t k = 0; argc && k < sizeof(kinds) / sizeof(kinds[0]); k++)
		if (!strcmp(argv[0], kinds[k]->name))
			return kinds[k];
	return NULL;
}

static int parse(int argc, char **argv, const struct serve_kind *kind, struct serve_opts *o)
{
	const struct opt common[] = {
		{"socket", OPT_TEXT, &o->socket, 0, NULL},
		{"socket-path", OPT_TEXT, &o->socket, 0, NULL},
		{"connect", OPT_TEXT, &o->connect, 0, NULL},
		{"tries", OPT_NUMBER, &o->tries, UINT32_MAX, NULL},
		{"fd", OPT_NUMBER, &o->fd, 0x7fffffff, &o->has_fd},
		{"queues", OPT_NUMBER, &o->device.queues, kind->max_queues, NULL},
		{"queue-size", OPT_NUMBER, &o->device.queue_size, VH_QUEUE_MAX_SIZE, NULL},
		{"iommu", OPT_SWITCH, &o->iommu, 0, NULL},
		{"guest-addresses", OPT_SWITCH, &o->guest_addresses, 0, NULL},
		{"packed", OPT_SWITCH, &o->packed, 0, NULL},
		{"poll", OPT_FLAG, &o->poll, 0, NULL},
		{"poll-us", OPT_NUMBER, &o->poll_us, 1000000, NULL},
		{"in-order", OPT_SWITCH, &o->in_order, 0, NULL},
		{"coalesce", OPT_NUMBER, &o->coalesce, VH_QUEUE_MAX_SIZE, NULL},
		{"postcopy", OPT_FLAG, &o->postcopy, 0, NULL},
		{"handover", OPT_TEXT, &o->handover, 0, NULL},
		{"vduse", OPT_TEXT, &o->vduse, 0, NULL},
		{"records", OPT_TEXT, &o->records, 0, NULL},
		{"umem", OPT_FLAG, &o->umem, 0, NULL},
		{"metrics", OPT_SWITCH, &o->metrics, 0, NULL},
		{"openmetrics", OPT_TEXT, &o->openmetrics, 0, NULL},
		{"verbose", OPT_FLAG, &o->verbose, 0, NULL},
	};
	const size_t n_common = sizeof(common) / sizeof(common[0]);
	struct opt opts[MAX_OPTIONS];
	const char *words[1];
	size_t n;
	int rc;

	memcpy(opts, common, sizeof(common));
	memcpy(opts + n_common, kind->opts, kind->n_opts * sizeof(opts[0]));
	rc = parse_options(argc, argv, opts, n_common + kind->n_opts, words, 1, &n);
	if (rc)
		return rc;
	if (!!o->socket + !!o->connect + !!o->vduse + o->has_fd != 1)
		return usage("serve %s: give one of --socket ADDRESS, --connect ADDRESS, --fd N and --vduse NAME",
			     kind->name);
	if (o->openmetrics && !o->metrics)
		return usage("serve %s: --openmetrics is not for --metrics off", kind->name);
	if ((o->records || o->umem) && !o->vduse)
		return usage("serve %s: --records and --umem are for --vduse", kind->name);
	if (!o->device.queues || !o->device.queue_size)
		return usage("serve %s: --queues and --queue-size are at least 1", kind->name);
	if (o->device.queue_size & (o->device.queue_size - 1))
		return usage("serve %s: --queue-size is a power of two", kind->name);
	return 0;
}

static struct vh_slave *volatile serving;
static volatile sig_atomic_t told_to_end;

/* The wake-up stays until a wait has seen it, so that no signal is missed between a check and a wait. */
static void on_signal(int sig)
{
	(void)sig;
	told_to_end = 1;
	if (serving)
		vh_slave_wake(serving);
}

bool serve_told_to_end(void)
{
	return told_to_end;
}

void serve_catch_signals(void)
{
	static const int end[] = {SIGTERM, SIGINT, SIGHUP};
	struct sigaction a = {.sa_handler = on_signal};

	sigemptyset(&a.sa_mask);
	for (size_t i = 0; i < sizeof(end) / sizeof(end[0]); i++)
		sigaction(end[i], &a, NULL);
}

void serve_print_event(const struct vh_event *e)
{
	const char *name = vh_event_name(e->kind);
	char queue[32] = "";

	if (e->queue != VH_ERROR_NONE)
		snprintf(queue, sizeof(queue), "queue %u ", e->queue);
	say(0, "%s%s: reason %d value 0x%llx", queue, name ? name : "event", e->reason, (unsigned long long)e->value);
}

/* What the loop looks at beside the back-end. */
struct sources {
	int successor; /* a listening socket, -1 = none */
	bool verbose;
	bool once; /* the socket was a connection that somebody handed us, and ends with it */
};

static int loop(struct vh_slave *s, const struct sources *from)
{
	struct vh_event e = {.size = sizeof(e)};
	struct pollfd p[] = {{.fd = vh_slave_fd(s), .events = POLLIN}, {.fd = from->successor, .events = POLLIN}};
	const bool alone = from->successor < 0; /* then a wait is one system call, and not two */

	while (!told_to_end) {
		int32_t rc = alone ? vh_slave_wait(s, -1) : vh_slave_dispatch(s);

		if (rc < 0 && rc != -EINTR)
			return say_vh(rc, "serve");
		while (vh_slave_next_event(s, &e) == 1) {
			if (from->verbose)
				serve_print_event(&e);
			if (from->once && e.kind == VH_EVENT_DISCONNECTED)
				return e.reason ? EXIT_WRONG : EXIT_DONE;
			if (e.kind == VH_EVENT_GAVE_UP)
				return say(EXIT_UNREACHABLE, "no front-end after %llu tries: %s",
					   (unsigned long long)e.value, vh_error_name(e.reason));
		}
		if (alone)
			continue;
		if (poll(p, 2, rc ? 0 : -1) < 0 && errno != EINTR)
			return say(EXIT_WRONG, "poll: %s", strerror(errno));
		if (p[1].revents && handover_give(from->successor, s))
			return EXIT_DONE;
		p[1].revents = 0;
	}
	return EXIT_DONE;
}

/* A connected socket that was handed over serves once; one that listens serves until it is told to stop. */
static bool is_listening(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) && on;
}

/* The socket that the options ask for. */
static int32_t take_socket(const struct serve_opts *o, struct vh_slave *s)
{
	const struct vh_reconnect policy = {.size = sizeof(policy), .max_tries = (uint32_t)o->tries};

	if (o->connect)
		return vh_slave_connect(s, o->connect, &policy);
	return o->socket ? vh_slave_listen(s, o->socket) : vh_slave_adopt(s, (int)o->fd);
}

#define OLD_ENDS_MS 5000 /* until the one before has ended, and its port is free */

/* From the one that serves, or anew: 0 or an exit code. */
static int begin(const struct serve_opts *o, const char *kind, struct vh_slave *s, struct vh_metrics *m, int *successor)
{
	int taken = o->handover ? handover_take(o->handover, s) : 0;
	int32_t rc;

	if (taken < 0)
		return EXIT_WRONG;
	if (o->handover) {
		*successor = handover_listen(o->handover);
		if (*successor < 0)
			return EXIT_USAGE;
	}
	if (taken) {
		say(0, "serving %s where the one before stood", kind);
		if (o->openmetrics && metrics_begin(m, o->openmetrics, OLD_ENDS_MS))
			say(0, "it serves without");
		return 0;
	}
	if (o->openmetrics && (rc = metrics_begin(m, o->openmetrics, 0)))
		return rc;
	rc = take_socket(o, s);
	if (rc) {
		say_vh(rc, o->connect ? o->connect : o->socket ? o->socket : "--fd");
		return EXIT_USAGE;
	}
	if (o->connect)
		say(0, "serving %s, connecting to %s", kind, o->connect);
	else if (o->socket)
		say(0, "serving %s on %s", kind, o->socket);
	else
		say(0, "serving %s on fd %d", kind, (int)o->fd);
	return 0;
}

/* The page that vhctl state reads. A host where there can be none serves all the same. 0, or an exit code. */
static int show(const struct serve_opts *o, const char *kind, struct vh_slave *s, struct vh_metrics **m)
{
	char name[32];
	int32_t rc;

	*m = NULL;
	if (!o->metrics)
		return 0;
	snprintf(name, sizeof(name), "vhctl serve %s", kind);
	rc = vh_metrics_new(NULL, name, m);
	if (!rc)
		rc = vh_slave_set_metrics(s, *m, kind);
	if (rc)
		say_vh(rc, "metrics");
	return rc && o->openmetrics ? EXIT_WRONG : 0;
}

static int serve(const struct serve_opts *o, const char *kind, struct vh_device *dev)
{
	struct vh_slave_opts so = {.size = sizeof(so),
				   .mask_features = o->packed ? 0 : UINT64_C(1) << VH_F_RING_PACKED,
				   .postcopy = o->postcopy,
				   .coalesce = (uint32_t)o->coalesce,
				   .poll_us = o->poll ? VH_POLL_ALWAYS : (uint32_t)o->poll_us};
	struct sources from = {.successor = -1, .verbose = o->verbose, .once = o->has_fd && !is_listening((int)o->fd)};
	struct vh_metrics *m;
	struct vh_slave *s;
	int exit_code;
	int32_t rc;

	so.more_features = (o->iommu ? UINT64_C(1) << VH_F_ACCESS_PLATFORM : 0) |
			   (o->in_order ? UINT64_C(1) << VH_F_IN_ORDER : 0);
	so.more_protocol_features = o->guest_addresses ? UINT64_C(1) << VH_PF_GPA_ADDRESSES : 0;
	vh_mem_guard_install();
	rc = vh_slave_new(&so, dev, NULL, NULL, &s);
	if (rc)
		return say_vh(rc, "serve");
	serving = s;
	serve_catch_signals();
	vh_slave_set_logger(s, stderr_log(o->verbose ? VH_LOG_DEBUG : VH_LOG_WARNING), NULL);
	if (tracer())
		vh_slave_set_trace(s, tracer(), NULL);
	exit_code = show(o, kind, s, &m);
	if (!exit_code)
		exit_code = begin(o, kind, s, m, &from.successor);
	if (!exit_code) {
		metrics_say(o->openmetrics);
		exit_code = loop(s, &from);
	}
	serving = NULL;
	metrics_end();
	vh_slave_free(s);
	vh_metrics_free(m);
	if (o->handover)
		handover_end(o->handover, from.successor);
	return exit_code;
}

int cmd_serve(int argc, char **argv)
{
	struct serve_opts o = {.packed = true, .metrics = true, .device = {.queues = 1, .queue_size = 1024}};
	const struct serve_kind *kind = find_kind(argc, argv);
	struct vh_device *dev;
	int rc;

	if (!kind)
		return usage("serve what? this version serves blk and net: vhctl serve blk ...");
	/* The conventions: with this option everything else is ignored. */
	for (int i = 0; i < argc; i++)
		if (!strcmp(argv[i], "--print-capabilities")) {
			puts(kind->capabilities);
			return EXIT_DONE;
		}
	rc = parse(argc, argv, kind, &o);
	if (!rc)
		rc = kind->open(&o.device, &dev);
	if (rc)
		return rc;
	rc = o.vduse ? serve_vduse(&(struct serve_vduse_opts){.name = o.vduse,
							      .kind = kind->name,
							      .records = o.records,
							      .openmetrics = o.openmetrics,
							      .metrics = o.metrics,
							      .coalesce = (uint32_t)o.coalesce,
							      .packed = o.packed,
							      .in_order = o.in_order,
							      .umem = o.umem,
							      .verbose = o.verbose},
				   dev)
		     : serve(&o, kind->name, dev);
	vh_device_free(dev);
	return rc;
}
