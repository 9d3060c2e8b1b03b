/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Counters. Everything counts up from the start of the handle; what a connection has done is the difference to what
 * there was when it began.
 */
#include "vhi_slave.h"

#define AT(field) (uint16_t) offsetof(struct vh_slave_stats, field)

/* What is told of the present connection, and from what. */
static const struct {
	uint16_t from, to;
} since_begin[VHI_STATS_SINCE] = {
	{AT(messages_in), AT(conn_messages_in)},    {AT(messages_out), AT(conn_messages_out)},
	{AT(bytes_in), AT(conn_bytes_in)},	    {AT(bytes_out), AT(conn_bytes_out)},
	{AT(rejected), AT(conn_rejected)},	    {AT(queue_requests), AT(queue_requests)},
	{AT(queue_completed), AT(queue_completed)}, {AT(queue_failed), AT(queue_failed)},
	{AT(queue_bytes_in), AT(queue_bytes_in)},   {AT(queue_bytes_out), AT(queue_bytes_out)},
	{AT(queue_kicks), AT(queue_kicks)},	    {AT(queue_calls), AT(queue_calls)},
	{AT(queue_errors), AT(queue_errors)},
};

static uint64_t *field(struct vh_slave_stats *st, uint16_t at)
{
	return (uint64_t *)(void *)((uint8_t *)st + at);
}

void vhi_stats_add_channel(struct vhi_slave_counts *n, const struct vhi_chan *c)
{
	n->messages_in += c->messages_in;
	n->messages_out += c->messages_out;
	n->bytes_in += c->bytes_in;
	n->bytes_out += c->bytes_out;
}

static void add_queue(struct vh_slave_stats *st, struct vh_queue *q)
{
	struct vh_queue_stats of = {.size = sizeof(of)};

	vh_queue_get_stats(q, &of);
	st->queue_requests += of.requests;
	st->queue_completed += of.completed;
	st->queue_failed += of.failed;
	st->queue_bytes_in += of.bytes_in;
	st->queue_bytes_out += of.bytes_out;
	st->queue_kicks += of.kicks;
	st->queue_calls += of.calls;
	st->queue_errors += of.errors;
	st->queue_in_flight += of.in_flight;
	st->oldest_in_flight_ns = VHI_MAX(st->oldest_in_flight_ns, of.oldest_in_flight_ns);
}

struct vhi_slave_counts vhi_stats_counts(const struct vh_slave *s)
{
	struct vhi_slave_counts n = s->stats;

	if (s->conn.open)
		vhi_stats_add_channel(&n, &s->conn.main);
	if (s->conn.back)
		vhi_stats_add_channel(&n, s->conn.back);
	return n;
}

static struct vh_slave_stats since_new(const struct vh_slave *s)
{
	const struct vhi_slave_counts n = vhi_stats_counts(s);
	struct vh_slave_stats st = {.connections = n.connections,
				    .refused = n.refused,
				    .messages_in = n.messages_in,
				    .messages_out = n.messages_out,
				    .bytes_in = n.bytes_in,
				    .bytes_out = n.bytes_out,
				    .rejected = n.rejected,
				    .errors = n.errors};

	for (uint32_t i = 0; i < s->n_queues; i++)
		add_queue(&st, s->rings[i].q);
	return st;
}

void vhi_stats_begin(struct vh_slave *s)
{
	struct vh_slave_stats st = since_new(s);

	for (uint32_t i = 0; i < VHI_STATS_SINCE; i++)
		s->at_begin[i] = *field(&st, since_begin[i].from);
}

vh_rc vh_slave_get_stats(struct vh_slave *s, struct vh_slave_stats *out)
{
	struct vh_slave_stats st;
	vh_rc rc = vhi_slave_enter(s, "vh_slave_get_stats");

	if (rc)
		return rc;
	st = since_new(s);
	st.connected = s->conn.open;
	st.n_queues = s->n_queues;
	st.owed = s->conn.n_jobs;
	if (s->conn.jobs)
		st.oldest_owed_ns = vhi_now_ns() - s->conn.jobs->since_ns;
	for (uint32_t i = 0; i < VHI_STATS_SINCE; i++)
		*field(&st, since_begin[i].to) = *field(&st, since_begin[i].from) - s->at_begin[i];
	return vhi_slave_leave(s, vhi_out_fill(out, &st, sizeof(st), "vh_slave_get_stats"));
}
