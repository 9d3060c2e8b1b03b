/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Frames, in and out. A buffer is the device's from its submission to its completion, and ours only in between: what
 * came is copied into private memory before it is looked at. A queue that began anew has nothing in flight: all of its
 * buffers are ours again.
 */
#include "vhi_net_driver.h"

#include <endian.h>

/* Buffers of a lane lie on cache lines. */
#define SLOT_ALIGN 64u

static void lane_reset(struct vhi_net_lane *l)
{
	l->life = __atomic_load_n(&l->dq->life, __ATOMIC_ACQUIRE);
	l->next = l->got = 0;
	for (l->n_free = 0; l->n_free < l->num; l->n_free++)
		l->free[l->n_free] = (uint16_t)(l->num - 1 - l->n_free);
}

/* A session never takes memory back, so that its queues keep what a driver before this one was given. */
static int lane_memory(struct vh_net *n, struct vhi_driver_queue *dq)
{
	const uint64_t len = (uint64_t)dq->ring.num * n->slot;
	struct vhi_gpa gpa;
	int rc = 0;

	if (dq->buffers_len < len)
		rc = vhi_driver_alloc(n->d, len, &dq->buffers, &gpa);
	if (!rc && dq->buffers_len < len)
		dq->buffers_len = len;
	return rc;
}

static int lane_init(struct vh_net *n, struct vhi_net_lane *l, struct vhi_driver_queue *dq)
{
	const uint32_t num = dq->ring.num;
	int rc = lane_memory(n, dq);

	if (rc)
		return rc;
	l->dq = dq;
	l->num = num;
	l->free = vhi_calloc(num, sizeof(*l->free));
	l->segs = vhi_calloc(num, sizeof(*l->segs));
	l->reqs = vhi_calloc(num, sizeof(*l->reqs));
	l->cpls = vhi_calloc(num, sizeof(*l->cpls));
	if (!l->free || !l->segs || !l->reqs || !l->cpls)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_net_new: no memory for %u frames", num);
	lane_reset(l);
	return 0;
}

static void net_release(struct vh_net *n)
{
	for (uint32_t i = 0; i < n->n_queues; i++) {
		vhi_free(n->lanes[i].free);
		vhi_free(n->lanes[i].segs);
		vhi_free(n->lanes[i].reqs);
		vhi_free(n->lanes[i].cpls);
	}
	vhi_free(n);
}

/* One thread at a time, for each direction. */
static int enter(struct vh_net *n, uint32_t pair, uint32_t what, const char *who, struct vhi_net_lane **out)
{
	struct vhi_net_lane *l;

	if (pair >= n->info.n_pairs)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: pair %u of %u; count from 0", who, pair,
				n->info.n_pairs);
	l = &n->lanes[2 * pair + what];
	if (__atomic_exchange_n(&l->busy, 1, __ATOMIC_ACQUIRE))
		return vhi_fail(-EBUSY, VH_ERROR_STATE, 0, "%s: another thread is in this direction of pair %u", who,
				pair);
	if (VHI_UNLIKELY(__atomic_load_n(&l->dq->life, __ATOMIC_ACQUIRE) != l->life))
		lane_reset(l);
	*out = l;
	return 0;
}

static void leave(struct vhi_net_lane *l)
{
	__atomic_store_n(&l->busy, 0, __ATOMIC_RELEASE);
}

static uint8_t VHI_SHM *slot_shm(const struct vh_net *n, const struct vhi_net_lane *l, uint32_t slot)
{
	return (uint8_t VHI_SHM *)(uintptr_t)(l->dq->buffers + (uint64_t)slot * n->slot);
}

/* The request for the @i-th free slot, of @len bytes that the device reads or writes. */
static uint32_t prepare(const struct vh_net *n, struct vhi_net_lane *l, uint32_t i, uint32_t len, bool sends)
{
	const uint32_t slot = l->free[l->n_free - 1 - i];

	l->segs[slot] = (struct vh_seg){(uint64_t)(uintptr_t)slot_shm(n, l, slot), len};
	l->reqs[i] = (struct vh_req){
		.segs = (uint64_t)(uintptr_t)&l->segs[slot], .n_rd = sends, .n_wr = !sends, .user = slot};
	return slot;
}

