// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/*
 * A block device of libvh's given to the kernel, whose own driver reads and writes it as /dev/vdX. A child process is the device,
 * because the kernel waits for its answers while the parent asks for things; what both look at is in shared memory.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vdpa.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"
#include "guest_genl.h"
#include "vh/vh.h"

#define NAME	"vhguest"
#define SECTOR	512u
#define DISK	(1u << 20)
#define BLOCK	4096u
#define WRITERS 4u

#define F_VERSION_1 (UINT64_C(1) << VH_F_VERSION_1)

static struct shared {
	uint8_t disk[DISK];
	uint32_t hold; /* atomic: requests stay in flight */
	uint32_t resubmitted;
	uint64_t sectors;
	bool refuse; /* features */
	bool packed;
	bool umem;
	uint32_t spaces;	   /* address spaces and groups; 0 = the default */
	struct vh_vduse_info info; /* after each round */
} * shared;

static int told[2]; /* a pipe: a byte for each request that is held, and when the device serves */

static void tell(void)
{
	if (write(told[1], "", 1) != 1)
		_exit(1);
}

static void hear(void)
{
	struct pollfd p = {.fd = told[0], .events = POLLIN};
	char c;

	if (poll(&p, 1, 20000) != 1 || read(told[0], &c, 1) != 1)
		guest_fail("the device said nothing for 20 s");
}

static int32_t get_config(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later)
{
	(void)ctx;
	(void)offset;
	(void)later;
	memset(buf, 0, len);
	memcpy(buf, &shared->sectors, sizeof(shared->sectors));
	return 0;
}

static int32_t set_features(void *ctx, uint64_t features, uint64_t later)
{
	(void)ctx;
	(void)features;
	(void)later;
	return shared->refuse ? -EINVAL : 0;
}

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* A header of 16 bytes, the data, a byte for the status: how Linux lays them out. */
static uint32_t answer(const struct vh_req *req)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs,
			    *last = segs + req->n_rd + req->n_wr - 1;
	const struct header *h = (const struct header *)(uintptr_t)segs->addr;
	uint64_t at = h->sector * SECTOR;
	uint32_t written = 1;

	for (const struct vh_seg *seg = segs + 1; seg < last; seg++) {
		void *guest = (void *)(uintptr_t)seg->addr;
		const bool in = seg >= segs + req->n_rd;

		if (at + seg->len > DISK)
			break;
		memcpy(in ? guest : shared->disk + at, in ? shared->disk + at : guest, seg->len);
		at += seg->len;
		written += in ? (uint32_t)seg->len : 0;
	}
	*(uint8_t *)(uintptr_t)last->addr = h->type > 1 ? 2 : 0; /* unsupported, or done */
	return written;
}

static int32_t on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct vh_req reqs[16];
	int32_t n;

	(void)ctx;
	(void)index;
	(void)budget;
	while ((n = vh_queue_pop(q, reqs, 16)) > 0)
		for (int32_t i = 0; i < n; i++) {
			struct vh_cpl cpl = {.token = reqs[i].token};

			shared->resubmitted += !!(reqs[i].flags & VH_REQ_RESUBMITTED);
			if (__atomic_load_n(&shared->hold, __ATOMIC_ACQUIRE)) {
				tell();
				continue;
			}
			cpl.written = answer(&reqs[i]);
			if (vh_queue_push(q, &cpl, 1))
				_exit(3);
		}
	return n;
}

static volatile sig_atomic_t changed;

static void on_change(int sig)
{
	(void)sig;
	changed = 1;
}

