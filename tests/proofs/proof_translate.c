/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * From a guest address to a pointer. Any table of up to REGIONS regions, any address and length, any granule for which the
 * table has room here. What is proved: what comes out lies inside a region, byte for byte where
 * it should.
 */
#include "proof.h"
#include "vhi_mem.h"

#include "translate.c"

#ifndef REGIONS
#define REGIONS 2u
#endif
#define GRANULES 4u

void proof_reads(uint64_t at, uint64_t len)
{
	(void)at, (void)len;
}

static struct vhi_span spans[REGIONS];
static uint16_t granules[GRANULES + 1];
static struct vh_snapshot snap;

/*
 * Sums of 64 bits take a solver hours. So all that is an address or a length is within 2^(WIDTH - 1) of 0, on either side:
 * what can go wrong goes wrong at the ends of a region, at 0, and where a sum wraps.
 */
#ifndef WIDTH
#define WIDTH 8
#endif

static uint64_t any_u64(void)
{
	const uint64_t bits = nondet_u64() & ((UINT64_C(1) << WIDTH) - 1);

	return bits >> (WIDTH - 1) ? bits | ~((UINT64_C(1) << WIDTH) - 1) : bits;
}

static uint64_t last_of(uint32_t i)
{
	return spans[i].gpa + (spans[i].len - 1);
}

/* What vhi_snapshot_order() holds: by ascending address, none empty, none wraps or ends at 2^64, none overlaps. */
static void any_regions(void)
{
	snap.n = nondet_u32();
	ASSUME(snap.n >= 1 && snap.n <= REGIONS);
	snap.spans = spans;
	snap.granules = granules;
	for (uint32_t i = 0; i < REGIONS; i++) {
		spans[i] = (struct vhi_span){any_u64(), any_u64(), any_u64()};
		ASSUME(spans[i].gpa + spans[i].len > spans[i].gpa);
		ASSUME(spans[i].host && spans[i].host + (spans[i].len - 1) >= spans[i].host);
		ASSUME(!i || i >= snap.n || spans[i].gpa > last_of(i - 1));
	}
}

/* And vhi_snapshot_finish(): granules[g] is the first region that ends after the first byte of granule g. */
static void any_granules(void)
{
	const uint64_t first = spans[0].gpa, last = last_of(snap.n - 1);
	uint64_t used;

	snap.shift = nondet_u32();
	ASSUME(snap.shift <= 63);
	snap.base = first >> snap.shift << snap.shift;
	snap.span = last - snap.base + 1;
	used = (last >> snap.shift) - (first >> snap.shift) + 1;
	ASSUME(used <= GRANULES);
	for (uint64_t g = 0; g < GRANULES; g++) {
		const uint32_t i = nondet_u32();

		ASSUME(i < snap.n);
		granules[g] = (uint16_t)(i * VHI_SPAN_WORDS);
		if (g < used)
			ASSUME(last_of(i) - snap.base >= g << snap.shift &&
			       (!i || last_of(i - 1) - snap.base < g << snap.shift));
		else if (g == used)
			ASSUME(i == snap.n - 1);
	}
	granules[GRANULES] = (uint16_t)((snap.n - 1) * VHI_SPAN_WORDS);
}

/* Whether [addr, addr + len) is the bytes from host on: inside one region, each at its own place. */
static bool right(uint64_t addr, uint64_t len, uint64_t host)
{
	for (uint32_t i = 0; i < snap.n; i++)
		if (addr >= spans[i].gpa && addr <= last_of(i) && len - 1 <= last_of(i) - addr &&
		    host == spans[i].host + (addr - spans[i].gpa))
			return true;
	return false;
}

/* The short cut, which needs no more of the table than that its entries are regions, and near is one. */
void translate_fast(void)
{
	const uint64_t addr = any_u64(), len = any_u64();
	const uint32_t at = nondet_u32();
	const struct vhi_span *near = spans;
	uint64_t host;

	any_regions();
	ASSUME(len);
	snap.base = any_u64();
	snap.span = any_u64();
	snap.shift = nondet_u32();
	ASSUME(snap.shift <= 63 && (!snap.span || (snap.span - 1) >> snap.shift < GRANULES));
	for (uint32_t g = 0; g <= GRANULES; g++) {
		const uint32_t i = nondet_u32();

		ASSUME(i < snap.n);
		granules[g] = (uint16_t)(i * VHI_SPAN_WORDS);
	}
	ASSUME(at < snap.n);
	near += at;
	if (vhi_translate_fast(&snap, &near, addr, len, &host)) {
		PROVE(right(addr, len, host));
		HAPPENS(addr > UINT64_MAX - 100 && len > 90);
	}
}

/* A range in one region, or not; also an empty one, which is in none. */
void span_holds(void)
{
	const uint64_t addr = any_u64(), len = any_u64();
	uint64_t host;
	bool held;

	any_regions();
	held = vhi_span_holds(&spans[0], addr, len, &host);
	PROVE(held == (len && addr >= spans[0].gpa && addr <= last_of(0) && len - 1 <= last_of(0) - addr));
	PROVE(!held || host == spans[0].host + (addr - spans[0].gpa));
	HAPPENS(held && addr + len == UINT64_MAX);
}

/* All of a range, over as many regions as it takes. */
void translate_whole(void)
{
	const uint64_t start = any_u64(), len = any_u64();
	const uint32_t max = nondet_u32();
	struct vh_seg segs[REGIONS];
	uint64_t at = start, left = len;
	int n;

	any_regions();
	any_granules();
	ASSUME(len && max <= REGIONS);
	n = vhi_translate(&snap, (struct vhi_gpa){start}, len, VH_MEM_READ, segs, max);
	PROVE(n == VHI_FAULT || n == -ENOSPC || (n > 0 && n <= (int)max));
	for (int i = 0; i < n; i++) {
		PROVE(segs[i].len && segs[i].len <= left && right(at, segs[i].len, segs[i].addr));
		at += segs[i].len;
		left -= segs[i].len;
	}
	PROVE(n <= 0 || !left);
	HAPPENS(n == REGIONS);
	HAPPENS(n == VHI_FAULT);
}
