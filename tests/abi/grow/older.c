/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A program of today, for a library of tomorrow: a device, a back-end with options, a trace and counters, and a driver.
 * Each struct that it gives away is followed by bytes that a newer library would take for members, if it looked there.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vh/vh.h>

#define BEHIND	    64
#define RUBBISH	    0xa5
#define LEN	    512
#define ANSWER	    0x7e
#define CAPACITY    (64 * VH_BLK_SECTOR)
#define SLICE_MS    20
#define SOCKET_MODE 0600

static atomic_int batches, messages, destroyed;
static atomic_bool stop;

static int fail(const char *what)
{
	struct vh_error why = {.size = sizeof(why)};

	vh_error_get(&why);
	printf("%s: %s\n", what, why.text);
	exit(1);
}

/* A copy of a struct with rubbish right behind its end. */
static void *with_rubbish(const void *from, size_t size)
{
	char *p = malloc(size + BEHIND);

	memcpy(p, from, size);
	memset(p + size, RUBBISH, BEHIND);
	return p;
}

static void check_rubbish(const void *p, size_t size)
{
	for (size_t i = 0; i < BEHIND; i++)
		if (((const unsigned char *)p)[size + i] != RUBBISH) {
			printf("byte %zu behind a struct of %zu was written\n", i, size);
			exit(1);
		}
}

static void on_destroy(void *ctx)
{
	(void)ctx;
	destroyed++;
}

static int32_t get_config(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later)
{
	uint8_t config[256] = {CAPACITY / VH_BLK_SECTOR};

	(void)ctx, (void)later;
	memcpy(buf, config + offset, len);
	return 0;
}

static int32_t on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct vh_req req;
	vh_count n = budget ? vh_queue_pop(q, &req, 1) : 0;

	(void)ctx, (void)index;
	if (n <= 0)
		return n;
	batches++;
	for (uint32_t i = req.n_rd; i < req.n_rd + req.n_wr; i++) {
		const struct vh_seg *seg = (const struct vh_seg *)(uintptr_t)req.segs + i;

		memset((void *)(uintptr_t)seg->addr, i + 1 == req.n_rd + req.n_wr ? 0 : ANSWER, (size_t)seg->len);
	}
	n = vh_queue_push(q, &(struct vh_cpl){.token = req.token, .written = (uint32_t)req.wr_len}, 1);
	return n ? n : 1;
}

static void on_message(void *ctx, const struct vh_msg_info *info)
{
	(void)ctx;
	messages += info->size >= sizeof(*info);
}

static void *serve(void *arg)
{
	while (!stop && vh_slave_wait(arg, SLICE_MS) >= 0)
		;
	return NULL;
}

static struct vh_slave *new_slave(struct vh_device **dev)
{
	const struct vh_device_opts dev_opts = {.size = sizeof(dev_opts), .type = VH_TYPE_BLK};
	const struct vh_device_ops dev_ops = {
		.size = sizeof(dev_ops), .destroy = on_destroy, .get_config = get_config, .on_batch = on_batch};
	const struct vh_trace_ops trace_ops = {.size = sizeof(trace_ops), .destroy = on_destroy, .message = on_message};
	const struct vh_slave_opts opts = {.size = sizeof(opts), .socket_mode = SOCKET_MODE};
	struct vh_slave *s = NULL;

	if (vh_device_new(with_rubbish(&dev_opts, sizeof(dev_opts)), with_rubbish(&dev_ops, sizeof(dev_ops)), NULL,
			  dev) ||
	    vh_slave_new(with_rubbish(&opts, sizeof(opts)), *dev, NULL, NULL, &s) ||
	    vh_slave_set_trace(s, with_rubbish(&trace_ops, sizeof(trace_ops)), NULL))
		fail("the back-end");
	return s;
}

static void read_a_sector(struct vh_master *m)
{
	struct vh_blk_io io = {.op = VH_BLK_READ, .len = LEN};
	struct vh_blk_done done;
	struct vh_backend *b;
	struct vh_driver *d;
	struct vh_blk *blk;

	if (vh_master_backend(m, &b) || vh_driver_new(NULL, b, NULL, &d) || vh_driver_start(d) || vh_blk_new(d, &blk) ||
	    vh_driver_alloc(d, LEN, &io.addr) || vh_blk_submit(blk, 0, &io, 1) != 1 || vh_blk_wait(blk, 0, 5000) ||
	    vh_blk_reap(blk, 0, &done, 1) != 1 || done.rc)
		fail("the driver");
	if (*(unsigned char *)(uintptr_t)io.addr != ANSWER)
		exit(printf("not what the device wrote\n"));
	vh_blk_free(blk);
	vh_driver_free(d);
}

int main(void)
{
	struct vh_slave_stats empty = {.size = sizeof(empty)}, *stats = with_rubbish(&empty, sizeof(empty));
	struct vh_device *dev = NULL;
	struct vh_slave *s = new_slave(&dev);
	struct vh_master *m;
	pthread_t thread;
	vh_fd fd;

	if (vh_master_new(NULL, NULL, NULL, &m) || vh_master_socketpair(m, &fd) || vh_slave_adopt(s, fd))
		fail("the connection");
	close(fd);
	pthread_create(&thread, NULL, serve, s);
	read_a_sector(m);
	stop = true;
	pthread_join(thread, NULL);
	if (vh_slave_get_stats(s, stats) || stats->queue_requests != 1 || stats->queue_completed != 1)
		fail("the counters");
	check_rubbish(stats, sizeof(*stats));
	vh_master_free(m);
	vh_slave_free(s);
	vh_device_free(dev);
	if (batches != 1 || messages < 10 || destroyed != 2)
		exit(printf("%d batches, %d messages, %d destroyed\n", batches, messages, destroyed));
	printf("ok with library %u.%u\n", vh_version() >> 16, vh_version() >> 8 & 0xff);
	return 0;
}
