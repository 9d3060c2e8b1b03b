/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Peers that have other numbers: each role against one by hand, which speaks as they do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vht_master.h"
#include "vht_peer.h"

#define BIT(n) (UINT64_C(1) << (n))
#define PAGE   4096u

static struct vht_peer peer;
static struct vht_peer *const p = &peer;
static int back; /* the front-end's end of the channel */

/* --- a back-end, against a front-end by hand --- */

static void slave_of(uint32_t dialect, bool shmem)
{
	const struct vh_slave_opts opts = {.size = sizeof(opts), .dialect = dialect};

	back = -1;
	vht_peer_prepare(p, NULL, NULL, 0);
	vh_slave_free(p->s);
	assert_int_equal(vh_device_set_shmem(p->dev, 2, shmem ? 2 * PAGE : 0), 0);
	assert_int_equal(vh_slave_new(&opts, p->dev, NULL, NULL, &p->s), 0);
	vht_peer_connect(p);
}

static uint64_t offered(void)
{
	vht_msg(p, M_GET_PROTOCOL_FEATURES, F_REQUEST, NULL, 0, -1);
	vht_expect(p, M_GET_PROTOCOL_FEATURES);
	return vht_u64(&p->reply, 0);
}

static void up(uint64_t pf)
{
	vht_peer_up(p);
	vht_ok_u64(p, M_SET_PROTOCOL_FEATURES, pf);
	back = vht_give_channel(p);
}

static int slave_end(void **state)
{
	(void)state;
	if (back >= 0)
		close(back);
	vht_peer_free(p);
	return 0;
}

static void shared_memory_has_the_bit_of_rust_vmm(void **state)
{
	const struct vh_shmem_map map = {.size = sizeof(map), .shmid = 2, .len = PAGE};
	const uint64_t send_fd = BIT(10), theirs = BIT(21), spec = BIT(22);
	struct vht_msg m;
	uint64_t ticket;

	(void)state;
	slave_of(VH_DIALECT_RUST_VMM, true);
	assert_int_equal(offered(), VHT_PF | send_fd | theirs);
	/* The bit of the specification says nothing there, and does no harm. */
	up(VHT_PF | send_fd | spec);
	assert_int_equal(vh_slave_shmem_map(p->s, &map, p->memfd, &ticket), -EOPNOTSUPP);
	vht_ok_u64(p, M_SET_PROTOCOL_FEATURES, VHT_PF | send_fd | theirs);
	assert_int_equal(vh_slave_shmem_map(p->s, &map, p->memfd, &ticket), 0);
	assert_int_equal(vht_recv(back, &m), 1);
	assert_int_equal(m.request, 9);
	vht_close_fds(&m);
	vht_msg(p, 44, F_REQUEST, NULL, 0, -1);
	vht_expect(p, 44);
	assert_int_equal(vht_u64(&p->reply, 8 + 2 * 8), 2 * PAGE);
	slave_end(NULL);
	/* As the specification has it. */
	slave_of(VH_DIALECT_SPEC, true);
	assert_int_equal(offered(), VHT_PF | send_fd | spec);
}

