/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Where vDPA devices are found: over a tree that looks like the sysfs of a guest which had them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhi_vdpa_mgmt.h"
#include "vhi_vdpa_sites.h"
#include "vht_netlink.h"

static char root[] = "/tmp/vh-places-XXXXXX";
static struct vh_vdpa_mgmt *m;
static struct {
	const char *file; /* whose opening or reading or writing fails, by the end of its path */
	int open, read, write, readlink, getdents;
	int node;	 /* that binding makes, -1: none */
	bool no_dev;	 /* nobody makes /dev/vhost-vdpa-N */
	bool no_netlink; /* neither socket */
} odd;
static int kernel = -1, writing = -1;
static char writing_to[512];

static const char *at(const char *fmt, ...)
{
	static char path[4][512];
	static int turn;
	char *p = path[turn++ % 4];
	va_list ap;
	int n = snprintf(p, 512, "%s", root);

	va_start(ap, fmt);
	vsnprintf(p + n, 512 - (size_t)n, fmt, ap);
	va_end(ap);
	return p;
}

static void folder(const char *path)
{
	char up[512];

	for (const char *slash = strchr(path + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(up, sizeof(up), "%.*s", (int)(slash - path), path);
		(void)mkdir(up, 0700);
	}
	(void)mkdir(path, 0700);
}

static void file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void take_by_vhost(const char *dir, int node)
{
	char text[64];

	unlink(at("%s/driver", dir));
	assert_int_equal(symlink("../../bus/vdpa/drivers/vhost_vdpa", at("%s/driver", dir)), 0);
	folder(at("%s/vhost-vdpa-%d", dir, node));
	snprintf(text, sizeof(text), "243:%d\n", node);
	file(at("%s/vhost-vdpa-%d/dev", dir, node), text);
	if (!odd.no_dev)
		file(at("/dev/vhost-vdpa-%d", node), "");
}

static void device(const char *below, const char *name)
{
	char to[256];

	folder(at("/sys/devices/%s%s", below, name));
	file(at("/sys/devices/%s%s/driver_override", below, name), "");
	snprintf(to, sizeof(to), "../../../devices/%s%s", below, name);
	assert_int_equal(symlink(to, at("/sys/bus/vdpa/devices/%s", name)), 0);
}

static int gone(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static bool ends(const char *path, const char *end)
{
	const size_t n = strlen(path), e = strlen(end);

	return n >= e && !strcmp(path + n - e, end);
}

static int fail_on(const char *path, int code)
{
	if (!code || !odd.file || !ends(path, odd.file))
		return 0;
	errno = code;
	return -1;
}

static int fake_open(const char *path, int flags)
{
	int fd;

	if (fail_on(path, odd.open))
		return -1;
	fd = open(path, flags);
	if (fd >= 0 && (flags & O_ACCMODE) == O_WRONLY) {
		writing = fd;
		snprintf(writing_to, sizeof(writing_to), "%s", path);
	}
	return fd;
}

static ssize_t fake_read(int fd, void *buf, size_t n)
{
	if (odd.read) {
		errno = odd.read;
		return -1;
	}
	return read(fd, buf, n);
}

/* What the kernel does when a name is written there. */
static ssize_t fake_write(int fd, const void *buf, size_t n)
{
	char name[64], dir[128];

	assert_int_equal(fd, writing);
	if (fail_on(writing_to, odd.write))
		return -1;
	snprintf(name, sizeof(name), "%.*s", (int)n, (const char *)buf);
	if (ends(writing_to, "/unbind")) {
		unlink(at("/sys/bus/vdpa/devices/%s/driver", name));
		nftw(at("/sys/bus/vdpa/devices/%s/vhost-vdpa-0", name), gone, 8, FTW_DEPTH | FTW_PHYS);
	} else if (ends(writing_to, "vhost_vdpa/bind") && odd.node >= 0) {
		snprintf(dir, sizeof(dir), "/sys/devices/%s", name);
		take_by_vhost(dir, odd.node);
	} else if (ends(writing_to, "virtio_vdpa/bind")) {
		assert_int_equal(
			symlink("../../bus/vdpa/drivers/virtio_vdpa", at("/sys/bus/vdpa/devices/%s/driver", name)), 0);
		folder(at("/sys/devices/%s/virtio1", name));
	}
	return write(fd, buf, n);
}

static ssize_t fake_readlink(const char *path, char *buf, size_t n)
{
	return fail_on(path, odd.readlink) ? -1 : readlink(path, buf, n);
}

static ssize_t fake_getdents64(int fd, void *buf, size_t n)
{
	if (odd.getdents) {
		errno = odd.getdents;
		return -1;
	}
	return getdents64(fd, buf, n);
}

static int fake_socket(int domain, int type, int protocol)
{
	int fds[2];

	(void)domain;
	(void)type;
	(void)protocol;
	if (odd.no_netlink) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	kernel = fds[1];
	return fds[0];
}

static ssize_t fake_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	(void)fd;
	(void)flags;
	assert_true(vht_netlink_answer(kernel, msg->msg_iov->iov_base, msg->msg_iov->iov_len));
	return (ssize_t)msg->msg_iov->iov_len;
}

static int fake_fcntl(int fd, int cmd, uintptr_t arg)
{
	return fcntl(fd, cmd, arg);
}

const struct vhi_sys vhi_sys = {
	.calloc = calloc,
	.free = free,
	.close = close,
	.fcntl = fake_fcntl,
	.open = fake_open,
	.read = fake_read,
	.write = fake_write,
	.readlink = fake_readlink,
	.getdents64 = fake_getdents64,
	.lstat = lstat,
	.poll = poll,
	.socket = fake_socket,
	.setsockopt = setsockopt,
	.sendmsg = fake_sendmsg,
	.recvmsg = recvmsg,
};

/* As the guest of the recordings had it. */
static int build(void **state)
{
	struct vh_vdpa_mgmt_opts opts = {.size = sizeof(opts), .timeout_ms = 60000};

	(void)state;
	memset(&odd, 0, sizeof(odd));
	assert_non_null(mkdtemp(root));
	folder(at("/dev"));
	folder(at("/sys/bus/pci"));
	folder(at("/sys/bus/vdpa/devices"));
	folder(at("/sys/bus/vdpa/drivers/vhost_vdpa"));
	folder(at("/sys/bus/vdpa/drivers/virtio_vdpa"));
	for (int i = 0; i < 4; i++)
		file(at("/sys/bus/vdpa/drivers/%s/%s", i & 1 ? "vhost_vdpa" : "virtio_vdpa", i & 2 ? "bind" : "unbind"),
		     "");
	device("", "vnet0");
	device("", "vblk0");
	device("pci0000:00/0000:00:02.0/", "vp0");
	assert_int_equal(symlink("../../../bus/pci", at("/sys/devices/pci0000:00/0000:00:02.0/subsystem")), 0);
	take_by_vhost("/sys/devices/vnet0", 0);
	take_by_vhost("/sys/devices/pci0000:00/0000:00:02.0/vp0", 2);
	assert_int_equal(vh_vdpa_mgmt_new(&opts, root, -1, &m), 0);
	return 0;
}

static int tear(void **state)
{
	(void)state;
	vh_vdpa_mgmt_free(m);
	if (kernel >= 0)
		close(kernel);
	kernel = -1;
	nftw(root, gone, 16, FTW_DEPTH | FTW_PHYS);
	memcpy(root + strlen(root) - 6, "XXXXXX", 6);
	return 0;
}

static void fails(int rc, int code, const char *words)
{
	struct vh_error e = {.size = sizeof(e)};

	assert_int_equal(rc, code);
	assert_int_equal(vh_error_get(&e), 0);
	if (!strstr(e.text, words))
		fail_msg("\"%s\" does not say \"%s\"", e.text, words);
}

static struct vh_vdpa_place p;

static int find(const char *key)
{
	p = (struct vh_vdpa_place){.size = sizeof(p)};
	return vh_vdpa_mgmt_find_place(m, key, &p);
}

static void all_are_listed_by_name(void **state)
{
	(void)state;
	p.size = sizeof(p);
	assert_int_equal(vh_vdpa_mgmt_list_places(m), 3);
	assert_int_equal(vh_vdpa_mgmt_get_place(m, 0, &p), 0);
	assert_string_equal(p.name, "vblk0");
	assert_string_equal(p.driver, "");
	assert_int_equal(p.node, -1);
	assert_string_equal(p.path, "");
	assert_int_equal(vh_vdpa_mgmt_get_place(m, 1, &p), 0);
	assert_string_equal(p.name, "vnet0");
	assert_string_equal(p.driver, "vhost_vdpa");
	assert_string_equal(p.parent, "");
	assert_string_equal(p.path, at("/dev/vhost-vdpa-0"));
	assert_int_equal(vh_vdpa_mgmt_get_place(m, 2, &p), 0);
	assert_string_equal(p.parent_bus, "pci");
	assert_string_equal(p.parent, "0000:00:02.0");
	assert_int_equal(p.major, 243);
	assert_int_equal(p.minor, 2);
	fails(vh_vdpa_mgmt_get_place(m, 3, &p), -ENOENT, "3 of 3");
}

static void one_is_found_by_any_of_its_names(void **state)
{
	static const char *const keys[][2] = {
		{"vnet0", "vnet0"},	  {"/dev/vhost-vdpa-0", "vnet0"}, {"vhost-vdpa-2", "vp0"},
		{"0000:00:02.0", "vp0"},  {"pci/0000:00:02.0", "vp0"},	  {"pci0000:00", "vp0"},
		{"vdpasim_blk", "vblk0"}, /* as netlink says */
	};

	(void)state;
	for (size_t i = 0; i < VHI_ARRAY_SIZE(keys); i++) {
		assert_int_equal(find(keys[i][0]), 0);
		assert_string_equal(p.name, keys[i][1]);
	}
	fails(find("vhost-vdpa-7"), -ENODEV, "no vDPA device vhost-vdpa-7");
	fails(find("nothing"), -ENODEV, "no vDPA device nothing");
	fails(find("pci/0000:00:03.0"), -ENODEV, "no vDPA device");
	fails(find(""), -EINVAL, "no key");
	fails(vh_vdpa_mgmt_find_place(m, NULL, &p), -EINVAL, "no key");
	odd.no_netlink = true;
	fails(find("vduse"), -ENODEV, "no vDPA device vduse");
}

/* A function of a function: what mlx5 makes lies on the auxiliary bus, below the PCI function. */
static void two_of_one_maker_have_no_name_in_common(void **state)
{
	(void)state;
	device("pci0000:00/0000:00:02.0/mlx5_core.sf.4/", "vdpa7");
	folder(at("/sys/bus/auxiliary"));
	assert_int_equal(symlink("../../../../bus/auxiliary",
				 at("/sys/devices/pci0000:00/0000:00:02.0/mlx5_core.sf.4/subsystem")),
			 0);
	assert_int_equal(find("auxiliary/mlx5_core.sf.4"), 0);
	assert_string_equal(p.name, "vdpa7");
	fails(find("0000:00:02.0"), -ENOTUNIQ, "use a name");
}

static void a_device_goes_from_one_driver_to_another(void **state)
{
	(void)state;
	odd.node = 1;
	p.size = sizeof(p);
	assert_int_equal(vh_vdpa_mgmt_bind(m, "vblk0", "vhost_vdpa", &p), 0);
	assert_int_equal(p.node, 1);
	assert_string_equal(p.path, at("/dev/vhost-vdpa-1"));
	assert_int_equal(vh_vdpa_mgmt_bind(m, "vnet0", "virtio_vdpa", &p), 0);
	assert_string_equal(p.driver, "virtio_vdpa");
	assert_string_equal(p.virtio, "virtio1");
	assert_int_equal(p.node, -1);
	assert_int_equal(vh_vdpa_mgmt_bind(m, "vnet0", NULL, &p), 0);
	assert_string_equal(p.driver, "");
	/* Nothing to do. */
	assert_int_equal(vh_vdpa_mgmt_bind(m, "vnet0", NULL, NULL), 0);
	assert_int_equal(vh_vdpa_mgmt_bind(m, "vp0", "vhost_vdpa", &p), 0);
	assert_int_equal(p.node, 2);
	/* Without the file, an older kernel. */
	unlink(at("/sys/devices/vnet0/driver_override"));
	assert_int_equal(vh_vdpa_mgmt_bind(m, "vnet0", "virtio_vdpa", &p), 0);
}

static void what_keeps_a_driver_from_it_is_told(void **state)
{
	static const char *const no_names[] = {"../x", "..", ".", "./vhost_vdpa", "vhost_vdpa\n"};

	(void)state;
	fails(vh_vdpa_mgmt_bind(m, "nothing", "vhost_vdpa", NULL), -ENODEV, "nothing");
	for (size_t i = 0; i < sizeof(no_names) / sizeof(no_names[0]); i++)
		fails(vh_vdpa_mgmt_bind(m, "vblk0", no_names[i], NULL), -EINVAL, "no name of a driver");
	fails(vh_vdpa_mgmt_bind(m, "vblk0", "other_vdpa", NULL), -ENOENT, "load the module other_vdpa");
	odd.file = "vhost_vdpa/bind";
	odd.write = ENODEV;
	fails(vh_vdpa_mgmt_bind(m, "vblk0", "vhost_vdpa", NULL), -ENODEV, "does not take vblk0");
	odd.write = EPERM;
	fails(vh_vdpa_mgmt_bind(m, "vblk0", "vhost_vdpa", NULL), -EPERM, "EPERM");
	odd.file = "vhost_vdpa/unbind";
	fails(vh_vdpa_mgmt_bind(m, "vnet0", NULL, NULL), -EPERM, "EPERM");
	odd.file = "driver_override";
	fails(vh_vdpa_mgmt_bind(m, "vnet0", NULL, NULL), -EPERM, "driver_override: EPERM");
	odd.write = 0;
	odd.open = EACCES;
	fails(vh_vdpa_mgmt_bind(m, "vnet0", NULL, NULL), -EACCES, "driver_override: EACCES");
}

static void a_node_is_waited_for(void **state)
{
	(void)state;
	m->nl.timeout_ms = 50;
	odd.node = -1;
	fails(vh_vdpa_mgmt_bind(m, "vblk0", "vhost_vdpa", NULL), -ETIMEDOUT, "not with vhost_vdpa after 50 ms");
	odd.node = 1;
	odd.no_dev = true;
	fails(vh_vdpa_mgmt_bind(m, "vblk0", "vhost_vdpa", NULL), -ETIMEDOUT, "is devtmpfs mounted");
}

static int places(void)
{
	return vh_vdpa_mgmt_list_places(m);
}

static void what_sysfs_says_is_checked(void **state)
{
	struct vh_error e = {.size = sizeof(e)};

	(void)state;
	file(at("/sys/devices/vnet0/vhost-vdpa-0/dev"), "243\n");
	fails(places(), -EPROTO, "says \"243\"");
	file(at("/sys/devices/vnet0/vhost-vdpa-0/dev"), "243:x\n");
	fails(places(), -EPROTO, "says \"243:x\"");
	vh_error_get(&e);
	assert_int_equal(e.site, VHI_SITE_VDPA_SYS_DEV);
	file(at("/sys/devices/vnet0/vhost-vdpa-0/dev"), "243:99999999999\n");
	fails(places(), -EPROTO, "says \"243:9");
	file(at("/sys/devices/vnet0/vhost-vdpa-0/dev"), "243:0\n");
	folder(at("/sys/devices/vnet0/vhost-vdpa-"));
	fails(places(), -EPROTO, "has no number");
	vh_error_get(&e);
	assert_int_equal(e.site, VHI_SITE_VDPA_SYS_NODE);
}

static void what_the_system_refuses_has_its_number(void **state)
{
	(void)state;
	odd.file = "devices/vnet0";
	odd.open = EACCES;
	fails(places(), -EACCES, "EACCES");
	odd.open = ENOENT; /* it went away meanwhile */
	assert_int_equal(places(), 2);
	odd.open = 0;
	odd.readlink = EIO;
	fails(places(), -EIO, "EIO");
	odd.file = "driver";
	fails(places(), -EIO, "EIO");
	odd.readlink = 0;
	odd.read = EIO;
	fails(places(), -EIO, "EIO");
	odd.read = 0;
	odd.getdents = EIO;
	fails(places(), -EIO, "EIO");
	odd.getdents = 0;
	odd.file = "vdpa/devices";
	odd.open = ENOENT;
	fails(places(), -ENOENT, "load the module vdpa");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, build, tear)
		TEST(all_are_listed_by_name),
		TEST(one_is_found_by_any_of_its_names),
		TEST(two_of_one_maker_have_no_name_in_common),
		TEST(a_device_goes_from_one_driver_to_another),
		TEST(what_keeps_a_driver_from_it_is_told),
		TEST(a_node_is_waited_for),
		TEST(what_sysfs_says_is_checked),
		TEST(what_the_system_refuses_has_its_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