/* Those that were prepared; what was taken is the device's. */
static int submit(struct vhi_net_lane *l, uint32_t n)
{
	int taken = n ? vh_queue_submit(l->dq->q, l->reqs, n) : 0;

	if (taken > 0)
		l->n_free -= (uint32_t)taken;
	return taken;
}

static void give_back(struct vhi_net_lane *l, uint32_t slot)
{
	l->free[l->n_free++] = (uint16_t)slot;
}

static bool runs(const struct vh_net *n)
{
	return __atomic_load_n(&n->d->running, __ATOMIC_ACQUIRE);
}

/* Every buffer that is not in hand goes to the device. */
static int offer(struct vh_net *n, struct vhi_net_lane *rx)
{
	uint32_t i = 0;

	if (!rx->life || !rx->n_free || !runs(n))
		return 0;
	while (i < rx->n_free)
		prepare(n, rx, i++, n->slot, false);
	return VHI_MIN(submit(rx, i), 0);
}

/* There is nothing more to be had from a device that gives such frames. */
static int no_frame(const struct vhi_net_lane *rx, uint32_t site, const char *why)
{
	vhi_queue_break(rx->dq->q, -EPROTO, site, why);
	return vhi_queue_raise(rx->dq->q);
}

/* Have @count completions in hand, as far as they are there. */
static int look(struct vhi_net_lane *rx, uint32_t count)
{
	int got;

	if (rx->got - rx->next >= count)
		return 0;
	memmove(rx->cpls, rx->cpls + rx->next, (rx->got - rx->next) * sizeof(rx->cpls[0]));
	rx->got -= rx->next;
	rx->next = 0;
	if (rx->got == rx->num || !rx->life)
		return 0;
	got = vh_queue_reap(rx->dq->q, rx->cpls + rx->got, rx->num - rx->got);
	if (got > 0)
		rx->got += (uint32_t)got;
	return VHI_MIN(got, 0);
}

/* The header of the next frame, and how many buffers it fills: 0 when there is none. */
static int begin_frame(struct vh_net *n, struct vhi_net_lane *rx, struct vh_net_hdr *hdr)
{
	uint32_t count = 1;
	int rc = look(rx, 1);

	if (rc || rx->next == rx->got)
		return rc;
	if (VHI_REFUSE(VHI_SITE_NET_NO_HEADER, rx->cpls[rx->next].written < sizeof(*hdr)))
		return no_frame(rx, VHI_SITE_NET_NO_HEADER, "the device wrote a frame without its header");
	vhi_shm_copy_in(hdr, slot_shm(n, rx, (uint32_t)rx->cpls[rx->next].token), sizeof(*hdr));
	if (n->merge)
		count = le16toh(hdr->num_buffers);
	rc = count > 1 ? look(rx, count) : 0;
	if (rc)
		return rc;
	/* All buffers of a frame are to be used at once. */
	if (VHI_REFUSE(VHI_SITE_NET_BUFFERS, !count || count > rx->got - rx->next))
		return no_frame(rx, VHI_SITE_NET_BUFFERS,
				"the device wrote a frame of no buffers, or of more than it has completed");
	return (int)count;
}

static void take_frame(struct vh_net *n, struct vhi_net_lane *rx, uint32_t count, const struct vh_net_hdr *hdr,
		       struct vh_net_frame *f)
{
	uint64_t skip = sizeof(struct vh_net_hdr), len = 0;
	uint8_t *to = (uint8_t *)(uintptr_t)f->data;

	for (uint32_t i = 0; i < count; i++) {
		const struct vh_cpl *cpl = &rx->cpls[rx->next++];
		const uint32_t slot = (uint32_t)cpl->token;
		const uint64_t bytes = cpl->written - VHI_MIN(skip, (uint64_t)cpl->written);
		const uint64_t fits = len < f->room ? VHI_MIN(bytes, f->room - len) : 0;

		if (fits)
			vhi_shm_copy_in(to + len, slot_shm(n, rx, slot) + skip, (size_t)fits);
		len += bytes;
		skip = 0;
		give_back(rx, slot);
	}
	f->len = (uint32_t)len;
	f->flags = len > f->room ? VH_NET_TRUNCATED : 0;
	f->hdr_flags = hdr->flags;
	f->gso_type = hdr->gso_type;
	f->hdr_len = le16toh(hdr->hdr_len);
	f->gso_size = le16toh(hdr->gso_size);
	f->csum_start = le16toh(hdr->csum_start);
	f->csum_offset = le16toh(hdr->csum_offset);
	f->num_buffers = (uint16_t)count;
}

