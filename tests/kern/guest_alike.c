// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/*
 * The same lines over whatever a device is reached through: one function drives a disk, one sends and receives frames. What is
 * behind them is a vhost-user socket, a simulator of the kernel's, a device that libvh gives to the kernel, a tap.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"
#include "vh/vh.h"

#define NAME	"alike"
#define LEN	4096u
#define TYPE	0x88b5 /* for experiments */
#define WAIT_MS 20000
#define MIB	(1u << 20)

static void must(int64_t rc, const char *what)
{
	struct vh_error e = {.size = sizeof(e)};

	if (rc >= 0)
		return;
	vh_error_get(&e);
	guest_fail("%s: %s", what, e.text);
}
#define MUST(call) must((int64_t)(call), #call)

/* Blocks are written, and read after a stop. */
static void drive_disk(struct vh_backend *b)
{
	const struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_BLK, .queue_size = 64};
	struct vh_blk_info info = {.size = sizeof(info)};
	struct vh_blk_done done;
	struct vh_driver *d;
	struct vh_blk *blk;
	uint64_t addr;

	MUST(vh_driver_new(&opts, b, NULL, &d));
	MUST(vh_blk_new(d, &blk));
	MUST(vh_blk_get_info(blk, &info));
	MUST(vh_driver_alloc(d, LEN, &addr));
	MUST(vh_driver_start(d));
	printf("# %s: %llu bytes\n", vh_backend_kind(b), (unsigned long long)info.capacity);
	for (uint32_t i = 0; i < 32; i++) {
		const uint32_t write = i < 16, at = i % 16;
		const struct vh_blk_io io = {.op = write ? VH_BLK_WRITE : VH_BLK_READ,
					     .offset = (uint64_t)at * LEN,
					     .addr = addr,
					     .len = LEN,
					     .user = i};

		memset((void *)(uintptr_t)addr, write ? (int)at + 1 : 0, LEN);
		guest_check(vh_blk_submit(blk, 0, &io, 1) == 1);
		MUST(vh_blk_wait(blk, 0, WAIT_MS));
		guest_check(vh_blk_reap(blk, 0, &done, 1) == 1 && done.user == i && !done.rc);
		for (uint32_t k = 0; k < LEN; k++)
			guest_check(((uint8_t *)(uintptr_t)addr)[k] == at + 1);
		if (i != 15)
			continue;
		MUST(vh_driver_stop(d, 0, 0));
		MUST(vh_driver_start(d));
	}
	vh_blk_free(blk);
	vh_driver_free(d);
}

/* What is sent to everybody comes back, in order. Frames of somebody else's are passed over. */
static void drive_cable(struct vh_backend *b)
{
	const struct vh_driver_opts opts = {.size = sizeof(opts), .type = VH_TYPE_NET, .queue_size = 64};
	static uint8_t sent[1514], got[1514];
	struct vh_driver *d;
	struct vh_net *n;

	MUST(vh_driver_new(&opts, b, NULL, &d));
	MUST(vh_driver_start(d));
	MUST(vh_net_new(NULL, d, &n));
	for (uint32_t i = 0; i < 50; i++) {
		struct vh_net_frame f = {.data = (uintptr_t)sent, .len = 60 + i * 29};

		memset(sent, (int)i, sizeof(sent));
		memset(sent, 0xff, 6);
		sent[12] = TYPE >> 8;
		sent[13] = TYPE & 0xff;
		guest_check(vh_net_send(n, 0, &f, 1) == 1);
		do {
			MUST(vh_net_wait(n, 0, VH_NET_RECEIVE, WAIT_MS));
			f = (struct vh_net_frame){.data = (uintptr_t)got, .room = sizeof(got)};
			MUST(vh_net_receive(n, 0, &f, 1));
		} while (f.len < 14 || got[12] != TYPE >> 8 || got[13] != (TYPE & 0xff));
		guest_check(f.len == 60 + i * 29 && !memcmp(sent, got, f.len));
	}
	printf("# %s: frames came back\n", vh_backend_kind(b));
	vh_net_free(n);
	vh_driver_free(d);
}

static struct vh_device *new_disk(void)
{
	const struct vh_blkdev_opts opts = {.size = sizeof(opts), .kind = VH_BLKDEV_RAM, .capacity = MIB};
	struct vh_device *dev;

	MUST(vh_blkdev_new(&opts, -1, &dev));
	return dev;
}

static struct vh_device *new_loop(void)
{
	const struct vh_netdev_opts opts = {.size = sizeof(opts), .kind = VH_NETDEV_LOOPBACK};
	struct vh_device *dev;

	MUST(vh_netdev_new(&opts, -1, &dev));
	return dev;
}

