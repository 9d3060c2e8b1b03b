/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Block requests: from a chain of descriptors to something that can be run, and back to a used element. */
#include "vhi_blk.h"

#include <endian.h>

#define SECTOR_SHIFT 9

void vhi_blk_flush(struct vhi_blk_out *out)
{
	int rc;

	if (!out->n)
		return;
	rc = vh_queue_push(out->q, out->cpl, out->n);
	/* Stale: the ring was stopped under them, and nobody waits for them any more. */
	if (rc && rc != -ESTALE && !out->rc)
		out->rc = rc;
	out->n = 0;
}

void vhi_blk_finish(struct vhi_blk_out *out, struct vh_queue *q, const struct vhi_blk_io *io,
		    enum vhi_blk_status status)
{
	uint8_t byte = (uint8_t)status;

	if (out->n == VHI_BLK_BATCH || out->q != q)
		vhi_blk_flush(out);
	if (status != VHI_BLK_GONE && io->status)
		vhi_shm_copy_out(io->status, &byte, 1);
	out->q = q;
	out->cpl[out->n++] = (struct vh_cpl){.token = io->token, .written = io->written};
}

static enum vhi_blk_status check_range(const struct vhi_blk *b, struct vhi_blk_io *io, uint64_t sector,
				       uint64_t n_sectors)
{
	/* Subtracted, not added: nothing here can wrap. */
	if (VHI_REFUSE(VHI_SITE_BLK_RANGE, sector > b->sectors || n_sectors > b->sectors - sector))
		return VHI_BLK_IOERR;
	io->offset = sector << SECTOR_SHIFT;
	io->len = n_sectors << SECTOR_SHIFT;
	return VHI_BLK_OK;
}

static enum vhi_blk_status check_data(const struct vhi_blk *b, struct vhi_blk_io *io, uint64_t sector, uint64_t len)
{
	if (VHI_REFUSE(VHI_SITE_BLK_LENGTH, !len || len % VH_BLK_SECTOR))
		return VHI_BLK_IOERR;
	if (VHI_REFUSE(VHI_SITE_BLK_SIZE, len > VHI_BLK_MAX_BYTES))
		return VHI_BLK_IOERR;
	return check_range(b, io, sector, len >> SECTOR_SHIFT);
}

static enum vhi_blk_status take_read(struct vhi_blk *b, const struct vh_req *req, uint64_t sector,
				     struct vhi_blk_io *io)
{
	io->data = (struct vhi_cursor){(const struct vh_seg *)(uintptr_t)req->segs + req->n_rd, req->n_wr, 0};
	return check_data(b, io, sector, req->wr_len - 1);
}

static enum vhi_blk_status take_write(struct vhi_blk *b, const struct vh_req *req, uint64_t sector,
				      struct vhi_blk_io *io)
{
	return check_data(b, io, sector, req->rd_len - sizeof(struct vhi_blk_hdr));
}

static enum vhi_blk_status take_flush(struct vhi_blk *b, const struct vh_req *req, uint64_t sector,
				      struct vhi_blk_io *io)
{
	(void)b;
	(void)req;
	(void)sector;
	(void)io;
	return VHI_BLK_OK;
}

static enum vhi_blk_status take_ranges(struct vhi_blk *b, const struct vh_req *req, struct vhi_blk_io *io,
				       uint32_t flags, uint32_t max_sectors)
{
	struct vhi_blk_range range = {0};
	uint32_t n, asked;

	if (VHI_REFUSE(VHI_SITE_BLK_RANGES,
		       req->rd_len - sizeof(struct vhi_blk_hdr) != VHI_BLK_MAX_RANGES * sizeof(range)))
		return VHI_BLK_IOERR;
	vhi_cursor_get(&io->data, &range, sizeof(range));
	asked = le32toh(range.flags);
	n = le32toh(range.n_sectors);
	if (VHI_REFUSE(VHI_SITE_BLK_RANGE_FLAGS, asked & ~flags))
		return VHI_BLK_UNSUPP;
	if (VHI_REFUSE(VHI_SITE_BLK_RANGE_SIZE, !n || n > max_sectors))
		return VHI_BLK_IOERR;
	if (asked & flags & VHI_BLK_RANGE_UNMAP)
		io->op = VHI_OP_UNMAP;
	return check_range(b, io, le64toh(range.sector), n);
}

static enum vhi_blk_status take_discard(struct vhi_blk *b, const struct vh_req *req, uint64_t sector,
					struct vhi_blk_io *io)
{
	(void)sector;
	return take_ranges(b, req, io, 0, VHI_BLK_MAX_DISCARD);
}

static enum vhi_blk_status take_zero(struct vhi_blk *b, const struct vh_req *req, uint64_t sector,
				     struct vhi_blk_io *io)
{
	(void)sector;
	return take_ranges(b, req, io, VHI_BLK_RANGE_UNMAP, VHI_BLK_MAX_WRITE_ZEROES);
}

