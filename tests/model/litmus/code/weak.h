/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Two threads on a memory that C11 allows, and every way in which they can run.
 *
 * A place in memory has a list of what was stored there. A thread has a view: for each place the oldest entry that it may
 * still read; it may read any from there on. A store with release gives its thread's view away, a load with acquire that
 * reads it takes it over; a full fence takes over what full fences before it gave. That is C11 but for loads that see
 * stores which come later in the program; the litmus tests look at those.
 *
 * The threads are coroutines. Before each load and fence the other one may go on, and each load may read each entry that
 * its view allows. All of this is tried, within bounds: so many changes of thread, so many loads that don't read the newest.
 */
#ifndef WEAK_H
#define WEAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t weak_load(const void *p, size_t size, bool acquire);
void weak_store(void *p, size_t size, uint64_t v, bool release);
void weak_fence(void);

/* What to leave out. */
enum weak_without { WEAK_ALL_THERE, WEAK_NO_ACQUIRE, WEAK_NO_RELEASE, WEAK_NO_FENCE, WEAK_NO_RECORDS };

/* With WEAK_NO_RECORDS, what threads store elsewhere is lost. */
void weak_memory(const void *p, size_t size);

/*
 * A thread may die: at any of its stores, which is then not made, nor any after it. It goes on, so that what it holds is given
 * back, but nobody sees it.
 */
enum weak_mortal { WEAK_NOBODY_DIES, WEAK_FIRST_DIES, WEAK_SECOND_DIES };

struct weak_program {
	void (*begin)(void);	 /* everything as it was; accesses are plain ones */
	void (*thread[2])(void); /* both at once */
	const char *(*end)(
		void); /* accesses are plain ones, the last store to each place counts; what is wrong, or NULL */
	enum weak_mortal mortal;
};

struct weak_result {
	const char *wrong; /* the first thing; it ends there */
	uint64_t ways;
	bool all; /* no bound cut anything off */
};

bool weak_died(void);  /* the mortal one */
bool weak_ghost(void); /* it is the one that asks */

/* From a thread: this should not be. */
void weak_wrong(const char *what);
struct weak_result weak_explore(const struct weak_program *program, enum weak_without without, uint32_t switches,
				uint32_t old_loads);

#endif