/* The child: serves until it is killed. */
static void be_the_device(int records)
{
	const struct vh_device_opts opts = {
		.size = sizeof(opts), .type = VH_TYPE_BLK, .features = F_VERSION_1, .max_queue_size = 128};
	const struct vh_device_ops ops = {
		.size = sizeof(ops), .get_config = get_config, .set_features = set_features, .on_batch = on_batch};
	const struct vh_vduse_opts vo = {.size = sizeof(vo),
					 .flags = shared->umem ? VH_VDUSE_UMEM : 0,
					 .groups = shared->spaces,
					 .address_spaces = shared->spaces,
					 .mask_features = shared->packed ? 0 : UINT64_C(1) << VH_F_RING_PACKED};
	const struct sigaction action = {.sa_handler = on_change};
	struct vh_device *dev;
	struct vh_vduse *v;

	sigaction(SIGUSR1, &action, NULL);
	if (vh_device_new(&opts, &ops, NULL, &dev) || vh_vduse_new(&vo, NAME, dev, records, &v)) {
		struct vh_error e = {.size = sizeof(e)};

		vh_error_get(&e);
		printf("# device: %s\n", e.text);
		_exit(4);
	}
	tell();
	for (;;) {
		int32_t rc = vh_vduse_wait(v, 100);

		if (rc < 0 && rc != -EINTR)
			_exit(5);
		shared->info.size = sizeof(shared->info);
		vh_vduse_get_info(v, &shared->info);
		if (changed && vh_device_config_changed(dev))
			_exit(6);
		changed = 0;
	}
}

static pid_t device_start(int records)
{
	pid_t pid = fork();

	if (pid == 0)
		be_the_device(records);
	hear();
	return pid;
}

static void device_kill(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	guest_check(waitpid(pid, &status, 0) == pid);
	guest_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static bool write_word(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, word, strlen(word)) > 0;

	if (fd >= 0)
		close(fd);
	return good;
}

/* Give the vDPA device to virtio_vdpa; false when that fails. */
static bool bind_virtio(void)
{
	guest_check(write_word("/sys/bus/vdpa/drivers/vhost_vdpa/unbind", NAME));
	return write_word("/sys/bus/vdpa/drivers/virtio_vdpa/bind", NAME);
}

/* What virtio_blk made of it: vda, vdb. False: nothing. */
static bool find_disk(char name[32])
{
	static const char *const steps[] = {"virtio", "block", "vd"};
	char path[PATH_MAX] = "/sys/bus/vdpa/devices/" NAME;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct dirent *e;
		DIR *d = opendir(path);

		guest_check(d);
		while ((e = readdir(d)) && strncmp(e->d_name, steps[i], strlen(steps[i])))
			;
		if (e)
			snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%s", e->d_name);
		closedir(d);
		if (!e)
			return false;
	}
	snprintf(name, 32, "%.31s", strrchr(path, '/') + 1);
	return true;
}

static int open_disk(void)
{
	char name[32], path[64];
	int fd;

	guest_check(find_disk(name));
	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		guest_fail("%s: %s", path, strerror(errno));
	return fd;
}

static void begin(void)
{
	memset(shared, 0, sizeof(*shared));
	shared->sectors = DISK / SECTOR;
}

static void end(pid_t pid)
{
	guest_ok(genl_dev_del(NAME));
	device_kill(pid);
	guest_ok(vh_vduse_remove(NAME));
}

static void fill(uint8_t *buf, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++) {
		seed = seed * 1664525u + 1013904223u;
		buf[i] = (uint8_t)(seed >> 24);
	}
}

static void write_and_read(void)
{
	uint8_t *buf = aligned_alloc(BLOCK, DISK / 4), *want = malloc(DISK / 4);
	int fd = open_disk();

	fill(want, DISK / 4, 7);
	memcpy(buf, want, DISK / 4);
	guest_check(pwrite(fd, buf, DISK / 4, DISK / 4) == DISK / 4);
	if (memcmp(shared->disk + DISK / 4, want, DISK / 4))
		guest_fail("what was written is not what the device has");
	fill(shared->disk, DISK / 4, 9);
	guest_check(pread(fd, buf, DISK / 4, 0) == DISK / 4);
	if (memcmp(shared->disk, buf, DISK / 4))
		guest_fail("what was read is not what the device has");
	close(fd);
	free(buf);
	free(want);
}

