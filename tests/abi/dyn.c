/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/* The rows of vectors.def, linked to each other and to the library. */
#include "dyn.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

#if defined(__x86_64__)
#define ARCHS(x86_64, i386, aarch64) x86_64
#elif defined(__i386__)
#define ARCHS(x86_64, i386, aarch64) i386
#elif defined(__aarch64__) || defined(__s390x__)
#define ARCHS(x86_64, i386, aarch64) aarch64
#else
#error "there are no goldens for this architecture"
#endif

#define NODE(...)
#define CONSTANT(...)
#define STRUCT(...)
#define FIELD(...)
#define CALL(...)
#define PARAM(...)

#undef NODE
#define NODE(name) name,
static const char *const nodes[] = {
#include "vectors.def"
};
#undef NODE
#define NODE(...)

#undef CONSTANT
#define CONSTANT(name, value) {name, value},
static const struct {
	const char *name;
	int64_t value;
} constants[] = {
#include "vectors.def"
};
#undef CONSTANT
#define CONSTANT(...)

#undef STRUCT
#define STRUCT(name, shape, size, align) {name, shape, size, align, NULL, 0},
static struct dyn_struct structs[] = {
#include "vectors.def"
};
#undef STRUCT
#define STRUCT(...)

#undef FIELD
#define FIELD(structure, name, type, count, offset) {structure, name, type, count, offset},
static const struct dyn_field fields[] = {
#include "vectors.def"
};
#undef FIELD
#define FIELD(...)

#undef CALL
#define CALL(n, s, t, e, r, c) {.name = n, .since = s, .thread = t, .errors = e, .result = r, .result_name = c},
static struct dyn_call calls[] = {
#include "vectors.def"
};
#undef CALL
#define CALL(...)

#undef PARAM
#define PARAM(call, name, type, element, structure, flags, count) {call, name, type, element, structure, flags, count},
static const struct dyn_param params[] = {
#include "vectors.def"
};

static const struct {
	size_t width;
	ffi_type *ffi;
} types[T_COUNT] = {
	[T_VOID] = {1, &ffi_type_void},
	[T_I8] = {1, &ffi_type_sint8},
	[T_U8] = {1, &ffi_type_uint8},
	[T_I16] = {2, &ffi_type_sint16},
	[T_U16] = {2, &ffi_type_uint16},
	[T_I32] = {4, &ffi_type_sint32},
	[T_U32] = {4, &ffi_type_uint32},
	[T_I64] = {8, &ffi_type_sint64},
	[T_U64] = {8, &ffi_type_uint64},
	[T_SIZE] = {sizeof(size_t), &ffi_type_pointer},
	[T_PTR] = {sizeof(void *), &ffi_type_pointer},
};

static void *library;

static void give_up(const char *what, const char *name)
{
	fprintf(stderr, "the model has no %s %s\n", what, name);
	exit(2);
}

size_t dyn_width(enum dyn_type type)
{
	return types[type].width;
}

ffi_type *dyn_ffi(enum dyn_type type)
{
	return types[type].ffi;
}

struct dyn_call *dyn_calls(unsigned *n)
{
	*n = LENGTH(calls);
	return calls;
}

const struct dyn_struct *dyn_structs(unsigned *n)
{
	*n = LENGTH(structs);
	return structs;
}

const char *const *dyn_nodes(unsigned *n)
{
	*n = LENGTH(nodes);
	return nodes;
}

void *dyn_handle(void)
{
	return library;
}

bool dyn_is_callback(const struct dyn_call *call)
{
	return strchr(call->name, '.') != NULL;
}

bool dyn_says_errors(const struct dyn_call *call)
{
	return !strcmp(call->result_name, "vh_rc") || !strcmp(call->result_name, "vh_count") ||
	       !strcmp(call->result_name, "vh_fd");
}

