/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The kernel's vhost devices, one call after the other: what reaches the kernel, what comes back, what a failure says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_vhost.h"
#include "vh/vh.h"

#define BIT(n) (UINT64_C(1) << (n))

static struct fake_vhost f;

static struct vh_kern *begin(uint32_t node)
{
	struct vh_kern *k;

	fake_vhost_begin(&f, node);
	assert_int_equal(vh_kern_open(fake_vhost_path(), NULL, &k), 0);
	return k;
}

static struct vh_kern *owned(uint32_t node)
{
	struct vh_kern *k = begin(node);

	assert_int_equal(vh_kern_set_owner(k), 0);
	return k;
}

static struct vh_error last(void)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	return e;
}

static void says(const char *what)
{
	const struct vh_error e = last();

	if (!strstr(e.text, what))
		fail_msg("'%s' is not in '%s'", what, e.text);
}

static struct vh_mem *memory(uint32_t regions)
{
	struct vh_mem *mem;

	assert_int_equal(vh_mem_new(NULL, &mem), 0);
	for (uint64_t i = 0; i < regions; i++)
		assert_int_equal(vh_mem_alloc(mem, 0x100000 + i * 0x200000, 0x10000, 0), 0);
	return mem;
}

static uint64_t host_of(struct vh_mem *mem, uint32_t i)
{
	struct vh_region r[8];

	assert_true(vh_mem_regions(mem, r, 8) > (int)i);
	return r[i].host;
}

/* The handle. */

static void opens_by_name(void **state)
{
	static const uint32_t nodes[] = {0, VHI_NODE_NET, VHI_NODE_VSOCK, VHI_NODE_SCSI};
	struct vh_kern *k;
	int fd;

	(void)state;
	for (uint32_t kind = VH_KERN_NET; kind <= VH_KERN_SCSI; kind++) {
		const struct vh_kern_opts opts = {.size = sizeof(opts), .kind = kind};

		k = begin(nodes[kind]);
		assert_int_equal(vh_kern_kind(k), kind);
		assert_int_equal(vh_kern_dup_fd(k, &fd), 0);
		close(fd);
		vh_kern_free(k);
		fd = fake_vhost_open();
		assert_int_equal(vh_kern_adopt(fd, &opts, &k), 0);
		close(fd);
		assert_int_equal(vh_kern_kind(k), kind);
		assert_int_equal(vh_kern_set_owner(k), 0);
		vh_kern_free(k);
	}
	assert_int_equal(vh_kern_kind(NULL), 0);
	vh_kern_free(NULL);
}

static void refuses_what_is_none(void **state)
{
	const struct vh_kern_opts net = {.size = sizeof(net), .kind = VH_KERN_NET};
	const struct vh_kern_opts bad[] = {
		{.size = sizeof(net)},
		{.size = sizeof(net), .kind = 4},
		{.size = sizeof(net), .kind = VH_KERN_NET, .flags = 2},
		{.size = sizeof(net), .kind = VH_KERN_SCSI, .flags = VH_KERN_NET_HDR},
		{.size = sizeof(net), .kind = VH_KERN_NET, .reserved = 1},
	};
	struct vh_kern *k = NULL;
	int fd;

	(void)state;
	fake_vhost_begin(&f, VHI_NODE_NET);
	fd = fake_vhost_open();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(vh_kern_adopt(fd, &bad[i], &k), -EINVAL);
	assert_int_equal(vh_kern_adopt(fd, &net, NULL), -EINVAL);
	assert_int_equal(vh_kern_adopt(-1, &net, &k), -EBADF);
	f.fail_request = VHI_VHOST_GET_FEATURES;
	f.fail_errno = ENOTTY;
	assert_int_equal(vh_kern_adopt(fd, &net, &k), -ENOTTY);
	says("this is no vhost device");
	close(fd);
	assert_int_equal(vh_kern_open("/dev/fake/nothing", NULL, &k), -EINVAL);
	assert_int_equal(vh_kern_open("/dev/fake/nothing/vhost-vsock", NULL, &k), -ENOENT);
	says("modprobe vhost_vsock");
	assert_int_equal(vh_kern_open(NULL, NULL, &k), -EINVAL);
	assert_int_equal(vh_kern_open(fake_vhost_path(), NULL, NULL), -EINVAL);
	fake_no_calloc = 1;
	assert_int_equal(vh_kern_open(fake_vhost_path(), NULL, &k), -ENOMEM);
	assert_null(k);
}

/* Features. */