static void life(void)
{
	pid_t pid = device_start(-1);

	guest_ok(genl_dev_new("vduse", NAME));
	guest_check(bind_virtio());
	write_and_read();
	end(pid);
}

static void virtio_vdpa(void)
{
	begin();
	life();
}

static void virtio_vdpa_packed(void)
{
	begin();
	shared->packed = true;
	life();
}

/* The driver is gone, and comes again, to the same device. */
static void driver_again(void)
{
	pid_t pid;

	begin();
	pid = device_start(-1);
	guest_ok(genl_dev_new("vduse", NAME));
	for (int i = 0; i < 3; i++) {
		guest_check(bind_virtio());
		write_and_read();
		guest_check(write_word("/sys/bus/vdpa/drivers/virtio_vdpa/unbind", NAME));
		guest_check(write_word("/sys/bus/vdpa/drivers/vhost_vdpa/bind", NAME));
	}
	end(pid);
}

static pid_t writer(uint32_t i)
{
	uint8_t *buf = aligned_alloc(BLOCK, BLOCK);
	pid_t pid = fork();
	int fd;

	if (pid)
		return free(buf), pid;
	fd = open_disk();
	fill(buf, BLOCK, 100 + i);
	_exit(pwrite(fd, buf, BLOCK, (off_t)i * BLOCK) == BLOCK ? 0 : 1);
}

/* It dies with requests in flight; its driver waits, and notices nothing but that. */
static void killed(bool packed)
{
	int records = memfd_create("records", MFD_CLOEXEC);
	pid_t pid, writers[WRITERS];
	uint8_t want[BLOCK];

	begin();
	shared->packed = packed;
	pid = device_start(records);
	guest_ok(genl_dev_new("vduse", NAME));
	guest_check(bind_virtio());
	write_and_read();
	__atomic_store_n(&shared->hold, 1, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < WRITERS; i++)
		writers[i] = writer(i);
	for (uint32_t i = 0; i < WRITERS; i++)
		hear();
	device_kill(pid);
	__atomic_store_n(&shared->hold, 0, __ATOMIC_RELEASE);
	pid = device_start(records);
	for (uint32_t i = 0; i < WRITERS; i++) {
		int status;

		guest_check(waitpid(writers[i], &status, 0) == writers[i]);
		guest_check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		fill(want, BLOCK, 100 + i);
		guest_check(!memcmp(shared->disk + i * BLOCK, want, BLOCK));
	}
	guest_check(shared->resubmitted == WRITERS);
	write_and_read();
	end(pid);
	close(records);
}

static void killed_split(void)
{
	killed(false);
}

static void killed_packed(void)
{
	killed(true);
}

