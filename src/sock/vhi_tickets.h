/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Requests out, replies in, for either side. Replies carry no number: the protocol answers in order, so the reply that
 * comes belongs to the oldest ticket, or the channel is broken. Whose requests they are, and what else a ticket holds,
 * is the owner's: its struct begins with a vhi_ticket.
 */
#ifndef VHI_TICKETS_H
#define VHI_TICKETS_H

#include "vhi_sock.h"

/* A reply that is expected, or has come and was not taken yet. One allocation, with room for the largest reply. */
struct vhi_ticket {
	struct vhi_ticket *next;
	uint64_t id;
	uint64_t sent_ns;
	uint64_t deadline_ns;		/* never before that of the ticket in front of it */
	const struct vhi_wire_msg *msg; /* NULL: an id that the table does not know */
	uint32_t request;
	bool own; /* a reply of its own; else a status */
	bool waiting;
	bool abandoned;	   /* nobody will finish it */
	uint32_t asked[2]; /* the first bytes of the request */
	int32_t code;	   /* why there is no reply */
	uint32_t flags;	   /* of the reply */
	uint32_t size;
	uint32_t room;
	uint32_t n_fds;
	int fds[VHI_WIRE_MAX_FDS];
	uint8_t *payload;
};

struct vhi_ticket_list {
	struct vhi_ticket *head, *tail;
};

/* What the two sides have different. */
struct vhi_ticket_kind {
	enum vhi_wire_side side;	    /* whose requests */
	const char *peer;		    /* in messages: "the back-end" */
	const char *submit, *finish;	    /* the calls that make and end a ticket */
	size_t size;			    /* of the owner's struct */
	void (*drop)(struct vhi_ticket *t); /* nullable: what else it holds */
	uint32_t max;			    /* unfinished tickets, */
	size_t max_room;		    /* and bytes that their replies may take */
};

struct vhi_tickets {
	const struct vhi_ticket_kind *kind;
	struct vhi_ticket_list expected, done;
	uint32_t n_expected, n;
	size_t room; /* of all */
	uint64_t last_id;
};

/* A request to be sent. */
struct vhi_ask {
	uint32_t id;
	uint32_t reply; /* VH_REPLY_* */
	const void *payload;
	uint32_t size;
	const int *fds;
	uint32_t n_fds;
};

/*
 * Before it is sent, after the table's strict column let it pass: its header flags, and its ticket, NULL when no reply
 * will come. Returns 0 or -errno with the last error set.
 */
int vhi_ticket_begin(struct vhi_tickets *l, const struct vhi_ask *ask, const struct vhi_wire_features *f,
		     uint32_t *flags, struct vhi_ticket **out);
/* It was sent. A ticket can't be late before the one in front of it is. */
void vhi_ticket_sent(struct vhi_tickets *l, struct vhi_ticket *t, uint64_t wait_ns);
void vhi_ticket_release(struct vhi_tickets *l, struct vhi_ticket *t); /* nullable; not in a list */

/* Does the reply @in fit the oldest ticket? A site number, or 0. */
uint32_t vhi_ticket_check(const struct vhi_tickets *l, const struct vhi_msg *in);
/* Then the oldest ticket takes it over, fds included. */
struct vhi_ticket *vhi_ticket_take_reply(struct vhi_tickets *l, struct vhi_msg *in);
/* After that: to those that can be finished, or freed. */
void vhi_ticket_done(struct vhi_tickets *l, struct vhi_ticket *t);
/* No reply will come to any of them. */
void vhi_tickets_fail(struct vhi_tickets *l, int32_t code);
void vhi_tickets_free(struct vhi_tickets *l); /* those that are done */

/* What a reply says about its request: a failure, or one with the code 0. */
void vhi_ticket_describe(const struct vhi_tickets *l, const struct vhi_ticket *t, struct vhi_failure *f);
/* Out of the list of those that are done; *out is the caller's. -EINPROGRESS, -ENOENT. */
int vhi_ticket_take(struct vhi_tickets *l, uint64_t id, struct vhi_ticket **out);
/* Its reply; with -EMSGSIZE the ticket is back in the list, else the fds are the caller's. */
struct vh_msg_reply;
int vhi_ticket_give(struct vhi_tickets *l, struct vhi_ticket *t, void *buf, uint32_t cap, int *fds, uint32_t max_fds,
		    struct vh_msg_reply *out);

/* A public request as one of ours; @who is the call. The arguments of a finish call. */
struct vh_msg;
int vhi_ask_in(struct vhi_ask *ask, const struct vh_msg *msg, const int *fds, const char *who);
int vhi_finish_check(const void *buf, uint32_t cap, const int *fds, uint32_t max_fds, const struct vh_msg_reply *out,
		     const char *who);

#endif
