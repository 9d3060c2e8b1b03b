// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/* The two commands of the vdpa netlink family by which devices come and go, by hand: a test must not need what it tests. */
#ifndef VHT_GUEST_GENL_H
#define VHT_GUEST_GENL_H

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/vdpa.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct genl_msg {
	struct nlmsghdr h;
	struct genlmsghdr g;
	uint8_t attrs[512];
};

static void genl_text(struct genl_msg *m, uint16_t type, const char *text)
{
	struct nlattr *a = (struct nlattr *)((uint8_t *)m + m->h.nlmsg_len);

	a->nla_type = type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + strlen(text) + 1);
	memcpy((uint8_t *)a + NLA_HDRLEN, text, strlen(text) + 1);
	m->h.nlmsg_len += NLA_ALIGN(a->nla_len);
}

static struct genl_msg genl_message(uint16_t family, uint8_t command)
{
	return (struct genl_msg){.h = {.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN),
				       .nlmsg_type = family,
				       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
				 .g = {.cmd = command, .version = 1}};
}

/* Send it, and read until its acknowledgement: 0 or -errno. @id: a family's number, if one was told. */
static int genl_do(struct genl_msg *m, uint16_t *id)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC), rc = fd < 0 ? -errno : 1;
	static uint8_t buf[8192] __attribute__((aligned(8)));

	if (rc == 1 && send(fd, m, m->h.nlmsg_len, 0) < 0)
		rc = -errno;
	while (rc == 1) {
		int n = (int)recv(fd, buf, sizeof(buf), 0);

		if (n < 0)
			rc = -errno;
		for (struct nlmsghdr *h = (void *)buf; n > 0 && NLMSG_OK(h, (unsigned)n); h = NLMSG_NEXT(h, n)) {
			uint8_t *at = (uint8_t *)h + NLMSG_LENGTH(GENL_HDRLEN), *last = (uint8_t *)h + h->nlmsg_len;

			if (h->nlmsg_type == NLMSG_ERROR) {
				rc = ((struct nlmsgerr *)NLMSG_DATA(h))->error;
				break;
			}
			for (; id && at + NLA_HDRLEN <= last; at += NLA_ALIGN(((struct nlattr *)(void *)at)->nla_len))
				if (((struct nlattr *)(void *)at)->nla_type == CTRL_ATTR_FAMILY_ID)
					memcpy(id, at + NLA_HDRLEN, sizeof(*id));
		}
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static int genl_vdpa(uint8_t command, const char *mgmt, const char *name)
{
	struct genl_msg m = genl_message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	uint16_t family = 0;
	int rc;

	genl_text(&m, CTRL_ATTR_FAMILY_NAME, VDPA_GENL_NAME);
	rc = genl_do(&m, &family);
	if (rc)
		return rc;
	m = genl_message(family, command);
	if (mgmt)
		genl_text(&m, VDPA_ATTR_MGMTDEV_DEV_NAME, mgmt);
	genl_text(&m, VDPA_ATTR_DEV_NAME, name);
	return genl_do(&m, NULL);
}

/* They wait for answers of the device. */
__attribute__((unused)) static int genl_dev_new(const char *mgmt, const char *name)
{
	return genl_vdpa(VDPA_CMD_DEV_NEW, mgmt, name);
}

__attribute__((unused)) static int genl_dev_del(const char *name)
{
	return genl_vdpa(VDPA_CMD_DEV_DEL, NULL, name);
}

#endif
