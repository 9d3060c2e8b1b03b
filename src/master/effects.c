/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What a request and its reply change here. Features are in force when the request is sent, because those behind it
 * must fit already, and taken back when the reply refuses it. What is shared changes when the reply has come. Both go
 * with the ticket, so it does not matter whether anybody still waits for it.
 */
#include "vhi_master.h"

static uint64_t get_u64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* What a request replaces when it is sent, NULL for most. */
static uint64_t *replaced_by(struct vh_master *m, uint32_t request)
{
	switch (request) {
	case VHI_FE_SET_FEATURES:
		return &m->features.acked;
	case VHI_FE_SET_PROTOCOL_FEATURES:
		return &m->features.pf_acked;
	case VHI_FE_SET_OWNER:
		return &m->owned;
	default:
		return NULL;
	}
}

/* What it means that the back-end has done it. */
static void done(struct vh_master *m, uint32_t request, uint64_t value)
{
	if (request == VHI_FE_RESET_DEVICE || request == VHI_FE_RESET_OWNER || (request == VHI_FE_SET_STATUS && !value))
		vhi_shmem_reset(m);
}

void vhi_master_sent(struct vh_master *m, const struct vhi_request *rq, struct vhi_ticket *t)
{
	uint64_t *state = replaced_by(m, rq->id);

	m->last_request = rq->id;
	if (state && t)
		vhi_pending_of(t)->before = *state;
	if (state)
		*state = rq->size ? get_u64(rq->payload) : true;
	/* Nobody will say that it was refused. */
	if (!t && rq->effect.run)
		rq->effect.run(m, &rq->effect, true);
	if (!t)
		done(m, rq->id, rq->size == sizeof(uint64_t) ? get_u64(rq->payload) : 0);
}

/* One that was sent after it has replaced it again, and must not bring it back when it is refused too. */
static void take_back(struct vh_master *m, const struct vhi_ticket *t)
{
	uint64_t *state = replaced_by(m, t->request);
	struct vhi_ticket *later = m->tickets.expected.head;

	while (later && later->request != t->request)
		later = later->next;
	if (state)
		*(later ? &vhi_pending_of(later)->before : state) = vhi_pending_of(t)->before;
}

static uint32_t clamp(uint64_t v, uint32_t most)
{
	return v < 1 ? 1 : v > most ? most : (uint32_t)v;
}

/* @t is not in the list of expected replies any more. */
void vhi_master_replied(struct vh_master *m, const struct vhi_ticket *t)
{
	uint64_t v = t->size == 8 ? get_u64(t->payload) : 0;
	const struct vhi_effect *effect = &vhi_pending_of(t)->effect;
	bool refused = !t->own && v;

	if (refused)
		take_back(m, t);
	else
		done(m, t->request, get_u64(t->asked));
	if (t->own && m->listening)
		vhi_postcopy_learn(m, effect, t);
	if (effect->run)
		effect->run(m, effect, !refused);
	switch (t->request) {
	case VHI_FE_GET_FEATURES:
		m->features.offered = v;
		break;
	case VHI_FE_GET_PROTOCOL_FEATURES:
		m->features.pf_offered = v;
		break;
	case VHI_FE_GET_QUEUE_NUM:
		m->queue_num = clamp(v, VHI_MASTER_MAX_RINGS);
		break;
	case VHI_FE_GET_SHMEM_CONFIG:
		vhi_shmem_sizes(m, t->payload);
		break;
	case VHI_FE_GET_MAX_MEM_SLOTS:
		m->mem_slots = clamp(v, VH_MEM_MAX_REGIONS);
		break;
	default:
		break;
	}
}
