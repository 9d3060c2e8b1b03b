/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The door of a handle (vh_master, vh_slave): one thread at a time, which may come in again from a callback; stop from
 * any thread; free from inside a callback, which takes effect when the outermost call leaves.
 */
#ifndef VHI_GATE_H
#define VHI_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct vhi_gate {
	pthread_mutex_t lock;
	pthread_cond_t left;
	const void *owner; /* address of a thread-local of the thread inside, NULL = nobody */
	uint32_t depth;
	bool stopped;
	bool free_later;
};

int vhi_gate_init(struct vhi_gate *g);
void vhi_gate_destroy(struct vhi_gate *g);
/* 0, -EBUSY when another thread is inside, -ESHUTDOWN after stop. */
int vhi_gate_enter(struct vhi_gate *g);
/* True when the caller, who has left, must now free the handle. */
bool vhi_gate_leave(struct vhi_gate *g);
/* True while the calling thread is inside. */
bool vhi_gate_inside(struct vhi_gate *g);
/* Mark stopped; from outside, wait until nobody is inside. */
void vhi_gate_stop(struct vhi_gate *g);
/* True when the handle can be freed now; inside a callback it is marked to be freed at the outermost leave. */
bool vhi_gate_free(struct vhi_gate *g);

#endif
