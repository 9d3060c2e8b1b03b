/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * idle_server PREFIX COUNT: so many block devices in one process and one thread, at PREFIX0, PREFIX1, ... Says "ready",
 * and serves until stdin ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vh/vh.h"

static void must(int32_t rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "idle_server: %s: %s\n", what, vh_error_name(rc));
	exit(1);
}

static struct vh_slave *open_one(const char *prefix, long i)
{
	const struct vh_blkdev_opts opts = {.size = sizeof(opts), .kind = VH_BLKDEV_NULL, .capacity = 1 << 20};
	struct vh_device *dev;
	struct vh_slave *s;
	char path[108];

	must(vh_blkdev_new(&opts, -1, &dev), "device");
	must(vh_slave_new(NULL, dev, NULL, NULL, &s), "slave");
	vh_device_free(dev); /* goes with its slave */
	snprintf(path, sizeof(path), "%s%ld", prefix, i);
	must(vh_slave_listen(s, path), path);
	return s;
}

int main(int argc, char **argv)
{
	long count = argc == 3 ? atol(argv[2]) : 0;
	struct vh_slave **slaves = calloc((size_t)count + 1, sizeof(*slaves));
	struct epoll_event ev = {.events = EPOLLIN}, evs[64];
	int epfd = epoll_create1(EPOLL_CLOEXEC), n = 0;
	struct rlimit files;

	if (count < 1 || !slaves || epfd < 0)
		return 2;
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	must(epoll_ctl(epfd, EPOLL_CTL_ADD, 0, &ev), "stdin");
	for (long i = 0; i < count; i++) {
		slaves[i] = open_one(argv[1], i);
		ev.data.ptr = slaves[i];
		must(epoll_ctl(epfd, EPOLL_CTL_ADD, vh_slave_fd(slaves[i]), &ev), "watch");
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		n = epoll_wait(epfd, evs, 64, -1);
		for (int i = 0; i < n; i++) {
			if (!evs[i].data.ptr)
				goto end;
			must(vh_slave_dispatch(evs[i].data.ptr), "dispatch");
		}
	}
end:
	for (long i = 0; i < count; i++)
		vh_slave_free(slaves[i]);
	free(slaves);
	close(epfd);
	return 0;
}
