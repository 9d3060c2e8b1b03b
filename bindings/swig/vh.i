/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * The calls of libvh for Go, without those that take arrays or callbacks. calls.i is made from the headers: what each
 * type is in Go, and a declaration of each call in which vh_rc, vh_count and vh_fd are the types below.
 *
 * A failure is taken to Go in the crossing that failed, since the next one may run on another thread. So a C wrapper
 * returns a word that holds the result or the address of the details (vhgo.h), not an int.
 */
%module raw
%{
#include "vhgo.h"
%}

%insert(cgo_comment_typedefs) %{
#include <vh/types.h>
%}

/* As SWIG is to see the widths, whatever the machine. */
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef unsigned long uintptr_t;

%typemap(gotype) uintptr_t "uintptr"
%typemap(gotype) int8_t "int8"
%typemap(gotype) uint8_t "uint8"
%typemap(gotype) int16_t "int16"
%typemap(gotype) uint16_t "uint16"
%typemap(gotype) int32_t "int32"
%typemap(gotype) uint32_t "uint32"
%typemap(gotype) int64_t "int64"
%typemap(gotype) uint64_t "uint64"

typedef uintptr_t vhgo_rc;
typedef uintptr_t vhgo_count;

%typemap(gotype) vhgo_rc "error"
%typemap(imtype) vhgo_rc "uintptr"
%typemap(out) vhgo_rc %{ $result = vhgo_rc_of((int32_t)$1); %}
%typemap(goout) vhgo_rc %{ $result = rcError($1) %}

%typemap(gotype) vhgo_count "Count"
%typemap(imtype) vhgo_count "uintptr"
%typemap(out) vhgo_count %{ $result = vhgo_count_of((int32_t)$1); %}
%typemap(goout) vhgo_count %{ $result = countOf($1) %}

/* A string of the library's; "" for none. SWIG's own way makes a second copy, and go vet warns of it. */
typedef uintptr_t vhgo_text;

%typemap(gotype) vhgo_text "string"
%typemap(imtype) vhgo_text "uintptr"
%typemap(out) vhgo_text %{ $result = $1; %}
%typemap(goout) vhgo_text %{ $result = textOf($1) %}

%include "calls.i"
