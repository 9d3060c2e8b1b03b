/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The rows of a handle, and when they are to be written again. */
#include "vhi_metrics.h"

void vhi_show_end(struct vhi_show *s)
{
	if (!s)
		return;
	while (s->n_queues)
		vhi_metrics_give(s->st, s->queues[--s->n_queues]);
	if (s->connection != UINT32_MAX)
		vhi_metrics_give(s->st, s->connection);
	vhi_metrics_put(s->st);
	vhi_free(s);
}

static int take_rows(struct vhi_show *s, uint32_t n_queues)
{
	int rc = vhi_metrics_take(s->st, VH_METRICS_CONNECTION, UINT32_MAX, &s->connection);

	for (; !rc && s->n_queues < n_queues; s->n_queues += !rc)
		rc = vhi_metrics_take(s->st, VH_METRICS_QUEUE, s->connection, &s->queues[s->n_queues]);
	return rc;
}

static int check_name(const char *who, const char *name)
{
	if (name && strlen(name) >= VH_METRICS_NAME_SIZE)
		return vhi_fail(-ENAMETOOLONG, VH_ERROR_ARGUMENT, 0, "%s: name has more than %u bytes", who,
				VH_METRICS_NAME_SIZE - 1);
	return 0;
}

int vhi_show_begin(const char *who, struct vh_metrics *st, const char *name, uint32_t n_queues, struct vhi_show **out)
{
	struct vhi_show *s;
	int rc = check_name(who, name);

	if (rc)
		return rc;
	s = vhi_calloc(1, sizeof(*s) + n_queues * sizeof(s->queues[0]));
	if (!s)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "%s: no memory", who);
	s->st = vhi_metrics_get(st);
	s->connection = UINT32_MAX;
	rc = take_rows(s, n_queues);
	if (rc) {
		vhi_show_end(s);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "%s: the page has no room for %u rows more; see max_rows", who,
				n_queues + 1);
	}
	vhi_metrics_write(st, s->connection, NULL, 0, name ? name : "", NULL);
	s->due = true;
	*out = s;
	return 0;
}

int vhi_show_change(const char *who, struct vh_metrics *st, const char *name, uint32_t n_queues, struct vhi_show **s)
{
	struct vhi_show *old = *s;
	int rc;

	/* The same rows under another name: a full page has no room for both. */
	if (old && old->st == st) {
		rc = check_name(who, name);
		if (!rc)
			vhi_metrics_write(st, old->connection, NULL, 0, name ? name : "", NULL);
		return rc;
	}
	if (st) {
		rc = vhi_show_begin(who, st, name, n_queues, s);
		if (rc)
			return rc;
	} else {
		*s = NULL;
	}
	vhi_show_end(old);
	return 0;
}

uint64_t vhi_show_deadline(const struct vhi_show *s)
{
	return s && s->due ? s->next_ns : UINT64_MAX;
}

void vhi_show_connection(struct vhi_show *s, const uint64_t values[VHI_CONNECTION_PROPS], const char *address)
{
	vhi_metrics_write(s->st, s->connection, values, VHI_CONNECTION_PROPS, NULL, address);
	__atomic_store_n(&s->next_ns, values[VHI_CONNECTION_WRITTEN] + s->st->interval_ms * UINT64_C(1000000),
			 __ATOMIC_RELAXED);
}

/* How often who writes looks again. Others may come all the time, as those do who poll. */
#define ROUNDS 4

/* What we look at from here on is not older than what somebody wrote who saw nobody writing. */
static bool begin(struct vhi_show *s)
{
	const bool ours = !__atomic_exchange_n(&s->writing, 1, __ATOMIC_ACQUIRE);

	if (ours)
		s->rounds = 1;
	vhi_full_fence();
	return ours;
}

/* Who writes at this moment may have looked before what is news: then it looks again, and if it has just gone, we do. */
static bool ask_again(struct vhi_show *s)
{
	__atomic_store_n(&s->again, 1, __ATOMIC_SEQ_CST);
	return !__atomic_load_n(&s->writing, __ATOMIC_SEQ_CST) && __atomic_exchange_n(&s->again, 0, __ATOMIC_SEQ_CST) &&
	       begin(s);
}