static void requests_of_virtio_fs_go_out_as_their_dialect_has_them(void **state)
{
	static const struct {
		uint32_t dialect, first;
	} dialects[] = {{VH_DIALECT_VIRTIO_FS, 6}, {VH_DIALECT_CROSVM, 1002}};
	const struct vh_fs_range ranges[2] = {{.fd_offset = 1, .cache_offset = 2, .len = 3, .flags = VH_FS_READ},
					      {.fd_offset = 4, .cache_offset = 5, .len = 6, .flags = VH_FS_WRITE}};
	struct vht_msg m;
	uint64_t ticket;

	(void)state;
	for (unsigned d = 0; d < 2; d++) {
		slave_of(dialects[d].dialect, false);
		assert_int_equal(offered(), VHT_PF | BIT(10));
		up(VHT_PF | BIT(10));
		for (uint32_t op = VH_FS_MAP; op <= VH_FS_IO; op++) {
			bool fd = op == VH_FS_MAP || op == VH_FS_IO;
			uint32_t id = dialects[d].first + op - VH_FS_MAP;

			assert_int_equal(vh_slave_fs_request(p->s, op, ranges, 2, fd ? -1 : p->memfd, &ticket),
					 -EINVAL);
			assert_int_equal(vh_slave_fs_request(p->s, op, ranges, 2, fd ? p->memfd : -1, &ticket), 0);
			assert_int_equal(vht_recv(back, &m), 1);
			assert_int_equal(m.request, id);
			assert_int_equal(m.flags, F_NEED_REPLY);
			assert_int_equal(m.size, 256);
			assert_int_equal(m.n_fds, fd);
			for (unsigned i = 0; i < 8; i++)
				for (unsigned k = 0; k < 3; k++)
					assert_int_equal(vht_u64(&m, k * 64 + i * 8), i < 2 ? 3 * i + k + 1 : 0);
			assert_int_equal(vht_u64(&m, 192), 1);
			assert_int_equal(vht_u64(&m, 200), 2);
			vht_close_fds(&m);
			vht_send_u64(back, id, F_REPLY, op == VH_FS_SYNC);
			vht_pump(p);
			assert_int_equal(vh_slave_finish(p->s, ticket, NULL, 0, NULL, 0, NULL),
					 op == VH_FS_SYNC ? -EREMOTEIO : 0);
		}
		assert_int_equal(d ? 0 : slave_end(NULL), 0);
	}
}

static void what_the_dialect_does_not_have_is_not_sent(void **state)
{
	const struct vh_slave_opts unknown = {.size = sizeof(unknown), .dialect = 4};
	const struct vh_fs_range good = {.len = 1};
	struct vh_fs_range bad[4] = {{.len = 0},
				     {.len = 1, .flags = 4},
				     {.fd_offset = UINT64_MAX, .len = 2},
				     {.cache_offset = UINT64_MAX, .len = 2}};
	uint64_t ticket;

	(void)state;
	slave_of(VH_DIALECT_SPEC, false);
	assert_int_equal(vh_slave_new(&unknown, p->dev, NULL, NULL, NULL), -EINVAL);
	up(VHT_PF);
	assert_int_equal(vh_slave_fs_request(p->s, VH_FS_UNMAP, &good, 1, -1, &ticket), -EOPNOTSUPP);
	slave_end(NULL);
	slave_of(VH_DIALECT_VIRTIO_FS, false);
	up(VHT_PF);
	/* An fd needs the feature for it. */
	assert_int_equal(vh_slave_fs_request(p->s, VH_FS_MAP, &good, 1, p->memfd, &ticket), -EOPNOTSUPP);
	assert_int_equal(vh_slave_fs_request(p->s, VH_FS_UNMAP, &good, 1, -1, &ticket), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vh_slave_fs_request(p->s, VH_FS_UNMAP, &bad[i], 1, -1, &ticket), -EINVAL);
	assert_int_equal(vh_slave_fs_request(p->s, VH_FS_UNMAP, NULL, 1, -1, &ticket), -EINVAL);
	assert_int_equal(vh_slave_fs_request(p->s, VH_FS_UNMAP, &good, 0, -1, &ticket), -EINVAL);
	assert_int_equal(vh_slave_fs_request(p->s, VH_FS_UNMAP, &good, 9, -1, &ticket), -EINVAL);
	assert_int_equal(vh_slave_fs_request(p->s, 6, &good, 1, -1, &ticket), -EINVAL);
	assert_int_equal(vh_slave_fs_request(NULL, VH_FS_UNMAP, &good, 1, -1, &ticket), -EINVAL);
}

/* --- a front-end, against a back-end by hand --- */

struct seen {
	unsigned calls, objects, raw;
	uint32_t op, n;
	struct vh_fs_range ranges[VH_FS_MAX_RANGES];
	bool fd;
	int32_t rc;
};

static vh_rc on_fs(void *ctx, uint32_t op, const struct vh_fs_range *ranges, uint32_t n, vh_fd fd, uint64_t token)
{
	struct seen *s = ctx;

	assert_int_not_equal(token, 0);
	s->calls++;
	s->op = op;
	s->n = n;
	s->fd = fd >= 0;
	memcpy(s->ranges, ranges, n * sizeof(*ranges));
	return s->rc;
}

static vh_rc on_raw(void *ctx, const struct vh_msg_request *req)
{
	(void)req;
	((struct seen *)ctx)->raw++;
	return 0;
}

