/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Runs that ended with requests in flight, because the connection did. Whoever has these requests may be another thread
 * that knows nothing of it yet, so what their segments are in, and point into, stays until the last token came back.
 */
#include "vhi_vring.h"

#include <sys/mman.h>

static void run_free(struct vh_queue *q, struct vhi_dead_run *d)
{
	if (!d->arena)
		return;
	vhi_sys.munmap(d->arena, d->arena_len);
	vhi_snapshot_put(d->snap);
	*d = (struct vhi_dead_run){0};
	/* There may be a start that waits for it. */
	q->after |= VHI_AFTER_WAKE;
}

static void request_free(struct vh_queue *q, struct vhi_dead_run *d, struct vhi_slot *slot)
{
	vhi_slot_state(slot, VHI_SLOT_FREE);
	if (!--d->in_flight)
		run_free(q, d);
}

bool vhi_dead_full(const struct vh_queue *q)
{
	for (uint32_t i = 0; i < VHI_DEAD_RUNS; i++)
		if (!q->dead[i].arena)
			return false;
	return true;
}

void vhi_dead_bury(struct vh_queue *q)
{
	struct vhi_dead_run *d = q->dead;

	while (d->arena)
		d++;
	*d = (struct vhi_dead_run){.epoch = q->epoch,
				   .num = q->num,
				   .in_flight = q->in_flight,
				   .seq = q->seq,
				   .slots = q->slots,
				   .snap = q->snap,
				   .arena = q->arena,
				   .arena_len = q->arena_len};
	q->arena = NULL;
	q->snap = NULL;
}

void vhi_dead_drop(struct vh_queue *q, uint64_t token)
{
	const uint32_t at = (uint32_t)token;

	for (uint32_t i = 0; i < VHI_DEAD_RUNS; i++) {
		struct vhi_dead_run *d = &q->dead[i];

		if (d->arena && d->epoch == token >> 32 && at < d->num && d->slots[at].state) {
			request_free(q, d, &d->slots[at]);
			return;
		}
	}
}

/* The run that died last. */
static struct vhi_dead_run *newest_run(struct vh_queue *q)
{
	struct vhi_dead_run *newest = NULL;

	for (uint32_t i = 0; i < VHI_DEAD_RUNS; i++) {
		struct vhi_dead_run *d = &q->dead[i];

		if (d->arena && (!newest || q->epoch - d->epoch < q->epoch - newest->epoch))
			newest = d;
	}
	return newest;
}

static bool among_newest(const struct vhi_dead_run *d, uint32_t at, uint32_t n)
{
	return d->slots[at].state && d->seq - 1 - d->slots[at].seq < n;
}

bool vhi_dead_drop_newest(struct vh_queue *q, uint32_t n)
{
	struct vhi_dead_run *d = newest_run(q);
	uint32_t found = 0;

	if (!d)
		return false;
	for (uint32_t i = 0; i < d->num; i++)
		found += among_newest(d, i, n);
	if (found != n)
		return false;
	for (uint32_t i = 0; n; i++) {
		if (among_newest(d, i, found)) {
			n--;
			request_free(q, d, &d->slots[i]); /* the last one takes the slots with it */
		}
	}
	return true;
}

void vhi_dead_forget(struct vh_queue *q)
{
	for (uint32_t i = 0; i < VHI_DEAD_RUNS; i++)
		run_free(q, &q->dead[i]);
}
