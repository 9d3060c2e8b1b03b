/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vhi_gate.h"

#include "vhi_base.h"

static __thread char self;

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
	int rc = 0;

	pthread_mutex_lock(&g->lock);
	if (g->stopped)
		rc = -ESHUTDOWN;
	else if (g->owner && g->owner != &self)
		rc = -EBUSY;
	else {
		g->owner = &self;
		g->depth++;
	}
	pthread_mutex_unlock(&g->lock);
	return rc;
}

bool vhi_gate_leave(struct vhi_gate *g)
{
	bool free_now = false;

	pthread_mutex_lock(&g->lock);
	if (--g->depth == 0) {
		g->owner = NULL;
		free_now = g->free_later;
		pthread_cond_broadcast(&g->left);
	}
	pthread_mutex_unlock(&g->lock);
	return free_now;
}

bool vhi_gate_inside(struct vhi_gate *g)
{
	bool inside;

	pthread_mutex_lock(&g->lock);
	inside = g->owner == &self;
	pthread_mutex_unlock(&g->lock);
	return inside;
}

void vhi_gate_stop(struct vhi_gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->stopped = true;
	while (g->owner && g->owner != &self)
		pthread_cond_wait(&g->left, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

bool vhi_gate_free(struct vhi_gate *g)
{
	bool now;

	pthread_mutex_lock(&g->lock);
	now = !g->owner;
	g->stopped = true;
	g->free_later = !now;
	pthread_mutex_unlock(&g->lock);
	return now;
}
