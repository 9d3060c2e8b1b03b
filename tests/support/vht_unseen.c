/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* In programs with MemorySanitizer only: system calls of libc's that it does not know. */
#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vht_msan.h"

ssize_t getdents64(int fd, void *buf, size_t n)
{
	ssize_t got = syscall(SYS_getdents64, fd, buf, n);

	vht_written(buf, got > 0 ? (size_t)got : 0);
	return got;
}
