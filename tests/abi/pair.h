/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A front-end and a back-end over a socket pair; the back-end has a thread of its own. Handles are addresses. */
#ifndef PAIR_H
#define PAIR_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct pair {
	uint64_t device, slave, master;
	pthread_t thread;
	atomic_bool stop;
};

/* @device is attached, and freed with the pair. */
void pair_open(struct pair *p, uint64_t device);
void pair_open_with(struct pair *p, uint64_t device, uint64_t master);
void pair_start(struct pair *p); /* the thread that dispatches the slave */
void pair_stop(struct pair *p);
void pair_close(struct pair *p);

uint64_t new_device(void *ops, void *ctx); /* a block device with two queues; @ops may be NULL */
uint64_t new_ram_disk(uint64_t capacity);
uint64_t new_mem(uint64_t len); /* one region at address 0 */
uint64_t new_queue(uint64_t mem, const char *role);

#endif
