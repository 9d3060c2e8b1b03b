/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "fake_vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIT(n)		 (UINT64_C(1) << (n))
#define UNKNOWN		 (-515) /* ENOIOCTLCMD */
#define LOG_ALL		 BIT(26)
#define PLATFORM	 BIT(33)
#define MAX_NUM		 0xffffu
#define ADDR_ALIGN(a, n) (!((a) & ((n)-1)))

struct fake_vhost *fake;
static ino_t inode;
static int keep = -1, far = -1; /* a pipe: as readable as the device */

static const char *name(void)
{
	return fake->node == VHI_NODE_NET ? "vhost-net" : fake->node == VHI_NODE_VSOCK ? "vhost-vsock" : "vhost-scsi";
}

const char *fake_vhost_path(void)
{
	static char path[64];

	snprintf(path, sizeof(path), "/dev/fake/%s", name());
	return path;
}

static bool mine(int fd)
{
	struct stat st;

	return fake && !fstat(fd, &st) && st.st_ino == inode && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
}

int fake_vhost_open(void)
{
	return fcntl(keep, F_DUPFD_CLOEXEC, 0);
}

static int f_open(const char *path, int flags)
{
	(void)flags;
	if (strcmp(path, fake_vhost_path()))
		return FAKE_PASS;
	return fake_vhost_open();
}

/* Vrings. */

static bool ring_active(const struct fake_ring *r)
{
	return r->backend >= 0;
}

static int ring_state(struct fake_ring *r, uint32_t request, void *arg)
{
	struct vhi_vhost_vring_state s;
	int rc = fake_copy_in(&s, arg, sizeof(s));

	if (rc)
		return rc;
	switch (request) {
	case VHI_VHOST_SET_VRING_NUM:
		if (ring_active(r))
			return -EBUSY;
		if (!s.num || s.num > MAX_NUM || (s.num & (s.num - 1)))
			return -EINVAL;
		r->num = s.num;
		return 0;
	case VHI_VHOST_SET_VRING_BASE:
		if (ring_active(r))
			return -EBUSY;
		if (s.num > 0xffff)
			return -EINVAL;
		r->base = s.num;
		return 0;
	case VHI_VHOST_GET_VRING_BASE:
		s.num = r->base;
		return fake_copy_out(arg, &s, sizeof(s));
	case VHI_VHOST_SET_VRING_BUSYLOOP_TIMEOUT:
		r->busyloop = s.num;
		return 0;
	case VHI_VHOST_GET_VRING_BUSYLOOP_TIMEOUT:
		s.num = r->busyloop;
		return fake_copy_out(arg, &s, sizeof(s));
	case VHI_VHOST_SET_VRING_ENDIAN:
		if (ring_active(r))
			return -EBUSY;
		if (s.num > 1)
			return -EINVAL;
		r->endian = s.num;
		return 0;
	default: /* GET_VRING_ENDIAN */
		s.num = r->endian;
		return fake_copy_out(arg, &s, sizeof(s));
	}
}

static int ring_addr(struct fake_ring *r, void *arg)
{
	struct vh_vring_addr a;
	int rc = fake_copy_in(&a, arg, sizeof(a));

	if (rc)
		return rc;
	if (a.flags & ~1u)
		return -EOPNOTSUPP;
	if (a.desc >> 60 || a.avail >> 60 || a.used >> 60)
		return -EFAULT;
	if (!ADDR_ALIGN(a.avail, 2) || !ADDR_ALIGN(a.used, 4) || !ADDR_ALIGN(a.log, 4))
		return -EINVAL;
	if (ring_active(r) && a.flags && !fake->log_base)
		return -EINVAL;
	r->addr = a;
	return 0;
}

static int ring_file(struct fake_ring *r, uint32_t request, void *arg)
{
	struct vhi_vhost_vring_file f;
	int rc = fake_copy_in(&f, arg, sizeof(f));

	if (!rc && f.fd != -1)
		rc = fake_eventfd_check(f.fd);
	if (!rc)
		*(request == VHI_VHOST_SET_VRING_KICK	? &r->kick
		  : request == VHI_VHOST_SET_VRING_CALL ? &r->call
							: &r->err) = f.fd;
	return rc;
}

