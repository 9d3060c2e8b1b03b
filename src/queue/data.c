/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The calls of the data path: what all layouts of a ring have in common. */
#include "vhi_chain.h"
#include "vhi_in_order.h"
#include "vhi_push.h"

__attribute__((noinline, cold)) static int wrong_args(const struct vh_queue *q, const char *call, uint32_t role)
{
	if (q && q->role != role)
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, q->index, VH_ERROR_NONE,
				   "%s: queue %u is not on the %s side", call, q->index,
				   role == VH_QUEUE_DEVICE ? "device" : "driver");
	return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: the queue and the array must not be NULL", call);
}

static bool runs(const struct vh_queue *q)
{
	return (q->flags & (VHI_QF_STARTED | VHI_QF_BROKEN)) == VHI_QF_STARTED;
}

/* What a call returns that finds its queue closed. */
static int closed(struct vh_queue *q)
{
	return q->flags & VHI_QF_BROKEN ? vhi_queue_raise(q) : 0;
}

/* What the IOTLB says by now. */
__attribute__((noinline)) static void behind(struct vh_queue *q)
{
	uint32_t site = q->flags & VHI_QF_BROKEN ? 0 : vhi_behind_sync(q);

	if (site)
		vhi_queue_broke(q, site);
}

__attribute__((noinline)) static int32_t take_rarely(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	if (q->flags & VHI_QF_BEHIND)
		behind(q);
	if (q->flags & VHI_QF_SHUT)
		return closed(q);
	if (q->flags & VHI_QF_TRACKED)
		return vhi_track_take(q, reqs, max);
	return vhi_taken(q, q->layout->take(q, reqs, max));
}

static inline int32_t pop(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	if (VHI_UNLIKELY(q->flags & (VHI_QF_SHUT | VHI_QF_BEHIND | VHI_QF_TRACKED)))
		return vhi_queue_leave_with(q, take_rarely(q, reqs, max));
	return q->layout->pop(q, reqs, max);
}

__attribute__((noinline)) static int32_t enter_and_pop(struct vh_queue *q, struct vh_req *reqs, uint32_t max,
						       struct vhi_pass *late)
{
	return vhi_queue_enter_slow(q, late) ? -EBUSY : pop(q, reqs, max);
}

vh_count vh_queue_pop(struct vh_queue *q, struct vh_req *reqs, uint32_t max)
{
	struct vhi_pass *late;

	if (VHI_UNLIKELY(!q || q->role != VH_QUEUE_DEVICE || (!reqs && max)))
		return wrong_args(q, "vh_queue_pop", VH_QUEUE_DEVICE);
	return vhi_queue_enter_fast(q, &late) ? pop(q, reqs, max) : enter_and_pop(q, reqs, max, late);
}

__attribute__((noinline, cold)) static int not_in_flight(const struct vh_queue *q, uint64_t token)
{
	return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, q->index, VH_ERROR_NONE,
			   "vh_queue_push: token 0x%llx is not in flight on queue %u, or is named twice",
			   (unsigned long long)token, q->index);
}

static inline bool is_stale(const struct vh_queue *q, const struct vh_cpl *cpl)
{
	return cpl->token >> 32 != q->epoch;
}

/*
 * All or nothing: every token names a request in flight, once, or is stale. So many are claimed. 1 when some are stale, or
 * -EINVAL.
 */
static int claim_rest(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n, uint32_t claimed)
{
	uint32_t flags = 0, i = claimed;
	int rc = 0;

	for (; i < n && rc >= 0; i++) {
		const uint32_t slot = (uint32_t)cpls[i].token;

		if (is_stale(q, &cpls[i]))
			rc = 1;
		else if (slot >= q->num || q->slots[slot].state != VHI_SLOT_IN_FLIGHT)
			rc = not_in_flight(q, cpls[i].token);
		else
			vhi_slot_state(&q->slots[slot], VHI_SLOT_CLAIMED);
	}
	for (uint32_t k = 0; k < n; k++)
		flags |= cpls[k].flags;
	if (rc < 0) {
		i--;
	} else if (flags) {
		rc = vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, q->index, VH_ERROR_NONE,
				 "vh_queue_push: vh_cpl.flags must be 0");
	}
	while (rc < 0 && i--)
		if (!is_stale(q, &cpls[i]))
			vhi_slot_state(&q->slots[(uint32_t)cpls[i].token], VHI_SLOT_IN_FLIGHT);
	return rc;
}

