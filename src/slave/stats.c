/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Counters. Everything counts up from the start of the handle; what a connection has done is the difference to what
 * there was when it began.
 */
#include "vhi_slave.h"

void vhi_stats_add_channel(struct vh_slave_stats *st, const struct vhi_chan *c)
{
	st->messages_in += c->messages_in;
	st->messages_out += c->messages_out;
	st->bytes_in += c->bytes_in;
	st->bytes_out += c->bytes_out;
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

static struct vh_slave_stats since_new(const struct vh_slave *s)
{
	struct vh_slave_stats st = s->stats;

	if (s->conn.open)
		vhi_stats_add_channel(&st, &s->conn.main);
	if (s->conn.back)
		vhi_stats_add_channel(&st, s->conn.back);
	for (uint32_t i = 0; i < s->n_queues; i++)
		add_queue(&st, s->rings[i].q);
	return st;
}

void vhi_stats_begin(struct vh_slave *s)
{
	s->at_begin = since_new(s);
}

vh_rc vh_slave_get_stats(struct vh_slave *s, struct vh_slave_stats *out)
{
	const struct vh_slave_stats *begin;
	struct vh_slave_stats st;
	vh_rc rc = vhi_slave_enter(s, "vh_slave_get_stats");

	if (rc)
		return rc;
	begin = &s->at_begin;
	st = since_new(s);
	st.connected = s->conn.open;
	st.n_queues = s->n_queues;
	st.owed = s->conn.n_jobs;
	if (s->conn.jobs)
		st.oldest_owed_ns = vhi_now_ns() - s->conn.jobs->since_ns;
	st.conn_messages_in = st.messages_in - begin->messages_in;
	st.conn_messages_out = st.messages_out - begin->messages_out;
	st.conn_bytes_in = st.bytes_in - begin->bytes_in;
	st.conn_bytes_out = st.bytes_out - begin->bytes_out;
	st.conn_rejected = st.rejected - begin->rejected;
	st.queue_requests -= begin->queue_requests;
	st.queue_completed -= begin->queue_completed;
	st.queue_failed -= begin->queue_failed;
	st.queue_bytes_in -= begin->queue_bytes_in;
	st.queue_bytes_out -= begin->queue_bytes_out;
	st.queue_kicks -= begin->queue_kicks;
	st.queue_calls -= begin->queue_calls;
	st.queue_errors -= begin->queue_errors;
	return vhi_slave_leave(s, vhi_out_fill(out, &st, sizeof(st), "vh_slave_get_stats"));
}
