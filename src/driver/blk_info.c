/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What the disk is, and which requests it can take. */
#include "vhi_blk_driver.h"

#include <endian.h>

#define F(bit) VHI_BIT(VH_BLK_F_##bit)

static uint32_t get16(const uint8_t *config, uint32_t at)
{
	return config[at] | (uint32_t)config[at + 1] << 8;
}

static uint32_t get32(const uint8_t *config, uint32_t at)
{
	uint32_t v;

	memcpy(&v, config + at, sizeof(v));
	return le32toh(v);
}

static uint64_t get64(const uint8_t *config, uint32_t at)
{
	uint64_t v;

	memcpy(&v, config + at, sizeof(v));
	return le64toh(v);
}

/* Config space ends where the last field ends whose feature both sides have: some devices refuse to be read past it. */
static uint32_t config_len(uint64_t features)
{
	static const struct {
		uint64_t feature;
		uint32_t end;
	} fields[] = {
		{F(WRITE_ZEROES), VHI_BLK_C_END},      {F(DISCARD), VHI_BLK_C_MAX_ZEROES},
		{F(MQ), VHI_BLK_C_MAX_DISCARD},	       {F(CONFIG_WCE), VHI_BLK_C_NUM_QUEUES},
		{F(BLK_SIZE), VHI_BLK_C_PHYS_EXP},     {F(SEG_MAX), VHI_BLK_C_SEG_MAX + 4},
		{F(SIZE_MAX), VHI_BLK_C_SIZE_MAX + 4},
	};

	for (size_t i = 0; i < VHI_ARRAY_SIZE(fields); i++)
		if (features & fields[i].feature)
			return fields[i].end;
	return VHI_BLK_C_SIZE_MAX;
}

static int read_size(struct vh_blk *b, const uint8_t *config)
{
	const uint64_t f = b->d->features, sectors = get64(config, VHI_BLK_C_CAPACITY);
	const uint32_t block = f & F(BLK_SIZE) ? get32(config, VHI_BLK_C_BLK_SIZE) : VH_BLK_SECTOR;

	if (VHI_REFUSE(VHI_SITE_BLK_CAPACITY, vhi_mul_wraps(sectors, VH_BLK_SECTOR, &b->info.capacity)))
		return vhi_fail(-EPROTO, VH_ERROR_DEVICE, VHI_SITE_BLK_CAPACITY,
				"vh_blk_new: the device says that it has %llu sectors, which no disk has",
				(unsigned long long)sectors);
	if (VHI_REFUSE(VHI_SITE_BLK_BLOCK_SIZE, block < VH_BLK_SECTOR || !vhi_is_pow2(block)))
		return vhi_fail(-EPROTO, VH_ERROR_DEVICE, VHI_SITE_BLK_BLOCK_SIZE,
				"vh_blk_new: the device says that its blocks have %u bytes; it must be a power of two "
				"from 512 up",
				block);
	b->info.block_size = block;
	return 0;
}

/* How data is cut into segments. */
static int read_segments(struct vh_blk *b, const uint8_t *config)
{
	const struct vhi_ring *ring = &b->d->queues[0].ring;
	const uint64_t f = b->d->features;
	uint32_t n = 1, room = ring->num;

	b->info.seg_max = f & F(SEG_MAX) ? get32(config, VHI_BLK_C_SEG_MAX) : 0;
	b->seg_len = VHI_BLK_MAX_LEN;
	/* qemu-storage-daemon offers SIZE_MAX and leaves the field 0: it has no limit. */
	if (f & F(SIZE_MAX) && get32(config, VHI_BLK_C_SIZE_MAX)) {
		b->seg_len = VHI_MIN(get32(config, VHI_BLK_C_SIZE_MAX) & ~(VH_BLK_SECTOR - 1u), VHI_BLK_MAX_LEN);
		n = b->info.seg_max ? VHI_MIN(b->info.seg_max, VHI_BLK_MAX_DATA) : VHI_BLK_MAX_DATA;
	}
	if (VHI_REFUSE(VHI_SITE_BLK_SIZE_MAX, !b->seg_len))
		return vhi_fail(-EPROTO, VH_ERROR_DEVICE, VHI_SITE_BLK_SIZE_MAX,
				"vh_blk_new: the device takes segments of %u bytes at most, which is not a sector",
				get32(config, VHI_BLK_C_SIZE_MAX));
	/* Header and status take a descriptor each. */
	if (f & VHI_BIT(VH_F_RING_INDIRECT_DESC))
		room = VHI_MAX(room, ring->max_indirect);
	if (room < 3)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_blk_new: a ring of %u can't hold a request, and the device has no indirect "
				"descriptors; set queue_size to 4 or more",
				ring->num);
	b->max_len = VHI_MIN(b->seg_len * VHI_MIN(n, room - 2), VHI_BLK_MAX_LEN);
	b->info.max_bytes = (uint32_t)VHI_MAX(b->max_len - b->max_len % b->info.block_size, VH_BLK_SECTOR);
	return 0;
}

