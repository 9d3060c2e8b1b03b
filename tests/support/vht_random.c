/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "vht_random.h"

static uint64_t seed;

void vht_random_begin(void)
{
	const char *from = getenv("VH_SEED");

	seed = from ? strtoull(from, NULL, 0) | 1 : 0x9e3779b97f4a7c15;
	print_message("VH_SEED=%llu\n", (unsigned long long)seed);
}

uint32_t vht_below(size_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed >> 11) % n);
}
