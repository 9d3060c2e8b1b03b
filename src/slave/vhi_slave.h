/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The vhost-user back-end inside. slave.c: life of the handle and its public calls; loop.c: one round of dispatch;
 * listen.c: who may connect; dial.c: the other way round; conn.c: the connection, message by message, and the replies
 * that are owed; rings.c: the ring machine; handlers_*.c: one function for each message; by_hand.c: messages that the
 * user answers and asks; channel.c: requests of our own, and requests.c: what they are;
 * device.c: what the device asks for; state.c: what it remembers, on its way;
 * postcopy.c: memory whose pages come later; stats.c: counters; show.c: the same for who looks at the process; pause.c: everything at rest; handover*.c: to a successor; inband.c: notifications by message.
 */
#ifndef VHI_SLAVE_H
#define VHI_SLAVE_H

#include <pthread.h>

#include "vh/slave.h"
#include "vh/metrics.h"
#include "vhi_address.h"
#include "vhi_backoff.h"
#include "vhi_base.h"
#include "vhi_device.h"
#include "vhi_events.h"
#include "vhi_gate.h"
#include "vhi_log.h"
#include "vhi_mem.h"
#include "vhi_queue.h"
#include "vhi_serve.h"
#include "vhi_sock.h"
#include "vhi_metrics.h"
#include "vhi_stream.h"
#include "vhi_tickets.h"
#include "vhi_wire.h"

enum vhi_slave_site {
#define VHI_SITE VHI_SITE_ENUM
#include "sites.def"
#undef VHI_SITE
};

/* Protocol features that this version works with, whatever the device; see slave.c for those that it has to do. */
#define VHI_SLAVE_PF                                                                                            \
	(VHI_BIT(VH_PF_MQ) | VHI_BIT(VH_PF_LOG_SHMFD) | VHI_BIT(VH_PF_REPLY_ACK) | VHI_BIT(VH_PF_BACKEND_REQ) | \
	 VHI_BIT(VH_PF_RESET_DEVICE) | VHI_BIT(VH_PF_CONFIGURE_MEM_SLOTS) | VHI_BIT(VH_PF_STATUS))

/* Device status bits (virtio 1.2 section 2.1). */
#define VHI_STATUS_FEATURES_OK 8u
#define VHI_STATUS_NEEDS_RESET 64u

/*
 * Rings. Whether it is started is a state; whether it is enabled is a flag beside it.
 */
enum vhi_vring_state {
	VHI_VRING_STOPPED,  /* nobody asked for it */
	VHI_VRING_WANTED,   /* SET_VRING_KICK came, but size, addresses or memory are missing */
	VHI_VRING_RUNNING,  /* started */
	VHI_VRING_DRAINING, /* takes nothing new, waits for the requests in flight */
	VHI_VRING_BROKEN,   /* the queue found an error: started, but not looked at any more */
	VHI_VRING_STATES
};

enum vhi_vring_event {
	VHI_VRING_KICK_MSG,   /* SET_VRING_KICK */
	VHI_VRING_CONFIGURED, /* a message arrived that may have been the missing one */
	VHI_VRING_KICKED,     /* the kick fd was signalled */
	VHI_VRING_STOP,	      /* GET_VRING_BASE, reset */
	VHI_VRING_PARK,	      /* GET_VRING_BASE_SKIP_DRAIN */
	VHI_VRING_DRAINED,    /* maybe the last request in flight was pushed */
	VHI_VRING_BROKE,      /* the queue broke */
	VHI_VRING_GONE,	      /* the connection ended */
	VHI_VRING_EVENTS
};

struct vhi_vring {
	struct vh_queue *q;
	struct vhi_serve serve;
	struct vh_vring_addr addr;	     /* as it came: user addresses */
	struct vhi_gpa desc, driver, device; /* while started: what they were translated to */
	uint32_t num;			     /* 0 = not set */
	uint32_t base;			     /* as it came, or where it stopped; see vhi_vring_base() */
	uint8_t state;			     /* enum vhi_vring_state */
	bool has_addr, has_base, enabled;
	bool paused;	  /* quiesced for a change of memory */
	bool watched;	  /* the kick fd is in our epoll set */
	bool busy;	  /* wanted and complete, but its queue is not yet left */
	bool moving;	  /* has to follow a change of memory */
	bool lost;	  /* it was told that its inflight records are */
	bool fresh;	  /* it was not told yet what was in flight before */
	uint32_t told;	  /* VHI_TELL_* that wait */
	uint64_t telling; /* ticket of the one on its way, 0 = none */
};

