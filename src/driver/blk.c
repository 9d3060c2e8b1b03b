/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Block requests in batches. Everything that a request needs is there for each ring slot from the beginning: the header
 * and the status byte in shared memory, segments and the cookie in private memory.
 */
#include "vhi_blk_driver.h"

#include <endian.h>

/* Until the device writes the status; none that exists. */
#define NO_STATUS 0xff

static void queue_free(struct vhi_blk_queue *bq)
{
	vhi_free(bq->free);
	vhi_free(bq->flights);
	vhi_free(bq->segs);
	vhi_free(bq->reqs);
	vhi_free(bq->cpls);
}

static int queue_init(struct vhi_blk_queue *bq, struct vhi_driver_queue *dq)
{
	const uint32_t num = dq->ring.num;

	bq->dq = dq;
	bq->num = num;
	bq->lost = num;
	bq->life = __atomic_load_n(&dq->life, __ATOMIC_ACQUIRE);
	bq->free = vhi_calloc(num, sizeof(*bq->free));
	bq->flights = vhi_calloc(num, sizeof(*bq->flights));
	bq->segs = vhi_calloc(num, sizeof(*bq->segs));
	bq->reqs = vhi_calloc(num, sizeof(*bq->reqs));
	bq->cpls = vhi_calloc(num, sizeof(*bq->cpls));
	if (!bq->free || !bq->flights || !bq->segs || !bq->reqs || !bq->cpls)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_blk_new: no memory for %u requests", num);
	while (bq->n_free < num) {
		bq->free[bq->n_free] = (uint16_t)(num - 1 - bq->n_free);
		bq->n_free++;
	}
	return 0;
}

static int blk_init(struct vh_blk *b)
{
	int rc;

	vhi_driver_control(b->d, true);
	rc = vhi_blk_read_info(b);
	vhi_driver_control(b->d, false);
	for (uint32_t i = 0; !rc && i < b->n_queues; i++)
		rc = queue_init(&b->queues[i], &b->d->queues[i]);
	return rc;
}

static void blk_release(struct vh_blk *b)
{
	for (uint32_t i = 0; i < b->n_queues; i++)
		queue_free(&b->queues[i]);
	vhi_free(b);
}

vh_rc vh_blk_new(struct vh_driver *d, struct vh_blk **out)
{
	struct vh_blk *b;
	int rc;

	if (!d || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_blk_new: NULL argument; make a driver session first");
	rc = vhi_driver_take(d, "vh_blk_new");
	if (rc)
		return rc;
	b = vhi_calloc(1, sizeof(*b) + d->n_queues * sizeof(b->queues[0]));
	if (b) {
		b->d = d;
		b->n_queues = d->n_queues;
		b->info.size = sizeof(b->info);
		rc = blk_init(b);
	} else {
		rc = vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_blk_new: no memory for a block driver");
	}
	if (!rc) {
		*out = b;
		return 0;
	}
	d->taken = false;
	if (b)
		blk_release(b);
	return rc;
}

void vh_blk_free(struct vh_blk *b)
{
	if (!b)
		return;
	b->d->taken = false;
	blk_release(b);
}

vh_rc vh_blk_get_info(struct vh_blk *b, struct vh_blk_info *out)
{
	if (!b)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_blk_get_info: NULL block driver");
	return vhi_out_fill(out, &b->info, sizeof(b->info), "vh_blk_get_info");
}

/* Go on to the next slot that was in flight when the queue began anew. */
static void next_lost(struct vhi_blk_queue *bq)
{
	for (; bq->lost < bq->num; bq->lost++) {
		const uint32_t life = bq->flights[bq->lost].life;

		if (life && life != bq->life)
			return;
	}
}

/* One thread at a time. When the queue began anew, what was in flight is looked through by the next reaps. */
static int enter(struct vh_blk *b, uint32_t queue, const char *who, struct vhi_blk_queue **out)
{
	struct vhi_blk_queue *bq;
	uint32_t life;

	if (queue >= b->n_queues)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: queue %u of %u; count from 0", who, queue,
				b->n_queues);
	bq = &b->queues[queue];
	if (__atomic_exchange_n(&bq->busy, 1, __ATOMIC_ACQUIRE))
		return vhi_fail(-EBUSY, VH_ERROR_STATE, 0, "%s: another thread is in queue %u; use one queue a thread",
				who, queue);
	life = __atomic_load_n(&bq->dq->life, __ATOMIC_ACQUIRE);
	if (VHI_UNLIKELY(life != bq->life)) {
		bq->life = life;
		bq->lost = 0;
		next_lost(bq);
	}
	*out = bq;
	return 0;
}

