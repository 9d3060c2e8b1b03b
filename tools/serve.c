/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl serve: a back-end program, with the command line that the vhost-user conventions ask for. */
#include "vhctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct serve_opts {
	const char *socket;
	const char *file;
	const char *serial;
	const char *handover;
	uint64_t fd, ram, null, queues, queue_size;
	bool has_fd, has_ram, has_null;
	bool readonly, packed, verbose;
};

static int parse(int argc, char **argv, struct serve_opts *o)
{
	const struct opt opts[] = {
		{"socket", OPT_TEXT, &o->socket, 0, NULL},
		{"socket-path", OPT_TEXT, &o->socket, 0, NULL},
		{"fd", OPT_NUMBER, &o->fd, 0x7fffffff, &o->has_fd},
		{"ram", OPT_SIZE, &o->ram, 0, &o->has_ram},
		{"null", OPT_SIZE, &o->null, 0, &o->has_null},
		{"file", OPT_TEXT, &o->file, 0, NULL},
		{"blk-file", OPT_TEXT, &o->file, 0, NULL},
		{"readonly", OPT_FLAG, &o->readonly, 0, NULL},
		{"read-only", OPT_FLAG, &o->readonly, 0, NULL},
		{"queues", OPT_NUMBER, &o->queues, 256, NULL},
		{"queue-size", OPT_NUMBER, &o->queue_size, VH_QUEUE_MAX_SIZE, NULL},
		{"packed", OPT_SWITCH, &o->packed, 0, NULL},
		{"serial", OPT_TEXT, &o->serial, 0, NULL},
		{"handover", OPT_TEXT, &o->handover, 0, NULL},
		{"verbose", OPT_FLAG, &o->verbose, 0, NULL},
	};
	const char *words[1];
	size_t n;
	int rc = parse_options(argc, argv, opts, sizeof(opts) / sizeof(opts[0]), words, 1, &n);

	if (rc)
		return rc;
	if (n != 1 || strcmp(words[0], "blk"))
		return usage("serve what? this version serves blk: vhctl serve blk ...");
	if (!o->socket == !o->has_fd)
		return usage("serve blk: give either --socket PATH or --fd N");
	if (o->has_ram + o->has_null + !!o->file != 1)
		return usage("serve blk: give one of --ram SIZE, --file PATH, --null SIZE");
	if (!o->queues || !o->queue_size)
		return usage("serve blk: --queues and --queue-size are at least 1");
	if (o->queue_size & (o->queue_size - 1))
		return usage("serve blk: --queue-size is a power of two");
	if (o->serial && strlen(o->serial) > VH_BLK_ID_SIZE)
		return usage("serve blk: --serial is at most %d bytes", VH_BLK_ID_SIZE);
	return 0;
}