/*
 * Replies. A handler is done, refuses, or leaves a job that is stepped until it is one of both. Jobs wait in one queue
 * for the connection, so that replies leave in the order of their requests.
 */
enum vhi_outcome { VHI_DONE, VHI_REFUSED, VHI_PENDING };

#define VHI_SLAVE_REPLY_MAX VHI_WIRE_MAX_PAYLOAD /* a reply by hand may have as many */

struct vh_slave;
struct vhi_job;
typedef enum vhi_outcome vhi_step(struct vh_slave *s, struct vhi_job *job);

struct vhi_job {
	struct vhi_job *next;
	struct vhi_wire_header header;	/* of the request */
	const struct vhi_wire_msg *msg; /* NULL: unknown id */
	enum vhi_wire_answer answer;
	enum vhi_wire_refusal refusal;
	uint32_t site; /* why it was refused */
	bool ready;    /* answered, but an earlier one is not */

	/* While pending. */
	vhi_step *step;
	uint64_t since_ns;
	uint64_t deadline_ns;
	uint32_t phase;
	uint32_t queue;
	uint64_t value;
	int32_t rc;		  /* what a callback said */
	uint64_t later;		  /* and by which token it answers */
	uint64_t token;		  /* of a request that is answered by hand, 0 = none */
	bool answered;		  /* by vh_slave_answer(): rc and the reply say how */
	struct vh_snapshot *snap; /* a reference */

	int reply_fd; /* sent and closed with the reply; -1 = none */
	uint32_t reply_size;
	/* Who sets its size writes all of that: it is not zero before. */
	_Alignas(8) uint8_t reply[VHI_SLAVE_REPLY_MAX];
};

struct vhi_handler {
	enum vhi_outcome (*run)(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job);
	bool safe; /* may run while an earlier request is unanswered */
};

/* The handler of a front-end request, NULL when it is not implemented. */
const struct vhi_handler *vhi_handler_find(uint32_t id);

/* The device's state on its way through a pipe; see state.c. */
struct vhi_state;

struct vhi_conn {
	bool open;
	bool ending;	  /* to be closed when nothing of it is on the stack */
	bool half_closed; /* nothing more comes, but what is owed may still be sent */
	bool held;	  /* main.in waits until what is owed is answered */
	uint32_t held_site;
	bool features_refused;
	bool features_told; /* the device knows of this connection's choice */
	bool paused;	    /* no further message is begun */
	int32_t end_reason;
	uint8_t status;
	struct vhi_chan main;
	struct vhi_wire_features f;
	struct vh_iotlb *iotlb;	       /* NULL: ACCESS_PLATFORM is not offered */
	struct vhi_unmapped *unmapped; /* what the invalidation that is owed took back; there with iotlb */
	struct vhi_job *jobs, **jobs_tail;
	uint32_t n_jobs;
	uint32_t main_interest; /* epoll events asked for */

	/* The dirty log. */
	struct vh_dirty *log; /* NULL = none was given */
	int log_call;	      /* signalled when bits were set, -1 = none */
	bool log_told;	      /* that it is incomplete */

	/* The device's state. */
	struct vhi_state *state;       /* NULL = none on its way */
	int32_t state_rc;	       /* how the last one ended, -ENODATA = there was none */
	struct vhi_inflight *inflight; /* records of what is in flight, NULL = none */

	/* Postcopy. */
	uint32_t postcopy;	  /* VH_POSTCOPY_* */
	int uffd;		  /* -1 = none */
	uint64_t ack_deadline_ns; /* until when the front-end has to say that it knows our addresses, 0 = it needn't */

	/* The back-end channel. */
	struct vhi_chan *back; /* NULL = there is none */
	uint32_t back_interest;
	bool config_changed; /* to be told when a ring starts */
};

/* How it comes by a front-end that listens, and by the next one. */
struct vhi_dial {
	struct vhi_backoff backoff;
	uint64_t next_ns; /* of the next try, 0 = none is due */
	char *address;	  /* NULL = it does not connect by itself */
};

struct vhi_slave_counts {
	uint64_t connections, refused, errors, rejected;
	uint64_t messages_in, messages_out, bytes_in, bytes_out;
};

