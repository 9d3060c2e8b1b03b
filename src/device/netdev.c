/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Built-in network devices: options, features, config space and the callbacks that a slave sees. */
#include "vhi_net.h"

#include <endian.h>

/* What all its frames have in common. Of the number a short one has what it has room for. */
static int source_open(struct vhi_net *n, int fd)
{
	static const uint8_t type[] = {0x88, 0xb5}; /* for local experiments */
	uint8_t *p = n->rx.data;

	(void)fd;
	memset(p, 0xff, sizeof(n->opts.mac));
	memcpy(p + 6, n->opts.mac, sizeof(n->opts.mac));
	memcpy(p + 12, type, sizeof(type));
	n->rx.numbered = VHI_NET_NUMBER + sizeof(n->rx.number);
	return 0;
}

static bool source_next(struct vhi_net *n)
{
	n->rx.number = htole64(n->made++);
	n->rx.len = n->opts.frame;
	return true;
}

static const struct vhi_net_kind loopback = {.loops = true}, sink = {0},
				 source = {.open = source_open, .next = source_next};

static const struct vhi_net_kind *const kinds[] = {
	[VH_NETDEV_LOOPBACK] = &loopback,
	[VH_NETDEV_TAP] = &vhi_net_tap,
	[VH_NETDEV_SINK] = &sink,
	[VH_NETDEV_SOURCE] = &source,
};

static void put_le16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void config_fill(struct vhi_net *n)
{
	memcpy(&n->config[VHI_NET_C_MAC], n->opts.mac, sizeof(n->opts.mac));
	put_le16(&n->config[VHI_NET_C_STATUS], VHI_NET_S_LINK_UP);
	put_le16(&n->config[VHI_NET_C_PAIRS], n->opts.pairs);
	put_le16(&n->config[VHI_NET_C_MTU], n->opts.mtu);
}

static bool has_mac(const struct vh_netdev_opts *o)
{
	static const uint8_t none[sizeof(o->mac)];

	return memcmp(o->mac, none, sizeof(none)) != 0;
}

/* Which of several pairs run is for a driver to say on a control queue, which vhost-user front-ends keep to themselves. */
static uint64_t net_features(const struct vh_netdev_opts *o)
{
	uint64_t f = VHI_RING_OFFERED | VHI_BIT(VH_NET_F_MRG_RXBUF) | VHI_BIT(VH_NET_F_STATUS);

	if (has_mac(o))
		f |= VHI_BIT(VH_NET_F_MAC);
	if (o->mtu)
		f |= VHI_BIT(VH_NET_F_MTU);
	if (o->pairs > 1)
		f |= VHI_BIT(VH_NET_F_MQ);
	return f;
}

static void net_destroy(void *ctx)
{
	struct vhi_net *n = ctx;

	vhi_fd_close(&n->epfd);
	vhi_fd_close(&n->fd);
	vhi_free(n);
}

/* The slave has seen that the range lies within. */
static int32_t net_get_config(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later)
{
	struct vhi_net *n = ctx;

	(void)later;
	memcpy(buf, &n->config[offset], len);
	return 0;
}

static int32_t net_set_features(void *ctx, uint64_t features, uint64_t later)
{
	struct vhi_net *n = ctx;

	if (!features && !later) /* the connection ended, and with it the front-end's choice */
		put_le16(&n->config[VHI_NET_C_MTU], n->opts.mtu);
	n->merge = features & VHI_BIT(VH_NET_F_MRG_RXBUF);
	n->hdr = n->merge || (features & VHI_BIT(VH_F_VERSION_1)) ? VH_NET_HDR_SIZE : VHI_NET_HDR_SHORT;
	return 0;
}

/* What the driver was told is the most that there is. */
static int32_t net_set_mtu(void *ctx, uint32_t mtu, uint64_t later)
{
	struct vhi_net *n = ctx;

	(void)later;
	if (mtu > n->opts.mtu)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "the network device was made for an MTU of %u, not %u",
				n->opts.mtu, mtu);
	put_le16(&n->config[VHI_NET_C_MTU], mtu);
	return 0;
}

static void queue_turn(struct vhi_net *n, uint32_t index, struct vh_queue *q)
{
	if (index >= 2 * n->opts.pairs)
		return;
	n->queues[index] = q;
	if (n->fd < 0 || index)
		return;
	n->rx.len = 0;
	vhi_net_tap_watch(n, q);
}

static void net_queue_started(void *ctx, struct vh_queue *q, uint32_t index)
{
	queue_turn(ctx, index, q);
}

static void net_queue_stopped(void *ctx, struct vh_queue *q, uint32_t index)
{
	(void)q;
	queue_turn(ctx, index, NULL);
}

