/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* How a connection begins and ends. A handle whose connection has ended can begin the next one. */
#include "vhi_address.h"
#include "vhi_master.h"

#include <stdarg.h>
#include <stdio.h>

/* Slices of a connect that may have to come back early, because of vh_master_stop or vh_master_cancel. */
#define CONNECT_SLICE_NS 100000000u

static void count_up(struct vh_master *m, struct vhi_chan *c)
{
	m->messages_in += c->messages_in;
	m->messages_out += c->messages_out;
	m->bytes_in += c->bytes_in;
	m->bytes_out += c->bytes_out;
	c->messages_in = c->messages_out = c->bytes_in = c->bytes_out = 0;
}

static void close_chan(struct vh_master *m, struct vhi_chan *c)
{
	if (!vhi_chan_open(c))
		return;
	/* Closing alone is not enough: another process may hold the same open file, and epoll would go on with it. */
	vhi_loop_remove(m, vhi_chan_fd(c));
	vhi_chan_close(c);
	count_up(m, c);
}

void vhi_master_close_back(struct vh_master *m)
{
	close_chan(m, &m->back);
	vhi_answers_drop(m);
	vhi_shmem_reset(m);
}

void vhi_master_finish_closing(struct vh_master *m)
{
	if (!m->closing)
		return;
	m->closing = false;
	close_chan(m, &m->main);
	vhi_master_close_back(m);
	vhi_master_forget_memory(m);
}

/* Of VH_EVENT_DISCONNECTED, see event.h. A site other than 0 says that a message was cut. */
static int32_t reason_of(const struct vh_master *m, int32_t code, uint32_t domain, uint32_t site)
{
	if (domain == VH_ERROR_STATE)
		return -ECANCELED;
	return !site && (code == -ECONNRESET || code == -EPIPE) && !vhi_chan_inside(&m->main) ? 0 : code;
}

int32_t vhi_master_fail(struct vh_master *m, int32_t code, uint32_t domain, uint32_t site, const char *fmt, ...)
{
	int32_t reason = reason_of(m, code, domain, site);
	char text[VH_ERROR_TEXT_SIZE];
	va_list ap;

	if (m->state != VHI_MASTER_CONNECTED)
		return code;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	m->state = VHI_MASTER_FAILED;
	__atomic_add_fetch(&m->ended, 1, __ATOMIC_RELEASE);
	m->closing = true;
	m->reported = false;
	vhi_failure_set(&m->failure, code, domain, site, "%s", text);
	m->failure.request = m->tickets.expected.head ? m->tickets.expected.head->request : m->last_request;
	if (site)
		m->rejected++;
	vhi_master_fail_tickets(m, code);
	vhi_master_event(m, VH_EVENT_DISCONNECTED, reason, site);
	/* Inside a callback the message that it looks at must stay. */
	if (!m->serving)
		vhi_master_finish_closing(m);
	vhi_log_line(&m->log, domain == VH_ERROR_STATE ? VH_LOG_INFO : VH_LOG_ERROR, "the connection ended: %s", text);
	return code;
}

int32_t vhi_master_not_connected(struct vh_master *m, const char *who)
{
	if (!m->failure.code)
		return vhi_fail(-ENOTCONN, VH_ERROR_STATE, 0, "%s: no connection; call vh_master_connect first", who);
	return vhi_fail_at(-ENOTCONN, m->failure.domain, m->failure.site, VH_ERROR_NONE, m->failure.request,
			   "%s: no connection; the last one ended: %s", who, m->failure.text);
}

int vhi_master_attach(struct vh_master *m, struct vhi_transport transport)
{
	int rc;

	/* A cancel that is still pending was meant for the connection before. */
	vhi_eventfd_drain(m->cancel);
	vhi_chan_init(&m->main, transport, VHI_WIRE_FRONT_END, VHI_WIRE_FRONT_END, &m->trace,
		      (uint64_t)m->opts.timeout_ms * 1000000u);
	m->interest[VHI_SRC_MAIN] = m->interest[VHI_SRC_BACK] = EPOLLIN;
	rc = vhi_loop_add(m, VHI_SRC_MAIN, vhi_chan_fd(&m->main));
	if (rc) {
		vhi_chan_close(&m->main);
		return rc;
	}
	memset(&m->failure, 0, sizeof(m->failure));
	memset(&m->features, 0, sizeof(m->features));
	m->main.dialect = m->features.dialect = m->opts.dialect;
	m->owned = 0;
	m->queue_num = 1;
	memset(m->shmem.sizes, 0, sizeof(m->shmem.sizes));
	m->mem_slots = VH_MEM_MAX_REGIONS;
	m->last_request = VH_ERROR_NONE;
	m->send_deadline_ns = 0;
	m->state = VHI_MASTER_CONNECTED;
	vhi_master_event(m, VH_EVENT_CONNECTED, 0, 0);
	return 0;
}