int vhi_blk_read_info(struct vh_blk *b)
{
	struct vh_backend *be = b->d->b;
	const uint64_t f = b->d->features;
	uint8_t c[VHI_BLK_C_END] = {0};
	int rc = vhi_driver_link(b->d);

	if (rc > 0)
		rc = vhi_fail(-ECONNRESET, VH_ERROR_STATE, 0,
			      "vh_blk_new: there is no connection at the moment; wait for VH_EVENT_SESSION_RUNNING");
	if (!rc)
		rc = be->ops->config_get(be->ctx, 0, c, config_len(f));
	if (!rc)
		rc = read_size(b, c);
	if (!rc)
		rc = read_segments(b, c);
	if (rc)
		return rc;
	b->info.features = f;
	b->info.read_only = !!(f & F(RO));
	b->info.n_queues = b->d->n_queues;
	b->info.max_queues = b->d->max_queues;
	if (f & F(MQ))
		b->info.max_queues = VHI_MIN(b->info.max_queues, VHI_MAX(get16(c, VHI_BLK_C_NUM_QUEUES), 1u));
	b->info.max_discard = f & F(DISCARD) ? get32(c, VHI_BLK_C_MAX_DISCARD) : 0;
	b->info.max_write_zeroes = f & F(WRITE_ZEROES) ? get32(c, VHI_BLK_C_MAX_ZEROES) : 0;
	/* Without a switch for the cache, a device that can flush has one. */
	b->info.write_cache = f & F(CONFIG_WCE) ? !!c[VHI_BLK_C_WRITEBACK] : !!(f & F(FLUSH));
	return 0;
}

/* What a request has. */
enum { EXISTS = 1, SPAN = 2, BUFFER = 4, ID = 8, RANGE = 16, WRITES = 32 };

static const struct {
	uint64_t feature; /* that must be there */
	uint8_t has;
	uint8_t flags; /* that it may carry */
} rules[] = {
	[VH_BLK_READ] = {0, EXISTS | SPAN | BUFFER, 0},
	[VH_BLK_WRITE] = {0, EXISTS | SPAN | BUFFER | WRITES, 0},
	[VH_BLK_FLUSH] = {F(FLUSH), EXISTS, 0},
	[VH_BLK_GET_ID] = {0, EXISTS | BUFFER | ID, 0},
	[VH_BLK_DISCARD] = {F(DISCARD), EXISTS | SPAN | RANGE | WRITES, 0},
	[VH_BLK_WRITE_ZEROES] = {F(WRITE_ZEROES), EXISTS | SPAN | RANGE | WRITES, VH_BLK_UNMAP},
};

static int wrong(const char *why)
{
	return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_blk_submit: %s", why);
}

static int check_span(const struct vh_blk *b, const struct vh_blk_io *io, bool range)
{
	const uint32_t limit = io->op == VH_BLK_DISCARD ? b->info.max_discard : b->info.max_write_zeroes;

	if ((io->offset | io->len) % VH_BLK_SECTOR || !io->len)
		return wrong("offset and len must be multiples of 512, and len above 0");
	if (io->offset > b->info.capacity || io->len > b->info.capacity - io->offset)
		return vhi_fail(-ERANGE, VH_ERROR_ARGUMENT, 0,
				"vh_blk_submit: %llu bytes at %llu go past the end of the device at %llu",
				(unsigned long long)io->len, (unsigned long long)io->offset,
				(unsigned long long)b->info.capacity);
	if (range && !limit)
		return vhi_fail(-EOPNOTSUPP, VH_ERROR_DEVICE, 0, "vh_blk_submit: the device takes no request %u",
				io->op);
	if (range && io->len / VH_BLK_SECTOR > limit)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_blk_submit: the device takes %u sectors in a request %u; split it", limit, io->op);
	return 0;
}

static int check_buffer(const struct vh_blk *b, const struct vh_blk_io *io, bool id)
{
	if (!io->addr)
		return wrong("addr is 0; buffers come from vh_driver_alloc()");
	if (id && io->len != VH_BLK_ID_SIZE)
		return wrong("len of get-id must be 20");
	if (io->len > b->max_len)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_blk_submit: %llu bytes, and a request can have %llu; split it",
				(unsigned long long)io->len, (unsigned long long)b->max_len);
	return 0;
}

int vhi_blk_check(const struct vh_blk *b, const struct vh_blk_io *io)
{
	const uint8_t has = io->op < VHI_ARRAY_SIZE(rules) ? rules[io->op].has : 0;
	int rc;

	if (!has || (b->d->features & rules[io->op].feature) != rules[io->op].feature)
		return vhi_fail(-EOPNOTSUPP, VH_ERROR_DEVICE, 0,
				"vh_blk_submit: the device does not have request %u; see features in vh_blk_get_info()",
				io->op);
	if (io->reserved || io->flags & ~(uint32_t)rules[io->op].flags)
		return wrong("reserved must be 0, and flags 0 or VH_BLK_UNMAP for write-zeroes");
	if (has & WRITES && b->info.read_only)
		return vhi_fail(-EROFS, VH_ERROR_DEVICE, 0, "vh_blk_submit: the device is read-only");
	if (!(has & SPAN) && io->offset)
		return wrong("offset of flush and get-id must be 0");
	if (!(has & BUFFER) && io->addr)
		return wrong("addr of flush, discard and write-zeroes must be 0");
	if (!(has & (SPAN | BUFFER)) && io->len)
		return wrong("len of flush must be 0");
	rc = has & SPAN ? check_span(b, io, has & RANGE) : 0;
	return !rc && has & BUFFER ? check_buffer(b, io, has & ID) : rc;
}
