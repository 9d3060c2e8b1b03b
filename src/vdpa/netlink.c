/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Generic netlink: a request, and every answer to it. */
#include "vhi_netlink.h"

#include <linux/genetlink.h>
#include <linux/netlink.h>

#include "vhi_vdpa_sites.h"

#define FAMILY	     "vdpa"
#define MAX_MESSAGES 65536u /* of one answer, those that are none of ours included */
#define HEAD	     ((uint32_t)sizeof(struct nlmsghdr))
#define GENL_HEAD    ((uint32_t)(sizeof(struct nlmsghdr) + sizeof(struct genlmsghdr)))

static uint32_t padded(uint32_t len)
{
	return (len + 3) & ~3u;
}

void vhi_nl_begin(struct vhi_nl_request *r, uint8_t cmd, bool dump)
{
	struct nlmsghdr head = {.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | (dump ? NLM_F_DUMP : 0))};
	struct genlmsghdr genl = {.cmd = cmd, .version = 1};

	memset(r, 0, sizeof(*r));
	memcpy(r->bytes, &head, sizeof(head));
	memcpy(r->bytes + sizeof(head), &genl, sizeof(genl));
	r->len = GENL_HEAD;
}

void vhi_nl_put(struct vhi_nl_request *r, uint16_t type, const void *data, size_t len)
{
	struct nlattr attr = {.nla_len = (uint16_t)(sizeof(attr) + len), .nla_type = type};

	if (len > VHI_NL_REQUEST || padded((uint32_t)(sizeof(attr) + len)) > VHI_NL_REQUEST - r->len) {
		r->full = true;
		return;
	}
	memcpy(r->bytes + r->len, &attr, sizeof(attr));
	memcpy(r->bytes + r->len + sizeof(attr), data, len);
	r->len += padded(attr.nla_len);
}

void vhi_nl_put_text(struct vhi_nl_request *r, uint16_t type, const char *text)
{
	vhi_nl_put(r, type, text, strlen(text) + 1);
}

int vhi_nl_next(struct vhi_nl_attrs *a, struct vhi_nl_attr *attr)
{
	struct nlattr head;

	if (a->left < sizeof(head))
		return 0;
	memcpy(&head, a->at, sizeof(head));
	if (VHI_REFUSE(VHI_SITE_VDPA_NL_ATTR, head.nla_len < sizeof(head) || head.nla_len > a->left))
		return vhi_fail(-EPROTO, VH_ERROR_PEER, VHI_SITE_VDPA_NL_ATTR,
				"vdpa netlink: attribute %u says %u bytes, and %u are left", head.nla_type,
				head.nla_len, a->left);
	attr->type = head.nla_type & NLA_TYPE_MASK;
	attr->len = head.nla_len - (uint32_t)sizeof(head);
	attr->data = a->at + sizeof(head);
	a->left -= VHI_MIN(a->left, padded(head.nla_len));
	a->at = a->left ? a->at + padded(head.nla_len) : a->at;
	return 1;
}

static const struct vhi_nl_field *field_of(const struct vhi_nl_field *fields, size_t n, uint16_t type, uint32_t device)
{
	for (size_t i = 0; i < n; i++)
		if (fields[i].type == type && (!fields[i].device || fields[i].device == device))
			return &fields[i];
	return NULL;
}

static int put_text(const struct vhi_nl_field *f, const struct vhi_nl_attr *attr, uint8_t *to)
{
	const size_t len = strnlen((const char *)attr->data, attr->len);

	if (VHI_REFUSE(VHI_SITE_VDPA_NL_TEXT, len >= f->width || len == attr->len))
		return vhi_fail(-EPROTO, VH_ERROR_PEER, VHI_SITE_VDPA_NL_TEXT,
				"vdpa netlink: the string of attribute %u has no end within %u bytes", attr->type,
				VHI_MIN((uint32_t)f->width, attr->len));
	memcpy(to, attr->data, VHI_MIN(len, (size_t)f->width - 1));
	return 0;
}

