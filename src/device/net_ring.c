/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Frames: out of the chains of a send queue, into the buffers of a receive queue. */
#include "vhi_net.h"

#include <endian.h>

/* Receive buffers in hand: popped, and of these the first @used are filled. What is left goes back. */
struct room {
	struct vh_queue *q;
	uint32_t n, used;
	bool last; /* the ring has no more */
	struct vh_req reqs[VHI_NET_BATCH];
	struct vh_cpl cpls[VHI_NET_BATCH];
};

enum placed { PLACED, NO_ROOM, DROPPED };

/* What is in hand is not looked at before it is there. */
static void room_begin(struct room *r, struct vh_queue *q)
{
	r->q = q;
	r->n = r->used = 0;
	r->last = false;
}

static void room_close(struct room *r)
{
	if (r->n > r->used)
		vh_queue_unpop(r->q, r->n - r->used);
	/* A queue that can't take them says so by itself. */
	if (r->used)
		vh_queue_push(r->q, r->cpls, r->used);
	r->n = r->used = 0;
}

static bool room_open(struct room *r)
{
	int32_t n;

	room_close(r);
	n = r->q ? vh_queue_pop(r->q, r->reqs, VHI_NET_BATCH) : 0;
	r->n = n > 0 ? (uint32_t)n : 0;
	r->last = r->n < VHI_NET_BATCH;
	return r->n;
}

/* How many of the buffers in hand the next @bytes take; 0 when they are not enough. */
static uint32_t room_count(const struct room *r, uint64_t bytes)
{
	uint64_t sum = 0;

	for (uint32_t i = r->used; i < r->n; i++) {
		sum += VHI_MIN(r->reqs[i].wr_len, bytes);
		if (sum >= bytes)
			return i - r->used + 1;
	}
	return 0;
}

/* Header and frame into @count buffers. */
static void fill(const struct vhi_net *n, struct vhi_net_frame *f, struct room *r, uint32_t count)
{
	const struct vh_net_hdr h = {.num_buffers = htole16((uint16_t)count)};
	uint32_t done = 0;

	if (f->numbered)
		memcpy(f->data + VHI_NET_NUMBER, &f->number, sizeof(f->number));
	for (uint32_t i = 0; i < count; i++) {
		const struct vh_req *req = &r->reqs[r->used];
		struct vhi_cursor c = {(const struct vh_seg *)(uintptr_t)req->segs + req->n_rd, req->n_wr, 0};
		uint32_t head = i ? 0 : (uint32_t)vhi_cursor_put(&c, &h, n->hdr);
		uint32_t body = (uint32_t)vhi_cursor_put(&c, f->data + done, f->len - done);

		done += body;
		r->cpls[r->used++] = (struct vh_cpl){.token = req->token, .written = head + body};
	}
}

/*
 * What most frames are: one whose buffer is in one piece and has room for all of it. The frame is left as it is: a copy that
 * loads what was stored in smaller pieces a moment ago waits for these, and so for all stores before them.
 */
static inline bool fill_one(const struct vhi_net *n, const struct vhi_net_frame *f, struct room *r)
{
	const struct vh_net_hdr h = {.num_buffers = htole16(1)};
	const uint64_t bytes = (uint64_t)n->hdr + f->len;
	const struct vh_req *req = &r->reqs[r->used];
	const struct vh_seg *seg;
	uint8_t VHI_SHM *to;

	if (r->used == r->n || !req->n_wr)
		return false;
	seg = (const struct vh_seg *)(uintptr_t)req->segs + req->n_rd;
	if (seg->len < bytes || f->len < f->numbered)
		return false;
	to = (uint8_t VHI_SHM *)(uintptr_t)seg->addr;
	vhi_shm_copy_out(to, &h, sizeof(h)); /* where it is shorter the frame is put over its end */
	to += n->hdr;
	vhi_shm_copy_out(to, f->data, f->len);
	if (f->numbered)
		vhi_shm_copy_out(to + VHI_NET_NUMBER, &f->number, sizeof(f->number));
	r->cpls[r->used++] = (struct vh_cpl){.token = req->token, .written = (uint32_t)bytes};
	return true;
}

