# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The dialect of the public headers: what C, C++ and every generator of bindings agree on, as rules with names.

check(path) lists what a header does outside of it. The model is made only from headers of which that list is empty.
"""
import os
import re

from pycparser import c_ast
from pycparser.plyparser import ParseError

import parse

BASE_TYPES = {"int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "int64_t", "uint64_t", "size_t"}
API_TYPES = {"vh_rc", "vh_count", "vh_fd", "vh_gpa", "vh_uva", "vh_iova"}
ADDRESSES = {"vh_gpa", "vh_uva", "vh_iova"}
THREADS = {"any", "handle", "queue", "signal"}
TAGS = ("since", "thread", "blocks", "errors")
WORDS = ("nullable", "out", "owned", "borrowed", "array")
# Macros of the headers that are no constants.
MACROS = {"VH_API", "VH_BEGIN_DECLS", "VH_END_DECLS"}
NUMBER = re.compile(r"(-?)(0x[0-9a-f]+|\d+)(u?)")


class Checker(c_ast.NodeVisitor):
    """The rules about constructs, on the syntax tree of one header."""

    def __init__(self, report):
        self.report = report

    def visit_Enum(self, node):
        self.report("enum", node, "an enum: its size and sign differ between compilers; use #define and uint32_t")

    def visit_Union(self, node):
        self.report("union", node, "a union")

    def visit_EllipsisParam(self, node):
        self.report("variadic", node, "a variadic function")

    def visit_FuncDef(self, node):
        self.report("inline", node, f"{node.decl.name} has a body")

    def visit_FuncDecl(self, node):
        for name, type_ in parse.parameters(node):
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
        if isinstance(node.type, c_ast.TypeDecl) and parse.is_base(node.type, "char"):
            self.report("types", node, f"{node.name} is a single char, whose sign is not defined")
        self.generic_visit(node)


def check_tree(path, text, include, report):
    nodes = parse.own(parse.parse(path, include), path)
    checker = Checker(report)
    for node in nodes:
        if isinstance(node, c_ast.Decl):
            if "inline" in node.funcspec:
                report("inline", node, f"{node.name} is inline")
            if node.name and not isinstance(node.type, c_ast.FuncDecl):
                report("variable", node, f"{node.name} is a variable")
        checker.visit(node)
    for name, func in parse.functions(nodes).items():
        if not name.startswith("vh_"):
            report("names", func, f"function {name} does not start with vh_")
        if not re.search(rf"^VH_API\b[^;{{]*\b{name}\(", text, flags=re.M):
            report("export", func, f"{name} is declared without VH_API")
    check_docs(nodes, text, report)
    check_structs(nodes, text, report)


def check_docs(nodes, text, report):
    docs = parse.function_comments(text)
    for name, func in parse.functions(nodes).items():
        if name in docs:
            check_doc(name, func, docs[name], report)
        else:
            report("doc", func, f"{name} has no doc comment right before it that starts with '{name}() - '")


def check_doc(name, func, comment, report):
    """One doc comment against the function, or callback, that it stands before."""
    documented = re.findall(r"^@(\w+): ", comment.body, flags=re.M)
    tags = [d for d in documented if d in TAGS]
    for tag in TAGS:
        if tags.count(tag) != 1:
            report("tags", comment, f"{name}: @{tag} is there {tags.count(tag)} times")
    params = [p for p, _ in parse.parameters(func)]
    if [d for d in documented if d not in TAGS] != params:
        report("params", comment, f"{name}: documented {[d for d in documented if d not in TAGS]}, declared {params}")
    values = dict(re.findall(r"^@(\w+): (.*)$", comment.body, flags=re.M))
    if values.get("since", "") not in parse.map_nodes():
        report("tag-values", comment, f"{name}: @since {values.get('since')} is no node of the map")
    if values.get("thread", "") not in THREADS:
        report("tag-values", comment, f"{name}: @thread is one of {sorted(THREADS)}")
    if values.get("blocks", "") not in ("yes", "no"):
        report("tag-values", comment, f"{name}: @blocks is yes or no")
    if not re.fullmatch(r"none|E[A-Z0-9]+( E[A-Z0-9]+)*", values.get("errors", "")):
        report("tag-values", comment, f"{name}: @errors is none or a list of errno names")
    for param, type_ in parse.parameters(func):
        check_words(name, param, type_, leading_words(values.get(param, "")), comment, report)


def leading_words(text):
    """{'nullable': '', 'array': 'max'} of '(nullable) (array max) the rest'."""
    match = re.match(rf"((\((?:{'|'.join(WORDS)})(?: [^)]*)?\) ?)*)", text)
    return dict(re.findall(r"\((\w+)(?: ([^)]*))?\)", match.group(0)))


def check_words(name, param, type_, words, comment, report):
    """The words before a parameter's description against its type: what is written through must say (out)."""
    pointer = isinstance(type_, c_ast.PtrDecl)
    if not pointer and set(words) - {"borrowed", "owned"}:
        report("words", comment, f"{name}: @{param} is no pointer, and ({' '.join(words)}) says that it is one")
    if pointer and "const" not in getattr(type_.type, "quals", ()) and "out" not in words:
        base = type_.type
        handle = isinstance(base, c_ast.TypeDecl) and isinstance(base.type, c_ast.Struct)
        if not handle and not (parse.is_base(base, "void") and param == "ctx"):
            report("words", comment, f"{name}: @{param} can be written through, and does not say (out)")


