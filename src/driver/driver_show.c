/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What stands of a session on a page that others look at. Several threads drive its queues, and none need dispatch it: each
 * submit, reap and wait writes what is in flight on its queue, and all of it when that is due.
 */
#include "vhi_driver.h"

#include <unistd.h>

static void put_memory(const struct vh_driver *d, uint64_t *values)
{
	struct vh_snapshot *snap = d->mem ? vhi_mem_snapshot(d->mem) : NULL;

	for (uint32_t i = 0; snap && i < snap->n; i++)
		values[VHI_CONNECTION_MEMORY] += snap->spans[i].len;
	values[VHI_CONNECTION_REGIONS] = snap ? snap->n : 0;
	vhi_snapshot_put(snap);
}

static uint64_t state_of(struct vh_driver *d)
{
	static const uint8_t states[] = {[VHI_LINK_UP] = VHI_IS_CONNECTED,
					 [VHI_LINK_DOWN] = VHI_IS_CONNECTING,
					 [VHI_LINK_REPLAY] = VHI_IS_CONNECTING,
					 [VHI_LINK_GONE] = VHI_IS_IDLE};

	return states[__atomic_load_n(&d->link.state, __ATOMIC_ACQUIRE)];
}

static void write_all(struct vh_driver *d, struct vhi_show *show, uint64_t now)
{
	uint64_t values[VHI_CONNECTION_PROPS];

	/* Of messages the back-end knows, not the session. */
	for (uint32_t i = 0; i < VHI_CONNECTION_PROPS; i++)
		values[i] = VH_METRICS_UNKNOWN;
	values[VHI_CONNECTION_ROLE] = VHI_ROLE_DRIVER;
	values[VHI_CONNECTION_STATE] = state_of(d);
	values[VHI_CONNECTION_FEATURES] = d->features;
	values[VHI_CONNECTION_QUEUES] = d->n_queues;
	values[VHI_CONNECTION_MEMORY] = values[VHI_CONNECTION_INSIDE] = 0;
	values[VHI_CONNECTION_WRITTEN] = now;
	put_memory(d, values);
	vhi_show_connection(show, values, NULL);
	for (uint32_t i = 0; i < d->n_queues; i++)
		if (d->queues[i].q)
			vhi_show_queue(show, i, d->queues[i].q, now);
}

/* It stays until show_put(), or there is none. Who takes it away first hides it, and then waits for who was here before. */
static struct vhi_show *show_get(struct vh_driver *d, uint32_t *users)
{
	struct vhi_show *show;

	if (VHI_LIKELY(!__atomic_load_n(&d->show, __ATOMIC_RELAXED)))
		return NULL;
	__atomic_add_fetch(users, 1, __ATOMIC_SEQ_CST);
	show = __atomic_load_n(&d->show, __ATOMIC_SEQ_CST);
	if (!show)
		__atomic_sub_fetch(users, 1, __ATOMIC_RELEASE);
	return show;
}

static void show_put(uint32_t *users)
{
	__atomic_sub_fetch(users, 1, __ATOMIC_RELEASE);
}

static struct vhi_show *hide(struct vh_driver *d)
{
	struct vhi_show *show = __atomic_exchange_n(&d->show, NULL, __ATOMIC_SEQ_CST);
	uint32_t users;

	for (;;) {
		users = __atomic_load_n(&d->showing, __ATOMIC_SEQ_CST);
		for (uint32_t i = 0; i < d->n_queues; i++)
			users += __atomic_load_n(&d->queues[i].showing, __ATOMIC_SEQ_CST);
		/* In a child of fork() those threads are not there. */
		if (!users || d->pid != getpid())
			return show;
		vhi_sys.poll(NULL, 0, 1);
	}
}

void vhi_driver_show(struct vh_driver *d, bool at_once)
{
	struct vhi_show *show = show_get(d, &d->showing);
	uint64_t now;

	if (!show)
		return;
	now = vhi_now_ns();
	for (bool more = vhi_show_turn(show, now, at_once); more; more = vhi_show_turned(show))
		write_all(d, show, now);
	show_put(&d->showing);
}

void vhi_driver_show_flow(struct vh_driver *d, uint32_t index)
{
	struct vhi_driver_queue *dq = &d->queues[index];
	struct vhi_show *show = show_get(d, &dq->showing);
	uint64_t now;

	if (VHI_LIKELY(!show))
		return;
	now = vhi_now_ns();
	if (dq->q)
		for (bool more = vhi_show_flow(show, index, dq->q, now); more; more = vhi_show_turned(show))
			write_all(d, show, now);
	show_put(&dq->showing);
}

vh_rc vh_driver_set_metrics(struct vh_driver *d, struct vh_metrics *m, const char *name)
{
	struct vhi_show *show;
	int rc;

	if (!d)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_driver_set_metrics: NULL session");
	show = hide(d);
	rc = vhi_show_change("vh_driver_set_metrics", m, name, d->n_queues, &show);
	__atomic_store_n(&d->show, show, __ATOMIC_RELEASE);
	vhi_driver_show(d, true);
	return rc;
}