static void leave(struct vhi_blk_queue *bq)
{
	__atomic_store_n(&bq->busy, 0, __ATOMIC_RELEASE);
}

static struct vhi_blk_slot VHI_SHM *slot_shm(const struct vhi_blk_queue *bq, uint32_t slot)
{
	return (struct vhi_blk_slot VHI_SHM *)(uintptr_t)(bq->dq->slots + (uint64_t)slot * VHI_DRIVER_SLOT);
}

static uint64_t shm_addr(const void VHI_SHM *p)
{
	return (uint64_t)(uintptr_t)p;
}

static uint32_t add_data(const struct vh_blk *b, struct vh_seg *segs, uint64_t addr, uint64_t len)
{
	uint32_t n = 0;

	while (len) {
		segs[n] = (struct vh_seg){addr, VHI_MIN(len, b->seg_len)};
		addr += segs[n].len;
		len -= segs[n].len;
		n++;
	}
	return n;
}

static uint32_t add_range(struct vhi_blk_slot VHI_SHM *shm, struct vh_seg *seg, const struct vh_blk_io *io)
{
	const struct vhi_blk_range range = {
		.sector = htole64(io->offset / VH_BLK_SECTOR),
		.n_sectors = htole32((uint32_t)(io->len / VH_BLK_SECTOR)),
		.flags = htole32(io->flags & VH_BLK_UNMAP ? VHI_BLK_RANGE_UNMAP : 0),
	};

	vhi_shm_copy_out(&shm->range, &range, sizeof(range));
	*seg = (struct vh_seg){shm_addr(&shm->range), sizeof(range)};
	return 1;
}

/* Header, what the device reads, what it writes, status. */
static void build(const struct vh_blk *b, struct vhi_blk_queue *bq, uint32_t slot, const struct vh_blk_io *io,
		  struct vh_req *req)
{
	struct vhi_blk_slot VHI_SHM *shm = slot_shm(bq, slot);
	const bool ranged = io->op == VH_BLK_DISCARD || io->op == VH_BLK_WRITE_ZEROES;
	const bool placed = io->op == VH_BLK_READ || io->op == VH_BLK_WRITE;
	const struct vhi_blk_hdr hdr = {.type = htole32(io->op),
					.sector = htole64(placed ? io->offset / VH_BLK_SECTOR : 0)};
	const uint8_t none = NO_STATUS;
	struct vh_seg *segs = bq->segs[slot];
	uint32_t n = 0, data;

	vhi_shm_copy_out(&shm->hdr, &hdr, sizeof(hdr));
	vhi_shm_copy_out(&shm->status, &none, sizeof(none));
	segs[n++] = (struct vh_seg){shm_addr(&shm->hdr), sizeof(hdr)};
	data = ranged ? add_range(shm, segs + n, io) : add_data(b, segs + n, io->addr, io->len);
	memset(req, 0, sizeof(*req));
	req->n_rd = 1;
	if (ranged || io->op == VH_BLK_WRITE)
		req->n_rd += data;
	n += data;
	segs[n++] = (struct vh_seg){shm_addr(&shm->status), sizeof(none)};
	req->n_wr = n - req->n_rd;
	req->segs = (uint64_t)(uintptr_t)segs;
	req->user = slot;
}

static int submit(struct vh_blk *b, struct vhi_blk_queue *bq, const struct vh_blk_io *ios, uint32_t n)
{
	uint32_t ready = 0;
	int rc = 0, taken;

	while (ready < n) {
		const struct vh_blk_io *io = &ios[ready];
		uint32_t slot;

		vhi_error_mute(ready > 0); /* the requests before it make the call a success */
		rc = vhi_blk_check(b, io);
		vhi_error_mute(false);
		if (rc || ready == bq->n_free)
			break;
		slot = bq->free[bq->n_free - 1 - ready];
		bq->flights[slot] = (struct vhi_blk_flight){io->user, bq->life};
		build(b, bq, slot, io, &bq->reqs[ready]);
		ready++;
	}
	if (!ready)
		return rc;
	taken = vh_queue_submit(bq->dq->q, bq->reqs, ready);
	for (uint32_t i = taken > 0 ? (uint32_t)taken : 0; i < ready; i++)
		bq->flights[bq->reqs[i].user].life = 0;
	if (taken > 0)
		bq->n_free -= (uint32_t)taken;
	return taken;
}

