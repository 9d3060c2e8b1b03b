/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vhctl serve blk: options of a block device. */
#include "vhctl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static struct {
	const char *file;
	const char *serial;
	uint64_t ram, null;
	bool has_ram, has_null, readonly;
} o;

static const struct opt options[] = {
	{"ram", OPT_SIZE, &o.ram, 0, &o.has_ram},     {"null", OPT_SIZE, &o.null, 0, &o.has_null},
	{"file", OPT_TEXT, &o.file, 0, NULL},	      {"blk-file", OPT_TEXT, &o.file, 0, NULL},
	{"readonly", OPT_FLAG, &o.readonly, 0, NULL}, {"read-only", OPT_FLAG, &o.readonly, 0, NULL},
	{"serial", OPT_TEXT, &o.serial, 0, NULL},
};

static int open_blk(const struct serve_device *common, struct vh_device **dev)
{
	struct vh_blkdev_opts d = {
		.size = sizeof(d),
		.kind = o.file	    ? VH_BLKDEV_FILE
			: o.has_ram ? VH_BLKDEV_RAM
				    : VH_BLKDEV_NULL,
		.capacity = o.file	? 0
			    : o.has_ram ? o.ram
					: o.null,
		.flags = o.readonly ? VH_BLKDEV_READONLY : 0,
		.max_queues = (uint32_t)common->queues,
		.max_queue_size = (uint32_t)common->queue_size,
	};
	int fd = -1;
	int32_t rc;

	if (o.has_ram + o.has_null + !!o.file != 1)
		return usage("serve blk: give one of --ram SIZE, --file PATH, --null SIZE");
	if (!o.serial)
		o.serial = "libvh";
	if (strlen(o.serial) > VH_BLK_ID_SIZE)
		return usage("serve blk: --serial is at most %d bytes", VH_BLK_ID_SIZE);
	memcpy(d.serial, o.serial, strlen(o.serial));
	if (o.file) {
		fd = open(o.file, (o.readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
		if (fd < 0)
			return usage("--file %s: %s", o.file, strerror(errno));
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

const struct serve_kind serve_blk = {
	.name = "blk",
	.capabilities = "{\"type\": \"block\", \"features\": [\"read-only\", \"blk-file\"]}",
	.max_queues = 256,
	.opts = options,
	.n_opts = sizeof(options) / sizeof(options[0]),
	.open = open_blk,
};
