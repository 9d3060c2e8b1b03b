/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A whole session (listen, connect, negotiate, share memory, start, write, flush, read back, discard, add memory, stop,
 * disconnect) in which one call fails: the n-th, for every n that the session has, on the side that takes part. After
 * each: nothing of the library's is left over, nobody hung, and the next session is whole again.
 * usage: faults_test_faults [stride]; stride 1 tries every n.
 */
#include "sys_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "vh/vh.h"

enum side { FRONT_END, BACK_END };

static char socket_path[108];
static char file_path[108];
static bool patient; /* no fault is to come: what takes long is only slow */

/* The back-end's thread: makes everything, serves until told to stop, frees everything. */
struct back_end {
	pthread_t thread;
	bool faulty;
	int stop_fd;
	_Atomic int state; /* 0 = starting, 1 = serving, -1 = could not start */
	int32_t rc;
};

static int32_t back_end_open(struct vh_device **dev, struct vh_slave **s)
{
	struct vh_blkdev_opts d = {.size = sizeof(d), .kind = VH_BLKDEV_FILE, .max_queues = 2};
	struct vh_slave_opts o = {.size = sizeof(o), .message_timeout_ms = 1000, .drain_timeout_ms = 1000};
	int fd = open(file_path, O_RDWR | O_CLOEXEC);
	int32_t rc = vh_blkdev_new(&d, fd, dev);

	close(fd);
	if (rc)
		return rc;
	rc = vh_slave_new(&o, *dev, NULL, NULL, s);
	if (!rc)
		rc = vh_slave_listen(*s, socket_path);
	return rc;
}

static void *back_end_main(void *arg)
{
	struct back_end *b = arg;
	struct vh_device *dev = NULL;
	struct vh_slave *s = NULL;
	struct vh_event e = {.size = sizeof(e)};
	struct pollfd p[2];

	faults_join(b->faulty);
	b->rc = back_end_open(&dev, &s);
	b->state = b->rc ? -1 : 1;
	while (!b->rc) {
		int32_t n = vh_slave_dispatch(s);

		while (vh_slave_next_event(s, &e) == 1)
			;
		p[0] = (struct pollfd){.fd = vh_slave_fd(s), .events = POLLIN};
		p[1] = (struct pollfd){.fd = b->stop_fd, .events = POLLIN};
		poll(p, 2, n == 1 ? 0 : 100);
		if (p[1].revents)
			break;
	}
	vh_slave_free(s);
	vh_device_free(dev);
	faults_join(false);
	return NULL;
}

static bool back_end_start(struct back_end *b, bool faulty)
{
	memset(b, 0, sizeof(*b));
	b->faulty = faulty;
	b->stop_fd = eventfd(0, EFD_CLOEXEC);
	pthread_create(&b->thread, NULL, back_end_main, b);
	while (!b->state)
		usleep(50);
	return b->state == 1;
}

static void back_end_stop(struct back_end *b)
{
	uint64_t one = 1;

	if (write(b->stop_fd, &one, sizeof(one)) != sizeof(one))
		abort();
	pthread_join(b->thread, NULL);
	close(b->stop_fd);
}

#define HASTE	 500   /* ms: what a fault has lost does not come */
#define PATIENCE 10000 /* without one it does, on a busy machine too */

static int32_t one_io(struct vh_blk *blk, uint32_t op, uint64_t addr, uint64_t offset, uint64_t len)
{
	struct vh_blk_io io = {.op = op, .addr = addr, .offset = offset, .len = len};
	struct vh_blk_done done;
	int32_t n = vh_blk_submit(blk, 0, &io, 1), waited = 0;

	for (int tries = 0; n >= 0 && tries < 1000; tries++) {
		n = vh_blk_reap(blk, 0, &done, 1);
		if (n == 1)
			return done.rc;
		if (n == 0) {
			n = vh_blk_wait(blk, 0, HASTE);
			if (n == -EINTR)
				n = 0;
			if (n == -ETIMEDOUT && patient && (waited += HASTE) < PATIENCE)
				n = 0;
		}
	}
	return n < 0 ? n : -ETIMEDOUT;
}

/* 0, or the error of the step that failed; @wrong: data that came back was not what was acknowledged. */
static int32_t front_end_io(struct vh_driver *d, struct vh_blk *blk, bool *wrong)
{
	uint64_t a, b;
	int32_t rc = vh_driver_alloc(d, 8192, &a);

	if (!rc)
		rc = vh_driver_start(d);
	if (rc)
		return rc;
	memset((void *)(uintptr_t)a, 0x5a, 8192);
	rc = one_io(blk, VH_BLK_WRITE, a, 4096, 8192);
	if (!rc)
		rc = one_io(blk, VH_BLK_FLUSH, 0, 0, 0);
	if (!rc)
		rc = vh_driver_alloc(d, 32 << 20, &b); /* a region of its own, while the queue runs */
	if (!rc)
		rc = one_io(blk, VH_BLK_READ, b, 4096, 8192);
	if (!rc && memcmp((void *)(uintptr_t)a, (void *)(uintptr_t)b, 8192))
		*wrong = true;
	if (!rc)
		rc = one_io(blk, VH_BLK_DISCARD, 0, 4096, 4096);
	if (!rc)
		rc = vh_driver_stop(d, 0, 0);
	return rc;
}

