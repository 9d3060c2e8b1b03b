// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/* vhctl on a host that has the kernel's devices: what it lists, probes, makes and drives. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

/* More than any of its own deadlines, and less than the guest may live. */
#define HANGS_MS 120000

static char said[16384]; /* by the last command, on both of its outputs */

/* Of a command that hangs: what it waits for, by the kernel's account. */
static void tell_where(pid_t pid)
{
	static const char *const files[] = {"wchan", "syscall", "stack"};
	char path[40], text[1000], *rest = NULL;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, files[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		if (fd >= 0)
			close(fd);
		text[n > 0 ? n : 0] = 0;
		for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
			printf("# %s: %s\n", files[i], line);
	}
}

/* All that it says, until its end. False: it hangs. */
static bool hear(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	ssize_t got = 1;

	while (got > 0 && len < sizeof(said) - 1) {
		if (poll(&p, 1, HANGS_MS) != 1)
			break;
		got = read(fd, said + len, sizeof(said) - 1 - len);
		len += got > 0 ? (size_t)got : 0;
	}
	said[len] = 0;
	return got <= 0 || len == sizeof(said) - 1;
}

/* The exit code of vhctl. */
static int vhctl(const char *words)
{
	char *argv[24] = {"vhctl"}, copy[300], *rest = NULL;
	int out[2], status, n = 1;
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
	if (!hear(out[0])) {
		tell_where(pid);
		kill(pid, SIGKILL);
		close(out[0]);
		guest_fail("vhctl %s: nothing for %d s, after: %.200s", words, HANGS_MS / 1000, said);
	}
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
