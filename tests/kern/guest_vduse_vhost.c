// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/*
 * The same through /dev/vhost-vdpa-N: the driver is this program, by the kernel's ioctls, and its memory two memfds. Unlike a bounce
 * buffer of the kernel's, they come to the device as files, and are taken back while it runs.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"
#include "guest_genl.h"
#include "vh/vh.h"

#define NAME	 "vhguest2"
#define NUM	 16u
#define SIZE	 0x10000u
#define RING	 UINT64_C(0x10000) /* I/O addresses of the two */
#define DATA	 UINT64_C(0x200000)
#define SECTOR	 512u
#define FEATURES (UINT64_C(1) << VH_F_VERSION_1 | UINT64_C(1) << VH_F_ACCESS_PLATFORM)

struct memory {
	int fd;
	uint8_t *at;
};

static struct memory memory(void)
{
	struct memory m = {.fd = memfd_create("driver", MFD_CLOEXEC)};

	guest_check(m.fd >= 0 && ftruncate(m.fd, SIZE) == 0);
	m.at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
	guest_check(m.at != MAP_FAILED);
	return m;
}

static void give_back(struct memory *m)
{
	munmap(m->at, SIZE);
	close(m->fd);
}

static pid_t device_start(void)
{
	const struct vh_blkdev_opts opts = {.size = sizeof(opts), .kind = VH_BLKDEV_RAM, .capacity = 1 << 20};
	struct vh_device *dev;
	struct vh_vduse *v;
	int ready[2];
	char c;
	pid_t pid;

	guest_check(pipe(ready) == 0);
	pid = fork();
	if (pid) {
		close(ready[1]);
		guest_check(read(ready[0], &c, 1) == 1);
		close(ready[0]);
		return pid;
	}
	if (vh_blkdev_new(&opts, -1, &dev) || vh_vduse_new(NULL, NAME, dev, -1, &v) || write(ready[1], "", 1) != 1)
		_exit(4);
	for (;;)
		if (vh_vduse_wait(v, -1) < 0)
			_exit(5);
}

static int open_node(void)
{
	char path[300] = "";
	struct dirent *e;
	DIR *d = opendir("/sys/bus/vdpa/devices/" NAME);
	int fd;

	guest_check(d);
	while ((e = readdir(d)))
		if (!strncmp(e->d_name, "vhost-vdpa-", 11))
			snprintf(path, sizeof(path), "/dev/%s", e->d_name);
	closedir(d);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		guest_fail("%s: %s", path, strerror(errno));
	return fd;
}

static void set_status(int fd, uint8_t status)
{
	uint8_t now = 0xff;

	guest_check(ioctl(fd, VHOST_VDPA_SET_STATUS, &status) == 0);
	guest_check(ioctl(fd, VHOST_VDPA_GET_STATUS, &now) == 0);
	if (now != status)
		guest_fail("the status is %#x, not %#x", now, status);
}

static void iotlb(int fd, uint64_t iova, void *at, uint8_t type)
{
	const struct vhost_msg_v2 msg = {.type = VHOST_IOTLB_MSG_V2,
					 .iotlb = {.iova = iova,
						   .size = SIZE,
						   .uaddr = (uintptr_t)at,
						   .perm = at ? VHOST_ACCESS_RW : 0,
						   .type = type}};

	guest_check(write(fd, &msg, sizeof(msg)) == sizeof(msg));
}

struct driver {
	int fd, kick, call;
	struct memory ring;
	uint16_t n; /* requests so far */
};

static struct driver driver_start(struct memory *data)
{
	struct driver d = {.fd = open_node(), .kick = eventfd(0, EFD_CLOEXEC), .call = eventfd(0, EFD_CLOEXEC)};
	uint64_t features = FEATURES, backend = 0;
	struct vhost_vring_state num = {0, NUM}, base = {0, 0}, on = {0, 1};
	struct vhost_vring_addr addr = {
		.desc_user_addr = RING, .avail_user_addr = RING + 0x1000, .used_user_addr = RING + 0x2000};
	struct vhost_vring_file kick = {0, d.kick}, call = {0, d.call};

