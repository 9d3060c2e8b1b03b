/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Calls about the rings of a vDPA device, one for each ioctl, and the page of its doorbell. */
#include "vhi_vdpa.h"

#include <sys/mman.h>
#include <unistd.h>

int vhi_vdpa_ioctl(struct vh_vdpa *v, uint32_t request, void *arg, uint32_t queue)
{
	return vhi_sys.ioctl(v->fd, request, arg) < 0 ? vhi_vdpa_failed(v, request, errno, queue) : 0;
}

int vhi_vdpa_state(struct vh_vdpa *v, uint32_t request, uint32_t queue, uint32_t num)
{
	struct vhi_vhost_vring_state s = {.index = queue, .num = num};

	return vhi_vdpa_ioctl(v, request, &s, queue);
}

int vhi_vdpa_state_out(struct vh_vdpa *v, uint32_t request, uint32_t queue, uint32_t *num)
{
	struct vhi_vhost_vring_state s = {.index = queue};
	int rc = vhi_vdpa_ioctl(v, request, &s, queue);

	if (!rc)
		*num = s.num;
	return rc;
}

int vhi_vdpa_file(struct vh_vdpa *v, uint32_t request, uint32_t queue, int fd)
{
	struct vhi_vhost_vring_file f = {.index = queue, .fd = fd < 0 ? VHI_VHOST_FILE_UNBIND : fd};

	return vhi_vdpa_ioctl(v, request, &f, queue);
}

/* The limit is that of a device that was reset: read once after each. Older kernels let more pass, and it did not work. */
int vhi_vdpa_num(struct vh_vdpa *v, uint32_t queue, uint32_t num)
{
	uint16_t max = 0;
	int rc = v->max_num ? 0 : vhi_vdpa_ioctl(v, VHI_VHOST_VDPA_GET_VRING_NUM, &max, queue);

	if (rc)
		return rc;
	v->max_num = v->max_num ? v->max_num : max;
	if (num > v->max_num)
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, queue, VH_ERROR_NONE,
				   "%s: ring %u with %u entries; %.80s has %u at most", v->who, queue, num, v->node,
				   v->max_num);
	return vhi_vdpa_state(v, VHI_VHOST_SET_VRING_NUM, queue, num);
}

/* All of a public call. */
static vh_rc set_state(struct vh_vdpa *v, const char *who, uint32_t request, uint32_t queue, uint32_t num)
{
	int rc = vhi_vdpa_enter(v, who);

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_state(v, request, queue, num));
}

static vh_rc get_state(struct vh_vdpa *v, const char *who, uint32_t request, uint32_t queue, uint32_t *out)
{
	int rc = out ? vhi_vdpa_enter(v, who) : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: out is NULL", who);

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_state_out(v, request, queue, out));
}

static vh_rc set_file(struct vh_vdpa *v, const char *who, uint32_t request, uint32_t queue, int fd)
{
	int rc = vhi_vdpa_enter(v, who);

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_file(v, request, queue, fd));
}

vh_rc vh_vdpa_set_vring_num(struct vh_vdpa *v, uint32_t queue, uint32_t num)
{
	int rc = vhi_vdpa_enter(v, "vh_vdpa_set_vring_num");

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_num(v, queue, num));
}

vh_rc vh_vdpa_set_vring_addr(struct vh_vdpa *v, const struct vh_vring_addr *addr)
{
	struct vh_vring_addr a;
	int rc = addr ? vhi_vdpa_enter(v, "vh_vdpa_set_vring_addr")
		      : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vdpa_set_vring_addr: addr is NULL");

	if (rc)
		return rc;
	a = *addr;
	return vhi_vdpa_leave(v, vhi_vdpa_ioctl(v, VHI_VHOST_SET_VRING_ADDR, &a, a.index));
}

vh_rc vh_vdpa_set_vring_base(struct vh_vdpa *v, uint32_t queue, uint32_t base)
{
	return set_state(v, "vh_vdpa_set_vring_base", VHI_VHOST_SET_VRING_BASE, queue, base);
}

vh_rc vh_vdpa_get_vring_base(struct vh_vdpa *v, uint32_t queue, uint32_t *out)
{
	return get_state(v, "vh_vdpa_get_vring_base", VHI_VHOST_GET_VRING_BASE, queue, out);
}

vh_rc vh_vdpa_set_vring_kick(struct vh_vdpa *v, uint32_t queue, vh_fd fd)
{
	return set_file(v, "vh_vdpa_set_vring_kick", VHI_VHOST_SET_VRING_KICK, queue, fd);
}

