/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "vht_paths.h"
#include "vht_tsv.h"

FILE *vht_open_data(const char *name)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/data/%s", vht_source_dir, name);
	f = fopen(path, "re");
	if (!f)
		fail_msg("%s is missing", path);
	return f;
}

bool vht_next_row(FILE *f, const char *heading, struct vht_row *r)
{
	size_t n = strlen(heading);

	while (fgets(r->line, sizeof(r->line), f)) {
		char *p = r->line;

		p[strcspn(p, "\n")] = 0;
		if (!*p || *p == '#' || (!strncmp(p, heading, n) && p[n] == '\t'))
			continue;
		for (r->n = 0; p && r->n < VHT_COLUMNS; r->n++)
			r->col[r->n] = strsep(&p, "\t");
		assert_null(p);
		return true;
	}
	return false;
}

uint32_t vht_number(const struct vht_row *r, size_t i)
{
	assert_true(i < r->n);
	return (uint32_t)strtoul(r->col[i], NULL, 10);
}

unsigned vht_word(const char *const *words, const char *text)
{
	for (unsigned i = 0; words[i]; i++)
		if (!strcmp(words[i], text))
			return i;
	fail_msg("tests/data: '%s' is none of the words that can stand there", text);
	return 0;
}

uint32_t vht_protocol_bit(const char *name)
{
	FILE *f = vht_open_data("protocol_features.tsv");
	uint32_t bit = 64;
	struct vht_row r;

	while (vht_next_row(f, "bit", &r))
		if (!strcmp(r.col[1], name))
			bit = vht_number(&r, 0);
	fclose(f);
	assert_true(bit < 64);
	return bit;
}
