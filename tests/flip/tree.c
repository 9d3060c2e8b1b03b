/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tree.h"
#include "vhi_shm.h"

#ifndef VHI_FLIP
#error "this needs a build in which loads can be chosen: cmake --preset flip"
#endif

struct tree tree;

void tree_clear(void)
{
	tree.n_words = 0;
}

static uint32_t find(const volatile void *at)
{
	uint32_t i = 0;

	while (i < tree.n_words && tree.words[i].at != at)
		i++;
	return i;
}

void tree_add(const volatile void *at, uint64_t value)
{
	const uint32_t i = find(at);

	assert_true(i < TREE_WORDS);
	if (i == tree.n_words) {
		tree.words[tree.n_words++].at = at;
		tree.words[i].n = 0;
	}
	assert_true(tree.words[i].n < TREE_VALUES);
	tree.words[i].values[tree.words[i].n++] = value;
}

/* The next of n, in this run. */
static uint32_t choose(uint32_t n)
{
	assert_true(tree.next < TREE_LOADS);
	if (tree.next == tree.n_choices) {
		tree.choice[tree.next] = 0;
		tree.of[tree.next] = n;
		tree.n_choices++;
	}
	assert_int_equal(tree.of[tree.next], n);
	return tree.choice[tree.next++];
}

/* The first sequence, in depth first order, that was not there yet. */
static bool another(void)
{
	assert_int_equal(tree.next, tree.n_choices);
	while (tree.n_choices && tree.choice[tree.n_choices - 1] + 1 == tree.of[tree.n_choices - 1])
		tree.n_choices--;
	if (!tree.n_choices)
		return false;
	tree.choice[tree.n_choices - 1]++;
	return true;
}

void tree_explore(void (*run)(void))
{
	tree.n_choices = 0;
	tree.on = false;
	do {
		tree.next = 0;
		run();
		tree.runs++;
	} while (another());
}

void tree_begin(void)
{
	tree.n_loads = 0;
	tree.on = true;
	tree.missing = false;
}

void tree_end(void)
{
	tree.on = false;
}

uint64_t vhi_flip(const volatile void *at, uint64_t seen)
{
	uint32_t i;

	/* Elsewhere is a private copy of a table. */
	if (!tree.on || (uintptr_t)at < tree.low || (uintptr_t)at >= tree.high)
		return seen;
	i = find(at);
	if (i < tree.n_words)
		seen = tree.words[i].values[choose(tree.words[i].n)];
	assert_true(tree.n_loads < TREE_LOADS);
	tree.loads[tree.n_loads++] = (struct tree_load){.at = at, .value = seen};
	return seen;
}

/* A copy is made of words, each loaded once. */
void vhi_flip_copy(const volatile void *at, void *copy, size_t n)
{
	uint64_t word;

	for (size_t i = 0; tree.on && i + sizeof(word) <= n; i += sizeof(word)) {
		memcpy(&word, (char *)copy + i, sizeof(word));
		word = vhi_flip((const volatile char *)at + i, word);
		memcpy((char *)copy + i, &word, sizeof(word));
	}
}

static struct tree_load *unasked(const volatile void *at)
{
	for (uint32_t i = 0; i < tree.n_loads; i++)
		if (tree.loads[i].at == at && !tree.loads[i].asked)
			return &tree.loads[i];
	return NULL;
}

uint64_t tree_value(const volatile void *at)
{
	struct tree_load *load = unasked(at);

	if (!load) {
		tree.missing = true;
		return 0;
	}
	load->asked = true;
	return load->value;
}

uint64_t tree_only(const volatile void *at)
{
	struct tree_load *only = NULL;

	for (uint32_t i = 0; i < tree.n_loads; i++)
		if (tree.loads[i].at == at) {
			assert_null(only);
			only = &tree.loads[i];
		}
	if (!only) {
		tree.missing = true;
		return 0;
	}
	only->asked = true;
	return only->value;
}

bool tree_left(const volatile void *at)
{
	return unasked(at) != NULL;
}

uint32_t tree_unasked(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < tree.n_loads; i++)
		n += !tree.loads[i].asked;
	return n;
}
