/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl serve net: options of a network device. */
#include "vhctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct {
	const char *tap;
	const char *mac;
	uint64_t mtu, frame;
	bool loopback, sink, source;
} o;

static const struct opt options[] = {
	{"tap", OPT_TEXT, &o.tap, 0, NULL},	      {"loopback", OPT_FLAG, &o.loopback, 0, NULL},
	{"sink", OPT_FLAG, &o.sink, 0, NULL},	      {"source", OPT_FLAG, &o.source, 0, NULL},
	{"mac", OPT_TEXT, &o.mac, 0, NULL},	      {"mtu", OPT_NUMBER, &o.mtu, 65535, NULL},
	{"frame", OPT_NUMBER, &o.frame, 65553, NULL},
};

static int open_tap(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd;

	if (strlen(name) >= sizeof(ifr.ifr_name))
		return usage("--tap %s: a name has at most %zu bytes", name, sizeof(ifr.ifr_name) - 1), -1;
	memcpy(ifr.ifr_name, name, strlen(name));
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd >= 0 && !ioctl(fd, TUNSETIFF, &ifr))
		return fd;
	usage("--tap %s: %s", name, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static int open_net(const struct serve_device *common, struct vh_device **dev)
{
	struct vh_netdev_opts d = {
		.size = sizeof(d),
		.kind = o.tap	     ? VH_NETDEV_TAP
			: o.loopback ? VH_NETDEV_LOOPBACK
			: o.sink     ? VH_NETDEV_SINK
				     : VH_NETDEV_SOURCE,
		.pairs = (uint32_t)common->queues,
		.max_queue_size = (uint32_t)common->queue_size,
		.mtu = (uint32_t)o.mtu,
		.frame = (uint32_t)o.frame,
	};
	int fd = -1;
	int32_t rc;

	if (!!o.tap + o.loopback + o.sink + o.source != 1)
		return usage("serve net: give one of --tap NAME, --loopback, --sink, --source");
	if (o.mac && !parse_mac(o.mac, d.mac))
		return usage("serve net: --mac is six bytes such as 52:54:00:12:34:56");
	if (o.tap) {
		fd = open_tap(o.tap);
		if (fd < 0)
			return EXIT_USAGE;
	}
	rc = vh_netdev_new(&d, fd, dev);
	if (fd >= 0)
		close(fd);
	if (rc) {
		say_vh(rc, "serve net");
		return EXIT_USAGE;
	}
	return 0;
}

const struct serve_kind serve_net = {
	.name = "net",
	.capabilities = "{\"type\": \"net\", \"features\": []}",
	.max_queues = 128,
	.opts = options,
	.n_opts = sizeof(options) / sizeof(options[0]),
	.open = open_net,
};