/* A queue that is broken publishes nothing, but its requests end; who goes on with the ring begins with them. */
static int drop(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		vhi_slot_state(&q->slots[(uint32_t)cpls[i].token], VHI_SLOT_FREE);
	if (q->flags & VHI_QF_IN_ORDER)
		n += vhi_order_forget(q);
	q->dropped += n;
	vhi_in_flight(q, q->in_flight - n);
	return vhi_queue_raise(q);
}

static int publish(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	return q->flags & VHI_QF_TRACKED ? vhi_track_publish(q, cpls, n) : q->layout->publish(q, cpls, n);
}

/* The data is in the log before the driver can see that it is there; the ring itself can only be logged afterwards. */
static int complete(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	const uint16_t old = q->next_used;
	int rc = 0;

	if (q->flags & VHI_QF_WATCHED)
		q->after |= VHI_AFTER_WAKE;
	if (q->flags & VHI_QF_LOGGED)
		vhi_queue_log_data(q, cpls, n);
	if (q->flags & VHI_QF_BROKEN)
		return drop(q, cpls, n);
	if (q->flags & VHI_QF_IN_ORDER) {
		n = vhi_order_hold(q, cpls, n);
		cpls = q->dev.run;
	}
	if (q->flags & VHI_QF_BLOCKS)
		vhi_chain_put_blocks(q, cpls, n);
	if (n)
		rc = publish(q, cpls, n);
	if (n && q->flags & VHI_QF_LOGGED) {
		q->layout->log_used(q, cpls, n, old);
		vhi_queue_log_flush(q);
	}
	if (q->flags & VHI_QF_COALESCED)
		vhi_coalesced(q, n);
	if (q->flags & VHI_QF_SHUT && !q->in_flight)
		q->after |= VHI_AFTER_WAKE;
	return rc;
}

static int stale(const struct vh_queue *q, const char *call)
{
	return vhi_fail_at(-ESTALE, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
			   "%s: queue %u was stopped since a request was popped; that request is dropped", call,
			   q->index);
}

/* Claimed requests among stale ones: these are dropped, those are completed, in pieces as they lie. */
__attribute__((noinline, cold)) static int complete_among_stale(struct vh_queue *q, const struct vh_cpl *cpls,
								uint32_t n)
{
	uint32_t from = 0;
	int rc = 0;

	for (uint32_t i = 0; i <= n; i++) {
		if (i < n && !is_stale(q, &cpls[i]))
			continue;
		if (i > from) {
			int one = complete(q, cpls + from, i - from);

			rc = rc ? rc : one;
		}
		if (i < n)
			vhi_dead_drop(q, cpls[i].token);
		from = i + 1;
	}
	return rc ? rc : stale(q, "vh_queue_push");
}

int vhi_push_poisoned(struct vh_queue *q, uint32_t n)
{
	vhi_ended(q, n);
	q->dropped += n;
	return vhi_queue_broke(q, VHI_SITE_QUEUE_POISONED);
}

int vhi_push_odd(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n, uint32_t claimed)
{
	const int rc = claim_rest(q, cpls, n, claimed);

	return rc > 0 ? complete_among_stale(q, cpls, n) : rc;
}

__attribute__((noinline)) static int push_rarely(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	uint32_t claimed;

	if (!n)
		return 0;
	if (!vhi_claim(q, cpls, n, &claimed))
		return vhi_push_odd(q, cpls, n, claimed);
	return complete(q, cpls, n);
}

/* What has to be done besides, or instead, when a request is completed. */
#define PUSH_RARELY                                                                                        \
	(VHI_QF_SHUT | VHI_QF_BROKEN | VHI_QF_LOGGED | VHI_QF_TRACKED | VHI_QF_WATCHED | VHI_QF_IN_ORDER | \
	 VHI_QF_COALESCED | VHI_QF_BLOCKS)

static inline int32_t push(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	if (VHI_UNLIKELY(!n || q->flags & PUSH_RARELY))
		return vhi_queue_leave_with(q, push_rarely(q, cpls, n));
	return q->layout->push(q, cpls, n);
}

