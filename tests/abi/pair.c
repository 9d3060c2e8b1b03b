/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "pair.h"

#include <stdlib.h>
#include <unistd.h>

#include "dyn.h"

#define SLICE_MS   20 /* of the thread, until it looks whether it is to end */
#define RING_SIZE  16
#define RING_AVAIL 0x1000
#define RING_USED  0x2000

uint64_t new_device(void *ops, void *ctx)
{
	void *opts = dyn_new("vh_device_opts"), *none = dyn_ops("vh_device_ops", "");
	uint64_t device = 0;

	dyn_set(opts, "vh_device_opts", "type", (uint64_t)dyn_constant("VH_TYPE_BLK"));
	dyn_set(opts, "vh_device_opts", "max_queues", 2);
	CHECK(!VH(device_new, at(opts), at(ops ? ops : none), at(ctx), at(&device)), "no device");
	free(opts), free(none);
	return device;
}

uint64_t new_ram_disk(uint64_t capacity)
{
	void *opts = dyn_new("vh_blkdev_opts");
	uint64_t device = 0;

	dyn_set(opts, "vh_blkdev_opts", "kind", (uint64_t)dyn_constant("VH_BLKDEV_RAM"));
	dyn_set(opts, "vh_blkdev_opts", "capacity", capacity);
	CHECK(!VH(blkdev_new, at(opts), (uint64_t)-1, at(&device)), "no disk");
	free(opts);
	return device;
}

uint64_t new_mem(uint64_t len)
{
	uint64_t mem = 0;

	CHECK(!VH(mem_new, 0, at(&mem)) && !VH(mem_alloc, mem, 0, len, 0), "no memory");
	return mem;
}

uint64_t new_queue(uint64_t mem, const char *role)
{
	void *opts = dyn_new("vh_queue_opts");
	uint64_t queue = 0;

	dyn_set(opts, "vh_queue_opts", "role", (uint64_t)dyn_constant(role));
	dyn_set(opts, "vh_queue_opts", "num", RING_SIZE);
	dyn_set(opts, "vh_queue_opts", "driver", RING_AVAIL);
	dyn_set(opts, "vh_queue_opts", "device", RING_USED);
	CHECK(!VH(queue_open, mem, at(opts), (uint64_t)-1, (uint64_t)-1, at(&queue)), "no queue");
	free(opts);
	return queue;
}

static void *serve(void *arg)
{
	struct pair *p = arg;

	while (!atomic_load(&p->stop) && VH(slave_wait, p->slave, SLICE_MS) >= 0)
		;
	return NULL;
}

void pair_open(struct pair *p, uint64_t device)
{
	uint64_t master = 0;

	CHECK(!VH(master_new, 0, 0, 0, at(&master)), "no master");
	pair_open_with(p, device, master);
}

void pair_open_with(struct pair *p, uint64_t device, uint64_t master)
{
	void *opts = dyn_new("vh_slave_opts");
	int32_t fd = -1;

	dyn_set(opts, "vh_slave_opts", "postcopy", 1);
	p->device = device;
	p->master = master;
	p->slave = 0;
	atomic_init(&p->stop, true);
	CHECK(!VH(slave_new, at(opts), device, 0, 0, at(&p->slave)), "no slave");
	CHECK(!VH(master_socketpair, p->master, at(&fd)), "no socket pair");
	CHECK(!VH(slave_adopt, p->slave, (uint64_t)fd), "the slave does not take its end");
	close(fd);
	free(opts);
}

void pair_start(struct pair *p)
{
	atomic_store(&p->stop, false);
	CHECK(!pthread_create(&p->thread, NULL, serve, p), "no thread");
}

void pair_stop(struct pair *p)
{
	if (!atomic_exchange(&p->stop, true))
		pthread_join(p->thread, NULL);
}

void pair_close(struct pair *p)
{
	pair_stop(p);
	VH(master_free, p->master);
	VH(slave_free, p->slave);
	VH(device_free, p->device);
}
