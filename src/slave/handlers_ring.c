/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Messages about one ring. */
#include "vhi_handlers.h"

static enum vhi_outcome refused(struct vhi_job *job, uint32_t site)
{
	job->site = site;
	return VHI_REFUSED;
}

/* The only way from a number in a message to a ring. NULL: refused. */
static struct vhi_vring *ring_at(struct vh_slave *s, uint32_t index, struct vhi_job *job)
{
	if (VHI_REFUSE(VHI_SITE_SLAVE_QUEUE, index >= s->n_queues)) {
		refused(job, VHI_SITE_SLAVE_QUEUE);
		return NULL;
	}
	if (index >= s->n_queues)
		index = 0; /* only when the check is switched off by a test */
	job->queue = index;
	return &s->rings[index];
}

static struct vhi_vring *ring_of_state(struct vh_slave *s, const struct vhi_msg *m, struct vhi_job *job,
				       struct vhi_wire_vring_state *state)
{
	memcpy(state, m->payload, sizeof(*state));
	return ring_at(s, state->index, job);
}

static enum vhi_outcome after(uint32_t site, struct vhi_job *job)
{
	return site ? refused(job, site) : VHI_DONE;
}

enum vhi_outcome vhi_handle_set_vring_num(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vhi_wire_vring_state state;
	struct vhi_vring *r = ring_of_state(s, m, job, &state);

	if (!r)
		return VHI_REFUSED;
	if (VHI_REFUSE(VHI_SITE_SLAVE_NUM_RUNNING, vhi_vring_started(r)))
		return refused(job, VHI_SITE_SLAVE_NUM_RUNNING);
	if (VHI_REFUSE(VHI_SITE_SLAVE_NUM_RANGE, !state.num || state.num > s->dev->opts.max_queue_size))
		return refused(job, VHI_SITE_SLAVE_NUM_RANGE);
	if (VHI_REFUSE(VHI_SITE_SLAVE_NUM_POWER, !vhi_ring_num_fits(state.num, s->conn.f.acked)))
		return refused(job, VHI_SITE_SLAVE_NUM_POWER);
	r->num = state.num;
	return after(vhi_vring_event(s, job->queue, VHI_VRING_CONFIGURED), job);
}

/* What may change while the ring runs: whether and where writes to the used ring are logged. */
static bool same_ring(const struct vh_vring_addr *a, const struct vh_vring_addr *b)
{
	return a->desc == b->desc && a->used == b->used && a->avail == b->avail;
}

static bool in_memory(struct vh_slave *s, const struct vh_vring_addr *addr, uint32_t num)
{
	struct vh_snapshot *snap = vhi_mem_snapshot(s->mem);
	struct vhi_gpa at[3];
	bool there = !num || !snap->n || vhi_vring_locate(s, snap, addr, num, at);

	vhi_snapshot_put(snap);
	return there;
}

/* Where the used ring is in the dirty log. The size of the ring may not be known yet; then it is one entry at least. */
static bool log_refused(const struct vh_slave *s, const struct vhi_vring *r, const struct vh_vring_addr *addr,
			struct vhi_job *job)
{
	const uint64_t len = vhi_ring_used_len(r->num ? r->num : 1, s->conn.f.acked);

	if (!(addr->flags & VH_VRING_LOG))
		return false;
	if (VHI_REFUSE(VHI_SITE_SLAVE_ADDR_LOG, addr->log & 3 || vhi_range_wraps(addr->log, len))) {
		job->site = VHI_SITE_SLAVE_ADDR_LOG;
		return true;
	}
	if (VHI_REFUSE(VHI_SITE_SLAVE_ADDR_LOG_RANGE, s->conn.log && addr->log + len > vhi_dirty_end(s->conn.log))) {
		job->site = VHI_SITE_SLAVE_ADDR_LOG_RANGE;
		return true;
	}
	return false;
}

enum vhi_outcome vhi_handle_set_vring_addr(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	const uint64_t avail_align = s->conn.f.acked & VHI_BIT(VH_F_RING_PACKED) ? 4 : 2;
	struct vh_vring_addr addr;
	struct vhi_vring *r;

	memcpy(&addr, m->payload, sizeof(addr));
	r = ring_at(s, addr.index, job);
	if (!r)
		return VHI_REFUSED;
	if (VHI_REFUSE(VHI_SITE_SLAVE_ADDR_ALIGN, addr.desc & 15 || addr.avail & (avail_align - 1) || addr.used & 3))
		return refused(job, VHI_SITE_SLAVE_ADDR_ALIGN);
	if (VHI_REFUSE(VHI_SITE_SLAVE_ADDR_RUNNING, vhi_vring_started(r) && !same_ring(&addr, &r->addr)))
		return refused(job, VHI_SITE_SLAVE_ADDR_RUNNING);
	/* What is missing may still come, and is looked at when the ring starts; what is there has to fit. */
	if (VHI_REFUSE(VHI_SITE_SLAVE_ADDR_MEMORY, !vhi_vring_started(r) && !in_memory(s, &addr, r->num)))
		return refused(job, VHI_SITE_SLAVE_ADDR_MEMORY);
	if (log_refused(s, r, &addr, job))
		return VHI_REFUSED;
	r->addr = addr;
	r->has_addr = true;
	if (vhi_vring_started(r)) {
		vhi_vring_relog(s, job->queue);
		return vhi_job_start(s, job, vhi_step_settled);
	}
	return after(vhi_vring_event(s, job->queue, VHI_VRING_CONFIGURED), job);
}

