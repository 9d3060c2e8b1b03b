/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The only way to memory that a peer can write. A pointer to such memory is `T VHI_SHM *`, which clang refuses to
 * dereference or to mix with plain pointers; these accessors load or store once, with the width of the field, and swap
 * bytes on big-endian machines (virtio 1 rings are little-endian). What was loaded is validated in private memory; it
 * is never loaded a second time.
 */
#ifndef VHI_SHM_H
#define VHI_SHM_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__clang__) && !defined(VHI_NO_NODEREF)
#define VHI_SHM __attribute__((noderef, address_space(1)))
#else
#define VHI_SHM
#endif

/* The seeded-bug builds of the TSan gate weaken one of these. */
#ifdef VHI_SEED_MISSING_ACQUIRE
#define VHI_ACQUIRE __ATOMIC_RELAXED
#else
#define VHI_ACQUIRE __ATOMIC_ACQUIRE
#endif
#ifdef VHI_SEED_MISSING_RELEASE
#define VHI_RELEASE __ATOMIC_RELAXED
#else
#define VHI_RELEASE __ATOMIC_RELEASE
#endif

#define VHI_SHM_RAW(type, p) ((type *)(uintptr_t)(p))

/* A build for tests (preset flip): what a load gives is the test's to say, as if a peer wrote between any two of them. */
#ifdef VHI_FLIP
uint64_t vhi_flip(const volatile void *at, uint64_t seen);
void vhi_flip_copy(const volatile void *at, void *copy, size_t n);
#else
#define vhi_flip(at, seen)	   (seen)
#define vhi_flip_copy(at, copy, n) ((void)0)
#endif
#define VHI_LOADED(type, p, seen) ((type)vhi_flip(VHI_SHM_RAW(const volatile void, p), seen))

static inline uint16_t vhi_shm_load16(const uint16_t VHI_SHM *p)
{
	return VHI_LOADED(uint16_t, p, le16toh(__atomic_load_n(VHI_SHM_RAW(const uint16_t, p), __ATOMIC_RELAXED)));
}

static inline uint16_t vhi_shm_load16_acquire(const uint16_t VHI_SHM *p)
{
	return VHI_LOADED(uint16_t, p, le16toh(__atomic_load_n(VHI_SHM_RAW(const uint16_t, p), VHI_ACQUIRE)));
}

static inline uint32_t vhi_shm_load32(const uint32_t VHI_SHM *p)
{
	return VHI_LOADED(uint32_t, p, le32toh(__atomic_load_n(VHI_SHM_RAW(const uint32_t, p), __ATOMIC_RELAXED)));
}

static inline uint64_t vhi_shm_load64(const uint64_t VHI_SHM *p)
{
	return VHI_LOADED(uint64_t, p, le64toh(__atomic_load_n(VHI_SHM_RAW(const uint64_t, p), __ATOMIC_RELAXED)));
}

static inline uint64_t vhi_shm_load64_acquire(const uint64_t VHI_SHM *p)
{
	return VHI_LOADED(uint64_t, p, le64toh(__atomic_load_n(VHI_SHM_RAW(const uint64_t, p), VHI_ACQUIRE)));
}

static inline void vhi_shm_store16(uint16_t VHI_SHM *p, uint16_t v)
{
	__atomic_store_n(VHI_SHM_RAW(uint16_t, p), htole16(v), __ATOMIC_RELAXED);
}

static inline void vhi_shm_store16_release(uint16_t VHI_SHM *p, uint16_t v)
{
	__atomic_store_n(VHI_SHM_RAW(uint16_t, p), htole16(v), VHI_RELEASE);
}

static inline void vhi_shm_store32(uint32_t VHI_SHM *p, uint32_t v)
{
	__atomic_store_n(VHI_SHM_RAW(uint32_t, p), htole32(v), __ATOMIC_RELAXED);
}

static inline void vhi_shm_store32_release(uint32_t VHI_SHM *p, uint32_t v)
{
	__atomic_store_n(VHI_SHM_RAW(uint32_t, p), htole32(v), VHI_RELEASE);
}

static inline void vhi_shm_store64(uint64_t VHI_SHM *p, uint64_t v)
{
	__atomic_store_n(VHI_SHM_RAW(uint64_t, p), htole64(v), __ATOMIC_RELAXED);
}

static inline void vhi_shm_store64_release(uint64_t VHI_SHM *p, uint64_t v)
{
	__atomic_store_n(VHI_SHM_RAW(uint64_t, p), htole64(v), VHI_RELEASE);
}

/* Payload bytes: each is copied once, order and width are not defined. */
static inline void vhi_shm_copy_in(void *dst, const void VHI_SHM *src, size_t n)
{
	memcpy(dst, VHI_SHM_RAW(const void, src), n);
	vhi_flip_copy(VHI_SHM_RAW(const volatile void, src), dst, n);
}

static inline void vhi_shm_copy_out(void VHI_SHM *dst, const void *src, size_t n)
{
	memcpy(VHI_SHM_RAW(void, dst), src, n);
}

static inline void vhi_shm_zero(void VHI_SHM *dst, size_t n)
{
	memset(VHI_SHM_RAW(void, dst), 0, n);
}

/* A full fence: the store before and the load after may not pass each other (notification suppression). */
static inline void vhi_full_fence(void)
{
#ifdef __SANITIZE_THREAD__
	/* gcc's ThreadSanitizer knows no fences. An atomic on the stack is one for the machine, and hides no race. */
	uint32_t own = 0;

	__atomic_fetch_add(&own, 1, __ATOMIC_SEQ_CST);
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

#endif