/* Counters that are told as a difference. */
#define VHI_STATS_SINCE 13u

struct vh_slave {
	struct vhi_gate gate;
	uint32_t stopping;	/* atomic */
	uint32_t device_failed; /* atomic: some ring's device_rc is to be told */
	struct vhi_log log;
	struct vhi_trace trace;
	struct vh_slave_opts opts; /* defaults filled in */
	struct vh_slave_ops ops;
	void *ctx;
	uint64_t features, pf; /* offered */

	struct vh_device *dev;
	struct vh_mem *mem;
	struct vhi_vring *rings;
	uint32_t n_queues;
	struct vhi_events events;

	pid_t pid; /* that made it: a child has the same open files */
	int epfd, wake_fd, timer_fd;
	uint64_t timer_ns; /* what timer_fd is set to, 0 = off */
	bool dispatching;
	bool more;	  /* the last round left something to do */
	bool polling;	  /* what it left is to look at rings, and nothing else */
	uint32_t rounds;  /* since it polls */
	bool answered;	  /* something, since it last waited */
	uint32_t soon_ns; /* for how long a wait looks for what follows an answer, 0 = that was in vain lately */
	uint32_t sleeps;  /* of those that did not look */
	bool destroying;
	bool paused;	 /* see pause.c */
	bool rings_held; /* while paused: rings take nothing */
	bool quiet;	 /* while paused: VH_EVENT_PAUSED was raised */
	bool exported;	 /* somebody else has what we have */

	int listen_fd;
	uint64_t listen_retry_ns;  /* out of fds: not watched until then, 0 = watched */
	struct vhi_sock_file file; /* of the listening socket */
	struct vhi_dial dial;

	struct vhi_conn conn;
	struct vhi_tickets tickets; /* of requests of our own */
	struct vhi_job *asking;	    /* whose callback request() is running, NULL = none */
	uint64_t last_token;
	struct vhi_slave_counts stats;	    /* of connections that ended, and what is not counted elsewhere */
	uint64_t at_begin[VHI_STATS_SINCE]; /* of the present connection; see stats.c */
	struct vhi_show *show;		    /* NULL = nobody looks */
};

/* slave.c: around every public call. @call is its name; leave passes rc through. */
vh_rc vhi_slave_enter(struct vh_slave *s, const char *call);
vh_count vhi_slave_leave(struct vh_slave *s, vh_count rc);
void vhi_slave_wake(void *s); /* from any thread: there is something to do */

/* The most that a wait looks for what follows an answer before it sleeps. */
#define VHI_SOON_NS 20000u

/* loop.c: sources in the epoll set; the tag comes back with the event. */
enum vhi_source {
	VHI_SOURCE_WAKE,
	VHI_SOURCE_TIMER,
	VHI_SOURCE_LISTENER,
	VHI_SOURCE_MAIN,
	VHI_SOURCE_BACK,
	VHI_SOURCE_DEVICE,
	VHI_SOURCE_STATE,
	VHI_SOURCE_KICK,
};
int vhi_slave_watch(struct vh_slave *s, int op, int fd, enum vhi_source source, uint32_t index, uint32_t events);
void vhi_slave_set_timer(struct vh_slave *s);
/* One round: wait up to @timeout_ms, do what is to be done. 1, 0 or -errno. */
int vhi_slave_round(struct vh_slave *s, int timeout_ms);
/* True when a callback stopped or freed the handle. */
bool vhi_slave_ended(struct vh_slave *s);

/* conn.c */
int vhi_conn_begin(struct vh_slave *s, int fd); /* takes fd */
void vhi_conn_end(struct vh_slave *s);		/* when .ending is set; safe only where no message is being handled */
/* Mark it; @reason 0 = the peer closed. The first reason stays. */
void vhi_conn_fail(struct vh_slave *s, int32_t reason);
bool vhi_conn_receive(struct vh_slave *s); /* some messages; true = there may be more */
bool vhi_conn_step(struct vh_slave *s);	   /* what is owed; true = something was answered */
void vhi_conn_flush(struct vh_slave *s);
void vhi_conn_update(struct vh_slave *s); /* ask epoll for what can be used now */
void vhi_conn_hung_up(struct vh_slave *s);
void vhi_conn_complete(struct vh_slave *s); /* end it when the peer said its last and has its answers */
uint64_t vhi_conn_deadline(struct vh_slave *s);
void vhi_conn_expire(struct vh_slave *s, uint64_t now);
const char *vhi_slave_any_site_text(uint32_t site);
bool vhi_slave_acked(const struct vh_slave *s, unsigned pf_bit);

