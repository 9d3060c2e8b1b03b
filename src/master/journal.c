/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Sequences of calls without waiting (enum vhi_step). A call that would have to wait gives -EINPROGRESS, and its sequence
 * is made again from the beginning when the reply may be here. What was sent is found here by its id and payload, so it is
 * not sent again; what was answered is answered at once.
 */
#include "vhi_master.h"

/* A request of the present step. */
struct vhi_journal_entry {
	struct vhi_journal_entry *next;
	struct vhi_ticket *t; /* NULL: there is no reply, or it was looked at and was good */
	uint32_t id;
	uint32_t size;
	uint8_t payload[];
};

bool vhi_journal_on(const struct vh_master *m)
{
	return m->journal.on && pthread_equal(m->journal.thread, pthread_self());
}

static struct vhi_journal_entry **find(struct vh_master *m, const struct vhi_request *rq)
{
	struct vhi_journal_entry **e = &m->journal.entries;

	while (*e && ((*e)->id != rq->id || (*e)->size != rq->size ||
		      (rq->size && memcmp((*e)->payload, rq->payload, rq->size))))
		e = &(*e)->next;
	return e;
}

static int waits(const struct vhi_request *rq)
{
	return vhi_fail_at(-EINPROGRESS, VH_ERROR_STATE, 0, VH_ERROR_NONE, rq->id, "%s: no answer yet",
			   vh_msg_name(VH_MSG_CHANNEL_MAIN, rq->id));
}

static int send_new(struct vh_master *m, const struct vhi_request *rq, struct vhi_journal_entry **out)
{
	struct vhi_journal_entry *e = vhi_calloc(1, sizeof(*e) + rq->size);
	int rc;

	if (!e)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "no memory for what was sent");
	e->id = rq->id;
	e->size = rq->size;
	if (rq->size)
		memcpy(e->payload, rq->payload, rq->size);
	rc = vhi_loop_check(m);
	if (!rc)
		rc = vhi_master_send(m, rq, &e->t);
	if (rc) {
		vhi_free(e);
		/* The socket is full: later. */
		return rc == -ENOBUFS && vhi_chan_wants_write(&m->main) ? waits(rq) : rc;
	}
	e->next = m->journal.entries;
	m->journal.entries = e;
	*out = e;
	return 0;
}

int vhi_journal_call(struct vh_master *m, const struct vhi_request *rq, struct vhi_ticket **ticket)
{
	struct vhi_journal_entry **at = find(m, rq), *e = *at;
	struct vhi_ticket *t;
	int rc = e ? 0 : send_new(m, rq, &e);

	if (rc || !e->t)
		return rc;
	t = e->t;
	if (t->waiting) {
		rc = vhi_loop_check(m);
		return rc || rq->later ? rc : waits(rq);
	}
	e->t = NULL;
	vhi_ticket_take(&m->tickets, t->id, &t);
	rc = vhi_master_ticket_result(m, t);
	if (rc || !ticket) {
		vhi_ticket_free(m, t);
		return rc;
	}
	/* Who wants the reply itself gets it once: it is the last of its step. */
	at = find(m, rq);
	*at = e->next;
	vhi_free(e);
	*ticket = t;
	return 0;
}

static void forget(struct vh_master *m)
{
	struct vhi_journal_entry *e;

	while ((e = m->journal.entries)) {
		struct vhi_ticket *t = e->t;

		m->journal.entries = e->next;
		if (t && t->waiting) {
			t->abandoned = true;
		} else if (t) {
			vhi_ticket_take(&m->tickets, t->id, &t);
			vhi_ticket_free(m, t);
		}
		vhi_free(e);
	}
}

int vhi_journal_step(struct vh_master *m, enum vhi_step what)
{
	int rc = vhi_master_enter(m, "step", 0);

	if (rc)
		return rc;
	m->journal.on = what == VHI_STEP_ENTER;
	m->journal.thread = pthread_self();
	if (what == VHI_STEP_END)
		forget(m);
	return vhi_master_leave(m, 0);
}

void vhi_journal_free(struct vh_master *m)
{
	forget(m);
}