static int ring_call(uint32_t request, void *arg)
{
	static const struct {
		uint32_t request, needs;
	} states[] = {
		{VHI_VHOST_SET_VRING_NUM, 0},
		{VHI_VHOST_SET_VRING_BASE, 0},
		{VHI_VHOST_GET_VRING_BASE, 0},
		{VHI_VHOST_SET_VRING_BUSYLOOP_TIMEOUT, FAKE_BUSYLOOP},
		{VHI_VHOST_GET_VRING_BUSYLOOP_TIMEOUT, FAKE_BUSYLOOP},
		{VHI_VHOST_SET_VRING_ENDIAN, FAKE_ENDIAN},
		{VHI_VHOST_GET_VRING_ENDIAN, FAKE_ENDIAN},
	};
	uint32_t index;

	if (!fake->owned)
		return -EPERM;
	if (fake_copy_in(&index, arg, sizeof(index)))
		return -EFAULT;
	if (index >= fake->n_rings)
		return -ENOBUFS;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (states[i].request == request && (fake->has & states[i].needs) == states[i].needs)
			return ring_state(&fake->rings[index], request, arg);
	if (request == VHI_VHOST_SET_VRING_ADDR)
		return ring_addr(&fake->rings[index], arg);
	if (request == VHI_VHOST_SET_VRING_KICK || request == VHI_VHOST_SET_VRING_CALL ||
	    request == VHI_VHOST_SET_VRING_ERR)
		return ring_file(&fake->rings[index], request, arg);
	return UNKNOWN;
}

/* The device. */

static bool log_ok(void)
{
	return fake->log_base != 0;
}

static int set_features(uint64_t v, uint64_t high)
{
	if (v & ~fake->offered || high & ~fake->offered_high)
		return -EOPNOTSUPP;
	if (v & LOG_ALL && !log_ok())
		return -EFAULT;
	fake->acked = v;
	fake->acked_high = high;
	return 0;
}

static int features_array(uint32_t request, void *arg)
{
	uint64_t count, words[2] = {fake->offered, fake->offered_high};

	if (fake_copy_in(&count, arg, sizeof(count)))
		return -EFAULT;
	arg = (uint64_t *)arg + 1;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t w = 0;

		if (request == VHI_VHOST_GET_FEATURES_ARRAY) {
			w = i < 2 ? words[i] : 0;
			if (fake_copy_out((uint64_t *)arg + i, &w, sizeof(w)))
				return -EFAULT;
			continue;
		}
		if (fake_copy_in(&w, (uint64_t *)arg + i, sizeof(w)))
			return -EFAULT;
		if (i >= 2 && w)
			return -EOPNOTSUPP;
		if (i < 2)
			words[i] = w;
	}
	if (request == VHI_VHOST_GET_FEATURES_ARRAY)
		return 0;
	return set_features(count > 0 ? words[0] : 0, count > 1 ? words[1] : 0);
}

static int set_mem(void *arg)
{
	struct vhi_vhost_memory m;

	if (fake_copy_in(&m, arg, sizeof(m)))
		return -EFAULT;
	if (m.padding)
		return -EOPNOTSUPP;
	if (m.nregions > fake->max_regions)
		return -E2BIG;
	if (fake_copy_in(fake->regions, (char *)arg + sizeof(m), m.nregions * sizeof(fake->regions[0])))
		return -EFAULT;
	fake->n_regions = m.nregions;
	return 0;
}

static int set_log(uint32_t request, void *arg)
{
	uint64_t at;
	int32_t fd;
	int rc;

	if (request == VHI_VHOST_SET_LOG_BASE) {
		if (fake_copy_in(&at, arg, sizeof(at)) || !at)
			return -EFAULT;
		fake->log_base = at;
		return 0;
	}
	rc = fake_copy_in(&fd, arg, sizeof(fd));
	if (!rc && fd != -1)
		rc = fake_eventfd_check(fd);
	if (!rc)
		fake->log_fd = fd;
	return rc;
}

static int fork_owner(uint32_t request, void *arg)
{
	uint8_t v;

	if (request == VHI_VHOST_GET_FORK_FROM_OWNER)
		return fake_copy_out(arg, &fake->fork, 1);
	if (fake->owned)
		return -EBUSY;
	if (fake_copy_in(&v, arg, 1))
		return -EFAULT;
	if (v > 1)
		return -EINVAL;
	fake->fork = v;
	return 0;
}

static int dev_call(uint32_t request, void *arg)
{
	if (request == VHI_VHOST_SET_OWNER) {
		if (fake->owned)
			return -EBUSY;
		fake->owned = true;
		return 0;
	}
	if ((request == VHI_VHOST_GET_FORK_FROM_OWNER || request == VHI_VHOST_SET_FORK_FROM_OWNER) &&
	    fake->has & FAKE_FORK)
		return fork_owner(request, arg);
	if (!fake->owned)
		return -EPERM;
	if (request == VHI_VHOST_SET_MEM_TABLE)
		return set_mem(arg);
	if (request == VHI_VHOST_SET_LOG_BASE || request == VHI_VHOST_SET_LOG_FD)
		return set_log(request, arg);
	return UNKNOWN;
}