/* A back-end of our own at the other end of a socket. */
struct served {
	struct vh_slave *slave;
	int over; /* atomic */
};

static void *serve(void *arg)
{
	struct served *s = arg;

	while (!__atomic_load_n(&s->over, __ATOMIC_ACQUIRE) && vh_slave_wait(s->slave, 100) >= 0)
		;
	return NULL;
}

static void over_a_socket(struct vh_device *dev, void (*drive)(struct vh_backend *))
{
	struct served s = {.over = 0};
	struct vh_backend *b;
	struct vh_master *m;
	pthread_t thread;
	int fd;

	MUST(vh_slave_new(NULL, dev, NULL, NULL, &s.slave));
	MUST(vh_master_new(NULL, NULL, NULL, &m));
	MUST(vh_master_socketpair(m, &fd));
	MUST(vh_slave_adopt(s.slave, fd));
	close(fd);
	guest_check(!pthread_create(&thread, NULL, serve, &s));
	MUST(vh_master_backend(m, &b));
	drive(b);
	vh_master_free(m);
	__atomic_store_n(&s.over, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	vh_slave_free(s.slave);
	vh_device_free(dev);
}

static void over_vdpa(const char *maker, void (*drive)(struct vh_backend *))
{
	struct vh_vdpa_mgmt *m;
	struct vh_backend *b;
	struct vh_vdpa *v;
	int rc;

	MUST(vh_vdpa_mgmt_new(NULL, NULL, -1, &m));
	(void)vh_vdpa_mgmt_del_dev(m, NAME);
	rc = vh_vdpa_mgmt_add_dev(m, maker, NAME, NULL);
	if (rc == -ENODEV && strcmp(maker, "vduse"))
		guest_skip("no simulators");
	must(rc, "vh_vdpa_mgmt_add_dev");
	MUST(vh_vdpa_mgmt_bind(m, NAME, "vhost_vdpa", NULL));
	MUST(vh_vdpa_open(NAME, NULL, &v));
	MUST(vh_vdpa_backend(v, &b));
	drive(b);
	vh_vdpa_free(v);
	MUST(vh_vdpa_mgmt_del_dev(m, NAME));
	vh_vdpa_mgmt_free(m);
}

static pid_t child_that(void (*works)(int ready))
{
	int ready[2];
	char c;
	pid_t pid;

	guest_check(!pipe(ready));
	pid = fork();
	if (!pid) {
		close(ready[0]);
		works(ready[1]);
		_exit(1);
	}
	close(ready[1]);
	guest_check(read(ready[0], &c, 1) == 1);
	close(ready[0]);
	return pid;
}

static void no_more(pid_t pid)
{
	kill(pid, SIGKILL);
	guest_check(waitpid(pid, NULL, 0) == pid);
}

static void be(struct vh_device *dev, int ready)
{
	struct vh_vduse *v;

	if (vh_vduse_new(NULL, NAME, dev, -1, &v) || write(ready, "", 1) != 1)
		return;
	while (vh_vduse_wait(v, -1) >= 0)
		;
}

static void be_a_disk(int ready)
{
	be(new_disk(), ready);
}

static void be_a_cable(int ready)
{
	be(new_loop(), ready);
}

/* As a user has it: the tool says on stderr when it serves. */
static void be_vhctl(int ready)
{
	dup2(ready, 2);
	execl("/bin/vhctl", "vhctl", "serve", "net", "--loopback", "--vduse", NAME, (char *)NULL);
}

static void disk_over_a_socket(void)
{
	over_a_socket(new_disk(), drive_disk);
}

static void disk_of_the_simulator(void)
{
	over_vdpa("vdpasim_blk", drive_disk);
}

static void disk_of_our_own(void)
{
	const pid_t pid = child_that(be_a_disk);

	over_vdpa("vduse", drive_disk);
	no_more(pid);
	MUST(vh_vduse_remove(NAME));
}

static void cable_over_a_socket(void)
{
	over_a_socket(new_loop(), drive_cable);
}

static void cable_of_our_own(void)
{
	const pid_t pid = child_that(be_a_cable);

	over_vdpa("vduse", drive_cable);
	no_more(pid);
	MUST(vh_vduse_remove(NAME));
}

/* Frames go out of an interface of the kernel's, and come in there. */
static void drive_interface(const char *name)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(TYPE)}, from;
	const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TYPE));
	struct timeval patience = {.tv_sec = WAIT_MS / 1000};
	uint8_t sent[1514], got[2000];
	struct ifreq r = {0};

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%.15s", name);
	guest_check(fd >= 0 && !ioctl(fd, SIOCGIFFLAGS, &r));
	r.ifr_flags = (short)(r.ifr_flags | IFF_UP | IFF_PROMISC);
	guest_check(!ioctl(fd, SIOCSIFFLAGS, &r) && !ioctl(fd, SIOCGIFINDEX, &r));
	at.sll_ifindex = r.ifr_ifindex;
	guest_check(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
	guest_check(!bind(fd, (const struct sockaddr *)&at, sizeof(at)));
	for (uint32_t i = 0; i < 50; i++) {
		const uint32_t len = 60 + i * 29;
		socklen_t size = sizeof(from);
		ssize_t n;

		memset(sent, (int)i, sizeof(sent));
		memset(sent, 0xff, 6);
		sent[12] = TYPE >> 8;
		sent[13] = TYPE & 0xff;
		guest_check(send(fd, sent, len, 0) == (ssize_t)len);
		do
			n = recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&from, &size);
		while (n > 0 && from.sll_pkttype == PACKET_OUTGOING);
		guest_check(n == (ssize_t)len && !memcmp(sent, got, len));
	}
	printf("# %s: frames came back\n", name);
	close(fd);
}

