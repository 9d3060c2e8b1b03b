/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* vDPA management over netlink: against what a kernel answered, and against answers that no kernel gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhi_vdpa_mgmt.h"
#include "vhi_vdpa_sites.h"
#include "vh/vh.h"
#include "vht_netlink.h"

#define FAMILY 34 /* of the recordings */
#define MAX    40000

/* The kernel's end, and what it says instead of what it once said. */
static int kernel = -1;
static struct {
	uint8_t bytes[MAX];
	size_t n;
	size_t next[MAX / 16]; /* of a message at 16 times this, where the one after it begins */
	bool instead, once, silent, family_too;
	bool repeat, repeating;
	unsigned slow_us;      /* that the kernel takes */
	uint8_t request[1024]; /* that nobody answered */
	size_t request_len;
	int fail_socket, fail_send, fail_recv;
	uint32_t sender;
	int fail_calloc; /* the how manyth */
} odd;

static int fake_socket(int domain, int type, int protocol)
{
	int fds[2];

	assert_int_equal(domain, AF_NETLINK);
	assert_int_equal(type, SOCK_RAW | SOCK_CLOEXEC);
	assert_int_equal(protocol, NETLINK_GENERIC);
	if (odd.fail_socket) {
		errno = odd.fail_socket;
		return -1;
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	kernel = fds[1];
	return fds[0];
}

static ssize_t fake_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	const uint8_t *request = msg->msg_iov->iov_base;
	const size_t len = msg->msg_iov->iov_len;
	uint16_t type;

	(void)fd;
	(void)flags;
	usleep(odd.slow_us);
	if (odd.fail_send) {
		errno = odd.fail_send;
		return -1;
	}
	memcpy(&type, request + 4, sizeof(type));
	if (odd.instead && (odd.family_too || type != GENL_ID_CTRL)) {
		for (size_t at = 0; at < odd.n && odd.n < MAX; at = odd.next[at / 16])
			memcpy(odd.bytes + at + 8, request + 8, 4);
		assert_int_equal(send(kernel, odd.bytes, odd.n, 0), odd.n);
		odd.repeating = odd.repeat;
		odd.instead = !odd.once;
	} else if (odd.silent && type != GENL_ID_CTRL) {
		memcpy(odd.request, request, len);
		odd.request_len = len;
	} else {
		assert_true(vht_netlink_answer(kernel, request, len));
	}
	return (ssize_t)len;
}

static ssize_t fake_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct sockaddr_nl from = {.nl_family = AF_NETLINK, .nl_pid = odd.sender};
	ssize_t n;

	if (odd.fail_recv) {
		errno = odd.fail_recv;
		return -1;
	}
	/* The datagram stays, and comes again. */
	n = recvmsg(fd, msg, flags | (odd.repeating ? MSG_PEEK : 0));
	memcpy(msg->msg_name, &from, sizeof(from));
	msg->msg_namelen = sizeof(from);
	return n;
}

static void *fake_calloc(size_t n, size_t size)
{
	if (odd.fail_calloc && !--odd.fail_calloc)
		return NULL;
	return calloc(n, size);
}

static int fake_fcntl(int fd, int cmd, uintptr_t arg)
{
	return fcntl(fd, cmd, arg);
}

const struct vhi_sys vhi_sys = {
	.calloc = fake_calloc,
	.free = free,
	.close = close,
	.fcntl = fake_fcntl,
	.poll = poll,
	.socket = fake_socket,
	.setsockopt = setsockopt,
	.sendmsg = fake_sendmsg,
	.recvmsg = fake_recvmsg,
};

static struct vh_vdpa_mgmt *m;

static int open_it(void **state)
{
	struct vh_vdpa_mgmt_opts opts = {.size = sizeof(opts), .timeout_ms = 60000};

	(void)state;
	memset(&odd, 0, sizeof(odd));
	vht_netlink_prefer(NULL);
	assert_int_equal(vh_vdpa_mgmt_new(&opts, NULL, -1, &m), 0);
	return 0;
}

static int close_it(void **state)
{
	(void)state;
	vh_vdpa_mgmt_free(m);
	if (kernel >= 0)
		close(kernel);
	kernel = -1;
	return 0;
}

