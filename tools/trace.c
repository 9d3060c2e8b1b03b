/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Log lines to stderr, messages to the file named by VH_TRACE. */
#include "vhctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static FILE *trace_file;

static void trace_message(void *ctx, const struct vh_msg_info *info)
{
	static bool lost;
	char text[8192];

	(void)ctx;
	if (lost || vh_msg_json(info, text, sizeof(text)) <= 0)
		return;
	if (fprintf(trace_file, "%s\n", text) < 0 || fflush(trace_file)) {
		lost = true;
		say(0, "VH_TRACE=%s: %s; messages are traced no more", getenv("VH_TRACE"), strerror(errno));
	}
}

int trace_open(void)
{
	const char *path = getenv("VH_TRACE");

	if (!path || !*path || trace_file)
		return 0;
	trace_file = strcmp(path, "-") ? fopen(path, "ae") : stderr;
	if (!trace_file)
		return usage("VH_TRACE=%s: %s", path, strerror(errno));
	setvbuf(trace_file, NULL, _IOLBF, 0);
	return 0;
}

const struct vh_trace_ops *tracer(void)
{
	static const struct vh_trace_ops ops = {.size = sizeof(ops), .message = trace_message};

	return trace_file ? &ops : NULL;
}

static void log_line(void *ctx, uint32_t level, const char *text)
{
	static const char *const names[] = {"", "error", "warning", "info", "debug"};

	(void)ctx;
	say(0, "%s: %s", names[level <= VH_LOG_DEBUG ? level : VH_LOG_DEBUG], text);
}

const struct vh_logger_ops *stderr_log(uint32_t level)
{
	static struct vh_logger_ops ops = {.size = sizeof(ops), .line = log_line};

	ops.level = level;
	return &ops;
}
