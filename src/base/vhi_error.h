/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The per-thread last error. Only a failing public call writes it. */
#ifndef VHI_ERROR_H
#define VHI_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#include "vh/error.h"

/* Record and return @code (negative errno). Use as: return vhi_fail(-EINVAL, VH_ERROR_ARGUMENT, 0, "..."). */
__attribute__((format(printf, 4, 5))) int32_t vhi_fail(int32_t code, uint32_t domain, uint32_t site, const char *fmt,
						       ...);
/* The same with a queue index and a message id (VH_ERROR_NONE where there is none). */
__attribute__((format(printf, 6, 7))) int32_t vhi_fail_at(int32_t code, uint32_t domain, uint32_t site, uint32_t queue,
							  uint32_t request, const char *fmt, ...);

/* While muted, this thread's last error stays as it is: for a call that has succeeded already, whatever comes now. */
void vhi_error_mute(bool on);

/* A failure that is kept in a handle (a connection that broke) and reported by a later call. */
struct vhi_failure {
	int32_t code;
	uint32_t domain;
	uint32_t site;
	uint32_t queue;
	uint32_t request;
	char text[VH_ERROR_TEXT_SIZE];
};
__attribute__((format(printf, 5, 6))) int32_t vhi_failure_set(struct vhi_failure *f, int32_t code, uint32_t domain,
							      uint32_t site, const char *fmt, ...);
/* The last error as it is: to raise it again when what failed meanwhile is no concern of the caller. */
void vhi_failure_last(struct vhi_failure *out);
int32_t vhi_failure_raise(const struct vhi_failure *f); /* copies it to the last error, returns its code */

#endif
