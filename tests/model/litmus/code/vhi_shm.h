/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * In place of src/base/vhi_shm.h, for the sources of src/queue as tests/model/litmus/code compiles them: each access to
 * shared memory is one to a memory that may answer with an older value.
 */
#ifndef VHI_SHM_H
#define VHI_SHM_H

#include <endian.h>
#include <string.h>

#include "weak.h"

#define VHI_SHM
#define VHI_SHM_RAW(type, p) ((type *)(uintptr_t)(p))

#define WEAK_ACCESS(bits)                                                                     \
	static inline uint##bits##_t vhi_shm_load##bits(const uint##bits##_t *p)              \
	{                                                                                     \
		return (uint##bits##_t)weak_load(p, bits / 8, false);                         \
	}                                                                                     \
	static inline void vhi_shm_store##bits(uint##bits##_t *p, uint##bits##_t v)           \
	{                                                                                     \
		weak_store(p, bits / 8, v, false);                                            \
	}                                                                                     \
	static inline void vhi_shm_store##bits##_release(uint##bits##_t *p, uint##bits##_t v) \
	{                                                                                     \
		weak_store(p, bits / 8, v, true);                                             \
	}
#define WEAK_ACQUIRE(bits)                                                                 \
	static inline uint##bits##_t vhi_shm_load##bits##_acquire(const uint##bits##_t *p) \
	{                                                                                  \
		return (uint##bits##_t)weak_load(p, bits / 8, true);                       \
	}

WEAK_ACCESS(16)
WEAK_ACCESS(32)
WEAK_ACCESS(64)
WEAK_ACQUIRE(16)
WEAK_ACQUIRE(64)

static inline void vhi_shm_copy_in(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n);
}

static inline void vhi_shm_copy_out(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n);
}

static inline void vhi_shm_zero(void *dst, size_t n)
{
	memset(dst, 0, n);
}

static inline void vhi_full_fence(void)
{
	weak_fence();
}

#endif
