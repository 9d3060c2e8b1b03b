/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A device of the kernel's behind an IOMMU: what it misses is read from the device file, and what it is told is written
 * there. It knows user addresses only, so what a map has of guest addresses is translated in the memory that it was given.
 */
#include "vhi_kern.h"

#include <poll.h>

#define BATCH 64u /* messages that one dispatch reads */

union message {
	int32_t type;
	struct vhi_vhost_msg v1;
	struct vhi_vhost_msg_v2 v2;
};

/* The first version is shorter where 64-bit words are aligned to 32 bits. */
static size_t message_size(int32_t type)
{
	return type == VHI_VHOST_IOTLB_MSG ? sizeof(struct vhi_vhost_msg) : sizeof(struct vhi_vhost_msg_v2);
}

static int refused(const struct vh_kern *k, uint32_t site)
{
	return vhi_fail(-EPROTO, VH_ERROR_PEER, site, "%s: %s: %s", k->who, k->node, vhi_kern_site_text(site));
}

static bool speaks_v2(const struct vh_kern *k)
{
	return k->backend_features & VHI_BIT(VHI_VHOST_BACKEND_F_IOTLB_MSG_V2);
}

static int tell(struct vh_kern *k, const struct vhi_vhost_iotlb_msg *body)
{
	union message m;
	ssize_t n;

	memset(&m, 0, sizeof(m));
	if (speaks_v2(k)) {
		m.v2.type = VHI_VHOST_IOTLB_MSG_V2;
		m.v2.iotlb = *body;
	} else {
		m.v1.type = VHI_VHOST_IOTLB_MSG;
		m.v1.iotlb = *body;
	}
	n = vhi_sys.write(k->fd, &m, message_size(m.type));
	if (n < 0) {
		const int err = errno;

		return vhi_fail(-err, VH_ERROR_SYSTEM, 0, "%s: IOTLB message to %s: %s%s", k->who, k->node,
				vh_error_name(err),
				err == EFAULT ? ": ACCESS_PLATFORM was not acked, no owner, or too many entries" : "");
	}
	if (VHI_REFUSE(VHI_SITE_KERN_WRITE, (size_t)n != message_size(m.type)))
		return refused(k, VHI_SITE_KERN_WRITE);
	return 0;
}

static int tell_update(struct vh_kern *k, const struct vh_iotlb_entry *e)
{
	return tell(k, &(struct vhi_vhost_iotlb_msg){.iova = e->iova,
						     .size = e->len,
						     .uaddr = e->addr,
						     .perm = (uint8_t)e->perm,
						     .type = VHI_VHOST_IOTLB_UPDATE});
}

/* As much of an entry of guest addresses as lies in one region, around this I/O address. False: nothing. */
static bool to_user_address(const struct vh_kern *k, uint64_t iova, struct vh_iotlb_entry *e)
{
	const struct vhi_region *r = k->mem ? vhi_iotlb_cut(k->mem, iova, e) : NULL;

	if (!r)
		return false;
	e->addr = (uintptr_t)r->host + (e->addr - r->gpa.v);
	return true;
}

static bool look_up(const struct vh_kern *k, uint64_t iova, struct vh_iotlb_entry *e)
{
	return k->map && vhi_iotlb_lookup(k->map, iova, e) && (vhi_iotlb_by_uva(k->map) || to_user_address(k, iova, e));
}

int vhi_kern_preload(struct vh_kern *k, uint64_t iova, uint64_t *first, uint64_t *len)
{
	struct vh_iotlb_entry e;
	int rc;

	if (!look_up(k, iova, &e))
		return 0;
	rc = tell_update(k, &e);
	if (rc)
		return rc;
	*first = e.iova;
	*len = e.len;
	return 0;
}

static int missed(struct vh_kern *k, uint64_t iova, uint32_t perm)
{
	struct vh_iotlb_entry e;

	if (look_up(k, iova, &e))
		return tell_update(k, &e);
	k->misses[(k->first_miss + k->n_misses++) % VHI_KERN_MAX_MISSES] = (struct vh_iotlb_miss){
		.size = sizeof(k->misses[0]), .perm = perm, .iova = iova};
	return 0;
}

static int take(struct vh_kern *k, const union message *m, ssize_t n)
{
	const struct vhi_vhost_iotlb_msg *body = m->type == VHI_VHOST_IOTLB_MSG_V2 ? &m->v2.iotlb : &m->v1.iotlb;

	if (VHI_REFUSE(VHI_SITE_KERN_MSG_SIZE, n != (ssize_t)message_size(m->type)))
		return refused(k, VHI_SITE_KERN_MSG_SIZE);
	if (VHI_REFUSE(VHI_SITE_KERN_MSG_TYPE, m->type != VHI_VHOST_IOTLB_MSG && m->type != VHI_VHOST_IOTLB_MSG_V2))
		return refused(k, VHI_SITE_KERN_MSG_TYPE);
	if (VHI_REFUSE(VHI_SITE_KERN_MSG_ASID, m->type == VHI_VHOST_IOTLB_MSG_V2 && m->v2.asid))
		return refused(k, VHI_SITE_KERN_MSG_ASID);
	if (VHI_REFUSE(VHI_SITE_KERN_MSG_KIND, body->type != VHI_VHOST_IOTLB_MISS))
		return refused(k, VHI_SITE_KERN_MSG_KIND);
	if (VHI_REFUSE(VHI_SITE_KERN_MSG_PERM, !body->perm || body->perm > VHI_VHOST_ACCESS_RW))
		return refused(k, VHI_SITE_KERN_MSG_PERM);
	return missed(k, body->iova, body->perm);
}

