/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The device's shared memory: which regions there are, and what is mapped in them. Who maps is the user; here it is seen to
 * that a place exists and is free, and that exactly what was mapped is unmapped.
 */
#include "vhi_master.h"

#define MAX_AREAS 1024u

struct vhi_shm_area {
	uint32_t shmid;
	bool leaving; /* it is being unmapped, which is asked for once */
	uint64_t offset;
	uint64_t len;
};

void vhi_shmem_sizes(struct vh_master *m, const void *payload)
{
	struct vhi_wire_shmem_config config;

	memcpy(&config, payload, sizeof(config));
	memcpy(m->shmem.sizes, config.sizes, sizeof(config.sizes));
}

static struct vhi_shm_area *find(struct vh_master *m, const struct vhi_wire_mmap *map, bool exact)
{
	for (uint32_t i = 0; i < m->shmem.n; i++) {
		struct vhi_shm_area *a = &m->shmem.areas[i];

		if (a->shmid != map->shmid)
			continue;
		if (exact ? a->offset == map->shm_offset && a->len == map->len
			  : a->offset < map->shm_offset + map->len && map->shm_offset < a->offset + a->len)
			return a;
	}
	return NULL;
}

uint32_t vhi_shmem_check_map(struct vh_master *m, const struct vhi_msg *in)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct vhi_wire_mmap map;
	uint64_t room;

	memcpy(&map, in->payload, sizeof(map));
	room = m->shmem.sizes[map.shmid];
	if (VHI_REFUSE(VHI_SITE_MASTER_SHMEM_REGION, map.len > room || map.shm_offset > room - map.len))
		return VHI_SITE_MASTER_SHMEM_REGION;
	if (VHI_REFUSE(VHI_SITE_MASTER_SHMEM_ALIGN, (map.fd_offset | map.shm_offset | map.len) % page))
		return VHI_SITE_MASTER_SHMEM_ALIGN;
	if (VHI_REFUSE(VHI_SITE_MASTER_SHMEM_FILE, vhi_range_wraps(map.fd_offset, map.len)))
		return VHI_SITE_MASTER_SHMEM_FILE;
	if (VHI_REFUSE(VHI_SITE_MASTER_SHMEM_OVERLAP, find(m, &map, false)))
		return VHI_SITE_MASTER_SHMEM_OVERLAP;
	if (!m->shmem.areas)
		m->shmem.areas = vhi_calloc(MAX_AREAS, sizeof(*m->shmem.areas));
	if (VHI_REFUSE(VHI_SITE_MASTER_SHMEM_FULL, !m->shmem.areas || m->shmem.n == MAX_AREAS))
		return VHI_SITE_MASTER_SHMEM_FULL;
	return 0;
}

uint32_t vhi_shmem_check_unmap(struct vh_master *m, const struct vhi_msg *in)
{
	const struct vhi_shm_area *a;
	struct vhi_wire_mmap map;

	memcpy(&map, in->payload, sizeof(map));
	a = find(m, &map, true);
	if (VHI_REFUSE(VHI_SITE_MASTER_SHMEM_EXACT, !a || a->leaving))
		return VHI_SITE_MASTER_SHMEM_EXACT;
	return 0;
}

/* The place is taken as soon as it is asked for, because the answer may come later. */
void vhi_shmem_begin(struct vh_master *m, uint32_t request, const struct vhi_wire_mmap *map)
{
	struct vhi_shm_area *a = request == VHI_BE_SHMEM_UNMAP ? find(m, map, true) : NULL;

	if (request == VHI_BE_SHMEM_MAP)
		m->shmem.areas[m->shmem.n++] = (struct vhi_shm_area){
			.shmid = map->shmid, .offset = map->shm_offset, .len = map->len};
	else if (a)
		a->leaving = true;
}

void vhi_shmem_end(struct vh_master *m, uint32_t request, const struct vhi_wire_mmap *map, bool refused)
{
	struct vhi_shm_area *a = find(m, map, true);

	if (!a)
		return;
	if (refused == (request == VHI_BE_SHMEM_MAP))
		*a = m->shmem.areas[--m->shmem.n];
	else if (refused)
		a->leaving = false;
}

void vhi_shmem_reset(struct vh_master *m)
{
	if (m->shmem.n)
		vhi_master_event(m, VH_EVENT_SHMEM_RESET, 0, m->shmem.n);
	m->shmem.n = 0;
}

static vh_count count_regions(const struct vhi_wire_shmem_config *config, uint64_t *sizes, uint32_t n)
{
	vh_count found = 0;

	for (uint32_t i = 0; i < VH_SHMEM_MAX; i++) {
		found += config->sizes[i] != 0;
		if (i < n)
			sizes[i] = config->sizes[i];
	}
	for (uint32_t i = VH_SHMEM_MAX; i < n; i++)
		sizes[i] = 0;
	return found;
}

vh_count vh_master_get_shmem(struct vh_master *m, uint64_t *sizes, uint32_t n)
{
	struct vhi_wire_shmem_config config;
	struct vhi_ticket *t;
	vh_count rc;

	if (m && n && !sizes)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_get_shmem: room for %u sizes, but NULL", n);
	rc = vhi_master_enter(m, "vh_master_get_shmem", VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	rc = vhi_master_call(m, &(struct vhi_request){.id = VHI_FE_GET_SHMEM_CONFIG}, &t);
	if (!rc) {
		memcpy(&config, t->payload, sizeof(config));
		rc = count_regions(&config, sizes, n);
		vhi_ticket_free(m, t);
	}
	return vhi_master_leave(m, rc);
}

static int take_object(const struct vhi_request *rq, struct vhi_ticket *t, vh_fd *fd)
{
	if (t->n_fds != 1)
		return vhi_fail_at(-EREMOTEIO, VH_ERROR_PEER, 0, VH_ERROR_NONE, rq->id,
				   "the back-end has no such object (a reply without an fd)");
	*fd = vhi_ticket_take_fd(t);
	return 0;
}

vh_rc vh_master_get_shared_object(struct vh_master *m, const void *uuid, uint32_t len, vh_fd *fd)
{
	const char *who = "vh_master_get_shared_object";
	const struct vhi_request rq = {.id = VHI_FE_GET_SHARED_OBJECT, .payload = uuid, .size = len};
	struct vhi_ticket *t;
	int rc;

	if (m && (!uuid || len != VH_UUID_LEN || !fd))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: NULL, or a uuid of %u bytes; it has %u", who, len,
				VH_UUID_LEN);
	rc = vhi_master_enter(m, who, VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	rc = vhi_master_call(m, &rq, &t);
	if (!rc) {
		rc = take_object(&rq, t, fd);
		vhi_ticket_free(m, t);
	}
	return vhi_master_leave(m, rc);
}
