/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What is shared with the back-end, on this connection. The wire names a region by its user address, which is a token:
 * no address of this process leaves it.
 */
#include "vhi_master.h"

static void forget(struct vh_master *m, uint32_t i)
{
	vhi_snapshot_put(m->shared[i].snap);
	m->shared[i] = m->shared[--m->n_shared];
}

void vhi_master_forget_memory(struct vh_master *m)
{
	while (m->n_shared)
		forget(m, m->n_shared - 1);
	vhi_postcopy_drop(m);
	vhi_snapshot_put(m->mem);
	m->mem = NULL;
}

/* With GPA_ADDRESSES there are no user addresses: that field says the guest address again. */
static struct vhi_wire_region describe(const struct vh_master *m, const struct vhi_region *r)
{
	return (struct vhi_wire_region){.gpa = r->gpa.v,
					.size = r->len,
					.uva = vhi_master_by_gpa(m) ? r->gpa.v : r->uva.v,
					.offset = r->offset};
}

/* A region in a message: with XEN_MMAP there is more behind it. The bytes that it has. */
static uint32_t put_region(const struct vh_master *m, uint8_t *to, const struct vhi_wire_region *r, uint32_t flags,
			   uint32_t domain)
{
	const struct vhi_wire_xen xen = {.flags = flags, .domain = domain};

	memcpy(to, r, sizeof(*r));
	memcpy(to + sizeof(*r), &xen, vhi_wire_xen_size(&m->features));
	return (uint32_t)sizeof(*r) + vhi_wire_xen_size(&m->features);
}

#define REGION_BYTES (sizeof(struct vhi_wire_region) + sizeof(struct vhi_wire_xen))

/* The list holds as many regions as a vh_mem can have, so remembering one can't fail. */
static int room(struct vh_master *m, const char *who)
{
	if (!m->shared)
		m->shared = vhi_calloc(VH_MEM_MAX_REGIONS, sizeof(*m->shared));
	return m->shared ? 0 : vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "%s: out of memory", who);
}

static void remember(struct vh_master *m, struct vh_snapshot *snap, uint32_t i)
{
	m->shared[m->n_shared++] = (struct vhi_shared){
		.wire = describe(m, snap->regions[i]), .region = snap->regions[i], .snap = vhi_snapshot_get(snap)};
}

static int region_fd(const struct vh_master *m, const struct vh_snapshot *snap, uint32_t i, const char *who, int *fd)
{
	*fd = vhi_snapshot_fd(snap, i);
	if (snap->regions[i]->map_flags && !vhi_wire_xen_size(&m->features))
		return vhi_fail(-EOPNOTSUPP, VH_ERROR_STATE, 0,
				"%s: region %u is memory of a Xen domain, and XEN_MMAP is not in force; ask for it by "
				"vh_master_opts.more_protocol_features",
				who, i);
	if (*fd >= 0)
		return 0;
	return vhi_fail(-EINVAL, VH_ERROR_MEMORY, 0, "%s: region %u has no file that could be shared", who, i);
}

static void added(struct vh_master *m, const struct vhi_effect *e, bool accepted)
{
	if (accepted)
		remember(m, e->snap, e->index);
}

static int add(struct vh_master *m, struct vh_snapshot *snap, uint32_t i, const char *who)
{
	const struct vhi_region *r = snap->regions[i];
	const struct vhi_wire_region w = describe(m, r);
	uint8_t p[offsetof(struct vhi_wire_mem_reg, region) + REGION_BYTES] = {0};
	const uint32_t size = offsetof(struct vhi_wire_mem_reg, region) +
			      put_region(m, p + offsetof(struct vhi_wire_mem_reg, region), &w, r->map_flags,
					 r->map_domain);
	int fd, rc = region_fd(m, snap, i, who, &fd);

	if (!rc && m->n_shared >= VHI_MIN(m->mem_slots, (uint32_t)VH_MEM_MAX_REGIONS))
		rc = vhi_fail(-ENOSPC, VH_ERROR_PEER, 0, "%s: the back-end has %u memory slots; use fewer regions", who,
			      m->mem_slots);
	if (rc)
		return rc;
	return vhi_master_call(m,
			       &(struct vhi_request){.id = VHI_FE_ADD_MEM_REG,
						     .reply = vhi_postcopy_reply(m),
						     .payload = p,
						     .size = size,
						     .fds = &fd,
						     .n_fds = 1,
						     .effect = {.run = added, .snap = snap, .index = i}},
			       NULL);
}

static void dropped(struct vh_master *m, const struct vhi_effect *e, bool accepted)
{
	for (uint32_t i = 0; accepted && i < m->n_shared; i++) {
		const struct vhi_wire_region *s = &m->shared[i].wire;

		if (s->gpa == e->region.gpa && s->uva == e->region.uva && s->size == e->region.size) {
			vhi_postcopy_forget(m, s->gpa);
			forget(m, i);
			return;
		}
	}
}

static int drop(struct vh_master *m, const struct vhi_wire_region *r, uint32_t map_flags, uint32_t map_domain)
{
	uint8_t p[offsetof(struct vhi_wire_mem_reg, region) + REGION_BYTES] = {0};
	const uint32_t size = offsetof(struct vhi_wire_mem_reg, region) +
			      put_region(m, p + offsetof(struct vhi_wire_mem_reg, region), r, map_flags, map_domain);

	return vhi_master_call(
		m,
		&(struct vhi_request){
			.id = VHI_FE_REM_MEM_REG, .payload = p, .size = size, .effect = {.run = dropped, .region = *r}},
		NULL);
}

static bool has(const struct vh_snapshot *snap, const struct vhi_region *r)
{
	for (uint32_t i = 0; i < snap->n; i++)
		if (snap->regions[i] == r)
			return true;
	return false;
}