static int receive(struct vh_net *n, struct vhi_net_lane *rx, struct vh_net_frame *frames, uint32_t max)
{
	uint32_t taken = 0;
	struct vh_net_hdr hdr;
	int rc = 0;

	while (taken < max) {
		vhi_error_mute(taken > 0); /* the frames before it make the call a success */
		rc = begin_frame(n, rx, &hdr);
		vhi_error_mute(false);
		if (rc <= 0)
			break;
		take_frame(n, rx, (uint32_t)rc, &hdr, &frames[taken++]);
	}
	if (rc >= 0)
		rc = offer(n, rx);
	return taken ? (int)taken : rc;
}

vh_count vh_net_receive(struct vh_net *n, uint32_t pair, struct vh_net_frame *frames, uint32_t max)
{
	struct vhi_net_lane *rx;
	int rc;

	if (!n || (!frames && max))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_net_receive: NULL argument");
	for (uint32_t i = 0; i < max; i++)
		if (frames[i].reserved || (frames[i].room && !frames[i].data))
			return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
					"vh_net_receive: frame %u has room and no address, or reserved is not 0", i);
	rc = enter(n, pair, VH_NET_RECEIVE, "vh_net_receive", &rx);
	if (rc)
		return rc;
	rc = receive(n, rx, frames, max);
	vhi_driver_show_flow(n->d, pair * 2 + VH_NET_RECEIVE);
	leave(rx);
	return rc;
}

/* What the device has sent is ours again. */
static int reclaim(struct vhi_net_lane *tx)
{
	int got = tx->life ? vh_queue_reap(tx->dq->q, tx->cpls, tx->num) : 0;

	for (int i = 0; i < got; i++)
		give_back(tx, (uint32_t)tx->cpls[i].token);
	return VHI_MIN(got, 0);
}

static int check_frame(const struct vh_net *n, const struct vh_net_frame *f)
{
	if (!f->data || f->flags || f->reserved || f->num_buffers)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_net_send: a frame has no address, or flags, reserved or num_buffers is not 0");
	if (f->len < VH_NET_FRAME_MIN || f->len > n->info.frame_max)
		return vhi_fail(-EMSGSIZE, VH_ERROR_ARGUMENT, 0,
				"vh_net_send: a frame of %u bytes; it can have 14 to %u (frame_max of vh_net_opts)",
				f->len, n->info.frame_max);
	return 0;
}

static void put_frame(uint8_t VHI_SHM *to, const struct vh_net_frame *f)
{
	const struct vh_net_hdr hdr = {.flags = f->hdr_flags,
				       .gso_type = f->gso_type,
				       .hdr_len = htole16(f->hdr_len),
				       .gso_size = htole16(f->gso_size),
				       .csum_start = htole16(f->csum_start),
				       .csum_offset = htole16(f->csum_offset)};

	vhi_shm_copy_out(to, &hdr, sizeof(hdr));
	vhi_shm_copy_out(to + sizeof(hdr), (const void *)(uintptr_t)f->data, f->len);
}

static int send_all(struct vh_net *n, struct vhi_net_lane *tx, const struct vh_net_frame *frames, uint32_t count)
{
	uint32_t ready = 0;
	int rc = reclaim(tx);

	while (!rc && ready < count && ready < tx->n_free) {
		const struct vh_net_frame *f = &frames[ready];

		vhi_error_mute(ready > 0); /* the frames before it make the call a success */
		rc = check_frame(n, f);
		vhi_error_mute(false);
		if (rc)
			break;
		put_frame(slot_shm(n, tx, prepare(n, tx, ready, VH_NET_HDR_SIZE + f->len, true)), f);
		ready++;
	}
	return ready ? submit(tx, ready) : rc;
}

vh_count vh_net_send(struct vh_net *n, uint32_t pair, const struct vh_net_frame *frames, uint32_t count)
{
	struct vhi_net_lane *tx;
	int rc;

	if (!n || (!frames && count))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_net_send: NULL argument");
	rc = enter(n, pair, VH_NET_SEND, "vh_net_send", &tx);
	if (rc)
		return rc;
	if (runs(n))
		rc = send_all(n, tx, frames, count);
	else
		rc = vhi_fail(-EINVAL, VH_ERROR_STATE, 0,
			      "vh_net_send: the session is stopped; call vh_driver_start() first");
	vhi_driver_show_flow(n->d, pair * 2 + VH_NET_SEND);
	leave(tx);
	return rc;
}

