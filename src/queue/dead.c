/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Runs that ended with requests in flight, because the connection did. Whoever has these requests may be another thread
 * that knows nothing of it yet, so what their segments are in, and point into, stays until the last token came back.
 */
#include "vhi_vring.h"

#include <sys/mman.h>

static void run_free(struct vh_queue *q, struct vhi_dead_run *d)
{
	struct vhi_grave *g = d->grave;

	if (!g)
		return;
	*d = (struct vhi_dead_run){0};
	vhi_snapshot_put(g->snap);
	vhi_sys.munmap(g->arena, g->arena_len);
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
		if (!q->dead[i].grave)
			return false;
	return true;
}

void vhi_dead_bury(struct vh_queue *q)
{
	struct vhi_dead_run *d = q->dead;

	while (d->grave)
		d++;
	*d = (struct vhi_dead_run){.grave = q->dev.grave, .epoch = q->epoch, .in_flight = q->in_flight};
	*d->grave = (struct vhi_grave){.num = q->num,
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

		if (d->grave && d->epoch == token >> 32 && at < d->grave->num && d->grave->slots[at].state) {
			request_free(q, d, &d->grave->slots[at]);
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

		if (d->grave && (!newest || q->epoch - d->epoch < q->epoch - newest->epoch))
			newest = d;
	}
	return newest;
}

static bool among_newest(const struct vhi_grave *g, uint32_t at, uint32_t n)
{
	return g->slots[at].state && g->seq - 1 - g->slots[at].seq < n;
}

bool vhi_dead_drop_newest(struct vh_queue *q, uint32_t n)
{
	struct vhi_dead_run *d = newest_run(q);
	const struct vhi_grave *g = d ? d->grave : NULL;
	uint32_t found = 0;

	if (!g)
		return false;
	for (uint32_t i = 0; i < g->num; i++)
		found += among_newest(g, i, n);
	if (found != n)
		return false;
	for (uint32_t i = 0; n; i++) {
		if (among_newest(g, i, found)) {
			n--;
			request_free(q, d, &g->slots[i]); /* the last one takes the slots with it */
		}
	}
	return true;
}

void vhi_dead_forget(struct vh_queue *q)
{
	for (uint32_t i = 0; i < VHI_DEAD_RUNS; i++)
		run_free(q, &q->dead[i]);
}
