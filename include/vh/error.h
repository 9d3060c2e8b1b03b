/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/**
 * DOC: Why the last call on this thread failed.
 */
#ifndef VH_ERROR_H
#define VH_ERROR_H

#include "vh/types.h"

VH_BEGIN_DECLS

/* vh_error.domain: who refused. */
#define VH_ERROR_ARGUMENT 1 /* the caller's argument */
#define VH_ERROR_SYSTEM	  2 /* a system call or an allocation */
#define VH_ERROR_PEER	  3 /* the other end of the connection */
#define VH_ERROR_MEMORY	  4 /* guest memory */
#define VH_ERROR_QUEUE	  5 /* a virtqueue */
#define VH_ERROR_DEVICE	  6 /* the device behind a back-end */
#define VH_ERROR_STATE	  7 /* right call, wrong moment */

#define VH_ERROR_NONE	   0xffffffffu /* queue and request, when none is concerned */
#define VH_ERROR_TEXT_SIZE 232

/** struct vh_error - details of a failure. Size-first out struct. */
struct vh_error {
	uint32_t size;		       /* in: sizeof(struct vh_error) */
	int32_t code;		       /* negative errno value, 0 = no failure yet */
	uint32_t domain;	       /* VH_ERROR_* */
	uint32_t queue;		       /* queue index or VH_ERROR_NONE */
	uint32_t request;	       /* vhost-user message id or VH_ERROR_NONE */
	uint32_t site;		       /* number of the check that refused, 0 = none */
	char text[VH_ERROR_TEXT_SIZE]; /* who did what, what to try; NUL-terminated */
};

/**
 * vh_error_get() - copy the details of this thread's last failed call
 * @out: (out) filled up to the smaller of both sizes; @out->size says how much there is room for
 *
 * Successful calls and every *_free leave the details untouched.
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 *
 * Return: 0, or -EINVAL when @out is NULL or its size below 8.
 */
VH_API vh_rc vh_error_get(struct vh_error *out);

/**
 * vh_error_name() - symbolic name of an errno value
 * @code: errno value, either sign
 *
 * Knows the values that the kernel returns but libc does not name (524 ENOTSUPP).
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: none
 *
 * Return: (borrowed) a static string such as "EPROTO", or "E?" for an unknown value.
 */
VH_API const char *vh_error_name(int32_t code);

VH_END_DECLS
#endif
