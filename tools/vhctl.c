/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl: serve, probe and drive vhost devices from the shell. */
#include "vhctl.h"

#include <signal.h>
#include <string.h>

static const char help_text[] =
	"usage: vhctl serve blk (--socket ADDRESS | --connect ADDRESS [--tries N] | --fd N)\n"
	"                       (--ram SIZE | --file PATH | --null "
	"SIZE)\n"
	"                       [--readonly] [--serial S]\n"
	"       vhctl serve net (--socket ADDRESS | --connect ADDRESS [--tries N] | --fd N)\n"
	"                       (--tap NAME | --loopback | --sink | "
	"--source)\n"
	"                       [--mac MAC] [--mtu N] [--frame N]\n"
	"       for both: [--queues N] [--queue-size N] [--packed on|off] [--in-order on|off] [--coalesce N]\n"
	"                 [--poll | --poll-us N] [--iommu on|off] [--guest-addresses on|off] [--postcopy]\n"
	"                 [--handover PATH] [--metrics on|off] [--openmetrics [ADDRESS:]PORT|unix:PATH|FILE] "
	"[--verbose]\n"
	"                 instead of a socket: --vduse NAME [--records PATH] [--umem]\n"
	"       vhctl serve blk|net --print-capabilities\n"
	"       vhctl probe TARGET [--type blk|net|none] [--timeout MS] [--json]\n"
	"       vhctl io blk TARGET read   [--offset SIZE] [--size SIZE] [--seed N] [--output FILE] [--json]\n"
	"       vhctl io blk TARGET write  [--offset SIZE] [--size SIZE] [--seed N] [--input FILE] [--json]\n"
	"       vhctl io blk TARGET verify [--offset SIZE] [--size SIZE] [--seed N] [--json]\n"
	"       vhctl io blk TARGET bench  [--rw randread|randwrite|read|write] [--bs SIZE] [--iodepth N]\n"
	"                                  [--queues N] [--time SECONDS] [--poll | --poll-us N] [--packed on|off] "
	"[--json]\n"
	"       vhctl state PID|ADDRESS [--json | --openmetrics]\n"
	"       vhctl top PID|ADDRESS [--interval MS] [--once]\n"
	"       vhctl ls [--root DIR] [--json]\n"
	"       vhctl vdpa add NAME --mgmtdev MAKER [--driver vhost_vdpa|virtio_vdpa] [--mac MAC] [--mtu N]\n"
	"                           [--max-vqp N] [--features BITS] [--json]\n"
	"       vhctl vdpa set NAME --mac MAC\n"
	"       vhctl vdpa del NAME\n"
	"       vhctl vdpa show [NAME [--stats QUEUE]] [--json]\n"
	"       vhctl vdpa bind NAME vhost_vdpa|virtio_vdpa|none [--json]\n"
	"       vhctl doctor [vhost-user] [kernel] [vdpa] [vduse] [--root DIR] [--json]\n";

static const char help_end[] =
	"       vhctl --version | --help\n"
	"\n"
	"TARGET and ADDRESS are PATH, unix:PATH, @NAME, fd:N or systemd:NAME; a TARGET can be vdpa:NAME or "
	"/dev/vhost-vdpa-N\n"
	"too, and that of probe any vhost device file. SIZE takes K, M, G, T (binary). write, verify "
	"and\n"
	"bench with a write destroy what the device holds. VH_TRACE=FILE writes every vhost-user message as a line of "
	"JSON.\n"
	"exit codes: 0 done, 1 the peer or the data is wrong, 2 usage, 3 can't reach the peer\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"serve", cmd_serve}, {"probe", cmd_probe}, {"io", cmd_io},	  {"doctor", cmd_doctor},
	{"ls", cmd_ls},	      {"vdpa", cmd_vdpa},   {"state", cmd_state}, {"top", cmd_top},
};

static void help(FILE *to)
{
	fputs(help_text, to);
	external_help(to);
	fputs(help_end, to);
}

static int run(int (*command)(int argc, char **argv), int argc, char **argv)
{
	int rc = command(argc, argv);

	if ((fflush(stdout) || ferror(stdout)) && !rc)
		return say(EXIT_WRONG, "can't write to stdout");
	return rc;
}

/* Called vhost-user-KIND it is `vhctl serve KIND`: the description of an installed back-end names a program, and no words. */
static char *kind_of_backend(char *called)
{
	static const char prefix[] = "vhost-user-";
	char *slash = strrchr(called, '/');
	char *name = slash ? slash + 1 : called;

	return strncmp(name, prefix, sizeof(prefix) - 1) ? NULL : name + sizeof(prefix) - 1;
}

int main(int argc, char **argv)
{
	char *kind = argc ? kind_of_backend(argv[0]) : NULL;
	int rc;

	if (kind) {
		argv[0] = kind;
		signal(SIGPIPE, SIG_IGN);
		rc = trace_open();
		return rc ? rc : run(cmd_serve, argc, argv);
	}
	if (argc < 2) {
		help(stderr);
		return EXIT_USAGE;
	}
	if (external(argc - 1, argv + 1, &rc)) /* it has a --help of its own */
		return rc;
	signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h") || (i == 1 && !strcmp(argv[i], "help"))) {
			help(stdout);
			return EXIT_DONE;
		}
	if (!strcmp(argv[1], "--version")) {
		uint32_t v = vh_version();

		printf("vhctl, libvh %u.%u.%u\n", v >> 16, v >> 8 & 0xff, v & 0xff);
		return EXIT_DONE;
	}
	rc = trace_open();
	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name))
			return run(commands[i].run, argc - 2, argv + 2);
	return usage("there is no command '%s'; see vhctl --help", argv[1]);
}
