/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What stands of a device on a page that others look at: as of a vhost-user back-end, see src/slave/show.c. */
#include "vhi_vduse.h"

#include <stdio.h>

static uint64_t state_of(const struct vh_vduse *v)
{
	return v->dead ? VHI_IS_IDLE : v->status & VHI_STATUS_DRIVER_OK ? VHI_IS_CONNECTED : VHI_IS_LISTENING;
}

static void write_all(struct vh_vduse *v)
{
	const uint64_t now = vhi_now_ns();
	uint64_t values[VHI_CONNECTION_PROPS] = {
		[VHI_CONNECTION_ROLE] = VHI_ROLE_VDUSE,
		[VHI_CONNECTION_STATE] = state_of(v),
		[VHI_CONNECTION_DEVICE_TYPE] = v->dev->opts.type,
		[VHI_CONNECTION_OFFERED] = v->features,
		[VHI_CONNECTION_FEATURES] = v->acked,
		[VHI_CONNECTION_STATUS] = v->status,
		[VHI_CONNECTION_QUEUES] = v->n_queues,
		[VHI_CONNECTION_REGIONS] = vhi_vduse_regions(v),
		[VHI_CONNECTION_MEMORY] = VH_METRICS_UNKNOWN,
		[VHI_CONNECTION_CONNECTIONS] = VH_METRICS_UNKNOWN,
		[VHI_CONNECTION_REFUSED] = VH_METRICS_UNKNOWN,
		[VHI_CONNECTION_MESSAGES_IN] = v->stats.messages,
		[VHI_CONNECTION_MESSAGES_OUT] = VH_METRICS_UNKNOWN,
		[VHI_CONNECTION_BYTES_IN] = VH_METRICS_UNKNOWN,
		[VHI_CONNECTION_BYTES_OUT] = VH_METRICS_UNKNOWN,
		[VHI_CONNECTION_REJECTED] = v->stats.refused,
		[VHI_CONNECTION_ERRORS] = VH_METRICS_UNKNOWN,
		[VHI_CONNECTION_OWED] = v->job.step != NULL,
		[VHI_CONNECTION_WRITTEN] = now,
	};
	char address[VH_METRICS_ADDRESS_SIZE];
	bool due = false;

	snprintf(address, sizeof(address), "/dev/vduse/%.*s", (int)sizeof(address) - 12, v->name);
	vhi_show_connection(v->show, values, address);
	for (uint32_t i = 0; i < v->n_queues; i++) {
		due |= vhi_show_queue(v->show, i, v->rings[i].q, now);
		due |= v->dev->ops.flags & VH_DEVICE_MANUAL_QUEUES && v->rings[i].state != VHI_VDUSE_STOPPED;
	}
	v->show->due = due;
	v->show->seen = v->stats.messages + v->stats.refused + v->status;
}

void vhi_vduse_show_inside(struct vh_vduse *v, uint64_t now)
{
	vhi_metrics_put_value(v->show->st, v->show->connection, VHI_CONNECTION_INSIDE, now);
}

void vhi_vduse_show_round(struct vh_vduse *v, uint64_t now)
{
	vhi_vduse_show_inside(v, 0);
	if (now >= v->show->next_ns || v->stats.messages + v->stats.refused + v->status != v->show->seen || v->dead)
		write_all(v);
	else
		v->show->due = true;
}

vh_rc vhi_vduse_show_on(struct vh_vduse *v, struct vh_metrics *m, const char *name)
{
	vh_rc rc = vhi_show_change("vh_vduse_set_metrics", m, name, v->n_queues, &v->show);

	if (!rc && v->show)
		write_all(v);
	return rc;
}