vh_count vh_blk_submit(struct vh_blk *b, uint32_t queue, const struct vh_blk_io *ios, uint32_t n)
{
	struct vhi_blk_queue *bq;
	int rc;

	if (!b || (!ios && n))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_blk_submit: NULL argument");
	rc = enter(b, queue, "vh_blk_submit", &bq);
	if (rc)
		return rc;
	if (__atomic_load_n(&b->d->running, __ATOMIC_ACQUIRE))
		rc = submit(b, bq, ios, n);
	else
		rc = vhi_fail(-EINVAL, VH_ERROR_STATE, 0,
			      "vh_blk_submit: the session is stopped; call vh_driver_start() first");
	vhi_driver_show_flow(b->d, queue);
	leave(bq);
	return rc;
}

static int result(const struct vhi_blk_queue *bq, uint32_t slot)
{
	static const int16_t results[] = {
		[VHI_BLK_S_OK] = 0,
		[VHI_BLK_S_IOERR] = -EIO,
		[VHI_BLK_S_UNSUPP] = -EOPNOTSUPP,
	};
	uint8_t status;

	vhi_shm_copy_in(&status, &slot_shm(bq, slot)->status, sizeof(status));
	if (VHI_REFUSE(VHI_SITE_BLK_STATUS, status >= VHI_ARRAY_SIZE(results)))
		return -EPROTO;
	return results[status % VHI_ARRAY_SIZE(results)];
}

static void finish(struct vhi_blk_queue *bq, uint32_t slot, int rc, struct vh_blk_done *done)
{
	*done = (struct vh_blk_done){.user = bq->flights[slot].user, .rc = rc};
	bq->flights[slot].life = 0;
	bq->free[bq->n_free++] = (uint16_t)slot;
}

/* What was in flight when the queue began anew did not happen, as far as anyone knows. */
static uint32_t reap_lost(struct vhi_blk_queue *bq, struct vh_blk_done *done, uint32_t max)
{
	uint32_t n = 0;

	while (n < max && bq->lost < bq->num) {
		finish(bq, bq->lost, -EIO, &done[n++]);
		next_lost(bq);
	}
	return n;
}

static int reap(struct vhi_blk_queue *bq, struct vh_blk_done *done, uint32_t max)
{
	uint32_t n = reap_lost(bq, done, max);
	int got;

	if (n == max)
		return (int)n;
	got = vh_queue_reap(bq->dq->q, bq->cpls, VHI_MIN(max - n, bq->num));
	for (int i = 0; i < got; i++) {
		const uint32_t slot = (uint32_t)bq->cpls[i].token;

		finish(bq, slot, result(bq, slot), &done[n++]);
	}
	return got < 0 && !n ? got : (int)n;
}

vh_count vh_blk_reap(struct vh_blk *b, uint32_t queue, struct vh_blk_done *done, uint32_t max)
{
	struct vhi_blk_queue *bq;
	int rc;

	if (!b || (!done && max))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_blk_reap: NULL argument");
	rc = enter(b, queue, "vh_blk_reap", &bq);
	if (rc)
		return rc;
	rc = reap(bq, done, max);
	vhi_driver_show_flow(b->d, queue);
	leave(bq);
	return rc;
}

/* Something for vh_blk_reap(): 1, else 0. */
static int ready(void *ctx, uint32_t queue, enum vhi_how how)
{
	struct vhi_blk_queue *bq;
	bool lost;
	int rc = enter(ctx, queue, "vh_blk_wait", &bq);

	if (rc)
		return rc;
	lost = bq->lost < bq->num;
	rc = bq->life && !lost ? vhi_driver_ask(bq->dq, how) : lost;
	leave(bq);
	return rc;
}

vh_rc vh_blk_wait(struct vh_blk *b, uint32_t queue, int32_t timeout_ms)
{
	if (!b || timeout_ms < -1)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_blk_wait: NULL block driver or a timeout below -1, which is for ever");
	if (queue >= b->n_queues)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_blk_wait: queue %u of %u; count from 0", queue,
				b->n_queues);
	return vhi_driver_wait(b->d, &(struct vhi_driver_waiter){"vh_blk_wait", ready, b, queue}, timeout_ms);
}