static void features(void **state)
{
	struct vh_kern *k = begin(VHI_NODE_NET);
	uint64_t v = 0, words[4] = {1, 1, 1, 1};
	uint32_t on = 9;

	(void)state;
	assert_int_equal(vh_kern_get_features(k, &v), 0);
	assert_int_equal(v, f.offered);
	assert_int_equal(vh_kern_set_features(k, BIT(32)), 0);
	assert_int_equal(f.acked, BIT(32));
	assert_int_equal(vh_kern_set_features(k, BIT(60)), -EOPNOTSUPP);
	says("VHOST_SET_FEATURES on /dev/fake/vhost-net: EOPNOTSUPP: a bit was not offered");
	assert_int_equal(vh_kern_get_features_array(k, words, 4), 0);
	assert_true(words[0] == f.offered && words[1] == 3 && !words[2] && !words[3]);
	words[0] = BIT(32), words[1] = 1;
	assert_int_equal(vh_kern_set_features_array(k, words, 2), 0);
	assert_true(f.acked == BIT(32) && f.acked_high == 1);
	words[2] = 1;
	assert_int_equal(vh_kern_set_features_array(k, words, 3), -EOPNOTSUPP);
	assert_int_equal(vh_kern_get_features_array(k, words, 0), -EINVAL);
	assert_int_equal(vh_kern_set_features_array(k, words, VH_KERN_MAX_FEATURES + 1), -EINVAL);
	assert_int_equal(vh_kern_get_backend_features(k, &v), 0);
	assert_int_equal(v, BIT(VH_KERN_BF_IOTLB_MSG_V2));
	assert_int_equal(vh_kern_set_backend_features(k, v), 0);
	assert_int_equal(f.backend_acked, v);
	assert_int_equal(vh_kern_set_backend_features(k, BIT(9)), -EOPNOTSUPP);
	assert_int_equal(vh_kern_set_fork_from_owner(k, 0), 0);
	assert_int_equal(vh_kern_get_fork_from_owner(k, &on), 0);
	assert_int_equal(on, 0);
	assert_int_equal(vh_kern_set_fork_from_owner(k, 2), -EINVAL);
	assert_int_equal(vh_kern_set_owner(k), 0);
	assert_int_equal(vh_kern_set_owner(k), -EBUSY);
	says("it has an owner already");
	assert_int_equal(vh_kern_set_fork_from_owner(k, 1), -EBUSY);
	assert_int_equal(vh_kern_reset_owner(k), 0);
	assert_false(f.owned);
	assert_int_equal(vh_kern_reset_owner(k), -EPERM);
	vh_kern_free(k);
}

/* A kernel that does not know a call asks for an owner, and then for a ring of that index. */
static void features_that_a_kernel_has_no_room_for(void **state)
{
	struct vh_kern *k = begin(VHI_NODE_NET);
	uint64_t words[4] = {0};

	(void)state;
	f.has &= ~FAKE_ARRAY;
	for (int step = 0; step < 2; step++) {
		assert_int_equal(vh_kern_get_features_array(k, words, 4), -ENOTTY);
		says("this kernel does not have it");
		assert_int_equal(vh_kern_get_features_array(k, words, 1), -ENOTTY);
		assert_int_equal(vh_kern_set_features_array(k, words, 4), -ENOTTY);
		assert_int_equal(step ? 0 : vh_kern_set_owner(k), 0);
	}
	vh_kern_free(k);
}

/* LOG_ALL without a log would have the kernel write to address 0. */
static void log_comes_before_its_bit(void **state)
{
	struct vh_kern *k = owned(VHI_NODE_NET);
	struct vh_mem *mem = memory(2);
	uint64_t words[1] = {BIT(26)};
	struct vh_dirty *small, *log;
	int e = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(vh_dirty_new(0x100000, &small), 0);
	assert_int_equal(vh_dirty_new(0x400000, &log), 0);
	assert_int_equal(vh_kern_set_features(k, BIT(26)), -EINVAL);
	says("vh_kern_set_log_base() first");
	assert_int_equal(vh_kern_set_features_array(k, words, 1), -EINVAL);
	assert_int_equal(vh_kern_set_mem(k, mem), 0);
	assert_int_equal(vh_kern_set_log_base(k, small), -ERANGE);
	assert_int_equal(f.log_base, 0);
	assert_int_equal(vh_kern_set_log_base(k, log), 0);
	assert_true(f.log_base);
	assert_int_equal(vh_kern_set_features(k, BIT(26)), 0);
	/* Nor may memory grow beyond it. */
	assert_int_equal(vh_mem_alloc(mem, 0x4000000, 0x10000, 0), 0);
	assert_int_equal(vh_kern_set_mem(k, mem), -ERANGE);
	assert_int_equal(f.n_regions, 2);
	/* It stays as long as the kernel may write to it. */
	vh_dirty_free(log);
	*(volatile uint8_t *)(uintptr_t)f.log_base = 1;
	assert_int_equal(vh_kern_set_log_fd(k, e), 0);
	assert_int_equal(f.log_fd, e);
	assert_int_equal(vh_kern_set_log_fd(k, -1), 0);
	assert_int_equal(f.log_fd, -1);
	assert_int_equal(vh_kern_set_log_fd(k, 0), -EINVAL);
	says("the fd is no eventfd");
	assert_int_equal(vh_kern_set_log_fd(k, 9999), -EBADF);
	assert_int_equal(vh_kern_set_log_base(k, NULL), -EINVAL);
	vh_kern_free(k);
	close(e);
	vh_dirty_free(small);
	vh_mem_free(mem);
}

