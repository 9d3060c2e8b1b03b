/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A back-end that connects to its front-end, and by a policy again after each end. Its tries are rounds of dispatch. */
#include "vhi_slave.h"

#define NS_PER_MS UINT64_C(1000000)

void vhi_dial_forget(struct vhi_dial *d)
{
	vhi_free(d->address);
	d->address = NULL;
}

int vhi_dial_to(struct vhi_dial *d, const char *address)
{
	const size_t len = strlen(address) + 1;

	d->address = vhi_calloc(1, len);
	if (!d->address)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "no memory for the address to connect to");
	memcpy(d->address, address, len);
	return 0;
}

static void try_later(struct vh_slave *s, bool failed, int32_t reason)
{
	struct vhi_dial *d = &s->dial;
	uint64_t delay_ns;

	if (!vhi_backoff_next(&d->backoff, failed, &delay_ns)) {
		vhi_dial_forget(d);
		vhi_events_raise(&s->events, VH_EVENT_GAVE_UP, VH_ERROR_NONE, reason, d->backoff.failures);
		vhi_log_line(&s->log, VH_LOG_ERROR, "no front-end after %u tries, giving up", d->backoff.failures);
		return;
	}
	d->next_ns = vhi_now_ns() + delay_ns;
	vhi_events_raise(&s->events, VH_EVENT_RECONNECTING, VH_ERROR_NONE, reason, delay_ns / NS_PER_MS);
	vhi_slave_set_timer(s);
}

void vhi_dial_ended(struct vh_slave *s, bool worked, int32_t reason)
{
	if (!s->dial.address || vhi_slave_ended(s))
		return;
	if (worked)
		vhi_backoff_reset(&s->dial.backoff);
	/* Who accepts and hangs up is no better than nobody. */
	try_later(s, !worked, worked ? 0 : reason ? reason : -ECONNRESET);
}

uint64_t vhi_dial_deadline(const struct vh_slave *s)
{
	return s->dial.next_ns && !s->paused ? s->dial.next_ns : UINT64_MAX;
}

void vhi_dial_step(struct vh_slave *s)
{
	struct vhi_dial *d = &s->dial;
	int rc;

	if (s->conn.open || vhi_dial_deadline(s) == UINT64_MAX || vhi_now_ns() < d->next_ns)
		return;
	d->next_ns = 0;
	/* No time at all: a full backlog is one more failure. */
	rc = vhi_sock_connect(d->address, 0);
	if (rc >= 0)
		rc = vhi_conn_begin(s, rc);
	if (rc < 0)
		try_later(s, true, rc);
}

static int check_arguments(const char *path, const struct vh_reconnect *policy, struct vhi_backoff *out)
{
	struct vhi_address at;
	int rc;

	if (!path)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_slave_connect: path is NULL");
	rc = vhi_backoff_begin(out, policy, 0, "vh_slave_connect");
	if (!rc)
		rc = vhi_address_parse(path, &at);
	if (!rc && policy && (at.kind == VHI_ADDRESS_FD || strlen(path) >= VHI_DIAL_ADDRESS))
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
			      "vh_slave_connect: '%s' can't be connected to again; leave the policy out", path);
	return rc;
}

static int dial_once(struct vh_slave *s, const char *path)
{
	int fd = vhi_sock_connect(path, 0);

	return fd < 0 ? fd : vhi_conn_begin(s, fd);
}

/* The first try is the next round's, so that all are told in the same way. */
static int dial_always(struct vh_slave *s, const char *path, const struct vhi_backoff *backoff)
{
	struct vhi_dial *d = &s->dial;

	int rc = vhi_dial_to(d, path);

	if (rc)
		return rc;
	d->backoff = *backoff;
	d->next_ns = vhi_now_ns();
	vhi_slave_wake(s);
	return 0;
}

vh_rc vh_slave_connect(struct vh_slave *s, const char *path, const struct vh_reconnect *policy)
{
	struct vhi_backoff backoff;
	vh_rc rc = vhi_slave_enter(s, "vh_slave_connect");

	if (rc)
		return rc;
	rc = check_arguments(path, policy, &backoff);
	if (!rc)
		rc = vhi_slave_check_unused(s);
	if (!rc)
		rc = policy ? dial_always(s, path, &backoff) : dial_once(s, path);
	vhi_slave_show_now(s);
	return vhi_slave_leave(s, rc);
}