static void fails(int rc, int code, const char *words)
{
	struct vh_error e = {.size = sizeof(e)};

	assert_int_equal(rc, code);
	assert_int_equal(vh_error_get(&e), 0);
	assert_int_equal(e.code, code);
	if (!strstr(e.text, words))
		fail_msg("\"%s\" does not say \"%s\"", e.text, words);
}

static void at_site(int rc, int code, uint32_t site)
{
	struct vh_error e = {.size = sizeof(e)};

	assert_int_equal(rc, code);
	assert_int_equal(vh_error_get(&e), 0);
	assert_int_equal(e.site, site);
}

static void management_devices_are_listed(void **state)
{
	struct vh_vdpa_mgmtdev d = {.size = sizeof(d)};

	(void)state;
	vht_netlink_prefer("mgmtdev-list2");
	assert_int_equal(vh_vdpa_mgmt_list_mgmtdevs(m), 4);
	assert_int_equal(vh_vdpa_mgmt_get_mgmtdev(m, 0, &d), 0);
	assert_string_equal(d.name, "vduse");
	assert_string_equal(d.bus, "");
	assert_int_equal(d.classes, 6);
	assert_int_equal(vh_vdpa_mgmt_get_mgmtdev(m, 1, &d), 0);
	assert_string_equal(d.name, "vdpasim_net");
	assert_int_equal(d.max_vqs, 3);
	assert_int_equal(d.features, 0x308830028);
	assert_int_equal(vh_vdpa_mgmt_get_mgmtdev(m, 3, &d), 0);
	assert_string_equal(d.bus, "pci");
	assert_string_equal(d.name, "0000:00:02.0");
	fails(vh_vdpa_mgmt_get_mgmtdev(m, 4, &d), -ENOENT, "4 of 4");
}

static void devices_are_listed_and_found(void **state)
{
	struct vh_vdpa_dev d = {.size = sizeof(d)};

	(void)state;
	assert_int_equal(vh_vdpa_mgmt_list_devs(m), 3);
	assert_int_equal(vh_vdpa_mgmt_get_dev(m, 1, &d), 0);
	assert_string_equal(d.name, "vblk0");
	assert_string_equal(d.mgmt_name, "vdpasim_blk");
	assert_int_equal(d.device_id, VH_TYPE_BLK);
	assert_int_equal(d.max_vqs, 1);
	assert_int_equal(vh_vdpa_mgmt_get_dev(m, 2, &d), 0);
	assert_string_equal(d.mgmt_bus, "pci");
	assert_int_equal(d.vendor_id, 0x1af4);
	assert_int_equal(vh_vdpa_mgmt_find_dev(m, "vnet0", &d), 0);
	assert_string_equal(d.name, "vnet0");
	assert_int_equal(d.max_vq_size, 256);
	assert_int_equal(d.min_vq_size, 1);
	fails(vh_vdpa_mgmt_find_dev(m, "nothing", &d), -ENODEV, "device not found");
}

static void devices_are_made_changed_and_taken_away(void **state)
{
	struct vh_vdpa_attrs a = {.size = sizeof(a),
				  .has = UINT64_C(1) << VH_VDPA_HAS_MAC | UINT64_C(1) << VH_VDPA_HAS_MTU,
				  .mac = {0x52, 0x54, 0, 0x11, 0x22, 0x33},
				  .mtu = 1400};

	(void)state;
	assert_int_equal(vh_vdpa_mgmt_add_dev(m, "vdpasim_net", "vnet0", &a), 0);
	assert_int_equal(vh_vdpa_mgmt_add_dev(m, "pci/0000:00:02.0", "vp0", NULL), 0);
	assert_int_equal(vh_vdpa_mgmt_add_dev(m, "vdpasim_blk", "vblk0", NULL), 0);
	vht_netlink_prefer("add-exists");
	fails(vh_vdpa_mgmt_add_dev(m, "vdpasim_blk", "vblk0", NULL), -EEXIST, "there already");
	fails(vh_vdpa_mgmt_add_dev(m, "nothing", "x", NULL), -ENODEV, "no such management device");
	a.has = UINT64_C(1) << VH_VDPA_HAS_MAC;
	fails(vh_vdpa_mgmt_add_dev(m, "vdpasim_blk", "x", &a), -EOPNOTSUPP, "can't do with one of these attributes");
	a.has = UINT64_C(1) << VH_VDPA_HAS_MAX_VQP;
	a.max_vqp = 4;
	fails(vh_vdpa_mgmt_add_dev(m, "vdpasim_net", "x", &a), -EOPNOTSUPP, "attributes are not supported");
	a.has = UINT64_C(1) << VH_VDPA_HAS_MAC;
	a.mac[5] = 0x44;
	assert_int_equal(vh_vdpa_mgmt_set_dev(m, "vnet0", &a), 0);
	fails(vh_vdpa_mgmt_set_dev(m, "vblk0", &a), -EOPNOTSUPP, "can't change it");
	fails(vh_vdpa_mgmt_set_dev(m, "nothing", &a), -ENODEV, "device not found");
	assert_int_equal(vh_vdpa_mgmt_del_dev(m, "vnet0"), 0);
	vht_netlink_prefer("del-none");
	fails(vh_vdpa_mgmt_del_dev(m, "vnet0"), -ENODEV, "no device of this name");
}

