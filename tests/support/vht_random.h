/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Chance that can be repeated: VH_SEED is its seed. One sequence for a program. */
#ifndef VHT_RANDOM_H
#define VHT_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* From the beginning; prints the seed. */
void vht_random_begin(void);
/* 0 to n - 1. */
uint32_t vht_below(size_t n);

#endif