/* Little and big kernels: the byte order is this machine's. A number may be narrower than its table says, never wider. */
static int put_number(const struct vhi_nl_field *f, const struct vhi_nl_attr *attr, uint8_t *to)
{
	const bool narrow = f->kind == VHI_NL_U32 && f->width == 2 && attr->len == 1;
	uint32_t number;
	uint16_t half;

	if (VHI_REFUSE(VHI_SITE_VDPA_NL_WIDTH, attr->len != f->width && !narrow))
		return vhi_fail(-EPROTO, VH_ERROR_PEER, VHI_SITE_VDPA_NL_WIDTH,
				"vdpa netlink: attribute %u has %u bytes, not %u", attr->type, attr->len, f->width);
	if (f->kind != VHI_NL_U32) {
		memcpy(to, attr->data, VHI_MIN(attr->len, (uint32_t)f->width));
		return 0;
	}
	if (attr->len == 1) {
		number = attr->data[0];
	} else if (attr->len == 2) {
		memcpy(&half, attr->data, sizeof(half));
		number = half;
	} else {
		number = 0;
		memcpy(&number, attr->data, VHI_MIN(attr->len, (uint32_t)sizeof(number)));
	}
	memcpy(to, &number, sizeof(number));
	return 0;
}

int vhi_nl_fill(struct vhi_nl_attrs a, const struct vhi_nl_field *fields, size_t n, uint32_t device, void *out,
		uint64_t *has)
{
	const struct vhi_nl_field *f;
	struct vhi_nl_attr attr = {0};
	int rc;

	while ((rc = vhi_nl_next(&a, &attr)) > 0) {
		f = field_of(fields, n, attr.type, device);
		if (!f)
			continue;
		rc = f->kind == VHI_NL_TEXT ? put_text(f, &attr, (uint8_t *)out + f->offset)
					    : put_number(f, &attr, (uint8_t *)out + f->offset);
		if (rc)
			return rc;
		*has |= attr.type < 64 ? VHI_BIT(attr.type) : 0;
	}
	return rc;
}

/* What the kernel's sentence in an error message is, or "". */
static const char *sentence(const struct nlmsghdr *head, const uint8_t *payload, uint32_t len)
{
	struct vhi_nl_attrs a = {0};
	struct vhi_nl_attr attr = {0};
	struct nlmsghdr echoed;
	uint32_t skip = (uint32_t)sizeof(int32_t) + HEAD;

	if (!(head->nlmsg_flags & NLM_F_ACK_TLVS) || len < skip)
		return "";
	memcpy(&echoed, payload + sizeof(int32_t), sizeof(echoed));
	if (!(head->nlmsg_flags & NLM_F_CAPPED))
		skip = echoed.nlmsg_len < HEAD || echoed.nlmsg_len > len
			       ? len
			       : (uint32_t)sizeof(int32_t) + padded(echoed.nlmsg_len);
	if (skip >= len)
		return "";
	a = (struct vhi_nl_attrs){payload + skip, len - skip};
	while (vhi_nl_next(&a, &attr) > 0)
		if (attr.type == NLMSGERR_ATTR_MSG && strnlen((const char *)attr.data, attr.len) < attr.len)
			return (const char *)attr.data;
	return "";
}

/* What came of one call. */
struct call {
	struct vhi_netlink *nl;
	const char *who;
	vhi_nl_answer *answer;
	void *ctx;
	int rc; /* of the answers: the first failure */
	bool warnings_fail;
	bool changed;
	bool over;
};

/* The last message: an error, or that there is no more. */
static int take_end(struct call *c, const struct nlmsghdr *head, const uint8_t *payload, uint32_t len)
{
	const char *why;
	int32_t code = 0;

	if (VHI_REFUSE(VHI_SITE_VDPA_NL_SHORT, len < sizeof(code)))
		return vhi_fail(-EPROTO, VH_ERROR_PEER, VHI_SITE_VDPA_NL_SHORT,
				"%s: a last netlink message of %u bytes", c->who, len);
	memcpy(&code, payload, VHI_MIN(sizeof(code), (size_t)len));
	c->over = true;
	why = sentence(head, payload, len);
	if (code >= 0 && c->warnings_fail && *why)
		code = -EOPNOTSUPP;
	if (code >= 0)
		return 0;
	code = code < -4095 ? -EPROTO : code;
	return vhi_fail(code, VH_ERROR_SYSTEM, 0, "%s: the kernel says %s%s%.120s", c->who, vh_error_name(code),
			*why ? ": " : "", why);
}

