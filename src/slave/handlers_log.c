/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The dirty log of a migration. Three messages decide whether a ring logs and where: SET_LOG_BASE gives the log,
 * SET_FEATURES with LOG_ALL switches it on, and the flag in SET_VRING_ADDR includes the ring itself. Any of them is
 * answered when it is in force on every queue.
 */
#include "vhi_handlers.h"

struct vhi_queue_log vhi_vring_log(const struct vh_slave *s, const struct vhi_vring *r)
{
	const bool on = s->conn.f.acked & VHI_BIT(VH_F_LOG_ALL);

	return (struct vhi_queue_log){
		.dirty = on ? s->conn.log : NULL, .used = r->addr.flags & VH_VRING_LOG, .used_gpa = r->addr.log};
}

void vhi_vring_relog(struct vh_slave *s, uint32_t i)
{
	const struct vhi_queue_log log = vhi_vring_log(s, &s->rings[i]);

	if (vhi_vring_started(&s->rings[i]))
		vhi_queue_set_log(s->rings[i].q, &log);
}

void vhi_vring_relog_all(struct vh_slave *s)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		vhi_vring_relog(s, i);
}

/* Takes the reference over. */
static void replace(struct vh_slave *s, struct vh_dirty *log)
{
	vhi_dirty_put(s->conn.log);
	s->conn.log = log;
	s->conn.log_told = false;
	vhi_vring_relog_all(s);
}

void vhi_log_end(struct vh_slave *s)
{
	vhi_dirty_put(s->conn.log);
	s->conn.log = NULL;
	vhi_fd_close(&s->conn.log_call);
}

void vhi_log_check(struct vh_slave *s)
{
	struct vhi_conn *c = &s->conn;
	struct vh_dirty_info info = {.size = sizeof(info)};

	if (!c->log || c->log_told || !vhi_dirty_incomplete(c->log))
		return;
	c->log_told = true;
	vh_dirty_get_info(c->log, &info);
	vhi_log_line(&s->log, VH_LOG_WARNING, "the dirty log is incomplete: %s; the migrated memory will be wrong",
		     info.broken ? "its file was truncated" : "it has no bit for a page that was written");
	vhi_events_raise(&s->events, VH_EVENT_DIRTY_LOST, VH_ERROR_NONE, info.broken ? -EFAULT : -ERANGE, info.lost);
}

static enum vhi_outcome refused(struct vhi_job *job, uint32_t site)
{
	job->site = site;
	return VHI_REFUSED;
}

/* All memory that is shared at this moment. */
static bool covers(struct vh_slave *s, const struct vh_dirty *log)
{
	struct vh_snapshot *snap = vhi_mem_snapshot(s->mem);
	const struct vhi_span *last = snap->n ? &snap->spans[snap->n - 1] : NULL;
	const bool all = !last || last->gpa + (last->len - 1) < vhi_dirty_end(log);

	vhi_snapshot_put(snap);
	return all;
}

enum vhi_outcome vhi_handle_set_log_base(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vh_dirty *log, *with_call;
	struct vhi_wire_log at = {0};
	int rc;

	memcpy(&at, m->payload, VHI_MIN(m->header.size, sizeof(at)));
	if (VHI_REFUSE(VHI_SITE_SLAVE_LOG_SHMFD, !vhi_slave_acked(s, VH_PF_LOG_SHMFD) || !m->n_fds))
		return refused(job, VHI_SITE_SLAVE_LOG_SHMFD);
	rc = vhi_dirty_open(m->fds[0], at.mmap_offset, at.mmap_size, s->opts.require_seal, &log);
	if (rc)
		return refused(job, vhi_failed_site(rc));
	if (VHI_REFUSE(VHI_SITE_SLAVE_LOG_SHORT, !covers(s, log))) {
		vhi_dirty_put(log);
		return refused(job, VHI_SITE_SLAVE_LOG_SHORT);
	}
	rc = vhi_dirty_with_call(log, s->conn.log_call, &with_call);
	vhi_dirty_put(log);
	if (rc)
		return refused(job, 0);
	replace(s, with_call);
	/* Front-ends differ in what they expect. The echo is right for all that look at it. */
	vhi_reply(job, &at, sizeof(at));
	return vhi_job_start(s, job, vhi_step_settled);
}

enum vhi_outcome vhi_handle_set_log_fd(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vh_dirty *log;

	if (VHI_REFUSE(VHI_SITE_SLAVE_LOG_FD_KIND, !vhi_queue_is_eventfd(m->fds[0])))
		return refused(job, VHI_SITE_SLAVE_LOG_FD_KIND);
	vhi_fd_close(&s->conn.log_call);
	s->conn.log_call = m->fds[0];
	m->fds[0] = -1;
	if (!s->conn.log)
		return VHI_DONE;
	if (vhi_dirty_with_call(s->conn.log, s->conn.log_call, &log))
		return refused(job, 0);
	replace(s, log);
	return vhi_job_start(s, job, vhi_step_settled);
}
