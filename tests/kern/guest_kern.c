// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
/* The kernel's vhost devices, as this kernel has them: calls, probing, and what their refusals say. */
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "guest.h"
#include "vh/vh.h"

#define BIT(n) (UINT64_C(1) << (n))

static const char *const paths[] = {"/dev/vhost-net", "/dev/vhost-vsock", "/dev/vhost-scsi"};

static struct vh_kern *open_kern(const char *path)
{
	struct vh_kern *k;

	guest_ok(vh_kern_open(path, NULL, &k));
	return k;
}

static void says(const char *what)
{
	struct vh_error e = {.size = sizeof(e)};

	vh_error_get(&e);
	if (!strstr(e.text, what))
		guest_fail("'%s' is not in '%s'", what, e.text);
}

/* Version of the kernel, as major * 1000 + minor. */
static int version(void)
{
	struct utsname u;
	int major = 0, minor = 0;

	uname(&u);
	sscanf(u.release, "%d.%d", &major, &minor);
	return major * 1000 + minor;
}

static uint32_t state_of(struct vh_kern *k, const char *name)
{
	struct vh_kern_ioctl all[64];
	int n = vh_kern_probe(k, all, 64);

	guest_check(n > 30 && n <= 64);
	for (int i = 0; i < n; i++)
		if (!strcmp(vh_kern_ioctl_name(all[i].request), name))
			return all[i].state;
	guest_fail("%s is not in the list", name);
}

/* What is known of kernels by their number, and what a call then says. */
static void probing(void)
{
	static const struct {
		const char *name;
		int since[3]; /* of each device; 0 = never */
	} rows[] = {
		{"VHOST_SET_OWNER", {1, 1, 1}},
		{"VHOST_RESET_OWNER", {1, 0, 0}},
		{"VHOST_SET_VRING_BUSYLOOP_TIMEOUT", {4006, 4006, 4006}},
		{"VHOST_GET_VRING_BUSYLOOP_TIMEOUT", {4006, 4006, 4006}},
		{"VHOST_GET_BACKEND_FEATURES", {4019, 4019, 0}},
		{"VHOST_SET_BACKEND_FEATURES", {4019, 4019, 0}},
		{"VHOST_NEW_WORKER", {0, 0, 6005}},
		{"VHOST_ATTACH_VRING_WORKER", {0, 0, 6005}},
		{"VHOST_GET_FEATURES_ARRAY", {6017, 0, 0}},
		{"VHOST_SET_FEATURES_ARRAY", {6017, 0, 0}},
		{"VHOST_NET_SET_BACKEND", {1, 0, 0}},
		{"VHOST_VSOCK_SET_RUNNING", {0, 1, 0}},
	};
	int now = version();

	for (int d = 0; d < 3; d++) {
		struct vh_kern *k = open_kern(paths[d]);
		struct vh_kern_ioctl all[64];
		uint32_t worker = 0;
		int n;

		guest_check(state_of(k, "VHOST_SET_VRING_BUSYLOOP_TIMEOUT") == VH_KERN_IOCTL_UNKNOWN);
		guest_ok(vh_kern_set_owner(k));
		n = vh_kern_probe(k, all, 64);
		printf("# %s lacks:", paths[d]);
		for (int i = 0; i < n; i++)
			if (all[i].state != VH_KERN_IOCTL_YES)
				printf(" %s", vh_kern_ioctl_name(all[i].request));
		printf("\n");
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			const int since = rows[i].since[d];

			if (state_of(k, rows[i].name) != (since && now >= since ? VH_KERN_IOCTL_YES : VH_KERN_IOCTL_NO))
				guest_fail("%s of %s", rows[i].name, paths[d]);
		}
		/* Probing changed nothing, and can be done again. */
		guest_check(d == 2 || vh_kern_new_worker(k, &worker) < 0);
		vh_kern_free(k);
	}
}

