/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * What stands of a back-end on a page that others look at. It is written at the end of a round: at once when messages came
 * or the connection changed, else as often as the page's interval allows, for which the timer cares.
 */
#include "vhi_slave.h"

#include <stdio.h>
#include <sys/un.h>

static uint32_t state_of(const struct vh_slave *s)
{
	if (s->paused)
		return VHI_IS_PAUSED;
	if (s->conn.open)
		return VHI_IS_CONNECTED;
	if (s->listen_fd >= 0)
		return VHI_IS_LISTENING;
	return s->dial.address ? VHI_IS_CONNECTING : VHI_IS_IDLE;
}

static int socket_of(const struct vh_slave *s)
{
	return s->listen_fd >= 0 || !s->conn.open ? s->listen_fd : vhi_chan_fd(&s->conn.main);
}

/* A socket that was given to us as an fd knows its name too. */
static void put_address(const struct vh_slave *s, char out[VH_METRICS_ADDRESS_SIZE])
{
	struct sockaddr_un at = {0};
	socklen_t len = sizeof(at);
	const int fd = socket_of(s);
	size_t n;

	*out = 0;
	if (s->dial.address) {
		snprintf(out, VH_METRICS_ADDRESS_SIZE, "%s", s->dial.address);
		return;
	}
	if (fd < 0 || vhi_sys.getsockname(fd, (struct sockaddr *)&at, &len) || at.sun_family != AF_UNIX ||
	    len <= offsetof(struct sockaddr_un, sun_path))
		return;
	/* A name that fills all the room is counted with a NUL that is not there. */
	n = VHI_MIN(len - offsetof(struct sockaddr_un, sun_path), sizeof(at.sun_path));
	if (at.sun_path[0])
		snprintf(out, VH_METRICS_ADDRESS_SIZE, "%.*s", (int)strnlen(at.sun_path, n), at.sun_path);
	else
		snprintf(out, VH_METRICS_ADDRESS_SIZE, "@%.*s", (int)n - 1, at.sun_path + 1);
}

static uint64_t peer_of(const struct vh_slave *s)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);
	const int fd = s->conn.open ? vhi_chan_fd(&s->conn.main) : -1;

	return fd >= 0 && !vhi_sys.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) ? (uint64_t)peer.pid : 0;
}

static void put_memory(const struct vh_slave *s, uint64_t *values)
{
	struct vh_snapshot *snap = vhi_mem_snapshot(s->mem);

	values[VHI_CONNECTION_REGIONS] = snap->n;
	for (uint32_t i = 0; i < snap->n; i++)
		values[VHI_CONNECTION_MEMORY] += snap->spans[i].len;
	vhi_snapshot_put(snap);
}

static void put_connection(const struct vh_slave *s, const struct vhi_slave_counts *st, uint64_t *values)
{
	const struct vhi_conn *c = &s->conn;

	values[VHI_CONNECTION_ROLE] = VHI_ROLE_SLAVE;
	values[VHI_CONNECTION_STATE] = state_of(s);
	values[VHI_CONNECTION_PEER_PID] = peer_of(s);
	values[VHI_CONNECTION_DEVICE_TYPE] = s->dev->opts.type;
	values[VHI_CONNECTION_OFFERED] = s->features;
	values[VHI_CONNECTION_QUEUES] = s->n_queues;
	values[VHI_CONNECTION_CONNECTIONS] = st->connections;
	values[VHI_CONNECTION_REFUSED] = st->refused;
	values[VHI_CONNECTION_MESSAGES_IN] = st->messages_in;
	values[VHI_CONNECTION_MESSAGES_OUT] = st->messages_out;
	values[VHI_CONNECTION_BYTES_IN] = st->bytes_in;
	values[VHI_CONNECTION_BYTES_OUT] = st->bytes_out;
	values[VHI_CONNECTION_REJECTED] = st->rejected;
	values[VHI_CONNECTION_ERRORS] = st->errors;
	put_memory(s, values);
	if (!c->open)
		return;
	values[VHI_CONNECTION_FEATURES] = c->f.acked;
	values[VHI_CONNECTION_PF] = c->f.pf_acked;
	values[VHI_CONNECTION_STATUS] = c->status;
	values[VHI_CONNECTION_LAST_REQUEST] = c->main.in.header.request;
	values[VHI_CONNECTION_OWED] = c->n_jobs;
	values[VHI_CONNECTION_OWED_SINCE] = c->jobs ? c->jobs->since_ns : 0;
	values[VHI_CONNECTION_CONNECTED] = s->show->since_ns;
}

static void write_all(struct vh_slave *s, const struct vhi_slave_counts *st)
{
	const uint64_t now = vhi_now_ns();
	uint64_t values[VHI_CONNECTION_PROPS] = {[VHI_CONNECTION_WRITTEN] = now};
	char address[VH_METRICS_ADDRESS_SIZE];
	bool due = false;

	if (s->show->connections != st->connections)
		s->show->since_ns = now;
	s->show->connections = st->connections;
	put_connection(s, st, values);
	put_address(s, address);
	vhi_show_connection(s->show, values, address);
	for (uint32_t i = 0; i < s->n_queues; i++)
		due |= vhi_show_queue(s->show, i, s->rings[i].q, now);
	/* Who drives a queue by himself does not wake us. */
	s->show->due = due || (s->dev->ops.flags & VH_DEVICE_MANUAL_QUEUES && vhi_vring_any_started(s));
	s->show->seen = st->messages_in + st->messages_out + st->connections + s->conn.open;
}

void vhi_slave_show_inside(struct vh_slave *s, uint64_t now)
{
	vhi_metrics_put_value(s->show->st, s->show->connection, VHI_CONNECTION_INSIDE, now);
}

void vhi_slave_show_round(struct vh_slave *s, uint64_t now)
{
	const struct vhi_slave_counts st = vhi_stats_counts(s);

	vhi_slave_show_inside(s, 0);
	if (now >= s->show->next_ns ||
	    st.messages_in + st.messages_out + st.connections + s->conn.open != s->show->seen)
		write_all(s, &st);
	else
		s->show->due = true;
}

void vhi_slave_show_now(struct vh_slave *s)
{
	const struct vhi_slave_counts st = vhi_stats_counts(s);

	if (!s->show || vhi_slave_ended(s))
		return;
	write_all(s, &st);
	vhi_slave_set_timer(s);
}

vh_rc vh_slave_set_metrics(struct vh_slave *s, struct vh_metrics *st, const char *name)
{
	vh_rc rc = vhi_slave_enter(s, "vh_slave_set_metrics");

	if (rc)
		return rc;
	rc = vhi_show_change("vh_slave_set_metrics", st, name, s->n_queues, &s->show);
	if (!rc)
		vhi_slave_show_now(s);
	return vhi_slave_leave(s, rc);
}
