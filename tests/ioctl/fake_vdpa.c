/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "fake_vdpa.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIT(n)	    (UINT64_C(1) << (n))
#define DRIVER_OK   4u
#define FEATURES_OK 8u

struct fake_vdpa *fake_vdpa;
static ino_t inode;
static int keep = -1, far = -1;
static struct fake_sys before; /* what else is played */

int fake_vdpa_open(void)
{
	return fcntl(keep, F_DUPFD_CLOEXEC, 0);
}

static bool mine(int fd)
{
	struct stat st;

	return fake_vdpa && !fstat(fd, &st) && st.st_ino == inode;
}

static int f_open(const char *path, int flags)
{
	if (strcmp(path, FAKE_VDPA_PATH))
		return before.open ? before.open(path, flags) : FAKE_PASS;
	errno = fake_vdpa->open_errno;
	if (errno)
		return -1;
	/* As its last close left it. */
	memset(fake_vdpa->rings, 0, sizeof(fake_vdpa->rings));
	fake_vdpa->owned = fake_vdpa->suspended = fake_vdpa->in_batch = false;
	fake_vdpa->status = 0;
	fake_vdpa->acked = fake_vdpa->backend_acked = 0;
	fake_vdpa->n_maps = 0;
	return fake_vdpa_open();
}

static bool stands(void)
{
	return !(fake_vdpa->status & DRIVER_OK) || fake_vdpa->suspended;
}

/* Calls about a ring: the index is read first, whatever is asked. */
static int ring_call(struct fake_vdpa *f, uint32_t request, void *arg)
{
	struct vhi_vhost_vring_state s;
	struct vhi_vhost_vring_file file;
	struct vh_vring_addr addr;
	int rc;

	if (!f->owned)
		return -EPERM;
	rc = fake_copy_in(&s, arg, sizeof(s));
	if (rc)
		return rc;
	if (request == VHI_VHOST_VDPA_SET_GROUP_ASID) {
		if (s.index >= 2 || s.num >= 2)
			return -EINVAL;
		if (f->status & DRIVER_OK)
			return -EBUSY;
		f->asid[s.index] = s.num;
		return 0;
	}
	if (s.index >= f->n_rings)
		return -ENOBUFS;
	memcpy(&file, &s, sizeof(file));
	switch (request) {
	case VHI_VHOST_SET_VRING_NUM:
		if (!stands())
			return -EBUSY;
		if (!s.num || s.num & (s.num - 1) || s.num > f->max_num)
			return -EINVAL;
		f->rings[s.index].num = s.num;
		return 0;
	case VHI_VHOST_SET_VRING_BASE:
		if (!stands())
			return -EINVAL;
		if (f->forgets && s.num != (f->acked & BIT(34) ? 0x80008000 : 0))
			return -EOPNOTSUPP;
		f->rings[s.index].base = s.num;
		return 0;
	case VHI_VHOST_GET_VRING_BASE:
		if (f->forgets)
			return f->status & DRIVER_OK ? -EOPNOTSUPP : -524;
		s.num = f->rings[s.index].base;
		return fake_copy_out(arg, &s, sizeof(s));
	case VHI_VHOST_SET_VRING_ADDR:
		rc = fake_copy_in(&addr, arg, sizeof(addr));
		if (rc || !stands())
			return rc ? rc : -EINVAL;
		f->rings[s.index].addr = addr;
		f->rings[s.index].has_addr = true;
		return 0;
	case VHI_VHOST_SET_VRING_KICK:
	case VHI_VHOST_SET_VRING_CALL:
	case VHI_VHOST_SET_VRING_ERR:
		rc = file.fd < 0 ? 0 : fake_eventfd_check(file.fd);
		if (rc)
			return rc;
		*(request == VHI_VHOST_SET_VRING_KICK	? &f->rings[s.index].kick
		  : request == VHI_VHOST_SET_VRING_CALL ? &f->rings[s.index].call
							: &f->rings[s.index].err) = file.fd;
		return 0;
	case VHI_VHOST_VDPA_SET_VRING_ENABLE:
		f->rings[s.index].on = s.num;
		return 0;
	case VHI_VHOST_VDPA_GET_VRING_GROUP:
	case VHI_VHOST_VDPA_GET_VRING_DESC_GROUP:
		s.num = s.index == 1;
		return f->old ? -ENOTTY : fake_copy_out(arg, &s, sizeof(s));
	case VHI_VHOST_VDPA_GET_VRING_SIZE:
		s.num = f->max_num;
		return f->old ? -ENOTTY : fake_copy_out(arg, &s, sizeof(s));
	default:
		return -ENOTTY;
	}
}