static void memory_is_told_and_kept(void **state)
{
	struct vh_kern *k = owned(VHI_NODE_VSOCK);
	struct vh_mem *mem = memory(3);
	struct vh_region r[3];
	volatile uint8_t *byte;

	(void)state;
	assert_int_equal(vh_kern_set_mem(k, mem), 0);
	assert_int_equal(f.n_regions, 3);
	assert_int_equal(vh_mem_regions(mem, r, 3), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(f.regions[i].guest_phys_addr, r[i].gpa);
		assert_int_equal(f.regions[i].memory_size, r[i].len);
		assert_int_equal(f.regions[i].userspace_addr, r[i].host);
		assert_int_equal(f.regions[i].flags_padding, 0);
	}
	/* A region that is gone is still the kernel's, until it is told so. */
	byte = (uint8_t *)(uintptr_t)r[0].host;
	assert_int_equal(vh_mem_remove(mem, &r[0]), 0);
	*byte = 1;
	assert_int_equal(vh_kern_set_mem(k, mem), 0);
	assert_int_equal(f.n_regions, 2);
	f.max_regions = 1;
	assert_int_equal(vh_kern_set_mem(k, mem), -E2BIG);
	says("max_mem_regions");
	assert_int_equal(vh_kern_set_mem(k, NULL), -EINVAL);
	fake_no_calloc = 1;
	assert_int_equal(vh_kern_set_mem(k, mem), -ENOMEM);
	vh_mem_free(mem);
	vh_kern_free(k);
}

static void rings(void **state)
{
	struct vh_kern *k = owned(VHI_NODE_SCSI);
	struct vh_vring_addr addr = {
		.index = 3, .desc = 0x1000, .avail = 0x2000, .used = 0x3000, .log = 0x4000, .flags = 1};
	int e = eventfd(0, EFD_CLOEXEC);
	uint32_t v = 0;

	(void)state;
	assert_int_equal(vh_kern_set_vring_num(k, 3, 256), 0);
	assert_int_equal(vh_kern_set_vring_base(k, 3, 77), 0);
	assert_int_equal(vh_kern_get_vring_base(k, 3, &v), 0);
	assert_int_equal(v, 77);
	assert_int_equal(vh_kern_set_vring_addr(k, &addr), 0);
	assert_memory_equal(&f.rings[3].addr, &addr, sizeof(addr));
	assert_int_equal(vh_kern_set_vring_kick(k, 3, e), 0);
	assert_int_equal(vh_kern_set_vring_call(k, 3, e), 0);
	assert_int_equal(vh_kern_set_vring_err(k, 3, e), 0);
	assert_true(f.rings[3].num == 256 && f.rings[3].kick == e && f.rings[3].call == e && f.rings[3].err == e);
	assert_int_equal(vh_kern_set_vring_kick(k, 3, -1), 0);
	assert_int_equal(vh_kern_set_vring_call(k, 3, -9), 0);
	assert_int_equal(vh_kern_set_vring_err(k, 3, -1), 0);
	assert_true(f.rings[3].kick == -1 && f.rings[3].call == -1 && f.rings[3].err == -1);
	assert_int_equal(vh_kern_set_vring_endian(k, 3, VH_KERN_BIG_ENDIAN), 0);
	assert_int_equal(vh_kern_get_vring_endian(k, 3, &v), 0);
	assert_int_equal(v, VH_KERN_BIG_ENDIAN);
	assert_int_equal(vh_kern_set_vring_busyloop(k, 3, 50), 0);
	assert_int_equal(vh_kern_get_vring_busyloop(k, 3, &v), 0);
	assert_int_equal(v, 50);
	/* What can't be, the kernel says. */
	assert_int_equal(vh_kern_set_vring_num(k, 3, 3), -EINVAL);
	says("a power of two");
	assert_int_equal(last().queue, 3);
	assert_int_equal(vh_kern_set_vring_num(k, 4, 2), -ENOBUFS);
	says("no ring of this index");
	assert_int_equal(vh_kern_set_vring_base(k, 3, 0x10000), -EINVAL);
	assert_int_equal(vh_kern_set_vring_kick(k, 3, 0), -EINVAL);
	assert_int_equal(vh_kern_set_vring_kick(k, 3, 9999), -EBADF);
	addr.avail++;
	assert_int_equal(vh_kern_set_vring_addr(k, &addr), -EINVAL);
	assert_int_equal(vh_kern_set_vring_addr(k, NULL), -EINVAL);
	assert_int_equal(vh_kern_get_vring_base(k, 3, NULL), -EINVAL);
	assert_int_equal(vh_kern_get_vring_endian(k, 3, NULL), -EINVAL);
	/* A base that no split ring has. */
	f.rings[3].base = 0x10000;
	assert_int_equal(vh_kern_get_vring_base(k, 3, &v), -EPROTO);
	assert_int_equal(last().site, 1006);
	vh_kern_free(k);
	close(e);
}