static int32_t net_on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct vhi_net *n = ctx;

	if (index >= 2 * n->opts.pairs || n->queues[index] != q)
		return -EINVAL;
	if (index % 2)
		return vhi_net_sent(n, index / 2, budget);
	return n->kind->next ? vhi_net_receive(n, index / 2, budget) : 0;
}

static int32_t net_poll_fd(void *ctx)
{
	return ((struct vhi_net *)ctx)->epfd;
}

static int32_t net_on_poll(void *ctx)
{
	struct vhi_net *n = ctx;

	vhi_net_receive(n, 0, VHI_NET_POLL);
	return 0; /* a queue that could not take its frames is broken, and says so itself */
}

static const struct vh_device_ops net_ops = {
	.size = sizeof(struct vh_device_ops),
	.destroy = net_destroy,
	.get_config = net_get_config,
	.set_features = net_set_features,
	.queue_started = net_queue_started,
	.queue_stopped = net_queue_stopped,
	.on_batch = net_on_batch,
	.poll_fd = net_poll_fd,
	.on_poll = net_on_poll,
	.set_mtu = net_set_mtu,
};

static int bad_opts(const char *what, uint64_t v, const char *hint)
{
	return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_netdev_new: %s is %llu; %s", what, (unsigned long long)v,
			hint);
}

static int check_opts(struct vh_netdev_opts *o, int fd)
{
	bool tap = o->kind == VH_NETDEV_TAP;

	o->pairs = o->pairs ? o->pairs : 1;
	o->max_queue_size = o->max_queue_size ? o->max_queue_size : 1024;
	o->frame = o->frame ? o->frame : 60;
	if (o->kind >= VHI_ARRAY_SIZE(kinds) || !kinds[o->kind])
		return bad_opts("kind", o->kind, "it can be VH_NETDEV_LOOPBACK, _TAP, _SINK or _SOURCE");
	if (o->pairs > (tap ? 1 : VHI_NET_MAX_PAIRS))
		return bad_opts("pairs", o->pairs, "it can be 1 to 128, and 1 for a tap");
	if (o->max_queue_size > VH_QUEUE_MAX_SIZE)
		return bad_opts("max_queue_size", o->max_queue_size, "it can be 1 to 32768");
	if (o->mtu && (o->mtu < 68 || o->mtu > 65535))
		return bad_opts("mtu", o->mtu, "it can be 68 to 65535");
	if (o->frame < VH_NET_FRAME_MIN || o->frame > VH_NET_FRAME_MAX)
		return bad_opts("frame", o->frame, "it can be 14 to 65553");
	if (o->mac[0] & 1)
		return bad_opts("mac[0]", o->mac[0], "its lowest bit is set in group addresses only");
	if (o->reserved)
		return bad_opts("reserved", o->reserved, "it must be 0");
	if (tap && fd < 0)
		return vhi_fail(-EBADF, VH_ERROR_ARGUMENT, 0,
				"vh_netdev_new: fd is %d; open the tap and pass its descriptor", fd);
	if (!tap && fd != -1)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_netdev_new: fd is %d; only VH_NETDEV_TAP takes one, else pass -1", fd);
	return 0;
}

static int net_make(const struct vh_netdev_opts *opts, int fd, struct vhi_net **out)
{
	struct vhi_net *n = vhi_calloc(1, sizeof(*n) + 2 * opts->pairs * sizeof(n->queues[0]));
	int rc;

	if (!n)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_netdev_new: no memory");
	n->opts = *opts;
	n->kind = kinds[opts->kind];
	n->fd = n->epfd = -1;
	net_set_features(n, 0, 0);
	config_fill(n);
	rc = n->kind->open ? n->kind->open(n, fd) : 0;
	if (rc)
		net_destroy(n);
	else
		*out = n;
	return rc;
}

vh_rc vh_netdev_new(const struct vh_netdev_opts *opts, int32_t fd, struct vh_device **out)
{
	struct vh_netdev_opts o;
	struct vh_device_opts dev_opts = {.size = sizeof(dev_opts), .type = VH_TYPE_NET};
	struct vh_device_ops ops = net_ops;
	struct vhi_net *n = NULL;
	int rc;

	if (!opts)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_netdev_new: opts is NULL; say the kind");
	if (!out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_netdev_new: out is NULL");
	rc = vhi_opts_in(&o, sizeof(o), opts, "struct vh_netdev_opts");
	if (!rc)
		rc = check_opts(&o, fd);
	if (!rc)
		rc = net_make(&o, fd, &n);
	if (rc)
		return rc;
	dev_opts.features = net_features(&o);
	dev_opts.max_queues = 2 * o.pairs;
	dev_opts.max_queue_size = o.max_queue_size;
	ops.send_rarp = n->kind->announce;
	rc = vh_device_new(&dev_opts, &ops, n, out); /* destroys n when it fails */
	if (!rc)
		n->dev = *out;
	return rc;
}
