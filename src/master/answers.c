/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Answers that are owed on the back-end's own channel. They leave in the order of their requests, so one that is known
 * early waits for those before it.
 */
#include "vhi_master.h"

static struct vhi_answer *answer_at(struct vh_master *m, uint32_t i)
{
	return &m->answers[(m->first_answer + i) % VHI_MASTER_MAX_ANSWERS];
}

static void drop_first(struct vh_master *m)
{
	struct vhi_answer *a = answer_at(m, 0);

	while (a->n_fds)
		vhi_fd_close(&a->fds[--a->n_fds]);
	vhi_free(a->more);
	m->first_answer = (m->first_answer + 1) % VHI_MASTER_MAX_ANSWERS;
	m->n_answers--;
}

void vhi_answers_drop(struct vh_master *m)
{
	while (m->n_answers)
		drop_first(m);
}

struct vhi_answer *vhi_answer_open(struct vh_master *m, const struct vhi_wire_msg *msg, uint32_t request,
				   enum vhi_wire_answer form)
{
	struct vhi_answer *a;

	if (VHI_REFUSE(VHI_SITE_MASTER_UNANSWERED, m->n_answers == VHI_MASTER_MAX_ANSWERS))
		return NULL;
	a = answer_at(m, m->n_answers++);
	*a = (struct vhi_answer){.token = ++m->last_token, .msg = msg, .request = request, .form = form, .size = 8};
	return a;
}

struct vhi_answer *vhi_answer_find(struct vh_master *m, uint64_t token)
{
	for (uint32_t i = 0; i < m->n_answers; i++)
		if (answer_at(m, i)->token == token && !answer_at(m, i)->ready)
			return answer_at(m, i);
	return NULL;
}

void vhi_answer_status(struct vh_master *m, struct vhi_answer *a, bool refused)
{
	if (a->map.len)
		vhi_shmem_end(m, a->request, &a->map, refused);
	a->ready = true;
	a->value = refused;
}

int vhi_answers_send(struct vh_master *m, uint32_t *site)
{
	int rc = 0;

	*site = 0;
	while (!rc && m->n_answers && answer_at(m, 0)->ready) {
		struct vhi_answer *a = answer_at(m, 0);

		if (a->form != VHI_ANSWER_NONE)
			rc = vhi_chan_send(&m->back, a->request, VHI_WIRE_VERSION | VHI_WIRE_REPLY,
					   a->more ? a->more : &a->value, a->size, a->fds, a->n_fds);
		drop_first(m);
	}
	if (VHI_REFUSE(VHI_SITE_MASTER_REPLY_FLOOD, rc == -ENOBUFS))
		*site = VHI_SITE_MASTER_REPLY_FLOOD;
	return rc == -ENOBUFS && !*site ? 0 : rc;
}

static int bad_answer(const struct vhi_answer *a, const char *why)
{
	return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, a->request, "vh_master_answer: %s: %s",
			   vh_msg_name(VH_MSG_CHANNEL_BACKEND, a->request), why);
}

/* A reply of the message's own, as the table wants it; whatever it is for one that the table does not know. */
static int own_reply(struct vhi_answer *a, const void *payload, uint32_t size, const vh_fd *fds, uint32_t n_fds)
{
	const struct vhi_wire_header h = {
		.request = a->request, .flags = VHI_WIRE_VERSION | VHI_WIRE_REPLY, .size = size};

	if (size > VHI_WIRE_MAX_PAYLOAD || n_fds > VHI_ARRAY_SIZE(a->fds) ||
	    (a->msg && vhi_wire_check_reply(VHI_WIRE_BACK_END, a->msg, true, &h, payload, n_fds)))
		return bad_answer(a, "its reply has another size or other fds, see the protocol");
	if (size > sizeof(a->value)) {
		a->more = vhi_calloc(1, size);
		if (!a->more)
			return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "vh_master_answer: no memory");
	}
	for (; a->n_fds < n_fds; a->n_fds++) {
		a->fds[a->n_fds] = vhi_fd_dup(fds[a->n_fds]);
		if (a->fds[a->n_fds] < 0) {
			int rc = a->fds[a->n_fds];

			vhi_free(a->more);
			a->more = NULL;
			while (a->n_fds)
				vhi_fd_close(&a->fds[--a->n_fds]);
			return vhi_fail(rc, VH_ERROR_SYSTEM, 0, "vh_master_answer: an fd can't be duplicated: %s",
					vh_error_name(rc));
		}
	}
	if (size)
		memcpy(a->more ? a->more : &a->value, payload, size);
	a->size = size;
	a->form = VHI_ANSWER_OWN;
	a->ready = true;
	return 0;
}

int vhi_answer_give(struct vh_master *m, uint64_t token, vh_rc result, const void *payload, uint32_t size,
		    const vh_fd *fds, uint32_t n_fds)
{
	struct vhi_answer *a = vhi_answer_find(m, token);
	bool own = a && !result && (a->msg ? a->form == VHI_ANSWER_OWN : size || n_fds);
	int rc = 0;

	if ((size && !payload) || (n_fds && !fds))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"vh_master_answer: %u bytes and %u fds, but NULL for one of them", size, n_fds);
	if (!a)
		return vhi_fail(-ESTALE, VH_ERROR_STATE, 0, "vh_master_answer: nobody waits for token %llu (any more)",
				(unsigned long long)token);
	if (result > 0 || result == -EINPROGRESS)
		return bad_answer(a, "rc is 0 or a negative errno value other than -EINPROGRESS");
	if (!own && (size || n_fds))
		return bad_answer(a, "a status has no payload and no fds");
	if (own)
		rc = own_reply(a, payload, size, fds, n_fds);
	else
		vhi_answer_status(m, a, result);
	if (rc)
		return rc;
	vhi_master_event(m, VH_EVENT_BACKEND_REQUEST, result ? 1 : 0, a->request);
	/* From inside the callback it leaves when the callback has returned. */
	if (!m->serving)
		vhi_master_send_answers(m);
	return 0;
}

vh_rc vh_master_answer(struct vh_master *m, uint64_t token, vh_rc rc, const void *payload, uint32_t payload_size,
		       const vh_fd *fds, uint32_t n_fds)
{
	int err = vhi_master_enter(m, "vh_master_answer", VHI_CALL_INSIDE);

	return err ? err : vhi_master_leave(m, vhi_answer_give(m, token, rc, payload, payload_size, fds, n_fds));
}