/* The address of the connection that is made now; NULL when there is none that could be tried again. */
static int note_address(struct vh_master *m, const char *address)
{
	struct vhi_address at;
	size_t len;
	char *copy;

	/* An fd is a connection, and can't be made again. */
	if (address && (vhi_address_parse(address, &at) || at.kind == VHI_ADDRESS_FD))
		address = NULL;
	len = address ? strlen(address) + 1 : 0;
	copy = address ? vhi_calloc(1, len) : NULL;
	if (address && !copy)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_master_connect: out of memory");
	if (address)
		memcpy(copy, address, len);
	vhi_free(m->address);
	m->address = copy;
	return 0;
}

static int attach_fd(struct vh_master *m, int fd)
{
	struct vhi_transport transport;
	int rc = vhi_sock_transport(fd, &transport);

	return rc ? rc : vhi_master_attach(m, transport);
}

/* Enter, for the calls that begin a connection. */
static int enter_idle(struct vh_master *m, const char *who, uint32_t needs)
{
	int rc = vhi_master_enter(m, who, needs);

	if (!rc && m->state == VHI_MASTER_CONNECTED)
		rc = vhi_master_leave(m, vhi_fail(-EISCONN, VH_ERROR_STATE, 0,
						  "%s: there is a connection; end it with vh_master_disconnect", who));
	return rc;
}

/* A stop or cancel while there is no connection that could be failed. */
static int check_wait(struct vh_master *m, const char *who)
{
	if (__atomic_load_n(&m->stopping, __ATOMIC_SEQ_CST))
		return vhi_fail(-ESHUTDOWN, VH_ERROR_STATE, 0, "%s: vh_master_stop was called", who);
	if (vhi_poll_now(m->cancel, POLLIN) > 0) {
		vhi_eventfd_drain(m->cancel);
		return vhi_fail(-ECANCELED, VH_ERROR_STATE, 0, "%s: vh_master_cancel was called", who);
	}
	if (m->ops.waiting && !vhi_loop_goes_on(m))
		return vhi_fail(-EINTR, VH_ERROR_STATE, 0, "%s: the callback waiting() ended it; call it again", who);
	return 0;
}

vh_rc vh_master_connect(struct vh_master *m, const char *path)
{
	uint64_t now = vhi_now_ns(), end;
	int rc, fd;

	if (m && !path)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_connect: path is NULL");
	rc = enter_idle(m, "vh_master_connect", VHI_CALL_WAITS);
	if (rc)
		return rc;
	end = now + (uint64_t)m->opts.timeout_ms * 1000000u;
	vhi_eventfd_drain(m->cancel);
	do {
		fd = check_wait(m, "vh_master_connect");
		if (!fd)
			fd = vhi_sock_connect(path, VHI_MIN(end, now + CONNECT_SLICE_NS));
		now = vhi_now_ns();
	} while (fd == -ETIMEDOUT && now < end);
	rc = fd < 0 ? fd : attach_fd(m, fd);
	return vhi_master_leave(m, rc ? rc : note_address(m, path));
}

static int listen_at(struct vh_master *m, const char *path)
{
	int fd = vhi_sock_listen(path, 0600, &m->file);
	int rc = fd < 0 ? fd : vhi_loop_add(m, VHI_SRC_LISTENER, fd);

	if (!rc) {
		m->listener = fd;
		return 0;
	}
	vhi_sock_remove(&m->file);
	vhi_fd_close(&fd);
	return rc;
}

vh_rc vh_master_listen(struct vh_master *m, const char *path)
{
	int rc;

	if (m && !path)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_listen: path is NULL");
	rc = enter_idle(m, "vh_master_listen", 0);
	if (rc)
		return rc;
	if (m->listener >= 0)
		return vhi_master_leave(m,
					vhi_fail(-EISCONN, VH_ERROR_STATE, 0, "vh_master_listen: already listening"));
	return vhi_master_leave(m, listen_at(m, path));
}