struct dyn_call *dyn_call(const char *name)
{
	for (unsigned i = 0; i < LENGTH(calls); i++)
		if (!strcmp(calls[i].name, name))
			return &calls[i];
	give_up("function", name);
	return NULL;
}

int64_t dyn_constant(const char *name)
{
	for (unsigned i = 0; i < LENGTH(constants); i++)
		if (!strcmp(constants[i].name, name))
			return constants[i].value;
	give_up("constant", name);
	return 0;
}

const struct dyn_struct *dyn_struct(const char *name)
{
	for (unsigned i = 0; i < LENGTH(structs); i++)
		if (!strcmp(structs[i].name, name))
			return &structs[i];
	return NULL;
}

/* The rows of a struct, and of a call, stand together. */
static void link_rows(void)
{
	for (unsigned i = 0; i < LENGTH(structs); i++)
		for (unsigned f = 0; f < LENGTH(fields); f++)
			if (!strcmp(fields[f].structure, structs[i].name) && !structs[i].n_fields++)
				structs[i].fields = &fields[f];
	for (unsigned i = 0; i < LENGTH(calls); i++) {
		struct dyn_call *call = &calls[i];

		for (unsigned p = 0; p < LENGTH(params); p++)
			if (!strcmp(params[p].call, call->name) && !call->n_params++)
				call->params = &params[p];
		for (unsigned p = 0; p < call->n_params; p++)
			call->types[p] = types[call->params[p].type].ffi;
		if (call->n_params > DYN_MAX_PARAMS ||
		    ffi_prep_cif(&call->cif, FFI_DEFAULT_ABI, call->n_params, types[call->result].ffi, call->types))
			give_up("way to call", call->name);
	}
}

bool dyn_load(const char *soname)
{
	bool whole = true;

	link_rows();
	library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		return false;
	}
	for (unsigned i = 0; i < LENGTH(calls); i++) {
		void *found;

		if (dyn_is_callback(&calls[i]))
			continue;
		found = dlvsym(library, calls[i].name, calls[i].since);
		if (!found)
			fprintf(stderr, "%s: there is no %s at %s\n", soname, calls[i].name, calls[i].since);
		whole = whole && found;
		memcpy(&calls[i].fn, &found, sizeof(found));
	}
	return whole;
}

/* libffi gives and takes integers that are narrower than a register as a whole ffi_arg. */
static int64_t widened(enum dyn_type type, const void *result)
{
	uint64_t wide;
	ffi_arg arg;

	if (type == T_VOID)
		return 0;
	if (type == T_I64 || type == T_U64) {
		memcpy(&wide, result, sizeof(wide));
		return (int64_t)wide;
	}
	memcpy(&arg, result, sizeof(arg));
	return type == T_I32 ? (int32_t)arg : type == T_U32 ? (int64_t)(uint32_t)arg : (int64_t)arg;
}

int64_t dyn_invoke(struct dyn_call *call, const uint64_t *args)
{
	union {
		uint8_t u8;
		uint16_t u16;
		uint32_t u32;
		uint64_t u64;
		void *p;
	} values[DYN_MAX_PARAMS];
	void *addresses[DYN_MAX_PARAMS];
	uint64_t result[2] = {0};

	for (unsigned i = 0; i < call->n_params; i++) {
		const size_t width = dyn_width(call->params[i].type);

		addresses[i] = &values[i];
		if (width == 1)
			values[i].u8 = (uint8_t)args[i];
		else if (width == 2)
			values[i].u16 = (uint16_t)args[i];
		else if (width == 4)
			values[i].u32 = (uint32_t)args[i];
		else if (call->params[i].type == T_PTR || call->params[i].type == T_SIZE)
			values[i].p = pointer(args[i]);
		else
			values[i].u64 = args[i];
	}
	atomic_fetch_add(&call->times, 1);
	ffi_call(&call->cif, call->fn, result, addresses);
	return widened(call->result, result);
}

