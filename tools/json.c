/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vhctl.h"

#include <inttypes.h>
#include <string.h>

static void put_text(struct json *j, const char *s)
{
	fputc('"', j->to);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			fprintf(j->to, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(j->to, "\\u%04x", c); /* bytes, as Latin-1: the value may not be UTF-8 */
		else
			fputc(c, j->to);
	}
	fputc('"', j->to);
}

static void key(struct json *j, const char *name)
{
	if (!j->first[j->depth])
		fputs(", ", j->to);
	j->first[j->depth] = false;
	if (name) {
		put_text(j, name);
		fputs(": ", j->to);
	}
}

static void open_bracket(struct json *j, char bracket)
{
	fputc(bracket, j->to);
	j->first[++j->depth] = true;
}

void json_begin(struct json *j, FILE *to)
{
	memset(j, 0, sizeof(*j));
	j->to = to;
	j->first[0] = true;
	open_bracket(j, '{');
}

void json_end(struct json *j)
{
	fputs("}\n", j->to);
}

void json_object(struct json *j, const char *name)
{
	key(j, name);
	open_bracket(j, '{');
}

void json_array(struct json *j, const char *name)
{
	key(j, name);
	open_bracket(j, '[');
}

void json_close(struct json *j, char bracket)
{
	j->depth--;
	fputc(bracket, j->to);
}

void json_text(struct json *j, const char *name, const char *value)
{
	key(j, name);
	put_text(j, value);
}

void json_u64(struct json *j, const char *name, uint64_t value)
{
	key(j, name);
	fprintf(j->to, "%" PRIu64, value);
}

void json_real(struct json *j, const char *name, double value)
{
	key(j, name);
	fprintf(j->to, "%.3f", value);
}

void json_bool(struct json *j, const char *name, bool value)
{
	key(j, name);
	fputs(value ? "true" : "false", j->to);
}

void json_hex(struct json *j, const char *name, uint64_t value)
{
	key(j, name);
	fprintf(j->to, "\"0x%" PRIx64 "\"", value);
}