static const struct blk_type {
	uint32_t type;
	uint16_t op;
	bool writes;
	enum vhi_blk_status (*take)(struct vhi_blk *b, const struct vh_req *req, uint64_t sector,
				    struct vhi_blk_io *io);
} types[] = {
	{VH_BLK_READ, VHI_OP_READ, false, take_read},	     {VH_BLK_WRITE, VHI_OP_WRITE, true, take_write},
	{VH_BLK_FLUSH, VHI_OP_FLUSH, false, take_flush},     {VH_BLK_DISCARD, VHI_OP_DISCARD, true, take_discard},
	{VH_BLK_WRITE_ZEROES, VHI_OP_ZERO, true, take_zero},
};

static const struct blk_type *find_type(uint32_t type)
{
	for (size_t i = 0; i < VHI_ARRAY_SIZE(types); i++)
		if (types[i].type == type)
			return &types[i];
	return NULL;
}

/* The one request that no kind has to do with. As much of the serial as fits before the status byte. */
static enum vhi_blk_status get_id(const struct vhi_blk *b, const struct vh_req *req)
{
	struct vhi_cursor c = {(const struct vh_seg *)(uintptr_t)req->segs + req->n_rd, req->n_wr, 0};

	vhi_cursor_put(&c, b->opts.serial, VHI_MIN((uint64_t)VH_BLK_ID_SIZE, req->wr_len - 1));
	return VHI_BLK_OK;
}

static enum vhi_blk_status run_request(struct vhi_blk *b, const struct vh_req *req, struct vhi_blk_io *io,
				       struct vhi_blk_out *out)
{
	const struct vh_seg *segs = (const struct vh_seg *)(uintptr_t)req->segs;
	const struct blk_type *type;
	struct vhi_blk_hdr h = {0};
	enum vhi_blk_status status;
	uint32_t code;

	io->token = req->token;
	io->queue = req->queue;
	if (VHI_REFUSE(VHI_SITE_BLK_STATUS, !req->wr_len))
		return VHI_BLK_IOERR;
	io->status = vhi_segs_last(segs + req->n_rd, req->n_wr);
	/* The status is the last byte that can be written, so everything up to it counts, as the dirty log wants it. */
	io->written = (uint32_t)VHI_MIN(req->wr_len, (uint64_t)UINT32_MAX);

	io->data = (struct vhi_cursor){segs, req->n_rd, 0};
	if (VHI_REFUSE(VHI_SITE_BLK_HEADER, vhi_cursor_get(&io->data, &h, sizeof(h)) != sizeof(h)))
		return VHI_BLK_IOERR;
	code = le32toh(h.type);
	if (code == VH_BLK_GET_ID)
		return get_id(b, req);
	type = find_type(code);
	if (VHI_REFUSE(VHI_SITE_BLK_TYPE, !type))
		return VHI_BLK_UNSUPP;
	if (VHI_REFUSE(VHI_SITE_BLK_READONLY, type->writes && (b->opts.flags & VH_BLKDEV_READONLY)))
		return VHI_BLK_IOERR;
	io->op = type->op;
	status = type->take(b, req, le64toh(h.sector), io);
	return status ? status : b->kind->run(b, io, out);
}

/* Returns how many of the n requests were run: all, or as many as move bytes enough. */
static uint32_t run_popped(struct vhi_blk *b, const struct vh_req *reqs, uint32_t n, struct vhi_blk_out *out,
			   uint64_t *bytes)
{
	struct vh_queue *q = out->q;
	uint32_t i;

	for (i = 0; i < n && *bytes < VHI_BLK_BATCH_BYTES; i++) {
		struct vhi_blk_io io = {0};
		enum vhi_blk_status status = run_request(b, &reqs[i], &io, out);

		*bytes += io.len;
		if (status != VHI_BLK_PENDING)
			vhi_blk_finish(out, q, &io, status);
	}
	return i;
}

int vhi_blk_batch(struct vhi_blk *b, struct vh_queue *q, uint32_t budget)
{
	struct vhi_blk_out out = {.q = q};
	struct vh_req reqs[VHI_BLK_BATCH];
	uint32_t left = budget, want, done;
	uint64_t bytes = 0;
	int n = 0;

	while (left && bytes < VHI_BLK_BATCH_BYTES) {
		want = VHI_MIN(left, (uint32_t)VHI_BLK_BATCH);
		n = vh_queue_pop(q, reqs, want);
		if (n <= 0)
			break;
		out.q = q;
		done = run_popped(b, reqs, (uint32_t)n, &out, &bytes);
		if (done < (uint32_t)n)
			vh_queue_unpop(q, (uint32_t)n - done);
		if (b->kind->pump)
			b->kind->pump(b, &out);
		vhi_blk_flush(&out);
		left -= done;
		if ((uint32_t)n < want && done == (uint32_t)n)
			return out.rc;
	}
	if (n < 0)
		return n;
	return out.rc || !n ? out.rc : 1;
}
