/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What qemu-user (7.2) does wrong on a big-endian machine, put right for the programs that are linked with it: see
 * tests/CMakeLists.txt.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int __real_eventfd(unsigned int count, int flags);
int __wrap_eventfd(unsigned int count, int flags);
ssize_t __real_read(int fd, void *to, size_t n);
ssize_t __wrap_read(int fd, void *to, size_t n);
ssize_t __real_write(int fd, const void *from, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n);
int __real_sigaction(int sig, const struct sigaction *act, struct sigaction *old);
int __wrap_sigaction(int sig, const struct sigaction *act, struct sigaction *old);

/*
 * It swaps the bytes of a count that is read from the number which eventfd() gave, or is written to it, but not if the number
 * is a duplicate, or came with a message: each sees counts that the other did not write. Here all of them are duplicates, and
 * counts are swapped by what the file is.
 */
int __wrap_eventfd(unsigned int count, int flags)
{
	const int fd = __real_eventfd(count, flags), own = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	return own;
}

static bool is_eventfd(int fd)
{
	static const char is[] = "anon_inode:[eventfd]";
	const int saved = errno;
	char name[32], found[sizeof(is) - 1];
	bool same;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	same = readlink(name, found, sizeof(found)) == (ssize_t)sizeof(found) && !memcmp(found, is, sizeof(found));
	errno = saved;
	return same;
}

ssize_t __wrap_read(int fd, void *to, size_t n)
{
	const ssize_t got = __real_read(fd, to, n);
	uint64_t count;

	if (got == sizeof(count) && is_eventfd(fd)) {
		memcpy(&count, to, sizeof(count));
		count = __builtin_bswap64(count);
		memcpy(to, &count, sizeof(count));
	}
	return got;
}

ssize_t __wrap_write(int fd, const void *from, size_t n)
{
	uint64_t count;

	if (n != sizeof(count) || !is_eventfd(fd))
		return __real_write(fd, from, n);
	memcpy(&count, from, sizeof(count));
	count = __builtin_bswap64(count);
	return __real_write(fd, &count, sizeof(count));
}

/* The halves of the address at which a SIGBUS happened come in the wrong order. */
static void (*on_sigbus)(int sig, siginfo_t *info, void *context);

static void mended(int sig, siginfo_t *info, void *context)
{
	const uintptr_t at = (uintptr_t)info->si_addr;

	if (info->si_code > 0)
		info->si_addr = (void *)(at << 32 | at >> 32);
	on_sigbus(sig, info, context);
}

int __wrap_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction own;
	const int rc = __real_sigaction(sig, NULL, old);

	if (rc || sig != SIGBUS)
		return rc || !act ? rc : __real_sigaction(sig, act, old);
	if (old && old->sa_flags & SA_SIGINFO && old->sa_sigaction == mended)
		old->sa_sigaction = on_sigbus;
	if (!act || !(act->sa_flags & SA_SIGINFO))
		return act ? __real_sigaction(sig, act, NULL) : 0;
	own = *act;
	own.sa_sigaction = mended;
	on_sigbus = act->sa_sigaction;
	return __real_sigaction(sig, &own, NULL);
}