bool vhi_show_turn(struct vhi_show *s, uint64_t now, bool at_once)
{
	if (at_once)
		return begin(s) || ask_again(s);
	return now >= __atomic_load_n(&s->next_ns, __ATOMIC_RELAXED) && begin(s);
}

/* After the last round it is due at once: the next one who comes, as somebody did just now, writes what came meanwhile. */
bool vhi_show_turned(struct vhi_show *s)
{
	const uint32_t rounds = s->rounds;

	__atomic_store_n(&s->writing, 0, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&s->again, __ATOMIC_SEQ_CST))
		return false;
	if (rounds == ROUNDS) {
		__atomic_store_n(&s->next_ns, 0, __ATOMIC_RELAXED);
		return false;
	}
	if (!__atomic_exchange_n(&s->again, 0, __ATOMIC_SEQ_CST) || !begin(s))
		return false;
	s->rounds = rounds + 1;
	return true;
}

bool vhi_show_flow(struct vhi_show *s, uint32_t i, struct vh_queue *q, uint64_t now)
{
	const uint32_t in_flight = vhi_queue_in_flight(q);

	/* The first one is the oldest; which one is after that is seen when all of the row is written. */
	if (!in_flight || !vhi_metrics_get_value(s->st, s->queues[i], VHI_QUEUE_OLDEST))
		vhi_metrics_put_value(s->st, s->queues[i], VHI_QUEUE_OLDEST, in_flight ? now : 0);
	vhi_metrics_put_value(s->st, s->queues[i], VHI_QUEUE_IN_FLIGHT, in_flight);
	vhi_metrics_put_value(s->st, s->queues[i], VHI_QUEUE_WRITTEN, now);
	vhi_full_fence();
	if (VHI_LIKELY(!__atomic_load_n(&s->writing, __ATOMIC_RELAXED)))
		return vhi_show_turn(s, now, false);
	return ask_again(s);
}

bool vhi_show_queue(struct vhi_show *s, uint32_t i, struct vh_queue *q, uint64_t now)
{
	struct vhi_queue_seen seen;
	const struct vh_queue_stats *st = &seen.stats;

	vhi_queue_see(q, &seen);
	const uint64_t values[VHI_QUEUE_PROPS] = {
		[VHI_QUEUE_INDEX] = seen.index,
		[VHI_QUEUE_STATE] = st->state,
		[VHI_QUEUE_ENABLED] = seen.enabled,
		[VHI_QUEUE_LAYOUT] = seen.packed,
		[VHI_QUEUE_SIZE] = seen.num,
		[VHI_QUEUE_AVAIL] = seen.has_indices ? seen.avail : VH_METRICS_UNKNOWN,
		[VHI_QUEUE_USED] = seen.has_indices ? seen.used : VH_METRICS_UNKNOWN,
		[VHI_QUEUE_IN_FLIGHT] = st->in_flight,
		/* A request of this very tick of the coarse clock has no age yet. */
		[VHI_QUEUE_OLDEST] = st->in_flight ? now - st->oldest_in_flight_ns : 0,
		[VHI_QUEUE_REQUESTS] = st->requests,
		[VHI_QUEUE_COMPLETED] = st->completed,
		[VHI_QUEUE_FAILED] = st->failed,
		[VHI_QUEUE_BYTES_IN] = st->bytes_in,
		[VHI_QUEUE_BYTES_OUT] = st->bytes_out,
		[VHI_QUEUE_KICKS] = st->kicks,
		[VHI_QUEUE_CALLS] = st->calls,
		[VHI_QUEUE_ERRORS] = st->errors,
		[VHI_QUEUE_SITE] = st->broken_site,
		[VHI_QUEUE_SEG_WAITS] = st->seg_waits,
		[VHI_QUEUE_IOTLB_MISSES] = st->iotlb_misses,
		[VHI_QUEUE_WRITTEN] = now,
	};
	vhi_metrics_write(s->st, s->queues[i], values, VHI_QUEUE_PROPS, NULL, NULL);
	return st->in_flight;
}
