/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Memory. A change is prepared first, so that a bad table changes nothing. Then, where memory may be taken away, rings
 * take nothing new and requests in flight finish on what they point into; then the change is put in force, and the
 * answer waits until it is in force on every queue.
 */
#include "vhi_handlers.h"

enum { PHASE_QUIET, PHASE_MOVE, PHASE_SETTLE };

static enum vhi_outcome mem_done(struct vh_slave *s, struct vhi_job *job)
{
	vhi_vring_resume_all(s);
	vhi_events_raise(&s->events, VH_EVENT_MEMORY_CHANGED, VH_ERROR_NONE, 0, vh_snapshot_number(job->snap));
	if (job->answer == VHI_ANSWER_OWN)
		vhi_postcopy_echo(s, job, job->snap);
	vhi_snapshot_put(job->snap);
	job->snap = NULL;
	vhi_vring_configured_all(s);
	return VHI_DONE;
}

static enum vhi_outcome mem_step(struct vh_slave *s, struct vhi_job *job)
{
	/* value: memory may go away */
	if (job->phase == PHASE_QUIET) {
		if (job->value && !vhi_vring_quiet(s))
			return VHI_PENDING;
		vhi_mem_commit(s->mem, vhi_snapshot_get(job->snap));
		vhi_slave_iotlb_memory(s);
		vhi_vring_move_begin(s);
		job->phase = PHASE_MOVE;
	}
	if (job->phase == PHASE_MOVE) {
		if (!vhi_vring_move(s, job->snap))
			return VHI_PENDING;
		job->phase = PHASE_SETTLE;
	}
	return vhi_vring_settled(s) ? mem_done(s, job) : VHI_PENDING;
}

/* In postcopy the front-end has to learn our addresses. */
static void expect_echo(const struct vh_slave *s, const struct vhi_msg *m, struct vhi_job *job)
{
	if (s->conn.postcopy < VH_POSTCOPY_LISTENS)
		return;
	job->answer = VHI_ANSWER_OWN;
	vhi_reply(job, m->payload, m->header.size);
}

static enum vhi_outcome mem_change(struct vh_slave *s, struct vhi_job *job, int rc, bool removes)
{
	if (rc) {
		job->site = vhi_failed_site(rc);
		return VHI_REFUSED;
	}
	job->value = removes;
	job->phase = PHASE_QUIET;
	if (removes)
		vhi_vring_pause_all(s);
	return vhi_job_start(s, job, mem_step);
}

/* The region that begins @at in the payload. */
static struct vh_region region_at(const struct vh_slave *s, const struct vhi_msg *m, size_t at)
{
	struct vhi_wire_region w;
	struct vhi_wire_xen xen = {0};

	memcpy(&w, m->payload + at, sizeof(w));
	memcpy(&xen, m->payload + at + sizeof(w), vhi_wire_xen_size(&s->conn.f));
	return (struct vh_region){.gpa = w.gpa,
				  .uva = w.uva,
				  .len = w.size,
				  .offset = w.offset,
				  .map_flags = xen.flags,
				  .map_domain = xen.domain};
}

enum vhi_outcome vhi_handle_set_mem_table(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const size_t stride = sizeof(struct vhi_wire_region) + vhi_wire_xen_size(&s->conn.f);
	struct vh_region regions[VHI_WIRE_MAX_REGIONS];
	int rc;

	for (uint32_t i = 0; i < m->n_fds; i++)
		regions[i] = region_at(s, m, offsetof(struct vhi_wire_mem_table, regions) + i * stride);
	expect_echo(s, m, job);
	rc = vhi_mem_prepare_replace(s->mem, regions, m->fds, m->n_fds, &job->snap);
	return mem_change(s, job, rc, true);
}

static struct vh_region region_in(const struct vh_slave *s, const struct vhi_msg *m)
{
	return region_at(s, m, offsetof(struct vhi_wire_mem_reg, region));
}

enum vhi_outcome vhi_handle_add_mem_reg(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vh_region region = region_in(s, m);
	int rc;

	expect_echo(s, m, job);
	rc = vhi_mem_prepare_add(s->mem, &region, m->fds[0], &job->snap);
	return mem_change(s, job, rc, false);
}

enum vhi_outcome vhi_handle_rem_mem_reg(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vh_region region = region_in(s, m);
	int rc = vhi_mem_prepare_remove(s->mem, &region, &job->snap);

	return mem_change(s, job, rc, true);
}

enum vhi_outcome vhi_handle_get_max_mem_slots(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	(void)s;
	(void)m;
	return vhi_reply_u64(job, VH_MEM_MAX_REGIONS);
}
