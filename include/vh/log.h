/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Log lines and the message trace. Nothing is printed unless a callback is set.
 */
#ifndef VH_LOG_H
#define VH_LOG_H

#include "vh/types.h"

VH_BEGIN_DECLS

/* vh_logger_ops.level, and the level of a line. */
#define VH_LOG_ERROR   1
#define VH_LOG_WARNING 2
#define VH_LOG_INFO    3
#define VH_LOG_DEBUG   4

/** struct vh_logger_ops - receiver of log lines. Sized. */
struct vh_logger_ops {
	uint32_t size;	/* sizeof(struct vh_logger_ops) */
	uint32_t level; /* most detailed level wanted, VH_LOG_*; 0 = VH_LOG_WARNING */
	/**
	 * destroy() - the ops are not used any more
	 * @ctx: what was given with the ops
	 *
	 * Called exactly once: when the ops are replaced, when their handle is freed, or when setting them failed.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*destroy)(void *ctx);
	/**
	 * line() - one line of log
	 * @ctx: what was given with the ops
	 * @level: VH_LOG_*
	 * @text: (borrowed) NUL-terminated, no newline; valid during the call
	 *
	 * At most 10 lines a second for each handle; a line says how many were dropped.
	 *
	 * @since: VH_1.0
	 * @thread: any
	 * @blocks: no
	 * @errors: none
	 */
	void (*line)(void *ctx, uint32_t level, const char *text);
};

/* vh_msg_info.direction */
#define VH_MSG_SENT	0
#define VH_MSG_RECEIVED 1

/* vh_msg_info.channel */
#define VH_MSG_CHANNEL_MAIN    0 /* front-end requests and their replies */
#define VH_MSG_CHANNEL_BACKEND 1 /* back-end requests and their replies */

/** struct vh_msg_info - one vhost-user message as it crossed the socket. Size-first out struct, valid during the callback. */
struct vh_msg_info {
	uint32_t size;	       /* sizeof(struct vh_msg_info) */
	uint32_t direction;    /* VH_MSG_SENT, VH_MSG_RECEIVED */
	uint32_t channel;      /* VH_MSG_CHANNEL_* */
	uint32_t request;      /* message id */
	uint32_t flags;	       /* header flags as on the wire */
	uint32_t payload_size; /* bytes */
	uint32_t n_fds;	       /* file descriptors that came with it */
	uint32_t verdict;      /* number of the check that refused it, 0 = accepted */
	uint64_t time_ns;      /* CLOCK_MONOTONIC */
	uint64_t payload;      /* address of payload_size bytes, (borrowed) */
};

/** struct vh_trace_ops - receiver of every message of a handle. Sized. */
struct vh_trace_ops {
	uint32_t size;	/* sizeof(struct vh_trace_ops) */
	uint32_t flags; /* must be 0 */
	/**
	 * destroy() - the ops are not used any more
	 * @ctx: what was given with the ops
	 *
	 * Called exactly once: when the ops are replaced, when their handle is freed, or when setting them failed.
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*destroy)(void *ctx);
	/**
	 * message() - one message crossed the socket
	 * @ctx: what was given with the ops
	 * @info: (borrowed) the message; valid during the call
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*message)(void *ctx, const struct vh_msg_info *info);
};

/**
 * vh_msg_json() - one message as one line of JSON
 * @info: the message
 * @buf: (out) (array cap) receives the NUL-terminated line, no newline
 * @cap: bytes at @buf
 *
 * Keys: t (ns), dir, chan, req (name), id, flags, size, fds, site, and the payload's fields by name.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL ENOSPC
 *
 * Return: length without the NUL, or a negative errno value (@buf then holds "").
 */
VH_API vh_count vh_msg_json(const struct vh_msg_info *info, char *buf, size_t cap);

/**
 * vh_msg_name() - name of a vhost-user message
 * @channel: VH_MSG_CHANNEL_*
 * @request: message id
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 *
 * Return: (borrowed) static string without the VHOST_USER_ prefix, "UNKNOWN" if there is none.
 */
VH_API const char *vh_msg_name(uint32_t channel, uint32_t request);

/**
 * vh_feature_name() - name of a feature bit
 * @space: 0 = protocol features, else a virtio device type VH_TYPE_*
 * @bit: bit number
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 *
 * Return: (borrowed) (nullable) static string, NULL for a bit that has no name here.
 */
VH_API const char *vh_feature_name(uint32_t space, uint32_t bit);

VH_END_DECLS
#endif