/* listen.c */
int vhi_listen_start(struct vh_slave *s, int fd); /* takes fd */
void vhi_listen_accept(struct vh_slave *s);
void vhi_listen_resume(struct vh_slave *s);
void vhi_listen_watch(struct vh_slave *s);		/* unless there is a reason not to */
vh_rc vhi_slave_check_unused(const struct vh_slave *s); /* it neither listens nor is connected */

/* dial.c */
#define VHI_DIAL_ADDRESS 128u /* bytes, as a successor is told it */
int vhi_dial_to(struct vhi_dial *d, const char *address);
void vhi_dial_forget(struct vhi_dial *d);
void vhi_dial_step(struct vh_slave *s);				      /* a try, if one is due */
void vhi_dial_ended(struct vh_slave *s, bool worked, int32_t reason); /* a connection did; messages came, or none */
uint64_t vhi_dial_deadline(const struct vh_slave *s);

/* pause.c */
void vhi_pause_step(struct vh_slave *s);
bool vhi_pause_quiet(const struct vh_slave *s);

/* rings.c */
uint32_t vhi_vring_event(struct vh_slave *s, uint32_t i, enum vhi_vring_event ev); /* 0 or a site number */
bool vhi_vring_started(const struct vhi_vring *r);
void vhi_vring_look(struct vh_slave *s, struct vhi_vring *r); /* in the next round, or on the thread that drives it */
bool vhi_vring_any_started(const struct vh_slave *s);
/* Where the parts of a ring of @num entries at @addr are. False when one is not wholly inside one region. */
bool vhi_vring_locate(const struct vh_slave *s, const struct vh_snapshot *snap, const struct vh_vring_addr *addr,
		      uint32_t num, struct vhi_gpa out[3]);
int vhi_vring_set_kick(struct vh_slave *s, uint32_t i, int fd); /* takes fd */
/* Where it starts next, and what it reports when stopped; and the same of a value that comes from the front-end. */
uint32_t vhi_vring_base(const struct vh_slave *s, const struct vhi_vring *r);
uint32_t vhi_vring_base_of(const struct vh_slave *s, uint32_t value);
void vhi_vring_enable(struct vh_slave *s, uint32_t i, bool on);
void vhi_vring_initial(struct vh_slave *s, uint32_t i); /* as after a reset; stopped before */
/* rings_mem.c. All started rings take nothing new until resumed; true when they are settled and nothing is in flight. */
void vhi_vring_pause_all(struct vh_slave *s);
void vhi_vring_resume_all(struct vh_slave *s);
bool vhi_vring_quiet(const struct vh_slave *s);
bool vhi_vring_settled(const struct vh_slave *s);
/* Move started rings to @snap; a ring that is not in it breaks. False: call again, some queue is in use. */
void vhi_vring_move_begin(struct vh_slave *s);
bool vhi_vring_move(struct vh_slave *s, struct vh_snapshot *snap);
void vhi_vring_configured_all(struct vh_slave *s);
void vhi_vring_woken(struct vh_slave *s);   /* some queue changed */
void vhi_vring_run_all(struct vh_slave *s); /* a batch of each ring that is to be looked at */
bool vhi_vring_any_pending(const struct vh_slave *s);
bool vhi_vring_only_polls(const struct vh_slave *s); /* of these, all are just looked at */

/* handlers_log.c */
struct vhi_queue_log vhi_vring_log(const struct vh_slave *s, const struct vhi_vring *r);
void vhi_vring_relog(struct vh_slave *s, uint32_t i); /* what vhi_vring_log() says may have changed */
void vhi_vring_relog_all(struct vh_slave *s);
void vhi_log_check(struct vh_slave *s); /* tell when it is incomplete */
void vhi_log_end(struct vh_slave *s);

