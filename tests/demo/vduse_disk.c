// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/* In a guest: vhctl is a disk of the kernel's by VDUSE, which is written and read as /dev/vdX by the kernel's own driver. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vdpa.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_genl.h"

#define NAME "demo"
#define SIZE (16u << 20)
#define STEP (1u << 20)

static int failed(const char *what)
{
	printf("failed: %s: %s\n", what, strerror(errno));
	return 1;
}

static bool write_word(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY);
	bool good = fd >= 0 && write(fd, word, strlen(word)) > 0;

	if (fd >= 0)
		close(fd);
	return good;
}

/* The first entry that begins so is added to the path. */
static bool enter(char *path, size_t cap, const char *start)
{
	DIR *d = opendir(path);
	struct dirent *e = NULL;

	while (d && (e = readdir(d)) && strncmp(e->d_name, start, strlen(start)))
		;
	if (e)
		snprintf(path + strlen(path), cap - strlen(path), "/%s", e->d_name);
	if (d)
		closedir(d);
	return e;
}

static void fill(uint64_t *words, uint64_t at)
{
	for (uint32_t i = 0; i < STEP / 8; i++)
		words[i] = (at + i) * UINT64_C(0x9e3779b97f4a7c15);
}

static int use(const char *path)
{
	uint64_t *want = malloc(STEP), *buf = aligned_alloc(4096, STEP);
	int fd = open(path, O_RDWR | O_DIRECT);

	if (fd < 0)
		return failed(path);
	for (uint32_t at = 0; at < SIZE; at += STEP) {
		fill(buf, at);
		if (pwrite(fd, buf, STEP, at) != STEP)
			return failed("write");
	}
	for (uint32_t at = 0; at < SIZE; at += STEP) {
		fill(want, at);
		if (pread(fd, buf, STEP, at) != STEP || memcmp(buf, want, STEP))
			return failed("read");
	}
	close(fd);
	printf("%u MiB written to %s and read back\n", SIZE >> 20, path);
	return 0;
}

int main(void)
{
	char path[PATH_MAX] = "/sys/bus/vdpa/devices/" NAME, disk[300], line[200] = "";
	int says[2], rc;
	FILE *out;
	pid_t pid;

	if (pipe(says))
		return failed("pipe");
	pid = fork();
	if (pid == 0) {
		dup2(says[1], 2);
		execl("/bin/vhctl", "vhctl", "serve", "blk", "--ram", "16M", "--vduse", NAME, (char *)NULL);
		_exit(127);
	}
	close(says[1]);
	out = fdopen(says[0], "r");
	if (!out || !fgets(line, sizeof(line), out) || !strstr(line, "serving"))
		return failed(line);
	rc = genl_dev_new("vduse", NAME);
	errno = -rc;
	if (rc)
		return failed("vdpa dev add");
	write_word("/sys/bus/vdpa/drivers/vhost_vdpa/unbind", NAME);
	write_word("/sys/bus/vdpa/drivers/virtio_vdpa/bind", NAME);
	if (!enter(path, sizeof(path), "virtio") || !enter(path, sizeof(path), "block") ||
	    !enter(path, sizeof(path), "vd"))
		return failed("the driver made no disk");
	snprintf(disk, sizeof(disk), "/dev/%s", strrchr(path, '/') + 1);
	rc = use(disk);
	genl_dev_del(NAME);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return rc;
}
