/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Which ioctls a kernel has. What it does not know it takes for a call about a ring, so that the answer may be about the
 * owner, the address or the index, and only then that there is no such thing. So a call is tried with an argument that
 * begins with a good index where memory ends, or with a value that is no index and means nothing to the call itself.
 */
#include "vhi_kern.h"

#include <sys/mman.h>

enum how {
	THERE, /* since the device file's first release */
	EDGE,  /* memory ends behind the index: EFAULT when it is known, and nothing is done */
	VALUE, /* four bytes of ones: refused by who knows it, no ring to others */
	EMPTY, /* zeroes, which ask for nothing */
	AS,    /* its sibling, because it can't be tried without an effect */
};

static const struct {
	uint32_t request;
	enum how how;
	uint32_t sibling;
} tries[] = {
	{VHI_VHOST_NEW_WORKER, AS, VHI_VHOST_FREE_WORKER},
	{VHI_VHOST_FREE_WORKER, VALUE, 0},
	{VHI_VHOST_ATTACH_VRING_WORKER, AS, VHI_VHOST_FREE_WORKER},
	{VHI_VHOST_GET_VRING_WORKER, AS, VHI_VHOST_FREE_WORKER},
	{VHI_VHOST_SET_VRING_ENDIAN, EDGE, 0},
	{VHI_VHOST_GET_VRING_ENDIAN, EDGE, 0},
	{VHI_VHOST_SET_VRING_BUSYLOOP_TIMEOUT, EDGE, 0},
	{VHI_VHOST_GET_VRING_BUSYLOOP_TIMEOUT, EDGE, 0},
	{VHI_VHOST_SET_BACKEND_FEATURES, EDGE, 0},
	{VHI_VHOST_GET_BACKEND_FEATURES, EMPTY, 0},
	{VHI_VHOST_SET_FORK_FROM_OWNER, VALUE, 0},
	{VHI_VHOST_GET_FORK_FROM_OWNER, VALUE, 0},
	{VHI_VHOST_GET_FEATURES_ARRAY, EMPTY, 0},
	{VHI_VHOST_SET_FEATURES_ARRAY, AS, VHI_VHOST_GET_FEATURES_ARRAY},
};

struct edge {
	uint8_t *map;
	size_t len;
	uint32_t *index; /* the last four bytes before nothing */
};

static int edge_open(const struct vh_kern *k, struct edge *e)
{
	const size_t page = 65536; /* a multiple of every page size here */

	e->len = 2 * page;
	e->map = vhi_sys.mmap(NULL, e->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->map == MAP_FAILED)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "%s: out of memory", k->who);
	if (vhi_sys.mmap(e->map, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	    MAP_FAILED) {
		vhi_sys.munmap(e->map, e->len);
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "%s: out of memory", k->who);
	}
	e->index = (uint32_t *)(void *)(e->map + page) - 1;
	*e->index = 0;
	return 0;
}

static uint32_t verdict(const struct vh_kern *k, const struct vhi_ioctl_row *row, enum how how, int err)
{
	if (err == ENOTTY || (err == ENOBUFS && how == VALUE))
		return VH_KERN_IOCTL_NO;
	/* Workers are not looked for without an owner. */
	if (err == EINVAL && row->request == VHI_VHOST_FREE_WORKER)
		return k->owned ? VH_KERN_IOCTL_NO : VH_KERN_IOCTL_UNKNOWN;
	if (err == EPERM)
		return row->owner ? VH_KERN_IOCTL_UNKNOWN : VH_KERN_IOCTL_NO;
	return VH_KERN_IOCTL_YES;
}

static uint32_t attempt(const struct vh_kern *k, const struct edge *e, const struct vhi_ioctl_row *row, enum how how)
{
	uint64_t words[2] = {0};
	void *arg = how == EDGE ? (void *)e->index : (void *)words;

	if (how == VALUE)
		memset(words, 0xff, sizeof(words));
	return verdict(k, row, how, vhi_sys.ioctl(k->fd, row->request, arg) < 0 ? errno : 0);
}

static uint32_t state_of(const struct vh_kern *k, const struct edge *e, const struct vhi_ioctl_row *row)
{
	for (size_t i = 0; i < VHI_ARRAY_SIZE(tries); i++) {
		if (tries[i].request != row->request)
			continue;
		if (tries[i].how == AS)
			return state_of(k, e, vhi_ioctl_find(tries[i].sibling));
		return attempt(k, e, row, tries[i].how);
	}
	return row->nodes & vhi_kern_node(k) ? VH_KERN_IOCTL_YES : VH_KERN_IOCTL_NO;
}

vh_count vh_kern_probe(struct vh_kern *k, struct vh_kern_ioctl *out, uint32_t max)
{
	struct edge e = {0};
	uint32_t n = 0;
	int rc;

	if (max && !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_kern_probe: NULL out");
	rc = vhi_kern_enter(k, "vh_kern_probe");
	if (rc)
		return rc;
	rc = edge_open(k, &e);
	for (uint32_t i = 0; !rc && i < vhi_n_ioctls; i++) {
		if (!(vhi_ioctls[i].nodes & VHI_NODE_WORKERS))
			continue;
		if (n < max)
			out[n] = (struct vh_kern_ioctl){.request = vhi_ioctls[i].request,
							.state = state_of(k, &e, &vhi_ioctls[i])};
		n++;
	}
	if (!rc)
		vhi_sys.munmap(e.map, e.len);
	return vhi_kern_leave(k, rc ? rc : (vh_count)n);
}

const char *vh_kern_ioctl_name(uint32_t request)
{
	const struct vhi_ioctl_row *row = vhi_ioctl_find(request);

	return row ? row->name : NULL;
}
