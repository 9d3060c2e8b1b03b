/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Every function with every pointer NULL, every size-first struct too short, too long and with a tail that this version
 * does not know. Each must be refused with -EINVAL and its details, and leave what it would have filled untouched; or do
 * exactly what the struct of the right size does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

#define TAIL  16   /* bytes that a newer caller could have */
#define DIRT  0x5a /* in them */
#define GUARD 0xa5 /* behind what the caller said that it has */

/* Refused, but written to all the same, as the documentation says. */
static const char *const written_on_failure[] = {"vh_msg_json.buf"};

static bool may_be_written(const struct dyn_call *call, const struct dyn_param *p)
{
	char both[80];

	snprintf(both, sizeof(both), "%s.%s", call->name, p->name);
	for (size_t i = 0; i < sizeof(written_on_failure) / sizeof(written_on_failure[0]); i++)
		if (!strcmp(written_on_failure[i], both))
			return true;
	return false;
}

/* Is destroy where the library can find it? */
static int destroys(const struct sample *s)
{
	const int i = sample_ops(s->call);
	uint32_t size;

	if (i < 0 || !s->args[i])
		return 0;
	memcpy(&size, pointer(s->args[i]), sizeof(size));
	return size >= 8 + sizeof(void *);
}

static void check_details(const struct sample *s, int64_t rc, const char *what)
{
	void *why = dyn_new("vh_error");
	int64_t code;

	VH(error_get, at(why));
	code = (int64_t)dyn_get(why, "vh_error", "code");
	/* What may be called from a signal handler can't say why, and the details can't be asked for wrongly. */
	if (!strcmp(s->call->thread, "signal") || !strcmp(s->call->name, "vh_error_get")) {
		CHECK(code == SAMPLE_OTHER_CODE, "%s, %s: the details are changed", s->call->name, what);
	} else {
		CHECK(code == rc, "%s, %s: the details are of %lld", s->call->name, what, (long long)code);
		CHECK(dyn_get(why, "vh_error", "domain") == (uint64_t)dyn_constant("VH_ERROR_ARGUMENT"),
		      "%s, %s: blamed is %llu, not the argument", s->call->name, what,
		      (unsigned long long)dyn_get(why, "vh_error", "domain"));
		CHECK(*(char *)pointer(dyn_get(why, "vh_error", "text")), "%s, %s: no text", s->call->name, what);
	}
	free(why);
}

static void expect_refused(struct sample *s, const char *what)
{
	const int expected = destroys(s);
	int64_t rc;

	sample_other_failure();
	rc = sample_call(s);

	if (dyn_says_errors(s->call)) {
		CHECK(rc == -EINVAL, "%s, %s: %lld, not -EINVAL", s->call->name, what, (long long)rc);
		if (rc == -EINVAL)
			check_details(s, rc, what);
	}
	for (unsigned i = 0; rc < 0 && i < s->call->n_params; i++)
		CHECK(sample_untouched(s, i) || may_be_written(s->call, &s->call->params[i]),
		      "%s, %s: failed, and wrote to %s", s->call->name, what, s->call->params[i].name);
	CHECK(s->receiver.destroyed == expected, "%s, %s: destroy was called %d times, not %d", s->call->name, what,
	      s->receiver.destroyed, expected);
}

static void null_pointers_of(struct dyn_call *call, unsigned i)
{
	const struct dyn_param *p = &call->params[i];
	struct sample s;
	uint64_t kept;
	char what[80];

	/* An array that goes in may be NULL when there is nothing in it; here its count is 1. */
	if (p->type != T_PTR || is_context(p) ||
	    (p->flags & P_NULLABLE && !(p->flags & P_CONST && sample_is_counted(call, p))))
		return;
	sample_make(&s, call);
	kept = s.args[i];
	s.args[i] = 0;
	snprintf(what, sizeof(what), "%s NULL", p->name);
	expect_refused(&s, what);
	s.args[i] = kept;
	if (is_memory(p))
		s.before[i] = NULL;
	sample_free(&s);
}

static void pointers_that_are_null(void)
{
	unsigned n;
	struct dyn_call *calls = dyn_calls(&n);

	world_open();
	for (unsigned c = 0; c < n; c++)
		for (unsigned i = 0; !dyn_is_callback(&calls[c]) && i < calls[c].n_params; i++)
			null_pointers_of(&calls[c], i);
	world_close();
}