static void generic_calls(void)
{
	for (int d = 0; d < 3; d++) {
		struct vh_kern *k = open_kern(paths[d]);
		struct vh_vring_addr addr = {.index = 0};
		struct vh_region region;
		struct vh_dirty *log;
		struct vh_mem *mem;
		uint64_t features;
		uint32_t v;
		int e = eventfd(0, EFD_CLOEXEC);

		guest_check(vh_kern_set_vring_num(k, 0, 64) == -EPERM);
		says("vh_kern_set_owner() comes first");
		guest_ok(vh_kern_get_features(k, &features));
		guest_check(features & BIT(VH_F_VERSION_1));
		guest_ok(vh_kern_set_owner(k));
		guest_check(vh_kern_set_owner(k) == -EBUSY);
		says("it has an owner already");
		guest_check(vh_kern_set_features(k, BIT(62)) == -EOPNOTSUPP);
		guest_ok(vh_mem_new(NULL, &mem));
		for (uint64_t i = 0; i < 8; i++)
			guest_ok(vh_mem_alloc(mem, i << 24, 1 << 20, 0));
		guest_ok(vh_dirty_new(UINT64_C(1) << 32, &log));
		guest_ok(vh_kern_set_mem(k, mem));
		guest_ok(vh_kern_set_log_base(k, log));
		guest_ok(vh_kern_set_log_fd(k, e));
		guest_ok(vh_kern_set_features(k, BIT(VH_F_VERSION_1) | BIT(VH_F_LOG_ALL)));
		guest_ok(vh_kern_set_features(k, BIT(VH_F_VERSION_1)));
		guest_check(vh_mem_regions(mem, &region, 1) == 8);
		addr.desc = region.host;
		addr.avail = region.host + 0x4000;
		addr.used = region.host + 0x8000;
		guest_ok(vh_kern_set_vring_num(k, 0, 256));
		guest_check(vh_kern_set_vring_num(k, 0, 3) == -EINVAL);
		says("a power of two");
		guest_check(vh_kern_set_vring_num(k, 5000, 8) == -ENOBUFS);
		says("no ring of this index");
		guest_ok(vh_kern_set_vring_addr(k, &addr));
		addr.used++;
		guest_check(vh_kern_set_vring_addr(k, &addr) == -EINVAL);
		guest_ok(vh_kern_set_vring_base(k, 0, 77));
		guest_ok(vh_kern_get_vring_base(k, 0, &v));
		guest_check(v == 77);
		guest_check(vh_kern_set_vring_base(k, 0, 0x10000) == -EINVAL);
		guest_ok(vh_kern_set_vring_kick(k, 0, e));
		guest_ok(vh_kern_set_vring_call(k, 0, e));
		guest_ok(vh_kern_set_vring_err(k, 0, e));
		guest_ok(vh_kern_set_vring_err(k, 0, -1));
		guest_check(vh_kern_set_vring_kick(k, 0, 1) == -EINVAL);
		says("no eventfd");
		guest_check(vh_kern_set_vring_call(k, 0, 999) == -EBADF);
		guest_ok(vh_kern_set_vring_busyloop(k, 0, 25));
		guest_ok(vh_kern_get_vring_busyloop(k, 0, &v));
		guest_check(v == 25);
		if (state_of(k, "VHOST_SET_VRING_ENDIAN") == VH_KERN_IOCTL_NO) {
			guest_check(vh_kern_set_vring_endian(k, 0, VH_KERN_LITTLE_ENDIAN) == -ENOTTY);
			says("CONFIG_VHOST_CROSS_ENDIAN_LEGACY");
		} else {
			guest_ok(vh_kern_set_vring_endian(k, 0, VH_KERN_LITTLE_ENDIAN));
		}
		if (d == 0) {
			guest_ok(vh_kern_reset_owner(k));
			guest_check(vh_kern_get_vring_base(k, 0, &v) == -EPERM);
		}
		vh_kern_free(k);
		vh_dirty_free(log);
		vh_mem_free(mem);
		close(e);
	}
}

