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
	/* Atomic: an address of the thread inside, 0 = nobody; in its low bits what other calls have marked it with. */
	uintptr_t inside;
	uint32_t depth;	      /* of calls, the owner's */
	pthread_mutex_t lock; /* around marks, and around leaving a gate that has one */
	pthread_cond_t left;
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
