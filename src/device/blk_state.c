/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What a block device remembers, for its successor: a head that says of what kind and size it is, and behind it the
 * contents of one that keeps them in memory. A file is reached by both.
 */
#include "vhi_blk.h"

#include <endian.h>
#include <sys/mman.h>

#define MAGIC	UINT64_C(0x006b6c6268762d31)
#define VERSION 1u

/* Little-endian, so that it can travel. */
struct head {
	uint64_t magic;
	uint32_t version;
	uint32_t kind;
	uint64_t capacity;
	uint32_t block_size;
	uint32_t reserved;
};

static struct head head_of(const struct vhi_blk *b)
{
	return (struct head){.magic = htole64(MAGIC),
			     .version = htole32(VERSION),
			     .kind = htole32(b->opts.kind),
			     .capacity = htole64(b->opts.capacity),
			     .block_size = htole32(b->opts.block_size)};
}

static uint64_t state_bytes(const struct vhi_blk *b)
{
	return sizeof(struct head) + (b->ram ? b->opts.capacity : 0);
}

int32_t vhi_blk_save_state(void *ctx, uint64_t offset, void *buf, uint32_t cap, uint64_t later)
{
	struct vhi_blk *b = ctx;
	const struct head h = head_of(b);
	const bool head = offset < sizeof(h);
	uint64_t n = head ? sizeof(h) - offset : state_bytes(b) - offset;

	(void)later;
	n = VHI_MIN(n, (uint64_t)cap);
	if (n)
		memcpy(buf, head ? (const uint8_t *)&h + offset : b->ram + (offset - sizeof(h)), (size_t)n);
	return (int32_t)n;
}

/* What arrived is kept beside what is there until all of it has come. */
static int begin(struct vhi_blk *b)
{
	vhi_blk_drop_state(b);
	if (!b->ram)
		return 0;
	b->arriving = vhi_sys.mmap(NULL, (size_t)b->opts.capacity, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (b->arriving == MAP_FAILED) {
		b->arriving = NULL;
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "block device: no memory for the state that comes");
	}
	return 0;
}

void vhi_blk_drop_state(struct vhi_blk *b)
{
	if (b->arriving)
		vhi_sys.munmap(b->arriving, (size_t)b->opts.capacity);
	b->arriving = NULL;
}

static int take_over(struct vhi_blk *b)
{
	if (b->ram) {
		vhi_sys.munmap(b->ram, (size_t)b->opts.capacity);
		b->ram = b->arriving;
		b->arriving = NULL;
	}
	return 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

int32_t vhi_blk_load_state(void *ctx, uint64_t offset, const void *buf, uint32_t len, uint64_t later)
{
	struct vhi_blk *b = ctx;
	const struct head h = head_of(b);
	const uint8_t *p = buf;
	uint32_t in_head = offset < sizeof(h) ? (uint32_t)VHI_MIN(sizeof(h) - offset, (uint64_t)len) : 0;
	int rc = offset ? 0 : begin(b);

	(void)later;
	if (rc)
		return rc;
	if (VHI_REFUSE(VHI_SITE_BLK_STATE_LENGTH, len ? len > state_bytes(b) - offset : offset != state_bytes(b)))
		return vhi_fail(-EINVAL, VH_ERROR_PEER, VHI_SITE_BLK_STATE_LENGTH,
				"block device: its state ends at byte %llu, not at %llu",
				(unsigned long long)(offset + len), (unsigned long long)state_bytes(b));
	if (VHI_REFUSE(VHI_SITE_BLK_STATE_HEAD, in_head && memcmp((const uint8_t *)&h + offset, p, in_head)))
		return vhi_fail(-EINVAL, VH_ERROR_PEER, VHI_SITE_BLK_STATE_HEAD,
				"block device: a state of another kind of device, or of another size");
	if (!len)
		return take_over(b);
	p += in_head;
	len -= in_head;
	/* Memory is used as it is written: zeroes are there. */
	if (len && !all_zero(p, len))
		memcpy(b->arriving + (offset + in_head - sizeof(h)), p, len);
	return 0;
}
