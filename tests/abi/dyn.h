/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * libvh without its headers: what a language with libffi knows of it is vectors.def, made from the model. Everything is
 * found by name; a name that the model does not have ends the program.
 */
#ifndef DYN_H
#define DYN_H

#include <ffi.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dyn_type {
	T_VOID,
	T_I8,
	T_U8,
	T_I16,
	T_U16,
	T_I32,
	T_U32,
	T_I64,
	T_U64,
	T_SIZE,
	T_PTR,
	T_STRUCT,
	T_COUNT,
};

enum dyn_shape {
	S_FROZEN,
	S_SIZED,
	S_OUT,
	S_OPS,
};

#define P_NULLABLE 1u
#define P_OUT	   2u
#define P_OWNED	   4u
#define P_BORROWED 8u
#define P_CONST	   16u

#define DYN_MAX_PARAMS 8
#define DYN_SIZE_MIN   8    /* of a size-first struct: size and one more word */
#define DYN_SIZE_MAX   4096 /* what a caller can say that a struct going in has */

struct dyn_param {
	const char *call, *name;
	enum dyn_type type, element; /* element: what a pointer points to */
	const char *structure;	     /* name of the struct or handle that it leads to, "" = none */
	unsigned flags;		     /* P_* */
	const char *count;	     /* the parameter that counts the elements, "" = one */
};

struct dyn_call {
	const char *name, *since, *thread, *errors;
	enum dyn_type result;
	const char *result_name; /* as it is written in C */
	const struct dyn_param *params;
	unsigned n_params;
	void (*fn)(void);
	atomic_uint times; /* that it was called */
	ffi_cif cif;
	ffi_type *types[DYN_MAX_PARAMS];
};

struct dyn_field {
	const char *structure, *name;
	enum dyn_type type;
	unsigned count;
	unsigned offset; /* on this machine */
};

struct dyn_struct {
	const char *name;
	enum dyn_shape shape;
	unsigned size, align; /* on this machine */
	const struct dyn_field *fields;
	unsigned n_fields;
};

/* Every row, for the tests that go through all of them. */
struct dyn_call *dyn_calls(unsigned *n);
const struct dyn_struct *dyn_structs(unsigned *n);
const char *const *dyn_nodes(unsigned *n);
size_t dyn_width(enum dyn_type type);
ffi_type *dyn_ffi(enum dyn_type type);

/* Find every function at its version node. False when one is not there; the reason has been printed. */
bool dyn_load(const char *soname);
void *dyn_handle(void);

struct dyn_call *dyn_call(const char *name);
int64_t dyn_constant(const char *name);
const struct dyn_struct *dyn_struct(const char *name); /* NULL for a handle */
bool dyn_is_callback(const struct dyn_call *call);
bool dyn_says_errors(const struct dyn_call *call); /* its result is 0 or a count, or a negative errno value */

/* A call. A result is widened by its own sign; an address is a number. */
int64_t dyn_invoke(struct dyn_call *call, const uint64_t *args);
#define VH(name, ...) dyn_invoke(dyn_call("vh_" #name), (const uint64_t[]){__VA_ARGS__})

static inline uint64_t at(const void *p)
{
	return (uintptr_t)p;
}

static inline void *pointer(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

/* A struct of zeroes with its size set, if it has one; and its fields by name. */
void *dyn_new(const char *structure);
uint64_t dyn_get(const void *p, const char *structure, const char *field);
void dyn_set(void *p, const char *structure, const char *field, uint64_t value);

/* What ctx points to. Callbacks are counted, and passed on to @call if there is one. */
struct receiver {
	int destroyed, called;
	int64_t (*call)(struct receiver *r, const char *callback, const uint64_t *args);
	uint64_t handle; /* for @call */
};

/* Ops whose members, all or only those named (with spaces between), are closures. */
void *dyn_ops(const char *structure, const char *members);

/* Tests: one says what went wrong and goes on, so that one run shows all of it. */
void check_failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define CHECK(condition, ...)                                          \
	do {                                                           \
		check_count++;                                         \
		if (!(condition))                                      \
			check_failed(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
extern unsigned check_count, check_failures;

struct test {
	const char *name;
	void (*run)(void);
};
extern const struct test layout_tests[], sweep_tests[], session_tests[], destroy_tests[];

#endif