static int32_t front_end(bool faulty, bool *wrong)
{
	struct vh_master_opts mo = {.size = sizeof(mo), .timeout_ms = patient ? PATIENCE : 1500};
	struct vh_driver_opts dopts = {.size = sizeof(dopts), .type = VH_TYPE_BLK, .queue_size = 16};
	struct vh_master *m = NULL;
	struct vh_driver *d = NULL;
	struct vh_blk *blk = NULL;
	struct vh_backend *b;
	int32_t rc;

	faults_join(faulty);
	rc = vh_master_new(&mo, NULL, NULL, &m);
	if (!rc)
		rc = vh_master_connect(m, socket_path);
	if (!rc)
		rc = vh_master_backend(m, &b);
	if (!rc)
		rc = vh_driver_new(&dopts, b, NULL, &d);
	if (!rc)
		rc = vh_blk_new(d, &blk);
	if (!rc)
		rc = front_end_io(d, blk, wrong);
	vh_blk_free(blk);
	vh_driver_free(d);
	vh_master_free(m);
	faults_join(false);
	return rc;
}

/* A whole one: nothing is to fail any more. */
static int32_t session(bool *wrong)
{
	int32_t rc;

	patient = true;
	rc = front_end(false, wrong);
	patient = false;
	return rc;
}

static int failures;

static void complain(enum side side, enum fault_kind k, uint64_t n, unsigned variant, const char *text)
{
	fprintf(stderr, "FAIL %s kind %d n %llu variant %u (%s): %s\n", side == FRONT_END ? "front-end" : "back-end", k,
		(unsigned long long)n, variant, faults_what(), text);
	failures++;
}

/* True while there is a call with this number. */
static bool try_one(enum side side, enum fault_kind k, uint64_t n, unsigned variant)
{
	struct faults_balance before = faults_balance(), after;
	struct back_end be;
	bool wrong = false, up, fired;
	int32_t rc = 0;

	alarm(60); /* a hang is the end of the test */
	faults_arm(k, n, variant);
	up = back_end_start(&be, side == BACK_END);
	if (up)
		rc = front_end(side == FRONT_END, &wrong);
	faults_disarm();
	fired = faults_fired();
	/* Without a fault it may have been in too much haste. */
	if (!fired && up && rc == -ETIMEDOUT)
		rc = session(&wrong);
	if (!fired && (rc || !up))
		complain(side, k, n, variant, "a session without a fault failed");
	if (wrong)
		complain(side, k, n, variant, "data that was acknowledged is not there");
	/* The same back-end, if it is up, takes a whole session now. */
	if (up && fired) {
		char text[60];

		rc = session(&wrong);
		snprintf(text, sizeof(text), "the session after it failed: %d", rc);
		if (rc || wrong)
			complain(side, k, n, variant, text);
	}
	back_end_stop(&be);
	after = faults_balance();
	if (after.allocs != before.allocs || after.fds != before.fds || after.maps != before.maps) {
		char text[160];

		snprintf(text, sizeof(text), "left over: %lld allocations, %lld fds, %lld bytes mapped",
			 (long long)(after.allocs - before.allocs), (long long)(after.fds - before.fds),
			 (long long)(after.maps - before.maps));
		complain(side, k, n, variant, text);
	}
	return fired;
}

static void sweep(enum side side, enum fault_kind k, unsigned variant, unsigned stride)
{
	uint64_t n = 1 + (stride > 1 ? (unsigned)rand() % stride : 0), tried = 0;

	/* Two misses in a row: the number of calls varies a little from run to run. */
	for (unsigned misses = 0; misses < 2; n += stride, tried++)
		misses = try_one(side, k, n, variant) ? 0 : misses + 1;
	printf("%s kind %d variant %u: %llu tried, about %llu calls\n", side == FRONT_END ? "front-end" : "back-end", k,
	       variant, (unsigned long long)tried, (unsigned long long)n);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned stride = argc > 1 ? (unsigned)atoi(argv[1]) : getenv("VH_FULL") ? 1 : 7;
	unsigned seed = getenv("VH_SEED") ? (unsigned)atoi(getenv("VH_SEED")) : (unsigned)time(NULL);
	char dir[] = "/tmp/vh-faults-XXXXXX";
	int fd;

	printf("seed %u stride %u\n", seed, stride);
	srand(seed);
	if (!mkdtemp(dir))
		return 1;
	snprintf(socket_path, sizeof(socket_path), "%s/s", dir);
	snprintf(file_path, sizeof(file_path), "%s/f", dir);
	fd = open(file_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, 1 << 20))
		return 1;
	close(fd);
	for (enum side side = FRONT_END; side <= BACK_END; side++) {
		sweep(side, FAULT_ALLOC, 0, stride > 1 ? 2 : 1);
		sweep(side, FAULT_ALLOC_PERSIST, 0, stride > 1 ? 2 : 1);
		for (unsigned variant = 0; variant < 4; variant++)
			sweep(side, FAULT_SYSCALL, variant, stride);
	}
	unlink(file_path);
	unlink(socket_path);
	rmdir(dir);
	printf("%d failures\n", failures);
	return failures != 0;
}
