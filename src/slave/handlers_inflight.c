/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Inflight records: a file for them is made here, and kept by the front-end alone until it gives it back. What is in it is
 * read when a ring starts.
 */
#include "vhi_handlers.h"

static enum vhi_outcome refused(struct vhi_job *job, uint32_t site)
{
	job->site = site;
	return VHI_REFUSED;
}

static struct vhi_wire_inflight payload(const struct vhi_msg *m)
{
	struct vhi_wire_inflight w = {0};

	memcpy(&w, m->payload, VHI_MIN((size_t)m->header.size, sizeof(w)));
	return w;
}

/* Room for no more than the device could use. 0, or the site. */
static uint32_t too_much(const struct vh_slave *s, const struct vhi_wire_inflight *w)
{
	if (VHI_REFUSE(VHI_SITE_SLAVE_INFLIGHT_QUEUES, w->num_queues > s->n_queues))
		return VHI_SITE_SLAVE_INFLIGHT_QUEUES;
	if (VHI_REFUSE(VHI_SITE_SLAVE_INFLIGHT_SIZE, w->queue_size > s->dev->opts.max_queue_size))
		return VHI_SITE_SLAVE_INFLIGHT_SIZE;
	return 0;
}

/* Before the driver chose a layout there has to be room for either. */
static uint64_t layout(const struct vh_slave *s)
{
	return s->conn.f.acked ? s->conn.f.acked : s->conn.f.offered;
}

enum vhi_outcome vhi_handle_get_inflight_fd(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vhi_wire_inflight w = payload(m);
	struct vh_inflight in = {.num_queues = w.num_queues, .queue_size = w.queue_size};
	const uint32_t site = too_much(s, &w);

	if (site)
		return refused(job, site);
	if (vhi_inflight_make(&in, layout(s), &job->reply_fd))
		return refused(job, 0);
	w.mmap_size = in.mmap_size;
	w.mmap_offset = in.mmap_offset;
	return vhi_reply(job, &w, sizeof(w));
}

void vhi_slave_set_inflight(struct vh_slave *s, struct vhi_inflight *file)
{
	vhi_inflight_put(s->conn.inflight);
	s->conn.inflight = file;
}

enum vhi_outcome vhi_handle_set_inflight_fd(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const struct vhi_wire_inflight w = payload(m);
	const struct vh_inflight in = {.num_queues = w.num_queues,
				       .queue_size = w.queue_size,
				       .mmap_size = w.mmap_size,
				       .mmap_offset = w.mmap_offset};
	uint32_t site = too_much(s, &w);
	struct vhi_inflight *file;
	int rc;

	if (site)
		return refused(job, site);
	if (VHI_REFUSE(VHI_SITE_SLAVE_INFLIGHT_RUNNING, vhi_vring_any_started(s)))
		return refused(job, VHI_SITE_SLAVE_INFLIGHT_RUNNING);
	if (VHI_REFUSE(VHI_SITE_SLAVE_INFLIGHT_SHORT,
		       in.mmap_size < in.num_queues * vhi_inflight_stride(in.queue_size, s->conn.f.acked)))
		return refused(job, VHI_SITE_SLAVE_INFLIGHT_SHORT);
	rc = vhi_inflight_open(&in, m->fds[0], s->opts.require_seal, &file);
	if (rc)
		return refused(job, vhi_failed_site(rc));
	vhi_slave_set_inflight(s, file);
	return VHI_DONE;
}
