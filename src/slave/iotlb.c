/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Behind an IOMMU. What the front-end says of I/O addresses goes into the connection's IOTLB; what queues miss is asked for
 * on the back-end channel, and the answer comes as an update on the main one. Taking something back is answered when no
 * request uses it any more.
 */
#include "vh/message.h"
#include "vhi_handlers.h"

enum { IOTLB_MISS = 1, IOTLB_UPDATE = 2, IOTLB_FAIL = 4 };

int vhi_slave_iotlb_begin(struct vh_slave *s)
{
	const struct vh_iotlb_opts opts = {.size = sizeof(opts), .flags = VH_IOTLB_USER_ADDR | VH_IOTLB_EVICT};

	int rc;

	s->conn.iotlb = NULL;
	s->conn.unmapped = NULL;
	if (!(s->features & VHI_BIT(VH_F_ACCESS_PLATFORM)))
		return 0;
	s->conn.unmapped = vhi_calloc(1, sizeof(*s->conn.unmapped));
	rc = s->conn.unmapped ? vh_iotlb_new(&opts, s->mem, &s->conn.iotlb) : -ENOMEM;
	if (rc)
		vhi_slave_iotlb_end(s);
	return rc;
}

void vhi_slave_iotlb_end(struct vh_slave *s)
{
	vh_iotlb_free(s->conn.iotlb);
	vhi_free(s->conn.unmapped);
	s->conn.iotlb = NULL;
	s->conn.unmapped = NULL;
}

bool vhi_slave_behind(const struct vh_slave *s)
{
	return s->conn.f.acked & VHI_BIT(VH_F_ACCESS_PLATFORM);
}

/* What a driver maps after a reset is not what it mapped before, and nobody takes that back one by one. */
void vhi_slave_iotlb_forget(struct vh_slave *s)
{
	if (s->conn.iotlb && vhi_iotlb_clear(s->conn.iotlb))
		vhi_conn_fail(s, -ENOMEM);
}

void vhi_slave_iotlb_memory(struct vh_slave *s)
{
	if (s->conn.iotlb && vhi_iotlb_rebase(s->conn.iotlb))
		vhi_conn_fail(s, -ENOMEM);
}

/* 0, -ENOBUFS: later, or it can't be asked. */
static int ask(struct vh_slave *s, uint32_t type, uint64_t iova, uint32_t perm)
{
	const struct vhi_wire_iotlb msg = {.iova = iova, .perm = (uint8_t)perm, .type = (uint8_t)type};
	const struct vhi_ask ask = {.id = VHI_BE_IOTLB_MSG,
				    .reply = type == IOTLB_MISS ? VH_REPLY_TABLE : VH_REPLY_NONE,
				    .payload = &msg,
				    .size = sizeof(msg)};
	struct vhi_ticket *t;
	int rc = s->conn.back ? vhi_back_send(s, &ask, &t) : -ENOTCONN;

	if (!rc && t)
		t->abandoned = true;
	return rc;
}

static void ask_all(struct vh_slave *s)
{
	const uint64_t deadline = vhi_now_ns() + s->opts.drain_timeout_ms * UINT64_C(1000000);
	struct vh_iotlb_miss miss;

	while (vhi_iotlb_ask(s->conn.iotlb, deadline, &miss))
		if (ask(s, IOTLB_MISS, miss.iova, miss.perm) == -ENOBUFS) {
			vhi_iotlb_ask_again(s->conn.iotlb, miss.iova, miss.perm);
			return;
		}
}

void vhi_slave_iotlb_step(struct vh_slave *s)
{
	struct vh_iotlb_miss miss;

	if (!s->conn.iotlb)
		return;
	while (vhi_iotlb_expire(s->conn.iotlb, vhi_now_ns(), &miss)) {
		vhi_log_line(&s->log, VH_LOG_WARNING,
			     "the front-end did not say what I/O address 0x%llx is, within %u ms",
			     (unsigned long long)miss.iova, s->opts.drain_timeout_ms);
		vhi_events_raise(&s->events, VH_EVENT_IOTLB_TIMEOUT, VH_ERROR_NONE, -ETIMEDOUT, miss.iova);
	}
	if (s->conn.open && !s->conn.ending)
		ask_all(s);
}