static void device_reset(struct fake_vdpa *f)
{
	memset(f->rings, 0, sizeof(f->rings));
	f->suspended = false;
	f->acked = 0;
	f->n_resets++;
}

static int set_status(struct fake_vdpa *f, void *arg)
{
	uint8_t status;
	int rc = fake_copy_in(&status, arg, 1);

	if (rc)
		return rc;
	if (status && f->status & ~status)
		return -EINVAL;
	if (!status)
		device_reset(f);
	f->n_starts += status & ~f->status & DRIVER_OK ? 1 : 0;
	f->status = f->refuses_features ? (uint8_t)(status & ~FEATURES_OK) : status;
	return 0;
}

static int config(struct fake_vdpa *f, void *arg, bool write)
{
	struct vhi_vhost_vdpa_config c;
	int rc = fake_copy_in(&c, arg, sizeof(c));

	if (rc)
		return rc;
	if (!c.len || c.off > f->config_size || c.len > f->config_size - c.off)
		return -EINVAL;
	if (write)
		return fake_copy_in(f->config + c.off, (uint8_t *)arg + sizeof(c), c.len);
	if (f->config_reads++ < f->config_moves)
		f->config[0]++;
	return fake_copy_out((uint8_t *)arg + sizeof(c), f->config + c.off, c.len);
}

static int take_features(struct fake_vdpa *f, void *arg)
{
	uint64_t v;
	int rc = fake_copy_in(&v, arg, sizeof(v));

	if (rc)
		return rc;
	if (f->status & FEATURES_OK)
		return -EBUSY;
	if (v & ~f->offered)
		return -EOPNOTSUPP;
	if (!(v & BIT(33)))
		return -EINVAL;
	f->acked = v;
	return 0;
}

static int device_call(struct fake_vdpa *f, uint32_t request, void *arg)
{
	const struct vhi_vhost_vdpa_iova_range range = {f->first, f->last};
	const uint32_t two = 2;
	uint64_t v = 0;
	int rc;

	switch (request) {
	case VHI_VHOST_VDPA_GET_DEVICE_ID:
		return fake_copy_out(arg, &f->device_id, 4);
	case VHI_VHOST_VDPA_GET_STATUS:
		return fake_copy_out(arg, &f->status, 1);
	case VHI_VHOST_VDPA_SET_STATUS:
		return set_status(f, arg);
	case VHI_VHOST_GET_FEATURES:
		return fake_copy_out(arg, &f->offered, 8);
	case VHI_VHOST_SET_FEATURES:
		return take_features(f, arg);
	case VHI_VHOST_GET_BACKEND_FEATURES:
		return fake_copy_out(arg, &f->backend_offered, 8);
	case VHI_VHOST_SET_BACKEND_FEATURES:
		rc = fake_copy_in(&v, arg, sizeof(v));
		if (!rc && v & ~f->backend_offered)
			rc = -EOPNOTSUPP;
		f->backend_acked = rc ? f->backend_acked : v;
		return rc;
	case VHI_VHOST_SET_OWNER:
		if (f->owned)
			return -EBUSY;
		f->owned = true;
		return 0;
	case VHI_VHOST_VDPA_GET_VRING_NUM:
		return fake_copy_out(arg, &f->max_num, 2);
	case VHI_VHOST_VDPA_GET_CONFIG:
		return config(f, arg, false);
	case VHI_VHOST_VDPA_SET_CONFIG:
		return config(f, arg, true);
	case VHI_VHOST_VDPA_SET_CONFIG_CALL:
		rc = fake_copy_in(&f->config_call, arg, 4);
		return rc ? rc : f->config_call < 0 ? 0 : fake_eventfd_check(f->config_call);
	case VHI_VHOST_VDPA_SUSPEND:
	case VHI_VHOST_VDPA_RESUME:
		if (!(f->backend_offered & BIT(VHI_VHOST_BACKEND_F_SUSPEND)))
			return -EOPNOTSUPP;
		if (f->status & DRIVER_OK)
			f->suspended = request == VHI_VHOST_VDPA_SUSPEND;
		return 0;
	default:
		break;
	}
	if (f->old)
		return -ENOTTY;
	switch (request) {
	case VHI_VHOST_VDPA_GET_IOVA_RANGE:
		return fake_copy_out(arg, &range, sizeof(range));
	case VHI_VHOST_VDPA_GET_CONFIG_SIZE:
		f->size_reads++;
		return fake_copy_out(arg, &f->config_size, 4);
	case VHI_VHOST_VDPA_GET_AS_NUM:
	case VHI_VHOST_VDPA_GET_GROUP_NUM:
		return fake_copy_out(arg, &two, 4);
	case VHI_VHOST_VDPA_GET_VQS_COUNT:
		return fake_copy_out(arg, &f->n_rings, 4);
	default:
		return -ENOTTY;
	}
}