static void nothing_about_rings_without_an_owner(void **state)
{
	struct vh_kern *k = begin(VHI_NODE_NET);
	struct vh_mem *mem = memory(1);
	uint32_t v;

	(void)state;
	assert_int_equal(vh_kern_set_vring_num(k, 0, 8), -EPERM);
	says("vh_kern_set_owner() comes first");
	assert_int_equal(vh_kern_get_vring_base(k, 0, &v), -EPERM);
	assert_int_equal(vh_kern_set_mem(k, mem), -EPERM);
	assert_int_equal(vh_kern_net_set_backend(k, 0, -1), -EPERM);
	/* Where an owner isn't needed, it is a call that the kernel does not know. */
	f.has = 0;
	assert_int_equal(vh_kern_get_fork_from_owner(k, &v), -ENOTTY);
	says("this kernel does not have it");
	vh_mem_free(mem);
	vh_kern_free(k);
}

static void workers(void **state)
{
	struct vh_kern *k = owned(VHI_NODE_SCSI);
	uint32_t id = 0, got = 0;

	(void)state;
	assert_int_equal(vh_kern_new_worker(k, &id), 0);
	assert_int_equal(vh_kern_attach_vring_worker(k, 2, id), 0);
	assert_int_equal(vh_kern_get_vring_worker(k, 2, &got), 0);
	assert_int_equal(got, id);
	assert_int_equal(vh_kern_free_worker(k, id), -EBUSY);
	says("still attached");
	assert_int_equal(vh_kern_free_worker(k, 55), -ENODEV);
	assert_int_equal(vh_kern_attach_vring_worker(k, 2, 55), -ENODEV);
	f.rings[2].worker = 0;
	assert_int_equal(vh_kern_free_worker(k, id), 0);
	f.fork = 0;
	assert_int_equal(vh_kern_new_worker(k, &id), -EFAULT);
	says("vh_kern_set_fork_from_owner(1) first");
	assert_int_equal(vh_kern_new_worker(k, NULL), -EINVAL);
	vh_kern_free(k);
	/* A network device has none. */
	k = owned(VHI_NODE_NET);
	assert_int_equal(vh_kern_new_worker(k, &id), -ENOTTY);
	says("devices of this kind don't have it");
	vh_kern_free(k);
}

static void ready(struct vh_kern *k, struct vh_mem *mem, uint32_t n)
{
	const uint64_t at = host_of(mem, 0);

	assert_int_equal(vh_kern_set_mem(k, mem), 0);
	for (uint32_t i = 0; i < n; i++) {
		const struct vh_vring_addr addr = {.index = i, .desc = at, .avail = at + 0x1000, .used = at + 0x2000};

		assert_int_equal(vh_kern_set_vring_num(k, i, 16), 0);
		assert_int_equal(vh_kern_set_vring_addr(k, &addr), 0);
	}
}

static void network(void **state)
{
	struct vh_kern *k = owned(VHI_NODE_NET);
	struct vh_mem *mem = memory(1);
	int s[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, s), 0);
	assert_int_equal(vh_kern_net_set_backend(k, 0, s[0]), -EFAULT);
	says("the ring's size, addresses and memory come before it");
	ready(k, mem, 2);
	assert_int_equal(vh_kern_net_set_backend(k, 0, s[0]), 0);
	assert_int_equal(f.rings[0].backend, s[0]);
	assert_int_equal(vh_kern_set_vring_num(k, 0, 8), -EBUSY);
	says("the ring runs; stop it first");
	assert_int_equal(vh_kern_set_vring_base(k, 0, 0), -EBUSY);
	assert_int_equal(vh_kern_set_vring_endian(k, 0, 0), -EBUSY);
	assert_int_equal(vh_kern_net_set_backend(k, 2, s[0]), -ENOBUFS);
	assert_int_equal(vh_kern_net_set_backend(k, 1, 0), -ENOTSOCK);
	assert_int_equal(vh_kern_vsock_set_cid(k, 3), -ENOTTY);
	assert_int_equal(vh_kern_attach(k, 2, s[0]), -EINVAL);
	assert_int_equal(vh_kern_attach(k, 1, 9999), -EBADF);
	assert_int_equal(vh_kern_net_set_backend(k, 1, s[0]), 0);
	assert_int_equal(vh_kern_net_set_backend(k, 1, -1), 0);
	/* To free it stops what runs, also when somebody else has the file. */
	vh_kern_free(k);
	assert_int_equal(f.rings[0].backend, -1);
	close(s[0]);
	close(s[1]);
	vh_mem_free(mem);
}

