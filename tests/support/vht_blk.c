/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vht_blk.h"
#include "vht_mem.h"

#include <dlfcn.h>
#include <endian.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/vfs.h>

#define BASE UINT64_C(0x100000)

#define OK(call) assert_int_equal((call), 0)

bool vht_blk_on_disk = true;

/* In place of libc's. */
int fstatfs(int fd, struct statfs *st)
{
	int (*real)(int, struct statfs *);
	int rc;

	*(void **)&real = dlsym(RTLD_NEXT, "fstatfs");
	memset(st, 0, sizeof(*st));
	rc = real(fd, st);
	if (!rc && vht_blk_on_disk && st->f_type == TMPFS_MAGIC)
		st->f_type = EXT4_SUPER_MAGIC;
	return rc;
}

static void failed(void *ctx, uint32_t queue, int32_t rc)
{
	struct vht_blk *f = ctx;

	(void)queue;
	f->failed++;
	f->failed_rc = rc;
}

static const struct vhi_carrier carrier = {.failed = failed};

static uint64_t gpa_of(const struct vht_blk *f, const void *p)
{
	return BASE + (uint64_t)((const uint8_t *)p - f->host);
}

void vht_blk_open(struct vht_blk *f, const struct vh_blkdev_opts *opts, int fd, uint32_t num, uint64_t features)
{
	struct vh_device *dev;

	OK(vh_blkdev_new(opts, fd, &dev));
	vht_dev_open(f, dev, num, features);
}

void vht_dev_open(struct vht_blk *f, struct vh_device *dev, uint32_t num, uint64_t features)
{
	struct vh_seg seg;

	memset(f, 0, sizeof(*f));
	f->num = num;
	f->dev = dev;
	OK(vhi_device_attach(f->dev, &carrier, f));
	OK(vh_mem_new(NULL, &f->mem));
	OK(vh_mem_alloc(f->mem, BASE, VHT_BLK_MEM, 0));
	assert_int_equal(vht_translate(f->mem, BASE, VHT_BLK_MEM, &seg, 1), 1);
	f->host = (uint8_t *)(uintptr_t)seg.addr;
	OK(f->dev->ops.set_features(f->dev->ctx, features, 0));
	for (uint32_t i = 0; i < f->dev->opts.max_queues && i < VHT_BLK_QUEUES; i++)
		vht_blk_start(f, i);
}

void vht_blk_close(struct vht_blk *f)
{
	for (uint32_t i = 0; i < VHT_BLK_QUEUES; i++) {
		if (f->driver[i])
			vht_blk_abort(f, i);
		if (f->device[i])
			vhi_queue_destroy(f->device[i]);
	}
	vh_mem_free(f->mem);
	vhi_device_detach(f->dev);
	vh_device_free(f->dev);
}

void *vht_blk_alloc(struct vht_blk *f, uint64_t len)
{
	void *p = f->host + f->used;

	f->used += (len + 63) & ~UINT64_C(63);
	assert_true(f->used <= VHT_BLK_MEM);
	return p;
}

void vht_blk_start(struct vht_blk *f, uint32_t index)
{
	struct vh_queue_opts d = {.size = sizeof(d), .role = VH_QUEUE_DRIVER, .num = f->num, .index = index};
	struct vh_snapshot *snap = vhi_mem_snapshot(f->mem);
	struct vhi_ring ring = {.num = f->num};

	ring.features = d.features = VHI_BIT(VH_F_VERSION_1) | VHI_BIT(VH_F_RING_INDIRECT_DESC);
	d.desc = ring.desc.v = gpa_of(f, vht_blk_alloc(f, f->num * UINT64_C(16)));
	d.driver = ring.driver.v = gpa_of(f, vht_blk_alloc(f, f->num * UINT64_C(2) + 6));
	d.device = ring.device.v = gpa_of(f, vht_blk_alloc(f, f->num * UINT64_C(8) + 6));
	/* Indirect tables are none of the driver's here: it uses plain chains. */
	d.features = VHI_BIT(VH_F_VERSION_1);
	d.max_segs = ring.max_segs = 1024;
	OK(vh_queue_open(f->mem, &d, -1, -1, &f->driver[index]));
	if (!f->device[index])
		OK(vhi_queue_new(index, VH_QUEUE_DEVICE, NULL, &f->device[index]));
	OK(vhi_queue_start(f->device[index], &ring, snap));
	vhi_snapshot_put(snap);
	OK(vhi_queue_ctl(f->device[index], VHI_CTL_ENABLE, NULL));
	f->dev->ops.queue_started(f->dev->ctx, f->device[index], index);
}

static void queue_end(struct vht_blk *f, uint32_t index)
{
	f->dev->ops.queue_stopped(f->dev->ctx, f->device[index], index);
	vh_queue_free(f->driver[index]);
	f->driver[index] = NULL;
}

