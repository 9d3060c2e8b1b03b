/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Inflight records: the back-end makes the file and knows what is in it; here it is only kept, and given back. */
#include "vhi_master.h"

/* No back-end needs fewer for an entry. */
#define ENTRY_LEAST 16u

static bool ends_in_file(const struct vhi_wire_inflight *w, int fd)
{
	struct stat st;

	return !vhi_sys.fstat(fd, &st) && !vhi_range_wraps(w->mmap_offset, w->mmap_size) &&
	       (!S_ISREG(st.st_mode) || w->mmap_offset + w->mmap_size <= (uint64_t)st.st_size);
}

static int absurd(uint32_t site, const struct vhi_wire_inflight *w)
{
	return vhi_fail_at(-EPROTO, VH_ERROR_PEER, site, VH_ERROR_NONE, VHI_FE_GET_INFLIGHT_FD,
			   "the back-end's answer to GET_INFLIGHT_FD: %s (0x%llx bytes at 0x%llx)",
			   vhi_master_why(site), (unsigned long long)w->mmap_size, (unsigned long long)w->mmap_offset);
}

/* What a reply gives. The wire's rules saw that there is an fd where there is a size. */
static int take(struct vhi_ticket *t, uint32_t num_queues, uint32_t queue_size, struct vh_inflight *out, int *fd)
{
	struct vhi_wire_inflight w;
	struct vh_inflight got = {.size = sizeof(got), .num_queues = num_queues, .queue_size = queue_size};
	int rc;

	memcpy(&w, t->payload, sizeof(w));
	if (!w.mmap_size)
		return vhi_fail_at(-EREMOTEIO, VH_ERROR_PEER, 0, VH_ERROR_NONE, VHI_FE_GET_INFLIGHT_FD,
				   "the back-end gave no inflight records for %u queues of %u entries", num_queues,
				   queue_size);
	if (VHI_REFUSE(VHI_SITE_MASTER_INFLIGHT_SHORT, w.mmap_size / ENTRY_LEAST < (uint64_t)num_queues * queue_size))
		return absurd(VHI_SITE_MASTER_INFLIGHT_SHORT, &w);
	if (VHI_REFUSE(VHI_SITE_MASTER_INFLIGHT_FILE, !ends_in_file(&w, t->fds[0])))
		return absurd(VHI_SITE_MASTER_INFLIGHT_FILE, &w);
	got.mmap_size = w.mmap_size;
	got.mmap_offset = w.mmap_offset;
	rc = vhi_out_fill(out, &got, sizeof(got), "vh_master_get_inflight");
	if (rc)
		return rc;
	*fd = vhi_ticket_take_fd(t);
	return 0;
}

static bool fits(uint32_t num_queues, uint32_t queue_size)
{
	return num_queues && num_queues <= UINT16_MAX && queue_size && queue_size <= VHI_MASTER_MAX_NUM;
}

vh_rc vh_master_get_inflight(struct vh_master *m, uint32_t num_queues, uint32_t queue_size, struct vh_inflight *out,
			     vh_fd *fd)
{
	const char *who = "vh_master_get_inflight";
	struct vhi_wire_inflight p = {.num_queues = (uint16_t)num_queues, .queue_size = (uint16_t)queue_size};
	struct vhi_ticket *t;
	int rc;

	if (m && (!out || !fd || !fits(num_queues, queue_size)))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: out or fd is NULL, or %u queues of %u entries; 1 to 65535 of 1 to %u can be", who,
				num_queues, queue_size, VHI_MASTER_MAX_NUM);
	rc = vhi_master_enter(m, who, VHI_CALL_WAITS | VHI_CALL_CONNECTED);
	if (rc)
		return rc;
	rc = vhi_master_call(m, &(struct vhi_request){.id = VHI_FE_GET_INFLIGHT_FD, .payload = &p, .size = sizeof(p)},
			     &t);
	if (!rc) {
		rc = take(t, num_queues, queue_size, out, fd);
		vhi_ticket_free(m, t);
	}
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_set_inflight(struct vh_master *m, const struct vh_inflight *inflight, vh_fd fd)
{
	const char *who = "vh_master_set_inflight";
	struct vhi_wire_inflight p = {0};
	struct vh_inflight in;
	int rc = 0;

	if (m && !inflight)
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: inflight is NULL", who);
	if (m && !rc)
		rc = vhi_opts_in(&in, sizeof(in), inflight, "vh_inflight");
	if (rc)
		return rc;
	if (m && (!fits(in.num_queues, in.queue_size) || in.reserved))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: %u queues of %u entries; 1 to 65535 of 1 to %u can be, and reserved is 0", who,
				in.num_queues, in.queue_size, VHI_MASTER_MAX_NUM);
	if (m)
		p = (struct vhi_wire_inflight){.mmap_size = in.mmap_size,
					       .mmap_offset = in.mmap_offset,
					       .num_queues = (uint16_t)in.num_queues,
					       .queue_size = (uint16_t)in.queue_size};
	return vhi_master_request(
		m, who,
		&(struct vhi_request){
			.id = VHI_FE_SET_INFLIGHT_FD, .payload = &p, .size = sizeof(p), .fds = &fd, .n_fds = 1});
}