	guest_check(ioctl(d.fd, VHOST_SET_OWNER) == 0);
	set_status(d.fd, 0);
	set_status(d.fd, 3);
	guest_check(ioctl(d.fd, VHOST_GET_BACKEND_FEATURES, &backend) == 0);
	backend &= UINT64_C(1) << VHOST_BACKEND_F_IOTLB_MSG_V2;
	guest_check(backend && ioctl(d.fd, VHOST_SET_BACKEND_FEATURES, &backend) == 0);
	guest_check(ioctl(d.fd, VHOST_SET_FEATURES, &features) == 0);
	set_status(d.fd, 11);
	d.ring = memory();
	iotlb(d.fd, RING, d.ring.at, VHOST_IOTLB_UPDATE);
	iotlb(d.fd, DATA, data->at, VHOST_IOTLB_UPDATE);
	guest_check(ioctl(d.fd, VHOST_SET_VRING_NUM, &num) == 0);
	guest_check(ioctl(d.fd, VHOST_SET_VRING_BASE, &base) == 0);
	guest_check(ioctl(d.fd, VHOST_SET_VRING_ADDR, &addr) == 0);
	guest_check(ioctl(d.fd, VHOST_SET_VRING_KICK, &kick) == 0);
	guest_check(ioctl(d.fd, VHOST_SET_VRING_CALL, &call) == 0);
	guest_check(ioctl(d.fd, VHOST_VDPA_SET_VRING_ENABLE, &on) == 0);
	set_status(d.fd, 15);
	return d;
}

static void driver_stop(struct driver *d)
{
	set_status(d->fd, 0);
	close(d->fd);
	close(d->kick);
	close(d->call);
	give_back(&d->ring);
}

/* One sector, with a header and a status around it; all of them in the data's memory. */
static void request(struct driver *d, struct memory *data, bool in, uint64_t sector)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} *desc = (void *)d->ring.at;
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} *header = (void *)data->at;
	uint16_t *avail = (void *)(d->ring.at + 0x1000), *used = (void *)(d->ring.at + 0x2000);
	struct pollfd p = {.fd = d->call, .events = POLLIN};
	uint64_t count = 1;

	header->type = in ? 0 : 1;
	header->sector = sector;
	data->at[0x100] = 0xff;
	desc[0].addr = DATA;
	desc[0].len = 16;
	desc[0].flags = 1;
	desc[0].next = 1;
	desc[1].addr = DATA + 0x1000;
	desc[1].len = SECTOR;
	desc[1].flags = in ? 3 : 1;
	desc[1].next = 2;
	desc[2].addr = DATA + 0x100;
	desc[2].len = 1;
	desc[2].flags = 2;
	avail[2 + d->n % NUM] = 0;
	__atomic_store_n(&avail[1], (uint16_t)++d->n, __ATOMIC_RELEASE);
	guest_check(write(d->kick, &count, sizeof(count)) == sizeof(count));
	while (__atomic_load_n(&used[1], __ATOMIC_ACQUIRE) != d->n) {
		if (poll(&p, 1, 20000) != 1)
			guest_fail("no interrupt in 20 s");
		guest_check(read(d->call, &count, sizeof(count)) == sizeof(count));
	}
	if (data->at[0x100])
		guest_fail("status %u", data->at[0x100]);
}

static void end(pid_t pid)
{
	guest_ok(genl_dev_del(NAME));
	kill(pid, SIGKILL);
	guest_check(waitpid(pid, NULL, 0) == pid);
	guest_ok(vh_vduse_remove(NAME));
}

static void reads_and_writes(void)
{
	struct memory data = memory();
	pid_t pid = device_start();
	struct driver d;

	guest_ok(genl_dev_new("vduse", NAME));
	for (int life = 0; life < 2; life++) {
		d = driver_start(&data);
		for (uint32_t i = 0; i < 40; i++) {
			memset(data.at + 0x1000, (int)(i + 1), SECTOR);
			request(&d, &data, false, i);
			memset(data.at + 0x1000, 0, SECTOR);
			request(&d, &data, true, i);
			guest_check(data.at[0x1000] == i + 1 && data.at[0x1000 + SECTOR - 1] == i + 1);
		}
		driver_stop(&d);
	}
	end(pid);
	give_back(&data);
}

