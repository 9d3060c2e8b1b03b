// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/*
 * The init of the lab's block guest. It loads /modules/NN-name.ko in order, waits for /dev/vda, and does the step that
 * the kernel's command line names:
 *	vh.step=write	fill the whole device with the pattern of vh.seed, past the page cache, then fsync
 *	vh.step=read	read it back past the page cache and compare
 *	vh.step=mount	switch its write cache off and on if it can be, mount it as ext4, compare the file `host` with the pattern of vh.seed, write that of vh.seed + 1 into
 *			`guest`, as long, unmount
 *	vh.step=rounds	fill all but the last CHUNK with another pattern, read all of it into memory that holds what was there
 *			before, and compare; again and again, until there is something in that chunk; then once more with the
 *			pattern of vh.seed
 * vh.packed=1 or 0 tells whether its rings have to be packed. It ends by writing a byte to port 0xf4 (QEMU's
 * isa-debug-exit): 42 means done.
 *
 * The pattern is the one of docs/vhctl.md; tests/lab/pattern.py knows it too.
 */
#include "guest.h"

#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define CHUNK (256u * 1024)

static uint64_t word_at(uint64_t seed, uint64_t offset)
{
	uint64_t z = (seed + offset / 8 + 1) * 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void fill(uint64_t *buf, uint64_t seed, uint64_t offset, size_t len)
{
	for (size_t i = 0; i < len / 8; i++)
		buf[i] = word_at(seed, offset + i * 8);
}

static int open_disk(uint64_t *size)
{
	int fd = -1;

	for (int i = 0; i < 200; i++) {
		fd = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC);
		if (fd >= 0)
			break;
		usleep(50 * 1000);
	}
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, size) != 0)
		fail("/dev/vda");
	return fd;
}

/* Of a device or a file. */
static void write_all(int fd, uint64_t size, uint64_t seed, void *buf)
{
	for (uint64_t at = 0; at < size; at += CHUNK) {
		size_t len = size - at < CHUNK ? (size_t)(size - at) : CHUNK;

		fill(buf, seed, at, len);
		if (pwrite(fd, buf, len, (off_t)at) != (ssize_t)len)
			fail("write");
	}
	if (fsync(fd) != 0)
		fail("fsync");
}

static void read_all(int fd, uint64_t size, uint64_t seed, void *buf, void *expected)
{
	for (uint64_t at = 0; at < size; at += CHUNK) {
		size_t len = size - at < CHUNK ? (size_t)(size - at) : CHUNK;

		if (pread(fd, buf, len, (off_t)at) != (ssize_t)len)
			fail("read");
		fill(expected, seed, at, len);
		if (memcmp(buf, expected, len) != 0) {
			errno = EILSEQ;
			fail("the data that was read is not what was written");
		}
	}
}

/* Where the device can switch its write cache, the guest may write this file. */
static void switch_cache(void)
{
	static const char *modes[] = {"write through", "write back"};
	int fd = open("/sys/block/vda/cache_type", O_WRONLY | O_CLOEXEC);

	for (int i = 0; i < 2 && fd >= 0; i++)
		if (pwrite(fd, modes[i], strlen(modes[i]), 0) != (ssize_t)strlen(modes[i]))
			fail("/sys/block/vda/cache_type");
	close(fd);
}

static void mount_and_copy(uint64_t seed, void *buf, void *expected)
{
	struct stat st;
	int from, to;

	switch_cache();
	mkdir("/mnt", 0755);
	if (mount("/dev/vda", "/mnt", "ext4", 0, NULL))
		fail("mount");
	from = open("/mnt/host", O_RDONLY | O_CLOEXEC);
	to = open("/mnt/guest", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (from < 0 || to < 0 || fstat(from, &st))
		fail("/mnt");
	read_all(from, (uint64_t)st.st_size, seed, buf, expected);
	write_all(to, (uint64_t)st.st_size, seed + 1, buf);
	close(from);
	close(to);
	if (umount("/mnt"))
		fail("umount");
}

static void rounds(int fd, uint64_t size, uint64_t seed, uint64_t *buf, void *expected)
{
	const uint64_t mine = size - CHUNK;
	void *all;

	if (posix_memalign(&all, 4096, mine))
		fail("memory");
	memset(all, 0, mine);
	for (unsigned round = 1;; round++) {
		write_all(fd, mine, seed + round, buf);
		for (uint64_t at = 0; at < mine; at += CHUNK)
			if (pread(fd, (char *)all + at, CHUNK, (off_t)at) != CHUNK)
				fail("read");
		/* What the device wrote here has to be here, also when this is another QEMU meanwhile. */
		for (uint64_t at = 0; at < mine; at += CHUNK) {
			fill(expected, seed + round, at, CHUNK);
			if (memcmp(expected, (char *)all + at, CHUNK) != 0) {
				errno = EILSEQ;
				fail("memory does not hold what was read into it");
			}
		}
		printf("guest: round %u\n", round);
		if (pread(fd, buf, 4096, (off_t)mine) != 4096)
			fail("read");
		if (*buf)
			break;
	}
	write_all(fd, mine, seed, buf);
}

int main(void)
{
	char line[4096], step[32], word[32];
	uint64_t size, seed;
	void *buf, *expected;
	int fd;

	begin(line, sizeof(line));
	argument(line, "vh.step=", step, sizeof(step));
	seed = argument(line, "vh.seed=", word, sizeof(word));
	fd = open_disk(&size);
	check_packed("/sys/block/vda/device/features", argument(line, "vh.packed=", word, sizeof(word)));
	if (posix_memalign(&buf, 4096, CHUNK) || posix_memalign(&expected, 4096, CHUNK))
		fail("memory");
	if (strcmp(step, "write") == 0)
		write_all(fd, size, seed, buf);
	else if (strcmp(step, "read") == 0)
		read_all(fd, size, seed, buf, expected);
	else if (strcmp(step, "mount") == 0)
		mount_and_copy(seed, buf, expected);
	else if (strcmp(step, "rounds") == 0)
		rounds(fd, size, seed, buf, expected);
	else
		fail("vh.step is none of write, read, mount and rounds");
	printf("guest: %s done, %llu bytes\n", step, (unsigned long long)size);
	end(GUEST_OK);
}
