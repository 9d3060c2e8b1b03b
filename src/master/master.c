/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The handle: new, free, stop, who may come in, events, counters. */
#include "vhi_dialect.h"
#include "vhi_master.h"

#include <unistd.h>

#define DEFAULT_TIMEOUT_MS 10000u

static const struct vhi_site_text site_texts[] = {
#define VHI_SITE VHI_SITE_TEXT
#include "sites.def"
#undef VHI_SITE
};

const char *vhi_master_site_text(uint32_t site)
{
	return vhi_site_text(site_texts, VHI_ARRAY_SIZE(site_texts), site);
}

const char *vhi_master_why(uint32_t site)
{
	const char *text = vhi_master_site_text(site);

	if (!text)
		text = vhi_wire_site_text(site);
	if (!text)
		text = vhi_sock_site_text(site);
	return text ? text : "refused";
}

static int options_in(struct vh_master *m, const struct vh_master_opts *opts, const struct vh_master_ops *ops)
{
	int rc = vhi_opts_in(&m->opts, sizeof(m->opts), opts, "vh_master_opts");

	if (!rc)
		rc = vhi_opts_in(&m->ops, sizeof(m->ops), ops, "vh_master_ops");
	if (rc)
		return rc;
	if (m->ops.flags)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_ops: unknown flags 0x%x; leave them 0",
				m->ops.flags);
	if (!vhi_dialect_known(m->opts.dialect) || m->opts.reserved)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_master_opts: dialect %u is not known, or reserved not 0", m->opts.dialect);
	if (!m->opts.timeout_ms)
		m->opts.timeout_ms = DEFAULT_TIMEOUT_MS;
	return 0;
}

static void master_destroy(struct vh_master *m, bool tell)
{
	struct vh_master_ops ops = m->ops;
	void *ctx = m->ctx;
	const bool is_child = m->pid != getpid();

	/* After a fork sets and timer are the same ones that the parent uses: only our numbers of them are closed. */
	if (is_child)
		vhi_loop_close(m);
	/* From here on nothing reports any more: the user's receivers go first, destroy comes last. */
	vhi_log_set(&m->log, NULL, NULL);
	vhi_trace_set(&m->trace, NULL, NULL);
	vhi_master_fail(m, -ESHUTDOWN, VH_ERROR_STATE, 0, "the front-end was freed");
	vhi_master_finish_closing(m);
	vhi_journal_free(m);
	vhi_tickets_free(&m->tickets);
	vhi_iotlb_put(m->map);
	vhi_free(m->address);
	vhi_free(m->config);
	vhi_fd_close(&m->listener);
	if (!is_child)
		vhi_sock_remove(&m->file);
	vhi_loop_close(m);
	vhi_free(m->shared);
	vhi_free(m->shmem.areas);
	vhi_events_fini(&m->events);
	vhi_gate_destroy(&m->gate);
	vhi_free(m);
	if (tell)
		vhi_ops_destroy(&ops, ctx);
}

vh_rc vh_master_new(const struct vh_master_opts *opts, const struct vh_master_ops *ops, void *ctx,
		    struct vh_master **out)
{
	struct vh_master *m = NULL;
	int rc = 0;

	if (!out)
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_new: out is NULL");
	if (!rc) {
		m = vhi_calloc(1, sizeof(*m));
		if (!m)
			rc = vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_master_new: out of memory");
	}
	if (!rc) {
		m->listener = m->epoll = m->cancel = m->timer = -1;
		m->pid = getpid();
		m->tickets.kind = &vhi_master_tickets;
		m->last_request = VH_ERROR_NONE;
		m->backend = (struct vh_backend){.ops = &vhi_master_backend_ops, .ctx = m};
		rc = vhi_gate_init(&m->gate);
		if (rc) {
			vhi_free(m);
			m = NULL;
			vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_master_new: no lock can be made: %s", vh_error_name(rc));
		}
	}
	if (!rc)
		rc = options_in(m, opts, ops);
	if (!rc && vhi_events_init(&m->events, 0))
		rc = vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_master_new: out of memory");
	if (!rc)
		rc = vhi_loop_open(m);
	if (rc) {
		if (m)
			master_destroy(m, false);
		vhi_ops_destroy(ops, ctx);
		return rc;
	}
	m->ctx = ctx;
	*out = m;
	return 0;
}

void vh_master_free(struct vh_master *m)
{
	if (m && vhi_gate_free(&m->gate))
		master_destroy(m, true);
}

