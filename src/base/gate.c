/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Going in and out is one compare-and-exchange each while nobody stops the gate. Once it is marked that fails, and who
 * leaves takes the lock: who marked it may destroy it as soon as it is left, but not before the lock is given back.
 */
#include "vhi_gate.h"

#include "vhi_base.h"

enum { STOPPED = 1, FREE_LATER = 2, MARKS = 3 };

/* Its address is the thread's name; aligned, so that there is room for the marks. */
static __thread uint32_t self;

static uintptr_t me(void)
{
	return (uintptr_t)&self;
}

static uintptr_t load(const struct vhi_gate *g)
{
	return __atomic_load_n(&g->inside, __ATOMIC_ACQUIRE);
}

static bool swap(struct vhi_gate *g, uintptr_t from, uintptr_t to)
{
	return __atomic_compare_exchange_n(&g->inside, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

int vhi_gate_init(struct vhi_gate *g)
{
	int rc;

	memset(g, 0, sizeof(*g));
	rc = pthread_mutex_init(&g->lock, NULL);
	if (rc)
		return -rc;
	rc = pthread_cond_init(&g->left, NULL);
	if (rc)
		pthread_mutex_destroy(&g->lock);
	return -rc;
}

void vhi_gate_destroy(struct vhi_gate *g)
{
	pthread_cond_destroy(&g->left);
	pthread_mutex_destroy(&g->lock);
}

int vhi_gate_enter(struct vhi_gate *g)
{
	const uintptr_t who = me();
	const bool ours = swap(g, 0, who);
	const uintptr_t inside = ours ? who : load(g);

	if (inside & STOPPED)
		return -ESHUTDOWN;
	if (inside != who)
		return -EBUSY;
	g->depth++;
	return 0;
}

static bool leave_marked(struct vhi_gate *g)
{
	bool free_now;

	pthread_mutex_lock(&g->lock);
	free_now = __atomic_fetch_and(&g->inside, MARKS, __ATOMIC_ACQ_REL) & FREE_LATER;
	pthread_cond_broadcast(&g->left);
	pthread_mutex_unlock(&g->lock);
	return free_now;
}

bool vhi_gate_leave(struct vhi_gate *g)
{
	if (--g->depth)
		return false;
	return swap(g, me(), 0) ? false : leave_marked(g);
}

bool vhi_gate_inside(struct vhi_gate *g)
{
	return (load(g) & ~(uintptr_t)MARKS) == me();
}

/* Somebody else is. */
static bool taken(const struct vhi_gate *g)
{
	const uintptr_t who = load(g) & ~(uintptr_t)MARKS;

	return who && who != me();
}

void vhi_gate_stop(struct vhi_gate *g)
{
	pthread_mutex_lock(&g->lock);
	__atomic_fetch_or(&g->inside, STOPPED, __ATOMIC_ACQ_REL);
	while (taken(g))
		pthread_cond_wait(&g->left, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

bool vhi_gate_free(struct vhi_gate *g)
{
	uintptr_t inside;
	bool now;

	pthread_mutex_lock(&g->lock);
	/* One mark decides for both sides: who leaves before it has left, who leaves after it sees it. */
	inside = __atomic_fetch_or(&g->inside, STOPPED | FREE_LATER, __ATOMIC_ACQ_REL);
	now = !(inside & ~(uintptr_t)MARKS);
	pthread_mutex_unlock(&g->lock);
	return now;
}