static const struct dyn_field *field_of(const char *structure, const char *field)
{
	const struct dyn_struct *s = dyn_struct(structure);

	for (unsigned i = 0; s && i < s->n_fields; i++)
		if (!strcmp(s->fields[i].name, field))
			return &s->fields[i];
	give_up(structure, field);
	return NULL;
}

uint64_t dyn_get(const void *p, const char *structure, const char *field)
{
	const struct dyn_field *f = field_of(structure, field);
	const char *from = (const char *)p + f->offset;
	uint64_t value = 0;

	if (f->count > 1)
		return at(from);
	switch (dyn_width(f->type)) {
	case 2: {
		uint16_t v;
		memcpy(&v, from, sizeof(v));
		return v;
	}
	case 4: {
		uint32_t v;
		memcpy(&v, from, sizeof(v));
		return f->type == T_I32 ? (uint64_t)(int32_t)v : v;
	}
	default:
		memcpy(&value, from, sizeof(value));
		return value;
	}
}

void dyn_set(void *p, const char *structure, const char *field, uint64_t value)
{
	const struct dyn_field *f = field_of(structure, field);
	const uint16_t v16 = (uint16_t)value;
	const uint32_t v32 = (uint32_t)value;
	const uintptr_t v = (uintptr_t)value;
	const size_t width = dyn_width(f->type);

	memcpy((char *)p + f->offset,
	       width == 2	  ? (const void *)&v16
	       : width == 4	  ? &v32
	       : f->type == T_PTR ? (const void *)&v
				  : &value,
	       width);
}

void *dyn_new(const char *structure)
{
	const struct dyn_struct *s = dyn_struct(structure);
	void *p = s ? calloc(1, s->size) : NULL;

	if (!p)
		give_up("struct", structure);
	if (s->shape != S_FROZEN)
		dyn_set(p, structure, "size", s->size);
	return p;
}

static void closure(ffi_cif *cif, void *result, void **values, void *user)
{
	const struct dyn_call *call = user;
	uint64_t args[DYN_MAX_PARAMS] = {0};
	struct receiver *r;
	int64_t rc = 0;

	(void)cif;
	for (unsigned i = 0; i < call->n_params; i++) {
		const enum dyn_type type = call->params[i].type;

		args[i] = type == T_I32	  ? (uint64_t) * (int32_t *)values[i]
			  : type == T_U32 ? *(uint32_t *)values[i]
			  : type == T_PTR ? at(*(void **)values[i])
					  : *(uint64_t *)values[i];
	}
	r = pointer(args[0]);
	if (strstr(call->name, ".destroy"))
		r->destroyed++;
	else
		r->called++;
	if (r->call)
		rc = r->call(r, strchr(call->name, '.') + 1, args);
	if (call->result != T_VOID)
		*(ffi_arg *)result = (ffi_arg)rc;
}

static bool wanted(const char *members, const char *name)
{
	const size_t length = strlen(name);

	if (!members)
		return true;
	for (const char *p = members; (p = strstr(p, name)); p += length)
		if ((p == members || p[-1] == ' ') && (!p[length] || p[length] == ' '))
			return true;
	return false;
}

void *dyn_ops(const char *structure, const char *members)
{
	void *ops = dyn_new(structure);
	const struct dyn_struct *s = dyn_struct(structure);

	for (unsigned i = 0; i < s->n_fields; i++) {
		void *writable, *code = NULL;
		char name[80];

		if (s->fields[i].type != T_PTR || !wanted(members, s->fields[i].name))
			continue;
		snprintf(name, sizeof(name), "%s.%s", structure, s->fields[i].name);
		writable = ffi_closure_alloc(sizeof(ffi_closure), &code); /* lives as long as the program */
		if (!writable || ffi_prep_closure_loc(writable, &dyn_call(name)->cif, closure, dyn_call(name), code))
			give_up("closure for", name);
		dyn_set(ops, structure, s->fields[i].name, at(code));
	}
	return ops;
}
