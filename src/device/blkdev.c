/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Built-in block devices: options, features, config space and the callbacks that a slave sees. */
#include "vhi_blk.h"

static void put_le(uint8_t *p, uint32_t width, uint64_t v)
{
	for (uint32_t i = 0; i < width; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* All of it follows from what the device was made of, so none is kept. */
static void config_fill(const struct vhi_blk *b, uint8_t config[VHI_BLK_CONFIG_SIZE])
{
	const struct vh_blkdev_opts *o = &b->opts;
	bool ro = o->flags & VH_BLKDEV_READONLY;
	/* A driver without indirect descriptors needs two of the ring for header and status. */
	uint32_t room = o->max_queue_size > 3 ? o->max_queue_size - 2 : 1;
	const struct {
		uint8_t at, width;
		uint64_t v;
	} fields[] = {
		{VHI_BLK_C_CAPACITY, 8, b->sectors},
		{VHI_BLK_C_SEG_MAX, 4, VHI_MIN(room, VHI_BLK_SEG_MAX)},
		{VHI_BLK_C_BLK_SIZE, 4, o->block_size},
		{VHI_BLK_C_WRITEBACK, 1, 1},
		{VHI_BLK_C_NUM_QUEUES, 2, o->max_queues},
		{VHI_BLK_C_MAX_DISCARD, 4, ro ? 0 : VHI_BLK_MAX_DISCARD},
		{VHI_BLK_C_MAX_DISCARD_SEG, 4, ro ? 0 : VHI_BLK_MAX_RANGES},
		{VHI_BLK_C_DISCARD_ALIGN, 4, ro ? 0 : o->block_size / VH_BLK_SECTOR},
		{VHI_BLK_C_MAX_ZEROES, 4, ro ? 0 : VHI_BLK_MAX_WRITE_ZEROES},
		{VHI_BLK_C_MAX_ZEROES_SEG, 4, ro ? 0 : VHI_BLK_MAX_RANGES},
		{VHI_BLK_C_ZEROES_MAY_UNMAP, 1, ro ? 0 : 1},
	};

	memset(config, 0, VHI_BLK_CONFIG_SIZE);
	for (size_t i = 0; i < VHI_ARRAY_SIZE(fields); i++)
		put_le(&config[fields[i].at], fields[i].width, fields[i].v);
}

static uint64_t blk_features(const struct vh_blkdev_opts *o)
{
	uint64_t f = VHI_RING_OFFERED | VHI_BIT(VH_BLK_F_SEG_MAX) | VHI_BIT(VH_BLK_F_BLK_SIZE) |
		     VHI_BIT(VH_BLK_F_FLUSH);

	if (o->max_queues > 1)
		f |= VHI_BIT(VH_BLK_F_MQ);
	if (o->flags & VH_BLKDEV_READONLY)
		return f | VHI_BIT(VH_BLK_F_RO);
	return f | VHI_BIT(VH_BLK_F_DISCARD) | VHI_BIT(VH_BLK_F_WRITE_ZEROES);
}

static void blk_destroy(void *ctx)
{
	struct vhi_blk *b = ctx;

	vhi_blk_drop_state(b);
	b->kind->close(b);
	vhi_free(b);
}

static int config_range(uint32_t offset, uint32_t len)
{
	if (VHI_REFUSE(VHI_SITE_BLK_CONFIG_RANGE, offset > VHI_BLK_CONFIG_SIZE || len > VHI_BLK_CONFIG_SIZE - offset))
		return vhi_fail(-EINVAL, VH_ERROR_PEER, VHI_SITE_BLK_CONFIG_RANGE,
				"block device: config space access at %u of %u bytes ends beyond %u", offset, len,
				VHI_BLK_CONFIG_SIZE);
	return 0;
}

static int32_t blk_get_config(void *ctx, uint32_t offset, void *buf, uint32_t len, uint64_t later)
{
	uint8_t config[VHI_BLK_CONFIG_SIZE];
	int rc = config_range(offset, len);

	(void)later;
	if (rc)
		return rc;
	config_fill(ctx, config);
	memcpy(buf, &config[offset], len);
	return 0;
}

/* Nothing can be written, as CONFIG_WCE is not offered; what is there already may be written back (migration). */
static int32_t blk_set_config(void *ctx, uint32_t offset, const void *buf, uint32_t len, uint32_t flags, uint64_t later)
{
	uint8_t config[VHI_BLK_CONFIG_SIZE];
	int rc = config_range(offset, len);

	(void)flags;
	(void)later;
	if (rc)
		return rc;
	config_fill(ctx, config);
	if (VHI_REFUSE(VHI_SITE_BLK_CONFIG_WRITE, memcmp(buf, &config[offset], len) != 0))
		return vhi_fail(-EPERM, VH_ERROR_PEER, VHI_SITE_BLK_CONFIG_WRITE,
				"block device: config space write at %u of %u bytes; all fields are read-only", offset,
				len);
	return 0;
}

static int32_t blk_set_features(void *ctx, uint64_t features, uint64_t later)
{
	struct vhi_blk *b = ctx;

	(void)later;
	/* A driver that can't flush relies on each write being on the disk (virtio 1.2 section 5.2.6.2). */
	b->write_through = !(features & VHI_BIT(VH_BLK_F_FLUSH));
	return 0;
}

static int32_t blk_reset(void *ctx, uint64_t later)
{
	return blk_set_features(ctx, 0, later);
}

/* From here on a request of before is nobody's. Also when a stop was not told: a start is the end of the life before. */
static void queue_turn(struct vhi_blk *b, uint32_t index, struct vh_queue *q)
{
	struct vh_queue *last;

	if (index >= b->opts.max_queues)
		return;
	last = b->queues[index].q;
	b->queues[index].q = q;
	b->queues[index].life++;
	if (b->kind->queue_stopped)
		b->kind->queue_stopped(b, index);
	/* What the kernel has goes by the segments that it was given; nobody looks at the others any more. */
	if (last)
		vhi_queue_ctl(last, VHI_CTL_FORGET, NULL);
}

static void blk_queue_started(void *ctx, struct vh_queue *q, uint32_t index)
{
	queue_turn(ctx, index, q);
}

static void blk_queue_stopped(void *ctx, struct vh_queue *q, uint32_t index)
{
	(void)q;
	queue_turn(ctx, index, NULL);
}

static int32_t blk_on_batch(void *ctx, struct vh_queue *q, uint32_t index, uint32_t budget)
{
	struct vhi_blk *b = ctx;

	if (index >= b->opts.max_queues || b->queues[index].q != q)
		return -EINVAL;
	return vhi_blk_batch(b, q, budget);
}

static int32_t blk_poll_fd(void *ctx)
{
	struct vhi_blk *b = ctx;

	return b->kind->poll_fd ? b->kind->poll_fd(b) : -1;
}

static int32_t blk_on_poll(void *ctx)
{
	struct vhi_blk *b = ctx;
	struct vhi_blk_out out = {0};

	if (b->kind->pump)
		b->kind->pump(b, &out);
	vhi_blk_flush(&out);
	return 0; /* a queue that could not take its completions is broken, and says so itself */
}

static const struct vh_device_ops blk_ops = {
	.size = sizeof(struct vh_device_ops),
	.destroy = blk_destroy,
	.get_config = blk_get_config,
	.set_config = blk_set_config,
	.set_features = blk_set_features,
	.reset = blk_reset,
	.queue_started = blk_queue_started,
	.queue_stopped = blk_queue_stopped,
	.on_batch = blk_on_batch,
	.poll_fd = blk_poll_fd,
	.on_poll = blk_on_poll,
	.save_state = vhi_blk_save_state,
	.load_state = vhi_blk_load_state,
};

static const struct vhi_blk_kind *const kinds[] = {
	[VH_BLKDEV_NULL] = &vhi_blk_null,
	[VH_BLKDEV_RAM] = &vhi_blk_ram,
	[VH_BLKDEV_FILE] = &vhi_blk_file,
};

static int bad_opts(const char *what, uint64_t v, const char *hint)
{
	return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_blkdev_new: %s is %llu; %s", what, (unsigned long long)v,
			hint);
}

static int check_opts(struct vh_blkdev_opts *o, int fd)
{
	bool file = o->kind == VH_BLKDEV_FILE;

	o->max_queues = o->max_queues ? o->max_queues : 1;
	o->max_queue_size = o->max_queue_size ? o->max_queue_size : 1024;
	o->block_size = o->block_size ? o->block_size : VH_BLK_SECTOR;
	if (o->kind >= VHI_ARRAY_SIZE(kinds) || !kinds[o->kind])
		return bad_opts("kind", o->kind, "it can be VH_BLKDEV_NULL, _RAM or _FILE");
	if (o->flags & ~(VH_BLKDEV_READONLY | VH_BLKDEV_NO_URING))
		return bad_opts("flags", o->flags, "it can be VH_BLKDEV_READONLY and VH_BLKDEV_NO_URING");
	if (o->reserved)
		return bad_opts("reserved", o->reserved, "it must be 0");
	if (o->capacity % VH_BLK_SECTOR || o->capacity > INT64_MAX)
		return bad_opts("capacity", o->capacity, "it must be a multiple of 512 below 2^63");
	if (!o->capacity && !file)
		return bad_opts("capacity", o->capacity, "give a size in bytes; only a file has one of its own");
	if (o->max_queues > VHI_DEVICE_MAX_QUEUES)
		return bad_opts("max_queues", o->max_queues, "it can be 1 to 256");
	if (o->max_queue_size > VH_QUEUE_MAX_SIZE)
		return bad_opts("max_queue_size", o->max_queue_size, "it can be 1 to 32768");
	if (!vhi_is_pow2(o->block_size) || o->block_size < VH_BLK_SECTOR || o->block_size > 65536)
		return bad_opts("block_size", o->block_size, "it must be a power of two from 512 to 65536");
	if (file && fd < 0)
		return vhi_fail(-EBADF, VH_ERROR_ARGUMENT, 0,
				"vh_blkdev_new: fd is %d; open the file and pass its descriptor", fd);
	if (!file && fd != -1)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_blkdev_new: fd is %d; only VH_BLKDEV_FILE takes one, else pass -1", fd);
	return 0;
}

static int blk_make(const struct vh_blkdev_opts *opts, int fd, struct vhi_blk **out)
{
	struct vhi_blk *b = vhi_calloc(1, sizeof(*b) + opts->max_queues * sizeof(b->queues[0]));
	int rc;

	if (!b)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_blkdev_new: no memory");
	b->opts = *opts;
	b->kind = kinds[opts->kind];
	b->write_through = true; /* until the driver takes FLUSH */
	rc = b->kind->open(b, fd);
	if (rc) {
		blk_destroy(b);
		return rc;
	}
	b->sectors = b->opts.capacity / VH_BLK_SECTOR;
	*out = b;
	return 0;
}

vh_rc vh_blkdev_new(const struct vh_blkdev_opts *opts, int32_t fd, struct vh_device **out)
{
	struct vh_blkdev_opts o;
	struct vh_device_opts dev_opts = {.size = sizeof(dev_opts), .type = VH_TYPE_BLK};
	struct vhi_blk *b = NULL;
	int rc;

	if (!opts)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_blkdev_new: opts is NULL; say the kind and the size");
	if (!out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_blkdev_new: out is NULL");
	rc = vhi_opts_in(&o, sizeof(o), opts, "struct vh_blkdev_opts");
	if (!rc)
		rc = check_opts(&o, fd);
	if (!rc)
		rc = blk_make(&o, fd, &b);
	if (rc)
		return rc;
	dev_opts.features = blk_features(&o);
	dev_opts.max_queues = o.max_queues;
	dev_opts.max_queue_size = o.max_queue_size;
	rc = vh_device_new(&dev_opts, &blk_ops, b, out); /* destroys b when it fails */
	if (!rc)
		b->dev = *out;
	return rc;
}
