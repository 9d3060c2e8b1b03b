/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What those have in common who drive the queues of a session: vh_blk and vh_net. */
#include "vhi_driver.h"

/* Requests of somebody before would come back as those of who comes now. */
static bool in_use(struct vh_driver *d)
{
	bool used = d->taken;

	for (uint32_t i = 0; !used && i < d->n_queues; i++)
		used = d->queues[i].life && (vhi_queue_in_flight(d->queues[i].q) || vhi_queue_early(d->queues[i].q));
	return used;
}

int vhi_driver_take(struct vh_driver *d, const char *who)
{
	if (d->given)
		return vhi_fail(-EPERM, VH_ERROR_STATE, 0,
				"%s: the session is over memory of the caller's, who drives the rings too", who);
	if (in_use(d))
		return vhi_fail(-EBUSY, VH_ERROR_STATE, 0,
				"%s: the session has a block or network driver, or requests in flight; free the one, "
				"reap the others",
				who);
	d->taken = true;
	return 0;
}
