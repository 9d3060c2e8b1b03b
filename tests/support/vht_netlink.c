/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "vht_netlink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "vht_paths.h"

#define HEAD  16u
#define GENL  4u
#define ERROR 2u
#define DONE  3u

static const char *preferred;

void vht_netlink_prefer(const char *name)
{
	preferred = name;
}

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned byte;

	for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
		out[n++] = (uint8_t)byte;
	return n;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static void to_native(uint8_t *b, size_t n)
{
	(void)b;
	(void)n;
}
#else
static void flip(uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		uint8_t t = b[i];

		b[i] = b[n - 1 - i];
		b[n - 1 - i] = t;
	}
}

static bool is_text(uint16_t type, bool control)
{
	return control ? type == 2 : type == 1 || type == 2 || type == 4 || type == 10 || type == 18;
}

static void flip_attrs(uint8_t *b, size_t n, bool control)
{
	while (n >= 4) {
		size_t len = (size_t)(b[0] | b[1] << 8), whole = (len + 3) & ~(size_t)3;
		uint16_t type = (uint16_t)(b[2] | b[3] << 8);

		flip(b, 2);
		flip(b + 2, 2);
		if (!is_text(type, control) && (len == 6 || len == 8 || len == 12))
			flip(b + 4, len - 4);
		whole = whole < n ? whole : n;
		b += whole;
		n -= whole;
	}
}

static void flip_head(uint8_t *b)
{
	flip(b, 4);
	flip(b + 4, 2);
	flip(b + 6, 2);
	flip(b + 8, 4);
	flip(b + 12, 4);
}

/* All of a datagram: recorded where the smaller end comes first. */
static void to_native(uint8_t *b, size_t n)
{
	while (n >= HEAD) {
		size_t len = (size_t)(b[0] | b[1] << 8 | b[2] << 16), whole = (len + 3) & ~(size_t)3;
		unsigned type = (unsigned)(b[4] | b[5] << 8);

		flip_head(b);
		if (type == ERROR || type == DONE) {
			flip(b + HEAD, 4);
			if (type == ERROR) {
				flip_head(b + HEAD + 4);
				flip_attrs(b + HEAD + 4 + HEAD, len - HEAD - 4 - HEAD, false);
			}
		} else {
			flip_attrs(b + HEAD + GENL, len - HEAD - GENL, type == 16);
		}
		whole = whole < n ? whole : n;
		b += whole;
		n -= whole;
	}
}
#endif

/* The same but for the sequence number and the port. */
static bool same(const uint8_t *a, const uint8_t *b, size_t len)
{
	return !memcmp(a, b, 8) && !memcmp(a + HEAD, b + HEAD, len - HEAD);
}

/* Every message of a datagram gets the number of the request. */
static void number(uint8_t *b, size_t n, const uint8_t *request)
{
	uint32_t len;

	for (; n >= HEAD; b += len, n -= len) {
		memcpy(b + 8, request + 8, 4);
		memcpy(&len, b, sizeof(len));
		len = (len + 3) & ~3u;
		len = len < n ? len : (uint32_t)n;
	}
}

static int answer_by(int fd, const uint8_t *request, size_t len, char *row, const char *name)
{
	static uint8_t bytes[65536];
	char *save = NULL, *cell = strtok_r(row, "\t\n", &save);
	size_t n;

	if (!cell || *cell == '#' || (name && strcmp(cell, name)))
		return 0;
	cell = strtok_r(NULL, "\t\n", &save);
	n = unhex(cell, bytes);
	to_native(bytes, n);
	if (n != len || !same(bytes, request, len))
		return 0;
	while ((cell = strtok_r(NULL, "\t\n", &save))) {
		n = unhex(cell, bytes);
		to_native(bytes, n);
		number(bytes, n, request);
		assert_int_equal(send(fd, bytes, n, 0), n);
	}
	return 1;
}

static int answer_of(int fd, const void *request, size_t len, const char *name)
{
	char path[4096], *line = NULL;
	size_t room = 0;
	int found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/data/vdpa_netlink.tsv", vht_source_dir);
	f = fopen(path, "re");
	assert_non_null(f);
	while (!found && getline(&line, &room, f) > 0)
		found = answer_by(fd, request, len, line, name);
	free(line);
	fclose(f);
	return found;
}

int vht_netlink_answer(int fd, const void *request, size_t len)
{
	return (preferred && answer_of(fd, request, len, preferred)) || answer_of(fd, request, len, NULL);
}
