/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* Small things that every folder uses: option structs, checked arithmetic, fds, time. */
#ifndef VHI_BASE_H
#define VHI_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vh/types.h"
#include "vhi_error.h"
#include "vhi_site.h"
#include "vhi_sys.h"

#define VHI_LIKELY(x)			 __builtin_expect(!!(x), 1)
#define VHI_UNLIKELY(x)			 __builtin_expect(!!(x), 0)
#define VHI_ARRAY_SIZE(a)		 (sizeof(a) / sizeof((a)[0]))
#define VHI_MIN(a, b)			 ((a) < (b) ? (a) : (b))
#define VHI_MAX(a, b)			 ((a) > (b) ? (a) : (b))
#define VHI_BIT(n)			 (UINT64_C(1) << (n))
#define VHI_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* The three address kinds are distinct types in here, so that they can't be mixed up. */
struct vhi_gpa {
	uint64_t v;
};
struct vhi_uva {
	uint64_t v;
};
struct vhi_iova {
	uint64_t v;
};

/* In a loop that waits for another processor. */
static inline void vhi_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static inline bool vhi_add_wraps(uint64_t a, uint64_t b, uint64_t *sum)
{
	return __builtin_add_overflow(a, b, sum);
}

static inline bool vhi_mul_wraps(uint64_t a, uint64_t b, uint64_t *product)
{
	return __builtin_mul_overflow(a, b, product);
}

/* True when [addr, addr + len) wraps. A range that ends exactly at 2^64 counts as wrapping. */
static inline bool vhi_range_wraps(uint64_t addr, uint64_t len)
{
	uint64_t end;
	return vhi_add_wraps(addr, len, &end);
}

static inline bool vhi_is_pow2(uint64_t n)
{
	return n && !(n & (n - 1));
}

/*
 * Take a sized option struct in. @dst is our struct of @dst_size bytes, zeroed here and filled up to the smaller size.
 * NULL means all defaults. A non-zero byte beyond what we know is -EINVAL: the caller asks for something we can't do.
 */
vh_rc vhi_opts_in(void *dst, size_t dst_size, const void *src, const char *what);

/* Fill a size-first out struct up to the smaller of both sizes; the caller's size field stays. */
vh_rc vhi_out_check(const void *dst, const char *what); /* that it can be filled, before anything is done */
vh_rc vhi_out_fill(void *dst, const void *src, size_t src_size, const char *what);

/* The destroy member that stands right after two uint32_t in every ops struct; NULL when the struct is too short. */
void vhi_ops_destroy(const void *ops, void *ctx);

int vhi_fd_dup(int fd);	    /* close-on-exec duplicate, or -errno */
void vhi_fd_close(int *fd); /* closes and sets to -1; -1 is fine */
int vhi_fd_set_nonblock(int fd);
int vhi_eventfd(void);		 /* non-blocking, close-on-exec, or -errno */
void vhi_eventfd_signal(int fd); /* never blocks: a full counter is signalled already */
bool vhi_eventfd_drain(int fd);	 /* was it signalled? */
/* What is ready on an fd now, of @events and of what poll() always tells. A signal is no answer. -errno. */
int vhi_poll_now(int fd, short events);

uint64_t vhi_now_ns(void); /* CLOCK_MONOTONIC */

static inline void *vhi_calloc(size_t n, size_t size)
{
	return vhi_sys.calloc(n, size);
}

static inline void vhi_free(void *p)
{
	vhi_sys.free(p);
}

#endif
