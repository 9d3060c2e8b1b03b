/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What I/O addresses of a vDPA device mean: messages through its file, and a memory as a whole. */
#include "vhi_vdpa.h"

#define FEATURE(v, bit) ((v)->backend_features & VHI_BIT(bit))

static int message(struct vh_vdpa *v, uint32_t asid, const struct vhi_vhost_iotlb_msg *iotlb, const char *what)
{
	struct vhi_vhost_msg_v2 m = {.type = VHI_VHOST_IOTLB_MSG_V2, .asid = asid};
	ssize_t n;
	int code;

	m.iotlb = *iotlb;
	n = vhi_sys.write(v->fd, &m, sizeof(m));
	if (n == (ssize_t)sizeof(m))
		return 0;
	code = n < 0 ? errno : EIO;
	return vhi_fail(
		-code, VH_ERROR_SYSTEM, 0, "%s: %s 0x%llx with %llu bytes in address space %u of %.60s: %s%s", v->who,
		what, (unsigned long long)iotlb->iova, (unsigned long long)iotlb->size, asid, v->node,
		vh_error_name(code),
		code == EFAULT
			? ": an overlap, beyond the range, RLIMIT_MEMLOCK, no owner, or the memory lies in more pieces "
			  "than max_iotlb_entries of the module vhost (2048): huge pages make few of them"
			: "");
}

static int map_one(struct vh_vdpa *v, uint32_t asid, const struct vhi_vdpa_map *m, uint32_t perm)
{
	const struct vhi_vhost_iotlb_msg msg = {
		.iova = m->iova,
		.size = m->len,
		.uaddr = m->host,
		.perm = (uint8_t)perm,
		.type = VHI_VHOST_IOTLB_UPDATE,
	};

	return message(v, asid, &msg, "mapping");
}

static int unmap_one(struct vh_vdpa *v, uint32_t asid, uint64_t iova, uint64_t len)
{
	const struct vhi_vhost_iotlb_msg msg = {.iova = iova, .size = len, .type = VHI_VHOST_IOTLB_INVALIDATE};

	return message(v, asid, &msg, "unmapping");
}

static int batch(struct vh_vdpa *v, uint32_t asid, bool on)
{
	const struct vhi_vhost_iotlb_msg msg = {.type = on ? VHI_VHOST_IOTLB_BATCH_BEGIN : VHI_VHOST_IOTLB_BATCH_END};

	return message(v, asid, &msg, on ? "beginning a change at" : "ending a change at");
}

/* What the file has to know of a message. */
static int check(struct vh_vdpa *v, uint32_t asid, uint32_t bit)
{
	if (!FEATURE(v, VH_VDPA_BF_MSG_V2) || (asid && !FEATURE(v, VH_VDPA_BF_ASID)) || (bit && !FEATURE(v, bit)))
		return vhi_fail(
			-EINVAL, VH_ERROR_STATE, 0,
			"%s: vh_vdpa_set_backend_features() comes first: MSG_V2, ASID for an address space that is "
			"not 0, BATCH for a batch",
			v->who);
	return 0;
}

static int range(struct vh_vdpa *v)
{
	struct vhi_vhost_vdpa_iova_range r = {0, UINT64_MAX};

	if (v->has_range)
		return 0;
	vhi_error_mute(true);
	(void)vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_GET_IOVA_RANGE, &r, VH_ERROR_NONE);
	vhi_error_mute(false);
	v->first = r.first;
	v->last = r.last;
	v->has_range = true;
	return 0;
}

static int check_range(struct vh_vdpa *v, uint64_t iova, uint64_t len)
{
	uint64_t end;

	range(v);
	if (!len || vhi_add_wraps(iova, len - 1, &end))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: 0x%llx with %llu bytes is no range", v->who,
				(unsigned long long)iova, (unsigned long long)len);
	if (iova >= v->first && end <= v->last)
		return 0;
	return vhi_fail(-ERANGE, VH_ERROR_MEMORY, 0,
			"%s: 0x%llx with %llu bytes is outside of the I/O addresses of %.60s, 0x%llx to 0x%llx", v->who,
			(unsigned long long)iova, (unsigned long long)len, v->node, (unsigned long long)v->first,
			(unsigned long long)v->last);
}

vh_rc vh_vdpa_map(struct vh_vdpa *v, uint32_t asid, vh_iova iova, uint64_t len, uint64_t host, uint32_t perm)
{
	const struct vhi_vdpa_map m = {.iova = iova, .len = len, .host = host};
	int rc = vhi_vdpa_enter(v, "vh_vdpa_map");

	if (rc)
		return rc;
	rc = check(v, asid, 0);
	rc = rc ? rc : check_range(v, iova, len);
	if (!rc && (!host || !perm || perm & ~3u))
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: no memory, or perm is 0x%x", v->who, perm);
	return vhi_vdpa_leave(v, rc ? rc : map_one(v, asid, &m, perm));
}

vh_rc vh_vdpa_unmap(struct vh_vdpa *v, uint32_t asid, vh_iova iova, uint64_t len)
{
	int rc = vhi_vdpa_enter(v, "vh_vdpa_unmap");

	if (rc)
		return rc;
	rc = check(v, asid, 0);
	rc = rc ? rc : check_range(v, iova, len);
	return vhi_vdpa_leave(v, rc ? rc : unmap_one(v, asid, iova, len));
}