/* iotlb.c */
int vhi_slave_iotlb_begin(struct vh_slave *s); /* of a connection */
void vhi_slave_iotlb_end(struct vh_slave *s);
bool vhi_slave_behind(const struct vh_slave *s);  /* ring and descriptor addresses are I/O addresses */
void vhi_slave_iotlb_forget(struct vh_slave *s);  /* no ring runs any more */
void vhi_slave_iotlb_memory(struct vh_slave *s);  /* which changed */
void vhi_slave_iotlb_channel(struct vh_slave *s); /* there is another one to ask on */
void vhi_slave_iotlb_step(struct vh_slave *s);	  /* ask for what queues missed */
uint64_t vhi_slave_iotlb_deadline(const struct vh_slave *s);
void vhi_slave_iotlb_refused(struct vh_slave *s, uint64_t iova); /* the front-end knows nothing of it either */
void vhi_slave_iotlb_fault(struct vh_slave *s, uint32_t i);	 /* a queue broke; was that why? */

/* by_hand.c */
enum vhi_outcome vhi_handle_by_hand(struct vh_slave *s, struct vhi_msg *m, struct vhi_job *job);
/* handlers_inflight.c */
void vhi_slave_set_inflight(struct vh_slave *s, struct vhi_inflight *file); /* takes the reference over; NULL = none */

/* inband.c */
void vhi_inband_step(struct vh_slave *s); /* in each round */
void vhi_inband_answered(struct vh_slave *s, uint64_t ticket);
void vhi_inband_unanswered(struct vh_slave *s); /* the channel is gone, and all its tickets */
void vhi_inband_reset(struct vh_slave *s, uint32_t i, bool on);

/* channel.c */
uint32_t vhi_back_set(struct vh_slave *s, int fd); /* fd is borrowed; 0 or a site number */
void vhi_back_close(struct vh_slave *s);
void vhi_back_receive(struct vh_slave *s);
void vhi_back_update(struct vh_slave *s);
int vhi_back_config_changed(struct vh_slave *s);
/* One that the table lets pass, or does not know. *out is NULL when no reply will come. -ENOBUFS: later; -ENOTCONN. */
int vhi_back_send(struct vh_slave *s, const struct vhi_ask *ask, struct vhi_ticket **out);
/* All of a call that sends a request and gives a ticket (nullable) for its reply; @who is the call. */
vh_rc vhi_back_request(struct vh_slave *s, const char *who, const struct vhi_ask *ask, uint64_t *ticket);
uint64_t vhi_back_deadline(const struct vh_slave *s);
void vhi_back_expire(struct vh_slave *s, uint64_t now);
extern const struct vhi_ticket_kind vhi_slave_tickets;
void vhi_back_ring_started(struct vh_slave *s);

/* state.c */
bool vhi_state_run(struct vh_slave *s);		     /* a bounded part; true = there is more to do at once */
void vhi_state_end(struct vh_slave *s, int32_t why); /* before its time, if there is one */
uint64_t vhi_state_deadline(const struct vh_slave *s);

/* postcopy.c */
bool vhi_postcopy_possible(void);
void vhi_postcopy_end(struct vh_slave *s);
bool vhi_postcopy_waits(const struct vh_slave *s); /* shared memory is not to be touched yet */
/* The reply to a message that shared memory: itself, with our addresses in @snap. */
void vhi_postcopy_echo(struct vh_slave *s, struct vhi_job *job, const struct vh_snapshot *snap);
/* The message that says they are known, whatever its id is. */
bool vhi_postcopy_is_ack(const struct vh_slave *s, const struct vhi_msg *m);
void vhi_postcopy_ack(struct vh_slave *s);
void vhi_postcopy_expire(struct vh_slave *s, uint64_t now);

/* stats.c */
void vhi_stats_add_channel(struct vhi_slave_counts *n, const struct vhi_chan *c);
void vhi_stats_begin(struct vh_slave *s);			    /* of a connection, before it is open */
struct vhi_slave_counts vhi_stats_counts(const struct vh_slave *s); /* since vh_slave_new() */

/* show.c. Only with a .show: a round begins, and has ended. */
void vhi_slave_show_inside(struct vh_slave *s, uint64_t now);
void vhi_slave_show_round(struct vh_slave *s, uint64_t now);
void vhi_slave_show_now(struct vh_slave *s); /* NULL is fine: something was changed by a call */

/* device.c */
extern const struct vhi_carrier vhi_slave_carrier;
void vhi_slave_tell_failures(struct vh_slave *s);

const char *vhi_slave_site_text(uint32_t site);

#endif
