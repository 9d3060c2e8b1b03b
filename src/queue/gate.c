/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The gate: one data path call at a time, and control changes from other threads between them.
 *
 * It is biased. A thread that drives a queue for a while gets a pass, and the gate is given to it. From then on it enters
 * by a store and a load, and leaves by a store and a load: "I am inside" (or not any more), "is my pass still good?". Who
 * else wants the gate holds the lock, and does the same the other way round: "the pass is not good any more", "is it
 * inside?". Of two threads that store first and load then, each with a fence between, one at least sees the other. The
 * owner of the pass has no fence; the other one makes it for both: membarrier() is a fence on every processor that runs a
 * thread of this process. So either the owner is seen inside, or it sees that its pass is gone.
 *
 *  - It is inside: it owes a visit. The gate is busy until it leaves, and it will find its pass gone and take the lock.
 *  - It is not: the gate is free, and an attempt to enter that is under way finds out and goes the other way.
 *
 * Without a pass a call takes the gate by one compare-and-swap and gives it back by another. This is what remains where
 * the kernel has no membarrier(), or a filter refuses it.
 *
 * A controller holds the lock and marks the gate; if no call is in progress it applies its change at once, else the call
 * does on its way out. A call that finds the gate marked but not busy waits for the lock: nothing slow or blocking is
 * done under it. Only a start waits for a call to leave (it must answer, and a call on a stopped queue is short); the gate
 * is then handed to it, so that a thread that polls can't keep it out.
 */
#include "vhi_vring.h"

#include <linux/membarrier.h>

/* Nobody has one. */
struct vhi_pass vhi_no_pass;

enum { FENCE_UNKNOWN, FENCE_READY, FENCE_REFUSED };

static uint32_t fence; /* atomic: whether membarrier() works; a child of fork() inherits both */

void vhi_gate_prepare(void)
{
	if (__atomic_load_n(&fence, __ATOMIC_RELAXED) == FENCE_UNKNOWN &&
	    !vhi_sys.membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED))
		__atomic_store_n(&fence, FENCE_READY, __ATOMIC_RELAXED);
}