static int open_device(const struct serve_opts *o, struct vh_device **dev)
{
	struct vh_blkdev_opts d = {
		.size = sizeof(d),
		.kind = o->file	     ? VH_BLKDEV_FILE
			: o->has_ram ? VH_BLKDEV_RAM
				     : VH_BLKDEV_NULL,
		.capacity = o->file	 ? 0
			    : o->has_ram ? o->ram
					 : o->null,
		.flags = o->readonly ? VH_BLKDEV_READONLY : 0,
		.max_queues = (uint32_t)o->queues,
		.max_queue_size = (uint32_t)o->queue_size,
	};
	int fd = -1;
	int32_t rc;

	memcpy(d.serial, o->serial ? o->serial : "libvh", strlen(o->serial ? o->serial : "libvh"));
	if (o->file) {
		fd = open(o->file, (o->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
		if (fd < 0)
			return usage("--file %s: %s", o->file, strerror(errno));
	}
	rc = vh_blkdev_new(&d, fd, dev);
	if (fd >= 0)
		close(fd);
	if (rc) {
		say_vh(rc, "serve blk");
		return EXIT_USAGE;
	}
	return 0;
}

/* Blocked and read from an fd, so that no signal is missed between a check and a wait. */
static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void print_event(const struct vh_event *e)
{
	const char *name = vh_event_name(e->kind);
	char queue[32] = "";

	if (e->queue != VH_ERROR_NONE)
		snprintf(queue, sizeof(queue), "queue %u ", e->queue);
	say(0, "%s%s: reason %d value 0x%llx", queue, name ? name : "event", e->reason, (unsigned long long)e->value);
}

/* What the loop looks at beside the back-end. */
struct sources {
	int signals;
	int successor; /* a listening socket, -1 = none */
	bool verbose;
	bool once; /* the socket was a connection that somebody handed us, and ends with it */
};

static int loop(struct vh_slave *s, const struct sources *from)
{
	struct vh_event e = {.size = sizeof(e)};
	struct pollfd p[] = {{.fd = vh_slave_fd(s), .events = POLLIN},
			     {.fd = from->signals, .events = POLLIN},
			     {.fd = from->successor, .events = POLLIN}};

	for (;;) {
		int32_t rc = vh_slave_dispatch(s);

		if (rc < 0)
			return say_vh(rc, "serve blk");
		while (vh_slave_next_event(s, &e) == 1) {
			if (from->verbose)
				print_event(&e);
			if (from->once && e.kind == VH_EVENT_DISCONNECTED)
				return e.reason ? EXIT_WRONG : EXIT_DONE;
		}
		if (poll(p, 3, rc ? 0 : -1) < 0 && errno != EINTR)
			return say(EXIT_WRONG, "poll: %s", strerror(errno));
		if (p[1].revents || (p[2].revents && handover_give(from->successor, s)))
			return EXIT_DONE;
	}
}

/* A connected socket that was handed over serves once; one that listens serves until it is told to stop. */
static bool is_listening(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) && on;
}

/* From the one that serves, or anew: 0 or an exit code. */
static int begin(const struct serve_opts *o, struct vh_slave *s, int *successor)
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
		say(0, "serving blk where the one before stood");
		return 0;
	}
	rc = o->socket ? vh_slave_listen(s, o->socket) : vh_slave_adopt(s, (int)o->fd);
	if (rc) {
		say_vh(rc, o->socket ? o->socket : "--fd");
		return EXIT_USAGE;
	}
	if (o->socket)
		say(0, "serving blk on %s", o->socket);
	else
		say(0, "serving blk on fd %d", (int)o->fd);
	return 0;
}

static int serve(const struct serve_opts *o, struct vh_device *dev)
{
	struct vh_slave_opts so = {.size = sizeof(so),
				   .mask_features = o->packed ? 0 : UINT64_C(1) << VH_F_RING_PACKED};
	struct sources from = {.signals = open_signals(),
			       .successor = -1,
			       .verbose = o->verbose,
			       .once = o->has_fd && !is_listening((int)o->fd)};
	struct vh_slave *s;
	int exit_code;
	int32_t rc;

	if (from.signals < 0)
		return say(EXIT_WRONG, "signalfd: %s", strerror(errno));
	vh_mem_guard_install();
	rc = vh_slave_new(&so, dev, &s);
	if (rc)
		return say_vh(rc, "serve blk");
	vh_slave_set_logger(s, stderr_log(o->verbose ? VH_LOG_DEBUG : VH_LOG_WARNING), NULL);
	if (tracer())
		vh_slave_set_trace(s, tracer(), NULL);
	exit_code = begin(o, s, &from.successor);
	if (!exit_code)
		exit_code = loop(s, &from);
	vh_slave_free(s);
	close(from.signals);
	if (from.successor >= 0)
		close(from.successor);
	return exit_code;
}

int cmd_serve(int argc, char **argv)
{
	struct serve_opts o = {.queues = 1, .queue_size = 1024, .packed = true};
	struct vh_device *dev;
	int rc;

	/* The conventions: with this option everything else is ignored. */
	for (int i = 0; i < argc; i++)
		if (!strcmp(argv[i], "--print-capabilities")) {
			puts("{\"type\": \"block\", \"features\": [\"read-only\", \"blk-file\"]}");
			return EXIT_DONE;
		}
	rc = parse(argc, argv, &o);
	if (!rc)
		rc = open_device(&o, &dev);
	if (rc)
		return rc;
	rc = serve(&o, dev);
	vh_device_free(dev);
	return rc;
}