/* Bits that this kernel has no room for are refused, and those that it has come back. */
static void features_array(void)
{
	struct vh_kern *k = open_kern(paths[0]);
	uint64_t words[4] = {1, 1, 1, 1}, low;

	if (version() < 6017) {
		guest_check(vh_kern_get_features_array(k, words, 2) < 0);
		vh_kern_free(k);
		guest_skip("it came with 6.17");
	}
	guest_ok(vh_kern_get_features(k, &low));
	guest_ok(vh_kern_get_features_array(k, words, 4));
	guest_check(words[0] == low && !words[2] && !words[3]);
	printf("# bits 64 to 127: %#llx\n", (unsigned long long)words[1]);
	words[0] = BIT(VH_F_VERSION_1);
	guest_ok(vh_kern_set_features_array(k, words, 4));
	words[2] = 1;
	guest_check(vh_kern_set_features_array(k, words, 4) == -EOPNOTSUPP);
	vh_kern_free(k);
}

static void fork_owner(void)
{
	struct vh_kern *k = open_kern(paths[1]);
	const bool there = state_of(k, "VHOST_SET_FORK_FROM_OWNER") == VH_KERN_IOCTL_YES;
	uint32_t v = 9;
	int rc = vh_kern_get_fork_from_owner(k, &v);

	if (!there) {
		guest_check(rc < 0);
		says("this kernel does not have it");
		vh_kern_free(k);
		guest_skip("this kernel does not have it");
	}
	guest_check(!rc && v <= 1);
	guest_ok(vh_kern_set_fork_from_owner(k, !v));
	guest_ok(vh_kern_get_fork_from_owner(k, &v));
	guest_ok(vh_kern_set_owner(k));
	guest_check(vh_kern_set_fork_from_owner(k, 1) == -EBUSY);
	vh_kern_free(k);
}

static void workers(void)
{
	struct vh_kern *k = open_kern(paths[2]);
	uint32_t id, got;
	int rc;

	guest_check(vh_kern_new_worker(k, &id) == -EINVAL);
	guest_ok(vh_kern_set_owner(k));
	rc = vh_kern_new_worker(k, &id);
	guest_ok(rc);
	guest_ok(vh_kern_attach_vring_worker(k, 2, id));
	guest_ok(vh_kern_get_vring_worker(k, 2, &got));
	guest_check(got == id);
	guest_check(vh_kern_free_worker(k, id) == -EBUSY);
	says("still attached");
	guest_check(vh_kern_free_worker(k, 12345) == -ENODEV);
	guest_ok(vh_kern_get_vring_worker(k, 3, &got));
	guest_ok(vh_kern_attach_vring_worker(k, 2, got));
	guest_ok(vh_kern_free_worker(k, id));
	vh_kern_free(k);
}

static void cids(void)
{
	struct vh_kern *a = open_kern(paths[1]), *b = open_kern(paths[1]);

	guest_check(vh_kern_vsock_set_cid(a, 2) == -EINVAL);
	guest_check(vh_kern_vsock_set_cid(a, UINT32_MAX) == -EINVAL);
	guest_ok(vh_kern_vsock_set_cid(a, 77));
	guest_check(vh_kern_vsock_set_cid(b, 77) == -EADDRINUSE);
	says("another guest has this address");
	vh_kern_free(a);
	guest_ok(vh_kern_vsock_set_cid(b, 77));
	guest_ok(vh_kern_set_owner(b));
	guest_check(vh_kern_vsock_set_running(b, 1) == -EFAULT);
	says("come before it");
	vh_kern_free(b);
}

static void what_is_not_there(void)
{
	struct vh_kern_opts opts = {.size = sizeof(opts), .kind = VH_KERN_NET};
	struct vh_kern *k;

	guest_check(vh_kern_adopt(1, &opts, &k) == -ENOTTY || vh_kern_adopt(1, &opts, &k) == -EINVAL);
	guest_check(vh_kern_open("/nowhere/vhost-net", NULL, &k) == -ENOENT);
	says("modprobe vhost_net");
}

int main(void)
{
	static const struct guest_case cases[] = {
		{"probing", probing},
		{"generic-calls", generic_calls},
		{"features-array", features_array},
		{"fork-owner", fork_owner},
		{"workers", workers},
		{"cids", cids},
		{"not-there", what_is_not_there},
	};

	return guest_run(cases, sizeof(cases) / sizeof(cases[0]));
}
