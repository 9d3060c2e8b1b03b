/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* `vhctl serve blk` in a process of its own, over a file that outlives it. */
#ifndef VHT_CHILD_H
#define VHT_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct vht_child {
	char dir[32];
	char socket[48];
	char disk[48];
	bool packed;
	bool connects;	 /* to a front-end that listens; else it listens itself */
	unsigned queues; /* 0 = 1 */
	pid_t pid;	 /* 0 = none */
};

void vht_child_init(struct vht_child *c, uint64_t bytes, bool packed);
/* Returns when it listens, or tries to connect. */
void vht_child_start(struct vht_child *c);
void vht_child_kill(struct vht_child *c); /* SIGKILL, and gone when it returns */
void vht_child_end(struct vht_child *c);

#endif
