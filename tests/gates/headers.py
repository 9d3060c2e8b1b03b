# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `headers`: the public headers are written in the dialect on which C, C++ and every binding generator agree.

Each header compiles alone as C99, C11, C++11 and C++17 with gcc and clang; only the constructs that the rules below
let through appear in it; every function is documented with all tags. Each rule is first shown to be able to fail.
"""
import os
import re
import subprocess
import sys
import tempfile

from pycparser import c_ast
from pycparser.plyparser import ParseError

import api

BASE_TYPES = {"int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "int64_t", "uint64_t", "size_t"}
API_TYPES = {"vh_rc", "vh_count", "vh_fd", "vh_gpa", "vh_uva", "vh_iova"}
THREADS = {"any", "handle", "queue", "signal"}
ADDRESSES = {"vh_gpa", "vh_uva", "vh_iova"}
TAGS = ("since", "thread", "blocks", "errors")
COMPILERS = [(tool, std, lang) for c, cxx in (("gcc", "g++"), ("clang", "clang++"))
             for tool, std, lang in ((c, "c99", "c"), (c, "c11", "c"), (cxx, "c++11", "c++"), (cxx, "c++17", "c++"))]


class Checker(c_ast.NodeVisitor):
    """The rules about constructs, on the syntax tree of one header."""

    def __init__(self, report):
        self.report = report
        self.in_params = False

    def visit_Enum(self, node):
        self.report("enum", node, "an enum: its size and sign differ between compilers; use #define and uint32_t")

    def visit_Union(self, node):
        self.report("union", node, "a union")

    def visit_EllipsisParam(self, node):
        self.report("variadic", node, "a variadic function")

    def visit_FuncDef(self, node):
        self.report("inline", node, f"{node.decl.name} has a body")

    def visit_FuncDecl(self, node):
        for name, type_ in api.parameters(node):
            if name is None and type_ is not None and not isinstance(type_, c_ast.TypeDecl):
                self.report("names", node, "a parameter without a name")
            self.by_value(type_, node, "parameter")
            if isinstance(type_, c_ast.ArrayDecl):
                self.report("array", node, f"parameter {name} is an array; write a pointer")
        self.by_value(node.type, node, "result")
        self.generic_visit(node)

    def by_value(self, type_, node, what):
        if isinstance(type_, c_ast.TypeDecl) and isinstance(type_.type, c_ast.Struct):
            self.report("by-value", node, f"struct {type_.type.name} by value as {what}")

    def visit_Struct(self, node):
        for field in node.decls or ():
            if field.bitsize is not None:
                self.report("bitfield", field, f"{field.name} is a bit-field")
        self.generic_visit(node)

    def visit_TypeDecl(self, node):
        if isinstance(node.type, c_ast.IdentifierType):
            names = node.type.names
            if names == ["void"] or (len(names) == 1 and names[0] in BASE_TYPES | API_TYPES):
                pass
            elif names != ["char"]:
                self.report("types", node, f"type {' '.join(names)}: only fixed-width integers, size_t, char in text")
        self.generic_visit(node)

    def visit_Decl(self, node):
        if isinstance(node.type, c_ast.TypeDecl) and api.is_base(node.type, "char"):
            self.report("types", node, f"{node.name} is a single char, whose sign is not defined")
        self.generic_visit(node)


def check_tree(path, text, report):
    tree = api.parse(path)
    nodes = api.own(tree, path)
    checker = Checker(lambda rule, node, what: report(rule, f"{node.coord.line if node.coord else '?'}: {what}"))
    for node in nodes:
        if isinstance(node, c_ast.Decl):
            if "inline" in node.funcspec:
                report("inline", f"{node.name} is inline")
            if node.name and not isinstance(node.type, c_ast.FuncDecl):
                report("variable", f"{node.name} is a variable")
        checker.visit(node)
    for name in api.functions(nodes):
        if not name.startswith("vh_"):
            report("names", f"function {name} does not start with vh_")
        if not re.search(rf"^VH_API\b[^;{{]*\b{name}\(", text, flags=re.M):
            report("export", f"{name} is declared without VH_API")
    check_docs(nodes, text, report)
    check_structs(nodes, text, report)


def check_docs(nodes, text, report):
    docs = {}
    for body, follows in api.doc_comments(text):
        match = re.match(r"(\w+)\(\) - \S", body)
        if match:
            docs[match.group(1)] = (body, follows)
    for name, func in api.functions(nodes).items():
        body, follows = docs.get(name, ("", ""))
        if not re.search(rf"\b{name}\(", follows):
            report("doc", f"{name} has no doc comment right before it that starts with '{name}() - '")
            continue
        check_doc(name, func, body, report)


def check_doc(name, func, body, report):
    """One doc comment against the function, or callback, that it stands before."""
    documented = re.findall(r"^@(\w+): ", body, flags=re.M)
    tags = [d for d in documented if d in TAGS]
    for tag in TAGS:
        if tags.count(tag) != 1:
            report("tags", f"{name}: @{tag} is there {tags.count(tag)} times")
    params = [p for p, _ in api.parameters(func)]
    if [d for d in documented if d not in TAGS] != params:
        report("params", f"{name}: documented {[d for d in documented if d not in TAGS]}, declared {params}")
    values = dict(re.findall(r"^@(\w+): (.*)$", body, flags=re.M))
    if values.get("since", "") not in api.map_nodes():
        report("tag-values", f"{name}: @since {values.get('since')} is no node of the map")
    if values.get("thread", "") not in THREADS:
        report("tag-values", f"{name}: @thread is one of {sorted(THREADS)}")
    if values.get("blocks", "") not in ("yes", "no"):
        report("tag-values", f"{name}: @blocks is yes or no")
    if not re.fullmatch(r"none|E[A-Z0-9]+( E[A-Z0-9]+)*", values.get("errors", "")):
        report("tag-values", f"{name}: @errors is none or a list of errno names")


def check_callbacks(struct, text, report):
    """A member that is called back is documented like a function, right before it."""
    found = re.search(rf"^struct {struct.name} \{{(.*?)^\}};", text, flags=re.M | re.S)
    docs = {}
    for body, follows in api.doc_comments(found.group(1) if found else ""):
        match = re.match(r"(\w+)\(\) - \S", body)
        if match and f"(*{match.group(1)})(" in follows:
            docs[match.group(1)] = body
    for member in struct.decls:
        func = member.type.type if isinstance(member.type, c_ast.PtrDecl) else None
        if not isinstance(func, c_ast.FuncDecl):
            continue
        if member.name not in docs:
            report("callback-doc", f"struct {struct.name}: no doc comment '{member.name}() - ' right before {member.name}")
            continue
        check_doc(f"{struct.name}.{member.name}", func, docs[member.name], report)


def check_structs(nodes, text, report):
    """Every public struct is opaque, size-first, or frozen with its size said (and true)."""
    docs = {}
    for body, follows in api.doc_comments(text):
        match = re.match(r"struct (\w+) - \S", body)
        if match and re.fullmatch(rf"struct {match.group(1)}", follows):
            docs[match.group(1)] = body
    for node in nodes:
        struct = node.type if isinstance(node, c_ast.Decl) else None
        if not isinstance(struct, c_ast.Struct) or not struct.decls:
            continue
        body = docs.get(struct.name)
        if body is None:
            report("struct-doc", f"struct {struct.name} has no doc comment right before it")
            continue
        frozen = re.search(r"@frozen, (\d+) bytes", body)
        first = struct.decls[0]
        if not frozen and (first.name != "size" or not api.is_base(first.type, "uint32_t")):
            report("struct-shape", f"struct {struct.name} is neither '@frozen, N bytes' nor starts with uint32_t size")
        if frozen:
            check_frozen(struct, int(frozen.group(1)), report)
        check_callbacks(struct, text, report)
        if struct.name.endswith("_opts"):
            for field in struct.decls:
                if re.fullmatch(r"fd|\w+_fd", field.name or ""):
                    report("opts-fd", f"struct {struct.name}: {field.name}: 0 is an fd, so fds are parameters")


def check_frozen(struct, size, report):
    for field in struct.decls:
        if isinstance(field.type, c_ast.PtrDecl):
            report("frozen-pointer", f"struct {struct.name}: {field.name} is a pointer, whose size differs")
    total, align = 0, 1
    for field in struct.decls:
        name = getattr(getattr(field.type, "type", None), "names", [""])[0]
        bits = re.fullmatch(r"u?int(\d+)_t", name)
        width = 8 if name in ADDRESSES else int(bits.group(1)) // 8 if bits else 0
        if not width or total % width:
            report("frozen-size", f"struct {struct.name}: {field.name} is no naturally aligned fixed-width integer")
            return
        total, align = total + width, max(align, width)
    if total != size or total % align:
        report("frozen-size", f"struct {struct.name} is {total} bytes, its comment says {size}")


def check_text(text, report):
    for name in re.findall(r"^\s*#\s*include\s+(\S+)", text, flags=re.M):
        if name not in ("<stddef.h>", "<stdint.h>") and not re.fullmatch(r'"vh/\w+\.h"', name):
            report("include", f"includes {name}")


def check_compiles(path, report, compilers=tuple(COMPILERS)):
    rel = os.path.relpath(path, os.path.dirname(os.path.dirname(path)))
    for tool, std, lang in compilers:
        source = f'#include "{rel}"\n#include "{rel}"\nextern int vh_unit;\n'
        got = subprocess.run([tool, "-x", lang, f"-std={std}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                              "-I", os.path.dirname(os.path.dirname(path)), "-I", api.INCLUDE, "-"],
                             input=source.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if got.returncode:
            report("compiles", f"{tool} -std={std}: {got.stdout.decode(errors='replace').strip().splitlines()[0]}")


def check(path, compilers=tuple(COMPILERS)):
    """[(rule, text)] of everything that is wrong with one header."""
    found = []
    with open(path, encoding="utf-8") as f:
        text = f.read()

    def report(rule, what):
        found.append((rule, what))
    check_text(text, report)
    check_compiles(path, report, compilers)
    try:
        check_tree(path, text, report)
    except (ParseError, SyntaxError) as e:
        report("parses", str(e))
    return found


GOOD = '''#ifndef T_H
#define T_H
#include "vh/types.h"
VH_BEGIN_DECLS
/** struct vh_t - a thing. @frozen, 16 bytes. */
struct vh_t {
	uint64_t a;
	uint32_t b;
	uint32_t c;
};
/** struct vh_t_opts - options. Sized. */
struct vh_t_opts {
	uint32_t size;
	uint32_t n;
	char name[20];
	/**
	 * done() - it was done
	 * @ctx: as given
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*done)(void *ctx);
};
/**
 * vh_t_do() - do it
 * @t: the thing
 * @n: how often
 *
 * @since: VH_1.0
 * @thread: any
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_t_do(struct vh_t *t, uint32_t n);
VH_END_DECLS
#endif
'''
# rule -> replacements in GOOD, each of which alone must make that rule fail
RED = {
    "types": (("uint32_t n);", "long n);"), ("uint32_t n);", "unsigned n);"), ("uint32_t n);", "_Bool n);"),
              ("uint32_t n;", "double n;"), ("uint32_t n);", "char n);"), ("vh_rc vh_t_do", "int vh_t_do")),
    "enum": (("VH_BEGIN_DECLS", "VH_BEGIN_DECLS\nenum vh_e { VH_E };"), ("uint32_t n);", "enum vh_e n);")),
    "union": (("uint32_t n;", "union { uint32_t n; uint32_t m; } u;"),),
    "bitfield": (("uint32_t n;", "uint32_t n : 4;"),),
    "by-value": (("struct vh_t *t,", "struct vh_t t,"), ("vh_rc vh_t_do", "struct vh_t vh_t_do")),
    "variadic": (("uint32_t n);", "uint32_t n, ...);"),),
    "inline": (("uint32_t n);", "uint32_t n) { (void)t; return (vh_rc)n; }"),
               ("VH_API vh_rc vh_t_do", "inline VH_API vh_rc vh_t_do")),
    "variable": (("VH_END_DECLS", "extern uint32_t vh_v;\nVH_END_DECLS"),),
    "array": (("struct vh_t *t,", "const uint8_t t[4],"),),
    "export": (("VH_API vh_rc", "vh_rc"),),
    "names": (("vh_t_do", "do_t"),),
    "doc": (("/**\n * vh_t_do() - do it", "/*\n * vh_t_do() - do it"), ("vh_t_do() - do it", "vh_t_did() - do it")),
    "tags": tuple((f" * @{tag}: ", f" * {tag}: ") for tag in TAGS),
    "tag-values": (("@since: VH_1.0", "@since: VH_9.9"), ("@thread: any", "@thread: some"), ("@blocks: no", "@blocks: maybe"),
                   ("@errors: EINVAL", "@errors: if wrong")),
    "params": (("@n: how", "@m: how"), (" * @n: how often\n", ""), ("@n: how often", "@n: how often\n * @x: more")),
    "callback-doc": (("/**\n\t * done() - it", "/*\n\t * done() - it"), ("done() - it", "did() - it"),
                     ("void (*done)(void *ctx);", "void (*gap)(void *ctx);\n\tvoid (*done)(void *ctx);")),
    "struct-doc": (("/** struct vh_t - a", "/* struct vh_t - a"),),
    "struct-shape": (("@frozen, 16 bytes", "Whatever"), ("uint32_t size;", "uint64_t size;")),
    "frozen-size": (("@frozen, 16 bytes", "@frozen, 24 bytes"), ("uint32_t c;", "uint64_t c;")),
    "frozen-pointer": (("uint64_t a;", "void *a;"),),
    "opts-fd": (("uint32_t n;", "int32_t kick_fd;"),),
    "include": (('#include "vh/types.h"', '#include "vh/types.h"\n#include <stdbool.h>'),),
    "compiles": (("uint32_t n);", "uint32_t class);"), ("uint32_t n;", "struct { uint32_t n; };"),
                 ("uint32_t c;", "uint32_t c;;"), ('#include "vh/types.h"', ""), ("#define T_H", "#define U_H")),
    "parses": (("uint32_t n);", "uint32_t n)"),),
}


def self_test():
    """Names of the rules that let their own red case through, and what GOOD is blamed for."""
    wrong, count = [], 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vh", "t.h")
        os.mkdir(os.path.dirname(path))

        def problems(text, compilers):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            return check(path, compilers)
        for rule, what in problems(GOOD, COMPILERS):
            wrong.append(f"self-test: a good header is refused by {rule}: {what}")
        for rule, changes in RED.items():
            for old, new in changes:
                if old not in GOOD:
                    wrong.append(f"self-test of {rule}: '{old}' is not in the good header")
                compilers = COMPILERS[:4] if rule == "compiles" else ()
                found = {r for r, _ in problems(GOOD.replace(old, new), compilers)}
                count += 1
                if rule not in found:
                    wrong.append(f"self-test: rule {rule} let through: {new!r} (found: {sorted(found)})")
    return wrong, count


def main():
    wrong, reds = self_test()
    for path in api.headers():
        wrong += [f"{os.path.relpath(path, api.TOP)}: [{rule}] {what}" for rule, what in check(path)]
    for line in wrong:
        print(line)
    print(f"{len(api.headers())} headers, {len(RED)} rules, {reds} red cases, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
