/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Records of the requests in flight, which the back-end writes and the session keeps, while it is to come back: with them
 * the next one knows by itself what was begun. A start makes new ones, because rings stop only when nothing is in flight,
 * or begin from nothing.
 */
#include "vhi_driver.h"

void vhi_driver_inflight_drop(struct vh_driver *d)
{
	vhi_fd_close(&d->inflight_fd);
	for (uint32_t i = 0; i < d->n_queues; i++)
		d->queues[i].tracked = false;
}

/* One that has none does without; what was in flight is then written once more (vhi_driver_ring_again). */
static int without(struct vh_driver *d, int rc, const struct vh_error *before)
{
	if (rc != -EOPNOTSUPP && rc != -EREMOTEIO)
		return rc;
	vhi_driver_inflight_drop(d);
	vhi_driver_error_put(before);
	return 0;
}

int vhi_driver_inflight_get(struct vh_driver *d)
{
	struct vh_error before = vhi_driver_error_keep();
	uint32_t size = 0;

	if (d->inflight_fd >= 0 || !d->b->ops->get_inflight || !__atomic_load_n(&d->link.wanted, __ATOMIC_RELAXED))
		return 0;
	for (uint32_t i = 0; i < d->n_queues; i++)
		size = VHI_MAX(size, d->queues[i].ring.num);
	if (!size)
		return 0;
	return without(d, d->b->ops->get_inflight(d->b->ctx, d->n_queues, size, &d->inflight, &d->inflight_fd),
		       &before);
}

int vhi_driver_inflight_set(struct vh_driver *d)
{
	struct vh_error before = vhi_driver_error_keep();

	if (d->inflight_fd < 0)
		return 0;
	return without(d, d->b->ops->set_inflight(d->b->ctx, &d->inflight, d->inflight_fd), &before);
}

int vhi_driver_inflight_clear(struct vh_driver *d, uint32_t index)
{
	static const char nothing[4096];
	const uint64_t each = d->inflight_fd < 0 ? 0 : d->inflight.mmap_size / d->inflight.num_queues;
	uint64_t done = 0;

	while (done < each) {
		const struct iovec iov = {.iov_base = (void *)(uintptr_t)nothing,
					  .iov_len = (size_t)VHI_MIN(each - done, sizeof(nothing))};
		const ssize_t n = vhi_sys.pwritev(d->inflight_fd, &iov, 1,
						  (off_t)(d->inflight.mmap_offset + each * index + done));

		if (n <= 0)
			return vhi_fail(n ? -errno : -EIO, VH_ERROR_SYSTEM, 0,
					"queue %u: its inflight records can't be cleared", index);
		done += (uint64_t)n;
	}
	return 0;
}
