/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The front-end inside. One struct; who does what:
 *
 *	master.c	the handle: new, free, stop, events, counters
 *	connection.c	how a connection begins and ends
 *	tickets.c	a request out, its reply in
 *	journal.c	sequences of them, without waiting
 *	effects.c	what both change here
 *	loop.c		the epoll fd, deadlines, waiting
 *	channel.c	the back-end's own requests
 *	answers.c	what is owed for them
 *	typed.c		those with a callback of their own
 *	shmem.c		the device's shared memory
 *	requests*.c	one call for each message
 *	memory.c	what is shared with the back-end
 *	postcopy.c	memory whose pages come later
 *	state.c		the device's state, in and out
 *	negotiate.c	features
 *	backend_ops.c	the table of intents
 */
#ifndef VHI_MASTER_H
#define VHI_MASTER_H

#include "vh/master.h"
#include "vh/request.h"
#include "vhi_backend.h"
#include "vhi_base.h"
#include "vhi_events.h"
#include "vhi_gate.h"
#include "vhi_iotlb.h"
#include "vhi_log.h"
#include "vhi_mem.h"
#include "vhi_sock.h"
#include "vhi_tickets.h"
#include "vhi_wire.h"

#include <pthread.h>
#include <unistd.h>

enum vhi_master_site {
#define VHI_SITE VHI_SITE_ENUM
#include "sites.def"
#undef VHI_SITE
};

/* Unfinished tickets, and bytes that their replies may take: what a caller who never finishes can use up. */
#define VHI_MASTER_MAX_TICKETS 1024u
#define VHI_MASTER_MAX_REPLIES (1024u * 1024u)
#define VHI_MASTER_MAX_RINGS   256u /* kick, call and err name a ring by 8 bits */
#define VHI_MASTER_MAX_NUM     32768u
#define VHI_MASTER_MAX_CONFIG  256u

/* Protocol features that are acked when offered. */
#define VHI_MASTER_PF                                                                                             \
	(VHI_BIT(VH_PF_RARP) | VHI_BIT(VH_PF_MTU) | VHI_BIT(VH_PF_CRYPTO_SESSION) | VHI_BIT(VH_PF_CROSS_ENDIAN) | \
	 VHI_BIT(VH_PF_MQ) | VHI_BIT(VH_PF_LOG_SHMFD) | VHI_BIT(VH_PF_REPLY_ACK) | VHI_BIT(VH_PF_BACKEND_REQ) |   \
	 VHI_BIT(VH_PF_CONFIG) | VHI_BIT(VH_PF_RESET_DEVICE) | VHI_BIT(VH_PF_CONFIGURE_MEM_SLOTS) |               \
	 VHI_BIT(VH_PF_STATUS) | VHI_BIT(VH_PF_DEVICE_STATE) | VHI_BIT(VH_PF_INFLIGHT_SHMFD) |                    \
	 VHI_BIT(VH_PF_PAGEFAULT))

/* Feature bits that belong to the transport: never shown to a driver. */
#define VHI_MASTER_TRANSPORT (VHI_BIT(VH_F_LOG_ALL) | VHI_BIT(VH_F_PROTOCOL_FEATURES))

/* What becomes of a request beyond its result: runs when its reply is here, or when it is sent if there will be none. */
struct vhi_effect {
	void (*run)(struct vh_master *m, const struct vhi_effect *e, bool accepted); /* nullable */
	struct vh_snapshot *snap; /* nullable; a ticket holds a reference */
	uint32_t index;
	struct vhi_wire_region region;
};

/* What a ticket has beside its reply. */
struct vhi_pending {
	struct vhi_ticket t;
	bool interrupted; /* abandoned by a call that waited for it: see vh_master_resume() */
	uint64_t before;  /* what the request replaced when it was sent */
	struct vhi_effect effect;
};

static inline struct vhi_pending *vhi_pending_of(const struct vhi_ticket *t)
{
	return VHI_CONTAINER(t, struct vhi_pending, t);
}

/* A region that the back-end has. The snapshot pins the mapping, so that its address stays its identity. */
struct vhi_shared {
	struct vhi_wire_region wire;
	const struct vhi_region *region;
	struct vh_snapshot *snap;
};

/* Answers that can be owed for the back-end's requests: one that waits for each needs a single one. */
#define VHI_MASTER_MAX_ANSWERS 16u