static vh_rc on_object(void *ctx, const void *uuid, uint32_t len, uint64_t token)
{
	(void)uuid;
	(void)len;
	(void)token;
	((struct seen *)ctx)->objects++;
	return 0;
}

static vh_fd on_wanted(void *ctx, const void *uuid, uint32_t len, uint64_t token)
{
	int32_t rc = on_object(ctx, uuid, len, token);

	return rc ? rc : -ENOENT;
}

static vh_rc on_map(void *ctx, const struct vh_shmem_map *map, vh_fd fd, uint64_t token)
{
	(void)map;
	return fd < 0 ? -EINVAL : on_object(ctx, NULL, 0, token);
}

static vh_rc on_unmap(void *ctx, const struct vh_shmem_map *map, uint64_t token)
{
	(void)map;
	return on_object(ctx, NULL, 0, token);
}

struct fix {
	struct vh_master *m;
	struct vht_backend b;
	struct seen seen;
	int fd;
};

static struct fix fix;

static bool answer_config(struct vht_backend *b, struct vht_msg *m)
{
	static const uint64_t config[257] = {VHT_PAIR(1, 0), 4 * PAGE};

	if (m->request == 44)
		vht_send(b->fd, 44, 5, config, sizeof(config), NULL, 0);
	return m->request == 44;
}

static struct fix *master_of(uint32_t dialect, uint64_t more_pf)
{
	const struct vh_master_ops ops = {.size = sizeof(ops),
					  .backend_request = on_raw,
					  .shmem_map = on_map,
					  .shmem_unmap = on_unmap,
					  .object_added = on_object,
					  .object_removed = on_object,
					  .object_wanted = on_wanted,
					  .fs_request = on_fs};
	const struct vh_master_opts opts = {.size = sizeof(opts), .timeout_ms = 5000, .dialect = dialect};
	struct fix *f = &fix;

	memset(f, 0, sizeof(*f));
	assert_int_equal(vh_master_new(&opts, &ops, &f->seen, &f->m), 0);
	vht_backend_init(&f->b);
	f->b.protocol_features |= more_pf;
	f->b.script = answer_config;
	vht_backend_start(&f->b, vht_master_pair(f->m));
	assert_int_equal(vh_master_negotiate(f->m, BIT(32), NULL), 0);
	f->fd = f->b.channel;
	return f;
}

static void master_end(struct fix *f)
{
	vh_master_free(f->m);
	vht_backend_stop(&f->b);
}

static uint64_t ask(struct fix *f, uint32_t id, const void *payload, uint32_t size, bool fd)
{
	struct vht_msg m;

	vht_send(f->fd, id, 9, payload, size, &f->fd, fd);
	assert_int_equal(poll(&(struct pollfd){.fd = vh_master_fd(f->m), .events = POLLIN}, 1, VHT_WAIT_MS), 1);
	assert_true(vh_master_dispatch(f->m) >= 0);
	assert_int_equal(vht_recv(f->fd, &m), 1);
	assert_int_equal(m.request, id);
	assert_int_equal(m.flags, 5);
	vht_close_fds(&m);
	return vht_u64(&m, 0);
}

