// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/* vhctl on a host that has the kernel's devices: what it lists, probes, makes and drives. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

static char said[16384]; /* by the last command, on both of its outputs */

/* The exit code of vhctl. */
static int vhctl(const char *words)
{
	char *argv[24] = {"vhctl"}, copy[300], *rest = NULL;
	int out[2], status, n = 1;
	size_t len = 0;
	ssize_t got;
	pid_t pid;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *word = strtok_r(copy, " ", &rest); word && n < 23; word = strtok_r(NULL, " ", &rest))
		argv[n++] = word;
	guest_check(pipe(out) == 0);
	pid = fork();
	if (!pid) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(out[0]);
		execv("/bin/vhctl", argv);
		_exit(127);
	}
	close(out[1]);
	while (len < sizeof(said) - 1 && (got = read(out[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)got;
	said[len] = 0;
	close(out[0]);
	guest_check(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	printf("# vhctl %s: %d\n", words, WEXITSTATUS(status));
	return WEXITSTATUS(status);
}

static void works(const char *words, const char *says)
{
	const int code = vhctl(words);

	if (code || !strstr(said, says))
		guest_fail("vhctl %s: exit code %d, without '%s': %.400s", words, code, says, said);
}

/* "vdpa add" and what it makes. */
static void made(const char *words, const char *says)
{
	if (vhctl(words) && strstr(said, "ENODEV"))
		guest_skip("no simulators");
	if (!strstr(said, says))
		guest_fail("vhctl %s, without '%s': %.400s", words, says, said);
}

static void a_disk_of_vdpa(void)
{
	char sum[80];

	vhctl("vdpa del t0");
	made("vdpa add t0 --mgmtdev vdpasim_blk --driver vhost_vdpa", "t0 vhost_vdpa /dev/vhost-vdpa-");
	works("ls", "t0");
	works("ls --json", "\"driver\": \"vhost_vdpa\"");
	works("vdpa show t0", "capacity_sectors");
	works("vdpa show --json", "\"name\": \"t0\"");
	works("probe vdpa:t0", "vhost-vdpa");
	works("probe vdpa:t0 --json", "\"device_id\": 2");
	works("io blk vdpa:t0 write --size 64K --seed 7", "sha256 ");
	snprintf(sum, sizeof(sum), "%.70s", strstr(said, "sha256 "));
	works("io blk vdpa:t0 read --size 64K", sum);
	works("io blk vdpa:t0 verify --size 64K --seed 8", "verified 65536 bytes");
	works("io blk vdpa:t0 bench --time-ms 500 --iodepth 4", "IOPS");
	works("vdpa bind t0 virtio_vdpa", "t0 virtio_vdpa virtio");
	guest_check(vhctl("probe vdpa:t0") != 0);
	works("vdpa del t0", "");
	guest_check(vhctl("vdpa show t0") != 0);
	guest_check(vhctl("vdpa add t0 --mgmtdev nobody") != 0);
}

/* A disk of the machine's, which vp_vdpa has. */
static void a_disk_behind_pci(void)
{
	char words[100], maker[40];
	const char *line;

	works("ls", "");
	for (line = strstr(said, "pci/"); line; line = strstr(line + 4, "pci/")) {
		snprintf(maker, sizeof(maker), "%.*s", (int)strcspn(line, " \n"), line);
		if (strstr(line, " blk") && strcspn(line, "\n") > (size_t)(strstr(line, " blk") - line))
			break;
	}
	if (!line)
		guest_skip("no simulators");
	vhctl("vdpa del t2");
	snprintf(words, sizeof(words), "vdpa add t2 --mgmtdev %s --driver vhost_vdpa", maker);
	made(words, "t2 vhost_vdpa /dev/vhost-vdpa-");
	works("io blk vdpa:t2 write --size 64K --seed 7", "sha256 ");
	works("io blk vdpa:t2 verify --size 64K --seed 8", "verified 65536 bytes");
	works("vdpa del t2", "");
}

static void a_network_device_of_vdpa(void)
{
	vhctl("vdpa del t1");
	made("vdpa add t1 --mgmtdev vdpasim_net --mac 52:54:00:0a:0b:0c --mtu 1400", "t1");
	works("vdpa show t1", "52:54:00:0a:0b:0c");
	works("vdpa show t1 --json", "\"mtu\": 1400");
	works("vdpa del t1", "");
}

static void devices_of_the_kernel(void)
{
	works("probe /dev/vhost-net", "VHOST_NET_SET_BACKEND");
	works("probe /dev/vhost-net --json", "\"VHOST_SET_VRING_NUM\": ");
	works("probe /dev/vhost-vsock", "vsock");
	works("probe /dev/vhost-scsi", "scsi");
	guest_check(vhctl("probe /dev/vhost-nothing") != 0);
}

static void nothing_is_missing(void)
{
	works("doctor kernel vdpa vduse", "/dev/vduse/control can be opened");
}

int main(void)
{
	static const struct guest_case cases[] = {
		{"disk", a_disk_of_vdpa},
		{"disk-behind-pci", a_disk_behind_pci},
		{"network", a_network_device_of_vdpa},
		{"probe", devices_of_the_kernel},
		{"doctor", nothing_is_missing},
	};

	return guest_run(cases, sizeof(cases) / sizeof(cases[0]));
}
