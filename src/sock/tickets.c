/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* A request out, its reply in: see vhi_tickets.h. */
#include "vhi_tickets.h"

#include <fcntl.h>

#include "vh/message.h"
#include "vh/protocol.h"

static const char *name_of(const struct vhi_tickets *l, uint32_t request)
{
	return vh_msg_name(l->kind->side == VHI_WIRE_FRONT_END ? VH_MSG_CHANNEL_MAIN : VH_MSG_CHANNEL_BACKEND, request);
}

static void list_push(struct vhi_ticket_list *l, struct vhi_ticket *t)
{
	t->next = NULL;
	if (l->tail)
		l->tail->next = t;
	else
		l->head = t;
	l->tail = t;
}

static struct vhi_ticket *list_pop(struct vhi_ticket_list *l)
{
	struct vhi_ticket *t = l->head;

	l->head = t->next;
	if (!l->head)
		l->tail = NULL;
	return t;
}

static struct vhi_ticket *list_take(struct vhi_ticket_list *l, uint64_t id)
{
	struct vhi_ticket *before = NULL, *t = l->head;

	while (t && t->id != id) {
		before = t;
		t = t->next;
	}
	if (!t)
		return NULL;
	if (before)
		before->next = t->next;
	else
		l->head = t->next;
	if (l->tail == t)
		l->tail = before;
	return t;
}

void vhi_ticket_release(struct vhi_tickets *l, struct vhi_ticket *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < t->n_fds; i++)
		vhi_fd_close(&t->fds[i]);
	if (l->kind->drop)
		l->kind->drop(t);
	l->n--;
	l->room -= t->room;
	vhi_free(t);
}

static int ticket_new(struct vhi_tickets *l, const struct vhi_ask *ask, const struct vhi_wire_msg *msg, bool own,
		      struct vhi_ticket **out)
{
	uint32_t room = !own ? 8 : msg ? msg->reply_max : VHI_WIRE_MAX_PAYLOAD;
	size_t head = (l->kind->size + 7) / 8 * 8;
	struct vhi_ticket *t;

	if (l->n >= l->kind->max || l->room + room > l->kind->max_room)
		return vhi_fail_at(-ENOBUFS, VH_ERROR_STATE, 0, VH_ERROR_NONE, ask->id,
				   "%s: %u tickets are not finished yet; call %s for them", name_of(l, ask->id), l->n,
				   l->kind->finish);
	t = vhi_calloc(1, head + room);
	if (!t)
		return vhi_fail(-ENOMEM, VH_ERROR_SYSTEM, 0, "%s: out of memory", name_of(l, ask->id));
	t->payload = (uint8_t *)t + head;
	t->id = ++l->last_id;
	t->msg = msg;
	t->request = ask->id;
	t->own = own;
	t->waiting = true;
	t->room = room;
	if (ask->size)
		memcpy(t->asked, ask->payload, VHI_MIN((size_t)ask->size, sizeof(t->asked)));
	l->n++;
	l->room += room;
	*out = t;
	return 0;
}

/* What the caller wants for a reply against what the message can have. */
static int plan_reply(const struct vhi_tickets *l, const struct vhi_ask *ask, const struct vhi_wire_features *f,
		      const struct vhi_wire_msg **msg, enum vhi_wire_answer *answer)
{
	bool acks = f->pf_acked & VHI_BIT(VH_PF_REPLY_ACK);
	enum vhi_wire_answer natural = acks ? VHI_ANSWER_STATUS : VHI_ANSWER_NONE;
	/* Whether this one can be acknowledged is only known when it has been processed. */
	bool silent = l->kind->side == VHI_WIRE_FRONT_END && ask->id == VHI_FE_SET_PROTOCOL_FEATURES;

	if (*msg)
		natural = vhi_wire_answer(*msg, VHI_WIRE_VERSION | VHI_WIRE_NEED_REPLY, f);
	switch (ask->reply) {
	case VH_REPLY_TABLE:
		*answer = !*msg || silent ? VHI_ANSWER_NONE : natural;
		return 0;
	case VH_REPLY_OWN:
		*answer = VHI_ANSWER_OWN;
		if (natural != VHI_ANSWER_OWN)
			*msg = NULL; /* more than the table knows: any reply will do */
		return 0;
	default:
		break;
	}
	if (natural == VHI_ANSWER_OWN)
		return vhi_fail_at(-EINVAL, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, ask->id,
				   "%s always has a reply of its own; use VH_REPLY_TABLE", name_of(l, ask->id));
	if (ask->reply == VH_REPLY_ACK && !acks)
		return vhi_fail_at(-EOPNOTSUPP, VH_ERROR_STATE, 0, VH_ERROR_NONE, ask->id,
				   "%s: a status needs the protocol feature REPLY_ACK, which was not negotiated",
				   name_of(l, ask->id));
	*answer = ask->reply == VH_REPLY_ACK ? VHI_ANSWER_STATUS : VHI_ANSWER_NONE;
	return 0;
}