vh_rc vh_vdpa_set_vring_call(struct vh_vdpa *v, uint32_t queue, vh_fd fd)
{
	return set_file(v, "vh_vdpa_set_vring_call", VHI_VHOST_SET_VRING_CALL, queue, fd);
}

vh_rc vh_vdpa_set_vring_err(struct vh_vdpa *v, uint32_t queue, vh_fd fd)
{
	return set_file(v, "vh_vdpa_set_vring_err", VHI_VHOST_SET_VRING_ERR, queue, fd);
}

vh_rc vh_vdpa_set_vring_enable(struct vh_vdpa *v, uint32_t queue, uint32_t on)
{
	return set_state(v, "vh_vdpa_set_vring_enable", VHI_VHOST_VDPA_SET_VRING_ENABLE, queue, on);
}

vh_rc vh_vdpa_get_vring_size(struct vh_vdpa *v, uint32_t queue, uint32_t *out)
{
	return get_state(v, "vh_vdpa_get_vring_size", VHI_VHOST_VDPA_GET_VRING_SIZE, queue, out);
}

vh_rc vh_vdpa_get_vring_group(struct vh_vdpa *v, uint32_t queue, uint32_t *out)
{
	return get_state(v, "vh_vdpa_get_vring_group", VHI_VHOST_VDPA_GET_VRING_GROUP, queue, out);
}

vh_rc vh_vdpa_get_desc_group(struct vh_vdpa *v, uint32_t queue, uint32_t *out)
{
	return get_state(v, "vh_vdpa_get_desc_group", VHI_VHOST_VDPA_GET_VRING_DESC_GROUP, queue, out);
}

vh_rc vh_vdpa_set_group_asid(struct vh_vdpa *v, uint32_t group, uint32_t asid)
{
	return set_state(v, "vh_vdpa_set_group_asid", VHI_VHOST_VDPA_SET_GROUP_ASID, group, asid);
}

static vh_rc plain(struct vh_vdpa *v, const char *who, uint32_t request)
{
	int rc = vhi_vdpa_enter(v, who);

	return rc ? rc : vhi_vdpa_leave(v, vhi_vdpa_ioctl(v, request, NULL, VH_ERROR_NONE));
}

vh_rc vh_vdpa_suspend(struct vh_vdpa *v)
{
	return plain(v, "vh_vdpa_suspend", VHI_VHOST_VDPA_SUSPEND);
}

vh_rc vh_vdpa_resume(struct vh_vdpa *v)
{
	return plain(v, "vh_vdpa_resume", VHI_VHOST_VDPA_RESUME);
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static int map_doorbell(struct vh_vdpa *v, uint32_t queue, uint64_t *addr)
{
	void *p = vhi_sys.mmap(NULL, page_size(), PROT_WRITE, MAP_SHARED, v->fd,
			       (off_t)(queue * (uint64_t)page_size()));
	const int err = errno;

	if (p == MAP_FAILED && (err == VHI_ENOTSUPP || err == EOPNOTSUPP))
		return vhi_fail_at(-EOPNOTSUPP, VH_ERROR_DEVICE, 0, queue, VH_ERROR_NONE,
				   "%s: %.80s has no page of its own for ring %u (%s); use the kick eventfd", v->who,
				   v->node, queue, vh_error_name(err));
	if (p == MAP_FAILED)
		return vhi_fail_at(-err, VH_ERROR_SYSTEM, 0, queue, VH_ERROR_NONE,
				   "%s: the page of ring %u of %.80s can't be mapped: %s", v->who, queue, v->node,
				   vh_error_name(err));
	*addr = (uintptr_t)p;
	return 0;
}

vh_rc vh_vdpa_map_doorbell(struct vh_vdpa *v, uint32_t queue, uint64_t *addr)
{
	int rc = addr ? vhi_vdpa_enter(v, "vh_vdpa_map_doorbell")
		      : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_vdpa_map_doorbell: addr is NULL");

	return rc ? rc : vhi_vdpa_leave(v, map_doorbell(v, queue, addr));
}

vh_rc vh_vdpa_unmap_doorbell(struct vh_vdpa *v, uint64_t addr)
{
	int rc = vhi_vdpa_enter(v, "vh_vdpa_unmap_doorbell");

	if (rc)
		return rc;
	if (!addr || addr % page_size() || vhi_sys.munmap((void *)(uintptr_t)addr, page_size()))
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: 0x%llx is no page of a doorbell", v->who,
			      (unsigned long long)addr);
	return vhi_vdpa_leave(v, rc);
}