/* That the driver gave no room for a header is nothing that a later frame could mend. */
static enum placed no_header(struct room *r)
{
	vhi_queue_break(r->q, -EPROTO, VHI_SITE_NET_RX_BUFFER, "a receive buffer has no room for a header");
	return DROPPED;
}

__attribute__((noinline)) static enum placed place_rarely(const struct vhi_net *n, struct vhi_net_frame *f,
							  struct room *r)
{
	const uint64_t bytes = (uint64_t)n->hdr + f->len;
	uint32_t count;

	if (r->used == r->n && (r->last || !room_open(r)))
		return NO_ROOM;
	if (fill_one(n, f, r))
		return PLACED;
	count = room_count(r, bytes);
	if (!count && !r->last && r->used && room_open(r))
		count = room_count(r, bytes);
	if (VHI_REFUSE(VHI_SITE_NET_RX_BUFFER, r->n && r->reqs[r->used].wr_len < n->hdr))
		return no_header(r);
	if (!n->merge && r->n && r->reqs[r->used].wr_len < bytes)
		return DROPPED;
	if (!count && VHI_REFUSE(VHI_SITE_NET_RX_MANY, !r->last))
		return DROPPED;
	if (!count)
		return NO_ROOM;
	fill(n, f, r, count);
	return PLACED;
}

static inline enum placed place(const struct vhi_net *n, struct vhi_net_frame *f, struct room *r)
{
	return VHI_LIKELY(fill_one(n, f, r)) ? PLACED : place_rarely(n, f, r);
}

int vhi_net_receive(struct vhi_net *n, uint32_t pair, uint32_t budget)
{
	enum placed placed = PLACED;
	struct room r;

	room_begin(&r, n->queues[2 * pair]);

	while (budget && (n->rx.len || n->kind->next(n))) {
		placed = place(n, &n->rx, &r);
		if (placed == NO_ROOM)
			break;
		n->rx.len = 0;
		budget--;
	}
	room_close(&r);
	/* A tap is read when there are buffers again. */
	if (n->fd >= 0)
		vhi_net_tap_watch(n, placed != NO_ROOM);
	return placed != NO_ROOM && !budget;
}

/* The frame of a request, into n->tx. */
static bool gather(struct vhi_net *n, const struct vh_req *req)
{
	struct vhi_cursor c = {(const struct vh_seg *)(uintptr_t)req->segs, req->n_rd, 0};

	if (VHI_REFUSE(VHI_SITE_NET_SHORT, req->rd_len < n->hdr + VH_NET_FRAME_MIN))
		return false;
	if (VHI_REFUSE(VHI_SITE_NET_LONG, req->rd_len - n->hdr > VH_NET_FRAME_MAX))
		return false;
	/* Nothing that a header could ask for was offered. */
	vhi_cursor_skip(&c, n->hdr);
	n->tx.len = (uint32_t)vhi_cursor_get(&c, n->tx.data, req->rd_len - n->hdr);
	return true;
}

int vhi_net_sent(struct vhi_net *n, uint32_t pair, uint32_t budget)
{
	struct vh_queue *q = n->queues[2 * pair + 1];
	struct vh_req reqs[VHI_NET_BATCH];
	struct vh_cpl cpls[VHI_NET_BATCH];
	uint32_t want = VHI_MIN(budget, (uint32_t)VHI_NET_BATCH);
	int32_t count = vh_queue_pop(q, reqs, want);
	struct room r;
	int32_t rc;

	if (count <= 0)
		return count;
	room_begin(&r, n->queues[2 * pair]);
	for (int32_t i = 0; i < count; i++) {
		cpls[i] = (struct vh_cpl){.token = reqs[i].token};
		if (!n->kind->send && !n->kind->loops)
			continue;
		if (!gather(n, &reqs[i]))
			continue;
		if (n->kind->loops)
			place(n, &n->tx, &r);
		else
			n->kind->send(n);
	}
	room_close(&r);
	rc = vh_queue_push(q, cpls, (uint32_t)count);
	return rc ? rc : (uint32_t)count == want;
}