void vht_blk_abort(struct vht_blk *f, uint32_t index)
{
	OK(vhi_queue_ctl(f->device[index], VHI_CTL_ABORT, NULL));
	queue_end(f, index);
}

void vht_blk_stop(struct vht_blk *f, uint32_t index)
{
	uint32_t base;

	OK(vhi_queue_ctl(f->device[index], VHI_CTL_DRAIN, NULL));
	OK(vhi_queue_finish_stop(f->device[index], &base));
	queue_end(f, index);
}

void vht_blk_begin(struct vht_blk *f, struct vht_blk_req *r, uint32_t type, uint64_t sector)
{
	r->n_rd = r->n_wr = 0;
	r->hdr = vht_blk_alloc(f, sizeof(*r->hdr));
	r->hdr->type = htole32(type);
	r->hdr->reserved = 0;
	r->hdr->sector = htole64(sector);
	r->status = vht_blk_alloc(f, 1);
	*r->status = 0xee;
	vht_blk_rd(r, r->hdr, sizeof(*r->hdr));
}

void vht_blk_rd(struct vht_blk_req *r, const void *p, uint64_t len)
{
	assert_int_equal(r->n_wr, 0);
	r->segs[r->n_rd++] = (struct vh_seg){(uintptr_t)p, len};
	assert_true(r->n_rd < VHI_ARRAY_SIZE(r->segs));
}

void vht_blk_wr(struct vht_blk_req *r, const void *p, uint64_t len)
{
	r->segs[r->n_rd + r->n_wr++] = (struct vh_seg){(uintptr_t)p, len};
	assert_true(r->n_rd + r->n_wr < VHI_ARRAY_SIZE(r->segs));
}

void vht_blk_submit(struct vht_blk *f, uint32_t index, const struct vht_blk_req *r, uint64_t user)
{
	struct vh_req req = {.segs = (uintptr_t)r->segs, .user = user, .n_rd = r->n_rd, .n_wr = r->n_wr};

	assert_int_equal(vh_queue_submit(f->driver[index], &req, 1), 1);
}

int vht_blk_batch(struct vht_blk *f, uint32_t index, uint32_t budget)
{
	return f->dev->ops.on_batch(f->dev->ctx, f->device[index], index, budget);
}

bool vht_blk_poll(struct vht_blk *f, int ms)
{
	struct pollfd p = {.fd = f->dev->ops.poll_fd(f->dev->ctx), .events = POLLIN};

	if (poll(&p, 1, ms) <= 0)
		return false;
	f->dev->ops.on_poll(f->dev->ctx);
	return true;
}

struct vh_cpl vht_blk_wait(struct vht_blk *f, uint32_t index)
{
	uint64_t end = vhi_now_ns() + UINT64_C(20000000000);
	struct vh_cpl cpl = {0};
	int n;

	for (;;) {
		n = vh_queue_reap(f->driver[index], &cpl, 1);
		assert_true(n >= 0);
		if (n)
			return cpl;
		assert_true(vhi_now_ns() < end);
		assert_true(vht_blk_batch(f, index, 64) >= 0);
		/* What was not done at once is told by the fd. */
		n = vh_queue_reap(f->driver[index], &cpl, 1);
		assert_true(n >= 0);
		if (n)
			return cpl;
		vht_blk_poll(f, 100);
	}
}

uint8_t vht_blk_do(struct vht_blk *f, uint32_t index, struct vht_blk_req *r, uint32_t *written)
{
	struct vh_cpl cpl;

	vht_blk_submit(f, index, r, (uintptr_t)r);
	cpl = vht_blk_wait(f, index);
	assert_true(cpl.token == (uintptr_t)r);
	if (written)
		*written = cpl.written;
	return *r->status;
}

uint8_t vht_blk_rw(struct vht_blk *f, uint32_t type, uint64_t sector, void *data, uint64_t len)
{
	uint64_t mark = f->used;
	struct vht_blk_req r;
	uint8_t status;

	vht_blk_begin(f, &r, type, sector);
	if (type == VH_BLK_WRITE && len)
		vht_blk_rd(&r, data, len);
	else if (len)
		vht_blk_wr(&r, data, len);
	vht_blk_wr(&r, r.status, 1);
	status = vht_blk_do(f, 0, &r, NULL);
	f->used = mark;
	return status;
}

uint8_t vht_blk_range(struct vht_blk *f, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	uint64_t mark = f->used;
	struct vht_blk_req r;
	struct vhi_blk_range *range = vht_blk_alloc(f, sizeof(*range));
	uint8_t status;

	range->sector = htole64(sector);
	range->n_sectors = htole32(n);
	range->flags = htole32(flags);
	vht_blk_begin(f, &r, type, 0);
	vht_blk_rd(&r, range, sizeof(*range));
	vht_blk_wr(&r, r.status, 1);
	status = vht_blk_do(f, 0, &r, NULL);
	f->used = mark;
	return status;
}