enum vhi_outcome vhi_handle_set_vring_base(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vhi_wire_vring_state state;
	struct vhi_vring *r = ring_of_state(s, m, job, &state);

	if (!r)
		return VHI_REFUSED;
	if (VHI_REFUSE(VHI_SITE_SLAVE_BASE_RUNNING, vhi_vring_started(r)))
		return refused(job, VHI_SITE_SLAVE_BASE_RUNNING);
	/* Before the size came, it is looked at when the ring starts. */
	if (VHI_REFUSE(VHI_SITE_SLAVE_BASE_RANGE,
		       r->num && !vhi_ring_base_fits(r->num, s->conn.f.acked, vhi_vring_base_of(s, state.num))))
		return refused(job, VHI_SITE_SLAVE_BASE_RANGE);
	r->base = state.num;
	r->has_base = true;
	return VHI_DONE;
}

static enum vhi_outcome get_base_step(struct vh_slave *s, struct vhi_job *job)
{
	struct vhi_vring *r = &s->rings[job->queue];
	struct vhi_wire_vring_state reply = {.index = job->queue};

	vhi_vring_event(s, job->queue, VHI_VRING_DRAINED);
	if (r->state == VHI_VRING_DRAINING || vhi_queue_parked(r->q))
		return VHI_PENDING;
	reply.num = vhi_vring_base(s, r);
	return vhi_reply(job, &reply, sizeof(reply));
}

static enum vhi_outcome get_base(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job, enum vhi_vring_event how)
{
	struct vhi_wire_vring_state state;

	if (!ring_of_state(s, m, job, &state))
		return VHI_REFUSED;
	vhi_vring_event(s, job->queue, how);
	return vhi_job_start(s, job, get_base_step);
}

/* There is one byte order for rings in here, so the other can't be had; to ask for this one is no wish at all. */
enum vhi_outcome vhi_handle_set_vring_endian(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vhi_wire_vring_state state;

	if (!ring_of_state(s, m, job, &state))
		return VHI_REFUSED;
	if (VHI_REFUSE(VHI_SITE_SLAVE_ENDIAN, state.num))
		return refused(job, VHI_SITE_SLAVE_ENDIAN);
	return VHI_DONE;
}

/* Also with GET_VRING_BASE_INFLIGHT, by which requests may stay in the records: those that are waited for do no harm. */
enum vhi_outcome vhi_handle_get_vring_base(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	return get_base(s, m, job, VHI_VRING_STOP);
}

enum vhi_outcome vhi_handle_get_vring_base_skip_drain(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	return get_base(s, m, job, VHI_VRING_PARK);
}

/* Index and fd of KICK, CALL and ERR; the fd is taken out of the message. */
static struct vhi_vring *ring_fd(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job, int *fd)
{
	struct vhi_vring *r;
	uint64_t value;

	memcpy(&value, m->payload, sizeof(value));
	r = ring_at(s, value & VHI_WIRE_VRING_INDEX, job);
	*fd = -1;
	if (r && m->n_fds && !(value & VHI_WIRE_VRING_NOFD)) {
		*fd = m->fds[0];
		m->fds[0] = -1;
	}
	return r;
}

enum vhi_outcome vhi_handle_set_vring_kick(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	int fd, rc;
	struct vhi_vring *r = ring_fd(s, m, job, &fd);

	if (!r)
		return VHI_REFUSED;
	rc = vhi_vring_set_kick(s, job->queue, fd);
	if (rc)
		return refused(job, vhi_failed_site(rc));
	r->serve.polled = fd < 0 && !vhi_slave_acked(s, VH_PF_INBAND_NOTIFICATIONS);
	return after(vhi_vring_event(s, job->queue, VHI_VRING_KICK_MSG), job);
}

/* It starts a ring, like a kick fd; the ring is looked at in either case. */
enum vhi_outcome vhi_handle_vring_kick(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vhi_wire_vring_state state;

	if (!ring_of_state(s, m, job, &state))
		return VHI_REFUSED;
	return after(vhi_vring_event(s, job->queue, VHI_VRING_KICK_MSG), job);
}

static enum vhi_outcome set_fd(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job, enum vhi_queue_fd which)
{
	int fd, rc;
	struct vhi_vring *r = ring_fd(s, m, job, &fd);

	if (!r)
		return VHI_REFUSED;
	rc = vhi_queue_set_fd(r->q, which, fd);
	return rc ? refused(job, vhi_failed_site(rc)) : VHI_DONE;
}

enum vhi_outcome vhi_handle_set_vring_call(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	return set_fd(s, m, job, VHI_QUEUE_CALL);
}

enum vhi_outcome vhi_handle_set_vring_err(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	return set_fd(s, m, job, VHI_QUEUE_ERR);
}

enum vhi_outcome vhi_handle_set_vring_enable(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vhi_wire_vring_state state;

	if (!ring_of_state(s, m, job, &state))
		return VHI_REFUSED;
	vhi_vring_enable(s, job->queue, state.num);
	return vhi_job_start(s, job, vhi_step_settled);
}