/* 1 with a message, 0 when there is none. */
static int read_one(struct vh_kern *k, union message *m, ssize_t *n)
{
	int rc = vhi_poll_now(k->fd, POLLIN);

	if (rc <= 0 || !(rc & POLLIN))
		return rc < 0 ? vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: %s: %s", k->who, k->node, vh_error_name(rc)) : 0;
	memset(m, 0, sizeof(*m));
	*n = vhi_sys.read(k->fd, m, sizeof(*m));
	if (*n >= 0)
		return 1;
	/* EBADFD: it has no IOTLB any more. */
	if (errno == EAGAIN || errno == EINTR || errno == EBADFD)
		return 0;
	rc = -errno;
	return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: reading an IOTLB message from %s: %s", k->who, k->node,
			vh_error_name(rc));
}

int vhi_kern_serve(struct vh_kern *k)
{
	union message m;
	ssize_t n = 0;
	int rc;

	if (k->opts.kind == VH_KERN_SCSI)
		return 0;
	/* What is not read waits in the kernel: nothing is lost while nobody takes the misses. */
	for (uint32_t i = 0; i < BATCH && k->n_misses < VHI_KERN_MAX_MISSES; i++) {
		rc = read_one(k, &m, &n);
		if (rc > 0)
			rc = take(k, &m, n);
		else
			return rc;
		if (rc)
			return rc;
	}
	return k->n_misses < VHI_KERN_MAX_MISSES;
}

vh_count vh_kern_dispatch(struct vh_kern *k)
{
	int rc = vhi_kern_enter(k, "vh_kern_dispatch");

	return rc ? rc : vhi_kern_leave(k, vhi_kern_serve(k));
}

vh_fd vh_kern_fd(struct vh_kern *k)
{
	if (!k)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_kern_fd: NULL device");
	if (k->opts.kind == VH_KERN_SCSI)
		return vhi_fail(-EOPNOTSUPP, VH_ERROR_STATE, 0,
				"vh_kern_fd: a SCSI device has no IOTLB, so nothing ever comes from it");
	return k->fd;
}

vh_count vh_kern_next_miss(struct vh_kern *k, struct vh_iotlb_miss *out)
{
	int rc = vhi_out_check(out, "vh_kern_next_miss");

	if (!rc)
		rc = vhi_kern_enter(k, "vh_kern_next_miss");
	if (rc || !k->n_misses)
		return rc ? rc : vhi_kern_leave(k, 0);
	rc = vhi_out_fill(out, &k->misses[k->first_miss], sizeof(k->misses[0]), "vh_kern_next_miss");
	if (!rc) {
		k->first_miss = (k->first_miss + 1) % VHI_KERN_MAX_MISSES;
		k->n_misses--;
	}
	return vhi_kern_leave(k, rc ? rc : 1);
}

vh_rc vh_kern_set_iotlb(struct vh_kern *k, struct vh_iotlb *map)
{
	int rc = vhi_kern_enter(k, "vh_kern_set_iotlb");

	if (rc)
		return rc;
	vhi_iotlb_get(map);
	vhi_iotlb_put(k->map);
	k->map = map;
	return vhi_kern_leave(k, 0);
}

int vhi_kern_map(struct vh_kern *k, const struct vh_iotlb_entry *e)
{
	int rc = k->map ? 0 : vh_iotlb_new(NULL, NULL, &k->map);

	return rc ? rc : vh_iotlb_update(k->map, e);
}

int vhi_kern_unmap(struct vh_kern *k, uint64_t iova, uint64_t len)
{
	return k->map ? vh_iotlb_invalidate(k->map, iova, len) : 0;
}

static int update(struct vh_kern *k, const struct vh_iotlb_entry *entry)
{
	int rc = 0;

	for (uint64_t done = 0, last; !rc && done < entry->len; done = last) {
		struct vh_iotlb_entry e = *entry;

		if (!to_user_address(k, entry->iova + done, &e))
			return vhi_fail(-EFAULT, VH_ERROR_MEMORY, 0,
					"%s: guest address 0x%llx is not in the memory that the device was given",
					k->who, (unsigned long long)(entry->addr + done));
		last = e.iova + e.len - entry->iova;
		rc = tell_update(k, &e);
	}
	return rc;
}

vh_rc vh_kern_iotlb_update(struct vh_kern *k, const struct vh_iotlb_entry *entry)
{
	int rc;

	if (!entry || !entry->len || !entry->perm || entry->perm > VHI_VHOST_ACCESS_RW || entry->flags ||
	    vhi_range_wraps(entry->iova, entry->len) || vhi_range_wraps(entry->addr, entry->len))
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_kern_iotlb_update: give an entry with len above 0, perm of VH_MEM_*, flags 0, whose "
			"ranges don't wrap");
	rc = vhi_kern_enter(k, "vh_kern_iotlb_update");
	return rc ? rc : vhi_kern_leave(k, update(k, entry));
}

int vhi_kern_invalidate(struct vh_kern *k, uint64_t iova, uint64_t len)
{
	return tell(k, &(struct vhi_vhost_iotlb_msg){.iova = iova, .size = len, .type = VHI_VHOST_IOTLB_INVALIDATE});
}

vh_rc vh_kern_iotlb_invalidate(struct vh_kern *k, vh_iova iova, uint64_t len)
{
	int rc;

	if (!len)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_kern_iotlb_invalidate: len is 0");
	rc = vhi_kern_enter(k, "vh_kern_iotlb_invalidate");
	return rc ? rc : vhi_kern_leave(k, vhi_kern_invalidate(k, iova, len));
}