/* Of the caller's: found now it costs one call, found by sendmsg it would cost the connection. */
static int check_fds(const struct vhi_tickets *l, const struct vhi_ask *ask)
{
	for (uint32_t i = 0; i < ask->n_fds; i++)
		if (vhi_sys.fcntl(ask->fds[i], F_GETFD, 0) < 0)
			return vhi_fail_at(-EBADF, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, ask->id,
					   "%s: fd %d is not open; nothing was sent", name_of(l, ask->id), ask->fds[i]);
	return 0;
}

int vhi_ticket_begin(struct vhi_tickets *l, const struct vhi_ask *ask, const struct vhi_wire_features *f,
		     uint32_t *flags, struct vhi_ticket **out)
{
	const struct vhi_wire_msg *msg = vhi_wire_find(l->kind->side, ask->id);
	enum vhi_wire_answer answer = VHI_ANSWER_NONE;
	int rc = check_fds(l, ask);
	bool begs;

	*out = NULL;
	if (!rc)
		rc = plan_reply(l, ask, f, &msg, &answer);
	if (!rc && answer != VHI_ANSWER_NONE)
		rc = ticket_new(l, ask, msg, answer == VHI_ANSWER_OWN, out);
	begs = vhi_wire_begs(msg, l->kind->side) && f->pf_acked & VHI_BIT(VH_PF_REPLY_ACK);
	*flags = VHI_WIRE_VERSION | (answer == VHI_ANSWER_STATUS || begs ? VHI_WIRE_NEED_REPLY : 0);
	return rc;
}

void vhi_ticket_sent(struct vhi_tickets *l, struct vhi_ticket *t, uint64_t wait_ns)
{
	t->sent_ns = vhi_now_ns();
	t->deadline_ns = t->sent_ns + wait_ns;
	if (l->expected.tail && l->expected.tail->deadline_ns > t->deadline_ns)
		t->deadline_ns = l->expected.tail->deadline_ns;
	list_push(&l->expected, t);
	l->n_expected++;
}

uint32_t vhi_ticket_check(const struct vhi_tickets *l, const struct vhi_msg *in)
{
	const struct vhi_ticket *t = l->expected.head;
	const struct vhi_wire_header *h = &in->header;

	if (!t)
		return VHI_REFUSE(VHI_SITE_SOCK_UNSOLICITED, true) ? VHI_SITE_SOCK_UNSOLICITED : 0;
	if (VHI_REFUSE(VHI_SITE_SOCK_REPLY_FLAGS, h->flags & VHI_WIRE_NEED_REPLY))
		return VHI_SITE_SOCK_REPLY_FLAGS;
	if (t->msg)
		return vhi_wire_check_reply(l->kind->side, t->msg, t->own, h, in->payload, in->n_fds);
	if (VHI_REFUSE(VHI_SITE_SOCK_RAW_REPLY, h->request != t->request || (!t->own && h->size != sizeof(uint64_t))))
		return VHI_SITE_SOCK_RAW_REPLY;
	return 0;
}

struct vhi_ticket *vhi_ticket_take_reply(struct vhi_tickets *l, struct vhi_msg *in)
{
	struct vhi_ticket *t;

	if (!l->expected.head)
		return NULL;
	t = list_pop(&l->expected);
	l->n_expected--;
	t->waiting = false;
	t->flags = in->header.flags;
	t->size = in->header.size;
	memcpy(t->payload, in->payload, t->size);
	t->n_fds = in->n_fds;
	memcpy(t->fds, in->fds, in->n_fds * sizeof(in->fds[0]));
	in->n_fds = 0;
	return t;
}

void vhi_ticket_done(struct vhi_tickets *l, struct vhi_ticket *t)
{
	if (t->abandoned)
		vhi_ticket_release(l, t);
	else
		list_push(&l->done, t);
}

void vhi_tickets_fail(struct vhi_tickets *l, int32_t code)
{
	while (l->expected.head) {
		struct vhi_ticket *t = list_pop(&l->expected);

		t->waiting = false;
		t->code = code;
		vhi_ticket_done(l, t);
	}
	l->n_expected = 0;
}

void vhi_tickets_free(struct vhi_tickets *l)
{
	while (l->done.head)
		vhi_ticket_release(l, list_pop(&l->done));
}

