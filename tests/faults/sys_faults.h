/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A system-call table that counts, and fails the n-th call. Only threads that asked for it are counted, so that the
 * two ends of a connection in one process can be tried one after the other. It also keeps the balance of allocations,
 * fds and mappings of the library.
 */
#ifndef SYS_FAULTS_H
#define SYS_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_kind {
	FAULT_NONE,
	FAULT_ALLOC,	     /* the n-th calloc returns NULL */
	FAULT_ALLOC_PERSIST, /* so do all after it */
	FAULT_SYSCALL,	     /* the n-th failable system call fails with its @variant-th plausible errno */
};

/* The calling thread takes part from now on. */
void faults_join(bool on);
/* Fail call number @n (from 1) of the threads that take part. */
void faults_arm(enum fault_kind kind, uint64_t n, unsigned variant);
void faults_disarm(void);
bool faults_fired(void);
const char *faults_what(void); /* "recvmsg ECONNRESET", of the call that failed */

struct faults_balance {
	int64_t allocs, fds, maps;
};
/* What the library holds now, in all threads. */
struct faults_balance faults_balance(void);

#endif
