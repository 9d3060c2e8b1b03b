/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * userfaultfd: who touches a page that is missing waits until somebody else brings it. All return 0 or a count, or -errno
 * without a last error.
 */
#ifndef VHI_UFFD_H
#define VHI_UFFD_H

#include "vhi_base.h"

/* Of this process, ready to use, non-blocking. Also faults inside of system calls wait, which takes a privilege. */
int vhi_uffd_open(void);
/* The range is of whole pages, of one mapping. Registered: only who fills it in wakes who waits. */
int vhi_uffd_register(int uffd, const void *at, uint64_t len);
/* Who waits gets what is there, or zeroes. */
void vhi_uffd_unregister(int uffd, const void *at, uint64_t len);

/* Of another process, whose addresses these are. */
int vhi_uffd_check(int fd); /* it is one; nothing is done to what is none */
struct vhi_uffd_fault {
	uint64_t address;
	bool write;
};
int vhi_uffd_next(int uffd, struct vhi_uffd_fault *out); /* 1, 0 = nobody waits, -errno */
/* Bring pages; one that is there already stays as it is. */
int vhi_uffd_copy(int uffd, uint64_t to, const void *from, uint64_t len, uint64_t page_size);
int vhi_uffd_wake(int uffd, uint64_t at, uint64_t len);

#endif
