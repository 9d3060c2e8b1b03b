/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * All that a peer can do to a few loads. Each word of shared memory has a list of values that it may have; each load gives
 * any of them, whatever an earlier load of the same word gave. A test is run again and again, depth first, until every
 * sequence of choices has been made; what was loaded is kept, so that it can be asked what that means.
 */
#ifndef TREE_H
#define TREE_H

#include <stdbool.h>
#include <stdint.h>

#define TREE_VALUES 12u /* that a word has at most */
#define TREE_WORDS  64u
#define TREE_LOADS  64u /* in one run; more is an error: a run is bounded */

struct tree_load {
	const volatile void *at;
	uint64_t value;
	bool asked; /* by tree_value() */
};

struct tree {
	struct {
		const volatile void *at;
		uint32_t n;
		uint64_t values[TREE_VALUES];
	} words[TREE_WORDS];
	uint32_t n_words;
	struct tree_load loads[TREE_LOADS];
	uint32_t n_loads;
	uint32_t choice[TREE_LOADS], of[TREE_LOADS], n_choices, next;
	uint64_t runs;
	uint64_t low, high; /* where loads may be */
	bool on, missing;
};

extern struct tree tree;

/* Words begin anew. */
void tree_clear(void);
/* One more value of a word. */
void tree_add(const volatile void *at, uint64_t value);
/* run() as often as there are sequences; the loads between tree_begin() and tree_end() are chosen. */
void tree_explore(void (*run)(void));
void tree_begin(void);
void tree_end(void);

/* What the first load of this word gave that was not asked for yet. When there is none, tree.missing is set. */
uint64_t tree_value(const volatile void *at);
/* What the only load of this word gave, asked for as often as one likes. */
uint64_t tree_only(const volatile void *at);
/* Whether there is a load of it that was not asked for. */
bool tree_left(const volatile void *at);
/* Loads that nobody asked for. */
uint32_t tree_unasked(void);

#endif
