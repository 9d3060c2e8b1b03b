/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What a proof is made of. A name that begins with nondet_ is any value to CBMC. */
#ifndef PROOF_H
#define PROOF_H

#include <stdbool.h>
#include <stdint.h>

uint16_t nondet_u16(void);
uint32_t nondet_u32(void);
uint64_t nondet_u64(void);

#define ASSUME(x) __CPROVER_assume(x)
#define PROVE(x)  __CPROVER_assert(x, #x)
/* It must be able to happen: a proof whose assumptions contradict each other proves nothing. */
#ifdef SEEDED
#define HAPPENS(x) ((void)0)
#else
#define HAPPENS(x) __CPROVER_assert(!(x), "HAPPENS: " #x)
#endif

#endif
