/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A network device on a tap of this machine, or on a datagram socket: a message is a frame. */
#include "vhi_net.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* One frame is read or written with this before it. */
static uint8_t *with_header(const struct vhi_net *n, struct vhi_net_frame *f)
{
	return f->data - n->fd_hdr;
}

void vhi_net_tap_watch(struct vhi_net *n, bool on)
{
	struct epoll_event ev = {.events = EPOLLIN};

	on = on && !n->broken;
	if (on != n->watched && !vhi_sys.epoll_ctl(n->epfd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, n->fd, &ev))
		n->watched = on;
}

static void tap_send(struct vhi_net *n)
{
	ssize_t rc;

	memset(with_header(n, &n->tx), 0, n->fd_hdr);
	do
		rc = vhi_sys.write(n->fd, with_header(n, &n->tx), n->fd_hdr + n->tx.len);
	while (rc < 0 && errno == EINTR);
	/* Full: as on any wire the frame is lost. */
	if (rc < 0 && errno != EAGAIN && errno != ENOBUFS)
		vh_device_error(n->dev, 1, -errno);
}

static bool tap_next(struct vhi_net *n)
{
	ssize_t rc;

	/* What is too short for a frame is passed over, but not for ever. */
	for (int i = 0; i < VHI_NET_BATCH; i++) {
		rc = vhi_sys.read(n->fd, with_header(n, &n->rx), n->fd_hdr + sizeof(n->rx.data));
		if (rc < 0 && errno != EINTR)
			break;
		if (rc >= (ssize_t)n->fd_hdr + VH_NET_FRAME_MIN) {
			n->rx.len = (uint32_t)rc - n->fd_hdr;
			return true;
		}
	}
	if (rc < 0 && errno != EAGAIN && errno != EINTR) {
		vh_device_error(n->dev, 0, -errno);
		n->broken = true; /* else it would be readable for ever */
	}
	return false;
}

/* A tap: no IFF_PI, and no offloads, since the driver is offered none. */
static int tap_setup(struct vhi_net *n, const struct ifreq *ifr)
{
	int len = 0;

	if (!(ifr->ifr_flags & IFF_TAP) || !(ifr->ifr_flags & IFF_NO_PI))
		return vhi_fail(-ENOTSUP, VH_ERROR_ARGUMENT, 0,
				"vh_netdev_new: the interface was not made with IFF_TAP and IFF_NO_PI");
	if (!(ifr->ifr_flags & IFF_VNET_HDR))
		return 0;
	if (vhi_sys.ioctl(n->fd, TUNSETOFFLOAD, NULL) || vhi_sys.ioctl(n->fd, TUNGETVNETHDRSZ, &len))
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "vh_netdev_new: the tap can't be set up (%s)",
				vh_error_name(errno));
	if (len < 0 || len > VHI_NET_ROOM)
		return vhi_fail(-ENOTSUP, VH_ERROR_ARGUMENT, 0, "vh_netdev_new: the tap has headers of %d bytes", len);
	n->fd_hdr = (uint32_t)len;
	return 0;
}

static int what_is_it(struct vhi_net *n)
{
	struct ifreq ifr = {0};
	int type = 0;
	socklen_t len = sizeof(type);

	if (!vhi_sys.ioctl(n->fd, TUNGETIFF, &ifr))
		return tap_setup(n, &ifr);
	if (!vhi_sys.getsockopt(n->fd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_DGRAM)
		return 0;
	return vhi_fail(-ENOTSUP, VH_ERROR_ARGUMENT, 0,
			"vh_netdev_new: the fd is neither a tap (open /dev/net/tun and TUNSETIFF it) nor a datagram "
			"socket");
}

static int tap_open(struct vhi_net *n, int fd)
{
	int rc;

	n->fd = vhi_fd_dup(fd);
	if (n->fd < 0)
		return vhi_fail(n->fd, VH_ERROR_SYSTEM, 0, "vh_netdev_new: can't duplicate fd %d (%s)", fd,
				vh_error_name(n->fd));
	rc = what_is_it(n);
	if (rc)
		return rc;
	rc = vhi_fd_set_nonblock(n->fd);
	if (!rc) {
		n->epfd = vhi_sys.epoll_create1(EPOLL_CLOEXEC);
		rc = n->epfd < 0 ? -errno : 0;
	}
	return rc ? vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_netdev_new: can't watch fd %d (%s)", fd, vh_error_name(rc))
		  : 0;
}

/*
 * A frame to everybody from the guest's address, by which switches learn the port: the request of RFC 903 that asks for
 * the sender's own protocol address, as short as Ethernet allows.
 */
static vh_rc tap_announce(void *ctx, const void *mac, uint32_t len, uint64_t later)
{
	static const uint8_t rarp[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
	struct vhi_net *n = ctx;
	uint8_t *p = n->tx.data;

	(void)later;
	n->tx.len = 60;
	memset(p, 0, n->tx.len);
	memset(p, 0xff, len);
	memcpy(p + 6, mac, len);
	memcpy(p + 12, rarp, sizeof(rarp));
	memcpy(p + 22, mac, len); /* sender */
	memcpy(p + 32, mac, len); /* target */
	tap_send(n);
	return 0;
}

const struct vhi_net_kind vhi_net_tap = {
	.open = tap_open,
	.send = tap_send,
	.next = tap_next,
	.announce = tap_announce,
};
