/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Messages by hand, the same for both sides: a request, its reply, a request that the other side makes.
 */
#ifndef VH_MESSAGE_H
#define VH_MESSAGE_H

#include "vh/types.h"

VH_BEGIN_DECLS

/* vh_msg.reply */
#define VH_REPLY_TABLE 0 /* as the message table says; ask for a status where REPLY_ACK allows it */
#define VH_REPLY_NONE  1 /* expect none, ask for none */
#define VH_REPLY_ACK   2 /* set need_reply, expect a u64 status */
#define VH_REPLY_OWN   3 /* expect a reply of the message's own */

/** struct vh_msg - a request to submit. Sized. */
struct vh_msg {
	uint32_t size;	       /* sizeof(struct vh_msg) */
	uint32_t request;      /* message id */
	uint32_t reply;	       /* VH_REPLY_* */
	uint32_t payload_size; /* bytes at payload, at most VH_MSG_MAX_PAYLOAD */
	uint64_t payload;      /* address; (borrowed) during the call */
	uint32_t n_fds;	       /* to send, at most VH_MSG_SEND_FDS */
	uint32_t reserved;     /* must be 0 */
};

/** struct vh_msg_reply - what the reply to a request was. Size-first out struct. */
struct vh_msg_reply {
	uint32_t size;
	uint32_t request;      /* message id */
	uint32_t flags;	       /* of its header */
	uint32_t payload_size; /* bytes received */
	uint32_t n_fds;	       /* fds received */
	uint32_t reserved;
};

/** struct vh_msg_request - a request that the other side makes. Size-first out struct, valid during the callback. */
struct vh_msg_request {
	uint32_t size;
	uint32_t request;      /* message id */
	uint32_t payload_size; /* bytes at payload */
	uint32_t n_fds;	       /* at fds */
	uint64_t payload;      /* address, aligned to 8; (borrowed) during the call */
	uint64_t fds;	       /* address of vh_fd[n_fds]; closed after the call: duplicate what is to be kept */
	uint64_t token;	       /* for the call that answers later; 0 = no answer is wanted */
};

VH_END_DECLS
#endif
