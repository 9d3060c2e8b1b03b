/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vhi_log.h"

#include <stdarg.h>
#include <stdio.h>

#include "vhi_base.h"

#define LINES_PER_SECOND 10u

static vh_rc check_outside(uint32_t inside, const char *what)
{
	if (!inside)
		return 0;
	return vhi_fail(-EBUSY, VH_ERROR_STATE, 0, "%s: called from the callback that it would replace", what);
}

vh_rc vhi_log_set(struct vhi_log *log, const struct vh_logger_ops *ops, void *ctx)
{
	struct vh_logger_ops in;
	struct vh_logger_ops old = log->ops;
	void *old_ctx = log->ctx;
	vh_rc rc = vhi_opts_in(&in, sizeof(in), ops, "vh_logger_ops");

	if (!rc)
		rc = check_outside(log->inside, "vh_logger_ops");
	if (rc) {
		vhi_ops_destroy(ops, ctx);
		return rc;
	}
	if (!in.level)
		in.level = VH_LOG_WARNING;
	memset(log, 0, sizeof(*log));
	if (ops) {
		log->ops = in;
		log->ctx = ctx;
	}
	vhi_ops_destroy(&old, old_ctx);
	return 0;
}

/* A callback may do what it likes but replace itself, so ops are the same after it. */
static void call_line(struct vhi_log *log, uint32_t level, const char *text)
{
	log->inside++;
	log->ops.line(log->ctx, level, text);
	log->inside--;
}

void vhi_log_line(struct vhi_log *log, uint32_t level, const char *fmt, ...)
{
	char text[512];
	uint64_t now;
	va_list ap;

	if (!log->ops.line || level > log->ops.level)
		return;
	now = vhi_now_ns();
	if (now - log->window_ns >= 1000000000u) {
		uint32_t dropped = log->dropped;

		log->window_ns = now;
		log->lines = 0;
		log->dropped = 0;
		if (dropped) {
			snprintf(text, sizeof(text), "%u lines dropped, more than %u a second", dropped,
				 LINES_PER_SECOND);
			call_line(log, VH_LOG_WARNING, text);
		}
	}
	if (log->lines >= LINES_PER_SECOND) {
		log->dropped++;
		return;
	}
	log->lines++;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	call_line(log, level, text);
}

vh_rc vhi_trace_set(struct vhi_trace *trace, const struct vh_trace_ops *ops, void *ctx)
{
	struct vh_trace_ops in;
	struct vh_trace_ops old = trace->ops;
	void *old_ctx = trace->ctx;
	vh_rc rc = vhi_opts_in(&in, sizeof(in), ops, "vh_trace_ops");

	if (!rc && in.flags)
		rc = vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "vh_trace_ops: unknown flags 0x%x", in.flags);
	if (!rc)
		rc = check_outside(trace->inside, "vh_trace_ops");
	if (rc) {
		vhi_ops_destroy(ops, ctx);
		return rc;
	}
	memset(trace, 0, sizeof(*trace));
	if (ops) {
		trace->ops = in;
		trace->ctx = ctx;
	}
	vhi_ops_destroy(&old, old_ctx);
	return 0;
}

void vhi_trace_message(struct vhi_trace *trace, struct vh_msg_info *info)
{
	if (!trace->ops.message)
		return;
	info->size = sizeof(*info);
	info->time_ns = vhi_now_ns();
	trace->inside++;
	trace->ops.message(trace->ctx, info);
	trace->inside--;
}
