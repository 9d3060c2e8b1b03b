/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
#include "weak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define PLACES	128u
#define STORES	24u
#define CHOICES 4096u
#define STACK	(256u << 10)
#define NOBODY	2u

/* By place, the number of a store. */
struct view {
	uint8_t at[PLACES];
};

struct place {
	void *p;
	size_t size;
	uint32_t n;
	struct {
		uint64_t value;
		struct view view; /* that it gives away */
	} store[STORES];
};

static struct place places[PLACES];
static uint32_t n_places;

static struct thread {
	ucontext_t context;
	bool done;
	struct view now;
	struct view seen;   /* taken over by the next fence: what loads without acquire found */
	struct view fenced; /* given away by stores without release: as of the last fence */
	char *stack;
} threads[2];

static ucontext_t home;
static struct view fences;
static uint32_t current = NOBODY;
static enum weak_without without;
static uint32_t switches_left, old_left;
static bool cut;
static bool died;
static uintptr_t memory;
static size_t memory_len;
static const char *wrong;
static const struct weak_program *running;

/* The way that is gone now: at each fork, of how many, and which. */
static struct {
	uint8_t n, pick;
} way[CHOICES];
static uint32_t at, known;

static void give_up(const char *what)
{
	fprintf(stderr, "%s\n", what);
	abort();
}

static uint32_t choose(uint32_t n)
{
	if (n < 2)
		return 0;
	if (at == CHOICES)
		give_up("a program that is too long");
	if (at == known) {
		way[known].n = (uint8_t)n;
		way[known++].pick = 0;
	}
	if (way[at].n != n)
		give_up("a program that does not do the same again");
	return way[at++].pick;
}

static bool next_way(void)
{
	while (known && way[known - 1].pick + 1 == way[known - 1].n)
		known--;
	if (!known)
		return false;
	way[known - 1].pick++;
	return true;
}

static void join(struct view *v, const struct view *other)
{
	for (uint32_t i = 0; i < n_places; i++)
		if (other->at[i] > v->at[i])
			v->at[i] = other->at[i];
}

static uint64_t plain_load(const void *p, size_t size)
{
	if (size == sizeof(uint16_t))
		return *(const uint16_t *)p;
	return size == sizeof(uint32_t) ? *(const uint32_t *)p : *(const uint64_t *)p;
}

static void plain_store(void *p, size_t size, uint64_t v)
{
	if (size == sizeof(uint16_t))
		*(uint16_t *)p = (uint16_t)v;
	else if (size == sizeof(uint32_t))
		*(uint32_t *)p = (uint32_t)v;
	else
		*(uint64_t *)p = v;
}

static struct place *place_of(const void *p, size_t size)
{
	struct place *place = places;

	for (; place < places + n_places; place++) {
		if (place->p == p && place->size == size)
			return place;
		if ((uintptr_t)place->p < (uintptr_t)p + size && (uintptr_t)p < (uintptr_t)place->p + place->size)
			give_up("two widths for one place");
	}
	if (n_places == PLACES)
		give_up("too many places");
	n_places++;
	place->p = (void *)(uintptr_t)p;
	place->size = size;
	place->n = 1;
	memset(&place->store[0].view, 0, sizeof(struct view));
	place->store[0].value = plain_load(p, size);
	return place;
}

static void may_switch(void)
{
	struct thread *me = &threads[current], *other = &threads[!current];

	if (other->done)
		return;
	if (!switches_left) {
		cut = true;
		return;
	}
	if (!choose(2))
		return;
	switches_left--;
	current = !current;
	swapcontext(&me->context, &other->context);
}

uint64_t weak_load(const void *p, size_t size, bool acquire)
{
	struct place *place;
	struct thread *me;
	uint32_t i, oldest, back;

	if (current == NOBODY)
		return plain_load(p, size);
	may_switch();
	me = &threads[current];
	place = place_of(p, size);
	i = (uint32_t)(place - places);
	oldest = me->now.at[i];
	if (!old_left && oldest + 1 < place->n)
		cut = true;
	back = old_left ? choose(place->n - oldest) : 0;
	old_left -= back > 0;
	me->now.at[i] = (uint8_t)(place->n - 1 - back);
	join(acquire && without != WEAK_NO_ACQUIRE ? &me->now : &me->seen, &place->store[me->now.at[i]].view);
	return place->store[me->now.at[i]].value;
}

void weak_memory(const void *p, size_t size)
{
	memory = (uintptr_t)p;
	memory_len = size;
}

bool weak_died(void)
{
	return died;
}

bool weak_ghost(void)
{
	return died && running->mortal == current + 1;
}

void weak_store(void *p, size_t size, uint64_t v, bool release)
{
	struct place *place = current == NOBODY ? NULL : place_of(p, size);
	struct thread *me;
	uint32_t i;

	if (place && running->mortal == current + 1 && (died || choose(2))) {
		died = true;
		return;
	}
	if (place && without == WEAK_NO_RECORDS && (uintptr_t)p - memory >= memory_len)
		return;
	plain_store(p, size, v);
	if (!place)
		return;
	if (place->n == STORES)
		give_up("too many stores");
	me = &threads[current];
	i = (uint32_t)(place - places);
	me->now.at[i] = (uint8_t)place->n;
	place->store[place->n].value = v;
	place->store[place->n].view = release && without != WEAK_NO_RELEASE ? me->now : me->fenced;
	place->store[place->n++].view.at[i] = me->now.at[i];
}

void weak_fence(void)
{
	struct thread *me;

	if (current == NOBODY || without == WEAK_NO_FENCE || weak_ghost())
		return;
	may_switch();
	me = &threads[current];
	join(&me->now, &me->seen);
	join(&me->now, &fences);
	fences = me->fenced = me->now;
}

void weak_wrong(const char *what)
{
	if (!wrong)
		wrong = what;
}

static void body(void)
{
	running->thread[current]();
	threads[current].done = true;
	current = !current;
	if (threads[current].done)
		setcontext(&home);
	setcontext(&threads[current].context);
}

static void run(void)
{
	at = 0;
	died = false;
	running->begin();
	n_places = 0;
	memset(&fences, 0, sizeof(fences));
	for (uint32_t i = 0; i < 2; i++) {
		struct thread *t = &threads[i];

		if (!t->stack)
			t->stack = malloc(STACK);
		if (!t->stack || getcontext(&t->context))
			give_up("no memory");
		t->done = false;
		memset(&t->now, 0, sizeof(t->now));
		t->seen = t->fenced = t->now;
		t->context.uc_stack.ss_sp = t->stack;
		t->context.uc_stack.ss_size = STACK;
		makecontext(&t->context, body, 0);
	}
	current = choose(2);
	swapcontext(&home, &threads[current].context);
	current = NOBODY;
	weak_wrong(running->end());
}

struct weak_result weak_explore(const struct weak_program *program, enum weak_without w, uint32_t switches,
				uint32_t old_loads)
{
	struct weak_result result = {0};

	running = program;
	without = w;
	wrong = NULL;
	known = 0;
	cut = false;
	do {
		switches_left = switches;
		old_left = old_loads;
		run();
		result.ways++;
	} while (!wrong && next_way());
	result.wrong = wrong;
	result.all = !cut && !wrong;
	return result;
}
