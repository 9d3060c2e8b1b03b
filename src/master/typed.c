/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Requests of the back-end's that have a callback of their own. Each has a row: the protocol features that are acked when
 * the callbacks are there, what is checked beyond the message table, and the call.
 */
#include "vhi_master.h"

/* What @in says, for a callback. */
static struct vh_shmem_map map_of(const struct vhi_wire_mmap *w)
{
	return (struct vh_shmem_map){.size = sizeof(struct vh_shmem_map),
				     .shmid = w->shmid,
				     .fd_offset = w->fd_offset,
				     .shm_offset = w->shm_offset,
				     .len = w->len,
				     .flags = w->flags};
}

static int32_t call_shmem_map(struct vh_master *m, const struct vhi_msg *in, uint64_t token)
{
	struct vhi_wire_mmap w;
	struct vh_shmem_map map;

	memcpy(&w, in->payload, sizeof(w));
	map = map_of(&w);
	return m->ops.shmem_map(m->ctx, &map, in->fds[0], token);
}

static int32_t call_shmem_unmap(struct vh_master *m, const struct vhi_msg *in, uint64_t token)
{
	struct vhi_wire_mmap w;
	struct vh_shmem_map map;

	memcpy(&w, in->payload, sizeof(w));
	map = map_of(&w);
	return m->ops.shmem_unmap(m->ctx, &map, token);
}

static uint32_t check_notifier(struct vh_master *m, const struct vhi_msg *in)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct vhi_wire_vring_area area;

	memcpy(&area, in->payload, sizeof(area));
	/* A network device counts in pairs, and may have a control queue. */
	if (VHI_REFUSE(VHI_SITE_MASTER_NOTIFIER_QUEUE, (area.u64 & VHI_WIRE_VRING_INDEX) > 2 * (uint64_t)m->queue_num))
		return VHI_SITE_MASTER_NOTIFIER_QUEUE;
	if (VHI_REFUSE(VHI_SITE_MASTER_NOTIFIER_PAGE, in->n_fds && (area.size != page || area.offset % page ||
								    vhi_range_wraps(area.offset, area.size))))
		return VHI_SITE_MASTER_NOTIFIER_PAGE;
	return 0;
}

static int32_t call_notifier(struct vh_master *m, const struct vhi_msg *in, uint64_t token)
{
	struct vhi_wire_vring_area area;

	memcpy(&area, in->payload, sizeof(area));
	return m->ops.host_notifier(m->ctx, (uint32_t)(area.u64 & VHI_WIRE_VRING_INDEX), in->n_fds ? in->fds[0] : -1,
				    area.offset, area.size, token);
}

static int32_t call_added(struct vh_master *m, const struct vhi_msg *in, uint64_t token)
{
	return m->ops.object_added(m->ctx, in->payload, VH_UUID_LEN, token);
}

static int32_t call_removed(struct vh_master *m, const struct vhi_msg *in, uint64_t token)
{
	return m->ops.object_removed(m->ctx, in->payload, VH_UUID_LEN, token);
}

/* An fd is the reply, and lent for the time of the call. */
static int32_t call_wanted(struct vh_master *m, const struct vhi_msg *in, uint64_t token)
{
	const uint64_t found = 0;
	vh_fd fd = m->ops.object_wanted(m->ctx, in->payload, VH_UUID_LEN, token);

	if (fd < 0)
		return fd;
	return vhi_answer_give(m, token, 0, &found, sizeof(found), &fd, 1);
}

static int32_t call_fs(struct vh_master *m, const struct vhi_msg *in, uint64_t token)
{
	struct vh_fs_range ranges[VH_FS_MAX_RANGES];
	struct vhi_wire_fs fs;
	uint32_t n = 0;

	memcpy(&fs, in->payload, sizeof(fs));
	for (uint32_t i = 0; i < VH_FS_MAX_RANGES; i++)
		if (fs.len[i])
			ranges[n++] = (struct vh_fs_range){.fd_offset = fs.fd_offset[i],
							   .cache_offset = fs.cache_offset[i],
							   .len = fs.len[i],
							   .flags = fs.flags[i]};
	return m->ops.fs_request(m->ctx, in->header.request, ranges, n, in->n_fds ? in->fds[0] : -1, token);
}