/* An answer that is owed on the back-end's channel. None of the table has more than a u64 and an fd. */
struct vhi_answer {
	uint64_t token;
	const struct vhi_wire_msg *msg; /* NULL: an id that the table does not know */
	uint32_t request;
	enum vhi_wire_answer form; /* NONE: the user may make a reply of its own of it */
	bool ready;
	uint32_t size;
	uint64_t value;		  /* the payload, */
	void *more;		  /* or one that is larger */
	struct vhi_wire_mmap map; /* of a request that changes shared memory */
	uint32_t n_fds;
	int fds[1];
};

enum vhi_master_state { VHI_MASTER_IDLE, VHI_MASTER_CONNECTED, VHI_MASTER_FAILED };

/* What epoll says is ready. */
enum vhi_master_source {
	VHI_SRC_MAIN,
	VHI_SRC_BACK,
	VHI_SRC_LISTENER,
	VHI_SRC_CANCEL,
	VHI_SRC_TIMER,
	VHI_SRC_STATE, /* only while its call waits */
	VHI_SRC_COUNT
};

/* Requests of one handle that are sent without waiting, and the one that waits for all of them. */
#define VHI_MASTER_MAX_LATER 4u

struct vh_master {
	struct vhi_gate gate;
	uint32_t serving;  /* depth of the gate at which backend_request was called, 0 = not in it */
	uint32_t stopping; /* atomic: a waiting call must come back */
	struct vh_master_opts opts;
	struct vh_master_ops ops;
	void *ctx;
	struct vhi_log log;
	struct vhi_trace trace;
	struct vh_backend backend;

	pid_t pid; /* that made it: a child has the same open files */
	int epoll, cancel, timer, listener;
	uint64_t timer_ns;	   /* what it is set to */
	struct vhi_sock_file file; /* of the listener */

	enum vhi_master_state state;
	struct vhi_failure failure; /* why the last connection ended, code 0 = there was none */
	bool reported;		    /* a call has returned that failure */
	bool closing;		    /* failed inside a callback: to be closed when it has returned */
	struct vhi_chan main, back;
	uint32_t interest[VHI_SRC_COUNT]; /* what epoll watches for */
	uint64_t send_deadline_ns;	  /* while the back-end does not read, 0 = it does */
	size_t send_left;		  /* bytes that waited when that was last looked at */

	struct vhi_wire_features features;
	uint64_t owned; /* SET_OWNER was sent */
	uint32_t queue_num, mem_slots;
	uint32_t last_request;
	uint32_t ended; /* atomic: connections that ended */

	struct vhi_tickets tickets;
	struct vhi_ticket *later[VHI_MASTER_MAX_LATER]; /* sent, and to be waited for by the next call that does */
	uint32_t n_later;
	/* The call that was interrupted last: its tickets, and its result as soon as that is known. */
	uint64_t interrupted_from, interrupted;
	bool result_known;
	struct vhi_failure result;

	struct vhi_shared *shared; /* VH_MEM_MAX_REGIONS, allocated with the handle's first sharing */
	uint32_t n_shared;
	struct vh_iotlb *map;	 /* by which misses are answered, NULL = none */
	struct vh_snapshot *mem; /* what set_memory shared last: ring addresses are translated in it */

	struct vh_postcopy *postcopy; /* a reference, NULL = none */
	bool listening;		      /* the back-end answers with its addresses, */
	uint32_t unacknowledged; /* and waits to hear that they are known: id of the last answer, 0 = it does not */

	struct vhi_events events;
	uint64_t messages_in, messages_out, bytes_in, bytes_out; /* of connections that ended */
	uint64_t rejected, backend_requests;

	struct {
		uint64_t sizes[VH_SHMEM_MAX];
		struct vhi_shm_area *areas;
		uint32_t n;
	} shmem; /* see shmem.c */

	struct vhi_answer answers[VHI_MASTER_MAX_ANSWERS]; /* a ring */
	uint32_t first_answer, n_answers;
	uint64_t last_token;

	/* journal.c */
	struct {
		bool on; /* calls of this thread don't wait */
		pthread_t thread;
		struct vhi_journal_entry *entries;
	} journal;

	char *address; /* where the last connection was made to, NULL: it was not made by us */
	struct vhi_config_writes *config;
};

/* What was written into config space, for a device that begins anew. */
struct vhi_config_writes {
	uint8_t bytes[VHI_MASTER_MAX_CONFIG];
	bool written[VHI_MASTER_MAX_CONFIG];
};