void vhi_slave_iotlb_channel(struct vh_slave *s)
{
	if (s->conn.iotlb)
		vhi_iotlb_ask_all_again(s->conn.iotlb);
}

uint64_t vhi_slave_iotlb_deadline(const struct vh_slave *s)
{
	return s->conn.iotlb ? vhi_iotlb_deadline(s->conn.iotlb) : UINT64_MAX;
}

void vhi_slave_iotlb_refused(struct vh_slave *s, uint64_t iova)
{
	if (s->conn.iotlb)
		vh_iotlb_deny(s->conn.iotlb, iova);
}

void vhi_slave_iotlb_fault(struct vh_slave *s, uint32_t i)
{
	uint64_t iova;
	uint32_t perm;

	if (!vhi_queue_iotlb_fault(s->rings[i].q, &iova, &perm))
		return;
	vhi_events_raise(&s->events, VH_EVENT_IOTLB_FAULT, i, (int32_t)perm, iova);
	/* Some front-ends don't know what to do with it, and none answers. */
	ask(s, IOTLB_FAIL, iova, perm);
}

static enum vhi_outcome refused(struct vhi_job *job, uint32_t site)
{
	job->site = site;
	return VHI_REFUSED;
}

static enum vhi_outcome update(struct vh_slave *s, const struct vhi_wire_iotlb *msg, struct vhi_job *job)
{
	const struct vh_iotlb_entry e = {.iova = msg->iova, .len = msg->size, .addr = msg->uva, .perm = msg->perm};
	int rc = vh_iotlb_update(s->conn.iotlb, &e);

	return rc ? refused(job, vhi_failed_site(rc)) : vhi_reply_u64(job, 0);
}

/* What the range means up to now, which is what requests that were popped may use. */
static void note_range(struct vhi_tlb *t, uint64_t first, uint64_t last, struct vhi_unmapped *u)
{
	u->n = 0;
	u->all = t->lossy;
	for (uint32_t i = vhi_tlb_find(t, first); i < t->n && t->spans[i].iova <= last && !u->all; i++) {
		const struct vhi_tlb_span *span = &t->spans[i];
		const uint64_t from = VHI_MAX(first, span->iova), to = VHI_MIN(last, span->last);

		u->all = u->n == VHI_UNMAPPED_MAX;
		if (!u->all)
			u->ranges[u->n++] = (struct vh_seg){span->host + (from - span->iova), to - from + 1};
	}
}

static enum vhi_outcome invalidate_step(struct vh_slave *s, struct vhi_job *job)
{
	for (uint32_t i = 0; i < s->n_queues; i++)
		if (vhi_queue_unmapped(s->rings[i].q, s->conn.unmapped))
			return VHI_PENDING;
	for (uint32_t i = 0; i < s->n_queues; i++)
		vhi_queue_ctl(s->rings[i].q, VHI_CTL_UNWATCH, NULL);
	return vhi_reply_u64(job, 0);
}

static enum vhi_outcome invalidate(struct vh_slave *s, const struct vhi_wire_iotlb *msg, struct vhi_job *job)
{
	const uint64_t last = msg->size - 1 > UINT64_MAX - msg->iova ? UINT64_MAX : msg->iova + (msg->size - 1);
	struct vhi_tlb *before = vhi_iotlb_table(s->conn.iotlb);
	int rc;

	note_range(before, msg->iova, last, s->conn.unmapped);
	vhi_tlb_put(before);
	rc = vh_iotlb_invalidate(s->conn.iotlb, msg->iova, msg->size);
	if (rc)
		return refused(job, 0);
	if (!s->conn.unmapped->n && !s->conn.unmapped->all)
		return vhi_reply_u64(job, 0);
	for (uint32_t i = 0; i < s->n_queues; i++)
		vhi_queue_ctl(s->rings[i].q, VHI_CTL_IOTLB, NULL);
	return vhi_job_start(s, job, invalidate_step);
}

enum vhi_outcome vhi_handle_iotlb_msg(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job)
{
	struct vhi_wire_iotlb msg;

	memcpy(&msg, m->payload, sizeof(msg));
	/* The table let it pass, so ACCESS_PLATFORM is offered, and there is an IOTLB. */
	return msg.type == IOTLB_UPDATE ? update(s, &msg, job) : invalidate(s, &msg, job);
}
