/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Stands in for src/base/vhi_shm.h in a proof: the most hostile peer there is. Each load of shared memory gives any value,
 * another one each time; what an access touches has to be where the proof says that shared memory is.
 */
#ifndef VHI_SHM_H
#define VHI_SHM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VHI_SHM
#define VHI_SHM_RAW(type, p) ((type *)(uintptr_t)(p))

uint64_t nondet_u64(void);

/* The proof's: [at, at + len) may be read, or written. */
void proof_reads(uint64_t at, uint64_t len);
void proof_writes(uint64_t at, uint64_t len);
/* [to, to + len) is private, and may be written. */
void proof_fills(const void *to, uint64_t len);

#define PROOF_LOAD(name, type)                          \
	static inline type name(const type *p)          \
	{                                               \
		proof_reads((uint64_t)p, sizeof(type)); \
		return (type)nondet_u64();              \
	}
#define PROOF_STORE(name, type)                          \
	static inline void name(type *p, type v)         \
	{                                                \
		(void)v;                                 \
		proof_writes((uint64_t)p, sizeof(type)); \
	}

PROOF_LOAD(vhi_shm_load16, uint16_t)
PROOF_LOAD(vhi_shm_load16_acquire, uint16_t)
PROOF_LOAD(vhi_shm_load32, uint32_t)
PROOF_LOAD(vhi_shm_load64, uint64_t)
PROOF_LOAD(vhi_shm_load64_acquire, uint64_t)
PROOF_STORE(vhi_shm_store16, uint16_t)
PROOF_STORE(vhi_shm_store16_release, uint16_t)
PROOF_STORE(vhi_shm_store32, uint32_t)
PROOF_STORE(vhi_shm_store32_release, uint32_t)
PROOF_STORE(vhi_shm_store64, uint64_t)
PROOF_STORE(vhi_shm_store64_release, uint64_t)

static inline void vhi_shm_copy_in(void *dst, const void *src, size_t n)
{
	proof_reads((uint64_t)src, n);
	proof_fills(dst, n);
}

static inline void vhi_shm_copy_out(void *dst, const void *src, size_t n)
{
	(void)src;
	proof_writes((uint64_t)dst, n);
}

static inline void vhi_shm_zero(void *dst, size_t n)
{
	proof_writes((uint64_t)dst, n);
}

static inline void vhi_full_fence(void)
{
}

#endif