static void a_configuration_is_told_by_the_kind_of_device(void **state)
{
	const uint8_t mac[] = {0x52, 0x54, 0, 0x11, 0x22, 0x33};
	struct vh_vdpa_config c = {.size = sizeof(c)};

	(void)state;
	assert_int_equal(vh_vdpa_mgmt_get_config(m, "vnet0", &c), 0);
	assert_int_equal(c.device_id, VH_TYPE_NET);
	assert_int_equal(c.has, UINT64_C(1) << VH_VDPA_HAS_MAC | UINT64_C(1) << VH_VDPA_HAS_NET_STATUS |
					UINT64_C(1) << VH_VDPA_HAS_MTU | UINT64_C(1) << VH_VDPA_HAS_FEATURES);
	assert_memory_equal(c.mac, mac, 6);
	assert_int_equal(c.mtu, 1400);
	assert_int_equal(c.net_status, 1);
	assert_int_equal(c.features, 0x308830028);
	vht_netlink_prefer("config-net-ok");
	assert_int_equal(vh_vdpa_mgmt_get_config(m, "vnet0", &c), 0);
	assert_true(c.has & UINT64_C(1) << VH_VDPA_HAS_NEGOTIATED);
	assert_int_equal(c.negotiated, 0x308830028);
	assert_int_equal(vh_vdpa_mgmt_get_config(m, "vblk0", &c), 0);
	assert_int_equal(c.device_id, VH_TYPE_BLK);
	assert_int_equal(c.capacity, 0x40000);
	assert_int_equal(c.blk_size, 512);
	assert_int_equal(c.seg_max, 32);
	assert_int_equal(c.num_queues, 1);
	assert_int_equal(c.opt_io, 1);
	assert_int_equal(c.max_discard_seg, 1);
	assert_int_equal(c.max_write_zeroes, UINT32_MAX);
	assert_int_equal(c.read_only, 0);
	assert_int_equal(c.flush, 1);
	assert_int_equal(c.mtu, 0);
}

static void counters_have_names(void **state)
{
	struct vh_vdpa_stat s = {.size = sizeof(s)};

	(void)state;
	fails(vh_vdpa_mgmt_list_stats(m, "vnet0", 0), -EAGAIN, "FEATURES_OK");
	vht_netlink_prefer("stats");
	assert_int_equal(vh_vdpa_mgmt_list_stats(m, "vnet0", 0), 5);
	assert_int_equal(vh_vdpa_mgmt_get_stat(m, 0, &s), 0);
	assert_string_equal(s.name, "rx packets");
	assert_int_equal(vh_vdpa_mgmt_list_stats(m, "vnet0", 1), 4);
	assert_int_equal(vh_vdpa_mgmt_get_stat(m, 3, &s), 0);
	assert_string_equal(s.name, "tx drops");
	assert_int_equal(s.queue, 1);
	fails(vh_vdpa_mgmt_list_stats(m, "vblk0", 0), -EOPNOTSUPP, "no counters");
	fails(vh_vdpa_mgmt_get_stat(m, 0, &s), -ENOENT, "0 of 0");
}