static void sockets(void **state)
{
	struct vh_kern *k = owned(VHI_NODE_VSOCK);
	struct vh_mem *mem = memory(1);

	(void)state;
	f.taken_cid = 7;
	assert_int_equal(vh_kern_vsock_set_cid(k, 2), -EINVAL);
	assert_int_equal(vh_kern_vsock_set_cid(k, UINT32_MAX), -EINVAL);
	assert_int_equal(vh_kern_vsock_set_cid(k, UINT64_C(1) << 40), -EINVAL);
	assert_int_equal(vh_kern_vsock_set_cid(k, 7), -EADDRINUSE);
	says("another guest has this address");
	assert_int_equal(vh_kern_vsock_set_cid(k, 8), 0);
	assert_int_equal(f.cid, 8);
	assert_int_equal(vh_kern_vsock_set_running(k, 1), -EFAULT);
	ready(k, mem, 2);
	assert_int_equal(vh_kern_vsock_set_running(k, 2), -EINVAL);
	assert_int_equal(vh_kern_vsock_set_running(k, 1), 0);
	assert_true(f.running);
	assert_int_equal(vh_kern_attach(k, 0, 0), -ENOTTY);
	assert_int_equal(vh_kern_scsi_set_target(k, "naa.1", 0), -ENOTTY);
	vh_kern_free(k);
	assert_false(f.running);
	vh_mem_free(mem);
}

static void scsi(void **state)
{
	static char long_name[VH_KERN_WWPN_MAX + 1];
	struct vh_kern *k = owned(VHI_NODE_SCSI);
	struct vh_mem *mem = memory(1);
	uint32_t missed = 9;
	int32_t version = 0;

	(void)state;
	memset(long_name, 'x', sizeof(long_name) - 1);
	f.there = "naa.1";
	assert_int_equal(vh_kern_scsi_get_abi_version(k, &version), 0);
	assert_int_equal(version, 1);
	assert_int_equal(vh_kern_scsi_set_events_missed(k, 1), 0);
	assert_int_equal(vh_kern_scsi_get_events_missed(k, &missed), 0);
	assert_int_equal(missed, 1);
	assert_int_equal(vh_kern_scsi_set_endpoint(k, "naa.1", 1), -EFAULT);
	ready(k, mem, 3);
	assert_int_equal(vh_kern_scsi_set_endpoint(k, "naa.2", 1), -ENODEV);
	says("/sys/kernel/config/target/vhost");
	assert_int_equal(vh_kern_scsi_set_endpoint(k, long_name, 1), -EINVAL);
	assert_int_equal(vh_kern_scsi_set_endpoint(k, "", 1), -EINVAL);
	assert_int_equal(vh_kern_scsi_set_endpoint(k, NULL, 1), -EINVAL);
	assert_int_equal(vh_kern_scsi_set_endpoint(k, "naa.1", 65536), -EINVAL);
	assert_int_equal(vh_kern_scsi_clear_endpoint(k, "naa.1", 1), 0);
	assert_int_equal(vh_kern_scsi_set_endpoint(k, "naa.1", 1), 0);
	assert_string_equal(f.target, "naa.1");
	assert_int_equal(vh_kern_scsi_set_endpoint(k, "naa.1", 1), -EEXIST);
	assert_int_equal(vh_kern_scsi_clear_endpoint(k, "naa.2", 1), -EINVAL);
	assert_int_equal(vh_kern_scsi_clear_endpoint(k, "naa.1", 1), 0);
	assert_int_equal(vh_kern_scsi_set_endpoint(k, "naa.1", 1), 0);
	assert_int_equal(vh_kern_scsi_set_target(k, long_name, 0), -EINVAL);
	vh_kern_free(k);
	assert_string_equal(f.target, "");
	k = begin(VHI_NODE_NET);
	assert_int_equal(vh_kern_scsi_get_abi_version(k, &version), -ENOTTY);
	assert_int_equal(vh_kern_scsi_get_abi_version(k, NULL), -EINVAL);
	vh_kern_free(k);
	vh_mem_free(mem);
}

/* Failures: each says what failed on what, the errno value by name, and what may be done. */

static int do_mem(struct vh_kern *k)
{
	struct vh_mem *mem = memory(1);
	int rc = vh_kern_set_mem(k, mem);

	vh_mem_free(mem);
	return rc;
}

static int do_log(struct vh_kern *k)
{
	struct vh_dirty *log;
	int rc;

	assert_int_equal(vh_dirty_new(0x100000, &log), 0);
	rc = vh_kern_set_log_base(k, log);
	vh_dirty_free(log);
	return rc;
}

static uint32_t u32;
static uint64_t u64;
static const struct vh_vring_addr no_ring;

#define CALL(name, call)                        \
	static int do_##name(struct vh_kern *k) \
	{                                       \
		return call;                    \
	}