int vhi_master_take_client(struct vh_master *m)
{
	int fd = vhi_sock_accept(m->listener);
	int rc;

	if (fd == -EAGAIN)
		return 0;
	rc = fd < 0 ? fd : attach_fd(m, fd);
	return rc ? rc : 1;
}

bool vhi_master_connected(struct vh_master *m)
{
	bool is;

	if (vhi_master_enter(m, "connected", 0))
		return false;
	if (m->state != VHI_MASTER_CONNECTED && m->listener >= 0)
		vhi_master_take_client(m);
	is = m->state == VHI_MASTER_CONNECTED;
	vhi_master_leave(m, 0);
	return is;
}

int vhi_master_reopen(struct vh_master *m)
{
	int fd, rc = enter_idle(m, "reopen", 0);

	if (rc)
		return rc;
	if (m->listener >= 0)
		rc = vhi_fail(-ENOTCONN, VH_ERROR_PEER, 0, "no back-end has connected to %s", m->file.path);
	if (rc || !m->address)
		return vhi_master_leave(m, rc);
	fd = vhi_sock_connect(m->address, vhi_now_ns());
	rc = fd < 0 ? fd : attach_fd(m, fd);
	return vhi_master_leave(m, rc ? rc : 1);
}

vh_rc vh_master_accept(struct vh_master *m)
{
	uint64_t end;
	int rc = enter_idle(m, "vh_master_accept", VHI_CALL_WAITS);

	if (rc)
		return rc;
	if (m->listener < 0)
		return vhi_master_leave(
			m, vhi_fail(-EINVAL, VH_ERROR_STATE, 0, "vh_master_accept: call vh_master_listen first"));
	end = vhi_now_ns() + (uint64_t)m->opts.timeout_ms * 1000000u;
	for (;;) {
		rc = check_wait(m, "vh_master_accept");
		if (!rc)
			rc = vhi_master_take_client(m);
		if (rc)
			break;
		if (vhi_now_ns() >= end) {
			rc = vhi_fail(-ETIMEDOUT, VH_ERROR_PEER, 0,
				      "vh_master_accept: no back-end connected%s%s within %u ms; start it",
				      m->file.path[0] ? " to " : "", m->file.path, m->opts.timeout_ms);
			break;
		}
		rc = vhi_loop_turn(m, end);
		if (rc < 0 || m->state == VHI_MASTER_CONNECTED)
			break;
	}
	return vhi_master_leave(m, rc < 0 ? rc : 0);
}

vh_rc vh_master_adopt(struct vh_master *m, int32_t fd)
{
	bool listening = false;
	int rc = enter_idle(m, "vh_master_adopt", 0);
	int own;

	if (rc)
		return rc;
	own = vhi_sock_adopt(fd, &listening);
	if (own < 0)
		return vhi_master_leave(m, own);
	if (listening) {
		vhi_fd_close(&own);
		return vhi_master_leave(m, vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
						    "vh_master_adopt: fd %d listens; pass a connected socket", fd));
	}
	rc = attach_fd(m, own);
	return vhi_master_leave(m, rc ? rc : note_address(m, NULL));
}

vh_rc vh_master_socketpair(struct vh_master *m, int32_t *peer_fd)
{
	int rc, fd, peer = -1;

	if (m && !peer_fd)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_socketpair: peer_fd is NULL");
	rc = enter_idle(m, "vh_master_socketpair", 0);
	if (rc)
		return rc;
	fd = vhi_sock_pair(&peer);
	rc = fd < 0 ? fd : attach_fd(m, fd);
	if (rc)
		vhi_fd_close(&peer);
	else
		*peer_fd = peer;
	if (!rc)
		note_address(m, NULL);
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_disconnect(struct vh_master *m)
{
	int rc = vhi_master_enter(m, "vh_master_disconnect", VHI_CALL_CONNECTED | VHI_CALL_INSIDE);

	if (rc)
		return rc;
	vhi_master_fail(m, -ECONNRESET, VH_ERROR_STATE, 0, "vh_master_disconnect was called");
	return vhi_master_leave(m, 0);
}
