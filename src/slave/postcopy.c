/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Postcopy: the guest runs here already while its memory is still on its way. The front-end gets a userfaultfd of ours
 * and the addresses at which we map what it shares, so that it is told of the pages that we touch, and can bring them.
 */
#include "vhi_handlers.h"
#include "vhi_uffd.h"

bool vhi_postcopy_possible(void)
{
	int fd = vhi_uffd_open();
	const bool possible = fd >= 0;

	vhi_fd_close(&fd);
	return possible;
}

static void turn(struct vh_slave *s, uint32_t phase)
{
	s->conn.postcopy = phase;
	vhi_events_raise(&s->events, VH_EVENT_POSTCOPY, VH_ERROR_NONE, 0, phase);
}

static enum vhi_outcome refused(struct vhi_job *job, uint32_t site)
{
	job->site = site;
	return VHI_REFUSED;
}

enum vhi_outcome vhi_handle_postcopy_advise(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vhi_conn *c = &s->conn;

	(void)m;
	if (VHI_REFUSE(VHI_SITE_SLAVE_ADVISE_AGAIN, c->postcopy >= VH_POSTCOPY_LISTENS))
		return refused(job, VHI_SITE_SLAVE_ADVISE_AGAIN);
	vhi_fd_close(&c->uffd);
	c->uffd = vhi_uffd_open();
	job->reply_fd = c->uffd < 0 ? c->uffd : vhi_fd_dup(c->uffd);
	if (VHI_REFUSE(VHI_SITE_SLAVE_UFFD, job->reply_fd < 0)) {
		vhi_fd_close(&c->uffd);
		job->reply_fd = -1;
		return refused(job, VHI_SITE_SLAVE_UFFD);
	}
	turn(s, VH_POSTCOPY_ADVISED);
	return VHI_DONE;
}

enum vhi_outcome vhi_handle_postcopy_listen(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vh_snapshot *snap = vhi_mem_snapshot(s->mem);
	const bool shared = snap->n;

	(void)m;
	vhi_snapshot_put(snap);
	if (VHI_REFUSE(VHI_SITE_SLAVE_LISTEN_ORDER, s->conn.postcopy != VH_POSTCOPY_ADVISED))
		return refused(job, VHI_SITE_SLAVE_LISTEN_ORDER);
	/* What was shared before may have been touched: nobody would know which pages are missing. */
	if (VHI_REFUSE(VHI_SITE_SLAVE_LISTEN_LATE, shared))
		return refused(job, VHI_SITE_SLAVE_LISTEN_LATE);
	vhi_mem_watch(s->mem, s->conn.uffd);
	turn(s, VH_POSTCOPY_LISTENS);
	return VHI_DONE;
}

void vhi_postcopy_end(struct vh_slave *s)
{
	vhi_mem_watch(s->mem, -1);
	vhi_fd_close(&s->conn.uffd);
	s->conn.ack_deadline_ns = 0;
	if (s->conn.postcopy)
		turn(s, VH_POSTCOPY_OFF);
}

enum vhi_outcome vhi_handle_postcopy_end(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	(void)m;
	if (VHI_REFUSE(VHI_SITE_SLAVE_POSTCOPY_END, !s->conn.postcopy))
		return refused(job, VHI_SITE_SLAVE_POSTCOPY_END);
	vhi_postcopy_end(s);
	vhi_vring_configured_all(s);
	return vhi_reply_u64(job, 0);
}

bool vhi_postcopy_waits(const struct vh_slave *s)
{
	return s->conn.ack_deadline_ns;
}

void vhi_postcopy_echo(struct vh_slave *s, struct vhi_job *job, const struct vh_snapshot *snap)
{
	const size_t stride = sizeof(struct vhi_wire_region) + vhi_wire_xen_size(&s->conn.f);
	struct vhi_wire_region w;
	size_t at = job->header.request == VHI_FE_ADD_MEM_REG ? offsetof(struct vhi_wire_mem_reg, region)
							      : offsetof(struct vhi_wire_mem_table, regions);

	for (; at + stride <= job->reply_size; at += stride) {
		memcpy(&w, job->reply + at, sizeof(w));
		w.uva = (uintptr_t)vhi_find(snap, (struct vhi_gpa){w.gpa})->host;
		memcpy(job->reply + at, &w, sizeof(w));
	}
	/* From the last of several on: they are known when the front-end says so. */
	s->conn.ack_deadline_ns = vhi_now_ns() + s->opts.drain_timeout_ms * UINT64_C(1000000);
}

/*
 * Front-ends say it with the id of whatever they sent last (QEMU), and no fd, so that it would not pass as a message of
 * that id. It is known by the state, and by what is in it.
 */
bool vhi_postcopy_is_ack(const struct vh_slave *s, const struct vhi_msg *m)
{
	const uint32_t id = m->header.request;
	uint64_t value;

	if (!vhi_postcopy_waits(s) || m->header.size != sizeof(value) || m->n_fds)
		return false;
	memcpy(&value, m->payload, sizeof(value));
	return !value && (!id || id == VHI_FE_SET_MEM_TABLE || id == VHI_FE_ADD_MEM_REG || id == VHI_FE_REM_MEM_REG);
}

void vhi_postcopy_ack(struct vh_slave *s)
{
	s->conn.ack_deadline_ns = 0;
	turn(s, VH_POSTCOPY_SHARED);
	vhi_vring_configured_all(s);
}

void vhi_postcopy_expire(struct vh_slave *s, uint64_t now)
{
	if (!vhi_postcopy_waits(s) || now < s->conn.ack_deadline_ns)
		return;
	vhi_log_line(&s->log, VH_LOG_WARNING, "the front-end did not acknowledge our addresses within %u ms",
		     s->opts.drain_timeout_ms);
	s->conn.ack_deadline_ns = 0;
	vhi_conn_fail(s, -ETIMEDOUT);
}
