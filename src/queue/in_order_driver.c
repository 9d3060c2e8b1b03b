/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * VIRTIO_F_IN_ORDER, driver side. A used element names the last request of a run: all older ones are completed too, and
 * filled to the last byte, as nothing else is said of them. The element stands where the run begins. Which requests these
 * are is known here, so a device can't do more than name one that is not among them.
 */
#include "vhi_in_order.h"
#include "vhi_packed.h"
#include "vhi_split.h"
#include "vhi_submit.h"

/* How far the device's completions were followed. */
struct cursor {
	uint16_t pos;  /* in the ring: of the next request */
	uint32_t at;   /* its place in drv.order */
	uint32_t left; /* requests in flight from there on */
	uint32_t run;  /* of these, how many the element that was read last completes */
	uint32_t len;  /* what the device wrote into the last of them */
};

static struct cursor cursor_here(const struct vh_queue *q)
{
	return (struct cursor){.pos = q->next_used,
			       .at = vhi_order_back(q->num, q->drv.turn, q->in_flight),
			       .left = q->in_flight,
			       .run = q->drv.run,
			       .len = q->drv.run_len};
}

static uint32_t id_at(const struct vh_queue *q, const struct cursor *c)
{
	return q->drv.order[c->at] - 1u;
}

/* The used element at the cursor: how many requests it can complete at most, 0 = there is none. */
static uint32_t split_look(struct vh_queue *q, const struct cursor *c, uint32_t *id, uint32_t *len)
{
	const uint16_t idx = vhi_shm_load16_acquire(used(q) + IDX);
	const uint32_t VHI_SHM *elem = (const uint32_t VHI_SHM *)(used(q) + RING) + 2 * (c->pos & (q->num - 1));
	const uint32_t ready = (uint16_t)(idx - c->pos);

	if (ready) {
		*id = vhi_shm_load32(elem);
		*len = vhi_shm_load32(elem + 1);
	}
	return ready;
}

static uint32_t packed_look_used(struct vh_queue *q, const struct cursor *c, uint32_t *id, uint32_t *len)
{
	const uint64_t word = c->left ? packed_look(q, c->pos) : 0;

	if (!c->left || !packed_is(word, packed_used_marks(c->pos)))
		return 0;
	*id = packed_id(word);
	*len = packed_flags(word) & VHI_DESC_WRITE ? (uint32_t)word : 0;
	return c->left;
}

/* From one element to the next. False when there is none, or with a site. */
static bool next_run(struct vh_queue *q, struct cursor *c, uint32_t *site)
{
	uint32_t id = 0, n = 0, at = c->at;
	const uint32_t most = vhi_is_packed(q) ? packed_look_used(q, c, &id, &c->len) : split_look(q, c, &id, &c->len);

	if (VHI_REFUSE(VHI_SITE_QUEUE_ORDER_JUMP, most > c->left)) {
		*site = VHI_SITE_QUEUE_ORDER_JUMP;
		return false;
	}
	while (n < most && !c->run) {
		n++;
		if (q->drv.order[at] == id + 1)
			c->run = n;
		at = vhi_order_on(q->num, at);
	}
	if (VHI_REFUSE(VHI_SITE_QUEUE_ORDER_ID, most && !c->run)) {
		*site = VHI_SITE_QUEUE_ORDER_ID;
		return false;
	}
	return most;
}

/* Past the request at the cursor. */
static void step(const struct vh_queue *q, struct cursor *c, uint32_t id)
{
	c->pos = vhi_is_packed(q) ? packed_on(q->num, c->pos, q->slots[id].n_desc) : (uint16_t)(c->pos + 1);
	c->at = vhi_order_on(q->num, c->at);
	c->left--;
	c->run--;
}

uint32_t vhi_order_collect(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max, uint32_t *why)
{
	struct cursor c = cursor_here(q);
	uint32_t n = 0, site = 0;
	uint64_t bytes = 0;

	while (n < max && (c.run || next_run(q, &c, &site))) {
		const uint32_t id = id_at(q, &c);

		site = vhi_reap_one(q->slots, q->num, id, c.run > 1 ? q->slots[id].wr_len : c.len, &cpls[n]);
		if (VHI_UNLIKELY(site))
			break;
		q->layout->release(q, id);
		step(q, &c, id);
		bytes += cpls[n++].written;
	}
	vhi_move(&q->next_used, c.pos);
	q->drv.run = c.run;
	q->drv.run_len = c.len;
	if (n)
		vhi_reaped(q, n, bytes);
	else
		*why = site;
	return n;
}

int32_t vhi_order_reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max)
{
	uint32_t site = 0;
	const uint32_t n = vhi_order_collect(q, cpls, max, &site);

	return site ? vhi_queue_broke(q, site) : (int32_t)n;
}

bool vhi_order_more(const struct vh_queue *q)
{
	return q->role == VH_QUEUE_DRIVER && q->drv.run;
}

uint32_t vhi_order_completed(struct vh_queue *q, bool settle, uint16_t *pos, bool *good)
{
	struct cursor c = cursor_here(q);
	uint32_t n = 0, site = 0;

	for (; c.run || next_run(q, &c, &site); n++) {
		const uint32_t id = id_at(q, &c);

		if (settle)
			vhi_slot_state(&q->slots[id], VHI_SLOT_DONE);
		step(q, &c, id);
	}
	*good = !site;
	*pos = site ? q->next_used : c.pos;
	return site ? 0 : n;
}

void vhi_order_again(struct vh_queue *q)
{
	uint32_t at = vhi_order_back(q->num, q->drv.turn, q->in_flight);

	for (uint32_t i = 0; i < q->in_flight; i++) {
		const uint32_t id = q->drv.order[at] - 1u;

		if (q->slots[id].state == VHI_SLOT_IN_FLIGHT)
			q->layout->again(q, id);
		at = vhi_order_on(q->num, at);
	}
}