/* A message of the kernel's that a test composes. */
static void say(uint16_t type, uint16_t flags, const void *payload, size_t n)
{
	struct nlmsghdr head = {.nlmsg_len = (uint32_t)(sizeof(head) + n), .nlmsg_type = type, .nlmsg_flags = flags};

	odd.instead = true;
	memcpy(odd.bytes + odd.n, &head, sizeof(head));
	if (n)
		memcpy(odd.bytes + odd.n + sizeof(head), payload, n);
	odd.next[odd.n / 16] = (odd.n + sizeof(head) + n + 3) & ~(size_t)3;
	odd.n = odd.next[odd.n / 16];
}

/* An answer with one attribute. */
static void say_attr(uint16_t type, const void *data, size_t len)
{
	uint8_t payload[1024] = {5, 1};
	struct nlattr attr = {.nla_len = (uint16_t)(sizeof(attr) + len), .nla_type = type};

	odd.n = 0;
	memcpy(payload + 4, &attr, sizeof(attr));
	memcpy(payload + 8, data, len);
	say(FAMILY, 0, payload, 8 + len);
}

static int asked(void)
{
	struct vh_vdpa_dev d = {.size = sizeof(d)};

	return vh_vdpa_mgmt_find_dev(m, "vnet0", &d);
}

static void an_answer_keeps_to_its_datagram(void **state)
{
	const uint32_t longer = 200, none = 4;

	(void)state;
	say(FAMILY, 0, &none, 4);
	memcpy(odd.bytes, &longer, 4);
	at_site(asked(), -EPROTO, VHI_SITE_VDPA_NL_LEN);
	memcpy(odd.bytes, &none, 4);
	at_site(asked(), -EPROTO, VHI_SITE_VDPA_NL_LEN);
	odd.n = 0;
	say(NLMSG_DONE, 0, &none, 2);
	at_site(asked(), -EPROTO, VHI_SITE_VDPA_NL_SHORT);
	odd.n = MAX;
	at_site(asked(), -EPROTO, VHI_SITE_VDPA_NL_CUT);
}

/* More messages than any list has, all in the socket's buffer. */
static void an_answer_ends(void **state)
{
	(void)state;
	for (int i = 0; i < 2000; i++)
		say(FAMILY, 0, NULL, 0);
	odd.repeat = true;
	at_site(vh_vdpa_mgmt_list_devs(m), -EPROTO, VHI_SITE_VDPA_NL_MANY);
}

static void attributes_keep_to_their_message(void **state)
{
	uint8_t text[300];
	uint16_t len = 60;
	uint64_t number = 0;

	(void)state;
	memset(text, 'x', sizeof(text));
	say_attr(4, "vnet0", 6);
	memcpy(odd.bytes + 20, &len, 2);
	say(NLMSG_ERROR, 0, &number, 4);
	at_site(asked(), -EPROTO, VHI_SITE_VDPA_NL_ATTR);
	say_attr(4, text, sizeof(text));
	say(NLMSG_ERROR, 0, &number, 4);
	at_site(asked(), -EPROTO, VHI_SITE_VDPA_NL_TEXT);
	say_attr(4, text, 10); /* without its end */
	say(NLMSG_ERROR, 0, &number, 4);
	at_site(asked(), -EPROTO, VHI_SITE_VDPA_NL_TEXT);
	say_attr(5, &number, 8);
	say(NLMSG_ERROR, 0, &number, 4);
	at_site(asked(), -EPROTO, VHI_SITE_VDPA_NL_WIDTH);
	say_attr(5, &number, 4);
	say(NLMSG_ERROR, 0, &number, 4);
	at_site(asked(), -EPROTO, VHI_SITE_VDPA_NL_MISSING);
}

