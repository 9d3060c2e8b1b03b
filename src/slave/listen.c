/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The listening socket. One front-end at a time; whoever comes meanwhile is told so by an end of stream. */
#include "vhi_slave.h"

#define CLIENTS_PER_ROUND 8u
#define RETRY_NS	  UINT64_C(100000000)

void vhi_listen_watch(struct vh_slave *s)
{
	const bool wanted = !s->paused && !s->listen_retry_ns;

	if (s->listen_fd >= 0)
		vhi_slave_watch(s, EPOLL_CTL_MOD, s->listen_fd, VHI_SOURCE_LISTENER, 0, wanted ? EPOLLIN : 0);
}

int vhi_listen_start(struct vh_slave *s, int fd)
{
	int rc = vhi_slave_watch(s, EPOLL_CTL_ADD, fd, VHI_SOURCE_LISTENER, 0, s->paused ? 0 : EPOLLIN);

	if (rc) {
		vhi_fd_close(&fd);
		return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "a listening socket can't be watched: %s", vh_error_name(rc));
	}
	s->listen_fd = fd;
	return 0;
}

/* Out of file descriptors or memory: the client stays in the backlog, and we must not spin over it. */
static void pause_listening(struct vh_slave *s, int rc)
{
	vhi_log_line(&s->log, VH_LOG_ERROR, "a client can't be accepted: %s; raise RLIMIT_NOFILE", vh_error_name(rc));
	s->listen_retry_ns = vhi_now_ns() + RETRY_NS;
	vhi_listen_watch(s);
}

void vhi_listen_resume(struct vh_slave *s)
{
	if (!s->listen_retry_ns)
		return;
	s->listen_retry_ns = 0;
	vhi_listen_watch(s);
}

/*
 * A front-end that crashed and came back must not be taken for a second one. What it had sent is handled first. One that
 * only shut its sending side down, and is owed answers, is still there: no hang-up.
 */
static void end_of_gone(struct vh_slave *s)
{
	const struct vhi_conn *c = &s->conn;
	int fd = vhi_chan_fd(&c->main);

	if (!c->open || !vhi_sock_peer_gone(fd))
		return;
	while (vhi_conn_receive(s))
		;
	if ((c->jobs || vhi_chan_wants_write(&c->main)) && vhi_poll_now(fd, 0) <= 0)
		return;
	vhi_conn_fail(s, 0);
	vhi_conn_end(s);
}

void vhi_listen_accept(struct vh_slave *s)
{
	for (uint32_t i = 0; i < CLIENTS_PER_ROUND && !vhi_slave_ended(s); i++) {
		int fd = vhi_sock_accept(s->listen_fd);
		int rc = 0;

		if (fd == -EAGAIN)
			return;
		if (fd < 0) {
			pause_listening(s, fd);
			return;
		}
		end_of_gone(s);
		if (s->conn.open) {
			vhi_fd_close(&fd);
			s->stats.refused++;
			vhi_log_line(&s->log, VH_LOG_WARNING, "a second front-end was refused");
			vhi_events_raise(&s->events, VH_EVENT_REFUSED, VH_ERROR_NONE, 0, 0);
			continue;
		}
		rc = vhi_conn_begin(s, fd);
		if (rc)
			vhi_log_line(&s->log, VH_LOG_ERROR, "a client can't be served: %s", vh_error_name(rc));
	}
}
