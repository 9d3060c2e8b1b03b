// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/* The guest has what the other programs need: every node opens, and answers by the numbers of Linux's own headers. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/vduse.h>
#include <linux/vhost.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"

#define F_VERSION_1 (UINT64_C(1) << 32)

static int open_node(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		guest_fail("%s: %s", path, strerror(errno));
	return fd;
}

static void vhost_node(const char *path)
{
	int fd = open_node(path);
	uint64_t features = 0;

	guest_check(ioctl(fd, VHOST_SET_OWNER) == 0);
	guest_check(ioctl(fd, VHOST_GET_FEATURES, &features) == 0);
	printf("# %s features %#llx\n", path, (unsigned long long)features);
	guest_check(features & F_VERSION_1);
	close(fd);
}

static void vhost_net(void)
{
	vhost_node("/dev/vhost-net");
}

static void vhost_vsock(void)
{
	vhost_node("/dev/vhost-vsock");
}

static void vhost_scsi(void)
{
	vhost_node("/dev/vhost-scsi");
}

static void tun(void)
{
	close(open_node("/dev/net/tun"));
}

static void vduse_api(void)
{
	int fd = open_node("/dev/vduse/control");
	uint64_t version = 99;

	guest_check(ioctl(fd, VDUSE_GET_API_VERSION, &version) == 0);
	printf("# VDUSE API %llu\n", (unsigned long long)version);
	guest_check(version < 2);
	close(fd);
}

/* New in 7.0, with address spaces. */
static void vduse_api_1(void)
{
	int fd = open_node("/dev/vduse/control");
	uint64_t version = 1;

	if (ioctl(fd, VDUSE_SET_API_VERSION, &version) != 0)
		guest_skip("this kernel's VDUSE has API 0 only");
	close(fd);
}

static void folder_has(const char *path, const char *name)
{
	char whole[300];

	snprintf(whole, sizeof(whole), "%s/%s", path, name);
	if (access(whole, F_OK) != 0)
		guest_fail("%s: %s", whole, strerror(errno));
}

static void vdpa_drivers(void)
{
	folder_has("/sys/bus/vdpa/drivers", "vhost_vdpa");
	folder_has("/sys/bus/vdpa/drivers", "virtio_vdpa");
}

static void simulators(void)
{
	if (access("/sys/module/vdpa_sim", F_OK) != 0)
		guest_skip("no simulators");
	folder_has("/sys/module", "vdpa_sim_net");
	folder_has("/sys/module", "vdpa_sim_blk");
	folder_has("/sys/module", "vringh");
}

/* The init gave the machine's three virtio PCI devices to vp_vdpa. */
static void vp_vdpa(void)
{
	const char *driver = "/sys/bus/pci/drivers/vp-vdpa";
	struct dirent *entry;
	DIR *folder;
	int n = 0;

	if (access(driver, F_OK) != 0)
		guest_skip("no simulators");
	folder = opendir(driver);
	guest_check(folder);
	while ((entry = readdir(folder)))
		n += entry->d_name[0] == '0'; /* a PCI address */
	closedir(folder);
	if (n != 3)
		guest_fail("%d PCI devices at vp-vdpa", n);
}

/* vhost_vsock is the transport to guests; without a claimed CID nobody is there. */
static void vsock(void)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	guest_check(fd >= 0);
	close(fd);
}

int main(void)
{
	static const struct guest_case cases[] = {
		{"vhost-net", vhost_net},
		{"vhost-vsock", vhost_vsock},
		{"vhost-scsi", vhost_scsi},
		{"tun", tun},
		{"vsock", vsock},
		{"vduse-api", vduse_api},
		{"vduse-api-1", vduse_api_1},
		{"vdpa-drivers", vdpa_drivers},
		{"simulators", simulators},
		{"vp-vdpa", vp_vdpa},
	};

	return guest_run(cases, sizeof(cases) / sizeof(cases[0]));
}