CALL(get_features, vh_kern_get_features(k, &u64))
CALL(set_features, vh_kern_set_features(k, 0))
CALL(get_array, vh_kern_get_features_array(k, &u64, 1))
CALL(set_array, vh_kern_set_features_array(k, &u64, 1))
CALL(get_bf, vh_kern_get_backend_features(k, &u64))
CALL(set_bf, vh_kern_set_backend_features(k, 0))
CALL(own, vh_kern_set_owner(k))
CALL(disown, vh_kern_reset_owner(k))
CALL(get_fork, vh_kern_get_fork_from_owner(k, &u32))
CALL(set_fork, vh_kern_set_fork_from_owner(k, 1))
CALL(log_fd, vh_kern_set_log_fd(k, -1))
CALL(num, vh_kern_set_vring_num(k, 0, 8))
CALL(addr, vh_kern_set_vring_addr(k, &no_ring))
CALL(set_base, vh_kern_set_vring_base(k, 0, 0))
CALL(get_base, vh_kern_get_vring_base(k, 0, &u32))
CALL(kick, vh_kern_set_vring_kick(k, 0, -1))
CALL(call, vh_kern_set_vring_call(k, 0, -1))
CALL(err, vh_kern_set_vring_err(k, 0, -1))
CALL(set_endian, vh_kern_set_vring_endian(k, 0, 0))
CALL(get_endian, vh_kern_get_vring_endian(k, 0, &u32))
CALL(set_busy, vh_kern_set_vring_busyloop(k, 0, 0))
CALL(get_busy, vh_kern_get_vring_busyloop(k, 0, &u32))
CALL(new_worker, vh_kern_new_worker(k, &u32))
CALL(free_worker, vh_kern_free_worker(k, 1))
CALL(attach_worker, vh_kern_attach_vring_worker(k, 0, 1))
CALL(get_worker, vh_kern_get_vring_worker(k, 0, &u32))
CALL(backend, vh_kern_net_set_backend(k, 0, -1))
CALL(cid, vh_kern_vsock_set_cid(k, 3))
CALL(running, vh_kern_vsock_set_running(k, 0))
CALL(endpoint, vh_kern_scsi_set_endpoint(k, "naa.1", 1))
CALL(clear, vh_kern_scsi_clear_endpoint(k, "naa.1", 1))
CALL(abi, vh_kern_scsi_get_abi_version(k, (int32_t *)&u32))
CALL(set_missed, vh_kern_scsi_set_events_missed(k, 0))
CALL(get_missed, vh_kern_scsi_get_events_missed(k, &u32))
#undef CALL

#define NET   VHI_NODE_NET
#define VSOCK VHI_NODE_VSOCK
#define SCSI  VHI_NODE_SCSI

static const struct {
	int (*call)(struct vh_kern *k);
	uint32_t request, node;
	int errs[7];
} failures[] = {
	{do_get_features, VHI_VHOST_GET_FEATURES, NET, {EFAULT, ENOTTY}},
	{do_set_features, VHI_VHOST_SET_FEATURES, NET, {EFAULT, EOPNOTSUPP}},
	{do_get_array, VHI_VHOST_GET_FEATURES_ARRAY, NET, {EFAULT, ENOTTY}},
	{do_set_array, VHI_VHOST_SET_FEATURES_ARRAY, NET, {EFAULT, EOPNOTSUPP, ENOTTY}},
	{do_get_bf, VHI_VHOST_GET_BACKEND_FEATURES, VSOCK, {EFAULT, ENOTTY}},
	{do_set_bf, VHI_VHOST_SET_BACKEND_FEATURES, VSOCK, {EFAULT, EOPNOTSUPP}},
	{do_own, VHI_VHOST_SET_OWNER, NET, {EBUSY, ENOMEM}},
	{do_disown, VHI_VHOST_RESET_OWNER, NET, {EPERM, ENOMEM}},
	{do_get_fork, VHI_VHOST_GET_FORK_FROM_OWNER, NET, {EPERM, EFAULT, ENOTTY}},
	{do_set_fork, VHI_VHOST_SET_FORK_FROM_OWNER, NET, {EBUSY, EFAULT, EINVAL, EPERM}},
	{do_mem, VHI_VHOST_SET_MEM_TABLE, NET, {EPERM, EFAULT, E2BIG, ENOMEM, EINVAL}},
	{do_log, VHI_VHOST_SET_LOG_BASE, NET, {EPERM, EFAULT}},
	{do_log_fd, VHI_VHOST_SET_LOG_FD, NET, {EPERM, EFAULT, EBADF, EINVAL}},
	{do_num, VHI_VHOST_SET_VRING_NUM, NET, {EPERM, EFAULT, ENOBUFS, EBUSY, EINVAL}},
	{do_addr, VHI_VHOST_SET_VRING_ADDR, NET, {EPERM, EFAULT, ENOBUFS, EOPNOTSUPP, EINVAL}},
	{do_set_base, VHI_VHOST_SET_VRING_BASE, NET, {EPERM, EFAULT, ENOBUFS, EBUSY, EINVAL}},
	{do_get_base, VHI_VHOST_GET_VRING_BASE, NET, {EPERM, EFAULT, ENOBUFS, 524}},
	{do_kick, VHI_VHOST_SET_VRING_KICK, NET, {EPERM, EFAULT, ENOBUFS, EBADF, EINVAL}},
	{do_call, VHI_VHOST_SET_VRING_CALL, NET, {EPERM, EFAULT, ENOBUFS, EBADF, EINVAL}},
	{do_err, VHI_VHOST_SET_VRING_ERR, NET, {EPERM, EFAULT, ENOBUFS, EBADF, EINVAL}},
	{do_set_endian, VHI_VHOST_SET_VRING_ENDIAN, NET, {EPERM, EFAULT, ENOBUFS, EBUSY, EINVAL, ENOTTY}},
	{do_get_endian, VHI_VHOST_GET_VRING_ENDIAN, NET, {EPERM, EFAULT, ENOBUFS, ENOTTY}},
	{do_set_busy, VHI_VHOST_SET_VRING_BUSYLOOP_TIMEOUT, NET, {EPERM, EFAULT, ENOBUFS}},
	{do_get_busy, VHI_VHOST_GET_VRING_BUSYLOOP_TIMEOUT, NET, {EPERM, EFAULT, ENOBUFS}},
	{do_new_worker, VHI_VHOST_NEW_WORKER, SCSI, {EINVAL, EPERM, EFAULT, ENOMEM}},
	{do_free_worker, VHI_VHOST_FREE_WORKER, SCSI, {EINVAL, EPERM, EFAULT, ENODEV, EBUSY}},
	{do_attach_worker, VHI_VHOST_ATTACH_VRING_WORKER, SCSI, {EINVAL, EPERM, EFAULT, ENOBUFS, ENODEV}},
	{do_get_worker, VHI_VHOST_GET_VRING_WORKER, SCSI, {EINVAL, EPERM, EFAULT, ENOBUFS}},
	{do_backend, VHI_VHOST_NET_SET_BACKEND, NET, {EPERM, EFAULT, ENOBUFS, ENOTSOCK, ENOMEM, EBADF}},
	{do_cid, VHI_VHOST_VSOCK_SET_GUEST_CID, VSOCK, {EFAULT, EINVAL, EADDRINUSE}},
	{do_running, VHI_VHOST_VSOCK_SET_RUNNING, VSOCK, {EFAULT, EPERM, ENOMEM}},
	{do_endpoint, VHI_VHOST_SCSI_SET_ENDPOINT, SCSI, {EFAULT, EEXIST, ENODEV, ENOMEM}},
	{do_clear, VHI_VHOST_SCSI_CLEAR_ENDPOINT, SCSI, {EFAULT, EINVAL, ENODEV}},
	{do_abi, VHI_VHOST_SCSI_GET_ABI_VERSION, SCSI, {EFAULT, ENOTTY}},
	{do_set_missed, VHI_VHOST_SCSI_SET_EVENTS_MISSED, SCSI, {EFAULT, ENOTTY}},
	{do_get_missed, VHI_VHOST_SCSI_GET_EVENTS_MISSED, SCSI, {EFAULT, ENOTTY}},
};

