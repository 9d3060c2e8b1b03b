/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* What libffi makes of the model's types, against the goldens; and each symbol at its version node and at no other. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "dyn.h"

#define MAX_FIELDS 64

/* A struct of the model as libffi builds it; an array is a struct of its elements. */
struct built {
	ffi_type whole;
	ffi_type arrays[MAX_FIELDS];
	ffi_type *elements[MAX_FIELDS + 1];
	ffi_type **repeated[MAX_FIELDS];
	size_t offsets[MAX_FIELDS];
};

static ffi_type *array_of(struct built *b, unsigned i, const struct dyn_field *field)
{
	b->repeated[i] = calloc(field->count + 1u, sizeof(ffi_type *));
	for (unsigned n = 0; n < field->count; n++)
		b->repeated[i][n] = dyn_ffi(field->type);
	b->arrays[i] = (ffi_type){.type = FFI_TYPE_STRUCT, .elements = b->repeated[i]};
	return &b->arrays[i];
}

static void one_layout(const struct dyn_struct *s)
{
	struct built b = {.whole = {.type = FFI_TYPE_STRUCT, .elements = b.elements}};

	CHECK(s->n_fields > 0 && s->n_fields <= MAX_FIELDS, "%s: %u fields", s->name, s->n_fields);
	for (unsigned i = 0; i < s->n_fields; i++)
		b.elements[i] = s->fields[i].count > 1 ? array_of(&b, i, &s->fields[i]) : dyn_ffi(s->fields[i].type);
	CHECK(ffi_get_struct_offsets(FFI_DEFAULT_ABI, &b.whole, b.offsets) == FFI_OK, "%s: libffi refuses it", s->name);
	for (unsigned i = 0; i < s->n_fields; i++) {
		CHECK(b.offsets[i] == s->fields[i].offset, "%s.%s: libffi has it at %zu, the golden at %u", s->name,
		      s->fields[i].name, b.offsets[i], s->fields[i].offset);
		free(b.repeated[i]);
	}
	CHECK(b.whole.size == s->size, "%s: libffi has %zu bytes, the golden %u", s->name, b.whole.size, s->size);
	CHECK(b.whole.alignment == s->align, "%s: libffi aligns it to %u, the golden to %u", s->name, b.whole.alignment,
	      s->align);
}

static void layouts_are_what_libffi_computes(void)
{
	unsigned n;
	const struct dyn_struct *structs = dyn_structs(&n);

	for (unsigned i = 0; i < n; i++)
		one_layout(&structs[i]);
}

/* Ops have destroy where every version of the library looks for it. */
static void destroy_stands_right_after_flags(void)
{
	unsigned n;
	const struct dyn_struct *structs = dyn_structs(&n);

	for (unsigned i = 0; i < n; i++) {
		const struct dyn_struct *s = &structs[i];

		if (s->shape == S_OPS)
			CHECK(s->n_fields > 2 && !strcmp(s->fields[2].name, "destroy") && s->fields[2].offset == 8,
			      "%s: destroy is not the member at 8", s->name);
	}
}

static void symbols_are_at_their_node_only(void)
{
	static const char *const never[] = {"VH_0.9", "VH_9.9", "VH_PRIVATE"};
	unsigned n, n_nodes;
	struct dyn_call *calls = dyn_calls(&n);
	const char *const *nodes = dyn_nodes(&n_nodes);

	for (unsigned i = 0; i < n; i++) {
		if (dyn_is_callback(&calls[i]))
			continue;
		CHECK(dlvsym(dyn_handle(), calls[i].name, calls[i].since), "%s is not at %s", calls[i].name,
		      calls[i].since);
		for (unsigned k = 0; k < n_nodes; k++)
			CHECK(!strcmp(nodes[k], calls[i].since) || !dlvsym(dyn_handle(), calls[i].name, nodes[k]),
			      "%s is at %s too", calls[i].name, nodes[k]);
		for (unsigned k = 0; k < sizeof(never) / sizeof(never[0]); k++)
			CHECK(!dlvsym(dyn_handle(), calls[i].name, never[k]), "%s is at %s", calls[i].name, never[k]);
	}
}

const struct test layout_tests[] = {
	{"layouts_are_what_libffi_computes", layouts_are_what_libffi_computes},
	{"destroy_stands_right_after_flags", destroy_stands_right_after_flags},
	{"symbols_are_at_their_node_only", symbols_are_at_their_node_only},
	{NULL, NULL},
};
