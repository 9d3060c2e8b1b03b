/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The tables in tests/data: lines of columns between tabs; comments and the heading are left out. */
#ifndef VHT_TSV_H
#define VHT_TSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define VHT_COLUMNS 24

struct vht_row {
	char line[512];
	char *col[VHT_COLUMNS];
	size_t n;
};

/* Fails the test when it is not there. */
FILE *vht_open_data(const char *name);
/* The next row; a line that begins with @heading and a tab is none. False at the end. */
bool vht_next_row(FILE *f, const char *heading, struct vht_row *r);
uint32_t vht_number(const struct vht_row *r, size_t i);
/* Which of the words it is, the last of which is NULL. Fails the test when it is none. */
unsigned vht_word(const char *const *words, const char *text);
/* The number of a protocol feature's bit. */
uint32_t vht_protocol_bit(const char *name);

#endif