static int take_message(struct call *c, const struct nlmsghdr *head, const uint8_t *payload, uint32_t len)
{
	struct vhi_nl_attrs attrs;
	int rc;

	if (head->nlmsg_seq != c->nl->seq) /* of a call that was given up */
		return 0;
	c->changed |= head->nlmsg_flags & NLM_F_DUMP_INTR;
	if (head->nlmsg_type == NLMSG_ERROR || head->nlmsg_type == NLMSG_DONE)
		return take_end(c, head, payload, len);
	if (head->nlmsg_type < NLMSG_MIN_TYPE || len < sizeof(struct genlmsghdr))
		return 0;
	attrs = (struct vhi_nl_attrs){payload + sizeof(struct genlmsghdr), len - (uint32_t)sizeof(struct genlmsghdr)};
	rc = c->answer && !c->rc ? c->answer(c->ctx, attrs) : 0;
	c->rc = c->rc ? c->rc : rc;
	return 0;
}

static int take_datagram(struct call *c, uint32_t n, uint32_t *messages)
{
	const uint8_t *at = c->nl->in;
	struct nlmsghdr head;
	int rc = 0;

	while (!rc && !c->over && n >= HEAD) {
		memcpy(&head, at, sizeof(head));
		if (VHI_REFUSE(VHI_SITE_VDPA_NL_LEN, head.nlmsg_len < HEAD || head.nlmsg_len > n))
			return vhi_fail(-EPROTO, VH_ERROR_PEER, VHI_SITE_VDPA_NL_LEN,
					"%s: a netlink message says %u bytes, and %u are left", c->who, head.nlmsg_len,
					n);
		if (VHI_REFUSE(VHI_SITE_VDPA_NL_MANY, ++*messages > MAX_MESSAGES))
			return vhi_fail(-EPROTO, VH_ERROR_PEER, VHI_SITE_VDPA_NL_MANY,
					"%s: more than %u netlink messages", c->who, MAX_MESSAGES);
		rc = take_message(c, &head, at + HEAD, head.nlmsg_len - HEAD);
		n -= VHI_MIN(n, padded(head.nlmsg_len));
		at += n ? padded(head.nlmsg_len) : 0;
	}
	return rc;
}

static int wait_readable(struct call *c, uint64_t end)
{
	struct pollfd p = {.fd = c->nl->fd, .events = POLLIN};
	uint64_t now;
	int n;

	do {
		now = vhi_now_ns();
		n = now >= end ? 0 : vhi_sys.poll(&p, 1, (int)((end - now + 999999) / 1000000));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "%s: poll: %s", c->who, vh_error_name(errno));
	return n ? 0
		 : vhi_fail(-ETIMEDOUT, VH_ERROR_PEER, 0, "%s: no answer of the kernel within %u ms", c->who,
			    c->nl->timeout_ms);
}

/* Bytes of a datagram of the kernel's; 0 when it was someone else's. */
static int receive(struct call *c, uint64_t end)
{
	struct sockaddr_nl from = {0};
	struct iovec iov = {c->nl->in, sizeof(c->nl->in)};
	struct msghdr msg = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
	int rc = wait_readable(c, end);
	ssize_t n;

	if (rc)
		return rc;
	n = vhi_sys.recvmsg(c->nl->fd, &msg, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "%s: receiving over netlink: %s", c->who,
				vh_error_name(errno));
	if (!n)
		return vhi_fail(-ECONNRESET, VH_ERROR_PEER, 0, "%s: the netlink socket has ended", c->who);
	/* Anybody may send to a netlink socket. One that is of another kind was given by the caller, and has one other end. */
	if (VHI_REFUSE(VHI_SITE_VDPA_NL_SENDER,
		       msg.msg_namelen == sizeof(from) && from.nl_family == AF_NETLINK && from.nl_pid))
		return 0;
	if (VHI_REFUSE(VHI_SITE_VDPA_NL_CUT, msg.msg_flags & MSG_TRUNC))
		return vhi_fail(-EPROTO, VH_ERROR_PEER, VHI_SITE_VDPA_NL_CUT,
				"%s: a netlink datagram of more than %u bytes", c->who, VHI_NL_ANSWER);
	return (int)n;
}

