/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* How a result goes to Go: in one word, with the details of a failure taken on the thread that failed. */
#ifndef VHGO_H
#define VHGO_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vh/vh.h>

typedef uintptr_t vhgo_rc;    /* 0, or a failure */
typedef uintptr_t vhgo_count; /* n << 1 | 1, or a failure */
typedef uintptr_t vhgo_text;  /* address of a string, 0 for none */

/* Address of a struct vh_error to be freed; when there is no memory for one, the errno value << 1. */
static inline uintptr_t vhgo_failure(int32_t rc)
{
	struct vh_error *e = calloc(1, sizeof(*e));

	if (!e)
		return (uintptr_t)-rc << 1;
	e->size = sizeof(*e);
	if (vh_error_get(e) || e->code != rc) { /* details of another failure would mislead */
		memset(e, 0, sizeof(*e));
		e->code = rc;
		e->queue = e->request = VH_ERROR_NONE;
	}
	return (uintptr_t)e;
}

static inline vhgo_rc vhgo_rc_of(int32_t rc)
{
	return rc < 0 ? vhgo_failure(rc) : 0;
}

static inline vhgo_count vhgo_count_of(int32_t n)
{
	return n < 0 ? vhgo_failure(n) : (uintptr_t)n << 1 | 1;
}

#endif