__attribute__((noinline)) static int32_t enter_and_push(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n,
							struct vhi_pass *late)
{
	return vhi_queue_enter_slow(q, late) ? -EBUSY : push(q, cpls, n);
}

vh_rc vh_queue_push(struct vh_queue *q, const struct vh_cpl *cpls, uint32_t n)
{
	struct vhi_pass *late;

	if (VHI_UNLIKELY(!q || q->role != VH_QUEUE_DEVICE || (!cpls && n)))
		return wrong_args(q, "vh_queue_push", VH_QUEUE_DEVICE);
	return vhi_queue_enter_fast(q, &late) ? push(q, cpls, n) : enter_and_push(q, cpls, n, late);
}

/* What is not in flight may have been, when the queue was stopped. */
__attribute__((noinline, cold)) static int unpop_others(struct vh_queue *q, uint32_t n)
{
	if (n > q->in_flight && vhi_dead_drop_newest(q, n))
		return stale(q, "vh_queue_unpop");
	return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, q->index, VH_ERROR_NONE,
			   "vh_queue_unpop: the newest %u requests of queue %u are not all in flight", n, q->index);
}

static int32_t give_back(struct vh_queue *q, uint32_t n)
{
	return q->flags & VHI_QF_TRACKED ? vhi_track_give_back(q, n) : q->layout->give_back(q, n);
}

vh_rc vh_queue_unpop(struct vh_queue *q, uint32_t n)
{
	int rc = 0;

	if (!q || q->role != VH_QUEUE_DEVICE)
		return wrong_args(q, "vh_queue_unpop", VH_QUEUE_DEVICE);
	if (vhi_queue_enter(q))
		return -EBUSY;
	if (n > q->in_flight || (n && give_back(q, n)))
		rc = unpop_others(q, n);
	if (VHI_UNLIKELY(q->flags & VHI_QF_COALESCED))
		vhi_coalesced(q, 0);
	if (VHI_UNLIKELY(q->flags & VHI_QF_WATCHED))
		q->after |= VHI_AFTER_WAKE;
	vhi_queue_leave(q);
	return rc;
}

static inline int32_t submit(struct vh_queue *q, const struct vh_req *reqs, uint32_t n)
{
	if (VHI_UNLIKELY(q->flags & VHI_QF_SHUT))
		return vhi_queue_leave_with(q, closed(q));
	return q->layout->submit(q, reqs, n);
}

__attribute__((noinline)) static int32_t enter_and_submit(struct vh_queue *q, const struct vh_req *reqs, uint32_t n,
							  struct vhi_pass *late)
{
	return vhi_queue_enter_slow(q, late) ? -EBUSY : submit(q, reqs, n);
}

vh_count vh_queue_submit(struct vh_queue *q, const struct vh_req *reqs, uint32_t n)
{
	struct vhi_pass *late;

	if (VHI_UNLIKELY(!q || q->role != VH_QUEUE_DRIVER || (!reqs && n)))
		return wrong_args(q, "vh_queue_submit", VH_QUEUE_DRIVER);
	return vhi_queue_enter_fast(q, &late) ? submit(q, reqs, n) : enter_and_submit(q, reqs, n, late);
}

/* STARTED alone: nothing rare is to be done. */
#define REAP_FLAGS (VHI_QF_STARTED | VHI_QF_BROKEN | VHI_QF_IN_ORDER | VHI_QF_EARLY)

__attribute__((noinline)) static int32_t reap_rarely(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max)
{
	if (!runs(q))
		return closed(q);
	if (q->flags & VHI_QF_EARLY)
		return vhi_early_reap(q, cpls, max);
	return vhi_poisoned(q) ? vhi_queue_broke(q, VHI_SITE_QUEUE_POISONED) : vhi_order_reap(q, cpls, max);
}

static inline int32_t reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max)
{
	if (VHI_UNLIKELY((q->flags & REAP_FLAGS) != VHI_QF_STARTED))
		return vhi_queue_leave_with(q, reap_rarely(q, cpls, max));
	return q->layout->reap(q, cpls, max);
}

__attribute__((noinline)) static int32_t enter_and_reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max,
							struct vhi_pass *late)
{
	return vhi_queue_enter_slow(q, late) ? -EBUSY : reap(q, cpls, max);
}