/* Other memory gets the same I/O addresses, while the queue runs. */
static void memory_changes(void)
{
	struct memory one = memory(), two = memory();
	pid_t pid = device_start();
	struct driver d;

	guest_ok(genl_dev_new("vduse", NAME));
	d = driver_start(&one);
	memset(one.at + 0x1000, 0x11, SECTOR);
	request(&d, &one, false, 3);
	for (int i = 0; i < 4; i++) {
		struct memory *now = i % 2 ? &one : &two, *before = i % 2 ? &two : &one;

		iotlb(d.fd, DATA, NULL, VHOST_IOTLB_INVALIDATE);
		memset(before->at, 0xee, SIZE);
		iotlb(d.fd, DATA, now->at, VHOST_IOTLB_UPDATE);
		memset(now->at + 0x1000, 0, SECTOR);
		request(&d, now, true, 3);
		guest_check(now->at[0x1000] == 0x11);
		guest_check(before->at[0x1000] == 0xee && before->at[0x100] == 0xee);
	}
	driver_stop(&d);
	end(pid);
	give_back(&one);
	give_back(&two);
}

static void position(void)
{
	struct vhost_vring_state base = {0, 0};
	struct memory data = memory();
	pid_t pid = device_start();
	struct driver d;

	guest_ok(genl_dev_new("vduse", NAME));
	d = driver_start(&data);
	for (uint64_t i = 0; i < 5; i++)
		request(&d, &data, true, i);
	guest_check(ioctl(d.fd, VHOST_GET_VRING_BASE, &base) == 0);
	guest_check(base.num == 5);
	request(&d, &data, true, 0);
	guest_check(ioctl(d.fd, VHOST_GET_VRING_BASE, &base) == 0);
	guest_check(base.num == 6);
	driver_stop(&d);
	end(pid);
	give_back(&data);
}

static void one(struct vh_blk *blk, struct vh_blk_io io)
{
	struct vh_blk_done done = {0};

	guest_check(vh_blk_submit(blk, 0, &io, 1) == 1);
	guest_ok(vh_blk_wait(blk, 0, 20000));
	guest_check(vh_blk_reap(blk, 0, &done, 1) == 1 && done.user == io.user && done.rc == 0);
}

/* The library at both ends, and the kernel between them. */
static void own_front_end(void)
{
	const struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK};
	struct vh_blk_io io = {.offset = 8192, .len = SIZE, .user = 1};
	pid_t pid = device_start();
	struct vh_backend *backend;
	struct vh_driver *driver;
	struct vh_vdpa *vdpa;
	struct vh_blk *blk;
	uint8_t *bytes;

	guest_ok(genl_dev_new("vduse", NAME));
	guest_ok(vh_vdpa_open(NAME, NULL, &vdpa));
	guest_ok(vh_vdpa_backend(vdpa, &backend));
	guest_ok(vh_driver_new(&opts, backend, NULL, &driver));
	guest_ok(vh_blk_new(driver, &blk));
	guest_ok(vh_driver_alloc(driver, SIZE, &io.addr));
	bytes = (uint8_t *)(uintptr_t)io.addr;
	guest_ok(vh_driver_start(driver));
	for (int life = 1; life < 4; life++) {
		memset(bytes, life, SIZE);
		io.op = VH_BLK_WRITE;
		one(blk, io);
		guest_ok(vh_driver_stop(driver, 0, 0));
		guest_ok(vh_driver_start(driver));
		memset(bytes, 0, SIZE);
		io.op = VH_BLK_READ;
		one(blk, io);
		guest_check(bytes[0] == life && bytes[SIZE - 1] == life);
	}
	vh_blk_free(blk);
	vh_driver_free(driver);
	vh_vdpa_free(vdpa);
	end(pid);
}

int main(void)
{
	static const struct guest_case cases[] = {
		{"reads-and-writes", reads_and_writes},
		{"memory-changes", memory_changes},
		{"position", position},
		{"own-front-end", own_front_end},
	};

	return guest_run(cases, sizeof(cases) / sizeof(cases[0]));
}
