// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/* /dev/vhost-scsi: its own calls, and a RAM disk of the kernel's target behind it, that is asked what it is, written and read. */
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"
#include "vh/vh.h"

#define WWPN	"naa.6001405012345678"
#define NEXUS	"naa.6001405087654321"
#define CONFIG	"/sys/kernel/config"
#define TARGET	CONFIG "/target"
#define TPG	TARGET "/vhost/" WWPN "/tpgt_1"
#define DISK	TARGET "/core/rd_mcp_0/ram"
#define WAIT_MS 20000

static void says(const char *what)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	if (!strstr(e.text, what))
		guest_fail("'%s' is not in '%s'", what, e.text);
}

static void own_calls(void)
{
	struct vh_kern *k;
	struct vh_mem *mem;
	int32_t version = 0;
	uint32_t missed = 9;

	guest_ok(vh_kern_open("/dev/vhost-scsi", NULL, &k));
	guest_ok(vh_kern_scsi_get_abi_version(k, &version));
	guest_check(version == 1);
	guest_ok(vh_kern_scsi_set_events_missed(k, 1));
	guest_ok(vh_kern_scsi_get_events_missed(k, &missed));
	guest_check(missed == 1);
	guest_ok(vh_kern_scsi_set_events_missed(k, 0));
	guest_ok(vh_kern_scsi_get_events_missed(k, &missed));
	guest_check(missed == 0);
	guest_ok(vh_kern_set_owner(k));
	guest_check(vh_kern_scsi_clear_endpoint(k, "naa.nothing", 1) == -EFAULT);
	guest_ok(vh_mem_new(NULL, &mem));
	guest_ok(vh_mem_alloc(mem, 0, 1 << 20, 0));
	guest_ok(vh_kern_set_mem(k, mem));
	guest_ok(vh_kern_scsi_clear_endpoint(k, "naa.nothing", 1)); /* nothing is there to be cleared */
	guest_check(vh_kern_scsi_set_endpoint(k, "naa.nothing", 1) == -ENODEV);
	says("/sys/kernel/config/target/vhost");
	vh_kern_free(k);
	vh_mem_free(mem);
}

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (!ok)
		printf("# %s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool make(const char *path)
{
	if (!mkdir(path, 0755) || errno == EEXIST)
		return true;
	printf("# mkdir %s: %s\n", path, strerror(errno));
	return false;
}

/* A RAM disk of the kernel's target, to be shown through vhost. */
static void target_make(void)
{
	mkdir(CONFIG, 0755);
	if (mount("configfs", CONFIG, "configfs", 0, NULL) && errno != EBUSY)
		guest_skip("no configfs: %s", strerror(errno));
	if (access(TARGET, F_OK))
		guest_skip("no " TARGET);
	guest_check(make(TARGET "/core/rd_mcp_0") && make(DISK));
	guest_check(put(DISK "/control", "rd_pages=1024\n") && put(DISK "/enable", "1\n"));
	guest_check(make(TARGET "/vhost") && make(TARGET "/vhost/" WWPN) && make(TPG) && make(TPG "/lun/lun_0"));
	guest_check(!symlink(DISK, TPG "/lun/lun_0/disk") || errno == EEXIST);
	guest_check(put(TPG "/nexus", NEXUS "\n"));
}

/* Virtio 1.2 section 5.6.6.1. */
struct request {
	uint8_t lun[8];
	uint64_t id;
	uint8_t attr, prio, crn;
	uint8_t cdb[32];
} __attribute__((packed));

struct response {
	uint32_t sense_len, resid;
	uint16_t qualifier;
	uint8_t status, response;
	uint8_t sense[96];
} __attribute__((packed));

struct io {
	struct request rq;
	struct response rs;
	uint8_t data[4096];
};

static void command(struct vh_queue *q, struct io *io, const uint8_t *cdb, size_t n, uint32_t out, uint32_t in,
		    bool again)
{
	struct vh_seg segs[3] = {{(uintptr_t)&io->rq, sizeof(io->rq)}};
	struct vh_req r = {.segs = (uintptr_t)segs, .n_rd = 1, .n_wr = 1, .user = 7};
	struct pollfd p = {.fd = vh_queue_fd(q), .events = POLLIN};
	struct vh_cpl c;
	int got;

	memset(&io->rq, 0, sizeof(io->rq));
	memset(&io->rs, 0xee, sizeof(io->rs));
	io->rq.lun[0] = 1;
	io->rq.lun[1] = 1; /* the portal group */
	io->rq.lun[2] = 0x40;
	memcpy(io->rq.cdb, cdb, n);
	if (out)
		segs[r.n_rd++] = (struct vh_seg){(uintptr_t)io->data, out};
	segs[r.n_rd] = (struct vh_seg){(uintptr_t)&io->rs, sizeof(io->rs)};
	if (in) {
		segs[r.n_rd + 1] = (struct vh_seg){(uintptr_t)io->data, in};
		r.n_wr++;
	}
	guest_check(vh_queue_submit(q, &r, 1) == 1);
	while ((got = vh_queue_reap(q, &c, 1)) == 0)
		if (vh_queue_arm(q) == VH_QUEUE_SLEEP)
			guest_check(poll(&p, 1, WAIT_MS) == 1);
	guest_ok(got);
	guest_check(c.token == 7);
	/* What was reset since it was seen last says so once. */
	if (!io->rs.response && io->rs.status == 2 && (io->rs.sense[2] & 15) == 6 && !again) {
		command(q, io, cdb, n, out, in, true);
		return;
	}
	if (io->rs.response || io->rs.status)
		guest_fail("command 0x%02x: response %u, status %u", cdb[0], io->rs.response, io->rs.status);
}

static void talk(struct vh_driver *d, struct io *io)
{
	const uint8_t inquiry[6] = {0x12, 0, 0, 0, 96}, capacity[10] = {0x25};
	const uint8_t write_10[10] = {0x2a, 0, 0, 0, 0, 9, 0, 0, 4}, read_10[10] = {0x28, 0, 0, 0, 0, 9, 0, 0, 4};
	struct vh_queue *q;

	guest_ok(vh_driver_queue(d, 2, &q));
	command(q, io, inquiry, 6, 0, 96, false);
	printf("# %.8s %.16s\n", io->data + 8, io->data + 16);
	guest_check(!memcmp(io->data + 8, "LIO-ORG ", 8));
	command(q, io, capacity, 10, 0, 8, false);
	guest_check(io->data[6] == 2); /* blocks of 512 bytes */
	for (int i = 0; i < 2048; i++)
		io->data[i] = (uint8_t)(i * 7 + i / 256);
	command(q, io, write_10, 10, 2048, 0, false);
	memset(io->data, 0, sizeof(io->data));
	command(q, io, read_10, 10, 0, 2048, false);
	for (int i = 0; i < 2048; i++)
		guest_check(io->data[i] == (uint8_t)(i * 7 + i / 256));
}

static void a_disk(void)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .n_queues = 3, .queue_size = 64};
	struct vh_backend *b;
	struct vh_driver *d;
	struct vh_kern *k;
	uint64_t at;

	target_make();
	guest_ok(vh_kern_open("/dev/vhost-scsi", NULL, &k));
	guest_ok(vh_kern_scsi_set_target(k, WWPN, 1));
	guest_ok(vh_kern_backend(k, &b));
	guest_ok(vh_driver_new(&o, b, NULL, &d));
	guest_ok(vh_driver_alloc(d, sizeof(struct io), &at));
	guest_ok(vh_driver_start(d));
	talk(d, (struct io *)(uintptr_t)at);
	guest_check(vh_kern_scsi_set_endpoint(k, WWPN, 1) == -EEXIST);
	guest_check(vh_kern_scsi_clear_endpoint(k, NEXUS, 1) == -EINVAL);
	guest_ok(vh_driver_stop(d, 0, 5000));
	guest_ok(vh_driver_start(d));
	talk(d, (struct io *)(uintptr_t)at);
	vh_driver_free(d);
	vh_kern_free(k);
}

int main(void)
{
	static const struct guest_case cases[] = {
		{"own-calls", own_calls},
		{"disk", a_disk},
	};

	return guest_run(cases, sizeof(cases) / sizeof(cases[0]));
}
