/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Where a handle's log lines and messages go. All-zero is "nowhere". */
#ifndef VHI_LOG_H
#define VHI_LOG_H

#include <stdint.h>

#include "vh/log.h"

struct vhi_log {
	struct vh_logger_ops ops;
	void *ctx;
	uint64_t window_ns; /* start of the second in which lines are counted */
	uint32_t lines;	    /* lines in this second */
	uint32_t dropped;
	uint32_t inside; /* calls of ops.line on the stack */
};

/* NULL ops: off. -EBUSY inside of the callback that would be replaced: its destroy can't run while it is running. */
vh_rc vhi_log_set(struct vhi_log *log, const struct vh_logger_ops *ops, void *ctx);
__attribute__((format(printf, 3, 4))) void vhi_log_line(struct vhi_log *log, uint32_t level, const char *fmt, ...);

struct vhi_trace {
	struct vh_trace_ops ops;
	void *ctx;
	uint32_t inside;
};

vh_rc vhi_trace_set(struct vhi_trace *trace, const struct vh_trace_ops *ops, void *ctx);
/* @info's size and time are filled in here. Cheap when no trace is set. */
void vhi_trace_message(struct vhi_trace *trace, struct vh_msg_info *info);

#endif