/* Workers: SCSI devices. */
static int worker_call(uint32_t request, void *arg)
{
	uint32_t v[2];

	if (!fake->owned)
		return -EINVAL;
	switch (request) {
	case VHI_VHOST_NEW_WORKER:
		if (!fake->fork)
			return -EFAULT;
		v[0] = ++fake->n_workers;
		return fake_copy_out(arg, v, 4);
	case VHI_VHOST_FREE_WORKER:
		if (fake_copy_in(v, arg, 4))
			return -EFAULT;
		if (!v[0] || v[0] > fake->n_workers)
			return -ENODEV;
		for (uint32_t i = 0; i < fake->n_rings; i++)
			if (fake->rings[i].worker == v[0])
				return -EBUSY;
		fake->n_workers--;
		return 0;
	default:
		if (fake_copy_in(v, arg, 8))
			return -EFAULT;
		if (v[0] >= fake->n_rings)
			return -ENOBUFS;
		if (request == VHI_VHOST_ATTACH_VRING_WORKER) {
			if (!v[1] || v[1] > fake->n_workers)
				return -ENODEV;
			fake->rings[v[0]].worker = v[1];
			return 0;
		}
		v[1] = fake->rings[v[0]].worker;
		return fake_copy_out(arg, v, 8);
	}
}

/* What starts rings. */

/* To start a ring is to look at its used index; what is missed then is no question yet, but a failure. */
static bool known(uint64_t iova)
{
	for (unsigned i = 0; i < fake->n_out && i < 256; i++) {
		const struct vhi_vhost_iotlb_msg *m = &fake->out[i].iotlb;

		if (m->type == VHI_VHOST_IOTLB_UPDATE && iova - m->iova < m->size)
			return true;
	}
	return false;
}

static bool accessible(const struct fake_ring *r)
{
	return r->num && r->addr.desc && fake->n_regions && (!(fake->acked & PLATFORM) || known(r->addr.used));
}

static int net_backend(void *arg)
{
	struct vhi_vhost_vring_file f;
	struct stat st;

	if (!fake->owned)
		return -EPERM;
	if (fake_copy_in(&f, arg, sizeof(f)))
		return -EFAULT;
	if (f.index >= 2)
		return -ENOBUFS;
	if (f.fd == -1) {
		fake->rings[f.index].backend = -1;
		return 0;
	}
	if (!accessible(&fake->rings[f.index]))
		return -EFAULT;
	if (fstat(f.fd, &st))
		return -EBADF;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fake->rings[f.index].backend = f.fd;
	return 0;
}

static int run_all(bool on)
{
	for (uint32_t i = 0; on && i < 2; i++)
		if (!accessible(&fake->rings[i]))
			return -EFAULT;
	for (uint32_t i = 0; i < fake->n_rings; i++)
		fake->rings[i].backend = on && accessible(&fake->rings[i]) ? 1 : -1;
	return 0;
}

static int vsock_call(uint32_t request, void *arg)
{
	uint64_t cid;
	int32_t on;
	int rc;

	if (request == VHI_VHOST_VSOCK_SET_GUEST_CID) {
		if (fake_copy_in(&cid, arg, sizeof(cid)))
			return -EFAULT;
		if (cid <= 2 || cid >= UINT32_MAX)
			return -EINVAL;
		if (cid == fake->taken_cid)
			return -EADDRINUSE;
		fake->cid = cid;
		return 0;
	}
	if (fake_copy_in(&on, arg, sizeof(on)))
		return -EFAULT;
	if (!fake->owned)
		return -EPERM;
	rc = run_all(on);
	if (!rc)
		fake->running = on;
	return rc;
}

static int scsi_target(uint32_t request, void *arg)
{
	struct vhi_vhost_scsi_target t;
	int rc;

	if (fake_copy_in(&t, arg, sizeof(t)))
		return -EFAULT;
	if (t.reserved)
		return -EOPNOTSUPP;
	if (!fake->n_regions)
		return -EFAULT;
	if (request == VHI_VHOST_SCSI_SET_ENDPOINT) {
		if (fake->target[0])
			return -EEXIST;
		if (!fake->there || strcmp(fake->there, t.vhost_wwpn))
			return -ENODEV;
		rc = run_all(true);
		if (!rc)
			strcpy(fake->target, t.vhost_wwpn);
		return rc;
	}
	if (!fake->target[0])
		return 0;
	if (strcmp(fake->target, t.vhost_wwpn))
		return -EINVAL;
	fake->target[0] = 0;
	return run_all(false);
}