/* vhctl is the network device, and the kernel's own driver has it. */
static void cable_of_vhctl(void)
{
	const pid_t pid = child_that(be_vhctl);
	struct vh_vdpa_place p = {.size = sizeof(p)};
	struct vh_vdpa_mgmt *m;
	char folder[400];
	struct dirent *e;
	DIR *d;

	MUST(vh_vdpa_mgmt_new(NULL, NULL, -1, &m));
	MUST(vh_vdpa_mgmt_add_dev(m, "vduse", NAME, NULL));
	MUST(vh_vdpa_mgmt_bind(m, NAME, "virtio_vdpa", &p));
	snprintf(folder, sizeof(folder), "/sys/bus/virtio/devices/%s/net", p.virtio);
	d = opendir(folder);
	guest_check(d);
	while ((e = readdir(d)) && e->d_name[0] == '.')
		;
	guest_check(e);
	drive_interface(e->d_name);
	closedir(d);
	MUST(vh_vdpa_mgmt_del_dev(m, NAME));
	vh_vdpa_mgmt_free(m);
	no_more(pid);
	MUST(vh_vduse_remove(NAME));
}

static void cable_of_the_simulator(void)
{
	over_vdpa("vdpasim_net", drive_cable);
}

static int index_of_tap;

/* At the interface of the tap: what comes in goes out again. */
static void send_back(int ready)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(TYPE), .sll_ifindex = index_of_tap};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TYPE));
	uint8_t frame[2000];

	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) || write(ready, "", 1) != 1)
		return;
	for (;;) {
		socklen_t size = sizeof(at);
		const ssize_t len = recvfrom(fd, frame, sizeof(frame), 0, (struct sockaddr *)&at, &size);

		if (len > 0 && at.sll_pkttype != PACKET_OUTGOING && send(fd, frame, (size_t)len, 0) != len)
			return;
	}
}

static int new_tap(void)
{
	struct ifreq r = {.ifr_name = NAME, .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)};
	const int hdr = VH_NET_HDR_SIZE, tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	guest_check(tap >= 0 && any >= 0 && !ioctl(tap, TUNSETIFF, &r) && !ioctl(tap, TUNSETVNETHDRSZ, &hdr));
	guest_check(!ioctl(any, SIOCGIFFLAGS, &r));
	r.ifr_flags = (short)(r.ifr_flags | IFF_UP | IFF_PROMISC);
	guest_check(!ioctl(any, SIOCSIFFLAGS, &r) && !ioctl(any, SIOCGIFINDEX, &r));
	index_of_tap = r.ifr_ifindex;
	close(any);
	return tap;
}

static void cable_of_the_kernel(void)
{
	const int tap = new_tap();
	const pid_t pid = child_that(send_back);
	struct vh_backend *b;
	struct vh_kern *k;

	MUST(vh_kern_open("/dev/vhost-net", NULL, &k));
	MUST(vh_kern_attach(k, 0, tap));
	MUST(vh_kern_attach(k, 1, tap));
	MUST(vh_kern_backend(k, &b));
	drive_cable(b);
	vh_kern_free(k);
	no_more(pid);
	close(tap);
}

int main(void)
{
	static const struct guest_case cases[] = {
		{"disk-vhost-user", disk_over_a_socket},
		{"disk-vdpa-sim", disk_of_the_simulator},
		{"disk-vduse", disk_of_our_own},
		{"frames-vhost-user", cable_over_a_socket},
		{"frames-vdpa-sim", cable_of_the_simulator},
		{"frames-vduse", cable_of_our_own},
		{"frames-virtio-net", cable_of_vhctl},
		{"frames-vhost-net", cable_of_the_kernel},
	};

	return guest_run(cases, sizeof(cases) / sizeof(cases[0]));
}
