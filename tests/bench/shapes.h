/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The chains that the programs here are measured with, and where rings and buffers are: s0 = 64 readable bytes; s1 = 16
 * readable, 4096 and 1 writable (a block read); s2 = 4 readable and 4 writable; s3 = s1 in an indirect table; s4 = 64
 * writable bytes; s5 = 2048 of them, as drivers offer them for frames. A p before the shape makes the ring packed. With more than one region, rings and tables are in the first
 * and every buffer is in a pseudo-random one of the others.
 */
#ifndef SHAPES_H
#define SHAPES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REGION_LEN UINT64_C(0x200000)
#define RING_GPA   UINT64_C(0x100000)
#define AVAIL_GPA  (RING_GPA + 0x4000)
#define USED_GPA   (RING_GPA + 0x8000)
#define TABLES	   (RING_GPA + 0x10000)
#define FIRST_GPA  UINT64_C(0x1000000) /* with more than one region */
#define ONE_LEN	   UINT64_C(0x400000)  /* with one, buffers are behind the tables */
#define SAMPLES	   21

struct shape {
	const char *name;
	uint32_t n;
	bool indirect;
	struct {
		uint32_t len;
		bool write;
	} d[8];
};

static const struct shape shapes[] = {
	{"s0", 1, false, {{64, false}}},
	{"s1", 3, false, {{16, false}, {4096, true}, {1, true}}},
	{"s2",
	 8,
	 false,
	 {{64, false}, {64, false}, {64, false}, {64, false}, {64, true}, {64, true}, {64, true}, {64, true}}},
	{"s3", 3, true, {{16, false}, {4096, true}, {1, true}}},
	{"s4", 1, false, {{64, true}}},
	{"s5", 1, false, {{2048, true}}},
};

/* By its name, with a p before it for a packed ring; NULL for nonsense. */
static inline const struct shape *shape_by_name(const char *name, bool *packed)
{
	*packed = name[0] == 'p';
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (!strcmp(name + *packed, shapes[i].name))
			return &shapes[i];
	return NULL;
}

static inline uint32_t lcg(void)
{
	static uint32_t x = 12345;

	x = x * 1664525u + 1013904223u;
	return x >> 8;
}

/* Regions of equal length, a hole after each, so that none is merged with the next. */
static inline uint64_t buffer(uint32_t regions, uint32_t len)
{
	uint64_t region;

	if (regions == 1)
		return RING_GPA + ONE_LEN - REGION_LEN + (lcg() % ((uint32_t)REGION_LEN - len) & ~63u);
	region = lcg() % (regions - 1);
	return FIRST_GPA + region * 2 * REGION_LEN + (lcg() % ((uint32_t)REGION_LEN - len) & ~63u);
}

static inline double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static inline int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

#endif