/* master.c. What a call needs besides a handle. */
#define VHI_CALL_WAITS	   1u /* not from inside a callback: -EDEADLK */
#define VHI_CALL_CONNECTED 2u
#define VHI_CALL_INSIDE	   4u /* also from inside backend_request */
int vhi_master_enter(struct vh_master *m, const char *who, uint32_t needs);
int32_t vhi_master_leave(struct vh_master *m, int32_t rc); /* @m may be gone after it */
void vhi_master_event(struct vh_master *m, uint32_t kind, int32_t reason, uint64_t value);
const char *vhi_master_site_text(uint32_t site);
const char *vhi_master_why(uint32_t site); /* the text of a site of any folder below */

/* connection.c */
int vhi_master_attach(struct vh_master *m, struct vhi_transport transport); /* takes it over; a new connection */
__attribute__((format(printf, 5, 6))) int32_t vhi_master_fail(struct vh_master *m, int32_t code, uint32_t domain,
							      uint32_t site, const char *fmt, ...);
void vhi_master_close_back(struct vh_master *m);
void vhi_master_finish_closing(struct vh_master *m);
int vhi_master_take_client(struct vh_master *m); /* 1 = connected, 0 = nobody there, -errno */
bool vhi_master_connected(struct vh_master *m);	 /* also a client that waits to be accepted, from now on */
/* To where it was connected to, without waiting: see vhi_backend_ops.reopen. */
int vhi_master_reopen(struct vh_master *m);
int32_t vhi_master_not_connected(struct vh_master *m, const char *who);

/* tickets.c */
struct vhi_request {
	uint32_t id;
	uint32_t reply; /* VH_REPLY_* */
	const void *payload;
	uint32_t size;
	const int *fds;
	uint32_t n_fds;
	bool later; /* vhi_master_call() does not wait: the next one that does sees to its result first */
	struct vhi_effect effect;
};
int vhi_master_send(struct vh_master *m, const struct vhi_request *rq, struct vhi_ticket **ticket);
/* Send and wait. *ticket (nullable) is taken out of the list: for vhi_ticket_free; NULL when there is no reply. */
int vhi_master_call(struct vh_master *m, const struct vhi_request *rq, struct vhi_ticket **ticket);
/* The same where the reply is a u64. */
int vhi_master_call_u64(struct vh_master *m, const struct vhi_request *rq, uint64_t *value);
/* All of a public call whose request has nothing but a status for a reply. */
vh_rc vhi_master_request(struct vh_master *m, const char *who, const struct vhi_request *rq);
void vhi_master_reply(struct vh_master *m, uint32_t site); /* pairs m->main.in with the oldest ticket */
void vhi_master_fail_tickets(struct vh_master *m, int32_t code);
extern const struct vhi_ticket_kind vhi_master_tickets;
void vhi_ticket_free(struct vh_master *m, struct vhi_ticket *t);
/* The one fd of a reply, which is the caller's from now on; -1 = there is none. */
int vhi_ticket_take_fd(struct vhi_ticket *t);
/* Wait for the tickets of interrupted calls, for a call that needs to know how they ended. */
int vhi_master_catch_up(struct vh_master *m, const char *who);
/* How a wait ended in which nothing was lost: after -EINTR vh_master_resume() says to call @what again. */
int vhi_master_unsent(struct vh_master *m, const char *what, int rc);

int vhi_master_ticket_result(struct vh_master *m, const struct vhi_ticket *t); /* how a finished one ended */

/* journal.c */
bool vhi_journal_on(const struct vh_master *m); /* for the calling thread */
int vhi_journal_call(struct vh_master *m, const struct vhi_request *rq, struct vhi_ticket **ticket);
int vhi_journal_step(struct vh_master *m, enum vhi_step what);
void vhi_journal_free(struct vh_master *m);

/* effects.c */
void vhi_master_sent(struct vh_master *m, const struct vhi_request *rq, struct vhi_ticket *t); /* @t nullable */
void vhi_master_replied(struct vh_master *m, const struct vhi_ticket *t);

/* loop.c */
int vhi_loop_open(struct vh_master *m);
void vhi_loop_close(struct vh_master *m);
int vhi_loop_add(struct vh_master *m, enum vhi_master_source source, int fd);
void vhi_loop_remove(struct vh_master *m, int fd);
void vhi_loop_settle(struct vh_master *m); /* before the thread leaves: interest and timer are as they should be */
/* One turn. Waits up to @until_ns for something to happen (0 = does not). 1 = there is more, 0, -EINTR. */
int vhi_loop_turn(struct vh_master *m, uint64_t until_ns);
bool vhi_loop_goes_on(struct vh_master *m); /* asks the user's waiting(), which is there */
int vhi_loop_check(struct vh_master *m);    /* -ESHUTDOWN, or the failure of a connection that ended */
void vhi_loop_receive(struct vh_master *m);
void vhi_loop_sent(struct vh_master *m); /* after a send: is the back-end reading? */