/* The header of 6.1 says one byte, kernels send two. And what is 21 is a feature word of a network device. */
static void an_older_kernel_has_another_layout(void **state)
{
	struct vh_vdpa_config c = {.size = sizeof(c)};
	const struct {
		uint16_t len, type;
	} head[] = {{8, 5}, {5, 11}, {12, 21}};
	const uint64_t features = 0x123456789;
	const uint32_t net = VH_TYPE_NET, ok = 0;
	uint8_t payload[32] = {6, 1};

	(void)state;
	memcpy(payload + 4, &head[0], 4);
	memcpy(payload + 8, &net, 4);
	memcpy(payload + 12, &head[1], 4);
	payload[16] = 3;
	memcpy(payload + 20, &head[2], 4);
	memcpy(payload + 24, &features, 8);
	say(FAMILY, 0, payload, sizeof(payload));
	say(NLMSG_DONE, 0, &ok, 4);
	assert_int_equal(vh_vdpa_mgmt_get_config(m, "vnet0", &c), 0);
	assert_int_equal(c.has, UINT64_C(1) << VH_VDPA_HAS_NET_STATUS | UINT64_C(1) << VH_VDPA_HAS_FEATURES);
	assert_int_equal(c.net_status, 3);
	assert_int_equal(c.features, features);
	assert_int_equal(c.capacity, 0);
}

/* Anybody may send to a netlink socket: what is not the kernel's is passed over. */
static void only_the_kernel_is_believed(void **state)
{
	(void)state;
	assert_int_equal(asked(), 0);
	odd.sender = 4711;
	m->nl.timeout_ms = 50;
	fails(asked(), -ETIMEDOUT, "within 50 ms");
	m->nl.timeout_ms = 60000;
	odd.sender = 0;
	assert_int_equal(asked(), 0);
}

static void a_late_answer_is_for_nobody(void **state)
{
	struct vh_vdpa_dev d = {.size = sizeof(d)};

	(void)state;
	assert_int_equal(asked(), 0);
	odd.silent = true;
	m->nl.timeout_ms = 50;
	fails(vh_vdpa_mgmt_find_dev(m, "nothing", &d), -ETIMEDOUT, "within 50 ms");
	m->nl.timeout_ms = 60000;
	odd.silent = false;
	assert_true(vht_netlink_answer(kernel, odd.request, odd.request_len));
	assert_int_equal(asked(), 0);
}

static void the_family_has_a_number(void **state)
{
	const uint16_t id[] = {6, 1, 3};
	const uint32_t ok = 0;
	uint8_t payload[12] = {1, 2};

	(void)state;
	memcpy(payload + 4, id, sizeof(id));
	say(GENL_ID_CTRL, 0, payload, sizeof(payload));
	say(NLMSG_DONE, 0, &ok, 4);
	odd.family_too = true;
	at_site(asked(), -EPROTO, VHI_SITE_VDPA_NL_FAMILY);
	odd.n = 0;
	say(NLMSG_DONE, 0, &ok, 4);
	fails(asked(), -EPROTO, "did not say which family");
}

/* The time is for answers: what the kernel does until it has been told is done. */
static void a_slow_kernel_is_waited_for(void **state)
{
	(void)state;
	m->nl.timeout_ms = 20;
	odd.slow_us = 60000;
	assert_int_equal(asked(), 0);
}

static void a_list_that_changes_is_read_again(void **state)
{
	uint32_t ok = 0;

	(void)state;
	say(NLMSG_DONE, NLM_F_DUMP_INTR, &ok, 4);
	fails(vh_vdpa_mgmt_list_devs(m), -EAGAIN, "ask again");
	odd.instead = false;
	assert_int_equal(vh_vdpa_mgmt_list_devs(m), 3);
}

static void what_the_system_refuses_has_its_number(void **state)
{
	(void)state;
	odd.fail_socket = EAFNOSUPPORT;
	fails(asked(), -EAFNOSUPPORT, "no netlink socket: EAFNOSUPPORT");
	odd.fail_socket = 0;
	odd.fail_send = ENOBUFS;
	fails(asked(), -ENOBUFS, "sending over netlink: ENOBUFS");
	odd.fail_send = 0;
	assert_int_equal(asked(), 0);
	odd.fail_recv = ENOBUFS;
	fails(asked(), -ENOBUFS, "receiving over netlink: ENOBUFS");
	odd.fail_recv = 0;
	odd.silent = true;
	m->nl.timeout_ms = 50;
	fails(asked(), -ETIMEDOUT, "no answer of the kernel");
	m->nl.timeout_ms = 60000;
	odd.silent = false;
	odd.fail_calloc = 1;
	fails(asked(), -ENOMEM, "out of memory");
	assert_int_equal(asked(), 0);
	close(kernel);
	kernel = -1;
	odd.silent = true;
	fails(asked(), -ECONNRESET, "has ended");
}