vh_rc vh_vdpa_batch(struct vh_vdpa *v, uint32_t asid, uint32_t on)
{
	int rc = vhi_vdpa_enter(v, "vh_vdpa_batch");

	if (rc)
		return rc;
	rc = check(v, asid, VH_VDPA_BF_BATCH);
	return vhi_vdpa_leave(v, rc ? rc : batch(v, asid, on));
}

static struct vhi_vdpa_map of_region(const struct vhi_region *r)
{
	return (struct vhi_vdpa_map){.iova = r->gpa.v, .len = r->len, .host = (uintptr_t)r->host};
}

static bool same(const struct vhi_vdpa_map *a, const struct vhi_vdpa_map *b)
{
	return a->iova == b->iova && a->len == b->len && a->host == b->host;
}

static bool is_in(const struct vhi_vdpa_map *m, const struct vh_snapshot *mem)
{
	struct vhi_vdpa_map r;

	for (uint32_t i = 0; mem && i < mem->n; i++) {
		r = of_region(mem->regions[i]);
		if (same(m, &r))
			return true;
	}
	return false;
}

static bool is_mapped(const struct vh_vdpa *v, const struct vhi_vdpa_map *m)
{
	for (uint32_t i = 0; i < v->n_maps; i++)
		if (same(&v->maps[i], m))
			return true;
	return false;
}

static int take_away(struct vh_vdpa *v, const struct vh_snapshot *mem)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < v->n_maps;) {
		if (is_in(&v->maps[i], mem)) {
			i++;
			continue;
		}
		rc = unmap_one(v, 0, v->maps[i].iova, v->maps[i].len);
		if (!rc)
			v->maps[i] = v->maps[--v->n_maps];
	}
	return rc;
}

static int give(struct vh_vdpa *v, const struct vh_snapshot *mem)
{
	struct vhi_vdpa_map m;
	int rc = 0;

	for (uint32_t i = 0; !rc && mem && i < mem->n; i++) {
		m = of_region(mem->regions[i]);
		if (is_mapped(v, &m))
			continue;
		rc = map_one(v, 0, &m, VHI_VHOST_ACCESS_RW);
		if (!rc)
			v->maps[v->n_maps++] = m;
	}
	return rc;
}

/* One change, also when a part of it fails. */
static int change(struct vh_vdpa *v, const struct vh_snapshot *mem)
{
	const bool batched = FEATURE(v, VH_VDPA_BF_BATCH);
	struct vh_error why = {.size = sizeof(why)};
	int rc = batched ? batch(v, 0, true) : 0, ended;

	if (rc)
		return rc;
	rc = take_away(v, mem);
	rc = rc ? rc : give(v, mem);
	if (rc) {
		vh_error_get(&why);
		(void)take_away(v, v->mem); /* what nobody keeps for it */
	}
	ended = batched ? batch(v, 0, false) : 0;
	if (!rc)
		return ended;
	return vhi_fail_at(why.code, why.domain, why.site, why.queue, why.request, "%s", why.text);
}

/* Room for all that may be mapped at a time. */
static int reserve(struct vh_vdpa *v, const struct vh_snapshot *mem)
{
	struct vhi_vdpa_map *more = vhi_calloc((size_t)v->n_maps + (mem ? mem->n : 0) + 1, sizeof(*more));

	if (!more)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "%s: out of memory", v->who);
	if (v->n_maps)
		memcpy(more, v->maps, v->n_maps * sizeof(*more));
	vhi_free(v->maps);
	v->maps = more;
	return 0;
}

int vhi_vdpa_share(struct vh_vdpa *v, struct vh_snapshot *mem)
{
	int rc = check(v, 0, 0);

	for (uint32_t i = 0; !rc && mem && i < mem->n; i++)
		rc = check_range(v, mem->regions[i]->gpa.v, mem->regions[i]->len);
	rc = rc ? rc : vhi_vdpa_refresh(v);
	rc = rc ? rc : reserve(v, mem);
	rc = rc ? rc : change(v, mem);
	if (rc)
		return rc;
	vhi_snapshot_put(v->mem);
	v->mem = vhi_snapshot_get(mem);
	return 0;
}

/* The device may have forgotten, and the kernel remembers: what it is to be told again it has to forget first. */
int vhi_vdpa_refresh(struct vh_vdpa *v)
{
	int rc = 0;

	if (!v->stale)
		return 0;
	rc = change(v, NULL);
	rc = rc ? rc : change(v, v->mem);
	v->stale = rc;
	return rc;
}

vh_rc vh_vdpa_set_mem(struct vh_vdpa *v, struct vh_mem *mem)
{
	struct vh_snapshot *now;
	int rc = vhi_vdpa_enter(v, "vh_vdpa_set_mem");

	if (rc)
		return rc;
	now = mem ? vhi_mem_snapshot(mem) : NULL;
	rc = vhi_vdpa_share(v, now);
	vhi_snapshot_put(now);
	return vhi_vdpa_leave(v, rc);
}