def check_callbacks(struct, text, report):
    """A member that is called back is documented like a function, right before it."""
    docs = parse.callback_comments(text, struct.name)
    offset = parse.struct_text(text, struct.name)[1] - 1
    for member in struct.decls:
        func = parse.callback(member)
        if func is None:
            continue
        if member.name not in docs:
            report("callback-doc", member,
                   f"struct {struct.name}: no doc comment '{member.name}() - ' right before {member.name}")
            continue
        docs[member.name].line += offset
        check_doc(f"{struct.name}.{member.name}", func, docs[member.name], report)


def check_structs(nodes, text, report):
    """Every public struct is opaque, size-first, or frozen with its size said (and true)."""
    docs = parse.struct_comments(text)
    for struct in parse.structs(nodes):
        if struct.name not in docs:
            report("struct-doc", struct, f"struct {struct.name} has no doc comment right before it")
            continue
        frozen = re.search(r"@frozen, (\d+) bytes", docs[struct.name].body)
        first = struct.decls[0]
        if not frozen and (first.name != "size" or not parse.is_base(first.type, "uint32_t")):
            report("struct-shape", struct,
                   f"struct {struct.name} is neither '@frozen, N bytes' nor starts with uint32_t size")
        if not frozen and not re.search(r"\bSized\b|Size-first out struct", docs[struct.name].body):
            report("struct-shape", struct, f"struct {struct.name} says neither 'Sized' nor 'Size-first out struct'")
        if frozen:
            check_frozen(struct, int(frozen.group(1)), report)
        check_callbacks(struct, text, report)
        if struct.name.endswith("_opts"):
            for field in struct.decls:
                if re.fullmatch(r"fd|\w+_fd", field.name or ""):
                    report("opts-fd", field, f"struct {struct.name}: {field.name}: 0 is an fd, so fds are parameters")


def check_frozen(struct, size, report):
    for field in struct.decls:
        if isinstance(field.type, c_ast.PtrDecl):
            report("frozen-pointer", field, f"struct {struct.name}: {field.name} is a pointer, whose size differs")
    total, align = 0, 1
    for field in struct.decls:
        name = getattr(getattr(field.type, "type", None), "names", [""])[0]
        bits = re.fullmatch(r"u?int(\d+)_t", name)
        width = 8 if name in ADDRESSES else int(bits.group(1)) // 8 if bits else 0
        if not width or total % width:
            report("frozen-size", field, f"struct {struct.name}: {field.name} is no naturally aligned fixed-width integer")
            return
        total, align = total + width, max(align, width)
    if total != size or total % align:
        report("frozen-size", struct, f"struct {struct.name} is {total} bytes, its comment says {size}")


def macros(text):
    """[(name, value, comment, line)] of the object-like macros that stand for something."""
    found = []
    for match in re.finditer(r"^#define[ \t]+(\w+)(\S?)[ \t]*(.*?)[ \t]*(?:/\*[ \t]*(.*?)[ \t]*\*/)?$", text, flags=re.M):
        name, bracket, value, comment = match.groups()
        if name not in MACROS and (value or bracket):
            found.append((name, bracket + value, comment or "", text.count("\n", 0, match.start()) + 1))
    return found


def check_text(text, report):
    for match in re.finditer(r"^\s*#\s*include\s+(\S+)", text, flags=re.M):
        name = match.group(1)
        if name not in ("<stddef.h>", "<stdint.h>") and not re.fullmatch(r'"vh/\w+\.h"', name):
            report("include", text.count("\n", 0, match.start()) + 1, f"includes {name}")
    for name, value, _, line in macros(text):
        if not name.startswith("VH_"):
            report("names", line, f"macro {name} does not start with VH_")
        if not NUMBER.fullmatch(value):
            report("constant", line, f"{name} is '{value}': a constant is one integer, decimal or hexadecimal")


def check(path, include=parse.INCLUDE):
    """[(rule, line, text)] of everything that is outside the dialect in one header."""
    found = []
    with open(path, encoding="utf-8") as f:
        text = f.read()

    def report(rule, where, what):
        line = where if isinstance(where, int) else getattr(where, "line", 0) or parse.line_of(where)
        found.append((rule, line, what))
    check_text(text, report)
    try:
        check_tree(path, text, include, report)
    except (ParseError, SyntaxError) as e:
        report("parses", 0, str(e))
    return found


def problems(include=parse.INCLUDE):
    """What is outside the dialect in all headers, as 'file:line: [rule] text'."""
    return [f"{os.path.relpath(path, os.path.dirname(include))}:{line}: [{rule}] {what}"
            for path in parse.headers(include) for rule, line, what in check(path, include)]