vh_count vh_queue_reap(struct vh_queue *q, struct vh_cpl *cpls, uint32_t max)
{
	struct vhi_pass *late;

	if (VHI_UNLIKELY(!q || q->role != VH_QUEUE_DRIVER || (!cpls && max)))
		return wrong_args(q, "vh_queue_reap", VH_QUEUE_DRIVER);
	return vhi_queue_enter_fast(q, &late) ? reap(q, cpls, max) : enter_and_reap(q, cpls, max, late);
}

/* Empties the queue's fd. The owner of the gate. */
static void drain(struct vh_queue *q)
{
	bool signalled = !q->acked && !q->hooks.edges && vhi_queue_drain_in(q);

	vhi_queue_drain_wake(q);
	if (signalled && q->idle)
		vhi_queue_harvest(q);
	q->acked = false;
	q->idle = true;
}

/* The peer put something in that was not taken. The queue runs. */
static bool waits(struct vh_queue *q)
{
	return q->layout->more(q) || (q->flags & VHI_QF_TRACKED && vhi_track_more(q)) ||
	       (q->flags & VHI_QF_IN_ORDER && vhi_order_more(q)) || q->flags & VHI_QF_EARLY;
}

/* Something that comes could be taken. The queue runs. */
static bool may_take(struct vh_queue *q)
{
	return (!(q->flags & VHI_QF_SHUT) || q->role == VH_QUEUE_DRIVER) && !q->starved &&
	       !(q->behind.iotlb && vhi_behind_sleeps(q));
}

/* Ask for notifications, then look. The owner of the gate. */
static int32_t arm(struct vh_queue *q)
{
	int32_t rc = VH_QUEUE_SLEEP;

	if (q->role == VH_QUEUE_DEVICE && q->dev.late)
		vhi_stamp(q);
	if (VHI_UNLIKELY(q->flags & VHI_QF_COALESCED))
		vhi_coalesce_flush(q);
	if (VHI_UNLIKELY(q->behind.iotlb))
		behind(q);
	if (!runs(q)) {
		rc = closed(q);
	} else if (may_take(q)) {
		q->layout->arm(q, true);
		if (VHI_UNLIKELY(q->flags & VHI_QF_LOGGED))
			vhi_queue_log_event(q);
		vhi_full_fence();
		if (waits(q))
			rc = VH_QUEUE_MORE;
		if (vhi_poisoned(q))
			rc = vhi_queue_broke(q, VHI_SITE_QUEUE_POISONED);
	}
	return rc;
}

vh_count vh_queue_arm(struct vh_queue *q)
{
	int32_t rc = VH_QUEUE_MORE;

	if (!q)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_queue_arm: queue is NULL");
	if (vhi_queue_enter(q))
		return -EBUSY;
	/* What a driver finds without asking costs no system call, here or in the device. */
	if (q->role == VH_QUEUE_DEVICE || !runs(q) || !waits(q)) {
		drain(q);
		rc = arm(q);
	}
	vhi_queue_leave(q);
	return rc;
}

vh_count vh_queue_look(struct vh_queue *q)
{
	int32_t rc;

	if (!q)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_queue_look: queue is NULL");
	if (vhi_queue_enter(q))
		return -EBUSY;
	if (VHI_UNLIKELY(q->behind.iotlb))
		behind(q);
	rc = !runs(q) ? closed(q) : may_take(q) && waits(q) ? VH_QUEUE_MORE : VH_QUEUE_SLEEP;
	vhi_queue_leave(q);
	return rc;
}

int vhi_queue_doze(struct vh_queue *q, bool called)
{
	int rc;

	if (vhi_queue_enter(q))
		return -EBUSY;
	if (called) {
		vhi_queue_count_in(q);
		q->drv.counted = true;
	}
	vhi_queue_drain_wake(q);
	rc = arm(q);
	vhi_queue_leave(q);
	return rc;
}

vh_rc vh_queue_disarm(struct vh_queue *q)
{
	if (!q)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_queue_disarm: queue is NULL");
	if (vhi_queue_enter(q))
		return -EBUSY;
	if (q->flags & VHI_QF_STARTED && !q->behind.parked) {
		q->layout->arm(q, false);
		if (VHI_UNLIKELY(q->flags & VHI_QF_LOGGED))
			vhi_queue_log_event(q);
	}
	vhi_queue_leave(q);
	return 0;
}