/* What comes of it: 524 is the kernel's own, and without an owner it can't be but that the kernel does not know the call. */
static int told_as(uint32_t request, int err)
{
	if (err == EPERM && !vhi_ioctl_find(request)->owner)
		return -ENOTTY;
	return err == 524 ? -EOPNOTSUPP : -err;
}

static void every_failure_is_told(void **state)
{
	char wanted[200];
	unsigned n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		struct vh_kern *k = begin(failures[i].node);

		for (const int *e = failures[i].errs; *e; e++, n++) {
			f.fail_request = failures[i].request;
			f.fail_errno = *e;
			assert_int_equal(failures[i].call(k), told_as(failures[i].request, *e));
			snprintf(wanted, sizeof(wanted), "%s on %s: %s: ", vh_kern_ioctl_name(failures[i].request),
				 fake_vhost_path(), vh_error_name(*e));
			says(wanted);
			assert_int_equal(last().domain, VH_ERROR_SYSTEM);
			assert_int_equal(f.fail_errno, 0);
		}
		vh_kern_free(k);
	}
	/* Every ioctl of these devices has a row. */
	assert_int_equal(sizeof(failures) / sizeof(failures[0]), 36);
	assert_true(n > 100);
}

static void null_is_no_device(void **state)
{
	(void)state;
	fake_vhost_begin(&f, NET);
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
		assert_int_equal(failures[i].call(NULL), -EINVAL);
	assert_int_equal(f.n_calls, 0);
	assert_int_equal(vh_kern_attach(NULL, 0, -1), -EINVAL);
	assert_int_equal(vh_kern_set_config(NULL, "", 1), -EINVAL);
	assert_int_equal(vh_kern_scsi_set_target(NULL, NULL, 0), -EINVAL);
	assert_int_equal(vh_kern_dup_fd(NULL, NULL), -EINVAL);
	assert_int_equal(vh_kern_backend(NULL, NULL), -EINVAL);
	assert_int_equal(vh_kern_probe(NULL, NULL, 0), -EINVAL);
}

/* Probing. */

static uint32_t probed(struct vh_kern *k, uint32_t request)
{
	struct vh_kern_ioctl out[64];
	int n = vh_kern_probe(k, out, 64);

	assert_int_equal(n, 36);
	for (int i = 0; i < n; i++)
		if (out[i].request == request)
			return out[i].state;
	fail_msg("%s was not probed", vh_kern_ioctl_name(request));
	return 0;
}