static void requests_of_virtio_fs_come_in_as_their_dialect_has_them(void **state)
{
	static const struct {
		uint32_t dialect, first;
	} dialects[] = {{VH_DIALECT_VIRTIO_FS, 6}, {VH_DIALECT_CROSVM, 1002}};
	/* 8 offsets in the file, 8 in the cache, 8 lengths, 8 flags. */
	uint64_t fs[4][8] = {{1, 7, 4}, {2, 7, 5}, {3, 0, 6}, {1, 3, 2}};

	(void)state;
	for (unsigned d = 0; d < 2; d++) {
		struct fix *f = master_of(dialects[d].dialect, BIT(10) | BIT(18) | BIT(22));

		/* What has no place there is not acked, whatever the bit. */
		assert_int_equal(f->b.pf_acked & (BIT(10) | BIT(18) | BIT(22)),
				 d ? BIT(10) | BIT(18) | BIT(22) : BIT(10));
		for (uint32_t op = VH_FS_MAP; op <= VH_FS_IO; op++) {
			bool fd = op == VH_FS_MAP || op == VH_FS_IO;
			uint32_t id = dialects[d].first + op - VH_FS_MAP;

			f->seen.rc = op == VH_FS_SYNC ? -EIO : 0;
			assert_int_equal(ask(f, id, fs, 256, fd), op == VH_FS_SYNC);
			assert_int_equal(f->seen.op, op);
			assert_int_equal(f->seen.fd, fd);
			/* What has no length is not there. */
			assert_int_equal(f->seen.n, 2);
			assert_int_equal(f->seen.ranges[1].fd_offset, 4);
			assert_int_equal(f->seen.ranges[1].cache_offset, 5);
			assert_int_equal(f->seen.ranges[1].len, 6);
			assert_int_equal(f->seen.ranges[1].flags, VH_FS_WRITE);
			/* The fds and the size are the table's. */
			assert_int_equal(ask(f, id, fs, 256, !fd), 1);
			assert_int_equal(ask(f, id, fs, 248, fd), 1);
		}
		assert_int_equal(f->seen.calls, 4);
		fs[3][7] = 4;
		assert_int_equal(ask(f, dialects[d].first + 1, fs, 256, false), 1);
		fs[3][7] = 0;
		for (unsigned k = 0; k < 2; k++) {
			fs[k][7] = UINT64_MAX;
			fs[2][7] = 2;
			assert_int_equal(ask(f, dialects[d].first + 1, fs, 256, false), 1);
			fs[k][7] = fs[2][7] = 0;
		}
		assert_int_equal(f->seen.calls, 4);
		assert_int_equal(f->seen.objects, 0);
		master_end(f);
	}
}

static void in_the_specification_the_numbers_mean_what_it_says(void **state)
{
	const uint64_t fs[32] = {0}, uuid[2] = {1};
	struct fix *f = master_of(VH_DIALECT_SPEC, BIT(10) | BIT(18));

	(void)state;
	for (uint32_t id = 1002; id <= 1005; id++)
		assert_int_equal(ask(f, id, fs, 256, id == 1002 || id == 1005), 1);
	assert_int_equal(ask(f, 6, uuid, 16, false), 0);
	assert_int_equal(f->seen.calls + f->seen.raw, 0);
	assert_int_equal(f->seen.objects, 1);
	master_end(f);
}

static void rust_vmm_offers_shared_memory_with_its_own_bit(void **state)
{
	const uint64_t map[5] = {0, 0, 0, PAGE, 0};
	struct fix *f = master_of(VH_DIALECT_RUST_VMM, BIT(10) | BIT(21));
	uint64_t pf;

	(void)state;
	assert_int_equal(f->b.pf_acked & (BIT(21) | BIT(22)), BIT(21));
	assert_int_equal(vh_master_get_protocol_features(f->m, &pf), 0);
	assert_int_equal(pf & (BIT(21) | BIT(22)), BIT(VH_PF_SHMEM));
	assert_int_equal(ask(f, 9, map, 40, true), 0);
	assert_int_equal(f->seen.objects, 1);
	master_end(f);
	/* A front-end of the specification takes that bit for another feature, and leaves it. */
	f = master_of(VH_DIALECT_SPEC, BIT(10) | BIT(21));
	assert_int_equal(f->b.pf_acked & (BIT(21) | BIT(22)), 0);
	master_end(f);
}

static void an_unknown_dialect_is_refused(void **state)
{
	struct vh_master_opts opts = {.size = sizeof(opts), .dialect = 4};
	struct vh_master *m;

	(void)state;
	assert_int_equal(vh_master_new(&opts, NULL, NULL, &m), -EINVAL);
	opts.dialect = 0;
	opts.reserved = 1;
	assert_int_equal(vh_master_new(&opts, NULL, NULL, &m), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(shared_memory_has_the_bit_of_rust_vmm, slave_end),
		cmocka_unit_test_teardown(requests_of_virtio_fs_go_out_as_their_dialect_has_them, slave_end),
		cmocka_unit_test_teardown(what_the_dialect_does_not_have_is_not_sent, slave_end),
		cmocka_unit_test(requests_of_virtio_fs_come_in_as_their_dialect_has_them),
		cmocka_unit_test(in_the_specification_the_numbers_mean_what_it_says),
		cmocka_unit_test(rust_vmm_offers_shared_memory_with_its_own_bit),
		cmocka_unit_test(an_unknown_dialect_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