void vhi_ticket_describe(const struct vhi_tickets *l, const struct vhi_ticket *t, struct vhi_failure *f)
{
	uint64_t status = 0;
	int64_t err;

	/* What a back-end asks for and gets with a u64: 0, or there is none. */
	bool number = l->kind->side == VHI_WIRE_BACK_END && t->msg && t->msg->reply_payload == VHI_P_U64;

	f->code = 0;
	if (!t->own || number)
		memcpy(&status, t->payload, sizeof(status));
	if (!status)
		return;
	err = (int64_t)status;
	vhi_failure_set(f, -EREMOTEIO, VH_ERROR_PEER, 0, "%s refused %s (status 0x%llx%s%s)", l->kind->peer,
			name_of(l, t->request), (unsigned long long)status, err < 0 && err > -4096 ? " " : "",
			err < 0 && err > -4096 ? vh_error_name((int32_t)err) : "");
	f->request = t->request;
}

int vhi_ticket_take(struct vhi_tickets *l, uint64_t id, struct vhi_ticket **out)
{
	struct vhi_ticket *t = list_take(&l->done, id);

	if (t) {
		*out = t;
		return 0;
	}
	t = l->expected.head;
	while (t && (t->id != id || t->abandoned))
		t = t->next;
	return t ? vhi_fail(-EINPROGRESS, VH_ERROR_STATE, 0, "%s: the reply to %s is not here yet; dispatch",
			    l->kind->finish, name_of(l, t->request))
		 : vhi_fail(-ENOENT, VH_ERROR_ARGUMENT, 0, "%s: there is no ticket %llu; each is finished once",
			    l->kind->finish, (unsigned long long)id);
}

int vhi_ticket_give(struct vhi_tickets *l, struct vhi_ticket *t, void *buf, uint32_t cap, int *fds, uint32_t max_fds,
		    struct vh_msg_reply *out)
{
	const struct vh_msg_reply reply = {.size = sizeof(reply),
					   .request = t->request,
					   .flags = t->flags,
					   .payload_size = t->size,
					   .n_fds = t->n_fds};
	int rc = 0;

	if (t->size > cap || t->n_fds > max_fds)
		rc = vhi_fail_at(-EMSGSIZE, VH_ERROR_ARGUMENT, 0, VH_ERROR_NONE, t->request,
				 "%s: the reply has %u bytes and %u fds, there is room for %u and %u", l->kind->finish,
				 t->size, t->n_fds, cap, max_fds);
	if (!rc)
		rc = vhi_out_fill(out, &reply, sizeof(reply), l->kind->finish);
	if (rc) {
		list_push(&l->done, t); /* to be asked for again with more room */
		return rc;
	}
	if (t->size)
		memcpy(buf, t->payload, t->size);
	if (t->n_fds)
		memcpy(fds, t->fds, t->n_fds * sizeof(fds[0]));
	t->n_fds = 0;
	vhi_ticket_release(l, t);
	return 0;
}

int vhi_ask_in(struct vhi_ask *ask, const struct vh_msg *msg, const int *fds, const char *who)
{
	struct vh_msg in;
	int rc = msg ? vhi_opts_in(&in, sizeof(in), msg, "vh_msg")
		     : vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "%s: msg is NULL", who);

	if (rc)
		return rc;
	if (in.payload_size > VH_MSG_MAX_PAYLOAD || (in.payload_size && !in.payload) || in.n_fds > VH_MSG_SEND_FDS ||
	    (in.n_fds && !fds) || in.reply > VH_REPLY_OWN || in.reserved)
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: %u bytes, %u fds, reply %u; at most %u bytes, %u fds, a VH_REPLY_ value, 0 in "
				"reserved, and no NULL for what has a size",
				who, in.payload_size, in.n_fds, in.reply, VH_MSG_MAX_PAYLOAD, VH_MSG_SEND_FDS);
	*ask = (struct vhi_ask){.id = in.request,
				.reply = in.reply,
				.payload = (const void *)(uintptr_t)in.payload,
				.size = in.payload_size,
				.fds = fds,
				.n_fds = in.n_fds};
	return 0;
}

int vhi_finish_check(const void *buf, uint32_t cap, const int *fds, uint32_t max_fds, const struct vh_msg_reply *out,
		     const char *who)
{
	if ((cap && !buf) || (max_fds && !fds) || (!out && (buf || fds)))
		return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0,
				"%s: room for %u bytes and %u fds, but NULL for one of them or for out", who, cap,
				max_fds);
	return out ? vhi_out_check(out, who) : 0;
}