/* How much may be pinned, by this process and by children to come. */
static void may_pin(rlim_t bytes)
{
	const struct rlimit limit = {bytes, bytes};

	guest_check(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
}

#define BOUNCE (4u << 20)

static pid_t device_start_umem(int records)
{
	pid_t pid;

	shared->umem = true;
	pid = device_start(records);
	guest_check(write_word("/sys/class/vduse/" NAME "/bounce_size", "4194304"));
	return pid;
}

/* The numbers are from before the round that answered, or newer. */
static void uses(uint64_t umem, int32_t rc)
{
	write_and_read();
	if (shared->info.umem != umem || shared->info.umem_rc != rc)
		guest_fail("%llu bytes of its own (%d)", (unsigned long long)shared->info.umem, shared->info.umem_rc);
}

/* The driver is bounced through pages of the device's process, also when it comes again, and when another process goes on. */
static void umem(void)
{
	int records = memfd_create("records", MFD_CLOEXEC);
	pid_t pid;

	begin();
	may_pin(2 * BOUNCE);
	pid = device_start_umem(records);
	guest_ok(genl_dev_new("vduse", NAME));
	for (int i = 0; i < 2; i++) {
		guest_check(bind_virtio());
		uses(BOUNCE, 0);
		guest_check(write_word("/sys/bus/vdpa/drivers/virtio_vdpa/unbind", NAME));
		guest_check(write_word("/sys/bus/vdpa/drivers/vhost_vdpa/bind", NAME));
	}
	guest_check(bind_virtio());
	uses(BOUNCE, 0);
	device_kill(pid);
	memset(&shared->info, 0, sizeof(shared->info));
	pid = device_start(records);
	uses(BOUNCE, 0);
	end(pid);
	close(records);
}

/* More than may be pinned: it goes on with the kernel's pages, and says so. */
static void umem_limited(void)
{
	pid_t pid;

	begin();
	may_pin(BOUNCE / 2);
	pid = device_start_umem(-1);
	guest_ok(genl_dev_new("vduse", NAME));
	guest_check(bind_virtio());
	uses(0, -ENOMEM);
	end(pid);
	may_pin(RLIM_INFINITY);
}

static void features_refused(void)
{
	char name[32];
	pid_t pid;

	begin();
	shared->refuse = true;
	pid = device_start(-1);
	guest_ok(genl_dev_new("vduse", NAME));
	bind_virtio(); /* the virtio device is there all the same; its driver is not */
	guest_check(!find_disk(name));
	end(pid);
}

static void config_change(void)
{
	char name[32], path[80], text[32];
	pid_t pid;

	begin();
	pid = device_start(-1);
	guest_ok(genl_dev_new("vduse", NAME));
	guest_check(bind_virtio());
	guest_check(find_disk(name));
	snprintf(path, sizeof(path), "/sys/block/%s/size", name);
	shared->sectors = 512;
	kill(pid, SIGUSR1);
	/* The driver looks in its own time. */
	for (int i = 0; i < 2000; i++) {
		const struct timespec tick = {.tv_nsec = 5000000};
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, text, sizeof(text) - 1);

		close(fd);
		text[n > 0 ? n : 0] = 0;
		if (atoi(text) == 512)
			break;
		nanosleep(&tick, NULL);
	}
	if (atoi(text) != 512)
		guest_fail("the disk has %s sectors", text);
	end(pid);
}

static void what_is_there_is_said(void)
{
	const struct vh_vduse_opts make = {.size = sizeof(make), .flags = VH_VDUSE_MAKE};
	struct vh_vduse *v, *w;
	struct vh_device *dev, *other;
	const struct vh_blkdev_opts opts = {.size = sizeof(opts), .kind = VH_BLKDEV_NULL, .capacity = DISK};

	guest_ok(vh_blkdev_new(&opts, -1, &dev));
	guest_ok(vh_blkdev_new(&opts, -1, &other));
	guest_check(vh_vduse_remove(NAME) == -ENODEV);
	guest_ok(vh_vduse_new(&make, NAME, dev, -1, &v));
	guest_check(vh_vduse_new(NULL, NAME, other, -1, &w) == -EBUSY);
	guest_check(vh_vduse_new(&make, NAME, other, -1, &w) == -EEXIST);
	guest_check(vh_vduse_remove(NAME) == -EBUSY);
	vh_vduse_free(v);
	guest_ok(vh_vduse_new(NULL, NAME, other, -1, &w));
	vh_vduse_free(w);
	guest_ok(vh_vduse_remove(NAME));
	vh_device_free(dev);
	vh_device_free(other);
}

