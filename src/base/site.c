/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The words of checks; in the mutation build also which check is switched off, and which checks fired. */
#include "vhi_site.h"

const char *vhi_site_text(const struct vhi_site_text *texts, size_t n, uint32_t site)
{
	for (size_t i = 0; i < n; i++)
		if (texts[i].site == site)
			return texts[i].text;
	return NULL;
}

#ifdef VHI_MUTATE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_SITES 2000
static uint32_t off;
static uint8_t fired[MAX_SITES];

__attribute__((constructor)) static void site_setup(void)
{
	const char *s = getenv("VH_MUTATE_SITE");

	off = s ? (uint32_t)strtoul(s, NULL, 10) : 0;
}

/* Also for a test that leaves no room for one more. */
static int log_open(const char *path)
{
	struct rlimit before, more;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

	if (fd >= 0 || getrlimit(RLIMIT_NOFILE, &before))
		return fd;
	more = (struct rlimit){before.rlim_max, before.rlim_max};
	setrlimit(RLIMIT_NOFILE, &more);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	setrlimit(RLIMIT_NOFILE, &before);
	return fd;
}

/* Written at the first firing, so that a process that is killed has told all the same. */
static void site_log(uint32_t site)
{
	const char *path = getenv("VH_SITE_LOG");
	char line[16];
	int fd;

	if (!path)
		return;
	fd = log_open(path);
	if (fd >= 0) {
		ssize_t n = write(fd, line, (size_t)snprintf(line, sizeof(line), "%u\n", site));
		(void)n;
		close(fd);
	}
}

bool vhi_site_live(uint32_t site)
{
	if (site == off)
		return false;
	if (site < MAX_SITES && !__atomic_exchange_n(&fired[site], 1, __ATOMIC_RELAXED))
		site_log(site);
	return true;
}
#endif