static int transact(struct call *c, struct vhi_nl_request *r, uint16_t type)
{
	struct vhi_netlink *nl = c->nl;
	struct iovec iov = {r->bytes, r->len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct nlmsghdr head;
	uint32_t messages = 0;
	uint64_t end;
	ssize_t sent;
	int rc = 0;

	if (r->full)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: names that are too long for a request", c->who);
	memcpy(&head, r->bytes, sizeof(head));
	head.nlmsg_len = r->len;
	head.nlmsg_type = type;
	head.nlmsg_seq = ++nl->seq;
	memcpy(r->bytes, &head, sizeof(head));
	do
		sent = vhi_sys.sendmsg(nl->fd, &msg, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return vhi_fail(-errno, VH_ERROR_SYSTEM, 0, "%s: sending over netlink: %s", c->who,
				vh_error_name(errno));
	/* The kernel works while it is told, which may take long: what it answers is there then. */
	end = vhi_now_ns() + nl->timeout_ms * UINT64_C(1000000);
	while (!rc && !c->over) {
		rc = receive(c, end);
		rc = rc > 0 ? take_datagram(c, (uint32_t)rc, &messages) : rc;
	}
	rc = rc ? rc : c->rc;
	return rc || !c->changed ? rc
				 : vhi_fail(-EAGAIN, VH_ERROR_SYSTEM, 0,
					    "%s: the list changed while it was read; ask again", c->who);
}

static int take_family(void *ctx, struct vhi_nl_attrs attrs)
{
	static const struct vhi_nl_field id = {CTRL_ATTR_FAMILY_ID, VHI_NL_U32, 2, 0, 0};
	struct vhi_netlink *nl = ctx;
	uint32_t family = 0;
	uint64_t has = 0;
	int rc = vhi_nl_fill(attrs, &id, 1, 0, &family, &has);

	if (rc)
		return rc;
	if (VHI_REFUSE(VHI_SITE_VDPA_NL_FAMILY, family < NLMSG_MIN_TYPE || family > UINT16_MAX))
		return vhi_fail(-EPROTO, VH_ERROR_PEER, VHI_SITE_VDPA_NL_FAMILY,
				"vdpa netlink: the family \"" FAMILY "\" has no number");
	nl->family = (uint16_t)family;
	return 0;
}

static int find_family(struct vhi_netlink *nl, const char *who)
{
	struct call c = {.nl = nl, .who = who, .answer = take_family, .ctx = nl};
	struct vhi_nl_request r;
	int rc;

	vhi_nl_begin(&r, CTRL_CMD_GETFAMILY, false);
	vhi_nl_put_text(&r, CTRL_ATTR_FAMILY_NAME, FAMILY);
	rc = transact(&c, &r, GENL_ID_CTRL);
	if (rc == -ENOENT)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0,
				"%s: this kernel has no vDPA (ENOENT): load the module vdpa, and call from the initial "
				"network namespace",
				who);
	if (rc || nl->family)
		return rc;
	return vhi_fail(-EPROTO, VH_ERROR_PEER, 0, "%s: the kernel did not say which family \"" FAMILY "\" is", who);
}

int vhi_nl_open(struct vhi_netlink *nl, int fd)
{
	const int on = 1;

	nl->fd = fd >= 0 ? vhi_fd_dup(fd) : vhi_sys.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (nl->fd < 0)
		return fd >= 0 ? nl->fd : -errno;
	/* With them an error is short and has a sentence; without them it has a number. */
	(void)vhi_sys.setsockopt(nl->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	(void)vhi_sys.setsockopt(nl->fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	return 0;
}

void vhi_nl_close(struct vhi_netlink *nl)
{
	vhi_fd_close(&nl->fd);
}

int vhi_nl_call(struct vhi_netlink *nl, struct vhi_nl_request *r, const char *who, vhi_nl_answer *answer, void *ctx)
{
	const struct call first = {
		.nl = nl, .who = who, .answer = answer, .ctx = ctx, .warnings_fail = r->warnings_fail};
	struct call c = first;
	const bool known = nl->family;
	int rc = nl->fd >= 0 ? 0 : vhi_nl_open(nl, -1);

	if (rc)
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: no netlink socket: %s", who, vh_error_name(rc));
	rc = known ? 0 : find_family(nl, who);
	rc = rc ? rc : transact(&c, r, nl->family);
	if (rc != -ENOENT || !known)
		return rc;
	/* The number is of a module that may have been loaded anew since: nothing was done under the old one. */
	nl->family = 0;
	c = first;
	rc = find_family(nl, who);
	return rc ? rc : transact(&c, r, nl->family);
}
