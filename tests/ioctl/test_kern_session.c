/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Sessions over the kernel's vhost devices: what starts when, what stops, what is logged, what is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_vhost.h"
#include "vh/vh.h"

#define BIT(n) (UINT64_C(1) << (n))
#define SHIFT  UINT64_C(0x7000000000)

static struct fake_vhost f;
static int ends[2]; /* what network rings are attached to */

static struct vh_kern *begin(uint32_t node, const struct vh_kern_opts *opts)
{
	struct vh_kern *k;

	fake_vhost_begin(&f, node);
	f.there = "naa.1";
	assert_int_equal(vh_kern_open(fake_vhost_path(), opts, &k), 0);
	if (node == VHI_NODE_NET)
		for (uint32_t i = 0; i < 2; i++)
			assert_int_equal(vh_kern_attach(k, i, ends[0]), 0);
	if (node == VHI_NODE_VSOCK)
		assert_int_equal(vh_kern_vsock_set_cid(k, 52), 0);
	if (node == VHI_NODE_SCSI)
		assert_int_equal(vh_kern_scsi_set_target(k, "naa.1", 1), 0);
	return k;
}

static int session(struct vh_kern *k, const struct vh_driver_opts *more, struct vh_driver **d)
{
	struct vh_driver_opts o = {.size = sizeof(o)};
	struct vh_backend *b;

	if (more)
		o = *more;
	o.type = vh_kern_kind(k) == VH_KERN_NET ? VH_TYPE_NET : 0;
	o.n_queues = o.n_queues ? o.n_queues : vh_kern_kind(k) == VH_KERN_SCSI ? 3 : 2;
	assert_int_equal(vh_kern_backend(k, &b), 0);
	return vh_driver_new(&o, b, NULL, d);
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

static bool runs(uint32_t node)
{
	if (node == VHI_NODE_NET)
		return f.rings[0].backend >= 0 && f.rings[1].backend >= 0;
	return node == VHI_NODE_VSOCK ? f.running : f.target[0];
}

static bool anything_runs(void)
{
	for (int i = 0; i < FAKE_RINGS; i++)
		if (f.rings[i].backend >= 0)
			return true;
	return f.running || f.target[0];
}

static const uint32_t nodes[] = {VHI_NODE_NET, VHI_NODE_VSOCK, VHI_NODE_SCSI};

/* What a child of fork() frees it has a copy of: the parent's devices run on. */
static void a_child_stops_nothing(void **state)
{
	(void)state;
	for (int n = 0; n < 3; n++) {
		struct vh_kern *k = begin(nodes[n], NULL);
		struct vh_driver *d;
		int status = 0;
		pid_t pid;

		assert_int_equal(session(k, NULL, &d), 0);
		assert_int_equal(vh_driver_start(d), 0);
		pid = fork();
		if (!pid) {
			vh_driver_free(d);
			vh_kern_free(k);
			_exit(runs(nodes[n]) ? 0 : 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		vh_driver_free(d);
		vh_kern_free(k);
		assert_false(anything_runs());
	}
}

static void from_open_to_running(void **state)
{
	(void)state;
	for (int n = 0; n < 3; n++) {
		struct vh_kern *k = begin(nodes[n], NULL);
		struct vh_region r[8];
		struct vh_snapshot *snap;
		struct vh_driver *d;
		uint32_t rings = n == 2 ? 3 : 2;
		uint64_t features;

		assert_int_equal(session(k, NULL, &d), 0);
		assert_true(f.owned);
		assert_int_equal(vh_driver_features(d, &features), 0);
		assert_int_equal(features, f.acked);
		assert_true(features & BIT(VH_F_VERSION_1) && features & BIT(VH_F_RING_EVENT_IDX));
		/* Bit 27 means something else to the kernel, LOG_ALL is nobody's but the log's. */
		assert_false(features & (BIT(27) | BIT(VH_F_LOG_ALL)));
		assert_false(anything_runs());
		assert_int_equal(vh_driver_start(d), 0);
		assert_true(runs(nodes[n]));
		assert_int_equal(vh_driver_dup_snapshot(d, &snap), 0);
		assert_true(vh_snapshot_regions(snap, r, 8) > 0);
		assert_int_equal(f.regions[0].userspace_addr, r[0].host);
		for (uint32_t i = 0; i < rings; i++) {
			assert_int_equal(f.rings[i].num, 256);
			assert_in_range(f.rings[i].addr.desc, r[0].host, r[0].host + r[0].len);
			assert_in_range(f.rings[i].addr.used, r[0].host, r[0].host + r[0].len);
			assert_int_equal(f.rings[i].addr.flags, 0);
			assert_true(f.rings[i].kick >= 0 && f.rings[i].call >= 0);
		}
		/* More memory while it runs. */
		assert_int_equal(vh_driver_alloc(d, 64 << 20, &features), 0);
		assert_int_equal(f.n_regions, 2);
		assert_int_equal(vh_driver_stop(d, 0, 100), 0);
		assert_false(anything_runs());
		assert_int_equal(vh_driver_start(d), 0);
		assert_true(runs(nodes[n]));
		/* One ring alone, which in two of them stops all for that long. */
		assert_int_equal(vh_driver_reset_queue(d, 1), 0);
		assert_true(runs(nodes[n]));
		vh_driver_free(d);
		assert_false(anything_runs());
		/* Another session on the same file, which has its owner. */
		assert_int_equal(session(k, NULL, &d), 0);
		assert_int_equal(vh_driver_start(d), 0);
		assert_true(runs(nodes[n]));
		/* The device goes first: nothing may run without its memory. */
		vh_driver_free(d);
		vh_kern_free(k);
		assert_false(anything_runs());
		vh_snapshot_free(snap);
	}
}

/* Whatever fails on the way: it is told, and nothing goes on to run. */
static void a_start_that_fails_leaves_nothing(void **state)
{
	static const uint32_t calls[] = {
		VHI_VHOST_SET_MEM_TABLE,   VHI_VHOST_SET_VRING_NUM,	VHI_VHOST_SET_VRING_BASE,
		VHI_VHOST_SET_VRING_ADDR,  VHI_VHOST_SET_VRING_KICK,	VHI_VHOST_SET_VRING_CALL,
		VHI_VHOST_NET_SET_BACKEND, VHI_VHOST_VSOCK_SET_RUNNING, VHI_VHOST_SCSI_SET_ENDPOINT};

	(void)state;
	for (int n = 0; n < 3; n++)
		for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
			for (unsigned after = 0; after < 3; after++) {
				struct vh_kern *k = begin(nodes[n], NULL);
				struct vh_driver *d;
				bool fired;
				int rc;

				assert_int_equal(session(k, NULL, &d), 0);
				f.fail_request = calls[i];
				f.fail_errno = ENOMEM;
				f.fail_after = after;
				rc = vh_driver_start(d);
				fired = !f.fail_errno;
				assert_int_equal(rc, fired ? -ENOMEM : 0);
				assert_int_equal(anything_runs(), !fired);
				f.fail_errno = 0;
				if (fired) {
					says(vh_kern_ioctl_name(calls[i]));
					assert_int_equal(vh_driver_start(d), 0);
				}
				assert_true(runs(nodes[n]));
				vh_driver_free(d);
				vh_kern_free(k);
			}
}

static void a_session_needs_to_know_what_it_is_about(void **state)
{
	struct vh_kern *k = begin(VHI_NODE_NET, NULL);
	struct vh_driver *d;

	(void)state;
	assert_int_equal(vh_kern_attach(k, 1, -1), 0);
	assert_int_equal(session(k, NULL, &d), 0);
	assert_int_equal(vh_driver_start(d), -EINVAL);
	says("vh_kern_attach() comes first");
	assert_false(anything_runs());
	vh_driver_free(d);
	vh_kern_free(k);
	k = begin(VHI_NODE_SCSI, NULL);
	assert_int_equal(vh_kern_scsi_set_target(k, NULL, 0), 0);
	assert_int_equal(session(k, NULL, &d), 0);
	assert_int_equal(vh_driver_start(d), -EINVAL);
	says("vh_kern_scsi_set_target() comes first");
	vh_driver_free(d);
	vh_kern_free(k);
}

static void as_many_queues_as_there_are(void **state)
{
	struct vh_kern *k;
	struct vh_driver *d;

	(void)state;
	for (int n = 0; n < 3; n++) {
		const uint32_t there = n == 2 ? FAKE_RINGS : 2;
		const struct vh_driver_opts all = {.size = sizeof(all), .n_queues = there};
		const struct vh_driver_opts more = {.size = sizeof(more), .n_queues = there + 1};

		k = begin(nodes[n], NULL);
		assert_int_equal(session(k, &more, &d), -ENOSPC);
		assert_int_equal(session(k, &all, &d), 0);
		vh_driver_free(d);
		vh_kern_free(k);
	}
}

static void adopted_files_may_have_their_owner(void **state)
{
	const struct vh_kern_opts opts = {.size = sizeof(opts), .kind = VH_KERN_VSOCK};
	struct vh_kern *first = begin(VHI_NODE_VSOCK, NULL), *k;
	struct vh_driver *d;
	int fd;

	(void)state;
	assert_int_equal(vh_kern_set_owner(first), 0);
	assert_int_equal(vh_kern_dup_fd(first, &fd), 0);
	assert_int_equal(vh_kern_adopt(fd, &opts, &k), 0);
	close(fd);
	assert_int_equal(session(k, NULL, &d), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_true(f.running);
	vh_driver_free(d);
	vh_kern_free(k);
	vh_kern_free(first);
	/* One that was opened here may not. */
	k = begin(VHI_NODE_VSOCK, NULL);
	f.owned = true;
	assert_int_equal(session(k, NULL, &d), -EBUSY);
	vh_kern_free(k);
}

static void features_of_what_is_around_it(void **state)
{
	const struct vh_kern_opts opts = {.size = sizeof(opts),
					  .flags = VH_KERN_NET_HDR,
					  .mask_features = BIT(VH_F_RING_EVENT_IDX),
					  .more_features = BIT(5)}; /* the device's address is known */
	const struct vh_driver_opts want = {.size = sizeof(want), .features = BIT(5)};
	const uint8_t config[10] = {2, 3, 4, 5, 6, 7, 1, 0, 1, 0};
	struct vh_kern *k = begin(VHI_NODE_NET, &opts);
	struct vh_backend *b;
	struct vh_driver *d;
	uint64_t features;
	uint8_t got[10];

	(void)state;
	assert_int_equal(vh_kern_backend(k, &b), 0);
	assert_string_equal(vh_backend_kind(b), "vhost-kernel");
	assert_int_equal(vh_backend_get_config(b, 0, got, 6), -EOPNOTSUPP);
	assert_int_equal(vh_kern_set_config(k, config, sizeof(config)), 0);
	assert_int_equal(vh_backend_get_config(b, 6, got, 4), 0);
	assert_memory_equal(got, config + 6, 4);
	assert_int_equal(vh_backend_get_config(b, 8, got, 3), -EINVAL);
	assert_int_equal(vh_backend_get_config(b, UINT32_MAX, got, 3), -EINVAL);
	assert_int_equal(vh_backend_set_config(b, 0, got, 3), -EOPNOTSUPP);
	assert_int_equal(vh_kern_set_config(k, NULL, 1), -EINVAL);
	assert_int_equal(vh_kern_set_config(k, config, VH_KERN_MAX_CONFIG + 1), -EINVAL);
	assert_int_equal(vh_backend_get_features(b, &features), 0);
	assert_true(features & BIT(5));
	assert_false(features & (BIT(VH_F_RING_EVENT_IDX) | BIT(27)));
	assert_int_equal(session(k, &want, &d), 0);
	assert_int_equal(vh_driver_features(d, &features), 0);
	/* The driver has it, and the kernel never heard of it; it makes the headers. */
	assert_true(features & BIT(5) && !(f.acked & BIT(5)) && f.acked & BIT(27) && !(features & BIT(27)));
	vh_driver_free(d);
	f.offered &= ~BIT(27);
	assert_int_equal(session(k, &want, &d), -EOPNOTSUPP);
	vh_kern_free(k);
	/* A socket device's address, without being told. */
	k = begin(VHI_NODE_VSOCK, NULL);
	assert_int_equal(vh_kern_backend(k, &b), 0);
	assert_int_equal(vh_backend_get_config(b, 0, got, 8), 0);
	assert_int_equal(got[0], 52);
	vh_kern_free(k);
}

static void what_is_logged(void **state)
{
	(void)state;
	for (int n = 0; n < 3; n++) {
		struct vh_kern *k = begin(nodes[n], NULL);
		struct vh_dirty *log, *small;
		struct vh_driver *d;

		assert_int_equal(vh_dirty_new(UINT64_C(1) << 32, &log), 0);
		assert_int_equal(vh_dirty_new(0x10000, &small), 0);
		assert_int_equal(session(k, NULL, &d), 0);
		assert_int_equal(vh_driver_start(d), 0);
		assert_int_equal(vh_driver_set_dirty(d, small), -ERANGE);
		assert_int_equal(vh_driver_set_dirty(d, log), 0);
		assert_true(f.log_base && f.acked & BIT(VH_F_LOG_ALL));
		assert_true(f.rings[0].addr.flags == 1 && f.rings[1].addr.flags == 1);
		assert_int_not_equal(f.rings[0].addr.log, f.rings[1].addr.log);
		/* Rings that start later log too. */
		assert_int_equal(vh_driver_reset_queue(d, 0), 0);
		assert_int_equal(f.rings[0].addr.flags, 1);
		assert_int_equal(vh_driver_set_dirty(d, NULL), 0);
		assert_true(!(f.acked & BIT(VH_F_LOG_ALL)) && !f.rings[0].addr.flags && !f.rings[1].addr.flags);
		/* A kernel that can't: as it was. */
		f.fail_request = VHI_VHOST_SET_LOG_BASE;
		f.fail_errno = EFAULT;
		assert_int_equal(vh_driver_set_dirty(d, log), -EFAULT);
		assert_true(runs(nodes[n]) && !(f.acked & BIT(VH_F_LOG_ALL)));
		vh_driver_free(d);
		vh_kern_free(k);
		vh_dirty_free(log);
		vh_dirty_free(small);
	}
}

/* Behind an IOMMU. */

static struct vh_driver *behind(struct vh_kern *k)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .flags = VH_DRIVER_IOMMU, .iova_offset = SHIFT};
	struct vh_driver *d;

	assert_int_equal(session(k, &o, &d), 0);
	assert_int_equal(vh_driver_start(d), 0);
	return d;
}

static void misses_are_answered(void **state)
{
	(void)state;
	for (int v2 = 0; v2 < 2; v2++)
		for (int n = 0; n < 2; n++) {
			struct vh_kern *k = begin(nodes[n], NULL);
			struct vh_iotlb_miss miss = {.size = sizeof(miss)};
			const struct vhi_vhost_iotlb_msg *told = &f.out[0].iotlb;
			struct vh_driver *d;
			uint64_t gpa;

			f.backend_offered = v2 ? BIT(VH_KERN_BF_IOTLB_MSG_V2) : 0;
			d = behind(k);
			assert_true(f.acked & BIT(VH_F_ACCESS_PLATFORM));
			assert_int_equal(f.backend_acked, f.backend_offered);
			gpa = f.regions[0].guest_phys_addr;
			/* Each ring's place was told before it was started, and no more than once. */
			assert_int_equal(f.n_out, 2);
			f.n_out = 0;
			assert_in_range(f.rings[0].addr.desc, gpa + SHIFT, gpa + SHIFT + f.regions[0].memory_size);
			assert_int_equal(vh_kern_dispatch(k), 0);
			fake_vhost_miss(gpa + SHIFT + 0x5000, VHI_VHOST_ACCESS_RW);
			/* The session looks after it, as after a connection. */
			assert_true(vh_driver_dispatch(d) >= 0);
			assert_int_equal(f.n_out, 1);
			assert_int_equal(f.out[0].type, v2 ? VHI_VHOST_IOTLB_MSG_V2 : VHI_VHOST_IOTLB_MSG);
			assert_int_equal(told->type, VHI_VHOST_IOTLB_UPDATE);
			assert_int_equal(told->iova, gpa + SHIFT);
			assert_int_equal(told->size, f.regions[0].memory_size);
			assert_int_equal(told->uaddr, f.regions[0].userspace_addr);
			assert_int_equal(told->perm, VHI_VHOST_ACCESS_RW);
			assert_int_equal(vh_kern_next_miss(k, &miss), 0);
			/* Nobody knows this one: it is asked of the user. */
			fake_vhost_miss(0x1234, VHI_VHOST_ACCESS_RO);
			assert_int_equal(vh_kern_dispatch(k), 0);
			assert_int_equal(vh_kern_next_miss(k, &miss), 1);
			assert_true(miss.iova == 0x1234 && miss.perm == VH_MEM_READ);
			assert_int_equal(vh_kern_next_miss(k, &miss), 0);
			assert_int_equal(f.n_out, 1);
			vh_driver_free(d);
			vh_kern_free(k);
		}
}

static void updates_by_hand(void **state)
{
	struct vh_kern *k = begin(VHI_NODE_NET, NULL);
	struct vh_iotlb_entry e = {.iova = 0x10000, .len = 0x3000, .addr = 0xff000, .perm = 3};
	const struct vh_iotlb_opts by_uva = {.size = sizeof(by_uva), .flags = VH_IOTLB_USER_ADDR};
	struct vh_iotlb *map;
	struct vh_mem *mem;

	(void)state;
	assert_int_equal(vh_mem_new(NULL, &mem), 0);
	assert_int_equal(vh_mem_alloc(mem, 0xf0000, 0x10000, 0), 0);
	assert_int_equal(vh_mem_alloc(mem, 0x100000, 0x1000, 0), 0);
	assert_int_equal(vh_kern_iotlb_update(k, &e), -EFAULT);
	assert_int_equal(vh_kern_set_owner(k), 0);
	assert_int_equal(vh_kern_set_mem(k, mem), 0);
	e.len = 0x2000;
	/* No IOTLB yet. */
	assert_int_equal(vh_kern_iotlb_update(k, &e), -EFAULT);
	says("ACCESS_PLATFORM was not acked");
	assert_int_equal(vh_kern_set_features(k, BIT(33)), 0);
	assert_int_equal(vh_kern_iotlb_update(k, &e), 0);
	/* In as many pieces as there are regions. */
	assert_int_equal(f.n_out, 2);
	assert_true(f.out[0].iotlb.size == 0x1000 && f.out[1].iotlb.size == 0x1000);
	assert_int_equal(f.out[0].iotlb.uaddr, f.regions[0].userspace_addr + 0xf000);
	assert_int_equal(f.out[1].iotlb.iova, 0x11000);
	assert_int_equal(f.out[1].iotlb.uaddr, f.regions[1].userspace_addr);
	e.len = 0x3000;
	assert_int_equal(vh_kern_iotlb_update(k, &e), -EFAULT);
	says("0x101000 is not in the memory");
	assert_int_equal(vh_kern_iotlb_invalidate(k, 0x10000, 0x2000), 0);
	assert_int_equal(f.out[4].iotlb.type, VHI_VHOST_IOTLB_INVALIDATE);
	assert_int_equal(vh_kern_iotlb_invalidate(k, 0x10000, 0), -EINVAL);
	e.perm = 4;
	assert_int_equal(vh_kern_iotlb_update(k, &e), -EINVAL);
	e.perm = 3, e.len = 0;
	assert_int_equal(vh_kern_iotlb_update(k, &e), -EINVAL);
	e.len = 0x2000, e.addr = UINT64_MAX - 0x1000;
	assert_int_equal(vh_kern_iotlb_update(k, &e), -EINVAL);
	assert_int_equal(vh_kern_iotlb_update(k, NULL), -EINVAL);
	/* A map of addresses of this process. */
	assert_int_equal(vh_iotlb_new(&by_uva, NULL, &map), 0);
	e = (struct vh_iotlb_entry){.iova = 0x90000, .len = 0x1000, .addr = 0x777000, .perm = 1};
	assert_int_equal(vh_iotlb_update(map, &e), 0);
	assert_int_equal(vh_kern_set_iotlb(k, map), 0);
	vh_iotlb_free(map);
	f.n_out = 0;
	fake_vhost_miss(0x90123, VHI_VHOST_ACCESS_RO);
	assert_int_equal(vh_kern_dispatch(k), 0);
	assert_true(f.n_out == 1 && f.out[0].iotlb.uaddr == 0x777000 && f.out[0].iotlb.perm == 1);
	assert_int_equal(vh_kern_set_iotlb(k, NULL), 0);
	vh_kern_free(k);
	vh_mem_free(mem);
}

/* The kernel keeps what nobody takes. */
static void misses_are_bounded(void **state)
{
	struct vh_kern *k = begin(VHI_NODE_NET, NULL);
	struct vh_iotlb_miss miss = {.size = sizeof(miss)};
	struct vh_driver *d = behind(k);
	unsigned taken = 0;

	(void)state;
	for (uint64_t i = 0; i < 200; i++)
		fake_vhost_miss(i << 12, (uint8_t)(1 + i % 3));
	assert_int_equal(vh_kern_dispatch(k), 0);
	assert_int_equal(f.in_n, 200 - 64);
	while (vh_kern_next_miss(k, &miss) == 1) {
		assert_int_equal(miss.iova, (uint64_t)taken << 12);
		assert_int_equal(miss.perm, 1 + taken % 3);
		taken++;
		assert_true(vh_kern_dispatch(k) >= 0);
	}
	assert_int_equal(taken, 200);
	vh_driver_free(d);
	vh_kern_free(k);
}

static void messages_that_are_none(void **state)
{
	struct vhi_vhost_msg_v2 good = {.type = VHI_VHOST_IOTLB_MSG_V2,
					.iotlb = {.type = VHI_VHOST_IOTLB_MISS, .perm = 1}};
	struct vhi_vhost_msg_v2 m;
	struct vh_iotlb_miss miss = {.size = sizeof(miss)};
	struct vh_kern *k = begin(VHI_NODE_NET, NULL);
	struct vh_driver *d = behind(k);

	(void)state;
	for (uint32_t what = 0; what < 9; what++) {
		static const uint32_t sites[] = {1000, 1000, 1001, 1001, 1002, 1002, 1003, 1003, 1004};

		m = good;
		m.type = what == 2 ? 0 : what == 3 ? 3 : m.type;
		m.iotlb.type = what == 4 ? VHI_VHOST_IOTLB_ACCESS_FAIL : what == 5 ? 0 : m.iotlb.type;
		m.iotlb.perm = what == 6 ? 0 : what == 7 ? 4 : m.iotlb.perm;
		m.asid = what == 8;
		fake_vhost_say(&m, what == 0 ? 4 : what == 1 ? 71 : sizeof(m));
		assert_int_equal(vh_kern_dispatch(k), -EPROTO);
		assert_int_equal(last().site, sites[what]);
		assert_int_equal(last().domain, VH_ERROR_PEER);
		assert_int_equal(vh_kern_next_miss(k, &miss), 0);
	}
	/* It goes on with the next one. */
	fake_vhost_say(&good, sizeof(good));
	assert_int_equal(vh_kern_dispatch(k), 0);
	assert_int_equal(vh_kern_next_miss(k, &miss), 1);
	/* What a read or a write may say. */
	f.read_errno = EBADFD;
	assert_int_equal(vh_kern_dispatch(k), 0);
	f.read_errno = EIO;
	assert_int_equal(vh_kern_dispatch(k), -EIO);
	f.read_errno = 0;
	f.write_short = 40;
	assert_int_equal(vh_kern_iotlb_invalidate(k, 0, 1), -EPROTO);
	assert_int_equal(last().site, 1005);
	f.write_short = 0;
	f.write_errno = EINVAL;
	assert_int_equal(vh_kern_iotlb_invalidate(k, 0, 1), -EINVAL);
	f.write_errno = 0;
	vh_driver_free(d);
	vh_kern_free(k);
}

/* The kernel says by an eventfd that it can't go on with a ring. */
static void a_broken_ring_is_told(void **state)
{
	struct vh_event e = {.size = sizeof(e)};
	struct vh_kern *k = begin(VHI_NODE_NET, NULL);
	struct pollfd p = {.events = POLLIN};
	const uint64_t one = 1;
	struct vh_driver *d;

	(void)state;
	assert_int_equal(session(k, NULL, &d), 0);
	assert_int_equal(vh_driver_start(d), 0);
	p.fd = vh_driver_fd(d);
	assert_int_equal(vh_driver_dispatch(d), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(vh_driver_next_event(d, &e), 0);
	assert_int_equal(write(f.rings[1].err, &one, sizeof(one)), sizeof(one));
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(vh_driver_dispatch(d), 0);
	assert_int_equal(vh_driver_next_event(d, &e), 1);
	assert_true(e.kind == VH_EVENT_BROKEN && e.queue == 1 && e.reason == -EIO);
	assert_int_equal(vh_driver_next_event(d, &e), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	/* Each ring has its own. */
	assert_true(f.rings[0].err >= 0 && f.rings[0].err != f.rings[1].err);
	vh_driver_free(d);
	vh_kern_free(k);
}

static void scsi_has_no_iotlb(void **state)
{
	const struct vh_driver_opts o = {.size = sizeof(o), .flags = VH_DRIVER_IOMMU};
	struct vh_kern *k = begin(VHI_NODE_SCSI, NULL);
	struct vh_driver *d;

	(void)state;
	assert_int_equal(vh_kern_fd(k), -EOPNOTSUPP);
	assert_int_equal(vh_kern_dispatch(k), 0);
	assert_int_equal(session(k, &o, &d), -ENOTSUP);
	assert_int_equal(vh_kern_fd(NULL), -EINVAL);
	vh_kern_free(k);
	k = begin(VHI_NODE_NET, NULL);
	assert_true(vh_kern_fd(k) >= 0);
	vh_kern_free(k);
}

/* Memory of the caller's, and rings that somebody else drives. */
static void over_memory_of_the_callers(void **state)
{
	const struct vh_driver_opts o = {
		.size = sizeof(o), .type = VH_TYPE_NET, .n_queues = 2, .features = BIT(32) | BIT(15)};
	struct vh_driver_ring ring = {
		.size = sizeof(ring), .num = 64, .desc = 0x100000, .driver = 0x101000, .device = 0x102000, .base = 7};
	struct vh_kern *k = begin(VHI_NODE_NET, NULL);
	struct vh_backend *b;
	struct vh_driver *d;
	struct vh_mem *mem;

	(void)state;
	assert_int_equal(vh_mem_new(NULL, &mem), 0);
	assert_int_equal(vh_mem_alloc(mem, 0x100000, 0x10000, 0), 0);
	assert_int_equal(vh_kern_backend(k, &b), 0);
	assert_int_equal(vh_driver_new(&o, b, mem, &d), 0);
	assert_int_equal(vh_driver_set_ring(d, 0, &ring, -1, -1), 0);
	assert_int_equal(vh_driver_start(d), 0);
	assert_true(f.rings[0].backend >= 0 && f.rings[1].backend < 0);
	assert_true(f.rings[0].base == 7 && f.rings[0].kick == -1);
	/* One that is there, and off. */
	ring.flags = VH_DRIVER_RING_OFF;
	assert_int_equal(vh_driver_set_ring(d, 1, &ring, -1, -1), 0);
	assert_true(f.rings[1].num == 64 && f.rings[1].backend < 0);
	assert_int_equal(vh_driver_enable(d, 1, 1), 0);
	assert_true(f.rings[1].backend >= 0);
	assert_int_equal(vh_driver_enable(d, 1, 0), 0);
	assert_true(f.rings[1].backend < 0);
	/* Where the kernel stopped is where it goes on. */
	f.rings[0].base = 9;
	assert_int_equal(vh_driver_stop(d, 0, 100), 0);
	ring.size = sizeof(ring);
	assert_int_equal(vh_driver_get_ring(d, 0, &ring), 0);
	assert_int_equal(ring.base, 9);
	/* A ring that is not in one region. */
	ring = (struct vh_driver_ring){
		.size = sizeof(ring), .num = 64, .desc = 0x10fff0, .driver = 0x101000, .device = 0x102000};
	assert_int_equal(vh_driver_set_ring(d, 0, &ring, -1, -1), 0);
	assert_int_equal(vh_driver_start(d), -EFAULT);
	assert_false(anything_runs());
	vh_driver_free(d);
	vh_kern_free(k);
	vh_mem_free(mem);
}

static int group_begin(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_stops_nothing),
		cmocka_unit_test(from_open_to_running),
		cmocka_unit_test(a_start_that_fails_leaves_nothing),
		cmocka_unit_test(a_session_needs_to_know_what_it_is_about),
		cmocka_unit_test(as_many_queues_as_there_are),
		cmocka_unit_test(adopted_files_may_have_their_owner),
		cmocka_unit_test(features_of_what_is_around_it),
		cmocka_unit_test(what_is_logged),
		cmocka_unit_test(misses_are_answered),
		cmocka_unit_test(updates_by_hand),
		cmocka_unit_test(misses_are_bounded),
		cmocka_unit_test(messages_that_are_none),
		cmocka_unit_test(a_broken_ring_is_told),
		cmocka_unit_test(scsi_has_no_iotlb),
		cmocka_unit_test(over_memory_of_the_callers),
	};

	return cmocka_run_group_tests(tests, group_begin, NULL);
}