static int f_ioctl(int fd, unsigned long request, void *arg)
{
	const struct vhi_ioctl_row *row = vhi_ioctl_find((uint32_t)request);
	int rc;

	if (!mine(fd))
		return before.ioctl ? before.ioctl(fd, request, arg) : FAKE_PASS;
	if (fake_vdpa->fail_errno && fake_vdpa->fail_request == request) {
		errno = fake_vdpa->fail_errno;
		fake_vdpa->fail_errno = 0;
		return -1;
	}
	rc = row && row->owner ? ring_call(fake_vdpa, (uint32_t)request, arg)
			       : device_call(fake_vdpa, (uint32_t)request, arg);
	errno = -rc;
	return rc ? -1 : 0;
}

static int update(struct fake_vdpa *f, const struct vhi_vhost_msg_v2 *m)
{
	const uint64_t end = m->iotlb.iova + m->iotlb.size - 1;

	if (m->iotlb.iova < f->first || end > f->last || f->n_maps == FAKE_VDPA_MAPS)
		return -EFAULT;
	for (unsigned i = 0; i < f->n_maps; i++)
		if (f->maps[i].asid == m->asid && f->maps[i].iova <= end &&
		    f->maps[i].iova + f->maps[i].len > m->iotlb.iova)
			return -EFAULT;
	f->maps[f->n_maps].asid = m->asid;
	f->maps[f->n_maps].iova = m->iotlb.iova;
	f->maps[f->n_maps].len = m->iotlb.size;
	f->maps[f->n_maps].uaddr = m->iotlb.uaddr;
	f->maps[f->n_maps++].perm = m->iotlb.perm;
	return 0;
}

static int invalidate(struct fake_vdpa *f, const struct vhi_vhost_msg_v2 *m)
{
	for (unsigned i = 0; i < f->n_maps;) {
		if (f->maps[i].asid == m->asid && f->maps[i].iova >= m->iotlb.iova &&
		    f->maps[i].iova + f->maps[i].len <= m->iotlb.iova + m->iotlb.size)
			f->maps[i] = f->maps[--f->n_maps];
		else
			i++;
	}
	return 0;
}

static int take_message(struct fake_vdpa *f, const struct vhi_vhost_msg_v2 *m)
{
	if (m->type != VHI_VHOST_IOTLB_MSG_V2)
		return -EINVAL;
	if (!f->owned || !(f->backend_acked & BIT(VHI_VHOST_BACKEND_F_IOTLB_MSG_V2)))
		return -EFAULT;
	if (f->fail_message && !--f->fail_message)
		return -EFAULT;
	switch (m->iotlb.type) {
	case VHI_VHOST_IOTLB_UPDATE:
		return m->iotlb.size ? update(f, m) : -EINVAL;
	case VHI_VHOST_IOTLB_INVALIDATE:
		return invalidate(f, m);
	case VHI_VHOST_IOTLB_BATCH_BEGIN:
	case VHI_VHOST_IOTLB_BATCH_END:
		f->in_batch = m->iotlb.type == VHI_VHOST_IOTLB_BATCH_BEGIN;
		f->n_batches += f->in_batch;
		return 0;
	default:
		return -EINVAL;
	}
}

static ssize_t f_write(int fd, const void *buf, size_t n)
{
	struct vhi_vhost_msg_v2 m;
	int rc;

	if (!mine(fd))
		return before.write ? before.write(fd, buf, n) : FAKE_PASS;
	if (n != sizeof(m))
		abort();
	memcpy(&m, buf, sizeof(m));
	rc = take_message(fake_vdpa, &m);
	errno = -rc;
	return rc ? -1 : (ssize_t)n;
}

void fake_vdpa_begin(struct fake_vdpa *f)
{
	struct stat st;
	int ends[2];

	memset(f, 0, sizeof(*f));
	fake_vdpa = f;
	f->device_id = 2;
	f->n_rings = 2;
	f->config_size = sizeof(f->config);
	f->offered = BIT(28) | BIT(29) | BIT(32) | BIT(33) | BIT(34);
	f->backend_offered = 0x17e;
	f->last = UINT64_MAX;
	f->max_num = 256;
	if (keep >= 0) {
		close(keep);
		close(far);
	}
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		abort();
	keep = ends[0];
	far = ends[1];
	fstat(keep, &st);
	inode = st.st_ino;
	if (fake_sys.open != f_open)
		before = fake_sys;
	fake_sys = before;
	fake_sys.open = f_open;
	fake_sys.ioctl = f_ioctl;
	fake_sys.write = f_write;
}