static int scsi_call(uint32_t request, void *arg)
{
	const int32_t version = 1;

	switch (request) {
	case VHI_VHOST_SCSI_GET_ABI_VERSION:
		return fake_copy_out(arg, &version, 4);
	case VHI_VHOST_SCSI_SET_EVENTS_MISSED:
		return fake_copy_in(&fake->missed, arg, 4);
	case VHI_VHOST_SCSI_GET_EVENTS_MISSED:
		return fake_copy_out(arg, &fake->missed, 4);
	default:
		return scsi_target(request, arg);
	}
}

static int backend_features(uint32_t request, void *arg)
{
	uint64_t v;

	if (request == VHI_VHOST_GET_BACKEND_FEATURES)
		return fake_copy_out(arg, &fake->backend_offered, 8);
	if (fake_copy_in(&v, arg, sizeof(v)))
		return -EFAULT;
	if (v & ~fake->backend_offered)
		return -EOPNOTSUPP;
	fake->backend_acked = v;
	return 0;
}

static int reset_owner(void)
{
	if (!fake->owned)
		return -EPERM;
	fake->owned = false;
	fake->n_regions = 0;
	fake->acked = 0;
	for (uint32_t i = 0; i < FAKE_RINGS; i++)
		fake->rings[i] = (struct fake_ring){.kick = -1, .call = -1, .err = -1, .backend = -1};
	return 0;
}

/* The driver's own calls, then those of all devices, then those of a ring. */
static int own_call(uint32_t request, void *arg)
{
	static const uint32_t workers[] = {VHI_VHOST_NEW_WORKER, VHI_VHOST_FREE_WORKER, VHI_VHOST_ATTACH_VRING_WORKER,
					   VHI_VHOST_GET_VRING_WORKER};
	const struct vhi_ioctl_row *row = vhi_ioctl_find(request);
	uint64_t v;

	if (!row || !(row->nodes & fake->node))
		return UNKNOWN;
	switch (request) {
	case VHI_VHOST_GET_FEATURES:
		return fake_copy_out(arg, &fake->offered, 8);
	case VHI_VHOST_SET_FEATURES:
		return fake_copy_in(&v, arg, 8) ? -EFAULT : set_features(v, 0);
	case VHI_VHOST_GET_FEATURES_ARRAY:
	case VHI_VHOST_SET_FEATURES_ARRAY:
		return fake->has & FAKE_ARRAY ? features_array(request, arg) : UNKNOWN;
	case VHI_VHOST_GET_BACKEND_FEATURES:
	case VHI_VHOST_SET_BACKEND_FEATURES:
		return fake->has & FAKE_BACKEND_BITS ? backend_features(request, arg) : UNKNOWN;
	case VHI_VHOST_RESET_OWNER:
		return reset_owner();
	case VHI_VHOST_NET_SET_BACKEND:
		return net_backend(arg);
	case VHI_VHOST_VSOCK_SET_GUEST_CID:
	case VHI_VHOST_VSOCK_SET_RUNNING:
		return vsock_call(request, arg);
	default:
		break;
	}
	for (size_t i = 0; i < 4; i++)
		if (workers[i] == request)
			return fake->has & FAKE_WORKERS ? worker_call(request, arg) : UNKNOWN;
	return !strncmp(row->name, "VHOST_SCSI_", 11) ? scsi_call(request, arg) : UNKNOWN;
}

static bool fails(uint32_t request)
{
	if (fake->fail_request != request || !fake->fail_errno)
		return false;
	if (fake->fail_after) {
		fake->fail_after--;
		return false;
	}
	errno = fake->fail_errno;
	fake->fail_errno = 0;
	return true;
}

static int f_ioctl(int fd, unsigned long request, void *arg)
{
	const uint32_t r = (uint32_t)request;
	int rc;

	if (!mine(fd))
		return FAKE_PASS;
	fake->calls[fake->n_calls++ % 64] = r;
	if (fails(r))
		return -1;
	rc = own_call(r, arg);
	if (rc == UNKNOWN)
		rc = dev_call(r, arg);
	if (rc == UNKNOWN)
		rc = ring_call(r, arg);
	if (rc == UNKNOWN)
		rc = -ENOTTY;
	errno = rc < 0 ? -rc : errno;
	return rc < 0 ? -1 : 0;
}

/* Messages. */