/* channel.c */
int vhi_master_open_back(struct vh_master *m, int *peer);
int vhi_master_serve(struct vh_master *m); /* 1 = there may be more */

void vhi_master_send_answers(struct vh_master *m);

/* iotlb.c. Is there somebody who knows what I/O addresses mean? */
bool vhi_master_knows_iova(const struct vh_master *m);
int32_t vhi_master_iotlb(struct vh_master *m,
			 const struct vhi_msg *in); /* a request of the back-end's; as backend_request() */
int vhi_master_map(struct vh_master *m, const struct vh_iotlb_entry *e); /* of guest addresses, in a map of our own */
int vhi_master_unmap(struct vh_master *m, uint64_t iova, uint64_t len);
bool vhi_master_behind(const struct vh_master *m); /* ACCESS_PLATFORM is acked */

/* answers.c. A new one owed, NULL when there are too many. */
struct vhi_answer *vhi_answer_open(struct vh_master *m, const struct vhi_wire_msg *msg, uint32_t request,
				   enum vhi_wire_answer form);
struct vhi_answer *vhi_answer_find(struct vh_master *m, uint64_t token); /* not ready yet */
void vhi_answer_status(struct vh_master *m, struct vhi_answer *a, bool refused);
/* vh_master_answer() from inside. */
int vhi_answer_give(struct vh_master *m, uint64_t token, vh_rc result, const void *payload, uint32_t size,
		    const vh_fd *fds, uint32_t n_fds);
int vhi_answers_send(struct vh_master *m, uint32_t *site); /* those at the front that are ready */
void vhi_answers_drop(struct vh_master *m);

/* postcopy.c */
void vhi_postcopy_drop(struct vh_master *m);
uint32_t vhi_postcopy_reply(const struct vh_master *m); /* VH_REPLY_* of a message that shares memory */
int vhi_postcopy_fits(const struct vh_master *m, const struct vh_snapshot *snap, const char *who);
/* The reply to one: does it tell of @e? A site number or 0. Then what it says is kept. */
uint32_t vhi_postcopy_check(const struct vhi_effect *e, const struct vhi_msg *in);
void vhi_postcopy_learn(struct vh_master *m, const struct vhi_effect *e, const struct vhi_ticket *t);
void vhi_postcopy_forget(struct vh_master *m, uint64_t gpa);
int vhi_postcopy_acknowledge(struct vh_master *m); /* the addresses of the last ones are known */

/* typed.c */
bool vhi_typed_has(const struct vh_master *m, uint32_t request);
uint64_t vhi_typed_pf(const struct vh_master *m); /* features that are acked for the callbacks that are there */
uint32_t vhi_typed_check(struct vh_master *m, const struct vhi_msg *in);
int32_t vhi_typed_call(struct vh_master *m, const struct vhi_msg *in, struct vhi_answer *owed);

/* shmem.c */
uint32_t vhi_shmem_check_map(struct vh_master *m, const struct vhi_msg *in);
uint32_t vhi_shmem_check_unmap(struct vh_master *m, const struct vhi_msg *in);
void vhi_shmem_begin(struct vh_master *m, uint32_t request, const struct vhi_wire_mmap *map);
void vhi_shmem_end(struct vh_master *m, uint32_t request, const struct vhi_wire_mmap *map, bool refused);
void vhi_shmem_sizes(struct vh_master *m, const void *payload);
void vhi_shmem_reset(struct vh_master *m); /* nothing is mapped any more */
/* Ring addresses and what stands for user addresses are guest addresses. */
static inline bool vhi_master_by_gpa(const struct vh_master *m)
{
	return m->features.pf_acked & VHI_BIT(VH_PF_GPA_ADDRESSES);
}

/* memory.c */
void vhi_master_forget_memory(struct vh_master *m);

/* negotiate.c */
int32_t vhi_master_send_refused(struct vh_master *m, uint32_t site, const struct vhi_wire_msg *msg);

extern const struct vhi_backend_ops vhi_master_backend_ops;

#endif