/* Groups and address spaces are of API 1. */
static void two_spaces(uint32_t *api)
{
	const struct vh_blkdev_opts opts = {
		.size = sizeof(opts), .kind = VH_BLKDEV_NULL, .capacity = DISK, .max_queues = 2};
	const struct vh_vduse_opts vo = {.size = sizeof(vo), .groups = 2, .address_spaces = 2};
	struct vh_vduse_info info = {.size = sizeof(info)};
	struct vh_device *dev;
	struct vh_vduse *v;
	int32_t rc;

	guest_ok(vh_blkdev_new(&opts, -1, &dev));
	rc = vh_vduse_new(&vo, NAME, dev, -1, &v);
	if (rc == -ENOTSUP) {
		vh_device_free(dev);
		guest_skip("this kernel's VDUSE has API 0 only");
	}
	guest_ok(rc);
	guest_ok(vh_vduse_get_info(v, &info));
	*api = info.api_version;
	vh_vduse_free(v);
	vh_device_free(dev);
	guest_ok(vh_vduse_remove(NAME));
}

static void address_spaces(void)
{
	uint32_t api;

	two_spaces(&api);
	guest_check(api == 1);
}

/* They share the bounce buffer out between them; virtio_vdpa has the first of them. */
static void umem_address_spaces(void)
{
	uint32_t api;
	pid_t pid;

	two_spaces(&api);
	begin();
	may_pin(2 * BOUNCE);
	shared->spaces = 2;
	pid = device_start_umem(-1);
	guest_ok(genl_dev_new("vduse", NAME));
	guest_check(bind_virtio());
	uses(BOUNCE / 2, 0);
	end(pid);
}

static void one_block(void)
{
	uint8_t *buf = aligned_alloc(BLOCK, BLOCK), want[BLOCK];
	int fd = open_disk();

	fill(want, BLOCK, 3);
	memcpy(buf, want, BLOCK);
	guest_check(pwrite(fd, buf, BLOCK, BLOCK) == BLOCK);
	memset(buf, 0, BLOCK);
	guest_check(pread(fd, buf, BLOCK, BLOCK) == BLOCK && !memcmp(buf, want, BLOCK));
	close(fd);
	free(buf);
}

static void vhctl(void)
{
	int says[2], status;
	FILE *out;
	char line[256];
	pid_t pid;

	begin();
	may_pin(2 * BOUNCE);
	guest_check(pipe(says) == 0);
	pid = fork();
	if (pid == 0) {
		dup2(says[1], 2);
		execl("/bin/vhctl", "vhctl", "serve", "blk", "--ram", "1M", "--vduse", NAME, "--umem", "--verbose",
		      (char *)NULL);
		_exit(127);
	}
	close(says[1]);
	out = fdopen(says[0], "r");
	guest_check(out && fgets(line, sizeof(line), out));
	if (!strstr(line, "serving blk as /dev/vduse/" NAME))
		guest_fail("vhctl says: %s", line);
	guest_check(write_word("/sys/class/vduse/" NAME "/bounce_size", "4194304"));
	guest_ok(genl_dev_new("vduse", NAME));
	guest_check(bind_virtio());
	one_block();
	while (fgets(line, sizeof(line), out) && !strstr(line, "4096 KiB of our own are the bounce pages"))
		;
	guest_check(!feof(out));
	guest_ok(genl_dev_del(NAME));
	kill(pid, SIGTERM);
	guest_check(waitpid(pid, &status, 0) == pid);
	guest_check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	guest_check(vh_vduse_remove(NAME) == -ENODEV); /* it did so itself */
	fclose(out);
}

int main(void)
{
	static const struct guest_case cases[] = {
		{"what-is-there", what_is_there_is_said},
		{"virtio-vdpa", virtio_vdpa},
		{"virtio-vdpa-packed", virtio_vdpa_packed},
		{"driver-again", driver_again},
		{"killed", killed_split},
		{"killed-packed", killed_packed},
		{"umem", umem},
		{"umem-limited", umem_limited},
		{"features-refused", features_refused},
		{"config-change", config_change},
		{"address-spaces", address_spaces},
		{"umem-address-spaces", umem_address_spaces},
		{"vhctl", vhctl},
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || pipe(told))
		return 1;
	return guest_run(cases, sizeof(cases) / sizeof(cases[0]));
}