/* Nothing at all: a call that could only fail says so, *_free and the like do nothing. */
static void everything_null(void)
{
	unsigned n;
	struct dyn_call *calls = dyn_calls(&n);
	const uint64_t none[DYN_MAX_PARAMS] = {0};

	for (unsigned c = 0; c < n; c++) {
		bool must = false;
		int64_t rc;

		for (unsigned i = 0; i < calls[c].n_params; i++)
			must = must || (calls[c].params[i].type == T_PTR && !is_context(&calls[c].params[i]) &&
					!(calls[c].params[i].flags & P_NULLABLE) && !calls[c].params[i].count[0]);
		if (dyn_is_callback(&calls[c]) || !calls[c].n_params)
			continue;
		rc = dyn_invoke(&calls[c], none);
		if (must && dyn_says_errors(&calls[c]))
			CHECK(rc == -EINVAL, "%s of nothing: %lld, not -EINVAL", calls[c].name, (long long)rc);
	}
}

/* Numbers that no call takes, each in turn; where that is an error, nothing was written. */
static void wrong_number(struct dyn_call *call, unsigned i)
{
	const int expected = sample_ops(call) >= 0;
	struct sample s;
	int64_t rc;

	world_open();
	sample_make(&s, call);
	s.args[i] = UINT64_MAX;
	rc = sample_call(&s);
	for (unsigned k = 0; dyn_says_errors(call) && rc < 0 && k < call->n_params; k++)
		CHECK(sample_untouched(&s, k) || may_be_written(call, &call->params[k]),
		      "%s with a wrong %s: failed, and wrote to %s", call->name, call->params[i].name,
		      call->params[k].name);
	CHECK(!dyn_says_errors(call) || rc >= 0 || s.receiver.destroyed == expected, "%s: destroy was called %d times",
	      call->name, s.receiver.destroyed);
	sample_free(&s);
	world_close();
}

/* Not a count, whose memory has to be there, and not how long to wait. */
static bool is_number(const struct dyn_call *call, const struct dyn_param *p)
{
	return p->type != T_PTR && !sample_counts(call, p->name) && !strstr(p->name, "timeout");
}

static void numbers_that_are_wrong(void)
{
	unsigned n, done = 0;
	struct dyn_call *calls = dyn_calls(&n);

	for (unsigned c = 0; c < n; c++)
		for (unsigned i = 0; !dyn_is_callback(&calls[c]) && i < calls[c].n_params; i++)
			if (is_number(&calls[c], &calls[c].params[i])) {
				wrong_number(&calls[c], i);
				done++;
			}
	CHECK(done > 30, "there are only %u numbers", done);
}

typedef void (*struct_test)(struct dyn_call *call, unsigned i, const struct dyn_struct *structure);

/* For every parameter that is a size-first struct, on its way in (ops and options) or out. */
static void for_structs(bool out, struct_test test)
{
	unsigned n, done = 0;
	struct dyn_call *calls = dyn_calls(&n);

	world_open();
	for (unsigned c = 0; c < n; c++)
		for (unsigned i = 0; !dyn_is_callback(&calls[c]) && i < calls[c].n_params; i++) {
			const struct dyn_param *p = &calls[c].params[i];
			const struct dyn_struct *s = p->element == T_STRUCT ? dyn_struct(p->structure) : NULL;

			if (!s || s->shape == S_FROZEN || out != !!(p->flags & P_OUT))
				continue;
			test(&calls[c], i, s);
			done++;
		}
	world_close();
	CHECK(done > 5, "there are only %u such parameters", done);
}

static void wrong_size(struct dyn_call *call, unsigned i, const struct dyn_struct *structure, uint32_t size)
{
	struct sample s;
	char what[80];

	sample_make(&s, call);
	/* Just as much memory as is claimed: more than that may not be read. What nobody can have is refused unseen. */
	if (size != UINT32_MAX)
		sample_resize(&s, i, size < sizeof(size) ? sizeof(size) : size, 0);
	sample_set_size(&s, i, size);
	snprintf(what, sizeof(what), "%s of size %u", structure->name, size);
	expect_refused(&s, what);
	sample_free(&s);
}

static void wrong_sizes_of(struct dyn_call *call, unsigned i, const struct dyn_struct *structure)
{
	for (uint32_t size = 0; size < DYN_SIZE_MIN; size++)
		wrong_size(call, i, structure, size);
	if (!(call->params[i].flags & P_OUT)) {
		wrong_size(call, i, structure, DYN_SIZE_MAX + 1);
		wrong_size(call, i, structure, UINT32_MAX);
	}
}

