// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/*
 * What the init programs of the lab's guests share. They load /modules/NN-name.ko in order, and end by writing a byte to
 * port 0xf4 (QEMU's isa-debug-exit): 42 means done.
 */
#ifndef GUEST_H
#define GUEST_H

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXIT_PORT 0xf4
#define GUEST_OK  42
#define GUEST_BAD 1

static _Noreturn void end(int value)
{
	fflush(stdout);
	sync();
	if (ioperm(EXIT_PORT, 1, 1) == 0)
		outb((unsigned char)value, EXIT_PORT);
	for (;;)
		pause();
}

static _Noreturn void fail(const char *what)
{
	printf("guest: %s: %s\n", what, strerror(errno));
	end(GUEST_BAD);
}

static void load_modules(void)
{
	struct dirent **list;
	int n = scandir("/modules", &list, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		char path[300];
		int fd;

		if (list[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/modules/%s", list[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) != 0)
			fail(path);
		close(fd);
	}
}

__attribute__((unused)) static uint64_t argument(const char *line, const char *key, char *word, size_t cap)
{
	const char *at = strstr(line, key);

	word[0] = 0;
	if (at)
		snprintf(word, cap, "%.*s", (int)strcspn(at + strlen(key), " \n"), at + strlen(key));
	return strtoull(word, NULL, 0);
}

/* The file systems, the modules, and the kernel's command line. */
static void begin(char *line, size_t cap)
{
	ssize_t n;
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, line, cap - 1);
	if (n <= 0)
		fail("/proc/cmdline");
	line[n] = 0;
	close(fd);
	load_modules();
}

/* What the driver of a device acked, as a row of digits in its file `features`. */
__attribute__((unused)) static void check_packed(const char *path, uint64_t packed)
{
	char bits[65] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, bits, 64) != 64)
		fail(path);
	close(fd);
	errno = EPROTO;
	if ((bits[34] == '1') != (packed != 0))
		fail("the layout of the rings is not the one that was asked for");
}

#endif
