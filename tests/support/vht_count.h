/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* How often chance is tried. */
#ifndef VHT_COUNT_H
#define VHT_COUNT_H

#include <stdint.h>
#include <stdlib.h>

/* n; a fifth of it in builds with sanitizers or for an emulator, which are ten times as slow, unless VH_FULL=1. */
static inline uint32_t vht_count(uint32_t n)
{
#ifdef VHT_SLOW
	const char *full = getenv("VH_FULL");

	return full && *full == '1' ? n : (n + 4) / 5;
#else
	return n;
#endif
}

#endif