static void probing_tells_what_there_is(void **state)
{
	static const struct {
		uint32_t request, has, nodes;
	} rows[] = {
		{VHI_VHOST_SET_VRING_ENDIAN, FAKE_ENDIAN, NET | VSOCK | SCSI},
		{VHI_VHOST_GET_VRING_ENDIAN, FAKE_ENDIAN, NET | VSOCK | SCSI},
		{VHI_VHOST_SET_VRING_BUSYLOOP_TIMEOUT, FAKE_BUSYLOOP, NET | VSOCK | SCSI},
		{VHI_VHOST_GET_VRING_BUSYLOOP_TIMEOUT, FAKE_BUSYLOOP, NET | VSOCK | SCSI},
		{VHI_VHOST_GET_BACKEND_FEATURES, FAKE_BACKEND_BITS, NET | VSOCK},
		{VHI_VHOST_SET_BACKEND_FEATURES, FAKE_BACKEND_BITS, NET | VSOCK},
		{VHI_VHOST_GET_FORK_FROM_OWNER, FAKE_FORK, NET | VSOCK | SCSI},
		{VHI_VHOST_SET_FORK_FROM_OWNER, FAKE_FORK, NET | VSOCK | SCSI},
		{VHI_VHOST_GET_FEATURES_ARRAY, FAKE_ARRAY, NET},
		{VHI_VHOST_SET_FEATURES_ARRAY, FAKE_ARRAY, NET},
		{VHI_VHOST_NEW_WORKER, FAKE_WORKERS, SCSI},
		{VHI_VHOST_FREE_WORKER, FAKE_WORKERS, SCSI},
		{VHI_VHOST_ATTACH_VRING_WORKER, FAKE_WORKERS, SCSI},
		{VHI_VHOST_GET_VRING_WORKER, FAKE_WORKERS, SCSI},
		{VHI_VHOST_RESET_OWNER, 0, NET},
		{VHI_VHOST_SET_OWNER, 0, NET | VSOCK | SCSI},
		{VHI_VHOST_VSOCK_SET_RUNNING, 0, VSOCK},
	};
	static const uint32_t nodes[] = {NET, VSOCK, SCSI};

	(void)state;
	for (size_t n = 0; n < 3; n++)
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			for (uint32_t has = 0; has < 2; has++) {
				struct vh_kern *k = owned(nodes[n]);
				struct fake_vhost before;
				const bool there = rows[i].nodes & nodes[n] && (has || !rows[i].has);

				f.has = has ? FAKE_NEWEST : FAKE_NEWEST & ~rows[i].has;
				f.acked = BIT(32);
				before = f;
				if (probed(k, rows[i].request) != (there ? VH_KERN_IOCTL_YES : VH_KERN_IOCTL_NO))
					fail_msg("%s on %s with 0x%x", vh_kern_ioctl_name(rows[i].request),
						 fake_vhost_path(), f.has);
				/* Nothing came of it. */
				memcpy(f.calls, before.calls, sizeof(f.calls));
				f.n_calls = before.n_calls;
				assert_memory_equal(&f, &before, sizeof(f));
				vh_kern_free(k);
			}
}

static void probing_without_an_owner(void **state)
{
	struct vh_kern *k = begin(SCSI);
	struct vh_kern_ioctl one;

	(void)state;
	assert_int_equal(probed(k, VHI_VHOST_FREE_WORKER), VH_KERN_IOCTL_UNKNOWN);
	assert_int_equal(probed(k, VHI_VHOST_SET_VRING_ENDIAN), VH_KERN_IOCTL_UNKNOWN);
	assert_int_equal(probed(k, VHI_VHOST_GET_FORK_FROM_OWNER), VH_KERN_IOCTL_YES);
	f.has = 0;
	assert_int_equal(probed(k, VHI_VHOST_SET_FORK_FROM_OWNER), VH_KERN_IOCTL_NO);
	assert_int_equal(vh_kern_probe(k, NULL, 1), -EINVAL);
	assert_int_equal(vh_kern_probe(k, &one, 1), 36);
	assert_int_equal(one.request, VHI_VHOST_GET_FEATURES);
	assert_string_equal(vh_kern_ioctl_name(one.request), "VHOST_GET_FEATURES");
	assert_null(vh_kern_ioctl_name(12));
	vh_kern_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_by_name),
		cmocka_unit_test(refuses_what_is_none),
		cmocka_unit_test(features),
		cmocka_unit_test(features_that_a_kernel_has_no_room_for),
		cmocka_unit_test(log_comes_before_its_bit),
		cmocka_unit_test(memory_is_told_and_kept),
		cmocka_unit_test(rings),
		cmocka_unit_test(nothing_about_rings_without_an_owner),
		cmocka_unit_test(workers),
		cmocka_unit_test(network),
		cmocka_unit_test(sockets),
		cmocka_unit_test(scsi),
		cmocka_unit_test(every_failure_is_told),
		cmocka_unit_test(null_is_no_device),
		cmocka_unit_test(probing_tells_what_there_is),
		cmocka_unit_test(probing_without_an_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
