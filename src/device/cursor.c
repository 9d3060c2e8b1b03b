/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Walking over the segments of a request. */
#include "vhi_cursor.h"

uint64_t vhi_cursor_next(struct vhi_cursor *c, uint64_t max, uint8_t VHI_SHM **piece)
{
	uint64_t n;

	while (c->n && c->off == c->seg->len) {
		c->seg++;
		c->n--;
		c->off = 0;
	}
	if (!c->n)
		return 0;
	n = VHI_MIN(max, c->seg->len - c->off);
	*piece = (uint8_t VHI_SHM *)(uintptr_t)(c->seg->addr + c->off);
	c->off += n;
	return n;
}

uint64_t vhi_cursor_skip(struct vhi_cursor *c, uint64_t n)
{
	uint8_t VHI_SHM *piece;
	uint64_t done = 0, len;

	while (done < n && (len = vhi_cursor_next(c, n - done, &piece)))
		done += len;
	return done;
}

uint64_t vhi_cursor_get(struct vhi_cursor *c, void *dst, uint64_t n)
{
	uint8_t VHI_SHM *piece;
	uint64_t done = 0, len;

	while (done < n && (len = vhi_cursor_next(c, n - done, &piece))) {
		vhi_shm_copy_in((uint8_t *)dst + done, piece, (size_t)len);
		done += len;
	}
	return done;
}

uint64_t vhi_cursor_put(struct vhi_cursor *c, const void *src, uint64_t n)
{
	uint8_t VHI_SHM *piece;
	uint64_t done = 0, len;

	while (done < n && (len = vhi_cursor_next(c, n - done, &piece))) {
		vhi_shm_copy_out(piece, (const uint8_t *)src + done, (size_t)len);
		done += len;
	}
	return done;
}

uint32_t vhi_cursor_iov(const struct vhi_cursor *c, uint64_t bytes, struct iovec *iov, uint32_t max)
{
	struct vhi_cursor at = *c;
	uint8_t VHI_SHM *piece;
	uint64_t len;
	uint32_t n = 0;

	while (n < max && bytes && (len = vhi_cursor_next(&at, bytes, &piece))) {
		iov[n].iov_base = VHI_SHM_RAW(void, piece); /* the kernel reads or writes it, we don't */
		iov[n].iov_len = (size_t)len;
		bytes -= len;
		n++;
	}
	return n;
}

uint8_t VHI_SHM *vhi_segs_last(const struct vh_seg *seg, uint32_t n)
{
	while (n && !seg[n - 1].len)
		n--;
	return n ? (uint8_t VHI_SHM *)(uintptr_t)(seg[n - 1].addr + seg[n - 1].len - 1) : NULL;
}