#define OP(name) offsetof(struct vh_master_ops, name)

static const struct typed {
	size_t op;   /* that is called */
	size_t with; /* the feature is acked when this one is there too */
	uint64_t pf;
	uint32_t (*check)(struct vh_master *m, const struct vhi_msg *in); /* nullable; a site number, or 0 */
	int32_t (*call)(struct vh_master *m, const struct vhi_msg *in, uint64_t token);
} typed[] = {
	[VHI_BE_VRING_HOST_NOTIFIER_MSG] = {OP(host_notifier), OP(host_notifier),
					    VHI_BIT(VH_PF_HOST_NOTIFIER) | VHI_BIT(VH_PF_BACKEND_SEND_FD),
					    check_notifier, call_notifier},
	[VHI_BE_SHARED_OBJECT_ADD] = {OP(object_added), OP(object_removed), 0, NULL, call_added},
	[VHI_BE_SHARED_OBJECT_REMOVE] = {OP(object_removed), OP(object_added), 0, NULL, call_removed},
	[VHI_BE_SHARED_OBJECT_LOOKUP] = {OP(object_wanted), OP(object_added), VHI_BIT(VH_PF_SHARED_OBJECT), NULL,
					 call_wanted},
	[VHI_BE_SHMEM_MAP] = {OP(shmem_map), OP(shmem_unmap), VHI_BIT(VH_PF_SHMEM) | VHI_BIT(VH_PF_BACKEND_SEND_FD),
			      vhi_shmem_check_map, call_shmem_map},
	[VHI_BE_SHMEM_UNMAP] = {OP(shmem_unmap), OP(shmem_map), 0, vhi_shmem_check_unmap, call_shmem_unmap},
};

/* All requests of virtio-fs, which only some dialects have. */
static const struct typed fs = {OP(fs_request), OP(fs_request), VHI_BIT(VH_PF_BACKEND_SEND_FD), NULL, call_fs};

static bool has_op(const struct vh_master *m, size_t op)
{
	void (*fn)(void);

	memcpy(&fn, (const char *)&m->ops + op, sizeof(fn));
	return fn;
}

/* The row of a request whose callback is there, NULL for others. */
static const struct typed *row_of(const struct vh_master *m, uint32_t request)
{
	const struct typed *row = request < VHI_ARRAY_SIZE(typed)		  ? &typed[request]
				  : vhi_wire_in_dialect(request, m->opts.dialect) ? &fs
										  : NULL;

	return row && row->call && has_op(m, row->op) ? row : NULL;
}

bool vhi_typed_has(const struct vh_master *m, uint32_t request)
{
	return row_of(m, request);
}

uint64_t vhi_typed_pf(const struct vh_master *m)
{
	uint64_t pf = 0;

	for (uint32_t i = 0; i < VHI_ARRAY_SIZE(typed); i++)
		if (row_of(m, i) && has_op(m, typed[i].with))
			pf |= typed[i].pf;
	return row_of(m, VHI_BE_FS_MAP) ? pf | fs.pf : pf;
}

uint32_t vhi_typed_check(struct vh_master *m, const struct vhi_msg *in)
{
	const struct typed *row = row_of(m, in->header.request);

	return row && row->check ? row->check(m, in) : 0;
}

/* Changes of shared memory are noted before, because the answer may come from inside the callback. */
int32_t vhi_typed_call(struct vh_master *m, const struct vhi_msg *in, struct vhi_answer *owed)
{
	const uint32_t id = in->header.request;
	const bool shmem = id == VHI_BE_SHMEM_MAP || id == VHI_BE_SHMEM_UNMAP;
	struct vhi_wire_mmap map = {0};
	int32_t rc;

	if (shmem)
		memcpy(&map, in->payload, sizeof(map));
	if (shmem)
		vhi_shmem_begin(m, id, &map);
	if (shmem && owed)
		owed->map = map;
	rc = row_of(m, id)->call(m, in, owed ? owed->token : 0);
	if (shmem && !owed)
		vhi_shmem_end(m, id, &map, rc && rc != -EINPROGRESS);
	return rc;
}