int vhi_master_enter(struct vh_master *m, const char *who, uint32_t needs)
{
	int rc;

	if (!m)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: the front-end is NULL", who);
	rc = vhi_gate_enter(&m->gate);
	if (rc == -EBUSY)
		return vhi_fail(rc, VH_ERROR_STATE, 0, "%s: another thread is inside a call on this front-end", who);
	if (rc)
		return vhi_fail(rc, VH_ERROR_STATE, 0, "%s: vh_master_stop was called", who);
	if (m->gate.depth > 1 && !(needs & VHI_CALL_INSIDE && m->serving + 1 == m->gate.depth))
		rc = vhi_fail(needs & VHI_CALL_WAITS ? -EDEADLK : -EBUSY, VH_ERROR_STATE, 0,
			      "%s: not from inside a callback; vh_master_submit can be called there", who);
	else if (needs & VHI_CALL_CONNECTED && m->state != VHI_MASTER_CONNECTED)
		rc = vhi_master_not_connected(m, who);
	return rc ? vhi_master_leave(m, rc) : 0;
}

int32_t vhi_master_leave(struct vh_master *m, int32_t rc)
{
	if (m->gate.depth == 1)
		vhi_loop_settle(m);
	if (vhi_gate_leave(&m->gate))
		master_destroy(m, true);
	return rc;
}

vh_rc vh_master_stop(struct vh_master *m)
{
	if (!m)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_stop: the front-end is NULL");
	/* First the mark, then the wake-up: a thread that is about to wait sees one or the other. */
	__atomic_store_n(&m->stopping, 1, __ATOMIC_SEQ_CST);
	vhi_eventfd_signal(m->cancel);
	vhi_gate_stop(&m->gate);
	return 0;
}

vh_rc vh_master_cancel(struct vh_master *m)
{
	/* Also from a signal handler: one write, and no error details, which are not safe there. */
	if (!m)
		return -EINVAL;
	vhi_eventfd_signal(m->cancel);
	return 0;
}

vh_fd vh_master_fd(struct vh_master *m)
{
	if (!m)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_fd: the front-end is NULL");
	return m->epoll;
}

vh_rc vh_master_backend(struct vh_master *m, struct vh_backend **out)
{
	if (!m || !out)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_master_backend: NULL argument");
	*out = &m->backend;
	return 0;
}

void vhi_master_event(struct vh_master *m, uint32_t kind, int32_t reason, uint64_t value)
{
	vhi_events_raise(&m->events, kind, VH_ERROR_NONE, reason, value);
}

vh_count vh_master_next_event(struct vh_master *m, struct vh_event *out)
{
	int rc = vhi_master_enter(m, "vh_master_next_event", VHI_CALL_INSIDE);

	return rc ? rc : vhi_master_leave(m, vhi_events_next(&m->events, out, "vh_master_next_event"));
}

vh_rc vh_master_get_stats(struct vh_master *m, struct vh_master_stats *out)
{
	struct vh_master_stats s = {.size = sizeof(s)};
	int rc = vhi_master_enter(m, "vh_master_get_stats", VHI_CALL_INSIDE);

	if (rc)
		return rc;
	s.connected = m->state == VHI_MASTER_CONNECTED;
	s.messages_in = m->messages_in + m->main.messages_in + m->back.messages_in;
	s.messages_out = m->messages_out + m->main.messages_out + m->back.messages_out;
	s.bytes_in = m->bytes_in + m->main.bytes_in + m->back.bytes_in;
	s.bytes_out = m->bytes_out + m->main.bytes_out + m->back.bytes_out;
	s.rejected = m->rejected;
	s.backend_requests = m->backend_requests;
	s.tickets = m->tickets.n_expected;
	if (m->tickets.expected.head)
		s.oldest_ticket_ns = vhi_now_ns() - m->tickets.expected.head->sent_ns;
	rc = vhi_out_fill(out, &s, sizeof(s), "vh_master_get_stats");
	return vhi_master_leave(m, rc);
}

vh_rc vh_master_set_logger(struct vh_master *m, const struct vh_logger_ops *ops, void *ctx)
{
	int rc = vhi_master_enter(m, "vh_master_set_logger", 0);

	if (rc) {
		vhi_ops_destroy(ops, ctx);
		return rc;
	}
	return vhi_master_leave(m, vhi_log_set(&m->log, ops, ctx));
}

vh_rc vh_master_set_trace(struct vh_master *m, const struct vh_trace_ops *ops, void *ctx)
{
	int rc = vhi_master_enter(m, "vh_master_set_trace", 0);

	if (rc) {
		vhi_ops_destroy(ops, ctx);
		return rc;
	}
	return vhi_master_leave(m, vhi_trace_set(&m->trace, ops, ctx));
}