static void a_kernel_without_vdpa_is_told_by_name(void **state)
{
	const uint32_t gone[5] = {(uint32_t)-ENOENT};

	(void)state;
	say(NLMSG_ERROR, 0, gone, sizeof(gone));
	odd.family_too = true;
	fails(asked(), -ENOENT, "load the module vdpa");
}

/* The module was taken out and loaded again: its family has another number now. */
static void the_family_may_get_another_number(void **state)
{
	const uint32_t gone[5] = {(uint32_t)-ENOENT};

	(void)state;
	assert_int_equal(asked(), 0);
	say(NLMSG_ERROR, 0, gone, sizeof(gone));
	odd.once = true;
	assert_int_equal(asked(), 0);
	/* Who says so all the time is believed. */
	odd.n = 0;
	say(NLMSG_ERROR, 0, gone, sizeof(gone));
	odd.once = false;
	fails(asked(), -ENOENT, "ENOENT");
}

static void arguments_are_checked(void **state)
{
	struct vh_vdpa_attrs a = {.size = sizeof(a)};
	struct vh_vdpa_dev d = {.size = sizeof(d)};
	struct vh_vdpa_mgmt *other = NULL;
	char name[VH_VDPA_NAME_SIZE + 1];

	(void)state;
	memset(name, 'x', sizeof(name));
	name[VH_VDPA_NAME_SIZE] = 0;
	fails(vh_vdpa_mgmt_new(NULL, NULL, -2, &other), -EINVAL, "below -1");
	fails(vh_vdpa_mgmt_new(NULL, NULL, 9999, &other), -EBADF, "EBADF");
	fails(vh_vdpa_mgmt_new(NULL, name, -1, &other), -ENAMETOOLONG, "root");
	assert_null(other);
	fails(vh_vdpa_mgmt_find_dev(m, "", &d), -EINVAL, "a name");
	fails(vh_vdpa_mgmt_find_dev(m, name, &d), -EINVAL, "a name");
	fails(vh_vdpa_mgmt_add_dev(m, NULL, "x", NULL), -EINVAL, "a name");
	a.has = UINT64_C(1) << VH_VDPA_HAS_MTU;
	a.mtu = 67;
	fails(vh_vdpa_mgmt_add_dev(m, "vdpasim_net", "x", &a), -EINVAL, "MTU");
	a.has = UINT64_C(1) << VH_VDPA_HAS_MAX_VQP;
	fails(vh_vdpa_mgmt_add_dev(m, "vdpasim_net", "x", &a), -EINVAL, "pairs");
	a.has = UINT64_C(1) << VH_VDPA_HAS_FLUSH;
	fails(vh_vdpa_mgmt_add_dev(m, "vdpasim_net", "x", &a), -EINVAL, "can be set");
	fails(vh_vdpa_mgmt_set_dev(m, "vnet0", &a), -EOPNOTSUPP, "nothing else");
	fails(vh_vdpa_mgmt_set_dev(m, "vnet0", NULL), -EINVAL, "nothing else");
	assert_int_equal(kernel, -1); /* nothing was asked */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_it, close_it)
		TEST(management_devices_are_listed),
		TEST(devices_are_listed_and_found),
		TEST(devices_are_made_changed_and_taken_away),
		TEST(a_configuration_is_told_by_the_kind_of_device),
		TEST(counters_have_names),
		TEST(an_answer_keeps_to_its_datagram),
		TEST(an_answer_ends),
		TEST(attributes_keep_to_their_message),
		TEST(an_older_kernel_has_another_layout),
		TEST(the_family_has_a_number),
		TEST(the_family_may_get_another_number),
		TEST(only_the_kernel_is_believed),
		TEST(a_late_answer_is_for_nobody),
		TEST(a_slow_kernel_is_waited_for),
		TEST(a_list_that_changes_is_read_again),
		TEST(what_the_system_refuses_has_its_number),
		TEST(a_kernel_without_vdpa_is_told_by_name),
		TEST(arguments_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