static bool shares(const struct vh_master *m, const struct vhi_region *r)
{
	for (uint32_t i = 0; i < m->n_shared; i++)
		if (m->shared[i].region == r)
			return true;
	return false;
}

/* The difference. Removals come first: what is added may lie where they were. */
static int share_slots(struct vh_master *m, struct vh_snapshot *snap, const char *who)
{
	int rc;

	if (snap->n > m->mem_slots)
		return vhi_fail(-ENOSPC, VH_ERROR_PEER, 0,
				"%s: %u regions, and the back-end has %u memory slots; use fewer regions", who, snap->n,
				m->mem_slots);
	for (uint32_t i = 0; i < m->n_shared;) {
		if (has(snap, m->shared[i].region)) {
			i++;
			continue;
		}
		rc = drop(m, &m->shared[i].wire, m->shared[i].region->map_flags, m->shared[i].region->map_domain);
		if (rc)
			return rc;
	}
	for (uint32_t i = 0; i < snap->n; i++) {
		rc = shares(m, snap->regions[i]) ? 0 : add(m, snap, i, who);
		if (rc)
			return rc;
	}
	return 0;
}

static void table_set(struct vh_master *m, const struct vhi_effect *e, bool accepted)
{
	if (!accepted)
		return;
	while (m->n_shared)
		forget(m, m->n_shared - 1);
	for (uint32_t i = 0; i < e->snap->n; i++)
		remember(m, e->snap, i);
}

static int share_table(struct vh_master *m, struct vh_snapshot *snap, const char *who)
{
	uint8_t p[offsetof(struct vhi_wire_mem_table, regions) + VHI_WIRE_SEND_REGIONS * REGION_BYTES] = {0};
	uint32_t size = offsetof(struct vhi_wire_mem_table, regions);
	int rc = 0, fds[VHI_WIRE_SEND_REGIONS];

	if (snap->n > VHI_WIRE_SEND_REGIONS)
		return vhi_fail(-ENOSPC, VH_ERROR_PEER, 0,
				"%s: %u regions; a back-end without CONFIGURE_MEM_SLOTS takes %u", who, snap->n,
				VHI_WIRE_SEND_REGIONS);
	if (!snap->n)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: the memory has no regions; add one first", who);
	memcpy(p, &snap->n, sizeof(snap->n));
	for (uint32_t i = 0; i < snap->n && !rc; i++) {
		const struct vhi_region *r = snap->regions[i];
		const struct vhi_wire_region w = describe(m, r);

		size += put_region(m, p + size, &w, r->map_flags, r->map_domain);
		rc = region_fd(m, snap, i, who, &fds[i]);
	}
	if (rc)
		return rc;
	return vhi_master_call(m,
			       &(struct vhi_request){.id = VHI_FE_SET_MEM_TABLE,
						     .reply = vhi_postcopy_reply(m),
						     .payload = p,
						     .size = size,
						     .fds = fds,
						     .n_fds = snap->n,
						     .effect = {.run = table_set, .snap = snap}},
			       NULL);
}

/* The way in of a call that shares memory. What an interrupted one has done is known behind it. */
static int enter(struct vh_master *m, const struct vh_mem *mem, const char *who)
{
	int rc;

	if (m && !mem)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: mem is NULL", who);
	rc = vhi_master_enter(m, who, VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	rc = vhi_master_catch_up(m, who);
	if (!rc)
		rc = room(m, who);
	return rc ? vhi_master_leave(m, rc) : 0;
}

vh_rc vh_master_set_mem(struct vh_master *m, struct vh_mem *mem)
{
	const char *who = "vh_master_set_mem";
	struct vh_snapshot *snap;
	int rc;

	rc = enter(m, mem, who);
	if (rc)
		return rc;
	snap = vhi_mem_snapshot(mem);
	rc = vhi_postcopy_fits(m, snap, who);
	if (!rc)
		rc = m->features.pf_acked & VHI_BIT(VH_PF_CONFIGURE_MEM_SLOTS) ? share_slots(m, snap, who)
									       : share_table(m, snap, who);
	if (!rc)
		rc = vhi_postcopy_acknowledge(m);
	if (!rc && m->state == VHI_MASTER_CONNECTED) {
		vhi_snapshot_put(m->mem);
		m->mem = vhi_snapshot_get(snap);
	}
	vhi_snapshot_put(snap);
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_add_mem_region(struct vh_master *m, struct vh_mem *mem, uint32_t index)
{
	const char *who = "vh_master_add_mem_region";
	struct vh_snapshot *snap;
	int rc;

	rc = enter(m, mem, who);
	if (rc)
		return rc;
	snap = vhi_mem_snapshot(mem);
	if (index >= snap->n)
		rc = vhi_fail(-ENOENT, VH_ERROR_ARGUMENT, 0, "%s: region %u of %u", who, index, snap->n);
	else
		rc = vhi_postcopy_fits(m, snap, who);
	if (!rc)
		rc = add(m, snap, index, who);
	if (!rc)
		rc = vhi_postcopy_acknowledge(m);
	vhi_snapshot_put(snap);
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_remove_mem_region(struct vh_master *m, const struct vh_region *region)
{
	struct vhi_wire_region r;
	int rc;

	if (m && !region)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_remove_mem_region: region is NULL");
	rc = vhi_master_enter(m, "vh_master_remove_mem_region", VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	r = (struct vhi_wire_region){.gpa = region->gpa,
				     .size = region->len,
				     .uva = vhi_master_by_gpa(m) ? region->gpa : region->uva,
				     .offset = region->offset};
	rc = vhi_master_catch_up(m, "vh_master_remove_mem_region");
	return vhi_master_leave(m, rc ? rc : drop(m, &r, region->map_flags, region->map_domain));
}