static void sizes_that_cannot_be(void)
{
	for_structs(false, wrong_sizes_of);
	for_structs(true, wrong_sizes_of);
}

/* The result of a call with that much of a struct: at most @claimed bytes of the good one, zeroes behind. */
static int64_t result_with(struct dyn_call *call, unsigned i, size_t claimed, size_t there, size_t kept)
{
	struct sample s;
	int64_t rc;

	sample_make(&s, call);
	sample_resize(&s, i, kept, 0);
	sample_resize(&s, i, there, 0);
	sample_set_size(&s, i, (uint32_t)claimed);
	rc = sample_call(&s);
	sample_free(&s);
	return rc;
}

static void tails_of(struct dyn_call *call, unsigned i, const struct dyn_struct *structure)
{
	const size_t size = structure->size;
	const int64_t exact = result_with(call, i, size, size, size);
	const int64_t longer = result_with(call, i, size + TAIL, size + TAIL, size);
	struct sample s;
	char what[80];

	CHECK(exact == longer, "%s: %s with a tail of zeroes: %lld, without: %lld", call->name, structure->name,
	      (long long)longer, (long long)exact);
	for (size_t k = 0; k < TAIL; k++) {
		sample_make(&s, call);
		sample_resize(&s, i, size + TAIL, 0);
		sample_set_size(&s, i, (uint32_t)(size + TAIL));
		((char *)pointer(s.args[i]))[size + k] = DIRT;
		snprintf(what, sizeof(what), "%s with byte %zu of its tail set", structure->name, k);
		expect_refused(&s, what);
		sample_free(&s);
	}
	/* An older caller's struct ends before one of the members: what it does not have is zero. */
	for (unsigned f = 2; f < structure->n_fields; f++) {
		const size_t k = structure->fields[f].offset;
		const int64_t shorter = result_with(call, i, k, k, k), zeroed = result_with(call, i, size, size, k);

		CHECK(shorter == zeroed, "%s: %s that ends before %s: %lld, with zeroes: %lld", call->name,
		      structure->name, structure->fields[f].name, (long long)shorter, (long long)zeroed);
	}
}

static void tails_of_structs_that_go_in(void)
{
	for_structs(false, tails_of);
}

/* As much as the caller has room for, not a byte more; what the library does not know is zero. */
static void fills_of(struct dyn_call *call, unsigned i, const struct dyn_struct *structure)
{
	for (size_t room = DYN_SIZE_MIN; room <= structure->size + TAIL; room += 4) {
		const size_t known = room < structure->size ? room : structure->size;
		struct sample s;
		uint32_t size;
		char *p;
		int64_t rc;

		sample_make(&s, call);
		sample_resize(&s, i, room, GUARD); /* the last byte that there is: a sanitizer sees the next one */
		sample_resize(&s, i, room + TAIL, GUARD);
		sample_set_size(&s, i, (uint32_t)room);
		rc = sample_call(&s);
		p = pointer(s.args[i]);
		memcpy(&size, p, sizeof(size));
		CHECK(size == room, "%s: %s.size was %zu, is %u", call->name, structure->name, room, size);
		for (size_t k = room; k < room + TAIL; k++)
			CHECK((unsigned char)p[k] == GUARD, "%s: byte %zu of %s was written, there is room for %zu",
			      call->name, k, structure->name, room);
		for (size_t k = known; k < room && !sample_untouched(&s, i); k++)
			CHECK(!p[k], "%s: byte %zu of %s is not known, and not zero", call->name, k, structure->name);
		CHECK(rc >= 0 || sample_untouched(&s, i), "%s: failed, and wrote to %s", call->name, structure->name);
		sample_free(&s);
	}
}

static void fills_of_structs_that_come_out(void)
{
	for_structs(true, fills_of);
}

const struct test sweep_tests[] = {
	{"pointers_that_are_null", pointers_that_are_null},
	{"everything_null", everything_null},
	{"numbers_that_are_wrong", numbers_that_are_wrong},
	{"sizes_that_cannot_be", sizes_that_cannot_be},
	{"tails_of_structs_that_go_in", tails_of_structs_that_go_in},
	{"fills_of_structs_that_come_out", fills_of_structs_that_come_out},
	{NULL, NULL},
};
