/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A device behind an IOMMU: the back-end asks on its channel what an I/O address means, and the answer goes to it as a
 * request on the main one, before the question is acknowledged. So it may come while any reply is awaited.
 */
#include "vhi_master.h"

enum { IOTLB_MISS = 1, IOTLB_UPDATE, IOTLB_INVALIDATE };

bool vhi_master_behind(const struct vh_master *m)
{
	return m->features.acked & VHI_BIT(VH_F_ACCESS_PLATFORM);
}

bool vhi_master_knows_iova(const struct vh_master *m)
{
	return m->map || m->ops.iotlb_miss;
}

static struct vhi_request request(struct vhi_wire_iotlb *msg)
{
	return (struct vhi_request){.id = VHI_FE_IOTLB_MSG, .payload = msg, .size = sizeof(*msg)};
}

static struct vhi_wire_iotlb message(const struct vh_iotlb_entry *e, uint32_t type)
{
	return (struct vhi_wire_iotlb){
		.iova = e->iova, .size = e->len, .uva = e->addr, .perm = (uint8_t)e->perm, .type = (uint8_t)type};
}

/* Whoever asked waits for it on the other side; here nobody does. */
static int send_only(struct vh_master *m, struct vhi_wire_iotlb *msg)
{
	const struct vhi_request rq = request(msg);
	struct vhi_ticket *t;
	int rc = vhi_master_send(m, &rq, &t);

	if (!rc && t)
		t->abandoned = true;
	return rc;
}

/* It has a reply of its own, which says 0 when all is well. */
static int send_and_wait(struct vh_master *m, struct vhi_wire_iotlb *msg)
{
	const struct vhi_request rq = request(msg);
	uint64_t status;
	int rc = vhi_master_call_u64(m, &rq, &status);

	if (rc || !status)
		return rc;
	return vhi_fail_at(-EREMOTEIO, VH_ERROR_PEER, 0, VH_ERROR_NONE, VHI_FE_IOTLB_MSG,
			   "the back-end refused IOTLB_MSG (%llu)", (unsigned long long)status);
}

vh_rc vh_master_iotlb_update(struct vh_master *m, const struct vh_iotlb_entry *entry)
{
	struct vhi_wire_iotlb msg;
	int rc;

	if (m && (!entry || !entry->len || !entry->perm || entry->perm > 3 || entry->flags ||
		  vhi_range_wraps(entry->iova, entry->len) || vhi_range_wraps(entry->addr, entry->len)))
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_master_iotlb_update: give an entry with len above 0, perm of VH_MEM_*, flags 0, whose "
			"ranges don't wrap");
	rc = vhi_master_enter(m, "vh_master_iotlb_update", VHI_CALL_INSIDE | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	msg = message(entry, IOTLB_UPDATE);
	return vhi_master_leave(m, m->serving ? send_only(m, &msg) : send_and_wait(m, &msg));
}

vh_rc vh_master_iotlb_invalidate(struct vh_master *m, vh_iova iova, uint64_t len)
{
	struct vhi_wire_iotlb msg = {.iova = iova, .size = len, .type = IOTLB_INVALIDATE};
	int rc;

	if (m && !len)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_iotlb_invalidate: len is 0");
	rc = vhi_master_enter(m, "vh_master_iotlb_invalidate", VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	return rc ? rc : vhi_master_leave(m, send_and_wait(m, &msg));
}

vh_rc vh_master_set_iotlb(struct vh_master *m, struct vh_iotlb *map)
{
	int rc = vhi_master_enter(m, "vh_master_set_iotlb", VHI_CALL_INSIDE);

	if (rc)
		return rc;
	vhi_iotlb_get(map);
	vhi_iotlb_put(m->map);
	m->map = map;
	return vhi_master_leave(m, 0);
}

int vhi_master_map(struct vh_master *m, const struct vh_iotlb_entry *e)
{
	int rc = m->map ? 0 : vh_iotlb_new(NULL, NULL, &m->map);

	return rc ? rc : vh_iotlb_update(m->map, e);
}

int vhi_master_unmap(struct vh_master *m, uint64_t iova, uint64_t len)
{
	return m->map ? vh_iotlb_invalidate(m->map, iova, len) : 0;
}

/* As much of an entry of guest addresses as lies in one shared region, around this I/O address. False: nothing. */
static bool to_user_address(const struct vh_master *m, uint64_t iova, struct vh_iotlb_entry *e)
{
	const struct vhi_region *r = m->mem ? vhi_iotlb_cut(m->mem, iova, e) : NULL;

	if (!r)
		return false;
	e->addr = r->uva.v + (e->addr - r->gpa.v);
	return true;
}

static bool look_up(const struct vh_master *m, uint64_t iova, struct vh_iotlb_entry *e)
{
	return m->map && vhi_iotlb_lookup(m->map, iova, e) && (vhi_iotlb_by_uva(m->map) || to_user_address(m, iova, e));
}

static int32_t ask_user(struct vh_master *m, const struct vhi_wire_iotlb *miss)
{
	int32_t rc;

	m->serving = m->gate.depth;
	rc = m->ops.iotlb_miss(m->ctx, miss->iova, miss->perm);
	m->serving = 0;
	/* Later is as good as now: no token goes with it that could be answered, and others wait behind the question. */
	if (rc == -EINPROGRESS)
		return 0;
	return rc > 0 ? -EINVAL : rc;
}

int32_t vhi_master_iotlb(struct vh_master *m, const struct vhi_msg *in)
{
	struct vh_iotlb_entry e;
	struct vhi_wire_iotlb miss, answer;
	bool known;

	memcpy(&miss, in->payload, sizeof(miss));
	/* What it must not do breaks its queue; there is nothing to do about it here. */
	if (miss.type != IOTLB_MISS)
		return 0;
	known = look_up(m, miss.iova, &e);
	if (!known && m->ops.iotlb_miss)
		return ask_user(m, &miss);
	if (VHI_REFUSE(VHI_SITE_MASTER_IOTLB_UNKNOWN, !known)) {
		vhi_log_line(&m->log, VH_LOG_WARNING, "the back-end asks what I/O address 0x%llx is, and it is nothing",
			     (unsigned long long)miss.iova);
		return -EFAULT;
	}
	answer = message(&e, IOTLB_UPDATE);
	return send_only(m, &answer);
}