/* A frame in hand or room: 1; else what the queue says. Buffers that came back are offered first. */
static int ready(void *ctx, uint32_t queue, enum vhi_how how)
{
	struct vh_net *n = ctx;
	struct vhi_net_lane *l;
	int rc = enter(n, queue / 2, queue % 2, "vh_net_wait", &l);

	if (rc)
		return rc;
	if (queue % 2 == VH_NET_SEND) {
		rc = reclaim(l);
		if (!rc)
			rc = l->n_free > 0;
	} else {
		rc = offer(n, l);
		if (!rc)
			rc = l->got > l->next;
	}
	if (!rc && l->life)
		rc = vhi_driver_ask(l->dq, how);
	leave(l);
	return rc;
}

vh_rc vh_net_wait(struct vh_net *n, uint32_t pair, uint32_t what, int32_t timeout_ms)
{
	if (!n || timeout_ms < -1 || what > VH_NET_SEND)
		return vhi_fail(
			-EINVAL, VH_ERROR_ARGUMENT, 0,
			"vh_net_wait: NULL network driver, neither VH_NET_RECEIVE nor VH_NET_SEND, or a timeout below "
			"-1, which is for ever");
	if (pair >= n->info.n_pairs)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_net_wait: pair %u of %u; count from 0", pair,
				n->info.n_pairs);
	return vhi_driver_wait(n->d, &(struct vhi_driver_waiter){"vh_net_wait", ready, n, 2 * pair + what}, timeout_ms);
}

static int net_init(struct vh_net *n)
{
	int rc;

	vhi_driver_control(n->d, true);
	rc = vhi_net_read_info(n);
	n->slot = (VH_NET_HDR_SIZE + n->info.frame_max + SLOT_ALIGN - 1) & ~(SLOT_ALIGN - 1);
	for (uint32_t i = 0; !rc && i < n->n_queues; i++)
		rc = lane_init(n, &n->lanes[i], &n->d->queues[i]);
	vhi_driver_control(n->d, false);
	for (uint32_t i = 0; !rc && i < n->n_queues; i += 2)
		rc = offer(n, &n->lanes[i]);
	return rc;
}

static int check_opts(const struct vh_net_opts *o)
{
	if (o->frame_max && (o->frame_max < VH_NET_FRAME_MIN || o->frame_max > VH_NET_FRAME_MAX))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_net_new: frame_max is %u; it can be 14 to 65553, or 0", o->frame_max);
	return 0;
}

vh_rc vh_net_new(const struct vh_net_opts *opts, struct vh_driver *d, struct vh_net **out)
{
	struct vh_net_opts o;
	struct vh_net *n;
	int rc;

	if (!d || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_net_new: NULL argument; make a driver session first");
	rc = vhi_opts_in(&o, sizeof(o), opts, "vh_net_opts");
	if (!rc)
		rc = check_opts(&o);
	if (!rc && !d->is_net)
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
			      "vh_net_new: the session is of another type; set type to VH_TYPE_NET");
	if (!rc)
		rc = vhi_driver_take(d, "vh_net_new");
	if (rc)
		return rc;
	n = vhi_calloc(1, sizeof(*n) + d->n_queues * sizeof(n->lanes[0]));
	if (n) {
		n->d = d;
		n->n_queues = d->n_queues;
		n->info = (struct vh_net_info){.size = sizeof(n->info), .frame_max = o.frame_max};
		rc = net_init(n);
	} else {
		rc = vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_net_new: no memory for a network driver");
	}
	if (!rc) {
		*out = n;
		return 0;
	}
	d->taken = false;
	if (n)
		net_release(n);
	return rc;
}

void vh_net_free(struct vh_net *n)
{
	if (!n)
		return;
	n->d->taken = false;
	net_release(n);
}

vh_rc vh_net_get_info(struct vh_net *n, struct vh_net_info *out)
{
	if (!n)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_net_get_info: NULL network driver");
	return vhi_out_fill(out, &n->info, sizeof(n->info), "vh_net_get_info");
}