static ssize_t f_read(int fd, void *buf, size_t n)
{
	unsigned at;
	char byte;

	if (!mine(fd))
		return FAKE_PASS;
	if (fake->read_errno) {
		errno = fake->read_errno;
		return -1;
	}
	if (n < sizeof(struct vhi_vhost_msg))
		return 0;
	if (!fake->in_n) {
		errno = EAGAIN;
		return -1;
	}
	at = fake->in_first;
	fake->in_first = (at + 1) % 256;
	fake->in_n--;
	if (read(keep, &byte, 1) != 1)
		abort();
	memcpy(buf, fake->in[at], fake->in_len[at] < n ? fake->in_len[at] : n);
	return fake->in_len[at];
}

static ssize_t f_write(int fd, const void *buf, size_t n)
{
	struct vhi_vhost_msg_v2 m;
	struct vhi_vhost_msg v1;

	if (!mine(fd))
		return FAKE_PASS;
	errno = fake->write_errno;
	if (errno)
		return -1;
	if (fake->write_short)
		return (ssize_t)fake->write_short;
	errno = EINVAL;
	if (n < sizeof(v1))
		return -1;
	memcpy(&v1, buf, sizeof(v1));
	m = (struct vhi_vhost_msg_v2){.type = VHI_VHOST_IOTLB_MSG, .iotlb = v1.iotlb};
	if (v1.type != VHI_VHOST_IOTLB_MSG) {
		if (n < sizeof(m))
			return -1;
		memcpy(&m, buf, sizeof(m));
	}
	if (m.type != VHI_VHOST_IOTLB_MSG && m.type != VHI_VHOST_IOTLB_MSG_V2)
		return -1;
	if (m.iotlb.type == VHI_VHOST_IOTLB_UPDATE && !m.iotlb.size)
		return -1;
	errno = EFAULT;
	if (!(fake->acked & PLATFORM) || !fake->owned)
		return -1;
	fake->out[fake->n_out++ % 256] = m;
	return (ssize_t)n;
}

static int f_poll(struct pollfd *p)
{
	if (!mine(p->fd))
		return FAKE_PASS;
	return POLLOUT | (fake->in_n || fake->read_errno ? POLLIN : 0);
}

void fake_vhost_begin(struct fake_vhost *f, uint32_t node)
{
	struct stat st;
	int ends[2];

	memset(f, 0, sizeof(*f));
	fake = f;
	f->node = node;
	f->has = FAKE_NEWEST;
	f->offered = BIT(24) | LOG_ALL | BIT(27) | BIT(28) | BIT(29) | BIT(32) |
		     (node == VHI_NODE_SCSI ? BIT(1) | BIT(3) : PLATFORM) |
		     (node == VHI_NODE_NET ? BIT(15) | BIT(40) : 0);
	f->offered_high = node == VHI_NODE_NET ? 3 : 0;
	f->backend_offered = node == VHI_NODE_SCSI ? 0 : BIT(VHI_VHOST_BACKEND_F_IOTLB_MSG_V2);
	f->n_rings = node == VHI_NODE_SCSI ? FAKE_RINGS : 2;
	f->max_regions = 8;
	f->fork = 1;
	f->log_fd = -1;
	for (uint32_t i = 0; i < FAKE_RINGS; i++)
		f->rings[i] = (struct fake_ring){.kick = -1, .call = -1, .err = -1, .backend = -1};
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
	fake_sys = (struct fake_sys){
		.open = f_open, .ioctl = f_ioctl, .read = f_read, .write = f_write, .poll = f_poll};
}

void fake_vhost_say(const void *bytes, uint8_t n)
{
	const unsigned at = (fake->in_first + fake->in_n++) % 256;

	memcpy(fake->in[at], bytes, n);
	fake->in_len[at] = n;
	if (write(far, "", 1) != 1)
		abort();
}

void fake_vhost_miss(uint64_t iova, uint8_t perm)
{
	struct vhi_vhost_msg v1 = {.type = VHI_VHOST_IOTLB_MSG};
	struct vhi_vhost_msg_v2 v2 = {.type = VHI_VHOST_IOTLB_MSG_V2};
	const struct vhi_vhost_iotlb_msg body = {.iova = iova, .perm = perm, .type = VHI_VHOST_IOTLB_MISS};

	v1.iotlb = body;
	v2.iotlb = body;
	if (fake->backend_acked & BIT(VHI_VHOST_BACKEND_F_IOTLB_MSG_V2))
		fake_vhost_say(&v2, sizeof(v2));
	else
		fake_vhost_say(&v1, sizeof(v1));
}

bool fake_vhost_called(uint32_t request)
{
	for (unsigned i = 0; i < fake->n_calls && i < 64; i++)
		if (fake->calls[(fake->n_calls - 1 - i) % 64] == request)
			return true;
	return false;
}