static void fence_everywhere(void)
{
	if (!vhi_sys.membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return;
	/* A filter that came after the registration. No more passes; what was stored 10 ms ago is in memory by now. */
	__atomic_store_n(&fence, FENCE_REFUSED, __ATOMIC_RELAXED);
	vhi_full_fence();
	vhi_sys.poll(NULL, 0, 10);
}

/* Lock is held. From here on the gate says all. */
static void withdraw(struct vh_queue *q)
{
	struct vhi_pass *pass = q->pass;
	uint32_t gate = 0;

	if (pass == &vhi_no_pass)
		return;
	__atomic_store_n(&q->pass, &vhi_no_pass, __ATOMIC_RELEASE);
	if (pass->thread == vhi_thread()) {
		q->in_row = q->price; /* it gets it back at its next call */
	} else {
		fence_everywhere();
		__atomic_store_n(&q->price, VHI_MIN(2 * q->price, VHI_PASS_PRICE_MAX), __ATOMIC_RELAXED);
	}
	if (__atomic_load_n(&pass->inside, __ATOMIC_ACQUIRE)) {
		q->owed = pass;
		gate = VHI_GATE_BUSY | VHI_GATE_OWED;
	}
	__atomic_store_n(&q->gate, gate, __ATOMIC_RELEASE);
}

static bool gate_is(struct vh_queue *q, uint32_t gate)
{
	return __atomic_load_n(&q->gate, __ATOMIC_RELAXED) == gate;
}

static bool take(struct vh_queue *q, uint32_t *gate)
{
	*gate = 0;
	return __atomic_compare_exchange_n(&q->gate, gate, VHI_GATE_BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static int enter_slow(struct vh_queue *q)
{
	uint32_t gate;

	pthread_mutex_lock(&q->lock);
	withdraw(q);
	while (!take(q, &gate) && !(gate & VHI_GATE_BUSY)) {
		/* Handed to a controller that has not woken up yet. */
		pthread_cond_wait(&q->left, &q->lock);
		withdraw(q);
	}
	pthread_mutex_unlock(&q->lock);
	if (!gate)
		return 0;
	return vhi_fail_at(-EBUSY, VH_ERROR_STATE, 0, q->index, VH_ERROR_NONE,
			   "queue %u: another thread is inside; use a queue from one thread at a time", q->index);
}

/* Lock is held. NULL: too many threads have one. */
static struct vhi_pass *pass_of(struct vh_queue *q, uintptr_t thread)
{
	for (uint32_t i = 0; i < VHI_PASSES; i++) {
		struct vhi_pass *pass = &q->passes[i];

		if (!pass->thread)
			__atomic_store_n(&pass->thread, thread, __ATOMIC_RELAXED);
		if (pass->thread == thread)
			return pass;
	}
	return NULL;
}

/* The gate is held, by compare-and-swap. Goes on by a pass if nobody waits. */
static void give(struct vh_queue *q)
{
	struct vhi_pass *pass;

	q->in_row = 0;
	if (__atomic_load_n(&fence, __ATOMIC_RELAXED) != FENCE_READY)
		return;
	pthread_mutex_lock(&q->lock);
	pass = q->waiting || !gate_is(q, VHI_GATE_BUSY) ? NULL : pass_of(q, q->last);
	if (pass) {
		__atomic_store_n(&pass->inside, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&q->gate, VHI_GATE_GIVEN, __ATOMIC_RELAXED);
		__atomic_store_n(&q->pass, pass, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&q->lock);
}

/*
 * Without a pass. Who makes enough calls in a row gets one. Each time when another thread took it away it costs twice as
 * many, so that a queue that is passed around, or often changed, is not slowed down by taking passes away.
 */
static int enter_other(struct vh_queue *q)
{
	const uintptr_t thread = vhi_thread();
	uint32_t gate;
	int rc = take(q, &gate) ? 0 : enter_slow(q);

	if (rc)
		return rc;
	if (q->last != thread) {
		q->last = thread;
		q->in_row = 0;
	}
	if (++q->in_row >= __atomic_load_n(&q->price, __ATOMIC_RELAXED))
		give(q);
	return 0;
}

/* Opens the gate, or hands it to who waits; lock is held on entry, and released before the hook is called. */
static void release(struct vh_queue *q)
{
	const struct vhi_queue_hooks hooks = q->hooks;
	uint32_t after = q->after;

	q->after = 0;
	if (after & VHI_AFTER_ERR)
		vhi_queue_signal_err(q);
	if (after & VHI_AFTER_SELF)
		vhi_queue_wake(q);
	if (q->owed)
		__atomic_store_n(&q->owed->inside, 0, __ATOMIC_RELEASE);
	q->owed = NULL;
	if (gate_is(q, VHI_GATE_GIVEN))
		__atomic_store_n(&q->pass->inside, 0, __ATOMIC_RELEASE);
	else
		__atomic_store_n(&q->gate, q->waiting ? VHI_GATE_PENDING : 0, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&q->left);
	pthread_mutex_unlock(&q->lock);
	if (after & VHI_AFTER_WAKE && hooks.wake)
		hooks.wake(hooks.ctx);
}

/* Lock is held. */
static void leave(struct vh_queue *q)
{
	if (__atomic_load_n(&q->gate, __ATOMIC_RELAXED) & VHI_GATE_PENDING) {
		vhi_queue_apply(q);
		q->after |= VHI_AFTER_WAKE;
	}
	release(q);
}

static void leave_by_gate(struct vh_queue *q)
{
	uint32_t busy = VHI_GATE_BUSY;

	if (!q->after && __atomic_compare_exchange_n(&q->gate, &busy, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&q->lock);
	leave(q);
}

/* The pass was taken away before this thread had said that it is not inside, or after; if before, others rely on it. */
void vhi_queue_leave_late(struct vh_queue *q, const struct vhi_pass *pass)
{
	pthread_mutex_lock(&q->lock);
	if (q->owed == pass)
		leave(q);
	else
		pthread_mutex_unlock(&q->lock);
}

/* The same for one that said it is inside. */
int vhi_queue_enter_late(struct vh_queue *q, struct vhi_pass *pass)
{
	__atomic_store_n(&pass->inside, 0, __ATOMIC_RELEASE);
	vhi_queue_leave_late(q, pass);
	return enter_other(q);
}

int vhi_queue_enter_slow(struct vh_queue *q, struct vhi_pass *late)
{
	return late ? vhi_queue_enter_late(q, late) : enter_other(q);
}

int32_t vhi_queue_leave_slow(struct vh_queue *q, const struct vhi_pass *late, int32_t rc)
{
	if (late)
		vhi_queue_leave_late(q, late);
	else
		leave_by_gate(q);
	return rc;
}

/* Lock is held. */
static bool mark(struct vh_queue *q)
{
	withdraw(q);
	return !(__atomic_fetch_or(&q->gate, VHI_GATE_PENDING, __ATOMIC_ACQ_REL) & VHI_GATE_BUSY);
}

bool vhi_queue_begin(struct vh_queue *q)
{
	pthread_mutex_lock(&q->lock);
	return mark(q);
}

void vhi_queue_own(struct vh_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->waiting++;
	while (!mark(q))
		pthread_cond_wait(&q->left, &q->lock);
	q->waiting--;
}

int vhi_queue_finish(struct vh_queue *q, bool ours)
{
	if (!ours) {
		pthread_mutex_unlock(&q->lock);
		return -EINPROGRESS;
	}
	vhi_queue_apply(q);
	release(q);
	return 0;
}

void vhi_queue_abandon(struct vh_queue *q, bool ours)
{
	if (ours)
		release(q);
	else
		pthread_mutex_unlock(&q->lock);
}

bool vhi_queue_settled(struct vh_queue *q)
{
	return !(__atomic_load_n(&q->gate, __ATOMIC_ACQUIRE) & VHI_GATE_PENDING);
}
